//! Rules for the contract: everything has a comment.

use crate::finding::Finding;
use crate::lexer::{code, line_of, Language};

/// Statements that name nothing of the contract. The groups of a `oneof` are named by their fields.
const BARE: [&str; 7] =
    ["syntax", "package", "import", "option", "reserved", "extensions", "oneof"];

/// Checks that a comment stands directly above each message, field, enum, value, service and rpc.
pub(crate) fn check(path: &str, text: &str) -> Vec<Finding> {
    let code = code(text, Language::Proto);
    let lines: Vec<&str> = text.lines().collect();
    let mut findings = Vec::new();
    let mut start = None;
    for (at, c) in code.char_indices() {
        match c {
            ';' | '{' | '}' => {
                if let Some(start) = start.take() {
                    findings.extend(statement(path, &lines, &code, start, at));
                }
            }
            c if start.is_none() && !c.is_whitespace() => start = Some(at),
            _ => {}
        }
    }
    findings
}

fn statement(path: &str, lines: &[&str], code: &str, start: usize, end: usize) -> Option<Finding> {
    let text = code[start..end].trim();
    let first = text.split(|c: char| !c.is_alphanumeric() && c != '_').next()?;
    // A field may be called by one of the words: then a type or a number follows.
    let field = text.contains('=') && !matches!(first, "syntax" | "option");
    if BARE.contains(&first) && !field {
        return None;
    }
    let line = line_of(code, start);
    let above = lines.get(line.checked_sub(2)?).map_or("", |line| line.trim());
    if above.starts_with("//") || above.ends_with("*/") {
        return None;
    }
    let short: Vec<&str> = text.split_whitespace().take(2).collect();
    Some(Finding::new(path, line, format!("`{}` has no comment above it", short.join(" "))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::lines;

    #[test]
    fn rejects_everything_without_a_comment() {
        let text = "\
syntax = \"proto3\"; // Not above.

message A {
  reserved 4;
  uint32 a = 1; // Behind.
  oneof kind {
    // Kept.
    B b = 2;
    map<string, B> c = 3;
  }
}
// Kept.

enum E {
  E_ONE = 0;
}
service S {
  rpc R(stream A)
      returns (stream A);
  rpc Q(A) returns (A) {}
}
";
        let want = [
            "3: `message A` has no comment above it",
            "5: `uint32 a` has no comment above it",
            "9: `map<string, B>` has no comment above it",
            "14: `enum E` has no comment above it",
            "15: `E_ONE =` has no comment above it",
            "17: `service S` has no comment above it",
            "18: `rpc R(stream` has no comment above it",
            "20: `rpc Q(A)` has no comment above it",
        ];
        assert_eq!(lines(&check("a.proto", text)), want);
    }

    #[test]
    fn accepts_what_has_comments() {
        let text =
            "// A.\nmessage A {\n  // F: \"x;\" {\n  string f = 1;\n  /* G. */\n  B g = 2;\n}\n";
        assert!(check("a.proto", text).is_empty());
    }
}
