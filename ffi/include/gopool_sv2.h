/* The C ABI of the SV2 listener of gopool-sv2. Made from the library's sources: never edited.
 *
 * A host makes a listener (gsv2_runtime_new), starts it, waits for its descriptor and polls events in
 * batches. The first event of a stream is a message, Hello; the host answers with a Welcome
 * (gsv2_runtime_control), and then opens channels, gives jobs and judges shares: the messages are those of
 * gopool/sv2/v1/work.proto, submits and verdicts have the fixed forms below. docs/ffi.md shows the way.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */

#ifndef GOPOOL_SV2_H
#define GOPOOL_SV2_H

#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
static_assert(sizeof(size_t) >= 4, "a machine of 32 bits or more");
#endif

// Version of this ABI. Fields and codes are only ever added within a version.
#define GSV2_ABI_VERSION 1

// gsv2_event.kind: a share, to be answered with a verdict. All fields but `length` count.
#define GSV2_EVENT_SUBMIT 1

// gsv2_event.kind: a gopool.sv2.v1.SessionRequest of `length` bytes, to be taken by `id`. The
// first of a stream is its Hello, to be answered with a Welcome on that stream.
#define GSV2_EVENT_MESSAGE 2

// gsv2_event.kind: the listener has no more to say on this stream. Call gsv2_runtime_hang_up when
// what came before is answered: it waits a second for that at most. Another stream begins with its
// Hello, or its PublishStart. A stream of which nothing was polled is not told of.
#define GSV2_EVENT_STREAM_ENDED 3

// gsv2_event.kind: what was refused with GSV2_FULL has room now.
#define GSV2_EVENT_ROOM 4

// gsv2_event.kind: a line of the log, `length` bytes of UTF-8 text, to be taken by `id`; `detail`
// is its level, one of GSV2_LOG_*.
#define GSV2_EVENT_LOG 5

// gsv2_event.kind: the listener has stopped as gsv2_runtime_drain wanted. The last event.
#define GSV2_EVENT_DRAINED 6

// gsv2_event.kind: the listener has failed and serves nobody any more; `length` bytes of UTF-8
// text, to be taken by `id`, say why. The last event.
#define GSV2_EVENT_FATAL 7

// gsv2_event.kind: what happened, a gopool.sv2.v1.PublishRequest of `length` bytes, to be taken by
// `id`; of a library with a mint bridge whose configuration has one. It is of a stream of its own,
// which shares the numbering with the others: the first is a PublishStart, to be answered with a
// PublishReady, the others are batches of events, to be answered with an EventAck when they are
// kept; gsv2_runtime_acknowledge hands both over. One that is not taken holds up the next. Who
// wants no events calls gsv2_runtime_hang_up: they stay in the ledger, and are offered again.
#define GSV2_EVENT_PUBLISH 8

// gsv2_event.detail of a line of the log.
#define GSV2_LOG_ERROR 1

// gsv2_event.detail of a line of the log.
#define GSV2_LOG_WARN 2

// gsv2_event.detail of a line of the log.
#define GSV2_LOG_INFO 3

// gsv2_event.detail of a line of the log.
#define GSV2_LOG_DEBUG 4

// gsv2_event.detail of a line of the log.
#define GSV2_LOG_TRACE 5

// What a call came to: 0, or one of GSV2_*. gsv2_last_error has it in words.
typedef int32_t gsv2_result;

// How a listener is made. Set struct_size to the size of this struct and all that is not used to
// 0.
typedef struct gsv2_config {
  // sizeof(gsv2_config), by which later versions know what the caller has.
  uint32_t struct_size;
  // Threads that serve miners; 0: as many as the machine has processors.
  uint32_t threads;
  // Name of the configuration file, UTF-8, not terminated: named in errors, and where relative
  // paths in it start. It is read unless `toml` is given.
  const char *path;
  // Length of `path` in bytes.
  size_t path_length;
  // The configuration itself, UTF-8, not terminated; NULL: the file is read.
  const char *toml;
  // Length of `toml` in bytes.
  size_t toml_length;
  // 0.
  uint64_t reserved[3];
} gsv2_config;

// Names one listener. Never 0, and never used again after gsv2_runtime_free: a stale one is
// answered with GSV2_BAD_HANDLE.
typedef uint64_t gsv2_runtime;

