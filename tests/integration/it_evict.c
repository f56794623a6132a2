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

#include "proto/client.pb-c.h"
#include "tests/support/client.h"
#include "tests/support/raw.h"
#include "tests/support/unit.h"

#define MIB    ((size_t)1 << 20)
#define LIMIT  (8 * MIB)
#define DATA   (4 * LIMIT)
#define WINDOW (2 * MIB)

static const char *const extents[] = {"muse-file %s", NULL};
static const char *const fill[] = {"muse-file --mode fill %s", NULL};
static const char *const writable[] = {"muse-file --writable %s", NULL};
static const char *const *const modes[] = {extents, fill};

static const char bounded[] = "[server]\nmemory = 8M\n";

static struct rig rig;

/* ---- how much the server's files occupy ---- */

static struct {
    atomic_bool stop;
    uint64_t most;
    atomic_ulong n_samples;
    pthread_t thread;
} sampler;

static bool is_cache(const char *target)
{
    return strncmp(target, "/muse:", 6) == 0 ||
           (strncmp(target, "/memfd:", 7) == 0 && strncmp(target, "/memfd:muse-", 12) != 0 &&
            strchr(target + 7, '/'));
}

static uint64_t cache_blocks(void)
{
    char folder[64];
    uint64_t bytes = 0;
    ino_t seen[64];
    size_t n_seen = 0;
    struct dirent *entry;
    DIR *dir;

    (void)snprintf(folder, sizeof(folder), "/proc/%d/fd", (int)rig.server);
    dir = opendir(folder);
    while (dir && (entry = readdir(dir))) {
        char target[300];
        struct stat st;
        const ssize_t n = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);
        bool is_new = true;

        if (n <= 0 || fstatat(dirfd(dir), entry->d_name, &st, 0) < 0)
            continue;
        target[n] = '\0';
        for (size_t i = 0; i < n_seen; i++)
            is_new &= seen[i] != st.st_ino;
        if (!is_new || !is_cache(target) || n_seen == 64)
            continue;
        seen[n_seen++] = st.st_ino;
        bytes += (uint64_t)st.st_blocks * 512;
    }
    if (dir)
        (void)closedir(dir);
    return bytes;
}

static void *sample(void *ctx)
{
    (void)ctx;
    while (!atomic_load(&sampler.stop)) {
        const uint64_t bytes = cache_blocks();

        if (bytes > sampler.most)
            sampler.most = bytes;
        atomic_fetch_add(&sampler.n_samples, 1);
        client_sleep_ms(1);
    }
    return NULL;
}

static void sampler_start(void)
{
    sampler.most = 0;
    atomic_store(&sampler.n_samples, 0);
    atomic_store(&sampler.stop, false);
    ck_assert_int_eq(pthread_create(&sampler.thread, NULL, sample, NULL), 0);
    while (atomic_load(&sampler.n_samples) == 0)
        client_sleep_ms(1);
}

/* It must have seen something, and never more than @limit and one window. The last sample is after
 * the end of what was watched. */
static void sampler_stop(uint64_t limit)
{
    const uint64_t last = cache_blocks();

    atomic_store(&sampler.stop, true);
    ck_assert_int_eq(pthread_join(sampler.thread, NULL), 0);
    if (last > sampler.most)
        sampler.most = last;
    ck_assert_uint_gt(sampler.most, 0);
    ck_assert_uint_le(sampler.most, limit + WINDOW);
}

/* ---- reading ---- */

static unsigned char *map_file(struct muse *muse, const char *name, size_t len)
{
    return client_map_ro(muse, name, len / PAGE);
}

static void expect_page(const unsigned char *mapped, size_t page)
{
    if (!file_is(mapped + page * PAGE, page * PAGE, PAGE))
        ck_abort_msg("page %zu has other bytes", page);
}

static void expect_all(const unsigned char *mapped, size_t len)
{
    for (size_t page = 0; page < len / PAGE; page++)
        expect_page(mapped, page);
}

