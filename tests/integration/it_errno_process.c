/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Refusals that come from the process and its files rather than from the arguments: limits, MDWE,
 * sealed mappings, how the file was opened, what its inode allows. As in it_errno.c, the kernel is
 * asked for the same thing on a plain file first. Each process that limits itself is a child.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <muse/muse.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <check.h>

#include "common/base/own.h"
#include "tests/support/client.h"
#include "tests/support/kernel.h"
#include "tests/support/unit.h"

#ifndef PR_SET_MDWE
#define PR_SET_MDWE              65 /* Linux 6.3 */
#define PR_MDWE_REFUSE_EXEC_GAIN 1
#endif

#define RO PROT_READ
#define RW (PROT_READ | PROT_WRITE)

static const char *const drivers[] = {"muse-file --writable %s", "muse-faulty", NULL};

static struct rig rig;
static struct muse *muse;
static struct muse_file *file_ro, *file_rw;
static int fd_ro, fd_rw;

static int open_plain(int oflags)
{
    char path[160];
    int fd;

    (void)snprintf(path, sizeof(path), "%s/plain", rig.data);
    fd = open(path, oflags | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    return fd;
}

static void open_all(void)
{
    muse = client_connect();
    file_ro = client_open(muse, "file/data", O_RDONLY);
    file_rw = client_open(muse, "file/data", O_RDWR);
    fd_ro = open_plain(O_RDONLY);
    fd_rw = open_plain(O_RDWR);
}

static void close_all(void)
{
    ck_assert_int_eq(muse_close(file_ro), 0);
    ck_assert_int_eq(muse_close(file_rw), 0);
    (void)close(fd_ro);
    (void)close(fd_rw);
    muse_disconnect(muse);
}

/* Runs @fn as a process of its own, against a server with two files of the same bytes. */
static void run(void (*fn)(void *ctx))
{
    rig_start(&rig, NULL, drivers);
    rig_file(&rig, "data", 16 * PAGE);
    rig_file(&rig, "plain", 16 * PAGE);
    client_join(client_fork(fn, NULL));
    rig_stop(&rig);
}

struct ask {
    size_t len;
    int prot, flags;
    bool rw;
};

static int errno_of_kernel(const struct ask *ask)
{
    void *got = kernel_mmap(NULL, ask->len, ask->prot, ask->flags, ask->rw ? fd_rw : fd_ro, 0);

    if (got == MAP_FAILED)
        return errno;
    ck_assert_int_eq(kernel_munmap(got, ask->len), 0);
    return 0;
}

static int errno_of_muse(const struct ask *ask)
{
    void *got =
        muse_mmap(muse, NULL, ask->len, ask->prot, ask->flags, ask->rw ? file_rw : file_ro, 0);

    if (got == MAP_FAILED)
        return errno;
    ck_assert_int_eq(muse_munmap(muse, got, ask->len), 0);
    return 0;
}

/* @wanted: of the kernel, so that a row which does not show what it should is seen. */
static void same(const char *what, const struct ask *ask, int wanted)
{
    const int kernel = errno_of_kernel(ask);
    const int ours = errno_of_muse(ask);

    ck_assert_msg(kernel == wanted, "%s: the kernel says %s", what, strerrorname_np(kernel));
    ck_assert_msg(ours == kernel, "%s: %s, the kernel says %s", what, strerrorname_np(ours),
                  strerrorname_np(kernel));
}

/* ---- memory-deny-write-execute ---- */

static void deny_write_execute(void *ctx)
{
    (void)ctx;
    ck_assert_int_eq(prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0), 0);
    open_all();
    same("write and execute", &(struct ask){PAGE, RW | PROT_EXEC, MAP_PRIVATE, false}, EACCES);
    same("execute", &(struct ask){PAGE, RO | PROT_EXEC, MAP_PRIVATE, false}, 0);
    same("write", &(struct ask){PAGE, RW, MAP_PRIVATE, false}, 0);
    char *theirs = kernel_mmap(NULL, PAGE, RW, MAP_PRIVATE, fd_ro, 0);
    char *ours = muse_mmap(muse, NULL, PAGE, RW, MAP_PRIVATE, file_ro, 0);

    ck_assert_int_eq(kernel_mprotect(theirs, PAGE, RO | PROT_EXEC), -1);
    ck_assert_int_eq(errno, EACCES);
    ck_assert_int_eq(muse_mprotect(muse, ours, PAGE, RO | PROT_EXEC), -1);
    ck_assert_int_eq(errno, EACCES);
    ck_assert_int_eq(probe_write(ours, 'w').signal, 0); /* as it was */
    close_all();
}

