/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One worker at a time, which the server's thread waits for. It is replaced when it is stuck; those
 * that are stuck are joined when the lock that they wait for is free.
 *
 * Late is who sleeps in the kernel uninterruptibly after GUARD_MS, or less while others are stuck: that the
 * machine is busy is nobody's fault. Everything the worker needs is its own then: when it wakes, the server may long have other things
 * in its buffers.
 */
#include "server/store/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define GUARD_MS       1000u /* chosen: far above what a change of 2 MiB takes */
#define GUARD_LEAST_MS 20u   /* chosen: when several are stuck already, the same, but not by far */
#define SPIN_NS        50000 /* chosen: changes come in twos, and waking somebody costs as much */

enum guard_state { GUARD_IDLE, GUARD_ASKED, GUARD_ANSWERED, GUARD_QUIT };

struct guard_worker {
    struct list node; /* in guard.stuck */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    _Atomic int state; /* enum guard_state; changes with the lock held, is looked at without */
    struct guard_change change;
    uint8_t *bytes; /* owned: a copy of the change's data */
    size_t n_room;  /* of it */
    int result;
    pid_t tid; /* 0: has not run yet */
    atomic_bool is_given_up;
};

/* ---- changes ---- */

/* One system call. Return: how much of length is done; -errno. */
static int64_t change_some(const struct guard_change *change)
{
    ssize_t n;

    switch (change->kind) {
    case GUARD_ALLOCATE:
        n = fallocate(change->fd, change->mode, (off_t)change->offset, (off_t)change->length);
        break;
    case GUARD_TRUNCATE:
        n = ftruncate(change->fd, (off_t)change->length);
        break;
    case GUARD_WRITE:
    default:
        n = pwrite(change->fd, change->data, change->length, (off_t)change->offset);
        return n < 0 ? -errno : n;
    }
    return n < 0 ? -errno : (int64_t)change->length;
}

/* @is_given_up: NULL, or: nobody wants the rest any more. */
static int change_all(struct guard_change change, const atomic_bool *is_given_up)
{
    const uint64_t end = change.offset + change.length;

    for (;;) {
        const int64_t n = change_some(&change);

        if (n < 0 && n != -EINTR)
            return (int)n;
        if (n > 0)
            change.offset += (uint64_t)n;
        if (n >= 0 && (change.kind != GUARD_WRITE || change.offset == end))
            return 0;
        if (is_given_up && atomic_load(is_given_up))
            return -ECANCELED;
        if (change.kind == GUARD_WRITE) {
            change.data = (const uint8_t *)change.data + (n > 0 ? n : 0);
            change.length = end - change.offset;
        }
    }
}

int guard_direct(const struct guard_change *change)
{
    return change_all(*change, NULL);
}

/* ---- the worker ---- */

static uint64_t now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Until the worker leaves a state, but not for long. */
static void spin(struct guard_worker *worker, int state)
{
    const uint64_t until = now_ns() + SPIN_NS;

    while (atomic_load(&worker->state) == state && now_ns() < until)
        ;
}

static void *work(void *ctx)
{
    struct guard_worker *worker = ctx;

    (void)pthread_mutex_lock(&worker->lock);
    worker->tid = gettid();
    while (worker->state != GUARD_QUIT) {
        int r;

        if (worker->state != GUARD_ASKED) {
            (void)pthread_cond_wait(&worker->changed, &worker->lock);
            continue;
        }
        (void)pthread_mutex_unlock(&worker->lock);
        r = change_all(worker->change, &worker->is_given_up);
        (void)pthread_mutex_lock(&worker->lock);
        worker->result = r;
        worker->state = GUARD_ANSWERED;
        if (atomic_load(&worker->is_given_up)) {
            (void)close(worker->change.fd);
            worker->state = GUARD_QUIT;
        }
        (void)pthread_cond_signal(&worker->changed);
        (void)pthread_mutex_unlock(&worker->lock);
        spin(worker, GUARD_ANSWERED);
        spin(worker, GUARD_IDLE);
        (void)pthread_mutex_lock(&worker->lock);
    }
    (void)pthread_mutex_unlock(&worker->lock);
    return NULL;
}

static void worker_free(struct guard_worker *worker)
{
    (void)pthread_cond_destroy(&worker->changed);
    (void)pthread_mutex_destroy(&worker->lock);
    free(worker->bytes);
    free(worker);
}

/* No signal of the server's is for it. */
static int start_thread(struct guard_worker *worker)
{
    sigset_t all, before;
    int r;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    r = pthread_create(&worker->thread, NULL, work, worker);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -r;
}

static int worker_new(struct guard_worker **ret)
{
    struct guard_worker *worker = calloc(1, sizeof(*worker));
    pthread_condattr_t attributes;
    int r;

    if (!worker)
        return -ENOMEM;
    list_init(&worker->node);
    (void)pthread_mutex_init(&worker->lock, NULL);
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&worker->changed, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    r = start_thread(worker);
    if (r < 0) {
        worker_free(worker);
        return r;
    }
    *ret = worker;
    return 0;
}

