//! Messages for the miner, into frames.

use std::sync::Arc;

use binary_sv2::{Seq064K, Str0255, B032, U256};
use common_messages_sv2::{
    Reconnect, SetupConnectionError, SetupConnectionSuccess, CHANNEL_BIT_RECONNECT,
    CHANNEL_BIT_SETUP_CONNECTION_ERROR, CHANNEL_BIT_SETUP_CONNECTION_SUCCESS,
    MESSAGE_TYPE_RECONNECT, MESSAGE_TYPE_SETUP_CONNECTION_ERROR,
    MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS,
};
use extensions_sv2::{
    RequestExtensionsError, RequestExtensionsSuccess, CHANNEL_BIT_REQUEST_EXTENSIONS_ERROR,
    CHANNEL_BIT_REQUEST_EXTENSIONS_SUCCESS, EXTENSION_TYPE_EXTENSIONS_NEGOTIATION,
    MESSAGE_TYPE_REQUEST_EXTENSIONS_ERROR, MESSAGE_TYPE_REQUEST_EXTENSIONS_SUCCESS,
};
use mining_sv2::*;

use super::work;
use crate::backend::MintNews;
use crate::channel::{Answer, Channel};
use crate::frame::{FrameError, Writer};
use crate::job::Announcement;
use crate::types::{Kind, RefuseReason, Target};

/// A message for the miner.
#[derive(Debug, Clone, PartialEq)]
pub enum Outbound {
    /// SetupConnection.Success.
    SetupSuccess {
        /// Version in use.
        version: u16,
        /// Our demands.
        flags: u32,
    },
    /// SetupConnection.Error.
    SetupError {
        /// All flags we don't support; 0 for another cause.
        flags: u32,
        /// Error string.
        code: &'static str,
    },
    /// RequestExtensions.Success.
    ExtensionsSuccess {
        /// The miner's number of the request.
        request_id: u16,
        /// Those of the requested that are in force.
        supported: Vec<u16>,
    },
    /// RequestExtensions.Error.
    ExtensionsError {
        /// The miner's number of the request.
        request_id: u16,
        /// Those of the requested that can't be in force.
        unsupported: Vec<u16>,
        /// Those that are required and were not requested.
        required: Vec<u16>,
    },
    /// OpenStandardMiningChannel.Success or OpenExtendedMiningChannel.Success.
    Opened(Opened),
    /// OpenMiningChannel.Error.
    OpenError {
        /// The miner's number of the request.
        request_id: u32,
        /// Why.
        reason: RefuseReason,
    },
    /// NewMiningJob or NewExtendedMiningJob, and SetNewPrevHash when the tip is new.
    Job {
        /// The miner's id of the channel.
        channel_id: u32,
        /// The job.
        announcement: Announcement,
    },
    /// SetTarget.
    Target {
        /// The miner's id of the channel.
        channel_id: u32,
        /// The target.
        target: Target,
    },
    /// UpdateChannel.Error.
    UpdateError {
        /// The miner's id of the channel.
        channel_id: u32,
        /// Why.
        reason: RefuseReason,
    },
    /// SubmitShares.Success or SubmitShares.Error.
    Answer {
        /// The miner's id of the channel.
        channel_id: u32,
        /// The answer.
        answer: Answer,
    },
    /// SetCustomMiningJob.Error: not supported here.
    CustomJobError {
        /// The miner's id of the channel.
        channel_id: u32,
        /// The miner's number of the request.
        request_id: u32,
    },
    /// CloseChannel.
    Close {
        /// The miner's id of the channel.
        channel_id: u32,
        /// Why; printable ASCII, 1 to 255 bytes.
        reason: String,
    },
    /// Reconnect.
    Reconnect {
        /// Empty: the same.
        host: String,
        /// 0: the same.
        port: u16,
    },
    /// MintCreditNotification or MintCreditFailure; only where extension 0x4548 is in force.
    MintCredit {
        /// The miner's id of the channel.
        channel_id: u32,
        /// What became of credit; sendable.
        news: Arc<MintNews>,
    },
}

/// A channel that was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Standard or extended.
    pub kind: Kind,
    /// The miner's number of the request.
    pub request_id: u32,
    /// The miner's id of the channel.
    pub channel_id: u32,
    /// Id of its group of one.
    pub group_id: u32,
    /// Share target.
    pub target: Target,
    /// Extranonce prefix.
    pub prefix: bytes::Bytes,
    /// Bytes the miner rolls.
    pub extranonce_size: u8,
}

impl Opened {
    /// Says that `channel` was opened as asked for by `request_id`.
    #[must_use]
    pub fn new(channel: &Channel, request_id: u32) -> Self {
        Self {
            kind: channel.kind(),
            request_id,
            channel_id: channel.id(),
            group_id: channel.group_id(),
            target: channel.target(),
            prefix: channel.prefix().clone(),
            extranonce_size: channel.extranonce_size(),
        }
    }
}

