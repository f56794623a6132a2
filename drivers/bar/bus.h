/* SPDX-License-Identifier: BSD-3-Clause */
/* From bus addresses to the device's memory: the translation that io_remap_pfn_range() does on some
 * machines. Pure. */
#ifndef MUSE_DRIVERS_BAR_BUS_H
#define MUSE_DRIVERS_BAR_BUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "common/base/range.h"

#define BUS_WINDOWS_MAX 16u

struct bus_window {
    struct range bus; /* addresses on the bus, whole pages */
    uint64_t offset;  /* in the device's memory, of the first of them */
};

struct bus {
    struct bus_window windows[BUS_WINDOWS_MAX]; /* none overlaps another, on either side */
    size_t n_windows;
};

/**
 * bus_add() - one more window
 *
 * Return: 0; -EINVAL empty, not whole pages, or it overlaps another; -E2BIG.
 */
MUST_CHECK int bus_add(struct bus *bus, struct bus_window window);

/**
 * bus_translate() - where an address is
 * @n_bytes:    wanted from there on
 * @ret_offset: in the device's memory
 *
 * Return: how many of them lie in one piece there; 0: the address is nobody's.
 */
uint64_t bus_translate(const struct bus *bus, uint64_t address, uint64_t n_bytes,
                       uint64_t *ret_offset);

#endif
