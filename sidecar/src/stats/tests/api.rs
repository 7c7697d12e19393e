//! What is answered, in which shape, and within which bounds.

use std::io::{BufRead as _, BufReader};

use serde_json::json;

use super::*;
use crate::admin::tests::schema::{faults, of};
use crate::http::Token;
use crate::stats::api::LISTENERS;

fn openapi() -> Value {
    serde_json::from_str(include_str!("../openapi.json")).unwrap()
}

/// A service that knows of everything that there is to know.
fn full(place: &Place) -> Served {
    let served = Served::new(&place.config(), T0);
    runtime().block_on(async {
        let mut sidecar = Sidecar::begin(&served, "one", 1).await;
        let health = |up| {
            let (dependency, detail) = ("ledger".to_owned(), "<b>look</b>".to_owned());
            What::Health(v1::Health { dependency, up, detail })
        };
        let block = |number: u8, accepted| {
            What::BlockFound(v1::BlockFound {
                channel_id: 50,
                block_hash: Bytes::from(vec![number; 32]),
                height: u32::from(number),
                accepted,
                detail: String::from_utf8_lossy(HOSTILE).into_owned(),
                worker: Bytes::from_static(HOSTILE),
            })
        };
        let mut hostile = match connected(5) {
            What::ConnectionOpened(opened) => opened,
            _ => unreachable!(),
        };
        if let Some(connection) = &mut hostile.connection {
            connection.vendor = Bytes::from_static(HOSTILE);
            connection.firmware = Bytes::from(vec![b'<'; 255]);
        }
        sidecar
            .tell(
                T0 - HOUR,
                vec![
                    What::ConnectionOpened(hostile),
                    connected(6),
                    started(50, 5, HOSTILE),
                    started(60, 6, b"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4.rig"),
                ],
            )
            .await;
        sidecar
            .tell(
                T0,
                vec![
                    shares(50, HOSTILE, 10, 1, T0 - HOUR),
                    shares(60, b"", 5, 2, T0 - HOUR),
                    snapshot(2, T0 - HOUR),
                    health(false),
                    health(true),
                    block(1, None),
                    block(2, Some(true)),
                    block(3, Some(false)),
                    What::ChannelEnded(v1::ChannelEnded {
                        channel_id: 60,
                        reason: "closed\nby <miner>".to_owned(),
                    }),
                    What::ConnectionClosed(v1::ConnectionClosed {
                        connection_id: 6,
                        cause: "peer-closed".to_owned(),
                        bytes_in: 1,
                        bytes_out: 2,
                    }),
                ],
            )
            .await;
    });
    served
}

#[test]
fn every_route_answers_as_it_is_described() {
    let place = Place::new("described");
    let served = full(&place);
    let root = openapi();
    let mut checked = 0;
    for (path, methods) in root["paths"].as_object().unwrap() {
        let media = methods["get"]["responses"]["200"]["content"].as_object().unwrap();
        if !media.contains_key("application/json") || path.starts_with("/api-docs") {
            continue;
        }
        let got = served.get(&path.replace("{id}", "2"));
        assert_eq!(got.status, 200, "{path}: {}", got.body);
        let found = faults(&root, of(&root, path, "get", 200), &got.json(), path);
        assert!(found.is_empty(), "{found:#?}");
        assert!(got.head.contains("application/json") && got.head.contains("nosniff"));
        checked += 1;
    }
    assert_eq!(checked, 13);
    assert_eq!(served.get("/api-docs/openapi.json").json(), root);
    for (path, status, code) in [
        ("/api/v2/summary", 404, "no-such-route"),
        ("/assets/../stats.db", 404, "no-such-route"),
        ("/assets/%2e%2e", 404, "no-such-route"),
        ("/api/v1/accounts/999", 404, "no-such-account"),
        ("/api/v1/accounts/x", 404, "no-such-account"),
        ("/api/v1/workers?limit=-1", 400, "bad-query"),
        ("/api/v1/workers?sort=identity;--", 400, "bad-query"),
        ("/api/v1/workers?online=maybe", 400, "bad-query"),
        ("/api/v1/history?from=5&to=5", 400, "bad-query"),
        ("/api/v1/events?after=%ff", 400, "bad-query"),
    ] {
        let got = served.get(path);
        assert_eq!(got.status, status, "{path}: {}", got.body);
        let error = &root["components"]["schemas"]["Error"];
        assert!(faults(&root, error, &got.json(), path).is_empty(), "{}", got.body);
        assert_eq!(got.json()["error"]["code"], code, "{path}");
    }
}

