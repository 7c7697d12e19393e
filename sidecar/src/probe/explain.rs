//! Why a server says no, or nothing, once the handshake is done.

use std::time::Duration;

use common_messages_sv2::{
    ERROR_CODE_SETUP_CONNECTION_PROTOCOL_VERSION_MISMATCH as VERSION_MISMATCH,
    ERROR_CODE_SETUP_CONNECTION_UNSUPPORTED_FEATURE_FLAGS as UNSUPPORTED_FLAGS,
    ERROR_CODE_SETUP_CONNECTION_UNSUPPORTED_PROTOCOL as UNSUPPORTED_PROTOCOL,
};

use super::report::{Cause, Diagnosis, Stage};
use super::time::span;
use super::ProbeOptions;
use crate::client::{
    ClientError, FLAG_REQUIRES_FIXED_VERSION, FLAG_REQUIRES_STANDARD_JOBS,
    FLAG_REQUIRES_VERSION_ROLLING, FLAG_REQUIRES_WORK_SELECTION,
};
use crate::types::{Kind, RefuseReason};

/// What to look at when the pool behind a listener is silent.
const LOOK_AT_LINK: &str =
    "see that the pool runs, and look in the listener's log for its link to the pool (gopool-sv2 \
     names the socket of [pool].address and what is wrong with it, and says when the link is up)";

/// Flags of SetupConnection.Error by their names.
fn client_flags(flags: u32) -> String {
    let names = [
        (FLAG_REQUIRES_STANDARD_JOBS, "REQUIRES_STANDARD_JOBS"),
        (FLAG_REQUIRES_WORK_SELECTION, "REQUIRES_WORK_SELECTION"),
        (FLAG_REQUIRES_VERSION_ROLLING, "REQUIRES_VERSION_ROLLING"),
    ];
    named(flags, &names)
}

/// Flags of SetupConnection.Success by their names.
pub(super) fn server_flags(flags: u32) -> String {
    let names = [
        (FLAG_REQUIRES_FIXED_VERSION, "REQUIRES_FIXED_VERSION"),
        (1 << 1, "REQUIRES_EXTENDED_CHANNELS"),
    ];
    named(flags, &names)
}

fn named(flags: u32, names: &[(u32, &str)]) -> String {
    if flags == 0 {
        return "nothing (0x0)".to_owned();
    }
    let known = names.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name);
    let rest = names.iter().fold(flags, |rest, (bit, _)| rest & !bit);
    let unknown = (rest != 0).then_some("unknown bits");
    let list = known.chain(unknown).collect::<Vec<_>>().join(" | ");
    format!("{list} ({flags:#x})")
}

/// SetupConnection was not accepted.
pub(super) fn setup(error: ClientError, kind: Kind) -> Diagnosis {
    let (code, flags) = match error {
        ClientError::Refused { code, flags, .. } => (code, flags),
        other => return broken(Stage::Setup, other),
    };
    let (why, remedy) = match code.as_str() {
        UNSUPPORTED_FLAGS => (
            format!(
                "the server does not do what we require ({}); it names as unsupported: {}",
                match kind {
                    Kind::Standard => "standard jobs, as devices do that can't build a coinbase",
                    Kind::Extended => "nothing",
                },
                client_flags(flags)
            ),
            match kind {
                Kind::Standard => {
                    "use extended channels (--extended; a device that needs standard jobs can't \
                     mine here but through a translating proxy), or have the pool offer standard \
                     jobs"
                }
                Kind::Extended => {
                    "we required nothing, so this is the server's fault: have it updated"
                }
            },
        ),
        UNSUPPORTED_PROTOCOL => (
            "it is a Stratum V2 server, but not for mining: a template provider's or a job \
             declarator's port, perhaps"
                .to_owned(),
            "use the pool's mining port",
        ),
        VERSION_MISMATCH => (
            "we speak version 2 of the protocol, the only one there is so far".to_owned(),
            "update the server, or this program, whichever is older",
        ),
        _ => (
            "the code is the server's own; it may turn devices of this kind or address away"
                .to_owned(),
            "look the code up in the server's documentation, or ask its operator",
        ),
    };
    let what = format!("the server refused SetupConnection: {code}");
    Diagnosis::new(Cause::SetupRefused, what, why, remedy).with_code(&code)
}

