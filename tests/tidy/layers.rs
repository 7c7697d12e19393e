//! The direction of imports between the layers of the sidecar.

use std::collections::{BTreeMap, BTreeSet};

use crate::finding::Finding;
use crate::lexer::{code, line_of, Language};

/// The layers, lowest first. A layer may use the rows above its own, and its neighbours in the row
/// as long as no circle comes of it.
const ROWS: [&[&str]; 11] = [
    &["types", "config", "obs", "sys", "keys"],
    &["noise", "frame", "backend", "event", "http"],
    &["job"],
    &["channel"],
    &["session"],
    &["sim"],
    &["listen"],
    &["mint", "stats", "admin"],
    &["app"],
    &["cli"],
    &["main"],
];

/// The miner's side stands beside the listener's: it uses the first row and what is on its left
/// here, and only the program uses it.
const CLIENT: [&str; 3] = ["client", "miner", "probe"];

/// Where a layer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Row(usize),
    Client(usize),
}

fn place(layer: &str) -> Option<Place> {
    let row = ROWS.iter().position(|row| row.contains(&layer)).map(Place::Row);
    row.or_else(|| CLIENT.iter().position(|name| *name == layer).map(Place::Client))
}

fn allowed(from: Place, to: Place) -> bool {
    let program = ROWS.len() - 2;
    match (from, to) {
        (Place::Row(from), Place::Row(to)) => to <= from,
        (Place::Row(from), Place::Client(_)) => from >= program,
        (Place::Client(_), Place::Row(to)) => to == 0,
        (Place::Client(from), Place::Client(to)) => to <= from,
    }
}

/// The layer a file of `sidecar/src` belongs to; none for the crate's root.
pub(crate) fn layer_of(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("sidecar/src/")?;
    let first = inside.split('/').next()?;
    let layer = first.strip_suffix(".rs").unwrap_or(first);
    // `assets` holds no code; further programs are the program.
    match layer {
        "lib" | "assets" => None,
        "bin" => Some("main"),
        layer => Some(layer),
    }
}

/// The other layers that a file uses, each with the first line that does.
pub(crate) fn uses(path: &str, text: &str) -> BTreeMap<String, usize> {
    let Some(own) = layer_of(path) else { return BTreeMap::new() };
    let code = code(text, Language::Rust);
    let mut found: Vec<(String, usize)> = names_after(&code, "crate");
    found.extend(names_after(&code, "gopool_sv2"));
    // `super` leaves the layer when it is written as often as the file is deep, or once more in an
    // inline module.
    let depth = path.trim_end_matches("/mod.rs").matches('/').count() - 1;
    for supers in [depth, depth + 1] {
        let named = names_after(&code, &vec!["super"; supers].join("::"));
        found.extend(named.into_iter().filter(|(name, _)| place(name).is_some()));
    }
    let mut uses = BTreeMap::new();
    for (name, line) in found.into_iter().filter(|(name, _)| name != own) {
        let first = uses.entry(name).or_insert(line);
        *first = line.min(*first);
    }
    uses
}

/// The names that follow `root::` in code, also in braces: `root::{a, b::c}`. With their lines.
pub(crate) fn names_after(code: &str, root: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    let separated = format!("{root}::");
    for (start, _) in code.match_indices(&separated) {
        // Part of a longer name or path.
        let before = code[..start].strip_suffix("::").unwrap_or(&code[..start]);
        if before.ends_with(|c: char| c == '_' || c == '>' || c.is_alphanumeric()) {
            continue;
        }
        let rest = start + separated.len();
        let Some(body) = code[rest..].strip_prefix('{') else {
            found.push((name(&code[rest..]), line_of(code, rest)));
            continue;
        };
        let mut depth = 0_usize;
        let mut fresh = true;
        for (at, c) in body.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => fresh = true,
                c if fresh && !c.is_whitespace() => {
                    found.push((name(&body[at..]), line_of(code, rest + 1 + at)));
                    fresh = false;
                }
                _ => {}
            }
        }
    }
    found.retain(|(name, _)| !name.is_empty() && name != "self");
    found
}

fn name(text: &str) -> String {
    let text = text.strip_prefix("r#").unwrap_or(text);
    text.chars().take_while(|c| *c == '_' || c.is_alphanumeric()).collect()
}

/// Checks one file of the sidecar against the table.
pub(crate) fn check(path: &str, text: &str) -> Vec<Finding> {
    let Some(own) = layer_of(path) else { return declared(path, text) };
    let Some(from) = place(own) else {
        return vec![Finding::new(path, 0, format!("layer `{own}` is not in tidy's table"))];
    };
    let mut findings = Vec::new();
    for (name, line) in uses(path, text) {
        let fault = match place(&name) {
            None => format!("`{name}` is no layer of tidy's table"),
            Some(to) if !allowed(from, to) => {
                format!("`{own}` must not use `{name}`: imports go down only")
            }
            Some(_) => continue,
        };
        findings.push(Finding::new(path, line, fault));
    }
    findings
}

