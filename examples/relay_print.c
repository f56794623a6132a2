/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A reader for muse-relay: prints the records of a buffer until an empty one comes, and gives the
 * sub-buffers back. How much was lost is said at the end.
 *
 *     relay_print trace 0 >trace.txt
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "examples/relay_buffer.h"

/* Nobody wakes a reader: it looks again, as readers of relay files do. */
static int print_all(const struct relay_ring *ring, char *record, size_t size)
{
    const struct timespec nap = {.tv_nsec = 200000};
    struct relay_reader reader = {0};
    ssize_t n;

    while ((n = relay_read(ring, &reader, record, size)) != 0) {
        if (n == -EAGAIN) {
            (void)fflush(stdout);
            (void)nanosleep(&nap, NULL);
        } else if (n < 0 || fwrite(record, 1, (size_t)n, stdout) != (size_t)n) {
            return -1;
        }
    }
    fprintf(stderr, "%llu accepted, %llu lost, %llu given up, %llu sub-buffers overwritten\n",
            (unsigned long long)ring->ctl->accepted, (unsigned long long)ring->ctl->lost,
            (unsigned long long)ring->ctl->aborted, (unsigned long long)reader.skipped);
    return 0;
}

int main(int argc, char **argv)
{
    struct relay_mapped mapped;
    struct muse *muse;
    unsigned cpu;
    char *record;
    int r;

    if (argc != 3 || !relay_cpu_parse(argv[2], &cpu))
        return fprintf(stderr, "usage: relay_print CHANNEL CPU\n"), 2;
    if (muse_connect(&muse, NULL) < 0 ||
        relay_buffer_map(muse, argv[1], cpu, RELAY_CONSUME, &mapped) < 0)
        return fprintf(stderr, "relay_print: %s\n", muse_last_error_text()), 1;
    record = malloc(mapped.ring.subbuf_bytes);
    r = record ? print_all(&mapped.ring, record, mapped.ring.subbuf_bytes) : -1;
    free(record);
    muse_disconnect(muse);
    return r < 0 || fflush(stdout) != 0;
}
