/* SPDX-License-Identifier: BSD-3-Clause */
/* Who holds the lock, and who waits for it. Owns the waiters. */
#include "drivers/pseudolock/lock.h"

#include <errno.h>
#include <stdlib.h>

#include "common/base/own.h"

struct waiter {
    struct list node;
    struct muse_request *request; /* owned until it is answered */
    struct muse_vma_desc *desc;   /* the SDK's, valid until then */
};

void lock_init(struct lock *lock, int (*prepare)(struct muse_vma_desc *desc))
{
    list_init(&lock->waiting);
    atomic_init(&lock->owner, 0);
    atomic_init(&lock->n_waiting, 0);
    lock->prepare = prepare;
}

static struct waiter *take_first(struct lock *lock)
{
    struct list *node = list_take_first(&lock->waiting);

    if (!node)
        return NULL;
    (void)atomic_fetch_sub(&lock->n_waiting, 1);
    return CONTAINER_OF(node, struct waiter, node);
}

static void answer(struct waiter *waiter, int error)
{
    muse_reply(waiter->request, error);
    free(waiter);
}

void lock_done(struct lock *lock)
{
    struct waiter *waiter;

    while ((waiter = take_first(lock)))
        answer(waiter, -ESHUTDOWN);
}

static int prepare_held(struct lock *lock, struct muse_vma_desc *desc)
{
    int r;

    atomic_store(&lock->owner, desc->pid);
    r = lock->prepare(desc);
    if (r < 0)
        atomic_store(&lock->owner, 0);
    return r;
}

static int wait_for_turn(struct lock *lock, struct muse_vma_desc *desc)
{
    struct waiter *waiter = calloc(1, sizeof(*waiter));

    if (!waiter)
        return -ENOMEM;
    waiter->desc = desc;
    waiter->request = muse_request_defer();
    list_add_tail(&lock->waiting, &waiter->node);
    (void)atomic_fetch_add(&lock->n_waiting, 1);
    return 0;
}

int lock_prepare(struct lock *lock, struct muse_vma_desc *desc)
{
    return atomic_load(&lock->owner) ? wait_for_turn(lock, desc) : prepare_held(lock, desc);
}

/* Those that are refused do not keep it. */
void lock_release(struct lock *lock)
{
    struct waiter *waiter;

    atomic_store(&lock->owner, 0);
    while (atomic_load(&lock->owner) == 0 && (waiter = take_first(lock)))
        answer(waiter, prepare_held(lock, waiter->desc));
}
