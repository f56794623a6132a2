/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * muse-registry: mappings that go to other drivers by name. "faulty" has the three hooks and counts
 * them, "old" the single one, "zero" is what users have; "front" is a registry before the registry.
 */
#include <errno.h>
#include <fcntl.h>
#include <muse/muse.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <check.h>

#include "common/base/own.h"
#include "tests/support/client.h"
#include "tests/support/unit.h"

static const char entries[] = "# what the tests map\n"
                              "\n"
                              "data=faulty/data,private=5,lock\n"
                              "zeros=zero/64K\n"
                              "old=old/data\n"
                              "nothing=\n"
                              "self=registry/data\n"
                              "front=front/data\n"
                              "nobody=nobody/data\n"
                              "no-open=faulty/a,open-errno=13\n"
                              "no-prepare=faulty/b,lock,prepare-errno=12\n"
                              "no-complete=faulty/c,lock,complete-errno=11\n"
                              "no-mmap=old/d,mmap-errno=16\n"
                              "late-prepare=faulty/e,lock,prepare-delay-ms=900\n"
                              "late-complete=faulty/f,lock,complete-delay-ms=900\n"
                              "hang=faulty/g,lock,complete-delay-ms=300\n";

static const char quick[] = "[deadlines]\nhook_ms = 400\n";

static struct rig rig;
static struct muse *muse;
static char table[64];

static void write_table(const char *text)
{
    int fd;

    (void)snprintf(table, sizeof(table), "/tmp/test-registry-XXXXXX");
    fd = mkstemp(table);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    (void)close(fd);
}

static void set_up(void)
{
    write_table(entries);
}

static void tear_down(void)
{
    ck_assert_int_eq(unlink(table), 0);
}

