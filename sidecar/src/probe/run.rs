//! The order of the steps.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Instant;

use super::report::{Diagnosis, Fact, Facts, Failure, Stage, Step};
use super::{certificate, greet, reach, work, ProbeOptions};
use crate::client::{unix_now, ConnectOptions, Connection};
use crate::types::Kind;

/// What a step yields: something for the next one, and what to report.
#[derive(Debug)]
pub(super) struct Seen<T> {
    value: T,
    text: String,
    facts: Facts,
    notes: Vec<String>,
}

impl<T> Seen<T> {
    pub(super) fn new(value: T, text: impl Into<String>) -> Self {
        Self { value, text: text.into(), facts: Vec::new(), notes: Vec::new() }
    }

    pub(super) fn fact(mut self, name: &'static str, fact: impl Into<Fact>) -> Self {
        self.facts.push((name, fact.into()));
        self
    }

    #[cfg(test)]
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    #[cfg(test)]
    pub(super) fn notes(&self) -> &[String] {
        &self.notes
    }

    pub(super) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }
}

/// Walks the whole way and gives each step that went well to `report`, at once and in order.
///
/// Needs a tokio runtime with I/O and time. Takes at most `timeout` for each step, the wait for a
/// tip and the questions in other protocols aside.
///
/// # Errors
/// The first step that failed. Options that [`ProbeOptions::check`] refuses are not looked at
/// again: the step they spoil fails.
pub async fn run(options: &ProbeOptions, report: &mut dyn FnMut(Step)) -> Result<(), Box<Failure>> {
    let mut walk = Walk { report, channel: None };
    let addresses =
        walk.step(Stage::Resolve, reach::resolve(&options.url, options.timeout)).await?;
    for (index, kind) in options.kinds.iter().enumerate() {
        walk.channel = Some(*kind);
        let last = index + 1 == options.kinds.len();
        channel(&mut walk, options, &addresses, *kind, last).await?;
    }
    Ok(())
}

/// One connection with one channel.
async fn channel(
    walk: &mut Walk<'_>,
    options: &ProbeOptions,
    addresses: &[SocketAddr],
    kind: Kind,
    last: bool,
) -> Result<(), Box<Failure>> {
    let connect = reach::connect(addresses, options.timeout);
    let mut stream = walk.step(Stage::Connect, connect).await?;
    let greeting = walk.step(Stage::Handshake, greet::handshake(&mut stream, options)).await?;
    let authority = options.url.authority();
    let judged = async { certificate::judge(greeting, authority, unix_now()) };
    let transport = walk.step(Stage::Certificate, judged).await?;

    let waits = ConnectOptions {
        handshake_deadline: options.timeout,
        reply_timeout: options.timeout,
        ..ConnectOptions::default()
    };
    let mut connection = Connection::new(stream, transport, waits);
    walk.step(Stage::Setup, work::setup(&mut connection, options, kind)).await?;
    let opened = walk.step(Stage::Open, work::open(&mut connection, options, kind)).await?;
    let mut mining = work::Mining::new(connection, opened);
    walk.step(Stage::Job, mining.first_job(options.timeout)).await?;
    if let Some(wait) = options.wait_tip.filter(|_| last) {
        walk.step(Stage::Tip, mining.tip(wait)).await?;
    }
    mining.leave().await;
    Ok(())
}

/// The walk so far.
struct Walk<'a> {
    report: &'a mut dyn FnMut(Step),
    channel: Option<Kind>,
}

impl Walk<'_> {
    async fn step<T>(
        &mut self,
        stage: Stage,
        work: impl Future<Output = Result<Seen<T>, Diagnosis>>,
    ) -> Result<T, Box<Failure>> {
        let start = Instant::now();
        let result = work.await;
        let (channel, elapsed) = (self.channel, start.elapsed());
        match result {
            Ok(Seen { value, text, facts, notes }) => {
                (self.report)(Step { stage, channel, elapsed, text, facts, notes });
                Ok(value)
            }
            Err(diagnosis) => Err(Box::new(Failure { stage, channel, elapsed, diagnosis })),
        }
    }
}
