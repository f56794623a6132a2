/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Faults: whatever the order in which pages are touched, by however many threads, from user or
 * kernel mode, each byte is the object's or the access is SIGBUS with a reason. Never zeros, never
 * a hang.
 */
#include <errno.h>
#include <muse/muse.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

#include <check.h>

#include "tests/support/client.h"
#include "tests/support/unit.h"

#define FILE_BYTES ((3u << 20) + 1234u)
#define FILE_PAGES (FILE_BYTES / PAGE + 1)
#define N_THREADS  8u

static const char *const faulty[] = {"muse-faulty", NULL};
static const char *const both_modes[] = {"muse-file %s", "muse-file --name filled --mode fill %s",
                                         NULL};

static struct rig rig;
static struct muse *muse;

static void begin(const char *config, const char *const *drivers)
{
    rig_start(&rig, config, drivers);
    muse = client_connect();
}

static void end(void)
{
    muse_disconnect(muse);
    rig_stop(&rig);
}

static void expect_error(const void *addr, int error, const char *driver, uint64_t offset)
{
    struct muse_error why;

    ck_assert_int_eq(muse_error_at(muse, addr, &why), 0);
    ck_assert_msg(why.error == error, "%s instead of %s: %s", strerrorname_np(why.error),
                  strerrorname_np(error), why.text);
    ck_assert_str_eq(why.driver, driver);
    ck_assert_uint_eq(why.offset, offset);
    ck_assert_str_ne(why.hook, "");
    ck_assert_str_ne(why.text, "");
}

static void expect_sigbus(const void *addr)
{
    const struct probe probe = probe_read(addr);

    ck_assert_int_eq(probe.signal, SIGBUS);
    ck_assert_int_eq(probe.code, BUS_ADRERR);
    ck_assert_ptr_eq(probe.addr, addr);
}

/* ---- orders ---- */

typedef size_t order_fn(size_t i, size_t n_pages, uint64_t draw);

static size_t forward(size_t i, size_t n_pages, uint64_t draw)
{
    (void)n_pages;
    (void)draw;
    return i;
}

static size_t backward(size_t i, size_t n_pages, uint64_t draw)
{
    (void)draw;
    return n_pages - 1 - i;
}

static size_t strided(size_t i, size_t n_pages, uint64_t draw)
{
    (void)draw;
    return i * 37 % n_pages;
}

static size_t at_random(size_t i, size_t n_pages, uint64_t draw)
{
    (void)i;
    return draw % n_pages;
}

static void read_in_order(const char *name, order_fn *order, uint64_t *seed)
{
    const char *mapped = client_map_ro(muse, name, FILE_PAGES);

    for (size_t i = 0; i < FILE_PAGES; i++) {
        const size_t page = order(i, FILE_PAGES, unit_random(seed));
        const size_t left = FILE_BYTES - page * PAGE;

        ck_assert_msg(file_is(mapped + page * PAGE, page * PAGE, left < PAGE ? left : PAGE),
                      "%s: page %zu", name, page);
    }
    ck_assert_msg(file_is(mapped, 0, FILE_BYTES), "%s: afterwards", name);
    ck_assert_int_eq(muse_munmap(muse, (void *)(uintptr_t)mapped, FILE_PAGES * PAGE), 0);
}

START_TEST(every_byte_of_a_file_is_right_in_whatever_order_it_is_read)
{
    static order_fn *const orders[] = {forward, backward, strided, at_random};
    static const char *const names[] = {"file/data", "filled/data"};
    uint64_t seed = unit_seed();

    begin(NULL, both_modes);
    rig_file(&rig, "data", FILE_BYTES);
    for (size_t i = 0; i < 2; i++) {
        for (size_t k = 0; k < 4; k++)
            read_in_order(names[i], orders[k], &seed);
    }
    end();
}
END_TEST

