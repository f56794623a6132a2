/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Dirty pages on their way to the driver.
 *
 *   object_dirty()   clean -> DIRTY          the object is held, and due after writeback_ms
 *   run_start()      protect in all clients, DIRTY -> WRITEBACK, ask the driver to write it
 *   on_run_end()     WRITEBACK -> settling   and clean later (settle.c);
 *                    WRITEBACK -> DIRTY      the driver failed, or a client writes by itself; a page that was written to meanwhile is DIRTY
 *                                            already and stays so
 *
 * One page is never in two runs at once, so an older write cannot land on a newer one. A run is a
 * stretch of dirty pages, cut at blocks of 2 MiB; several are under way for an object. A run whose
 * deadline has passed is overdue: nobody waits for it any more, and it ends only with its answer or
 * with its driver. Until then its pages are not asked for again, and a sync of them fails.
 *
 * A sync waits for the runs that were under way when it started, looks whether something was stored
 * without a fault meanwhile (settle.h), and then asks for what is dirty in its range, once from start to end: what is written to while it runs is left to the next one, so it
 * always ends. A client whose mm is changing cannot be protected at that moment: the run is tried
 * again soon, and the pages stay dirty.
 *
 * Errors are kept as a count: each file learns once that it has grown (file_take_error). Pages that
 * could not be written stay dirty, and are tried again with a growing pause.
 *
 * Owns runs (each holds a ref of the object) and the reference of an object that has dirty pages.
 */
#include "server/flow/writeback.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/log.h"
#include "common/base/own.h"
#include "proto/driver.pb-c.h"
#include "proto/hooks.h"
#include "proto/status.h"
#include "server/config/config.h"
#include "server/flow/driver_hooks.h"
#include "server/flow/evict_flow.h"
#include "server/flow/fill.h"
#include "server/flow/flow_log.h"
#include "server/flow/recover_flow.h"
#include "server/flow/resize_flow.h"
#include "server/flow/settle.h"
#include "server/flow/waits.h"

#define RUNS_MAX       4u /* chosen: of one object; two hide each other's latency, four the disk's */
#define RUN_BYTES_MAX  (2u << 20) /* chosen: as the largest window that is read */
#define AGAIN_NS       2000000ull /* chosen: the mm was changing: a system call later it is not */
#define BACKOFF_NS     100000000ull
#define BACKOFF_MAX_NS 10000000000ull
#define TRIES_MAX      5u /* chosen: of an object that nobody has open any more */

struct wb_run {
    struct driver_call call;
    struct list node;      /* in object.wb.runs */
    struct object *object; /* ref */
    struct driver *driver; /* ref */
    struct range pages;
    struct settling *settling; /* owned: what they held when they were protected */
    uint64_t seq;
    bool is_overdue; /* its deadline has passed, and the driver may still be at it */
};

static void step_all(struct object *object);
static void flush_background(struct object *object);

bool object_takes_pages_back(const struct object *object)
{
    return object->driver->file_hooks & FILE_HOOK_WRITEBACK;
}

/* ---- dirty objects ---- */

static struct object *object_of_dirty(struct list *node)
{
    return CONTAINER_OF(node, struct object, wb.dirty);
}

/* What is dirty by now is written back after the configured age. */
static void begin_age(struct object *object)
{
    object->wb.dirty_since_ns = loop_now_ns();
    object->wb.due_ns =
        object->wb.dirty_since_ns + object->engine->config->writeback_ms * 1000000ull;
}

static void on_flusher(struct deadline *deadline);

/* The list is in the order in which objects are due. */
static void watch_first(struct engine *engine)
{
    struct list *first = list_first(&engine->dirty);

    if (!first || engine->flusher.is_set)
        return;
    engine->flusher.fn = on_flusher;
    deadline_set(&engine->loop, &engine->flusher, object_of_dirty(first)->wb.due_ns);
}

static void on_flusher(struct deadline *deadline)
{
    struct engine *engine = CONTAINER_OF(deadline, struct engine, flusher);
    const uint64_t now_ns = loop_now_ns();
    struct list *pos, *tmp;

    list_for_each_safe(pos, tmp, &engine->dirty) {
        struct object *object = object_of_dirty(pos);

        if (object->wb.due_ns > now_ns)
            break;
        flush_background(object);
    }
    watch_first(engine);
}