START_TEST(a_process_that_denies_write_and_execute_gets_eacces)
{
    run(deny_write_execute);
}
END_TEST

/* ---- sealed mappings ---- */

static void change_sealed(char *theirs, char *ours)
{
    char *free_theirs = kernel_mmap(NULL, 4 * PAGE, RO, MAP_SHARED, fd_ro, 0);
    char *free_ours = muse_mmap(muse, NULL, 4 * PAGE, RO, MAP_SHARED, file_ro, 0);
    const int to = MREMAP_MAYMOVE | MREMAP_FIXED;

    ck_assert_int_eq(kernel_mprotect(theirs, PAGE, PROT_NONE), -1);
    ck_assert_int_eq(errno, EPERM);
    ck_assert_int_eq(muse_mprotect(muse, ours, PAGE, PROT_NONE), -1);
    ck_assert_int_eq(errno, EPERM);
    ck_assert_ptr_eq(kernel_mremap(theirs, PAGE, PAGE, to, free_theirs), MAP_FAILED);
    ck_assert_int_eq(errno, EPERM);
    ck_assert_ptr_eq(muse_mremap(muse, ours, PAGE, PAGE, to, free_ours), MAP_FAILED);
    ck_assert_int_eq(errno, EPERM);
    ck_assert_ptr_eq(kernel_mremap(free_theirs, PAGE, PAGE, to, theirs), MAP_FAILED);
    ck_assert_int_eq(errno, EPERM);
    ck_assert_ptr_eq(muse_mremap(muse, free_ours, PAGE, PAGE, to, ours), MAP_FAILED);
    ck_assert_int_eq(errno, EPERM);
    ck_assert_int_eq(kernel_madvise(theirs, PAGE, MADV_DONTNEED), 0);
    ck_assert_int_eq(muse_madvise(muse, ours, PAGE, MADV_DONTNEED), 0);
    ck_assert(file_is(free_ours, 0, 4 * PAGE));
}

static void seal(void *ctx)
{
    (void)ctx;
    open_all();
    char *theirs = kernel_mmap(NULL, 4 * PAGE, RO, MAP_SHARED, fd_ro, 0);
    char *ours = muse_mmap(muse, NULL, 4 * PAGE, RO, MAP_SHARED, file_ro, 0);

    ck_assert_int_eq(kernel_mseal(theirs, 4 * PAGE), 0);
    ck_assert_int_eq(kernel_mseal(ours, 4 * PAGE), 0);
    ck_assert_int_eq(kernel_munmap(theirs + PAGE, PAGE), -1);
    ck_assert_int_eq(errno, EPERM);
    ck_assert_int_eq(muse_munmap(muse, ours + PAGE, PAGE), -1);
    ck_assert_int_eq(errno, EPERM);
    ck_assert_ptr_eq(kernel_mmap(theirs + PAGE, PAGE, RO, MAP_SHARED | MAP_FIXED, fd_ro, 0),
                     MAP_FAILED);
    ck_assert_int_eq(errno, EPERM);
    ck_assert_ptr_eq(muse_mmap(muse, ours + PAGE, PAGE, RO, MAP_SHARED | MAP_FIXED, file_ro, 0),
                     MAP_FAILED);
    ck_assert_int_eq(errno, EPERM);
    change_sealed(theirs, ours);
    ck_assert(file_is(ours, 0, 4 * PAGE)); /* still mapped, still served */
    close_all();
}

START_TEST(a_sealed_mapping_is_neither_unmapped_nor_replaced_nor_changed)
{
    if (kernel_mseal(NULL, 0) < 0 && errno == ENOSYS) {
        (void)printf("no mseal(2) in this kernel: nothing can be sealed\n");
        return;
    }
    run(seal);
}
END_TEST

/* ---- how the file was opened ---- */

static void open_write_only(void *ctx)
{
    int fd_wo = open_plain(O_WRONLY);
    struct muse_file *file;
    char byte;

    (void)ctx;
    muse = client_connect();
    file = client_open(muse, "faulty/x,lock", O_WRONLY); /* muse-file refuses to open so */
    for (int prot = 0; prot < 4; prot++) {
        ck_assert_ptr_eq(kernel_mmap(NULL, PAGE, prot, MAP_SHARED, fd_wo, 0), MAP_FAILED);
        ck_assert_int_eq(errno, EACCES);
        ck_assert_ptr_eq(muse_mmap(muse, NULL, PAGE, prot, MAP_SHARED, file, 0), MAP_FAILED);
        ck_assert_int_eq(errno, EACCES);
        ck_assert_ptr_eq(muse_mmap(muse, NULL, PAGE, prot, MAP_PRIVATE, file, 0), MAP_FAILED);
        ck_assert_int_eq(errno, EACCES);
    }
    ck_assert_int_eq(pread(fd_wo, &byte, 1, 0), -1);
    ck_assert_int_eq(errno, EBADF);
    ck_assert_int_eq(muse_pread(file, &byte, 1, 0), -1);
    ck_assert_int_eq(errno, EBADF);
    ck_assert_uint_eq(rig_counter("prepare"), 0);
    ck_assert_int_eq(muse_close(file), 0);
    (void)close(fd_wo);
    muse_disconnect(muse);
}

