/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * muse-vmcore: serves an ELF core as vmcore/NAME, as Linux's /proc/vmcore does. The object has the
 * core's own bytes, but for segments whose memory is in another file (--oldmem). Two ways for them:
 *
 *     whole pages that lie at a page of their file   mapped directly in mmap_complete: no faults
 *     everything else                                fault: read here
 *
 * Nothing is held between prepare and complete. After start nothing changes, so both threads use it
 * without a lock; the buffer is the fault thread's.
 */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <muse/driver.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "drivers/common/permission.h"
#include "drivers/vmcore/elf_core.h"
#include "drivers/vmcore/layout.h"
#include "drivers/vmcore/oldmem.h"

/* Read at once for faults. Chosen: it still is in the processor's cache when it is supplied. */
#define BUFFER_BYTES (64u * MUSE_PAGE_BYTES)

/* Chosen: more files than a core has kinds of memory. */
#define OLDMEM_MAX 256u

enum { OPTION_OLDMEM = 0x2001 };

struct source {
    const char *path; /* borrowed, lives as long as the driver */
    int fd;           /* owned; -1: not open */
};

struct vmcore {
    const char *name; /* borrowed from argv: the last part of the core's path */
    struct oldmem oldmem[OLDMEM_MAX];
    unsigned n_oldmem;
    struct source sources[OLDMEM_MAX + 1]; /* LAYOUT_CORE first */
    unsigned n_sources;
    struct layout layout;
    int64_t mtime_ns;
    uint8_t buffer[BUFFER_BYTES];
};

/* ---- start and stop ---- */

static int read_whole(int fd, uint64_t offset, void *buf, size_t n_bytes)
{
    size_t done = 0;

    while (done < n_bytes) {
        const ssize_t n = pread(fd, (uint8_t *)buf + done, n_bytes - done, (off_t)(offset + done));

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -ENODATA;
        done += (size_t)n;
    }
    return 0;
}

static int read_core(void *arg, uint64_t offset, void *buf, size_t n_bytes)
{
    const struct vmcore *vmcore = arg;

    return read_whole(vmcore->sources[LAYOUT_CORE].fd, offset, buf, n_bytes);
}

/* One more source, if that file is none yet. Return: its number; -errno with the sentence set. */
static int open_source(struct vmcore *vmcore, const char *path)
{
    struct source *source = &vmcore->sources[vmcore->n_sources];
    struct stat st;

    for (unsigned i = 0; i < vmcore->n_sources; i++) {
        if (strcmp(vmcore->sources[i].path, path) == 0)
            return (int)i;
    }
    *source = (struct source){path, open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)};
    if (source->fd < 0 || fstat(source->fd, &st) < 0) {
        const int r = -errno;

        muse_set_error("%s: %s", path, strerror(-r));
        fd_close_p(&source->fd);
        return r;
    }
    vmcore->n_sources++; /* closed by vmcore_stop() from here on */
    if (!S_ISREG(st.st_mode)) {
        muse_set_error("%s: not a regular file", path);
        return -ENODEV;
    }
    return (int)vmcore->n_sources - 1;
}

/* The sources of --oldmem, and the layout. */
static int lay_out(struct vmcore *vmcore, const struct elf_segment *segments, unsigned n_segments,
                   uint64_t n_core_bytes)
{
    struct layout_oldmem oldmem[OLDMEM_MAX];
    struct elf_core_error err;
    int r;

    for (unsigned i = 0; i < vmcore->n_oldmem; i++) {
        r = open_source(vmcore, vmcore->oldmem[i].path);
        if (r < 0)
            return r;
        oldmem[i] = (struct layout_oldmem){vmcore->oldmem[i].segment, r, vmcore->oldmem[i].offset};
    }
    r = layout_init(&vmcore->layout, segments, n_segments, n_core_bytes, oldmem, vmcore->n_oldmem,
                    &err);
    if (r < 0)
        muse_set_error("%s: %s", vmcore->sources[LAYOUT_CORE].path, err.text);
    return r;
}

static int open_core(struct vmcore *vmcore)
{
    const struct source *core = &vmcore->sources[LAYOUT_CORE];
    CLEAN(free_p) struct elf_segment *segments = NULL;
    unsigned n_segments;
    struct elf_core_error err;
    struct stat st;
    int r = open_source(vmcore, core->path);

    if (r < 0)
        return r;
    if (fstat(core->fd, &st) < 0)
        return -errno;
    vmcore->mtime_ns = st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    r = elf_core_parse(read_core, vmcore, (uint64_t)st.st_size, &segments, &n_segments, &err);
    if (r < 0) {
        muse_set_error("%s: %s", core->path, err.text);
        return r;
    }
    return lay_out(vmcore, segments, n_segments, (uint64_t)st.st_size);
}

/* Also of a driver that was not started to the end. */
static void vmcore_stop(void *user)
{
    struct vmcore *vmcore = user;

    layout_done(&vmcore->layout);
    while (vmcore->n_sources > 0)
        fd_close_p(&vmcore->sources[--vmcore->n_sources].fd);
    while (vmcore->n_oldmem > 0)
        free(vmcore->oldmem[--vmcore->n_oldmem].path);
}

