/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The hooks about names: getattr_path, readdir, readlink, unlink, rename, mkdir, setattr_path. Runs them
 * on the main thread, as hooks.c does the others, and keeps what they answer until it was sent.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "drivers/sdk/sdk.h"
#include "proto/hooks.h"

_Static_assert(MUSE_SETATTR_MODE == SETATTR_MODE && MUSE_SETATTR_UID == SETATTR_UID &&
                   MUSE_SETATTR_GID == SETATTR_GID && MUSE_SETATTR_ATIME == SETATTR_ATIME &&
                   MUSE_SETATTR_MTIME == SETATTR_MTIME &&
                   MUSE_SETATTR_ATIME_NOW == SETATTR_ATIME_NOW &&
                   MUSE_SETATTR_MTIME_NOW == SETATTR_MTIME_NOW,
               "a mask travels as it is");

/* One answer to readdir has to fit a frame. Chosen: the number of entries; what an entry costs
 * beside its name is at most four tags, three numbers and two lengths. */
#define DIR_ENTRIES_MAX  512u
#define DIR_ENTRY_BYTES  48u
#define DIR_ANSWER_BYTES (FRAME_BYTES_MAX - 1024u)
#define ENTRY_NAME_MAX   255u

struct muse_dir {
    Muse__Wire__DirEntries message;
    Muse__Wire__DirEntry entries[DIR_ENTRIES_MAX];
    Muse__Wire__DirEntry *pointers[DIR_ENTRIES_MAX];
    size_t n_bytes; /* of the answer, at most */
    bool is_full;
};

struct path_result {
    struct muse_dir dir;
    Muse__Wire__LinkTarget link;
    Muse__Wire__DriverDone done;
    struct muse_attr_change change;
    char target[NAME_BYTES_MAX];
};

struct path_result *path_result_free(struct path_result *result)
{
    if (result) {
        for (size_t i = 0; i < result->dir.message.n_entries; i++)
            free(result->dir.entries[i].name);
        free(result);
    }
    return NULL;
}

static struct path_result *path_result_new(void)
{
    struct path_result *result = calloc(1, sizeof(*result));

    if (!result)
        return NULL;
    muse__wire__dir_entries__init(&result->dir.message);
    muse__wire__link_target__init(&result->link);
    muse__wire__driver_done__init(&result->done);
    result->dir.message.entries = result->dir.pointers;
    result->link.target = result->target;
    return result;
}

bool muse_dir_add(struct muse_dir *dir, const char *name, mode_t type, uint64_t inode,
                  uint64_t next_cursor)
{
    const size_t n_name = strlen(name);
    Muse__Wire__DirEntry *entry = &dir->entries[dir->message.n_entries];

    if (n_name > ENTRY_NAME_MAX)
        return true; /* no client could name it */
    if (dir->message.n_entries == DIR_ENTRIES_MAX ||
        dir->n_bytes + n_name + DIR_ENTRY_BYTES > DIR_ANSWER_BYTES)
        dir->is_full = true;
    if (dir->is_full)
        return false;
    muse__wire__dir_entry__init(entry);
    entry->name = strdup(name);
    if (!entry->name) {
        dir->is_full = true;
        return false;
    }
    entry->mode = type & 0170000u;
    entry->inode = inode;
    entry->next = next_cursor;
    dir->pointers[dir->message.n_entries++] = entry;
    dir->n_bytes += n_name + DIR_ENTRY_BYTES;
    return true;
}

const ProtobufCMessage *path_answer(struct muse_request *request, uint16_t *ret_type)
{
    struct path_result *result = request->path;

    switch (request->event->type) {
    case FRAME_DRIVER_READDIR:
        result->dir.message.at_end = !result->dir.is_full;
        *ret_type = FRAME_DRIVER_DIR_ENTRIES;
        return &result->dir.message.base;
    case FRAME_DRIVER_READLINK:
        *ret_type = FRAME_DRIVER_LINK_TARGET;
        return &result->link.base;
    default: /* a number from the wire, not an enum of ours */
        result->done.has_object_key = result->change.has_object;
        result->done.object_key = result->change.object_key;
        *ret_type = FRAME_DRIVER_DONE;
        return &result->done.base;
    }
}

