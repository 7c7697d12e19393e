//! SetupConnection, the channel, the first job and the next tip.

use std::time::Duration;

use binary_sv2::Str0255Owned;
use mining_sv2::CloseChannelOwned;
use parsers_sv2::{CommonMessagesOwned, MiningOwned};
use tokio::time::{timeout, timeout_at, Instant};

use super::explain;
use super::job::{Jobs, Meaning, Tip, Work};
use super::report::{Diagnosis, Stage};
use super::run::Seen;
use super::time::{span, utc};
use super::ProbeOptions;
use crate::client::{
    unix_now, Connection, Incoming, OpenRequest, Reader, SetupRequest, Writer,
    FLAG_REQUIRES_FIXED_VERSION, FLAG_REQUIRES_STANDARD_JOBS,
};
use crate::miner::target::{display_order, Target};
use crate::obs::printable;
use crate::types::Kind;

/// SetupConnection.Success flag: the server takes no standard channels.
const FLAG_REQUIRES_EXTENDED_CHANNELS: u32 = 1 << 1;
/// Time for the last bytes when leaving.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);
/// Seconds by which a job's time may be ahead of the clock here before that is worth a word.
const AHEAD: i64 = 60;
/// The same for behind. A template's least time is that of the median of eleven blocks, which is
/// about an hour ago on a chain with regular blocks.
const BEHIND: i64 = 2 * 3600;

/// Sends SetupConnection as a device that opens that kind of channel.
pub(super) async fn setup(
    connection: &mut Connection,
    options: &ProbeOptions,
    kind: Kind,
) -> Result<Seen<()>, Diagnosis> {
    let (flags, asked) = match kind {
        Kind::Standard => (FLAG_REQUIRES_STANDARD_JOBS, "standard jobs (0x1)"),
        Kind::Extended => (0, "nothing (0x0)"),
    };
    let request = SetupRequest {
        flags,
        endpoint_host: options.url.host().to_owned(),
        endpoint_port: options.url.port(),
        vendor: env!("CARGO_PKG_NAME").to_owned(),
        hardware_version: "probe".to_owned(),
        firmware: env!("CARGO_PKG_VERSION").to_owned(),
        device_id: String::new(),
    };
    let answer = connection.setup(&request).await;
    let accepted = answer.map_err(|error| explain::setup(error, kind))?;
    let text = format!(
        "version {}; we require {asked}, the server requires {}",
        accepted.version,
        explain::server_flags(accepted.flags)
    );
    let mut seen = Seen::new((), text)
        .fact("version", accepted.version)
        .fact("flags_asked", flags)
        .fact("flags_required", accepted.flags);
    if accepted.flags & FLAG_REQUIRES_FIXED_VERSION != 0 {
        seen = seen.note(
            "the server forbids version rolling: most ASICs roll the version and can't work here",
        );
    }
    if accepted.flags & FLAG_REQUIRES_EXTENDED_CHANNELS != 0 && kind == Kind::Standard {
        seen = seen.note("the server takes extended channels only: --extended probes those alone");
    }
    Ok(seen)
}

/// An open channel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opened {
    kind: Kind,
    channel: u32,
    group: u32,
}

