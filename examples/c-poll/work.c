/* The work: a block on a made-up tip that pays anyone. A block is 256 times as hard as a share, so that
 * candidates are seen; no node would take one.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "work.h"

#include <string.h>

#include "sha256.h"

/* 0xffff << 220. */
const uint8_t SHARE_TARGET[32] = {[27] = 0xf0, [28] = 0xff, [29] = 0x0f};
/* 0x0ffff0 << 208, by the nbits. */
static const uint8_t BLOCK_TARGET[32] = {[26] = 0xf0, [27] = 0xff, [28] = 0x0f};
static const uint32_t NBITS = 0x1d0ffff0;

static const uint32_t VERSION = 0x20000000;
/* All bits that SV2 miners roll (BIP323). */
static const uint32_t VERSION_MASK = 0x1fffffe0;
static const uint32_t HEIGHT = 144;
/* A tip that no chain ever had: "poll" and zeros. */
static const uint8_t PREV_HASH[32] = {0x70, 0x6f, 0x6c, 0x6c};

/* A coinbase transaction without witness, before and after the 16 bytes of extranonce. */
static const uint8_t COINBASE_PREFIX[] = {
    0x02, 0x00, 0x00, 0x00, 0x01,                   /* version 2, one input */
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, /* which spends nothing */
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff,
    0x14,             /* script of 20 bytes: */
    0x02, 0x90, 0x00, /* the height (BIP34), */
    EXTRANONCE_SIZE,  /* and a push of the extranonce */
};
static const uint8_t COINBASE_SUFFIX[] = {
    0xff, 0xff, 0xff, 0xff,                         /* sequence */
    0x01,                                           /* one output: */
    0x00, 0xf2, 0x05, 0x2a, 0x01, 0x00, 0x00, 0x00, /* 50 coins */
    0x01, 0x51,                                     /* for anyone */
    0x00, 0x00, 0x00, 0x00,                         /* lock time */
};

static uint32_t min_ntime;

/* Duplicates: the newest share of each place. One that was overwritten is not known any more, which a pool
 * that pays can't afford. */
#define SEEN_PLACES 65536
static uint8_t seen[SEEN_PLACES][32];

void work_begin(uint32_t now) { min_ntime = now; }

void work_job(struct wire_out *out, uint64_t seq) {
  wire_number(out, 1, JOB_ID);
  wire_number(out, 2, seq);
  wire_bytes(out, 4, PREV_HASH, sizeof PREV_HASH);
  wire_fixed32(out, 5, NBITS);
  wire_fixed32(out, 6, VERSION);
  wire_fixed32(out, 7, VERSION_MASK);
  wire_fixed32(out, 8, min_ntime);
  wire_bytes(out, 11, COINBASE_PREFIX, sizeof COINBASE_PREFIX);
  wire_bytes(out, 12, COINBASE_SUFFIX, sizeof COINBASE_SUFFIX);
  wire_number(out, 14, HEIGHT);
}

static size_t append(uint8_t *to, size_t at, const void *bytes, size_t length) {
  memcpy(to + at, bytes, length);
  return at + length;
}

static void put32(uint8_t *to, uint32_t value) {
  int i;
  for (i = 0; i < 4; i++) to[i] = (uint8_t)(value >> (8 * i));
}

static void header_hash(const gsv2_event *share, const uint8_t *prefix, size_t prefix_length,
                        uint8_t hash[32]) {
  uint8_t coinbase[sizeof COINBASE_PREFIX + EXTRANONCE_SIZE + sizeof COINBASE_SUFFIX];
  uint8_t header[80];
  size_t length = append(coinbase, 0, COINBASE_PREFIX, sizeof COINBASE_PREFIX);
  length = append(coinbase, length, prefix, prefix_length);
  length = append(coinbase, length, share->extranonce, EXTRANONCE_SIZE - prefix_length);
  length = append(coinbase, length, COINBASE_SUFFIX, sizeof COINBASE_SUFFIX);
  put32(header, share->version);
  memcpy(header + 4, PREV_HASH, sizeof PREV_HASH);
  sha256d(coinbase, length, header + 36); /* no other transactions: this is the merkle root */
  put32(header + 68, share->ntime);
  put32(header + 72, NBITS);
  put32(header + 76, share->nonce);
  sha256d(header, sizeof header, hash);
}

static bool meets(const uint8_t hash[32], const uint8_t target[32]) {
  int i;
  for (i = 31; i >= 0; i--) {
    if (hash[i] != target[i]) return hash[i] < target[i];
  }
  return true;
}

/* Whether this hash was there; from now on it was. The low bytes of a good hash are as random as any. */
static bool seen_before(const uint8_t hash[32]) {
  uint8_t *place = seen[(hash[0] | hash[1] << 8) % SEEN_PLACES];
  bool same = memcmp(place, hash, 32) == 0;
  memcpy(place, hash, 32);
  return same;
}

void work_judge(const gsv2_event *share, const uint8_t *prefix, size_t prefix_length,
                gsv2_verdict *verdict) {
  memset(verdict, 0, sizeof *verdict);
  verdict->submit_id = share->id;
  if (share->job_id != JOB_ID) {
    verdict->reason = 2; /* REJECT_REASON_INVALID_JOB_ID */
    return;
  }
  if (share->extranonce_size != EXTRANONCE_SIZE - prefix_length) {
    verdict->reason = 6; /* REJECT_REASON_BAD_EXTRANONCE_SIZE */
    return;
  }
  header_hash(share, prefix, prefix_length, verdict->share_hash);
  verdict->block_candidate = meets(verdict->share_hash, BLOCK_TARGET);
  if (share->detail != 0) {
    verdict->reason = share->detail; /* it came for its block's sake; as a share it is refused */
  } else if (!meets(verdict->share_hash, SHARE_TARGET)) {
    verdict->reason = 4; /* REJECT_REASON_DIFFICULTY_TOO_LOW */
  } else if (seen_before(verdict->share_hash)) {
    verdict->reason = 5; /* REJECT_REASON_DUPLICATE_SHARE */
  } else {
    verdict->accepted = 1;
    verdict->credit_fraction = CREDIT_FRACTION;
  }
}
