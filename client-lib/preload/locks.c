/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Record locks. The kernel keeps them, on the placeholder's memfd, which all who have opened the
 * object share: here it only gets a descriptor that may be locked so, and a range that is counted
 * from the start.
 *
 *     fcntl(2), lockf(3)   process and memfd       for writing: the placeholder itself
 *                                                  for reading: lock_fd, the memfd opened once more
 *     F_OFD_*              description and memfd   lock_fd: for both, or a description would stand in
 *                                                  its own way
 *     flock(2)             description and memfd   the placeholder, without us
 *
 * What is locked through lock_fd is given up at exec, as it is close-on-exec. It is opened when first
 * needed and keeps its number: closing one of two would give up what the process has locked.
 */
#define _GNU_SOURCE
#include "client-lib/preload/locks.h"

#include <fcntl.h>
#include <unistd.h>

#include "client-lib/preload/names.h"

/* Return: borrowed from @served; -1 and errno. */
static int lock_fd(int fd, struct served *served)
{
    int lock_fd;

    (void)pthread_mutex_lock(&served->lock);
    lock_fd = atomic_load(&served->lock_fd);
    if (lock_fd < 0 ||
        !fds_raw_is(lock_fd, served->inode)) { /* programs close what is not theirs */
        lock_fd = fds_raw_open(fd, O_RDWR);
        atomic_store(&served->lock_fd, lock_fd);
    }
    (void)pthread_mutex_unlock(&served->lock);
    return lock_fd;
}

static bool is_of_description(int command)
{
    return command == F_OFD_GETLK || command == F_OFD_SETLK || command == F_OFD_SETLKW;
}

static bool is_question(int command)
{
    return command == F_GETLK || command == F_OFD_GETLK;
}

/* As the kernel demands of a file. */
static bool is_allowed(const struct served *served, int command, short type)
{
    const int access = served->oflags & O_ACCMODE;

    return is_question(command) ||
           !((type == F_RDLCK && access == O_WRONLY) || (type == F_WRLCK && access == O_RDONLY));
}

/* Count from the start: the placeholder has another size, lock_fd another offset. */
static int from_start(int fd, struct served *served, struct flock *lock)
{
    struct stat stat = {0};
    off_t base = 0;

    if (lock->l_whence == SEEK_END) {
        if (names_fstat(served, &stat) < 0)
            return -1;
        base = stat.st_size;
    } else if (lock->l_whence == SEEK_CUR) {
        base = lseek(fd, 0, SEEK_CUR);
    } else if (lock->l_whence != SEEK_SET) {
        return fail(EINVAL);
    }
    if (__builtin_add_overflow(lock->l_start, base, &lock->l_start))
        return fail(EOVERFLOW);
    lock->l_whence = SEEK_SET;
    return 0;
}

int locks_fcntl(int fd, struct served *served, int command, uintptr_t argument)
{
    struct flock *wanted = (struct flock *)argument; /* NOLINT(performance-no-int-to-ptr) */
    struct flock lock;
    int on = fd;

    if (!wanted)
        return fail(EFAULT);
    lock = *wanted;
    if (!is_allowed(served, command, lock.l_type))
        return fail(EBADF);
    if (from_start(fd, served, &lock) < 0)
        return -1;
    if (is_of_description(command) || (lock.l_type == F_RDLCK && !is_question(command)))
        on = lock_fd(fd, served);
    if (on < 0 || REAL(fcntl)(on, command, &lock) < 0)
        return -1;
    if (is_question(command) && lock.l_type == F_UNLCK)
        wanted->l_type = F_UNLCK;
    else if (is_question(command))
        *wanted = lock;
    return 0;
}

/* The C library locks the placeholder, from its offset on; but everyone may write to that. */
EXPORT int lockf(int fd, int command, off_t n_bytes)
{
    struct served *served = fds_get(fd);
    const bool is_lock = command == F_LOCK || command == F_TLOCK;
    const bool refused = is_lock && served && (served->oflags & O_ACCMODE) == O_RDONLY;

    fds_put(served);
    return refused ? fail(EBADF) : REAL(lockf)(fd, command, n_bytes);
}
EXPORT_AS(lockf64, lockf);