#[test]
fn hostile_names_are_data_everywhere() {
    let place = Place::new("hostile");
    let served = full(&place);
    let paths = openapi()["paths"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let mut seen = 0;
    for path in paths.iter().filter(|path| !path.ends_with("live")) {
        let got = served.get(&path.replace("{id}", "2"));
        let body = got.body.replace("\r\n", "\n");
        assert!(body.chars().all(|c| c == '\n' || !c.is_control()), "{path}: {body:?}");
        assert!(!body.contains('\u{fffd}') || path.ends_with("blocks"), "{path}");
        seen += usize::from(body.contains("DROP TABLE worker;--\\\\x22\\\\x5c"));
    }
    // Workers, an account, channels, blocks, events, and the summary's best.
    assert!(seen >= 6, "{seen}");
    let found = served.json("/api/v1/workers?q=%27%3B%20DROP%20TABLE");
    assert_eq!(found["total"], 0, "a quote is written as it is shown");
    let found = served.json("/api/v1/workers?q=drop%20table%20WORKER");
    assert_eq!(found["total"], 2);
    let csv = served.get("/api/v1/workers.csv?sort=identity");
    assert!(csv.head.contains("text/csv") && csv.head.contains("attachment"));
    let lines: Vec<&str> = csv.body.lines().collect();
    assert_eq!(lines.len(), 4, "{}", csv.body);
    assert!(lines[1].starts_with("\"'=<script>alert(1)</script>\\x27; DROP"), "{}", lines[1]);
    assert!(lines.iter().all(|line| !line.starts_with(['=', '+', '-', '@', '\t'])));
}

#[test]
fn shows_no_address_when_it_may_not() {
    let place = Place::new("redacted");
    drop(full(&place));
    let config = StatsService { show_addresses: false, ..place.config() };
    let served = Served::new(&config, T0);
    for path in ["summary", "workers", "workers.csv", "channels", "connections", "events"]
        .into_iter()
        .chain((1..=3).map(|id| ["accounts/1", "accounts/2", "accounts/3"][id - 1]))
    {
        let got = served.get(&format!("/api/v1/{path}"));
        assert_eq!(got.status, 200, "{path}");
        assert!(!got.body.contains("192.0.2.7"), "{path}");
        assert!(!got.body.contains("bc1qw508d6qejx"), "{path}");
    }
    let workers = served.json("/api/v1/workers?q=bc1qw5...f3t4");
    assert_eq!(workers["items"][0]["identity"], "bc1qw5...f3t4.rig");
    // Nor can it be guessed by searching.
    assert_eq!(served.json("/api/v1/workers?q=bc1qw508")["total"], 0);
}

#[test]
fn pages_sorts_and_filters_workers() {
    let place = Place::new("pages");
    let served = Served::new(&place.config(), T0);
    const NAMES: [&[u8]; 5] = [b"w0", b"w1", b"w2", b"w3", b"w4"];
    runtime().block_on(async {
        let mut sidecar = Sidecar::begin(&served, "one", 1).await;
        let mut news = vec![connected(1)];
        for (index, name) in (0_u64..).zip(NAMES) {
            news.push(started(index, 1, name));
            news.push(shares(index, b"", 10 + index, 5 - index, T0 - MINUTE));
        }
        news.push(What::ChannelEnded(v1::ChannelEnded { channel_id: 4, reason: "gone".into() }));
        sidecar.tell(T0, news).await;
    });
    let ids = |query: &str| -> Vec<String> {
        let page = served.json(&format!("/api/v1/workers?{query}"));
        let items = page["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["identity"].as_str().unwrap().to_owned()).collect()
    };
    for sort in ["hashrate", "accepted", "work", "best"] {
        assert_eq!(ids(&format!("sort={sort}")), ["w4", "w3", "w2", "w1", "w0"], "{sort}");
        assert_eq!(ids(&format!("sort={sort}&order=asc&limit=2")), ["w0", "w1"], "{sort}");
    }
    assert_eq!(ids("sort=identity"), ["w0", "w1", "w2", "w3", "w4"]);
    assert_eq!(ids("sort=rejected&limit=1"), ["w0"]);
    assert_eq!(ids("sort=online&limit=1&offset=4"), ["w4"]);
    assert_eq!(ids("online=false"), ["w4"]);
    assert_eq!(ids("online=true&sort=last_share&limit=500").len(), 4);
    assert_eq!(ids("q=W3"), ["w3"]);
    assert_eq!(ids("offset=5").len(), 0);
    let page = served.json("/api/v1/workers?limit=1000&offset=1");
    assert_eq!(
        (&page["limit"], &page["offset"], &page["total"]),
        (&500.into(), &1.into(), &5.into())
    );
}

#[test]
fn tells_a_page_that_it_has_the_answer_already() {
    let place = Place::new("etag");
    let served = full(&place);
    for path in ["/", "/api/v1/workers", "/api/v1/blocks", "/api-docs/openapi.json"] {
        let got = served.get(path);
        let head = got.head.to_lowercase();
        let tag = head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
        let again = served.ask(path, &format!("If-None-Match: \"x\", {tag}\r\n"));
        assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
        assert_eq!(served.ask(path, "If-None-Match: \"x\"\r\n").status, 200);
    }
    let page = served.get("/");
    assert!(page.head.contains("default-src 'self'"), "{}", page.head);
    assert!(!page.body.contains("<script>") && !page.body.contains("style="));
}

#[test]
fn asks_for_the_token_where_there_is_one() {
    let place = Place::new("token");
    let file = place.0.join("token");
    std::fs::write(&file, "0123456789abcdef\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&file, mode).unwrap();
    let token_file = Some(crate::keys::KeyFile::Path(file.clone()));
    assert!(Token::load(token_file.as_ref().unwrap()).is_ok());
    let served = Served::new(&StatsService { token_file, ..place.config() }, T0);
    assert_eq!(served.get("/livez").status, 200);
    for path in ["/", "/api/v1/summary", "/metrics", "/api/v1/live"] {
        let got = served.get(path);
        assert_eq!(got.status, 401, "{path}");
        assert!(got.head.to_lowercase().contains("www-authenticate: basic"), "{}", got.head);
        assert_eq!(got.json()["error"]["code"], "unauthorized");
    }
    let bearer = "Authorization: Bearer 0123456789abcdef\r\n";
    assert_eq!(served.ask("/api/v1/summary", bearer).status, 200);
    let basic = "Authorization: Basic YW55OjAxMjM0NTY3ODlhYmNkZWY=\r\n";
    assert_eq!(served.ask("/", basic).status, 200);
}

/// A page that follows live.
struct Page(BufReader<TcpStream>);

impl Page {
    fn open(served: &Served) -> Self {
        let mut stream = TcpStream::connect(served.http).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let host = served.http;
        write!(stream, "GET /api/v1/live HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
        Self(BufReader::new(stream))
    }

    /// The rest of the first line that begins so.
    fn until(&mut self, begin: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "ended before {begin}");
            if let Some(rest) = line.strip_prefix(begin) {
                return rest.trim().to_owned();
            }
        }
    }

    fn summary(&mut self) -> Value {
        assert_eq!(self.until("event: "), "summary");
        serde_json::from_str(&self.until("data: ")).unwrap()
    }
}

#[test]
fn tells_pages_live_what_changes() {
    let place = Place::new("live");
    let served = Served::new(&place.config(), T0);
    let mut pages = [Page::open(&served), Page::open(&served)];
    for page in &mut pages {
        assert!(page.until("HTTP/1.1 ").starts_with("200"));
        assert_eq!(page.until("content-type: "), "text/event-stream");
        assert_eq!(page.summary()["shares"]["accepted"], 0);
    }
    runtime().block_on(async {
        let mut sidecar = Sidecar::begin(&served, "one", 1).await;
        let news = vec![connected(1), started(1, 1, b"a"), shares(1, b"", 3, 0, T0 - 1_000)];
        sidecar.tell(T0, news).await;
        for page in &mut pages {
            while page.summary()["shares"]["accepted"] != 3 {}
        }
    });
    assert!(served.get("/metrics").body.contains("gopool_sv2_stats_live_listeners 2\n"));
    assert!(served.get("/metrics").body.ends_with("# EOF\n"));
}

#[test]
fn rejects_more_listeners_than_it_has_places_for() {
    let place = Place::new("listeners");
    let served = Served::new(&place.config(), T0);
    let mut pages: Vec<Page> = (0..LISTENERS).map(|_| Page::open(&served)).collect();
    for page in &mut pages {
        page.summary();
    }
    let got = served.get("/api/v1/live");
    assert_eq!((got.status, &got.json()["error"]["code"]), (503, &json!("too-many-listeners")));
    assert_eq!(served.get("/api/v1/summary").status, 200);
    pages.pop();
    // Its place is free as soon as its end was seen.
    while !Page::open(&served).until("HTTP/1.1 ").starts_with("200") {}
}
