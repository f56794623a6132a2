/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What clients are told about pages: shown when they became valid, poisoned when they failed; and
 * which mappings are "graduated": while every page of one is valid it is registered so that the
 * kernel serves its faults alone.
 *
 * Called by the fill path. Owns nothing; frees the waiters it has served. A waiter is looked up
 * again by its address, because its mapping may have been cut, merged, locked or replaced while it
 * waited; then it is looked at afresh.
 *
 * One UFFDIO_CONTINUE for each (space, mapping) concerned shows all that came at once, but for the
 * marker page.
 */
#include <errno.h>

#include "common/base/own.h"
#include "server/flow/evict_flow.h"
#include "server/flow/fault_flow.h"
#include "server/flow/fill.h"
#include "server/vm/vma_parts.h"

#define RECENT 8u /* chosen: mappings whose shows a batch remembers; more only cost a call each */

/* Chosen: 16,384 pages, 2 ms; others want to be served, too. The rest is shown with its touches. */
#define SHOW_MAX_BYTES (64ull << 20)

struct shown {
    const struct vma *vma;
    struct range pages;
};

struct show {
    struct object *object;
    struct range pages; /* what came */
    struct shown recent[RECENT];
    unsigned n_shown;
};

struct range vma_addrs_of(const struct vma *vma, const struct object *object, struct range pages)
{
    const unsigned shift = object->page_shift - VMA_PAGE_SHIFT;
    struct range addrs;

    if (!vma_find_pages(vma, (struct range){pages.start << shift, pages.end << shift}, &addrs))
        return (struct range){vma->start, vma->start};
    return addrs;
}

static void show_pages(struct space *space, const struct vma *vma, const struct object *object,
                       struct range pages)
{
    const struct range addrs =
        range_align_in(vma_addrs_of(vma, object, pages), object_page_bytes(object));

    if (range_is_empty(addrs))
        return;
    if (vma->tracks_writes)
        uffd_port_show_protected(&space->uffd, addrs, object_page_bytes(object));
    else
        uffd_port_show(&space->uffd, addrs, object_page_bytes(object));
}

static bool was_shown(const struct show *show, const struct vma *vma, uint64_t page)
{
    const unsigned n = show->n_shown < RECENT ? show->n_shown : RECENT;

    for (unsigned i = 0; i < n; i++) {
        if (show->recent[i].vma == vma && range_contains(show->recent[i].pages, page))
            return true;
    }
    return false;
}

/* Shows what came around @page in one mapping, once. */
static void show_around(struct show *show, struct space *space, struct vma *vma, uint64_t page)
{
    const struct range pages = readahead_clip(&vma->stream, show->pages, page);

    if (was_shown(show, vma, page))
        return;
    show->recent[show->n_shown++ % RECENT] = (struct shown){vma, pages};
    show_pages(space, vma, show->object, pages);
    readahead_shown(&vma->stream, pages);
}

/* The live mapping of @object at @addr with page @page there; NULL: things have changed. */
static struct vma *find_live(struct space *space, const struct object *object, uint64_t addr,
                             uint64_t page)
{
    struct vma *vma = vma_tree_find(&space->aspace.vmas, addr);

    if (!vma || vma->kind != VMA_MAPPED || vma->write_locked || vma->direct ||
        vma->object != object || vma_page_at(vma, object, addr) != page)
        return NULL;
    return vma;
}

static void show_waiter(struct show *show, struct page_waiter *waiter)
{
    struct space *space = waiter->space;
    const uint64_t addr = waiter->addr, page = waiter->page;
    const bool write = waiter->write;
    struct vma *vma = find_live(space, show->object, addr, page);

    fault_waiter_free(waiter);
    if (vma && !(write && vma->tracks_writes))
        show_around(show, space, vma, page);
    else
        fault_again(space, addr, write);
}

/* The stream that asked for these pages ahead: they are mapped before they are touched. */
static void show_reader(struct show *show, const struct run_reader *reader)
{
    struct space *space = idmap_get(&show->object->engine->spaces, reader->space_id);
    uint64_t page = show->pages.start;
    struct vma *vma;

    if (!space || space->dead || !space->uffd_open)
        return;
    vma = vma_tree_find(&space->aspace.vmas, reader->addr);
    if (!vma || vma->id != reader->vma_id || vma->kind != VMA_MAPPED || vma->write_locked ||
        vma->graduated || vma->object != show->object)
        return;
    if (vma->stream.has_marker && vma->stream.marker == page)
        page++;
    if (page < show->pages.end)
        show_around(show, space, vma, page);
    if (vma->stream.has_marker && vma->stream.marker > page &&
        vma->stream.marker + 1 < show->pages.end)
        show_around(show, space, vma, vma->stream.marker + 1);
}

