/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Written pages that outlive their driver.
 *
 *   driver dies       object with dirty pages -> kept, with its dead driver, until return_ms is over
 *   hello             a driver of the same name and uid: driver.recovering, nobody can open anything
 *     next()          for each kept object of its, one after another:
 *       open          by name, with the rights of its last writer -> the same object? (inode, size,
 *                     page size)
 *       claim()       object.driver = the new one, which gets the memfd
 *       sync          as any other; faults still find the object lost
 *       unclaim()     object gone, release; object.driver = the dead one again
 *     publish()       clients find it now
 *
 * So what a driver gets here is older than anything that anybody writes through it, and no second
 * page cache of the object exists meanwhile. Whoever synced before was told EIO, and stays so: the
 * pages come late, or not at all. Mappings from before stay with the dead driver.
 *
 * What cannot be given back (another file of that name, a refusal, a deadline) is lost, and logged.
 *
 * Owns kept objects (a ref each) and calls to open. Called by the writeback and loss flows.
 */
#include "server/flow/recover_flow.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/own.h"
#include "proto/driver.pb-c.h"
#include "proto/limits.h"
#include "server/config/config.h"
#include "server/driver/driver_link.h"
#include "server/flow/driver_hooks.h"
#include "server/flow/flow_log.h"
#include "server/flow/loss_flow.h"
#include "server/flow/object_flow.h"
#include "server/flow/open_flow.h"
#include "server/flow/writeback.h"

/* Chosen: of a driver that dies each time there may be something wrong with the object. */
#define DEATHS_MAX 3u

struct kept {
    struct list node;      /* in engine.kept, the next one that is given up first */
    struct object *object; /* ref */
    uint64_t due_ns;
    bool is_asked;     /* a driver that came back is getting it: driver.recovers */
    unsigned n_deaths; /* of drivers while they were getting it */
    /* and has it open */
    struct driver *from; /* the object's reference of the dead driver; NULL: not claimed */
    uint64_t from_key;
    uint64_t handle;
    struct sync sync;
};

/* An open that outlives what it is for: a late yes must be released. */
struct reopen {
    struct driver_call call;
    struct driver *driver; /* ref */
    struct kept *kept;     /* NULL: not waited for any more */
};

static void next(struct driver *driver);

/* ---- keeping ---- */

static void say(const struct object *object, const char *event, int error, const char *text)
{
    const struct flow_where where = {
        .driver = object->driver, .object = object->name, .hook = "writeback"};

    flow_error(event, &where, error, text);
}

static void drop(struct kept *kept)
{
    struct object *object = kept->object;

    list_del(&kept->node);
    object->kept = NULL;
    free(kept);
    object_unref(object);
}

static void lose(struct kept *kept, const char *why)
{
    char text[256];

    (void)snprintf(text, sizeof(text), "%" PRIu64 " written pages are lost: %s",
                   kept->object->pages.n_dirty, why);
    say(kept->object, "writeback.lost", -EIO, text);
    drop(kept);
}

static void on_due(struct deadline *deadline);

static void watch_first(struct engine *engine)
{
    struct list *first = list_first(&engine->kept);

    deadline_clear(&engine->loop, &engine->kept_due);
    if (!first)
        return;
    engine->kept_due.fn = on_due;
    deadline_set(&engine->loop, &engine->kept_due, CONTAINER_OF(first, struct kept, node)->due_ns);
}

static void put_last(struct kept *kept)
{
    struct engine *engine = kept->object->engine;

    kept->due_ns = loop_now_ns() + engine->config->return_ms * 1000000ull;
    list_del(&kept->node);
    list_add_tail(&engine->kept, &kept->node);
    watch_first(engine);
}

static void on_due(struct deadline *deadline)
{
    struct engine *engine = CONTAINER_OF(deadline, struct engine, kept_due);
    struct list *node;

    while ((node = list_first(&engine->kept))) {
        struct kept *kept = CONTAINER_OF(node, struct kept, node);

        if (kept->due_ns > loop_now_ns())
            break;
        if (kept->is_asked)
            put_last(kept); /* the calls to the driver have deadlines of their own */
        else
            lose(kept, "the driver did not come back in time");
    }
    watch_first(engine);
}

static bool is_same(const struct driver *dead, const struct driver *driver)
{
    return dead->uid == driver->uid && strcmp(dead->name, driver->name) == 0;
}

static bool has_returned(const struct driver *dead)
{
    const struct list *pos;

    list_for_each(pos, &dead->engine->driver_names) {
        const struct driver *driver = CONTAINER_OF_CONST(pos, struct driver, by_name);

        if (driver->alive && is_same(dead, driver))
            return true;
    }
    return false;
}

