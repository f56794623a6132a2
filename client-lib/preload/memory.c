/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Entry points about addresses. A served mapping lies in the arena, or is one that the program made
 * with MAP_FIXED over memory of its own: of those there is a list. A call about a range is cut into
 * pieces that are served and pieces that are not, in the order of addresses:
 *
 *        program's own        | arena ........ |   own   | fixed |  own
 *     [------------------- one munmap ------------------------------------)
 *         the C library         muse_munmap       C lib    muse_..   C lib
 *
 * Who has no served mapping pays one or two compares.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "client-lib/preload/fds.h"
#include "client-lib/preload/session.h"
#include "common/base/range.h"

#define PAGE_BYTES 4096ull

EXPORT int __madvise(void *addr, size_t len, int advice);

/* ---- which addresses are served ---- */

static struct {
    pthread_mutex_t lock;
    struct range *ranges; /* owned; disjoint, in no order */
    size_t n, n_allocated;
} fixed = {.lock = PTHREAD_MUTEX_INITIALIZER};

static atomic_size_t n_fixed; /* as fixed.n, for a look without the lock */

static struct range arena(void)
{
    return (struct range){atomic_load_explicit(&session_arena_start, memory_order_relaxed),
                          atomic_load_explicit(&session_arena_end, memory_order_relaxed)};
}

/* Whole pages; empty when the range wraps or is nothing: the C library says what is wrong. */
static struct range pages_of(const void *addr, size_t len)
{
    const struct range none = {0};
    struct range range;

    if (range_from_len((uintptr_t)addr, len, &range) < 0 ||
        range_align_out(range, PAGE_BYTES, &range) < 0)
        return none;
    return range;
}

/* Under the lock. Append; there is room. */
static void fixed_append(struct range range)
{
    fixed.ranges[fixed.n++] = range;
    atomic_store(&n_fixed, fixed.n);
}

/* Under the lock. Make room for @n more. Return: whether there is. */
static bool fixed_reserve(size_t n)
{
    struct range *longer;

    if (fixed.n + n <= fixed.n_allocated)
        return true;
    longer = realloc(fixed.ranges, (fixed.n + n) * 2 * sizeof(*longer));
    if (!longer)
        return false;
    fixed.ranges = longer;
    fixed.n_allocated = (fixed.n + n) * 2;
    return true;
}

static void fixed_remove(struct range range)
{
    (void)pthread_mutex_lock(&fixed.lock);
    for (size_t i = 0; i < fixed.n;) {
        struct range parts[2];
        unsigned n_parts;

        if (!range_overlaps(fixed.ranges[i], range)) {
            i++;
            continue;
        }
        n_parts = range_subtract(fixed.ranges[i], range, parts);
        fixed.ranges[i] = fixed.ranges[--fixed.n];
        for (unsigned p = 0; p < n_parts && fixed_reserve(1); p++)
            fixed_append(parts[p]);
    }
    atomic_store(&n_fixed, fixed.n);
    (void)pthread_mutex_unlock(&fixed.lock);
}

static bool fixed_add(struct range range)
{
    bool done;

    fixed_remove(range);
    (void)pthread_mutex_lock(&fixed.lock);
    done = fixed_reserve(1);
    if (done)
        fixed_append(range);
    (void)pthread_mutex_unlock(&fixed.lock);
    return done;
}

static bool is_anything_served(struct range range)
{
    bool found = false;

    if (shim_depth > 0)
        return false;
    if (range_overlaps(range, arena()))
        return true;
    if (atomic_load_explicit(&n_fixed, memory_order_relaxed) == 0)
        return false;
    (void)pthread_mutex_lock(&fixed.lock);
    for (size_t i = 0; i < fixed.n && !found; i++)
        found = range_overlaps(fixed.ranges[i], range);
    (void)pthread_mutex_unlock(&fixed.lock);
    return found;
}

/* The first piece of a range that is all served or all not. */
static struct range first_piece(struct range range, bool *ret_served)
{
    struct range best = {range.end, range.end}; /* the lowest served range that overlaps */
    const struct range in_arena = arena();

