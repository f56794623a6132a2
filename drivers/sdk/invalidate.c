/* SPDX-License-Identifier: BSD-3-Clause */
/* muse_invalidate(): the one thing a driver asks of the server. Waits on the calling thread until
 * the main thread has the answer. */
#include <errno.h>
#include <time.h>

#include "drivers/sdk/sdk.h"

/* Ids of our requests have it, the server's have not. */
#define OWN_ID             (UINT64_C(1) << 63)
#define ANSWER_DEADLINE_NS UINT64_C(30000000000) /* chosen: an mmap_complete ends before */

/* Locked. */
static struct invalidation *find(struct muse_driver *driver, uint64_t id)
{
    struct list *pos;

    list_for_each(pos, &driver->invalidations) {
        struct invalidation *invalidation = LIST_ENTRY(pos, struct invalidation, node);

        if (invalidation->id == id)
            return invalidation;
    }
    return NULL;
}

void invalidations_answer(struct muse_driver *driver, uint64_t id, int error)
{
    struct invalidation *invalidation;

    (void)pthread_mutex_lock(&driver->lock);
    invalidation = find(driver, id);
    if (invalidation) {
        invalidation->done = true;
        invalidation->error = error > 0 ? -error : 0;
        (void)pthread_cond_broadcast(&driver->invalidated);
    }
    (void)pthread_mutex_unlock(&driver->lock);
}

void invalidations_lose(struct muse_driver *driver)
{
    (void)pthread_mutex_lock(&driver->lock);
    (void)pthread_cond_broadcast(&driver->invalidated);
    (void)pthread_mutex_unlock(&driver->lock);
}

static int send_invalidate(struct muse_driver *driver, uint64_t id, uint64_t object_key,
                           uint64_t first_page, uint64_t n_pages)
{
    Muse__Wire__Invalidate invalidate = MUSE__WIRE__INVALIDATE__INIT;

    invalidate.object_key = object_key;
    invalidate.first_page = first_page;
    invalidate.n_pages = n_pages;
    return sdk_send(driver, FRAME_INVALIDATE, id, &invalidate.base, NULL, 0);
}

/* Locked. */
static int wait_for_answer(struct muse_driver *driver, struct invalidation *invalidation)
{
    const uint64_t deadline_ns = sdk_now_ns() + ANSWER_DEADLINE_NS + driver->hook_deadline_ns;
    const struct timespec deadline = {.tv_sec = (time_t)(deadline_ns / 1000000000u),
                                      .tv_nsec = (long)(deadline_ns % 1000000000u)};

    while (!invalidation->done) {
        if (atomic_load(&driver->lost))
            return -ENODEV;
        if (pthread_cond_timedwait(&driver->invalidated, &driver->lock, &deadline) == ETIMEDOUT)
            return invalidation->done ? invalidation->error : -ETIMEDOUT;
    }
    return invalidation->error;
}

int muse_invalidate(struct muse_driver *driver, uint64_t object_key, uint64_t first_page,
                    uint64_t n_pages)
{
    struct invalidation invalidation = {.id = 0};
    uint64_t n_object_pages;
    int r;

    if (pthread_equal(pthread_self(), driver->main_thread) || fault_thread_is_this())
        return -EDEADLK;
    r = objects_size(&driver->objects, object_key, &n_object_pages);
    if (r < 0)
        return r;
    if (first_page >= n_object_pages)
        return 0;
    if (n_pages == 0 || n_pages > n_object_pages - first_page)
        n_pages = n_object_pages - first_page;

    (void)pthread_mutex_lock(&driver->lock);
    invalidation.id = OWN_ID | ++driver->last_invalidation;
    list_init(&invalidation.node);
    list_add_tail(&driver->invalidations, &invalidation.node);
    r = send_invalidate(driver, invalidation.id, object_key, first_page, n_pages);
    if (r == 0)
        r = wait_for_answer(driver, &invalidation);
    list_del(&invalidation.node);
    (void)pthread_mutex_unlock(&driver->lock);
    return r;
}
