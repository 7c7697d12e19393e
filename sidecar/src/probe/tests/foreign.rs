//! Servers that are none, or are no Stratum V2.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// A TLS alert: fatal, handshake failure.
const ALERT: [u8; 7] = [0x15, 3, 3, 0, 2, 2, 40];

/// A server that treats every connection alike until the runtime of the test ends.
async fn server<F, W>(treat: F) -> ProbeOptions
where
    F: Fn(TcpStream) -> W + Send + 'static,
    W: std::future::Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(treat(stream));
        }
    });
    options(&format!("stratum2+tcp://127.0.0.1:{port}"))
}

/// Reads what is there.
async fn some(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = vec![0; 1024];
    let n = stream.read(&mut bytes).await.unwrap_or(0);
    bytes.truncate(n);
    bytes
}

/// Holds the connection until the client leaves.
async fn hold(mut stream: TcpStream) {
    while !some(&mut stream).await.is_empty() {}
}

/// Answers the first bytes, whatever they are, and holds the connection.
async fn answer_all(mut stream: TcpStream, answer: &'static [u8]) {
    some(&mut stream).await;
    // The probe may be gone already.
    let _ = stream.write_all(answer).await;
    hold(stream).await;
}

/// Answers only what `fits`, and is silent otherwise.
async fn answer_to(
    mut stream: TcpStream,
    fits: impl Fn(&[u8]) -> bool + Send,
    answer: &'static [u8],
) {
    let question = some(&mut stream).await;
    if fits(&question) {
        let _ = stream.write_all(answer).await;
    }
    hold(stream).await;
}

async fn handshake_fails(options: &ProbeOptions, cause: Cause) -> Failure {
    failing(options, Stage::Handshake, cause, 12).await
}

#[tokio::test]
async fn names_a_name_without_address() {
    // An empty label: no resolver is asked for that.
    let options = options("stratum2+tcp://a..invalid:3336");
    let failure = failing(&options, Stage::Resolve, Cause::NameUnknown, 10).await;
    assert!(failure.diagnosis.what.contains("a..invalid"), "{failure}");
}

#[tokio::test]
async fn names_a_closed_port() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    drop(listener);
    let options = options(&format!("stratum2+tcp://{address}"));
    let failure = failing(&options, Stage::Connect, Cause::PortClosed, 11).await;
    assert!(failure.diagnosis.what.contains(&address.to_string()), "{failure}");
    assert!(failure.diagnosis.remedy.contains("[listen].address"), "{failure}");
}

#[tokio::test]
async fn names_a_network_without_a_way_to_it() {
    // The system refuses TCP to the broadcast address without sending anything.
    let options = options("stratum2+tcp://255.255.255.255:3336");
    failing(&options, Stage::Connect, Cause::Unreachable, 11).await;
}

#[tokio::test]
async fn names_a_silent_server() {
    let mut options = server(hold).await;
    (options.timeout, options.asking_timeout) = (SHORT, SHORT);
    handshake_fails(&options, Cause::Silent).await;
}

#[tokio::test]
async fn names_stratum_v1_that_waits_for_a_line() {
    let fits = |bytes: &[u8]| bytes.starts_with(b"{") && bytes.ends_with(b"\n");
    let said = b"{\"id\":1,\"result\":[[],\"08000002\",4],\"error\":null}\n";
    let mut options = server(move |stream| answer_to(stream, fits, said)).await;
    options.timeout = SHORT;
    let failure = handshake_fails(&options, Cause::StratumV1).await;
    assert!(failure.diagnosis.why.contains("\"08000002\""), "{failure:?}");
    assert!(failure.diagnosis.remedy.contains("stratum+tcp://"), "{failure:?}");
}

#[tokio::test]
async fn names_stratum_v1_that_complains_and_closes() {
    let options = server(|mut stream| async move {
        some(&mut stream).await;
        let _ = stream.write_all(b"{\"id\":null,\"error\":[20,\"not JSON\",null]}\n").await;
    })
    .await;
    handshake_fails(&options, Cause::StratumV1).await;
}

