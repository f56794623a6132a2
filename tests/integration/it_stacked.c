/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The legacy mmap hook, mappings that it passes on to another driver (docs/contract.md, section 6),
 * and muse_invalidate(), with real processes. "faulty" has the three hooks and is the inner driver;
 * "outer" and "old" have the legacy one. What each has seen is read from itself.
 */
#include <errno.h>
#include <muse/muse.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <check.h>

#include "common/base/own.h"
#include "tests/support/client.h"
#include "tests/support/unit.h"

#define SHIFT ((size_t)100) /* pages: the new contents are those from there on */

static const char *const drivers[] = {"muse-faulty", "muse-faulty --legacy --name outer",
                                      "muse-faulty --legacy --name old", NULL};
static const char quick[] = "[deadlines]\nhook_ms = 400\n";

static struct rig rig;
static struct muse *muse;

static void begin(const char *config)
{
    rig_start(&rig, config, drivers);
    muse = client_connect();
}

static void end(void)
{
    ck_assert_uint_eq(rig_counter("mismatch"), 0);
    ck_assert_uint_eq(rig_counter("in_flight"), 0);
    ck_assert_uint_eq(rig_counter("locked"), 0);
    muse_disconnect(muse);
    rig_stop(&rig);
}

/* Return: 0, and unmapped again; the errno. */
static int try_map(const char *name)
{
    void *mapped = client_map(muse, name, O_RDONLY, 4 * PAGE, PROT_READ, MAP_SHARED);

    if (mapped == MAP_FAILED)
        return errno;
    ck_assert_int_eq(muse_munmap(muse, mapped, 4 * PAGE), 0);
    return 0;
}

static void refused(const char *name, int error, const char *sentence)
{
    struct muse_file *file = client_open(muse, name, O_RDONLY);

    ck_assert_ptr_eq(muse_mmap(muse, NULL, 4 * PAGE, PROT_READ, MAP_SHARED, file, 0), MAP_FAILED);
    ck_assert_msg(errno == error, "%s: %s instead of %s", name, strerrorname_np(errno),
                  strerrorname_np(error));
    ck_assert_msg(strstr(muse_last_error_text(), sentence) != NULL, "%s: \"%s\" is not in \"%s\"",
                  name, sentence, muse_last_error_text());
    ck_assert_int_eq(muse_close(file), 0);
}

static void inner_saw(unsigned prepares, unsigned completes, unsigned aborts, unsigned closes)
{
    ck_assert_uint_eq(rig_counter("prepare"), prepares);
    ck_assert_uint_eq(rig_counter("complete"), completes);
    ck_assert_uint_eq(rig_counter("abort"), aborts);
    ck_assert_uint_eq(rig_counter("close"), closes);
}

/* How many mappings the only space has that are not yet gone. */
static int64_t count_vmas(void)
{
    json_t *document = rig_ctl(&rig, "spaces");
    json_t *space = json_array_get(json_entries(document), 0);
    int64_t n = json_integer_value(json_object_get(space, "vmas"));

    json_decref(document);
    return n;
}

static bool is_counted(const struct rig *unused, void *arg)
{
    const char *const *words = arg; /* driver, counter */

    (void)unused;
    return rig_counter_of(words[0], words[1]) > 0;
}

static void wait_for(const char *driver, const char *counter)
{
    const char *words[] = {driver, counter};

    rig_wait(is_counted, &rig, words, counter);
}

/* ---- the legacy hook ---- */

START_TEST(a_legacy_hook_is_called_once_and_closed_once_at_unmap)
{
    begin(NULL);
    void *mapped = client_map_ro(muse, "outer/x,private=7", 8);

    for (size_t page = 0; page < 8; page++)
        ck_assert_uint_eq(faulty_word(mapped, page, 3), page * 512 + 3);
    ck_assert_uint_eq(rig_counter_of("outer", "mmap"), 1);
    ck_assert_uint_eq(rig_counter_of("outer", "close"), 0);
    ck_assert_int_eq(muse_munmap(muse, mapped, 8 * PAGE), 0);
    ck_assert_uint_eq(rig_counter_of("outer", "close"), 1);
    ck_assert_uint_eq(rig_counter_of("outer", "prepare"), 0);
    ck_assert_uint_eq(rig_counter_of("outer", "abort"), 0);
    end();
}
END_TEST

