//! What really happened, and the promises that are checked against it as it happens.

use std::collections::{BTreeMap, VecDeque};

use super::stage::{Promise, Stage};
use crate::channel::Answer;
use crate::session::{Cause, Outbound};
use crate::types::{ConnId, Difficulty, RejectReason};

/// A share that a miner sent. Its nonce is its place in the list of all.
#[derive(Debug)]
pub(super) struct Share {
    pub(super) conn: ConnId,
    pub(super) channel: u32,
    pub(super) sequence: u32,
    /// The life of the pool that the job was of, modulo 32: the bits of the version that no miner
    /// rolls say so.
    pub(super) life: u32,
    /// The tip that the miner worked on.
    pub(super) tip: u32,
    /// How hard its hash is, in levels.
    pub(super) level: u8,
    /// It meets the target that the miner was told when it got the job.
    pub(super) honest: bool,
    /// The link's name of it.
    id: Option<u64>,
    /// The pool decided once; and in which life.
    judged: Option<u32>,
    /// What was credited for it.
    credit: Option<Difficulty>,
    /// The life in which that was, in full: it lasts until the pool forgets the session.
    credited_in: u32,
    answer: Option<Result<(), RejectReason>>,
}

/// What a connection is owed on one channel.
#[derive(Debug, Default)]
struct Owed {
    waiting: VecDeque<u32>,
    credit: Difficulty,
    told: u64,
}

/// The books of the play.
#[derive(Debug, Default)]
pub(super) struct Truth {
    shares: Vec<Share>,
    by_id: BTreeMap<u64, u32>,
    owed: BTreeMap<(ConnId, u32), Owed>,
    /// The newest verdict given to the sidecar was for this submit.
    last_id: u64,
}

impl Truth {
    /// A miner makes a share; its nonce.
    pub(super) fn mined(
        &mut self,
        (conn, channel, sequence): (ConnId, u32, u32),
        (life, tip): (u32, u32),
        (level, honest): (u8, bool),
    ) -> u32 {
        let nonce = self.shares.len() as u32;
        self.shares.push(Share {
            conn,
            channel,
            sequence,
            life,
            tip,
            level,
            honest,
            id: None,
            judged: None,
            credit: None,
            credited_in: 0,
            answer: None,
        });
        nonce
    }

    pub(super) fn share(&self, nonce: u32) -> Option<&Share> {
        self.shares.get(nonce as usize)
    }

    /// The sidecar took a share from its socket: an answer is owed from now on.
    pub(super) fn taken(&mut self, nonce: u32) {
        let Some(share) = self.shares.get(nonce as usize) else { return };
        self.owed.entry((share.conn, share.channel)).or_default().waiting.push_back(nonce);
    }

    /// How many answers a connection is owed.
    pub(super) fn owed_to(&self, conn: ConnId) -> usize {
        let of_it = self.owed.range((conn, 0)..=(conn, u32::MAX));
        of_it.map(|(_, owed)| owed.waiting.len()).sum()
    }

    /// The sidecar sends something to a miner.
    pub(super) fn sent(&mut self, stage: &mut Stage, conn: ConnId, message: &Outbound, life: u32) {
        match message {
            Outbound::Answer { channel_id, answer } => {
                self.answered(stage, (conn, *channel_id), *answer, life);
            }
            Outbound::Close { channel_id, .. } => {
                let owed = self.owed.get(&(conn, *channel_id));
                let waiting = owed.map_or(0, |owed| owed.waiting.len());
                if waiting > 0 {
                    let text = format!("{conn:?} {channel_id} closed with {waiting} unanswered");
                    stage.breaks(Promise::OneAnswer, text);
                }
            }
            _ => {}
        }
    }

    fn answered(&mut self, stage: &mut Stage, on: (ConnId, u32), answer: Answer, life: u32) {
        match answer {
            Answer::Error { sequence, reason } => {
                let Some(nonce) = self.oldest(stage, on) else { return };
                let share = &mut self.shares[nonce as usize];
                if share.sequence != sequence {
                    let text = format!("{on:?}: Error for {sequence}, {} is due", share.sequence);
                    return stage.breaks(Promise::OneAnswer, text);
                }
                share.answer = Some(Err(reason));
                let honest = share.honest && share.judged.is_some();
                if reason == RejectReason::LowDifficulty && honest {
                    stage.breaks(Promise::ToldTarget, format!("share {nonce} of {on:?}"));
                }
                if reason == RejectReason::Stale && share.life != life % 32 {
                    stage.counts.stale_across += 1;
                }
                if matches!(reason, RejectReason::NtimeTooOld | RejectReason::NtimeTooNew) {
                    stage.counts.ntime_refused += 1;
                }
            }
            Answer::Success { last_sequence, count, sum } => {
                let mut last = None;
                for _ in 0..count {
                    let Some(nonce) = self.oldest(stage, on) else { return };
                    last = Some(self.shares[nonce as usize].sequence);
                    self.succeeded(stage, on, nonce);
                }
                if last != Some(last_sequence) {
                    let text = format!("{on:?}: Success up to {last_sequence}, is {last:?}");
                    return stage.breaks(Promise::OneAnswer, text);
                }
                let owed = self.owed.entry(on).or_default();
                owed.told += sum;
                if owed.told != owed.credit.whole {
                    let text = format!("{on:?}: told {}, credited {:?}", owed.told, owed.credit);
                    stage.breaks(Promise::NoSuccessWithoutVerdict, text);
                }
            }
        }
    }

