/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An ordinary program that locks files, from two processes, and prints what came of it. locks.sh
 * runs it on a plain folder and, under muse-run, on the same folder served.
 *
 *     locks FOLDER     FOLDER holds text and link -> text
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char path[512], link_path[512];
static pid_t parent;

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vprintf(format, args);
    va_end(args);
    (void)fflush(stdout);
}

static const char *result(int r)
{
    return r < 0 ? strerrorname_np(errno) : "ok";
}

static int open_text(int oflags)
{
    const int fd = open(path, oflags);

    if (fd < 0) {
        say("open: %s\n", result(fd));
        exit(1);
    }
    return fd;
}

static int set(int fd, int command, short type, short whence, off_t start, off_t len)
{
    struct flock lock = {
        .l_type = type, .l_whence = whence, .l_start = start, .l_len = len, .l_pid = 0};

    return fcntl(fd, command, &lock);
}

static const char *who(pid_t pid)
{
    return pid == parent ? "parent" : pid == getpid() ? "self" : pid == -1 ? "-1" : "another";
}

static void ask(int fd, int command, short type, off_t start, off_t len)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
    const int r = fcntl(fd, command, &lock);

    if (r < 0 || lock.l_type == F_UNLCK) {
        say("    nobody, %s; start and length are as asked: %d\n", result(r),
            lock.l_start == start && lock.l_len == len);
    } else {
        say("    %s holds %s of %ld, %ld, whence %d\n", who(lock.l_pid),
            lock.l_type == F_WRLCK ? "write" : "read", (long)lock.l_start, (long)lock.l_len,
            lock.l_whence);
    }
}

/* In another process, which has opened the file itself. */
static void elsewhere(const char *title, void (*what)(int fd))
{
    pid_t child;
    int status;

    say("%s\n", title);
    child = fork();
    if (child == 0) {
        what(open_text(O_RDWR));
        _exit(0);
    }
    (void)waitpid(child, &status, 0);
    if (status != 0)
        say("    status %x\n", (unsigned)status);
}

static void try_all(int fd)
{
    say("    write: %s", result(set(fd, F_SETLK, F_WRLCK, SEEK_SET, 0, 0)));
    say(" read: %s", result(set(fd, F_SETLK, F_RDLCK, SEEK_SET, 0, 0)));
    say(" flock: %s", result(flock(fd, LOCK_EX | LOCK_NB)));
    say(" lockf: %s\n", result(lockf(fd, F_TEST, 0)));
    ask(fd, F_GETLK, F_WRLCK, 0, 0);
    ask(fd, F_GETLK, F_RDLCK, 0, 0);
    ask(fd, F_OFD_GETLK, F_WRLCK, 0, 0);
    ask(fd, F_GETLK, F_WRLCK, 5000000, 10);
}

static void of_processes(void)
{
    int fd = open_text(O_RDWR), other;
    struct stat status;

    say("write 100..200: %s\n", result(set(fd, F_SETLK, F_WRLCK, SEEK_SET, 100, 100)));
    elsewhere("write locked", try_all);
    ask(fd, F_GETLK, F_WRLCK, 0, 0);
    (void)lseek(fd, 1000, SEEK_SET);
    say("read from the offset: %s\n", result(set(fd, F_SETLK, F_RDLCK, SEEK_CUR, 10, 10)));
    say("read from the end: %s\n", result(set(fd, F_SETLK, F_RDLCK, SEEK_END, -10, 0)));
    say("no write: %s\n", result(set(fd, F_SETLK, F_UNLCK, SEEK_SET, 100, 100)));
    elsewhere("read locked", try_all);
    say("before the start: %s\n", result(set(fd, F_SETLK, F_RDLCK, SEEK_CUR, -5000, 10)));
    say("whence: %s type: %s\n", result(set(fd, F_SETLK, F_RDLCK, 77, 0, 10)),
        result(set(fd, F_SETLK, 77, SEEK_SET, 0, 10)));
    other = open_text(O_RDONLY);
    (void)stat(path, &status);
    say("truncate: %s\n", result(truncate(path, status.st_size)));
    elsewhere("a second descriptor is open", try_all);
    say("on it, write: %s read: %s\n", result(set(other, F_SETLK, F_WRLCK, SEEK_SET, 0, 10)),
        result(set(other, F_SETLK, F_RDLCK, SEEK_SET, 0, 10)));
    say("lockf of a descriptor for reading: %s\n", result(lockf(other, F_TLOCK, 10)));
    (void)close(other);
    elsewhere("a second descriptor was closed", try_all);
    say("lockf: %s\n", result(lockf(fd, F_LOCK, 50)));
    elsewhere("lockf", try_all);
    say("unlock: %s\n", result(lockf(fd, F_ULOCK, 0)));
    elsewhere("lockf, unlocked", try_all);
    other = open_text(O_WRONLY | O_APPEND);
    say("for writing only, read: %s write: %s\n",
        result(set(other, F_SETLK, F_RDLCK, SEEK_SET, 0, 10)),
        result(set(other, F_SETLK, F_WRLCK, SEEK_SET, 0, 10)));
    (void)close(other);
    (void)close(fd);
}

