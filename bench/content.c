/* SPDX-License-Identifier: BSD-3-Clause */
/* The benchmark's object in memory (content.h). Owns nothing; called by the contenders' servers. */
#include "bench/content.h"

#include <errno.h>
#include <sys/mman.h>

int content_new(size_t size_bytes, uint64_t **ret_content)
{
    uint64_t *content;

    content = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (content == MAP_FAILED)
        return -errno;
    (void)madvise(content, size_bytes, MADV_HUGEPAGE); /* only faster */
    for (uint64_t i = 0; i < size_bytes / sizeof(*content); i++)
        content[i] = content_mix(i);
    *ret_content = content;
    return 0;
}
