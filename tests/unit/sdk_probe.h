/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The driver that tests/unit/test_sdk.c and test_sdk_vmops.c fork. It does what the path of an
 * opened file, or the page that is asked for, says, and writes one line into a pipe for each hook
 * that ran.
 */
#ifndef MUSE_TESTS_UNIT_SDK_PROBE_H
#define MUSE_TESTS_UNIT_SDK_PROBE_H

#include <errno.h>
#include <fcntl.h>
#include <muse/driver.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE     MUSE_PAGE_BYTES
#define N_PAGES  1024u /* of every object */
#define KEY      42u
#define CACHE_ID 7u

static struct {
    int log_fd;  /* written by the driver */
    int gate_fd; /* a byte lets one deferred hook go on */
    struct muse_driver *driver;
    struct muse_fault *pending;
    pthread_t worker;
    bool has_worker;
} probe;

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    char line[256];
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(line, sizeof(line) - 1, format, args);
    va_end(args);
    line[n++] = '\n';
    (void)!write(probe.log_fd, line, (size_t)n);
}

static void wait_at_gate(void)
{
    char byte;

    (void)!read(probe.gate_fd, &byte, 1);
}

static void *reply_later(void *request)
{
    wait_at_gate();
    muse_set_error("said by the worker");
    muse_reply(request, 0);
    return NULL;
}

static void start_worker(void *(*run)(void *), void *argument)
{
    if (probe.has_worker)
        (void)pthread_join(probe.worker, NULL);
    probe.has_worker = pthread_create(&probe.worker, NULL, run, argument) == 0;
}

static bool path_is(const struct muse_driver_file *file, const char *path)
{
    return strcmp(file->private_data, path) == 0;
}

static int probe_start(struct muse_driver *driver, void *user)
{
    (void)user;
    probe.driver = driver;
    return 0;
}

static void probe_stop(void *user)
{
    (void)user;
    if (probe.has_worker)
        (void)pthread_join(probe.worker, NULL);
    say("stop");
}

static void fds_sent(void *file_private)
{
    say("sent %s", (char *)file_private);
}

static int probe_open(void *user, const struct muse_open_args *args, struct muse_open_result *ret)
{
    static struct muse_extent extents[3];

    (void)user;
    say("open %s %u", args->path, args->uid);
    if (strcmp(args->path, "missing") == 0) {
        muse_set_error("there is no %s", args->path);
        return -ENOENT;
    }
    ret->file_private = strdup(args->path);
    ret->object_key = KEY;
    ret->object = &probe;
    ret->attr = (struct muse_attr){.size = N_PAGES * PAGE, .mode = S_IFREG | 0444, .inode = 7};
    if (strcmp(args->path, "huge") == 0)
        ret->page_bytes = MUSE_HUGE_PAGE_BYTES;
    if (strcmp(args->path, "extents") == 0) {
        extents[0] = (struct muse_extent){.length = PAGE, .fd = probe.log_fd};
        extents[1] = (struct muse_extent){.object_offset = PAGE, .length = PAGE, .fd = -1};
        extents[2] = (struct muse_extent){
            .object_offset = 2 * PAGE, .length = PAGE, .fd = probe.log_fd, .fd_offset = 5};
        ret->extents = extents;
        ret->n_extents = 3;
        ret->extents_sent = fds_sent;
    }
    if (strcmp(args->path, "bad-fd") == 0) {
        extents[0] = (struct muse_extent){.length = PAGE, .fd = 9999};
        ret->extents = extents;
        ret->n_extents = 1;
    }
    if (strcmp(args->path, "defer-open") == 0)
        start_worker(reply_later, muse_request_defer());
    return 0;
}

static void probe_release(void *user, struct muse_driver_file *file)
{
    (void)user;
    say("release %s", (char *)file->private_data);
    free(file->private_data);
}

static void vm_open(struct muse_vma *vma)
{
    say("vm_open %llu", (unsigned long long)vma->id);
}

