/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * madvise, mlock and mincore: every row against the kernel on a plain file; then what advice does to
 * pages that come from a driver.
 */
#include <errno.h>
#include <muse/muse.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <check.h>

#include "common/base/linux_abi.h"
#include "common/base/own.h"
#include "tests/support/kernel.h"
#include "tests/support/pair.h"
#include "tests/support/unit.h"

#define RO (PROT_READ)
#define RW (PROT_READ | PROT_WRITE)

static const char *const faulty[] = {"muse-faulty", NULL};

static struct rig rig;
static struct muse *muse;

static void begin(const char *config)
{
    rig_start(&rig, config, faulty);
    muse = client_connect();
}

static void end(void)
{
    muse_disconnect(muse);
    rig_stop(&rig);
}

/* ---- madvise against the kernel; pages of pair.c's layout ---- */

#define HOLE  12
#define ANON  16
#define SHMEM 20

static const struct row {
    const char *name;
    size_t at, len; /* bytes */
    int advice;
} rows[] = {
    {"not aligned", 8, PAGE, MADV_DONTNEED},
    {"not aligned, no length", 8, 0, MADV_NORMAL},
    {"unknown", 0, PAGE, 4711},
    {"unknown, no length", 0, 0, 4711},
    {"no length", 0, 0, MADV_DONTNEED},
    {"a length that wraps", PAGE, SIZE_MAX, MADV_DONTNEED},
    {"an end that wraps", PAGE, SIZE_MAX - 2 * PAGE, MADV_DONTNEED},
    {"a hole, what is before and behind is done", 0, 20 * PAGE, MADV_DONTNEED},
    {"a hole alone", HOLE *PAGE, PAGE, MADV_DONTNEED},
    {"nothing at all", 30 * PAGE, 4 * PAGE, MADV_NORMAL},
    {"DONTNEED, private", 0, 4 * PAGE, MADV_DONTNEED},
    {"DONTNEED, private, rounded up", PAGE, 1, MADV_DONTNEED},
    {"DONTNEED, shared", 4 * PAGE, 4 * PAGE, MADV_DONTNEED},
    {"DONTNEED, shared read-only", 8 * PAGE, 4 * PAGE, MADV_DONTNEED},
    {"DONTNEED, anonymous", ANON *PAGE, 4 * PAGE, MADV_DONTNEED},
    {"DONTNEED, anonymous shared", SHMEM *PAGE, 4 * PAGE, MADV_DONTNEED},
    {"DONTNEED, the end of the file", 24 * PAGE, 4 * PAGE, MADV_DONTNEED},
    {"FREE, a file", 0, PAGE, MADV_FREE},
    {"FREE, shared", 4 * PAGE, PAGE, MADV_FREE},
    {"FREE, anonymous shared", SHMEM *PAGE, PAGE, MADV_FREE},
    {"FREE, a file before anonymous memory", 14 * PAGE, 4 * PAGE, MADV_FREE},
    {"REMOVE, private", 0, PAGE, MADV_REMOVE},
    {"REMOVE, anonymous", ANON *PAGE, PAGE, MADV_REMOVE},
    {"REMOVE, shared read-only", 8 * PAGE, PAGE, MADV_REMOVE},
    {"REMOVE, anonymous shared", SHMEM *PAGE, 2 * PAGE, MADV_REMOVE},
    {"WIPEONFORK, a file", 0, PAGE, MADV_WIPEONFORK},
    {"WIPEONFORK, shared", 4 * PAGE, PAGE, MADV_WIPEONFORK},
    {"WIPEONFORK, anonymous", ANON *PAGE, PAGE, MADV_WIPEONFORK},
    {"WIPEONFORK, anonymous shared", SHMEM *PAGE, PAGE, MADV_WIPEONFORK},
    {"KEEPONFORK, a file", 0, PAGE, MADV_KEEPONFORK},
    {"KEEPONFORK, anonymous", ANON *PAGE, PAGE, MADV_KEEPONFORK},
    {"DONTFORK", 0, 28 * PAGE, MADV_DONTFORK},
    {"DOFORK", PAGE, 2 * PAGE, MADV_DOFORK},
    {"DONTDUMP", PAGE, 2 * PAGE, MADV_DONTDUMP},
    {"DODUMP", PAGE, 2 * PAGE, MADV_DODUMP},
    {"HUGEPAGE", PAGE, 18 * PAGE, MADV_HUGEPAGE},
    {"NOHUGEPAGE", PAGE, 18 * PAGE, MADV_NOHUGEPAGE},
    {"COLD", 0, 12 * PAGE, MADV_COLD},
    {"PAGEOUT", 0, 12 * PAGE, MADV_PAGEOUT},
    {"COLD, anonymous", ANON *PAGE, 8 * PAGE, MADV_COLD},
    {"WILLNEED", 0, 12 * PAGE, MADV_WILLNEED},
    {"WILLNEED, everything", 0, 28 * PAGE, MADV_WILLNEED},
    {"NORMAL", 0, 12 * PAGE, MADV_NORMAL},
    {"RANDOM", PAGE, 6 * PAGE, MADV_RANDOM},
    {"SEQUENTIAL", PAGE, 6 * PAGE, MADV_SEQUENTIAL},
    {"POPULATE_READ", 0, 12 * PAGE, MADV_POPULATE_READ},
    {"POPULATE_READ, a hole", 8 * PAGE, 6 * PAGE, MADV_POPULATE_READ},
    {"POPULATE_READ, behind the end", 24 * PAGE, 4 * PAGE, MADV_POPULATE_READ},
    {"POPULATE_WRITE", 0, 4 * PAGE, MADV_POPULATE_WRITE},
    {"POPULATE_WRITE, shared", 4 * PAGE, 4 * PAGE, MADV_POPULATE_WRITE},
    {"POPULATE_WRITE, read-only", 13 * PAGE, PAGE, MADV_POPULATE_WRITE},
    {"POPULATE_WRITE, shared read-only", 8 * PAGE, PAGE, MADV_POPULATE_WRITE},
    {"POPULATE_WRITE, anonymous", ANON *PAGE, 8 * PAGE, MADV_POPULATE_WRITE},
    {"DONTNEED_LOCKED", 0, 12 * PAGE, MADV_DONTNEED_LOCKED},
    {"REMOVE, shared", 4 * PAGE, PAGE, MADV_REMOVE},
    {"REMOVE, all of it", 4 * PAGE, 4 * PAGE, MADV_REMOVE},
    {"REMOVE, into a mapping that is not shared", 6 * PAGE, 4 * PAGE, MADV_REMOVE},
};

