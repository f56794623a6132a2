/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Peers that come and go.
 *
 * A client dies (its connection ends), in this order:
 *   1 calls to it end; unmaps that waited for it are dropped
 *   2 the transaction that holds the lock, then the queued ones, get CLIENT_GONE: what a driver
 *     still owes is awaited
 *   3 prefetches, waiters and parked faults are forgotten, the userfaultfd is closed
 *   4 every VMA is closed, in address order; then the files it held are released
 *
 * A driver dies:
 *   1 its calls end with CALL_LOST (driver_link), which ends the transactions that waited for it
 *   2 it leaves the list of names, so that nobody finds it any more
 *   3 other transactions of its are undone; what it owed to faults becomes poison (EIO)
 *   4 its objects stay as long as somebody maps them: valid pages readable, absent ones SIGBUS
 *   5 what was written and not written back waits for it to come back (recover_flow.c)
 */
#include "server/flow/loss_flow.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "proto/driver.pb-c.h"
#include "proto/limits.h"
#include "proto/status.h"
#include "server/config/config.h"
#include "server/driver/driver_link.h"
#include "server/flow/access_flow.h"
#include "server/flow/fault_flow.h"
#include "server/flow/fill_flow.h"
#include "server/flow/flow_log.h"
#include "server/flow/map_flow.h"
#include "server/flow/mm_lock.h"
#include "server/flow/open_flow.h"
#include "server/flow/prefetch_flow.h"
#include "server/flow/recover_flow.h"
#include "server/flow/settle.h"
#include "server/flow/split_flow.h"
#include "server/flow/unmap_flow.h"
#include "server/flow/waits.h"
#include "server/flow/writeback.h"
#include "server/map/map_check.h"

/* How long a connection may take to say which driver it is. Chosen. */
#define DRIVER_HELLO_NS   10000000000ull
/* Revokes of one object that wait for mmap_complete. Chosen: far above the threads of a driver. */
#define INVALIDATIONS_MAX 1024u

/* ---- a client goes ---- */

static void end_requests(struct space *space)
{
    struct list *node;

    if (space->writer)
        space->writer->client_gone(
            space->writer); /* unlocking runs the queued ones into client_gone, too */
    while ((node = list_first(&space->mm_queue))) {
        struct mm_request *request = CONTAINER_OF(node, struct mm_request, queued);

        request->client_gone(request);
    }
}

static void close_mappings(struct space *space)
{
    struct list removed = LIST_INIT(removed);

    vma_unmap_commit(&space->aspace.vmas, range_make(0, ASPACE_TASK_END), NULL, NULL, &removed);
    vmas_gone(space, &removed);
    /* left are placeholders: pending ones of owed requests, quarantined ones that stay so */
    for (uint32_t n = vma_tree_count(&space->aspace.vmas); n > 0; n--)
        vma_uncharge(space);
    aspace_done(&space->aspace);
}

static void release_files(struct space *space)
{
    struct file *file;
    size_t cursor = 0;

    while ((file = idmap_next(&space->files, &cursor))) {
        writeback_kick(file->object);
        file_unhold(file, space);
    }
}

void loss_client_gone(struct space *space)
{
    space->dead = true;
    unmap_client_gone(space);
    end_requests(space);
    prefetch_space_gone(space);
    fault_flow_space_gone(space);
    pread_space_gone(space);
    access_space_gone(space);
    if (space->uffd_open)
        uffd_port_close(&space->uffd); /* its closed() drops the port's reference */
    close_mappings(space);
    release_files(space);
}

/* ---- a driver comes ---- */

static bool name_is_sane(const char *name)
{
    const size_t len = strlen(name);

    return len >= 1 && len <= DRIVER_NAME_BYTES_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") == len;
}

static bool name_is_taken(const struct engine *engine, const char *name)
{
    struct list *pos;

    list_for_each(pos, &engine->driver_names)
        if (strcmp(CONTAINER_OF(pos, struct driver, by_name)->name, name) == 0)
            return true;
    return false;
}

static int read_vm_ops(struct driver *driver, const Muse__Wire__DriverHello *hello,
                       const char **ret_why)
{
    *ret_why = "the vm_ops tables make no sense";
    if (hello->n_vm_ops > DRIVER_VM_OPS_MAX)
        return -EINVAL;
    for (size_t i = 0; i < hello->n_vm_ops; i++) {
        const Muse__Wire__VmOps *wire = hello->vm_ops[i];
        struct driver_vm_ops *ops = &driver->vm_ops[driver->n_vm_ops];

        if (wire->id == 0 || (wire->hooks & ~VM_HOOKS_ALL))
            return -EINVAL;
        for (uint32_t k = 0; k < driver->n_vm_ops; k++)
            if (driver->vm_ops[k].id == wire->id)
                return -EINVAL;
        ops->id = wire->id;
        ops->hooks = wire->hooks;
        (void)snprintf(ops->name, sizeof(ops->name), "%s", wire->name ? wire->name : "");
        driver->n_vm_ops++;
    }
    return 0;
}

