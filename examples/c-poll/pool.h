/* The pool's side of a stream: what it answers to the listener.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef C_POLL_POOL_H
#define C_POLL_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gopool_sv2.h"

/* What was judged. */
struct counts {
  uint64_t accepted, rejected, blocks;
};

/* Takes one event of a stream: SUBMIT, MESSAGE, STREAM_ENDED or ROOM. false: it can't go on; it was said. */
bool pool_event(gsv2_runtime runtime, const gsv2_event *event);

/* Sends the verdicts that wait. After each batch of events. false as above. */
bool pool_flush(gsv2_runtime runtime);

/* The counts so far. */
struct counts pool_counts(void);

/* Frees what is held. */
void pool_free(void);

#endif
