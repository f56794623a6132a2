/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How pages come into an object's cache: claiming, asking, taking what came, failing, revoking.
 *
 *   fill_ask -> claim absent pages -> charge -> run in flight -> fill_extents.c or fill_driver.c
 *                                                                                 |
 *   fill_supplied:   FILLING -> CLEAN, run cut, waiters shown     <-- they came --+
 *   fill_run_failed: asked again singly, or poison                <-- they failed '
 *
 * Owns the runs (each holds a ref of its object) and the cache charge: pages valid or filling,
 * times their size, are charged to the object's uid. Called by fault_flow.c, by the map and pread
 * flows, and when answers come. Deliberately not here: what a fault is, and what the client's
 * kernel is told (fault_flow.c, fault_show.c).
 *
 * Shows come last in each function here: they can lead back (a page that the memfd lacks is asked
 * for again), so no run or position in a tree is held across one.
 */
#include "server/flow/fill_flow.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/own.h"
#include "proto/hooks.h"
#include "server/flow/driver_hooks.h"
#include "server/flow/evict_flow.h"
#include "server/flow/fill.h"
#include "server/flow/flow_log.h"
#include "server/flow/loss_flow.h"
#include "server/flow/settle.h"
#include "server/flow/writeback.h"

/* ---- charges ---- */

static void cache_drop(struct object *object, uint64_t n_pages)
{
    charge_drop(&object->engine->quotas, object->uid, QUOTA_CACHE, n_pages << object->page_shift);
    evict_flow_room(object->engine);
}

static struct range bytes_of(const struct object *object, struct range pages)
{
    return (struct range){pages.start << object->page_shift, pages.end << object->page_shift};
}

/* ---- runs ---- */

static void run_free(struct run *run)
{
    struct object *object = run->owner;

    free(run);
    object_unref(object);
}

/* Claimed pages that nobody will bring: absent again. */
static void give_back(struct object *object, struct range pages)
{
    cache_drop(object,
               page_table_move_range(&object->pages, pages, PAGE_BIT(PAGE_FILLING), PAGE_ABSENT));
    evict_flow_gone(object, pages);
}

/* Takes pages out of a run. Without memory for a second part all of the run from there on is given
 * up; a wait for that is started again by reask().
 * Return: what was taken out. */
static struct range cut(struct object *object, struct run *run, struct range pages)
{
    struct run *spare = NULL;

    if (run_cut_needs_spare(run, pages)) {
        spare = malloc(sizeof(*spare));
        if (spare)
            object_ref(object);
        else
            pages.end = run->pages.end;
    }
    if (run_table_cut(&object->runs, run, pages, spare))
        run_free(run);
    return pages;
}

/* A whole window that the driver will write: one folio for it beforehand. */
static void make_large(struct object *object, struct range pages)
{
    const struct range bytes = bytes_of(object, pages);
    uint8_t *block;

    if (range_len(bytes) != PAGE_BYTES_HUGE || bytes.start % PAGE_BYTES_HUGE != 0)
        return;
    block = backing_block_begin(&object->engine->store, &object->backing, bytes.start);
    if (!block)
        return;
    (void)!store_populate(block); /* without, the driver's write makes small folios */
    backing_block_end(&object->backing, block);
}

static void start(struct object *object, struct run *run)
{
    struct engine_stats *stats = &object->engine->stats;
    struct driver *driver = object->driver;

    run->asked_ns = loop_now_ns();
    run->deadline_ns = run->asked_ns + driver->hook_deadline_ns;
    run_table_insert(&object->runs, run);
    list_add_tail(&driver->runs, &run->owner_link);
    fill_driver_watch(driver);
    stats->run_pages += range_len(run->pages);
    if (run->needed_end <= run->pages.start)
        stats->readahead_pages += range_len(run->pages);
    if (object->source == OBJECT_FILL) {
        stats->runs_fill++;
        make_large(object, run->pages);
        fill_driver_ask(object, run);
        return;
    }
    run->sent = true;
    stats->runs_extents++;
    if (fill_extents_start(object, run) < 0) {
        const struct fill_error why = {ENOMEM, "extents", "the server is out of memory", true};

        fill_run_failed(object, run, run->pages, &why);
    }
}

