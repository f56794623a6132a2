/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A file that a driver makes in mmap_prepare for the mapping (muse_desc_open_file): it lives exactly
 * as long, and on every path that comes to nothing it is released, whoever fails, is late or dies.
 */
#include <errno.h>
#include <fcntl.h>
#include <muse/muse.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <check.h>

#include "common/base/own.h"
#include "tests/support/client.h"
#include "tests/support/unit.h"

static const char *const drivers[] = {"muse-faulty", "muse-faulty --legacy --name old", NULL};

static struct rig rig;
static struct muse *muse;

static void begin(void)
{
    rig_start(&rig, "[deadlines]\nhook_ms = 400\n", drivers);
    muse = client_connect();
}

static bool all_released(const struct rig *of, void *driver)
{
    (void)of;
    return rig_counter_of(driver, "release") == rig_counter_of(driver, "opened");
}

/* rig_stop() counts objects, requests and fds besides. */
static void end(void)
{
    rig_wait(all_released, &rig, (char[]){"faulty"}, "each file to be released");
    rig_wait(all_released, &rig, (char[]){"old"}, "each file to be released");
    ck_assert_uint_eq(rig_counter("mismatch"), 0);
    muse_disconnect(muse);
    rig_stop(&rig);
}

START_TEST(the_mapping_is_of_the_file_that_was_made_for_it)
{
    const uint64_t *words;
    json_t *vma;

    begin();
    words = client_map_ro(muse, "faulty/x,fresh=yes", 4);
    vma = client_vma(&rig, words);
    ck_assert_str_eq(json_string_value(json_object_get(vma, "object")), "faulty/fresh");
    json_decref(vma);
    ck_assert_uint_eq(faulty_word(words, 1, 3), 512 + 3);
    ck_assert_uint_eq(rig_counter("opened"), 2);
    ck_assert_int_eq(muse_munmap(muse, (void *)(uintptr_t)words, 4 * PAGE), 0);
    end();
}
END_TEST

static const struct failing {
    const char *name;
    int error;
    unsigned n_aborts, n_closes;
    unsigned n_opened; /* the file that was asked for, and the one that was made */
} failing[] = {
    {"faulty/x,fresh=yes,swap-file=nobody", ENOENT, 0, 0, 2}, /* the hook refuses afterwards */
    {"faulty/x,fresh=huge", EINVAL, 1, 0, 2},
    {"faulty/x,fresh=other-size", EREMOTEIO, 1, 0, 2},
    {"faulty/x,fresh=yes,set-flags=4", EINVAL, 1, 0, 2}, /* EXEC: never */
    {"faulty/x,fresh=yes,action=remap-bad", EINVAL, 1, 0, 2},
    {"faulty/x,fresh=yes,prepare-delay-ms=900", ETIMEDOUT, 1, 0, 2},
    {"faulty/x,fresh=yes,complete-errno=5", EIO, 0, 1, 2},
    {"faulty/x,fresh=yes,complete-delay-ms=900", ETIMEDOUT, 0, 1, 2},
};

START_TEST(a_call_that_comes_to_nothing_releases_it)
{
    const struct failing *row = &failing[_i];

    begin();
    ck_assert_ptr_eq(client_map(muse, row->name, O_RDONLY, 4 * PAGE, PROT_READ, MAP_SHARED),
                     MAP_FAILED);
    ck_assert_msg(errno == row->error, "%s: %s", row->name, strerrorname_np(errno));
    rig_wait(all_released, &rig, (char[]){"faulty"}, "each file to be released");
    ck_assert_uint_eq(rig_counter("opened"), row->n_opened);
    ck_assert_uint_eq(rig_counter("abort"), row->n_aborts);
    ck_assert_uint_eq(rig_counter("close"), row->n_closes);
    end();
}
END_TEST

START_TEST(a_client_that_is_killed_leaves_none)
{
    pid_t pid;

    begin();
    pid = fork();
    if (pid == 0) {
        struct muse *own = client_connect();

        (void)client_map_ro(own, "faulty/x,fresh=yes", 4);
        (void)client_map(own, "faulty/y,fresh=yes,complete-delay-ms=300", O_RDONLY, PAGE, PROT_READ,
                         MAP_SHARED);
        _exit(0);
    }
    while (rig_counter("complete") < 2)
        client_sleep_ms(2);
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    end();
}
END_TEST

START_TEST(a_driver_that_is_killed_takes_it_along)
{
    const char *words;

    begin();
    words = client_map_ro(muse, "faulty/x,fresh=yes", 4);
    kill_driver(&rig, "faulty");
    ck_assert_int_eq(probe_read(words).signal, SIGBUS);
    ck_assert_int_eq(muse_munmap(muse, (void *)(uintptr_t)words, 4 * PAGE), 0);
    end();
}
END_TEST

START_TEST(cut_and_moved_parts_share_it)
{
    unsigned char *bytes, *moved;

    begin();
    bytes = client_map_ro(muse, "faulty/x,fresh=yes", 8);
    ck_assert_int_eq(muse_munmap(muse, bytes + 3 * PAGE, PAGE), 0);
    moved = muse_mremap(muse, bytes + 4 * PAGE, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
                        bytes - 64 * PAGE);
    ck_assert_msg(moved != MAP_FAILED, "%s", muse_last_error_text());
    ck_assert_int_eq(muse_munmap(muse, bytes, 3 * PAGE), 0);
    ck_assert_uint_eq(faulty_word(moved, 1, 3), 5 * 512 + 3);
    ck_assert_uint_eq(rig_counter("release"), 1); /* the file that was asked for */
    ck_assert_int_eq(muse_munmap(muse, moved, 4 * PAGE), 0);
    end();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("fresh");

    tcase_add_test(tcase, the_mapping_is_of_the_file_that_was_made_for_it);
    tcase_add_loop_test(tcase, a_call_that_comes_to_nothing_releases_it, 0, N_ELEMENTS(failing));
    tcase_add_test(tcase, a_client_that_is_killed_leaves_none);
    tcase_add_test(tcase, a_driver_that_is_killed_takes_it_along);
    tcase_add_test(tcase, cut_and_moved_parts_share_it);
    tcase_set_timeout(tcase, 60);
    return unit_run("fresh", tcase);
}