/// The channel was not opened.
pub(super) fn open(error: ClientError, options: &ProbeOptions) -> Diagnosis {
    let code = match error {
        ClientError::Refused { code, .. } => code,
        other => return broken(Stage::Open, other),
    };
    let what = format!("the server refused to open a channel for {:?}: {code}", options.user);
    let known = RefuseReason::ALL.iter().find(|reason| reason.as_str() == code);
    let (why, remedy) = known.map_or(OWN_CODE, |reason| open_code(*reason));
    Diagnosis::new(Cause::OpenRefused, what, why, remedy).with_code(&code)
}

const OWN_CODE: (&str, &str) = (
    "the code is the server's own",
    "look the code up in the server's documentation, or ask its operator",
);

/// Why a channel is refused with a code, and what to do.
fn open_code(reason: RefuseReason) -> (&'static str, &'static str) {
    match reason {
        RefuseReason::UnknownUser => (
            "the pool can't pay anybody of that name; many pools want a Bitcoin address (of the \
             pool's network), others an account",
            "give the name your miners use: --user NAME, for minipool and goPool an address with \
             .WORKER behind it if you like",
        ),
        RefuseReason::InvalidUserIdentity => (
            "the name is not written as the pool wants names",
            "give the name your miners use: --user NAME",
        ),
        RefuseReason::MaxTargetOutOfRange => (
            "we take any target, even the easiest, and the pool wants a harder limit, or has its \
             limits of difficulty mixed up",
            "look at the pool's minimum and maximum difficulty",
        ),
        RefuseReason::InvalidNominalHashrate => (
            "the pool does not like the speed that was announced",
            "announce a real one: --hash-rate H/s",
        ),
        RefuseReason::MinExtranonceSizeTooLarge => (
            "the pool can't leave us that many bytes of extranonce to roll",
            "ask for fewer: --min-extranonce-size; devices that need more can't mine here",
        ),
        RefuseReason::ChannelCapacityExhausted => (
            "a limit on channels is reached: of this address, of the listener, or of the pool's \
             extranonce prefixes",
            "close other connections or wait; raise the limit ([limits] of gopool-sv2)",
        ),
        RefuseReason::ExtendedNotSupported => (
            "we asked for standard jobs on this connection, so extended channels are refused \
             there, which is right: but the probe opens each kind on its own connection",
            "have the server looked at: it mixes connections up",
        ),
        RefuseReason::Unauthorized => (
            "the name or the address is banned, or not allowed to mine here",
            "ask the pool, or look in its list of bans; bans for bad shares end by themselves",
        ),
        RefuseReason::BackendUnavailable => (
            "the listener is up, but the link from it to the pool is down, or the pool has no \
             work (its node is not in sync or away)",
            LOOK_AT_LINK,
        ),
        RefuseReason::RateLimited => (
            "this address opened too many channels in short time",
            "wait a minute; raise the limit ([limits] of gopool-sv2)",
        ),
        RefuseReason::PayoutKeyNotSupported => (
            "the name carries a payout key, and this pool has no mint quotes",
            "leave the key out of --user",
        ),
        RefuseReason::VersionRollingNotAllowed => (
            "the pool's jobs forbid rolling the version, and this connection requires it",
            "ask the pool's operator to allow version bits, or mine with a device that doesn't \
             need them",
        ),
        RefuseReason::RequiredExtension => (
            "the listener lets nobody mine without an extension of the protocol, and the probe \
             asks for none",
            "if your miners don't ask for it either, take it out of required ([extensions] of \
             gopool-sv2)",
        ),
        RefuseReason::Internal => {
            ("a fault on the server's side", "look in the logs of the listener and of the pool")
        }
        RefuseReason::InvalidChannelId => OWN_CODE,
    }
}

