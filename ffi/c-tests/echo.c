/* An echo goes the whole way of a listener, without a port: what it was asked for comes, and what was said of it
 * is told back.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "listener.h"

#define ASKED 1000
#define BATCH 256

/* Ping{id: 1000}; Welcome{protocol: 1, epoch: 16 bytes of 7, easiest_target: 32 bytes of 0xff, verdict_ring: 512};
 * GetAccount{call_id: 9}: SessionResponses of gopool/sv2/v1/work.proto. */
static const uint8_t ping[] = {0x5a, 3, 0x08, 0xe8, 0x07};
static const uint8_t get_account[] = {0x72, 2, 0x08, 9};

static size_t welcome(uint8_t *to) {
  static const uint8_t head[] = {0x0a, 57, 0x08, 1, 0x12, 16};
  static const uint8_t tail[] = {0x38, 0x80, 0x04};
  size_t at = sizeof head;
  memcpy(to, head, sizeof head);
  memset(to + at, 7, 16);
  at += 16;
  to[at++] = 0x22;
  to[at++] = 32;
  memset(to + at, 0xff, 32);
  at += 32;
  memcpy(to + at, tail, sizeof tail);
  return at + sizeof tail;
}

/* Polls one event, of this kind. */
static gsv2_event next(gsv2_runtime runtime, uint32_t kind) {
  gsv2_event event;
  size_t count;
  EXPECT(GSV2_OK, gsv2_runtime_poll(runtime, &event, 1, &count));
  CHECK(count == 1 && event.kind == kind, "%zu events, of kind %u and not %u", count, event.kind, kind);
  return event;
}

/* Takes the message of an event; gives its length. */
static size_t take(gsv2_runtime runtime, const gsv2_event *event, uint8_t *to, size_t room) {
  size_t length;
  EXPECT(GSV2_OK, gsv2_runtime_take(runtime, event->id, to, room, &length));
  CHECK(length == event->length, "%zu bytes, and %u were told", length, event->length);
  return length;
}

int main(void) {
  static gsv2_event events[BATCH];
  static gsv2_verdict verdicts[BATCH];
  uint8_t bytes[4096];
  gsv2_runtime runtime;
  gsv2_event event;
  uint32_t stream;
  uint64_t last = 0, pongs = 0;
  size_t count, length, i;
  int fd;

  EXPECT(GSV2_INVALID_ARGUMENT, gsv2_runtime_new_echo(0, &runtime));
  CHECK(runtime == 0, "a handle of nothing");
  EXPECT(GSV2_OK, gsv2_runtime_new_echo(512, &runtime));
  EXPECT(GSV2_OK, gsv2_runtime_start(runtime));
  EXPECT(GSV2_OK, gsv2_runtime_url(runtime, NULL, 0, &length));
  EXPECT(GSV2_OK, gsv2_runtime_event_fd(runtime, &fd));

  event = next(runtime, GSV2_EVENT_MESSAGE);
  stream = event.stream;
  length = take(runtime, &event, bytes, sizeof bytes);
  CHECK(length > 2 && bytes[0] == 0x0a, "no Hello");
  length = welcome(bytes);
  EXPECT(GSV2_OK, gsv2_runtime_control(runtime, stream, bytes, length));
  event = next(runtime, GSV2_EVENT_MESSAGE);
  take(runtime, &event, bytes, sizeof bytes);
  CHECK(bytes[0] == 0x12, "no OpenChannel");

  EXPECT(GSV2_OK, gsv2_runtime_control(runtime, stream, ping, sizeof ping));
  while (pongs == 0) {
    size_t judged = 0;
    EXPECT(GSV2_OK, gsv2_runtime_poll(runtime, events, BATCH, &count));
    CHECK(count > 0, "no event behind submit %llu", (unsigned long long)last);
    for (i = 0; i < count; i++) {
      gsv2_verdict *verdict = &verdicts[judged];
      if (events[i].kind == GSV2_EVENT_MESSAGE) {
        take(runtime, &events[i], bytes, sizeof bytes);
        CHECK(bytes[0] == 0x4a, "no Pong");
        pongs++;
        continue;
      }
      CHECK(events[i].kind == GSV2_EVENT_SUBMIT && events[i].id == ++last, "event %u, id %llu", events[i].kind,
            (unsigned long long)events[i].id);
      CHECK(events[i].channel_id == 1 && events[i].nonce == last && events[i].extranonce_size == 8 &&
              events[i].worker_size == (last % 4 == 0 ? 4 : 0),
            "the fields of submit %llu", (unsigned long long)last);
      memset(verdict, 0, sizeof *verdict);
      verdict->submit_id = last;
      verdict->accepted = 1;
      verdict->credit_whole = 2;
      verdict->credit_fraction = 1;
      memset(verdict->share_hash, 0xab, sizeof verdict->share_hash);
      judged++;
    }
    EXPECT(GSV2_OK, gsv2_runtime_complete(runtime, stream, verdicts, judged));
  }
  CHECK(last == ASKED, "%llu submits", (unsigned long long)last);

  EXPECT(GSV2_OK, gsv2_runtime_control(runtime, stream, get_account, sizeof get_account));
  event = next(runtime, GSV2_EVENT_MESSAGE);
  length = take(runtime, &event, bytes, sizeof bytes);
  {
    /* Account{call_id: 9, accrued: {whole: 2000, fraction: 1000}, shares: 1000, ...}. */
    static const uint8_t want[] = {0x08, 9, 0x12, 8, 0x08, 0xd0, 0x0f, 0x15, 0xe8, 0x03, 0, 0, 0x18, 0xe8, 0x07};
    static const char newest[] = "1000 accepted 2+1 abababab";
    bool found = false;
    for (i = 0; i + sizeof newest - 1 <= length; i++) found |= memcmp(bytes + i, newest, sizeof newest - 1) == 0;
    for (i = 1; i + sizeof want <= length && memcmp(bytes + i, want, sizeof want) != 0; i++) {}
    CHECK(i + sizeof want <= length && found, "the Account is not of all verdicts");
  }

  EXPECT(GSV2_OK, gsv2_runtime_drain(runtime));
  event = next(runtime, GSV2_EVENT_MESSAGE);
  next(runtime, GSV2_EVENT_STREAM_ENDED);
  EXPECT(GSV2_NO_RECORD, gsv2_runtime_take(runtime, event.id + 1, bytes, sizeof bytes, &length));
  EXPECT(GSV2_OK, gsv2_runtime_hang_up(runtime, stream));
  next(runtime, GSV2_EVENT_DRAINED);
  EXPECT(GSV2_OK, gsv2_runtime_free(runtime));
  printf("%llu submits and their verdicts\n", (unsigned long long)last);
  return 0;
}
