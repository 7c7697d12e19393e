//! Asking for channels, and what becomes of those that the pool does not answer.

use gopool_sv2_proto::v1;
use v1::session_request::Message as ToPool;

use super::{Link, NO_LINK};
use crate::backend::{convert, Parcel};
use crate::types::ChannelKey;

/// What the pool is told of an open that it did not answer in time.
pub(crate) const LATE: &str = "not opened in time";
/// Looks after which newcomers wait no more for a pool that is about to stop.
const PATIENCE: u32 = 2;

impl Link {
    /// Asks for channels, a few at a time: those that miners wish for, and those that the pool has
    /// lost. A pool that is about to stop is asked for none: its next life is.
    pub(crate) fn ask(&mut self, out: &mut Vec<Parcel>) {
        if self.draining {
            return;
        }
        while let Some((key, held)) = self.channels.next_open() {
            out.push(ToPool::OpenChannel(convert::open_to_wire(key, held)).into());
        }
        while let Some((key, held)) = self.channels.next_reopen() {
            out.push(ToPool::OpenChannel(convert::open_to_wire(key, held)).into());
        }
    }

    /// Looks for opens that the pool does not answer: they are closed, there too, so that it may
    /// turn to others, and others are asked for in their place. Called twice in the time that an
    /// answer may take.
    pub(crate) fn look_at_opens(&mut self, out: &mut Vec<Parcel>) {
        let (mut opens, reopens) = self.channels.look();
        let late = opens.len() + reopens.len();
        if late > 0 {
            tracing::warn!(late, "the pool does not answer opens: see its log; is it stuck?");
        }
        self.draining_looks += u32::from(self.draining);
        if self.draining_looks > PATIENCE {
            opens = self.channels.unopened();
        }
        self.give_up_opens(opens, reopens, true, out);
        self.ask(out);
    }

    /// A stream has begun. What others have broken on before they answered is not asked for again:
    /// the pool may break because of it.
    pub(super) fn give_up_breakers(&mut self, out: &mut Vec<Parcel>) {
        let (opens, reopens) = self.channels.broken_on();
        let given_up = opens.len() + reopens.len();
        if given_up > 0 {
            tracing::warn!(given_up, "the stream to the pool broke on these opens: see its log");
        }
        self.give_up_opens(opens, reopens, false, out);
    }

    /// `asked`: the pool has been asked for those to be opened again on this stream.
    fn give_up_opens(
        &mut self,
        opens: Vec<ChannelKey>,
        reopens: Vec<ChannelKey>,
        asked: bool,
        out: &mut Vec<Parcel>,
    ) {
        for channel in opens {
            out.extend(self.close(channel, LATE).map(Parcel::from));
            self.refuse_open(channel, "the pool does not answer");
        }
        for channel in reopens {
            // Unless it went with another of its connection.
            if self.channels.get_mut(channel).is_some() {
                self.unrestored(channel, asked, out);
            }
        }
    }

    /// Nobody gets a channel that the pool has not opened yet.
    pub(super) fn refuse_unopened(&mut self) {
        for channel in self.channels.unopened() {
            self.channels.remove(channel);
            self.refuse_open(channel, NO_LINK);
        }
    }
}