    if (range_overlaps(range, in_arena))
        best = in_arena;
    (void)pthread_mutex_lock(&fixed.lock);
    for (size_t i = 0; i < fixed.n; i++) {
        if (range_overlaps(fixed.ranges[i], range) && fixed.ranges[i].start < best.start)
            best = fixed.ranges[i];
    }
    (void)pthread_mutex_unlock(&fixed.lock);
    *ret_served = best.start <= range.start;
    if (*ret_served)
        return (struct range){range.start, best.end < range.end ? best.end : range.end};
    return (struct range){range.start, best.start < range.end ? best.start : range.end};
}

static void *pointer(uint64_t address)
{
    return (void *)(uintptr_t)address; /* NOLINT(performance-no-int-to-ptr) */
}

/* One call about one piece. @argument: the caller's. */
typedef int piece_fn(struct muse *muse, struct range piece, void *argument);

struct both {
    piece_fn *served, *own;
};

/* In the order of addresses, until one fails, as the kernel does it. */
static int for_pieces(struct range range, struct both both, void *argument)
{
    struct muse *muse = session_get(NULL);
    int r = 0;

    if (!muse)
        return -1;
    while (r == 0 && !range_is_empty(range)) {
        bool is_served;
        const struct range piece = first_piece(range, &is_served);

        r = (is_served ? both.served : both.own)(muse, piece, argument);
        range.start = piece.end;
    }
    return r;
}

/* ---- mmap ---- */

static void *map_served(struct served *served, void *addr, size_t len, int prot, int flags,
                        off_t offset)
{
    const bool is_fixed = (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) != 0;
    struct muse_file *file = NULL;
    struct muse *muse;
    void *got = MAP_FAILED;

    (void)pthread_mutex_lock(&served->lock);
    if (served->is_folder)
        errno = ENODEV;
    else if ((served->oflags & O_ACCMODE) == O_WRONLY)
        errno = EACCES;
    else
        file = fds_file(served);
    muse = file ? session_get(NULL) : NULL;
    if (muse)
        got = INSIDE(muse_mmap(muse, addr, len, prot, flags, file, offset));
    (void)pthread_mutex_unlock(&served->lock);
    if (got != MAP_FAILED && is_fixed && !range_contains(arena(), (uintptr_t)got) &&
        !fixed_add(pages_of(got, len))) {
        (void)INSIDE(muse_munmap(muse, got, len));
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return got;
}

static int unmap_served(struct muse *muse, struct range piece, void *argument)
{
    (void)argument;
    if (INSIDE(muse_munmap(muse, pointer(piece.start), range_len(piece))) < 0)
        return -1;
    fixed_remove(piece);
    return 0;
}

static int unmap_own(struct muse *muse, struct range piece, void *argument)
{
    (void)muse;
    (void)argument;
    return REAL(munmap)(pointer(piece.start), range_len(piece));
}

static int leave_own(struct muse *muse, struct range piece, void *argument)
{
    (void)muse;
    (void)piece;
    (void)argument;
    return 0;
}

/* Memory of the program's own over served mappings. In the arena only the server may place things.
 */
static void *map_over_served(struct range range, int prot, int flags, int fd, off_t offset)
{
    const struct both over = {unmap_served, leave_own};
    struct muse *muse = session_get(NULL);

    if (!muse)
        return MAP_FAILED;
    if (range_overlaps(range, arena())) {
        if (flags & MAP_ANONYMOUS)
            return INSIDE(
                muse_mmap(muse, pointer(range.start), range_len(range), prot, flags, NULL, offset));
        errno = ENOMEM;
        return MAP_FAILED;
    }
    if (for_pieces(range, over, NULL) < 0)
        return MAP_FAILED;
    return REAL(mmap)(pointer(range.start), range_len(range), prot, flags, fd, offset);
}

EXPORT void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
    struct served *served = NULL;
    void *got;

    if (fd >= 0 && !(flags & MAP_ANONYMOUS))
        served = fds_get(fd);
    if (!served) {
        if ((flags & MAP_FIXED) && is_anything_served(pages_of(addr, len)))
            return map_over_served(pages_of(addr, len), prot, flags, fd, offset);
        got = REAL(mmap)(addr, len, prot, flags, fd, offset);
        if (got != MAP_FAILED || errno != EACCES || (flags & MAP_ANONYMOUS) || !fds_adopt(fd))
            return got;
        served = fds_get(fd);
        if (!served)
            return got;
    }
    got = map_served(served, addr, len, prot, flags, offset);
    fds_put(served);
    return got;
}
EXPORT_AS(mmap64, mmap);

