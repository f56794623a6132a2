/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * muse-nbd when its NBD server dies, hangs, or comes back as another one: faults wait, syncs tell the truth,
 * and what was synced is on the disk whenever nbdkit is killed.
 */
#include <errno.h>
#include <muse/muse.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include <check.h>

#include "tests/support/nbd_disk.h"

struct reader {
    pthread_t thread;
    const void *addr;
    struct probe probe;
};

static void *read_one(void *arg)
{
    struct reader *reader = arg;

    reader->probe = probe_read(reader->addr);
    return NULL;
}

static bool is_waiting(const struct rig *of, void *what)
{
    return rig_blocked(of, what, NULL, NULL);
}

START_TEST(a_fault_waits_for_the_server_to_come_back)
{
    struct reader reader;
    unsigned char *disk;

    begin("", "", "");
    disk = map_disk(O_RDONLY, PROT_READ);
    ck_assert(file_is(disk, 0, PAGE));
    daemon_kill(&nbdkit, SIGKILL);
    reader.addr = disk + 700 * PAGE;
    ck_assert_int_eq(pthread_create(&reader.thread, NULL, read_one, &reader), 0);
    rig_wait(is_waiting, &rig, (char[]){"fault"}, "the fault to wait");
    ck_assert(file_is(disk, 0, PAGE)); /* what is there needs nobody */
    nbdkit_start("file disk");
    ck_assert_int_eq(pthread_join(reader.thread, NULL), 0);
    ck_assert_int_eq(reader.probe.signal, 0);
    ck_assert_uint_eq(reader.probe.byte, rig_byte(700 * PAGE));
    ck_assert(file_is(disk, 0, DISK_BYTES));
    end();
}
END_TEST

START_TEST(a_fault_fails_when_the_server_stays_away)
{
    unsigned char *disk;

    begin("", "", "--timeout 1");
    disk = map_disk(O_RDONLY, PROT_READ);
    daemon_kill(&nbdkit, SIGKILL);
    expect_error(disk, EIO, "disk: no answer of its server for 1 s");
    nbdkit_start("file disk");
    rig_wait(can_map, &rig, (char[]){"nbd/disk"}, "the page to be asked for again");
    end();
}
END_TEST

/* It is there, and says nothing. */
START_TEST(a_server_that_hangs_is_left_and_asked_again)
{
    unsigned char *disk;

    begin("", "", "--timeout 1");
    disk = map_disk(O_RDONLY, PROT_READ);
    rig_stop_process(&rig, nbdkit.pid);
    expect_error(disk, EIO, "no answer of its server for 1 s");
    ck_assert_int_eq(kill(nbdkit.pid, SIGCONT), 0);
    rig_wait(can_map, &rig, (char[]){"nbd/disk"}, "the page to be asked for again");
    end();
}
END_TEST

START_TEST(a_disk_that_comes_back_with_another_size_is_refused)
{
    unsigned char *disk;

    begin("", "", "--timeout 1");
    disk = map_disk(O_RDONLY, PROT_READ);
    daemon_kill(&nbdkit, SIGKILL);
    daemon_file(&nbdkit, "other", 5 * PAGE);
    nbdkit_start("file other");
    expect_error(disk, EIO, "the export has 20480 bytes now, and had 4194304");
    daemon_kill(&nbdkit, SIGKILL);
    nbdkit_start("-r file disk");
    expect_error(disk + 100 * PAGE, EIO, "the export is read-only now");
    end();
}
END_TEST

