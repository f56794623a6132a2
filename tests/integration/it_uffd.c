/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where a client's userfaultfd comes from: the four rungs of muse_connect(), one after the other
 * (client-lib/uffd.c). Each test leaves exactly one of them open: what the server hands out is
 * configured, /dev/userfaultfd is another file in a mount namespace of the test's own, and the
 * client is root or nobody. A full one also serves system calls; one of user mode only does not,
 * and the library says so.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/userfaultfd.h>
#include <muse/muse.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/types.h>
#include <unistd.h>

#include <check.h>

#include "common/base/linux_abi.h"
#include "tests/support/client.h"
#include "tests/support/unit.h"

#define NOBODY 65534u
#define DEVICE "/dev/userfaultfd"
#define SYSCTL "/proc/sys/vm/unprivileged_userfaultfd"

static const char *const faulty[] = {"muse-faulty", NULL};
static const char none[] = "[server]\nhand_out_uffd = none\n";
static const char all[] = "[server]\nhand_out_uffd = all\n";

static struct rig rig;

static void be_nobody(void)
{
    ck_assert_int_eq(setgroups(0, NULL), 0);
    ck_assert_int_eq(setgid(NOBODY), 0);
    ck_assert_int_eq(setuid(NOBODY), 0);
}

/* In what follows nobody but root may use the system call. Return: whether that was so before. */
static bool restrict_system_call(bool restricted)
{
    char was[4] = "";
    int fd = open(SYSCTL, O_RDWR | O_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_gt(read(fd, was, sizeof(was) - 1), 0);
    ck_assert_int_eq(pwrite(fd, restricted ? "0" : "1", 1, 0), 1);
    (void)close(fd);
    return was[0] == '0';
}

/* A device that everybody may open, or a file that is none, where /dev/userfaultfd is. */
static void replace_device(bool with_device)
{
    struct stat device;
    char path[128];

    (void)snprintf(path, sizeof(path), "%s/device", rig.data);
    ck_assert_int_eq(stat(DEVICE, &device), 0);
    ck_assert_int_eq(mknod(path, with_device ? S_IFCHR | 0666 : S_IFREG | 0600,
                           with_device ? device.st_rdev : 0),
                     0);
    ck_assert_int_eq(chmod(path, with_device ? 0666 : 0600), 0);
    ck_assert_int_eq(mount(path, DEVICE, NULL, MS_BIND, NULL), 0);
}

static void expect_served(struct muse *muse, bool system_calls_too)
{
    const char *mapped = client_map_ro(muse, "faulty/x,fault-partial", 8);
    int pipe_fds[2];

    ck_assert_uint_eq(faulty_word(mapped, 1, 3), 512 + 3);
    ck_assert_int_eq(muse_madvise(muse, (void *)(uintptr_t)mapped, 8 * PAGE, MADV_RANDOM), 0);
    ck_assert_int_eq(pipe(pipe_fds), 0);
    if (system_calls_too) {
        ck_assert_int_eq(write(pipe_fds[1], mapped + 7 * PAGE, PAGE), PAGE);
    } else {
        ck_assert_int_eq(write(pipe_fds[1], mapped + 7 * PAGE, PAGE), -1);
        ck_assert_int_eq(errno, EFAULT);
        ck_assert_uint_eq(faulty_word(mapped, 7, 3), 7 * 512 + 3); /* touched: it comes, */
        ck_assert_int_eq(write(pipe_fds[1], mapped + 7 * PAGE, PAGE), PAGE); /* and is there */
    }
}

static void full(void *as_nobody)
{
    struct muse *muse;

    if (as_nobody)
        be_nobody();
    muse = client_connect();
    ck_assert_str_eq(muse_last_error_text(), ""); /* nothing to warn of */
    expect_served(muse, true);
    muse_disconnect(muse);
}

static void user_mode_only(void *ctx)
{
    struct muse *muse;

    (void)ctx;
    be_nobody();
    muse = client_connect();
    ck_assert_ptr_nonnull(strstr(muse_last_error_text(), "user mode only"));
    ck_assert_ptr_nonnull(strstr(muse_last_error_text(), "EFAULT"));
    expect_served(muse, false);
    muse_disconnect(muse);
}

/* Runs @client where only one rung is left. */
static void climb(const char *config, bool with_device, void (*client)(void *ctx), bool as_nobody)
{
    static char yes;
    bool was_restricted;

    ck_assert_int_eq(unshare(CLONE_NEWNS), 0); /* what is mounted here is seen by this test only */
    ck_assert_int_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    was_restricted = restrict_system_call(true);
    rig_start(&rig, config, faulty);
    replace_device(with_device);
    client_join(client_fork(client, as_nobody ? &yes : NULL));
    ck_assert_int_eq(umount2(DEVICE, 0), 0);
    (void)restrict_system_call(was_restricted);
    rig_stop(&rig);
}

START_TEST(first_it_is_the_device_that_the_server_hands_out)
{
    climb(all, false, full, true);
}
END_TEST

START_TEST(second_it_is_the_clients_own_device)
{
    climb(none, true, full, true);
}
END_TEST

START_TEST(third_it_is_the_system_call)
{
    climb(none, false, full, false); /* root may; what it opens at /dev is no device */
}
END_TEST

START_TEST(last_it_is_one_of_user_mode_only_and_the_client_is_warned)
{
    climb(none, false, user_mode_only, true);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("uffd");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, first_it_is_the_device_that_the_server_hands_out);
    tcase_add_test(tcase, second_it_is_the_clients_own_device);
    tcase_add_test(tcase, third_it_is_the_system_call);
    tcase_add_test(tcase, last_it_is_one_of_user_mode_only_and_the_client_is_warned);
    return unit_run("uffd", tcase);
}
