/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every row of the outcome table (docs/contract.md, section 2) with real processes. What the driver
 * saw is read from the driver itself (faulty/counters), what the client saw is errno; rig_stop()
 * then demands that nothing was left anywhere.
 */
#include <errno.h>
#include <fcntl.h>
#include <muse/muse.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <check.h>

#include "tests/support/client.h"
#include "tests/support/kernel.h"
#include "tests/support/raw.h"
#include "tests/support/unit.h"

static const char *const faulty[] = {"muse-faulty", NULL};
static const char quick[] = "[deadlines]\nhook_ms = 300\ninstall_ms = 300\n";

static struct rig rig;
static struct muse *muse;

static void begin(const char *config, const char *const *drivers)
{
    rig_start(&rig, config, drivers);
    ck_assert_int_eq(muse_connect(&muse, NULL), 0);
}

static void end(void)
{
    muse_disconnect(muse);
    rig_stop(&rig);
}

/* Maps @pages of an object; the file is closed at once. Return: the address; MAP_FAILED, errno. */
static void *map(const char *name, size_t pages, int prot, int flags, void *addr, off_t offset)
{
    struct muse_file *file;
    void *mapped;
    int error;

    if (muse_open(muse, name, O_RDONLY, &file) < 0)
        return MAP_FAILED;
    mapped = muse_mmap(muse, addr, pages * PAGE, prot, flags, file, offset);
    error = errno;
    ck_assert_int_eq(muse_close(file), 0);
    errno = error;
    return mapped;
}

static void *map_ro(const char *name, size_t pages)
{
    return map(name, pages, PROT_READ, MAP_SHARED, NULL, 0);
}

static void driver_saw(unsigned prepares, unsigned completes, unsigned aborts, unsigned closes)
{
    ck_assert_uint_eq(rig_counter("prepare"), prepares);
    ck_assert_uint_eq(rig_counter("complete"), completes);
    ck_assert_uint_eq(rig_counter("abort"), aborts);
    ck_assert_uint_eq(rig_counter("close"), closes);
    ck_assert_uint_eq(rig_counter("locked"), 0);
}

static uint64_t word_at(const void *mapped, size_t page, size_t index)
{
    return ((const volatile uint64_t *)mapped)[page * 512 + index];
}

START_TEST(what_is_refused_before_prepare_reaches_no_hook)
{
    begin(NULL, faulty);
    ck_assert_ptr_eq(map("faulty/all,lock", 0, PROT_READ, MAP_SHARED, NULL, 0), MAP_FAILED);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_ptr_eq(map("faulty/all,lock", 1, PROT_READ | PROT_WRITE, MAP_SHARED, NULL, 0),
                     MAP_FAILED);
    ck_assert_int_eq(errno, EACCES);
    driver_saw(0, 0, 0, 0);
    end();
}
END_TEST

START_TEST(an_error_of_prepare_is_the_callers_and_has_no_abort)
{
    begin(NULL, faulty);
    ck_assert_ptr_eq(map_ro("faulty/x,prepare-errno=13", 1), MAP_FAILED);
    ck_assert_int_eq(errno, EACCES);
    driver_saw(1, 0, 0, 0);
    end();
}
END_TEST

static uint64_t server_counted(const char *key)
{
    json_t *document = rig_ctl(&rig, "drivers");
    const json_t *driver = json_array_get(json_object_get(document, "drivers"), 0);
    const json_t *counts = json_object_get(driver, "counts");
    const uint64_t number = (uint64_t)json_integer_value(json_object_get(counts, key));

    ck_assert_ptr_nonnull(json_object_get(counts, key));
    json_decref(document);
    return number;
}

START_TEST(a_prepare_that_returns_no_errno_is_aborted_with_einval)
{
    begin(NULL, faulty);
    ck_assert_ptr_eq(map_ro("faulty/x,lock,lie=bad-errno,private=7", 1), MAP_FAILED);
    ck_assert_int_eq(errno, EINVAL);
    driver_saw(1, 0, 1, 0);
    ck_assert_ptr_eq(map_ro("faulty/y,lock,lie=positive", 1), MAP_FAILED);
    ck_assert_int_eq(errno, EINVAL);
    driver_saw(2, 0, 2, 0);
    ck_assert_uint_eq(rig_counter("mismatch"), 0);
    ck_assert_uint_eq(rig_counter("in_flight"), 0);
    ck_assert_uint_eq(server_counted("prepared"), 2);
    ck_assert_uint_eq(server_counted("aborted"), 2);
    ck_assert_uint_eq(server_counted("completed"), 0);
    ck_assert_uint_eq(server_counted("errors"), 2);
    end();
}
END_TEST