static int start_new(struct object *object, struct range pages, uint64_t needed_end,
                     const struct run_reader *reader)
{
    struct run *run = malloc(sizeof(*run));

    if (!run || evict_flow_filling(object, pages) < 0) {
        free(run);
        give_back(object, pages);
        return -ENOMEM;
    }
    run_init(run, object_ref(object), engine_id(object->engine), pages);
    if (needed_end > pages.start)
        run->needed_end = needed_end < pages.end ? needed_end : pages.end;
    if (reader)
        run->reader = *reader;
    start(object, run);
    return 0;
}

static void unclaim(struct object *object, struct range pages)
{
    (void)page_table_move_range(&object->pages, pages, PAGE_BIT(PAGE_FILLING), PAGE_ABSENT);
}

/* Charges claimed pages. When not all of them are granted, as many as there is room for, or only
 * those somebody waits for, then nothing. Return: 0 and the pages still claimed (may be none);
 * -errno when pages that somebody waits for were given back. */
static int charge_claimed(struct object *object, uint64_t needed_end, struct range *pages)
{
    const uint64_t n_pages = range_len(*pages);
    uint64_t n = needed_end > pages->start ? needed_end - pages->start : 0;
    uint64_t n_room;
    int r = evict_flow_charge(object, n_pages);

    if (r == 0)
        return 0;
    n_room = quota_room(&object->engine->quotas, object->uid, QUOTA_CACHE) >> object->page_shift;
    n = n > n_room ? n : n_room;
    if (n < n_pages) {
        unclaim(object, (struct range){pages->start + n, pages->end});
        pages->end = pages->start + n;
        r = evict_flow_charge(object, n);
    }
    if (r < 0)
        unclaim(object, *pages);
    return r;
}

static int check_source(const struct object *object)
{
    if (!object_gets_pages(object))
        return -EIO;
    if (object->source == OBJECT_FILL && !(object->driver->file_hooks & FILE_HOOK_FAULT))
        return -ENXIO;
    return 0;
}

int fill_ask_for(struct object *object, struct range pages, uint64_t needed_end,
                 const struct run_reader *reader)
{
    const uint64_t max_pages = STORE_BUFFER_BYTES >> object->page_shift;
    struct evict_guard guard;
    int r = check_source(object);

    pages = range_intersect(pages, (struct range){0, object_n_pages(object)});
    evict_guard_begin(&guard, object, pages);
    while (r == 0 && !range_is_empty(pages)) {
        struct range run;
        const uint64_t first = page_table_find(&object->pages, pages, PAGE_BIT(PAGE_ABSENT));
        const uint64_t block_end = (first / max_pages + 1) * max_pages;
        const struct range window = {first, pages.end < block_end ? pages.end : block_end};

        pages.start = window.end;
        if (!page_table_claim(&object->pages, window, &run))
            continue;
        pages.start = run.end;
        r = charge_claimed(object, needed_end, &run);
        if (r == 0 && !range_is_empty(run))
            r = start_new(object, run, needed_end, reader);
    }
    evict_guard_end(&guard);
    return r;
}

int fill_ask(struct object *object, struct range pages, uint64_t n_needed)
{
    return fill_ask_for(object, pages, pages.start + n_needed, NULL);
}

int fill_retry(struct object *object, uint64_t page)
{
    const struct range pages = {page, page + 1};
    struct evict_guard guard;
    int r = check_source(object);

    if (r < 0)
        return r;
    if (page_table_get(&object->pages, page) != PAGE_POISONED)
        return fill_ask(object, pages, 1);
    r = evict_flow_charge(object, 1);
    if (r < 0)
        return r;
    MUST(page_table_move(&object->pages, page, PAGE_POISONED, PAGE_FILLING));
    evict_guard_begin(&guard, object, pages);
    r = start_new(object, pages, page + 1, NULL);
    evict_guard_end(&guard);
    return r;
}