static void hold_and_end(int fd)
{
    say("    %s\n", result(set(fd, F_SETLK, F_WRLCK, SEEK_SET, 0, 0)));
}

static void hold_and_die(int fd)
{
    hold_and_end(fd);
    (void)raise(SIGKILL);
}

/* Both read, and want to write: the kernel refuses the one that comes second, which lets go. */
static bool wants_more(int fd)
{
    const int r = set(fd, F_SETLKW, F_WRLCK, SEEK_SET, 0, 0);

    if (r < 0 && errno != EDEADLK)
        say("wants more: %s\n", result(r));
    (void)close(fd);
    return r < 0;
}

static void waiting(void)
{
    int fd = open_text(O_RDWR), ready[2], status = 0;
    bool is_refused;
    pid_t child;
    char c;

    if (pipe(ready) < 0)
        exit(1);
    (void)set(fd, F_SETLK, F_RDLCK, SEEK_SET, 0, 0);
    child = fork();
    if (child == 0) {
        const int own = open_text(O_RDWR);

        (void)set(own, F_SETLK, F_RDLCK, SEEK_SET, 0, 0);
        (void)!write(ready[1], "", 1);
        _exit(wants_more(own));
    }
    (void)!read(ready[0], &c, 1);
    is_refused = wants_more(fd);
    (void)waitpid(child, &status, 0);
    say("refused: %d\n", is_refused + WEXITSTATUS(status));
    (void)close(ready[0]);
    (void)close(ready[1]);
}

static void of_descriptions(void)
{
    int a = open_text(O_RDWR), b = open_text(O_RDWR), c = dup(a), d = open(link_path, O_RDONLY);

    say("flock %s, the same %s, another %s, its copy %s\n", result(flock(a, LOCK_EX | LOCK_NB)),
        result(flock(a, LOCK_EX | LOCK_NB)), result(flock(b, LOCK_SH | LOCK_NB)),
        result(flock(c, LOCK_SH | LOCK_NB)));
    say("shared: %s, by another name %s, exclusive %s\n", result(flock(b, LOCK_SH | LOCK_NB)),
        result(flock(d, LOCK_SH | LOCK_NB)), result(flock(b, LOCK_EX | LOCK_NB)));
    (void)flock(b, LOCK_UN);
    (void)flock(d, LOCK_UN);
    (void)flock(a, LOCK_EX);
    elsewhere("flock", try_all);
    (void)close(a);
    elsewhere("flock, one of two closed", try_all);
    (void)close(c);
    elsewhere("flock, both closed", try_all);
    a = open_text(O_RDWR);
    say("of a description, write: %s", result(set(a, F_OFD_SETLK, F_WRLCK, SEEK_SET, 5, 5)));
    say(" read over it: %s", result(set(a, F_OFD_SETLK, F_RDLCK, SEEK_SET, 7, 1)));
    say(" of another: %s %s\n", result(set(b, F_OFD_SETLK, F_WRLCK, SEEK_SET, 0, 0)),
        result(set(b, F_OFD_SETLK, F_RDLCK, SEEK_SET, 7, 1)));
    ask(b, F_OFD_GETLK, F_WRLCK, 0, 6);
    ask(d, F_GETLK, F_RDLCK, 0, 6);
    (void)close(a);
    say("closed: %s\n", result(set(b, F_OFD_SETLK, F_WRLCK, SEEK_SET, 0, 0)));
    say("for reading: %s\n", result(set(d, F_OFD_SETLK, F_WRLCK, SEEK_SET, 0, 0)));
    (void)close(b);
    (void)close(d);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    parent = getpid();
    (void)snprintf(path, sizeof(path), "%s/text", argv[1]);
    (void)snprintf(link_path, sizeof(link_path), "%s/link", argv[1]);
    of_processes();
    elsewhere("held and ended", hold_and_end);
    elsewhere("after that", try_all);
    elsewhere("held and killed", hold_and_die);
    elsewhere("after that", try_all);
    waiting();
    of_descriptions();
    return 0;
}
