/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * evict.c - the queues, the ghosts, and where an object's entries are
 *
 * Entries lie in chunks and name each other by numbers, not pointers: half the size. Each block of
 * EVICT_RUN_PAGES of an object, which no entry crosses, has a treap of its own, ordered by first page,
 * whose priorities are a hash of the entry's number, so that they need no room. One treap for all of
 * an object of single pages is as deep again, and each step is a miss in the processor's cache. Queues are circular lists around a head entry: leaving one needs no
 * knowledge of which it is.
 *
 * Owns chunks, the array of owners, ghosts. Called by server/flow/evict_flow.c and, with recorded
 * traces, by bench/evict_policy.c. Deliberately no system call, clock or page in here.
 */
#include "server/cache/evict.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/own.h"

#define CHUNK_SHIFT   10u
#define CHUNK_ENTRIES (1u << CHUNK_SHIFT)

#define FREQ_MAX    3u
/* Chosen: so many second chances in one search; then the next one goes, touched or not. */
#define CHANCES_MAX 64u
/* Runs up to this long are remembered page by page, longer ones by every 16th page: their windows
 * begin there. */
#define GHOST_PAGES 16u
#define GHOST_WAYS  4u
#define GHOSTS_MIN  1024u

#define SMALLEST_SHIFT 12u

static struct evict_entry *at(const struct evict *evict, uint32_t i)
{
    MUST(evict->chunks);
    return &evict->chunks[i >> CHUNK_SHIFT][i & (CHUNK_ENTRIES - 1)];
}

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9); /* splitmix64 */
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* ---- chunks ---- */

static int chunk_add(struct evict *evict)
{
    struct evict_entry **chunks =
        realloc(evict->chunks, (evict->n_chunks + 1) * sizeof(struct evict_entry *));

    if (!chunks)
        return -ENOMEM;
    evict->chunks = chunks;
    chunks[evict->n_chunks] = malloc(CHUNK_ENTRIES * sizeof(struct evict_entry));
    if (!chunks[evict->n_chunks])
        return -ENOMEM;
    evict->n_chunks++;
    return 0;
}

/* Return: 0: no memory. */
static uint32_t entry_new(struct evict *evict)
{
    uint32_t i = evict->free;

    if (i != 0) {
        evict->free = at(evict, i)->next;
    } else {
        if (evict->n_never >> CHUNK_SHIFT == evict->n_chunks && chunk_add(evict) < 0)
            return 0;
        i = evict->n_never++;
    }
    *at(evict, i) = (struct evict_entry){.prev = i, .next = i};
    evict->n_used++;
    return i;
}

static void chunks_free(struct evict *evict)
{
    for (uint32_t i = 0; i < evict->n_chunks; i++)
        free(evict->chunks[i]);
    free(evict->chunks);
    evict->chunks = NULL;
    evict->n_chunks = 0;
    evict->free = 0;
    evict->n_never = 1; /* 0 means none */
}

static void entry_free(struct evict *evict, uint32_t i)
{
    at(evict, i)->next = evict->free;
    evict->free = i;
    if (--evict->n_used == 0)
        chunks_free(evict);
}

/* ---- queues ---- */

static void unlink_entry(struct evict *evict, uint32_t i)
{
    struct evict_entry *entry = at(evict, i);

    at(evict, entry->prev)->next = entry->next;
    at(evict, entry->next)->prev = entry->prev;
    entry->prev = entry->next = i;
}

static void append(struct evict *evict, uint32_t head, uint32_t i)
{
    struct evict_entry *entry = at(evict, i);

    entry->prev = at(evict, head)->prev;
    entry->next = head;
    at(evict, entry->prev)->next = i;
    at(evict, head)->prev = i;
}

static uint32_t first_of(const struct evict *evict, const struct evict_pool *pool,
                         enum evict_queue queue)
{
    const uint32_t head = pool->heads[queue];
    const uint32_t first = at(evict, head)->next;

    return first == head ? 0 : first;
}

static uint64_t bytes_of(const struct evict *evict, const struct evict_entry *entry)
{
    return (uint64_t)entry->n_pages << evict->owners[entry->owner]->page_shift;
}

