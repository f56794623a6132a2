/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * muse-kcov: coverage buffers kcov/NAME. A program that was built with -fsanitize-coverage=trace-pc
 * writes where it has been to a mapping of one: word 0 says how many PCs follow. The hooks are those
 * of Linux's kcov; what KCOV_INIT_TRACE is there is the first muse_ftruncate() here.
 */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <muse/driver.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/number.h"
#include "common/base/own.h"
#include "drivers/kcov/area.h"

#define BUFFERS_DEFAULT  256u
#define MEMORY_DEFAULT   (UINT64_C(1) << 30)
#define FOLDER_INODE     1u
#define SHARED_MAY_WRITE (MUSE_VM_SHARED | MUSE_VM_MAYWRITE)

enum { OPTION_BUFFERS = 0x2001, OPTION_MEMORY };

struct kcov_driver {
    struct kcovs kcovs;
    uint64_t n_buffers_max;
    uint64_t n_bytes_max;
};

static struct muse_attr attr_of(const struct kcov *kcov)
{
    return (struct muse_attr){.size = kcov->n_bytes,
                              .mode = S_IFREG | 0600,
                              .inode = kcov->key,
                              .uid = kcov->uid,
                              .gid = kcov->gid,
                              .nlink = 1};
}

static int kcov_start(struct muse_driver *muse, void *user)
{
    struct kcov_driver *driver = user;

    (void)muse;
    kcovs_init(&driver->kcovs, driver->n_buffers_max, driver->n_bytes_max);
    return 0;
}

static void kcov_stop(void *user)
{
    struct kcov_driver *driver = user;

    kcovs_done(&driver->kcovs);
}

/* ---- names ---- */

static int kcov_getattr_path(void *user, const struct muse_open_args *args, struct muse_attr *ret)
{
    struct kcov_driver *driver = user;
    const struct kcov *kcov;

    if (args->path[0] == '\0') { /* sticky: a buffer is its owner's */
        *ret = (struct muse_attr){.mode = S_IFDIR | 01777, .inode = FOLDER_INODE, .nlink = 2};
        return 0;
    }
    kcov = kcovs_find(&driver->kcovs, args->path);
    if (!kcov)
        return -ENOENT;
    *ret = attr_of(kcov);
    return 0;
}

/* The cursor is the key of the entry before: new ones are behind all others. */
static int kcov_readdir(void *user, const struct muse_open_args *args, uint64_t cursor,
                        struct muse_dir *dir)
{
    struct kcov_driver *driver = user;
    struct list *pos;

    if (args->path[0] != '\0')
        return kcovs_find(&driver->kcovs, args->path) ? -ENOTDIR : -ENOENT;
    list_for_each(pos, &driver->kcovs.all) {
        const struct kcov *kcov = CONTAINER_OF(pos, struct kcov, node);

        if (kcov->key > cursor && !muse_dir_add(dir, kcov->name, S_IFREG, kcov->key, kcov->key))
            break;
    }
    return 0;
}

/* ---- open and release ---- */

static int create(struct kcov_driver *driver, const struct muse_open_args *args, struct kcov **ret)
{
    int r;

    if (!(args->oflags & O_CREAT))
        return -ENOENT;
    if (!kcov_name_is_legal(args->path)) {
        muse_set_error("kcov/%s: a name has " KCOV_NAME_TEXT, args->path);
        return -EINVAL;
    }
    r = kcovs_new(&driver->kcovs, args->path, args->uid, args->gid, ret);
    if (r == -ENFILE)
        muse_set_error("kcov/%s: there are %llu buffers already, as many as --buffers allows",
                       args->path, (unsigned long long)driver->n_buffers_max);
    return r;
}

static int check_existing(const struct muse_open_args *args, const struct kcov *kcov)
{
    if ((args->oflags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL))
        return -EEXIST;
    if (args->uid == 0 || args->uid == kcov->uid)
        return 0;
    muse_set_error("kcov/%s belongs to user %u", kcov->name, (unsigned)kcov->uid);
    return -EACCES;
}