START_TEST(a_file_opened_for_writing_only_cannot_be_mapped_or_read)
{
    run(open_write_only);
}
END_TEST

/* ---- limits ---- */

/* What this process has mapped so far, in bytes; sanitizers have terabytes. */
static rlim_t mapped_now(void)
{
    unsigned long long n_pages;
    FILE *file = fopen("/proc/self/statm", "re");

    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "%llu", &n_pages), 1); /* NOLINT(cert-err34-c): the kernel's */
    (void)fclose(file);
    return (rlim_t)n_pages * PAGE;
}

/* What RLIMIT_DATA counts, so far. */
static rlim_t data_now(void)
{
    FILE *file = fopen("/proc/self/status", "re");
    unsigned long long kib = 0;
    char line[256];

    ck_assert_ptr_nonnull(file);
    while (fgets(line, sizeof(line), file)) {
        if (strncmp(line, "VmData:", 7) == 0)
            kib = strtoull(line + 7, NULL, 10);
    }
    (void)fclose(file);
    return (rlim_t)kib * 1024;
}

static void limit_addresses(void *ctx)
{
    const struct muse_options large = {.struct_size = sizeof(large), .arena_bytes = 1u << 30};
    const struct rlimit limit = {.rlim_cur = mapped_now() + ((rlim_t)512 << 20),
                                 .rlim_max = RLIM_INFINITY};
    const size_t too_much = 1u << 30;

    (void)ctx;
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
    ck_assert_int_eq(muse_connect(&muse, &large), -1); /* the arena counts, as a mapping does */
    ck_assert_int_eq(errno, ENOMEM);
    ck_assert_str_ne(muse_last_error_text(), "");
    ck_assert_int_eq(muse_connect(&muse, NULL), 0); /* as large a one as there is room for */
    file_ro = client_open(muse, "file/data", O_RDONLY);
    fd_ro = open_plain(O_RDONLY);
    same("more than the limit", &(struct ask){too_much, RO, MAP_SHARED, false}, ENOMEM);
    ck_assert(file_is(client_map_ro(muse, "file/data", 16), 0, 16 * PAGE));
    ck_assert_int_eq(muse_close(file_ro), 0);
    (void)close(fd_ro);
    muse_disconnect(muse);
}

START_TEST(the_limit_of_address_space_counts_the_arena)
{
    run(limit_addresses);
}
END_TEST

/* What is private and read-only, and is made writable, or grows: more than there may be. */
static void become_writable(size_t too_much)
{
    char *theirs = kernel_mmap(NULL, too_much, RO, MAP_PRIVATE, fd_ro, 0);
    char *ours = muse_mmap(muse, NULL, too_much, RO, MAP_PRIVATE, file_ro, 0);
    char *small_theirs = kernel_mmap(NULL, PAGE, RW, MAP_PRIVATE, fd_ro, 0);
    char *small_ours = muse_mmap(muse, NULL, PAGE, RW, MAP_PRIVATE, file_ro, 0);

    ck_assert_int_eq(kernel_mprotect(theirs, too_much, RW), -1);
    ck_assert_int_eq(errno, ENOMEM);
    ck_assert_int_eq(muse_mprotect(muse, ours, too_much, RW), -1);
    ck_assert_int_eq(errno, ENOMEM);
    ck_assert_int_eq(probe_write(ours, 'w').signal, SIGSEGV); /* as it was */
    ck_assert_ptr_eq(kernel_mremap(small_theirs, PAGE, too_much, MREMAP_MAYMOVE, NULL), MAP_FAILED);
    ck_assert_int_eq(errno, ENOMEM);
    ck_assert_ptr_eq(muse_mremap(muse, small_ours, PAGE, too_much, MREMAP_MAYMOVE), MAP_FAILED);
    ck_assert_int_eq(errno, ENOMEM);
    ck_assert(file_is(small_ours, 0, PAGE));
    ck_assert_int_eq(muse_munmap(muse, ours, too_much), 0);
    ck_assert_int_eq(muse_munmap(muse, small_ours, PAGE), 0);
    ck_assert_int_eq(kernel_munmap(theirs, too_much), 0);
    ck_assert_int_eq(kernel_munmap(small_theirs, PAGE), 0);
}

