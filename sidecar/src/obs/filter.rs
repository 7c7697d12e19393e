//! Which log lines are written, as it can be changed while the program runs.

use std::fmt;
use std::sync::Arc;

use tracing_subscriber::reload::Handle;
use tracing_subscriber::EnvFilter;

use super::{filter, FilterError};

type Change = dyn Fn(Option<EnvFilter>) -> Option<String> + Send + Sync;

/// The log filter of this process. Cheap to clone; any thread.
#[derive(Clone)]
pub struct LogFilter(Arc<Change>);

impl fmt::Debug for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LogFilter").field(&self.get()).finish()
    }
}

impl LogFilter {
    /// That of the logger with this handle.
    pub(super) fn of<S: 'static>(handle: Handle<EnvFilter, S>) -> Self {
        // Sets a filter, if there is one, and gives the text of the one that holds then.
        Self(Arc::new(move |wanted| {
            if let Some(wanted) = wanted {
                handle.reload(wanted).ok()?;
            }
            handle.with_current(ToString::to_string).ok()
        }))
    }

    /// The directives that hold; empty: the logger is gone.
    #[must_use]
    pub fn get(&self) -> String {
        (self.0)(None).unwrap_or_default()
    }

    /// Writes other lines from now on.
    ///
    /// # Errors
    /// The text is empty or not in the language of filter directives; nothing changes.
    pub fn set(&self, directives: &str) -> Result<(), FilterError> {
        let wanted = filter(directives)?;
        (self.0)(Some(wanted));
        Ok(())
    }
}
