/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of common/ipc/chan.h over socket pairs: frames and fds as they are sent, frames as no chan
 * would send them, a peer that does not read, one that has gone. Every test ends with as many fds
 * as it began with.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>

#include "common/base/own.h"
#include "common/ipc/chan.h"
#include "proto/client.pb-c.h"
#include "tests/support/fds.h"
#include "tests/support/unit.h"

#define OUT_BYTES (1u << 20)
#define N_TEXT    8000u

static unsigned n_fds_before;
static struct chan a, b; /* a sends, b receives */
static int raw;          /* a's socket, borrowed: for what a chan would not send */

static void make_pair(int type_flags, unsigned max_fds, size_t out_bytes_max)
{
    int fds[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | type_flags, 0, fds), 0);
    raw = fds[0];
    ck_assert_int_eq(chan_init(&a, &fds[0], FRAME_FDS_MAX, out_bytes_max), 0);
    ck_assert_int_eq(chan_init(&b, &fds[1], max_fds, OUT_BYTES), 0);
    ck_assert_int_eq(fds[0], -1);
}

static void setup(void)
{
    n_fds_before = fds_count();
    make_pair(SOCK_NONBLOCK, FRAME_FDS_MAX, OUT_BYTES);
}

static void teardown(void)
{
    chan_done(&a);
    chan_done(&b);
    ck_assert_uint_eq(fds_count(), n_fds_before);
}

static void remake(int type_flags, unsigned max_fds, size_t out_bytes_max)
{
    chan_done(&a);
    chan_done(&b);
    make_pair(type_flags, max_fds, out_bytes_max);
}

static int send_text(struct chan *chan, uint64_t id, char *text, const int *fds, unsigned n_fds)
{
    Muse__Wire__Failed message = MUSE__WIRE__FAILED__INIT;

    message.error = EINVAL;
    message.text = text;
    return chan_send(chan, FRAME_FAILED, id, &message.base, fds, n_fds);
}

/* The next frame of b is @id. */
static struct frame *expect_frame(uint64_t id)
{
    struct frame *frame;

    ck_assert_int_eq(chan_recv(&b, &frame), 0);
    ck_assert_uint_eq(frame->header.id, id);
    return frame;
}

static void expect_recv(int want)
{
    struct frame *frame = NULL;

    ck_assert_int_eq(chan_recv(&b, &frame), want);
    ck_assert_ptr_null(frame);
}

/* ---- what is sent arrives ---- */

START_TEST(a_frame_arrives_with_its_type_id_and_payload)
{
    char text[] = "it was not to be";
    Muse__Wire__Failed *message;
    struct frame *frame;

    ck_assert_int_eq(send_text(&a, 42, text, NULL, 0), 0);
    frame = expect_frame(42);
    ck_assert_uint_eq(frame->header.type, FRAME_FAILED);
    ck_assert_uint_eq(frame->header.n_fds, 0);
    message = muse__wire__failed__unpack(NULL, frame->n_payload, frame->payload);
    ck_assert_ptr_nonnull(message);
    ck_assert_str_eq(message->text, text);
    muse__wire__failed__free_unpacked(message, NULL);
    expect_recv(-EAGAIN);
}
END_TEST

START_TEST(a_frame_may_be_empty)
{
    struct frame *frame;

    ck_assert_int_eq(chan_send(&a, FRAME_DONE, 7, NULL, NULL, 0), 0);
    frame = expect_frame(7);
    ck_assert_uint_eq(frame->n_payload, 0);
}
END_TEST

START_TEST(frames_of_every_size_up_to_the_largest_arrive)
{
    char *text = malloc(FRAME_BYTES_MAX + 1);

    ck_assert_ptr_nonnull(text);
    /* around the size of the buffer on the stack, and around the largest */
    for (size_t n = 1; n < FRAME_BYTES_MAX - 32; n = n < 1200 ? n + 1 : n * 2) {
        memset(text, 'x', n);
        text[n] = '\0';
        ck_assert_int_eq(send_text(&a, n, text, NULL, 0), 0);
        ck_assert_uint_gt(expect_frame(n)->n_payload, n);
    }
    memset(text, 'x', FRAME_BYTES_MAX);
    for (size_t n = FRAME_BYTES_MAX - 32; n <= FRAME_BYTES_MAX; n++) {
        /* 16 header, 2 errno, 1 tag and 3 length of the text */
        const bool fits = n + 22 <= FRAME_BYTES_MAX;

        text[n] = '\0';
        ck_assert_int_eq(send_text(&a, n, text, NULL, 0), fits ? 0 : -EMSGSIZE);
        if (fits)
            ck_assert_uint_eq(expect_frame(n)->n_payload, n + 6);
        text[n] = 'x';
    }
    expect_recv(-EAGAIN);
    free(text);
}
END_TEST

