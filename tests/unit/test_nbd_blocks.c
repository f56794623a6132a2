/* SPDX-License-Identifier: BSD-3-Clause */
/* Cutting ranges of an NBD export: drivers/nbd/blocks.c. */
#include <errno.h>
#include <string.h>

#include <check.h>

#include "common/base/own.h"
#include "drivers/nbd/blocks.h"
#include "tests/support/unit.h"

static struct blocks made(uint64_t size, uint64_t minimum, uint64_t maximum)
{
    struct blocks blocks;
    const char *why = NULL;

    ck_assert_int_eq(blocks_init(&blocks, size, minimum, maximum, &why), 0);
    return blocks;
}

START_TEST(what_is_not_advertised_has_a_default)
{
    const struct blocks blocks = made(10001, 0, 0);

    ck_assert_uint_eq(blocks.size_bytes, 10001);
    ck_assert_uint_eq(blocks.minimum, 1);
    ck_assert_uint_eq(blocks.maximum, REQUEST_BYTES_MAX);
    ck_assert_uint_eq(made(4096, 512, UINT32_MAX).maximum, REQUEST_BYTES_MAX);
}
END_TEST

START_TEST(what_lies_behind_the_last_whole_block_is_left_out)
{
    ck_assert_uint_eq(made(10001, 512, 0).size_bytes, 9728);
    ck_assert_uint_eq(made(100, 512, 0).size_bytes, 0);
    ck_assert_uint_eq(made(4096, 512, 1500).maximum, 1024);
}
END_TEST

START_TEST(numbers_that_make_no_sense_are_refused)
{
    static const struct {
        uint64_t size, minimum, maximum;
        int error;
        const char *text;
    } cases[] = {
        {4096, 3, 0, -EINVAL, "power of two"}, {4096, 128 << 10, 0, -EINVAL, "power of two"},
        {4096, 4096, 512, -EINVAL, "smaller"}, {UINT64_MAX, 1, 0, -EFBIG, "larger"},
        {INT64_MAX, 1, 0, -EFBIG, "larger"},
    };

    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        const char *why = "";
        struct blocks blocks;

        ck_assert_int_eq(
            blocks_init(&blocks, cases[i].size, cases[i].minimum, cases[i].maximum, &why),
            cases[i].error);
        ck_assert_ptr_nonnull(strstr(why, cases[i].text));
    }
}
END_TEST

START_TEST(a_cover_is_whole_pages_and_whole_blocks)
{
    const struct blocks small = made(1 << 20, 512, 0), large = made(1 << 20, 65536, 0);
    const struct range pages = {8192, 12288};

    ck_assert(range_equal(blocks_cover(&small, pages), pages));
    ck_assert(range_equal(blocks_cover(&large, pages), range_make(0, 65536)));
    ck_assert(range_equal(blocks_cover(&large, range_make(61440, 69632)), range_make(0, 131072)));
    ck_assert(
        range_equal(blocks_cover(&large, range_make(65536, 131072)), range_make(65536, 131072)));
}
END_TEST

static void expect_requests(const struct blocks *blocks, struct range piece)
{
    uint64_t at = piece.start;

    while (at < piece.end) {
        const uint32_t n = blocks_request(blocks, range_make(at, piece.end));

        UNIT_EXPECT(n > 0 && n <= blocks->maximum && n % blocks->minimum == 0);
        at += n;
    }
    UNIT_EXPECT(at == piece.end);
}

/* Pieces and requests of any range, one after the other, are that range. */
START_TEST(pieces_and_requests_leave_nothing_out)
{
    static const uint64_t maxima[] = {512, 1536, 4096, 65536, 0};
    uint64_t seed = unit_seed();

    for (unsigned i = 0; i < 1000; i++) {
        const struct blocks blocks = made(64 << 20, 512, maxima[i % N_ELEMENTS(maxima)]);
        const uint64_t start = unit_random(&seed) % 1000 * 4096;
        const struct range all = {start, start + 4096 + unit_random(&seed) % 1000 * 4096};
        uint64_t at = all.start;

        while (at < all.end) {
            const struct range piece = blocks_piece(range_make(at, all.end));

            UNIT_EXPECT(piece.start == at && piece.end > at && piece.end <= all.end);
            UNIT_EXPECT(range_len(piece) <= PIECE_BYTES);
            UNIT_EXPECT(piece.end == all.end || piece.end % PIECE_BYTES == 0);
            expect_requests(&blocks, piece);
            at = piece.end;
        }
    }
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("blocks");

    tcase_add_test(tcase, what_is_not_advertised_has_a_default);
    tcase_add_test(tcase, what_lies_behind_the_last_whole_block_is_left_out);
    tcase_add_test(tcase, numbers_that_make_no_sense_are_refused);
    tcase_add_test(tcase, a_cover_is_whole_pages_and_whole_blocks);
    tcase_add_test(tcase, pieces_and_requests_leave_nothing_out);
    return unit_run("nbd blocks", tcase);
}
