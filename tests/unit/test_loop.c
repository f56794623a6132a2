/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of server/loop/loop.h: deadlines, turn hooks and watchers on a real loop. Times are only
 * compared with the clock from one side: never early.
 */
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <check.h>

#include "common/base/own.h"
#include "server/loop/loop.h"
#include "tests/support/unit.h"

#define NS_PER_MS   UINT64_C(1000000)
#define N_DEADLINES 64U

static struct loop loop;
static uint64_t random_state;

static void setup(void)
{
    ck_assert_int_eq(loop_init(&loop), 0);
}

static void teardown(void)
{
    loop_done(&loop);
}

struct timed {
    struct deadline deadline;
    unsigned n_calls;
    bool was_early;
    uint64_t called_as;  /* the how-manieth call of all */
    unsigned n_left;     /* sets itself again this often, then stops the loop */
    struct timed *other; /* cleared when this is called */
};

static uint64_t n_calls_of_all;

static void on_timed(struct deadline *deadline)
{
    struct timed *timed = CONTAINER_OF(deadline, struct timed, deadline);

    timed->n_calls++;
    timed->was_early |= loop_now_ns() < deadline->at_ns;
    timed->called_as = n_calls_of_all++;
    if (timed->other)
        deadline_clear(&loop, &timed->other->deadline);
    if (timed->n_left > 0) {
        if (--timed->n_left == 0)
            loop_stop(&loop);
        deadline_set(&loop, deadline, deadline->at_ns);
    }
}

static void on_end(struct deadline *deadline)
{
    (void)deadline;
    loop_stop(&loop);
}

static void run_until(uint64_t at_ns)
{
    struct deadline end = {.fn = on_end};

    deadline_set(&loop, &end, at_ns);
    loop_run(&loop);
    ck_assert(!end.is_set);
}

START_TEST(deadlines_are_called_in_order_and_never_early)
{
    struct timed timed[N_DEADLINES] = {0};
    uint64_t start = loop_now_ns();
    unsigned i;
    unsigned j;

    random_state = unit_seed();
    for (i = 0; i < N_DEADLINES; i++) {
        timed[i].deadline.fn = on_timed;
        deadline_set(&loop, &timed[i].deadline,
                     start + unit_random(&random_state) % (20 * NS_PER_MS));
    }
    run_until(start + 20 * NS_PER_MS);
    for (i = 0; i < N_DEADLINES; i++) {
        ck_assert_uint_eq(timed[i].n_calls, 1);
        ck_assert(!timed[i].was_early);
        for (j = 0; j < N_DEADLINES; j++) {
            if (timed[i].deadline.at_ns < timed[j].deadline.at_ns)
                ck_assert_uint_lt(timed[i].called_as, timed[j].called_as);
        }
    }
}
END_TEST

START_TEST(a_cleared_deadline_is_not_called)
{
    struct timed first = {.deadline.fn = on_timed};
    struct timed second = {.deadline.fn = on_timed};
    uint64_t now = loop_now_ns();

    deadline_clear(&loop, &first.deadline); /* not set: a no-op */
    deadline_set(&loop, &first.deadline, now);
    deadline_set(&loop, &second.deadline, now + 1);
    first.other = &second;
    run_until(now + 3 * NS_PER_MS);
    ck_assert_uint_eq(first.n_calls, 1);
    ck_assert_uint_eq(second.n_calls, 0);
}
END_TEST

START_TEST(a_deadline_set_again_is_called_once_at_the_new_time)
{
    struct timed timed = {.deadline.fn = on_timed};
    uint64_t now = loop_now_ns();

    deadline_set(&loop, &timed.deadline, now);
    deadline_set(&loop, &timed.deadline, now + 4 * NS_PER_MS);
    run_until(now + 8 * NS_PER_MS);
    ck_assert_uint_eq(timed.n_calls, 1);
    ck_assert(!timed.was_early);
}
END_TEST

START_TEST(a_deadline_that_sets_itself_into_the_past_does_not_hold_the_loop)
{
    struct timed timed = {.deadline.fn = on_timed, .n_left = UINT32_MAX};
    uint64_t now = loop_now_ns();

    deadline_set(&loop, &timed.deadline, now);
    run_until(now + 1); /* it ends: the other one has its turn */
    ck_assert_uint_ge(timed.n_calls, 1);
    timed.n_left = 3;
    loop_run(&loop); /* and it is not forgotten either */
    ck_assert_uint_eq(timed.n_left, 0);
    deadline_clear(&loop, &timed.deadline);
}
END_TEST

START_TEST(a_deadline_at_the_end_of_time_is_never_called)
{
    struct timed timed = {.deadline.fn = on_timed};

    deadline_set(&loop, &timed.deadline, UINT64_MAX);
    run_until(loop_now_ns() + 2 * NS_PER_MS);
    ck_assert_uint_eq(timed.n_calls, 0);
    ck_assert(timed.deadline.is_set);
    deadline_clear(&loop, &timed.deadline);
}
END_TEST

