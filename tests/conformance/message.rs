//! Messages of a mining server, read by hand from the text of the specification. Every field must
//! be there, nothing may follow, and header and direction must be right: a message that breaks that
//! fails the test that meets it.

use gopool_sv2_tests::{RawFrame, CHANNEL_BIT};

/// 32 bytes as they travel; a number is little-endian.
pub type U256 = [u8; 32];

/// A job of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    pub channel: u32,
    pub id: u32,
    /// `None`: future.
    pub min_ntime: Option<u32>,
    pub version: u32,
    pub body: Body,
}

/// What NewMiningJob and NewExtendedMiningJob don't have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    Standard { root: U256 },
    Extended { rolling: bool, path: Vec<U256>, prefix: Vec<u8>, suffix: Vec<u8> },
}

/// SetNewPrevHash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tip {
    pub channel: u32,
    pub job: u32,
    pub prev_hash: U256,
    pub min_ntime: u32,
    pub nbits: u32,
}

/// Either Success of an open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    pub extended: bool,
    pub request: u32,
    pub channel: u32,
    pub target: U256,
    /// 0 on a standard channel.
    pub size: u16,
    pub prefix: Vec<u8>,
    pub group: u32,
}

/// What a server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    SetupSuccess { version: u16, flags: u32 },
    SetupError { flags: u32, code: Vec<u8> },
    Reconnect,
    Opened(Opened),
    OpenError { request: u32, code: Vec<u8> },
    Job(Job),
    Tip(Tip),
    Target { channel: u32, target: U256 },
    UpdateError { channel: u32, code: Vec<u8> },
    Close { channel: u32, code: Vec<u8> },
    Prefix { channel: u32, prefix: Vec<u8> },
    Accepted { channel: u32, last: u32, count: u32, sum: u64 },
    Rejected { channel: u32, sequence: u32, code: Vec<u8> },
    CustomError { channel: u32, request: u32, code: Vec<u8> },
    Group { group: u32, channels: Vec<u32> },
    ExtensionsSuccess { request: u16, supported: Vec<u16> },
    ExtensionsError { request: u16, unsupported: Vec<u16>, required: Vec<u16> },
}

impl Message {
    /// The channel or group that it is for.
    pub fn channel(&self) -> Option<u32> {
        match self {
            Self::Job(job) => Some(job.channel),
            Self::Tip(tip) => Some(tip.channel),
            Self::Target { channel, .. }
            | Self::UpdateError { channel, .. }
            | Self::Close { channel, .. }
            | Self::Prefix { channel, .. }
            | Self::Accepted { channel, .. }
            | Self::Rejected { channel, .. }
            | Self::CustomError { channel, .. } => Some(*channel),
            Self::Group { group, .. } => Some(*group),
            _ => None,
        }
    }

    /// Its error string.
    pub fn code(&self) -> Option<&[u8]> {
        match self {
            Self::SetupError { code, .. }
            | Self::OpenError { code, .. }
            | Self::UpdateError { code, .. }
            | Self::Close { code, .. }
            | Self::Rejected { code, .. }
            | Self::CustomError { code, .. } => Some(code),
            _ => None,
        }
    }

