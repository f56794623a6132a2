/* SPDX-License-Identifier: BSD-3-Clause */
/* A buffer of a relay channel, mapped: what producers and readers of muse-relay begin with. */
#ifndef MUSE_EXAMPLES_RELAY_BUFFER_H
#define MUSE_EXAMPLES_RELAY_BUFFER_H

#include <muse/muse.h>
#include <stdbool.h>

#include "drivers/relay/ring.h"

/* Mapped until muse_disconnect() or relay_buffer_unmap(). */
struct relay_mapped {
    struct relay_ring ring;
    void *data;
    size_t n_bytes;
    void *ctl;
};

/* What a process wants to do with a buffer. */
enum relay_use {
    RELAY_LOOK,    /* read, and give nothing back: needs no right to write */
    RELAY_CONSUME, /* read, and give sub-buffers back */
    RELAY_PRODUCE,
};

/**
 * relay_buffer_map() - map relay/CHANNEL/cpuN and its control page
 *
 * Return: 0; -1 and errno: as muse_open(), muse_mmap(); EPROTO the control page is none.
 */
int relay_buffer_map(struct muse *muse, const char *channel, unsigned cpu, enum relay_use use,
                     struct relay_mapped *ret);

/** relay_cpu_parse() - the number of a buffer, from a command line. Return: whether it is one. */
bool relay_cpu_parse(const char *text, unsigned *ret_cpu);

/** relay_buffer_unmap() - both. Keeps errno. */
void relay_buffer_unmap(struct muse *muse, struct relay_mapped *mapped);

#endif
