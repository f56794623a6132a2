/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A write to a clean page, step by step:
 *
 *   1  the fault says WRITE: the page is mapped write-protected, or not mapped at all
 *   2  page_mkwrite, where the VMA's operations have it and the page is clean:
 *      the driver is asked; others who write to the page wait for the same answer
 *        refused   SIGBUS for this client: its page is taken away and poisoned, and after HEAL_NS
 *                  healed, so that it can be read again, and a later write asks again
 *   3  the page, and more of them where the mapping is written to in order, becomes dirty
 *   4  then the client may write: un-protect, or show without protection
 *
 * 3 comes before 4, so whoever is killed at any moment has written to dirty pages only: the server
 * has the bytes and knows that they are to be written back.
 *
 * Owns page_mkwrite calls (struct mkwrite: malloc'ed, charged to the space's uid as a request, in
 * object.wb.mkwrites). Called by the fault flow. What becomes of dirty pages: writeback.c.
 */
#include "server/flow/write_flow.h"

#include <errno.h>
#include <stdlib.h>

#include "common/base/own.h"
#include "server/fault/writeahead.h"
#include "server/flow/driver_hooks.h"
#include "server/flow/fill.h"
#include "server/flow/fill_flow.h"
#include "server/flow/flow_log.h"
#include "server/flow/waits.h"
#include "server/flow/writeback.h"

/* Chosen: how long the page that page_mkwrite refused is poison: far longer than a woken thread needs
 * to meet it, short for somebody who goes on reading. */
#define HEAL_NS 200000000ull

enum mkwrite_stage {
    MKWRITE_ASKED,  /* the driver has been asked */
    MKWRITE_POISON, /* it refused; the page is poison for this client until the deadline */
};

struct mkwrite {
    struct driver_call call;
    struct list node;     /* in object.wb.mkwrites */
    struct list of_space; /* in space.mkwrites */
    enum mkwrite_stage stage;
    struct deadline heal;
    struct space *space;   /* ref; dead: nobody waits any more */
    struct object *object; /* ref */
    struct driver *driver; /* ref */
    uint64_t vma_id;
    uint64_t addr;
    uint64_t page;
};

void vma_set_tracking(struct vma *vma)
{
    const uint32_t written = VMF_SHARED | VMF_MAYWRITE;

    vma->tracks_writes = vma->object && !vma->direct && (vma->flags & written) == written &&
                         object_takes_pages_back(vma_object(vma));
}

static void mkwrite_free(struct mkwrite *mkwrite)
{
    struct engine *engine = mkwrite->object->engine;

    list_del(&mkwrite->node);
    list_del(&mkwrite->of_space);
    deadline_clear(&engine->loop, &mkwrite->heal);
    charge_drop(&engine->quotas, mkwrite->space->uid, QUOTA_REQUESTS, 1);
    space_unref(mkwrite->space);
    object_unref(mkwrite->object);
    driver_unref(mkwrite->driver);
    free(mkwrite);
}

/* ---- the page becomes writable ---- */

static struct range addrs_of(const struct write_fault *fault, struct range pages)
{
    return range_align_in(vma_addrs_of(fault->vma, fault->object, pages),
                          object_page_bytes(fault->object));
}

/* The pages that become writable now: a stretch of valid ones from the one that is written to on. */
static struct range write_window(const struct write_fault *fault)
{
    const struct page_table *pages = &fault->object->pages;
    const uint64_t wanted =
        fault->vma->has_mkwrite ? 1 : writeahead_touch(&fault->vma->writes, fault->page);
    struct range window = {fault->page, fault->page + wanted};
    struct range shown;

    window = range_intersect(window, page_table_range(pages));
    shown =
        readahead_limits_of(fault->vma, fault->object->page_shift, object_n_pages(fault->object))
            .pages;
    window = range_intersect(window, shown);
    return page_table_run_around(pages, fault->page, window, PAGE_BITS_VALID);
}

static void make_writable(const struct write_fault *fault, struct range around)
{
    struct uffd_port *uffd = &fault->space->uffd;
    const uint64_t page_bytes = object_page_bytes(fault->object);
    const struct range window = write_window(fault);
    const struct range addrs = addrs_of(fault, window);
    struct range parts[2];
    unsigned n_parts;

    object_dirty(fault->object, window);
    if (fault->is_protected) {
        uffd_port_unprotect(uffd, addrs);
        return;
    }
    uffd_port_show(uffd, addrs, page_bytes);
    around = page_table_run_around(&fault->object->pages, fault->page, around, PAGE_BITS_VALID);
    n_parts = range_subtract(around, window, parts);
    for (unsigned i = 0; i < n_parts; i++)
        uffd_port_show_protected(uffd, addrs_of(fault, parts[i]), page_bytes);
}

