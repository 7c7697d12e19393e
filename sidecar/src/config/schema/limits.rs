//! The keys of `[limits]`.

use super::{Key, Section, Value, TIMEOUT_MS_MAX, TIMEOUT_MS_MIN};

/// A valid SetupConnection can be this long: header 6, fixed fields 11, five STR0_255 of 256.
const SETUP_FRAME_BYTES: u64 = 6 + 11 + 5 * 256;
/// The length field of a frame has 24 bits (SV2 spec 3.2).
const FRAME_BYTES_MAX: u64 = (1 << 24) - 1;
/// More than the longest job (coinbase halves of 65,535 bytes, 255 hashes): about 139,300 bytes.
const OUTBOX_BYTES_MIN: u64 = 262_144;

/// What miners may cost.
pub(super) const SECTION: Section = Section {
    name: "limits",
    about: "What one miner, and all of them together, may cost.",
    keys: &[
        int!(
            "handshake_timeout_ms",
            limits.handshake_timeout_ms as u64,
            TIMEOUT_MS_MIN,
            TIMEOUT_MS_MAX,
            "From accept to the end of the encryption handshake, in milliseconds. One limit \
             over all steps: a peer that sends byte by byte gains nothing."
        ),
        int!(
            "handshakes_at_once",
            limits.handshakes_at_once as usize,
            0,
            4_096,
            "Handshakes computed at once, so that a storm of reconnects leaves time for \
             shares. Each takes a core for about 0.35 ms. Four times as many connections that have \
             no channel yet are answered at once. 0: half the number of cores."
        ),
        int!(
            "setup_timeout_ms",
            limits.setup_timeout_ms as u64,
            TIMEOUT_MS_MIN,
            TIMEOUT_MS_MAX,
            "From the end of the handshake to a good SetupConnection, in milliseconds."
        ),
        int!(
            "first_open_timeout_ms",
            limits.first_open_timeout_ms as u64,
            0,
            86_400_000,
            "A connection that never had a channel is closed after this, in milliseconds. Long: a \
             proxy whose miners are off waits for them connected. 0: no limit."
        ),
        int!(
            "idle_timeout_ms",
            limits.idle_timeout_ms as u64,
            0,
            604_800_000,
            "A connection from which no message came for this long is closed, in milliseconds. \
             Half a day: a proxy may wait for its miners, and a small device may find a share only \
             now and then, but what is silent for longer holds a place for nothing. 0: no limit."
        ),
        int!(
            "channel_silence_ms",
            limits.channel_silence_ms as u64,
            0,
            3_600_000,
            "A channel to which nothing was sent for this long is told its target once more, in \
             milliseconds. It changes nothing; but middleboxes forget connections on which \
             nothing passes, and some firmware leaves after 180 s of silence. 0: never."
        ),
        int!(
            "opens_per_min",
            limits.opens_per_min as u32,
            0,
            1_000_000,
            "Channels that one connection may ask for in a minute, and at once that many or \
             max_channels_per_connection; further ones are answered rate-limited. Each is a \
             question to the pool. 0: no limit."
        ),
        int!(
            "updates_per_min",
            limits.updates_per_min as u32,
            0,
            1_000_000,
            "Updates of one channel's hash rate in a minute, ten at once; further ones are \
             answered rate-limited. Each is a question to the pool. 0: no limit."
        ),
        int!(
            "bad_shares_per_min",
            limits.bad_shares_per_min as u32,
            0,
            1_000_000,
            "A connection with more refused shares than this in a minute, and none accepted in \
             between, is closed. Far above what a device that mines has refused after a new \
             block. 0: no limit."
        ),
        int!(
            "messages_per_min",
            limits.messages_per_min as u32,
            0,
            1_000_000,
            "Messages that are usual for one connection in a minute: with more than twice as many \
             it is closed. In its first four minutes a share counts half. The same as goPool's \
             stratum_messages_per_minute. 0: no limit."
        ),
        int!(
            "max_channels_per_connection",
            limits.max_channels_per_connection as usize,
            1,
            65_536,
            "Channels open at once on one connection. A device needs one, a proxy one for \
             each device behind it."
        ),
        int!(
            "max_in_flight_per_connection",
            limits.max_in_flight_per_connection as usize,
            1,
            1_000_000,
            "Submits of one connection that may wait for the pool's verdict. Not above \
             max_in_flight."
        ),
        int!(
            "max_in_flight",
            limits.max_in_flight as usize,
            1,
            4_194_304,
            "Submits of all connections that may wait for the pool's verdict. The pool must \
             remember as many verdicts, to give the same one again after a broken connection."
        ),
        int!(
            "mailbox_events",
            limits.mailbox_events as usize,
            16,
            1_048_576,
            "Events of the pool (jobs, targets, verdicts) that may wait for one connection."
        ),
        int!(
            "outbox_bytes",
            limits.outbox_bytes as usize,
            OUTBOX_BYTES_MIN,
            1 << 28,
            "Bytes that may wait to be written to one connection. It holds at least the \
             longest job. Not below frame_bytes."
        ),
        int!(
            "frame_bytes_before_setup",
            limits.frame_bytes_before_setup as usize,
            SETUP_FRAME_BYTES,
            FRAME_BYTES_MAX,
            "Longest frame taken before SetupConnection succeeded, in bytes without \
             encryption: a stranger gets little memory. Not above frame_bytes."
        ),
        int!(
            "frame_bytes",
            limits.frame_bytes as usize,
            SETUP_FRAME_BYTES,
            FRAME_BYTES_MAX,
            "Longest frame of an unknown type taken from a miner after that, in bytes without \
             encryption. Known types have the limits of their own fields."
        ),
        int!(
            "write_stall_ms",
            limits.write_stall_ms as u64,
            1_000,
            TIMEOUT_MS_MAX,
            "A connection that takes no byte for this long, while some wait, is closed, in \
             milliseconds."
        ),
        int!(
            "frame_timeout_ms",
            limits.frame_timeout_ms as u64,
            1_000,
            TIMEOUT_MS_MAX,
            "A connection that has begun a frame and not finished it after this is closed, \
             in milliseconds."
        ),
        int!(
            "drain_timeout_ms",
            limits.drain_timeout_ms as u64,
            0,
            TIMEOUT_MS_MAX,
            "How long the last answers are awaited when the sidecar stops, or when a miner has \
             closed its side, in milliseconds. A stop takes a few seconds more at most."
        ),
    ],
};
