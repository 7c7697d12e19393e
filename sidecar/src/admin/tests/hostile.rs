//! Who is slow or hostile is harmed, and nobody else.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use tokio::sync::watch;

use super::super::listen::CONNECTIONS;
use super::{answer, enter, loopback, open, scratch, serve, serve_with, view, Served, HOSTILE};
use crate::admin::{AdminError, Listener, Token, TokenError};
use crate::config::AdminAddress;
use crate::http::Patience;
use crate::keys::KeyFile;
use crate::types::Kind;

/// So short that a test sees its end.
fn impatient() -> Patience {
    let short = Duration::from_millis(300);
    Patience { head: short, life: Duration::from_secs(3600), last: short }
}

#[test]
fn rejects_who_shows_no_token_or_another() {
    let served = serve(&view(), Some(b"0123456789abcdef0123"));
    for path in ["/readyz", "/metrics", "/api/v1/clients", "/api-docs/openapi.json", "/nowhere"] {
        let got = served.get(path);
        assert_eq!(got.status, 401, "{path}");
        assert_eq!(got.json()["reason"], "unauthorized");
        assert!(got.head.to_lowercase().contains("www-authenticate: bearer"), "{}", got.head);
    }
    for wrong in ["Bearer 0123456789abcdef012", "0123456789abcdef0123", "Basic MDEyMzQ1"] {
        let head = format!("GET /readyz HTTP/1.1\r\nHost: x\r\nAuthorization: {wrong}\r\n");
        assert_eq!(served.ask(&head, "").status, 401, "{wrong}");
    }
    let head = "GET /metrics HTTP/1.1\r\nHost: pool.example\r\n\
                Authorization: Bearer 0123456789abcdef0123\r\n";
    assert_eq!(served.ask(head, "").status, 200);
    assert_eq!(served.get("/livez").status, 200, "says nothing");
}

#[test]
fn rejects_browsers_that_were_told_another_name_of_this_machine() {
    let served = serve(&view(), None);
    for head in ["GET /readyz HTTP/1.1\r\nHost: evil.example\r\n", "GET /readyz HTTP/1.0\r\n"] {
        let got = served.ask(head, "");
        assert_eq!((got.status, &got.json()["reason"]), (403, &"foreign-host".into()), "{head}");
    }
}

#[test]
fn errors_have_a_reason_whatever_is_asked() {
    let served = serve(&view(), None);
    let host = served.address;
    for (method, path, status, reason) in [
        ("GET", "/", 404, "no-such-route"),
        ("GET", "/api/v1/clients/7", 404, "no-such-client"),
        ("GET", "/api/v1/clients/-7", 404, "no-such-client"),
        ("GET", "/api/v1/clients/99999999999999999999/channels", 404, "no-such-client"),
        ("GET", "/api/v1/clients?limit=many", 400, "bad-query"),
        ("GET", "/api/v1/clients?offset=-1", 400, "bad-query"),
        ("GET", "/api/v1/clients/%00%ff/channels", 404, "no-such-client"),
        ("POST", "/metrics", 405, "method-not-allowed"),
        ("DELETE", "/api/v1/log-filter", 405, "method-not-allowed"),
        ("PUT", "/api/v1/log-filter", 403, "needs-token"),
    ] {
        let got = served.ask(&format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n"), "");
        assert_eq!(got.status, status, "{method} {path}: {}", got.body);
        assert_eq!(got.json()["reason"], reason, "{method} {path}");
        assert!(got.json()["error"].is_string());
    }
}

#[test]
fn rejects_changes_by_whoever_is_on_this_machine() {
    let put = |served: &Served, token: &str| {
        let host = served.address;
        let head = format!("PUT /api/v1/log-filter HTTP/1.1\r\nHost: {host}\r\n{token}");
        served.ask(&head, "{\"filter\": \"off\"}")
    };
    let served = serve(&view(), None);
    let got = put(&served, "");
    assert_eq!((got.status, &got.json()["reason"]), (403, &"needs-token".into()));
    assert!(got.json()["error"].as_str().unwrap().contains("[admin].token_file"));
    assert_eq!(served.get("/readyz").status, 503, "asking is free");
    // With the token it gets through, to the logger that is missing here.
    let served = serve(&view(), Some(b"0123456789abcdef0123"));
    assert_eq!(put(&served, "").status, 401);
    assert_eq!(put(&served, "Authorization: Bearer 0123456789abcdef0123\r\n").status, 501);
}

#[test]
fn hostile_names_are_escaped_everywhere() {
    let view = view();
    let one = enter(&view, 7);
    let _channel = open(&one, 1, Kind::Standard, HOSTILE);
    let served = serve(&view, None);
    for path in ["/metrics", "/api/v1/clients", "/api/v1/clients/7/channels", "/api/v1/status"] {
        let body = served.get(path).body;
        assert!(!body.contains(['\x1b', '\r', '\0']), "{path}");
        assert!(!path.contains("metrics") || !body.contains("script"), "a label");
    }
    let got = served.get("/api/v1/clients/7/channels").json();
    let shown = got["standard_channels"][0]["user_identity"].as_str().unwrap();
    assert!(shown.ends_with("\\x22\\x5c\\x0d\\x0a\\x1b[2J\\xff\\x00"), "{shown}");
}

#[test]
fn survives_connections_that_ask_for_nothing() {
    let served = serve_with(&view(), None, impatient());
    let mut held: Vec<_> = (0..CONNECTIONS).map(|_| served.connect()).collect();
    for (index, stream) in held.iter_mut().enumerate() {
        // Nothing at all, a request that never ends, garbage.
        let part = ["", "GET /metrics HTTP/1.1\r\nX: y", "\x16\x03\x01"][index % 3];
        stream.write_all(part.as_bytes()).unwrap();
    }
    // All of them are ended by the server.
    for mut stream in held {
        let _ = stream.read_to_end(&mut Vec::new());
    }
    assert_eq!(served.get("/livez").status, 200);
}

/// Asks for the metrics with the token, on a connection that stays.
fn scrape(stream: &mut TcpStream) -> std::io::Result<String> {
    let head = "GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer 0123456789abcdef0123";
    stream.write_all(format!("{head}\r\n\r\n").as_bytes())?;
    let mut line = [0; 12];
    stream.read_exact(&mut line)?;
    Ok(String::from_utf8_lossy(&line).into_owned())
}

#[test]
fn who_only_holds_places_keeps_nobody_out() {
    let served = serve(&view(), Some(b"0123456789abcdef0123"));
    let mut known = served.connect();
    assert_eq!(scrape(&mut known).unwrap(), "HTTP/1.1 200");
    let mut held = Vec::new();
    for index in 0..3 * CONNECTIONS {
        let mut stream = served.connect();
        // Nothing at all, a head without an end, and what everybody is answered.
        let part = ["", "GET /metrics HTTP/1.1\r\nX: y", "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"];
        // It may have lost its place already.
        let _ = stream.write_all(part[index % 3].as_bytes());
        held.push(stream);
    }
    // While all of them wait.
    let mut newcomer = served.connect();
    assert_eq!(scrape(&mut newcomer).unwrap(), "HTTP/1.1 200");
    // And who was let in before them has its place still: it is answered once more.
    let head = "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    known.write_all(head.as_bytes()).unwrap();
    let mut rest = String::new();
    known.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("\"live\""), "{rest}");
    drop(held);
}

