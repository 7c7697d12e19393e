//! What can be asked.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use axum::routing::{get, put};
use axum::Router;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::json;
use tokio::time::timeout;

use super::answer::{error, json_ok, json_with, text, Answer, Reason};
use super::clients;
use super::health::{read, to_json};
use super::listen::guard;
use super::status::status;
use super::View;
use crate::http::Gate;
use crate::obs::clients::Client;
use crate::obs::metrics;
use crate::sys::{unix_millis, unix_seconds};

/// The description of all this.
const OPENAPI: &str = include_str!("../../openapi.json");

/// Items of a page when nothing is said, and at most. SRI's.
const LIMIT: (usize, usize) = (25, 100);
/// Longest body that is read, in bytes, and how long it may take.
const BODY: (usize, Duration) = (4_096, Duration::from_secs(5));

/// All routes, behind a gate.
pub(super) fn router(view: View, gate: Gate) -> Router {
    // Every user of this machine may look, and nobody may change what is not his.
    let set_filter = match gate {
        Gate::Loopback => put(needs_token),
        Gate::Token(_) | Gate::Unix => put(set_log_filter),
    };
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(scrape))
        .route("/api-docs/openapi.json", get(openapi))
        .route("/api/v1/health", get(health))
        .route("/api/v1/status", get(whole_status))
        .route("/api/v1/global", get(global))
        .route("/api/v1/server", get(server))
        .route("/api/v1/clients", get(all_clients))
        .route("/api/v1/clients/{id}", get(one_client))
        .route("/api/v1/clients/{id}/channels", get(channels))
        .route("/api/v1/log-filter", set_filter.get(log_filter))
        .fallback(async || error(Reason::NoRoute, "no such route: see /api-docs/openapi.json"))
        .method_not_allowed_fallback(async || {
            error(Reason::Method, "this route takes other methods: see /api-docs/openapi.json")
        })
        .with_state(view)
        .layer(from_fn_with_state(gate, guard))
}

async fn livez() -> Answer {
    json_ok(&json!({ "state": "live" }))
}

async fn readyz(State(view): State<View>) -> Answer {
    let readiness = read(&view);
    let status = match readiness.serving {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    json_with(status, &to_json(&readiness))
}

async fn scrape(State(view): State<View>) -> Answer {
    match metrics::text(&view.counts) {
        Ok(scrape) => text(StatusCode::OK, metrics::CONTENT_TYPE, scrape),
        Err(fault) => error(Reason::Internal, &format!("the metrics can't be written: {fault}")),
    }
}

async fn openapi() -> Answer {
    text(StatusCode::OK, "application/json", OPENAPI)
}

async fn health(State(view): State<View>) -> Answer {
    // SRI's says "ok" as long as it answers.
    let status = match read(&view).state() {
        "ready" => "ok",
        other => other,
    };
    json_ok(&json!({ "status": status, "timestamp": unix_seconds() }))
}

async fn whole_status(State(view): State<View>) -> Answer {
    json_ok(&status(&view))
}

async fn global(State(view): State<View>) -> Answer {
    let sums = clients::all(&view);
    let channels = sums.standard + sums.extended;
    let uptime = (unix_millis() - view.counts.started_ms).max(0) / 1000;
    json_ok(&json!({
        // What miners have here the pool has, too.
        "server": {
            "total_channels": channels,
            "extended_channels": sums.extended,
            "standard_channels": sums.standard,
            "total_hashrate": sums.hash_rate,
        },
        "sv2_clients": {
            "total_clients": sums.clients,
            "total_channels": channels,
            "extended_channels": sums.extended,
            "standard_channels": sums.standard,
            "total_hashrate": sums.hash_rate,
        },
        "sv1_clients": null,
        "uptime_secs": uptime,
    }))
}

async fn server(State(view): State<View>) -> Answer {
    let sums = clients::all(&view);
    json_ok(&json!({
        "extended_channels_count": sums.extended,
        "standard_channels_count": sums.standard,
        "total_hashrate": sums.hash_rate,
    }))
}

/// Which part of a list is wanted.
fn page(uri: &Uri) -> Result<(usize, usize), &'static str> {
    let (mut offset, mut limit) = (0, LIMIT.0);
    let pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    for pair in pairs {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let number = value.parse::<usize>();
        match (name, number) {
            ("offset", Ok(number)) => offset = number,
            ("limit", Ok(number)) => limit = number.min(LIMIT.1),
            ("offset" | "limit", Err(_)) => {
                return Err("offset and limit are whole numbers: ?offset=0&limit=25");
            }
            // Somebody's cache buster, say.
            _ => {}
        }
    }
    Ok((offset, limit))
}

