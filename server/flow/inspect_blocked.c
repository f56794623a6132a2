/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * musectl blocked: every wait there is, the oldest first. Walks everything once and keeps the
 * BLOCKED_MAX oldest; the others are counted. Reads only, asks nobody: it answers while drivers and
 * clients hang, that is what it is for.
 */
#include <errno.h>
#include <stdlib.h>

#include "common/base/own.h"
#include "server/driver/driver_link.h"
#include "server/flow/fill_flow.h"
#include "server/flow/inspect_parts.h"
#include "server/flow/map_flow.h"
#include "server/flow/mm_lock.h"
#include "server/flow/session_flow.h"
#include "server/flow/waits.h"
#include "server/flow/writeback.h"

/* Chosen: what somebody reads, and 200 KiB of JSON at most. */
#define BLOCKED_MAX 256u

struct blocked {
    struct wait_view oldest[BLOCKED_MAX]; /* sorted by since_ns */
    unsigned n;
    uint64_t n_all;
};

static void add(struct blocked *blocked, const struct wait_view *view)
{
    unsigned at = blocked->n;

    blocked->n_all++;
    if (at == BLOCKED_MAX && blocked->oldest[at - 1].since_ns <= view->since_ns)
        return;
    if (at == BLOCKED_MAX)
        at--; /* the youngest has to go */
    else
        blocked->n++;
    while (at > 0 && blocked->oldest[at - 1].since_ns > view->since_ns) {
        blocked->oldest[at] = blocked->oldest[at - 1];
        at--;
    }
    blocked->oldest[at] = *view;
}

/* ---- who waits ---- */

static void add_waiters(struct blocked *blocked, const struct space *space)
{
    const struct list *pos;
    struct wait_view view;

    list_for_each(pos, &space->waiters) {
        if (wait_of_waiter(CONTAINER_OF_CONST(pos, struct page_waiter, space_link), &view))
            add(blocked, &view);
    }
    list_for_each(pos, &space->mkwrites) {
        if (wait_of_mkwrite(pos, &view))
            add(blocked, &view);
    }
}

static void add_requests(struct blocked *blocked, const struct space *space)
{
    const struct list *pos;
    struct wait_view view;

    if (space->writer && wait_of_request(space->writer, &view))
        add(blocked, &view);
    list_for_each(pos, &space->mm_queue) {
        if (wait_of_request(CONTAINER_OF_CONST(pos, struct mm_request, queued), &view))
            add(blocked, &view);
    }
    if (!space->session)
        return;
    list_for_each(pos, &space->session->client_calls) {
        if (wait_of_client_call(pos, &view) &&
            !(space->writer && space->writer->id == view.request_id))
            add(blocked, &view);
    }
}

/* Requests that are over for their client, while the driver still owes an answer. */
static void add_owed(struct blocked *blocked, const struct driver *driver)
{
    const struct list *pos;
    struct wait_view view;

    list_for_each(pos, &driver->requests) {
        const struct map_request *request = CONTAINER_OF_CONST(pos, struct map_request, of_driver);

        if ((request->txn.state == MAP_OWED_PREPARE || request->txn.state == MAP_OWED_COMPLETE) &&
            wait_of_request(&request->mm, &view))
            add(blocked, &view);
    }
}

static void add_calls(struct blocked *blocked, const struct driver *driver)
{
    const struct list *pos;
    struct wait_view view;

    if (!driver->link)
        return;
    list_for_each(pos, &driver->link->call_list) {
        if (wait_of_call(CONTAINER_OF_CONST(pos, struct driver_call, node), &view))
            add(blocked, &view);
    }
}

static void add_of_object(struct blocked *blocked, const struct object *object)
{
    const struct list *pos;
    struct wait_view view;

    list_for_each(pos, &object->wb.runs) {
        if (wait_of_writeback(pos, &view))
            add(blocked, &view);
    }
    list_for_each(pos, &object->wb.syncs) {
        if (wait_of_sync(CONTAINER_OF_CONST(pos, struct sync, node), &view))
            add(blocked, &view);
    }
    list_for_each(pos, &object->resizes) {
        if (wait_of_resize(pos, &view))
            add(blocked, &view);
    }
    list_for_each(pos, &object->invalidations) {
        if (wait_of_invalidation(pos, &view))
            add(blocked, &view);
    }
}

static void collect(struct blocked *blocked, const struct engine *engine)
{
    const struct list *pos;
    struct wait_view view;
    const void *thing;
    size_t cursor = 0;

    list_for_each(pos, &engine->fill_waits) {
        if (wait_of_fill(CONTAINER_OF_CONST(pos, struct fill_wait, node), &view))
            add(blocked, &view);
    }
    while ((thing = idmap_next(&engine->spaces, &cursor))) {
        add_waiters(blocked, thing);
        add_requests(blocked, thing);
    }
    cursor = 0;
    while ((thing = idmap_next(&engine->drivers, &cursor))) {
        add_owed(blocked, thing);
        add_calls(blocked, thing);
    }
    cursor = 0;
    while ((thing = idmap_next(&engine->objects, &cursor)))
        add_of_object(blocked, thing);
}

int inspect_blocked(struct engine *engine, const struct admin_request *request,
                    struct doc **ret_document, const char **ret_why)
{
    CLEAN(free_p) struct blocked *blocked = calloc(1, sizeof(*blocked));
    const uint64_t now_ns = loop_now_ns();
    struct doc *array;

    (void)request;
    if (!blocked) {
        *ret_why = "the server is out of memory";
        return -ENOMEM;
    }
    collect(blocked, engine);
    array = doc_array();
    for (unsigned i = 0; i < blocked->n; i++)
        doc_add(array, wait_document(&blocked->oldest[i], now_ns));
    *ret_document = doc_object();
    doc_put(*ret_document, "blocked", array);
    doc_put_number(*ret_document, "n_blocked", blocked->n_all);
    doc_put_number(*ret_document, "n_left_out", blocked->n_all - blocked->n);
    return 0;
}