    fn oldest(&mut self, stage: &mut Stage, on: (ConnId, u32)) -> Option<u32> {
        let nonce = self.owed.get_mut(&on).and_then(|owed| owed.waiting.pop_front());
        if nonce.is_none() {
            stage.breaks(Promise::OneAnswer, format!("{on:?}: an answer too many"));
        }
        nonce
    }

    fn succeeded(&mut self, stage: &mut Stage, on: (ConnId, u32), nonce: u32) {
        stage.counts.successes += 1;
        let share = &mut self.shares[nonce as usize];
        share.answer = Some(Ok(()));
        match share.credit {
            Some(credit) => {
                let owed = self.owed.entry(on).or_default();
                owed.credit = owed.credit.saturating_add(credit);
            }
            None => stage.breaks(
                Promise::NoSuccessWithoutVerdict,
                format!("share {nonce} of {on:?} is told accepted, and is not"),
            ),
        }
    }

    /// The miner closed a channel: nothing is owed on it any more.
    pub(super) fn closed_by_miner(&mut self, conn: ConnId, channel: u32) {
        self.owed.remove(&(conn, channel));
    }

    /// A connection ends, its last messages sent.
    pub(super) fn ended(&mut self, stage: &mut Stage, conn: ConnId, cause: &Cause) {
        let owed = self.owed_to(conn);
        // Nobody is there to hear an answer, or nobody heard what it is.
        let excused = matches!(cause, Cause::PeerClosed | Cause::MailboxFull);
        if !excused && owed > 0 {
            let text = format!("{conn:?} ends ({cause}) with {owed} unanswered");
            stage.breaks(Promise::OneAnswer, text);
        }
        let of_it: Vec<_> =
            self.owed.range((conn, 0)..=(conn, u32::MAX)).map(|(on, _)| *on).collect();
        for on in of_it {
            self.owed.remove(&on);
        }
    }

    /// A submit arrives at the pool. False: it is not one that the pool may look at.
    pub(super) fn arrived(&mut self, stage: &mut Stage, id: u64, nonce: u32, life: u32) -> bool {
        let Some(share) = self.shares.get_mut(nonce as usize) else {
            stage.breaks(Promise::Contract, format!("submit {id}: no miner made it"));
            return false;
        };
        if share.life != life % 32 {
            let text = format!("submit {id}: share {nonce} is of life {}, not {life}", share.life);
            stage.breaks(Promise::NothingAcrossLives, text);
            return false;
        }
        if *self.by_id.entry(id).or_insert(nonce) != nonce {
            stage.breaks(Promise::Contract, format!("submit {id} names two shares"));
            return false;
        }
        if share.id.is_some_and(|known| known != id) {
            let text = format!("share {nonce} is submit {:?} and submit {id}", share.id);
            stage.breaks(Promise::NoSecondCredit, text);
            return false;
        }
        share.id = Some(id);
        true
    }

    /// The host looks at a share.
    pub(super) fn judged(&mut self, stage: &mut Stage, nonce: u32, life: u32) {
        let Some(share) = self.shares.get_mut(nonce as usize) else { return };
        if share.judged.replace(life).is_some() {
            stage.breaks(Promise::NoSecondCredit, format!("share {nonce} is judged twice"));
        }
    }

    /// The host credits a share for a job on `tip`, while its own tip is `newest`.
    pub(super) fn accepted(&mut self, stage: &mut Stage, nonce: u32, (tip, newest): (u32, u32)) {
        let Some(share) = self.shares.get(nonce as usize) else { return };
        if share.tip != tip || tip != newest {
            let text = format!("share {nonce} is for {}, job {tip}, tip {newest}", share.tip);
            stage.breaks(Promise::RightTip, text);
        }
    }

    /// The pool books a share's credit, with the verdict.
    pub(super) fn credited(&mut self, stage: &mut Stage, id: u64, credit: Difficulty, life: u32) {
        let Some(share) = self.by_id(id) else { return };
        let twice = share.credit.replace(credit).is_some();
        share.credited_in = life;
        if twice {
            stage.breaks(Promise::NoSecondCredit, format!("submit {id} is credited twice"));
        }
    }

    /// The pool takes a credit back.
    pub(super) fn uncredited(&mut self, stage: &mut Stage, id: u64) {
        let Some(share) = self.by_id(id) else { return };
        share.credit = None;
        if share.answer == Some(Ok(())) {
            let text = format!("submit {id} is told accepted, and withdrawn");
            stage.breaks(Promise::NoSuccessWithoutVerdict, text);
        }
    }

    fn by_id(&mut self, id: u64) -> Option<&mut Share> {
        let nonce = *self.by_id.get(&id)?;
        self.shares.get_mut(nonce as usize)
    }

    /// Whether verdicts come in another order than submits.
    pub(super) fn verdict_sent(&mut self, stage: &mut Stage, id: u64) {
        stage.counts.verdicts_out_of_order += u64::from(id < self.last_id);
        self.last_id = id;
    }

    /// The last look: what a pool that is still in the life `life` has credited, its miners were
    /// not told to be unavailable.
    pub(super) fn settle(&self, stage: &mut Stage, life: u32) {
        let unavailable = Some(Err(RejectReason::BackendUnavailable));
        for (nonce, share) in self.shares.iter().enumerate() {
            let credited = share.credit.is_some() && share.credited_in == life;
            if credited && share.answer == unavailable {
                let text = format!("share {nonce}, submit {:?}, is credited", share.id);
                stage.breaks(Promise::Withdrawn, text);
            }
        }
        for ((conn, channel), owed) in &self.owed {
            if let Some(nonce) = owed.waiting.front() {
                let text = format!("{conn:?} {channel}: share {nonce} is never answered");
                stage.breaks(Promise::Converges, text);
            }
        }
    }
}
