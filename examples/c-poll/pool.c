/* The pool: Hello is welcomed, channels are opened on the one piece of work, shares are judged and printed.
 * The numbers of fields are those of gopool/sv2/v1/work.proto.
 *
 * It keeps no session: each stream begins a new one under another epoch. Its channels come back from the
 * listener with the extranonce prefix they had.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "pool.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "outbox.h"
#include "wire.h"
#include "work.h"

struct channel {
  uint64_t id;
  uint8_t prefix[EXTRANONCE_SIZE];
  size_t prefix_length; /* all of it on a standard channel */
};

#define CHANNELS_MAX 1024
static struct channel channels[CHANNELS_MAX];
static size_t channel_count;
/* The newest stream and its jobs; prefixes are counted for the life of the process, so none is given twice. */
static uint32_t stream;
static uint64_t last_seq;
static uint32_t last_prefix;

/* Verdicts on the submits of one batch of events. */
static gsv2_verdict verdicts[256];
static size_t verdict_count;
static struct counts counts;

struct counts pool_counts(void) { return counts; }

static void forget(void) {
  channel_count = 0;
  last_seq = 0;
  verdict_count = 0;
  outbox_clear();
}

void pool_free(void) { forget(); }

bool pool_flush(gsv2_runtime runtime) {
  size_t count = verdict_count;
  verdict_count = 0;
  return outbox_verdicts(runtime, stream, verdicts, count);
}

static struct channel *channel_of(uint64_t id) {
  size_t i;
  for (i = 0; i < channel_count; i++) {
    if (channels[i].id == id) return &channels[i];
  }
  return NULL;
}

/* Text of a miner is any bytes: what isn't plain is escaped. */
static void print_text(struct wire_in text) {
  for (; text.next != text.end; text.next++) {
    if (*text.next > 0x20 && *text.next < 0x7f && *text.next != '\\') putchar(*text.next);
    else printf("\\x%02x", *text.next);
  }
}

/* Hashes are read with their zeros first. */
static void print_hash(const uint8_t hash[32]) {
  int i;
  for (i = 31; i >= 0; i--) printf("%02x", hash[i]);
}

static bool random_bytes(uint8_t *to, size_t length) {
  FILE *file = fopen("/dev/urandom", "rb");
  bool filled = file != NULL && fread(to, 1, length, file) == length;
  if (file != NULL) fclose(file);
  if (!filled) fprintf(stderr, "c-poll: can't read /dev/urandom\n");
  return filled;
}

static bool welcome(gsv2_runtime runtime, struct wire_in hello) {
  struct wire_out out = {.length = 0};
  struct wire_field field;
  uint64_t max_in_flight = 0;
  uint8_t epoch[16];
  while (wire_next(&hello, &field) == 1) {
    if (field.field == 6) max_in_flight = field.number;
  }
  if (!random_bytes(epoch, sizeof epoch)) return false;
  wire_number(&out, 1, 1); /* protocol */
  wire_bytes(&out, 2, epoch, sizeof epoch);
  wire_bytes(&out, 4, SHARE_TARGET, 32); /* easiest_target */
  /* No submit is ever sent again in another epoch: any ring is as good as one of this size. */
  wire_number(&out, 7, max_in_flight); /* verdict_ring */
  wire_bytes(&out, 8, "c-poll", 6);    /* software */
  return outbox_message(runtime, stream, 1, &out);
}

static bool refuse_channel(gsv2_runtime runtime, uint64_t id, uint64_t reason) {
  struct wire_out out = {.length = 0};
  wire_number(&out, 1, id);
  wire_number(&out, 2, reason);
  printf("channel %" PRIu64 " refused, RefuseReason %" PRIu64 "\n", id, reason);
  return outbox_message(runtime, stream, 3, &out);
}

