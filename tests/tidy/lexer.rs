//! Blanks what is not code: comments, strings, characters, tests. Line numbers stay.

/// How a language writes comments and strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    /// Nested block comments, raw strings with hashes, lifetimes.
    Rust,
    /// Back-quoted raw strings.
    Go,
    /// As C.
    Proto,
}

/// The text with comments and the content of literals replaced by spaces.
pub(crate) fn code(text: &str, language: Language) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match literal(bytes, at, language) {
            Some(end) => end.min(bytes.len()),
            None => {
                at += 1;
                continue;
            }
        };
        blank(&mut out, at, end);
        at = end;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Replaces bytes by spaces; newlines stay.
fn blank(out: &mut [u8], from: usize, to: usize) {
    for byte in out.iter_mut().take(to).skip(from).filter(|byte| **byte != b'\n') {
        *byte = b' ';
    }
}

/// The end of the comment or literal that starts at `at`, if one does.
fn literal(bytes: &[u8], at: usize, language: Language) -> Option<usize> {
    let rest = &bytes[at..];
    if rest.starts_with(b"//") {
        return Some(at + rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len()));
    }
    if rest.starts_with(b"/*") {
        return Some(at + block_comment(rest, language == Language::Rust));
    }
    match (rest[0], language) {
        (b'"', _) => Some(at + quoted(rest, b'"')),
        (b'`', Language::Go) => {
            Some(at + 1 + find(&rest[1..], b"`").map_or(rest.len(), |end| end + 1))
        }
        (b'\'', Language::Rust) => character(rest).map(|length| at + length),
        (b'\'', _) => Some(at + quoted(rest, b'\'')),
        (b'r', Language::Rust) if !word_before(bytes, at) => raw(rest).map(|length| at + length),
        _ => None,
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// Whether the byte before `at` belongs to a word; `b`, `c` and `br` are prefixes of literals.
fn word_before(bytes: &[u8], at: usize) -> bool {
    let word = |at: usize| bytes[at] == b'_' || bytes[at].is_ascii_alphanumeric();
    let prefix = at > 0 && matches!(bytes[at - 1], b'b' | b'c') && (at < 2 || !word(at - 2));
    at > 0 && word(at - 1) && !prefix
}

fn block_comment(rest: &[u8], nested: bool) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") && (nested || depth == 0) {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    at
}

/// Length of a literal with backslash escapes.
fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    at
}

/// Length of `r"..."`, `r#"..."#`; none for a raw identifier or a word.
fn raw(rest: &[u8]) -> Option<usize> {
    let hashes = rest[1..].iter().take_while(|byte| **byte == b'#').count();
    if rest.get(1 + hashes) != Some(&b'"') {
        return None;
    }
    let mut end = vec![b'"'];
    end.resize(1 + hashes, b'#');
    let body = 2 + hashes;
    Some(find(&rest[body..], &end).map_or(rest.len(), |at| body + at + end.len()))
}

/// Length of a character literal; none for a lifetime.
fn character(rest: &[u8]) -> Option<usize> {
    if rest.get(1) == Some(&b'\\') {
        return Some(quoted(rest, b'\''));
    }
    let width = match rest.get(1)? {
        0..=0x7f => 1,
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        _ => 4,
    };
    (rest.get(1 + width) == Some(&b'\'')).then_some(width + 2)
}

/// Rust code (from [`code`]) with its `#[cfg(test)]` items replaced by spaces.
pub(crate) fn without_tests(code: &str) -> String {
    let mut out = code.as_bytes().to_vec();
    if code.contains("#![cfg(test)]") {
        blank(&mut out, 0, code.len());
    }
    for start in test_attributes(code) {
        let end = item_end(code.as_bytes(), start);
        blank(&mut out, start, end);
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Names of the modules that are declared for tests only, and kept in files of their own.
pub(crate) fn test_modules(code: &str) -> Vec<String> {
    let items = test_attributes(code).map(|start| &code[start..item_end(code.as_bytes(), start)]);
    items
        .filter_map(|item| Some(item.rsplit_once("mod ")?.1.strip_suffix(';')?.trim().to_owned()))
        .filter(|name| name.chars().all(|c| c == '_' || c.is_alphanumeric()))
        .collect()
}

fn test_attributes(code: &str) -> impl Iterator<Item = usize> + '_ {
    let starts = code.match_indices("#[cfg(test)]").chain(code.match_indices("#[cfg(all(test"));
    starts.map(|(start, _)| start)
}

/// End of the item whose attributes start at `start`: its `;`, or the brace that closes it.
fn item_end(code: &[u8], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut braces = 0_usize;
    for (at, byte) in code.iter().enumerate().skip(start) {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth = depth.saturating_sub(1),
            b'{' => braces += 1,
            b'}' if braces <= 1 => return if braces == 1 { at + 1 } else { at },
            b'}' => braces -= 1,
            b';' if depth == 0 && braces == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

/// Line of a byte offset, counted from 1.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

#[test]
fn blanks_comments_and_literals_only() {
    let text = "a /* b /* c */ d */ e // f\n\"g \\\" h\" i 'j' '\\'' 'k: &'l m\n";
    let want = "a                   e     \n         i          'k: &'l m\n";
    assert_eq!(code(text, Language::Rust), want);
    let text = "r#\"a \" b\"# c r#type br\"d\" bar\"e\" r\"f\\\" g 'ä' 'ä";
    let want = "           c r#type b     bar          g        'ä";
    assert_eq!(code(text, Language::Rust).replace(' ', ""), want.replace(' ', ""));
    let go = "a := `x \\` + 'b' + \"c\" // d\n/* e /* f */ g";
    assert_eq!(code(go, Language::Go), "a :=       +     +         \n             g");
    for open in ["\"", "r#\"", "/*", "'\\", "`"] {
        assert_eq!(code(open, Language::Rust).len(), open.len());
        assert_eq!(code(open, Language::Go).len(), open.len());
    }
}

#[test]
fn blanks_test_items_only() {
    let text = "fn a() { b(); }\n#[cfg(test)]\n#[x]\nmod t { fn c() {} }\nfn d() {}\n";
    let left = without_tests(text);
    assert!(left.contains("b()") && left.contains("fn d") && !left.contains("fn c"), "{left}");
    assert_eq!(left.lines().count(), text.lines().count());
    let left = without_tests("#[cfg(test)]\nuse x::y;\nfn d() {}");
    assert!(left.contains("fn d") && !left.contains("use"), "{left}");
    let left = without_tests("#[cfg(test)]\nconst A: [u8; 2] = [1; 2];\nfn d() {}");
    assert!(left.contains("fn d") && !left.contains("const"), "{left}");
    assert!(without_tests("#[cfg(not(test))]\nfn e() {}").contains("fn e"));
    assert!(!without_tests("#[cfg(all(test, unix))]\nfn e() {}").contains("fn e"));
}

#[test]
fn finds_the_test_modules_in_other_files() {
    let text = "mod a;\n#[cfg(test)]\nmod tests;\n#[cfg(test)]\nmod inline { fn f(); }\n";
    assert_eq!(test_modules(text), ["tests"]);
}
