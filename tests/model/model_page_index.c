/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Page table, runs and waiters together, under random operations, against arrays that are searched
 * page by page: what is claimed, answered in parts, failed, revoked, waited for and cancelled.
 */
#include <stdlib.h>

#include <check.h>

#include "server/cache/page_table.h"
#include "server/fault/run.h"
#include "tests/support/unit.h"

#define N_PAGES  96u
#define N_SPACES 3u
#define N_STEPS  30000u

/* The index under test and, beside it, what it should say. */
struct model {
    _Atomic uint8_t states[N_PAGES];
    struct page_table pages;
    struct run_table runs;
    struct list owed; /* run.owner_link, by id */
    uint64_t next_id;
    enum page_state expected[N_PAGES];
    uint64_t run_of[N_PAGES]; /* id of the run that holds it; 0: none */
    bool waits[N_PAGES][N_SPACES];
    int spaces[N_SPACES]; /* only their addresses mean something */
    uint64_t random;
};

static uint64_t pick(struct model *m, uint64_t n)
{
    return unit_random(&m->random) % n;
}

static struct range pick_range(struct model *m)
{
    uint64_t start = pick(m, N_PAGES);
    uint64_t room = N_PAGES - start;

    return (struct range){start, start + 1 + pick(m, room < 20 ? room : 20)};
}

static void model_init(struct model *m)
{
    page_table_init(&m->pages, m->states, N_PAGES);
    run_table_init(&m->runs);
    list_init(&m->owed);
    m->random = unit_seed();
}

/* ---- operations ---- */

static void do_claim(struct model *m)
{
    struct range within = pick_range(m), claimed;

    while (page_table_claim(&m->pages, within, &claimed)) {
        struct run *run = malloc(sizeof(*run));

        ck_assert_ptr_nonnull(run);
        within.start = claimed.end;
        run_init(run, m, ++m->next_id, claimed);
        run_table_insert(&m->runs, run);
        list_add_tail(&m->owed, &run->owner_link);
        for (uint64_t page = claimed.start; page < claimed.end; page++) {
            UNIT_EXPECT(m->expected[page] == PAGE_ABSENT);
            m->expected[page] = PAGE_FILLING;
            m->run_of[page] = m->next_id;
        }
    }
}

static void free_waiter(struct model *m, struct page_waiter *waiter, bool is_told)
{
    for (unsigned int i = 0; i < N_SPACES; i++) {
        if (waiter->space != &m->spaces[i])
            continue;
        UNIT_EXPECT(m->waits[waiter->page][i] == is_told);
        m->waits[waiter->page][i] = false;
    }
    free(waiter);
}

/* Ends all runs in a range: to clean, absent or poisoned; waiters go. */
static void do_answer(struct model *m)
{
    static const enum page_state ends[] = {PAGE_CLEAN, PAGE_CLEAN, PAGE_ABSENT, PAGE_POISONED};
    enum page_state end = ends[pick(m, sizeof(ends) / sizeof(ends[0]))];
    struct range within = pick_range(m), part;
    struct list batch = LIST_INIT(batch);
    struct list *node;
    struct run *run;

    while ((run = run_table_find_next(&m->runs, within.start)) && run->pages.start < within.end) {
        struct run *spare = NULL;

        part = range_intersect(run->pages, within);
        within.start = part.end;
        if (run_cut_needs_spare(run, part))
            spare = malloc(sizeof(*spare));
        if (run_table_cut(&m->runs, run, part, spare))
            free(run);
        UNIT_EXPECT(page_table_move_range(&m->pages, part, PAGE_BIT(PAGE_FILLING), end) ==
                    range_len(part));
        run_table_take_waiters(&m->runs, part, &batch);
        for (uint64_t page = part.start; page < part.end; page++) {
            UNIT_EXPECT(m->expected[page] == PAGE_FILLING);
            m->expected[page] = end;
            m->run_of[page] = 0;
        }
    }
    while ((node = list_take_first(&batch)))
        free_waiter(m, LIST_ENTRY(node, struct page_waiter, batch), true);
}

static void do_wait(struct model *m)
{
    uint64_t page = pick(m, N_PAGES);
    unsigned int space = (unsigned int)pick(m, N_SPACES);
    struct page_waiter *waiter;

    if (m->expected[page] != PAGE_FILLING)
        return;
    UNIT_EXPECT(run_table_has_fault(&m->runs, page, &m->spaces[space], page * 4096) ==
                m->waits[page][space]);
    waiter = malloc(sizeof(*waiter));
    ck_assert_ptr_nonnull(waiter);
    waiter_init(waiter, WAITER_FAULT);
    waiter->page = page;
    waiter->space = &m->spaces[space];
    waiter->addr = page * 4096;
    if (run_table_join(&m->runs, waiter) == 0) {
        UNIT_EXPECT(!m->waits[page][space]);
        m->waits[page][space] = true;
    } else {
        UNIT_EXPECT(m->waits[page][space]);
        free(waiter);
    }
}

