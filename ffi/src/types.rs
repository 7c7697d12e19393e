//! What crosses the boundary: fixed layouts and frozen numbers.
#![allow(non_camel_case_types)]

use std::os::raw::c_char;

/// Version of this ABI. Fields and codes are only ever added within a version.
pub const GSV2_ABI_VERSION: u32 = 1;

/// Names one listener. Never 0, and never used again after gsv2_runtime_free: a stale one is
/// answered with GSV2_BAD_HANDLE.
pub type gsv2_runtime = u64;

/// What a call came to: 0, or one of GSV2_*. gsv2_last_error has it in words.
pub type gsv2_result = i32;

/// The call did what it says.
pub const GSV2_OK: gsv2_result = 0;

// 1 to 99: the call was wrong; nothing has happened.
/// A pointer that must not be NULL is, or a length or value makes no sense.
pub const GSV2_INVALID_ARGUMENT: gsv2_result = 1;
/// No such runtime: 0, never made, or freed.
pub const GSV2_BAD_HANDLE: gsv2_result = 2;
/// struct_size is none that this library knows.
pub const GSV2_BAD_STRUCT_SIZE: gsv2_result = 3;
/// The buffer is too short; the length that is needed was stored.
pub const GSV2_BUFFER_TOO_SHORT: gsv2_result = 4;
/// No such record: it was taken before, or its stream is over.
pub const GSV2_NO_RECORD: gsv2_result = 5;
/// The bytes are no gopool.sv2.v1.SessionResponse, or PublishResponse.
pub const GSV2_BAD_MESSAGE: gsv2_result = 6;
/// The runtime was started already, or not yet, or it is draining.
pub const GSV2_WRONG_STATE: gsv2_result = 7;

// 100 to 199: try again, or go on with what comes next.
/// Another thread is in the same call.
pub const GSV2_BUSY: gsv2_result = 100;
/// Too much waits to be read by the listener: try again after a GSV2_EVENT_ROOM.
pub const GSV2_FULL: gsv2_result = 101;
/// That stream is over, or of the other kind: nothing of this is taken for it any more.
pub const GSV2_STREAM_OVER: gsv2_result = 102;

// 200 to 299: the operator has to do something.
/// The configuration can't be used. The text holds every problem, as `gopool-sv2 check-config`
/// prints them.
pub const GSV2_CONFIG: gsv2_result = 200;
/// It can't start: the port is taken, the key can't be read, the system has no more of something.
pub const GSV2_START: gsv2_result = 201;

// 300 and on: the library failed.
/// Something in it panicked. It serves nobody any more: free it.
pub const GSV2_POISONED: gsv2_result = 300;

/// gsv2_event.kind: a share, to be answered with a verdict. All fields but `length` count.
pub const GSV2_EVENT_SUBMIT: u32 = 1;
/// gsv2_event.kind: a gopool.sv2.v1.SessionRequest of `length` bytes, to be taken by `id`. The
/// first of a stream is its Hello, to be answered with a Welcome on that stream.
pub const GSV2_EVENT_MESSAGE: u32 = 2;
/// gsv2_event.kind: the listener has no more to say on this stream. Call gsv2_runtime_hang_up when
/// what came before is answered: it waits a second for that at most. Another stream begins with its
/// Hello, or its PublishStart. A stream of which nothing was polled is not told of.
pub const GSV2_EVENT_STREAM_ENDED: u32 = 3;
/// gsv2_event.kind: what was refused with GSV2_FULL has room now.
pub const GSV2_EVENT_ROOM: u32 = 4;
/// gsv2_event.kind: a line of the log, `length` bytes of UTF-8 text, to be taken by `id`; `detail`
/// is its level, one of GSV2_LOG_*.
pub const GSV2_EVENT_LOG: u32 = 5;
/// gsv2_event.kind: the listener has stopped as gsv2_runtime_drain wanted. The last event.
pub const GSV2_EVENT_DRAINED: u32 = 6;
/// gsv2_event.kind: the listener has failed and serves nobody any more; `length` bytes of UTF-8
/// text, to be taken by `id`, say why. The last event.
pub const GSV2_EVENT_FATAL: u32 = 7;
/// gsv2_event.kind: what happened, a gopool.sv2.v1.PublishRequest of `length` bytes, to be taken by
/// `id`; of a library with a mint bridge whose configuration has one. It is of a stream of its own,
/// which shares the numbering with the others: the first is a PublishStart, to be answered with a
/// PublishReady, the others are batches of events, to be answered with an EventAck when they are
/// kept; gsv2_runtime_acknowledge hands both over. One that is not taken holds up the next. Who
/// wants no events calls gsv2_runtime_hang_up: they stay in the ledger, and are offered again.
pub const GSV2_EVENT_PUBLISH: u32 = 8;

