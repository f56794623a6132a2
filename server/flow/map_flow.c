/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The life of one map request, top to bottom. The order is the kernel's mmap_region() with the
 * hooks of the two-phase contract; the table in server/map/map_txn.c decides, this file and its two
 * neighbours do.
 *
 *    1 request_map()    decode, check the arguments as mmap(2) does, make the request
 *    2 mm_lock()        the space's write lock: one map call at a time, FIFO
 *    3 on_granted()     choose the address, hold it, allocate all that undo will need
 *    4 may_split        for the edges of what MAP_FIXED is to replace
 *    5 mmap_prepare     the driver, before any VMA exists                             map_hooks.c
 *    6 map_install()    tell the client to mmap the object's memfd                    map_install.c
 *    7 map_establish()  register the range, VMA into the tree and the object's list   map_install.c
 *    8 map_run_todos()  the declared action: REMAP, PREFAULT                          map_install.c
 *    9 mmap_complete    the driver, with the finished VMA                             map_hooks.c
 *   10 map_commit()     an address that was named: the client moves the new one over  map_install.c
 *                       what stands there in one call; or opens it, where nothing does
 *   11 map_merge()      with the neighbours; unlock; MAP_POPULATE fills what it can;  map_install.c
 *                       reply
 *
 * Something fails after 5 and before 9: mmap_abort. At 9 or later: close. That holds whatever
 * happens to client and driver.
 */
#include "server/flow/map_flow.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/base/log.h"
#include "proto/client.pb-c.h"
#include "proto/limits.h"
#include "server/config/config.h"
#include "server/flow/anon_flow.h"
#include "server/flow/fault_flow.h"
#include "server/flow/flow_log.h"
#include "server/flow/loss_flow.h"
#include "server/flow/object_flow.h"
#include "server/flow/requests.h"
#include "server/flow/session_flow.h"
#include "server/flow/stack_flow.h"
#include "server/flow/unmap_flow.h"

void map_set_error(struct map_request *request, int error, const char *hook, const char *text)
{
    request->error = error;
    request->hook = hook;
    (void)snprintf(request->text, sizeof(request->text), "%s", text ? text : "");
}

const char *map_request_state(const struct map_request *request)
{
    return map_state_name(request->txn.state);
}

/* Extents that prepare declared are as good as the mapping. */
static void drop_extents(struct map_request *request)
{
    struct object *object = request->extents_of;

    request->extents_of = NULL;
    if (!object)
        return;
    object_unset_extents(object);
    object_unref(object);
}

static void map_request_free(struct map_request *request)
{
    struct space *space = request->mm.space;

    MUST(!request->vma);
    mm_unlock(&request->mm);
    map_drop_todos(request);
    drop_extents(request);
    split_check_cancel(&request->split);
    stack_abandon(request);
    list_del(&request->of_driver);
    for (unsigned i = 0; i < 2; i++) {
        if (request->spares[i])
            vma_uncharge(space);
        request->spares[i] = vma_free(request->spares[i]);
    }
    file_unref(request->vm_file);
    file_unref(request->file);
    driver_unref(request->driver);
    charge_drop(&space->engine->quotas, space->uid, QUOTA_REQUESTS, 1);
    free(request);
    space_unref(space);
}

/* ---- the reply, and MAP_POPULATE before it ---- */

struct populate {
    struct fill_wait wait;
    struct space *space; /* ref */
    uint64_t id;
    uint64_t vma_id;
    uint64_t addr;
    struct range addrs;
};

static void reply_mapped(struct space *space, uint64_t id, uint64_t addr)
{
    const struct vma *vma = vma_tree_find(&space->aspace.vmas, addr);
    Muse__Wire__Mapped message = MUSE__WIRE__MAPPED__INIT;

    message.addr = addr;
    message.has_lock = message.lock = vma && (vma->flags & VMF_LOCKED);
    space_reply(space, id, FRAME_MAPPED, &message.base);
}

static void populate_show(struct populate *populate)
{
    struct space *space = populate->space;
    struct vma *vma = vma_tree_find(&space->aspace.vmas, populate->addr);

    if (vma && vma->kind == VMA_MAPPED && !vma->graduated && !space->dead)
        fault_flow_show(space, vma, populate->addrs);
}

