/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * muse-shmem: named memory, like files of Linux's tmpfs. An object outlives its clients; it is
 * made by O_CREAT, has the size that ftruncate gives it, gives memory back where a hole is punched,
 * and lives without a name until nobody has it open or mapped. Its bytes are in a memfd; the server
 * reads them from there (extents), and brings back what clients write (writeback).
 */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <muse/driver.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/number.h"
#include "common/base/own.h"
#include "drivers/common/made.h"
#include "drivers/common/permission.h"
#include "drivers/shmem/nodes.h"

#define COPY_BYTES ((size_t)256 << 10) /* chosen: it stays in the processor's cache */

enum { OPTION_SIZE = 0x2001 };

struct shmem {
    struct nodes nodes;
    uint64_t max_bytes;
    uint8_t *buffer;       /* owned, COPY_BYTES: the main thread's */
    uint8_t *fault_buffer; /* owned, COPY_BYTES: the fault thread's */
};

/* What private_data of an open file is: until the answer was sent, where its bytes are. */
struct open_file {
    struct shmem *shmem; /* borrowed, outlived by it */
    struct node *node;   /* likewise */
    struct muse_extent extent;
};

/* ---- open ---- */

static int find_or_add(struct shmem *shmem, const struct muse_open_args *args,
                       struct node **ret_node)
{
    struct node *node = nodes_find(&shmem->nodes, args->path);

    if (!node && args->path[0] == '\0')
        return -EISDIR;
    if (!node && !(args->oflags & O_CREAT)) {
        muse_set_error("shmem/%s: there is no such object", args->path);
        return -ENOENT;
    }
    if (!node)
        return nodes_add(&shmem->nodes, args, ret_node);
    if ((args->oflags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL))
        return -EEXIST;
    if (!permission_allows(args, &node->attr, permission_of_open(args->oflags)))
        return -EACCES;
    if ((args->oflags & O_TRUNC) && node->attr.size > 0) {
        muse_set_error("shmem/%s: others may have it mapped: ftruncate, not O_TRUNC", args->path);
        return -EOPNOTSUPP;
    }
    *ret_node = node;
    return 0;
}

static int shmem_open(void *user, const struct muse_open_args *args, struct muse_open_result *ret)
{
    struct shmem *shmem = user;
    struct open_file *file;
    struct node *node;
    int r = find_or_add(shmem, args, &node);

    if (r < 0)
        return r;
    file = calloc(1, sizeof(*file));
    if (!file)
        return -ENOMEM;
    *file = (struct open_file){
        .shmem = shmem, .node = node, .extent = {.length = node->attr.size, .fd = node->fd}};
    node->is_open = true;
    ret->file_private = file;
    ret->object_key = node->key;
    ret->object = node;
    ret->attr = node->attr;
    if (node->attr.size > 0) {
        ret->extents = &file->extent;
        ret->n_extents = 1;
    }
    return 0;
}

static void shmem_release(void *user, struct muse_driver_file *file)
{
    (void)user;
    free(file->private_data);
}

static void shmem_object_gone(void *user, uint64_t key, void *object)
{
    struct shmem *shmem = user;

    (void)key;
    nodes_gone(&shmem->nodes, object);
}

static int shmem_getattr(void *user, struct muse_driver_file *file, struct muse_attr *ret)
{
    const struct open_file *open_file = file->private_data;

    (void)user;
    *ret = open_file->node->attr;
    return 0;
}

/* ---- names ---- */

static int shmem_getattr_path(void *user, const struct muse_open_args *args, struct muse_attr *ret)
{
    const struct shmem *shmem = user;
    const struct node *node = nodes_find(&shmem->nodes, args->path);

    if (args->path[0] == '\0')
        *ret = (struct muse_attr){.mode = S_IFDIR | 01777, .inode = UINT64_MAX, .nlink = 2};
    else if (!node)
        return -ENOENT;
    else
        *ret = node->attr;
    return 0;
}

static int shmem_readdir(void *user, const struct muse_open_args *args, uint64_t cursor,
                         struct muse_dir *dir)
{
    const struct shmem *shmem = user;
    struct list *pos;