/* A space dies: found through the tree, as no list of it is kept here. */
static void do_space_gone(struct model *m)
{
    void *space = &m->spaces[pick(m, N_SPACES)];
    struct list batch = LIST_INIT(batch);
    struct list *node;

    run_table_take_waiters(&m->runs, (struct range){0, N_PAGES}, &batch);
    while ((node = list_take_first(&batch))) {
        struct page_waiter *waiter = LIST_ENTRY(node, struct page_waiter, batch);

        if (waiter->space == space)
            free_waiter(m, waiter, true);
        else
            ck_assert_int_eq(run_table_join(&m->runs, waiter), 0);
    }
}

static void do_forget(struct model *m)
{
    struct range within = pick_range(m);

    (void)page_table_move_range(&m->pages, within, PAGE_BITS_VALID, PAGE_EVICTING);
    (void)page_table_move_range(&m->pages, within,
                                PAGE_BIT(PAGE_EVICTING) | PAGE_BIT(PAGE_POISONED), PAGE_ABSENT);
    for (uint64_t page = within.start; page < within.end; page++) {
        if (m->expected[page] != PAGE_FILLING)
            m->expected[page] = PAGE_ABSENT;
    }
}

static void do_write(struct model *m)
{
    uint64_t page = pick(m, N_PAGES);

    if (page_table_move(&m->pages, page, PAGE_CLEAN, PAGE_DIRTY)) {
        UNIT_EXPECT(m->expected[page] == PAGE_CLEAN);
        m->expected[page] = PAGE_DIRTY;
    }
}

/* ---- what must hold ---- */

static uint64_t first_waited(const struct model *m)
{
    for (uint64_t page = 0; page < N_PAGES; page++) {
        for (unsigned int space = 0; space < N_SPACES; space++) {
            if (m->waits[page][space])
                return page;
        }
    }
    return N_PAGES;
}

static void check(struct model *m)
{
    uint64_t n_valid = 0;

    for (uint64_t page = 0; page < N_PAGES; page++) {
        const struct run *run = run_table_find(&m->runs, page);

        UNIT_EXPECT(page_table_get(&m->pages, page) == m->expected[page]);
        UNIT_EXPECT((run != NULL) == (m->expected[page] == PAGE_FILLING));
        UNIT_EXPECT((run ? run->id : 0) == m->run_of[page]);
        n_valid += page_state_is_valid(m->expected[page]);
    }
    UNIT_EXPECT(m->pages.n_valid == n_valid);
    UNIT_EXPECT(run_table_waited(&m->runs, (struct range){0, N_PAGES}) == first_waited(m));
    UNIT_EXPECT(page_table_validate(&m->pages) == NULL);
    UNIT_EXPECT(run_table_validate(&m->runs) == NULL);
}

static void check_owed_in_order(struct model *m)
{
    struct list *pos;
    uint64_t last = 0;

    list_for_each(pos, &m->owed) {
        UNIT_EXPECT(LIST_ENTRY(pos, struct run, owner_link)->id >= last);
        last = LIST_ENTRY(pos, struct run, owner_link)->id;
    }
}

static void model_done(struct model *m)
{
    struct run *run;

    do_space_gone(m);
    for (unsigned int i = 0; i < 100 * N_SPACES; i++)
        do_space_gone(m);
    while ((run = run_table_find_next(&m->runs, 0))) {
        (void)page_table_move_range(&m->pages, run->pages, PAGE_BIT(PAGE_FILLING), PAGE_ABSENT);
        ck_assert(run_table_cut(&m->runs, run, run->pages, NULL));
        free(run);
    }
    ck_assert(run_table_is_idle(&m->runs));
    ck_assert(list_is_empty(&m->owed));
}

START_TEST(the_index_agrees_with_arrays_under_random_operations)
{
    static void (*const operations[])(struct model *) = {
        do_claim, do_claim, do_answer, do_answer, do_wait,
        do_wait,  do_wait,  do_forget, do_write,  do_space_gone};
    static struct model m;

    model_init(&m);
    for (unsigned int step = 0; step < N_STEPS; step++) {
        operations[pick(&m, sizeof(operations) / sizeof(operations[0]))](&m);
        check(&m);
        if (step % 16 == 0)
            check_owed_in_order(&m);
    }
    model_done(&m);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("page_index");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, the_index_agrees_with_arrays_under_random_operations);
    return unit_run("page_index", tcase);
}
