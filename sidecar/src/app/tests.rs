//! What becomes of the whole when a part of it fails.

use std::fs;
use std::path::PathBuf;

use tokio::time::timeout;

use super::*;
use crate::backend::ring;
use crate::keys::{self, KeyFile};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder that is removed with its content.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A sidecar with a mint bridge, whose pool and mint are away.
async fn bridged(name: &str) -> (Folder, Sidecar) {
    let path = std::env::temp_dir().join(format!("gsv2-app-{}-{name}", std::process::id()));
    fs::create_dir_all(&path).unwrap();
    let folder = Folder(path);
    let key = folder.0.join("authority.key");
    keys::generate(&key).unwrap();
    let mut config = Config::default();
    config.listen.address = "127.0.0.1:0".parse().unwrap();
    config.authority.key_file = KeyFile::Path(key);
    config.mint.ledger_file = Some(folder.0.join("ledger.db"));
    config.mint.url = "http://127.0.0.1:9".into();
    config.mint.processor.listen = "127.0.0.1:0".parse().unwrap();
    config.mint.processor.allow_plain = true;
    // Nobody polls the host: nothing is needed of it.
    let (_, carrier) = ring::new(&config.pool, config.limits.max_in_flight).unwrap();
    (folder, Sidecar::start_on_ring(config, carrier).await.unwrap())
}

#[tokio::test]
async fn fails_with_a_part_of_the_mint_bridge_and_stops_all_the_same() {
    for (name, last) in [("part", false), ("last", true)] {
        let (_folder, mut sidecar) = bridged(name).await;
        let early = timeout(Duration::from_millis(20), sidecar.failed()).await;
        assert!(early.is_err(), "{early:?} ended");
        sidecar.bridge.as_mut().unwrap().break_a_part(last);
        assert_eq!(timeout(PATIENCE, sidecar.failed()).await, Ok("a part that panics"));
        timeout(PATIENCE, sidecar.stop()).await.unwrap();
    }
}
