/* SPDX-License-Identifier: BSD-3-Clause */
/* Makes objects from what drivers say about them; everything they say is checked here, once. */
#include "server/flow/object_flow.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "common/ipc/fd.h"
#include "proto/limits.h"
#include "server/flow/driver_hooks.h"
#include "server/flow/fill_flow.h"
#include "server/flow/flow_log.h"
#include "server/flow/writeback.h"

static int by_offset(const void *a, const void *b)
{
    const struct object_extent *x = a, *y = b;

    return x->object_offset < y->object_offset ? -1 : x->object_offset > y->object_offset;
}

/* One extent as the driver gave it, its fd still an index. Return: whether it makes sense. */
static bool read_extent(const Muse__Wire__Extent *wire, unsigned n_fds,
                        struct object_extent *ret_extent)
{
    if (wire->length == 0 || wire->object_offset > OBJECT_BYTES_MAX ||
        wire->length > OBJECT_BYTES_MAX || wire->fd_offset > OBJECT_BYTES_MAX)
        return false;
    if (wire->fd_index < -1 || wire->fd_index >= (int32_t)n_fds)
        return false;
    *ret_extent = (struct object_extent){.object_offset = wire->object_offset,
                                         .length = wire->length,
                                         .fd_offset = wire->fd_offset,
                                         .fd = wire->fd_index};
    return true;
}

static bool extents_overlap(const struct object_extent *extents, size_t n)
{
    for (size_t i = 1; i < n; i++)
        if (extents[i - 1].object_offset + extents[i - 1].length > extents[i].object_offset)
            return true;
    return false;
}

/* Only what pread(2) reads without waiting for a peer: a pipe or socket could stall the engine. */
static bool fd_is_readable_file(int fd)
{
    struct stat st;
    const int flags = fcntl(fd, F_GETFL);

    return fstat(fd, &st) == 0 && (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)) && flags >= 0 &&
           (flags & O_ACCMODE) != O_WRONLY && !(flags & O_PATH);
}

/* Files of tmpfs and memfds know no RWF_NOWAIT, but a read of them waits for no device either. */
static bool fd_is_in_memory(int fd)
{
    struct statfs fs;

    return fstatfs(fd, &fs) == 0 && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
}

int object_set_extents(struct object *object, Muse__Wire__Extent *const *extents, size_t n_extents,
                       struct frame *frame, const char **ret_why)
{
    const unsigned n_fds = frame->header.n_fds;
    struct object_extent *list;
    int *fds;

    *ret_why = "the extents make no sense";
    if (object->source == OBJECT_EXTENTS) {
        object->n_extent_claims++;
        return 0;
    }
    if (n_extents > OBJECT_EXTENTS_MAX)
        return -EREMOTEIO;
    for (unsigned i = 0; i < n_fds; i++) {
        if (!fd_is_readable_file(frame->fds[i])) {
            *ret_why = "an extent's fd is no readable file or block device";
            return -EREMOTEIO;
        }
    }
    list = calloc(n_extents ? n_extents : 1, sizeof(*list));
    fds = calloc(n_fds ? n_fds : 1, sizeof(*fds));
    if (!list || !fds)
        goto nomem;
    for (size_t i = 0; i < n_extents; i++)
        if (!read_extent(extents[i], n_fds, &list[i]))
            goto refuse;
    qsort(list, n_extents, sizeof(*list), by_offset);
    if (extents_overlap(list, n_extents))
        goto refuse;
    for (unsigned i = 0; i < n_fds; i++)
        fds[i] = frame_fd_take(frame, i);
    for (size_t i = 0; i < n_extents; i++) {
        list[i].fd = list[i].fd < 0 ? -1 : fds[list[i].fd];
        list[i].in_memory = list[i].fd >= 0 && fd_is_in_memory(list[i].fd);
    }
    object->extents = list;
    object->n_extents = n_extents;
    object->extent_fds = fds;
    object->n_extent_fds = n_fds;
    object->source = OBJECT_EXTENTS;
    object->n_extent_claims = 1;
    return 0;

refuse:
    free(list);
    free(fds);
    return -EREMOTEIO;
nomem:
    free(list);
    free(fds);
    return -ENOMEM;
}

void object_unset_extents(struct object *object)
{
    MUST(object->n_extent_claims > 0);
    if (--object->n_extent_claims > 0)
        return;
    fill_runs_stale(object);
    object->source = OBJECT_FILL;
    for (size_t i = 0; i < object->n_extent_fds; i++)
        fd_close(&object->extent_fds[i]);
    free(object->extent_fds);
    free(object->extents);
    object->extent_fds = NULL;
    object->extents = NULL;
    object->n_extents = object->n_extent_fds = 0;
}

static int check_opened(const Muse__Wire__DriverOpened *opened, const char **ret_why)
{
    *ret_why = NULL;
    if (opened->attr->size > OBJECT_BYTES_MAX)
        *ret_why = "the object's size is beyond all limits";
    else if (opened->has_map_align &&
             (opened->map_align > MAP_ALIGN_MAX || (opened->map_align & (opened->map_align - 1))))
        *ret_why = "the alignment of mappings is no power of two up to 1 GiB";
    else if (opened->page_bytes != PAGE_BYTES_SMALL && opened->page_bytes != PAGE_BYTES_HUGE)
        *ret_why = "the object's page size is neither 4 KiB nor 2 MiB";
    return *ret_why ? -EREMOTEIO : 0;
}

