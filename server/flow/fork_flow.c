/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fork(2) of a client, step by step:
 *
 *   FORK_BEGIN   the space's write lock, then a copy of the space as it is now: a struct space with
 *                VMAs and files, but without session and userfaultfd. It belongs to a token, which
 *                the answer carries. Drivers hear vm_open of each VMA that was copied.
 *   FORK_RANGES  further pages of the list of what the child inherits
 *   -            the client lets these ranges be inherited, and forks
 *   FORK_END     from the parent: unlock
 *   FORK_ATTACH  from the child, on a connection of its own: the copy becomes its space
 *
 * Two things wait, each with a deadline of fork_ms: the lock for FORK_END (the parent's death gives
 * it up, too), and the token for the child. A token that nobody used ends its copy as the death of
 * a client ends a space: close for each VMA, in address order. So the parent may change its space
 * or die as soon as it has forked.
 */
#include "server/flow/fork_flow.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/base/log.h"
#include "proto/limits.h"
#include "server/config/config.h"
#include "server/flow/driver_hooks.h"
#include "server/flow/fault_flow.h"
#include "server/flow/loss_flow.h"
#include "server/flow/mm_lock.h"
#include "server/flow/requests.h"
#include "server/flow/session_flow.h"
#include "server/flow/split_flow.h"

/* Starts and ends. */
#define RANGE_NUMBERS_MAX ((size_t)2 * FORK_RANGES_MAX)

/* A copy that waits for its child. */
struct fork_token {
    struct list node; /* in engine.forks */
    uint8_t bytes[FORK_TOKEN_BYTES];
    struct space *copy; /* ref, the one its session will have */
    struct deadline deadline;
};

/* The write lock of a space whose client is forking: space.fork. */
struct fork_request {
    struct mm_request mm;
    uint64_t copy_id; /* the copy's space; 0: not made */
    struct deadline deadline;
};

/* ---- what is inherited ---- */

static bool is_inherited(const struct vma *vma)
{
    return !(vma->flags & VMF_DONTCOPY);
}

static bool has_busy_driver(const struct space *space)
{
    struct vma *vma;

    vma_for_each(vma, &space->aspace.vmas) {
        const struct file *file = vma_file(vma);

        if (vma->kind == VMA_MAPPED && is_inherited(vma) && file && file->driver->alive &&
            (vma->has_open || vma->has_close) && driver_link_is_busy(file->driver->link))
            return true;
    }
    return false;
}

/* ---- the copy ---- */

/* Addresses that are nobody's, in the copy as in the parent. @vma: detached, charged; takes. */
static int quarantine(struct space *copy, struct range range, struct vma *vma)
{
    if (aspace_hold(&copy->aspace, range, vma) != 0) {
        vma_free(vma);
        return -EINVAL;
    }
    aspace_quarantine(&copy->aspace, vma);
    return 0;
}

static void share(struct space *copy, struct vma *vma, const struct vma *from)
{
    vma_copy_identity(vma, from);
    vma->owner = copy;
    vma->graduated = vma->write_locked = false;
    vma->flags &= ~(uint32_t)VMF_LOCKED; /* as the kernel: locks are not inherited */
    MUST(vma_tree_insert(&copy->aspace.vmas, vma) == 0);
    if (vma->object)
        list_add_tail(&object_ref(vma_object(vma))->mappings, &vma->object_link);
    if (!vma->file)
        return;
    file_ref(vma_file(vma));
    if (vma_wants_open(vma)) {
        const struct hook_vma as_seen = hook_vma_of(vma);

        hook_vm_open(vma_file(vma)->driver, &as_seen, from->id);
    }
}

static int copy_vma(struct space *copy, const struct vma *from)
{
    struct vma *vma;
    int r;

    if (from->kind == VMA_MAPPED && !is_inherited(from))
        return 0;
    r = charge_take(&copy->engine->quotas, copy->uid, QUOTA_VMAS, 1) == 0 ? 0 : -ENOMEM;
    if (r == 0) {
        r = vma_new(engine_id(copy->engine), &vma);
        if (r == 0 && from->kind != VMA_MAPPED)
            r = quarantine(copy, vma_range(from), vma);
        else if (r == 0)
            share(copy, vma, from);
        if (r < 0)
            charge_drop(&copy->engine->quotas, copy->uid, QUOTA_VMAS, 1);
    }
    return r;
}

