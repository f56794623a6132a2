/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The mapping hooks and vm operations of muse-faulty: count, then do what the file's name says.
 * Keeps a list of the mapping calls between prepare and complete or abort, so that one that comes
 * twice, or never began, is a mismatch.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "common/base/own.h"
#include "drivers/faulty/faulty.h"
#include "drivers/sdk/sdk.h"

#define DEATH_STATUS 42 /* chosen: told from a crash and from a failure */

void faulty_maybe_die(const struct behaviour *behaviour, const char *hook)
{
    if (is_word(behaviour->die_in, hook))
        _exit(DEATH_STATUS);
}

void faulty_sleep(uint64_t ms)
{
    struct timespec left = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};

    while (ms > 0 && nanosleep(&left, &left) < 0 && errno == EINTR) {}
}

static void count(atomic_ullong *counter)
{
    (void)atomic_fetch_add(counter, 1);
}

/* ---- vm operations ---- */

static struct faulty_file *file_of_vma(const struct muse_vma *vma)
{
    return vma->file ? faulty_file_of(vma->file) : NULL;
}

static void vm_open(struct muse_vma *vma)
{
    struct faulty_file *file = file_of_vma(vma);

    if (!file)
        return;
    faulty_maybe_die(&file->behaviour, "vm-open");
    count(&file->faulty->n.open);
}

static void vm_close(struct muse_vma *vma)
{
    struct faulty_file *file = file_of_vma(vma);

    if (!file)
        return;
    faulty_maybe_die(&file->behaviour, "close");
    faulty_sleep(file->behaviour.close_sleep_ms);
    count(&file->faulty->n.close);
}

static int vm_may_split(struct muse_vma *vma, uint64_t addr)
{
    struct faulty_file *file = file_of_vma(vma);

    (void)addr;
    if (!file)
        return 0;
    faulty_maybe_die(&file->behaviour, "split");
    count(&file->faulty->n.split);
    if (lie_in_hook(file->faulty, &file->behaviour, "truncated-split"))
        return 0;
    if (file->behaviour.split_never || file->behaviour.split_delay_ms) {
        delay_reply(&file->faulty->delays,
                    file->behaviour.split_never ? UINT64_MAX : file->behaviour.split_delay_ms,
                    -(int)file->behaviour.split_errno);
    }
    return -(int)file->behaviour.split_errno;
}

static int vm_mprotect(struct muse_vma *vma, uint64_t start, uint64_t end, uint64_t vm_flags)
{
    struct faulty_file *file = file_of_vma(vma);
    int r;

    if (!file)
        return 0;
    if (start < vma->start || end > vma->end || start >= end)
        count(&file->faulty->n.mismatch);
    (void)vm_flags;
    faulty_maybe_die(&file->behaviour, "mprotect");
    count(&file->faulty->n.mprotect);
    if (lie_in_hook(file->faulty, &file->behaviour, "truncated-mprotect"))
        return 0;
    r = -(int)file->behaviour.protect_errno;
    if (file->behaviour.protect_delay_ms)
        delay_reply(&file->faulty->delays, file->behaviour.protect_delay_ms, r);
    return r;
}

static int vm_mremap(struct muse_vma *vma)
{
    struct faulty_file *file = file_of_vma(vma);
    int r;

    if (!file)
        return 0;
    faulty_maybe_die(&file->behaviour, "mremap");
    count(&file->faulty->n.mremap);
    if (lie_in_hook(file->faulty, &file->behaviour, "truncated-mremap"))
        return 0;
    r = -(int)file->behaviour.remap_errno;
    if (file->behaviour.remap_delay_ms)
        delay_reply(&file->faulty->delays, file->behaviour.remap_delay_ms, r);
    return r;
}

static const struct muse_vm_ops full_ops = {.name = "full",
                                            .open = vm_open,
                                            .close = vm_close,
                                            .may_split = vm_may_split,
                                            .mprotect = vm_mprotect,
                                            .mremap = vm_mremap};
static const struct muse_vm_ops close_ops = {.name = "close", .close = vm_close};
static const struct muse_vm_ops plain_ops = {.name = "plain"};
static const struct muse_vm_ops mkwrite_ops = {
    .name = "mkwrite", .close = vm_close, .page_mkwrite = faulty_page_mkwrite};
static const struct muse_vm_ops access_ops = {
    .name = "access", .close = vm_close, .access = faulty_access, .vma_name = faulty_vma_name};
static const struct muse_vm_ops named_ops = {.name = "named", .vma_name = faulty_vma_name};
static const struct muse_vm_ops unlisted_ops = {.name = "unlisted", .close = vm_close};

