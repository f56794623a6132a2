/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fork(3) of a process that has handles.
 *
 * Mappings are MADV_DONTFORK: a child would have them without userfaultfd, and read zeros where a
 * page is absent. So a child made by a bare clone(2) meets SIGSEGV. Around fork(3) glibc calls the
 * handlers of this file:
 *
 *   prepare   signals and connecting stop, calls of other threads end, new ones wait. For each
 *             handle FORK_BEGIN: the server copies the space for whoever knows the token, and says
 *             what is inherited; exactly these ranges become MADV_DOFORK.
 *   parent    MADV_DONTFORK again, FORK_END, the others go on. Also when fork(2) failed: the
 *             server's copy then ends by itself.
 *   child     the inherited ranges have no userfaultfd yet, and nothing touches them until they
 *             have: a connection of its own, a userfaultfd of its own, FORK_ATTACH with the token;
 *             when that is answered, every mapping is registered. Where it fails, PROT_NONE is
 *             mapped over them, and the handle is a copy (ENOTCONN) that knows why.
 *
 * Registered when the library is loaded, not when a handle is made: handlers that the program
 * registers later run after ours in the child, and before ours in prepare, so they may use
 * mappings and make calls. A thread that calls clone(2) itself while another one is in fork(3) can
 * see the ranges that are inheritable at that moment.
 *
 * Owns the list of handles, the only state of the library that all handles share: fork(3) tells
 * nobody which of them it is about.
 */
#define _GNU_SOURCE
#include "client-lib/fork.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "client-lib/call.h"
#include "client-lib/dial.h"
#include "client-lib/error.h"
#include "client-lib/handle.h"
#include "client-lib/memops.h"
#include "client-lib/uffd.h"
#include "common/base/own.h"
#include "proto/client.pb-c.h"

/* Chosen: connecting takes at most ten seconds, so after these it is this thread itself that is
 * connecting, and forks in a signal handler. */
#define CONNECTS_TIMEOUT_S 15

/* Readers connect or disconnect, the writer forks. */
static pthread_rwlock_t busy = PTHREAD_RWLOCK_INITIALIZER;
static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER; /* for readers */
static struct list handles = LIST_INIT(handles);

/* From prepare to parent or child, which run in the same thread. */
static _Thread_local struct {
    bool has_lock;
    int cancel_state;
    int error; /* errno */
    sigset_t mask;
    char text[ERROR_TEXT_BYTES_MAX]; /* the sentence of the call before */
} forking;

void fork_wait(void)
{
    (void)pthread_rwlock_rdlock(&busy);
}

void fork_go_on(void)
{
    (void)pthread_rwlock_unlock(&busy);
}

void fork_enlist(struct muse *muse)
{
    (void)pthread_mutex_lock(&list_lock);
    list_add_tail(&handles, &muse->fork.node);
    (void)pthread_mutex_unlock(&list_lock);
}

void fork_delist(struct muse *muse)
{
    (void)pthread_mutex_lock(&list_lock);
    list_del(&muse->fork.node);
    (void)pthread_mutex_unlock(&list_lock);
}

static void forget_ranges(struct fork *fork)
{
    free(fork->kept.ranges);
    free(fork->dropped.ranges);
    fork->kept = fork->dropped = (struct fork_ranges){0};
}

void fork_done(struct fork *fork)
{
    forget_ranges(fork);
}

static struct muse *handle_of(struct list *pos)
{
    return CONTAINER_OF(pos, struct muse, fork.node);
}

/* ---- ranges ---- */

static int add_range(struct fork_ranges *ranges, struct range range)
{
    if (ranges->n == ranges->n_allocated) {
        const size_t n = ranges->n_allocated ? 2 * ranges->n_allocated : 64;
        struct range *grown = realloc(ranges->ranges, n * sizeof(*grown));

        if (!grown)
            return -ENOMEM;
        ranges->ranges = grown;
        ranges->n_allocated = n;
    }
    ranges->ranges[ranges->n++] = range;
    return 0;
}

/* The end of the part of ours that @at lies in: the arena, or what is mapped outside of it; 0: it
 * is not ours. */
static uint64_t own_end(const struct muse *muse, uint64_t at)
{
    if (range_contains(muse->arena, at))
        return muse->arena.end;
    for (size_t i = 0; i < muse->outside.n_ranges; i++) {
        if (range_contains(muse->outside.ranges[i], at))
            return muse->outside.ranges[i].end;
    }
    return 0;
}

