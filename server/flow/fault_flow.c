/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The second walk, told top to bottom: a client's thread touched a page and sleeps in its kernel.
 *
 *   on_faults: messages of one read, up to 64
 *     1  for each: VMA, page, state -> fault_decide()
 *        -> show at once | join those who wait | park | poison | remember to ask
 *     2  when everybody who could be served is running again: ask for what is missing, and join
 *     3  submit, so that bytes of cached files are there before the turn ends; then ask ahead
 *   ... bytes come: fill_supplied() -> fault_show_part() -> the threads go on
 *
 * System calls of ours for one fault (the loop's epoll_wait and the read of the uffd are shared by
 * all messages of a turn):
 *
 *   hit            epoll_wait + read + UFFDIO_CONTINUE of all that is valid around it           3
 *   extents, miss  the same + preadv2 + pwrite, when the bytes are in memory; what is read      5
 *                  ahead adds these two and a CONTINUE for each 256 KiB
 *   fill, miss     the same as a hit + eventfd write; later epoll_wait + eventfd read           6
 *   repeated       epoll_wait + read; a thread with a busy signal repeats thousands of times    2
 *                  a second
 *
 * Owns parked faults and waiters (malloc'ed, each charged to its space's uid as a request). Called
 * by the uffd port and by the map flows. Deliberately without any judgement about pages:
 * fault_decide(), readahead_touch() and the page table have it.
 */
#include "server/flow/fault_flow.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/own.h"
#include "server/fault/fault.h"
#include "server/flow/evict_flow.h"
#include "server/flow/fill.h"
#include "server/flow/fill_flow.h"
#include "server/flow/remap_flow.h"
#include "server/flow/touch_log.h"
#include "server/flow/write_flow.h"

/* Chosen: what is asked for apart from the rest of a window, so that its reader goes on after a
 * tenth of the time; more shows with one call are no cheaper (costs table: 256 KiB a call). */
#define FIRST_PIECE_PAGES 64u

struct touch {
    struct space *space;
    struct vma *vma;       /* borrowed from the space's tree */
    struct object *object; /* borrowed from the VMA */
    uint64_t addr;         /* aligned to the object's page */
    uint64_t page;
    bool write;
    bool is_protected; /* the write is to a page that is mapped read-only */
    bool is_wanted;    /* absent: ask and join; else only what lies ahead is asked for */
    bool is_retry;
    struct readahead_plan plan;
};

/* What is to be asked for once all messages of a read were looked at. */
struct asks {
    struct touch list[UFFD_PORT_EVENTS_PER_READ];
    unsigned n;
};

/* ---- waiting ---- */

void fault_waiter_free(struct page_waiter *waiter)
{
    struct space *space = waiter->space;

    charge_drop(&space->engine->quotas, space->uid, QUOTA_REQUESTS, 1);
    list_del(&waiter->space_link);
    free(waiter);
}

/* Return: 0; RUN_E_JOINED it waits already; -ENOMEM, also over the uid's limit. */
static int wait_in(struct run_table *table, const struct touch *touch, uint64_t page)
{
    struct space *space = touch->space;
    struct page_waiter *waiter;

    if (run_table_has_fault(table, page, space, touch->addr))
        return RUN_E_JOINED;
    if (charge_take(&space->engine->quotas, space->uid, QUOTA_REQUESTS, 1) != 0)
        return -ENOMEM;
    waiter = malloc(sizeof(*waiter));
    if (!waiter) {
        charge_drop(&space->engine->quotas, space->uid, QUOTA_REQUESTS, 1);
        return -ENOMEM;
    }
    waiter_init(waiter, WAITER_FAULT);
    waiter->page = page;
    waiter->space = space;
    waiter->vma_id = touch->vma ? touch->vma->id : 0;
    waiter->addr = touch->addr;
    waiter->write = touch->write;
    waiter->since_ns = loop_now_ns();
    list_add_tail(&space->waiters, &waiter->space_link);
    MUST(run_table_join(table, waiter) == 0);
    return 0;
}

static void poison_touch(const struct touch *touch)
{
    const uint64_t page_bytes = object_page_bytes(touch->object);

    touch->space->stats.poisoned++;
    touch->space->engine->stats.faults_poisoned++;
    uffd_port_poison(&touch->space->uffd, (struct range){touch->addr, touch->addr + page_bytes},
                     page_bytes);
}

