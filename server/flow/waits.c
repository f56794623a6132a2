/* SPDX-License-Identifier: BSD-3-Clause */
/* Waits for people: what each kind of wait looks like, as JSON and as a sentence. */
#include "server/flow/waits.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/own.h"
#include "server/driver/driver_link.h"
#include "server/flow/fill.h"
#include "server/flow/fill_flow.h"
#include "server/flow/fork_flow.h"
#include "server/flow/map_flow.h"
#include "server/flow/mm_lock.h"
#include "server/flow/session_flow.h"
#include "server/flow/stack_flow.h"
#include "server/flow/writeback.h"

/* Chosen: calls of one driver that are looked at to find which one an unmap waits for. */
#define CALLS_MAX 4096u

/* ---- pages ---- */

void wait_see_run(const struct object *object, uint64_t page, struct wait_view *view)
{
    const struct run *run = run_table_find(&object->runs, page);

    view->driver = object->driver;
    view->whom = object->source == OBJECT_EXTENTS ? WAITS_FOR_READ : WAITS_FOR_DRIVER;
    view->hook = object->source == OBJECT_EXTENTS ? "extents" : "fault";
    view->stage = "asked";
    view->stage_since_ns = view->since_ns;
    if (!run)
        return;
    if (!run->sent)
        view->stage = "in-line"; /* the ring to the driver is full */
    else if (run->stale)
        view->stage = "revoked"; /* asked again once this one has come */
    view->stage_since_ns = run->asked_ns;
    view->deadline_ns = run->deadline_ns;
}

/* No page can be asked for until others were written back. */
static void see_room(struct wait_view *view)
{
    view->stage = "no-room";
    view->whom = WAITS_FOR_ROOM;
    view->stage_since_ns = view->since_ns;
}

/* Parked: for the end of a transaction; where there is none, for room. */
static void see_parked(const struct page_waiter *waiter, struct wait_view *view)
{
    const struct vma *vma = vma_tree_find_next(&view->space->aspace.vmas, waiter->addr);

    if (vma && vma_contains(vma, waiter->addr) && vma->kind == VMA_MAPPED && vma->object &&
        !vma->write_locked) {
        view->object = vma_object(vma);
        view->driver = view->object->driver;
        view->pages.start = vma_page_at(vma, view->object, waiter->addr);
        view->pages.end = view->pages.start + 1;
        see_room(view);
        return;
    }
    view->stage = "parked";
    view->whom = WAITS_FOR_LOCK;
    view->behind = view->space->writer;
    view->stage_since_ns = waiter->since_ns;
}

bool wait_of_fill(const struct fill_wait *wait, struct wait_view *ret_view)
{
    struct wait_view view = {.what = wait->what,
                             .space = wait->space,
                             .object = wait->object,
                             .since_ns = wait->since_ns,
                             .pages = {wait->next_page, wait->next_page + 1}};

    if (!wait->pending)
        return false;
    if (wait->needs_room) {
        view.driver = wait->object->driver;
        see_room(&view);
    } else if (waiter_is_waiting(&wait->waiter)) {
        wait_see_run(wait->object, wait->next_page, &view);
    } else {
        view.stage = "running";
        view.whom = WAITS_FOR_SERVER;
        view.stage_since_ns = wait->since_ns;
    }
    *ret_view = view;
    return true;
}

bool wait_of_waiter(const struct page_waiter *waiter, struct wait_view *ret_view)
{
    struct wait_view view = {.since_ns = waiter->since_ns,
                             .address = waiter->addr,
                             .write = waiter->write,
                             .space = waiter->space,
                             .what = "fault"};

    if (waiter->kind == WAITER_CALL)
        return wait_of_fill(CONTAINER_OF_CONST(waiter, struct fill_wait, waiter), ret_view);
    if (!waiter_is_waiting(waiter))
        return false; /* about to be told */
    if (waiter->table == &view.space->parked) {
        see_parked(waiter, &view);
    } else {
        view.object = CONTAINER_OF_CONST(waiter->table, struct object, runs);
        view.pages = (struct range){waiter->page, waiter->page + 1};
        wait_see_run(view.object, waiter->page, &view);
    }
    *ret_view = view;
    return true;
}

/* ---- calls to drivers ---- */

static void see_call(const struct driver_call *call, struct wait_view *view)
{
    view->whom = WAITS_FOR_DRIVER;
    view->driver = call->link->owner;
    view->hook = call->hook;
    view->args = call->args;
    view->stage_since_ns = call->sent_ns;
    view->deadline_ns = call->deadline.is_set ? call->deadline.at_ns : 0;
}

