/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mmap, munmap and mremap as told by the server. Runs in the thread whose call the server is
 * answering, without any lock: an mremap waits until the server has read the event it causes. Owns
 * nothing but the list of ranges outside the arena.
 */
#define _GNU_SOURCE
#include "client-lib/memops.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client-lib/file.h"
#include "common/base/own.h"
#include "proto/client.pb-c.h"
#include "proto/limits.h"
#include "proto/status.h"

/* Since Linux 5.7, and for file mappings since 5.13. */
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

/* What a server may ask of mmap. The others either mean something to the server only (MAP_LOCKED,
 * MAP_POPULATE would touch pages before the range is registered: zeros) or would make something
 * else than a mapping of the object. */
#define MMAP_FLAGS_KEPT (MAP_TYPE | MAP_NORESERVE | MAP_SYNC)
#define PROT_ALL        ((uint32_t)(PROT_READ | PROT_WRITE | PROT_EXEC))

/* Everything one op needs. */
struct work {
    struct muse *muse;
    struct range own;
    const struct memops_source *source; /* borrowed; NULL: nothing may be written */
    struct mail *mail;
    const Muse__Wire__MemOps__Op *op;
    struct range range; /* checked: aligned, not empty, below ADDRESS_END */
};

int memops_keep_from_children(struct range range)
{
    return madvise(address_pointer(range.start), range_len(range), MADV_DONTFORK) < 0 ? -errno : 0;
}

int memops_reserve(struct range range, int flags)
{
    void *wanted = address_pointer(range.start);
    void *got = mmap(wanted, range_len(range), PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0);

    if (got == MAP_FAILED)
        return -errno;
    if (got != wanted) { /* a kernel before 4.17 takes MAP_FIXED_NOREPLACE for a hint */
        (void)munmap(got, range_len(range));
        return -EEXIST;
    }
    /* All of the arena has the same flags: a range given back merges with its neighbours. */
    return madvise(wanted, range_len(range), MADV_DONTDUMP) < 0 ? -errno : 0;
}

static int checked_range(uint64_t start, uint64_t len, struct range *ret_range)
{
    struct range range;
    int r = range_from_len(start, len, &range);

    if (r < 0 || range_is_empty(range) || !range_is_aligned(range, PAGE_BYTES) ||
        range.end > ADDRESS_END)
        return -EINVAL;
    *ret_range = range;
    return 0;
}

static bool is_in_arena(const struct work *work, struct range range)
{
    return range_contains_range(work->muse->arena, range);
}

/* May something of the object be put there? */
static bool is_target(const struct work *work, struct range range)
{
    return is_in_arena(work, range) || range_contains_range(work->own, range);
}

/* Before a call that changes what lies outside the arena; then note_mapped() or note_unmapped(). */
static int promise(const struct work *work, struct range range)
{
    int r;

    if (is_in_arena(work, range))
        return 0;
    (void)pthread_mutex_lock(&work->muse->lock);
    r = outside_promise(&work->muse->outside);
    (void)pthread_mutex_unlock(&work->muse->lock);
    return r;
}

typedef void note_fn(struct outside *outside, struct range range);

/* Keep the promise when the call succeeded. Return: @r, the call's result. */
static int note(const struct work *work, note_fn *change, struct range range, int r)
{
    if (is_in_arena(work, range))
        return r;
    (void)pthread_mutex_lock(&work->muse->lock);
    if (r == 0) {
        change(&work->muse->outside, range);
    } else {
        outside_cancel(&work->muse->outside);
    }
    (void)pthread_mutex_unlock(&work->muse->lock);
    return r;
}

static int map_fd(const struct work *work, int fd)
{
    const Muse__Wire__MemOps__Op *op = work->op;
    const int flags = (int)(op->flags & (uint32_t)MMAP_FLAGS_KEPT) | MAP_FIXED;
    int r;

    if (fd < 0)
        return -EBADF;
    r = promise(work, work->range);
    if (r < 0)
        return r;
    if (mmap(address_pointer(work->range.start), range_len(work->range), (int)op->prot, flags, fd,
             (off_t)op->offset) == MAP_FAILED)
        return note(work, outside_add, work->range, -errno);
    (void)note(work, outside_add, work->range, 0);
    return memops_keep_from_children(work->range);
}

static int run_mmap_file(const struct work *work)
{
    const Muse__Wire__MemOps__Op *op = work->op;
    CLEAN(file_unref_p) struct muse_file *file = NULL;

    if (!is_target(work, work->range) || !op->has_prot || !op->has_flags ||
        (op->prot & ~PROT_ALL) != 0 || op->offset % PAGE_BYTES != 0 || op->offset > INT64_MAX)
        return -EINVAL;
    if (op->has_fd_index)
        return map_fd(work, op->fd_index < FRAME_FDS_MAX ? work->mail->fds[op->fd_index] : -1);
    if (op->has_file_id)
        file = file_find(work->muse, op->file_id);
    return map_fd(work, file ? file->fd : -1);
}