const struct muse_vm_ops *const faulty_vm_ops[] = {
    &full_ops, &close_ops, &plain_ops, &mkwrite_ops, &access_ops, &named_ops, NULL};

/* The table a name asks for; all hooks when it says nothing. */
static const struct muse_vm_ops *ops_of(const struct behaviour *behaviour)
{
    static const struct {
        const char *word;
        const struct muse_vm_ops *ops;
    } words[] = {
        {"", &full_ops},
        {"full", &full_ops},
        {"close", &close_ops},
        {"plain", &plain_ops},
        {"mkwrite", &mkwrite_ops},
        {"access", &access_ops},
        {"named", &named_ops},
        {"none", NULL},
        {"unset", MUSE_VM_OPS_UNSET},
        {"unlisted", &unlisted_ops},
    };

    for (size_t i = 0; i < N_ELEMENTS(words); i++) {
        if (is_word(behaviour->ops, words[i].word))
            return words[i].ops;
    }
    return &full_ops;
}

/* ---- mapping calls ---- */

static struct faulty_call *find_call(struct faulty *faulty, uint64_t context)
{
    struct list *pos;

    list_for_each(pos, &faulty->calls) {
        struct faulty_call *call = LIST_ENTRY(pos, struct faulty_call, node);

        if (call->context == context)
            return call;
    }
    return NULL;
}

static int begin_call(struct faulty *faulty, const struct behaviour *behaviour,
                      uint64_t *ret_context)
{
    struct faulty_call *call;

    if (behaviour->lock && atomic_load(&faulty->n.locked)) {
        muse_set_error("the driver's lock is taken: a call between prepare and its end has it");
        return -EAGAIN;
    }
    call = calloc(1, sizeof(*call));
    if (!call)
        return -ENOMEM;
    call->context = ++faulty->last_context;
    call->holds_lock = behaviour->lock;
    if (call->holds_lock)
        atomic_store(&faulty->n.locked, 1);
    list_init(&call->node);
    list_add_tail(&faulty->calls, &call->node);
    count(&faulty->n.in_flight);
    *ret_context = call->context;
    return 0;
}

static void end_call(struct faulty *faulty, uint64_t context)
{
    struct faulty_call *call = find_call(faulty, context);

    if (!call) {
        count(&faulty->n.mismatch);
        return;
    }
    if (call->holds_lock)
        atomic_store(&faulty->n.locked, 0);
    (void)atomic_fetch_sub(&faulty->n.in_flight, 1);
    list_del(&call->node);
    free(call);
}

void faulty_calls_done(struct faulty *faulty)
{
    struct list *node;

    while ((node = list_take_first(&faulty->calls)) != NULL)
        free(LIST_ENTRY(node, struct faulty_call, node));
}

/* ---- mmap_prepare ---- */

static int swap_file(struct faulty *faulty, const char *label, struct muse_vma_desc *desc)
{
    struct list *pos;

    list_for_each(pos, &faulty->files) {
        const struct faulty_file *file = LIST_ENTRY(pos, struct faulty_file, node);

        if (file->sdk_file && is_word(file->behaviour.label, label)) {
            desc->vm_file = file->sdk_file;
            return 0;
        }
    }
    muse_set_error("no open file is called %s, or it was never mapped", label);
    return -ENOENT;
}

/* Numbers behind a word: "prefault=8". */
static uint64_t number_behind(const char *word, const char *name)
{
    const size_t n = strlen(name);

    if (strncmp(word, name, n) != 0 || (word[n] != '=' && word[n] != ':'))
        return 0;
    return strtoull(word + n + 1, NULL, 0);
}

static int set_action(struct faulty_object *object, const char *word, struct muse_vma_desc *desc)
{
    struct muse_action *action = &desc->action;
    const uint64_t n_pages = number_behind(word, "prefault");
    int fd;

    if (n_pages > 0) {
        *action = (struct muse_action){.type = MUSE_ACTION_PREFAULT, .n_pages = n_pages, .fd = -1};
        return 0;
    }
    fd = faulty_memfd(object);
    if (fd < 0)
        return fd;
    *action = (struct muse_action){.type = MUSE_ACTION_REMAP, .fd = fd};
    action->fd_offset = desc->pgoff * MUSE_PAGE_BYTES;
    if (is_word(word, "io-remap")) {
        action->type = MUSE_ACTION_IO_REMAP;
    } else if (is_word(word, "remap-bad")) {
        action->length = muse_vma_desc_size(desc) + MUSE_PAGE_BYTES;
    } else if (is_word(word, "remap-part")) {
        action->length = MUSE_PAGE_BYTES;
    } else if (is_word(word, "remap-middle")) {
        action->address = desc->start + (uint64_t)2 * MUSE_PAGE_BYTES;
        action->length = (uint64_t)2 * MUSE_PAGE_BYTES;
        action->fd_offset += (uint64_t)2 * MUSE_PAGE_BYTES;
    } else if (is_word(word, "extents")) {
        object->extent = (struct muse_extent){.length = object->size_bytes, .fd = fd};
        action->type = MUSE_ACTION_EXTENTS;
        action->extents = &object->extent;
        action->n_extents = 1;
    } else if (!is_word(word, "remap")) {
        muse_set_error(
            "action=%s: not one of remap, remap-bad, remap-part, remap-middle, io-remap, extents, "
            "prefault=N",
            word);
        return -EINVAL;
    }
    return 0;
}

