/* c-poll: a pool in C, on the C ABI of gopool-sv2. It hands out one fixed piece of work, prints each share,
 * and accepts those that meet the target.
 *
 *   c-poll listener.toml
 *
 * SIGINT or SIGTERM: it stops in order. A second one ends it at once.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "gopool_sv2.h"
#include "outbox.h"
#include "pool.h"
#include "work.h"

/* A program that refers to it can't be linked with a library of another version. */
void (*const c_poll_abi)(void) = gsv2_abi_v1;

enum next { GO_ON, ENDED, FAILED };

/* A signal writes a byte here, and poll(2) sees it wherever the signal came. */
static int signals[2];

static void on_signal(int number) {
  int before = errno;
  char byte = (char)number;
  (void)!write(signals[1], &byte, 1);
  errno = before;
}

static bool catch_signals(void) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_signal;
  return pipe(signals) == 0 && fcntl(signals[0], F_SETFL, O_NONBLOCK) == 0 &&
         fcntl(signals[1], F_SETFL, O_NONBLOCK) == 0 && sigaction(SIGINT, &action, NULL) == 0 &&
         sigaction(SIGTERM, &action, NULL) == 0;
}

/* Prints text of the library, behind `what`. */
static void print_record(gsv2_runtime runtime, const gsv2_event *event, const char *what) {
  char *text = malloc(event->length > 0 ? event->length : 1);
  size_t length;
  if (text != NULL &&
      gsv2_runtime_take(runtime, event->id, (uint8_t *)text, event->length, &length) == GSV2_OK) {
    fprintf(stderr, "%s: %.*s\n", what, (int)length, text);
  }
  free(text);
}

static enum next take(gsv2_runtime runtime, const gsv2_event *event) {
  static const char *const levels[] = {"", "error", "warn", "info", "debug", "trace"};
  switch (event->kind) {
  case GSV2_EVENT_LOG:
    print_record(runtime, event, levels[event->detail <= GSV2_LOG_TRACE ? event->detail : 0]);
    return GO_ON;
  case GSV2_EVENT_DRAINED: return ENDED;
  case GSV2_EVENT_FATAL: print_record(runtime, event, "the listener failed"); return FAILED;
  default: return pool_event(runtime, event) ? GO_ON : FAILED;
  }
}

/* Takes a batch of events. The descriptor stays readable while more wait. */
static enum next take_batch(gsv2_runtime runtime) {
  static gsv2_event events[256];
  size_t count, i;
  if (gsv2_runtime_poll(runtime, events, sizeof events / sizeof *events, &count) != GSV2_OK) {
    print_failure("poll");
    return FAILED;
  }
  for (i = 0; i < count; i++) {
    enum next next = take(runtime, &events[i]);
    if (next != GO_ON) return next;
  }
  fflush(stdout);
  return pool_flush(runtime) ? GO_ON : FAILED;
}

/* Serves miners until a signal has stopped the listener. */
static bool serve(gsv2_runtime runtime) {
  struct pollfd wait[2] = {{.events = POLLIN}, {.fd = signals[0], .events = POLLIN}};
  bool draining = false;
  enum next next = GO_ON;
  if (gsv2_runtime_event_fd(runtime, &wait[0].fd) != GSV2_OK) {
    print_failure("event_fd");
    return false;
  }
  while (next == GO_ON) {
    char byte;
    if (poll(wait, 2, -1) < 0 && errno != EINTR) {
      perror("c-poll: poll");
      return false;
    }
    if (read(signals[0], &byte, 1) == 1) {
      if (draining) return false;
      draining = true;
      fprintf(stderr, "c-poll: stopping\n");
      if (gsv2_runtime_drain(runtime) != GSV2_OK) print_failure("drain");
    }
    next = take_batch(runtime);
  }
  return next == ENDED;
}

static void print_counts(void) {
  struct counts counts = pool_counts();
  printf("%" PRIu64 " shares accepted, %" PRIu64 " rejected, %" PRIu64 " block candidates\n", counts.accepted,
         counts.rejected, counts.blocks);
}

static bool run(const char *path) {
  gsv2_config config;
  gsv2_runtime runtime;
  char url[512];
  size_t length;
  bool good = false;
  memset(&config, 0, sizeof config);
  config.struct_size = sizeof config;
  config.path = path;
  config.path_length = strlen(path);
  if (gsv2_runtime_new(&config, &runtime) != GSV2_OK) {
    print_failure("the listener can't be made");
    return false;
  }
  if (gsv2_runtime_start(runtime) != GSV2_OK) {
    print_failure("the listener can't start");
  } else if (gsv2_runtime_url(runtime, url, sizeof url, &length) != GSV2_OK) {
    print_failure("url");
  } else {
    printf("miners type: %.*s\n", (int)length, url);
    fflush(stdout);
    good = serve(runtime);
    print_counts();
  }
  if (gsv2_runtime_free(runtime) != GSV2_OK) print_failure("free");
  return good;
}

int main(int argc, char **argv) {
  bool good;
  if (argc != 2) {
    fprintf(stderr, "usage: %s FILE\nFILE configures the listener, as `gopool-sv2 serve --config` takes it\n",
            argc > 0 ? argv[0] : "c-poll");
    return 64;
  }
  if (!catch_signals()) {
    perror("c-poll: signals");
    return 1;
  }
  work_begin((uint32_t)time(NULL));
  good = run(argv[1]);
  pool_free();
  return good ? 0 : 1;
}
