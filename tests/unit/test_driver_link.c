/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of server/driver/driver_link.h on a real loop; the driver is the other end of a socket
 * pair, played by the test. Every call has exactly one end; a driver that is late, silent, wrong or
 * gone hurts nobody else.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <check.h>

#include "common/base/own.h"
#include "proto/driver.pb-c.h"
#include "server/driver/driver_link.h"
#include "server/loop/loop.h"
#include "tests/support/pump.h"
#include "tests/support/unit.h"

static struct pump pump;
static struct driver_link *linked;
static struct chan driver; /* the driver's end, non-blocking */
static bool inside;        /* a call of ours is on the stack: no end() may come */

static struct {
    unsigned n_frames, n_answers, n_ended;
    uint16_t type;
    uint64_t id;
    int why;
    int answer; /* what frame() returns */
} seen;

/* A call and what became of it. */
struct asked {
    struct driver_call call;
    unsigned n_ends, n_deadline, n_late, n_answered, n_lost;
    uint16_t type;
    uint64_t id;
    bool asks_again; /* in end(): another call, which must fail */
    bool forgets;    /* in end(): itself */
};

static int on_frame(struct driver_link *which, struct frame *frame)
{
    ck_assert_ptr_eq(which, linked);
    seen.n_frames++;
    seen.type = frame->header.type;
    seen.id = frame->header.id;
    return seen.answer;
}

static void on_answers(struct driver_link *which)
{
    ck_assert_ptr_eq(which, linked);
    seen.n_answers++;
}

static void on_ended(struct driver_link *which, int why)
{
    ck_assert_ptr_eq(which, linked);
    ck_assert(!inside);
    ck_assert(list_is_empty(&linked->call_list)); /* every call has ended before */
    ck_assert_uint_eq(idmap_count(&linked->calls), 0);
    seen.n_ended++;
    seen.why = why;
    driver_link_free(linked);
    linked = NULL;
}

static const struct driver_link_ops ops = {
    .frame = on_frame, .answers = on_answers, .ended = on_ended};

