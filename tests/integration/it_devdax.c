/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * muse-devdax on a real file: every errno and flag of the kernel's device DAX, the alive switch, and
 * what outlives driver and server. The file itself is looked at with plain read(2).
 */
#include <errno.h>
#include <fcntl.h>
#include <muse/muse.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <check.h>

#include "common/base/own.h"
#include "tests/support/client.h"
#include "tests/support/folder.h"
#include "tests/support/unit.h"

#define UNIT       HUGE_PAGE
#define N_UNITS    4u
#define FILE_BYTES (N_UNITS * UNIT)
#define RW         (PROT_READ | PROT_WRITE)
#define SYNCED     (MAP_SHARED_VALIDATE | MAP_SYNC)
#define NOBODY     60001u

static struct rig rig;
static struct muse *muse;
static struct muse_file *pmem;

static void start(const char *options)
{
    static char driver[192];
    static const char *const drivers[] = {driver, NULL};

    (void)snprintf(driver, sizeof(driver), "muse-devdax %s %s", options, folder_path("pmem"));
    rig_start(&rig, NULL, drivers);
    muse = client_connect();
    pmem = client_open(muse, "devdax/pmem", O_RDWR);
}

static void begin(const char *options)
{
    folder_write("pmem", "", 0);
    ck_assert_int_eq(truncate(folder_path("pmem"), FILE_BYTES), 0);
    start(options);
}

static void end(void)
{
    ck_assert_int_eq(muse_close(pmem), 0);
    muse_disconnect(muse);
    rig_stop(&rig);
}

static unsigned char *map(size_t length, int prot, int flags, off_t offset)
{
    return muse_mmap(muse, NULL, length, prot, flags, pmem, offset);
}

static unsigned char byte_of_file(off_t offset)
{
    const int fd = open(folder_path("pmem"), O_RDONLY | O_CLOEXEC);
    unsigned char byte;

    ck_assert_int_eq(pread(fd, &byte, 1, offset), 1);
    (void)close(fd);
    return byte;
}

static void throw_switch(const char *which)
{
    struct muse_file *file = client_open(muse, which, O_RDONLY);

    ck_assert_int_eq(muse_close(file), 0);
}

START_TEST(what_is_stored_is_in_the_file_and_nobody_is_asked)
{
    unsigned char *bytes;

    begin("");
    bytes = map(FILE_BYTES, RW, SYNCED, 0);
    ck_assert_msg(bytes != MAP_FAILED, "%s", muse_last_error_text());
    ck_assert_uint_eq((uintptr_t)bytes % UNIT, 0);
    for (size_t at = 0; at < FILE_BYTES; at += PAGE)
        bytes[at] = (unsigned char)(at / PAGE + 1);
    for (size_t at = 0; at < FILE_BYTES; at += PAGE)
        ck_assert_uint_eq(byte_of_file((off_t)at), (unsigned char)(at / PAGE + 1));
    ck_assert_uint_eq(rig_stat(&rig, "faults"), 0);
    ck_assert_int_eq(muse_munmap(muse, bytes, FILE_BYTES), 0);
    end();
}
END_TEST

START_TEST(flags_are_those_of_the_kernels_driver)
{
    unsigned char *bytes;

    begin("");
    bytes = map(UNIT, RW, MAP_SHARED, 0);
    ck_assert_ptr_ne(bytes, MAP_FAILED);
    ck_assert(client_vma_flag(&rig, bytes, "hugepage"));
    ck_assert(client_vma_flag(&rig, bytes, "shared"));
    ck_assert_int_eq(muse_munmap(muse, bytes, UNIT), 0);
    end();
}
END_TEST

static const struct refusal {
    size_t length;
    int flags;
    off_t offset;
    int error;
} refusals[] = {
    {UNIT, MAP_PRIVATE, 0, EINVAL},                /* not shared */
    {UNIT / 2, MAP_SHARED, 0, EINVAL},             /* not whole units */
    {UNIT, MAP_SHARED, PAGE, EINVAL},              /* not at one */
    {UNIT, MAP_SHARED, FILE_BYTES, EINVAL},        /* behind the device */
    {2 * UNIT, SYNCED, FILE_BYTES - UNIT, EINVAL}, /* over its end */
    {UNIT, SYNCED | 1 << 25, 0, EOPNOTSUPP},       /* VALIDATE of what nobody knows */
};

