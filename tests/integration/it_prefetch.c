/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * muse_prefetch() with a real eventfd: it returns at once, later 1 is added, once, and a touch does not
 * fault any more; whatever becomes of pages, drivers, mappings and clients.
 */
#include <errno.h>
#include <fcntl.h>
#include <muse/muse.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <check.h>

#include "tests/support/client.h"
#include "tests/support/raw.h"
#include "tests/support/unit.h"

#define N_PAGES 64u
#define WAIT_MS 10000

static const char *const faulty[] = {"muse-faulty --register=writes", NULL};

static struct rig rig;
static struct muse *muse;
static int told; /* the eventfd; blocking, as it comes */

static void begin(const char *config)
{
    rig_start(&rig, config, faulty);
    muse = client_connect();
    told = eventfd(0, EFD_CLOEXEC);
    ck_assert_int_ge(told, 0);
}

static void end(void)
{
    (void)close(told);
    muse_disconnect(muse);
    rig_stop(&rig);
}

static bool is_told(int wait_ms)
{
    struct pollfd pollfd = {.fd = told, .events = POLLIN};

    return poll(&pollfd, 1, wait_ms) == 1;
}

/* Exactly once. */
static void expect_told(void)
{
    uint64_t n = 0;

    ck_assert_msg(is_told(WAIT_MS), "nothing was added to the eventfd");
    ck_assert_int_eq(read(told, &n, sizeof(n)), sizeof(n));
    ck_assert_uint_eq(n, 1);
    ck_assert(!is_told(20));
}

static int prefetch(const void *addr, size_t len, int fd)
{
    return muse_prefetch(muse, addr, len, fd) < 0 ? errno : 0;
}

/* Every page of a mapping from offset 0 but @but, without a fault. */
static void expect_resident(const void *mapped, size_t n_pages, size_t but)
{
    const uint64_t n_faults = rig_stat(&rig, "faults");

    for (size_t page = 0; page < n_pages; page++) {
        if (page != but)
            ck_assert_uint_eq(faulty_word(mapped, page, 5), page * 512 + 5);
    }
    ck_assert_uint_eq(rig_stat(&rig, "faults"), n_faults);
}

#define NONE SIZE_MAX

START_TEST(the_eventfd_says_when_a_touch_does_not_fault_any_more)
{
    begin(NULL);
    const char *mapped = client_map_ro(muse, "faulty/x,fault-delay-ms=400", N_PAGES);

    ck_assert_int_eq(prefetch(mapped, N_PAGES * PAGE, told), 0);
    ck_assert(!is_told(0)); /* the driver still thinks */
    expect_told();
    expect_resident(mapped, N_PAGES, NONE);
    /* and again: they are there already */
    ck_assert_int_eq(prefetch(mapped, N_PAGES * PAGE, told), 0);
    expect_told();
    end();
}
END_TEST

START_TEST(a_writable_mapping_is_prefetched_and_its_writes_are_seen)
{
    begin(NULL);
    unsigned char *mapped =
        client_map(muse, "faulty/x", O_RDWR, N_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);

    ck_assert_ptr_ne(mapped, MAP_FAILED);
    ck_assert_int_eq(prefetch(mapped, N_PAGES * PAGE, told), 0);
    expect_told();
    expect_resident(mapped, N_PAGES, NONE);
    mapped[7 * PAGE] = 9;
    ck_assert_int_eq(muse_msync(muse, mapped, N_PAGES * PAGE, MS_SYNC), 0);
    ck_assert_uint_eq(rig_counter("writeback_pages"), 1);
    end();
}
END_TEST

START_TEST(a_part_of_a_large_mapping_is_prefetched_chunk_by_chunk)
{
    const size_t n_pages = 40ul << 20 >> 12;

    begin(NULL);
    const char *mapped = client_map_ro(muse, "faulty/x,size=48M", 48ul << 20 >> 12);

    ck_assert_int_eq(prefetch(mapped, n_pages * PAGE, told), 0);
    expect_told();
    expect_resident(mapped, n_pages, NONE);
    end();
}
END_TEST

START_TEST(a_page_that_fails_does_not_keep_the_others_from_coming)
{
    begin(NULL);
    const char *mapped = client_map_ro(muse, "faulty/x,fault-errno=5,page=3", N_PAGES);
    struct muse_error error;

    ck_assert_int_eq(prefetch(mapped, N_PAGES * PAGE, told), 0);
    expect_told();
    expect_resident(mapped, N_PAGES, 3);
    ck_assert_int_eq(probe_read(mapped + 3 * PAGE).signal, SIGBUS);
    ck_assert_int_eq(muse_error_at(muse, mapped + 3 * PAGE, &error), 0);
    ck_assert_int_eq(error.error, EIO);
    end();
}
END_TEST

