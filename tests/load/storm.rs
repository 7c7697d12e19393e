//! A reconnect storm: what miners that go on mining notice while many others come back at once.
//!
//! Those others are another process, which waits for its core behind this one: a handshake costs a
//! miner as much as the pool, and would be what is measured here.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gopool_sv2_tests::peer::{Peer, Place};
use gopool_sv2_tests::{Fault, Result};
use serde_json::{json, Value};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::args::{Common, Returns, Shares, Storm};
use crate::setup::miners;
use crate::shares;
use crate::stats::{Latencies, Summary};
use crate::watch::{Clock, Watched};

/// How the others stand back for the miners whose shares are measured: they get what is left of the
/// core; where there is no `chrt`, little of it.
const BEHIND: [&[&str]; 2] = [&["chrt", "--idle", "0"], &["nice", "-n", "19"]];
/// What the others say when all are there, before what came of their return.
const READY: &str = "ready";
/// How long each of the two may take.
const PATIENCE: Duration = Duration::from_secs(180);
/// How long live miners go on when all others are back.
const AFTER: Duration = Duration::from_millis(500);
/// Submits of a live miner that may wait: it is never held up.
const WINDOW: usize = 64;
/// What a miner waits that was refused, before it tries again.
const RETRY: Duration = Duration::from_millis(500);
/// How long one waits for its work before it tries again.
const ATTEMPT: Duration = Duration::from_secs(60);

/// One run: all come, the live ones mine in peace, the others are cut off and come back. false: a
/// share was not accepted.
///
/// # Errors
/// A connection fails, or the others never come back.
pub async fn run(common: &Common, plan: &Storm, watched: &[Watched]) -> Result<(Value, bool)> {
    let place = common.place()?;
    let mut others = Others::start(common, plan)?;
    let mut watched = watched.to_vec();
    watched.push(Watched { name: "others".into(), pid: others.child.id(), threads: None });
    let live = miners(&place, plan.kind, plan.live).await?;
    others.say("are not all there").await?;

    let miners = live.into_iter().map(Into::into).collect();
    let paced = Shares::paced(plan.live, WINDOW, plan.kind, plan.pace);
    let (miners, peace, quiet) = shares::run(miners, &paced, plan.peace, &watched).await?;
    let ready = shares::stocked(miners, &paced, PATIENCE.as_secs_f64())?;
    let (clock, over) = (Clock::read(&watched)?, Arc::new(AtomicBool::new(false)));
    let (begin, workers) = shares::begin(ready, &paced, PATIENCE, &over);
    others.go()?;
    let back: Value = serde_json::from_str(&others.say("have not all come back").await?)?;
    let cpu = clock.since(plan.others)?;
    sleep(AFTER).await;
    over.store(true, Ordering::Relaxed);
    let (_, tally) = shares::end(workers).await?;
    others.end()?;

    let clean = quiet && tally.is_clean();
    let seconds = shares::elapsed(&tally, begin);
    let mut report = shares::report(tally, &paced, seconds);
    report["measure"] = "storm".into();
    report["connections"] = plan.live.into();
    report["others"] = plan.others.into();
    report["peace_us"] = peace["latency_us"].clone();
    report["peace_lateness_us"] = peace["lateness_us"].clone();
    report["storm"] = back;
    report["cpu_us"] = cpu;
    Ok((report, clean))
}

/// The process that is everybody else.
struct Others {
    child: Child,
    input: ChildStdin,
    lines: mpsc::Receiver<String>,
}

impl Others {
    fn start(common: &Common, plan: &Storm) -> Result<Self> {
        let works = |way: &&[&str]| {
            let tried = Command::new(way[0]).args(&way[1..]).arg("true").output();
            tried.is_ok_and(|output| output.status.success())
        };
        let way = BEHIND.into_iter().find(works).ok_or("there is neither chrt nor nice")?;
        let mut command = Command::new(way[0]);
        command.args(&way[1..]).arg(std::env::current_exe()?).args(common.again());
        command.args(["returns", "--connections", &plan.others.to_string()]);
        command.args(["--kind", plan.kind.name()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let input = child.stdin.take().ok_or("the others have no input")?;
        let output = child.stdout.take().ok_or("the others have no output")?;
        let (said, lines) = mpsc::channel(4);
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(|line| line.ok()) {
                if said.blocking_send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, input, lines })
    }

    /// What they say next.
    async fn say(&mut self, missing: &str) -> Result<String> {
        let late = |_| -> Fault { format!("the others {missing} after {PATIENCE:?}").into() };
        let said = timeout(PATIENCE, self.lines.recv()).await.map_err(late)?;
        said.ok_or_else(|| "the others have gone".into())
    }

    /// Cuts them off.
    fn go(&mut self) -> Result<()> {
        Ok(writeln!(self.input, "go")?)
    }

    fn end(mut self) -> Result<()> {
        drop(self.input);
        match self.child.wait()?.success() {
            true => Ok(()),
            false => Err("the others have failed".into()),
        }
    }
}

/// The others: they come, wait for a line on standard input, are cut off, come back all at once,
/// and stay until standard input ends.
///
/// # Errors
/// A connection fails before that, or does not come back.
pub async fn returns(place: &Place, plan: &Returns) -> Result<()> {
    let (go, mut told) = mpsc::channel(1);
    // From the start: who starts them may be killed at any time, and their load with it.
    std::thread::spawn(move || {
        for _ in std::io::stdin().lines().map_while(|line| line.ok()) {
            if go.blocking_send(()).is_err() {
                break;
            }
        }
        std::process::exit(0);
    });
    let peers = miners(place, plan.kind, plan.connections).await?;
    let mut output = std::io::stdout();
    writeln!(output, "{READY}")?;
    told.recv().await.ok_or("nobody says when")?;
    let start = Instant::now();
    for peer in peers {
        peer.cut()?;
    }
    let mut workers = JoinSet::new();
    for _ in 0..plan.connections {
        let (place, kind) = (place.clone(), plan.kind);
        workers.spawn(async move {
            let (mut refused, mut forgotten) = (0, 0);
            loop {
                match timeout(ATTEMPT, come(&place, kind)).await {
                    Ok(Ok(peer)) => return (peer, start.elapsed(), refused, forgotten),
                    Ok(Err(_)) => refused += 1,
                    Err(_) => forgotten += 1,
                }
                sleep(RETRY).await;
            }
        });
    }
    let (mut latencies, mut refused, mut forgotten) = (Latencies::default(), 0, 0);
    let mut back = Vec::with_capacity(plan.connections);
    while let Some(done) = workers.join_next().await {
        let (peer, after, turned_away, left) = done?;
        latencies.push(after);
        refused += turned_away;
        forgotten += left;
        back.push(peer);
    }
    let report = json!({
        "seconds": start.elapsed().as_secs_f64(),
        // Attempts that were closed, and those that got no answer.
        "refused": refused,
        "forgotten": forgotten,
        "back_us": latencies.summary().map(Summary::to_json),
    });
    writeln!(output, "{report}")?;
    // They stay as long as they are wanted.
    std::future::pending().await
}

/// From nothing to a channel with work.
async fn come(place: &Place, kind: gopool_sv2_tests::peer::Kind) -> Result<Peer> {
    let mut peer = Peer::connect(place, kind).await?;
    peer.open(place).await?;
    peer.first_job().await?;
    Ok(peer)
}
