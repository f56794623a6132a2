/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Each entry point of the C library that changes modes, owners and times, by name: of names, through
 * links and not, of descriptors, of folders, relative, with mistakes. attrs.sh runs it on a plain folder
 * and, under muse-run, on a served one, and compares; what it leaves, too.
 *
 *     attrs FOLDER       FOLDER has f, a link to it called link, and a folder called sub
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utime.h>

#include "tests/preload/say.h"

/* What a program linked against the C library would call. */
static void *find(const char *name)
{
    void *entry = dlsym(RTLD_DEFAULT, name);

    if (!entry) {
        printf("%s: not in this C library\n", name);
        exit(1);
    }
    return entry;
}

#define ENTRY(type, name)                                                                          \
    __typeof__(type) *entry;                                                                       \
    entry = (__typeof__(type) *)find(name)

static void say_stat(const char *name, const struct stat *stat)
{
    const bool is_now = stat->st_mtim.tv_sec > 1600000000 && stat->st_mtim.tv_sec < 4000000000;

    printf("    %s: %o %u %u, mtime %lld.%09ld\n", name, stat->st_mode, stat->st_uid, stat->st_gid,
           is_now ? 0 : (long long)stat->st_mtim.tv_sec, is_now ? 0 : stat->st_mtim.tv_nsec);
}

/* All three, by name, and the file as a descriptor. */
static void say_all(void)
{
    static const char *const names[] = {"f", "link", "sub"};
    int fd = open(path("f"), O_RDONLY);
    struct stat by_name, by_fd;

    for (size_t i = 0; i < 3; i++) {
        if (lstat(path(names[i]), &by_name) == 0)
            say_stat(names[i], &by_name);
    }
    if (stat(path("f"), &by_name) == 0 && fstat(fd, &by_fd) == 0) {
        printf("    the descriptor says %s\n",
               by_fd.st_mode == by_name.st_mode && by_fd.st_uid == by_name.st_uid &&
                       by_fd.st_gid == by_name.st_gid &&
                       by_fd.st_mtim.tv_sec == by_name.st_mtim.tv_sec &&
                       by_fd.st_mtim.tv_nsec == by_name.st_mtim.tv_nsec
                   ? "the same"
                   : "something else");
    }
    (void)close(fd);
}

/* Names that each entry is tried with, besides the three. */
static const char *const wrong_names[] = {"none", "f/", "f/x", "../none", "none/x"};

#define N_WRONG (sizeof(wrong_names) / sizeof(wrong_names[0]))

/* ---- modes ---- */

static void check_chmod(const char *name, mode_t mode)
{
    ENTRY(int(const char *, mode_t), name);

    (void)say_result(name, entry(path("f"), mode));
    (void)say_result("    of a folder", entry(path("sub"), 0750));
    (void)say_result("    with a slash", entry(path("sub/"), 0710));
    (void)say_result("    of a link", entry(path("link"), mode | 1));
    (void)say_result("    with set-uid", entry(path("f"), 06751));
    say_all();
    for (size_t i = 0; i < N_WRONG; i++)
        (void)say_result(wrong_names[i], entry(path(wrong_names[i]), mode));
}

static void check_fchmodat(void)
{
    ENTRY(int(int, const char *, mode_t, int), "fchmodat");
    int folder_fd = open(folder, O_RDONLY | O_DIRECTORY);

    (void)say_result("fchmodat", entry(folder_fd, "f", 0604, 0));
    (void)say_result("    of a link", entry(folder_fd, "link", 0605, 0));
    (void)say_result("    of a link itself", entry(folder_fd, "link", 0606, AT_SYMLINK_NOFOLLOW));
    (void)say_result("    of no link", entry(folder_fd, "f", 0607, AT_SYMLINK_NOFOLLOW));
    (void)say_result("    absolute", entry(-1, path("sub"), 0700, 0));
    (void)say_result("    strange flags", entry(folder_fd, "f", 0600, 0x80000));
    (void)say_result("    no descriptor", entry(-1, "f", 0600, 0));
    (void)close(folder_fd);
    say_all();
}

