//! A second opinion: the channels of the reference implementation are told what the miner under
//! test is told, and judge the same shares.

use bitcoin::Target;
use channels_sv2::extranonce_manager::{AllocatedExtranoncePrefix, ExtranonceAllocator};
use channels_sv2::server::extended::ExtendedChannel;
use channels_sv2::server::jobs::extended::ExtendedJob;
use channels_sv2::server::share_accounting::ShareValidationError as E;
use channels_sv2::server::standard::StandardChannel;
use mining_sv2::{NewExtendedMiningJobOwned, SubmitSharesExtendedOwned, SubmitSharesStandardOwned};
use template_distribution_sv2::{NewTemplateOwned, SetNewPrevHashOwned};

use crate::message::{Body, Job, Message, Tip, U256};
use crate::work::Share;

/// A channel of either kind.
enum Kind {
    Extended(Box<ExtendedChannel>),
    Standard(Box<StandardChannel>),
}

/// The reference's idea of one channel.
pub struct Oracle {
    channel: Kind,
    id: u32,
    prefix: Vec<u8>,
}

/// A prefix of exactly these bytes, which the crate only hands out one by one.
fn prefix_of(bytes: &[u8], size: usize) -> AllocatedExtranoncePrefix {
    let (_, head) = bytes.split_last().unwrap();
    let total = u8::try_from(bytes.len() + size).unwrap();
    let mut allocator =
        ExtranonceAllocator::from_upstream_prefix(head.to_vec(), vec![], total, 256).unwrap();
    let mut others = Vec::new();
    loop {
        let prefix = allocator.allocate_extended(size).unwrap();
        if prefix.as_bytes() == bytes {
            return prefix;
        }
        others.push(prefix);
    }
}

impl Oracle {
    /// `size`: bytes that the miner rolls; `None`: a standard channel, which only jobs that are
    /// told with their coinbase can be given to.
    pub fn new(id: u32, prefix: &[u8], size: Option<u16>, target: &U256) -> Self {
        let user = || "user".to_owned();
        let allocated = prefix_of(prefix, usize::from(size.unwrap_or_default()));
        let (most, target) = (Target::MAX, Target::from_le_bytes(*target));
        let channel = match size {
            Some(size) => {
                let mut channel = ExtendedChannel::new_for_pool(
                    id,
                    user(),
                    allocated,
                    most,
                    1e9,
                    true,
                    size,
                    1,
                    6.0,
                    "p".into(),
                    None,
                )
                .unwrap();
                channel.set_target(target).unwrap();
                Kind::Extended(Box::new(channel))
            }
            None => {
                let mut channel = StandardChannel::new_for_pool(
                    id,
                    user(),
                    allocated,
                    most,
                    1e9,
                    1,
                    6.0,
                    "p".into(),
                    None,
                )
                .unwrap();
                channel.set_target(target).unwrap();
                Kind::Standard(Box::new(channel))
            }
        };
        Self { channel, id, prefix: prefix.to_vec() }
    }

    /// What the miner hears. Messages for others are passed over.
    pub fn hears(&mut self, message: &Message) {
        match message {
            Message::Job(job) if job.channel == self.id => self.job(job),
            Message::Tip(tip) if tip.channel == self.id => self.tip(tip),
            Message::Target { channel, target } if *channel == self.id => {
                let target = Target::from_le_bytes(*target);
                match &mut self.channel {
                    Kind::Extended(channel) => channel.set_target(target).unwrap(),
                    Kind::Standard(channel) => channel.set_target(target).unwrap(),
                }
            }
            _ => {}
        }
    }

