//! The part of protoc that the build scripts of cdk use: it compiles `.proto` files into one
//! encoded `FileDescriptorSet`. So nothing has to be installed to build the mint.
//!
//! Understands what prost-build passes: `-I DIR`, `-o FILE`, files, `--include_imports` and
//! `--include_source_info` (both always done). Every other flag is refused, because leaving one
//! out silently would change what is generated.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use prost::Message;

/// What is asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Order {
    includes: Vec<PathBuf>,
    files: Vec<PathBuf>,
    out: PathBuf,
}

/// Reads the arguments after the program's name.
fn order(args: impl IntoIterator<Item = OsString>) -> Result<Order, String> {
    let mut order = Order::default();
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        match arg.to_str() {
            Some("-I") => order.includes.push(args.next().ok_or("-I without a folder")?.into()),
            Some("-o") => order.out = args.next().ok_or("-o without a file")?.into(),
            // Proto3 `optional` needs no permission any more.
            Some("--include_imports")
            | Some("--include_source_info")
            | Some("--experimental_allow_proto3_optional") => {}
            Some(flag) if flag.starts_with('-') => {
                return Err(format!("{flag} is not known here: set PROTOC to a real protoc"));
            }
            _ => order.files.push(arg.into()),
        }
    }
    if order.out.as_os_str().is_empty() || order.files.is_empty() {
        return Err("needs -o FILE and at least one .proto file".to_owned());
    }
    Ok(order)
}

/// Compiles what is ordered and writes the set.
fn run(order: &Order) -> Result<(), String> {
    let set = protox::compile(&order.files, &order.includes).map_err(|e| e.to_string())?;
    std::fs::write(&order.out, set.encode_to_vec())
        .map_err(|e| format!("{}: {e}", order.out.display()))
}

fn main() -> ExitCode {
    match order(std::env::args_os().skip(1)).and_then(|order| run(&order)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("protoc: {why}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str]) -> Result<Order, String> {
        order(args.iter().map(OsString::from))
    }

    #[test]
    fn reads_what_prost_build_passes() {
        let read = read(&["--include_imports", "--include_source_info", "-o", "o", "-I", "i", "f"]);
        let want = Order { includes: vec!["i".into()], files: vec!["f".into()], out: "o".into() };
        assert_eq!(read, Ok(want));
    }

    #[test]
    fn rejects_a_flag_that_it_does_not_know() {
        let why = read(&["-o", "o", "--cpp_out=x", "f"]).expect_err("refused");
        assert!(why.contains("--cpp_out=x"), "{why}");
    }

    #[test]
    fn rejects_an_order_without_files_or_without_output() {
        assert!(read(&["-o", "o"]).is_err());
        assert!(read(&["f"]).is_err());
    }
}
