/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * page_table.c - page states: legal moves, compare-and-swap, fast search
 *
 * Owns nothing: the bytes are shared memory of the caller. Called by server/flow. Deliberately
 * without any idea of who waits for a page or where its bytes are.
 *
 * Searches load eight states at a time. A word of eight equal states is decided by one look, and
 * real tables are long stretches of the same state; only words with a border in them are looked at
 * byte by byte. A found page is a hint until a move of it has succeeded: with several engines over
 * one table only the compare-and-swap decides.
 */
#include "server/cache/page_table.h"

#include <stddef.h>

#define WORD_PAGES 8u
#define EACH_BYTE  UINT64_C(0x0101010101010101)

_Static_assert(sizeof(_Atomic uint8_t) == 1, "a state is one byte of shared memory");

/* Where each state may go; the picture in page_table.h. */
static const unsigned int page_moves[PAGE_STATE_N] = {
    [PAGE_ABSENT] = PAGE_BIT(PAGE_FILLING) | PAGE_BIT(PAGE_CLEAN),
    [PAGE_FILLING] = PAGE_BIT(PAGE_CLEAN) | PAGE_BIT(PAGE_ABSENT) | PAGE_BIT(PAGE_POISONED),
    [PAGE_CLEAN] = PAGE_BIT(PAGE_DIRTY) | PAGE_BIT(PAGE_EVICTING),
    [PAGE_DIRTY] = PAGE_BIT(PAGE_WRITEBACK) | PAGE_BIT(PAGE_EVICTING),
    [PAGE_WRITEBACK] = PAGE_BIT(PAGE_SETTLING) | PAGE_BIT(PAGE_DIRTY) | PAGE_BIT(PAGE_EVICTING),
    [PAGE_SETTLING] = PAGE_BIT(PAGE_CLEAN) | PAGE_BIT(PAGE_DIRTY) | PAGE_BIT(PAGE_EVICTING),
    [PAGE_EVICTING] = PAGE_BIT(PAGE_ABSENT) | PAGE_BIT(PAGE_CLEAN),
    [PAGE_POISONED] = PAGE_BIT(PAGE_FILLING) | PAGE_BIT(PAGE_CLEAN) | PAGE_BIT(PAGE_ABSENT),
};

const char *page_state_name(enum page_state state)
{
    switch (state) {
#define X(name, text, help)                                                                        \
    case PAGE_##name:                                                                              \
        return text;
        PAGE_STATES(X)
#undef X
    case PAGE_STATE_N:
        break;
    }
    return "?";
}

bool page_move_is_legal(enum page_state from, enum page_state to)
{
    return from < PAGE_STATE_N && to < PAGE_STATE_N && (page_moves[from] & PAGE_BIT(to)) != 0;
}

void page_table_init(struct page_table *table, _Atomic uint8_t *states, uint64_t n_pages)
{
    *table = (struct page_table){.states = states, .n_pages = n_pages};
}

/* A byte that is no state would be a bug of ours: only our own engines share the memory. */
static unsigned int load_bit(const struct page_table *table, uint64_t page)
{
    uint8_t state = atomic_load_explicit(&table->states[page], memory_order_acquire);

    MUST(state < PAGE_STATE_N);
    return PAGE_BIT(state);
}

enum page_state page_table_get(const struct page_table *table, uint64_t page)
{
    uint8_t state;

    MUST(page < table->n_pages);
    state = atomic_load_explicit(&table->states[page], memory_order_acquire);
    MUST(state < PAGE_STATE_N);
    return (enum page_state)state;
}

static void count_move(struct page_table *table, unsigned int from_bit, enum page_state to)
{
    const unsigned int written = PAGE_BIT(PAGE_DIRTY) | PAGE_BIT(PAGE_WRITEBACK);
    unsigned int to_bit = PAGE_BIT(to);

    table->n_valid -= (from_bit & PAGE_BITS_VALID) != 0;
    table->n_valid += (to_bit & PAGE_BITS_VALID) != 0;
    table->n_dirty -= (from_bit & written) != 0;
    table->n_dirty += (to_bit & written) != 0;
    table->n_filling -= (from_bit & PAGE_BIT(PAGE_FILLING)) != 0;
    table->n_filling += to == PAGE_FILLING;
    table->n_poisoned -= (from_bit & PAGE_BIT(PAGE_POISONED)) != 0;
    table->n_poisoned += to == PAGE_POISONED;
}

/* The one place that changes a state. */
static bool swap_state(struct page_table *table, uint64_t page, enum page_state from,
                       enum page_state to)
{
    uint8_t expected = (uint8_t)from;

    if (!atomic_compare_exchange_strong_explicit(&table->states[page], &expected, (uint8_t)to,
                                                 memory_order_acq_rel, memory_order_acquire))
        return false;
    count_move(table, PAGE_BIT(from), to);
    return true;
}

bool page_table_move(struct page_table *table, uint64_t page, enum page_state from,
                     enum page_state to)
{
    MUST(page < table->n_pages);
    MUST(page_move_is_legal(from, to));
    return swap_state(table, page, from, to);
}

static void must_be_inside(const struct page_table *table, struct range pages)
{
    MUST(pages.start <= pages.end && pages.end <= table->n_pages);
}

