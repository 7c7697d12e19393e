//! The miner's frames as messages. A known message that doesn't parse ends the connection; an
//! unknown one is ignored (SV2 spec 3.4.1).

use binary_sv2::from_bytes;
use common_messages_sv2::MESSAGE_TYPE_SETUP_CONNECTION;
use extensions_sv2::{
    RequestExtensions, EXTENSION_TYPE_EXTENSIONS_NEGOTIATION, MESSAGE_TYPE_REQUEST_EXTENSIONS,
};
use mining_sv2::{
    CloseChannel, OpenExtendedMiningChannel, OpenStandardMiningChannel, SetCustomMiningJob,
    UpdateChannel, MESSAGE_TYPE_CLOSE_CHANNEL, MESSAGE_TYPE_OPEN_EXTENDED_MINING_CHANNEL,
    MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL, MESSAGE_TYPE_SET_CUSTOM_MINING_JOB,
    MESSAGE_TYPE_SUBMIT_SHARES_EXTENDED, MESSAGE_TYPE_SUBMIT_SHARES_STANDARD,
    MESSAGE_TYPE_UPDATE_CHANNEL,
};

use crate::frame::Frame;
use crate::job::Fields;
use crate::types::{Kind, Target};

/// Longest extranonce there is (B0_32).
const MAX_EXTRANONCE: usize = 32;

/// A message of a miner. Texts are opaque bytes.
#[derive(Debug, Clone, PartialEq)]
pub enum Inbound<'a> {
    /// SetupConnection.
    Setup(Setup<'a>),
    /// SetupConnection that doesn't parse: it gets an answer too.
    MalformedSetup,
    /// OpenStandardMiningChannel or OpenExtendedMiningChannel.
    Open(Open),
    /// UpdateChannel.
    Update {
        /// The miner's id of the channel.
        channel_id: u32,
        /// In H/s; anything a float can be.
        nominal_hash_rate: f32,
        /// Easiest target it takes.
        max_target: Target,
    },
    /// CloseChannel.
    Close {
        /// A channel or group id.
        channel_id: u32,
    },
    /// SubmitSharesStandard or SubmitSharesExtended.
    Submit {
        /// Which of the two.
        kind: Kind,
        /// The miner's id of the channel.
        channel_id: u32,
        /// The miner's number of the submit.
        sequence: u32,
        /// The share.
        share: Fields<'a>,
        /// What follows its last field.
        tlvs: &'a [u8],
    },
    /// SetCustomMiningJob.
    CustomJob {
        /// The miner's id of the channel.
        channel_id: u32,
        /// The miner's number of the request.
        request_id: u32,
    },
    /// RequestExtensions.
    RequestExtensions {
        /// The miner's number of the request.
        request_id: u16,
        /// What it asks for.
        requested: Vec<u16>,
    },
    /// Unknown, or nothing a miner sends.
    Ignored {
        /// Without the channel bit.
        extension_type: u16,
        /// As sent.
        message_type: u8,
    },
}

/// SetupConnection. The protocol is the raw byte: an unknown one gets an answer too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setup<'a> {
    /// 0: mining.
    pub protocol: u8,
    /// Lowest version it speaks.
    pub min_version: u16,
    /// Highest version it speaks.
    pub max_version: u16,
    /// What it requires.
    pub flags: u32,
    /// Maker of the device.
    pub vendor: &'a [u8],
    /// Version of the hardware.
    pub hardware_version: &'a [u8],
    /// Firmware.
    pub firmware: &'a [u8],
    /// The device's own name.
    pub device_id: &'a [u8],
}

/// A wish for a channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Open {
    /// Standard or extended.
    pub kind: Kind,
    /// The miner's number of the request.
    pub request_id: u32,
    /// Who is to be paid.
    pub user_identity: Vec<u8>,
    /// In H/s; anything a float can be.
    pub nominal_hash_rate: f32,
    /// Easiest target it takes.
    pub max_target: Target,
    /// Rollable bytes it needs; 0 on a standard channel.
    pub min_extranonce_size: u16,
}

/// A known message that doesn't parse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("message {message_type:#04x} of extension {extension_type:#06x} doesn't parse")]
pub struct Malformed {
    /// Without the channel bit.
    pub extension_type: u16,
    /// As sent.
    pub message_type: u8,
}

/// Reads a frame. Bytes behind the last field may be TLVs of an extension, in force or not
/// (extension 0x0002, 1.3): those of a submit are handed on, others are ignored.
///
/// # Errors
/// [`Malformed`]: close the connection.
pub fn decode(frame: Frame<'_>) -> Result<Inbound<'_>, Malformed> {
    let Frame { extension_type, message_type, payload } = frame;
    let malformed = Malformed { extension_type, message_type };
    match extension_type {
        0 => core(message_type, payload),
        EXTENSION_TYPE_EXTENSIONS_NEGOTIATION
            if message_type == MESSAGE_TYPE_REQUEST_EXTENSIONS =>
        {
            from_bytes::<RequestExtensions<'_>>(payload).ok().map(|m| Inbound::RequestExtensions {
                request_id: m.request_id,
                requested: m.requested_extensions.into_inner(),
            })
        }
        _ => Some(Inbound::Ignored { extension_type, message_type }),
    }
    .ok_or(malformed)
}

