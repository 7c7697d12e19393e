//! Prints settings as a TOML document that says what each key means.

use super::read::Settings;
use super::schema::Value;

/// Width of the printed comments, in characters.
const WIDTH: usize = 98;

/// Prints the effective values with a comment per key.
pub(super) fn print<C: Settings>(config: &C, intro: &str) -> String {
    let defaults = C::default();
    let mut out = String::new();
    comment(&mut out, intro);
    for section in C::SECTIONS {
        out.push('\n');
        comment(&mut out, section.about);
        out.push_str(&format!("[{}]\n", section.name));
        for (index, key) in section.keys.iter().enumerate() {
            if index > 0 {
                out.push('\n');
            }
            comment(&mut out, key.about);
            match &key.value {
                Value::Int { min, max, get, .. } => {
                    let default = get(&defaults);
                    comment(&mut out, &format!("Default {default}, range {min} to {max}."));
                    out.push_str(&format!("{} = {}\n", key.name, get(config)));
                }
                Value::Bool { get, .. } => {
                    comment(&mut out, &format!("Default {}.", get(&defaults)));
                    out.push_str(&format!("{} = {}\n", key.name, get(config)));
                }
                Value::Extensions { get, .. } => {
                    comment(&mut out, &format!("Default {}.", numbers(&get(&defaults))));
                    out.push_str(&format!("{} = {}\n", key.name, numbers(&get(config))));
                }
                Value::List { get, .. } => {
                    comment(&mut out, &format!("Default {}.", list(get(&defaults))));
                    out.push_str(&format!("{} = {}\n", key.name, list(get(config))));
                }
                Value::Text { get, .. } => {
                    comment(&mut out, &format!("Default {}.", quoted(get(&defaults))));
                    out.push_str(&format!("{} = {}\n", key.name, quoted(get(config))));
                }
            }
        }
    }
    out
}

/// A TOML list of numbers, as the specifications write them.
fn numbers(numbers: &[u16]) -> String {
    let numbers: Vec<String> = numbers.iter().map(|number| format!("{number:#06x}")).collect();
    format!("[{}]", numbers.join(", "))
}

/// A TOML list of strings on one line.
fn list(texts: Vec<String>) -> String {
    format!("[{}]", texts.into_iter().map(quoted).collect::<Vec<_>>().join(", "))
}

/// A TOML string on one line.
fn quoted(text: String) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\U{:08X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Comment lines, broken at spaces.
fn comment(out: &mut String, text: &str) {
    let mut width = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if width == 0 || width + 1 + length > WIDTH {
            out.push_str(if width == 0 { "#" } else { "\n#" });
            width = 1;
        }
        out.push(' ');
        out.push_str(word);
        width += 1 + length;
    }
    out.push('\n');
}
