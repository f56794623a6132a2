/* SPDX-License-Identifier: BSD-3-Clause */
/* One step in one world. Compares nothing, and remembers nothing but the handles. */
#define _GNU_SOURCE
#include "tests/differential/world.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <check.h>

#include "common/base/linux_abi.h"
#include "tests/support/kernel.h"

/* Where nobody else maps: above all programs and heaps, inside what ThreadSanitizer can follow. */
#define KERNEL_AT   UINT64_C(0x566000000000)
#define OUTSIDE_AT  UINT64_C(0x567000000000)
#define BELOW_FIRST UINT64_C(0x40000000) /* so far below the first mapping nobody is placed */

#define PIPE_BYTES ((size_t)16 * PAGE) /* a pipe's default, the most that a copy moves */

static const char *const names[FILES] = {"data", "more"};

/* ---- files ---- */

uint64_t world_file_bytes(unsigned index)
{
    return index == 0 ? FILE_BYTES : FILE_BYTES / 4;
}

const char *world_file_name(unsigned index)
{
    return names[index];
}

static bool is_writable(unsigned handle)
{
    return handle % 2 != 0;
}

static int make_plain_file(unsigned index)
{
    const uint64_t size = world_file_bytes(index);
    const int fd = memfd_create("plain", MFD_CLOEXEC);
    unsigned char bytes[PAGE];

    ck_assert_int_ge(fd, 0);
    for (uint64_t at = 0; at < size; at += PAGE) {
        const size_t n = size - at < PAGE ? size - at : PAGE;

        for (size_t i = 0; i < n; i++)
            bytes[i] = rig_byte(at + i);
        ck_assert_int_eq(pwrite(fd, bytes, n, (off_t)at), (ssize_t)n);
    }
    return fd;
}

void plain_make(struct plain *ret)
{
    char path[64];

    for (unsigned i = 0; i < FILES; i++) {
        const int fd = make_plain_file(i);

        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        ret->fd[2 * i + 1] = fd;
        ret->fd[2 * i] = open(path, O_RDONLY | O_CLOEXEC);
        ck_assert_int_ge(ret->fd[2 * i], 0);
    }
}

void plain_close(struct plain *plain)
{
    for (unsigned i = 0; i < N_HANDLES; i++)
        (void)close(plain->fd[i]);
}

static struct muse_file *open_ours(struct muse *muse, unsigned handle)
{
    char name[32];

    (void)snprintf(name, sizeof(name), "file/%s", names[handle / 2]);
    return client_open(muse, name, is_writable(handle) ? O_RDWR : O_RDONLY);
}

int64_t world_pread_all(const struct world *world, enum handle handle, unsigned char *buf)
{
    const ssize_t n = world->muse ? muse_pread(world->file[handle], buf, BYTES_MAX, 0)
                                  : pread(world->fd[handle], buf, BYTES_MAX, 0);

    return n < 0 ? -errno : n;
}

/* ---- both worlds ---- */

static char *choose_window(struct muse *muse, bool in_arena)
{
    char *first = client_map_ro(muse, "file/data", 1);

    ck_assert_int_eq(muse_munmap(muse, first, PAGE), 0);
    return in_arena ? first - BELOW_FIRST : (char *)(uintptr_t)OUTSIDE_AT;
}

void worlds_open(struct worlds *worlds, const struct plain *plain, const struct setting *setting)
{
    *worlds = (struct worlds){.setting = *setting};
    worlds->kernel.window = (char *)(uintptr_t)KERNEL_AT;
    memcpy(worlds->kernel.fd, plain->fd, sizeof(plain->fd));
    worlds->ours.muse = client_connect();
    worlds->ours.window = choose_window(worlds->ours.muse, setting->in_arena);
    for (unsigned i = 0; i < N_HANDLES; i++)
        worlds->ours.file[i] = open_ours(worlds->ours.muse, i);
}

void worlds_close(struct worlds *worlds)
{
    ck_assert_int_eq(kernel_munmap(worlds->kernel.window, WINDOW_BYTES), 0);
    ck_assert_int_eq(muse_munmap(worlds->ours.muse, worlds->ours.window, WINDOW_BYTES), 0);
    for (unsigned i = 0; i < N_HANDLES; i++)
        ck_assert_int_eq(muse_close(worlds->ours.file[i]), 0);
    muse_disconnect(worlds->ours.muse);
}

/* ---- calls ---- */

/* What a call gets; not all use everything. Return: the result. */
#define CALL                                                                                       \
    struct world *world __attribute__((unused)), const struct step *step __attribute__((unused)),  \
        struct outcome *ret __attribute__((unused))

static int64_t as_result(int64_t r)
{
    return r < 0 ? -errno : r;
}

static int64_t as_place(const struct world *world, const void *got)
{
    return got == MAP_FAILED ? -errno : (int64_t)((uintptr_t)got - (uintptr_t)world->window);
}

