//! From the bytes of a file to a [`Config`], or to all that is wrong with them.

use std::ops::Range;
use std::path::Path;

use toml::de::{DeInteger, DeTable, DeValue};
use toml::Spanned;

use super::cross::{self, Found};
use super::model::Config;
use super::print;
use super::problem::{Problem, Problems};
use super::schema::{Key, Section, Value, SECTIONS};
use super::suggest::nearest;
use super::text::shown;

/// What one kind of file gives.
pub(super) trait Settings: Default + 'static {
    /// Every key, in the order of printing.
    const SECTIONS: &'static [Section<Self>];

    /// An example to start from.
    const EXAMPLE: &'static str;

    /// Makes relative paths start at `directory`.
    fn resolve(&mut self, directory: &Path);

    /// What contradicts itself.
    fn check(&self, table: &DeTable<'_>) -> Vec<Found>;

    /// The values as a file whose first lines say what it is, with a comment per key.
    fn print(&self, intro: &str) -> String {
        print::print(self, intro)
    }
}

impl Settings for Config {
    const SECTIONS: &'static [Section] = SECTIONS;
    const EXAMPLE: &'static str = "examples/config/minimal.toml";

    fn resolve(&mut self, directory: &Path) {
        Config::resolve(self, directory);
    }

    fn check(&self, table: &DeTable<'_>) -> Vec<Found> {
        cross::check(table, self)
    }
}

/// Reads a whole file. `path` is its name in problems; its directory is where relative paths start.
pub(super) fn read<C: Settings>(bytes: &[u8], path: &Path) -> Result<C, Problems> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let good = String::from_utf8_lossy(good);
            let mut reader = Reader::new(path, &good);
            reader.syntax(good.len()..good.len(), "is not UTF-8: save the file as UTF-8 text");
            return Problems::check(reader.problems).map(|()| C::default());
        }
    };
    let mut reader = Reader::new(path, text);
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut broken = false;
    for error in errors.iter().take(Problems::MAX) {
        let span = error.span().unwrap_or(text.len()..text.len());
        broken |= !reader.syntax_error(span, error.message());
    }
    let mut config = C::default();
    reader.document(table.get_ref(), &mut config, broken);
    config.resolve(path.parent().unwrap_or(Path::new("")));
    // A key that can't be read has its default here, which contradicts nothing.
    let unread: Vec<String> = reader.problems.iter().map(|p| p.key.clone()).collect();
    for found in config.check(table.get_ref()) {
        if !found.about.iter().any(|key| unread.contains(key)) {
            reader.problem(&found.span, &found.key, found.text);
        }
    }
    Problems::check(reader.problems).map(|()| config)
}

