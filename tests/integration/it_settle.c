/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Stores that no fault tells of: process_vm_writev(2) holds on to the page it writes to while it
 * waits for the page it reads from, and the page is written back meanwhile. What it stores then
 * reaches the file all the same: by a sync, by itself, after eviction was asked for, after everybody
 * has gone. The page it reads from is of a driver that is stopped. The file is looked at with plain
 * read(2).
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <check.h>

#include "tests/support/client.h"
#include "tests/support/unit.h"

#define N_PAGES 8u
#define OLD     7u /* written before the hold; what is stored through it is 0 */
#define RW      (PROT_READ | PROT_WRITE)

static const char *const drivers[] = {"muse-file --writable %s", "muse-zero",
                                      "muse-faulty --register=writes", NULL};

static struct rig rig;
static struct muse *muse;

/* One byte goes from a page nobody has yet to page 3 of the file. */
static struct {
    pthread_t thread;
    struct muse_file *file;
    unsigned char *to;
    unsigned char *from;
    ssize_t n_stored;
} held;

static void *store_main(void *arg)
{
    const struct iovec from = {held.from, 1};
    const struct iovec to = {held.to + 3 * PAGE, 1};

    (void)arg;
    held.n_stored = process_vm_writev(getpid(), &from, 1, &to, 1, 0);
    return NULL;
}

static bool is_held(const struct rig *of, void *arg)
{
    (void)arg;
    return rig_blocked(of, "fault", NULL, "driver");
}

static unsigned char byte_of_file(void)
{
    unsigned char byte;
    char path[128];
    int fd;

    (void)snprintf(path, sizeof(path), "%s/data", rig.data);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(pread(fd, &byte, 1, (off_t)(3 * PAGE)), 1);
    (void)close(fd);
    return byte;
}

static bool is_stored(const struct rig *of, void *arg)
{
    (void)of;
    (void)arg;
    return byte_of_file() == 0;
}

static int sync_all(void)
{
    return muse_msync(muse, held.to, N_PAGES * PAGE, MS_SYNC);
}

/* Page 3 of @name was written to, and is held by somebody who waits for a page of the stopped driver. */
static void begin_held(const char *config, const char *name)
{
    rig_start(&rig, config, drivers);
    rig_file(&rig, "data", N_PAGES * PAGE);
    muse = client_connect();
    held.file = client_open(muse, name, O_RDWR);
    held.to = muse_mmap(muse, NULL, N_PAGES * PAGE, RW, MAP_SHARED, held.file, 0);
    held.from = client_map(muse, "zero/4K", O_RDONLY, PAGE, PROT_READ, MAP_SHARED);
    ck_assert_ptr_ne(held.to, MAP_FAILED);
    ck_assert_ptr_ne(held.from, MAP_FAILED);
    held.to[3 * PAGE] = OLD;
    rig_stop_driver(&rig, "zero");
    ck_assert_int_eq(pthread_create(&held.thread, NULL, store_main, NULL), 0);
    rig_wait(is_held, &rig, NULL, "the page that is read from");
}

/* Now it is stored. */
static void store(void)
{
    ck_assert_int_eq(kill(rig_driver_pid(&rig, "zero"), SIGCONT), 0);
    ck_assert_int_eq(pthread_join(held.thread, NULL), 0);
    ck_assert_int_eq(held.n_stored, 1);
    ck_assert_uint_eq(held.to[3 * PAGE], 0);
}

/* The page was written back while it is held, and then stored into. */
static void begin(const char *config)
{
    begin_held(config, "file/data");
    ck_assert_int_eq(sync_all(), 0);
    ck_assert_uint_eq(byte_of_file(), OLD);
    store();
}

static void close_all(void)
{
    ck_assert_int_eq(muse_munmap(muse, held.to, N_PAGES * PAGE), 0);
    ck_assert_int_eq(muse_close(held.file), 0);
}

static void end(void)
{
    muse_disconnect(muse);
    rig_stop(&rig);
}

/* Nothing ages in a test: ten years, longer than any machine is up. */
static const char quiet[] = "[deadlines]\nwriteback_ms = 315360000000\n";

START_TEST(the_next_sync_writes_what_was_stored_through_a_held_page)
{
    begin(quiet);
    if (_i == 0)
        ck_assert_int_eq(sync_all(), 0);
    else
        ck_assert_int_eq(muse_fsync(held.file), 0);
    ck_assert_uint_eq(byte_of_file(), 0);
    ck_assert_uint_eq(rig_stat(&rig, "pages_stored_late"), 1);
    close_all();
    end();
}
END_TEST