static int run_reserve(const struct work *work)
{
    return is_in_arena(work, work->range) ? memops_reserve(work->range, MAP_FIXED) : -EINVAL;
}

static int run_munmap(const struct work *work)
{
    int r;

    if (!range_contains_range(work->own, work->range) ||
        range_overlaps(work->range, work->muse->arena))
        return -EINVAL;
    r = promise(work, work->range);
    if (r < 0)
        return r;
    r = munmap(address_pointer(work->range.start), range_len(work->range)) < 0 ? -errno : 0;
    return note(work, outside_remove, work->range, r);
}

/*
 * Move the pages, then make the source bare addresses again. MREMAP_DONTUNMAP leaves the empty
 * source mapped until then, so that no mmap of another thread can get in between. Where that is
 * refused (hugetlb, accounting), the source is a hole for a moment; what got in there meanwhile
 * must not be replaced, so the op fails and the server gives the range up.
 */
static int run_move(const struct work *work)
{
    const size_t len = range_len(work->range);
    void *from = address_pointer(work->range.start);
    int reserve_flags = MAP_FIXED;
    struct range target;
    void *got;
    int r;

    if (checked_range(work->op->to, len, &target) < 0 || !is_target(work, target) ||
        !is_in_arena(work, work->range) || range_overlaps(target, work->range))
        return -EINVAL;
    r = promise(work, target);
    if (r < 0)
        return r;
    got = mremap(from, len, len, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP,
                 address_pointer(target.start));
    if (got == MAP_FAILED && (errno == EINVAL || errno == ENOMEM)) {
        got = mremap(from, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, address_pointer(target.start));
        reserve_flags = MAP_FIXED_NOREPLACE;
    }
    r = note(work, outside_add, target, got == MAP_FAILED ? -errno : 0);
    return r < 0 ? r : memops_reserve(work->range, reserve_flags);
}

/* Into the page cache, where every mapping of the object sees it. */
static int run_pwrite(const struct work *work)
{
    const struct memops_source *source = work->source;
    const Muse__Wire__MemOps__Op *op = work->op;
    CLEAN(file_unref_p) struct muse_file *file = NULL;
    uint64_t done = 0;
    struct range bytes;

    if (!source || !op->has_file_id || op->file_id != source->file_id ||
        range_from_len(op->offset, op->length, &bytes) < 0 ||
        !range_contains_range(source->bytes, bytes))
        return -EINVAL;
    file = file_find(work->muse, op->file_id);
    while (file && file->fd >= 0 && done < op->length) {
        ssize_t n = pwrite(file->fd, source->data + (op->offset - source->bytes.start) + done,
                           op->length - done, (off_t)(op->offset + done));

        if (n < 0 && errno != EINTR)
            return -errno;
        done += n > 0 ? (uint64_t)n : 0;
    }
    return done == op->length ? 0 : -EBADF;
}

/* Return: 0 or -errno. */
static int run_op(struct work *work)
{
    int r;

    if ((int)work->op->kind == MUSE__WIRE__MEM_OPS__KIND__PWRITE)
        return run_pwrite(work);
    r = checked_range(work->op->addr, work->op->length, &work->range);

    if (r < 0)
        return r;
    switch ((int)work->op->kind) { /* as received: may be a number the enum does not have */
    case MUSE__WIRE__MEM_OPS__KIND__MMAP_FILE:
        return run_mmap_file(work);
    case MUSE__WIRE__MEM_OPS__KIND__MMAP_RESERVE:
        return run_reserve(work);
    case MUSE__WIRE__MEM_OPS__KIND__MUNMAP:
        return run_munmap(work);
    case MUSE__WIRE__MEM_OPS__KIND__MOVE:
        return run_move(work);
    default:
        return -EINVAL;
    }
}

int memops_run(struct muse *muse, struct range own, const struct memops_source *source,
               struct mail *mail, uint32_t *ret_n_done, uint32_t *ret_error)
{
    Muse__Wire__MemOps *ops = muse__wire__mem_ops__unpack(NULL, mail->n_payload, mail->payload);
    struct work work = {.muse = muse, .own = own, .source = source, .mail = mail};
    uint32_t n_done = 0;
    int r = 0;

    if (!ops || ops->n_ops > MEM_OPS_MAX) {
        muse__wire__mem_ops__free_unpacked(ops, NULL);
        return -EPROTO;
    }
    while (r == 0 && n_done < ops->n_ops) {
        work.op = ops->ops[n_done];
        r = run_op(&work);
        if (r == 0)
            n_done++;
    }
    muse__wire__mem_ops__free_unpacked(ops, NULL);
    *ret_n_done = n_done;
    *ret_error = status_from_result(r);
    return 0;
}
