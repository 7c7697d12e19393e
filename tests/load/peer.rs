//! One miner's connection, light: two small buffers, frames opened and sealed in place.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use binary_sv2::{from_bytes, Str0255, B032, U256};
use common_messages_sv2::{
    Protocol, SetupConnection, CHANNEL_BIT_SETUP_CONNECTION, MESSAGE_TYPE_SETUP_CONNECTION,
    MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS,
};
use gopool_sv2::client::{dial, PoolUrl, FLAG_REQUIRES_STANDARD_JOBS, PROTOCOL_VERSION};
use gopool_sv2::frame::{Frame, Reader, Writer};
use gopool_sv2::miner::target::Target;
use gopool_sv2::miner::work::{Channel, Step, Task, Work};
use gopool_sv2::obs::printable;
use gopool_sv2_tests::{Fault, Result};
use mining_sv2::*;
use noise_sv2::{Initiator, INITIATOR_EXPECTED_HANDSHAKE_MESSAGE_SIZE};
use parsers_sv2::{Mining, MiningOwned};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::args::Kind;
use crate::supply::Share;

/// Longest payload taken: all that a frame can hold, for the pool is trusted here.
const MAX_PAYLOAD: usize = (1 << 24) - 1;
/// The number of the only request on a connection.
const REQUEST: u32 = 1;

/// Where to, as whom, for what.
#[derive(Debug, Clone)]
pub struct Place {
    /// The pool.
    pub url: PoolUrl,
    /// Whom to mine for.
    pub user: String,
    /// Speed told to the pool, in hashes per second.
    pub hash_rate: f32,
    /// From which addresses; `None`: the system chooses.
    pub sources: Option<Sources>,
}

/// Addresses of this machine, each for one connection. Clones count together.
#[derive(Debug, Clone)]
pub struct Sources(Arc<AtomicU32>);

impl From<Ipv4Addr> for Sources {
    fn from(first: Ipv4Addr) -> Self {
        Self(Arc::new(AtomicU32::new(first.to_bits())))
    }
}

impl Sources {
    fn next(&self) -> IpAddr {
        Ipv4Addr::from_bits(self.0.fetch_add(1, Ordering::Relaxed)).into()
    }
}

/// What a message of the pool means to the driver. What it says about work is already noted.
#[derive(Debug, PartialEq)]
pub enum Event {
    /// SetupConnection.Success.
    SetUp,
    /// The channel is open.
    Opened,
    /// SubmitShares.Success.
    Accepted {
        /// Newest sequence number it is about.
        last: u32,
        /// How many submits it accepts.
        count: u32,
    },
    /// SubmitShares.Error.
    Rejected {
        /// Sequence number.
        sequence: u32,
        /// Error string.
        code: String,
    },
    /// SetNewPrevHash for the channel.
    NewTip,
    /// Something else.
    Other,
}

/// A connection with at most one channel.
pub struct Peer {
    stream: TcpStream,
    reader: Reader,
    writer: Writer,
    kind: Kind,
    work: Option<Work>,
}

impl Peer {
    /// Connects, runs the Noise handshake, and sets the connection up for channels of `kind`.
    ///
    /// # Errors
    /// The pool can't be reached, is another one, or refuses.
    pub async fn connect(place: &Place, kind: Kind) -> Result<Self> {
        let source = place.sources.as_ref().map(Sources::next);
        let mut stream = dial(&place.url.address(), source).await.map_err(in_("connect"))?;
        stream.set_nodelay(true)?;
        let broken = |error| -> Fault { format!("handshake: {error:?}").into() };
        let mut initiator = Initiator::from_raw_k(place.url.authority()).map_err(broken)?;
        let act1 = initiator.step_0().map_err(|error| format!("handshake: {error:?}"))?;
        stream.write_all(&act1).await.map_err(in_("handshake"))?;
        let mut act2 = [0; INITIATOR_EXPECTED_HANDSHAKE_MESSAGE_SIZE];
        stream.read_exact(&mut act2).await.map_err(in_("handshake"))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let engine = initiator.step_2_with_now(act2, u32::try_from(now)?).map_err(broken)?;
        let (encryptor, decryptor) = engine.into_split();
        let reader = Reader::new(decryptor, MAX_PAYLOAD);
        let mut peer = Self { stream, reader, writer: Writer::new(encryptor), kind, work: None };
        peer.set_up(place).await?;
        Ok(peer)
    }