START_TEST(a_legacy_hook_that_refuses_has_no_close_and_the_range_is_unmapped)
{
    begin(NULL);
    refused("outer/x,mmap-errno=16", EBUSY, "mmap refused as asked for");
    ck_assert_uint_eq(rig_counter_of("outer", "mmap"), 1);
    ck_assert_uint_eq(rig_counter_of("outer", "close"), 0);
    ck_assert_int_eq(count_vmas(), 0);
    end();
}
END_TEST

START_TEST(what_is_settled_when_the_legacy_hook_runs_cannot_be_changed_and_is_closed)
{
    begin(NULL);
    refused("outer/x,set-pgoff=3", EINVAL, "the mapping is established already");
    refused("outer/y,set-prot=0", EINVAL, "the mapping is established already");
    refused("outer/z,set-flags=0x2", EINVAL, "vm_flags");
    ck_assert_uint_eq(rig_counter_of("outer", "mmap"), 3);
    ck_assert_uint_eq(rig_counter_of("outer", "close"), 3); /* it had accepted */
    ck_assert_int_eq(count_vmas(), 0);
    end();
}
END_TEST

START_TEST(a_legacy_hook_past_its_deadline_is_closed_when_it_answers)
{
    begin(quick);
    ck_assert_int_eq(try_map("outer/x,complete-delay-ms=900"), ETIMEDOUT);
    ck_assert_int_eq(count_vmas(), 0);
    wait_for("outer", "close");
    ck_assert_uint_eq(rig_counter_of("outer", "mmap"), 1);
    ck_assert_uint_eq(rig_counter_of("outer", "close"), 1);
    ck_assert_int_eq(try_map("outer/x2"), 0);
    end();
}
END_TEST

START_TEST(a_legacy_hook_past_its_deadline_that_then_refuses_is_not_closed)
{
    begin(quick);
    ck_assert_int_eq(try_map("outer/x,complete-delay-ms=900,mmap-errno=16"), ETIMEDOUT);
    while (rig_txn_state(&rig, "outer/x", "owed-complete"))
        client_sleep_ms(10);
    ck_assert_int_eq(try_map("outer/fence"), 0); /* hooks run in order: a close would be before */
    ck_assert_uint_eq(rig_counter_of("outer", "close"), 1);
    end();
}
END_TEST

START_TEST(the_verbs_of_a_legacy_hook_are_carried_out_and_a_failing_one_is_closed)
{
    begin(NULL);
    void *mapped = client_map_ro(muse, "outer/x,verb=remap", 4);

    ck_assert_uint_eq(faulty_word(mapped, 3, 5), 3 * 512 + 5);
    ck_assert_uint_eq(rig_counter_of("outer", "fault"), 0);
    ck_assert_int_eq(muse_munmap(muse, mapped, 4 * PAGE), 0);
    mapped = client_map_ro(muse, "outer/y,verb=prefault=4,fault-partial", 4);
    ck_assert_uint_eq(rig_counter_of("outer", "fault_pages"), 4);
    ck_assert_int_eq(muse_munmap(muse, mapped, 4 * PAGE), 0);
    ck_assert_uint_eq(rig_counter_of("outer", "close"), 2);
    ck_assert_int_eq(try_map("outer/z,verb=prefault=4,fault-errno=5"), EIO);
    ck_assert_uint_eq(rig_counter_of("outer", "close"), 3);
    ck_assert_int_eq(count_vmas(), 0);
    end();
}
END_TEST

START_TEST(passing_on_from_mmap_prepare_is_einval_and_aborted)
{
    begin(NULL);
    refused("faulty/x,lie=forward", EINVAL,
            "an mmap_prepare cannot be passed on to another driver");
    ck_assert_uint_eq(rig_count(&rig, "faulty", "prepared"), 1);
    ck_assert_uint_eq(rig_count(&rig, "faulty", "aborted"), 1);
    ck_assert_int_eq(count_vmas(), 0);
    end();
}
END_TEST

/* ---- passed on ---- */