/* Those that a map request or a write waits for are seen as that. */
static bool has_own_entry(const char *hook)
{
    static const char *const hooks[] = {"mmap_prepare", "mmap_complete", "mmap", "page_mkwrite",
                                        "writeback"};

    for (size_t i = 0; i < N_ELEMENTS(hooks); i++) {
        if (strcmp(hooks[i], hook) == 0)
            return true;
    }
    return false;
}

bool wait_of_call(const struct driver_call *call, struct wait_view *ret_view)
{
    const struct driver *driver = call->link ? call->link->owner : NULL;
    struct wait_view view = {.what = call->hook, .since_ns = call->sent_ns};

    if (!driver || has_own_entry(call->hook))
        return false;
    see_call(call, &view);
    view.stage = call->late ? "late" : "asked";
    if (call->space_id != 0)
        view.space = idmap_get(&driver->engine->spaces, call->space_id);
    *ret_view = view;
    return true;
}

/* ---- requests for the space's lock ---- */

static bool is_map(const struct mm_request *request)
{
    return strcmp(request->what, "map") == 0;
}

static const struct driver_call *call_of_map(const struct map_request *request)
{
    if (request->call.link)
        return &request->call;
    if (request->split.ask.call.link)
        return &request->split.ask.call;
    return stack_call(request);
}

/* What only the holder of the lock asks: vma_ask.c. */
static bool is_writers(const char *hook)
{
    return strcmp(hook, "may_split") == 0 || strcmp(hook, "mprotect") == 0 ||
           strcmp(hook, "mremap") == 0;
}

static const struct driver_call *call_of_writer(const struct space *space)
{
    const struct list *link_pos, *pos;
    unsigned n = 0;

    list_for_each(link_pos, &space->engine->links) {
        const struct driver_link *link = CONTAINER_OF_CONST(link_pos, struct driver_link, link);

        list_for_each(pos, &link->call_list) {
            const struct driver_call *call = CONTAINER_OF_CONST(pos, struct driver_call, node);

            if (n++ == CALLS_MAX)
                return NULL;
            if (call->space_id == space->id && is_writers(call->hook))
                return call;
        }
    }
    return NULL;
}

/* What the client was told in the dialogue of this request. */
static bool see_client(const struct mm_request *request, struct wait_view *view)
{
    const struct session *session = request->space->session;
    const struct list *pos;

    if (!session)
        return false;
    list_for_each(pos, &session->client_calls) {
        struct wait_view call;

        if (!wait_of_client_call(pos, &call) || call.request_id != request->id)
            continue;
        view->whom = WAITS_FOR_CLIENT;
        view->hook = call.hook;
        view->stage_since_ns = call.since_ns;
        view->deadline_ns = call.deadline_ns;
        return true;
    }
    return false;
}

/* The client holds the lock until it says that it has forked. */
static void see_fork(const struct mm_request *request, struct wait_view *view)
{
    view->deadline_ns = fork_deadline_ns(request);
    view->stage = "forking";
    view->whom = WAITS_FOR_CLIENT;
    view->hook = "fork";
}

static void see_map(const struct map_request *request, struct wait_view *view)
{
    view->stage = map_request_state(request);
    view->driver = request->driver;
    view->object = request->file->object;
    view->address = request->target.start;
}

bool wait_of_request(const struct mm_request *request, struct wait_view *ret_view)
{
    const struct driver_call *call = NULL;
    struct wait_view view = {.what = request->what,
                             .stage = "running",
                             .space = request->space,
                             .request_id = request->id,
                             .since_ns = request->since_ns,
                             .stage_since_ns = request->since_ns,
                             .whom = WAITS_FOR_SERVER};

    if (is_map(request)) {
        const struct map_request *map = CONTAINER_OF_CONST(request, struct map_request, mm);

        see_map(map, &view);
        call = call_of_map(map);
        if (!call && map->wait.pending)
            view.whom = WAITS_FOR_PAGES;
    }
    if (list_is_linked(&request->queued)) {
        view.stage = "queued";
        view.whom = WAITS_FOR_LOCK;
        view.behind = request->space->writer;
    } else if (view.whom == WAITS_FOR_SERVER) {
        if (!call && !is_map(request))
            call = call_of_writer(request->space);
        if (!call && !see_client(request, &view) && strcmp(request->what, "fork") == 0)
            see_fork(request, &view);
    }
    if (call)
        see_call(call, &view);
    *ret_view = view;
    return true;
}

/* ---- syncs ---- */

