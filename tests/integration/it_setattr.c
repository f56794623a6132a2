/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * muse_setattr and muse_fsetattr: mode, owner and times. What muse-file --writable does is compared
 * with the same change of a plain file beside the served one, made by the same user; then drivers that
 * refuse, have no such hook, do not answer, die or answer nonsense; and times that have to outlive the
 * writing back of what was stored before.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <muse/muse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <check.h>

#include "proto/path.pb-c.h"
#include "tests/support/client.h"
#include "tests/support/raw.h"
#include "tests/support/unit.h"

#define NOBODY      65534
#define OLD_S       1000000
#define RW          (PROT_READ | PROT_WRITE)
#define NOFOLLOW    AT_SYMLINK_NOFOLLOW
#define MODE(bits)  .mask = MUSE_SETATTR_MODE, .mode = (bits)
#define TIMES       (MUSE_SETATTR_ATIME | MUSE_SETATTR_MTIME)
#define BOTH_NOW    (MUSE_SETATTR_ATIME_NOW | MUSE_SETATTR_MTIME_NOW)
#define OWNER       (MUSE_SETATTR_UID | MUSE_SETATTR_GID)
#define SYS_CHMODAT 452 /* fchmodat2(2) of Linux 6.6 */

static const char *const file_and_zero[] = {"muse-file %s", "muse-zero", NULL};
static const char *const writable[] = {"muse-file --writable %s", NULL};
static const char *const filled[] = {"muse-file --writable --mode fill %s", NULL};
static const char *const faulty[] = {"muse-faulty --register=writes", "muse-faulty --name other",
                                     NULL};
static const char quick[] = "[deadlines]\nhook_ms = 300\n";
static const char lazy[] = "[deadlines]\nwriteback_ms = 600000\n";

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

/* ---- against the kernel ---- */

/* Each is there twice: NAME is served, plain-NAME is for the kernel. All times are OLD_S. */
static const struct item {
    const char *name;
    mode_t type;
    mode_t mode;
    uid_t owner;
} items[] = {
    {"root", S_IFREG, 0644, 0},          {"mine", S_IFREG, 0644, NOBODY},
    {"shared", S_IFREG, 0666, 0},        {"suid", S_IFREG, 06755, 0},
    {"my-suid", S_IFREG, 06755, NOBODY}, {"dir", S_IFDIR, 0755, 0},
    {"my-dir", S_IFDIR, 0755, NOBODY},   {"link", S_IFLNK, 0777, 0},
    {"hidden", S_IFDIR, 0700, 0},
};

static void make_item(const struct item *item, const char *prefix)
{
    const struct timespec old[2] = {{.tv_sec = OLD_S}, {.tv_sec = OLD_S}};
    char name[64], target[64];

    (void)snprintf(name, sizeof(name), "%s%s", prefix, item->name);
    (void)snprintf(target, sizeof(target), "%sroot", prefix);
    if (item->type == S_IFREG)
        ck_assert_int_eq(close(creat(data(name), 0600)), 0);
    else if (item->type == S_IFDIR)
        ck_assert_int_eq(mkdir(data(name), 0700), 0);
    else
        ck_assert_int_eq(symlink(target, data(name)), 0);
    ck_assert_int_eq(lchown(data(name), item->owner, item->owner), 0);
    if (item->type != S_IFLNK)
        ck_assert_int_eq(chmod(data(name), item->mode), 0);
    ck_assert_int_eq(utimensat(AT_FDCWD, data(name), old, NOFOLLOW), 0);
}

static void make_items(void)
{
    (void)umask(0);
    ck_assert_int_eq(chmod(rig.dir, 0755), 0);
    ck_assert_int_eq(chmod(rig.data, 0755), 0);
    for (size_t i = 0; i < N_ELEMENTS(items); i++) {
        make_item(&items[i], "");
        make_item(&items[i], "plain-");
    }
}

static struct timespec plain_time(unsigned mask, unsigned explicit_bit, unsigned now_bit,
                                  struct timespec time)
{
    if (mask & now_bit)
        return (struct timespec){.tv_nsec = UTIME_NOW};
    return mask & explicit_bit ? time : (struct timespec){.tv_nsec = UTIME_OMIT};
}

