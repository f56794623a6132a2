/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The client's and the tree's side of a map request: the install, registration, actions, the move
 * over an old mapping, the merge, and every way back. Undo cannot fail: what it needs was reserved
 * before the driver was asked.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/base/log.h"
#include "common/ipc/fd.h"
#include "proto/client.pb-c.h"
#include "server/config/config.h"
#include "server/flow/fault_flow.h"
#include "server/flow/fill.h"
#include "server/flow/flow_log.h"
#include "server/flow/map_flow.h"
#include "server/flow/name_flow.h"
#include "server/flow/object_flow.h"
#include "server/flow/resize_flow.h"
#include "server/flow/session_flow.h"
#include "server/flow/unmap_flow.h"
#include "server/flow/write_flow.h"
#include "server/vm/vma_parts.h"

/* ---- direct mappings ---- */

/* Where the driver's addresses are for the client now: the scratch place, until the move. */
static struct range in_place(const struct map_request *request, struct range range)
{
    const uint64_t start = request->place.start + (range.start - request->target.start);

    return range_make(start, start + range_len(range));
}

static bool is_whole(const struct map_request *request, const struct map_todo *todo)
{
    return range_equal(todo->range, request->target);
}

static bool is_all_direct(const struct map_request *request)
{
    return request->n_todos == 1 && request->todos[0].kind == TODO_REMAP &&
           is_whole(request, &request->todos[0]);
}

static struct mem_op remap_op(const struct map_request *request, const struct map_todo *todo)
{
    return (struct mem_op){.kind = MUSE__WIRE__MEM_OPS__KIND__MMAP_FILE,
                           .range = in_place(request, todo->range),
                           .prot = vma_prot(request->vma),
                           .flags = (request->vma->flags & VMF_MAYSHARE) ? MAP_SHARED : MAP_PRIVATE,
                           .offset = todo->fd_offset,
                           .direct = true,
                           .fd = todo->fd};
}

/* ---- install ---- */

static void fill_in_vma(struct map_request *request)
{
    struct vma *vma = request->vma;

    if (!(request->driver->file_hooks & FILE_HOOK_MMAP_PREPARE)) {
        vma->flags = request->plan.vm_flags;
        vma->prot_narrow = PROT_READ | PROT_WRITE | PROT_EXEC;
    }
    vma->pgoff = request->plan.pgoff;
    vma->file = request->vm_file;
    vma->object = request->vm_file->object;
    vma->owner = request->mm.space;
    vma->outside_arena = aspace_is_outside(&request->mm.space->aspace, request->place);
}

static void on_installed(void *ctx, enum client_end end, int error)
{
    struct map_request *request = ctx;

    switch (end) {
    case CLIENT_LOST:
        return; /* loss_client_gone() tells the request */
    case CLIENT_DEADLINE:
        map_set_error(request, -ETIMEDOUT, "-", "the client did not confirm its mmap in time");
        map_event(request, MAP_EV_DEADLINE);
        return;
    case CLIENT_ANSWERED:
        if (error == 0) {
            map_event(request, MAP_EV_INSTALLED);
        } else {
            map_set_error(request, error, "-", "the client could not map");
            map_event(request, MAP_EV_INSTALL_ERR);
        }
        return;
    }
}

/*
 * Only who may write maps shared: a shared mapping of a read-only fd cannot be registered (EPERM),
 * a private one can. What the client asked for as private its kernel accounts, unless it said
 * MAP_NORESERVE; huge pages would be reserved by that, and are not.
 */
static uint32_t install_flags(const struct map_request *request)
{
    const uint32_t flags = request->vma->flags;
    const bool unaccounted = (flags & (VMF_MAYSHARE | VMF_NORESERVE)) ||
                             object_page_bytes(request->vm_file->object) != VMA_PAGE_BYTES;

    return (uint32_t)((flags & VMF_SHARED) ? MAP_SHARED : MAP_PRIVATE) |
           (unaccounted ? (uint32_t)MAP_NORESERVE : 0);
}

/*
 * Where nothing stands, at an address that others may know: it is mapped without access, watched, and
 * opened in the end. What another thread's mlockall(2) would bring in before it is watched, zeros,
 * could not be dropped afterwards: somebody may have written to it by then.
 */
static bool is_opened_last(const struct map_request *request)
{
    return request->named && !request->replace && !request->vma->direct &&
           vma_prot(request->vma) != PROT_NONE;
}

bool map_needs_commit(const struct map_request *request)
{
    return request->replace || is_opened_last(request);
}

