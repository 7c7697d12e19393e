//! Target 4: every message against the crates of the reference implementation, in both directions.

use std::sync::Arc;

use binary_sv2::{from_bytes, to_bytes, Deserialize, GetSize, Serialize};
use bytes::Bytes;
use common_messages_sv2::{
    Reconnect, SetupConnection, SetupConnectionError, SetupConnectionSuccess,
};
use extensions_sv2::{RequestExtensions, RequestExtensionsError, RequestExtensionsSuccess};
use gopool_sv2::backend::MintNews;
use gopool_sv2::channel::Answer;
use gopool_sv2::frame::Frame;
use gopool_sv2::job::{Announcement, Body};
use gopool_sv2::session::{decode, Inbound, Opened, Outbound};
use gopool_sv2::types::{Hash, Kind, RefuseReason, RejectReason, Target, MINT_CREDITS};
use mining_sv2::*;

use super::frames::written;
use super::input::Input;

/// What both readers make of a payload. TLVs and other bytes behind the last field are cut off, and
/// written again it is the same message.
fn agree<'a, T>(message_type: u8, extension_type: u16, payload: &'a mut [u8])
where
    T: Deserialize<'a> + Serialize + GetSize,
{
    let mut copy = payload.to_owned();
    let ours = decode(Frame { extension_type, message_type, payload: &mut copy });
    let ours = ours.map(|message| format!("{:?}", without_tlvs(message)));
    let theirs: Option<T> = from_bytes(payload).ok();
    let Some(theirs) = theirs else {
        // The protocol of a setup is read as it is: an unknown one gets an answer, too.
        let setup = (extension_type, message_type) == (0, 0x00);
        return assert!(setup || ours.is_err(), "{message_type:#04x}: {ours:?}");
    };
    let mut again = to_bytes(theirs).expect("a message that was read");
    let read = decode(Frame { extension_type, message_type, payload: &mut again });
    let read = read.map(|message| format!("{:?}", without_tlvs(message)));
    assert!(ours.is_ok(), "{message_type:#04x} is refused");
    assert_eq!(read, ours);
}

