/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The same mistake gives the same errno: each row is tried with mmap(2) on a plain file and with
 * muse_mmap on an object of the same size, in the same process. Rows that the kernel answers
 * otherwise on purpose name their own errno.
 *
 * Source of the rows: the kernel's do_mmap(), __get_unmapped_area(), mmap_region() and
 * do_vmi_munmap().
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <muse/muse.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>

#include "common/base/own.h"
#include "tests/support/client.h"
#include "tests/support/kernel.h"
#include "tests/support/unit.h"

#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x08
#endif

#define N_PAGES  16u
#define NOBODY   65534u
#define TASK_END UINT64_C(0x7ffffffff000)

static const char *const writable[] = {"muse-file --writable %s", "muse-faulty", NULL};

static struct rig rig;
static struct muse *muse;
static struct muse_file *file_ro, *file_rw;
static int fd_ro, fd_rw;
static char *window; /* free addresses for MAP_FIXED, ours; mapped by nobody */

static void open_all(void)
{
    char path[160];

    muse = client_connect();
    file_ro = client_open(muse, "file/data", O_RDONLY);
    file_rw = client_open(muse, "file/data", O_RDWR);
    (void)snprintf(path, sizeof(path), "%s/plain", rig.data);
    fd_ro = open(path, O_RDONLY | O_CLOEXEC);
    fd_rw = open(path, O_RDWR | O_CLOEXEC);
    ck_assert_int_ge(fd_ro, 0);
    ck_assert_int_ge(fd_rw, 0);
}

static void close_all(void)
{
    ck_assert_int_eq(muse_close(file_ro), 0);
    ck_assert_int_eq(muse_close(file_rw), 0);
    (void)close(fd_ro);
    (void)close(fd_rw);
    muse_disconnect(muse);
}

