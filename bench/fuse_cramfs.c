/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuse_cramfs IMAGE MOUNTPOINT: the root folder's files of a cramfs image through libfuse3, inflated by the code that
 * muse-cramfs has. 1 MiB reads; pages are cached until they are dropped. One thread, as muse-cramfs inflates in one.
 */
#define FUSE_USE_VERSION 314

#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "drivers/cramfs/cramfs_image.h"

static struct cramfs *image;

static int find(const char *path, struct cramfs_inode *ret_inode)
{
    return cramfs_lookup(image, path + 1, ret_inode, NULL);
}

static void *cramfs_init(struct fuse_conn_info *conn, struct fuse_config *config)
{
    conn->max_readahead = 1u << 20;
    config->kernel_cache = 1;
    return NULL;
}

static int cramfs_getattr(const char *path, struct stat *ret_stat, struct fuse_file_info *info)
{
    struct cramfs_inode inode;
    int r = find(path, &inode);

    (void)info;
    if (r < 0)
        return r;
    *ret_stat =
        (struct stat){.st_mode = inode.mode, .st_nlink = 1, .st_size = (off_t)inode.size_bytes};
    return 0;
}

static int cramfs_read(const char *path, char *buf, size_t size, off_t offset,
                       struct fuse_file_info *info)
{
    struct cramfs_inode inode;
    size_t done = 0;
    int r = find(path, &inode);

    (void)info;
    if (r < 0)
        return r;
    if ((uint64_t)offset >= inode.size_bytes || offset % (off_t)CRAMFS_BLOCK_SIZE != 0)
        return 0;
    while (done + CRAMFS_BLOCK_SIZE <= size && (uint64_t)offset + done < inode.size_bytes) {
        r = cramfs_read_block(image, &inode,
                              (uint32_t)(((uint64_t)offset + done) / CRAMFS_BLOCK_SIZE), buf + done,
                              NULL);
        if (r < 0)
            return r;
        done += CRAMFS_BLOCK_SIZE;
    }
    return (uint64_t)offset + done > inode.size_bytes ? (int)(inode.size_bytes - (uint64_t)offset)
                                                      : (int)done;
}

int main(int argc, char **argv)
{
    static const struct fuse_operations ops = {
        .init = cramfs_init, .getattr = cramfs_getattr, .read = cramfs_read};
    char foreground[] = "-f", single[] = "-s";
    char *fuse_argv[] = {argv[0], foreground, single, argc == 3 ? argv[2] : NULL, NULL};
    int fd;

    if (argc != 3) {
        fprintf(stderr, "usage: fuse_cramfs IMAGE MOUNTPOINT\n");
        return 2;
    }
    fd = open(argv[1], O_RDONLY | O_CLOEXEC);
    if (fd < 0 || cramfs_open(fd, 0, &image, NULL) < 0) {
        fprintf(stderr, "fuse_cramfs: %s: no cramfs image\n", argv[1]);
        return 1;
    }
    return fuse_main(4, fuse_argv, &ops, NULL);
}