    /// The job as if it came of a template that has its id.
    pub fn job(&mut self, job: &Job) {
        let Body::Extended { rolling, path, prefix, suffix } = &job.body else {
            panic!("a job without its coinbase")
        };
        let path: Vec<_> = path.iter().map(|node| (*node).into()).collect();
        let min_ntime = binary_sv2::Sv2OptionOwned::new(job.min_ntime);
        let message = NewExtendedMiningJobOwned {
            channel_id: job.channel,
            job_id: job.id,
            min_ntime,
            version: job.version,
            version_rolling_allowed: *rolling,
            merkle_path: path.clone().try_into().unwrap(),
            coinbase_tx_prefix: prefix.clone().try_into().unwrap(),
            coinbase_tx_suffix: suffix.clone().try_into().unwrap(),
        };
        let template = NewTemplateOwned {
            template_id: job.id.into(),
            future_template: job.min_ntime.is_none(),
            version: job.version,
            coinbase_tx_version: 2,
            coinbase_prefix: vec![].try_into().unwrap(),
            coinbase_tx_input_sequence: u32::MAX,
            coinbase_tx_value_remaining: 0,
            coinbase_tx_outputs_count: 0,
            coinbase_tx_outputs: vec![].try_into().unwrap(),
            coinbase_tx_locktime: 0,
            merkle_path: path.try_into().unwrap(),
        };
        let (prefix, suffix) = (prefix.clone(), suffix.clone());
        let job = ExtendedJob::from_template(
            template,
            self.prefix.clone(),
            vec![],
            prefix,
            suffix,
            message,
        )
        .unwrap();
        match &mut self.channel {
            Kind::Extended(channel) => channel.on_group_channel_job(job).unwrap(),
            Kind::Standard(channel) => channel.on_group_channel_job(job).unwrap(),
        }
    }

    /// The tip that makes a future job the one to work on.
    pub fn tip(&mut self, tip: &Tip) {
        let message = SetNewPrevHashOwned {
            template_id: tip.job.into(),
            prev_hash: tip.prev_hash.into(),
            header_timestamp: tip.min_ntime,
            n_bits: tip.nbits,
            target: crate::work::network_target(tip.nbits).into(),
        };
        match &mut self.channel {
            Kind::Extended(channel) => channel.on_set_new_prev_hash(message).unwrap(),
            Kind::Standard(channel) => channel.on_set_new_prev_hash(message).unwrap(),
        }
    }

    /// The reference's verdict on a share.
    pub fn verdict(&mut self, share: &Share) -> Result<(), &'static str> {
        let Share { channel, sequence, job, nonce, ntime, version, extranonce } = share.clone();
        let result = match &mut self.channel {
            Kind::Extended(oracle) => oracle.validate_share(SubmitSharesExtendedOwned {
                channel_id: channel,
                sequence_number: sequence,
                job_id: job,
                nonce,
                ntime,
                version,
                extranonce: extranonce.unwrap().try_into().unwrap(),
            }),
            Kind::Standard(oracle) => oracle.validate_share(SubmitSharesStandardOwned {
                channel_id: channel,
                sequence_number: sequence,
                job_id: job,
                nonce,
                ntime,
                version,
            }),
        };
        match result {
            Ok(_) => Ok(()),
            Err(
                E::Invalid(code)
                | E::Stale(code)
                | E::InvalidJobId(code)
                | E::DoesNotMeetTarget(code)
                | E::VersionRollingNotAllowed(code)
                | E::DuplicateShare(code)
                | E::BadExtranonceSize(code),
            ) => Err(code),
            Err(error) => panic!("the reference can't judge: {error:?}"),
        }
    }
}

/// Whether two verdicts say the same. The reference has one word for all that is wrong with times,
/// and calls every share of an older tip stale, however old.
pub fn same(ours: &Result<(), String>, theirs: &Result<(), &'static str>) -> bool {
    match (ours, theirs) {
        (Ok(()), Ok(())) => true,
        (Err(ours), Err(theirs)) => {
            let time = ["ntime-too-old", "ntime-too-new"].contains(&ours.as_str());
            ours == theirs
                || time && *theirs == "invalid-share"
                || ours == "invalid-job-id" && *theirs == "stale-share"
        }
        _ => false,
    }
}
