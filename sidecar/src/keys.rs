//! The authority key: the one long-lived secret of the sidecar. With it the listener signs the
//! certificate of each connection (SV2 spec 4.5); miners are given the public half in their URL.
//!
//! A key file holds one line, the secret key as base58check of its 32 bytes: the spelling of the
//! SV2 reference implementation, so that keys move between the two.

mod stamp;

#[cfg(test)]
mod tests;

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use key_utils::Secp256k1SecretKey;
use rand::rngs::OsRng;
use rand::RngCore;
use secp256k1::{Keypair, Secp256k1, SecretKey};

pub use stamp::Stamp;

/// The public half of an authority key. Its text, as miners are given it, is base58check of the
/// version 1 (two bytes, little-endian) and the 32-byte x-only key.
pub use key_utils::Secp256k1PublicKey as PublicKey;

/// Longest key file that is read, in bytes. A good one has about 52.
const FILE_BYTES_MAX: u64 = 1_024;

/// Permission bits that let others than the owner of a file in.
const OTHERS: u32 = 0o077;

/// Characters of base58.
const BASE58: &str = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// Public keys whose secret half is printed in public examples: anyone can pass for their owner.
const PUBLISHED: [&str; 1] = ["9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72"];

/// Where the authority key is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyFile {
    /// A file of mode 0600.
    Path(PathBuf),
    /// A systemd credential of this name: the file NAME in `$CREDENTIALS_DIRECTORY`. Written
    /// `credential:NAME`.
    Credential(String),
}

impl fmt::Display for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Credential(name) => write!(f, "credential:{name}"),
        }
    }
}

impl KeyFile {
    /// Reads the key from where it is kept.
    ///
    /// # Errors
    /// As [`load`], and [`KeyError::NoCredentials`] for a credential without systemd.
    pub fn load(&self) -> Result<AuthorityKey, KeyError> {
        let (path, forbidden) = self.place()?;
        read(&path, forbidden, &PUBLISHED)
    }

    /// The content of another private key's file, with the same checks of the file as the
    /// authority key's; at most `bytes_max` bytes. Blocks on the disk.
    ///
    /// # Errors
    /// [`KeyError`], of which [`KeyError::Missing`] speaks of the authority key: the caller knows
    /// the remedy for this one.
    pub fn read(&self, bytes_max: u64) -> Result<Secret, KeyError> {
        let (path, forbidden) = self.place()?;
        let secret = read_private(&path, forbidden, bytes_max)?;
        if secret.bytes().len() as u64 > bytes_max {
            let fault = "is too long for a key file: name the file that holds the key alone";
            return Err(KeyError::Content { path, fault });
        }
        Ok(secret)
    }

    /// The file, and the permission bits it must not have.
    fn place(&self) -> Result<(PathBuf, u32), KeyError> {
        match self {
            Self::Path(path) => Ok((path.clone(), OTHERS)),
            Self::Credential(name) => {
                let path = credential_path(name, env::var_os("CREDENTIALS_DIRECTORY"))?;
                // For a service user, systemd may grant the read by an access list, which shows
                // as a readable group.
                Ok((path, 0o037))
            }
        }
    }
}

/// The content of a private file. Debug output is redacted and the memory is erased on drop.
pub struct Secret(Vec<u8>);

impl Secret {
    /// The content.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret([redacted])")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        erase(&mut self.0);
    }
}

/// Why a key file can't be made or used. The text says the remedy and never repeats the content.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// There is a file already; a key is never overwritten.
    #[error(
        "{}: exists already and is not overwritten: miners trust the key in it. Use it, or give \
         another path", .0.display()
    )]
    Exists(PathBuf),
    /// There is no such file.
    #[error("{}: no such file: make a key with `gopool-sv2 keygen`", .0.display())]
    Missing(PathBuf),
    /// The system refused a step.
    #[error("{}: can't {action}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The step that failed.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Other users of the machine can read or change the file.
    #[error(
        "{}: mode {mode:04o} lets other users in: run `chmod 600` on it, and make a new key if \
         they may have read it", path.display()
    )]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The content is no secret key.
    #[error("{}: {fault}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it and what to do.
        fault: &'static str,
    },
    /// The secret is printed in public examples.
    #[error(
        "{}: holds the sample key of the SV2 reference implementation: everyone knows it and can \
         pass for this pool. Make a key with `gopool-sv2 keygen`", .0.display()
    )]
    Published(PathBuf),
    /// `credential:NAME` outside of a systemd service with credentials.
    #[error(
        "credential:{0}: $CREDENTIALS_DIRECTORY is not set: add \
         LoadCredential={0}:/path/to/key to the systemd unit, or name a key file"
    )]
    NoCredentials(String),
}

