/* Peers that reset their connections in the middle of a handshake harm neither the process, whose SIGPIPE is
 * what a process begins with, nor the listener.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "listener.h"

#define RESETS 200

/* Leaves with RST instead of FIN. */
static void reset(int fd) {
  struct linger at_once = {1, 0};
  CHECK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) == 0, "SO_LINGER: %s", strerror(errno));
  close(fd);
}

int main(int argc, char **argv) {
  static uint8_t garbage[4096];
  gsv2_runtime runtime;
  uint16_t port;
  size_t i;
  CHECK(argc == 2, "usage: reset FOLDER");
  CHECK(signal(SIGPIPE, SIG_DFL) != SIG_ERR, "signal");
  for (i = 0; i < sizeof garbage; i++) garbage[i] = (uint8_t)(i * 31 + 7);

  runtime = listener_start(argv[1]);
  port = listener_port(runtime);
  for (i = 0; i < RESETS; i++) {
    /* Nothing; a part of the first message; all of it, while the answer is computed or on its way; all, and
     * the begin of the answer read; all and more. */
    static const size_t lengths[] = {0, 17, 64, 64, sizeof garbage};
    size_t way = i % 5;
    uint8_t answer[10];
    int fd = peer_connect(port);
    /* The listener may have closed it. */
    if (lengths[way] > 0) (void)!send(fd, garbage, lengths[way], MSG_NOSIGNAL);
    if (way == 3) CHECK(recv(fd, answer, sizeof answer, 0) > 0, "no answer to handshake %zu", i);
    reset(fd);
  }
  peer_expect_answer(port);
  listener_stop(runtime);
  return 0;
}
