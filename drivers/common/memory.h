/* SPDX-License-Identifier: BSD-3-Clause */
/* The memory of a device: a table of its addresses, and a file or memfd with its bytes. */
#ifndef MUSE_DRIVERS_COMMON_MEMORY_H
#define MUSE_DRIVERS_COMMON_MEMORY_H

#include <stdint.h>

#include "common/base/must.h"
#include "drivers/common/iomem.h"

#define MEMORY_BYTES_MAX (1ull << 46) /* as of an object */

struct memory {
    struct iomem iomem;  /* owned */
    int fd;              /* owned: byte N is that of physical address N; -1 */
    uint64_t size_bytes; /* of the address space: behind the last range, in whole pages */
};

/**
 * memory_open() - read the table, open or make the bytes
 * @table_path: in /proc/iomem's format
 * @bytes_path: a file that is made as large as the table says, where it is not; NULL: a memfd
 * @ret_memory: memory_close() it, also after a failure
 * @ret_why:    on failure: a sentence, free() it; NULL: no memory for one
 *
 * Return: 0 or -errno.
 */
MUST_CHECK int memory_open(const char *table_path, const char *bytes_path,
                           struct memory *ret_memory, char **ret_why);

/** memory_close() - give all of it back */
void memory_close(struct memory *memory);

#endif
