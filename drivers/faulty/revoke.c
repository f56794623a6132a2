/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * invalidate=KEY: muse_invalidate() when a test asks for it, by opening a file of that name. It may
 * not be called from a hook, and waits for hooks that the delay thread answers; so each has a
 * thread of its own. The open is answered when the pages are gone.
 */
#include <errno.h>
#include <stdlib.h>

#include "common/base/own.h"
#include "drivers/faulty/faulty.h"

struct revoke {
    struct list node; /* in faulty.revokes */
    struct faulty *faulty;
    struct muse_request *open; /* deferred */
    uint64_t object_key, first_page, n_pages;
    pthread_t thread;
};

static void *revoke_main(void *argument)
{
    const struct revoke *revoke = argument;
    struct faulty *faulty = revoke->faulty;
    const int r =
        muse_invalidate(faulty->driver, revoke->object_key, revoke->first_page, revoke->n_pages);

    if (r == 0)
        (void)atomic_fetch_add(&faulty->n.invalidated, 1);
    else
        muse_set_error("muse_invalidate failed");
    muse_reply(revoke->open, r);
    return NULL;
}

int revoke_start(struct faulty *faulty, const struct behaviour *behaviour)
{
    CLEAN(free_p) struct revoke *revoke = calloc(1, sizeof(*revoke));
    int r;

    if (!revoke)
        return -ENOMEM;
    revoke->faulty = faulty;
    revoke->object_key = behaviour->invalidate;
    revoke->first_page = behaviour->has_page ? behaviour->page : 0;
    revoke->n_pages = behaviour->has_page; /* one; 0: all */
    list_init(&revoke->node);
    revoke->open = muse_request_defer();
    r = -pthread_create(&revoke->thread, NULL, revoke_main, revoke);
    if (r < 0) {
        muse_reply(revoke->open, r);
        return 0;
    }
    list_add_tail(&faulty->revokes, &TAKE(revoke)->node);
    return 0;
}

void revokes_done(struct faulty *faulty)
{
    struct list *node;

    while ((node = list_take_first(&faulty->revokes)) != NULL) {
        struct revoke *revoke = LIST_ENTRY(node, struct revoke, node);

        (void)pthread_join(revoke->thread, NULL);
        free(revoke);
    }
}
