/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * muse_setattr: who may change what, and what becomes of it. Each change is made of a served object and of
 * a plain file like it, by the same user, and compared: with muse-file --writable, which asks the kernel,
 * and with muse-shmem, which has the rules itself.
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

#include "common/base/own.h"
#include "tests/support/client.h"
#include "tests/support/unit.h"

#define NOBODY      65534
#define OLD_S       1000000
#define NOFOLLOW    AT_SYMLINK_NOFOLLOW
#define MODE(bits)  .mask = MUSE_SETATTR_MODE, .mode = (bits)
#define TIMES       (MUSE_SETATTR_ATIME | MUSE_SETATTR_MTIME)
#define BOTH_NOW    (MUSE_SETATTR_ATIME_NOW | MUSE_SETATTR_MTIME_NOW)
#define OWNER       (MUSE_SETATTR_UID | MUSE_SETATTR_GID)
#define SYS_CHMODAT 452 /* fchmodat2(2) of Linux 6.6 */

static const char *const writable[] = {"muse-file --writable %s", NULL};
static const char *const shmem[] = {"muse-shmem", NULL};

static struct rig rig;
static struct muse *muse;
static const char *driver = "file"; /* whose objects are compared with plain files */

static void begin(const char *const *drivers)
{
    rig_start(&rig, NULL, drivers);
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
    {"hidden", S_IFDIR, 0700, 0},        {"root-suid", S_IFREG, 04755, 0},
    {"mark", S_IFREG, 02744, NOBODY},
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

static bool is_in_memory(void)
{
    return strcmp(driver, "shmem") == 0;
}

/* "Now" is another moment for each of the two. */
static bool same_time(struct timespec a, struct timespec b)
{
    if (a.tv_sec > 1600000000 && a.tv_sec < 4000000000)
        return b.tv_sec > 1600000000 && b.tv_sec < 4000000000;
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static void compare_times(const char *what, const char *name, const struct stat *a,
                          const struct stat *b)
{
    ck_assert_msg(same_time(a->st_mtim, b->st_mtim), "%s: %s: mtime %lld, not %lld", what, name,
                  (long long)a->st_mtim.tv_sec, (long long)b->st_mtim.tv_sec);
    ck_assert_msg(is_in_memory() || same_time(a->st_atim, b->st_atim),
                  "%s: %s: atime %lld, not %lld", what, name, (long long)a->st_atim.tv_sec,
                  (long long)b->st_atim.tv_sec);
}

/* What libmuse says of the served one is what the kernel says, which is what it says of the other. */
static void compare(const char *what, const char *name)
{
    struct stat plain, served, said;
    char object[64];

    (void)snprintf(object, sizeof(object), "plain-%s", name);
    ck_assert_int_eq(lstat(data(object), &plain), 0);
    (void)snprintf(object, sizeof(object), "%s/%s", driver, name);
    ck_assert_int_eq(muse_lstat(muse, object, &said), 0);
    served = said;
    if (!is_in_memory())
        ck_assert_int_eq(lstat(data(name), &served), 0);
    ck_assert_msg(served.st_mode == plain.st_mode && served.st_uid == plain.st_uid &&
                      served.st_gid == plain.st_gid,
                  "%s: %s: %o %u %u, not %o %u %u", what, name, served.st_mode, served.st_uid,
                  served.st_gid, plain.st_mode, plain.st_uid, plain.st_gid);
    compare_times(what, name, &served, &plain);
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
    {"chown to nobody else", "my-suid", {MODE(06755)}},
    {"chown to nobody else", "my-suid", {.mask = OWNER, .uid = (uid_t)-1, .gid = (gid_t)-1}},
    {"the same without set-uid", "my-suid", {.mask = OWNER, .uid = (uid_t)-1, .gid = (gid_t)-1}},
    {"the same of root's", "root", {.mask = OWNER, .uid = (uid_t)-1, .gid = (gid_t)-1}},
    {"and with set-uid", "root-suid", {.mask = OWNER, .uid = (uid_t)-1, .gid = (gid_t)-1}},
    {"a mark without execution", "mark", {.mask = OWNER, .uid = (uid_t)-1, .gid = (gid_t)-1}},
    {"a user that stays, a new group", "suid", {.mask = OWNER, .uid = (uid_t)-1, .gid = 4}},
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

/* Whether the driver has something of that kind. */
static bool has_item(const char *name)
{
    for (size_t i = 0; i < N_ELEMENTS(items); i++) {
        if (strcmp(items[i].name, name) == 0)
            return items[i].type == S_IFREG || !is_in_memory();
    }
    return !is_in_memory();
}

static void walk_steps(void)
{
    for (size_t i = 0; i < N_ELEMENTS(steps); i++) {
        const struct step *step = &steps[i];
        char plain[64], object[64];
        int expected, r;

        if (!has_item(step->name))
            continue;
        (void)snprintf(plain, sizeof(plain), "plain-%s", step->name);
        (void)snprintf(object, sizeof(object), "%s/%s", driver, step->name);
        expected = change_plain(data(plain), &step->change);
        r = muse_setattr(muse, object, &step->change) < 0 ? errno : 0;
        ck_assert_msg(r == expected, "%s: %s, not %s", step->what, strerrorname_np(r),
                      strerrorname_np(expected));
        for (size_t j = 0; j < N_ELEMENTS(items); j++)
            if (has_item(items[j].name))
                compare(step->what, items[j].name);
    }
}

START_TEST(each_change_by_root_is_as_the_kernels)
{
    begin(writable);
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
    begin(writable);
    make_items();
    client_join(client_fork(walk_as_nobody, NULL));
    end();
}
END_TEST

/* Made by root, and given to whom they belong. */
static void make_objects(void)
{
    for (size_t i = 0; i < N_ELEMENTS(items); i++) {
        const struct muse_setattr change = {.mask = OWNER | TIMES | MUSE_SETATTR_MODE,
                                            .mode = items[i].mode,
                                            .uid = items[i].owner,
                                            .gid = items[i].owner,
                                            .mtime = {OLD_S, 0}};
        char name[64];

        if (!has_item(items[i].name))
            continue;
        (void)snprintf(name, sizeof(name), "shmem/%s", items[i].name);
        ck_assert_int_eq(muse_close(client_open(muse, name, O_RDWR | O_CREAT)), 0);
        ck_assert_int_eq(muse_setattr(muse, name, &change), 0);
    }
}

static void remove_objects(void)
{
    char name[64];

    for (size_t i = 0; i < N_ELEMENTS(items); i++) {
        (void)snprintf(name, sizeof(name), "shmem/%s", items[i].name);
        if (has_item(items[i].name))
            ck_assert_int_eq(muse_unlink(muse, name, 0), 0);
    }
}

START_TEST(each_change_of_an_object_in_memory_is_as_of_a_file)
{
    driver = "shmem";
    begin(shmem);
    make_items();
    make_objects();
    if (_i == 0)
        walk_steps();
    else
        client_join(client_fork(walk_as_nobody, NULL));
    remove_objects();
    end();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("setattr_kernel");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, each_change_by_root_is_as_the_kernels);
    tcase_add_test(tcase, each_change_by_another_user_is_as_the_kernels);
    tcase_add_loop_test(tcase, each_change_of_an_object_in_memory_is_as_of_a_file, 0, 2);
    return unit_run("setattr_kernel", tcase);
}
