/* A listener changes no handler of a signal, nor the mask of the threads that call it, and its own threads
 * get none of the process's signals.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include <dirent.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "listener.h"

#define SIGNALS 65

struct state {
  struct sigaction actions[SIGNALS];
  int known[SIGNALS];
  sigset_t mask;
};

static void on_signal(int number) { (void)number; }

static void look(struct state *state) {
  int n;
  memset(state, 0, sizeof *state);
  for (n = 1; n < SIGNALS; n++) state->known[n] = sigaction(n, NULL, &state->actions[n]) == 0;
  CHECK(pthread_sigmask(SIG_SETMASK, NULL, &state->mask) == 0, "pthread_sigmask");
}

static void compare(const struct state *before, const char *after) {
  struct state now;
  int n, member;
  look(&now);
  for (n = 1; n < SIGNALS; n++) {
    const struct sigaction *a = &before->actions[n], *b = &now.actions[n];
    CHECK(before->known[n] == now.known[n], "signal %d after %s", n, after);
    CHECK(sigismember(&before->mask, n) == sigismember(&now.mask, n), "the mask has changed for signal %d after %s",
          n, after);
    if (!now.known[n]) continue;
    CHECK(a->sa_handler == b->sa_handler, "another handler of signal %d after %s", n, after);
    CHECK(a->sa_flags == b->sa_flags, "other flags of signal %d after %s", n, after);
    for (member = 1; member < SIGNALS; member++) {
      CHECK(sigismember(&a->sa_mask, member) == sigismember(&b->sa_mask, member),
            "another mask in the handler of signal %d after %s", n, after);
    }
  }
}

/* Looks at the masks of all threads but this one; gives their number. */
static int check_threads(void) {
  static const int of_the_process[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGCHLD, SIGURG, SIGPROF, SIGUSR1};
  DIR *tasks = opendir("/proc/self/task");
  struct dirent *task;
  int threads = 0;
  CHECK(tasks != NULL, "/proc/self/task");
  while ((task = readdir(tasks)) != NULL) {
    char path[320], line[256];
    uint64_t blocked = 0;
    int found = 0;
    size_t i;
    FILE *status;
    if (task->d_name[0] == '.' || atoi(task->d_name) == getpid()) continue;
    snprintf(path, sizeof path, "/proc/self/task/%s/status", task->d_name);
    status = fopen(path, "r");
    if (status == NULL) continue; /* it has ended */
    while (fgets(line, sizeof line, status) != NULL) {
      if (sscanf(line, "SigBlk: %" SCNx64, &blocked) == 1) found = 1;
    }
    fclose(status);
    CHECK(found, "no SigBlk in %s", path);
    for (i = 0; i < sizeof of_the_process / sizeof *of_the_process; i++) {
      CHECK(blocked >> (of_the_process[i] - 1) & 1, "thread %s takes signal %d", task->d_name, of_the_process[i]);
    }
    threads++;
  }
  closedir(tasks);
  return threads;
}

int main(int argc, char **argv) {
  struct sigaction mine;
  struct state before;
  gsv2_runtime runtime;
  sigset_t mask;
  CHECK(argc == 2, "usage: signals FOLDER");

  /* A host that has handlers and a mask of its own. */
  memset(&mine, 0, sizeof mine);
  mine.sa_handler = on_signal;
  mine.sa_flags = SA_RESTART | SA_ONSTACK;
  sigaddset(&mine.sa_mask, SIGUSR2);
  CHECK(sigaction(SIGTERM, &mine, NULL) == 0 && sigaction(SIGURG, &mine, NULL) == 0, "sigaction");
  sigemptyset(&mask);
  sigaddset(&mask, SIGUSR1);
  CHECK(pthread_sigmask(SIG_BLOCK, &mask, NULL) == 0, "pthread_sigmask");

  look(&before);
  runtime = listener_new(argv[1]);
  compare(&before, "new");
  EXPECT(GSV2_OK, gsv2_runtime_start(runtime));
  compare(&before, "start");
  peer_expect_answer(listener_port(runtime));
  compare(&before, "a connection");
  CHECK(check_threads() >= 2, "the listener has no threads to look at");
  listener_stop(runtime);
  compare(&before, "drain and free");
  return 0;
}
