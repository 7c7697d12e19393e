//! Target 6: one channel against a naive model of its jobs, targets and answers.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use gopool_sv2::channel::{Answer, Channel, Outcome, Taken, Token};
use gopool_sv2::job::{Fields, MAX_PAST, MAX_STALE};
use gopool_sv2::types::{
    ChannelKey, ConnId, Difficulty, Grant, Hash, Job, Kind, OpenRequest, RejectReason, Short,
    StaleRule, Target, TargetLimits, VERSION_ROLLING_MASK,
};
use sha2::{Digest as _, Sha256};

use super::input::Input;

const NOW: u32 = 1_790_000_000;
const PREFIX: [u8; 3] = [7, 8, 9];

fn sha256d(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(Sha256::digest(bytes)).into()
}

/// Everything that was ever given.
struct Naive {
    jobs: Vec<Given>,
    /// How often the tip changed.
    epoch: usize,
    /// How often the pool was restarted; jobs of before are void.
    life: usize,
    /// Void jobs that are known still, oldest first.
    void: Vec<u32>,
    size: usize,
}

struct Given {
    id: u32,
    job: Arc<Job>,
    epoch: usize,
    life: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Age {
    Present,
    Stale,
    Void,
}

impl Naive {
    fn add(&mut self, id: u32, job: Arc<Job>) -> bool {
        let last = self.jobs.last().filter(|last| last.life == self.life);
        let new_tip = last.is_none_or(|last| last.job.prev_hash != job.prev_hash);
        match last {
            None => drop(self.void.drain(..self.void.len().saturating_sub(MAX_STALE))),
            Some(_) if new_tip => self.void.clear(),
            Some(_) => {}
        }
        self.epoch += usize::from(new_tip);
        self.jobs.push(Given { id, job, epoch: self.epoch, life: self.life });
        new_tip
    }

    fn restart(&mut self) {
        let ids = self.jobs.iter().map(|given| given.id);
        self.void = ids.filter(|id| self.find(*id).is_some()).collect();
        self.life += 1;
    }

    /// The job; `None`: never given, or forgotten.
    fn find(&self, id: u32) -> Option<(&Job, Age)> {
        let given = self.jobs.iter().find(|given| given.id == id)?;
        let alike = |other: &&Given| other.epoch == given.epoch && other.life == given.life;
        let younger = self.jobs.iter().filter(alike).filter(|other| other.id > id).count();
        let (known, age) = if given.life != self.life {
            (self.void.contains(&id), Age::Void)
        } else if given.epoch != self.epoch {
            (given.epoch + 1 == self.epoch && younger < MAX_STALE, Age::Stale)
        } else {
            (younger <= MAX_PAST, Age::Present)
        };
        known.then_some((&*given.job, age))
    }

    fn is_block(&self, job: &Job, share: &Fields<'_>) -> bool {
        let coinbase = [&job.coinbase_prefix, &PREFIX[..], share.extranonce, &job.coinbase_suffix];
        let mut root = sha256d(&coinbase.concat());
        for node in &job.merkle_path {
            root = sha256d(&[root, node.0].concat());
        }
        let mut header = share.version.to_le_bytes().to_vec();
        header.extend(job.prev_hash.0);
        header.extend(root);
        for word in [share.ntime, job.nbits, share.nonce] {
            header.extend(word.to_le_bytes());
        }
        // The two nbits used here: 0x7fffff at the top, or a hash with four zeros at the top.
        let hash = sha256d(&header);
        match job.nbits {
            0x207f_ffff => hash[31] < 0x7f || hash[31] == 0x7f && hash[29..31] != [0xff, 0xff],
            _ => hash[28..] == [0; 4],
        }
    }