fn core(message_type: u8, payload: &mut [u8]) -> Option<Inbound<'_>> {
    let message = match message_type {
        MESSAGE_TYPE_SETUP_CONNECTION => {
            setup(payload).map_or(Inbound::MalformedSetup, Inbound::Setup)
        }
        MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL => {
            let m: OpenStandardMiningChannel<'_> = from_bytes(payload).ok()?;
            Inbound::Open(Open {
                kind: Kind::Standard,
                request_id: m.request_id,
                user_identity: m.user_identity.to_owned_bytes(),
                nominal_hash_rate: m.nominal_hash_rate,
                max_target: Target(m.max_target.to_array()),
                min_extranonce_size: 0,
            })
        }
        MESSAGE_TYPE_OPEN_EXTENDED_MINING_CHANNEL => {
            let m: OpenExtendedMiningChannel<'_> = from_bytes(payload).ok()?;
            Inbound::Open(Open {
                kind: Kind::Extended,
                request_id: m.request_id,
                user_identity: m.user_identity.to_owned_bytes(),
                nominal_hash_rate: m.nominal_hash_rate,
                max_target: Target(m.max_target.to_array()),
                min_extranonce_size: m.min_extranonce_size,
            })
        }
        MESSAGE_TYPE_UPDATE_CHANNEL => {
            let m: UpdateChannel<'_> = from_bytes(payload).ok()?;
            Inbound::Update {
                channel_id: m.channel_id,
                nominal_hash_rate: m.nominal_hash_rate,
                max_target: Target(m.maximum_target.to_array()),
            }
        }
        MESSAGE_TYPE_CLOSE_CHANNEL => {
            let m: CloseChannel<'_> = from_bytes(payload).ok()?;
            Inbound::Close { channel_id: m.channel_id }
        }
        MESSAGE_TYPE_SUBMIT_SHARES_STANDARD => submit(Kind::Standard, payload)?,
        MESSAGE_TYPE_SUBMIT_SHARES_EXTENDED => submit(Kind::Extended, payload)?,
        MESSAGE_TYPE_SET_CUSTOM_MINING_JOB => {
            let m: SetCustomMiningJob<'_> = from_bytes(payload).ok()?;
            Inbound::CustomJob { channel_id: m.channel_id, request_id: m.request_id }
        }
        _ => Inbound::Ignored { extension_type: 0, message_type },
    };
    Some(message)
}

/// Read by hand: the fixed layout is short, and the crate's reader keeps no extranonce that
/// outlives it without a copy, nor says where it ended. It is the oracle in the tests.
fn submit(kind: Kind, payload: &[u8]) -> Option<Inbound<'_>> {
    let (words, rest) = payload.split_first_chunk::<24>()?;
    let word = |index: usize| {
        let mut le = [0; 4];
        le.copy_from_slice(&words[4 * index..4 * index + 4]);
        u32::from_le_bytes(le)
    };
    let (extranonce, tlvs) = match kind {
        Kind::Standard => ([].as_slice(), rest),
        Kind::Extended => text(rest)?,
    };
    if extranonce.len() > MAX_EXTRANONCE {
        return None;
    }
    Some(Inbound::Submit {
        kind,
        channel_id: word(0),
        sequence: word(1),
        share: Fields {
            job_id: word(2),
            nonce: word(3),
            ntime: word(4),
            version: word(5),
            extranonce,
        },
        tlvs,
    })
}

/// Read by hand: the crate's reader knows three protocols and would leave a fourth unanswered.
fn setup(payload: &[u8]) -> Option<Setup<'_>> {
    let (&protocol, rest) = payload.split_first()?;
    let (min_version, rest) = rest.split_first_chunk()?;
    let (max_version, rest) = rest.split_first_chunk()?;
    let (flags, rest) = rest.split_first_chunk()?;
    let (_endpoint_host, rest) = text(rest)?;
    let (_endpoint_port, rest) = rest.split_first_chunk::<2>()?;
    let (vendor, rest) = text(rest)?;
    let (hardware_version, rest) = text(rest)?;
    let (firmware, rest) = text(rest)?;
    let (device_id, _) = text(rest)?;
    Some(Setup {
        protocol,
        min_version: u16::from_le_bytes(*min_version),
        max_version: u16::from_le_bytes(*max_version),
        flags: u32::from_le_bytes(*flags),
        vendor,
        hardware_version,
        firmware,
        device_id,
    })
}

/// A length byte with as many bytes (STR0_255, B0_32), and what follows.
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&len, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(len))
}

#[cfg(test)]
mod tests {
    use binary_sv2::to_bytes;
    use mining_sv2::{SubmitSharesExtended, SubmitSharesStandard};
    use proptest::prelude::*;

    use super::*;
    use crate::types::vectors;

