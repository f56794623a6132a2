/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The rows of docs/semantics.md that are about the file below a mapping, and about children: pread,
 * pwrite, ftruncate, fallocate, fsync, fork, touches past the end. As it_semantics.c, each on a mapping
 * of each kind, against the kernel on a plain file.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <muse/muse.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>

#include "common/base/linux_abi.h"
#include "common/base/own.h"
#include "tests/support/kernel.h"
#include "tests/support/pair.h"
#include "tests/support/unit.h"

#define RO (PROT_READ)
#define RW (PROT_READ | PROT_WRITE)

#define FIRST   4u /* where the mapping lies, in pages of the window */
#define PGOFF   (PAIR_FILE_PAGES - 6u)
#define N_PAGES 10u /* the last four lie behind the end of the file */

/* The columns of the table that have a file. */
static const struct kind {
    const char *name;
    int prot, flags;
    bool rw;
} kinds[] = {
    {"shared ro", RO, MAP_SHARED, false},
    {"shared rw", RW, MAP_SHARED, true},
    {"private", RW, MAP_PRIVATE, false},
};

static struct pair pair;

/* Both files as at the start. */
static void restore_files(void)
{
    static unsigned char bytes[PAIR_FILE_BYTES];

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = rig_byte(i);
    ck_assert_int_eq(ftruncate(pair.fd_rw, 0), 0);
    ck_assert_int_eq(muse_ftruncate(pair.file_rw, 0), 0);
    ck_assert_int_eq(pwrite(pair.fd_rw, bytes, sizeof(bytes), 0), sizeof(bytes));
    ck_assert_int_eq(muse_pwrite(pair.file_rw, bytes, sizeof(bytes), 0), sizeof(bytes));
}

/* One mapping over the end of the file, some of it written to, one page without a copy of its own. */
static void lay_out(const struct kind *kind)
{
    ck_assert_int_eq(kernel_munmap(pair.kernel, PAIR_PAGES * PAGE), 0);
    ck_assert_int_eq(muse_munmap(pair.muse, pair.ours, PAIR_PAGES * PAGE), 0);
    restore_files();
    pair_map(&pair, &(struct pair_map){FIRST, N_PAGES, kind->prot, kind->flags, kind->rw, PGOFF});
    pair_write(&pair, kind->name, (FIRST + 1) * PAGE + 5, 0xa1);
    pair_write(&pair, kind->name, (FIRST + 3) * PAGE + 5, 0xa3);
}

static void compare_files(const char *what)
{
    static unsigned char bytes[2][2 * PAIR_FILE_BYTES];
    const ssize_t n = pread(pair.fd_ro, bytes[0], sizeof(bytes[0]), 0);
    struct stat kernel, ours;

    ck_assert_int_eq(muse_pread(pair.file_ro, bytes[1], sizeof(bytes[1]), 0), n);
    ck_assert_msg(memcmp(bytes[0], bytes[1], (size_t)n) == 0, "%s: the files differ", what);
    ck_assert_int_eq(fstat(pair.fd_ro, &kernel), 0);
    ck_assert_int_eq(muse_fstat(pair.file_ro, &ours), 0);
    ck_assert_int_eq(kernel.st_size, ours.st_size);
}

static void compare_all(const char *what)
{
    pair_compare(&pair, what);
    compare_files(what);
    for (size_t page = FIRST; page < FIRST + N_PAGES; page++)
        pair_write(&pair, what, page * PAGE + 9, (unsigned char)(page + 1));
    pair_compare(&pair, what);
    compare_files(what);
}

/* ---- calls on the file ---- */

struct call {
    const char *name;
    size_t at, len; /* bytes of the file */
    int mode;
};

typedef int64_t call_fn(const struct call *call, bool is_ours);

static void check_calls(const struct call *calls, size_t n, call_fn *fn)
{
    pair_begin(&pair);
    for (size_t i = 0; i < N_ELEMENTS(kinds); i++) {
        for (size_t j = 0; j < n; j++) {
            char what[120];

            (void)snprintf(what, sizeof(what), "%s, %s", kinds[i].name, calls[j].name);
            lay_out(&kinds[i]);
            const int64_t kernel = fn(&calls[j], false);

            pair_same(&pair, what, kernel, fn(&calls[j], true));
            compare_all(what);
        }
    }
    restore_files();
    pair_end(&pair);
}

#define AT(page) (((size_t)PGOFF + (page)) * PAGE)

static int64_t count_or_errno(ssize_t n)
{
    return n < 0 ? -errno : n;
}

