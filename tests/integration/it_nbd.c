/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * muse-nbd with a real server, a real nbdkit and this process as the client: reading and writing through
 * every block size, names, permissions, and errors of the NBD server. Its death: it_nbd_lost.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <muse/muse.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <check.h>

#include "common/base/own.h"
#include "tests/support/nbd_disk.h"

#define NOBODY 60001u

/* ---- reading and writing ---- */

START_TEST(what_the_server_has_is_read_in_order_and_at_random)
{
    struct muse_file *file;
    unsigned char *disk;
    struct stat st;
    uint64_t seed;

    begin("", "", "");
    file = client_open(muse, "nbd/disk", O_RDONLY);
    ck_assert_int_eq(muse_fstat(file, &st), 0);
    ck_assert_int_eq(st.st_size, DISK_BYTES);
    ck_assert_int_eq(st.st_mode, S_IFREG | 0600);
    ck_assert_int_eq(muse_close(file), 0);
    disk = map_disk(O_RDONLY, PROT_READ);
    seed = unit_seed();
    for (unsigned i = 0; i < 64; i++) {
        const uint64_t page = unit_random(&seed) % N_PAGES;

        ck_assert(file_is(disk + page * PAGE, page * PAGE, PAGE));
    }
    ck_assert(file_is(disk, 0, DISK_BYTES));
    end();
}
END_TEST

