/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * muse-file: serves the files below some folders as file/PATH. Two ways for the bytes: the server
 * reads them itself from the fd it is given (extents, the default), or this process does, page run
 * by page run (fill). With --writable files may be opened for writing: what clients write comes back by
 * writeback, and flush.c puts it into the file.
 */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <muse/driver.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/base/own.h"
#include "drivers/file/flush.h"
#include "drivers/file/inodes.h"
#include "drivers/file/lookup.h"
#include "drivers/file/names.h"

/* Chosen: the largest run the server asks for, and one huge page. */
#define BUFFER_BYTES (2u << 20)

enum { OPTION_MODE = 0x2001, OPTION_PAGE_SIZE, OPTION_WRITABLE };

struct file_driver {
    struct roots roots;
    struct inodes inodes;
    bool fill;
    bool writable;
    uint64_t page_bytes;
    uint8_t *buffer;         /* owned; the fault thread's, faulted in once */
    struct flusher *flusher; /* owned; NULL: nothing is writable */
};

static int file_start(struct muse_driver *driver, void *user)
{
    struct file_driver *file = user;
    void *buffer;

    if (!file->writable)
        muse_driver_set_read_only(driver);
    inodes_init(&file->inodes, file->writable);
    buffer = mmap(NULL, BUFFER_BYTES, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (buffer == MAP_FAILED)
        return -errno;
    file->buffer = buffer;
    return file->writable ? flusher_start(&file->flusher) : 0;
}

static void file_stop(void *user)
{
    struct file_driver *file = user;

    file->flusher = flusher_stop(file->flusher);
    inodes_done(&file->inodes);
    (void)munmap(file->buffer, BUFFER_BYTES); /* our own mapping: cannot fail */
}

static int refuse_writing(const char *why, bool is_there)
{
    muse_set_error("%s", why);
    return is_there ? -EROFS : -EOPNOTSUPP;
}

/* After the lookup, as open(2) on a file system that is mounted read-only. */
static int check_oflags(const struct file_driver *file, const struct muse_open_args *args,
                        const struct stat *stat)
{
    if ((args->oflags & O_ACCMODE) == O_WRONLY)
        return -EACCES; /* as a mapping needs to read */
    if ((args->oflags & O_ACCMODE) != O_RDONLY && !file->writable)
        return refuse_writing("muse-file serves files read-only unless started with --writable",
                              true);
    if ((args->oflags & O_TRUNC) && (stat->st_size > 0 || !file->writable))
        return refuse_writing("muse-file does not change files: no O_TRUNC", !file->writable);
    return 0;
}

/* The extent has to outlive the hook, until the answer was sent. */
static int add_extent(const struct inode *inode, struct muse_open_result *ret)
{
    struct muse_extent *extent = calloc(1, sizeof(*extent));

    if (!extent)
        return -ENOMEM;
    extent->length = (uint64_t)inode->stat.st_size;
    extent->fd = inode->fd;
    ret->file_private = extent;
    ret->extents = extent;
    ret->n_extents = 1;
    return 0;
}

static int file_open(void *user, const struct muse_open_args *args, struct muse_open_result *ret)
{
    struct file_driver *file = user;
    const bool for_writing = (args->oflags & O_ACCMODE) == O_RDWR;
    CLEAN(fd_close_p) int fd = -1;
    struct inode *inode;
    struct statvfs fs;
    struct stat stat;
    int r =
        lookup_open(&file->roots, args, for_writing && file->writable, file->writable, &fd, &stat);

    if (r == 0)
        r = check_oflags(file, args, &stat);
    if (r < 0)
        return r;
    r = inodes_get(&file->inodes, &fd, for_writing, &stat, &inode);
    if (r < 0)
        return r;
    ret->object_key = inode->key;
    ret->object = inode;
    ret->attr = names_attr(&inode->stat);
    ret->page_bytes = file->page_bytes;
    ret->noexec = fstatvfs(inode->fd, &fs) == 0 && (fs.f_flag & ST_NOEXEC);
    return file->fill || inode->stat.st_size == 0 ? 0 : add_extent(inode, ret);
}

static void file_release(void *user, struct muse_driver_file *open_file)
{
    (void)user;
    free(open_file->private_data);
}

static int file_mmap_prepare(struct muse_vma_desc *desc)
{
    const uint64_t may_write = MUSE_VM_SHARED | MUSE_VM_WRITE;

    if ((desc->vm_flags & may_write) == may_write && (desc->file->oflags & O_ACCMODE) == O_RDONLY)
        return -EACCES;
    if (desc->pgoff > UINT64_MAX / MUSE_PAGE_BYTES - muse_vma_desc_pages(desc))
        return -EOVERFLOW;
    return 0;
}

/* Return: bytes read, fewer than asked only at the end of the file; -errno. */
static ssize_t read_all(int fd, uint8_t *buffer, size_t n_bytes, uint64_t offset)
{
    size_t done = 0;

    while (done < n_bytes) {
        ssize_t n = pread(fd, buffer + done, n_bytes - done, (off_t)(offset + done));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

static int fail_shorter(struct muse_fault *fault, uint64_t first_page, uint64_t n_pages)
{
    muse_set_error("the file has become shorter than the %llu bytes it had when it was opened",
                   (unsigned long long)fault->size_bytes);
    return muse_fault_fail(fault, first_page, n_pages, -EIO);
}

/* Pages that fit the buffer, all inside the object; the last one may reach beyond its end. */
static int fill_pages(struct file_driver *file, struct muse_fault *fault, uint64_t first_page,
                      uint64_t n_pages)
{
    const struct inode *inode = fault->object;
    const uint64_t offset = first_page * fault->page_bytes;
    const uint64_t n_bytes = n_pages * fault->page_bytes;
    const uint64_t left = fault->size_bytes - offset;
    const uint64_t wanted = n_bytes < left ? n_bytes : left;
    const ssize_t n = read_all(inode->fd, file->buffer, wanted, offset);
    uint64_t n_good = n_pages;
    int r = 0;

    if (n < 0) {
        muse_set_error("reading at byte %llu: %s", (unsigned long long)offset, strerror((int)-n));
        return muse_fault_fail(fault, first_page, n_pages, -EIO);
    }
    if ((uint64_t)n < wanted) {
        n_good = (uint64_t)n / fault->page_bytes;
    } else {
        memset(file->buffer + n, 0, n_bytes - (uint64_t)n);
    }
    if (n_good > 0)
        r = muse_fault_supply(fault, first_page, file->buffer, n_good);
    if (r == 0 && n_good < n_pages)
        r = fail_shorter(fault, first_page + n_good, n_pages - n_good);
    return r;
}

/* Readahead was asked for, so the reader is sequential: let the disk start on the next run. */
static void read_ahead(const struct muse_fault *fault)
{
    const struct inode *inode = fault->object;
    const uint64_t n_bytes = fault->n_pages * fault->page_bytes;

    if (fault->n_pages > fault->n_needed) {
        (void)posix_fadvise(inode->fd, (off_t)(fault->first_page * fault->page_bytes + n_bytes),
                            (off_t)n_bytes, POSIX_FADV_WILLNEED); /* only advice */
    }
}

static int file_fault(struct muse_fault *fault)
{
    struct file_driver *file = fault->user;
    const uint64_t step = BUFFER_BYTES / fault->page_bytes;
    int r = 0;

    for (uint64_t done = 0; done < fault->n_pages && r == 0; done += step) {
        const uint64_t left = fault->n_pages - done;

        r = fill_pages(file, fault, fault->first_page + done, left < step ? left : step);
    }
    read_ahead(fault);
    return r;
}

static int file_writeback(struct muse_writeback *writeback)
{
    const struct inode *inode = writeback->object;
    struct file_driver *file = writeback->user;

    if (!inode->is_writable)
        return -EBADF;
    flusher_write(file->flusher, writeback, inode->fd, muse_request_defer());
    return 0;
}

static int file_fsync(void *user, uint64_t object_key, void *object)
{
    const struct inode *inode = object;

    (void)user;
    (void)object_key;
    return inode->is_writable && fsync(inode->fd) < 0 ? -errno : 0;
}

static int file_truncate(void *user, struct muse_driver_file *open_file, uint64_t size)
{
    struct file_driver *file = user;
    struct inode *inode = inodes_find(&file->inodes, open_file->object_key);

    if (!inode || !inode->is_writable)
        return -EBADF;
    if (ftruncate(inode->fd, (off_t)size) < 0)
        return -errno;
    inode->stat.st_size = (off_t)size;
    return 0;
}

static int file_fallocate(void *user, struct muse_driver_file *open_file, int mode, uint64_t offset,
                          uint64_t length)
{
    struct file_driver *file = user;
    struct inode *inode = inodes_find(&file->inodes, open_file->object_key);
    struct stat stat;

    if (!inode || !inode->is_writable)
        return -EBADF;
    if (fallocate(inode->fd, mode, (off_t)offset, (off_t)length) < 0)
        return -errno;
    if (fstat(inode->fd, &stat) == 0)
        inode->stat.st_size = stat.st_size;
    return 0;
}

static int file_getattr(void *user, struct muse_driver_file *open_file, struct muse_attr *attr)
{
    struct file_driver *file = user;
    const struct inode *inode = inodes_find(&file->inodes, open_file->object_key);
    struct stat stat;

    if (!inode)
        return -EBADF;
    if (fstat(inode->fd, &stat) < 0)
        return -errno;
    stat.st_size = inode->stat.st_size;
    *attr = names_attr(&stat);
    return 0;
}

static void file_object_gone(void *user, uint64_t object_key, void *object)
{
    struct file_driver *file = user;

    (void)object;
    inodes_drop(&file->inodes, object_key);
}

static int file_getattr_path(void *user, const struct muse_open_args *args, struct muse_attr *ret)
{
    const struct file_driver *file = user;

    return names_stat(&file->roots, args, ret);
}

static int file_readdir(void *user, const struct muse_open_args *args, uint64_t cursor,
                        struct muse_dir *dir)
{
    const struct file_driver *file = user;

    return names_list(&file->roots, args, cursor, dir);
}

static int file_readlink(void *user, const struct muse_open_args *args, char *ret_target,
                         size_t size)
{
    const struct file_driver *file = user;

    return names_readlink(&file->roots, args, ret_target, size);
}

static int check_writable(const struct file_driver *file)
{
    if (file->writable)
        return 0;
    muse_set_error("muse-file serves files read-only unless started with --writable");
    return -EROFS;
}

static int file_unlink(void *user, const struct muse_open_args *args, int flags)
{
    const struct file_driver *file = user;
    int r = check_writable(file);

    return r < 0 ? r : names_unlink(&file->roots, args, flags);
}

static int file_rename(void *user, const struct muse_open_args *args, const char *to,
                       unsigned flags)
{
    const struct file_driver *file = user;
    int r = check_writable(file);

    return r < 0 ? r : names_rename(&file->roots, args, to, flags);
}

static int file_mkdir(void *user, const struct muse_open_args *args, unsigned mode)
{
    const struct file_driver *file = user;
    struct muse_attr attr;
    int r = check_writable(file);

    if (r < 0) /* what is there already is told first, as by the kernel */
        return names_stat(&file->roots, args, &attr) == 0 ? -EEXIST : r;
    return names_mkdir(&file->roots, args, mode);
}

static int setattr_by_name(struct file_driver *file, const struct muse_open_args *args,
                           struct muse_attr_change *change)
{
    const struct inode *inode;
    struct stat stat;
    int r = names_setattr(&file->roots, args, change, &stat);

    if (r < 0)
        return r;
    inode = inodes_find_stat(&file->inodes, &stat);
    if (inode) {
        change->has_object = true;
        change->object_key = inode->key;
    }
    return 0;
}

static int file_setattr_path(void *user, const struct muse_open_args *args,
                             struct muse_driver_file *open_file, struct muse_attr_change *change)
{
    struct file_driver *file = user;
    const struct inode *inode =
        open_file ? inodes_find(&file->inodes, open_file->object_key) : NULL;
    struct muse_attr attr;
    int r = 0;

    if (open_file && !inode)
        return -EBADF;
    if (!file->writable) { /* what is not there is told first, as by the kernel */
        if (!open_file)
            r = names_stat(&file->roots, args, &attr);
        return r < 0 ? r : check_writable(file);
    }
    return inode ? names_setattr_open(inode->fd, args, change)
                 : setattr_by_name(file, args, change);
}

static void add_root(struct file_driver *file, const char *name, struct argp_state *state)
{
    int r = roots_add(&file->roots, name);

    if (r < 0)
        argp_failure(state, 1, -r, "%s", name);
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct file_driver *file = state->input;

    switch (key) {
    case OPTION_MODE:
        file->fill = strcmp(argument, "fill") == 0;
        if (!file->fill && strcmp(argument, "extents") != 0)
            argp_error(state, "--mode=%s: extents or fill", argument);
        return 0;
    case OPTION_PAGE_SIZE:
        file->page_bytes = strcmp(argument, "2M") == 0 ? MUSE_HUGE_PAGE_BYTES : MUSE_PAGE_BYTES;
        if (file->page_bytes == MUSE_PAGE_BYTES && strcmp(argument, "4K") != 0)
            argp_error(state, "--page-size=%s: 4K or 2M", argument);
        return 0;
    case OPTION_WRITABLE:
        file->writable = true;
        return 0;
    case ARGP_KEY_ARG:
        add_root(file, argument, state);
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "no folder to serve");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int main(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"mode", OPTION_MODE, "MODE", 0,
         "extents: the server reads the files; fill: this driver does", 1},
        {"page-size", OPTION_PAGE_SIZE, "SIZE", 0, "4K or 2M: the page size of all objects", 1},
        {"writable", OPTION_WRITABLE, NULL, 0, "Files may be opened and mapped for writing", 1},
        {0},
    };
    static const struct argp argp = {
        .options = options,
        .parser = parse_option,
        .args_doc = "ROOT...",
        .doc = "Serve the regular files below each ROOT as file/PATH.",
    };
    static const struct muse_driver_ops ops = {
        MUSE_DRIVER_OPS,
        .name = "file",
        .version = "0.1.0",
        .argp = &argp,
        .start = file_start,
        .stop = file_stop,
        .open = file_open,
        .release = file_release,
        .mmap_prepare = file_mmap_prepare,
        .fault = file_fault,
        .object_gone = file_object_gone,
        .getattr = file_getattr,
        .writeback = file_writeback,
        .fsync = file_fsync,
        .truncate = file_truncate,
        .fallocate = file_fallocate,
        .getattr_path = file_getattr_path,
        .readdir = file_readdir,
        .readlink = file_readlink,
        .unlink = file_unlink,
        .rename = file_rename,
        .mkdir = file_mkdir,
        .setattr_path = file_setattr_path,
    };
    struct file_driver file = {.page_bytes = MUSE_PAGE_BYTES};
    int status = muse_driver_main(argc, argv, &ops, &file);

    roots_done(&file.roots);
    return status;
}
