/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * muse-devdax: a file as persistent memory, like the character devices of Linux's drivers/dax. The
 * one object, devdax/NAME, is the file itself, mapped directly: loads and stores reach it without
 * anybody being asked, so what is stored outlives client, driver and server.
 *
 *     devdax/NAME      the memory; shared mappings only, of whole units (--align)
 *     devdax/offline   opening it takes the device away: new mappings are ENXIO, a touch is SIGBUS
 *     devdax/online    opening it brings the device back, with the bytes it had
 *
 * A direct mapping can be taken back in one way only: its file is cut off. So offline saves the
 * bytes in FILE.offline first, and online puts them back (switch.c); a device whose FILE.offline is
 * there when the driver starts is offline.
 */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <muse/driver.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/own.h"
#include "drivers/common/permission.h"
#include "drivers/devdax/switch.h"

#define KEY_MEMORY 1u
#define KEY_SWITCH 2u

enum { OPTION_ALIGN = 0x2001 };

struct devdax {
    const char *path; /* borrowed from argv */
    const char *name; /* in it: its last part */
    uint64_t align;   /* bytes: what mappings consist of */
    struct dax_switch device;
};

/* ---- names ---- */

static struct muse_attr attr_of(const struct devdax *dax, uint64_t key)
{
    const struct stat *st = &dax->device.stat;

    if (key == KEY_SWITCH)
        return (struct muse_attr){.mode = S_IFREG | 0400, .inode = 2, .uid = geteuid(), .nlink = 1};
    return (struct muse_attr){.size = dax->device.size_bytes,
                              .mode = st->st_mode,
                              .inode = st->st_ino,
                              .uid = st->st_uid,
                              .gid = st->st_gid,
                              .nlink = 1};
}

/* Return: the key; 0: there is no such object. */
static uint64_t key_of(const struct devdax *dax, const char *path)
{
    if (strcmp(path, "offline") == 0 || strcmp(path, "online") == 0)
        return KEY_SWITCH;
    return strcmp(path, dax->name) == 0 ? KEY_MEMORY : 0;
}

/* As the file's permission bits say, for who is not root. */
static bool may_open(const struct devdax *dax, const struct muse_open_args *args)
{
    const struct stat *st = &dax->device.stat;
    const struct muse_attr attr = {.mode = st->st_mode, .uid = st->st_uid, .gid = st->st_gid};

    return permission_allows(args, &attr, permission_of_open(args->oflags));
}

static int turn(struct devdax *dax, const struct muse_open_args *args)
{
    if (!permission_is_own(args)) {
        muse_set_error("devdax/%s: only root and the driver's user may switch the device",
                       args->path);
        return -EPERM;
    }
    return strcmp(args->path, "online") == 0 ? switch_on(&dax->device) : switch_off(&dax->device);
}

static int devdax_open(void *user, const struct muse_open_args *args, struct muse_open_result *ret)
{
    struct devdax *dax = user;
    const uint64_t key = key_of(dax, args->path);
    int r = 0;

    if (key == 0) {
        muse_set_error("devdax/%s: the device is devdax/%s", args->path, dax->name);
        return -ENOENT;
    }
    if (key == KEY_SWITCH)
        r = turn(dax, args);
    else if (!may_open(dax, args))
        r = -EACCES;
    if (r < 0)
        return r;
    ret->file_private = dax;
    ret->object_key = key;
    ret->attr = attr_of(dax, key);
    ret->map_sync = true;
    ret->map_align = dax->align;
    return 0;
}

static int devdax_getattr_path(void *user, const struct muse_open_args *args, struct muse_attr *ret)
{
    const struct devdax *dax = user;
    const uint64_t key = key_of(dax, args->path);

    if (args->path[0] == '\0')
        *ret = (struct muse_attr){.mode = S_IFDIR | 0555, .inode = 3, .nlink = 2};
    else if (key == 0)
        return -ENOENT;
    else
        *ret = attr_of(dax, key);
    return 0;
}

static int devdax_readdir(void *user, const struct muse_open_args *args, uint64_t cursor,
                          struct muse_dir *dir)
{
    const struct devdax *dax = user;

    if (args->path[0] != '\0')
        return key_of(dax, args->path) ? -ENOTDIR : -ENOENT;
    if (cursor == 0)
        (void)muse_dir_add(dir, dax->name, S_IFREG, attr_of(dax, KEY_MEMORY).inode, 1);
    return 0;
}

/* ---- mappings ---- */

static struct devdax *dax_of(const struct muse_driver_file *file)
{
    return file->private_data;
}

/* Linux: dev_dax_may_split() */
static int devdax_may_split(struct muse_vma *vma, uint64_t addr)
{
    const struct devdax *dax = dax_of(vma->file);

    if (addr % dax->align == 0)
        return 0;
    muse_set_error("address %#llx is not at a unit of %llu bytes", (unsigned long long)addr,
                   (unsigned long long)dax->align);
    return -EINVAL;
}