static int copy_data(struct guard_worker *worker, const struct guard_change *change)
{
    if (change->kind != GUARD_WRITE)
        return 0;
    if (worker->n_room < change->length) {
        uint8_t *bytes = realloc(worker->bytes, change->length);

        if (!bytes)
            return -ENOMEM;
        worker->bytes = bytes;
        worker->n_room = change->length;
    }
    memcpy(worker->bytes, change->data, change->length);
    worker->change.data = worker->bytes;
    return 0;
}

/* ---- the server's side ---- */

void guard_init(struct guard *guard)
{
    *guard = (struct guard){.worker = NULL};
    list_init(&guard->stuck);
}

static void quit(struct guard_worker *worker)
{
    (void)pthread_mutex_lock(&worker->lock);
    worker->state = GUARD_QUIT;
    (void)pthread_cond_signal(&worker->changed);
    (void)pthread_mutex_unlock(&worker->lock);
    (void)pthread_join(worker->thread, NULL);
    worker_free(worker);
}

/* Those whose lock has come free. */
static void join_stuck(struct guard *guard)
{
    struct list *node, *next;

    list_for_each_safe(node, next, &guard->stuck) {
        struct guard_worker *worker = CONTAINER_OF(node, struct guard_worker, node);
        enum guard_state state;

        (void)pthread_mutex_lock(&worker->lock);
        state = worker->state;
        (void)pthread_mutex_unlock(&worker->lock);
        if (state != GUARD_QUIT)
            continue;
        (void)pthread_join(worker->thread, NULL);
        list_del(&worker->node);
        guard->n_stuck--;
        worker_free(worker);
    }
}

void guard_done(struct guard *guard)
{
    join_stuck(guard);
    if (guard->worker)
        quit(guard->worker);
    guard->worker = NULL;
}

bool guard_has_room(struct guard *guard)
{
    if (guard->n_stuck > 0)
        join_stuck(guard);
    return guard->n_stuck < GUARD_STUCK_MAX;
}

/* Source: proc(5), /proc/pid/stat: the state stands behind the name, which may contain anything. */
static bool sleeps_in_kernel(pid_t tid)
{
    char path[64], text[512] = "";
    const char *name_end;
    FILE *file;

    (void)snprintf(path, sizeof(path), "/proc/self/task/%d/stat", (int)tid);
    file = fopen(path, "re");
    if (!file)
        return false;
    (void)!fgets(text, sizeof(text), file);
    (void)fclose(file);
    name_end = strrchr(text, ')');
    return name_end && strncmp(name_end, ") D", 3) == 0;
}

static struct timespec later(unsigned ms)
{
    const uint64_t when_ns = now_ns() + ms * UINT64_C(1000000);

    return (struct timespec){.tv_sec = (time_t)(when_ns / 1000000000),
                             .tv_nsec = (long)(when_ns % 1000000000)};
}

/* Half as long for each that is stuck already: who has many page caches has to wait, not we for all of them. */
static unsigned patience_ms(const struct guard *guard)
{
    const unsigned ms = guard->n_stuck < 32 ? GUARD_MS >> guard->n_stuck : 0;

    return ms > GUARD_LEAST_MS ? ms : GUARD_LEAST_MS;
}

/* The lock is held. Return: whether there is an answer. */
static bool wait_for_answer(struct guard_worker *worker, unsigned ms)
{
    struct timespec until = later(ms);

    while (worker->state == GUARD_ASKED) {
        if (pthread_cond_timedwait(&worker->changed, &worker->lock, &until) != ETIMEDOUT ||
            worker->state != GUARD_ASKED)
            continue;
        if (worker->tid != 0 && sleeps_in_kernel(worker->tid)) {
            atomic_store(&worker->is_given_up, true);
            return false;
        }
        until = later(ms);
    }
    return true;
}

/* Return: whether it was answered in time. */
static bool ask(struct guard_worker *worker, unsigned ms)
{
    bool is_answered;

    (void)pthread_mutex_lock(&worker->lock);
    worker->state = GUARD_ASKED;
    (void)pthread_cond_signal(&worker->changed);
    (void)pthread_mutex_unlock(&worker->lock);
    spin(worker, GUARD_ASKED);
    (void)pthread_mutex_lock(&worker->lock);
    is_answered = wait_for_answer(worker, ms);
    if (is_answered)
        worker->state = GUARD_IDLE;
    (void)pthread_mutex_unlock(&worker->lock);
    return is_answered;
}

int guard_run(struct guard *guard, const struct guard_change *change)
{
    struct guard_worker *worker;
    int r = guard->worker ? 0 : worker_new(&guard->worker);

    if (r < 0)
        return r;
    worker = guard->worker;
    worker->change = *change;
    r = copy_data(worker, change);
    if (r < 0)
        return r;
    if (ask(worker, patience_ms(guard)))
        return worker->result;
    join_stuck(guard);
    guard->worker = NULL;
    list_add(&guard->stuck, &worker->node);
    guard->n_stuck++;
    return -ETIMEDOUT;
}
