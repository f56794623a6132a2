/* SPDX-License-Identifier: BSD-3-Clause */
/* Adds and searches. Owns nothing. */
#include "drivers/bar/bus.h"

#include <errno.h>
#include <muse/driver.h>

static struct range memory_of(const struct bus_window *window)
{
    return range_make(window->offset, window->offset + range_len(window->bus));
}

int bus_add(struct bus *bus, struct bus_window window)
{
    if (range_is_empty(window.bus) || !range_is_aligned(window.bus, MUSE_PAGE_BYTES) ||
        window.offset % MUSE_PAGE_BYTES != 0)
        return -EINVAL;
    for (size_t i = 0; i < bus->n_windows; i++) {
        if (range_overlaps(bus->windows[i].bus, window.bus) ||
            range_overlaps(memory_of(&bus->windows[i]), memory_of(&window)))
            return -EINVAL;
    }
    if (bus->n_windows == BUS_WINDOWS_MAX)
        return -E2BIG;
    bus->windows[bus->n_windows++] = window;
    return 0;
}

uint64_t bus_translate(const struct bus *bus, uint64_t address, uint64_t n_bytes,
                       uint64_t *ret_offset)
{
    for (size_t i = 0; i < bus->n_windows; i++) {
        const struct bus_window *window = &bus->windows[i];
        const uint64_t left = window->bus.end - address;

        if (!range_contains(window->bus, address))
            continue;
        *ret_offset = window->offset + (address - window->bus.start);
        return n_bytes < left ? n_bytes : left;
    }
    return 0;
}
