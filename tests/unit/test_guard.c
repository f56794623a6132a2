/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of server/store/guard: changes by the worker are those of the system calls, and one that waits
 * for the lock of its file is given up. The lock is held as a hostile client would: by a write(2) from a
 * page that comes when the test says so.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <check.h>

#include "common/base/own.h"
#include "server/store/guard.h"
#include "tests/support/unit.h"

#define PAGE    ((size_t)4096)
#define N_PAGES 8u
#define BYTES   (N_PAGES * PAGE)

static struct guard guard;

static void setup(void)
{
    guard_init(&guard);
}

static void teardown(void)
{
    guard_done(&guard);
}

static int make_file(void)
{
    const int fd = memfd_create("guarded", MFD_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ftruncate(fd, (off_t)BYTES), 0);
    return fd;
}

static struct guard_change write_of(int fd, uint64_t offset, const void *data, size_t len)
{
    return (struct guard_change){
        .kind = GUARD_WRITE, .fd = fd, .offset = offset, .length = len, .data = data};
}

static struct guard_change punch_of(int fd)
{
    return (struct guard_change){.kind = GUARD_ALLOCATE,
                                 .fd = fd,
                                 .mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                 .length = BYTES};
}

/* ---- somebody who holds a lock ---- */

struct holder {
    int fd, watcher;
    char *page;
    pthread_t thread;
};

static void *write_page(void *ctx)
{
    const struct holder *holder = ctx;

    ck_assert_int_eq(pwrite(holder->fd, holder->page, PAGE, 0), (ssize_t)PAGE);
    return NULL;
}

static void hold(struct holder *holder, int fd)
{
    struct uffdio_register reg = {.range = {.len = PAGE}, .mode = UFFDIO_REGISTER_MODE_MISSING};
    struct uffdio_api api = {.api = UFFD_API};
    struct pollfd fault = {.events = POLLIN};

    holder->fd = fd;
    holder->watcher = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    ck_assert_int_ge(holder->watcher, 0);
    ck_assert_int_eq(ioctl(holder->watcher, UFFDIO_API, &api), 0);
    holder->page = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(holder->page, MAP_FAILED);
    reg.range.start = (uintptr_t)holder->page;
    ck_assert_int_eq(ioctl(holder->watcher, UFFDIO_REGISTER, &reg), 0);
    ck_assert_int_eq(pthread_create(&holder->thread, NULL, write_page, holder), 0);
    fault.fd = holder->watcher;
    ck_assert_int_eq(poll(&fault, 1, -1), 1);
    ck_assert_int_eq(fault.revents, POLLIN);
}

static void release(struct holder *holder)
{
    struct uffdio_zeropage zero = {.range = {.start = (uintptr_t)holder->page, .len = PAGE}};

    ck_assert_int_eq(ioctl(holder->watcher, UFFDIO_ZEROPAGE, &zero), 0);
    ck_assert_int_eq(pthread_join(holder->thread, NULL), 0);
    ck_assert_int_eq(munmap(holder->page, PAGE), 0);
    (void)close(holder->watcher);
}

/* ---- the tests ---- */

START_TEST(changes_by_the_worker_are_those_of_the_system_calls)
{
    const int fd = make_file();
    char bytes[3 * PAGE], got[3 * PAGE];
    struct guard_change change = write_of(fd, PAGE, bytes, sizeof(bytes));
    struct stat stat;

    memset(bytes, 'w', sizeof(bytes));
    ck_assert_int_eq(guard_run(&guard, &change), 0);
    ck_assert_int_eq(pread(fd, got, sizeof(got), (off_t)PAGE), (ssize_t)sizeof(got));
    ck_assert_mem_eq(got, bytes, sizeof(got));
    change = punch_of(fd);
    ck_assert_int_eq(guard_run(&guard, &change), 0);
    ck_assert_int_eq(fstat(fd, &stat), 0);
    ck_assert_int_eq(stat.st_blocks, 0);
    change = (struct guard_change){.kind = GUARD_TRUNCATE, .fd = fd, .length = PAGE};
    ck_assert_int_eq(guard_run(&guard, &change), 0);
    ck_assert_int_eq(fstat(fd, &stat), 0);
    ck_assert_int_eq(stat.st_size, (off_t)PAGE);
    (void)close(fd);
}
END_TEST

