/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * muse_setattr and muse_fsetattr: mode, owner and times, of names and of open files; drivers that refuse,
 * have no such hook, do not answer, die or answer nonsense; and times that have to outlive the writing
 * back of what was stored before. Who may change what is it_setattr_kernel.c's.
 */
#include <errno.h>
#include <fcntl.h>
#include <muse/muse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>

#include "proto/path.pb-c.h"
#include "tests/support/client.h"
#include "tests/support/raw.h"
#include "tests/support/unit.h"

#define OLD_S      1000000
#define RW         (PROT_READ | PROT_WRITE)
#define MODE(bits) .mask = MUSE_SETATTR_MODE, .mode = (bits)
#define TIMES      (MUSE_SETATTR_ATIME | MUSE_SETATTR_MTIME)
#define OWNER      (MUSE_SETATTR_UID | MUSE_SETATTR_GID)

static const char *const file_and_zero[] = {"muse-file %s", "muse-zero", NULL};
static const char *const writable[] = {"muse-file --writable %s", NULL};
static const char *const filled[] = {"muse-file --writable --mode fill %s", NULL};
static const char *const faulty[] = {"muse-faulty --register=writes", "muse-faulty --name other",
                                     NULL};
static const char quick[] = "[deadlines]\nhook_ms = 300\n";
static const char lazy[] = "[deadlines]\nwriteback_ms = 600000\n";

static const char *const shmem[] = {"muse-shmem", NULL};

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

static void expect(const char *name, const struct muse_setattr *change, int error)
{
    const int r = muse_setattr(muse, name, change) < 0 ? errno : 0;

    ck_assert_msg(r == error, "%s: %s, not %s", name, strerrorname_np(r), strerrorname_np(error));
}

START_TEST(an_open_file_is_changed_whatever_it_is_called)
{
    const struct muse_setattr change = {MODE(0640)};
    const struct muse_setattr times = {.mask = TIMES, .atime = {1, 2}, .mtime = {3, 4}};
    const struct muse_setattr link = {MODE(0640), .flags = AT_SYMLINK_NOFOLLOW};
    struct muse_file *file, *other;
    struct stat stat, kernel;
    char old[160];

    begin(NULL, writable);
    rig_file(&rig, "a", 5000);
    rig_file(&rig, "b", 5000);
    file = client_open(muse, "file/a", O_RDONLY);
    other = client_open(muse, "file/a", O_RDWR);
    (void)snprintf(old, sizeof(old), "%s", data("b"));
    ck_assert_int_eq(rename(old, data("a")), 0); /* another file has the name now */
    ck_assert_int_eq(lstat(data("a"), &kernel), 0);
    ck_assert_int_eq(muse_fsetattr(file, &change), 0);
    ck_assert_int_eq(muse_fsetattr(other, &times), 0);
    ck_assert_int_eq(muse_fstat(file, &stat), 0);
    ck_assert_uint_eq(stat.st_mode, S_IFREG | 0640);
    ck_assert_int_eq(stat.st_mtim.tv_sec, 3);
    ck_assert_int_eq(stat.st_mtim.tv_nsec, 4);
    ck_assert_int_eq(lstat(data("a"), &stat), 0);
    ck_assert_uint_eq(stat.st_mode, kernel.st_mode);
    ck_assert_int_eq(stat.st_mtim.tv_nsec, kernel.st_mtim.tv_nsec);
    ck_assert_int_eq(muse_fsetattr(NULL, &change), -1);
    ck_assert_int_eq(errno, EBADF);
    ck_assert_int_eq(muse_fsetattr(file, NULL), -1);
    ck_assert_int_eq(errno, EFAULT);
    ck_assert_int_eq(muse_fsetattr(file, &link), -1);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_int_eq(muse_close(file), 0);
    ck_assert_int_eq(muse_close(other), 0);
    end();
}
END_TEST

