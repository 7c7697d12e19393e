//! Who may connect: how many at once and how often, from one address and from all. Pure: times are
//! passed in.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::config::Listen;
use crate::types::{Bucket, Rate, Seats};

/// Rates are per second.
const SECOND: Duration = Duration::from_secs(1);
/// Seconds' worth of all connections that may come at once: short, or the rate would not bind.
const BURST_SECS: u32 = 2;
/// Seconds' worth of one address: the devices of a farm come back together after a power cut.
const ADDRESS_BURST_SECS: u32 = 20;
/// Addresses are swept for forgotten ones when they are twice as many as were left by the last
/// sweep, but not below this: sweeping costs a look at each.
const SWEEP_MIN: usize = 1_024;
/// Refusals are told this far apart at most: an attacker must not fill the logs.
pub const TELL_EVERY: Duration = Duration::from_secs(10);

/// What is counted as one peer: an IPv4 address, or the IPv6 /64 network that a single customer is
/// given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Prefix(u64, bool);

impl Prefix {
    fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self(u64::from(ip.to_bits()), true),
            IpAddr::V6(ip) => Self((Ipv6Addr::to_bits(ip) >> 64) as u64, false),
        }
    }
}

/// Why a connection is closed as it arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// `[listen].max_connections`.
    Full,
    /// `[listen].max_connections_per_address`.
    AddressFull,
    /// `[listen].connections_per_sec`.
    Rate,
    /// `[listen].connections_per_sec_per_address`.
    AddressRate,
}

impl Refusal {
    /// Its name in statistics, one of [`REFUSALS`](crate::obs::counts::REFUSALS).
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::AddressFull => "address-full",
            Self::Rate => "rate",
            Self::AddressRate => "address-rate",
        }
    }
}

#[derive(Debug, Default)]
struct Peer {
    open: u32,
    arrivals: Bucket,
    channels: Seats,
}

/// The books of who is connected. Memory is bounded: a peer is kept while it has connections, or
/// its rate still counts, and new ones come at most at the rate of all.
#[derive(Debug)]
pub struct Admission {
    per_address: u32,
    channels_per_address: usize,
    rate: Rate,
    address_rate: Rate,
    arrivals: Bucket,
    peers: HashMap<Prefix, Peer>,
    sweep_at: usize,
    refused: Refused,
}

impl Admission {
    /// With the operator's limits, and nobody connected. `max_connections` is the caller's to
    /// keep.
    #[must_use]
    pub fn new(listen: &Listen) -> Self {
        let rate = |count: u32, secs| Rate::new(count, SECOND, count.saturating_mul(secs));
        Self {
            per_address: listen.max_connections_per_address,
            channels_per_address: listen.max_channels_per_address,
            rate: rate(listen.connections_per_sec, BURST_SECS),
            address_rate: rate(listen.connections_per_sec_per_address, ADDRESS_BURST_SECS),
            arrivals: Bucket::default(),
            peers: HashMap::new(),
            sweep_at: SWEEP_MIN,
            refused: Refused::default(),
        }
    }

    /// Admits a connection from `ip` and says where the channels of its address are counted, or
    /// why not. One that was admitted is given back with [`Admission::leave`]. A refused one costs
    /// its address nothing.
    ///
    /// # Errors
    /// The limit that it would exceed.
    pub fn admit(&mut self, ip: IpAddr, now: Duration) -> Result<Seats, Refusal> {
        let prefix = Prefix::of(ip);
        // By value: what is refused leaves no trace, whatever number of addresses it comes from.
        let known = self.peers.get(&prefix);
        let (open, mut arrivals) = known.map_or((0, Bucket::default()), |p| (p.open, p.arrivals));
        if self.per_address > 0 && open >= self.per_address {
            return Err(Refusal::AddressFull);
        }
        // The address first: one that comes too often must not use up what all have.
        if !arrivals.take(self.address_rate, 1, now) {
            return Err(Refusal::AddressRate);
        }
        if !self.arrivals.take(self.rate, 1, now) {
            return Err(Refusal::Rate);
        }
        let channels = known.map(|peer| peer.channels.clone());
        let channels = channels.unwrap_or_else(|| Seats::new(self.channels_per_address));
        self.sweep(now);
        self.peers.insert(prefix, Peer { open: open + 1, arrivals, channels: channels.clone() });
        Ok(channels)
    }

