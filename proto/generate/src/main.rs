//! Regenerates the checked-in code of the contract: `make gen`.
//!
//! protox parses the .proto files (no protoc needed). Rust comes from tonic-prost-build; Go comes
//! from the two official plugins, which `go tool` builds from the versions pinned in go-bindings.

use std::process::ExitCode;

fn main() -> ExitCode {
    match gopool_sv2_proto_generate::write_all() {
        Ok(files) => {
            for file in files {
                report(&format!("wrote {}", file.display()));
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            report(&format!("gen: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn report(line: &str) {
    use std::io::Write as _;
    // Nothing useful can be done when stderr is gone.
    let _ = writeln!(std::io::stderr(), "{line}");
}