fn without_tlvs(message: Inbound<'_>) -> Inbound<'_> {
    match message {
        Inbound::Submit { kind, channel_id, sequence, share, .. } => {
            Inbound::Submit { kind, channel_id, sequence, share, tlvs: &[] }
        }
        other => other,
    }
}

/// A miner's message of any bytes, then messages for the miner.
pub fn roundtrip_all_types(data: &[u8]) {
    let mut input = Input::new(data);
    if input.bool() {
        for _ in 0..8 {
            check(&outbound(&mut input));
        }
        return;
    }
    let kind = input.u8();
    let payload = &mut input.rest().to_vec();
    match kind % 9 {
        0 => agree::<SetupConnection<'_>>(0x00, 0, payload),
        1 => agree::<OpenStandardMiningChannel<'_>>(0x10, 0, payload),
        2 => agree::<OpenExtendedMiningChannel<'_>>(0x13, 0, payload),
        3 => agree::<UpdateChannel<'_>>(0x16, 0, payload),
        4 => agree::<CloseChannel<'_>>(0x18, 0, payload),
        5 => agree::<SubmitSharesStandard>(0x1a, 0, payload),
        6 => agree::<SubmitSharesExtended<'_>>(0x1b, 0, payload),
        7 => agree::<SetCustomMiningJob<'_>>(0x22, 0, payload),
        _ => agree::<RequestExtensions<'_>>(0x00, 1, payload),
    }
}

fn outbound(input: &mut Input<'_>) -> Outbound {
    let (channel_id, id) = (input.u32(), input.u32());
    let refuse = input.pick(RefuseReason::ALL);
    match input.below(13) {
        0 => Outbound::SetupSuccess { version: input.u16(), flags: id },
        1 => Outbound::SetupError { flags: id, code: "unsupported-feature-flags" },
        2 => Outbound::ExtensionsSuccess { request_id: input.u16(), supported: list(input) },
        3 => Outbound::ExtensionsError {
            request_id: input.u16(),
            unsupported: list(input),
            required: list(input),
        },
        4 => Outbound::Opened(opened(input)),
        5 => Outbound::OpenError { request_id: id, reason: refuse },
        6 => Outbound::Target { channel_id, target: Target(input.array()) },
        7 => Outbound::UpdateError { channel_id, reason: refuse },
        8 => Outbound::Answer { channel_id, answer: answer(input) },
        9 => Outbound::CustomJobError { channel_id, request_id: id },
        10 => Outbound::Close { channel_id, reason: text(input) },
        11 => Outbound::MintCredit { channel_id, news: Arc::new(news(input)) },
        _ => Outbound::Reconnect { host: text(input), port: input.u16() },
    }
}

fn news(input: &mut Input<'_>) -> MintNews {
    if input.bool() {
        return MintNews::Failed { error_code: text(input) };
    }
    MintNews::Credited {
        credit_seq: u64::from(input.u32()) << 32 | u64::from(input.u32()),
        quote_id: text(input),
        amount: input.u32().into(),
        amount_paid: u64::from(input.u32()) << 32,
        mint_url: text(input).into(),
    }
}

fn list(input: &mut Input<'_>) -> Vec<u16> {
    (0..input.below(5)).map(|_| input.u16()).collect()
}

fn text(input: &mut Input<'_>) -> String {
    input.bytes(255).iter().map(|byte| char::from(b' ' + byte % 95)).collect()
}

fn opened(input: &mut Input<'_>) -> Opened {
    Opened {
        kind: if input.bool() { Kind::Extended } else { Kind::Standard },
        request_id: input.u32(),
        channel_id: input.u32(),
        group_id: input.u32(),
        target: Target(input.array()),
        prefix: Bytes::copy_from_slice(input.bytes(32)),
        extranonce_size: input.u8(),
    }
}

fn answer(input: &mut Input<'_>) -> Answer {
    if input.bool() {
        let sum = u64::from(input.u32()) << 32 | u64::from(input.u32());
        return Answer::Success { last_sequence: input.u32(), count: input.u32(), sum };
    }
    Answer::Error { sequence: input.u32(), reason: input.pick(RejectReason::ALL) }
}

/// Writes a message and has the reference read it: field by field what was meant, and the same
/// bytes when it writes it again.
pub fn check(message: &Outbound) {
    let mut frames = written(message);
    assert_eq!(frames.len(), if is_new_tip(message) { 2 } else { 1 }, "{message:?}");
    if let (Some((_, kind, payload)), true) = (frames.get_mut(1), is_new_tip(message)) {
        assert_eq!(*kind, 0x20);
        let Outbound::Job { channel_id, announcement } = message else { return };
        let tip = announcement.new_tip.expect("a new tip");
        reads::<SetNewPrevHash<'_>, _>(payload, |m| {
            assert_eq!((m.channel_id, m.job_id), (*channel_id, announcement.job_id));
            assert_eq!(m.prev_hash.to_array(), tip.prev_hash.0);
            assert_eq!((m.min_ntime, m.nbits), (tip.min_ntime, tip.nbits));
        });
    }
    let (extension, kind, payload) = &mut frames[0];
    let want = *kind;
    let got = match message {
        Outbound::SetupSuccess { version, flags } => {
            reads::<SetupConnectionSuccess, _>(payload, |m| {
                assert_eq!((m.used_version, m.flags), (*version, *flags));
                (0, 0x01)
            })
        }
        Outbound::SetupError { flags, code } => {
            reads::<SetupConnectionError<'_>, _>(payload, |m| {
                assert_eq!((m.flags, m.error_code.as_bytes()), (*flags, code.as_bytes()));
                (0, 0x02)
            })
        }
        Outbound::ExtensionsSuccess { request_id, supported } => {
            reads::<RequestExtensionsSuccess<'_>, _>(payload, |m| {
                assert_eq!(m.request_id, *request_id);
                assert_eq!(&m.supported_extensions.into_inner(), supported);
                (1, 0x01)
            })
        }
        Outbound::ExtensionsError { request_id, unsupported, required } => {
            reads::<RequestExtensionsError<'_>, _>(payload, |m| {
                assert_eq!(m.request_id, *request_id);
                assert_eq!(&m.unsupported_extensions.into_inner(), unsupported);
                assert_eq!(&m.required_extensions.into_inner(), required);
                (1, 0x02)
            })
        }
        Outbound::Opened(opened) => check_opened(opened, payload),
        Outbound::OpenError { request_id, reason } => {
            reads::<OpenMiningChannelError<'_>, _>(payload, |m| {
                let code = reason.as_str().as_bytes();
                assert_eq!((m.request_id, m.error_code.as_bytes()), (*request_id, code));
                (0, 0x12)
            })
        }
        Outbound::Job { channel_id, announcement } => check_job(*channel_id, announcement, payload),
        Outbound::Target { channel_id, target } => reads::<SetTarget<'_>, _>(payload, |m| {
            assert_eq!((m.channel_id, m.maximum_target.to_array()), (*channel_id, target.0));
            (0, 0x21)
        }),
        Outbound::UpdateError { channel_id, reason } => {
            reads::<UpdateChannelError<'_>, _>(payload, |m| {
                let code = reason.as_str().as_bytes();
                assert_eq!((m.channel_id, m.error_code.as_bytes()), (*channel_id, code));
                (0, 0x17)
            })
        }
        Outbound::Answer { channel_id, answer } => check_answer(*channel_id, *answer, payload),
        Outbound::CustomJobError { channel_id, request_id } => {
            reads::<SetCustomMiningJobError<'_>, _>(payload, |m| {
                assert_eq!((m.channel_id, m.request_id), (*channel_id, *request_id));
                (0, 0x24)
            })
        }
        Outbound::Close { channel_id, reason } => reads::<CloseChannel<'_>, _>(payload, |m| {
            assert_eq!((m.channel_id, m.reason_code.as_bytes()), (*channel_id, reason.as_bytes()));
            (0, 0x18)
        }),
        Outbound::Reconnect { host, port } => reads::<Reconnect<'_>, _>(payload, |m| {
            assert_eq!((m.new_host.as_bytes(), m.new_port), (host.as_bytes(), *port));
            (0, 0x04)
        }),
        Outbound::MintCredit { channel_id, news } => check_news(*channel_id, news, payload),
    };
    assert_eq!((*extension, want), got);
}

