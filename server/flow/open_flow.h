/* SPDX-License-Identifier: BSD-3-Clause */
/* What other flows need of opening: a file from a driver's answer, a driver by name. */
#ifndef MUSE_SERVER_FLOW_OPEN_FLOW_H
#define MUSE_SERVER_FLOW_OPEN_FLOW_H

#include "common/ipc/chan.h"
#include "proto/driver.pb-c.h"
#include "server/flow/engine.h"

/* Who asked which driver for what. All borrowed. */
struct open_ask {
    struct space *space;
    struct driver *driver;
    const char *path; /* below the driver's name */
    uint32_t oflags;
};

/**
 * file_new() - a file from the driver's answer to open
 * @ask:            what the driver was asked; the path is copied
 * @opened, @frame: the answer, untrusted; fds that are used are taken
 * @ret_why:        on failure: a static sentence
 *
 * On failure the driver is told release.
 * Return: 0, one reference in @ret_file; -EREMOTEIO, -EDQUOT, -EMFILE, -ENOMEM.
 */
MUST_CHECK int file_new(const struct open_ask *ask, const Muse__Wire__DriverOpened *opened,
                        struct frame *frame, struct file **ret_file, const char **ret_why);

/** open_release_unwanted() - a file that the driver opened, and nobody wants any more */
void open_release_unwanted(struct driver *driver, uint64_t handle);

/** open_drop_made() - the file that a PREPARED brings was made for a mapping that will not be of it */
void open_drop_made(struct driver *driver, const Muse__Wire__Prepared *answer);

/** driver_failed_read() - a DRIVER_FAILED frame. @buf: its sentence, or what its errno is called.
 * Return: -errno. */
int driver_failed_read(struct frame *frame, char *buf, size_t size);

/** driver_find() - the living driver of a name, but for one that is recovering. Return: borrowed, or NULL. */
struct driver *driver_find(const struct engine *engine, const char *name, size_t n_name);

/** pread_space_gone() - the client died: its reads end */
void pread_space_gone(struct space *space);

#endif
