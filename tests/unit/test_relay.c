/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Records in sub-buffers (drivers/relay/ring.c), and names below relay/: what fits and what does not,
 * producers and readers at the same time, producers that end in the middle, and control pages that
 * somebody has written nonsense to.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include <check.h>

#include "common/base/own.h"
#include "drivers/relay/names.h"
#include "drivers/relay/ring.h"
#include "tests/support/unit.h"

#define SUBBUF    64u
#define N_SUBBUFS 4u

static _Alignas(4096) uint8_t ctl_page[RELAY_CTL_BYTES];
static _Alignas(4096) uint8_t bytes[64 * 1024];

static struct relay_ring ring_new(uint64_t subbuf_bytes, uint64_t n_subbufs, bool overwrite)
{
    struct relay_ctl *ctl = (void *)ctl_page;
    struct relay_ring ring;

    memset(ctl_page, 0, sizeof(ctl_page));
    memset(bytes, 0, sizeof(bytes));
    relay_ctl_init(ctl, subbuf_bytes, n_subbufs, overwrite);
    ck_assert_int_eq(
        relay_ring_attach(&ring, ctl, bytes, relay_alloc_bytes(subbuf_bytes, n_subbufs)), 0);
    return ring;
}

static int put(const struct relay_ring *ring, const char *text)
{
    return relay_write(ring, text, (uint32_t)strlen(text));
}

static void expect(const struct relay_ring *ring, struct relay_reader *reader, const char *text)
{
    char got[SUBBUF];
    ssize_t n = relay_read(ring, reader, got, sizeof(got));

    ck_assert_int_eq(n, (ssize_t)strlen(text));
    ck_assert_mem_eq(got, text, (size_t)n);
}

static void expect_none(const struct relay_ring *ring, struct relay_reader *reader)
{
    char got[SUBBUF];

    ck_assert_int_eq(relay_read(ring, reader, got, sizeof(got)), -EAGAIN);
}

START_TEST(records_come_out_as_they_went_in)
{
    const struct relay_ring ring = ring_new(SUBBUF, N_SUBBUFS, false);
    struct relay_reader reader = {0};

    expect_none(&ring, &reader);
    ck_assert_int_eq(put(&ring, "one"), 0);
    ck_assert_int_eq(put(&ring, ""), 0);
    ck_assert_int_eq(put(&ring, "exactly8"), 0);
    expect(&ring, &reader, "one");
    expect(&ring, &reader, "");
    expect(&ring, &reader, "exactly8");
    expect_none(&ring, &reader);
    ck_assert_uint_eq(ring.ctl->accepted, 3);
}
END_TEST

START_TEST(a_record_never_lies_across_two_subbuffers)
{
    const struct relay_ring ring = ring_new(SUBBUF, N_SUBBUFS, false);
    struct relay_reader reader = {0};
    char whole[SUBBUF - 8 + 1];

    memset(whole, 'w', sizeof(whole));
    whole[sizeof(whole) - 1] = '\0';
    for (unsigned i = 0; i < 3 * N_SUBBUFS; i++) {
        ck_assert_int_eq(put(&ring, "short"), 0);
        ck_assert_int_eq(put(&ring, whole), 0);
        expect(&ring, &reader, "short");
        expect(&ring, &reader, whole);
    }
    ck_assert_uint_eq(ring.ctl->lost, 0);
}
END_TEST

START_TEST(what_is_larger_than_a_subbuffer_is_refused_and_counted)
{
    const struct relay_ring ring = ring_new(SUBBUF, N_SUBBUFS, false);
    struct relay_record record;

    ck_assert_int_eq(relay_reserve(&ring, SUBBUF - 7, &record), -EMSGSIZE);
    ck_assert_int_eq(relay_reserve(&ring, UINT32_MAX, &record), -EMSGSIZE);
    ck_assert_uint_eq(ring.ctl->lost, 2);
    ck_assert_uint_eq(ring.ctl->reserved, 0);
}
END_TEST