static void begin(void)
{
    char path[160];

    rig_start(&rig, NULL, writable);
    rig_file(&rig, "data", N_PAGES * PAGE);
    rig_file(&rig, "plain", N_PAGES * PAGE);
    (void)snprintf(path, sizeof(path), "%s/data", rig.data);
    ck_assert_int_eq(chmod(path, 0666), 0);
    (void)snprintf(path, sizeof(path), "%s/plain", rig.data);
    ck_assert_int_eq(chmod(path, 0666), 0);
    window =
        kernel_mmap(NULL, 64 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ck_assert_ptr_ne(window, MAP_FAILED);
    ck_assert_int_eq(kernel_munmap(window, 64 * PAGE), 0);
    open_all();
}

static void end(void)
{
    close_all();
    rig_stop(&rig);
}

/* ---- mmap ---- */

struct row {
    const char *what;
    uint64_t addr; /* < 64 pages: in the window */
    uint64_t len;
    int prot, flags;
    bool rw;
    uint64_t offset;
    int only_muse; /* where the kernel succeeds or says otherwise, on purpose */
};

#define RO PROT_READ
#define RW (PROT_READ | PROT_WRITE)

static const struct row rows[] = {
    {"an ordinary read-only one", 0, PAGE, RO, MAP_SHARED, false, 0, 0},
    {"an ordinary private one", 0, PAGE, RW, MAP_PRIVATE, false, 0, 0},
    {"an ordinary shared one", 0, PAGE, RW, MAP_SHARED, true, 0, 0},
    {"no rights at all", 0, PAGE, PROT_NONE, MAP_SHARED, false, 0, 0},
    {"length 0", 0, 0, RO, MAP_SHARED, false, 0, 0},
    {"a length of one byte", 0, 1, RO, MAP_SHARED, false, 0, 0},
    {"a length that rounds to 0", 0, UINT64_MAX, RO, MAP_SHARED, false, 0, 0},
    {"a length that rounds to 0, less so", 0, UINT64_MAX - 4000, RO, MAP_SHARED, false, 0, 0},
    {"a length beyond the address space", 0, UINT64_C(1) << 47, RO, MAP_SHARED, false, 0, 0},
    {"a length of exactly the address space", 0, TASK_END, RO, MAP_SHARED, false, 0, 0},
    {"an offset that is not aligned", 0, PAGE, RO, MAP_SHARED, false, 100, 0},
    {"offset and length not good", 0, 0, RO, MAP_SHARED, false, 100, 0},
    {"an offset past the end", 0, PAGE, RO, MAP_SHARED, false, 1000 * PAGE, 0},
    {"a length past the end", 0, 1000 * PAGE, RO, MAP_SHARED, false, 0, 0},
    {"offset + length beyond the largest file", 0, 2 * PAGE, RO, MAP_SHARED, false,
     UINT64_C(0x7ffffffffffff000), 0},
    {"offset + length wrap", 0, 2 * PAGE, RO, MAP_SHARED, false, UINT64_C(0xfffffffffffff000), 0},
    {"a negative offset", 0, PAGE, RO, MAP_PRIVATE, false, UINT64_C(0x8000000000000000), 0},
    {"neither shared nor private", 0, PAGE, RO, 0, false, 0, 0},
    {"type 4", 0, PAGE, RO, 4, false, 0, 0},
    {"a droppable file", 0, PAGE, RO, MAP_DROPPABLE, false, 0, 0},
    {"SHARED_VALIDATE", 0, PAGE, RO, MAP_SHARED_VALIDATE, false, 0, 0},
    {"SHARED_VALIDATE with an unknown flag", 0, PAGE, RO, MAP_SHARED_VALIDATE | 0x800000, false, 0,
     0},
    {"SHARED_VALIDATE with MAP_SYNC", 0, PAGE, RO, MAP_SHARED_VALIDATE | MAP_SYNC, false, 0, 0},
    {"MAP_SHARED with an unknown flag", 0, PAGE, RO, MAP_SHARED | 0x800000, false, 0, 0},
    {"MAP_PRIVATE with an unknown flag", 0, PAGE, RO, MAP_PRIVATE | 0x800000, false, 0, 0},
    {"shared and writable of a read-only fd", 0, PAGE, RW, MAP_SHARED, false, 0, 0},
    {"shared and only writable of a read-only fd", 0, PAGE, PROT_WRITE, MAP_SHARED, false, 0, 0},
    {"SHARED_VALIDATE and writable of a read-only fd", 0, PAGE, RW, MAP_SHARED_VALIDATE, false, 0,
     0},
    {"growing down", 0, PAGE, RO, MAP_PRIVATE | MAP_GROWSDOWN, false, 0, 0},
    {"huge pages of a small file", 0, PAGE, RO, MAP_PRIVATE | MAP_HUGETLB, false, 0, 0},
    {"noreserve", 0, PAGE, RW, MAP_PRIVATE | MAP_NORESERVE, false, 0, 0},
    {"stack, denywrite, executable: ignored", 0, PAGE, RO,
     MAP_PRIVATE | MAP_STACK | MAP_DENYWRITE | MAP_EXECUTABLE, false, 0, 0},
    {"populate", 0, PAGE, RO, MAP_SHARED | MAP_POPULATE, false, 0, 0},
    {"populate past the end", 0, 100 * PAGE, RO, MAP_SHARED | MAP_POPULATE, false, 0, 0},
    {"nonblock", 0, PAGE, RO, MAP_SHARED | MAP_POPULATE | MAP_NONBLOCK, false, 0, 0},
    {"locked, by root", 0, PAGE, RO, MAP_SHARED | MAP_LOCKED, false, 0, 0},
    {"fixed", 4 * PAGE, PAGE, RO, MAP_SHARED | MAP_FIXED, false, 0, 0},
    {"fixed, not aligned", 4 * PAGE + 8, PAGE, RO, MAP_SHARED | MAP_FIXED, false, 0, 0},
    {"a hint that is not aligned", 4 * PAGE + 8, PAGE, RO, MAP_SHARED, false, 0, 0},
    {"fixed beyond the end", TASK_END, PAGE, RO, MAP_SHARED | MAP_FIXED, false, 0, 0},
    {"fixed across the end", TASK_END - PAGE, 2 * PAGE, RO, MAP_SHARED | MAP_FIXED, false, 0, 0},
    {"fixed at kernel addresses", UINT64_C(0xffff800000000000), PAGE, RO, MAP_SHARED | MAP_FIXED,
     false, 0, 0},
    {"a hint at kernel addresses", UINT64_C(0xffff800000000000), PAGE, RO, MAP_SHARED, false, 0, 0},
    {"noreplace where it is free", 8 * PAGE, PAGE, RO, MAP_SHARED | MAP_FIXED_NOREPLACE, false, 0,
     0},
    {"noreplace, not aligned", 8 * PAGE + 8, PAGE, RO, MAP_SHARED | MAP_FIXED_NOREPLACE, false, 0,
     0},
    {"noreplace beyond the end", TASK_END, PAGE, RO, MAP_SHARED | MAP_FIXED_NOREPLACE, false, 0, 0},
    {"anonymous", 0, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, false, 0, 0},
    {"anonymous, with an offset", 0, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, false,
     UINT64_C(0x7ffffffffffff000), 0},
    {"anonymous, the offset not aligned", 0, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, false, 9, 0},
    {"anonymous and shared", 0, 3 * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, false, 0, 0},
    {"anonymous, SHARED_VALIDATE", 0, PAGE, RW, MAP_SHARED_VALIDATE | MAP_ANONYMOUS, false, 0, 0},
    {"anonymous, no type", 0, PAGE, RW, MAP_ANONYMOUS, false, 0, 0},
    {"anonymous, no length", 0, 0, RW, MAP_PRIVATE | MAP_ANONYMOUS, false, 0, 0},
    {"anonymous, too long", 0, SIZE_MAX, RW, MAP_PRIVATE | MAP_ANONYMOUS, false, 0, 0},
    {"anonymous, shared, growing down", 0, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_GROWSDOWN,
     false, 0, 0},
    {"anonymous, growing down", 0, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN, false, 0,
     EOPNOTSUPP},
    {"anonymous, locked, by root", 0, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, false, 0,
     0},
    {"anonymous, fixed, not aligned", 4 * PAGE + 8, PAGE, RW,
     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, false, 0, 0},
};

static uint64_t address_of(const struct row *row)
{
    return row->addr > 0 && row->addr < 64 * PAGE ? (uintptr_t)window + row->addr : row->addr;
}

static int errno_of_kernel(const struct row *row)
{
    void *got = kernel_mmap((void *)(uintptr_t)address_of(row), row->len, row->prot, row->flags,
                            row->rw ? fd_rw : fd_ro, (off_t)row->offset);
    const int error = got == MAP_FAILED ? errno : 0;

    if (got != MAP_FAILED)
        ck_assert_int_eq(kernel_munmap(got, row->len), 0);
    return error;
}

static int errno_of_muse(const struct row *row)
{
    void *got = muse_mmap(muse, (void *)(uintptr_t)address_of(row), row->len, row->prot, row->flags,
                          row->rw ? file_rw : file_ro, (off_t)row->offset);
    const int error = got == MAP_FAILED ? errno : 0;

    if (got != MAP_FAILED) {
        if (row->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE))
            ck_assert_uint_eq((uintptr_t)got, address_of(row));
        ck_assert_int_eq(muse_munmap(muse, got, row->len), 0);
    } else {
        ck_assert_msg(muse_last_error_text()[0] != '\0', "%s: no sentence", row->what);
    }
    return error;
}