static void vm_close(struct muse_vma *vma)
{
    say("vm_close %llu [%#llx, %#llx)", (unsigned long long)vma->id, (unsigned long long)vma->start,
        (unsigned long long)vma->end);
}

static int vm_may_split(struct muse_vma *vma, uint64_t addr)
{
    say("may_split %llu %#llx", (unsigned long long)vma->id, (unsigned long long)addr);
    return -EBUSY;
}

static int vm_mprotect(struct muse_vma *vma, uint64_t start, uint64_t end, uint64_t vm_flags)
{
    say("mprotect %llu [%#llx, %#llx) %#llx", (unsigned long long)vma->id,
        (unsigned long long)start, (unsigned long long)end, (unsigned long long)vm_flags);
    return -EPERM;
}

static int vm_mremap(struct muse_vma *vma)
{
    say("mremap %llu [%#llx, %#llx)", (unsigned long long)vma->id, (unsigned long long)vma->start,
        (unsigned long long)vma->end);
    return 0;
}

static void *reply_bytes(void *request)
{
    wait_at_gate();
    muse_reply(request, 3);
    return NULL;
}

/* What it does is said by the offset in the page. */
static int vm_access(struct muse_vma *vma, uint64_t addr, void *buf, int len, int write)
{
    say("access %llu %#llx %d %d", (unsigned long long)vma->id, (unsigned long long)addr, len,
        write);
    memset(buf, 'b', (size_t)len / 2);
    switch (addr % PAGE) {
    case 1: /* counts what it has not filled in */
        return len;
    case 2:
        return len + 1;
    case 3:
        muse_set_error("no such register");
        return -ENXIO;
    case 4:
        start_worker(reply_bytes, muse_request_defer());
        return 0;
    default:
        return len / 2;
    }
}

static const char *vm_name(struct muse_vma *vma)
{
    static char name[101];

    say("name %llu", (unsigned long long)vma->id);
    if (path_is(vma->file, "no-name"))
        return NULL;
    if (path_is(vma->file, "defer-name"))
        start_worker(reply_later, muse_request_defer());
    memset(name, 'n', sizeof(name) - 1);
    return path_is(vma->file, "long-name") ? name : "[rings]";
}

static const struct muse_vm_ops plain_ops = {.name = "plain"};
static const struct muse_vm_ops full_ops = {.name = "full",
                                            .open = vm_open,
                                            .close = vm_close,
                                            .may_split = vm_may_split,
                                            .mprotect = vm_mprotect,
                                            .mremap = vm_mremap,
                                            .access = vm_access,
                                            .vma_name = vm_name};
static const struct muse_vm_ops unlisted_ops = {.name = "unlisted"};
static const struct muse_vm_ops *const all_ops[] = {&plain_ops, &full_ops, NULL};

static int probe_prepare(struct muse_vma_desc *desc)
{
    say("prepare %s", (char *)desc->file->private_data);
    if (path_is(desc->file, "refuse")) {
        muse_set_error("not today");
        return -EPERM;
    }
    if (path_is(desc->file, "positive"))
        return 13;
    if (path_is(desc->file, "enormous"))
        return -5000;
    if (path_is(desc->file, "untouched"))
        return 0;
    if (path_is(desc->file, "unlisted")) {
        desc->vm_ops = &unlisted_ops;
        return 0;
    }
    desc->vm_ops = &full_ops;
    desc->private_data = &probe.driver;
    desc->mmap_context = &probe.log_fd;
    if (path_is(desc->file, "change")) {
        desc->pgoff += 3;
        desc->vm_flags |= MUSE_VM_DONTDUMP;
        desc->page_prot = PROT_NONE;
        desc->action =
            (struct muse_action){.type = MUSE_ACTION_REMAP, .fd = probe.log_fd, .fd_offset = PAGE};
    }
    if (path_is(desc->file, "bad-action"))
        desc->action = (struct muse_action){.type = MUSE_ACTION_REMAP, .fd = 9999};
    if (path_is(desc->file, "defer-prepare"))
        start_worker(reply_later, muse_request_defer());
    return 0;
}

