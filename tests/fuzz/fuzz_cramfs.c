/* SPDX-License-Identifier: BSD-3-Clause */
/* A damaged cramfs image: everything in it is walked, read and asked for direct runs; nothing may
 * crash, hang or read outside. */
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/ipc/fd.h"
#include "drivers/cramfs/cramfs_image.h"

#define BLOCKS_MAX 64u

static int visit(void *arg, const char *path, const struct cramfs_inode *inode)
{
    struct cramfs *fs = arg;
    uint8_t page[4096];
    uint64_t offset;
    uint32_t n_blocks;

    (void)path;
    for (uint32_t block = 0; block < inode->n_blocks && block < BLOCKS_MAX && S_ISREG(inode->mode);
         block++) {
        (void)!cramfs_read_block(fs, inode, block, page, NULL);
        (void)!cramfs_direct_run(fs, inode, block, &offset, &n_blocks, NULL);
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEAN_FD int fd = memfd_create("fuzz", MFD_CLOEXEC);
    struct cramfs *fs;

    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        return 0;
    if (cramfs_open(fd, 0, &fs, NULL) < 0)
        return 0;
    (void)!cramfs_walk(fs, visit, fs, NULL);
    (void)cramfs_close(fs);
    return 0;
}
