/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Objects of 2 MiB pages: bytes, cuts, failures, and a machine that has no such page left. The
 * pages are asked of the machine for the time of the tests; where it has none to give, all is
 * skipped.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <muse/muse.h>
#include <signal.h>
#include <sys/mman.h>

#include <check.h>

#include "tests/support/client.h"
#include "tests/support/huge_pages.h"
#include "tests/support/unit.h"

#define N_HUGE 6 /* pages of the machine: an object's, and those in the making */

static const char *const faulty[] = {"muse-faulty", NULL};

static struct rig rig;
static struct muse *muse;

static void begin(const char *config, const char *const *drivers)
{
    rig_start(&rig, config, drivers);
    muse = client_connect();
}

static void end(void)
{
    muse_disconnect(muse);
    rig_stop(&rig);
}

static void expect_pattern(const char *mapped, size_t first_page, size_t n_pages)
{
    for (size_t i = 0; i < n_pages * 512; i++) {
        if (((const volatile uint64_t *)(const void *)mapped)[i] != first_page * 512 + i)
            ck_abort_msg("page %zu, word %zu", first_page + i / 512, i % 512);
    }
}

START_TEST(objects_of_huge_pages_have_the_right_bytes_in_every_mapping)
{
    const size_t n_bytes = 2 * HUGE_PAGE;
    begin(NULL, faulty);
    char *mapped =
        client_map(muse, "faulty/x,pages=2M,size=4M", O_RDONLY, n_bytes, PROT_READ, MAP_SHARED);

    ck_assert_msg(mapped != MAP_FAILED, "%s", strerrorname_np(errno));
    ck_assert_uint_eq((uintptr_t)mapped % HUGE_PAGE, 0);
    expect_pattern(mapped + HUGE_PAGE, 512, 512);
    expect_pattern(mapped, 0, 1024);
    ck_assert_ptr_eq(client_map_at(muse, "faulty/x,pages=2M,size=4M", O_RDONLY,
                                   (struct client_span){NULL, HUGE_PAGE, (off_t)PAGE}, PROT_READ,
                                   MAP_SHARED),
                     MAP_FAILED);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_int_eq(muse_munmap(muse, mapped, HUGE_PAGE), 0);
    ck_assert_int_eq(probe_read(mapped).signal, SIGSEGV);
    expect_pattern(mapped + HUGE_PAGE, 512, 512);
    ck_assert_int_eq(muse_munmap(muse, mapped + HUGE_PAGE, HUGE_PAGE), 0);
    end();
}
END_TEST

START_TEST(objects_of_huge_pages_are_read_by_calls_but_not_written_or_resized)
{
    static uint64_t words[512];
    struct muse_file *file;

    begin(NULL, faulty);
    file = client_open(muse, "faulty/x,pages=2M,size=4M", O_RDWR);
    ck_assert_int_eq(muse_pread(file, words, sizeof(words), (off_t)(HUGE_PAGE + PAGE)),
                     sizeof(words));
    ck_assert_uint_eq(words[5], 513 * 512 + 5);
    ck_assert_int_eq(muse_pwrite(file, words, 8, 0), -1);
    ck_assert_int_eq(errno, EINVAL); /* as of a file of hugetlbfs */
    ck_assert_int_eq(muse_ftruncate(file, (off_t)HUGE_PAGE), -1);
    ck_assert_int_eq(errno, EOPNOTSUPP);
    ck_assert_int_eq(
        muse_fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)HUGE_PAGE), -1);
    ck_assert_int_eq(errno, EOPNOTSUPP);
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

START_TEST(a_failing_huge_page_is_sigbus_all_over_and_the_next_one_is_fine)
{
    begin(NULL, faulty);
    char *mapped = client_map(muse, "faulty/x,pages=2M,size=4M,fault-errno=5,page=0", O_RDONLY,
                              2 * HUGE_PAGE, PROT_READ, MAP_SHARED);

    ck_assert_msg(mapped != MAP_FAILED, "%s", strerrorname_np(errno));
    ck_assert_int_eq(probe_read(mapped + 5).signal, SIGBUS);
    ck_assert_int_eq(probe_read(mapped + HUGE_PAGE - 1).signal, SIGBUS);
    expect_pattern(mapped + HUGE_PAGE, 512, 512);
    end();
}
END_TEST

START_TEST(huge_pages_are_evicted_whole_and_come_again)
{
    const size_t n_pages = 5;
    uint64_t n_evicted;

    begin("[server]\nmemory = 4M\n", faulty); /* two of them */
    char *mapped = client_map(muse, "faulty/x,pages=2M,size=10M", O_RDONLY, n_pages * HUGE_PAGE,
                              PROT_READ, MAP_SHARED);

    ck_assert_msg(mapped != MAP_FAILED, "%s", strerrorname_np(errno));
    for (unsigned round = 0; round < 2; round++)
        for (size_t i = 0; i < n_pages; i++)
            expect_pattern(mapped + i * HUGE_PAGE, i * 512, 512);
    n_evicted = rig_stat(&rig, "pages_evicted");
    ck_assert_uint_ge(n_evicted, 2 * n_pages - 2);
    ck_assert_uint_eq(rig_stat(&rig, "faults_poisoned"), 0);
    ck_assert_int_eq(rig_ctl_status(&rig, "evict faulty/x,pages=2M,size=10M"), 0);
    ck_assert_uint_gt(rig_stat(&rig, "pages_evicted"), n_evicted);
    expect_pattern(mapped, 0, 512);
    end();
}
END_TEST

START_TEST(where_no_huge_page_is_left_there_is_an_error_and_never_zeros)
{
    const size_t n_bytes = N_HUGE * HUGE_PAGE;
    struct muse_error why;
    struct probe probe;
    char *filler;

    begin(NULL, faulty);
    filler = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_NORESERVE, -1, 0);
    ck_assert_ptr_ne(filler, MAP_FAILED);
    for (size_t at = 0; at < n_bytes && probe_write(filler + at, 1).signal == 0; at += HUGE_PAGE) {}
    char *mapped =
        client_map(muse, "faulty/x,pages=2M,size=4M", O_RDONLY, HUGE_PAGE, PROT_READ, MAP_SHARED);

    if (mapped == MAP_FAILED) { /* refused at once is as good */
        ck_assert_int_eq(errno, ENOMEM);
    } else {
        probe = probe_read(mapped + 8);
        if (probe.signal == 0) { /* somebody has given some back meanwhile */
            ck_assert_uint_eq(faulty_word(mapped, 0, 1), 1);
        } else {
            ck_assert_int_eq(probe.signal, SIGBUS);
            ck_assert_int_eq(muse_error_at(muse, mapped, &why), 0);
            ck_assert_int_ne(why.error, 0);
        }
    }
    ck_assert_int_eq(munmap(filler, n_bytes), 0);
    end();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("huge");
    int status;

    if (!huge_pages_take(N_HUGE))
        return HUGE_PAGES_SKIPPED;
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, objects_of_huge_pages_have_the_right_bytes_in_every_mapping);
    tcase_add_test(tcase, objects_of_huge_pages_are_read_by_calls_but_not_written_or_resized);
    tcase_add_test(tcase, a_failing_huge_page_is_sigbus_all_over_and_the_next_one_is_fine);
    tcase_add_test(tcase, huge_pages_are_evicted_whole_and_come_again);
    tcase_add_test(tcase, where_no_huge_page_is_left_there_is_an_error_and_never_zeros);
    status = unit_run("huge", tcase);
    huge_pages_give_back(N_HUGE);
    return status;
}
