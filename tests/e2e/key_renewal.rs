//! A new authority key while miners mine on.

use std::fs;
use std::future::pending;
use std::os::unix::fs::PermissionsExt as _;

use gopool_sv2::client::{ConnectOptions, Connection, PoolUrl};
use gopool_sv2::{keys, miner};
use gopool_sv2_tests::{Line, LineOptions};
use tokio::sync::oneshot;

use crate::block_on;

/// The shares that a new miner at `url` has accepted.
async fn newcomer(line: &Line, name: &str, url: &str) -> u64 {
    let mut options = line.miner(name).unwrap();
    options.url = url.parse().unwrap();
    options.reconnect = false;
    options.share_limit = Some(5);
    miner::run(options, pending()).await.unwrap().accepted
}

async fn is_trusted(url: &str) -> bool {
    let url: PoolUrl = url.parse().unwrap();
    Connection::connect(&url, &ConnectOptions::default()).await.is_ok()
}

#[test]
fn a_new_key_serves_new_miners_and_drops_none() {
    let mut line = Line::start(LineOptions {
        // Hardly ever a block, so that no share is stale.
        network_bits: "1d100000",
        minipool: vec!["-share-seconds".into(), "0.2".into()],
        ..LineOptions::default()
    })
    .unwrap();
    let mut veteran = line.miner("veteran").unwrap();
    veteran.reconnect = false;
    let (finish, finished) = oneshot::channel::<()>();
    let (key_file, old_url) = (line.path("authority.key"), line.url.clone());
    block_on(async {
        let mining = tokio::spawn(miner::run(veteran, async move {
            let _ = finished.await;
        }));
        assert_eq!(newcomer(&line, "before", &old_url).await, 5);

        // Replaced in one step, as a deployment does: noticed without a word.
        let next = line.path("next.key");
        let public = keys::generate(&next).unwrap();
        fs::rename(&next, &key_file).unwrap();
        let said = tokio::task::block_in_place(|| line.sidecar.wait_for("new miners type: "));
        let new_url = said.unwrap().trim().to_owned();
        assert!(new_url.ends_with(&format!("/{public}")), "{new_url}");
        assert_eq!(newcomer(&line, "after", &new_url).await, 5);
        assert!(!is_trusted(&old_url).await, "the old key still signs");

        // A bad file, and a signal: the key stays what it is.
        fs::write(&key_file, "rubbish\n").unwrap();
        line.sidecar.signal("HUP").unwrap();
        let said =
            tokio::task::block_in_place(|| line.sidecar.wait_for("old authority key is kept"));
        assert!(said.unwrap().contains("authority.key: "));
        assert!(is_trusted(&new_url).await);

        // One that others may read is as bad; back in order it is taken up by the signal.
        let third = line.path("third.key");
        let public = keys::generate(&third).unwrap();
        fs::set_permissions(&third, fs::Permissions::from_mode(0o644)).unwrap();
        fs::rename(&third, &key_file).unwrap();
        line.sidecar.signal("HUP").unwrap();
        tokio::task::block_in_place(|| line.sidecar.wait_for("mode 0644")).unwrap();
        fs::set_permissions(&key_file, fs::Permissions::from_mode(0o600)).unwrap();
        line.sidecar.signal("HUP").unwrap();
        tokio::task::block_in_place(|| line.sidecar.wait_for(&format!("/{public}"))).unwrap();

        // All the while the first miner has mined on, on one connection.
        finish.send(()).unwrap();
        let summary = mining.await.unwrap().unwrap();
        assert_eq!((summary.connects, summary.unanswered), (1, 0), "{summary}");
        assert!(summary.accepted > 0 && summary.rejected.is_empty(), "{summary}");
    });
    line.stop().unwrap();
}
