/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who hangs, dies or stalls hurts nobody else: drivers that never answer, clients and drivers
 * killed in every state of a mapping request, clients that do not confirm what they were told to
 * do. rig_stop() then demands that nothing of them is left.
 */
#include <errno.h>
#include <muse/muse.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <check.h>

#include "tests/support/client.h"
#include "tests/support/raw.h"
#include "tests/support/unit.h"

static const char *const faulty[] = {"muse-faulty", NULL};
static const char *const two_drivers[] = {"muse-faulty", "muse-faulty --name other", NULL};
static const char quick[] = "[deadlines]\nhook_ms = 700\ninstall_ms = 300\n";

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

static void driver_saw(unsigned prepares, unsigned completes, unsigned aborts, unsigned closes)
{
    ck_assert_uint_eq(rig_counter("prepare"), prepares);
    ck_assert_uint_eq(rig_counter("complete"), completes);
    ck_assert_uint_eq(rig_counter("abort"), aborts);
    ck_assert_uint_eq(rig_counter("close"), closes);
    ck_assert_uint_eq(rig_counter("locked"), 0);
    ck_assert_uint_eq(rig_counter("in_flight"), 0);
    ck_assert_uint_eq(rig_counter("mismatch"), 0);
}

/* ---- a driver that does not answer ---- */

/* Maps an object and touches it; whatever comes of that. */
static void map_and_touch(void *ctx)
{
    struct muse_file *file;
    struct muse *own;
    char *mapped;

    if (muse_connect(&own, NULL) < 0 || muse_open(own, ctx, O_RDONLY, &file) < 0)
        return;
    mapped = muse_mmap(own, NULL, PAGE, PROT_READ, MAP_SHARED, file, 0);
    if (mapped != MAP_FAILED)
        (void)probe_read(mapped);
    (void)pause();
}

static pid_t start_victim(const char *name)
{
    return client_fork(map_and_touch, (void *)(uintptr_t)name);
}

static void work_goes_on(const char *driver)
{
    client_work_goes_on(&rig, muse, driver);
}

static void hangs_alone(const char *victim_name, const char *counter)
{
    pid_t driver, victim;

    begin(NULL, two_drivers); /* the default deadlines: what follows is much quicker */
    driver = rig_driver_pid(&rig, "faulty");
    victim = start_victim(victim_name);
    wait_for_counter(counter, 1);
    work_goes_on("other");
    work_goes_on("faulty"); /* it answers others meanwhile */
    client_kill(victim);
    work_goes_on("faulty");
    ck_assert_int_eq(kill(driver, SIGKILL), 0); /* what it owes it will never give */
    (void)wait_for_driver(&rig, "faulty", driver);
    end();
}

START_TEST(a_prepare_that_never_answers_stalls_only_its_caller)
{
    hangs_alone("faulty/x,prepare-never", "prepare");
}
END_TEST

START_TEST(a_complete_that_never_answers_stalls_only_its_caller)
{
    hangs_alone("faulty/x,complete-never", "complete");
}
END_TEST

START_TEST(a_fault_that_is_never_answered_stalls_only_its_thread)
{
    hangs_alone("faulty/x,fault-never", "fault");
}
END_TEST

static bool is_preparing(const struct rig *of, void *arg)
{
    (void)arg;
    return rig_txn_state(of, "faulty/x", "preparing");
}

START_TEST(a_driver_that_sleeps_in_a_hook_does_not_stall_other_drivers)
{
    begin(NULL, two_drivers);
    pid_t victim = start_victim("faulty/x,prepare-sleep-ms=6000");
    pid_t driver = rig_driver_pid(&rig, "faulty");

    rig_wait(is_preparing, &rig, NULL, "the hook to be called");
    rig_stop_process(&rig, driver); /* so that it sleeps longer than all that follows takes */
    work_goes_on("other");
    client_kill(victim);
    ck_assert_int_eq(kill(driver, SIGCONT), 0);
    wait_for_counter("abort", 1);
    driver_saw(1, 0, 1, 0);
    end();
}
END_TEST

struct hung {
    const char *name;
    int error;
};

