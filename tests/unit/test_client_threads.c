/* SPDX-License-Identifier: BSD-3-Clause */
/* Threads on one libmuse handle: answers in any order, who reads, orders for the right one, end. */
#include <muse/muse.h>
#include <signal.h>

#include "tests/unit/scripted_server.h"

#define N_THREADS 4u
#define N_ROUNDS  200u

/* A thread that asks for st_ino of a file again and again; the script answers what it likes. */
struct asker {
    pthread_t thread;
    struct muse_file *file;
    unsigned n_calls;
    uint64_t last_inode;
    int last_errno; /* of the first call that failed, which is then the last */
};

static void *ask(void *arg)
{
    struct asker *asker = arg;
    struct stat st;

    for (unsigned i = 0; i < asker->n_calls && asker->last_errno == 0; i++) {
        if (muse_fstat(asker->file, &st) == 0) {
            asker->last_inode = st.st_ino;
        } else {
            asker->last_errno = errno;
        }
    }
    return NULL;
}

static void start_askers(struct asker *askers, size_t n, struct muse_file *file, unsigned n_calls)
{
    for (size_t i = 0; i < n; i++) {
        askers[i] = (struct asker){.file = file, .n_calls = n_calls};
        ck_assert_int_eq(pthread_create(&askers[i].thread, NULL, ask, &askers[i]), 0);
    }
}

static void join_askers(struct asker *askers, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ck_assert_int_eq(pthread_join(askers[i].thread, NULL), 0);
}

static void answer_inode(struct server *server, uint64_t id, uint64_t inode)
{
    Muse__Wire__Stat stat = MUSE__WIRE__STAT__INIT;

    stat.inode = inode;
    server_send(server, FRAME_STAT, id, &stat, -1);
}

/* --- any order --- */

static void script_backwards(struct server *server)
{
    uint64_t ids[N_THREADS];

    server_greet(server);
    server_open(server);
    for (unsigned round = 0; round < N_ROUNDS; round++) {
        for (unsigned i = 0; i < N_THREADS; i++)
            ids[i] = server_await(server, FRAME_FSTAT);
        for (unsigned i = N_THREADS; i > 0; i--)
            answer_inode(server, ids[i - 1], ids[i - 1]);
    }
    server_expect_end(server);
}

START_TEST(answers_in_any_order_reach_their_threads)
{
    struct asker askers[N_THREADS];
    uint64_t sum = 0;
    struct server server;
    struct muse *muse;

    server_start(&server, script_backwards, NULL, 1);
    muse = server_connect(&server);
    start_askers(askers, N_THREADS, open_object(muse), N_ROUNDS);
    join_askers(askers, N_THREADS);
    for (unsigned i = 0; i < N_THREADS; i++) {
        ck_assert_int_eq(askers[i].last_errno, 0);
        sum += askers[i].last_inode;
    }
    ck_assert_uint_gt(sum, 0);
    muse_disconnect(muse);
    server_stop(&server);
}
END_TEST

/* --- the reader leaves --- */

static void script_hand_over(struct server *server)
{
    uint64_t waiting, other;

    server_greet(server);
    server_open(server);
    waiting = server_await(server, FRAME_FSTAT);
    other = server_await(server, FRAME_FSTAT);
    for (unsigned i = 0; i < N_ROUNDS;
         i++) { /* whoever reads, each is once the one who goes on waiting */
        uint64_t next;

        answer_inode(server, other, i);
        next = server_await(server, FRAME_FSTAT);
        other = waiting;
        waiting = next;
    }
    answer_inode(server, other, N_ROUNDS);
    answer_inode(server, waiting, N_ROUNDS);
    server_expect_end(server);
}

START_TEST(a_reader_that_leaves_hands_the_socket_on)
{
    struct asker askers[2];
    struct server server;
    struct muse *muse;

    server_start(&server, script_hand_over, NULL, 1);
    muse = server_connect(&server);
    start_askers(askers, 2, open_object(muse), N_ROUNDS / 2 + 1);
    join_askers(askers, 2);
    for (unsigned i = 0; i < 2; i++) {
        ck_assert_int_eq(askers[i].last_errno, 0);
        ck_assert_uint_ge(askers[i].last_inode, N_ROUNDS - 2);
    }
    muse_disconnect(muse);
    server_stop(&server);
}
END_TEST

/* --- orders for one of them --- */

struct mapper {
    pthread_t thread;
    struct muse *muse;
    struct muse_file *file;
    char *address;
};

static void *map_one(void *arg)
{
    struct mapper *mapper = arg;

    mapper->address = muse_mmap(mapper->muse, NULL, 4096, PROT_READ, MAP_PRIVATE, mapper->file, 0);
    return NULL;
}

static void map_page(struct server *server, uint64_t id, uint64_t addr)
{
    REQUIRE(server_do(server, id, op_map(addr, 4096, PROT_READ, MAP_PRIVATE), -1) == 0);
}