EXPORT int munmap(void *addr, size_t len)
{
    const struct both both = {unmap_served, unmap_own};

    if (!is_anything_served(pages_of(addr, len)))
        return REAL(munmap)(addr, len);
    if ((uintptr_t)addr % PAGE_BYTES != 0)
        return fail(EINVAL);
    return for_pieces(pages_of(addr, len), both, NULL);
}

/* ---- mprotect, madvise, msync, mincore, mlock ---- */

static int protect_served(struct muse *muse, struct range piece, void *prot)
{
    return INSIDE(muse_mprotect(muse, pointer(piece.start), range_len(piece), *(int *)prot));
}

static int protect_own(struct muse *muse, struct range piece, void *prot)
{
    (void)muse;
    return REAL(mprotect)(pointer(piece.start), range_len(piece), *(int *)prot);
}

EXPORT int mprotect(void *addr, size_t len, int prot)
{
    const struct both both = {protect_served, protect_own};

    if (!is_anything_served(pages_of(addr, len)))
        return REAL(mprotect)(addr, len, prot);
    if ((uintptr_t)addr % PAGE_BYTES != 0)
        return fail(EINVAL);
    return for_pieces(pages_of(addr, len), both, &prot);
}

static int advise_served(struct muse *muse, struct range piece, void *advice)
{
    return INSIDE(muse_madvise(muse, pointer(piece.start), range_len(piece), *(int *)advice));
}

static int advise_own(struct muse *muse, struct range piece, void *advice)
{
    (void)muse;
    return REAL(madvise)(pointer(piece.start), range_len(piece), *(int *)advice);
}

EXPORT int madvise(void *addr, size_t len, int advice)
{
    const struct both both = {advise_served, advise_own};

    if (!is_anything_served(pages_of(addr, len)))
        return REAL(madvise)(addr, len, advice);
    if ((uintptr_t)addr % PAGE_BYTES != 0)
        return fail(EINVAL);
    return for_pieces(pages_of(addr, len), both, &advice);
}
EXPORT_AS(__madvise, madvise);

EXPORT int posix_madvise(void *addr, size_t len, int advice)
{
    const int saved = errno;
    int r;

    if (!is_anything_served(pages_of(addr, len)))
        return REAL(posix_madvise)(addr, len, advice);
    if (advice ==
        POSIX_MADV_DONTNEED) /* as the C library: MADV_DONTNEED would throw changes away */
        return 0;
    r = madvise(addr, len, advice) < 0 ? errno : 0;
    errno = saved;
    return r;
}

static int sync_served(struct muse *muse, struct range piece, void *flags)
{
    return INSIDE(muse_msync(muse, pointer(piece.start), range_len(piece), *(int *)flags));
}

static int sync_own(struct muse *muse, struct range piece, void *flags)
{
    (void)muse;
    return REAL(msync)(pointer(piece.start), range_len(piece), *(int *)flags);
}

EXPORT int msync(void *addr, size_t len, int flags)
{
    const struct both both = {sync_served, sync_own};

    if (!is_anything_served(pages_of(addr, len)))
        return REAL(msync)(addr, len, flags);
    if ((uintptr_t)addr % PAGE_BYTES != 0)
        return fail(EINVAL);
    return for_pieces(pages_of(addr, len), both, &flags);
}

struct residency {
    uint64_t start;
    unsigned char *vec; /* for the page at @start, and those behind it */
};

static unsigned char *vec_at(const struct residency *residency, struct range piece)
{
    return residency->vec + (piece.start - residency->start) / PAGE_BYTES;
}