// One event. 128 bytes; what a kind has no use for is 0.
typedef struct gsv2_event {
  // One of GSV2_EVENT_*. Pass over one that you don't know: kinds may be added within a version.
  uint32_t kind;
  // The stream that it is of, from 1; 0 for what belongs to none.
  uint32_t stream;
  // Submit.id, or the name of the record.
  uint64_t id;
  // Submit.channel_id.
  uint64_t channel_id;
  // Submit.job_id.
  uint64_t job_id;
  // Header nonce.
  uint32_t nonce;
  // Header time, Unix seconds.
  uint32_t ntime;
  // The full header version.
  uint32_t version;
  // Of a submit: gopool.sv2.v1.RejectReason, for which it would have been refused if its hash
  // did not meet nbits; 0 else. Of a line of the log: its level.
  uint32_t detail;
  // Length of the record in bytes.
  uint32_t length;
  // Bytes of `extranonce` that count.
  uint8_t extranonce_size;
  // Bytes of `worker` that count; 0: credit the channel's user identity.
  uint8_t worker_size;
  // 0.
  uint8_t reserved0[2];
  // What the miner rolled.
  uint8_t extranonce[32];
  // Worker of SV2 extension 0x0002, opaque bytes.
  uint8_t worker[32];
  // 0.
  uint64_t reserved1;
} gsv2_event;

// The pool's judgement of one submit. 64 bytes.
typedef struct gsv2_verdict {
  // Submit.id.
  uint64_t submit_id;
  // Whole part of the credit, a difficulty; 0 when rejected.
  uint64_t credit_whole;
  // Rest of the credit in units of 2^-32.
  uint32_t credit_fraction;
  // gopool.sv2.v1.RejectReason; 0 when accepted.
  uint32_t reason;
  // 1: accepted, 0: rejected.
  uint8_t accepted;
  // 1: the hash meets nbits.
  uint8_t block_candidate;
  // 0.
  uint8_t reserved[6];
  // Header hash, internal byte order. Must be there when accepted.
  uint8_t share_hash[32];
} gsv2_verdict;

// The call did what it says.
#define GSV2_OK 0

// A pointer that must not be NULL is, or a length or value makes no sense.
#define GSV2_INVALID_ARGUMENT 1

// No such runtime: 0, never made, or freed.
#define GSV2_BAD_HANDLE 2

// struct_size is none that this library knows.
#define GSV2_BAD_STRUCT_SIZE 3

// The buffer is too short; the length that is needed was stored.
#define GSV2_BUFFER_TOO_SHORT 4

// No such record: it was taken before, or its stream is over.
#define GSV2_NO_RECORD 5

// The bytes are no gopool.sv2.v1.SessionResponse, or PublishResponse.
#define GSV2_BAD_MESSAGE 6

// The runtime was started already, or not yet, or it is draining.
#define GSV2_WRONG_STATE 7

// Another thread is in the same call.
#define GSV2_BUSY 100

// Too much waits to be read by the listener: try again after a GSV2_EVENT_ROOM.
#define GSV2_FULL 101

// That stream is over, or of the other kind: nothing of this is taken for it any more.
#define GSV2_STREAM_OVER 102

// The configuration can't be used. The text holds every problem, as `gopool-sv2 check-config`
// prints them.
#define GSV2_CONFIG 200

// It can't start: the port is taken, the key can't be read, the system has no more of something.
#define GSV2_START 201

// Something in it panicked. It serves nobody any more: free it.
#define GSV2_POISONED 300

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The version of this ABI, GSV2_ABI_VERSION of the header it was built with.
//
// Ownership: none. Threads: any. Errors: none.
uint32_t gsv2_abi_version(void);

// Does nothing. Its name is the version: a program that refers to it can't be linked with a
// library of another one.
//
// Ownership: none. Threads: any. Errors: none.
void gsv2_abi_v1(void);

// Copies why the last call of this thread came to nothing: UTF-8, not terminated, at most
// `capacity` bytes. Returns the whole length.
//
// Ownership: `buffer` stays the caller's; NULL with capacity 0 asks for the length. Threads: any;
// each has its own. Errors: none.
//
// # Safety
// `buffer` is NULL or has room for `capacity` bytes.
size_t gsv2_last_error(char *buffer, size_t capacity);

