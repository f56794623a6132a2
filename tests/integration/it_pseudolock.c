/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * muse-pseudolock with a real server: the errno of each check, the flags, and above all its lock,
 * which must be free after every path that begins with its mmap_prepare: refused, failed, killed,
 * too late. pseudolock/status says who has it.
 */
#include <errno.h>
#include <fcntl.h>
#include <muse/muse.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <check.h>

#include "common/base/own.h"
#include "tests/support/client.h"
#include "tests/support/folder.h"
#include "tests/support/raw.h"
#include "tests/support/unit.h"

#define N_PAGES ((size_t)16)
#define REGION  (N_PAGES * PAGE)
#define RW      (PROT_READ | PROT_WRITE)

static struct rig rig;
static struct muse *muse;

static void begin(const char *config)
{
    static char driver[256];
    static const char *const drivers[] = {driver, NULL};

    folder_write("region", "", 0);
    ck_assert_int_eq(truncate(folder_path("region"), REGION), 0);
    (void)snprintf(driver, sizeof(driver),
                   "muse-pseudolock --group p0:64K:0-63 --group p1:64K:0-63:%s --group none:0:0-63 "
                   "--group cpu0:64K:0",
                   folder_path("region"));
    rig_start(&rig, config, drivers);
    muse = client_connect();
}

/* What pseudolock/status says now. */
static void read_status(char text[64])
{
    struct muse_file *file = client_open(muse, "pseudolock/status", O_RDONLY);

    ck_assert_int_eq(muse_pread(file, text, 63, 0), 63);
    text[63] = '\0';
    ck_assert_int_eq(muse_close(file), 0);
}

static bool status_begins(const struct rig *of, void *arg)
{
    const char *wanted = arg;
    char text[64];

    (void)of;
    read_status(text);
    return strncmp(text, wanted, strlen(wanted)) == 0;
}

static void expect_free(void)
{
    char text[64];

    read_status(text);
    ck_assert_str_eq(text, "free\n");
}

static void end(void)
{
    expect_free();
    muse_disconnect(muse);
    rig_stop(&rig);
}

static unsigned char *map(const char *name, size_t length, int flags, off_t offset)
{
    return client_map_at(muse, name, O_RDWR, (struct client_span){NULL, length, offset}, RW, flags);
}

START_TEST(a_region_is_mapped_directly_and_zeroed_each_time)
{
    const char *name = _i == 0 ? "pseudolock/p0" : "pseudolock/p1";
    unsigned char *first, *second;

    begin(NULL);
    first = map(name, REGION, MAP_SHARED, 0);
    ck_assert_msg(first != MAP_FAILED, "%s", muse_last_error_text());
    memset(first, 'x', REGION);
    second = map(name, 2 * PAGE, MAP_SHARED, (off_t)(3 * PAGE));
    ck_assert_ptr_ne(second, MAP_FAILED);
    for (size_t at = 0; at < REGION; at += PAGE / 2)
        ck_assert_uint_eq(first[at], at / PAGE == 3 || at / PAGE == 4 ? 0 : 'x');
    second[PAGE] = 'y';
    ck_assert_uint_eq(first[4 * PAGE], 'y');
    ck_assert_int_eq(muse_munmap(muse, second, 2 * PAGE), 0);
    ck_assert_int_eq(muse_munmap(muse, first, REGION), 0);
    end();
}
END_TEST