/* Whether the server may speak of this range at all. */
static bool is_own(const struct muse *muse, struct range range)
{
    uint64_t at = range.start;

    if (range.start >= range.end || !range_is_aligned(range, PAGE_BYTES))
        return false;
    while (at != 0 && at < range.end)
        at = own_end(muse, at);
    return at != 0;
}

static int add_ranges(const struct muse *muse, struct fork_ranges *ranges, const uint64_t *numbers,
                      size_t n)
{
    if (n % 2 != 0)
        return -EPROTO;
    for (size_t i = 0; i < n; i += 2) {
        const struct range range = {numbers[i], numbers[i + 1]};
        int r = is_own(muse, range) ? add_range(ranges, range) : -EPROTO;

        if (r < 0)
            return r;
    }
    return 0;
}

static int take_ranges(struct muse *muse, const Muse__Wire__ForkRanges *message)
{
    int r = add_ranges(muse, &muse->fork.kept, message->kept, message->n_kept);

    return r < 0 ? r : add_ranges(muse, &muse->fork.dropped, message->dropped, message->n_dropped);
}

/* ---- what is said to the server ---- */

/* The next page of ranges, from *next on. @next: where the one after begins; 0: there is none */
static int ask_ranges(struct muse *muse, uint64_t *next)
{
    Muse__Wire__ForkFrom message = MUSE__WIRE__FORK_FROM__INIT;
    const struct question question = {.type = FRAME_FORK_RANGES,
                                      .message = &message.base,
                                      .fd = -1,
                                      .answer = FRAME_FORK_RANGES_ARE};
    CLEAN(mail_free_p) struct mail *answer = NULL;
    Muse__Wire__ForkRanges *ranges;
    int r;

    message.next = *next;
    r = call_ask(muse, &question, &answer);
    if (r < 0)
        return r;
    ranges = muse__wire__fork_ranges__unpack(NULL, answer->n_payload, answer->payload);
    r = ranges ? take_ranges(muse, ranges) : -EPROTO;
    if (r == 0 && ranges->next != 0 && ranges->next <= *next)
        r = -EPROTO; /* that would never end */
    *next = r == 0 ? ranges->next : 0;
    muse__wire__fork_ranges__free_unpacked(ranges, NULL);
    return r;
}

static int take_begun(struct muse *muse, const Muse__Wire__ForkBegun *begun, uint64_t *ret_next)
{
    if (!begun || begun->token.len != FORK_TOKEN_BYTES)
        return -EPROTO;
    memcpy(muse->fork.token, begun->token.data, FORK_TOKEN_BYTES);
    muse->fork.has_begun = true;
    *ret_next = begun->ranges->next;
    return take_ranges(muse, begun->ranges);
}

static int ask_begin(struct muse *muse)
{
    const struct question question = {
        .type = FRAME_FORK_BEGIN, .fd = -1, .answer = FRAME_FORK_BEGUN};
    CLEAN(mail_free_p) struct mail *answer = NULL;
    Muse__Wire__ForkBegun *begun;
    uint64_t next = 0;
    int r = call_ask(muse, &question, &answer);

    if (r < 0)
        return r;
    begun = muse__wire__fork_begun__unpack(NULL, answer->n_payload, answer->payload);
    r = take_begun(muse, begun, &next);
    muse__wire__fork_begun__free_unpacked(begun, NULL);
    while (r == 0 && next != 0)
        r = ask_ranges(muse, &next);
    if (r == -EPROTO)
        call_garbled(muse);
    return r;
}

static void say_end(struct muse *muse, bool keep)
{
    Muse__Wire__ForkEnd message = MUSE__WIRE__FORK_END__INIT;
    const struct question question = {
        .type = FRAME_FORK_END, .message = &message.base, .fd = -1, .answer = FRAME_DONE};

    message.keep = keep;
    (void)!call_ask(muse, &question, NULL); /* the server's deadline says the same */
}