    async fn set_up(&mut self, place: &Place) -> Result<()> {
        let flags = match self.kind {
            Kind::Standard => FLAG_REQUIRES_STANDARD_JOBS,
            Kind::Extended => 0,
        };
        let message = SetupConnection {
            protocol: Protocol::MiningProtocol,
            min_version: PROTOCOL_VERSION,
            max_version: PROTOCOL_VERSION,
            flags,
            endpoint_host: text(place.url.host())?,
            endpoint_port: place.url.port(),
            vendor: text("sv2-load")?,
            hardware_version: text("")?,
            firmware: text(env!("CARGO_PKG_VERSION"))?,
            device_id: text("")?,
        };
        let bit = CHANNEL_BIT_SETUP_CONNECTION;
        self.writer.push(message, 0, MESSAGE_TYPE_SETUP_CONNECTION, bit)?;
        self.flush().await?;
        self.wait_for(&Event::SetUp).await
    }

    /// Opens the channel; its first job is still to come.
    ///
    /// # Errors
    /// The pool refuses or goes away.
    pub async fn open(&mut self, place: &Place) -> Result<()> {
        let (request_id, nominal_hash_rate) = (REQUEST, place.hash_rate);
        let user_identity = text(&place.user)?;
        let max_target = U256::from(&[0xff; 32]);
        match self.kind {
            Kind::Standard => {
                let m = OpenStandardMiningChannel {
                    request_id,
                    user_identity,
                    nominal_hash_rate,
                    max_target,
                };
                let bit = CHANNEL_BIT_OPEN_STANDARD_MINING_CHANNEL;
                self.writer.push(m, 0, MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL, bit)?;
            }
            Kind::Extended => {
                let m = OpenExtendedMiningChannel {
                    request_id,
                    user_identity,
                    nominal_hash_rate,
                    max_target,
                    min_extranonce_size: 4,
                };
                let bit = CHANNEL_BIT_OPEN_EXTENDED_MINING_CHANNEL;
                self.writer.push(m, 0, MESSAGE_TYPE_OPEN_EXTENDED_MINING_CHANNEL, bit)?;
            }
        }
        self.flush().await?;
        self.wait_for(&Event::Opened).await
    }

    /// Waits until the channel has work.
    ///
    /// # Errors
    /// The connection ends.
    pub async fn first_job(&mut self) -> Result<()> {
        while self.task().is_none() {
            self.event().await?;
        }
        Ok(())
    }

    /// The present work of the channel, if it has any.
    pub fn task(&self) -> Option<std::sync::Arc<Task>> {
        self.work.as_ref()?.task()
    }

    /// Puts a submit behind those that wait to be sent.
    ///
    /// # Errors
    /// There is no channel.
    pub fn submit(&mut self, sequence_number: u32, share: &Share<'_>) -> Result<()> {
        let channel_id = self.work.as_ref().ok_or("no channel is open")?.channel().id;
        let (job_id, nonce, ntime) = (share.job_id, share.nonce, share.ntime);
        let version = share.version;
        match self.kind {
            Kind::Standard => {
                let m = SubmitSharesStandard {
                    channel_id,
                    sequence_number,
                    job_id,
                    nonce,
                    ntime,
                    version,
                };
                let bit = CHANNEL_BIT_SUBMIT_SHARES_STANDARD;
                self.writer.push(m, 0, MESSAGE_TYPE_SUBMIT_SHARES_STANDARD, bit)?;
            }
            Kind::Extended => {
                let m = SubmitSharesExtended {
                    channel_id,
                    sequence_number,
                    job_id,
                    nonce,
                    ntime,
                    version,
                    extranonce: B032::new(share.extranonce).map_err(debug("extranonce"))?,
                };
                let bit = CHANNEL_BIT_SUBMIT_SHARES_EXTENDED;
                self.writer.push(m, 0, MESSAGE_TYPE_SUBMIT_SHARES_EXTENDED, bit)?;
            }
        }
        Ok(())
    }

