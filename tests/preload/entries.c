/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Each entry point of the C library that programs were seen to use on files and mappings, in each of
 * its spellings, by name: what a call by that name gives on the folder that is the argument.
 * entries.sh runs it on a plain folder and, under muse-run, on the same folder served, and compares.
 * probe.c is the program that does ordinary things; this one asks whether a name was forgotten: a
 * call that the shim does not see would fail on a served name, or act on another file.
 *
 *     entries FOLDER       FOLDER is empty and writable
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/preload/say.h"

#define PAGE 4096

/* What a program linked against the C library would call. NULL: this C library has no such name. */
static void *find(const char *name)
{
    void *entry = dlsym(RTLD_DEFAULT, name);

    if (!entry)
        printf("%-24s not in this C library\n", name);
    return entry;
}

#define ENTRY(type, name)                                                                          \
    __typeof__(type) *entry = (__typeof__(type) *)find(name);                                      \
    if (!entry)                                                                                    \
    return

#define EACH(check, ...)                                                                           \
    do {                                                                                           \
        static const char *const names[] = {__VA_ARGS__};                                          \
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)                              \
            check(names[i]);                                                                       \
    } while (0)

/* ---- a file to work on: "0123456789abcdef" again and again, two pages ---- */

#define N_BYTES (2 * PAGE)

static int fresh(int oflags)
{
    static const char digits[] = "0123456789abcdef";
    char bytes[N_BYTES];
    int fd = open(path("f"), O_RDWR | O_CREAT | O_TRUNC, 0644);

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = digits[i % 16];
    if (fd < 0 || pwrite(fd, bytes, sizeof(bytes), 0) != N_BYTES) {
        perror("entries: making a file");
        exit(1);
    }
    (void)close(fd);
    return open(path("f"), oflags);
}

static void say_head(const char *what)
{
    char bytes[41] = "";
    int fd = open(path("f"), O_RDONLY);
    struct stat stat = {0};

    (void)!pread(fd, bytes, 40, 0);
    (void)fstat(fd, &stat);
    (void)close(fd);
    for (size_t i = 0; i < 40; i++)
        if (bytes[i] == '\0')
            bytes[i] = '.';
    printf("    %s: %.40s, %ld bytes\n", what, bytes, (long)stat.st_size);
}

/* ---- opening ---- */

static void check_open(const char *name)
{
    ENTRY(int(const char *, int, ...), name);
    char byte = 0;
    int fd = (int)say_result(name, entry(path("f"), O_RDONLY) < 0 ? -1 : 0) == 0
                 ? entry(path("f"), O_RDONLY)
                 : -1;

    (void)say_result("    its byte 10", pread(fd, &byte, 1, 10) == 1 ? byte : -1);
    (void)close(fd);
    (void)say_result("    nothing there", entry(path("none"), O_RDONLY));
}

static void check_openat(const char *name)
{
    ENTRY(int(int, const char *, int, ...), name);
    int folder_fd = open(folder, O_RDONLY | O_DIRECTORY);
    char byte = 0;
    int fd = entry(folder_fd, "f", O_RDONLY);

    (void)say_result(name, fd < 0 ? -1 : pread(fd, &byte, 1, 11));
    printf("    %c\n", byte);
    (void)close(fd);
    (void)close(folder_fd);
}

static void check_creat(const char *name)
{
    ENTRY(int(const char *, mode_t), name);
    int fd = entry(path("f"), 0600);

    (void)say_result(name, fd < 0 ? -1 : write(fd, "created", 7));
    (void)close(fd);
    say_head("created");
    (void)close(fresh(O_RDONLY));
}

static void check_fopen(const char *name)
{
    ENTRY(FILE * (const char *, const char *), name);
    static const char *const modes[] = {"r", "r+", "re", "w", "a+", "wx"};
    char line[20];

    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        FILE *file = entry(path("f"), modes[i]);

        printf("    \"%s\" ", modes[i]);
        (void)say_result(name, file ? 0 : -1);
        if (!file)
            continue;
        (void)say_result("    fread", (long)fread(line, 1, sizeof(line), file));
        (void)say_result("    fputs",
                         fseek(file, 3, SEEK_SET) == 0 && fputs("XYZ", file) >= 0 ? 0 : -1);
        (void)say_result("    fclose", fclose(file));
        say_head(modes[i]);
        (void)close(fresh(O_RDONLY));
    }
}