START_TEST(advice_changes_what_is_read_ahead_but_not_the_bytes)
{
    static const int advices[] = {MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_NORMAL};

    begin(NULL, both_modes);
    rig_file(&rig, "data", FILE_BYTES);
    for (size_t i = 0; i < 4; i++) {
        char *mapped = client_map_ro(muse, i % 2 ? "filled/data" : "file/data", FILE_PAGES);

        ck_assert_int_eq(muse_madvise(muse, mapped, FILE_PAGES * PAGE, advices[i]), 0);
        ck_assert(file_is(mapped, 0, FILE_BYTES));
        ck_assert_int_eq(muse_munmap(muse, mapped, FILE_PAGES * PAGE), 0);
    }
    end();
}
END_TEST

START_TEST(the_tail_of_the_last_page_is_zero_and_beyond_it_is_sigbus)
{
    static const char *const names[] = {"file/data", "filled/data"};

    begin(NULL, both_modes);
    rig_file(&rig, "data", FILE_BYTES);
    for (size_t i = 0; i < 2; i++) {
        char *mapped = client_map_ro(muse, names[i], FILE_PAGES + 4);

        for (size_t at = FILE_BYTES; at < FILE_PAGES * PAGE; at++)
            ck_assert_int_eq(mapped[at], 0);
        ck_assert(file_is(mapped, 0, FILE_BYTES));
        expect_sigbus(mapped + FILE_PAGES * PAGE);
        expect_sigbus(mapped + (FILE_PAGES + 3) * PAGE + 17);
        expect_error(mapped + FILE_PAGES * PAGE, ENXIO, i ? "filled" : "file", FILE_PAGES * PAGE);
        ck_assert_int_eq(muse_munmap(muse, mapped, (FILE_PAGES + 4) * PAGE), 0);
    }
    end();
}
END_TEST

START_TEST(an_offset_shows_the_later_part_of_the_object)
{
    begin(NULL, both_modes);
    rig_file(&rig, "data", FILE_BYTES);
    char *mapped = client_map_at(muse, "file/data", O_RDONLY,
                                 (struct client_span){NULL, 5 * PAGE, (off_t)(100 * PAGE)},
                                 PROT_READ, MAP_SHARED);

    ck_assert_ptr_ne(mapped, MAP_FAILED);
    ck_assert(file_is(mapped, 100 * PAGE, 5 * PAGE));
    ck_assert_int_eq(muse_munmap(muse, mapped, 5 * PAGE), 0);
    end();
}
END_TEST

/* ---- many at once ---- */

struct crowd {
    const uint64_t *mapped[2];
    pthread_barrier_t barrier;
    size_t n_pages;
    atomic_uint n_wrong;
    atomic_uint next;
};

static void *read_all(void *arg)
{
    struct crowd *crowd = arg;
    const uint64_t *mapped = crowd->mapped[atomic_fetch_add(&crowd->next, 1) % 2];

    (void)pthread_barrier_wait(&crowd->barrier);
    for (size_t page = 0; page < crowd->n_pages; page++) {
        for (size_t i = 0; i < 512; i += 73) {
            if (faulty_word(mapped, page, i) != page * 512 + i)
                (void)atomic_fetch_add(&crowd->n_wrong, 1);
        }
    }
    return NULL;
}

static void run_crowd(struct crowd *crowd)
{
    pthread_t threads[N_THREADS];

    (void)pthread_barrier_init(&crowd->barrier, NULL, N_THREADS);
    for (unsigned i = 0; i < N_THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, read_all, crowd), 0);
    for (unsigned i = 0; i < N_THREADS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    (void)pthread_barrier_destroy(&crowd->barrier);
    ck_assert_uint_eq(atomic_load(&crowd->n_wrong), 0);
}

