//! `gopool-sv2 keygen`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use gopool_sv2::keys;

use super::{complain, say};

/// Make the authority key that miners verify the listener by.
///
/// Writes the secret key to a new file that only its owner may read, and prints the public key,
/// which miners type into their devices. An existing file is never overwritten. Keep a copy:
/// with another key every miner must be set up anew.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The file to make.
    #[arg(long, short, value_name = "FILE")]
    out: PathBuf,
    /// Host and port that miners reach the listener by: prints the URL they type as well.
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
    address: Option<String>,
}

fn host_and_port(text: &str) -> Result<String, String> {
    let wanted = "give HOST:PORT, e.g. pool.example.com:3336 or [2001:db8::1]:3336";
    let (host, port) = text.rsplit_once(':').ok_or(wanted)?;
    let bracketed = host.starts_with('[') && host.ends_with(']');
    let plain = !host.contains([':', '/', '@', '[', ']']) && !host.contains(char::is_whitespace);
    if host.is_empty() || !(bracketed || plain) || port.parse::<u16>().map_or(true, |p| p == 0) {
        return Err(wanted.to_owned());
    }
    Ok(text.to_owned())
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    match keys::generate(&arguments.out) {
        Ok(public) => {
            say(public);
            if let Some(address) = &arguments.address {
                say(format_args!("stratum2+tcp://{address}/{public}"));
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(format_args!("gopool-sv2: {error}"));
            ExitCode::FAILURE
        }
    }
}
