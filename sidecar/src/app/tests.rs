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

/// A mint bridge whose pool and mint are away.
fn config(name: &str) -> (Folder, Config) {
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
    (folder, config)
}

/// A sidecar with one.
async fn bridged(name: &str) -> (Folder, Sidecar) {
    let (folder, config) = config(name);
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

/// A program that hears of credits.
#[cfg(feature = "grpc")]
#[derive(Debug)]
struct Program(mpsc::Sender<u64>);

#[cfg(feature = "grpc")]
impl QuoteCallbacks for Program {
    fn on_sealed(&self, event: &gopool_sv2_proto::v1::MintSealed) {
        self.0.try_send(event.amount).unwrap();
    }
}

/// A share of a process before this one becomes an amount of 7, which a program hears of.
#[cfg(feature = "grpc")]
async fn seal_7(config: Config) {
    use crate::mint::ledger::{Ledger as _, LedgerShare, Settings, Source, SqliteLedger};
    use crate::mint::Scheme;
    use crate::types::{Difficulty, Hash, PayoutKey};

    let settings = Settings {
        path: config.mint.ledger_file.clone().unwrap(),
        scheme: Scheme::Linear,
        max_shares: 8,
        accrued_every_ms: 10_000,
    };
    let ledger = SqliteLedger::open(&settings, mpsc::channel(8).0).unwrap();
    let generator = b"0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
    let share = LedgerShare {
        id: 0,
        source: Source::V1,
        hash: Hash([1; 32]),
        identity: "name".into(),
        payout_key: PayoutKey::from_hex(generator).ok(),
        quote: None,
        worker: "".into(),
        credit: Difficulty { whole: 7, fraction: 0 },
        block_candidate: false,
        height: 0,
        at_ms: crate::sys::unix_millis(),
    };
    ledger.record_many(vec![share], 0).await.unwrap();
    tokio::task::spawn_blocking(move || drop(ledger)).await.unwrap();
    let (told, mut heard) = mpsc::channel(8);
    let sidecar = Sidecar::start_calling(config, Arc::new(Program(told))).await.unwrap();
    assert_eq!(timeout(PATIENCE, heard.recv()).await.unwrap(), Some(7));
    timeout(PATIENCE, sidecar.stop()).await.unwrap();
}

#[cfg(feature = "grpc")]
#[tokio::test]
async fn a_program_has_its_own_callbacks_called() {
    let (_folder, config) = config("callbacks");
    seal_7(config).await;
}

#[cfg(feature = "grpc")]
#[tokio::test]
async fn rejects_another_unit_or_method_than_the_ledgers_amounts_are_of() {
    let (_folder, config) = config("units");
    let of = |unit: &str, method: &str| {
        let mut config = config.clone();
        (config.mint.unit, config.mint.method) = (unit.to_owned(), method.to_owned());
        config
    };
    // A mistake, while there is nothing.
    let sidecar = Sidecar::start(of("hahs", "ehash")).await.unwrap();
    timeout(PATIENCE, sidecar.stop()).await.unwrap();
    seal_7(of("hash", "ehash")).await;
    for (unit, method) in [("sat", "ehash"), ("hash", "bolt11")] {
        match Sidecar::start(of(unit, method)).await {
            Err(StartError::Mint(error @ BridgeError::Unit { .. })) => {
                let told = error.to_string();
                assert!(told.contains("unit \"hash\" and method \"ehash\""), "{told}");
            }
            other => panic!("{unit} {method}: {other:?}"),
        }
    }
    let sidecar = Sidecar::start(of("hash", "ehash")).await.unwrap();
    timeout(PATIENCE, sidecar.stop()).await.unwrap();
}
