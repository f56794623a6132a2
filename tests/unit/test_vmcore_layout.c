/* SPDX-License-Identifier: BSD-3-Clause */
/* drivers/vmcore/layout.h against a naive answer for each byte, and what may be mapped directly. */
#include <errno.h>
#include <string.h>

#include <check.h>

#include "drivers/vmcore/layout.h"
#include "tests/support/unit.h"

#define N_SEGMENTS 6u

/* Where byte @offset is, by looking at every segment. */
static void expect_byte(const struct layout *layout, const struct elf_segment *segments,
                        const struct layout_oldmem *oldmem, unsigned n_oldmem, uint64_t n_core,
                        uint64_t offset)
{
    const struct layout_range *range = layout_at(layout, offset);
    int source = offset < n_core ? LAYOUT_CORE : LAYOUT_ZEROS;
    uint64_t at = offset;

    for (unsigned i = 0; i < n_oldmem; i++) {
        const struct elf_segment *segment = &segments[oldmem[i].segment];

        if (offset >= segment->offset && offset - segment->offset < segment->n_bytes) {
            source = oldmem[i].source;
            at = oldmem[i].source_offset + (offset - segment->offset);
        }
    }
    UNIT_EXPECT(range && range_contains(range->bytes, offset));
    UNIT_EXPECT(range->source == source);
    UNIT_EXPECT(source == LAYOUT_ZEROS || layout_source_offset(range, offset) == at);
}

/* Ranges are in order, without a gap, not empty, and no two of them could be one. */
static void expect_tight(const struct layout *layout)
{
    uint64_t end = 0;

    for (size_t i = 0; i < layout->n_ranges; i++) {
        const struct layout_range *range = &layout->ranges[i], *before = range - 1;

        UNIT_EXPECT(range->bytes.start == end && range->bytes.end > end);
        if (i > 0 && before->source == range->source)
            UNIT_EXPECT(range->source != LAYOUT_ZEROS &&
                        layout_source_offset(before, end) != range->source_offset);
        end = range->bytes.end;
    }
    UNIT_EXPECT(layout->n_bytes == end && !layout_at(layout, end));
}

START_TEST(every_byte_is_where_a_naive_search_finds_it)
{
    uint64_t seed = unit_seed();

    for (unsigned round = 0; round < 3000; round++) {
        struct elf_segment segments[N_SEGMENTS];
        struct layout_oldmem oldmem[N_SEGMENTS];
        struct elf_core_error err;
        struct layout layout;
        uint64_t at = unit_random(&seed) % 50, n_core, end = 0;
        unsigned n_oldmem = 0;

        for (unsigned i = N_SEGMENTS; i-- > 0;) { /* the headers need not be in order */
            segments[i] = (struct elf_segment){at, unit_random(&seed) % 40};
            at += segments[i].n_bytes + (unit_random(&seed) % 2 ? unit_random(&seed) % 30 : 0);
        }
        n_core = 1 + unit_random(&seed) % 300;
        for (unsigned i = 0; i < N_SEGMENTS; i++) {
            const uint64_t segment_end = segments[i].offset + segments[i].n_bytes;

            if (unit_random(&seed) % 3 == 0)
                continue;
            oldmem[n_oldmem++] = (struct layout_oldmem){i, 1 + (int)(unit_random(&seed) % 2),
                                                        unit_random(&seed) % 100};
            if (segments[i].n_bytes > 0 && segment_end > end)
                end = segment_end;
        }
        ck_assert_int_eq(layout_init(&layout, segments, N_SEGMENTS, n_core, oldmem, n_oldmem, &err),
                         0);
        ck_assert_uint_eq(layout.n_bytes, end > n_core ? end : n_core);
        expect_tight(&layout);
        for (uint64_t offset = 0; offset < layout.n_bytes; offset++)
            expect_byte(&layout, segments, oldmem, n_oldmem, n_core, offset);
        layout_done(&layout);
    }
}
END_TEST

START_TEST(a_core_of_its_own_memory_is_one_range)
{
    const struct elf_segment segments[] = {{100, 50}, {150, 1ull << 30}};
    struct elf_core_error err;
    struct layout layout;

    ck_assert_int_eq(layout_init(&layout, segments, 2, 5000, NULL, 0, &err), 0);
    ck_assert_uint_eq(layout.n_ranges, 1);
    ck_assert_uint_eq(layout.n_bytes, 5000); /* what was cut off is not there */
    layout_done(&layout);
}
END_TEST

START_TEST(what_cannot_be_laid_out_is_einval_with_a_sentence)
{
    const struct elf_segment segments[] = {{100, 50}, {149, 10}, {120, 0}};
    const struct layout_oldmem none[] = {{3, 1, 0}}, twice[] = {{1, 1, 0}, {1, 2, 0}},
                               overlap[] = {{1, 1, 0}, {0, 1, 0}}, fine[] = {{0, 1, 0}, {2, 1, 0}};
    struct elf_core_error err;
    struct layout layout;

    ck_assert_int_eq(layout_init(&layout, segments, 3, 200, none, 1, &err), -EINVAL);
    ck_assert_str_eq(err.text, "there is no segment 3: the core has 3");
    ck_assert_int_eq(layout_init(&layout, segments, 3, 200, twice, 2, &err), -EINVAL);
    ck_assert_str_eq(err.text, "segment 1 is given twice");
    ck_assert_int_eq(layout_init(&layout, segments, 3, 200, overlap, 2, &err), -EINVAL);
    ck_assert_str_eq(err.text, "segments 0 and 1 are at the same bytes of the core");
    ck_assert_ptr_null(layout.ranges);
    ck_assert_int_eq(layout_init(&layout, segments, 3, 200, fine, 2, &err), 0);
    layout_done(&layout);
}
END_TEST

START_TEST(whole_pages_at_a_page_of_their_source_are_direct)
{
    static const struct {
        struct layout_range range;
        struct range bytes, direct;
    } rows[] = {
        {{{0, 0x5000}, 1, 0x3000}, {0, 0x5000}, {0, 0x5000}},
        {{{0, 0x5fff}, 1, 0x3000}, {0, 0x6000}, {0, 0x5000}},
        {{{0x800, 0x5000}, 1, 0x800}, {0, 0x9000}, {0x1000, 0x5000}},
        {{{0x800, 0x5000}, 1, 0}, {0, 0x9000}, {0, 0}},
        {{{0, 0x5000}, 1, 0x3000}, {0x1000, 0x2000}, {0x1000, 0x2000}},
        {{{0, 0x5000}, 1, 1}, {0, 0x5000}, {0, 0}},
        {{{0x800, 0x17ff}, 1, 0x800}, {0, 0x2000}, {0, 0}},
        {{{0, 0x5000}, LAYOUT_ZEROS, 0}, {0, 0x5000}, {0, 0}},
    };

    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        const struct range direct = layout_direct(&rows[i].range, rows[i].bytes);

        ck_assert_msg(range_equal(direct, rows[i].direct), "row %zu", i);
    }
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("vmcore_layout");

    tcase_add_test(tcase, every_byte_is_where_a_naive_search_finds_it);
    tcase_add_test(tcase, a_core_of_its_own_memory_is_one_range);
    tcase_add_test(tcase, what_cannot_be_laid_out_is_einval_with_a_sentence);
    tcase_add_test(tcase, whole_pages_at_a_page_of_their_source_are_direct);
    return unit_run("vmcore_layout", tcase);
}