static uint64_t *counter_of(const struct evict *evict, const struct evict_entry *entry)
{
    struct evict_pool *pool = evict->owners[entry->owner]->pool;

    return entry->in_main ? &pool->main_bytes : &pool->small_bytes;
}

static void move_to(struct evict *evict, uint32_t i, enum evict_queue queue)
{
    struct evict_entry *entry = at(evict, i);

    unlink_entry(evict, i);
    *counter_of(evict, entry) -= bytes_of(evict, entry);
    entry->in_main = queue == EVICT_MAIN || queue == EVICT_HELD;
    *counter_of(evict, entry) += bytes_of(evict, entry);
    append(evict, evict->owners[entry->owner]->pool->heads[queue], i);
}

/* ---- an object's trees ---- */

static uint32_t block_of(uint64_t page)
{
    return (uint32_t)(page / EVICT_RUN_PAGES);
}

/* Room for the root of @page's block. Return: 0 or -ENOMEM. */
static int roots_fit(struct evict *evict, struct evict_object *object, uint64_t page)
{
    uint32_t n = object->n_roots ? object->n_roots : 1;
    uint32_t *roots;

    if (block_of(page) < object->n_roots)
        return 0;
    while (n <= block_of(page))
        n *= 2;
    roots = realloc(object->roots, n * sizeof(*roots));
    if (!roots)
        return -ENOMEM;
    memset(roots + object->n_roots, 0, (n - object->n_roots) * sizeof(*roots));
    evict->n_roots += n - object->n_roots;
    object->roots = roots;
    object->n_roots = n;
    return 0;
}

static bool goes_above(uint32_t i, uint32_t other)
{
    return mix(i) > mix(other);
}

static uint32_t merge(const struct evict *evict, uint32_t low, uint32_t high)
{
    if (low == 0 || high == 0)
        return low ? low : high;
    if (goes_above(low, high)) {
        at(evict, low)->right = merge(evict, at(evict, low)->right, high);
        return low;
    }
    at(evict, high)->left = merge(evict, low, at(evict, high)->left);
    return high;
}

/* @ret_low: entries that begin below @page; @ret_high: the others. */
static void split(const struct evict *evict, uint32_t root, uint32_t page, uint32_t *ret_low,
                  uint32_t *ret_high)
{
    if (root == 0) {
        *ret_low = *ret_high = 0;
    } else if (at(evict, root)->first < page) {
        *ret_low = root;
        split(evict, at(evict, root)->right, page, &at(evict, root)->right, ret_high);
    } else {
        *ret_high = root;
        split(evict, at(evict, root)->left, page, ret_low, &at(evict, root)->left);
    }
}

static void tree_insert(struct evict *evict, const struct evict_object *object, uint32_t i)
{
    uint32_t *root = &object->roots[block_of(at(evict, i)->first)];
    uint32_t low, high;

    split(evict, *root, at(evict, i)->first, &low, &high);
    *root = merge(evict, merge(evict, low, i), high);
}

static void tree_remove(struct evict *evict, const struct evict_object *object, uint32_t i)
{
    const uint32_t first = at(evict, i)->first;
    uint32_t *link = &object->roots[block_of(first)];

    while (*link != i) {
        MUST(*link != 0);
        link = at(evict, *link)->first < first ? &at(evict, *link)->right : &at(evict, *link)->left;
    }
    *link = merge(evict, at(evict, i)->left, at(evict, i)->right);
    at(evict, i)->left = at(evict, i)->right = 0;
}

static uint64_t end_of(const struct evict *evict, uint32_t i)
{
    return (uint64_t)at(evict, i)->first + at(evict, i)->n_pages;
}

static uint32_t find_in_tree(const struct evict *evict, uint32_t root, uint64_t page)
{
    uint32_t best = 0;

    for (uint32_t i = root; i != 0;) {
        if (end_of(evict, i) > page) {
            best = i;
            i = at(evict, i)->left;
        } else {
            i = at(evict, i)->right;
        }
    }
    return best;
}

