//! One miner's connection, light: two small buffers, frames opened and sealed in place.

use std::fmt::Display;
use std::future::{poll_fn, Future as _};
use std::pin::pin;
use std::task::{ready, Context, Poll};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use binary_sv2::{from_bytes, to_bytes, EncodableField, GetSize, Str0255, B032, U256};
use common_messages_sv2::{
    Protocol, SetupConnection, CHANNEL_BIT_SETUP_CONNECTION, MESSAGE_TYPE_SETUP_CONNECTION,
    MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS,
};
use gopool_sv2::client::{dial, FLAG_REQUIRES_STANDARD_JOBS, PROTOCOL_VERSION};
use gopool_sv2::frame::{encrypted_len, Frame, Reader, Writer, ENCRYPTED_HEADER_LEN};
use gopool_sv2::miner::target::Target;
use gopool_sv2::miner::work::{Channel, Step, Task, Work};
use gopool_sv2::obs::printable;
use mining_sv2::*;
use noise_sv2::{Initiator, INITIATOR_EXPECTED_HANDSHAKE_MESSAGE_SIZE};
use parsers_sv2::{Mining, MiningOwned};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub use crate::credits::{News, MINT_CREDITS};
pub use crate::place::{Kind, Numbers, Place, Sources};
use crate::supply::Share;
use crate::{Fault, Result};

/// Longest payload taken: all that a frame can hold, for the pool is trusted here.
const MAX_PAYLOAD: usize = (1 << 24) - 1;
/// The number of the only request on a connection.
const REQUEST: u32 = 1;
/// Extension 0x0001, by which others are agreed on, and two of its messages.
const EXTENSIONS: u16 = 1;
const REQUEST_EXTENSIONS: u8 = 0;
const REQUEST_EXTENSIONS_SUCCESS: u8 = 1;
/// Extension 0x0002 and its field, the worker of a share.
const WORKERS: u16 = 2;
const WORKER_FIELD: u8 = 1;

/// What a message of the pool means to the driver. What it says about work is already noted.
#[derive(Debug, PartialEq)]
pub enum Event {
    /// SetupConnection.Success.
    SetUp,
    /// The extension that was asked for is in force.
    Extended,
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
    /// A job on the tip of before.
    NewJob,
    /// Something else.
    Other,
}

/// A payload as it stands.
struct Raw(Vec<u8>);

impl GetSize for Raw {
    fn get_size(&self) -> usize {
        self.0.len()
    }
}

impl From<Raw> for EncodableField<'_> {
    fn from(raw: Raw) -> Self {
        Self::Struct(raw.0.into_iter().map(Self::from).collect())
    }
}

/// A connection with at most one channel.
pub struct Peer {
    stream: TcpStream,
    reader: Reader,
    writer: Writer,
    kind: Kind,
    work: Option<Work>,
    /// What was told of credit, asked for or not.
    news: Vec<News>,
    received: u64,
    taken: u64,
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
        let (reader, writer) = (Reader::new(decryptor, MAX_PAYLOAD), Writer::new(encryptor));
        let (work, news, received, taken) = (None, Vec::new(), 0, 0);
        let mut peer = Self { stream, reader, writer, kind, work, news, received, taken };
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

    /// Asks for the extension by which each share names its worker; before the channel is opened.
    ///
    /// # Errors
    /// The pool doesn't know it, or goes away.
    pub async fn name_workers(&mut self) -> Result<()> {
        self.agree_on(WORKERS).await
    }

    /// Asks to be told what the mint makes of credit; before the channel is opened. What is told
    /// then is [`Peer::news`].
    ///
    /// # Errors
    /// The pool doesn't know it, or goes away.
    pub async fn hear_of_credits(&mut self) -> Result<()> {
        self.agree_on(MINT_CREDITS).await
    }

    async fn agree_on(&mut self, extension: u16) -> Result<()> {
        let [id, count, extension] = [1_u16, 1, extension].map(u16::to_le_bytes);
        let request = Raw([id, count, extension].concat());
        self.writer.push(request, EXTENSIONS, REQUEST_EXTENSIONS, false)?;
        self.flush().await?;
        self.wait_for(&Event::Extended).await
    }

    /// What was told of credit and not taken from here yet, in order.
    pub fn news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }

    /// The pool's id of the channel, if one is open.
    #[must_use]
    pub fn channel_id(&self) -> Option<u32> {
        Some(self.work.as_ref()?.channel().id)
    }

    /// Opens the channel; its first job is still to come.
    ///
    /// # Errors
    /// The pool refuses or goes away.
    pub async fn open(&mut self, place: &Place) -> Result<()> {
        let (request_id, nominal_hash_rate) = (REQUEST, place.hash_rate);
        let name = place.name();
        let user_identity = text(&name)?;
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
    #[must_use]
    pub fn task(&self) -> Option<std::sync::Arc<Task>> {
        self.work.as_ref()?.task()
    }

    /// Puts a submit behind those that wait to be sent. `worker`: at most 32 bytes, on extended
    /// channels after [`Peer::name_workers`]; empty: none is named.
    ///
    /// # Errors
    /// There is no channel.
    pub fn submit(&mut self, sequence_number: u32, share: &Share<'_>, worker: &str) -> Result<()> {
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
                if worker.is_empty() {
                    self.writer.push(m, 0, MESSAGE_TYPE_SUBMIT_SHARES_EXTENDED, bit)?;
                } else {
                    let mut bytes = to_bytes(m).map_err(debug("submit"))?;
                    bytes.extend(WORKERS.to_le_bytes());
                    bytes.push(WORKER_FIELD);
                    bytes.extend(u16::try_from(worker.len())?.to_le_bytes());
                    bytes.extend(worker.as_bytes());
                    self.writer.push(Raw(bytes), 0, MESSAGE_TYPE_SUBMIT_SHARES_EXTENDED, bit)?;
                }
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
        poll_fn(|context| self.poll_fill(context)).await
    }

    /// The same for who polls.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        let read = pin!(self.stream.read_buf(self.reader.room())).poll(context);
        Poll::Ready(match ready!(read).map_err(in_("read"))? {
            0 => Err("the pool closed the connection".into()),
            read => {
                self.received += read as u64;
                Ok(())
            }
        })
    }

    /// The next message that was read; `None`: read more.
    ///
    /// # Errors
    /// The pool refuses, closes, or breaks the protocol.
    pub fn read_event(&mut self) -> Result<Option<Event>> {
        let Some(frame) = self.reader.next_frame()? else { return Ok(None) };
        self.taken += (ENCRYPTED_HEADER_LEN + encrypted_len(frame.payload.len())) as u64;
        if frame.extension_type == MINT_CREDITS {
            self.news.push(News::read(frame.message_type, frame.payload)?);
            return Ok(Some(Event::Other));
        }
        take(frame, self.kind, &mut self.work).map(Some)
    }

    /// Bytes read so far behind the handshake.
    #[must_use]
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// How many of them are those of the messages taken so far.
    #[must_use]
    pub const fn taken(&self) -> u64 {
        self.taken
    }

    /// Goes away without a word, and without a port that has to wait: what a miner does whose
    /// line is cut.
    ///
    /// # Errors
    /// The system refuses.
    pub fn cut(self) -> Result<()> {
        self.stream.set_zero_linger().map_err(in_("cut"))
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
        (EXTENSIONS, REQUEST_EXTENSIONS_SUCCESS) => Ok(Event::Extended),
        (EXTENSIONS, _) => Err("the pool refuses the extension".into()),
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
                Step::NewTask if !matches!(message, MiningOwned::SetTarget(_)) => Ok(Event::NewJob),
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
