/* SPDX-License-Identifier: BSD-3-Clause */
/* Coverage buffers (drivers/kcov/area.c): sizes, what may be mapped, limits, the memory's seals. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <check.h>

#include "common/base/own.h"
#include "drivers/kcov/area.h"
#include "tests/support/fds.h"
#include "tests/support/unit.h"

#define PAGE 4096u

static struct kcovs kcovs;
static struct kcov *kcov;
static const char *why;

static void begin(void)
{
    kcovs_init(&kcovs, 2, UINT64_C(4) << 30);
    ck_assert_int_eq(kcovs_new(&kcovs, "a", 1000, 1000, &kcov), 0);
}

START_TEST(a_size_is_that_of_two_words_to_int_max_bytes_and_is_set_once)
{
    static const struct {
        uint64_t n_bytes;
        int result;
    } rows[] = {
        {0, -EINVAL},
        {8, -EINVAL},
        {15, -EINVAL},
        {PAGE + 1, -EINVAL},
        {PAGE - 4, -EINVAL},
        {(uint64_t)INT_MAX / 8 * 8 + 8, -EINVAL},
        {UINT64_MAX / 8 * 8, -EINVAL},
        {16, 0},
        {PAGE, 0},
        {(uint64_t)INT_MAX / 8 * 8, 0},
    };

    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        begin();
        ck_assert_int_eq(kcov_init(&kcovs, kcov, rows[i].n_bytes, &why), rows[i].result);
        ck_assert_uint_eq(kcov->n_bytes, rows[i].result == 0 ? rows[i].n_bytes : 0);
        if (rows[i].result == 0) {
            ck_assert_int_eq(kcov_init(&kcovs, kcov, rows[i].n_bytes, &why), -EBUSY);
            ck_assert_int_eq(kcov_init(&kcovs, kcov, 8, &why), -EINVAL); /* the size comes first */
        }
        kcovs_done(&kcovs);
    }
}
END_TEST

START_TEST(only_all_of_it_can_be_mapped)
{
    begin();
    ck_assert_int_eq(kcov_check_mmap(kcov, 0, PAGE, &why), -EINVAL);
    ck_assert_int_eq(kcov_init(&kcovs, kcov, 2 * PAGE, &why), 0);
    ck_assert_int_eq(kcov_check_mmap(kcov, 0, PAGE, &why), -EINVAL);
    ck_assert_int_eq(kcov_check_mmap(kcov, 0, 3 * PAGE, &why), -EINVAL);
    ck_assert_int_eq(kcov_check_mmap(kcov, 1, 2 * PAGE, &why), -EINVAL);
    ck_assert_int_eq(kcov_check_mmap(kcov, 0, 2 * PAGE, &why), 0);
    kcovs_done(&kcovs);
}
END_TEST

/* The kernel does not round the size up either. */
START_TEST(a_size_that_is_no_multiple_of_a_page_can_never_be_mapped)
{
    begin();
    ck_assert_int_eq(kcov_init(&kcovs, kcov, PAGE + 8, &why), 0);
    ck_assert_int_eq(kcov_check_mmap(kcov, 0, PAGE, &why), -EINVAL);
    ck_assert_int_eq(kcov_check_mmap(kcov, 0, 2 * PAGE, &why), -EINVAL);
    kcovs_done(&kcovs);
}
END_TEST

START_TEST(how_many_and_how_large_together_is_limited_and_given_back)
{
    const unsigned n_fds = fds_count();
    struct kcov *second, *third;

    kcovs_init(&kcovs, 2, 3 * PAGE);
    ck_assert_int_eq(kcovs_new(&kcovs, "a", 0, 0, &kcov), 0);
    ck_assert_int_eq(kcovs_new(&kcovs, "b", 0, 0, &second), 0);
    ck_assert_int_eq(kcovs_new(&kcovs, "c", 0, 0, &third), -ENFILE);
    ck_assert_int_eq(kcov_init(&kcovs, kcov, 2 * PAGE, &why), 0);
    ck_assert_int_eq(kcov_init(&kcovs, second, 2 * PAGE, &why), -ENOMEM);
    kcov_ref(kcov);
    kcov_unref(&kcovs, kcov);
    ck_assert_ptr_eq(kcovs_find(&kcovs, "a"), kcov);
    kcov_unref(&kcovs, kcov);
    ck_assert_ptr_null(kcovs_find(&kcovs, "a"));
    ck_assert_int_eq(kcov_init(&kcovs, second, 2 * PAGE, &why), 0);
    ck_assert_int_eq(kcovs_new(&kcovs, "c", 0, 0, &third), 0);
    kcovs_done(&kcovs);
    ck_assert_uint_eq(fds_count(), n_fds);
}
END_TEST

START_TEST(the_memory_keeps_its_size_and_an_fd_for_reading_stays_one)
{
    char byte = 0;

    begin();
    ck_assert_int_eq(kcov_init(&kcovs, kcov, PAGE, &why), 0);
    ck_assert_int_eq(ftruncate(kcov->fd, 0), -1);
    ck_assert_int_eq(ftruncate(kcov->fd, 2 * (off_t)PAGE), -1);
    ck_assert_int_eq(write(kcov->fd_ro, &byte, 1), -1);
    ck_assert(fd_is_cloexec(kcov->fd) && fd_is_cloexec(kcov->fd_ro));
    kcovs_done(&kcovs);
}
END_TEST

START_TEST(names_are_plain)
{
    static const char *const good[] = {"a", "cover-1", "A_b.c", "0"};
    static const char *const bad[] = {
        "",         ".",
        "..",       ".hidden",
        "a/b",      "a b",
        "\xc3\xa4", "a123456789a123456789a123456789a123456789a123456789a123456789abcd"};

    for (size_t i = 0; i < N_ELEMENTS(good); i++)
        ck_assert_msg(kcov_name_is_legal(good[i]), "%s", good[i]);
    for (size_t i = 0; i < N_ELEMENTS(bad); i++)
        ck_assert_msg(!kcov_name_is_legal(bad[i]), "%s", bad[i]);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("kcov");

    tcase_add_test(tcase, a_size_is_that_of_two_words_to_int_max_bytes_and_is_set_once);
    tcase_add_test(tcase, only_all_of_it_can_be_mapped);
    tcase_add_test(tcase, a_size_that_is_no_multiple_of_a_page_can_never_be_mapped);
    tcase_add_test(tcase, how_many_and_how_large_together_is_limited_and_given_back);
    tcase_add_test(tcase, the_memory_keeps_its_size_and_an_fd_for_reading_stays_one);
    tcase_add_test(tcase, names_are_plain);
    return unit_run("kcov", tcase);
}