static int ask_attach(struct muse *muse, bool is_user_mode_only, const struct fork_ranges *taken)
{
    Muse__Wire__ForkAttach message = MUSE__WIRE__FORK_ATTACH__INIT;
    const struct question question = {.type = FRAME_FORK_ATTACH,
                                      .message = &message.base,
                                      .fd = muse->uffd,
                                      .answer = FRAME_ATTACHED};
    CLEAN(mail_free_p) struct mail *answer = NULL;
    uint64_t numbers[2 * FORK_RANGES_MAX];
    int r;

    if (taken->n > FORK_RANGES_MAX)
        return -E2BIG;
    for (size_t i = 0; i < taken->n; i++) {
        numbers[2 * i] = taken->ranges[i].start;
        numbers[2 * i + 1] = taken->ranges[i].end;
    }
    message.token =
        (ProtobufCBinaryData){.len = sizeof(muse->fork.token), .data = muse->fork.token};
    message.user_mode_only = is_user_mode_only;
    message.n_taken = 2 * taken->n;
    message.taken = numbers;
    r = call_ask(muse, &question, &answer);
    return r < 0 ? r : handle_take_count(muse, answer);
}

/* ---- prepare ---- */

/* Return: 0; -errno of the first range that cannot be changed. */
static int advise_kept(const struct muse *muse, int advice)
{
    int r = 0;

    for (size_t i = 0; i < muse->fork.kept.n && r == 0; i++) {
        const struct range range = muse->fork.kept.ranges[i];

        if (madvise(address_pointer(range.start), range_len(range), advice) < 0)
            r = -errno;
    }
    return r;
}

/* As advise_kept(), and goes on after a failure: undoing needs no memory where doing succeeded. */
static void keep_all_from_children(const struct muse *muse)
{
    for (size_t i = 0; i < muse->fork.kept.n; i++)
        (void)!memops_keep_from_children(muse->fork.kept.ranges[i]);
}

static void say_why(struct muse *muse, int error)
{
    char buf[128];
    const char *text = muse_last_error_text();

    (void)snprintf(muse->fork.why, sizeof(muse->fork.why),
                   "this process is a forked child that could not take its mappings over: %s",
                   text[0] != '\0' ? text : strerror_r(-error, buf, sizeof(buf)));
    error_say("%s", muse->fork.why);
}

static int begin(struct muse *muse)
{
    int r = requests_pause(&muse->requests);

    if (r < 0)
        return r;
    muse->fork.is_paused = true;
    r = ask_begin(muse);
    if (r == 0)
        r = advise_kept(muse, MADV_DOFORK);
    if (r < 0 && muse->fork.has_begun) {
        keep_all_from_children(muse);
        say_end(muse, false);
        muse->fork.has_begun = false;
    }
    return r;
}

static void prepare_handle(struct muse *muse)
{
    int r;

    muse->fork.has_begun = muse->fork.is_paused = false;
    if (handle_is_copy(muse))
        return;
    error_clear();
    r = begin(muse);
    if (r < 0)
        say_why(muse, r);
}

/* All but those that this thread itself could cause, and no cancellation: a handler that runs in
 * the child before us would see mappings without userfaultfd. */
static void stop_interruptions(void)
{
    static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT};
    sigset_t all;

    (void)sigfillset(&all);
    for (size_t i = 0; i < N_ELEMENTS(own); i++)
        (void)sigdelset(&all, own[i]);
    (void)pthread_sigmask(SIG_BLOCK, &all, &forking.mask);
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &forking.cancel_state);
}

static void allow_interruptions(void)
{
    (void)pthread_setcancelstate(forking.cancel_state, NULL);
    (void)pthread_sigmask(SIG_SETMASK, &forking.mask, NULL);
}

static bool stop_connects(void)
{
    struct timespec until;

    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += CONNECTS_TIMEOUT_S;
    return pthread_rwlock_timedwrlock(&busy, &until) == 0;
}

/* A copy's lock may be held for ever, by a thread of another process. */
static void lock(struct muse *muse)
{
    muse->fork.is_locked = !handle_is_copy(muse);
    if (muse->fork.is_locked)
        (void)pthread_mutex_lock(&muse->lock);
}

static void unlock(struct muse *muse)
{
    if (muse->fork.is_locked)
        (void)pthread_mutex_unlock(&muse->lock);
}

static void prepare(void)
{
    struct list *pos;

    forking.error = errno;
    (void)snprintf(forking.text, sizeof(forking.text), "%s", muse_last_error_text());
    stop_interruptions();
    forking.has_lock = stop_connects();
    if (forking.has_lock) {
        list_for_each(pos, &handles)
            prepare_handle(handle_of(pos));
        list_for_each(pos, &handles)
            lock(handle_of(pos));
    }
    errno = forking.error;
}

/* ---- parent ---- */

