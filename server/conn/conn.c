/* SPDX-License-Identifier: BSD-3-Clause */
/* A connection on the loop: reads a bounded number of frames a turn, writes what is queued when
 * there is room, ends once. */
#include "server/conn/conn.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "common/base/own.h"

static struct conn *conn_of(struct watcher *watcher)
{
    return CONTAINER_OF(watcher, struct conn, watcher);
}

/* Return: whether there may be more. */
static bool read_frame(struct conn *conn)
{
    struct frame *frame;
    int r = chan_recv(&conn->chan, &frame);

    if (r == -EAGAIN)
        return false;
    if (r == 0) {
        r = conn->ops->frame(conn, frame);
        chan_drop(&conn->chan); /* fds that nobody took: the next frame may be long in coming */
    }
    if (r < 0)
        conn_close(conn, r);
    return !conn->closing;
}

/* Most peers send one frame and wait; to look for a second one is a system call in vain. Who sends several
 * is noticed in one of eight turns, and then each time. */
static void conn_read(struct conn *conn)
{
    const bool looks = conn->sends_several || ++conn->n_turns % 8 == 0;
    const unsigned n_max = looks ? CONN_FRAMES_PER_TURN : 1;
    unsigned n = 0;

    while (n < n_max && read_frame(conn))
        n++;
    conn->sends_several = n > 1;
}

static void conn_write(struct conn *conn)
{
    int r = chan_flush(&conn->chan);

    if (r < 0 && r != -EAGAIN)
        conn_close(conn, r);
    else
        watcher_want(&conn->watcher, true, r == -EAGAIN);
}

static void on_ready(struct watcher *watcher, bool readable, bool writable)
{
    struct conn *conn = conn_of(watcher);

    if (writable && !conn->closing)
        conn_write(conn);
    if (readable && !conn->closing)
        conn_read(conn);
}

static void on_closed(struct watcher *watcher)
{
    struct conn *conn = conn_of(watcher);

    chan_done(&conn->chan);
    conn->ops->ended(conn, conn->why);
}

int conn_open(struct conn *conn, struct loop *loop, int *fd, unsigned max_fds,
              const struct conn_ops *ops)
{
    struct ucred cred;
    socklen_t n_cred = sizeof(cred);
    int r;

    *conn = (struct conn){.ops = ops};
    if (getsockopt(*fd, SOL_SOCKET, SO_PEERCRED, &cred, &n_cred) < 0)
        return -errno;
    if (fcntl(*fd, F_SETFL, O_NONBLOCK) < 0)
        return -errno;
    conn->uid = cred.uid;
    conn->gid = cred.gid;
    conn->pid = cred.pid;
    r = chan_init(&conn->chan, fd, max_fds, CONN_OUT_BYTES_MAX);
    if (r < 0)
        return r;
    conn->watcher.ready = on_ready;
    conn->watcher.closed = on_closed;
    r = watcher_open(loop, &conn->watcher, conn->chan.fd);
    if (r < 0) {
        *fd = fd_take(&conn->chan.fd); /* still the caller's */
        chan_done(&conn->chan);
    }
    return r;
}

void conn_close(struct conn *conn, int why)
{
    if (conn->closing)
        return;
    conn->closing = true;
    conn->why = why;
    (void)!chan_flush(
        &conn->chan); /* last words, as far as the socket has room; the peer may be gone */
    watcher_close(&conn->watcher);
}

int conn_send(struct conn *conn, uint16_t type, uint64_t id, const ProtobufCMessage *message,
              const int *fds, unsigned n_fds)
{
    int r;

    if (conn->closing)
        return -EPIPE;
    r = chan_send(&conn->chan, type, id, message, fds, n_fds);
    if (r < 0)
        conn_close(conn, r);
    else if (chan_wants_write(&conn->chan))
        watcher_want(&conn->watcher, true, true);
    return r;
}