/* Held while pages are dirty or on their way, whoever else lets go of it. */
static void hold(struct object *object)
{
    if (!list_is_empty(&object->wb.dirty))
        return;
    object_ref(object);
    begin_age(object);
    list_add_tail(&object->engine->dirty, &object->wb.dirty);
    watch_first(object->engine);
}

static void let_go(struct object *object)
{
    if (list_is_empty(&object->wb.dirty))
        return;
    list_del(&object->wb.dirty);
    object_unref(object);
}

static void let_go_if_clean(struct object *object)
{
    if (object->pages.n_dirty == 0 && object->wb.n_runs == 0)
        let_go(object);
}

void object_dirty(struct object *object, struct range pages)
{
    const uint64_t n = page_table_move_range(
        &object->pages, pages, PAGE_BITS_CLEAN | PAGE_BIT(PAGE_WRITEBACK), PAGE_DIRTY);

    if (n == 0 || !object_takes_pages_back(object))
        return;
    if (object->lost)
        (void)recover_keep(object); /* else these bytes go with their mapping */
    else
        hold(object);
}

/* ---- protecting ---- */

/* From here on each write to these pages is reported. Return: 0; -EAGAIN not everywhere, yet. */
static int protect(const struct object *object, struct range pages)
{
    struct list *pos;

    list_for_each(pos, &object->mappings) {
        const struct vma *vma = vma_from_object_link(pos);
        struct space *space = vma_space(vma);
        struct range addrs;
        int r;

        if (!vma->tracks_writes || space->dead || !space->uffd_open)
            continue;
        addrs = vma_addrs_of(vma, object, pages);
        if (range_is_empty(addrs))
            continue;
        /* being made, moved or cut: where its pages are is known when that is over */
        r = vma->write_locked ? -EAGAIN : uffd_port_protect(&space->uffd, addrs);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- runs ---- */

static void note_failure(struct wb_run *run, int error, const char *text)
{
    struct object *object = run->object;
    const struct flow_where where = {
        .driver = run->driver, .object = object->name, .hook = "writeback"};
    char sentence[160];

    (void)snprintf(sentence, sizeof(sentence), "pages %" PRIu64 "-%" PRIu64 ": %s",
                   run->pages.start, run->pages.end, text);
    flow_error("writeback.failed", &where, error, sentence);
    object->wb.error = -error;
    object->wb.error_seq++;
    object->engine->stats.writeback_errors++;
    object->wb.backoff_ns = object->wb.backoff_ns == 0 ? BACKOFF_NS : 2 * object->wb.backoff_ns;
    if (object->wb.backoff_ns > BACKOFF_MAX_NS)
        object->wb.backoff_ns = BACKOFF_MAX_NS;
}

/* Pages of a run that ended well are settling, but for those a client is writing to right now. */
static void written(struct wb_run *run)
{
    struct object *object = run->object;
    const struct list *pos;

    list_for_each(pos, &object->wb.holds) {
        const struct wb_hold *wb_hold = CONTAINER_OF_CONST(pos, struct wb_hold, node);
        const struct range part = range_intersect(wb_hold->pages, run->pages);

        if (!range_is_empty(part))
            (void)page_table_move_range(&object->pages, part, PAGE_BIT(PAGE_WRITEBACK), PAGE_DIRTY);
    }
    object->wb.n_written += page_table_count(&object->pages, run->pages, PAGE_BIT(PAGE_WRITEBACK));
    settle_begin(run->settling);
    run->settling = NULL;
}

static void on_again(struct deadline *deadline)
{
    struct object *object = CONTAINER_OF(deadline, struct object, wb.again);

    if (object->wb.backoff_ns > 0)
        flush_background(object);
    step_all(object);
}

static void step_later(struct object *object, uint64_t in_ns)
{
    if (object->wb.again.is_set)
        return;
    object->wb.again.fn = on_again;
    deadline_set(&object->engine->loop, &object->wb.again, loop_now_ns() + in_ns);
}

/* Nobody will ever take its dirty pages: they are bytes for whoever has it mapped, and go with it. */
static void give_up(struct object *object)
{
    const struct flow_where where = {
        .driver = object->driver, .object = object->name, .hook = "writeback"};
    char text[96];

    (void)snprintf(text, sizeof(text), "%" PRIu64 " written pages cannot be written back",
                   object->pages.n_dirty);
    flow_error("writeback.lost", &where, -EIO, text);
    object->wb.error = EIO;
    object->wb.error_seq++;
    let_go(object);
}

/* Whether only its pages keep it, dirty or settling: no mapping, no open file. */
static bool is_forgotten(const struct object *object)
{
    /* dirty, the runs, and the one that just ended */
    uint64_t n_own = settle_n_refs(object) + 1 + object->wb.n_runs + 1;
    struct list *pos;

    list_for_each(pos, &object->wb.syncs)
        n_own++;
    return object->n_refs <= n_own;
}

/* The run stays, with its pages: who waits for it is told, and nobody writes over it. */
static void run_overdue(struct wb_run *run)
{
    struct object *object = object_ref(run->object);

    run->is_overdue = true;
    object->wb.n_overdue++;
    hook_ended(run->driver, &run->call, -ETIMEDOUT);
    note_failure(run, -ETIMEDOUT, "the driver did not answer in time");
    evict_flow_changed(object->engine);
    step_all(object);
    resize_go_on(object);
    object_unref(object);
}

static void run_free(struct wb_run *run)
{
    settle_free(run->settling);
    driver_unref(run->driver);
    free(run);
}

static void on_run_end(struct driver_call *call, enum call_end end, struct frame *frame)
{
    struct wb_run *run = CONTAINER_OF(call, struct wb_run, call);
    struct object *object = run->object;
    char text[128] = "the driver died";
    int error = -EIO;

    if (end == CALL_DEADLINE) {
        run_overdue(run);
        return;
    }
    if (end != CALL_LOST) {
        (void)snprintf(text, sizeof(text), "the driver could not write them");
        error = hook_completed(run->driver, call, NULL, frame, text, sizeof(text));
    }
    if (run->is_overdue) {
        object->wb.n_overdue--;
        run->driver->n.late += end == CALL_LATE;
    } else {
        hook_ended(run->driver, call, error);
    }
    list_del(&run->node);
    object->wb.n_runs--;
    if (error == 0) {
        object->wb.backoff_ns = 0;
        object->wb.n_tries = 0;
        object->engine->stats.pages_written += range_len(run->pages);
        written(run);
    } else {
        (void)page_table_move_range(&object->pages, run->pages, PAGE_BIT(PAGE_WRITEBACK),
                                    PAGE_DIRTY);
        note_failure(run, error, text);
        if (++object->wb.n_tries >= TRIES_MAX && is_forgotten(object))
            give_up(object);
        else if (!object->lost)
            step_later(object, object->wb.backoff_ns);
    }
    evict_flow_changed(object->engine);
    step_all(object);
    resize_go_on(object);
    let_go_if_clean(object);
    run_free(run);
    object_unref(object);
}

/* Return: 0 under way; -EAGAIN later; -EIO, -ENOMEM it cannot be written now (noted). */
static int run_start(struct object *object, struct range pages)
{
    struct wb_run *run;
    int r = protect(object, pages);

    if (r < 0)
        return r;
    run = calloc(1, sizeof(*run));
    if (!run)
        return -ENOMEM;
    run->settling = settle_new(object, pages);
    if (!run->settling) {
        free(run);
        return -ENOMEM;
    }
    run->object = object_ref(object);
    run->driver = driver_ref(object->driver);
    run->pages = pages;
    run->seq = ++object->wb.seq;
    run->call.end = on_run_end;
    run->call.wants_late = true;
    (void)page_table_move_range(&object->pages, pages, PAGE_BIT(PAGE_DIRTY), PAGE_WRITEBACK);
    list_add_tail(&object->wb.runs, &run->node);
    object->wb.n_runs++;
    object->engine->stats.runs_writeback++;
    r = hook_writeback(run->driver, &run->call, object, pages);
    if (r == 0)
        return 0;
    (void)page_table_move_range(&object->pages, pages, PAGE_BIT(PAGE_WRITEBACK), PAGE_DIRTY);
    list_del(&run->node);
    object->wb.n_runs--;
    note_failure(run, -EIO, "the driver cannot be asked");
    run_free(run);
    object_unref(object);
    return -EIO;
}

bool wait_of_writeback(const struct list *node, struct wait_view *ret_view)
{
    const struct wb_run *run = CONTAINER_OF_CONST(node, struct wb_run, node);

    *ret_view = (struct wait_view){.what = "writeback",
                                   .stage = "asked",
                                   .object = run->object,
                                   .pages = run->pages,
                                   .whom = WAITS_FOR_DRIVER,
                                   .driver = run->driver,
                                   .hook = "writeback",
                                   .args = run->call.args,
                                   .since_ns = run->call.sent_ns,
                                   .stage_since_ns = run->call.sent_ns,
                                   .deadline_ns = run->call.deadline.at_ns};
    return true;
}

/* A run in time, or one that is overdue, that was numbered up to @seq and is about some of these
 * pages. */
static const struct wb_run *find_run(const struct object *object, struct range pages, uint64_t seq,
                                     bool is_overdue)
{
    struct list *pos;

    list_for_each(pos, &object->wb.runs) {
        const struct wb_run *run = CONTAINER_OF(pos, struct wb_run, node);

        if (run->is_overdue == is_overdue && run->seq <= seq && range_overlaps(run->pages, pages))
            return run;
    }
    return NULL;
}

/* Where the first run that has some of these pages begins and ends. */
static struct range first_run(const struct object *object, struct range pages, bool is_overdue)
{
    struct range first = {UINT64_MAX, UINT64_MAX};
    struct list *pos;

    list_for_each(pos, &object->wb.runs) {
        const struct wb_run *run = CONTAINER_OF(pos, struct wb_run, node);

        if (run->is_overdue == is_overdue && range_overlaps(run->pages, pages) &&
            run->pages.start < first.start)
            first = run->pages;
    }
    return first;
}

/* ---- syncs ---- */

/* The next stretch to be asked for, cut to one run. Empty: there is none. */
static struct range next_dirty(const struct sync *sync)
{
    const struct object *object = sync->object;
    const uint64_t max_pages = RUN_BYTES_MAX >> object->page_shift;
    const struct range rest = {sync->cursor, sync->pages.end};
    struct range run = page_table_find_run(&object->pages, rest, PAGE_BIT(PAGE_DIRTY));
    const uint64_t block_end = (run.start / max_pages + 1) * max_pages;

    if (run.end > block_end)
        run.end = block_end;
    return run;
}

/* Cut off what is under way there. Return: whether something is left; else the cursor has moved. */
static bool cut_to_idle(struct sync *sync, struct range *run)
{
    const struct range in_time = first_run(sync->object, *run, false);
    const struct range overdue = first_run(sync->object, *run, true);

    /* it began after this sync did, and so has what was dirty then */
    if (in_time.start <= run->start) {
        sync->cursor = in_time.end;
        return false;
    }
    if (overdue.start <= run->start) {
        sync->cursor = overdue.end;
        sync->error = -ETIMEDOUT;
        return false;
    }
    if (run->end > in_time.start)
        run->end = in_time.start;
    if (run->end > overdue.start)
        run->end = overdue.start;
    return true;
}

/* Return: whether all of it was asked for, or never will be (sync.error). */
static bool ask_dirty(struct sync *sync)
{
    struct object *object = sync->object;
    const uint64_t border = resize_border(object);

    while (sync->cursor < sync->pages.end) {
        struct range run = next_dirty(sync);
        int r;

        if (range_is_empty(run))
            break;
        if (run.start >= border)
            return false; /* goes on when that size is there, or not to be had */
        if (run.end > border)
            run.end = border;
        if (!cut_to_idle(sync, &run))
            continue;
        if (object->wb.n_overdue >= RUNS_MAX) {
            sync->error = -ETIMEDOUT; /* it owes too many answers to be asked for more */
            break;
        }
        if (object->wb.n_runs - object->wb.n_overdue >= RUNS_MAX)
            return false; /* goes on when one ends */
        r = run_start(object, run);
        if (r == -EAGAIN) {
            step_later(object, AGAIN_NS);
            return false;
        }
        sync->cursor = run.end;
    }
    sync->cursor = sync->pages.end;
    return true;
}

/* Return: whether it is over. */
static bool step(struct sync *sync)
{
    struct object *object = sync->object;

    if (!sync->is_asked) {
        if (find_run(object, sync->pages, sync->start_seq, false))
            return false;
        if (!sync->is_compared) /* what was stored while those runs were under way is dirty, too */
            settle_check(object, sync->pages);
        sync->is_compared = true;
        if (!ask_dirty(sync))
            return false;
        sync->is_asked = true;
        sync->end_seq = object->wb.seq;
    }
    if (find_run(object, sync->pages, sync->end_seq, false))
        return false;
    if (find_run(object, sync->pages, sync->end_seq, true))
        sync->error = -ETIMEDOUT;
    return true;
}

static void finish(struct sync *sync)
{
    struct object *object = sync->object;

    list_del(&sync->node);
    sync->object = NULL;
    sync->done(sync);
    object_unref(object);
}

static void step_all(struct object *object)
{
    struct list over = LIST_INIT(over);
    struct list *pos, *tmp;

    object_ref(object);
    list_for_each_safe(pos, tmp, &object->wb.syncs) {
        struct sync *sync = CONTAINER_OF(pos, struct sync, node);

        if (!step(sync))
            continue;
        list_del(&sync->node);
        list_add_tail(&over, &sync->node);
    }
    while ((pos = list_first(&over)))
        finish(CONTAINER_OF(pos, struct sync, node));
    object_unref(object);
}

int writeback_is_busy(const struct object *object, struct range pages)
{
    if (find_run(object, pages, UINT64_MAX, false))
        return 1;
    return find_run(object, pages, UINT64_MAX, true) ? -ETIMEDOUT : 0;
}

void writeback_go_on(struct object *object)
{
    step_all(object);
}

bool sync_start(struct sync *sync, struct object *object, struct range pages)
{
    list_init(&sync->node);
    sync->object = object;
    sync->pages = range_intersect(pages, page_table_range(&object->pages));
    sync->cursor = sync->pages.start;
    sync->start_seq = object->wb.seq;
    sync->is_compared = sync->is_asked = false;
    sync->error = 0;
    sync->since_ns = loop_now_ns();
    if ((object->pages.n_dirty == 0 && settle_n_refs(object) == 0) ||
        !object_takes_pages_back(object) || range_is_empty(sync->pages) || step(sync)) {
        sync->object = NULL;
        return false;
    }
    object_ref(object);
    list_add_tail(&object->wb.syncs, &sync->node);
    return true;
}

void sync_cancel(struct sync *sync)
{
    struct object *object = sync->object;

    if (!object)
        return;
    list_del(&sync->node);
    sync->object = NULL;
    object_unref(object);
}

/* ---- the background ---- */

static void on_flushed(struct sync *sync)
{
    free(sync);
}

static void flush_background(struct object *object)
{
    struct sync *sync;

    begin_age(object); /* what becomes dirty from now on is due later */
    if (!list_is_empty(&object->wb.dirty)) {
        list_del(&object->wb.dirty);
        list_add_tail(&object->engine->dirty, &object->wb.dirty);
    }
    if (!list_is_empty(&object->wb.syncs))
        return; /* somebody is at it */
    sync = calloc(1, sizeof(*sync));
    if (!sync)
        return; /* it is due again */
    sync->done = on_flushed;
    sync->what = "flush";
    if (!sync_start(sync, object, page_table_range(&object->pages)))
        free(sync);
}

uint64_t writeback_dirty_bytes(const struct engine *engine)
{
    uint64_t n_bytes = 0;
    const struct list *pos;

    list_for_each(pos, &engine->dirty) {
        const struct object *object = CONTAINER_OF_CONST(pos, struct object, wb.dirty);

        n_bytes += object->pages.n_dirty << object->page_shift;
    }
    return n_bytes;
}

void writeback_kick(struct object *object)
{
    if (object->pages.n_dirty > 0 && object_takes_pages_back(object) && !object->lost)
        flush_background(object);
}

void writeback_soon(struct object *object)
{
    struct engine *engine = object->engine;

    if (list_is_empty(&object->wb.dirty))
        return;
    object->wb.due_ns = loop_now_ns();
    list_del(&object->wb.dirty);
    list_add(&engine->dirty, &object->wb.dirty);
    deadline_clear(&engine->loop, &engine->flusher);
    watch_first(engine);
}

bool writeback_flush(struct engine *engine)
{
    struct list *pos, *tmp;
    bool is_busy = false;
    struct object *object;
    size_t cursor = 0;

    while ((object = idmap_next(&engine->objects, &cursor)))
        settle_over(object);
    list_for_each_safe(pos, tmp, &engine->dirty) {
        object = object_of_dirty(pos);
        is_busy = true;
        if (list_is_empty(&object->wb.syncs))
            flush_background(object);
    }
    return is_busy;
}

/* ---- clients that write by themselves ---- */

void writeback_hold(struct object *object, struct wb_hold *wb_hold, struct range pages)
{
    wb_hold->pages = range_intersect(pages, page_table_range(&object->pages));
    list_add_tail(&object->wb.holds, &wb_hold->node);
    object_dirty(object, wb_hold->pages);
}

void writeback_unhold(struct object *object, struct wb_hold *wb_hold)
{
    list_del(&wb_hold->node);
    object_dirty(object, wb_hold->pages);
}

/* ---- ends ---- */

/* Whoever syncs is told; the pages are kept for a driver that comes back. */
static void wait_for_return(struct object *object)
{
    if (!recover_keep(object)) {
        give_up(object);
        return;
    }
    object->wb.error = EIO;
    object->wb.error_seq++;
    let_go(object);
}

void writeback_driver_gone(struct driver *driver)
{
    struct object *object;
    size_t cursor = 0;

    while ((object = idmap_next(&driver->objects, &cursor))) {
        deadline_clear(&object->engine->loop, &object->wb.again);
        if (object->pages.n_dirty > 0 && object_takes_pages_back(object))
            wait_for_return(object);
    }
}

void writeback_dropped(struct object *object)
{
    let_go_if_clean(object);
}

const char *writeback_validate(const struct object *object)
{
    const bool is_held = list_is_linked(&object->wb.dirty);
    const bool is_given_up = object->lost || object->wb.n_tries >= TRIES_MAX;
    const struct list *pos;
    unsigned n_runs = 0;

    list_for_each(pos, &object->wb.runs) {
        const struct wb_run *run = CONTAINER_OF_CONST(pos, struct wb_run, node);

        n_runs++;
        if (run->object != object)
            return "a run that is written back belongs to another object";
        if (!range_contains_range(page_table_range(&object->pages), run->pages))
            return "a run that is written back lies outside of the object";
    }
    if (n_runs != object->wb.n_runs)
        return "n_runs is not the number of runs that are written back";
    if (is_held && object->pages.n_dirty == 0 && n_runs == 0)
        return "is held for dirty pages, and has none";
    if (!is_held && object->pages.n_dirty > 0 && object_takes_pages_back(object) && !is_given_up)
        return "has dirty pages, and is not held for them";
    return NULL;
}

uint64_t writeback_n_refs(const struct object *object)
{
    uint64_t n =
        settle_n_refs(object) + object->wb.n_runs + (list_is_linked(&object->wb.dirty) ? 1u : 0u);
    const struct list *pos;

    list_for_each(pos, &object->wb.syncs)
        n++;
    return n;
}

int file_take_error(struct file *file)
{
    struct object *object = file->object;

    if (file->wb_seen_seq == object->wb.error_seq)
        return 0;
    file->wb_seen_seq = object->wb.told_seq = object->wb.error_seq;
    return -object->wb.error;
}

void writeback_object_init(struct object *object)
{
    list_init(&object->resizes);
    list_init(&object->wb.runs);
    list_init(&object->wb.syncs);
    list_init(&object->wb.holds);
    list_init(&object->wb.mkwrites);
    list_init(&object->wb.dirty);
    rb_init(&object->wb.settling, NULL);
}

void writeback_object_done(struct object *object)
{
    MUST(object->wb.n_runs == 0 && rb_is_empty(&object->wb.settling) &&
         list_is_empty(&object->resizes) && list_is_empty(&object->wb.syncs) &&
         list_is_empty(&object->wb.holds) && list_is_empty(&object->wb.mkwrites) &&
         list_is_empty(&object->wb.dirty));
    deadline_clear(&object->engine->loop, &object->wb.again);
}
