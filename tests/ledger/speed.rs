//! How fast the ledger is, beside the disk it is on.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use gopool_sv2::mint::ledger::{Books, Kept, Ledger as _, Outcome, SqliteLedger};
use gopool_sv2_tests::Result;
use tokio::sync::mpsc;

use crate::shares::{open, share};

/// Shares under way when it is asked for all it can.
const DEPTH: usize = 8_192;

/// Accounts that the shares are for.
const ACCOUNTS: u64 = 1_000;

/// Light load, in shares each second.
const LIGHT: u64 = 500;

/// What one small transaction writes, about: five pages with their headers.
const WRITE: usize = 5 * (4_096 + 24);

/// How long each part of a round takes: short, for disks have moods that last longer.
const ROUND: Duration = Duration::from_millis(250);

/// Measures for about `seconds`: a sustained load, then rounds of a light one and of bare fsync by
/// turns, so that both see the same disk. Prints what it finds.
pub(crate) async fn run(folder: &Path, seconds: u64) -> Result<()> {
    fs::create_dir_all(folder)?;
    let path = folder.join("speed.db");
    let (ledger, mut outcomes) = open(&path, DEPTH)?;
    let mut next = start_after(&path)?;
    let all = sustained(&ledger, &mut outcomes, &mut next, seconds / 2).await?;
    println(&format!("sustained: {all:.0} shares/s, depth {DEPTH}, {ACCOUNTS} accounts"))?;
    let (mut shares, mut syncs) = (Vec::new(), Vec::new());
    let rounds = (seconds * 500).div_ceil(2 * ROUND.as_millis() as u64);
    for _ in 0..rounds.max(1) {
        shares.extend(light(&ledger, &mut outcomes, &mut next).await?);
        syncs.extend(bare(&folder.join("speed.sync"))?);
    }
    let show = |name: &str, times: &mut Vec<Duration>| {
        times.sort_unstable();
        let at = |part: usize| times[(times.len() * part / 1_000).min(times.len() - 1)];
        let (half, most) = (at(500), at(990));
        let text = format!("{name}: p50 {half:.2?}, p99 {most:.2?} ({} of them)", times.len());
        println(&text).map(|()| most)
    };
    let light = show(&format!("record to outcome at {LIGHT}/s"), &mut shares)?;
    let sync = show(&format!("write of {WRITE} bytes and fsync"), &mut syncs)?;
    println(&format!("p99 of the ledger / p99 of fsync: {:.2}", light.div_duration_f64(sync)))
}

fn println(text: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{text}").map_err(Into::into)
}

/// A number that no share of the file has.
fn start_after(path: &Path) -> Result<u64> {
    let books = Books::open(path)?;
    let shares: u64 = books.accounts(0, u32::MAX)?.iter().map(|account| account.shares).sum();
    Ok(shares + 1)
}

/// Shares each second with [`DEPTH`] of them always under way.
async fn sustained(
    ledger: &SqliteLedger,
    outcomes: &mut mpsc::Receiver<Vec<Kept>>,
    next: &mut u64,
    seconds: u64,
) -> Result<f64> {
    let begun = Instant::now();
    let (mut under_way, mut done) = (0, 0_usize);
    while begun.elapsed() < Duration::from_secs(seconds) || under_way > 0 {
        let more = begun.elapsed() < Duration::from_secs(seconds);
        while more && under_way < DEPTH && ledger.record(share(*next, ACCOUNTS, 1_000)?) {
            *next += 1;
            under_way += 1;
        }
        let kept = outcomes.recv().await.ok_or("the ledger has ended")?;
        if kept.iter().any(|kept| kept.outcome != Outcome::Recorded) {
            return Err("a share was not recorded".into());
        }
        under_way -= kept.len();
        done += kept.len();
    }
    Ok(done as f64 / begun.elapsed().as_secs_f64())
}

/// Times from record to outcome under a light load.
async fn light(
    ledger: &SqliteLedger,
    outcomes: &mut mpsc::Receiver<Vec<Kept>>,
    next: &mut u64,
) -> Result<Vec<Duration>> {
    let mut clock = tokio::time::interval(Duration::from_secs(1) / LIGHT as u32);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    let first = *next;
    let begun = Instant::now();
    let (mut sent, mut times) = (Vec::new(), Vec::new());
    while begun.elapsed() < ROUND || times.len() < sent.len() {
        tokio::select! {
            _ = clock.tick(), if begun.elapsed() < ROUND => {
                sent.push(Instant::now());
                if !ledger.record(share(*next, ACCOUNTS, 1_000)?) {
                    return Err("the ledger has no room".into());
                }
                *next += 1;
            }
            kept = outcomes.recv() => {
                for kept in kept.ok_or("the ledger has ended")? {
                    let sent = sent.get((kept.id - first) as usize).ok_or("a stray outcome")?;
                    times.push(sent.elapsed());
                }
            }
        }
    }
    Ok(times)
}

/// Times of bare writes of about the same size, each followed by an fsync.
fn bare(path: &Path) -> Result<Vec<Duration>> {
    let mut file = File::create(path)?;
    let begun = Instant::now();
    let mut times = Vec::new();
    while begun.elapsed() < ROUND {
        let one = Instant::now();
        file.write_all(&[7; WRITE])?;
        file.sync_all()?;
        times.push(one.elapsed());
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(times)
}
