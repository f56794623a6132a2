/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Names rather than open files: the folder of all drivers, folders and links of muse-file, removing
 * and renaming, and drivers that have no such hooks, do not answer, die or answer nonsense.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <muse/muse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>

#include "tests/support/client.h"
#include "tests/support/unit.h"

#define N_MANY 1500

static const char *const file_and_zero[] = {"muse-file %s", "muse-zero", NULL};
static const char *const writable[] = {"muse-file --writable %s", "muse-zero", NULL};
static const char *const faulty[] = {"muse-faulty", "muse-faulty --name other", NULL};
static const char quick[] = "[deadlines]\nhook_ms = 300\n";

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

static const char *data(const char *name)
{
    static char path[160];

    (void)snprintf(path, sizeof(path), "%s/%s", rig.data, name);
    return path;
}

/* How many entries, each seen once; @wanted, when it is one of them, is counted in @ret_found. */
static size_t count_entries(const char *name, const char *wanted, size_t *ret_found)
{
    struct muse_dirent entries[100];
    uint64_t cursor = 0;
    size_t n_all = 0;
    ssize_t n;

    *ret_found = 0;
    while ((n = muse_readdir(muse, name, cursor, entries, 100)) > 0) {
        n_all += (size_t)n;
        cursor = entries[n - 1].next;
        for (ssize_t i = 0; i < n; i++)
            *ret_found += strcmp(entries[i].name, wanted) == 0;
    }
    ck_assert_int_eq(n, 0);
    return n_all;
}

START_TEST(the_empty_name_is_the_folder_of_all_drivers)
{
    struct stat stat;
    size_t found;

    begin(NULL, file_and_zero);
    ck_assert_int_eq(muse_stat(muse, "", &stat), 0);
    ck_assert(S_ISDIR(stat.st_mode));
    ck_assert_uint_eq(count_entries("", "zero", &found), 2);
    ck_assert_uint_eq(found, 1);
    ck_assert_int_eq(muse_stat(muse, "none", &stat), -1);
    ck_assert_int_eq(errno, ENODEV);
    ck_assert_int_eq(muse_unlink(muse, "", 0), -1);
    ck_assert_int_eq(errno, EBUSY);
    ck_assert_int_eq(muse_rename(muse, "zero/1", "file/1", 0), -1);
    ck_assert_int_eq(errno, EXDEV);
    end();
}
END_TEST

START_TEST(a_driver_without_hooks_for_names_has_an_empty_folder)
{
    struct stat stat;
    size_t found;
    char buf[10];

    begin(NULL, file_and_zero);
    ck_assert_int_eq(muse_stat(muse, "zero", &stat), 0);
    ck_assert(S_ISDIR(stat.st_mode));
    ck_assert_uint_eq(count_entries("zero", "x", &found), 0);
    ck_assert_int_eq(muse_stat(muse, "zero/64K", &stat), 0);
    ck_assert_int_eq(stat.st_size, 65536);
    ck_assert_int_eq(muse_readlink(muse, "zero/64K", buf, sizeof(buf)), -1);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_int_eq(muse_unlink(muse, "zero/64K", 0), -1);
    ck_assert_int_eq(errno, EOPNOTSUPP);
    end();
}
END_TEST

START_TEST(attributes_and_links_are_those_of_the_files)
{
    struct stat stat, kernel;
    char buf[64] = "";

    begin(NULL, file_and_zero);
    rig_file(&rig, "a", 5000);
    ck_assert_int_eq(symlink("a", data("link")), 0);
    ck_assert_int_eq(symlink("/etc", data("out")), 0);
    ck_assert_int_eq(lstat(data("a"), &kernel), 0);
    ck_assert_int_eq(muse_stat(muse, "file/a", &stat), 0);
    ck_assert_int_eq(stat.st_size, 5000);
    ck_assert_uint_eq(stat.st_ino, kernel.st_ino);
    ck_assert_uint_eq(stat.st_mode, kernel.st_mode);
    ck_assert_int_eq(stat.st_mtim.tv_nsec, kernel.st_mtim.tv_nsec);
    ck_assert_int_eq(muse_stat(muse, "file/link", &stat), 0);
    ck_assert(S_ISREG(stat.st_mode));
    ck_assert_int_eq(muse_lstat(muse, "file/link", &stat), 0);
    ck_assert(S_ISLNK(stat.st_mode));
    ck_assert_int_eq(muse_readlink(muse, "file/link", buf, sizeof(buf)), 1);
    ck_assert_str_eq(buf, "a");
    ck_assert_int_eq(muse_readlink(muse, "file/out", buf, 2), 2); /* cut */
    ck_assert_int_eq(muse_stat(muse, "file/out/hostname", &stat), -1);
    ck_assert_int_eq(errno, EACCES); /* leads out of the folder */
    ck_assert_int_eq(muse_stat(muse, "file/../../etc", &stat), -1);
    ck_assert_int_eq(errno, EACCES);
    ck_assert_int_eq(muse_stat(muse, "file/a/b", &stat), -1);
    ck_assert_int_eq(errno, ENOTDIR);
    end();
}
END_TEST