const fn is_new_tip(message: &Outbound) -> bool {
    matches!(message, Outbound::Job { announcement: Announcement { new_tip: Some(_), .. }, .. })
}

fn reads<'a, T, R>(payload: &'a mut [u8], check: impl FnOnce(T) -> R) -> R
where
    T: Deserialize<'a> + Serialize + GetSize + Clone,
{
    let bytes = payload.to_owned();
    let message: T = from_bytes(payload).expect("a message of ours");
    assert_eq!(to_bytes(message.clone()).expect("a message that was read"), bytes);
    check(message)
}

/// The reference doesn't know these: read by hand.
fn check_news(channel_id: u32, news: &MintNews, payload: &[u8]) -> (u16, u8) {
    let text = |text: &str| {
        let len = u8::try_from(text.len()).expect("a text that fits");
        [&[len], text.as_bytes()].concat()
    };
    let (kind, fields) = match news {
        MintNews::Credited { credit_seq, quote_id, amount, amount_paid, mint_url } => {
            let amounts = [amount.to_le_bytes(), amount_paid.to_le_bytes()].concat();
            let id = [&credit_seq.to_le_bytes()[..], &text(quote_id)].concat();
            (0x00, [id, amounts, text(mint_url)].concat())
        }
        MintNews::Failed { error_code } => (0x01, text(error_code)),
    };
    assert_eq!(payload, [&channel_id.to_le_bytes()[..], &fields].concat());
    (MINT_CREDITS, kind)
}

fn check_opened(opened: &Opened, payload: &mut [u8]) -> (u16, u8) {
    let ids = (opened.request_id, opened.channel_id, opened.group_id);
    match opened.kind {
        Kind::Standard => reads::<OpenStandardMiningChannelSuccess<'_>, _>(payload, |m| {
            assert_eq!((m.request_id, m.channel_id, m.group_channel_id), ids);
            assert_eq!(m.target.to_array(), opened.target.0);
            assert_eq!(m.extranonce_prefix.as_bytes(), opened.prefix);
            (0, 0x11)
        }),
        Kind::Extended => reads::<OpenExtendedMiningChannelSuccess<'_>, _>(payload, |m| {
            assert_eq!((m.request_id, m.channel_id, m.group_channel_id), ids);
            assert_eq!(m.target.to_array(), opened.target.0);
            assert_eq!(m.extranonce_prefix.as_bytes(), opened.prefix);
            assert_eq!(m.extranonce_size, u16::from(opened.extranonce_size));
            (0, 0x14)
        }),
    }
}

fn check_job(channel_id: u32, job: &Announcement, payload: &mut [u8]) -> (u16, u8) {
    match &job.body {
        Body::Standard { merkle_root } => reads::<NewMiningJob<'_>, _>(payload, |m| {
            assert_eq!((m.channel_id, m.job_id, m.version), (channel_id, job.job_id, job.version));
            assert_eq!(Hash(m.merkle_root.to_array()), *merkle_root);
            assert_eq!(m.min_ntime.into_inner(), job.min_ntime);
            (0, 0x15)
        }),
        Body::Extended(body) => reads::<NewExtendedMiningJob<'_>, _>(payload, |m| {
            assert_eq!((m.channel_id, m.job_id, m.version), (channel_id, job.job_id, job.version));
            assert_eq!(m.version_rolling_allowed, body.version_mask != 0);
            assert_eq!(m.coinbase_tx_prefix.as_bytes(), body.coinbase_prefix);
            assert_eq!(m.coinbase_tx_suffix.as_bytes(), body.coinbase_suffix);
            let path = m.merkle_path.into_inner().into_iter().map(|node| Hash(node.to_array()));
            assert!(path.eq(body.merkle_path.iter().copied()));
            assert_eq!(m.min_ntime.into_inner(), job.min_ntime);
            (0, 0x1f)
        }),
    }
}

fn check_answer(channel_id: u32, answer: Answer, payload: &mut [u8]) -> (u16, u8) {
    match answer {
        Answer::Success { last_sequence, count, sum } => {
            reads::<SubmitSharesSuccess, _>(payload, |m| {
                let got = (m.channel_id, m.last_sequence_number, m.new_submits_accepted_count);
                assert_eq!(got, (channel_id, last_sequence, count));
                assert_eq!(m.new_shares_sum, sum);
                (0, 0x1c)
            })
        }
        Answer::Error { sequence, reason } => reads::<SubmitSharesError<'_>, _>(payload, |m| {
            assert_eq!((m.channel_id, m.sequence_number), (channel_id, sequence));
            assert_eq!(m.error_code.as_bytes(), reason.as_str().as_bytes());
            (0, 0x1d)
        }),
    }
}