bool recover_keep(struct object *object)
{
    struct kept *kept;

    if (object->kept)
        return true;
    if (object->engine->config->return_ms == 0 || has_returned(object->driver))
        return false;
    kept = calloc(1, sizeof(*kept));
    if (!kept)
        return false;
    kept->object = object_ref(object);
    list_init(&kept->node);
    object->kept = kept;
    put_last(kept);
    say(object, "writeback.kept", -EIO, "written pages wait for the driver to come back");
    return true;
}

/* ---- giving back ---- */

static void end_asking(struct kept *kept, struct driver *driver)
{
    kept->is_asked = false;
    driver->recovers = NULL;
}

static void publish(struct driver *driver)
{
    driver->recovering = false;
    log_write(LOG_LEVEL_INFO, "driver.recovered", "driver=%s id=%" PRIu64 " pid=%d", driver->name,
              driver->id, (int)driver->pid);
}

/* The object is the new driver's: its dirty pages go there. */
static int claim(struct kept *kept, struct driver *driver, const Muse__Wire__DriverOpened *opened)
{
    struct object *object = kept->object;
    const int fd = object_writable_fd(object, driver->uid);
    int r;

    if (fd < 0)
        return fd;
    if (idmap_get(&driver->objects, opened->object_key))
        return -EEXIST;
    r = idmap_put(&driver->objects, opened->object_key, object);
    if (r < 0)
        return r;
    kept->from = object->driver;
    kept->from_key = object->key;
    kept->handle = opened->handle;
    object->driver = driver_ref(driver);
    object->key = opened->object_key;
    object->wb.n_tries = 0;
    object->wb.backoff_ns = 0;
    driver->n.opened++;
    hook_object(driver, object, fd);
    return 0;
}

static void unclaim(struct kept *kept)
{
    struct object *object = kept->object;
    struct driver *driver = object->driver;

    if (!kept->from)
        return;
    (void)idmap_take(&driver->objects, object->key);
    hook_release(driver, kept->handle);
    hook_object_gone(driver, object);
    object->driver = kept->from;
    object->key = kept->from_key;
    kept->from = NULL;
    deadline_clear(&object->engine->loop, &object->wb.again);
    driver_unref(driver);
}

static void on_synced(struct sync *sync)
{
    struct kept *kept = CONTAINER_OF(sync, struct kept, sync);
    struct object *object = kept->object;
    struct driver *driver = driver_ref(object->driver);
    const uint64_t n_dirty = object->pages.n_dirty;

    if (driver->gone_error != 0 || object->wb.n_runs > 0) {
        /* recover_driver_gone() comes later in this turn. While it may still be writing, nobody may
         * take the object from it, and clients must not find it. */
        if (driver->gone_error == 0)
            driver_misbehaved(driver, NULL, "writeback",
                              "it did not write in time what its predecessor was not given");
        driver_unref(driver);
        return;
    }
    end_asking(kept, driver);
    unclaim(kept);
    if (n_dirty > 0) {
        lose(kept, "the driver that came back could not write them");
    } else {
        log_write(LOG_LEVEL_INFO, "writeback.recovered", "driver=%s object=\"%s\"", driver->name,
                  object->name);
        drop(kept);
    }
    watch_first(driver->engine);
    next(driver);
    driver_unref(driver);
}

static void give_back(struct kept *kept)
{
    struct object *object = kept->object;

    kept->sync.done = on_synced;
    kept->sync.what = "recover";
    if (!sync_start(&kept->sync, object, page_table_range(&object->pages)))
        on_synced(&kept->sync);
}

/* Return: NULL, or why these are not the bytes that were written to. */
static const char *differs(const struct object *object, const Muse__Wire__DriverOpened *opened)
{
    if (opened->attr->inode != object->inode)
        return "there is another object of that name now";
    if (opened->attr->size != object->size_bytes || opened->page_bytes != object_page_bytes(object))
        return "the object has another size now";
    return NULL;
}

static void on_opened(struct reopen *reopen, struct frame *frame)
{
    struct driver *driver = reopen->driver;
    struct kept *kept = reopen->kept;
    Muse__Wire__DriverOpened *opened =
        muse__wire__driver_opened__unpack(NULL, frame->n_payload, frame->payload);
    const char *why;

    if (!opened) {
        hook_ended(driver, &reopen->call, -EREMOTEIO);
        driver_misbehaved(driver, NULL, "open", "its answer to open does not decode");
        return; /* the object waits for the next one */
    }
    hook_ended(driver, &reopen->call, 0);
    why = differs(kept->object, opened);
    if (!why && claim(kept, driver, opened) == 0) {
        give_back(kept);
    } else {
        driver->n.opened++;
        hook_release(driver, opened->handle);
        end_asking(kept, driver);
        lose(kept, why ? why : "the object cannot be taken up again");
        next(driver);
    }
    muse__wire__driver_opened__free_unpacked(opened, NULL);
}

