/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The thread that talks to the NBD server: takes jobs from the driver's hooks, keeps a connection, and
 * makes another one when it ends, after a wait that doubles with each failure.
 */
#ifndef MUSE_DRIVERS_NBD_LINK_H
#define MUSE_DRIVERS_NBD_LINK_H

#include <muse/driver.h>
#include <stdint.h>

#include "common/base/must.h"
#include "drivers/nbd/peer.h"

struct link;

/**
 * link_start() - connect, and start the thread
 * @uri:         borrowed until link_stop()
 * @patience_ns: how long a read waits for an answer
 *
 * Return: 0; -errno, with a sentence of muse_set_error().
 */
MUST_CHECK int link_start(struct link **ret_link, const char *uri, uint64_t patience_ns);

/** link_stop() - end the thread; what is under way fails. NULL is a no-op. Return: NULL. */
struct link *link_stop(struct link *link);

/** link_info() - what is served there; never changes */
const struct export_info *link_info(const struct link *link);

/** link_read() - supply the pages of a fault, and end it. Any thread. Return: 0; -ENOMEM. */
MUST_CHECK int link_read(struct link *link, struct muse_fault *fault);

/** link_write() - write pages back, and answer @request. Any thread. */
void link_write(struct link *link, const struct muse_writeback *writeback,
                struct muse_request *request);

/** link_flush() - make everything durable, and answer @request. Any thread. */
void link_flush(struct link *link, struct muse_request *request);

#endif