/* As in the kernel, what cannot be populated is not an error of mmap. */
static void on_populated(struct fill_wait *wait, int error, uint64_t failed_page)
{
    struct populate *populate = CONTAINER_OF(wait, struct populate, wait);

    (void)error;
    (void)failed_page;
    populate_show(populate);
    reply_mapped(populate->space, populate->id, populate->addr);
    charge_drop(&populate->space->engine->quotas, populate->space->uid, QUOTA_REQUESTS, 1);
    space_unref(populate->space);
    free(populate);
}

/* The object pages that @addrs of @vma show, up to the object's end; empty when all is beyond. */
static struct range object_pages_of(const struct vma *vma, struct range addrs)
{
    const struct object *object = vma_object(vma);
    const unsigned down = object->page_shift - VMA_PAGE_SHIFT;
    struct range pages = {vma_pgoff_at(vma, addrs.start) >> down,
                          (vma_pgoff_at(vma, addrs.end - 1) >> down) + 1};

    if (pages.end > object_n_pages(object))
        pages.end = object_n_pages(object);
    if (pages.start > pages.end)
        pages.start = pages.end;
    return pages;
}

static void populate_then_reply(struct space *space, uint64_t id, const struct vma *vma,
                                struct range addrs)
{
    const struct range pages = object_pages_of(vma, addrs);
    struct populate *populate = NULL;
    int r;

    if (!range_is_empty(pages) &&
        charge_take(&space->engine->quotas, space->uid, QUOTA_REQUESTS, 1) == 0) {
        populate = calloc(1, sizeof(*populate));
        if (!populate)
            charge_drop(&space->engine->quotas, space->uid, QUOTA_REQUESTS, 1);
    }
    if (!populate) {
        reply_mapped(space, id, addrs.start);
        return;
    }
    populate->space = space_ref(space);
    populate->id = id;
    populate->addr = addrs.start;
    populate->addrs = addrs;
    populate->wait.done = on_populated;
    populate->wait.what = "populate";
    populate->wait.space = space;
    r = fill_wait_start(vma_object(vma), pages, &populate->wait);
    if (r != 0)
        on_populated(&populate->wait, r, 0);
}

static void reply_ok(struct map_request *request, struct space *space)
{
    const struct vma *vma = vma_tree_find(&space->aspace.vmas, request->target.start);

    space->stats.maps++;
    space->engine->stats.maps++;
    if ((request->plan.populate || (vma && (vma->flags & VMF_LOCKED))) && vma && !vma->direct)
        populate_then_reply(space, request->mm.id, vma, request->target);
    else
        reply_mapped(space, request->mm.id, request->target.start);
}

static void reply_err(struct map_request *request)
{
    const struct flow_where where = {request->mm.space, request->driver,
                                     request->file->object->name, request->hook};
    char text[ERROR_TEXT_BYTES_MAX];

    drop_extents(request);
    request->mm.space->engine->stats.map_failures++;
    flow_error("map.failed", &where, request->error, request->text);
    space_fail(request->mm.space, request->mm.id, request->error,
               flow_sentence(&where, request->text, text, sizeof(text)));
}

/* ---- effects ---- */

static bool has_prepare(const struct map_request *request)
{
    return request->driver->file_hooks & FILE_HOOK_MMAP_PREPARE;
}

static void ask_split(struct map_request *request)
{
    if (split_check_start(&request->split) > 0) /* their drivers are dying: nobody is left to ask */
        map_event(request, has_prepare(request) ? MAP_EV_SPLIT_OK : MAP_EV_SPLIT_OK_NO_HOOK);
}

