/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From written back to clean.
 *
 *   settle_new()     the pages are protected: a hash of each is taken, then the driver is asked
 *   settle_begin()   WRITEBACK -> SETTLING: not evicted yet; a write makes them DIRTY as ever
 *   end()            the hash is the same: CLEAN      another: DIRTY, stored without a fault
 *
 * It ends after SETTLE_NS; after HURRY_NS when there is no room; at once when nobody has the object
 * any more, and when its driver or the server goes. A sync compares before it says that all is
 * written. Only what holds a page for longer than that is not seen.
 *
 * Hashes of pages that are written back again are forgotten: the newer ones count. Bytes are read
 * with pread(2) into a buffer, because a client may truncate a file that is not sealed.
 *
 * Owns settling runs (each holds a ref of its object), in the order in which they began.
 */
#include "server/flow/settle.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "common/base/own.h"
#include "server/flow/evict_flow.h"
#include "server/flow/writeback.h"

#define SETTLE_NS   1000000000ull /* chosen: a read with O_DIRECT of a disk that is busy */
#define HURRY_NS    20000000ull   /* chosen: a system call that has to wait for a few faults */
#define TURN_BYTES  (4u << 20)    /* chosen: hashed in about 600 µs */
#define TURN_RUNS   64u           /* chosen: of single pages, as long */
/* Chosen: read and hashed at once, it stays in a processor's cache. */
#define PIECE_BYTES (128u << 10)
#define FORGOTTEN   0u /* no hash: it is not compared */

struct settling {
    struct list node;      /* in engine.settling */
    struct rb_node rb;     /* in object.wb.settling, by pages.start */
    struct object *object; /* ref once it has begun, else borrowed */
    struct range pages;    /* in one block */
    uint64_t n_left;       /* that are not FORGOTTEN */
    uint64_t since_ns;     /* when it began */
    uint64_t hashes[];     /* of each page; FORGOTTEN */
};

static struct settling *settling_of(struct list *node)
{
    return CONTAINER_OF(node, struct settling, node);
}

static uint64_t hash_of(const uint8_t *bytes, uint64_t n_bytes)
{
    const uint64_t hash = XXH3_64bits(bytes, n_bytes);

    return hash == FORGOTTEN ? 1 : hash;
}

/* Return: whether all of it could be read: the file may have been truncated by somebody. */
static bool read_pages(const struct object *object, struct range pages, uint8_t *buffer)
{
    const uint64_t n_bytes = range_len(pages) << object->page_shift;
    uint64_t n = 0;

    while (n < n_bytes) {
        const ssize_t got = pread(object->backing.fd, buffer + n, n_bytes - n,
                                  (off_t)((pages.start << object->page_shift) + n));

        if (got <= 0)
            return false;
        n += (uint64_t)got;
    }
    return true;
}

/* What is read and hashed at once: the first part of @pages. */
static struct range piece_of(const struct object *object, struct range pages)
{
    const uint64_t n_pages =
        object->page_shift == VMA_PAGE_SHIFT ? PIECE_BYTES >> VMA_PAGE_SHIFT : 1;

    return range_intersect(pages, (struct range){pages.start, pages.start + n_pages});
}

static void hash_piece(struct settling *settling, struct range piece, uint8_t *buffer)
{
    const struct object *object = settling->object;
    uint64_t *hashes = &settling->hashes[piece.start - settling->pages.start];

    if (!read_pages(object, piece, buffer))
        memset(buffer, 0, range_len(piece) << object->page_shift);
    for (uint64_t i = 0; i < range_len(piece); i++)
        hashes[i] = hash_of(buffer + (i << object->page_shift), 1ull << object->page_shift);
}

struct settling *settle_new(struct object *object, struct range pages)
{
    const uint64_t n_pages = range_len(pages);
    struct settling *settling = calloc(1, sizeof(*settling) + n_pages * sizeof(uint64_t));
    uint8_t *buffer = store_buffer_get(&object->engine->store);

    MUST(n_pages << object->page_shift <= STORE_BUFFER_BYTES);
    if (!settling || !buffer) {
        free(settling);
        store_buffer_put(&object->engine->store, buffer);
        return NULL;
    }
    list_init(&settling->node);
    settling->object = object;
    settling->pages = pages;
    settling->n_left = n_pages;
    while (!range_is_empty(pages)) {
        const struct range piece = piece_of(object, pages);

        hash_piece(settling, piece, buffer);
        pages.start = piece.end;
    }
    store_buffer_put(&object->engine->store, buffer);
    return settling;
}

