/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * run.c - two trees: page runs in flight, and those who wait for pages
 *
 * Owns neither runs nor waiters. Called by server/flow. Deliberately without a clock: whoever keeps
 * the owner's list looks at run.deadline_ns of its first entry.
 */
#include "server/fault/run.h"

#include <stddef.h>

void run_table_init(struct run_table *table)
{
    rb_init(&table->runs, NULL);
    rb_init(&table->waiters, NULL);
    table->n_runs = 0;
    table->n_waiters = 0;
}

bool run_table_is_idle(const struct run_table *table)
{
    return rb_is_empty(&table->runs) && rb_is_empty(&table->waiters);
}

static struct run *run_from_node(struct rb_node *node)
{
    return node ? CONTAINER_OF(node, struct run, node) : NULL;
}

static struct page_waiter *waiter_from_node(struct rb_node *node)
{
    return node ? CONTAINER_OF(node, struct page_waiter, node) : NULL;
}

void run_init(struct run *run, void *owner, uint64_t id, struct range pages)
{
    MUST(!range_is_empty(pages));
    *run = (struct run){.owner = owner, .id = id, .pages = pages, .needed_end = pages.start};
    list_init(&run->owner_link);
}

struct run *run_table_find_next(const struct run_table *table, uint64_t page)
{
    struct rb_node *node = table->runs.node;
    struct run *best = NULL;

    while (node) {
        struct run *run = run_from_node(node);

        if (run->pages.end > page) {
            best = run;
            node = node->left;
        } else {
            node = node->right;
        }
    }
    return best;
}

struct run *run_table_find(const struct run_table *table, uint64_t page)
{
    struct run *run = run_table_find_next(table, page);

    return run && run->pages.start <= page ? run : NULL;
}

struct run *run_next(const struct run *run)
{
    return run_from_node(rb_next(&run->node));
}

void run_table_insert(struct run_table *table, struct run *run)
{
    struct rb_node **link = &table->runs.node, *parent = NULL;

    while (*link) {
        struct run *other = run_from_node(*link);

        MUST(!range_overlaps(other->pages, run->pages));
        parent = *link;
        link = run->pages.start < other->pages.start ? &parent->left : &parent->right;
    }
    rb_insert(&table->runs, parent, link, &run->node);
    table->n_runs++;
}

bool run_cut_needs_spare(const struct run *run, struct range pages)
{
    return pages.start > run->pages.start && pages.end < run->pages.end;
}

bool run_table_cut(struct run_table *table, struct run *run, struct range pages, struct run *spare)
{
    MUST(!range_is_empty(pages) && range_contains_range(run->pages, pages));
    if (range_equal(run->pages, pages)) {
        rb_erase(&table->runs, &run->node);
        table->n_runs--;
        list_del(&run->owner_link);
        return true;
    }
    if (run_cut_needs_spare(run, pages)) {
        MUST(spare);
        *spare = *run;
        spare->node = (struct rb_node){0};
        list_init(&spare->owner_link);
        if (list_is_linked(&run->owner_link))
            list_add(&run->owner_link, &spare->owner_link);
        spare->pages.start = pages.end;
        run->pages.end = pages.start;
        run_table_insert(table, spare);
        return false;
    }
    /* an edge moves inwards: the order among the runs stays */
    if (pages.start == run->pages.start)
        run->pages.start = pages.end;
    else
        run->pages.end = pages.start;
    return false;
}

void waiter_init(struct page_waiter *waiter, enum waiter_kind kind)
{
    *waiter = (struct page_waiter){.kind = kind};
    list_init(&waiter->space_link);
    list_init(&waiter->batch);
}

/* What tells two waiters apart; calls are each their own. */
struct waiter_key {
    uint64_t page;
    uintptr_t space;
    uint64_t addr;
};

static struct waiter_key key_of(const struct page_waiter *waiter)
{
    if (waiter->kind == WAITER_CALL)
        return (struct waiter_key){waiter->page, 0, (uintptr_t)waiter};
    return (struct waiter_key){waiter->page, (uintptr_t)waiter->space, waiter->addr};
}