static void *map_in_thread(void *arg)
{
    struct hung *hung = arg;

    hung->error = 0;
    if (client_map(muse, hung->name, O_RDONLY, PAGE, PROT_READ, MAP_SHARED) == MAP_FAILED)
        hung->error = errno;
    return NULL;
}

START_TEST(faults_of_a_space_are_served_while_its_map_call_hangs)
{
    struct hung hung = {.name = "faulty/x,prepare-never"};
    pthread_t thread;

    begin(quick, faulty);
    void *mapped = client_map_ro(muse, "faulty/all,fault-partial", 64);

    ck_assert_int_eq(pthread_create(&thread, NULL, map_in_thread, &hung), 0);
    wait_for_counter("prepare", 2);
    for (size_t page = 0; page < 64; page++)
        ck_assert_uint_eq(faulty_word(mapped, page, 9), page * 512 + 9);
    ck_assert_int_eq(muse_munmap(muse, mapped, 64 * PAGE), 0); /* waits for the lock, then goes */
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(hung.error, ETIMEDOUT);
    pid_t driver = rig_driver_pid(&rig, "faulty");
    ck_assert_int_eq(kill(driver, SIGKILL), 0);
    (void)wait_for_driver(&rig, "faulty", driver);
    end();
}
END_TEST

/* Return: the errno of mapping a page of it. */
static int errno_of_map(const char *name)
{
    struct hung hung = {.name = name};

    (void)map_in_thread(&hung);
    return hung.error;
}

START_TEST(each_driver_has_the_deadline_of_its_own_section)
{
    static const char config[] = "[deadlines]\nhook_ms = 400\n[driver other]\nhook_ms = 8000\n";

    begin(config, two_drivers);
    ck_assert_int_eq(errno_of_map("faulty/x,lock,prepare-delay-ms=1000"), ETIMEDOUT);
    ck_assert_int_eq(errno_of_map("other/x,lock,prepare-delay-ms=1000"), 0);
    ck_assert_int_eq(errno_of_map("faulty/y,ops=close,complete-delay-ms=1000"), ETIMEDOUT);
    ck_assert_int_eq(errno_of_map("other/y,ops=close,complete-delay-ms=1000"), 0);
    wait_for_counter("abort", 1);
    wait_for_counter("close", 1);
    driver_saw(2, 1, 1, 1);
    ck_assert_uint_eq(rig_count(&rig, "faulty", "late"), 2);
    ck_assert_uint_eq(rig_count(&rig, "other", "late"), 0);
    end();
}
END_TEST

/* ---- clients die ---- */

START_TEST(a_client_killed_while_its_fault_is_pending_is_closed)
{
    begin(quick, faulty);
    pid_t victim = start_victim("faulty/all,lock,fault-delay-ms=400");

    wait_for_counter("fault", 1);
    client_kill(victim);
    wait_for_counter("close", 1);
    driver_saw(1, 1, 0, 1);
    end();
}
END_TEST

START_TEST(a_client_killed_with_live_mappings_is_closed_and_its_neighbour_goes_on)
{
    begin(NULL, faulty);
    pid_t victim = start_victim("faulty/all,lock,fault-single");
    const void *mapped;

    wait_for_counter("fault", 1);
    mapped = client_map_ro(muse, "faulty/all,lock,fault-single", 64);
    ck_assert_uint_eq(faulty_word(mapped, 0, 1), 1);
    client_kill(victim);
    wait_for_counter("close", 1);
    for (size_t page = 0; page < 64; page++)
        ck_assert_uint_eq(faulty_word(mapped, page, 9), page * 512 + 9);
    driver_saw(2, 2, 0, 1);
    end();
}
END_TEST

START_TEST(a_client_that_goes_while_it_should_install_is_aborted)
{
    struct raw raw;
    uint64_t id;

    begin(NULL, faulty);
    raw_hello(&raw, &rig);
    raw_attach(&raw);
    id = raw_map(&raw, raw_open(&raw, "faulty/all,lock"), 0, PAGE, 0);
    (void)raw_answer(&raw, FRAME_MEM_OPS, id);
    raw_done(&raw);
    wait_for_counter("abort", 1);
    driver_saw(1, 0, 1, 0);
    end();
}
END_TEST

