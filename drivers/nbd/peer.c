/* SPDX-License-Identifier: BSD-3-Clause */
/* The connection, as far as it is libnbd's; see peer.h. */
#include "drivers/nbd/peer.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/own.h"

static int fail(struct peer *peer, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int fail(struct peer *peer, int error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(peer->why, sizeof(peer->why), format, args);
    va_end(args);
    return error;
}

/* What libnbd says of the call that has just failed, without its function names. */
static int fail_as_libnbd(struct peer *peer, int error)
{
    const char *text = nbd_get_error();
    const char *rest = text ? strstr(text, ": ") : NULL;

    if (rest && strncmp(text, "nbd_", 4) == 0)
        text = rest + 2;
    return fail(peer, error, "%s", text ? text : "libnbd says no reason");
}

static int make_handle(struct peer *peer)
{
    peer->handle = nbd_create();
    if (!peer->handle)
        return fail_as_libnbd(peer, -ENOMEM);
    if (nbd_set_pread_initialize(peer->handle, false) < 0 || /* what failed is never looked at */
        nbd_set_uri_allow_local_file(peer->handle, true) < 0)
        return fail_as_libnbd(peer, -EIO);
    return 0;
}

static void copy_name(struct nbd_handle *handle, char ret_name[EXPORT_NAME_MAX + 1])
{
    CLEAN(free_p) char *name = nbd_get_export_name(handle);

    if (!name || !*name || strlen(name) > EXPORT_NAME_MAX || strchr(name, '/') ||
        strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        (void)snprintf(ret_name, EXPORT_NAME_MAX + 1, "disk");
    else
        (void)snprintf(ret_name, EXPORT_NAME_MAX + 1, "%s", name);
}

static int read_info(struct peer *peer, struct export_info *ret)
{
    struct nbd_handle *handle = peer->handle;
    const int64_t size = nbd_get_size(handle);
    const int64_t minimum = nbd_get_block_size(handle, LIBNBD_SIZE_MINIMUM);
    const int64_t maximum = nbd_get_block_size(handle, LIBNBD_SIZE_MAXIMUM);
    const int read_only = nbd_is_read_only(handle);
    const int can_flush = nbd_can_flush(handle);
    const char *why = NULL;
    int r;

    if (size < 0 || minimum < 0 || maximum < 0 || read_only < 0 || can_flush < 0)
        return fail_as_libnbd(peer, -EIO);
    r = blocks_init(&ret->blocks, (uint64_t)size, (uint64_t)minimum, (uint64_t)maximum, &why);
    if (r < 0)
        return fail(peer, r, "%s", why);
    ret->read_only = read_only != 0 || ret->blocks.minimum > BLOCK_PAGE_BYTES;
    ret->can_flush = can_flush != 0;
    copy_name(handle, ret->name);
    return 0;
}

/* A connection that came up again has to show the same disk. */
static int check_info(struct peer *peer, const struct export_info *info)
{
    struct export_info now = {.read_only = false};
    int r = read_info(peer, &now);

    if (r < 0)
        return r;
    if (now.blocks.size_bytes != info->blocks.size_bytes)
        return fail(peer, -EIO, "the export has %" PRIu64 " bytes now, and had %" PRIu64,
                    now.blocks.size_bytes, info->blocks.size_bytes);
    if (now.blocks.minimum != info->blocks.minimum || now.blocks.maximum < info->blocks.maximum)
        return fail(peer, -EIO, "the export has other block sizes now");
    if (now.read_only != info->read_only || now.can_flush != info->can_flush) {
        return fail(peer, -EIO, "the export is %s now",
                    now.read_only == info->read_only ? "flushed otherwise"
                    : now.read_only                  ? "read-only"
                                                     : "writable");
    }
    return 0;
}

int peer_open(struct peer *peer, const char *uri, struct export_info *ret_info)
{
    int r;

    *peer = (struct peer){.uri = uri};
    r = make_handle(peer);
    if (r == 0 && nbd_connect_uri(peer->handle, uri) < 0)
        r = fail_as_libnbd(peer, nbd_get_errno() > 0 ? -nbd_get_errno() : -EIO);
    if (r == 0)
        r = read_info(peer, ret_info);
    if (r < 0)
        peer_close(peer);
    peer->is_ready = r == 0;
    return r;
}

int peer_connect(struct peer *peer)
{
    int r = make_handle(peer);

    peer->why[0] = '\0';
    if (r == 0 && nbd_aio_connect_uri(peer->handle, peer->uri) < 0)
        r = fail_as_libnbd(peer, -EIO);
    if (r < 0)
        peer_close(peer);
    return r;
}

short peer_events(const struct peer *peer, int *ret_fd)
{
    unsigned direction;

    *ret_fd = peer->handle ? nbd_aio_get_fd(peer->handle) : -1;
    if (*ret_fd < 0)
        return 0;
    direction = nbd_aio_get_direction(peer->handle);
    return (short)((direction & LIBNBD_AIO_DIRECTION_READ ? POLLIN : 0) |
                   (direction & LIBNBD_AIO_DIRECTION_WRITE ? POLLOUT : 0));
}

int peer_check(struct peer *peer, const struct export_info *info)
{
    if (!peer->handle)
        return -EIO;
    if (nbd_aio_is_dead(peer->handle) || nbd_aio_is_closed(peer->handle)) {
        if (!peer->why[0])
            (void)fail(peer, -EIO, "the server has closed the connection");
        return -EIO;
    }
    if (!peer->is_ready && nbd_aio_is_ready(peer->handle)) {
        peer->is_ready = true;
        peer->why[0] = '\0';
        return check_info(peer, info);
    }
    return 0;
}

int peer_notify(struct peer *peer, short revents, const struct export_info *info)
{
    const unsigned direction = nbd_aio_get_direction(peer->handle);
    int r = 0;

    if ((revents & (POLLIN | POLLHUP | POLLERR)) && (direction & LIBNBD_AIO_DIRECTION_READ))
        r = nbd_aio_notify_read(peer->handle);
    else if ((revents & (POLLOUT | POLLHUP | POLLERR)) && (direction & LIBNBD_AIO_DIRECTION_WRITE))
        r = nbd_aio_notify_write(peer->handle);
    if (r < 0)
        return fail_as_libnbd(peer, -EIO);
    return peer_check(peer, info);
}

void peer_close(struct peer *peer)
{
    nbd_close(peer->handle); /* NULL is a no-op */
    peer->handle = NULL;
    peer->is_ready = false;
}
