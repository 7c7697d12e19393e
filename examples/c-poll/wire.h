/* As much of Protocol Buffers as the messages of gopool/sv2/v1/work.proto need: numbers, fixed32, bytes and
 * messages in messages.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef C_POLL_WIRE_H
#define C_POLL_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A message being written. What doesn't fit sets `full`, and nothing more is written. */
struct wire_out {
  uint8_t bytes[1024];
  size_t length;
  bool full;
};

/* Each appends one field. A number or flag of 0 is what an absent field means, too. */
void wire_number(struct wire_out *out, uint32_t field, uint64_t value);
void wire_fixed32(struct wire_out *out, uint32_t field, uint32_t value);
void wire_bytes(struct wire_out *out, uint32_t field, const void *bytes, size_t length);
void wire_message(struct wire_out *out, uint32_t field, const struct wire_out *inner);

/* A message being read; points into the caller's bytes. */
struct wire_in {
  const uint8_t *next, *end;
};

/* One field. Numbers, also the fixed ones, are in `number`; the content of bytes, text and messages is in
 * `bytes`, which points into the message. */
struct wire_field {
  uint32_t field;
  uint64_t number;
  struct wire_in bytes;
};

/* Reads the next field. 1: there is one; 0: the message is over; -1: this is no message. */
int wire_next(struct wire_in *in, struct wire_field *out);

#endif