static bool is_same_file(int x, int y)
{
    struct stat sx, sy;

    ck_assert_int_eq(fstat(x, &sx), 0);
    ck_assert_int_eq(fstat(y, &sy), 0);
    return sx.st_dev == sy.st_dev && sx.st_ino == sy.st_ino;
}

START_TEST(fds_are_passed_in_order_and_close_on_exec)
{
    int pipes[FRAME_FDS_MAX][2], fds[FRAME_FDS_MAX];
    struct frame *frame;

    for (unsigned i = 0; i < FRAME_FDS_MAX; i++) {
        ck_assert_int_eq(pipe2(pipes[i], O_CLOEXEC), 0);
        fds[i] = pipes[i][0];
    }
    ck_assert_int_eq(chan_send(&a, FRAME_DONE, 1, NULL, fds, FRAME_FDS_MAX), 0);
    frame = expect_frame(1);
    ck_assert_uint_eq(frame->header.n_fds, FRAME_FDS_MAX);
    for (unsigned i = 0; i < FRAME_FDS_MAX; i++) {
        int fd = frame_fd_take(frame, i);

        ck_assert(is_same_file(fd, pipes[i][0]));
        ck_assert(fd_is_cloexec(fd));
        ck_assert_int_eq(frame_fd_take(frame, i), -1); /* once only */
        fd_close_p(&fd);
        fd_close_p(&pipes[i][0]);
        fd_close_p(&pipes[i][1]);
    }
    ck_assert_int_eq(frame_fd_take(frame, FRAME_FDS_MAX), -1);
    ck_assert_int_eq(frame_fd_take(frame, UINT32_MAX), -1);
}
END_TEST

START_TEST(fds_that_nobody_took_are_closed_with_the_next_frame)
{
    const int fds[2] = {raw, raw};
    const unsigned n_open = fds_count();
    struct frame *frame;
    int kept;

    ck_assert_int_eq(chan_send(&a, FRAME_DONE, 1, NULL, fds, 2), 0);
    frame = expect_frame(1);
    kept = frame_fd_take(frame, 1);
    ck_assert_uint_eq(fds_count(), n_open + 2);
    expect_recv(-EAGAIN);
    ck_assert_uint_eq(fds_count(), n_open + 1);
    ck_assert(fd_is_cloexec(kept));
    fd_close_p(&kept);
    /* and with the chan: teardown counts */
    ck_assert_int_eq(chan_send(&a, FRAME_DONE, 2, NULL, fds, 2), 0);
    (void)expect_frame(2);
}
END_TEST

/* ---- what no chan would send ---- */

/* One datagram of @n_bytes with @n_fds copies of a's socket. */
static void send_raw(const void *bytes, size_t n_bytes, unsigned n_fds)
{
    union {
        struct cmsghdr align;
        uint8_t bytes[CMSG_SPACE(sizeof(int) * 64)];
    } control;
    struct iovec iov = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = n_bytes};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    memset(&control, 0, sizeof(control));
    if (n_fds > 0) {
        struct cmsghdr *cmsg;
        int fds[64];

        ck_assert_uint_le(n_fds, 64);
        for (unsigned i = 0; i < n_fds; i++)
            fds[i] = raw;
        msg.msg_control = control.bytes;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
        cmsg = CMSG_FIRSTHDR(&msg);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
        memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * n_fds);
    }
    ck_assert_int_eq(sendmsg(raw, &msg, MSG_NOSIGNAL), (ssize_t)n_bytes);
}