/* The same as evict_find(), among those that begin below @pages.end. */
static uint32_t find_in(const struct evict *evict, const struct evict_object *object,
                        struct range pages)
{
    for (uint64_t block = pages.start / EVICT_RUN_PAGES;
         block < object->n_roots && block * EVICT_RUN_PAGES < pages.end; block++) {
        const uint32_t i = find_in_tree(evict, object->roots[block], pages.start);

        if (i != 0)
            return at(evict, i)->first < pages.end ? i : 0;
    }
    return 0;
}

uint32_t evict_find(const struct evict *evict, const struct evict_object *object, uint64_t page)
{
    return find_in(evict, object, (struct range){page, UINT64_MAX});
}

/* ---- ghosts ---- */

static uint64_t key_of(const struct evict_object *object, uint64_t page)
{
    return mix(mix(object->id) + page);
}

static struct evict_ghost *ways_of(const struct evict_pool *pool, uint64_t key)
{
    return &pool->ghosts[(key & (pool->n_ghosts - 1)) & ~(uint64_t)(GHOST_WAYS - 1)];
}

static uint32_t tag_of(uint64_t key)
{
    return (uint32_t)(key >> 32) | 1u;
}

static uint64_t pool_pages(const struct evict_pool *pool)
{
    return evict_pool_bytes(pool) >> SMALLEST_SHIFT;
}

/* As many names as there are pages: those that went while as much came as is cached. A table that
 * has become too small is made anew, empty. Return: whether there is one. */
static bool ghosts_fit(struct evict_pool *pool)
{
    uint32_t n = GHOSTS_MIN;

    if (pool->ghosts && pool->n_ghosts >= pool_pages(pool) / 2)
        return true;
    while (n < pool_pages(pool) && n < 1u << 30)
        n *= 2;
    free(pool->ghosts);
    pool->ghosts = calloc(n, sizeof(*pool->ghosts));
    pool->n_ghosts = n;
    return pool->ghosts != NULL;
}

static const struct evict_ghost *ghost_find(const struct evict_pool *pool, uint64_t key)
{
    const struct evict_ghost *ways = pool->ghosts ? ways_of(pool, key) : NULL;

    for (unsigned i = 0; ways && i < GHOST_WAYS; i++) {
        if (ways[i].tag == tag_of(key))
            return &ways[i];
    }
    return NULL;
}

/* Return: whether one of the pages went not long ago: since then less came than is cached. */
static bool ghosts_know(const struct evict_object *object, struct range pages,
                        struct evict_seen *seen)
{
    const struct evict_pool *pool = object->pool;
    bool is_known = false, is_recent = false;

    if (range_len(pages) > GHOST_PAGES)
        pages.end = pages.start + GHOST_PAGES;
    for (; pages.start < pages.end && !is_recent; pages.start++) {
        const struct evict_ghost *ghost = ghost_find(pool, key_of(object, pages.start));

        is_known |= ghost != NULL;
        is_recent = ghost && pool->clock - ghost->at <= pool_pages(pool);
    }
    seen->n_refaults += is_known;
    seen->n_ghosts += is_recent;
    return is_recent;
}

static void ghost_add(const struct evict_pool *pool, uint64_t key)
{
    struct evict_ghost *ways = ways_of(pool, key);
    struct evict_ghost *oldest = &ways[0];

    for (unsigned i = 0; i < GHOST_WAYS; i++) {
        if (ways[i].tag == tag_of(key) || ways[i].tag == 0) {
            oldest = &ways[i];
            break;
        }
        if (pool->clock - ways[i].at > pool->clock - oldest->at)
            oldest = &ways[i];
    }
    *oldest = (struct evict_ghost){tag_of(key), pool->clock};
}

static void remember(const struct evict *evict, const struct evict_entry *entry)
{
    const struct evict_object *object = evict->owners[entry->owner];
    struct evict_pool *pool = object->pool;
    const uint32_t step = entry->n_pages <= GHOST_PAGES ? 1 : GHOST_PAGES;

    pool->clock += (uint32_t)(bytes_of(evict, entry) >> SMALLEST_SHIFT);
    if (!ghosts_fit(pool))
        return;
    for (uint32_t i = 0; i < entry->n_pages; i += step)
        ghost_add(pool, key_of(object, entry->first + i));
}

/* ---- making and ending ---- */

void evict_init(struct evict *evict)
{
    *evict = (struct evict){.n_never = 1};
}