bool wait_of_sync(const struct sync *sync, struct wait_view *ret_view)
{
    const struct object *object = sync->object;
    struct wait_view run;

    *ret_view = (struct wait_view){.what = sync->what,
                                   .stage = sync->is_asked ? "asked" : "asking",
                                   .space = sync->space,
                                   .object = object,
                                   .pages = sync->pages,
                                   .whom = WAITS_FOR_WRITEBACK,
                                   .driver = object->driver,
                                   .hook = "writeback",
                                   .since_ns = sync->since_ns,
                                   .stage_since_ns = sync->since_ns};
    if (!list_is_empty(&object->wb.runs) &&
        wait_of_writeback(list_first(&object->wb.runs), &run)) { /* the oldest */
        ret_view->stage_since_ns = run.since_ns;
        ret_view->deadline_ns = run.deadline_ns;
    }
    return true;
}

/* ---- sentences ---- */

struct text {
    char *buf;
    size_t size, n;
};

__attribute__((format(printf, 2, 3))) static void say(struct text *text, const char *format, ...)
{
    va_list args;
    int n;

    if (text->n + 1 >= text->size)
        return;
    va_start(args, format);
    n = vsnprintf(text->buf + text->n, text->size - text->n, format, args);
    va_end(args);
    if (n > 0)
        text->n += (size_t)n < text->size - text->n ? (size_t)n : text->size - text->n - 1;
}

const char *duration_text(uint64_t ns, char buf[static 24])
{
    if (ns < 1000000000)
        (void)snprintf(buf, 24, "%" PRIu64 " ms", ns / 1000000);
    else
        (void)snprintf(buf, 24, "%" PRIu64 ".%" PRIu64 " s", ns / 1000000000, ns / 100000000 % 10);
    return buf;
}

static uint64_t between(uint64_t since_ns, uint64_t now_ns)
{
    return now_ns > since_ns ? now_ns - since_ns : 0;
}

static uint64_t age_of(uint64_t since_ns)
{
    return between(since_ns, loop_now_ns());
}

static void say_left(struct text *text, const struct wait_view *view)
{
    const uint64_t now_ns = loop_now_ns();
    char buf[24];

    if (view->deadline_ns > now_ns)
        say(text, " and has %s left", duration_text(view->deadline_ns - now_ns, buf));
    else if (view->deadline_ns == 0)
        say(text, ", without a deadline");
    else
        say(text, ", and is out of time");
}

static void say_driver(struct text *text, const struct wait_view *view)
{
    const bool is_in_line = strcmp(view->stage, "in-line") == 0;
    char buf[24];

    say(text, "driver %s (pid %d) %s %s %s ago", view->driver ? view->driver->name : "?",
        view->driver ? (int)view->driver->pid : 0,
        is_in_line ? "reads too slowly, and is to be asked" : "was asked", view->hook,
        duration_text(age_of(view->stage_since_ns), buf));
    say_left(text, view);
}

static void say_behind(struct text *text, const struct wait_view *view)
{
    struct wait_view holder;
    char reason[256], buf[24];

    if (!view->behind || !wait_of_request(view->behind, &holder)) {
        say(text, "the mapping is being changed");
        return;
    }
    say(text, "request %s %" PRIu64 " has the lock since %s ago (%s)", holder.what,
        holder.request_id, duration_text(age_of(holder.since_ns), buf), holder.stage);
    if (holder.whom != WAITS_FOR_LOCK)
        say(text, ": %s", wait_reason(&holder, reason, sizeof(reason)));
}

const char *wait_reason(const struct wait_view *view, char *buf, size_t size)
{
    struct text text = {.buf = buf, .size = size};
    char age[24];

    buf[0] = '\0';
    (void)duration_text(age_of(view->stage_since_ns), age);
    switch (view->whom) {
    case WAITS_FOR_DRIVER:
        say_driver(&text, view);
        break;
    case WAITS_FOR_READ:
        say(&text, "the server has read from a file of driver %s for %s", view->driver->name, age);
        say_left(&text, view);
        break;
    case WAITS_FOR_CLIENT:
        say(&text, "the client was told to %s %s ago", view->hook, age);
        say_left(&text, view);
        break;
    case WAITS_FOR_LOCK:
        say_behind(&text, view);
        break;
    case WAITS_FOR_WRITEBACK:
        MUST(view->object && view->driver);
        say(&text, "driver %s (pid %d) has %u runs to write back, the oldest for %s",
            view->driver->name, (int)view->driver->pid, view->object->wb.n_runs, age);
        if (view->object->wb.n_runs > 0)
            say_left(&text, view);
        break;
    case WAITS_FOR_COMPLETE:
        MUST(view->object);
        say(&text, "%u calls of mmap_complete on the object are under way",
            view->object->n_completing);
        break;
    case WAITS_FOR_RESIZE:
        say(&text, "an earlier change of the object's size is under way");
        break;
    case WAITS_FOR_ROOM:
        say(&text,
            "the page cache is full, and what could go is dirty: it is being given back to the "
            "drivers");
        break;
    case WAITS_FOR_PAGES:
        say(&text, "pages are being got");
        break;
    case WAITS_FOR_SERVER:
        say(&text, "the server is at it");
        break;
    }
    return buf;
}

