/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of server/loop/ring.h on a real io_uring: reads of files that complete inline or soon, and
 * of a pipe. Skipped where there is no io_uring.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <check.h>

#include "common/base/own.h"
#include "server/loop/ring.h"
#include "tests/support/unit.h"

#define N_ENTRIES 4U /* small, so that the backlog is used */
#define N_READS   100U
#define CHUNK     512U

static struct loop loop;
static struct ring ring;
static bool ring_is_closed;
static int file_fd; /* byte at offset x is x / CHUNK */

struct request {
    struct ring_op op;
    uint8_t bytes[CHUNK];
    int32_t res;
    unsigned n_done;
    bool is_calling;         /* inside ring_read() */
    unsigned n_left;         /* reads again this often when done */
    unsigned *n_outstanding; /* stops the loop at 0 */
};

static void on_ring_closed(struct ring *closed)
{
    ck_assert_ptr_eq(closed, &ring);
    ring_is_closed = true;
    loop_stop(&loop);
}

static void setup(void)
{
    uint8_t chunk[CHUNK];
    unsigned i;

    ck_assert_int_eq(loop_init(&loop), 0);
    ck_assert_int_eq(ring_init(&ring, &loop, N_ENTRIES), 0);
    ring_is_closed = false;
    file_fd = memfd_create("test-ring", MFD_CLOEXEC);
    ck_assert_int_ge(file_fd, 0);
    for (i = 0; i < N_READS; i++) {
        memset(chunk, (int)i, sizeof(chunk));
        ck_assert_int_eq(write(file_fd, chunk, sizeof(chunk)), CHUNK);
    }
}

static void teardown(void)
{
    ck_assert_uint_eq(ring.n_in_flight, 0);
    ring_close(&ring, on_ring_closed);
    while (!ring_is_closed)
        loop_run(&loop);
    loop_done(&loop);
    fd_close_p(&file_fd);
}

static void request_read(struct request *request, int fd, unsigned chunk)
{
    request->is_calling = true;
    ring_read(&ring, &request->op, fd, request->bytes, CHUNK, (uint64_t)chunk * CHUNK);
    request->is_calling = false;
}

static void on_done(struct ring_op *op, int32_t res)
{
    struct request *request = CONTAINER_OF(op, struct request, op);

    ck_assert(!request->is_calling);
    ck_assert_uint_ne(op->magic, RING_OP_MAGIC);
    request->res = res;
    request->n_done++;
    if (request->n_left > 0) {
        request->n_left--;
        request_read(request, op->fd, (unsigned)(op->offset / CHUNK));
        return;
    }
    if (--*request->n_outstanding == 0)
        loop_stop(&loop);
}

START_TEST(many_more_reads_than_entries_complete_once_each)
{
    static struct request requests[N_READS];
    unsigned n_outstanding = N_READS;
    unsigned i;

    for (i = 0; i < N_READS; i++) {
        requests[i] = (struct request){.op.done = on_done, .n_outstanding = &n_outstanding};
        request_read(&requests[i], file_fd, i);
    }
    ck_assert_uint_eq(n_outstanding, N_READS); /* nothing before the end of the turn */
    ck_assert_uint_le(ring.n_in_flight, ring.uring.cq.ring_entries);
    loop_run(&loop);
    for (i = 0; i < N_READS; i++) {
        ck_assert_uint_eq(requests[i].n_done, 1);
        ck_assert_int_eq(requests[i].res, CHUNK);
        ck_assert_uint_eq(requests[i].bytes[0], i);
        ck_assert_uint_eq(requests[i].bytes[CHUNK - 1], i);
    }
}
END_TEST

START_TEST(ring_submit_completes_inline_reads_at_once)
{
    unsigned n_outstanding = 1;
    struct request request = {.op.done = on_done, .n_outstanding = &n_outstanding};

    CLEAN(fd_close_p)
    int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC); /* never waits, whatever the kernel */

    request.bytes[5] = 7;
    request_read(&request, fd, 0);
    ck_assert_uint_eq(request.n_done, 0);
    ring_submit(&ring);
    ck_assert_uint_eq(request.n_done, 1);
    ck_assert_uint_eq(request.bytes[5], 0);
    ring_submit(&ring); /* nothing to do */
}
END_TEST

START_TEST(done_may_read_again_for_many_rounds)
{
    unsigned n_outstanding = 1;
    struct request request = {.op.done = on_done, .n_outstanding = &n_outstanding, .n_left = 1000};

    request_read(&request, file_fd, 3);
    loop_run(&loop);
    ck_assert_uint_eq(request.n_done, 1001);
    ck_assert_uint_eq(request.n_left, 0);
}
END_TEST

START_TEST(errors_and_short_reads_are_told)
{
    unsigned n_outstanding = 3;
    struct request bad = {.op.done = on_done, .n_outstanding = &n_outstanding};
    struct request at_end = {.op.done = on_done, .n_outstanding = &n_outstanding};
    struct request short_read = {.op.done = on_done, .n_outstanding = &n_outstanding};

    ck_assert_int_eq(ftruncate(file_fd, N_READS * CHUNK - 100), 0);
    request_read(&bad, -1, 0);
    request_read(&at_end, file_fd, N_READS);
    request_read(&short_read, file_fd, N_READS - 1);
    loop_run(&loop);
    ck_assert_int_eq(bad.res, -EBADF);
    ck_assert_int_eq(at_end.res, 0);
    ck_assert_int_eq(short_read.res, CHUNK - 100);
}
END_TEST

