/* Listeners that start and stop leave nothing behind: no thread, no descriptor, no memory.
 * 200 times; 1,000 with GOPOOL_SV2_LONG=1. With AddressSanitizer, which keeps records of each thread that was,
 * it is its own search for leaks that counts for memory.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "listener.h"

/* What the resident memory may grow by in the second half, in KiB. */
#define GROWTH_MAX 2048

static int entries(const char *path) {
  DIR *folder = opendir(path);
  int count = 0;
  CHECK(folder != NULL, "%s", path);
  while (readdir(folder) != NULL) count++;
  closedir(folder);
  return count;
}

/* A thread that was waited for is seen for a moment longer. */
static void expect_threads(int wanted, int cycle) {
  const struct timespec moment = {0, 1000000};
  int tries, now = 0;
  for (tries = 0; tries < 10000; tries++) {
    if ((now = entries("/proc/self/task")) == wanted) return;
    nanosleep(&moment, NULL);
  }
  CHECK(false, "%d threads after %d cycles, %d before", now, cycle, wanted);
}

/* Resident memory in KiB. */
static long resident(void) {
  FILE *status = fopen("/proc/self/status", "r");
  char line[256];
  long kib = -1;
  CHECK(status != NULL, "/proc/self/status");
  while (fgets(line, sizeof line, status) != NULL) (void)sscanf(line, "VmRSS: %ld", &kib);
  fclose(status);
  CHECK(kib > 0, "no VmRSS");
  return kib;
}

int main(int argc, char **argv) {
  const char *wanted = getenv("GOPOOL_SV2_LONG");
  int cycles = wanted != NULL && strcmp(wanted, "1") == 0 ? 1000 : 200;
  int threads, fds, i;
  long half = 0, end;
  CHECK(argc == 2, "usage: cycle FOLDER");
  threads = entries("/proc/self/task");
  fds = entries("/proc/self/fd");
  for (i = 1; i <= cycles; i++) {
    gsv2_runtime runtime = listener_start(argv[1]);
    peer_expect_answer(listener_port(runtime));
    /* In order, and cut off. */
    if (i % 2 == 0) listener_stop(runtime);
    else EXPECT(GSV2_OK, gsv2_runtime_free(runtime));
    expect_threads(threads, i);
    CHECK(entries("/proc/self/fd") == fds, "%d descriptors after %d cycles, %d before", entries("/proc/self/fd"), i,
          fds);
    if (i == cycles / 2) half = resident();
  }
  end = resident();
#if !defined(__SANITIZE_ADDRESS__)
  CHECK(end - half < GROWTH_MAX, "resident memory grew from %ld to %ld KiB in the second half of %d cycles", half,
        end, cycles);
#endif
  printf("%d cycles, %ld KiB resident at half and %ld at the end\n", cycles, half, end);
  return 0;
}
