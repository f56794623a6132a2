/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Page caches with a bound: data sets four times as large are read, every byte is compared, and
 * what the server's files occupy is sampled all the while. Who must not be evicted stays; who died
 * in the middle leaves nothing behind.
 */
#include <dirent.h>
#include <errno.h>
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

#include "tests/support/cache.h"

#define LIMIT (8 * MIB)
#define DATA  (4 * LIMIT)

static const char *const extents[] = {"muse-file %s", NULL};
static const char *const fill[] = {"muse-file --mode fill %s", NULL};
static const char *const *const modes[] = {extents, fill};

static const char bounded[] = "[server]\nmemory = 8M\n";

static struct rig rig;

/* ---- out of core ---- */

START_TEST(four_times_the_limit_is_read_in_order_and_at_random)
{
    struct muse *muse;
    unsigned char *mapped;

    rig_start(&rig, bounded, modes[_i]);
    rig_file(&rig, "data", DATA);
    muse = client_connect();
    mapped = map_file(muse, "file/data", DATA);
    sampler_start(&rig);
    expect_all(mapped, DATA);
    expect_all(mapped, DATA);
    expect_random(mapped, DATA, 3000, 1);
    ck_assert_int_eq(muse_madvise(muse, mapped, DATA, MADV_RANDOM), 0);
    expect_random(mapped, DATA, 3000, 2);
    sampler_stop(LIMIT);
    ck_assert_uint_gt(rig_stat(&rig, "pages_evicted"), (DATA - LIMIT) / PAGE);
    ck_assert_uint_eq(rig_stat(&rig, "faults_poisoned"), 0);
    ck_assert_int_eq(rig_ctl_status(&rig, "audit"), 0);
    muse_disconnect(muse);
    rig_stop(&rig);
}
END_TEST

struct reader {
    pthread_t thread;
    const unsigned char *mapped;
    uint64_t seed;
};

static void *read_both_ways(void *ctx)
{
    const struct reader *reader = ctx;

    if (reader->seed % 2 == 0)
        expect_all(reader->mapped, DATA);
    expect_random(reader->mapped, DATA, 1500, reader->seed);
    return NULL;
}