static void do_effect(struct map_request *request, enum map_effect effect)
{
    switch (effect) {
    case MAP_DO_ASK_SPLIT:
        return ask_split(request);
    case MAP_DO_ASK_PREPARE:
        return map_ask_prepare(request);
    case MAP_DO_INSTALL:
        return map_install(request);
    case MAP_DO_ESTABLISH:
        return map_establish(request);
    case MAP_DO_ASK_COMPLETE:
        return map_ask_complete(request);
    case MAP_DO_RUN_VERBS:
        return map_run_todos(request);
    case MAP_DO_COMMIT:
        return map_commit(request);
    case MAP_DO_REPLACE:
        return map_replace(request);
    case MAP_DO_MERGE:
        return map_merge(request);
    case MAP_DO_ABORT:
        return map_send_abort(request);
    case MAP_DO_REMOVE:
        return map_remove(request);
    case MAP_DO_CLOSE:
        return map_send_close(request);
    case MAP_DO_UNINSTALL:
        return map_uninstall(request);
    case MAP_DO_RELEASE:
        return map_release(request);
    case MAP_DO_UNLOCK:
        return mm_unlock(&request->mm);
    case MAP_DO_REPLY_OK:
        return reply_ok(request, request->mm.space);
    case MAP_DO_REPLY_ERR:
        return reply_err(request);
    case MAP_DO_END:
    case MAP_EFFECT_N:
        return;
    }
}

void map_event(struct map_request *request, enum map_event event)
{
    if (request->dispatching) { /* an effect failed at once, or was done at once */
        MUST(request->next_event < 0);
        request->next_event = (int)event;
        return;
    }
    request->dispatching = true;
    for (;;) {
        const enum map_state old = request->txn.state;
        const uint32_t effects = map_txn_step(&request->txn, event);

        if (log_is_enabled(LOG_LEVEL_DEBUG)) {
            log_write(LOG_LEVEL_DEBUG, "map.step",
                      "client=%" PRIu64 " request=%" PRIu64 " %s + %s -> %s effects=%#x",
                      request->mm.space->id, request->mm.id, map_state_name(old),
                      map_event_name(event), map_state_name(request->txn.state), effects);
        }
        for (unsigned i = 0; i < MAP_EFFECT_N; i++)
            if (effects & (1u << i))
                do_effect(request, (enum map_effect)i);
        if (effects & (1u << MAP_DO_END)) {
            MUST(request->next_event < 0);
            map_request_free(request);
            return;
        }
        if (request->next_event < 0)
            break;
        event = (enum map_event)request->next_event;
        request->next_event = -1;
    }
    request->dispatching = false;
}

/* ---- the lock is ours: choose, hold, reserve ---- */

/*
 * Whether it is made elsewhere, and moved: over live mappings, and outside the arena, where memory of
 * the client's own may be, which a failure has to leave as it is. What is to be executable must be so
 * from the start (PR_SET_MDWE), and so cannot be opened in the end.
 */
static bool has_to_move(const struct map_request *request)
{
    const struct aspace *aspace = &request->mm.space->aspace;

    return vma_tree_overlaps(&aspace->vmas, request->target) ||
           aspace_is_outside(aspace, request->target) ||
           (request->named && (request->args.prot & PROT_EXEC) != 0);
}

/* Room for what is moved to @target: not there, where perhaps nothing stands. Return: 0; -ENOMEM. */
static int find_scratch(const struct aspace *aspace, struct range target, uint64_t align,
                        struct range *ret_place)
{
    const struct range sides[] = {
        range_intersect(aspace->arena, range_make(target.end, UINT64_MAX)),
        range_intersect(aspace->arena, range_make(0, target.start)),
    };

    for (unsigned i = 0; i < 2; i++) {
        if (vma_tree_gap_topdown(&aspace->vmas, sides[i], range_len(target), align,
                                 &ret_place->start) != 0)
            continue;
        ret_place->end = ret_place->start + range_len(target);
        return 0;
    }
    return -ENOMEM;
}

static int choose_address(struct map_request *request, const char **ret_why)
{
    struct aspace *aspace = &request->mm.space->aspace;
    const uint64_t align = request->file->map_align;
    int flags = 0;
    int r;

    if (request->plan.fixed)
        flags = request->plan.noreplace ? MAP_FIXED_NOREPLACE : MAP_FIXED;
    /* that a fixed address is not aligned is the driver's to refuse, but for its pages */
    r = aspace_choose(aspace, request->args.addr, request->plan.length,
                      request->plan.fixed ? request->args.page_bytes : align, flags,
                      &request->target);
    *ret_why = r == ASPACE_E_BUSY ? "an earlier mapping there has not been confirmed gone"
                                  : "no such address range is free";
    if (r == ASPACE_E_BUSY)
        return -EAGAIN;
    if (r == 0)
        r = aspace_check_map(aspace);
    if (r < 0)
        return r;
    *ret_why = "over the client's limit of data (RLIMIT_DATA)";
    r = map_check_data(&request->args, &request->plan,
                       aspace_mapped_bytes(aspace, request->target));
    if (r < 0)
        return r;
    *ret_why = "no such address range is free";
    request->place = request->target;
    request->named = request->plan.fixed;
    request->replace = has_to_move(request);
    if (!request->replace)
        return 0;
    return find_scratch(aspace, request->target, align, &request->place);
}