START_TEST(errors_are_those_of_the_system_calls)
{
    const int fd = make_file();
    struct guard_change change = {.kind = GUARD_TRUNCATE, .fd = fd, .length = UINT64_C(1) << 63};

    ck_assert_int_eq(guard_run(&guard, &change), -EINVAL);
    change = write_of(-1, 0, "x", 1);
    ck_assert_int_eq(guard_run(&guard, &change), -EBADF);
    ck_assert_int_eq(guard_direct(&change), -EBADF);
    change = (struct guard_change){.kind = GUARD_ALLOCATE, .fd = fd, .mode = 0, .length = 0};
    ck_assert_int_eq(guard_run(&guard, &change), -EINVAL);
    (void)close(fd);
}
END_TEST

/* What is given up happens later, with the bytes of then, or not at all; never with others. */
START_TEST(a_change_that_waits_for_a_lock_is_given_up_and_the_next_file_is_served)
{
    const int held = make_file(), other = make_file();
    char byte[1] = "g";
    struct guard_change change = write_of(dup(held), PAGE, byte, 1);
    struct holder holder;

    hold(&holder, held);
    ck_assert_int_eq(guard_run(&guard, &change), -ETIMEDOUT);
    byte[0] = 'x';
    ck_assert_uint_eq(guard.n_stuck, 1);
    change = write_of(other, 0, byte, 1);
    ck_assert_int_eq(guard_run(&guard, &change), 0);
    release(&holder);
    while (guard.n_stuck > 0)
        ck_assert(guard_has_room(&guard));
    ck_assert_int_eq(pread(held, byte, 1, (off_t)PAGE), 1);
    ck_assert_int_eq(byte[0], 'g');
    change = punch_of(held);
    ck_assert_int_eq(guard_run(&guard, &change), 0);
    (void)close(held);
    (void)close(other);
}
END_TEST

START_TEST(there_is_no_room_while_several_are_stuck)
{
    struct holder holders[GUARD_STUCK_MAX];

    for (unsigned i = 0; i < GUARD_STUCK_MAX; i++) {
        struct guard_change change;

        ck_assert(guard_has_room(&guard));
        hold(&holders[i], make_file());
        change = punch_of(dup(holders[i].fd)); /* the guard's, once it is stuck */
        ck_assert_int_eq(guard_run(&guard, &change), -ETIMEDOUT);
    }
    ck_assert(!guard_has_room(&guard));
    for (unsigned i = 0; i < GUARD_STUCK_MAX; i++) {
        release(&holders[i]);
        (void)close(holders[i].fd);
    }
    while (guard.n_stuck > 0)
        (void)guard_has_room(&guard);
    ck_assert(guard_has_room(&guard));
}
END_TEST

START_TEST(files_that_were_given_before_are_given_up_too_and_come_back)
{
    struct holder holders[3 * GUARD_STUCK_MAX];
    struct guard_change change;

    for (unsigned i = 0; i < 3 * GUARD_STUCK_MAX; i++) {
        hold(&holders[i], make_file());
        change = punch_of(dup(holders[i].fd));
        ck_assert_int_eq(guard_run(&guard, &change), -ETIMEDOUT);
    }
    ck_assert_uint_eq(guard.n_stuck, 3 * GUARD_STUCK_MAX);
    for (unsigned i = 0; i < 3 * GUARD_STUCK_MAX; i++) {
        change = punch_of(holders[i].fd);
        release(&holders[i]);
        ck_assert_int_eq(guard_run(&guard, &change), 0);
        (void)close(holders[i].fd);
    }
    while (guard.n_stuck > 0)
        (void)guard_has_room(&guard);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("guard");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, changes_by_the_worker_are_those_of_the_system_calls);
    tcase_add_test(tcase, errors_are_those_of_the_system_calls);
    tcase_add_test(tcase, a_change_that_waits_for_a_lock_is_given_up_and_the_next_file_is_served);
    tcase_add_test(tcase, files_that_were_given_before_are_given_up_too_and_come_back);
    tcase_add_test(tcase, there_is_no_room_while_several_are_stuck);
    return unit_run("guard", tcase);
}
