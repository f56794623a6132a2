/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One SOCK_SEQPACKET unix socket that carries frames: a header (proto/frame.h), one packed protobuf
 * message, and fds by SCM_RIGHTS. Works on blocking sockets (the libraries) and non-blocking ones
 * (the server), has no event loop inside. Decides nothing: what a message means is its user's
 * business.
 *
 * fds: a received frame owns its fds until frame_fd_take(); chan_recv() and chan_done() close what
 * nobody took.
 */
#ifndef MUSE_COMMON_IPC_CHAN_H
#define MUSE_COMMON_IPC_CHAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "common/base/list.h"
#include "common/base/must.h"
#include "proto/frame.h"
#include "proto/limits.h"

struct frame {
    struct frame_header header;
    const uint8_t *payload; /* borrowed from the chan, until the next chan_recv() */
    size_t n_payload;
    int fds[FRAME_FDS_MAX]; /* owned; -1 when taken; header.n_fds of them */
};

struct chan {
    int fd;               /* owned; -1 when closed */
    unsigned max_fds;     /* a frame with more ends the connection */
    struct list out;      /* frames the socket had no room for (non-blocking only) */
    size_t out_bytes;     /* queued */
    size_t out_bytes_max; /* more is -ENOBUFS: the peer does not read */
    struct frame in;      /* what chan_recv() hands out */
    uint8_t *buf;         /* FRAME_BYTES_MAX, owned */
};

/**
 * chan_init() - adopt a connected socket
 * @chan:          caller's memory
 * @fd:            takes; blocking or not
 * @max_fds:       the most fds a received frame may carry, 0..FRAME_FDS_MAX
 * @out_bytes_max: limit of the output queue in bytes
 *
 * Return: 0; -ENOMEM (the fd then still belongs to the caller).
 */
MUST_CHECK int chan_init(struct chan *chan, int *fd, unsigned max_fds, size_t out_bytes_max);

/** chan_done() - close the socket and all that is queued or received; safe when zeroed or done */
void chan_done(struct chan *chan);

/**
 * chan_send() - send one frame
 * @type:    enum frame_type   @id: request id
 * @message: packed here; NULL = empty payload
 * @fds:     borrowed (the kernel or the queue holds its own copies); may be NULL
 * @n_fds:   at most FRAME_FDS_MAX
 *
 * On a blocking socket several threads may call this at once.
 * Return: 0 sent or queued; -EMSGSIZE larger than FRAME_BYTES_MAX; -ENOBUFS queue full; -EPIPE,
 * -ECONNRESET peer gone; -ENOMEM.
 */
MUST_CHECK int chan_send(struct chan *chan, uint16_t type, uint64_t id,
                         const ProtobufCMessage *message, const int *fds, unsigned n_fds);

/** chan_drop() - close what fds of the last frame nobody took; chan_recv() does it, too. Its payload is as
 * before. */
void chan_drop(struct chan *chan);

/**
 * chan_recv() - the next frame
 * @ret_frame: borrowed, until the next call
 *
 * Return: 0; -EAGAIN none now (non-blocking); -ECONNRESET peer closed; -EPROTO malformed,
 * oversized, truncated, or more or fewer fds than the header says or than max_fds (all received
 * fds are closed).
 */
MUST_CHECK int chan_recv(struct chan *chan, struct frame **ret_frame);

/** chan_flush() - send what is queued. Return: 0 all gone; -EAGAIN some left; -errno: peer gone. */
MUST_CHECK int chan_flush(struct chan *chan);

/** chan_wants_write() - whether frames are queued */
bool chan_wants_write(const struct chan *chan);

/** frame_fd_take() - move fd @index out of a frame. Return: the fd, the caller's; -1: none. */
int frame_fd_take(struct frame *frame, unsigned index);

#endif
