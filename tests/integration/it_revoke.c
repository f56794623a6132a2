/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A driver takes pages back while a client reads or writes the object through its fd. What the
 * client gets are bytes of the object, before or after, and never the zeros of a hole; what it wrote
 * stays. A revoke waits for no client: the reads here are stopped in the middle, in a destination
 * whose pages another driver is slow to give.
 */
#include <errno.h>
#include <fcntl.h>
#include <muse/muse.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <check.h>

#include "tests/support/client.h"
#include "tests/support/unit.h"

#define N_PAGES 16u

static const char *const drivers[] = {"muse-faulty --register=writes", "muse-faulty --name slow",
                                      NULL};

static struct rig rig;
static struct muse *muse;

static void begin(void)
{
    rig_start(&rig, NULL, drivers);
    muse = client_connect();
}

static void end(void)
{
    muse_disconnect(muse);
    rig_stop(&rig);
}

/* The driver takes back what it gave of the object of key 7; returns when that has been done. */
static void take_back(const char *name)
{
    struct muse_file *file = client_open(muse, name, O_RDONLY);

    ck_assert_int_eq(muse_close(file), 0);
}

struct reading {
    struct muse_file *file;
    char *to;
    ssize_t n;
};

static void *read_main(void *arg)
{
    struct reading *reading = arg;

    reading->n = muse_pread(reading->file, reading->to, N_PAGES * PAGE, 0);
    return NULL;
}

/* The thread of @reading is in the middle of its copy. */
static void wait_until_it_hangs(uint64_t n_faults)
{
    for (unsigned i = 0; rig_counter_of("slow", "fault") < n_faults; i++) {
        ck_assert_uint_lt(i, 5000);
        client_sleep_ms(2);
    }
}

START_TEST(a_read_whose_pages_are_taken_back_meanwhile_is_done_again)
{
    const int rw = PROT_READ | PROT_WRITE;
    struct reading reading;
    pthread_t thread;

    begin();
    reading.file = client_open(muse, "faulty/x,key=7,fault-single", O_RDONLY);
    reading.to = muse_mmap(muse, NULL, N_PAGES * PAGE, rw, MAP_PRIVATE | MAP_ANONYMOUS, NULL, 0);
    ck_assert_ptr_ne(reading.to, MAP_FAILED);
    for (size_t page = 3; page < N_PAGES; page += 6) { /* where the copy hangs */
        const struct client_span span = {reading.to + page * PAGE, PAGE, 0};

        ck_assert_ptr_eq(client_map_at(muse, "slow/x,fault-delay-ms=300", O_RDONLY, span, rw,
                                       MAP_PRIVATE | MAP_FIXED),
                         span.addr);
    }
    ck_assert_int_eq(pthread_create(&thread, NULL, read_main, &reading), 0);
    wait_until_it_hangs(1);
    take_back("faulty/y,invalidate=7"); /* does not wait for the reader */
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(reading.n, N_PAGES * PAGE);
    for (size_t page = 0; page < N_PAGES; page++)
        for (size_t word = 0; word < 512; word++)
            ck_assert_uint_eq(faulty_word(reading.to, page, word), page * 512 + word);
    ck_assert_int_eq(muse_close(reading.file), 0);
    end();
}
END_TEST

/* ---- writes ---- */

struct writing {
    struct muse_file *file;
    char bytes[2 * PAGE];
    ssize_t n;
};

static void *write_main(void *arg)
{
    struct writing *writing = arg;

    writing->n = muse_pwrite(writing->file, writing->bytes, sizeof(writing->bytes) - 1, 1);
    return NULL;
}

