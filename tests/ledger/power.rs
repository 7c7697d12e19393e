//! The power goes at any moment: what was acknowledged is on the disk.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Duration;

use gopool_sv2::mint::ledger::{Books, Kept, Ledger as _, Outcome};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use rusqlite::Connection;

use crate::shares::{hash, open, pay, share};
use crate::{lossy, Result};

/// Times that the power goes.
const CUTS: u32 = 60;

/// Shares under way.
const DEPTH: usize = 256;

/// Records until it is told to stop. Outcomes come in the order of numbers: all up to `kept` are
/// acknowledged.
async fn record(file: &Path, kept: &AtomicU64, stop: &AtomicBool) -> Result<()> {
    let (ledger, mut outcomes) = open(file, DEPTH)?;
    let (mut next, mut open, mut batches) = (1, 0, 0_u32);
    while !stop.load(Ordering::Relaxed) {
        while open < DEPTH && ledger.record(share(next, 20, next as i64)?) {
            next += 1;
            open += 1;
        }
        let batch = outcomes.recv().await.ok_or("the ledger has ended")?;
        open -= batch.len();
        for Kept { id, outcome } in batch {
            if outcome != Outcome::Recorded {
                return Err(format!("share {id}: {outcome:?}").into());
            }
            kept.store(id, Ordering::SeqCst);
        }
        batches += 1;
        if batches.is_multiple_of(4) {
            pay(&ledger, next as i64).await?;
        }
    }
    Ok(())
}

#[test]
fn survives_power_cuts_at_any_moment() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    lossy::watch(&disk);
    let (kept, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let recorder = {
        let (file, kept, stop) = (disk.join("ledger.db"), Arc::clone(&kept), Arc::clone(&stop));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(record(&file, &kept, &stop))
        })
    };
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut moments = Vec::new();
    for cut in 0..CUTS {
        std::thread::sleep(Duration::from_micros(random.gen_range(500..30_000)));
        // First what was acknowledged, then the disk: it may have got further meanwhile.
        let acknowledged = kept.load(Ordering::SeqCst);
        let picture = folder.path().join(cut.to_string());
        // By turns: nothing of what was not synced, or some of it.
        let survives = (cut % 2 == 1).then_some(&mut random);
        lossy::picture(&disk, &picture, survives).unwrap();
        moments.push((picture, acknowledged));
    }
    stop.store(true, Ordering::Relaxed);
    recorder.join().unwrap().unwrap();
    for (picture, acknowledged) in &moments {
        let file = picture.join("ledger.db");
        let (ledger, _outcomes) = open(&file, 1).unwrap();
        let books = Books::open(&file).unwrap();
        let lost =
            (1..=*acknowledged).filter(|n| books.credit_of(&hash(*n)).unwrap().is_none()).count();
        assert_eq!(lost, 0, "of {acknowledged} acknowledged shares are lost: {picture:?}");
        let audit = books.verify().unwrap();
        assert!(audit.faults.is_empty(), "{picture:?}: {:?}", audit.faults);
        drop(ledger);
    }
    let last = moments.last().map_or(0, |(_, acknowledged)| *acknowledged);
    println!("{CUTS} cuts, {last} shares acknowledged before the last, 0 lost");
    assert!(last > u64::from(CUTS), "hardly anything was recorded");
}

/// Rows of a table that were committed one by one and are lost when the power goes after that.
fn lost_with(synchronous: &str) -> u64 {
    const ROWS: u64 = 200;
    let folder = tempfile::tempdir().unwrap();
    let (disk, picture) = (folder.path().join("disk"), folder.path().join("picture"));
    std::fs::create_dir(&disk).unwrap();
    lossy::watch(&disk);
    let conn = Connection::open(disk.join("rows.db")).unwrap();
    conn.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA journal_mode = WAL; CREATE TABLE row(n INTEGER)",
    )
    .unwrap();
    conn.pragma_update(None, "synchronous", synchronous).unwrap();
    for n in 0..ROWS {
        conn.execute("INSERT INTO row VALUES (?1)", [n]).unwrap();
    }
    lossy::picture(&disk, &picture, None).unwrap();
    let after = Connection::open(picture.join("rows.db")).unwrap();
    let found: u64 = after.query_row("SELECT count(*) FROM row", [], |row| row.get(0)).unwrap();
    ROWS - found
}

#[test]
fn sees_what_a_ledger_that_does_not_wait_for_the_disk_would_lose() {
    // The disk of these tests forgets: SQLite with less than FULL shows it.
    assert_eq!(lost_with("FULL"), 0);
    assert_eq!(lost_with("NORMAL"), 200);
    assert_eq!(lost_with("OFF"), 200);
}