fn text(code: &str) -> Result<Str0255<'_>, FrameError> {
    Str0255::new(code.as_bytes()).map_err(|_| FrameError::Encode)
}

fn list(extensions: &[u16]) -> Result<Seq064K<'_, u16>, FrameError> {
    Seq064K::new(extensions.to_vec()).map_err(|_| FrameError::Encode)
}

impl Outbound {
    /// The channel it is for, by the miner's id.
    #[must_use]
    pub const fn channel_id(&self) -> Option<u32> {
        match self {
            Self::Opened(Opened { channel_id, .. })
            | Self::Job { channel_id, .. }
            | Self::Target { channel_id, .. }
            | Self::UpdateError { channel_id, .. }
            | Self::Answer { channel_id, .. }
            | Self::CustomJobError { channel_id, .. }
            | Self::Close { channel_id, .. }
            | Self::MintCredit { channel_id, .. } => Some(*channel_id),
            _ => None,
        }
    }

    /// Encrypts the message behind those that wait in `w`.
    ///
    /// # Errors
    /// [`FrameError::Encode`] for a message that is too long for its fields (our fault).
    pub fn write(&self, w: &mut Writer) -> Result<(), FrameError> {
        match self {
            Self::SetupSuccess { version, flags } => {
                let m = SetupConnectionSuccess { used_version: *version, flags: *flags };
                let bit = CHANNEL_BIT_SETUP_CONNECTION_SUCCESS;
                w.push(m, 0, MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS, bit)
            }
            Self::SetupError { flags, code } => {
                let m = SetupConnectionError { flags: *flags, error_code: text(code)? };
                let bit = CHANNEL_BIT_SETUP_CONNECTION_ERROR;
                w.push(m, 0, MESSAGE_TYPE_SETUP_CONNECTION_ERROR, bit)
            }
            Self::ExtensionsSuccess { request_id, supported } => {
                let supported_extensions = list(supported)?;
                let m = RequestExtensionsSuccess { request_id: *request_id, supported_extensions };
                let extension = EXTENSION_TYPE_EXTENSIONS_NEGOTIATION;
                let bit = CHANNEL_BIT_REQUEST_EXTENSIONS_SUCCESS;
                w.push(m, extension, MESSAGE_TYPE_REQUEST_EXTENSIONS_SUCCESS, bit)
            }
            Self::ExtensionsError { request_id, unsupported, required } => {
                let m = RequestExtensionsError {
                    request_id: *request_id,
                    unsupported_extensions: list(unsupported)?,
                    required_extensions: list(required)?,
                };
                let extension = EXTENSION_TYPE_EXTENSIONS_NEGOTIATION;
                let bit = CHANNEL_BIT_REQUEST_EXTENSIONS_ERROR;
                w.push(m, extension, MESSAGE_TYPE_REQUEST_EXTENSIONS_ERROR, bit)
            }
            Self::Opened(opened) => opened.write(w),
            Self::OpenError { request_id, reason } => {
                let error_code = text(reason.as_str())?;
                let m = OpenMiningChannelError { request_id: *request_id, error_code };
                let bit = CHANNEL_BIT_OPEN_MINING_CHANNEL_ERROR;
                w.push(m, 0, MESSAGE_TYPE_OPEN_MINING_CHANNEL_ERROR, bit)
            }
            Self::Job { channel_id, announcement } => work::write(*channel_id, announcement, w),
            Self::Target { channel_id, target } => {
                let maximum_target = U256::from(&target.0);
                let m = SetTarget { channel_id: *channel_id, maximum_target };
                w.push(m, 0, MESSAGE_TYPE_SET_TARGET, CHANNEL_BIT_SET_TARGET)
            }
            Self::UpdateError { channel_id, reason } => {
                let error_code = text(reason.as_str())?;
                let m = UpdateChannelError { channel_id: *channel_id, error_code };
                w.push(m, 0, MESSAGE_TYPE_UPDATE_CHANNEL_ERROR, CHANNEL_BIT_UPDATE_CHANNEL_ERROR)
            }
            Self::Answer { channel_id, answer } => write_answer(*channel_id, *answer, w),
            Self::CustomJobError { channel_id, request_id } => {
                let m = SetCustomMiningJobError {
                    channel_id: *channel_id,
                    request_id: *request_id,
                    error_code: text(ERROR_CODE_SET_CUSTOM_MINING_JOB_JD_NOT_SUPPORTED)?,
                };
                let bit = CHANNEL_BIT_SET_CUSTOM_MINING_JOB_ERROR;
                w.push(m, 0, MESSAGE_TYPE_SET_CUSTOM_MINING_JOB_ERROR, bit)
            }
            Self::Close { channel_id, reason } => {
                let m = CloseChannel { channel_id: *channel_id, reason_code: text(reason)? };
                w.push(m, 0, MESSAGE_TYPE_CLOSE_CHANNEL, CHANNEL_BIT_CLOSE_CHANNEL)
            }
            Self::Reconnect { host, port } => {
                let m = Reconnect { new_host: text(host)?, new_port: *port };
                w.push(m, 0, MESSAGE_TYPE_RECONNECT, CHANNEL_BIT_RECONNECT)
            }
            Self::MintCredit { channel_id, news } => super::credits::write(*channel_id, news, w),
        }
    }
}

