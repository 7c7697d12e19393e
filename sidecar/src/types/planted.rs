//! Bugs that tests plant, to see that the simulation catches them. Test builds only.

use std::cell::Cell;

/// A bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// The link takes a verdict and hands it to nobody.
    LostVerdict,
    /// What is sent again on the next stream gets another id.
    DoubleResend,
    /// A share for an older tip is forwarded as one for the newest job.
    WrongTip,
}

thread_local! {
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// Whether this thread's code has the bug.
pub(crate) fn has(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

/// Plants a bug into this thread's code, or none.
pub(crate) fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}