static void check_freopen(const char *name)
{
    ENTRY(FILE * (const char *, const char *, FILE *), name);
    FILE *file = fopen(path("f"), "r");
    char bytes[4] = "";

    file = file ? entry(path("f"), "r", file) : NULL;
    (void)say_result(name, file ? (long)fread(bytes, 1, 3, file) : -1);
    printf("    %s\n", bytes);
    if (file)
        (void)fclose(file);
}

/* ---- descriptors ---- */

static void check_read(const char *name)
{
    /* the checking ones have the buffer's size as one more argument */
    ENTRY(ssize_t(int, void *, size_t, ...), name);
    char bytes[9] = "";
    int fd = fresh(O_RDWR);

    (void)lseek(fd, 5, SEEK_SET);
    (void)say_result(name, entry(fd, bytes, (size_t)8, sizeof(bytes)));
    printf("    %s, at %ld\n", bytes, (long)lseek(fd, 0, SEEK_CUR));
    (void)close(fd);
}

static void check_pread(const char *name)
{
    ENTRY(ssize_t(int, void *, size_t, off_t, ...), name);
    char bytes[9] = "";
    int fd = fresh(O_RDWR);

    (void)say_result(name, entry(fd, bytes, (size_t)8, (off_t)6, sizeof(bytes)));
    printf("    %s, at %ld\n", bytes, (long)lseek(fd, 0, SEEK_CUR));
    (void)say_result("    at the end",
                     entry(fd, bytes, (size_t)8, (off_t)N_BYTES - 3, sizeof(bytes)));
    (void)close(fd);
}

static void check_pwrite(const char *name)
{
    ENTRY(ssize_t(int, const void *, size_t, off_t), name);
    int fd = fresh(O_RDWR);

    (void)say_result(name, entry(fd, "PWRITE", 6, 4));
    say_head(name);
    (void)close(fd);
}

static void check_readv(const char *name)
{
    ENTRY(ssize_t(int, const struct iovec *, int), name);
    char a[4] = "", b[6] = "";
    const struct iovec iov[] = {{a, 3}, {b, 5}};
    int fd = fresh(O_RDWR);

    (void)say_result(name, entry(fd, iov, 2));
    printf("    %s %s, at %ld\n", a, b, (long)lseek(fd, 0, SEEK_CUR));
    (void)close(fd);
}

static void check_writev(const char *name)
{
    ENTRY(ssize_t(int, const struct iovec *, int), name);
    char a[] = "WRI", b[] = "TEV";
    const struct iovec iov[] = {{a, 3}, {b, 3}};
    int fd = fresh(O_RDWR);

    (void)say_result(name, entry(fd, iov, 2));
    say_head(name);
    (void)close(fd);
}

static void check_preadv(const char *name)
{
    ENTRY(ssize_t(int, const struct iovec *, int, off_t, int), name);
    char a[4] = "", b[6] = "";
    const struct iovec iov[] = {{a, 3}, {b, 5}};
    int fd = fresh(O_RDWR);

    (void)say_result(name, entry(fd, iov, 2, 7, 0));
    printf("    %s %s, at %ld\n", a, b, (long)lseek(fd, 0, SEEK_CUR));
    (void)close(fd);
}

static void check_pwritev(const char *name)
{
    ENTRY(ssize_t(int, const struct iovec *, int, off_t, int), name);
    char a[] = "PWR", b[] = "ITEV";
    const struct iovec iov[] = {{a, 3}, {b, 4}};
    int fd = fresh(O_RDWR);

    (void)say_result(name, entry(fd, iov, 2, 2, 0));
    say_head(name);
    (void)close(fd);
}

static void check_lseek(const char *name)
{
    ENTRY(off_t(int, off_t, int), name);
    int fd = fresh(O_RDWR);

    (void)say_result(name, entry(fd, 100, SEEK_SET));
    (void)say_result("    from here", entry(fd, 5, SEEK_CUR));
    (void)say_result("    from the end", entry(fd, -5, SEEK_END));
    (void)say_result("    before it", entry(fd, -1, SEEK_SET));
    (void)close(fd);
}