static void check_row(struct pair *pair, const struct row *row)
{
    const int64_t kernel =
        pair_result(kernel_madvise(pair->kernel + row->at, row->len, row->advice));

    pair_same(pair, row->name, kernel,
              pair_result(muse_madvise(pair->muse, pair->ours + row->at, row->len, row->advice)));
    pair_compare(pair, row->name);
}

START_TEST(every_row_of_madvise_is_as_the_kernel_has_it)
{
    struct pair pair;

    pair_begin(&pair);
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        pair_layout(&pair);
        check_row(&pair, &rows[i]);
        for (size_t page = 0; page < 28; page++)
            pair_write(&pair, rows[i].name, page * PAGE + 9, (unsigned char)(page + 1));
        pair_compare(&pair, rows[i].name);
    }
    pair_end(&pair);
}
END_TEST

static void lock_both(struct pair *pair, size_t page, size_t n_pages)
{
    pair_same(pair, "mlock", pair_result(kernel_mlock(pair->kernel + page * PAGE, n_pages * PAGE)),
              pair_result(muse_mlock(pair->muse, pair->ours + page * PAGE, n_pages * PAGE)));
}

START_TEST(what_is_locked_takes_other_advice)
{
    static const struct row locked[] = {
        {"DONTNEED", 0, 4 * PAGE, MADV_DONTNEED},
        {"DONTNEED, one that is locked behind one that is not", 13 * PAGE, 6 * PAGE, MADV_DONTNEED},
        {"DONTNEED_LOCKED", 0, 4 * PAGE, MADV_DONTNEED_LOCKED},
        {"FREE", ANON * PAGE, PAGE, MADV_FREE},
        {"COLD", 0, PAGE, MADV_COLD},
        {"PAGEOUT", 4 * PAGE, PAGE, MADV_PAGEOUT},
        {"REMOVE", 4 * PAGE, PAGE, MADV_REMOVE},
        {"NORMAL", 0, 4 * PAGE, MADV_NORMAL},
        {"DONTNEED on what is not", 2 * PAGE, PAGE, MADV_DONTNEED},
    };
    struct pair pair;

    pair_begin(&pair);
    for (size_t i = 0; i < N_ELEMENTS(locked); i++) {
        pair_layout(&pair);
        lock_both(&pair, 0, 2);
        lock_both(&pair, 3, 3);
        lock_both(&pair, ANON, 2);
        check_row(&pair, &locked[i]);
        ck_assert_int_eq(kernel_munlock(pair.kernel, 12 * PAGE), 0);
        ck_assert_int_eq(muse_munlock(pair.muse, pair.ours, 12 * PAGE), 0);
        ck_assert_int_eq(kernel_madvise(pair.kernel, 4 * PAGE, MADV_DONTNEED), 0);
        ck_assert_int_eq(muse_madvise(pair.muse, pair.ours, 4 * PAGE, MADV_DONTNEED), 0);
        pair_compare(&pair, locked[i].name);
    }
    pair_end(&pair);
}
END_TEST

