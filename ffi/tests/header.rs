//! The header is what the sources say.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

/// Set to anything to write the header anew.
const UPDATE: &str = "GOPOOL_SV2_UPDATE_HEADER";

fn generated() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(folder.join("cbindgen.toml")).unwrap();
    let mut text = Vec::new();
    cbindgen::Builder::new()
        .with_config(config)
        .with_src(folder.join("src/types.rs"))
        .with_src(folder.join("src/calls.rs"))
        .generate()
        .unwrap()
        .write(&mut text);
    String::from_utf8(text).unwrap()
}

/// The header, and the copy beside the Go package, which cgo needs in its own module.
const PLACES: [&str; 2] = ["include/gopool_sv2.h", "../go-bindings/ffihost/gopool_sv2.h"];

#[test]
fn the_checked_in_headers_are_what_the_sources_say() {
    let wanted = generated();
    for place in PLACES {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(place);
        if std::env::var_os(UPDATE).is_some() {
            std::fs::write(&path, &wanted).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == wanted,
            "{} is old: run `{UPDATE}=1 cargo test -p gopool-sv2-ffi --test header`",
            path.display()
        );
    }
}