static void go_on_handle(struct muse *muse)
{
    unlock(muse);
    if (muse->fork.has_begun) {
        keep_all_from_children(muse);
        say_end(muse, true);
    }
    if (muse->fork.is_paused)
        requests_resume(&muse->requests);
    forget_ranges(&muse->fork);
    if (!handle_is_copy(muse))
        muse->fork.why[0] = '\0';
}

static void parent(void)
{
    const int error = errno; /* fork(2)'s */
    struct list *pos;

    if (forking.has_lock) {
        list_for_each(pos, &handles)
            go_on_handle(handle_of(pos));
        (void)pthread_rwlock_unlock(&busy);
        error_say("%s", forking.text);
    }
    allow_interruptions();
    errno = error;
}

/* ---- child ---- */

/* Addresses that were mapped in the parent and are not here; @taken: something stands there by now.
 */
static int reserve_dropped(const struct muse *muse, struct fork_ranges *taken)
{
    for (size_t i = 0; i < muse->fork.dropped.n; i++) {
        const struct range range = range_intersect(muse->fork.dropped.ranges[i], muse->arena);
        int r = 0;

        if (!range_is_empty(range))
            r = memops_reserve(range, MAP_FIXED_NOREPLACE);
        if (r == -EEXIST)
            r = add_range(taken, range);
        if (r < 0)
            return r;
    }
    return 0;
}

static int forget_outside(struct muse *muse)
{
    for (size_t i = 0; i < muse->fork.dropped.n; i++) {
        int r = outside_promise(&muse->outside);

        if (r < 0)
            return r;
        outside_remove(&muse->outside, muse->fork.dropped.ranges[i]);
    }
    return 0;
}

/* Connection and userfaultfd are the parent's until now; its own are made here. */
static int connect_again(struct muse *muse, const struct fork_ranges *taken)
{
    CLEAN(fd_close_p) int device_fd = -1;
    Muse__Wire__ClientWelcome *welcome = NULL;
    bool is_user_mode_only = false;
    int r;

    requests_done(&muse->requests, true);
    fd_close_p(&muse->uffd);
    r = dial(muse, &welcome, &device_fd);
    if (r < 0)
        return r;
    r = uffd_create(device_fd, welcome->uffd_features, &muse->uffd, &is_user_mode_only);
    muse->uffd = handle_place_fd(muse, muse->uffd);
    muse__wire__client_welcome__free_unpacked(welcome, NULL);
    if (r == 0)
        r = ask_attach(muse, is_user_mode_only, taken);
    return r < 0 ? r : dial_done(muse);
}

static int take_over(struct muse *muse)
{
    struct fork_ranges taken = {0};
    int r = reserve_dropped(muse, &taken);

    if (r == 0)
        r = forget_outside(muse);
    if (r == 0)
        r = connect_again(muse, &taken);
    free(taken.ranges);
    if (r == 0)
        r = advise_kept(muse, MADV_DONTFORK);
    return r;
}

/* Never zeros: what was inherited and is not served must not be touched. */
static void take_away(const struct muse *muse)
{
    for (size_t i = 0; i < muse->fork.kept.n; i++) {
        const struct range range = muse->fork.kept.ranges[i];
        void *at = address_pointer(range.start);

        if (mmap(at, range_len(range), PROT_NONE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
            MUST(munmap(at, range_len(range)) == 0); /* whole mappings: needs no memory */
    }
}

static void in_child_handle(struct muse *muse)
{
    int r;

    unlock(muse);
    if (!muse->fork.has_begun)
        return; /* stays a copy: the mark is wiped */
    error_clear();
    r = take_over(muse);
    if (r < 0) {
        take_away(muse);
        requests_done(&muse->requests, true); /* with it the server's copy ends */
        fd_close_p(&muse->uffd);
        say_why(muse, r);
    } else {
        *(volatile unsigned char *)(uintptr_t)muse->mark = 1;
    }
    forget_ranges(&muse->fork);
}

static void child(void)
{
    const int error = errno;
    struct list *pos;

    if (forking.has_lock)
        (void)pthread_rwlock_unlock(&busy);
    (void)pthread_rwlock_init(&busy, NULL); /* threads that waited for it are not here */
    if (forking.has_lock) {
        list_for_each(pos, &handles)
            in_child_handle(handle_of(pos));
    } else {
        list_lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    }
    allow_interruptions();
    errno = error;
}

/* Out of memory: then no child ever inherits anything, and every handle there is a copy. */
__attribute__((constructor)) static void install(void)
{
    (void)pthread_atfork(prepare, parent, child);
}
