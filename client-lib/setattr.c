/* SPDX-License-Identifier: BSD-3-Clause */
/* muse_setattr, muse_fsetattr: one question, whose answer is the driver's decision. Checks here what
 * cannot be said on the wire. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>

#include "client-lib/call.h"
#include "client-lib/error.h"
#include "client-lib/file.h"
#include "proto/hooks.h"
#include "proto/limits.h"
#include "proto/path.pb-c.h"

#define NS_PER_S INT64_C(1000000000)
/* The first and the last second of which every nanosecond fits 64 bits. */
#define FIRST_S  (INT64_MIN / NS_PER_S + 1)
#define LAST_S   (INT64_MAX / NS_PER_S - 1)

_Static_assert(MUSE_SETATTR_MODE == SETATTR_MODE && MUSE_SETATTR_UID == SETATTR_UID &&
                   MUSE_SETATTR_GID == SETATTR_GID && MUSE_SETATTR_ATIME == SETATTR_ATIME &&
                   MUSE_SETATTR_MTIME == SETATTR_MTIME &&
                   MUSE_SETATTR_ATIME_NOW == SETATTR_ATIME_NOW &&
                   MUSE_SETATTR_MTIME_NOW == SETATTR_MTIME_NOW,
               "a mask travels as it is");

static bool has(const struct muse_setattr *change, unsigned bits)
{
    return (change->mask & bits) == bits;
}

static bool is_time(const struct timespec *time)
{
    return time->tv_nsec >= 0 && time->tv_nsec < NS_PER_S;
}

/* A file system does the same with what its inodes cannot hold (timestamp_truncate() of Linux). */
static int64_t to_ns(const struct timespec *time)
{
    if (time->tv_sec < FIRST_S)
        return FIRST_S * NS_PER_S;
    if (time->tv_sec > LAST_S)
        return LAST_S * NS_PER_S;
    return time->tv_sec * NS_PER_S + time->tv_nsec;
}

static int check(const struct muse_setattr *change, int flags_allowed)
{
    if (!change)
        return -EFAULT;
    if ((change->mask & ~SETATTR_ALL) || (change->flags & ~flags_allowed) ||
        has(change, SETATTR_ATIME | SETATTR_ATIME_NOW) ||
        has(change, SETATTR_MTIME | SETATTR_MTIME_NOW))
        return -EINVAL;
    if ((has(change, SETATTR_ATIME) && !is_time(&change->atime)) ||
        (has(change, SETATTR_MTIME) && !is_time(&change->mtime)))
        return -EINVAL;
    return 0;
}

static void fill(const struct muse_setattr *change, Muse__Wire__AttrChange *ret_wire)
{
    muse__wire__attr_change__init(ret_wire);
    ret_wire->mask = change->mask;
    ret_wire->has_mode = has(change, SETATTR_MODE);
    ret_wire->mode = change->mode & 07777u;
    ret_wire->has_uid = has(change, SETATTR_UID);
    ret_wire->uid = change->uid;
    ret_wire->has_gid = has(change, SETATTR_GID);
    ret_wire->gid = change->gid;
    ret_wire->has_atime_ns = has(change, SETATTR_ATIME);
    if (ret_wire->has_atime_ns)
        ret_wire->atime_ns = to_ns(&change->atime);
    ret_wire->has_mtime_ns = has(change, SETATTR_MTIME);
    if (ret_wire->has_mtime_ns)
        ret_wire->mtime_ns = to_ns(&change->mtime);
}

/* @ask: all but the change */
static int ask_server(struct muse *muse, Muse__Wire__PathAsk *ask,
                      const struct muse_setattr *change)
{
    const struct question question = {
        .type = FRAME_SETATTR, .message = &ask->base, .fd = -1, .answer = FRAME_DONE};
    Muse__Wire__AttrChange wire;

    if (!muse->knows_setattr) {
        error_say("the server is older than this call");
        return -EROFS;
    }
    fill(change, &wire);
    ask->change = &wire;
    return call_ask(muse, &question, NULL);
}

static int set_of_name(struct muse *muse, const char *name, const struct muse_setattr *change)
{
    Muse__Wire__PathAsk ask = MUSE__WIRE__PATH_ASK__INIT;
    int r = handle_check(muse);

    if (r == 0)
        r = name ? check(change, AT_SYMLINK_NOFOLLOW) : -EFAULT;
    if (r < 0)
        return r;
    if (strnlen(name, NAME_BYTES_MAX + 1) > NAME_BYTES_MAX)
        return -ENAMETOOLONG;
    ask.name =
        address_pointer((uintptr_t)name); /* only read, but the generated struct says otherwise */
    ask.has_flags = true;
    ask.flags = (unsigned)change->flags;
    return ask_server(muse, &ask, change);
}

int muse_setattr(struct muse *muse, const char *name, const struct muse_setattr *change)
{
    error_clear();
    return error_return("muse_setattr", set_of_name(muse, name, change));
}

static int set_of_file(struct muse_file *file, const struct muse_setattr *change)
{
    Muse__Wire__PathAsk ask = MUSE__WIRE__PATH_ASK__INIT;
    char nothing[] = "";
    int r;

    if (!file)
        return -EBADF;
    r = handle_check(file->muse);
    if (r == 0)
        r = check(change, 0);
    if (r < 0)
        return r;
    ask.name = nothing;
    ask.has_file = true;
    ask.file = file->id;
    return ask_server(file->muse, &ask, change);
}

int muse_fsetattr(struct muse_file *file, const struct muse_setattr *change)
{
    error_clear();
    return error_return("muse_fsetattr", set_of_file(file, change));
}
