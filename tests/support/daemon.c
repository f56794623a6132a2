/* SPDX-License-Identifier: BSD-3-Clause */
/* Somebody else's server in a test; see daemon.h. */
#include "tests/support/daemon.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <check.h>

#include "common/base/own.h"
#include "tests/support/client.h"

void daemon_init(struct daemon *daemon)
{
    *daemon = (struct daemon){.dir = "/tmp/test-daemon-XXXXXX"};
    ck_assert_ptr_nonnull(mkdtemp(daemon->dir));
    ck_assert_int_eq(chmod(daemon->dir, 0755), 0);
}

const char *daemon_path(const struct daemon *daemon, const char *name)
{
    static char path[128];

    (void)snprintf(path, sizeof(path), "%s/%s", daemon->dir, name);
    return path;
}

/* Not fork(): libmuse would copy its spaces, and wait for calls of other threads. */
static pid_t spawn_shell(const struct daemon *daemon, char *command)
{
    char *const argv[] = {(char[]){"sh"}, (char[]){"-c"}, command, NULL};
    const int flags = O_WRONLY | O_CREAT | O_APPEND;
    posix_spawn_file_actions_t actions;
    pid_t pid;

    ck_assert_int_eq(posix_spawn_file_actions_init(&actions), 0);
    ck_assert_int_eq(
        posix_spawn_file_actions_addopen(&actions, 1, daemon_path(daemon, "log"), flags, 0600), 0);
    ck_assert_int_eq(posix_spawn_file_actions_adddup2(&actions, 1, 2), 0);
    ck_assert_int_eq(posix_spawn(&pid, "/bin/sh", &actions, NULL, argv, environ), 0);
    (void)posix_spawn_file_actions_destroy(&actions);
    return pid;
}

static void print_log(const struct daemon *daemon)
{
    char command[128];

    (void)snprintf(command, sizeof(command), "cat %s/log >&2", daemon->dir);
    (void)!system(command); /* NOLINT(cert-env33-c): a test's own words */
}

void daemon_start(struct daemon *daemon, const char *format, ...)
{
    char command[2048] = "exec ";
    const size_t n = strlen(command);
    va_list args;

    va_start(args, format);
    ck_assert_int_lt(vsnprintf(command + n, sizeof(command) - n, format, args),
                     (int)(sizeof(command) - n));
    va_end(args);
    (void)unlink(daemon_path(daemon, "pid"));
    daemon->pid = spawn_shell(daemon, command);
    while (access(daemon_path(daemon, "pid"), F_OK) < 0) {
        int status;

        if (waitpid(daemon->pid, &status, WNOHANG) != 0) {
            print_log(daemon);
            ck_abort_msg("%s: ended with status %#x", command, (unsigned)status);
        }
        client_sleep_ms(2);
    }
}

void daemon_kill(struct daemon *daemon, int signal)
{
    ck_assert_int_eq(kill(daemon->pid, signal), 0);
    ck_assert_int_eq(waitpid(daemon->pid, NULL, 0), daemon->pid);
    daemon->pid = 0;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

void daemon_done(struct daemon *daemon)
{
    if (daemon->pid != 0)
        daemon_kill(daemon, SIGKILL);
    ck_assert_int_eq(nftw(daemon->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

unsigned daemon_free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, size), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    (void)close(fd);
    return ntohs(address.sin_port);
}

void daemon_file(const struct daemon *daemon, const char *name, size_t n_bytes)
{
    FILE *file = fopen(daemon_path(daemon, name), "we");

    ck_assert_ptr_nonnull(file);
    for (size_t i = 0; i < n_bytes; i++)
        (void)putc_unlocked(rig_byte(i), file); /* an error stays until fclose */
    ck_assert_int_eq(fclose(file), 0);
}
