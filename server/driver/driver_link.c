/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One driver's connection. Owns the socket, the ring's memfd and eventfds, and the table of calls
 * in flight. Every call ends once: answered, past its deadline (then perhaps late), or lost.
 */
#include "server/driver/driver_link.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/base/own.h"
#include "common/ipc/fd.h"

static struct driver_link *link_of_conn(struct conn *conn)
{
    return CONTAINER_OF(conn, struct driver_link, conn);
}

static struct driver_link *link_of_ring(struct watcher *watcher)
{
    return CONTAINER_OF(watcher, struct driver_link, ring_watcher);
}

static void call_unlink(struct driver_call *call)
{
    (void)idmap_take(&call->link->calls, call->id);
    list_del(&call->node);
    deadline_clear(call->link->loop, &call->deadline);
    call->link = NULL;
}

static void on_deadline(struct deadline *deadline)
{
    struct driver_call *call = CONTAINER_OF(deadline, struct driver_call, deadline);

    call->late = true;
    if (!call->wants_late)
        call_unlink(call);
    call->end(call, CALL_DEADLINE, NULL);
}

/* An answer to a call of ours that nobody waits for any more: forgotten, or too late. */
static bool is_stale_answer(const struct driver_link *link, const struct frame_header *header)
{
    if (header->id == 0 || header->id > link->next_id)
        return false;
    return header->type == FRAME_DRIVER_OPENED || header->type == FRAME_DRIVER_ATTR ||
           header->type == FRAME_PREPARED || header->type == FRAME_COMPLETED ||
           header->type == FRAME_DRIVER_DIR_ENTRIES || header->type == FRAME_DRIVER_LINK_TARGET ||
           header->type == FRAME_DRIVER_DONE || header->type == FRAME_DRIVER_ACCESSED ||
           header->type == FRAME_VMA_NAMED || header->type == FRAME_DRIVER_FAILED;
}

static int on_frame(struct conn *conn, struct frame *frame)
{
    struct driver_link *link = link_of_conn(conn);
    struct driver_call *call = idmap_get(&link->calls, frame->header.id);

    if (!call && is_stale_answer(link, &frame->header))
        return 0;
    if (!call)
        return link->ops->frame(link, frame);
    if (frame->header.type != call->answer_type && frame->header.type != FRAME_DRIVER_FAILED)
        return -EPROTO;
    call_unlink(call);
    call->end(call, call->late ? CALL_LATE : CALL_ANSWERED, frame);
    return 0;
}

static void lose_calls(struct driver_link *link)
{
    struct list *node;

    while ((node = list_first(&link->call_list))) {
        struct driver_call *call = CONTAINER_OF(node, struct driver_call, node);

        call_unlink(call);
        call->end(call, CALL_LOST, NULL);
    }
}

static void link_part_closed(struct driver_link *link)
{
    if (--link->n_open > 0)
        return;
    if (link->ops->losing)
        link->ops->losing(link, link->why);
    lose_calls(link);
    link->ops->ended(link, link->why);
}

static void on_ring_closed(struct watcher *watcher)
{
    link_part_closed(link_of_ring(watcher));
}

static void on_conn_ended(struct conn *conn, int why)
{
    struct driver_link *link = link_of_conn(conn);

    link->why = why;
    if (link->ring) {
        turn_hook_remove(&link->turn);
        watcher_close(&link->ring_watcher);
    }
    link_part_closed(link);
}

static const struct conn_ops conn_ops = {.frame = on_frame, .ended = on_conn_ended};

int driver_link_new(struct driver_link **ret_link, struct loop *loop, int *fd,
                    const struct driver_link_ops *ops)
{
    struct driver_link *link = calloc(1, sizeof(*link));
    int r;

    if (!link)
        return -ENOMEM;
    link->loop = loop;
    link->ops = ops;
    link->ring_fd = link->wake_driver_fd = link->wake_server_fd = -1;
    idmap_init(&link->calls);
    list_init(&link->call_list);
    r = conn_open(&link->conn, loop, fd, FRAME_FDS_MAX, &conn_ops);
    if (r < 0) {
        free(link);
        return r;
    }
    link->conn.chan.out_bytes_max = DRIVER_LINK_OUT_BYTES_MAX;
    link->n_open = 1;
    *ret_link = link;
    return 0;
}