/// The secret authority key, ready to sign. Debug output is redacted and the memory is erased on
/// drop, as far as the curve library can: copies made of [`AuthorityKey::keypair`] are the
/// caller's.
pub struct AuthorityKey {
    pair: Keypair,
}

impl AuthorityKey {
    /// The pair that signs certificates.
    pub fn keypair(&self) -> &Keypair {
        &self.pair
    }

    /// The public half; its Display is the text that miners are given.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.pair.x_only_public_key().0)
    }

    /// The URL that miners are given: `stratum2+tcp://HOST:PORT/KEY`. `address` is what they can
    /// reach, "host:port"; it is not checked.
    pub fn miner_url(&self, address: impl fmt::Display) -> String {
        format!("stratum2+tcp://{address}/{}", self.public())
    }

    fn new(mut secret: SecretKey) -> Self {
        let pair = Keypair::from_secret_key(&Secp256k1::new(), &secret);
        secret.non_secure_erase();
        Self { pair }
    }
}

impl fmt::Debug for AuthorityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthorityKey([redacted])")
    }
}

impl Drop for AuthorityKey {
    fn drop(&mut self) {
        self.pair.non_secure_erase();
    }
}

/// Makes a new key and writes its file, mode 0600. The file appears whole or not at all, and is on
/// disk when this returns. Blocks on the disk.
///
/// # Errors
/// [`KeyError::Exists`] when there is a file (it stays as it was), [`KeyError::Io`] otherwise.
pub fn generate(path: &Path) -> Result<PublicKey, KeyError> {
    if fs::symlink_metadata(path).is_ok() {
        return Err(KeyError::Exists(path.to_owned()));
    }
    let secret = random_secret(path)?;
    let mut line = Secp256k1SecretKey(secret).to_string().into_bytes();
    line.push(b'\n');
    let public = AuthorityKey::new(secret).public();
    let written = write_new(path, &line);
    erase(&mut line);
    written.map(|()| public)
}

/// Reads a key file.
///
/// # Errors
/// The file is missing, can be read or written by group or others, holds no secret key, or holds
/// one that is published; see [`KeyError`].
pub fn load(path: &Path) -> Result<AuthorityKey, KeyError> {
    read(path, OTHERS, &PUBLISHED)
}

/// Where systemd put a credential.
fn credential_path(name: &str, directory: Option<OsString>) -> Result<PathBuf, KeyError> {
    match directory {
        Some(directory) if !directory.is_empty() => Ok(PathBuf::from(directory).join(name)),
        _ => Err(KeyError::NoCredentials(name.to_owned())),
    }
}

/// Reads a key file that has none of the permission bits `forbidden`.
fn read(path: &Path, forbidden: u32, published: &[&str]) -> Result<AuthorityKey, KeyError> {
    let secret = read_private(path, forbidden, FILE_BYTES_MAX)?;
    let key = parse(secret.bytes())
        .map_err(|fault| KeyError::Content { path: path.to_owned(), fault })?;
    if published.contains(&key.public().to_string().as_str()) {
        return Err(KeyError::Published(path.to_owned()));
    }
    Ok(key)
}

/// The content of a file that has none of the permission bits `forbidden`; one byte more than
/// `bytes_max` when it is longer.
fn read_private(path: &Path, forbidden: u32, bytes_max: u64) -> Result<Secret, KeyError> {
    let io = |action| move |source| KeyError::Io { path: path.to_owned(), action, source };
    let file = File::open(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => KeyError::Missing(path.to_owned()),
        io::ErrorKind::PermissionDenied => {
            io("open the key file (`chown` it to the user of this process)")(source)
        }
        _ => io("open the key file")(source),
    })?;
    // Of the open file, not of the path: what is checked is what is read.
    let metadata = file.metadata().map_err(io("look at the key file"))?;
    if !metadata.is_file() {
        let fault = "is not a regular file: name the key file";
        return Err(KeyError::Content { path: path.to_owned(), fault });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & forbidden != 0 {
        return Err(KeyError::Mode { path: path.to_owned(), mode });
    }
    // Reserved at once: growing would leave copies of the secret behind.
    let capacity = usize::try_from(bytes_max).unwrap_or(usize::MAX).saturating_add(1);
    let mut secret = Secret(Vec::with_capacity(capacity));
    file.take(bytes_max.saturating_add(1))
        .read_to_end(&mut secret.0)
        .map_err(io("read the key file"))?;
    Ok(secret)
}

