/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of open files. The key is a hash of what identifies a file and its state; where it is
 * taken, the next one is used. */
#include "drivers/file/inodes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/own.h"

static struct inode *inode_free(struct inode *inode)
{
    fd_close_p(&inode->fd);
    free(inode);
    return NULL;
}

void inodes_init(struct inodes *inodes, bool by_number)
{
    inodes->by_number = by_number;
    idmap_init(&inodes->by_key);
}

void inodes_done(struct inodes *inodes)
{
    struct inode *inode;
    size_t cursor = 0;

    while ((inode = idmap_next(&inodes->by_key, &cursor)) != NULL)
        (void)inode_free(inode);
    idmap_done(&inodes->by_key);
}

/* FNV-1a over words, finalized as splitmix64. Only spread matters: equal hashes are told apart. */
static uint64_t mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * UINT64_C(0x100000001b3);
    hash = (hash ^ (hash >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    return hash ^ (hash >> 27);
}

static uint64_t hash_stat(const struct stat *stat, bool by_number)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    hash = mix(hash, stat->st_dev);
    hash = mix(hash, stat->st_ino);
    if (by_number)
        return hash;
    hash = mix(hash, (uint64_t)stat->st_size);
    hash = mix(hash, (uint64_t)stat->st_mtim.tv_sec);
    hash = mix(hash, (uint64_t)stat->st_mtim.tv_nsec);
    hash = mix(hash, (uint64_t)stat->st_ctim.tv_sec);
    return mix(hash, (uint64_t)stat->st_ctim.tv_nsec);
}

static bool times_equal(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool is_same(const struct stat *a, const struct stat *b, bool by_number)
{
    if (a->st_dev != b->st_dev || a->st_ino != b->st_ino)
        return false;
    return by_number || (a->st_size == b->st_size && times_equal(&a->st_mtim, &b->st_mtim) &&
                         times_equal(&a->st_ctim, &b->st_ctim));
}

/* The number stays: other threads are using it. */
static int take_writable(struct inode *inode, int fd)
{
    if (dup3(fd, inode->fd, O_CLOEXEC) < 0)
        return -errno;
    inode->is_writable = true;
    return 0;
}

int inodes_get(struct inodes *inodes, int *fd, bool is_writable, const struct stat *stat,
               struct inode **ret_inode)
{
    uint64_t key = hash_stat(stat, inodes->by_number);
    struct inode *inode;
    int r;

    while ((inode = idmap_get(&inodes->by_key, key)) != NULL) {
        if (is_same(&inode->stat, stat, inodes->by_number)) {
            r = is_writable && !inode->is_writable ? take_writable(inode, *fd) : 0;
            if (r < 0)
                return r;
            fd_close_p(fd);
            *ret_inode = inode;
            return 0;
        }
        key++;
    }
    inode = calloc(1, sizeof(*inode));
    if (!inode)
        return -ENOMEM;
    r = idmap_put(&inodes->by_key, key, inode);
    if (r < 0) {
        free(inode);
        return r;
    }
    inode->key = key;
    inode->stat = *stat;
    inode->fd = fd_take(fd);
    inode->is_writable = is_writable;
    *ret_inode = inode;
    return 0;
}

struct inode *inodes_find(struct inodes *inodes, uint64_t key)
{
    return idmap_get(&inodes->by_key, key);
}

struct inode *inodes_find_stat(struct inodes *inodes, const struct stat *stat)
{
    uint64_t key = hash_stat(stat, inodes->by_number);
    struct inode *inode;

    while ((inode = idmap_get(&inodes->by_key, key)) != NULL) {
        if (is_same(&inode->stat, stat, inodes->by_number))
            return inode;
        key++;
    }
    return NULL;
}

void inodes_drop(struct inodes *inodes, uint64_t key)
{
    struct inode *inode = idmap_take(&inodes->by_key, key);

    if (inode)
        (void)inode_free(inode);
}
