//! A submit in plain memory: made where it came from, so that a poll only copies.

use gopool_sv2_proto::v1;

/// At most 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Short {
    bytes: [u8; 32],
    size: u8,
}

impl Short {
    /// What is longer is cut off; nothing that was checked is.
    fn new(from: &[u8]) -> Self {
        let mut bytes = [0; 32];
        let size = from.len().min(bytes.len());
        if let (Some(to), Some(from)) = (bytes.get_mut(..size), from.get(..size)) {
            to.copy_from_slice(from);
        }
        Self { bytes, size: u8::try_from(size).unwrap_or(0) }
    }

    /// The bytes, and zeros behind them.
    #[must_use]
    pub const fn padded(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// How many count.
    #[must_use]
    pub const fn size(&self) -> u8 {
        self.size
    }

    /// Those that count.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.size)).unwrap_or_default()
    }
}

/// `gopool.sv2.v1.Submit`, field by field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Share {
    /// Names the submit on its stream.
    pub id: u64,
    /// Its channel.
    pub channel_id: u64,
    /// Its job.
    pub job_id: u64,
    /// Header nonce.
    pub nonce: u32,
    /// Header time, Unix seconds.
    pub ntime: u32,
    /// The full header version.
    pub version: u32,
    /// `gopool.sv2.v1.RejectReason`; 0: none.
    pub would_refuse: u32,
    /// What the miner rolled.
    pub extranonce: Short,
    /// Worker of SV2 extension 0x0002; empty: credit the channel's user identity.
    pub worker: Short,
}

impl From<&v1::Submit> for Share {
    fn from(submit: &v1::Submit) -> Self {
        Self {
            id: submit.id,
            channel_id: submit.channel_id,
            job_id: submit.job_id,
            nonce: submit.nonce,
            ntime: submit.ntime,
            version: submit.version,
            would_refuse: submit.would_refuse.unsigned_abs(),
            extranonce: Short::new(&submit.extranonce),
            worker: Short::new(&submit.worker),
        }
    }
}