START_TEST(flags_are_those_of_remap_pfn_range_and_it_does_not_move)
{
    static const char *const flags[] = {"io", "pfnmap", "dontexpand", "dontdump", "shared"};
    unsigned char *bytes;

    begin(NULL);
    bytes = map("pseudolock/p0", 2 * PAGE, MAP_SHARED, 0);
    ck_assert_ptr_ne(bytes, MAP_FAILED);
    for (size_t i = 0; i < N_ELEMENTS(flags); i++)
        ck_assert_msg(client_vma_flag(&rig, bytes, flags[i]), "%s", flags[i]);
    ck_assert_ptr_eq(muse_mremap(muse, bytes, 2 * PAGE, 4 * PAGE, MREMAP_MAYMOVE), MAP_FAILED);
    ck_assert_int_eq(errno, EFAULT);
    ck_assert_ptr_eq(
        muse_mremap(muse, bytes, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, bytes - 8 * PAGE),
        MAP_FAILED);
    ck_assert_int_eq(errno, EINVAL);
    bytes[0] = 1;
    ck_assert_int_eq(muse_munmap(muse, bytes, 2 * PAGE), 0);
    end();
}
END_TEST

static const struct refusal {
    const char *name;
    size_t length;
    int flags;
    off_t offset;
    int error;
} refusals[] = {
    {"pseudolock/none", PAGE, MAP_SHARED, 0, ENODEV},
    {"pseudolock/cpu0", PAGE, MAP_SHARED, 0, EINVAL}, /* this task runs elsewhere, too */
    {"pseudolock/cpu0", PAGE, MAP_SHARED, REGION + PAGE, EINVAL},
    {"pseudolock/p0", PAGE, MAP_PRIVATE, REGION + PAGE, ENOSPC},
    {"pseudolock/p0", REGION + PAGE, MAP_PRIVATE, 0, EINVAL},
    {"pseudolock/p0", REGION + PAGE, MAP_SHARED, 0, ENOSPC},
    {"pseudolock/p0", PAGE, MAP_SHARED, REGION, ENOSPC},
};

START_TEST(each_refusal_has_its_errno_and_the_lock_is_free)
{
    const struct refusal *row = &refusals[_i];
    void *bytes;

    begin(NULL);
    ck_assert_ptr_eq(map(row->name, row->length, row->flags, row->offset), MAP_FAILED);
    ck_assert_int_eq(errno, row->error);
    expect_free();
    bytes = map("pseudolock/p0", PAGE, MAP_SHARED, 0);
    ck_assert_ptr_ne(bytes, MAP_FAILED);
    ck_assert_int_eq(muse_munmap(muse, bytes, PAGE), 0);
    end();
}
END_TEST

START_TEST(a_shared_mapping_that_cannot_be_written_is_not_shared)
{
    begin(NULL);
    ck_assert_ptr_eq(client_map(muse, "pseudolock/p0", O_RDONLY, PAGE, PROT_READ, MAP_SHARED),
                     MAP_FAILED);
    ck_assert_int_eq(errno, EINVAL);
    end();
}
END_TEST

START_TEST(a_task_on_the_right_cpus_may_map)
{
    cpu_set_t before, cpu0;
    void *bytes;

    begin(NULL);
    CPU_ZERO(&cpu0);
    CPU_SET(0, &cpu0);
    ck_assert_int_eq(sched_getaffinity(0, sizeof(before), &before), 0);
    ck_assert_int_eq(sched_setaffinity(0, sizeof(cpu0), &cpu0), 0);
    bytes = map("pseudolock/cpu0", PAGE, MAP_SHARED, 0);
    ck_assert_msg(bytes != MAP_FAILED, "%s", muse_last_error_text());
    ck_assert_int_eq(sched_setaffinity(0, sizeof(before), &before), 0);
    ck_assert_int_eq(muse_munmap(muse, bytes, PAGE), 0);
    end();
}
END_TEST