START_TEST(a_mapping_that_is_passed_on_is_the_inner_drivers)
{
    begin(NULL);
    void *mapped = client_map_ro(muse, "outer/x,forward=faulty/y;private=5;lock", 8);

    inner_saw(1, 1, 0, 0);
    for (size_t page = 0; page < 8; page++)
        ck_assert_uint_eq(faulty_word(mapped, page, 3), page * 512 + 3);
    ck_assert_uint_ge(rig_counter("fault"), 1);
    ck_assert_uint_eq(rig_counter_of("outer", "fault"), 0);
    ck_assert_int_eq(muse_munmap(muse, (char *)mapped + 2 * PAGE, PAGE), 0); /* its vm operations */
    ck_assert_uint_ge(rig_counter("split"), 1);
    ck_assert_uint_eq(rig_counter("open"), rig_counter("close") + 1);
    ck_assert_int_eq(muse_munmap(muse, mapped, 8 * PAGE), 0);
    inner_saw(1, 1, 0, (unsigned)rig_counter("open") + 1);
    ck_assert_uint_eq(rig_counter_of("outer", "mmap"), 1);
    ck_assert_uint_eq(rig_counter_of("outer", "close"), 0);
    end();
}
END_TEST

START_TEST(errors_of_the_inner_driver_reach_the_client_and_its_abort_is_not_called)
{
    begin(NULL);
    ck_assert_int_eq(try_map("outer/a,forward=faulty/a;open-errno=13"), EACCES);
    ck_assert_int_eq(try_map("outer/b,forward=faulty/b;lock;prepare-errno=12"), ENOMEM);
    inner_saw(1, 0, 0, 0);
    ck_assert_int_eq(try_map("outer/c,forward=faulty/c;lock;complete-errno=11"), EAGAIN);
    inner_saw(2, 1, 0, 1);
    ck_assert_int_eq(try_map("outer/d,forward=faulty/d;open-errno=6"), ENXIO);
    ck_assert_int_eq(count_vmas(), 0);
    ck_assert_uint_eq(rig_counter_of("outer", "close"), 0);
    ck_assert_int_eq(try_map("outer/e,forward=faulty/e"), 0);
    end();
}
END_TEST

START_TEST(what_comes_too_late_for_an_inner_prepare_is_refused_with_the_reason_and_aborted)
{
    static const struct {
        const char *name;
        int error;
        const char *why;
    } rows[] = {
        {"outer/a,forward=faulty/a;lock;set-pgoff=3", EINVAL, "passed on is installed already"},
        {"outer/b,forward=faulty/b;lock;set-prot=0", EINVAL, "passed on is installed already"},
        {"outer/c,forward=faulty/c;lock;set-flags=2", EINVAL, "vm_flags: set a flag"},
        {"outer/d,forward=faulty/d;lock;action=remap", EOPNOTSUPP, "cannot be carried out"},
    };

    begin(NULL);
    for (unsigned i = 0; i < N_ELEMENTS(rows); i++) {
        refused(rows[i].name, rows[i].error, rows[i].why);
        inner_saw(i + 1, 0, i + 1, 0);
    }
    ck_assert_int_eq(count_vmas(), 0);
    end();
}
END_TEST

START_TEST(an_inner_open_or_prepare_past_the_deadline_is_undone_when_it_answers)
{
    begin(quick);
    ck_assert_int_eq(try_map("outer/a,forward=faulty/a;open-delay-ms=900"), ETIMEDOUT);
    wait_for("faulty", "release");
    ck_assert_int_eq(try_map("outer/b,forward=faulty/b;lock;prepare-delay-ms=900"), ETIMEDOUT);
    ck_assert_int_eq(count_vmas(), 0);
    wait_for("faulty", "abort");
    inner_saw(1, 0, 1, 0);
    ck_assert_int_eq(try_map("outer/c,forward=faulty/c;lock"), 0);
    end();
}
END_TEST

START_TEST(an_inner_complete_past_the_deadline_is_closed_when_it_answers)
{
    begin(quick);
    ck_assert_int_eq(try_map("outer/a,forward=faulty/a;complete-delay-ms=900"), ETIMEDOUT);
    ck_assert_int_eq(count_vmas(), 0);
    wait_for("faulty", "close");
    inner_saw(1, 1, 0, 1);
    end();
}
END_TEST

