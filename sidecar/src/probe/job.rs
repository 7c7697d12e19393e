//! The first job one could work on, as a state machine without I/O.

use std::collections::VecDeque;

use binary_sv2::U256Owned;
use mining_sv2::SetNewPrevHashOwned;
use parsers_sv2::MiningOwned;

use crate::obs::printable;
use crate::types::Kind;

/// Jobs that are remembered until a SetNewPrevHash names one; the oldest goes.
const MAX_JOBS: usize = 64;

/// A job as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) id: u32,
    pub(super) version: u32,
    /// Unix seconds; `None` for a future job.
    pub(super) min_ntime: Option<u32>,
    /// Of an extended job only.
    pub(super) coinbase: Option<Coinbase>,
}

/// What an extended job gives to make a merkle root of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Coinbase {
    /// Bytes before the extranonce prefix.
    pub(super) prefix: usize,
    /// Bytes after the extranonce.
    pub(super) suffix: usize,
    /// Hashes of the merkle path.
    pub(super) path: usize,
    /// Whether the version may be rolled.
    pub(super) rolling: bool,
}

/// A block to build on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tip {
    /// Internal order.
    pub(super) prev_hash: [u8; 32],
    pub(super) nbits: u32,
}

/// Everything that is needed to hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Work {
    pub(super) job: Job,
    pub(super) tip: Tip,
    /// Unix seconds.
    pub(super) min_ntime: u32,
}

/// What a message meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    Nothing,
    Work(Work),
    /// The channel is closed, with the server's reason (printable).
    Closed(String),
}

/// What came on one channel so far.
#[derive(Debug)]
pub(super) struct Jobs {
    kind: Kind,
    channel: u32,
    group: u32,
    jobs: VecDeque<Job>,
    tip: Option<Tip>,
    /// The id that the last SetNewPrevHash named in vain.
    named: Option<u32>,
    /// Jobs of the kind that this channel can't use.
    unfit: u32,
}

impl Jobs {
    pub(super) fn new(kind: Kind, channel: u32, group: u32) -> Self {
        Self { kind, channel, group, jobs: VecDeque::new(), tip: None, named: None, unfit: 0 }
    }

    pub(super) fn channel(&self) -> u32 {
        self.channel
    }

    /// Takes a message; those to other channels mean nothing.
    pub(super) fn on(&mut self, message: &MiningOwned) -> Meaning {
        match message {
            MiningOwned::NewMiningJob(m) if self.concerns(m.channel_id) => {
                if self.kind != Kind::Standard {
                    self.unfit += 1;
                    return Meaning::Nothing;
                }
                let min_ntime = m.min_ntime.clone().into_inner();
                self.job(Job { id: m.job_id, version: m.version, min_ntime, coinbase: None })
            }
            MiningOwned::NewExtendedMiningJob(m) if self.concerns(m.channel_id) => {
                if self.kind != Kind::Extended {
                    self.unfit += 1;
                    return Meaning::Nothing;
                }
                let coinbase = Some(Coinbase {
                    prefix: m.coinbase_tx_prefix.len(),
                    suffix: m.coinbase_tx_suffix.len(),
                    path: m.merkle_path.iter().map(U256Owned::to_array).count(),
                    rolling: m.version_rolling_allowed,
                });
                let min_ntime = m.min_ntime.clone().into_inner();
                self.job(Job { id: m.job_id, version: m.version, min_ntime, coinbase })
            }
            MiningOwned::SetNewPrevHash(m) if self.concerns(m.channel_id) => self.prev_hash(m),
            MiningOwned::SetGroupChannel(m) => {
                if m.channel_ids.iter().any(|id| *id == self.channel) {
                    self.group = m.group_channel_id;
                }
                Meaning::Nothing
            }
            MiningOwned::CloseChannel(m) if self.concerns(m.channel_id) => {
                Meaning::Closed(printable(m.reason_code.as_bytes()))
            }
            _ => Meaning::Nothing,
        }
    }

    /// What there is, when it is no work.
    pub(super) fn missing(&self) -> String {
        let unfit = match (self.unfit, self.kind) {
            (0, _) => return self.missing_of_fit(),
            (n, Kind::Standard) => format!("{n} jobs for extended channels came"),
            (n, Kind::Extended) => format!("{n} jobs for standard channels came"),
        };
        format!("{unfit}, which this channel can't use; {}", self.missing_of_fit())
    }

    fn missing_of_fit(&self) -> String {
        match (self.jobs.back(), self.named, self.tip) {
            (None, None, _) => "no job and no SetNewPrevHash came".to_owned(),
            (None, Some(id), _) => format!("SetNewPrevHash names job {id}, which never came"),
            (Some(job), Some(id), _) if job.min_ntime.is_none() => format!(
                "future job {} came, but SetNewPrevHash names job {id}, which never came",
                job.id
            ),
            (Some(job), _, None) if job.min_ntime.is_some() => format!(
                "job {} is to be worked on at once, but no SetNewPrevHash said on which block",
                job.id
            ),
            (Some(job), _, _) => {
                format!("future job {} came, but no SetNewPrevHash that starts it", job.id)
            }
        }
    }

    fn concerns(&self, channel: u32) -> bool {
        channel == self.channel || channel == self.group
    }

