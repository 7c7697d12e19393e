//! The exports. Each states who owns what it is given (Ownership), from where it may be called
//! (Threads) and what it may come to (Errors).

use std::os::fd::AsRawFd as _;
use std::os::raw::{c_char, c_int};
use std::path::Path;
use std::sync::Arc;

use gopool_sv2::backend::ring::{Refused, TakeError};
use gopool_sv2::config::Config;
use gopool_sv2::types::{RejectReason, Verdict};

use crate::boundary::{boundary, bytes, last_error, Failure};
use crate::layout::{judged, laid_out, senseless};
use crate::runtime::{Runtime, Turn};
use crate::slab;
use crate::types::*;

/// Submits of an echo that may wait for a verdict.
const ECHO_IN_FLIGHT_MAX: usize = 1 << 20;

/// The version of this ABI, GSV2_ABI_VERSION of the header it was built with.
///
/// Ownership: none. Threads: any. Errors: none.
#[no_mangle]
pub extern "C" fn gsv2_abi_version() -> u32 {
    GSV2_ABI_VERSION
}

/// Does nothing. Its name is the version: a program that refers to it can't be linked with a
/// library of another one.
///
/// Ownership: none. Threads: any. Errors: none.
#[no_mangle]
pub extern "C" fn gsv2_abi_v1() {}

/// Copies why the last call of this thread came to nothing: UTF-8, not terminated, at most
/// `capacity` bytes. Returns the whole length.
///
/// Ownership: `buffer` stays the caller's; NULL with capacity 0 asks for the length. Threads: any;
/// each has its own. Errors: none.
///
/// # Safety
/// `buffer` is NULL or has room for `capacity` bytes.
#[no_mangle]
pub unsafe extern "C" fn gsv2_last_error(buffer: *mut c_char, capacity: usize) -> usize {
    boundary!(length {
        let text = last_error();
        if !buffer.is_null() {
            let count = text.len().min(capacity);
            // SAFETY: by the caller's promise.
            unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), buffer.cast(), count) };
        }
        text.len()
    })
}

/// Makes a listener from a configuration, and does not start it.
///
/// Ownership: `config` and what it points to stay the caller's and are not used after the call. The
/// runtime stored in `out` is the caller's, to be given to gsv2_runtime_free. Threads: any.
/// Errors: GSV2_INVALID_ARGUMENT, GSV2_BAD_STRUCT_SIZE, GSV2_CONFIG (the text holds every problem),
/// GSV2_START; `out` is 0 then.
///
/// # Safety
/// `config` is NULL or points to a gsv2_config whose struct_size is right, `out` to room for a
/// gsv2_runtime.
#[no_mangle]
pub unsafe extern "C" fn gsv2_runtime_new(
    config: *const gsv2_config,
    out: *mut gsv2_runtime,
) -> gsv2_result {
    boundary!({
        // SAFETY: the caller's promise.
        let out = unsafe { out.as_mut() }.ok_or_else(|| Failure::argument("out is NULL"))?;
        *out = 0;
        if config.is_null() {
            return Err(Failure::argument("config is NULL"));
        }
        // SAFETY: the size comes first, whatever the version.
        let size = unsafe { config.cast::<u32>().read() };
        if size as usize != size_of::<gsv2_config>() {
            let text = format!(
                "struct_size is {size}, this library knows {}: set it to sizeof(gsv2_config)",
                size_of::<gsv2_config>()
            );
            return Err(Failure::new(GSV2_BAD_STRUCT_SIZE, text));
        }
        // SAFETY: the caller's promise, and the size is right.
        let config = unsafe { config.read() };
        if config.reserved != [0; 3] {
            return Err(Failure::argument("config.reserved is not 0"));
        }
        // SAFETY: the caller's promise.
        let path = unsafe { bytes("config.path", config.path.cast(), config.path_length) }?;
        let path = std::str::from_utf8(path)
            .map_err(|_| Failure::argument("config.path is not UTF-8"))
            .map(Path::new)?;
        let parsed = if config.toml.is_null() {
            if path.as_os_str().is_empty() {
                return Err(Failure::argument("neither config.path nor config.toml is given"));
            }
            Config::load(path)
        } else {
            // SAFETY: the caller's promise.
            let toml = unsafe { bytes("config.toml", config.toml.cast(), config.toml_length) }?;
            Config::from_bytes(toml, path)
        };
        let parsed = parsed.map_err(|problems| Failure::new(GSV2_CONFIG, problems.to_string()))?;
        let threads = usize::try_from(config.threads).unwrap_or(0).min(1024);
        let runtime = Runtime::new(parsed, threads)?;
        *out = inserted(runtime)?;
        Ok(())
    })
}