START_TEST(threads_and_clients_that_touch_one_page_ask_the_driver_once)
{
    struct crowd crowd = {.n_pages = 64};
    struct muse *other;

    begin(NULL, faulty);
    other = client_connect();
    crowd.mapped[0] = client_map_ro(muse, "faulty/x,size=256K,fault-delay-ms=30", 64);
    crowd.mapped[1] = client_map_ro(other, "faulty/x,size=256K,fault-delay-ms=30", 64);
    run_crowd(&crowd);
    ck_assert_uint_eq(rig_counter("fault_pages"), 64);
    ck_assert_uint_gt(rig_stat(&rig, "faults_joined"), 0);
    muse_disconnect(other);
    end();
}
END_TEST

/* ---- drivers that do not give what was asked ---- */

START_TEST(a_miss_is_not_counted_as_a_hit)
{
    static const char *const drivers[] = {"muse-file %s", NULL};
    struct muse_file *file;
    char *first, *second;

    begin(NULL, drivers);
    rig_file(&rig, "data", PAGE);
    first = client_map_ro(muse, "file/data", 1); /* extents: read within the fault */
    ck_assert(file_is(first, 0, PAGE));
    ck_assert_uint_eq(rig_stat(&rig, "faults"), 1);
    ck_assert_uint_eq(rig_stat(&rig, "faults_miss"), 1);
    ck_assert_uint_eq(rig_stat(&rig, "faults_hit"), 0);
    rig_file(&rig, "two", 64 * PAGE); /* never all valid: it does not fault natively */
    file = client_open(muse, "file/two", O_RDONLY);
    first = muse_mmap(muse, NULL, 8 * PAGE, PROT_READ, MAP_SHARED, file, 0);
    ck_assert_ptr_ne(first, MAP_FAILED);
    ck_assert_int_eq(muse_madvise(muse, first, 8 * PAGE, MADV_RANDOM), 0);
    ck_assert(file_is(first, 0, PAGE));
    ck_assert_uint_eq(rig_stat(&rig, "faults_miss"), 2);
    second = muse_mmap(muse, NULL, 8 * PAGE, PROT_READ, MAP_SHARED, file, 0);
    ck_assert_ptr_ne(second, MAP_FAILED);
    ck_assert(file_is(second, 0, PAGE));
    ck_assert_uint_eq(rig_stat(&rig, "faults_miss"), 2);
    ck_assert_uint_eq(rig_stat(&rig, "faults_hit"), 1);
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

START_TEST(one_failing_page_of_a_window_is_sigbus_and_its_neighbours_are_fine)
{
    begin(NULL, faulty);
    const char *mapped = client_map_ro(muse, "faulty/x,fault-errno=28,page=9", 64);

    for (size_t round = 0; round < 2; round++) {
        for (size_t page = 0; page < 64; page++) {
            if (page == 9)
                expect_sigbus(mapped + page * PAGE + 8);
            else
                ck_assert_uint_eq(faulty_word(mapped, page, 3), page * 512 + 3);
        }
    }
    expect_error(mapped + 9 * PAGE + 8, ENOSPC, "faulty", 9 * PAGE + 8);
    ck_assert_int_eq(muse_munmap(muse, (void *)(uintptr_t)mapped, 64 * PAGE), 0);
    end();
}
END_TEST

START_TEST(a_driver_that_fails_all_faults_gives_its_errno_as_the_reason)
{
    begin(NULL, faulty);
    const char *mapped = client_map_ro(muse, "faulty/x,fault-errno=5", 16);

    for (size_t page = 0; page < 16; page += 5) {
        expect_sigbus(mapped + page * PAGE);
        expect_error(mapped + page * PAGE, EIO, "faulty", page * PAGE);
    }
    end();
}
END_TEST

START_TEST(a_driver_that_supplies_in_parts_backwards_or_late_gives_the_right_bytes)
{
    static const char *const names[] = {"faulty/a,fault-partial",    "faulty/b,fault-single",
                                        "faulty/c,fault-delay-ms=5", "faulty/d,fault-sleep-ms=2",
                                        "faulty/e,extents",          "faulty/f,action=extents"};

    begin(NULL, faulty);
    for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++) {
        const char *mapped = client_map_ro(muse, names[k], 128);

        for (size_t i = 0; i < 128 * 512; i++) {
            if (faulty_word(mapped, i / 512, i % 512) != i)
                ck_abort_msg("%s: word %zu", names[k], i);
        }
        ck_assert_int_eq(muse_munmap(muse, (void *)(uintptr_t)mapped, 128 * PAGE), 0);
    }
    end();
}
END_TEST