START_TEST(when_all_pages_fail_it_is_over_too)
{
    begin(NULL);
    const char *mapped = client_map_ro(muse, "faulty/x,fault-errno=5,size=8M", 2048);

    ck_assert_int_eq(prefetch(mapped, 2048 * PAGE, told), 0);
    expect_told();
    ck_assert_uint_le(rig_counter("fault"), 1100); /* it gave up after some */
    end();
}
END_TEST

START_TEST(a_driver_that_never_answers_is_waited_for_once)
{
    begin("[deadlines]\nhook_ms = 300\n");
    const char *mapped = client_map_ro(muse, "faulty/x,fault-never,size=8M", 2048);

    ck_assert_int_eq(prefetch(mapped, 2048 * PAGE, told), 0);
    expect_told();
    ck_assert_int_eq(probe_read(mapped).signal, SIGBUS);
    rig.skip_driver_fds = true; /* it owes that answer for ever */
    end();
}
END_TEST

START_TEST(one_slow_mapping_does_not_hold_the_others_up)
{
    begin(NULL);
    struct muse_file *slow = client_open(muse, "faulty/slow,fault-never", O_RDONLY);
    struct muse_file *quick = client_open(muse, "faulty/quick", O_RDONLY);
    char *range = muse_mmap(muse, NULL, 12 * N_PAGES * PAGE, PROT_READ, MAP_SHARED, slow, 0);

    ck_assert_ptr_ne(range, MAP_FAILED);
    /* with the first pages of one object each: no two merge */
    for (size_t i = 1; i < 12; i++) {
        ck_assert_ptr_ne(muse_mmap(muse, range + i * N_PAGES * PAGE, N_PAGES * PAGE, PROT_READ,
                                   MAP_SHARED | MAP_FIXED, quick, 0),
                         MAP_FAILED);
    }
    ck_assert_int_eq(prefetch(range, 12 * N_PAGES * PAGE, told), 0);
    for (size_t i = 1; i < 12; i++) {
        for (size_t page = 0; page < N_PAGES; page++)
            ck_assert_uint_eq(faulty_word(range + i * N_PAGES * PAGE, page, 1), page * 512 + 1);
    }
    ck_assert(!is_told(0));
    ck_assert_int_eq(kill(rig_driver_pid(&rig, "faulty"), SIGKILL), 0);
    expect_told();
    for (size_t i = 1; i < 12; i++)
        expect_resident(range + i * N_PAGES * PAGE, N_PAGES, NONE);
    ck_assert_int_eq(probe_read(range).signal, SIGBUS);
    ck_assert_int_eq(muse_close(slow), 0);
    ck_assert_int_eq(muse_close(quick), 0);
    ck_assert_int_ne(wait_for_driver(&rig, "faulty", 0), 0);
    end();
}
END_TEST

START_TEST(holes_are_enomem_and_the_rest_is_prefetched)
{
    begin(NULL);
    char *mapped = client_map_ro(muse, "faulty/x", N_PAGES);

    ck_assert_int_eq(muse_munmap(muse, mapped + 8 * PAGE, 4 * PAGE), 0);
    ck_assert_int_eq(prefetch(mapped, N_PAGES * PAGE, told), ENOMEM);
    ck_assert_str_ne(muse_last_error_text(), "");
    expect_told();
    expect_resident(mapped, 8, NONE);
    ck_assert_int_eq(muse_munmap(muse, mapped, N_PAGES * PAGE), 0);
    ck_assert_int_eq(prefetch(mapped, N_PAGES * PAGE, told), ENOMEM);
    expect_told();
    end();
}
END_TEST

START_TEST(mistakes_are_errors_and_nothing_is_added)
{
    begin(NULL);
    char *mapped = client_map_ro(muse, "faulty/x", N_PAGES);
    int pipe_fds[2];

    ck_assert_int_eq(pipe2(pipe_fds, O_CLOEXEC), 0);
    ck_assert_int_eq(prefetch(mapped + 1, PAGE, told), EINVAL);
    ck_assert_int_eq(prefetch(mapped, SIZE_MAX - PAGE, told), EINVAL);
    ck_assert_int_eq(prefetch(mapped, PAGE, -1), EBADF);
    ck_assert_int_eq(prefetch(mapped, PAGE, 9999), EBADF);
    ck_assert_int_eq(prefetch(mapped, PAGE, pipe_fds[1]), EBADF);
    ck_assert(!is_told(20));
    ck_assert_int_eq(prefetch(mapped, 0, told), 0); /* nothing to wait for */
    expect_told();
    (void)close(pipe_fds[0]);
    (void)close(pipe_fds[1]);
    end();
}
END_TEST