// Makes a listener from a configuration, and does not start it.
//
// Ownership: `config` and what it points to stay the caller's and are not used after the call. The
// runtime stored in `out` is the caller's, to be given to gsv2_runtime_free. Threads: any.
// Errors: GSV2_INVALID_ARGUMENT, GSV2_BAD_STRUCT_SIZE, GSV2_CONFIG (the text holds every problem),
// GSV2_START; `out` is 0 then.
//
// # Safety
// `config` is NULL or points to a gsv2_config whose struct_size is right, `out` to room for a
// gsv2_runtime.
gsv2_result gsv2_runtime_new(const struct gsv2_config *config, gsv2_runtime *out);

// Makes an echo: a runtime without port, miners and threads, to test a binding and to measure what
// a call costs. It goes through the same ring, calls and events as a listener, and does what it
// does within the calls on it.
//
// gsv2_runtime_start begins a stream with its Hello; gsv2_runtime_url gives an empty text. After
// the Welcome an OpenChannel follows, for channel 1, extended, with 8 rollable bytes or more. It
// need not be answered. What the host then sends with gsv2_runtime_control is answered so:
//
// Ping: as many submits as its id says, then its Pong. Submits have the ids 1, 2, 3, ..., channel
// 1, the newest job's id, the id's low bits as nonce, the id's bytes (little endian, repeated) as
// extranonce, of the size that ChannelOpened says; every fourth has the worker "echo". At most
// `max_in_flight` wait for a verdict at a time, then the next come as verdicts do. A Ping that
// comes meanwhile asks for nothing.
//
// GetAccount: an Account of the stream's verdicts: shares and accrued of those accepted,
// confirmed_amount: how many rejected, issued_amount: how many block candidates, pending_amount:
// how many submits wait; frozen: ChannelOpened has not come; quote_requests: the newest 16, newest
// first, as "ID accepted WHOLE+FRACTION HASH" (with " block" behind a candidate's) or "ID rejected
// REASON", where HASH is written as explorers do and REASON as miners get it.
//
// SetPayout, RecordShares: CallFailed. A verdict on what waits for none, and a first message that
// is no fitting Welcome (which ends the stream, and another begins) are told as lines of the log.
//
// Ownership: the runtime stored in `out` is the caller's, to be given to gsv2_runtime_free.
// Threads: any. Errors: GSV2_INVALID_ARGUMENT (`out` is NULL, or `max_in_flight` is not 1 to
// 1,048,576), GSV2_START; `out` is 0 then.
//
// # Safety
// `out` is NULL or has room for a gsv2_runtime.
gsv2_result gsv2_runtime_new_echo(uint32_t max_in_flight, gsv2_runtime *out);

// Starts to listen for miners, and returns when the port is open. A runtime that could not start
// is good for nothing: free it.
//
// Ownership: none. Threads: any. Errors: GSV2_BAD_HANDLE, GSV2_WRONG_STATE, GSV2_START,
// GSV2_POISONED.
gsv2_result gsv2_runtime_start(gsv2_runtime runtime);

// Copies what a miner on this machine types to connect: UTF-8, not terminated. `length` gets the
// whole length.
//
// Ownership: `buffer` and `length` stay the caller's. Threads: any. Errors: GSV2_BAD_HANDLE,
// GSV2_INVALID_ARGUMENT, GSV2_WRONG_STATE, GSV2_BUFFER_TOO_SHORT, GSV2_POISONED.
//
// # Safety
// `buffer` has room for `capacity` bytes, `length` for one size_t.
gsv2_result gsv2_runtime_url(gsv2_runtime runtime, char *buffer, size_t capacity, size_t *length);

// Stores a descriptor that is readable while events wait. Wait for it, never read from it:
// gsv2_runtime_poll makes it unreadable when all events were handed over. A wake may find none,
// when a stream has ended meanwhile.
//
// Ownership: the descriptor stays the library's and is closed by gsv2_runtime_free; a duplicate is
// the caller's. Threads: any. Errors: GSV2_BAD_HANDLE, GSV2_INVALID_ARGUMENT.
//
// # Safety
// `out` has room for an int.
gsv2_result gsv2_runtime_event_fd(gsv2_runtime runtime, int *out);