static void say_who(struct text *text, const struct wait_view *view)
{
    char buf[24];

    if (view->space)
        say(text, "pid %d (%s): ", (int)view->space->pid, view->space->program);
    say(text, "%s", view->what);
    if (strcmp(view->what, "fault") == 0)
        say(text, " (%s) at %#" PRIx64, view->write ? "write" : "read", view->address);
    else if (view->address != 0)
        say(text, " at %#" PRIx64, view->address);
    if (range_len(view->pages) == 1)
        say(text, " of page %" PRIu64, view->pages.start);
    else if (!range_is_empty(view->pages))
        say(text, " of pages %" PRIu64 "-%" PRIu64, view->pages.start, view->pages.end);
    if (view->object)
        say(text, " of %s", view->object->name);
    say(text, " waits for %s: ", duration_text(age_of(view->since_ns), buf));
}

/* ---- documents ---- */

static const char *const whom_words[] = {
#define X(name, word) [WAITS_FOR_##name] = (word),
    WAITS_FOR(X)
#undef X
};

static void put_behind(struct doc *document, const struct mm_request *behind, uint64_t now_ns)
{
    struct wait_view holder;
    struct doc *value;

    if (!behind || !wait_of_request(behind, &holder)) {
        doc_put_text(document, "behind", NULL);
        return;
    }
    value = doc_object();
    doc_put_text(value, "what", holder.what);
    doc_put_number(value, "request", holder.request_id);
    doc_put_text(value, "stage", holder.stage);
    doc_put_text(value, "for", whom_words[holder.whom]);
    doc_put_text(value, "driver",
                 holder.whom == WAITS_FOR_DRIVER && holder.driver ? holder.driver->name : NULL);
    doc_put_text(value, "hook", holder.hook);
    doc_put_number(value, "age_ns", between(holder.since_ns, now_ns));
    doc_put_number(value, "stage_ns", between(holder.stage_since_ns, now_ns));
    doc_put(document, "behind", value);
}

static void put_whom(struct doc *document, const struct wait_view *view, uint64_t now_ns)
{
    doc_put_text(document, "for", whom_words[view->whom]);
    doc_put_text(document, "driver", view->driver ? view->driver->name : NULL);
    doc_put_number(document, "driver_pid", view->driver ? (uint64_t)view->driver->pid : 0);
    doc_put_text(document, "hook", view->hook);
    doc_put_text(document, "args", view->args);
    put_behind(document, view->behind, now_ns);
}

static void put_times(struct doc *document, const struct wait_view *view, uint64_t now_ns)
{
    doc_put_number(document, "age_ns", between(view->since_ns, now_ns));
    doc_put_number(document, "stage_ns", between(view->stage_since_ns, now_ns));
    doc_put_limit(document, "left_ns",
                  view->deadline_ns == 0 ? UINT64_MAX : between(now_ns, view->deadline_ns));
}

struct doc *wait_document(const struct wait_view *view, uint64_t now_ns)
{
    struct doc *document = doc_object();
    char reason[512], sentence[1024];
    struct text text = {.buf = sentence, .size = sizeof(sentence)};

    doc_put_text(document, "what", view->what);
    doc_put_text(document, "stage", view->stage);
    doc_put_number(document, "space", view->space ? view->space->id : 0);
    doc_put_number(document, "pid", view->space ? (uint64_t)view->space->pid : 0);
    doc_put_text(document, "program", view->space ? view->space->program : NULL);
    doc_put_number(document, "request", view->request_id);
    doc_put_number(document, "address", view->address);
    doc_put_bool(document, "write", view->write);
    doc_put_text(document, "object", view->object ? view->object->name : NULL);
    doc_put_number(document, "object_id", view->object ? view->object->id : 0);
    doc_put_number(document, "first_page", view->pages.start);
    doc_put_number(document, "n_pages", range_len(view->pages));
    put_whom(document, view, now_ns);
    put_times(document, view, now_ns);
    say_who(&text, view);
    say(&text, "%s", wait_reason(view, reason, sizeof(reason)));
    doc_put_text(document, "sentence", sentence);
    return document;
}
