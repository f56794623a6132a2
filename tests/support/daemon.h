/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A server of somebody else's (nbdkit, nginx) that a test starts, kills and starts again, in a folder of
 * its own.
 */
#ifndef MUSE_TESTS_SUPPORT_DAEMON_H
#define MUSE_TESTS_SUPPORT_DAEMON_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct daemon {
    char dir[64]; /* its folder; pid, log and what the test puts there */
    pid_t pid;    /* 0: it does not run */
};

/** daemon_init() - make the folder, open to all */
void daemon_init(struct daemon *daemon);

/**
 * daemon_start() - run a command line, and wait until it has written DIR/pid
 * @format: printf; for sh(1), stays in the foreground. Output goes to DIR/log.
 *
 * Fails the test when it ends instead.
 */
void daemon_start(struct daemon *daemon, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/** daemon_kill() - send @signal, and wait for the end */
void daemon_kill(struct daemon *daemon, int signal);

/** daemon_done() - kill what runs, and remove the folder */
void daemon_done(struct daemon *daemon);

/** daemon_path() - DIR/NAME, in a buffer that the next call uses again */
const char *daemon_path(const struct daemon *daemon, const char *name);

/** daemon_file() - make DIR/NAME with @n_bytes of the pattern that rig_byte() knows */
void daemon_file(const struct daemon *daemon, const char *name, size_t n_bytes);

/** daemon_free_port() - of loopback's TCP, one that nobody uses at the moment */
unsigned daemon_free_port(void);

#endif
