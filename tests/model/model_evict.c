/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The eviction policy against a naive model: arrays instead of linked numbers, a list of everything
 * that ever went instead of a table of names. Random runs come, are touched, cooled, trimmed, held,
 * and go; each choice must be the same.
 */
#include <string.h>

#include <check.h>

#include "server/cache/evict.h"
#include "tests/support/unit.h"

#define N_OBJECTS 3u
#define N_PAGES   1500u
#define MAX       8192u
#define N_STEPS   60000u

struct model_entry {
    unsigned object;
    uint64_t first, end;
    unsigned freq;
    bool in_main;
};

/* queues[q][0] is the oldest. */
static struct model {
    struct model_entry queues[EVICT_QUEUE_N][MAX];
    size_t n[EVICT_QUEUE_N];
    uint64_t went_at[N_OBJECTS][N_PAGES]; /* clock; UINT64_MAX: never */
    uint64_t clock;
} model;

static struct evict evict;
static struct evict_pool pool;
static struct evict_object objects[N_OBJECTS];
static _Atomic uint8_t states[N_OBJECTS][N_PAGES];
static struct page_table tables[N_OBJECTS];
static uint64_t random_state;

static uint64_t draw(uint64_t n)
{
    return unit_random(&random_state) % n;
}

static uint64_t bytes_in(bool main)
{
    uint64_t bytes = 0;

    for (unsigned q = 0; q < EVICT_QUEUE_N; q++) {
        for (size_t i = 0; i < model.n[q]; i++) {
            if ((q == EVICT_MAIN || q == EVICT_HELD) == main)
                bytes += (model.queues[q][i].end - model.queues[q][i].first) * 4096;
        }
    }
    return bytes;
}

static uint64_t pages_in(void)
{
    return (bytes_in(false) + bytes_in(true)) / 4096;
}

static struct model_entry take(unsigned q, size_t i)
{
    const struct model_entry entry = model.queues[q][i];

    memmove(&model.queues[q][i], &model.queues[q][i + 1],
            (model.n[q] - i - 1) * sizeof(model.queues[q][0]));
    model.n[q]--;
    return entry;
}

static void put(unsigned q, struct model_entry entry)
{
    UNIT_EXPECT(model.n[q] < MAX);
    entry.in_main = q == EVICT_MAIN || q == EVICT_HELD;
    model.queues[q][model.n[q]++] = entry;
}

/* Names may be forgotten early, as they are in a table of bounded size; none may be made up. */
static uint64_t n_ghosts, n_forgotten;

static bool is_ghost(unsigned object, uint64_t first, uint64_t end)
{
    const uint32_t handle = evict_find(&evict, &objects[object], first);
    const bool is_in_main = evict_is_main(&evict, handle);
    bool is_known = false;

    for (uint64_t page = first; page < end && page < first + 16; page++)
        is_known |= model.went_at[object][page] != UINT64_MAX &&
                    model.clock - model.went_at[object][page] <= pages_in();
    UNIT_EXPECT(is_known || !is_in_main);
    n_ghosts += is_known;
    n_forgotten += is_known && !is_in_main;
    return is_in_main;
}

/* Which entry holds a page. */
static struct model_entry *find(unsigned object, uint64_t page, unsigned *ret_q, size_t *ret_i)
{
    for (unsigned q = 0; q < EVICT_QUEUE_N; q++) {
        for (size_t i = 0; i < model.n[q]; i++) {
            struct model_entry *entry = &model.queues[q][i];

            if (entry->object == object && page >= entry->first && page < entry->end) {
                *ret_q = q;
                *ret_i = i;
                return entry;
            }
        }
    }
    return NULL;
}

static void model_add(unsigned object, uint64_t first, uint64_t end)
{
    unsigned q;
    size_t i;

    while (first < end) {
        const uint64_t block = (first / EVICT_RUN_PAGES + 1) * EVICT_RUN_PAGES;
        uint64_t last = first;

        if (find(object, first, &q, &i)) {
            first++;
            continue;
        }
        while (last < end && last < block && !find(object, last, &q, &i))
            last++;
        put(is_ghost(object, first, last) ? EVICT_MAIN : EVICT_SMALL,
            (struct model_entry){.object = object, .first = first, .end = last});
        first = last;
    }
}