static void check_fchmod(void)
{
    ENTRY(int(int, mode_t), "fchmod");
    int fd = open(path("f"), O_RDONLY);
    int folder_fd = open(path("sub"), O_RDONLY | O_DIRECTORY);

    (void)say_result("fchmod", entry(fd, 0440));
    (void)say_result("    of a folder", entry(folder_fd, 0711));
    (void)close(fd);
    (void)close(folder_fd);
    say_all();
    (void)say_result("    closed", entry(fd, 0600));
    (void)chmod(path("f"), 0644);
}

/* ---- owners ---- */

static void check_chown(const char *name)
{
    ENTRY(int(const char *, uid_t, gid_t), name);

    (void)chmod(path("f"), 06755);
    (void)say_result(name, entry(path("f"), 11, 12));
    (void)say_result("    group alone", entry(path("sub"), (uid_t)-1, 13));
    (void)say_result("    user alone", entry(path("sub"), 14, (gid_t)-1));
    say_all();
    (void)say_result("    of a link", entry(path("link"), 15, 16));
    (void)say_result("    nothing", entry(path("link"), (uid_t)-1, (gid_t)-1));
    say_all();
    for (size_t i = 0; i < N_WRONG; i++)
        (void)say_result(wrong_names[i], entry(path(wrong_names[i]), 1, 1));
}

static void check_fchownat(void)
{
    ENTRY(int(int, const char *, uid_t, gid_t, int), "fchownat");
    int folder_fd = open(folder, O_RDONLY | O_DIRECTORY);
    int fd = open(path("f"), O_RDWR);

    (void)say_result("fchownat", entry(folder_fd, "f", 21, 22, 0));
    (void)say_result("    of a link", entry(folder_fd, "link", 23, 24, 0));
    (void)say_result("    of a link itself", entry(folder_fd, "link", 25, 26, AT_SYMLINK_NOFOLLOW));
    say_all();
    (void)say_result("    of a descriptor", entry(fd, "", 27, 28, AT_EMPTY_PATH));
    (void)say_result("    no path", entry(fd, "", 27, 28, 0));
    (void)say_result("    strange flags", entry(folder_fd, "f", 1, 1, 0x80000));
    (void)close(folder_fd);
    (void)close(fd);
    say_all();
}

static void check_fchown(void)
{
    ENTRY(int(int, uid_t, gid_t), "fchown");
    int fd = open(path("f"), O_RDONLY);

    (void)say_result("fchown", entry(fd, 31, 32));
    (void)close(fd);
    say_all();
    (void)say_result("    closed", entry(fd, 1, 1));
}

/* ---- times ---- */

static const struct timespec specs[][2] = {
    {{1000000, 1}, {1000001, 999999999}},
    {{0, UTIME_OMIT}, {1000002, 2}},
    {{1000003, 3}, {0, UTIME_OMIT}},
    {{0, UTIME_NOW}, {1000004, 4}},
    {{1000005, 5}, {0, UTIME_NOW}},
    {{0, UTIME_NOW}, {0, UTIME_NOW}},
    {{0, UTIME_OMIT}, {0, UTIME_OMIT}},
    {{-5, 5}, {-6, 6}},
    {{1, 1000000000}, {1, 0}},
    {{1, 0}, {1, -1}},
};

#define N_SPECS (sizeof(specs) / sizeof(specs[0]))

static void check_utimensat(void)
{
    ENTRY(int(int, const char *, const struct timespec *, int), "utimensat");
    int folder_fd = open(folder, O_RDONLY | O_DIRECTORY);
    int fd = open(path("f"), O_RDWR);

    for (size_t i = 0; i < N_SPECS; i++) {
        (void)say_result("utimensat", entry(folder_fd, "f", specs[i], 0));
        say_all();
    }
    (void)say_result("    now", entry(AT_FDCWD, path("f"), NULL, 0));
    (void)say_result("    of a link", entry(folder_fd, "link", specs[0], 0));
    (void)say_result("    of a link itself",
                     entry(folder_fd, "link", specs[1], AT_SYMLINK_NOFOLLOW));
    (void)say_result("    of a descriptor", entry(fd, "", specs[2], AT_EMPTY_PATH));
    (void)say_result("    no path", entry(fd, "", specs[0], 0));
    (void)say_result("    NULL", entry(fd, NULL, specs[0], 0));
    (void)say_result("    strange flags", entry(folder_fd, "f", specs[0], 0x80000));
    (void)say_result("    nothing, and not there", entry(folder_fd, "none", specs[6], 0));
    for (size_t i = 0; i < N_WRONG; i++)
        (void)say_result(wrong_names[i], entry(folder_fd, wrong_names[i], specs[0], 0));
    (void)close(folder_fd);
    (void)close(fd);
    say_all();
}

