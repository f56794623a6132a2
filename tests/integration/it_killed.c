/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * kill -9 of the client, and of the driver, in every state of a map request (server/map/map_txn.h),
 * with a live mapping and with a fault pending: a table of states, how to get there, and what must
 * come of it. What holds the request in its state is a driver that takes its time, or a client that
 * does not answer. Meanwhile and afterwards other spaces go on, and the audit is content.
 */
#include <errno.h>
#include <muse/muse.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <check.h>

#include "common/base/own.h"
#include "tests/support/client.h"
#include "tests/support/raw.h"
#include "tests/support/unit.h"

#define HOLD    "1200" /* ms: far longer than it takes to see the state and to kill */
#define N_PAGES ((size_t)64)

static const char *const drivers[] = {"muse-faulty", "muse-faulty --name other", NULL};
static const char impatient[] = "[deadlines]\nhook_ms = 300\n";

/* Between the victim and the test. */
struct meeting {
    atomic_bool is_there; /* the victim has reached what no counter shows */
    atomic_bool go_on;
};

static struct rig rig;
static struct muse *muse;
static struct meeting *meeting;

/* ---- victims: each gets its object's name, and exits with the errno it ended with ---- */

static void wait_here(void)
{
    atomic_store(&meeting->is_there, true);
    while (!atomic_load(&meeting->go_on))
        client_sleep_ms(2);
}

/* The errno behind a touch; 0: it succeeded. */
static int touch(struct muse *own, const char *addr)
{
    struct muse_error why;

    if (probe_read(addr).signal != SIGBUS)
        return 0;
    return muse_error_at(own, (void *)(uintptr_t)addr, &why) < 0 ? errno : why.error;
}

static void map_one(void *name)
{
    const void *mapped = client_map(client_connect(), name, O_RDONLY, PAGE, PROT_READ, MAP_SHARED);

    _exit(mapped == MAP_FAILED ? errno : 0);
}

/* Stays when the call is over for it. */
static void map_and_stay(void *name)
{
    const void *mapped = client_map(client_connect(), name, O_RDONLY, PAGE, PROT_READ, MAP_SHARED);
    const int error = mapped == MAP_FAILED ? errno : 0;

    wait_here();
    _exit(error);
}

static void map_and_touch(void *name)
{
    struct muse *own = client_connect();

    _exit(touch(own, client_map_ro(own, name, 1)));
}

/* The first page is there, the last one is not. */
static void map_and_live(void *name)
{
    struct muse *own = client_connect();
    char *mapped = client_map_ro(own, name, N_PAGES);

    ck_assert_int_eq(muse_madvise(own, mapped, N_PAGES * PAGE, MADV_RANDOM), 0);
    ck_assert_uint_eq(faulty_word(mapped, 0, 1), 1);
    wait_here();
    ck_assert_uint_eq(faulty_word(mapped, 0, 2), 2);
    _exit(touch(own, mapped + (N_PAGES - 1) * PAGE));
}

static void *hold_lock(void *own)
{
    (void)client_map(own, "other/holder,lock,prepare-delay-ms=" HOLD, O_RDONLY, PAGE, PROT_READ,
                     MAP_SHARED);
    return NULL;
}

static void map_behind_another(void *name)
{
    struct muse *own = client_connect();
    pthread_t thread;
    const void *mapped;

    ck_assert_int_eq(pthread_create(&thread, NULL, hold_lock, own), 0);
    ck_assert_int_eq(pthread_detach(thread), 0); /* this process does not wait for it */
    while (rig_counter_of("other", "prepare") == 0)
        client_sleep_ms(2);
    mapped = client_map(own, name, O_RDONLY, PAGE, PROT_READ, MAP_SHARED);
    _exit(mapped == MAP_FAILED ? errno : 0);
}

static void map_over_a_middle(void *name)
{
    struct muse *own = client_connect();
    char *old = client_map_ro(own, "faulty/old,split-delay-ms=" HOLD, 8);
    const struct client_span span = {old + 2 * PAGE, 4 * PAGE, 0};
    const void *mapped =
        client_map_at(own, name, O_RDONLY, span, PROT_READ, MAP_SHARED | MAP_FIXED);

    _exit(mapped == MAP_FAILED ? errno : 0);
}

static void raw_client(struct raw *raw)
{
    raw_hello(raw, &rig);
    raw_attach(raw);
}