#[test]
fn rejects_a_second_try_on_the_same_connection() {
    let served = serve(&view(), Some(b"0123456789abcdef0123"));
    let mut stream = served.connect();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    // It ends, and says so, though it was not asked to.
    let got = answer(stream);
    assert_eq!(got.status, 401);
    assert!(got.head.to_lowercase().contains("connection: close"), "{}", got.head);
}

#[test]
fn survives_who_does_not_read() {
    let patience = Patience { life: Duration::from_millis(300), ..impatient() };
    let served = serve_with(&view(), None, patience);
    let mut held: Vec<_> = (0..CONNECTIONS).map(|_| served.connect()).collect();
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n", served.address);
    for stream in &mut held {
        stream.set_nonblocking(true).unwrap();
        // Until nothing more fits: the answers are not read.
        while stream.write_all(request.as_bytes()).is_ok() {}
    }
    // Their time ends, and their places are free.
    loop {
        let mut stream = served.connect();
        let asked = stream
            .write_all(request.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n").as_bytes());
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        if asked.is_ok() && bytes.starts_with(b"HTTP/1.1 200") {
            break;
        }
    }
    drop(held);
}

#[test]
fn rejects_heads_and_bodies_that_are_too_long() {
    let served = serve(&view(), None);
    let mut stream = served.connect();
    let long = format!(
        "GET /livez HTTP/1.1\r\nHost: {}\r\nX: {}\r\n\r\n",
        served.address,
        "y".repeat(1 << 20)
    );
    let _ = stream.write_all(long.as_bytes());
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    assert!(!bytes.starts_with(b"HTTP/1.1 200"));
    assert_eq!(served.get("/livez").status, 200);
}

#[test]
fn a_socket_file_lets_in_only_its_user_and_survives_a_kill() {
    let path = scratch("sock");
    let mut admin = loopback();
    admin.listen = Some(AdminAddress::Unix(path.clone()));
    // What a killed process has left.
    drop(UnixListener::bind(&path).unwrap());
    let listener = Listener::bind(&admin).unwrap().unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let error = Listener::bind(&admin).unwrap_err();
    assert!(error.to_string().contains("choose another address"), "{error}");
    let (stop, stops) = watch::channel(false);
    let thread = listener.start(view(), stops).unwrap();
    let mut stream = UnixStream::connect(&path).unwrap();
    // No Host is asked for: the file says who may.
    stream.write_all(b"GET /livez HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.contains("\"live\""), "{text}");
    stop.send_replace(true);
    thread.join().unwrap();
    assert!(!path.exists());
    fs::write(&path, "something else").unwrap();
    let error = Listener::bind(&admin).unwrap_err();
    assert!(matches!(error, AdminError::Bind(..)), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"something else", "not ours to remove");
    fs::remove_file(&path).unwrap();
}

#[test]
fn rejects_tokens_that_can_be_guessed_or_read() {
    let path = scratch("token");
    let write = |text: &str, mode| {
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        Token::load(&KeyFile::Path(path.clone()))
    };
    assert!(write("0123456789abcdef\n", 0o600).is_ok());
    for short in ["", "\n", "0123456789abcde", "0123456789 abcdef"] {
        assert!(matches!(write(short, 0o600), Err(TokenError::Content(_))), "{short:?}");
    }
    let error = write("0123456789abcdef\n", 0o644).unwrap_err();
    assert!(error.to_string().contains("chmod 600"), "{error}");
    fs::remove_file(&path).unwrap();
    let error = Token::load(&KeyFile::Path(path)).unwrap_err();
    assert!(error.to_string().contains("openssl rand"), "{error}");
}

#[test]
fn answers_go_on_while_one_request_is_slow() {
    let served = serve(&view(), None);
    let mut slow = served.connect();
    slow.write_all(b"GET /livez HTTP/1.1\r\n").unwrap();
    assert_eq!(served.get("/metrics").status, 200);
    let rest = format!("Host: {}\r\nConnection: close\r\n\r\n", served.address);
    slow.write_all(rest.as_bytes()).unwrap();
    assert_eq!(answer(slow).status, 200);
}
