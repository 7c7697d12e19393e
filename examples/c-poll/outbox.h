/* Answers on their way to the listener, in order. What it has no room for waits here for GSV2_EVENT_ROOM.
 * That is bounded by what the listener asks: [limits].max_in_flight submits, and some channels' messages.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef C_POLL_OUTBOX_H
#define C_POLL_OUTBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gopool_sv2.h"
#include "wire.h"

/* Each hands its answer over or queues it. false: it can't be handed over, or there is no memory; said. */
bool outbox_message(gsv2_runtime runtime, uint32_t stream, uint32_t field, const struct wire_out *inner);
bool outbox_verdicts(gsv2_runtime runtime, uint32_t stream, const gsv2_verdict *verdicts, size_t count);

/* Tries again what waits: there is room. */
bool outbox_retry(gsv2_runtime runtime);

/* Forgets what waits: its stream is over. */
void outbox_clear(void);

/* Prints why the last call of this thread came to nothing, behind `what`. */
void print_failure(const char *what);

#endif
