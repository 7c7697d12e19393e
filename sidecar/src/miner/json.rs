//! The little JSON that miner and probe write: flat objects of strings, numbers and flags.

use std::fmt::Write as _;

/// An object under construction.
#[derive(Debug, Default)]
pub struct Object {
    text: String,
}

impl Object {
    /// Adds a string.
    pub fn string(mut self, key: &str, value: &str) -> Self {
        self.key(key);
        push_string(&mut self.text, value);
        self
    }

    /// Adds an integer.
    pub fn number(mut self, key: &str, value: u64) -> Self {
        self.key(key);
        self.text.push_str(&value.to_string());
        self
    }

    /// Adds a fraction; what JSON cannot say (infinity, not a number) becomes `null`.
    pub fn fraction(mut self, key: &str, value: f64) -> Self {
        self.key(key);
        if value.is_finite() {
            self.text.push_str(&value.to_string());
        } else {
            self.text.push_str("null");
        }
        self
    }

    /// Adds `true` or `false`.
    pub fn boolean(mut self, key: &str, value: bool) -> Self {
        self.key(key);
        self.text.push_str(if value { "true" } else { "false" });
        self
    }

    /// Adds an object.
    pub fn object(mut self, key: &str, value: Self) -> Self {
        self.key(key);
        self.text.push_str(&value.finish());
        self
    }

    /// The text, without a line break.
    pub fn finish(self) -> String {
        if self.text.is_empty() {
            "{}".to_owned()
        } else {
            self.text + "}"
        }
    }

    fn key(&mut self, key: &str) {
        self.text.push(if self.text.is_empty() { '{' } else { ',' });
        push_string(&mut self.text, key);
        self.text.push(':');
    }
}

fn push_string(text: &mut String, value: &str) {
    text.push('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            c if c.is_control() => {
                // Writing to a String cannot fail.
                let _ = write!(text, "\\u{:04x}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_flat_and_nested_objects() {
        assert_eq!(Object::default().finish(), "{}");
        let inner = Object::default().number("n", u64::MAX).boolean("b", true);
        let text =
            Object::default().string("s", "x").fraction("f", 0.5).object("o", inner).finish();
        assert_eq!(text, r#"{"s":"x","f":0.5,"o":{"n":18446744073709551615,"b":true}}"#);
    }

    #[test]
    fn survives_quotes_control_characters_and_odd_numbers() {
        let text = Object::default().string("a\"b", "c\\d\n\u{7f}é").finish();
        assert_eq!(text, "{\"a\\\"b\":\"c\\\\d\\u000a\\u007fé\"}");
        let text = Object::default().fraction("f", f64::INFINITY).fraction("g", f64::NAN).finish();
        assert_eq!(text, r#"{"f":null,"g":null}"#);
    }
}
