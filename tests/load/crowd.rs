//! Many connections that do nothing: what they cost in memory, and how fast a new tip is with all
//! of them.

use std::io::Write as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use gopool_sv2_tests::peer::{Event, Peer, Place};
use gopool_sv2_tests::{Fault, Result};
use serde_json::{json, Value};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout_at};

use crate::args::Crowd;
use crate::setup::miners;
use crate::stats::{Latencies, Summary};
use crate::watch::{resident, Clock, Watched};

/// How long a new tip may take to reach everybody.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two tips: what the first one brought about is over.
const PAUSE: Duration = Duration::from_millis(500);

/// A shell that waits for commands: starting one would cost more time than what it starts.
struct Shell {
    child: Child,
    input: ChildStdin,
}

impl Shell {
    fn start() -> Result<Self> {
        let mut child = Command::new("sh").stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        let input = child.stdin.take().ok_or("the shell has no input")?;
        Ok(Self { child, input })
    }

    fn run(&mut self, command: &str) -> Result<()> {
        writeln!(self.input, "{command}").map_err(|error| format!("shell: {error}").into())
    }

    /// Lets it finish what it was told.
    fn end(self) -> Result<()> {
        let Self { mut child, input } = self;
        drop(input);
        child.wait()?;
        Ok(())
    }
}

/// What a listening connection reports: which one, and when a new tip came, or why it ended.
type News = (usize, Result<Instant>);

/// One run: opens the connections, gives all of them new tips, closes them. Reports of the tips
/// and of the memory go to `report`.
///
/// # Errors
/// A connection fails, the tip doesn't come, or a watched process is gone.
pub async fn run(
    place: &Place,
    plan: &Crowd,
    watched: &[Watched],
    report: &mut dyn FnMut(Value),
) -> Result<()> {
    let before = resident(watched)?;
    let start = Instant::now();
    let peers = miners(place, plan.kind, plan.connections).await?;
    let opened = start.elapsed().as_secs_f64();
    // Everybody listens, or the kernel's buffers would be what is measured.
    let (news, mut arrivals) = mpsc::channel(plan.connections * 2);
    let mut listeners = JoinSet::new();
    for (id, peer) in peers.into_iter().enumerate() {
        listeners.spawn(listen(id, peer, news.clone()));
    }
    drop(news);
    sleep(plan.settle).await;
    let open = resident(watched)?;
    if let Some(command) = &plan.tip_command {
        let mut shell = Shell::start()?;
        for _ in 0..plan.tips {
            report(tip(plan, command, &mut shell, &mut arrivals, watched).await?);
        }
        shell.end()?;
    }
    let after_tips = resident(watched)?;
    // Dropped tasks drop their sockets.
    listeners.shutdown().await;
    sleep(plan.settle).await;
    report(json!({
        "measure": "memory",
        "kind": plan.kind.name(),
        "connections": plan.connections,
        "open_seconds": opened,
        "before_kib": before,
        "open_kib": open,
        "after_tips_kib": after_tips,
        "closed_kib": resident(watched)?,
    }));
    Ok(())
}

async fn listen(id: usize, mut peer: Peer, news: mpsc::Sender<News>) {
    loop {
        let word = match peer.event().await {
            Ok(Event::NewTip) => Ok(Instant::now()),
            Ok(_) => continue,
            Err(fault) => Err(fault),
        };
        let ended = word.is_err();
        if news.send((id, word)).await.is_err() || ended {
            return;
        }
    }
}

/// Has a block found and waits until every connection has heard of it.
async fn tip(
    plan: &Crowd,
    command: &str,
    shell: &mut Shell,
    arrivals: &mut mpsc::Receiver<News>,
    watched: &[Watched],
) -> Result<Value> {
    sleep(PAUSE).await;
    // A tip that nobody asked for is not this one.
    while let Ok((_, word)) = arrivals.try_recv() {
        word?;
    }
    let clock = Clock::read(watched)?;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let start = Instant::now();
    shell.run(command)?;
    let mut latencies = Latencies::with_room(plan.connections);
    let mut heard = vec![false; plan.connections];
    while latencies.len() < plan.connections {
        let missing = plan.connections - latencies.len();
        let late = |_| -> Fault { format!("{missing} connections heard of no new tip").into() };
        let word = timeout_at(deadline, arrivals.recv()).await.map_err(late)?;
        let (id, at) = word.ok_or("nobody listens any more")?;
        if !std::mem::replace(&mut heard[id], true) {
            latencies.push(at? - start);
        }
    }
    // The pool may still tidy up: that is part of the cost.
    sleep(PAUSE).await;
    Ok(json!({
        "measure": "tip",
        "kind": plan.kind.name(),
        "connections": plan.connections,
        "latency_us": latencies.summary().map(Summary::to_json),
        "cpu_us": clock.since(plan.connections)?,
    }))
}
