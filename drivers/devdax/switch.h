/* SPDX-License-Identifier: BSD-3-Clause */
/* The alive switch of a device: its file, and what happens to its bytes while it is offline. */
#ifndef MUSE_DRIVERS_DEVDAX_SWITCH_H
#define MUSE_DRIVERS_DEVDAX_SWITCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "common/base/must.h"

struct dax_switch {
    int fd;              /* owned: the file; -1 */
    char *saved_path;    /* owned: FILE.offline */
    uint64_t size_bytes; /* of the device, also while it is offline */
    struct stat stat;    /* of the file, as it was at the start */
    bool is_alive;
};

/**
 * switch_open() - open the file; is it alive?
 * @device: fd -1, the rest zeros
 * @path:   of a regular file, a multiple of @align bytes long
 *
 * Return: 0; -EINVAL no such file; -errno. The sentence is set.
 */
MUST_CHECK int switch_open(struct dax_switch *device, const char *path, uint64_t align);

/** switch_close() - also of one that was not opened to the end */
void switch_close(struct dax_switch *device);

/**
 * switch_off() - save the bytes, and take the file away from whoever has it mapped: SIGBUS
 *
 * What is stored while they are saved may be lost. Already off: nothing. Return: 0; -errno, and it
 * is alive as before.
 */
MUST_CHECK int switch_off(struct dax_switch *device);

/** switch_on() - put the bytes back; mappings that stand show them again. Return: 0; -errno, and it
 * is offline as before. */
MUST_CHECK int switch_on(struct dax_switch *device);

#endif