static void be_told_to_map(void *name)
{
    struct raw raw;
    uint64_t id;
    int error;

    raw_client(&raw);
    id = raw_map(&raw, raw_open(&raw, name), 0, PAGE, 0);
    (void)raw_answer(&raw, FRAME_MEM_OPS, id);
    wait_here();
    (void)raw_answer(&raw, FRAME_MEM_OPS, id); /* undo */
    error = raw_failure(&raw, id);
    raw_ops_done(&raw, id, 0);
    raw_ops_done(&raw, id, 0);
    _exit(error);
}

static void be_told_to_move(void *name)
{
    struct raw raw;
    uint64_t id, start;

    raw_client(&raw);
    start = raw_map_page(&raw, raw_open(&raw, "faulty/old,lock"));
    id = raw_map(&raw, raw_open(&raw, name), start, PAGE, MAP_FIXED);
    raw_carry_out(&raw, raw_answer(&raw, FRAME_MEM_OPS, id)); /* at a scratch place */
    struct frame *move = raw_answer(&raw, FRAME_MEM_OPS, id);

    wait_here();
    raw_carry_out(&raw, move);
    (void)raw_answer(&raw, FRAME_MAPPED, id); /* the driver had completed it before it died */
    _exit(probe_read((void *)(uintptr_t)start).signal == SIGBUS ? EIO : 0);
}

static void be_told_to_open(void *name)
{
    struct raw raw;
    uint64_t id;

    raw_client(&raw);
    id = raw_map(&raw, raw_open(&raw, name), raw_place(&raw), PAGE, MAP_FIXED);
    raw_carry_out(&raw, raw_answer(&raw, FRAME_MEM_OPS, id)); /* without access */
    struct frame *open = raw_answer(&raw, FRAME_MEM_OPS, id);

    wait_here();
    raw_carry_out(&raw, open);
    (void)raw_answer(&raw, FRAME_MAPPED, id);
    _exit(probe_read((void *)(uintptr_t)raw_place(&raw)).signal == SIGBUS ? EIO : 0);
}

/* ---- the table ---- */

static const struct row {
    const char *state; /* of `musectl txns`; NULL: there is no request any more */
    void (*victim)(void *name);
    const char *name;
    const char *config;
    bool waits;  /* it says itself that it is there */
    int n_calls; /* prepares in all, when the client is killed; ... */
    int completes, aborts, closes;
    int error; /* what the client ends with when the driver is killed */
} rows[] = {
    {"queued", map_behind_another, "faulty/v,lock", NULL, false, 0, 0, 0, 0, EIO},
    {"splitting", map_over_a_middle, "faulty/v,lock", NULL, false, 1, 1, 0, 1, EIO},
    {"preparing", map_one, "faulty/v,lock,prepare-delay-ms=" HOLD, NULL, false, 1, 0, 1, 0, EIO},
    {"installing", be_told_to_map, "faulty/v,lock", NULL, true, 1, 0, 1, 0, EIO},
    {"acting", map_one, "faulty/v,lock,action=prefault=1,fault-delay-ms=" HOLD, NULL, false, 1, 0,
     1, 0, EIO},
    {"completing", map_one, "faulty/v,lock,complete-delay-ms=" HOLD, NULL, false, 1, 1, 0, 1, EIO},
    {"finishing", map_one, "faulty/v,lock,verb=prefault=1,fault-delay-ms=" HOLD, NULL, false, 1, 1,
     0, 1, EIO},
    {"committing", be_told_to_move, "faulty/v,lock", NULL, true, 2, 2, 0, 2, EIO},
    {"committing", be_told_to_open, "faulty/v,lock", NULL, true, 1, 1, 0, 1, EIO},
    {"owed-prepare", map_and_stay, "faulty/v,lock,prepare-delay-ms=" HOLD, impatient, true, 1, 0, 1,
     0, ETIMEDOUT},
    {"owed-complete", map_and_stay, "faulty/v,lock,complete-delay-ms=" HOLD, impatient, true, 1, 1,
     0, 1, ETIMEDOUT},
    {NULL, map_and_live, "faulty/v,lock", NULL, true, 1, 1, 0, 1, EIO},
    {NULL, map_and_touch, "faulty/v,lock,fault-delay-ms=" HOLD, NULL, false, 1, 1, 0, 1, EIO},
};