/* In Linux a unit that is not where it may be is SIGBUS at the next touch. */
static int devdax_mremap(struct muse_vma *vma)
{
    return devdax_may_split(vma, vma->start);
}

static const struct muse_vm_ops dax_vm_ops = {
    .name = "dax", .may_split = devdax_may_split, .mremap = devdax_mremap};
static const struct muse_vm_ops *const vm_ops_tables[] = {&dax_vm_ops, NULL};

/* Linux: check_vma() of drivers/dax/device.c, in its order. */
static int check(const struct devdax *dax, const struct muse_vma_desc *desc)
{
    if (!dax->device.is_alive) {
        muse_set_error("devdax/%s is offline", dax->name);
        return -ENXIO;
    }
    if (!(desc->vm_flags & MUSE_VM_MAYSHARE)) {
        muse_set_error("devdax/%s cannot be mapped privately", dax->name);
        return -EINVAL;
    }
    if (desc->start % dax->align != 0 || desc->end % dax->align != 0) {
        muse_set_error("devdax/%s is mapped in units of %llu bytes", dax->name,
                       (unsigned long long)dax->align);
        return -EINVAL;
    }
    if (desc->file->object_key != KEY_MEMORY) {
        muse_set_error("the switches of devdax/%s are no memory", dax->name);
        return -EINVAL;
    }
    return 0;
}

/* Linux checks these when a page is touched (SIGBUS); here nobody is asked then. */
static int check_offset(const struct devdax *dax, const struct muse_vma_desc *desc)
{
    const uint64_t offset = desc->pgoff * MUSE_PAGE_BYTES;

    if (offset % dax->align == 0 && offset <= dax->device.size_bytes &&
        muse_vma_desc_size(desc) <= dax->device.size_bytes - offset)
        return 0;
    muse_set_error("bytes %llu to %llu of devdax/%s are not whole units inside the device",
                   (unsigned long long)offset,
                   (unsigned long long)offset + muse_vma_desc_size(desc), dax->name);
    return -EINVAL;
}

static int devdax_mmap_prepare(struct muse_vma_desc *desc)
{
    struct devdax *dax = dax_of(desc->file);
    int r = check(dax, desc);

    if (r == 0)
        r = check_offset(dax, desc);
    if (r < 0)
        return r;
    desc->vm_ops = &dax_vm_ops;
    desc->vm_flags |= MUSE_VM_HUGEPAGE;
    desc->action = (struct muse_action){.type = MUSE_ACTION_REMAP,
                                        .fd = dax->device.fd,
                                        .fd_offset = desc->pgoff * MUSE_PAGE_BYTES};
    return 0;
}

/* ---- start ---- */

static int devdax_start(struct muse_driver *driver, void *user)
{
    struct devdax *dax = user;

    (void)driver;
    return switch_open(&dax->device, dax->path, dax->align);
}

static void devdax_stop(void *user)
{
    struct devdax *dax = user;

    switch_close(&dax->device);
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct devdax *dax = state->input;
    const char *slash;

    switch (key) {
    case OPTION_ALIGN:
        if (strcmp(arg, "4K") == 0)
            dax->align = MUSE_PAGE_BYTES;
        else if (strcmp(arg, "2M") == 0)
            dax->align = MUSE_HUGE_PAGE_BYTES;
        else
            argp_error(state, "--align is 4K or 2M, not %s", arg);
        return 0;
    case ARGP_KEY_ARG:
        if (dax->path)
            argp_error(state, "one FILE, please");
        dax->path = arg;
        slash = strrchr(arg, '/');
        dax->name = slash ? slash + 1 : arg;
        return 0;
    case ARGP_KEY_END:
        if (!dax->path || dax->name[0] == '\0')
            argp_error(state, "which FILE is the memory?");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int main(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"align", OPTION_ALIGN, "UNIT", 0, "Map in units of 4K or 2M (2M)", 0}, {0}};
    static const struct argp argp = {
        options, parse_option, "FILE", "Serves FILE as persistent memory, devdax/NAME.",
        NULL,    NULL,         NULL};
    static const struct muse_driver_ops ops = {
        MUSE_DRIVER_OPS,
        .name = "devdax",
        .version = "0.1.0",
        .vm_ops = vm_ops_tables,
        .argp = &argp,
        .start = devdax_start,
        .stop = devdax_stop,
        .open = devdax_open,
        .mmap_prepare = devdax_mmap_prepare,
        .getattr_path = devdax_getattr_path,
        .readdir = devdax_readdir,
    };
    struct devdax dax = {.align = MUSE_HUGE_PAGE_BYTES, .device = {.fd = -1}};

    return muse_driver_main(argc, argv, &ops, &dax);
}
