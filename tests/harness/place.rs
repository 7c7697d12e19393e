//! Where miners connect to, from where, as whom, and for what kind of channel.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;

use clap::ValueEnum;
use gopool_sv2::client::PoolUrl;

/// The kind of channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// The pool computes the merkle root.
    Standard,
    /// The miner rolls a part of the coinbase.
    Extended,
}

impl Kind {
    /// As it is written on the command line and in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Extended => "extended",
        }
    }
}

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
    /// Puts a number of its own behind each channel's name, before the suffix that names a payout
    /// key, if there is one; `None`: all have the same.
    pub numbers: Option<Numbers>,
}

impl Place {
    /// Whom the next channel is for.
    pub(crate) fn name(&self) -> String {
        let Some(numbers) = &self.numbers else { return self.user.clone() };
        let number = numbers.0.fetch_add(1, Ordering::Relaxed);
        match self.user.split_once('~') {
            Some((name, suffix)) => format!("{name}.{number}~{suffix}"),
            None => format!("{}.{number}", self.user),
        }
    }
}

/// Numbers from 1 on. Clones count together.
#[derive(Debug, Clone)]
pub struct Numbers(Arc<AtomicU32>);

impl Default for Numbers {
    fn default() -> Self {
        Self(Arc::new(AtomicU32::new(1)))
    }
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
    /// The next of them.
    pub(crate) fn next(&self) -> IpAddr {
        Ipv4Addr::from_bits(self.0.fetch_add(1, Ordering::Relaxed)).into()
    }
}