START_TEST(a_driver_that_supplies_nothing_gives_sigbus_not_zeros)
{
    struct muse_error why;

    begin(NULL, faulty);
    const char *mapped = client_map_ro(muse, "faulty/x,fault-nothing", 4);

    expect_sigbus(mapped + PAGE);
    ck_assert_int_eq(muse_error_at(muse, mapped + PAGE, &why), 0);
    ck_assert_int_ne(why.error, 0);
    ck_assert_str_eq(why.driver, "faulty");
    end();
}
END_TEST

START_TEST(a_fault_that_is_never_answered_is_sigbus_after_the_deadline)
{
    begin("[deadlines]\nhook_ms = 300\n", faulty);
    const char *mapped = client_map_ro(muse, "faulty/x,fault-never", 4);

    rig.skip_driver_fds = true;
    expect_sigbus(mapped + 2 * PAGE);
    expect_error(mapped + 2 * PAGE, ETIMEDOUT, "faulty", 2 * PAGE);
    end();
}
END_TEST

struct toucher {
    const char *addr;
    pthread_t thread;
    struct probe probe;
};

static void *touch_once(void *arg)
{
    struct toucher *toucher = arg;

    toucher->probe = probe_read(toucher->addr);
    return NULL;
}

static void start_toucher(struct toucher *toucher, const char *addr)
{
    toucher->addr = addr;
    ck_assert_int_eq(pthread_create(&toucher->thread, NULL, touch_once, toucher), 0);
}

static void expect_toucher(struct toucher *toucher, int signal)
{
    ck_assert_int_eq(pthread_join(toucher->thread, NULL), 0);
    ck_assert_int_eq(toucher->probe.signal, signal);
}

/* The server keeps the object until the run in flight has ended, so the deadline is short. */
START_TEST(a_mapping_that_goes_while_its_fault_is_pending_wakes_the_thread)
{
    struct toucher toucher;

    begin("[deadlines]\nhook_ms = 2000\n", faulty);
    char *mapped = client_map_ro(muse, "faulty/x,fault-never", 4);

    rig.skip_driver_fds = true;
    start_toucher(&toucher, mapped + PAGE);
    wait_for_counter("fault", 1);
    ck_assert_int_eq(muse_munmap(muse, mapped, 4 * PAGE), 0);
    expect_toucher(&toucher, SIGSEGV);
    ck_assert_int_eq(probe_read(mapped + PAGE).signal, SIGSEGV);
    end();
}
END_TEST

/* ---- signals ---- */

static volatile sig_atomic_t n_alarms;

static void on_alarm(int number)
{
    (void)number;
    n_alarms++;
}

static void set_storm(long interval_us)
{
    const struct itimerval timer = {.it_interval = {.tv_usec = interval_us},
                                    .it_value = {.tv_usec = interval_us}};
    const struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};

    ck_assert_int_eq(sigaction(SIGALRM, &action, NULL), 0);
    ck_assert_int_eq(setitimer(ITIMER_REAL, &timer, NULL), 0);
}

/* One fault waits in one place, however often it is interrupted. */
static void expect_few_requests(void)
{
    json_t *stats = rig_ctl(&rig, "stats");
    json_t *users = json_object_get(stats, "users");
    json_t *peak = json_object_get(json_array_get(users, 0), "peak");

    ck_assert_uint_eq(json_array_size(users), 1);
    ck_assert_int_ge(json_integer_value(json_object_get(peak, "requests")), 1);
    ck_assert_int_le(json_integer_value(json_object_get(peak, "requests")), 4);
    json_decref(stats);
}

