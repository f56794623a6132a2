/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One accepted connection on the loop: a non-blocking chan and its watcher. Hands frames up, sends
 * frames down, and ends exactly once. Used by clients' sessions, drivers' links and the control
 * socket; knows none of them.
 *
 * Ending is always asynchronous: conn_close() only marks it, ended() comes from a later turn of the
 * loop. So nobody's struct is freed under a caller that is in the middle of something.
 */
#ifndef MUSE_SERVER_CONN_CONN_H
#define MUSE_SERVER_CONN_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "common/base/must.h"
#include "common/ipc/chan.h"
#include "server/loop/loop.h"

/* Output queue of one peer: more unread than this and it is cut off. Chosen: 4 of the largest
 * frames. Who opened it may set another in chan.out_bytes_max. */
#define CONN_OUT_BYTES_MAX   ((size_t)4 * FRAME_BYTES_MAX)
/* Frames handled before others get their turn. */
#define CONN_FRAMES_PER_TURN 16

struct conn;

struct conn_ops {
    /* @frame: borrowed. Return: 0; -errno ends the connection for that reason. */
    int (*frame)(struct conn *conn, struct frame *frame);
    /* it is over; @why: -ECONNRESET the peer closed, -EPROTO, ...; memory may go in here */
    void (*ended)(struct conn *conn, int why);
};

struct conn {
    struct chan chan;
    struct watcher watcher;
    const struct conn_ops *ops;
    bool closing;
    bool sends_several; /* it sent more than one frame in the last turn */
    unsigned n_turns;   /* in which something was read */
    int why;
    uid_t uid; /* of the peer, SO_PEERCRED */
    gid_t gid;
    pid_t pid;
};

/**
 * conn_open() - adopt an accepted socket; made non-blocking here
 * @conn:    caller's memory, alive until ended()
 * @fd:      takes on success
 * @max_fds: per received frame
 *
 * Return: 0 or -errno.
 */
MUST_CHECK int conn_open(struct conn *conn, struct loop *loop, int *fd, unsigned max_fds,
                         const struct conn_ops *ops);

/** conn_close() - end it for @why (0 or -errno): no more frames are handed up. Twice is fine. */
void conn_close(struct conn *conn, int why);

/**
 * conn_send() - send or queue a frame; a failure ends the connection
 *
 * Return: 0; -errno when it was not sent and ended() will come.
 */
int conn_send(struct conn *conn, uint16_t type, uint64_t id, const ProtobufCMessage *message,
              const int *fds, unsigned n_fds);

#endif