/* Of the optional ones, which we know. */
static uint32_t hooks_of(const Muse__Wire__DriverHello *hello)
{
    return hello->file_hooks | (hello->optional_hooks & FILE_HOOKS_ALL);
}

static int check_hello(const struct engine *engine, const Muse__Wire__DriverHello *hello,
                       const char **ret_why)
{
    *ret_why = "no protocol version in common with this server";
    if (hello->version_min > PROTO_VERSION_MAX || hello->version_max < PROTO_VERSION_MIN)
        return -EPROTO;
    *ret_why = "a driver's name is 1 to 32 of a-z, 0-9, _ and -";
    if (!name_is_sane(hello->name))
        return -EINVAL;
    *ret_why = "a driver of this name is here already";
    if (name_is_taken(engine, hello->name))
        return -EEXIST;
    return map_check_hooks(hooks_of(hello), ret_why);
}

static int driver_new(struct engine *engine, struct driver_link *link,
                      const Muse__Wire__DriverHello *hello, struct driver **ret_driver,
                      const char **ret_why)
{
    struct driver *driver = calloc(1, sizeof(*driver));
    int r;

    if (!driver)
        return -ENOMEM;
    r = read_vm_ops(driver, hello, ret_why);
    if (r == 0) {
        *ret_why = "out of memory";
        driver->id = engine_id(engine);
        r = idmap_put(&engine->drivers, driver->id, driver);
    }
    if (r == 0) {
        r = driver_link_ring(link);
        if (r < 0)
            (void)idmap_take(&engine->drivers, driver->id);
    }
    if (r < 0) {
        free(driver);
        return r;
    }
    driver->n_refs = 1; /* the connection's */
    driver->engine = engine;
    driver->link = link;
    driver->alive = true;
    driver->read_only = hello->read_only;
    driver->file_hooks = hooks_of(hello);
    driver->hook_deadline_ns = config_hook_deadline_ns(engine->config, hello->name);
    driver->uid = link->conn.uid;
    driver->pid = link->conn.pid;
    driver->connected_ns = loop_now_ns();
    (void)snprintf(driver->name, sizeof(driver->name), "%s", hello->name);
    idmap_init(&driver->objects);
    list_init(&driver->requests);
    list_init(&driver->runs);
    list_init(&driver->lock_files);
    list_add_tail(&engine->driver_names, &driver->by_name);
    link->owner = driver;
    deadline_clear(&engine->loop, &link->hello);
    *ret_driver = driver;
    return 0;
}

static int welcome(struct driver *driver, uint32_t version_max)
{
    Muse__Wire__DriverWelcome message = MUSE__WIRE__DRIVER_WELCOME__INIT;
    struct driver_link *link = driver->link;
    const int fds[3] = {link->ring_fd, link->wake_driver_fd, link->wake_server_fd};

    message.version = version_max < PROTO_VERSION_MAX ? version_max : PROTO_VERSION_MAX;
    message.driver_id = driver->id;
    message.hook_deadline_ns = driver->hook_deadline_ns;
    log_write(LOG_LEVEL_INFO, "driver.registered",
              "driver=%s id=%" PRIu64 " pid=%d uid=%u hooks=%#x", driver->name, driver->id,
              (int)driver->pid, driver->uid, driver->file_hooks);
    return driver_link_send(link, FRAME_DRIVER_WELCOME, 0, &message.base, fds, 3);
}

static int on_hello(struct driver_link *link, struct frame *frame)
{
    struct engine *engine = link->context;
    Muse__Wire__DriverHello *hello;
    struct driver *driver = NULL;
    const char *why = "out of memory";
    uint32_t version_max;
    int r;

    if (frame->header.type != FRAME_DRIVER_HELLO || frame->header.n_fds != 0)
        return -EPROTO;
    hello = muse__wire__driver_hello__unpack(NULL, frame->n_payload, frame->payload);
    if (!hello)
        return -EPROTO;
    r = check_hello(engine, hello, &why);
    if (r == 0)
        r = driver_new(engine, link, hello, &driver, &why);
    if (r < 0) {
        Muse__Wire__DriverFailed message = MUSE__WIRE__DRIVER_FAILED__INIT;
        char text[128];
        char name[LOG_QUOTE_SIZE(DRIVER_NAME_BYTES_MAX)];

        (void)snprintf(text, sizeof(text), "%s", why);
        log_write(LOG_LEVEL_WARN, "driver.refused", "driver=%s pid=%d errno=%s reason=\"%s\"",
                  log_quote(name, sizeof(name), hello->name), (int)link->conn.pid,
                  strerrorname_np(-r), why);
        message.error = status_from_result(r);
        message.text = text;
        (void)driver_link_send(link, FRAME_DRIVER_FAILED, 0, &message.base, NULL, 0);
    }
    version_max = hello->version_max;
    muse__wire__driver_hello__free_unpacked(hello, NULL);
    if (driver) {
        r = welcome(driver, version_max);
        if (r == 0)
            recover_start(driver);
    }
    return r;
}