    /// Sends what waits.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn flush(&mut self) -> Result<()> {
        while !self.writer.pending().is_empty() {
            let sent = self.stream.write(self.writer.pending()).await.map_err(in_("write"))?;
            self.writer.advance(sent);
        }
        Ok(())
    }

    /// Reads once. Cancelled, it loses nothing.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn fill(&mut self) -> Result<()> {
        match self.stream.read_buf(self.reader.room()).await.map_err(in_("read"))? {
            0 => Err("the pool closed the connection".into()),
            _ => Ok(()),
        }
    }

    /// The next message that was read; `None`: read more.
    ///
    /// # Errors
    /// The pool refuses, closes, or breaks the protocol.
    pub fn read_event(&mut self) -> Result<Option<Event>> {
        let Some(frame) = self.reader.next_frame()? else { return Ok(None) };
        take(frame, self.kind, &mut self.work).map(Some)
    }

    /// The next message, read if need be. Cancelled, it loses nothing.
    ///
    /// # Errors
    /// As [`Peer::read_event`] and [`Peer::fill`].
    pub async fn event(&mut self) -> Result<Event> {
        loop {
            if let Some(event) = self.read_event()? {
                return Ok(event);
            }
            self.fill().await?;
        }
    }

    async fn wait_for(&mut self, wanted: &Event) -> Result<()> {
        while self.event().await? != *wanted {}
        Ok(())
    }
}

/// What a frame means; what it says about work is noted in `work`.
fn take(frame: Frame<'_>, kind: Kind, work: &mut Option<Work>) -> Result<Event> {
    let Frame { extension_type, message_type, payload } = frame;
    let ours = |id| work.as_ref().is_some_and(|w| w.channel().id == id);
    match (extension_type, message_type) {
        (0, MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS) => Ok(Event::SetUp),
        (0, MESSAGE_TYPE_SUBMIT_SHARES_SUCCESS) => {
            let m: SubmitSharesSuccess = from_bytes(payload).map_err(debug("Success"))?;
            Ok(match ours(m.channel_id) {
                true => Event::Accepted {
                    last: m.last_sequence_number,
                    count: m.new_submits_accepted_count,
                },
                false => Event::Other,
            })
        }
        (0, MESSAGE_TYPE_SUBMIT_SHARES_ERROR) => {
            let m: SubmitSharesError<'_> = from_bytes(payload).map_err(debug("Error"))?;
            let code = printable(m.error_code.as_bytes());
            Ok(match ours(m.channel_id) {
                true => Event::Rejected { sequence: m.sequence_number, code },
                false => Event::Other,
            })
        }
        // SetupConnection.Error and Reconnect: nothing to measure any more.
        (0, 0x02 | 0x04) => Err(format!("the pool answers with {message_type:#04x}").into()),
        (0, _) => match Mining::try_from((message_type, payload)) {
            Ok(message) => note(&message.into_owned(), kind, work),
            Err(_) => Ok(Event::Other),
        },
        _ => Ok(Event::Other),
    }
}

fn note(message: &MiningOwned, kind: Kind, work: &mut Option<Work>) -> Result<Event> {
    let channel = match message {
        MiningOwned::OpenStandardMiningChannelSuccess(m) if kind == Kind::Standard => Channel {
            id: m.channel_id,
            group: m.group_channel_id,
            target: Target::from_le_bytes(m.target.to_array()),
            extranonce_prefix: Vec::new(),
            extranonce_size: None,
            fixed_version: false,
        },
        MiningOwned::OpenExtendedMiningChannelSuccess(m) if kind == Kind::Extended => Channel {
            id: m.channel_id,
            group: m.group_channel_id,
            target: Target::from_le_bytes(m.target.to_array()),
            extranonce_prefix: m.extranonce_prefix.to_owned_bytes(),
            extranonce_size: Some(m.extranonce_size),
            fixed_version: false,
        },
        MiningOwned::OpenMiningChannelError(_) | MiningOwned::CloseChannel(_) => {
            return Err(format!("the pool refuses: {message}").into())
        }
        _ => {
            let Some(work) = work else { return Ok(Event::Other) };
            let tip =
                matches!(message, MiningOwned::SetNewPrevHash(m) if work.concerns(m.channel_id));
            return match work.on_message(message, Instant::now()) {
                Step::Ignored(why) => {
                    Err(format!("the pool's message makes no sense: {why}").into())
                }
                _ if tip => Ok(Event::NewTip),
                _ => Ok(Event::Other),
            };
        }
    };
    *work = Some(Work::new(channel, 0));
    Ok(Event::Opened)
}

fn text(text: &str) -> Result<Str0255<'_>> {
    Str0255::new(text.as_bytes()).map_err(|_| format!("{text:?} is longer than 255 bytes").into())
}

fn in_<E: Display>(what: &'static str) -> impl Fn(E) -> Fault {
    move |error| format!("{what}: {error}").into()
}

fn debug<E: std::fmt::Debug>(what: &'static str) -> impl Fn(E) -> Fault {
    move |error| format!("{what}: {error:?}").into()
}