uint64_t page_table_move_range(struct page_table *table, struct range pages, unsigned int from,
                               enum page_state to)
{
    uint64_t n_moved = 0;
    uint64_t page;

    must_be_inside(table, pages);
    for (unsigned int state = 0; state < PAGE_STATE_N; state++)
        MUST((from & PAGE_BIT(state)) == 0 || page_move_is_legal((enum page_state)state, to));
    page = page_table_find(table, pages, from);
    while (page < pages.end) {
        enum page_state state = page_table_get(table, page);

        if ((PAGE_BIT(state) & from) != 0 && swap_state(table, page, state, to))
            n_moved++;
        page++;
        if (page < pages.end && (load_bit(table, page) & from) == 0)
            page = page_table_find(table, (struct range){page, pages.end}, from);
    }
    return n_moved;
}

bool page_table_claim(struct page_table *table, struct range pages, struct range *ret_run)
{
    uint64_t first, page;

    must_be_inside(table, pages);
    for (first = page_table_find(table, pages, PAGE_BIT(PAGE_ABSENT)); first < pages.end;
         first =
             page_table_find(table, (struct range){first + 1, pages.end}, PAGE_BIT(PAGE_ABSENT))) {
        for (page = first; page < pages.end; page++) {
            if (!swap_state(table, page, PAGE_ABSENT, PAGE_FILLING))
                break;
        }
        if (page > first) {
            *ret_run = (struct range){first, page};
            return true;
        }
    }
    return false;
}

/* Eight states from an address that is a multiple of eight. */
static uint64_t load_word(const struct page_table *table, uint64_t page)
{
    typedef uint64_t __attribute__((may_alias)) word;
    const volatile void *at = &table->states[page];

    return __atomic_load_n((const volatile word *)at, __ATOMIC_ACQUIRE);
}

/*
 * The first page from @page on whose membership in @bits is @wanted. Pages up to the first word
 * border and words with different states go one by one.
 */
static uint64_t find(const struct page_table *table, uint64_t page, uint64_t end, unsigned int bits,
                     bool wanted)
{
    while (page < end) {
        bool is_word = ((uintptr_t)&table->states[page] & (WORD_PAGES - 1)) == 0;

        if (is_word && end - page >= WORD_PAGES) {
            uint64_t word = load_word(table, page);
            uint8_t state = (uint8_t)word;

            MUST(state < PAGE_STATE_N);
            if (word == state * EACH_BYTE) {
                if (((PAGE_BIT(state) & bits) != 0) == wanted)
                    return page;
                page += WORD_PAGES;
                continue;
            }
        }
        if (((load_bit(table, page) & bits) != 0) == wanted)
            return page;
        page++;
    }
    return end;
}

uint64_t page_table_find(const struct page_table *table, struct range pages, unsigned int bits)
{
    must_be_inside(table, pages);
    return find(table, pages.start, pages.end, bits, true);
}

struct range page_table_find_run(const struct page_table *table, struct range pages,
                                 unsigned int bits)
{
    uint64_t first;

    must_be_inside(table, pages);
    first = find(table, pages.start, pages.end, bits, true);
    return (struct range){first, find(table, first, pages.end, bits, false)};
}

struct range page_table_run_around(const struct page_table *table, uint64_t page,
                                   struct range limits, unsigned int bits)
{
    uint64_t first = page;

    must_be_inside(table, limits);
    MUST(range_contains(limits, page));
    if ((load_bit(table, page) & bits) == 0)
        return (struct range){page, page};
    while (first > limits.start && (load_bit(table, first - 1) & bits) != 0)
        first--;
    return (struct range){first, find(table, page, limits.end, bits, false)};
}

uint64_t page_table_count(const struct page_table *table, struct range pages, unsigned int bits)
{
    uint64_t n = 0;
    struct range run;

    must_be_inside(table, pages);
    while (pages.start < pages.end) {
        run = page_table_find_run(table, pages, bits);
        n += range_len(run);
        pages.start = run.end;
    }
    return n;
}

bool page_table_is_valid(const struct page_table *table, struct range pages)
{
    must_be_inside(table, pages);
    return find(table, pages.start, pages.end, PAGE_BITS_VALID, false) == pages.end;
}

const char *page_table_validate(const struct page_table *table)
{
    uint64_t n[PAGE_STATE_N] = {0};

    for (uint64_t page = 0; page < table->n_pages; page++) {
        uint8_t state = atomic_load(&table->states[page]);

        if (state >= PAGE_STATE_N)
            return "a page is in no state";
        n[state]++;
    }
    if (table->n_valid != n[PAGE_CLEAN] + n[PAGE_SETTLING] + n[PAGE_DIRTY] + n[PAGE_WRITEBACK])
        return "n_valid is wrong";
    if (table->n_dirty != n[PAGE_DIRTY] + n[PAGE_WRITEBACK])
        return "n_dirty is wrong";
    if (table->n_filling != n[PAGE_FILLING])
        return "n_filling is wrong";
    if (table->n_poisoned != n[PAGE_POISONED])
        return "n_poisoned is wrong";
    return NULL;
}