/* ---- mlock against the kernel ---- */

static const struct lock_row {
    const char *name;
    size_t at, len; /* bytes */
    bool unlock;
} lock_rows[] = {
    {"one page", 0, PAGE, false},
    {"not aligned: rounded down", PAGE + 77, 10, false},
    {"not aligned: rounded up, too", PAGE + 77, PAGE, false},
    {"no length", 0, 0, false},
    {"it wraps around", PAGE, SIZE_MAX - 3 * PAGE, false},
    {"over three mappings", 2 * PAGE, 8 * PAGE, false},
    {"a hole", 10 * PAGE, 5 * PAGE, false},
    {"a hole at once", HOLE *PAGE, 2 * PAGE, false},
    {"a hole at the end", 26 * PAGE, 6 * PAGE, false},
    {"behind the end of the file", 24 * PAGE, 4 * PAGE, false},
    {"anonymous", ANON *PAGE, 8 * PAGE, false},
    {"what was not locked", 0, 4 * PAGE, true},
    {"unlock a hole", 10 * PAGE, 5 * PAGE, true},
    {"unlock nothing", 0, 0, true},
};

/* Which pages are locked: those that DONTNEED is not allowed for. */
static void compare_locked(struct pair *pair, const char *what)
{
    for (size_t page = 0; page < 28; page++) {
        pair_same(
            pair, what,
            pair_result(kernel_madvise(pair->kernel + page * PAGE, PAGE, MADV_DONTNEED)),
            pair_result(muse_madvise(pair->muse, pair->ours + page * PAGE, PAGE, MADV_DONTNEED)));
    }
    pair_compare(pair, what);
}

START_TEST(every_row_of_mlock_is_as_the_kernel_has_it)
{
    struct pair pair;

    pair_begin(&pair);
    for (size_t i = 0; i < N_ELEMENTS(lock_rows); i++) {
        const struct lock_row *row = &lock_rows[i];
        char *kernel, *ours;
        int64_t results[2];

        pair_layout(&pair);
        kernel = pair.kernel + row->at;
        ours = pair.ours + row->at;
        if (row->unlock)
            lock_both(&pair, 8, 4);
        results[0] = pair_result(row->unlock ? kernel_munlock(kernel, row->len)
                                             : kernel_mlock(kernel, row->len));
        results[1] = pair_result(row->unlock ? muse_munlock(pair.muse, ours, row->len)
                                             : muse_mlock(pair.muse, ours, row->len));
        pair_same(&pair, row->name, results[0], results[1]);
        compare_locked(&pair, row->name);
    }
    pair_end(&pair);
}
END_TEST

START_TEST(pages_without_access_stay_locked_although_they_cannot_come)
{
    struct pair pair;

    pair_begin(&pair);
    pair_layout(&pair);
    ck_assert_int_eq(kernel_mprotect(pair.kernel + PAGE, PAGE, PROT_NONE), 0);
    ck_assert_int_eq(muse_mprotect(pair.muse, pair.ours + PAGE, PAGE, PROT_NONE), 0);
    lock_both(&pair, 0, 4);
    compare_locked(&pair, "PROT_NONE");
    pair_end(&pair);
}
END_TEST