/* Nobody may hang: who cannot be put in line gets SIGBUS, and a reason to read. */
static void join(const struct touch *touch)
{
    struct object *object = touch->object;
    int r = wait_in(&object->runs, touch, touch->page);

    if (r == 0) {
        touch->space->stats.faults_joined++;
        touch->space->engine->stats.faults_joined++;
    } else if (r == RUN_E_JOINED) {
        touch->space->engine->stats.faults_repeated++;
    } else {
        poison_add(&object->poison, (struct range){touch->page, touch->page + 1}, ENOMEM, "limit",
                   "too many faults of this user wait, or the server is out of memory");
        poison_touch(touch);
    }
}

static void park(struct touch *touch)
{
    touch->addr &= ~(VMA_PAGE_BYTES - 1);
    switch (wait_in(&touch->space->parked, touch, touch->addr >> VMA_PAGE_SHIFT)) {
    case 0:
        break;
    case RUN_E_JOINED:
        touch->space->engine->stats.faults_repeated++;
        break;
    default: /* not even a place in line: it comes back, at the price of a busy thread */
        uffd_port_wake(&touch->space->uffd,
                       (struct range){touch->addr, touch->addr + VMA_PAGE_BYTES});
        break;
    }
}

/* ---- showing ---- */

static void show(const struct touch *touch)
{
    const struct page_table *pages = &touch->object->pages;
    const unsigned shift = touch->object->page_shift;
    const struct range run =
        page_table_run_around(pages, touch->page, touch->plan.around, PAGE_BITS_VALID);
    struct range parts[2];
    unsigned n_parts;

    n_parts = range_subtract(run, touch->plan.mapped, parts);
    for (unsigned i = 0; i < n_parts; i++) {
        const struct range addrs = {touch->addr + ((parts[i].start - touch->page) << shift),
                                    touch->addr + ((parts[i].end - touch->page) << shift)};

        if (touch->vma->tracks_writes)
            uffd_port_show_protected(&touch->space->uffd, addrs, 1ull << shift);
        else
            uffd_port_show(&touch->space->uffd, addrs, 1ull << shift);
    }
}

static void show_or_write(const struct touch *touch)
{
    if (touch->write && touch->vma->tracks_writes) {
        const struct write_fault fault = {touch->space, touch->vma,  touch->object,
                                          touch->addr,  touch->page, touch->is_protected};

        write_flow_fault(&fault, touch->plan.around);
    } else {
        show(touch);
    }
}

/* Where nothing is mapped for all we know. The kernel still has a mapping there, or it would not
 * ask: poison it. The size of its pages is unknown; a block of 2 MiB that lies in the quarantined
 * range as a whole is right for both. */
static void poison_outside(struct space *space, const struct vma *vma, uint64_t addr)
{
    const uint64_t start = addr & ~(uint64_t)(PAGE_BYTES_HUGE - 1);
    struct range block = {start, start + PAGE_BYTES_HUGE};
    uint64_t page_bytes = PAGE_BYTES_HUGE;

    if (!vma || !range_contains_range(vma_range(vma), block)) {
        page_bytes = PAGE_BYTES_SMALL;
        block.start = addr & ~(uint64_t)(PAGE_BYTES_SMALL - 1);
        block.end = block.start + PAGE_BYTES_SMALL;
    }
    space->engine->stats.faults_outside++;
    uffd_port_poison(&space->uffd, block, page_bytes);
    uffd_port_wake(&space->uffd, block); /* if it has gone meanwhile: SIGSEGV */
}

/* ---- asking ---- */

static void plan(struct touch *touch, bool is_miss)
{
    const struct object *object = touch->object;
    struct readahead_limits limits =
        readahead_limits_of(touch->vma, object->page_shift, object_n_pages(object));
    uint64_t n_history = 0;

    limits.max_pages = (uint32_t)evict_flow_window(object, READAHEAD_MAX_BYTES);
    if (is_miss && touch->page > limits.pages.start) {
        const uint64_t room = touch->page - limits.pages.start;
        const uint64_t n = room < READAHEAD_AROUND_PAGES ? room : READAHEAD_AROUND_PAGES;
        const struct range before = {touch->page - n, touch->page};

        n_history = range_len(
            page_table_run_around(&object->pages, touch->page - 1, before, PAGE_BITS_VALID));
    }
    readahead_touch(&touch->vma->stream, &limits, touch->page, n_history, &touch->plan);
}