/* Everything an object owns; what fails is undone by object_unref(). */
static int object_fill_in(struct object *object, const Muse__Wire__DriverOpened *opened,
                          struct frame *frame, const char *path, const char **ret_why)
{
    /* whoever may write has a writable fd, and must not shrink or grow the file with it; what the
     * server itself resizes cannot be sealed */
    const bool is_sealed =
        !object->driver->read_only && !(object->driver->file_hooks & FILE_HOOK_TRUNCATE);
    int r;

    if (asprintf(&object->name, "%s/%s", object->driver->name, path) < 0) {
        object->name = NULL;
        return -ENOMEM;
    }
    r = backing_new(&object->engine->store, &object->backing, object->name, object->size_bytes,
                    opened->page_bytes, is_sealed);
    if (r < 0) {
        *ret_why = "no memory for the object's page cache";
        return r;
    }
    r = fill_object_init(object);
    if (r < 0)
        return r;
    if (opened->n_extents > 0) {
        r = object_set_extents(object, opened->extents, opened->n_extents, frame, ret_why);
        if (r < 0)
            return r;
    } else if (!(object->driver->file_hooks & FILE_HOOK_FAULT)) {
        /* neither extents nor a fault hook: only a direct mapping shows anything; faults: poison */
        object->source = OBJECT_FILL;
    }
    return 0;
}

static int object_new(struct driver *driver, const Muse__Wire__DriverOpened *opened,
                      struct frame *frame, const char *path, uid_t uid, struct object **ret_object,
                      const char **ret_why)
{
    struct engine *engine = driver->engine;
    struct object *object = calloc(1, sizeof(*object));
    int r, fd = -1;

    if (!object)
        return -ENOMEM;
    if (charge_take(&engine->quotas, uid, QUOTA_OBJECTS, 1) != 0) {
        free(object);
        *ret_why = "too many objects of this user";
        return -EDQUOT;
    }
    object->n_refs = 1;
    object->id = engine_id(engine);
    object->engine = engine;
    object->driver = driver_ref(driver);
    object->key = opened->object_key;
    object->inode = opened->attr->inode;
    object->size_bytes = opened->attr->size;
    object->page_shift = opened->page_bytes == PAGE_BYTES_HUGE ? 21 : 12;
    object->uid = uid;
    object->backing.fd = object->backing.fd_readonly = object->backing.worker_fd = -1;
    list_init(&object->mappings);
    list_init(&object->invalidations);
    list_init(&object->pins);
    writeback_object_init(object);
    r = object_fill_in(object, opened, frame, path, ret_why);
    if (r == 0)
        r = idmap_put(&engine->objects, object->id, object);
    if (r == 0)
        r = idmap_put(&driver->objects, object->key, object);
    if (r == 0)
        fd = r = object_writable_fd(object, driver->uid);
    if (r < 0) {
        object_unref(object);
        return r;
    }
    hook_object(driver, object, fd);
    *ret_object = object;
    return 0;
}

/* ---- who may write to it ---- */

/* Who could stop us by a signal need not do it in a roundabout way. */
static bool is_trusted(uid_t uid)
{
    return uid == 0 || uid == geteuid();
}

int object_writable_fd(struct object *object, uid_t uid)
{
    return backing_writable_fd(&object->engine->store, &object->backing, is_trusted(uid));
}

bool object_may_be_given(struct object *object, uid_t uid)
{
    return is_trusted(uid) || guard_has_room(&object->engine->store.guard);
}

/* Pages that are there can be used and written back; others cannot come any more. */
void object_stuck(struct backing *backing)
{
    struct object *object = CONTAINER_OF(backing, struct object, backing);
    const struct flow_where where = {.driver = object->driver, .object = object->name};

    flow_error("object.stuck", &where, -EIO, OBJECT_STUCK_TEXT);
    poison_add_rest(&object->poison, EIO, "page cache", OBJECT_STUCK_TEXT);
}

/* ---- found, or made ---- */

int object_get(struct driver *driver, const Muse__Wire__DriverOpened *opened, struct frame *frame,
               const char *path, uid_t uid, struct object **ret_object, const char **ret_why)
{
    struct object *object = idmap_get(&driver->objects, opened->object_key);
    int r = check_opened(opened, ret_why);

    if (r < 0)
        return r;
    if (!object)
        return object_new(driver, opened, frame, path, uid, ret_object, ret_why);
    /* an answer may cross with a change of the size: the object's counts then */
    if ((object->size_bytes != opened->attr->size && !object->was_resized) ||
        object_page_bytes(object) != opened->page_bytes) {
        *ret_why = "the driver gave one object key two sizes";
        return -EREMOTEIO;
    }
    *ret_object = object_ref(object);
    return 0;
}
