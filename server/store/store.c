/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The store itself and its buffers: anonymous memory, pre-faulted, reused, through which bytes
 * travel on their way into memfds. Owns free buffers; handed-out ones belong to whoever got them.
 * Called by the cache's flow. Page-state tables are in states.c, objects' memfds in backing.c.
 */
#include "server/store/store.h"

#include <string.h>
#include <sys/mman.h>

#include "common/base/linux_abi.h"
#include "common/base/own.h"
#include "server/store/large.h"
#include "server/store/states.h"

int store_init(struct store *store)
{
    int r;

    *store = (struct store){.states_fd = -1, .cache_mount = -1};
    list_init(&store->free_buffers);
    guard_init(&store->guard);
    r = states_init(store);
    if (r == 0)
        large_init(store);
    return r;
}

static void buffer_unmap(void *buffer)
{
    MUST(munmap(buffer, STORE_BUFFER_BYTES) == 0);
}

void store_done(struct store *store)
{
    struct list *node;

    MUST(store->n_buffers == store->n_free_buffers);
    while ((node = list_take_first(&store->free_buffers)))
        buffer_unmap(node);
    store->n_buffers = 0;
    store->n_free_buffers = 0;
    guard_done(&store->guard);
    large_done(store);
    states_done(store);
}

/* Aligned to its size, so that one huge page can hold it: fewer TLB misses, one fault, not 512. */
static void *buffer_map(void)
{
    const size_t len = 2 * (size_t)STORE_BUFFER_BYTES;
    uint8_t *area = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    size_t before;

    if (area == MAP_FAILED)
        return NULL;
    before = (size_t)(-(uintptr_t)area & (STORE_BUFFER_BYTES - 1));
    if (before > 0)
        MUST(munmap(area, before) == 0);
    if (before < STORE_BUFFER_BYTES)
        MUST(munmap(area + before + STORE_BUFFER_BYTES, STORE_BUFFER_BYTES - before) == 0);
    return area + before;
}

void *store_buffer_get(struct store *store)
{
    struct list *node = list_take_first(&store->free_buffers);
    void *buffer;

    if (node) {
        store->n_free_buffers--;
        return node;
    }
    buffer = buffer_map();
    if (!buffer)
        return NULL;
    (void)madvise(buffer, STORE_BUFFER_BYTES,
                  MADV_HUGEPAGE); /* advice only; the kernel may have none */
    if (madvise(buffer, STORE_BUFFER_BYTES, MADV_POPULATE_WRITE) < 0) {
        buffer_unmap(buffer);
        return NULL;
    }
    store->n_buffers++;
    return buffer;
}

void store_buffer_put(struct store *store, void *buffer)
{
    struct list *node = buffer; /* a free buffer holds its own list node */

    if (!buffer)
        return;
    if (store->n_free_buffers >= STORE_BUFFERS_KEPT) {
        buffer_unmap(buffer);
        store->n_buffers--;
        return;
    }
    list_init(node);
    list_add(&store->free_buffers, node); /* first: its bytes are still in the CPU's cache */
    store->n_free_buffers++;
}