static void check_futimens(void)
{
    ENTRY(int(int, const struct timespec *), "futimens");
    int fd = open(path("f"), O_RDWR);
    int folder_fd = open(path("sub"), O_RDONLY | O_DIRECTORY);

    (void)chmod(path("f"), 0644); /* what is written to loses set-uid in Linux, and keeps it here */
    (void)!pwrite(fd, "stored before", 13, 0);
    for (size_t i = 0; i < N_SPECS; i++) {
        (void)say_result("futimens", entry(fd, specs[i]));
        say_all();
    }
    (void)say_result("    now", entry(fd, NULL));
    (void)say_result("    of a folder", entry(folder_fd, specs[0]));
    (void)close(fd);
    (void)close(folder_fd);
    say_all();
    (void)say_result("    closed", entry(fd, specs[0]));
}

static const struct timeval vals[][2] = {
    {{2000000, 1}, {2000001, 999999}},
    {{1, 1000000}, {1, 0}},
    {{1, 0}, {1, -1}},
};

#define N_VALS (sizeof(vals) / sizeof(vals[0]))

static void check_utimes(const char *name)
{
    ENTRY(int(const char *, const struct timeval *), name);

    (void)say_result("now", entry(path("f"), NULL));
    for (size_t i = 0; i < N_VALS; i++) {
        (void)say_result(name, entry(path("f"), vals[i]));
        (void)say_result("    of a link", entry(path("link"), vals[i]));
        say_all();
    }
    for (size_t i = 0; i < N_WRONG; i++)
        (void)say_result(wrong_names[i], entry(path(wrong_names[i]), vals[0]));
}

static void check_futimes(void)
{
    ENTRY(int(int, const struct timeval *), "futimes");
    int fd = open(path("f"), O_RDONLY);

    for (size_t i = 0; i < N_VALS; i++) {
        (void)say_result("futimes", entry(fd, vals[i]));
        say_all();
    }
    (void)say_result("    now", entry(fd, NULL));
    (void)close(fd);
    say_all();
}

static void check_futimesat(void)
{
    ENTRY(int(int, const char *, const struct timeval *), "futimesat");
    int folder_fd = open(folder, O_RDONLY | O_DIRECTORY);
    int fd = open(path("f"), O_RDONLY);

    (void)say_result("futimesat", entry(folder_fd, "f", vals[0]));
    (void)say_result("    of a folder", entry(folder_fd, NULL, NULL));
    say_all();
    (void)say_result("    now", entry(AT_FDCWD, path("f"), NULL));
    say_all();
    (void)say_result("    of a descriptor", entry(fd, NULL, vals[0]));
    (void)close(folder_fd);
    (void)close(fd);
    say_all();
}

static void check_utime(void)
{
    ENTRY(int(const char *, const struct utimbuf *), "utime");
    const struct utimbuf times = {3000000, 3000001};

    (void)say_result("utime", entry(path("f"), NULL));
    say_all();
    (void)say_result("    of a link", entry(path("link"), &times));
    say_all();
    (void)say_result("    nothing there", entry(path("none"), &times));
}

/* ---- what is made ---- */

static void say_made(const char *what, int fd)
{
    struct stat stat;

    (void)say_result(what, fd < 0 ? -1 : 0);
    if (fd >= 0 && fstat(fd, &stat) == 0)
        printf("    %o, %s\n", stat.st_mode,
               write(fd, "x", 1) == 1 ? "written to" : "not writable");
    (void)close(fd);
    (void)unlink(path("made"));
}

