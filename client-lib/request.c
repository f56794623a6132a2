/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests in flight: who reads the socket, who sleeps, who gets which frame. Owns the connection.
 * Used by call.c, which knows what frames mean; this file looks at nothing but their id.
 */
#include "client-lib/request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "client-lib/error.h"

/* The socket blocks, so that nothing is ever queued. */
#define OUT_BYTES_MAX 0u

int requests_init(struct requests *requests, int *fd)
{
    int r;

    *requests = (struct requests){.chan = {.fd = -1}};
    r = chan_init(&requests->chan, fd, FRAME_FDS_MAX, OUT_BYTES_MAX);
    if (r < 0)
        return r;
    list_init(&requests->open);
    (void)pthread_mutex_init(&requests->lock, NULL); /* cannot fail with default attributes */
    (void)pthread_cond_init(&requests->changed, NULL);
    return 0;
}

void requests_done(struct requests *requests, bool is_copy)
{
    if (!requests->chan.buf)
        return;
    if (!is_copy) {
        MUST(list_is_empty(&requests->open));
        (void)pthread_cond_destroy(&requests->changed);
        (void)pthread_mutex_destroy(&requests->lock);
        (void)shutdown(requests->chan.fd, SHUT_RDWR); /* a forked child may hold a copy of it */
    }
    chan_done(&requests->chan);
}

struct mail *mail_free(struct mail *mail)
{
    if (!mail)
        return NULL;
    for (unsigned i = 0; i < FRAME_FDS_MAX; i++)
        fd_close_p(&mail->fds[i]);
    free(mail);
    return NULL;
}

/* Copy a frame out of the chan, fds moved. Return: NULL when out of memory. */
static struct mail *mail_new(struct frame *frame)
{
    struct mail *mail = malloc(sizeof(*mail) + frame->n_payload);

    if (!mail)
        return NULL;
    list_init(&mail->node);
    mail->header = frame->header;
    for (unsigned i = 0; i < FRAME_FDS_MAX; i++)
        mail->fds[i] = frame_fd_take(frame, i);
    mail->n_payload = frame->n_payload;
    if (frame->n_payload > 0)
        memcpy(mail->payload, frame->payload, frame->n_payload);
    return mail;
}

/* Under the lock. */
static void break_locked(struct requests *requests, int error, const char *why)
{
    struct list *pos;

    if (requests->broken)
        return;
    requests->broken = error;
    requests->why_broken = why;
    (void)shutdown(requests->chan.fd, SHUT_RDWR); /* wakes the reader and whoever is sending */
    list_for_each(pos, &requests->open)
        (void)pthread_cond_signal(&CONTAINER_OF(pos, struct request, node)->woken);
}

void requests_break(struct requests *requests, int error, const char *why)
{
    (void)pthread_mutex_lock(&requests->lock);
    break_locked(requests, error, why);
    (void)pthread_mutex_unlock(&requests->lock);
}

/* Under the lock. Return: the negative errno of a broken connection, its sentence set. */
static int say_broken(const struct requests *requests)
{
    error_say("%s", requests->why_broken);
    return requests->broken;
}

int requests_pause(struct requests *requests)
{
    const pthread_t self = pthread_self();
    struct list *pos;
    int r = 0;

    (void)pthread_mutex_lock(&requests->lock);
    list_for_each(pos, &requests->open) {
        if (pthread_equal(CONTAINER_OF(pos, struct request, node)->thread, self))
            r = -EDEADLK;
    }
    if (r == 0) {
        requests->is_paused = true;
        requests->pauser = self;
        while (!list_is_empty(&requests->open))
            (void)pthread_cond_wait(&requests->changed, &requests->lock);
    }
    (void)pthread_mutex_unlock(&requests->lock);
    return r;
}

void requests_resume(struct requests *requests)
{
    (void)pthread_mutex_lock(&requests->lock);
    requests->is_paused = false;
    (void)pthread_cond_broadcast(&requests->changed);
    (void)pthread_mutex_unlock(&requests->lock);
}

/* Under the lock. */
static void wait_for_resume(struct requests *requests, pthread_t self)
{
    while (requests->is_paused && !pthread_equal(requests->pauser, self))
        (void)pthread_cond_wait(&requests->changed, &requests->lock);
}

int request_begin(struct requests *requests, struct request *request)
{
    int r = 0;

    *request = (struct request){.woken = PTHREAD_COND_INITIALIZER, .thread = pthread_self()};
    list_init(&request->node);
    list_init(&request->mailbox);

    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &request->cancel_state);
    (void)pthread_mutex_lock(&requests->lock);
    wait_for_resume(requests, request->thread);
    if (requests->broken) {
        r = say_broken(requests);
    } else {
        request->id = ++requests->last_id;
        list_add_tail(&requests->open, &request->node);
    }
    (void)pthread_mutex_unlock(&requests->lock);
    if (r < 0)
        (void)pthread_setcancelstate(request->cancel_state, NULL);
    return r;
}