/* All that can fail for want of memory happens here, before any driver hears of the request. */
static int reserve(struct map_request *request, const char **ret_why)
{
    struct space *space = request->mm.space;
    struct vma *vma;
    int r;

    r = choose_address(request, ret_why);
    if (r < 0)
        return r;
    *ret_why = "out of memory or over the limit of mappings";
    r = vma_charge(space);
    if (r < 0)
        return r;
    r = vma_new(engine_id(space->engine), &vma);
    if (r == 0 && aspace_hold(&space->aspace, request->place, vma) != 0) {
        vma_free(vma);
        r = -ENOMEM;
    }
    if (r < 0) {
        vma_uncharge(space);
        return r;
    }
    request->vma = vma;
    for (unsigned i = 0; i < 2 && request->replace; i++) {
        r = vma_charge(space);
        if (r < 0)
            return r;
        r = vma_new(engine_id(space->engine), &request->spares[i]);
        if (r < 0) {
            vma_uncharge(space);
            return r;
        }
    }
    return 0;
}

static void go_on_locked(struct map_request *request)
{
    struct space *space = request->mm.space;
    const char *why;
    int r =
        request->driver->alive ? reserve(request, &why) : driver_gone_error(request->driver, &why);

    if (r < 0) {
        map_set_error(request, r, "-", why);
        map_event(request, MAP_EV_REFUSED);
        return;
    }
    if (request->replace &&
        split_check_edges(&request->split, &space->aspace.vmas, request->target) > 0)
        map_event(request, MAP_EV_LOCKED_SPLIT);
    else
        map_event(request, has_prepare(request) ? MAP_EV_LOCKED : MAP_EV_LOCKED_NO_HOOK);
}

/* kernel-v1: the old mapping is destroyed before prepare runs; a refusal leaves a hole. */
static void on_v1_cleared(void *ctx, int error)
{
    struct map_request *request = ctx;

    if (request->mm.space->dead) {
        map_event(request, MAP_EV_CLIENT_GONE);
        return;
    }
    if (error < 0) {
        map_set_error(request, error, "-", "the old mapping could not be unmapped");
        map_event(request, MAP_EV_REFUSED);
        return;
    }
    go_on_locked(request);
}

static void on_granted(struct mm_request *mm)
{
    struct map_request *request = CONTAINER_OF(mm, struct map_request, mm);
    struct space *space = mm->space;
    struct range range;

    if (space->engine->kernel_v1 && request->plan.fixed && !request->plan.noreplace &&
        range_from_len(request->args.addr, request->plan.length, &range) == 0 &&
        range_is_aligned(range, VMA_PAGE_BYTES) && vma_tree_overlaps(&space->aspace.vmas, range) &&
        unmap_locked(space, mm->id, range, false, on_v1_cleared, request) == 0)
        return;
    go_on_locked(request);
}

static void on_split_checked(struct split_check *check, int error)
{
    struct map_request *request = CONTAINER_OF(check, struct map_request, split);

    if (error < 0) {
        map_set_error(request, error, "may_split", request->mm.space->refusal);
        map_event(request, error == -ETIMEDOUT ? MAP_EV_DEADLINE : MAP_EV_SPLIT_ERR);
    } else {
        map_event(request, has_prepare(request) ? MAP_EV_SPLIT_OK : MAP_EV_SPLIT_OK_NO_HOOK);
    }
}

static void on_client_gone(struct mm_request *mm)
{
    struct map_request *request = CONTAINER_OF(mm, struct map_request, mm);

    split_check_cancel(&request->split);
    fill_wait_cancel(&request->wait);
    deadline_clear(&mm->space->engine->loop, &request->act_deadline);
    map_event(request, MAP_EV_CLIENT_GONE);
}

