/* SPDX-License-Identifier: BSD-3-Clause */
/* One thread that answers deferred hooks and pending faults when it is time. Owns the entries. */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "drivers/faulty/faulty.h"

#define NEVER UINT64_MAX

struct delay {
    struct list node;
    uint64_t due_ns;
    struct muse_request *request; /* one of the two */
    int error;
    struct muse_fault *fault;
    void (*done)(struct muse_fault *fault);
};

static uint64_t now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Locked. NULL: none. */
static struct delay *first_due(struct delays *delays)
{
    struct delay *first = NULL;
    struct list *pos;

    list_for_each(pos, &delays->entries) {
        struct delay *delay = LIST_ENTRY(pos, struct delay, node);

        if (delay->due_ns != NEVER && (!first || delay->due_ns < first->due_ns))
            first = delay;
    }
    return first;
}

static void fire(struct delay *delay)
{
    if (delay->request) {
        muse_reply(delay->request, delay->error);
    } else {
        delay->done(delay->fault);
    }
    free(delay);
}

/* Locked. */
static void wait_until(struct delays *delays, const struct delay *delay)
{
    const struct timespec due = {.tv_sec = (time_t)(delay->due_ns / 1000000000u),
                                 .tv_nsec = (long)(delay->due_ns % 1000000000u)};

    (void)pthread_cond_timedwait(&delays->changed, &delays->lock, &due); /* looked at again */
}

static void *delays_main(void *argument)
{
    struct delays *delays = argument;

    (void)pthread_mutex_lock(&delays->lock);
    while (!delays->stopping) {
        struct delay *delay = first_due(delays);

        if (!delay) {
            (void)pthread_cond_wait(&delays->changed, &delays->lock);
        } else if (delay->due_ns > now_ns()) {
            wait_until(delays, delay);
        } else {
            list_del(&delay->node);
            (void)pthread_mutex_unlock(&delays->lock);
            fire(delay);
            (void)pthread_mutex_lock(&delays->lock);
        }
    }
    (void)pthread_mutex_unlock(&delays->lock);
    return NULL;
}

int delays_start(struct delays *delays)
{
    pthread_condattr_t attr;
    int r;

    list_init(&delays->entries);
    (void)pthread_mutex_init(&delays->lock, NULL); /* cannot fail on Linux with these attributes */
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&delays->changed, &attr);
    (void)pthread_condattr_destroy(&attr);
    r = pthread_create(&delays->thread, NULL, delays_main, delays);
    delays->running = r == 0;
    return -r;
}

void delays_stop(struct delays *delays)
{
    struct list *node;

    (void)pthread_mutex_lock(&delays->lock);
    delays->stopping = true;
    (void)pthread_cond_broadcast(&delays->changed);
    (void)pthread_mutex_unlock(&delays->lock);
    if (delays->running)
        (void)pthread_join(delays->thread, NULL);
    while ((node = list_take_first(&delays->entries)) != NULL)
        free(LIST_ENTRY(node, struct delay, node));
    (void)pthread_cond_destroy(&delays->changed);
    (void)pthread_mutex_destroy(&delays->lock);
}

/* Out of memory it is never. */
static void add(struct delays *delays, uint64_t ms, const struct delay *what)
{
    struct delay *delay = calloc(1, sizeof(*delay));

    if (!delay)
        return;
    *delay = *what;
    delay->due_ns = ms == NEVER ? NEVER : now_ns() + ms * 1000000u;
    list_init(&delay->node);
    (void)pthread_mutex_lock(&delays->lock);
    list_add_tail(&delays->entries, &delay->node);
    (void)pthread_cond_broadcast(&delays->changed);
    (void)pthread_mutex_unlock(&delays->lock);
}

void delay_reply(struct delays *delays, uint64_t ms, int error)
{
    const struct delay delay = {.request = muse_request_defer(), .error = error};

    if (delay.request)
        add(delays, ms, &delay);
}

void delay_fault(struct delays *delays, uint64_t ms, struct muse_fault *fault,
                 void (*done)(struct muse_fault *fault))
{
    const struct delay delay = {.fault = fault, .done = done};

    add(delays, ms, &delay);
}