static int64_t do_mmap(CALL)
{
    const bool is_anon = step->flags & MAP_ANONYMOUS;
    char *at = world->window + step->at;
    void *got;

    if (world->muse) {
        got = muse_mmap(world->muse, at, step->len, (int)step->prot, (int)step->flags,
                        is_anon ? NULL : world->file[step->handle], (off_t)step->offset);
    } else {
        got = kernel_mmap(at, step->len, (int)step->prot, (int)step->flags,
                          is_anon ? -1 : world->fd[step->handle], (off_t)step->offset);
    }
    return as_place(world, got);
}

static int64_t do_mremap(CALL)
{
    char *at = world->window + step->at, *to = world->window + step->to;
    void *got;

    if (world->muse)
        got = muse_mremap(world->muse, at, step->len, step->new_len, (int)step->flags, to);
    else
        got = kernel_mremap(at, step->len, step->new_len, (int)step->flags, to);
    return as_place(world, got);
}

static int advise(const struct world *world, const struct step *step, int advice)
{
    char *at = world->window + step->at;

    return world->muse ? muse_madvise(world->muse, at, step->len, advice)
                       : kernel_madvise(at, step->len, advice);
}

static int64_t do_mincore(CALL)
{
    unsigned char vec[2 * WINDOW_PAGES];
    char *at = world->window + step->at;

    return as_result(world->muse ? muse_mincore(world->muse, at, step->len, vec)
                                 : kernel_mincore(at, step->len, vec));
}

static int64_t do_munmap(CALL)
{
    char *at = world->window + step->at;

    return as_result(world->muse ? muse_munmap(world->muse, at, step->len)
                                 : kernel_munmap(at, step->len));
}

static int64_t do_mprotect(CALL)
{
    char *at = world->window + step->at;

    return as_result(world->muse ? muse_mprotect(world->muse, at, step->len, (int)step->prot)
                                 : kernel_mprotect(at, step->len, (int)step->prot));
}

static int64_t do_msync(CALL)
{
    char *at = world->window + step->at;

    return as_result(world->muse ? muse_msync(world->muse, at, step->len, (int)step->flags)
                                 : kernel_msync(at, step->len, (int)step->flags));
}

static int64_t do_mlock(CALL)
{
    char *at = world->window + step->at;

    return as_result(world->muse ? muse_mlock(world->muse, at, step->len)
                                 : kernel_mlock(at, step->len));
}

static int64_t do_munlock(CALL)
{
    char *at = world->window + step->at;

    return as_result(world->muse ? muse_munlock(world->muse, at, step->len)
                                 : kernel_munlock(at, step->len));
}

/* ---- files ---- */

static void sum(struct outcome *ret, const unsigned char *bytes, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        ret->bytes = (ret->bytes ^ bytes[i]) * UINT64_C(0x100000001b3); /* FNV-1a */
}

static void fill(unsigned char *bytes, const struct step *step)
{
    for (size_t i = 0; i < step->len; i++)
        bytes[i] = (unsigned char)(step->byte + i * 7 + i / PAGE);
}

static int64_t do_pread(CALL)
{
    static unsigned char buf[BYTES_MAX];
    int64_t n;

    if (world->muse)
        n = as_result(muse_pread(world->file[step->handle], buf, step->len, (off_t)step->offset));
    else
        n = as_result(pread(world->fd[step->handle], buf, step->len, (off_t)step->offset));
    sum(ret, buf, n);
    return n;
}

/* tmpfs keeps what was stored behind the end, in the last page, when the file grows to @size. */
static void plain_clear_tail(int fd, uint64_t size)
{
    struct stat stat;

    if (fstat(fd, &stat) == 0 && size > (uint64_t)stat.st_size && size < BYTES_MAX * 2)
        (void)fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, stat.st_size,
                        (off_t)PAGE - stat.st_size % (off_t)PAGE);
}

static int64_t do_pwrite(CALL)
{
    static unsigned char buf[BYTES_MAX];

    fill(buf, step);
    if (world->muse)
        return as_result(
            muse_pwrite(world->file[step->handle], buf, step->len, (off_t)step->offset));
    plain_clear_tail(world->fd[step->handle], step->len ? step->offset + step->len : 0);
    return as_result(pwrite(world->fd[step->handle], buf, step->len, (off_t)step->offset));
}

static int64_t do_ftruncate(CALL)
{
    if (world->muse)
        return as_result(muse_ftruncate(world->file[step->handle], (off_t)step->len));
    plain_clear_tail(world->fd[step->handle], step->len);
    return as_result(ftruncate(world->fd[step->handle], (off_t)step->len));
}

/* tmpfs has no ZERO_RANGE: there a hole, and the size if it is to change, are the same bytes. */
static int plain_zero(int fd, int mode, off_t offset, off_t len)
{
    if (!(mode & FALLOC_FL_KEEP_SIZE) && fallocate(fd, 0, offset, len) < 0)
        return -1;
    return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, len);
}

