/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A real loop for unit tests: turned until something has happened, given up after a time that no
 * healthy machine needs. Header only; needs muse_server.
 */
#ifndef MUSE_TESTS_SUPPORT_PUMP_H
#define MUSE_TESTS_SUPPORT_PUMP_H

#include <stdbool.h>

#include <check.h>

#include "common/base/own.h"
#include "server/loop/loop.h"
#include "tests/support/fds.h"

/* Chosen: only a test that fails waits so long. */
#define PUMP_PATIENCE_NS UINT64_C(30000000000)
/* For deadlines that shall not pass in a test. */
#define PUMP_NEVER_NS    UINT64_C(3600000000000)

/* Chosen: a turn may call deadlines and then wait for fds; this often it comes back to look. */
#define PUMP_TICK_NS UINT64_C(1000000)

struct pump {
    struct loop loop;
    struct deadline tick;
    uint64_t patience_until_ns;
    unsigned n_fds_before;
};

static inline void pump_on_tick(struct deadline *deadline)
{
    struct pump *pump = CONTAINER_OF(deadline, struct pump, tick);

    if (loop_now_ns() > pump->patience_until_ns)
        ck_abort_msg("what the test waits for does not happen");
    deadline_set(&pump->loop, &pump->tick, loop_now_ns() + PUMP_TICK_NS);
}

/** pump_init() - a loop; counts the fds that are open before it */
static inline void pump_init(struct pump *pump)
{
    *pump = (struct pump){.tick.fn = pump_on_tick};
    ck_assert_int_eq(loop_init(&pump->loop), 0);
    loop_done(&pump->loop); /* what libuv opens once for the process is not counted */
    pump->n_fds_before = fds_count();
    ck_assert_int_eq(loop_init(&pump->loop), 0);
    pump->patience_until_ns = loop_now_ns() + PUMP_PATIENCE_NS;
    pump_on_tick(&pump->tick);
}

/** pump_done() - end the loop; no watcher and no fd may be left */
static inline void pump_done(struct pump *pump)
{
    deadline_clear(&pump->loop, &pump->tick);
    ck_assert_uint_eq(pump->loop.n_open, 0);
    loop_done(&pump->loop);
    ck_assert_uint_eq(fds_count(), pump->n_fds_before);
}

/** pump_turn() - one turn; blocks until something happens, or the next tick */
static inline void pump_turn(struct pump *pump)
{
    (void)uv_run(&pump->loop.uv, UV_RUN_ONCE);
}

/** pump_turn_now() - one turn that does not block: whatever is ready happens */
static inline void pump_turn_now(struct pump *pump)
{
    (void)uv_run(&pump->loop.uv, UV_RUN_NOWAIT);
}

/** PUMP_UNTIL() - turn the loop until @cond holds */
#define PUMP_UNTIL(pump, cond)                                                                     \
    do {                                                                                           \
        while (!(cond))                                                                            \
            pump_turn(pump);                                                                       \
    } while (0)

#endif