static int copy_files(struct space *copy, const struct space *parent)
{
    struct file *file;
    size_t cursor = 0;

    while ((file = idmap_next(&parent->files, &cursor))) {
        int r = file_hold(file, copy);

        if (r < 0)
            return r;
    }
    return 0;
}

static int fill_copy(struct space *copy, const struct space *parent)
{
    struct vma *vma;
    int r = copy_files(copy, parent);

    vma_for_each(vma, &parent->aspace.vmas) {
        if (r < 0)
            break;
        r = copy_vma(copy, vma);
    }
    return r;
}

static int copy_space(const struct space *parent, struct space **ret_copy, const char **ret_why)
{
    const struct space_peer peer = {
        .uid = parent->uid, .gid = parent->gid, .pid = parent->pid, .program = parent->program};
    struct space *copy = NULL;
    int r;

    *ret_why = "a driver has left too much unread to hear of the copies";
    if (has_busy_driver(parent))
        return -EAGAIN;
    *ret_why = "out of memory, or over a limit of this user";
    r = space_new(parent->engine, &peer, parent->aspace.arena, &copy);
    if (r < 0)
        return r;
    r = fill_copy(copy, parent);
    if (r < 0) {
        fork_abandon(copy);
        return r;
    }
    *ret_copy = copy;
    return 0;
}

void fork_abandon(struct space *space)
{
    loss_client_gone(space);
    space_unref(space);
}

/* ---- tokens ---- */

/* Return: the copy with its reference. */
static struct space *token_spend(struct fork_token *token)
{
    struct space *copy = token->copy;

    list_del(&token->node);
    deadline_clear(&copy->engine->loop, &token->deadline);
    free(token);
    return copy;
}

static void on_token_deadline(struct deadline *deadline)
{
    struct fork_token *token = CONTAINER_OF(deadline, struct fork_token, deadline);

    log_write(LOG_LEVEL_WARN, "fork.expired", "client=%" PRIu64 " parent_pid=%d", token->copy->id,
              (int)token->copy->pid);
    fork_abandon(token_spend(token));
}

/* @copy: takes its reference on success. */
static int token_new(struct space *copy, struct fork_token **ret_token)
{
    struct engine *engine = copy->engine;
    struct fork_token *token = calloc(1, sizeof(*token));

    if (!token)
        return -ENOMEM;
    if (getrandom(token->bytes, sizeof(token->bytes), GRND_NONBLOCK) !=
        (ssize_t)sizeof(token->bytes)) {
        free(token);
        return -EAGAIN;
    }
    token->copy = copy;
    token->deadline.fn = on_token_deadline;
    list_add_tail(&engine->forks, &token->node);
    deadline_set(&engine->loop, &token->deadline, loop_now_ns() + engine->config->fork_deadline_ns);
    *ret_token = token;
    return 0;
}

static struct fork_token *token_of_copy(const struct engine *engine, uint64_t copy_id)
{
    struct list *pos;

    list_for_each(pos, &engine->forks) {
        struct fork_token *token = CONTAINER_OF(pos, struct fork_token, node);

        if (token->copy->id == copy_id)
            return token;
    }
    return NULL;
}

static struct fork_token *token_find(const struct engine *engine, const ProtobufCBinaryData *bytes,
                                     uid_t uid)
{
    struct list *pos;

    if (bytes->len != FORK_TOKEN_BYTES)
        return NULL;
    list_for_each(pos, &engine->forks) {
        struct fork_token *token = CONTAINER_OF(pos, struct fork_token, node);

        if (token->copy->uid == uid && memcmp(token->bytes, bytes->data, FORK_TOKEN_BYTES) == 0)
            return token;
    }
    return NULL;
}

void fork_drop_all(struct engine *engine)
{
    struct list *node;

    while ((node = list_first(&engine->forks)))
        fork_abandon(token_spend(CONTAINER_OF(node, struct fork_token, node)));
}

/* ---- the list of ranges ---- */

struct range_list {
    uint64_t numbers[RANGE_NUMBERS_MAX];
    size_t n;
};

/* Return: whether there was room. */
static bool add_range(struct range_list *list, struct range range)
{
    if (list->n > 0 && list->numbers[list->n - 1] == range.start) {
        list->numbers[list->n - 1] = range.end;
        return true;
    }
    if (list->n == RANGE_NUMBERS_MAX)
        return false;
    list->numbers[list->n++] = range.start;
    list->numbers[list->n++] = range.end;
    return true;
}

