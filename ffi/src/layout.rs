//! What crosses the boundary, there and back: the ring's values and the fixed layouts.

use gopool_sv2::backend::ring::{self, Event, What};
use gopool_sv2::types::{Difficulty, Verdict};

use crate::boundary::Failure;
use crate::types::*;

/// The verdict of a host; `None`: it makes no sense.
pub(crate) fn judged(verdict: &gsv2_verdict) -> Option<Verdict> {
    let credit = Difficulty { whole: verdict.credit_whole, fraction: verdict.credit_fraction };
    if verdict.accepted > 1 || verdict.block_candidate > 1 {
        return None;
    }
    let (accepted, block) = (verdict.accepted == 1, verdict.block_candidate == 1);
    ring::verdict(accepted, verdict.reason, verdict.share_hash, credit, block)
}

/// What is wrong with one of them.
pub(crate) fn senseless(at: usize, verdict: &gsv2_verdict) -> Failure {
    Failure::argument(format!(
        "verdicts[{at}] on submit {}: accepted and block_candidate are 0 or 1, and reason is 0 \
         when accepted, else a gopool.sv2.v1.RejectReason",
        verdict.submit_id
    ))
}

/// An event as the host reads it.
pub(crate) fn laid_out(event: &Event) -> gsv2_event {
    let blank = gsv2_event {
        kind: 0,
        stream: event.stream,
        id: 0,
        channel_id: 0,
        job_id: 0,
        nonce: 0,
        ntime: 0,
        version: 0,
        detail: 0,
        length: 0,
        extranonce_size: 0,
        worker_size: 0,
        reserved0: [0; 2],
        extranonce: [0; 32],
        worker: [0; 32],
        reserved1: 0,
    };
    let of_record = |kind, record: &ring::Record| gsv2_event {
        kind,
        id: record.id,
        length: u32::try_from(record.length).unwrap_or(u32::MAX),
        ..blank
    };
    match &event.what {
        What::Submit(submit) => gsv2_event {
            kind: GSV2_EVENT_SUBMIT,
            id: submit.id,
            channel_id: submit.channel_id,
            job_id: submit.job_id,
            nonce: submit.nonce,
            ntime: submit.ntime,
            version: submit.version,
            detail: submit.would_refuse,
            extranonce_size: submit.extranonce.size(),
            worker_size: submit.worker.size(),
            extranonce: *submit.extranonce.padded(),
            worker: *submit.worker.padded(),
            ..blank
        },
        What::Message(record) => of_record(GSV2_EVENT_MESSAGE, record),
        What::Publish(record) => of_record(GSV2_EVENT_PUBLISH, record),
        What::StreamEnded => gsv2_event { kind: GSV2_EVENT_STREAM_ENDED, ..blank },
        What::Room => gsv2_event { kind: GSV2_EVENT_ROOM, ..blank },
        What::Log { level, record } => gsv2_event {
            detail: match *level {
                tracing::Level::ERROR => GSV2_LOG_ERROR,
                tracing::Level::WARN => GSV2_LOG_WARN,
                tracing::Level::INFO => GSV2_LOG_INFO,
                tracing::Level::DEBUG => GSV2_LOG_DEBUG,
                tracing::Level::TRACE => GSV2_LOG_TRACE,
            },
            ..of_record(GSV2_EVENT_LOG, record)
        },
        What::Drained => gsv2_event { kind: GSV2_EVENT_DRAINED, ..blank },
        What::Fatal(record) => of_record(GSV2_EVENT_FATAL, record),
    }
}