START_TEST(a_full_buffer_refuses_until_a_subbuffer_is_given_back)
{
    const struct relay_ring ring = ring_new(SUBBUF, N_SUBBUFS, false);
    struct relay_reader looker = {.keeps = true};
    struct relay_reader reader = {0};
    unsigned n_accepted = 0;

    while (put(&ring, "0123456789") == 0)
        n_accepted++;
    ck_assert_uint_eq(n_accepted, N_SUBBUFS * 2); /* 24 bytes each, and 16 of padding */
    ck_assert_int_eq(put(&ring, "0123456789"), -ENOBUFS);
    ck_assert_uint_eq(ring.ctl->lost, 2);
    expect(&ring, &looker, "0123456789");
    for (unsigned i = 0; i < 2; i++) {
        ck_assert_int_eq(put(&ring, "0123456789"), -ENOBUFS);
        expect(&ring, &reader, "0123456789");
    }
    expect(&ring, &reader, "0123456789"); /* past the padding: the first is given back */
    ck_assert_uint_eq(ring.ctl->consumed, 1);
    ck_assert_int_eq(put(&ring, "again"), 0);
}
END_TEST

START_TEST(a_reader_that_comes_later_begins_at_what_was_not_given_back)
{
    const struct relay_ring ring = ring_new(SUBBUF, N_SUBBUFS, false);
    struct relay_reader first = {0};
    struct relay_reader second = {0};

    ck_assert_int_eq(put(&ring, "0123456789abcdef0123456789abcdef0123456789abcdef01234567"), 0);
    ck_assert_int_eq(put(&ring, "next"), 0);
    expect(&ring, &first, "0123456789abcdef0123456789abcdef0123456789abcdef01234567");
    expect(&ring, &second, "next");
}
END_TEST

START_TEST(with_overwrite_the_oldest_subbuffers_go_and_the_reader_knows_how_many)
{
    const struct relay_ring ring = ring_new(SUBBUF, N_SUBBUFS, true);
    struct relay_reader reader = {0};
    char text[16];

    for (unsigned i = 0; i < 20; i++) { /* two in each sub-buffer: ten of them */
        (void)snprintf(text, sizeof(text), "number %03u", i);
        ck_assert_int_eq(put(&ring, text), 0);
    }
    for (unsigned i = 12; i < 20; i++) {
        (void)snprintf(text, sizeof(text), "number %03u", i);
        expect(&ring, &reader, text);
    }
    expect_none(&ring, &reader);
    ck_assert_uint_eq(reader.skipped, 6);
    ck_assert_uint_eq(ring.ctl->lost, 0);
    ck_assert_uint_eq(ring.ctl->accepted, 20);
}
END_TEST

START_TEST(a_subbuffer_with_an_unfinished_record_is_not_overwritten)
{
    const struct relay_ring ring = ring_new(SUBBUF, 2, true);
    struct relay_record slow;

    ck_assert_int_eq(relay_reserve(&ring, 4, &slow), 0);
    while (put(&ring, "0123456789") == 0)
        continue;
    ck_assert_uint_lt(ring.ctl->reserved, 3 * SUBBUF);
    memcpy(slow.bytes, "slow", 4);
    relay_commit(&ring, &slow);
    ck_assert_int_eq(put(&ring, "0123456789"), 0);
}
END_TEST

START_TEST(a_record_that_is_being_written_is_not_seen)
{
    const struct relay_ring ring = ring_new(SUBBUF, N_SUBBUFS, false);
    struct relay_reader reader = {0};
    struct relay_record record;

    ck_assert_int_eq(relay_reserve(&ring, 4, &record), 0);
    ck_assert_int_eq(put(&ring, "after"), 0);
    expect_none(&ring, &reader);
    memcpy(record.bytes, "wait", 4);
    relay_commit(&ring, &record);
    expect(&ring, &reader, "wait");
    expect(&ring, &reader, "after");
}
END_TEST

