//! `sv2-attack`: every cheap way to do harm to a Stratum V2 listener, all at once, each once.
//!
//! For a listener on this machine only: its connections come from 127.2.0.0/16, each from an
//! address of its own. Prints one JSON object to standard output when all of it is over: what each
//! attack did, and what came of it. Ends with 1 when one could not be carried through.
//!
//! `weapons` are the attacks, `aim` is whom they go for.

#![allow(clippy::unwrap_used)]

mod aim;
mod weapons;

use std::fs;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use clap::Parser;
use gopool_sv2::client::PoolUrl;
use serde_json::{json, Map};

use aim::Aim;

/// Attacks a Stratum V2 listener on a loopback address, to see what its honest miners notice.
#[derive(Debug, Parser)]
#[command(name = "sv2-attack", version, max_term_width = 100)]
pub struct Arguments {
    /// The listener, as miners type it: stratum2+tcp://127.0.0.1:PORT/KEY.
    #[arg(long)]
    url: PoolUrl,
    /// Whom to open channels for.
    #[arg(long)]
    user: String,
    /// Connections that say nothing; a tenth as many more say nothing after the handshake.
    #[arg(long, default_value_t = 1_000)]
    silent: u32,
    /// Connections that send a byte now and then, at each of four stages.
    #[arg(long, default_value_t = 30)]
    slow: u32,
    /// Peers that hold frames of 16 MiB, of a known and of an unknown type, and the longest frame
    /// of an unknown type that a listener with default limits takes.
    #[arg(long, default_value_t = 50)]
    holders: u32,
    /// Opens of channels, a hundred on a connection.
    #[arg(long, default_value_t = 5_000)]
    opens: u32,
    /// Shares that are no work, a thousand in a second.
    #[arg(long, default_value_t = 10_000)]
    bad_shares: u32,
    /// Peers that ask for long answers and read none.
    #[arg(long, default_value_t = 10)]
    deaf: u32,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let host: Option<Ipv4Addr> = arguments.url.host().parse().ok();
    let Some(host) = host.filter(Ipv4Addr::is_loopback) else {
        complain("the URL names no loopback address such as 127.0.0.1: nothing else is attacked");
        return ExitCode::from(64);
    };
    let server = (host, arguments.url.port()).into();
    let aim = &Aim::new(server, arguments.user.clone());
    let begun = Instant::now();
    let (silent, slow, holders) = (arguments.silent, arguments.slow, arguments.holders);
    let (opens, bad_shares, deaf) = (arguments.opens, arguments.bad_shares, arguments.deaf);
    let (report, faults) = thread::scope(|scope| {
        let attacks = [
            ("silent", scope.spawn(move || weapons::silent(aim, silent))),
            ("slow", scope.spawn(move || weapons::slow(aim, slow))),
            ("holders", scope.spawn(move || weapons::holders(aim, holders))),
            ("opens", scope.spawn(move || weapons::opens(aim, opens))),
            ("bad_shares", scope.spawn(move || weapons::bad_shares(aim, bad_shares))),
            ("deaf", scope.spawn(move || weapons::deaf(aim, deaf))),
        ];
        let (mut report, mut faults) = (Map::new(), 0);
        for (name, attack) in attacks {
            match attack.join() {
                Ok(value) => drop(report.insert(name.to_owned(), value)),
                // What went wrong is on standard error.
                Err(_) => faults += 1,
            }
        }
        (report, faults)
    });
    let (nice, connections) = (niceness(), aim.connections());
    let seconds = begun.elapsed().as_secs_f64();
    let report = json!({
        "nice": nice, "connections": connections, "seconds": seconds, "attacks": report,
    });
    // A closed pipe is no fault of an attack.
    let _ = writeln!(std::io::stdout(), "{report}");
    if faults > 0 {
        complain("an attack could not be carried through");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// The priority of this process, as the kernel says it: field 19 of /proc/self/stat.
fn niceness() -> Option<i64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(16)?.parse().ok()
}

fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "sv2-attack: {text}");
}