impl Opened {
    fn write(&self, w: &mut Writer) -> Result<(), FrameError> {
        let extranonce_prefix = B032::new(&self.prefix).map_err(|_| FrameError::Encode)?;
        let target = U256::from(&self.target.0);
        match self.kind {
            Kind::Standard => {
                let m = OpenStandardMiningChannelSuccess {
                    request_id: self.request_id,
                    channel_id: self.channel_id,
                    target,
                    extranonce_prefix,
                    group_channel_id: self.group_id,
                };
                let bit = CHANNEL_BIT_OPEN_STANDARD_MINING_CHANNEL_SUCCESS;
                w.push(m, 0, MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL_SUCCESS, bit)
            }
            Kind::Extended => {
                let m = OpenExtendedMiningChannelSuccess {
                    request_id: self.request_id,
                    channel_id: self.channel_id,
                    target,
                    extranonce_size: self.extranonce_size.into(),
                    extranonce_prefix,
                    group_channel_id: self.group_id,
                };
                let bit = CHANNEL_BIT_OPEN_EXTENDED_MINING_CHANNEL_SUCCESS;
                w.push(m, 0, MESSAGE_TYPE_OPEN_EXTENDED_MINING_CHANNEL_SUCCESS, bit)
            }
        }
    }
}

/// Written by hand: there is one for each share, and the crate's writer makes a list of the fields
/// first. It is the oracle in the tests.
fn write_answer(channel_id: u32, answer: Answer, w: &mut Writer) -> Result<(), FrameError> {
    match answer {
        Answer::Success { last_sequence, count, sum } => {
            let (channel_id, last) = (channel_id.to_le_bytes(), last_sequence.to_le_bytes());
            let (count, sum) = (count.to_le_bytes(), sum.to_le_bytes());
            let bit = CHANNEL_BIT_SUBMIT_SHARES_SUCCESS;
            let parts = [&channel_id[..], &last, &count, &sum];
            w.push_parts(&parts, 0, MESSAGE_TYPE_SUBMIT_SHARES_SUCCESS, bit)
        }
        Answer::Error { sequence, reason } => {
            let (channel_id, sequence) = (channel_id.to_le_bytes(), sequence.to_le_bytes());
            let code = reason.as_str().as_bytes();
            let length = [u8::try_from(code.len()).map_err(|_| FrameError::Encode)?];
            let bit = CHANNEL_BIT_SUBMIT_SHARES_ERROR;
            let parts = [&channel_id[..], &sequence, &length, code];
            w.push_parts(&parts, 0, MESSAGE_TYPE_SUBMIT_SHARES_ERROR, bit)
        }
    }
}

#[cfg(test)]
mod tests {
    use binary_sv2::to_bytes;

    use super::*;
    use crate::frame::Reader;
    use crate::types::RejectReason;

    #[test]
    fn writes_answers_as_the_crate_does() {
        let (client, server) = crate::frame::tests::engines();
        let mut writer = Writer::new(server.into_split().0);
        let mut reader = Reader::new(client.into_split().1, 4096);
        let mut written = |channel_id, answer| {
            Outbound::Answer { channel_id, answer }.write(&mut writer).unwrap();
            let sent = writer.pending().len();
            reader.room().extend_from_slice(writer.pending());
            writer.advance(sent);
            let frame = reader.next_frame().unwrap().unwrap();
            (frame.extension_type, frame.message_type, frame.payload.to_vec())
        };
        for reason in RejectReason::ALL {
            let (channel_id, sequence, count, sum) = rand::random();
            let success = SubmitSharesSuccess {
                channel_id,
                last_sequence_number: sequence,
                new_submits_accepted_count: count,
                new_shares_sum: sum,
            };
            let answer = Answer::Success { last_sequence: sequence, count, sum };
            let want = to_bytes(success).unwrap();
            let kind = MESSAGE_TYPE_SUBMIT_SHARES_SUCCESS;
            assert_eq!(written(channel_id, answer), (0, kind, want));
            let error_code = text(reason.as_str()).unwrap();
            let error = SubmitSharesError { channel_id, sequence_number: sequence, error_code };
            let answer = Answer::Error { sequence, reason: *reason };
            let want = to_bytes(error).unwrap();
            assert_eq!(written(channel_id, answer), (0, MESSAGE_TYPE_SUBMIT_SHARES_ERROR, want));
        }
    }
}