void map_flow_driver_gone(struct driver *driver)
{
    struct list left = LIST_INIT(left);
    struct list *node;
    const char *why;
    const int error = driver_gone_error(driver, &why);

    /* one that ends lets others run, which may end, too, and leave whichever list they are on */
    list_move_all(&left, &driver->requests);
    while ((node = list_take_first(&left))) {
        struct map_request *request = CONTAINER_OF(node, struct map_request, of_driver);

        list_add_tail(&driver->requests, node);
        request->counted = false; /* the driver's counters end with it */
        /* who waits for an answer of it has heard by the call; queued ones find out when locked */
        if (request->call.link || request->txn.state == MAP_QUEUED ||
            request->txn.state == MAP_SPLITTING)
            continue;
        map_set_error(request, error, "-", why);
        fill_wait_cancel(&request->wait);
        deadline_clear(&driver->engine->loop, &request->act_deadline);
        map_event(request, MAP_EV_DRIVER_GONE);
    }
}

/* ---- the request ---- */

static void start(struct space *space, uint64_t id, struct file *file, const struct map_args *args,
                  const struct map_plan *plan)
{
    struct map_request *request = NULL;

    if (charge_take(&space->engine->quotas, space->uid, QUOTA_REQUESTS, 1) != 0) {
        space_fail(space, id, -EAGAIN, "too many requests in flight");
        return;
    }
    request = calloc(1, sizeof(*request));
    if (!request) {
        charge_drop(&space->engine->quotas, space->uid, QUOTA_REQUESTS, 1);
        space_fail(space, id, -ENOMEM, "out of memory");
        return;
    }
    request->mm = (struct mm_request){.space = space_ref(space),
                                      .id = id,
                                      .what = "map",
                                      .since_ns = loop_now_ns(),
                                      .granted = on_granted,
                                      .client_gone = on_client_gone};
    list_init(&request->mm.queued);
    map_txn_init(&request->txn, file->driver->file_hooks & FILE_HOOK_MMAP);
    request->driver = driver_ref(file->driver);
    request->file = file_ref(file);
    request->vm_file = file_ref(file);
    request->args = *args;
    request->plan = *plan;
    request->next_event = -1;
    request->hook = "-";
    request->split.done = on_split_checked;
    list_add_tail(&file->driver->requests, &request->of_driver);
    mm_lock(&request->mm);
}

/* For all we know now; who gets the lock first may change that, and then choosing refuses. */
static bool is_taken(const struct space *space, const Muse__Wire__Map *message)
{
    struct range range;

    return range_from_len(message->addr, message->length, &range) == 0 &&
           range_align_out(range, VMA_PAGE_BYTES, &range) == 0 &&
           vma_tree_overlaps(&space->aspace.vmas, range);
}

int request_map(struct space *space, struct frame *frame)
{
    Muse__Wire__Map *message = muse__wire__map__unpack(NULL, frame->n_payload, frame->payload);
    const char *why = "no such open file";
    struct map_plan plan;
    struct map_args args;
    struct file *file;
    int r = -EBADF;

    if (!message)
        return -EPROTO;
    if (message->flags & MAP_ANONYMOUS) {
        anon_map(space, frame->header.id, message);
        muse__wire__map__free_unpacked(message, NULL);
        return 0;
    }
    file = idmap_get(&space->files, message->file_id);
    if (file) {
        const uint32_t access = file->oflags & O_ACCMODE;

        args =
            (struct map_args){.addr = message->addr,
                              .length = message->length,
                              .prot = message->prot,
                              .flags = message->flags,
                              .offset = message->offset,
                              .readable = access != O_WRONLY,
                              .writable = access != O_RDONLY,
                              .noexec = file->noexec,
                              .map_sync = file->map_sync,
                              .data_room = message->has_data_room ? message->data_room : UINT64_MAX,
                              .page_bytes = object_page_bytes(file->object),
                              .is_taken = is_taken(space, message)};
        r = map_check_args(&args, &plan, &why);
    }
    muse__wire__map__free_unpacked(message, NULL);
    if (r < 0) {
        const struct flow_where where = {space, file ? file->driver : NULL,
                                         file ? file->object->name : NULL, "-"};

        flow_error("map.refused", &where, r, why);
        space_fail(space, frame->header.id, r, why);
        return 0;
    }
    start(space, frame->header.id, file, &args, &plan);
    return 0;
}