static void check_ftruncate(const char *name)
{
    ENTRY(int(int, off_t), name);
    int fd = fresh(O_RDWR);

    (void)say_result(name, entry(fd, 5));
    say_head("shorter");
    (void)say_result(name, entry(fd, 30));
    say_head("longer");
    (void)say_result("    negative", entry(fd, -1));
    (void)close(fd);
}

static void check_truncate(const char *name)
{
    ENTRY(int(const char *, off_t), name);

    (void)close(fresh(O_RDWR));
    (void)say_result(name, entry(path("f"), 7));
    say_head(name);
    (void)say_result("    nothing there", entry(path("none"), 7));
}

static void check_posix_fallocate(const char *name) /* returns the errno */
{
    ENTRY(int(int, off_t, off_t), name);
    int fd = fresh(O_RDWR);

    (void)say_result(name, entry(fd, N_BYTES, 100));
    say_head(name);
    (void)say_result("    nothing", entry(fd, 0, 0));
    (void)close(fd);
}

static void check_fallocate(const char *name)
{
    ENTRY(int(int, int, off_t, off_t), name);
    int fd = fresh(O_RDWR);

    (void)say_result(name, entry(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 3, 20));
    say_head("hole");
    (void)say_result(name, entry(fd, FALLOC_FL_PUNCH_HOLE, 3, 20));
    (void)close(fd);
}

static void check_sync(const char *name)
{
    ENTRY(int(int), name);
    int fd = fresh(O_RDWR);

    (void)say_result(name, entry(fd));
    (void)close(fd);
}

static void check_fadvise(const char *name)
{
    ENTRY(int(int, off_t, off_t, int), name);
    int fd = fresh(O_RDWR);

    (void)say_result(name, entry(fd, 0, 0, POSIX_FADV_SEQUENTIAL));
    (void)say_result("    unknown advice", entry(fd, 0, 0, 77));
    (void)close(fd);
}

static void check_dup3(const char *name)
{
    ENTRY(int(int, int, int), name);
    char bytes[4] = "";
    int fd = fresh(O_RDWR);

    (void)say_result(name, entry(fd, 50, O_CLOEXEC));
    (void)lseek(50, 4, SEEK_SET); /* one position */
    (void)say_result("    read", read(fd, bytes, 3));
    (void)say_result("    F_GETFD", fcntl(50, F_GETFD));
    (void)say_result("    itself", entry(fd, fd, 0));
    printf("    %s\n", bytes);
    (void)close(50);
    (void)close(fd);
}

static void check_fcntl(const char *name)
{
    ENTRY(int(int, int, ...), name);
    char bytes[4] = "";
    int fd = fresh(O_RDONLY);
    int copy = entry(fd, F_DUPFD_CLOEXEC, 60);

    (void)say_result(name, copy);
    (void)say_result("    F_GETFD", entry(copy, F_GETFD));
    (void)say_result("    F_SETFD", entry(copy, F_SETFD, 0));
    (void)say_result("    F_GETFD", entry(copy, F_GETFD));
    (void)say_result("    F_GETFL", entry(copy, F_GETFL) & O_ACCMODE);
    (void)say_result("    pread", pread(copy, bytes, 3, 2));
    printf("    %s\n", bytes);
    (void)close(copy);
    (void)close(fd);
}

/* Where a write goes: an open description appends from its beginning, from F_SETFL or fdopen(3) on, or
 * for one write; and not any more. */
