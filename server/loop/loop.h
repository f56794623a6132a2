/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The engine's event loop: one libuv loop with what the server needs on top of it - fd watchers
 * that close in two phases, deadlines that cost no system call, and a hook that runs once at the
 * end of each turn, where everything that was collected in the turn is submitted in one go. One
 * thread; no locks.
 */
#ifndef MUSE_SERVER_LOOP_LOOP_H
#define MUSE_SERVER_LOOP_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "common/base/list.h"
#include "common/base/must.h"
#include "common/base/rbtree.h"

struct loop {
    uv_loop_t uv;
    uv_prepare_t turn; /* runs the turn hooks just before the loop blocks */
    uv_timer_t timer;  /* fires for the earliest deadline */
    struct rb_root deadlines;
    uint64_t armed_ns; /* what the timer is set to; UINT64_MAX = not armed */
    uint64_t fired_ns; /* the time for which deadlines were called last */
    struct list turn_hooks;
    uint64_t awake_ns; /* before that the loop looks at fds without blocking; 0: it may block */
    bool again;        /* loop_again() was called since the hooks last ran */
    unsigned n_open;   /* watchers whose close callback has not run yet */
};

/* Calls @fn once, at or after @at_ns. Embedded in what waits; zero-initialised = not set. */
struct deadline {
    struct rb_node node;
    uint64_t at_ns;
    bool is_set;
    void (*fn)(struct deadline *deadline);
};

/* Embedded; called once a turn, in the order they were added. */
struct turn_hook {
    struct list node;
    void (*fn)(struct turn_hook *hook);
};

/* Watches one borrowed fd. Embedded in a struct that lives until @closed ran. */
struct watcher {
    uv_poll_t poll;
    struct loop *loop;
    void (*ready)(struct watcher *watcher, bool readable, bool writable);
    void (*closed)(struct watcher *watcher);
    int events;
};

/** loop_init() - Return: 0 or -errno */
MUST_CHECK int loop_init(struct loop *loop);

/**
 * loop_done() - end the loop's own handles and free it
 *
 * Every watcher_close() must have been called (their closed callbacks may run in here), and no
 * deadline is called any more. MUST(uv_loop_close() == 0).
 */
void loop_done(struct loop *loop);

/** loop_run() - run until loop_stop() */
void loop_run(struct loop *loop);

/** loop_stop() - end loop_run() after this turn */
void loop_stop(struct loop *loop);

/** loop_now_ns() - CLOCK_MONOTONIC now, in ns */
uint64_t loop_now_ns(void);

/**
 * deadline_set() - (re)arm; no system call
 * @deadline: caller's memory until it was called or cleared; ->fn set
 * @at_ns:    CLOCK_MONOTONIC; it is never called before, nor before this call has returned; what
 *            is set to a time that has passed comes after everything that is due already;
 *            UINT64_MAX is never
 */
void deadline_set(struct loop *loop, struct deadline *deadline, uint64_t at_ns);

/** deadline_clear() - disarm; a no-op when not set */
void deadline_clear(struct loop *loop, struct deadline *deadline);

/** loop_stay_awake() - look for what comes until then instead of sleeping; 0: sleep again */
void loop_stay_awake(struct loop *loop, uint64_t until_ns);

/**
 * loop_again() - run the turn hooks once more before the loop blocks
 *
 * For hooks whose work may have given others new work.
 */
void loop_again(struct loop *loop);

/**
 * turn_hook_add() - call hook->fn at the end of each turn from now on
 * @hook: in no list; caller's memory until turn_hook_remove(); ->fn set
 *
 * Added by a hook: in this turn, after all others.
 */
void turn_hook_add(struct loop *loop, struct turn_hook *hook);

/** turn_hook_remove() - allowed from any hook, itself included; a no-op for one never added */
void turn_hook_remove(struct turn_hook *hook);

/**
 * watcher_open() - watch @fd for reading
 * @watcher: caller's memory; ->ready and ->closed set by the caller
 * @fd:      borrowed, must outlive the watcher's close
 *
 * Errors of the fd (POLLERR) are reported as readable, so that the next read tells.
 *
 * Return: 0; -EEXIST when the loop watches @fd already; -EPERM when it cannot be polled; -errno.
 */
MUST_CHECK int watcher_open(struct loop *loop, struct watcher *watcher, int fd);

/** watcher_want() - choose what wakes: reading, writing. No system call when nothing changes. */
void watcher_want(struct watcher *watcher, bool readable, bool writable);

/** watcher_close() - stop at once: ready never runs again; closed runs in a later turn, after which
 * memory and fd may go */
void watcher_close(struct watcher *watcher);

#endif