START_TEST(a_write_that_waits_for_one_page_does_not_lose_another_to_a_revoke)
{
    static const char name[] = "faulty/x,key=7,fault-partial,fault-delay-ms=300";
    static struct writing writing;
    pthread_t thread;
    uint64_t n_faults;
    char *mapped;

    begin();
    mapped = client_map(muse, name, O_RDWR, 2 * PAGE, PROT_READ, MAP_SHARED);
    ck_assert_ptr_ne(mapped, MAP_FAILED);
    ck_assert_int_eq(muse_madvise(muse, mapped, 2 * PAGE, MADV_RANDOM), 0);
    ck_assert_int_eq(probe_read(mapped).signal, 0);
    writing.file = client_open(muse, name, O_RDWR);
    memset(writing.bytes, 'w', sizeof(writing.bytes));
    n_faults = rig_counter("fault");
    ck_assert_int_eq(pthread_create(&thread, NULL, write_main, &writing), 0);
    wait_for_counter("fault", n_faults + 1); /* for the second page */
    take_back("faulty/y,invalidate=7,page=0");
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(writing.n, sizeof(writing.bytes) - 1);
    ck_assert_int_eq(mapped[0], 0); /* the driver's: the first word is 0 */
    for (size_t i = 1; i < sizeof(writing.bytes); i++)
        ck_assert_int_eq(mapped[i], 'w');
    ck_assert_int_eq(muse_close(writing.file), 0);
    end();
}
END_TEST

static void *copy_main(void *arg)
{
    struct reading *copying = arg;

    copying->n = muse_pwrite(copying->file, copying->to, 2 * PAGE, 4 * PAGE);
    return NULL;
}

/* The kernel locks a file while it is written to; a server that has to wait for that serves nobody, and the
 * page that the write waits for would never come. */
START_TEST(a_write_that_waits_for_its_source_does_not_hold_up_the_server)
{
    struct reading copying;
    pthread_t thread;
    char *seen;

    begin();
    copying.file = client_open(muse, "faulty/x,key=7", O_RDWR);
    copying.to = client_map(muse, "slow/x,fault-delay-ms=1000", O_RDONLY, 2 * PAGE, PROT_READ,
                            MAP_SHARED); /* what is written, here */
    seen = client_map_ro(muse, "faulty/x,key=7", N_PAGES);
    ck_assert_ptr_ne(copying.to, MAP_FAILED);
    ck_assert_int_eq(probe_read(seen).signal, 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, copy_main, &copying), 0);
    wait_until_it_hangs(1);
    take_back("faulty/y,invalidate=7,page=0");
    ck_assert_uint_eq(faulty_word(seen, 0, 5), 5);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(copying.n, 2 * PAGE);
    ck_assert_uint_eq(faulty_word(seen, 3, 5), 3 * 512 + 5);
    ck_assert_uint_eq(faulty_word(seen, 4, 5), 5);
    ck_assert_uint_eq(faulty_word(seen, 5, 5), 512 + 5);
    ck_assert_int_eq(muse_close(copying.file), 0);
    end();
}
END_TEST

/* ---- blocks that are on their way ---- */

#define N_BLOCK_BYTES (32u << 20)
#define N_CUTS        40u

struct cutting {
    struct muse_file *file;
    _Atomic unsigned n_done;
};

static void *cut_main(void *arg)
{
    struct cutting *cutting = arg;

    for (unsigned i = 0; i < N_CUTS; i++) { /* most of it goes, and comes back as zeros */
        const off_t keep =
            (off_t)(N_CUTS - i) * (N_BLOCK_BYTES / N_CUTS) / 2 + (off_t)(i % 3) * 100;

        ck_assert_int_eq(muse_ftruncate(cutting->file, keep), 0);
        ck_assert_int_eq(muse_ftruncate(cutting->file, N_BLOCK_BYTES), 0);
        cutting->n_done++;
    }
    return NULL;
}

/* Reads it all in order, as fast as it comes; a cut under it is SIGBUS, and not looked at. */
static void read_through(char *mapped)
{
    for (size_t at = 0; at < N_BLOCK_BYTES; at += PAGE)
        (void)probe_read(mapped + at);
}