START_TEST(objects_in_memory_are_changed_by_name_and_as_files)
{
    const struct muse_setattr change = {MODE(0640)};
    const struct muse_setattr times = {.mask = TIMES, .mtime = {3, 4}};
    struct muse_file *file;
    struct stat stat;

    begin(NULL, shmem);
    file = client_open(muse, "shmem/a", O_RDWR | O_CREAT);
    ck_assert_int_eq(muse_ftruncate(file, PAGE), 0);
    ck_assert_int_eq(muse_pwrite(file, "\1", 1, 0), 1);
    expect("shmem/a", &times, 0);
    expect("shmem/none", &change, ENOENT);
    expect("shmem", &change, EPERM);
    ck_assert_int_eq(muse_unlink(muse, "shmem/a", 0), 0);
    expect("shmem/a", &change, ENOENT);
    ck_assert_int_eq(muse_fsetattr(file, &change), 0); /* it has no name any more */
    ck_assert_int_eq(muse_fsync(file), 0);
    ck_assert_int_eq(muse_fstat(file, &stat), 0);
    ck_assert_uint_eq(stat.st_mode, S_IFREG | 0640);
    ck_assert_int_eq(stat.st_mtim.tv_sec, 3);
    ck_assert_int_eq(stat.st_mtim.tv_nsec, 4);
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

START_TEST(a_name_and_the_open_file_say_the_same_after_a_change)
{
    const struct muse_setattr change = {.mask = OWNER | TIMES | MUSE_SETATTR_MODE,
                                        .mode = 04711,
                                        .uid = 5,
                                        .gid = 6,
                                        .mtime = {7, 8}};
    struct muse_file *file;
    struct stat by_name, by_file;

    begin(NULL, writable);
    rig_file(&rig, "a", 5000);
    file = client_open(muse, "file/a", O_RDWR);
    expect("file/a", &change, 0);
    ck_assert_int_eq(muse_stat(muse, "file/a", &by_name), 0);
    ck_assert_int_eq(muse_fstat(file, &by_file), 0);
    ck_assert_uint_eq(by_name.st_mode, S_IFREG | 04711);
    ck_assert_uint_eq(by_file.st_mode, by_name.st_mode);
    ck_assert_uint_eq(by_file.st_uid, 5);
    ck_assert_uint_eq(by_file.st_gid, 6);
    ck_assert_int_eq(by_file.st_mtim.tv_sec, 7);
    ck_assert_int_eq(by_name.st_mtim.tv_nsec, 8);
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

START_TEST(changes_stay_below_the_root)
{
    const struct muse_setattr change = {MODE(0600)};
    static char name[5000];
    struct stat stat;

    begin(NULL, writable);
    rig_file(&rig, "a", 100);
    ck_assert_int_eq(mkdir(data("sub"), 0700), 0);
    ck_assert_int_eq(symlink("../../etc", data("out")), 0);
    ck_assert_int_eq(symlink("/etc/passwd", data("absolute")), 0);
    expect("file/../data", &change, EACCES);
    expect("file/..", &change, EACCES);
    expect("file/sub/../../data/a", &change, EACCES);
    expect("file/out/passwd", &change, EACCES);
    expect("file/absolute", &change, EACCES);
    ck_assert_int_eq(lstat("/etc/passwd", &stat), 0);
    ck_assert_uint_ne(stat.st_mode & 0777, 0600);
    expect("file/sub/../a", &change, 0);
    expect("file/none", &change, ENOENT);
    expect("file/none/a", &change, ENOENT);
    expect("file/a/b", &change, ENOTDIR);
    memset(name, 'n', sizeof(name) - 1);
    expect(name, &change, ENAMETOOLONG);
    memcpy(name, "file/", 5);
    name[5 + 300] = '\0';
    expect(name, &change, ENAMETOOLONG);
    expect(NULL, &change, EFAULT);
    expect("file/a", NULL, EFAULT);
    end();
}
END_TEST

START_TEST(the_drivers_own_folder_is_the_root)
{
    const struct muse_setattr change = {MODE(0711)};
    struct stat stat;

    begin(NULL, writable);
    expect("file", &change, 0);
    ck_assert_int_eq(lstat(rig.data, &stat), 0);
    ck_assert_uint_eq(stat.st_mode, S_IFDIR | 0711);
    end();
}
END_TEST

START_TEST(a_driver_that_changes_nothing_is_erofs)
{
    const struct muse_setattr change = {MODE(0600)};
    struct muse_file *file;
    struct stat stat;

    begin(NULL, file_and_zero);
    rig_file(&rig, "a", 100);
    ck_assert_int_eq(chmod(data("a"), 0644), 0);
    expect("", &change, EROFS);
    expect("none", &change, ENODEV);
    expect("none/a", &change, ENODEV);
    expect("zero", &change, EROFS); /* it has no such hook */
    expect("zero/64K", &change, EROFS);
    expect("file/a", &change, EROFS); /* it has, and is read-only */
    expect("file/none", &change, ENOENT);
    expect("file", &change, EROFS);
    file = client_open(muse, "file/a", O_RDONLY);
    ck_assert_int_eq(muse_fsetattr(file, &change), -1);
    ck_assert_int_eq(errno, EROFS);
    ck_assert_int_eq(muse_close(file), 0);
    file = client_open(muse, "zero/64K", O_RDONLY);
    ck_assert_int_eq(muse_fsetattr(file, &change), -1);
    ck_assert_int_eq(errno, EROFS);
    ck_assert_int_eq(muse_close(file), 0);
    ck_assert_int_eq(lstat(data("a"), &stat), 0);
    ck_assert_uint_eq(stat.st_mode, S_IFREG | 0644);
    end();
}
END_TEST

START_TEST(changes_that_make_no_sense_are_einval)
{
    static const struct muse_setattr wrongs[] = {
        {.mask = 0x80},
        {.mask = ~0u},
        {MODE(0600), .flags = AT_EMPTY_PATH},
        {.mask = MUSE_SETATTR_ATIME | MUSE_SETATTR_ATIME_NOW},
        {.mask = MUSE_SETATTR_MTIME | MUSE_SETATTR_MTIME_NOW},
        {.mask = MUSE_SETATTR_MTIME, .mtime = {0, 1000000000}},
        {.mask = MUSE_SETATTR_MTIME, .mtime = {0, UTIME_NOW}},
        {.mask = MUSE_SETATTR_ATIME, .atime = {0, -1}},
    };
    const struct muse_setattr unseen = {
        .mask = MUSE_SETATTR_MODE, .mode = 0600, .atime = {0, -1}, .mtime = {0, -1}};

    begin(NULL, writable);
    rig_file(&rig, "a", 100);
    for (size_t i = 0; i < N_ELEMENTS(wrongs); i++)
        expect("file/a", &wrongs[i], EINVAL);
    expect("file/a", &unseen, 0);
    end();
}
END_TEST

START_TEST(times_that_do_not_fit_become_the_nearest_that_do)
{
    const struct muse_setattr far = {.mask = TIMES, .atime = {1, 0}, .mtime = {INT64_MAX, 5}};
    const struct muse_setattr early = {.mask = TIMES, .atime = {1, 0}, .mtime = {INT64_MIN, 5}};
    struct stat stat, kernel;

    begin(NULL, writable);
    rig_file(&rig, "a", 100);
    expect("file/a", &far, 0);
    ck_assert_int_eq(muse_stat(muse, "file/a", &stat), 0);
    ck_assert_int_eq(stat.st_mtim.tv_sec, INT64_MAX / 1000000000 - 1);
    expect("file/a", &early, 0);
    ck_assert_int_eq(muse_stat(muse, "file/a", &stat), 0);
    ck_assert_int_eq(lstat(data("a"), &kernel), 0); /* its file system may go less far back */
    ck_assert_int_eq(stat.st_mtim.tv_sec, kernel.st_mtim.tv_sec);
    end();
}
END_TEST

/* ---- what was stored before ---- */

static const char *const *const modes[] = {writable, filled};

static void expect_mtime(const char *name, time_t s)
{
    struct stat stat;

    ck_assert_int_eq(lstat(data(name), &stat), 0);
    ck_assert_int_eq(stat.st_mtim.tv_sec, s);
}

static unsigned char byte_of(const char *name)
{
    unsigned char byte = 0;
    int fd = open(data(name), O_RDONLY | O_CLOEXEC);

    ck_assert_int_eq(pread(fd, &byte, 1, 0), 1);
    (void)close(fd);
    return byte;
}

static void fsync_as_somebody_else(void)
{
    struct muse_file *file = client_open(muse, "file/a", O_RDONLY);

    ck_assert_int_eq(muse_fsync(file), 0);
    ck_assert_int_eq(muse_close(file), 0);
}

START_TEST(a_time_that_was_set_stays_when_older_stores_are_written_back)
{
    const struct muse_setattr times = {.mask = TIMES, .atime = {1, 0}, .mtime = {OLD_S, 0}};
    unsigned char *bytes;
    struct stat stat;

    begin(lazy, modes[_i]);
    rig_file(&rig, "a", 3 * PAGE);
    ck_assert_int_eq(symlink("a", data("link")), 0);
    bytes = client_map(muse, "file/a", O_RDWR, 3 * PAGE, RW, MAP_SHARED);
    ck_assert_ptr_ne(bytes, MAP_FAILED);
    bytes[0] = 1;
    bytes[2 * PAGE] = 1;
    expect("file/link", &times, 0); /* the name under which nobody has it open */
    fsync_as_somebody_else();
    expect_mtime("a", OLD_S);
    ck_assert_uint_eq(byte_of("a"), 1);
    bytes[0] = 2; /* the mapping goes on, and what is stored later moves the time on */
    fsync_as_somebody_else();
    ck_assert_uint_eq(byte_of("a"), 2);
    ck_assert_int_eq(lstat(data("a"), &stat), 0);
    ck_assert_int_ne(stat.st_mtim.tv_sec, OLD_S);
    ck_assert_int_eq(muse_munmap(muse, bytes, 3 * PAGE), 0);
    end();
}
END_TEST

START_TEST(a_time_that_was_set_of_an_open_file_stays_when_it_is_closed)
{
    const struct muse_setattr times = {.mask = TIMES, .atime = {1, 0}, .mtime = {OLD_S, 0}};
    struct muse_file *file;

    begin(lazy, modes[_i]);
    rig_file(&rig, "a", PAGE);
    file = client_open(muse, "file/a", O_RDWR);
    ck_assert_int_eq(muse_pwrite(file, "\1", 1, 0), 1);
    ck_assert_int_eq(muse_fsetattr(file, &times), 0);
    ck_assert_int_eq(muse_close(file), 0);
    fsync_as_somebody_else();
    expect_mtime("a", OLD_S);
    ck_assert_uint_eq(byte_of("a"), 1);
    end();
}
END_TEST

START_TEST(a_time_that_was_set_stays_though_nobody_has_the_file_open)
{
    const struct muse_setattr times = {.mask = TIMES, .atime = {1, 0}, .mtime = {OLD_S, 0}};
    struct muse_file *file;

    begin(lazy, modes[_i]);
    rig_file(&rig, "a", PAGE);
    file = client_open(muse, "file/a", O_RDWR);
    ck_assert_int_eq(muse_pwrite(file, "\1", 1, 0), 1);
    ck_assert_int_eq(muse_close(file), 0);
    expect("file/a", &times, 0);
    fsync_as_somebody_else();
    expect_mtime("a", OLD_S);
    ck_assert_uint_eq(byte_of("a"), 1);
    end();
}
END_TEST

START_TEST(the_driver_is_asked_once_more_only_when_something_was_written_back)
{
    const struct muse_setattr times = {.mask = TIMES};
    const struct muse_setattr mode = {MODE(0600)};
    struct muse_file *file;

    begin(lazy, faulty);
    file = client_open(muse, "faulty/x,key=5", O_RDWR);
    expect("faulty/y,key=5", &times, 0);
    ck_assert_uint_eq(rig_counter("setattr"), 1);
    ck_assert_int_eq(muse_pwrite(file, "\1", 1, 0), 1);
    expect("faulty/y,key=6", &times, 0); /* somebody else's */
    expect("faulty/y,key=5", &mode, 0);
    ck_assert_uint_eq(rig_counter("setattr"), 3);
    ck_assert_uint_eq(rig_counter("writeback"), 0);
    expect("faulty/y,key=5", &times, 0);
    ck_assert_uint_eq(rig_counter("setattr"), 5);
    ck_assert_uint_ge(rig_counter("writeback"), 1);
    ck_assert_int_eq(muse_pwrite(file, "\1", 1, 0), 1);
    ck_assert_int_eq(muse_fsetattr(file, &times), 0); /* of a file it is known before */
    ck_assert_uint_eq(rig_counter("setattr"), 6);
    ck_assert_uint_ge(rig_counter("writeback"), 2);
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

START_TEST(a_writeback_that_fails_does_not_fail_the_change)
{
    const struct muse_setattr times = {.mask = TIMES};
    struct muse_file *file;

    begin(lazy, faulty);
    file = client_open(muse, "faulty/x,writeback-fails=1", O_RDWR);
    ck_assert_int_eq(muse_pwrite(file, "\1", 1, 0), 1);
    ck_assert_int_eq(muse_fsetattr(file, &times), 0);
    ck_assert_int_eq(muse_fsync(file), -1); /* it is fsync's to tell */
    ck_assert_int_eq(muse_fsync(file), 0);
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

/* ---- drivers that misbehave ---- */

START_TEST(a_driver_that_does_not_answer_is_etimedout_and_others_go_on)
{
    const struct muse_setattr change = {MODE(0600)};

    begin(quick, faulty);
    expect("faulty/x,open-never", &change, ETIMEDOUT);
    ck_assert_ptr_nonnull(strstr(muse_last_error_text(), "setattr_path"));
    expect("faulty/x,setattr-errno=1", &change, EPERM);
    expect("faulty/x", &change, 0);
    expect("other/x", &change, 0);
    end();
}
END_TEST

START_TEST(nonsense_of_a_driver_is_eremoteio)
{
    const struct muse_setattr change = {.mask = TIMES};

    begin(NULL, faulty);
    expect("faulty/x,lie=bad-errno", &change, EREMOTEIO);
    expect("faulty/x,lie=huge-errno", &change, EREMOTEIO);
    expect("faulty/x,lie=positive", &change, EREMOTEIO);
    expect("faulty/x,lie=setattr-truncated", &change, EREMOTEIO);
    expect("faulty/x,key=12345", &change, 0); /* an object that is not there */
    expect("faulty/x", &change, 0);
    end();
}
END_TEST

START_TEST(a_driver_that_dies_is_eio)
{
    const struct muse_setattr change = {.mask = TIMES};
    struct muse_file *file;

    begin(lazy, faulty);
    expect("other/x,die-in=setattr", &change, EIO);
    file = client_open(muse, "faulty/x,key=5,die-in=writeback", O_RDWR);
    ck_assert_int_eq(muse_pwrite(file, "\1", 1, 0), 1);
    ck_assert_int_eq(muse_fsetattr(file, &change), -1);
    ck_assert_int_eq(errno, EIO);
    ck_assert_int_eq(muse_fsetattr(file, &change), -1);
    ck_assert_int_eq(errno, EIO);
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

/* ---- by hand ---- */

static void ask_raw(struct raw *raw, char *name, uint64_t file_id,
                    const Muse__Wire__AttrChange *change, int error)
{
    Muse__Wire__PathAsk ask = MUSE__WIRE__PATH_ASK__INIT;
    uint64_t id;

    ask.name = name;
    ask.has_file = file_id != 0;
    ask.file = file_id;
    ask.change = (Muse__Wire__AttrChange *)(uintptr_t)change; /* only read */
    id = raw_ask(raw, FRAME_SETATTR, &ask.base);
    if (error)
        ck_assert_int_eq(raw_failure(raw, id), error);
    else
        (void)raw_answer(raw, FRAME_DONE, id);
}

START_TEST(what_a_client_says_is_checked_before_the_driver_is_asked)
{
    Muse__Wire__AttrChange change = MUSE__WIRE__ATTR_CHANGE__INIT;
    Muse__Wire__PathAsk nothing = MUSE__WIRE__PATH_ASK__INIT;
    char name[] = "faulty/x", empty[] = "";
    struct raw raw;
    uint64_t file_id;

    begin(NULL, faulty);
    raw_hello(&raw, &rig);
    raw_attach(&raw);
    file_id = raw_open(&raw, "faulty/x");
    for (uint32_t bit = 1; bit < MUSE_SETATTR_ATIME_NOW; bit <<= 1) {
        change.mask = bit; /* and no value */
        ask_raw(&raw, name, 0, &change, EINVAL);
    }
    change.mask = 0x80;
    ask_raw(&raw, name, 0, &change, EINVAL);
    change.has_atime_ns = change.has_mtime_ns = change.has_mode = true;
    change.mask = MUSE_SETATTR_MTIME | MUSE_SETATTR_MTIME_NOW;
    ask_raw(&raw, name, 0, &change, EINVAL);
    change.mask = MUSE_SETATTR_MODE;
    ask_raw(&raw, name, file_id + 1000, &change, EBADF); /* nobody's, or the driver's own number */
    ask_raw(&raw, name, 1, &change, file_id == 1 ? 0 : EBADF);
    ck_assert_uint_eq(rig_counter("setattr"), file_id == 1);
    ask_raw(&raw, empty, file_id, &change, 0);
    ask_raw(&raw, name, 0, &change, 0);
    nothing.name = name;
    (void)raw_ask(&raw, FRAME_SETATTR, &nothing.base); /* a change of nothing that is said */
    ck_assert(raw_is_cut_off(raw.chan.fd));
    raw_done(&raw);
    expect("faulty/x", &(struct muse_setattr){MODE(0)}, 0);
    end();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("setattr");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, objects_in_memory_are_changed_by_name_and_as_files);
    tcase_add_test(tcase, an_open_file_is_changed_whatever_it_is_called);
    tcase_add_test(tcase, a_name_and_the_open_file_say_the_same_after_a_change);
    tcase_add_test(tcase, changes_stay_below_the_root);
    tcase_add_test(tcase, the_drivers_own_folder_is_the_root);
    tcase_add_test(tcase, a_driver_that_changes_nothing_is_erofs);
    tcase_add_test(tcase, changes_that_make_no_sense_are_einval);
    tcase_add_test(tcase, times_that_do_not_fit_become_the_nearest_that_do);
    tcase_add_loop_test(tcase, a_time_that_was_set_stays_when_older_stores_are_written_back, 0,
                        N_ELEMENTS(modes));
    tcase_add_loop_test(tcase, a_time_that_was_set_of_an_open_file_stays_when_it_is_closed, 0,
                        N_ELEMENTS(modes));
    tcase_add_loop_test(tcase, a_time_that_was_set_stays_though_nobody_has_the_file_open, 0,
                        N_ELEMENTS(modes));
    tcase_add_test(tcase, the_driver_is_asked_once_more_only_when_something_was_written_back);
    tcase_add_test(tcase, a_writeback_that_fails_does_not_fail_the_change);
    tcase_add_test(tcase, a_driver_that_does_not_answer_is_etimedout_and_others_go_on);
    tcase_add_test(tcase, nonsense_of_a_driver_is_eremoteio);
    tcase_add_test(tcase, a_driver_that_dies_is_eio);
    tcase_add_test(tcase, what_a_client_says_is_checked_before_the_driver_is_asked);
    return unit_run("setattr", tcase);
}