START_TEST(what_is_not_a_shared_mapping_of_whole_units_is_refused)
{
    const struct refusal *row = &refusals[_i];

    begin("");
    ck_assert_ptr_eq(map(row->length, RW, row->flags, row->offset), MAP_FAILED);
    ck_assert_int_eq(errno, row->error);
    ck_assert_uint_eq(rig_count(&rig, "devdax", "prepared"), rig_count(&rig, "devdax", "aborted"));
    end();
}
END_TEST

START_TEST(a_fixed_address_inside_a_unit_is_refused)
{
    unsigned char *bytes;

    begin("");
    bytes = map(2 * UNIT, RW, MAP_SHARED, 0);
    ck_assert_ptr_ne(bytes, MAP_FAILED);
    ck_assert_ptr_eq(muse_mmap(muse, bytes + PAGE, UNIT, RW, MAP_SHARED | MAP_FIXED, pmem, 0),
                     MAP_FAILED);
    ck_assert_int_eq(errno, EINVAL);
    bytes[PAGE] = 5; /* and the old one stands */
    ck_assert_int_eq(muse_munmap(muse, bytes, 2 * UNIT), 0);
    end();
}
END_TEST

START_TEST(units_are_not_split)
{
    unsigned char *bytes;

    begin("");
    bytes = map(2 * UNIT, RW, MAP_SHARED, 0);
    ck_assert_ptr_ne(bytes, MAP_FAILED);
    ck_assert_int_eq(muse_munmap(muse, bytes, PAGE), -1);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_int_eq(muse_munmap(muse, bytes + UNIT + PAGE, PAGE), -1);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_int_eq(muse_mprotect(muse, bytes, UNIT / 2, PROT_READ), -1);
    ck_assert_int_eq(errno, EINVAL);
    bytes[0] = bytes[2 * UNIT - 1] = 1;
    ck_assert_int_eq(muse_mprotect(muse, bytes, UNIT, PROT_READ), 0);
    ck_assert_int_eq(muse_munmap(muse, bytes, UNIT), 0);
    ck_assert_uint_eq(bytes[2 * UNIT - 1], 1);
    ck_assert_int_eq(muse_munmap(muse, bytes + UNIT, UNIT), 0);
    end();
}
END_TEST

START_TEST(units_of_4_kib_are_split_at_pages)
{
    unsigned char *bytes;

    begin("--align 4K");
    bytes = map(3 * PAGE, RW, SYNCED, 5 * PAGE);
    ck_assert_ptr_ne(bytes, MAP_FAILED);
    bytes[2 * PAGE] = 3;
    ck_assert_int_eq(muse_munmap(muse, bytes + PAGE, PAGE), 0);
    ck_assert_uint_eq(byte_of_file(7 * PAGE), 3);
    ck_assert_int_eq(muse_munmap(muse, bytes, 3 * PAGE), 0);
    end();
}
END_TEST

START_TEST(a_device_that_is_offline_is_enxio_and_sigbus_and_comes_back_with_its_bytes)
{
    unsigned char *bytes;

    begin("");
    bytes = map(FILE_BYTES, RW, MAP_SHARED, 0);
    ck_assert_ptr_ne(bytes, MAP_FAILED);
    bytes[3 * UNIT] = 33;
    throw_switch("devdax/offline");
    ck_assert_ptr_eq(map(UNIT, RW, MAP_SHARED, 0), MAP_FAILED);
    ck_assert_int_eq(errno, ENXIO);
    ck_assert_ptr_nonnull(strstr(muse_last_error_text(), "offline"));
    ck_assert_ptr_eq(map(UNIT, RW, MAP_PRIVATE, 0), MAP_FAILED);
    ck_assert_int_eq(errno, ENXIO); /* asked for first */
    ck_assert_int_eq(probe_read(bytes + 3 * UNIT).signal, SIGBUS);
    ck_assert_int_eq(probe_write(bytes, 1).signal, SIGBUS);
    throw_switch("devdax/offline"); /* again: nothing */
    throw_switch("devdax/online");
    ck_assert_uint_eq(bytes[3 * UNIT], 33);
    ck_assert_int_eq(access(folder_path("pmem.offline"), F_OK), -1);
    ck_assert_int_eq(muse_munmap(muse, bytes, FILE_BYTES), 0);
    end();
}
END_TEST