static void expect_random(const unsigned char *mapped, size_t len, size_t n_reads, uint64_t seed)
{
    uint64_t random = 2 * seed + 1;

    for (size_t i = 0; i < n_reads; i++)
        expect_page(mapped, unit_random(&random) % (len / PAGE));
}

static size_t count_resident(const void *mapped, size_t len)
{
    static unsigned char vec[DATA / PAGE];
    size_t n = 0;

    ck_assert_uint_le(len, DATA);
    ck_assert_int_eq(mincore((void *)(uintptr_t)mapped, len, vec), 0);
    for (size_t i = 0; i < len / PAGE; i++)
        n += vec[i] & 1u;
    return n;
}

static uint64_t cache_bytes(void)
{
    json_t *status = rig_ctl(&rig, "status");
    const uint64_t bytes = (uint64_t)json_integer_value(json_object_get(status, "cache_bytes"));

    json_decref(status);
    return bytes;
}

static bool cache_is_at_most(const struct rig *of, void *arg)
{
    (void)of;
    return cache_bytes() <= *(const uint64_t *)arg;
}

/* ---- out of core ---- */

START_TEST(four_times_the_limit_is_read_in_order_and_at_random)
{
    struct muse *muse;
    unsigned char *mapped;

    rig_start(&rig, bounded, modes[_i]);
    rig_file(&rig, "data", DATA);
    muse = client_connect();
    mapped = map_file(muse, "file/data", DATA);
    sampler_start();
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
    sampler_start();
    for (unsigned i = 0; i < 2; i++)
        pids[i] = client_fork(read_as_another_client, &seeds[i]);
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
    sampler_start();
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

/* ---- who stays ---- */

START_TEST(locked_pages_stay)
{
    struct muse *muse;
    unsigned char *locked, *mapped;

    rig_start(&rig, bounded, modes[_i]);
    rig_file(&rig, "data", DATA);
    rig_file(&rig, "locked", MIB);
    muse = client_connect();
    locked = client_map(muse, "file/locked", O_RDONLY, MIB, PROT_READ, MAP_SHARED | MAP_LOCKED);
    ck_assert_ptr_ne(locked, MAP_FAILED);
    expect_all(locked, MIB);
    mapped = map_file(muse, "file/data", DATA);
    expect_all(mapped, DATA);
    expect_random(mapped, DATA, 2000, 5);
    ck_assert_int_eq(rig_ctl_status(&rig, "evict file/locked"), 0);
    ck_assert_uint_eq(count_resident(locked, MIB), MIB / PAGE);
    expect_all(locked, MIB);
    ck_assert_int_eq(muse_munmap(muse, locked + MIB / 2, MIB / 2), 0);
    ck_assert_int_eq(rig_ctl_status(&rig, "evict file/locked"), 0);
    ck_assert_uint_eq(count_resident(locked, MIB / 2), MIB / 2 / PAGE);
    muse_disconnect(muse);
    rig_stop(&rig);
}
END_TEST

START_TEST(private_pages_stay_and_the_others_come_again)
{
    struct muse *muse;
    unsigned char *private;

    rig_start(&rig, bounded, modes[_i]);
    rig_file(&rig, "data", DATA);
    muse = client_connect();
    private = client_map(muse, "file/data", O_RDONLY, DATA, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    ck_assert_ptr_ne(private, MAP_FAILED);
    for (size_t page = 0; page < DATA / PAGE; page += 16)
    private[page * PAGE + 7] = (unsigned char)(page / 16);
    ck_assert_int_eq(rig_ctl_status(&rig, "evict file/data"), 0);
    for (size_t page = 0; page < DATA / PAGE; page++) {
        if (page % 16 != 0) {
            expect_page(private, page);
            continue;
        }
        ck_assert_uint_eq(private[page * PAGE + 7], (unsigned char)(page / 16));
        ck_assert(file_is(private + page * PAGE + 8, page * PAGE + 8, PAGE - 8));
    }
    ck_assert_uint_gt(rig_stat(&rig, "pages_evicted"), (DATA - LIMIT) / PAGE);
    muse_disconnect(muse);
    rig_stop(&rig);
}
END_TEST

static void read_as_somebody_else(void *ctx)
{
    struct muse *muse;
    unsigned char *mapped;

    (void)ctx;
    ck_assert_int_eq(setgid(1000), 0);
    ck_assert_int_eq(setuid(1000), 0);
    muse = client_connect();
    mapped = map_file(muse, "file/theirs", DATA);
    expect_all(mapped, DATA);
    expect_random(mapped, DATA, 1000, 6);
    muse_disconnect(muse);
}

START_TEST(a_user_over_his_quota_evicts_his_own_pages_only)
{
    const size_t len = 3 * MIB;
    struct muse *muse;
    unsigned char *mapped;

    rig_start(&rig, "[quota]\ncache_bytes = 8M\n", modes[_i]);
    rig_file(&rig, "ours", len);
    rig_file(&rig, "theirs", DATA);
    muse = client_connect();
    mapped = map_file(muse, "file/ours", len);
    expect_all(mapped, len);
    ck_assert_uint_eq(count_resident(mapped, len), len / PAGE);
    sampler_start();
    client_join(client_fork(read_as_somebody_else, NULL));
    sampler_stop(LIMIT + len);
    ck_assert_uint_gt(rig_stat(&rig, "pages_evicted"), (DATA - LIMIT) / PAGE);
    ck_assert_uint_eq(count_resident(mapped, len), len / PAGE);
    muse_disconnect(muse);
    rig_stop(&rig);
}
END_TEST

START_TEST(the_limit_on_all_takes_from_who_has_most)
{
    const size_t len = 3 * MIB;
    struct muse *muse;
    unsigned char *mapped;

    rig_start(&rig, bounded, modes[_i]);
    rig_file(&rig, "ours", len);
    rig_file(&rig, "theirs", DATA);
    muse = client_connect();
    mapped = map_file(muse, "file/ours", len);
    expect_all(mapped, len);
    client_join(client_fork(read_as_somebody_else, NULL));
    ck_assert_uint_eq(count_resident(mapped, len), len / PAGE);
    muse_disconnect(muse);
    rig_stop(&rig);
}
END_TEST

/* A driver without writeback: what was written exists nowhere else. */
START_TEST(what_nobody_takes_back_stays_and_a_fault_too_many_says_why)
{
    static const char *const faulty[] = {"muse-faulty", NULL};
    struct muse_error why;
    struct muse *muse;
    unsigned char *mapped;
    struct probe probe = {.signal = 0};
    size_t page;

    rig_start(&rig, "[server]\nmemory = 1M\n", faulty);
    muse = client_connect();
    mapped =
        client_map(muse, "faulty/x,size=4M", O_RDWR, 4 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED);
    ck_assert_ptr_ne(mapped, MAP_FAILED);
    for (page = 0; page < 1024 && probe.signal == 0; page++)
        probe = probe_write(mapped + page * PAGE, (unsigned char)(page + 1));
    ck_assert_int_eq(probe.signal, SIGBUS);
    ck_assert_int_eq(muse_error_at(muse, mapped + (page - 1) * PAGE, &why), 0);
    ck_assert_int_eq(why.error, ENOMEM);
    ck_assert_ptr_nonnull(strstr(why.text, "limit"));
    ck_assert_int_eq(rig_ctl_status(&rig, "evict faulty/x,size=4M"), 0);
    for (size_t i = 0; i < page - 1; i++)
        ck_assert_uint_eq(mapped[i * PAGE], (unsigned char)(i + 1));
    ck_assert_uint_eq(rig_stat(&rig, "pages_evicted"), 0);
    muse_disconnect(muse);
    rig_stop(&rig);
}
END_TEST

/* ---- written ---- */

static void expect_on_disk(unsigned salt)
{
    static unsigned char buf[MIB];
    char path[160];
    int fd;

    (void)snprintf(path, sizeof(path), "%s/data", rig.data);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    for (size_t at = 0; at < DATA; at += MIB) {
        ck_assert_int_eq(pread(fd, buf, MIB, (off_t)at), MIB);
        for (size_t i = 0; i < MIB; i++) {
            if (buf[i] != (unsigned char)(rig_byte(at + i) + salt))
                ck_abort_msg("byte %zu of the file", at + i);
        }
    }
    ck_assert_int_eq(close(fd), 0);
}

START_TEST(four_times_the_limit_is_written_and_read)
{
    struct muse *muse;
    unsigned char *mapped;
    uint64_t random = 77;

    rig_start(&rig, bounded, writable);
    rig_file(&rig, "data", DATA);
    muse = client_connect();
    mapped = client_map(muse, "file/data", O_RDWR, DATA, PROT_READ | PROT_WRITE, MAP_SHARED);
    ck_assert_ptr_ne(mapped, MAP_FAILED);
    sampler_start();
    for (size_t i = 0; i < DATA; i++)
        mapped[i] = (unsigned char)(mapped[i] + 1);
    for (unsigned i = 0; i < 4000; i++) { /* again, at random, so that clean and dirty mix */
        const size_t at = unit_random(&random) % DATA;

        mapped[at] = (unsigned char)(mapped[at] + 1);
        mapped[at] = (unsigned char)(mapped[at] - 1);
    }
    for (size_t i = 0; i < DATA; i++)
        if (mapped[i] != (unsigned char)(rig_byte(i) + 1))
            ck_abort_msg("byte %zu of the mapping", i);
    sampler_stop(LIMIT);
    ck_assert_int_eq(muse_msync(muse, mapped, DATA, MS_SYNC), 0);
    expect_on_disk(1);
    ck_assert_uint_gt(rig_stat(&rig, "pages_evicted"), (DATA - LIMIT) / PAGE);
    ck_assert_uint_eq(rig_stat(&rig, "faults_poisoned"), 0);
    ck_assert_int_eq(rig_ctl_status(&rig, "audit"), 0);
    muse_disconnect(muse);
    rig_stop(&rig);
}
END_TEST

START_TEST(four_times_the_limit_is_pwritten_while_it_is_evicted)
{
    static unsigned char buf[300000];
    struct muse_file *file;
    struct muse *muse;

    rig_start(&rig, bounded, writable);
    rig_file(&rig, "data", DATA);
    muse = client_connect();
    file = client_open(muse, "file/data", O_RDWR);
    for (size_t at = 0, n; at < DATA; at += n) {
        ssize_t done;

        n = DATA - at < sizeof(buf) ? DATA - at : sizeof(buf);
        for (size_t i = 0; i < n; i++)
            buf[i] = (unsigned char)(rig_byte(at + i) + 2);
        done = muse_pwrite(file, buf, n, (off_t)at);
        ck_assert_msg(done == (ssize_t)n, "pwrite at %zu: %zd %s", at, done,
                      muse_last_error_text());
        if (at / sizeof(buf) % 16 == 0)
            ck_assert_int_eq(rig_ctl_status(&rig, "evict file/data"), 0);
    }
    ck_assert_int_eq(muse_fsync(file), 0);
    expect_on_disk(2);
    ck_assert_uint_gt(rig_stat(&rig, "pages_evicted"), (DATA - 2 * LIMIT) / PAGE);
    ck_assert_int_eq(muse_close(file), 0);
    muse_disconnect(muse);
    rig_stop(&rig);
}
END_TEST

START_TEST(when_all_is_dirty_and_the_driver_is_slow_a_write_waits)
{
    static const char *const faulty[] = {"muse-faulty --register=writes", NULL};
    const char *name = "faulty/x,size=4M,writeback-delay-ms=40";
    struct muse *muse;
    unsigned char *mapped;

    rig_start(&rig, "[server]\nmemory = 512K\n", faulty);
    muse = client_connect();
    mapped = client_map(muse, name, O_RDWR, 2 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED);
    ck_assert_ptr_ne(mapped, MAP_FAILED);
    for (size_t page = 0; page < 512; page++)
        mapped[page * PAGE] = (unsigned char)page;
    ck_assert_uint_eq(rig_stat(&rig, "faults_poisoned"), 0);
    ck_assert_uint_ge(rig_stat(&rig, "pages_evicted"), 512 - 128);
    muse_disconnect(muse);
    rig_stop(&rig);
}
END_TEST

START_TEST(when_all_is_dirty_and_the_driver_never_writes_it_is_sigbus_and_no_hang)
{
    static const char *const faulty[] = {"muse-faulty --register=writes", NULL};
    const char *name = "faulty/x,size=4M,writeback-never";
    struct probe probe = {.signal = 0};
    struct muse_error why;
    struct muse *muse;
    unsigned char *mapped;
    size_t page;

    rig_start(&rig, "[server]\nmemory = 512K\n[deadlines]\nhook_ms = 300\n", faulty);
    muse = client_connect();
    mapped = client_map(muse, name, O_RDWR, 2 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED);
    ck_assert_ptr_ne(mapped, MAP_FAILED);
    for (page = 0; page < 512 && probe.signal == 0; page++)
        probe = probe_write(mapped + page * PAGE, (unsigned char)page);
    ck_assert_int_eq(probe.signal, SIGBUS);
    ck_assert_int_eq(muse_error_at(muse, mapped + (page - 1) * PAGE, &why), 0);
    ck_assert_ptr_nonnull(strstr(why.text, "limit"));
    for (size_t i = 0; i < page - 1; i++)
        ck_assert_uint_eq(mapped[i * PAGE], (unsigned char)i);
    muse_disconnect(muse);
    rig_kill(&rig); /* what is dirty still keeps its object */
}
END_TEST

static uint64_t ask_for_pages(struct raw *raw, uint64_t file_id)
{
    Muse__Wire__Pread message = MUSE__WIRE__PREAD__INIT;
    Muse__Wire__Readable *readable;
    struct frame *frame;
    uint64_t pin;

    message.file_id = file_id;
    message.length = 16 * PAGE;
    frame = raw_answer(raw, FRAME_READABLE, raw_ask(raw, FRAME_PREAD, &message.base));
    readable = muse__wire__readable__unpack(NULL, frame->n_payload, frame->payload);
    ck_assert_ptr_nonnull(readable);
    ck_assert_uint_eq(readable->length, 16 * PAGE);
    ck_assert(readable->has_pin);
    pin = readable->pin;
    muse__wire__readable__free_unpacked(readable, NULL);
    return pin;
}

START_TEST(what_a_client_is_reading_through_its_fd_stays_until_it_says_so_or_dies)
{
    Muse__Wire__ReadDone done = MUSE__WIRE__READ_DONE__INIT;
    uint64_t file_id, nothing = 0;
    struct raw raw;

    rig_start(&rig, bounded, modes[_i]);
    rig_file(&rig, "data", MIB);
    raw_hello(&raw, &rig);
    raw_attach(&raw);
    file_id = raw_open(&raw, "file/data");
    done.pin = ask_for_pages(&raw, file_id);
    ck_assert_int_eq(rig_ctl_status(&rig, "evict file/data"), 0);
    ck_assert_uint_eq(cache_bytes(), 16 * PAGE);
    (void)raw_ask(&raw, FRAME_READ_DONE, &done.base);
    (void)raw_ask(&raw, FRAME_READ_DONE, &done.base); /* a number that is none any more */
    (void)ask_for_pages(&raw, file_id);
    done.pin = ask_for_pages(&raw, file_id);
    (void)raw_ask(&raw, FRAME_READ_DONE, &done.base); /* one of two readers */
    ck_assert_int_eq(rig_ctl_status(&rig, "evict file/data"), 0);
    ck_assert_uint_eq(cache_bytes(), 16 * PAGE);
    raw_done(&raw);
    rig_wait(cache_is_at_most, &rig, &nothing, "the dead client's pages to go");
    rig_stop(&rig);
}
END_TEST

START_TEST(a_client_that_never_says_it_has_read_is_refused_at_some_point)
{
    Muse__Wire__Pread message = MUSE__WIRE__PREAD__INIT;
    struct raw raw;

    rig_start(&rig, bounded, modes[_i]);
    rig_file(&rig, "data", MIB);
    raw_hello(&raw, &rig);
    raw_attach(&raw);
    message.file_id = raw_open(&raw, "file/data");
    message.length = 1;
    for (unsigned i = 0; i < 256; i++)
        (void)raw_answer(&raw, FRAME_READABLE, raw_ask(&raw, FRAME_PREAD, &message.base));
    ck_assert_int_eq(raw_failure(&raw, raw_ask(&raw, FRAME_PREAD, &message.base)), EAGAIN);
    raw_done(&raw);
    rig_stop(&rig);
}
END_TEST

/* ---- in the middle of things ---- */

static void *evict_again_and_again(void *ctx)
{
    (void)ctx;
    while (!atomic_load(&sampler.stop))
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
    atomic_store(&sampler.stop, false);
    ck_assert_int_eq(pthread_create(&evicting, NULL, evict_again_and_again, NULL), 0);
    for (unsigned i = 0; i < 3; i++) {
        readers[i] = (struct reader){.mapped = mapped, .seed = 30 + i};
        ck_assert_int_eq(pthread_create(&readers[i].thread, NULL, read_both_ways, &readers[i]), 0);
    }
    for (unsigned i = 0; i < 20; i++)
        expect_all(mapped, len);
    for (unsigned i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_join(readers[i].thread, NULL), 0);
    atomic_store(&sampler.stop, true);
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
    ck_assert_uint_eq(cache_bytes(), 0);
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
    ck_assert_uint_eq(cache_bytes(), DATA);
    ck_assert_int_eq(rig_ctl_status(&rig, "evict file/nothing"), 1);
    ck_assert_int_eq(rig_ctl_status(&rig, "evict"), 2);
    document = rig_ctl(&rig, "evict file/data");
    ck_assert_uint_eq(sum_of(document, "evicted_pages"), DATA / PAGE);
    json_decref(document);
    ck_assert_uint_eq(cache_bytes(), 0);
    ck_assert_uint_lt(cache_blocks(), MIB);
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
    ck_assert_uint_le(cache_bytes(), limit);
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
    tcase_add_loop_test(tcase, locked_pages_stay, 0, 2);
    tcase_add_loop_test(tcase, private_pages_stay_and_the_others_come_again, 0, 2);
    tcase_add_loop_test(tcase, a_user_over_his_quota_evicts_his_own_pages_only, 0, 2);
    tcase_add_loop_test(tcase, the_limit_on_all_takes_from_who_has_most, 0, 2);
    tcase_add_test(tcase, what_nobody_takes_back_stays_and_a_fault_too_many_says_why);
    tcase_add_test(tcase, four_times_the_limit_is_written_and_read);
    tcase_add_test(tcase, four_times_the_limit_is_pwritten_while_it_is_evicted);
    tcase_add_test(tcase, when_all_is_dirty_and_the_driver_is_slow_a_write_waits);
    tcase_add_test(tcase, when_all_is_dirty_and_the_driver_never_writes_it_is_sigbus_and_no_hang);
    tcase_add_loop_test(
        tcase, what_a_client_is_reading_through_its_fd_stays_until_it_says_so_or_dies, 0, 2);
    tcase_add_loop_test(tcase, a_client_that_never_says_it_has_read_is_refused_at_some_point, 0, 2);
    tcase_add_loop_test(tcase, faults_in_flight_and_eviction_do_not_hurt_each_other, 0, 2);
    tcase_add_loop_test(tcase, a_native_mapping_is_watched_again_before_its_pages_go, 0, 2);
    tcase_add_loop_test(
        tcase, when_the_driver_dies_what_is_there_stays_and_what_was_evicted_is_sigbus, 0, 2);
    tcase_add_loop_test(tcase, musectl_evicts_by_name_and_by_number_and_limits_take_effect, 0, 2);
    tcase_add_loop_test(tcase, touches_are_recorded_for_who_asks_for_it, 0, 2);
    tcase_add_loop_test(tcase, a_hot_set_outlives_a_scan, 0, 2);
    return unit_run("evict", tcase);
}