static int kcov_open(void *user, const struct muse_open_args *args, struct muse_open_result *ret)
{
    struct kcov_driver *driver = user;
    struct kcov *kcov = kcovs_find(&driver->kcovs, args->path);
    int r = 0;

    if (args->path[0] == '\0')
        return -EISDIR;
    if (kcov) {
        r = check_existing(args, kcov);
        if (r == 0)
            kcov_ref(kcov);
    } else {
        r = create(driver, args, &kcov);
    }
    if (r < 0)
        return r;
    ret->object_key = kcov->key;
    ret->attr = attr_of(kcov);
    ret->file_private = kcov;
    return 0;
}

static void kcov_release(void *user, struct muse_driver_file *file)
{
    struct kcov_driver *driver = user;

    kcov_unref(&driver->kcovs, file->private_data);
}

static int kcov_getattr(void *user, struct muse_driver_file *file, struct muse_attr *ret)
{
    (void)user;
    *ret = attr_of(file->private_data);
    return 0;
}

/* KCOV_INIT_TRACE */
static int kcov_truncate(void *user, struct muse_driver_file *file, uint64_t size)
{
    struct kcov_driver *driver = user;
    struct kcov *kcov = file->private_data;
    const char *why;
    int r = kcov_init(&driver->kcovs, kcov, size, &why);

    if (r < 0)
        muse_set_error("kcov/%s, %llu bytes: %s", kcov->name, (unsigned long long)size, why);
    return r;
}

/* ---- mapping ---- */

/* kcov_mmap_prepare() of Linux */
static int kcov_mmap_prepare(struct muse_vma_desc *desc)
{
    const struct kcov *kcov = desc->file->private_data;
    const uint64_t size = muse_vma_desc_size(desc);
    const char *why;
    int r = kcov_check_mmap(kcov, desc->pgoff, size, &why);

    if (r < 0) {
        muse_set_error("kcov/%s, %llu bytes from page %llu of %llu bytes: %s", kcov->name,
                       (unsigned long long)size, (unsigned long long)desc->pgoff,
                       (unsigned long long)kcov->n_bytes, why);
        return r;
    }
    desc->vm_flags |= MUSE_VM_DONTEXPAND | MUSE_VM_MIXEDMAP;
    desc->mmap_context = (void *)(uintptr_t)size;
    return 0;
}

/* One range where Linux inserts page by page. */
static int kcov_mmap_complete(struct muse_driver_file *file, struct muse_vma *vma,
                              const void *context)
{
    const struct kcov *kcov = file->private_data;
    const bool may_write = (vma->vm_flags & SHARED_MAY_WRITE) == SHARED_MAY_WRITE;
    const uint64_t size = (uint64_t)(uintptr_t)context;

    return muse_vma_remap(vma, vma->part_start, size, may_write ? kcov->fd : kcov->fd_ro, 0);
}

/* ---- options ---- */

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct kcov_driver *driver = state->input;

    switch (key) {
    case OPTION_BUFFERS:
        if (number_parse(argument, 10, UINT64_MAX, &driver->n_buffers_max) < 0)
            argp_error(state, "--buffers=%s: not a number", argument);
        return 0;
    case OPTION_MEMORY:
        if (size_parse(argument, &driver->n_bytes_max) < 0)
            argp_error(state, "--memory=%s: bytes, as 65536, 64K, 512M, 1G", argument);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int main(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"buffers", OPTION_BUFFERS, "N", 0, "How many there may be. Default: 256", 1},
        {"memory", OPTION_MEMORY, "SIZE", 0, "Bytes of all buffers together, as 512M. Default: 1G",
         1},
        {0},
    };
    static const struct argp argp = {
        .options = options,
        .parser = parse_option,
        .doc = "Serve coverage buffers as kcov/NAME.",
    };
    static const struct muse_driver_ops ops = {
        MUSE_DRIVER_OPS,
        .name = "kcov",
        .version = "0.1.0",
        .argp = &argp,
        .start = kcov_start,
        .stop = kcov_stop,
        .open = kcov_open,
        .release = kcov_release,
        .getattr = kcov_getattr,
        .mmap_prepare = kcov_mmap_prepare,
        .mmap_complete = kcov_mmap_complete,
        .truncate = kcov_truncate,
        .getattr_path = kcov_getattr_path,
        .readdir = kcov_readdir,
    };
    struct kcov_driver driver = {.n_buffers_max = BUFFERS_DEFAULT, .n_bytes_max = MEMORY_DEFAULT};

    return muse_driver_main(argc, argv, &ops, &driver);
}
