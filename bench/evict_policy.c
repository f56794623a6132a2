/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * evict_policy TRACE...: miss ratios of eviction policies on recorded touches ([debug] touches in
 * mused.conf), as a table. S3-FIFO is the server's own code (server/cache/evict.c).
 *
 * Each policy is asked twice: told of every touch, as a kernel could be by its accessed bits; and
 * told of misses only, which is what the server sees: a page that is mapped is read without it.
 * Under the second rule LRU and CLOCK are FIFO.
 */
#include <endian.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/cache/evict.h"
#include "server/flow/touch_log.h"

#define PAGE_SHIFT 12u

struct trace {
    uint32_t *pages; /* owned: numbers of (object, page), dense */
    uint64_t n_touches;
    uint32_t n_pages; /* different ones */
};

enum list_policy { POLICY_FIFO, POLICY_LRU, POLICY_CLOCK, POLICY_NEWEST };

/* A page of a simple policy. Index 0 is the head of the list. */
struct node {
    uint32_t prev, next;
    bool is_in, is_touched;
};

/* ---- traces ---- */

struct seen {
    uint64_t key; /* object << 32 | page, + 1 */
    uint32_t number;
};

static uint32_t number_of(struct seen *table, uint64_t n_slots, uint64_t key, uint32_t *n_pages)
{
    uint64_t i = (key * UINT64_C(0x9e3779b97f4a7c15)) >> 20;

    while (table[i & (n_slots - 1)].key != 0 && table[i & (n_slots - 1)].key != key)
        i++;
    i &= n_slots - 1;
    if (table[i].key == 0)
        table[i] = (struct seen){key, (*n_pages)++};
    return table[i].number;
}

static bool read_records(FILE *file, struct trace *trace)
{
    const uint64_t n_slots = 1u << 22;
    struct seen *table = calloc(n_slots, sizeof(*table));
    uint64_t n_room = 0;
    uint32_t record[2];

    while (table && fread(record, sizeof(record), 1, file) == 1 && trace->n_pages < n_slots / 2) {
        const uint64_t key = ((uint64_t)le32toh(record[0]) << 32 | le32toh(record[1])) + 1;

        if (trace->n_touches == n_room) {
            uint32_t *pages;

            n_room = n_room ? 2 * n_room : 65536;
            pages = realloc(trace->pages, n_room * sizeof(*pages));
            if (!pages)
                break;
            trace->pages = pages;
        }
        trace->pages[trace->n_touches++] = number_of(table, n_slots, key, &trace->n_pages);
    }
    free(table);
    return feof(file) && trace->n_touches > 0;
}

static bool trace_read(const char *path, struct trace *trace)
{
    FILE *file = fopen(path, "re");
    char magic[8];
    bool is_good;

    *trace = (struct trace){NULL, 0, 0};
    if (!file)
        return false;
    is_good = fread(magic, sizeof(magic), 1, file) == 1 &&
              memcmp(magic, TOUCH_LOG_MAGIC, sizeof(magic)) == 0 && read_records(file, trace);
    (void)fclose(file); /* only read */
    return is_good;
}

/* ---- lists ---- */

static void unlink_node(struct node *nodes, uint32_t i)
{
    nodes[nodes[i].prev].next = nodes[i].next;
    nodes[nodes[i].next].prev = nodes[i].prev;
}

static void append_node(struct node *nodes, uint32_t i)
{
    nodes[i].prev = nodes[0].prev;
    nodes[i].next = 0;
    nodes[nodes[0].prev].next = i;
    nodes[0].prev = i;
}

static uint32_t list_victim(struct node *nodes, enum list_policy policy)
{
    uint32_t i = policy == POLICY_NEWEST ? nodes[0].prev : nodes[0].next;

    while (nodes[i].is_touched) {
        nodes[i].is_touched = false;
        unlink_node(nodes, i);
        append_node(nodes, i);
        i = nodes[0].next;
    }
    return i;
}

/* Return: misses; UINT64_MAX without memory. */
static uint64_t run_list(const struct trace *trace, enum list_policy policy, uint64_t n_room,
                         bool sees_all)
{
    struct node *nodes = calloc((size_t)trace->n_pages + 1, sizeof(*nodes));
    uint64_t n_in = 0, n_misses = 0;

    if (!nodes)
        return UINT64_MAX;
    for (uint64_t k = 0; k < trace->n_touches; k++) {
        const uint32_t i = trace->pages[k] + 1;

        if (nodes[i].is_in) {
            if (sees_all && policy == POLICY_CLOCK)
                nodes[i].is_touched = true;
            if (sees_all && policy == POLICY_LRU) {
                unlink_node(nodes, i);
                append_node(nodes, i);
            }
            continue;
        }
        n_misses++;
        if (n_in == n_room) {
            const uint32_t victim = list_victim(nodes, policy);

            unlink_node(nodes, victim);
            nodes[victim].is_in = false;
            n_in--;
        }
        nodes[i].is_in = true;
        append_node(nodes, i);
        n_in++;
    }
    free(nodes);
    return n_misses;
}

/* ---- the server's ---- */

enum ghosts { GHOSTS_NONE, GHOSTS_SMALL, GHOSTS_ALL };

struct s3 {
    struct evict evict;
    struct evict_pool pool;
    struct evict_object object;
    bool *is_in;
    uint64_t n_in;
};

