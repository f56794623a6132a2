/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * When to try again what failed: at once is too soon, and every try that fails doubles the wait.
 * Numbers only; whoever uses it has the clock.
 */
#ifndef MUSE_COMMON_BASE_BACKOFF_H
#define MUSE_COMMON_BASE_BACKOFF_H

#include <stdint.h>

struct backoff {
    uint64_t first_ns;
    uint64_t max_ns;
    uint64_t delay_ns; /* the last wait; 0: nothing has failed */
};

/**
 * backoff_failed() - a try has failed
 * @backoff: first_ns and max_ns are set, first_ns is not 0
 * @now_ns:  the caller's clock
 *
 * Return: when to try again, by that clock.
 */
static inline uint64_t backoff_failed(struct backoff *backoff, uint64_t now_ns)
{
    if (backoff->delay_ns == 0)
        backoff->delay_ns = backoff->first_ns;
    else if (backoff->delay_ns < backoff->max_ns / 2)
        backoff->delay_ns *= 2;
    else
        backoff->delay_ns = backoff->max_ns;
    return now_ns + backoff->delay_ns;
}

/** backoff_worked() - a try has worked: the next failure starts from the shortest wait */
static inline void backoff_worked(struct backoff *backoff)
{
    backoff->delay_ns = 0;
}

#endif
