//! A real process, ended by SIGKILL at any moment: what it has acknowledged is in the ledger.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use gopool_sv2::mint::ledger::Books;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::shares::{hash, open};
use crate::Result;

/// Kills in a run; `GOPOOL_SV2_KILLS` asks for more.
const KILLS: u32 = 100;

/// Kills of one file, before the next one is begun.
const KILLS_PER_FILE: u32 = 10;

/// Ends the process with the test, whatever happens.
struct Recorder(Child);

impl Drop for Recorder {
    fn drop(&mut self) {
        // SIGKILL; it may be gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Lets a process record from share `first` on and kills it after `after`. Gives what it has said:
/// outcomes by number of the share.
fn record_and_kill(file: &Path, first: u64, after: Duration) -> Result<BTreeMap<u64, String>> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sv2-ledger"))
        .args(["record".as_ref(), file.as_os_str(), first.to_string().as_ref()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let mut recorder = Recorder(child);
    let stdout = stdout.ok_or("no pipe")?;
    // Read beside it: a pipe that is full would stop it.
    let reader = std::thread::spawn(move || {
        let mut said = BTreeMap::new();
        let mut opened = false;
        for line in BufReader::new(stdout).lines() {
            let Ok(line) = line else { break };
            opened |= line == "open";
            // The last line may be cut: without its outcome it acknowledges nothing.
            if let Some((number, outcome)) = line.split_once(' ') {
                if let Ok(number) = number.parse() {
                    said.insert(number, outcome.to_owned());
                }
            }
        }
        (opened, said)
    });
    std::thread::sleep(after);
    if let Some(status) = recorder.0.try_wait()? {
        let mut text = String::new();
        stderr.ok_or("no pipe")?.read_to_string(&mut text)?;
        return Err(format!("it ended by itself, {status}: {text}").into());
    }
    recorder.0.kill()?;
    recorder.0.wait()?;
    let (_, said) = reader.join().map_err(|_| "the reader has panicked")?;
    Ok(said)
}

#[test]
fn survives_kills_at_any_moment() {
    let kills = std::env::var("GOPOOL_SV2_KILLS").ok().and_then(|kills| kills.parse().ok());
    let kills: u32 = kills.unwrap_or(KILLS);
    let folder = tempfile::tempdir().unwrap();
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (mut acknowledged, mut again, mut unheard) = (0_u64, 0_u64, 0_u64);
    for run in 0..kills.div_ceil(KILLS_PER_FILE) {
        let file = folder.path().join(format!("{run}.db"));
        let mut said: BTreeMap<u64, String> = BTreeMap::new();
        for kill in 0..KILLS_PER_FILE.min(kills - run * KILLS_PER_FILE) {
            // From before it has opened the file to long after it has begun.
            let after = Duration::from_micros(random.gen_range(500..250_000));
            let first = said.last_key_value().map_or(1, |(last, _)| last + 1);
            let now = record_and_kill(&file, first, after).unwrap();
            for (number, outcome) in now {
                let good = matches!(outcome.as_str(), "Recorded" | "Again");
                assert!(good, "share {number}: {outcome}");
                again += u64::from(outcome == "Again");
                acknowledged += 1;
                assert!(said.insert(number, outcome).is_none(), "share {number} twice");
            }
            unheard += check(&file, &said, (run, kill));
        }
    }
    println!(
        "{kills} kills: {acknowledged} acknowledged ({again} of them known from before the kill), \
         0 lost, 0 double; {unheard} times a share was in the ledger that nobody had heard of"
    );
    assert!(acknowledged > u64::from(kills), "it was killed before it did anything");
}

/// Checks the file that a killed process has left; answers how many shares are in it besides the
/// acknowledged ones.
fn check(file: &Path, said: &BTreeMap<u64, String>, place: (u32, u32)) -> u64 {
    // The next process does the same: recovery, and the lock is free.
    let (ledger, _outcomes) = open(file, 1).unwrap();
    let books = Books::open(file).unwrap();
    let audit = books.verify().unwrap();
    assert!(audit.faults.is_empty(), "{place:?}: {:?}", audit.faults);
    let lost: Vec<&u64> =
        said.keys().filter(|number| books.credit_of(&hash(**number)).unwrap().is_none()).collect();
    assert!(lost.is_empty(), "{place:?}: {} acknowledged shares are lost", lost.len());
    let counted: u64 = books.accounts(0, 1_000).unwrap().iter().map(|books| books.shares).sum();
    assert_eq!(counted, audit.shares, "{place:?}: the accounts count each share once");
    drop(ledger);
    audit.shares - said.len() as u64
}
