/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Written pages that a dead driver was not given: the driver that comes back gets them before anybody
 * finds it. kill -9 of the driver and of the client at each step of writing back, and at any time,
 * and then the file byte by byte: no byte that was stored is missing, and none is there that nobody
 * stored.
 */
#include <errno.h>
#include <fcntl.h>
#include <muse/muse.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <check.h>

#include "common/base/own.h"
#include "tests/support/client.h"
#include "tests/support/unit.h"

#define N_PAGES    256u
#define FILE_BYTES (N_PAGES * PAGE - 1000)
#define RW         (PROT_READ | PROT_WRITE)
#define N_KILLS    8

static const char *const modes[][2] = {
    {"muse-file --writable %s", NULL},
    {"muse-file --writable --mode fill %s", NULL},
};
static const char *const faulty[] = {"muse-faulty --register=writes", NULL};
static const char quiet[] = "[deadlines]\nwriteback_ms = 600000\n";

static struct rig rig;
static struct muse *muse;

static void begin(int mode, const char *config)
{
    rig_start(&rig, config, modes[mode]);
    rig_file(&rig, "data", FILE_BYTES);
    muse = client_connect();
}

static void end(void)
{
    muse_disconnect(muse);
    rig_stop(&rig);
}

static unsigned char *map_rw(struct muse *of)
{
    unsigned char *mapped = client_map(of, "file/data", O_RDWR, N_PAGES * PAGE, RW, MAP_SHARED);

    ck_assert_ptr_ne(mapped, MAP_FAILED);
    return mapped;
}

/* ---- what is expected of the file ---- */

/* What the tests store at @offset the @round-th time; never what was there. */
static unsigned char stored(uint64_t offset, unsigned round)
{
    return (unsigned char)(rig_byte(offset) + 1 + round % 255);
}

static void read_file(unsigned char *bytes)
{
    char path[128];
    int fd;

    (void)snprintf(path, sizeof(path), "%s/data", rig.data);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pread(fd, bytes, FILE_BYTES + 1, 0), FILE_BYTES);
    (void)close(fd);
}

/* Every @step-th byte was stored. */
static void expect_stored(size_t step, unsigned round)
{
    static unsigned char bytes[FILE_BYTES + 1];

    read_file(bytes);
    for (size_t i = 0; i < FILE_BYTES; i++) {
        const unsigned char wanted = i % step == 0 ? stored(i, round) : rig_byte(i);

        if (bytes[i] != wanted)
            ck_abort_msg("byte %zu of the file is %#x, not %#x", i, bytes[i], wanted);
    }
}

static void store(unsigned char *mapped, size_t step, unsigned round)
{
    for (size_t i = 0; i < FILE_BYTES; i += step)
        mapped[i] = stored(i, round);
}

/* ---- the driver's next life ---- */

static json_t *driver_entry(json_t *document, pid_t pid)
{
    size_t i;
    json_t *entry;

    json_array_foreach(document, i, entry) if (json_integer_value(json_object_get(entry, "pid")) ==
                                               pid) return entry;
    return NULL;
}

static bool is_ready(const struct rig *of, void *arg)
{
    const pid_t pid = rig_driver_pid(of, arg);
    json_t *document = rig_ctl(of, "drivers");
    const json_t *entry = pid > 0 ? driver_entry(json_entries(document), pid) : NULL;
    const bool ready = entry && json_is_false(json_object_get(entry, "recovering"));

    json_decref(document);
    return ready;
}

static void kill_and_recover(const char *name)
{
    kill_driver(&rig, name);
    rig_wait(is_ready, &rig, (void *)(uintptr_t)name, "the driver to have everything");
}

static bool nothing_is_kept(const struct rig *of, void *arg)
{
    json_t *document = rig_ctl(of, "objects");
    size_t i;
    json_t *entry;
    bool is_kept = false;

    (void)arg;
    json_array_foreach(json_entries(document), i, entry) is_kept |=
        json_is_true(json_object_get(entry, "kept"));
    json_decref(document);
    return !is_kept;
}