/* The answer, and a sum over the bytes. */
static int64_t do_read(const struct call *call, bool is_ours)
{
    static unsigned char bytes[16 * PAGE];
    int64_t n = count_or_errno(
        is_ours ? muse_pread(call->mode ? NULL : pair.file_ro, bytes, call->len, (off_t)call->at)
                : pread(call->mode ? -1 : pair.fd_ro, bytes, call->len, (off_t)call->at));
    int64_t sum = 0;

    for (int64_t i = 0; i < n; i++)
        sum = sum * 31 % 1000003 + bytes[i];
    return n < 0 ? n : n * 1000003 + sum;
}

START_TEST(pread_sees_what_each_kind_of_mapping_shows)
{
    static const struct call calls[] = {
        {"a page that was written to", AT(1), PAGE, 0},
        {"several", AT(0) + 7, 5 * PAGE, 0},
        {"over the end", AT(5), 4 * PAGE, 0},
        {"behind the end", AT(8), PAGE, 0},
        {"nothing", AT(1), 0, 0},
        {"at a negative offset", (size_t)-PAGE, PAGE, 0},
        {"no file", 0, PAGE, 1},
    };

    check_calls(calls, N_ELEMENTS(calls), do_read);
}
END_TEST

static int64_t do_write(const struct call *call, bool is_ours)
{
    static unsigned char bytes[16 * PAGE];
    const bool read_only = call->mode;

    memset(bytes, 'w', sizeof(bytes));
    return count_or_errno(
        is_ours ? muse_pwrite(read_only ? pair.file_ro : pair.file_rw, bytes, call->len,
                              (off_t)call->at)
                : pwrite(read_only ? pair.fd_ro : pair.fd_rw, bytes, call->len, (off_t)call->at));
}

START_TEST(pwrite_is_seen_by_each_kind_of_mapping_but_not_in_its_private_copies)
{
    static const struct call calls[] = {
        {"a page that was written to", AT(1) + 100, 50, 0},
        {"a page that was not", AT(2) + 100, 50, 0},
        {"several", AT(0) + 7, 5 * PAGE, 0},
        {"over the end", AT(5), 2 * PAGE, 0},
        {"behind the end", AT(7) + 9, PAGE, 0},
        {"nothing", AT(1), 0, 0},
        {"at a negative offset", (size_t)-PAGE, PAGE, 0},
        {"of a file opened for reading", AT(1), PAGE, 1},
    };

    check_calls(calls, N_ELEMENTS(calls), do_write);
}
END_TEST

START_TEST(pwrite_to_a_file_opened_to_append_writes_where_it_says)
{
    struct muse_file *file;
    struct stat before, after;

    pair_begin(&pair);
    file = client_open(pair.muse, "file/data", O_RDWR | O_APPEND);
    ck_assert_int_eq(muse_fstat(file, &before), 0);
    ck_assert_int_eq(muse_pwrite(file, "w", 1, 5), 1);
    ck_assert_int_eq(muse_fstat(file, &after), 0);
    ck_assert_int_eq(after.st_size, before.st_size);
    ck_assert_int_eq(muse_close(file), 0);
    pair_end(&pair);
}
END_TEST

static int64_t do_truncate(const struct call *call, bool is_ours)
{
    const bool read_only = call->mode;

    return pair_result(
        is_ours ? muse_ftruncate(read_only ? pair.file_ro : pair.file_rw, (off_t)call->at)
                : ftruncate(read_only ? pair.fd_ro : pair.fd_rw, (off_t)call->at));
}

static int64_t do_truncate_and_grow(const struct call *call, bool is_ours)
{
    const struct call again = {"", PAIR_FILE_BYTES + 3 * PAGE, 0, 0};
    const int64_t r = do_truncate(call, is_ours);

    return r < 0 ? r : do_truncate(&again, is_ours);
}

START_TEST(truncating_takes_pages_from_each_kind_of_mapping_and_growing_gives_zeros)
{
    static const struct call calls[] = {
        {"into a page that was written to", AT(1) + 700, 0, 0},
        {"to a page's start", AT(2), 0, 0},
        {"as it is", PAIR_FILE_BYTES, 0, 0},
        {"larger by a part of a page", PAIR_FILE_BYTES + 500, 0, 0},
        {"larger", AT(8) + 3, 0, 0},
        {"to nothing", 0, 0, 0},
        {"negative", (size_t)-1, 0, 0},
        {"of a file opened for reading", AT(1), 0, 1},
    };

    check_calls(calls, N_ELEMENTS(calls), do_truncate);
    check_calls(calls, N_ELEMENTS(calls), do_truncate_and_grow);
}
END_TEST

static int64_t do_allocate_read_only(const struct call *call, bool is_ours)
{
    return pair_result(
        is_ours ? muse_fallocate(pair.file_ro, call->mode, (off_t)call->at, (off_t)call->len)
                : fallocate(pair.fd_ro, call->mode, (off_t)call->at, (off_t)call->len));
}

