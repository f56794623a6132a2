/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client's connection: hello, attach, then requests by a table of message types. Also the calls
 * the server makes to the client ("do these mmaps"), which are answered in the order they were sent
 * within one request.
 */
#ifndef MUSE_SERVER_FLOW_SESSION_FLOW_H
#define MUSE_SERVER_FLOW_SESSION_FLOW_H

#include "server/conn/conn.h"
#include "server/flow/engine.h"

/* How long hello and attach may take, and how many connections may be that far. Chosen. */
#define SESSION_HELLO_NS       10000000000ull
#define SESSION_UNATTACHED_MAX 256u

enum session_stage { SESSION_HELLO, SESSION_ATTACH, SESSION_READY };

struct session {
    struct conn conn;
    struct list link;      /* in engine.sessions */
    int pidfd;             /* owned; -1: this kernel or client has none */
    struct watcher death;  /* on pidfd: a child with the socket keeps no dead client's space */
    struct deadline hello; /* for hello and attach */
    unsigned n_open;       /* conn and watcher, not closed yet */
    int why;
    struct engine *engine;
    struct space *space; /* ref, from attach on */
    enum session_stage stage;
    struct list client_calls; /* struct client_call, in the order sent */
    char program[72];
};

enum client_end { CLIENT_ANSWERED, CLIENT_DEADLINE, CLIENT_LOST };

/* What a client was told to do. */
struct mem_op {
    int kind; /* Muse__Wire__MemOps__Kind */
    int fd;   /* borrowed; -1: the client's fd of file_id */
    struct range range;
    uint32_t prot, flags;
    uint64_t offset, to, file_id;
    uint64_t new_length; /* REMAP */
    uint32_t advice;     /* MADVISE */
    bool direct;         /* MMAP_FILE: the pages themselves, never registered */
    bool closed;         /* SPLIT_OFF: the target gets its access later, too */
};

/* @error: 0 or -errno of the op that failed. After CLIENT_DEADLINE it is not called again. */
typedef void client_end_fn(void *ctx, enum client_end end, int error);

/* Whose space it is. */
struct space_peer {
    uid_t uid;
    gid_t gid;
    pid_t pid;
    const char *program; /* borrowed */
};

/**
 * space_new() - an empty space without session and userfaultfd, charged to @peer
 * @ret_space: with one reference, a session's
 *
 * Return: 0; -EAGAIN too many of this user; -ENOMEM.
 */
MUST_CHECK int space_new(struct engine *engine, const struct space_peer *peer, struct range arena,
                         struct space **ret_space);

/** session_count() - connections that have not ended, attached or not */
unsigned session_count(const struct engine *engine);

/** session_close_all() - cut every client off; their ends come later */
void session_close_all(struct engine *engine);

/** session_accept() - a client connected. @fd: takes what it keeps. */
void session_accept(struct engine *engine, int *fd);

/**
 * session_mem_ops() - tell the client, in the dialogue of request @id, to do these calls in order
 * @deadline_ns: from now; 0: none
 *
 * Return: 0: @end is called once, never from inside here; -ENOTCONN the client is gone (@end is not
 * called); -ENOMEM.
 */
MUST_CHECK int session_mem_ops(struct space *space, uint64_t id, const struct mem_op *ops,
                               unsigned n_ops, uint64_t deadline_ns, client_end_fn *end, void *ctx);

/**
 * session_last_ops() - the same, and when all are done the client's call has succeeded: it returns
 * without another answer, which only a failure gets. Only for a client that knows of this, and where
 * nothing that it does next, faults included, is answered by what the server did before.
 */
MUST_CHECK int session_last_ops(struct space *space, uint64_t id, const struct mem_op *ops,
                                unsigned n_ops, client_end_fn *end, void *ctx);

/** session_orphan() - @ctx does not want to hear of its calls any more (they stay owed) */
void session_orphan(struct space *space, const void *ctx);

/** space_reply() - answer request @id; nothing happens when the client is gone */
void space_reply(struct space *space, uint64_t id, uint16_t type, const ProtobufCMessage *message);
void space_reply_fds(struct space *space, uint64_t id, uint16_t type,
                     const ProtobufCMessage *message, const int *fds, unsigned n_fds);

/** space_fail() - answer request @id with an errno (negative) and one sentence */
void space_fail(struct space *space, uint64_t id, int error, const char *text);

#endif