void evict_done(struct evict *evict)
{
    MUST(evict->n_used == 0 && evict->n_entries == 0);
    for (uint32_t i = 0; i < evict->n_owners; i++)
        MUST(!evict->owners[i]);
    free(evict->owners);
    chunks_free(evict);
    *evict = (struct evict){.n_never = 1};
}

int evict_pool_init(struct evict *evict, struct evict_pool *pool)
{
    *pool = (struct evict_pool){.ghosts = NULL};
    for (unsigned queue = 0; queue < EVICT_QUEUE_N; queue++) {
        pool->heads[queue] = entry_new(evict);
        if (pool->heads[queue] != 0)
            continue;
        while (queue-- > 0)
            entry_free(evict, pool->heads[queue]);
        return -ENOMEM;
    }
    return 0;
}

void evict_pool_done(struct evict *evict, struct evict_pool *pool)
{
    MUST(pool->n_entries == 0 && evict_pool_bytes(pool) == 0);
    for (unsigned queue = 0; queue < EVICT_QUEUE_N; queue++)
        entry_free(evict, pool->heads[queue]);
    free(pool->ghosts);
    *pool = (struct evict_pool){.ghosts = NULL};
}

int evict_object_init(struct evict *evict, struct evict_object *object, struct evict_pool *pool,
                      uint64_t id, uint32_t page_shift)
{
    uint32_t owner = evict->owner_hint;
    struct evict_object **owners;

    while (owner < evict->n_owners && evict->owners[owner])
        owner++;
    if (owner == evict->n_owners) {
        const uint32_t n = owner == 0 ? 16 : 2 * owner;

        owners = realloc(evict->owners, n * sizeof(struct evict_object *));
        if (!owners)
            return -ENOMEM;
        memset(owners + owner, 0, (n - owner) * sizeof(struct evict_object *));
        evict->owners = owners;
        evict->n_owners = n;
    }
    evict->owners[owner] = object;
    evict->owner_hint = owner + 1;
    *object =
        (struct evict_object){.pool = pool, .owner = owner, .id = id, .page_shift = page_shift};
    return 0;
}

void evict_object_done(struct evict *evict, struct evict_object *object)
{
    if (!object->pool)
        return;
    for (uint32_t block = 0; block < object->n_roots; block++) {
        while (object->roots[block] != 0)
            evict_drop(evict, object->roots[block], false);
    }
    evict->n_roots -= object->n_roots;
    free(object->roots);
    evict->owners[object->owner] = NULL;
    if (object->owner < evict->owner_hint)
        evict->owner_hint = object->owner;
    *object = (struct evict_object){.pool = NULL};
}

/* ---- entries ---- */

static int entry_add(struct evict *evict, struct evict_object *object, struct range pages,
                     struct evict_seen *seen)
{
    struct evict_pool *pool = object->pool;
    const uint32_t i = roots_fit(evict, object, pages.start) == 0 ? entry_new(evict) : 0;
    struct evict_entry *entry;

    if (i == 0)
        return -ENOMEM;
    entry = at(evict, i);
    entry->owner = object->owner;
    entry->first = (uint32_t)pages.start;
    entry->n_pages = (uint16_t)range_len(pages);
    entry->in_main = ghosts_know(object, pages, seen);
    *counter_of(evict, entry) += bytes_of(evict, entry);
    append(evict, pool->heads[entry->in_main ? EVICT_MAIN : EVICT_SMALL], i);
    tree_insert(evict, object, i);
    pool->n_entries++;
    evict->n_entries++;
    return 0;
}

int evict_add(struct evict *evict, struct evict_object *object, struct range pages,
              struct evict_seen *ret_seen)
{
    int r = 0;

    *ret_seen = (struct evict_seen){0};
    while (r == 0 && !range_is_empty(pages)) {
        const uint32_t next = find_in(evict, object, pages);
        struct range piece = {pages.start, (pages.start / EVICT_RUN_PAGES + 1) * EVICT_RUN_PAGES};

        if (next != 0 && at(evict, next)->first <= pages.start) {
            pages.start = end_of(evict, next) < pages.end ? end_of(evict, next) : pages.end;
            continue;
        }
        piece = range_intersect(piece, pages);
        if (next != 0 && at(evict, next)->first < piece.end)
            piece.end = at(evict, next)->first;
        r = entry_add(evict, object, piece, ret_seen);
        pages.start = piece.end;
    }
    return r;
}