static int compare(struct waiter_key a, struct waiter_key b)
{
    if (a.page != b.page)
        return a.page < b.page ? -1 : 1;
    if (a.space != b.space)
        return a.space < b.space ? -1 : 1;
    if (a.addr != b.addr)
        return a.addr < b.addr ? -1 : 1;
    return 0;
}

int run_table_join(struct run_table *table, struct page_waiter *waiter)
{
    struct rb_node **link = &table->waiters.node, *parent = NULL;
    struct waiter_key key = key_of(waiter);

    MUST(!waiter->table);
    while (*link) {
        int order = compare(key, key_of(waiter_from_node(*link)));

        if (order == 0)
            return RUN_E_JOINED;
        parent = *link;
        link = order < 0 ? &parent->left : &parent->right;
    }
    rb_insert(&table->waiters, parent, link, &waiter->node);
    table->n_waiters++;
    waiter->table = table;
    return 0;
}

bool run_table_has_fault(const struct run_table *table, uint64_t page, const void *space,
                         uint64_t addr)
{
    struct waiter_key key = {page, (uintptr_t)space, addr};
    const struct rb_node *node = table->waiters.node;

    while (node) {
        const struct page_waiter *waiter = CONTAINER_OF_CONST(node, struct page_waiter, node);
        int order = compare(key, key_of(waiter));

        if (order == 0)
            return true;
        node = order < 0 ? node->left : node->right;
    }
    return false;
}

void run_table_leave(struct page_waiter *waiter)
{
    struct run_table *table = waiter->table;

    if (!table)
        return;
    rb_erase(&table->waiters, &waiter->node);
    table->n_waiters--;
    waiter->table = NULL;
}

struct page_waiter *run_table_first_waiter(const struct run_table *table, uint64_t page)
{
    struct rb_node *node = table->waiters.node;
    struct page_waiter *best = NULL;

    while (node) {
        struct page_waiter *waiter = waiter_from_node(node);

        if (waiter->page >= page) {
            best = waiter;
            node = node->left;
        } else {
            node = node->right;
        }
    }
    return best;
}

struct page_waiter *waiter_next(const struct page_waiter *waiter)
{
    return waiter_from_node(rb_next(&waiter->node));
}

uint64_t run_table_waited(const struct run_table *table, struct range pages)
{
    const struct page_waiter *waiter = run_table_first_waiter(table, pages.start);

    return waiter && waiter->page < pages.end ? waiter->page : pages.end;
}

void run_table_take_waiters(struct run_table *table, struct range pages, struct list *batch)
{
    struct page_waiter *waiter = run_table_first_waiter(table, pages.start);

    while (waiter && waiter->page < pages.end) {
        struct page_waiter *next = waiter_next(waiter);

        run_table_leave(waiter);
        list_add_tail(batch, &waiter->batch);
        waiter = next;
    }
}

const char *run_table_validate(const struct run_table *table)
{
    uint64_t n_runs = 0, n_waiters = 0, end = 0;

    for (struct rb_node *node = rb_first(&table->runs); node; node = rb_next(node), n_runs++) {
        const struct run *run = run_from_node(node);

        if (range_is_empty(run->pages))
            return "a run is empty";
        if (run->pages.start < end)
            return "runs overlap or are out of order";
        end = run->pages.end;
    }
    if (n_runs != table->n_runs)
        return "n_runs is wrong";
    for (struct rb_node *node = rb_first(&table->waiters); node;
         node = rb_next(node), n_waiters++) {
        struct rb_node *next = rb_next(node);

        if (waiter_from_node(node)->table != table)
            return "a waiter does not know its table";
        if (next && compare(key_of(waiter_from_node(node)), key_of(waiter_from_node(next))) >= 0)
            return "waiters are out of order";
    }
    return n_waiters == table->n_waiters ? NULL : "n_waiters is wrong";
}
