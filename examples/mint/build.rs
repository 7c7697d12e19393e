//! Generates the payment processor's server for the tests from our own copy of the protocol, with a
//! compiler in Rust: protoc is not needed for it.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let set = protox::compile(["cdk_payment_processor.proto"], ["proto"])?;
    tonic_prost_build::configure().build_client(false).compile_fds(set)?;
    Ok(())
}