START_TEST(a_client_that_cannot_install_is_aborted_and_gets_its_own_errno)
{
    struct raw raw;
    uint64_t id;

    begin(NULL, faulty);
    raw_hello(&raw, &rig);
    raw_attach(&raw);
    id = raw_map(&raw, raw_open(&raw, "faulty/all,lock"), 0, PAGE, 0);
    (void)raw_answer(&raw, FRAME_MEM_OPS, id);
    raw_ops_done(&raw, id, ENOMEM);
    (void)raw_answer(&raw, FRAME_MEM_OPS, id); /* undo, whatever it was that failed */
    ck_assert_int_eq(raw_failure(&raw, id), ENOMEM);
    raw_ops_done(&raw, id, 0);
    driver_saw(1, 0, 1, 0);
    raw_done(&raw);
    end();
}
END_TEST

START_TEST(a_client_that_claims_a_mapping_it_never_made_cannot_be_registered_and_is_aborted)
{
    struct raw raw;
    uint64_t id;

    begin(NULL, faulty);
    raw_hello(&raw, &rig);
    raw_attach(&raw);
    ck_assert_int_eq(munmap(raw.arena, RAW_ARENA_BYTES), 0);
    raw.arena = NULL;
    id = raw_map(&raw, raw_open(&raw, "faulty/all,lock"), 0, PAGE, 0);
    (void)raw_answer(&raw, FRAME_MEM_OPS, id);
    raw_ops_done(&raw, id, 0);
    (void)raw_answer(&raw, FRAME_MEM_OPS, id);
    ck_assert_int_ne(raw_failure(&raw, id), 0);
    raw_ops_done(&raw, id, 0);
    driver_saw(1, 0, 1, 0);
    raw_done(&raw);
    end();
}
END_TEST

static int64_t quarantined_vmas(void)
{
    json_t *document = rig_ctl(&rig, "spaces");
    int64_t n = 0;
    json_t *space;
    size_t i;

    json_array_foreach(json_entries(document), i, space)
    {
        n += json_integer_value(json_object_get(space, "vmas_quarantine"));
    }
    json_decref(document);
    return n;
}

START_TEST(a_client_that_does_not_confirm_in_time_loses_the_mapping_and_its_range_is_quarantined)
{
    uint64_t id, again, file_id, start;
    struct raw raw;

    begin(quick, faulty);
    raw_hello(&raw, &rig);
    raw_attach(&raw);
    start = raw_place(&raw);
    file_id = raw_open(&raw, "faulty/all,lock");
    id = raw_map(&raw, file_id, start, PAGE, MAP_FIXED);
    (void)raw_answer(&raw, FRAME_MEM_OPS, id);
    (void)raw_answer(&raw, FRAME_MEM_OPS, id); /* time is up: undo */
    ck_assert_int_eq(raw_failure(&raw, id), ETIMEDOUT);
    driver_saw(1, 0, 1, 0); /* the driver has its lock back */
    ck_assert_int_eq(quarantined_vmas(), 1);
    again = raw_map(&raw, file_id, start, PAGE, MAP_FIXED);
    ck_assert_int_eq(raw_failure(&raw, again), EAGAIN); /* nobody is placed there before */
    raw_ops_done(&raw, id, 0);                          /* the late install */
    ck_assert_int_eq(quarantined_vmas(), 1);
    raw_ops_done(&raw, id, 0); /* the undo */
    while (quarantined_vmas() != 0)
        client_sleep_ms(2);
    again = raw_map(&raw, file_id, start, PAGE, MAP_FIXED);
    (void)raw_answer(&raw, FRAME_MEM_OPS, again);
    raw_done(&raw);
    wait_for_counter("abort", 2);
    driver_saw(2, 0, 2, 0);
    end();
}
END_TEST

START_TEST(a_client_that_never_undoes_keeps_its_range_in_quarantine_until_it_dies)
{
    struct raw raw;
    uint64_t id;

    begin(quick, faulty);
    raw_hello(&raw, &rig);
    raw_attach(&raw);
    id = raw_map(&raw, raw_open(&raw, "faulty/all,lock"), 0, PAGE, 0);
    (void)raw_answer(&raw, FRAME_MEM_OPS, id);
    (void)raw_answer(&raw, FRAME_MEM_OPS, id);
    ck_assert_int_eq(raw_failure(&raw, id), ETIMEDOUT);
    ck_assert_int_eq(quarantined_vmas(), 1);
    raw_done(&raw);
    while (quarantined_vmas() != 0)
        client_sleep_ms(2);
    driver_saw(1, 0, 1, 0);
    end();
}
END_TEST

