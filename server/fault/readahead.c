/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * readahead.c - windows of a stream, by where the touched page lies relative to the last plan
 *
 *              start         last      marker        end          end + window
 *   ...---------|--------------|----------|------------|---------------|------...
 *     backward      inside  again  inside    marker       onward           elsewhere
 *   (within a window)
 *
 *   onward, marker    the reader goes on: twice the window, and one more ahead behind a new marker
 *   backward          twice the window, ending where the last one started; no marker
 *   inside            it was planned already: get what is missing of it, plan no more
 *   elsewhere         a first touch, or a jump: a small window, smaller with each jump; but pages
 *                     valid right before it tell that somebody reads towards it
 *
 * Owns nothing: the stream is part of the VMA. Called by server/flow/fault_flow.c. Deliberately
 * does not look at page states; the page table skips over what is there already.
 */
#include "server/fault/readahead.h"

#include <stddef.h>

#define REGROWN_PAGES 4u /* chosen: first window when a jumping reader seems to go on */
#define HISTORY_PAGES 4u /* chosen: so many valid pages before a miss are a reader, not chance */

enum touch {
    TOUCH_AGAIN,
    TOUCH_MARKER,
    TOUCH_INSIDE,
    TOUCH_ONWARD,
    TOUCH_BACKWARD,
    TOUCH_ELSEWHERE
};

struct readahead_limits readahead_limits_of(const struct vma *vma, uint32_t page_shift,
                                            uint64_t n_object_pages)
{
    unsigned int shift = page_shift - VMA_PAGE_SHIFT;
    uint64_t unit = UINT64_C(1) << shift;
    struct range small = vma_pages(vma);
    struct range pages = {small.start >> shift, (small.end + unit - 1) >> shift};

    return (struct readahead_limits){
        .pages = range_intersect(pages, (struct range){0, n_object_pages}),
        .max_pages = READAHEAD_MAX_BYTES >> page_shift,
        .sequential = (vma->flags & VMF_SEQ_READ) != 0,
        .random = (vma->flags & VMF_RAND_READ) != 0,
    };
}

static enum touch classify(const struct vma_stream *stream, uint64_t page)
{
    if (stream->window == 0)
        return TOUCH_ELSEWHERE;
    if (page == stream->last)
        return TOUCH_AGAIN;
    if (page >= stream->start && page < stream->end)
        return stream->has_marker && page >= stream->marker ? TOUCH_MARKER : TOUCH_INSIDE;
    if (page >= stream->end && page - stream->end < stream->window)
        return TOUCH_ONWARD;
    if (page < stream->start && stream->start - page <= stream->window)
        return TOUCH_BACKWARD;
    return TOUCH_ELSEWHERE;
}

static uint32_t smaller(uint64_t a, uint64_t b)
{
    return (uint32_t)(a < b ? a : b);
}

static uint32_t first_window(const struct readahead_limits *limits)
{
    return smaller(READAHEAD_FIRST_PAGES, limits->max_pages);
}

static uint32_t grown(uint32_t window, const struct readahead_limits *limits)
{
    uint64_t twice = 2 * (uint64_t)window;

    if (limits->sequential)
        return limits->max_pages;
    return smaller(twice < REGROWN_PAGES ? REGROWN_PAGES : twice, limits->max_pages);
}

/* @n_pages from @first on, cut to the limits; @first may be their end. */
static struct range from(const struct readahead_limits *limits, uint64_t first, uint64_t n_pages)
{
    uint64_t room = limits->pages.end - first;

    return (struct range){first, first + (n_pages < room ? n_pages : room)};
}

/*
 * The same for a window of a stream. The largest windows end at the nearest end of a block of their
 * size, so that all that follow are whole blocks, which the page cache has large folios for.
 */
static struct range window_from(const struct readahead_limits *limits, uint64_t first,
                                uint32_t window)
{
    const uint64_t max_pages = limits->max_pages;

    if (window < max_pages)
        return from(limits, first, window);
    return from(limits, first, (first + max_pages + max_pages / 2) / max_pages * max_pages - first);
}

/* One more window behind what is planned, and the marker in front of it. */
static void plan_ahead(struct vma_stream *stream, const struct readahead_limits *limits,
                       struct readahead_plan *plan)
{
    stream->has_marker = false;
    if (stream->window < first_window(limits))
        return; /* not sure of it yet */
    plan->ahead = window_from(limits, stream->end, stream->window);
    if (range_is_empty(plan->ahead))
        return;
    stream->has_marker = true;
    stream->marker = plan->ahead.start;
    stream->shown_end = plan->ahead.start + 1;
    stream->end = plan->ahead.end;
}

static void plan_onward(struct vma_stream *stream, const struct readahead_limits *limits,
                        uint64_t page, struct readahead_plan *plan)
{
    stream->window = grown(stream->window, limits);
    plan->now = window_from(limits, page, stream->window);
    stream->start = page;
    stream->end = plan->now.end;
    if (stream->window >= first_window(limits))
        stream->window = grown(stream->window, limits);
    plan_ahead(stream, limits, plan);
}

