/* SPDX-License-Identifier: BSD-3-Clause */
#include "drivers/vmcore/oldmem.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/number.h"
#include "drivers/vmcore/elf_core.h"

/* @stop: what has to follow the number. Return: what follows; NULL: no number. */
static const char *parse_number(const char *text, char stop, uint64_t max, uint64_t *ret_number)
{
    const char *end;

    if (number_take(text, 0, ret_number, &end) < 0 || *end != stop || *ret_number > max)
        return NULL;
    return end;
}

int oldmem_parse(const char *text, struct oldmem *ret_oldmem)
{
    uint64_t segment, offset;
    const char *path = parse_number(text, '=', ELF_CORE_HEADERS_MAX, &segment);
    const char *end, *at;

    if (!path || path[1] == '\0')
        return -EINVAL;
    path++;
    at = strrchr(path, '@');
    end = path + strlen(path);
    if (at && at > path && parse_number(at + 1, '\0', ELF_CORE_BYTES_MAX - 1, &offset))
        end = at;
    else
        offset = 0;
    *ret_oldmem = (struct oldmem){.segment = (unsigned)segment,
                                  .path = strndup(path, (size_t)(end - path)),
                                  .offset = offset};
    return ret_oldmem->path ? 0 : -ENOMEM;
}
