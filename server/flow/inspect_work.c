/* SPDX-License-Identifier: BSD-3-Clause */
/* What is under way, for the control socket: requests, faults; and the counters. Reads only. */
#include <errno.h>
#include <string.h>

#include "common/base/own.h"
#include "server/flow/inspect_parts.h"
#include "server/flow/map_flow.h"
#include "server/flow/mm_lock.h"
#include "server/flow/stats_list.h"

enum stat_index {
#define X(field, unit, help) STAT_##field,
    ENGINE_STATS(X)
#undef X
        STAT_N
};

_Static_assert(sizeof(struct engine_stats) == STAT_N * sizeof(uint64_t),
               "stats_list.h names every field of struct engine_stats");

/* ---- txns ---- */

static json_t *request_document(const struct mm_request *mm, const char *state)
{
    json_t *document = json_object();

    json_put_text(document, "what", mm->what);
    json_put_text(document, "state", state);
    json_put_number(document, "space", mm->space->id);
    json_put_number(document, "pid", (uint64_t)mm->space->pid);
    json_put_number(document, "id", mm->id);
    json_put_number(document, "age_ns", loop_now_ns() - mm->since_ns);
    json_put_bool(document, "has_lock", mm->space->writer == mm);
    return document;
}

static json_t *map_document(const struct map_request *request)
{
    json_t *document = request_document(&request->mm, map_request_state(request));

    json_put_text(document, "driver", request->driver->name);
    json_put_text(document, "object", request->file->object->name);
    json_put_number(document, "start", request->target.start);
    json_put_number(document, "end", request->target.end);
    json_put_bool(document, "prepared", request->txn.prepared);
    json_put_bool(document, "client_gone", request->mm.space->dead);
    return document;
}

static bool is_map(const struct mm_request *mm)
{
    return strcmp(mm->what, "map") == 0;
}

/* Those that wait for a space's lock, in order. */
static void add_queue(json_t *array, const struct space *space)
{
    const struct list *pos;
    uint64_t position = 0;

    list_for_each(pos, &space->mm_queue) {
        const struct mm_request *mm = CONTAINER_OF_CONST(pos, struct mm_request, queued);
        json_t *document = is_map(mm) ? map_document(CONTAINER_OF_CONST(mm, struct map_request, mm))
                                      : request_document(mm, "queued");

        json_put_number(document, "position", ++position);
        json_add(array, document);
    }
}

int inspect_txns(struct engine *engine, const struct admin_request *request, json_t **ret_document,
                 const char **ret_why)
{
    json_t *array = json_array();
    const struct driver *driver;
    const struct space *space;
    const struct list *pos;
    size_t cursor = 0;

    (void)request;
    (void)ret_why;
    while ((driver = idmap_next(&engine->drivers, &cursor))) {
        list_for_each(pos, &driver->requests) { /* owed ones, too */
            const struct map_request *map = CONTAINER_OF_CONST(pos, struct map_request, of_driver);

            if (!list_is_linked(&map->mm.queued))
                json_add(array, map_document(map));
        }
    }
    cursor = 0;
    while ((space = idmap_next(&engine->spaces, &cursor))) {
        if (space->writer && !is_map(space->writer))
            json_add(array, request_document(space->writer, "running"));
        add_queue(array, space);
    }
    *ret_document = json_object();
    json_put(*ret_document, "txns", array);
    return 0;
}

/* ---- faults ---- */

static json_t *run_document(const struct run *run)
{
    const struct object *object = run->owner;
    const uint64_t now_ns = loop_now_ns();
    const struct range needed = {
        run->pages.start, run->needed_end < run->pages.end ? run->needed_end : run->pages.end};
    json_t *document = json_object();

    json_put_number(document, "id", run->id);
    json_put_text(document, "object", object->name);
    json_put_number(document, "object_id", object->id);
    json_put_text(document, "source", object->source == OBJECT_EXTENTS ? "extents" : "fill");
    json_put_number(document, "first_page", run->pages.start);
    json_put_number(document, "n_pages", range_len(run->pages));
    json_put_number(document, "n_needed", needed.end > needed.start ? range_len(needed) : 0);
    json_put_bool(document, "sent", run->sent);
    json_put_bool(document, "stale", run->stale);
    json_put_number(document, "left_ns", run->deadline_ns > now_ns ? run->deadline_ns - now_ns : 0);
    return document;
}