/// gsv2_event.detail of a line of the log.
pub const GSV2_LOG_ERROR: u32 = 1;
/// gsv2_event.detail of a line of the log.
pub const GSV2_LOG_WARN: u32 = 2;
/// gsv2_event.detail of a line of the log.
pub const GSV2_LOG_INFO: u32 = 3;
/// gsv2_event.detail of a line of the log.
pub const GSV2_LOG_DEBUG: u32 = 4;
/// gsv2_event.detail of a line of the log.
pub const GSV2_LOG_TRACE: u32 = 5;

/// How a listener is made. Set struct_size to the size of this struct and all that is not used to
/// 0.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct gsv2_config {
    /// sizeof(gsv2_config), by which later versions know what the caller has.
    pub struct_size: u32,
    /// Threads that serve miners; 0: as many as the machine has processors.
    pub threads: u32,
    /// Name of the configuration file, UTF-8, not terminated: named in errors, and where relative
    /// paths in it start. It is read unless `toml` is given.
    pub path: *const c_char,
    /// Length of `path` in bytes.
    pub path_length: usize,
    /// The configuration itself, UTF-8, not terminated; NULL: the file is read.
    pub toml: *const c_char,
    /// Length of `toml` in bytes.
    pub toml_length: usize,
    /// 0.
    pub reserved: [u64; 3],
}

/// One event. 128 bytes; what a kind has no use for is 0.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct gsv2_event {
    /// One of GSV2_EVENT_*. Pass over one that you don't know: kinds may be added within a version.
    pub kind: u32,
    /// The stream that it is of, from 1; 0 for what belongs to none.
    pub stream: u32,
    /// Submit.id, or the name of the record.
    pub id: u64,
    /// Submit.channel_id.
    pub channel_id: u64,
    /// Submit.job_id.
    pub job_id: u64,
    /// Header nonce.
    pub nonce: u32,
    /// Header time, Unix seconds.
    pub ntime: u32,
    /// The full header version.
    pub version: u32,
    /// Of a submit: gopool.sv2.v1.RejectReason, for which it would have been refused if its hash
    /// did not meet nbits; 0 else. Of a line of the log: its level.
    pub detail: u32,
    /// Length of the record in bytes.
    pub length: u32,
    /// Bytes of `extranonce` that count.
    pub extranonce_size: u8,
    /// Bytes of `worker` that count; 0: credit the channel's user identity.
    pub worker_size: u8,
    /// 0.
    pub reserved0: [u8; 2],
    /// What the miner rolled.
    pub extranonce: [u8; 32],
    /// Worker of SV2 extension 0x0002, opaque bytes.
    pub worker: [u8; 32],
    /// 0.
    pub reserved1: u64,
}

/// The pool's judgement of one submit. 64 bytes.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct gsv2_verdict {
    /// Submit.id.
    pub submit_id: u64,
    /// Whole part of the credit, a difficulty; 0 when rejected.
    pub credit_whole: u64,
    /// Rest of the credit in units of 2^-32.
    pub credit_fraction: u32,
    /// gopool.sv2.v1.RejectReason; 0 when accepted.
    pub reason: u32,
    /// 1: accepted, 0: rejected.
    pub accepted: u8,
    /// 1: the hash meets nbits.
    pub block_candidate: u8,
    /// 0.
    pub reserved: [u8; 6],
    /// Header hash, internal byte order. Must be there when accepted.
    pub share_hash: [u8; 32],
}

const _: () = {
    assert!(size_of::<gsv2_event>() == 128);
    assert!(std::mem::offset_of!(gsv2_event, id) == 8);
    assert!(std::mem::offset_of!(gsv2_event, nonce) == 32);
    assert!(std::mem::offset_of!(gsv2_event, extranonce_size) == 52);
    assert!(std::mem::offset_of!(gsv2_event, extranonce) == 56);
    assert!(std::mem::offset_of!(gsv2_event, worker) == 88);
    assert!(size_of::<gsv2_verdict>() == 64);
    assert!(std::mem::offset_of!(gsv2_verdict, accepted) == 24);
    assert!(std::mem::offset_of!(gsv2_verdict, share_hash) == 32);
};