/* Ranges from @from on, as many as fit. */
static void list_ranges(const struct space *space, uint64_t from, struct range_list *kept,
                        struct range_list *dropped, Muse__Wire__ForkRanges *ret_message)
{
    struct vma *vma;

    kept->n = dropped->n = 0;
    muse__wire__fork_ranges__init(ret_message);
    vma_for_each_in(vma, &space->aspace.vmas, from, UINT64_MAX) {
        if (vma->kind != VMA_MAPPED)
            continue;
        if (kept->n + dropped->n == RANGE_NUMBERS_MAX ||
            !add_range(is_inherited(vma) ? kept : dropped, vma_range(vma))) {
            ret_message->next = vma->start;
            break;
        }
    }
    ret_message->n_kept = kept->n;
    ret_message->kept = kept->numbers;
    ret_message->n_dropped = dropped->n;
    ret_message->dropped = dropped->numbers;
}

/* ---- FORK_BEGIN ---- */

static void request_free(struct fork_request *request)
{
    struct space *space = request->mm.space;

    space->fork = NULL;
    deadline_clear(&space->engine->loop, &request->deadline);
    mm_unlock(&request->mm);
    charge_drop(&space->engine->quotas, space->uid, QUOTA_REQUESTS, 1);
    free(request);
    space_unref(space);
}

static void on_client_gone(struct mm_request *mm)
{
    request_free(CONTAINER_OF(mm, struct fork_request, mm));
}

/* The client does not say that it has forked: the others go on. */
uint64_t fork_deadline_ns(const struct mm_request *mm)
{
    const struct fork_request *request = CONTAINER_OF_CONST(mm, struct fork_request, mm);

    return request->deadline.is_set ? request->deadline.at_ns : 0;
}

static void on_lock_deadline(struct deadline *deadline)
{
    struct fork_request *request = CONTAINER_OF(deadline, struct fork_request, deadline);

    log_write(LOG_LEVEL_WARN, "fork.unlocked", "client=%" PRIu64 " reason=\"no FORK_END in time\"",
              request->mm.space->id);
    request_free(request);
}

static void reply_begun(struct space *space, uint64_t id, struct fork_token *token)
{
    Muse__Wire__ForkBegun message = MUSE__WIRE__FORK_BEGUN__INIT;
    Muse__Wire__ForkRanges ranges;
    struct range_list kept, dropped;

    list_ranges(space, 0, &kept, &dropped, &ranges);
    message.token = (ProtobufCBinaryData){.len = sizeof(token->bytes), .data = token->bytes};
    message.ranges = &ranges;
    space_reply(space, id, FRAME_FORK_BEGUN, &message.base);
}

static void on_granted(struct mm_request *mm)
{
    struct fork_request *request = CONTAINER_OF(mm, struct fork_request, mm);
    struct space *space = mm->space;
    const char *why = "out of memory";
    struct fork_token *token;
    struct space *copy;
    int r = copy_space(space, &copy, &why);

    if (r == 0) {
        r = token_new(copy, &token);
        if (r < 0)
            fork_abandon(copy);
    }
    if (r < 0) {
        log_write(LOG_LEVEL_WARN, "fork.refused", "client=%" PRIu64 " errno=%s reason=\"%s\"",
                  space->id, strerrorname_np(-r), why);
        space_fail(space, mm->id, r, why);
        request_free(request);
        return;
    }
    request->copy_id = copy->id;
    request->deadline.fn = on_lock_deadline;
    deadline_set(&space->engine->loop, &request->deadline,
                 loop_now_ns() + space->engine->config->fork_deadline_ns);
    reply_begun(space, mm->id, token);
}

static struct fork_request *request_new(struct space *space, uint64_t id)
{
    struct fork_request *request;

    if (charge_take(&space->engine->quotas, space->uid, QUOTA_REQUESTS, 1) != 0)
        return NULL;
    request = calloc(1, sizeof(*request));
    if (!request) {
        charge_drop(&space->engine->quotas, space->uid, QUOTA_REQUESTS, 1);
        return NULL;
    }
    request->mm = (struct mm_request){.space = space_ref(space),
                                      .id = id,
                                      .what = "fork",
                                      .since_ns = loop_now_ns(),
                                      .granted = on_granted,
                                      .client_gone = on_client_gone};
    list_init(&request->mm.queued);
    return request;
}

