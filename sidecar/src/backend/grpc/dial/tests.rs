//! Every way the pool can be out of reach, and the remedy its message names.

use std::io;
use std::path::Path;

use tokio::net::UnixListener;
use tonic::Status;

use super::wire::{self, Complaint};
use super::{Dialer, Greeting, LinkError};
use crate::config::{Pool, PoolAddress};

/// A directory of its own under the system's temporary one, gone at the end.
struct Place(std::path::PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("gsv2-dial-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn socket(&self) -> std::path::PathBuf {
        self.0.join("pool.sock")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn dialer(socket: &Path) -> Dialer {
    let address = PoolAddress::Unix(socket.to_path_buf());
    let pool = Pool { address, connect_timeout_ms: 200, ..Pool::default() };
    Dialer::new(&pool, 16)
}

#[tokio::test]
async fn names_the_path_where_no_socket_is() {
    let place = Place::new("absent");
    let error = dialer(&place.socket()).dial(Greeting::default()).await.unwrap_err();
    assert!(matches!(error, LinkError::NoSocket(ref path) if *path == place.socket()), "{error}");
    assert!(error.to_string().contains("[pool].address"), "{error}");
}

#[tokio::test]
async fn tells_a_left_over_socket_from_a_running_pool() {
    let place = Place::new("stale");
    drop(UnixListener::bind(place.socket()).unwrap());
    let error = dialer(&place.socket()).dial(Greeting::default()).await.unwrap_err();
    assert!(matches!(error, LinkError::NobodyListens(_)), "{error}");
}

#[tokio::test]
async fn tells_a_pool_that_hangs_up_from_one_that_is_silent() {
    let place = Place::new("rude");
    let listener = UnixListener::bind(place.socket()).unwrap();
    let (error, listener) = {
        let dialer = dialer(&place.socket());
        let hang_up = async {
            loop {
                drop(listener.accept().await.unwrap());
            }
        };
        let error = tokio::select! {
            () = hang_up => unreachable!("it hangs up for ever"),
            result = dialer.dial(Greeting::default()) => result.unwrap_err(),
        };
        (error, listener)
    };
    assert!(matches!(error, LinkError::ClosedAtOnce(_)), "{error}");

    let silent = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        std::future::pending::<()>().await;
        drop(stream);
    });
    let error = dialer(&place.socket()).dial(Greeting::default()).await.unwrap_err();
    silent.abort();
    assert!(matches!(error, LinkError::Timeout(_)), "{error}");
}

#[test]
fn names_the_remedy_when_the_socket_may_not_be_opened() {
    let path = Path::new("/run/pool/sv2.sock");
    let error = wire::socket(path, io::Error::from(io::ErrorKind::PermissionDenied));
    assert!(matches!(error, LinkError::Permission(_)), "{error}");
    assert!(error.to_string().contains("group of the socket"), "{error}");
    let other = wire::socket(path, io::Error::from(io::ErrorKind::OutOfMemory));
    assert!(matches!(other, LinkError::Socket(..)), "{other}");
}

#[test]
fn tells_the_pools_refusals_from_a_broken_transport() {
    let place = Place::new("status");
    let dialer = dialer(&place.socket());
    for refusal in [
        Status::failed_precondition("protocol 1, not 2"),
        Status::permission_denied("user 1000 is not allowed"),
        Status::resource_exhausted("one sidecar is connected already"),
    ] {
        let error = dialer.status(&refusal, &Complaint::default());
        assert!(
            matches!(error, LinkError::Refused(ref why) if why == refusal.message()),
            "{error}"
        );
    }
    let error = dialer.status(&Status::unimplemented("unknown service"), &Complaint::default());
    assert!(matches!(error, LinkError::Version(_)), "{error}");
    for broken in [Status::unavailable("x"), Status::unknown("x"), Status::cancelled("x")] {
        let error = dialer.status(&broken, &Complaint::default());
        assert!(matches!(error, LinkError::ClosedAtOnce(_)), "{error}");
    }
    let error = dialer.status(&Status::internal("frame too short"), &Complaint::default());
    assert!(matches!(error, LinkError::Broken(_)), "{error}");
}