/// Makes an echo: a runtime without port, miners and threads, to test a binding and to measure what
/// a call costs. It goes through the same ring, calls and events as a listener, and does what it
/// does within the calls on it.
///
/// gsv2_runtime_start begins a stream with its Hello; gsv2_runtime_url gives an empty text. After
/// the Welcome an OpenChannel follows, for channel 1, extended, with 8 rollable bytes or more. It
/// need not be answered. What the host then sends with gsv2_runtime_control is answered so:
///
/// Ping: as many submits as its id says, then its Pong. Submits have the ids 1, 2, 3, ..., channel
/// 1, the newest job's id, the id's low bits as nonce, the id's bytes (little endian, repeated) as
/// extranonce, of the size that ChannelOpened says; every fourth has the worker "echo". At most
/// `max_in_flight` wait for a verdict at a time, then the next come as verdicts do. A Ping that
/// comes meanwhile asks for nothing.
///
/// GetAccount: an Account of the stream's verdicts: shares and accrued of those accepted,
/// confirmed_amount: how many rejected, issued_amount: how many block candidates, pending_amount:
/// how many submits wait; frozen: ChannelOpened has not come; quote_requests: the newest 16, newest
/// first, as "ID accepted WHOLE+FRACTION HASH" (with " block" behind a candidate's) or "ID rejected
/// REASON", where HASH is written as explorers do and REASON as miners get it.
///
/// SetPayout, RecordShares: CallFailed. A verdict on what waits for none, and a first message that
/// is no fitting Welcome (which ends the stream, and another begins) are told as lines of the log.
///
/// Ownership: the runtime stored in `out` is the caller's, to be given to gsv2_runtime_free.
/// Threads: any. Errors: GSV2_INVALID_ARGUMENT (`out` is NULL, or `max_in_flight` is not 1 to
/// 1,048,576), GSV2_START; `out` is 0 then.
///
/// # Safety
/// `out` is NULL or has room for a gsv2_runtime.
#[no_mangle]
pub unsafe extern "C" fn gsv2_runtime_new_echo(
    max_in_flight: u32,
    out: *mut gsv2_runtime,
) -> gsv2_result {
    boundary!({
        // SAFETY: the caller's promise.
        let out = unsafe { out.as_mut() }.ok_or_else(|| Failure::argument("out is NULL"))?;
        *out = 0;
        let in_flight = usize::try_from(max_in_flight)
            .ok()
            .filter(|count| (1..=ECHO_IN_FLIGHT_MAX).contains(count))
            .ok_or_else(|| {
                let range = format!("1 to {ECHO_IN_FLIGHT_MAX}");
                Failure::argument(format!("max_in_flight is {max_in_flight}, not {range}"))
            })?;
        *out = inserted(Runtime::new_echo(in_flight)?)?;
        Ok(())
    })
}

/// Starts to listen for miners, and returns when the port is open. A runtime that could not start
/// is good for nothing: free it.
///
/// Ownership: none. Threads: any. Errors: GSV2_BAD_HANDLE, GSV2_WRONG_STATE, GSV2_START,
/// GSV2_POISONED.
#[no_mangle]
pub extern "C" fn gsv2_runtime_start(runtime: gsv2_runtime) -> gsv2_result {
    boundary!(runtime => |runtime| { runtime.start() })
}

