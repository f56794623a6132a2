/* SPDX-License-Identifier: BSD-3-Clause */
/* The queue behind a space's mmap write lock. */
#include "server/flow/mm_lock.h"

static void grant_next(struct space *space)
{
    struct list *node;

    if (space->granting)
        return; /* a request ended inside its granted(): the loop below goes on */
    space->granting = true;
    while (!space->writer && (node = list_take_first(&space->mm_queue))) {
        space->writer = CONTAINER_OF(node, struct mm_request, queued);
        if (space->dead)
            space->writer->client_gone(space->writer);
        else
            space->writer->granted(space->writer);
    }
    space->granting = false;
}

void mm_lock(struct mm_request *request)
{
    list_add_tail(&request->space->mm_queue, &request->queued);
    grant_next(request->space);
}

void mm_unlock(struct mm_request *request)
{
    struct space *space = request->space;

    list_del(&request->queued);
    if (space->writer != request)
        return;
    space->writer = NULL;
    grant_next(space);
}
