//! The checked-in code is what the .proto files say.

#[test]
fn generated_code_is_up_to_date() {
    let files = gopool_sv2_proto_generate::all().expect("generate");
    assert!(files.len() >= 6, "three protos give at least six files, got {}", files.len());
    let mut stale = Vec::new();
    for (path, text) in files {
        if std::fs::read_to_string(&path).unwrap_or_default() != text {
            stale.push(path);
        }
    }
    assert!(stale.is_empty(), "out of date: {stale:#?}\nrun: make gen");
}
