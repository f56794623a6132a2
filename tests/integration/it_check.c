/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The conformance kit, by its C API: every driver of this build passes; each mistake of
 * tests/kit/broken.c is found, by the right path and with the right words.
 */
#include <errno.h>
#include <fcntl.h>
#include <muse/check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <check.h>

#include "common/base/own.h"
#include "tests/support/daemon.h"
#include "tests/support/folder.h"
#include "tests/support/unit.h"

static const char *build_dir(void)
{
    const char *dir = getenv("MUSE_BUILD_DIR");

    ck_assert_msg(dir != NULL, "MUSE_BUILD_DIR is not set");
    return dir;
}

static uint64_t size_bytes; /* the object is given; 0: it has its own */

static void check(const char *driver, const char *object, int oflags, const char *only,
                  struct muse_check_report *ret_report)
{
    char command[512], mused[256];
    const struct muse_check_options options = {.struct_size = sizeof(options),
                                               .command = command,
                                               .object = object,
                                               .oflags = oflags,
                                               .seed = unit_seed(),
                                               .deadline_ms = only ? 1000 : 10000,
                                               .only = only,
                                               .mused = mused,
                                               .size_bytes = size_bytes};

    (void)snprintf(command, sizeof(command), "%s/%s", build_dir(), driver);
    (void)snprintf(mused, sizeof(mused), "%s/bin/mused", build_dir());
    (void)muse_check_run(&options, ret_report); /* what is wrong is in the report */
}

/* ---- drivers that are right ---- */

static const struct good {
    const char *driver; /* run in the folder of the test's files */
    const char *object;
    int oflags;
    bool maps_nothing; /* before it was told a size; or with mmap_prepare */
} good[] = {
    {"bin/muse-zero", "256K", O_RDONLY, false},
    {"bin/muse-file .", "data", O_RDONLY, false},
    {"bin/muse-file --mode fill --writable .", "data", O_RDWR, false},
    {"bin/muse-file --writable .", "data", O_RDWR, false},
    {"bin/muse-cramfs image", "data", O_RDONLY, false},
    {"bin/muse-faulty", "all", O_RDONLY, false},
    {"bin/muse-shmem", "made", O_RDWR | O_CREAT, false},
    {"bin/muse-hugetlb --pages 16 --no-huge", "made", O_RDWR | O_CREAT, false},
    {"bin/muse-devdax pmem", "pmem", O_RDWR, false},
    {"bin/muse-pseudolock --group p0:64K:0-1023", "p0", O_RDWR, false},
    {"bin/muse-physmem --table iomem", "mem", O_RDWR, false},
    {"bin/muse-bar", "1", O_RDWR, false},
    {"bin/muse-mem --table iomem --relaxed", "mem", O_RDWR, false},
    {"bin/muse-mem", "zero", O_RDWR, false},
    {"bin/muse-relay --channel c", "c/cpu0", O_RDWR, false},
    {"bin/muse-kcov", "a", O_RDWR | O_CREAT, true},
    {"bin/muse-registry a=zero/4K", "a", O_RDONLY, true},
    {"bin/muse-vmcore core", "core", O_RDONLY, false},
    {"tests/kit_broken", "x", O_RDONLY, false},
    {"tests/kit_broken --mistake keeps-five-fds", "x", O_RDONLY, false},
};

static const char table[] = "00000000-000fffff : System RAM\n";

static void make_files(void)
{
    static char bytes[300 * 1000];
    char command[500];

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char)(i >> 8 ^ i);
    folder_write("data", bytes, sizeof(bytes));
    folder_write("iomem", table, strlen(table));
    folder_write("pmem", "", 0);
    ck_assert_int_eq(truncate(folder_path("pmem"), 8 << 20), 0);
    ck_assert_int_eq(mkdir(folder_path("tree"), 0755), 0);
    folder_write("tree/data", bytes, sizeof(bytes));
    (void)snprintf(command, sizeof(command), "gcore -o %s $$ >/dev/null 2>&1; mv %s.* %s",
                   folder_path("core"), folder_path("core"), folder_path("core"));
    ck_assert_int_eq(system(command), 0); /* NOLINT(cert-env33-c): a test's own words */
    (void)snprintf(command, sizeof(command), "mkfs.cramfs %s %s >/dev/null", folder_path("tree"),
                   folder_path("image"));
    ck_assert_int_eq(system(command), 0); /* NOLINT(cert-env33-c): a test's own words */
}

static void expect_pass(const char *driver, const char *object, int oflags,
                        struct muse_check_report *ret_report)
{
    check(driver, object, oflags, NULL, ret_report);
    ck_assert_uint_gt(ret_report->n_results, 10);
    for (unsigned i = 0; i < ret_report->n_results; i++) {
        const struct muse_check_result *result = &ret_report->results[i];

        ck_assert_msg(result->verdict != MUSE_CHECK_FAIL, "%s: %s: %s", driver, result->path,
                      result->why);
    }
    ck_assert_uint_eq(ret_report->n_prepared, ret_report->n_completed + ret_report->n_aborted);
}

