/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mmap, munmap and mremap as told by the server. Runs in the thread whose call the server is
 * answering, without any lock: an mremap waits until the server has read the event it causes. Owns
 * nothing but the lists of ranges outside the arena, and of those inside that are not ours any more.
 */
#define _GNU_SOURCE
#include "client-lib/memops.h"

#include <errno.h>
#include <linux/userfaultfd.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "client-lib/file.h"
#include "common/base/linux_abi.h"
#include "common/base/own.h"
#include "proto/client.pb-c.h"
#include "proto/limits.h"
#include "proto/status.h"

/* What a server may ask of mmap. The others either mean something to the server only (MAP_LOCKED,
 * MAP_POPULATE would touch pages before the range is registered: zeros) or would make something
 * else than a mapping of the object. */
#define MMAP_FLAGS_KEPT (MAP_TYPE | MAP_NORESERVE | MAP_SYNC)
#define PROT_ALL        ((uint32_t)(PROT_READ | PROT_WRITE | PROT_EXEC))
/* Of anonymous memory the kernel keeps all promises itself. */
#define MMAP_ANON_FLAGS_KEPT                                                                       \
    (MAP_TYPE | MAP_NORESERVE | MAP_POPULATE | MAP_NONBLOCK | MAP_LOCKED | MAP_STACK)