    fn job(&mut self, job: Job) -> Meaning {
        if let (Some(min_ntime), Some(tip)) = (job.min_ntime, self.tip) {
            return Meaning::Work(Work { job, tip, min_ntime });
        }
        self.jobs.retain(|other| other.id != job.id);
        self.jobs.push_back(job);
        if self.jobs.len() > MAX_JOBS {
            self.jobs.pop_front();
        }
        Meaning::Nothing
    }

    fn prev_hash(&mut self, m: &SetNewPrevHashOwned) -> Meaning {
        let tip = Tip { prev_hash: m.prev_hash.to_array(), nbits: m.nbits };
        self.tip = Some(tip);
        match self.jobs.iter().position(|job| job.id == m.job_id) {
            Some(at) => {
                let job = self.jobs.remove(at);
                // What else was in the air belongs to a tip that did not come.
                self.jobs.clear();
                let work = job.map(|job| Work { job, tip, min_ntime: m.min_ntime });
                work.map_or(Meaning::Nothing, Meaning::Work)
            }
            None => {
                self.named = Some(m.job_id);
                Meaning::Nothing
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use binary_sv2::{Str0255Owned, Sv2OptionOwned};
    use mining_sv2::{CloseChannelOwned, NewMiningJobOwned};

    use super::*;

    const NTIME: u32 = 1_790_000_000;

    fn job(channel_id: u32, job_id: u32, min_ntime: Option<u32>) -> MiningOwned {
        MiningOwned::NewMiningJob(NewMiningJobOwned {
            channel_id,
            job_id,
            min_ntime: Sv2OptionOwned::new(min_ntime),
            version: 0x2000_0000,
            merkle_root: [3; 32].into(),
        })
    }

    fn tip(channel_id: u32, job_id: u32, prev: u8) -> MiningOwned {
        MiningOwned::SetNewPrevHash(SetNewPrevHashOwned {
            channel_id,
            job_id,
            prev_hash: [prev; 32].into(),
            min_ntime: NTIME,
            nbits: 0x207f_ffff,
        })
    }

    fn standard() -> Jobs {
        Jobs::new(Kind::Standard, 2, 7)
    }

    fn work_id(meaning: Meaning) -> Option<u32> {
        match meaning {
            Meaning::Work(work) => Some(work.job.id),
            _ => None,
        }
    }

    #[test]
    fn finds_work_in_a_future_job_and_its_tip_and_in_an_active_job() {
        let mut jobs = standard();
        assert_eq!(jobs.on(&job(2, 1, None)), Meaning::Nothing);
        assert_eq!(jobs.on(&job(2, 2, None)), Meaning::Nothing);
        let Meaning::Work(work) = jobs.on(&tip(7, 1, 9)) else { panic!("no work") };
        assert_eq!((work.job.id, work.min_ntime), (1, NTIME));
        assert_eq!(work.tip, Tip { prev_hash: [9; 32], nbits: 0x207f_ffff });
        assert_eq!(work_id(jobs.on(&tip(2, 2, 9))), None, "job 2 went with its tip");
        assert_eq!(work_id(jobs.on(&job(2, 3, Some(NTIME)))), Some(3));
    }

    #[test]
    fn ignores_what_is_for_other_channels() {
        let mut jobs = standard();
        jobs.on(&job(3, 1, None));
        assert_eq!(jobs.on(&tip(3, 1, 9)), Meaning::Nothing);
        assert_eq!(jobs.missing(), "no job and no SetNewPrevHash came");
    }

    #[test]
    fn says_what_is_missing() {
        let missing = |messages: &[MiningOwned]| {
            let mut jobs = standard();
            for message in messages {
                assert_eq!(jobs.on(message), Meaning::Nothing, "{message}");
            }
            jobs.missing()
        };
        assert!(missing(&[job(2, 4, None)]).starts_with("future job 4 came, but no SetNewPrev"));
        assert!(missing(&[tip(2, 5, 1)]).contains("names job 5, which never came"));
        let other = missing(&[job(2, 4, None), tip(2, 5, 1)]);
        assert!(other.contains("future job 4") && other.contains("names job 5"), "{other}");
        let early = missing(&[job(2, 6, Some(NTIME))]);
        assert!(early.contains("job 6 is to be worked on at once"), "{early}");
        let mut extended = Jobs::new(Kind::Extended, 2, 7);
        extended.on(&job(2, 1, None));
        assert!(extended.missing().starts_with("1 jobs for standard channels came"));
    }

    #[test]
    fn remembers_a_bounded_number_of_jobs() {
        let mut jobs = standard();
        for id in 0..100 {
            jobs.on(&job(2, id, None));
        }
        assert_eq!(jobs.jobs.len(), MAX_JOBS);
        assert_eq!(work_id(jobs.on(&tip(2, 99, 1))), Some(99));
    }

    #[test]
    fn hears_that_the_channel_is_closed() {
        let reason_code = Str0255Owned::try_from(b"banned\n".to_vec()).unwrap();
        let close = MiningOwned::CloseChannel(CloseChannelOwned { channel_id: 2, reason_code });
        assert_eq!(standard().on(&close), Meaning::Closed("banned\\x0a".to_owned()));
    }
}