static void check_append(void)
{
    char bytes[] = "one";
    const struct iovec iov = {bytes, 3};
    int fd = fresh(O_RDWR);
    FILE *file;

    (void)say_result("F_SETFL, O_APPEND", fcntl(fd, F_SETFL, O_APPEND));
    (void)say_result("    F_GETFL", fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK));
    (void)say_result("    write", write(fd, "WRITE", 5));
    (void)say_result("    is at", (long)lseek(fd, 0, SEEK_CUR));
    (void)say_result("    pwrite", pwrite(fd, "PWRITE", 6, 2));
    say_head("appended");
    (void)say_result("F_SETFL, O_NONBLOCK", fcntl(fd, F_SETFL, O_NONBLOCK));
    (void)say_result("    F_GETFL", fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK));
    (void)say_result("    pwrite", pwrite(fd, "HERE", 4, 2));
    say_head("written there");
    (void)say_result("pwritev2, RWF_APPEND", pwritev2(fd, &iov, 1, 0, RWF_APPEND));
    (void)say_result("    RWF_DSYNC", pwritev2(fd, &iov, 1, 0, RWF_DSYNC));
    (void)say_result("    unknown", pwritev2(fd, &iov, 1, 0, 1 << 30));
    (void)say_result("preadv2, unknown", preadv2(fd, &iov, 1, 0, 1 << 30));
    say_head("with flags");
    (void)close(fd);
    fd = open(path("f"), O_WRONLY | O_SYNC);
    (void)say_result("O_SYNC", fcntl(fd, F_GETFL) & O_SYNC);
    (void)say_result("    write", write(fd, "SYNC", 4));
    file = fdopen(fd, "a");
    (void)say_result("fdopen to append", fputs("LAST", file) < 0 || fclose(file) != 0 ? -1 : 0);
    say_head("fdopen");
    fd = open(path("f"), O_RDONLY);
    (void)say_result("    of what is read only", fdopen(fd, "a") ? 0 : -1);
    (void)close(fd);
}

static void check_dprintf(const char *name)
{
    /* the checking one has a flag before the format */
    const bool is_checking = name[0] == '_';
    ENTRY(int(int, ...), name);
    int fd = fresh(O_RDWR);

    (void)lseek(fd, 2, SEEK_SET);
    (void)say_result(name, is_checking ? entry(fd, 1, "%d-%s", 42, "printed")
                                       : entry(fd, "%d-%s", 42, "printed"));
    say_head(name);
    (void)close(fd);
    fd = fresh(O_RDONLY);
    (void)say_result("    of what is read only",
                     is_checking ? entry(fd, 1, "%d", 42) : entry(fd, "%d", 42));
    (void)close(fd);
}

/* Programs, and children that the C library starts for them, write to it. */
static void check_freopen_stdout(void)
{
    pid_t child;

    (void)close(fresh(O_RDONLY));
    (void)fflush(stdout);
    child = fork();
    if (child == 0) {
        if (!freopen(path("f"), "w", stdout))
            _exit(1);
        printf("printed\n");
        (void)fflush(stdout);
        (void)!system("echo by a child");
        printf("again\n");
        exit(0);
    }
    (void)say_result("freopen of stdout", waitpid(child, NULL, 0) == child ? 0 : -1);
    say_head("printed");
    (void)close(fresh(O_RDONLY));
}

/* The working folder of what system(3) and popen(3) start. */
static void check_system(void)
{
    char line[20] = "";
    FILE *pipe;

    (void)say_result("chdir", chdir(folder));
    (void)fflush(stdout);
    (void)say_result("system", system("head -c 8 f && test -d sub"));
    pipe = popen("head -c 6 f", "r");
    (void)say_result("popen", pipe && fgets(line, sizeof(line), pipe) ? 0 : -1);
    printf("    %s\n", line);
    (void)say_result("pclose", pipe ? pclose(pipe) : -1);
    (void)say_result("chdir", chdir("/"));
    (void)say_result("system", system("test -e sub"));
}

static void check_ioctl(void)
{
    int fd = fresh(O_RDONLY);
    int n = -1;

    (void)lseek(fd, 100, SEEK_SET);
    (void)say_result("ioctl, FIONREAD", ioctl(fd, FIONREAD, &n));
    (void)say_result("    bytes", n);
    (void)say_result("ioctl, FIOCLEX", ioctl(fd, FIOCLEX));
    (void)say_result("    F_GETFD", fcntl(fd, F_GETFD));
    (void)say_result("ioctl, TCGETS", isatty(fd) ? 0 : -1);
    (void)close(fd);
}