    /// A connection from `ip` that was admitted has ended.
    pub fn leave(&mut self, ip: IpAddr) {
        if let Some(peer) = self.peers.get_mut(&Prefix::of(ip)) {
            peer.open = peer.open.saturating_sub(1);
        }
    }

    /// Counts a refused connection; see [`Admission::tell`].
    pub fn refused(&mut self, ip: IpAddr, why: Refusal) {
        self.refused.count(ip, why);
    }

    /// What was refused since it was last told; `None` when nothing was, or it was told less than
    /// [`TELL_EVERY`] ago.
    pub fn tell(&mut self, now: Duration) -> Option<Refused> {
        let due = self.refused.told.is_none_or(|told| now.saturating_sub(told) >= TELL_EVERY);
        if !due || self.refused.sum() == 0 {
            return None;
        }
        Some(std::mem::replace(
            &mut self.refused,
            Refused { told: Some(now), ..Refused::default() },
        ))
    }

    /// Forgets peers that are as good as new.
    fn sweep(&mut self, now: Duration) {
        if self.peers.len() >= self.sweep_at {
            self.peers.retain(|_, peer| peer.open > 0 || !peer.arrivals.is_full(now));
            self.sweep_at = SWEEP_MIN.max(2 * self.peers.len());
        }
    }
}

/// Refused connections, for one line of the log; its Display is that line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refused {
    full: u64,
    address_full: u64,
    rate: u64,
    address_rate: u64,
    last: Option<IpAddr>,
    told: Option<Duration>,
}

impl Refused {
    fn count(&mut self, ip: IpAddr, why: Refusal) {
        let count = match why {
            Refusal::Full => &mut self.full,
            Refusal::AddressFull => &mut self.address_full,
            Refusal::Rate => &mut self.rate,
            Refusal::AddressRate => &mut self.address_rate,
        };
        *count += 1;
        self.last = Some(ip);
    }