void fault_show_part(struct object *object, struct range pages, struct list *batch,
                     const struct run_reader *reader)
{
    struct show show = {.object = object, .pages = pages};
    struct list *node;

    while ((node = list_take_first(batch))) {
        struct page_waiter *waiter = CONTAINER_OF(node, struct page_waiter, batch);

        if (waiter->kind == WAITER_CALL)
            waiter->done(waiter, 0);
        else
            show_waiter(&show, waiter);
    }
    if (reader->space_id != 0)
        show_reader(&show, reader);
}

/* Each mapping of the object that could be shown something now. */
static bool is_live(const struct vma *vma)
{
    const struct space *space = vma_space(vma);

    return vma->in_tree && vma->kind == VMA_MAPPED && !vma->write_locked && !vma->direct &&
           space->uffd_open && !space->dead;
}

void fault_show_healed(struct object *object, uint64_t page)
{
    struct list *pos, *tmp;

    list_for_each_safe(pos, tmp, &object->mappings) {
        const struct vma *vma = vma_from_object_link(pos);

        if (is_live(vma))
            show_pages(vma_space(vma), vma, object, (struct range){page, page + 1});
    }
}

static void poison_waiter(struct object *object, struct page_waiter *waiter)
{
    struct space *space = waiter->space;
    const struct range addrs = {waiter->addr, waiter->addr + object_page_bytes(object)};
    const uint64_t page = waiter->page;
    const bool write = waiter->write;

    fault_waiter_free(waiter);
    if (!find_live(space, object, addrs.start, page)) {
        fault_again(space, addrs.start, write);
        return;
    }
    space->stats.poisoned++;
    object->engine->stats.faults_poisoned++;
    uffd_port_poison(&space->uffd, addrs, object_page_bytes(object));
}

void fault_poison_waiters(struct object *object, struct list *batch, int error)
{
    struct list *node;

    while ((node = list_take_first(batch))) {
        struct page_waiter *waiter = CONTAINER_OF(node, struct page_waiter, batch);

        if (waiter->kind == WAITER_CALL)
            waiter->done(waiter, error);
        else
            poison_waiter(object, waiter);
    }
}

/* ---- graduation ---- */

void fault_show_complete(struct object *object)
{
    struct list *pos;

    if (evict_was_recent(object))
        return;
    list_for_each(pos, &object->mappings) {
        struct vma *vma = vma_from_object_link(pos);
        struct space *space = vma_space(vma);

        if (!is_live(vma) || vma->graduated || vma->tracks_writes || vma_shows_fd(vma))
            continue;
        if (uffd_port_register(&space->uffd, vma_range(vma), UFFD_NATIVE) < 0)
            continue; /* gone, or short of memory: it stays watched */
        vma->graduated = true;
        object->engine->stats.graduations++;
    }
}

bool fault_show_track(struct object *object, struct range pages)
{
    bool is_watched = true;
    struct list *pos;

    list_for_each(pos, &object->mappings) {
        struct vma *vma = vma_from_object_link(pos);
        struct space *space = vma_space(vma);

        if (!vma->graduated || !space->uffd_open ||
            range_is_empty(vma_addrs_of(vma, object, pages)))
            continue;
        /* Other failures: the mapping or the process is gone, and nobody sees anything there. */
        if (uffd_port_register(&space->uffd, vma_range(vma), UFFD_TRACKED) == -ENOMEM)
            is_watched = false;
        else
            vma->graduated = false;
    }
    return is_watched;
}

/* A part mapped from a driver's own fd cannot be registered: such a mapping keeps what it has. */
static bool may_graduate(const struct vma *vma)
{
    struct object *object = vma_object(vma);
    const struct readahead_limits limits =
        readahead_limits_of(vma, object->page_shift, object_n_pages(object));

    return !vma_shows_fd(vma) && !vma->tracks_writes && !evict_was_recent(object) &&
           !range_is_empty(limits.pages) && page_table_is_valid(&object->pages, limits.pages);
}