/* Of a file that is open: counted among its users until the answer was sent. */
static int use_file(struct muse_request *request, uint64_t handle)
{
    struct file *file = file_find(request->driver, handle);

    if (!file)
        return -EBADF;
    request->file = file;
    file->n_users++;
    return 0;
}

static int run_setattr(struct muse_request *request, const Muse__Wire__PathAsk *ask)
{
    const struct muse_driver_ops *ops = &request->driver->ops;
    struct muse_attr_change *change = &request->path->change;
    int r = 0;

    if (!ops->setattr_path || !ask->change)
        return -EOPNOTSUPP;
    *change = (struct muse_attr_change){.mask = ask->change->mask,
                                        .mode = ask->change->mode,
                                        .uid = ask->change->uid,
                                        .gid = ask->change->gid,
                                        .atime_ns = ask->change->atime_ns,
                                        .mtime_ns = ask->change->mtime_ns};
    if (ask->has_file)
        r = use_file(request, ask->file);
    if (r < 0)
        return r;
    return ops->setattr_path(request->driver->user, &request->open_args,
                             request->file ? &request->file->pub : NULL, change);
}

static int run(struct muse_request *request, const Muse__Wire__PathAsk *ask)
{
    const struct muse_driver_ops *ops = &request->driver->ops;
    const struct muse_open_args *args = &request->open_args;
    struct path_result *result = request->path;
    void *user = request->driver->user;

    switch (request->event->type) {
    case FRAME_DRIVER_STATAT:
        return ops->getattr_path ? ops->getattr_path(user, args, &request->attr) : -EOPNOTSUPP;
    case FRAME_DRIVER_READDIR:
        return ops->readdir ? ops->readdir(user, args, ask->cursor, &result->dir) : -EOPNOTSUPP;
    case FRAME_DRIVER_READLINK:
        return ops->readlink ? ops->readlink(user, args, result->target, sizeof(result->target))
                             : -EOPNOTSUPP;
    case FRAME_DRIVER_UNLINK:
        return ops->unlink ? ops->unlink(user, args, (int)ask->flags) : -EOPNOTSUPP;
    case FRAME_DRIVER_MKDIR:
        return ops->mkdir ? ops->mkdir(user, args, ask->flags) : -EOPNOTSUPP;
    case FRAME_DRIVER_SETATTR:
        return run_setattr(request, ask);
    default: /* RENAME; a number from the wire, not an enum of ours */
        return ops->rename && ask->name2 ? ops->rename(user, args, ask->name2, ask->flags)
                                         : -EOPNOTSUPP;
    }
}

int hook_path(struct muse_driver *driver, struct event *event)
{
    const Muse__Wire__PathAsk *ask = (const Muse__Wire__PathAsk *)event->message;
    struct muse_request *request = request_new(driver, REQUEST_PATH, event);
    int r;

    if (!request)
        return -ENOMEM;
    request->path = path_result_new();
    if (!request->path) {
        request_end(request, -ENOMEM);
        return 0;
    }
    request->open_args = (struct muse_open_args){
        .path = ask->name,
        .oflags = ask->flags & AT_SYMLINK_NOFOLLOW ? O_PATH | O_NOFOLLOW : O_PATH,
        .uid = ask->uid,
        .gid = ask->gid,
        .pid = (pid_t)ask->pid};
    sdk_trace(driver, "request %llu: %s %s", (unsigned long long)event->id,
              frame_type_name(event->type), ask->name);
    request_begin(request);
    r = run(request, ask);
    if (r == 0 && request->path->dir.is_full && request->path->dir.message.n_entries == 0)
        r = -ENOMEM; /* not even one entry */
    request_end(request, r);
    return 0;
}
