/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * muse-hugetlb: files of huge pages from a pool, as Linux's hugetlbfs. Who maps is promised the pages
 * when the mapping is prepared; what comes to nothing gives them back; who wants none promised
 * (MAP_NORESERVE) gets SIGBUS when the pool is dry. The pool's memory is huge pages of the machine, or
 * ordinary memory where it has none to give; what clients see are pages of the server's page cache.
 *
 *     hugetlb/NAME    made by O_CREAT; a writable mapping makes it as long as it reaches
 *     hugetlb/.pool   text: how many pages there are, are free and are reserved
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

#include "common/base/number.h"
#include "common/base/own.h"
#include "drivers/common/permission.h"
#include "drivers/hugetlb/files.h"

#define STATUS_NAME  ".pool"
#define STATUS_BYTES 128u
#define KEY_STATUS   (UINT64_C(1) << 62) /* one for each opened: what is cached is of its moment */
#define SMALL_PAGES  (HUGE_BYTES / MUSE_PAGE_BYTES)
#define OFFSET_MAX   ((uint64_t)INT64_MAX) /* loff_t */

enum { OPTION_PAGES = 0x2001, OPTION_NO_HUGE };

struct hugetlb {
    struct files files;
    uint64_t n_pages;
    bool no_huge;
    uint64_t next_status;
    unsigned n_held; /* mappings between prepare and complete or abort */
};

/* The one there is: mmap_prepare and vm operations get no user pointer. */
static struct hugetlb hugetlb;

/* What a mapping was promised, from prepare to complete or abort. */
struct promise {
    uint64_t first, n_pages; /* of the file; n_pages 0: nothing */
    struct owner *owner;     /* private: its owner's; else of the file */
};

static struct pool *lock_pool(void)
{
    (void)pthread_mutex_lock(&hugetlb.files.lock);
    return &hugetlb.files.pool;
}

static void unlock_pool(void)
{
    (void)pthread_mutex_unlock(&hugetlb.files.lock);
}

/* ---- open ---- */

static int open_status(const struct muse_open_args *args, struct muse_open_result *ret)
{
    if ((args->oflags & O_ACCMODE) != O_RDONLY)
        return -EACCES;
    ret->object_key = KEY_STATUS + hugetlb.next_status++;
    ret->attr = (struct muse_attr){.size = STATUS_BYTES,
                                   .mode = S_IFREG | 0444,
                                   .inode = KEY_STATUS,
                                   .uid = geteuid(),
                                   .nlink = 1};
    return 0;
}

static int find_or_add(const struct muse_open_args *args, struct huge_file **ret_file)
{
    struct huge_file *file = files_find(&hugetlb.files, args->path);

    if (args->path[0] == '\0')
        return -EISDIR;
    if (!file && !(args->oflags & O_CREAT)) {
        muse_set_error("hugetlb/%s: there is no such file", args->path);
        return -ENOENT;
    }
    if (!file)
        return files_add(&hugetlb.files, args, ret_file);
    if ((args->oflags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL))
        return -EEXIST;
    if (!permission_allows(args, &file->attr, permission_of_open(args->oflags)))
        return -EACCES;
    if ((args->oflags & O_TRUNC) && file->attr.size > 0) {
        muse_set_error("hugetlb/%s: others may have it mapped: ftruncate, not O_TRUNC", args->path);
        return -EOPNOTSUPP;
    }
    *ret_file = file;
    return 0;
}

static int hugetlb_open(void *user, const struct muse_open_args *args, struct muse_open_result *ret)
{
    struct huge_file *file = NULL;
    int r;

    (void)user;
    if (strcmp(args->path, STATUS_NAME) == 0)
        return open_status(args, ret);
    r = find_or_add(args, &file);
    if (r < 0)
        return r;
    file->is_open = true;
    ret->file_private = file;
    ret->object_key = file->key;
    ret->object = file;
    ret->attr = file->attr;
    ret->map_align = HUGE_BYTES;
    return 0;
}

static void hugetlb_object_gone(void *user, uint64_t key, void *object)
{
    (void)user;
    if (key < KEY_STATUS)
        files_gone(&hugetlb.files, object);
}

static int hugetlb_getattr(void *user, struct muse_driver_file *file, struct muse_attr *ret)
{
    const struct huge_file *huge = file->private_data;

    (void)user;
    *ret = huge ? huge->attr
                : (struct muse_attr){.size = STATUS_BYTES, .mode = S_IFREG | 0444, .nlink = 1};
    return 0;
}

/* ---- names ---- */

