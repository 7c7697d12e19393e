//! The command line.

use std::net::Ipv4Addr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use gopool_sv2::client::{PoolUrl, UrlFault};
use gopool_sv2_tests::peer::{Kind, Numbers, Place, Sources};

use crate::watch::Watched;

/// Load for a Stratum V2 mining pool, and what it takes to bear it.
///
/// Prints one JSON object per run to standard output: latencies in microseconds, memory in KiB,
/// CPU in microseconds per operation. Progress goes to standard error. Ends with 1 when a share
/// was rejected, miscounted or not answered.
#[derive(Debug, Parser)]
#[command(name = "sv2-load", version, max_term_width = 100)]
pub struct Arguments {
    /// Where to and how often.
    #[command(flatten)]
    pub common: Common,
    /// What to measure.
    #[command(subcommand)]
    pub measure: Measure,
}

/// What all measures need.
#[derive(Debug, Args)]
pub struct Common {
    /// The pool, as miners type it: stratum2+tcp://HOST:PORT/KEY; for shares also
    /// stratum+tcp://HOST:PORT, Stratum V1.
    #[arg(long)]
    url: Door,
    /// Whom to mine for.
    #[arg(long)]
    user: String,
    /// Speed told to the pool, in hashes per second; the lower, the easier its shares may be.
    #[arg(long, default_value_t = 1.0)]
    hash_rate: f32,
    /// First address of this machine to connect from: each connection takes the next one, such as
    /// 127.0.1.1, 127.0.1.2 for a pool on 127.0.0.1 [default: the system chooses].
    #[arg(long, value_name = "IPV4")]
    source: Option<Ipv4Addr>,
    /// Each channel is for a worker of its own: USER.1, USER.2 and so on.
    #[arg(long)]
    numbered: bool,
    /// How many times to measure; 0, for shares only: until standard input ends, and then the run
    /// that is under way.
    #[arg(long, default_value_t = 1)]
    pub runs: u32,
    /// A process of the pool whose CPU time and memory are reported, as NAME=PID; with /PREFIX
    /// behind it only those of its threads whose names begin so. Repeat it for more.
    #[arg(long, value_name = "NAME=PID")]
    watch: Vec<Watched>,
}

/// Where miners knock.
#[derive(Debug, Clone)]
pub enum Door {
    /// Stratum V2.
    Sv2(PoolUrl),
    /// Stratum V1, HOST:PORT.
    Sv1(String),
}

impl std::str::FromStr for Door {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("stratum+tcp://") {
            Some(address) => Ok(Self::Sv1(address.trim_end_matches('/').to_owned())),
            None => text.parse().map(Self::Sv2).map_err(|fault: UrlFault| fault.to_string()),
        }
    }
}

impl Common {
    /// Where to.
    pub fn door(&self) -> &Door {
        &self.url
    }

    /// As whom.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Where to and as whom, over Stratum V2.
    ///
    /// # Errors
    /// It is another one.
    pub fn place(&self) -> gopool_sv2_tests::Result<Place> {
        let Door::Sv2(url) = self.url.clone() else {
            return Err("over Stratum V1 there are shares only".into());
        };
        let (user, hash_rate) = (self.user.clone(), self.hash_rate);
        let sources = self.source.map(Sources::from);
        Ok(Place { url, user, hash_rate, sources, numbers: self.numbered.then(Numbers::default) })
    }

    /// The command line for another process of the same place; addresses to connect from are not
    /// shared.
    pub fn again(&self) -> Vec<String> {
        let url = match &self.url {
            Door::Sv2(url) => url.to_string(),
            Door::Sv1(address) => format!("stratum+tcp://{address}"),
        };
        let rate = self.hash_rate.to_string();
        ["--url", &url, "--user", &self.user, "--hash-rate", &rate].map(ToOwned::to_owned).into()
    }

    /// This process and those of the pool.
    pub fn watched(&self) -> Vec<Watched> {
        [Watched::this()].into_iter().chain(self.watch.iter().cloned()).collect()
    }
}

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum Measure {
    /// New connections: TCP, Noise handshake, SetupConnection.
    Handshakes(Handshakes),
    /// Opening channels, one after the other, each on a connection of its own.
    Open(Open),
    /// Shares: round trips and throughput.
    Shares(Shares),
    /// Many connections with a channel that do nothing: memory, and news to all of them.
    Crowd(Crowd),
    /// Shares of some miners while many others come back at once.
    Storm(Storm),
    /// The others of a storm.
    #[command(hide = true)]
    Returns(Returns),
}

