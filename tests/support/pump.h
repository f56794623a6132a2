/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A real loop for unit tests: turned until something has happened, given up after a time that no
 * healthy machine needs. Header only; needs muse_server.
 */
#ifndef MUSE_TESTS_SUPPORT_PUMP_H
#define MUSE_TESTS_SUPPORT_PUMP_H

#include <stdbool.h>

#include <check.h>

#include "server/loop/loop.h"
#include "tests/support/fds.h"

/* Chosen: only a test that fails waits so long. */
#define PUMP_PATIENCE_NS UINT64_C(30000000000)
/* For deadlines that shall not pass in a test. */
#define PUMP_NEVER_NS    UINT64_C(3600000000000)

struct pump {
    struct loop loop;
    struct deadline patience;
    unsigned n_fds_before;
};

static inline void pump_on_patience(struct deadline *deadline)
{
    (void)deadline;
    ck_abort_msg("what the test waits for does not happen");
}

/** pump_init() - a loop; counts the fds that are open before it */
static inline void pump_init(struct pump *pump)
{
    *pump = (struct pump){.patience.fn = pump_on_patience};
    ck_assert_int_eq(loop_init(&pump->loop), 0);
    loop_done(&pump->loop); /* what libuv opens once for the process is not counted */
    pump->n_fds_before = fds_count();
    ck_assert_int_eq(loop_init(&pump->loop), 0);
    deadline_set(&pump->loop, &pump->patience, loop_now_ns() + PUMP_PATIENCE_NS);
}

/** pump_done() - end the loop; no watcher and no fd may be left */
static inline void pump_done(struct pump *pump)
{
    deadline_clear(&pump->loop, &pump->patience);
    ck_assert_uint_eq(pump->loop.n_open, 0);
    loop_done(&pump->loop);
    ck_assert_uint_eq(fds_count(), pump->n_fds_before);
}

/** pump_turn() - one turn; blocks until something happens */
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