#define N_HOOKS 4U

struct hooked {
    struct turn_hook hook;
    unsigned id;
    unsigned n_calls;
    unsigned n_again;       /* asks for another pass this often, then stops the loop */
    struct hooked *removes; /* when called */
    struct hooked *adds;    /* when called, once */
};

static unsigned hook_order[64];
static unsigned n_hook_calls;

static void on_hook(struct turn_hook *hook)
{
    struct hooked *hooked = CONTAINER_OF(hook, struct hooked, hook);

    hooked->n_calls++;
    if (n_hook_calls < N_ELEMENTS(hook_order))
        hook_order[n_hook_calls++] = hooked->id;
    if (hooked->removes)
        turn_hook_remove(&hooked->removes->hook);
    if (hooked->adds)
        turn_hook_add(&loop, &TAKE(hooked->adds)->hook);
    if (hooked->n_again > 0) {
        if (--hooked->n_again == 0)
            loop_stop(&loop);
        loop_again(&loop);
    }
}

static void hooks_init(struct hooked *hooked)
{
    unsigned i;

    n_hook_calls = 0;
    for (i = 0; i < N_HOOKS; i++) {
        hooked[i] = (struct hooked){.hook.fn = on_hook, .id = i};
        list_init(&hooked[i].hook.node);
    }
}

static void hooks_remove(struct hooked *hooked)
{
    unsigned i;

    for (i = 0; i < N_HOOKS; i++)
        turn_hook_remove(&hooked[i].hook);
}

START_TEST(hooks_run_in_the_order_they_were_added)
{
    struct hooked hooked[N_HOOKS];
    unsigned i;

    hooks_init(hooked);
    for (i = 0; i < N_HOOKS; i++)
        turn_hook_add(&loop, &hooked[i].hook);
    run_until(loop_now_ns());
    ck_assert_uint_ge(n_hook_calls, N_HOOKS);
    for (i = 0; i < n_hook_calls; i++)
        ck_assert_uint_eq(hook_order[i], i % N_HOOKS);
    hooks_remove(hooked);
}
END_TEST

START_TEST(hooks_may_remove_themselves_and_others_and_add_new_ones)
{
    struct hooked hooked[N_HOOKS];

    hooks_init(hooked);
    turn_hook_add(&loop, &hooked[0].hook);
    turn_hook_add(&loop, &hooked[1].hook);
    turn_hook_add(&loop, &hooked[2].hook);
    hooked[0].removes = &hooked[1];
    hooked[0].adds = &hooked[3];
    hooked[2].removes = &hooked[2];
    hooked[3].removes = &hooked[3];
    run_until(loop_now_ns());
    ck_assert_uint_ge(n_hook_calls, 3);
    ck_assert_uint_eq(hook_order[0], 0);
    ck_assert_uint_eq(hook_order[1], 2);
    ck_assert_uint_eq(hook_order[2], 3); /* in the turn that added it, last */
    ck_assert_uint_eq(hooked[1].n_calls, 0);
    ck_assert_uint_eq(hooked[2].n_calls, 1);
    ck_assert_uint_eq(hooked[3].n_calls, 1);
    hooks_remove(hooked);
}
END_TEST

START_TEST(a_hook_that_wants_another_pass_gets_it_before_the_loop_blocks)
{
    struct hooked hooked[N_HOOKS];

    hooks_init(hooked);
    hooked[1].n_again =
        20; /* more than one turn allows: the turns in between do not block either */
    turn_hook_add(&loop, &hooked[0].hook);
    turn_hook_add(&loop, &hooked[1].hook);
    loop_run(&loop); /* nothing else would wake it */
    ck_assert_uint_ge(hooked[0].n_calls, 20);
    hooks_remove(hooked);
}
END_TEST

struct watched {
    struct watcher watcher;
    int fd;
    unsigned n_readable;
    unsigned n_writable;
    unsigned n_closed;
    bool close_when_ready;
};

static void on_ready(struct watcher *watcher, bool readable, bool writable)
{
    struct watched *watched = CONTAINER_OF(watcher, struct watched, watcher);
    char byte;

    ck_assert_uint_eq(watched->n_closed, 0);
    watched->n_writable += writable;
    if (readable) {
        watched->n_readable++;
        (void)!read(watched->fd, &byte, 1); /* an error is what some tests want to clear */
    }
    if (watched->close_when_ready)
        watcher_close(watcher);
    loop_stop(&loop);
}

static void on_closed(struct watcher *watcher)
{
    struct watched *watched = CONTAINER_OF(watcher, struct watched, watcher);

    watched->n_closed++;
    loop_stop(&loop);
}

