/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * muse-cramfs: serves the files of a cramfs image as cramfs/PATH, like the hooks of Linux's cramfs.
 * Three ways for the bytes:
 *
 *     uncompressed, at pages of the image, readable for the client   mapped directly: no faults
 *     all of the file uncompressed at pages of the image             extents: the server reads
 *     everything else                                                fault: inflated here
 *
 * The image must not change while it is served. File hooks run on the main thread and fault on the
 * fault thread; each has a reader of its own, as a reader holds one inflate stream. What both use,
 * the table's entries, does not change while the SDK holds the object.
 */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <muse/driver.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/idmap.h"
#include "drivers/cramfs/access.h"
#include "drivers/cramfs/blocksize.h"
#include "drivers/cramfs/cramfs_image.h"
#include "drivers/cramfs/populate.h"

/* Pages inflated between two supplies. Chosen: the first few quickly, because somebody waits; then
 * 256 KiB, which still are in the processor's cache when they are written. */
#define FIRST_PIECE_PAGES 16u
#define PIECE_PAGES       64u
#define BUFFER_BYTES      ((size_t)PIECE_PAGES * MUSE_PAGE_BYTES)

/* The most runs of blocks in a file that the server reads. Chosen: more are a strange image. */
#define RUNS_MAX 64u

enum { OPTION_VERIFY_CRC = 0x2001 };

struct object {
    uint64_t key;
    struct cramfs_inode inode;
};

struct cramfs_driver {
    const char *image; /* borrowed from argv */
    bool verify_crc;
    int fd; /* owned */
    bool is_public;
    bool is_file;
    struct cramfs *fs;       /* owned; the main thread's */
    struct cramfs *fault_fs; /* owned; the fault thread's */
    struct idmap objects;    /* of owned struct object */
    uint8_t *buffer;         /* owned, BUFFER_BYTES; the fault thread's, faulted in once */
};

/* What private_data of an open file is. */
struct open_file {
    struct cramfs_driver *driver; /* borrowed, outlived by it */
    const struct object *object;  /* borrowed, lives as long as the file */
    bool may_see_image;           /* the client may be given an fd of all of the image */
    size_t n_extents;
    struct muse_extent extents[RUNS_MAX]; /* until the answer was sent */
};

/* What mmap_prepare decided, for mmap_complete; NULL when there is nothing to do. */
struct context {
    struct populate populate;
    int fd; /* borrowed from the driver, outlived by it */
};

/* ---- start and stop ---- */

static void set_image_error(const struct cramfs_driver *driver, const struct cramfs_error *err)
{
    if (err->inode == 0) {
        muse_set_error("image %s, byte %llu: %s", driver->image, (unsigned long long)err->offset,
                       err->text);
    } else {
        muse_set_error("image %s, inode %llu, byte %llu: %s", driver->image,
                       (unsigned long long)err->inode, (unsigned long long)err->offset, err->text);
    }
}

