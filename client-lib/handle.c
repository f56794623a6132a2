/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Connecting and disconnecting: socket, hello, arena, userfaultfd, attach, and all of that back.
 * Owns struct muse.
 *
 *     socket -> hello/welcome -> arena -> userfaultfd -> attach/attached
 *     back:  mappings and arena -> socket -> userfaultfd
 *            (no access may ever find a mapping without userfaultfd)
 */
#define _GNU_SOURCE
#include "client-lib/handle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client-lib/call.h"
#include "client-lib/dial.h"
#include "client-lib/error.h"
#include "client-lib/file.h"
#include "client-lib/fork.h"
#include "client-lib/memops.h"
#include "client-lib/uffd.h"
#include "common/base/own.h"
#include "proto/client.pb-c.h"
#include "proto/limits.h"

int handle_check(const struct muse *muse)
{
    if (!muse)
        return -EINVAL;
    if (handle_is_copy(muse)) {
        error_say(
            "%s",
            muse->fork.why[0] != '\0'
                ? muse->fork.why
                : "this process is a child made without fork(3); it has to connect for itself");
        return -ENOTCONN;
    }
    return 0;
}

/* Chosen: above what programs use by name, below the usual limit of 1024. */
#define FDS_HIGH_FIRST 600

int handle_place_fd(const struct muse *muse, int fd)
{
    int high;

    if (!muse->fds_high || fd < 0 || fd >= FDS_HIGH_FIRST)
        return fd;
    high = fcntl(fd, F_DUPFD_CLOEXEC, FDS_HIGH_FIRST);
    if (high < 0)
        return fd; /* the limit is lower */
    (void)close(fd);
    return high;
}

/* --- arena --- */

