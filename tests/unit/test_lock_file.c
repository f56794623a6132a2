/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of server/store/lock_file: labels, seals, and what outlives its object. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#include <check.h>

#include "common/base/own.h"
#include "server/store/lock_file.h"
#include "tests/support/unit.h"

static struct lock_file *locks;
static struct list kept;

static void setup(void)
{
    list_init(&kept);
    ck_assert_int_eq(lock_file_new("driver/object", &locks), 0);
}

static void teardown(void)
{
    locks = lock_file_free(locks);
    lock_file_free_all(&kept);
}

static int opened(const char *path, int oflags)
{
    const int fd = lock_file_open(locks, "driver", path, (uint32_t)oflags);

    ck_assert_int_ge(fd, 0);
    return fd;
}

/* As a program that came by the descriptor reads it. */
static void check_slot(int fd, const char *name, uint32_t oflags)
{
    const long slot = fcntl(fd, F_GETSIG) - 1;
    static struct lock_label label;
    char path[40];
    CLEAN(fd_close_p) int again = -1;

    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    again = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(again, 0);
    ck_assert_int_eq(pread(again, &label, sizeof(label), 0), sizeof(label));
    ck_assert_mem_eq(label.magic, LOCK_LABEL_MAGIC, sizeof(label.magic));
    ck_assert(slot >= 0 && slot < LOCK_LABEL_SLOTS);
    ck_assert_str_eq(label.slots[slot].name, name);
    ck_assert_uint_eq(label.slots[slot].oflags, oflags);
}

START_TEST(a_description_says_how_it_was_opened)
{
    CLEAN(fd_close_p) int a = opened("a", O_RDONLY | O_CLOEXEC);
    CLEAN(fd_close_p) int b = opened("b", O_RDWR | O_APPEND);
    CLEAN(fd_close_p) int again = opened("a", O_RDONLY);

    check_slot(a, "driver/a", O_RDONLY);
    check_slot(b, "driver/b", O_RDWR | O_APPEND);
    check_slot(again, "driver/a", O_RDONLY);
    ck_assert_uint_eq(locks->n_slots, 2);
    ck_assert(fcntl(b, F_GETFL) & O_APPEND);
    ck_assert_int_eq(fcntl(a, F_GETFD), FD_CLOEXEC);
}
END_TEST

START_TEST(nobody_reads_writes_maps_or_resizes_through_a_description)
{
    CLEAN(fd_close_p) int fd = opened("a", O_RDWR);
    char byte = 0;

    ck_assert(pread(fd, &byte, 1, 0) < 0 && errno == EBADF);
    ck_assert(pwrite(fd, &byte, 1, 0) < 0 && errno == EPERM);
    ck_assert(ftruncate(fd, 0) < 0 && errno == EPERM);
    ck_assert(ftruncate(fd, 1 << 20) < 0 && errno == EPERM);
    ck_assert_ptr_eq(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0), MAP_FAILED);
    ck_assert_int_eq(fcntl(fd, F_GET_SEALS), LOCK_LABEL_SEALS);
    check_slot(fd, "driver/a", O_RDWR);
}
END_TEST

START_TEST(descriptions_lock_each_other_out)
{
    CLEAN(fd_close_p) int a = opened("a", O_RDWR);
    CLEAN(fd_close_p) int b = opened("b", O_RDONLY);

    ck_assert_int_eq(flock(a, LOCK_EX | LOCK_NB), 0);
    ck_assert(flock(b, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK);
    ck_assert_int_eq(flock(a, LOCK_UN), 0);
    ck_assert_int_eq(flock(b, LOCK_SH | LOCK_NB), 0);
}
END_TEST

START_TEST(names_that_find_no_slot_have_no_label)
{
    char name[LOCK_LABEL_NAME_BYTES];
    CLEAN(fd_close_p) int fd = -1;

    for (int i = 0; i < LOCK_LABEL_SLOTS; i++) {
        (void)snprintf(name, sizeof(name), "%d", i);
        fd = opened(name, O_RDONLY);
        ck_assert_int_eq(fcntl(fd, F_GETSIG), i + 1);
        fd_close_p(&fd);
    }
    fd = opened("one more", O_RDONLY);
    ck_assert_int_eq(fcntl(fd, F_GETSIG), 0);
    fd_close_p(&fd);
    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    fd = opened(name, O_RDONLY);
    ck_assert_int_eq(fcntl(fd, F_GETSIG), 0);
    fd_close_p(&fd);
    fd = opened("7", O_RDONLY);
    ck_assert_int_eq(fcntl(fd, F_GETSIG), 8);
}
END_TEST

START_TEST(a_lock_file_is_kept_while_somebody_has_it_open)
{
    CLEAN(fd_close_p) int fd = opened("a", O_RDONLY);
    struct lock_file *const first = locks;
    struct lock_file *other;

    lock_file_keep(&kept, TAKE(locks), 7);
    ck_assert_ptr_null(lock_file_take(&kept, 8));
    ck_assert_ptr_eq(list_first(&kept), &first->node);
    ck_assert_int_eq(lock_file_new("driver/other", &other), 0);
    lock_file_keep(&kept, other, 8); /* nobody has it */
    ck_assert_ptr_null(lock_file_take(&kept, 8));
    locks = lock_file_take(&kept, 7);
    ck_assert_ptr_eq(locks, first);
    ck_assert(list_is_empty(&kept));
    fd_close_p(&fd);
    lock_file_keep(&kept, TAKE(locks), 7);
    ck_assert(list_is_empty(&kept));
    lock_file_keep(&kept, NULL, 7);
}
END_TEST

START_TEST(a_copy_of_a_description_keeps_it_too)
{
    int fd = opened("a", O_RDONLY);
    CLEAN(fd_close_p) int copy = dup(fd);

    ck_assert_int_ge(copy, 0);
    fd_close_p(&fd);
    lock_file_keep(&kept, TAKE(locks), 7);
    locks = lock_file_take(&kept, 7);
    ck_assert_ptr_nonnull(locks);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("lock_file");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_description_says_how_it_was_opened);
    tcase_add_test(tcase, nobody_reads_writes_maps_or_resizes_through_a_description);
    tcase_add_test(tcase, descriptions_lock_each_other_out);
    tcase_add_test(tcase, names_that_find_no_slot_have_no_label);
    tcase_add_test(tcase, a_lock_file_is_kept_while_somebody_has_it_open);
    tcase_add_test(tcase, a_copy_of_a_description_keeps_it_too);
    return unit_run("lock_file", tcase);
}