START_TEST(a_long_listing_has_each_name_once)
{
    char name[64];
    size_t found;

    begin(NULL, file_and_zero);
    for (int i = 0; i < N_MANY; i++) {
        (void)snprintf(name, sizeof(name), "file-with-a-name-of-some-length-%d", i);
        ck_assert_int_ge(close(creat(data(name), 0600)), 0);
    }
    ck_assert_uint_eq(count_entries("file", name, &found), N_MANY);
    ck_assert_uint_eq(found, 1);
    ck_assert_int_eq(muse_readdir(muse, "file/none", 0, &(struct muse_dirent){0}, 1), -1);
    ck_assert_int_eq(errno, ENOENT);
    ck_assert_int_eq(muse_readdir(muse, "file/..", 0, &(struct muse_dirent){0}, 1), -1);
    ck_assert_int_eq(errno, EACCES);
    end();
}
END_TEST

static void check_mkdir(const char *name, int error)
{
    ck_assert_int_eq(muse_mkdir(muse, name, 0700), -1);
    ck_assert_msg(errno == error, "%s: %s", name, strerrorname_np(errno));
}

START_TEST(names_are_made_renamed_and_removed_below_the_root_only)
{
    struct muse_file *file;
    struct stat stat;

    begin(NULL, writable);
    rig_file(&rig, "a", 100);
    ck_assert_int_eq(muse_mkdir(muse, "file/sub", 0700), 0);
    ck_assert_int_eq(lstat(data("sub"), &stat), 0);
    ck_assert_uint_eq(stat.st_mode, S_IFDIR | 0700);
    check_mkdir("file/sub", EEXIST);
    check_mkdir("file/a", EEXIST);
    check_mkdir("file/a/b", ENOTDIR);
    check_mkdir("file/none/b", ENOENT);
    check_mkdir("file/../escaped", EACCES);
    check_mkdir("file/sub/..", EEXIST);
    check_mkdir("file", EEXIST);
    check_mkdir("", EEXIST);
    check_mkdir("none", ENODEV);
    check_mkdir("zero/sub", EOPNOTSUPP);
    ck_assert_int_eq(muse_rename(muse, "file/a", "file/sub/b", 0), 0);
    ck_assert_int_eq(lstat(data("sub/b"), &stat), 0);
    ck_assert_int_eq(muse_rename(muse, "file/sub/b", "file/../escaped", 0), -1);
    ck_assert_int_eq(errno, EACCES);
    ck_assert_int_eq(muse_unlink(muse, "file/sub", AT_REMOVEDIR), -1);
    ck_assert_int_eq(errno, ENOTEMPTY);
    ck_assert_int_eq(muse_unlink(muse, "file/sub/b", 0), 0);
    ck_assert_int_eq(muse_unlink(muse, "file/sub", AT_REMOVEDIR), 0);
    ck_assert_int_eq(lstat(data("sub"), &stat), -1);
    ck_assert_int_eq(muse_open(muse, "file/new", O_RDWR | O_CREAT | O_EXCL, &file), 0);
    ck_assert_int_eq(lstat(data("new"), &stat), 0);
    ck_assert_int_eq(muse_close(file), 0);
    ck_assert_int_eq(muse_open(muse, "file/new", O_RDWR | O_CREAT | O_EXCL, &file), -1);
    ck_assert_int_eq(errno, EEXIST);
    ck_assert_int_eq(muse_open(muse, "file/none/new", O_RDWR | O_CREAT, &file), -1);
    ck_assert_int_eq(errno, ENOENT);
    ck_assert_int_eq(muse_open(muse, "file/../new", O_RDWR | O_CREAT, &file), -1);
    ck_assert_int_eq(errno, EACCES);
    end();
}
END_TEST

START_TEST(what_is_created_has_the_mode_that_was_asked_for)
{
    static const mode_t modes[] = {0600, 0640, 0444, 0, 0755};
    struct muse_file *file;
    struct stat stat;

    begin(NULL, writable);
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        ck_assert_int_eq(muse_create(muse, "file/new", O_RDWR | O_EXCL, modes[i], &file), 0);
        ck_assert_int_eq(lstat(data("new"), &stat), 0);
        ck_assert_uint_eq(stat.st_mode, S_IFREG | modes[i]);
        ck_assert_int_eq(muse_ftruncate(file, 1), 0);
        ck_assert_int_eq(muse_pwrite(file, "x", 1, 0), 1); /* whatever the mode */
        ck_assert_int_eq(muse_close(file), 0);
        ck_assert_int_eq(muse_create(muse, "file/new", O_RDWR | O_EXCL, 0600, &file), -1);
        ck_assert_int_eq(errno, EEXIST);
        ck_assert_int_eq(unlink(data("new")), 0);
    }
    ck_assert_int_eq(muse_create(muse, "file/new", O_RDWR, 0177600, &file), 0);
    ck_assert_int_eq(muse_fstat(file, &stat), 0);
    ck_assert_uint_eq(stat.st_mode, S_IFREG | 0600);
    ck_assert_int_eq(muse_close(file), 0);
    ck_assert_int_eq(muse_create(muse, "file/new", O_RDWR, 0644, &file), 0); /* it is there */
    ck_assert_int_eq(muse_fstat(file, &stat), 0);
    ck_assert_uint_eq(stat.st_mode, S_IFREG | 0600);
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

