/* SPDX-License-Identifier: BSD-3-Clause */
/* Which stretches of a mapping show the object, and which the driver's own fd: against an array. */
#include <stdbool.h>

#include <check.h>

#include "server/vm/vma_parts.h"
#include "tests/support/unit.h"

#define N_PAGES 32u
#define START   UINT64_C(0x10000)

static struct vma *mapping(void)
{
    struct vma *vma;

    ck_assert_int_eq(vma_new(1, &vma), 0);
    vma->start = START;
    vma->end = START + N_PAGES * VMA_PAGE_BYTES;
    vma->pgoff = 100;
    return vma;
}

static struct range addrs(const struct vma *vma, uint64_t first, uint64_t end)
{
    return (struct range){vma->start + first * VMA_PAGE_BYTES, vma->start + end * VMA_PAGE_BYTES};
}

/* @is_part: of the pages from @vma's start on */
static void expect(const struct vma *vma, const bool *is_part)
{
    struct range served = vma_parts_served(vma, vma->start);

    for (uint64_t page = 0; page < vma_n_pages(vma); page++) {
        const uint64_t addr = vma->start + page * VMA_PAGE_BYTES;

        if (addr >= served.end)
            served = vma_parts_served(vma, served.end);
        ck_assert_msg(range_contains(served, addr) == !is_part[page], "page %llu",
                      (unsigned long long)page);
    }
    served = vma_parts_served(vma, vma->end);
    ck_assert(range_is_empty(served));
}

START_TEST(without_parts_all_of_it_is_served)
{
    static const bool none[N_PAGES] = {false};
    struct vma *vma = mapping();

    expect(vma, none);
    ck_assert(range_equal(vma_parts_served(vma, vma->start), vma_range(vma)));
    vma_free(vma);
}
END_TEST

START_TEST(parts_agree_with_an_array_also_when_cut_moved_and_copied)
{
    uint64_t seed = unit_seed();

    for (unsigned round = 0; round < 2000; round++) {
        bool is_part[N_PAGES] = {false};
        struct vma *vma = mapping(), *copy = mapping();
        const uint64_t cut = unit_random(&seed) % N_PAGES;
        const unsigned n_parts = (unsigned)(unit_random(&seed) % 9);

        for (unsigned i = 0; i < n_parts; i++) {
            const uint64_t first = unit_random(&seed) % N_PAGES;
            const uint64_t end = first + 1 + unit_random(&seed) % (N_PAGES - first);

            ck_assert_int_eq(vma_parts_reserve(vma, n_parts - i), 0);
            vma_parts_add(vma, addrs(vma, first, end));
            for (uint64_t page = first; page < end; page++)
                is_part[page] = true;
        }
        expect(vma, is_part);
        vma_copy_identity(copy, vma);
        vma_free(vma);
        copy->start += 0x1000000 + cut * VMA_PAGE_BYTES; /* its upper part, elsewhere */
        copy->end += 0x1000000;
        copy->pgoff += cut;
        expect(copy, is_part + cut);
        vma_free(copy);
    }
}
END_TEST

START_TEST(there_is_room_for_as_many_as_a_driver_can_ask_for)
{
    struct vma *vma = mapping();

    vma->end = vma->start + 2 * VMA_PARTS_MAX * VMA_PAGE_BYTES;
    ck_assert_int_lt(vma_parts_reserve(vma, VMA_PARTS_MAX + 1), 0);
    ck_assert_int_eq(vma_parts_reserve(vma, 8), 0);
    for (unsigned i = 0; i < VMA_PARTS_MAX; i++) {
        ck_assert_int_eq(vma_parts_reserve(vma, 1), 0);
        vma_parts_add(vma, addrs(vma, 2 * i, 2 * i + 1));
    }
    ck_assert_int_lt(vma_parts_reserve(vma, 1), 0);
    vma_free(vma);
}
END_TEST

START_TEST(a_range_is_one_mapping_inside_a_part_or_outside_of_all)
{
    static const struct {
        uint64_t first, end;
        bool is_one;
    } rows[] = {{0, 4, true},    {0, 5, false},  {3, 9, false},  {4, 8, true},
                {5, 7, true},    {7, 9, false},  {8, 10, true},  {9, 11, false},
                {10, 14, false}, {12, 14, true}, {16, 32, true}, {0, 32, false}};
    struct vma *vma = mapping();

    ck_assert(vma_parts_is_one(vma, vma_range(vma)));
    ck_assert_int_eq(vma_parts_reserve(vma, 3), 0);
    vma_parts_add(vma, addrs(vma, 4, 8));
    vma_parts_add(vma, addrs(vma, 10, 16));
    vma_parts_add(vma, addrs(vma, 10, 12)); /* over another one */
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ck_assert_msg(vma_parts_is_one(vma, addrs(vma, rows[i].first, rows[i].end)) ==
                          rows[i].is_one,
                      "row %zu", i);
    }
    vma_free(vma);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("vma_parts");

    tcase_add_test(tcase, without_parts_all_of_it_is_served);
    tcase_add_test(tcase, parts_agree_with_an_array_also_when_cut_moved_and_copied);
    tcase_add_test(tcase, a_range_is_one_mapping_inside_a_part_or_outside_of_all);
    tcase_add_test(tcase, there_is_room_for_as_many_as_a_driver_can_ask_for);
    return unit_run("vma_parts", tcase);
}