static void check_sendfile(const char *name) /* may refuse, so that programs copy */
{
    ENTRY(ssize_t(int, int, off_t *, size_t), name);
    off_t at = 3;
    int fd = fresh(O_RDONLY), to = memfd_create("to", 0);
    ssize_t n = entry(to, fd, &at, 10);
    char bytes[11] = "0123456789"; /* what there is when it refuses */

    if (n == 10)
        (void)!pread(to, bytes, 10, 0);
    else
        (void)!pread(fd, bytes, 10, 3);
    printf("%-24s %s\n", name, bytes);
    (void)close(to);
    (void)close(fd);
}

/* ---- names ---- */

static void say_stat(const char *name, int r, const struct stat *stat)
{
    (void)say_result(name, r);
    if (r == 0)
        printf("    %o, %ld bytes, %lu links, blocks of %ld\n", stat->st_mode, (long)stat->st_size,
               (unsigned long)stat->st_nlink, (long)stat->st_blksize);
}

static void check_stat(const char *name)
{
    ENTRY(int(const char *, struct stat *), name);
    struct stat stat;

    say_stat(name, entry(path("f"), &stat), &stat);
    say_stat("    folder", entry(path("sub"), &stat), &stat);
    (void)say_result("    nothing there", entry(path("none"), &stat));
}

static void check_xstat(const char *name)
{
    ENTRY(int(int, const char *, struct stat *), name);
    struct stat stat;

    say_stat(name, entry(1, path("f"), &stat), &stat);
}

static void check_fstat(const char *name)
{
    ENTRY(int(int, struct stat *), name);
    struct stat stat;
    int fd = fresh(O_RDONLY);

    say_stat(name, entry(fd, &stat), &stat);
    (void)close(fd);
}

static void check_fxstat(const char *name)
{
    ENTRY(int(int, int, struct stat *), name);
    struct stat stat;
    int fd = fresh(O_RDONLY);

    say_stat(name, entry(1, fd, &stat), &stat);
    (void)close(fd);
}

static void check_fstatat(const char *name)
{
    ENTRY(int(int, const char *, struct stat *, int), name);
    struct stat stat;
    int fd = open(folder, O_RDONLY | O_DIRECTORY);

    say_stat(name, entry(fd, "f", &stat, 0), &stat);
    say_stat("    the folder itself", entry(fd, "", &stat, AT_EMPTY_PATH) == 0 ? 0 : -1,
             &(struct stat){.st_mode = stat.st_mode});
    (void)close(fd);
}

static void check_fxstatat(const char *name)
{
    ENTRY(int(int, int, const char *, struct stat *, int), name);
    struct stat stat;

    say_stat(name, entry(1, AT_FDCWD, path("f"), &stat, AT_SYMLINK_NOFOLLOW), &stat);
}

static void check_statfs(const char *name)
{
    ENTRY(int(const char *, struct statfs *), name);
    struct statfs fs;

    (void)say_result(name, entry(path("f"), &fs));
    (void)say_result("    nothing there", entry(path("none"), &fs));
}

static void check_fstatfs(const char *name)
{
    ENTRY(int(int, struct statfs *), name);
    struct statfs fs;
    int fd = fresh(O_RDONLY);

    (void)say_result(name, entry(fd, &fs));
    (void)close(fd);
}

static void check_access(const char *name)
{
    ENTRY(int(const char *, int), name);

    (void)say_result(name, entry(path("f"), R_OK | W_OK));
    (void)say_result("    execute", entry(path("f"), X_OK));
    (void)say_result("    nothing there", entry(path("none"), F_OK));
}

static void check_faccessat(const char *name)
{
    ENTRY(int(int, const char *, int, int), name);

    (void)say_result(name, entry(AT_FDCWD, path("f"), R_OK, 0));
    (void)say_result("    nothing there", entry(AT_FDCWD, path("none"), F_OK, AT_EACCESS));
}

static void check_pathconf(void)
{
    (void)say_result("pathconf", pathconf(path("f"), _PC_NAME_MAX));
    (void)say_result("    nothing there", pathconf(path("none"), _PC_NAME_MAX));
}