    /// Reads a frame; `None`: no message that a mining server may send.
    pub fn read(frame: &RawFrame) -> Option<Self> {
        let extension = frame.extension_type & !CHANNEL_BIT;
        let for_channel = frame.extension_type & CHANNEL_BIT != 0;
        let mut f = Fields(&frame.payload);
        let message = match (extension, frame.message_type, for_channel) {
            (0, 0x01, false) => Self::SetupSuccess { version: f.u16()?, flags: f.u32()? },
            (0, 0x02, false) => Self::SetupError { flags: f.u32()?, code: f.short()? },
            (0, 0x04, false) => {
                f.short()?;
                f.u16()?;
                Self::Reconnect
            }
            (0, 0x11, false) => Self::Opened(Opened {
                extended: false,
                request: f.u32()?,
                channel: f.u32()?,
                target: f.u256()?,
                size: 0,
                prefix: f.short()?,
                group: f.u32()?,
            }),
            (0, 0x12, false) => Self::OpenError { request: f.u32()?, code: f.short()? },
            (0, 0x14, false) => Self::Opened(Opened {
                extended: true,
                request: f.u32()?,
                channel: f.u32()?,
                target: f.u256()?,
                size: f.u16()?,
                prefix: f.short()?,
                group: f.u32()?,
            }),
            (0, 0x15, true) => Self::Job(Job {
                channel: f.u32()?,
                id: f.u32()?,
                min_ntime: f.optional()?,
                version: f.u32()?,
                body: Body::Standard { root: f.u256()? },
            }),
            (0, 0x17, true) => Self::UpdateError { channel: f.u32()?, code: f.short()? },
            (0, 0x18, true) => Self::Close { channel: f.u32()?, code: f.short()? },
            (0, 0x19, true) => Self::Prefix { channel: f.u32()?, prefix: f.short()? },
            (0, 0x1c, true) => {
                Self::Accepted { channel: f.u32()?, last: f.u32()?, count: f.u32()?, sum: f.u64()? }
            }
            (0, 0x1d, true) => {
                Self::Rejected { channel: f.u32()?, sequence: f.u32()?, code: f.short()? }
            }
            (0, 0x1f, true) => Self::Job(Job {
                channel: f.u32()?,
                id: f.u32()?,
                min_ntime: f.optional()?,
                version: f.u32()?,
                body: Body::Extended {
                    rolling: f.u8()? & 1 == 1,
                    path: f.path()?,
                    prefix: f.long()?,
                    suffix: f.long()?,
                },
            }),
            (0, 0x20, true) => Self::Tip(Tip {
                channel: f.u32()?,
                job: f.u32()?,
                prev_hash: f.u256()?,
                min_ntime: f.u32()?,
                nbits: f.u32()?,
            }),
            (0, 0x21, true) => Self::Target { channel: f.u32()?, target: f.u256()? },
            (0, 0x24, true) => {
                Self::CustomError { channel: f.u32()?, request: f.u32()?, code: f.short()? }
            }
            (0, 0x25, false) => Self::Group { group: f.u32()?, channels: f.channels()? },
            (1, 0x01, false) => {
                Self::ExtensionsSuccess { request: f.u16()?, supported: f.extensions()? }
            }
            (1, 0x02, false) => Self::ExtensionsError {
                request: f.u16()?,
                unsupported: f.extensions()?,
                required: f.extensions()?,
            },
            _ => return None,
        };
        f.0.is_empty().then_some(message)
    }
}

/// What is left of a payload.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    fn bytes(&mut self, len: usize) -> Option<Vec<u8>> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head.to_vec())
    }

    fn u8(&mut self) -> Option<u8> {
        self.take::<1>().map(|b| b[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn u256(&mut self) -> Option<U256> {
        self.take()
    }

    fn optional(&mut self) -> Option<Option<u32>> {
        match self.u8()? {
            0 => Some(None),
            1 => self.u32().map(Some),
            _ => None,
        }
    }

    /// STR0_255, B0_32.
    fn short(&mut self) -> Option<Vec<u8>> {
        let len = self.u8()?;
        self.bytes(len.into())
    }

    /// B0_64K.
    fn long(&mut self) -> Option<Vec<u8>> {
        let len = self.u16()?;
        self.bytes(len.into())
    }

    fn path(&mut self) -> Option<Vec<U256>> {
        let len = self.u8()?;
        (0..len).map(|_| self.u256()).collect()
    }

    fn channels(&mut self) -> Option<Vec<u32>> {
        let len = self.u16()?;
        (0..len).map(|_| self.u32()).collect()
    }

    fn extensions(&mut self) -> Option<Vec<u16>> {
        let len = self.u16()?;
        (0..len).map(|_| self.u16()).collect()
    }
}