/* Maps one page with real memory behind it. Return: its address. */
static uint64_t raw_map_really(struct raw *raw, const char *name)
{
    struct muse_file *file = client_open(muse, name, O_RDONLY); /* keeps the object */
    const uint64_t start = raw_map_page(raw, raw_open(raw, name));

    ck_assert_int_eq(muse_close(file), 0);
    return start;
}

START_TEST(a_client_that_goes_in_the_middle_of_munmap_is_closed_once)
{
    Muse__Wire__Unmap unmap = MUSE__WIRE__UNMAP__INIT;
    struct raw raw;

    begin(NULL, faulty);
    raw_hello(&raw, &rig);
    raw_attach(&raw);
    unmap.addr = raw_map_really(&raw, "faulty/all,lock");
    unmap.length = PAGE;
    (void)raw_answer(&raw, FRAME_MEM_OPS, raw_ask(&raw, FRAME_UNMAP, &unmap.base));
    raw_done(&raw);
    wait_for_counter("close", 1);
    driver_saw(1, 1, 0, 1);
    end();
}
END_TEST

/* A client that says it needs no answer gets none, but for a failure; and if it goes in the middle it is
 * closed once. */
START_TEST(a_munmap_that_ends_with_its_instruction_has_no_other_answer)
{
    Muse__Wire__Unmap unmap = MUSE__WIRE__UNMAP__INIT;
    Muse__Wire__MemOps *ops;
    struct frame *frame;
    struct raw raw;
    uint64_t id;

    begin(NULL, faulty);
    raw_hello(&raw, &rig);
    raw_attach(&raw);
    unmap.addr = raw_map_really(&raw, "faulty/all,lock");
    unmap.length = PAGE;
    unmap.has_may_end_with_ops = unmap.may_end_with_ops = true;
    id = raw_ask(&raw, FRAME_UNMAP, &unmap.base);
    (void)raw_answer(&raw, FRAME_MEM_OPS, id);
    raw_ops_done(&raw, id, ENOMEM);
    ck_assert_int_eq(raw_failure(&raw, id), ENOMEM);
    driver_saw(1, 1, 0, 0);
    id = raw_ask(&raw, FRAME_UNMAP, &unmap.base);
    frame = raw_answer(&raw, FRAME_MEM_OPS, id);
    ops = muse__wire__mem_ops__unpack(NULL, frame->n_payload, frame->payload);
    ck_assert(ops->has_ends_call && ops->ends_call);
    muse__wire__mem_ops__free_unpacked(ops, NULL);
    if (_i == 0) {
        raw_ops_done(&raw, id, 0);
        id = raw_ask(&raw, FRAME_UNMAP,
                     &unmap.base); /* nothing is there now: DONE, and it is the next */
        (void)raw_answer(&raw, FRAME_DONE, id);
    }
    raw_done(&raw);
    wait_for_counter("close", 1);
    driver_saw(1, 1, 0, 1);
    end();
}
END_TEST

START_TEST(a_munmap_the_client_cannot_carry_out_changes_nothing)
{
    Muse__Wire__Unmap unmap = MUSE__WIRE__UNMAP__INIT;
    struct raw raw;
    uint64_t id;

    begin(NULL, faulty);
    raw_hello(&raw, &rig);
    raw_attach(&raw);
    unmap.addr = raw_map_really(&raw, "faulty/all,lock");
    unmap.length = PAGE;
    id = raw_ask(&raw, FRAME_UNMAP, &unmap.base);
    (void)raw_answer(&raw, FRAME_MEM_OPS, id);
    raw_ops_done(&raw, id, ENOMEM);
    ck_assert_int_eq(raw_failure(&raw, id), ENOMEM);
    driver_saw(1, 1, 0, 0);
    id = raw_ask(&raw, FRAME_UNMAP, &unmap.base);
    (void)raw_answer(&raw, FRAME_MEM_OPS, id);
    raw_ops_done(&raw, id, 0);
    (void)raw_answer(&raw, FRAME_DONE, id);
    driver_saw(1, 1, 0, 1);
    raw_done(&raw);
    end();
}
END_TEST

