/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One connection to an NBD server: made, watched, closed and made again. Owns the libnbd handle. One
 * thread uses it. Decides nothing about requests: work.c does.
 */
#ifndef MUSE_DRIVERS_NBD_PEER_H
#define MUSE_DRIVERS_NBD_PEER_H

#include <libnbd.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/must.h"
#include "drivers/nbd/blocks.h"

#define EXPORT_NAME_MAX 255u
#define PEER_WHY_MAX    256u

/* What an export is; the same for every connection. */
struct export_info {
    struct blocks blocks;
    bool read_only;
    bool can_flush;
    char name[EXPORT_NAME_MAX + 1]; /* of the object: the export's, or "disk" */
};

struct peer {
    struct nbd_handle *handle; /* owned; NULL: closed */
    const char *uri;           /* borrowed */
    bool is_ready;
    char why[PEER_WHY_MAX]; /* the last failure */
};

/**
 * peer_open() - connect for the first time, and wait for it
 * @ret_info: what is served there
 *
 * Return: 0; -errno, with a sentence in peer->why.
 */
MUST_CHECK int peer_open(struct peer *peer, const char *uri, struct export_info *ret_info);

/** peer_connect() - begin to connect again. Return: 0; -EIO, and why. */
MUST_CHECK int peer_connect(struct peer *peer);

/** peer_events() - what to wait for at *ret_fd, as poll(2) has it; -1 when there is nothing */
short peer_events(const struct peer *peer, int *ret_fd);

/**
 * peer_notify() - something has happened at the fd; runs completion callbacks
 * @info: what the export was: one that has changed is refused
 *
 * Return: 0; -EIO the connection is lost, and why.
 */
MUST_CHECK int peer_notify(struct peer *peer, short revents, const struct export_info *info);

/** peer_check() - whether the connection stands after calls of libnbd. Return: as peer_notify(). */
MUST_CHECK int peer_check(struct peer *peer, const struct export_info *info);

/** peer_close() - end the connection; no callback comes any more */
void peer_close(struct peer *peer);

#endif