static void plan_marker(struct vma_stream *stream, const struct readahead_limits *limits,
                        uint64_t page, struct readahead_plan *plan)
{
    plan->now = (struct range){page, stream->end};
    if (page == stream->marker)
        plan->mapped = (struct range){page + 1, stream->shown_end};
    stream->start = page;
    stream->window = grown(stream->window, limits);
    plan_ahead(stream, limits, plan);
}

static void plan_backward(struct vma_stream *stream, const struct readahead_limits *limits,
                          struct readahead_plan *plan)
{
    uint64_t room = stream->start - limits->pages.start;
    uint32_t window = grown(stream->window, limits);

    plan->now = (struct range){stream->start - smaller(window, room), stream->start};
    stream->window = window;
    stream->start = plan->now.start;
    stream->end = plan->now.end;
    stream->has_marker = false;
}

static void plan_elsewhere(struct vma_stream *stream, const struct readahead_limits *limits,
                           uint64_t page, uint64_t n_history, struct readahead_plan *plan)
{
    uint32_t first = first_window(limits);
    uint64_t start = page;

    if (n_history >= HISTORY_PAGES) {
        uint64_t n = n_history < READAHEAD_AROUND_PAGES ? n_history : READAHEAD_AROUND_PAGES;

        stream->window = smaller(n, limits->max_pages);
    } else {
        if (stream->window == 0 || stream->window > first)
            stream->window = first;
        else if (stream->window > 1)
            stream->window /= 2;
        start =
            page / stream->window * stream->window; /* around it: as likely needed as behind it */
        if (start < limits->pages.start)
            start = limits->pages.start;
    }
    plan->now = from(limits, start, stream->window);
    stream->start = plan->now.start;
    stream->end = plan->now.end;
    stream->has_marker = false;
}

/* A block of a fixed grid: what was shown with another touch is then shown as a whole, or not. */
static struct range block_of(const struct readahead_limits *limits, uint64_t page)
{
    uint64_t start = page / READAHEAD_BEFORE_PAGES * READAHEAD_BEFORE_PAGES;

    return range_intersect((struct range){start, start + READAHEAD_BEFORE_PAGES}, limits->pages);
}

static void plan_around(const struct vma_stream *stream, const struct readahead_limits *limits,
                        uint64_t page, bool goes_on, struct readahead_plan *plan)
{
    if (goes_on)
        plan->around = range_cover(plan->now, from(limits, page, READAHEAD_AROUND_PAGES));
    else
        plan->around = range_cover(plan->now, block_of(limits, page));
    plan->around = readahead_clip(stream, plan->around, page);
}

void readahead_touch(struct vma_stream *stream, const struct readahead_limits *limits,
                     uint64_t page, uint64_t n_history, struct readahead_plan *ret_plan)
{
    enum touch touch;

    MUST(range_contains(limits->pages, page) && limits->max_pages > 0);
    if (stream->start < limits->pages.start || stream->end > limits->pages.end)
        *stream = (struct vma_stream){0}; /* the mapping was cut: what was planned is not its own */
    touch = classify(stream, page);
    *ret_plan = (struct readahead_plan){
        .now = {page, page + 1}, .ahead = {page + 1, page + 1}, .mapped = {page + 1, page + 1}};
    if (limits->random) {
        *stream = (struct vma_stream){.start = page, .end = page + 1, .last = page, .window = 1};
        ret_plan->around = ret_plan->now;
        return;
    }
    if (touch == TOUCH_ELSEWHERE && limits->sequential)
        touch = TOUCH_ONWARD;
    switch (touch) {
    case TOUCH_AGAIN:
        break;
    case TOUCH_INSIDE:
        ret_plan->now = (struct range){page, stream->has_marker ? stream->marker : stream->end};
        break;
    case TOUCH_MARKER:
        plan_marker(stream, limits, page, ret_plan);
        break;
    case TOUCH_ONWARD:
        plan_onward(stream, limits, page, ret_plan);
        break;
    case TOUCH_BACKWARD:
        plan_backward(stream, limits, ret_plan);
        break;
    case TOUCH_ELSEWHERE:
        plan_elsewhere(stream, limits, page, n_history, ret_plan);
        break;
    }
    stream->last = page;
    plan_around(stream, limits, page,
                touch == TOUCH_MARKER || touch == TOUCH_ONWARD || touch == TOUCH_INSIDE, ret_plan);
}

struct range readahead_clip(const struct vma_stream *stream, struct range pages, uint64_t page)
{
    if (!stream->has_marker || !range_contains(pages, stream->marker))
        return pages;
    if (stream->marker > page)
        pages.end = stream->marker;
    else if (stream->marker < page)
        pages.start = stream->marker + 1;
    return pages;
}

void readahead_shown(struct vma_stream *stream, struct range pages)
{
    if (stream->has_marker && pages.start > stream->marker && pages.start <= stream->shown_end &&
        pages.end > stream->shown_end)
        stream->shown_end = pages.end;
}

void readahead_forget(struct vma_stream *stream)
{
    stream->has_marker = false;
}
