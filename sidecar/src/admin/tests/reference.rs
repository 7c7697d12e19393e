//! Routes that the monitoring of the Stratum Reference Implementation has, too, have its shape.

use serde_json::{json, Map, Value};

use super::schema::{faults, of};
use super::{enter, open, serve, view, Served, HOSTILE};
use crate::types::{ConnId, Difficulty, Hash, Kind, RejectReason};

/// What stratum-apps 0.8.0 requires of its answers: `name:type`, where the types are u32, u64, f32,
/// f64, text, flag, counts (of names), a list of alternatives, or another of these shapes; `[x]` is
/// a list of them, `x?` may be null or missing. Other fields are allowed.
const SHAPES: &[(&str, &str)] = &[
    ("Health", "status:text timestamp:u64"),
    ("Global", "uptime_secs:u64 server:Sums? sv2_clients:Clients? sv1_clients:Sv1?"),
    ("Sums", "total_channels:u64 extended_channels:u64 standard_channels:u64 total_hashrate:f32"),
    (
        "Clients",
        "total_clients:u64 total_channels:u64 extended_channels:u64 standard_channels:u64 \
         total_hashrate:f32",
    ),
    ("Sv1", "total_clients:u64 total_hashrate:f32"),
    ("Server", "extended_channels_count:u64 standard_channels_count:u64 total_hashrate:f32"),
    (
        "Client",
        "client_id:u64 client_kind:miner|translator_proxy|unknown extended_channels_count:u64 \
         standard_channels_count:u64 total_hashrate:f32",
    ),
    ("ClientsPage", "offset:u64 limit:u64 total:u64 items:[Client]"),
    (
        "ChannelsPage",
        "client_id:u64 offset:u64 limit:u64 total_extended:u64 total_standard:u64 \
         extended_channels:[Extended] standard_channels:[Standard]",
    ),
    (
        "Standard",
        "channel_id:u32 user_identity:text nominal_hashrate:f32 stable_hashrate:flag \
         target_hex:text requested_max_target_hex:text extranonce_prefix_hex:text \
         expected_shares_per_minute:f32 shares_accepted:u32 shares_rejected:u32 \
         shares_rejected_by_reason:counts share_work_sum:f64 last_share_sequence_number:u32 \
         best_diff:f64 last_batch_accepted:u32 last_batch_work_sum:u64 share_batch_size:u64 \
         blocks_found:u32",
    ),
    ("Extended", "...Standard full_extranonce_size:u64 rollable_extranonce_size:u32"),
    ("Error", "error:text"),
];

/// The routes, which shape each answers in, and whose answer that is in the reference's own
/// description.
const ROUTES: &[(&str, &str, u16, &str)] = &[
    ("/api/v1/health", "/api/v1/health", 200, "Health"),
    ("/api/v1/global", "/api/v1/global", 200, "Global"),
    ("/api/v1/server", "/api/v1/server", 200, "Server"),
    ("/api/v1/clients", "/api/v1/clients", 200, "ClientsPage"),
    ("/api/v1/clients?offset=1&limit=1", "/api/v1/clients", 200, "ClientsPage"),
    ("/api/v1/clients/7", "/api/v1/clients/{client_id}", 200, "Client"),
    ("/api/v1/clients/8", "/api/v1/clients/{client_id}", 200, "Client"),
    ("/api/v1/clients/7/channels", "/api/v1/clients/{client_id}/channels", 200, "ChannelsPage"),
    ("/api/v1/clients/8/channels", "/api/v1/clients/{client_id}/channels", 200, "ChannelsPage"),
    ("/api/v1/clients/9", "/api/v1/clients/{client_id}", 404, "Error"),
    ("/api/v1/clients/9/channels", "/api/v1/clients/{client_id}/channels", 404, "Error"),
];