START_TEST(what_is_written_is_on_the_disk_after_fsync)
{
    struct muse_file *file;
    unsigned char *disk;

    begin("", "", "");
    disk = map_disk(O_RDWR, RW);
    write_all_pages(disk, 'x');
    ck_assert_int_eq(muse_msync(muse, disk, DISK_BYTES, MS_SYNC), 0);
    expect_disk('x');
    write_all_pages(disk, 'y');
    file = client_open(muse, "nbd/disk", O_RDWR);
    ck_assert_int_eq(muse_fsync(file), 0);
    expect_disk('y');
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

/* The filter refuses what is not aligned, or too long. */
START_TEST(requests_are_cut_to_the_servers_block_sizes)
{
    static const char *const sizes[] = {
        "blocksize-minimum=512 blocksize-preferred=4096 blocksize-maximum=8192",
        "blocksize-minimum=512 blocksize-preferred=512 blocksize-maximum=1536",
        "blocksize-minimum=4096 blocksize-preferred=65536 blocksize-maximum=65536",
    };
    char arguments[160];
    unsigned char *disk;

    (void)snprintf(arguments, sizeof(arguments), "%s blocksize-error-policy=error", sizes[_i]);
    begin("--filter=blocksize-policy", arguments, "");
    disk = map_disk(O_RDWR, RW);
    ck_assert(file_is(disk, 0, DISK_BYTES));
    write_all_pages(disk, 'x');
    ck_assert_int_eq(muse_msync(muse, disk, DISK_BYTES, MS_SYNC), 0);
    expect_disk('x');
    end();
}
END_TEST

START_TEST(blocks_larger_than_a_page_are_read_whole_and_not_written)
{
    struct muse_file *file;
    unsigned char *disk;

    begin("--filter=blocksize-policy",
          "blocksize-minimum=65536 blocksize-preferred=65536 blocksize-maximum=65536 "
          "blocksize-error-policy=error",
          "");
    disk = map_disk(O_RDONLY, PROT_READ);
    ck_assert(file_is(disk + 5 * PAGE, 5 * PAGE, PAGE));
    ck_assert(file_is(disk, 0, DISK_BYTES));
    ck_assert_int_eq(muse_open(muse, "nbd/disk", O_RDWR, &file), -1);
    ck_assert_int_eq(errno, EROFS);
    end();
}
END_TEST

START_TEST(a_disk_that_ends_inside_a_page_is_zeros_behind_its_end)
{
    const size_t n_bytes = 2 * PAGE + 1000;
    unsigned char bytes[2 * PAGE + 1000];
    unsigned char *disk;

    daemon_file(&nbdkit, "disk", n_bytes);
    nbdkit_start("file disk");
    muse_start("", "");
    disk = client_map(muse, "nbd/disk", O_RDWR, 3 * PAGE, RW, MAP_SHARED);
    ck_assert_ptr_ne(disk, MAP_FAILED);
    ck_assert(file_is(disk, 0, n_bytes));
    for (size_t i = n_bytes; i < 3 * PAGE; i++)
        ck_assert_uint_eq(disk[i], 0);
    disk[n_bytes - 1] = 'x';
    disk[n_bytes] = 'y'; /* in memory only */
    ck_assert_int_eq(muse_msync(muse, disk, 3 * PAGE, MS_SYNC), 0);
    read_file("disk", bytes, n_bytes);
    ck_assert_uint_eq(bytes[n_bytes - 1], 'x');
    end();
}
END_TEST

/* How many requests of that kind the log filter has seen under way at one time. */
static unsigned most_under_way(const char *what)
{
    FILE *log = fopen(daemon_path(&nbdkit, "requests"), "re");
    unsigned n = 0, most = 0;
    char line[512];

    ck_assert_ptr_nonnull(log);
    while (fgets(line, sizeof(line), log)) {
        const char *at = strstr(line, what);

        if (!at)
            continue;
        if (at >= line + 3 && strncmp(at - 3, "...", 3) == 0)
            n--;
        else
            n++;
        if (n > most)
            most = n;
    }
    (void)fclose(log);
    return most;
}

START_TEST(several_requests_are_under_way_at_a_time)
{
    unsigned char *disk;

    begin("--filter=log --filter=delay", "logfile=requests rdelay=20ms wdelay=20ms", "");
    disk = map_disk(O_RDWR, RW);
    ck_assert_int_eq(muse_madvise(muse, disk, DISK_BYTES, MADV_SEQUENTIAL), 0);
    ck_assert(file_is(disk, 0, DISK_BYTES));
    write_all_pages(disk, 'x');
    ck_assert_int_eq(muse_msync(muse, disk, DISK_BYTES, MS_SYNC), 0);
    expect_disk('x');
    end();
    daemon_kill(&nbdkit, SIGTERM);
    ck_assert_uint_ge(most_under_way("Read"), 2);
    ck_assert_uint_ge(most_under_way("Write"), 2);
}
END_TEST

/* ---- names and permissions ---- */

START_TEST(the_object_is_called_as_the_export_is)
{
    struct muse_file *file;

    daemon_file(&nbdkit, "disk", DISK_BYTES);
    nbdkit_start("file disk");
    muse_start("backup", "");
    file = client_open(muse, "nbd/backup", O_RDONLY);
    ck_assert_int_eq(muse_close(file), 0);
    ck_assert_int_eq(muse_open(muse, "nbd/disk", O_RDONLY, &file), -1);
    ck_assert_int_eq(errno, ENOENT);
    ck_assert_msg(strstr(muse_last_error_text(), "backup") != NULL, "%s", muse_last_error_text());
    end();
}
END_TEST

START_TEST(opening_says_what_is_wrong)
{
    static const struct {
        const char *name;
        int oflags;
        int error;
        const char *text;
    } cases[] = {
        {"nbd/other", O_RDONLY, ENOENT, "\"other\""},
        {"nbd/../disk", O_RDONLY, ENOENT, "../disk"},
        {"nbd/", O_RDONLY, EISDIR, ""},
        {"nbd/disk", O_RDWR, EROFS, "read-only"},
        {"nbd/disk", O_RDONLY | O_CREAT | O_EXCL, EEXIST, ""},
    };
    struct muse_file *file;

    begin("", "", "--read-only");
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        ck_assert_int_eq(muse_open(muse, cases[i].name, cases[i].oflags, &file), -1);
        ck_assert_msg(errno == cases[i].error, "%s: %s", cases[i].name, strerror(errno));
        ck_assert_msg(strstr(muse_last_error_text(), cases[i].text) != NULL, "%s: %s",
                      cases[i].name, muse_last_error_text());
    }
    end();
}
END_TEST

START_TEST(an_export_that_is_read_only_is_not_written)
{
    struct muse_file *file;
    unsigned char *disk;

    begin("-r", "", "");
    ck_assert_int_eq(muse_open(muse, "nbd/disk", O_RDWR, &file), -1);
    ck_assert_int_eq(errno, EROFS);
    disk = map_disk(O_RDONLY, PROT_READ);
    ck_assert(file_is(disk, 0, PAGE));
    ck_assert_ptr_eq(client_map(muse, "nbd/disk", O_RDONLY, PAGE, RW, MAP_SHARED), MAP_FAILED);
    ck_assert_int_eq(errno, EACCES);
    end();
}
END_TEST