START_TEST(an_inner_driver_that_dies_gives_eio_and_its_next_life_works)
{
    static const char *const names[] = {"outer/a,forward=faulty/a;die-in=open",
                                        "outer/b,forward=faulty/b;die-in=prepare",
                                        "outer/c,forward=faulty/c;die-in=complete"};
    pid_t driver;

    begin(NULL);
    for (unsigned i = 0; i < N_ELEMENTS(names); i++) {
        driver = rig_driver_pid(&rig, "faulty");
        ck_assert_int_eq(try_map(names[i]), EIO);
        (void)wait_for_driver(&rig, "faulty", driver);
        ck_assert_int_eq(count_vmas(), 0);
    }
    ck_assert_int_eq(try_map("outer/d,forward=faulty/d"), 0);
    inner_saw(1, 1, 0, 1);
    end();
}
END_TEST

START_TEST(an_inner_legacy_driver_is_asked_once)
{
    begin(NULL);
    void *mapped = client_map_ro(muse, "outer/x,forward=old/y", 4);

    ck_assert_uint_eq(faulty_word(mapped, 3, 1), 3 * 512 + 1);
    ck_assert_uint_eq(rig_counter_of("old", "mmap"), 1);
    ck_assert_uint_ge(rig_counter_of("old", "fault"), 1);
    ck_assert_int_eq(muse_munmap(muse, mapped, 4 * PAGE), 0);
    ck_assert_int_eq(try_map("outer/z,forward=old/z;mmap-errno=16"), EBUSY);
    ck_assert_uint_eq(rig_counter_of("old", "mmap"), 2);
    inner_saw(0, 0, 0, 0);
    end();
}
END_TEST

START_TEST(passing_on_to_oneself_or_to_nobody_is_refused)
{
    begin(NULL);
    ck_assert_int_eq(try_map("outer/a,forward=outer/b"), ELOOP);
    ck_assert_int_eq(try_map("outer/b,forward=nobody/b"), ENODEV);
    ck_assert_int_eq(try_map("outer/c,forward=faulty"), ENODEV); /* no object in it */
    ck_assert_int_eq(count_vmas(), 0);
    inner_saw(0, 0, 0, 0);
    end();
}
END_TEST

/* ---- MAP_FIXED ---- */

static int replace(const char *name, void *addr, size_t n_pages, size_t pgoff)
{
    void *mapped = client_map_at(muse, name, O_RDONLY,
                                 (struct client_span){addr, n_pages * PAGE, (off_t)(pgoff * PAGE)},
                                 PROT_READ, MAP_SHARED | MAP_FIXED);

    if (mapped == MAP_FAILED)
        return errno;
    ck_assert_ptr_eq(mapped, addr);
    return 0;
}

START_TEST(map_fixed_over_a_mapping_that_was_passed_on_closes_it_at_the_inner_driver)
{
    begin(NULL);
    char *mapped = client_map_ro(muse, "outer/x,forward=faulty/y;ops=close", 8);

    ck_assert_uint_eq(faulty_word(mapped, 2, 1), 2 * 512 + 1);
    ck_assert_int_eq(replace("old/z", mapped, 8, SHIFT), 0);
    inner_saw(1, 1, 0, 1);
    for (size_t page = 0; page < 8; page++)
        ck_assert_uint_eq(faulty_word(mapped, page, 1), (page + SHIFT) * 512 + 1);
    end();
}
END_TEST

START_TEST(a_mapping_passed_on_replaces_what_was_there_or_leaves_it)
{
    begin(NULL);
    char *mapped = client_map_ro(muse, "old/x", 8);

    ck_assert_int_eq(replace("outer/a,forward=faulty/a;complete-errno=11", mapped, 8, 0), EAGAIN);
    ck_assert_int_eq(replace("outer/b,forward=faulty/b;prepare-errno=12", mapped, 8, 0), ENOMEM);
    ck_assert_int_eq(replace("outer/c,mmap-errno=16", mapped, 8, 0), EBUSY);
    ck_assert_uint_eq(rig_counter_of("old", "close"), 0);
    for (size_t page = 0; page < 8; page++)
        ck_assert_uint_eq(faulty_word(mapped, page, 1), page * 512 + 1);
    ck_assert_int_eq(replace("outer/d,forward=faulty/d", mapped, 8, SHIFT), 0);
    for (size_t page = 0; page < 8; page++)
        ck_assert_uint_eq(faulty_word(mapped, page, 1), (page + SHIFT) * 512 + 1);
    ck_assert_uint_eq(rig_counter_of("old", "close"), 1);
    ck_assert_int_eq(muse_munmap(muse, mapped, 8 * PAGE), 0);
    inner_saw(3, 2, 0, 2);
    end();
}
END_TEST