static int fill_desc(struct faulty_file *file, struct muse_vma_desc *desc)
{
    const struct behaviour *behaviour = &file->behaviour;
    int r = 0;

    desc->vm_flags |= behaviour->set_flags;
    desc->vm_flags &= ~behaviour->clear_flags;
    if (behaviour->has_set_pgoff)
        desc->pgoff = behaviour->set_pgoff;
    if (behaviour->has_set_prot)
        desc->page_prot = (uint32_t)behaviour->set_prot;
    desc->vm_ops = ops_of(behaviour);
    desc->private_data = sdk_pointer(behaviour->private_data);
    if (behaviour->fresh[0])
        r = faulty_fresh(file, desc);
    if (r == 0 && behaviour->swap_file[0])
        r = swap_file(file->faulty, behaviour->swap_file, desc);
    if (r == 0 && behaviour->action[0])
        r = set_action(file->object, behaviour->action, desc);
    return r;
}

static int refuse_prepare(struct faulty *faulty, const struct behaviour *behaviour)
{
    const int error = -(int)behaviour->prepare_errno;

    count(&faulty->n.refused);
    muse_set_error("mmap_prepare refused as asked for");
    if (behaviour->prepare_delay_ms)
        delay_reply(&faulty->delays, behaviour->prepare_delay_ms, error);
    return error;
}

/* @lie: 0: the answer is sent already; else no errno, and the server then wants it aborted. */
static int lie_with(struct muse_vma_desc *desc, int lie)
{
    struct faulty_file *file = faulty_file_of(desc->file);
    uint64_t context;
    int r = lie != 0 ? begin_call(file->faulty, &file->behaviour, &context) : 1;

    if (r == 0) {
        desc->mmap_context = sdk_pointer(context);
        desc->private_data = sdk_pointer(file->behaviour.private_data);
    }
    return r < 0 ? r : lie;
}

int faulty_mmap_prepare(struct muse_vma_desc *desc)
{
    struct faulty_file *file = faulty_file_of(desc->file);
    const struct behaviour *behaviour = &file->behaviour;
    struct faulty *faulty = file->faulty;
    uint64_t context = 0;
    bool lied;
    int r;

    file->sdk_file = desc->file;
    count(&faulty->n.prepare);
    faulty_maybe_die(behaviour, "prepare");
    faulty_sleep(behaviour->prepare_sleep_ms);
    if (behaviour->prepare_never) {
        delay_reply(&faulty->delays, UINT64_MAX, -EINTR);
        return 0;
    }
    if (behaviour->prepare_errno)
        return refuse_prepare(faulty, behaviour);
    r = lie_in_prepare(faulty, behaviour, &lied);
    if (lied)
        return lie_with(desc, r);
    r = fill_desc(file, desc);
    if (r == 0)
        r = begin_call(faulty, behaviour, &context);
    if (r < 0) {
        count(&faulty->n.refused);
        return r;
    }
    desc->mmap_context = sdk_pointer(context);
    if (behaviour->prepare_delay_ms)
        delay_reply(&faulty->delays, behaviour->prepare_delay_ms, 0);
    return 0;
}

/* ---- mmap_complete, mmap_abort, mmap ---- */

/* Bytes the fault hook would not give: each word has its complement. */
static int supply_inverted(struct muse_vma *vma, uint64_t n_pages)
{
    const uint64_t first = vma->pgoff + (vma->part_start - vma->start) / MUSE_PAGE_BYTES;
    CLEAN(free_p) uint64_t *words = n_pages > 0 ? malloc(n_pages * MUSE_PAGE_BYTES) : NULL;

    if (!words)
        return -ENOMEM;
    faulty_pattern(words, first, n_pages);
    for (uint64_t i = 0; i < n_pages * MUSE_PAGE_BYTES / sizeof(*words); i++)
        words[i] = ~words[i];
    return muse_vma_supply(vma, vma->part_start, words, n_pages);
}