/* Everything one op needs. */
struct work {
    struct muse *muse;
    struct range own, also;
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
    /* A debugger's core would have all of it. And all of the arena has the same flags, so that a range
     * given back merges with its neighbours. */
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
    return is_in_arena(work, range) || range_contains_range(work->own, range) ||
           range_contains_range(work->also, range);
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

/*
 * From here on nothing is brought in that the server has not served, and what was before, goes. That
 * it is registered is the server's business, which registers it as it wants it, or says why it
 * cannot; here only the order counts.
 */
static int watch(const struct work *work)
{
    struct uffdio_register args = {
        .range = {.start = work->range.start, .len = range_len(work->range)},
        .mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR,
    };

    (void)ioctl(work->muse->uffd, UFFDIO_REGISTER, &args);
    return madvise(address_pointer(work->range.start), range_len(work->range),
                   MADV_DONTNEED_LOCKED);
}

/*
 * After mlockall(MCL_FUTURE) the kernel brings in at once what is mapped, and a page cache would
 * have pages before anybody serves it: zeros. Where there is no access nothing is brought in, and
 * what is not locked any more is not when access comes. But what is to be executable must be so from
 * the start (PR_SET_MDWE); and mlockall(MCL_CURRENT) of another thread that is under way brings in
 * what it comes to, locked or not. So what came is dropped, once nothing more can come. Nobody has
 * filled it, because nobody knows the address yet (decision 15).
 */
static int map_unlocked(const struct work *work, int flags, int fd)
{
    const size_t len = range_len(work->range);
    void *at = address_pointer(work->range.start);
    const int prot = (int)work->op->prot;
    const int first_prot = prot & PROT_EXEC ? prot : PROT_NONE;
    int r;

    if (mmap(at, len, first_prot, flags, fd, (off_t)work->op->offset) == MAP_FAILED)
        return -errno;
    if (syscall(SYS_munlock, at, len) == 0 &&
        (prot == first_prot || mprotect(at, len, prot) == 0) &&
        (prot == PROT_NONE || watch(work) == 0))
        return 0;
    r = -errno;
    if (is_in_arena(work, work->range))
        (void)!memops_reserve(work->range, MAP_FIXED);
    else
        (void)munmap(at, len);
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
    if (!op->has_direct || !op->direct)
        r = map_unlocked(work, flags, fd);
    else if (mmap(address_pointer(work->range.start), range_len(work->range), (int)op->prot, flags,
                  fd, (off_t)op->offset) == MAP_FAILED)
        r = -errno;
    r = note(work, outside_add, work->range, r);
    return r < 0 ? r : memops_keep_from_children(work->range);
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

/* But for what others have mapped in there. */
static int run_reserve(const struct work *work)
{
    struct range rest = work->range;
    int r = is_in_arena(work, rest) ? 0 : -EINVAL;

    while (r == 0 && !range_is_empty(rest)) {
        struct range part = rest, lost;

        (void)pthread_mutex_lock(&work->muse->lock);
        lost = outside_next(&work->muse->lost, rest);
        (void)pthread_mutex_unlock(&work->muse->lock);
        part.end = lost.start;
        rest.start = lost.end;
        if (!range_is_empty(part))
            r = memops_reserve(part, MAP_FIXED);
    }
    return r;
}

static int run_munmap(const struct work *work)
{
    int r;

    if (!is_target(work, work->range) || range_overlaps(work->range, work->muse->arena))
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

/* Chosen: long enough that two more calls do not matter, and stays in a processor's cache. */
#define BOUNCE_BYTES ((size_t)64 << 10)

/*
 * While pwrite(2) runs the file is locked, and whoever makes a hole in it waits: the server, that is. So
 * nothing is to fault in it. The source may be a mapping, too, whose page has to come from the server.
 * What cannot be read this way, as memory of a device, is not one.
 */
static ssize_t write_from(int fd, void *bounce, const char *data, size_t len, uint64_t offset)
{
    const struct iovec to = {.iov_base = bounce,
                             .iov_len = len < BOUNCE_BYTES ? len : BOUNCE_BYTES};
    const struct iovec from = {.iov_base = (void *)(uintptr_t)data, .iov_len = to.iov_len};
    const ssize_t n = process_vm_readv(getpid(), &to, 1, &from, 1, 0);

    return n > 0 ? pwrite(fd, bounce, (size_t)n, (off_t)offset)
                 : pwrite(fd, data, to.iov_len, (off_t)offset);
}

/* Into the page cache, where every mapping of the object sees it. */
static int run_pwrite(const struct work *work)
{
    const struct memops_source *source = work->source;
    const Muse__Wire__MemOps__Op *op = work->op;
    CLEAN(file_unref_p) struct muse_file *file = NULL;
    CLEAN(free_p) void *bounce = NULL;
    uint64_t done = 0;
    uint64_t start;
    struct range bytes;

    if (!source || !op->has_file_id || op->file_id != source->file_id)
        return -EINVAL;
    start = source->is_append ? op->offset : source->bytes.start; /* of the buffer, in the file */
    if (range_from_len(source->is_append ? 0 : op->offset, op->length, &bytes) < 0 ||
        !range_contains_range(source->bytes, bytes))
        return -EINVAL;
    bounce = malloc(op->length < BOUNCE_BYTES ? op->length + 1 : BOUNCE_BYTES);
    if (!bounce)
        return -ENOMEM;
    file = file_find(work->muse, op->file_id);
    while (file && file->fd >= 0 && done < op->length) {
        const ssize_t n = write_from(file->fd, bounce, source->data + (op->offset - start) + done,
                                     op->length - done, op->offset + done);

        if (n < 0 && errno != EINTR)
            return -errno;
        done += n > 0 ? (uint64_t)n : 0;
    }
    return done == op->length ? 0 : -EBADF;
}

/* ---- anonymous memory ---- */

static int run_mmap_anon(const struct work *work)
{
    const Muse__Wire__MemOps__Op *op = work->op;
    const int flags = (int)(op->flags & (uint32_t)MMAP_ANON_FLAGS_KEPT) | MAP_ANONYMOUS | MAP_FIXED;
    int r;

    if (!is_target(work, work->range) || !op->has_prot || !op->has_flags ||
        (op->prot & ~PROT_ALL) != 0)
        return -EINVAL;
    r = promise(work, work->range);
    if (r < 0)
        return r;
    r = mmap(address_pointer(work->range.start), range_len(work->range), (int)op->prot, flags, -1,
             0) == MAP_FAILED
            ? -errno
            : 0;
    r = note(work, outside_add, work->range, r);
    return r < 0 ? r : memops_keep_from_children(work->range);
}

/* ---- what changes mappings in place ---- */

static int run_mprotect(const struct work *work)
{
    if (!is_target(work, work->range) || !work->op->has_prot || (work->op->prot & ~PROT_ALL) != 0)
        return -EINVAL;
    return mprotect(address_pointer(work->range.start), range_len(work->range),
                    (int)work->op->prot) < 0
               ? -errno
               : 0;
}

/* What a server may advise: nothing that breaks or reveals pages, or that only the server needs. */
static bool is_allowed_advice(uint32_t advice)
{
    static const int allowed[] = {
        MADV_DONTNEED,      MADV_DONTNEED_LOCKED, MADV_FREE,     MADV_REMOVE,
        MADV_WIPEONFORK,    MADV_KEEPONFORK,      MADV_DONTDUMP, MADV_DODUMP,
        MADV_HUGEPAGE,      MADV_NOHUGEPAGE,      MADV_COLD,     MADV_PAGEOUT,
        MADV_POPULATE_READ, MADV_POPULATE_WRITE,
    };

    for (unsigned i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++) {
        if ((uint32_t)allowed[i] == advice)
            return true;
    }
    return false;
}

static int run_madvise(const struct work *work)
{
    const uint32_t advice = work->op->advice;

    if (!is_target(work, work->range) || !is_allowed_advice(advice))
        return -EINVAL;
    if (madvise(address_pointer(work->range.start), range_len(work->range), (int)advice) == 0)
        return 0;
    /* a page that could not be had is poison here, and an error of the file for everybody else */
    return errno == EHWPOISON ? -EFAULT : -errno;
}

/* Is all of that mapped by us outside the arena, whichever call named it? */
static bool is_outside(const struct work *work, struct range range)
{
    struct range part;

    do {
        (void)pthread_mutex_lock(&work->muse->lock);
        part = outside_next(&work->muse->outside, range);
        (void)pthread_mutex_unlock(&work->muse->lock);
        if (part.start != range.start)
            return false;
        range.start = part.end;
    } while (!range_is_empty(range));
    return true;
}

/* MREMAP_DONTUNMAP of a part unlocks all of the mapping, as in the kernel. */
static int run_lock(const struct work *work, bool lock)
{
    const void *start = address_pointer(work->range.start);
    const size_t len = range_len(work->range);
    const unsigned flags = work->op->flags & (unsigned)MLOCK_ONFAULT;

    if (!is_target(work, work->range) && (lock || !is_outside(work, work->range)))
        return -EINVAL;
    /* not through libc: whoever stands in front of it (muse-run, a sanitizer) means its callers */
    return (lock ? syscall(SYS_mlock2, start, len, flags) : syscall(SYS_munlock, start, len)) < 0
               ? -errno
               : 0;
}

/* ---- what moves mappings ---- */

static int remap(uint64_t from, uint64_t len, uint64_t to, uint64_t new_len, int flags)
{
    return mremap(address_pointer(from), len, new_len, MREMAP_MAYMOVE | MREMAP_FIXED | flags,
                  address_pointer(to)) == MAP_FAILED
               ? -errno
               : 0;
}

/*
 * One mapping of the server's may be several of the kernel's, and those that a userfaultfd watches
 * move one at a time (EFAULT otherwise): then by halves.
 */
static int move_pages(uint64_t from, uint64_t len, uint64_t to, uint64_t new_len, int flags)
{
    const uint64_t half = len / 2 / PAGE_BYTES * PAGE_BYTES;
    int r = remap(from, len, to, new_len, flags);

    if (r != -EFAULT || half == 0)
        return r;
    r = move_pages(from, half, to, half, flags);
    if (r < 0)
        return r;
    r = move_pages(from + half, len - half, to + half, new_len - half, flags);
    if (r < 0) /* back; there is room, it was there a moment ago */
        (void)!move_pages(to, half, from, half, 0);
    return r;
}

/* The op's target: @len bytes at op->to. */
static int checked_target(const struct work *work, uint64_t len, struct range *ret_target)
{
    if (!is_target(work, work->range) || checked_range(work->op->to, len, ret_target) < 0 ||
        !is_target(work, *ret_target) || range_overlaps(*ret_target, work->range))
        return -EINVAL;
    return 0;
}

static int run_remap(const struct work *work)
{
    struct range target;
    int r = checked_target(work, work->op->new_length, &target);

    if (r < 0 || work->op->new_length < range_len(work->range))
        return -EINVAL;
    r = promise(work, work->range);
    if (r < 0)
        return r;
    r = promise(work, target);
    if (r == 0) {
        r = move_pages(work->range.start, range_len(work->range), target.start, range_len(target),
                       0);
        r = note(work, outside_add, target, r);
    }
    return note(work, outside_remove, work->range, r);
}

/*
 * In place, over bare addresses of the process. Of what the program has locked itself, by mlockall(2), the
 * kernel would bring in the new pages before it returns; but an object's come from a server that waits
 * for this very call.
 */
static int run_grow(const struct work *work)
{
    struct range grown;
    int r;

    if (range_from_len(work->range.start, work->op->new_length, &grown) < 0 ||
        checked_range(grown.start, range_len(grown), &grown) < 0 || !is_target(work, grown) ||
        range_len(grown) <= range_len(work->range))
        return -EINVAL;
    r = promise(work, grown);
    if (r < 0)
        return r;
    if (!(work->op->flags & (uint32_t)MAP_ANONYMOUS))
        (void)syscall(SYS_munlock, address_pointer(grown.start), range_len(work->range));
    r = mremap(address_pointer(grown.start), range_len(work->range), range_len(grown), 0) ==
                MAP_FAILED
            ? -errno
            : 0;
    return note(work, outside_add, grown, r);
}

static int run_duplicate(const struct work *work)
{
    struct range target;
    int r = checked_target(work, work->op->new_length, &target);

    if (r < 0)
        return r;
    r = promise(work, target);
    if (r < 0)
        return r;
    r = remap(work->range.start, 0, target.start, range_len(target), 0);
    return note(work, outside_add, target, r);
}

static int protect(struct range range, int prot)
{
    return mprotect(address_pointer(range.start), range_len(range), prot) < 0 ? -errno : 0;
}

/*
 * Whether the source is still watched when its pages have moved away is up to the kernel; it could
 * read as zeros. So nobody has access to it meanwhile, and the server gives that back once it has
 * seen to it that it is watched. The target's too: of what is locked mprotect(2) brings in pages, and
 * the server has to know where they are by then.
 */
static int run_split_off(const struct work *work)
{
    const int prot = (int)(work->op->prot & PROT_ALL);
    struct range target;
    int r = checked_target(work, range_len(work->range), &target);

    if (r < 0)
        return r;
    r = promise(work, target);
    if (r < 0)
        return r;
    r = protect(work->range, PROT_NONE);
    if (r == 0) {
        r = move_pages(work->range.start, range_len(work->range), target.start, range_len(target),
                       MREMAP_DONTUNMAP);
        if (r < 0)
            (void)!protect(work->range, prot); /* it was so a moment ago */
    }
    r = note(work, outside_add, target, r);
    if (r == 0 && !(work->op->has_closed && work->op->closed))
        r = protect(target, prot);
    return r;
}

/*
 * A hole becomes bare addresses again. Where another thread's mmap was given the hole meanwhile,
 * what it mapped there is left alone, also when this handle is disconnected.
 */
static int run_reserve_free(const struct work *work)
{
    struct muse *muse = work->muse;
    int r;

    if (!is_in_arena(work, work->range))
        return -EINVAL;
    (void)pthread_mutex_lock(&muse->lock);
    r = outside_promise(&muse->lost);
    (void)pthread_mutex_unlock(&muse->lock);
    if (r < 0)
        return r;
    r = memops_reserve(work->range, MAP_FIXED_NOREPLACE);
    (void)pthread_mutex_lock(&muse->lock);
    if (r == 0)
        outside_cancel(&muse->lost);
    else
        outside_add(&muse->lost, work->range);
    (void)pthread_mutex_unlock(&muse->lock);
    return r;
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
    case MUSE__WIRE__MEM_OPS__KIND__MMAP_ANON:
        return run_mmap_anon(work);
    case MUSE__WIRE__MEM_OPS__KIND__MPROTECT:
        return run_mprotect(work);
    case MUSE__WIRE__MEM_OPS__KIND__MADVISE:
        return run_madvise(work);
    case MUSE__WIRE__MEM_OPS__KIND__MLOCK:
        return run_lock(work, true);
    case MUSE__WIRE__MEM_OPS__KIND__MUNLOCK:
        return run_lock(work, false);
    case MUSE__WIRE__MEM_OPS__KIND__REMAP:
        return run_remap(work);
    case MUSE__WIRE__MEM_OPS__KIND__GROW:
        return run_grow(work);
    case MUSE__WIRE__MEM_OPS__KIND__DUPLICATE:
        return run_duplicate(work);
    case MUSE__WIRE__MEM_OPS__KIND__SPLIT_OFF:
        return run_split_off(work);
    case MUSE__WIRE__MEM_OPS__KIND__RESERVE_FREE:
        return run_reserve_free(work);
    default:
        return -EINVAL;
    }
}

int memops_run(struct muse *muse, const struct range own[2], const struct memops_source *source,
               struct mail *mail, struct memops_result *ret_result)
{
    Muse__Wire__MemOps *ops = muse__wire__mem_ops__unpack(NULL, mail->n_payload, mail->payload);
    struct work work = {
        .muse = muse, .own = own[0], .also = own[1], .source = source, .mail = mail};
    struct memops_result result = {0};
    int r = 0;

    if (!ops || ops->n_ops > MEM_OPS_MAX) {
        muse__wire__mem_ops__free_unpacked(ops, NULL);
        return -EPROTO;
    }
    while (r == 0 && result.n_done < ops->n_ops) {
        work.op = ops->ops[result.n_done];
        r = run_op(&work);
        if (r == 0)
            result.n_done++;
    }
    result.error = status_from_result(r);
    result.ends_call = ops->has_ends_call && ops->ends_call;
    muse__wire__mem_ops__free_unpacked(ops, NULL);
    *ret_result = result;
    return 0;
}