static void setup(void)
{
    int fds[2];

    pump_init(&pump);
    memset(&seen, 0, sizeof(seen));
    inside = false;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
    ck_assert_int_eq(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
    ck_assert_int_eq(chan_init(&driver, &fds[1], FRAME_FDS_MAX, 1u << 20), 0);
    ck_assert_int_eq(driver_link_new(&linked, &pump.loop, &fds[0], &ops), 0);
    ck_assert_int_eq(fds[0], -1);
}

static void teardown(void)
{
    if (linked)
        driver_link_close(linked, 0);
    PUMP_UNTIL(&pump, seen.n_ended > 0);
    pump_turn_now(&pump);
    ck_assert_uint_eq(seen.n_ended, 1);
    chan_done(&driver);
    pump_done(&pump);
}

static void on_end(struct driver_call *call, enum call_end end, struct frame *frame)
{
    struct asked *asked = CONTAINER_OF(call, struct asked, call);
    const bool has_frame = end == CALL_ANSWERED || end == CALL_LATE;

    ck_assert(!inside);
    ck_assert_int_eq(frame != NULL, has_frame);
    asked->n_ends++;
    asked->n_answered += end == CALL_ANSWERED;
    asked->n_deadline += end == CALL_DEADLINE;
    asked->n_late += end == CALL_LATE;
    asked->n_lost += end == CALL_LOST;
    /* still linked only while its answer is awaited */
    ck_assert_int_eq(call->link != NULL, end == CALL_DEADLINE && call->wants_late);
    if (has_frame) {
        asked->type = frame->header.type;
        asked->id = frame->header.id;
    }
    if (asked->forgets)
        driver_link_forget(call);
    if (asked->asks_again) {
        struct driver_call again = {.end = on_end, .answer_type = FRAME_PREPARED};

        ck_assert_int_lt(driver_link_call(linked, &again, FRAME_PREPARE, NULL, PUMP_NEVER_NS), 0);
    }
}

static int ask(struct asked *asked, uint64_t deadline_ns, bool wants_late)
{
    int r;

    *asked = (struct asked){
        .call = {.end = on_end, .answer_type = FRAME_PREPARED, .hook = "mmap_prepare"}};
    asked->call.wants_late = wants_late;
    inside = true;
    r = driver_link_call(linked, &asked->call, FRAME_PREPARE, NULL, deadline_ns);
    inside = false;
    return r;
}

/* What the driver reads next: its id. */
static uint64_t driver_reads(uint16_t type)
{
    struct frame *frame;

    ck_assert_int_eq(chan_recv(&driver, &frame), 0);
    ck_assert_uint_eq(frame->header.type, type);
    return frame->header.id;
}

static void driver_sends(uint16_t type, uint64_t id)
{
    ck_assert_int_eq(chan_send(&driver, type, id, NULL, NULL, 0), 0);
}

/* Everything the driver has sent so far has been looked at: this frame comes behind it. */
static void settle(void)
{
    const unsigned n = seen.n_frames;

    driver_sends(FRAME_INVALIDATE, UINT64_C(1) << 63);
    PUMP_UNTIL(&pump, seen.n_frames > n);
}

/* ---- calls ---- */

START_TEST(an_answer_ends_its_call)
{
    struct asked first, second;

    ck_assert_int_eq(ask(&first, PUMP_NEVER_NS, false), 0);
    ck_assert_int_eq(ask(&second, PUMP_NEVER_NS, true), 0);
    ck_assert_uint_ne(first.call.id, second.call.id);
    ck_assert_uint_ne(first.call.id, 0);
    ck_assert_uint_eq(driver_reads(FRAME_PREPARE), first.call.id);
    ck_assert_uint_eq(driver_reads(FRAME_PREPARE), second.call.id);
    driver_sends(FRAME_PREPARED, second.call.id); /* in whatever order */
    driver_sends(FRAME_DRIVER_FAILED, first.call.id);
    PUMP_UNTIL(&pump, first.n_ends && second.n_ends);
    ck_assert_uint_eq(first.n_answered, 1);
    ck_assert_uint_eq(first.type, FRAME_DRIVER_FAILED); /* always legal */
    ck_assert_uint_eq(second.n_answered, 1);
    ck_assert_uint_eq(second.type, FRAME_PREPARED);
    ck_assert_uint_eq(second.id, second.call.id);
    ck_assert(!first.call.deadline.is_set && !second.call.deadline.is_set);
    ck_assert_uint_eq(seen.n_frames, 0);
}
END_TEST

START_TEST(an_answer_of_the_wrong_type_ends_the_connection_and_the_call_once)
{
    struct asked asked;

    ck_assert_int_eq(ask(&asked, PUMP_NEVER_NS, true), 0);
    driver_sends(FRAME_COMPLETED, driver_reads(FRAME_PREPARE));
    PUMP_UNTIL(&pump, seen.n_ended > 0);
    ck_assert_int_eq(seen.why, -EPROTO);
    ck_assert_uint_eq(asked.n_lost, 1);
    ck_assert_uint_eq(asked.n_ends, 1);
}
END_TEST

START_TEST(a_deadline_ends_a_call_that_does_not_want_to_know)
{
    struct asked asked;

    ck_assert_int_eq(ask(&asked, 1, false), 0);
    PUMP_UNTIL(&pump, asked.n_ends > 0);
    ck_assert_uint_eq(asked.n_deadline, 1);
    ck_assert(list_is_empty(&linked->call_list));
    driver_sends(FRAME_PREPARED, driver_reads(FRAME_PREPARE)); /* too late, and no crime */
    settle();
    ck_assert_uint_eq(asked.n_ends, 1);
    ck_assert_uint_eq(seen.n_frames, 1);
    ck_assert_uint_eq(seen.n_ended, 0);
}
END_TEST

START_TEST(a_late_answer_reaches_who_wants_it)
{
    struct asked asked;

    ck_assert_int_eq(ask(&asked, 1, true), 0);
    PUMP_UNTIL(&pump, asked.n_ends > 0);
    ck_assert_uint_eq(asked.n_deadline, 1);
    driver_sends(FRAME_PREPARED, driver_reads(FRAME_PREPARE));
    PUMP_UNTIL(&pump, asked.n_ends > 1);
    ck_assert_uint_eq(asked.n_late, 1);
    ck_assert_uint_eq(asked.type, FRAME_PREPARED);
    driver_sends(FRAME_PREPARED, asked.call.id); /* twice: nobody hears of it */
    settle();
    ck_assert_uint_eq(asked.n_ends, 2);
}
END_TEST

START_TEST(a_late_answer_of_the_wrong_type_ends_the_connection)
{
    struct asked asked;

    ck_assert_int_eq(ask(&asked, 1, true), 0);
    PUMP_UNTIL(&pump, asked.n_ends > 0);
    driver_sends(FRAME_COMPLETED, driver_reads(FRAME_PREPARE));
    PUMP_UNTIL(&pump, seen.n_ended > 0);
    ck_assert_int_eq(seen.why, -EPROTO);
    ck_assert_uint_eq(asked.n_deadline, 1);
    ck_assert_uint_eq(asked.n_lost, 1);
}
END_TEST

START_TEST(a_driver_that_goes_loses_all_calls)
{
    struct asked asked[4];

    for (unsigned i = 0; i < N_ELEMENTS(asked); i++)
        ck_assert_int_eq(ask(&asked[i], i == 1 ? 1 : PUMP_NEVER_NS, true), 0);
    asked[2].asks_again = true; /* from inside its end */
    asked[3].forgets = true;
    PUMP_UNTIL(&pump, asked[1].n_deadline > 0);
    for (unsigned i = 0; i < N_ELEMENTS(asked); i++)
        (void)driver_reads(FRAME_PREPARE);
    driver_sends(FRAME_PREPARED, asked[0].call.id); /* its last words count */
    chan_done(&driver);
    PUMP_UNTIL(&pump, seen.n_ended > 0);
    ck_assert_int_eq(seen.why, -ECONNRESET);
    ck_assert(asked[0].n_answered == 1 && asked[0].n_ends == 1);
    ck_assert(asked[1].n_deadline == 1 && asked[1].n_lost == 1 && asked[1].n_ends == 2);
    ck_assert(asked[2].n_lost == 1 && asked[2].n_ends == 1);
    ck_assert(asked[3].n_lost == 1 && asked[3].n_ends == 1);
}
END_TEST

START_TEST(closing_loses_all_calls_later_for_the_first_reason)
{
    struct asked asked;

    ck_assert_int_eq(ask(&asked, PUMP_NEVER_NS, false), 0);
    inside = true;
    driver_link_close(linked, -ESHUTDOWN);
    driver_link_close(linked, -EIO);
    inside = false;
    ck_assert_uint_eq(asked.n_ends, 0);
    PUMP_UNTIL(&pump, seen.n_ended > 0);
    ck_assert_int_eq(seen.why, -ESHUTDOWN);
    ck_assert_uint_eq(asked.n_lost, 1);
}
END_TEST

START_TEST(a_call_that_cannot_be_sent_has_no_end)
{
    struct asked first, asked;

    ck_assert_int_eq(ask(&first, PUMP_NEVER_NS, false), 0);
    driver_link_close(linked, 0);
    ck_assert_int_eq(ask(&asked, 1, true), -EPIPE);
    ck_assert_ptr_null(asked.call.link);
    driver_link_forget(&asked.call); /* a no-op */
    PUMP_UNTIL(&pump, seen.n_ended > 0);
    ck_assert_uint_eq(first.n_ends, 1);
    ck_assert_uint_eq(asked.n_ends, 0);
}
END_TEST

START_TEST(a_forgotten_call_has_no_end_and_its_answer_hurts_nobody)
{
    struct asked asked, late;

    ck_assert_int_eq(ask(&asked, PUMP_NEVER_NS, true), 0);
    ck_assert_int_eq(ask(&late, 1, true), 0);
    PUMP_UNTIL(&pump, late.n_deadline > 0);
    driver_link_forget(&asked.call);
    driver_link_forget(&asked.call);
    driver_link_forget(&late.call);
    ck_assert(!asked.call.deadline.is_set);
    driver_sends(FRAME_PREPARED, driver_reads(FRAME_PREPARE));
    driver_sends(FRAME_DRIVER_FAILED, driver_reads(FRAME_PREPARE));
    settle();
    ck_assert_uint_eq(asked.n_ends, 0);
    ck_assert_uint_eq(late.n_ends, 1);
    ck_assert_uint_eq(seen.n_frames, 1);
    ck_assert_uint_eq(seen.n_ended, 0);
}
END_TEST

START_TEST(a_late_call_may_be_forgotten_in_its_deadline)
{
    struct asked asked;

    ck_assert_int_eq(ask(&asked, 1, true), 0);
    asked.forgets = true;
    PUMP_UNTIL(&pump, asked.n_ends > 0);
    driver_sends(FRAME_PREPARED, driver_reads(FRAME_PREPARE));
    settle();
    ck_assert_uint_eq(asked.n_ends, 1);
}
END_TEST

/* ---- frames that answer nothing ---- */

START_TEST(frames_that_answer_no_call_go_up)
{
    driver_sends(FRAME_FAULT_FAILED, 0);
    driver_sends(FRAME_INVALIDATE, 1);
    PUMP_UNTIL(&pump, seen.n_frames == 2);
    ck_assert_uint_eq(seen.type, FRAME_INVALIDATE);
    ck_assert_uint_eq(seen.id, 1);
    driver_sends(FRAME_PREPARED, 99); /* never asked: up, where it is refused */
    seen.answer = -EPROTO;
    PUMP_UNTIL(&pump, seen.n_ended > 0);
    ck_assert_uint_eq(seen.n_frames, 3);
    ck_assert_int_eq(seen.why, -EPROTO);
}
END_TEST

START_TEST(one_way_frames_go_down_with_fds)
{
    const int fds[1] = {0};
    struct frame *frame;

    ck_assert_int_eq(driver_link_send(linked, FRAME_ABORT, 0, NULL, NULL, 0), 0);
    ck_assert_int_eq(driver_link_send(linked, FRAME_DRIVER_OBJECT, 0, NULL, fds, 1), 0);
    ck_assert_uint_eq(driver_reads(FRAME_ABORT), 0);
    ck_assert_int_eq(chan_recv(&driver, &frame), 0);
    ck_assert_uint_eq(frame->header.n_fds, 1);
    driver_link_close(linked, 0);
    ck_assert_int_eq(driver_link_send(linked, FRAME_ABORT, 0, NULL, NULL, 0), -EPIPE);
}
END_TEST

/* ---- the ring ---- */

static const struct fill_ask an_ask = {.request_id = 7, .n_pages = 1};

/* The driver's eventfd: how often it was written since; 0 when not. */
static uint64_t n_wakes(void)
{
    uint64_t n = 0;

    return read(linked->wake_driver_fd, &n, sizeof(n)) == (ssize_t)sizeof(n) ? n : 0;
}

static void wake_server(void)
{
    const uint64_t one = 1;

    ck_assert_int_eq(write(linked->wake_server_fd, &one, sizeof(one)), sizeof(one));
}

START_TEST(without_a_ring_nothing_can_be_asked)
{
    ck_assert(!driver_link_ask(linked, &an_ask));
}
END_TEST

START_TEST(asks_of_one_turn_wake_the_driver_once)
{
    struct fill_ask ask_seen;

    ck_assert_int_eq(driver_link_ring(linked), 0);
    pump_turn_now(&pump);
    ck_assert_uint_eq(n_wakes(), 0);
    for (unsigned i = 0; i < 3; i++)
        ck_assert(driver_link_ask(linked, &an_ask));
    ck_assert_uint_eq(n_wakes(), 0); /* at the end of the turn */
    pump_turn_now(&pump);
    ck_assert_uint_eq(n_wakes(), 1);
    pump_turn_now(&pump);
    ck_assert_uint_eq(n_wakes(), 0);
    for (unsigned i = 0; i < 3; i++)
        ck_assert(fill_ring_take_ask(linked->ring, &ask_seen));
    ck_assert_uint_eq(ask_seen.request_id, 7);
}
END_TEST

START_TEST(answers_wake_the_server)
{
    const struct fill_answer answer = {.request_id = 7};

    ck_assert_int_eq(driver_link_ring(linked), 0);
    ck_assert(fill_ring_put_answer(linked->ring, &answer));
    wake_server();
    PUMP_UNTIL(&pump, seen.n_answers == 1);
    pump_turn_now(&pump);
    ck_assert_uint_eq(seen.n_answers, 1);
    wake_server(); /* for nothing: harmless */
    PUMP_UNTIL(&pump, seen.n_answers == 2);
}
END_TEST

START_TEST(a_full_ring_refuses)
{
    ck_assert_int_eq(driver_link_ring(linked), 0);
    for (unsigned i = 0; i < FILL_RING_ENTRIES; i++)
        ck_assert(driver_link_ask(linked, &an_ask));
    ck_assert(!driver_link_ask(linked, &an_ask));
}
END_TEST

START_TEST(the_ring_is_what_the_driver_maps_and_cannot_cut_short)
{
    struct fill_ask ask_seen;
    struct fill_ring *theirs;

    ck_assert_int_eq(driver_link_ring(linked), 0);
    theirs = mmap(NULL, sizeof(*theirs), PROT_READ | PROT_WRITE, MAP_SHARED, linked->ring_fd, 0);
    ck_assert_ptr_ne(theirs, MAP_FAILED);
    ck_assert(driver_link_ask(linked, &an_ask));
    ck_assert(fill_ring_take_ask(theirs, &ask_seen));
    ck_assert_uint_eq(ask_seen.request_id, 7);
    ck_assert_int_eq(munmap(theirs, sizeof(*theirs)), 0);
    ck_assert_int_eq(ftruncate(linked->ring_fd, 0), -1);
    ck_assert_int_eq(ftruncate(linked->ring_fd, 1 << 20), -1);
    ck_assert_int_eq(fcntl(linked->ring_fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
    ck_assert(fd_is_cloexec(linked->ring_fd) && fd_is_cloexec(linked->wake_driver_fd) &&
              fd_is_cloexec(linked->wake_server_fd));
}
END_TEST

START_TEST(a_driver_that_jams_its_eventfd_does_not_stop_the_server)
{
    const uint64_t most = UINT64_MAX - 1;

    ck_assert_int_eq(driver_link_ring(linked), 0);
    ck_assert_int_eq(write(linked->wake_driver_fd, &most, sizeof(most)), sizeof(most));
    ck_assert(driver_link_ask(linked, &an_ask));
    pump_turn_now(&pump); /* would wait for the driver for ever */
    ck_assert_uint_eq(n_wakes(), most);
}
END_TEST

START_TEST(a_link_with_a_ring_ends_once_and_hears_no_more_answers)
{
    struct asked asked;

    ck_assert_int_eq(driver_link_ring(linked), 0);
    ck_assert_int_eq(ask(&asked, PUMP_NEVER_NS, true), 0);
    ck_assert(driver_link_ask(linked, &an_ask));
    wake_server();
    driver_link_close(linked, -EIO);
    ck_assert(!driver_link_ask(linked, &an_ask));
    PUMP_UNTIL(&pump, seen.n_ended > 0);
    ck_assert_uint_eq(seen.n_answers, 0);
    ck_assert_uint_eq(asked.n_lost, 1);
    ck_assert_int_eq(seen.why, -EIO);
}
END_TEST

START_TEST(what_is_no_socket_stays_the_callers)
{
    struct driver_link *other = NULL;
    int fds[2];

    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    ck_assert_int_eq(driver_link_new(&other, &pump.loop, &fds[0], &ops), -ENOTSOCK);
    ck_assert_ptr_null(other);
    fd_close_p(&fds[0]);
    fd_close_p(&fds[1]);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("driver_link");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, an_answer_ends_its_call);
    tcase_add_test(tcase, an_answer_of_the_wrong_type_ends_the_connection_and_the_call_once);
    tcase_add_test(tcase, a_deadline_ends_a_call_that_does_not_want_to_know);
    tcase_add_test(tcase, a_late_answer_reaches_who_wants_it);
    tcase_add_test(tcase, a_late_answer_of_the_wrong_type_ends_the_connection);
    tcase_add_test(tcase, a_driver_that_goes_loses_all_calls);
    tcase_add_test(tcase, closing_loses_all_calls_later_for_the_first_reason);
    tcase_add_test(tcase, a_call_that_cannot_be_sent_has_no_end);
    tcase_add_test(tcase, a_forgotten_call_has_no_end_and_its_answer_hurts_nobody);
    tcase_add_test(tcase, a_late_call_may_be_forgotten_in_its_deadline);
    tcase_add_test(tcase, frames_that_answer_no_call_go_up);
    tcase_add_test(tcase, one_way_frames_go_down_with_fds);
    tcase_add_test(tcase, without_a_ring_nothing_can_be_asked);
    tcase_add_test(tcase, asks_of_one_turn_wake_the_driver_once);
    tcase_add_test(tcase, answers_wake_the_server);
    tcase_add_test(tcase, a_full_ring_refuses);
    tcase_add_test(tcase, the_ring_is_what_the_driver_maps_and_cannot_cut_short);
    tcase_add_test(tcase, a_driver_that_jams_its_eventfd_does_not_stop_the_server);
    tcase_add_test(tcase, a_link_with_a_ring_ends_once_and_hears_no_more_answers);
    tcase_add_test(tcase, what_is_no_socket_stays_the_callers);
    return unit_run("driver_link", tcase);
}
