/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Objects that change their size while others are at them: several writers behind the end at once,
 * and changes of size, and holes, that have to wait for what is being written back.
 */
#include <fcntl.h>
#include <muse/muse.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>

#include "tests/support/client.h"
#include "tests/support/unit.h"

#define N_PAGES 16u

static const char *const drivers[] = {"muse-file --writable %s", NULL};

static struct rig rig;
static struct muse *muse;

/* Nothing is written back for its age. */
static void begin(void)
{
    rig_start(&rig, "[deadlines]\nwriteback_ms = 600000\nhook_ms = 20000\n", drivers);
    rig_file(&rig, "f", N_PAGES * PAGE);
    muse = client_connect();
}

static void end(void)
{
    muse_disconnect(muse);
    rig_stop(&rig);
}

/* ---- several that make it grow ---- */

#define N_WRITERS 4u
#define N_RECORDS 150u /* of each writer */
#define N_RECORD  1000u

struct writer {
    pthread_t thread;
    unsigned index;
};

/* Record i of writer w lies at (i * N_WRITERS + w) * N_RECORD: each write is behind the end, and so may
 * be those of the others that run now. */
static void *write_main(void *arg)
{
    const struct writer *writer = arg;
    struct muse *own = client_connect();
    struct muse_file *file = client_open(own, "file/grown", O_RDWR);
    char record[N_RECORD];

    memset(record, (int)('a' + writer->index), sizeof(record));
    for (unsigned i = 0; i < N_RECORDS; i++) {
        const off_t at = ((off_t)i * N_WRITERS + writer->index) * N_RECORD;

        ck_assert_int_eq(muse_pwrite(file, record, sizeof(record), at), N_RECORD);
    }
    ck_assert_int_eq(muse_close(file), 0);
    muse_disconnect(own);
    return NULL;
}

START_TEST(writers_that_all_make_it_grow_lose_nothing)
{
    const size_t n_all = (size_t)N_WRITERS * N_RECORDS * N_RECORD;
    struct writer writers[N_WRITERS];
    char *bytes = malloc(n_all + 1);
    struct muse_file *file;
    char path[128];
    int fd;

    begin();
    rig_file(&rig, "grown", 0);
    for (unsigned i = 0; i < N_WRITERS; i++) {
        writers[i].index = i;
        ck_assert_int_eq(pthread_create(&writers[i].thread, NULL, write_main, &writers[i]), 0);
    }
    for (unsigned i = 0; i < N_WRITERS; i++)
        ck_assert_int_eq(pthread_join(writers[i].thread, NULL), 0);
    file = client_open(muse, "file/grown", O_RDWR);
    ck_assert_int_eq(muse_fsync(file), 0);
    ck_assert_int_eq(muse_close(file), 0);
    (void)snprintf(path, sizeof(path), "%s/grown", rig.data);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(read(fd, bytes, n_all + 1), (ssize_t)n_all);
    (void)close(fd);
    for (size_t at = 0; at < n_all; at++)
        ck_assert_msg(bytes[at] == (char)('a' + at / N_RECORD % N_WRITERS), "byte %zu is %#x", at,
                      (unsigned)bytes[at]);
    free(bytes);
    end();
}
END_TEST

/* ---- what waits is seen ---- */

struct job {
    pthread_t thread;
    struct muse_file *file;
    char *addr; /* to be synced; NULL: the file gets @size */
    off_t size;
    int result;
};

static void *job_main(void *arg)
{
    struct job *job = arg;

    job->result = job->addr ? muse_msync(muse, job->addr, N_PAGES * PAGE, MS_SYNC)
                            : muse_ftruncate(job->file, job->size);
    return NULL;
}

static void job_start(struct job *job)
{
    ck_assert_int_eq(pthread_create(&job->thread, NULL, job_main, job), 0);
}

static void job_end(struct job *job)
{
    ck_assert_int_eq(pthread_join(job->thread, NULL), 0);
    ck_assert_int_eq(job->result, 0);
}

struct wanted {
    const char *what, *stage, *whom;
};

static bool is_blocked(const struct rig *of, void *arg)
{
    const struct wanted *wanted = arg;

    return rig_blocked(of, wanted->what, wanted->stage, wanted->whom);
}