START_TEST(what_was_stored_through_a_held_page_is_written_back_without_a_sync)
{
    begin(quiet);
    rig_wait(is_stored, &rig, NULL, "the byte to be written back");
    close_all();
    end();
}
END_TEST

START_TEST(a_page_that_was_held_is_not_evicted_before_its_bytes_are_written)
{
    begin(quiet);
    ck_assert_int_eq(rig_ctl_status(&rig, "evict file/data"), 0);
    ck_assert_uint_eq(held.to[3 * PAGE], 0);
    rig_wait(is_stored, &rig, NULL, "the byte to be written back");
    ck_assert_int_eq(rig_ctl_status(&rig, "evict file/data"), 0);
    ck_assert_uint_eq(held.to[3 * PAGE], 0);
    close_all();
    end();
}
END_TEST

START_TEST(what_was_stored_through_a_held_page_outlives_mapping_and_file)
{
    unsigned char byte = OLD;

    begin(quiet);
    close_all();
    rig_wait(is_stored, &rig, NULL, "the byte to be written back");
    held.file = client_open(muse, "file/data", O_RDONLY);
    ck_assert_int_eq(muse_pread(held.file, &byte, 1, 3 * PAGE), 1);
    ck_assert_uint_eq(byte, 0);
    ck_assert_int_eq(muse_close(held.file), 0);
    end();
}
END_TEST

START_TEST(the_end_of_the_server_writes_what_was_stored_through_a_held_page)
{
    begin(quiet);
    muse_disconnect(muse);
    ck_assert_int_eq(kill(rig.server, SIGTERM), 0);
    rig_wait(is_stored, &rig, NULL, "the byte to be written back");
    rig_remove(&rig);
}
END_TEST

START_TEST(what_was_stored_through_a_held_page_outlives_its_driver)
{
    const pid_t driver = (begin(quiet), rig_driver_pid(&rig, "file"));

    ck_assert_int_eq(kill(driver, SIGKILL), 0);
    rig_wait(is_stored, &rig, NULL, "the byte to be given to the driver that came back");
    muse_disconnect(muse);
    rig_kill(&rig);
}
END_TEST

static void *sync_main(void *arg)
{
    (void)arg;
    ck_assert_int_eq(sync_all(), 0);
    return NULL;
}

/* Stored after the hash was taken, while the driver is at it: the sync that begins then waits for
 * that run, and has the page written once more. */
START_TEST(a_sync_writes_what_was_stored_while_the_page_was_being_written_back)
{
    pthread_t first;

    begin_held(quiet, "faulty/x,writeback-delay-ms=2000");
    ck_assert_int_eq(pthread_create(&first, NULL, sync_main, NULL), 0);
    while (rig_counter("writeback") == 0)
        client_sleep_ms(2);
    store();
    ck_assert_uint_eq(rig_counter("writeback"), 1); /* and that is not answered yet */
    ck_assert_int_eq(sync_all(), 0);
    ck_assert_uint_eq(rig_counter("writeback"), 2);
    ck_assert_int_eq(pthread_join(first, NULL), 0);
    close_all();
    end();
}
END_TEST

/* What the driver has not been given is not its to take back, whichever way it was stored. */
START_TEST(a_revoke_leaves_what_was_stored_through_a_held_page)
{
    begin_held(quiet, "faulty/x,key=7");
    ck_assert_int_eq(sync_all(), 0);
    store();
    ck_assert_int_eq(muse_close(client_open(muse, "faulty/y,invalidate=7", O_RDONLY)), 0);
    ck_assert_uint_eq(held.to[3 * PAGE], 0);
    ck_assert_uint_eq(rig_stat(&rig, "pages_stored_late"), 1);
    close_all();
    end();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("settle");

    tcase_add_loop_test(tcase, the_next_sync_writes_what_was_stored_through_a_held_page, 0, 2);
    tcase_add_test(tcase, what_was_stored_through_a_held_page_is_written_back_without_a_sync);
    tcase_add_test(tcase, a_page_that_was_held_is_not_evicted_before_its_bytes_are_written);
    tcase_add_test(tcase, what_was_stored_through_a_held_page_outlives_mapping_and_file);
    tcase_add_test(tcase, the_end_of_the_server_writes_what_was_stored_through_a_held_page);
    tcase_add_test(tcase, what_was_stored_through_a_held_page_outlives_its_driver);
    tcase_add_test(tcase, a_sync_writes_what_was_stored_while_the_page_was_being_written_back);
    tcase_add_test(tcase, a_revoke_leaves_what_was_stored_through_a_held_page);
    tcase_set_timeout(tcase, 60);
    return unit_run("settle", tcase);
}