START_TEST(a_disk_keeps_its_size)
{
    struct muse_file *file;

    begin("", "", "");
    file = client_open(muse, "nbd/disk", O_RDWR | O_TRUNC);
    ck_assert(file_is(map_disk(O_RDONLY, PROT_READ), 0, DISK_BYTES));
    ck_assert_int_eq(muse_ftruncate(file, PAGE), -1);
    ck_assert_int_eq(errno, EOPNOTSUPP);
    ck_assert_int_eq(muse_fallocate(file, 0, 0, PAGE), -1);
    ck_assert_int_eq(errno, EOPNOTSUPP);
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

/* As another user, with a connection of its own. */
static void open_as_nobody(void *ctx)
{
    const int *error = ctx;
    struct muse_file *file;
    int r;

    ck_assert_int_eq(setresgid(NOBODY, NOBODY, NOBODY), 0);
    ck_assert_int_eq(setresuid(NOBODY, NOBODY, NOBODY), 0);
    muse = client_connect();
    r = muse_open(muse, "nbd/disk", O_RDONLY, &file);
    ck_assert_int_eq(r < 0 ? errno : 0, *error);
    ck_assert_int_eq(muse_open(muse, "nbd/disk", O_RDWR, &file), -1);
    ck_assert_int_eq(errno, EACCES);
    muse_disconnect(muse);
}

START_TEST(the_mode_says_who_may_open_the_disk)
{
    static const char *const options[] = {"", "--mode 644"};
    int errors[] = {EACCES, 0};

    begin("", "", options[_i]);
    client_join(client_fork(open_as_nobody, &errors[_i]));
    end();
}
END_TEST

static int run_alone(const char *arguments, char *text, size_t size)
{
    char command[512], program[256];
    FILE *pipe;
    size_t n;

    build_program("muse-nbd", program, sizeof(program));
    (void)snprintf(command, sizeof(command), "%s %s 2>&1", program, arguments);
    pipe = popen(command, "re"); /* NOLINT(cert-env33-c): a test's own words */
    ck_assert_ptr_nonnull(pipe);
    n = fread(text, 1, size - 1, pipe);
    text[n] = '\0';
    return WEXITSTATUS(pclose(pipe));
}

START_TEST(a_driver_that_cannot_start_says_why)
{
    static const struct {
        const char *arguments;
        int status;
        const char *text;
    } cases[] = {
        {"'nbd+unix:///?socket=/nowhere/sock'", 1, "nowhere"},
        {"not-a-uri", 1, "not-a-uri"},
        {"", 2, "no URI"},
        {"a b", 2, "one URI only"},
        {"--timeout 0 a", 2, "--timeout=0"},
        {"--mode 7777 a", 2, "--mode=7777"},
        {"--mode rw a", 2, "--mode=rw"},
    };
    char text[1024];

    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        int status = run_alone(cases[i].arguments, text, sizeof(text));

        ck_assert_msg(status == cases[i].status && strstr(text, cases[i].text), "%s: %d, %s",
                      cases[i].arguments, status, text);
    }
}
END_TEST

/* ---- errors of the server ---- */

