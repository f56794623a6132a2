/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * muse_mmap and muse_munmap. The arguments go to the server as they are, and the server answers as
 * mmap(2) would; checked here is only what the server cannot know: which file, and this process's
 * limit of locked memory.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>

#include "client-lib/call.h"
#include "client-lib/error.h"
#include "client-lib/handle.h"
#include "client-lib/limit.h"
#include "client-lib/memops.h"
#include "proto/client.pb-c.h"

/* Chosen: far above any vm.mmap_min_addr that is set (64 KiB by default), far below every arena. */
#define LOW_ADDRESS_END ((uint64_t)16 << 20)

struct map_args {
    uint64_t addr;
    size_t len;
    int prot;
    int flags;
    off_t offset;
};

/* --- the limits of this process --- */

/* Would do_mmap() refuse these before it looks at the limit? Then the server does, and says why. */
static bool fails_anyway(const struct map_args *args)
{
    return args->len == 0 || args->len > ADDRESS_END || args->offset % (off_t)PAGE_BYTES != 0 ||
           ((args->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) != 0 && args->addr % PAGE_BYTES != 0);
}

static int check_lock_limit(const struct map_args *args)
{
    uint64_t room_bytes;
    int r;

    if ((args->flags & MAP_LOCKED) == 0 || fails_anyway(args))
        return 0;
    r = limit_lock_room(&room_bytes);
    if (r < 0)
        return r;
    return range_len(limit_named_range(0, args->len, PAGE_BYTES)) > room_bytes ? -EAGAIN : 0;
}

/* Whether RLIMIT_DATA counts such a mapping; the server knows what it replaces. */
static bool find_data_room(const struct map_args *args, uint64_t *ret_room)
{
    return (args->flags & MAP_TYPE) == MAP_PRIVATE && (args->prot & PROT_WRITE) != 0 &&
           limit_data_room(ret_room);
}

/* --- munmap --- */

static int unmap(struct muse *muse, uint64_t addr, uint64_t len)
{
    Muse__Wire__Unmap message = MUSE__WIRE__UNMAP__INIT;
    const struct question question = {.type = FRAME_UNMAP,
                                      .message = &message.base,
                                      .fd = -1,
                                      .answer = FRAME_DONE,
                                      .own = limit_named_range(addr, len, PAGE_BYTES)};
    int r = handle_check(muse);

    if (r < 0)
        return r;
    message.addr = addr;
    message.length = len;
    message.has_may_end_with_ops = message.may_end_with_ops = true;
    return call_ask(muse, &question, NULL);
}

int muse_munmap(struct muse *muse, void *addr, size_t len)
{
    error_clear();
    return error_return("muse_munmap", unmap(muse, (uintptr_t)addr, len));
}

/* --- mmap --- */

/* Return: 0; -errno of what only this side can know, in the order in which mmap(2) looks. */
static int check_args(const struct muse *muse, const struct map_args *args,
                      const struct muse_file *file)
{
    int r = handle_check(muse);

    if (r < 0)
        return r;
    if (args->offset % (off_t)PAGE_BYTES != 0)
        return -EINVAL;
    if (!file && (args->flags & MAP_ANONYMOUS) == 0)
        return -EBADF;
    if (file && file->muse != muse) {
        error_say("the file was opened on another handle");
        return -EINVAL;
    }
    return check_lock_limit(args);
}

static uint64_t page_bytes_of(const struct muse_file *file)
{
    return file ? file->page_bytes : PAGE_BYTES;
}

/* @ret_lock: the driver wants it locked */
static int ask_map(struct muse *muse, const struct map_args *args, const struct muse_file *file,
                   uint64_t *ret_addr, bool *ret_lock)
{
    Muse__Wire__Map message = MUSE__WIRE__MAP__INIT;
    struct question question = {
        .type = FRAME_MAP, .message = &message.base, .fd = -1, .answer = FRAME_MAPPED};
    CLEAN(mail_free_p) struct mail *answer = NULL;
    Muse__Wire__Mapped *mapped;
    int r;

    message.addr = args->addr;
    message.length = args->len;
    message.prot = (uint32_t)args->prot;
    message.flags = (uint32_t)args->flags;
    message.file_id = file ? file->id : 0;
    message.offset = (uint64_t)args->offset;
    message.has_data_room = find_data_room(args, &message.data_room);
    if ((args->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) != 0)
        question.own = limit_named_range(args->addr, args->len, page_bytes_of(file));
    r = call_ask(muse, &question, &answer);
    if (r < 0)
        return r;
    mapped = muse__wire__mapped__unpack(NULL, answer->n_payload, answer->payload);
    if (!mapped) {
        call_garbled(muse);
        return -EPROTO;
    }
    *ret_addr = mapped->addr;
    *ret_lock = mapped->has_lock && mapped->lock;
    muse__wire__mapped__free_unpacked(mapped, NULL);
    return 0;
}