START_TEST(what_was_stored_reaches_the_driver_that_comes_back)
{
    begin(_i, quiet);
    unsigned char *mapped = map_rw(muse);

    store(mapped, 700, 0);
    kill_and_recover("file");
    expect_stored(700, 0);
    ck_assert_int_eq(muse_msync(muse, mapped, PAGE, MS_SYNC), -1);
    ck_assert_int_eq(errno, EIO); /* this mapping stays with the dead one */
    ck_assert_uint_eq(mapped[700], stored(700, 0));
    ck_assert(nothing_is_kept(&rig, NULL));
    ck_assert_int_eq(rig_ctl_status(&rig, "audit"), 0);
    end();
}
END_TEST

/* ---- kill -9 at each step ---- */

enum step {
    STEP_STORED, /* nothing was asked of the driver */
    STEP_ASKED,  /* the client waits in msync, the driver does not answer */
    STEP_SYNCED, /* msync has returned */
    STEP_N
};

enum victim { VICTIM_CLIENT, VICTIM_DRIVER, VICTIM_BOTH, VICTIM_N };

#define N_STEPS (2 * STEP_N * VICTIM_N)

/* Between the client and the test. */
static struct meeting {
    atomic_int step; /* what the client has reached */
    atomic_bool may_sync;
    atomic_ulong n_now; /* bytes stored in this round */
} * meeting;