START_TEST(others_may_not_switch_the_device)
{
    int status;
    pid_t pid;

    begin("");
    pid = fork();
    if (pid == 0) {
        struct muse_file *file;
        struct muse *own;

        if (setgid(NOBODY) < 0 || setuid(NOBODY) < 0 || muse_connect(&own, NULL) < 0)
            _exit(100);
        _exit(muse_open(own, "devdax/offline", O_RDONLY, &file) < 0 ? errno : 0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(WEXITSTATUS(status), EPERM);
    end();
}
END_TEST

/* The driver and the server are killed while they are mapped: a direct mapping is the client's. */
START_TEST(bytes_outlive_driver_and_server)
{
    unsigned char *bytes;

    begin("");
    bytes = map(UNIT, RW, SYNCED, UNIT);
    ck_assert_ptr_ne(bytes, MAP_FAILED);
    bytes[7] = 77;
    ck_assert_int_eq(kill(rig_driver_pid(&rig, "devdax"), SIGKILL), 0);
    bytes[8] = 78;
    ck_assert_int_eq(kill(rig.server, SIGKILL), 0);
    bytes[9] = 79;
    muse_disconnect(muse);
    rig_kill(&rig);
    start("");
    bytes = map(UNIT, RW, SYNCED, UNIT);
    ck_assert_ptr_ne(bytes, MAP_FAILED);
    ck_assert_mem_eq(bytes + 7, "MNO", 3);
    ck_assert_int_eq(muse_munmap(muse, bytes, UNIT), 0);
    end();
}
END_TEST

START_TEST(a_device_that_was_offline_when_its_driver_was_killed_still_is)
{
    unsigned char *bytes;

    begin("");
    bytes = map(UNIT, RW, MAP_SHARED, 0);
    bytes[0] = 9;
    throw_switch("devdax/offline");
    muse_disconnect(muse);
    rig_kill(&rig);
    start("");
    ck_assert_ptr_eq(map(UNIT, RW, MAP_SHARED, 0), MAP_FAILED);
    ck_assert_int_eq(errno, ENXIO);
    throw_switch("devdax/online");
    bytes = map(UNIT, RW, MAP_SHARED, 0);
    ck_assert_uint_eq(bytes[0], 9);
    ck_assert_int_eq(muse_munmap(muse, bytes, UNIT), 0);
    end();
}
END_TEST

START_TEST(units_are_moved_to_units)
{
    unsigned char *bytes, *target;

    begin("");
    bytes = map(2 * UNIT, RW, MAP_SHARED, 0);
    ck_assert_ptr_ne(bytes, MAP_FAILED);
    target = bytes - 8 * UNIT;
    bytes[UNIT] = 4;
    ck_assert_ptr_eq(
        muse_mremap(muse, bytes + UNIT, UNIT, UNIT, MREMAP_MAYMOVE | MREMAP_FIXED, target + PAGE),
        MAP_FAILED);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_uint_eq(bytes[UNIT], 4);
    ck_assert_ptr_eq(
        muse_mremap(muse, bytes + UNIT, UNIT, UNIT, MREMAP_MAYMOVE | MREMAP_FIXED, target), target);
    ck_assert_uint_eq(target[0], 4);
    ck_assert_int_eq(muse_munmap(muse, bytes, UNIT), 0);
    ck_assert_int_eq(muse_munmap(muse, target, UNIT), 0);
    end();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("devdax");

    tcase_add_checked_fixture(tcase, folder_make, folder_remove);
    tcase_add_test(tcase, what_is_stored_is_in_the_file_and_nobody_is_asked);
    tcase_add_test(tcase, flags_are_those_of_the_kernels_driver);
    tcase_add_loop_test(tcase, what_is_not_a_shared_mapping_of_whole_units_is_refused, 0,
                        N_ELEMENTS(refusals));
    tcase_add_test(tcase, a_fixed_address_inside_a_unit_is_refused);
    tcase_add_test(tcase, units_are_not_split);
    tcase_add_test(tcase, units_of_4_kib_are_split_at_pages);
    tcase_add_test(tcase,
                   a_device_that_is_offline_is_enxio_and_sigbus_and_comes_back_with_its_bytes);
    tcase_add_test(tcase, others_may_not_switch_the_device);
    tcase_add_test(tcase, bytes_outlive_driver_and_server);
    tcase_add_test(tcase, a_device_that_was_offline_when_its_driver_was_killed_still_is);
    tcase_add_test(tcase, units_are_moved_to_units);
    tcase_set_timeout(tcase, 60);
    return unit_run("devdax", tcase);
}
