//! Files that hold a secret: made once with mode 0600, and refused when others can read them.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::{bail, Context, Result};
use bip39::Mnemonic;

/// Longest secret that is read, in bytes: a mnemonic of 24 words has less than 220.
const LENGTH_MAX: u64 = 1024;

/// Makes a folder, and those above it, that only its owner can enter.
///
/// # Errors
/// The folder can't be made, or there is a file of that name.
pub fn folder(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("the folder {} can't be made", path.display()))
}

/// Makes an empty file for a database, so that only its owner can read it, when there is none;
/// SQLite gives the files beside it the same mode. Returns `folder/name` as text, which SQLite's
/// binding needs.
///
/// # Errors
/// The file can't be made, or its path is no UTF-8.
pub fn database(folder: &Path, name: &str) -> Result<String> {
    let path = folder.join(name);
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("{} can't be made", path.display()))?;
    path.into_os_string().into_string().ok().context("the path of the database must be UTF-8")
}

/// Reads the secret of `path`, without the space around it. When there is no such file, writes what
/// `make` returns there first.
///
/// # Errors
/// A file that others can read, that is empty or far too long, or that can't be read or written.
pub fn secret(path: &Path, make: impl FnOnce() -> Result<String>) -> Result<String> {
    match File::open(path) {
        Ok(file) => read(file, path),
        Err(e) if e.kind() == ErrorKind::NotFound => {
            let text = make()?;
            write(path, &text)?;
            Ok(text)
        }
        Err(e) => Err(e).with_context(|| format!("{} can't be read", path.display())),
    }
}

/// Reads the mnemonic of `path`; makes one of 12 words when there is no such file.
///
/// # Errors
/// As [`secret`], or a text that is no mnemonic.
pub fn mnemonic(path: &Path) -> Result<Mnemonic> {
    let text = secret(path, || Ok(Mnemonic::generate(12)?.to_string()))?;
    // The parser's error names words, which are the secret.
    Mnemonic::parse(text).ok().with_context(|| {
        format!("{} holds no BIP39 mnemonic in English: put the right one there", path.display())
    })
}

fn read(file: File, path: &Path) -> Result<String> {
    let mode = file.metadata().with_context(|| path.display().to_string())?.permissions().mode();
    if mode & 0o077 != 0 {
        bail!("{0} can be read by others: chmod 600 {0}", path.display());
    }
    let mut text = String::new();
    file.take(LENGTH_MAX)
        .read_to_string(&mut text)
        .with_context(|| format!("{} is no text", path.display()))?;
    let text = text.trim();
    if text.is_empty() || text.len() as u64 >= LENGTH_MAX - 1 {
        bail!("{} holds no secret: restore it, or remove it to get a new one", path.display());
    }
    Ok(text.to_owned())
}

/// Writes beside, then links: a secret is never there in part, and one that is there never
/// replaced.
fn write(path: &Path, text: &str) -> Result<()> {
    let why = || format!("{} can't be written", path.display());
    let mut name = path.file_name().with_context(why)?.to_owned();
    name.push(format!(".{}", std::process::id()));
    let beside = path.with_file_name(name);
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside).and_then(
        |mut file| {
            writeln!(file, "{text}")?;
            file.sync_all()?;
            fs::hard_link(&beside, path)
        },
    );
    let removed = fs::remove_file(&beside);
    made.with_context(why)?;
    removed.with_context(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_a_secret_to_its_owner_and_for_ever() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("a/b/key");
        folder(path.parent().expect("parent")).expect("made");
        assert_eq!(secret(&path, || Ok("first".into())).expect("made"), "first");
        assert_eq!(secret(&path, || bail!("not asked")).expect("read"), "first");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        let parent = path.parent().expect("parent");
        assert_eq!(fs::metadata(parent).expect("there").permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(parent).expect("folder").count(), 1, "nothing is left beside");
    }

    #[test]
    fn rejects_a_secret_that_others_can_read() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("key");
        fs::write(&path, "secret").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("mode");
        let why = secret(&path, || Ok("new".into())).expect_err("refused").to_string();
        assert!(why.contains("chmod 600") && !why.contains("secret\n"), "{why}");
    }

    #[test]
    fn rejects_an_empty_secret_instead_of_making_a_new_one() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("key");
        write(&path, " ").expect("written");
        assert!(secret(&path, || Ok("new".into())).is_err());
    }

    #[test]
    fn rejects_what_is_no_mnemonic_without_repeating_it() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("seed");
        assert_eq!(mnemonic(&path).expect("made").word_count(), 12);
        let other = dir.path().join("other");
        write(&other, "abandon secretword").expect("written");
        let why = format!("{:?}", mnemonic(&other).expect_err("refused"));
        assert!(!why.contains("secretword"), "{why}");
    }
}