START_TEST(what_nobody_will_finish_is_given_up_and_the_rest_arrives)
{
    const bool overwrite = _i;
    const struct relay_ring ring = ring_new(SUBBUF, N_SUBBUFS, overwrite);
    struct relay_reader reader = {0};
    struct relay_record dead;

    ck_assert_int_eq(put(&ring, "before"), 0);
    ck_assert_int_eq(relay_reserve(&ring, 4, &dead), 0);
    ck_assert_int_eq(put(&ring, "after"), 0);
    ck_assert_uint_eq(relay_ring_repair(&ring), 1);
    ck_assert_uint_eq(relay_ring_repair(&ring), 0);
    expect(&ring, &reader, "before");
    expect(&ring, &reader, "after");
    for (unsigned i = 0; i < 3 * N_SUBBUFS; i++) { /* each slot can be used again */
        ck_assert_int_eq(put(&ring, "a longer record of forty bytes, and more"), 0);
        expect(&ring, &reader, "a longer record of forty bytes, and more");
    }
    ck_assert_uint_eq(ring.ctl->aborted, 1);
    ck_assert_uint_eq(ring.ctl->lost, 0);
}
END_TEST

/* Dead between the two steps of relay_reserve(): the room is taken, the header is not written. */
START_TEST(room_without_a_header_costs_the_rest_of_its_subbuffer)
{
    const struct relay_ring ring = ring_new(SUBBUF, N_SUBBUFS, false);
    struct relay_reader reader = {0};

    ck_assert_int_eq(put(&ring, "before"), 0);
    ring.ctl->reserved += 16;
    ck_assert_int_eq(put(&ring, "after"), 0);
    ck_assert_uint_eq(relay_ring_repair(&ring), 1);
    ck_assert_int_eq(put(&ring, "new"), 0);
    expect(&ring, &reader, "before");
    expect(&ring, &reader, "new");
}
END_TEST

START_TEST(a_buffer_that_is_too_small_for_the_record_says_so_and_keeps_it)
{
    const struct relay_ring ring = ring_new(SUBBUF, N_SUBBUFS, false);
    struct relay_reader reader = {0};
    char got[4];

    ck_assert_int_eq(put(&ring, "12345"), 0);
    ck_assert_int_eq(relay_read(&ring, &reader, got, sizeof(got)), -EMSGSIZE);
    expect(&ring, &reader, "12345");
}
END_TEST

START_TEST(nonsense_in_the_control_page_never_leads_outside)
{
    static const uint64_t numbers[] = {1,          7,          8,          SUBBUF - 8,
                                       SUBBUF * 9, UINT64_MAX, INT64_MAX,  UINT64_MAX - 7,
                                       1ull << 32, 12345678,   0x80000008, UINT64_MAX / 64 * 64};
    const struct relay_ring ring = ring_new(SUBBUF, N_SUBBUFS, _i);
    const size_t used = SUBBUF * N_SUBBUFS;
    uint64_t state = unit_seed();
    char got[SUBBUF];

    for (unsigned i = 0; i < 20000; i++) {
        struct relay_reader reader = {0};
        const uint64_t *random = &numbers[unit_random(&state) % N_ELEMENTS(numbers)];

        ring.ctl->reserved = *random;
        ring.ctl->consumed = numbers[unit_random(&state) % N_ELEMENTS(numbers)];
        ring.ctl->committed[i % N_SUBBUFS] = numbers[unit_random(&state) % N_ELEMENTS(numbers)];
        memset(bytes + unit_random(&state) % used, (int)unit_random(&state), 1);
        (void)!put(&ring, "0123456789");
        for (unsigned n = 0; n < 8; n++)
            (void)!relay_read(&ring, &reader, got, sizeof(got));
        (void)relay_ring_repair(&ring);
        for (size_t at = used; at < used + 4096 - used % 4096; at++)
            UNIT_EXPECT(bytes[at] == 0);
    }
}
END_TEST

