/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of common/base/idmap.h: random operations against an array indexed by the id. The seed is
 * printed; MUSE_SEED=N repeats a run.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include <check.h>

#include "common/base/idmap.h"
#include "tests/support/unit.h"

#define N_IDS   600U
#define N_STEPS 60000U

/* Ids that collide in simple hashes: neighbours, and multiples of large powers of two. */
static uint64_t id_of(unsigned int i)
{
    return i % 2 ? (uint64_t)i << 40 : i;
}

static void check_all(const struct idmap *map, char *const model[N_IDS], size_t n_model)
{
    size_t cursor = 0;
    size_t n = 0;
    unsigned int i;

    ck_assert_uint_eq(idmap_count(map), n_model);
    for (i = 0; i < N_IDS; i++)
        ck_assert_ptr_eq(idmap_get(map, id_of(i)), model[i]);
    while (idmap_next(map, &cursor))
        n++;
    ck_assert_uint_eq(n, n_model);
}

START_TEST(random_puts_and_takes_agree_with_an_array)
{
    static char things[N_IDS];
    char *model[N_IDS] = {NULL};
    uint64_t random = unit_seed();
    size_t n_model = 0;
    struct idmap map;
    unsigned int step;

    idmap_init(&map);
    for (step = 0; step < N_STEPS; step++) {
        /* Grow for a while, then shrink for a while. */
        bool grow = unit_random(&random) % 8 < (step / 5000 % 2 ? 2 : 6);
        unsigned int i = (unsigned int)(unit_random(&random) % N_IDS);

        if (grow) {
            ck_assert_int_eq(idmap_put(&map, id_of(i), &things[i]), model[i] ? -EEXIST : 0);
            n_model += !model[i];
            model[i] = &things[i];
        } else {
            ck_assert_ptr_eq(idmap_take(&map, id_of(i)), model[i]);
            n_model -= !!model[i];
            model[i] = NULL;
        }
        if (step % 500 == 0)
            check_all(&map, model, n_model);
    }
    check_all(&map, model, n_model);
    ck_assert_uint_le(map.n_slots, 4 * N_IDS);
    idmap_done(&map);
    ck_assert_uint_eq(idmap_count(&map), 0);
}
END_TEST

START_TEST(an_empty_map_finds_nothing)
{
    struct idmap map;
    size_t cursor = 0;

    idmap_init(&map);
    ck_assert_ptr_null(idmap_get(&map, 0));
    ck_assert_ptr_null(idmap_take(&map, 7));
    ck_assert_ptr_null(idmap_next(&map, &cursor));
    idmap_done(&map);
}
END_TEST

START_TEST(the_ids_at_both_ends_are_ordinary)
{
    struct idmap map;
    char low;
    char high;

    idmap_init(&map);
    ck_assert_int_eq(idmap_put(&map, 0, &low), 0);
    ck_assert_int_eq(idmap_put(&map, UINT64_MAX, &high), 0);
    ck_assert_int_eq(idmap_put(&map, 0, &high), -EEXIST);
    ck_assert_ptr_eq(idmap_get(&map, 0), &low);
    ck_assert_ptr_eq(idmap_take(&map, UINT64_MAX), &high);
    ck_assert_ptr_null(idmap_get(&map, UINT64_MAX));
    idmap_done(&map);
}
END_TEST

START_TEST(entries_may_be_taken_during_a_walk)
{
    uint64_t ids[N_IDS];
    struct idmap map;
    size_t cursor = 0;
    size_t n = 0;
    uint64_t *id;
    unsigned int i;

    idmap_init(&map);
    for (i = 0; i < N_IDS; i++) {
        ids[i] = id_of(i);
        ck_assert_int_eq(idmap_put(&map, ids[i], &ids[i]), 0);
    }
    while ((id = idmap_next(&map, &cursor))) {
        ck_assert_ptr_eq(idmap_take(&map, *id), id);
        n++;
    }
    ck_assert_uint_eq(n, N_IDS);
    ck_assert_uint_eq(idmap_count(&map), 0);
    idmap_done(&map);
}
END_TEST

START_TEST(a_short_queue_of_fresh_ids_does_not_grow_the_map)
{
    struct idmap map;
    uint64_t id;
    char thing;

    idmap_init(&map);
    for (id = 0; id < N_STEPS; id++) {
        ck_assert_int_eq(idmap_put(&map, id, &thing), 0);
        if (id >= 4)
            ck_assert_ptr_eq(idmap_take(&map, id - 4), &thing);
    }
    ck_assert_uint_le(map.n_slots, 16);
    idmap_done(&map);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("idmap");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, random_puts_and_takes_agree_with_an_array);
    tcase_add_test(tcase, an_empty_map_finds_nothing);
    tcase_add_test(tcase, the_ids_at_both_ends_are_ordinary);
    tcase_add_test(tcase, entries_may_be_taken_during_a_walk);
    tcase_add_test(tcase, a_short_queue_of_fresh_ids_does_not_grow_the_map);
    return unit_run("idmap", tcase);
}