static void check_mkdtemp(void)
{
    char name[512];
    struct stat st;

    (void)snprintf(name, sizeof(name), "%s", path("folderXXXXXX"));
    (void)say_result("mkdtemp", mkdtemp(name) ? 0 : -1);
    (void)say_result("    stat", stat(name, &st));
    (void)say_result("    rmdir", rmdir(name));
    (void)snprintf(name, sizeof(name), "%s", path("none/XXXXXX"));
    (void)say_result("    nowhere", mkdtemp(name) ? 0 : -1);
}

/* Of what there is not an errno that says so, and of what is there no other. */
static void check_refused(void)
{
    struct stat st;

    (void)say_result("setxattr", setxattr(path("none"), "user.x", "y", 1, 0));
    (void)say_result("removexattr", removexattr(path("none"), "user.x"));
    (void)say_result("mkfifo", mkfifo(path("f"), 0600));
    (void)say_result("mkfifo", mkfifo(path("none/fifo"), 0600) < 0 ? 0 : -1);
    (void)say_result("    is not there", stat(path("none/fifo"), &st));
}

static void check_unlink(const char *name)
{
    ENTRY(int(const char *), name);

    (void)close(fresh(O_RDONLY));
    (void)say_result(name, entry(path("f")));
    (void)say_result("    again", entry(path("f")));
    (void)close(fresh(O_RDONLY));
}

static void check_rename(const char *name)
{
    ENTRY(int(const char *, const char *), name);
    struct stat st;

    (void)close(fresh(O_RDONLY));
    (void)say_result(name, entry(path("f"), path("g")));
    (void)say_result("    old", stat(path("f"), &st));
    (void)say_result("    new", stat(path("g"), &st));
    (void)say_result("    again", entry(path("f"), path("g")));
    (void)unlink(path("g"));
    (void)close(fresh(O_RDONLY));
}

/* ---- memory ---- */

