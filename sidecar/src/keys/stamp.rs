//! Whether a key file is still the one it was, without reading it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use super::{KeyError, KeyFile};

/// What changes whenever a file is written, replaced, or given other permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    /// Last change of content or metadata, in nanoseconds since the epoch.
    changed: i128,
}

impl KeyFile {
    /// The stamp of the file as it is now, links followed; `None` when there is none. Blocks on
    /// the disk.
    ///
    /// # Errors
    /// [`KeyError::NoCredentials`].
    pub fn stamp(&self) -> Result<Option<Stamp>, KeyError> {
        let (path, _) = self.place()?;
        Ok(fs::metadata(path).ok().map(|file| Stamp {
            device: file.dev(),
            inode: file.ino(),
            size: file.size(),
            changed: i128::from(file.ctime()) * 1_000_000_000 + i128::from(file.ctime_nsec()),
        }))
    }
}