static void send_header(unsigned n_fds_said, unsigned n_fds_sent)
{
    const struct frame_header header = {.type = FRAME_DONE, .n_fds = (uint8_t)n_fds_said, .id = 5};
    uint8_t buf[FRAME_HEADER_BYTES];

    frame_encode(&header, buf);
    send_raw(buf, sizeof(buf), n_fds_sent);
}

static void expect_malformed(void)
{
    const unsigned n_open = fds_count();

    expect_recv(-EPROTO);
    ck_assert_uint_eq(fds_count(), n_open);
    for (unsigned i = 0; i < FRAME_FDS_MAX; i++)
        ck_assert_int_eq(b.in.fds[i], -1);
}

START_TEST(more_or_fewer_fds_than_the_header_says_are_malformed)
{
    send_header(0, 1);
    expect_malformed();
    send_header(1, 0);
    expect_malformed();
    send_header(2, 3);
    expect_malformed();
    send_header(FRAME_FDS_MAX, FRAME_FDS_MAX);
    ck_assert_uint_eq(expect_frame(5)->header.n_fds, FRAME_FDS_MAX);
}
END_TEST

START_TEST(more_fds_than_a_frame_can_carry_are_malformed_and_closed)
{
    send_header(FRAME_FDS_MAX, FRAME_FDS_MAX + 1);
    expect_malformed();
    send_header(FRAME_FDS_MAX, 64);
    expect_malformed();
    send_header(17, 17);
    expect_malformed();
}
END_TEST

START_TEST(more_fds_than_the_chan_allows_are_malformed_and_closed)
{
    remake(SOCK_NONBLOCK, 1, OUT_BYTES);
    send_header(1, 1);
    (void)expect_frame(5);
    send_header(2, 2);
    expect_recv(-EPROTO);
    ck_assert_int_eq(b.in.fds[0], -1);
    remake(SOCK_NONBLOCK, 0, OUT_BYTES);
    send_header(1, 1);
    expect_malformed();
}
END_TEST

START_TEST(an_oversized_datagram_is_malformed)
{
    uint8_t *bytes = calloc(1, FRAME_BYTES_MAX + 1);
    const struct frame_header header = {.type = FRAME_DONE, .n_fds = 1};

    ck_assert_ptr_nonnull(bytes);
    frame_encode(&header, bytes);
    send_raw(bytes, FRAME_BYTES_MAX, 1);
    ck_assert_uint_eq(expect_frame(0)->n_payload, FRAME_BYTES_MAX - FRAME_HEADER_BYTES);
    expect_recv(-EAGAIN);
    send_raw(bytes, FRAME_BYTES_MAX + 1, 1);
    expect_malformed();
    free(bytes);
}
END_TEST

START_TEST(short_and_foreign_datagrams_are_malformed)
{
    uint8_t bytes[FRAME_HEADER_BYTES] = {0};
    const struct frame_header header = {.type = FRAME_DONE};

    send_raw(bytes, sizeof(bytes), 1);
    expect_malformed();
    frame_encode(&header, bytes);
    for (size_t n = 1; n < sizeof(bytes); n++) {
        send_raw(bytes, n, (unsigned)n % 2);
        expect_malformed();
    }
    send_raw(bytes, sizeof(bytes), 0); /* what comes next is judged by itself */
    (void)expect_frame(0);
}
END_TEST

START_TEST(an_empty_datagram_does_not_leave_its_fds_behind)
{
    send_raw("", 0, 3);
    expect_malformed();
    send_raw("", 0, 0); /* looks like the end of the stream, and is treated so */
    expect_recv(-ECONNRESET);
}
END_TEST

/* ---- a peer that does not read ---- */

/* Sends frames 1, 2, ... until the socket is full and @n more are queued. Return: the last id. */
static uint64_t fill_up(unsigned n)
{
    char text[N_TEXT];
    uint64_t id = 0;

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    while (!chan_wants_write(&a))
        ck_assert_int_eq(send_text(&a, ++id, text, NULL, 0), 0);
    for (unsigned i = 1; i < n; i++)
        ck_assert_int_eq(send_text(&a, ++id, text, NULL, 0), 0);
    return id;
}

