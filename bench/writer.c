/* SPDX-License-Identifier: BSD-3-Clause */
/* writer FILE SIZE_BYTES [OPS SEED]: the kernel's own mmap of a file, for plain tmpfs and FUSE. Drops the file's
 * cached pages first, where that is possible. Called by bench/run. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/write_work.h"

static void *file_map(void *ctx, size_t len, int flags)
{
    const int *fd = ctx;

    return mmap(NULL, len, PROT_READ | PROT_WRITE, flags, *fd, 0);
}

static int file_unmap(void *ctx, void *addr, size_t len)
{
    (void)ctx;
    return munmap(addr, len);
}

static int file_sync(void *ctx, void *addr, size_t len)
{
    (void)ctx;
    return msync(addr, len, MS_SYNC);
}

static int file_advise(void *ctx, void *addr, size_t len, int advice)
{
    (void)ctx;
    return madvise(addr, len, advice);
}

int main(int argc, char **argv)
{
    int fd;
    const struct write_target target = {&fd, file_map, file_unmap, file_sync, file_advise};
    int status;

    if (argc < 2)
        return write_main(&target, argc, argv); /* says how it is used */
    fd = open(argv[1], O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        fprintf(stderr, "writer: %s: %s\n", argv[1], strerror(errno));
        return 1;
    }
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED); /* tmpfs has nothing to drop */
    status = write_main(&target, argc, argv);
    close(fd);
    return status;
}
