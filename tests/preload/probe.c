/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An ordinary program that knows nothing of Muse: does things to the files of a folder, and prints
 * what came of it. probe.sh runs it on a plain folder and, under muse-run, on the same folder served,
 * and compares what it said.
 *
 *     probe FOLDER         all of it; FOLDER holds text, empty, sub/inner, link -> text, and links that dangle
 *     probe --inherited    as its own child: read from the descriptors 7 and 8
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/preload/say.h"

extern char **environ;

#define PAGE 4096

#define SAY(call) (void)say_result(#call, (long)(call))

static void say_bytes(const char *what, const void *bytes, long n)
{
    uint32_t hash = 2166136261u;

    for (long i = 0; i < n; i++)
        hash = (hash ^ ((const unsigned char *)bytes)[i]) * 16777619u;
    (void)say_result(what, n);
    if (n > 0)
        printf("    %08x\n", hash);
}

/* ---- opening ---- */

static void opens(void)
{
    int fd;

    SAY(open(path("none"), O_RDONLY));
    SAY(open(path("text/below"), O_RDONLY));
    SAY(open(path("sub"), O_WRONLY));
    SAY(open(path("text"), O_RDONLY | O_DIRECTORY));
    SAY(open(path("link"), O_RDONLY | O_NOFOLLOW));
    SAY(open(path("text"), O_RDONLY | O_CREAT | O_EXCL, 0600) < 0);
    fd = open(path("text"), O_RDONLY);
    SAY(fd == 3); /* the lowest that is free */
    SAY(fcntl(fd, F_GETFD));
    SAY(fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND));
    SAY(fcntl(fd, F_SETFD, FD_CLOEXEC));
    SAY(fcntl(fd, F_GETFD));
    SAY(write(fd, "x", 1));
    SAY(ftruncate(fd, 0));
    SAY(fallocate(fd, 0, 0, 10));
    SAY(posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL));
    SAY(fsync(fd));
    SAY(close(fd));
    SAY(close(fd));
    SAY(read(fd, &fd, 1));
    fd = openat(AT_FDCWD, path("sub/../text"), O_RDONLY | O_CLOEXEC);
    SAY(fcntl(fd, F_GETFD));
    SAY(close(fd));
}

static void say_size(const char *name)
{
    struct stat stat = {.st_size = -1};

    (void)lstat(path(name), &stat);
    (void)say_result(name, S_ISREG(stat.st_mode) ? (long)stat.st_size : -1L);
}