static void watched_open(struct watched *watched, int fds[2])
{
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    *watched = (struct watched){.fd = fds[0], .watcher = {.ready = on_ready, .closed = on_closed}};
    ck_assert_int_eq(watcher_open(&loop, &watched->watcher, fds[0]), 0);
}

static void watched_close(struct watched *watched, int fds[2])
{
    watcher_close(&watched->watcher);
    while (watched->n_closed == 0)
        loop_run(&loop);
    ck_assert_uint_eq(watched->n_closed, 1);
    fd_close_p(&fds[0]);
    fd_close_p(&fds[1]);
}

START_TEST(a_watcher_tells_of_reading_and_when_wanted_of_writing)
{
    struct watched watched;
    int fds[2];

    watched_open(&watched, fds);
    ck_assert_int_eq(write(fds[1], "x", 1), 1);
    loop_run(&loop);
    ck_assert_uint_eq(watched.n_readable, 1);
    ck_assert_uint_eq(watched.n_writable, 0);
    watcher_want(&watched.watcher, false, true);
    watcher_want(&watched.watcher, false, true); /* nothing changes */
    loop_run(&loop);
    ck_assert_uint_eq(watched.n_writable, 1);
    ck_assert_int_eq(write(fds[1], "x", 1), 1);
    watcher_want(&watched.watcher, false, false);
    run_until(loop_now_ns() + NS_PER_MS);
    ck_assert_uint_eq(watched.n_readable, 1);
    watcher_want(&watched.watcher, true, false);
    loop_run(&loop);
    ck_assert_uint_eq(watched.n_readable, 2);
    watched_close(&watched, fds);
}
END_TEST

START_TEST(a_watcher_closed_while_ready_is_not_called_again)
{
    struct watched watched;
    int fds[2];

    watched_open(&watched, fds);
    watched.close_when_ready = true;
    ck_assert_int_eq(write(fds[1], "x", 1), 1);
    ck_assert_int_eq(write(fds[1], "x", 1), 1);
    while (watched.n_closed == 0)
        loop_run(&loop);
    ck_assert_uint_eq(watched.n_readable, 1);
    ck_assert_uint_eq(loop.n_open, 0);
    fd_close_p(&fds[0]);
    fd_close_p(&fds[1]);
}
END_TEST

START_TEST(an_error_of_the_fd_is_told_as_readable_and_the_watcher_goes_on)
{
    struct watched watched;
    int fds[2];

    /* A peer that closes with our datagram unread leaves ECONNRESET: POLLERR until it was read. */
    watched_open(&watched, fds);
    ck_assert_int_eq(write(fds[0], "x", 1), 1);
    fd_close_p(&fds[1]);
    loop_run(&loop);
    ck_assert_uint_eq(watched.n_readable, 1);
    loop_run(&loop); /* end of file */
    ck_assert_uint_eq(watched.n_readable, 2);
    watched_close(&watched, fds);
}
END_TEST

START_TEST(a_regular_file_cannot_be_watched)
{
    CLEAN(fd_close_p) int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    struct watcher watcher = {.ready = on_ready, .closed = on_closed};

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(watcher_open(&loop, &watcher, fd), -EPERM);
    ck_assert_uint_eq(loop.n_open, 0);
}
END_TEST

START_TEST(the_loop_ends_while_a_watcher_is_still_closing)
{
    struct watched watched;
    int fds[2];

    watched_open(&watched, fds);
    watcher_close(&watched.watcher);
    loop_done(&loop);
    ck_assert_uint_eq(watched.n_closed, 1);
    fd_close_p(&fds[0]);
    fd_close_p(&fds[1]);
    ck_assert_int_eq(loop_init(&loop), 0); /* for teardown() */
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("loop");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 20);
    tcase_add_test(tcase, deadlines_are_called_in_order_and_never_early);
    tcase_add_test(tcase, a_cleared_deadline_is_not_called);
    tcase_add_test(tcase, a_deadline_set_again_is_called_once_at_the_new_time);
    tcase_add_test(tcase, a_deadline_that_sets_itself_into_the_past_does_not_hold_the_loop);
    tcase_add_test(tcase, a_deadline_at_the_end_of_time_is_never_called);
    tcase_add_test(tcase, hooks_run_in_the_order_they_were_added);
    tcase_add_test(tcase, hooks_may_remove_themselves_and_others_and_add_new_ones);
    tcase_add_test(tcase, a_hook_that_wants_another_pass_gets_it_before_the_loop_blocks);
    tcase_add_test(tcase, a_watcher_tells_of_reading_and_when_wanted_of_writing);
    tcase_add_test(tcase, a_watcher_closed_while_ready_is_not_called_again);
    tcase_add_test(tcase, an_error_of_the_fd_is_told_as_readable_and_the_watcher_goes_on);
    tcase_add_test(tcase, a_regular_file_cannot_be_watched);
    tcase_add_test(tcase, the_loop_ends_while_a_watcher_is_still_closing);
    return unit_run("loop", tcase);
}