static void lock_with_limit(void *ctx)
{
    const struct rlimit limits[] = {{4 * PAGE, 8 * PAGE}, {0, 8 * PAGE}};
    struct muse *own;
    char *mapped;

    (void)ctx;
    ck_assert(client_drop_ipc_lock());
    ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &limits[0]), 0);
    own = client_connect();
    mapped = client_map(own, "faulty/x", O_RDONLY, 8 * PAGE, RW, MAP_PRIVATE);
    ck_assert_int_eq(muse_mlock(own, mapped, 5 * PAGE), -1);
    ck_assert_int_eq(errno, ENOMEM);
    ck_assert_int_eq(muse_madvise(own, mapped, 8 * PAGE, MADV_DONTNEED), 0); /* nothing is locked */
    ck_assert_int_eq(muse_mlock(own, mapped, 4 * PAGE), 0);
    ck_assert_int_eq(muse_mlock(own, mapped, 4 * PAGE), 0); /* it counts once */
    ck_assert_int_eq(muse_mlock(own, mapped + 2 * PAGE, 3 * PAGE), -1);
    ck_assert_int_eq(errno, ENOMEM);
    ck_assert_int_eq(muse_munlock(own, mapped, 2 * PAGE), 0);
    ck_assert_int_eq(muse_mlock(own, mapped + 2 * PAGE, 4 * PAGE), 0);
    ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &limits[1]), 0);
    ck_assert_int_eq(muse_mlock(own, mapped, PAGE), -1);
    ck_assert_int_eq(errno, EPERM);
    muse_disconnect(own);
}

START_TEST(the_limit_of_locked_memory_holds)
{
    begin(NULL);
    client_join(client_fork(lock_with_limit, NULL));
    end();
}
END_TEST

/* ---- pages that come from a driver ---- */

START_TEST(advice_cuts_mappings_as_the_kernel_does_and_they_become_one_again)
{
    begin(NULL);
    char *mapped = client_map(muse, "faulty/x", O_RDONLY, 9 * PAGE, RW, MAP_PRIVATE);

    ck_assert_int_eq(muse_madvise(muse, mapped + 3 * PAGE, 3 * PAGE, MADV_RANDOM), 0);
    ck_assert_uint_eq(rig_counter("split"), 2);
    ck_assert_uint_eq(rig_counter("open"), 2);
    ck_assert_uint_eq(rig_counter("mprotect"), 0);
    ck_assert_int_eq(muse_madvise(muse, mapped, 9 * PAGE, MADV_DONTNEED), 0);
    ck_assert_uint_eq(rig_counter("split"), 2); /* nothing else is cut */
    for (size_t page = 0; page < 9; page++)
        ck_assert_uint_eq(faulty_word(mapped, page, 7), page * 512 + 7);
    end();
}
END_TEST

START_TEST(a_may_split_that_refuses_fails_advice_that_cuts_and_no_other)
{
    begin(NULL);
    char *mapped = client_map(muse, "faulty/x,split-errno=22", O_RDONLY, 4 * PAGE, RW, MAP_PRIVATE);

    ck_assert_int_eq(muse_madvise(muse, mapped, PAGE, MADV_RANDOM), -1);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_int_eq(muse_madvise(muse, mapped, 4 * PAGE, MADV_RANDOM), 0);
    ck_assert_int_eq(muse_madvise(muse, mapped, PAGE, MADV_DONTNEED), 0);
    end();
}
END_TEST

START_TEST(at_the_limit_of_mappings_advice_that_cuts_is_eagain)
{
    begin("[limits]\nmax_vmas = 4\n");
    char *mapped = client_map(muse, "faulty/x", O_RDONLY, 9 * PAGE, RW, MAP_PRIVATE);

    ck_assert_int_eq(muse_madvise(muse, mapped + PAGE, PAGE, MADV_RANDOM), 0);
    ck_assert_int_eq(muse_madvise(muse, mapped + 4 * PAGE, PAGE, MADV_RANDOM), -1);
    ck_assert_int_eq(errno, EAGAIN);
    end();
}
END_TEST

START_TEST(removing_is_eopnotsupp_where_the_driver_cannot_punch)
{
    begin(NULL);
    char *mapped = client_map(muse, "faulty/x", O_RDWR, 4 * PAGE, RW, MAP_SHARED);

    ck_assert_ptr_ne(mapped, MAP_FAILED);
    ck_assert_int_eq(muse_madvise(muse, mapped, PAGE, MADV_REMOVE), -1);
    ck_assert_int_eq(errno, EOPNOTSUPP);
    ck_assert_uint_eq(faulty_word(mapped, 0, 7), 7);
    end();
}
END_TEST