START_TEST(a_control_page_that_does_not_fit_is_refused)
{
    struct relay_ring ring = ring_new(SUBBUF, N_SUBBUFS, false);
    struct relay_ctl *ctl = ring.ctl;

    ck_assert_int_eq(relay_ring_attach(&ring, ctl, bytes, 8192), -EPROTO);
    ctl->subbuf_bytes = 60;
    ck_assert_int_eq(relay_ring_attach(&ring, ctl, bytes, 4096), -EPROTO);
    ctl->subbuf_bytes = SUBBUF;
    ctl->n_subbufs = 257;
    ck_assert_int_eq(relay_ring_attach(&ring, ctl, bytes, 4096), -EPROTO);
    ctl->n_subbufs = 0;
    ck_assert_int_eq(relay_ring_attach(&ring, ctl, bytes, 0), -EPROTO);
    ctl->n_subbufs = N_SUBBUFS;
    ctl->magic++;
    ck_assert_int_eq(relay_ring_attach(&ring, ctl, bytes, 4096), -EPROTO);
}
END_TEST

/* ---- at the same time ---- */

#define N_PRODUCERS 3u
#define N_EACH      40000u

/* All bytes of a record follow from its first two words, so that a torn one is seen. */
struct message {
    uint32_t producer;
    uint32_t number;
    uint8_t rest[40];
};

static struct relay_ring shared;
static _Atomic unsigned n_running;

static uint32_t message_make(uint32_t producer, uint32_t number, struct message *ret)
{
    const uint32_t n_rest = (number * 7 + producer) % sizeof(ret->rest);

    ret->producer = producer;
    ret->number = number;
    memset(ret->rest, (int)(number * 31 + producer), n_rest);
    return 8 + n_rest;
}

static void *produce(void *arg)
{
    const uint32_t producer = *(const uint32_t *)arg;
    struct message message;

    for (uint32_t number = 0; number < N_EACH; number++) {
        const uint32_t n_bytes = message_make(producer, number, &message);

        if (relay_write(&shared, &message, n_bytes) < 0)
            sched_yield();
    }
    n_running--;
    return NULL;
}

/* Return: records that arrived; each is whole, and those of a producer are in order. */
static uint64_t receive_all(struct relay_reader *reader)
{
    uint32_t next[N_PRODUCERS] = {0};
    uint64_t n_read = 0;

    for (;;) {
        const bool was_last = n_running == 0;
        struct message got, expected;
        ssize_t n = relay_read(&shared, reader, &got, sizeof(got));

        if (n < 0) {
            UNIT_EXPECT(n == -EAGAIN);
            if (was_last)
                return n_read;
            sched_yield();
            continue;
        }
        UNIT_EXPECT(got.producer < N_PRODUCERS && got.number >= next[got.producer]);
        UNIT_EXPECT(n == (ssize_t)message_make(got.producer, got.number, &expected));
        UNIT_EXPECT(memcmp(&got, &expected, (size_t)n) == 0);
        next[got.producer] = got.number + 1;
        n_read++;
    }
}

START_TEST(records_of_several_threads_are_neither_torn_nor_mixed)
{
    const bool overwrite = _i;
    uint32_t ids[N_PRODUCERS];
    pthread_t threads[N_PRODUCERS];
    struct relay_reader reader = {0};
    uint64_t n_read;

    shared = ring_new(1024, 8, overwrite);
    n_running = N_PRODUCERS;
    for (uint32_t i = 0; i < N_PRODUCERS; i++) {
        ids[i] = i;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, produce, &ids[i]), 0);
    }
    n_read = receive_all(&reader);
    for (uint32_t i = 0; i < N_PRODUCERS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_uint_eq(shared.ctl->accepted + shared.ctl->lost, N_PRODUCERS * N_EACH);
    if (!overwrite) { /* what was accepted was read, all of it */
        ck_assert_uint_eq(n_read, shared.ctl->accepted);
        ck_assert_uint_eq(reader.skipped, 0);
    } else {
        ck_assert_uint_le(n_read, shared.ctl->accepted);
        ck_assert_uint_eq(n_read<shared.ctl->accepted, reader.skipped> 0);
    }
}
END_TEST