/* ---- why a driver is gone ---- */

/* Who knows first knows best. */
static void note_gone(struct driver *driver, int error, const char *what)
{
    if (driver->gone_error != 0)
        return;
    driver->gone_error = error;
    (void)snprintf(driver->gone_text, sizeof(driver->gone_text), "driver %s %.140s", driver->name,
                   what);
}

static void note_nonsense(struct driver *driver, const char *what)
{
    char text[160];

    (void)snprintf(text, sizeof(text), "was cut off: %s", what);
    note_gone(driver, EREMOTEIO, text);
    (void)snprintf(driver->last_error, sizeof(driver->last_error), "%s", what);
}

void driver_misbehaved(struct driver *driver, const struct space *space, const char *hook,
                       const char *what)
{
    const struct flow_where where = {.space = space, .driver = driver, .hook = hook};

    driver->engine->stats.driver_errors++;
    note_nonsense(driver, what);
    flow_error("driver.misbehaved", &where, -EREMOTEIO, what);
    if (driver->link)
        driver_link_close(driver->link, -EPROTO);
}

int driver_gone_error(const struct driver *driver, const char **ret_text)
{
    *ret_text = driver->gone_error != 0 ? driver->gone_text : "the driver died";
    return driver->gone_error != 0 ? -driver->gone_error : -EIO;
}

static void protocol_error(struct driver *driver, const char *hook, const char *what)
{
    const struct flow_where where = {.driver = driver, .hook = hook};

    driver->engine->stats.protocol_errors++;
    flow_error("driver.protocol", &where, -EPROTO, what);
    note_nonsense(driver, what);
}

/* Before its calls end: whoever waited for one is told why. */
static void on_losing(struct driver_link *link, int why)
{
    struct driver *driver = link->owner;

    if (!driver || driver->gone_error != 0)
        return;
    if (why == -EPROTO)
        protocol_error(driver, "-", "it sent a frame that is none, or an answer of a wrong type");
    else if (why == -ENOBUFS)
        note_gone(driver, EIO, "was cut off: it left too much unread");
    else
        note_gone(driver, EIO, "died");
}

/* ---- what a driver says of itself ---- */

static int on_fault_failed(struct driver *driver, struct frame *frame)
{
    Muse__Wire__FaultFailed *message =
        muse__wire__fault_failed__unpack(NULL, frame->n_payload, frame->payload);

    if (!message)
        return -EPROTO;
    driver->n.faults_failed++;
    fill_failed(driver, message->request_id, message->first_page, message->n_pages,
                status_to_result(message->error ? message->error : EIO, -EREMOTEIO),
                message->text ? message->text : "");
    muse__wire__fault_failed__free_unpacked(message, NULL);
    return 0;
}

struct invalidation {
    struct list node;      /* in object.invalidations */
    struct driver *driver; /* ref */
    struct object *object; /* ref */
    uint64_t id;
    uint64_t since_ns;
    struct range pages;
};

static void answer_invalidate(struct driver *driver, uint64_t id, int error)
{
    Muse__Wire__Completed message = MUSE__WIRE__COMPLETED__INIT;

    message.error = -error;
    if (driver->alive)
        (void)driver_link_send(driver->link, FRAME_COMPLETED, id, &message.base, NULL, 0);
}

static void carry_out(struct invalidation *invalidation)
{
    list_del(&invalidation->node);
    invalidation->object->n_invalidations--;
    fill_invalidate(invalidation->object, invalidation->pages);
    answer_invalidate(invalidation->driver, invalidation->id, 0);
    object_unref(invalidation->object);
    driver_unref(invalidation->driver);
    free(invalidation);
}

bool wait_of_invalidation(const struct list *node, struct wait_view *ret_view)
{
    const struct invalidation *invalidation = CONTAINER_OF_CONST(node, struct invalidation, node);

    *ret_view = (struct wait_view){.what = "revoke",
                                   .stage = "waiting",
                                   .object = invalidation->object,
                                   .pages = invalidation->pages,
                                   .whom = WAITS_FOR_COMPLETE,
                                   .driver = invalidation->driver,
                                   .since_ns = invalidation->since_ns,
                                   .stage_since_ns = invalidation->since_ns};
    return true;
}