/* Lock pages as they come in. After the check above only another thread's locking can fail this. */
static int lock_range(struct muse *muse, uint64_t addr, size_t len)
{
    if (mlock2(address_pointer(addr), len, MLOCK_ONFAULT) == 0)
        return 0;
    (void)!unmap(muse, addr, len); /* what fails here stays mapped, as the caller will not know */
    return -EAGAIN;
}

/* May this process map there at all? Below vm.mmap_min_addr only with CAP_SYS_RAWIO; only the
 * kernel knows for sure, so it is asked with one page. */
static int check_low(struct range range)
{
    void *page = address_pointer(range.start);
    void *got;

    if (range_is_empty(range) || range.start >= LOW_ADDRESS_END)
        return 0;
    got = mmap(page, PAGE_BYTES, PROT_NONE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (got != MAP_FAILED)
        (void)munmap(got, PAGE_BYTES); /* nothing was there before */
    else if (errno == EPERM || errno == EACCES)
        return -errno;
    return 0;
}

/*
 * What stands outside the arena only the kernel knows, and the server moves the mapping over
 * whatever that is. So MAP_FIXED_NOREPLACE takes the range first.
 *
 * @ret_held: empty where there was nothing to take
 */
static int hold_outside(const struct muse *muse, const struct map_args *args,
                        const struct muse_file *file, struct range *ret_held)
{
    const struct range range = limit_named_range(args->addr, args->len, page_bytes_of(file));
    int r;

    *ret_held = (struct range){0};
    if ((args->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) != 0 && !fails_anyway(args)) {
        r = check_low(range);
        if (r < 0) {
            error_say("this process may not map so low an address");
            return r;
        }
    }
    if ((args->flags & MAP_FIXED_NOREPLACE) == 0 || fails_anyway(args) || range_is_empty(range) ||
        range.end > ADDRESS_END || range_overlaps(range, muse->arena))
        return 0;
    r = memops_reserve(range, MAP_FIXED_NOREPLACE);
    if (r == 0)
        *ret_held = range;
    if (r == -EEXIST)
        error_say("something is mapped there");
    return r;
}

static int map(struct muse *muse, const struct map_args *args, const struct muse_file *file,
               uint64_t *ret_addr)
{
    struct range held;
    uint64_t addr = 0;
    bool lock = false;
    int r;

    if ((args->flags & MAP_ANONYMOUS) != 0)
        file = NULL; /* as mmap(2), which does not look at it */
    r = check_args(muse, args, file);
    if (r == 0)
        r = hold_outside(muse, args, file, &held);
    if (r < 0)
        return r;
    r = ask_map(muse, args, file, &addr, &lock);
    if (r < 0) {
        if (!range_is_empty(held))
            (void)munmap(address_pointer(held.start), range_len(held));
        return r;
    }
    /* anonymous memory the kernel has locked */
    if (lock || (file && (args->flags & MAP_LOCKED) != 0)) {
        r = lock_range(muse, addr, args->len);
        if (r < 0)
            return r;
    }
    *ret_addr = addr;
    return 0;
}

void *muse_mmap(struct muse *muse, void *addr, size_t len, int prot, int flags,
                struct muse_file *file, off_t offset)
{
    const struct map_args args = {
        .addr = (uintptr_t)addr, .len = len, .prot = prot, .flags = flags, .offset = offset};
    uint64_t got = 0;

    error_clear();
    if (error_return("muse_mmap", map(muse, &args, file, &got)) < 0)
        return MAP_FAILED;
    return address_pointer(got);
}