    /// What becomes of a share: forwarded, perhaps with a reason to refuse it, or refused.
    fn check(
        &self,
        share: &Fields<'_>,
        fault: Option<RejectReason>,
        now: u32,
    ) -> Result<(u64, Option<RejectReason>), Outcome> {
        use RejectReason as R;
        let (job, age) = self.find(share.job_id).ok_or(Outcome::Rejected(R::InvalidJobId))?;
        if share.extranonce.len() != self.size {
            return Err(Outcome::Rejected(R::BadExtranonceSize));
        }
        let newest = job.max_ntime.map_or(u64::from(now) + 7140, u64::from);
        let reason = if job.version_mask == 0 && share.version != job.version {
            Some(R::VersionRollingNotAllowed)
        } else if (share.version ^ job.version) & !job.version_mask != 0 {
            Some(R::InvalidVersionBit)
        } else if share.ntime < job.min_ntime {
            Some(R::NtimeTooOld)
        } else if u64::from(share.ntime) > newest {
            Some(R::NtimeTooNew)
        } else if age == Age::Void || age == Age::Stale && job.stale_rule == StaleRule::Strict {
            Some(R::Stale)
        } else {
            fault
        };
        match reason {
            None => Ok((job.id, None)),
            Some(reason) => {
                let in_time = u64::from(share.ntime) <= u64::from(now) + 7200;
                let block = in_time && self.is_block(job, share);
                match (block, age) {
                    // The pool could not make the block of it.
                    (true, Age::Void) => Err(Outcome::Unjudged(R::Stale)),
                    (true, _) => Ok((job.id, Some(reason))),
                    (false, _) => Err(Outcome::Rejected(reason)),
                }
            }
        }
    }
}

fn job(input: &mut Input<'_>, seq: u64) -> Arc<Job> {
    Arc::new(Job {
        id: 1000 + seq,
        seq,
        prev_hash: Hash([input.pick(&[1, 1, 1, 2]); 32]),
        nbits: input.pick(&[0x207f_ffff, 0x1d00_ffff]),
        version: 0x2000_0000,
        version_mask: input.pick(&[VERSION_ROLLING_MASK, VERSION_ROLLING_MASK, 0]),
        min_ntime: NOW,
        max_ntime: input.bool().then_some(NOW + 100),
        merkle_path: vec![Hash([3; 32]); input.below(3)],
        coinbase_prefix: Bytes::copy_from_slice(&seq.to_le_bytes()),
        coinbase_suffix: Bytes::from_static(&[2]),
        stale_rule: if input.bool() { StaleRule::Strict } else { StaleRule::Host },
        height: 0,
    })
}

fn target(input: &mut Input<'_>) -> Target {
    let mut bytes = [0; 32];
    bytes[usize::from(input.u8() % 32)] = input.u8();
    bytes[0] |= 1;
    Target(bytes)
}

/// The answers that are due: a run of accepted submits is one Success.
fn due(queue: &mut VecDeque<(u32, Option<Outcome>)>) -> Vec<(u32, Outcome)> {
    let mut due = Vec::new();
    while let Some((sequence, Some(outcome))) = queue.front().copied() {
        queue.pop_front();
        due.push((sequence, outcome));
    }
    due
}

/// Compares what a channel answers with what is due; Success sums must be exact over time.
fn compare(channel: &mut Channel, due: &[(u32, Outcome)], sums: &mut (Difficulty, u64)) {
    let mut due = due.iter();
    let mut settled = Vec::new();
    let mut answers = Vec::new();
    channel.drain_answers(|answer| answers.push(answer), |s| settled.push((s.sequence, s.outcome)));
    assert!(settled.iter().eq(due.clone()), "{settled:?} instead of {due:?}");
    for answer in answers {
        match answer {
            Answer::Error { sequence, reason } => {
                // The miner is not told who refused it.
                let due = due.next().copied();
                let refused = [Outcome::Rejected(reason), Outcome::Unjudged(reason)];
                assert!(refused.map(|outcome| Some((sequence, outcome))).contains(&due), "{due:?}");
            }
            Answer::Success { last_sequence, count, sum } => {
                let run: Vec<_> = due.by_ref().take(count as usize).collect();
                assert!(count > 0 && run.len() == count as usize);
                assert_eq!(run.last().map(|last| last.0), Some(last_sequence));
                for (_, outcome) in run {
                    let Outcome::Accepted(credit) = outcome else { panic!("{outcome:?}") };
                    sums.0 = sums.0.saturating_add(*credit);
                }
                sums.1 += sum;
                assert_eq!(sums.1, sums.0.whole, "the credit told");
            }
        }
    }
    assert_eq!(due.next(), None, "an answer is held back");
}

/// Jobs, shares, verdicts, targets and updates in any order.
pub fn ops_model(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = if input.bool() { Kind::Extended } else { Kind::Standard };
    let size = if kind == Kind::Extended { input.below(30) } else { 0 };
    let (mut wanted, mut most) = (target(&mut input), target(&mut input));
    let mut limits = TargetLimits { easiest: target(&mut input), hardest: Target::ZERO };
    let request = OpenRequest {
        kind,
        user_identity: Bytes::new(),
        payout_key: None,
        quote: None,
        nominal_hash_rate: 0.0,
        max_target: most,
        min_extranonce_size: 0,
    };
    let extranonce_size = u8::try_from(size).expect("below 30");
    let grant = Grant { prefix: Bytes::from_static(&PREFIX), extranonce_size, target: wanted };
    let key = ChannelKey::new(ConnId(1), 1).expect("a key");
    let mut channel = Channel::new((key, 0), (1, 2), &request, grant, limits);
    let mut naive = Naive { jobs: Vec::new(), epoch: 0, life: 0, void: Vec::new(), size };
    let mut queue: VecDeque<(u32, Option<Outcome>)> = VecDeque::new();
    let mut waiting: Vec<(Token, usize)> = Vec::new();
    let mut updates: Vec<(u32, Target)> = Vec::new();
    let (mut sums, mut sequence, mut taken) = ((Difficulty::default(), 0), 0, 0_usize);
    let (mut told, mut now) = (channel.target(), NOW);
    while !input.is_empty() {
        match input.below(8) {
            0 | 1 => {
                let id = u32::try_from(naive.jobs.len() + 1).expect("few");
                let work = job(&mut input, id.into());
                let new_tip = naive.add(id, Arc::clone(&work));
                let announcement = channel.add_job(id, work);
                assert_eq!(announcement.job_id, id);
                assert_eq!(announcement.new_tip.is_some(), new_tip);
                assert_eq!(announcement.min_ntime, (!new_tip).then_some(NOW));
                assert_eq!(channel.newest_job().map(|newest| newest.seq), Some(id.into()));
            }
            2 | 3 => {
                sequence += 1;
                let newest = u32::try_from(naive.jobs.len()).expect("few");
                let len = if input.u8() == 1 { input.below(33) } else { size };
                let extranonce = vec![input.u8(); len];
                let share = Fields {
                    job_id: newest.saturating_sub(u32::from(input.u8() % 32)),
                    nonce: input.u8().into(),
                    ntime: NOW + input.pick(&[0, 0, 100, 101, 7140, 7200, 7201])
                        - input.pick(&[0, 0, 1]),
                    version: 0x2000_0000 ^ input.pick(&[0, 0, 0x20, 1, 0x4000_0000]),
                    extranonce: &extranonce,
                };
                let fault = (input.u8() == 1).then_some(RejectReason::InvalidShare);
                let worker = fault.map_or(Ok(Short::new(b"w")), Err);
                let want = naive.check(&share, fault, now);
                match (channel.submit(sequence, &share, worker, now), want) {
                    (Taken::Forward(token, submit), Ok((job_id, would_refuse))) => {
                        assert_eq!((submit.job_id, submit.would_refuse), (job_id, would_refuse));
                        let sent =
                            (submit.nonce, submit.ntime, submit.version, &submit.extranonce[..]);
                        let own = (share.nonce, share.ntime, share.version, share.extranonce);
                        assert_eq!(sent, own);
                        assert!(waiting.iter().all(|w| w.0 != token), "a token is used twice");
                        waiting.push((token, taken + queue.len()));
                        queue.push_back((sequence, None));
                    }
                    (Taken::Refused, Err(outcome)) => queue.push_back((sequence, Some(outcome))),
                    (got, want) => panic!("{got:?} instead of {want:?} for {share:?}"),
                }
            }
            4 | 5 if !waiting.is_empty() => {
                let (token, place) = waiting.swap_remove(input.below(waiting.len()));
                let outcome = if input.bool() {
                    let credit = Difficulty { whole: input.u8().into(), fraction: input.u32() };
                    Outcome::Accepted(credit)
                } else {
                    Outcome::Rejected(input.pick(RejectReason::ALL))
                };
                assert!(channel.settle(token, token + 1, outcome));
                assert!(!channel.settle(token, token + 1, outcome), "settled twice");
                queue[place - taken].1 = Some(outcome);
            }
            6 if input.u8() < 10 => {
                let life = channel.generation() + 1;
                wanted = target(&mut input);
                limits.easiest = target(&mut input);
                told = channel.reopened(life, wanted, Some(limits)).unwrap_or(told);
                naive.restart();
                assert_eq!((channel.generation(), channel.newest_job()), (life, None));
            }
            6 if input.u8() == 1 => {
                channel.settle_all(RejectReason::BackendUnavailable);
                waiting.clear();
                for (_, outcome) in &mut queue {
                    outcome.get_or_insert(Outcome::Unjudged(RejectReason::BackendUnavailable));
                }
            }
            6 => {
                let max_target = target(&mut input);
                if let Ok(request) = channel.update(f32::from(input.u8()), max_target) {
                    updates.push((request, max_target));
                }
                if !updates.is_empty() && input.bool() {
                    let (request, max_target) = updates.swap_remove(input.below(updates.len()));
                    let agreed = input.bool();
                    if agreed {
                        most = max_target;
                    }
                    told = channel.updated(request, agreed).unwrap_or(told);
                    assert_eq!(channel.updated(request, true), None, "answered twice");
                }
            }
            _ => {
                wanted = target(&mut input);
                told = channel.want_target(wanted).unwrap_or(told);
                now += u32::from(input.u8());
            }
        }
        let answers = due(&mut queue);
        taken += answers.len();
        compare(&mut channel, &answers, &mut sums);
        assert_eq!(channel.waiting(), queue.len());
        assert_eq!(told, wanted.min(limits.easiest).min(most), "the hardest of three bounds");
        assert_eq!(channel.target(), told);
        assert_eq!(channel.kind(), kind);
    }
}