/* Both calls are in flight; the MEM_OPS of each are carried out while the other waits. */
static void script_two_maps(struct server *server)
{
    uint64_t ids[2];

    server_greet(server);
    server_open(server);
    ids[0] = server_await(server, FRAME_MAP);
    ids[1] = server_await(server, FRAME_MAP);
    for (unsigned round = 0; round < 8; round++) {
        for (unsigned i = 0; i < 2; i++)
            map_page(server, ids[i], server->arena_start + i * 4096ull);
    }
    server_mapped(server, ids[1], server->arena_start + 4096);
    server_mapped(server, ids[0], server->arena_start);
    server_expect_end(server);
}

START_TEST(each_thread_carries_out_the_orders_of_its_own_call)
{
    struct mapper mappers[2];
    struct server server;
    struct muse *muse;
    struct muse_file *file;

    server_start(&server, script_two_maps, NULL, 1);
    muse = server_connect(&server);
    file = open_object(muse);
    for (unsigned i = 0; i < 2; i++) {
        mappers[i] = (struct mapper){.muse = muse, .file = file};
        ck_assert_int_eq(pthread_create(&mappers[i].thread, NULL, map_one, &mappers[i]), 0);
    }
    for (unsigned i = 0; i < 2; i++) {
        ck_assert_int_eq(pthread_join(mappers[i].thread, NULL), 0);
        ck_assert_ptr_ne(mappers[i].address, MAP_FAILED);
        ck_assert_int_eq(mappers[i].address[0], 'a');
    }
    ck_assert_ptr_ne(mappers[0].address, mappers[1].address);
    muse_disconnect(muse);
    server_stop(&server);
}
END_TEST

/* --- the end --- */

static void script_die_busy(struct server *server)
{
    server_greet(server);
    server_open(server);
    for (unsigned i = 0; i < N_THREADS; i++)
        (void)server_await(server, FRAME_FSTAT);
}

START_TEST(when_the_server_dies_every_call_in_flight_is_ENOTCONN)
{
    struct asker askers[N_THREADS];
    struct muse_file *file;
    struct server server;
    struct muse *muse;

    server_start(&server, script_die_busy, NULL, 1);
    muse = server_connect(&server);
    file = open_object(muse);
    start_askers(askers, N_THREADS, file, 1);
    join_askers(askers, N_THREADS);
    for (unsigned i = 0; i < N_THREADS; i++)
        ck_assert_int_eq(askers[i].last_errno, ENOTCONN);
    ck_assert_int_eq(muse_close(file), -1);
    ck_assert_int_eq(errno, ENOTCONN);
    muse_disconnect(muse);
    server_stop(&server);
}
END_TEST

/* --- signals and cancellation --- */

static void on_signal(int signal_number)
{
    (void)signal_number;
}

/* The signal was sent when the second request is there: it came while the first call waited. */
static void script_interrupted(struct server *server)
{
    struct asker *asker = server->ctx;
    uint64_t id;

    server_greet(server);
    server_open(server);
    id = server_await(server, FRAME_FSTAT);
    for (unsigned i = 0; i < 20; i++)
        REQUIRE(pthread_kill(asker->thread, SIGUSR1) == 0);
    REQUIRE(pthread_cancel(asker->thread) == 0);
    answer_inode(server, id, 42);
    server_expect_end(server);
}

START_TEST(neither_signals_nor_cancellation_tear_a_call_apart)
{
    struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART */
    struct asker asker;
    struct server server;
    struct muse *muse;
    void *result = NULL;

    ck_assert_int_eq(sigaction(SIGUSR1, &action, NULL), 0);
    server_start(&server, script_interrupted, &asker, 1);
    muse = server_connect(&server);
    asker = (struct asker){.file = open_object(muse), .n_calls = 1};
    ck_assert_int_eq(pthread_create(&asker.thread, NULL, ask, &asker), 0);
    ck_assert_int_eq(pthread_join(asker.thread, &result), 0);
    ck_assert_int_eq(asker.last_errno, 0);
    ck_assert_uint_eq(asker.last_inode, 42);
    muse_disconnect(muse);
    server_stop(&server);
}
END_TEST

static Suite *threads_suite(void)
{
    Suite *suite = suite_create("client_threads");
    TCase *tcase = tcase_create("threads");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, answers_in_any_order_reach_their_threads);
    tcase_add_test(tcase, a_reader_that_leaves_hands_the_socket_on);
    tcase_add_test(tcase, each_thread_carries_out_the_orders_of_its_own_call);
    tcase_add_test(tcase, when_the_server_dies_every_call_in_flight_is_ENOTCONN);
    tcase_add_test(tcase, neither_signals_nor_cancellation_tear_a_call_apart);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(threads_suite());
    int n_failed;

    srunner_run_all(runner, CK_NORMAL);
    n_failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return n_failed == 0 ? 0 : 1;
}
