/* SPDX-License-Identifier: BSD-3-Clause */
/* The writer's loop (write_work.h). Owns the mappings while it works. */
#include "bench/write_work.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bench/content.h"
#include "bench/touch.h"

static int failed(const char *what)
{
    fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(errno));
    return 1;
}

/* Return: exit status. */
static int judge(uint64_t n_wrong)
{
    if (n_wrong > 0)
        fprintf(stderr, "%s: wrong content: %" PRIu64 " words\n", program_invocation_short_name,
                n_wrong);
    return n_wrong > 0;
}

/* One word of each page, in order. Return: nanoseconds. */
static uint64_t write_pages(volatile uint64_t *words, uint64_t size_bytes)
{
    const uint64_t start = touch_now_ns();

    for (uint64_t page = 0; page < size_bytes / CONTENT_PAGE_BYTES; page++) {
        const unsigned index = page % CONTENT_PAGE_WORDS;

        words[page * CONTENT_PAGE_WORDS + index] = content_word(page, index);
    }
    return touch_now_ns() - start;
}

static uint64_t count_wrong(const volatile uint64_t *words, uint64_t size_bytes)
{
    uint64_t n_wrong = 0;

    for (uint64_t page = 0; page < size_bytes / CONTENT_PAGE_BYTES; page++)
        n_wrong += words[page * CONTENT_PAGE_WORDS + 7] != content_word(page, 7);
    return n_wrong;
}

int write_work(const struct write_target *target, uint64_t size_bytes)
{
    uint64_t cold, dirty, sync, cow, start, n_wrong;
    void *shared = target->map(target->ctx, size_bytes, MAP_SHARED);
    void *private;

    if (shared == MAP_FAILED)
        return failed("map");
    cold = write_pages(shared, size_bytes);
    if (target->sync(target->ctx, shared, size_bytes) < 0)
        return failed("sync");
    dirty = write_pages(shared, size_bytes);
    start = touch_now_ns();
    if (target->sync(target->ctx, shared, size_bytes) < 0)
        return failed("sync");
    sync = touch_now_ns() - start;
    n_wrong = count_wrong(shared, size_bytes);
    private = target->map(target->ctx, size_bytes, MAP_PRIVATE);
    if (private == MAP_FAILED)
        return failed("map");
    cow = write_pages(private, size_bytes);
    n_wrong += count_wrong(private, size_bytes);
    if (target->unmap(target->ctx, private, size_bytes) < 0 ||
        target->unmap(target->ctx, shared, size_bytes) < 0)
        return failed("unmap");
    printf("{\"n_ops\": %" PRIu64 ", \"cold_ns\": %" PRIu64 ", \"dirty_ns\": %" PRIu64
           ", \"sync_ns\": %" PRIu64 ", \"cow_ns\": %" PRIu64 "}\n",
           size_bytes / CONTENT_PAGE_BYTES, cold, dirty, sync, cow);
    return judge(n_wrong);
}

/* Return: words that were wrong. @times: one for each visit. */
static uint64_t visit_uniform(volatile uint64_t *words, uint64_t n_pages, uint64_t seed,
                              uint64_t *times, uint64_t n_ops)
{
    uint64_t n_wrong = 0, last = touch_now_ns();

    for (uint64_t i = 0; i < n_ops; i++) {
        const uint64_t page = content_mix(content_mix(seed) + i) % n_pages;
        const unsigned index = page % CONTENT_PAGE_WORDS;
        volatile uint64_t *word = &words[page * CONTENT_PAGE_WORDS + index];
        uint64_t now;

        if (i % 2 == 0)
            n_wrong += *word != content_word(page, index);
        else
            *word = content_word(page, index);
        now = touch_now_ns();
        times[i] = now - last;
        last = now;
    }
    return n_wrong;
}

int write_uniform(const struct write_target *target, uint64_t size_bytes, uint64_t n_ops,
                  uint64_t seed)
{
    uint64_t *times = malloc(n_ops * sizeof(*times));
    void *shared = target->map(target->ctx, size_bytes, MAP_SHARED);
    struct touch_result result;
    uint64_t n_wrong, start;

    if (!times || shared == MAP_FAILED ||
        target->advise(target->ctx, shared, size_bytes, MADV_RANDOM) < 0) {
        free(times);
        return failed("map");
    }
    memset(times, 1, n_ops * sizeof(*times)); /* resident before the first time is taken */
    start = touch_now_ns();
    n_wrong = visit_uniform(shared, size_bytes / CONTENT_PAGE_BYTES, seed, times, n_ops);
    touch_summarize(times, n_ops, touch_now_ns() - start, &result);
    free(times);
    if (target->sync(target->ctx, shared, size_bytes) < 0)
        return failed("sync");
    if (target->unmap(target->ctx, shared, size_bytes) < 0)
        return failed("unmap");
    touch_print(stdout, "uniform", &result, -1);
    return judge(n_wrong);
}

int write_main(const struct write_target *target, int argc, char **argv)
{
    const uint64_t size_bytes = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
    const uint64_t n_ops = argc == 5 ? strtoull(argv[3], NULL, 10) : 0;

    if (size_bytes > 0 && argc == 3)
        return write_work(target, size_bytes);
    if (size_bytes > 0 && n_ops > 0)
        return write_uniform(target, size_bytes, n_ops, strtoull(argv[4], NULL, 10));
    fprintf(stderr, "usage: %s WHAT SIZE_BYTES [OPS SEED]\n", program_invocation_short_name);
    return 2;
}