START_TEST(a_complete_that_returns_no_errno_is_closed_with_eremoteio)
{
    begin(NULL, faulty);
    ck_assert_ptr_eq(map_ro("faulty/x,lock,complete-errno=5000", 1), MAP_FAILED);
    ck_assert_int_eq(errno, EREMOTEIO);
    driver_saw(1, 1, 0, 1);
    ck_assert_uint_eq(server_counted("completed"), 1);
    ck_assert_uint_eq(server_counted("aborted"), 0);
    ck_assert_uint_eq(server_counted("vm_close"), 1);
    ck_assert_uint_eq(server_counted("errors"), 1);
    end();
}
END_TEST

START_TEST(an_answer_that_is_not_allowed_is_aborted_with_einval)
{
    begin(NULL, faulty);
    ck_assert_ptr_eq(map_ro("faulty/x,lock,set-flags=0x2", 1), MAP_FAILED); /* VM_WRITE */
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_ptr_eq(map_ro("faulty/x,lock,clear-flags=0x1", 1), MAP_FAILED); /* VM_READ */
    ck_assert_int_eq(errno, EINVAL);
    driver_saw(2, 0, 2, 0);
    end();
}
END_TEST

static uint64_t raw_map_private(struct raw *raw, uint64_t file_id)
{
    Muse__Wire__Map message = MUSE__WIRE__MAP__INIT;

    message.length = PAGE;
    message.prot = PROT_READ;
    message.flags = MAP_PRIVATE;
    message.file_id = file_id;
    return raw_ask(raw, FRAME_MAP, &message.base);
}

static void raw_close(struct raw *raw, uint64_t file_id)
{
    Muse__Wire__FileRef message = MUSE__WIRE__FILE_REF__INIT;

    message.file_id = file_id;
    (void)raw_answer(raw, FRAME_DONE, raw_ask(raw, FRAME_CLOSE, &message.base));
}

/*
 * The client has closed the file that is being mapped, so the server must send an fd with the order
 * to map, and while prepare runs it is taken away the right to open one.
 */
START_TEST(want_of_resources_after_prepare_is_aborted)
{
    struct rlimit limit, none;
    struct muse_file *keeper;
    uint64_t file_id, id;
    struct raw raw;

    begin(NULL, faulty);
    ck_assert_int_eq(muse_open(muse, "faulty/x,lock,prepare-delay-ms=1200", O_RDWR, &keeper), 0);
    raw_hello(&raw, &rig);
    raw_attach(&raw);
    file_id = raw_open_rw(&raw, "faulty/x,lock,prepare-delay-ms=1200");
    id = raw_map_private(&raw, file_id);
    raw_close(&raw, file_id);
    ck_assert_int_eq(prlimit(rig.server, RLIMIT_NOFILE, NULL, &limit), 0);
    none = (struct rlimit){.rlim_cur = 3, .rlim_max = limit.rlim_max};
    ck_assert_int_eq(prlimit(rig.server, RLIMIT_NOFILE, &none, NULL), 0);
    ck_assert_int_eq(raw_failure(&raw, id), EMFILE);
    ck_assert_int_eq(prlimit(rig.server, RLIMIT_NOFILE, &limit, NULL), 0);
    driver_saw(1, 0, 1, 0);
    raw_done(&raw);
    ck_assert_int_eq(muse_close(keeper), 0);
    end();
}
END_TEST

START_TEST(a_new_mapping_is_prepared_and_completed_and_closed_at_unmap)
{
    begin(NULL, faulty);
    void *mapped = map_ro("faulty/all,lock", 4);

    ck_assert_ptr_ne(mapped, MAP_FAILED);
    driver_saw(1, 1, 0, 0);
    ck_assert_uint_eq(word_at(mapped, 3, 5), 3 * 512 + 5);
    ck_assert_int_eq(muse_munmap(muse, mapped, 4 * PAGE), 0);
    ck_assert_int_eq(rig_signal_of(mapped), SIGSEGV);
    driver_saw(1, 1, 0, 1);
    end();
}
END_TEST

