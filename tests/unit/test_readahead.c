/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of server/fault/readahead.h with simulated readers. The simulation is the rest of the fault
 * path in small: what is planned becomes valid and is mapped, but for the marker; a touch of a
 * mapped page is not seen.
 */
#include <string.h>

#include <check.h>

#include "server/fault/readahead.h"
#include "tests/support/unit.h"

#define N_PAGES 20000u

enum sim_page { SIM_ABSENT, SIM_VALID, SIM_MAPPED };

struct sim {
    struct vma_stream stream;
    struct readahead_limits limits;
    struct readahead_plan plan; /* of the last touch that was seen */
    uint8_t pages[N_PAGES];
    unsigned int n_seen;   /* touches that the server saw */
    unsigned int n_missed; /* of them, of pages that were not there: the reader waited for bytes */
    uint64_t n_filled;
};

static struct sim sim;

static void setup(void)
{
    memset(&sim, 0, sizeof(sim));
    sim.limits = (struct readahead_limits){.pages = {0, N_PAGES}, .max_pages = 512};
}

static void fill_range(struct range pages)
{
    ck_assert(range_contains_range(sim.limits.pages, pages));
    for (; pages.start < pages.end; pages.start++) {
        if (sim.pages[pages.start] != SIM_ABSENT)
            continue;
        sim.pages[pages.start] = SIM_VALID;
        sim.n_filled++;
    }
}

static void map_range(struct range pages)
{
    for (; pages.start < pages.end; pages.start++) {
        if (sim.pages[pages.start] == SIM_VALID)
            sim.pages[pages.start] = SIM_MAPPED;
    }
}

static uint64_t history(uint64_t page)
{
    uint64_t n = 0;

    while (n < page && n < READAHEAD_AROUND_PAGES && sim.pages[page - 1 - n] != SIM_ABSENT)
        n++;
    return n;
}

static void check_plan(uint64_t page)
{
    const struct readahead_plan *plan = &sim.plan;

    ck_assert(range_contains(plan->now, page));
    ck_assert(range_contains(plan->around, page));
    ck_assert(range_contains_range(sim.limits.pages, plan->now));
    ck_assert(range_contains_range(sim.limits.pages, plan->around));
    ck_assert_uint_le(range_len(plan->now), sim.limits.max_pages + sim.limits.max_pages / 2);
    ck_assert_uint_le(range_len(plan->ahead), sim.limits.max_pages + sim.limits.max_pages / 2);
    if (!range_is_empty(plan->ahead)) {
        ck_assert(range_contains_range(sim.limits.pages, plan->ahead));
        ck_assert(sim.stream.has_marker);
        ck_assert_uint_eq(sim.stream.marker, plan->ahead.start);
        ck_assert(!range_contains(plan->around, sim.stream.marker));
    }
}

static void touch(uint64_t page)
{
    if (sim.pages[page] == SIM_MAPPED)
        return;
    sim.n_seen++;
    sim.n_missed += sim.pages[page] == SIM_ABSENT;
    readahead_touch(&sim.stream, &sim.limits, page, history(page), &sim.plan);
    check_plan(page);
    if (sim.pages[page] == SIM_ABSENT || !range_is_empty(sim.plan.ahead))
        fill_range(sim.plan.now);
    fill_range(sim.plan.ahead);
    map_range(sim.plan.around);
    if (sim.stream.has_marker) {
        map_range((struct range){page, sim.stream.marker});
        map_range((struct range){sim.stream.marker + 1, sim.stream.end});
    }
    ck_assert_int_eq(sim.pages[page], SIM_MAPPED);
}

START_TEST(the_first_touch_gets_a_small_window)
{
    touch(1000);
    ck_assert(range_equal(sim.plan.now, (struct range){992, 1008}));
    ck_assert(range_is_empty(sim.plan.ahead));
}
END_TEST