/* Whether a prefix that the listener brings back can be granted: it was given out here, and nobody has it. */
static bool grantable(struct wire_in wanted, size_t length) {
  size_t i;
  if ((size_t)(wanted.end - wanted.next) != length) return false;
  for (i = 0; i < channel_count; i++) {
    if (memcmp(channels[i].prefix, wanted.next, PREFIX_SIZE) == 0) return false;
  }
  return true;
}

static bool open_channel(gsv2_runtime runtime, struct wire_in open) {
  struct wire_out out = {.length = 0}, job = {.length = 0};
  struct wire_field field;
  struct wire_in user = {NULL, NULL}, wanted = {NULL, NULL};
  struct channel *channel;
  uint64_t id = 0, kind = 0, min_extranonce_size = 0;
  while (wire_next(&open, &field) == 1) {
    switch (field.field) {
    case 1: id = field.number; break;
    case 3: kind = field.number; break;
    case 4: user = field.bytes; break;
    case 7: min_extranonce_size = field.number; break;
    case 8: wanted = field.bytes; break;
    }
  }
  if (min_extranonce_size > EXTRANONCE_SIZE - PREFIX_SIZE) return refuse_channel(runtime, id, 5);
  if (channel_count == CHANNELS_MAX || last_prefix == UINT32_MAX) return refuse_channel(runtime, id, 6);

  channel = &channels[channel_count];
  memset(channel, 0, sizeof *channel);
  channel->id = id;
  channel->prefix_length = kind == 1 ? EXTRANONCE_SIZE : PREFIX_SIZE;
  if (grantable(wanted, channel->prefix_length)) {
    memcpy(channel->prefix, wanted.next, channel->prefix_length);
  } else {
    int i;
    last_prefix++;
    for (i = 0; i < PREFIX_SIZE; i++) channel->prefix[i] = (uint8_t)(last_prefix >> (24 - 8 * i));
  }
  channel_count++;
  printf("channel %" PRIu64 " %s user=", id, kind == 1 ? "standard" : "extended");
  print_text(user);
  putchar('\n');

  work_job(&job, ++last_seq);
  wire_number(&out, 1, id);
  wire_bytes(&out, 2, channel->prefix, channel->prefix_length);
  wire_number(&out, 3, EXTRANONCE_SIZE - channel->prefix_length);
  wire_bytes(&out, 4, SHARE_TARGET, 32);
  wire_message(&out, 5, &job);
  return outbox_message(runtime, stream, 2, &out);
}

/* The hash rate makes no difference: the target is fixed. */
static bool update_channel(gsv2_runtime runtime, struct wire_in update) {
  struct wire_out out = {.length = 0};
  struct wire_field field;
  uint64_t id = 0, request = 0;
  while (wire_next(&update, &field) == 1) {
    if (field.field == 1) id = field.number;
    if (field.field == 4) request = field.number;
  }
  wire_number(&out, 1, id);
  wire_number(&out, 2, request);
  if (channel_of(id) == NULL) wire_number(&out, 3, 10); /* REFUSE_REASON_INVALID_CHANNEL_ID */
  return outbox_message(runtime, stream, 4, &out);
}

static void close_channel(struct wire_in close) {
  struct wire_field field;
  struct channel *channel;
  while (wire_next(&close, &field) == 1) {
    if (field.field != 1 || (channel = channel_of(field.number)) == NULL) continue;
    printf("channel %" PRIu64 " closed\n", field.number);
    *channel = channels[--channel_count];
  }
}

/* Pong has the fields of Ping. */
static bool pong(gsv2_runtime runtime, struct wire_in ping) {
  struct wire_out out = {.length = 0};
  struct wire_field field;
  while (wire_next(&ping, &field) == 1) wire_number(&out, field.field, field.number);
  return outbox_message(runtime, stream, 12, &out);
}

static bool message(gsv2_runtime runtime, struct wire_in request) {
  struct wire_field field;
  int more;
  while ((more = wire_next(&request, &field)) == 1) {
    switch (field.field) {
    case 1: return welcome(runtime, field.bytes);
    case 2: return open_channel(runtime, field.bytes);
    case 3: return update_channel(runtime, field.bytes);
    case 4: close_channel(field.bytes); return true;
    case 8: return pong(runtime, field.bytes);
    }
  }
  if (more < 0) fprintf(stderr, "c-poll: a message that can't be read\n");
  return more == 0; /* nothing to answer: the others tell what this pool does nothing with */
}

