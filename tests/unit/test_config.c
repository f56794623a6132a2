/* SPDX-License-Identifier: BSD-3-Clause */
/* The settings: values, files, what is printed and read again. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <check.h>

#include "common/base/own.h"
#include "server/config/config.h"
#include "server/quota/quota.h"
#include "tests/support/unit.h"

static struct config config;
static char path[64];

static void setup(void)
{
    path[0] = '\0';
    ck_assert_int_eq(setenv("MUSE_RUNDIR", "/run/here", 1), 0);
    config_init(&config);
}

static void teardown(void)
{
    config_done(&config);
    (void)unlink(path);
}

static void write_file(const char *text)
{
    int fd;

    (void)unlink(path);
    (void)snprintf(path, sizeof(path), "/tmp/test_config.XXXXXX");
    fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq((int)write(fd, text, strlen(text)), (int)strlen(text));
    ck_assert_int_eq(close(fd), 0);
}

static int load(const char *text)
{
    CLEAN(free_p) char *why = NULL;
    int r;

    write_file(text);
    r = config_load(&config, path, &why);
    ck_assert(r == 0 || why != NULL);
    return r;
}

/* Loading @text fails and the sentence has @part in it. */
static void refused(const char *text, const char *part)
{
    CLEAN(free_p) char *why = NULL;

    write_file(text);
    ck_assert_int_eq(config_load(&config, path, &why), -EINVAL);
    ck_assert_ptr_nonnull(why);
    ck_assert_msg(strstr(why, part) != NULL, "\"%s\" is not about \"%s\"", why, part);
}

START_TEST(the_defaults_are_complete)
{
    const char *why = NULL;

    ck_assert_int_eq(config_finish(&config, &why), 0);
    ck_assert_str_eq(config.rundir, "/run/here");
    ck_assert_uint_eq(config.client_mode, 0666);
    ck_assert_uint_eq(config.control_mode, 0600);
    ck_assert_uint_eq(config.arena_bytes, UINT64_C(1) << 40);
    ck_assert_uint_eq(config.install_deadline_ns, UINT64_C(5000000000));
    ck_assert(!config.kernel_v1);
    ck_assert_uint_eq(config_hook_deadline_ns(&config, "zero"), UINT64_C(10000000000));
}
END_TEST

START_TEST(a_file_sets_what_it_names_and_leaves_the_rest)
{
    ck_assert_int_eq(load("# a comment\n"
                          "[server]\n"
                          "  memory = 512M\n"
                          "contract: kernel-v1\r\n"
                          "; another\n"
                          "\n"
                          "[quota]\n"
                          "files = 2K\n"
                          "vmas = unlimited\n"
                          "[drivers]\n"
                          "c = muse-driver-cramfs 'a = b' ; x # y\n"
                          "[driver cramfs]\n"
                          "hook_ms = 250\n"),
                     0);
    ck_assert_uint_eq(config.memory_bytes, UINT64_C(512) << 20);
    ck_assert_str_eq(config.contract, "kernel-v1");
    ck_assert_uint_eq(config.client_mode, 0666);
    ck_assert_uint_eq(config.n_limits, 2);
    ck_assert_str_eq(config.limits[0].key, "files");
    ck_assert_uint_eq(config.limits[0].value, 2048);
    ck_assert_uint_eq(config.limits[1].value, QUOTA_UNLIMITED);
    ck_assert_uint_eq(config.n_drivers, 1);
    ck_assert_str_eq(config.drivers[0], "muse-driver-cramfs 'a = b' ; x # y");
    ck_assert_uint_eq(config_hook_deadline_ns(&config, "cramfs"), 250000000);
}
END_TEST

START_TEST(a_later_value_wins)
{
    ck_assert_int_eq(load("[quota]\nfiles = 1\nfiles = 2\n[driver a]\nhook_ms = 1\nhook_ms = 2\n"),
                     0);
    ck_assert_uint_eq(config.n_limits, 1);
    ck_assert_uint_eq(config.limits[0].value, 2);
    ck_assert_uint_eq(config.n_overrides, 1);
    ck_assert_uint_eq(config.overrides[0].hook_ms, 2);
}
END_TEST

START_TEST(a_wrong_file_is_refused_with_its_line)
{
    refused("[server]\nmemory = 1M\nmemory = lots\n", "line 3: [server] memory");
    refused("[server]\nmemori = 1M\n", "line 2: [server] memori: no such setting");
    refused("memory = 1M\n", "line 1: [] memory: no such setting");
    refused("[server\nmemory = 1M\n", "line 1");
    refused("[server]\nmemory\n", "line 2");
    refused("[server]\nclient_mode = 0888\n", "line 2");
    refused("[server]\nclient_mode = 1777\n", "line 2");
    refused("[quota]\nfiles = -1\n", "line 2");
    refused("[quota]\nfails = 1\n", "line 2: [quota] fails: no such setting");
    refused("[driver x]\nhook_ms = 0\n", "line 2");
    refused("[drivers]\nx =\n", "line 2");
}
END_TEST

START_TEST(a_file_that_is_not_there_is_said_to_be_absent)
{
    CLEAN(free_p) char *why = NULL;

    ck_assert_int_eq(config_load(&config, "/nonexistent/muse.conf", &why), -ENOENT);
    ck_assert_ptr_nonnull(why);
}
END_TEST