/* IO, PFNMAP, DONTEXPAND, DONTDUMP: a mapping of the driver's own fd. */
START_TEST(special_mappings_take_less_advice_and_are_not_locked)
{
    static const int refused[] = {MADV_DONTNEED, MADV_DONTNEED_LOCKED, MADV_DOFORK, MADV_DODUMP,
                                  MADV_COLD,     MADV_PAGEOUT};
    static const int taken[] = {MADV_NORMAL, MADV_RANDOM, MADV_WILLNEED, MADV_DONTFORK};

    begin(NULL);
    char *mapped = client_map_ro(muse, "faulty/x,action=remap", 4);

    for (size_t i = 0; i < N_ELEMENTS(refused); i++) {
        ck_assert_int_eq(muse_madvise(muse, mapped, 4 * PAGE, refused[i]), -1);
        ck_assert_int_eq(errno, EINVAL);
    }
    for (size_t i = 0; i < N_ELEMENTS(taken); i++)
        ck_assert_int_eq(muse_madvise(muse, mapped, 4 * PAGE, taken[i]), 0);
    ck_assert_int_eq(muse_mlock(muse, mapped, 4 * PAGE), 0);
    ck_assert_int_eq(muse_msync(muse, mapped, 4 * PAGE, MS_INVALIDATE), 0); /* EBUSY if it were */
    ck_assert_uint_eq(faulty_word(mapped, 3, 1), 3 * 512 + 1);
    end();
}
END_TEST

START_TEST(populate_brings_every_page_or_says_efault)
{
    unsigned char vec[16];

    begin(NULL);
    char *mapped = client_map(muse, "faulty/x,ops=none", O_RDONLY, 16 * PAGE, RW, MAP_PRIVATE);

    ck_assert_int_eq(muse_madvise(muse, mapped, 16 * PAGE, MADV_POPULATE_READ), 0);
    ck_assert_int_eq(muse_mincore(muse, mapped, 16 * PAGE, vec), 0);
    for (size_t i = 0; i < 16; i++)
        ck_assert_int_eq(vec[i], 1);
    mapped = client_map(muse, "faulty/y,fault-errno=5,page=3", O_RDONLY, 8 * PAGE, RW, MAP_PRIVATE);
    ck_assert_int_eq(muse_madvise(muse, mapped, 3 * PAGE, MADV_POPULATE_WRITE), 0);
    ck_assert_int_eq(muse_madvise(muse, mapped, 8 * PAGE, MADV_POPULATE_READ), -1);
    ck_assert_int_eq(errno, EFAULT);
    ck_assert_int_eq(probe_read(mapped + 3 * PAGE).signal, SIGBUS);
    end();
}
END_TEST

START_TEST(a_page_that_cannot_be_had_fails_mlock_and_the_mapping_is_locked)
{
    begin(NULL);
    char *mapped =
        client_map(muse, "faulty/y,fault-errno=5,page=3", O_RDONLY, 8 * PAGE, RW, MAP_PRIVATE);

    ck_assert_int_eq(muse_mlock(muse, mapped, 8 * PAGE), -1);
    ck_assert_int_eq(errno, ENOMEM);
    ck_assert_int_eq(muse_madvise(muse, mapped + 7 * PAGE, PAGE, MADV_DONTNEED), -1);
    ck_assert_int_eq(errno, EINVAL);
    end();
}
END_TEST

static void lock_slowly(void *ctx)
{
    struct muse *own = client_connect();
    char *mapped =
        client_map(own, "faulty/x,fault-delay-ms=400", O_RDONLY, 8 * PAGE, RW, MAP_PRIVATE);

    (void)ctx;
    (void)!muse_mlock(own, mapped, 8 * PAGE);
    ck_abort_msg("it should be dead by now");
}

START_TEST(a_client_killed_while_its_pages_come_leaves_nothing)
{
    pid_t child;

    begin(NULL);
    child = client_fork(lock_slowly, NULL);
    wait_for_counter("fault", 1);
    client_kill(child);
    wait_for_counter("close", 1);
    end();
}
END_TEST

/* ---- mincore ---- */

START_TEST(mincore_tells_valid_pages_and_private_copies_apart_from_the_rest)
{
    unsigned char vec[16];

    begin(NULL);
    char *mapped =
        client_map(muse, "faulty/x,ops=none,fault-single", O_RDONLY, 16 * PAGE, RW, MAP_PRIVATE);

    ck_assert_int_eq(muse_madvise(muse, mapped, 16 * PAGE, MADV_RANDOM), 0);
    ck_assert_int_eq(muse_mincore(muse, mapped, 16 * PAGE, vec), 0);
    for (size_t i = 0; i < 16; i++)
        ck_assert_int_eq(vec[i], 0);
    (void)probe_read(mapped + 5 * PAGE);
    (void)probe_write(mapped + 9 * PAGE, 1);
    ck_assert_int_eq(muse_mincore(muse, mapped, 16 * PAGE, vec), 0);
    for (size_t i = 0; i < 16; i++)
        ck_assert_int_eq(vec[i], i == 5 || i == 9);
    end();
}
END_TEST