bool fault_flow_will_graduate(const struct vma *vma)
{
    return may_graduate(vma);
}

int fault_flow_register_part(struct space *space, const struct vma *vma, struct range part)
{
    return uffd_port_register(&space->uffd, part, vma->tracks_writes ? UFFD_WRITES : UFFD_TRACKED);
}

static int register_as(struct space *space, struct vma *vma, bool is_native)
{
    int r = is_native ? uffd_port_register(&space->uffd, vma_range(vma), UFFD_NATIVE)
                      : fault_flow_register_part(space, vma, vma_range(vma));

    if (r < 0)
        return r;
    if (is_native && !vma->graduated)
        vma_object(vma)->engine->stats.graduations++;
    vma->graduated = is_native;
    return 0;
}

/* Mappings side by side that are registered alike take one call. */
struct batch {
    struct range range; /* empty: none yet */
    enum uffd_mode mode;
};

static int batch_flush(struct space *space, struct batch *batch)
{
    const struct range range = batch->range;

    batch->range = range_make(0, 0);
    return range_is_empty(range) ? 0 : uffd_port_register(&space->uffd, range, batch->mode);
}

static int batch_add(struct space *space, struct batch *batch, struct range range,
                     enum uffd_mode mode)
{
    int r;

    if (!range_is_empty(batch->range) && batch->mode == mode && batch->range.end == range.start) {
        batch->range.end = range.end;
        return 0;
    }
    r = batch_flush(space, batch);
    *batch = (struct batch){range, mode};
    return r;
}

/* All of @vma but for parts that show a driver's own fd. */
static int batch_add_vma(struct space *space, struct batch *batch, struct vma *vma)
{
    const enum uffd_mode mode = may_graduate(vma)    ? UFFD_NATIVE
                                : vma->tracks_writes ? UFFD_WRITES
                                                     : UFFD_TRACKED;
    struct range served = vma_parts_served(vma, vma->start);
    int r = 0;

    vma->graduated = mode == UFFD_NATIVE;
    if (vma->graduated)
        vma_object(vma)->engine->stats.graduations++;
    while (r == 0 && !range_is_empty(served)) {
        r = batch_add(space, batch, served, mode);
        served = vma_parts_served(vma, served.end);
    }
    return r;
}

int fault_flow_register_all(struct space *space)
{
    struct batch batch = {0};
    struct vma *vma;
    int r = 0;

    vma_for_each(vma, &space->aspace.vmas) {
        if (r == 0 && vma->kind == VMA_MAPPED && vma->object && !vma->direct)
            r = batch_add_vma(space, &batch, vma);
    }
    return r < 0 ? r : batch_flush(space, &batch);
}

int fault_flow_register(struct space *space, struct vma *vma, bool watched)
{
    return register_as(space, vma, !watched && may_graduate(vma));
}

int fault_flow_watch(struct space *space, struct vma *vma)
{
    return vma->direct || !vma->graduated ? 0 : register_as(space, vma, false);
}

void fault_flow_settle(struct space *space, struct vma *vma, bool merged)
{
    const bool is_native = !vma->direct && may_graduate(vma);

    if (vma->direct || !space->uffd_open || (is_native == vma->graduated && !(merged && is_native)))
        return;
    (void)!register_as(space, vma, is_native); /* gone, or short of memory: it stays watched */
}

void fault_flow_show(struct space *space, struct vma *vma, struct range range)
{
    struct object *object = vma_object(vma);
    struct range pages;

    if (vma->direct || range_is_empty(range))
        return;
    if (range_len(range) > SHOW_MAX_BYTES)
        range.end = range.start + SHOW_MAX_BYTES;
    pages = readahead_limits_of(vma, object->page_shift, object_n_pages(object)).pages;
    pages = range_intersect(pages, (struct range){vma_page_at(vma, object, range.start),
                                                  vma_page_at(vma, object, range.end - 1) + 1});
    while (!range_is_empty(pages)) {
        const struct range run = page_table_find_run(&object->pages, pages, PAGE_BITS_VALID);

        if (!range_is_empty(run))
            show_pages(space, vma, object, run);
        pages.start = run.end;
    }
}
