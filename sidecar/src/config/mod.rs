//! The configuration of the sidecar: one TOML file, read whole before anything else starts.
//!
//! [`Config`] is a plain tree of structs. [`Config::load`] reports *all* problems of a file at
//! once, each with its place, what is wrong and the remedy; unknown keys are refused with a
//! suggestion, so that a typing error never means "the default, silently".
//! [`Config::to_toml`] prints the effective values and is the source of
//! `examples/config/sidecar.toml`.

#[cfg(all(test, feature = "bin"))]
mod admin_tests;
mod cross;
mod extensions;
#[cfg(test)]
mod link_tests;
#[cfg(test)]
mod listen_tests;
mod mint;
#[cfg(all(test, feature = "mint"))]
mod mint_tests;
mod model;
mod print;
mod problem;
mod read;
mod schema;
mod service;
#[cfg(test)]
mod service_tests;
#[cfg(all(test, feature = "grpc"))]
mod stats_tests;
mod suggest;
#[cfg(test)]
mod tests;
mod text;

pub use crate::keys::KeyFile;
pub use crate::obs::Format;
pub use model::{
    Admin, AdminAddress, Authority, Config, Extensions, Limits, Listen, Log, Mint, Pool,
    PoolAddress, PoolTls, Processor, SinkAddress, Stats, Valuation,
};
pub use problem::{Problem, Problems};
pub use service::{EventsAddress, ServiceLog, StatsFile, StatsService};

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use read::Settings;

/// What the example of the sidecar's settings begins with.
const INTRO: &str = "Settings of gopool-sv2. Every key may be left out: its default holds. \
                     Relative paths start at the directory of this file. `gopool-sv2 \
                     check-config` names all problems of a file at once.";

/// Largest configuration file that is read, in bytes. The full example has about 6,000; anything
/// near this limit is some other file.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

impl Config {
    /// Reads a configuration file. Relative paths inside it are taken from the file's directory.
    ///
    /// # Errors
    /// [`Problems`] holds every problem found, in the order of the file; never empty. A file that
    /// can't be read is one problem without a line.
    pub fn load(path: &Path) -> Result<Config, Problems> {
        load(path)
    }

    /// Reads the content of a configuration file. `path` names it in problems, and its directory
    /// is where relative paths start; nothing is opened.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Config, Problems> {
        from_bytes(bytes, path)
    }

    /// The effective values as a TOML document with a comment per key, readable by
    /// [`Config::from_bytes`]. A path that is not UTF-8 is printed with replacement characters.
    pub fn to_toml(&self) -> String {
        self.print(INTRO)
    }
}

/// Reads a file of settings.
fn load<C: Settings>(path: &Path) -> Result<C, Problems> {
    let mut bytes = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    if let Err(error) = read {
        let text = match error.kind() {
            ErrorKind::NotFound => {
                format!("no such file: name the configuration file, or start from {}", C::EXAMPLE)
            }
            ErrorKind::PermissionDenied => {
                "permission denied: let the user that runs this program read the file".to_owned()
            }
            ErrorKind::IsADirectory => {
                "is a directory: name the configuration file inside it".to_owned()
            }
            _ => format!("can't be read: {error}"),
        };
        return Err(Problems::of_file(path, text));
    }
    from_bytes(&bytes, path)
}

/// Reads the content of a file of settings.
fn from_bytes<C: Settings>(bytes: &[u8], path: &Path) -> Result<C, Problems> {
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let text = format!("is longer than {FILE_BYTES_MAX} bytes: name a configuration file");
        return Err(Problems::of_file(path, text));
    }
    read::read(bytes, path)
}
