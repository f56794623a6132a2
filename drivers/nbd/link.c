/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The thread and its connection; see link.h. It sleeps in poll(2) on an eventfd, which new jobs write
 * to, and on the connection's socket. All but the queue is its own.
 *
 *   READY --lost, stuck--> wait --> CONNECTING --ready--> READY
 *                           ^           |
 *                           +--failed---+       (the wait doubles)
 */
#include "drivers/nbd/link.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "common/base/backoff.h"
#include "common/base/own.h"
#include "drivers/nbd/work.h"

#define RETRY_FIRST_NS UINT64_C(20000000)   /* chosen: a server that is restarted is back at once */
#define RETRY_MAX_NS   UINT64_C(1000000000) /* chosen: well below a hook's deadline */

struct link {
    pthread_t thread;
    int wake_fd; /* owned; eventfd */
    atomic_bool stop;
    pthread_mutex_t lock; /* of the queue */
    struct list queue;
    struct export_info info;
    struct peer peer;
    struct work work;
    struct backoff backoff;
    uint64_t retry_ns;   /* closed: when to connect again */
    uint64_t connect_ns; /* connecting: when it has begun */
    uint64_t patience_ns;
};

static uint64_t now(void)
{
    struct timespec time;

    (void)clock_gettime(CLOCK_MONOTONIC, &time); /* cannot fail for this clock */
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void complain(const struct link *link, const char *what)
{
    (void)fprintf(stderr, "muse-nbd: %s: %s: %s\n", link->info.name, what, link->peer.why);
}

/* ---- the queue ---- */

static void wake(struct link *link)
{
    const uint64_t one = 1;

    (void)!write(link->wake_fd, &one, sizeof(one)); /* EAGAIN: it is awake in any case */
}

static void put_job(struct link *link, struct job *job)
{
    bool was_empty;

    (void)pthread_mutex_lock(&link->lock);
    was_empty = list_is_empty(&link->queue);
    list_add_tail(&link->queue, &job->node);
    (void)pthread_mutex_unlock(&link->lock);
    if (was_empty)
        wake(link);
}

static void take_jobs(struct link *link, uint64_t now_ns)
{
    struct list *node;

    (void)pthread_mutex_lock(&link->lock);
    while ((node = list_take_first(&link->queue)) != NULL)
        work_add(&link->work, LIST_ENTRY(node, struct job, node), now_ns);
    (void)pthread_mutex_unlock(&link->lock);
}

int link_read(struct link *link, struct muse_fault *fault)
{
    struct job *job = job_new_read(fault, &link->info.blocks);

    if (!job)
        return -ENOMEM;
    put_job(link, job);
    return 0;
}

void link_write(struct link *link, const struct muse_writeback *writeback,
                struct muse_request *request)
{
    struct job *job = job_new_write(writeback, request, &link->info.blocks);

    if (job)
        put_job(link, job);
    else
        muse_reply(request, -ENOMEM);
}

void link_flush(struct link *link, struct muse_request *request)
{
    struct job *job = job_new_flush(request);

    if (job)
        put_job(link, job);
    else
        muse_reply(request, -ENOMEM);
}

const struct export_info *link_info(const struct link *link)
{
    return &link->info;
}

/* ---- the connection ---- */

static void lost(struct link *link, uint64_t now_ns)
{
    peer_close(&link->peer);
    work_lost(&link->work);
    if (link->backoff.delay_ns == 0) /* said once, not with every try */
        complain(link, "connection lost");
    link->retry_ns = backoff_failed(&link->backoff, now_ns);
}

static void connect_again(struct link *link, uint64_t now_ns)
{
    link->connect_ns = now_ns;
    if (peer_connect(&link->peer) < 0)
        link->retry_ns = backoff_failed(&link->backoff, now_ns);
}

static void say_lost(struct link *link, const char *why, uint64_t now_ns)
{
    (void)snprintf(link->peer.why, sizeof(link->peer.why), "%s", why);
    lost(link, now_ns);
}

/* Everything that time alone brings. */
static void check_time(struct link *link, uint64_t now_ns)
{
    struct peer *peer = &link->peer;

    if (peer->is_ready && work_is_stuck(&link->work, now_ns))
        say_lost(link, "the server does not answer", now_ns);
    else if (peer->handle && !peer->is_ready && now_ns >= link->connect_ns + link->patience_ns)
        say_lost(link, "no answer to a connection", now_ns);
    else if (!peer->handle && now_ns >= link->retry_ns)
        connect_again(link, now_ns);
    work_expire(&link->work, now_ns, peer->is_ready ? "" : peer->why);
}

static void go_on(struct link *link, short revents, uint64_t now_ns)
{
    struct peer *peer = &link->peer;
    const bool was_ready = peer->is_ready;
    int r = 0;

    if (!peer->handle)
        return;
    r = revents ? peer_notify(peer, revents, &link->info) : peer_check(peer, &link->info);
    if (r == 0 && peer->is_ready && !was_ready) {
        (void)fprintf(stderr, "muse-nbd: %s: connected again\n", link->info.name);
        backoff_worked(&link->backoff);
    }
    if (r == 0 && peer->is_ready) {
        r = work_go_on(&link->work, peer->handle, now_ns);
        if (r == -ESHUTDOWN)
            (void)snprintf(peer->why, sizeof(peer->why), "the server is shutting down");
        if (r == 0)
            r = peer_check(peer, &link->info);
    }
    if (r < 0)
        lost(link, now_ns);
}

static int poll_ms(const struct link *link, uint64_t now_ns)
{
    uint64_t next_ns = work_next_ns(&link->work);
    uint64_t own_ns = UINT64_MAX;

    if (!link->peer.handle)
        own_ns = link->retry_ns;
    else if (!link->peer.is_ready)
        own_ns = link->connect_ns + link->patience_ns;
    if (own_ns < next_ns)
        next_ns = own_ns;
    if (next_ns == UINT64_MAX)
        return -1;
    return next_ns <= now_ns ? 0 : (int)((next_ns - now_ns) / 1000000u) + 1;
}

static void *run(void *arg)
{
    struct link *link = arg;

    while (!atomic_load(&link->stop)) {
        struct pollfd fds[2] = {{.fd = link->wake_fd, .events = POLLIN}};
        uint64_t count, now_ns = now();

        fds[1].events = peer_events(&link->peer, &fds[1].fd);
        (void)poll(fds, 2, poll_ms(link, now_ns)); /* EINTR: once more */
        if (fds[0].revents)
            (void)!read(link->wake_fd, &count, sizeof(count)); /* only there to be emptied */
        now_ns = now();
        take_jobs(link, now_ns);
        go_on(link, fds[1].revents, now_ns);
        check_time(link, now_ns);
    }
    return NULL;
}

/* ---- start and end ---- */

static void release(struct link *link)
{
    peer_close(&link->peer);
    fd_close_p(&link->wake_fd);
    (void)pthread_mutex_destroy(&link->lock);
    free(link);
}

int link_start(struct link **ret_link, const char *uri, uint64_t patience_ns)
{
    struct link *link = calloc(1, sizeof(*link));
    int r;

    if (!link)
        return -ENOMEM;
    *link = (struct link){
        .wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
        .patience_ns = patience_ns,
        .backoff = {.first_ns = RETRY_FIRST_NS, .max_ns = RETRY_MAX_NS},
    };
    r = link->wake_fd < 0 ? -errno : 0;
    (void)pthread_mutex_init(&link->lock, NULL); /* cannot fail with default attributes */
    list_init(&link->queue);
    if (r == 0) {
        r = peer_open(&link->peer, uri, &link->info);
        if (r < 0)
            muse_set_error("%s: %s", uri, link->peer.why);
    }
    if (r == 0)
        r = work_init(&link->work, &link->info, patience_ns);
    if (r == 0) {
        r = -pthread_create(&link->thread, NULL, run, link);
        if (r < 0)
            work_done(&link->work);
    }
    if (r < 0) {
        release(link);
        return r;
    }
    *ret_link = link;
    return 0;
}

struct link *link_stop(struct link *link)
{
    if (!link)
        return NULL;
    atomic_store(&link->stop, true);
    wake(link);
    (void)pthread_join(link->thread, NULL);
    take_jobs(link, now());
    peer_close(&link->peer);
    work_done(&link->work);
    release(link);
    return NULL;
}