static int64_t do_allocate(const struct call *call, bool is_ours)
{
    return pair_result(
        is_ours ? muse_fallocate(pair.file_rw, call->mode, (off_t)call->at, (off_t)call->len)
                : fallocate(pair.fd_rw, call->mode, (off_t)call->at, (off_t)call->len));
}

#define PUNCH (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)

START_TEST(fallocate_below_each_kind_of_mapping_is_as_in_the_kernel)
{
    static const struct call calls[] = {
        {"allocate", AT(1), PAGE, 0},
        {"allocate, larger", AT(4), 4 * PAGE, 0},
        {"allocate, the size stays", AT(4), 4 * PAGE, FALLOC_FL_KEEP_SIZE},
        {"punch a page", AT(1), PAGE, PUNCH},
        {"punch parts of pages", AT(1) + 100, 2 * PAGE + 50, PUNCH},
        {"punch inside a page", AT(3) + 2, 9, PUNCH},
        {"punch behind the end", AT(7), PAGE, PUNCH},
        {"punch, the size may change", AT(1), PAGE, FALLOC_FL_PUNCH_HOLE},
        {"collapse", AT(1), PAGE, FALLOC_FL_COLLAPSE_RANGE},
        {"insert", AT(1), PAGE, FALLOC_FL_INSERT_RANGE},
        {"unknown mode", AT(1), PAGE, 0x800},
        {"nothing", AT(1), 0, 0},
        {"negative", (size_t)-PAGE, PAGE, 0},
    };

    check_calls(calls, N_ELEMENTS(calls), do_allocate);
    check_calls(calls, N_ELEMENTS(calls), do_allocate_read_only);
}
END_TEST

/* Shared memory of the kernel cannot do this one; ext4 can. */
START_TEST(a_zeroed_range_is_zero_in_each_kind_of_mapping_but_for_private_copies)
{
    pair_begin(&pair);
    for (size_t i = 0; i < N_ELEMENTS(kinds); i++) {
        const bool is_private = kinds[i].flags & MAP_PRIVATE;

        lay_out(&kinds[i]);
        ck_assert_int_eq(
            muse_fallocate(pair.file_rw, FALLOC_FL_ZERO_RANGE, (off_t)AT(0) + 10, 3 * PAGE), 0);
        const char *mapped = pair.ours + FIRST * PAGE;

        ck_assert_int_eq((unsigned char)mapped[9], rig_byte(AT(0) + 9));
        ck_assert_int_eq(mapped[10], 0);
        ck_assert_int_eq((unsigned char)mapped[PAGE + 5], is_private ? 0xa1 : 0);
        ck_assert_int_eq(mapped[2 * PAGE + 5], 0);
        ck_assert_int_eq((unsigned char)mapped[3 * PAGE + 9],
                         is_private ? rig_byte(AT(3) + 9) : 0); /* that page is a copy, too */
        ck_assert_int_eq((unsigned char)mapped[3 * PAGE + 10], rig_byte(AT(3) + 10));
    }
    restore_files();
    pair_end(&pair);
}
END_TEST

static int64_t do_fsync(const struct call *call, bool is_ours)
{
    switch (call->mode) {
    case 0:
        return pair_result(is_ours ? muse_fsync(pair.file_rw) : fsync(pair.fd_rw));
    case 1:
        return pair_result(is_ours ? muse_fsync(pair.file_ro) : fsync(pair.fd_ro));
    default:
        return pair_result(is_ours ? muse_fsync(NULL) : fsync(-1));
    }
}

START_TEST(fsync_below_each_kind_of_mapping_succeeds)
{
    static const struct call calls[] = {
        {"opened for writing", 0, 0, 0}, {"opened for reading", 0, 0, 1}, {"no file", 0, 0, 2}};

    check_calls(calls, N_ELEMENTS(calls), do_fsync);
}
END_TEST

/* ---- past the end ---- */

START_TEST(touches_past_the_end_of_each_kind_are_sigbus_and_the_tail_is_zero)
{
    pair_begin(&pair);
    for (size_t i = 0; i < N_ELEMENTS(kinds); i++) {
        const char *mapped = pair.ours + FIRST * PAGE;

        lay_out(&kinds[i]);
        for (size_t at = PAIR_FILE_BYTES; at < PAIR_FILE_PAGES * PAGE; at += 500)
            ck_assert_int_eq(mapped[at - AT(0)], 0);
        pair_write(&pair, kinds[i].name, FIRST * PAGE + PAIR_FILE_BYTES + 3 - AT(0), 't');
        ck_assert_int_eq(probe_read(mapped + 6 * PAGE).signal, SIGBUS);
        ck_assert_int_eq(probe_read(mapped + 6 * PAGE).code, BUS_ADRERR);
        compare_all(kinds[i].name);
        if (kinds[i].rw) /* what was stored behind the end is nobody's */
            ck_assert_int_eq(muse_msync(pair.muse, pair.ours + FIRST * PAGE, 6 * PAGE, MS_SYNC), 0);
        compare_files(kinds[i].name);
    }
    restore_files();
    pair_end(&pair);
}
END_TEST