async fn all_clients(State(view): State<View>, uri: Uri) -> Answer {
    let (offset, limit) = match page(&uri) {
        Ok(page) => page,
        Err(text) => return error(Reason::BadQuery, text),
    };
    let total = view.clients.len();
    let found = view.clients.page(offset, limit);
    let items: Vec<_> = found.iter().map(|client| clients::client(&view, client)).collect();
    json_ok(&json!({ "offset": offset, "limit": limit, "total": total, "items": items }))
}

fn no_client() -> Answer {
    error(Reason::NoClient, "no such client: it was never here, or it has gone")
}

/// The client that the path names: whatever stands there, it is a number or nobody.
fn named(view: &View, uri: &Uri) -> Option<Arc<Client>> {
    let id = uri.path().split('/').nth(4)?;
    view.clients.get(id.parse().ok()?)
}

async fn one_client(State(view): State<View>, uri: Uri) -> Answer {
    let found = named(&view, &uri);
    found.map_or_else(no_client, |client| json_ok(&clients::client(&view, &client)))
}

async fn channels(State(view): State<View>, uri: Uri) -> Answer {
    let (offset, limit) = match page(&uri) {
        Ok(page) => page,
        Err(text) => return error(Reason::BadQuery, text),
    };
    let found = named(&view, &uri);
    let answer = |client: Arc<Client>| clients::channels(&view, &client, offset, limit);
    found.map_or_else(no_client, |client| json_ok(&answer(client)))
}

fn no_logger() -> Answer {
    error(Reason::NoLogger, "the log is not in this program's hand")
}

async fn log_filter(State(view): State<View>) -> Answer {
    let Some(log) = &view.log else { return no_logger() };
    json_ok(&json!({ "filter": log.get() }))
}

async fn needs_token() -> Answer {
    let text = "who may change something must be known: set [admin].token_file, or listen on a \
                Unix socket";
    error(Reason::NeedsToken, text)
}

async fn set_log_filter(State(view): State<View>, request: Request<Body>) -> Answer {
    let Some(log) = &view.log else { return no_logger() };
    let body = Limited::new(request.into_body(), BODY.0).collect();
    let body = match timeout(BODY.1, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(fault)) if fault.is::<LengthLimitError>() => {
            return error(Reason::TooLong, "a filter has at most 4096 bytes");
        }
        Ok(Err(_)) => return error(Reason::BadBody, "the body could not be read"),
        Err(_) => return error(Reason::TooSlow, "the body did not come within 5 seconds"),
    };
    let wanted = serde_json::from_slice::<serde_json::Value>(&body).ok();
    let wanted = wanted.as_ref().and_then(|body| body.get("filter")?.as_str());
    let Some(wanted) = wanted else {
        return error(Reason::BadBody, "write {\"filter\": \"info,gopool_sv2::session=debug\"}");
    };
    match log.set(wanted) {
        Ok(()) => {
            tracing::info!(filter = wanted, "the log filter was changed");
            json_ok(&json!({ "filter": log.get() }))
        }
        Err(fault) => error(Reason::BadFilter, &fault.to_string()),
    }
}