static int vmcore_start(struct muse_driver *driver, void *user)
{
    int r = open_core(user);

    muse_driver_set_read_only(driver);
    if (r < 0)
        vmcore_stop(user);
    return r;
}

/* ---- names ---- */

static struct muse_attr attr_of(const struct vmcore *vmcore)
{
    return (struct muse_attr){.size = vmcore->layout.n_bytes,
                              .mode = S_IFREG | 0400,
                              .inode = 1,
                              .uid = geteuid(),
                              .gid = getegid(),
                              .mtime_ns = vmcore->mtime_ns,
                              .nlink = 1};
}

static int vmcore_open(void *user, const struct muse_open_args *args, struct muse_open_result *ret)
{
    struct vmcore *vmcore = user;

    if (strcmp(args->path, vmcore->name) != 0) {
        muse_set_error("vmcore/%s: the only core here is %s", args->path, vmcore->name);
        return -ENOENT;
    }
    if (!permission_is_own(args)) {
        muse_set_error("vmcore/%s: user %u may not see it", args->path, args->uid);
        return -EACCES;
    }
    ret->file_private = vmcore;
    ret->object_key = 1;
    ret->attr = attr_of(vmcore);
    return 0;
}

static int vmcore_getattr_path(void *user, const struct muse_open_args *args,
                               struct muse_attr *ret_attr)
{
    const struct vmcore *vmcore = user;

    *ret_attr = (struct muse_attr){.mode = S_IFDIR | 0555, .inode = 2, .nlink = 2};
    if (args->path[0] == '\0')
        return 0;
    if (strcmp(args->path, vmcore->name) != 0)
        return -ENOENT;
    *ret_attr = attr_of(vmcore);
    return 0;
}

static int vmcore_readdir(void *user, const struct muse_open_args *args, uint64_t cursor,
                          struct muse_dir *dir)
{
    const struct vmcore *vmcore = user;

    if (args->path[0] != '\0')
        return strcmp(args->path, vmcore->name) == 0 ? -ENOTDIR : -ENOENT;
    if (cursor == 0)
        (void)muse_dir_add(dir, vmcore->name, S_IFREG, 1, 1); /* one name fits every answer */
    return 0;
}

/* ---- mapping ---- */

/* The bytes of the object that are mapped. */
static struct range mapped_bytes(uint64_t pgoff, uint64_t n_bytes)
{
    return range_make(pgoff * MUSE_PAGE_BYTES, pgoff * MUSE_PAGE_BYTES + n_bytes);
}

/* mmap_vmcore_prepare() of Linux */
static int vmcore_mmap_prepare(struct muse_vma_desc *desc)
{
    const struct vmcore *vmcore = desc->file->private_data;
    const uint64_t n_pages = (vmcore->layout.n_bytes + MUSE_PAGE_BYTES - 1) / MUSE_PAGE_BYTES;

    if (desc->pgoff > n_pages || muse_vma_desc_pages(desc) > n_pages - desc->pgoff) {
        muse_set_error("pages %llu to %llu are not all inside the core, which has %llu",
                       (unsigned long long)desc->pgoff,
                       (unsigned long long)desc->pgoff + muse_vma_desc_pages(desc),
                       (unsigned long long)n_pages);
        return -EINVAL;
    }
    if (desc->vm_flags & (MUSE_VM_WRITE | MUSE_VM_EXEC)) {
        muse_set_error("a core can only be read: neither written nor executed");
        return -EPERM;
    }
    desc->vm_flags |=
        MUSE_VM_MIXEDMAP | MUSE_VM_IO | MUSE_VM_PFNMAP | MUSE_VM_DONTEXPAND | MUSE_VM_DONTDUMP;
    desc->vm_flags &= ~(MUSE_VM_MAYWRITE | MUSE_VM_MAYEXEC);
    return 0;
}

/* Are the bytes still there? The last one tells: files lose their end first. */
static int check_source(const struct vmcore *vmcore, const struct layout_range *range,
                        struct range part)
{
    const struct source *source = &vmcore->sources[range->source];
    const uint64_t last = layout_source_offset(range, part.end - 1);
    uint8_t byte;
    const int r = read_whole(source->fd, last, &byte, 1);

    if (r == 0)
        return 0;
    muse_set_error("%s: byte %#llx, which is %#llx of the core, cannot be had: %s", source->path,
                   (unsigned long long)last, (unsigned long long)(part.end - 1), strerror(-r));
    return -EAGAIN;
}

/* What is no whole page of its source, or one too many for an answer, comes by fault. */
static int remap_part(const struct vmcore *vmcore, struct muse_vma *vma,
                      const struct layout_range *range, struct range part)
{
    const struct range direct = layout_direct(range, part);
    const uint64_t address = vma->start + (direct.start - vma->pgoff * MUSE_PAGE_BYTES);
    int r;

    if (range_is_empty(direct))
        return 0;
    r = muse_vma_remap(vma, address, range_len(direct), vmcore->sources[range->source].fd,
                       layout_source_offset(range, direct.start));
    return r == -ENOSPC ? 0 : r;
}