/* ---- failing ---- */

/* Which of the two limits leaves no room for a page. */
static void say_limit(const struct object *object, char *buf, size_t size)
{
    const struct quota_table *quotas = &object->engine->quotas;
    const uint64_t used = quota_used(quotas, object->uid, QUOTA_CACHE);
    const uint64_t limit = quotas->limit[QUOTA_CACHE];

    if (used >= limit || limit - used < object_page_bytes(object)) {
        (void)snprintf(buf, size, "the page cache of uid %u is at its limit, %s = %" PRIu64,
                       (unsigned)object->uid, quota_key(QUOTA_CACHE), limit);
    } else {
        (void)snprintf(buf, size, "the page caches of all users are at their limit, %s = %" PRIu64,
                       QUOTA_KEY_MEMORY, quotas->limit_memory_bytes);
    }
}

struct fill_error fill_error_of(const struct object *object, int result, char *buf, size_t size)
{
    struct fill_error why = {.error = -result, .hook = "fault", .text = buf, .is_final = true};

    switch (result) {
    case -EDQUOT:
        why.error = ENOMEM;
        why.hook = "limit";
        say_limit(object, buf, size);
        break;
    case -EIO:
        why.hook = "driver";
        why.error = -driver_gone_error(object->driver, &why.text);
        break;
    case -ERANGE:
        why.error = ENXIO;
        (void)snprintf(buf, size, "beyond the end of the object");
        break;
    case -ENXIO:
        (void)snprintf(buf, size, "driver %s supplies no pages of this object",
                       object->driver->name);
        break;
    default:
        (void)snprintf(buf, size, "the server is out of memory");
        break;
    }
    return why;
}

/* Remembers and logs why a page failed under somebody. A driver may fail a million of them: each
 * power of two is logged. */
static void note_failure(struct object *object, uint64_t page, const struct fill_error *why,
                         const struct space *space)
{
    const struct flow_where where = {space, object->driver, object->name, why->hook};
    char text[POISON_TEXT_BYTES + 80];

    poison_add(&object->poison, (struct range){page, page + 1}, why->error, why->hook, why->text);
    driver_note_error(object->driver, why->hook, -why->error, why->text);
    object->n_failures++;
    object->driver->n.faults_failed++;
    if ((object->n_failures & (object->n_failures - 1)) != 0)
        return;
    (void)snprintf(
        text, sizeof(text), "page %" PRIu64 ": %.*s (failure %" PRIu64 " of this object)", page,
        (int)POISON_TEXT_BYTES, why->text ? why->text : "no reason was given", object->n_failures);
    flow_error("fault.failed", &where, -why->error, text);
}

/* The first client that waits in @batch. */
static const struct space *first_client(struct list *batch)
{
    struct list *pos;

    list_for_each(pos, batch) {
        const struct page_waiter *waiter = CONTAINER_OF(pos, struct page_waiter, batch);

        if (waiter->kind == WAITER_FAULT)
            return waiter->space;
    }
    return NULL;
}

void fill_poison_for(struct object *object, uint64_t page, const struct fill_error *why,
                     const struct space *space)
{
    const struct range pages = {page, page + 1};
    struct list batch = LIST_INIT(batch);

    object_ref(object);
    (void)page_table_move(&object->pages, page, PAGE_ABSENT, PAGE_FILLING);
    (void)page_table_move(&object->pages, page, PAGE_FILLING, PAGE_POISONED);
    run_table_take_waiters(&object->runs, pages, &batch);
    note_failure(object, page, why, space ? space : first_client(&batch));
    fault_poison_waiters(object, &batch, -why->error);
    object_unref(object);
}

void fill_poison(struct object *object, uint64_t page, const struct fill_error *why)
{
    fill_poison_for(object, page, why, NULL);
}