static void begin(const char *config)
{
    static char registry[128];
    static const char *const drivers[] = {"muse-faulty",
                                          "muse-faulty --legacy --name old",
                                          "muse-zero",
                                          registry,
                                          "muse-registry --name front data=registry/data",
                                          NULL};

    (void)snprintf(registry, sizeof(registry), "muse-registry --table %s word=faulty/word", table);
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

static void inner_saw(unsigned prepares, unsigned completes, unsigned aborts, unsigned closes)
{
    ck_assert_uint_eq(rig_counter("prepare"), prepares);
    ck_assert_uint_eq(rig_counter("complete"), completes);
    ck_assert_uint_eq(rig_counter("abort"), aborts);
    ck_assert_uint_eq(rig_counter("close"), closes);
}

static void refused(const char *name, int error, const char *sentence)
{
    struct muse_file *file = client_open(muse, name, O_RDONLY);
    json_t *spaces;

    ck_assert_ptr_eq(muse_mmap(muse, NULL, 4 * PAGE, PROT_READ, MAP_SHARED, file, 0), MAP_FAILED);
    ck_assert_msg(errno == error, "%s: %s instead of %s", name, strerrorname_np(errno),
                  strerrorname_np(error));
    ck_assert_msg(strstr(muse_last_error_text(), sentence) != NULL, "%s: \"%s\" is not in \"%s\"",
                  name, sentence, muse_last_error_text());
    ck_assert_int_eq(muse_close(file), 0);
    spaces = rig_ctl(&rig, "spaces");
    ck_assert_int_eq(
        json_integer_value(json_object_get(json_array_get(json_entries(spaces), 0), "vmas")), 0);
    json_decref(spaces);
}

static void expect_pattern(const char *name)
{
    void *mapped = client_map_ro(muse, name, 4);

    for (size_t page = 0; page < 4; page++)
        ck_assert_uint_eq(faulty_word(mapped, page, 3), page * 512 + 3);
    ck_assert_int_eq(muse_munmap(muse, mapped, 4 * PAGE), 0);
}

START_TEST(a_mapping_of_an_entry_is_prepared_and_completed_by_the_driver_behind_it)
{
    begin(NULL);
    expect_pattern("registry/data");
    inner_saw(1, 1, 0, 1);
    expect_pattern("registry/word");
    inner_saw(2, 2, 0, 2);
    end();
}
END_TEST

START_TEST(a_legacy_driver_behind_an_entry_is_asked_once)
{
    begin(NULL);
    expect_pattern("registry/old");
    ck_assert_uint_eq(rig_counter_of("old", "mmap"), 1);
    ck_assert_uint_eq(rig_counter_of("old", "close"), 1);
    inner_saw(0, 0, 0, 0);
    end();
}
END_TEST

/* The flag that mmap_prepare of muse-zero sets arrives, too. */
START_TEST(zeros_by_another_name_are_those_of_the_zero_driver)
{
    static const char zeros[PAGE];
    char command[64];
    json_t *spaces, *maps, *flag;
    char *mapped;
    bool found = false;
    size_t i;

    begin(NULL);
    mapped = client_map_ro(muse, "registry/zeros", 16);
    for (i = 0; i < 16; i++)
        ck_assert_mem_eq(mapped + i * PAGE, zeros, PAGE);
    spaces = rig_ctl(&rig, "spaces");
    (void)snprintf(command, sizeof(command), "maps %lld",
                   (long long)json_integer_value(
                       json_object_get(json_array_get(json_entries(spaces), 0), "id")));
    maps = rig_ctl(&rig, command);
    ck_assert_str_eq(
        json_string_value(json_object_get(json_array_get(json_entries(maps), 0), "object")),
        "zero/64K");
    json_array_foreach(json_object_get(json_array_get(json_entries(maps), 0), "flags"), i, flag)
        found |= strcmp(json_string_value(flag), "dontdump") == 0;
    ck_assert(found);
    json_decref(maps);
    json_decref(spaces);
    end();
}
END_TEST

START_TEST(errors_of_the_driver_behind_reach_the_client_and_its_abort_is_never_called)
{
    begin(NULL);
    refused("registry/no-open", EACCES, "");
    inner_saw(0, 0, 0, 0);
    refused("registry/no-prepare", ENOMEM, "mmap_prepare refused as asked for");
    inner_saw(1, 0, 0, 0);
    refused("registry/no-complete", EAGAIN, "mmap_complete failed as asked for");
    inner_saw(2, 1, 0, 1);
    refused("registry/no-mmap", EBUSY, "mmap refused as asked for");
    ck_assert_uint_eq(rig_counter_of("old", "close"), 0);
    expect_pattern("registry/data");
    inner_saw(3, 2, 0, 2);
    end();
}
END_TEST

START_TEST(an_entry_with_nothing_behind_it_is_eio)
{
    begin(NULL);
    refused("registry/nothing", EIO, "nothing: there is nothing behind this entry");
    end();
}
END_TEST

START_TEST(a_loop_is_refused_and_says_that_it_is_one)
{
    begin(NULL);
    refused("registry/self", ELOOP, "registry/data: that is this driver itself");
    refused("registry/front", EOPNOTSUPP, "cannot be passed on again");
    refused("front/data", EOPNOTSUPP, "cannot be passed on again");
    inner_saw(0, 0, 0, 0);
    end();
}
END_TEST

START_TEST(a_driver_that_is_not_there_is_enodev)
{
    begin(NULL);
    refused("registry/nobody", ENODEV, "nobody/data: there is no such driver");
    end();
}
END_TEST

static bool is_over(const struct rig *unused, void *counter)
{
    (void)unused;
    return rig_counter(counter) > 0 && rig_counter("locked") == 0 && rig_counter("in_flight") == 0;
}

START_TEST(what_a_late_driver_behind_holds_is_free_when_it_has_answered)
{
    static const struct {
        const char *name, *counter;
    } rows[] = {{"registry/late-prepare", "abort"}, {"registry/late-complete", "close"}};

    begin(quick);
    refused(rows[_i].name, ETIMEDOUT, "did not answer in time");
    rig_wait(is_over, &rig, (void *)(uintptr_t)rows[_i].counter, rows[_i].counter);
    expect_pattern("registry/data"); /* which takes the lock */
    end();
}
END_TEST

static void map_hanging(void *ctx)
{
    (void)ctx;
    muse = client_connect();
    (void)client_map_ro(muse, "registry/hang", 4);
}

START_TEST(what_is_held_for_a_client_that_is_killed_is_free)
{
    pid_t pid;

    begin(NULL);
    pid = client_fork(map_hanging, NULL);
    wait_for_counter("complete", 1);
    client_kill(pid);
    rig_wait(is_over, &rig, (void *)(uintptr_t) "close", "close");
    inner_saw(1, 1, 0, 1);
    end();
}
END_TEST

/* ---- names ---- */

static void expect_listing(void)
{
    struct muse_dirent listed[32];
    ssize_t n = muse_readdir(muse, "registry", 0, listed, N_ELEMENTS(listed));

    ck_assert_int_eq(n, 15);
    ck_assert_str_eq(listed[0].name, "data");
    ck_assert_str_eq(listed[14].name, "word");
    ck_assert_int_eq(muse_readdir(muse, "registry", listed[13].next, listed, 1), 1);
    ck_assert_str_eq(listed[0].name, "word");
    ck_assert_int_eq(muse_readdir(muse, "registry", listed[0].next, listed, 1), 0);
    ck_assert_int_eq(muse_readdir(muse, "registry/data", 0, listed, 1), -1);
    ck_assert_int_eq(errno, ENOTDIR);
}

START_TEST(entries_have_names_and_no_size)
{
    struct muse_file *file;
    struct stat st;

    begin(NULL);
    expect_listing();
    file = client_open(muse, "registry/data", O_RDWR);
    ck_assert_int_eq(muse_fstat(file, &st), 0);
    ck_assert_int_eq(st.st_size, 0);
    ck_assert_int_eq(muse_close(file), 0);
    ck_assert_int_eq(muse_open(muse, "registry/none", O_RDONLY, &file), -1);
    ck_assert_int_eq(errno, ENOENT);
    ck_assert_int_eq(muse_open(muse, "registry/data/x", O_RDONLY, &file), -1);
    ck_assert_int_eq(errno, ENOENT);
    end();
}
END_TEST

START_TEST(what_is_no_table_is_refused_at_the_start)
{
    static const struct {
        const char *text, *words, *sentence;
    } rows[] = {
        {"a=zero/1\nb\n", "", "line 2: b: not NAME=DRIVER/OBJECT"},
        {"a=zero\n", "", "line 1: a=zero: what is behind \"=\" is not DRIVER/OBJECT"},
        {"a=zero/1\n", "a=zero/2", "a=zero/2: the name is there already"},
        {"", "", "no entry"},
        {"", "a/b=zero/1", "what is before \"=\" is no name"},
        {"", "--table /nowhere", "/nowhere: No such file"},
    };
    char command[512], program[256], said[1024];

    build_program("muse-registry", program, sizeof(program));
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        FILE *pipe;

        tear_down();
        write_table(rows[i].text);
        (void)snprintf(command, sizeof(command), "%s --table %s %s 2>&1", program, table,
                       rows[i].words);
        pipe = popen(command, "re"); /* NOLINT(cert-env33-c): a test's own words */
        ck_assert_ptr_nonnull(pipe);
        said[fread(said, 1, sizeof(said) - 1, pipe)] = '\0';
        ck_assert_int_ne(pclose(pipe), 0);
        ck_assert_msg(strstr(said, rows[i].sentence), "%s", said);
    }
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("registry");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, a_mapping_of_an_entry_is_prepared_and_completed_by_the_driver_behind_it);
    tcase_add_test(tcase, a_legacy_driver_behind_an_entry_is_asked_once);
    tcase_add_test(tcase, zeros_by_another_name_are_those_of_the_zero_driver);
    tcase_add_test(tcase,
                   errors_of_the_driver_behind_reach_the_client_and_its_abort_is_never_called);
    tcase_add_test(tcase, an_entry_with_nothing_behind_it_is_eio);
    tcase_add_test(tcase, a_loop_is_refused_and_says_that_it_is_one);
    tcase_add_test(tcase, a_driver_that_is_not_there_is_enodev);
    tcase_add_loop_test(tcase, what_a_late_driver_behind_holds_is_free_when_it_has_answered, 0, 2);
    tcase_add_test(tcase, what_is_held_for_a_client_that_is_killed_is_free);
    tcase_add_test(tcase, entries_have_names_and_no_size);
    tcase_add_test(tcase, what_is_no_table_is_refused_at_the_start);
    return unit_run("registry", tcase);
}