/// The key in the content of a key file, or what is wrong with it.
fn parse(bytes: &[u8]) -> Result<AuthorityKey, &'static str> {
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err("is too long for a key file: it holds one line");
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|_| "is not text: a key file holds one line, the secret key in base58check")?;
    let text = text.trim_matches(|c: char| c.is_ascii_whitespace());
    if text.is_empty() {
        return Err("is empty: restore it from a backup, or remove it and make a new key with \
                    `gopool-sv2 keygen`");
    }
    if text.contains(|c: char| c.is_ascii_whitespace()) {
        return Err("holds more than one word: a key file holds one line, the secret key alone");
    }
    if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err("holds a key in hexadecimal: it must be in base58check, as `gopool-sv2 \
                    keygen` writes it");
    }
    if text.contains(|c| !BASE58.contains(c)) {
        return Err("holds a character that base58 has not: restore it from a backup");
    }
    if text.parse::<PublicKey>().is_ok() {
        return Err("holds a public key: the secret key is needed");
    }
    match text.parse::<Secp256k1SecretKey>() {
        Ok(secret) => Ok(AuthorityKey::new(secret.0)),
        Err(key_utils::Error::Bs58Decode(_)) => {
            Err("has a wrong checksum: the key was mistyped or cut off; restore it from a backup")
        }
        Err(_) => Err("is not a secret key: 32 bytes below the order of secp256k1 are needed"),
    }
}

/// A secret key of the system's random numbers. Nearly every 32 bytes are one; the second try will
/// never be needed.
fn random_secret(path: &Path) -> Result<SecretKey, KeyError> {
    let failed = |source| KeyError::Io {
        path: path.to_owned(),
        action: "get random numbers from the system",
        source,
    };
    let mut bytes = [0; 32];
    for _ in 0..8 {
        OsRng.try_fill_bytes(&mut bytes).map_err(|error| failed(io::Error::other(error)))?;
        let secret = SecretKey::from_slice(&bytes);
        erase(&mut bytes);
        if let Ok(secret) = secret {
            return Ok(secret);
        }
    }
    Err(failed(io::Error::other("they are not random")))
}

/// Writes a new file so that it is there whole or not at all: a file beside it is written and
/// synced, and gets the name by a link, which never replaces anything.
fn write_new(path: &Path, content: &[u8]) -> Result<(), KeyError> {
    let io = |action| move |source| KeyError::Io { path: path.to_owned(), action, source };
    let (Some(name), Some(directory)) = (path.file_name(), path.parent()) else {
        return Err(io("create a file there")(io::ErrorKind::InvalidInput.into()));
    };
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let mut unfinished = OsString::from(".");
    unfinished.push(name);
    unfinished.push(format!(".{:016x}", OsRng.next_u64()));
    let unfinished = directory.join(unfinished);

    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished)
        .map_err(io("create a file there"))?;
    let result = file
        .write_all(content)
        .and_then(|()| file.sync_all())
        .map_err(io("write the key file"))
        .and_then(|()| {
            fs::hard_link(&unfinished, path).map_err(|source| match source.kind() {
                io::ErrorKind::AlreadyExists => KeyError::Exists(path.to_owned()),
                _ => io("give the key file its name")(source),
            })
        });
    // Whatever happened, the second name goes; a failure here changes nothing of the result.
    let _ = fs::remove_file(&unfinished);
    result?;
    File::open(directory).and_then(|file| file.sync_all()).map_err(io("sync the directory"))
}

/// Overwrites a secret. `black_box` keeps the compiler from leaving out a write that is not read.
fn erase(bytes: &mut [u8]) {
    bytes.fill(0);
    std::hint::black_box(bytes);
}