/// The connection or the protocol broke, or an answer did not come.
pub(super) fn broken(stage: Stage, error: ClientError) -> Diagnosis {
    let during = match stage {
        Stage::Setup => "SetupConnection",
        Stage::Open => "the request for a channel",
        _ => "work",
    };
    match error {
        ClientError::Timeout { after, .. } => {
            let what = format!("no answer to {during} within {after:?}");
            let (why, remedy) = match stage {
                Stage::Open => (
                    "the listener asks the pool for each channel, and the pool does not answer: \
                     it hangs or is busy, or the link between the two is stuck",
                    LOOK_AT_LINK,
                ),
                _ => (
                    "the handshake worked, so a Stratum V2 listener is there, but it hangs, or \
                     does not take its turn",
                    "look in the listener's log; restart it; --timeout waits longer",
                ),
            };
            Diagnosis::new(Cause::NoAnswer, what, why, remedy)
        }
        ClientError::Closed { source, .. } => {
            let how = source.map_or_else(String::new, |error| format!(" ({error})"));
            Diagnosis::new(
                Cause::Closed,
                format!("the server closed the connection instead of an answer to {during}{how}"),
                "it stops or restarts, or turns this client away without a word, or lost its \
                 pool",
                "try again in a minute; the listener's log names why it closed the connection",
            )
        }
        other => Diagnosis::new(
            Cause::ProtocolBroken,
            format!("{other}"),
            "the server and this program disagree on the protocol; one of them has a fault, or \
             bytes are altered on the way",
            "update the older of the two, and report it with this text",
        ),
    }
}

/// A channel without work.
pub(super) fn no_job(missing: &str, after: Duration) -> Diagnosis {
    Diagnosis::new(
        Cause::NoJob,
        format!("the channel is open, but there was no work within {after:?}: {missing}"),
        "the pool has no block template (its node is not in sync or away), or the link from the \
         listener to the pool went down after the channel was opened",
        format!("look at the pool's node; {LOOK_AT_LINK}"),
    )
}

/// The tip stayed.
pub(super) fn no_tip(after: Duration) -> Diagnosis {
    Diagnosis::new(
        Cause::NoTip,
        format!("no new tip within {}", span(after.as_secs())),
        "Bitcoin finds a block every ten minutes on average, and an hour without one is rare \
         (one in 400): nobody found one, or the pool's node does not hear of new blocks",
        "compare the block in the job above with a block explorer; if it is not the newest, look \
         at the pool's node and its peers. Or wait longer: --wait-tip=SECONDS",
    )
}

/// The server closed the channel.
pub(super) fn channel_closed(reason: &str) -> Diagnosis {
    Diagnosis::new(
        Cause::ChannelClosed,
        format!("the server closed the channel: {reason}"),
        "the pool sent this worker away (a ban, a stop), or lost its link",
        "ask the pool what the reason means; look in the logs of the listener and of the pool",
    )
    .with_code(reason)
}

/// The server sends its miners elsewhere.
pub(super) fn redirected(host: &str, port: u16) -> Diagnosis {
    let host = if host.is_empty() { "the same host" } else { host };
    let port = if port == 0 { "the same port".to_owned() } else { format!("port {port}") };
    Diagnosis::new(
        Cause::Redirected,
        format!("the server asks to connect again, to {host}, {port}"),
        "it balances its load or is about to stop; miners follow, the probe does not",
        "probe the new address, with the same key; for the same address, wait a minute",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_flags() {
        assert_eq!(client_flags(0), "nothing (0x0)");
        assert_eq!(client_flags(3), "REQUIRES_STANDARD_JOBS | REQUIRES_WORK_SELECTION (0x3)");
        assert_eq!(server_flags(0x12), "REQUIRES_EXTENDED_CHANNELS | unknown bits (0x12)");
    }

    #[test]
    fn every_refusal_has_a_reason_and_a_remedy() {
        for reason in RefuseReason::ALL {
            let (why, remedy) = open_code(*reason);
            assert!(!why.is_empty() && !remedy.is_empty(), "{reason:?}");
        }
    }
}
