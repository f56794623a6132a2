/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The touch loop: the one piece of code that is measured, the same for every contender. It reads
 * one word of each page it visits (or all of them), takes the time after each page, and checks what
 * it read against bench/content.h.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* What to visit. */
enum touch_order {
    TOUCH_IN_ORDER, /* the first ones */
    TOUCH_SHUFFLED, /* a random choice in random order, none twice */
    TOUCH_ZIPF,     /* page by page drawn anew, the r-th most frequent of them r^-0.99 as often */
    TOUCH_MIX,      /* three of four so, the fourth the next page of a scan that begins again */
};

struct touch_plan {
    uint64_t n_pages; /* of the mapping */
    uint64_t n_touch; /* pages to visit; in order or shuffled: at most n_pages */
    uint64_t seed;    /* of the random order */
    enum touch_order order;
    bool full; /* read every word of a page, not one */
};

/* How it went. Times are nanoseconds of CLOCK_MONOTONIC. */
struct touch_result {
    uint64_t n_ops; /* pages visited, or whatever else was timed */
    uint64_t total_ns;
    uint64_t p50_ns;
    uint64_t p90_ns;
    uint64_t p99_ns;
    uint64_t max_ns;
    uint64_t n_wrong; /* words that were not the object's */
};

/**
 * touch_now_ns() - the clock of all measurements
 *
 * Return: CLOCK_MONOTONIC in nanoseconds.
 */
uint64_t touch_now_ns(void);

/**
 * touch_summarize() - turn single times into a result
 * @times_ns:   one time for each operation; borrowed, sorted in place
 * @n_ops:      how many, at least 1
 * @total_ns:   from before the first to after the last
 * @ret_result: all fields set; n_wrong is 0
 */
void touch_summarize(uint64_t *times_ns, uint64_t n_ops, uint64_t total_ns,
                     struct touch_result *ret_result);

/**
 * touch_run() - visit the pages of a mapping as planned
 * @base:       a readable mapping of @plan->n_pages pages of the object, from its start; borrowed
 * @plan:       borrowed
 * @ret_result: the figures
 *
 * All memory the loop needs is resident before the first time is taken.
 * Return: 0, also when words were wrong (see n_wrong); -ENOMEM.
 */
int touch_run(const void *base, const struct touch_plan *plan, struct touch_result *ret_result);

/**
 * touch_print() - one JSON object on one line
 * @out:             stream to print to
 * @work:            name of the work, plain ASCII
 * @result:          borrowed
 * @resident_before: pages resident before the first touch; -1 not known
 */
void touch_print(FILE *out, const char *work, const struct touch_result *result,
                 int64_t resident_before);
