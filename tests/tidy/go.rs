//! Rules for the Go packages: what is exported has a doc comment.

use crate::finding::Finding;
use crate::lexer::{code, Language};

/// Checks that each exported func, method, type, const and var has a comment. Entries of a group
/// may share the comment of the group, or of the entry that opens their block.
pub(crate) fn check(path: &str, text: &str) -> Vec<Finding> {
    let code = code(text, Language::Go);
    let raw: Vec<&str> = text.lines().collect();
    let mut findings = Vec::new();
    // The group that is open: its keyword, whether it has a comment, whether its block has.
    let mut group: Option<(&str, bool, bool)> = None;
    for (index, line) in code.lines().enumerate() {
        let documented = comment_above(&raw, index);
        if let Some((keyword, shared, covered)) = &mut group {
            if line.starts_with(')') {
                group = None;
                continue;
            }
            if raw[index].trim().is_empty() {
                *covered = *shared;
                continue;
            }
            let depth_one = line.starts_with('\t') && !line[1..].starts_with(['\t', ' ', '}', ')']);
            let Some(name) = line.get(1..).filter(|_| depth_one).map(identifier) else { continue };
            let trailing = raw[index].trim_end().len() > line.trim_end().len();
            *covered |= documented && *keyword != "type";
            if exported(name) && !documented && !*covered && !trailing {
                findings.push(missing(path, index, keyword, name));
            }
            continue;
        }
        let Some((keyword, rest)) = line.split_once(' ') else { continue };
        let name = match keyword {
            "func" => match rest.strip_prefix('(') {
                Some(method) => method_name(method),
                None => Some(identifier(rest)),
            },
            "type" | "const" | "var" if rest.trim() == "(" => {
                let shared = documented && keyword != "type";
                group = Some((keyword, shared, shared));
                None
            }
            "type" | "const" | "var" => Some(identifier(rest)),
            _ => None,
        };
        if let Some(name) = name.filter(|name| exported(name) && !documented) {
            findings.push(missing(path, index, keyword, name));
        }
    }
    findings
}

fn missing(path: &str, index: usize, keyword: &str, name: &str) -> Finding {
    Finding::new(path, index + 1, format!("exported {keyword} `{name}` has no doc comment"))
}

/// Whether a comment ends on the line above; directives of tools are none.
fn comment_above(raw: &[&str], index: usize) -> bool {
    let mut above = raw[..index].iter().rev().map(|line| line.trim());
    let directive = |line: &&str| line.starts_with("//go:") || line.starts_with("//nolint");
    above
        .find(|line| !directive(line))
        .is_some_and(|line| line.starts_with("//") || line.ends_with("*/"))
}

/// The name of a method whose receiver's type is exported too: `r *T) Name(`.
fn method_name(rest: &str) -> Option<&str> {
    let (receiver, rest) = rest.split_once(')')?;
    let base = receiver.split('[').next()?;
    let base = base.rsplit(|c: char| c.is_whitespace() || c == '*').next()?;
    exported(base).then(|| identifier(rest.trim_start()))
}

fn identifier(text: &str) -> &str {
    let end = text.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(text.len());
    &text[..end]
}

fn exported(name: &str) -> bool {
    name.starts_with(char::is_uppercase)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::lines;

    #[test]
    fn rejects_exports_without_a_comment() {
        let text = "package a

func F() {}

//go:noinline
func G() {}

func (t *T) M() {}
func (t T[K]) N() {}
type T struct{}
const C = 1
var V = `
func NotCode() {}
`

const (
\tD = iota
\te

\tE = 2
)

type (
\t// U is.
\tU struct {
\t\tX int
\t}
\tW int
)
";
        let want = [
            "3: exported func `F` has no doc comment",
            "6: exported func `G` has no doc comment",
            "8: exported func `M` has no doc comment",
            "9: exported func `N` has no doc comment",
            "10: exported type `T` has no doc comment",
            "11: exported const `C` has no doc comment",
            "12: exported var `V` has no doc comment",
            "17: exported const `D` has no doc comment",
            "20: exported const `E` has no doc comment",
            "28: exported type `W` has no doc comment",
        ];
        assert_eq!(lines(&check("a.go", text)), want);
    }

    #[test]
    fn accepts_comments_groups_and_what_is_not_exported() {
        let text = "package a

// F does.
//
//go:noinline
func F() {}

/*
T is.
*/
type T struct{}

func f() {}
func (t *t) M() {}
func (t *T) m() {}
type t int

// Group.
const (
\tA = 1

\tB = 2
)

var (
\t// C is, and so is D.
\tC = 1
\tD = 2

\tE = 3 // E is.
)
";
        assert!(check("a.go", text).is_empty(), "{:?}", lines(&check("a.go", text)));
    }
}