static unsigned compare_rows(const struct row *list, size_t n)
{
    unsigned n_wrong = 0;

    for (size_t i = 0; i < n; i++) {
        const int kernel = list[i].only_muse ? list[i].only_muse : errno_of_kernel(&list[i]);
        const int ours = errno_of_muse(&list[i]);

        if (ours != kernel) {
            (void)fprintf(stderr, "%s: %s, the kernel says %s\n", list[i].what,
                          ours ? strerrorname_np(ours) : "0",
                          kernel ? strerrorname_np(kernel) : "0");
            n_wrong++;
        }
    }
    return n_wrong;
}

START_TEST(mmap_fails_with_the_kernels_errno)
{
    begin();
    ck_assert_uint_eq(compare_rows(rows, N_ELEMENTS(rows)), 0);
    end();
}
END_TEST

START_TEST(a_closed_or_missing_file_is_ebadf)
{
    begin();
    ck_assert_ptr_eq(kernel_mmap(NULL, PAGE, RO, MAP_SHARED, -1, 0), MAP_FAILED);
    ck_assert_int_eq(errno, EBADF);
    ck_assert_ptr_eq(muse_mmap(muse, NULL, PAGE, RO, MAP_SHARED, NULL, 0), MAP_FAILED);
    ck_assert_int_eq(errno, EBADF);
    ck_assert_int_eq(muse_close(NULL), -1);
    ck_assert_int_eq(errno, EBADF);
    ck_assert_int_eq(muse_fstat(NULL, &(struct stat){0}), -1);
    ck_assert_int_eq(errno, EBADF);
    end();
}
END_TEST

