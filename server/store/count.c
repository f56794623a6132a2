/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/store/count.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/base/own.h"
#include "server/store/store.h"

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL)

int count_new(_Atomic uint64_t **ret_count, int *ret_fd)
{
    CLEAN(fd_close_p) int fd = memfd_create("muse-count", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    void *page;
    int r;

    if (fd < 0)
        return -errno;
    if (ftruncate(fd, PAGE_BYTES_SMALL) < 0)
        return -errno;
    page = mmap(NULL, PAGE_BYTES_SMALL, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED)
        return -errno;
    if (fcntl(fd, F_ADD_SEALS, SEALS) < 0) { /* our mapping stays writable */
        r = -errno;
        (void)munmap(page, PAGE_BYTES_SMALL);
        return r;
    }
    *ret_count = page;
    *ret_fd = fd_take(&fd);
    return 0;
}

_Atomic uint64_t *count_free(_Atomic uint64_t *count)
{
    if (count)
        (void)munmap((void *)(uintptr_t)count,
                     PAGE_BYTES_SMALL); /* NOLINT(performance-no-int-to-ptr) */
    return NULL;
}
