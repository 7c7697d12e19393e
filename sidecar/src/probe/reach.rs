//! From a name to a TCP connection.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::{lookup_host, TcpStream};
use tokio::time::{timeout, Instant};

use super::report::{Cause, Diagnosis, Fact};
use super::run::Seen;
use super::url::ProbeUrl;

/// Most addresses of a name that are tried.
const MAX_ADDRESSES: usize = 16;

/// Looks the host up; an IP address needs no look-up and is taken as it is.
pub(super) async fn resolve(
    url: &ProbeUrl,
    after: Duration,
) -> Result<Seen<Vec<SocketAddr>>, Diagnosis> {
    let literal = url.host().parse::<IpAddr>().is_ok();
    let found = match timeout(after, lookup_host(url.address())).await {
        Ok(Ok(addresses)) => addresses.take(MAX_ADDRESSES).collect::<Vec<_>>(),
        Ok(Err(error)) => return Err(unknown(url.host(), &error.to_string())),
        Err(_) => return Err(unknown(url.host(), &format!("no answer within {after:?}"))),
    };
    if found.is_empty() {
        return Err(unknown(url.host(), "it has no address"));
    }
    let list = found.iter().map(|a| a.ip().to_string()).collect::<Vec<_>>().join(", ");
    let text = if literal {
        format!("{list} (an address; nothing to look up)")
    } else {
        format!("{} is {list}", url.host())
    };
    Ok(Seen::new(found, text).fact("host", url.host()).fact("addresses", list))
}

fn unknown(host: &str, error: &str) -> Diagnosis {
    Diagnosis::new(
        Cause::NameUnknown,
        format!("the name {host} can't be resolved: {error}"),
        "the name is mistyped or has no entry (yet), or this machine has no working resolver",
        format!(
            "compare the name with the pool's; try `getent hosts {host}` here; when other names \
             fail too, look at this machine's network and resolver"
        ),
    )
}

/// Connects to the first address that takes it. Each one gets its share of the time, so that an
/// address without a way to it leaves some for the others.
pub(super) async fn connect(
    addresses: &[SocketAddr],
    after: Duration,
) -> Result<Seen<TcpStream>, Diagnosis> {
    let deadline = Instant::now() + after;
    let mut failures = Vec::new();
    for (index, address) in addresses.iter().enumerate() {
        let left = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        let share = deadline.saturating_duration_since(Instant::now()) / left;
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(connected(stream, *address, &failures)),
            Ok(Err(error)) => failures.push((*address, error)),
            Err(_) => failures.push((*address, io::ErrorKind::TimedOut.into())),
        }
    }
    Err(refused(&failures, after))
}

fn connected(
    stream: TcpStream,
    address: SocketAddr,
    failures: &[(SocketAddr, io::Error)],
) -> Seen<TcpStream> {
    // Messages are small and each one is worth sending at once; without it the probe is slower,
    // not wrong.
    let _ = stream.set_nodelay(true);
    let from = stream.local_addr().map(|from| format!(" from {from}")).unwrap_or_default();
    let text = format!("TCP to {address}{from}");
    let mut seen = Seen::new(stream, text).fact("address", Fact::Text(address.to_string()));
    for (failed, error) in failures {
        let note = format!(
            "{failed}, another address of the name, failed: {error}; miners that try it first \
             lose time or give up"
        );
        seen = seen.note(note);
    }
    seen
}

/// Names the failure that tells most: a refusal comes from the host itself, silence from a filter,
/// the rest mostly from this side.
fn refused(failures: &[(SocketAddr, io::Error)], after: Duration) -> Diagnosis {
    let rank = |kind: io::ErrorKind| match cause_of(kind) {
        Cause::PortClosed => 0,
        Cause::ConnectTimeout => 1,
        Cause::ConnectFailed => 2,
        _ => 3,
    };
    let telling = failures.iter().map(|(_, error)| error.kind()).min_by_key(|kind| rank(*kind));
    let seen = |(address, error): &(SocketAddr, io::Error)| match error.kind() {
        // Ours has no text of its own worth reading.
        io::ErrorKind::TimedOut => format!("{address}: no answer"),
        _ => format!("{address}: {error}"),
    };
    let seen = failures.iter().map(seen).collect::<Vec<_>>().join("; ");
    match telling.map_or(Cause::ConnectFailed, cause_of) {
        cause @ Cause::PortClosed => Diagnosis::new(
            cause,
            format!("nothing listens on that port ({seen})"),
            "the host answered, and said that no program has the port open: the listener is not \
             running, or has another port, or listens on another address of the host only; some \
             firewalls answer like that too",
            "on the server, see that the listener runs and which address and port it says it \
             listens on (for gopool-sv2: [listen].address), and compare with the URL",
        ),
        cause @ Cause::ConnectTimeout => Diagnosis::new(
            cause,
            format!("no answer to the attempt to connect within {after:?} ({seen})"),
            "a firewall on the way drops the packets, or the host is down, or the address is \
             another machine's",
            "open the port in the firewall of the server (and of its provider); see that the \
             host is up and the address is its own; --timeout waits longer",
        ),
        cause @ Cause::Unreachable => Diagnosis::new(
            cause,
            format!("there is no way to the host ({seen})"),
            "this machine has no route to that network: it is offline, behind a VPN that is \
             down, or has no IPv6 (or IPv4) while the host has nothing else",
            "see this machine's network first (`ip route get ADDRESS`); for a name with IPv6 \
             addresses only, IPv6 is needed here",
        ),
        cause => Diagnosis::new(
            cause,
            format!("the system refused to connect ({seen})"),
            "a local firewall, a sandbox or a limit of this machine is in the way, or the \
             connection broke while it was made",
            "try again; then look at this machine's firewall and limits",
        ),
    }
}

fn cause_of(kind: io::ErrorKind) -> Cause {
    match kind {
        io::ErrorKind::ConnectionRefused => Cause::PortClosed,
        io::ErrorKind::TimedOut => Cause::ConnectTimeout,
        io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkDown
        | io::ErrorKind::AddrNotAvailable => Cause::Unreachable,
        _ => Cause::ConnectFailed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_failure_that_tells_most() {
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let failed = |kinds: &[io::ErrorKind]| {
            let failures: Vec<_> =
                kinds.iter().zip(1..).map(|(kind, port)| (at(port), (*kind).into())).collect();
            refused(&failures, Duration::from_secs(1))
        };
        use io::ErrorKind::*;
        for (kinds, cause) in [
            (&[ConnectionRefused][..], Cause::PortClosed),
            (&[NetworkUnreachable, ConnectionRefused], Cause::PortClosed),
            (&[HostUnreachable, TimedOut], Cause::ConnectTimeout),
            (&[NetworkUnreachable, PermissionDenied], Cause::ConnectFailed),
            (&[NetworkUnreachable, HostUnreachable], Cause::Unreachable),
            (&[AddrNotAvailable], Cause::Unreachable),
            (&[], Cause::ConnectFailed),
        ] {
            assert_eq!(failed(kinds).cause, cause, "{kinds:?}");
        }
        let all = failed(&[NetworkUnreachable, TimedOut]);
        assert!(all.what.contains("127.0.0.1:1: ") && all.what.contains("127.0.0.1:2: no answer"));
    }
}
