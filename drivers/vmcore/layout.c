/* SPDX-License-Identifier: BSD-3-Clause */
/* Builds the list of ranges once, from segments that may lie anywhere, and answers from it. */
#include "drivers/vmcore/layout.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#define PAGE_BYTES 4096u

/* A segment of another file, before the gaps are filled. */
struct piece {
    struct range bytes;
    const struct layout_oldmem *from;
};

static int by_start(const void *a, const void *b)
{
    const struct piece *left = a, *right = b;

    return (left->bytes.start > right->bytes.start) - (left->bytes.start < right->bytes.start);
}

__attribute__((format(printf, 2, 3))) static int refuse(struct elf_core_error *err,
                                                        const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(err->text, sizeof(err->text), format, args);
    va_end(args);
    return -EINVAL;
}

static int check_oldmem(const struct layout_oldmem *oldmem, unsigned n_oldmem, unsigned n_segments,
                        struct elf_core_error *err)
{
    for (unsigned i = 0; i < n_oldmem; i++) {
        if (oldmem[i].segment >= n_segments)
            return refuse(err, "there is no segment %u: the core has %u", oldmem[i].segment,
                          n_segments);
        for (unsigned k = 0; k < i; k++) {
            if (oldmem[k].segment == oldmem[i].segment)
                return refuse(err, "segment %u is given twice", oldmem[i].segment);
        }
    }
    return 0;
}

/* The pieces that are not empty, in the order of the object. */
static int sort_pieces(const struct elf_segment *segments, const struct layout_oldmem *oldmem,
                       unsigned n_oldmem, struct piece *pieces, unsigned *ret_n,
                       struct elf_core_error *err)
{
    unsigned n = 0;

    for (unsigned i = 0; i < n_oldmem; i++) {
        const struct elf_segment *segment = &segments[oldmem[i].segment];

        if (segment->n_bytes > 0)
            pieces[n++] = (struct piece){
                range_make(segment->offset, segment->offset + segment->n_bytes), &oldmem[i]};
    }
    if (n > 0)
        qsort(pieces, n, sizeof(*pieces), by_start);
    for (unsigned i = 1; i < n; i++) {
        if (range_overlaps(pieces[i - 1].bytes, pieces[i].bytes))
            return refuse(err, "segments %u and %u are at the same bytes of the core",
                          pieces[i - 1].from->segment, pieces[i].from->segment);
    }
    *ret_n = n;
    return 0;
}

/* One more range behind the last one, or more of that one. Nothing when @end is not behind it. */
static void append(struct layout *layout, uint64_t end, int source, uint64_t source_offset)
{
    struct layout_range *last = layout->n_ranges > 0 ? &layout->ranges[layout->n_ranges - 1] : NULL;

    if (end <= layout->n_bytes)
        return;
    if (last && last->source == source &&
        (source == LAYOUT_ZEROS || layout_source_offset(last, layout->n_bytes) == source_offset))
        last->bytes.end = end;
    else
        layout->ranges[layout->n_ranges++] =
            (struct layout_range){range_make(layout->n_bytes, end), source, source_offset};
    layout->n_bytes = end;
}

/* Up to @end the core's own bytes, and zeros where it has no more. */
static void fill_up_to(struct layout *layout, uint64_t end, uint64_t n_core_bytes)
{
    append(layout, end < n_core_bytes ? end : n_core_bytes, LAYOUT_CORE, layout->n_bytes);
    append(layout, end, LAYOUT_ZEROS, 0);
}

int layout_init(struct layout *layout, const struct elf_segment *segments, unsigned n_segments,
                uint64_t n_core_bytes, const struct layout_oldmem *oldmem, unsigned n_oldmem,
                struct elf_core_error *ret_err)
{
    CLEAN(free_p) struct piece *pieces = calloc(n_oldmem + 1, sizeof(*pieces));
    unsigned n_pieces = 0;
    int r = check_oldmem(oldmem, n_oldmem, n_segments, ret_err);

    *layout = (struct layout){.ranges = calloc(3 * (size_t)n_oldmem + 1, sizeof(*layout->ranges))};
    if (!pieces || !layout->ranges) {
        (void)refuse(ret_err, "no memory for the ranges of %u of %u segments", n_oldmem,
                     n_segments);
        r = -ENOMEM;
    }
    if (r == 0)
        r = sort_pieces(segments, oldmem, n_oldmem, pieces, &n_pieces, ret_err);
    if (r < 0) {
        layout_done(layout);
        return r;
    }
    for (unsigned i = 0; i < n_pieces; i++) {
        fill_up_to(layout, pieces[i].bytes.start, n_core_bytes);
        append(layout, pieces[i].bytes.end, pieces[i].from->source, pieces[i].from->source_offset);
    }
    if (n_core_bytes > layout->n_bytes)
        fill_up_to(layout, n_core_bytes, n_core_bytes);
    return 0;
}

void layout_done(struct layout *layout)
{
    free(layout->ranges);
    *layout = (struct layout){0};
}

const struct layout_range *layout_at(const struct layout *layout, uint64_t offset)
{
    size_t low = 0, high = layout->n_ranges;

    if (offset >= layout->n_bytes)
        return NULL;
    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;

        if (layout->ranges[middle].bytes.start <= offset)
            low = middle;
        else
            high = middle;
    }
    return &layout->ranges[low];
}

struct range layout_direct(const struct layout_range *range, struct range bytes)
{
    const struct range part = range_intersect(range->bytes, bytes);
    const uint64_t start = (part.start + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    const uint64_t end = part.end / PAGE_BYTES * PAGE_BYTES;

    if (range->source == LAYOUT_ZEROS || start >= end ||
        layout_source_offset(range, start) % PAGE_BYTES != 0)
        return range_make(0, 0);
    return range_make(start, end);
}