static void refused(struct reopen *reopen, int error, const char *why)
{
    struct driver *driver = reopen->driver;
    struct kept *kept = reopen->kept;

    hook_ended(driver, &reopen->call, error);
    reopen->kept = NULL;
    end_asking(kept, driver);
    lose(kept, why);
    next(driver);
}

static void on_late(const struct reopen *reopen, struct frame *frame)
{
    Muse__Wire__DriverOpened *opened;

    reopen->driver->n.late++;
    if (frame->header.type != FRAME_DRIVER_OPENED)
        return;
    opened = muse__wire__driver_opened__unpack(NULL, frame->n_payload, frame->payload);
    if (!opened)
        return;
    reopen->driver->n.opened++;
    hook_release(reopen->driver, opened->handle);
    muse__wire__driver_opened__free_unpacked(opened, NULL);
}

static void on_reopen_end(struct driver_call *call, enum call_end end, struct frame *frame)
{
    struct reopen *reopen = CONTAINER_OF(call, struct reopen, call);
    char text[ERROR_TEXT_BYTES_MAX / 2];
    int error;

    switch (end) {
    case CALL_DEADLINE:
        refused(reopen, -ETIMEDOUT, "the driver that came back did not answer open in time");
        return; /* a late yes must be released */
    case CALL_LATE:
        on_late(reopen, frame);
        break;
    case CALL_LOST:
        if (!call->late)
            hook_ended(reopen->driver, call, -EIO); /* recover_driver_gone() does the rest */
        break;
    case CALL_ANSWERED:
        if (frame->header.type == FRAME_DRIVER_FAILED) {
            error = driver_failed_read(frame, text, sizeof(text));
            refused(reopen, error, text);
        } else {
            on_opened(reopen, frame);
        }
        break;
    }
    driver_unref(reopen->driver);
    free(reopen);
}

/* Return: 0 asked; -errno. */
static int ask(struct kept *kept, struct driver *driver)
{
    const struct object *object = kept->object;
    const struct hook_client writer = {.uid = object->writer_uid, .gid = object->writer_gid};
    struct reopen *reopen = calloc(1, sizeof(*reopen));
    int r;

    if (!reopen)
        return -ENOMEM;
    reopen->driver = driver_ref(driver);
    reopen->kept = kept;
    reopen->call.end = on_reopen_end;
    reopen->call.wants_late = true;
    r = hook_open(driver, &reopen->call, &writer, object->name + strlen(driver->name) + 1, O_RDWR,
                  0);
    if (r < 0) {
        driver_unref(driver);
        free(reopen);
        return r;
    }
    driver->recovers = kept;
    kept->is_asked = true;
    return 0;
}

static struct kept *find_kept(const struct driver *driver)
{
    struct list *pos;

    list_for_each(pos, &driver->engine->kept) {
        struct kept *kept = CONTAINER_OF(pos, struct kept, node);

        if (!kept->is_asked && is_same(kept->object->driver, driver))
            return kept;
    }
    return NULL;
}

static void next(struct driver *driver)
{
    struct kept *kept;

    while ((kept = find_kept(driver))) {
        int r = ask(kept, driver);

        if (r == 0)
            return;
        lose(kept, r == -EROFS ? "the driver that came back serves its files read-only"
                               : "the driver that came back cannot be asked for it");
    }
    watch_first(driver->engine);
    publish(driver);
}

void recover_start(struct driver *driver)
{
    if (!find_kept(driver))
        return;
    driver->recovering = true;
    next(driver);
}

void recover_driver_gone(struct driver *driver)
{
    struct kept *kept = driver->recovers;

    if (!kept)
        return;
    end_asking(kept, driver);
    sync_cancel(&kept->sync);
    unclaim(kept);
    if (++kept->n_deaths >= DEATHS_MAX)
        lose(kept, "each driver that came back died of it");
    watch_first(driver->engine);
}

/* ---- ends ---- */

void recover_end(struct engine *engine)
{
    struct list *pos, *tmp;

    list_for_each_safe(pos, tmp, &engine->kept) {
        struct kept *kept = CONTAINER_OF(pos, struct kept, node);

        if (!kept->is_asked)
            lose(kept, "the server ends");
    }
    watch_first(engine);
}

uint64_t recover_n_refs(const struct object *object)
{
    return object->kept ? 1 : 0;
}