/* ---- drivers die ---- */

/* Starts a map call in a thread, kills the driver once it has counted, joins. Return: the errno. */
static int kill_driver_during(const char *name, const char *counter)
{
    struct hung hung = {.name = name};
    pid_t driver = rig_driver_pid(&rig, "faulty");
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, map_in_thread, &hung), 0);
    wait_for_counter(counter, 1);
    ck_assert_int_eq(kill(driver, SIGKILL), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    (void)wait_for_driver(&rig, "faulty", driver);
    return hung.error;
}

START_TEST(a_driver_killed_in_any_hook_gives_eio_and_its_next_life_works)
{
    begin(NULL, faulty);
    ck_assert_int_eq(kill_driver_during("faulty/x,prepare-never", "prepare"), EIO);
    ck_assert_int_eq(kill_driver_during("faulty/x,complete-never", "complete"), EIO);
    work_goes_on("faulty");
    end();
}
END_TEST

START_TEST(a_driver_killed_while_the_client_installs_gives_eio_and_the_client_undoes)
{
    pid_t driver;
    struct raw raw;
    uint64_t id;

    begin(NULL, faulty);
    driver = rig_driver_pid(&rig, "faulty");
    raw_hello(&raw, &rig);
    raw_attach(&raw);
    id = raw_map(&raw, raw_open(&raw, "faulty/all,lock"), 0, PAGE, 0);
    (void)raw_answer(&raw, FRAME_MEM_OPS, id);
    ck_assert_int_eq(kill(driver, SIGKILL), 0);
    (void)raw_answer(&raw, FRAME_MEM_OPS, id);
    ck_assert_int_eq(raw_failure(&raw, id), EIO);
    raw_ops_done(&raw, id, 0);
    raw_ops_done(&raw, id, 0);
    (void)wait_for_driver(&rig, "faulty", driver);
    raw_done(&raw);
    work_goes_on("faulty");
    end();
}
END_TEST

struct toucher {
    const char *addr;
    struct probe probe;
};

static void *touch(void *arg)
{
    struct toucher *toucher = arg;

    toucher->probe = probe_read(toucher->addr);
    return NULL;
}

START_TEST(a_driver_killed_while_faults_are_pending_gives_sigbus_to_every_thread)
{
    struct toucher touchers[6];
    struct muse_error why;
    pthread_t threads[6];
    pid_t driver;

    begin(NULL, faulty);
    driver = rig_driver_pid(&rig, "faulty");
    char *mapped = client_map_ro(muse, "faulty/x,fault-never", 128);

    for (unsigned i = 0; i < 6; i++) {
        touchers[i].addr = mapped + (size_t)i * 20 * PAGE;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, touch, &touchers[i]), 0);
    }
    wait_for_counter("fault", 2);
    ck_assert_int_eq(kill(driver, SIGKILL), 0);
    for (unsigned i = 0; i < 6; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        ck_assert_int_eq(touchers[i].probe.signal, SIGBUS);
    }
    ck_assert_int_eq(muse_error_at(muse, mapped, &why), 0);
    ck_assert_int_eq(why.error, EIO);
    ck_assert_int_eq(muse_munmap(muse, mapped, 128 * PAGE), 0);
    (void)wait_for_driver(&rig, "faulty", driver);
    work_goes_on("faulty");
    end();
}
END_TEST

static void *pread_in_thread(void *arg)
{
    struct hung *hung = arg;
    struct muse_file *file = client_open(muse, hung->name, O_RDONLY);
    char byte;

    hung->error = muse_pread(file, &byte, 1, 0) < 0 ? errno : 0;
    (void)muse_close(file);
    return NULL;
}

static void *open_in_thread(void *arg)
{
    struct hung *hung = arg;
    struct muse_file *file;

    hung->error = muse_open(muse, hung->name, O_RDONLY, &file) < 0 ? errno : 0;
    return NULL;
}

