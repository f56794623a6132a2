/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * muse-mem: the memory devices of Linux's drivers/char/mem.c.
 *
 *     mem/mem     physical memory, as the table says, with the checks of /dev/mem and of STRICT_DEVMEM
 *     mem/zero    zeros: each shared mapping is of an object of its own, made for it in prepare;
 *                 private ones are of zeros that all share
 *
 * With --memory of muse-physmem's file, mem/mem is a window on that driver's memory.
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

enum { OPTION_TABLE = 0x2001, OPTION_MEMORY, OPTION_RELAXED };

/* Keys. Zeros of one size are all alike; objects of shared mappings get numbers from KEY_FRESH on. */
#define KEY_MEM   1u
#define KEY_ZERO  2u
#define KEY_ZEROS (1ull << 62)
#define KEY_FRESH (1ull << 63)

#define SYSTEM_RAM "System RAM"

struct mem {
    const char *table_path, *bytes_path; /* borrowed from argv; NULL: no mem/mem, a memfd */
    bool is_relaxed;                     /* RAM may be mapped */
    struct memory memory;
    uint64_t n_fresh; /* objects made for shared mappings */
};

/* ---- names ---- */

static uint64_t key_of(const struct mem *mem, const char *path)
{
    if (strcmp(path, "zero") == 0)
        return KEY_ZERO;
    return mem->table_path && strcmp(path, "mem") == 0 ? KEY_MEM : 0;
}

static struct muse_attr attr_of(const struct mem *mem, uint64_t key)
{
    return (struct muse_attr){.size = key == KEY_MEM ? mem->memory.size_bytes : 0,
                              .mode = S_IFREG | (key == KEY_MEM ? 0600 : 0666),
                              .inode = key,
                              .uid = geteuid(),
                              .nlink = 1};
}

static int mem_open(void *user, const struct muse_open_args *args, struct muse_open_result *ret)
{
    struct mem *mem = user;
    const uint64_t key = key_of(mem, args->path);

    if (key == 0) {
        muse_set_error("mem/%s: there are mem/zero%s", args->path,
                       mem->table_path ? " and mem/mem" : ", and mem/mem with --table");
        return -ENOENT;
    }
    if (key == KEY_MEM && !permission_is_own(args))
        return -EACCES;
    ret->file_private = mem;
    ret->object_key = key;
    ret->attr = attr_of(mem, key);
    return 0;
}

static int mem_getattr_path(void *user, const struct muse_open_args *args, struct muse_attr *ret)
{
    const struct mem *mem = user;
    const uint64_t key = key_of(mem, args->path);

    if (args->path[0] == '\0')
        *ret = (struct muse_attr){.mode = S_IFDIR | 0555, .inode = 3, .nlink = 2};
    else if (key == 0)
        return -ENOENT;
    else
        *ret = attr_of(mem, key);
    return 0;
}

static int mem_readdir(void *user, const struct muse_open_args *args, uint64_t cursor,
                       struct muse_dir *dir)
{
    const struct mem *mem = user;

    if (args->path[0] != '\0')
        return -ENOTDIR;
    if (cursor == 0 && !muse_dir_add(dir, "zero", S_IFREG, KEY_ZERO, 1))
        return 0;
    if (cursor <= 1 && mem->table_path)
        (void)muse_dir_add(dir, "mem", S_IFREG, KEY_MEM, 2);
    return 0;
}

/* ---- mem/mem ---- */

/* Linux: mmap_mem_prepare(), in its order. That an offset does not fit phys_addr_t, or wraps, the
 * server has refused already (EOVERFLOW), as the kernel's mmap(2) does. */
static int check_mem(const struct mem *mem, const struct muse_vma_desc *desc)
{
    const uint64_t start = desc->pgoff * MUSE_PAGE_BYTES;
    const struct range bytes = range_make(start, start + muse_vma_desc_size(desc));
    const struct iomem_range *ram;

    if (desc->pgoff > UINT64_MAX / MUSE_PAGE_BYTES || bytes.end < bytes.start) {
        muse_set_error("page %#" PRIx64 " is no physical address", desc->pgoff);
        return -EINVAL;
    }
    if (bytes.end > mem->memory.size_bytes) {
        muse_set_error("addresses up to %#" PRIx64 " are beyond the physical ones, %#" PRIx64,
                       bytes.end, mem->memory.size_bytes);
        return -EINVAL;
    }
    ram = iomem_touches(&mem->memory.iomem, SYSTEM_RAM, bytes);
    if (ram && !mem->is_relaxed) {
        muse_set_error("%#" PRIx64 " to %#" PRIx64 " has " SYSTEM_RAM " (%#" PRIx64
                       "); it may be mapped with --relaxed",
                       bytes.start, bytes.end, ram->bytes.start);
        return -EPERM;
    }
    return 0;
}