void fill_mark_poison(struct object *object, struct range pages, const struct fill_error *why)
{
    poison_add(&object->poison, pages, why->error, why->hook, why->text);
    for (uint64_t page = pages.start; page < pages.end; page++) {
        if (page_table_move(&object->pages, page, PAGE_ABSENT, PAGE_FILLING))
            MUST(page_table_move(&object->pages, page, PAGE_FILLING, PAGE_POISONED));
    }
}

/* Waited-for pages that nobody brings any more: asked for one by one, else they are poison. */
static void reask(struct object *object, struct range pages)
{
    char text[POISON_TEXT_BYTES];

    while ((pages.start = run_table_waited(&object->runs, pages)) < pages.end) {
        const uint64_t page = pages.start++;
        int r = page < object_n_pages(object) ? fill_ask(object, (struct range){page, page + 1}, 1)
                                              : -ERANGE; /* it was cut off meanwhile */

        if (r < 0) {
            const struct fill_error why = fill_error_of(object, r, text, sizeof(text));

            fill_poison(object, page, &why);
        }
    }
}

static void poison_waited(struct object *object, struct range pages, const struct fill_error *why)
{
    while ((pages.start = run_table_waited(&object->runs, pages)) < pages.end)
        fill_poison(object, pages.start++, why);
}

void fill_run_failed(struct object *object, struct run *run, struct range pages,
                     const struct fill_error *why)
{
    const bool is_stale = run->stale;

    object_ref(object);
    pages = cut(object, run, pages);
    give_back(object, pages);
    /* ECANCELED: readahead the driver left out; asked for again where somebody waits by now */
    if (!is_stale && why->error != ECANCELED && (why->is_final || range_len(pages) == 1))
        poison_waited(object, pages, why);
    else
        reask(object, pages);
    object_unref(object);
}

/* ---- bytes came ---- */

/* Pages of a revoked run: what came may be from before the revoke. */
static void drop_stale(struct object *object, struct run *run, struct range pages)
{
    pages = cut(object, run, pages);
    backing_punch(&object->backing, bytes_of(object, pages));
    give_back(object, pages);
    reask(object, pages);
}

static void count_came(struct object *object, uint64_t n_pages)
{
    object->n_filled_pages += n_pages;
    object->engine->stats.bytes_filled += n_pages << object->page_shift;
    if (object->source == OBJECT_FILL)
        object->driver->n.pages_supplied += n_pages;
}

static void finish_part(struct object *object, struct run *run, struct range pages)
{
    const struct run_reader reader = run->reader;
    const bool was_poison = range_len(pages) == 1 && object->poison.n_records > 0 &&
                            poison_find(&object->poison, pages.start);
    struct range taken;
    struct list batch = LIST_INIT(batch);

    taken = cut(object, run, pages); /* the run may be gone now */
    if (taken.end > pages.end) {
        give_back(object, (struct range){pages.end, taken.end});
        reask(object, (struct range){pages.end, taken.end});
    }
    count_came(object,
               page_table_move_range(&object->pages, pages, PAGE_BIT(PAGE_FILLING), PAGE_CLEAN));
    run_table_take_waiters(&object->runs, pages, &batch);
    poison_drop(&object->poison, pages);
    if (was_poison) /* before anybody goes on who may look at another mapping of it next */
        fault_show_healed(object, pages.start);
    fault_show_part(object, pages, &batch, &reader);
    evict_flow_room(object->engine);
}

/* Pages that nobody asked for have no claim on others' room; the driver's bytes go again. Return:
 * whether they are charged, and known for eviction. */
static bool welcome_unasked(struct object *object, struct range pages)
{
    const uint64_t n_bytes = range_len(pages) << object->page_shift;

    if (object_gets_pages(object) &&
        quota_room(&object->engine->quotas, object->uid, QUOTA_CACHE) >= n_bytes &&
        evict_flow_charge(object, range_len(pages)) == 0) {
        if (evict_flow_filling(object, pages) == 0)
            return true;
        evict_flow_gone(object, pages);
        cache_drop(object, range_len(pages));
    }
    backing_punch(&object->backing, bytes_of(object, pages));
    return false;
}

