//! Many connections that do nothing: what they cost in memory, and how fast a new tip, or other
//! work on the same tip, is with all of them.

use std::io::Write as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use gopool_sv2_tests::peer::{Event, Place};
use gopool_sv2_tests::Result;
use serde_json::{json, Value};
use tokio::time::sleep;

use crate::args::Crowd;
use crate::ear::Ears;
use crate::setup::miners;
use crate::stats::Summary;
use crate::watch::{resident, Clock, Watched};

/// How long news may take to reach everybody.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two news: what the first one brought about is over.
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

/// What everybody is told.
struct News<'a> {
    /// In reports.
    measure: &'static str,
    /// What a miner makes of it.
    event: Event,
    /// What brings it about.
    command: &'a str,
    times: usize,
}

/// One run: opens the connections, gives all of them news, closes them. Reports of the news and of
/// the memory go to `report`.
///
/// # Errors
/// A connection fails, news don't come, or a watched process is gone.
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
    let ears = Ears::new(peers);
    sleep(plan.settle).await;
    let open = resident(watched)?;
    let tips = (plan.tip_command.as_deref(), "tip", Event::NewTip, plan.tips);
    let templates = (plan.template_command.as_deref(), "template", Event::NewJob, plan.templates);
    let mut shell = Shell::start()?;
    for (command, measure, event, times) in [tips, templates] {
        let Some(command) = command else { continue };
        let news = News { measure, event, command, times };
        for _ in 0..news.times {
            report(tell(plan, &news, &mut shell, &ears, watched).await?);
        }
    }
    shell.end()?;
    let after = resident(watched)?;
    ears.close().await;
    sleep(plan.settle).await;
    report(json!({
        "measure": "memory",
        "kind": plan.kind.name(),
        "connections": plan.connections,
        "open_seconds": opened,
        "before_kib": before,
        "open_kib": open,
        "after_tips_kib": after,
        "closed_kib": resident(watched)?,
    }));
    Ok(())
}

/// Has the pool tell something and waits until every connection has heard of it.
async fn tell(
    plan: &Crowd,
    news: &News<'_>,
    shell: &mut Shell,
    ears: &Ears,
    watched: &[Watched],
) -> Result<Value> {
    sleep(PAUSE).await;
    // A tip that nobody asked for is not this one.
    ears.forget()?;
    let clock = Clock::read(watched)?;
    let start = Instant::now();
    shell.run(news.command)?;
    let latencies = loop {
        ears.wait(start + PATIENCE).await;
        let (latencies, missing) = ears.heard(&news.event, start)?;
        if missing == 0 {
            break latencies;
        }
        if start.elapsed() > PATIENCE {
            return Err(format!("{missing} connections heard of no new {}", news.measure).into());
        }
    };
    // The pool may still tidy up: that is part of the cost.
    sleep(PAUSE).await;
    Ok(json!({
        "measure": news.measure,
        "kind": plan.kind.name(),
        "connections": plan.connections,
        "latency_us": latencies.summary().map(Summary::to_json),
        "cpu_us": clock.since(plan.connections)?,
    }))
}
