//! Turns to ratios, and to the table of docs/performance.md.

use gopool_sv2_tests::Result;

use super::hosts::Host;
use super::rows::{row_of, Figure, Row, ROWS};
use super::Turn;
use crate::figures::{number, Spread};
use crate::machine::NOISE;
use crate::table::put_between;

/// Where the table begins and ends.
const MARKERS: (&str, &str) = ("<!-- bench-peer: begin -->", "<!-- bench-peer: end -->");

/// Replaces what stands between the markers of `page`.
///
/// # Errors
/// The markers are not there, or not in order.
pub fn put_into(page: &str, table: &str) -> Result<String> {
    put_between(page, MARKERS, table)
}

/// A turn as a line of progress.
pub fn brief(turn: &Turn) -> String {
    let mut text = format!("{:<13}", turn.host);
    for figure in row_of(turn).into_iter().flat_map(|row| row.figures) {
        if let Some(value) = (figure.of)(&turn.reports) {
            text += &format!(" {}: {} ·", figure.name, number(value));
        }
    }
    match disturbed(turn) {
        Some(cores) if cores > NOISE => format!("{text} disturbed: {cores:.2} cores"),
        _ => text.trim_end_matches('·').to_owned(),
    }
}

/// Cores' worth of other work in the worst report of a turn.
fn disturbed(turn: &Turn) -> Option<f64> {
    let of = |report: &serde_json::Value| report["cpu_us"]["elsewhere"].as_f64();
    turn.reports.iter().filter_map(of).reduce(f64::max)
}

/// The whole table.
pub fn tables(turns: &[Turn], heading: &str) -> String {
    let mut text = format!("{heading}\n\n");
    text += "| measure | pool_sv2 0.7.0 | gRPC | to it | wanted | C ABI | to it | wanted |\n";
    text += &format!("|{}\n", " --- |".repeat(8));
    for row in &ROWS {
        if turns.iter().any(|turn| turn.row == row.name) {
            lines(&mut text, turns, row);
        }
    }
    let noisy = turns.iter().filter(|turn| disturbed(turn).is_some_and(|cores| cores > NOISE));
    text += &format!(
        "\nEach cell is minimum / **median** / maximum of the rounds, a ratio that of the two \
         turns of one round: median (lowest to highest). In {} of {} turns something else used \
         more than {NOISE} of a core.\n",
        noisy.count(),
        turns.len()
    );
    text
}

fn lines(text: &mut String, turns: &[Turn], row: &Row) {
    *text += &format!("| **{}** |{}\n", row.title, " |".repeat(7));
    let inside = row.hosts.iter().copied().find(|host| host.is_inside());
    let beside = row
        .hosts
        .iter()
        .copied()
        .find(|host| matches!(host, Host::Grpc | Host::NullGrpc | Host::Sv1Grpc));
    // Compared with another of ours, it stands in the other's column.
    let base = Some(row.hosts[0]).filter(|base| Some(*base) != beside);
    for figure in row.figures {
        let mut cells = vec![figure.name.to_owned(), shown(turns, row, figure, base)];
        for (host, wanted) in [(beside, figure.wanted.0), (inside, figure.wanted.1)] {
            let own = host.and_then(|host| spread(turns, row, figure, host));
            let ratios = host.and_then(|host| ratios(turns, row, figure, (base?, host)));
            let ratio = ratios.map(|ratios| ratios.value());
            let held = own.and_then(|own| wanted.holds(own.value(), ratio));
            cells.push(shown(turns, row, figure, host));
            cells.push(ratios.map_or_else(String::new, |ratios| ratios.spelled(2)));
            cells.push(match held {
                Some(true) => format!("{}: met", wanted.text()),
                Some(false) => format!("{}: **missed**", wanted.text()),
                None => wanted.text(),
            });
        }
        *text += &format!("| {} |\n", cells.join(" | "));
    }
}

fn shown(turns: &[Turn], row: &Row, figure: &Figure, host: Option<Host>) -> String {
    let Some(host) = host else { return "–".to_owned() };
    let cell =
        spread(turns, row, figure, host).map_or_else(|| "–".to_owned(), |spread| spread.text(1.0));
    // What is compared with is not always the reference pool.
    match host {
        Host::Sv1 => format!("Stratum V1: {cell}"),
        _ => cell,
    }
}

/// What a host gave in one round.
fn value(turns: &[Turn], row: &Row, figure: &Figure, host: Host, round: usize) -> Option<f64> {
    let mine =
        |turn: &&Turn| turn.row == row.name && turn.host == host.name() && turn.round == round;
    (figure.of)(&turns.iter().find(mine)?.reports)
}

fn rounds(turns: &[Turn]) -> usize {
    turns.iter().map(|turn| turn.round + 1).max().unwrap_or(0)
}

fn spread(turns: &[Turn], row: &Row, figure: &Figure, host: Host) -> Option<Spread> {
    Spread::of((0..rounds(turns)).filter_map(|round| value(turns, row, figure, host, round)))
}

/// The second host's figure through the first one's, round by round.
fn ratios(
    turns: &[Turn],
    row: &Row,
    figure: &Figure,
    (base, host): (Host, Host),
) -> Option<Spread> {
    let of = |host, round| value(turns, row, figure, host, round);
    Spread::of((0..rounds(turns)).filter_map(|round| Some(of(host, round)? / of(base, round)?)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn turn(row: &'static str, host: Host, round: usize, rate: f64) -> Turn {
        let reports = vec![json!({"rate": rate, "cpu_us": {"elsewhere": 0.01}})];
        Turn { row, host: host.name(), round, reports }
    }

    #[test]
    fn ratios_are_those_of_a_round_and_say_what_was_met() {
        let rates = [(Host::Reference, [10.0, 40.0]), (Host::Grpc, [20.0, 80.0])];
        let mut turns: Vec<_> = rates
            .into_iter()
            .flat_map(|(host, rates)| (0..2).map(move |r| turn("sustained", host, r, rates[r])))
            .collect();
        turns.push(turn("sustained", Host::Ffi, 0, 20.0));
        let text = tables(&turns, "Measured.");
        let line =
            "| accepted shares a second | 10.0 / **40.0** / 40.0 | 20.0 / **80.0** / 80.0 | \
                    2.00 (2.00 to 2.00) | ≥ 2×: met | 20.0 / **20.0** / 20.0 | 2.00 (2.00 to 2.00) \
                    | ≥ 2.5×: **missed** |";
        assert!(text.contains(line), "{text}");
        assert!(!text.contains("round trip") && text.contains("In 0 of 5 turns"), "{text}");
    }

    #[test]
    fn what_is_compared_with_nothing_has_no_ratio() {
        let turns = [turn("storm", Host::Grpc, 0, 1.0), turn("storm", Host::Ffi, 0, 1.0)];
        let text = tables(&turns, "Measured.");
        assert!(text.contains("| p50, ms | – | – |  |  | – |  |  |"), "{text}");
    }

    #[test]
    fn the_page_has_a_place_for_it() {
        let page = include_str!("../../../docs/performance.md");
        assert!(put_into(page, "x").unwrap().contains("x\n<!-- bench-peer: end -->"));
    }
}
