/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * poison.c - the records of failed pages: a sorted array of at most POISON_RECORDS_MAX
 *
 * Owned by an object, called by server/flow. Deliberately no judgement: a record may outlive the
 * failure it tells of, and whoever asks looks at the page table first.
 */
#include "server/cache/poison.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_ALLOCATION 8u /* pointers; chosen: most objects never fail twice */

void poison_init(struct poison *poison)
{
    *poison = (struct poison){0};
}

void poison_done(struct poison *poison)
{
    for (size_t i = 0; i < poison->n_records; i++)
        free(poison->records[i]);
    free(poison->records);
    free(poison->catch_all);
    poison_init(poison);
}

/* The index of the first record that ends above @page. */
static size_t lower_bound(const struct poison *poison, uint64_t page)
{
    size_t low = 0, high = poison->n_records;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (poison->records[middle]->pages.end > page)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static void record_set(struct poison_record *record, struct range pages, int error,
                       const char *hook, const char *text)
{
    record->pages = pages;
    record->error = error;
    (void)snprintf(record->hook, sizeof(record->hook), "%s", hook);
    (void)snprintf(record->text, sizeof(record->text), "%s", text ? text : "");
}

/* Room for one more pointer. Return: false over the limit or out of memory. */
static bool make_room(struct poison *poison)
{
    size_t n_wanted = poison->n_allocated ? 2 * poison->n_allocated : FIRST_ALLOCATION;
    struct poison_record **records;

    if (poison->n_records >= POISON_RECORDS_MAX)
        return false;
    if (poison->n_records < poison->n_allocated)
        return true;
    records = realloc(poison->records, n_wanted * sizeof(struct poison_record *));
    if (!records)
        return false;
    poison->records = records;
    poison->n_allocated = n_wanted;
    return true;
}

/* Puts @record at @index; make_room() has said yes. */
static void insert_at(struct poison *poison, size_t index, struct poison_record *record)
{
    memmove(&poison->records[index + 1], &poison->records[index],
            (poison->n_records - index) * sizeof(struct poison_record *));
    poison->records[index] = record;
    poison->n_records++;
}

static void remove_at(struct poison *poison, size_t index)
{
    free(poison->records[index]);
    poison->n_records--;
    memmove(&poison->records[index], &poison->records[index + 1],
            (poison->n_records - index) * sizeof(struct poison_record *));
}

/* Cuts @hole out of the middle of a record; without memory the upper part loses its sentence. */
static void split_at(struct poison *poison, size_t index, struct range hole)
{
    struct poison_record *lower = poison->records[index];
    struct poison_record *upper = make_room(poison) ? malloc(sizeof(*upper)) : NULL;

    if (upper) {
        *upper = *lower;
        upper->pages.start = hole.end;
        insert_at(poison, index + 1, upper);
    } else {
        poison->n_uncounted++;
    }
    lower->pages.end = hole.start;
}

void poison_drop(struct poison *poison, struct range pages)
{
    size_t index = lower_bound(poison, pages.start);

    if (range_is_empty(pages))
        return;
    while (index < poison->n_records) {
        struct poison_record *record = poison->records[index];

        if (record->pages.start >= pages.end)
            return;
        if (record->pages.start < pages.start && record->pages.end > pages.end) {
            split_at(poison, index, pages);
            return;
        }
        if (record->pages.start >= pages.start && record->pages.end <= pages.end) {
            remove_at(poison, index);
            continue;
        }
        if (record->pages.start < pages.start)
            record->pages.end = pages.start;
        else
            record->pages.start = pages.end;
        index++;
    }
}

/* Whether @record, which ends where a new failure starts, already says the same. */
static bool says_the_same(const struct poison_record *record, int error, const char *hook,
                          const char *text)
{
    return record->error == error && strncmp(record->hook, hook, POISON_HOOK_BYTES - 1) == 0 &&
           strncmp(record->text, text ? text : "", POISON_TEXT_BYTES - 1) == 0;
}

void poison_add(struct poison *poison, struct range pages, int error, const char *hook,
                const char *text)
{
    struct poison_record *record;
    size_t index;

    if (range_is_empty(pages))
        return;
    poison_drop(poison, pages);
    index = lower_bound(poison, pages.start);
    if (index > 0 && poison->records[index - 1]->pages.end == pages.start &&
        says_the_same(poison->records[index - 1], error, hook, text)) {
        poison->records[index - 1]->pages.end = pages.end;
        return;
    }
    record = make_room(poison) ? malloc(sizeof(*record)) : NULL;
    if (record) {
        record_set(record, pages, error, hook, text);
        insert_at(poison, index, record);
        return;
    }
    poison->n_uncounted += range_len(pages);
    if (!poison->catch_all)
        poison_add_rest(poison, error, hook, text);
}

void poison_add_rest(struct poison *poison, int error, const char *hook, const char *text)
{
    if (!poison->catch_all)
        poison->catch_all = malloc(sizeof(*poison->catch_all));
    if (poison->catch_all)
        record_set(poison->catch_all, (struct range){0, UINT64_MAX}, error, hook, text);
}

const struct poison_record *poison_find(const struct poison *poison, uint64_t page)
{
    size_t index = lower_bound(poison, page);

    if (index < poison->n_records && poison->records[index]->pages.start <= page)
        return poison->records[index];
    return poison->catch_all;
}
