/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A producer for muse-relay: each line of standard input becomes a record, an empty record is the
 * end. Lines that find no room are dropped; with -w the program waits for room instead.
 *
 *     strace -f make 2>&1 | relay_record -w trace 0
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "examples/relay_buffer.h"

/* Return: whether it was written. */
static bool record(const struct relay_ring *ring, const char *line, size_t length, bool wait)
{
    const struct timespec nap = {.tv_nsec = 100000};
    int r;

    while ((r = relay_write(ring, line, (uint32_t)length)) == -ENOBUFS && wait)
        (void)nanosleep(&nap, NULL);
    return r == 0;
}

int main(int argc, char **argv)
{
    struct relay_mapped mapped;
    struct muse *muse;
    unsigned cpu;
    bool wait = false;
    char *line = NULL;
    size_t size = 0;
    unsigned long n_recorded = 0;
    unsigned long n_lost = 0;
    ssize_t length;

    if (argc > 1 && strcmp(argv[1], "-w") == 0) {
        wait = true;
        argv++;
        argc--;
    }
    if (argc != 3 || !relay_cpu_parse(argv[2], &cpu))
        return fprintf(stderr, "usage: relay_record [-w] CHANNEL CPU <LINES\n"), 2;
    if (muse_connect(&muse, NULL) < 0 ||
        relay_buffer_map(muse, argv[1], cpu, RELAY_PRODUCE, &mapped) < 0)
        return fprintf(stderr, "relay_record: %s\n", muse_last_error_text()), 1;
    while ((length = getline(&line, &size, stdin)) > 0) {
        if (record(&mapped.ring, line, (size_t)length, wait))
            n_recorded++;
        else
            n_lost++;
    }
    (void)record(&mapped.ring, "", 0, true);
    free(line);
    fprintf(stderr, "%lu recorded, %lu lost\n", n_recorded, n_lost);
    muse_disconnect(muse);
    return 0;
}
