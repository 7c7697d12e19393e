//! What can be asked over HTTP, behind a gate. `openapi.json` beside the sources describes it.

mod answer;
mod assets;
mod live;
mod query;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_DISPOSITION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::middleware::{from_fn_with_state, Next};
use axum::routing::get;
use axum::Router;
use bytes::Bytes;
use serde_json::{json, Value};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;

use super::figures::CONTENT_TYPE;
use super::ingest::Keep;
use super::read::{self, Range};
use super::store::{Store, Unread};
use super::writer::Standing;
use super::Clock;
use crate::http::{Gate, Refused};
use answer::{error, json_ok, tagged, text, unread, Answer, Code};
use live::Live;
#[cfg(test)]
pub(super) use live::LISTENERS;
use query::Query;

/// The description of all this.
const OPENAPI: &str = include_str!("../openapi.json");

/// How far back plots go when nothing is said: an hour.
const BACK: i64 = 3_600_000;

/// Lines of CSV that are sent together.
const LINES: usize = 256;

/// What is shown. Cheap to clone.
#[derive(Clone)]
pub(super) struct View {
    pub(super) store: Store,
    pub(super) clock: Clock,
    pub(super) keep: Keep,
    pub(super) show_addresses: bool,
    pub(super) started_ms: i64,
    pub(super) live: Arc<Live>,
    pub(super) stop: watch::Receiver<bool>,
}

impl View {
    async fn summary(&self) -> Result<Value, Unread> {
        let (figures, now) = (self.store.figures(), (self.clock)());
        let (started, shown) = (self.started_ms, self.show_addresses);
        self.store.read(move |conn| read::summary(conn, &figures, now, started, shown)).await
    }
}

/// Nobody listens yet.
pub(super) fn live() -> Arc<Live> {
    Arc::new(Live::new())
}

/// All routes, behind a gate.
pub(super) fn router(view: View, gate: Gate) -> Router {
    let figures = view.store.figures();
    Router::new()
        .route("/", get(assets::file))
        .route("/assets/{name}", get(assets::file))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/api-docs/openapi.json", get(openapi))
        .route("/api/v1/summary", get(summary))
        .route("/api/v1/history", get(history))
        .route("/api/v1/hashrate", get(hashrate))
        .route("/api/v1/rejects", get(rejects))
        .route("/api/v1/workers", get(workers))
        .route("/api/v1/workers.csv", get(workers_csv))
        .route("/api/v1/accounts/{id}", get(account))
        .route("/api/v1/connections", get(connections))
        .route("/api/v1/channels", get(channels))
        .route("/api/v1/blocks", get(blocks))
        .route("/api/v1/mint", get(mint))
        .route("/api/v1/events", get(events))
        .route("/api/v1/live", get(|State(view): State<View>| live::listen(view)))
        .fallback(async || error(Code::NoRoute, "no such route: see /api-docs/openapi.json"))
        .method_not_allowed_fallback(async || {
            error(Code::Method, "this route takes GET: see /api-docs/openapi.json")
        })
        .with_state(view)
        .layer(from_fn_with_state((gate, figures), guard))
}

/// Lets a request through, or answers why not.
async fn guard(
    State((gate, figures)): State<(Gate, Arc<super::Figures>)>,
    request: Request<Body>,
    next: Next,
) -> Answer {
    figures.asked();
    match gate.check(&request, true) {
        Ok(()) => next.run(request).await,
        Err(Refused::Token) => {
            let text = "show the token of [stats].token_file: \"Authorization: Bearer TOKEN\", or \
                        as the password that the browser asks for";
            let mut answer = error(Code::Unauthorized, text);
            let asks = HeaderValue::from_static("Basic realm=\"gopool-sv2\", charset=\"UTF-8\"");
            answer.headers_mut().insert(WWW_AUTHENTICATE, asks);
            answer
        }
        Err(Refused::ForeignHost) => error(
            Code::ForeignHost,
            "the Host header names another host than this machine: ask by its loopback address, \
             or set [stats].token_file",
        ),
    }
}

async fn livez() -> Answer {
    text(StatusCode::OK, "application/json", json!({ "state": "live" }).to_string())
}

