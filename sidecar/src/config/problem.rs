//! What is wrong with a configuration file, and where.

use std::fmt;
use std::path::{Path, PathBuf};

/// One problem of a configuration file. Printed as `file:line:column: key: text`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, as the operator named it.
    pub file: PathBuf,
    /// Line, counted from 1; 0 when the problem is the file itself.
    pub line: usize,
    /// Column in characters, counted from 1; 0 when the problem is the file itself.
    pub column: usize,
    /// `section.key`, or empty when the problem belongs to none (invalid TOML).
    pub key: String,
    /// What is wrong and what to do about it, on one line.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if self.line != 0 {
            write!(f, "{}:{}:", self.line, self.column)?;
        }
        if !self.key.is_empty() {
            write!(f, " {}:", self.key)?;
        }
        write!(f, " {}", self.text)
    }
}

/// All problems of a configuration file, in the order of the file; at least one. Printed one per
/// line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Most problems that are reported at once; what follows is only counted.
    pub const MAX: usize = 100;

    /// The problems, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    /// A problem of the file as a whole.
    pub(super) fn of_file(file: &Path, text: String) -> Self {
        let file = file.to_owned();
        Self(vec![Problem { file, line: 0, column: 0, key: String::new(), text }])
    }

    /// Sorts and bounds what was found; `Ok` when nothing was.
    pub(super) fn check(mut found: Vec<Problem>) -> Result<(), Self> {
        found.sort_by_key(|problem| (problem.line, problem.column));
        if found.len() > Self::MAX {
            let more = found.len() - Self::MAX;
            found.truncate(Self::MAX);
            if let Some(last) = found.last().cloned() {
                let text = format!("and at least {more} more problems after this one");
                found.push(Problem { key: String::new(), text, ..last });
            }
        }
        if found.is_empty() {
            return Ok(());
        }
        Err(Self(found))
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}