/* There is no node that could take a block, and the miner is told so. */
static bool block_result(gsv2_runtime runtime, const gsv2_event *share, const uint8_t hash[32]) {
  static const char why[] = "c-poll has no node";
  struct wire_out out = {.length = 0};
  wire_number(&out, 1, share->id);
  wire_number(&out, 2, share->channel_id);
  wire_bytes(&out, 3, hash, 32);
  wire_bytes(&out, 6, why, sizeof why - 1);
  return pool_flush(runtime) && outbox_message(runtime, stream, 8, &out);
}

static bool submit(gsv2_runtime runtime, const gsv2_event *share) {
  const struct channel *channel = channel_of(share->channel_id);
  gsv2_verdict *verdict = &verdicts[verdict_count++];
  uint8_t hash[32];
  bool block;
  if (channel != NULL) {
    work_judge(share, channel->prefix, channel->prefix_length, verdict);
  } else {
    memset(verdict, 0, sizeof *verdict);
    verdict->submit_id = share->id;
    verdict->reason = 1; /* REJECT_REASON_INVALID_CHANNEL_ID */
  }
  block = verdict->block_candidate;
  memcpy(hash, verdict->share_hash, sizeof hash);
  if (verdict->accepted) counts.accepted++;
  else counts.rejected++;
  counts.blocks += block;
  printf("share %" PRIu64 " channel=%" PRIu64 " nonce=%08" PRIx32 " ntime=%" PRIu32 " version=%08" PRIx32
         " extranonce=",
         share->id, share->channel_id, share->nonce, share->ntime, share->version);
  for (size_t i = 0; i < share->extranonce_size; i++) printf("%02x", share->extranonce[i]);
  printf(" hash=");
  print_hash(hash);
  if (verdict->accepted) printf(" accepted%s\n", block ? ", a block" : "");
  else printf(" rejected, RejectReason %" PRIu32 "\n", verdict->reason);
  return !block || block_result(runtime, share, hash);
}

static bool take_message(gsv2_runtime runtime, const gsv2_event *event) {
  uint8_t *bytes = malloc(event->length > 0 ? event->length : 1);
  struct wire_in request;
  size_t length;
  gsv2_result result;
  bool done;
  if (bytes == NULL) {
    fprintf(stderr, "c-poll: no memory for a message\n");
    return false;
  }
  result = gsv2_runtime_take(runtime, event->id, bytes, event->length, &length);
  if (result == GSV2_OK) {
    if (event->stream != stream) {
      forget();
      stream = event->stream;
    }
    request.next = bytes;
    request.end = bytes + length;
    done = pool_flush(runtime) && message(runtime, request);
  } else {
    done = result == GSV2_NO_RECORD; /* its stream has ended meanwhile */
    if (!done) print_failure("a message can't be taken");
  }
  free(bytes);
  return done;
}

bool pool_event(gsv2_runtime runtime, const gsv2_event *event) {
  switch (event->kind) {
  case GSV2_EVENT_SUBMIT:
    if (event->stream != stream) return true;
    if (verdict_count == sizeof verdicts / sizeof *verdicts && !pool_flush(runtime)) return false;
    return submit(runtime, event);
  case GSV2_EVENT_MESSAGE: return take_message(runtime, event);
  case GSV2_EVENT_ROOM: return outbox_retry(runtime);
  case GSV2_EVENT_STREAM_ENDED:
    if (event->stream != stream) return true;
    if (!pool_flush(runtime)) return false;
    forget();
    /* A listener that stops has said all, and waits for the pool to end the stream. Else it is over. */
    (void)gsv2_runtime_hang_up(runtime, stream);
    return true;
  default: return true;
  }
}
