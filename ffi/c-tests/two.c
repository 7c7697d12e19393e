/* Two listeners live in one process, and the end of one is nothing to the other.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include <stdlib.h>

#include "listener.h"

/* The listener's Hello: the first event of its first stream. */
static gsv2_event hello(gsv2_runtime runtime) {
  gsv2_event event;
  listener_await(runtime, GSV2_EVENT_MESSAGE, &event);
  CHECK(event.stream == 1 && event.length > 0, "stream %u, length %u", event.stream, event.length);
  return event;
}

int main(int argc, char **argv) {
  gsv2_runtime first, second;
  gsv2_event of_first, of_second;
  uint8_t bytes[2][1024];
  size_t length, count;
  uint16_t port;
  int first_fd, second_fd;
  CHECK(argc == 2, "usage: two FOLDER");

  first = listener_start(argv[1]);
  second = listener_start(argv[1]);
  CHECK(first != second, "one handle for both");
  EXPECT(GSV2_OK, gsv2_runtime_event_fd(first, &first_fd));
  EXPECT(GSV2_OK, gsv2_runtime_event_fd(second, &second_fd));
  CHECK(first_fd != second_fd, "one descriptor for both");
  port = listener_port(second);
  CHECK(listener_port(first) != port, "one port for both");
  peer_expect_answer(listener_port(first));
  peer_expect_answer(port);

  /* What one has to say waits there, whatever the other is asked. */
  of_second = hello(second);
  of_first = hello(first);
  EXPECT(GSV2_OK, gsv2_runtime_take(second, of_second.id, bytes[0], sizeof bytes[0], &length));
  EXPECT(GSV2_NO_RECORD, gsv2_runtime_take(second, of_second.id, bytes[0], sizeof bytes[0], &length));
  EXPECT(GSV2_OK, gsv2_runtime_take(first, of_first.id, bytes[1], sizeof bytes[1], &length));

  listener_stop(first);
  EXPECT(GSV2_BAD_HANDLE, gsv2_runtime_poll(first, &of_first, 1, &count));
  EXPECT(GSV2_BAD_HANDLE, gsv2_runtime_free(first));
  peer_expect_answer(port);
  EXPECT(GSV2_OK, gsv2_runtime_hang_up(second, of_second.stream));
  listener_await(second, GSV2_EVENT_STREAM_ENDED, NULL);

  /* The place of the freed one is used again, under another handle. */
  first = listener_start(argv[1]);
  peer_expect_answer(listener_port(first));
  EXPECT(GSV2_OK, gsv2_runtime_free(second));
  peer_expect_answer(listener_port(first));
  listener_stop(first);
  return 0;
}
