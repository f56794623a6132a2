/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * muse-physmem: physical memory of a machine that a table describes, the simplest user of
 * remap_pfn_range: what a driver that maps its device's memory does in Linux.
 *
 *     physmem/mem             all of it: offsets are physical addresses
 *     physmem/START-END       one range of the table, by its address there: offset 0 is START
 *
 * Only addresses that the table has may be mapped. They are mapped directly; the server does it
 * (MUSE_ACTION_REMAP), so there is neither complete nor fault.
 */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <muse/driver.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/own.h"
#include "drivers/common/memory.h"
#include "drivers/common/permission.h"

enum { OPTION_TABLE = 0x2001, OPTION_MEMORY };

#define KEY_ALL 1u /* then the ranges, by their place in the table */

struct physmem {
    const char *table_path, *bytes_path; /* borrowed from argv; bytes_path NULL: a memfd */
    struct memory memory;
};

/* ---- names ---- */

/* What a name stands for. Return: the key; 0: nothing. */
static uint64_t find(const struct physmem *physmem, const char *path, struct range *ret_bytes)
{
    const struct iomem *iomem = &physmem->memory.iomem;
    char name[40];

    *ret_bytes = range_make(0, physmem->memory.size_bytes);
    if (strcmp(path, "mem") == 0)
        return KEY_ALL;
    for (size_t i = 0; i < iomem->n_ranges; i++) {
        *ret_bytes = iomem->ranges[i].bytes;
        (void)snprintf(name, sizeof(name), "%" PRIx64 "-%" PRIx64, ret_bytes->start,
                       ret_bytes->end - 1);
        if (strcmp(path, name) == 0)
            return KEY_ALL + 1 + i;
    }
    return 0;
}

static struct muse_attr attr_of(uint64_t key, struct range bytes)
{
    return (struct muse_attr){.size = range_len(bytes),
                              .mode = S_IFREG | 0600,
                              .inode = key,
                              .uid = geteuid(),
                              .nlink = 1};
}

static int physmem_open(void *user, const struct muse_open_args *args, struct muse_open_result *ret)
{
    struct physmem *physmem = user;
    struct range bytes;
    const uint64_t key = find(physmem, args->path, &bytes);

    if (key == 0) {
        muse_set_error("physmem/%s: neither mem nor a range of %s", args->path,
                       physmem->table_path);
        return -ENOENT;
    }
    if (!permission_is_own(args))
        return -EACCES;
    ret->file_private = physmem;
    ret->object_key = key;
    ret->attr = attr_of(key, bytes);
    return 0;
}

static int physmem_getattr_path(void *user, const struct muse_open_args *args,
                                struct muse_attr *ret)
{
    struct range bytes;
    const uint64_t key = find(user, args->path, &bytes);

    if (args->path[0] == '\0')
        *ret = (struct muse_attr){.mode = S_IFDIR | 0555, .inode = UINT32_MAX, .nlink = 2};
    else if (key == 0)
        return -ENOENT;
    else
        *ret = attr_of(key, bytes);
    return 0;
}

static int physmem_readdir(void *user, const struct muse_open_args *args, uint64_t cursor,
                           struct muse_dir *dir)
{
    const struct physmem *physmem = user;
    char name[40] = "mem";

    if (args->path[0] != '\0')
        return -ENOTDIR;
    for (uint64_t i = cursor; i <= physmem->memory.iomem.n_ranges; i++) {
        if (i > 0) {
            const struct range bytes = physmem->memory.iomem.ranges[i - 1].bytes;

            (void)snprintf(name, sizeof(name), "%" PRIx64 "-%" PRIx64, bytes.start, bytes.end - 1);
        }
        if (!muse_dir_add(dir, name, S_IFREG, KEY_ALL + i, i + 1))
            break;
    }
    return 0;
}

/* ---- mappings ---- */

