/* SPDX-License-Identifier: BSD-3-Clause */
/* A listening SOCK_SEQPACKET socket in the run-time folder; hands what it accepts to a callback. */
#ifndef MUSE_SERVER_SESSION_LISTENER_H
#define MUSE_SERVER_SESSION_LISTENER_H

#include <sys/types.h>

#include "common/base/must.h"
#include "server/loop/loop.h"

/* Accepts of one wake-up, so that a storm of connections does not starve faults. */
#define LISTENER_ACCEPTS_PER_TURN 8
/* After an accept that failed for want of fds or memory. Chosen: the socket stays readable, so
 * trying at once would spin. */
#define LISTENER_PAUSE_NS         100000000ull

struct listener {
    int fd;     /* owned */
    char *path; /* owned; unlinked by listener_close() */
    struct watcher watcher;
    struct loop *loop;
    struct deadline pause; /* no fd was free: nothing is accepted until then */
    void *owner;
    /* @fd: takes what it keeps, the rest is closed */
    void (*accepted)(struct listener *listener, int *fd);
    void (*closed)(struct listener *listener);
};

/**
 * listener_open() - bind and listen
 * @listener: accepted, closed and owner set by the caller
 * @path: of the socket; one that nobody listens on any more is replaced
 * @mode: permissions of the socket, which is the right to connect (unix(7))
 *
 * Return: 0; -EADDRINUSE a server lives there; -errno.
 */
MUST_CHECK int listener_open(struct listener *listener, struct loop *loop, const char *path,
                             mode_t mode);

/** listener_close() - unlink the socket, stop; closed() comes later */
void listener_close(struct listener *listener);

#endif
