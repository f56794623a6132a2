/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two users of muse_vma_desc_size() and muse_vma_desc_pages(), as Linux's series has them:
 *
 *     sizes/secret        secretmem (mm/secretmem.c): shared only, locked as far as the client may
 *     sizes/FILE          ntfs3 (fs/ntfs3/file.c): what a shared writable mapping may reach is
 *                         allocated in mmap_prepare, and its valid size extended by zeros
 *     sizes/FILE:shut     the same, of a volume that was shut down
 *     sizes/FILE:packed   the same, of a compressed file
 *
 * FILE lies in the folder that is the driver's one argument.
 */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <muse/driver.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/own.h"

#define SECRET_PAGES 64u

struct file {
    bool is_secret, is_shut, is_packed;
    int fd; /* owned; -1: secret */
    uint64_t size_bytes;
    struct muse_extent extent;
};

static const char *folder;

static int open_there(const char *path, struct file *file)
{
    CLEAN(free_p) char *name = strdup(path);
    char whole[512];
    struct stat stat;
    char *option;

    if (!name)
        return -ENOMEM;
    option = strchr(name, ':');
    if (option)
        *option++ = '\0';
    file->is_shut = option && strcmp(option, "shut") == 0;
    file->is_packed = option && strcmp(option, "packed") == 0;
    (void)snprintf(whole, sizeof(whole), "%s/%s", folder, name);
    file->fd = open(whole, O_RDWR | O_CLOEXEC);
    if (file->fd < 0 || fstat(file->fd, &stat) < 0)
        return -errno;
    file->size_bytes = (uint64_t)stat.st_size;
    file->extent = (struct muse_extent){.length = file->size_bytes, .fd = file->fd};
    return 0;
}

static int sizes_open(void *user, const struct muse_open_args *args, struct muse_open_result *ret)
{
    static uint64_t last_key;
    struct file *file = calloc(1, sizeof(*file));
    int r = 0;

    (void)user;
    if (!file)
        return -ENOMEM;
    file->fd = -1;
    file->is_secret = strcmp(args->path, "secret") == 0;
    file->size_bytes = SECRET_PAGES * MUSE_PAGE_BYTES;
    if (!file->is_secret)
        r = open_there(args->path, file);
    if (r < 0) {
        fd_close_p(&file->fd);
        free(file);
        return r;
    }
    ret->file_private = file;
    ret->object_key = ++last_key;
    ret->attr = (struct muse_attr){
        .size = file->size_bytes, .mode = S_IFREG | 0666, .inode = last_key, .nlink = 1};
    if (!file->is_secret) {
        ret->extents = &file->extent;
        ret->n_extents = 1;
    }
    return 0;
}

static void sizes_release(void *user, struct muse_driver_file *open_file)
{
    struct file *file = open_file->private_data;

    (void)user;
    fd_close_p(&file->fd);
    free(file);
}

static const struct muse_vm_ops secret_vm_ops = {.name = "secretmem"};
static const struct muse_vm_ops *const vm_ops_tables[] = {&secret_vm_ops, NULL};

/* secretmem_mmap_prepare(); the limit as in mlock_future_ok() */
static int prepare_secret(struct muse_vma_desc *desc)
{
    struct rlimit limit;

    if (!(desc->vm_flags & (MUSE_VM_SHARED | MUSE_VM_MAYSHARE)))
        return -EINVAL;
    if (prlimit(desc->pid, RLIMIT_MEMLOCK, NULL, &limit) < 0)
        return -ESRCH;
    if (muse_vma_desc_size(desc) > limit.rlim_cur) {
        muse_set_error("%llu pages are more than may be locked",
                       (unsigned long long)muse_vma_desc_pages(desc));
        return -EAGAIN;
    }
    desc->vm_flags |= MUSE_VM_LOCKED | MUSE_VM_DONTDUMP;
    desc->vm_ops = &secret_vm_ops;
    return 0;
}

/* ntfs_file_mmap_prepare() */
static int prepare_ntfs(const struct file *file, const struct muse_vma_desc *desc)
{
    const uint64_t from = desc->pgoff * MUSE_PAGE_BYTES;
    uint64_t to = from + muse_vma_desc_size(desc);

    if (file->is_shut)
        return -EIO;
    if (file->is_packed && (desc->vm_flags & MUSE_VM_WRITE))
        return -EOPNOTSUPP;
    if (!(desc->vm_flags & MUSE_VM_WRITE) || !(desc->vm_flags & MUSE_VM_SHARED))
        return 0;
    if (to > file->size_bytes)
        to = file->size_bytes;
    /* clusters for holes; what had none reads as zeros from now on, as it did */
    if (from < to && fallocate(file->fd, FALLOC_FL_KEEP_SIZE, (off_t)from, (off_t)(to - from)) < 0)
        return -errno;
    return 0;
}

static int sizes_prepare(struct muse_vma_desc *desc)
{
    const struct file *file = desc->file->private_data;

    return file->is_secret ? prepare_secret(desc) : prepare_ntfs(file, desc);
}

static int sizes_fault(struct muse_fault *fault)
{
    return muse_fault_zero(fault, fault->first_page, fault->n_pages);
}

/* NOLINTNEXTLINE(readability-non-const-parameter): argp's */
static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    (void)state;
    if (key != ARGP_KEY_ARG)
        return ARGP_ERR_UNKNOWN;
    folder = arg;
    return 0;
}

int main(int argc, char **argv)
{
    static const struct argp argp = {NULL, parse_option, "FOLDER", NULL, NULL, NULL, NULL};
    static const struct muse_driver_ops ops = {
        MUSE_DRIVER_OPS,
        .name = "sizes",
        .version = "0.1.0",
        .vm_ops = vm_ops_tables,
        .argp = &argp,
        .open = sizes_open,
        .release = sizes_release,
        .mmap_prepare = sizes_prepare,
        .fault = sizes_fault,
    };

    return muse_driver_main(argc, argv, &ops, NULL);
}
