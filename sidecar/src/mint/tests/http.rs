//! The client of the mint's API against answers that no mint should give.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use serde_json::{json, Value as Json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::papers::{Authority, Directory};
use super::*;
use crate::mint::http::{MintError, Refusal, SettingsError};

const ID: &str = "019a0000-0000-7000-8000-000000000001";

/// Reads a request to the end of its head.
async fn head(stream: &mut TcpStream) -> Option<String> {
    let mut read = Vec::new();
    while !read.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut byte = [0; 1];
        if stream.read(&mut byte).await.ok()? == 0 {
            return None;
        }
        read.push(byte[0]);
    }
    Some(String::from_utf8_lossy(&read).into_owned())
}

/// A server that answers everything with the same bytes and hangs up.
async fn parrot(answer: Vec<u8>) -> MintHttp {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            if head(&mut stream).await.is_some() {
                let _ = stream.write_all(&answer).await;
            }
        }
    });
    MintHttp::new(&api_settings(url)).unwrap()
}

fn response(status: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
}

fn good() -> Json {
    json!({
        "quote": ID, "request": "ehash:a", "method": "ehash", "amount": 1, "amount_paid": 5,
        "amount_issued": 3, "updated_at": 7, "unit": "hash", "expiry": null, "pubkey": KEYS[0],
    })
}

async fn read(body: &Json) -> Result<Quote, MintError> {
    let http = parrot(response("200 OK", &body.to_string())).await;
    soon(http.quote(ID)).await
}

fn with(name: &str, value: Json) -> Json {
    let mut body = good();
    body[name] = value;
    body
}

#[tokio::test]
async fn reads_what_is_needed_and_skips_the_rest() {
    let wanted = Quote {
        quote_id: ID.into(),
        request: "ehash:a".into(),
        payout_key: Some(key(0)),
        amount_paid: 5,
        amount_issued: 3,
        expiry: None,
    };
    assert_eq!(read(&good()).await, Ok(wanted.clone()));
    assert_eq!(read(&with("more", json!({ "a": [1] }))).await, Ok(wanted.clone()));
    let bare = json!({ "quote": ID, "request": "r", "amount_paid": u64::MAX, "amount_issued": 0 });
    let quote = read(&bare).await.unwrap();
    assert_eq!((quote.amount_paid, quote.payout_key, quote.expiry), (u64::MAX, None, None));
    assert_eq!(read(&with("unit", json!("HASH"))).await, Ok(wanted));
    assert_eq!(read(&with("pubkey", json!(""))).await.unwrap().payout_key, None);
}

#[tokio::test]
async fn rejects_answers_that_are_no_quote() {
    let mut bodies = vec![json!(null), json!([]), json!({}), json!("quote")];
    for (name, value) in [
        ("quote", json!("019a0000-0000-7000-8000-000000000002")),
        ("quote", json!("a/b")),
        ("quote", json!("")),
        ("request", json!("a\nb")),
        ("request", json!("x".repeat(1025))),
        ("request", json!(null)),
        ("amount_paid", json!(-1)),
        ("amount_paid", json!(1.5)),
        ("amount_paid", json!("5")),
        ("amount_paid", json!(null)),
        ("amount_issued", json!([])),
        ("unit", json!("sat")),
        ("pubkey", json!(format!("02{}", "ff".repeat(32)))),
        ("expiry", json!(-5)),
    ] {
        bodies.push(with(name, value));
    }
    for body in bodies {
        let error = read(&body).await.unwrap_err();
        assert!(matches!(error, MintError::NotAMint(_)), "{body}: {error}");
    }
    for answer in [
        response("200 OK", "<html>"),
        response("200 OK", "{"),
        response("200 OK", &"[".repeat(50_000)),
        response("404 Not Found", "no"),
        response("301 Moved Permanently", "{}"),
        response("500 Internal Server Error", "{\"code\":\"x\"}"),
    ] {
        let error = soon(parrot(answer).await.quote(ID)).await.unwrap_err();
        assert!(matches!(error, MintError::NotAMint(_)), "{error}");
    }
}

