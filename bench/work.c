/* SPDX-License-Identifier: BSD-3-Clause */
/* A reader's work (work.h). Owns the mapping meanwhile; where memory comes from, others decide. */
#include "bench/work.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/content.h"
#include "bench/touch.h"

/* Chosen: longer than any one measurement, so that a holder whose parent forgot it still ends. */
#define HOLD_MAX_MS (30 * 60 * 1000)

static const char *const kind_names[] = {
    [WORK_SEQ] = "seq",   [WORK_RAND] = "rand", [WORK_HOLD] = "hold",
    [WORK_ZIPF] = "zipf", [WORK_MIX] = "mix",   [WORK_MAPUNMAP] = "mapunmap",
};

static void print_usage(FILE *out, const char *program, const char *what)
{
    fprintf(
        out,
        "usage: %s --work seq|rand|hold|zipf|mix|mapunmap --size BYTES [--ops N] [--seed N] [--cold] [--full]%s%s\n"
        "  --ops     pages to visit (default all; zipf, mix: any number), or map+unmap pairs (default 10000)\n"
        "  --cold    exit with status 3 when any page is resident before the first touch\n"
        "  --full    read whole pages, not one word of each\n"
        "  --second  measure a second client while a first one holds every page (uffd_bare)\n",
        program, what ? " " : "", what ? what : "");
}

/* A decimal number, all of @text; false for anything else. */
static bool parse_number(const char *text, uint64_t *ret_number)
{
    char *end;
    uint64_t number;

    errno = 0;
    number = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0')
        return false;
    *ret_number = number;
    return true;
}

static bool parse_kind(const char *text, enum work_kind *ret_kind)
{
    for (size_t i = 0; i < sizeof(kind_names) / sizeof(kind_names[0]); i++) {
        if (strcmp(text, kind_names[i]) == 0) {
            *ret_kind = (enum work_kind)i;
            return true;
        }
    }
    return false;
}

/* Takes one option from getopt; false for a bad value or an option that does not exist. */
static bool parse_option(int c, const char *value, struct work_options *options)
{
    switch (c) {
    case 'w':
        return parse_kind(value, &options->kind);
    case 's':
        return parse_number(value, &options->size_bytes);
    case 'n':
        return parse_number(value, &options->n_ops);
    case 'r':
        return parse_number(value, &options->seed);
    case 'c':
        return options->cold = true;
    case 'f':
        return options->full = true;
    case '2':
        return options->second = true;
    default:
        return false;
    }
}