/* ---- children ---- */

static void look_as_child(void *ctx)
{
    (void)ctx;
    pair_compare(&pair, "in the child");
    for (size_t page = FIRST; page < FIRST + N_PAGES; page += 2)
        pair_write(&pair, "in the child", page * PAGE + 77, 'c');
    pair_compare(&pair, "in the child, after it has written");
}

static const struct kind anonymous[] = {
    {"anonymous private", RW, MAP_PRIVATE | MAP_ANONYMOUS, false},
    {"anonymous shared", RW, MAP_SHARED | MAP_ANONYMOUS, false},
};

static void fork_with(const struct kind *kind, int advice)
{
    char what[120];

    (void)snprintf(what, sizeof(what), "%s, advice %d", kind->name, advice);
    lay_out(kind);
    pair_same(&pair, what,
              pair_result(kernel_madvise(pair.kernel + FIRST * PAGE, 4 * PAGE, advice)),
              pair_result(muse_madvise(pair.muse, pair.ours + FIRST * PAGE, 4 * PAGE, advice)));
    client_join(client_fork(look_as_child, NULL));
    pair_compare(&pair, what); /* what the child wrote, and what it did not */
    for (size_t page = FIRST; page < FIRST + N_PAGES; page++)
        pair_write(&pair, what, page * PAGE + 9, 'p');
    pair_compare(&pair, what);
}

START_TEST(a_child_has_each_kind_of_mapping_as_without_muse)
{
    static const int advices[] = {MADV_NORMAL, MADV_DONTFORK, MADV_DOFORK, MADV_WIPEONFORK};

    pair_begin(&pair);
    for (size_t advice = 0; advice < N_ELEMENTS(advices); advice++) {
        for (size_t i = 0; i < N_ELEMENTS(kinds); i++)
            fork_with(&kinds[i], advices[advice]);
        for (size_t i = 0; i < N_ELEMENTS(anonymous); i++)
            fork_with(&anonymous[i], advices[advice]);
    }
    restore_files();
    pair_end(&pair);
}
END_TEST

static void lock_is_not_there(void *ctx)
{
    (void)ctx;
    ck_assert_int_eq(kernel_madvise(pair.kernel + FIRST * PAGE, PAGE, MADV_DONTNEED), 0);
    ck_assert_int_eq(muse_madvise(pair.muse, pair.ours + FIRST * PAGE, PAGE, MADV_DONTNEED), 0);
}

START_TEST(a_child_does_not_inherit_locks_of_any_kind)
{
    pair_begin(&pair);
    for (size_t i = 0; i < N_ELEMENTS(kinds); i++) {
        lay_out(&kinds[i]);
        ck_assert_int_eq(kernel_mlock(pair.kernel + FIRST * PAGE, PAGE), 0);
        ck_assert_int_eq(muse_mlock(pair.muse, pair.ours + FIRST * PAGE, PAGE), 0);
        client_join(client_fork(lock_is_not_there, NULL));
        ck_assert_int_eq(muse_madvise(pair.muse, pair.ours + FIRST * PAGE, PAGE, MADV_DONTNEED),
                         -1);
        ck_assert_int_eq(errno, EINVAL);
    }
    restore_files();
    pair_end(&pair);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("semantics_file");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, pread_sees_what_each_kind_of_mapping_shows);
    tcase_add_test(tcase, pwrite_is_seen_by_each_kind_of_mapping_but_not_in_its_private_copies);
    tcase_add_test(tcase, pwrite_to_a_file_opened_to_append_writes_where_it_says);
    tcase_add_test(tcase, truncating_takes_pages_from_each_kind_of_mapping_and_growing_gives_zeros);
    tcase_add_test(tcase, fallocate_below_each_kind_of_mapping_is_as_in_the_kernel);
    tcase_add_test(tcase, a_zeroed_range_is_zero_in_each_kind_of_mapping_but_for_private_copies);
    tcase_add_test(tcase, fsync_below_each_kind_of_mapping_succeeds);
    tcase_add_test(tcase, touches_past_the_end_of_each_kind_are_sigbus_and_the_tail_is_zero);
    tcase_add_test(tcase, a_child_has_each_kind_of_mapping_as_without_muse);
    tcase_add_test(tcase, a_child_does_not_inherit_locks_of_any_kind);
    return unit_run("semantics_file", tcase);
}