static void read_in_threads(const unsigned char *mapped, uint64_t seed)
{
    struct reader readers[4];

    for (unsigned i = 0; i < 4; i++) {
        readers[i] = (struct reader){.mapped = mapped, .seed = seed + i};
        ck_assert_int_eq(pthread_create(&readers[i].thread, NULL, read_both_ways, &readers[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_join(readers[i].thread, NULL), 0);
}

static void read_as_another_client(void *ctx)
{
    struct muse *muse = client_connect();
    const uint64_t *seed = ctx;

    read_in_threads(map_file(muse, "file/data", DATA), *seed);
    muse_disconnect(muse);
}

START_TEST(two_clients_and_their_threads_read_four_times_the_limit)
{
    uint64_t seeds[] = {10, 21};
    pid_t pids[2];

    rig_start(&rig, bounded, modes[_i]);
    rig_file(&rig, "data", DATA);
    for (unsigned i = 0; i < 2; i++)
        pids[i] = client_fork(read_as_another_client, &seeds[i]);
    sampler_start(&rig); /* a thread: TSan's children of threads cannot start threads */
    for (unsigned i = 0; i < 2; i++)
        client_join(pids[i]);
    sampler_stop(LIMIT);
    ck_assert_uint_eq(rig_stat(&rig, "faults_poisoned"), 0);
    rig_stop(&rig);
}
END_TEST

START_TEST(a_limit_far_below_a_window_still_serves)
{
    const size_t len = 2 * MIB;
    struct muse *muse;
    unsigned char *mapped;

    rig_start(&rig, "[server]\nmemory = 128K\n", modes[_i]);
    rig_file(&rig, "data", len);
    muse = client_connect();
    mapped = map_file(muse, "file/data", len);
    sampler_start(&rig);
    ck_assert_int_eq(muse_madvise(muse, mapped, len, MADV_SEQUENTIAL), 0);
    expect_all(mapped, len);
    expect_random(mapped, len, 500, 3);
    ck_assert_int_eq(muse_madvise(muse, mapped, len, MADV_WILLNEED), 0);
    expect_random(mapped, len, 100, 4);
    sampler_stop(128 << 10);
    ck_assert_uint_eq(rig_stat(&rig, "faults_poisoned"), 0);
    muse_disconnect(muse);
    rig_stop(&rig);
}
END_TEST

static void *pread_all(void *ctx)
{
    struct muse_file *file = ctx;
    static _Thread_local unsigned char buf[100000];

    for (size_t at = 0; at < DATA;) {
        const ssize_t n = muse_pread(file, buf, sizeof(buf), (off_t)at);

        if (n <= 0)
            ck_abort_msg("pread at %zu: %zd %s %s", at, n, strerrorname_np(errno),
                         muse_last_error_text());
        if (!file_is(buf, at, (size_t)n))
            ck_abort_msg("pread at %zu has other bytes", at);
        at += (size_t)n;
    }
    return NULL;
}

START_TEST(pread_never_reads_the_holes_that_eviction_makes)
{
    struct muse_file *file;
    pthread_t threads[3];
    struct muse *muse;

    rig_start(&rig, "[server]\nmemory = 2M\n", modes[_i]);
    rig_file(&rig, "data", DATA);
    muse = client_connect();
    file = client_open(muse, "file/data", O_RDONLY);
    for (unsigned i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, pread_all, file), 0);
    for (unsigned i = 0; i < 200; i++)
        ck_assert_int_eq(rig_ctl_status(&rig, "evict file/data"), 0);
    for (unsigned i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_int_eq(muse_close(file), 0);
    muse_disconnect(muse);
    rig_stop(&rig);
}
END_TEST

/* ---- in the middle of things ---- */

static atomic_bool stop;

static void *evict_again_and_again(void *ctx)
{
    (void)ctx;
    while (!atomic_load(&stop))
        (void)rig_ctl_status(&rig, "evict file/data");
    return NULL;
}

START_TEST(faults_in_flight_and_eviction_do_not_hurt_each_other)
{
    const size_t len = 4 * MIB; /* would be native as a whole, if it were let */
    struct reader readers[3];
    struct muse *muse;
    pthread_t evicting;
    unsigned char *mapped;

    rig_start(&rig, NULL, modes[_i]);
    rig_file(&rig, "data", DATA);
    muse = client_connect();
    mapped = map_file(muse, "file/data", DATA);
    atomic_store(&stop, false);
    ck_assert_int_eq(pthread_create(&evicting, NULL, evict_again_and_again, NULL), 0);
    for (unsigned i = 0; i < 3; i++) {
        readers[i] = (struct reader){.mapped = mapped, .seed = 30 + i};
        ck_assert_int_eq(pthread_create(&readers[i].thread, NULL, read_both_ways, &readers[i]), 0);
    }
    for (unsigned i = 0; i < 20; i++)
        expect_all(mapped, len);
    for (unsigned i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_join(readers[i].thread, NULL), 0);
    atomic_store(&stop, true);
    ck_assert_int_eq(pthread_join(evicting, NULL), 0);
    ck_assert_uint_gt(rig_stat(&rig, "pages_evicted"), 0);
    ck_assert_int_eq(rig_ctl_status(&rig, "audit"), 0);
    muse_disconnect(muse);
    rig_stop(&rig);
}
END_TEST

START_TEST(a_native_mapping_is_watched_again_before_its_pages_go)
{
    const size_t len = MIB;
    struct muse *muse;
    unsigned char *mapped;

    rig_start(&rig, NULL, modes[_i]);
    rig_file(&rig, "data", len);
    muse = client_connect();
    mapped = map_file(muse, "file/data", len);
    expect_all(mapped, len);
    ck_assert_uint_eq(rig_stat(&rig, "graduations"), 1);
    ck_assert_int_eq(rig_ctl_status(&rig, "evict file/data"), 0);
    ck_assert_uint_eq(cache_bytes(&rig), 0);
    expect_all(mapped, len);
    ck_assert_uint_eq(rig_stat(&rig, "graduations"), 1); /* not at once again */
    ck_assert_int_eq(rig_ctl_status(&rig, "evict file/data"), 0);
    expect_random(mapped, len, 100, 7);
    muse_disconnect(muse);
    rig_stop(&rig);
}
END_TEST

/* Pages that are SIGBUS, or have the right bytes. Return: how many have. */
static size_t count_readable(const unsigned char *mapped, size_t len)
{
    size_t n = 0;

    for (size_t page = 0; page < len / PAGE; page++) {
        const int signal = probe_read(mapped + page * PAGE).signal;

        ck_assert(signal == 0 || signal == SIGBUS);
        if (signal == 0)
            expect_page(mapped, page);
        n += signal == 0;
    }
    return n;
}

START_TEST(when_the_driver_dies_what_is_there_stays_and_what_was_evicted_is_sigbus)
{
    const size_t len = 2 * LIMIT;
    struct muse_error why;
    struct muse *muse;
    unsigned char *mapped, *other;
    size_t n_readable;
    pid_t old;

    rig_start(&rig, bounded, modes[_i]);
    rig_file(&rig, "data", len);
    rig_file(&rig, "other", len);
    muse = client_connect();
    mapped = map_file(muse, "file/data", len);
    expect_all(mapped, len);
    old = rig_driver_pid(&rig, "file");
    ck_assert_int_eq(kill(old, SIGKILL), 0);
    (void)wait_for_driver(&rig, "file", old);
    n_readable = count_readable(mapped, len);
    ck_assert_uint_gt(n_readable, 0);
    ck_assert_uint_le(n_readable, LIMIT / PAGE);
    ck_assert_int_eq(muse_error_at(muse, mapped, &why), 0);
    ck_assert_int_eq(why.error, EIO);
    /* they cannot be had again, so they stay, for want of room elsewhere too */
    ck_assert_int_eq(rig_ctl_status(&rig, "evict file/data"), 0);
    other = map_file(muse, "file/other", len);
    (void)count_readable(other, len);
    ck_assert_uint_eq(count_readable(mapped, len), n_readable);
    ck_assert_int_eq(muse_munmap(muse, other, len), 0);
    ck_assert_int_eq(muse_munmap(muse, mapped, len), 0);
    other = map_file(muse, "file/other", len);
    expect_all(other, len);
    muse_disconnect(muse);
    rig_stop(&rig);
}
END_TEST

/* ---- musectl ---- */

static uint64_t sum_of(json_t *document, const char *key)
{
    uint64_t sum = 0;
    json_t *part;
    size_t i;

    json_array_foreach(json_object_get(document, "evicted"), i, part)
    {
        sum += (uint64_t)json_integer_value(json_object_get(part, key));
    }
    return sum;
}

START_TEST(musectl_evicts_by_name_and_by_number_and_limits_take_effect)
{
    uint64_t limit = 2 * MIB, n_before;
    json_t *document, *objects;
    char command[64];
    struct muse *muse;
    unsigned char *mapped;

    rig_start(&rig, NULL, modes[_i]);
    rig_file(&rig, "data", DATA);
    muse = client_connect();
    mapped = map_file(muse, "file/data", DATA);
    expect_all(mapped, DATA);
    ck_assert_uint_eq(cache_bytes(&rig), DATA);
    ck_assert_int_eq(rig_ctl_status(&rig, "evict file/nothing"), 1);
    ck_assert_int_eq(rig_ctl_status(&rig, "evict"), 2);
    document = rig_ctl(&rig, "evict file/data");
    ck_assert_uint_eq(sum_of(document, "evicted_pages"), DATA / PAGE);
    json_decref(document);
    ck_assert_uint_eq(cache_bytes(&rig), 0);
    ck_assert_uint_lt(cache_blocks(&rig), MIB);
    expect_all(mapped, DATA);

    objects = rig_ctl(&rig, "objects");
    document = json_entry(objects, "name", "file/data");
    ck_assert_int_eq(json_integer_value(json_object_get(document, "n_evicted_pages")), DATA / PAGE);
    (void)snprintf(command, sizeof(command), "evict %lld",
                   (long long)json_integer_value(json_object_get(document, "id")));
    json_decref(objects);
    document = rig_ctl(&rig, command);
    ck_assert_uint_eq(sum_of(document, "evicted_pages"), DATA / PAGE);
    json_decref(document);

    expect_all(mapped, DATA);
    ck_assert_int_eq(rig_ctl_status(&rig, "limits memory_bytes 2M"), 0);
    rig_wait(cache_is_at_most, &rig, &limit, "the cache to be below its new limit");
    expect_all(mapped, DATA);
    ck_assert_uint_le(cache_bytes(&rig), limit);
    ck_assert_int_eq(rig_ctl_status(&rig, "limits memory_bytes unlimited"), 0);
    ck_assert_int_eq(rig_ctl_status(&rig, "limits cache_bytes 1M"), 0);
    limit = MIB;
    rig_wait(cache_is_at_most, &rig, &limit, "the cache to be below the user's new limit");
    n_before = rig_stat(&rig, "pages_evicted");
    ck_assert_int_eq(rig_ctl_status(&rig, "limits cache_bytes unlimited"), 0);
    expect_all(mapped, DATA);
    ck_assert_uint_eq(rig_stat(&rig, "pages_evicted"), n_before);
    muse_disconnect(muse);
    rig_stop(&rig);
}
END_TEST

/* Little that is dirty waits for its age, however much is read meanwhile; when it is much it goes at once. */
START_TEST(what_is_dirty_is_written_back_for_room_only_when_it_is_much)
{
    static const char *const writing[][2] = {{"muse-file --writable %s", NULL},
                                             {"muse-file --writable --mode fill %s", NULL}};
    const size_t few = 16;
    struct muse *muse;
    unsigned char *mapped;

    rig_start(&rig, "[server]\nmemory = 8M\n[deadlines]\nwriteback_ms = 60000\n", writing[_i]);
    rig_file(&rig, "data", DATA);
    muse = client_connect();
    mapped = client_map(muse, "file/data", O_RDWR, DATA, PROT_READ | PROT_WRITE, MAP_SHARED);
    ck_assert_ptr_ne(mapped, MAP_FAILED);
    ck_assert_int_eq(muse_madvise(muse, mapped, DATA, MADV_RANDOM), 0);
    for (size_t page = few; page < DATA / PAGE; page++) {
        mapped[page % few * PAGE] = rig_byte(page % few * PAGE); /* again and again, the same few */
        expect_page(mapped, page);
    }
    ck_assert_uint_gt(rig_stat(&rig, "pages_evicted"), (DATA - LIMIT) / PAGE / 2);
    ck_assert_uint_lt(rig_stat(&rig, "pages_written"),
                      8 * few); /* a search may have met nothing else */
    for (size_t page = 0; page < DATA / PAGE; page++)
        mapped[page * PAGE] = rig_byte(page * PAGE);
    ck_assert_uint_gt(rig_stat(&rig, "pages_written"), (DATA - LIMIT) / PAGE / 2);
    expect_all(mapped, DATA);
    muse_disconnect(muse);
    rig_stop(&rig);
}
END_TEST

START_TEST(a_hot_set_outlives_a_scan)
{
    const size_t hot = 2 * MIB, step = 4 * MIB;
    struct muse *muse;
    unsigned char *mapped, *scanned;
    uint64_t n_misses;

    rig_start(&rig, bounded, modes[_i]);
    rig_file(&rig, "hot", hot);
    rig_file(&rig, "data", DATA);
    muse = client_connect();
    mapped = map_file(muse, "file/hot", hot);
    scanned = map_file(muse, "file/data", DATA);
    for (size_t at = 0; at < DATA; at += step) { /* pushed out once, and asked for again */
        expect_all(mapped, hot);
        for (size_t page = at / PAGE; page < (at + step) / PAGE; page++)
            expect_page(scanned, page);
    }
    ck_assert_uint_gt(rig_stat(&rig, "ghost_hits"), 0);
    ck_assert_uint_ge(rig_stat(&rig, "refaults"), rig_stat(&rig, "ghost_hits"));
    n_misses = rig_stat(&rig, "faults_miss");
    expect_all(mapped, hot);
    ck_assert_uint_eq(rig_stat(&rig, "faults_miss"), n_misses);
    muse_disconnect(muse);
    rig_stop(&rig);
}
END_TEST

START_TEST(touches_are_recorded_for_who_asks_for_it)
{
    char path[64] = "/tmp/muse-touches.XXXXXX", text[160];
    const int fd = mkstemp(path);
    uint32_t record[2 + 2 * 64];
    struct muse *muse;
    unsigned char *mapped;

    ck_assert_int_ge(fd, 0);
    (void)snprintf(text, sizeof(text), "[server]\nmemory = 128K\n[debug]\ntouches = %s\n", path);
    rig_start(&rig, text, modes[_i]);
    rig_file(&rig, "data", 64 * PAGE);
    muse = client_connect();
    mapped = map_file(muse, "file/data", 64 * PAGE);
    ck_assert_int_eq(muse_madvise(muse, mapped, 64 * PAGE, MADV_RANDOM), 0);
    for (size_t page = 64; page > 0; page--)
        expect_page(mapped, page - 1);
    muse_disconnect(muse);
    rig_stop(&rig); /* the file is complete now */
    ck_assert_int_eq(read(fd, record, sizeof(record)), sizeof(record));
    ck_assert_int_eq(memcmp(record, "MUSETCH1", 8), 0);
    for (uint32_t i = 0; i < 64; i++) {
        ck_assert_uint_eq(record[2 + 2 * i], record[2]);
        ck_assert_uint_eq(record[3 + 2 * i], 63 - i);
    }
    ck_assert_int_eq(close(fd), 0);
    ck_assert_int_eq(unlink(path), 0);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("evict");

    tcase_set_timeout(tcase, 100);
    tcase_add_loop_test(tcase, four_times_the_limit_is_read_in_order_and_at_random, 0, 2);
    tcase_add_loop_test(tcase, two_clients_and_their_threads_read_four_times_the_limit, 0, 2);
    tcase_add_loop_test(tcase, a_limit_far_below_a_window_still_serves, 0, 2);
    tcase_add_loop_test(tcase, pread_never_reads_the_holes_that_eviction_makes, 0, 2);
    tcase_add_loop_test(tcase, faults_in_flight_and_eviction_do_not_hurt_each_other, 0, 2);
    tcase_add_loop_test(tcase, a_native_mapping_is_watched_again_before_its_pages_go, 0, 2);
    tcase_add_loop_test(
        tcase, when_the_driver_dies_what_is_there_stays_and_what_was_evicted_is_sigbus, 0, 2);
    tcase_add_loop_test(tcase, musectl_evicts_by_name_and_by_number_and_limits_take_effect, 0, 2);
    tcase_add_loop_test(tcase, touches_are_recorded_for_who_asks_for_it, 0, 2);
    tcase_add_loop_test(tcase, what_is_dirty_is_written_back_for_room_only_when_it_is_much, 0, 2);
    tcase_add_loop_test(tcase, a_hot_set_outlives_a_scan, 0, 2);
    return unit_run("evict", tcase);
}
