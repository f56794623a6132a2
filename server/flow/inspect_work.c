/* SPDX-License-Identifier: BSD-3-Clause */
/* What is under way, for the control socket: requests, faults; and the counters. Reads only. */
#include <errno.h>
#include <string.h>

#include "common/base/own.h"
#include "server/flow/evict_flow.h"
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

static struct doc *request_document(const struct mm_request *mm, const char *state)
{
    struct doc *document = doc_object();

    doc_put_text(document, "what", mm->what);
    doc_put_text(document, "state", state);
    doc_put_number(document, "space", mm->space->id);
    doc_put_number(document, "pid", (uint64_t)mm->space->pid);
    doc_put_number(document, "id", mm->id);
    doc_put_number(document, "age_ns", loop_now_ns() - mm->since_ns);
    doc_put_bool(document, "has_lock", mm->space->writer == mm);
    return document;
}

static struct doc *map_document(const struct map_request *request)
{
    struct doc *document = request_document(&request->mm, map_request_state(request));

    doc_put_text(document, "driver", request->driver->name);
    doc_put_text(document, "object", request->file->object->name);
    doc_put_number(document, "start", request->target.start);
    doc_put_number(document, "end", request->target.end);
    doc_put_bool(document, "prepared", request->txn.prepared);
    doc_put_bool(document, "client_gone", request->mm.space->dead);
    return document;
}

static bool is_map(const struct mm_request *mm)
{
    return strcmp(mm->what, "map") == 0;
}

/* Those that wait for a space's lock, in order. */
static void add_queue(struct doc *array, const struct space *space)
{
    const struct list *pos;
    uint64_t position = 0;

    list_for_each(pos, &space->mm_queue) {
        const struct mm_request *mm = CONTAINER_OF_CONST(pos, struct mm_request, queued);
        struct doc *document = is_map(mm)
                                   ? map_document(CONTAINER_OF_CONST(mm, struct map_request, mm))
                                   : request_document(mm, "queued");

        doc_put_number(document, "position", ++position);
        doc_add(array, document);
    }
}

int inspect_txns(struct engine *engine, const struct admin_request *request,
                 struct doc **ret_document, const char **ret_why)
{
    struct doc *array = doc_array();
    const struct driver *driver;
    const struct space *space;
    const struct list *pos;
    uint64_t n_dirty;
    size_t cursor = 0;

    (void)request;
    (void)ret_why;
    while ((driver = idmap_next(&engine->drivers, &cursor))) {
        list_for_each(pos, &driver->requests) { /* owed ones, too */
            const struct map_request *map = CONTAINER_OF_CONST(pos, struct map_request, of_driver);

            if (!list_is_linked(&map->mm.queued))
                doc_add(array, map_document(map));
        }
    }
    cursor = 0;
    while ((space = idmap_next(&engine->spaces, &cursor))) {
        if (space->writer && !is_map(space->writer))
            doc_add(array, request_document(space->writer, "running"));
        add_queue(array, space);
    }
    *ret_document = doc_object();
    doc_put(*ret_document, "txns", array);
    doc_put_number(*ret_document, "dirty_bytes", inspect_dirty_bytes(engine, &n_dirty));
    doc_put_number(*ret_document, "dirty_objects", n_dirty);
    return 0;
}

/* ---- faults ---- */

struct doc *inspect_run_document(const struct run *run)
{
    const struct object *object = run->owner;
    const uint64_t now_ns = loop_now_ns();
    const struct range needed = {
        run->pages.start, run->needed_end < run->pages.end ? run->needed_end : run->pages.end};
    struct doc *document = doc_object();

    doc_put_number(document, "id", run->id);
    doc_put_text(document, "object", object->name);
    doc_put_number(document, "object_id", object->id);
    doc_put_text(document, "source", object->source == OBJECT_EXTENTS ? "extents" : "fill");
    doc_put_number(document, "first_page", run->pages.start);
    doc_put_number(document, "n_pages", range_len(run->pages));
    doc_put_number(document, "n_needed", needed.end > needed.start ? range_len(needed) : 0);
    doc_put_bool(document, "sent", run->sent);
    doc_put_bool(document, "stale", run->stale);
    doc_put_number(document, "age_ns", now_ns - run->asked_ns);
    doc_put_number(document, "left_ns", run->deadline_ns > now_ns ? run->deadline_ns - now_ns : 0);
    return document;
}