static void check_mmap(const char *name)
{
    ENTRY(void *(void *, size_t, int, int, int, off_t), name);
    int fd = fresh(O_RDWR);
    char *shared = entry(NULL, N_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    char *private = entry(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, PAGE);
    char *populated = entry(NULL, N_BYTES, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);

    (void)say_result(
        name, shared == MAP_FAILED || private == MAP_FAILED || populated == MAP_FAILED ? -1 : 0);
    (void)close(fd);
    memcpy(shared + 8, "MAPPED", 6);
    memcpy(private, "mine", 4);
    printf("    %.16s %.8s %.16s\n", shared, private, populated);
    say_head(name);
    (void)say_result("    odd offset",
                     entry(NULL, PAGE, PROT_READ, MAP_SHARED, 1, 5) == MAP_FAILED ? -1 : 0);
    (void)munmap(shared, N_BYTES);
    (void)munmap(private, PAGE);
    (void)munmap(populated, N_BYTES);
}

static char *map_two(void)
{
    int fd = fresh(O_RDWR);
    char *mapped = mmap(NULL, N_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    (void)close(fd);
    return mapped;
}

static void check_memory(void)
{
    unsigned char resident[2] = {0xff, 0xff};
    char *mapped = map_two();
    char *moved;

    (void)say_result("mprotect", mprotect(mapped, PAGE, PROT_READ));
    (void)say_result("    unmapped", mprotect((void *)PAGE, PAGE, PROT_READ));
    (void)say_result("madvise", madvise(mapped, N_BYTES, MADV_WILLNEED));
    (void)say_result("    unknown", madvise(mapped, N_BYTES, 7777));
    (void)say_result("posix_madvise", posix_madvise(mapped, N_BYTES, POSIX_MADV_RANDOM));
    (void)say_result("mlock", mlock(mapped, N_BYTES));
    (void)say_result("mincore", mincore(mapped, N_BYTES, resident));
    printf("    %d %d\n", resident[0] & 1, resident[1] & 1);
    (void)say_result("munlock", munlock(mapped, N_BYTES));
    mapped[PAGE + 1] = 'S';
    (void)say_result("msync", msync(mapped, N_BYTES, MS_SYNC));
    (void)say_result("    both", msync(mapped, N_BYTES, MS_SYNC | MS_ASYNC));
    (void)say_result("mremap smaller", mremap(mapped, N_BYTES, PAGE, 0) == mapped ? 0 : -1);
    moved = mremap(mapped, PAGE, N_BYTES, MREMAP_MAYMOVE);
    (void)say_result("mremap larger", moved == MAP_FAILED ? -1 : 0);
    printf("    %.8s %.8s\n", moved, moved + PAGE);
    (void)say_result("munmap", munmap(moved, N_BYTES));
    (void)say_result("    odd", munmap(moved + 1, PAGE));
}

/* A mapping over memory of the program's own, as QEMU and ugrep make it. */
static void check_fixed(void)
{
    int fd = fresh(O_RDONLY);
    char *own = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *mapped;

    memset(own, 'o', 4 * PAGE);
    mapped = mmap(own + PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, 0);
    (void)say_result("MAP_FIXED", mapped == own + PAGE ? 0 : -1);
    printf("    %c %.8s %c\n", own[0], mapped, own[2 * PAGE]);
    (void)say_result("    munmap of all", munmap(own, 4 * PAGE));
    (void)close(fd);
}

/* ---- all of them ---- */

static void all_opening(void)
{
    EACH(check_open, "open", "open64", "__open_2", "__open64_2", "__open", "__open64");
    EACH(check_openat, "openat", "openat64", "__openat_2", "__openat64_2");
    EACH(check_creat, "creat", "creat64");
    EACH(check_fopen, "fopen", "fopen64");
    EACH(check_freopen, "freopen", "freopen64");
}

static void all_data(void)
{
    EACH(check_read, "read", "__read", "__read_chk");
    EACH(check_pread, "pread", "pread64", "__pread64", "__pread_chk", "__pread64_chk");
    EACH(check_pwrite, "pwrite", "pwrite64", "__pwrite64");
    EACH(check_readv, "readv");
    EACH(check_writev, "writev");
    EACH(check_preadv, "preadv", "preadv64", "preadv2", "preadv64v2");
    EACH(check_pwritev, "pwritev", "pwritev64", "pwritev2", "pwritev64v2");
    EACH(check_lseek, "lseek", "lseek64", "__lseek");
}

static void all_descriptors(void)
{
    EACH(check_ftruncate, "ftruncate", "ftruncate64");
    EACH(check_truncate, "truncate", "truncate64");
    EACH(check_posix_fallocate, "posix_fallocate", "posix_fallocate64");
    EACH(check_fallocate, "fallocate", "fallocate64");
    EACH(check_sync, "fsync", "fdatasync");
    EACH(check_fadvise, "posix_fadvise", "posix_fadvise64");
    EACH(check_dup3, "dup3");
    EACH(check_fcntl, "fcntl", "fcntl64", "__fcntl");
    EACH(check_dprintf, "dprintf", "__dprintf_chk");
    check_freopen_stdout();
    check_system();
    check_ioctl();
    check_append();
    EACH(check_sendfile, "sendfile", "sendfile64");
}

static void all_names(void)
{
    EACH(check_stat, "stat", "stat64", "lstat", "lstat64");
    EACH(check_xstat, "__xstat", "__xstat64", "__lxstat", "__lxstat64");
    EACH(check_fstat, "fstat", "fstat64");
    EACH(check_fxstat, "__fxstat", "__fxstat64");
    EACH(check_fstatat, "fstatat", "fstatat64");
    EACH(check_fxstatat, "__fxstatat", "__fxstatat64");
    EACH(check_statfs, "statfs", "statfs64");
    EACH(check_fstatfs, "fstatfs", "fstatfs64");
    EACH(check_access, "access", "euidaccess", "eaccess");
    EACH(check_faccessat, "faccessat");
    check_pathconf();
    check_mkdtemp();
    check_refused();
    EACH(check_unlink, "unlink", "remove");
    EACH(check_rename, "rename");
}

static void all_memory(void)
{
    EACH(check_mmap, "mmap", "mmap64");
    check_memory();
    check_fixed();
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: entries FOLDER\n");
        return 2;
    }
    folder = argv[1];
    (void)mkdir(path("sub"), 0755);
    (void)close(fresh(O_RDONLY));
    all_opening();
    all_data();
    all_descriptors();
    all_names();
    all_memory();
    return 0;
}