/* Pages that no run is for: the driver supplied more than it was asked for, or too late. */
static void take_unasked(struct object *object, struct range pages, uint64_t id)
{
    const bool is_late = id < object->answers_from;

    while (!range_is_empty(pages)) {
        const struct range run = page_table_find_run(
            &object->pages, pages, PAGE_BIT(PAGE_ABSENT) | PAGE_BIT(PAGE_POISONED));
        const uint64_t n_pages = range_len(run);

        pages.start = run.end;
        if (n_pages == 0)
            continue;
        if (is_late)
            backing_punch(&object->backing, bytes_of(object, run));
        if (is_late || !welcome_unasked(object, run))
            continue;
        (void)page_table_move_range(&object->pages, run, PAGE_BIT(PAGE_ABSENT), PAGE_CLEAN);
        count_came(object, n_pages);
        poison_drop(&object->poison, run);
        for (uint64_t page = page_table_find(&object->pages, run, PAGE_BIT(PAGE_POISONED));
             page < run.end;
             page = page_table_find(&object->pages, (struct range){page + 1, run.end},
                                    PAGE_BIT(PAGE_POISONED))) {
            (void)page_table_move(&object->pages, page, PAGE_POISONED, PAGE_CLEAN);
            fault_show_healed(object, page);
        }
    }
}

/* One stretch from @pages.start on that is in one run, or in none. Return: the next one's start. */
static uint64_t supply_next(struct object *object, struct range pages, uint64_t id, bool and_other)
{
    struct run *run = run_table_find_next(&object->runs, pages.start);

    if (!run || run->pages.start > pages.start) {
        if (run && run->pages.start < pages.end)
            pages.end = run->pages.start;
        if (and_other)
            take_unasked(object, pages, id);
        return pages.end;
    }
    if (run->pages.end < pages.end)
        pages.end = run->pages.end;
    if (run->stale && run->id == id)
        drop_stale(object, run, pages);
    else if (!run->stale && (run->id == id || (and_other && id >= object->answers_from)))
        finish_part(object, run, pages);
    return pages.end;
}

void fill_supplied(struct object *object, struct range pages, uint64_t id, bool and_other)
{
    const bool was_complete = object->pages.n_valid == object_n_pages(object);

    object_ref(object);
    while (!range_is_empty(pages))
        pages.start = supply_next(object, pages, id, and_other);
    if (!was_complete && object->pages.n_valid == object_n_pages(object))
        fault_show_complete(object);
    object_unref(object);
}

/* ---- pages go ---- */

void fill_forget_valid(struct object *object, uint64_t page)
{
    const struct range pages = {page, page + 1};

    evict_pins_taken(object, pages);
    (void)fault_show_track(object, pages);
    cache_drop(object,
               page_table_move_range(&object->pages, pages, PAGE_BITS_VALID, PAGE_EVICTING));
    (void)page_table_move(&object->pages, page, PAGE_EVICTING, PAGE_ABSENT);
    writeback_dropped(object);
    evict_flow_gone(object, pages);
}

void fill_runs_stale(struct object *object)
{
    for (struct run *run = run_table_find_next(&object->runs, 0); run; run = run_next(run))
        run->stale = true;
}

static void forget(struct object *object, struct range pages)
{
    const uint64_t n_valid =
        page_table_move_range(&object->pages, pages, PAGE_BITS_VALID, PAGE_EVICTING);

    backing_punch(&object->backing, bytes_of(object, pages));
    (void)page_table_move_range(&object->pages, pages,
                                PAGE_BIT(PAGE_EVICTING) | PAGE_BIT(PAGE_POISONED), PAGE_ABSENT);
    cache_drop(object, n_valid);
    evict_flow_gone(object, pages);
    poison_drop(&object->poison, pages);
    poison_drop(&object->vanished, pages);
    object->engine->stats.pages_invalidated += n_valid;
}