/* The page cache. Return: 0; -EMFILE. */
static int cache_op(struct map_request *request, struct mem_op *ret_op)
{
    struct file *file = request->vm_file;
    const bool shared = request->vma->flags & VMF_SHARED;
    const bool client_has_fd =
        file == request->file && idmap_get(&request->mm.space->files, file->id) == file;

    *ret_op = (struct mem_op){.kind = MUSE__WIRE__MEM_OPS__KIND__MMAP_FILE,
                              .range = request->place,
                              .fd = -1,
                              .prot = is_opened_last(request) ? PROT_NONE : vma_prot(request->vma),
                              .flags = install_flags(request),
                              .offset = request->vma->pgoff * VMA_PAGE_BYTES};
    if (client_has_fd)
        ret_op->file_id = file->id;
    else
        ret_op->fd = shared ? object_writable_fd(file->object, request->mm.space->uid)
                            : backing_readonly_fd(&file->object->backing);
    return client_has_fd || ret_op->fd >= 0 ? 0 : ret_op->fd;
}

/* What prepare has declared as mapped directly is so from the start, and not the page cache first. */
void map_install(struct map_request *request)
{
    struct space *space = request->mm.space;
    struct mem_op op;
    int r = 0;

    fill_in_vma(request);
    request->vma->direct = is_all_direct(request);
    if (request->vma->direct)
        op = remap_op(request, &request->todos[request->todo_next++]);
    else
        r = cache_op(request, &op);
    if (r == 0)
        r = session_mem_ops(space, request->mm.id, &op, 1,
                            space->engine->config->install_deadline_ns, on_installed, request);
    if (r < 0) {
        map_set_error(request, r == -ENOTCONN ? -EIO : r, "-",
                      "the client could not be told to map");
        map_event(request, MAP_EV_NO_RESOURCES);
    }
}

/* ---- establish ---- */

static void next_after_acting(struct map_request *request)
{
    const bool hook = request->driver->file_hooks & (FILE_HOOK_MMAP_COMPLETE | FILE_HOOK_MMAP);
    const bool v1_merge = request->mm.space->engine->kernel_v1 && request->merge != VMA_MERGE_NONE;

    if (!request->txn.asked && v1_merge) {
        /* what Linux v1 did: on a merge neither complete nor abort */
        map_count_live(request, true);
        map_event(request, map_needs_commit(request) ? MAP_EV_ACTED_COMMIT : MAP_EV_ACTED_LAST);
    } else if (!request->txn.asked && hook) {
        map_event(request, MAP_EV_ACTED);
    } else {
        map_event(request, map_needs_commit(request) ? MAP_EV_ACTED_COMMIT : MAP_EV_ACTED_LAST);
    }
}

/* Whether the mapping stays write-locked for longer than this call. */
static bool waits_for_driver(const struct map_request *request)
{
    return request->n_todos > 0 || map_needs_commit(request) ||
           (request->driver->file_hooks & (FILE_HOOK_MMAP_COMPLETE | FILE_HOOK_MMAP));
}

void map_establish(struct map_request *request)
{
    struct space *space = request->mm.space;
    struct vma *vma = request->vma;
    int r = 0;

    vma_set_tracking(vma);
    if (!vma->direct)
        r = fault_flow_register(space, vma, waits_for_driver(request));
    if (r < 0) {
        map_set_error(request, r, "-", "userfaultfd refused the range");
        map_event(request, MAP_EV_REGISTER_ERR);
        return;
    }
    /* a legacy hook may still change what a merge compares */
    if (!request->replace && !request->txn.legacy) {
        const bool graduated = vma->graduated;

        vma->write_locked = false; /* a proposal is compared as it will be */
        vma->graduated = !vma->direct && fault_flow_will_graduate(vma);
        request->merge = vma_merge_new_decide(&space->aspace.vmas, vma, &request->merge_prev,
                                              &request->merge_next);
        vma->graduated = graduated;
    }
    vma->write_locked = true;
    aspace_establish(&space->aspace, vma);
    file_ref(request->vm_file);
    object_ref(request->vm_file->object);
    list_add_tail(&request->vm_file->object->mappings, &vma->object_link);
    request->established = true;
    map_run_todos(request);
}

/* ---- actions and verbs ---- */

static void act_failed(struct map_request *request, int error, const char *text)
{
    deadline_clear(&request->mm.space->engine->loop, &request->act_deadline);
    map_set_error(request, error, "action", text);
    map_event(request, MAP_EV_ACT_ERR);
}

static void on_act_deadline(struct deadline *deadline)
{
    struct map_request *request = CONTAINER_OF(deadline, struct map_request, act_deadline);

    fill_wait_cancel(&request->wait);
    session_orphan(request->mm.space, request);
    map_set_error(request, -ETIMEDOUT, "action", "the action was not done in time");
    map_event(request, MAP_EV_DEADLINE);
}

