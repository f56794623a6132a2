/* SPDX-License-Identifier: BSD-3-Clause */
/* References of files, objects, drivers, spaces: who keeps whom alive, what the last one undoes. */
#include "server/flow/engine.h"

#include <fcntl.h>
#include <stdlib.h>

#include "common/ipc/fd.h"
#include "server/config/config.h"
#include "server/flow/driver_hooks.h"
#include "server/flow/evict_flow.h"
#include "server/flow/fill.h"
#include "server/flow/fill_flow.h"
#include "server/flow/object_flow.h"
#include "server/flow/settle.h"
#include "server/flow/touch_log.h"
#include "server/flow/trace.h"
#include "server/flow/writeback.h"
#include "server/store/count.h"

/* Submission entries: more than reads that can usefully be under way on one disk. */
#define RING_ENTRIES 256u

int engine_init(struct engine *engine, const struct config *config, const char **ret_why)
{
    int r;

    engine->config = config;
    engine->kernel_v1 = config->kernel_v1;
    engine->started_ns = loop_now_ns();
    idmap_init(&engine->spaces);
    idmap_init(&engine->objects);
    idmap_init(&engine->drivers);
    list_init(&engine->driver_names);
    list_init(&engine->sessions);
    list_init(&engine->links);
    list_init(&engine->forks);
    list_init(&engine->admins);
    list_init(&engine->dirty);
    list_init(&engine->settling);
    fill_extents_init(engine);
    list_init(&engine->kept);
    list_init(&engine->fill_waits);
    quota_init(&engine->quotas);
    *ret_why = "the event loop cannot be made";
    r = loop_init(&engine->loop);
    if (r < 0)
        return r;
    *ret_why = "no io_uring on this machine";
    r = ring_init(&engine->ring, &engine->loop, RING_ENTRIES);
    if (r == 0)
        r = notifier_init(&engine->notifier);
    if (r < 0)
        return r;
    *ret_why = "no memory for the page-state tables";
    r = store_init(&engine->store);
    engine->store.on_stuck = object_stuck;
    if (r == 0)
        r = trace_new(&engine->trace);
    if (r == 0)
        r = evict_flow_new(engine);
    if (r == 0 && config->touches[0] != '\0') {
        *ret_why = "the file for [debug] touches cannot be made";
        r = touch_log_new(&engine->touches, config->touches);
    }
    if (r < 0)
        return r;
    /* may be absent or forbidden: then clients get their userfaultfd themselves */
    engine->uffd_device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
    return 0;
}

static void on_ring_closed(struct ring *ring)
{
    (void)ring;
}

void engine_done(struct engine *engine)
{
    evict_flow_free(engine);
    touch_log_free(engine->touches);
    ring_close(&engine->ring, on_ring_closed);
    loop_done(&engine->loop);
    notifier_done(&engine->notifier);
    trace_free(engine->trace);
    store_done(&engine->store);
    fd_close(&engine->uffd_device);
    quota_done(&engine->quotas);
    idmap_done(&engine->spaces);
    idmap_done(&engine->objects);
    idmap_done(&engine->drivers);
}

struct file *file_ref(struct file *file)
{
    file->n_refs++;
    return file;
}

void file_unref(struct file *file)
{
    if (!file || --file->n_refs > 0)
        return;
    hook_release(file->driver, file->handle);
    charge_drop(&file->driver->engine->quotas, file->uid, QUOTA_FILES, 1);
    object_unref(file->object);
    driver_unref(file->driver);
    free(file->path);
    free(file);
}

/* A file is charged as often as it is held, and once when only mappings are left. */
int file_hold(struct file *file, struct space *space)
{
    struct quota_table *quotas = &space->engine->quotas;

    if (file->n_holders > 0 && charge_take(quotas, file->uid, QUOTA_FILES, 1) != 0)
        return -ENOMEM;
    if (idmap_put(&space->files, file->id, file) < 0) {
        if (file->n_holders > 0)
            charge_drop(quotas, file->uid, QUOTA_FILES, 1);
        return -ENOMEM;
    }
    file->n_holders++;
    file_ref(file);
    return 0;
}

void file_unhold(struct file *file, struct space *space)
{
    (void)idmap_take(&space->files, file->id);
    if (--file->n_holders > 0)
        charge_drop(&space->engine->quotas, file->uid, QUOTA_FILES, 1);
    file_unref(file);
}

struct object *object_ref(struct object *object)
{
    object->n_refs++;
    return object;
}

void object_unref(struct object *object)
{
    if (!object)
        return;
    if (--object->n_refs > 0) {
        if (object->n_refs == settle_n_refs(object))
            settle_over(object); /* nobody can store into its pages any more */
        return;
    }
    MUST(list_is_empty(&object->mappings));
    (void)idmap_take(&object->engine->objects, object->id);
    if (idmap_get(&object->driver->objects, object->key) == object)
        (void)idmap_take(&object->driver->objects, object->key);
    hook_object_gone(object->driver, object);
    writeback_object_done(object);
    fill_object_done(object);
    backing_done(&object->backing);
    lock_file_keep(&object->driver->lock_files, object->locks, object->key);
    for (size_t i = 0; i < object->n_extent_fds; i++)
        fd_close(&object->extent_fds[i]);
    free(object->extent_fds);
    free(object->extents);
    charge_drop(&object->engine->quotas, object->uid, QUOTA_OBJECTS, 1);
    driver_unref(object->driver);
    free(object->name);
    free(object);
}

struct driver *driver_ref(struct driver *driver)
{
    driver->n_refs++;
    return driver;
}

void driver_unref(struct driver *driver)
{
    if (!driver || --driver->n_refs > 0)
        return;
    MUST(!driver->link);
    (void)idmap_take(&driver->engine->drivers, driver->id);
    idmap_done(&driver->objects);
    lock_file_free_all(&driver->lock_files);
    free(driver);
}

struct space *space_ref(struct space *space)
{
    space->n_refs++;
    return space;
}

void space_unref(struct space *space)
{
    if (!space || --space->n_refs > 0)
        return;
    MUST(!space->uffd_open && !space->session);
    (void)idmap_take(&space->engine->spaces, space->id);
    aspace_done(&space->aspace);
    idmap_done(&space->files);
    space->taken = count_free(space->taken);
    charge_drop(&space->engine->quotas, space->uid, QUOTA_SPACES, 1);
    free(space);
}

void engine_served(struct engine *engine, uint64_t came_ns)
{
    const uint64_t until_ns = spin_served(&engine->spin, came_ns, loop_now_ns(),
                                          engine->config->spin_us * UINT64_C(1000));

    loop_stay_awake(&engine->loop, until_ns);
}
