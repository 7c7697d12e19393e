//! Promises of the authority key file.

use std::fs;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::{Path, PathBuf};

use super::*;

/// A directory of one test, removed with its content.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let name = format!("gopool-sv2-keys-{}-{name}", std::process::id());
        let path = env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, content: &[u8], mode: u32) -> PathBuf {
        let path = self.0.join(format!("{:016x}", OsRng.next_u64()));
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// A fresh key as the text of a key file.
fn fresh() -> String {
    Secp256k1SecretKey(random_secret(Path::new("")).unwrap()).to_string()
}

#[test]
fn keeps_a_key_from_generate_to_load() {
    let scratch = Scratch::new("round");
    let path = scratch.0.join("authority.key");
    let public = generate(&path).unwrap();
    assert_eq!(mode_of(&path), 0o600);
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 1);
    assert!(text.ends_with('\n'));

    let key = load(&path).unwrap();
    assert_eq!(key.public().to_string(), public.to_string());
    let independent = text.trim().parse::<Secp256k1SecretKey>().unwrap();
    assert_eq!(PublicKey::from(independent).to_string(), public.to_string());
    assert_eq!(key.keypair().secret_key(), independent.0);
    // Nothing but the key is left in the directory.
    assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 1);
}

#[test]
fn makes_another_key_each_time() {
    let scratch = Scratch::new("another");
    let one = generate(&scratch.0.join("one")).unwrap();
    let two = generate(&scratch.0.join("two")).unwrap();
    assert_ne!(one.to_string(), two.to_string());
}

#[test]
fn rejects_to_overwrite_any_file() {
    let scratch = Scratch::new("overwrite");
    let path = scratch.file(b"precious", 0o644);
    let error = generate(&path).unwrap_err();
    assert!(matches!(error, KeyError::Exists(_)), "{error}");
    assert!(error.to_string().contains("not overwritten"));
    // The second line of defence, for a file that appears between the look and the write.
    let error = write_new(&path, b"other\n").unwrap_err();
    assert!(matches!(error, KeyError::Exists(_)), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"precious");
    assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 1);
    // A dangling link is a file too: its target must not be made.
    let link = scratch.0.join("link");
    symlink(scratch.0.join("target"), &link).unwrap();
    assert!(matches!(generate(&link), Err(KeyError::Exists(_))));
    assert!(!scratch.0.join("target").exists());
}

#[test]
fn rejects_a_directory_that_is_not_there() {
    let scratch = Scratch::new("nowhere");
    let error = generate(&scratch.0.join("nowhere/authority.key")).unwrap_err();
    assert!(matches!(error, KeyError::Io { .. }), "{error}");
    assert!(matches!(generate(Path::new("/")), Err(KeyError::Exists(_))));
    assert!(matches!(generate(Path::new("")), Err(KeyError::Io { .. })));
}

#[test]
fn rejects_a_file_that_others_can_read_or_write() {
    let scratch = Scratch::new("mode");
    for mode in [0o604, 0o640, 0o620, 0o602, 0o601, 0o666, 0o777] {
        let path = scratch.file(fresh().as_bytes(), mode);
        let error = load(&path).unwrap_err();
        assert!(matches!(error, KeyError::Mode { .. }), "{mode:o}: {error}");
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
    for mode in [0o600, 0o400, 0o700] {
        load(&scratch.file(fresh().as_bytes(), mode)).unwrap();
    }
}

#[test]
fn accepts_a_credential_with_an_access_list() {
    let scratch = Scratch::new("credential");
    let path = scratch.file(fresh().as_bytes(), 0o440);
    assert!(read(&path, 0o037, &PUBLISHED).is_ok());
    let path = scratch.file(fresh().as_bytes(), 0o444);
    assert!(matches!(read(&path, 0o037, &PUBLISHED), Err(KeyError::Mode { .. })));
}

#[test]
fn finds_a_credential_only_below_systemd() {
    let directory = Some(OsString::from("/run/credentials/unit"));
    let path = credential_path("authority", directory).unwrap();
    assert_eq!(path, Path::new("/run/credentials/unit/authority"));
    for directory in [None, Some(OsString::new())] {
        let error = credential_path("authority", directory).unwrap_err();
        assert!(error.to_string().contains("LoadCredential=authority:"), "{error}");
    }
}

#[test]
fn rejects_what_is_no_secret_key_and_says_why() {
    let scratch = Scratch::new("content");
    let good = fresh();
    let public = load(&scratch.file(good.as_bytes(), 0o600)).unwrap().public().to_string();
    let mut wrong = good.clone().into_bytes();
    wrong[10] = if wrong[10] == b'z' { b'y' } else { b'z' };
    let zero = "1".repeat(32) + "273Yts"; // base58check of 32 zero bytes
    let cases: [(&[u8], &str); 10] = [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (&[0xff, 0xfe], "is not text"),
        (&[b'1'; 2_000], "too long"),
        (b"first second", "more than one word"),
        (&[b'0'; 64], "hexadecimal"),
        (b"0OIl", "a character that base58 has not"),
        (public.as_bytes(), "holds a public key"),
        (&wrong, "wrong checksum"),
        (zero.as_bytes(), "is not a secret key"),
    ];
    for (content, fault) in cases {
        let path = scratch.file(content, 0o600);
        let error = load(&path).unwrap_err();
        assert!(matches!(error, KeyError::Content { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(fault), "{text:?} lacks {fault:?}");
        assert!(text.starts_with(path.to_str().unwrap()), "{text}");
    }
    let short = &good[..good.len() - 1];
    assert!(load(&scratch.file(short.as_bytes(), 0o600)).is_err());
    let error = load(&scratch.0.join("missing")).unwrap_err();
    assert!(error.to_string().contains("gopool-sv2 keygen"), "{error}");
    let error = load(&scratch.0).unwrap_err();
    assert!(error.to_string().contains("not a regular file"), "{error}");
}

#[test]
fn rejects_a_published_key() {
    for text in PUBLISHED {
        // A constant that is no key would refuse nothing.
        assert_eq!(text.parse::<PublicKey>().unwrap().to_string(), text);
    }
    let scratch = Scratch::new("published");
    let path = scratch.file(fresh().as_bytes(), 0o600);
    let public = load(&path).unwrap().public().to_string();
    let error = read(&path, 0o077, &["other", &public]).unwrap_err();
    assert!(matches!(error, KeyError::Published(_)), "{error}");
}

#[test]
fn survives_spaces_around_the_key() {
    let scratch = Scratch::new("spaces");
    let text = format!("\n {}\r\n", fresh());
    load(&scratch.file(text.as_bytes(), 0o600)).unwrap();
}

#[test]
fn prints_no_secret() {
    let text = fresh();
    let key = parse(text.as_bytes()).unwrap();
    assert_eq!(format!("{key:?}"), "AuthorityKey([redacted])");
    let url = key.miner_url("pool.example:3336");
    assert_eq!(url, format!("stratum2+tcp://pool.example:3336/{}", key.public()));
    assert!(!url.contains(&text));
}