static void wait_for(const char *what, const char *stage, const char *whom)
{
    struct wanted wanted = {what, stage, whom};

    rig_wait(is_blocked, &rig, &wanted, stage);
}

/* The driver is stopped in the middle of a writeback of pages that the first change would cut off. */
START_TEST(changes_of_size_that_wait_for_a_writeback_are_seen)
{
    struct job msync = {.size = 0}, first = {.size = 10}, second = {.size = 5000 * PAGE};
    struct stat stat;
    pid_t driver;

    begin();
    driver = rig_driver_pid(&rig, "file");
    first.file = client_open(muse, "file/f", O_RDWR);
    second.file = first.file;
    msync.addr =
        client_map(muse, "file/f", O_RDWR, N_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
    ck_assert_ptr_ne(msync.addr, MAP_FAILED);
    memset(msync.addr, 'x', N_PAGES * PAGE);
    rig_stop_driver(&rig, "file");
    job_start(&msync);
    wait_for("writeback", "asked", "driver");
    job_start(&first);
    wait_for("truncate", "writeback", "writeback");
    job_start(&second);
    wait_for("truncate", "queued", "resize");
    ck_assert_int_eq(kill(driver, SIGCONT), 0);
    job_end(&msync);
    job_end(&first);
    job_end(&second);
    ck_assert_int_eq(muse_fstat(first.file, &stat), 0);
    ck_assert_int_eq(stat.st_size, 5000 * PAGE);
    ck_assert_mem_eq(msync.addr, "xxxxxxxxxx\0\0\0", 13);
    ck_assert_int_eq(muse_close(first.file), 0);
    end();
}
END_TEST

/* ---- holes ---- */

#define N_STORED 64u
#define N_HOLES  200u

static struct {
    unsigned char *mapped;
    atomic_bool stop;
} storer;

/* So that pages are being written back at any time. */
static void *store_main(void *arg)
{
    (void)arg;
    while (!atomic_load(&storer.stop)) {
        for (size_t page = 0; page < N_STORED; page++)
            storer.mapped[page * PAGE + 100] = 's';
    }
    return NULL;
}

static unsigned char *map_stored(struct muse *of)
{
    void *mapped =
        client_map(of, "file/stored", O_RDWR, N_STORED * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);

    ck_assert_ptr_ne(mapped, MAP_FAILED);
    return mapped;
}

/* An older writeback that lands in the hole would bring back what was there. */
START_TEST(what_was_in_a_hole_does_not_come_back_while_others_store_there)
{
    const bool by_advice = _i;
    pthread_t thread;

    rig_start(&rig, "[deadlines]\nwriteback_ms = 1\n", drivers);
    rig_file(&rig, "stored", N_STORED * PAGE);
    muse = client_connect();
    struct muse *other = client_connect();
    struct muse_file *file = client_open(muse, "file/stored", O_RDWR);
    unsigned char *mapped = map_stored(muse);

    storer.mapped = map_stored(other);
    atomic_store(&storer.stop, false);
    ck_assert_int_eq(pthread_create(&thread, NULL, store_main, NULL), 0);
    for (size_t i = 0; i < N_HOLES; i++) {
        unsigned char *hole = mapped + i % (N_STORED - 4) * PAGE;

        hole[0] = 'x';
        if (by_advice) {
            ck_assert_int_eq(muse_madvise(muse, hole, 4 * PAGE, MADV_REMOVE), 0);
        } else {
            ck_assert_int_eq(muse_fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                            hole - mapped, 4 * PAGE),
                             0);
        }
        for (size_t page = 0; page < 4; page++)
            ck_assert_int_eq(hole[page * PAGE], 0);
    }
    atomic_store(&storer.stop, true);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(muse_close(file), 0);
    muse_disconnect(other);
    end();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("resize");

    tcase_add_test(tcase, writers_that_all_make_it_grow_lose_nothing);
    tcase_add_test(tcase, changes_of_size_that_wait_for_a_writeback_are_seen);
    tcase_add_loop_test(tcase, what_was_in_a_hole_does_not_come_back_while_others_store_there, 0,
                        2);
    tcase_set_timeout(tcase, 60);
    return unit_run("resize", tcase);
}