static void on_remapped(void *ctx, enum client_end end, int error)
{
    struct map_request *request = ctx;

    if (end == CLIENT_LOST)
        return;
    if (error < 0) {
        act_failed(request, error, "the client could not map the driver's fd");
        return;
    }
    for (; request->n_remapping > 0; request->n_remapping--) {
        const struct map_todo *todo = &request->todos[request->todo_next++];

        if (is_whole(request, todo))
            request->vma->direct = true;
        else
            vma_parts_add(request->vma, in_place(request, todo->range));
    }
    map_run_todos(request);
}

/* All REMAPs that follow each other, as many as one instruction has room for. They are kept from the
 * fault path: a whole mapping was never registered; a part loses its registration by the new mmap. */
static int run_remaps(struct map_request *request)
{
    struct mem_op ops[MEM_OPS_MAX];
    unsigned n = 0, n_parts = 0;
    int r;

    while (n < MEM_OPS_MAX && request->todo_next + n < request->n_todos) {
        const struct map_todo *todo = &request->todos[request->todo_next + n];

        if (todo->kind != TODO_REMAP)
            break;
        n_parts += !is_whole(request, todo);
        ops[n++] = remap_op(request, todo);
    }
    r = n_parts > 0 ? vma_parts_reserve(request->vma, n_parts) : 0;
    if (r < 0)
        return r;
    request->n_remapping = n;
    return session_mem_ops(request->mm.space, request->mm.id, ops, n, 0, on_remapped, request);
}

static void prefault_failed(struct map_request *request, int error, uint64_t page)
{
    const struct poison_record *record = poison_find(&vma_object(request->vma)->poison, page);
    char text[MAP_TEXT_BYTES];

    (void)snprintf(text, sizeof(text), "a page to be prefaulted cannot be had: %.190s",
                   record && record->text[0] ? record->text : strerrordesc_np(-error));
    act_failed(request, error, text);
}

static void on_prefaulted(struct fill_wait *wait, int error, uint64_t failed_page)
{
    struct map_request *request = CONTAINER_OF(wait, struct map_request, wait);
    const struct map_todo *todo = &request->todos[request->todo_next];

    if (error < 0) {
        prefault_failed(request, error, failed_page);
        return;
    }
    fault_flow_show(request->mm.space, request->vma, in_place(request, todo->range));
    request->todo_next++;
    map_run_todos(request);
}

/* The object pages at @addrs. Return: 0; -EFAULT some are beyond its end: a touch is SIGBUS. */
static int pages_at(const struct vma *vma, struct range addrs, struct range *ret_pages)
{
    const struct object *object = vma_object(vma);
    const unsigned down = object->page_shift - VMA_PAGE_SHIFT;

    *ret_pages = (struct range){vma_pgoff_at(vma, addrs.start) >> down,
                                (vma_pgoff_at(vma, addrs.end - 1) >> down) + 1};
    return ret_pages->end > object_n_pages(object) ? -EFAULT : 0;
}

/* Return: 1 done, 0 under way, -errno. */
static int run_prefault(struct map_request *request, const struct map_todo *todo)
{
    struct vma *vma = request->vma;
    const struct range addrs = in_place(request, todo->range);
    struct range pages;
    int r = pages_at(vma, addrs, &pages);

    if (r < 0)
        return r;
    request->wait.done = on_prefaulted;
    request->wait.what = "prefault";
    request->wait.space = request->mm.space;
    r = fill_wait_start(vma_object(vma), pages, &request->wait);
    if (r > 0)
        fault_flow_show(request->mm.space, vma, addrs);
    return r;
}

/* Chosen, as for answers in the ring: 1 GiB of 4 KiB pages, a millisecond or two of our time. */
#define VERB_PAGES_MAX (1ull << 18)

/* The bytes are in the memfd: the driver's hook put them there, and no revoke came in between,
 * because these wait for the hook. */
static int run_supply(struct map_request *request, const struct map_todo *todo)
{
    struct object *object = vma_object(request->vma);
    struct range pages;
    int r = pages_at(request->vma, in_place(request, todo->range), &pages);

    if (r < 0 || range_len(pages) > VERB_PAGES_MAX)
        return r < 0 ? r : -E2BIG;
    fill_supplied(object, pages, object->engine->next_id, true);
    return 1;
}

