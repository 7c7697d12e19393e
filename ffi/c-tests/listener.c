/* A listener and a peer, for the tests.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* How long anything may take, in seconds. */
#define PATIENCE 60

void fail(const char *file, int line, const char *format, ...) {
  va_list values;
  fprintf(stderr, "%s:%d: ", file, line);
  va_start(values, format);
  vfprintf(stderr, format, values);
  va_end(values);
  fputc('\n', stderr);
  exit(1);
}

void expect(const char *file, int line, const char *call, gsv2_result wanted, gsv2_result got) {
  char text[1024];
  size_t length;
  if (got == wanted) return;
  length = got == GSV2_OK ? 0 : gsv2_last_error(text, sizeof text);
  if (length > sizeof text) length = sizeof text;
  fail(file, line, "%s is %d, not %d: %.*s", call, (int)got, (int)wanted, (int)length, text);
}

gsv2_runtime listener_new(const char *folder) {
  return listener_of(folder, "[listen]\naddress = \"127.0.0.1:0\"\n[authority]\nkey_file = \"authority.key\"\n");
}

gsv2_runtime listener_of(const char *folder, const char *toml) {
  gsv2_config config;
  gsv2_runtime runtime;
  char path[1024];
  int length = snprintf(path, sizeof path, "%s/listener.toml", folder);
  CHECK(length > 0 && (size_t)length < sizeof path, "the folder's name is too long");
  memset(&config, 0, sizeof config);
  config.struct_size = sizeof config;
  config.threads = 2;
  config.path = path;
  config.path_length = (size_t)length;
  config.toml = toml;
  config.toml_length = strlen(toml);
  EXPECT(GSV2_OK, gsv2_runtime_new(&config, &runtime));
  CHECK(runtime != 0, "the handle is 0");
  return runtime;
}

gsv2_runtime listener_start(const char *folder) {
  gsv2_runtime runtime = listener_new(folder);
  EXPECT(GSV2_OK, gsv2_runtime_start(runtime));
  return runtime;
}

/* Takes the text of an event to standard error. */
static void show(gsv2_runtime runtime, const gsv2_event *event) {
  uint8_t *text = malloc(event->length + 1);
  size_t length;
  CHECK(text != NULL, "no memory");
  EXPECT(GSV2_OK, gsv2_runtime_take(runtime, event->id, text, event->length, &length));
  fprintf(stderr, "  listener: %.*s\n", (int)length, (const char *)text);
  free(text);
}

void listener_await(gsv2_runtime runtime, uint32_t kind, gsv2_event *last) {
  struct pollfd wait = {.events = POLLIN};
  gsv2_event event;
  size_t count;
  EXPECT(GSV2_OK, gsv2_runtime_event_fd(runtime, &wait.fd));
  for (;;) {
    int ready = poll(&wait, 1, PATIENCE * 1000);
    if (ready < 0 && errno == EINTR) continue;
    CHECK(ready == 1, "no event within %d s", PATIENCE);
    EXPECT(GSV2_OK, gsv2_runtime_poll(runtime, &event, 1, &count));
    if (count == 0) continue; /* a stream of which nothing was polled yet has ended, and its Hello with it */
    /* Known problems of peers are not the listener's. */
    if (event.kind == GSV2_EVENT_FATAL || (event.kind == GSV2_EVENT_LOG && event.detail == GSV2_LOG_ERROR))
      show(runtime, &event);
    CHECK(event.kind != GSV2_EVENT_FATAL, "the listener failed");
    if (event.kind == kind) {
      if (last != NULL) *last = event;
      return;
    }
  }
}

void listener_stop(gsv2_runtime runtime) {
  EXPECT(GSV2_OK, gsv2_runtime_drain(runtime));
  listener_await(runtime, GSV2_EVENT_DRAINED, NULL);
  EXPECT(GSV2_OK, gsv2_runtime_free(runtime));
}

uint16_t listener_port(gsv2_runtime runtime) {
  char url[512];
  const char *colon;
  size_t length;
  long port;
  EXPECT(GSV2_OK, gsv2_runtime_url(runtime, url, sizeof url - 1, &length));
  url[length] = 0;
  colon = strrchr(url, ':');
  CHECK(colon != NULL, "no port in %s", url);
  port = strtol(colon + 1, NULL, 10);
  CHECK(port > 0 && port < 65536, "no port in %s", url);
  return (uint16_t)port;
}

int peer_connect(uint16_t port) {
  struct sockaddr_in to;
  struct timeval patience = {PATIENCE, 0};
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(fd >= 0, "socket: %s", strerror(errno));
  memset(&to, 0, sizeof to);
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0, "patience");
  CHECK(connect(fd, (struct sockaddr *)&to, sizeof to) == 0, "connect: %s", strerror(errno));
  return fd;
}

void peer_expect_answer(uint16_t port) {
  uint8_t key[64], answer;
  ssize_t got;
  int fd = peer_connect(port);
  memset(key, 0x5a, sizeof key);
  CHECK(send(fd, key, sizeof key, MSG_NOSIGNAL) == (ssize_t)sizeof key, "send: %s", strerror(errno));
  got = recv(fd, &answer, 1, 0);
  CHECK(got == 1, "the listener does not answer a handshake: %s", got == 0 ? "closed" : strerror(errno));
  close(fd);
}