START_TEST(a_group_that_was_removed_is_enodev)
{
    struct muse_file *file, *other;
    unsigned char *bytes;

    begin(NULL);
    file = client_open(muse, "pseudolock/p0", O_RDWR);
    bytes = muse_mmap(muse, NULL, PAGE, RW, MAP_SHARED, file, 0);
    ck_assert_ptr_ne(bytes, MAP_FAILED);
    ck_assert_int_eq(muse_close(client_open(muse, "pseudolock/remove/p0", O_RDONLY)), 0);
    ck_assert_ptr_eq(muse_mmap(muse, NULL, PAGE, RW, MAP_PRIVATE, file, 0), MAP_FAILED);
    ck_assert_int_eq(errno, ENODEV);
    ck_assert_int_eq(muse_open(muse, "pseudolock/p0", O_RDWR, &other), -1);
    ck_assert_int_eq(errno, ENODEV);
    bytes[0] = 1; /* what is mapped stays */
    ck_assert_int_eq(muse_close(file), 0);
    ck_assert_int_eq(muse_munmap(muse, bytes, PAGE), 0);
    end();
}
END_TEST

START_TEST(a_complete_that_fails_is_eagain_and_the_lock_is_free)
{
    begin(NULL);
    ck_assert_int_eq(truncate(folder_path("region"), PAGE), 0);
    ck_assert_ptr_eq(map("pseudolock/p1", 2 * PAGE, MAP_SHARED, 0), MAP_FAILED);
    ck_assert_int_eq(errno, EAGAIN);
    ck_assert_uint_eq(rig_count(&rig, "pseudolock", "completed"), 1);
    end();
}
END_TEST

/* ---- a client that holds the lock ---- */

/* A client that maps, and never says that it has. In a process of its own, to be killed. */
static pid_t begin_to_map(void)
{
    const pid_t pid = fork();

    if (pid == 0) {
        Muse__Wire__Open open = MUSE__WIRE__OPEN__INIT;
        Muse__Wire__Map map_request = MUSE__WIRE__MAP__INIT;
        Muse__Wire__Opened *opened;
        struct frame *frame;
        struct raw raw;

        raw_hello(&raw, &rig);
        raw_attach(&raw);
        open.name = (char *)(uintptr_t) "pseudolock/p0";
        open.oflags = O_RDWR;
        frame = raw_answer(&raw, FRAME_OPENED, raw_ask(&raw, FRAME_OPEN, &open.base));
        opened = muse__wire__opened__unpack(NULL, frame->n_payload, frame->payload);
        map_request.length = PAGE;
        map_request.prot = RW;
        map_request.flags = MAP_SHARED;
        map_request.file_id = opened->file_id;
        (void)raw_ask(&raw, FRAME_MAP, &map_request.base);
        for (;;)
            (void)pause();
    }
    ck_assert_int_gt(pid, 0);
    return pid;
}

static pid_t hold_lock(void)
{
    const pid_t pid = begin_to_map();

    rig_wait(status_begins, &rig, (char[]){"held by "}, "the lock to be held");
    return pid;
}

