/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * 2 MiB pages for the time of a test: vm.nr_hugepages grows by what the test needs, and shrinks by
 * as much afterwards, whatever other tests do to it meanwhile. Header only; root.
 */
#ifndef MUSE_TESTS_SUPPORT_HUGE_PAGES_H
#define MUSE_TESTS_SUPPORT_HUGE_PAGES_H

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#define HUGE_PAGES_POOL    "/proc/sys/vm/nr_hugepages"
#define HUGE_PAGES_SKIPPED 77 /* what ctest takes for "could not run here" */

static inline long huge_pages_now(int fd)
{
    char text[32] = "";

    return pread(fd, text, sizeof(text) - 1, 0) > 0 ? strtol(text, NULL, 10) : -1;
}

static inline bool huge_pages_set(int fd, long n)
{
    char text[32];
    const int n_chars = snprintf(text, sizeof(text), "%ld", n < 0 ? 0 : n);

    return pwrite(fd, text, (size_t)n_chars, 0) == n_chars && huge_pages_now(fd) == n;
}

/* By @n more or fewer; all or nothing. */
static inline bool huge_pages_change(long n)
{
    const int fd = open(HUGE_PAGES_POOL, O_RDWR | O_CLOEXEC);
    long before;
    bool done;

    if (fd < 0)
        return false;
    (void)flock(fd, LOCK_EX); /* tests run side by side; given up by close */
    before = huge_pages_now(fd);
    done = huge_pages_set(fd, before + n);
    if (!done)
        (void)huge_pages_set(fd, before);
    (void)close(fd);
    return done;
}

/** huge_pages_take() - @n more in the pool. Return: false: the machine has none to give, and a
 * sentence was printed; nothing is to be given back. */
static inline bool huge_pages_take(long n)
{
    if (huge_pages_change(n))
        return true;
    (void)fprintf(stderr, "no %ld pages of 2 MiB to be had (" HUGE_PAGES_POOL ", root)\n", n);
    return false;
}

/** huge_pages_give_back() - what huge_pages_take() took */
static inline void huge_pages_give_back(long n)
{
    (void)huge_pages_change(-n);
}

#endif
