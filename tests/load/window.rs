//! Submits of one channel that wait for their answer, and when they were sent.

use std::collections::VecDeque;
use std::time::Instant;

/// The open submits, in the order they were sent.
#[derive(Debug, Default)]
pub struct Window {
    open: VecDeque<(u32, Instant)>,
    next: u32,
}

/// What an acceptance settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// When the submits it accepts were sent, oldest first.
    pub sent: Vec<Instant>,
    /// The server's count was another than that of the submits open up to its sequence number.
    pub miscounted: bool,
}

impl Window {
    /// Notes a submit that is about to be sent and gives it its sequence number.
    pub fn submit(&mut self, now: Instant) -> u32 {
        let sequence = self.next;
        self.next = self.next.wrapping_add(1);
        self.open.push_back((sequence, now));
        sequence
    }

    /// Takes a SubmitShares.Success: it is cumulative, so every open submit up to `last` is
    /// accepted (SV2 spec 5.3.13). `count`: how many the server says these are.
    pub fn accepted(&mut self, last: u32, count: u32) -> Settled {
        let taken = self.open.iter().take_while(|(sequence, _)| *sequence <= last).count();
        let sent: Vec<_> = self.open.drain(..taken).map(|(_, at)| at).collect();
        let miscounted = sent.len() as u64 != u64::from(count);
        Settled { sent, miscounted }
    }

    /// Takes an answer to one submit: when that was sent, `None` when no such one is open.
    pub fn take(&mut self, sequence: u32) -> Option<Instant> {
        let at = self.open.iter().position(|(open, _)| *open == sequence)?;
        self.open.remove(at).map(|(_, sent)| sent)
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.open.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn with(submits: u64) -> (Window, Vec<Instant>) {
        let (mut window, start) = (Window::default(), Instant::now());
        let times: Vec<_> = (0..submits).map(|i| start + Duration::from_millis(i)).collect();
        for (sequence, at) in times.iter().enumerate() {
            assert_eq!(window.submit(*at), sequence as u32);
        }
        (window, times)
    }

    #[test]
    fn a_success_settles_all_up_to_its_number_and_nothing_later() {
        let (mut window, times) = with(5);
        let settled = window.accepted(2, 3);
        assert_eq!(settled, Settled { sent: times[..3].to_vec(), miscounted: false });
        assert_eq!(window.len(), 2);
        assert_eq!(window.accepted(4, 2).sent, times[3..]);
        assert_eq!(window.len(), 0);
    }

    #[test]
    fn an_error_takes_only_its_own_submit_and_only_once() {
        let (mut window, times) = with(4);
        assert_eq!(window.take(1), Some(times[1]));
        assert_eq!(window.take(1), None);
        assert_eq!(window.take(9), None);
        let settled = window.accepted(3, 3);
        assert_eq!(settled.sent, [times[0], times[2], times[3]]);
        assert!(!settled.miscounted);
    }

    #[test]
    fn rejects_a_count_that_differs_from_what_was_open() {
        let (mut window, _) = with(3);
        assert!(window.accepted(1, 1).miscounted, "one too few");
        assert!(window.accepted(1, 1).miscounted, "the same ones again");
        assert!(window.accepted(2, 2).miscounted, "one too many");
        assert_eq!(window.len(), 0);
    }
}
