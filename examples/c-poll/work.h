/* The one piece of work, and what a share of it is worth.
 *
 * All hashes and targets are 32 bytes in internal order: as they lie in a header, as a number little-endian.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef C_POLL_WORK_H
#define C_POLL_WORK_H

#include <stdbool.h>
#include <stdint.h>

#include "gopool_sv2.h"
#include "wire.h"

/* Bytes of extranonce in the coinbase: a channel's prefix, then what its miner rolls. */
#define EXTRANONCE_SIZE 16
/* Of these the prefix on an extended channel; a standard one has all of them fixed. */
#define PREFIX_SIZE 4
/* Job.id of the work; there is no other. */
#define JOB_ID 1
/* Credit of a share: difficulty 2^-12, which takes 2^20 hashes, in units of 2^-32. */
#define CREDIT_FRACTION (UINT32_C(1) << 20)

/* The share target: difficulty 2^-12. */
extern const uint8_t SHARE_TARGET[32];

/* Fixes the work's time: ntime may not lie before it. Once, before the others. */
void work_begin(uint32_t now);

/* Writes the work as a gopool.sv2.v1.Job. `seq` is Job.seq. */
void work_job(struct wire_out *out, uint64_t seq);

/* Judges a share, whose extranonce begins with `prefix`, by its hash. */
void work_judge(const gsv2_event *share, const uint8_t *prefix, size_t prefix_length,
                gsv2_verdict *verdict);

#endif