/// Opens the channel.
pub(super) async fn open(
    connection: &mut Connection,
    options: &ProbeOptions,
    kind: Kind,
) -> Result<Seen<Opened>, Diagnosis> {
    let request = OpenRequest {
        user: options.user.clone(),
        nominal_hash_rate: options.nominal_hash_rate,
        max_target: Target::EASIEST.to_le_bytes(),
    };
    let refused = |error| explain::open(error, options);
    let (opened, target, prefix, size) = match kind {
        Kind::Standard => {
            let open = connection.open_standard(&request).await.map_err(refused)?;
            let opened = Opened { kind, channel: open.channel_id, group: open.group_channel_id };
            (opened, open.target, open.extranonce_prefix, None)
        }
        Kind::Extended => {
            let asked = options.min_extranonce_size;
            let open = connection.open_extended(&request, asked).await.map_err(refused)?;
            let opened = Opened { kind, channel: open.channel_id, group: open.group_channel_id };
            (opened, open.target, open.extranonce_prefix, Some(open.extranonce_size))
        }
    };
    let difficulty = Target::from_le_bytes(target).difficulty();
    let hex = prefix.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let rolled = match size {
        Some(size) => format!(", {size} bytes to roll"),
        None => String::new(),
    };
    let text = format!(
        "channel {} (group {}), difficulty {}, extranonce prefix {hex} ({} bytes){rolled}",
        opened.channel,
        opened.group,
        readable(difficulty),
        prefix.len()
    );
    let mut seen = Seen::new(opened, text)
        .fact("channel_id", opened.channel)
        .fact("group_channel_id", opened.group)
        .fact("difficulty", difficulty)
        .fact("target", display_order(&target))
        .fact("extranonce_prefix", hex)
        .fact("extranonce_prefix_size", prefix.len() as u64);
    if let Some(size) = size {
        seen = seen.fact("extranonce_size", size);
    }
    if target == [0; 32] {
        seen = seen.note("no hash meets that target: shares will never be accepted");
    }
    Ok(seen)
}

/// The connection with its channel.
#[derive(Debug)]
pub(super) struct Mining {
    reader: Reader,
    writer: Writer,
    jobs: Jobs,
    tip: Option<Tip>,
}

impl Mining {
    pub(super) fn new(connection: Connection, opened: Opened) -> Self {
        let (reader, writer) = connection.split();
        let jobs = Jobs::new(opened.kind, opened.channel, opened.group);
        Self { reader, writer, jobs, tip: None }
    }

    /// Waits for work.
    pub(super) async fn first_job(&mut self, after: Duration) -> Result<Seen<()>, Diagnosis> {
        match self.work(Stage::Job, Instant::now() + after).await? {
            Some(work) => {
                self.tip = Some(work.tip);
                Ok(described(&work, unix_now()))
            }
            None => Err(explain::no_job(&self.jobs.missing(), after)),
        }
    }

    /// Waits for work on another block than the first one's.
    pub(super) async fn tip(&mut self, after: Duration) -> Result<Seen<()>, Diagnosis> {
        let deadline = Instant::now() + after;
        let before = self.tip.map(|tip| tip.prev_hash);
        loop {
            match self.work(Stage::Tip, deadline).await? {
                Some(work) if Some(work.tip.prev_hash) != before => {
                    return Ok(described(&work, unix_now()));
                }
                Some(_) => {}
                None => return Err(explain::no_tip(after)),
            }
        }
    }

    /// The next work; `None` when there is none in time.
    async fn work(&mut self, stage: Stage, deadline: Instant) -> Result<Option<Work>, Diagnosis> {
        loop {
            let message = match timeout_at(deadline, self.reader.next()).await {
                Err(_) => return Ok(None),
                Ok(message) => message.map_err(|error| explain::broken(stage, error))?,
            };
            match message {
                Incoming::Mining(message) => match self.jobs.on(&message) {
                    Meaning::Work(work) => return Ok(Some(work)),
                    Meaning::Closed(reason) => return Err(explain::channel_closed(&reason)),
                    Meaning::Nothing => {}
                },
                Incoming::Common(CommonMessagesOwned::Reconnect(m)) => {
                    let host = printable(m.new_host.as_bytes());
                    return Err(explain::redirected(&host, m.new_port));
                }
                Incoming::Common(_) | Incoming::Other { .. } => {}
            }
        }
    }

    /// Closes the channel and the connection, as well as it can.
    pub(super) async fn leave(mut self) {
        let Ok(reason_code) = Str0255Owned::try_from(b"probe done".to_vec()) else { return };
        let channel_id = self.jobs.channel();
        let message = MiningOwned::CloseChannel(CloseChannelOwned { channel_id, reason_code });
        if self.writer.queue(message).is_ok() {
            let _ = timeout(LEAVE_TIMEOUT, self.writer.close()).await;
        }
    }
}