async fn readyz(State(view): State<View>) -> Answer {
    let (state, detail) = match &*view.store.standing().borrow() {
        Standing::Up => ("ready", String::new()),
        Standing::Down(reason) | Standing::Damaged(reason) => ("degraded", reason.clone()),
    };
    let status = match state {
        "ready" => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    let body = json!({ "state": state, "detail": detail });
    text(status, "application/json", body.to_string())
}

async fn metrics(State(view): State<View>) -> Answer {
    text(StatusCode::OK, CONTENT_TYPE, view.store.figures().text())
}

async fn openapi(asked: HeaderMap) -> Answer {
    tagged(&asked, "application/json", OPENAPI)
}

fn told(asked: &HeaderMap, found: Result<Value, Unread>) -> Answer {
    match found {
        Ok(value) => json_ok(asked, &value),
        Err(fault) => unread(&fault),
    }
}

fn wrong(text: &query::Wrong) -> Answer {
    error(Code::BadQuery, text)
}

async fn summary(State(view): State<View>, asked: HeaderMap) -> Answer {
    told(&asked, view.summary().await)
}

/// The time that a query names.
fn range(view: &View, query: &Query) -> Result<(Range, i64), query::Wrong> {
    let now = (view.clock)();
    let to = query.number("to")?.unwrap_or(now);
    let from = query.number("from")?.unwrap_or(to.saturating_sub(BACK));
    if from >= to {
        return Err("from comes before to".to_owned());
    }
    let step = query.number("step")?.unwrap_or(0);
    Ok((Range::fit(from, to, step, &view.keep, now), now))
}

async fn columns(view: &View, uri: &Uri) -> Result<Result<Value, Unread>, query::Wrong> {
    let (range, now) = range(view, &Query::of(uri)?)?;
    Ok(view.store.read(move |conn| read::history(conn, range, now)).await)
}

async fn history(State(view): State<View>, uri: Uri, asked: HeaderMap) -> Answer {
    match columns(&view, &uri).await {
        Ok(found) => told(&asked, found),
        Err(text) => wrong(&text),
    }
}

async fn hashrate(State(view): State<View>, uri: Uri, asked: HeaderMap) -> Answer {
    let found = match columns(&view, &uri).await {
        Ok(found) => found,
        Err(text) => return wrong(&text),
    };
    let pairs = found.map(|history| {
        let columns = (history["t"].as_array(), history["hashrate_hs"].as_array());
        let pairs = columns.0.into_iter().flatten().zip(columns.1.into_iter().flatten());
        let points: Vec<Value> = pairs.map(|(t, rate)| json!([t, rate])).collect();
        json!({
            "from_ms": history["from_ms"],
            "to_ms": history["to_ms"],
            "step_ms": history["step_ms"],
            "points": points,
        })
    });
    told(&asked, pairs)
}

async fn rejects(State(view): State<View>, uri: Uri, asked: HeaderMap) -> Answer {
    match Query::of(&uri).and_then(|query| range(&view, &query)) {
        Ok((range, _)) => {
            told(&asked, view.store.read(move |conn| read::rejects(conn, range)).await)
        }
        Err(text) => wrong(&text),
    }
}

async fn workers(State(view): State<View>, uri: Uri, asked: HeaderMap) -> Answer {
    let query = Query::of(&uri).and_then(|query| Ok((query.filter(&view)?, query.page()?)));
    match query {
        Ok((filter, page)) => {
            told(&asked, view.store.read(move |conn| read::page(conn, &filter, page)).await)
        }
        Err(text) => wrong(&text),
    }
}

async fn workers_csv(State(view): State<View>, uri: Uri) -> Answer {
    let filter = match Query::of(&uri).and_then(|query| query.filter(&view)) {
        Ok(filter) => filter,
        Err(text) => return wrong(&text),
    };
    let (sender, receiver) = mpsc::channel::<Result<Bytes, Unread>>(4);
    let store = view.store.clone();
    tokio::spawn(async move {
        let lines = sender.clone();
        let done = store.read(move |conn| {
            let (mut held, mut count) = (String::new(), 0);
            read::csv(conn, &filter, |line| {
                held.push_str(&line);
                count += 1;
                count % LINES != 0
                    || lines.blocking_send(Ok(std::mem::take(&mut held).into())).is_ok()
            })?;
            // Who is gone needs no rest.
            let _ = lines.blocking_send(Ok(held.into()));
            Ok(())
        });
        if let Err(fault) = done.await {
            // What was sent is not all: the answer must not end well.
            let _ = sender.send(Err(fault)).await;
        }
    });
    let body = Body::from_stream(ReceiverStream::new(receiver));
    let mut answer = text(StatusCode::OK, "text/csv; charset=utf-8", body);
    let name = HeaderValue::from_static("attachment; filename=\"workers.csv\"");
    answer.headers_mut().insert(CONTENT_DISPOSITION, name);
    answer
}

async fn account(State(view): State<View>, uri: Uri, asked: HeaderMap) -> Answer {
    let no_account = || error(Code::NoAccount, "no such account: ids are those of /api/v1/workers");
    // Whatever stands there, it is a number or nobody.
    let named = uri.path().rsplit('/').next().and_then(|id| id.parse::<i64>().ok());
    let Some(id) = named else { return no_account() };
    let (shown, now) = (view.show_addresses, (view.clock)());
    match view.store.read(move |conn| read::account(conn, id, shown, now)).await {
        Ok(Some(account)) => json_ok(&asked, &account),
        Ok(None) => no_account(),
        Err(fault) => unread(&fault),
    }
}

async fn connections(State(view): State<View>, uri: Uri, asked: HeaderMap) -> Answer {
    let (shown, now) = (view.show_addresses, (view.clock)());
    match Query::of(&uri).and_then(|query| query.page()) {
        Ok(page) => told(
            &asked,
            view.store.read(move |conn| read::connections(conn, page, shown, now)).await,
        ),
        Err(text) => wrong(&text),
    }
}

async fn channels(State(view): State<View>, uri: Uri, asked: HeaderMap) -> Answer {
    let (shown, now) = (view.show_addresses, (view.clock)());
    match Query::of(&uri).and_then(|query| query.page()) {
        Ok(page) => {
            told(&asked, view.store.read(move |conn| read::channels(conn, page, shown, now)).await)
        }
        Err(text) => wrong(&text),
    }
}

async fn blocks(State(view): State<View>, uri: Uri, asked: HeaderMap) -> Answer {
    let shown = view.show_addresses;
    match Query::of(&uri).and_then(|query| query.page()) {
        Ok(page) => {
            told(&asked, view.store.read(move |conn| read::blocks(conn, page, shown)).await)
        }
        Err(text) => wrong(&text),
    }
}

async fn mint(State(view): State<View>, asked: HeaderMap) -> Answer {
    told(&asked, view.store.read(read::mint).await)
}

async fn events(State(view): State<View>, uri: Uri, asked: HeaderMap) -> Answer {
    let shown = view.show_addresses;
    let query = Query::of(&uri).and_then(|query| Ok((query.number("after")?, query.page()?)));
    match query {
        Ok((after, page)) => {
            let limit = page.limit;
            told(&asked, view.store.read(move |conn| read::events(conn, after, limit, shown)).await)
        }
        Err(text) => wrong(&text),
    }
}