/* ---- names ---- */

START_TEST(names_are_read_exactly)
{
    static const struct {
        const char *path;
        int result;
        enum relay_name_kind kind;
        uint32_t cpu;
    } rows[] = {
        {"", 0, RELAY_NAME_ROOT, 0},
        {"trace", 0, RELAY_NAME_CHANNEL, 0},
        {"trace/", 0, RELAY_NAME_CHANNEL, 0},
        {"trace/cpu0", 0, RELAY_NAME_BUFFER, 0},
        {"trace/cpu1023", 0, RELAY_NAME_BUFFER, 1023},
        {"trace/cpu12.ctl", 0, RELAY_NAME_CTL, 12},
        {"trace/cpu1024", -ENOENT, 0, 0},
        {"trace/cpu99999999999999999999", -ENOENT, 0, 0},
        {"trace/cpu", -ENOENT, 0, 0},
        {"trace/cpu01", -ENOENT, 0, 0},
        {"trace/cpu+1", -ENOENT, 0, 0},
        {"trace/cpu1x", -ENOENT, 0, 0},
        {"trace/cpu1.ctlx", -ENOENT, 0, 0},
        {"trace/other", -ENOENT, 0, 0},
        {"trace/cpu1/x", -ENOTDIR, 0, 0},
        {"trace//cpu1", -ENOENT, 0, 0},
        {"..", -ENOENT, 0, 0},
        {"a b/cpu0", -ENOENT, 0, 0},
        {"/cpu0", -ENOENT, 0, 0},
        {"a123456789a123456789a123456789a123456789a123456789a123456789abcd", -ENOENT, 0, 0},
    };

    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        struct relay_name name;
        const int r = relay_name_parse(rows[i].path, &name);

        ck_assert_msg(r == rows[i].result, "%s: %d", rows[i].path, r);
        if (r == 0)
            ck_assert_msg(name.kind == rows[i].kind && name.cpu == rows[i].cpu, "%s", rows[i].path);
    }
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("relay");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, records_come_out_as_they_went_in);
    tcase_add_test(tcase, a_record_never_lies_across_two_subbuffers);
    tcase_add_test(tcase, what_is_larger_than_a_subbuffer_is_refused_and_counted);
    tcase_add_test(tcase, a_full_buffer_refuses_until_a_subbuffer_is_given_back);
    tcase_add_test(tcase, a_reader_that_comes_later_begins_at_what_was_not_given_back);
    tcase_add_test(tcase, with_overwrite_the_oldest_subbuffers_go_and_the_reader_knows_how_many);
    tcase_add_test(tcase, a_subbuffer_with_an_unfinished_record_is_not_overwritten);
    tcase_add_test(tcase, a_record_that_is_being_written_is_not_seen);
    tcase_add_loop_test(tcase, what_nobody_will_finish_is_given_up_and_the_rest_arrives, 0, 2);
    tcase_add_test(tcase, room_without_a_header_costs_the_rest_of_its_subbuffer);
    tcase_add_test(tcase, a_buffer_that_is_too_small_for_the_record_says_so_and_keeps_it);
    tcase_add_loop_test(tcase, nonsense_in_the_control_page_never_leads_outside, 0, 2);
    tcase_add_test(tcase, a_control_page_that_does_not_fit_is_refused);
    tcase_add_loop_test(tcase, records_of_several_threads_are_neither_torn_nor_mixed, 0, 2);
    tcase_add_test(tcase, names_are_read_exactly);
    return unit_run("relay", tcase);
}