static int probe_complete(struct muse_driver_file *file, struct muse_vma *vma, const void *context)
{
    say("complete %s [%#llx, %#llx)%s", (char *)file->private_data,
        (unsigned long long)vma->part_start, (unsigned long long)vma->part_end,
        context == &probe.log_fd ? "" : " wrong context");
    if (path_is(file, "verbs")) {
        say("remap %d", muse_vma_remap(vma, vma->part_start, PAGE, probe.log_fd, 0));
        say("remap outside %d", muse_vma_remap(vma, vma->part_end, PAGE, probe.log_fd, 0));
        say("prefault %d", muse_vma_prefault(vma, vma->part_start + PAGE, 1));
        say("forward %d", muse_vma_forward(vma, "a/b"));
    }
    if (path_is(file, "many-verbs")) {
        int n = 0, fds[2] = {probe.log_fd, dup(probe.log_fd)};

        while (muse_vma_remap(vma, vma->part_start, PAGE, fds[n % 2], 0) == 0)
            n++;
        say("remapped %d, then %d", n, muse_vma_prefault(vma, vma->part_start, 1));
    }
    if (path_is(file, "many-fds")) {
        int n = 0;

        while (muse_vma_remap(vma, vma->part_start, PAGE, dup(probe.log_fd), 0) == 0)
            n++;
        say("remapped %d, then %d", n, muse_vma_prefault(vma, vma->part_start, 1));
    }
    if (path_is(file, "defer-complete"))
        start_worker(reply_later, muse_request_defer());
    return path_is(file, "complete-fails") ? -EIO : 0;
}

static void probe_abort(const struct muse_driver_file *file, const void *vm_private_data,
                        const void *context)
{
    say("abort %s%s", (const char *)file->private_data,
        vm_private_data == &probe.driver && context == &probe.log_fd ? "" : " wrong pointers");
}

static inline int probe_mmap(struct muse_driver_file *file, struct muse_vma *vma)
{
    say("mmap %s", (char *)file->private_data);
    vma->vm_ops = &full_ops;
    vma->vm_flags |= MUSE_VM_DONTCOPY;
    say("remap %d", muse_vma_remap(vma, vma->start, PAGE, probe.log_fd, 0));
    say("remap again %d", muse_vma_remap(vma, vma->start, PAGE, probe.log_fd, 0));
    return muse_vma_forward(vma, "zero/4K");
}

static void fill_pattern(uint8_t *pages, uint64_t first_page, uint64_t n_pages)
{
    uint64_t *words = (uint64_t *)(void *)pages;

    for (uint64_t i = 0; i < n_pages * PAGE / 8; i++)
        words[i] = first_page * (PAGE / 8) + i;
}

static int supply_pattern(struct muse_fault *fault, uint64_t first_page, uint64_t n_pages)
{
    uint8_t *pages = malloc(n_pages * PAGE);
    int r;

    fill_pattern(pages, first_page, n_pages);
    r = muse_fault_supply(fault, first_page, pages, n_pages);
    free(pages);
    return r;
}

static void *finish_fault(void *unused)
{
    struct muse_fault *fault = probe.pending;

    (void)unused;
    wait_at_gate();
    say("late supply %d", supply_pattern(fault, fault->first_page, fault->n_pages));
    muse_fault_done(fault, 0);
    return NULL;
}

/* What happens depends on the page that is asked for. */
static int probe_fault(struct muse_fault *fault)
{
    switch (fault->first_page) {
    case 100: /* nothing at all */
        return 0;
    case 200: /* what is needed, not the rest; and a page before the run */
        say("beyond the end %d", muse_fault_zero(fault, N_PAGES - 1, 2));
        (void)supply_pattern(fault, 199, 1);
        return supply_pattern(fault, 200, fault->n_needed);
    case 300:
        (void)supply_pattern(fault, 301, 1);
        muse_set_error("the disk is on fire");
        return -EIO;
    case 400:
        probe.pending = fault;
        start_worker(finish_fault, NULL);
        return MUSE_FAULT_PENDING;
    case 500:
        muse_set_error("one bad sector");
        (void)!muse_fault_fail(fault, 501, 1, -ENODATA);
        (void)supply_pattern(fault, 500, 1);
        return supply_pattern(fault, 502, 2);
    case 600:
        say("invalidate from fault %d", muse_invalidate(probe.driver, KEY, 0, 0));
        return muse_fault_zero(fault, 600, fault->n_pages);
    default:
        return supply_pattern(fault, fault->first_page, fault->n_pages);
    }
}