/// Copies what a miner on this machine types to connect: UTF-8, not terminated. `length` gets the
/// whole length.
///
/// Ownership: `buffer` and `length` stay the caller's. Threads: any. Errors: GSV2_BAD_HANDLE,
/// GSV2_INVALID_ARGUMENT, GSV2_WRONG_STATE, GSV2_BUFFER_TOO_SHORT, GSV2_POISONED.
///
/// # Safety
/// `buffer` has room for `capacity` bytes, `length` for one size_t.
#[no_mangle]
pub unsafe extern "C" fn gsv2_runtime_url(
    runtime: gsv2_runtime,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> gsv2_result {
    boundary!(runtime => |runtime| {
        // SAFETY: the caller's promise.
        let length = unsafe { length.as_mut() }.ok_or_else(|| Failure::argument("length is NULL"))?;
        let url = runtime.url()?;
        *length = url.len();
        if url.len() > capacity || (buffer.is_null() && !url.is_empty()) {
            let text = format!("the text has {} bytes", url.len());
            return Err(Failure::new(GSV2_BUFFER_TOO_SHORT, text));
        }
        if !url.is_empty() {
            // SAFETY: the caller's promise.
            unsafe { std::ptr::copy_nonoverlapping(url.as_ptr(), buffer.cast(), url.len()) };
        }
        Ok(())
    })
}

/// Stores a descriptor that is readable while events wait. Wait for it, never read from it:
/// gsv2_runtime_poll makes it unreadable when all events were handed over. A wake may find none,
/// when a stream has ended meanwhile.
///
/// Ownership: the descriptor stays the library's and is closed by gsv2_runtime_free; a duplicate is
/// the caller's. Threads: any. Errors: GSV2_BAD_HANDLE, GSV2_INVALID_ARGUMENT.
///
/// # Safety
/// `out` has room for an int.
#[no_mangle]
pub unsafe extern "C" fn gsv2_runtime_event_fd(
    runtime: gsv2_runtime,
    out: *mut c_int,
) -> gsv2_result {
    boundary!({
        // SAFETY: the caller's promise.
        let out = unsafe { out.as_mut() }.ok_or_else(|| Failure::argument("out is NULL"))?;
        *out = known(runtime)?.host.readable().as_raw_fd();
        Ok(())
    })
}

/// Copies events, at most `capacity`, in order; `count` gets how many. Never waits: 0 when none are
/// there. Goes on after a failure of the library, until its last event.
///
/// Ownership: `events` and `count` stay the caller's. Threads: any, one at a time. Errors:
/// GSV2_BAD_HANDLE, GSV2_INVALID_ARGUMENT, GSV2_BUSY.
///
/// # Safety
/// `events` has room for `capacity` of gsv2_event, `count` for one size_t.
#[no_mangle]
pub unsafe extern "C" fn gsv2_runtime_poll(
    runtime: gsv2_runtime,
    events: *mut gsv2_event,
    capacity: usize,
    count: *mut usize,
) -> gsv2_result {
    boundary!({
        // SAFETY: the caller's promise.
        let count = unsafe { count.as_mut() }.ok_or_else(|| Failure::argument("count is NULL"))?;
        *count = 0;
        if events.is_null() && capacity > 0 {
            return Err(Failure::argument("events is NULL"));
        }
        let runtime = known(runtime)?;
        let _turn = Turn::take(&runtime.polling)
            .ok_or_else(|| Failure::new(GSV2_BUSY, "another thread polls this runtime"))?;
        let mut next = events;
        *count = runtime.host.poll(capacity, |event| {
            // SAFETY: poll hands over `capacity` events at most, each to the next place.
            unsafe {
                next.write(laid_out(event));
                next = next.add(1);
            }
        });
        runtime.advance();
        Ok(())
    })
}

/// Copies the bytes of a record, which is then gone; `length` gets their number.
///
/// Ownership: `buffer` and `length` stay the caller's. Threads: any. Errors: GSV2_BAD_HANDLE,
/// GSV2_INVALID_ARGUMENT, GSV2_NO_RECORD, GSV2_BUFFER_TOO_SHORT (the record stays).
///
/// # Safety
/// `buffer` has room for `capacity` bytes, `length` for one size_t.
#[no_mangle]
pub unsafe extern "C" fn gsv2_runtime_take(
    runtime: gsv2_runtime,
    record: u64,
    buffer: *mut u8,
    capacity: usize,
    length: *mut usize,
) -> gsv2_result {
    boundary!({
        // SAFETY: the caller's promise.
        let length =
            unsafe { length.as_mut() }.ok_or_else(|| Failure::argument("length is NULL"))?;
        *length = 0;
        if (buffer.is_null() && capacity > 0) || capacity > isize::MAX as usize {
            return Err(Failure::argument("buffer is NULL, or capacity makes no sense"));
        }
        let buffer: &mut [u8] = if capacity == 0 {
            &mut []
        } else {
            // SAFETY: the caller's promise; nothing is read from it.
            unsafe { std::slice::from_raw_parts_mut(buffer, capacity) }
        };
        let runtime = known(runtime)?;
        match runtime.host.take(record, buffer) {
            Ok(taken) => *length = taken,
            Err(error @ TakeError::NoRecord) => {
                return Err(Failure::new(GSV2_NO_RECORD, error.to_string()));
            }
            Err(error @ TakeError::TooShort(needed)) => {
                *length = needed;
                return Err(Failure::new(GSV2_BUFFER_TOO_SHORT, error.to_string()));
            }
        }
        runtime.advance();
        Ok(())
    })
}

/// Hands over verdicts on the submits of a stream: all of them or, with an error, none. Never
/// waits. A verdict on a submit that waits for none is logged and changes nothing.
///
/// Ownership: `verdicts` stays the caller's. Threads: any. Errors: GSV2_BAD_HANDLE,
/// GSV2_INVALID_ARGUMENT, GSV2_FULL, GSV2_STREAM_OVER, GSV2_POISONED.
///
/// # Safety
/// `verdicts` points to `count` of gsv2_verdict.
#[no_mangle]
pub unsafe extern "C" fn gsv2_runtime_complete(
    runtime: gsv2_runtime,
    stream: u32,
    verdicts: *const gsv2_verdict,
    count: usize,
) -> gsv2_result {
    boundary!(runtime => |runtime| {
        let too_many = count > isize::MAX as usize / size_of::<gsv2_verdict>();
        if too_many || (verdicts.is_null() && count > 0) {
            return Err(Failure::argument("verdicts is NULL, or count makes no sense"));
        }
        let verdicts = if count == 0 {
            &[]
        } else {
            // SAFETY: the caller's promise.
            unsafe { std::slice::from_raw_parts(verdicts, count) }
        };
        // All of them first: then they go straight to where they wait.
        for (at, verdict) in verdicts.iter().enumerate() {
            judged(verdict).ok_or_else(|| senseless(at, verdict))?;
        }
        let judged = verdicts.iter().map(|verdict| {
            let never = Verdict::Rejected(RejectReason::InvalidShare);
            (verdict.submit_id, judged(verdict).unwrap_or(never))
        });
        runtime.host.complete(stream, judged).map_err(refused)?;
        runtime.advance();
        Ok(())
    })
}

/// Hands over one encoded gopool.sv2.v1.SessionResponse of a stream. Never waits.
///
/// Ownership: `message` stays the caller's. Threads: any; messages of one thread keep their order.
/// Errors: GSV2_BAD_HANDLE, GSV2_INVALID_ARGUMENT, GSV2_BAD_MESSAGE, GSV2_FULL, GSV2_STREAM_OVER,
/// GSV2_POISONED.
///
/// # Safety
/// `message` points to `length` bytes.
#[no_mangle]
pub unsafe extern "C" fn gsv2_runtime_control(
    runtime: gsv2_runtime,
    stream: u32,
    message: *const u8,
    length: usize,
) -> gsv2_result {
    boundary!(runtime => |runtime| {
        // SAFETY: the caller's promise.
        let message = unsafe { bytes("message", message, length) }?;
        runtime.host.control(stream, message).map_err(refused)?;
        runtime.advance();
        Ok(())
    })
}

/// Hands over one encoded gopool.sv2.v1.PublishResponse of a stream of events, 4,096 bytes at most:
/// PublishReady, or an EventAck, which says that all up to its number is kept and need never come
/// again. Never waits.
///
/// Ownership: `message` stays the caller's. Threads: any; messages of one thread keep their order.
/// Errors: GSV2_BAD_HANDLE, GSV2_INVALID_ARGUMENT, GSV2_BAD_MESSAGE, GSV2_FULL, GSV2_STREAM_OVER,
/// GSV2_POISONED.
///
/// # Safety
/// `message` points to `length` bytes.
#[no_mangle]
pub unsafe extern "C" fn gsv2_runtime_acknowledge(
    runtime: gsv2_runtime,
    stream: u32,
    message: *const u8,
    length: usize,
) -> gsv2_result {
    boundary!(runtime => |runtime| {
        // SAFETY: the caller's promise.
        let message = unsafe { bytes("message", message, length) }?;
        runtime.host.acknowledge(stream, message).map_err(refused)?;
        runtime.advance();
        Ok(())
    })
}

/// Ends a stream from the pool's side, as a pool does that has to stop or can't go on with it. The
/// listener begins another.
///
/// Ownership: none. Threads: any. Errors: GSV2_BAD_HANDLE, GSV2_STREAM_OVER, GSV2_POISONED.
#[no_mangle]
pub extern "C" fn gsv2_runtime_hang_up(runtime: gsv2_runtime, stream: u32) -> gsv2_result {
    boundary!(runtime => |runtime| {
        runtime.host.hang_up(stream).map_err(refused)?;
        runtime.advance();
        Ok(())
    })
}

/// Begins to stop in order: no miner is let in any more, those that are there are told to
/// reconnect, what is in flight is answered, for `[limits].drain_timeout_ms` at most. Go on polling
/// and answering: GSV2_EVENT_DRAINED is the last event. Again, it changes nothing.
///
/// Ownership: none. Threads: any. Errors: GSV2_BAD_HANDLE, GSV2_WRONG_STATE, GSV2_POISONED.
#[no_mangle]
pub extern "C" fn gsv2_runtime_drain(runtime: gsv2_runtime) -> gsv2_result {
    boundary!(runtime => |runtime| { runtime.drain() })
}

/// Frees a runtime. What still runs is cut off, miners lose their connections; returns when its
/// threads have ended, within seconds. The handle and the event descriptor are no more.
///
/// Ownership: the runtime is the library's again. Threads: any; no other call may be under way on
/// this runtime with buffers that the caller gives up. Errors: GSV2_BAD_HANDLE.
#[no_mangle]
pub extern "C" fn gsv2_runtime_free(runtime: gsv2_runtime) -> gsv2_result {
    boundary!({
        let runtime = slab::remove(runtime).ok_or_else(no_runtime)?;
        runtime.end();
        Ok(())
    })
}

/// A handle for a runtime.
fn inserted(runtime: Runtime) -> Result<gsv2_runtime, Failure> {
    slab::insert(Arc::new(runtime))
        .ok_or_else(|| Failure::new(GSV2_START, "too many runtimes: free those not in use"))
}

fn no_runtime() -> Failure {
    Failure::new(GSV2_BAD_HANDLE, "no such runtime: it was freed, or never made")
}

/// A runtime, be it poisoned or not.
fn known(handle: gsv2_runtime) -> Result<Arc<Runtime>, Failure> {
    slab::get(handle).ok_or_else(no_runtime)
}

fn refused(refused: Refused) -> Failure {
    let code = match refused {
        Refused::StreamOver => GSV2_STREAM_OVER,
        Refused::Full => GSV2_FULL,
        Refused::Undecodable(..) => GSV2_BAD_MESSAGE,
        Refused::TooLong(..) => GSV2_INVALID_ARGUMENT,
    };
    Failure::new(code, refused.to_string())
}