static void overcommit(void *ctx)
{
    struct sysinfo info;
    size_t all;

    (void)ctx;
    ck_assert_int_eq(sysinfo(&info), 0);
    all = (info.totalram + info.totalswap) * info.mem_unit; /* the heuristic refuses more */
    all = (all + HUGE_PAGE) & ~(HUGE_PAGE - 1);
    open_all();
    same("more than all memory", &(struct ask){all, RW, MAP_PRIVATE, false}, ENOMEM);
    same("the same, noreserve", &(struct ask){all, RW, MAP_PRIVATE | MAP_NORESERVE, false}, 0);
    same("the same, read-only", &(struct ask){all, RO, MAP_PRIVATE, false}, 0);
    become_writable(all);
    close_all();
}

START_TEST(private_memory_beyond_all_there_is_is_enomem)
{
    run(overcommit);
}
END_TEST

static void limit_data(void *ctx)
{
    const size_t room = (size_t)16 << 20;
    const struct rlimit limit = {data_now() + room, RLIM_INFINITY};

    (void)ctx;
    open_all();
    ck_assert_int_eq(setrlimit(RLIMIT_DATA, &limit), 0);
    same("within", &(struct ask){room / 4, RW, MAP_PRIVATE, false}, 0);
    same("anonymous", &(struct ask){2 * room, RW, MAP_PRIVATE | MAP_ANONYMOUS, false}, ENOMEM);
    same("shared", &(struct ask){2 * room, RW, MAP_SHARED | MAP_ANONYMOUS, false}, 0);
    become_writable(2 * room);
    close_all();
}

START_TEST(what_becomes_writable_or_grows_counts_as_data)
{
    run(limit_data);
}
END_TEST

/* ---- what the inode allows ---- */

static void set_append_only(const char *name, bool on)
{
    char path[160];
    int flags, fd;

    (void)snprintf(path, sizeof(path), "%s/%s", rig.data, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ioctl(fd, FS_IOC_GETFLAGS, &flags), 0);
    flags = on ? flags | FS_APPEND_FL : flags & ~FS_APPEND_FL;
    ck_assert_int_eq(ioctl(fd, FS_IOC_SETFLAGS, &flags), 0);
    (void)close(fd);
}

static int errno_of_opens(int oflags)
{
    struct muse_file *file;
    char path[160];
    int kernel, ours, fd;

    (void)snprintf(path, sizeof(path), "%s/plain", rig.data);
    fd = open(path, oflags | O_CLOEXEC);
    kernel = fd < 0 ? errno : 0;
    if (fd >= 0)
        (void)close(fd);
    ours = muse_open(muse, "file/data", oflags, &file) < 0 ? errno : 0;
    if (ours == 0)
        ck_assert_int_eq(muse_close(file), 0);
    ck_assert_int_eq(ours, kernel);
    return ours;
}

static void open_append_only(void *ctx)
{
    int for_reading, for_writing;

    (void)ctx;
    set_append_only("plain", true);
    set_append_only("data", true);
    muse = client_connect();
    for_reading = errno_of_opens(O_RDONLY);
    for_writing = errno_of_opens(O_RDWR);
    set_append_only("plain", false);
    set_append_only("data", false);
    ck_assert_int_eq(for_reading, 0);
    ck_assert_int_eq(for_writing, EPERM); /* so that nothing can map it shared and writable */
    muse_disconnect(muse);
}

START_TEST(a_file_that_may_only_grow_is_opened_for_reading_only)
{
    run(open_append_only);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("errno_process");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, a_process_that_denies_write_and_execute_gets_eacces);
    tcase_add_test(tcase, a_sealed_mapping_is_neither_unmapped_nor_replaced_nor_changed);
    tcase_add_test(tcase, a_file_opened_for_writing_only_cannot_be_mapped_or_read);
    tcase_add_test(tcase, the_limit_of_address_space_counts_the_arena);
    tcase_add_test(tcase, private_memory_beyond_all_there_is_is_enomem);
    tcase_add_test(tcase, what_becomes_writable_or_grows_counts_as_data);
    tcase_add_test(tcase, a_file_that_may_only_grow_is_opened_for_reading_only);
    return unit_run("errno_process", tcase);
}