static int open_image(struct cramfs_driver *driver)
{
    struct stat st;

    driver->fd = open(driver->image, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (driver->fd < 0 || fstat(driver->fd, &st) < 0) {
        int r = -errno;

        muse_set_error("image %s: %s", driver->image, strerror(-r));
        return r;
    }
    driver->is_file = S_ISREG(st.st_mode);
    driver->is_public = access_image_is_public(driver->image, st.st_mode);
    return 0;
}

static int open_readers(struct cramfs_driver *driver)
{
    const unsigned int options = driver->verify_crc ? CRAMFS_OPEN_VERIFY_CRC : 0;
    struct cramfs_error err;
    int r = cramfs_open(driver->fd, options, &driver->fs, &err);

    if (r == 0)
        r = cramfs_check_block_size(driver->fs, &err);
    if (r == 0)
        r = cramfs_open(driver->fd, 0, &driver->fault_fs, &err);
    if (r < 0)
        set_image_error(driver, &err);
    return r;
}

static int make_buffer(struct cramfs_driver *driver)
{
    void *buffer = mmap(NULL, BUFFER_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

    if (buffer == MAP_FAILED)
        return -errno;
    driver->buffer = buffer;
    return 0;
}

/* Also of a driver that was not started to the end. */
static void cramfs_stop(void *user)
{
    struct cramfs_driver *driver = user;
    struct object *object;
    size_t cursor = 0;

    while ((object = idmap_next(&driver->objects, &cursor)) != NULL)
        free(object);
    idmap_done(&driver->objects);
    if (driver->buffer)
        (void)munmap(driver->buffer, BUFFER_BYTES); /* our own mapping: cannot fail */
    driver->fs = cramfs_close(driver->fs);
    driver->fault_fs = cramfs_close(driver->fault_fs);
    fd_close_p(&driver->fd);
}

static int cramfs_start(struct muse_driver *muse, void *user)
{
    struct cramfs_driver *driver = user;
    int r;

    muse_driver_set_read_only(muse);
    r = open_image(driver);
    if (r == 0)
        r = open_readers(driver);
    if (r == 0)
        r = make_buffer(driver);
    if (r < 0)
        cramfs_stop(driver);
    return r;
}

/* ---- open and release ---- */

/* Unique in an image: an inode's number is that of its data, and files of other sizes may begin
 * with the same. Sizes have 24 bits, numbers less than 40. */
static uint64_t key_of(const struct cramfs_inode *inode)
{
    return inode->ino << 24 | inode->size_bytes;
}

static int get_object(struct cramfs_driver *driver, const struct cramfs_inode *inode,
                      struct object **ret_object)
{
    const uint64_t key = key_of(inode);
    struct object *object = idmap_get(&driver->objects, key);
    int r;

    if (!object) {
        CLEAN(free_p) struct object *made = calloc(1, sizeof(*made));

        if (!made)
            return -ENOMEM;
        made->key = key;
        made->inode = *inode;
        r = idmap_put(&driver->objects, key, made);
        if (r < 0)
            return r;
        object = TAKE(made);
    }
    *ret_object = object;
    return 0;
}

static void cramfs_object_gone(void *user, uint64_t key, void *object)
{
    struct cramfs_driver *driver = user;

    (void)object;
    free(idmap_take(&driver->objects, key));
}

/* All of the file as ranges of the image, or nothing. What cannot be read now is left to faults,
 * which then name the damage. */
static void find_extents(const struct cramfs_driver *driver, const struct cramfs_inode *inode,
                         struct open_file *file)
{
    uint32_t block = 0;

    while (block < inode->n_blocks && file->n_extents < RUNS_MAX) {
        uint64_t left = inode->size_bytes - (uint64_t)block * CRAMFS_BLOCK_SIZE;
        uint64_t image_offset;
        uint64_t n_bytes;
        uint32_t n_blocks;

        if (cramfs_direct_run(driver->fs, inode, block, &image_offset, &n_blocks, NULL) < 0 ||
            n_blocks == 0)
            break;
        n_bytes = (uint64_t)n_blocks * CRAMFS_BLOCK_SIZE;
        file->extents[file->n_extents++] =
            (struct muse_extent){.object_offset = (uint64_t)block * CRAMFS_BLOCK_SIZE,
                                 .length = n_bytes < left ? n_bytes : left,
                                 .fd = driver->fd,
                                 .fd_offset = image_offset};
        block += n_blocks;
    }
    if (block < inode->n_blocks)
        file->n_extents = 0;
}

static struct muse_attr attr_of(const struct cramfs_inode *inode)
{
    return (struct muse_attr){.size = inode->size_bytes,
                              .mode = inode->mode,
                              .inode = inode->ino,
                              .uid = inode->uid,
                              .gid = inode->gid,
                              .nlink = 1};
}

static bool may_see_image(const struct cramfs_driver *driver, const struct muse_open_args *args)
{
    return driver->is_file && (driver->is_public || args->uid == 0 || args->uid == geteuid());
}

static int cramfs_file_open(void *user, const struct muse_open_args *args,
                            struct muse_open_result *ret)
{
    struct cramfs_driver *driver = user;
    CLEAN(free_p) struct open_file *file = NULL;
    struct cramfs_inode inode;
    struct object *object;
    int r = access_open(driver->fs, driver->image, args, &inode);

    if (r < 0)
        return r;
    file = calloc(1, sizeof(*file));
    if (!file)
        return -ENOMEM;
    r = get_object(driver, &inode, &object);
    if (r < 0)
        return r;
    file->driver = driver;
    file->object = object;
    file->may_see_image = may_see_image(driver, args);
    find_extents(driver, &inode, file);
    ret->object_key = object->key;
    ret->object = object;
    ret->attr = attr_of(&inode);
    ret->extents = file->n_extents > 0 ? file->extents : NULL;
    ret->n_extents = file->n_extents;
    ret->file_private = TAKE(file);
    return 0;
}

static void cramfs_release(void *user, struct muse_driver_file *file)
{
    (void)user;
    free(file->private_data);
}

/* ---- names ---- */

static int cramfs_getattr_path(void *user, const struct muse_open_args *args, struct muse_attr *ret)
{
    struct cramfs_driver *driver = user;
    struct cramfs_inode inode;
    int r = access_find(driver->fs, driver->image, args, &inode);

    if (r == 0)
        *ret = attr_of(&inode);
    return r;
}

struct listing {
    struct muse_dir *dir;
    uint64_t n_skip;
    uint64_t n_done;
};

static int list_entry(void *arg, const char *name, const struct cramfs_inode *inode)
{
    struct listing *listing = arg;

    if (listing->n_skip > 0) {
        listing->n_skip--;
        return 0;
    }
    return muse_dir_add(listing->dir, name, inode->mode, inode->ino, ++listing->n_done) ? 0 : 1;
}

static int cramfs_readdir(void *user, const struct muse_open_args *args, uint64_t cursor,
                          struct muse_dir *dir)
{
    struct cramfs_driver *driver = user;
    struct listing listing = {.dir = dir, .n_skip = cursor, .n_done = cursor};
    struct cramfs_inode inode;
    struct cramfs_error err;
    int r = access_find(driver->fs, driver->image, args, &inode);

    if (r < 0)
        return r;
    if (!access_may_list(args, &inode))
        return -EACCES;
    r = cramfs_list(driver->fs, &inode, list_entry, &listing, &err);
    if (r < 0)
        set_image_error(driver, &err);
    return r < 0 ? r : 0;
}

static int cramfs_readlink_path(void *user, const struct muse_open_args *args, char *ret_target,
                                size_t size)
{
    struct cramfs_driver *driver = user;
    struct muse_open_args as_link = *args;
    char target[CRAMFS_BLOCK_SIZE];
    struct cramfs_inode inode;
    struct cramfs_error err;
    int r;

    as_link.oflags |= O_NOFOLLOW;
    r = access_find(driver->fs, driver->image, &as_link, &inode);
    if (r < 0)
        return r;
    if (!S_ISLNK(inode.mode))
        return -EINVAL;
    r = cramfs_readlink(driver->fs, &inode, target, &err);
    if (r < 0) {
        set_image_error(driver, &err);
        return r;
    }
    return snprintf(ret_target, size, "%s", target) < (int)size ? 0 : -ENAMETOOLONG;
}

static int cramfs_unlink(void *user, const struct muse_open_args *args, int flags)
{
    struct cramfs_driver *driver = user;
    struct muse_open_args as_link = *args;
    struct cramfs_inode inode;
    int r;

    (void)flags;
    as_link.oflags |= O_NOFOLLOW;
    r = access_find(driver->fs, driver->image, &as_link, &inode);
    return r < 0 ? r : -EROFS;
}

static int cramfs_rename(void *user, const struct muse_open_args *args, const char *to,
                         unsigned flags)
{
    (void)to;
    return cramfs_unlink(user, args, (int)flags);
}

/* ---- mapping ---- */

/* generic_file_readonly_mmap_prepare() of Linux */
static int check_readonly(struct muse_vma_desc *desc)
{
    const uint64_t shared_writable = MUSE_VM_SHARED | MUSE_VM_MAYWRITE;

    if ((desc->vm_flags & shared_writable) == shared_writable) {
        muse_set_error("a cramfs image is read-only: no shared mapping that may be written");
        return -EINVAL;
    }
    if (desc->vm_flags & MUSE_VM_MAYSHARE)
        desc->vm_flags &= ~MUSE_VM_MAYWRITE;
    return 0;
}

static int cramfs_mmap_prepare(struct muse_vma_desc *desc)
{
    const struct open_file *file = desc->file->private_data;
    const struct cramfs_driver *driver = file->driver;
    struct populate populate = {.mode = POPULATE_NONE};
    struct context *context;
    int r = check_readonly(desc);

    if (r < 0)
        return r;
    if (file->may_see_image)
        populate = populate_decide(driver->fs, &file->object->inode, desc);
    if (populate.mode == POPULATE_NONE)
        return 0;
    context = calloc(1, sizeof(*context));
    if (!context)
        return -ENOMEM;
    context->populate = populate;
    context->fd = driver->fd;
    desc->mmap_context = context;
    if (populate.mode == POPULATE_PREFIX) {
        desc->vm_flags |= MUSE_VM_MIXEDMAP;
    } else { /* validated here, carried out by the server before complete */
        desc->action = (struct muse_action){
            .type = MUSE_ACTION_REMAP, .fd = driver->fd, .fd_offset = populate.image_offset};
    }
    return 0;
}

static void context_free(const void *context)
{
    free((void *)(uintptr_t)context);
}

static int cramfs_mmap_complete(struct muse_driver_file *file, struct muse_vma *vma,
                                const void *mmap_context)
{
    const struct context *context = mmap_context;
    int r = 0;

    (void)file;
    if (context && context->populate.mode == POPULATE_PREFIX) {
        r = muse_vma_remap(vma, vma->part_start, context->populate.n_pages * MUSE_PAGE_BYTES,
                           context->fd, context->populate.image_offset);
    }
    context_free(context);
    return r;
}

static void cramfs_mmap_abort(const struct muse_driver_file *file, const void *vm_private_data,
                              const void *mmap_context)
{
    (void)file;
    (void)vm_private_data;
    context_free(mmap_context);
}

/* ---- faults ---- */

static int fail_page(struct muse_fault *fault, uint64_t page, const struct cramfs_error *err)
{
    if (page >= fault->first_page + fault->n_needed)
        return 0; /* only read ahead: whoever needs it asks again, and hears it then */
    set_image_error(fault->user, err);
    return muse_fault_fail(fault, page, 1, err->err);
}

/* @n_pages fit the buffer. A damaged page is no obstacle to those around it. */
static int inflate_pages(struct muse_fault *fault, uint64_t first_page, uint32_t n_pages)
{
    const struct cramfs_driver *driver = fault->user;
    const struct object *object = fault->object;
    struct cramfs_error err;
    uint32_t begin = 0; /* of what is in the buffer and not supplied yet */
    int r = 0;

    for (uint32_t i = 0; i < n_pages && r == 0; i++) {
        if (cramfs_read_block(driver->fault_fs, &object->inode, (uint32_t)first_page + i,
                              driver->buffer + (size_t)i * MUSE_PAGE_BYTES, &err) == 0)
            continue;
        if (i > begin) {
            r = muse_fault_supply(fault, first_page + begin,
                                  driver->buffer + (size_t)begin * MUSE_PAGE_BYTES, i - begin);
        }
        if (r == 0)
            r = fail_page(fault, first_page + i, &err);
        begin = i + 1;
    }
    if (r == 0 && n_pages > begin) {
        r = muse_fault_supply(fault, first_page + begin,
                              driver->buffer + (size_t)begin * MUSE_PAGE_BYTES, n_pages - begin);
    }
    return r;
}

static int cramfs_fault(struct muse_fault *fault)
{
    uint32_t n_piece = FIRST_PIECE_PAGES;
    uint32_t done = 0;
    int r = 0;

    while (done < fault->n_pages && r == 0) {
        uint32_t left = fault->n_pages - done;
        uint32_t n = left < n_piece ? left : n_piece;

        r = inflate_pages(fault, fault->first_page + done, n);
        done += n;
        n_piece = PIECE_PAGES;
    }
    return r;
}

/* ---- the program ---- */

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct cramfs_driver *driver = state->input;

    switch (key) {
    case OPTION_VERIFY_CRC:
        driver->verify_crc = true;
        return 0;
    case ARGP_KEY_ARG:
        if (driver->image)
            argp_error(state, "%s: one image only", argument);
        driver->image = argument;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "no image to serve");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int main(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"verify-crc", OPTION_VERIFY_CRC, NULL, 0,
         "Read all of the image before serving it and check its checksum", 1},
        {0},
    };
    static const struct argp argp = {
        .options = options,
        .parser = parse_option,
        .args_doc = "IMAGE",
        .doc = "Serve the regular files of a cramfs image as cramfs/PATH.",
    };
    static const struct muse_driver_ops ops = {
        MUSE_DRIVER_OPS,
        .name = "cramfs",
        .version = "0.1.0",
        .argp = &argp,
        .start = cramfs_start,
        .stop = cramfs_stop,
        .open = cramfs_file_open,
        .release = cramfs_release,
        .mmap_prepare = cramfs_mmap_prepare,
        .mmap_complete = cramfs_mmap_complete,
        .mmap_abort = cramfs_mmap_abort,
        .fault = cramfs_fault,
        .object_gone = cramfs_object_gone,
        .getattr_path = cramfs_getattr_path,
        .readdir = cramfs_readdir,
        .readlink = cramfs_readlink_path,
        .unlink = cramfs_unlink,
        .rename = cramfs_rename,
    };
    struct cramfs_driver driver = {.fd = -1};

    return muse_driver_main(argc, argv, &ops, &driver);
}