void object_completed(struct object *object)
{
    struct list *node;

    object_ref(object);
    while ((node = list_first(&object->invalidations)))
        carry_out(CONTAINER_OF(node, struct invalidation, node));
    object_unref(object);
}

/* Revoke. Waits for an mmap_complete in progress: that may be about to populate what is revoked. */
static int on_invalidate(struct driver *driver, struct frame *frame)
{
    Muse__Wire__Invalidate *message =
        muse__wire__invalidate__unpack(NULL, frame->n_payload, frame->payload);
    struct invalidation *invalidation;
    struct object *object;
    uint64_t n_pages;

    if (!message)
        return -EPROTO;
    object = idmap_get(&driver->objects, message->object_key);
    invalidation = object && object->n_invalidations < INVALIDATIONS_MAX
                       ? calloc(1, sizeof(*invalidation))
                       : NULL;
    if (!invalidation) {
        answer_invalidate(driver, frame->header.id, object ? -ENOMEM : -ENOENT);
        muse__wire__invalidate__free_unpacked(message, NULL);
        return 0;
    }
    n_pages = object_n_pages(object);
    invalidation->driver = driver_ref(driver);
    invalidation->object = object_ref(object);
    invalidation->id = frame->header.id;
    invalidation->since_ns = loop_now_ns();
    invalidation->pages.start = message->first_page < n_pages ? message->first_page : n_pages;
    invalidation->pages.end =
        message->n_pages == 0 || message->n_pages > n_pages - invalidation->pages.start
            ? n_pages
            : invalidation->pages.start + message->n_pages;
    muse__wire__invalidate__free_unpacked(message, NULL);
    list_add_tail(&object->invalidations, &invalidation->node);
    object->n_invalidations++;
    if (object->n_completing == 0)
        object_completed(object);
    return 0;
}

static int on_frame(struct driver_link *link, struct frame *frame)
{
    struct driver *driver = link->owner;
    int r = -EPROTO;

    if (!driver)
        return on_hello(link, frame);
    if (frame->header.type == FRAME_FAULT_FAILED && frame->header.n_fds == 0)
        r = on_fault_failed(driver, frame);
    else if (frame->header.type == FRAME_INVALIDATE && frame->header.n_fds == 0)
        r = on_invalidate(driver, frame);
    if (r < 0) {
        protocol_error(driver, frame_type_name(frame->header.type),
                       "it sent a message that does not belong here or does not decode");
    }
    return r;
}

static void on_answers(struct driver_link *link)
{
    struct driver *driver = link->owner;

    if (driver)
        fill_answers(driver, link->ring);
}

/* ---- a driver goes ---- */

static void on_ended(struct driver_link *link, int why)
{
    struct driver *driver = link->owner;

    if (driver) {
        log_write(why == -ECONNRESET ? LOG_LEVEL_INFO : LOG_LEVEL_WARN, "driver.gone",
                  "driver=%s id=%" PRIu64 " pid=%d errno=%s", driver->name, driver->id,
                  (int)driver->pid, strerrorname_np(-why) ? strerrorname_np(-why) : "0");
        driver->alive = false;
        list_del(&driver->by_name);
        driver->link = NULL;
        settle_driver_going(driver);
        recover_driver_gone(driver);
        map_flow_driver_gone(driver);
        fill_driver_gone(driver);
        writeback_driver_gone(driver);
        driver->n.in_flight = 0; /* nobody is left to tell */
        driver_unref(driver);
    }
    deadline_clear(link->loop, &link->hello);
    list_del(&link->link);
    driver_link_free(link);
}

static const struct driver_link_ops link_ops = {
    .frame = on_frame, .answers = on_answers, .losing = on_losing, .ended = on_ended};

static void on_hello_deadline(struct deadline *deadline)
{
    driver_link_close(CONTAINER_OF(deadline, struct driver_link, hello), -ETIMEDOUT);
}

void driver_accept(struct engine *engine, int *fd)
{
    struct driver_link *link;
    int r = driver_link_new(&link, &engine->loop, fd, &link_ops);

    if (r < 0) {
        log_write(LOG_LEVEL_WARN, "driver.accept", "errno=%s", strerrorname_np(-r));
        return;
    }
    link->context = engine;
    link->hello.fn = on_hello_deadline;
    deadline_set(&engine->loop, &link->hello, loop_now_ns() + DRIVER_HELLO_NS);
    list_add_tail(&engine->links, &link->link);
}
