/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * LOCK_FILE: a descriptor on which clients lock an object. The locks are between them and the
 * kernel; here it is only seen to that all get the same file.
 */
#include <errno.h>

#include "proto/client.pb-c.h"
#include "server/flow/requests.h"
#include "server/flow/session_flow.h"
#include "server/store/lock_file.h"

/* Return: the fd, the caller's; -errno. */
static int open_lock_file(const struct file *file, uint32_t oflags)
{
    struct object *object = file->object;
    int r = 0;

    if (!object->locks)
        object->locks = lock_file_take(&object->driver->lock_files, object->key);
    if (!object->locks)
        r = lock_file_new(object->name, &object->locks);
    return r < 0 ? r : lock_file_open(object->locks, file->driver->name, file->path, oflags);
}

int request_lock_file(struct space *space, struct frame *frame)
{
    Muse__Wire__LockFile *message =
        muse__wire__lock_file__unpack(NULL, frame->n_payload, frame->payload);
    CLEAN(fd_close_p) int fd = -1;
    const struct file *file;

    if (!message)
        return -EPROTO;
    file = idmap_get(&space->files, message->file_id);
    fd = file ? open_lock_file(file, message->oflags) : -EBADF;
    muse__wire__lock_file__free_unpacked(message, NULL);
    if (fd < 0) {
        space_fail(space, frame->header.id, fd,
                   file ? "no descriptor or memory for locks" : "no such open file");
    } else {
        space_reply_fds(space, frame->header.id, FRAME_LOCK_FILE_IS, NULL, &fd, 1);
    }
    return 0;
}