static int run_poison(struct map_request *request, const struct map_todo *todo)
{
    struct space *space = request->mm.space;
    struct object *object = vma_object(request->vma);
    const uint64_t page_bytes = object_page_bytes(object);
    const struct range addrs = in_place(request, todo->range);
    const struct fill_error why = {todo->error, "mmap_complete", request->poison_text, true};
    struct range pages;
    int r = pages_at(request->vma, addrs, &pages);

    if (r < 0)
        return r;
    if (!range_is_aligned(addrs, page_bytes))
        return -EINVAL;
    if (range_len(pages) > VERB_PAGES_MAX)
        return -E2BIG;
    fill_mark_poison(object, pages, &why);
    uffd_port_poison(&space->uffd, addrs, page_bytes);
    return 1;
}

static int run_grow(struct map_request *request, const struct map_todo *todo)
{
    int r = resize_grow(vma_object(request->vma), todo->size_bytes);

    return r < 0 ? r : 1;
}

static int run_todo(struct map_request *request, const struct map_todo *todo)
{
    switch (todo->kind) {
    case TODO_REMAP:
        return run_remaps(request);
    case TODO_SUPPLY:
        return run_supply(request, todo);
    case TODO_POISON:
        return run_poison(request, todo);
    case TODO_GROW:
        return run_grow(request, todo);
    case TODO_PREFAULT:
    case TODO_NONE:
        break;
    }
    return run_prefault(request, todo);
}

/* One that could not even be begun. */
static void todo_failed(struct map_request *request, const struct map_todo *todo, int error)
{
    if (todo->kind == TODO_REMAP) {
        act_failed(request, error == -ENOTCONN ? -EIO : error, "the client could not be told");
    } else if (todo->kind == TODO_GROW) {
        act_failed(request, error, "the object cannot become as large as its driver wants it");
    } else if (error == -EFAULT) {
        act_failed(request, error, "it is about pages beyond the end of the object");
    } else if (todo->kind != TODO_PREFAULT) {
        act_failed(request, error,
                   error == -E2BIG ? "it is about more pages at once than are taken"
                                   : "it is not about whole pages of the object");
    } else {
        prefault_failed(request, error, request->wait.next_page);
    }
}

void map_run_todos(struct map_request *request)
{
    struct engine *engine = request->mm.space->engine;

    if (request->todo_next < request->n_todos && !request->act_deadline.is_set) {
        request->act_deadline.fn = on_act_deadline;
        deadline_set(&engine->loop, &request->act_deadline,
                     loop_now_ns() + request->driver->hook_deadline_ns);
    }
    while (request->todo_next < request->n_todos) {
        const struct map_todo *todo = &request->todos[request->todo_next];
        int r = run_todo(request, todo);

        if (r < 0) {
            todo_failed(request, todo, r);
            return;
        }
        if (r == 0)
            return; /* goes on when it is done */
        request->todo_next++;
    }
    deadline_clear(&engine->loop, &request->act_deadline);
    next_after_acting(request);
}

void map_drop_todos(struct map_request *request)
{
    fill_wait_cancel(&request->wait);
    deadline_clear(&request->mm.space->engine->loop, &request->act_deadline);
    session_orphan(request->mm.space, request);
    while (request->n_todo_fds > 0)
        fd_close(&request->todo_fds[--request->n_todo_fds]);
    free(request->todos);
    request->todos = NULL;
    request->n_todos = 0;
}

/* ---- an address that was named: one move, no hole; or it is opened ---- */

static void commit_failed(struct map_request *request, int error, const char *text)
{
    struct space *space = request->mm.space;
    const struct range held = fault_flow_hold_range(space, request->target, false);

    space_ref(space);
    map_set_error(request, error, "-", text);
    map_event(request, MAP_EV_COMMIT_ERR);
    fault_flow_range_ready(space, held);
    space_unref(space);
}

static void on_moved(void *ctx, enum client_end end, int error)
{
    struct map_request *request = ctx;

    if (end == CLIENT_LOST)
        return;
    if (error < 0)
        commit_failed(request, error, "the client could not move the new mapping into place");
    else
        map_event(request, MAP_EV_COMMITTED);
}

static void on_opened(void *ctx, enum client_end end, int error)
{
    struct map_request *request = ctx;

    if (end == CLIENT_LOST)
        return;
    if (error < 0) {
        map_set_error(request, error, "-", "the client could not give access to the new mapping");
        map_event(request, MAP_EV_COMMIT_ERR);
    } else {
        map_event(request, MAP_EV_COMMITTED);
    }
}

/* Its pages are served from now on: of what another thread has locked meanwhile, mprotect(2) brings
 * in pages before it returns. */