static json_t *waiter_document(const struct space *space, const struct page_waiter *waiter)
{
    json_t *document = json_object();

    json_put_number(document, "space", space->id);
    json_put_number(document, "pid", (uint64_t)space->pid);
    json_put_number(document, "address", waiter->addr);
    json_put_number(document, "vma", waiter->vma_id);
    json_put_bool(document, "write", waiter->write);
    json_put_bool(document, "parked", waiter->table == &space->parked);
    json_put_number(document, "page", waiter->page);
    return document;
}

int inspect_faults(struct engine *engine, const struct admin_request *request,
                   json_t **ret_document, const char **ret_why)
{
    json_t *runs = json_array();
    json_t *waiters = json_array();
    const struct driver *driver;
    const struct space *space;
    const struct list *pos;
    size_t cursor = 0;

    (void)request;
    (void)ret_why;
    while ((driver = idmap_next(&engine->drivers, &cursor))) {
        list_for_each(pos, &driver->runs)
            json_add(runs, run_document(CONTAINER_OF_CONST(pos, struct run, owner_link)));
    }
    cursor = 0;
    while ((space = idmap_next(&engine->spaces, &cursor))) {
        list_for_each(pos, &space->waiters)
            json_add(waiters, waiter_document(
                                  space, CONTAINER_OF_CONST(pos, struct page_waiter, space_link)));
    }
    *ret_document = json_object();
    json_put(*ret_document, "runs", runs);
    json_put(*ret_document, "waiters", waiters);
    return 0;
}

/* ---- stats ---- */

static void add_counter(json_t *array, const char *name, uint64_t value, const char *unit,
                        const char *help)
{
    json_t *document = json_object();

    json_put_text(document, "name", name);
    json_put_number(document, "value", value);
    json_put_text(document, "unit", unit);
    json_put_text(document, "help", help);
    json_add(array, document);
}

/* Living spaces' ports together. */
static void add_uffd_counters(json_t *array, const struct engine *engine)
{
    const struct space *space;
    struct uffd_port sum = {.fd = -1};
    size_t cursor = 0;

    while ((space = idmap_next(&engine->spaces, &cursor))) {
        sum.n_reads += space->uffd.n_reads;
        sum.n_messages += space->uffd.n_messages;
        sum.n_continues += space->uffd.n_continues;
        sum.n_pages_shown += space->uffd.n_pages_shown;
        sum.n_eagain += space->uffd.n_eagain;
        sum.n_deferred += space->uffd.n_deferred;
    }
    add_counter(array, "uffd_reads", sum.n_reads, "calls", "reads of living clients' userfaultfds");
    add_counter(array, "uffd_messages", sum.n_messages, "messages", "messages they gave");
    add_counter(array, "uffd_continues", sum.n_continues, "calls", "UFFDIO_CONTINUE calls");
    add_counter(array, "uffd_pages_shown", sum.n_pages_shown, "pages", "4 KiB pages shown by them");
    add_counter(array, "uffd_eagain", sum.n_eagain, "calls",
                "calls that met a changing address space");
    add_counter(array, "uffd_deferred", sum.n_deferred, "ranges",
                "ranges that wait for such a change to end");
}

static json_t *usage_document(const uint64_t usage[QUOTA_KIND_N])
{
    json_t *document = json_object();

    for (unsigned kind = 0; kind < QUOTA_KIND_N; kind++)
        json_put_number(document, quota_key((enum quota_kind)kind), usage[kind]);
    return document;
}

static json_t *users_document(const struct quota_table *quotas)
{
    json_t *array = json_array();
    const struct quota_user *user;
    size_t cursor = 0;

    while ((user = quota_next_user(quotas, &cursor))) {
        json_t *document = json_object();

        json_put_number(document, "uid", user->uid);
        json_put(document, "used", usage_document(user->used));
        json_put(document, "peak", usage_document(user->peak));
        json_put_number(document, "refused", user->n_refused);
        json_add(array, document);
    }
    return array;
}

int inspect_stats(struct engine *engine, const struct admin_request *request, json_t **ret_document,
                  const char **ret_why)
{
    json_t *counters = json_array();

    (void)request;
    (void)ret_why;
#define X(field, unit, help) add_counter(counters, #field, engine->stats.field, unit, help);
    ENGINE_STATS(X)
#undef X
    add_uffd_counters(counters, engine);
    add_counter(counters, "charges_refused", engine->quotas.n_refused, "charges",
                "requests that were over a limit");
    *ret_document = json_object();
    json_put(*ret_document, "counters", counters);
    json_put(*ret_document, "used", usage_document(engine->quotas.total));
    json_put(*ret_document, "users", users_document(&engine->quotas));
    return 0;
}