    /// How many.
    #[must_use]
    pub const fn sum(&self) -> u64 {
        self.full + self.address_full + self.rate + self.address_rate
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} connections refused", self.sum())?;
        let counts = [
            (self.full, "max_connections"),
            (self.address_full, "max_connections_per_address"),
            (self.rate, "connections_per_sec"),
            (self.address_rate, "connections_per_sec_per_address"),
        ];
        for (count, key) in counts.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, ", {count} by [listen].{key}")?;
        }
        match self.last {
            Some(ip) => write!(f, "; the last from {ip}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(per_address: u32, per_sec: u32, per_sec_per_address: u32) -> Admission {
        Admission::new(&Listen {
            max_connections_per_address: per_address,
            connections_per_sec: per_sec,
            connections_per_sec_per_address: per_sec_per_address,
            ..Listen::default()
        })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn at(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn hs_14_caps_connections_of_an_ipv4_address_and_of_an_ipv6_network() {
        for (same, other) in [
            (["10.0.0.1", "10.0.0.1", "::ffff:10.0.0.1"], "10.0.0.2"),
            (["2001:db8::1", "2001:db8::ffff", "2001:db8::1:2:3:4"], "2001:db8:0:1::1"),
        ] {
            let mut admission = admission(2, 0, 0);
            assert_eq!(admission.admit(ip(same[0]), at(0)).map(drop), Ok(()));
            assert_eq!(admission.admit(ip(same[1]), at(0)).map(drop), Ok(()));
            assert_eq!(admission.admit(ip(same[2]), at(0)).map(drop), Err(Refusal::AddressFull));
            assert_eq!(admission.admit(ip(other), at(0)).map(drop), Ok(()));
            admission.leave(ip(same[1]));
            assert_eq!(admission.admit(ip(same[2]), at(0)).map(drop), Ok(()));
        }
    }

    #[test]
    fn channels_of_an_address_are_counted_in_one_place() {
        let mut admission = admission(0, 0, 0);
        let first = admission.admit(ip("10.0.0.1"), at(0)).unwrap();
        let channel = first.take();
        admission.leave(ip("10.0.0.1"));
        let seats = |admission: &mut Admission, from| admission.admit(ip(from), at(1)).unwrap();
        assert_eq!(seats(&mut admission, "10.0.0.1").taken(), 1);
        assert_eq!(seats(&mut admission, "10.0.0.2").taken(), 0);
        drop(channel);
        assert_eq!(seats(&mut admission, "10.0.0.1").taken(), 0);
    }

    #[test]
    fn hs_14_a_storm_from_one_address_leaves_the_rate_to_the_others() {
        let mut admission = admission(0, 100, 1);
        let admitted = |admission: &mut Admission, from: &str, secs| {
            (0..500).filter(|_| admission.admit(ip(from), at(secs)).is_ok()).count()
        };
        assert_eq!(admitted(&mut admission, "10.0.0.1", 0), 20);
        assert_eq!(admission.admit(ip("10.0.0.1"), at(0)).map(drop), Err(Refusal::AddressRate));
        assert_eq!(admitted(&mut admission, "10.0.0.2", 0), 20);
        assert_eq!(admitted(&mut admission, "10.0.0.1", 5), 5);
    }

    #[test]
    fn hs_14_caps_the_rate_of_all() {
        let mut admission = admission(0, 3, 0);
        let admitted: Vec<_> = (0..8_u8)
            .filter(|last| admission.admit(IpAddr::from([10, 0, 0, *last]), at(0)).is_ok())
            .collect();
        assert_eq!(admitted, [0, 1, 2, 3, 4, 5]);
        assert_eq!(admission.admit(ip("10.1.0.1"), at(0)).map(drop), Err(Refusal::Rate));
        assert_eq!(admission.admit(ip("10.1.0.1"), at(1)).map(drop), Ok(()));
    }

    #[test]
    fn forgets_addresses_that_are_gone_and_none_that_counts() {
        let mut admission = admission(1, 0, 1);
        admission.admit(ip("10.255.0.1"), at(0)).unwrap();
        for number in 0..100_000_u32 {
            let ip = IpAddr::from(number.to_be_bytes());
            let now = Duration::from_millis(u64::from(number));
            admission.admit(ip, now).unwrap();
            admission.leave(ip);
        }
        assert!(admission.peers.len() <= 4 * SWEEP_MIN, "{}", admission.peers.len());
        assert_eq!(admission.admit(ip("10.255.0.1"), at(200)).map(drop), Err(Refusal::AddressFull));
    }

    #[test]
    fn refused_addresses_cost_no_memory() {
        let mut admission = admission(0, 1, 0);
        for number in 0..10_000_u32 {
            let _ = admission.admit(IpAddr::from(number.to_be_bytes()), at(0));
        }
        assert_eq!(admission.peers.len(), 2);
    }

    #[test]
    fn tells_of_refusals_now_and_then_and_forgets_none() {
        let mut admission = admission(0, 0, 0);
        assert_eq!(admission.tell(at(1)), None);
        admission.refused(ip("10.0.0.1"), Refusal::Full);
        assert_eq!(
            admission.tell(at(1)).unwrap().to_string(),
            "1 connections refused, 1 by [listen].max_connections; the last from 10.0.0.1"
        );
        for _ in 0..1_000 {
            admission.refused(ip("10.0.0.2"), Refusal::AddressRate);
            assert_eq!(admission.tell(at(10)), None);
        }
        assert_eq!(admission.tell(at(11)).unwrap().sum(), 1_000);
        assert_eq!(admission.tell(at(99)), None);
    }
}