/// Checks that the crate's root declares only layers.
fn declared(path: &str, text: &str) -> Vec<Finding> {
    if path != "sidecar/src/lib.rs" {
        return Vec::new();
    }
    let code = code(text, Language::Rust);
    let lines = code.lines().enumerate();
    lines
        .filter_map(|(index, line)| {
            let name = line.split("mod ").nth(1)?.trim().strip_suffix(';')?;
            let text = format!("layer `{name}` is not in tidy's table");
            place(name).is_none().then(|| Finding::new(path, index + 1, text))
        })
        .collect()
}

/// Checks that no layers use each other in a circle. `edges` are (user, used).
pub(crate) fn circles(edges: &BTreeSet<(String, String)>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (start, _) in edges {
        let mut reached = BTreeSet::new();
        let mut open = vec![start];
        while let Some(layer) = open.pop() {
            let used = edges.iter().filter(|(user, _)| user == layer).map(|(_, used)| used);
            open.extend(used.filter(|used| reached.insert(*used)));
        }
        let finding = Finding::new("sidecar/src", 0, format!("`{start}` uses itself in a circle"));
        if reached.contains(start) && !findings.contains(&finding) {
            findings.push(finding);
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::lines;

    #[test]
    fn rejects_imports_that_go_up() {
        let text = "use crate::types::A;\nuse crate::session::B;\nuse crate::{job, listen::C};\n";
        let want = [
            "3: `channel` must not use `listen`: imports go down only",
            "2: `channel` must not use `session`: imports go down only",
        ];
        assert_eq!(lines(&check("sidecar/src/channel/table.rs", text)), want);
        assert!(check("sidecar/src/listen.rs", text).is_empty());
        let text = "fn f() {\n    let x: Vec<crate::app::App> = ::gopool_sv2::cli::x();\n}\n";
        assert_eq!(check("sidecar/src/keys.rs", text).len(), 2);
        assert!(check("sidecar/src/main.rs", text).is_empty());
    }

    #[test]
    fn rejects_imports_through_super() {
        let text = "use super::super::session::B;\n";
        assert_eq!(check("sidecar/src/channel/table.rs", text).len(), 1);
        assert_eq!(check("sidecar/src/channel/deep/mod.rs", text).len(), 1);
        assert!(check("sidecar/src/channel/deep/table.rs", text).is_empty());
        assert_eq!(check("sidecar/src/channel/mod.rs", "use super::session::B;").len(), 1);
        assert_eq!(check("sidecar/src/channel.rs", "use super::session::B;").len(), 1);
        let inline = "mod a { use super::super::session::B; }";
        assert_eq!(check("sidecar/src/channel.rs", inline).len(), 1);
        assert!(check("sidecar/src/channel/table.rs", "use super::session::B;").is_empty());
    }

    #[test]
    fn keeps_client_and_listener_apart() {
        let client = |text| check("sidecar/src/client/mod.rs", text);
        assert!(client("use crate::types::A;\nuse crate::keys::B;").is_empty());
        assert_eq!(client("use crate::noise::A;").len(), 1);
        assert_eq!(client("use crate::miner::A;").len(), 1);
        assert!(check("sidecar/src/miner.rs", "use crate::client::A;").is_empty());
        assert!(check("sidecar/src/cli.rs", "use crate::miner::A;").is_empty());
        assert!(check("sidecar/src/probe.rs", "use crate::client::A;").is_empty());
        assert_eq!(check("sidecar/src/miner.rs", "use crate::probe::A;").len(), 1);
        assert_eq!(check("sidecar/src/app.rs", "use crate::probe::A;").len(), 1);
        assert_eq!(check("sidecar/src/app.rs", "use crate::client::A;").len(), 1);
    }

    #[test]
    fn rejects_what_the_table_does_not_know() {
        let want = ["0: layer `helpers` is not in tidy's table"];
        assert_eq!(lines(&check("sidecar/src/helpers/mod.rs", "")), want);
        let want = ["1: `helpers` is no layer of tidy's table"];
        assert_eq!(lines(&check("sidecar/src/job/mod.rs", "use crate::helpers::x;")), want);
        let want = ["2: layer `helpers` is not in tidy's table"];
        let text = "pub mod job;\nmod helpers;\n";
        assert_eq!(lines(&check("sidecar/src/lib.rs", text)), want);
    }

    #[test]
    fn ignores_comments_strings_and_other_crates() {
        let text = "// crate::app::x\nconst A: &str = \"crate::app\";\nuse other_crate::app::x;\n\
                    pub(crate) fn f() {}\nuse gopool_sv2_proto::app;\nuse std::fmt;\n";
        assert!(check("sidecar/src/types.rs", text).is_empty());
        let text = "use gopool_sv2_proto::{self, app};\nuse crate::{self, keys::{self, app}};";
        assert!(check("sidecar/src/types.rs", text).is_empty());
    }

    #[test]
    fn rejects_circles() {
        let edge = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        let line = BTreeSet::from([edge("frame", "noise"), edge("session", "frame")]);
        assert!(circles(&line).is_empty());
        let mut round = line;
        round.extend([edge("noise", "backend"), edge("backend", "frame")]);
        let names: Vec<String> = circles(&round).into_iter().map(|f| f.text).collect();
        assert_eq!(names.len(), 3, "{names:?}");
        assert!(names[0].starts_with("`backend` uses itself"));
    }
}