static int hugetlb_getattr_path(void *user, const struct muse_open_args *args,
                                struct muse_attr *ret)
{
    const struct huge_file *file = files_find(&hugetlb.files, args->path);
    struct muse_open_result status = {.object_key = 0};
    const struct muse_open_args as_reader = {.oflags = O_RDONLY};

    (void)user;
    if (args->path[0] == '\0') {
        *ret = (struct muse_attr){.mode = S_IFDIR | 01777, .inode = UINT64_MAX, .nlink = 2};
        return 0;
    }
    if (strcmp(args->path, STATUS_NAME) == 0) {
        (void)open_status(&as_reader, &status);
        *ret = status.attr;
        return 0;
    }
    if (!file)
        return -ENOENT;
    *ret = file->attr;
    return 0;
}

static int hugetlb_readdir(void *user, const struct muse_open_args *args, uint64_t cursor,
                           struct muse_dir *dir)
{
    struct list *pos;

    (void)user;
    if (args->path[0] != '\0')
        return files_find(&hugetlb.files, args->path) ? -ENOTDIR : -ENOENT;
    list_for_each(pos, &hugetlb.files.named) { /* keys grow: what is behind the cursor is new */
        const struct huge_file *file = CONTAINER_OF(pos, struct huge_file, by_name);

        if (file->key > cursor && !muse_dir_add(dir, file->name, S_IFREG, file->key, file->key))
            return 0;
    }
    if (cursor < KEY_STATUS)
        (void)muse_dir_add(dir, STATUS_NAME, S_IFREG, KEY_STATUS, KEY_STATUS);
    return 0;
}

static int hugetlb_unlink(void *user, const struct muse_open_args *args, int flags)
{
    struct huge_file *file = files_find(&hugetlb.files, args->path);

    (void)user;
    if (!file)
        return -ENOENT;
    if (args->uid != 0 && args->uid != file->attr.uid) /* as in a folder with the sticky bit */
        return -EPERM;
    if (flags & AT_REMOVEDIR)
        return -ENOTDIR;
    files_unlink(&hugetlb.files, file);
    return 0;
}

/* ---- vm operations ---- */

/* Linux: hugetlb_vm_op_open() */
static void huge_vma_open(struct muse_vma *vma)
{
    if (!vma->private_data)
        return;
    (void)lock_pool();
    owner_open(vma->private_data, vma->space_id, vma->id, vma->pgoff / SMALL_PAGES,
               (vma->end - vma->start) / HUGE_BYTES);
    unlock_pool();
}

/* A shared writable mapping that ends behind its file: the file was cut, and has nothing there; or it could
 * not grow for this mapping, and what complete has committed goes back. */
static void close_shared(const struct muse_vma *vma, struct huge_file *file)
{
    const uint64_t end = vma->pgoff * MUSE_PAGE_BYTES + (vma->end - vma->start);

    if (!(vma->vm_flags & MUSE_VM_MAYSHARE) || !(vma->vm_flags & MUSE_VM_WRITE) ||
        end <= file->attr.size)
        return;
    file_pages_cut(lock_pool(), &file->pages, file->attr.size / HUGE_BYTES, end / HUGE_BYTES);
    unlock_pool();
}

/* Linux: hugetlb_vm_op_close() */
static void huge_vma_close(struct muse_vma *vma)
{
    if (!vma->private_data) {
        close_shared(vma, vma->file->private_data);
        return;
    }
    if (owner_close(lock_pool(), vma->private_data, vma->id))
        ((struct huge_file *)vma->file->private_data)->n_owners--;
    unlock_pool();
}

/* Linux: hugetlb_vm_op_split() */
static int huge_vma_may_split(struct muse_vma *vma, uint64_t addr)
{
    (void)vma;
    if (addr % HUGE_BYTES == 0)
        return 0;
    muse_set_error("a mapping of huge pages is cut between two of them");
    return -EINVAL;
}

/* Linux: mremap_to() and its likes refuse what is not aligned. */
static int huge_vma_mremap(struct muse_vma *vma)
{
    if (vma->start % HUGE_BYTES == 0 && vma->end % HUGE_BYTES == 0)
        return 0;
    muse_set_error("a mapping of huge pages lies at one of their borders");
    return -EINVAL;
}

/* A page that was zeros for whoever read it becomes one of the pool's. Linux: hugetlb_fault(), which
 * has it from the first touch on. */
static int huge_vma_page_mkwrite(struct muse_vma *vma, uint64_t page)
{
    uint8_t *bytes;
    int r;

    (void)lock_pool();
    r = files_touch(&hugetlb.files, vma->file->private_data, page / SMALL_PAGES, &bytes);
    unlock_pool();
    if (r < 0)
        muse_set_error("the pool has no page for it, and none was reserved");
    return r;
}