int request_fork_begin(struct space *space, struct frame *frame)
{
    struct fork_request *request;

    if (frame->n_payload > 0)
        return -EPROTO;
    if (space->fork) {
        space_fail(space, frame->header.id, -EBUSY, "a fork of this client is under way");
        return 0;
    }
    request = request_new(space, frame->header.id);
    if (!request) {
        space_fail(space, frame->header.id, -ENOMEM,
                   "too many requests in flight, or out of memory");
        return 0;
    }
    space->fork = request;
    mm_lock(&request->mm);
    return 0;
}

/* ---- FORK_RANGES, FORK_END ---- */

static bool holds_lock(const struct space *space)
{
    return space->fork && space->writer == &space->fork->mm;
}

int request_fork_ranges(struct space *space, struct frame *frame)
{
    Muse__Wire__ForkFrom *message =
        muse__wire__fork_from__unpack(NULL, frame->n_payload, frame->payload);
    struct range_list kept, dropped;
    Muse__Wire__ForkRanges ranges;
    uint64_t next;

    if (!message)
        return -EPROTO;
    next = message->next;
    muse__wire__fork_from__free_unpacked(message, NULL);
    if (!holds_lock(space)) {
        space_fail(space, frame->header.id, -ETIMEDOUT, "no fork of this client is under way");
        return 0;
    }
    list_ranges(space, next, &kept, &dropped, &ranges);
    space_reply(space, frame->header.id, FRAME_FORK_RANGES_ARE, &ranges.base);
    return 0;
}

int request_fork_end(struct space *space, struct frame *frame)
{
    Muse__Wire__ForkEnd *message =
        muse__wire__fork_end__unpack(NULL, frame->n_payload, frame->payload);
    bool keep;

    if (!message)
        return -EPROTO;
    keep = message->keep;
    muse__wire__fork_end__free_unpacked(message, NULL);
    if (!holds_lock(space)) {
        space_fail(space, frame->header.id, -ETIMEDOUT, "no fork of this client is under way");
        return 0;
    }
    if (!keep) {
        struct fork_token *token = token_of_copy(space->engine, space->fork->copy_id);

        if (token)
            fork_abandon(token_spend(token));
    }
    space_reply(space, frame->header.id, FRAME_DONE, NULL);
    request_free(space->fork);
    return 0;
}

/* ---- FORK_ATTACH ---- */

/* Ranges that the child could not reserve again are quarantined: nothing of ours is ever put there.
 */
static int hold_taken(struct space *copy, const uint64_t *numbers, size_t n)
{
    if (n % 2 != 0 || n > RANGE_NUMBERS_MAX)
        return -EINVAL;
    for (size_t i = 0; i < n; i += 2) {
        const struct range range = {numbers[i], numbers[i + 1]};
        struct vma *vma;
        int r;

        if (range.start >= range.end || !range_is_aligned(range, VMA_PAGE_BYTES) ||
            !range_contains_range(copy->aspace.arena, range))
            return -EINVAL;
        if (charge_take(&copy->engine->quotas, copy->uid, QUOTA_VMAS, 1) != 0)
            return -ENOMEM;
        r = vma_new(engine_id(copy->engine), &vma);
        if (r == 0)
            r = quarantine(copy, range, vma);
        if (r < 0) {
            charge_drop(&copy->engine->quotas, copy->uid, QUOTA_VMAS, 1);
            return r;
        }
    }
    return 0;
}

int fork_claim(struct engine *engine, const Muse__Wire__ForkAttach *message, uid_t uid,
               struct space **ret_space)
{
    struct fork_token *token = token_find(engine, &message->token, uid);
    struct space *copy;
    int r;

    if (!token)
        return -ESTALE;
    copy = token_spend(token);
    r = hold_taken(copy, message->taken, message->n_taken);
    if (r < 0) {
        fork_abandon(copy);
        return r;
    }
    *ret_space = copy;
    return 0;
}

/* A private page that had failed is still marked so in the child, though it may be had by now. */
static bool may_be_healed(const struct vma *vma)
{
    return !(vma->flags & VMF_SHARED) && vma_object(vma)->n_failures > 0;
}

int fork_register(struct space *space)
{
    struct vma *vma;
    int r = fault_flow_register_all(space);

    if (r < 0)
        return r;
    vma_for_each(vma, &space->aspace.vmas) {
        if (vma->kind == VMA_MAPPED && vma->object && may_be_healed(vma))
            fault_flow_show(space, vma, vma_range(vma));
    }
    return 0;
}
