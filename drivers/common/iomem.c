/* SPDX-License-Identifier: BSD-3-Clause */
/* Parses and searches. Owns the ranges. */
#include "drivers/common/iomem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Hexadecimal digits at *@at, which moves behind them. Return: whether there were 1 to 16. */
static bool take_hex(const char **at, uint64_t *ret_number)
{
    static const char digits[] = "0123456789abcdef";
    const char *begin = *at;
    const char *digit;

    *ret_number = 0;
    while (**at && (digit = strchr(digits, **at)) && *at - begin < 16) {
        *ret_number = *ret_number << 4 | (uint64_t)(digit - digits);
        (*at)++;
    }
    return *at > begin && !(**at && strchr(digits, **at));
}

/* Return: whether the line [@line, @end) is one of the table. */
static bool parse_line(const char *line, const char *end, struct iomem_range *ret_range)
{
    const char *at = line;
    uint64_t last;
    size_t n_name;

    *ret_range = (struct iomem_range){.depth = 0};
    while (end - at >= 2 && at[0] == ' ' && at[1] == ' ') {
        ret_range->depth++;
        at += 2;
    }
    if (!take_hex(&at, &ret_range->bytes.start) || *at++ != '-' || !take_hex(&at, &last) ||
        strncmp(at, " : ", 3) != 0)
        return false;
    at += 3;
    n_name = (size_t)(end - at);
    if (at >= end || n_name >= IOMEM_NAME_BYTES || last < ret_range->bytes.start ||
        last == UINT64_MAX)
        return false;
    ret_range->bytes.end = last + 1;
    memcpy(ret_range->name, at, n_name);
    return true;
}

/* By address on each level, and inside what they are below. */
static bool is_in_order(const struct iomem *iomem, const struct iomem_range *next)
{
    for (size_t i = iomem->n_ranges; i > 0; i--) {
        const struct iomem_range *before = &iomem->ranges[i - 1];

        if (before->depth == next->depth)
            return before->bytes.end <= next->bytes.start;
        if (before->depth < next->depth)
            return before->depth + 1 == next->depth &&
                   range_contains_range(before->bytes, next->bytes);
    }
    return next->depth == 0;
}

static int add(struct iomem *iomem, const struct iomem_range *range)
{
    struct iomem_range *ranges;

    if (iomem->n_ranges == IOMEM_RANGES_MAX)
        return -E2BIG;
    if ((iomem->n_ranges & (iomem->n_ranges - 1)) == 0) { /* full: room for as many again */
        ranges =
            reallocarray(iomem->ranges, iomem->n_ranges ? 2 * iomem->n_ranges : 1, sizeof(*ranges));
        if (!ranges)
            return -ENOMEM;
        iomem->ranges = ranges;
    }
    iomem->ranges[iomem->n_ranges++] = *range;
    return 0;
}

int iomem_parse(const char *text, struct iomem *ret_iomem, size_t *ret_line)
{
    struct iomem iomem = {NULL, 0};
    int r = 0;

    *ret_line = 0;
    while (*text && r == 0) {
        const char *end = strchrnul(text, '\n');
        struct iomem_range range;

        (*ret_line)++;
        r = parse_line(text, end, &range) && is_in_order(&iomem, &range) ? add(&iomem, &range)
                                                                         : -EINVAL;
        text = *end ? end + 1 : end;
    }
    if (r < 0)
        iomem_done(&iomem);
    *ret_iomem = iomem;
    return r;
}

void iomem_done(struct iomem *iomem)
{
    free(iomem->ranges);
    *iomem = (struct iomem){NULL, 0};
}

uint64_t iomem_end(const struct iomem *iomem)
{
    uint64_t end = 0;

    for (size_t i = 0; i < iomem->n_ranges; i++) {
        if (iomem->ranges[i].bytes.end > end)
            end = iomem->ranges[i].bytes.end;
    }
    return end;
}

bool iomem_covers(const struct iomem *iomem, struct range bytes)
{
    for (size_t i = 0; i < iomem->n_ranges && !range_is_empty(bytes); i++) {
        const struct iomem_range *range = &iomem->ranges[i];

        if (range->depth == 0 && range_contains(range->bytes, bytes.start))
            bytes.start = range->bytes.end < bytes.end ? range->bytes.end : bytes.end;
    }
    return range_is_empty(bytes);
}

const struct iomem_range *iomem_touches(const struct iomem *iomem, const char *name,
                                        struct range bytes)
{
    for (size_t i = 0; i < iomem->n_ranges; i++) {
        const struct iomem_range *range = &iomem->ranges[i];

        if (strcmp(range->name, name) == 0 && range_overlaps(range->bytes, bytes))
            return range;
    }
    return NULL;
}