/// A type of [`SHAPES`] as JSON Schema.
fn schema(kind: &str) -> Value {
    let whole = |format: &str| json!({ "type": "integer", "format": format, "minimum": 0 });
    if let Some(kind) = kind.strip_suffix('?') {
        return json!({ "oneOf": [{ "type": "null" }, schema(kind)] });
    }
    if let Some(kind) = kind.strip_prefix('[') {
        return json!({ "type": "array", "items": schema(kind.trim_end_matches(']')) });
    }
    match kind {
        "u32" => whole("int32"),
        "u64" => whole("int64"),
        "f32" => json!({ "type": "number", "format": "float" }),
        "f64" => json!({ "type": "number", "format": "double" }),
        "text" => json!({ "type": "string" }),
        "flag" => json!({ "type": "boolean" }),
        "counts" => json!({ "type": "object", "additionalProperties": whole("int32") }),
        kind if kind.contains('|') => json!({ "enum": kind.split('|').collect::<Vec<_>>() }),
        shape => json!({ "$ref": format!("#/{shape}") }),
    }
}

fn fields(shape: &str) -> &'static str {
    SHAPES.iter().find(|(name, _)| *name == shape).unwrap().1
}

/// All of [`SHAPES`] as JSON Schema.
fn root() -> Value {
    let mut root = Map::new();
    for (name, _) in SHAPES {
        let own =
            fields(name).split_whitespace().flat_map(|field| match field.strip_prefix("...") {
                Some(other) => fields(other).split_whitespace().collect(),
                None => vec![field],
            });
        let (mut required, mut properties) = (Vec::new(), Map::new());
        for (field, kind) in own.map(|field| field.split_once(':').unwrap()) {
            if !kind.ends_with('?') {
                required.push(field);
            }
            properties.insert(field.to_owned(), schema(kind));
        }
        let whole = json!({ "type": "object", "required": required, "properties": properties });
        root.insert((*name).to_owned(), whole);
    }
    root.into()
}

/// Asks a sidecar with channels that did everything, and one whose miner said nothing yet.
fn each_answer(mut look: impl FnMut(&Served)) {
    let view = view();
    let one = enter(&view, 7);
    let (standard, extended) =
        (open(&one, 1, Kind::Standard, HOSTILE), open(&one, 3, Kind::Extended, b"bc1q.rig"));
    extended.accepted(2, Difficulty { whole: u64::MAX >> 1, fraction: 1 }, u32::MAX);
    extended.judged(&Hash([0; 32]), true, &bytes::Bytes::new());
    for reason in RejectReason::ALL {
        standard.rejected(*reason, true);
    }
    let unsaid = view.clients.enter(ConnId(8), "192.0.2.8:1".into(), 5);
    look(&serve(&view, None));
    drop(unsaid);
}

#[test]
fn shared_routes_have_the_shape_of_the_reference() {
    let root = root();
    each_answer(|served| {
        for (path, _, status, shape) in ROUTES {
            let got = served.get(path);
            assert_eq!(got.status, *status, "{path}: {}", got.body);
            let found = faults(&root, &root[*shape], &got.json(), path);
            assert!(found.is_empty(), "{found:#?}");
        }
        let channels = served.get("/api/v1/clients/7/channels").json();
        assert_eq!(channels["extended_channels"][0]["full_extranonce_size"], 8);
        assert_eq!(served.get("/api/v1/global").json()["sv2_clients"]["total_clients"], 2);
    });
    // The shapes do say something.
    for bad in [
        json!({ "client_id": 7 }),
        json!({ "client_id": 1.5, "client_kind": "proxy", "extended_channels_count": 0,
            "standard_channels_count": 0, "total_hashrate": 1e39 }),
    ] {
        assert!(faults(&root, &root["Client"], &bad, "").len() >= 3, "{bad}");
    }
}

/// `SRI_OPENAPI` names a copy of the reference's `openapi.json` (in the package stratum-apps).
#[test]
fn shared_routes_validate_against_the_references_own_description() {
    let Ok(path) = std::env::var("SRI_OPENAPI") else { return };
    let root: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut checked = 0;
    each_answer(|served| {
        for (path, route, status, _) in ROUTES {
            let found =
                faults(&root, of(&root, route, "get", *status), &served.get(path).json(), path);
            assert!(found.is_empty(), "{found:#?}");
            checked += 1;
        }
    });
    assert_eq!(checked, ROUTES.len());
}