/// Options of `handshakes`.
#[derive(Debug, Clone, Args)]
pub struct Handshakes {
    /// Connections of one run.
    #[arg(long, default_value_t = 2000)]
    pub count: usize,
    /// How many are under way at once.
    #[arg(long, default_value_t = 16)]
    pub at_once: usize,
}

/// Options of `open`.
#[derive(Debug, Clone, Args)]
pub struct Open {
    /// Channels of one run.
    #[arg(long, default_value_t = 200)]
    pub count: usize,
    /// Kind of channel.
    #[arg(long, value_enum, default_value_t = Kind::Extended)]
    pub kind: Kind,
}

/// Options of `shares`.
#[derive(Debug, Clone, Args)]
pub struct Shares {
    /// Connections, each with one channel.
    #[arg(long, default_value_t = 1)]
    pub connections: usize,
    /// Submits of each connection that wait for their answer.
    #[arg(long, default_value_t = 1)]
    pub window: usize,
    /// Kind of channel.
    #[arg(long, value_enum, default_value_t = Kind::Extended)]
    pub kind: Kind,
    /// Length of a run in seconds.
    #[arg(long, default_value = "3", value_parser = seconds)]
    pub seconds: Duration,
    /// Seconds before the first run that don't count.
    #[arg(long, default_value = "0.5", value_parser = seconds)]
    pub warm_up: Duration,
    /// Seconds between two shares of a connection, which begins at a moment of its own; 0: each is
    /// sent as soon as the window has room.
    #[arg(long, default_value = "0", value_parser = seconds)]
    pub pace: Duration,
    /// Ends a connection's run after that many shares; 0: only the time does.
    #[arg(long, default_value_t = 0)]
    pub limit: u64,
}

impl Shares {
    /// Shares at a pace.
    pub fn paced(connections: usize, window: usize, kind: Kind, pace: Duration) -> Self {
        let (seconds, warm_up) = (Duration::ZERO, Duration::ZERO);
        Self { connections, window, kind, seconds, warm_up, pace, limit: 0 }
    }
}

/// Options of `crowd`.
#[derive(Debug, Clone, Args)]
pub struct Crowd {
    /// Connections, each with one channel.
    #[arg(long, default_value_t = 1000)]
    pub connections: usize,
    /// Kind of channel.
    #[arg(long, value_enum, default_value_t = Kind::Extended)]
    pub kind: Kind,
    /// New tips of one run.
    #[arg(long, default_value_t = 5)]
    pub tips: usize,
    /// Shell command that makes the pool's node find one block. Its start is when the time of a
    /// tip begins.
    #[arg(long)]
    pub tip_command: Option<String>,
    /// Other work on the same tip, how often in one run.
    #[arg(long, default_value_t = 5)]
    pub templates: usize,
    /// Shell command that has the pool give everybody other work on the same tip.
    #[arg(long)]
    pub template_command: Option<String>,
    /// How long things may settle before memory is read, in seconds.
    #[arg(long, default_value = "2", value_parser = seconds)]
    pub settle: Duration,
}

/// Options of `storm`.
#[derive(Debug, Clone, Args)]
pub struct Storm {
    /// Miners that mine all the time, each with one channel.
    #[arg(long, default_value_t = 200)]
    pub live: usize,
    /// Miners with a channel that are cut off and come back, all at once.
    #[arg(long, default_value_t = 10_000)]
    pub others: usize,
    /// Kind of channel.
    #[arg(long, value_enum, default_value_t = Kind::Extended)]
    pub kind: Kind,
    /// Seconds between two shares of a live miner.
    #[arg(long, default_value = "0.25", value_parser = seconds)]
    pub pace: Duration,
    /// Seconds of peace that are measured first.
    #[arg(long, default_value = "3", value_parser = seconds)]
    pub peace: Duration,
}

/// Options of `returns`.
#[derive(Debug, Clone, Args)]
pub struct Returns {
    /// How many.
    #[arg(long)]
    pub connections: usize,
    /// Kind of channel.
    #[arg(long, value_enum)]
    pub kind: Kind,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a number of seconds, such as 2.5");
    let seconds: f64 = text.parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
}