START_TEST(unmapping_meanwhile_does_no_harm)
{
    begin(NULL);
    char *mapped = client_map_ro(muse, "faulty/x,fault-delay-ms=300", N_PAGES);

    ck_assert_int_eq(prefetch(mapped, N_PAGES * PAGE, told), 0);
    ck_assert_int_eq(muse_munmap(muse, mapped, N_PAGES / 2 * PAGE), 0);
    expect_told();
    ck_assert_int_eq(probe_read(mapped).signal, SIGSEGV);
    ck_assert_uint_eq(faulty_word(mapped, N_PAGES - 1, 0), (N_PAGES - 1) * 512);
    end();
}
END_TEST

START_TEST(a_full_counter_does_not_block_the_server)
{
    const uint64_t full = UINT64_MAX - 1;
    uint64_t n = 0;

    begin(NULL);
    const char *mapped = client_map_ro(muse, "faulty/x", N_PAGES);

    ck_assert_int_eq(write(told, &full, sizeof(full)), sizeof(full));
    for (unsigned i = 0; i < 3; i++)
        ck_assert_int_eq(prefetch(mapped, N_PAGES * PAGE, told), 0);
    ck_assert_uint_eq(faulty_word(client_map_ro(muse, "faulty/y", 1), 0, 1), 1);
    ck_assert_int_eq(read(told, &n, sizeof(n)), sizeof(n));
    ck_assert_uint_ge(n, full);
    end();
}
END_TEST

START_TEST(there_are_only_so_many_at_a_time)
{
    unsigned n = 0;
    int r;

    begin(NULL);
    const char *mapped = client_map_ro(muse, "faulty/x,fault-never", N_PAGES);

    while ((r = prefetch(mapped, PAGE, told)) == 0 && n < 1000)
        n++;
    ck_assert_int_eq(r, EAGAIN);
    ck_assert_uint_eq(n, 64);
    ck_assert(!is_told(0));
    kill_driver(&rig, "faulty"); /* else all wait for long */
    end();
}
END_TEST

/* ---- clients that go ---- */

static void prefetch_and_wait(void *ctx)
{
    const char *name = ctx;

    muse = client_connect();
    ck_assert_int_eq(prefetch(client_map_ro(muse, name, N_PAGES), N_PAGES * PAGE, told), 0);
    for (;;)
        (void)pause();
}

static bool has_asked(const struct rig *of, void *arg)
{
    (void)arg;
    return rig_stat(of, "runs_fill") > 0;
}

START_TEST(a_client_that_dies_is_not_told_and_leaves_nothing)
{
    static char name[] = "faulty/x,fault-delay-ms=500";

    begin(NULL);
    pid_t pid = client_fork(prefetch_and_wait, name);

    rig_wait(has_asked, &rig, NULL, "the driver to be asked");
    client_kill(pid);
    ck_assert(!is_told(800)); /* the driver has answered by then */
    end();                    /* the server has no fd more than before */
}
END_TEST

START_TEST(a_prefetch_without_an_eventfd_ends_the_connection)
{
    Muse__Wire__Prefetch message = MUSE__WIRE__PREFETCH__INIT;
    uint8_t payload[64];
    struct raw raw;

    begin(NULL);
    for (unsigned n_fds = 0; n_fds <= 2; n_fds += 2) {
        raw_hello(&raw, &rig);
        raw_attach(&raw);
        message.addr = (uintptr_t)raw.arena;
        message.length = PAGE;
        (void)raw_frame(raw.chan.fd, FRAME_PREFETCH, payload,
                        muse__wire__prefetch__pack(&message, payload), told, n_fds, n_fds);
        ck_assert(raw_is_cut_off(raw.chan.fd));
        raw_done(&raw);
    }
    ck_assert(!is_told(0));
    end();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("prefetch");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, the_eventfd_says_when_a_touch_does_not_fault_any_more);
    tcase_add_test(tcase, a_writable_mapping_is_prefetched_and_its_writes_are_seen);
    tcase_add_test(tcase, a_part_of_a_large_mapping_is_prefetched_chunk_by_chunk);
    tcase_add_test(tcase, a_page_that_fails_does_not_keep_the_others_from_coming);
    tcase_add_test(tcase, when_all_pages_fail_it_is_over_too);
    tcase_add_test(tcase, a_driver_that_never_answers_is_waited_for_once);
    tcase_add_test(tcase, one_slow_mapping_does_not_hold_the_others_up);
    tcase_add_test(tcase, holes_are_enomem_and_the_rest_is_prefetched);
    tcase_add_test(tcase, mistakes_are_errors_and_nothing_is_added);
    tcase_add_test(tcase, unmapping_meanwhile_does_no_harm);
    tcase_add_test(tcase, a_full_counter_does_not_block_the_server);
    tcase_add_test(tcase, there_are_only_so_many_at_a_time);
    tcase_add_test(tcase, a_client_that_dies_is_not_told_and_leaves_nothing);
    tcase_add_test(tcase, a_prefetch_without_an_eventfd_ends_the_connection);
    return unit_run("prefetch", tcase);
}
