/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One supervised driver process: started from a command line, watched by its pidfd, restarted with
 * back-off when it dies. What the driver then does on driver.sock is no business of this file.
 */
#ifndef MUSE_SERVER_DRIVER_DRIVER_PROC_H
#define MUSE_SERVER_DRIVER_DRIVER_PROC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/must.h"
#include "server/loop/loop.h"

/* Chosen: a driver that dies at once is tried again after 100 ms, then twice as long each time, at
 * most every 10 s; one that has lived for 10 s starts from the beginning. */
#define DRIVER_PROC_BACKOFF_MIN_NS 100000000ull
#define DRIVER_PROC_BACKOFF_MAX_NS 10000000000ull
#define DRIVER_PROC_STABLE_NS      10000000000ull
/* SIGTERM, then SIGKILL after this. */
#define DRIVER_PROC_KILL_NS        3000000000ull

struct driver_proc {
    struct loop *loop;
    char **argv;  /* owned, NULL-terminated */
    char *rundir; /* owned: becomes MUSE_RUNDIR */
    pid_t pid;    /* 0: not running */
    int pidfd;    /* owned */
    struct watcher watcher;
    bool watching;
    struct deadline timer; /* restart, or kill */
    uint64_t started_ns, backoff_ns;
    unsigned n_starts;
    int last_status; /* as of waitpid(2); -1: never ended */
    bool once;       /* --run's command: not restarted */
    bool stopping;
    void *owner;
    void (*exited)(struct driver_proc *proc, int status); /* each time it ended; may be NULL */
    /* after driver_proc_stop(), perhaps from inside it; or, once, after it ended: memory may go */
    void (*stopped)(struct driver_proc *proc);
};

/**
 * driver_proc_start() - split a command line as a shell splits words and start it
 * @proc: caller's memory, zeroed but for exited, stopped, owner, once
 *
 * Words as by wordexp(3), without command substitution.
 *
 * Return: 0; -EINVAL the command line does not parse or is empty; -errno.
 */
MUST_CHECK int driver_proc_start(struct driver_proc *proc, struct loop *loop, const char *command,
                                 const char *rundir);

/** driver_proc_stop() - SIGTERM, later SIGKILL; stopped() comes when it is gone */
void driver_proc_stop(struct driver_proc *proc);

/** driver_proc_done() - free; in stopped(), or after a failed start */
void driver_proc_done(struct driver_proc *proc);

#endif