static bool is_in_state(const struct rig *unused, void *arg)
{
    const struct row *row = arg;

    (void)unused;
    if (row->waits && !atomic_load(&meeting->is_there))
        return false;
    if (row->state)
        return rig_txn_state(&rig, "faulty/v", row->state);
    return rig_counter("fault") > 0;
}

/* Starts the victim, and returns when its request is in the row's state. */
static pid_t start_victim(const struct row *row)
{
    pid_t victim;

    meeting = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(meeting, MAP_FAILED);
    rig_start(&rig, row->config, drivers);
    muse = client_connect();
    victim = client_fork(row->victim, (void *)(uintptr_t)row->name);
    rig_wait(is_in_state, &rig, (void *)(uintptr_t)row, row->state ? row->state : "a touch");
    return victim;
}

static bool has_no_request(const struct rig *unused, void *arg)
{
    json_t *document = rig_ctl(&rig, "txns");
    const bool none = json_array_size(json_entries(document)) == 0;

    (void)unused;
    (void)arg;
    json_decref(document);
    return none;
}

static void end(void)
{
    rig_wait(has_no_request, &rig, NULL, "all requests to end");
    client_work_goes_on(&rig, muse, "faulty"); /* the audit included */
    muse_disconnect(muse);
    rig_stop(&rig);
    ck_assert_int_eq(munmap(meeting, PAGE), 0);
}

/* The driver's own count, and the server's. */
static void expect_count(const char *mine, const char *servers, int n)
{
    ck_assert_msg(rig_counter(mine) == (uint64_t)n, "%s: %llu instead of %d", mine,
                  (unsigned long long)rig_counter(mine), n);
    ck_assert_msg(rig_count(&rig, "faulty", servers) == (uint64_t)n, "server: %s is not %d",
                  servers, n);
}

static bool has_ended(const struct rig *unused, void *arg)
{
    const struct row *row = arg;

    (void)unused;
    return rig_counter("abort") >= (uint64_t)row->aborts &&
           rig_counter("close") >= (uint64_t)row->closes;
}

START_TEST(a_client_killed_in_this_state_leaves_nothing_and_the_promise_is_kept)
{
    const struct row *row = &rows[_i];

    client_kill(start_victim(row));
    client_work_goes_on(&rig, muse, "other");
    rig_wait(has_ended, &rig, (void *)(uintptr_t)row, "abort or close");
    rig_wait(has_no_request, &rig, NULL, "all requests to end");
    expect_count("prepare", "prepared", row->n_calls);
    expect_count("complete", "completed", row->completes);
    expect_count("abort", "aborted", row->aborts);
    expect_count("close", "vm_close", row->closes);
    ck_assert_uint_eq(rig_count(&rig, "faulty", "in_flight"), 0);
    ck_assert_uint_eq(rig_counter("in_flight") + rig_counter("locked"), 0);
    ck_assert_uint_eq(rig_counter("mismatch"), 0);
    ck_assert_uint_eq(rig_counter_of("other", "locked") + rig_counter_of("other", "in_flight"), 0);
    end();
}
END_TEST

START_TEST(a_driver_killed_in_this_state_gives_an_error_and_its_next_life_works)
{
    const struct row *row = &rows[_i];
    const pid_t victim = start_victim(row);
    const pid_t driver = rig_driver_pid(&rig, "faulty");
    int status;

    ck_assert_int_eq(kill(driver, SIGKILL), 0);
    client_work_goes_on(&rig, muse, "other");
    (void)wait_for_driver(&rig, "faulty", driver);
    atomic_store(&meeting->go_on, true);
    ck_assert_int_eq(waitpid(victim, &status, 0), victim);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == row->error, "%#x, not %s",
                  (unsigned)status, strerrorname_np(row->error));
    expect_count("prepare", "prepared", 0); /* the new one has seen nothing of it */
    expect_count("abort", "aborted", 0);
    expect_count("close", "vm_close", 0);
    end();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("killed");

    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, a_client_killed_in_this_state_leaves_nothing_and_the_promise_is_kept,
                        0, (int)N_ELEMENTS(rows));
    tcase_add_loop_test(tcase, a_driver_killed_in_this_state_gives_an_error_and_its_next_life_works,
                        0, (int)N_ELEMENTS(rows));
    return unit_run("killed", tcase);
}
