/* The mint bridge inside: a share of another door becomes credit, whose events come until they are acknowledged,
 * over a second life of the listener, too. The mint is not there, which holds nothing up.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "listener.h"

#define PATIENCE_MS 60000

static const char toml[] =
  "[listen]\naddress = \"127.0.0.1:0\"\n[authority]\nkey_file = \"authority.key\"\n"
  "[mint]\nledger_file = \"ledger.db\"\nurl = \"http://127.0.0.1:1\"\nseal_interval_sec = 1\n"
  "[mint.processor]\nlisten = \"127.0.0.1:0\"\nallow_plain = true\n";

/* The generator of secp256k1. */
static const uint8_t key[33] = {0x02, 0x79, 0xbe, 0x66, 0x7e, 0xf9, 0xdc, 0xbb, 0xac, 0x55, 0xa0,
                                0x62, 0x95, 0xce, 0x87, 0x0b, 0x07, 0x02, 0x9b, 0xfc, 0xdb, 0x2d,
                                0xce, 0x28, 0xd9, 0x59, 0xf2, 0x81, 0x5b, 0x16, 0xf8, 0x17, 0x98};

/* PublishResponses of gopool/sv2/v1/events.proto: PublishReady{protocol: 1, have_seq} and EventAck{seq}, for
 * numbers below 128. */
static void acknowledge(gsv2_runtime runtime, uint32_t stream, bool ready, uint8_t seq) {
  uint8_t bytes[6] = {0x0a, 4, 0x08, 1, 0x10, seq};
  if (!ready) {
    static const uint8_t ack[] = {0x12, 2, 0x08};
    memcpy(bytes, ack, sizeof ack);
    bytes[3] = seq;
  }
  EXPECT(GSV2_OK, gsv2_runtime_acknowledge(runtime, stream, bytes, ready ? 6 : 4));
}

/* Answers a Hello, and hands over a RecordShares{call_id: 3, shares: {share_hash, user_identity: "c", payout_key,
 * credit: {whole: 7}, accepted_ms: 1}}. */
static void answer_hello(gsv2_runtime runtime, uint32_t stream, uint8_t share) {
  uint8_t bytes[128] = {0x0a, 57, 0x08, 1, 0x12, 16}, *to = bytes + 6;
  static const uint8_t tail[] = {0x38, 0x80, 0x80, 0x04}; /* verdict_ring: 65536 */
  memset(to, 7, 16);
  to += 16;
  *to++ = 0x22;
  *to++ = 32;
  memset(to, 0xff, 32);
  to += 32;
  memcpy(to, tail, sizeof tail);
  bytes[1] = (uint8_t)(to + sizeof tail - bytes - 2);
  EXPECT(GSV2_OK, gsv2_runtime_control(runtime, stream, bytes, (size_t)bytes[1] + 2));
  memset(bytes, 0, sizeof bytes);
  to = bytes;
  *to++ = 0x7a;
  *to++ = 82;
  *to++ = 0x08;
  *to++ = 3;
  *to++ = 0x12;
  *to++ = 78;
  *to++ = 0x0a;
  *to++ = 32;
  memset(to, share, 32);
  to += 32;
  *to++ = 0x12;
  *to++ = 1;
  *to++ = 'c';
  *to++ = 0x1a;
  *to++ = sizeof key;
  memcpy(to, key, sizeof key);
  to += sizeof key;
  *to++ = 0x22;
  *to++ = 2;
  *to++ = 0x08;
  *to++ = 7;
  *to++ = 0x38;
  *to++ = 1;
  CHECK(to == bytes + 84, "the message has %d bytes", (int)(to - bytes));
  EXPECT(GSV2_OK, gsv2_runtime_control(runtime, stream, bytes, 84));
}

/* Waits for one event. */
static gsv2_event next(gsv2_runtime runtime) {
  struct pollfd wait = {.events = POLLIN};
  gsv2_event event;
  size_t count;
  EXPECT(GSV2_OK, gsv2_runtime_event_fd(runtime, &wait.fd));
  for (;;) {
    EXPECT(GSV2_OK, gsv2_runtime_poll(runtime, &event, 1, &count));
    if (count == 1) return event;
    CHECK(poll(&wait, 1, PATIENCE_MS) == 1 || errno == EINTR, "no event comes");
  }
}

/* One life: says to have `have`, hands over a share, and waits for two events; the number of the last is given
 * back, and acknowledged. */
static uint8_t life(const char *folder, uint8_t have, uint8_t share) {
  gsv2_runtime runtime = listener_of(folder, toml), second;
  uint8_t bytes[4096], newest = have;
  uint32_t stream = 0;
  size_t length;
  int kept = 0;
  EXPECT(GSV2_OK, gsv2_runtime_start(runtime));
  second = listener_of(folder, toml);
  EXPECT(GSV2_START, gsv2_runtime_start(second)); /* the ledger is the first one's */
  EXPECT(GSV2_OK, gsv2_runtime_free(second));
  while (kept < 2) {
    gsv2_event event = next(runtime);
    CHECK(event.kind != GSV2_EVENT_FATAL, "the listener failed");
    if (event.length == 0 || event.length > sizeof bytes) continue;
    EXPECT(GSV2_OK, gsv2_runtime_take(runtime, event.id, bytes, sizeof bytes, &length));
    if (event.kind == GSV2_EVENT_MESSAGE && bytes[0] == 0x0a) answer_hello(runtime, event.stream, share);
    if (event.kind != GSV2_EVENT_PUBLISH) continue;
    if (bytes[0] == 0x0a) { /* PublishStart */
      stream = event.stream;
      acknowledge(runtime, stream, true, have);
      continue;
    }
    CHECK(bytes[0] == 0x12 && event.stream == stream, "no EventBatch of the stream that began");
    { /* EventBatch{events: Event{seq}}: each event follows the one before. */
      size_t at = bytes[1] < 0x80 ? 2 : 3;
      while (at < length) {
        size_t size = bytes[at + 1];
        size_t head = size < 0x80 ? 2 : 3;
        if (head == 3) size = (size & 0x7f) | (size_t)bytes[at + 2] << 7;
        CHECK(bytes[at] == 0x0a && bytes[at + head] == 0x08 && bytes[at + head + 1] == newest + 1,
              "event %d does not follow %d", bytes[at + head + 1], newest);
        newest++;
        kept++;
        at += head + size;
      }
    }
  }
  acknowledge(runtime, stream, false, newest);
  EXPECT(GSV2_OK, gsv2_runtime_drain(runtime));
  for (;;) {
    gsv2_event event = next(runtime);
    if (event.kind == GSV2_EVENT_STREAM_ENDED && event.stream != stream)
      EXPECT(GSV2_OK, gsv2_runtime_hang_up(runtime, event.stream));
    if (event.kind == GSV2_EVENT_DRAINED) break;
  }
  {
    static const uint8_t ack[] = {0x12, 2, 0x08, 1};
    EXPECT(GSV2_STREAM_OVER, gsv2_runtime_acknowledge(runtime, stream, ack, sizeof ack));
    EXPECT(GSV2_BAD_MESSAGE, gsv2_runtime_acknowledge(runtime, stream, key, sizeof key));
  }
  EXPECT(GSV2_OK, gsv2_runtime_free(runtime));
  return newest;
}

int main(int count, char **arguments) {
  uint8_t first, second;
  CHECK(count == 2, "usage: mint FOLDER");
  first = life(arguments[1], 0, 1);
  second = life(arguments[1], first, 2);
  printf("%d events, and %d after a restart\n", first, second - first);
  return 0;
}
