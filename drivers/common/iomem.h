/* SPDX-License-Identifier: BSD-3-Clause */
/* A table of physical addresses in /proc/iomem's format, and what lies where in it. Pure. */
#ifndef MUSE_DRIVERS_COMMON_IOMEM_H
#define MUSE_DRIVERS_COMMON_IOMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "common/base/range.h"

#define IOMEM_NAME_BYTES 64u
#define IOMEM_RANGES_MAX 4096u /* chosen: a large server has some hundreds */

struct iomem_range {
    struct range bytes; /* physical addresses */
    unsigned depth;     /* 0: not inside another one */
    char name[IOMEM_NAME_BYTES];
};

struct iomem {
    struct iomem_range
        *ranges; /* owned, as in the text: by address, children behind their parent */
    size_t n_ranges;
};

/**
 * iomem_parse() - read a table
 * @text:     NUL-terminated lines "  START-END : NAME": hexadecimal, END is the last byte; two
 *            spaces before START for each level
 * @ret_line: on failure: the line's number, from 1
 *
 * Source: r_show() of kernel/resource.c.
 * Return: 0; -EINVAL; -E2BIG; -ENOMEM.
 */
MUST_CHECK int iomem_parse(const char *text, struct iomem *ret_iomem, size_t *ret_line);

/** iomem_done() - free it; zeros are fine */
void iomem_done(struct iomem *iomem);

/** iomem_end() - behind the last byte of all ranges; 0: there are none */
uint64_t iomem_end(const struct iomem *iomem);

/** iomem_covers() - whether each byte of @bytes lies in a range of the first level */
bool iomem_covers(const struct iomem *iomem, struct range bytes);

/** iomem_touches() - the first range of that name that has a byte of @bytes; NULL: none */
const struct iomem_range *iomem_touches(const struct iomem *iomem, const char *name,
                                        struct range bytes);

#endif
