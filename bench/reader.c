/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * reader FILE: the kernel's own mmap of a file, for the contenders that are files: plain tmpfs and
 * FUSE. With --cold it asks the kernel to drop the file's cached pages first. Called by bench/run.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/work.h"

static void *file_map(void *ctx, size_t len)
{
    const int *fd = ctx;

    return mmap(NULL, len, PROT_READ, MAP_SHARED, *fd, 0);
}

static int file_unmap(void *ctx, void *addr, size_t len)
{
    (void)ctx;
    return munmap(addr, len);
}

static int file_advise(void *ctx, void *addr, size_t len, int advice)
{
    (void)ctx;
    return madvise(addr, len, advice);
}

static int file_mincore(void *ctx, void *addr, size_t len, unsigned char *vec)
{
    (void)ctx;
    return mincore(addr, len, vec);
}

int main(int argc, char **argv)
{
    struct work_options options;
    int fd;
    struct work_target target = {&fd, file_map, file_unmap, file_advise, file_mincore};
    int status = work_parse(argc, argv, "FILE", &options);

    if (status != 0)
        return status < 0 ? 0 : status;
    fd = open(options.target, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        fprintf(stderr, "reader: %s: %s\n", options.target, strerror(errno));
        return WORK_EXIT_FAILED;
    }
    if (options.cold) {
        /* Its result does not matter: the cold check says whether it worked. */
        (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    }
    status = work_run(&options, &target, false);
    close(fd);
    return status;
}
