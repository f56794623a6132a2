/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of drivers/hugetlb/pool.h and owner.h: each operation, and a long random history of them
 * against a count that is made anew each time. */
#include <errno.h>
#include <stdlib.h>

#include <check.h>

#include "drivers/hugetlb/owner.h"
#include "drivers/hugetlb/pool.h"
#include "tests/support/unit.h"

static struct pool pool;
static struct file_pages file;

static void begin(uint64_t n_pages)
{
    ck_assert_int_eq(pool_init(&pool, n_pages), 0);
    file = (struct file_pages){.pages = NULL};
}

static void end(void)
{
    file_pages_done(&pool, &file);
    ck_assert_uint_eq(pool.n_used, 0);
    ck_assert_uint_eq(pool.n_reserved, 0);
    pool_done(&pool);
}

static void expect(uint32_t n_used, uint32_t n_reserved)
{
    ck_assert_uint_eq(pool.n_used, n_used);
    ck_assert_uint_eq(pool.n_reserved, n_reserved);
    ck_assert_uint_eq(pool_available(&pool), pool.n_pages - n_used - n_reserved);
}

START_TEST(a_pool_has_as_many_pages_as_it_was_made_with)
{
    ck_assert_int_eq(pool_init(&pool, 0), -EINVAL);
    ck_assert_int_eq(pool_init(&pool, POOL_PAGES_MAX + 1), -EINVAL);
    begin(4);
    ck_assert_int_eq(pool_reserve(&pool, 5), -ENOMEM);
    ck_assert_int_eq(pool_reserve(&pool, 3), 0);
    ck_assert_int_eq(pool_reserve(&pool, 2), -ENOMEM);
    expect(0, 3);
    pool_unreserve(&pool, 3);
    end();
}
END_TEST

START_TEST(a_reservation_is_kept_or_given_back)
{
    begin(4);
    ck_assert_int_eq(file_pages_reserve(&pool, &file, 1, 3), 0);
    expect(0, 3);
    file_pages_commit(&pool, &file, 1, 3);
    expect(0, 3);
    ck_assert_int_eq(file_pages_reserve(&pool, &file, 0, 5), -ENOMEM); /* two are not promised */
    expect(0, 3);
    ck_assert_int_eq(file_pages_reserve(&pool, &file, 0, 4), 0);
    expect(0, 4);
    file_pages_release(&pool, &file, 0, 4);
    expect(0, 3);
    ck_assert_int_eq(file_pages_reserve(&pool, &file, FILE_PAGES_MAX, 1), -EFBIG);
    ck_assert_int_eq(file_pages_reserve(&pool, &file, 0, UINT64_MAX), -EFBIG);
    end();
}
END_TEST

START_TEST(what_two_are_promised_is_there_for_the_second_when_the_first_gives_it_back)
{
    begin(2);
    ck_assert_int_eq(file_pages_reserve(&pool, &file, 0, 2), 0);
    ck_assert_int_eq(file_pages_reserve(&pool, &file, 1, 1), 0);
    expect(0, 2);
    file_pages_release(&pool, &file, 0, 2);
    expect(0, 1);
    file_pages_commit(&pool, &file, 1, 1);
    expect(0, 1);
    end();
}
END_TEST

START_TEST(a_touch_uses_what_was_reserved_or_what_is_available)
{
    uint32_t slot, other;

    begin(2);
    ck_assert_int_eq(file_pages_reserve(&pool, &file, 0, 1), 0);
    ck_assert_int_eq(file_pages_take(&pool, &file, 0, &slot), 1);
    expect(1, 0);
    file_pages_commit(&pool, &file, 0, 1);
    expect(1, 0);
    ck_assert_int_eq(file_pages_take(&pool, &file, 7, &other), 1);
    ck_assert_uint_ne(slot, other);
    ck_assert_uint_lt(slot, 2);
    ck_assert_uint_lt(other, 2);
    expect(2, 0);
    ck_assert_int_eq(file_pages_take(&pool, &file, 8, &other), -ENOMEM);
    ck_assert_int_eq(file_pages_take(&pool, &file, FILE_PAGES_MAX, &other), -EFBIG);
    ck_assert_int_eq(file_pages_take(&pool, &file, 0, &other), 0);
    ck_assert_uint_eq(slot, other);
    ck_assert_int_eq(file_pages_find(&file, 0), slot);
    ck_assert_int_eq(file_pages_find(&file, 1), -1);
    ck_assert_int_eq(file_pages_find(&file, UINT64_MAX), -1);
    end();
}
END_TEST