START_TEST(a_sequential_reader_doubles_its_window_up_to_the_largest)
{
    static const uint64_t ahead[] = {64, 128, 256, 512 + 16, 512, 512}; /* then whole blocks */
    uint64_t page = 0;

    touch(0);
    ck_assert_uint_eq(range_len(sim.plan.now), 16);
    while (sim.pages[page] == SIM_MAPPED)
        page++;
    touch(page);
    ck_assert(range_equal(sim.plan.now, (struct range){16, 48}));
    ck_assert_uint_eq(range_len(sim.plan.ahead), ahead[0]);
    for (unsigned int i = 1; i < 6; i++) {
        page = sim.stream.marker;
        touch(page);
        ck_assert_uint_eq(range_len(sim.plan.ahead), ahead[i]);
    }
    ck_assert_uint_eq(sim.plan.ahead.start % 512, 0);
}
END_TEST

START_TEST(a_sequential_reader_waits_for_bytes_only_at_its_start)
{
    for (uint64_t page = 0; page < N_PAGES; page++)
        touch(page);
    ck_assert_uint_eq(sim.n_missed, 2);
    ck_assert_uint_le(sim.n_seen, 2 + 4 + N_PAGES / 512 + 1);
    ck_assert_uint_eq(sim.n_filled, N_PAGES);
}
END_TEST

START_TEST(the_marker_is_the_first_page_ahead_and_starts_the_next_window_when_touched)
{
    uint64_t marker;

    touch(0);
    touch(16);
    marker = sim.stream.marker;
    ck_assert_uint_eq(marker, sim.plan.ahead.start);
    ck_assert_int_eq(sim.pages[marker], SIM_VALID);
    ck_assert_int_eq(sim.pages[marker + 1], SIM_MAPPED);
    touch(marker);
    ck_assert_uint_eq(sim.plan.now.start, marker);
    ck_assert_uint_eq(sim.plan.ahead.start, sim.plan.now.end);
}
END_TEST

START_TEST(a_random_reader_ends_with_single_pages)
{
    uint64_t random = unit_seed();
    uint64_t before;

    for (unsigned int i = 0; i < 16; i++)
        touch(i * 1000 + 500 + unit_random(&random) % 300);
    before = sim.n_filled;
    for (unsigned int i = 0; i < 16; i++)
        touch(i * 1000 + unit_random(&random) % 300);
    ck_assert_uint_eq(sim.stream.window, 1);
    ck_assert_uint_eq(sim.n_filled - before, 16);
}
END_TEST

START_TEST(a_random_reader_that_becomes_sequential_grows_again)
{
    for (unsigned int i = 0; i < 8; i++)
        touch((i * 7919 + 13) % 10000);
    ck_assert_uint_eq(sim.stream.window, 1);
    sim.n_missed = 0;
    for (uint64_t page = 12000; page < 16000; page++)
        touch(page);
    ck_assert_uint_le(sim.n_missed, 6);
    ck_assert_uint_eq(sim.stream.window, 512);
}
END_TEST

START_TEST(a_wide_stride_is_not_read_ahead)
{
    for (uint64_t page = 0; page < N_PAGES; page += 1000)
        touch(page);
    ck_assert_uint_le(sim.n_filled, 16 + 8 + 4 + 2 + 17);
}
END_TEST

START_TEST(a_narrow_stride_is_read_as_a_whole)
{
    for (uint64_t page = 0; page < 10000; page += 3)
        touch(page);
    ck_assert_uint_le(sim.n_missed, 20);
}
END_TEST

START_TEST(a_backward_reader_gets_windows_that_end_where_it_was)
{
    for (uint64_t page = 10000; page-- > 5000;)
        touch(page);
    ck_assert_uint_eq(sim.stream.window, 512);
    ck_assert_uint_le(sim.n_missed, 20);
    ck_assert(!sim.stream.has_marker);
}
END_TEST

START_TEST(two_readers_in_one_mapping_are_both_read_ahead)
{
    for (uint64_t i = 0; i < 4000; i++) {
        touch(i);
        touch(10000 + i);
    }
    ck_assert_uint_le(sim.n_missed, 2 * (4000 / 64) + 40);
}
END_TEST

