/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests in flight on one connection, for any number of threads and none of the library's own.
 *
 * A thread that waits for a frame reads the socket itself when nobody else does (it is the reader
 * then). It puts each frame into the mailbox of the request the frame belongs to, until its own
 * mailbox has one; then it leaves, and wakes one of the threads that still wait, which becomes the
 * reader:
 *
 *     thread 1   begin, send, next: reads [frame of 2] [frame of 1]  leaves, wakes 2
 *     thread 2      begin, send, next: sleeps .. takes the frame .. next: reads [frame of 2] leaves
 *
 * The lock guards lists only; nobody sends, receives or runs a caller's code under it. There is no
 * deadline on an answer: the server has one for every hook, a connection that ends wakes everybody,
 * and a request cannot be given up halfway, because the server may still have things for its thread
 * to do.
 *
 * While a thread forks (fork.c) no dialogue is open but its own: requests_pause() waits for the
 * others, which are as long as a hook of a driver, and new ones wait in request_begin().
 */
#ifndef MUSE_CLIENT_LIB_REQUEST_H
#define MUSE_CLIENT_LIB_REQUEST_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "common/base/list.h"
#include "common/base/must.h"
#include "common/base/own.h"
#include "common/ipc/chan.h"

/* A received frame that outlives the next one. */
struct mail {
    struct list node; /* in request.mailbox */
    struct frame_header header;
    int fds[FRAME_FDS_MAX]; /* owned; -1 when absent or taken */
    size_t n_payload;
    uint8_t payload[];
};

struct requests {
    struct chan chan;     /* anybody sends, the reader receives, only requests_done() closes it */
    pthread_mutex_t lock; /* guards what follows */
    struct list open;     /* struct request */
    uint64_t last_id;
    int broken;             /* 0, or the negative errno of every request from now on */
    const char *why_broken; /* static; one sentence */
    bool has_reader;
    bool is_paused; /* @pauser forks: its dialogues only */
    pthread_t pauser;
    pthread_cond_t changed; /* while paused: a dialogue ended; then: not paused any more */
};

/* One dialogue. In its thread's stack frame, from request_begin() to request_end(). */
struct request {
    uint64_t id;
    struct list node;    /* in requests.open */
    struct list mailbox; /* struct mail, in order of arrival */
    pthread_cond_t woken;
    bool is_waiting; /* asleep on @woken */
    pthread_t thread;
    int cancel_state; /* the thread's, to be restored */
};

/**
 * requests_init() - adopt a connected, blocking socket
 * @requests: caller's memory
 * @fd:       takes
 *
 * Return: 0; -ENOMEM (the fd then still belongs to the caller).
 */
MUST_CHECK int requests_init(struct requests *requests, int *fd);

/**
 * requests_done() - close the socket; safe on a zeroed struct. Nobody may have a request open.
 * @is_copy: this process is a forked child: close silently, leave the connection and the lock alone
 */
void requests_done(struct requests *requests, bool is_copy);

/**
 * requests_break() - the server did something wrong: end the connection, fail every request
 * @error: negative errno for them   @why: static sentence. Only the first call counts.
 */
void requests_break(struct requests *requests, int error, const char *why);

/**
 * requests_pause() - wait until no dialogue is open; until requests_resume() only this thread opens
 * some
 *
 * Return: 0; -EDEADLK this thread has one open itself (it forks in a signal handler).
 */
MUST_CHECK int requests_pause(struct requests *requests);

/** requests_resume() - let the others in again. Takes the lock. */
void requests_resume(struct requests *requests);

/**
 * request_begin() - open a dialogue
 * @requests: outlives the request
 * @request:  caller's memory; must be ended by request_end() when this succeeded
 *
 * The thread cannot be cancelled until request_end().
 * Return: 0; -ENOTCONN (or what requests_break() said) with the sentence set.
 */
MUST_CHECK int request_begin(struct requests *requests, struct request *request);

/**
 * request_send() - send one frame of the dialogue
 * @type: enum frame_type   @message: may be NULL   @fd: borrowed, -1 for none
 *
 * Return: 0; -ENOTCONN; -EMSGSIZE; -ENOMEM.
 */
MUST_CHECK int request_send(struct requests *requests, const struct request *request,
                            enum frame_type type, const ProtobufCMessage *message, int fd);

/**
 * request_next() - wait for the next frame of the dialogue
 * @ret_mail: to be freed by mail_free()
 *
 * Return: 0; -ENOTCONN (or what requests_break() said) with the sentence set.
 */
MUST_CHECK int request_next(struct requests *requests, struct request *request,
                            struct mail **ret_mail);

/** request_end() - close the dialogue; frees frames nobody has taken */
void request_end(struct requests *requests, struct request *request);

/** mail_free() - free a frame and close its fds. Return: NULL. */
struct mail *mail_free(struct mail *mail);

DEFINE_CLEANUP(struct mail *, mail_free)

#endif