    if (args->path[0] != '\0')
        return nodes_find(&shmem->nodes, args->path) ? -ENOTDIR : -ENOENT;
    list_for_each(pos, &shmem->nodes.named) { /* keys grow: what is behind the cursor is new */
        const struct node *node = CONTAINER_OF(pos, struct node, by_name);

        if (node->key > cursor && !muse_dir_add(dir, node->name, S_IFREG, node->key, node->key))
            break;
    }
    return 0;
}

/* As in a folder with the sticky bit. */
static int find_own(const struct shmem *shmem, const struct muse_open_args *args,
                    struct node **ret_node)
{
    *ret_node = nodes_find(&shmem->nodes, args->path);
    if (!*ret_node)
        return -ENOENT;
    return args->uid == 0 || args->uid == (*ret_node)->attr.uid ? 0 : -EPERM;
}

static int shmem_unlink(void *user, const struct muse_open_args *args, int flags)
{
    struct shmem *shmem = user;
    struct node *node;
    int r = find_own(shmem, args, &node);

    if (r == 0 && (flags & AT_REMOVEDIR))
        r = -ENOTDIR;
    if (r == 0)
        nodes_unlink(&shmem->nodes, node);
    return r;
}

static int shmem_rename(void *user, const struct muse_open_args *args, const char *to,
                        unsigned flags)
{
    struct muse_open_args target = *args;
    struct shmem *shmem = user;
    struct node *node, *other;
    int r = find_own(shmem, args, &node);

    if (r < 0)
        return r;
    if (flags & ~(unsigned)RENAME_NOREPLACE)
        return -EINVAL;
    target.path = to;
    r = find_own(shmem, &target, &other);
    if (r == 0 && (flags & RENAME_NOREPLACE))
        r = -EEXIST;
    return r < 0 && r != -ENOENT ? r : nodes_rename(&shmem->nodes, node, to);
}

static int shmem_setattr_path(void *user, const struct muse_open_args *args,
                              struct muse_driver_file *file, struct muse_attr_change *change)
{
    const struct open_file *open_file = file ? file->private_data : NULL;
    const struct shmem *shmem = user;
    struct node *node = open_file ? open_file->node : nodes_find(&shmem->nodes, args->path);
    int r;

    if (!node && args->path[0] == '\0')
        return change->mask == 0 ? 0 : -EPERM; /* the folder is nobody's */
    if (!node)
        return -ENOENT;
    r = permission_check_change(args, &node->attr, change);
    if (r == 0)
        permission_change(args, change, made_now_ns(), &node->attr);
    return r;
}

/* ---- mappings ---- */

static const char *name_of_anon(struct muse_vma *vma)
{
    (void)vma;
    return "deleted";
}

/* Linux: shmem_vm_ops, and shmem_anon_vm_ops for what has no link any more. */
static const struct muse_vm_ops shmem_vm_ops = {.name = "shmem"};
static const struct muse_vm_ops anon_vm_ops = {.name = "shmem_anon", .vma_name = name_of_anon};
static const struct muse_vm_ops *const vm_ops_tables[] = {&shmem_vm_ops, &anon_vm_ops, NULL};

/* Linux: shmem_mmap_prepare() */
static int shmem_mmap_prepare(struct muse_vma_desc *desc)
{
    const struct open_file *file = desc->file->private_data;

    desc->vm_ops = file->node->attr.nlink > 0 ? &shmem_vm_ops : &anon_vm_ops;
    return 0;
}

/* ---- bytes ---- */

/* Objects that were empty when they were opened have no extents. */
static int fill(struct muse_fault *fault, uint64_t page, uint64_t n_pages)
{
    const struct shmem *shmem = fault->user;
    const struct node *node = fault->object;
    const size_t n_bytes = n_pages * MUSE_PAGE_BYTES;
    const ssize_t n =
        pread(node->fd, shmem->fault_buffer, n_bytes, (off_t)(page * MUSE_PAGE_BYTES));

    if (n < 0) {
        muse_set_error("reading its memory: %s", strerror(errno));
        return muse_fault_fail(fault, page, n_pages, -EIO);
    }
    memset(shmem->fault_buffer + n, 0, n_bytes - (size_t)n);
    return muse_fault_supply(fault, page, shmem->fault_buffer, n_pages);
}