/* @size: a multiple of 2 MiB. Makes an arena that starts at one, too. */
static int reserve_arena(uint64_t size, struct range *ret_arena)
{
    const uint64_t padded = size + HUGE_PAGE_BYTES;
    char *raw = mmap(NULL, padded, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    size_t head;
    int r;

    if (raw == MAP_FAILED)
        return -errno;
    head = (size_t)(-(uintptr_t)raw % HUGE_PAGE_BYTES);
    if (head > 0)
        (void)munmap(raw, head);
    (void)munmap(raw + head + size, HUGE_PAGE_BYTES - head);
    *ret_arena = range_make((uintptr_t)raw + head, (uintptr_t)raw + head + size);
    r = memops_reserve(*ret_arena, MAP_FIXED);
    if (r < 0)
        (void)munmap(raw + head, size);
    return r;
}

/* @wanted: 0 for the server's default. */
static int make_arena(struct muse *muse, size_t wanted, const Muse__Wire__ClientWelcome *welcome)
{
    uint64_t size = wanted ? wanted : welcome->arena_bytes;
    struct range arena;
    int r;

    if (wanted > welcome->arena_bytes_max || wanted > ARENA_BYTES_MAX) {
        error_say("the server allows arenas of at most %llu bytes",
                  (unsigned long long)welcome->arena_bytes_max);
        return -EINVAL;
    }
    size = (size + HUGE_PAGE_BYTES - 1) / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES;
    r = reserve_arena(size, &arena);
    while (r == -ENOMEM && wanted == 0 && size / 2 >= ARENA_BYTES_MIN) { /* RLIMIT_AS */
        size = size / 2 / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES;
        r = reserve_arena(size, &arena);
    }
    if (r < 0) {
        error_say("no room for %llu bytes of address space", (unsigned long long)size);
        return r;
    }
    muse->arena = arena;
    return 0;
}

/* --- attach --- */

static void drop_count(struct muse *muse)
{
    if (muse->taken)
        (void)munmap((void *)(uintptr_t)muse->taken,
                     PAGE_BYTES); /* NOLINT(performance-no-int-to-ptr) */
    muse->taken = NULL;
}

int handle_take_count(struct muse *muse, const struct mail *answer)
{
    void *page;

    drop_count(muse);
    if (answer->fds[0] < 0)
        return 0; /* an older server */
    page = mmap(NULL, PAGE_BYTES, PROT_READ, MAP_SHARED, answer->fds[0], 0);
    if (page == MAP_FAILED)
        return -errno;
    muse->taken = page;
    return 0;
}

static int attach(struct muse *muse, bool is_user_mode_only)
{
    Muse__Wire__Attach message = MUSE__WIRE__ATTACH__INIT;
    const struct question question = {
        .type = FRAME_ATTACH, .message = &message.base, .fd = muse->uffd, .answer = FRAME_ATTACHED};
    CLEAN(mail_free_p) struct mail *answer = NULL;
    int r;

    message.arena_start = muse->arena.start;
    message.arena_bytes = range_len(muse->arena);
    message.user_mode_only = is_user_mode_only;
    r = call_ask(muse, &question, &answer); /* the space's number is for admins */
    return r < 0 ? r : handle_take_count(muse, answer);
}

/* --- the whole --- */

static struct muse *handle_free(struct muse *muse);
DEFINE_CLEANUP(struct muse *, handle_free)

static int make_mark(struct muse *muse)
{
    unsigned char *page =
        mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (page == MAP_FAILED)
        return -errno;
    *page = 1;
    muse->mark = page;
    return madvise(page, PAGE_BYTES, MADV_WIPEONFORK) < 0 ? -errno : 0;
}

static struct muse *handle_new(void)
{
    struct muse *muse = calloc(1, sizeof(*muse));

    if (!muse)
        return NULL;
    muse->uffd = -1;
    muse->requests.chan.fd = -1;
    idmap_init(&muse->files);
    list_init(&muse->fork.node);
    (void)pthread_mutex_init(&muse->lock, NULL); /* cannot fail with default attributes */
    return muse;
}

static void unmap_range(struct range range)
{
    if (!range_is_empty(range))
        (void)munmap(address_pointer(range.start), range_len(range));
}

/* Without what others have mapped in there. */
static void unmap_arena(const struct muse *muse)
{
    struct range rest = muse->arena;

    while (!range_is_empty(rest)) {
        const struct range lost = outside_next(&muse->lost, rest);

        unmap_range(range_make(rest.start, lost.start));
        rest.start = lost.end;
    }
}

static void unmap_all(struct muse *muse)
{
    for (size_t i = 0; i < muse->outside.n_ranges; i++)
        unmap_range(muse->outside.ranges[i]);
    unmap_arena(muse);
}

/* In a forked child the addresses are free for others, and the lock's holder may not be there. */
static struct muse *handle_free(struct muse *muse)
{
    const bool is_copy = handle_is_copy(muse);

    if (!is_copy) {
        unmap_all(muse);
        file_close_all(muse);
    }
    fork_done(&muse->fork);
    requests_done(&muse->requests, is_copy);
    fd_close_p(&muse->uffd);
    idmap_done(&muse->files);
    outside_done(&muse->outside);
    outside_done(&muse->lost);
    drop_count(muse);
    if (muse->mark)
        unmap_range(range_make((uintptr_t)muse->mark, (uintptr_t)muse->mark + PAGE_BYTES));
    if (!is_copy)
        (void)pthread_mutex_destroy(&muse->lock);
    free(muse);
    return NULL;
}

static int introduce(struct muse *muse, size_t arena_bytes, bool *ret_is_user_mode_only)
{
    CLEAN(fd_close_p) int device_fd = -1;
    Muse__Wire__ClientWelcome *welcome = NULL;
    int r = dial(muse, &welcome, &device_fd);

    if (r < 0)
        return r;
    r = make_arena(muse, arena_bytes, welcome);
    if (r == 0)
        r = uffd_create(device_fd, welcome->uffd_features, &muse->uffd, ret_is_user_mode_only);
    muse->uffd = handle_place_fd(muse, muse->uffd);
    muse__wire__client_welcome__free_unpacked(welcome, NULL);
    if (r < 0)
        return r;
    r = attach(muse, *ret_is_user_mode_only);
    return r < 0 ? r : dial_done(muse);
}

static int read_options(const struct muse_options *options, struct muse_options *ret_options)
{
    struct muse_options known = {.struct_size = sizeof(known)};

    if (options) {
        if (options->struct_size != sizeof(known)) {
            error_say("muse_options.struct_size is %zu, this library knows %zu",
                      options->struct_size, sizeof(known));
            return -EINVAL;
        }
        known = *options;
    }
    if (known.flags & ~MUSE_FDS_HIGH) {
        error_say("muse_options.flags has unknown bits: 0x%x", known.flags);
        return -EINVAL;
    }
    *ret_options = known;
    return 0;
}

static int connect_new(const struct muse_options *options, struct muse **ret)
{
    CLEAN(handle_free_p) struct muse *muse = NULL;
    bool is_user_mode_only = false;
    struct muse_options known;
    int r = read_options(options, &known);

    if (r < 0)
        return r;
    muse = handle_new();
    if (!muse)
        return -ENOMEM;
    muse->fds_high = (known.flags & MUSE_FDS_HIGH) != 0;
    r = make_mark(muse);
    if (r < 0)
        return r;
    r = dial_address(known.rundir, &muse->address);
    if (r < 0)
        return r;
    r = introduce(muse, known.arena_bytes, &is_user_mode_only);
    if (r < 0)
        return r;
    if (is_user_mode_only) {
        error_say("userfaultfd serves user mode only: system calls that touch a page which is not "
                  "resident fail with EFAULT");
    }
    *ret = TAKE(muse);
    return 0;
}

int muse_connect(struct muse **ret, const struct muse_options *options)
{
    int r = -EFAULT;

    error_clear();
    if (ret) {
        fork_wait();
        r = connect_new(options, ret);
        if (r == 0)
            fork_enlist(*ret);
        fork_go_on();
    }
    return error_return("muse_connect", r);
}

void muse_arena(const struct muse *muse, void **ret_start, size_t *ret_bytes)
{
    *ret_start = address_pointer(muse->arena.start);
    *ret_bytes = range_len(muse->arena);
}

void muse_disconnect(struct muse *muse)
{
    const int saved = errno;

    if (muse) {
        fork_wait();
        fork_delist(muse);
        handle_free(muse);
        fork_go_on();
    }
    errno = saved;
}