/* The kernel's calls. Return: 0; the errno. */
static int change_plain(const char *path, const struct muse_setattr *change)
{
    const struct timespec times[2] = {
        plain_time(change->mask, MUSE_SETATTR_ATIME, MUSE_SETATTR_ATIME_NOW, change->atime),
        plain_time(change->mask, MUSE_SETATTR_MTIME, MUSE_SETATTR_MTIME_NOW, change->mtime)};

    if ((change->mask & OWNER) &&
        fchownat(AT_FDCWD, path, change->mask & MUSE_SETATTR_UID ? change->uid : (uid_t)-1,
                 change->mask & MUSE_SETATTR_GID ? change->gid : (gid_t)-1, change->flags) < 0)
        return errno;
    if ((change->mask & MUSE_SETATTR_MODE) &&
        syscall(SYS_CHMODAT, AT_FDCWD, path, change->mode, change->flags) < 0)
        return errno;
    if ((change->mask & (TIMES | BOTH_NOW)) && utimensat(AT_FDCWD, path, times, change->flags) < 0)
        return errno;
    return 0;
}

/* "Now" is another moment for each of the two. */
static bool same_time(struct timespec a, struct timespec b)
{
    if (a.tv_sec > 1600000000 && a.tv_sec < 4000000000)
        return b.tv_sec > 1600000000 && b.tv_sec < 4000000000;
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/* What libmuse says of the served one is what the kernel says, which is what it says of the other. */
static void compare(const char *what, const char *name)
{
    struct stat plain, served, said;
    char object[64];

    (void)snprintf(object, sizeof(object), "plain-%s", name);
    ck_assert_int_eq(lstat(data(object), &plain), 0);
    (void)snprintf(object, sizeof(object), "file/%s", name);
    ck_assert_int_eq(lstat(data(name), &served), 0);
    ck_assert_int_eq(muse_lstat(muse, object, &said), 0);
    ck_assert_msg(served.st_mode == plain.st_mode && served.st_uid == plain.st_uid &&
                      served.st_gid == plain.st_gid,
                  "%s: %s: %o %u %u, not %o %u %u", what, name, served.st_mode, served.st_uid,
                  served.st_gid, plain.st_mode, plain.st_uid, plain.st_gid);
    ck_assert_msg(same_time(served.st_mtim, plain.st_mtim), "%s: %s: mtime %lld, not %lld", what,
                  name, (long long)served.st_mtim.tv_sec, (long long)plain.st_mtim.tv_sec);
    ck_assert_msg(same_time(served.st_atim, plain.st_atim), "%s: %s: atime %lld, not %lld", what,
                  name, (long long)served.st_atim.tv_sec, (long long)plain.st_atim.tv_sec);
    ck_assert_msg(
        said.st_mode == served.st_mode && said.st_uid == served.st_uid &&
            said.st_gid == served.st_gid && said.st_mtim.tv_sec == served.st_mtim.tv_sec &&
            said.st_mtim.tv_nsec == served.st_mtim.tv_nsec,
        "%s: %s: muse_lstat says %o %u %u", what, name, said.st_mode, said.st_uid, said.st_gid);
}

static const struct step {
    const char *what;
    const char *name;
    struct muse_setattr change;
} steps[] = {
    {"chmod", "root", {MODE(0600)}},
    {"chmod of mine", "mine", {MODE(0640)}},
    {"chmod with bits that are none", "mine", {MODE(0100641)}},
    {"set-gid of a group that is mine", "mine", {MODE(02755)}},
    {"chmod of a folder", "dir", {MODE(01777)}},
    {"chmod of my folder", "my-dir", {MODE(0711)}},
    {"chmod through a link", "link", {MODE(0604)}},
    {"chmod of a link", "link", {MODE(0600), .flags = NOFOLLOW}},
    {"chmod behind a folder that is not to be looked into", "hidden/x", {MODE(0600)}},
    {"chown", "root", {.mask = OWNER, .uid = 5, .gid = 6}},
    {"chown back", "root", {.mask = OWNER}},
    {"chown of mine", "mine", {.mask = MUSE_SETATTR_UID, .uid = 5}},
    {"chown of mine back", "mine", {.mask = MUSE_SETATTR_UID, .uid = NOBODY}},
    {"chown of mine to me", "mine", {.mask = OWNER, .uid = NOBODY, .gid = NOBODY}},
    {"another group", "mine", {.mask = MUSE_SETATTR_GID, .gid = 6}},
    {"set-gid of a group that may not be mine", "mine", {MODE(02755)}},
    {"my group", "mine", {.mask = MUSE_SETATTR_GID, .gid = NOBODY}},
    {"chown of a link", "link", {.mask = OWNER, .flags = NOFOLLOW, .uid = 7, .gid = 8}},
    {"chown takes set-uid away", "suid", {.mask = MUSE_SETATTR_UID, .uid = 5}},
    {"my group takes set-uid away", "my-suid", {.mask = MUSE_SETATTR_GID, .gid = NOBODY}},
    {"chown and the mode",
     "suid",
     {.mask = OWNER | MUSE_SETATTR_MODE, .mode = 06711, .uid = 1, .gid = 1}},
    {"times", "root", {.mask = TIMES, .atime = {1, 2}, .mtime = {3, 4}}},
    {"times of mine", "mine", {.mask = TIMES, .atime = {5, 999999999}, .mtime = {-5, 999999999}}},
    {"mtime alone", "mine", {.mask = MUSE_SETATTR_MTIME, .mtime = {77, 0}}},
    {"atime alone", "mine", {.mask = MUSE_SETATTR_ATIME, .atime = {88, 0}}},
    {"times of what I may write", "shared", {.mask = TIMES, .atime = {1, 0}, .mtime = {1, 0}}},
    {"one now of what I may write", "shared", {.mask = MUSE_SETATTR_MTIME_NOW}},
    {"both now of what I may write", "shared", {.mask = BOTH_NOW}},
    {"both now of what I may not", "root", {.mask = BOTH_NOW}},
    {"atime now", "my-suid", {.mask = MUSE_SETATTR_ATIME_NOW}},
    {"now and not now",
     "my-suid",
     {.mask = MUSE_SETATTR_ATIME | MUSE_SETATTR_MTIME_NOW, .atime = {9, 0}}},
    {"times of a link", "link", {.mask = TIMES, .flags = NOFOLLOW, .mtime = {11, 0}}},
    {"times of my folder", "my-dir", {.mask = TIMES, .atime = {12, 0}, .mtime = {13, 0}}},
    {"all at once",
     "mine",
     {.mask = OWNER | TIMES | MUSE_SETATTR_MODE,
      .mode = 0611,
      .uid = NOBODY,
      .gid = NOBODY,
      .mtime = {14, 15}}},
    {"nothing", "root", {.mask = 0}},
};

static void walk_steps(void)
{
    for (size_t i = 0; i < N_ELEMENTS(steps); i++) {
        const struct step *step = &steps[i];
        char plain[64], object[64];
        int expected, r;

        (void)snprintf(plain, sizeof(plain), "plain-%s", step->name);
        (void)snprintf(object, sizeof(object), "file/%s", step->name);
        expected = change_plain(data(plain), &step->change);
        r = muse_setattr(muse, object, &step->change) < 0 ? errno : 0;
        ck_assert_msg(r == expected, "%s: %s, not %s", step->what, strerrorname_np(r),
                      strerrorname_np(expected));
        for (size_t j = 0; j < N_ELEMENTS(items) && !strchr(step->name, '/'); j++)
            compare(step->what, items[j].name);
    }
}

START_TEST(each_change_by_root_is_as_the_kernels)
{
    begin(NULL, writable);
    make_items();
    walk_steps();
    end();
}
END_TEST

static void walk_as_nobody(void *ctx)
{
    (void)ctx;
    ck_assert_int_eq(setgroups(0, NULL), 0);
    ck_assert_int_eq(setresgid(NOBODY, NOBODY, NOBODY), 0);
    ck_assert_int_eq(setresuid(NOBODY, NOBODY, NOBODY), 0);
    muse = client_connect();
    walk_steps();
    muse_disconnect(muse);
}

START_TEST(each_change_by_another_user_is_as_the_kernels)
{
    begin(NULL, writable);
    make_items();
    client_join(client_fork(walk_as_nobody, NULL));
    end();
}
END_TEST

static void expect(const char *name, const struct muse_setattr *change, int error)
{
    const int r = muse_setattr(muse, name, change) < 0 ? errno : 0;

    ck_assert_msg(r == error, "%s: %s, not %s", name, strerrorname_np(r), strerrorname_np(error));
}

START_TEST(an_open_file_is_changed_whatever_it_is_called)
{
    const struct muse_setattr change = {MODE(0640)};
    const struct muse_setattr times = {.mask = TIMES, .atime = {1, 2}, .mtime = {3, 4}};
    const struct muse_setattr link = {MODE(0640), .flags = NOFOLLOW};
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
    tcase_add_test(tcase, each_change_by_root_is_as_the_kernels);
    tcase_add_test(tcase, each_change_by_another_user_is_as_the_kernels);
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