static const struct muse_vm_ops huge_vm_ops = {.name = "hugetlb",
                                               .open = huge_vma_open,
                                               .close = huge_vma_close,
                                               .may_split = huge_vma_may_split,
                                               .page_mkwrite = huge_vma_page_mkwrite,
                                               .mremap = huge_vma_mremap};
static const struct muse_vm_ops *const vm_ops_tables[] = {&huge_vm_ops, NULL};

/* ---- mappings ---- */

/* Linux: hugetlbfs_file_mmap_prepare(), and what get_unmapped_area() looked at before. */
static int check_range(const struct muse_vma_desc *desc)
{
    const uint64_t offset = desc->pgoff * MUSE_PAGE_BYTES;

    if (desc->pgoff > OFFSET_MAX / MUSE_PAGE_BYTES ||
        muse_vma_desc_size(desc) > OFFSET_MAX - offset) {
        muse_set_error("the mapping ends where no file can be");
        return -EINVAL;
    }
    if (offset % HUGE_BYTES != 0 || muse_vma_desc_size(desc) % HUGE_BYTES != 0 ||
        desc->start % HUGE_BYTES != 0) {
        muse_set_error("address, length and offset are multiples of %u", MUSE_HUGE_PAGE_BYTES);
        return -EINVAL;
    }
    if (offset + muse_vma_desc_size(desc) > FILE_PAGES_MAX * HUGE_BYTES) {
        muse_set_error("the mapping ends where no file of this driver can be");
        return -EFBIG;
    }
    return 0;
}

/* Linux: hugetlb_reserve_pages(). With the lock. */
static int promise_take(struct promise *promise, struct huge_file *file,
                        const struct muse_vma_desc *desc)
{
    struct pool *pool = &hugetlb.files.pool;

    if (desc->vm_flags & MUSE_VM_NORESERVE)
        promise->n_pages = 0;
    if (promise->n_pages == 0)
        return 0;
    if (desc->vm_flags & MUSE_VM_MAYSHARE)
        return file_pages_reserve(pool, &file->pages, promise->first, promise->n_pages);
    return owner_new(pool, desc->space_id, promise->first, promise->n_pages, &promise->owner);
}

static int hugetlb_mmap_prepare(struct muse_vma_desc *desc)
{
    struct huge_file *file = desc->file->private_data;
    CLEAN(free_p) struct promise *promise = NULL;
    int r;

    if (!file) /* .pool */
        return 0;
    desc->vm_flags |= MUSE_VM_HUGEPAGE | MUSE_VM_DONTEXPAND;
    desc->vm_ops = &huge_vm_ops;
    r = check_range(desc);
    if (r < 0)
        return r;
    promise = calloc(1, sizeof(*promise));
    if (!promise)
        return -ENOMEM;
    promise->first = desc->pgoff / SMALL_PAGES;
    promise->n_pages = muse_vma_desc_size(desc) / HUGE_BYTES;
    (void)lock_pool();
    r = promise_take(promise, file, desc);
    if (r < 0) {
        muse_set_error("%" PRIu64 " pages are wanted, and %u of the pool's %u are available",
                       promise->n_pages, pool_available(&hugetlb.files.pool),
                       hugetlb.files.pool.n_pages);
    }
    unlock_pool();
    if (r < 0)
        return r;
    hugetlb.n_held++;
    desc->private_data = promise->owner;
    desc->mmap_context = TAKE(promise);
    return 0;
}

static void promise_drop(struct promise *promise, struct huge_file *file)
{
    struct pool *pool = lock_pool();

    if (promise->owner)
        owner_abort(pool, promise->owner);
    else if (promise->n_pages > 0)
        file_pages_release(pool, &file->pages, promise->first, promise->n_pages);
    unlock_pool();
    hugetlb.n_held--;
    free(promise);
}

static void promise_keep(struct promise *promise, struct huge_file *file, uint64_t vma_id)
{
    struct pool *pool = lock_pool();

    if (promise->owner) {
        owner_made(promise->owner, vma_id);
        file->n_owners++;
    } else if (promise->n_pages > 0) {
        file_pages_commit(pool, &file->pages, promise->first, promise->n_pages);
    }
    unlock_pool();
    hugetlb.n_held--;
    free(promise);
}