/* ---- page_mkwrite ---- */

static struct mkwrite *find(const struct object *object, const struct space *space, uint64_t addr)
{
    struct list *pos;

    list_for_each(pos, &object->wb.mkwrites) {
        struct mkwrite *mkwrite = CONTAINER_OF(pos, struct mkwrite, node);

        if (mkwrite->space == space && mkwrite->addr == addr)
            return mkwrite;
    }
    return NULL;
}

/* The mapping as it is now; false: it has gone, or shows something else there. */
static bool look_again(const struct mkwrite *mkwrite, struct write_fault *ret_fault)
{
    struct space *space = mkwrite->space;
    struct vma *vma;

    if (space->dead || !space->uffd_open)
        return false;
    vma = vma_tree_find(&space->aspace.vmas, mkwrite->addr);
    if (!vma || vma->id != mkwrite->vma_id || vma->kind != VMA_MAPPED || vma->write_locked ||
        vma->object != mkwrite->object || !vma->tracks_writes ||
        vma_page_at(vma, mkwrite->object, mkwrite->addr) != mkwrite->page)
        return false;
    *ret_fault = (struct write_fault){.space = space,
                                      .vma = vma,
                                      .object = mkwrite->object,
                                      .addr = mkwrite->addr,
                                      .page = mkwrite->page,
                                      .is_protected = true};
    return true;
}

static struct range page_addrs(const struct mkwrite *mkwrite)
{
    return range_make(mkwrite->addr, mkwrite->addr + object_page_bytes(mkwrite->object));
}

static void wake(const struct mkwrite *mkwrite)
{
    if (!mkwrite->space->dead && mkwrite->space->uffd_open)
        uffd_port_wake(&mkwrite->space->uffd, page_addrs(mkwrite));
}

static void on_heal(struct deadline *deadline)
{
    struct mkwrite *mkwrite = CONTAINER_OF(deadline, struct mkwrite, heal);
    struct object *object = mkwrite->object;
    const struct range page = {mkwrite->page, mkwrite->page + 1};
    struct write_fault fault;

    if (!page_state_is_valid(page_table_get(&object->pages, mkwrite->page))) {
        /* the record makes its coming replace the poison, wherever it is mapped */
        (void)!fill_ask(object, page, 0);
    } else {
        poison_drop(&object->poison, page);
        if (look_again(mkwrite, &fault))
            uffd_port_show_protected(&mkwrite->space->uffd, page_addrs(mkwrite),
                                     object_page_bytes(object));
    }
    wake(mkwrite);
    mkwrite_free(mkwrite);
}

/* The clean page goes out of all page tables, and the writer finds poison. */
static void refuse(struct mkwrite *mkwrite, int error, const char *text)
{
    struct object *object = mkwrite->object;
    const struct flow_where where = {mkwrite->space, mkwrite->driver, object->name, "page_mkwrite"};

    flow_error("write.refused", &where, error, text);
    if (page_state_is_clean(page_table_get(&object->pages, mkwrite->page)))
        fill_invalidate(object, (struct range){mkwrite->page, mkwrite->page + 1});
    poison_add(&object->poison, (struct range){mkwrite->page, mkwrite->page + 1}, -error,
               "page_mkwrite", text);
    mkwrite->stage = MKWRITE_POISON;
    mkwrite->space->stats.poisoned++;
    object->engine->stats.faults_poisoned++;
    uffd_port_poison(&mkwrite->space->uffd, page_addrs(mkwrite), object_page_bytes(object));
    mkwrite->heal.fn = on_heal;
    deadline_set(&object->engine->loop, &mkwrite->heal, loop_now_ns() + HEAL_NS);
}