int request_send(struct requests *requests, const struct request *request, enum frame_type type,
                 const ProtobufCMessage *message, int fd)
{
    int r = chan_send(&requests->chan, (uint16_t)type, request->id, message, &fd, fd >= 0 ? 1 : 0);

    if (r == 0 || r == -EMSGSIZE || r == -ENOMEM)
        return r;
    /* ETOOMANYREFS, EBADF and the like look like a lost connection: nothing can be sent. */
    (void)pthread_mutex_lock(&requests->lock);
    break_locked(requests, -ENOTCONN, "the server has gone");
    r = say_broken(requests);
    (void)pthread_mutex_unlock(&requests->lock);
    return r;
}

/* Under the lock. */
static struct request *find_open(const struct requests *requests, uint64_t id)
{
    struct list *pos;

    list_for_each(pos, &requests->open) {
        struct request *request = CONTAINER_OF(pos, struct request, node);

        if (request->id == id)
            return request;
    }
    return NULL;
}

/* Under the lock: put what was read where it belongs. @r is chan_recv()'s result; takes @mail. */
static void deliver(struct requests *requests, int r, struct mail *mail)
{
    struct request *owner;

    if (r == -EAGAIN) {
        break_locked(requests, -ETIMEDOUT, "the server does not answer");
        return;
    }
    if (r == -EPROTO) {
        break_locked(requests, -ENOTCONN, "the server sent bytes that are no frame");
        return;
    }
    if (r < 0) {
        break_locked(requests, -ENOTCONN, "the server has gone");
        return;
    }
    if (!mail) {
        break_locked(requests, -ENOTCONN, "no memory for an answer, so the connection is lost");
        return;
    }
    owner = find_open(requests, mail->header.id);
    if (!owner) {
        mail_free(mail);
        break_locked(requests, -ENOTCONN, "the server answered something nobody had asked");
        return;
    }
    list_add_tail(&owner->mailbox, &mail->node);
    if (owner->is_waiting)
        (void)pthread_cond_signal(&owner->woken);
}

/* Under the lock, which is released while reading. */
static void read_one(struct requests *requests)
{
    struct frame *frame = NULL;
    struct mail *mail = NULL;
    int r;

    requests->has_reader = true;
    (void)pthread_mutex_unlock(&requests->lock);
    r = chan_recv(&requests->chan, &frame);
    if (r == 0)
        mail = mail_new(frame);
    (void)pthread_mutex_lock(&requests->lock);
    requests->has_reader = false;
    deliver(requests, r, mail);
}

/* Under the lock: the caller stops reading, so somebody who waits has to begin. */
static void hand_over(struct requests *requests)
{
    struct list *pos;

    if (requests->has_reader)
        return;
    list_for_each(pos, &requests->open) {
        struct request *request = CONTAINER_OF(pos, struct request, node);

        if (request->is_waiting) {
            (void)pthread_cond_signal(&request->woken);
            return;
        }
    }
}

static void sleep_locked(struct requests *requests, struct request *request)
{
    request->is_waiting = true;
    (void)pthread_cond_wait(&request->woken, &requests->lock);
    request->is_waiting = false;
}

int request_next(struct requests *requests, struct request *request, struct mail **ret_mail)
{
    struct list *node;
    int r = 0;

    (void)pthread_mutex_lock(&requests->lock);
    while (!(node = list_take_first(&request->mailbox)) && !requests->broken) {
        if (requests->has_reader) {
            sleep_locked(requests, request);
        } else {
            read_one(requests);
        }
    }
    if (node) {
        *ret_mail = CONTAINER_OF(node, struct mail, node);
    } else {
        r = say_broken(requests);
    }
    hand_over(requests);
    (void)pthread_mutex_unlock(&requests->lock);
    return r;
}

void request_end(struct requests *requests, struct request *request)
{
    struct list *node;

    (void)pthread_mutex_lock(&requests->lock);
    list_del(&request->node);
    if (requests->is_paused)
        (void)pthread_cond_broadcast(&requests->changed);
    (void)pthread_mutex_unlock(&requests->lock);
    while ((node = list_take_first(&request->mailbox)))
        mail_free(CONTAINER_OF(node, struct mail, node));
    (void)pthread_cond_destroy(&request->woken);
    (void)pthread_setcancelstate(request->cancel_state, NULL);
}
