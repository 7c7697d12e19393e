//! Promises of the admin address, asked over real sockets.

#[cfg(test)]
mod api;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod ready;
#[cfg(test)]
mod reference;
#[cfg(test)]
pub(crate) mod schema;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::watch;

use super::{Listener, Token, View};
use crate::config::{Admin, AdminAddress};
use crate::http::Patience;
use crate::obs::clients::{ChannelFacts, OpenChannel};
use crate::obs::{Clients, Counts, Presence};
use crate::types::{ChannelKey, ConnId, Connection, Kind, Target};

/// A name that means something to everybody who repeats it carelessly.
const HOSTILE: &[u8] = b"<script>alert(1)</script>'; DROP TABLE share;--\"\\\r\n\x1b[2J\xff\0";

/// What is shown, of a sidecar on which nothing has happened.
fn view() -> View {
    let counts = Counts::default();
    let clients = Clients::new(counts.clone());
    View { counts, clients, log: None, lost_ms: 60_000, show_addresses: true }
}

/// A connection that is set up.
fn enter(view: &View, id: u64) -> Presence {
    let presence = view.clients.enter(ConnId(id), format!("192.0.2.1:{id}"), 1_000);
    presence.set_up(std::sync::Arc::new(Connection {
        id: ConnId(id),
        remote_address: format!("192.0.2.1:{id}"),
        vendor: Bytes::from_static(HOSTILE),
        hardware_version: Bytes::from_static(b"S21"),
        firmware: Bytes::from_static(b"1"),
        device_id: Bytes::new(),
        setup_flags: 4,
        extensions: vec![2],
        connected_ms: 1_000,
    }));
    presence
}

/// An open channel of it.
fn open(presence: &Presence, ordinal: u32, kind: Kind, identity: &'static [u8]) -> OpenChannel {
    presence.open(ChannelFacts {
        key: ChannelKey::new(ConnId(presence.client().id), ordinal).unwrap(),
        id: ordinal,
        kind,
        user_identity: Bytes::from_static(identity),
        prefix: Bytes::from_static(&[0xab, 1]),
        extranonce_size: if kind == Kind::Extended { 6 } else { 0 },
        nominal_hash_rate: 1e14,
        target: Target::from_nbits(0x1b00_ffff).unwrap(),
        max_target: Target::EASIEST,
    })
}

/// A served admin address.
struct Served {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn loopback() -> Admin {
    let listen = Some(AdminAddress::Tcp("127.0.0.1:0".parse().unwrap()));
    Admin { listen, token_file: None, show_addresses: true }
}

/// Serves on loopback; with a token when there is one.
fn serve(view: &View, token: Option<&[u8]>) -> Served {
    serve_with(view, token, Patience::default())
}

fn serve_with(view: &View, token: Option<&[u8]>, patience: Patience) -> Served {
    let mut listener = Listener::bind(&loopback()).unwrap().unwrap();
    if let Some(token) = token {
        listener.demand(Token::new(token));
    }
    let address = listener.address().parse().unwrap();
    let (stop, stops) = watch::channel(false);
    let thread = Some(listener.start_with(view.clone(), stops, patience).unwrap());
    Served { address, stop, thread }
}

/// An answer: status, head, body.
struct Got {
    status: u16,
    head: String,
    body: String,
}

impl Got {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }
}

impl Served {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        // A server that hangs fails the test instead of holding it.
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    fn get(&self, path: &str) -> Got {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: {}\r\n", self.address), "")
    }

    /// One request: its head without the empty line, and its body.
    fn ask(&self, head: &str, body: &str) -> Got {
        let mut stream = self.connect();
        let length = body.len();
        let head = format!("{head}Connection: close\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        // It may have been refused by its head.
        let _ = stream.write_all(body.as_bytes());
        answer(stream)
    }
}

/// Reads an answer up to the end of the connection.
fn answer(mut stream: TcpStream) -> Got {
    let mut bytes = Vec::new();
    // A reset behind the answer changes nothing of it.
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Got { status, head: head.to_owned(), body: body.to_owned() }
}

/// A path of one test.
fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("gopool-sv2-admin-{}-{name}", std::process::id()))
}
