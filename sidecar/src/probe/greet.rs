//! The handshake; and when there is none, what it is that listens.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{timeout_at, Instant};

use super::foreign::{self, Foreign, Protocol};
use super::report::{Cause, Diagnosis};
use super::run::Seen;
use super::ProbeOptions;
use crate::client::{Certificate, ClientError, Handshake, ACT_2_BYTES};

/// A handshake that was answered; its certificate is still to be judged.
#[derive(Debug)]
pub(super) struct Greeting {
    pub(super) handshake: Handshake,
    pub(super) act2: [u8; ACT_2_BYTES],
    pub(super) certificate: Certificate,
}

/// What came instead of act 2.
#[derive(Debug)]
struct Heard {
    bytes: Vec<u8>,
    ending: Ending,
}

#[derive(Debug)]
enum Ending {
    /// All bytes of an act 2 came, and are none.
    Whole,
    Silence,
    Closed,
    Broken(io::Error),
}

/// Sends act 1 and waits for act 2.
async fn exchange(
    stream: &mut TcpStream,
    handshake: &Handshake,
    after: Duration,
) -> Result<[u8; ACT_2_BYTES], Heard> {
    let deadline = Instant::now() + after;
    let mut act2 = [0; ACT_2_BYTES];
    let mut got = 0;
    let work = async {
        stream.write_all(handshake.act1()).await.map_err(Ending::Broken)?;
        while got < ACT_2_BYTES {
            match stream.read(&mut act2[got..]).await {
                Ok(0) => return Err(Ending::Closed),
                Ok(n) => got += n,
                Err(error) => return Err(Ending::Broken(error)),
            }
        }
        Ok(())
    };
    match timeout_at(deadline, work).await.unwrap_or(Err(Ending::Silence)) {
        Ok(()) => Ok(act2),
        Err(ending) => Err(Heard { bytes: act2[..got].to_vec(), ending }),
    }
}

/// Runs the handshake up to the certificate.
pub(super) async fn handshake(
    stream: &mut TcpStream,
    options: &ProbeOptions,
) -> Result<Seen<Greeting>, Diagnosis> {
    let broken = |error: ClientError| {
        Diagnosis::new(
            Cause::ProtocolBroken,
            format!("the handshake can't be started: {error}"),
            "the key in the URL is no key, or this machine has no random numbers",
            "copy the URL again",
        )
    };
    let mut handshake = Handshake::inspecting(options.url.authority()).map_err(broken)?;
    let address = stream.peer_addr().ok();
    let heard = match exchange(stream, &handshake, options.timeout).await {
        Ok(act2) => match handshake.certificate(&act2) {
            Ok(certificate) => {
                let text = format!("Noise NX, {ACT_2_BYTES} bytes of answer; encrypted from here");
                return Ok(Seen::new(Greeting { handshake, act2, certificate }, text));
            }
            Err(_) => Heard { bytes: act2.to_vec(), ending: Ending::Whole },
        },
        Err(heard) => heard,
    };
    let first = foreign::recognise(&heard.bytes);
    let found = match (first, address) {
        // HTTP is also what a TLS port answers to what is no TLS: ask.
        (Some(found), _) if found.protocol != Protocol::Http => Some(found),
        (first, Some(address)) => {
            foreign::ask(address, options.url.host(), options.asking_timeout).await.or(first)
        }
        (first, None) => first,
    };
    Err(match found {
        Some(found) => another(&found),
        None => unknown(&heard, options.timeout),
    })
}

/// Another protocol speaks there.
fn another(found: &Foreign) -> Diagnosis {
    let Foreign { protocol, said } = found;
    let (cause, likely, remedy) = match protocol {
        Protocol::StratumV1 => (
            Cause::StratumV1,
            "most likely this is the pool's port for Stratum V1 miners",
            "use the pool's Stratum V2 port, which has another number and an authority key in \
             its URL (stratum2+tcp://); ask the pool whether it has one. A miner that knows \
             Stratum V1 only is set up with stratum+tcp:// and this port",
        ),
        Protocol::Tls => (
            Cause::Tls,
            "most likely this is a port for HTTPS, or for Stratum V1 over TLS (stratum+ssl), or a \
             proxy in front of the pool speaks TLS",
            "use the pool's Stratum V2 port. Stratum V2 has its own encryption and goes through \
             a proxy only as plain TCP: if you run the proxy, make it pass the bytes on",
        ),
        Protocol::Http => (
            Cause::Http,
            "most likely this is a web page's or an API's port, or a web proxy is in front of the \
             pool",
            "use the pool's Stratum V2 port; if you run the proxy, make it pass plain TCP on",
        ),
        Protocol::Ssh => (
            Cause::Ssh,
            "this is the port for logging in to the host",
            "use the pool's Stratum V2 port",
        ),
    };
    let said = match protocol {
        Protocol::Tls => "it answered with a TLS record".to_owned(),
        _ => format!("it said {said}"),
    };
    Diagnosis::new(
        cause,
        format!("this port speaks {protocol}, not Stratum V2"),
        format!("{said}; {likely}"),
        remedy,
    )
}

/// Nothing that is known answers.
fn unknown(heard: &Heard, after: Duration) -> Diagnosis {
    let said = foreign::first_line(&heard.bytes);
    let count = heard.bytes.len();
    let own = "if it is your gopool-sv2: its log names why it closed the connection (limits of \
               [limits], a deadline, bytes that are no handshake)";
    match (&heard.ending, count) {
        (Ending::Silence, 0) => Diagnosis::new(
            Cause::Silent,
            format!("it takes the connection and then says nothing for {after:?}"),
            "neither our handshake nor questions in Stratum V1, HTTP and TLS were answered: the \
             program hangs, or is a forwarder (a container's port, a tunnel, a load balancer) \
             with nothing behind it",
            "on the server, see that the listener itself has this port and is alive; restart \
             what is in front of it; --timeout waits longer",
        ),
        (Ending::Closed, 0) => Diagnosis::new(
            Cause::Closed,
            "it takes the connection and closes it instead of an answer to our handshake",
            "the listener turns this address away (a limit on connections, a ban), or a load \
             balancer has nothing behind it, or another program has the port",
            format!("wait a minute and try again, or from another address; {own}"),
        ),
        (Ending::Broken(error), 0) => Diagnosis::new(
            Cause::Reset,
            format!("the connection broke in the middle of the handshake: {error}"),
            "the listener, or a firewall or load balancer before it, cut it off: a limit or a \
             ban, a program that just ended, or another program that did not like our bytes",
            format!("try again, or from another address; {own}"),
        ),
        (Ending::Whole, _) => Diagnosis::new(
            Cause::NotStratumV2,
            format!("what answers is no Stratum V2 handshake: {count} bytes, beginning {said}"),
            "the bytes don't authenticate: another program, or a Stratum V2 server of the time \
             before 2024 (it had another handshake), or something on the way alters bytes",
            "compare the port with the pool's; have the server updated",
        ),
        (ending, _) => {
            let then = match ending {
                Ending::Silence => "then silence".to_owned(),
                Ending::Broken(error) => format!("then {error}"),
                _ => "then the end of the connection".to_owned(),
            };
            Diagnosis::new(
                Cause::NotStratumV2,
                format!("what answers is not Stratum V2: {count} bytes ({said}), {then}"),
                format!("a handshake's answer has {ACT_2_BYTES} bytes; another program listens"),
                "compare the port with the pool's",
            )
        }
    }
}