START_TEST(what_the_socket_has_no_room_for_is_queued_and_comes_in_order)
{
    const uint64_t last = fill_up(4);
    uint64_t id = 0;

    ck_assert_uint_gt(a.out_bytes, 4 * (N_TEXT - 1));
    ck_assert_int_eq(chan_flush(&a), -EAGAIN);
    /* room again, but what is queued goes first */
    (void)expect_frame(++id);
    ck_assert_int_eq(chan_send(&a, FRAME_DONE, last + 1, NULL, NULL, 0), 0);
    ck_assert(chan_wants_write(&a));
    while (id <= last) {
        int r = chan_flush(&a);

        ck_assert(r == 0 || r == -EAGAIN);
        ck_assert_int_eq(r == 0, !chan_wants_write(&a));
        (void)expect_frame(++id);
    }
    ck_assert_int_eq(chan_flush(&a), 0);
    ck_assert_uint_eq(a.out_bytes, 0);
    expect_recv(-EAGAIN);
}
END_TEST

START_TEST(a_queue_over_its_limit_is_refused)
{
    char text[N_TEXT] = {0};
    size_t queued;
    int r = 0;

    remake(SOCK_NONBLOCK, FRAME_FDS_MAX, 4 * (N_TEXT + 64));
    (void)fill_up(1);
    memset(text, 'x', sizeof(text) - 1);
    for (unsigned i = 0; i < 16 && r == 0; i++)
        r = send_text(&a, i, text, NULL, 0);
    ck_assert_int_eq(r, -ENOBUFS);
    ck_assert_uint_le(a.out_bytes, 4 * (N_TEXT + 64));
    queued = a.out_bytes;
    ck_assert_int_eq(send_text(&a, 99, text, NULL, 0), -ENOBUFS);
    ck_assert_uint_eq(a.out_bytes, queued);
    ck_assert_int_eq(chan_send(&a, FRAME_DONE, 100, NULL, NULL, 0), 0); /* there is room for it */
}
END_TEST

START_TEST(queued_frames_keep_their_own_copies_of_fds)
{
    const uint64_t last = fill_up(1);
    unsigned n_open;
    struct frame *frame;
    int fds[2], got;

    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    n_open = fds_count();
    ck_assert_int_eq(chan_send(&a, FRAME_DONE, last + 1, NULL, fds, 2), 0);
    ck_assert_uint_eq(fds_count(), n_open + 2);
    fd_close_p(&fds[0]);
    for (uint64_t id = 1; id <= last; id++) {
        (void)expect_frame(id);
        (void)!chan_flush(&a);
    }
    ck_assert(!chan_wants_write(&a));
    frame = expect_frame(last + 1);
    ck_assert_uint_eq(frame->header.n_fds, 2);
    got = frame_fd_take(frame, 0);
    ck_assert(is_same_file(got, fds[1]));
    fd_close_p(&got);
    fd_close_p(&fds[1]);
    expect_recv(-EAGAIN);
}
END_TEST

START_TEST(what_is_still_queued_goes_with_the_chan)
{
    const int fds[3] = {raw, raw, raw};

    (void)fill_up(1);
    for (unsigned i = 0; i < 10; i++)
        ck_assert_int_eq(chan_send(&a, FRAME_DONE, i, NULL, fds, 3), 0);
    chan_done(&a); /* teardown counts */
    ck_assert(!chan_wants_write(&a));
}
END_TEST

/* ---- ends ---- */

START_TEST(a_peer_that_closes_is_seen_after_its_last_frame)
{
    ck_assert_int_eq(chan_send(&a, FRAME_DONE, 1, NULL, NULL, 0), 0);
    chan_done(&a);
    (void)expect_frame(1);
    expect_recv(-ECONNRESET);
    expect_recv(-ECONNRESET);
}
END_TEST

START_TEST(sending_to_a_closed_peer_fails_without_a_signal)
{
    chan_done(&b);
    ck_assert_int_eq(chan_send(&a, FRAME_DONE, 1, NULL, NULL, 0), -EPIPE);
    ck_assert(!chan_wants_write(&a));
}
END_TEST

START_TEST(flushing_to_a_closed_peer_fails)
{
    int r;

    (void)fill_up(2);
    chan_done(&b);
    r = chan_flush(&a);
    ck_assert(r == -EPIPE || r == -ECONNRESET);
    ck_assert(chan_wants_write(&a)); /* chan_done() will free it */
}
END_TEST