/// Collects the problems of one file.
struct Reader<'a> {
    file: &'a Path,
    text: &'a str,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    fn new(file: &'a Path, text: &'a str) -> Self {
        Self { file, text, problems: Vec::new() }
    }

    /// Notes a problem at the start of `span` (bytes of the text).
    fn problem(&mut self, span: &Range<usize>, key: &str, text: String) {
        // Positions cost a pass over the text: past the bound, problems are only counted.
        let (line, column) = match self.problems.len() {
            0..Problems::MAX => position(self.text, span.start),
            _ => (usize::MAX, 0),
        };
        let file = self.file.to_owned();
        self.problems.push(Problem { file, line, column, key: key.to_owned(), text });
    }

    fn syntax(&mut self, span: Range<usize>, text: &str) {
        self.problem(&span, "", text.to_owned());
    }

    /// Notes what the parser found. False when values near it may be other than what was meant.
    fn syntax_error(&mut self, span: Range<usize>, message: &str) -> bool {
        if message != "duplicate key" {
            self.syntax(span, &format!("invalid TOML: {}", message.escape_debug()));
            return false;
        }
        let name = self.text.get(span.clone()).unwrap_or_default();
        let text = format!("{} is given twice: keep one", shown(name.trim()));
        self.problem(&span, "", text);
        true
    }

    /// Reads the sections. With `broken` TOML only values that are present count, and what is
    /// unknown may be an accident of the recovery: it is not reported.
    fn document<C: Settings>(&mut self, table: &DeTable<'_>, config: &mut C, broken: bool) {
        for (name, value) in table.iter() {
            let known = C::SECTIONS.iter().find(|s| s.name == name.get_ref().as_ref());
            let Some(section) = known else {
                if !broken {
                    self.unknown_section::<C>(name, value);
                }
                continue;
            };
            let Some(table) = value.get_ref().as_table() else {
                if !broken {
                    let text =
                        format!("must be a section: write [{}] on its own line", section.name);
                    self.problem(&name.span(), section.name, text);
                }
                continue;
            };
            self.section(section, table, config, broken);
        }
    }

    fn section<C: Settings>(
        &mut self,
        section: &Section<C>,
        table: &DeTable<'_>,
        config: &mut C,
        broken: bool,
    ) {
        for (name, value) in table.iter() {
            match section.keys.iter().find(|key| key.name == name.get_ref().as_ref()) {
                Some(key) => self.value(section, key, value, config, broken),
                None if self.inner_section(section, name, value, config, broken) || broken => {}
                None => self.unknown_key(section, name),
            }
        }
    }

    /// Reads a section inside of `section`; false when there is none of that name.
    fn inner_section<C: Settings>(
        &mut self,
        section: &Section<C>,
        name: &Spanned<impl AsRef<str>>,
        value: &Spanned<DeValue<'_>>,
        config: &mut C,
        broken: bool,
    ) -> bool {
        let path = format!("{}.{}", section.name, name.get_ref().as_ref());
        let Some(inner) = C::SECTIONS.iter().find(|s| s.name == path) else { return false };
        match value.get_ref().as_table() {
            Some(table) => self.section(inner, table, config, broken),
            None if broken => {}
            None => {
                let text = format!("must be a section: write [{path}] on its own line");
                self.problem(&name.span(), &path, text);
            }
        }
        true
    }

    fn value<C: Settings>(
        &mut self,
        section: &Section<C>,
        key: &Key<C>,
        value: &Spanned<DeValue<'_>>,
        config: &mut C,
        broken: bool,
    ) {
        let result = match (&key.value, value.get_ref()) {
            (Value::Int { min, max, set, .. }, DeValue::Integer(number)) => {
                in_range(number, *min, *max).map(|number| set(config, number))
            }
            (Value::Bool { set, .. }, DeValue::Boolean(value)) => {
                set(config, *value);
                Ok(())
            }
            (Value::Text { set, .. }, DeValue::String(text)) => set(config, text),
            (Value::Extensions { set, .. }, DeValue::Array(list)) => {
                numbers(list).and_then(|numbers| set(config, &numbers))
            }
            (Value::List { set, .. }, DeValue::Array(items)) => {
                let texts: Option<Vec<&str>> =
                    items.iter().map(|item| item.get_ref().as_str()).collect();
                match texts {
                    Some(texts) => set(config, &texts),
                    None if broken => Ok(()),
                    None => Err("must be a list of texts: write each in double quotes".to_owned()),
                }
            }
            // A value that did not parse stands in as one of another type.
            (_, _) if broken => Ok(()),
            (Value::Int { .. }, DeValue::String(text)) if text.trim().parse::<u64>().is_ok() => {
                Err(format!(
                    "must be a whole number, not text: write {} without quotes",
                    text.trim()
                ))
            }
            (Value::Int { min, max, .. }, other) => Err(format!(
                "must be a whole number, not {}: write one from {min} to {max}",
                kind(other)
            )),
            (Value::Bool { .. }, other) => {
                Err(format!("must be true or false, not {}: write it without quotes", kind(other)))
            }
            (Value::Extensions { .. }, other) => Err(format!(
                "must be a list of numbers, not {}: write it in brackets, for example [0x0002]",
                kind(other)
            )),
            (Value::List { .. }, other) => Err(format!(
                "must be a list, not {}: write [\"one\", \"another\"], or [] for none",
                kind(other)
            )),
            (Value::Text { .. }, other) => {
                Err(format!("must be text, not {}: write it in double quotes", kind(other)))
            }
        };
        let Err(text) = result else { return };
        // A value on a line that did not parse is what the recovery made of it.
        let line = position(self.text, value.span().start).0;
        if !self.problems.iter().any(|problem| problem.line == line && problem.key.is_empty()) {
            self.problem(&value.span(), &format!("{}.{}", section.name, key.name), text);
        }
    }

    fn unknown_section<C: Settings>(
        &mut self,
        name: &Spanned<impl AsRef<str>>,
        value: &Spanned<DeValue<'_>>,
    ) {
        let word = name.get_ref().as_ref();
        let mut hint = String::new();
        let home = C::SECTIONS.iter().find(|s| s.keys.iter().any(|key| key.name == word));
        // [tls] for [pool.tls].
        let inner = |name: &str| name.rsplit_once('.').is_some_and(|(_, last)| last == word);
        let inner = C::SECTIONS.iter().map(|section| section.name).find(|name| inner(name));
        if let Some(near) = inner.or(nearest(word, C::SECTIONS.iter().map(|section| section.name)))
        {
            hint = format!("did you mean `{near}`?");
        } else if let Some(home) = home.filter(|_| !value.get_ref().is_table()) {
            hint = format!("did you mean `{word}` below [{}]?", home.name);
        }
        if hint.is_empty() {
            let known: Vec<String> = C::SECTIONS.iter().map(|s| format!("[{}]", s.name)).collect();
            hint = format!("the sections are {}", known.join(", "));
        }
        let what = if value.get_ref().is_table() { "section" } else { "key outside a section" };
        self.problem(&name.span(), &key_text(word), format!("unknown {what}; {hint}"));
    }

    fn unknown_key<C: Settings>(&mut self, section: &Section<C>, name: &Spanned<impl AsRef<str>>) {
        let word = name.get_ref().as_ref();
        let names = || section.keys.iter().map(|key| key.name);
        let home = C::SECTIONS.iter().find(|s| s.keys.iter().any(|key| key.name == word));
        let hint = if let Some(home) = home {
            format!("did you mean `{word}` below [{}]?", home.name)
        } else if let Some(near) = nearest(word, names()) {
            format!("did you mean `{near}`?")
        } else {
            format!("[{}] knows {}", section.name, names().collect::<Vec<_>>().join(", "))
        };
        let key = format!("{}.{}", section.name, key_text(word));
        self.problem(&name.span(), &key, format!("unknown key; {hint}"));
    }
}