static void check_made(mode_t mask)
{
    const mode_t before = umask(mask);
    char temp[512];
    FILE *file;

    printf("umask %o\n", mask);
    say_made("open", open(path("made"), O_RDWR | O_CREAT, 0644));
    say_made("    no mode at all", open(path("made"), O_RDWR | O_CREAT | O_EXCL, 0));
    say_made("    read-only", open(path("made"), O_WRONLY | O_CREAT, 0444));
    say_made("    for reading", open(path("made"), O_RDONLY | O_CREAT, 0200));
    say_made("    executable", openat(AT_FDCWD, path("made"), O_RDWR | O_CREAT, 0755));
    say_made("creat", creat(path("made"), 0640));
    file = fopen(path("made"), "w+x");
    say_made("fopen", file ? fcntl(fileno(file), F_DUPFD_CLOEXEC, 0) : -1);
    if (file)
        (void)fclose(file);
    (void)snprintf(temp, sizeof(temp), "%s", path("made-XXXXXX"));
    say_made("mkstemp", mkstemp(temp));
    (void)unlink(temp);
    (void)say_result("mkdir", mkdir(path("made"), 0755));
    say_made("    a folder", open(path("made"), O_RDONLY | O_DIRECTORY));
    (void)rmdir(path("made"));
    (void)close(open(path("made"), O_RDWR | O_CREAT, 0600));
    say_made("one that is there", open(path("made"), O_RDWR | O_CREAT, 0644));
    printf("umask was %o\n", umask(before));
}

/* ---- descriptors that came a long way ---- */

static void check_removed(void)
{
    int fd = open(path("gone"), O_RDWR | O_CREAT, 0600);
    struct stat stat;

    (void)say_result("removed", unlink(path("gone")));
    (void)close(open(path("gone"), O_RDWR | O_CREAT, 0600)); /* another one */
    (void)chmod(path("gone"), 0600);
    (void)say_result("    fchmod of what has no name", fchmod(fd, 0604));
    if (fstat(fd, &stat) == 0)
        printf("    %o\n", stat.st_mode);
    if (lstat(path("gone"), &stat) == 0)
        printf("    the other %o\n", stat.st_mode);
    (void)close(fd);
}

static void check_inherited(const char *program)
{
    int fd = open(path("f"), O_RDWR);
    char number[12];
    int status = 0;

    (void)snprintf(number, sizeof(number), "%d", fd);
    (void)fflush(stdout);
    if (fork() == 0) {
        (void)execl(program, program, "--descriptor", number, NULL);
        _exit(99);
    }
    (void)wait(&status);
    (void)close(fd);
    (void)say_result("inherited by another program", WEXITSTATUS(status));
    say_all();
}

static int change_inherited(int fd)
{
    if (fchmod(fd, 0600) < 0 || fchown(fd, 41, 42) < 0 || futimens(fd, specs[0]) < 0)
        return errno;
    return 0;
}

static void check_working_folder(void)
{
    if (chdir(folder) < 0)
        return;
    (void)say_result("in the folder", chmod("f", 0611));
    (void)say_result("    of sub", chown("./sub/../sub", 51, 52));
    (void)say_result("    the folder itself", chmod(".", 0755));
    (void)say_result("    times", utimensat(AT_FDCWD, "f", specs[0], 0));
    (void)say_result("    at last", chdir("/"));
    say_all();
}

int main(int argc, char **argv)
{
    if (argc == 3)
        return change_inherited((int)strtol(argv[2], NULL, 10));
    if (argc != 2) {
        fprintf(stderr, "usage: attrs FOLDER\n");
        return 2;
    }
    folder = argv[1];
    (void)umask(0);
    check_chmod("chmod", 0640);
    check_chmod("lchmod", 0660);
    check_fchmodat();
    check_fchmod();
    check_chown("chown");
    check_chown("lchown");
    check_fchownat();
    check_fchown();
    check_utimensat();
    check_futimens();
    check_utimes("utimes");
    check_utimes("lutimes");
    check_futimes();
    check_futimesat();
    check_utime();
    check_made(022);
    check_made(077);
    check_made(0127);
    check_removed();
    check_inherited(argv[0]);
    check_working_folder();
    return 0;
}