#[tokio::test]
async fn names_tls_that_sends_an_alert() {
    let options = server(|mut stream| async move {
        some(&mut stream).await;
        let _ = stream.write_all(&ALERT).await;
    })
    .await;
    handshake_fails(&options, Cause::Tls).await;
}

#[tokio::test]
async fn names_tls_that_answers_only_a_client_hello() {
    let fits = |bytes: &[u8]| bytes.starts_with(&[0x16, 3, 1]);
    let mut options =
        server(move |stream| answer_to(stream, fits, &[0x16, 3, 3, 0, 4, 2, 0, 0, 0])).await;
    options.timeout = SHORT;
    handshake_fails(&options, Cause::Tls).await;
}

#[tokio::test]
async fn names_tls_that_answers_in_http_what_is_no_tls() {
    let options = server(|mut stream| async move {
        let tls = some(&mut stream).await.starts_with(&[0x16, 3]);
        let refusal = b"HTTP/1.1 400 Bad Request\r\n\r\n";
        let _ = stream.write_all(if tls { &ALERT } else { refusal }).await;
    })
    .await;
    handshake_fails(&options, Cause::Tls).await;
}

#[tokio::test]
async fn names_http_that_answers_anything() {
    let options = server(|mut stream| async move {
        some(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").await;
    })
    .await;
    let failure = handshake_fails(&options, Cause::Http).await;
    assert!(failure.diagnosis.why.contains("HTTP/1.1 400 Bad Request;"), "{failure:?}");
}

#[tokio::test]
async fn names_http_that_waits_for_a_request() {
    let fits = |bytes: &[u8]| bytes.starts_with(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n");
    let mut options =
        server(move |stream| answer_to(stream, fits, b"HTTP/1.1 404 Not Found\r\n\r\n")).await;
    (options.timeout, options.asking_timeout) = (SHORT, Duration::from_secs(2));
    handshake_fails(&options, Cause::Http).await;
}

#[tokio::test]
async fn names_ssh() {
    let options = server(|mut stream| async move {
        let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.6\r\n").await;
        some(&mut stream).await;
    })
    .await;
    handshake_fails(&options, Cause::Ssh).await;
}

#[tokio::test]
async fn names_a_server_that_closes_instead_of_an_answer() {
    let options = server(|mut stream| async move {
        // All of it: what is left unread would make a reset of the close.
        while some(&mut stream).await.len() == 1024 {}
    })
    .await;
    let failure = handshake_fails(&options, Cause::Closed).await;
    assert!(failure.diagnosis.remedy.contains("its log"), "{failure:?}");
}

#[tokio::test]
async fn names_a_reset_in_the_middle_of_the_handshake() {
    let options = server(|stream| async move {
        stream.set_zero_linger().expect("linger");
    })
    .await;
    handshake_fails(&options, Cause::Reset).await;
}

#[tokio::test]
async fn names_an_answer_that_is_no_handshake() {
    static WHOLE: [u8; 234] = [7; 234];
    let options = server(|stream| answer_all(stream, &WHOLE));
    let mut options = options.await;
    options.asking_timeout = SHORT;
    let failure = handshake_fails(&options, Cause::NotStratumV2).await;
    assert!(failure.diagnosis.what.contains("234 bytes"), "{failure}");

    let mut options = server(|stream| answer_all(stream, b"220 mail.example\x1b[2J\r\n")).await;
    (options.timeout, options.asking_timeout) = (SHORT, SHORT);
    let failure = handshake_fails(&options, Cause::NotStratumV2).await;
    assert!(failure.diagnosis.what.contains("220 mail.example\\x1b[2J"), "{failure}");
    assert!(failure.diagnosis.what.contains("then silence"), "{failure}");
}