static struct doc *waiter_document(const struct space *space, const struct page_waiter *waiter)
{
    struct doc *document = doc_object();

    doc_put_number(document, "space", space->id);
    doc_put_number(document, "pid", (uint64_t)space->pid);
    doc_put_number(document, "address", waiter->addr);
    doc_put_number(document, "vma", waiter->vma_id);
    doc_put_bool(document, "write", waiter->write);
    doc_put_bool(document, "parked", waiter->table == &space->parked);
    doc_put_number(document, "page", waiter->page);
    doc_put_number(document, "age_ns", loop_now_ns() - waiter->since_ns);
    return document;
}

int inspect_faults(struct engine *engine, const struct admin_request *request,
                   struct doc **ret_document, const char **ret_why)
{
    struct doc *runs = doc_array();
    struct doc *waiters = doc_array();
    const struct driver *driver;
    const struct space *space;
    const struct list *pos;
    size_t cursor = 0;

    (void)request;
    (void)ret_why;
    while ((driver = idmap_next(&engine->drivers, &cursor))) {
        list_for_each(pos, &driver->runs)
            doc_add(runs, inspect_run_document(CONTAINER_OF_CONST(pos, struct run, owner_link)));
    }
    cursor = 0;
    while ((space = idmap_next(&engine->spaces, &cursor))) {
        list_for_each(pos, &space->waiters)
            doc_add(waiters, waiter_document(
                                 space, CONTAINER_OF_CONST(pos, struct page_waiter, space_link)));
    }
    *ret_document = doc_object();
    doc_put(*ret_document, "runs", runs);
    doc_put(*ret_document, "waiters", waiters);
    return 0;
}

/* ---- stats ---- */

static void add_counter(struct doc *array, const char *name, uint64_t value, const char *unit,
                        const char *help)
{
    struct doc *document = doc_object();

    doc_put_text(document, "name", name);
    doc_put_number(document, "value", value);
    doc_put_text(document, "unit", unit);
    doc_put_text(document, "help", help);
    doc_add(array, document);
}

/* Living spaces' ports together. */
static void add_uffd_counters(struct doc *array, const struct engine *engine)
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

static struct doc *usage_document(const uint64_t usage[QUOTA_KIND_N])
{
    struct doc *document = doc_object();

    for (unsigned kind = 0; kind < QUOTA_KIND_N; kind++)
        doc_put_number(document, quota_key((enum quota_kind)kind), usage[kind]);
    return document;
}

static struct doc *users_document(const struct quota_table *quotas)
{
    struct doc *array = doc_array();
    const struct quota_user *user;
    size_t cursor = 0;

    while ((user = quota_next_user(quotas, &cursor))) {
        struct doc *document = doc_object();

        doc_put_number(document, "uid", user->uid);
        doc_put(document, "used", usage_document(user->used));
        doc_put(document, "peak", usage_document(user->peak));
        doc_put_number(document, "refused", user->n_refused);
        doc_add(array, document);
    }
    return array;
}

int inspect_stats(struct engine *engine, const struct admin_request *request,
                  struct doc **ret_document, const char **ret_why)
{
    struct doc *counters = doc_array();

    (void)request;
    (void)ret_why;
#define X(field, unit, help) add_counter(counters, #field, engine->stats.field, unit, help);
    ENGINE_STATS(X)
#undef X
    add_uffd_counters(counters, engine);
    add_counter(counters, "charges_refused", engine->quotas.n_refused, "charges",
                "requests that were over a limit");
    add_counter(counters, "evict_queue_bytes", evict_flow_bytes(engine), "bytes",
                "memory that the order of eviction takes");
    *ret_document = doc_object();
    doc_put(*ret_document, "counters", counters);
    doc_put(*ret_document, "used", usage_document(engine->quotas.total));
    doc_put(*ret_document, "users", users_document(&engine->quotas));
    return 0;
}