START_TEST(a_storm_of_signals_during_slow_faults_breaks_nothing)
{
    begin(NULL, faulty);
    const char *mapped = client_map_ro(muse, "faulty/x,fault-partial,fault-delay-ms=150", 64);

    set_storm(1000);
    for (size_t page = 0; page < 64; page += 21)
        ck_assert_uint_eq(faulty_word(mapped, page, 5), page * 512 + 5);
    ck_assert_int_eq(muse_munmap(muse, (void *)(uintptr_t)mapped, 64 * PAGE), 0);
    mapped = client_map_ro(muse, "faulty/y,prepare-delay-ms=100,complete-delay-ms=100", 2);
    ck_assert_uint_eq(faulty_word(mapped, 1, 5), 512 + 5);
    set_storm(0);
    ck_assert_int_gt(n_alarms, 0);
    expect_few_requests();
    end();
}
END_TEST

/* ---- the kernel touches for us ---- */

START_TEST(system_calls_read_from_mappings_whose_pages_are_not_there)
{
    unsigned char bytes[PAGE];
    int pipe_fds[2];

    begin(NULL, both_modes);
    rig_file(&rig, "data", FILE_BYTES);
    const char *mapped = client_map_ro(muse, "filled/data", FILE_PAGES);

    ck_assert_int_eq(pipe(pipe_fds), 0);
    for (size_t page = 3; page < FILE_PAGES - 1; page += 97) {
        ck_assert_int_eq(write(pipe_fds[1], mapped + page * PAGE, PAGE), PAGE);
        ck_assert_int_eq(read(pipe_fds[0], bytes, PAGE), PAGE);
        ck_assert(file_is(bytes, page * PAGE, PAGE));
    }
    (void)close(pipe_fds[0]);
    (void)close(pipe_fds[1]);
    end();
}
END_TEST

START_TEST(a_system_call_on_a_failing_page_is_efault_or_short)
{
    int pipe_fds[2];

    begin(NULL, faulty);
    const char *mapped = client_map_ro(muse, "faulty/x,fault-errno=5,page=1", 4);

    ck_assert_int_eq(pipe(pipe_fds), 0);
    ck_assert_int_eq(write(pipe_fds[1], mapped + PAGE, 100), -1);
    ck_assert_int_eq(errno, EFAULT);
    ck_assert_int_eq(write(pipe_fds[1], mapped, 3 * PAGE), PAGE);
    ck_assert_int_eq(muse_copy_from(muse, (char[8]){0}, mapped + PAGE, 8), -1);
    ck_assert_int_eq(errno, EIO);
    (void)close(pipe_fds[0]);
    (void)close(pipe_fds[1]);
    end();
}
END_TEST

START_TEST(a_system_call_writes_into_a_shared_mapping)
{
    static const char *const writable[] = {"muse-file --writable %s", NULL};
    const char text[] = "written by the kernel";
    int pipe_fds[2];

    begin(NULL, writable);
    rig_file(&rig, "data", FILE_BYTES);
    char *mapped = client_map(muse, "file/data", O_RDWR, FILE_PAGES * PAGE, PROT_READ | PROT_WRITE,
                              MAP_SHARED);
    char *seen = client_map_ro(muse, "file/data", FILE_PAGES);

    ck_assert_ptr_ne(mapped, MAP_FAILED);
    ck_assert_int_eq(pipe(pipe_fds), 0);
    ck_assert_int_eq(write(pipe_fds[1], text, sizeof(text)), sizeof(text));
    ck_assert_int_eq(read(pipe_fds[0], mapped + 50 * PAGE - 5, sizeof(text)), sizeof(text));
    ck_assert_mem_eq(seen + 50 * PAGE - 5, text, sizeof(text));
    ck_assert(file_is(seen, 0, 50 * PAGE - 5));
    ck_assert(file_is(seen + 50 * PAGE - 5 + sizeof(text), 50 * PAGE - 5 + sizeof(text),
                      FILE_BYTES - 50 * PAGE + 5 - sizeof(text)));
    (void)close(pipe_fds[0]);
    (void)close(pipe_fds[1]);
    end();
}
END_TEST