/* ---- muse_invalidate() ---- */

/* Mapped by @client, and read page by page. */
static void *map_random(struct muse *client, const char *name)
{
    struct muse_file *file = client_open(client, name, O_RDONLY);
    void *mapped = muse_mmap(client, NULL, 8 * PAGE, PROT_READ, MAP_SHARED, file, 0);

    ck_assert_ptr_ne(mapped, MAP_FAILED);
    ck_assert_int_eq(muse_madvise(client, mapped, 8 * PAGE, MADV_RANDOM), 0);
    ck_assert_int_eq(muse_close(file), 0);
    return mapped;
}

/* Opening this makes the driver revoke; it is answered afterwards. Return: 0; errno. */
static int invalidate(const char *name)
{
    struct muse_file *file;

    if (muse_open(muse, name, O_RDONLY, &file) < 0)
        return errno;
    ck_assert_int_eq(muse_close(file), 0);
    return 0;
}

START_TEST(revoked_pages_are_asked_again_by_every_client)
{
    struct muse *other;

    begin(NULL);
    other = client_connect();
    void *mine = map_random(muse, "faulty/x,key=1");
    void *theirs = map_random(other, "faulty/x,key=1");

    for (size_t page = 0; page < 8; page++) {
        ck_assert_uint_eq(faulty_word(mine, page, 1), page * 512 + 1);
        ck_assert_uint_eq(faulty_word(theirs, page, 2), page * 512 + 2);
    }
    ck_assert_uint_eq(rig_counter("fault_pages"), 8);
    ck_assert_int_eq(invalidate("faulty/i,invalidate=1,page=3"), 0);
    for (size_t page = 0; page < 8; page++)
        ck_assert_uint_eq(faulty_word(mine, page, 1), page * 512 + 1);
    ck_assert_uint_eq(rig_counter("fault_pages"), 9);
    ck_assert_int_eq(invalidate("faulty/j,invalidate=1"), 0);
    for (size_t page = 0; page < 8; page++) {
        ck_assert_uint_eq(faulty_word(theirs, page, 2), page * 512 + 2);
        ck_assert_uint_eq(faulty_word(mine, page, 1), page * 512 + 1);
    }
    ck_assert_uint_eq(rig_counter("fault_pages"), 17);
    ck_assert_int_eq(invalidate("faulty/k,invalidate=99"), ENOENT);
    ck_assert_int_eq(invalidate("faulty/l,invalidate=1,page=100000"), 0); /* nothing is there */
    ck_assert_uint_eq(rig_counter("invalidated"), 3);
    muse_disconnect(other);
    end();
}
END_TEST

START_TEST(revoked_pages_of_a_failing_driver_are_sigbus_and_not_the_old_bytes)
{
    begin(NULL);
    pid_t driver = rig_driver_pid(&rig, "faulty");
    void *mapped = client_map_ro(muse, "faulty/x,key=1", 4);

    ck_assert_uint_eq(faulty_word(mapped, 1, 1), 513);
    ck_assert_int_eq(invalidate("faulty/i,invalidate=1"), 0);
    ck_assert_int_eq(kill(driver, SIGKILL), 0);
    (void)wait_for_driver(&rig, "faulty", driver);
    ck_assert_int_eq(probe_read(mapped).signal, SIGBUS);
    end();
}
END_TEST

struct mapper {
    const char *name;
    void *mapped;
};

static void *map_in_thread(void *arg)
{
    struct mapper *mapper = arg;

    mapper->mapped = client_map(muse, mapper->name, O_RDONLY, 4 * PAGE, PROT_READ, MAP_SHARED);
    return NULL;
}

static bool is_completing(const struct rig *unused, void *arg)
{
    (void)unused;
    return rig_txn_state(&rig, arg, "completing");
}

