/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * poison.h - which pages of an object could not be had, and why: what a client with SIGBUS asks
 *
 * Records are about ranges of pages and do not overlap; a newer one replaces the part of an older
 * one that it covers. There are at most POISON_RECORDS_MAX of them: what comes after is counted
 * and answered by the catch-all, so that a driver failing a million pages costs no more than that.
 * Says nothing about whether a page is poisoned now: that is the page table's business.
 *
 * Owns copies of all texts. Callers: server/flow.
 */
#ifndef MUSE_SERVER_CACHE_POISON_H
#define MUSE_SERVER_CACHE_POISON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "common/base/range.h"

#define POISON_RECORDS_MAX 1024u /* per object; chosen: nobody reads more, 400 KiB at the worst */
#define POISON_TEXT_BYTES  256u  /* with its NUL; longer sentences are cut */
#define POISON_HOOK_BYTES  24u   /* with its NUL */

struct poison_record {
    struct range pages;           /* object pages; all of them in the catch-all */
    int error;                    /* errno, positive */
    char hook[POISON_HOOK_BYTES]; /* whose failure it was: "fault", "extents", "limit", ... */
    char text[POISON_TEXT_BYTES]; /* one sentence; "" when nobody gave one */
};

struct poison {
    struct poison_record **records; /* owned, sorted by pages.start, not overlapping */
    size_t n_records;
    size_t n_allocated;
    struct poison_record *catch_all; /* owned; NULL: what has no record has no known reason */
    uint64_t n_uncounted;            /* failures that have no record of their own */
};

/** poison_init() - nothing has failed yet; allocates nothing (a zeroed struct is one, too) */
void poison_init(struct poison *poison);

/** poison_done() - free all records; usable afterwards */
void poison_done(struct poison *poison);

/**
 * poison_add() - remember why pages failed
 * @pages: object pages, not empty
 * @error: errno, positive
 * @hook:  a word; copied, cut
 * @text:  a sentence or NULL; copied, cut
 *
 * Cannot fail: over the limit, and out of memory, the catch-all says it.
 */
void poison_add(struct poison *poison, struct range pages, int error, const char *hook,
                const char *text);

/**
 * poison_add_rest() - what is said about every page that has no record of its own
 *
 * As poison_add() for all pages, for instance when the driver died: records stay, they are nearer.
 */
void poison_add_rest(struct poison *poison, int error, const char *hook, const char *text);

/**
 * poison_find() - why a page failed
 * @page: object page
 *
 * Return: borrowed until the next change: its record, else the catch-all, else NULL.
 */
const struct poison_record *poison_find(const struct poison *poison, uint64_t page);

/** poison_drop() - @pages are well again, or forgotten; the catch-all stays */
void poison_drop(struct poison *poison, struct range pages);

#endif