START_TEST(memory_is_populated_by_a_worker)
{
    const size_t len = 4 * 4096;
    unsigned n_outstanding = 2;
    struct request there = {.op.done = on_done, .n_outstanding = &n_outstanding};
    struct request missing = {.op.done = on_done, .n_outstanding = &n_outstanding};
    unsigned char resident[4] = {0};
    uint8_t *memory = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, file_fd, 0);

    ck_assert_ptr_ne(memory, MAP_FAILED);
    ck_assert_int_eq(ftruncate(file_fd, 0), 0);
    ck_assert_int_eq(ftruncate(file_fd, 2 * 4096), 0);
    ring_populate(&ring, &there.op, memory, 2 * 4096);
    ring_populate(&ring, &missing.op, memory, (uint32_t)len);
    loop_run(&loop);
    ck_assert_int_eq(there.res, 0);
    ck_assert_int_eq(missing.res, -EFAULT); /* as MADV_POPULATE_WRITE says of what is truncated */
    ck_assert_int_eq(mincore(memory, 2 * 4096, resident), 0);
    ck_assert_uint_eq(resident[0] & resident[1] & 1, 1);
    ck_assert_int_eq(munmap(memory, len), 0);
}
END_TEST

static int pipe_write_fd;

static void on_write_time(struct deadline *deadline)
{
    (void)deadline;
    ck_assert_int_eq(write(pipe_write_fd, "hello", 5), 5);
}

START_TEST(a_read_that_completes_later_wakes_the_loop)
{
    struct deadline write_time = {.fn = on_write_time};
    unsigned n_outstanding = 1;
    struct request request = {.op.done = on_done, .n_outstanding = &n_outstanding};
    int fds[2];

    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    pipe_write_fd = fds[1];
    request_read(&request, fds[0], 0);
    ring_submit(&ring);
    ck_assert_uint_eq(request.n_done, 0);
    ck_assert_uint_eq(ring.n_in_flight, 1);
    deadline_set(&loop, &write_time, loop_now_ns());
    loop_run(&loop);
    ck_assert_int_eq(request.res, 5);
    ck_assert_mem_eq(request.bytes, "hello", 5);
    fd_close_p(&fds[0]);
    fd_close_p(&fds[1]);
}
END_TEST

struct late_hook {
    struct turn_hook hook;
    struct request *request;
};

static void on_late_hook(struct turn_hook *hook)
{
    struct late_hook *late = CONTAINER_OF(hook, struct late_hook, hook);

    if (late->request)
        request_read(TAKE(late->request), file_fd, 9);
}

START_TEST(a_read_asked_for_by_a_turn_hook_is_submitted_in_that_turn)
{
    unsigned n_outstanding = 1;
    struct request first = {.op.done = on_done, .n_outstanding = &n_outstanding};
    struct request second = {.op.done = on_done, .n_outstanding = &n_outstanding};
    struct late_hook late = {.hook.fn = on_late_hook};

    request_read(&first, file_fd, 8);
    turn_hook_add(&loop, &late.hook); /* behind the ring's own */
    loop_run(&loop);
    ck_assert_uint_eq(first.bytes[0], 8);
    n_outstanding = 1;
    late.request = &second;
    loop_run(&loop); /* nothing in flight, so nothing else would wake it */
    ck_assert_uint_eq(second.bytes[0], 9);
    turn_hook_remove(&late.hook);
}
END_TEST

struct early_hook {
    struct turn_hook hook;
    const struct request *waits_for;
};

static void on_early_hook(struct turn_hook *hook)
{
    if (CONTAINER_OF(hook, struct early_hook, hook)->waits_for->n_done > 0)
        loop_stop(&loop);
}

START_TEST(a_hook_sees_what_done_left_for_it_before_the_loop_blocks)
{
    CLEAN(fd_close_p) int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    unsigned n_outstanding = 2; /* never 0: done does not stop the loop */
    struct request request = {.op.done = on_done, .n_outstanding = &n_outstanding};
    struct early_hook early = {.hook.fn = on_early_hook, .waits_for = &request};

    turn_hook_add(&loop, &early.hook);
    request_read(&request, fd, 0); /* done in the ring's hook, which runs after the early one */
    loop_run(&loop);
    ck_assert_uint_eq(request.n_done, 1);
    turn_hook_remove(&early.hook);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("ring");
    struct io_uring probe;
    int r = io_uring_queue_init(1, &probe, 0);

    if (r < 0) {
        printf("skipped: no io_uring here (%s)\n", strerror(-r));
        return 77;
    }
    io_uring_queue_exit(&probe);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 20);
    tcase_add_test(tcase, many_more_reads_than_entries_complete_once_each);
    tcase_add_test(tcase, ring_submit_completes_inline_reads_at_once);
    tcase_add_test(tcase, done_may_read_again_for_many_rounds);
    tcase_add_test(tcase, errors_and_short_reads_are_told);
    tcase_add_test(tcase, memory_is_populated_by_a_worker);
    tcase_add_test(tcase, a_read_that_completes_later_wakes_the_loop);
    tcase_add_test(tcase, a_read_asked_for_by_a_turn_hook_is_submitted_in_that_turn);
    tcase_add_test(tcase, a_hook_sees_what_done_left_for_it_before_the_loop_blocks);
    return unit_run("ring", tcase);
}
