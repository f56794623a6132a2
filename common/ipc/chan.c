/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames over one SOCK_SEQPACKET socket, with fds. Owns the socket, the fds of the frame last
 * received and the queue of frames the socket had no room for. Used by the server's sessions and
 * links and by both libraries.
 */
#include "common/ipc/chan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/own.h"
#include "common/ipc/fd.h"

struct out_frame {
    struct list node;
    size_t n_bytes;
    unsigned n_fds;
    int fds[FRAME_FDS_MAX]; /* owned copies */
    uint8_t bytes[];
};

static void out_frame_free(struct out_frame *frame)
{
    for (unsigned i = 0; i < frame->n_fds; i++)
        fd_close(&frame->fds[i]);
    free(frame);
}

static void frame_done(struct frame *frame)
{
    for (unsigned i = 0; i < FRAME_FDS_MAX; i++)
        fd_close(&frame->fds[i]);
}

void chan_drop(struct chan *chan)
{
    frame_done(&chan->in);
}

int chan_init(struct chan *chan, int *fd, unsigned max_fds, size_t out_bytes_max)
{
    uint8_t *buf = malloc(FRAME_BYTES_MAX);

    if (!buf)
        return -ENOMEM;
    *chan = (struct chan){
        .fd = fd_take(fd), .max_fds = max_fds, .out_bytes_max = out_bytes_max, .buf = buf};
    list_init(&chan->out);
    for (unsigned i = 0; i < FRAME_FDS_MAX; i++)
        chan->in.fds[i] = -1;
    return 0;
}

void chan_done(struct chan *chan)
{
    struct list *pos, *tmp;

    if (!chan->buf)
        return;
    frame_done(&chan->in);
    list_for_each_safe(pos, tmp, &chan->out) {
        list_del(pos);
        out_frame_free(CONTAINER_OF(pos, struct out_frame, node));
    }
    fd_close(&chan->fd);
    free(chan->buf);
    *chan = (struct chan){.fd = -1};
}

/* One sendmsg. Return: 0 or -errno. */
static int send_bytes(int sock, const uint8_t *bytes, size_t n_bytes, const int *fds,
                      unsigned n_fds)
{
    union {
        struct cmsghdr align;
        uint8_t bytes[CMSG_SPACE(sizeof(int) * FRAME_FDS_MAX)];
    } control;
    struct iovec iov = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = n_bytes};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t n;

    if (n_fds > 0) {
        memset(&control, 0, sizeof(control));
        msg.msg_control = control.bytes;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
        struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
        memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * n_fds);
    }
    do {
        n = sendmsg(sock, &msg, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}

/* Keep a frame until the socket has room. */
static int queue_bytes(struct chan *chan, const uint8_t *bytes, size_t n_bytes, const int *fds,
                       unsigned n_fds)
{
    struct out_frame *frame;

    if (chan->out_bytes + n_bytes > chan->out_bytes_max)
        return -ENOBUFS;
    frame = malloc(sizeof(*frame) + n_bytes);
    if (!frame)
        return -ENOMEM;
    frame->n_bytes = n_bytes;
    memcpy(frame->bytes, bytes, n_bytes);
    for (frame->n_fds = 0; frame->n_fds < n_fds; frame->n_fds++) {
        frame->fds[frame->n_fds] = fd_dup(fds[frame->n_fds]);
        if (frame->fds[frame->n_fds] < 0) {
            out_frame_free(frame);
            return -EMFILE;
        }
    }
    list_add_tail(&chan->out, &frame->node);
    chan->out_bytes += n_bytes;
    return 0;
}

static int send_or_queue(struct chan *chan, const uint8_t *bytes, size_t n_bytes, const int *fds,
                         unsigned n_fds)
{
    int r = list_is_empty(&chan->out) ? send_bytes(chan->fd, bytes, n_bytes, fds, n_fds) : -EAGAIN;

    if (r == -EAGAIN)
        return queue_bytes(chan, bytes, n_bytes, fds, n_fds);
    return r;
}

int chan_send(struct chan *chan, uint16_t type, uint64_t id, const ProtobufCMessage *message,
              const int *fds, unsigned n_fds)
{
    const struct frame_header header = {.type = type, .n_fds = (uint8_t)n_fds, .id = id};
    const size_t n_payload = message ? protobuf_c_message_get_packed_size(message) : 0;
    const size_t n_bytes = FRAME_HEADER_BYTES + n_payload;
    uint8_t small[1024];
    uint8_t *bytes = small;
    int r;

    MUST(n_fds <= FRAME_FDS_MAX);
    if (chan->fd < 0)
        return -EPIPE;
    if (n_bytes > FRAME_BYTES_MAX)
        return -EMSGSIZE;
    if (n_bytes > sizeof(small)) {
        bytes = malloc(n_bytes);
        if (!bytes)
            return -ENOMEM;
    }
    frame_encode(&header, bytes);
    if (message)
        protobuf_c_message_pack(message, bytes + FRAME_HEADER_BYTES);
    r = send_or_queue(chan, bytes, n_bytes, fds, n_fds);
    if (bytes != small)
        free(bytes);
    return r;
}

int chan_flush(struct chan *chan)
{
    struct list *pos, *tmp;

    list_for_each_safe(pos, tmp, &chan->out) {
        struct out_frame *frame = CONTAINER_OF(pos, struct out_frame, node);
        int r = send_bytes(chan->fd, frame->bytes, frame->n_bytes, frame->fds, frame->n_fds);

        if (r < 0)
            return r;
        chan->out_bytes -= frame->n_bytes;
        list_del(pos);
        out_frame_free(frame);
    }
    return 0;
}

bool chan_wants_write(const struct chan *chan)
{
    return chan->buf && !list_is_empty(&chan->out);
}

/* Every fd the kernel installed is taken into the frame; one too many is closed at once.
 * Return: their number. */
static unsigned collect_fds(struct msghdr *msg, struct frame *frame)
{
    unsigned n = 0;

    for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {
        const size_t n_here = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; i < n_here; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(fd));
            if (n < FRAME_FDS_MAX)
                frame->fds[n] = fd;
            else
                fd_close(&fd);
            n++;
        }
    }
    return n;
}

int chan_recv(struct chan *chan, struct frame **ret_frame)
{
    union {
        struct cmsghdr align;
        uint8_t bytes[CMSG_SPACE(sizeof(int) * FRAME_FDS_MAX)];
    } control;
    struct iovec iov = {.iov_base = chan->buf, .iov_len = FRAME_BYTES_MAX};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control.bytes)};
    struct frame *frame = &chan->in;
    unsigned n_fds;
    ssize_t n;

    if (chan->fd < 0)
        return -ECONNRESET;
    frame_done(frame);
    do {
        n = recvmsg(chan->fd, &msg, MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;

    n_fds = collect_fds(&msg, frame); /* an empty datagram, too, may carry some */
    if (n == 0 && n_fds == 0)
        return -ECONNRESET;
    if (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
        goto malformed;
    if (frame_decode(chan->buf, (size_t)n, &frame->header) < 0)
        goto malformed;
    if (n_fds != frame->header.n_fds || n_fds > chan->max_fds)
        goto malformed;
    frame->payload = chan->buf + FRAME_HEADER_BYTES;
    frame->n_payload = (size_t)n - FRAME_HEADER_BYTES;
    *ret_frame = frame;
    return 0;

malformed:
    frame_done(frame);
    return -EPROTO;
}

int frame_fd_take(struct frame *frame, unsigned index)
{
    return index < FRAME_FDS_MAX ? fd_take(&frame->fds[index]) : -1;
}