static void step_add(void)
{
    const unsigned object = (unsigned)draw(N_OBJECTS);
    const uint64_t first = draw(N_PAGES);
    const uint64_t most = draw(4) == 0 ? 300 : 3;
    uint64_t end = first + 1 + draw(most);
    struct evict_seen seen;

    if (end > N_PAGES)
        end = N_PAGES;
    for (uint64_t page = first; page < end; page++)
        (void)page_table_move(&tables[object], page, PAGE_ABSENT, PAGE_CLEAN);
    ck_assert_int_eq(evict_add(&evict, &objects[object], (struct range){first, end}, &seen), 0);
    model_add(object, first, end);
}

static void step_touch(void)
{
    const unsigned object = (unsigned)draw(N_OBJECTS);
    const uint64_t page = draw(N_PAGES);
    unsigned q;
    size_t i;
    struct model_entry *entry = find(object, page, &q, &i);

    if (entry && entry->first == page && entry->freq < 3)
        entry->freq++;
    evict_touch(&evict, &objects[object], page);
}

static void step_cool(void)
{
    const unsigned object = (unsigned)draw(N_OBJECTS);
    const uint64_t first = draw(N_PAGES), end = first + 1 + draw(20);
    unsigned q;
    size_t i;

    for (uint64_t page = first; page < end; page++) {
        const struct model_entry *entry = find(object, page, &q, &i);

        if (entry) {
            struct model_entry cooled = take(q, i);

            cooled.freq = 0;
            put(EVICT_COLD, cooled);
            page = cooled.end - 1;
        }
    }
    evict_cool(&evict, &objects[object], (struct range){first, end});
}

static void shrink(unsigned q, size_t i)
{
    struct model_entry *entry = &model.queues[q][i];

    while (entry->first < entry->end &&
           page_table_get(&tables[entry->object], entry->first) == PAGE_ABSENT)
        entry->first++;
    while (entry->first < entry->end &&
           page_table_get(&tables[entry->object], entry->end - 1) == PAGE_ABSENT)
        entry->end--;
    if (entry->first == entry->end)
        (void)take(q, i);
}

static void forget(unsigned object, struct range pages)
{
    (void)page_table_move_range(&tables[object], pages, PAGE_BITS_VALID, PAGE_EVICTING);
    (void)page_table_move_range(&tables[object], pages, PAGE_BIT(PAGE_EVICTING), PAGE_ABSENT);
}

static void step_trim(void)
{
    const unsigned object = (unsigned)draw(N_OBJECTS);
    struct range pages;
    unsigned q;
    size_t i;

    pages.start = draw(N_PAGES);
    pages.end = pages.start + 1 + draw(40);
    if (pages.end > N_PAGES)
        pages.end = N_PAGES;
    forget(object, pages);
    for (uint64_t page = pages.start; page < pages.end; page++)
        if (find(object, page, &q, &i))
            shrink(q, i);
    evict_trim(&evict, &objects[object], pages, &tables[object]);
}

/* Return: whether there is one. */
static bool model_next(uint64_t small_max, struct model_entry *ret_entry)
{
    for (unsigned n_chances = 0;; n_chances++) {
        const bool from_small =
            model.n[EVICT_SMALL] > 0 && (model.n[EVICT_MAIN] == 0 || bytes_in(false) > small_max);
        const unsigned q = from_small ? EVICT_SMALL : EVICT_MAIN;
        struct model_entry entry;

        if (model.n[EVICT_COLD] > 0 || model.n[q] == 0) {
            if (model.n[EVICT_COLD] == 0)
                return false;
            *ret_entry = take(EVICT_COLD, 0);
            return true;
        }
        entry = take(q, 0);
        if (entry.freq <= (from_small ? 1u : 0u) || n_chances >= 64) {
            *ret_entry = entry;
            return true;
        }
        entry.freq = from_small ? 0 : entry.freq - 1;
        put(EVICT_MAIN, entry);
    }
}

