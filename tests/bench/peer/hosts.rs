//! Who is measured: the reference pool, and this line with each of its hosts.

use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use gopool_sv2_tests::reference::{Reference, ReferenceOptions};
use gopool_sv2_tests::Result;
use serde_json::Value;

use super::rows::Row;
use crate::line::{drive, Aim, Bench, Extra, Line};

/// How long one turn may take.
const PATIENCE: Duration = Duration::from_secs(300);
/// What a new tip may take to be with everybody who is there: nobody, or miners of the turn before.
const SETTLE: Duration = Duration::from_millis(300);
/// The reference pool aims at 100,000 shares a second of each channel: it assigns its easiest
/// target, which every hash meets, and its vardiff has no reason to leave that.
const SHARES_PER_MINUTE: f64 = 6e6;
/// What the reference pool logs: lines about each share would cost it a fifth of its speed.
const LOG: &str = "warn";

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// pool_sv2.
    Reference,
    /// minipool with a sidecar.
    Grpc,
    /// minipool with the listener inside.
    Ffi,
    /// What accepts everything, with a sidecar.
    NullGrpc,
    /// The same with the listener inside.
    NullFfi,
    /// minipool's Stratum V1 port.
    Sv1,
    /// The same behind sv1host and a sidecar.
    Sv1Grpc,
    /// The same behind sv1host, with the listener inside.
    Sv1Ffi,
}

const ALL: [Host; 8] = [
    Host::Reference,
    Host::Grpc,
    Host::Ffi,
    Host::NullGrpc,
    Host::NullFfi,
    Host::Sv1,
    Host::Sv1Grpc,
    Host::Sv1Ffi,
];

impl Host {
    /// On the command line and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reference => "pool_sv2",
            Self::Grpc => "grpc",
            Self::Ffi => "ffi",
            Self::NullGrpc => "null-grpc",
            Self::NullFfi => "null-ffi",
            Self::Sv1 => "sv1",
            Self::Sv1Grpc => "sv1host-grpc",
            Self::Sv1Ffi => "sv1host-ffi",
        }
    }

    /// Whether the listener is in the pool's process.
    pub const fn is_inside(self) -> bool {
        matches!(self, Self::Ffi | Self::NullFfi | Self::Sv1Ffi)
    }
}

/// All names.
pub fn names() -> Vec<&'static str> {
    ALL.map(Host::name).into()
}

/// Where the programs are, and whether each side keeps to a core.
pub struct Hosts {
    /// Of the line.
    pub binaries: PathBuf,
    /// Of the driver.
    pub driver: PathBuf,
    /// Processes keep to their cores.
    pub can_pin: bool,
    /// The program of the reference pool.
    pub reference: PathBuf,
}

impl Hosts {
    /// Starts one for a row.
    ///
    /// # Errors
    /// A program doesn't start.
    pub fn start(&self, host: Host, row: &Row) -> Result<Running> {
        let bench = Bench {
            binaries: self.binaries.clone(),
            driver: self.driver.clone(),
            can_pin: self.can_pin,
            inside: host.is_inside(),
        };
        let pool: &[&str] = match host {
            Host::Sv1 => &["-sv1", "127.0.0.1:0"],
            Host::Sv1Grpc | Host::Sv1Ffi => &["-via-sv1"],
            _ => &[],
        };
        let null = matches!(host, Host::NullGrpc | Host::NullFfi);
        if host == Host::Reference {
            let pool = Reference::start(&ReferenceOptions {
                program: &self.reference,
                shares_per_minute: SHARES_PER_MINUTE,
                core: bench.core(),
                log: Some(LOG),
            })?;
            let watch = vec![format!("pool_sv2={}", pool.pool.id())];
            let aim = Aim { url: pool.url().to_owned(), user: pool.user().to_owned(), watch };
            return Ok(Running { bench, host, server: Server::Reference(pool), aim });
        }
        let extra = Extra { pool, null, ..Extra::default() };
        let mut line = Line::start_with(&bench, row.bits, true, extra)?;
        let mut aim = line.aim();
        if host == Host::Sv1 {
            aim.url = line.sv1_url()?;
        }
        Ok(Running { bench, host, server: Server::Line(Box::new(line)), aim })
    }
}

enum Server {
    Reference(Reference),
    Line(Box<Line>),
}

/// One that runs.
pub struct Running {
    bench: Bench,
    host: Host,
    server: Server,
    aim: Aim,
}

impl Running {
    /// One turn of a row. Returns the driver's reports, and false when a share was not accepted.
    ///
    /// # Errors
    /// The driver, or the server, fails.
    pub fn turn(&mut self, row: &Row) -> Result<(Vec<Value>, bool)> {
        if row.renew {
            self.tip()?;
        }
        let mut measure = (row.plan)(self.host);
        if row.news {
            let (tip, template) = self.commands();
            let news = ["--tip-command", &tip, "--template-command", &template];
            measure.extend(news.map(ToOwned::to_owned));
        }
        drive(&self.bench, true, &self.aim, (1, &measure), PATIENCE)
    }

    /// A new tip, so that what was remembered of shares on the last one is gone.
    fn tip(&mut self) -> Result<()> {
        match &mut self.server {
            Server::Line(line) => line.tip()?,
            Server::Reference(pool) => std::fs::write(pool.control(), "tip\n")?,
        }
        sleep(SETTLE);
        Ok(())
    }

    /// Shell commands that bring a new tip, and other work on the same one.
    fn commands(&self) -> (String, String) {
        match &self.server {
            Server::Line(line) => (line.tip_command(), line.template_command()),
            Server::Reference(pool) => {
                let to = pool.control().display();
                (format!("echo tip > '{to}'"), format!("echo template > '{to}'"))
            }
        }
    }

    /// Stops it.
    ///
    /// # Errors
    /// A process of this line doesn't end well.
    pub fn stop(self) -> Result<()> {
        match self.server {
            Server::Line(line) => line.stop(),
            // Killed: how it ends is not what is asked.
            Server::Reference(_) => Ok(()),
        }
    }
}
