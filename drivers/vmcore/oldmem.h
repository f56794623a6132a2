/* SPDX-License-Identifier: BSD-3-Clause */
/* The word behind --oldmem: which segment's bytes are in which file. Pure. */
#ifndef MUSE_DRIVERS_VMCORE_OLDMEM_H
#define MUSE_DRIVERS_VMCORE_OLDMEM_H

#include <stdint.h>

#include "common/base/must.h"

struct oldmem {
    unsigned segment;
    char *path; /* owned */
    uint64_t offset;
};

/**
 * oldmem_parse() - SEGMENT=FILE[@OFFSET]
 * @text: a number, a path, and, behind the last "@" of it, a decimal or 0x number below 2^46; a path
 *        whose last "@" has no number behind it is taken as it is
 *
 * Return: 0; -EINVAL; -ENOMEM.
 */
MUST_CHECK int oldmem_parse(const char *text, struct oldmem *ret_oldmem);

#endif
