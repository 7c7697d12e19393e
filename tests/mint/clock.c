/*
 * A wall clock that jumps, for a program that this is loaded into with LD_PRELOAD: the file that
 * TEST_CLOCK names holds by how many seconds it is wrong. The other clocks are left as they are.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now)
{
	int failed = (int)syscall(SYS_clock_gettime, clock, now);
	const char *name = getenv("TEST_CLOCK");
	if (failed || clock != CLOCK_REALTIME || !name)
		return failed;
	long seconds = 0;
	FILE *file = fopen(name, "r");
	if (file) {
		if (fscanf(file, "%ld", &seconds) != 1)
			seconds = 0;
		fclose(file);
	}
	now->tv_sec += seconds;
	return 0;
}