/* Linux: hugetlb_file_mmap_complete() */
static int hugetlb_mmap_complete(struct muse_driver_file *sdk_file, struct muse_vma *vma,
                                 const void *context)
{
    const uint64_t end = vma->pgoff * MUSE_PAGE_BYTES + (vma->end - vma->start);
    struct promise *promise = (struct promise *)(uintptr_t)context;
    struct huge_file *file = sdk_file->private_data;
    int r = 0;

    if (!file)
        return 0;
    if ((vma->vm_flags & MUSE_VM_WRITE) && end > file->attr.size)
        r = muse_vma_grow(vma, end);
    if (r < 0) { /* close comes, and ends what is an owner's */
        if (promise->owner)
            promise_keep(promise, file, vma->id);
        else
            promise_drop(promise, file);
        return r;
    }
    if ((vma->vm_flags & MUSE_VM_WRITE) && end > file->attr.size)
        file->attr.size = end;
    promise_keep(promise, file, vma->id);
    return 0;
}

static void hugetlb_mmap_abort(const struct muse_driver_file *file, const void *vm_private_data,
                               const void *context)
{
    (void)vm_private_data;
    if (file->private_data)
        promise_drop((struct promise *)(uintptr_t)context, file->private_data);
}

/* For muse-driver-check(1). */
static unsigned hugetlb_debug_held(void *user, char *text, size_t size)
{
    (void)user;
    (void)snprintf(text, size,
                   hugetlb.n_held > 0 ? "what mappings being made were promised" : "nothing");
    return hugetlb.n_held;
}

/* ---- bytes ---- */

static int supply_status(struct muse_fault *fault)
{
    char text[STATUS_BYTES] = "";
    uint8_t page[MUSE_PAGE_BYTES] = {0};
    const struct pool *pool = lock_pool();

    (void)snprintf(text, sizeof(text), "total %u free %u reserved %u page %u memory %s\n",
                   pool->n_pages, pool->n_pages - pool->n_used, pool->n_reserved,
                   MUSE_HUGE_PAGE_BYTES, hugetlb.files.is_huge ? "huge" : "small");
    unlock_pool();
    memcpy(page, text, sizeof(text));
    return muse_fault_supply(fault, 0, page, 1);
}

/* Whether a touch of what is not there takes nothing: the owner of a private mapping has its own pages for
 * what it writes, and reads zeros until then. With the lock. */
static bool is_zeros(const struct huge_file *file, uint64_t page)
{
    return file->n_owners > 0 && !file_pages_is_reserved(&file->pages, page);
}

/* Small pages [first, end) of one huge page. @is_needed: somebody waits for one of them. */
static int supply_part(struct muse_fault *fault, uint64_t first, uint64_t end, bool is_needed)
{
    struct huge_file *file = fault->object;
    uint8_t *bytes;
    int r = 0;

    (void)lock_pool();
    bytes = files_look(&hugetlb.files, file, first / SMALL_PAGES);
    if (!bytes && is_needed && is_zeros(file, first / SMALL_PAGES))
        r = muse_fault_zero(fault, first, end - first);
    else if (!bytes && is_needed)
        r = files_touch(&hugetlb.files, file, first / SMALL_PAGES, &bytes);
    if (bytes)
        r = muse_fault_supply(fault, first, bytes + first % SMALL_PAGES * MUSE_PAGE_BYTES,
                              end - first);
    unlock_pool();
    if (r != -ENOMEM)
        return r;
    muse_set_error("the pool has no page for it, and none was reserved");
    return muse_fault_fail(fault, first, end - first, -ENOMEM);
}

/* On the fault thread. What is only read ahead takes no page from the pool. */
static int hugetlb_fault(struct muse_fault *fault)
{
    const uint64_t end = fault->first_page + fault->n_pages;
    int r = 0;

    if (fault->object_key >= KEY_STATUS)
        return supply_status(fault);
    for (uint64_t page = fault->first_page; page < end && r == 0;) {
        const uint64_t border = (page / SMALL_PAGES + 1) * SMALL_PAGES;
        const uint64_t stop = border < end ? border : end;

        r = supply_part(fault, page, stop, page < fault->first_page + fault->n_needed);
        page = stop;
    }
    return r;
}

/* Bytes [from, to) of one huge page come back. With the lock. */
static int take_back(const struct muse_writeback *writeback, uint64_t from, uint64_t to)
{
    uint8_t *bytes = NULL;
    int r = files_touch(&hugetlb.files, writeback->object, from / HUGE_BYTES, &bytes);

    while (r == 0 && from < to) {
        const ssize_t n = pread(writeback->fd, bytes + from % HUGE_BYTES, to - from, (off_t)from);

        if (n <= 0)
            r = n < 0 ? -errno : -EIO;
        else
            from += (uint64_t)n;
    }
    return r == -ENOMEM ? -ENOSPC : r;
}

