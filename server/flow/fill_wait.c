/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Waiting in the server until pages are valid: populate, prefault, pread. Walks the range: at the
 * first page that is not valid two windows are asked for and that page is waited for; when it came,
 * on from there.
 *
 * A struct fill_wait is the caller's, linked in the object's waiters while it is pending. Called by
 * the map and open flows. Deliberately shows nothing to anybody.
 */
#include <errno.h>

#include "common/base/own.h"
#include "server/flow/evict_flow.h"
#include "server/flow/fill.h"
#include "server/flow/fill_flow.h"

#define WINDOWS_AHEAD  2u
/* chosen: windows that come without waiting (zeros) before others have their turn */
#define STEPS_PER_TURN 4u
/* chosen: how soon who waits for room looks again: some clusters are written back in that time */
#define ROOM_NS        2000000ull

static struct range window_at(const struct fill_wait *wait, uint64_t page)
{
    const uint64_t n_pages = WINDOWS_AHEAD * evict_flow_window(wait->object, STORE_BUFFER_BYTES);
    const uint64_t room = wait->pages.end - page;

    return (struct range){page, page + (room < n_pages ? room : n_pages)};
}

/* Makes the first page that is not valid come.
 * Return: 1 there is none; 0 look again: it came, or it is FILLING; -errno. */
static int ask_next(struct fill_wait *wait)
{
    struct object *object = wait->object;
    const struct range rest = {wait->next_page, wait->pages.end};
    struct range window;
    int r;

    wait->next_page =
        page_table_find(&object->pages, rest, PAGE_BITS_ALL & ~(unsigned)PAGE_BITS_VALID);
    if (wait->next_page >= wait->pages.end)
        return 1;
    if (page_table_get(&object->pages, wait->next_page) == PAGE_POISONED)
        return fill_retry(object, wait->next_page);
    window = window_at(wait, wait->next_page);
    r = fill_ask(object, window, range_len(window));
    if (r == -EDQUOT) /* not all of it, then: the page, and of the rest what there is room for */
        r = fill_ask(object, window, 1);
    if (r < 0 && page_table_get(&object->pages, wait->next_page) != PAGE_ABSENT)
        r = 0; /* only what lies behind it could not be asked for */
    return r;
}

/* What the caller will find when it looks for the reason. */
static int remember(const struct fill_wait *wait, int error)
{
    const struct range page = {wait->next_page, wait->next_page + 1};
    char text[POISON_TEXT_BYTES];
    const struct fill_error why = fill_error_of(wait->object, error, text, sizeof(text));

    poison_add(&wait->object->poison, page, why.error, why.hook, why.text);
    return error;
}

static void on_again(struct deadline *deadline);

static void go_on_at(struct fill_wait *wait, uint64_t at_ns)
{
    wait->again.fn = on_again;
    deadline_set(&wait->object->engine->loop, &wait->again, at_ns);
}

static void go_on_later(struct fill_wait *wait)
{
    go_on_at(wait, loop_now_ns());
}

/* Return: 1 all valid; 0 waiting; -errno: next_page cannot be had. */
static int step(struct fill_wait *wait)
{
    struct object *object = wait->object;

    for (unsigned n_steps = 0; n_steps < STEPS_PER_TURN; n_steps++) {
        int r = ask_next(wait);

        wait->needs_room = r == -EDQUOT && evict_flow_wait(object->engine);
        if (wait->needs_room) {
            go_on_at(wait, loop_now_ns() + ROOM_NS);
            return 0;
        }
        if (r != 0)
            return r < 0 ? remember(wait, r) : r;
        switch (page_table_get(&object->pages, wait->next_page)) {
        case PAGE_CLEAN:
        case PAGE_DIRTY:
        case PAGE_WRITEBACK:
        case PAGE_SETTLING:
            continue;
        case PAGE_FILLING:
            wait->waiter.page = wait->next_page;
            return run_table_join(&object->runs, &wait->waiter); /* a call joins nobody */
        case PAGE_ABSENT:
        case PAGE_EVICTING:
        case PAGE_POISONED:
        case PAGE_STATE_N:
            return -EIO; /* failed within the call; the reason is in the poison record */
        }
    }
    go_on_later(wait);
    return 0;
}

static void finish(struct fill_wait *wait, int error)
{
    struct object *object = wait->object;

    list_del(&wait->node);
    wait->pending = false;
    wait->object = NULL;
    wait->done(wait, error, wait->next_page); /* may free the wait */
    object_unref(object);
}

static void go_on(struct fill_wait *wait)
{
    int r = step(wait);

    if (r != 0)
        finish(wait, r > 0 ? 0 : r);
}

static void on_again(struct deadline *deadline)
{
    struct fill_wait *wait = CONTAINER_OF(deadline, struct fill_wait, again);

    if (wait->error < 0)
        finish(wait, wait->error);
    else
        go_on(wait);
}

/* Whoever waits may do anything when told, even end mappings: so it is told in the next turn. */
static void on_page(struct page_waiter *waiter, int error)
{
    struct fill_wait *wait = CONTAINER_OF(waiter, struct fill_wait, waiter);

    wait->error = error;
    go_on_later(wait);
}

int fill_wait_start(struct object *object, struct range pages, struct fill_wait *wait)
{
    int r;

    MUST(range_contains_range(page_table_range(&object->pages), pages));
    waiter_init(&wait->waiter, WAITER_CALL);
    wait->waiter.done = on_page;
    wait->again = (struct deadline){0};
    wait->object = object_ref(object);
    wait->pages = pages;
    wait->next_page = pages.start;
    wait->error = 0;
    wait->pending = true;
    wait->since_ns = wait->waiter.since_ns = loop_now_ns();
    list_init(&wait->node);
    list_add_tail(&object->engine->fill_waits, &wait->node);
    r = step(wait);
    if (r != 0) {
        list_del(&wait->node);
        wait->pending = false;
        wait->object = NULL;
        object_unref(object);
    }
    return r;
}

void fill_wait_cancel(struct fill_wait *wait)
{
    struct object *object = wait->object;

    if (!wait->pending)
        return;
    run_table_leave(&wait->waiter);
    list_del(&wait->waiter.batch); /* it may be about to be told */
    deadline_clear(&object->engine->loop, &wait->again);
    list_del(&wait->node);
    wait->pending = false;
    wait->object = NULL;
    object_unref(object);
}