/* The driver serves the same folder: what is made here goes again. */
static void makes(void)
{
    int fd = open(path("made"), O_RDWR | O_CREAT | O_EXCL, 0600);

    SAY(write(fd, "0123456789", 10));
    SAY(close(fd));
    fd = open(path("made"), O_RDONLY | O_TRUNC);
    say_size("made");
    SAY(write(fd, "x", 1));
    SAY(mmap(NULL, PAGE, PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
    SAY(close(fd));
    SAY(close(open(path("made"), O_RDONLY | O_TRUNC | O_CREAT, 0600)));
    SAY(unlink(path("made")));
    SAY(open(path("made"), O_RDONLY | O_TRUNC));
    SAY(open(path("sub"), O_RDONLY | O_TRUNC));
    SAY(open(path("dangling"), O_RDWR));
    SAY(open(path("dangling"), O_RDWR | O_CREAT | O_EXCL, 0600));
    SAY(close(open(path("dangling"), O_RDWR | O_CREAT, 0600)));
    say_size("gone");
    SAY(unlink(path("gone")));
    SAY(open(path("leads-nowhere"), O_RDWR | O_CREAT, 0600));
}

static void relative(void)
{
    const int dir = open(folder, O_RDONLY | O_DIRECTORY);
    struct stat stat;
    int fd;

    fd = openat(dir, "sub/inner", O_RDONLY);
    SAY(fd == dir + 1);
    SAY(close(fd));
    SAY(fstatat(dir, "text", &stat, 0));
    SAY(stat.st_size);
    SAY(faccessat(dir, "text", R_OK, 0));
    SAY(faccessat(dir, "none", R_OK, 0));
    SAY(read(dir, &stat, 1));
    SAY(fchdir(dir));
    SAY(access("text", R_OK));
    SAY(access("sub/./inner", R_OK));
    SAY(chdir("sub"));
    SAY(access("inner", R_OK));
    SAY(access("../text", R_OK));
    SAY(chdir("inner"));
    SAY(chdir("/"));
    SAY(access("text", R_OK));
    SAY(close(dir));
}

/* ---- reading ---- */

static void reads(void)
{
    const int fd = open(path("text"), O_RDONLY);
    char a[300], b[5000];
    struct iovec two[2] = {{a, 200}, {b, 5000}};
    int copy;

    say_bytes("read", a, read(fd, a, sizeof(a)));
    say_bytes("read", b, read(fd, b, sizeof(b)));
    SAY(lseek(fd, 0, SEEK_CUR));
    SAY(lseek(fd, -10, SEEK_END));
    say_bytes("read at the end", b, read(fd, b, sizeof(b)));
    SAY(read(fd, b, sizeof(b)));
    SAY(lseek(fd, -1, SEEK_SET));
    SAY(lseek(fd, 100000000, SEEK_SET));
    SAY(read(fd, b, 1));
    SAY(lseek(fd, 5, SEEK_DATA));
    SAY(lseek(fd, 0, SEEK_HOLE));
    SAY(lseek(fd, 100000000, SEEK_DATA));
    SAY(lseek(fd, 4000, SEEK_SET));
    say_bytes("pread", a, pread(fd, a, 100, 4090));
    SAY(pread(fd, a, 100, -1));
    SAY(readv(fd, two, 2));
    say_bytes("readv", b, 5000);
    SAY(preadv(fd, two, 2, 77));
    say_bytes("preadv", a, 200);
    SAY(preadv2(fd, two, 1, -1, 0));
    SAY(lseek(fd, 0, SEEK_CUR));
    SAY(pwrite(fd, a, 1, 0));
    copy = dup(fd);
    SAY(lseek(copy, 11, SEEK_SET));
    SAY(lseek(fd, 0, SEEK_CUR)); /* one offset */
    SAY(dup2(fd, 60));
    SAY(close(fd) + close(copy));
    say_bytes("read the duplicate", a, read(60, a, 50));
    copy = fcntl(60, F_DUPFD_CLOEXEC, 100);
    SAY(copy);
    SAY(fcntl(copy, F_GETFD));
    say_bytes("read the second", a, read(copy, a, 50));
    SAY(close(60) + close(copy));
}

static void streams(void)
{
    FILE *file = fopen(path("text"), "r");
    char line[256];
    int c;

    SAY(fopen(path("none"), "r") != NULL);
    SAY(fgets(line, sizeof(line), file) != NULL);
    fputs(line, stdout);
    SAY(fileno(file));
    SAY(ftell(file));
    SAY(fseek(file, -4, SEEK_END));
    while ((c = getc(file)) != EOF)
        putchar(c);
    SAY(feof(file) != 0);
    rewind(file);
    SAY(fscanf(file, "%99s", line));
    SAY(line[0]);
    SAY(fclose(file));
    file = fdopen(open(path("text"), O_RDONLY), "r");
    SAY(fread(line, 1, 100, file));
    say_bytes("fread", line, 100);
    file = freopen(path("sub/inner"), "r", file);
    SAY(fgets(line, sizeof(line), file) != NULL);
    fputs(line, stdout);
    SAY(fclose(file));
}

/* ---- names ---- */

static void attributes(void)
{
    char buf[512] = "";
    struct statx extended;
    struct stat one, two;
    ssize_t n;
    int fd = open(path("text"), O_RDONLY);

    SAY(stat(path("text"), &one));
    SAY(fstat(fd, &two));
    SAY(one.st_ino == two.st_ino && one.st_dev == two.st_dev && one.st_size == two.st_size);
    SAY(one.st_size);
    SAY(one.st_mode);
    SAY(one.st_nlink);
    SAY(one.st_mtime);
    SAY(lstat(path("link"), &one));
    SAY(S_ISLNK(one.st_mode));
    SAY(stat(path("link"), &one));
    SAY(S_ISREG(one.st_mode));
    SAY(stat(path("none"), &one));
    SAY(stat(path("sub/"), &one));
    SAY(S_ISDIR(one.st_mode));
    SAY(stat(path("text/"), &one));
    SAY(statx(AT_FDCWD, path("text"), 0, STATX_SIZE, &extended));
    SAY(extended.stx_size);
    SAY(statx(fd, "", AT_EMPTY_PATH, STATX_SIZE, &extended));
    SAY(extended.stx_size);
    SAY(access(path("text"), R_OK));
    SAY(access(path("none"), F_OK));
    n = readlink(path("link"), buf, sizeof(buf) - 1);
    SAY(n);
    puts(buf);
    SAY(readlink(path("text"), buf, sizeof(buf)));
    SAY(realpath(path("sub/.././link"), buf) != NULL);
    puts(strrchr(buf, '/'));
    SAY(realpath(path("sub/none"), buf) != NULL);
    SAY(close(fd));
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static void listings(void)
{
    DIR *dir = opendir(folder);
    struct dirent **list;
    const struct dirent *entry;
    int n = 0, n_list;
    long place = 0;

    while ((entry = readdir(dir))) {
        if (++n == 2)
            place = telldir(dir);
    }
    SAY(n);
    seekdir(dir, place);
    for (n = 0; readdir(dir); n++)
        ;
    SAY(n);
    rewinddir(dir);
    for (n = 0; readdir(dir); n++)
        ;
    SAY(n);
    SAY(dirfd(dir) >= 0);
    SAY(closedir(dir));
    SAY(opendir(path("none")) != NULL);
    SAY(opendir(path("text")) != NULL);
    n_list = scandir(folder, &list, is_visible, alphasort);
    SAY(n_list);
    for (int i = 0; i < n_list; i++)
        printf("    %s %d\n", list[i]->d_name, list[i]->d_type);
}

static void changes(void)
{
    SAY(unlink(path("none")));
    SAY(rmdir(path("text")));
    SAY(rename(path("none"), path("none2")));
    SAY(unlink(path("text/"))); /* as a folder, which it is not */
    SAY(unlink(path("sub/")));
    SAY(unlink(path("none/")));
    SAY(rmdir(path("text/")));
    SAY(rename(path("text/"), path("text2")));
    SAY(rename(path("text"), path("text2/")));
    SAY(rename(path("none/"), path("none2")));
    SAY(rename(path("link/"), path("link2")));
    SAY(mkdir(path("empty-folder/"), 0755));
    SAY(rmdir(path("empty-folder/.")));
    SAY(rmdir(path("empty-folder/..")));
    SAY(rename(path("empty-folder/."), path("renamed")));
    SAY(rename(path("empty-folder/"), path("renamed/")));
    SAY(rmdir(path("renamed/")));
    SAY(rename(path("text"), "/tmp/muse-probe-elsewhere/x") < 0);
}

/* ---- mapping ---- */

static void mappings(void)
{
    const int fd = open(path("text"), O_RDONLY);
    struct stat stat;
    char *map, *own;
    size_t len;

    SAY(fstat(fd, &stat));
    len = (size_t)stat.st_size;
    map = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);
    SAY(map != MAP_FAILED);
    say_bytes("shared", map, (long)len);
    SAY(madvise(map, len, MADV_SEQUENTIAL));
    SAY(posix_madvise(map, len, POSIX_MADV_WILLNEED));
    SAY(munmap(map + PAGE, PAGE)); /* a hole */
    say_bytes("before the hole", map, PAGE);
    say_bytes("behind the hole", map + 2 * PAGE, PAGE);
    SAY(munmap(map, len));
    SAY(mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
    SAY(mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 77) == MAP_FAILED);
    SAY(mmap(NULL, 0, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED);
    map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd, 0);
    map[3] = '!';
    say_bytes("private, changed", map, (long)len);
    SAY(munmap(map, len));
    own = mmap(NULL, 8 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    SAY(mmap(own + 2 * PAGE, 2 * PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, PAGE) ==
        own + 2 * PAGE);
    say_bytes("over memory of our own", own + 2 * PAGE, 2 * PAGE);
    SAY(mmap(own + 3 * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS,
             -1, 0) == own + 3 * PAGE);
    own[3 * PAGE] = 7;
    say_bytes("what is left of it", own + 2 * PAGE, PAGE);
    SAY(munmap(own, 8 * PAGE)); /* both kinds at once */
    map = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    SAY(close(fd));
    say_bytes("the file is closed", map, PAGE);
    SAY(munmap(map, PAGE));
}

/* ---- between descriptors ---- */

/* As cp does: each refusal that a program knows to be one is as good as success. */
static void copies(void)
{
    const int fd = open(path("text"), O_RDONLY);
    const int to = memfd_create("to", 0);
    char byte;

    SAY(copy_file_range(fd, NULL, to, NULL, 100, 0) == 100 || errno == EXDEV);
    SAY(sendfile(to, fd, NULL, 100) == 100 || errno == EINVAL);
    SAY(lseek(fd, 0, SEEK_SET));
    SAY(read(fd, &byte, 1));
    SAY(close(fd) + close(to));
}

/* ---- processes ---- */

static void say_child(const char *what, pid_t child)
{
    int status = -1;

    (void)waitpid(child, &status, 0);
    say_result(what, WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status));
}

/* The child has the mapping, changes its own copy, and unmaps it. */
static void fork_with_mapping(void)
{
    const int fd = open(path("text"), O_RDONLY);
    char *map = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    pid_t child;

    map[0] = 'p';
    fflush(stdout);
    child = fork();
    if (child == 0) {
        say_bytes("the child's mapping", map, 4 * PAGE);
        map[1] = 'c';
        SAY(munmap(map + PAGE, PAGE));
        say_bytes("what the child has left", map + 2 * PAGE, PAGE);
        fflush(stdout);
        _exit(map[1] == 'c' ? 6 : 7);
    }
    say_child("child with a mapping", child);
    say_bytes("the parent's mapping", map, 4 * PAGE);
    SAY(munmap(map, 4 * PAGE));
    SAY(close(fd));
}

static void forks(void)
{
    const int fd = open(path("text"), O_RDONLY);
    char buf[64];
    pid_t child;

    fflush(stdout);
    child = fork();
    if (child == 0) {
        say_bytes("the child reads", buf, read(fd, buf, 10));
        say_bytes("the child opens", buf, read(open(path("sub/inner"), O_RDONLY), buf, 10));
        fflush(stdout);
        _exit(3);
    }
    say_child("child", child);
    say_bytes("the parent goes on", buf, read(fd, buf, 10));
    fflush(stdout);
    child = vfork();
    if (child == 0) {
        (void)close(fd);
        _exit(4);
    }
    say_child("vfork", child);
    say_bytes("the parent still has it", buf, read(fd, buf, 10));
    SAY(close(fd));
}

static void execs(const char *self)
{
    char *const argv[] = {(char *)(uintptr_t)self, (char *)(uintptr_t) "--inherited", NULL};
    char *const nothing[] = {NULL};
    posix_spawn_file_actions_t actions;
    const int fd = open(path("text"), O_RDONLY);
    char command[600];
    pid_t child;

    SAY(dup2(fd, 7));
    SAY(lseek(fd, 20, SEEK_SET));
    fflush(stdout);
    child = fork();
    if (child == 0) {
        (void)dup2(7, 8);
        (void)execve(self, argv, nothing); /* an environment without anything */
        _exit(127);
    }
    say_child("exec", child);
    say_result("the offset is one", lseek(fd, 0, SEEK_CUR));
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_adddup2(&actions, fd, 8);
    fflush(stdout);
    SAY(posix_spawn(&child, self, &actions, NULL, argv, environ));
    say_child("spawned", child);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)snprintf(command, sizeof(command), "tail -n 1 < %s; wc -c < %s", path("text"),
                   path("text"));
    fflush(stdout);
    SAY(system(command));
    SAY(close(7) + close(fd));
}

static int inherited(void)
{
    char buf[64];
    struct stat stat;
    char *map;

    say_bytes("fd 7", buf, read(7, buf, 10));
    say_bytes("fd 8", buf, read(8, buf, 10));
    SAY(lseek(7, 0, SEEK_END));
    SAY(fstat(8, &stat));
    SAY(stat.st_size);
    SAY(lseek(7, 40, SEEK_SET));
    map = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, 8, 0);
    SAY(map != MAP_FAILED);
    say_bytes("mapped", map, PAGE);
    return 5;
}

