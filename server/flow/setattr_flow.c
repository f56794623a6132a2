/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * SETATTR: mode, owner and times of a name, or of an open file. Who may is the driver's decision.
 *
 *   of a file   write back, where an explicit mtime shall stay -> ask the driver -> DONE
 *   of a name   ask the driver -> it says whose attributes they are, and those bytes have to be written
 *               back -> write back -> ask the driver once more -> DONE
 *
 * Written back is because the driver's own write moves mtime on, and what a client stored before it set
 * the time is older than the time (nfs_setattr() of Linux does it for the same reason). What is stored
 * meanwhile may be written back later: then it moves the time on. An error of writing back is not this
 * call's: fsync tells it.
 *
 * Owns struct setattr_request (malloc'ed, charged to the uid).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/own.h"
#include "proto/client.pb-c.h"
#include "proto/driver.pb-c.h"
#include "proto/hooks.h"
#include "proto/limits.h"
#include "proto/path.pb-c.h"
#include "server/flow/driver_hooks.h"
#include "server/flow/open_flow.h"
#include "server/flow/path_call.h"
#include "server/flow/requests.h"
#include "server/flow/session_flow.h"
#include "server/flow/writeback.h"

struct setattr_request {
    struct path_call ask;
    struct sync sync;
    struct file *file;            /* ref; NULL: of a name */
    Muse__Wire__PathAsk *message; /* owned: the client's, made the driver's; sent once or twice */
    bool is_written_back;         /* whatever came of it */
};

static void free_message(Muse__Wire__PathAsk **message)
{
    if (*message)
        muse__wire__path_ask__free_unpacked(*message, NULL);
}

static void on_over(struct path_call *ask)
{
    struct setattr_request *request = CONTAINER_OF(ask, struct setattr_request, ask);

    path_call_done(ask);
    file_unref(request->file);
    free_message(&request->message);
    free(request);
}

/* ---- writing back ---- */

static int ask_driver(struct setattr_request *request)
{
    return path_call_ask(&request->ask, request->message, FRAME_DRIVER_SETATTR, FRAME_DRIVER_DONE);
}

static void on_written_back(struct sync *sync)
{
    struct setattr_request *request = CONTAINER_OF(sync, struct setattr_request, sync);
    int r = ask_driver(request);

    if (r < 0)
        path_call_fail(&request->ask, r == -EAGAIN ? r : -EIO, strerrordesc_np(-r));
}

/* Return: whether it is under way, and on_written_back() comes. */
static bool write_back(struct setattr_request *request, struct object *object)
{
    if (request->is_written_back || !(request->message->change->mask & SETATTR_MTIME))
        return false;
    request->is_written_back = true;
    request->sync.done = on_written_back;
    request->sync.what = "setattr";
    request->sync.space = request->ask.space;
    return sync_start(&request->sync, object, page_table_range(&object->pages));
}

/* ---- the driver's answer ---- */

static void on_answered(struct path_call *ask, struct frame *frame)
{
    struct setattr_request *request = CONTAINER_OF(ask, struct setattr_request, ask);
    Muse__Wire__DriverDone *done =
        muse__wire__driver_done__unpack(NULL, frame->n_payload, frame->payload);
    struct object *object = NULL;

    hook_ended(ask->driver, &ask->call, done ? 0 : -EREMOTEIO);
    if (!done) {
        path_call_fail(ask, -EREMOTEIO, "the driver's answer makes no sense");
        return;
    }
    if (done->has_object_key)
        object = idmap_get(&ask->driver->objects, done->object_key);
    muse__wire__driver_done__free_unpacked(done, NULL);
    if (object && write_back(request, object))
        return;
    space_reply(ask->space, ask->id, FRAME_DONE, NULL);
    on_over(ask);
}

/* ---- the client's question ---- */

/* Return: 0; -EINVAL bits nobody knows, two that exclude each other, or a value is missing. */
static int check_change(Muse__Wire__AttrChange *change)
{
    const uint32_t mask = change->mask;

    if ((mask & ~SETATTR_ALL) ||
        (mask & (SETATTR_ATIME | SETATTR_ATIME_NOW)) == (SETATTR_ATIME | SETATTR_ATIME_NOW) ||
        (mask & (SETATTR_MTIME | SETATTR_MTIME_NOW)) == (SETATTR_MTIME | SETATTR_MTIME_NOW))
        return -EINVAL;
    if (((mask & SETATTR_MODE) && !change->has_mode) ||
        ((mask & SETATTR_UID) && !change->has_uid) || ((mask & SETATTR_GID) && !change->has_gid) ||
        ((mask & SETATTR_ATIME) && !change->has_atime_ns) ||
        ((mask & SETATTR_MTIME) && !change->has_mtime_ns))
        return -EINVAL;
    change->mode &= 07777u;
    return 0;
}

/* The name becomes the part behind the driver's. Return: 0; -ENAMETOOLONG, -ENODEV, -EROFS. */
static int find_by_name(const struct space *space, Muse__Wire__PathAsk *ask,
                        struct driver **ret_driver)
{
    const size_t n_driver = strcspn(ask->name, "/");
    const char *path = ask->name + n_driver + (ask->name[n_driver] == '/');

    if (strlen(ask->name) >= NAME_BYTES_MAX)
        return -ENAMETOOLONG;
    if (ask->name[0] == '\0')
        return -EROFS; /* the folder of all drivers is nobody's */
    *ret_driver = driver_find(space->engine, ask->name, n_driver);
    if (!*ret_driver)
        return -ENODEV;
    memmove(ask->name, path, strlen(path) + 1);
    return 0;
}

/* The name becomes how it was opened, the file the driver's. Return: 0; -EBADF, -EIO, -ENOMEM. */
static int find_by_file(const struct space *space, Muse__Wire__PathAsk *ask, struct file **ret_file,
                        struct driver **ret_driver)
{
    struct file *file = idmap_get(&space->files, ask->file);
    char *path;

    if (!file)
        return -EBADF;
    if (!file->driver->alive)
        return -EIO;
    path = strdup(file->path);
    if (!path)
        return -ENOMEM;
    free(ask->name); /* protobuf-c's own allocator is malloc */
    ask->name = path;
    ask->file = file->handle;
    *ret_file = file;
    *ret_driver = file->driver;
    return 0;
}

/* @message: takes on success */
static int begin(struct space *space, uint64_t id, struct driver *driver, struct file *file,
                 Muse__Wire__PathAsk **message)
{
    struct setattr_request *request = calloc(1, sizeof(*request));
    int r;

    if (!request)
        return -ENOMEM;
    request->ask = (struct path_call){.hook = "setattr_path",
                                      .event = "setattr.failed",
                                      .answered = on_answered,
                                      .over = on_over};
    r = path_call_init(&request->ask, space, driver, id, (*message)->name);
    if (r < 0) {
        free(request);
        return r;
    }
    request->file = file ? file_ref(file) : NULL;
    request->message = TAKE(*message);
    r = file && write_back(request, file->object) ? 0 : ask_driver(request);
    if (r < 0)
        on_over(&request->ask);
    return r;
}

static int start(struct space *space, uint64_t id, Muse__Wire__PathAsk **ask)
{
    struct driver *driver = NULL;
    struct file *file = NULL;
    int r = check_change((*ask)->change);

    if (r == 0)
        r = (*ask)->has_file ? find_by_file(space, *ask, &file, &driver)
                             : find_by_name(space, *ask, &driver);
    if (r == 0 && !(driver->file_hooks & FILE_HOOK_SETATTR_PATH))
        r = -EROFS;
    if (r < 0)
        return r;
    return begin(space, id, driver, file, ask);
}

int request_setattr(struct space *space, struct frame *frame)
{
    CLEAN(free_message)
    Muse__Wire__PathAsk *ask = muse__wire__path_ask__unpack(NULL, frame->n_payload, frame->payload);
    int r;

    if (!ask || !ask->change)
        return -EPROTO;
    r = start(space, frame->header.id, &ask);
    if (r < 0)
        space_fail(space, frame->header.id, r, strerrordesc_np(-r));
    return 0;
}
