/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of server/conn/conn.h on a real loop: frames up and down, a peer that does not read or
 * talks nonsense, and that a connection ends once, for the first reason, never under its caller.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <check.h>

#include "common/base/own.h"
#include "proto/client.pb-c.h"
#include "server/conn/conn.h"
#include "server/loop/loop.h"
#include "tests/support/pump.h"
#include "tests/support/unit.h"

#define MAX_FDS 2u

static struct pump pump;
static struct conn conn;
static struct chan peer; /* the other end, not on the loop, non-blocking */
static int peer_fd;      /* of it, borrowed */
static bool inside;      /* a call of ours is on the stack: ended() must not come */

static struct {
    unsigned n_frames, n_ended, n_this_turn, n_most_in_turn;
    uint64_t last_id;
    int why;
    int answer;         /* what frame() returns ... */
    uint64_t answer_at; /* ... for this id */
    uint64_t close_at;  /* frame() closes the connection at this id */
    bool echo;
} seen;

static int on_frame(struct conn *which, struct frame *frame)
{
    ck_assert_ptr_eq(which, &conn);
    ck_assert_uint_eq(seen.n_ended, 0);
    seen.n_frames++;
    seen.n_this_turn++;
    if (seen.n_this_turn > seen.n_most_in_turn)
        seen.n_most_in_turn = seen.n_this_turn;
    seen.last_id = frame->header.id;
    if (seen.echo)
        ck_assert_int_eq(conn_send(&conn, frame->header.type, frame->header.id, NULL, NULL, 0), 0);
    if (frame->header.id == seen.close_at) {
        inside = true;
        conn_close(&conn, -ESHUTDOWN);
        inside = false;
    }
    return frame->header.id == seen.answer_at ? seen.answer : 0;
}

static void on_ended(struct conn *which, int why)
{
    ck_assert_ptr_eq(which, &conn);
    ck_assert(!inside);
    seen.n_ended++;
    seen.why = why;
}

static const struct conn_ops ops = {.frame = on_frame, .ended = on_ended};

static void on_turn(struct turn_hook *hook)
{
    (void)hook;
    seen.n_this_turn = 0;
}

static struct turn_hook turn = {.fn = on_turn};