/// Work for people and machines; `now` in Unix seconds.
fn described(work: &Work, now: u32) -> Seen<()> {
    let Work { job, tip, min_ntime } = work;
    let started = match job.min_ntime {
        None => "future, started by SetNewPrevHash",
        Some(_) => "active",
    };
    let hash = display_order(&tip.prev_hash);
    let network = Target::from_compact(tip.nbits).unwrap_or(Target::NEVER).difficulty();
    let ahead = i64::from(*min_ntime) - i64::from(now);
    let apart = span(ahead.unsigned_abs());
    let difference = match ahead {
        0 => "as the clock here".to_owned(),
        1.. => format!("{apart} ahead of the clock here"),
        _ => format!("{apart} behind the clock here"),
    };
    let coinbase = job.coinbase.as_ref().map_or_else(String::new, |coinbase| {
        let rolling = if coinbase.rolling { "may" } else { "must not" };
        format!(
            ", coinbase of {} + extranonce + {} bytes, {} merkle hashes, version {rolling} roll",
            coinbase.prefix, coinbase.suffix, coinbase.path
        )
    });
    let text = format!(
        "job {} ({started}) on block ..{}, min_ntime {} ({difference}), version {:#010x}, \
         network difficulty {}{coinbase}",
        job.id,
        &hash[hash.len() - 16..],
        utc(*min_ntime),
        job.version,
        readable(network)
    );
    let mut seen = Seen::new((), text)
        .fact("job_id", job.id)
        .fact("future", job.min_ntime.is_none())
        .fact("prev_hash", hash)
        .fact("nbits", tip.nbits)
        .fact("network_difficulty", network)
        .fact("min_ntime", *min_ntime)
        .fact("clock_difference", ahead as f64)
        .fact("version", job.version);
    if let Some(coinbase) = &job.coinbase {
        seen = seen
            .fact("coinbase_prefix_size", coinbase.prefix as u64)
            .fact("coinbase_suffix_size", coinbase.suffix as u64)
            .fact("merkle_path_length", coinbase.path as u64)
            .fact("version_rolling_allowed", coinbase.rolling);
    }
    if ahead > AHEAD {
        seen = seen.note(format!(
            "the job's time is {apart} ahead of the clock here: one of the clocks is wrong. \
             Blocks that are two hours ahead of the network's time are refused"
        ));
    } else if ahead < -BEHIND {
        seen = seen.note(format!(
            "the job's time is {apart} behind the clock here: the pool's node is not in sync, or \
             the clock here is wrong (on test chains with rare blocks it is normal)"
        ));
    }
    seen
}

/// A difficulty with as many digits as are worth reading.
fn readable(difficulty: f64) -> String {
    match difficulty {
        d if d >= 100.0 => format!("{d:.0}"),
        d if d >= 1.0 => format!("{d:.2}"),
        d if d >= 0.001 => format!("{d:.6}"),
        d => format!("{d:.3e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::job::Job;

    fn notes(min_ntime: u32, now: u32) -> (String, usize) {
        let job = Job { id: 1, version: 0x2000_0000, min_ntime: None, coinbase: None };
        let tip = Tip { prev_hash: [7; 32], nbits: 0x207f_ffff };
        let seen = described(&Work { job, tip, min_ntime }, now);
        (seen.text().to_owned(), seen.notes().len())
    }

    #[test]
    fn says_how_far_the_clocks_are_apart() {
        let now = 1_790_000_000;
        for (min_ntime, words, noted) in [
            (now, "as the clock here", 0),
            (now + 60, "1 min 0 s ahead", 0),
            (now + 61, "1 min 1 s ahead", 1),
            (now - 7_200, "2 h 0 min behind", 0),
            (now - 7_201, "2 h 0 min behind", 1),
        ] {
            let (text, notes) = notes(min_ntime, now);
            assert!(text.contains(words), "{text}");
            assert_eq!(notes, noted, "{text}");
        }
    }

    #[test]
    fn writes_difficulties_of_any_size() {
        let all = [1.5e14, 1.0, 0.001, 4.6e-10].map(readable);
        assert_eq!(all, ["150000000000000", "1.00", "0.001000", "4.600e-10"]);
        assert_eq!(readable(f64::INFINITY), "inf");
    }
}