void evict_drop(struct evict *evict, uint32_t handle, bool is_remembered)
{
    struct evict_entry *entry = at(evict, handle);
    struct evict_object *object = evict->owners[entry->owner];

    if (is_remembered)
        remember(evict, entry);
    unlink_entry(evict, handle);
    tree_remove(evict, object, handle);
    *counter_of(evict, entry) -= bytes_of(evict, entry);
    object->pool->n_entries--;
    evict->n_entries--;
    entry_free(evict, handle);
}

/* Entries do not move in their tree by it: they stay within what they covered. */
static void resize(struct evict *evict, uint32_t i, struct range left)
{
    struct evict_entry *entry = at(evict, i);

    *counter_of(evict, entry) -= bytes_of(evict, entry);
    entry->first = (uint32_t)left.start;
    entry->n_pages = (uint16_t)range_len(left);
    *counter_of(evict, entry) += bytes_of(evict, entry);
}

void evict_keep(struct evict *evict, uint32_t handle, struct range left, bool is_held)
{
    MUST(!range_is_empty(left) && range_contains_range(evict_pages(evict, handle), left));
    resize(evict, handle, left);
    move_to(evict, handle,
            is_held                      ? EVICT_HELD
            : at(evict, handle)->in_main ? EVICT_MAIN
                                         : EVICT_SMALL);
}

bool evict_unhold(struct evict *evict, struct evict_pool *pool)
{
    const uint32_t from = pool->heads[EVICT_HELD], to = pool->heads[EVICT_MAIN];
    const uint32_t first = at(evict, from)->next, last = at(evict, from)->prev;

    if (first == from)
        return false;
    at(evict, from)->next = at(evict, from)->prev = from;
    at(evict, first)->prev = to; /* in front: they have waited longest */
    at(evict, last)->next = at(evict, to)->next;
    at(evict, at(evict, to)->next)->prev = last;
    at(evict, to)->next = first;
    return true;
}

void evict_touch(struct evict *evict, struct evict_object *object, uint64_t page)
{
    const uint32_t i = find_in(evict, object, (struct range){page, page + 1});

    if (i != 0 && at(evict, i)->first == page && at(evict, i)->freq < FREQ_MAX)
        at(evict, i)->freq++;
}

void evict_cool(struct evict *evict, struct evict_object *object, struct range pages)
{
    uint32_t i;

    while ((i = find_in(evict, object, pages)) != 0) {
        pages.start = end_of(evict, i);
        at(evict, i)->freq = 0;
        move_to(evict, i, EVICT_COLD);
    }
}

/* The pages of @range that are worth an entry, from the first to the last. */
static struct range hull(const struct page_table *table, struct range range)
{
    const unsigned bits = PAGE_BITS_VALID | PAGE_BIT(PAGE_FILLING);

    range.start = page_table_find(table, range, bits);
    while (range.end > range.start && !(PAGE_BIT(page_table_get(table, range.end - 1)) & bits))
        range.end--;
    return range;
}

void evict_trim(struct evict *evict, struct evict_object *object, struct range pages,
                const struct page_table *table)
{
    uint32_t i;

    while ((i = find_in(evict, object, pages)) != 0) {
        const struct range left = hull(table, evict_pages(evict, i));

        pages.start = end_of(evict, i);
        if (range_is_empty(left))
            evict_drop(evict, i, false);
        else
            resize(evict, i, left);
    }
}

struct range evict_pages(const struct evict *evict, uint32_t handle)
{
    return (struct range){at(evict, handle)->first, end_of(evict, handle)};
}

struct evict_object *evict_owner(const struct evict *evict, uint32_t handle)
{
    return evict->owners[at(evict, handle)->owner];
}

bool evict_is_main(const struct evict *evict, uint32_t handle)
{
    return at(evict, handle)->in_main != 0;
}

/* ---- the choice ---- */

