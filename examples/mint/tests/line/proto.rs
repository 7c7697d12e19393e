//! Our copy of the protocol against the one that cdk brings along: every name, number and type.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet};

fn compile(folder: &Path, name: &str) -> FileDescriptorProto {
    let FileDescriptorSet { mut file } = protox::compile([name], [folder]).expect("compiles");
    file.pop().expect("one file")
}

/// The source of the crate that the mint speaks the protocol with. Asked for this platform only:
/// where these tests were just built, no crates of other platforms are there.
fn source() -> PathBuf {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .args(["--filter-platform", "host-tuple", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = found["packages"].as_array().expect("packages");
    let package =
        packages.iter().find(|p| p["name"] == "cdk-payment-processor").expect("it is one");
    assert_eq!(package["version"], "0.18.3");
    let manifest = PathBuf::from(package["manifest_path"].as_str().expect("a path"));
    manifest.parent().expect("a folder").join("src/proto")
}

fn message(all: &mut BTreeSet<String>, outer: &str, m: &DescriptorProto) {
    let name = format!("{outer}.{}", m.name());
    all.insert(format!("message {name}"));
    for f in &m.field {
        let oneof = f.oneof_index.map(|i| m.oneof_decl[i as usize].name());
        all.insert(format!(
            "field {name}.{} = {}: {:?} {:?} {}, oneof {oneof:?}, optional {}",
            f.name(),
            f.number(),
            f.label(),
            f.r#type(),
            f.type_name(),
            f.proto3_optional()
        ));
    }
    for inner in &m.nested_type {
        message(all, &name, inner);
    }
    for inner in &m.enum_type {
        enumeration(all, &name, inner);
    }
}

fn enumeration(all: &mut BTreeSet<String>, outer: &str, e: &EnumDescriptorProto) {
    for value in &e.value {
        all.insert(format!("value {outer}.{}.{} = {}", e.name(), value.name(), value.number()));
    }
}

/// All that goes over the wire by, one line each. Order and comments are not part of it.
fn facts(file: &FileDescriptorProto) -> BTreeSet<String> {
    let mut all = BTreeSet::from([format!("{} in {}", file.syntax(), file.package())]);
    file.message_type.iter().for_each(|m| message(&mut all, file.package(), m));
    file.enum_type.iter().for_each(|e| enumeration(&mut all, file.package(), e));
    for service in &file.service {
        for m in &service.method {
            all.insert(format!(
                "call {}.{}({}, stream {}) -> {}, stream {}",
                service.name(),
                m.name(),
                m.input_type(),
                m.client_streaming(),
                m.output_type(),
                m.server_streaming()
            ));
        }
    }
    all
}

fn ours() -> FileDescriptorProto {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");
    compile(Path::new(folder), "cdk_payment_processor.proto")
}

#[test]
fn says_the_same_as_the_protocol_of_cdk() {
    let theirs = facts(&compile(&source(), "payment_processor.proto"));
    let ours = facts(&ours());
    let differ: Vec<_> = ours.symmetric_difference(&theirs).collect();
    assert!(differ.is_empty(), "{differ:#?}");
    assert!(ours.iter().filter(|fact| fact.starts_with("call ")).count() == 7, "{ours:#?}");
}

#[test]
fn rejects_a_copy_that_differs_in_one_thing() {
    let right = facts(&ours());
    let changes: [fn(&mut FileDescriptorProto); 5] = [
        |file| file.message_type[2].field[0].number = Some(99),
        |file| file.message_type[2].field[0].name = Some("other".into()),
        |file| {
            file.message_type[1].field[0].set_type(prost_types::field_descriptor_proto::Type::Int64)
        },
        |file| file.enum_type[0].value[1].number = Some(99),
        |file| file.service[0].method[6].server_streaming = Some(false),
    ];
    for (n, change) in changes.into_iter().enumerate() {
        let mut file = ours();
        change(&mut file);
        assert_ne!(facts(&file), right, "change {n} goes unseen");
    }
}