static void setup(void)
{
    int fds[2];

    pump_init(&pump);
    memset(&seen, 0, sizeof(seen));
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
    ck_assert_int_eq(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
    peer_fd = fds[1];
    ck_assert_int_eq(chan_init(&peer, &fds[1], FRAME_FDS_MAX, 1u << 20), 0);
    ck_assert_int_eq(conn_open(&conn, &pump.loop, &fds[0], MAX_FDS, &ops), 0);
    ck_assert_int_eq(fds[0], -1);
    list_init(&turn.node);
    turn_hook_add(&pump.loop, &turn);
}

static void teardown(void)
{
    conn_close(&conn, 0);
    PUMP_UNTIL(&pump, seen.n_ended > 0);
    pump_turn_now(&pump);
    ck_assert_uint_eq(seen.n_ended, 1);
    turn_hook_remove(&turn);
    chan_done(&peer);
    pump_done(&pump);
}

static void peer_sends(uint64_t id)
{
    ck_assert_int_eq(chan_send(&peer, FRAME_DONE, id, NULL, NULL, 0), 0);
}

static int send_big(uint64_t id)
{
    static char text[30000];
    Muse__Wire__Failed message = MUSE__WIRE__FAILED__INIT;
    int r;

    memset(text, 'x', sizeof(text) - 1);
    message.text = text;
    inside = true;
    r = conn_send(&conn, FRAME_FAILED, id, &message.base, NULL, 0);
    inside = false;
    return r;
}

START_TEST(frames_go_up_and_answers_go_down)
{
    struct frame *frame;

    seen.echo = true;
    for (uint64_t id = 1; id <= 3; id++)
        peer_sends(id);
    PUMP_UNTIL(&pump, seen.n_frames == 3);
    for (uint64_t id = 1; id <= 3; id++) {
        ck_assert_int_eq(chan_recv(&peer, &frame), 0);
        ck_assert_uint_eq(frame->header.id, id);
    }
    ck_assert_int_eq(chan_recv(&peer, &frame), -EAGAIN);
}
END_TEST

START_TEST(it_is_known_who_the_peer_is)
{
    ck_assert_int_eq(conn.pid, getpid());
    ck_assert_uint_eq(conn.uid, getuid());
    ck_assert_uint_eq(conn.gid, getgid());
}
END_TEST

START_TEST(one_turn_handles_a_bounded_number_of_frames)
{
    for (uint64_t id = 1; id <= 3 * CONN_FRAMES_PER_TURN; id++)
        peer_sends(id);
    PUMP_UNTIL(&pump, seen.n_frames == 3 * CONN_FRAMES_PER_TURN);
    ck_assert_uint_le(seen.n_most_in_turn, CONN_FRAMES_PER_TURN);
    ck_assert_uint_gt(seen.n_most_in_turn, 1);
}
END_TEST

START_TEST(a_peer_that_goes_ends_it_after_its_last_frame)
{
    peer_sends(1);
    peer_sends(2);
    chan_done(&peer);
    PUMP_UNTIL(&pump, seen.n_ended > 0);
    ck_assert_uint_eq(seen.n_frames, 2);
    ck_assert_int_eq(seen.why, -ECONNRESET);
}
END_TEST

START_TEST(a_peer_that_goes_with_our_frames_unread_ends_it_too)
{
    ck_assert_int_eq(conn_send(&conn, FRAME_DONE, 1, NULL, NULL, 0), 0);
    chan_done(&peer);
    PUMP_UNTIL(&pump, seen.n_ended > 0);
    ck_assert_int_eq(seen.why, -ECONNRESET);
}
END_TEST

START_TEST(a_frame_that_is_refused_ends_it_for_that_reason)
{
    seen.answer_at = 2;
    seen.answer = -EBADMSG;
    for (uint64_t id = 1; id <= 5; id++)
        peer_sends(id);
    PUMP_UNTIL(&pump, seen.n_ended > 0);
    ck_assert_uint_eq(seen.last_id, 2);
    ck_assert_int_eq(seen.why, -EBADMSG);
}
END_TEST

START_TEST(nonsense_ends_it)
{
    ck_assert_int_eq(write(peer_fd, "this is no frame", 16), 16);
    peer_sends(1);
    PUMP_UNTIL(&pump, seen.n_ended > 0);
    ck_assert_uint_eq(seen.n_frames, 0);
    ck_assert_int_eq(seen.why, -EPROTO);
}
END_TEST

START_TEST(more_fds_than_it_was_opened_for_end_it)
{
    const int fds[MAX_FDS + 1] = {0, 0, 0};

    ck_assert_int_eq(chan_send(&peer, FRAME_DONE, 1, NULL, fds, MAX_FDS), 0);
    ck_assert_int_eq(chan_send(&peer, FRAME_DONE, 2, NULL, fds, MAX_FDS + 1), 0);
    PUMP_UNTIL(&pump, seen.n_ended > 0);
    ck_assert_uint_eq(seen.n_frames, 1);
    ck_assert_int_eq(seen.why, -EPROTO);
}
END_TEST

START_TEST(closing_inside_a_frame_hands_up_no_other_and_ends_later_for_the_first_reason)
{
    seen.close_at = 2;
    seen.answer_at = 2;
    seen.answer = -EBADMSG;
    for (uint64_t id = 1; id <= 5; id++)
        peer_sends(id);
    PUMP_UNTIL(&pump, seen.n_ended > 0);
    ck_assert_uint_eq(seen.last_id, 2);
    ck_assert_int_eq(seen.why, -ESHUTDOWN);
}
END_TEST

START_TEST(closing_twice_ends_it_once_and_sends_nothing_any_more)
{
    inside = true;
    conn_close(&conn, -EIO);
    conn_close(&conn, -EBADMSG);
    ck_assert_int_eq(conn_send(&conn, FRAME_DONE, 1, NULL, NULL, 0), -EPIPE);
    inside = false;
    PUMP_UNTIL(&pump, seen.n_ended > 0);
    ck_assert_int_eq(seen.why, -EIO);
}
END_TEST

START_TEST(last_words_arrive)
{
    struct frame *frame;

    ck_assert_int_eq(conn_send(&conn, FRAME_FAILED, 9, NULL, NULL, 0), 0);
    conn_close(&conn, -EPROTO);
    PUMP_UNTIL(&pump, seen.n_ended > 0);
    ck_assert_int_eq(chan_recv(&peer, &frame), 0);
    ck_assert_uint_eq(frame->header.id, 9);
    ck_assert_int_eq(chan_recv(&peer, &frame), -ECONNRESET);
}
END_TEST

START_TEST(a_slow_reader_gets_everything_in_order)
{
    uint64_t n_sent = 0, n_got = 0;
    struct frame *frame;

    while (!chan_wants_write(&conn.chan))
        ck_assert_int_eq(send_big(++n_sent), 0);
    ck_assert_int_eq(send_big(++n_sent), 0);
    while (n_got < n_sent) {
        int r = chan_recv(&peer, &frame);

        if (r == -EAGAIN) {
            pump_turn(&pump);
            continue;
        }
        ck_assert_int_eq(r, 0);
        ck_assert_uint_eq(frame->header.id, ++n_got);
    }
    ck_assert(!chan_wants_write(&conn.chan));
    /* nothing more to write: the loop must not turn for it */
    ck_assert_int_eq(conn.watcher.events, UV_READABLE);
    ck_assert_uint_eq(seen.n_ended, 0);
}
END_TEST

START_TEST(a_peer_that_never_reads_is_cut_off)
{
    uint64_t n_sent = 0;
    int r = 0;

    while (r == 0)
        r = send_big(++n_sent);
    ck_assert_int_eq(r, -ENOBUFS);
    ck_assert_uint_le(conn.chan.out_bytes, CONN_OUT_BYTES_MAX);
    ck_assert_uint_eq(seen.n_ended, 0); /* not under us */
    PUMP_UNTIL(&pump, seen.n_ended > 0);
    ck_assert_int_eq(seen.why, -ENOBUFS);
}
END_TEST

START_TEST(a_peer_that_goes_while_frames_are_queued_ends_it)
{
    uint64_t n_sent = 0;

    while (!chan_wants_write(&conn.chan))
        ck_assert_int_eq(send_big(++n_sent), 0);
    chan_done(&peer);
    PUMP_UNTIL(&pump, seen.n_ended > 0);
    ck_assert(seen.why == -EPIPE || seen.why == -ECONNRESET);
}
END_TEST

START_TEST(what_is_no_socket_stays_the_callers)
{
    struct conn other;
    int fds[2];

    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    ck_assert_int_eq(conn_open(&other, &pump.loop, &fds[0], 0, &ops), -ENOTSOCK);
    ck_assert(fd_is_cloexec(fds[0]));
    fd_close_p(&fds[0]);
    fd_close_p(&fds[1]);
}
END_TEST

START_TEST(a_socket_that_is_watched_already_stays_the_callers)
{
    struct conn other;
    int fd = conn.chan.fd;

    ck_assert_int_eq(conn_open(&other, &pump.loop, &fd, 0, &ops), -EEXIST);
    ck_assert_int_eq(fd, conn.chan.fd);
    peer_sends(1);
    PUMP_UNTIL(&pump, seen.n_frames == 1);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("conn");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, frames_go_up_and_answers_go_down);
    tcase_add_test(tcase, it_is_known_who_the_peer_is);
    tcase_add_test(tcase, one_turn_handles_a_bounded_number_of_frames);
    tcase_add_test(tcase, a_peer_that_goes_ends_it_after_its_last_frame);
    tcase_add_test(tcase, a_peer_that_goes_with_our_frames_unread_ends_it_too);
    tcase_add_test(tcase, a_frame_that_is_refused_ends_it_for_that_reason);
    tcase_add_test(tcase, nonsense_ends_it);
    tcase_add_test(tcase, more_fds_than_it_was_opened_for_end_it);
    tcase_add_test(tcase,
                   closing_inside_a_frame_hands_up_no_other_and_ends_later_for_the_first_reason);
    tcase_add_test(tcase, closing_twice_ends_it_once_and_sends_nothing_any_more);
    tcase_add_test(tcase, last_words_arrive);
    tcase_add_test(tcase, a_slow_reader_gets_everything_in_order);
    tcase_add_test(tcase, a_peer_that_never_reads_is_cut_off);
    tcase_add_test(tcase, a_peer_that_goes_while_frames_are_queued_ends_it);
    tcase_add_test(tcase, what_is_no_socket_stays_the_callers);
    tcase_add_test(tcase, a_socket_that_is_watched_already_stays_the_callers);
    return unit_run("conn", tcase);
}