START_TEST(every_driver_of_this_build_passes)
{
    const struct good *row = &good[_i];
    struct muse_check_report report;

    make_files();
    ck_assert_int_eq(chdir(folder), 0);
    expect_pass(row->driver, row->object, row->oflags, &report);
    ck_assert(row->maps_nothing || report.n_prepared > 100);
}
END_TEST

/* KCOV_INIT comes first, which is a size here. */
START_TEST(kcov_passes_with_a_buffer_of_its_size)
{
    struct muse_check_report report;

    make_files();
    ck_assert_int_eq(chdir(folder), 0);
    size_bytes = 64 * 1024;
    expect_pass("bin/muse-kcov", "a", O_RDWR | O_CREAT, &report);
    size_bytes = 0;
    ck_assert_uint_gt(report.n_prepared, 100);
}
END_TEST

/* ---- drivers whose bytes are somebody else's ---- */

static struct daemon peer;

static void peer_make(void)
{
    daemon_init(&peer);
}

static void peer_remove(void)
{
    daemon_done(&peer);
}

static bool verdict_is(const struct muse_check_report *report, const char *path,
                       enum muse_check_verdict verdict)
{
    for (unsigned i = 0; i < report->n_results; i++) {
        if (strcmp(report->results[i].path, path) == 0)
            return report->results[i].verdict == verdict;
    }
    return false;
}

static const struct nbd {
    const char *filters, *arguments; /* of nbdkit */
    const char *options;             /* of the driver */
    int oflags;
} nbd[] = {
    {"", "", "", O_RDWR},
    {"", "", "--read-only", O_RDONLY},
    {"--filter=delay", "rdelay=2ms wdelay=2ms", "", O_RDWR},
};

START_TEST(nbd_passes_on_a_disk_in_the_memory_of_nbdkit)
{
    const struct nbd *row = &nbd[_i];
    const char *dir = peer.dir;
    struct muse_check_report report;
    char driver[256];

    daemon_file(&peer, "bytes", 300 * 1000);
    daemon_start(&peer, "nbdkit -f -U %s/sock -P %s/pid %s data '<%s/bytes' %s", dir, dir,
                 row->filters, dir, row->arguments);
    (void)snprintf(driver, sizeof(driver), "bin/muse-nbd %s nbd+unix:///?socket=%s/sock",
                   row->options, dir);
    expect_pass(driver, "disk", row->oflags, &report);
    ck_assert(verdict_is(&report, "pages_are_the_same_each_time", MUSE_CHECK_PASS));
    ck_assert(verdict_is(&report, "written_pages_come_back",
                         row->oflags == O_RDWR ? MUSE_CHECK_PASS : MUSE_CHECK_NOT_APPLICABLE));
    ck_assert(verdict_is(&report, "clients_are_killed", MUSE_CHECK_PASS));
}
END_TEST

static const char nginx_config[] =
    "daemon off; master_process off; pid %s/pid; error_log %s/error.log; %s\n"
    "events {}\n"
    "http {\n"
    "  access_log off;\n"
    "  client_body_temp_path %s/t1; proxy_temp_path %s/t2; fastcgi_temp_path %s/t3;\n"
    "  uwsgi_temp_path %s/t4; scgi_temp_path %s/t5;\n"
    "  server { listen 127.0.0.1:%u; root %s; }\n"
    "}\n";

START_TEST(http_passes_on_a_file_of_nginx)
{
    const char *d = peer.dir, *user = geteuid() == 0 ? "user root;" : "";
    const unsigned port = daemon_free_port();
    struct muse_check_report report;
    char driver[256];
    FILE *file = fopen(daemon_path(&peer, "nginx.conf"), "we");

    ck_assert_ptr_nonnull(file);
    (void)fprintf(file, nginx_config, d, d, user, d, d, d, d, d, port, d);
    ck_assert_int_eq(fclose(file), 0);
    daemon_file(&peer, "data", 300 * 1000);
    daemon_start(&peer, "/usr/sbin/nginx -c %s/nginx.conf -e %s/error.log", d, d);
    (void)snprintf(driver, sizeof(driver), "bin/muse-http http://127.0.0.1:%u/", port);
    expect_pass(driver, "data", O_RDONLY, &report);
    ck_assert(verdict_is(&report, "pages_are_the_same_each_time", MUSE_CHECK_PASS));
    ck_assert(verdict_is(&report, "clients_are_killed", MUSE_CHECK_PASS));
}
END_TEST

/* ---- drivers that are not ---- */