int work_parse(int argc, char **argv, const char *what, struct work_options *ret_options)
{
    static const struct option longs[] = {
        {"work", required_argument, NULL, 'w'},
        {"size", required_argument, NULL, 's'},
        {"ops", required_argument, NULL, 'n'},
        {"seed", required_argument, NULL, 'r'},
        {"cold", no_argument, NULL, 'c'},
        {"full", no_argument, NULL, 'f'},
        {"second", no_argument, NULL, '2'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct work_options options = {.seed = 1};
    bool have_kind = false;
    bool good = true;
    int c;

    while (good && (c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        if (c == 'h') {
            print_usage(stdout, argv[0], what);
            return -1;
        }
        good = parse_option(c, optarg, &options);
        have_kind |= c == 'w';
    }
    good = good && have_kind && options.size_bytes > 0 &&
           options.size_bytes % CONTENT_PAGE_BYTES == 0 && options.n_ops <= UINT32_MAX &&
           argc - optind == (what ? 1 : 0);
    if (!good) {
        print_usage(stderr, argv[0], what);
        return WORK_EXIT_USAGE;
    }
    options.target = what ? argv[optind] : NULL;
    *ret_options = options;
    return 0;
}

/* One sentence on standard error; returns the exit status. */
static int failed(const char *what, int error)
{
    fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(error));
    return WORK_EXIT_FAILED;
}

/* Pages resident in what is mapped at @addr; -1 when the target cannot say. */
static int64_t count_resident(const struct work_target *target, void *addr, uint64_t size_bytes)
{
    uint64_t n_pages = size_bytes / CONTENT_PAGE_BYTES;
    unsigned char *vec = calloc(n_pages, 1);
    int64_t count = -1;

    if (vec && target->mincore(target->ctx, addr, size_bytes, vec) == 0) {
        count = 0;
        for (uint64_t i = 0; i < n_pages; i++)
            count += vec[i] & 1;
    }
    free(vec);
    return count;
}

/* Whoever started us has been told that everything is resident: waits for the end of input. */
static void hold_until_eof(void)
{
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    uint64_t end_ns = touch_now_ns() + (uint64_t)HOLD_MAX_MS * 1000000u;
    char sink[64];

    while (touch_now_ns() < end_ns) {
        if (poll(&in, 1, 1000) > 0 && read(STDIN_FILENO, sink, sizeof(sink)) <= 0)
            return;
    }
}

static bool repeats(enum work_kind kind)
{
    return kind == WORK_ZIPF || kind == WORK_MIX;
}

static enum touch_order order_of(enum work_kind kind)
{
    switch (kind) {
    case WORK_RAND:
        return TOUCH_SHUFFLED;
    case WORK_ZIPF:
        return TOUCH_ZIPF;
    case WORK_MIX:
        return TOUCH_MIX;
    case WORK_SEQ:
    case WORK_HOLD:
    case WORK_MAPUNMAP:
        break;
    }
    return TOUCH_IN_ORDER;
}

/* Visits the pages of one mapping. */
static int run_touch(const struct work_options *options, const struct work_target *target,
                     void *base, bool quiet)
{
    uint64_t n_pages = options->size_bytes / CONTENT_PAGE_BYTES;
    struct touch_plan plan = {
        .n_pages = n_pages,
        .n_touch = options->n_ops > 0 && (options->n_ops < n_pages || repeats(options->kind))
                       ? options->n_ops
                       : n_pages,
        .seed = options->seed,
        .order = order_of(options->kind),
        .full = options->full,
    };
    int64_t resident = count_resident(target, base, options->size_bytes);
    struct touch_result result;
    int r;

    if (options->cold && resident > 0) {
        fprintf(stderr, "%s: not cold: %lld pages are resident\n", program_invocation_short_name,
                (long long)resident);
        return WORK_EXIT_WARM;
    }
    if (plan.order != TOUCH_IN_ORDER &&
        target->advise(target->ctx, base, options->size_bytes, MADV_RANDOM) < 0)
        return failed("madvise", errno);
    r = touch_run(base, &plan, &result);
    if (r < 0)
        return failed("touch", -r);
    if (!quiet)
        touch_print(stdout, kind_names[options->kind], &result, resident);
    if (result.n_wrong > 0) {
        fprintf(stderr, "%s: wrong content: %llu words\n", program_invocation_short_name,
                (unsigned long long)result.n_wrong);
        return WORK_EXIT_FAILED;
    }
    if (options->kind == WORK_HOLD)
        hold_until_eof();
    return 0;
}

/* Maps and unmaps one page, again and again, without touching it. */
static int run_mapunmap(const struct work_options *options, const struct work_target *target,
                        bool quiet)
{
    uint64_t n_ops = options->n_ops > 0 ? options->n_ops : 10000;
    uint64_t *times = malloc(n_ops * sizeof(*times));
    struct touch_result result;
    uint64_t start;
    uint64_t last;

    if (!times)
        return failed("memory", ENOMEM);
    memset(times, 1, n_ops * sizeof(*times)); /* resident before the first time is taken */
    start = last = touch_now_ns();
    for (uint64_t i = 0; i < n_ops; i++) {
        void *addr = target->map(target->ctx, CONTENT_PAGE_BYTES);
        uint64_t now;

        if (addr == MAP_FAILED || target->unmap(target->ctx, addr, CONTENT_PAGE_BYTES) < 0) {
            free(times);
            return failed(addr == MAP_FAILED ? "map" : "unmap", errno);
        }
        now = touch_now_ns();
        times[i] = now - last;
        last = now;
    }
    touch_summarize(times, n_ops, last - start, &result);
    free(times);
    if (!quiet)
        touch_print(stdout, kind_names[options->kind], &result, -1);
    return 0;
}

int work_run(const struct work_options *options, const struct work_target *target, bool quiet)
{
    void *base;
    int status;

    if (options->kind == WORK_MAPUNMAP)
        return run_mapunmap(options, target, quiet);
    base = target->map(target->ctx, options->size_bytes);
    if (base == MAP_FAILED)
        return failed("map", errno);
    status = run_touch(options, target, base, quiet);
    if (target->unmap(target->ctx, base, options->size_bytes) < 0 && status == 0)
        status = failed("unmap", errno);
    return status;
}
