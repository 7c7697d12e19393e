//! The answer as people read it.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// A page of plain text without control characters, whatever the answer holds.
pub(super) fn table(status: &Value) -> String {
    let mut out = String::new();
    let state = text(&status["state"]);
    let up = millis(&status["now_ms"]).saturating_sub(millis(&status["started_ms"]));
    let version = text(&status["version"]);
    line(&mut out, "gopool-sv2", &format!("{version}, {state}, up for {}", span(up)));
    for dependency in status["dependencies"].as_array().into_iter().flatten() {
        let mut what = text(&dependency["state"]);
        if let Some(age) = dependency["age_ms"].as_u64() {
            let _ = write!(what, ", heard of {} ago", span(age));
        }
        let detail = text(&dependency["detail"]);
        if !detail.is_empty() {
            let _ = write!(what, ": {detail}");
        }
        line(&mut out, &format!("  {}", text(&dependency["name"])), &what);
    }
    let connections = &status["connections"];
    let what = format!(
        "{} open, {} set up, {} taken so far{}",
        connections["open"],
        connections["set_up"],
        connections["accepted"],
        counted(", refused", &connections["refused"])
    );
    line(&mut out, "connections", &what);
    let handshakes = counted("", &connections["handshakes"]);
    let what = if handshakes.is_empty() { "none yet" } else { handshakes.trim_start() };
    line(&mut out, "handshakes", what);
    let channels = &status["channels"];
    let rate = channels["nominal_hashrate"].as_f64().unwrap_or_default();
    let what = format!(
        "{} standard, {} extended, {}{}",
        channels["standard"],
        channels["extended"],
        hash_rate(rate),
        counted(", refused", &channels["refused"])
    );
    line(&mut out, "channels", &what);
    let shares = &status["shares"];
    let what = format!(
        "{} accepted{}{}",
        shares["accepted"],
        counted(", rejected", &shares["rejected"]),
        counted(", unjudged", &shares["unjudged"])
    );
    line(&mut out, "shares", &what);
    line(&mut out, "credited", &format!("{} difficulty", shares["credited_difficulty"]));
    line(&mut out, "answers", &times(&shares["ack"]));
    line(&mut out, "verdicts", &times(&status["pool"]["verdict"]));
    let blocks = counted("", &status["pool"]["blocks"]);
    let what = format!("{} candidates{blocks}", shares["block_candidates"]);
    line(&mut out, "blocks", &what);
    for (name, queue) in status["queues"].as_object().into_iter().flatten() {
        if queue["full"].as_u64().unwrap_or_default() > 0 {
            let what = format!("{} waiting, no room {} times", queue["depth"], queue["full"]);
            line(&mut out, &format!("queue {}", harmless(name)), &what);
        }
    }
    if status["ledger"].is_object() {
        let ledger = &status["ledger"];
        let what = format!(
            "{} shares without an amount, commits {}{}{}",
            ledger["unsealed_shares"],
            times(&ledger["commit"]),
            counted(", shares", &ledger["shares"]),
            counted("; not kept, but told as", &ledger["not_kept"])
        );
        line(&mut out, "ledger", &what);
        let mint = &status["mint"];
        let credits = mint["credits"].as_object().into_iter().flatten();
        let waiting: Vec<String> = credits
            .filter(|(_, of)| of["count"].as_u64().unwrap_or_default() > 0)
            .map(|(state, of)| format!("{} {}", of["count"], harmless(state)))
            .collect();
        let what = format!("{} units confirmed; {}", mint["confirmed"], waiting.join(", "));
        line(&mut out, "mint", what.trim_end_matches("; "));
    }
    out.truncate(out.trim_end().len());
    out
}

fn line(out: &mut String, name: &str, what: &str) {
    let _ = writeln!(out, "{name:<14} {}", harmless(what));
}

/// A text of the answer.
fn text(value: &Value) -> String {
    harmless(value.as_str().unwrap_or_default())
}

/// Without what could move the cursor.
fn harmless(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

fn millis(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

/// Counts that are not zero, by their names.
fn counted(before: &str, counts: &Value) -> String {
    let none = Map::new();
    let counts = counts.as_object().unwrap_or(&none);
    if counts.is_empty() {
        return String::new();
    }
    let each: Vec<String> =
        counts.iter().map(|(name, count)| format!("{} {count}", harmless(name))).collect();
    format!("{before} {}", each.join(", "))
}

fn times(times: &Value) -> String {
    let count = times["count"].as_u64().unwrap_or_default();
    let part = |name: &str| match times[name].as_f64() {
        Some(ms) => format!("{ms} ms"),
        None => "over a minute".to_owned(),
    };
    match count {
        0 => "none yet".to_owned(),
        _ => format!("half within {}, 99 of 100 within {}", part("p50_ms"), part("p99_ms")),
    }
}

/// A length of time, about.
fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0 => format!("{ms} ms"),
        1..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

fn hash_rate(rate: f64) -> String {
    const UNITS: [&str; 8] = ["H/s", "kH/s", "MH/s", "GH/s", "TH/s", "PH/s", "EH/s", "ZH/s"];
    let mut rate = rate;
    let mut unit = 0;
    while rate >= 1000.0 && unit + 1 < UNITS.len() {
        rate /= 1000.0;
        unit += 1;
    }
    format!("{rate:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn survives_answers_of_any_shape() {
        for answer in [json!({}), json!(null), json!([1]), json!({ "shares": 7, "ledger": {} })] {
            assert!(table(&answer).contains("gopool-sv2"));
        }
    }

    #[test]
    fn shows_what_is_wrong_without_what_moves_the_cursor() {
        let answer = json!({
            "state": "degraded", "version": "1", "now_ms": 10_000, "started_ms": 1_000,
            "dependencies": [{ "name": "mint", "state": "down", "age_ms": 5,
                "detail": "no\u{1b}[2J answer" }],
            "channels": { "standard": 1, "extended": 2, "nominal_hashrate": 1.5e12 },
            "shares": { "accepted": 3, "rejected": { "stale-share": 2 } },
            "ledger": { "not_kept": { "accepted": 4, "backend-unavailable": 5 } },
        });
        let page = table(&answer);
        let not_kept = "not kept, but told as accepted 4, backend-unavailable 5";
        let parts = ["up for 9 s", "down", "no[2J answer", "1.5 TH/s", "stale-share 2", not_kept];
        for part in parts {
            assert!(page.contains(part), "{part} is not in\n{page}");
        }
        assert!(!page.contains('\u{1b}'));
    }
}
