/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The event loop: deadlines in a tree behind one libuv timer, turn hooks behind one prepare handle,
 * and fd watchers over uv_poll. Owns only the loop's own two handles. Called by everything that
 * does I/O in the server. Deliberately knows nothing of sessions, faults or rings.
 *
 * A turn: libuv runs the timer, then the hooks (uv_prepare), blocks, and runs what became ready.
 */
#include "server/loop/loop.h"

#include <time.h>

#define NS_PER_MS 1000000u
#define NS_PER_S  1000000000u

/* Chosen: hooks may give each other work this often before the loop looks at fds again. */
#define HOOK_PASSES_MAX 4u

/* uv_run() calls in which closing handles end; one is enough for those closed before it. */
#define CLOSE_ROUNDS_MAX 8u

uint64_t loop_now_ns(void)
{
    struct timespec now;

    MUST(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static struct deadline *deadline_of(struct rb_node *node)
{
    return CONTAINER_OF(node, struct deadline, node);
}

static bool deadline_before(const struct deadline *a, const struct deadline *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a < b;
}

static void on_timer(uv_timer_t *timer);

/* libuv's clock is this one in whole ms, rounded down: rounding deadlines up, none is early. */
static void arm(struct loop *loop, uint64_t at_ns, uint64_t least_ms)
{
    uint64_t at_ms = at_ns / NS_PER_MS + (at_ns % NS_PER_MS != 0);
    uint64_t now_ms = uv_now(&loop->uv);
    uint64_t wait_ms = at_ms > now_ms ? at_ms - now_ms : 0;

    if (uv_is_closing((uv_handle_t *)&loop->timer)) /* in loop_done() */
        return;
    loop->armed_ns = at_ns;
    MUST(uv_timer_start(&loop->timer, on_timer, wait_ms > least_ms ? wait_ms : least_ms, 0) == 0);
}

static void on_timer(uv_timer_t *timer)
{
    struct loop *loop = CONTAINER_OF(timer, struct loop, timer);
    struct rb_node *node;

    loop->armed_ns = 0; /* armed once, below */
    loop->fired_ns = loop_now_ns();
    while ((node = rb_first(&loop->deadlines)) && deadline_of(node)->at_ns <= loop->fired_ns) {
        deadline_clear(loop, deadline_of(node));
        deadline_of(node)->fn(deadline_of(node));
    }
    loop->armed_ns = UINT64_MAX;
    if (node) /* not in this same round of timers, or fds would starve */
        arm(loop, deadline_of(node)->at_ns, 1);
}

void deadline_set(struct loop *loop, struct deadline *deadline, uint64_t at_ns)
{
    struct rb_node **link = &loop->deadlines.node;
    struct rb_node *parent = NULL;

    MUST(deadline->fn);
    deadline_clear(loop, deadline);
    /* One that sets itself again, for a time that has passed, must not be called for ever. */
    deadline->at_ns = at_ns > loop->fired_ns ? at_ns : loop->fired_ns + 1;
    while (*link) {
        parent = *link;
        link = deadline_before(deadline, deadline_of(parent)) ? &parent->left : &parent->right;
    }
    rb_insert(&loop->deadlines, parent, link, &deadline->node);
    deadline->is_set = true;
    if (deadline->at_ns < loop->armed_ns)
        arm(loop, deadline->at_ns, 0);
}

void deadline_clear(struct loop *loop, struct deadline *deadline)
{
    if (!deadline->is_set)
        return;
    rb_erase(&loop->deadlines,
             &deadline->node); /* the timer may find nothing due: cheaper than to set it again */
    deadline->is_set = false;
}

/* A cursor node keeps the place, so that a hook may remove and add any hook. */
static void hooks_run(struct loop *loop)
{
    struct list cursor;
    struct list *pos = loop->turn_hooks.next;

    list_init(&cursor);
    while (pos != &loop->turn_hooks) {
        struct turn_hook *hook = LIST_ENTRY(pos, struct turn_hook, node);

        list_add(pos, &cursor);
        hook->fn(hook);
        pos = cursor.next;
        list_del(&cursor);
    }
}

static void on_turn(uv_prepare_t *turn)
{
    struct loop *loop = CONTAINER_OF(turn, struct loop, turn);
    unsigned pass = 0;

    do {
        loop->again = false;
        hooks_run(loop);
    } while (loop->again && ++pass < HOOK_PASSES_MAX);
    if (loop->again || (loop->awake_ns != 0 && loop_now_ns() < loop->awake_ns))
        arm(loop, 0, 0); /* do not block; the timer finds what is really due */
}

void loop_again(struct loop *loop)
{
    loop->again = true;
}

void loop_stay_awake(struct loop *loop, uint64_t until_ns)
{
    loop->awake_ns = until_ns;
}

void turn_hook_add(struct loop *loop, struct turn_hook *hook)
{
    MUST(hook->fn);
    list_add_tail(&loop->turn_hooks, &hook->node);
}

void turn_hook_remove(struct turn_hook *hook)
{
    list_del(&hook->node);
}

int loop_init(struct loop *loop)
{
    int r;

    *loop = (struct loop){.armed_ns = UINT64_MAX};
    rb_init(&loop->deadlines, NULL);
    list_init(&loop->turn_hooks);
    r = uv_loop_init(&loop->uv);
    if (r < 0)
        return r;
    /* These three only fill in memory. */
    MUST(uv_prepare_init(&loop->uv, &loop->turn) == 0);
    MUST(uv_timer_init(&loop->uv, &loop->timer) == 0);
    MUST(uv_prepare_start(&loop->turn, on_turn) == 0);
    return 0;
}

void loop_done(struct loop *loop)
{
    unsigned round;

    uv_close((uv_handle_t *)&loop->turn, NULL);
    uv_close((uv_handle_t *)&loop->timer, NULL);
    for (round = 0; round < CLOSE_ROUNDS_MAX && uv_run(&loop->uv, UV_RUN_NOWAIT) != 0; round++)
        continue;
    MUST(loop->n_open == 0);
    MUST(uv_loop_close(&loop->uv) == 0);
}

void loop_run(struct loop *loop)
{
    (void)uv_run(&loop->uv,
                 UV_RUN_DEFAULT); /* says whether handles are left: the prepare handle always is */
}

void loop_stop(struct loop *loop)
{
    uv_stop(&loop->uv);
}

static void poll_start(struct watcher *watcher);

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct watcher *watcher = CONTAINER_OF(poll, struct watcher, poll);

    if (status < 0) {
        /* libuv has stopped the handle. Start again: a reader that survives is not left deaf. */
        poll_start(watcher);
        watcher->ready(watcher, true, false);
        return;
    }
    watcher->ready(watcher, (events & UV_READABLE) != 0, (events & UV_WRITABLE) != 0);
}

static void poll_start(struct watcher *watcher)
{
    MUST(uv_poll_start(&watcher->poll, watcher->events, on_poll) ==
         0); /* fails for closing handles only */
}

int watcher_open(struct loop *loop, struct watcher *watcher, int fd)
{
    int r = uv_poll_init(&loop->uv, &watcher->poll, fd);

    if (r < 0)
        return r;
    watcher->loop = loop;
    watcher->events = UV_READABLE;
    loop->n_open++;
    poll_start(watcher);
    return 0;
}

void watcher_want(struct watcher *watcher, bool readable, bool writable)
{
    int events = (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0);

    if (events == watcher->events)
        return;
    watcher->events = events;
    poll_start(watcher); /* with no events: stops */
}

static void on_watcher_closed(uv_handle_t *handle)
{
    struct watcher *watcher = CONTAINER_OF((uv_poll_t *)handle, struct watcher, poll);

    watcher->loop->n_open--;
    if (watcher->closed)
        watcher->closed(watcher);
}

void watcher_close(struct watcher *watcher)
{
    uv_close((uv_handle_t *)&watcher->poll, on_watcher_closed);
}
