//! Requests that wait for their answer: SetupConnection and the opening of channels.

use std::future::Future;

use binary_sv2::{Str0255Owned, U256Owned};
use common_messages_sv2::{Protocol, SetupConnectionOwned};
use mining_sv2::{OpenExtendedMiningChannelOwned, OpenStandardMiningChannelOwned};
use parsers_sv2::{CommonMessagesOwned, MiningOwned};
use tokio::time::timeout;

use super::connection::Connection;
use super::error::{ClientError, Stage};
use super::io::Incoming;
use crate::obs::printable;

/// The protocol version this client speaks.
pub const PROTOCOL_VERSION: u16 = 2;
/// SetupConnection flag: the device cannot process extended jobs.
pub const FLAG_REQUIRES_STANDARD_JOBS: u32 = 1 << 0;
/// SetupConnection flag: the client wants to choose its own work.
pub const FLAG_REQUIRES_WORK_SELECTION: u32 = 1 << 1;
/// SetupConnection flag: every job must allow version rolling.
pub const FLAG_REQUIRES_VERSION_ROLLING: u32 = 1 << 2;
/// SetupConnection.Success flag: the server accepts no rolled version at all.
pub const FLAG_REQUIRES_FIXED_VERSION: u32 = 1 << 0;

/// What SetupConnection says about the client. Texts have at most 255 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetupRequest {
    /// Union of the `FLAG_REQUIRES_*` constants.
    pub flags: u32,
    /// Host the client meant to reach, as in its address.
    pub endpoint_host: String,
    /// Port the client meant to reach.
    pub endpoint_port: u16,
    /// Maker of the device.
    pub vendor: String,
    /// Version of the hardware.
    pub hardware_version: String,
    /// Version of the software.
    pub firmware: String,
    /// Name of the device; empty when it has none.
    pub device_id: String,
}

/// Answer to SetupConnection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetupAccepted {
    /// Version in use.
    pub version: u16,
    /// What the server requires, see [`FLAG_REQUIRES_FIXED_VERSION`].
    pub flags: u32,
}

/// What the opening of either kind of channel asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenRequest {
    /// The name to mine for, at most 255 bytes.
    pub user: String,
    /// Expected speed in hashes per second.
    pub nominal_hash_rate: f32,
    /// Easiest target the client takes: 32 bytes, little-endian.
    pub max_target: [u8; 32],
}

/// An open standard channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandardChannel {
    /// Its id on this connection.
    pub channel_id: u32,
    /// Group it belongs to, if any job is sent to that group.
    pub group_channel_id: u32,
    /// First share target: 32 bytes, little-endian.
    pub target: [u8; 32],
    /// The channel's part of the coinbase, for information: the server computes the merkle root.
    pub extranonce_prefix: Vec<u8>,
}

/// An open extended channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtendedChannel {
    /// Its id on this connection.
    pub channel_id: u32,
    /// Group it belongs to, if any job is sent to that group.
    pub group_channel_id: u32,
    /// First share target: 32 bytes, little-endian.
    pub target: [u8; 32],
    /// Bytes that stand before the client's extranonce in the coinbase, at most 32.
    pub extranonce_prefix: Vec<u8>,
    /// Length in bytes of the client's own extranonce.
    pub extranonce_size: u16,
}

impl Connection {
    /// Sends SetupConnection for the mining protocol, version 2, and waits for the answer.
    ///
    /// Errors: `Refused` with the server's code, `Timeout`, `Closed`, `Protocol`.
    pub async fn setup(&mut self, request: &SetupRequest) -> Result<SetupAccepted, ClientError> {
        let message = SetupConnectionOwned {
            protocol: Protocol::MiningProtocol,
            min_version: PROTOCOL_VERSION,
            max_version: PROTOCOL_VERSION,
            flags: request.flags,
            endpoint_host: text("endpoint host", &request.endpoint_host)?,
            endpoint_port: request.endpoint_port,
            vendor: text("vendor", &request.vendor)?,
            hardware_version: text("hardware version", &request.hardware_version)?,
            firmware: text("firmware", &request.firmware)?,
            device_id: text("device id", &request.device_id)?,
        };
        self.writer.queue(CommonMessagesOwned::SetupConnection(message))?;
        self.answer(Stage::Setup, |incoming| match incoming {
            Incoming::Common(CommonMessagesOwned::SetupConnectionSuccess(m)) => {
                Some(if m.used_version == PROTOCOL_VERSION {
                    Ok(SetupAccepted { version: m.used_version, flags: m.flags })
                } else {
                    let text = format!("it chose version {}, offered was 2", m.used_version);
                    Err(ClientError::Protocol(text))
                })
            }
            Incoming::Common(CommonMessagesOwned::SetupConnectionError(m)) => {
                let code = printable(m.error_code.as_bytes());
                Some(Err(ClientError::Refused { what: "the connection", code, flags: m.flags }))
            }
            _ => None,
        })
        .await
    }