static inline int huge_fault(struct muse_fault *fault)
{
    uint8_t *page = malloc(fault->page_bytes);
    int r;

    memset(page, 0x5a, fault->page_bytes);
    r = muse_fault_supply(fault, fault->first_page, page, 1);
    free(page);
    return r;
}

static void probe_object_gone(void *user, uint64_t key, void *object)
{
    (void)user;
    say("gone %llu%s", (unsigned long long)key, object == &probe ? "" : " wrong object");
}

static inline void *invalidate(void *unused)
{
    (void)unused;
    wait_at_gate();
    say("invalidate unknown %d", muse_invalidate(probe.driver, 1, 0, 0));
    say("invalidated %d", muse_invalidate(probe.driver, KEY, 10, 0));
    return NULL;
}

/* ---- names ---- */

static int probe_getattr_path(void *user, const struct muse_open_args *args,
                              struct muse_attr *ret_attr)
{
    (void)user;
    say("getattr_path %s", args->path);
    *ret_attr = (struct muse_attr){.size = 5, .mode = S_IFREG | 0444};
    return 0;
}

static int probe_readlink(void *user, const struct muse_open_args *args, char *ret_target,
                          size_t size)
{
    (void)user;
    say("readlink %s", args->path);
    (void)snprintf(ret_target, size, "to/%s", args->path);
    return 0;
}

static int probe_readdir(void *user, const struct muse_open_args *args, uint64_t cursor,
                         struct muse_dir *dir)
{
    char name[256];

    (void)user;
    if (strcmp(args->path, "many") != 0) {
        say("readdir %s %llu", args->path, (unsigned long long)cursor);
        return muse_dir_add(dir, "first", S_IFREG, 1, cursor + 1) &&
                       muse_dir_add(dir, "second", S_IFREG, 2, cursor + 2)
                   ? 0
                   : -EIO;
    }
    (void)snprintf(name, sizeof(name), "%0255d", 7);
    for (uint64_t i = cursor; i < 2000 && muse_dir_add(dir, name, 0, i, i + 1); i++)
        ;
    return 0;
}

static int probe_setattr_path(void *user, const struct muse_open_args *args,
                              struct muse_driver_file *file, struct muse_attr_change *change)
{
    (void)user;
    say("setattr %s %s%s %#x %o %u %u %lld %lld", args->path,
        file ? (const char *)file->private_data : "-", args->oflags & O_NOFOLLOW ? " itself" : "",
        change->mask, change->mode, change->uid, change->gid, (long long)change->atime_ns,
        (long long)change->mtime_ns);
    if (strcmp(args->path, "refuse") == 0)
        return -EPERM;
    change->has_object = strcmp(args->path, "known") == 0;
    change->object_key = KEY;
    if (strcmp(args->path, "later") == 0)
        start_worker(reply_later, muse_request_defer());
    return 0;
}

static const struct muse_driver_ops probe_ops = {
    MUSE_DRIVER_OPS,
    .name = "probe",
    .version = "1",
    .vm_ops = all_ops,
    .start = probe_start,
    .stop = probe_stop,
    .open = probe_open,
    .getattr_path = probe_getattr_path,
    .readlink = probe_readlink,
    .readdir = probe_readdir,
    .setattr_path = probe_setattr_path,
    .release = probe_release,
    .mmap_prepare = probe_prepare,
    .mmap_complete = probe_complete,
    .mmap_abort = probe_abort,
    .fault = probe_fault,
    .object_gone = probe_object_gone,
};

#endif