/* The physical addresses that are to be mapped. Return: 0; -EINVAL they are none of the object's. */
static int addresses_of(const struct physmem *physmem, const struct muse_vma_desc *desc,
                        struct range *ret_bytes)
{
    const uint64_t key = desc->file->object_key;
    const uint64_t offset = desc->pgoff * MUSE_PAGE_BYTES;
    struct range object = range_make(0, physmem->memory.size_bytes);

    if (key > KEY_ALL)
        object = physmem->memory.iomem.ranges[key - KEY_ALL - 1].bytes;
    if (object.start % MUSE_PAGE_BYTES != 0) {
        muse_set_error("the range at %#" PRIx64 " does not begin at a page", object.start);
        return -EINVAL;
    }
    if (offset > range_len(object) || muse_vma_desc_size(desc) > range_len(object) - offset) {
        muse_set_error("bytes %#" PRIx64 " to %#" PRIx64 " lie behind the end, %#" PRIx64, offset,
                       offset + muse_vma_desc_size(desc), range_len(object));
        return -EINVAL;
    }
    *ret_bytes =
        range_make(object.start + offset, object.start + offset + muse_vma_desc_size(desc));
    return 0;
}

static int physmem_mmap_prepare(struct muse_vma_desc *desc)
{
    const struct physmem *physmem = desc->file->private_data;
    struct range bytes;
    int r = addresses_of(physmem, desc, &bytes);

    if (r < 0)
        return r;
    if (!iomem_covers(&physmem->memory.iomem, bytes)) {
        muse_set_error("%s does not have all addresses from %#" PRIx64 " to %#" PRIx64,
                       physmem->table_path, bytes.start, bytes.end);
        return -EPERM;
    }
    /* remap_pfn_range_prepare(): of a mapping that copies on write, pgoff says which page it was */
    if (muse_desc_can_cow(desc))
        desc->pgoff = bytes.start / MUSE_PAGE_BYTES;
    desc->vm_flags |= MUSE_VM_IO | MUSE_VM_PFNMAP | MUSE_VM_DONTEXPAND | MUSE_VM_DONTDUMP;
    desc->action = (struct muse_action){
        .type = MUSE_ACTION_REMAP, .fd = physmem->memory.fd, .fd_offset = bytes.start};
    return 0;
}

/* ---- start ---- */

static int physmem_start(struct muse_driver *driver, void *user)
{
    struct physmem *physmem = user;
    CLEAN(free_p) char *why = NULL;
    int r = memory_open(physmem->table_path, physmem->bytes_path, &physmem->memory, &why);

    (void)driver;
    if (r < 0 && why)
        muse_set_error("%s", why);
    return r;
}

static void physmem_stop(void *user)
{
    struct physmem *physmem = user;

    memory_close(&physmem->memory);
}

/* NOLINTNEXTLINE(readability-non-const-parameter): argp's */
static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct physmem *physmem = state->input;

    switch (key) {
    case OPTION_TABLE:
        physmem->table_path = arg;
        return 0;
    case OPTION_MEMORY:
        physmem->bytes_path = arg;
        return 0;
    case ARGP_KEY_END:
        if (!physmem->table_path)
            argp_error(state, "which --table?");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int main(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"table", OPTION_TABLE, "FILE", 0, "Which addresses there are, as in /proc/iomem", 0},
        {"memory", OPTION_MEMORY, "FILE", 0, "Where their bytes are (else in memory of its own)",
         0},
        {0}};
    static const struct argp argp = {
        options, parse_option, NULL, "Serves physical memory, physmem/mem.", NULL, NULL, NULL};
    static const struct muse_driver_ops ops = {
        MUSE_DRIVER_OPS,
        .name = "physmem",
        .version = "0.1.0",
        .argp = &argp,
        .start = physmem_start,
        .stop = physmem_stop,
        .open = physmem_open,
        .mmap_prepare = physmem_mmap_prepare,
        .getattr_path = physmem_getattr_path,
        .readdir = physmem_readdir,
    };
    struct physmem physmem = {.memory = {.fd = -1}};

    return muse_driver_main(argc, argv, &ops, &physmem);
}
