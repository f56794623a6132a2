/* SPDX-License-Identifier: BSD-3-Clause */
/* strtoull(3) takes signs, spaces and what does not fit; these do not. */
#include "common/base/number.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int number_take(const char *text, int base, uint64_t *ret_number, const char **ret_end)
{
    char *end;
    unsigned long long number;

    if (text[0] < '0' || text[0] > '9')
        return -EINVAL;
    errno = 0;
    number = strtoull(text, &end, base);
    if (errno != 0 || end == text)
        return -EINVAL;
    *ret_number = number;
    *ret_end = end;
    return 0;
}

int number_parse(const char *text, int base, uint64_t max, uint64_t *ret_number)
{
    const char *end;
    uint64_t number;

    if (number_take(text, base, &number, &end) < 0 || *end != '\0' || number > max)
        return -EINVAL;
    *ret_number = number;
    return 0;
}

int size_parse(const char *text, uint64_t *ret_bytes)
{
    static const char units[] = "KMGT";
    const char *end, *unit;
    unsigned shift = 0;
    uint64_t number;

    if (number_take(text, 10, &number, &end) < 0)
        return -EINVAL;
    if (*end != '\0') {
        unit = strchr(units, *end);
        if (!unit || end[1] != '\0')
            return -EINVAL;
        shift = 10 * (unsigned)(unit - units + 1);
    }
    if (number > UINT64_MAX >> shift)
        return -EINVAL;
    *ret_bytes = number << shift;
    return 0;
}