#[tokio::test]
async fn rejects_a_quote_that_is_locked_to_somebody_else() {
    for pubkey in [json!(KEYS[1]), json!(null)] {
        let body = with("pubkey", pubkey).to_string();
        let http = parrot(response("200 OK", &body)).await;
        let token = secret().token("a", &key(0));
        let error = soon(http.create(&key(0), "a", &token)).await.unwrap_err();
        assert!(matches!(error, MintError::NotAMint(_)), "{error}");
    }
}

#[tokio::test]
async fn names_refusals_by_their_codes() {
    for (code, detail, wanted) in [
        (11006, "Amount", Refusal::Amount),
        (11013, "Unit unsupported", Refusal::Unit),
        (20006, "Invoice already paid or pending", Refusal::InUse),
        (50000, "Unknown quote", Refusal::UnknownQuote),
        (50000, "Payment backend error", Refusal::Backend),
        (50000, "", Refusal::Backend),
        (20007, "Quote expired", Refusal::Other),
        (999, "?", Refusal::Other),
    ] {
        let body = json!({ "code": code, "detail": detail }).to_string();
        let http = parrot(response("400 Bad Request", &body)).await;
        match soon(http.quote(ID)).await.unwrap_err() {
            MintError::Refused { kind, code: said, detail: words } => {
                assert_eq!((kind, said, words.as_str()), (wanted, code, detail));
            }
            other => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn survives_hostile_words() {
    let detail = format!("\u{1b}[2J\n\u{202e}{}", "x".repeat(30_000));
    let body = json!({ "code": 1, "detail": detail }).to_string();
    let http = parrot(response("400 Bad Request", &body)).await;
    let said = soon(http.quote(ID)).await.unwrap_err().to_string();
    assert!(
        said.len() < 1_200 && said.bytes().all(|b| b == b' ' || b.is_ascii_graphic()),
        "{said}"
    );
}

#[tokio::test]
async fn survives_answers_without_end() {
    let mut long = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    long.resize(1 << 20, b' ');
    let error = soon(parrot(long).await.quote(ID)).await.unwrap_err();
    assert!(matches!(&error, MintError::NotAMint(what) if what.contains("65536")), "{error}");
    let mut head = b"HTTP/1.1 200 OK\r\nx: ".to_vec();
    head.resize(1 << 20, b'x');
    let error = soon(parrot(head).await.quote(ID)).await.unwrap_err();
    assert!(matches!(error, MintError::Unreachable(_)), "{error}");
    let short = b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{".to_vec();
    let error = soon(parrot(short).await.quote(ID)).await.unwrap_err();
    assert!(matches!(error, MintError::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn survives_a_mint_that_never_answers() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let timeout = Duration::from_millis(50);
    let url = format!("http://{}", listener.local_addr().unwrap());
    let http = MintHttp::new(&api::Settings { timeout, ..api_settings(url) }).unwrap();
    assert_eq!(soon(http.quote(ID)).await, Err(MintError::TimedOut(timeout)));
    // It sends a little, and then nothing.
    let stalling = tokio::spawn(async move {
        let (_first, _) = listener.accept().await.unwrap();
        let (mut second, _) = listener.accept().await.unwrap();
        head(&mut second).await.unwrap();
        second.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{").await.unwrap();
        std::future::pending::<()>().await;
    });
    assert_eq!(soon(http.quote(ID)).await, Err(MintError::TimedOut(timeout)));
    stalling.abort();
}

#[tokio::test]
async fn says_that_nobody_listens() {
    let nobody = nobody();
    let http = MintHttp::new(&api_settings(format!("http://{nobody}"))).unwrap();
    let error = soon(http.quote(ID)).await.unwrap_err();
    assert!(matches!(&error, MintError::Unreachable(what) if what.contains("refused")), "{error}");
    for bad in ["", "../x", "a b", "a/b", "a?b=c"] {
        assert_eq!(http.quote(bad).await, Err(MintError::NotAnId));
    }
}

#[tokio::test]
async fn never_has_more_calls_in_flight_than_allowed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counts = (Arc::clone(&now), Arc::clone(&most));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (now, most) = (Arc::clone(&counts.0), Arc::clone(&counts.1));
            tokio::spawn(async move {
                while head(&mut stream).await.is_some() {
                    let here = now.fetch_add(1, SeqCst) + 1;
                    most.fetch_max(here, SeqCst);
                    // Until all that may come are here, the first time.
                    while most.load(SeqCst) < 3 {
                        tokio::task::yield_now().await;
                    }
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    now.fetch_sub(1, SeqCst);
                    let _ = stream.write_all(&response("200 OK", &good().to_string())).await;
                }
            });
        }
    });
    let settings = api::Settings { in_flight_max: 3, ..api_settings(url) };
    let http = Arc::new(MintHttp::new(&settings).unwrap());
    let calls: Vec<_> = (0..30)
        .map(|_| {
            let http = Arc::clone(&http);
            tokio::spawn(async move { http.quote(ID).await })
        })
        .collect();
    for call in calls {
        soon(call).await.unwrap().unwrap();
    }
    assert_eq!(most.load(SeqCst), 3);
}

#[tokio::test]
async fn speaks_https_with_the_authority_that_is_named() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (files, others) = (Directory::new("https"), Directory::new("https-other"));
    files.trust(&authority);
    others.trust(&other);
    let books = Arc::new(Books::default());
    let endpoint = Endpoint::open(&books, settings()).await.unwrap();
    let https = Some(authority.https());
    let mint = Mint { https, ..Mint::new(endpoint.address) };
    let mint = FakeMint::start(mint, Database::default()).await.unwrap();
    let ca_file = |directory: &Directory| Some(directory.path().join("ca.pem"));
    let settings = api::Settings { ca_file: ca_file(&files), ..api_settings(mint.url()) };
    let http = MintHttp::new(&settings).unwrap();
    books.ask("a", key(0));
    let quote = soon(http.create(&key(0), "a", &secret().token("a", &key(0)))).await.unwrap();
    assert_eq!(soon(http.quote(&quote.quote_id)).await, Ok(quote.clone()));
    for ca_file in [None, ca_file(&others)] {
        let settings = api::Settings { ca_file, ..api_settings(mint.url()) };
        let http = MintHttp::new(&settings).unwrap();
        let error = soon(http.quote(&quote.quote_id)).await.unwrap_err();
        let text = error.to_string();
        assert!(
            matches!(error, MintError::Unreachable(_)) && text.contains("certificate"),
            "{text}"
        );
    }
}

#[test]
fn rejects_settings_that_can_not_work() {
    let check = |url: &str| api_settings(url.to_owned()).check();
    for url in ["", "mint", "127.0.0.1:80", "ftp://a", "http://", "https://u:p@a", "/v1"] {
        assert!(matches!(check(url), Err(SettingsError::Url(_))), "{url}");
    }
    for url in ["https://a/?x=1", "https://a/#x", "https://a b"] {
        assert!(matches!(check(url), Err(SettingsError::Url(_))), "{url}");
    }
    for url in ["http://mint.example", "http://10.0.0.1:80", "http://127.0.0.1.example"] {
        assert!(matches!(check(url), Err(SettingsError::Plain(_))), "{url}");
        let allowed = api::Settings { allow_plain: true, ..api_settings(url.to_owned()) };
        allowed.check().unwrap();
    }
    for url in ["http://127.0.0.1:8085", "http://[::1]:1", "http://LOCALHOST", "https://a/b"] {
        assert_eq!(check(&format!("{url}/")).unwrap(), url);
    }
    let good = api_settings("http://127.0.0.1".into());
    let zero = api::Settings { in_flight_max: 0, ..good.clone() };
    assert!(matches!(zero.check(), Err(SettingsError::Zero(_))));
    let zero = api::Settings { timeout: Duration::ZERO, ..good.clone() };
    assert!(matches!(zero.check(), Err(SettingsError::Zero(_))));
    let unit = api::Settings { unit: "HASH".into(), ..good.clone() };
    assert!(matches!(unit.check(), Err(SettingsError::Name { .. })));
    let file = api::Settings { ca_file: Some("/nowhere/ca.pem".into()), ..good };
    let error = MintHttp::new(&file).unwrap_err().to_string();
    assert!(error.contains("/nowhere/ca.pem"), "{error}");
}
