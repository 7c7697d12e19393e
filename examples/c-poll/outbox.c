/* Answers on their way to the listener.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "outbox.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One call that waits: `count` verdicts, or a message of `count` bytes. */
struct waiting {
  struct waiting *next;
  uint32_t stream;
  bool is_message;
  size_t count;
  void *content;
};

static struct waiting *first, **last = &first;

void print_failure(const char *what) {
  char text[2048];
  size_t length = gsv2_last_error(text, sizeof text);
  fprintf(stderr, "c-poll: %s: %.*s\n", what, (int)(length < sizeof text ? length : sizeof text), text);
}

static gsv2_result hand_over(gsv2_runtime runtime, uint32_t stream, bool is_message, const void *content,
                             size_t count) {
  return is_message ? gsv2_runtime_control(runtime, stream, content, count)
                    : gsv2_runtime_complete(runtime, stream, content, count);
}

static bool queue(uint32_t stream, bool is_message, const void *content, size_t count) {
  size_t bytes = is_message ? count : count * sizeof(gsv2_verdict);
  struct waiting *entry = malloc(sizeof *entry);
  void *copy = malloc(bytes);
  if (entry == NULL || copy == NULL) {
    free(entry);
    free(copy);
    fprintf(stderr, "c-poll: no memory for an answer\n");
    return false;
  }
  entry->next = NULL;
  entry->stream = stream;
  entry->is_message = is_message;
  entry->count = count;
  entry->content = memcpy(copy, content, bytes);
  *last = entry;
  last = &entry->next;
  return true;
}

static bool send_or_queue(gsv2_runtime runtime, uint32_t stream, bool is_message, const void *content,
                          size_t count) {
  if (first != NULL) return queue(stream, is_message, content, count);
  switch (hand_over(runtime, stream, is_message, content, count)) {
  case GSV2_OK:
  case GSV2_STREAM_OVER: /* GSV2_EVENT_STREAM_ENDED comes */
    return true;
  case GSV2_FULL: return queue(stream, is_message, content, count);
  case GSV2_POISONED: /* GSV2_EVENT_FATAL comes, and says why */
    return true;
  default: print_failure("an answer was refused"); return false;
  }
}

bool outbox_message(gsv2_runtime runtime, uint32_t stream, uint32_t field,
                    const struct wire_out *inner) {
  struct wire_out response = {.length = 0};
  wire_message(&response, field, inner);
  if (response.full) {
    fprintf(stderr, "c-poll: a message is longer than its buffer\n");
    return false;
  }
  return send_or_queue(runtime, stream, true, response.bytes, response.length);
}

bool outbox_verdicts(gsv2_runtime runtime, uint32_t stream, const gsv2_verdict *verdicts,
                     size_t count) {
  return count == 0 || send_or_queue(runtime, stream, false, verdicts, count);
}

static void drop_first(void) {
  struct waiting *entry = first;
  first = entry->next;
  if (first == NULL) last = &first;
  free(entry->content);
  free(entry);
}

bool outbox_retry(gsv2_runtime runtime) {
  while (first != NULL) {
    gsv2_result result =
        hand_over(runtime, first->stream, first->is_message, first->content, first->count);
    if (result == GSV2_FULL) return true;
    if (result != GSV2_OK && result != GSV2_STREAM_OVER && result != GSV2_POISONED) {
      print_failure("an answer was refused");
      return false;
    }
    drop_first();
  }
  return true;
}

void outbox_clear(void) {
  while (first != NULL) drop_first();
}