/* @name: takes a while to complete on object 1 of faulty */
static void invalidate_during(const char *name, const char *driver)
{
    struct mapper mapper = {.name = name};
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, map_in_thread, &mapper), 0);
    rig_wait(is_completing, &rig, (void *)(uintptr_t)driver, "a map request to complete");
    wait_for("faulty", "complete");
    ck_assert_int_eq(invalidate("faulty/i,invalidate=1"), 0);
    ck_assert(!rig_txn_state(&rig, driver, "completing")); /* it is over by now */
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_ptr_ne(mapper.mapped, MAP_FAILED);
    ck_assert_uint_eq(faulty_word(mapper.mapped, 3, 1), 3 * 512 + 1);
}

START_TEST(a_revoke_waits_for_a_complete_in_progress)
{
    begin(NULL);
    invalidate_during("faulty/x,key=1,complete-delay-ms=1500", "faulty");
    end();
}
END_TEST

START_TEST(a_revoke_waits_for_the_complete_of_an_inner_driver)
{
    begin(NULL);
    invalidate_during("outer/x,forward=faulty/x;key=1;complete-delay-ms=1500", "outer");
    end();
}
END_TEST

START_TEST(a_revoke_waits_for_a_complete_that_is_past_its_deadline)
{
    begin(quick);
    struct muse_file *file = client_open(muse, "faulty/x,key=1,complete-delay-ms=1200", O_RDONLY);

    ck_assert_ptr_eq(muse_mmap(muse, NULL, PAGE, PROT_READ, MAP_SHARED, file, 0), MAP_FAILED);
    ck_assert_int_eq(errno, ETIMEDOUT);
    ck_assert(rig_txn_state(&rig, "faulty", "owed-complete"));
    ck_assert_int_eq(invalidate("faulty/i,invalidate=1"), ETIMEDOUT); /* the open's own deadline */
    while (rig_counter("invalidated") == 0)
        client_sleep_ms(10);
    ck_assert(!rig_txn_state(&rig, "faulty", "owed-complete"));
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("stacked");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, a_legacy_hook_is_called_once_and_closed_once_at_unmap);
    tcase_add_test(tcase, a_legacy_hook_that_refuses_has_no_close_and_the_range_is_unmapped);
    tcase_add_test(tcase,
                   what_is_settled_when_the_legacy_hook_runs_cannot_be_changed_and_is_closed);
    tcase_add_test(tcase, a_legacy_hook_past_its_deadline_is_closed_when_it_answers);
    tcase_add_test(tcase, a_legacy_hook_past_its_deadline_that_then_refuses_is_not_closed);
    tcase_add_test(tcase, the_verbs_of_a_legacy_hook_are_carried_out_and_a_failing_one_is_closed);
    tcase_add_test(tcase, passing_on_from_mmap_prepare_is_einval_and_aborted);
    tcase_add_test(tcase, a_mapping_that_is_passed_on_is_the_inner_drivers);
    tcase_add_test(tcase, errors_of_the_inner_driver_reach_the_client_and_its_abort_is_not_called);
    tcase_add_test(tcase,
                   what_comes_too_late_for_an_inner_prepare_is_refused_with_the_reason_and_aborted);
    tcase_add_test(tcase, an_inner_open_or_prepare_past_the_deadline_is_undone_when_it_answers);
    tcase_add_test(tcase, an_inner_complete_past_the_deadline_is_closed_when_it_answers);
    tcase_add_test(tcase, an_inner_driver_that_dies_gives_eio_and_its_next_life_works);
    tcase_add_test(tcase, an_inner_legacy_driver_is_asked_once);
    tcase_add_test(tcase, passing_on_to_oneself_or_to_nobody_is_refused);
    tcase_add_test(tcase,
                   map_fixed_over_a_mapping_that_was_passed_on_closes_it_at_the_inner_driver);
    tcase_add_test(tcase, a_mapping_passed_on_replaces_what_was_there_or_leaves_it);
    tcase_add_test(tcase, revoked_pages_are_asked_again_by_every_client);
    tcase_add_test(tcase, revoked_pages_of_a_failing_driver_are_sigbus_and_not_the_old_bytes);
    tcase_add_test(tcase, a_revoke_waits_for_a_complete_in_progress);
    tcase_add_test(tcase, a_revoke_waits_for_the_complete_of_an_inner_driver);
    tcase_add_test(tcase, a_revoke_waits_for_a_complete_that_is_past_its_deadline);
    return unit_run("stacked", tcase);
}