/* From memory to memory: it does not wait. */
static int hugetlb_writeback(struct muse_writeback *writeback)
{
    uint64_t at = writeback->first_page * writeback->page_bytes;
    uint64_t end = at + writeback->n_pages * writeback->page_bytes;
    int r = 0;

    if (end > writeback->size_bytes)
        end = writeback->size_bytes;
    (void)lock_pool();
    while (r == 0 && at < end) {
        const uint64_t border = (at / HUGE_BYTES + 1) * HUGE_BYTES;
        const uint64_t stop = border < end ? border : end;

        r = take_back(writeback, at, stop);
        at = stop;
    }
    unlock_pool();
    return r;
}

static int hugetlb_fsync(void *user, uint64_t key, void *object)
{
    (void)user;
    (void)key;
    (void)object;
    return 0; /* it is memory, and as durable as it will be */
}

static int hugetlb_truncate(void *user, struct muse_driver_file *file, uint64_t size)
{
    (void)user;
    return file->private_data ? files_resize(&hugetlb.files, file->private_data, size) : -EINVAL;
}

/* What complete said of the size was only wished for. */
static void hugetlb_resized(void *user, uint64_t key, void *object, uint64_t size)
{
    struct huge_file *file = object;

    (void)user;
    (void)key;
    if (file) /* not .pool */
        file->attr.size = size;
}

static int hugetlb_fallocate(void *user, struct muse_driver_file *file, int mode, uint64_t offset,
                             uint64_t length)
{
    (void)user;
    return file->private_data
               ? files_allocate(&hugetlb.files, file->private_data, mode, offset, length)
               : -EINVAL;
}

/* ---- start ---- */

static int hugetlb_start(struct muse_driver *driver, void *user)
{
    int r = files_init(&hugetlb.files, hugetlb.n_pages, !hugetlb.no_huge);

    (void)driver;
    (void)user;
    if (r < 0) {
        muse_set_error("no memory for a pool of %" PRIu64 " huge pages", hugetlb.n_pages);
    } else if (!hugetlb.no_huge && !hugetlb.files.is_huge) {
        (void)fprintf(stderr,
                      "muse-hugetlb: the machine grants no %" PRIu64
                      " huge pages: the pool is ordinary memory\n",
                      hugetlb.n_pages);
    }
    return r;
}

static void hugetlb_stop(void *user)
{
    (void)user;
    files_done(&hugetlb.files);
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    switch (key) {
    case OPTION_PAGES:
        if (number_parse(arg, 10, POOL_PAGES_MAX, &hugetlb.n_pages) < 0 || hugetlb.n_pages == 0)
            argp_error(state, "--pages=%s: 1 to %u", arg, POOL_PAGES_MAX);
        return 0;
    case OPTION_NO_HUGE:
        hugetlb.no_huge = true;
        return 0;
    case ARGP_KEY_END:
        if (hugetlb.n_pages == 0)
            argp_error(state, "how many --pages?");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int main(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"pages", OPTION_PAGES, "N", 0, "Huge pages of 2 MiB in the pool", 0},
        {"no-huge", OPTION_NO_HUGE, NULL, 0, "Ordinary memory, even where huge pages are granted",
         0},
        {0}};
    static const struct argp argp = {
        options, parse_option, NULL, "Serves files of huge pages from a pool, hugetlb/NAME.",
        NULL,    NULL,         NULL};
    static const struct muse_driver_ops ops = {
        MUSE_DRIVER_OPS,
        .name = "hugetlb",
        .version = "0.1.0",
        .vm_ops = vm_ops_tables,
        .argp = &argp,
        .start = hugetlb_start,
        .stop = hugetlb_stop,
        .open = hugetlb_open,
        .getattr = hugetlb_getattr,
        .mmap_prepare = hugetlb_mmap_prepare,
        .mmap_complete = hugetlb_mmap_complete,
        .mmap_abort = hugetlb_mmap_abort,
        .fault = hugetlb_fault,
        .object_gone = hugetlb_object_gone,
        .writeback = hugetlb_writeback,
        .fsync = hugetlb_fsync,
        .truncate = hugetlb_truncate,
        .resized = hugetlb_resized,
        .fallocate = hugetlb_fallocate,
        .getattr_path = hugetlb_getattr_path,
        .readdir = hugetlb_readdir,
        .unlink = hugetlb_unlink,
        .debug_held = hugetlb_debug_held,
    };

    return muse_driver_main(argc, argv, &ops, NULL);
}