static void touch_cut_file(char *mapped, size_t page)
{
    char path[160];

    (void)snprintf(path, sizeof(path), "%s/f", rig.data);
    ck_assert_int_eq(truncate(path, PAGE), 0); /* nobody has told the driver */
    expect_sigbus(mapped + page * PAGE);
    rig_file(&rig, "f", FILE_BYTES);
    expect_sigbus(mapped + page * PAGE);
}

START_TEST(a_failed_page_stays_so_until_it_is_dropped_or_comes_for_another_mapping)
{
    static const char *const names[] = {"file/f", "filled/f"};

    begin(NULL, both_modes);
    rig_file(&rig, "f", FILE_BYTES);
    char *mapped = client_map_ro(muse, names[_i], FILE_PAGES);
    char *other = client_map_ro(muse, names[_i], FILE_PAGES);

    ck_assert_int_eq(muse_madvise(muse, mapped, FILE_PAGES * PAGE, MADV_RANDOM), 0);
    ck_assert_int_eq(muse_madvise(muse, other, FILE_PAGES * PAGE, MADV_RANDOM), 0);
    touch_cut_file(mapped, 5);
    ck_assert_int_eq(muse_madvise(muse, mapped + 5 * PAGE, PAGE, MADV_DONTNEED), 0);
    ck_assert(file_is(mapped + 5 * PAGE, 5 * PAGE, PAGE));
    touch_cut_file(mapped, 9);
    ck_assert(file_is(other + 9 * PAGE, 9 * PAGE, PAGE));
    ck_assert(file_is(mapped + 9 * PAGE, 9 * PAGE, PAGE));
    end();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("faults");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, every_byte_of_a_file_is_right_in_whatever_order_it_is_read);
    tcase_add_test(tcase, advice_changes_what_is_read_ahead_but_not_the_bytes);
    tcase_add_test(tcase, the_tail_of_the_last_page_is_zero_and_beyond_it_is_sigbus);
    tcase_add_test(tcase, an_offset_shows_the_later_part_of_the_object);
    tcase_add_test(tcase, threads_and_clients_that_touch_one_page_ask_the_driver_once);
    tcase_add_test(tcase, a_miss_is_not_counted_as_a_hit);
    tcase_add_test(tcase, one_failing_page_of_a_window_is_sigbus_and_its_neighbours_are_fine);
    tcase_add_test(tcase, a_driver_that_fails_all_faults_gives_its_errno_as_the_reason);
    tcase_add_test(tcase, a_driver_that_supplies_in_parts_backwards_or_late_gives_the_right_bytes);
    tcase_add_test(tcase, a_driver_that_supplies_nothing_gives_sigbus_not_zeros);
    tcase_add_test(tcase, a_fault_that_is_never_answered_is_sigbus_after_the_deadline);
    tcase_add_test(tcase, a_mapping_that_goes_while_its_fault_is_pending_wakes_the_thread);
    tcase_add_test(tcase, a_storm_of_signals_during_slow_faults_breaks_nothing);
    tcase_add_test(tcase, system_calls_read_from_mappings_whose_pages_are_not_there);
    tcase_add_test(tcase, a_system_call_on_a_failing_page_is_efault_or_short);
    tcase_add_test(tcase, a_system_call_writes_into_a_shared_mapping);
    tcase_add_loop_test(
        tcase, a_failed_page_stays_so_until_it_is_dropped_or_comes_for_another_mapping, 0, 2);
    return unit_run("faults", tcase);
}
