//! What else may listen on a port: told from its bytes, if need be by asking it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rand::rngs::OsRng;
use rand::RngCore;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::obs::printable;

/// Bytes of an answer that are looked at.
const MAX_HEARD: usize = 512;
/// Bytes of an answer that are shown.
const MAX_SHOWN: usize = 80;

/// A protocol that is not Stratum V2, with its first words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Foreign {
    pub(super) protocol: Protocol,
    /// What it said, printable.
    pub(super) said: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Protocol {
    // In the order of how much the finding tells: TLS ports answer HTTP to what is no TLS.
    Tls,
    StratumV1,
    Ssh,
    Http,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls => "TLS",
            Self::StratumV1 => "Stratum V1",
            Self::Ssh => "SSH",
            Self::Http => "HTTP",
        })
    }
}

/// Names the protocol that bytes from a server belong to.
pub(super) fn recognise(bytes: &[u8]) -> Option<Foreign> {
    let trimmed = bytes.trim_ascii_start();
    let text = |byte: &u8| *byte >= b' ' || byte.is_ascii_whitespace();
    let protocol = match bytes {
        // A TLS record: an alert or a handshake message, version 3.0 to 3.4.
        [0x15 | 0x16, 3, 0..=4, ..] => Protocol::Tls,
        _ if bytes.starts_with(b"HTTP/") => Protocol::Http,
        _ if bytes.starts_with(b"SSH-") => Protocol::Ssh,
        // Stratum V1 is JSON in lines, and nothing else that listens is likely to be. All of it is
        // text: one handshake in 128 begins with a brace.
        [..] if matches!(trimmed, [b'{' | b'[', ..]) && trimmed.iter().all(text) => {
            Protocol::StratumV1
        }
        _ => return None,
    };
    Some(Foreign { protocol, said: first_line(bytes) })
}

/// The first line of what came, printable and short.
pub(super) fn first_line(bytes: &[u8]) -> String {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let shown = line.trim_ascii_end();
    let cut = &shown[..shown.len().min(MAX_SHOWN)];
    let mut text = String::new();
    for byte in cut {
        match byte {
            // Quotes too: they are half of any JSON, and the text goes to no log.
            b' '..=b'~' => text.push(char::from(*byte)),
            _ => text.push_str(&printable(&[*byte])),
        }
    }
    if cut.len() < shown.len() {
        text.push_str("...");
    }
    text
}

/// Asks, on connections of their own, what speaks there: in Stratum V1, in HTTP and in TLS. Takes
/// at most `after`; `None` when nothing known answers.
pub(super) async fn ask(address: SocketAddr, host: &str, after: Duration) -> Option<Foreign> {
    let subscribe = b"{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[]}\n".to_vec();
    let get = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").into_bytes();
    let mut questions = JoinSet::new();
    for question in [subscribe, get, client_hello()] {
        questions.spawn(async move {
            // A failure is no answer.
            timeout(after, hear(address, &question)).await.ok()?.ok()?
        });
    }
    let mut best: Option<Foreign> = None;
    while let Some(answer) = questions.join_next().await {
        let Some(found) = answer.ok().flatten() else { continue };
        // These two can't be another's: no need to wait for the rest.
        if matches!(found.protocol, Protocol::Tls | Protocol::StratumV1) {
            return Some(found);
        }
        if best.as_ref().is_none_or(|best| found.protocol < best.protocol) {
            best = Some(found);
        }
    }
    best
}

/// Sends a question and returns what the answer is, as soon as that can be told.
async fn hear(address: SocketAddr, question: &[u8]) -> io::Result<Option<Foreign>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(question).await?;
    let mut heard = Vec::new();
    loop {
        let mut piece = [0; MAX_HEARD];
        let n = stream.read(&mut piece).await?;
        heard.extend_from_slice(&piece[..n]);
        let found = recognise(&heard);
        // More of the first line is worth a read, but not a wait.
        if n == 0 || found.is_some() || heard.len() >= MAX_HEARD {
            return Ok(found);
        }
    }
}