void driver_link_close(struct driver_link *link, int why)
{
    conn_close(&link->conn, why);
}

void driver_link_free(struct driver_link *link)
{
    MUST(link->n_open == 0);
    if (link->ring)
        (void)munmap(link->ring, sizeof(*link->ring));
    fd_close(&link->ring_fd);
    fd_close(&link->wake_driver_fd);
    fd_close(&link->wake_server_fd);
    idmap_done(&link->calls);
    free(link);
}

static void on_turn(struct turn_hook *hook)
{
    struct driver_link *link = CONTAINER_OF(hook, struct driver_link, turn);
    const uint64_t one = 1;

    if (!link->wake_pending)
        return;
    link->wake_pending = false;
    /* EAGAIN: the counter is at its maximum, so the driver is awake already */
    (void)!write(link->wake_driver_fd, &one, sizeof(one));
}

static void on_ring_ready(struct watcher *watcher, bool readable, bool writable)
{
    struct driver_link *link = link_of_ring(watcher);
    uint64_t n;

    (void)readable;
    (void)writable;
    (void)!read(link->wake_server_fd, &n, sizeof(n)); /* EAGAIN: woken for nothing */
    if (!link->conn.closing)
        link->ops->answers(link);
}

int driver_link_ring(struct driver_link *link)
{
    CLEAN_FD int ring_fd = memfd_create("muse-fill-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    CLEAN_FD int wake_driver_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    CLEAN_FD int wake_server_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    void *map;
    int r;

    if (ring_fd < 0 || wake_driver_fd < 0 || wake_server_fd < 0)
        return -errno;
    /* Sealed: a driver that cut its ring short would otherwise kill the server with SIGBUS. */
    if (ftruncate(ring_fd, sizeof(struct fill_ring)) < 0 ||
        fcntl(ring_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        return -errno;
    map = mmap(NULL, sizeof(struct fill_ring), PROT_READ | PROT_WRITE, MAP_SHARED, ring_fd, 0);
    if (map == MAP_FAILED)
        return -errno;
    link->ring_watcher.ready = on_ring_ready;
    link->ring_watcher.closed = on_ring_closed;
    r = watcher_open(link->loop, &link->ring_watcher, wake_server_fd);
    if (r < 0) {
        (void)munmap(map, sizeof(struct fill_ring));
        return r;
    }
    link->n_open++;
    link->ring = map;
    link->ring_fd = fd_take(&ring_fd);
    link->wake_driver_fd = fd_take(&wake_driver_fd);
    link->wake_server_fd = fd_take(&wake_server_fd);
    link->turn.fn = on_turn;
    turn_hook_add(link->loop, &link->turn);
    return 0;
}

int driver_link_call(struct driver_link *link, struct driver_call *call, uint16_t type,
                     const ProtobufCMessage *message, uint64_t deadline_ns)
{
    int r;

    call->id = ++link->next_id;
    call->late = false;
    call->sent_ns = loop_now_ns();
    r = idmap_put(&link->calls, call->id, call);
    if (r < 0)
        return r;
    r = conn_send(&link->conn, type, call->id, message, NULL, 0);
    if (r < 0) {
        (void)idmap_take(&link->calls, call->id);
        return r;
    }
    call->link = link;
    list_add_tail(&link->call_list, &call->node);
    call->deadline.fn = on_deadline;
    deadline_set(link->loop, &call->deadline, call->sent_ns + deadline_ns);
    return 0;
}

bool driver_link_is_busy(const struct driver_link *link)
{
    return link->conn.chan.out_bytes > DRIVER_LINK_OUT_BYTES_BUSY;
}

void driver_link_forget(struct driver_call *call)
{
    if (call->link)
        call_unlink(call);
}

int driver_link_send(struct driver_link *link, uint16_t type, uint64_t id,
                     const ProtobufCMessage *message, const int *fds, unsigned n_fds)
{
    return conn_send(&link->conn, type, id, message, fds, n_fds);
}

bool driver_link_ask(struct driver_link *link, const struct fill_ask *ask)
{
    if (!link->ring || link->conn.closing || !fill_ring_put_ask(link->ring, ask))
        return false;
    link->wake_pending = true;
    return true;
}