static int use_verb(struct faulty_object *object, const char *verb, struct muse_vma *vma)
{
    const uint64_t n_pages = number_behind(verb, "prefault");
    int fd;

    if (n_pages > 0)
        return muse_vma_prefault(vma, vma->part_start, n_pages);
    if (number_behind(verb, "supply") > 0)
        return supply_inverted(vma, number_behind(verb, "supply"));
    if (number_behind(verb, "poison") > 0) {
        muse_set_error("poisoned as asked for");
        return muse_vma_poison(vma, vma->part_start, number_behind(verb, "poison"), -EILSEQ);
    }
    if (number_behind(verb, "grow") > 0)
        return muse_vma_grow(vma, number_behind(verb, "grow"));
    if (!is_word(verb, "remap"))
        return -EINVAL;
    fd = faulty_memfd(object);
    if (fd < 0)
        return fd;
    return muse_vma_remap(vma, vma->part_start, vma->part_end - vma->part_start, fd,
                          vma->pgoff * MUSE_PAGE_BYTES + (vma->part_start - vma->start));
}

/* complete-delay-ms and complete-never, which the legacy mmap obeys as well. */
static void delay_complete(struct faulty *faulty, const struct behaviour *behaviour, int error)
{
    if (behaviour->complete_never) {
        delay_reply(&faulty->delays, UINT64_MAX, error);
    } else if (behaviour->complete_delay_ms) {
        delay_reply(&faulty->delays, behaviour->complete_delay_ms, error);
    }
}

int faulty_mmap_complete(struct muse_driver_file *sdk_file, struct muse_vma *vma,
                         const void *context)
{
    struct faulty_file *file = faulty_file_of(sdk_file);
    const struct behaviour *behaviour = &file->behaviour;
    struct faulty *faulty = file->faulty;
    int r = -(int)behaviour->complete_errno;

    count(&faulty->n.complete);
    faulty_maybe_die(behaviour, "complete");
    end_call(faulty, sdk_number(context));
    faulty_sleep(behaviour->complete_sleep_ms);
    if (lie_in_complete(faulty, behaviour))
        return 0;
    if (r < 0) {
        muse_set_error("mmap_complete failed as asked for");
    } else if (behaviour->verb[0]) {
        r = use_verb(file->object, behaviour->verb, vma);
    }
    delay_complete(faulty, behaviour, r);
    return r;
}

void faulty_mmap_abort(const struct muse_driver_file *sdk_file, const void *vm_private_data,
                       const void *context)
{
    struct faulty_file *file = faulty_file_of(sdk_file);
    struct faulty *faulty = file->faulty;

    count(&faulty->n.abort);
    faulty_maybe_die(&file->behaviour, "abort");
    if (sdk_number(vm_private_data) != file->behaviour.private_data)
        count(&faulty->n.mismatch);
    faulty_sleep(file->behaviour.abort_sleep_ms);
    end_call(faulty, sdk_number(context));
}

/* What the legacy hook may change, and what it may only try to. */
static void fill_vma(const struct behaviour *behaviour, struct muse_vma *vma)
{
    vma->vm_flags |= behaviour->set_flags;
    vma->vm_flags &= ~behaviour->clear_flags;
    if (behaviour->has_set_pgoff)
        vma->pgoff = behaviour->set_pgoff;
    if (behaviour->has_set_prot)
        vma->page_prot = (uint32_t)behaviour->set_prot;
    vma->vm_ops = ops_of(behaviour);
    vma->private_data = sdk_pointer(behaviour->private_data);
}

int faulty_mmap(struct muse_driver_file *sdk_file, struct muse_vma *vma)
{
    struct faulty_file *file = faulty_file_of(sdk_file);
    const struct behaviour *behaviour = &file->behaviour;
    int r = -(int)behaviour->mmap_errno;

    count(&file->faulty->n.mmap);
    faulty_maybe_die(behaviour, "mmap");
    faulty_sleep(behaviour->complete_sleep_ms);
    if (r < 0) {
        muse_set_error("mmap refused as asked for");
    } else {
        fill_vma(behaviour, vma);
        if (behaviour->verb[0])
            r = use_verb(file->object, behaviour->verb, vma);
        if (r == 0 && behaviour->forward[0])
            r = muse_vma_forward(vma, behaviour->forward);
    }
    delay_complete(file->faulty, behaviour, r);
    return r;
}
