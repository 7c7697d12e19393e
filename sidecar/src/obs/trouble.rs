//! Trouble that goes on, told when it changes and not at every try.

use std::fmt::Display;

/// The same trouble is logged again after this many tries.
const REPEAT_AFTER: u32 = 60;

/// Says what is wrong with something that is tried again and again.
#[derive(Debug)]
pub struct Trouble {
    what: &'static str,
    last: String,
    times: u32,
}

impl Trouble {
    /// `what`: what it comes to, as lines of the log begin.
    #[must_use]
    pub const fn new(what: &'static str) -> Self {
        Self { what, last: String::new(), times: 0 }
    }

    /// Another try came to nothing.
    pub fn log(&mut self, error: &impl Display) {
        let text = error.to_string();
        self.times += 1;
        if text != self.last || self.times.is_multiple_of(REPEAT_AFTER) {
            tracing::warn!(tries = self.times, "{}: {text}", self.what);
        }
        self.last = text;
    }

    /// It works again.
    pub fn over(&mut self) {
        (self.last, self.times) = (String::new(), 0);
    }
}
