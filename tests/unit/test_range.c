/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of common/base/range.h: every pair of small ranges against a model with one bit a unit, and
 * the far end of 64 bits by hand.
 */
#include <errno.h>

#include <check.h>

#include "common/base/range.h"
#include "tests/support/unit.h"

#define N_UNITS 8U

static unsigned int bits_of(struct range r)
{
    unsigned int bits = 0;
    uint64_t x;

    for (x = r.start; x < r.end; x++)
        bits |= 1U << x;
    return bits;
}

static void check_subtract(struct range a, struct range b)
{
    struct range parts[2] = {{0, 0}, {0, 0}};
    unsigned int n = range_subtract(a, b, parts);

    ck_assert(n <= 2);
    ck_assert((bits_of(parts[0]) | bits_of(parts[1])) == (bits_of(a) & ~bits_of(b)));
    ck_assert((n > 0) == !range_is_empty(parts[0]));
    ck_assert((n > 1) == !range_is_empty(parts[1]));
    ck_assert(n < 2 || parts[0].end < parts[1].start);
}

static void check_pair(struct range a, struct range b)
{
    unsigned int both = bits_of(a) & bits_of(b);
    unsigned int either = bits_of(a) | bits_of(b);

    ck_assert(range_overlaps(a, b) == (both != 0));
    ck_assert(bits_of(range_intersect(a, b)) == both);
    ck_assert((bits_of(range_cover(a, b)) & either) == either);
    ck_assert(range_equal(a, b) == (a.start == b.start && a.end == b.end));
    ck_assert(range_touches(a, b) == (a.end == b.start || b.end == a.start));
    if (!range_is_empty(a) && !range_is_empty(b))
        ck_assert(range_contains_range(a, b) == (both == bits_of(b)));
}

/* The @i-th of the ranges with both ends in 0..N_UNITS. Return: false when there is none. */
static bool nth_range(unsigned int i, struct range *ret_range)
{
    unsigned int start = i / (N_UNITS + 1);
    unsigned int end = i % (N_UNITS + 1);

    if (start > end)
        return false;
    *ret_range = range_make(start, end);
    return true;
}

START_TEST(every_pair_of_small_ranges_agrees_with_a_bit_set)
{
    const unsigned int n = (N_UNITS + 1) * (N_UNITS + 1);
    unsigned int i;

    for (i = 0; i < n * n; i++) {
        struct range a;
        struct range b;

        if (!nth_range(i / n, &a) || !nth_range(i % n, &b))
            continue;
        check_pair(a, b);
        check_subtract(a, b);
    }
}
END_TEST

START_TEST(a_range_holds_its_start_but_not_its_end)
{
    struct range r = range_make(3, 5);

    ck_assert_uint_eq(range_len(r), 2);
    ck_assert(!range_contains(r, 2));
    ck_assert(range_contains(r, 3));
    ck_assert(range_contains(r, 4));
    ck_assert(!range_contains(r, 5));
    ck_assert(range_is_empty(range_make(3, 3)));
}
END_TEST

START_TEST(a_length_past_64_bits_is_refused)
{
    struct range r = {1, 2};

    ck_assert_int_eq(range_from_len(UINT64_MAX, 1, &r), -EOVERFLOW);
    ck_assert(range_equal(r, range_make(1, 2)));
    ck_assert_int_eq(range_from_len(UINT64_MAX - 1, 1, &r), 0);
    ck_assert(range_equal(r, range_make(UINT64_MAX - 1, UINT64_MAX)));
}
END_TEST

START_TEST(aligning_out_grows_to_whole_units)
{
    struct range r = {0, 0};

    ck_assert_int_eq(range_align_out(range_make(5, 9), 4, &r), 0);
    ck_assert(range_equal(r, range_make(4, 12)));
    ck_assert_int_eq(range_align_out(range_make(8, 12), 4, &r), 0);
    ck_assert(range_equal(r, range_make(8, 12)));
    ck_assert_int_eq(range_align_out(range_make(5, 5), 4, &r), 0);
    ck_assert(range_equal(r, range_make(4, 8)));
    ck_assert_int_eq(range_align_out(range_make(8, 8), 4, &r), 0);
    ck_assert(range_is_empty(r));
    ck_assert_int_eq(range_align_out(range_make(0, UINT64_MAX), 4096, &r), -EOVERFLOW);
}
END_TEST

START_TEST(aligning_in_shrinks_to_whole_units)
{
    ck_assert(range_equal(range_align_in(range_make(5, 13), 4), range_make(8, 12)));
    ck_assert(range_equal(range_align_in(range_make(4, 8), 4), range_make(4, 8)));
    ck_assert(range_is_empty(range_align_in(range_make(5, 7), 4)));
    ck_assert(range_is_empty(range_align_in(range_make(5, 11), 4)));
    ck_assert(range_is_empty(range_align_in(range_make(UINT64_MAX - 1, UINT64_MAX), 4)));
    ck_assert(range_is_aligned(range_make(4, 8), 4));
    ck_assert(!range_is_aligned(range_make(4, 9), 4));
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("range");

    tcase_add_test(tcase, every_pair_of_small_ranges_agrees_with_a_bit_set);
    tcase_add_test(tcase, a_range_holds_its_start_but_not_its_end);
    tcase_add_test(tcase, a_length_past_64_bits_is_refused);
    tcase_add_test(tcase, aligning_out_grows_to_whole_units);
    tcase_add_test(tcase, aligning_in_shrinks_to_whole_units);
    return unit_run("range", tcase);
}