static void make_trigger(void)
{
    const int fd = open(daemon_path(&nbdkit, "trigger"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    ck_assert_int_ge(fd, 0);
    (void)close(fd);
}

START_TEST(a_read_that_fails_is_sigbus_with_the_servers_errno)
{
    static const struct {
        const char *name;
        int error;
    } errors[] = {{"EIO", EIO}, {"ENOMEM", ENOMEM}, {"EPERM", EPERM}};
    char arguments[256];
    unsigned char *disk;

    (void)snprintf(arguments, sizeof(arguments),
                   "error-pread=%s error-pread-rate=100%% error-pread-file=%s/trigger",
                   errors[_i].name, nbdkit.dir);
    begin("--filter=error", arguments, "");
    disk = map_disk(O_RDONLY, PROT_READ);
    ck_assert(file_is(disk, 0, PAGE));
    make_trigger();
    expect_error(disk + 512 * PAGE, errors[_i].error, "reading bytes 2097152 to");
    ck_assert_int_eq(unlink(daemon_path(&nbdkit, "trigger")), 0);
    rig_wait(can_map, &rig, (char[]){"nbd/disk"}, "the page to be asked for again");
    end();
}
END_TEST

/* Page 10 is bad; what is asked for together with it is read one by one. */
START_TEST(one_bad_page_hurts_no_other)
{
    unsigned char *disk;

    daemon_file(&nbdkit, "disk", DISK_BYTES);
    nbdkit_start(
        "eval get_size='echo 4194304' pread='"
        "if [ $4 -lt 45056 ] && [ $(($4 + $3)) -gt 40960 ]; then echo EIO bad >&2; exit 1; fi; "
        "dd if=disk iflag=skip_bytes,count_bytes skip=$4 count=$3 2>/dev/null'");
    muse_start("", "");
    disk = map_disk(O_RDONLY, PROT_READ);
    ck_assert_int_eq(muse_madvise(muse, disk, 64 * PAGE, MADV_SEQUENTIAL), 0);
    ck_assert(file_is(disk, 0, 10 * PAGE));
    expect_error(disk + 10 * PAGE, EIO, "reading bytes 40960 to 45056 of disk");
    ck_assert(file_is(disk + 11 * PAGE, 11 * PAGE, 53 * PAGE));
    end();
}
END_TEST

START_TEST(a_write_that_fails_is_told_and_comes_again)
{
    char arguments[256];
    struct muse_file *file;
    unsigned char *disk;

    (void)snprintf(arguments, sizeof(arguments),
                   "error-pwrite=ENOSPC error-pwrite-rate=100%% error-pwrite-file=%s/trigger",
                   nbdkit.dir);
    begin("--filter=error", arguments, "");
    file = client_open(muse, "nbd/disk", O_RDWR);
    disk = map_disk(O_RDWR, RW);
    write_all_pages(disk, 'x');
    make_trigger();
    ck_assert_int_eq(muse_fsync(file), -1);
    ck_assert_int_eq(errno, ENOSPC);
    ck_assert_int_eq(unlink(daemon_path(&nbdkit, "trigger")), 0);
    ck_assert_int_eq(muse_fsync(file), 0);
    expect_disk('x');
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

/* Its flush says so. */
START_TEST(a_flush_that_fails_fails_fsync)
{
    struct muse_file *file;
    unsigned char *disk;

    daemon_file(&nbdkit, "disk", DISK_BYTES);
    nbdkit_start("eval get_size='echo 4194304' can_write='exit 0' can_flush='exit 0' "
                 "pread='dd if=disk iflag=skip_bytes,count_bytes skip=$4 count=$3 2>/dev/null' "
                 "pwrite='dd of=disk conv=notrunc oflag=seek_bytes seek=$4 2>/dev/null' "
                 "flush='if [ -e " /* in nbdkit's folder */
                 "trigger ]; then echo EIO no >&2; exit 1; fi'");
    muse_start("", "");
    file = client_open(muse, "nbd/disk", O_RDWR);
    disk = map_disk(O_RDWR, RW);
    disk[0] = 'x';
    make_trigger();
    ck_assert_int_eq(muse_fsync(file), -1);
    ck_assert_int_eq(errno, EIO);
    ck_assert_msg(strstr(muse_last_error_text(), "flushing disk") != NULL, "%s",
                  muse_last_error_text());
    ck_assert_int_eq(unlink(daemon_path(&nbdkit, "trigger")), 0);
    ck_assert_int_eq(muse_fsync(file), 0);
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("nbd");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, what_the_server_has_is_read_in_order_and_at_random);
    tcase_add_test(tcase, what_is_written_is_on_the_disk_after_fsync);
    tcase_add_loop_test(tcase, requests_are_cut_to_the_servers_block_sizes, 0, 3);
    tcase_add_test(tcase, blocks_larger_than_a_page_are_read_whole_and_not_written);
    tcase_add_test(tcase, a_disk_that_ends_inside_a_page_is_zeros_behind_its_end);
    tcase_add_test(tcase, several_requests_are_under_way_at_a_time);
    tcase_add_test(tcase, the_object_is_called_as_the_export_is);
    tcase_add_test(tcase, opening_says_what_is_wrong);
    tcase_add_test(tcase, an_export_that_is_read_only_is_not_written);
    tcase_add_test(tcase, a_disk_keeps_its_size);
    if (geteuid() == 0) /* who else may become another user */
        tcase_add_loop_test(tcase, the_mode_says_who_may_open_the_disk, 0, 2);
    tcase_add_test(tcase, a_driver_that_cannot_start_says_why);
    tcase_add_loop_test(tcase, a_read_that_fails_is_sigbus_with_the_servers_errno, 0, 3);
    tcase_add_test(tcase, one_bad_page_hurts_no_other);
    tcase_add_test(tcase, a_write_that_fails_is_told_and_comes_again);
    tcase_add_test(tcase, a_flush_that_fails_fails_fsync);
    return unit_run("nbd", tcase);
}