void settle_free(struct settling *settling)
{
    free(settling);
}

/* ---- by page ---- */

static struct settling *settling_at(struct rb_node *rb)
{
    return rb ? CONTAINER_OF(rb, struct settling, rb) : NULL;
}

static struct settling *next_of(const struct settling *settling)
{
    return settling_at(rb_next(&settling->rb));
}

/* The first one that may have @page or what follows it: none is longer than a block. */
static struct settling *find_from(const struct object *object, uint64_t page)
{
    const uint64_t block_pages = STORE_BUFFER_BYTES >> object->page_shift;
    const uint64_t start = page / block_pages * block_pages;
    struct rb_node *rb = object->wb.settling.node;
    struct rb_node *found = NULL;

    while (rb) {
        const bool is_behind = settling_at(rb)->pages.start >= start;

        if (is_behind)
            found = rb;
        rb = is_behind ? rb->left : rb->right;
    }
    return settling_at(found);
}

static void enter(struct settling *settling)
{
    struct rb_root *root = &settling->object->wb.settling;
    struct rb_node **link = &root->node;
    struct rb_node *parent = NULL;

    while (*link) {
        parent = *link;
        link = settling->pages.start < settling_at(parent)->pages.start ? &parent->left
                                                                        : &parent->right;
    }
    rb_insert(root, parent, link, &settling->rb);
}

/* ---- comparing ---- */

/* Whether it counts what this page holds: no newer one has it, and nobody has written to it. */
static bool is_its_page(const struct settling *settling, uint64_t page)
{
    return settling->hashes[page - settling->pages.start] != FORGOTTEN &&
           page_table_get(&settling->object->pages, page) == PAGE_SETTLING;
}

/* The first of @pages that it counts for, as many as follow each other in one piece. Empty: none. */
static struct range next_own(const struct settling *settling, struct range pages)
{
    struct range own;

    while (!range_is_empty(pages) && !is_its_page(settling, pages.start))
        pages.start++;
    own = piece_of(settling->object, pages);
    for (uint64_t page = own.start; page < own.end; page++) {
        if (!is_its_page(settling, page))
            own.end = page;
    }
    return own;
}

/* @buffer: NULL: what is there cannot be known */
static void compare_piece(const struct settling *settling, struct range piece, uint8_t *buffer)
{
    struct object *object = settling->object;
    const uint64_t *hashes = &settling->hashes[piece.start - settling->pages.start];
    const bool is_known = buffer && read_pages(object, piece, buffer);

    for (uint64_t i = 0; i < range_len(piece); i++) {
        if (is_known &&
            hash_of(buffer + (i << object->page_shift), 1ull << object->page_shift) == hashes[i])
            continue;
        object->engine->stats.pages_stored_late++;
        object_dirty(object, (struct range){piece.start + i, piece.start + i + 1});
    }
}

/* Pages of it that are in @within, and differ from what was written back, are dirty. So are all that
 * cannot be compared for want of memory: writing them twice loses nothing. Pages that were written to since are
 * not even read. */
static void compare(struct settling *settling, struct range within)
{
    struct object *object = settling->object;
    struct range pages = range_intersect(settling->pages, within);
    struct range own;
    uint8_t *buffer;

    pages = range_intersect(pages, page_table_range(&object->pages));
    own = next_own(settling, pages);
    if (range_is_empty(own))
        return;
    buffer = store_buffer_get(&object->engine->store);
    for (; !range_is_empty(own); own = next_own(settling, pages)) {
        compare_piece(settling, own, buffer);
        pages.start = own.end;
    }
    store_buffer_put(&object->engine->store, buffer);
}

/* Those of its pages that a newer one does not have are clean. */
static void clean(struct settling *settling)
{
    struct object *object = settling->object;
    const struct range table = page_table_range(&object->pages);

    for (uint64_t page = settling->pages.start; page < settling->pages.end; page++) {
        if (range_contains(table, page) && is_its_page(settling, page))
            (void)page_table_move(&object->pages, page, PAGE_SETTLING, PAGE_CLEAN);
    }
}