static void open_up(struct map_request *request)
{
    struct space *space = request->mm.space;
    struct vma *vma = request->vma;
    const struct mem_op op = {.kind = MUSE__WIRE__MEM_OPS__KIND__MPROTECT,
                              .range = request->target,
                              .prot = vma_prot(vma),
                              .fd = -1};

    vma->write_locked = false;
    if (session_mem_ops(space, request->mm.id, &op, 1, 0, on_opened, request) < 0) {
        on_opened(request, CLIENT_ANSWERED, -EIO);
        return;
    }
    fault_flow_vma_ready(space, vma);
}

void map_commit(struct map_request *request)
{
    const struct mem_op op = {.kind = MUSE__WIRE__MEM_OPS__KIND__MOVE,
                              .range = request->place,
                              .to = request->target.start,
                              .fd = -1};

    if (!request->replace) {
        open_up(request);
        return;
    }
    (void)fault_flow_hold_range(request->mm.space, request->target, true);
    if (session_mem_ops(request->mm.space, request->mm.id, &op, 1, 0, on_moved, request) < 0)
        commit_failed(request, -EIO, "the client could not be told to move");
}

void map_replace(struct map_request *request)
{
    struct space *space = request->mm.space;
    struct vma_tree *tree = &space->aspace.vmas;
    struct vma *vma = request->vma;
    struct list removed = LIST_INIT(removed);
    const struct range place = request->place;
    struct range held;

    if (!request->replace) { /* nothing stood there */
        map_merge(request);
        return;
    }
    held = fault_flow_hold_range(space, request->target, false);
    unmap_commit(space, request->target, request->spares, &removed);
    vma_tree_remove(tree, vma);
    vma->start = request->target.start;
    vma->end = request->target.end;
    vma->outside_arena = aspace_is_outside(&space->aspace, request->target);
    vmas_gone(space, &removed);
    MUST(vma_tree_insert(tree, vma) == 0);
    map_merge(request);
    fault_flow_range_gone(space, place); /* who came there before it was bare addresses again */
    fault_flow_range_ready(space, held); /* what is left of the old ones on both sides */
}

/* ---- success ---- */

void map_merge(struct map_request *request)
{
    struct space *space = request->mm.space;
    struct vma *vma = request->vma;
    struct vma *removed = NULL;
    bool merges = request->merge != VMA_MERGE_NONE;

    if (merges && is_opened_last(request)) /* it was served already, and may have graduated */
        merges = fault_flow_watch(space, vma) == 0;
    map_count_live(request, false);
    if (request->extents_of) /* they stay as long as the object */
        object_unref(request->extents_of);
    request->extents_of = NULL;
    request->vma = NULL;
    vma->write_locked = false;
    if (merges) {
        struct vma *survivor;

        vma_tree_remove(&space->aspace.vmas, vma);
        list_del(&vma->object_link);
        survivor = vma_merge_new_commit(&space->aspace.vmas, request->merge, request->merge_prev,
                                        request->merge_next, request->target, &removed);
        vma_forget(space, vma);
        if (removed)
            vma_forget(space, removed);
        space->engine->stats.merges++;
        vma = survivor;
    } else {
        name_start(vma);
    }
    fault_flow_settle(space, vma, merges);
    fault_flow_vma_ready(space, vma);
}

/* ---- the ways back ---- */

void map_remove(struct map_request *request)
{
    struct space *space = request->mm.space;
    struct vma *vma = request->vma;

    if (!request->established)
        return; /* still a placeholder */
    request->established = false;
    request->close_due = vma->has_close;
    list_del(&vma->object_link);
    fault_flow_range_gone(space, request->place);
    vma_tree_set_kind(&space->aspace.vmas, vma, VMA_PENDING);
    vma->write_locked = false;
    vma->file = vma->object = NULL;
    object_unref(request->vm_file->object);
    file_unref(request->vm_file); /* the VMA's; the request has its own */
    if (space->dead)
        request->vma = NULL; /* the placeholder goes with the space */
}

void map_uninstall(struct map_request *request)
{
    struct space *space = request->mm.space;
    struct vma *vma = request->vma;

    if (!vma)
        return; /* the client is dead: the placeholder goes with the space */
    request->close_due = request->close_due || vma->has_close;
    request->vma = NULL;
    session_orphan(space, request);
    fault_flow_range_gone(space, request->place);
    unmap_undo(space, request->mm.id, vma);
}

void map_release(struct map_request *request)
{
    struct space *space = request->mm.space;

    if (!request->vma)
        return;
    aspace_release(&space->aspace, request->vma);
    request->vma = vma_free(request->vma);
    vma_uncharge(space);
}
