//! Memory that the connections of a thread use by turns: most of them wait most of the time, and
//! one that waits holds none of it.

use std::cell::Cell;

use super::Effects;

/// What is kept for reading into. At most: who needed more gives that back to the system.
const READ: usize = 16 * 1024;
/// What is kept for messages on their way out, at most.
const WRITTEN_MAX: usize = 64 * 1024;
/// Effects of each kind for which room is kept, at most.
const EFFECTS_MAX: usize = 1_024;

thread_local! {
    static EFFECTS: Cell<Effects> = Cell::default();
    static INCOMING: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static OUTGOING: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Room for what a step brings about; empty.
pub(super) fn effects() -> Effects {
    EFFECTS.take()
}

/// Takes it back.
pub(super) fn put_effects(mut fx: Effects) {
    if fx.clear() <= EFFECTS_MAX {
        EFFECTS.set(fx);
    }
}

/// Memory to read into; empty.
pub(super) fn incoming() -> Vec<u8> {
    let mut memory = INCOMING.take();
    memory.reserve_exact(READ);
    memory
}

/// Takes it back.
pub(super) fn put_incoming(mut memory: Vec<u8>) {
    memory.clear();
    if memory.capacity() == READ {
        INCOMING.set(memory);
    }
}

/// Memory to write messages into; empty.
pub(super) fn outgoing() -> Vec<u8> {
    OUTGOING.take()
}

/// Takes it back.
pub(super) fn put_outgoing(mut memory: Vec<u8>) {
    memory.clear();
    if memory.capacity() <= WRITTEN_MAX {
        OUTGOING.set(memory);
    }
}