START_TEST(advice_random_gets_exactly_the_page)
{
    sim.limits.random = true;
    for (uint64_t page = 100; page < 200; page++) {
        touch(page);
        ck_assert(range_equal(sim.plan.now, (struct range){page, page + 1}));
        ck_assert(range_is_empty(sim.plan.ahead));
        ck_assert(range_equal(sim.plan.around, sim.plan.now));
    }
    ck_assert_uint_eq(sim.n_filled, 100);
}
END_TEST

START_TEST(advice_sequential_gets_the_largest_window_at_once)
{
    sim.limits.sequential = true;
    touch(100);
    ck_assert(range_equal(sim.plan.now, (struct range){100, 512}));
    ck_assert(range_equal(sim.plan.ahead, (struct range){512, 1024}));
    touch(1900);
    ck_assert(range_equal(sim.plan.now, (struct range){1900, 2560}));
    ck_assert(range_equal(sim.plan.ahead, (struct range){2560, 3072}));
}
END_TEST

START_TEST(a_repeated_touch_changes_nothing)
{
    struct vma_stream before;
    struct readahead_plan plan;

    touch(0);
    touch(16);
    before = sim.stream;
    for (unsigned int i = 0; i < 5; i++) {
        readahead_touch(&sim.stream, &sim.limits, 16, 0, &plan);
        ck_assert(range_is_empty(plan.ahead));
        ck_assert_uint_eq(range_len(plan.now), 1);
    }
    ck_assert_uint_eq(sim.stream.window, before.window);
    ck_assert_uint_eq(sim.stream.marker, before.marker);
    ck_assert_uint_eq(sim.stream.end, before.end);
}
END_TEST

START_TEST(windows_end_with_the_mapping)
{
    sim.limits.pages = (struct range){100, 150};
    touch(100);
    ck_assert(range_equal(sim.plan.now, (struct range){100, 116}));
    touch(116);
    ck_assert(range_equal(sim.plan.now, (struct range){116, 148}));
    ck_assert(range_equal(sim.plan.ahead, (struct range){148, 150}));
    touch(148);
    ck_assert(range_is_empty(sim.plan.ahead));
    ck_assert(!sim.stream.has_marker);
}
END_TEST

START_TEST(huge_pages_come_one_at_a_time_and_one_ahead)
{
    sim.limits.max_pages = 1;
    touch(0);
    ck_assert(range_equal(sim.plan.now, (struct range){0, 1}));
    for (uint64_t page = 1; page < 100; page++) {
        touch(page);
        ck_assert(range_equal(sim.plan.now, (struct range){page, page + 1}));
        ck_assert(range_equal(sim.plan.ahead, (struct range){page + 1, page + 2}));
    }
    ck_assert_uint_eq(sim.n_missed, 2);
}
END_TEST

START_TEST(a_mapping_that_was_cut_starts_afresh)
{
    touch(0);
    touch(16);
    sim.limits.pages = (struct range){0, 40};
    touch(39);
    touch(20);
    sim.limits.pages = (struct range){30, N_PAGES};
    touch(30);
}
END_TEST

START_TEST(a_forgotten_marker_is_shown_like_any_page)
{
    struct range pages = {0, 200};

    touch(0);
    touch(16);
    ck_assert_uint_eq(readahead_clip(&sim.stream, pages, 16).end, sim.stream.marker);
    ck_assert_uint_eq(readahead_clip(&sim.stream, pages, sim.stream.marker + 1).start,
                      sim.stream.marker + 1);
    ck_assert(range_equal(readahead_clip(&sim.stream, pages, sim.stream.marker), pages));
    readahead_forget(&sim.stream);
    ck_assert(range_equal(readahead_clip(&sim.stream, pages, 16), pages));
}
END_TEST

START_TEST(what_was_shown_ahead_is_not_shown_again_with_the_marker)
{
    uint64_t marker;

    touch(0);
    touch(16);
    marker = sim.stream.marker;
    readahead_shown(&sim.stream, (struct range){marker + 1, marker + 10});
    readahead_shown(&sim.stream, (struct range){marker + 20, marker + 30}); /* not in a row */
    readahead_shown(&sim.stream, (struct range){marker + 10, marker + 12});
    touch(marker);
    ck_assert(range_equal(sim.plan.mapped, (struct range){marker + 1, marker + 12}));
    ck_assert_uint_eq(sim.stream.shown_end, sim.stream.marker + 1);
}
END_TEST