static void meeting_new(void)
{
    meeting = mmap(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(meeting, MAP_FAILED);
}

static void run_client(void *ctx)
{
    const enum step wanted = *(const enum step *)ctx;
    struct muse *own = client_connect();
    unsigned char *mapped = map_rw(own);

    store(mapped, 1000, 3);
    atomic_store(&meeting->step, STEP_STORED);
    while (!atomic_load(&meeting->may_sync))
        client_sleep_ms(1);
    if (wanted != STEP_STORED && muse_msync(own, mapped, FILE_BYTES, MS_SYNC) == 0)
        atomic_store(&meeting->step, STEP_SYNCED);
    for (;;)
        (void)pause();
}

static bool is_reached(const struct rig *of, void *arg)
{
    const enum step *wanted = arg;

    if (*wanted != STEP_ASKED)
        return atomic_load(&meeting->step) == (int)*wanted;
    return rig_blocked(of, "msync", NULL, NULL);
}

static bool all_is_clean(const struct rig *of, void *arg)
{
    json_t *document = rig_ctl(of, "status");
    const bool is_clean = json_integer_value(json_object_get(document, "dirty_bytes")) == 0;

    (void)arg;
    json_decref(document);
    return is_clean;
}

START_TEST(what_was_stored_is_in_the_file_whoever_is_killed_at_which_step)
{
    enum step step = (enum step)(_i / 2 % STEP_N);
    const enum victim victim = (enum victim)(_i / 2 / STEP_N);
    enum step stored_all = STEP_STORED;
    pid_t driver, client;

    begin(_i % 2, quiet);
    meeting_new();
    atomic_store(&meeting->step, -1);
    driver = rig_driver_pid(&rig, "file");
    client = client_fork(run_client, &step);
    rig_wait(is_reached, &rig, &stored_all, "the client to have stored");
    if (step == STEP_ASKED)
        rig_stop_driver(&rig, "file");
    atomic_store(&meeting->may_sync, true);
    rig_wait(is_reached, &rig, &step, "the step");
    if (victim != VICTIM_DRIVER)
        client_kill(client);
    if (victim != VICTIM_CLIENT)
        kill_and_recover("file");
    else
        ck_assert_int_eq(kill(driver, SIGCONT), 0);
    if (victim == VICTIM_DRIVER)
        client_kill(client);
    rig_wait(all_is_clean, &rig, NULL, "all to be written");
    expect_stored(1000, 3);
    ck_assert_int_eq(rig_ctl_status(&rig, "audit"), 0);
    end();
}
END_TEST

/* ---- kill -9 at any time ---- */

#define ROUND_BYTES (16 * PAGE + 77)

/* Bytes in order, a sync now and then; when a driver has died under it, it has to stop. */
static void store_on(void *ctx)
{
    const unsigned round = *(const unsigned *)ctx;
    struct muse *own = client_connect();
    unsigned char *mapped = map_rw(own);

    for (size_t i = 0; i < FILE_BYTES; i++) {
        mapped[i] = stored(i, round);
        atomic_store(&meeting->n_now, i + 1);
        if (i % ROUND_BYTES == ROUND_BYTES - 1)
            (void)muse_msync(own, mapped, FILE_BYTES, MS_SYNC);
    }
    for (;;)
        (void)pause();
}

/* Up to @n_now as stored in this round, or one more; the rest as in the round before. */
static void expect_up_to(size_t n_now, unsigned round, unsigned char *model)
{
    static unsigned char bytes[FILE_BYTES + 1];

    read_file(bytes);
    for (size_t i = 0; i < FILE_BYTES; i++) {
        const bool is_new = bytes[i] == stored(i, round);

        if (i < n_now ? !is_new : bytes[i] != model[i] && !(i == n_now && is_new))
            ck_abort_msg("round %u, %zu stored: byte %zu of the file is %#x, not %#x", round, n_now,
                         i, bytes[i], i < n_now ? stored(i, round) : model[i]);
        model[i] = bytes[i];
    }
}

static bool has_stored(const struct rig *of, void *arg)
{
    (void)of;
    return atomic_load(&meeting->n_now) >= *(const size_t *)arg;
}

START_TEST(what_was_stored_is_in_the_file_whoever_is_killed_at_whatever_time)
{
    static unsigned char model[FILE_BYTES];
    uint64_t seed = unit_seed();

    begin(_i, "[deadlines]\nwriteback_ms = 2\n");
    meeting_new();
    for (size_t i = 0; i < FILE_BYTES; i++)
        model[i] = rig_byte(i);
    for (unsigned round = 1; round <= N_KILLS; round++) {
        size_t enough = unit_random(&seed) % FILE_BYTES;
        pid_t client;

        atomic_store(&meeting->n_now, 0);
        client = client_fork(store_on, &round);
        rig_wait(has_stored, &rig, &enough, "the client to have stored some");
        if (round % 2 == 0) {
            client_kill(client);
            if (round % 4 == 0)
                kill_and_recover("file");
        } else { /* it is told of the driver's death, and must not go on as if nothing were */
            const pid_t driver = rig_driver_pid(&rig, "file");

            ck_assert_int_eq(kill(client, SIGSTOP), 0);
            ck_assert_int_eq(kill(driver, SIGKILL), 0);
            client_kill(client);
            (void)wait_for_driver(&rig, "file", driver);
        }
        rig_wait(is_ready, &rig, (void *)(uintptr_t) "file", "the driver to have everything");
        rig_wait(all_is_clean, &rig, NULL, "all to be written");
        expect_up_to(atomic_load(&meeting->n_now), round, model);
    }
    ck_assert_int_eq(rig_ctl_status(&rig, "audit"), 0);
    end();
}
END_TEST

/* ---- before anybody finds it ---- */

/* Nobody is there; or the dead one still is. */
static bool opens_anew(struct muse *own, struct muse_file **ret_file)
{
    unsigned char byte;

    if (muse_open(own, "file/data", O_RDWR, ret_file) < 0) {
        ck_assert(errno == ENODEV || errno == EIO);
        return false;
    }
    if (muse_fsync(*ret_file) == 0 && muse_pread(*ret_file, &byte, 1, FILE_BYTES - 1) == 1)
        return true;
    ck_assert_int_eq(muse_close(*ret_file), 0);
    return false;
}

START_TEST(whoever_opens_it_then_reads_what_was_stored)
{
    begin(_i, quiet);
    unsigned char *mapped = map_rw(muse);
    struct muse *second = client_connect();
    struct muse_file *file;
    unsigned char byte;

    store(mapped, 1, 9);
    ck_assert_int_eq(kill(rig_driver_pid(&rig, "file"), SIGKILL), 0);
    while (!opens_anew(second, &file))
        client_sleep_ms(1);
    for (size_t i = 0; i < FILE_BYTES; i += 997) {
        ck_assert_int_eq(muse_pread(file, &byte, 1, (off_t)i), 1);
        ck_assert_uint_eq(byte, stored(i, 9));
    }
    ck_assert_int_eq(muse_pwrite(file, "new", 3, 0), 3); /* and nothing older comes after it */
    ck_assert_int_eq(muse_fsync(file), 0);
    ck_assert_int_eq(muse_pread(file, &byte, 1, 0), 1);
    ck_assert_uint_eq(byte, 'n');
    ck_assert_int_eq(muse_close(file), 0);
    muse_disconnect(second);
    end();
}
END_TEST

/* ---- when it cannot be given back ---- */

START_TEST(another_file_of_that_name_is_left_alone)
{
    static unsigned char bytes[FILE_BYTES + 1];
    char command[400];

    begin(_i, quiet);
    unsigned char *mapped = map_rw(muse);

    store(mapped, 1000, 3);
    (void)snprintf(command, sizeof(command), "cp %s/data %s/new && mv %s/new %s/data", rig.data,
                   rig.data, rig.data, rig.data);
    ck_assert_int_eq(system(command), 0); /* NOLINT(cert-env33-c): a test's own words */
    kill_and_recover("file");
    read_file(bytes);
    for (size_t i = 0; i < FILE_BYTES; i++)
        ck_assert_uint_eq(bytes[i], rig_byte(i));
    ck_assert_uint_eq(mapped[1000], stored(1000, 3)); /* they stay readable */
    ck_assert(nothing_is_kept(&rig, NULL));
    end();
}
END_TEST

START_TEST(a_driver_that_is_late_or_not_waited_for_gets_nothing)
{
    static const char *const configs[] = {
        "[deadlines]\nwriteback_ms = 600000\nreturn_ms = 1\n",
        "[deadlines]\nwriteback_ms = 600000\nreturn_ms = 0\n",
    };

    begin(0, configs[_i]);
    unsigned char *mapped = map_rw(muse);
    static unsigned char bytes[FILE_BYTES + 1];

    mapped[5] = stored(5, 1);
    kill_and_recover("file");
    read_file(bytes);
    ck_assert_uint_eq(bytes[5], rig_byte(5));
    ck_assert(nothing_is_kept(&rig, NULL));
    ck_assert_int_eq(rig_ctl_status(&rig, "audit"), 0);
    end();
}
END_TEST

static bool opens_again(const struct rig *of, void *arg)
{
    struct muse_file *file;

    (void)of;
    (void)arg;
    return muse_open(muse, "faulty/y", O_RDONLY, &file) == 0 && muse_close(file) == 0;
}

/* One after another dies of it, or does not answer; then the pages are given up, and it is found. */
START_TEST(a_driver_that_cannot_take_them_is_found_all_the_same)
{
    static const char *const names[] = {"faulty/x,die-in=writeback", "faulty/x,writeback-never",
                                        "faulty/x,writeback-errno=28"};
    char *mapped;

    rig_start(&rig, "[deadlines]\nwriteback_ms = 600000\nhook_ms = 200\n", faulty);
    muse = client_connect();
    mapped = client_map(muse, names[_i], O_RDWR, PAGE, RW, MAP_SHARED);
    mapped[0] = 1;
    ck_assert_int_eq(kill(rig_driver_pid(&rig, "faulty"), SIGKILL), 0);
    rig_wait(nothing_is_kept, &rig, NULL, "the pages to be given up");
    rig_wait(opens_again, &rig, NULL, "the driver to be found");
    ck_assert_int_eq(mapped[0], 1);
    ck_assert_int_eq(rig_ctl_status(&rig, "audit"), 0);
    end();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("recover");

    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, what_was_stored_reaches_the_driver_that_comes_back, 0, 2);
    tcase_add_loop_test(tcase, what_was_stored_is_in_the_file_whoever_is_killed_at_which_step, 0,
                        N_STEPS);
    tcase_add_loop_test(tcase, what_was_stored_is_in_the_file_whoever_is_killed_at_whatever_time, 0,
                        2);
    tcase_add_loop_test(tcase, whoever_opens_it_then_reads_what_was_stored, 0, 2);
    tcase_add_loop_test(tcase, another_file_of_that_name_is_left_alone, 0, 2);
    tcase_add_loop_test(tcase, a_driver_that_is_late_or_not_waited_for_gets_nothing, 0, 2);
    tcase_add_loop_test(tcase, a_driver_that_cannot_take_them_is_found_all_the_same, 0, 3);
    return unit_run("recover", tcase);
}