static const struct bad {
    const char *mistake, *path;
    const char *words; /* in the reason */
} bad[] = {
    {"leaks-its-context-on-abort", "aborted_after_prepare", "debug_held says that 1 are held"},
    {"leaks-an-fd-on-abort", "aborted_after_prepare", "fds open"},
    {"leaks-memory-on-abort", "nothing_grows", "its memory grew"},
    {"aborts-twice", "aborted_after_prepare", "debug_held says"},
    {"holds-its-lock", "aborted_after_prepare", "is something still held"},
    {"holds-its-lock", "client_dies_at_each_step", "mmap_prepare was not answered"},
    {"never-answers", "completed_and_closed", "mmap_prepare was not answered within 1000 ms"},
    {"is-no-errno", "prepare_of_odd_requests", "which is no errno"},
    {"grants-rights", "aborted_after_prepare", "set vm_flags 0x4, which it may not"},
    {"dies-in-close", "completed_and_closed", "killed by signal 6"},
    {"keeps-the-page-cache", "faults_of_an_object_that_goes", "fds open"},
    {"supplies-by-place-in-the-run", "pages_are_the_same_each_time", "has other bytes"},
    {"supplies-the-next-page", "pages_are_the_same_each_time", "neither supplied it nor said"},
};

START_TEST(each_mistake_is_found_by_its_path_and_with_its_reason)
{
    const struct bad *row = &bad[_i];
    struct muse_check_report report;
    char driver[128];

    (void)snprintf(driver, sizeof(driver), "tests/kit_broken --mistake %s", row->mistake);
    check(driver, "x", O_RDONLY, row->path, &report);
    ck_assert_uint_eq(report.n_results, 1);
    ck_assert_int_eq(report.results[0].verdict, MUSE_CHECK_FAIL);
    ck_assert_msg(strstr(report.results[0].why, row->words) != NULL, "%s: %s", row->mistake,
                  report.results[0].why);
}
END_TEST

START_TEST(a_driver_that_does_not_start_is_said)
{
    struct muse_check_report report;

    check("bin/muse-file /does/not/exist", "x", O_RDONLY, NULL, &report);
    ck_assert_uint_eq(report.n_failed, 1);
    ck_assert_ptr_nonnull(strstr(report.results[0].why, "exited with status 1"));
    check("bin/muse-zero", "not-a-size", O_RDONLY, NULL, &report);
    ck_assert_uint_eq(report.n_failed, 1);
    ck_assert_ptr_nonnull(strstr(report.results[0].why, "does not open"));
}
END_TEST

/* The program says the same, in words and in JSON. */
START_TEST(the_program_has_an_exit_status_and_prints_json)
{
    char command[1024];

    (void)snprintf(command, sizeof(command),
                   "%s/bin/muse-driver-check --json --only aborted_after_prepare --object x "
                   "'%s/tests/kit_broken --mistake leaks-an-fd-on-abort' | jq -e '.failed == 1 and "
                   "(.paths[0].why | contains(\"fds open\"))' >/dev/null",
                   build_dir(), build_dir());
    ck_assert_int_eq(system(command), 0); /* NOLINT(cert-env33-c): a test's own words */
    (void)snprintf(command, sizeof(command),
                   "%s/bin/muse-driver-check --only aborted_after_prepare --object x "
                   "'%s/tests/kit_broken' | grep -q '^pass aborted_after_prepare'",
                   build_dir(), build_dir());
    ck_assert_int_eq(system(command), 0); /* NOLINT(cert-env33-c) */
    (void)snprintf(command, sizeof(command),
                   "%s/bin/muse-driver-check --only no_such_path --object x true 2>/dev/null",
                   build_dir());
    ck_assert_int_eq(WEXITSTATUS(system(command)), 2); /* NOLINT(cert-env33-c) */
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("check");

    tcase_add_checked_fixture(tcase, folder_make, folder_remove);
    tcase_add_checked_fixture(tcase, peer_make, peer_remove);
    tcase_add_loop_test(tcase, every_driver_of_this_build_passes, 0, N_ELEMENTS(good));
    tcase_add_test(tcase, kcov_passes_with_a_buffer_of_its_size);
    tcase_add_loop_test(tcase, nbd_passes_on_a_disk_in_the_memory_of_nbdkit, 0, N_ELEMENTS(nbd));
    tcase_add_test(tcase, http_passes_on_a_file_of_nginx);
    tcase_add_loop_test(tcase, each_mistake_is_found_by_its_path_and_with_its_reason, 0,
                        N_ELEMENTS(bad));
    tcase_add_test(tcase, a_driver_that_does_not_start_is_said);
    tcase_add_test(tcase, the_program_has_an_exit_status_and_prints_json);
    tcase_set_timeout(tcase, 120);
    return unit_run("check", tcase);
}
