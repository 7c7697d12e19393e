//! Rules for the C ABI: no export without the boundary, none without its contract in words.

use crate::finding::Finding;
use crate::lexer::{code, line_of, without_tests, Language};

/// Exports that only return constants: nothing in them can fail.
const CONSTANT: [&str; 2] = ["gsv2_abi_version", "gsv2_abi_v1"];

/// What the comment of an export says.
const WORDS: [&str; 3] = ["Ownership:", "Threads:", "Errors:"];

/// A function of the C ABI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Export {
    name: String,
    line: usize,
    /// What is between its braces, without comments and literals.
    body: String,
    /// Its doc comment.
    comment: String,
}

/// The functions of a Rust file that are `extern "C"`, tests apart.
pub(crate) fn exports(text: &str) -> Vec<Export> {
    let code = without_tests(&code(text, Language::Rust));
    code.match_indices("extern")
        .filter_map(|(start, word)| {
            let declared = code[start + word.len()..].trim_start().strip_prefix("fn ")?;
            let ends = |c: char| c != '_' && !c.is_alphanumeric();
            let name = &declared[..declared.find(ends)?];
            let open = start + code[start..].find('{')?;
            Some(Export {
                name: name.to_owned(),
                line: line_of(&code, start),
                body: inside(&code[open..]).unwrap_or_default().trim().to_owned(),
                comment: comment_above(text, line_of(&code, start)),
            })
        })
        .collect()
}

/// What is inside the bracket that the text opens with.
fn inside(text: &str) -> Option<&str> {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' if depth == 1 => return text.get(1..at),
            '}' | ')' | ']' => depth = depth.checked_sub(1)?,
            _ => {}
        }
    }
    None
}

/// The doc comment of what is in a line, counted from 1, attributes between them or not.
fn comment_above(text: &str, line: usize) -> String {
    let lines: Vec<&str> = text.lines().take(line - 1).map(str::trim).collect();
    let above = lines.iter().rev().take_while(|l| l.starts_with("///") || l.starts_with("#["));
    let mut comment: Vec<&str> = above.filter_map(|line| line.strip_prefix("///")).collect();
    comment.reverse();
    comment.join("\n")
}

/// Whether a body is one call of the boundary and nothing else.
fn is_boundary(body: &str) -> bool {
    let Some(rest) = body.strip_prefix("boundary!") else { return false };
    inside(rest).is_some_and(|inner| rest.starts_with('(') && inner.len() + 2 == rest.len())
}

/// Checks a file of the C ABI.
pub(crate) fn check(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for Export { name, line, body, comment } in exports(text) {
        if !CONSTANT.contains(&name.as_str()) && !is_boundary(&body) {
            let text = format!("{name}: its body is not `boundary!(...)` alone");
            findings.push(Finding::new(path, line, text));
        }
        for word in WORDS.into_iter().filter(|word| !comment.contains(word)) {
            findings.push(Finding::new(path, line, format!("{name}: no word on `{word}`")));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::lines;

    const COMMENT: &str = "/// Does.\n///\n/// Ownership: none. Threads: any. Errors: none.\n";

    fn found(text: &str) -> Vec<String> {
        lines(&check("ffi/src/calls.rs", text))
    }

    #[test]
    fn rejects_an_export_beside_the_boundary() {
        let good = format!(
            "{COMMENT}#[no_mangle]\npub unsafe extern \"C\" fn gsv2_a(a: u64) -> i32 {{\n    \
             boundary!(a => |a| {{ a.b(\") }}\"); Ok(()) }})\n}}\n"
        );
        assert!(found(&good).is_empty(), "{:?}", found(&good));
        let want = ["5: gsv2_a: its body is not `boundary!(...)` alone"];
        for body in [
            "",
            "0",
            "let b = a; boundary!({ b })",
            "boundary!({ a }); 0",
            "boundary!({ a }) + boundary!({ a })",
            "// boundary!({ a })\n a",
            "\"boundary!({ a })\".len()",
            "bounds!({ a })",
            "boundary![{ a }]",
        ] {
            let bad = format!(
                "{COMMENT}#[no_mangle]\npub extern \"C\" fn gsv2_a(a: u64) -> i32 {{ {body} }}\n"
            );
            assert_eq!(found(&bad), want, "{body}");
        }
        let constant = good.replace("gsv2_a(", "gsv2_abi_version(").replace("boundary!", "b!");
        assert!(found(&constant).is_empty());
    }

    #[test]
    fn rejects_an_export_without_its_contract() {
        let export = "pub extern \"C\" fn gsv2_a() -> i32 { boundary!({ Ok(()) }) }\n";
        let want = [
            "1: gsv2_a: no word on `Ownership:`",
            "1: gsv2_a: no word on `Threads:`",
            "1: gsv2_a: no word on `Errors:`",
        ];
        assert_eq!(found(export), want);
        for word in WORDS {
            let bad = format!("{}#[no_mangle]\n{export}", COMMENT.replace(word, "Else:"));
            assert_eq!(found(&bad), [format!("5: gsv2_a: no word on `{word}`")]);
            // Nor does the comment of another item count.
            let other = format!("{COMMENT}fn b() {{}}\n{bad}");
            assert_eq!(found(&other).len(), 1, "{other}");
        }
    }

    #[test]
    fn knows_what_an_export_is() {
        let names = |text: &str| exports(text).into_iter().map(|e| e.name).collect::<Vec<_>>();
        let text = "type F = extern \"C\" fn(u32);\n\
                    // extern \"C\" fn a() {}\n\
                    extern crate b;\n\
                    fn c() { d(\"extern fn e() {}\") }\n\
                    #[cfg(test)]\nmod t { extern \"C\" fn f() {} }\n\
                    extern \"C\" fn g() {}\n\
                    unsafe extern\n    \"C\" fn h_2<'a>(i: &'a u8) {}\n";
        assert_eq!(names(text), ["g", "h_2"]);
    }
}
