//! Lines of the log on their way to the host.

use std::cell::RefCell;
use std::io;

use gopool_sv2::backend::ring::Host;
use tracing::dispatcher::{set_default, DefaultGuard};
use tracing::{Dispatch, Level, Metadata};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;

thread_local! {
    /// The log of this thread's runtime, until the thread ends.
    static GUARD: RefCell<Option<DefaultGuard>> = const { RefCell::new(None) };
}

/// Where a runtime's lines go. The process has loggers of its own: this one is only for the
/// runtime's threads.
pub(crate) fn dispatch(host: Host, filter: &str) -> Dispatch {
    // The configuration was read: a filter that only the program understands shows what is usual.
    let targets =
        filter.parse::<Targets>().unwrap_or_else(|_| Targets::new().with_default(Level::INFO));
    let lines = tracing_subscriber::fmt::layer()
        .without_time()
        .with_level(false)
        .with_target(false)
        .with_ansi(false)
        .with_writer(Lines { host });
    Dispatch::new(tracing_subscriber::registry().with(targets).with(lines))
}

/// Sends this thread's lines there until it ends.
pub(crate) fn adopt(dispatch: &Dispatch) {
    GUARD.with(|guard| *guard.borrow_mut() = Some(set_default(dispatch)));
}

struct Lines {
    host: Host,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { host: self.host.clone(), level: Level::INFO }
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Line {
        Line { host: self.host.clone(), level: *meta.level() }
    }
}

/// One line, written at once.
struct Line {
    host: Host,
    level: Level,
}

impl io::Write for Line {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let line = String::from_utf8_lossy(text);
        self.host.log(self.level, line.trim_end().to_owned());
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
