/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Page caches with a bound: whose pages stay, and what becomes of those that were written. Four times
 * the limit is written, too, and every byte is compared.
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
#include "tests/support/cache.h"
#include "tests/support/raw.h"

#define LIMIT (8 * MIB)
#define DATA  (4 * LIMIT)

static const char *const extents[] = {"muse-file %s", NULL};
static const char *const fill[] = {"muse-file --mode fill %s", NULL};
static const char *const writable[] = {"muse-file --writable %s", NULL};
static const char *const *const modes[] = {extents, fill};

static const char bounded[] = "[server]\nmemory = 8M\n";

static struct rig rig;

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

/* Two files fill most of the cache; of the second it was said that it is not needed. */
START_TEST(what_madvise_calls_cold_goes_before_everything_else)
{
    static const int advices[] = {MADV_COLD, MADV_PAGEOUT};
    const size_t len = 3 * MIB;
    struct muse *muse;
    unsigned char *kept, *cold;

    rig_start(&rig, bounded, extents);
    rig_file(&rig, "kept", len);
    rig_file(&rig, "cold", len);
    rig_file(&rig, "more", len);
    muse = client_connect();
    kept = map_file(muse, "file/kept", len);
    cold = map_file(muse, "file/cold", len);
    expect_all(kept, len);
    expect_all(cold, len);
    ck_assert_int_eq(muse_madvise(muse, cold, len, advices[_i]), 0);
    expect_all(map_file(muse, "file/more", len), len);
    ck_assert_uint_eq(count_resident(kept, len), len / PAGE);
    ck_assert_uint_lt(count_resident(cold, len), len / PAGE);
    expect_all(cold, len);
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
    sampler_start(&rig);
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
    sampler_start(&rig);
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
    ck_assert_uint_eq(cache_bytes(&rig), 16 * PAGE);
    (void)raw_ask(&raw, FRAME_READ_DONE, &done.base);
    (void)raw_ask(&raw, FRAME_READ_DONE, &done.base); /* a number that is none any more */
    (void)ask_for_pages(&raw, file_id);
    done.pin = ask_for_pages(&raw, file_id);
    (void)raw_ask(&raw, FRAME_READ_DONE, &done.base); /* one of two readers */
    ck_assert_int_eq(rig_ctl_status(&rig, "evict file/data"), 0);
    ck_assert_uint_eq(cache_bytes(&rig), 16 * PAGE);
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

int main(void)
{
    TCase *tcase = tcase_create("evict_keep");

    tcase_set_timeout(tcase, 100);
    tcase_add_loop_test(tcase, locked_pages_stay, 0, 2);
    tcase_add_loop_test(tcase, what_madvise_calls_cold_goes_before_everything_else, 0, 2);
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
    return unit_run("evict_keep", tcase);
}