/// The number, if it is in the range.
fn in_range(number: &DeInteger<'_>, min: u64, max: u64) -> Result<u64, String> {
    i128::from_str_radix(number.as_str(), number.radix())
        .ok()
        .and_then(|number| u64::try_from(number).ok())
        .filter(|number| (min..=max).contains(number))
        .ok_or_else(|| {
            let number = number.to_string();
            let number: String = number.chars().take(40).collect();
            format!("{number} is out of range: write a whole number from {min} to {max}")
        })
}

/// The whole numbers of a list.
fn numbers(list: &[Spanned<DeValue<'_>>]) -> Result<Vec<u64>, String> {
    let number = |item: &Spanned<DeValue<'_>>| match item.get_ref() {
        DeValue::Integer(number) => in_range(number, 0, u16::MAX.into()),
        other => Err(format!("holds {}: write only whole numbers in it", kind(other))),
    };
    list.iter().map(number).collect()
}

/// What a value is, in words.
fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// An unknown key for a problem: as it is when it is a bare key, quoted otherwise.
fn key_text(word: &str) -> String {
    let bare = word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if bare && (1..=60).contains(&word.len()) {
        return word.to_owned();
    }
    shown(word)
}

/// Line and column in characters, both counted from 1, of a byte offset.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let column = before.get(start..).unwrap_or_default().chars().count() + 1;
    (line, column)
}
