/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The arena of page-state tables: one sparse memfd, mapped once, cut first-fit in granules of 64
 * bytes so that no two objects share a cache line. Owns the memfd, the mapping and the list of free
 * ranges. Free ranges are zero, always: tables are cleared when they come back. Deliberately knows
 * nothing of what a state means.
 */
#include "server/store/states.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/own.h"

#define GRANULE_BYTES 64u

/* Chosen: from here on whole pages are punched out, not written; below, the call costs more. */
#define PUNCH_BYTES_MIN (64u << 10)

struct free_range {
    struct list node;
    struct range range; /* offsets in the arena */
};

static struct free_range *free_range_of(struct list *node)
{
    return LIST_ENTRY(node, struct free_range, node);
}

/* The arena without _Atomic, for system calls and for ranges that are in no table. */
static uint8_t *plain_bytes(const struct store *store)
{
    union {
        _Atomic uint8_t *states;
        uint8_t *bytes;
    } arena = {.states = store->states};

    return arena.bytes;
}

static int spare_add(struct store *store)
{
    struct free_range *spare = calloc(1, sizeof(*spare));

    if (!spare)
        return -ENOMEM;
    list_add(&store->spare_ranges, &spare->node);
    return 0;
}

/* n tables leave n + 1 free ranges at most: so many structs are there, in one list or the other. */
static void spare_drop(struct store *store)
{
    struct list *node = list_take_first(&store->spare_ranges);

    MUST(node);
    free(free_range_of(node));
}

static int arena_map(struct store *store)
{
    CLEAN(fd_close_p) int fd = memfd_create("muse-states", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    void *map;

    if (fd < 0)
        return -errno;
    if (fchmod(fd, S_IRUSR | S_IWUSR) < 0 || ftruncate(fd, (off_t)STORE_STATES_BYTES) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        return -errno;
    map = mmap(NULL, STORE_STATES_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (map == MAP_FAILED)
        return -errno;
    store->states = map;
    store->states_fd = fd_take(&fd);
    return 0;
}

int states_init(struct store *store)
{
    struct list *node;
    int r;

    list_init(&store->free_ranges);
    list_init(&store->spare_ranges);
    r = spare_add(store);
    if (r < 0)
        return r;
    r = spare_add(store);
    if (r == 0)
        r = arena_map(store);
    if (r < 0) {
        while (!list_is_empty(&store->spare_ranges))
            spare_drop(store);
        return r;
    }
    node = list_take_first(&store->spare_ranges);
    free_range_of(node)->range = range_make(0, STORE_STATES_BYTES);
    list_add(&store->free_ranges, node);
    return 0;
}

void states_done(struct store *store)
{
    struct list *node = list_take_first(&store->free_ranges);

    MUST(store->states_used_bytes == 0 && node && list_is_empty(&store->free_ranges));
    free(free_range_of(node));
    spare_drop(store);
    MUST(list_is_empty(&store->spare_ranges));
    MUST(munmap(plain_bytes(store), STORE_STATES_BYTES) == 0);
    store->states = NULL;
    fd_close_p(&store->states_fd);
}

static struct free_range *find_fit(struct store *store, uint64_t len)
{
    struct list *pos;

    list_for_each(pos, &store->free_ranges)
        if (range_len(free_range_of(pos)->range) >= len)
            return free_range_of(pos);
    return NULL;
}

static uint64_t table_bytes(uint64_t n_pages)
{
    return n_pages == 0 ? GRANULE_BYTES
                        : (n_pages + GRANULE_BYTES - 1) / GRANULE_BYTES * GRANULE_BYTES;
}

int store_states_new(struct store *store, uint64_t n_pages, _Atomic uint8_t **ret_states)
{
    struct free_range *fit;
    uint64_t len;
    int r;

    if (n_pages > STORE_STATES_BYTES)
        return -ENOMEM;
    len = table_bytes(n_pages);
    fit = find_fit(store, len);
    if (!fit)
        return -ENOMEM;
    r = spare_add(store);
    if (r < 0)
        return r;
    *ret_states = store->states + fit->range.start;
    fit->range.start += len;
    store->states_used_bytes += len;
    if (range_is_empty(fit->range)) {
        list_del(&fit->node);
        list_add(&store->spare_ranges, &fit->node);
    }
    return 0;
}

static void clear(struct store *store, struct range range)
{
    const uint64_t unit = PAGE_BYTES_SMALL;
    struct range whole = range_align_in(range, unit);
    uint8_t *base = plain_bytes(store); /* nobody else uses these bytes now */

    if (range_len(range) < PUNCH_BYTES_MIN ||
        fallocate(store->states_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)whole.start,
                  (off_t)range_len(whole)) < 0) {
        memset(base + range.start, 0, range_len(range));
        return;
    }
    memset(base + range.start, 0, whole.start - range.start);
    memset(base + whole.end, 0, range.end - whole.end);
}

/* @node is linked; make one of it and the node before it when they touch. */
static void merge_with_previous(struct store *store, struct list *node)
{
    struct free_range *left;
    struct free_range *right;

    if (node == &store->free_ranges || node->prev == &store->free_ranges)
        return;
    left = free_range_of(node->prev);
    right = free_range_of(node);
    if (left->range.end != right->range.start)
        return;
    left->range.end = right->range.end;
    list_del(&right->node);
    list_add(&store->spare_ranges, &right->node);
}

void store_states_free(struct store *store, _Atomic uint8_t *states, uint64_t n_pages)
{
    struct free_range *spare;
    struct list *pos;
    struct list *next;
    struct range range;

    if (!states)
        return;
    MUST(states >= store->states &&
         (uint64_t)(states - store->states) <= STORE_STATES_BYTES - table_bytes(n_pages));
    range.start = (uint64_t)(states - store->states);
    range.end = range.start + table_bytes(n_pages);
    clear(store, range);
    list_for_each(pos, &store->free_ranges)
        if (free_range_of(pos)->range.start >= range.start)
            break;
    next = pos;
    MUST(next == &store->free_ranges || free_range_of(next)->range.start >= range.end);
    spare = free_range_of(list_take_first(&store->spare_ranges));
    spare->range = range;
    list_add_tail(next, &spare->node);
    merge_with_previous(store, next);
    merge_with_previous(store, &spare->node);
    spare_drop(store);
    store->states_used_bytes -= range_len(range);
}
