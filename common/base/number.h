/* SPDX-License-Identifier: BSD-3-Clause */
/* Numbers as people write them, in options and configuration. Pure. */
#ifndef MUSE_COMMON_BASE_NUMBER_H
#define MUSE_COMMON_BASE_NUMBER_H

#include <stdint.h>

#include "common/base/must.h"

/**
 * number_take() - digits at the start of a text: no sign, no space
 * @base:    8, 10 or 16; 0: as in C
 * @ret_end: behind the last digit
 *
 * Return: 0; -EINVAL none there, or more than 64 bits.
 */
MUST_CHECK int number_take(const char *text, int base, uint64_t *ret_number, const char **ret_end);

/** number_parse() - a text that is a number, up to @max. Return: 0; -EINVAL. */
MUST_CHECK int number_parse(const char *text, int base, uint64_t max, uint64_t *ret_number);

/** size_parse() - a number, and perhaps one of K M G T behind it: bytes. Return: 0; -EINVAL. */
MUST_CHECK int size_parse(const char *text, uint64_t *ret_bytes);

#endif
