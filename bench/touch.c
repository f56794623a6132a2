/* SPDX-License-Identifier: BSD-3-Clause */
/* The measured loop and its figures (touch.h). Owns its arrays for the length of a call. */
#include "bench/touch.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/content.h"

/* As YCSB has it (Cooper et al. 2010). */
#define ZIPF_THETA 0.99

uint64_t touch_now_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail with this clock */
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int compare_times(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

void touch_summarize(uint64_t *times_ns, uint64_t n_ops, uint64_t total_ns,
                     struct touch_result *ret_result)
{
    qsort(times_ns, n_ops, sizeof(*times_ns), compare_times);
    *ret_result = (struct touch_result){
        .n_ops = n_ops,
        .total_ns = total_ns,
        .p50_ns = times_ns[n_ops / 2],
        .p90_ns = times_ns[n_ops * 9 / 10],
        .p99_ns = times_ns[n_ops * 99 / 100],
        .max_ns = times_ns[n_ops - 1],
    };
}

/* All pages, shuffled (Fisher-Yates) when the plan says so. NULL without memory. */
static uint64_t *all_pages(const struct touch_plan *plan)
{
    uint64_t *pages = calloc(plan->n_pages, sizeof(*pages));

    if (!pages)
        return NULL;
    for (uint64_t i = 0; i < plan->n_pages; i++)
        pages[i] = i;
    for (uint64_t i = plan->n_pages; plan->order != TOUCH_IN_ORDER && i > 1; i--) {
        uint64_t j = content_mix(plan->seed + i) % i;
        uint64_t swap = pages[i - 1];

        pages[i - 1] = pages[j];
        pages[j] = swap;
    }
    return pages;
}

/* The rank below which @share of all draws fall. */
static uint64_t rank_of(const double *sums, uint64_t n, double share)
{
    uint64_t low = 0, high = n - 1;

    while (low < high) {
        uint64_t middle = low + (high - low) / 2;

        if (sums[middle] > share * sums[n - 1])
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* @pages by rank. NULL without memory. */
static uint64_t *draw_zipf(const struct touch_plan *plan, const uint64_t *pages)
{
    uint64_t *order = calloc(plan->n_touch, sizeof(*order));
    double *sums = calloc(plan->n_pages, sizeof(*sums));
    double sum = 0;
    uint64_t n_scanned = 0;

    for (uint64_t i = 0; sums && i < plan->n_pages; i++)
        sums[i] = sum += pow((double)(i + 1), -ZIPF_THETA);
    for (uint64_t i = 0; order && sums && i < plan->n_touch; i++) {
        uint64_t number = content_mix(content_mix(plan->seed) + i);

        if (plan->order == TOUCH_MIX && i % 4 == 3)
            order[i] = n_scanned++ % plan->n_pages;
        else
            order[i] = pages[rank_of(sums, plan->n_pages, (double)(number >> 11) * 0x1p-53)];
    }
    if (!sums) {
        free(order);
        order = NULL;
    }
    free(sums);
    return order;
}

/* The pages in the order of the visit. NULL without memory. */
static uint64_t *make_order(const struct touch_plan *plan)
{
    uint64_t *pages = all_pages(plan);
    uint64_t *order;

    if (!pages || plan->order == TOUCH_IN_ORDER || plan->order == TOUCH_SHUFFLED)
        return pages;
    order = draw_zipf(plan, pages);
    free(pages);
    return order;
}

/* Reads the rest of a page; returns how many words were wrong. */
static uint64_t check_page(const volatile uint64_t *words, uint64_t page)
{
    uint64_t n_wrong = 0;

    for (unsigned i = 0; i < CONTENT_PAGE_WORDS; i++)
        n_wrong += words[i] != content_word(page, i);
    return n_wrong;
}

int touch_run(const void *base, const struct touch_plan *plan, struct touch_result *ret_result)
{
    const volatile uint64_t *words = base;
    uint64_t *order = make_order(plan);
    uint64_t *times = malloc(plan->n_touch * sizeof(*times));
    uint64_t n_wrong = 0;
    uint64_t start;
    uint64_t last;

    if (!order || !times) {
        free(order);
        free(times);
        return -ENOMEM;
    }
    memset(times, 1, plan->n_touch * sizeof(*times)); /* not calloc: its pages must be resident */
    start = last = touch_now_ns();
    for (uint64_t i = 0; i < plan->n_touch; i++) {
        uint64_t page = order[i];
        unsigned index = page % CONTENT_PAGE_WORDS;
        uint64_t now;

        n_wrong += words[page * CONTENT_PAGE_WORDS + index] != content_word(page, index);
        if (plan->full)
            n_wrong += check_page(words + page * CONTENT_PAGE_WORDS, page);
        now = touch_now_ns();
        times[i] = now - last;
        last = now;
    }
    touch_summarize(times, plan->n_touch, last - start, ret_result);
    ret_result->n_wrong = n_wrong;
    free(order);
    free(times);
    return 0;
}

void touch_print(FILE *out, const char *work, const struct touch_result *result,
                 int64_t resident_before)
{
    fprintf(out,
            "{\"work\": \"%s\", \"n_ops\": %" PRIu64 ", \"total_ns\": %" PRIu64
            ", \"p50_ns\": %" PRIu64 ", \"p90_ns\": %" PRIu64 ", \"p99_ns\": %" PRIu64
            ", \"max_ns\": %" PRIu64 ", \"n_wrong\": %" PRIu64 ", \"resident_before\": %" PRId64
            "}\n",
            work, result->n_ops, result->total_ns, result->p50_ns, result->p90_ns, result->p99_ns,
            result->max_ns, result->n_wrong, resident_before);
    fflush(out);
}