static void on_mkwrite_end(struct driver_call *call, enum call_end end, struct frame *frame)
{
    struct mkwrite *mkwrite = CONTAINER_OF(call, struct mkwrite, call);
    char text[POISON_TEXT_BYTES] = "the driver refused the write";
    struct write_fault fault;
    int error = -EIO;

    if (end == CALL_ANSWERED)
        error = hook_completed(mkwrite->driver, call, NULL, frame, text, sizeof(text));
    else if (end == CALL_DEADLINE)
        error = -ETIMEDOUT;
    hook_ended(mkwrite->driver, call, error);
    if (!look_again(mkwrite, &fault) ||
        !page_state_is_valid(page_table_get(&mkwrite->object->pages, mkwrite->page))) {
        wake(mkwrite); /* things have changed: it is looked at afresh */
    } else if (error == 0 || end == CALL_LOST || mkwrite->object->lost) {
        /* a dead driver has nothing against it, and could not give the page again; sync will say
         * that nothing is kept */
        make_writable(&fault, (struct range){fault.page, fault.page + 1});
    } else {
        refuse(mkwrite, error, text);
        return;
    }
    mkwrite_free(mkwrite);
}

static void ask(const struct write_fault *fault)
{
    struct engine *engine = fault->object->engine;
    struct mkwrite *mkwrite = NULL;

    if (charge_take(&engine->quotas, fault->space->uid, QUOTA_REQUESTS, 1) == 0) {
        mkwrite = calloc(1, sizeof(*mkwrite));
        if (!mkwrite)
            charge_drop(&engine->quotas, fault->space->uid, QUOTA_REQUESTS, 1);
    }
    if (!mkwrite) { /* it comes back, at the price of a busy thread */
        uffd_port_wake(&fault->space->uffd,
                       addrs_of(fault, (struct range){fault->page, fault->page + 1}));
        return;
    }
    mkwrite->space = space_ref(fault->space);
    mkwrite->object = object_ref(fault->object);
    mkwrite->driver = driver_ref(fault->object->driver);
    mkwrite->vma_id = fault->vma->id;
    mkwrite->addr = fault->addr;
    mkwrite->page = fault->page;
    mkwrite->call.end = on_mkwrite_end;
    list_add_tail(&fault->object->wb.mkwrites, &mkwrite->node);
    list_add_tail(&fault->space->mkwrites, &mkwrite->of_space);
    engine->stats.mkwrites++;
    if (hook_page_mkwrite(mkwrite->driver, &mkwrite->call, fault->vma, fault->page) < 0) {
        make_writable(fault, (struct range){fault->page, fault->page + 1}); /* it is dying */
        mkwrite_free(mkwrite);
    }
}

void write_flow_fault(const struct write_fault *fault, struct range around)
{
    const enum page_state state = page_table_get(&fault->object->pages, fault->page);

    fault->object->engine->stats.faults_write++;
    if (!fault->vma->has_mkwrite || !page_state_is_clean(state) || fault->object->lost) {
        make_writable(fault, around);
        return;
    }
    if (find(fault->object, fault->space, fault->addr)) {
        fault->object->engine->stats.faults_repeated++;
        return;
    }
    if (fault->is_protected) {
        ask(fault);
        return;
    }
    /* it has to be there before it can be made writable, and readable while the driver thinks */
    uffd_port_show_protected(&fault->space->uffd,
                             addrs_of(fault, (struct range){fault->page, fault->page + 1}),
                             object_page_bytes(fault->object));
}

bool wait_of_mkwrite(const struct list *of_space, struct wait_view *ret_view)
{
    const struct mkwrite *mkwrite = CONTAINER_OF_CONST(of_space, struct mkwrite, of_space);
    const bool is_asked = mkwrite->stage == MKWRITE_ASKED;

    *ret_view = (struct wait_view){.what = "fault",
                                   .stage = is_asked ? "page_mkwrite" : "refused",
                                   .space = mkwrite->space,
                                   .address = mkwrite->addr,
                                   .write = true,
                                   .object = mkwrite->object,
                                   .pages = {mkwrite->page, mkwrite->page + 1},
                                   .whom = WAITS_FOR_DRIVER,
                                   .driver = mkwrite->driver,
                                   .hook = "page_mkwrite",
                                   .args = mkwrite->call.args,
                                   .since_ns = mkwrite->call.sent_ns,
                                   .stage_since_ns = mkwrite->call.sent_ns,
                                   .deadline_ns = is_asked ? mkwrite->call.deadline.at_ns
                                                           : mkwrite->heal.at_ns};
    return is_asked;
}

/* What was asked of a driver ends by itself, and finds the space dead; nobody needs healed pages. */
void write_flow_space_gone(struct space *space)
{
    struct list *pos, *tmp;

    list_for_each_safe(pos, tmp, &space->mkwrites) {
        struct mkwrite *mkwrite = CONTAINER_OF(pos, struct mkwrite, of_space);

        if (mkwrite->stage == MKWRITE_POISON)
            mkwrite_free(mkwrite);
    }
}
