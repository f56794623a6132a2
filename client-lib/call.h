/* SPDX-License-Identifier: BSD-3-Clause */
/* One question to the server and its answer, with whatever the server wants done in between. */
#ifndef MUSE_CLIENT_LIB_CALL_H
#define MUSE_CLIENT_LIB_CALL_H

#include <protobuf-c/protobuf-c.h>

#include "client-lib/handle.h"
#include "client-lib/memops.h"
#include "client-lib/request.h"
#include "common/base/must.h"
#include "common/base/range.h"
#include "proto/frame.h"

struct question {
    enum frame_type type;
    const ProtobufCMessage *message; /* borrowed */
    int fd;                          /* borrowed, goes with the question; -1 for none */
    enum frame_type answer;          /* the type of the good answer */
    /* what the server may change outside the arena meanwhile: what the caller named; or empty */
    struct range own, also;
    const struct memops_source *source; /* what the server may have written; NULL: nothing */
};

/**
 * call_ask() - ask, do the memory calls the server wants, wait for the answer
 * @ret_answer: a frame of type @question->answer, payload unchecked; to be freed by mail_free().
 * May be NULL when only success matters.
 *
 * Return: 0; -errno as the server says, with its sentence; -ENOTCONN; -ENOMEM; -EPROTO the server
 * answered nonsense, and the connection has been ended.
 */
MUST_CHECK int call_ask(struct muse *muse, const struct question *question,
                        struct mail **ret_answer);

/** call_tell() - send a frame that has no answer. Return: 0; -ENOTCONN; -ENOMEM. */
MUST_CHECK int call_tell(struct muse *muse, enum frame_type type, const ProtobufCMessage *message);

/** call_garbled() - a message makes no sense: end the connection, say so; then fail with -EPROTO */
void call_garbled(struct muse *muse);

#endif