uint32_t evict_next(struct evict *evict, struct evict_pool *pool, uint64_t small_max_bytes)
{
    for (unsigned n_chances = 0;; n_chances++) {
        const uint32_t small = first_of(evict, pool, EVICT_SMALL);
        const uint32_t main = first_of(evict, pool, EVICT_MAIN);
        const bool from_small = small != 0 && (main == 0 || pool->small_bytes > small_max_bytes);
        const uint32_t i = from_small ? small : main;
        const uint32_t cold = first_of(evict, pool, EVICT_COLD);
        struct evict_entry *entry;

        if (cold != 0 || i == 0) {
            if (cold != 0)
                unlink_entry(evict, cold);
            return cold;
        }
        entry = at(evict, i);
        if (entry->freq <= (from_small ? 1 : 0) || n_chances >= CHANCES_MAX) {
            unlink_entry(evict, i);
            return i;
        }
        entry->freq = from_small ? 0 : entry->freq - 1;
        move_to(evict, i, EVICT_MAIN);
    }
}

/* ---- looking ---- */

uint64_t evict_bytes(const struct evict *evict)
{
    return (uint64_t)evict->n_chunks * CHUNK_ENTRIES * sizeof(struct evict_entry) +
           (uint64_t)evict->n_owners * sizeof(struct evict_object *) +
           evict->n_roots * sizeof(uint32_t);
}

/* Return: entries in the tree; UINT64_MAX: out of order, overlapping, too long, or crossing. */
static uint64_t count_tree(const struct evict *evict, uint32_t root, uint64_t low, uint64_t high)
{
    uint64_t left, right;
    const struct evict_entry *entry;

    if (root == 0)
        return 0;
    entry = at(evict, root);
    if (entry->n_pages == 0 || entry->first < low || end_of(evict, root) > high ||
        entry->first / EVICT_RUN_PAGES != (end_of(evict, root) - 1) / EVICT_RUN_PAGES)
        return UINT64_MAX;
    left = count_tree(evict, entry->left, low, entry->first);
    right = count_tree(evict, entry->right, end_of(evict, root), high);
    return left == UINT64_MAX || right == UINT64_MAX ? UINT64_MAX : left + right + 1;
}

/* As count_tree(), of all the trees of an object. */
static uint64_t count_trees(const struct evict *evict, const struct evict_object *object)
{
    uint64_t n = 0;

    for (uint64_t block = 0; block < object->n_roots; block++) {
        const uint64_t first = block * EVICT_RUN_PAGES;
        const uint64_t in_block =
            count_tree(evict, object->roots[block], first, first + EVICT_RUN_PAGES);

        if (in_block == UINT64_MAX)
            return UINT64_MAX;
        n += in_block;
    }
    return n;
}

const char *evict_validate(const struct evict *evict, const struct evict_pool *pool)
{
    uint64_t bytes[2] = {0}, n_queued = 0, n_in_trees = 0;

    for (unsigned queue = 0; queue < EVICT_QUEUE_N; queue++) {
        const uint32_t head = pool->heads[queue];

        for (uint32_t i = at(evict, head)->next; i != head; i = at(evict, i)->next) {
            const struct evict_entry *entry = at(evict, i);

            if (at(evict, entry->next)->prev != i)
                return "a queue is broken";
            if (evict->owners[entry->owner]->pool != pool)
                return "an entry is in another pool's queue";
            if (entry->in_main != (queue == EVICT_MAIN || queue == EVICT_HELD))
                return "an entry is counted in the wrong queue";
            bytes[entry->in_main] += bytes_of(evict, entry);
            n_queued++;
        }
    }
    for (uint32_t owner = 0; owner < evict->n_owners; owner++) {
        if (evict->owners[owner] && evict->owners[owner]->pool == pool) {
            const uint64_t n = count_trees(evict, evict->owners[owner]);

            if (n == UINT64_MAX)
                return "an object's entries are out of order";
            n_in_trees += n;
        }
    }
    if (bytes[0] != pool->small_bytes || bytes[1] != pool->main_bytes)
        return "the bytes of a pool are wrong";
    return n_queued == pool->n_entries && n_in_trees == pool->n_entries
               ? NULL
               : "a pool's entries are miscounted";
}