static int shmem_fault(struct muse_fault *fault)
{
    const uint64_t step = COPY_BYTES / MUSE_PAGE_BYTES;
    int r = 0;

    for (uint64_t done = 0; done < fault->n_pages && r == 0; done += step) {
        const uint64_t left = fault->n_pages - done;

        r = fill(fault, fault->first_page + done, left < step ? left : step);
    }
    return r;
}

/* From memory to memory: it does not wait. */
static int shmem_writeback(struct muse_writeback *writeback)
{
    struct shmem *shmem = writeback->user;
    struct node *node = writeback->object;
    uint64_t at = writeback->first_page * writeback->page_bytes;
    uint64_t end = at + writeback->n_pages * writeback->page_bytes;

    if (end > writeback->size_bytes)
        end = writeback->size_bytes;
    while (at < end) {
        const size_t n_bytes = end - at < COPY_BYTES ? end - at : COPY_BYTES;
        const ssize_t n = pread(writeback->fd, shmem->buffer, n_bytes, (off_t)at);

        if (n <= 0 || pwrite(node->fd, shmem->buffer, (size_t)n, (off_t)at) != n)
            return n < 0 ? -errno : -EIO;
        at += (uint64_t)n;
    }
    return 0;
}

static int shmem_fsync(void *user, uint64_t key, void *object)
{
    (void)user;
    (void)key;
    (void)object;
    return 0; /* it is memory, and as durable as it will be */
}

static int shmem_truncate(void *user, struct muse_driver_file *file, uint64_t size)
{
    const struct open_file *open_file = file->private_data;
    struct shmem *shmem = user;

    return nodes_resize(&shmem->nodes, open_file->node, size);
}

static int shmem_fallocate(void *user, struct muse_driver_file *file, int mode, uint64_t offset,
                           uint64_t length)
{
    const struct open_file *open_file = file->private_data;
    struct shmem *shmem = user;

    return nodes_allocate(&shmem->nodes, open_file->node, mode, offset, length);
}

/* ---- start ---- */

static int shmem_start(struct muse_driver *driver, void *user)
{
    struct shmem *shmem = user;

    (void)driver;
    nodes_init(&shmem->nodes, shmem->max_bytes);
    shmem->buffer = malloc(COPY_BYTES);
    shmem->fault_buffer = malloc(COPY_BYTES);
    return shmem->buffer && shmem->fault_buffer ? 0 : -ENOMEM;
}

static void shmem_stop(void *user)
{
    struct shmem *shmem = user;

    nodes_done(&shmem->nodes);
    free(shmem->buffer);
    free(shmem->fault_buffer);
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct shmem *shmem = state->input;

    switch (key) {
    case OPTION_SIZE:
        if (size_parse(arg, &shmem->max_bytes) < 0)
            argp_error(state, "--size=%s: a number of bytes, or with K, M, G, T", arg);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int main(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"size", OPTION_SIZE, "SIZE", 0, "What all objects may have together (half of the memory)",
         0},
        {0}};
    static const struct argp argp = {
        options, parse_option, NULL, "Serves named memory, shmem/NAME.", NULL, NULL, NULL};
    static const struct muse_driver_ops ops = {
        MUSE_DRIVER_OPS,
        .name = "shmem",
        .version = "0.1.0",
        .vm_ops = vm_ops_tables,
        .argp = &argp,
        .start = shmem_start,
        .stop = shmem_stop,
        .open = shmem_open,
        .release = shmem_release,
        .getattr = shmem_getattr,
        .mmap_prepare = shmem_mmap_prepare,
        .fault = shmem_fault,
        .object_gone = shmem_object_gone,
        .writeback = shmem_writeback,
        .fsync = shmem_fsync,
        .truncate = shmem_truncate,
        .fallocate = shmem_fallocate,
        .getattr_path = shmem_getattr_path,
        .readdir = shmem_readdir,
        .unlink = shmem_unlink,
        .rename = shmem_rename,
        .setattr_path = shmem_setattr_path,
    };
    struct shmem shmem = {.max_bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) *
                                       (uint64_t)sysconf(_SC_PAGESIZE) / 2};

    return muse_driver_main(argc, argv, &ops, &shmem);
}