/* mmap_vmcore_complete() of Linux. An error of one range is that of all: the server then carries out
 * none of them. */
static int vmcore_mmap_complete(struct muse_driver_file *file, struct muse_vma *vma,
                                const void *context)
{
    const struct vmcore *vmcore = file->private_data;
    struct range left = mapped_bytes(vma->pgoff, vma->end - vma->start);
    const struct layout_range *range;
    int r = 0;

    (void)context;
    while (r == 0 && (range = layout_at(&vmcore->layout, left.start)) != NULL &&
           !range_is_empty(left)) {
        const struct range part = range_intersect(range->bytes, left);

        if (range->source != LAYOUT_ZEROS)
            r = check_source(vmcore, range, part);
        if (r == 0)
            r = remap_part(vmcore, vma, range, part);
        left.start = part.end;
    }
    return r;
}

/* ---- faults ---- */

/* Bytes of the object into the buffer, with zeros behind its end. */
static int read_bytes(struct vmcore *vmcore, struct range bytes)
{
    const uint64_t start = bytes.start;
    const struct layout_range *range;
    int r = 0;

    memset(vmcore->buffer, 0, range_len(bytes));
    while (r == 0 && !range_is_empty(bytes) &&
           (range = layout_at(&vmcore->layout, bytes.start)) != NULL) {
        const struct range part = range_intersect(range->bytes, bytes);

        if (range->source != LAYOUT_ZEROS) {
            r = read_whole(vmcore->sources[range->source].fd,
                           layout_source_offset(range, part.start),
                           vmcore->buffer + (part.start - start), range_len(part));
            if (r < 0)
                muse_set_error("%s: %s", vmcore->sources[range->source].path, strerror(-r));
        }
        bytes.start = part.end;
    }
    return r;
}

/* @n_pages fit the buffer. Pages that cannot be read are no obstacle to those around them. */
static int supply_pages(struct muse_fault *fault, uint64_t first_page, uint64_t n_pages)
{
    struct vmcore *vmcore = fault->user;
    int r = read_bytes(vmcore, mapped_bytes(first_page, n_pages * MUSE_PAGE_BYTES));

    if (r == 0)
        return muse_fault_supply(fault, first_page, vmcore->buffer, n_pages);
    if (n_pages == 1)
        return muse_fault_fail(fault, first_page, 1, -EIO);
    r = 0;
    for (uint64_t i = 0; i < n_pages && r == 0; i++)
        r = supply_pages(fault, first_page + i, 1);
    return r;
}

static int vmcore_fault(struct muse_fault *fault)
{
    const uint64_t end = fault->first_page + fault->n_pages;
    uint64_t page = fault->first_page;
    int r = 0;

    while (page < end && r == 0) {
        const uint64_t left = end - page;
        const uint64_t n_pages =
            left < BUFFER_BYTES / MUSE_PAGE_BYTES ? left : BUFFER_BYTES / MUSE_PAGE_BYTES;

        r = supply_pages(fault, page, n_pages);
        page += n_pages;
    }
    return r;
}

/* ---- options ---- */

static void add_oldmem(struct vmcore *vmcore, const char *text, struct argp_state *state)
{
    int r = vmcore->n_oldmem < OLDMEM_MAX ? oldmem_parse(text, &vmcore->oldmem[vmcore->n_oldmem])
                                          : -E2BIG;

    if (r == 0)
        vmcore->n_oldmem++;
    else if (r == -E2BIG)
        argp_error(state, "--oldmem=%s: more than %u of them", text, OLDMEM_MAX);
    else
        argp_error(state, "--oldmem=%s: write SEGMENT=FILE or SEGMENT=FILE@OFFSET", text);
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct vmcore *vmcore = state->input;
    const char *slash;

    switch (key) {
    case OPTION_OLDMEM:
        add_oldmem(vmcore, argument, state);
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num > 0)
            argp_error(state, "one core only");
        slash = strrchr(argument, '/');
        vmcore->sources[LAYOUT_CORE].path = argument;
        vmcore->name = slash ? slash + 1 : argument;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "no core to serve");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int main(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"oldmem", OPTION_OLDMEM, "SEGMENT=FILE[@OFFSET]", 0,
         "The bytes of this PT_LOAD segment, counted from 0, are in FILE from OFFSET on", 1},
        {0},
    };
    static const struct argp argp = {
        .options = options,
        .parser = parse_option,
        .args_doc = "CORE",
        .doc = "Serve an ELF core as vmcore/NAME, where NAME is the last part of its path.",
    };
    static const struct muse_driver_ops ops = {
        MUSE_DRIVER_OPS,
        .name = "vmcore",
        .version = "0.1.0",
        .argp = &argp,
        .start = vmcore_start,
        .stop = vmcore_stop,
        .open = vmcore_open,
        .mmap_prepare = vmcore_mmap_prepare,
        .mmap_complete = vmcore_mmap_complete,
        .fault = vmcore_fault,
        .getattr_path = vmcore_getattr_path,
        .readdir = vmcore_readdir,
    };
    static struct vmcore vmcore;

    return muse_driver_main(argc, argv, &ops, &vmcore);
}
