/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * readahead.h - how much to get with a touched page, and what to get before it is touched
 *
 * Each VMA has a stream (struct vma_stream in server/vm/vma.h) that is told of every touch the
 * server sees. A touch that continues the stream doubles the window; one that does not shrinks it,
 * in the end to the touched page alone.
 *
 *   touch p      |p..now..)[m..... ahead .....)        m: the marker, valid but left unmapped
 *   touch m                 |m.................)[m2..... ahead, twice as long .....)
 *
 * Because the marker is left unmapped, touching it is a cheap minor fault that starts the next
 * window before the reader needs it. All is in object pages; windows are cut to the VMA and the
 * object. Pure arithmetic: whether pages are there is known to the caller and the page table.
 */
#ifndef MUSE_SERVER_FAULT_READAHEAD_H
#define MUSE_SERVER_FAULT_READAHEAD_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/range.h"
#include "server/vm/vma.h"

#define READAHEAD_FIRST_PAGES  16u /* first window: what one context switch costs (costs table) */
#define READAHEAD_MAX_BYTES    (4u << 20) /* two blocks: one is populated while one is read */
#define READAHEAD_AROUND_PAGES 64u        /* shown with a touched valid page: as fast as native */
#define READAHEAD_BEFORE_PAGES 16u /* alignment of what is shown before it: the kernel's own */

struct readahead_limits {
    struct range pages; /* object pages the VMA shows, cut to the object */
    uint32_t max_pages; /* largest window, >= 1; one that ends a block may be half as long again */
    bool sequential;    /* VMF_SEQ_READ: largest window at once */
    bool random;        /* VMF_RAND_READ: exactly the page */
};

struct readahead_plan {
    struct range now;    /* to be asked for when the page is absent; holds it */
    struct range ahead;  /* to be asked for after that, without anybody waiting; may be empty */
    struct range around; /* to be shown as far as valid; holds the page, not the marker */
    struct range mapped; /* part of it that was shown ahead of this touch; never holds the page */
};

/**
 * readahead_limits_of() - the limits of a VMA
 * @vma:            borrowed
 * @page_shift:     of the object
 * @n_object_pages: of the object
 */
struct readahead_limits readahead_limits_of(const struct vma *vma, uint32_t page_shift,
                                            uint64_t n_object_pages);

/**
 * readahead_touch() - a page was touched
 * @stream:    of the VMA; zeroed when fresh
 * @limits:    of the VMA
 * @page:      inside limits->pages
 * @n_history: how many pages right before @page are valid, as far as looked at: tells a second
 *             reader in the same VMA from random touches
 * @ret_plan:  what to get and to show
 *
 * A repetition of the last touch changes nothing and asks for nothing ahead.
 */
void readahead_touch(struct vma_stream *stream, const struct readahead_limits *limits,
                     uint64_t page, uint64_t n_history, struct readahead_plan *ret_plan);

/**
 * readahead_clip() - leave the stream's marker out of pages that are to be shown
 * @pages: object pages
 * @page:  the touched one, inside @pages; it is shown even if it is the marker
 *
 * Return: the part of @pages with @page in it and no marker.
 */
struct range readahead_clip(const struct vma_stream *stream, struct range pages, uint64_t page);

/**
 * readahead_shown() - pages that were asked for ahead are mapped now
 * @pages: object pages without the marker
 *
 * Showing them again would cost a call for each of them. Only what lies behind the marker without a
 * gap is remembered.
 */
void readahead_shown(struct vma_stream *stream, struct range pages);

/** readahead_forget() - the pages ahead were not asked for, or are gone: no marker stands */
void readahead_forget(struct vma_stream *stream);

#endif