START_TEST(a_sync_fails_when_the_server_stays_away_and_the_bytes_arrive_later)
{
    struct muse_file *file;
    unsigned char *disk;

    daemon_file(&nbdkit, "disk", DISK_BYTES);
    nbdkit_start("file disk");
    config = "[deadlines]\nwriteback_ms = 600000\nhook_ms = 2000\n";
    muse_start("", "--timeout 1");
    file = client_open(muse, "nbd/disk", O_RDWR);
    disk = map_disk(O_RDWR, RW);
    ck_assert(file_is(disk, 0, DISK_BYTES));
    daemon_kill(&nbdkit, SIGKILL);
    ck_assert_int_eq(muse_fsync(file), -1); /* nothing is to be written, but the server is asked */
    ck_assert_int_eq(errno, EIO);
    ck_assert_msg(strstr(muse_last_error_text(), "no answer of its server for 1 s") != NULL, "%s",
                  muse_last_error_text());
    write_all_pages(disk, 'x');
    ck_assert_int_eq(muse_fsync(file), -1);
    ck_assert_int_eq(errno, EIO);
    nbdkit_start("file disk");
    while (muse_fsync(file) < 0) /* until the writes that are late have been answered */
        ck_assert(errno == ETIMEDOUT || errno == EIO);
    expect_disk('x');
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

struct writer {
    pthread_t thread;
    unsigned char *disk;
    int error; /* of msync */
};

static void *sync_all(void *arg)
{
    struct writer *writer = arg;

    writer->error = muse_msync(muse, writer->disk, DISK_BYTES, MS_SYNC) < 0 ? errno : 0;
    return NULL;
}

START_TEST(what_is_being_written_when_the_server_dies_is_written_to_the_next_one)
{
    struct writer writer = {0};

    begin("--filter=delay", "wdelay=50ms", "");
    writer.disk = map_disk(O_RDWR, RW);
    write_all_pages(writer.disk, 'x');
    ck_assert_int_eq(pthread_create(&writer.thread, NULL, sync_all, &writer), 0);
    rig_wait(is_waiting, &rig, (char[]){"msync"}, "msync to wait");
    daemon_kill(&nbdkit, SIGKILL);
    nbdkit_start("file disk");
    ck_assert_int_eq(pthread_join(writer.thread, NULL), 0);
    ck_assert_int_eq(writer.error, 0);
    expect_disk('x');
    end();
}
END_TEST

/* The cache filter keeps what was written in a file of its own that goes with it, until it is flushed: as a
 * disk's cache. A sync that came back has to be on the disk all the same, whenever the server is killed. */
START_TEST(what_was_synced_is_on_the_disk_whenever_the_server_is_killed)
{
    unsigned char *disk;

    begin("--filter=cache", "cache=writeback", "");
    disk = map_disk(O_RDWR, RW);
    for (unsigned char round = 1; round <= 5; round++) {
        write_all_pages(disk, round);
        ck_assert_int_eq(muse_msync(muse, disk, DISK_BYTES, MS_SYNC), 0);
        daemon_kill(&nbdkit, SIGKILL);
        expect_disk(round);
        nbdkit_start("--filter=cache file disk cache=writeback");
    }
    end();
}
END_TEST

#define N_ROUNDS 10u

struct rounds {
    pthread_t thread;
    atomic_uint round; /* has begun */
};

static void write_round(unsigned char round)
{
    unsigned char *disk = map_disk(O_RDWR, RW);

    write_all_pages(disk, round);
    ck_assert_int_eq(muse_msync(muse, disk, DISK_BYTES, MS_SYNC), 0);
    for (size_t page = 0; page < N_PAGES; page++) {
        UNIT_EXPECT(disk[page * PAGE] == round);
        UNIT_EXPECT(file_is(disk + page * PAGE + 1, page * PAGE + 1, 16));
    }
    ck_assert_int_eq(muse_munmap(muse, disk, DISK_BYTES), 0);
}

static void *write_rounds(void *arg)
{
    struct rounds *rounds = arg;

    for (unsigned char round = 1; round <= N_ROUNDS; round++) {
        atomic_store(&rounds->round, round);
        write_round(round);
    }
    return NULL;
}

/* Once in each round, at some moment of it. */
START_TEST(a_server_that_is_killed_again_and_again_loses_nothing)
{
    struct rounds rounds = {0};

    begin("--filter=cache", "cache=writeback", "");
    ck_assert_int_eq(pthread_create(&rounds.thread, NULL, write_rounds, &rounds), 0);
    for (unsigned round = 1; round <= N_ROUNDS; round++) {
        while (atomic_load(&rounds.round) < round)
            client_sleep_ms(1);
        client_sleep_ms(round * 4);
        daemon_kill(&nbdkit, SIGKILL);
        nbdkit_start(
            "--filter=cache --filter=delay file disk cache=writeback wdelay=5ms rdelay=5ms");
    }
    ck_assert_int_eq(pthread_join(rounds.thread, NULL), 0);
    daemon_kill(&nbdkit, SIGKILL);
    expect_disk(N_ROUNDS);
    nbdkit_start("file disk");
    end();
}
END_TEST

/* A client that is killed while its fault waits leaves nothing behind: the rig counts. */
static void read_for_ever(void *ctx)
{
    (void)ctx;
    muse = client_connect();
    (void)probe_read(map_disk(O_RDONLY, PROT_READ));
}

START_TEST(a_client_that_is_killed_while_it_waits_leaves_nothing)
{
    pid_t pid;

    begin("", "", "--timeout 1");
    daemon_kill(&nbdkit, SIGKILL);
    pid = client_fork(read_for_ever, NULL);
    rig_wait(is_waiting, &rig, (char[]){"fault"}, "the fault to wait");
    client_kill(pid);
    nbdkit_start("file disk");
    end();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("nbd lost");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, a_fault_waits_for_the_server_to_come_back);
    tcase_add_test(tcase, a_fault_fails_when_the_server_stays_away);
    tcase_add_test(tcase, a_server_that_hangs_is_left_and_asked_again);
    tcase_add_test(tcase, a_disk_that_comes_back_with_another_size_is_refused);
    tcase_add_test(tcase, a_sync_fails_when_the_server_stays_away_and_the_bytes_arrive_later);
    tcase_add_test(tcase, what_is_being_written_when_the_server_dies_is_written_to_the_next_one);
    tcase_add_test(tcase, what_was_synced_is_on_the_disk_whenever_the_server_is_killed);
    tcase_add_test(tcase, a_server_that_is_killed_again_and_again_loses_nothing);
    tcase_add_test(tcase, a_client_that_is_killed_while_it_waits_leaves_nothing);
    return unit_run("nbd lost", tcase);
}