static void ask_later(struct asks *asks, const struct touch *touch, bool is_wanted, bool is_retry)
{
    struct touch *ask = &asks->list[asks->n];

    if (!is_wanted && range_is_empty(touch->plan.ahead))
        return;
    MUST(asks->n < UFFD_PORT_EVENTS_PER_READ);
    *ask = *touch;
    ask->is_wanted = is_wanted;
    ask->is_retry = is_retry;
    asks->n++;
}

/* The part of the window that the reader waits for. */
static struct range first_piece(const struct touch *touch)
{
    struct range now = touch->plan.now;

    if (range_len(now) <= FIRST_PIECE_PAGES)
        return now;
    if (touch->page - now.start >= FIRST_PIECE_PAGES) /* a reader that goes backward */
        return (struct range){touch->page + 1 - FIRST_PIECE_PAGES, touch->page + 1};
    return (struct range){now.start, now.start + FIRST_PIECE_PAGES};
}

/* A page that somebody waits for. What came of it within the call is looked at afresh. */
static void ask_wanted(struct touch *touch)
{
    struct object *object = touch->object;
    char text[POISON_TEXT_BYTES];
    int r;

    r = touch->is_retry ? fill_retry(object, touch->page)
                        : fill_ask_for(object, first_piece(touch), touch->page + 1, NULL);
    if (r == -EDQUOT && !touch->is_retry) /* not the window, then, but the page */
        r = fill_ask(object, (struct range){touch->page, touch->page + 1}, 1);
    switch (page_table_get(&object->pages, touch->page)) {
    case PAGE_FILLING:
        join(touch);
        return;
    case PAGE_CLEAN:
    case PAGE_DIRTY:
    case PAGE_WRITEBACK:
    case PAGE_SETTLING:
        show_or_write(touch);
        return;
    case PAGE_ABSENT:
    case PAGE_POISONED:
        if (r == -EDQUOT && evict_flow_wait(object->engine)) {
            park(touch);
            return;
        }
        if (r < 0) {
            const struct fill_error why = fill_error_of(object, r, text, sizeof(text));

            fill_poison_for(object, touch->page, &why, touch->space);
        }
        poison_touch(touch);
        return;
    case PAGE_EVICTING:
    case PAGE_STATE_N:
        uffd_port_wake(&touch->space->uffd,
                       (struct range){touch->addr, touch->addr + object_page_bytes(object)});
        return;
    }
}

/* Pages that nobody waits for: whatever goes wrong with them is silent, their touch asks again. */
static void ask_ahead(const struct touch *touch)
{
    const struct run_reader reader = {touch->space->id, touch->vma->id, touch->addr};

    if (touch->is_retry)
        return;
    if (touch->is_wanted || !range_is_empty(touch->plan.ahead))
        (void)!fill_ask_for(touch->object, touch->plan.now, touch->plan.now.start, &reader);
    if (range_is_empty(touch->plan.ahead))
        return;
    if (fill_ask_for(touch->object, touch->plan.ahead, touch->plan.ahead.start, &reader) < 0)
        readahead_forget(&touch->vma->stream);
}

static void ask_all(struct engine *engine, struct asks *asks)
{
    bool is_submitting = false;

    for (unsigned i = 0; i < asks->n; i++) {
        if (!asks->list[i].is_wanted)
            continue;
        ask_wanted(&asks->list[i]);
        is_submitting |= asks->list[i].object->source == OBJECT_EXTENTS;
    }
    if (is_submitting)
        ring_submit(&engine->ring);
    for (unsigned i = 0; i < asks->n; i++)
        ask_ahead(&asks->list[i]);
    if (asks->n > 0)
        ring_submit(&engine->ring); /* workers populate while the next faults are looked at */
}

/* ---- one fault ---- */

/* What is known about a fault, beside its address. */
static void look(struct touch *touch, struct fault_query *ret_query)
{
    struct vma *vma = vma_tree_find(&touch->space->aspace.vmas, touch->addr);
    struct fault_query query = {.state = PAGE_ABSENT};
    struct object *object;

    *ret_query = query;
    if (!vma)
        return;
    touch->vma = vma;
    query.has_vma = true;
    query.kind = vma->kind;
    query.write_locked = vma->write_locked;
    query.direct = vma->direct || !vma->object;
    if (vma->kind == VMA_MAPPED && !query.direct) {
        object = vma_object(vma);
        touch->object = object;
        touch->page = vma_page_at(vma, object, touch->addr);
        touch->addr &= ~(object_page_bytes(object) - 1);
        query.beyond_end = touch->page >= object_n_pages(object);
        query.lost = !object_gets_pages(object);
        if (!query.beyond_end)
            query.state = page_table_get(&object->pages, touch->page);
        vma->n_faults++;
        object->n_faults++;
    }
    *ret_query = query;
}

