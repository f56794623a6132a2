/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One driver's connection: its socket, the calls in flight with their deadlines, and the fill ring.
 * Knows ids, deadlines and loss; decides nothing about mappings. Every call gets exactly one end:
 * an answer, a deadline, or the loss.
 */
#ifndef MUSE_SERVER_DRIVER_DRIVER_LINK_H
#define MUSE_SERVER_DRIVER_DRIVER_LINK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/idmap.h"
#include "common/base/list.h"
#include "common/base/must.h"
#include "proto/fill_ring.h"
#include "server/conn/conn.h"
#include "server/loop/loop.h"

struct driver_link;

/* What a driver that sleeps in a hook may leave unread. From BUSY on clients are refused what is
 * new (open, prepare); what is owed (complete, abort, close) still goes out, and that is bounded by
 * what they hold. Chosen. */
#define DRIVER_LINK_OUT_BYTES_BUSY (1u << 20)
#define DRIVER_LINK_OUT_BYTES_MAX  (16u << 20)

enum call_end {
    CALL_ANSWERED, /* frame is there */
    CALL_DEADLINE, /* not in time; a late answer will come as CALL_LATE if wants_late */
    CALL_LATE,     /* the answer to a call whose deadline had passed */
    CALL_LOST      /* the driver is gone */
};

/* A call that awaits an answer. Part of, or allocated by, who asks; linked until its last end. */
struct driver_call {
    uint64_t id;          /* of the frame; set by driver_link_call() */
    uint16_t answer_type; /* the frame type that answers it; DRIVER_FAILED is always legal */
    const char *hook;     /* for logs and traces */
    struct deadline deadline;
    struct list node;
    struct driver_link *link;
    uint64_t sent_ns;
    uint64_t space_id; /* whose client waits for it, for people; set by who sends; 0: nobody's */
    char args[160];    /* for the trace; set by who sends */
    bool late;         /* its deadline has passed, the answer is still owed */
    bool wants_late;
    /* frame: NULL unless answered or late; borrowed. The call is unlinked before, except for
     * CALL_DEADLINE with wants_late. */
    void (*end)(struct driver_call *call, enum call_end end, struct frame *frame);
};

struct driver_link_ops {
    /* a frame that answers no call: DRIVER_HELLO, FAULT_FAILED, INVALIDATE.
     * Return: 0; -errno ends the connection. */
    int (*frame)(struct driver_link *link, struct frame *frame);
    void (*answers)(struct driver_link *link); /* the fill ring has answers */
    /* the connection is over, and the calls are about to end with CALL_LOST; may be NULL */
    void (*losing)(struct driver_link *link, int why);
    /* the connection is over; why: -ECONNRESET the driver went, -EPROTO, ...; every call has ended
     * with CALL_LOST; free in here */
    void (*ended)(struct driver_link *link, int why);
};

struct driver_link {
    struct conn conn;
    struct loop *loop;
    const struct driver_link_ops *ops;
    struct list link;      /* in engine.links */
    struct deadline hello; /* set by who accepted it */
    void *context;         /* the engine */
    void *owner;           /* the driver; NULL before its hello */
    struct idmap calls;    /* frame id -> struct driver_call */
    struct list call_list;
    uint64_t next_id;
    unsigned n_open; /* watchers that have not closed yet */
    int why;
    /* the ring; NULL before driver_link_ring() */
    struct fill_ring *ring;
    int ring_fd, wake_driver_fd, wake_server_fd; /* owned */
    struct watcher ring_watcher;
    struct turn_hook turn; /* one wake-up a turn */
    bool wake_pending;
};

/** driver_link_new() - adopt an accepted socket. @fd: takes on success. Return: 0; -errno. */
MUST_CHECK int driver_link_new(struct driver_link **ret_link, struct loop *loop, int *fd,
                               const struct driver_link_ops *ops);

/** driver_link_close() - end it from our side for @why; ended() comes later. Twice is fine. */
void driver_link_close(struct driver_link *link, int why);

/** driver_link_free() - in ended() only */
void driver_link_free(struct driver_link *link);

/** driver_link_ring() - make the fill ring and its two eventfds. Return: 0 or -errno. */
MUST_CHECK int driver_link_ring(struct driver_link *link);

/**
 * driver_link_call() - send a request and await its answer
 * @call: end, hook, answer_type, wants_late set by the caller; linked here until its end
 * @deadline_ns: how long from now
 *
 * Return: 0: end() will be called, never from inside here; -EPIPE, -ENOBUFS, -EMSGSIZE...: not
 * sent, end() is not called.
 */
MUST_CHECK int driver_link_call(struct driver_link *link, struct driver_call *call, uint16_t type,
                                const ProtobufCMessage *message, uint64_t deadline_ns);

/** driver_link_is_busy() - so much is unread that nothing new should be asked of the driver */
bool driver_link_is_busy(const struct driver_link *link);

/** driver_link_forget() - the caller waits no more: end() is not called, an answer is dropped.
 * No-op when not in flight. */
void driver_link_forget(struct driver_call *call);

/** driver_link_send() - a one-way frame. @id: 0, or the id of a driver's request this answers.
 * Return: 0; -errno: the connection is ending. */
int driver_link_send(struct driver_link *link, uint16_t type, uint64_t id,
                     const ProtobufCMessage *message, const int *fds, unsigned n_fds);

/** driver_link_ask() - put one ask into the ring; the driver is woken at the end of the turn.
 * Return: false when full or lost. */
bool driver_link_ask(struct driver_link *link, const struct fill_ask *ask);

#endif