static void s3_evict(struct s3 *s3, uint64_t small_max_bytes, enum ghosts ghosts)
{
    const uint32_t handle = evict_next(&s3->evict, &s3->pool, small_max_bytes);
    const bool is_main = evict_is_main(&s3->evict, handle);

    s3->is_in[evict_pages(&s3->evict, handle).start] = false;
    evict_drop(&s3->evict, handle, ghosts == GHOSTS_ALL || (ghosts == GHOSTS_SMALL && !is_main));
    s3->n_in--;
}

static uint64_t s3_touches(struct s3 *s3, const struct trace *trace, uint64_t n_room,
                           unsigned small_percent, enum ghosts ghosts, bool sees_all)
{
    const uint64_t small_max_bytes = (n_room * small_percent / 100) << PAGE_SHIFT;
    uint64_t n_misses = 0;

    for (uint64_t k = 0; k < trace->n_touches; k++) {
        const uint64_t page = 2ull * trace->pages[k]; /* apart, as pages of random reads are */
        struct evict_seen seen;

        if (s3->is_in[page]) {
            if (sees_all)
                evict_touch(&s3->evict, &s3->object, page);
            continue;
        }
        n_misses++;
        if (s3->n_in == n_room)
            s3_evict(s3, small_max_bytes, ghosts);
        if (evict_add(&s3->evict, &s3->object, (struct range){page, page + 1}, &seen) < 0)
            return UINT64_MAX;
        s3->is_in[page] = true;
        s3->n_in++;
    }
    return n_misses;
}

static uint64_t run_s3(const struct trace *trace, uint64_t n_room, unsigned small_percent,
                       enum ghosts ghosts, bool sees_all)
{
    struct s3 s3 = {.is_in = calloc(2 * ((size_t)trace->n_pages + 1), sizeof(bool))};
    uint64_t n_misses = UINT64_MAX;

    evict_init(&s3.evict);
    if (s3.is_in && evict_pool_init(&s3.evict, &s3.pool) == 0) {
        if (evict_object_init(&s3.evict, &s3.object, &s3.pool, 1, PAGE_SHIFT) == 0) {
            n_misses = s3_touches(&s3, trace, n_room, small_percent, ghosts, sees_all);
            evict_object_done(&s3.evict, &s3.object);
        }
        evict_pool_done(&s3.evict, &s3.pool);
    }
    evict_done(&s3.evict);
    free(s3.is_in);
    return n_misses;
}

/* ---- the table ---- */

static const unsigned shares[] = {16, 8, 4, 2}; /* of the different pages */
#define N_SHARES (sizeof(shares) / sizeof(shares[0]))

static void print_cell(const struct trace *trace, uint64_t n_misses)
{
    if (n_misses == UINT64_MAX)
        printf(" no memory |");
    else
        printf(" %.1f |", 100.0 * (double)n_misses / (double)trace->n_touches);
}

static void print_lists(const struct trace *trace, bool sees_all)
{
    static const struct {
        const char *name;
        enum list_policy policy;
        bool sees_all;
    } kinds[] = {
        {"FIFO = LRU = CLOCK", POLICY_FIFO, false},
        {"newest first", POLICY_NEWEST, false},
        {"LRU", POLICY_LRU, true},
        {"CLOCK", POLICY_CLOCK, true},
    };

    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
        if (kinds[k].sees_all != sees_all)
            continue;
        printf("| %s | %s |", kinds[k].name, sees_all ? "all" : "misses");
        for (unsigned i = 0; i < N_SHARES; i++)
            print_cell(trace,
                       run_list(trace, kinds[k].policy, trace->n_pages / shares[i], sees_all));
        printf("\n");
    }
}

static void print_s3(const struct trace *trace, bool sees_all)
{
    static const struct {
        const char *name;
        unsigned percent;
        enum ghosts ghosts;
    } kinds[] = {
        {"S3-FIFO, no ghosts", 10, GHOSTS_NONE},
        {"S3-FIFO, ghosts of SMALL (the paper's)", 10, GHOSTS_SMALL},
        {"S3-FIFO, ghosts of both", 10, GHOSTS_ALL},
        {"S3-FIFO, ghosts of both, SMALL 25 %", 25, GHOSTS_ALL},
        {"S3-FIFO, ghosts of both, SMALL 50 %", 50, GHOSTS_ALL},
    };

    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
        printf("| %s | %s |", kinds[k].name, sees_all ? "all" : "misses");
        for (unsigned i = 0; i < N_SHARES; i++)
            print_cell(trace, run_s3(trace, trace->n_pages / shares[i], kinds[k].percent,
                                     kinds[k].ghosts, sees_all));
        printf("\n");
    }
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: evict_policy TRACE...\n");
        return 2;
    }
    for (int i = 1; i < argc; i++) {
        struct trace trace;

        if (!trace_read(argv[i], &trace) || trace.n_pages < shares[0]) {
            fprintf(stderr, "evict_policy: %s: no trace, or too short\n", argv[i]);
            free(trace.pages);
            return 1;
        }
        printf("\n%s: %" PRIu64 " touches of %" PRIu32 " pages; misses in per cent of touches\n\n",
               argv[i], trace.n_touches, trace.n_pages);
        printf(
            "| policy | is told of | 1/16 | 1/8 | 1/4 | 1/2 |\n| --- | --- | --- | --- | --- | --- |\n");
        print_lists(&trace, false);
        print_s3(&trace, false);
        print_lists(&trace, true);
        print_s3(&trace, true);
        free(trace.pages);
    }
    return 0;
}