START_TEST(a_merge_is_completed_once_each_and_closed_once)
{
    struct muse_file *file;
    char *low, *high;

    begin(NULL, faulty);
    ck_assert_int_eq(muse_open(muse, "faulty/all,ops=close,lock", O_RDONLY, &file), 0);
    high = muse_mmap(muse, NULL, PAGE, PROT_READ, MAP_SHARED, file, PAGE);
    ck_assert_ptr_ne(high, MAP_FAILED);
    low = muse_mmap(muse, high - PAGE, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED_NOREPLACE, file, 0);
    ck_assert_ptr_eq(low, high - PAGE);
    ck_assert_uint_eq(rig_stat(&rig, "merges"), 1);
    driver_saw(2, 2, 0, 0);
    ck_assert_uint_eq(word_at(low, 0, 1), 1);
    ck_assert_uint_eq(word_at(low, 1, 1), 513);
    ck_assert_int_eq(muse_munmap(muse, low, 2 * PAGE), 0);
    driver_saw(2, 2, 0, 1);
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

START_TEST(kernel_v1_tells_a_merged_driver_nothing_and_its_lock_leaks)
{
    struct muse_file *file;
    char *high;

    begin("[server]\ncontract = kernel-v1\n", faulty);
    rig.skip_audit = true; /* that is the point */
    ck_assert_int_eq(muse_open(muse, "faulty/all,ops=close,lock", O_RDONLY, &file), 0);
    high = muse_mmap(muse, NULL, PAGE, PROT_READ, MAP_SHARED, file, PAGE);
    ck_assert_ptr_ne(high, MAP_FAILED);
    ck_assert_ptr_eq(
        muse_mmap(muse, high - PAGE, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED_NOREPLACE, file, 0),
        high - PAGE);
    ck_assert_uint_eq(rig_counter("prepare"), 2);
    ck_assert_uint_eq(rig_counter("complete"), 1);
    ck_assert_uint_eq(rig_counter("abort"), 0);
    ck_assert_uint_eq(rig_counter("locked"), 1); /* taken in prepare, never given back */
    ck_assert_int_ne(rig_ctl_status(&rig, "audit"), 0);
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

START_TEST(a_failing_complete_unmaps_and_is_followed_by_close)
{
    begin(NULL, faulty);
    ck_assert_ptr_eq(map_ro("faulty/all,lock,ops=close,complete-errno=11", 1), MAP_FAILED);
    ck_assert_int_eq(errno, EAGAIN);
    driver_saw(1, 1, 0, 1);
    end();
}
END_TEST

START_TEST(prepare_past_its_deadline_is_aborted_when_it_comes)
{
    begin(quick, faulty);
    ck_assert_ptr_eq(map_ro("faulty/all,lock,prepare-delay-ms=600", 1), MAP_FAILED);
    ck_assert_int_eq(errno, ETIMEDOUT);
    while (rig_counter("abort") == 0)
        (void)usleep(10000);
    driver_saw(1, 0, 1, 0);
    end();
}
END_TEST

START_TEST(complete_past_its_deadline_is_closed_and_the_late_answer_ignored)
{
    begin(quick, faulty);
    ck_assert_ptr_eq(map_ro("faulty/all,ops=close,complete-delay-ms=600", 1), MAP_FAILED);
    ck_assert_int_eq(errno, ETIMEDOUT);
    while (rig_counter("close") == 0)
        (void)usleep(10000);
    driver_saw(1, 1, 0, 1);
    end();
}
END_TEST

START_TEST(a_failing_verb_of_complete_is_followed_by_close)
{
    begin(NULL, faulty);
    ck_assert_ptr_eq(map_ro("faulty/a,lock,verb=prefault=4,fault-errno=5", 4), MAP_FAILED);
    ck_assert_int_eq(errno, EIO);
    driver_saw(1, 1, 0, 1);
    ck_assert_ptr_eq(map_ro("faulty/b,lock,verb=prefault=4,size=8K", 4), MAP_FAILED);
    ck_assert_int_eq(errno, EFAULT); /* beyond the object's end */
    driver_saw(2, 2, 0, 2);
    end();
}
END_TEST

/* ---- MAP_FIXED: the last move fails ---- */

START_TEST(a_move_that_the_kernel_refuses_is_closed_and_the_old_mapping_stands)
{
    char *old;

    begin(NULL, faulty);
    old = map_ro("faulty/old,ops=close", 4);
    ck_assert_ptr_ne(old, MAP_FAILED);
    ck_assert_uint_eq(word_at(old, 1, 3), 512 + 3);
    if (kernel_mseal(old, 4 * PAGE) == 0) { /* Linux 6.10; the next test needs it not */
        ck_assert_ptr_eq(
            map("faulty/new,lock,ops=close", 4, PROT_READ, MAP_SHARED | MAP_FIXED, old, 0),
            MAP_FAILED);
        ck_assert_int_eq(errno, EPERM);
        driver_saw(2, 2, 0, 1);
        for (size_t page = 0; page < 4; page++) /* registered and served as before */
            ck_assert_uint_eq(word_at(old, page, 3), page * 512 + 3);
    }
    end();
}
END_TEST

/* Maps @name over a page of the same client's, which says that it could not move. */
static void fail_the_move(const char *name)
{
    uint64_t file_id, id, start;
    struct raw raw;

    raw_hello(&raw, &rig);
    raw_attach(&raw);
    file_id = raw_open(&raw, name);
    start = raw_map_page(&raw, file_id);
    id = raw_map(&raw, file_id, start, PAGE, MAP_FIXED);
    raw_carry_out(&raw, raw_answer(&raw, FRAME_MEM_OPS, id));
    (void)raw_answer(&raw, FRAME_MEM_OPS, id);
    raw_ops_done(&raw, id, ENOMEM);
    raw_carry_out(&raw, raw_answer(&raw, FRAME_MEM_OPS, id)); /* undo */
    ck_assert_int_eq(raw_failure(&raw, id), ENOMEM);
    ck_assert_uint_eq(rig_stat(&rig, "maps"), 1);
    raw_done(&raw);
}

START_TEST(a_move_that_fails_after_complete_is_closed)
{
    begin(NULL, faulty);
    fail_the_move("faulty/x,lock,ops=close");
    wait_for_counter("close", 2); /* the new one's, and the old one's at its client's end */
    driver_saw(2, 2, 0, 2);
    ck_assert_uint_eq(rig_count(&rig, "faulty", "completed"), 2);
    end();
}
END_TEST

START_TEST(a_move_that_fails_for_a_driver_without_complete_counts_as_aborted)
{
    static const char *const no_complete[] = {"muse-faulty --no-complete", NULL};

    begin(NULL, no_complete);
    fail_the_move("faulty/x,ops=close");
    wait_for_counter("close", 1); /* the old one's only */
    driver_saw(2, 0, 0, 1);
    ck_assert_uint_eq(rig_count(&rig, "faulty", "prepared"), 2);
    ck_assert_uint_eq(rig_count(&rig, "faulty", "completed"), 1); /* it lived */
    ck_assert_uint_eq(rig_count(&rig, "faulty", "aborted"), 1);
    end();
}
END_TEST

/* Maps a page where nothing stands, which is opened in the end: the client says that it could not. */
static void fail_to_open(const char *name, bool goes)
{
    struct raw raw;
    uint64_t id;

    raw_hello(&raw, &rig);
    raw_attach(&raw);
    id = raw_map(&raw, raw_open(&raw, name), raw_place(&raw), PAGE, MAP_FIXED);
    raw_carry_out(&raw, raw_answer(&raw, FRAME_MEM_OPS, id));
    (void)raw_answer(&raw, FRAME_MEM_OPS, id);
    if (goes) { /* at this point */
        raw_done(&raw);
        return;
    }
    raw_ops_done(&raw, id, ENOMEM);
    raw_carry_out(&raw, raw_answer(&raw, FRAME_MEM_OPS, id)); /* undo */
    ck_assert_int_eq(raw_failure(&raw, id), ENOMEM);
    ck_assert_uint_eq(rig_stat(&rig, "maps"), 0);
    raw_done(&raw);
}

START_TEST(a_mapping_that_cannot_be_opened_after_complete_is_closed)
{
    begin(NULL, faulty);
    fail_to_open("faulty/x,lock,ops=close", _i == 1);
    wait_for_counter("close", 1);
    driver_saw(1, 1, 0, 1);
    end();
}
END_TEST

START_TEST(a_mapping_that_cannot_be_opened_of_a_driver_without_complete_counts_as_aborted)
{
    static const char *const no_complete[] = {"muse-faulty --no-complete", NULL};

    begin(NULL, no_complete);
    fail_to_open("faulty/x,ops=close", _i == 1);
    while (rig_count(&rig, "faulty", "aborted") == 0)
        client_sleep_ms(2);
    driver_saw(1, 0, 0, 0);
    ck_assert_uint_eq(rig_count(&rig, "faulty", "prepared"), 1);
    ck_assert_uint_eq(rig_count(&rig, "faulty", "completed"), 0);
    end();
}
END_TEST

/* What mremap adds at an address that was named is made elsewhere: the client cannot move it, or goes at this point. */
START_TEST(a_growth_that_cannot_be_moved_into_place_leaves_the_source_and_nothing_else)
{
    Muse__Wire__Remap message = MUSE__WIRE__REMAP__INIT;
    struct raw raw;
    uint64_t id;

    begin(NULL, faulty);
    raw_hello(&raw, &rig);
    raw_attach(&raw);
    message.addr = raw_map_page(&raw, raw_open(&raw, "faulty/x"));
    message.old_length = PAGE;
    message.new_length = 2 * PAGE;
    message.flags = MREMAP_MAYMOVE | MREMAP_FIXED;
    message.new_addr = message.addr + 16 * PAGE;
    id = raw_ask(&raw, FRAME_REMAP, &message.base);
    raw_carry_out(&raw, raw_answer(&raw, FRAME_MEM_OPS, id));
    (void)raw_answer(&raw, FRAME_MEM_OPS, id);
    if (_i == 0) {
        raw_ops_done(&raw, id, ENOMEM);
        raw_carry_out(&raw, raw_answer(&raw, FRAME_MEM_OPS, id)); /* undo */
        ck_assert_int_eq(raw_failure(&raw, id), ENOMEM);
        wait_for_counter("close", 1); /* of the copy that was opened */
    }
    raw_done(&raw);
    wait_for_counter("close", 2);
    ck_assert_uint_eq(rig_counter("open"), 1);
    driver_saw(1, 1, 0, 2);
    end();
}
END_TEST

/* A child that connects, maps and is killed by its parent while the driver sits in a hook. */
static pid_t start_victim(const char *name)
{
    pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        struct muse *own;
        struct muse_file *file;

        if (muse_connect(&own, NULL) == 0 && muse_open(own, name, O_RDONLY, &file) == 0)
            (void)muse_mmap(own, NULL, PAGE, PROT_READ, MAP_SHARED, file, 0);
        _exit(0);
    }
    return pid;
}

static void kill_victim(pid_t pid)
{
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

START_TEST(a_client_killed_during_prepare_is_aborted)
{
    pid_t victim;

    begin(NULL, faulty);
    victim = start_victim("faulty/all,lock,prepare-delay-ms=500");
    wait_for_counter("prepare", 1);
    kill_victim(victim);
    wait_for_counter("abort", 1);
    driver_saw(1, 0, 1, 0);
    end();
}
END_TEST

START_TEST(a_client_killed_during_complete_is_closed_after_complete_has_answered)
{
    pid_t victim;

    begin(NULL, faulty);
    victim = start_victim("faulty/all,ops=close,complete-delay-ms=500");
    wait_for_counter("complete", 1);
    kill_victim(victim);
    wait_for_counter("close", 1);
    driver_saw(1, 1, 0, 1);
    ck_assert_uint_eq(rig_counter("mismatch"), 0);
    end();
}
END_TEST

START_TEST(a_driver_that_dies_in_prepare_gives_eio_and_comes_back)
{
    begin(NULL, faulty);
    ck_assert_ptr_eq(map_ro("faulty/all,die-in=prepare", 1), MAP_FAILED);
    ck_assert_int_eq(errno, EIO);
    while (rig_driver_pid(&rig, "faulty") == 0)
        (void)usleep(10000);
    ck_assert_ptr_ne(map_ro("faulty/all", 1), MAP_FAILED);
    end();
}
END_TEST

START_TEST(a_driver_that_dies_in_complete_gives_eio_and_nothing_stays_mapped)
{
    begin(NULL, faulty);
    ck_assert_ptr_eq(map_ro("faulty/all,die-in=complete", 1), MAP_FAILED);
    ck_assert_int_eq(errno, EIO);
    while (rig_driver_pid(&rig, "faulty") == 0)
        (void)usleep(10000);
    ck_assert_ptr_ne(map_ro("faulty/all", 1), MAP_FAILED);
    end();
}
END_TEST

START_TEST(a_driver_that_dies_later_leaves_sigbus_and_a_reason_never_zeros)
{
    struct muse_error error;
    char *mapped;

    begin(NULL, faulty);
    mapped = map_ro("faulty/all,fault-single", 64);
    ck_assert_ptr_ne(mapped, MAP_FAILED);
    ck_assert_uint_eq(word_at(mapped, 0, 1), 1);
    ck_assert_int_eq(kill(rig_driver_pid(&rig, "faulty"), SIGKILL), 0);
    ck_assert_int_eq(rig_signal_of(mapped + 63 * PAGE), SIGBUS);
    ck_assert_int_eq(muse_error_at(muse, mapped + 63 * PAGE, &error), 0);
    ck_assert_int_eq(error.error, EIO);
    ck_assert_str_eq(error.driver, "faulty");
    ck_assert_uint_eq(word_at(mapped, 0, 2), 2); /* what was valid stays readable */
    ck_assert_int_eq(muse_munmap(muse, mapped, 64 * PAGE), 0);
    while (rig_driver_pid(&rig, "faulty") == 0)
        (void)usleep(10000);
    end();
}
END_TEST

START_TEST(a_driver_ends_by_itself_when_the_server_dies)
{
    pid_t driver;

    begin(NULL, faulty);
    driver = rig_driver_pid(&rig, "faulty");
    ck_assert_ptr_ne(map_ro("faulty/all,ops=close", 1), MAP_FAILED);
    rig_kill(&rig);
    for (int i = 0; i < 500 && kill(driver, 0) == 0; i++)
        (void)usleep(10000);
    ck_assert_int_ne(kill(driver, 0), 0);
    muse_disconnect(muse);
}
END_TEST

/* A number of what a driver has written at its end. */
static unsigned long reported(const char *report, const char *name)
{
    char key[32];
    const char *found;

    (void)snprintf(key, sizeof(key), " %s=", name);
    found = strstr(report, key);
    ck_assert_msg(found != NULL, "no %s in: %s", name, report);
    return strtoul(found + strlen(key), NULL, 10);
}

static void read_report(char *report, size_t size)
{
    char path[160];
    FILE *file;

    (void)snprintf(path, sizeof(path), "%s/report", rig.data);
    file = fopen(path, "re");
    ck_assert_ptr_nonnull(file);
    report[0] = ' '; /* the first counter has a blank before it, too */
    ck_assert_ptr_nonnull(fgets(report + 1, (int)size - 1, file));
    (void)fclose(file);
}

/*
 * In the driver, when the server is killed: one live mapping; one whose client does not map, after
 * prepare; one whose prepare, and one whose complete, has yet to be answered.
 */
START_TEST(when_the_server_is_killed_the_sdk_aborts_what_is_open_and_closes_what_lives)
{
    static const char *const with_report[] = {"muse-faulty --report %s/report", NULL};
    pid_t driver, preparing, completing;
    char report[1200];
    struct raw raw;

    begin(NULL, with_report);
    driver = rig_driver_pid(&rig, "faulty");
    preparing = start_victim("faulty/preparing,prepare-delay-ms=900");
    completing = start_victim("faulty/completing,ops=close,complete-delay-ms=900");
    /* after the victims: a forked child has its parent's mappings */
    ck_assert_ptr_ne(map_ro("faulty/live,ops=close", 1), MAP_FAILED);
    raw_hello(&raw, &rig);
    raw_attach(&raw);
    (void)raw_answer(&raw, FRAME_MEM_OPS,
                     raw_map(&raw, raw_open(&raw, "faulty/installing,lock"), 0, PAGE, 0));
    wait_for_counter("prepare", 4);
    wait_for_counter("complete", 2);
    ck_assert_uint_eq(rig_counter("abort") + rig_counter("close"), 0);
    ck_assert_int_eq(kill(rig.server, SIGKILL), 0);
    ck_assert_int_eq(waitpid(rig.server, NULL, 0), rig.server);
    for (int i = 0; i < 1000 && kill(driver, 0) == 0; i++)
        (void)usleep(10000);
    ck_assert_int_ne(kill(driver, 0), 0);
    read_report(report, sizeof(report));
    ck_assert_uint_eq(reported(report, "prepare"), 4);
    ck_assert_uint_eq(reported(report, "complete"), 2);
    ck_assert_uint_eq(reported(report, "abort"), 2); /* installing, preparing */
    ck_assert_uint_eq(reported(report, "close"), 2); /* live, completing */
    ck_assert_uint_eq(reported(report, "in_flight"), 0);
    ck_assert_uint_eq(reported(report, "locked"), 0);
    ck_assert_uint_eq(reported(report, "mismatch"), 0);
    ck_assert_uint_eq(reported(report, "opened"), reported(report, "release"));
    kill_victim(preparing);
    kill_victim(completing);
    muse_disconnect(muse);
    raw_done(&raw);
    rig_remove(&rig);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("outcomes");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, what_is_refused_before_prepare_reaches_no_hook);
    tcase_add_test(tcase, an_error_of_prepare_is_the_callers_and_has_no_abort);
    tcase_add_test(tcase, a_prepare_that_returns_no_errno_is_aborted_with_einval);
    tcase_add_test(tcase, a_complete_that_returns_no_errno_is_closed_with_eremoteio);
    tcase_add_test(tcase, an_answer_that_is_not_allowed_is_aborted_with_einval);
    tcase_add_test(tcase, want_of_resources_after_prepare_is_aborted);
    tcase_add_test(tcase, a_new_mapping_is_prepared_and_completed_and_closed_at_unmap);
    tcase_add_test(tcase, a_merge_is_completed_once_each_and_closed_once);
    tcase_add_test(tcase, kernel_v1_tells_a_merged_driver_nothing_and_its_lock_leaks);
    tcase_add_test(tcase, a_failing_complete_unmaps_and_is_followed_by_close);
    tcase_add_test(tcase, prepare_past_its_deadline_is_aborted_when_it_comes);
    tcase_add_test(tcase, complete_past_its_deadline_is_closed_and_the_late_answer_ignored);
    tcase_add_test(tcase, a_client_killed_during_prepare_is_aborted);
    tcase_add_test(tcase, a_client_killed_during_complete_is_closed_after_complete_has_answered);
    tcase_add_test(tcase, a_driver_that_dies_in_prepare_gives_eio_and_comes_back);
    tcase_add_test(tcase, a_driver_that_dies_in_complete_gives_eio_and_nothing_stays_mapped);
    tcase_add_test(tcase, a_driver_that_dies_later_leaves_sigbus_and_a_reason_never_zeros);
    tcase_add_test(tcase, a_driver_ends_by_itself_when_the_server_dies);
    tcase_add_test(tcase, a_failing_verb_of_complete_is_followed_by_close);
    tcase_add_test(tcase, a_move_that_the_kernel_refuses_is_closed_and_the_old_mapping_stands);
    tcase_add_test(tcase, a_move_that_fails_after_complete_is_closed);
    tcase_add_test(tcase, a_move_that_fails_for_a_driver_without_complete_counts_as_aborted);
    tcase_add_loop_test(tcase, a_mapping_that_cannot_be_opened_after_complete_is_closed, 0, 2);
    tcase_add_loop_test(
        tcase, a_growth_that_cannot_be_moved_into_place_leaves_the_source_and_nothing_else, 0, 2);
    tcase_add_loop_test(
        tcase, a_mapping_that_cannot_be_opened_of_a_driver_without_complete_counts_as_aborted, 0,
        2);
    tcase_add_test(tcase,
                   when_the_server_is_killed_the_sdk_aborts_what_is_open_and_closes_what_lives);
    return unit_run("outcomes", tcase);
}