START_TEST(mincore_refuses_what_the_kernel_refuses)
{
    unsigned char kernel[PAIR_PAGES], ours[PAIR_PAGES];
    struct pair pair;

    pair_begin(&pair);
    pair_layout(&pair);
    pair_same(&pair, "not aligned", pair_result(kernel_mincore(pair.kernel + 8, PAGE, kernel)),
              pair_result(muse_mincore(pair.muse, pair.ours + 8, PAGE, ours)));
    pair_same(&pair, "no length", pair_result(kernel_mincore(pair.kernel, 0, kernel)),
              pair_result(muse_mincore(pair.muse, pair.ours, 0, ours)));
    pair_same(&pair, "a hole", pair_result(kernel_mincore(pair.kernel, 14 * PAGE, kernel)),
              pair_result(muse_mincore(pair.muse, pair.ours, 14 * PAGE, ours)));
    pair_same(&pair, "too long", pair_result(kernel_mincore(pair.kernel, SIZE_MAX / 2, kernel)),
              pair_result(muse_mincore(pair.muse, pair.ours, SIZE_MAX / 2, ours)));
    pair_same(&pair, "no vector", pair_result(kernel_mincore(pair.kernel, PAGE, NULL)),
              pair_result(muse_mincore(pair.muse, pair.ours, PAGE, NULL)));
    pair_compare(&pair, "all pages are resident now");
    pair_same(&pair, "all", pair_result(kernel_mincore(pair.kernel, 12 * PAGE, kernel)),
              pair_result(muse_mincore(pair.muse, pair.ours, 12 * PAGE, ours)));
    ck_assert_mem_eq(kernel, ours, 12);
    pair_same(&pair, "anonymous",
              pair_result(kernel_mincore(pair.kernel + ANON * PAGE, 8 * PAGE, kernel)),
              pair_result(muse_mincore(pair.muse, pair.ours + ANON * PAGE, 8 * PAGE, ours)));
    ck_assert_mem_eq(kernel, ours, 8);
    pair_end(&pair);
}
END_TEST

START_TEST(mincore_of_a_large_mapping_is_asked_in_pieces)
{
    static unsigned char vec[70000];

    begin(NULL);
    char *mapped =
        client_map(muse, "faulty/x,ops=none,size=512M", O_RDONLY, 70000 * PAGE, RO, MAP_SHARED);

    ck_assert_ptr_ne(mapped, MAP_FAILED);
    (void)probe_read(mapped + 69999 * PAGE);
    ck_assert_int_eq(muse_mincore(muse, mapped, 70000 * PAGE, vec), 0);
    ck_assert_int_eq(vec[0], 0);
    ck_assert_int_eq(vec[69999], 1);
    end();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("advise");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, every_row_of_madvise_is_as_the_kernel_has_it);
    tcase_add_test(tcase, what_is_locked_takes_other_advice);
    tcase_add_test(tcase, every_row_of_mlock_is_as_the_kernel_has_it);
    tcase_add_test(tcase, pages_without_access_stay_locked_although_they_cannot_come);
    tcase_add_test(tcase, the_limit_of_locked_memory_holds);
    tcase_add_test(tcase, advice_cuts_mappings_as_the_kernel_does_and_they_become_one_again);
    tcase_add_test(tcase, a_may_split_that_refuses_fails_advice_that_cuts_and_no_other);
    tcase_add_test(tcase, at_the_limit_of_mappings_advice_that_cuts_is_eagain);
    tcase_add_test(tcase, removing_is_eopnotsupp_where_the_driver_cannot_punch);
    tcase_add_test(tcase, special_mappings_take_less_advice_and_are_not_locked);
    tcase_add_test(tcase, populate_brings_every_page_or_says_efault);
    tcase_add_test(tcase, a_page_that_cannot_be_had_fails_mlock_and_the_mapping_is_locked);
    tcase_add_test(tcase, a_client_killed_while_its_pages_come_leaves_nothing);
    tcase_add_test(tcase, mincore_tells_valid_pages_and_private_copies_apart_from_the_rest);
    tcase_add_test(tcase, mincore_refuses_what_the_kernel_refuses);
    tcase_add_test(tcase, mincore_of_a_large_mapping_is_asked_in_pieces);
    return unit_run("advise", tcase);
}