static int prepare_mem(const struct mem *mem, struct muse_vma_desc *desc)
{
    int r = check_mem(mem, desc);

    if (r < 0)
        return r;
    /* remap_pfn_range_prepare(): pgoff is the page frame's number already */
    desc->vm_flags |= MUSE_VM_IO | MUSE_VM_PFNMAP | MUSE_VM_DONTEXPAND | MUSE_VM_DONTDUMP;
    return 0;
}

/* Linux: mmap_mem_complete() */
static int complete_mem(const struct mem *mem, struct muse_vma *vma)
{
    const uint64_t n_bytes = vma->part_end - vma->part_start;
    const uint64_t offset = vma->pgoff * MUSE_PAGE_BYTES;
    struct stat stat;

    if (fstat(mem->memory.fd, &stat) == 0 && (uint64_t)stat.st_size >= offset + n_bytes &&
        muse_vma_remap(vma, vma->part_start, n_bytes, mem->memory.fd, offset) == 0)
        return 0;
    muse_set_error("mem/mem: the memory is shorter than it was");
    return -EAGAIN;
}

/* ---- mem/zero ---- */

/* Linux: mmap_zero_prepare(), which calls shmem_zero_setup_desc() for shared mappings. */
static int prepare_zero(struct mem *mem, struct muse_vma_desc *desc)
{
    const bool is_shared = desc->vm_flags & MUSE_VM_MAYSHARE;
    const uint64_t n_bytes = muse_vma_desc_size(desc);
    const struct muse_open_result fresh = {
        .file_private = mem,
        .object_key = is_shared ? KEY_FRESH + ++mem->n_fresh : KEY_ZEROS | n_bytes,
        .attr = {.size = n_bytes, .mode = S_IFREG | 0600, .inode = KEY_ZERO, .nlink = 0}};

    desc->pgoff = 0; /* of its own object, not of mem/zero */
    desc->vm_ops = NULL;
    return muse_desc_open_file(desc, is_shared ? "zero (deleted)" : "zero", &fresh);
}

/* ---- both ---- */

static int mem_mmap_prepare(struct muse_vma_desc *desc)
{
    struct mem *mem = desc->file->private_data;

    return desc->file->object_key == KEY_MEM ? prepare_mem(mem, desc) : prepare_zero(mem, desc);
}

static int mem_mmap_complete(struct muse_driver_file *file, struct muse_vma *vma,
                             const void *mmap_context)
{
    (void)mmap_context;
    return file->object_key == KEY_MEM ? complete_mem(file->private_data, vma) : 0;
}

/* Of mem/zero's: mem/mem is mapped directly. */
static int mem_fault(struct muse_fault *fault)
{
    if (fault->object_key == KEY_MEM) {
        muse_set_error("mem/mem is memory, and can only be mapped");
        return -EIO;
    }
    return muse_fault_zero(fault, fault->first_page, fault->n_pages);
}

static int mem_start(struct muse_driver *driver, void *user)
{
    struct mem *mem = user;
    CLEAN(free_p) char *why = NULL;
    int r = 0;

    (void)driver;
    if (mem->table_path)
        r = memory_open(mem->table_path, mem->bytes_path, &mem->memory, &why);
    if (r < 0 && why)
        muse_set_error("%s", why);
    return r;
}

static void mem_stop(void *user)
{
    struct mem *mem = user;

    memory_close(&mem->memory);
}

/* NOLINTNEXTLINE(readability-non-const-parameter): argp's */
static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct mem *mem = state->input;

    switch (key) {
    case OPTION_TABLE:
        mem->table_path = arg;
        return 0;
    case OPTION_MEMORY:
        mem->bytes_path = arg;
        return 0;
    case OPTION_RELAXED:
        mem->is_relaxed = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int main(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"table", OPTION_TABLE, "FILE", 0, "Which addresses mem/mem has, as in /proc/iomem", 0},
        {"memory", OPTION_MEMORY, "FILE", 0, "Where their bytes are (else in memory of its own)",
         0},
        {"relaxed", OPTION_RELAXED, NULL, 0, "System RAM may be mapped, too", 0},
        {0}};
    static const struct argp argp = {
        options, parse_option, NULL, "Serves mem/zero, and physical memory as mem/mem.",
        NULL,    NULL,         NULL};
    static const struct muse_driver_ops ops = {
        MUSE_DRIVER_OPS,
        .name = "mem",
        .version = "0.1.0",
        .argp = &argp,
        .start = mem_start,
        .stop = mem_stop,
        .open = mem_open,
        .mmap_prepare = mem_mmap_prepare,
        .mmap_complete = mem_mmap_complete,
        .fault = mem_fault,
        .getattr_path = mem_getattr_path,
        .readdir = mem_readdir,
    };
    struct mem mem = {.memory = {.fd = -1}};

    return muse_driver_main(argc, argv, &ops, &mem);
}