static void drop(struct object *object, struct range pages, unsigned bits)
{
    pages = range_intersect(pages, page_table_range(&object->pages));
    if (range_is_empty(pages))
        return;
    evict_pins_taken(object, pages);
    (void)fault_show_track(object, pages);
    for (struct run *run = run_table_find_next(&object->runs, pages.start);
         run && run->pages.start < pages.end; run = run_next(run))
        run->stale = true;
    object->answers_from = object->engine->next_id + 1;
    while (!range_is_empty(pages)) {
        const struct range run = page_table_find_run(&object->pages, pages, bits);

        if (!range_is_empty(run))
            forget(object, run);
        pages.start = run.end;
    }
    writeback_dropped(object);
}

#define NOT_FILLING (PAGE_BITS_ALL & ~PAGE_BIT(PAGE_FILLING))

/* What a client wrote and the driver has not been given yet is not the driver's to take back. */
void fill_invalidate(struct object *object, struct range pages)
{
    const unsigned written = PAGE_BIT(PAGE_DIRTY) | PAGE_BIT(PAGE_WRITEBACK);

    settle_check(object, pages);
    drop(object, pages, NOT_FILLING & ~(object_takes_pages_back(object) ? written : 0u));
}

void fill_discard(struct object *object, struct range pages)
{
    drop(object, pages, NOT_FILLING);
}

/* Return: 0 or -errno. */
static int write_zeros(struct object *object, struct range bytes)
{
    static const uint8_t zeros[PAGE_BYTES_SMALL];
    int r = 0;

    while (r == 0 && bytes.start < bytes.end) {
        const uint64_t left = bytes.end - bytes.start;
        const uint64_t n = left < sizeof(zeros) ? left : sizeof(zeros);

        r = backing_write(&object->backing, bytes.start, zeros, n);
        bytes.start += n;
    }
    return r;
}

static void zero_part(struct object *object, uint64_t page, struct range bytes)
{
    for (struct run *run = run_table_find_next(&object->runs, page);
         run && run->pages.start <= page; run = run_next(run))
        run->stale = true;
    if (!page_state_is_valid(page_table_get(&object->pages, page)))
        return;
    if (write_zeros(object, bytes) < 0)
        fill_discard(object,
                     (struct range){page, page + 1}); /* no memory for a page that is there: the
                                                                driver has the zeros */
}

void fill_zero_bytes(struct object *object, struct range bytes)
{
    const uint64_t page_bytes = object_page_bytes(object);

    while (bytes.start < bytes.end) {
        const uint64_t page = bytes.start >> object->page_shift;
        const uint64_t page_end = (page + 1) * page_bytes;
        const uint64_t end = bytes.end < page_end ? bytes.end : page_end;

        if (page >= object->pages.n_pages)
            return;
        zero_part(object, page, (struct range){bytes.start, end});
        bytes.start = end;
    }
}

/* ---- the object's part ---- */

int fill_object_init(struct object *object)
{
    const uint64_t n_pages = object_n_pages(object);
    _Atomic uint8_t *states;
    int r;

    run_table_init(&object->runs);
    poison_init(&object->poison);
    poison_init(&object->vanished);
    r = store_states_new(&object->engine->store, n_pages, &states);
    if (r < 0)
        return r;
    page_table_init(&object->pages, states, n_pages);
    return evict_flow_object_init(object);
}

void fill_object_done(struct object *object)
{
    MUST(run_table_is_idle(&object->runs) && object->pages.n_filling == 0);
    cache_drop(object, object->pages.n_valid);
    evict_flow_object_done(object);
    store_states_free(&object->engine->store, object->pages.states, object->pages.n_pages);
    object->pages = (struct page_table){0};
    poison_done(&object->poison);
    poison_done(&object->vanished);
}