/* The reference of its object is the caller's then. */
static void drop(struct settling *settling)
{
    list_del(&settling->node);
    rb_erase(&settling->object->wb.settling, &settling->rb);
    settling->object->wb.n_settling--;
    free(settling);
}

static void end(struct settling *settling)
{
    struct object *object = settling->object;
    struct engine *engine = object->engine;
    const uint64_t n_late = engine->stats.pages_stored_late;

    compare(settling, settling->pages);
    clean(settling);
    drop(settling);
    if (engine->stats.pages_stored_late != n_late)
        writeback_soon(object); /* whoever stored it may have gone */
    evict_flow_changed(engine);
    object_unref(object);
}

/* Pages that were written back once more: the older hashes do not count, and who has no other is over.
 * The caller has a reference of the object. */
static void forget(struct object *object, struct range pages)
{
    struct settling *settling = find_from(object, pages.start);

    while (settling && settling->pages.start < pages.end) {
        const struct range part = range_intersect(settling->pages, pages);
        struct settling *older = settling;

        settling = next_of(settling);
        for (uint64_t page = part.start; page < part.end; page++) {
            uint64_t *hash = &older->hashes[page - older->pages.start];

            older->n_left -= *hash != FORGOTTEN;
            *hash = FORGOTTEN;
        }
        if (older->n_left > 0)
            continue;
        drop(older);
        object_unref(object);
    }
}

/* ---- when it ends ---- */

static void on_settler(struct deadline *deadline);

static uint64_t rest_ns(const struct engine *engine)
{
    return loop_now_ns() < engine->settle_hurry_until_ns ? HURRY_NS : SETTLE_NS;
}

static void watch_first(struct engine *engine)
{
    struct list *first = list_first(&engine->settling);

    deadline_clear(&engine->loop, &engine->settler);
    engine->settler.fn = on_settler;
    if (first)
        deadline_set(&engine->loop, &engine->settler,
                     settling_of(first)->since_ns + rest_ns(engine));
}

static void on_settler(struct deadline *deadline)
{
    struct engine *engine = CONTAINER_OF(deadline, struct engine, settler);
    const uint64_t now_ns = loop_now_ns();
    const uint64_t rest = rest_ns(engine);
    uint64_t n_bytes = 0;
    struct list *first;

    for (unsigned i = 0; i < TURN_RUNS && (first = list_first(&engine->settling)); i++) {
        struct settling *settling = settling_of(first);

        if (n_bytes > TURN_BYTES || settling->since_ns + rest > now_ns)
            break;
        n_bytes += range_len(settling->pages) << settling->object->page_shift;
        end(settling);
    }
    watch_first(engine);
}

void settle_hurry(struct engine *engine)
{
    const uint64_t now_ns = loop_now_ns();
    const bool is_new = engine->settle_hurry_until_ns < now_ns;

    engine->settle_hurry_until_ns = now_ns + SETTLE_NS;
    if (is_new)
        watch_first(engine);
}

void settle_begin(struct settling *settling)
{
    struct object *object = object_ref(settling->object);
    struct engine *engine = object->engine;

    forget(object, settling->pages);
    (void)page_table_move_range(&object->pages, settling->pages, PAGE_BIT(PAGE_WRITEBACK),
                                PAGE_SETTLING);
    settling->since_ns = loop_now_ns();
    list_add_tail(&engine->settling, &settling->node);
    enter(settling);
    object->wb.n_settling++;
    if (!engine->settler.is_set)
        watch_first(engine);
}

void settle_check(struct object *object, struct range pages)
{
    for (struct settling *settling = find_from(object, pages.start);
         settling && settling->pages.start < pages.end; settling = next_of(settling))
        compare(settling, pages);
}

void settle_over(struct object *object)
{
    struct rb_node *first;

    object_ref(object);
    while ((first = rb_first(&object->wb.settling)))
        end(settling_at(first));
    watch_first(object->engine);
    object_unref(object);
}

void settle_driver_going(struct driver *driver)
{
    struct object *object;
    size_t cursor = 0;

    while ((object = idmap_next(&driver->objects, &cursor)))
        settle_over(object);
}

uint64_t settle_n_refs(const struct object *object)
{
    return object->wb.n_settling;
}
