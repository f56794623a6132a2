/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of server/cache/page_table.h: every state times every state, claims, and searches against a
 * byte-by-byte search.
 */
#include <string.h>

#include <check.h>

#include "server/cache/page_table.h"
#include "tests/support/unit.h"

#define N_PAGES 200u

/* One letter a state, in the order of the enum; the edges as said in the design. */
static const char letters[] = "afcdwsep";
static const char *const edges[] = {"af", "ac", "fc", "fa", "fp", "cd", "ce", "dw", "de", "ws",
                                    "wd", "we", "sc", "sd", "se", "ea", "ec", "pf", "pc", "pa"};

static _Atomic uint8_t states[N_PAGES + 8];
static struct page_table table;

static enum page_state state_of(char letter)
{
    const char *at = strchr(letters, letter);

    ck_assert_ptr_nonnull(at);
    return (enum page_state)(at - letters);
}

/* Writes states as text, behind the table's back, and counts them by hand. */
static void draw_at(unsigned int offset, const char *text)
{
    uint64_t n = strlen(text);

    ck_assert_uint_le(offset + n, N_PAGES + 8);
    page_table_init(&table, states + offset, n);
    for (uint64_t i = 0; i < n; i++) {
        enum page_state state = state_of(text[i]);

        atomic_store(&states[offset + i], (uint8_t)state);
        table.n_valid += page_state_is_valid(state);
        table.n_dirty += state == PAGE_DIRTY || state == PAGE_WRITEBACK;
        table.n_filling += state == PAGE_FILLING;
        table.n_poisoned += state == PAGE_POISONED;
    }
    ck_assert_ptr_null(page_table_validate(&table));
}

static void draw(const char *text)
{
    draw_at(0, text);
}

static void check_drawn(const char *text)
{
    ck_assert_uint_eq(table.n_pages, strlen(text));
    for (uint64_t i = 0; i < table.n_pages; i++)
        ck_assert_int_eq(letters[page_table_get(&table, i)], text[i]);
    ck_assert_ptr_null(page_table_validate(&table));
}

static bool is_edge(enum page_state from, enum page_state to)
{
    for (size_t i = 0; i < sizeof(edges) / sizeof(edges[0]); i++) {
        if (state_of(edges[i][0]) == from && state_of(edges[i][1]) == to)
            return true;
    }
    return false;
}

START_TEST(exactly_the_designed_moves_are_legal)
{
    for (unsigned int from = 0; from < PAGE_STATE_N; from++) {
        for (unsigned int to = 0; to < PAGE_STATE_N; to++)
            ck_assert_int_eq(page_move_is_legal((enum page_state)from, (enum page_state)to),
                             is_edge((enum page_state)from, (enum page_state)to));
    }
    ck_assert(!page_move_is_legal(PAGE_STATE_N, PAGE_CLEAN));
    ck_assert(!page_move_is_legal(PAGE_CLEAN, PAGE_STATE_N));
}
END_TEST

START_TEST(a_move_happens_only_from_the_state_it_names)
{
    char text[2] = "a";

    for (size_t i = 0; i < sizeof(edges) / sizeof(edges[0]); i++) {
        for (unsigned int now = 0; now < PAGE_STATE_N; now++) {
            bool is_from = letters[now] == edges[i][0];

            text[0] = letters[now];
            draw(text);
            ck_assert_int_eq(
                page_table_move(&table, 0, state_of(edges[i][0]), state_of(edges[i][1])), is_from);
            if (is_from)
                text[0] = edges[i][1];
            check_drawn(text);
        }
    }
}
END_TEST

START_TEST(a_range_move_takes_the_named_states_along_and_leaves_the_others)
{
    draw("ccdwafpcce");
    ck_assert_uint_eq(
        page_table_move_range(&table, (struct range){1, 9}, PAGE_BITS_VALID, PAGE_EVICTING), 5);
    check_drawn("ceeeafpeee");
    ck_assert_uint_eq(
        page_table_move_range(&table, (struct range){0, 10}, PAGE_BIT(PAGE_EVICTING), PAGE_ABSENT),
        6);
    check_drawn("caaaafpaaa");
    ck_assert_uint_eq(
        page_table_move_range(&table, (struct range){4, 4}, PAGE_BIT(PAGE_ABSENT), PAGE_CLEAN), 0);
}
END_TEST

START_TEST(a_claim_takes_the_first_absent_pages_in_a_row)
{
    struct range run = {77, 78};

    draw("caafaap");
    ck_assert(page_table_claim(&table, (struct range){0, 7}, &run));
    ck_assert(range_equal(run, (struct range){1, 3}));
    check_drawn("cfffaap");
    ck_assert(page_table_claim(&table, (struct range){run.end, 7}, &run));
    ck_assert(range_equal(run, (struct range){4, 6}));
    check_drawn("cfffffp");
    ck_assert(!page_table_claim(&table, (struct range){run.end, 7}, &run));
    ck_assert(range_equal(run, (struct range){4, 6}));
    ck_assert(!page_table_claim(&table, (struct range){3, 3}, &run));
}
END_TEST

START_TEST(a_claim_stays_inside_its_range)
{
    struct range run;

    draw("aaaaaaaaaaaaaaaaaaaa");
    ck_assert(page_table_claim(&table, (struct range){3, 17}, &run));
    ck_assert(range_equal(run, (struct range){3, 17}));
    check_drawn("aaaffffffffffffffaaa");
}
END_TEST