/// A TLS ClientHello that any TLS server answers, be it with an alert: versions 1.2 and 1.3, the
/// usual suites, curves and signatures (RFC 8446, 4.1.2). No key share: a server of TLS 1.3 asks
/// for one, which is an answer.
fn client_hello() -> Vec<u8> {
    /// A vector behind its length in `width` bytes, big-endian.
    fn sized(width: usize, content: &[u8]) -> Vec<u8> {
        let length = (content.len() as u64).to_be_bytes();
        [&length[length.len() - width..], content].concat()
    }
    let extension = |kind: u16, content: &[u8]| -> Vec<u8> {
        [&kind.to_be_bytes()[..], &sized(2, content)].concat()
    };
    let mut random = [0; 32];
    // Even zeros would be answered.
    let _ = OsRng.try_fill_bytes(&mut random);
    let suites = [0x13, 0x01, 0x13, 0x02, 0xc0, 0x2b, 0xc0, 0x2f, 0xc0, 0x30, 0x00, 0x9c, 0, 0x2f];
    let curves = sized(2, &[0x00, 0x1d, 0x00, 0x17]);
    let signatures = sized(2, &[0x04, 0x03, 0x08, 0x04, 0x04, 0x01, 0x05, 0x01, 0x08, 0x07]);
    let versions = sized(1, &[3, 4, 3, 3]);
    let extensions = [
        extension(10, &curves),
        extension(11, &sized(1, &[0])),
        extension(13, &signatures),
        extension(43, &versions),
        extension(51, &sized(2, &[])),
    ]
    .concat();
    let body = [
        &[3, 3][..],
        &random,
        &sized(1, &[]),
        &sized(2, &suites),
        &sized(1, &[0]),
        &sized(2, &extensions),
    ]
    .concat();
    let message = [&[1][..], &sized(3, &body)].concat();
    [&[0x16, 3, 1][..], &sized(2, &message)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognises_protocols_by_their_first_bytes() {
        let of = |bytes: &[u8]| recognise(bytes).map(|found| found.protocol);
        for (bytes, want) in [
            (&b"HTTP/1.1 400 Bad Request\r\n"[..], Some(Protocol::Http)),
            (b"SSH-2.0-OpenSSH_9.6\r\n", Some(Protocol::Ssh)),
            (&[0x15, 3, 1, 0, 2, 2, 70], Some(Protocol::Tls)),
            (&[0x16, 3, 3, 0, 90], Some(Protocol::Tls)),
            (b"{\"id\":1,\"result\":[]}\n", Some(Protocol::StratumV1)),
            (b" \r\n{\"id\":null", Some(Protocol::StratumV1)),
            (b"", None),
            (b"{\x01\x02", None),
            (&[0x15, 3], None),
            (&[0x17, 3, 3, 0], None),
            (b"HTT", None),
            (b"220 mail.example ESMTP\r\n", None),
        ] {
            assert_eq!(of(bytes), want, "{}", printable(bytes));
        }
    }

    #[test]
    fn shows_only_a_short_printable_first_line() {
        assert_eq!(first_line(b"{\"id\":1}\nsecond"), "{\"id\":1}");
        assert_eq!(first_line(b"a\x1b[2Jb\xff"), "a\\x1b[2Jb\\xff");
        assert_eq!(first_line(b"say 'x\\y' `z"), "say 'x\\y' `z");
        assert_eq!(first_line(&[b'x'; 200]), format!("{}...", "x".repeat(MAX_SHOWN)));
        assert_eq!(first_line(b""), "");
    }

    #[test]
    fn the_client_hello_is_one_whole_record() {
        let hello = client_hello();
        assert_eq!(hello[..3], [0x16, 3, 1]);
        let record = usize::from(u16::from_be_bytes([hello[3], hello[4]]));
        assert_eq!(hello.len(), 5 + record);
        assert_eq!((hello[5], hello[6]), (1, 0));
        let message = usize::from(u16::from_be_bytes([hello[7], hello[8]]));
        assert_eq!(record, 4 + message);
    }
}
