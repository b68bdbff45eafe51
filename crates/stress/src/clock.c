/* Lets a program believe that it is AHEAD seconds later: loaded before the C library, whose wall clock it replaces. */
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t which, struct timespec *now)
{
    int failed = (int)syscall(SYS_clock_gettime, which, now);
    if (!failed && which == CLOCK_REALTIME)
        now->tv_sec += AHEAD;
    return failed;
}