/* Faults that are about a page of an object. */
static void on_page(struct touch *touch, enum fault_action action, struct asks *asks)
{
    MUST(touch->vma && touch->object);
    touch_log_add(touch->space->engine->touches, touch->object->id, touch->page);
    switch (action) {
    case FAULT_SHOW:
        touch->space->engine->stats.faults_hit++;
        evict_flow_touch(touch->object, touch->vma, touch->page);
        plan(touch, false);
        show_or_write(touch);
        ask_later(asks, touch, false, false);
        return;
    case FAULT_JOIN:
        plan(touch, false);
        join(touch);
        ask_later(asks, touch, false, false);
        return;
    case FAULT_ASK:
        touch->space->engine->stats.faults_miss++;
        plan(touch, true);
        ask_later(asks, touch, true, false);
        return;
    case FAULT_RETRY:
        touch->space->engine->stats.faults_miss++;
        touch->plan.now = (struct range){touch->page, touch->page + 1};
        touch->plan.around = touch->plan.now;
        ask_later(asks, touch, true, true);
        return;
    case FAULT_POISON:
    case FAULT_PARK:
    case FAULT_WAKE:
    case FAULT_OUTSIDE:
    case FAULT_ACTION_N:
        poison_touch(touch);
        return;
    }
}

static void on_fault(struct space *space, const struct uffd_fault *fault, struct asks *asks)
{
    const uint64_t addr = fault->addr;
    struct touch touch = {
        .space = space, .addr = addr, .write = fault->write, .is_protected = fault->wp};
    struct fault_query query;
    enum fault_action action;

    look(&touch, &query);
    if (!touch.vma && range_contains(space->moving, addr)) {
        park(&touch);
        return;
    }
    action = fault_decide(&query);
    switch (action) {
    case FAULT_PARK:
        park(&touch);
        if (query.kind == VMA_PENDING)
            remap_growth_seen(space, addr);
        return;
    case FAULT_WAKE:
        touch.addr &= ~(VMA_PAGE_BYTES - 1);
        uffd_port_wake(&space->uffd, (struct range){touch.addr, touch.addr + VMA_PAGE_BYTES});
        return;
    case FAULT_OUTSIDE:
    case FAULT_ACTION_N:
        poison_outside(space, touch.vma, addr);
        return;
    case FAULT_SHOW:
    case FAULT_JOIN:
    case FAULT_ASK:
    case FAULT_RETRY:
    case FAULT_POISON:
        on_page(&touch, action, asks);
        return;
    }
}

static void on_faults(struct uffd_port *port, const struct uffd_fault *faults, unsigned n_faults)
{
    struct space *space = port->owner;
    const uint64_t came_ns = loop_now_ns();
    struct asks asks;

    asks.n = 0;
    space_ref(space);
    space->stats.faults += n_faults;
    space->engine->stats.faults += n_faults;
    for (unsigned i = 0; i < n_faults; i++)
        on_fault(space, &faults[i], &asks);
    ask_all(space->engine, &asks);
    engine_served(space->engine, came_ns);
    space_unref(space);
}

void fault_again(struct space *space, uint64_t addr, bool write)
{
    const struct uffd_fault fault = {.addr = addr, .write = write};
    struct asks asks;

    asks.n = 0;
    if (space->dead || !space->uffd_open)
        return;
    on_fault(space, &fault, &asks);
    ask_all(space->engine, &asks);
}

/* What the table says is valid the memfd does not have: the driver punched it, or said that it
 * wrote it and did not. Once, page by page, that is forgiven.
 * Return: whether the page is poison now. */
static bool lose_page(struct object *object, uint64_t page)
{
    static const struct fill_error why = {
        EREMOTEIO, "fault", "the driver took back a page that it had supplied, twice", true};
    const struct range pages = {page, page + 1};

    if (page >= object->pages.n_pages)
        return false;
    if (page_state_is_valid(page_table_get(&object->pages, page))) {
        fill_forget_valid(object, page);
        if (poison_find(&object->vanished, page))
            fill_poison(object, page, &why);
        else
            poison_add(&object->vanished, pages, why.error, why.hook, NULL);
    }
    return page_table_get(&object->pages, page) == PAGE_POISONED;
}