    /// Opens a standard channel and waits for the answer.
    ///
    /// Errors: as [`Self::setup`].
    pub async fn open_standard(
        &mut self,
        request: &OpenRequest,
    ) -> Result<StandardChannel, ClientError> {
        let request_id = self.request_id();
        self.writer.queue(MiningOwned::OpenStandardMiningChannel(
            OpenStandardMiningChannelOwned {
                request_id,
                user_identity: text("user name", &request.user)?,
                nominal_hash_rate: request.nominal_hash_rate,
                max_target: U256Owned::from(request.max_target),
            },
        ))?;
        self.answer(Stage::Open, |incoming| match incoming {
            Incoming::Mining(MiningOwned::OpenStandardMiningChannelSuccess(m))
                if m.request_id == request_id =>
            {
                Some(Ok(StandardChannel {
                    channel_id: m.channel_id,
                    group_channel_id: m.group_channel_id,
                    target: m.target.to_array(),
                    extranonce_prefix: m.extranonce_prefix.to_owned_bytes(),
                }))
            }
            other => refusal(other, request_id),
        })
        .await
    }

    /// Opens an extended channel and waits for the answer. `min_extranonce_size` is the number of
    /// bytes of the coinbase that the client wants to roll itself.
    ///
    /// Errors: as [`Self::setup`]; also `Protocol` when the server grants fewer bytes than asked
    /// for, or more than 32 together with its prefix.
    pub async fn open_extended(
        &mut self,
        request: &OpenRequest,
        min_extranonce_size: u16,
    ) -> Result<ExtendedChannel, ClientError> {
        let request_id = self.request_id();
        self.writer.queue(MiningOwned::OpenExtendedMiningChannel(
            OpenExtendedMiningChannelOwned {
                request_id,
                user_identity: text("user name", &request.user)?,
                nominal_hash_rate: request.nominal_hash_rate,
                max_target: U256Owned::from(request.max_target),
                min_extranonce_size,
            },
        ))?;
        let channel = self
            .answer(Stage::Open, |incoming| match incoming {
                Incoming::Mining(MiningOwned::OpenExtendedMiningChannelSuccess(m))
                    if m.request_id == request_id =>
                {
                    Some(Ok(ExtendedChannel {
                        channel_id: m.channel_id,
                        group_channel_id: m.group_channel_id,
                        target: m.target.to_array(),
                        extranonce_prefix: m.extranonce_prefix.to_owned_bytes(),
                        extranonce_size: m.extranonce_size,
                    }))
                }
                other => refusal(other, request_id),
            })
            .await?;
        let (size, prefix) = (channel.extranonce_size, channel.extranonce_prefix.len());
        if size < min_extranonce_size || prefix + usize::from(size) > 32 {
            return Err(ClientError::Protocol(format!(
                "it granted {size} extranonce bytes behind a prefix of {prefix}; asked for were \
                 {min_extranonce_size}, and 32 in all is the limit"
            )));
        }
        Ok(channel)
    }

    fn request_id(&mut self) -> u32 {
        let id = self.next_request_id;
        self.next_request_id = id.wrapping_add(1);
        id
    }

    /// Flushes the request and reads until `pick` takes a message; the others are kept for the
    /// reader.
    async fn answer<T, F>(&mut self, stage: Stage, mut pick: F) -> Result<T, ClientError>
    where
        F: FnMut(&Incoming) -> Option<Result<T, ClientError>>,
    {
        let after = self.options.reply_timeout;
        self.reader.stage = stage;
        self.writer.stage = stage;
        let wait = async {
            self.writer.flush().await?;
            loop {
                let message = self.reader.next_fresh().await?;
                if let Some(answer) = pick(&message) {
                    return answer;
                }
                self.reader.keep(message)?;
            }
        };
        let answer = within(after, stage, wait).await;
        self.reader.stage = Stage::Mining;
        self.writer.stage = Stage::Mining;
        answer
    }
}

async fn within<T>(
    after: std::time::Duration,
    stage: Stage,
    work: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, ClientError> {
    timeout(after, work).await.unwrap_or(Err(ClientError::Timeout { stage, after }))
}

fn refusal<T>(incoming: &Incoming, request_id: u32) -> Option<Result<T, ClientError>> {
    match incoming {
        Incoming::Mining(MiningOwned::OpenMiningChannelError(m)) if m.request_id == request_id => {
            let code = printable(m.error_code.as_bytes());
            Some(Err(ClientError::Refused { what: "the channel", code, flags: 0 }))
        }
        _ => None,
    }
}

fn text(what: &str, value: &str) -> Result<Str0255Owned, ClientError> {
    Str0255Owned::try_from(value.as_bytes().to_vec()).map_err(|_| {
        ClientError::Protocol(format!("the {what} has {} bytes, 255 is the limit", value.len()))
    })
}