START_TEST(blocks_that_were_on_their_way_when_the_file_was_cut_are_zeros)
{
    static const char *const file_driver[] = {"muse-file --writable %s", NULL};
    static struct cutting cutting;
    char *mapped, *expected = malloc(N_BLOCK_BYTES);
    char path[128];
    pthread_t thread;
    int fd;

    rig_start(&rig, NULL, file_driver);
    rig_file(&rig, "f", N_BLOCK_BYTES);
    (void)snprintf(path, sizeof(path), "%s/f", rig.data);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    muse = client_connect();
    cutting.file = client_open(muse, "file/f", O_RDWR);
    mapped = client_map(muse, "file/f", O_RDWR, N_BLOCK_BYTES, PROT_READ, MAP_SHARED);
    ck_assert_ptr_ne(mapped, MAP_FAILED);
    ck_assert_int_eq(muse_madvise(muse, mapped, N_BLOCK_BYTES, MADV_SEQUENTIAL), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, cut_main, &cutting), 0);
    while (cutting.n_done < N_CUTS)
        read_through(mapped);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(pread(fd, expected, N_BLOCK_BYTES, 0), N_BLOCK_BYTES);
    ck_assert_mem_eq(mapped, expected, N_BLOCK_BYTES);
    ck_assert_int_eq(mapped[N_BLOCK_BYTES / 2], 0);
    ck_assert_int_eq(muse_munmap(muse, mapped, N_BLOCK_BYTES), 0);
    ck_assert_int_eq(muse_close(cutting.file), 0);
    (void)close(fd);
    free(expected);
    end();
}
END_TEST

static char *map_blocks(struct muse *of)
{
    char *mapped = client_map(of, "file/f", O_RDONLY, N_BLOCK_BYTES, PROT_READ, MAP_SHARED);

    ck_assert_ptr_ne(mapped, MAP_FAILED);
    ck_assert_int_eq(muse_madvise(of, mapped, N_BLOCK_BYTES, MADV_SEQUENTIAL), 0);
    return mapped;
}

static void read_in_child(void *arg)
{
    (void)arg;
    read_through(map_blocks(client_connect()));
}

/* Blocks are on their way when the client goes, or the driver, at any place of the file. Nothing is left of
 * them (rig_stop), and whoever comes next reads the right bytes. */
START_TEST(who_dies_while_blocks_are_on_their_way_leaves_nothing)
{
    static const char *const file_driver[] = {"muse-file --writable %s", NULL};

    rig_start(&rig, NULL, file_driver);
    rig_file(&rig, "f", N_BLOCK_BYTES);
    for (unsigned round = 0; round < 12; round++) {
        const bool kill_client = round % 2 == 0;
        const pid_t driver = rig_driver_pid(&rig, "file");
        const uint64_t n_read = rig_stat(&rig, "bytes_filled");
        const pid_t reader = client_fork(read_in_child, NULL);
        struct muse *other;
        char *mapped;

        while (rig_stat(&rig, "bytes_filled") - n_read < round * (N_BLOCK_BYTES / 16)) {}
        if (!kill_client) {
            ck_assert_int_eq(kill(driver, SIGKILL), 0);
            ck_assert_int_ne(wait_for_driver(&rig, "file", driver), 0);
        }
        client_kill(reader);
        other = client_connect();
        mapped = map_blocks(other);
        for (size_t at = 0; at < N_BLOCK_BYTES; at += PAGE + 1)
            ck_assert_uint_eq((unsigned char)mapped[at], rig_byte(at));
        muse_disconnect(other);
    }
    rig_stop(&rig);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("revoke");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, a_read_whose_pages_are_taken_back_meanwhile_is_done_again);
    tcase_add_test(tcase, a_write_that_waits_for_one_page_does_not_lose_another_to_a_revoke);
    tcase_add_test(tcase, a_write_that_waits_for_its_source_does_not_hold_up_the_server);
    tcase_add_test(tcase, blocks_that_were_on_their_way_when_the_file_was_cut_are_zeros);
    tcase_add_test(tcase, who_dies_while_blocks_are_on_their_way_leaves_nothing);
    return unit_run("revoke", tcase);
}
