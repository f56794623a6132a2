/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of proto/fill_ring.h: order, fullness, wrapping indices, two threads, and a peer that
 * writes nonsense into the shared indices. */
#include <pthread.h>
#include <string.h>

#include <check.h>

#include "proto/fill_ring.h"
#include "tests/support/unit.h"

static struct fill_ring ring;

static void setup(void)
{
    memset(&ring, 0, sizeof(ring));
}

static struct fill_ask ask_of(uint64_t id)
{
    return (struct fill_ask){.request_id = id, .object_key = ~id, .first_page = 3 * id};
}

static struct fill_answer answer_of(uint64_t id)
{
    return (struct fill_answer){.request_id = id, .object_key = ~id, .n_pages = 3 * id};
}

START_TEST(asks_and_answers_come_out_in_order_and_do_not_mix)
{
    struct fill_ask ask;
    struct fill_answer answer;

    for (uint64_t i = 1; i <= 5; i++) {
        const struct fill_ask put_ask = ask_of(i);
        const struct fill_answer put_answer = answer_of(100 + i);

        ck_assert(fill_ring_put_ask(&ring, &put_ask));
        ck_assert(fill_ring_put_answer(&ring, &put_answer));
    }
    for (uint64_t i = 1; i <= 5; i++) {
        ck_assert(fill_ring_take_ask(&ring, &ask));
        ck_assert_uint_eq(ask.request_id, i);
        ck_assert_uint_eq(ask.object_key, ~i);
        ck_assert_uint_eq(ask.first_page, 3 * i);
        ck_assert(fill_ring_take_answer(&ring, &answer));
        ck_assert_uint_eq(answer.request_id, 100 + i);
        ck_assert_uint_eq(answer.n_pages, 300 + 3 * i);
    }
    ck_assert(!fill_ring_take_ask(&ring, &ask));
    ck_assert(!fill_ring_take_answer(&ring, &answer));
}
END_TEST

START_TEST(a_full_queue_takes_no_more_until_one_was_taken)
{
    /* indices that are about to wrap around */
    atomic_store(&ring.ask_head, UINT32_MAX - 7);
    atomic_store(&ring.ask_tail, UINT32_MAX - 7);
    for (unsigned round = 0; round < 3; round++) {
        struct fill_ask ask = ask_of(0);

        for (unsigned i = 0; i < FILL_RING_ENTRIES; i++) {
            ask.request_id = i;
            ck_assert(fill_ring_put_ask(&ring, &ask));
        }
        ck_assert(!fill_ring_put_ask(&ring, &ask));
        ck_assert(fill_ring_take_ask(&ring, &ask));
        ck_assert_uint_eq(ask.request_id, 0);
        ask.request_id = FILL_RING_ENTRIES;
        ck_assert(fill_ring_put_ask(&ring, &ask));
        ck_assert(!fill_ring_put_ask(&ring, &ask));
        for (unsigned i = 1; i <= FILL_RING_ENTRIES; i++) {
            ck_assert(fill_ring_take_ask(&ring, &ask));
            ck_assert_uint_eq(ask.request_id, i);
        }
        ck_assert(!fill_ring_take_ask(&ring, &ask));
    }
}
END_TEST

START_TEST(a_full_answer_queue_takes_no_more)
{
    struct fill_answer answer = answer_of(1);

    for (unsigned i = 0; i < FILL_RING_ENTRIES; i++)
        ck_assert(fill_ring_put_answer(&ring, &answer));
    ck_assert(!fill_ring_put_answer(&ring, &answer));
    ck_assert(fill_ring_take_answer(&ring, &answer));
    ck_assert(fill_ring_put_answer(&ring, &answer));
}
END_TEST

/* Whatever the other side writes into the indices, no entry outside of the arrays is touched (the
 * sanitizers look) and every call returns. */
START_TEST(nonsense_in_the_indices_stays_inside_the_ring)
{
    uint64_t random = unit_seed();

    for (unsigned i = 0; i < 10000; i++) {
        struct fill_ask ask = ask_of(i);
        struct fill_answer answer = answer_of(i);

        atomic_store(&ring.ask_head, (uint32_t)unit_random(&random));
        atomic_store(&ring.ask_tail, (uint32_t)unit_random(&random));
        atomic_store(&ring.answer_head, (uint32_t)unit_random(&random));
        atomic_store(&ring.answer_tail, (uint32_t)unit_random(&random));
        (void)fill_ring_put_ask(&ring, &ask);
        (void)fill_ring_take_ask(&ring, &ask);
        (void)fill_ring_put_answer(&ring, &answer);
        (void)fill_ring_take_answer(&ring, &answer);
    }
}
END_TEST

#define N_ASKS 100000u

static void *take_all(void *unused)
{
    uint64_t next = 0;

    while (next < N_ASKS) {
        struct fill_ask ask;

        if (!fill_ring_take_ask(&ring, &ask))
            continue;
        if (ask.request_id != next || ask.object_key != ~next || ask.first_page != 3 * next)
            return (void *)(uintptr_t)1;
        next++;
    }
    return unused;
}

START_TEST(two_threads_see_whole_entries)
{
    pthread_t driver;
    void *failed;

    ck_assert_int_eq(pthread_create(&driver, NULL, take_all, NULL), 0);
    for (uint64_t i = 0; i < N_ASKS;) {
        const struct fill_ask ask = ask_of(i);

        if (fill_ring_put_ask(&ring, &ask))
            i++;
    }
    ck_assert_int_eq(pthread_join(driver, &failed), 0);
    ck_assert_ptr_null(failed);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("fill_ring");

    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, asks_and_answers_come_out_in_order_and_do_not_mix);
    tcase_add_test(tcase, a_full_queue_takes_no_more_until_one_was_taken);
    tcase_add_test(tcase, a_full_answer_queue_takes_no_more);
    tcase_add_test(tcase, nonsense_in_the_indices_stays_inside_the_ring);
    tcase_add_test(tcase, two_threads_see_whole_entries);
    return unit_run("fill_ring", tcase);
}