/* Both mappings stand; then NOREPLACE over their edge, their middle, and beside them. */
START_TEST(noreplace_over_something_is_eexist_and_changes_nothing)
{
    static const struct {
        size_t page, n_pages;
        int error;
    } tries[] = {{0, 1, EEXIST}, {3, 2, EEXIST}, {1, 1, EEXIST}, {4, 1, 0}, {10, 3, 0}};

    begin();
    char *theirs = kernel_mmap(NULL, 32 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *ours = client_map_ro(muse, "file/data", 16);

    ck_assert_int_eq(kernel_munmap(theirs + 4 * PAGE, 28 * PAGE), 0);
    ck_assert_int_eq(muse_munmap(muse, ours + 4 * PAGE, 12 * PAGE), 0);
    for (size_t i = 0; i < N_ELEMENTS(tries); i++) {
        const size_t len = tries[i].n_pages * PAGE;
        void *got = kernel_mmap(theirs + tries[i].page * PAGE, len, RO,
                                MAP_SHARED | MAP_FIXED_NOREPLACE, fd_ro, 0);

        ck_assert_int_eq(got == MAP_FAILED ? errno : 0, tries[i].error);
        if (got != MAP_FAILED)
            (void)kernel_munmap(got, len);
        got = muse_mmap(muse, ours + tries[i].page * PAGE, len, RO,
                        MAP_SHARED | MAP_FIXED_NOREPLACE, file_ro, 0);
        ck_assert_int_eq(got == MAP_FAILED ? errno : 0, tries[i].error);
        if (got != MAP_FAILED)
            ck_assert_int_eq(muse_munmap(muse, got, len), 0);
    }
    ck_assert(file_is(ours, 0, 4 * PAGE));
    (void)kernel_munmap(theirs, 4 * PAGE);
    end();
}
END_TEST

START_TEST(noreplace_outside_the_arena_respects_the_programs_own_memory)
{
    begin();
    char *own = kernel_mmap(NULL, 4 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    ck_assert_ptr_ne(own, MAP_FAILED);
    memset(own, 'o', 4 * PAGE);
    ck_assert_ptr_eq(
        muse_mmap(muse, own + PAGE, PAGE, RO, MAP_SHARED | MAP_FIXED_NOREPLACE, file_ro, 0),
        MAP_FAILED);
    ck_assert_int_eq(errno, EEXIST);
    ck_assert_int_eq(own[PAGE], 'o');
    ck_assert_int_eq(kernel_munmap(own, 4 * PAGE), 0);
    end();
}
END_TEST

START_TEST(the_limit_of_mappings_is_enomem_as_in_the_kernel)
{
    void *held[4];
    unsigned n = 0;

    rig_start(&rig, "[limits]\nmax_vmas = 2\n", writable);
    rig_file(&rig, "data", N_PAGES * PAGE);
    muse = client_connect();
    while (n < 4) {
        const struct client_span span = {NULL, PAGE, (off_t)((8 - 2 * n) * PAGE)};

        held[n] = client_map_at(muse, "file/data", O_RDONLY, span, RO, MAP_SHARED);
        if (held[n] == MAP_FAILED)
            break;
        n++;
    }
    ck_assert_int_eq(errno, ENOMEM);
    ck_assert_uint_eq(n, 3); /* strictly greater: the limit + 1, as the kernel has it */
    ck_assert_int_eq(muse_munmap(muse, held[0], PAGE), 0);
    ck_assert_ptr_ne(client_map_ro(muse, "file/data", 1), MAP_FAILED);
    muse_disconnect(muse);
    rig_stop(&rig);
}
END_TEST

/* ---- munmap ---- */

static const struct {
    const char *what;
    uint64_t addr, len; /* addr < 64 pages: from the mapping on */
} unmaps[] = {
    {"not aligned", 8, PAGE},
    {"length 0", 0, 0},
    {"not aligned and length 0", 8, 0},
    {"beyond the end", TASK_END, PAGE},
    {"across the end", TASK_END - PAGE, 2 * PAGE},
    {"kernel addresses", UINT64_C(0xffff800000000000), PAGE},
    {"a length that wraps", 0, UINT64_MAX - 10},
    {"a length beyond the end", 0, UINT64_C(1) << 47},
    {"a length that is not aligned", 2 * PAGE, 5},
    {"what is not there any more", 2 * PAGE, PAGE},
    {"a part with a hole", PAGE, 3 * PAGE},
};

START_TEST(munmap_fails_with_the_kernels_errno_and_rounds_as_it_does)
{
    begin();
    char *theirs = kernel_mmap(NULL, 8 * PAGE, RO, MAP_SHARED, fd_ro, 0);
    char *ours = client_map_ro(muse, "file/data", 8);

    for (size_t i = 0; i < N_ELEMENTS(unmaps); i++) {
        const bool is_inside = unmaps[i].addr < 64 * PAGE;
        char *at_theirs = is_inside ? theirs + unmaps[i].addr : (char *)(uintptr_t)unmaps[i].addr;
        char *at_ours = is_inside ? ours + unmaps[i].addr : (char *)(uintptr_t)unmaps[i].addr;
        const int kernel = kernel_munmap(at_theirs, unmaps[i].len) < 0 ? errno : 0;
        const int muses = muse_munmap(muse, at_ours, unmaps[i].len) < 0 ? errno : 0;

        ck_assert_msg(kernel == muses, "%s: %s, the kernel says %s", unmaps[i].what,
                      strerrorname_np(muses), strerrorname_np(kernel));
    }
    for (size_t page = 0; page < 8; page++)
        ck_assert_int_eq(probe_read(ours + page * PAGE).signal,
                         probe_read(theirs + page * PAGE).signal);
    (void)kernel_munmap(theirs, 8 * PAGE);
    end();
}
END_TEST

/* ---- names ---- */

static int errno_of_open(const char *name, int oflags)
{
    struct muse_file *file;

    if (muse_open(muse, name, oflags, &file) < 0)
        return errno;
    ck_assert_int_eq(muse_close(file), 0);
    return 0;
}

START_TEST(names_fail_as_open_does)
{
    char path[200];

    begin();
    (void)snprintf(path, sizeof(path), "%s/folder", rig.data);
    ck_assert_int_eq(mkdir(path, 0755), 0);
    (void)snprintf(path, sizeof(path), "%s/fifo", rig.data);
    ck_assert_int_eq(mkfifo(path, 0644), 0);
    (void)snprintf(path, sizeof(path), "%s/loop", rig.data);
    ck_assert_int_eq(symlink("loop", path), 0);
    (void)snprintf(path, sizeof(path), "%s/out", rig.data);
    ck_assert_int_eq(symlink("/etc/passwd", path), 0);
    ck_assert_int_eq(errno_of_open("nobody/data", O_RDONLY), ENODEV);
    ck_assert_int_eq(errno_of_open("data", O_RDONLY), ENODEV);
    ck_assert_int_eq(errno_of_open("", O_RDONLY), ENODEV);
    ck_assert_int_eq(errno_of_open("file/none", O_RDONLY), ENOENT);
    ck_assert_int_eq(errno_of_open("file/folder", O_RDONLY), EISDIR);
    ck_assert_int_eq(errno_of_open("file/data/below", O_RDONLY), ENOTDIR);
    ck_assert_int_eq(errno_of_open("file/fifo", O_RDONLY), ENODEV);
    ck_assert_int_eq(errno_of_open("file/loop", O_RDONLY), ELOOP);
    ck_assert_int_eq(errno_of_open("file/out", O_RDONLY), EACCES);
    ck_assert_int_eq(errno_of_open("file/../data", O_RDONLY), EACCES);
    ck_assert_int_eq(errno_of_open("file/data", O_WRONLY), EACCES);
    ck_assert_int_eq(errno_of_open("file/data", O_RDWR | O_TRUNC), EOPNOTSUPP);
    ck_assert_int_eq(errno_of_open("file/folder/../data", O_RDONLY), 0);
    ck_assert_int_eq(errno_of_open(NULL, O_RDONLY), EFAULT);
    end();
}
END_TEST

START_TEST(attributes_are_the_files)
{
    struct stat theirs, ours;
    char path[160];

    begin();
    (void)snprintf(path, sizeof(path), "%s/data", rig.data);
    ck_assert_int_eq(stat(path, &theirs), 0);
    ck_assert_int_eq(muse_fstat(file_ro, &ours), 0);
    ck_assert_int_eq(ours.st_size, theirs.st_size);
    ck_assert_uint_eq(ours.st_mode, theirs.st_mode);
    ck_assert_uint_eq(ours.st_ino, theirs.st_ino);
    ck_assert_uint_eq(ours.st_uid, theirs.st_uid);
    ck_assert_uint_eq(ours.st_nlink, theirs.st_nlink);
    ck_assert_int_eq(ours.st_mtim.tv_sec, theirs.st_mtim.tv_sec);
    ck_assert_int_eq(ours.st_mtim.tv_nsec, theirs.st_mtim.tv_nsec);
    end();
}
END_TEST

/* ---- without privilege ---- */

static void set_lock_limit(rlim_t bytes)
{
    const struct rlimit limit = {bytes, bytes};

    ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
}

static const struct row locked_rows[] = {
    {"locked", 0, 4 * PAGE, RO, MAP_SHARED | MAP_LOCKED, false, 0, 0},
    {"locked, private", 0, 4 * PAGE, RW, MAP_PRIVATE | MAP_LOCKED, false, 0, 0},
    {"locked, large", 0, 40 * PAGE, RO, MAP_SHARED | MAP_LOCKED, false, 0, 0},
    {"locked, and length 0", 0, 0, RO, MAP_SHARED | MAP_LOCKED, false, 0, 0},
    {"locked, and shared writable of a read-only fd", 0, 40 * PAGE, RW, MAP_SHARED | MAP_LOCKED,
     false, 0, 0},
};

static void without_privilege(void *ctx)
{
    char path[160];

    (void)ctx;
    set_lock_limit(16 * PAGE);
    ck_assert_int_eq(setgroups(0, NULL), 0);
    ck_assert_int_eq(setgid(NOBODY), 0);
    ck_assert_int_eq(setuid(NOBODY), 0);
    open_all();
    ck_assert_uint_eq(compare_rows(rows, N_ELEMENTS(rows)), 0);
    ck_assert_uint_eq(compare_rows(locked_rows, N_ELEMENTS(locked_rows)), 0);
    set_lock_limit(0);
    ck_assert_uint_eq(compare_rows(locked_rows, N_ELEMENTS(locked_rows)), 0);
    ck_assert_int_eq(errno_of_open("file/secret", O_RDONLY), EACCES);
    ck_assert_int_eq(errno_of_open("file/mine", O_RDWR), EACCES);
    ck_assert_int_eq(errno_of_open("file/mine", O_RDONLY), 0);
    (void)snprintf(path, sizeof(path), "%s/control.sock", rig.run);
    ck_assert_int_eq(access(path, W_OK), -1);
    (void)snprintf(path, sizeof(path), "%s/driver.sock", rig.run);
    ck_assert_int_eq(access(path, W_OK), -1);
    ck_assert_int_eq(rig_ctl_status(&rig, "status"), 1);
    char *mapped = client_map_ro(muse, "file/data", N_PAGES);
    ck_assert(file_is(mapped, 0, N_PAGES * PAGE));
    int pipe_fds[2]; /* a full userfaultfd, although this process may not make one */
    ck_assert_int_eq(pipe(pipe_fds), 0);
    ck_assert_int_eq(muse_munmap(muse, mapped, N_PAGES * PAGE), 0);
    mapped = client_map_ro(muse, "file/fresh", N_PAGES);
    ck_assert_int_eq(write(pipe_fds[1], mapped + 3 * PAGE, PAGE), PAGE);
    close_all();
}

START_TEST(a_client_without_privilege_is_served_and_limited_as_by_the_kernel)
{
    char path[160];

    begin();
    rig_file(&rig, "secret", PAGE);
    rig_file(&rig, "mine", PAGE);
    rig_file(&rig, "fresh", N_PAGES * PAGE);
    (void)snprintf(path, sizeof(path), "%s/secret", rig.data);
    ck_assert_int_eq(chmod(path, 0600), 0);
    client_join(client_fork(without_privilege, NULL));
    end();
}
END_TEST

/* ---- limits of the process ---- */

static bool is_locked(const void *mapped);

static void locked_by_the_driver(void *ctx)
{
    static const char sets_locked[] = "faulty/x,lock,set-flags=0x2000"; /* VM_LOCKED */
    struct muse_file *file;
    void *mapped;

    (void)ctx;
    set_lock_limit(16 * PAGE);
    ck_assert_int_eq(setgroups(0, NULL), 0);
    ck_assert_int_eq(setgid(NOBODY), 0);
    ck_assert_int_eq(setuid(NOBODY), 0);
    open_all();
    file = client_open(muse, sets_locked, O_RDONLY);
    mapped = muse_mmap(muse, NULL, 4 * PAGE, RO, MAP_SHARED, file, 0);
    ck_assert_msg(mapped != MAP_FAILED, "%s: %s", strerrorname_np(errno), muse_last_error_text());
    ck_assert(is_locked(mapped));
    ck_assert_ptr_eq(muse_mmap(muse, NULL, 13 * PAGE, RO, MAP_SHARED, file, 0), MAP_FAILED);
    ck_assert_int_eq(errno, EINVAL); /* 4 of the 16 are taken */
    ck_assert_ptr_nonnull(strstr(muse_last_error_text(), "LOCKED is over the client's limit"));
    ck_assert_int_eq(muse_munmap(muse, mapped, 4 * PAGE), 0);
    mapped = muse_mmap(muse, NULL, 13 * PAGE, RO, MAP_SHARED, file, 0);
    ck_assert_ptr_ne(mapped, MAP_FAILED);
    ck_assert_int_eq(muse_munmap(muse, mapped, 13 * PAGE), 0);
    ck_assert_int_eq(muse_close(file), 0);
    close_all();
}

START_TEST(a_driver_may_lock_what_the_limit_of_the_client_allows)
{
    const void *mapped;

    begin();
    mapped = client_map_ro(muse, "faulty/x,lock,set-flags=0x2000", 40); /* root: CAP_IPC_LOCK */
    ck_assert(is_locked(mapped));
    ck_assert_uint_eq(faulty_word(mapped, 3, 1), 3 * 512 + 1);
    client_join(client_fork(locked_by_the_driver, NULL));
    ck_assert_uint_eq(rig_counter("prepare"), rig_counter("complete") + rig_counter("abort"));
    end();
}
END_TEST

#define DATA_ROOM ((size_t)8 << 20)

static const struct row data_rows[] = {
    {"private and writable, within", 0, DATA_ROOM / 4, RW, MAP_PRIVATE, false, 0, 0},
    {"private and writable, over", 0, 2 * DATA_ROOM, RW, MAP_PRIVATE, false, 0, 0},
    {"the same, noreserve", 0, 2 * DATA_ROOM, RW, MAP_PRIVATE | MAP_NORESERVE, false, 0, 0},
    {"private and read-only", 0, 2 * DATA_ROOM, RO, MAP_PRIVATE, false, 0, 0},
    {"shared and writable", 0, 2 * DATA_ROOM, RW, MAP_SHARED, true, 0, 0},
    {"over, and growing down", 0, 2 * DATA_ROOM, RW, MAP_PRIVATE | MAP_GROWSDOWN, false, 0, 0},
    {"over, and neither shared nor private", 0, 2 * DATA_ROOM, RW, 0, false, 0, 0},
    {"over, and beyond the largest file", 0, 2 * DATA_ROOM, RW, MAP_PRIVATE, false,
     UINT64_C(0x7ffffffffffff000), 0},
};

/* A number of kB in /proc/self/status, in bytes. */
static uint64_t status_bytes(const char *name)
{
    FILE *file = fopen("/proc/self/status", "re");
    unsigned long long kib = 0;
    char line[256];

    ck_assert_ptr_nonnull(file);
    while (fgets(line, sizeof(line), file)) {
        if (strncmp(line, name, strlen(name)) == 0)
            kib = strtoull(line + strlen(name), NULL, 10);
    }
    (void)fclose(file);
    return kib * 1024;
}

static void with_little_data(void *ctx)
{
    const rlim_t bytes = status_bytes("VmData:") + DATA_ROOM;

    (void)ctx;
    open_all();
    ck_assert_int_eq(setrlimit(RLIMIT_DATA, &(struct rlimit){bytes, bytes}), 0);
    ck_assert_uint_eq(compare_rows(data_rows, N_ELEMENTS(data_rows)), 0);
    ck_assert_ptr_eq(
        client_map(muse, "faulty/big,size=32M", O_RDONLY, 2 * DATA_ROOM, RW, MAP_PRIVATE),
        MAP_FAILED);
    ck_assert_int_eq(errno, ENOMEM);
    ck_assert_uint_eq(rig_counter("prepare"), 0);
    close_all();
}

START_TEST(the_limit_of_data_counts_what_is_private_and_writable)
{
    begin();
    client_join(client_fork(with_little_data, NULL));
    end();
}
END_TEST

/* The two-letter flags of the mapping at @addr, of /proc/self/smaps. */
static void flags_at(const void *addr, char *buf, size_t size)
{
    FILE *file = fopen("/proc/self/smaps", "re");
    char start[32], line[256];
    bool is_there = false;

    ck_assert_ptr_nonnull(file);
    (void)snprintf(start, sizeof(start), "%lx-", (unsigned long)(uintptr_t)addr);
    buf[0] = '\0';
    while (fgets(line, sizeof(line), file)) {
        if (strncmp(line, start, strlen(start)) == 0)
            is_there = true;
        if (is_there && strncmp(line, "VmFlags:", 8) == 0) {
            (void)snprintf(buf, size, "%s", line + 8);
            break;
        }
    }
    (void)fclose(file);
    ck_assert_msg(buf[0] != '\0', "%s not in smaps", start);
}

static bool is_locked(const void *mapped)
{
    char flags[256];

    flags_at(mapped, flags, sizeof(flags));
    return strstr(flags, " lo") != NULL;
}

/* "ac": its pages are charged to the machine's commit limit; "nr": they never will be. */
static const struct {
    int prot, flags;
} accounted[] = {{RW, MAP_PRIVATE},
                 {RW, MAP_PRIVATE | MAP_NORESERVE},
                 {RO, MAP_PRIVATE},
                 {RO, MAP_PRIVATE | MAP_NORESERVE}};

START_TEST(private_memory_is_charged_to_the_machine_as_the_kernel_does)
{
    begin();
    for (size_t i = 0; i < N_ELEMENTS(accounted); i++) {
        char theirs[256], ours[256];
        void *plain = kernel_mmap(NULL, 4 * PAGE, accounted[i].prot, accounted[i].flags, fd_ro, 0);
        void *mapped =
            muse_mmap(muse, NULL, 4 * PAGE, accounted[i].prot, accounted[i].flags, file_ro, 0);

        ck_assert_ptr_ne(plain, MAP_FAILED);
        ck_assert_ptr_ne(mapped, MAP_FAILED);
        flags_at(plain, theirs, sizeof(theirs));
        flags_at(mapped, ours, sizeof(ours));
        for (size_t k = 0; k < 2; k++) {
            const char *flag = k ? " nr" : " ac";

            ck_assert_msg(!strstr(theirs, flag) == !strstr(ours, flag), "%zu:%s: kernel:%s muse:%s",
                          i, flag, theirs, ours);
        }
        ck_assert_int_eq(kernel_munmap(plain, 4 * PAGE), 0);
        ck_assert_int_eq(muse_munmap(muse, mapped, 4 * PAGE), 0);
    }
    end();
}
END_TEST

static void low_addresses(void *ctx)
{
    static const uintptr_t pages[] = {0, 1, 15, 16};

    (void)ctx;
    ck_assert_int_eq(setgroups(0, NULL), 0);
    ck_assert_int_eq(setgid(NOBODY), 0);
    ck_assert_int_eq(setuid(NOBODY), 0);
    open_all();
    struct muse_file *file = client_open(muse, "faulty/x", O_RDONLY);
    for (size_t i = 0; i < N_ELEMENTS(pages); i++) {
        void *addr = (void *)(pages[i] * PAGE);
        void *got = kernel_mmap(addr, PAGE, RO, MAP_SHARED | MAP_FIXED, fd_ro, 0);
        const int kernel = got == MAP_FAILED ? errno : 0;

        if (got != MAP_FAILED)
            ck_assert_int_eq(kernel_munmap(got, PAGE), 0);
        got = muse_mmap(muse, addr, PAGE, RO, MAP_SHARED | MAP_FIXED, file, 0);
        ck_assert_int_eq(got == MAP_FAILED ? errno : 0, kernel);
        if (kernel)
            ck_assert_uint_eq(rig_counter("prepare"), 0); /* refused before anybody was asked */
        else
            ck_assert_int_eq(muse_munmap(muse, got, PAGE), 0);
    }
    ck_assert_int_eq(muse_close(file), 0);
    close_all();
}

START_TEST(an_address_that_is_too_low_is_refused_as_by_the_kernel)
{
    begin();
    client_join(client_fork(low_addresses, NULL));
    end();
}
END_TEST

START_TEST(a_file_of_a_noexec_file_system_cannot_be_executed)
{
    char path[160], name[192];
    struct muse_file *file;
    void *mapped;
    int fd;

    ck_assert_int_eq(unshare(CLONE_NEWNS), 0); /* the mount is this test's and its server's */
    ck_assert_int_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    begin();
    (void)snprintf(path, sizeof(path), "%s/noexec", rig.data);
    ck_assert_int_eq(mkdir(path, 0755), 0);
    ck_assert_int_eq(mount("none", path, "tmpfs", MS_NOEXEC, NULL), 0);
    rig_file(&rig, "noexec/data", PAGE);
    (void)snprintf(name, sizeof(name), "%s/data", path);
    fd = open(name, O_RDONLY | O_CLOEXEC);
    ck_assert_ptr_eq(kernel_mmap(NULL, PAGE, RO | PROT_EXEC, MAP_PRIVATE, fd, 0), MAP_FAILED);
    ck_assert_int_eq(errno, EPERM);
    (void)close(fd);
    file = client_open(muse, "file/noexec/data", O_RDONLY);
    ck_assert_ptr_eq(muse_mmap(muse, NULL, PAGE, RO | PROT_EXEC, MAP_PRIVATE, file, 0), MAP_FAILED);
    ck_assert_int_eq(errno, EPERM);
    ck_assert_ptr_nonnull(strstr(muse_last_error_text(), "noexec"));
    mapped = muse_mmap(muse, NULL, PAGE, RO, MAP_PRIVATE, file, 0);
    ck_assert_ptr_ne(mapped, MAP_FAILED);
    ck_assert(file_is(mapped, 0, PAGE));
    ck_assert_int_eq(muse_munmap(muse, mapped, PAGE), 0);
    mapped = muse_mmap(muse, NULL, PAGE, RO | PROT_EXEC, MAP_PRIVATE, file_ro, 0);
    ck_assert_ptr_ne(mapped, MAP_FAILED); /* elsewhere it may */
    ck_assert_int_eq(muse_close(file), 0);
    close_all();
    while (umount2(path, 0) < 0) { /* until the driver has closed the file */
        ck_assert_int_eq(errno, EBUSY);
        client_sleep_ms(2);
    }
    rig_stop(&rig);
}
END_TEST

START_TEST(where_there_is_no_server_it_is_enotconn)
{
    const struct muse_options options = {.struct_size = sizeof(options), .rundir = "/nonexistent"};
    struct muse_options wrong = {.struct_size = sizeof(wrong), .flags = 2};
    struct muse *other = NULL;

    begin();
    ck_assert_int_eq(muse_connect(&other, &options), -1);
    ck_assert_int_eq(errno, ENOTCONN);
    ck_assert_int_eq(muse_connect(&other, &wrong), -1);
    ck_assert_int_eq(errno, EINVAL);
    wrong = (struct muse_options){.struct_size = 3};
    ck_assert_int_eq(muse_connect(&other, &wrong), -1);
    ck_assert_int_eq(errno, EINVAL);
    wrong = (struct muse_options){.struct_size = sizeof(wrong), .arena_bytes = (size_t)1 << 46};
    ck_assert_int_eq(muse_connect(&other, &wrong), -1);
    ck_assert_int_eq(errno, EINVAL);
    end();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("errno");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, mmap_fails_with_the_kernels_errno);
    tcase_add_test(tcase, a_closed_or_missing_file_is_ebadf);
    tcase_add_test(tcase, noreplace_over_something_is_eexist_and_changes_nothing);
    tcase_add_test(tcase, noreplace_outside_the_arena_respects_the_programs_own_memory);
    tcase_add_test(tcase, the_limit_of_mappings_is_enomem_as_in_the_kernel);
    tcase_add_test(tcase, munmap_fails_with_the_kernels_errno_and_rounds_as_it_does);
    tcase_add_test(tcase, names_fail_as_open_does);
    tcase_add_test(tcase, attributes_are_the_files);
    tcase_add_test(tcase, a_client_without_privilege_is_served_and_limited_as_by_the_kernel);
    tcase_add_test(tcase, a_driver_may_lock_what_the_limit_of_the_client_allows);
    tcase_add_test(tcase, the_limit_of_data_counts_what_is_private_and_writable);
    tcase_add_test(tcase, private_memory_is_charged_to_the_machine_as_the_kernel_does);
    tcase_add_test(tcase, an_address_that_is_too_low_is_refused_as_by_the_kernel);
    tcase_add_test(tcase, a_file_of_a_noexec_file_system_cannot_be_executed);
    tcase_add_test(tcase, where_there_is_no_server_it_is_enotconn);
    return unit_run("errno", tcase);
}
