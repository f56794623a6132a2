/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernel as the oracle: mmap(2) and its relatives without libc, because the sanitizers' own
 * versions refuse addresses that they do not like before the kernel is asked.
 */
#ifndef MUSE_TESTS_SUPPORT_KERNEL_H
#define MUSE_TESTS_SUPPORT_KERNEL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#define KERNEL_SYS_MSEAL 462 /* the same on all architectures; glibc 2.36 does not know it */

/** kernel_mmap() - mmap(2). Return: the address; MAP_FAILED with errno. */
static inline void *kernel_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
    /* the call returns an address as a number */
    return (void *)syscall(SYS_mmap, addr, len, prot, flags, fd,
                           offset); /* NOLINT(performance-no-int-to-ptr) */
}

/** kernel_munmap() - munmap(2). Return: 0; -1 and errno. */
static inline int kernel_munmap(void *addr, size_t len)
{
    return (int)syscall(SYS_munmap, addr, len);
}

/** kernel_mseal() - mseal(2), Linux 6.10. Return: 0; -1 and errno: ENOSYS on older ones. */
static inline int kernel_mseal(void *addr, size_t len)
{
    return (int)syscall(KERNEL_SYS_MSEAL, addr, len, 0ul);
}

/** kernel_mprotect() - mprotect(2). Return: 0; -1 and errno. */
static inline int kernel_mprotect(void *addr, size_t len, int prot)
{
    return (int)syscall(SYS_mprotect, addr, len, prot);
}

/** kernel_madvise() - madvise(2). Return: 0; -1 and errno. */
static inline int kernel_madvise(void *addr, size_t len, int advice)
{
    return (int)syscall(SYS_madvise, addr, len, advice);
}

/** kernel_mremap() - mremap(2). Return: the address; MAP_FAILED with errno. */
static inline void *kernel_mremap(void *old, size_t old_len, size_t new_len, int flags,
                                  void *new_addr)
{
    /* the call returns an address as a number */
    return (void *)syscall(SYS_mremap, old, old_len, new_len, flags,
                           new_addr); /* NOLINT(performance-no-int-to-ptr) */
}

/** kernel_msync() - msync(2). Return: 0; -1 and errno. */
static inline int kernel_msync(void *addr, size_t len, int flags)
{
    return (int)syscall(SYS_msync, addr, len, flags);
}

/** kernel_mlock() - mlock2(2), without flags mlock(2). Return: 0; -1 and errno. */
static inline int kernel_mlock(const void *addr, size_t len)
{
    return (int)syscall(SYS_mlock2, addr, len, 0);
}

/** kernel_munlock() - munlock(2). Return: 0; -1 and errno. */
static inline int kernel_munlock(const void *addr, size_t len)
{
    return (int)syscall(SYS_munlock, addr, len);
}

/** kernel_mincore() - mincore(2). Return: 0; -1 and errno. */
static inline int kernel_mincore(void *addr, size_t len, unsigned char *vec)
{
    return (int)syscall(SYS_mincore, addr, len, vec);
}

#endif