/* Whether somebody waits for it is not known here: who does is woken and reports it again. */
static void on_page_missing(struct uffd_port *port, uint64_t addr)
{
    struct space *space = port->owner;
    struct vma *vma = vma_tree_find(&space->aspace.vmas, addr);
    struct touch touch = {.space = space, .vma = vma, .addr = addr & ~(VMA_PAGE_BYTES - 1)};
    uint64_t page_bytes = VMA_PAGE_BYTES;

    if (vma && vma->kind == VMA_MAPPED && !vma->direct && vma->object) {
        touch.object = vma_object(vma);
        page_bytes = object_page_bytes(touch.object);
        touch.addr = addr & ~(page_bytes - 1);
        if (lose_page(touch.object, vma_page_at(vma, touch.object, addr))) {
            poison_touch(&touch);
            return;
        }
    }
    uffd_port_wake(&space->uffd, (struct range){touch.addr, touch.addr + page_bytes});
}

/* ---- mappings change ---- */

static void forget_waiters(struct space *space, struct range range)
{
    struct list *pos, *tmp;

    list_for_each_safe(pos, tmp, &space->waiters) {
        struct page_waiter *waiter = CONTAINER_OF(pos, struct page_waiter, space_link);

        if (!range_contains(range, waiter->addr))
            continue;
        run_table_leave(waiter);
        list_del(&waiter->batch);
        fault_waiter_free(waiter);
    }
}

void fault_flow_range_gone(struct space *space, struct range range)
{
    forget_waiters(space, range);
    if (space->uffd_open && !space->dead && !range_is_empty(range))
        uffd_port_wake(&space->uffd, range);
}

static void on_remapped(struct uffd_port *port, uint64_t from, uint64_t to, uint64_t len)
{
    struct range range;

    (void)to; /* the map flow knows where to, or nothing is mapped there for us */
    if (range_from_len(from, len, &range) == 0)
        fault_flow_range_gone(port->owner, range);
}

void fault_flow_vma_ready(struct space *space, struct vma *vma)
{
    fault_flow_range_ready(space, vma_range(vma));
}

void fault_flow_range_ready(struct space *space, struct range range)
{
    const struct range pages = {range.start >> VMA_PAGE_SHIFT, range.end >> VMA_PAGE_SHIFT};
    struct list batch = LIST_INIT(batch);
    struct list *node;

    run_table_take_waiters(&space->parked, pages, &batch);
    space_ref(space);
    while ((node = list_take_first(&batch))) {
        struct page_waiter *waiter = CONTAINER_OF(node, struct page_waiter, batch);
        const uint64_t addr = waiter->addr;
        const bool write = waiter->write;

        fault_waiter_free(waiter);
        fault_again(space, addr, write);
    }
    space_unref(space);
}

struct range fault_flow_hold_range(struct space *space, struct range range, bool hold)
{
    struct range held = range;
    struct vma *vma;

    space->moving = hold ? range : range_make(0, 0);
    vma_for_each_in(vma, &space->aspace.vmas, range.start, range.end) {
        if (vma->kind != VMA_MAPPED)
            continue;
        vma->write_locked = hold;
        held.start = vma->start < held.start ? vma->start : held.start;
        held.end = vma->end > held.end ? vma->end : held.end;
    }
    return held;
}

void fault_flow_space_init(struct space *space)
{
    run_table_init(&space->parked);
    list_init(&space->waiters);
    list_init(&space->accesses);
    list_init(&space->mkwrites);
    list_init(&space->preads);
}

void fault_flow_space_gone(struct space *space)
{
    forget_waiters(space, (struct range){0, UINT64_MAX});
    write_flow_space_gone(space);
    MUST(list_is_empty(&space->waiters) && run_table_is_idle(&space->parked));
}

static void on_closed(struct uffd_port *port)
{
    struct space *space = port->owner;

    space->uffd_open = false;
    space_unref(space); /* the port's */
}

const struct uffd_port_ops fault_flow_uffd_ops = {
    .faults = on_faults,
    .remapped = on_remapped,
    .page_missing = on_page_missing,
    .closed = on_closed,
};
