/* SPDX-License-Identifier: BSD-3-Clause */
/* The weak names, and EOPNOTSUPP for those that are not there. */
#include "client-lib/preload/more.h"

#define WEAK __attribute__((weak))

WEAK int muse_mprotect(struct muse *muse, void *addr, size_t len, int prot);
WEAK void *muse_mremap(struct muse *muse, void *old, size_t old_len, size_t new_len, int flags,
                       ...);
WEAK int muse_mincore(struct muse *muse, void *addr, size_t len, unsigned char *vec);
WEAK int muse_mlock(struct muse *muse, const void *addr, size_t len);
WEAK int muse_munlock(struct muse *muse, const void *addr, size_t len);

int more_mprotect(struct muse *muse, void *addr, size_t len, int prot)
{
    return muse_mprotect ? INSIDE(muse_mprotect(muse, addr, len, prot)) : fail(EOPNOTSUPP);
}

void *more_mremap(struct muse *muse, void *old, size_t old_len, size_t new_len, int flags,
                  void *new_addr)
{
    if (muse_mremap)
        return INSIDE(muse_mremap(muse, old, old_len, new_len, flags, new_addr));
    errno = EOPNOTSUPP;
    return MAP_FAILED;
}

int more_msync(struct muse *muse, void *addr, size_t len, int flags)
{
    return INSIDE(muse_msync(muse, addr, len, flags));
}

int more_mincore(struct muse *muse, void *addr, size_t len, unsigned char *vec)
{
    return muse_mincore ? INSIDE(muse_mincore(muse, addr, len, vec)) : fail(EOPNOTSUPP);
}

int more_mlock(struct muse *muse, const void *addr, size_t len)
{
    return muse_mlock ? INSIDE(muse_mlock(muse, addr, len)) : fail(EOPNOTSUPP);
}

int more_munlock(struct muse *muse, const void *addr, size_t len)
{
    return muse_munlock ? INSIDE(muse_munlock(muse, addr, len)) : fail(EOPNOTSUPP);
}

ssize_t more_pwrite(struct muse_file *file, const void *buf, size_t len, off_t offset)
{
    return INSIDE(muse_pwrite(file, buf, len, offset));
}

int more_ftruncate(struct muse_file *file, off_t length)
{
    return INSIDE(muse_ftruncate(file, length));
}

int more_fsync(struct muse_file *file)
{
    return INSIDE(muse_fsync(file));
}

int more_fallocate(struct muse_file *file, int mode, off_t offset, off_t len)
{
    return INSIDE(muse_fallocate(file, mode, offset, len));
}
