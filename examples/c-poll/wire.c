/* Protocol Buffers' wire format: https://protobuf.dev/programming-guides/encoding/
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "wire.h"

#include <string.h>

enum { VARINT = 0, FIXED64 = 1, LENGTH = 2, FIXED32 = 5 };

static void put(struct wire_out *out, const void *bytes, size_t length) {
  if (out->full || length > sizeof out->bytes - out->length) {
    out->full = true;
    return;
  }
  if (length > 0) memcpy(out->bytes + out->length, bytes, length);
  out->length += length;
}

static void put_varint(struct wire_out *out, uint64_t value) {
  uint8_t bytes[10];
  size_t length = 0;
  for (; value >= 0x80; value >>= 7) bytes[length++] = (uint8_t)(value | 0x80);
  bytes[length++] = (uint8_t)value;
  put(out, bytes, length);
}

static void put_key(struct wire_out *out, uint32_t field, uint32_t type) {
  put_varint(out, (uint64_t)field << 3 | type);
}

void wire_number(struct wire_out *out, uint32_t field, uint64_t value) {
  put_key(out, field, VARINT);
  put_varint(out, value);
}

void wire_fixed32(struct wire_out *out, uint32_t field, uint32_t value) {
  uint8_t bytes[4];
  int i;
  for (i = 0; i < 4; i++) bytes[i] = (uint8_t)(value >> (8 * i));
  put_key(out, field, FIXED32);
  put(out, bytes, sizeof bytes);
}

void wire_bytes(struct wire_out *out, uint32_t field, const void *bytes, size_t length) {
  put_key(out, field, LENGTH);
  put_varint(out, length);
  put(out, bytes, length);
}

void wire_message(struct wire_out *out, uint32_t field, const struct wire_out *inner) {
  out->full |= inner->full;
  wire_bytes(out, field, inner->bytes, inner->length);
}

static bool get_varint(struct wire_in *in, uint64_t *value) {
  int shift;
  *value = 0;
  for (shift = 0; shift < 64; shift += 7) {
    if (in->next == in->end) return false;
    *value |= (uint64_t)(*in->next & 0x7f) << shift;
    if (!(*in->next++ & 0x80)) return true;
  }
  return false;
}

static bool get_fixed(struct wire_in *in, size_t size, uint64_t *value) {
  size_t i;
  if ((size_t)(in->end - in->next) < size) return false;
  for (i = 0, *value = 0; i < size; i++) *value |= (uint64_t)in->next[i] << (8 * i);
  in->next += size;
  return true;
}

int wire_next(struct wire_in *in, struct wire_field *out) {
  uint64_t key, length;
  memset(out, 0, sizeof *out);
  if (in->next == in->end) return 0;
  if (!get_varint(in, &key)) return -1;
  if (key >> 3 == 0 || key >> 3 > 0x1fffffff) return -1;
  out->field = (uint32_t)(key >> 3);
  switch (key & 7) {
  case VARINT: return get_varint(in, &out->number) ? 1 : -1;
  case FIXED64: return get_fixed(in, 8, &out->number) ? 1 : -1;
  case FIXED32: return get_fixed(in, 4, &out->number) ? 1 : -1;
  case LENGTH:
    if (!get_varint(in, &length) || length > (uint64_t)(in->end - in->next)) return -1;
    out->bytes.next = in->next;
    out->bytes.end = in->next += length;
    return 1;
  default: return -1;
  }
}