    fn frame(message_type: u8, payload: &mut [u8]) -> Frame<'_> {
        Frame { extension_type: 0, message_type, payload }
    }

    proptest! {
        #[test]
        fn reads_submits_as_the_crate_does(mut bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut copy = bytes.clone();
            let theirs = from_bytes::<SubmitSharesStandard>(&mut copy).ok();
            let tail = bytes.get(24..).unwrap_or_default().to_vec();
            let ours = decode(frame(MESSAGE_TYPE_SUBMIT_SHARES_STANDARD, &mut bytes)).ok();
            let theirs = theirs.map(|m| Inbound::Submit {
                kind: Kind::Standard,
                channel_id: m.channel_id,
                sequence: m.sequence_number,
                share: Fields {
                    job_id: m.job_id,
                    nonce: m.nonce,
                    ntime: m.ntime,
                    version: m.version,
                    extranonce: &[],
                },
                tlvs: &tail,
            });
            prop_assert_eq!(ours, theirs);
            let tail = bytes.get(24..).unwrap_or_default().to_vec();
            let mut copy = bytes.clone();
            let theirs = from_bytes::<SubmitSharesExtended<'_>>(&mut copy).ok();
            let ours = decode(frame(MESSAGE_TYPE_SUBMIT_SHARES_EXTENDED, &mut bytes)).ok();
            let theirs = theirs.as_ref().map(|m| Inbound::Submit {
                kind: Kind::Extended,
                channel_id: m.channel_id,
                sequence: m.sequence_number,
                share: Fields {
                    job_id: m.job_id,
                    nonce: m.nonce,
                    ntime: m.ntime,
                    version: m.version,
                    extranonce: m.extranonce.as_bytes(),
                },
                tlvs: &tail[1 + m.extranonce.as_bytes().len()..],
            });
            prop_assert_eq!(ours, theirs);
        }

        #[test]
        fn survives_any_bytes_in_any_message(
            kind in any::<u8>(),
            extension_type in 0_u16..3,
            mut bytes in prop::collection::vec(any::<u8>(), 0..400),
        ) {
            let frame = Frame { extension_type, message_type: kind, payload: &mut bytes };
            let _ = decode(frame);
        }

        #[test]
        fn reads_setup_as_the_crate_writes_it(
            (min, max, flags) in any::<(u16, u16, u32)>(),
            text in "[ -~]{0,255}",
        ) {
            let string = || binary_sv2::Str0255Owned::try_from(text.as_str()).unwrap();
            let message = common_messages_sv2::SetupConnectionOwned {
                protocol: common_messages_sv2::Protocol::MiningProtocol,
                min_version: min,
                max_version: max,
                flags,
                endpoint_host: string(),
                endpoint_port: 3336,
                vendor: string(),
                hardware_version: string(),
                firmware: string(),
                device_id: string(),
            };
            let mut bytes = to_bytes(message).unwrap();
            let bytes_len = bytes.len();
            let text = text.as_bytes();
            let expected = Setup {
                protocol: 0, min_version: min, max_version: max, flags,
                vendor: text, hardware_version: text, firmware: text, device_id: text,
            };
            prop_assert_eq!(decode(frame(0, &mut bytes)), Ok(Inbound::Setup(expected)));
            let cut = &mut bytes[..bytes_len - 1];
            prop_assert_eq!(decode(frame(0, cut)), Ok(Inbound::MalformedSetup));
        }
    }

    #[test]
    fn reads_the_submits_of_the_vectors() {
        let vectors::Share { submit, mut channels, .. } = vectors::share();
        for channel in &mut channels {
            let (kind, message_type) = match channel.kind.as_str() {
                "standard" => (Kind::Standard, MESSAGE_TYPE_SUBMIT_SHARES_STANDARD),
                _ => (Kind::Extended, MESSAGE_TYPE_SUBMIT_SHARES_EXTENDED),
            };
            let share = Fields {
                job_id: submit.job_id,
                nonce: submit.nonce,
                ntime: submit.ntime,
                version: submit.version,
                extranonce: &channel.extranonce.0,
            };
            let (channel_id, sequence) = (submit.channel_id, submit.sequence);
            let want = Inbound::Submit { kind, channel_id, sequence, share, tlvs: &[] };
            assert_eq!(decode(frame(message_type, &mut channel.payload.0)), Ok(want));
        }
    }

    #[test]
    fn trailing_bytes_are_no_part_of_a_share_and_unknown_messages_are_ignored() {
        let mut bytes = vec![0; 24];
        bytes.extend([4, 9, 9, 9, 9, 0x02, 0x00, 0x01, 0x0a, 0x00]);
        let submit = decode(frame(MESSAGE_TYPE_SUBMIT_SHARES_EXTENDED, &mut bytes)).unwrap();
        let Inbound::Submit { share, tlvs, .. } = submit else { panic!("a submit") };
        assert_eq!((share.extranonce, tlvs), ([9; 4].as_slice(), [2, 0, 1, 10, 0].as_slice()));
        for message_type in [0x1e, 0x26, 0x7f, 0xff, 0x15, 0x50, 0x70] {
            let ignored = Inbound::Ignored { extension_type: 0, message_type };
            assert_eq!(decode(frame(message_type, &mut [])), Ok(ignored));
        }
    }
}
