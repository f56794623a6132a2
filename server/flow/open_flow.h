/* SPDX-License-Identifier: BSD-3-Clause */
/* What other flows need of opening: a file from a driver's answer, a driver by name. */
#ifndef MUSE_SERVER_FLOW_OPEN_FLOW_H
#define MUSE_SERVER_FLOW_OPEN_FLOW_H

#include "common/ipc/chan.h"
#include "proto/driver.pb-c.h"
#include "server/flow/engine.h"

/**
 * file_new() - a file from the driver's answer to open
 * @opened, @frame: the answer, untrusted; fds that are used are taken
 * @path:           below the driver's name; copied
 * @ret_why:        on failure: a static sentence
 *
 * On failure the driver is told release.
 * Return: 0, one reference in @ret_file; -EREMOTEIO, -EDQUOT, -EMFILE, -ENOMEM.
 */
MUST_CHECK int file_new(struct space *space, struct driver *driver,
                        const Muse__Wire__DriverOpened *opened, struct frame *frame,
                        const char *path, uint32_t oflags, struct file **ret_file,
                        const char **ret_why);

/** open_failed_errno() - the errno of a DRIVER_FAILED frame, as -errno */
int open_failed_errno(struct frame *frame);

/** driver_find() - the living driver of a name. Return: borrowed, or NULL. */
struct driver *driver_find(const struct engine *engine, const char *name, size_t n_name);

#endif