static void model_remember(const struct model_entry *entry)
{
    const uint64_t n_pages = entry->end - entry->first;

    model.clock += n_pages;
    for (uint64_t page = entry->first; page < entry->end; page += n_pages <= 16 ? 1 : 16)
        model.went_at[entry->object][page] = model.clock;
}

static void keep_some(uint32_t handle, struct model_entry entry)
{
    const bool is_held = draw(2) == 0;
    const struct range left = {entry.first + draw(entry.end - entry.first), entry.end};

    forget(entry.object, (struct range){entry.first, left.start});
    entry.first = left.start;
    put(is_held ? EVICT_HELD : entry.in_main ? EVICT_MAIN : EVICT_SMALL, entry);
    evict_keep(&evict, handle, left, is_held);
}

static void step_next(void)
{
    const uint64_t small_max = draw(400) * 4096;
    struct model_entry wanted;
    const bool is_there = model_next(small_max, &wanted);
    const uint32_t handle = evict_next(&evict, &pool, small_max);

    UNIT_EXPECT((handle != 0) == is_there);
    if (!is_there)
        return;
    UNIT_EXPECT(evict_owner(&evict, handle) == &objects[wanted.object]);
    UNIT_EXPECT(evict_pages(&evict, handle).start == wanted.first);
    UNIT_EXPECT(evict_pages(&evict, handle).end == wanted.end);
    if (draw(8) == 0) {
        keep_some(handle, wanted);
        return;
    }
    forget(wanted.object, (struct range){wanted.first, wanted.end});
    model_remember(&wanted);
    evict_drop(&evict, handle, true);
}

static void step_unhold(void)
{
    const size_t n = model.n[EVICT_HELD];

    memmove(&model.queues[EVICT_MAIN][n], &model.queues[EVICT_MAIN][0],
            model.n[EVICT_MAIN] * sizeof(model.queues[0][0]));
    memcpy(&model.queues[EVICT_MAIN][0], &model.queues[EVICT_HELD][0],
           n * sizeof(model.queues[0][0]));
    model.n[EVICT_MAIN] += n;
    model.n[EVICT_HELD] = 0;
    UNIT_EXPECT(evict_unhold(&evict, &pool) == (n > 0));
}

static void step(void)
{
    static void (*const steps[])(void) = {step_add,   step_add,  step_add,  step_touch, step_touch,
                                          step_touch, step_next, step_next, step_next,  step_next};

    switch (draw(100)) {
    case 0:
        step_unhold();
        return;
    case 1:
        step_cool();
        return;
    case 2:
    case 3:
        step_trim();
        return;
    default:
        steps[draw(sizeof(steps) / sizeof(steps[0]))]();
        return;
    }
}

START_TEST(every_choice_is_the_models)
{
    random_state = unit_seed();
    evict_init(&evict);
    ck_assert_int_eq(evict_pool_init(&evict, &pool), 0);
    memset(model.went_at, 0xff, sizeof(model.went_at));
    for (unsigned i = 0; i < N_OBJECTS; i++) {
        ck_assert_int_eq(evict_object_init(&evict, &objects[i], &pool, 50 + i, 12), 0);
        page_table_init(&tables[i], states[i], N_PAGES);
    }
    for (unsigned i = 0; i < N_STEPS; i++) {
        const char *why;

        step();
        UNIT_EXPECT(pool.small_bytes == bytes_in(false) && pool.main_bytes == bytes_in(true));
        why = i % 16 == 0 ? evict_validate(&evict, &pool) : NULL;
        ck_assert_msg(!why, "step %u: %s", i, why);
    }
    ck_assert_uint_gt(n_ghosts, 100);
    ck_assert_uint_lt(n_forgotten, n_ghosts / 4);
    for (unsigned i = 0; i < N_OBJECTS; i++)
        evict_object_done(&evict, &objects[i]);
    evict_pool_done(&evict, &pool);
    evict_done(&evict);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("evict");

    tcase_set_timeout(tcase, 100);
    tcase_add_test(tcase, every_choice_is_the_models);
    return unit_run("evict", tcase);
}