START_TEST(a_page_behind_the_marker_that_is_touched_was_not_shown)
{
    uint64_t marker;

    touch(0);
    touch(16);
    marker = sim.stream.marker;
    readahead_shown(&sim.stream, (struct range){marker + 1, marker + 10});
    sim.pages[marker + 3] = SIM_VALID; /* the client dropped it: MADV_DONTNEED */
    touch(marker + 3);
    ck_assert(!range_contains(sim.plan.mapped, marker + 3));
}
END_TEST

START_TEST(limits_count_in_the_pages_of_the_object)
{
    struct vma vma = {.start = 0x400000, .end = 0xc00000, .pgoff = 1024, .flags = VMF_SEQ_READ};
    struct readahead_limits limits = readahead_limits_of(&vma, 12, 1024 + 100);

    ck_assert(range_equal(limits.pages, (struct range){1024, 1124}));
    ck_assert_uint_eq(limits.max_pages, 1024);
    ck_assert(limits.sequential && !limits.random);
    vma.flags = VMF_RAND_READ;
    limits = readahead_limits_of(&vma, 21, 5);
    ck_assert(range_equal(limits.pages, (struct range){2, 5}));
    ck_assert_uint_eq(limits.max_pages, 2);
    ck_assert(!limits.sequential && limits.random);
    ck_assert(range_is_empty(readahead_limits_of(&vma, 21, 2).pages));
}
END_TEST

START_TEST(no_touch_plans_outside_its_mapping)
{
    uint64_t random = unit_seed();

    for (unsigned int i = 0; i < 20000; i++) {
        uint64_t page = unit_random(&random) % N_PAGES;
        uint64_t n = unit_random(&random) % 50;

        if (i % 50 == 0)
            memset(sim.pages, SIM_ABSENT, sizeof(sim.pages));
        while (n-- > 0 && page < N_PAGES)
            touch(page++);
    }
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("readahead");

    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, the_first_touch_gets_a_small_window);
    tcase_add_test(tcase, a_sequential_reader_doubles_its_window_up_to_the_largest);
    tcase_add_test(tcase, a_sequential_reader_waits_for_bytes_only_at_its_start);
    tcase_add_test(tcase,
                   the_marker_is_the_first_page_ahead_and_starts_the_next_window_when_touched);
    tcase_add_test(tcase, a_random_reader_ends_with_single_pages);
    tcase_add_test(tcase, a_random_reader_that_becomes_sequential_grows_again);
    tcase_add_test(tcase, a_wide_stride_is_not_read_ahead);
    tcase_add_test(tcase, a_narrow_stride_is_read_as_a_whole);
    tcase_add_test(tcase, a_backward_reader_gets_windows_that_end_where_it_was);
    tcase_add_test(tcase, two_readers_in_one_mapping_are_both_read_ahead);
    tcase_add_test(tcase, advice_random_gets_exactly_the_page);
    tcase_add_test(tcase, advice_sequential_gets_the_largest_window_at_once);
    tcase_add_test(tcase, a_repeated_touch_changes_nothing);
    tcase_add_test(tcase, windows_end_with_the_mapping);
    tcase_add_test(tcase, huge_pages_come_one_at_a_time_and_one_ahead);
    tcase_add_test(tcase, a_mapping_that_was_cut_starts_afresh);
    tcase_add_test(tcase, a_forgotten_marker_is_shown_like_any_page);
    tcase_add_test(tcase, what_was_shown_ahead_is_not_shown_again_with_the_marker);
    tcase_add_test(tcase, a_page_behind_the_marker_that_is_touched_was_not_shown);
    tcase_add_test(tcase, limits_count_in_the_pages_of_the_object);
    tcase_add_test(tcase, no_touch_plans_outside_its_mapping);
    return unit_run("readahead", tcase);
}
