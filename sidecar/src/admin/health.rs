//! Whether we serve, as it is answered.

use serde_json::{json, Value};

use super::View;
use crate::obs::health::Readiness;

/// How everything stands now.
pub(super) fn read(view: &View) -> Readiness {
    Readiness::of(&view.counts, view.lost_ms)
}

/// As it is answered.
pub(super) fn to_json(readiness: &Readiness) -> Value {
    let dependencies = readiness.dependencies.iter().map(|dependency| {
        json!({
            "name": dependency.name,
            "state": dependency.health.as_str(),
            "age_ms": dependency.age_ms,
            "since_ms": dependency.since_ms,
            "detail": dependency.detail,
        })
    });
    json!({ "state": readiness.state(), "dependencies": dependencies.collect::<Vec<_>>() })
}