static void kill_it(pid_t pid)
{
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

START_TEST(a_client_that_is_killed_between_prepare_and_complete_frees_the_lock)
{
    begin("[deadlines]\ninstall_ms = 60000\n");
    kill_it(hold_lock());
    rig_wait(status_begins, &rig, (char[]){"free"}, "the lock to be free");
    ck_assert_uint_eq(rig_count(&rig, "pseudolock", "aborted"), 1);
    end();
}
END_TEST

START_TEST(a_client_that_never_confirms_loses_the_lock_at_its_deadline)
{
    pid_t pid;

    begin("[deadlines]\ninstall_ms = 100\n");
    pid = begin_to_map();
    while (rig_count(&rig, "pseudolock", "aborted") == 0)
        client_sleep_ms(2);
    rig_wait(status_begins, &rig, (char[]){"free"}, "the lock to be free");
    kill_it(pid);
    end();
}
END_TEST

static void *map_in_turn(void *arg)
{
    void **bytes = arg;

    *bytes = map("pseudolock/p1", PAGE, MAP_SHARED, 0);
    return NULL;
}

START_TEST(a_second_prepare_waits_for_its_turn_and_others_do_not)
{
    pthread_t thread;
    void *bytes;
    pid_t pid;

    begin("[deadlines]\ninstall_ms = 60000\nhook_ms = 60000\n");
    pid = hold_lock();
    ck_assert_int_eq(pthread_create(&thread, NULL, map_in_turn, &bytes), 0);
    for (char text[64]; read_status(text), !strstr(text, ", 1 waiting");)
        client_sleep_ms(2);
    kill_it(pid);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_ptr_ne(bytes, MAP_FAILED);
    ck_assert_int_eq(muse_munmap(muse, bytes, PAGE), 0);
    end();
}
END_TEST

START_TEST(a_waiting_prepare_past_its_deadline_does_not_keep_the_lock)
{
    pid_t pid;

    begin("[deadlines]\ninstall_ms = 60000\nhook_ms = 100\n");
    pid = hold_lock();
    ck_assert_ptr_eq(map("pseudolock/p1", PAGE, MAP_SHARED, 0), MAP_FAILED);
    ck_assert_int_eq(errno, ETIMEDOUT);
    kill_it(pid); /* now it is the turn of the late one: prepared, and aborted at once */
    rig_wait(status_begins, &rig, (char[]){"free"}, "the lock to be free");
    end();
}
END_TEST

#define N_CLIENTS 4
#define N_MAPS    40

static void map_often(void)
{
    struct muse *own = client_connect();

    for (unsigned i = 0; i < N_MAPS; i++) {
        void *bytes = client_map(own, "pseudolock/p0", O_RDWR, PAGE * (1 + i % 4), RW, MAP_SHARED);

        if (bytes == MAP_FAILED || muse_munmap(own, bytes, PAGE * (1 + i % 4)) < 0)
            _exit(1);
    }
    muse_disconnect(own);
    _exit(0);
}

START_TEST(clients_that_map_at_once_all_get_their_turn_also_when_some_are_killed)
{
    pid_t pids[N_CLIENTS];

    begin(NULL);
    for (unsigned i = 0; i < N_CLIENTS; i++) {
        pids[i] = fork();
        if (pids[i] == 0)
            map_often();
    }
    client_sleep_ms(5);
    ck_assert_int_eq(kill(pids[0], SIGKILL), 0);
    for (unsigned i = 0; i < N_CLIENTS; i++) {
        int status;

        ck_assert_int_eq(waitpid(pids[i], &status, 0), pids[i]);
        ck_assert_msg(status == 0 || i == 0, "client %u: %#x", i, (unsigned)status);
    }
    rig_wait(status_begins, &rig, (char[]){"free"}, "the lock to be free");
    end();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("pseudolock");

    tcase_add_checked_fixture(tcase, folder_make, folder_remove);
    tcase_add_loop_test(tcase, a_region_is_mapped_directly_and_zeroed_each_time, 0, 2);
    tcase_add_test(tcase, flags_are_those_of_remap_pfn_range_and_it_does_not_move);
    tcase_add_loop_test(tcase, each_refusal_has_its_errno_and_the_lock_is_free, 0,
                        N_ELEMENTS(refusals));
    tcase_add_test(tcase, a_shared_mapping_that_cannot_be_written_is_not_shared);
    tcase_add_test(tcase, a_task_on_the_right_cpus_may_map);
    tcase_add_test(tcase, a_group_that_was_removed_is_enodev);
    tcase_add_test(tcase, a_complete_that_fails_is_eagain_and_the_lock_is_free);
    tcase_add_test(tcase, a_client_that_is_killed_between_prepare_and_complete_frees_the_lock);
    tcase_add_test(tcase, a_client_that_never_confirms_loses_the_lock_at_its_deadline);
    tcase_add_test(tcase, a_second_prepare_waits_for_its_turn_and_others_do_not);
    tcase_add_test(tcase, a_waiting_prepare_past_its_deadline_does_not_keep_the_lock);
    tcase_add_test(tcase, clients_that_map_at_once_all_get_their_turn_also_when_some_are_killed);
    tcase_set_timeout(tcase, 60);
    return unit_run("pseudolock", tcase);
}