static int64_t do_fallocate(CALL)
{
    const int mode = (int)step->flags, fd = world->fd[step->handle];
    const off_t offset = (off_t)step->offset, len = (off_t)step->len;

    if (world->muse)
        return as_result(muse_fallocate(world->file[step->handle], mode, offset, len));
    if ((mode == 0 || mode == FALLOC_FL_ZERO_RANGE) &&
        len > 0) /* else it fails, and nothing grows */
        plain_clear_tail(fd, step->offset + step->len);
    if ((mode & ~FALLOC_FL_KEEP_SIZE) == FALLOC_FL_ZERO_RANGE)
        return as_result(plain_zero(fd, mode, offset, len));
    return as_result(fallocate(fd, mode, offset, len));
}

void world_clear_tails(struct world *world)
{
    for (unsigned i = HANDLE_RW; i < N_HANDLES; i += 2) {
        struct step step = {.handle = i};
        struct outcome ignored;
        struct stat stat;

        if (world->muse ? muse_fstat(world->file[i], &stat) : fstat(world->fd[i], &stat))
            continue;
        step.len = (uint64_t)stat.st_size + 1;
        (void)do_ftruncate(world, &step, &ignored);
        step.len = (uint64_t)stat.st_size;
        (void)do_ftruncate(world, &step, &ignored);
    }
}

/* What is freed may be there or not: it is dropped, so that both have zeros. */
static int64_t do_madvise(CALL)
{
    int64_t result;

    if (step->flags == MADV_PAGEOUT)
        world_clear_tails(world);
    result = as_result(advise(world, step, (int)step->flags));
    if (step->flags == MADV_FREE)
        (void)advise(world, step, MADV_DONTNEED);
    return result;
}

static int64_t do_fsync(CALL)
{
    return as_result(world->muse ? muse_fsync(world->file[step->handle])
                                 : fsync(world->fd[step->handle]));
}

static int64_t do_reopen(CALL)
{
    int64_t result;

    if (!world->muse)
        return 0;
    result = as_result(muse_close(world->file[step->handle]));
    world->file[step->handle] = open_ours(world->muse, (unsigned)step->handle);
    return result;
}

/* ---- memory ---- */

static int64_t do_touch(CALL)
{
    char *at = world->window + step->at;
    const struct probe probe =
        step->op == OP_STORE ? probe_write(at, (unsigned char)step->byte) : probe_read(at);

    ret->signal = probe.signal;
    ret->code = probe.code;
    ret->bytes = probe.byte;
    if (probe.signal)
        ret->fault_at = (int64_t)((uintptr_t)probe.addr - (uintptr_t)world->window);
    return 0;
}

/* NOLINTNEXTLINE(readability-non-const-parameter): an iovec of the kernel is for both ways */
static int64_t copy_vm(char *at, unsigned char *buf, const struct step *step)
{
    const struct iovec own = {buf, step->len}, theirs = {at, step->len};

    if (step->op == OP_COPY_IN)
        return as_result(process_vm_writev(getpid(), &own, 1, &theirs, 1, 0));
    return as_result(process_vm_readv(getpid(), &own, 1, &theirs, 1, 0));
}

/* Through a pipe: write(2) reads the mapping, read(2) writes to it. */
static int64_t copy_pipe(char *at, unsigned char *buf, const struct step *step)
{
    int64_t n;
    int fds[2];

    ck_assert_int_eq(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
    if (step->op == OP_COPY_IN) {
        ck_assert_int_eq(write(fds[1], buf, step->len), (ssize_t)step->len);
        n = as_result(syscall(SYS_read, fds[0], at, step->len));
    } else {
        n = as_result(syscall(SYS_write, fds[1], at, step->len));
        if (n > 0)
            ck_assert_int_eq(read(fds[0], buf, (size_t)n), n);
    }
    (void)close(fds[0]);
    (void)close(fds[1]);
    return n;
}

static int64_t do_copy(CALL)
{
    static unsigned char buf[PIPE_BYTES];
    char *at = world->window + step->at;
    int64_t n;

    ck_assert_uint_le(step->len, PIPE_BYTES);
    fill(buf, step);
    n = step->flags == WAY_VM ? copy_vm(at, buf, step) : copy_pipe(at, buf, step);
    if (step->op == OP_COPY_OUT)
        sum(ret, buf, n);
    return n;
}

static int64_t (*const calls[N_OPS])(CALL) = {
    [OP_MMAP] = do_mmap,           [OP_MUNMAP] = do_munmap,   [OP_MPROTECT] = do_mprotect,
    [OP_MREMAP] = do_mremap,       [OP_MADVISE] = do_madvise, [OP_MSYNC] = do_msync,
    [OP_MINCORE] = do_mincore,     [OP_MLOCK] = do_mlock,     [OP_MUNLOCK] = do_munlock,
    [OP_PREAD] = do_pread,         [OP_PWRITE] = do_pwrite,   [OP_FTRUNCATE] = do_ftruncate,
    [OP_FALLOCATE] = do_fallocate, [OP_FSYNC] = do_fsync,     [OP_REOPEN] = do_reopen,
    [OP_LOAD] = do_touch,          [OP_STORE] = do_touch,     [OP_COPY_OUT] = do_copy,
    [OP_COPY_IN] = do_copy,
};

void world_do(struct world *world, const struct step *step, struct outcome *ret)
{
    *ret = (struct outcome){0};
    ret->result = calls[step->op](world, step, ret);
}