static int resident_served(struct muse *muse, struct range piece, void *residency)
{
    return INSIDE(
        muse_mincore(muse, pointer(piece.start), range_len(piece), vec_at(residency, piece)));
}

static int resident_own(struct muse *muse, struct range piece, void *residency)
{
    (void)muse;
    return REAL(mincore)(pointer(piece.start), range_len(piece), vec_at(residency, piece));
}

EXPORT int mincore(void *addr, size_t len, unsigned char *vec)
{
    const struct both both = {resident_served, resident_own};
    struct residency residency = {.start = (uintptr_t)addr, .vec = vec};

    if (!is_anything_served(pages_of(addr, len)))
        return REAL(mincore)(addr, len, vec);
    if ((uintptr_t)addr % PAGE_BYTES != 0)
        return fail(EINVAL);
    return for_pieces(pages_of(addr, len), both, &residency);
}

static int lock_served(struct muse *muse, struct range piece, void *argument)
{
    (void)argument;
    return INSIDE(muse_mlock(muse, pointer(piece.start), range_len(piece)));
}

static int lock_own(struct muse *muse, struct range piece, void *argument)
{
    (void)muse;
    (void)argument;
    return REAL(mlock)(pointer(piece.start), range_len(piece));
}

EXPORT int mlock(const void *addr, size_t len)
{
    const struct both both = {lock_served, lock_own};

    return is_anything_served(pages_of(addr, len)) ? for_pieces(pages_of(addr, len), both, NULL)
                                                   : REAL(mlock)(addr, len);
}

/* MLOCK_ONFAULT is a promise not to do something; locking now keeps it as well as can be. */
EXPORT int mlock2(const void *addr, size_t len, unsigned int flags)
{
    return is_anything_served(pages_of(addr, len)) ? mlock(addr, len)
                                                   : REAL(mlock2)(addr, len, flags);
}

static int unlock_served(struct muse *muse, struct range piece, void *argument)
{
    (void)argument;
    return INSIDE(muse_munlock(muse, pointer(piece.start), range_len(piece)));
}

static int unlock_own(struct muse *muse, struct range piece, void *argument)
{
    (void)muse;
    (void)argument;
    return REAL(munlock)(pointer(piece.start), range_len(piece));
}

EXPORT int munlock(const void *addr, size_t len)
{
    const struct both both = {unlock_served, unlock_own};

    return is_anything_served(pages_of(addr, len)) ? for_pieces(pages_of(addr, len), both, NULL)
                                                   : REAL(munlock)(addr, len);
}

/* ---- mremap ---- */

/* One mapping, as mremap(2) wants it; so it is served as a whole or not at all. */
static void *remap_served(void *old, size_t old_len, size_t new_len, int flags, void *new_addr)
{
    struct muse *muse = session_get(NULL);
    void *got;

    if (!muse)
        return MAP_FAILED;
    got = INSIDE(muse_mremap(muse, old, old_len, new_len, flags, new_addr));
    if (got == MAP_FAILED)
        return got;
    if (!(flags & MREMAP_DONTUNMAP))
        fixed_remove(pages_of(old, old_len));
    if (!range_contains(arena(), (uintptr_t)got) && !fixed_add(pages_of(got, new_len)))
        errno = ENOMEM; /* it is there; only nothing but the process's end unmaps it */
    return got;
}

EXPORT void *mremap(void *old, size_t old_len, size_t new_len, int flags, ...)
{
    void *new_addr = NULL;
    va_list args;

    va_start(args, flags);
    if (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP))
        new_addr = va_arg(args, void *);
    va_end(args);
    if (is_anything_served(pages_of(old, old_len ? old_len : 1)))
        return remap_served(old, old_len, new_len, flags, new_addr);
    if ((flags & MREMAP_FIXED) && is_anything_served(pages_of(new_addr, new_len))) {
        errno = ENOMEM; /* memory of the program's own cannot move into the arena */
        return MAP_FAILED;
    }
    return REAL(mremap)(old, old_len, new_len, flags, new_addr);
}
