/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client's question about a name, or an open file, on its way to the driver: who asked, what to call it in
 * texts, and what becomes of it when the driver refuses, dies or is late. What the answer means is known by
 * whoever asked (path_flow.c, setattr_flow.c).
 */
#ifndef MUSE_SERVER_FLOW_PATH_CALL_H
#define MUSE_SERVER_FLOW_PATH_CALL_H

#include "proto/path.pb-c.h"
#include "server/flow/driver_hooks.h"
#include "server/flow/engine.h"

struct path_call {
    struct driver_call call;
    struct space *space;   /* ref */
    struct driver *driver; /* ref */
    uint64_t id;           /* of the client's request */
    char *name;            /* owned: DRIVER/OBJECT, for texts */
    const char *hook;      /* static */
    const char *event;     /* static: of the log, when it fails */
    /* The driver has answered, and not refused; hook_ended() is to be called. Ends, or asks again. */
    void (*answered)(struct path_call *path_call, struct frame *frame);
    /* It is over, and the client has its answer: path_call_done(), and free what it is a part of. */
    void (*over)(struct path_call *path_call);
};

/**
 * path_call_init() - take what a question holds on to, charged to the space's uid
 * @path_call: the four static members are set
 * @name:      behind the driver's; copied
 *
 * Return: 0; -EAGAIN: too many requests; -ENOMEM. On failure it holds nothing.
 */
MUST_CHECK int path_call_init(struct path_call *path_call, struct space *space,
                              struct driver *driver, uint64_t id, const char *name);

/** path_call_done() - give it back */
void path_call_done(struct path_call *path_call);

/**
 * path_call_ask() - send it; may be done again when it was answered
 * @message: the client's, with the name behind the driver's; the asker's ids are set here
 * @type, @answer_type: FRAME_DRIVER_
 *
 * Return: 0: answered() or over() follows; -errno, -EAGAIN: the driver has too much unread.
 */
MUST_CHECK int path_call_ask(struct path_call *path_call, Muse__Wire__PathAsk *message,
                             uint16_t type, uint16_t answer_type);

/** path_call_fail() - tell the client, and end. @error: -errno   @text: a sentence */
void path_call_fail(struct path_call *path_call, int error, const char *text);

#endif