START_TEST(a_read_only_driver_changes_nothing)
{
    struct muse_file *file;

    begin(NULL, file_and_zero);
    rig_file(&rig, "a", 100);
    ck_assert_int_eq(muse_unlink(muse, "file/a", 0), -1);
    ck_assert_int_eq(errno, EROFS);
    ck_assert_int_eq(muse_rename(muse, "file/a", "file/b", 0), -1);
    ck_assert_int_eq(errno, EROFS);
    ck_assert_int_eq(muse_open(muse, "file/new", O_RDWR | O_CREAT, &file), -1);
    ck_assert_int_eq(errno, EROFS);
    check_mkdir("file/new", EROFS);
    check_mkdir("file/a", EEXIST);
    ck_assert_int_eq(access(data("a"), F_OK), 0);
    end();
}
END_TEST

START_TEST(a_driver_that_does_not_answer_is_etimedout_and_others_go_on)
{
    struct stat stat;

    begin(quick, faulty);
    ck_assert_int_eq(muse_stat(muse, "faulty/x,open-never", &stat), -1);
    ck_assert_int_eq(errno, ETIMEDOUT);
    ck_assert_ptr_nonnull(strstr(muse_last_error_text(), "getattr_path"));
    ck_assert_int_eq(muse_stat(muse, "faulty/x,size=7", &stat), 0);
    ck_assert_int_eq(stat.st_size, 7);
    ck_assert_int_eq(muse_stat(muse, "faulty/x,open-errno=13", &stat), -1);
    ck_assert_int_eq(errno, EACCES);
    end();
}
END_TEST

START_TEST(nonsense_of_a_driver_is_eremoteio)
{
    struct muse_dirent entry;
    char buf[10];

    begin(NULL, faulty);
    ck_assert_int_eq(muse_readdir(muse, "faulty/x,lie=entry-name", 0, &entry, 1), -1);
    ck_assert_int_eq(errno, EREMOTEIO); /* a name with a slash */
    ck_assert_int_eq(muse_readlink(muse, "faulty/x,lie=empty-link", buf, sizeof(buf)), -1);
    ck_assert_int_eq(errno, EREMOTEIO);
    ck_assert_int_eq(muse_readdir(muse, "faulty", 0, &entry, 1), 1);
    ck_assert_str_eq(entry.name, "counters");
    end();
}
END_TEST

START_TEST(a_driver_that_dies_in_a_hook_is_eio)
{
    struct stat stat;
    struct muse_dirent entry;

    begin(NULL, faulty);
    ck_assert_int_eq(muse_stat(muse, "faulty/x,die-in=getattr_path", &stat), -1);
    ck_assert_int_eq(errno, EIO);
    ck_assert_int_eq(muse_readdir(muse, "other/x,die-in=readdir", 0, &entry, 1), -1);
    ck_assert_int_eq(errno, EIO);
    end();
}
END_TEST

START_TEST(wrong_arguments_are_refused_here)
{
    static char name[5000];
    struct stat stat;
    char buf[4];

    begin(NULL, file_and_zero);
    memset(name, 'n', sizeof(name) - 1);
    ck_assert_int_eq(muse_stat(muse, name, &stat), -1);
    ck_assert_int_eq(errno, ENAMETOOLONG);
    ck_assert_int_eq(muse_stat(muse, NULL, &stat), -1);
    ck_assert_int_eq(errno, EFAULT);
    ck_assert_int_eq(muse_stat(muse, "file", NULL), -1);
    ck_assert_int_eq(errno, EFAULT);
    ck_assert_int_eq(muse_readlink(muse, "file", buf, 0), -1);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_int_eq(muse_rename(muse, "file/a", NULL, 0), -1);
    ck_assert_int_eq(errno, EFAULT);
    ck_assert_int_eq(muse_unlink(muse, "file/a", 0x10000), -1);
    end();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("paths");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, the_empty_name_is_the_folder_of_all_drivers);
    tcase_add_test(tcase, a_driver_without_hooks_for_names_has_an_empty_folder);
    tcase_add_test(tcase, attributes_and_links_are_those_of_the_files);
    tcase_add_test(tcase, a_long_listing_has_each_name_once);
    tcase_add_test(tcase, names_are_made_renamed_and_removed_below_the_root_only);
    tcase_add_test(tcase, what_is_created_has_the_mode_that_was_asked_for);
    tcase_add_test(tcase, a_read_only_driver_changes_nothing);
    tcase_add_test(tcase, a_driver_that_does_not_answer_is_etimedout_and_others_go_on);
    tcase_add_test(tcase, nonsense_of_a_driver_is_eremoteio);
    tcase_add_test(tcase, a_driver_that_dies_in_a_hook_is_eio);
    tcase_add_test(tcase, wrong_arguments_are_refused_here);
    return unit_run("paths", tcase);
}
