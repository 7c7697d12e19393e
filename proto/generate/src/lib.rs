//! Turns the .proto files into the checked-in Rust and Go code.
//!
//! A crate of its own, so that the contract has one set of features in all builds and is compiled
//! once.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use prost::Message as _;
use prost_types::compiler::{CodeGeneratorRequest, CodeGeneratorResponse};

/// The contract's files, relative to the `proto` directory.
pub const PROTO_FILES: [&str; 3] =
    ["gopool/sv2/v1/types.proto", "gopool/sv2/v1/work.proto", "gopool/sv2/v1/events.proto"];

/// What a stock mint says to its payment processor; Rust only.
pub const PROCESSOR_FILE: &str = "cdk/payment_processor.proto";

/// A generator's failure, in words.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// Generated text by path, absolute.
pub type Files = BTreeMap<PathBuf, String>;

fn proto_dir() -> Result<&'static Path, Error> {
    let parent = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    parent.ok_or_else(|| "this crate has no parent directory".into())
}

fn repository() -> Result<PathBuf, Error> {
    Ok(proto_dir()?.parent().ok_or("the proto directory has no parent")?.to_path_buf())
}

/// Generates everything in memory.
///
/// # Errors
/// A .proto that doesn't parse, or a Go plugin that can't be built or run.
pub fn all() -> Result<Files, Error> {
    let set = protox::compile(PROTO_FILES, [proto_dir()?])?;
    let mut files = rust(&set, ["grpc", "server"])?;
    files.extend(rust(&protox::compile([PROCESSOR_FILE], [proto_dir()?])?, ["mint", "mint"])?);
    files.extend(go(&set)?);
    Ok(files)
}

/// Generates everything and writes it in place; returns the files written.
///
/// # Errors
/// As [`all`], or a file that can't be written.
pub fn write_all() -> Result<Vec<PathBuf>, Error> {
    let files = all()?;
    for (path, text) in &files {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(path, text)?;
    }
    Ok(files.into_keys().collect())
}

/// The Rust code of one package, its clients behind one feature and its servers behind the other.
fn rust(set: &prost_types::FileDescriptorSet, [client, server]: [&str; 2]) -> Result<Files, Error> {
    let out = std::env::temp_dir().join(format!("gopool-sv2-gen-{}", std::process::id()));
    std::fs::create_dir_all(&out)?;
    tonic_prost_build::configure()
        .client_mod_attribute(".", format!("#[cfg(feature = {client:?})]"))
        .server_mod_attribute(".", format!("#[cfg(feature = {server:?})]"))
        .bytes(".gopool")
        .out_dir(&out)
        .compile_fds(set.clone())?;
    let mut files = Files::new();
    for entry in std::fs::read_dir(&out)? {
        let entry = entry?;
        let text = std::fs::read_to_string(entry.path())?;
        files.insert(proto_dir()?.join("src/gen").join(entry.file_name()), text);
    }
    std::fs::remove_dir_all(&out)?;
    Ok(files)
}

fn go(set: &prost_types::FileDescriptorSet) -> Result<Files, Error> {
    let request = CodeGeneratorRequest {
        file_to_generate: PROTO_FILES.iter().map(ToString::to_string).collect(),
        parameter: Some("module=github.com/gopool-sv2/gopool-sv2/go-bindings".into()),
        proto_file: set.file.clone(),
        compiler_version: None,
    }
    .encode_to_vec();
    let module = repository()?.join("go-bindings");
    let mut files = Files::new();
    for plugin in ["protoc-gen-go", "protoc-gen-go-grpc"] {
        let mut child = Command::new("go")
            .args(["tool", plugin])
            .current_dir(&module)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        child.stdin.take().ok_or("the plugin has no stdin")?.write_all(&request)?;
        let output = child.wait_with_output()?;
        if !output.status.success() {
            return Err(format!("go tool {plugin}: {}", output.status).into());
        }
        let response = CodeGeneratorResponse::decode(output.stdout.as_slice())?;
        if let Some(error) = response.error {
            return Err(format!("{plugin}: {error}").into());
        }
        for file in response.file {
            files.insert(module.join(file.name()), file.content().to_owned());
        }
    }
    Ok(files)
}