START_TEST(what_is_cut_off_goes_back_but_not_what_a_mapping_that_is_made_was_promised)
{
    uint32_t slot;

    begin(2);
    ck_assert_int_eq(file_pages_reserve(&pool, &file, 0, 2), 0);
    file_pages_commit(&pool, &file, 0, 2);
    ck_assert_int_eq(file_pages_take(&pool, &file, 1, &slot), 1);
    ck_assert_int_eq(file_pages_reserve(&pool, &file, 1, 1), 0); /* a page that is used */
    expect(1, 1);
    file_pages_cut(&pool, &file, 0, UINT64_MAX);
    expect(0, 1);
    file_pages_release(&pool, &file, 1, 1);
    expect(0, 0);
    end();
}
END_TEST

START_TEST(an_owner_keeps_what_its_parts_cover)
{
    struct owner *owner = NULL;

    begin(8);
    ck_assert_int_eq(owner_new(&pool, 1, 2, 9, &owner), -ENOMEM);
    ck_assert_int_eq(owner_new(&pool, 1, 2, 6, &owner), 0);
    expect(0, 6);
    owner_abort(&pool, owner);
    expect(0, 0);
    ck_assert_int_eq(owner_new(&pool, 1, 2, 6, &owner), 0);
    owner_made(owner, 100);
    owner_open(owner, 1, 101, 4, 2); /* cut off: pages 4 and 5 */
    owner_open(owner, 1, 102, 6, 2);
    ck_assert(!owner_close(&pool, owner, 101));
    expect(0, 4);
    owner_open(owner, 2, 103, 2, 2); /* a child's copy */
    owner_open(owner, 1, 104, 2, 2); /* the first part is moved */
    ck_assert(!owner_close(&pool, owner, 100));
    expect(0, 4);
    ck_assert(!owner_close(&pool, owner, 103));
    expect(0, 4);
    ck_assert(!owner_close(&pool, owner, 104));
    expect(0, 2);
    ck_assert(owner_close(&pool, owner, 102));
    expect(0, 0);
    end();
}
END_TEST

/* ---- a history ---- */

#define N_FILE_PAGES 12u
#define N_MAPPINGS   16u

struct mapping {
    uint64_t first, n_pages; /* 0: none is being made */
};

static void expect_recount(void)
{
    uint32_t n_used = 0, n_reserved = 0;

    for (uint32_t i = 0; i < file.n_pages; i++) {
        const struct file_page *page = &file.pages[i];

        n_used += page->slot != 0;
        n_reserved += page->slot == 0 && (page->n_pending > 0 || page->is_committed);
    }
    expect(n_used, n_reserved);
}

static void begin_or_end(struct mapping *mapping, unsigned short state[3])
{
    if (mapping->n_pages == 0) {
        mapping->first = (uint64_t)nrand48(state) % N_FILE_PAGES;
        mapping->n_pages = 1 + (uint64_t)nrand48(state) % (N_FILE_PAGES - mapping->first);
        if (file_pages_reserve(&pool, &file, mapping->first, mapping->n_pages) < 0)
            mapping->n_pages = 0;
        return;
    }
    if (nrand48(state) % 2)
        file_pages_commit(&pool, &file, mapping->first, mapping->n_pages);
    else
        file_pages_release(&pool, &file, mapping->first, mapping->n_pages);
    mapping->n_pages = 0;
}

START_TEST(the_arithmetic_is_exact_in_a_random_history)
{
    unsigned short state[3] = {(unsigned short)unit_seed(), 5, 5};
    struct mapping mappings[N_MAPPINGS] = {{0, 0}};
    uint32_t slot;

    begin(9);
    for (unsigned step = 0; step < 20000; step++) {
        const uint64_t page = (uint64_t)nrand48(state) % N_FILE_PAGES;

        if (nrand48(state) % 8 == 0)
            file_pages_cut(&pool, &file, page, page + 1 + (uint64_t)nrand48(state) % 4);
        else if (nrand48(state) % 3 == 0)
            (void)!file_pages_take(&pool, &file, page, &slot);
        else
            begin_or_end(&mappings[nrand48(state) % N_MAPPINGS], state);
        expect_recount();
    }
    for (unsigned i = 0; i < N_MAPPINGS; i++) {
        if (mappings[i].n_pages > 0)
            begin_or_end(&mappings[i], state);
    }
    end();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("hugetlb_pool");

    tcase_add_test(tcase, a_pool_has_as_many_pages_as_it_was_made_with);
    tcase_add_test(tcase, a_reservation_is_kept_or_given_back);
    tcase_add_test(tcase,
                   what_two_are_promised_is_there_for_the_second_when_the_first_gives_it_back);
    tcase_add_test(tcase, a_touch_uses_what_was_reserved_or_what_is_available);
    tcase_add_test(tcase,
                   what_is_cut_off_goes_back_but_not_what_a_mapping_that_is_made_was_promised);
    tcase_add_test(tcase, an_owner_keeps_what_its_parts_cover);
    tcase_add_test(tcase, the_arithmetic_is_exact_in_a_random_history);
    return unit_run("hugetlb_pool", tcase);
}
