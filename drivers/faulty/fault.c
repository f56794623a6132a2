/* SPDX-License-Identifier: BSD-3-Clause */
/* muse-faulty's fault hook: the pattern, or the counters' text, unless the name says otherwise. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/faulty/faulty.h"

static int supply_text(struct muse_fault *fault, const struct faulty_object *object)
{
    char page[MUSE_PAGE_BYTES] = {0};

    memcpy(page, object->text, object->size_bytes);
    return muse_fault_supply(fault, 0, page, 1);
}

static int supply(struct muse_fault *fault, uint64_t first_page, uint64_t n_pages)
{
    const uint64_t small_pages = fault->page_bytes / MUSE_PAGE_BYTES;
    void *bytes = malloc(n_pages * fault->page_bytes);
    int r;

    if (!bytes)
        return -ENOMEM;
    faulty_pattern(bytes, first_page * small_pages, n_pages * small_pages);
    r = muse_fault_supply(fault, first_page, bytes, n_pages);
    free(bytes);
    return r;
}

static int supply_singly(struct muse_fault *fault, uint64_t n_pages)
{
    int r = 0;

    while (r == 0 && n_pages-- > 0)
        r = supply(fault, fault->first_page + n_pages, 1);
    return r;
}

/* One page of the run fails, the others do not. */
static int supply_around(struct muse_fault *fault, uint64_t page, int error)
{
    const uint64_t before = page - fault->first_page;
    const uint64_t after = fault->n_pages - before - 1;
    int r = 0;

    muse_set_error("page %llu fails as asked for", (unsigned long long)page);
    r = muse_fault_fail(fault, page, 1, error);
    if (r == 0 && before > 0)
        r = supply(fault, fault->first_page, before);
    if (r == 0 && after > 0)
        r = supply(fault, page + 1, after);
    return r;
}

static int obey(struct muse_fault *fault, const struct faulty_object *object)
{
    const struct behaviour *behaviour = &object->behaviour;
    const bool has_bad_page = behaviour->has_page && behaviour->page >= fault->first_page &&
                              behaviour->page - fault->first_page < fault->n_pages;
    const uint64_t n_pages = behaviour->fault_partial ? fault->n_needed : fault->n_pages;

    if (object->text)
        return supply_text(fault, object);
    if (behaviour->fault_errno && has_bad_page)
        return supply_around(fault, behaviour->page, -(int)behaviour->fault_errno);
    if (behaviour->fault_errno && !behaviour->has_page) {
        muse_set_error("fault fails as asked for");
        return -(int)behaviour->fault_errno;
    }
    if (behaviour->fault_nothing || n_pages == 0)
        return 0;
    return behaviour->fault_single ? supply_singly(fault, n_pages)
                                   : supply(fault, fault->first_page, n_pages);
}

static void obey_later(struct muse_fault *fault)
{
    muse_fault_done(fault, obey(fault, fault->object));
}

int faulty_fault(struct muse_fault *fault)
{
    const struct faulty_object *object = fault->object;
    const struct behaviour *behaviour = &object->behaviour;
    struct faulty *faulty = fault->user;

    if (!object->text) {
        (void)atomic_fetch_add(&faulty->n.fault, 1);
        (void)atomic_fetch_add(&faulty->n.fault_pages, fault->n_pages);
    }
    faulty_maybe_die(behaviour, "fault");
    lie_in_fault(faulty, behaviour, fault);
    faulty_sleep(behaviour->fault_sleep_ms);
    if (behaviour->fault_never || behaviour->fault_delay_ms) {
        delay_fault(&faulty->delays,
                    behaviour->fault_never ? UINT64_MAX : behaviour->fault_delay_ms, fault,
                    obey_later);
        return MUSE_FAULT_PENDING;
    }
    return obey(fault, object);
}