START_TEST(the_run_around_a_page_ends_at_other_states_and_at_the_limits)
{
    draw("accdwcfccc");
    ck_assert(range_equal(page_table_run_around(&table, 3, (struct range){0, 10}, PAGE_BITS_VALID),
                          (struct range){1, 6}));
    ck_assert(range_equal(page_table_run_around(&table, 3, (struct range){2, 5}, PAGE_BITS_VALID),
                          (struct range){2, 5}));
    ck_assert(range_equal(page_table_run_around(&table, 9, (struct range){0, 10}, PAGE_BITS_VALID),
                          (struct range){7, 10}));
    ck_assert(range_equal(page_table_run_around(&table, 6, (struct range){0, 10}, PAGE_BITS_VALID),
                          (struct range){6, 6}));
}
END_TEST

START_TEST(runs_are_walked_one_after_the_other)
{
    struct range run;

    draw("aaccaddf");
    run = page_table_find_run(&table, (struct range){0, 8}, PAGE_BITS_VALID);
    ck_assert(range_equal(run, (struct range){2, 4}));
    run = page_table_find_run(&table, (struct range){run.end, 8}, PAGE_BITS_VALID);
    ck_assert(range_equal(run, (struct range){5, 7}));
    run = page_table_find_run(&table, (struct range){run.end, 8}, PAGE_BITS_VALID);
    ck_assert(range_equal(run, (struct range){8, 8}));
}
END_TEST

START_TEST(a_table_without_pages_holds_nothing)
{
    struct range run;

    draw("");
    ck_assert(!page_table_claim(&table, page_table_range(&table), &run));
    ck_assert_uint_eq(page_table_find(&table, page_table_range(&table), PAGE_BITS_ALL), 0);
    ck_assert(page_table_is_valid(&table, page_table_range(&table)));
}
END_TEST

static uint64_t naive_find(struct range pages, unsigned int bits)
{
    while (pages.start < pages.end && !(PAGE_BIT(page_table_get(&table, pages.start)) & bits))
        pages.start++;
    return pages.start;
}

static uint64_t naive_count(struct range pages, unsigned int bits)
{
    uint64_t n = 0;

    for (; pages.start < pages.end; pages.start++)
        n += (PAGE_BIT(page_table_get(&table, pages.start)) & bits) != 0;
    return n;
}

/* Long stretches, as real tables have them, at every alignment. */
static void draw_random(uint64_t *random)
{
    char text[N_PAGES + 1];
    size_t n = 0;

    while (n < N_PAGES) {
        char letter = letters[unit_random(random) % PAGE_STATE_N];
        uint64_t len = unit_random(random) % 24 + 1;

        while (len-- > 0 && n < N_PAGES)
            text[n++] = letter;
    }
    text[n] = '\0';
    draw_at((unsigned int)(unit_random(random) % 8), text);
}

START_TEST(searches_agree_with_looking_at_each_page)
{
    uint64_t random = unit_seed();

    for (unsigned int round = 0; round < 4000; round++) {
        unsigned int bits = (unsigned int)(unit_random(&random) & PAGE_BITS_ALL);
        uint64_t a, b;
        struct range pages;

        if (round % 8 == 0)
            draw_random(&random);
        a = unit_random(&random) % (N_PAGES + 1);
        b = unit_random(&random) % (N_PAGES + 1);
        pages = a < b ? (struct range){a, b} : (struct range){b, a};
        UNIT_EXPECT(page_table_find(&table, pages, bits) == naive_find(pages, bits));
        UNIT_EXPECT(page_table_count(&table, pages, bits) == naive_count(pages, bits));
        UNIT_EXPECT(page_table_is_valid(&table, pages) ==
                    (naive_count(pages, PAGE_BITS_VALID) == range_len(pages)));
    }
}
END_TEST

START_TEST(validate_notices_wrong_counters_and_bytes_that_are_no_state)
{
    draw("ccaf");
    table.n_valid++;
    ck_assert_ptr_nonnull(page_table_validate(&table));
    table.n_valid--;
    table.n_filling--;
    ck_assert_ptr_nonnull(page_table_validate(&table));
    table.n_filling++;
    atomic_store(&states[1], PAGE_STATE_N);
    ck_assert_ptr_nonnull(page_table_validate(&table));
}
END_TEST

START_TEST(every_state_has_a_name_of_its_own)
{
    for (unsigned int a = 0; a < PAGE_STATE_N; a++) {
        for (unsigned int b = 0; b < a; b++)
            ck_assert_str_ne(page_state_name((enum page_state)a),
                             page_state_name((enum page_state)b));
    }
    ck_assert_str_eq(page_state_name(PAGE_STATE_N), "?");
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("page_table");

    tcase_add_test(tcase, exactly_the_designed_moves_are_legal);
    tcase_add_test(tcase, a_move_happens_only_from_the_state_it_names);
    tcase_add_test(tcase, a_range_move_takes_the_named_states_along_and_leaves_the_others);
    tcase_add_test(tcase, a_claim_takes_the_first_absent_pages_in_a_row);
    tcase_add_test(tcase, a_claim_stays_inside_its_range);
    tcase_add_test(tcase, the_run_around_a_page_ends_at_other_states_and_at_the_limits);
    tcase_add_test(tcase, runs_are_walked_one_after_the_other);
    tcase_add_test(tcase, a_table_without_pages_holds_nothing);
    tcase_add_test(tcase, searches_agree_with_looking_at_each_page);
    tcase_add_test(tcase, validate_notices_wrong_counters_and_bytes_that_are_no_state);
    tcase_add_test(tcase, every_state_has_a_name_of_its_own);
    return unit_run("page_table", tcase);
}