START_TEST(a_chan_that_is_done_or_was_never_made_is_harmless)
{
    struct chan never = {0};
    struct frame *frame;

    chan_done(&a);
    chan_done(&a);
    chan_done(&never);
    ck_assert(!chan_wants_write(&never));
    ck_assert_int_eq(chan_send(&a, FRAME_DONE, 1, NULL, NULL, 0), -EPIPE);
    ck_assert_int_eq(chan_recv(&a, &frame), -ECONNRESET);
}
END_TEST

/* ---- blocking sockets: the libraries ---- */

#define N_THREADS 4u
#define N_FRAMES  300u

static void *send_many(void *argument)
{
    const uint64_t *number = argument;
    char text[2000];

    memset(text, 'a' + (int)*number, sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    for (unsigned i = 0; i < N_FRAMES; i++)
        if (send_text(&a, *number * N_FRAMES + i, text, NULL, 0) < 0)
            return argument;
    return NULL;
}

START_TEST(several_threads_may_send_on_a_blocking_chan)
{
    pthread_t threads[N_THREADS];
    uint64_t numbers[N_THREADS];
    unsigned n_seen[N_THREADS] = {0};

    remake(0, 0, 0); /* blocking: nothing is ever queued */
    for (unsigned i = 0; i < N_THREADS; i++) {
        numbers[i] = i;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, send_many, &numbers[i]), 0);
    }
    for (unsigned i = 0; i < N_THREADS * N_FRAMES; i++) {
        struct frame *frame;
        uint64_t thread;

        ck_assert_int_eq(chan_recv(&b, &frame), 0);
        thread = frame->header.id / N_FRAMES;
        ck_assert_uint_lt(thread, N_THREADS);
        ck_assert_uint_eq(frame->header.id % N_FRAMES, n_seen[thread]); /* in order */
        n_seen[thread]++;
        ck_assert_int_eq(frame->payload[frame->n_payload - 1], 'a' + (int)thread);
    }
    for (unsigned i = 0; i < N_THREADS; i++) {
        void *failed;

        ck_assert_int_eq(pthread_join(threads[i], &failed), 0);
        ck_assert_ptr_null(failed);
    }
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("chan");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 30);
    tcase_add_test(tcase, a_frame_arrives_with_its_type_id_and_payload);
    tcase_add_test(tcase, a_frame_may_be_empty);
    tcase_add_test(tcase, frames_of_every_size_up_to_the_largest_arrive);
    tcase_add_test(tcase, fds_are_passed_in_order_and_close_on_exec);
    tcase_add_test(tcase, fds_that_nobody_took_are_closed_with_the_next_frame);
    tcase_add_test(tcase, more_or_fewer_fds_than_the_header_says_are_malformed);
    tcase_add_test(tcase, more_fds_than_a_frame_can_carry_are_malformed_and_closed);
    tcase_add_test(tcase, more_fds_than_the_chan_allows_are_malformed_and_closed);
    tcase_add_test(tcase, an_oversized_datagram_is_malformed);
    tcase_add_test(tcase, short_and_foreign_datagrams_are_malformed);
    tcase_add_test(tcase, an_empty_datagram_does_not_leave_its_fds_behind);
    tcase_add_test(tcase, what_the_socket_has_no_room_for_is_queued_and_comes_in_order);
    tcase_add_test(tcase, a_queue_over_its_limit_is_refused);
    tcase_add_test(tcase, queued_frames_keep_their_own_copies_of_fds);
    tcase_add_test(tcase, what_is_still_queued_goes_with_the_chan);
    tcase_add_test(tcase, a_peer_that_closes_is_seen_after_its_last_frame);
    tcase_add_test(tcase, sending_to_a_closed_peer_fails_without_a_signal);
    tcase_add_test(tcase, flushing_to_a_closed_peer_fails);
    tcase_add_test(tcase, a_chan_that_is_done_or_was_never_made_is_harmless);
    tcase_add_test(tcase, several_threads_may_send_on_a_blocking_chan);
    return unit_run("chan", tcase);
}