// Copies events, at most `capacity`, in order; `count` gets how many. Never waits: 0 when none are
// there. Goes on after a failure of the library, until its last event.
//
// Ownership: `events` and `count` stay the caller's. Threads: any, one at a time. Errors:
// GSV2_BAD_HANDLE, GSV2_INVALID_ARGUMENT, GSV2_BUSY.
//
// # Safety
// `events` has room for `capacity` of gsv2_event, `count` for one size_t.
gsv2_result gsv2_runtime_poll(gsv2_runtime runtime,
                              struct gsv2_event *events,
                              size_t capacity,
                              size_t *count);

// Copies the bytes of a record, which is then gone; `length` gets their number.
//
// Ownership: `buffer` and `length` stay the caller's. Threads: any. Errors: GSV2_BAD_HANDLE,
// GSV2_INVALID_ARGUMENT, GSV2_NO_RECORD, GSV2_BUFFER_TOO_SHORT (the record stays).
//
// # Safety
// `buffer` has room for `capacity` bytes, `length` for one size_t.
gsv2_result gsv2_runtime_take(gsv2_runtime runtime,
                              uint64_t record,
                              uint8_t *buffer,
                              size_t capacity,
                              size_t *length);

// Hands over verdicts on the submits of a stream: all of them or, with an error, none. Never
// waits. A verdict on a submit that waits for none is logged and changes nothing.
//
// Ownership: `verdicts` stays the caller's. Threads: any. Errors: GSV2_BAD_HANDLE,
// GSV2_INVALID_ARGUMENT, GSV2_FULL, GSV2_STREAM_OVER, GSV2_POISONED.
//
// # Safety
// `verdicts` points to `count` of gsv2_verdict.
gsv2_result gsv2_runtime_complete(gsv2_runtime runtime,
                                  uint32_t stream,
                                  const struct gsv2_verdict *verdicts,
                                  size_t count);

// Hands over one encoded gopool.sv2.v1.SessionResponse of a stream. Never waits.
//
// Ownership: `message` stays the caller's. Threads: any; messages of one thread keep their order.
// Errors: GSV2_BAD_HANDLE, GSV2_INVALID_ARGUMENT, GSV2_BAD_MESSAGE, GSV2_FULL, GSV2_STREAM_OVER,
// GSV2_POISONED.
//
// # Safety
// `message` points to `length` bytes.
gsv2_result gsv2_runtime_control(gsv2_runtime runtime,
                                 uint32_t stream,
                                 const uint8_t *message,
                                 size_t length);

// Hands over one encoded gopool.sv2.v1.PublishResponse of a stream of events, 4,096 bytes at most:
// PublishReady, or an EventAck, which says that all up to its number is kept and need never come
// again. Never waits.
//
// Ownership: `message` stays the caller's. Threads: any; messages of one thread keep their order.
// Errors: GSV2_BAD_HANDLE, GSV2_INVALID_ARGUMENT, GSV2_BAD_MESSAGE, GSV2_FULL, GSV2_STREAM_OVER,
// GSV2_POISONED.
//
// # Safety
// `message` points to `length` bytes.
gsv2_result gsv2_runtime_acknowledge(gsv2_runtime runtime,
                                     uint32_t stream,
                                     const uint8_t *message,
                                     size_t length);

// Ends a stream from the pool's side, as a pool does that has to stop or can't go on with it. The
// listener begins another.
//
// Ownership: none. Threads: any. Errors: GSV2_BAD_HANDLE, GSV2_STREAM_OVER, GSV2_POISONED.
gsv2_result gsv2_runtime_hang_up(gsv2_runtime runtime, uint32_t stream);

// Begins to stop in order: no miner is let in any more, those that are there are told to
// reconnect, what is in flight is answered, for `[limits].drain_timeout_ms` at most. Go on polling
// and answering: GSV2_EVENT_DRAINED is the last event. Again, it changes nothing.
//
// Ownership: none. Threads: any. Errors: GSV2_BAD_HANDLE, GSV2_WRONG_STATE, GSV2_POISONED.
gsv2_result gsv2_runtime_drain(gsv2_runtime runtime);

// Frees a runtime. What still runs is cut off, miners lose their connections; returns when its
// threads have ended, within seconds. The handle and the event descriptor are no more.
//
// Ownership: the runtime is the library's again. Threads: any; no other call may be under way on
// this runtime with buffers that the caller gives up. Errors: GSV2_BAD_HANDLE.
gsv2_result gsv2_runtime_free(gsv2_runtime runtime);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* GOPOOL_SV2_H */
