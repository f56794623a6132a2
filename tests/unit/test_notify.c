/* SPDX-License-Identifier: BSD-3-Clause */
/* Adding to eventfds: exactly 1, whatever the eventfd's flags and counter are; and never waiting. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <check.h>

#include "server/loop/notify.h"
#include "tests/support/unit.h"

static struct notifier notifier;

static void begin(void)
{
    ck_assert_int_eq(notifier_init(&notifier), 0);
}

static void end(void)
{
    notifier_done(&notifier);
}

static int make(uint64_t count, int flags)
{
    int fd = eventfd(0, flags | EFD_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    if (count > 0)
        ck_assert_int_eq(write(fd, &count, sizeof(count)), sizeof(count));
    return fd;
}

static uint64_t take(int fd)
{
    struct pollfd pollfd = {.fd = fd, .events = POLLIN};
    uint64_t count = 0;

    ck_assert_int_eq(poll(&pollfd, 1, 0), 1);
    ck_assert_int_eq(read(fd, &count, sizeof(count)), sizeof(count));
    (void)close(fd);
    return count;
}

START_TEST(one_is_added_each_time)
{
    int one = make(0, 0), many = make(5, EFD_NONBLOCK), semaphore = make(0, EFD_SEMAPHORE);

    ck_assert_int_eq(notifier_add(&notifier, one), 0);
    for (unsigned i = 0; i < 100; i++)
        ck_assert_int_eq(notifier_add(&notifier, many), 0);
    ck_assert_int_eq(notifier_add(&notifier, semaphore), 0);
    ck_assert_uint_eq(take(one), 1);
    ck_assert_uint_eq(take(many), 105);
    ck_assert_uint_eq(take(semaphore), 1);
}
END_TEST

START_TEST(a_full_counter_holds_nobody_up)
{
    int full = make(UINT64_MAX - 1, 0); /* one more, and write(2) would wait for ever */

    ck_assert_int_eq(notifier_add(&notifier, full), 0);
    ck_assert_int_eq(notifier_add(&notifier, full), 0);
    ck_assert_uint_eq(take(full), UINT64_MAX);
}
END_TEST

START_TEST(what_is_no_eventfd_is_ebadf)
{
    int fd = make(0, 0), pipe_fds[2];

    ck_assert_int_eq(pipe2(pipe_fds, O_CLOEXEC), 0);
    ck_assert_int_eq(notifier_check(&notifier, fd), 0);
    ck_assert_int_eq(notifier_check(&notifier, pipe_fds[1]), -EBADF);
    ck_assert_int_eq(notifier_check(&notifier, -1), -EBADF);
    (void)close(pipe_fds[0]);
    (void)close(pipe_fds[1]);
    ck_assert_int_eq(notifier_add(&notifier, fd), 0); /* a check adds nothing */
    ck_assert_uint_eq(take(fd), 1);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("notify");

    tcase_add_checked_fixture(tcase, begin, end);
    tcase_add_test(tcase, one_is_added_each_time);
    tcase_add_test(tcase, a_full_counter_holds_nobody_up);
    tcase_add_test(tcase, what_is_no_eventfd_is_ebadf);
    return unit_run("notify", tcase);
}