START_TEST(a_driver_killed_while_it_opens_or_reads_gives_an_error)
{
    struct hung reading = {.name = "faulty/x,fault-never"};
    struct hung opening = {.name = "faulty/y,open-never"};
    pthread_t reader, opener;
    pid_t driver;

    begin(NULL, faulty);
    driver = rig_driver_pid(&rig, "faulty");
    ck_assert_int_eq(pthread_create(&reader, NULL, pread_in_thread, &reading), 0);
    ck_assert_int_eq(pthread_create(&opener, NULL, open_in_thread, &opening), 0);
    wait_for_counter("fault", 1);
    ck_assert_int_eq(kill(driver, SIGKILL), 0);
    ck_assert_int_eq(pthread_join(reader, NULL), 0);
    ck_assert_int_eq(pthread_join(opener, NULL), 0);
    ck_assert_int_eq(reading.error, EIO);
    ck_assert_int_eq(opening.error, EIO);
    (void)wait_for_driver(&rig, "faulty", driver);
    work_goes_on("faulty");
    end();
}
END_TEST

START_TEST(mappings_of_a_dead_driver_stay_as_they_are_when_its_successor_comes)
{
    begin(NULL, faulty);
    pid_t driver = rig_driver_pid(&rig, "faulty");
    char *old = client_map_ro(muse, "faulty/all,fault-partial", 64);

    ck_assert_uint_eq(faulty_word(old, 0, 3), 3);
    ck_assert_int_eq(kill(driver, SIGKILL), 0);
    (void)wait_for_driver(&rig, "faulty", driver);
    ck_assert_uint_eq(faulty_word(old, 0, 3), 3);
    ck_assert_int_eq(probe_read(old + 50 * PAGE).signal, SIGBUS);
    void *fresh = client_map_ro(muse, "faulty/all,fault-partial", 64);
    ck_assert_uint_eq(faulty_word(fresh, 50, 3), 50 * 512 + 3);
    ck_assert_int_eq(probe_read(old + 50 * PAGE).signal, SIGBUS);
    ck_assert_int_eq(muse_munmap(muse, old, 64 * PAGE), 0);
    end();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("isolation");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, a_prepare_that_never_answers_stalls_only_its_caller);
    tcase_add_test(tcase, a_complete_that_never_answers_stalls_only_its_caller);
    tcase_add_test(tcase, a_fault_that_is_never_answered_stalls_only_its_thread);
    tcase_add_test(tcase, a_driver_that_sleeps_in_a_hook_does_not_stall_other_drivers);
    tcase_add_test(tcase, faults_of_a_space_are_served_while_its_map_call_hangs);
    tcase_add_test(tcase, each_driver_has_the_deadline_of_its_own_section);
    tcase_add_test(tcase, a_client_killed_while_its_fault_is_pending_is_closed);
    tcase_add_test(tcase, a_client_killed_with_live_mappings_is_closed_and_its_neighbour_goes_on);
    tcase_add_test(tcase, a_client_that_goes_while_it_should_install_is_aborted);
    tcase_add_test(tcase, a_client_that_cannot_install_is_aborted_and_gets_its_own_errno);
    tcase_add_test(
        tcase, a_client_that_claims_a_mapping_it_never_made_cannot_be_registered_and_is_aborted);
    tcase_add_test(
        tcase,
        a_client_that_does_not_confirm_in_time_loses_the_mapping_and_its_range_is_quarantined);
    tcase_add_test(tcase, a_client_that_never_undoes_keeps_its_range_in_quarantine_until_it_dies);
    tcase_add_test(tcase, a_client_that_goes_in_the_middle_of_munmap_is_closed_once);
    tcase_add_test(tcase, a_munmap_the_client_cannot_carry_out_changes_nothing);
    tcase_add_loop_test(tcase, a_munmap_that_ends_with_its_instruction_has_no_other_answer, 0, 2);
    tcase_add_test(tcase, a_driver_killed_in_any_hook_gives_eio_and_its_next_life_works);
    tcase_add_test(tcase,
                   a_driver_killed_while_the_client_installs_gives_eio_and_the_client_undoes);
    tcase_add_test(tcase, a_driver_killed_while_faults_are_pending_gives_sigbus_to_every_thread);
    tcase_add_test(tcase, a_driver_killed_while_it_opens_or_reads_gives_an_error);
    tcase_add_test(tcase, mappings_of_a_dead_driver_stay_as_they_are_when_its_successor_comes);
    return unit_run("isolation", tcase);
}