START_TEST(what_cannot_be_meant_is_refused_at_the_end)
{
    static const struct {
        const char *section, *key, *value;
    } wrong[] = {
        {"server", "contract", "kernel-v2"},
        {"server", "hand_out_uffd", "some"},
        {"limits", "arena", "0"},
        {"limits", "arena", "3K"},
        {"limits", "max_vmas", "0"},
        {"deadlines", "hook_ms", "0"},
        {"deadlines", "install_ms", "99999999999"},
        {"deadlines", "writeback_ms", "18446744073709551615"},
        {"deadlines", "return_ms", "3153600000001"},
    };

    for (size_t i = 0; i < N_ELEMENTS(wrong); i++) {
        const char *why = NULL;

        config_done(&config);
        config_init(&config);
        ck_assert_int_eq(config_set(&config, wrong[i].section, wrong[i].key, wrong[i].value), 0);
        ck_assert_int_eq(config_finish(&config, &why), -EINVAL);
        ck_assert_ptr_nonnull(why);
    }
}
END_TEST

START_TEST(a_rundir_leaves_room_for_the_sockets)
{
    char name[128];
    const char *why = NULL;

    (void)memset(name, 'r', sizeof(name));
    name[95] = '\0';
    ck_assert_int_eq(config_set(&config, "server", "rundir", name), 0);
    ck_assert_int_eq(config_finish(&config, &why), -EINVAL);
    name[94] = '\0';
    ck_assert_int_eq(config_set(&config, "server", "rundir", name), 0);
    ck_assert_int_eq(config_finish(&config, &why), 0);
    name[94] = name[95] = 'r';
    name[96] = '\0';
    ck_assert_int_eq(config_set(&config, "server", "rundir", name), -EINVAL);
    ck_assert_int_eq(config_set(&config, "server", "rundir", "two\nlines"), -EINVAL);
}
END_TEST

START_TEST(what_is_printed_can_be_loaded_again)
{
    CLEAN(free_p) char *first = NULL;
    CLEAN(free_p) char *second = NULL;
    char command[600];
    const char *why = NULL;
    size_t size;
    FILE *out;

    (void)snprintf(command, sizeof(command), "%0500d ; 'x = y' # z", 7);
    ck_assert_int_eq(config_add_driver(&config, command), 0);
    ck_assert_int_eq(config_add_driver(&config, "zero"), 0);
    ck_assert_int_eq(config_add_driver(&config, "zero\n[server]"), -EINVAL);
    ck_assert_int_eq(config_set(&config, "server", "memory", "1025M"), 0);
    ck_assert_int_eq(config_set(&config, "server", "control_mode", "0660"), 0);
    ck_assert_int_eq(config_set(&config, "quota", "vmas", "1000"), 0);
    ck_assert_int_eq(config_set(&config, "quota", QUOTA_KEY_MEMORY, "unlimited"), 0);
    ck_assert_int_eq(config_set(&config, "driver zero", "hook_ms", "5"), 0);
    ck_assert_int_eq(config_finish(&config, &why), 0);
    out = open_memstream(&first, &size);
    config_print(&config, out);
    ck_assert_int_eq(fclose(out), 0);

    config_done(&config);
    config_init(&config);
    ck_assert_int_eq(load(first), 0);
    out = open_memstream(&second, &size);
    config_print(&config, out);
    ck_assert_int_eq(fclose(out), 0);
    ck_assert_str_eq(first, second);
    ck_assert_uint_eq(config.n_drivers, 2);
    ck_assert_str_eq(config.drivers[0], command);
}
END_TEST

START_TEST(the_list_of_drivers_is_bounded)
{
    for (unsigned i = 0; i < CONFIG_DRIVERS_MAX; i++)
        ck_assert_int_eq(config_add_driver(&config, "zero"), 0);
    ck_assert_int_eq(config_add_driver(&config, "zero"), -ENOSPC);
}
END_TEST

START_TEST(userfaultfds_are_handed_out_to_whom_the_setting_names)
{
    ck_assert(config_hands_out_uffd(&config, 1000));
    ck_assert_int_eq(config_set(&config, "server", "hand_out_uffd", "root"), 0);
    ck_assert(config_hands_out_uffd(&config, 0));
    ck_assert(!config_hands_out_uffd(&config, 1000));
    ck_assert_int_eq(config_set(&config, "server", "hand_out_uffd", "none"), 0);
    ck_assert(!config_hands_out_uffd(&config, 0));
    ck_assert_int_eq(config_set(&config, "server", "hand_out_uffd", "1000"), 0);
    ck_assert(config_hands_out_uffd(&config, 1000));
    ck_assert(!config_hands_out_uffd(&config, 0));
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("config");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, the_defaults_are_complete);
    tcase_add_test(tcase, a_file_sets_what_it_names_and_leaves_the_rest);
    tcase_add_test(tcase, a_later_value_wins);
    tcase_add_test(tcase, a_wrong_file_is_refused_with_its_line);
    tcase_add_test(tcase, a_file_that_is_not_there_is_said_to_be_absent);
    tcase_add_test(tcase, what_cannot_be_meant_is_refused_at_the_end);
    tcase_add_test(tcase, a_rundir_leaves_room_for_the_sockets);
    tcase_add_test(tcase, what_is_printed_can_be_loaded_again);
    tcase_add_test(tcase, the_list_of_drivers_is_bounded);
    tcase_add_test(tcase, userfaultfds_are_handed_out_to_whom_the_setting_names);
    return unit_run("config", tcase);
}