/* ---- threads ---- */

static void *read_all(void *ret_hash)
{
    uint32_t hash = 0;
    unsigned char buf[1000];

    for (int round = 0; round < 10; round++) {
        const int fd = open(path("text"), O_RDONLY);
        ssize_t n;

        while ((n = read(fd, buf, sizeof(buf))) > 0) {
            for (ssize_t i = 0; i < n; i++)
                hash = hash * 31 + buf[i];
        }
        (void)close(fd);
    }
    *(uint32_t *)ret_hash = hash;
    return NULL;
}

static void threads(void)
{
    pthread_t ids[4];
    uint32_t hashes[4];

    for (int i = 0; i < 4; i++)
        (void)pthread_create(&ids[i], NULL, read_all, &hashes[i]);
    for (int i = 0; i < 4; i++) {
        (void)pthread_join(ids[i], NULL);
        printf("thread %08x\n", hashes[i]);
    }
}

static void *run_command(void *command)
{
    return system(command) == 0 ? command : NULL;
}

/* Two commands at a time, of which the first one ends first, below our folder: the environment is the program's again. */
static void commands_of_threads(void)
{
    static char commands[2][40] = {"sleep 0.2; test -d sub", "sleep 0.4; test -d sub"};
    char **const before = environ;
    pthread_t threads[2];
    void *done[2];

    (void)say_result("chdir", chdir(folder));
    for (int i = 0; i < 2; i++) {
        (void)pthread_create(&threads[i], NULL, run_command, commands[i]);
        (void)usleep(50000);
    }
    for (int i = 0; i < 2; i++)
        (void)pthread_join(threads[i], &done[i]);
    (void)say_result("system in two threads", done[0] && done[1] ? 0 : -1);
    (void)say_result("    environ is as before", environ == before ? 0 : -1);
    (void)say_result("chdir", chdir("/"));
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--inherited") == 0)
        return inherited();
    if (argc != 2)
        return 2;
    folder = argv[1];
    opens();
    makes();
    relative();
    reads();
    streams();
    attributes();
    listings();
    changes();
    mappings();
    commands_of_threads();
    copies();
    forks();
    fork_with_mapping();
    execs("/proc/self/exe");
    threads();
    return 0;
}
