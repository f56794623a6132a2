/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * muse-pseudolock: pseudo-locked cache regions as Linux's resctrl serves them
 * (fs/resctrl/pseudo_lock.c), the driver that needs all three hooks:
 *
 *     mmap_prepare    takes the lock on all groups, checks, and keeps the lock when it accepts
 *     mmap_complete   zeroes the part, maps it, lets go of the lock
 *     mmap_abort      lets go of the lock
 *
 *     pseudolock/GROUP          a region: memory, or a file
 *     pseudolock/remove/GROUP   opening it removes the group: it cannot be mapped any more
 *     pseudolock/status         text: who holds the lock, how many wait
 */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <muse/driver.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/own.h"
#include "drivers/common/permission.h"
#include "drivers/pseudolock/group.h"
#include "drivers/pseudolock/lock.h"

#define GROUPS_MAX   16u
#define STATUS_BYTES MUSE_PAGE_BYTES
#define REMOVE       "remove/"

enum { OPTION_GROUP = 0x2001 };

/* Keys: 1.. the groups, then one for each opened status, as what is cached of one is of its moment. */
#define KEY_STATUS (GROUPS_MAX + 2u)

struct pseudolock {
    struct group groups[GROUPS_MAX];
    unsigned n_groups;
    struct lock lock;
    uint64_t next_status;
};

/* The one there is: vm operations and lock.prepare get no user pointer. */
static struct pseudolock driver;

/* ---- names ---- */

static struct group *find_group(const char *name)
{
    for (unsigned i = 0; i < driver.n_groups; i++) {
        if (strcmp(driver.groups[i].name, name) == 0)
            return &driver.groups[i];
    }
    return NULL;
}

static uint64_t key_of(const struct group *group)
{
    return (uint64_t)(group - driver.groups) + 1;
}

static struct muse_attr attr_of(uint64_t key, uint64_t size_bytes, mode_t mode)
{
    return (struct muse_attr){
        .size = size_bytes, .mode = S_IFREG | mode, .inode = key, .uid = geteuid(), .nlink = 1};
}

static int remove_group(const struct muse_open_args *args, struct muse_open_result *ret)
{
    struct group *group = find_group(args->path + strlen(REMOVE));

    if (!group)
        return -ENOENT;
    if (!permission_is_own(args)) {
        muse_set_error("pseudolock/%s: only root and the driver's user may remove a group",
                       args->path);
        return -EPERM;
    }
    group->is_removed = true;
    ret->object_key = GROUPS_MAX + 1;
    ret->attr = attr_of(ret->object_key, 0, 0400);
    return 0;
}

static int open_group(const struct muse_open_args *args, struct muse_open_result *ret)
{
    struct group *group = find_group(args->path);

    if (!group) {
        muse_set_error("pseudolock/%s: there is no such group", args->path);
        return -ENOENT;
    }
    if (group->is_removed) {
        muse_set_error("pseudolock/%s: the group was removed", args->path);
        return -ENODEV;
    }
    if (!permission_is_own(args)) /* 0600, as the device's node */
        return -EACCES;
    ret->file_private = group;
    ret->object_key = key_of(group);
    ret->attr = attr_of(ret->object_key, group->size_bytes, 0600);
    return 0;
}

static int pseudolock_open(void *user, const struct muse_open_args *args,
                           struct muse_open_result *ret)
{
    (void)user;
    if (strncmp(args->path, REMOVE, strlen(REMOVE)) == 0)
        return remove_group(args, ret);
    if (strcmp(args->path, "status") != 0)
        return open_group(args, ret);
    if ((args->oflags & O_ACCMODE) != O_RDONLY)
        return -EACCES;
    ret->object_key = KEY_STATUS + driver.next_status++;
    ret->attr = attr_of(KEY_STATUS, STATUS_BYTES, 0444);
    return 0;
}

static int pseudolock_getattr_path(void *user, const struct muse_open_args *args,
                                   struct muse_attr *ret)
{
    const struct group *group = find_group(args->path);

    (void)user;
    if (args->path[0] == '\0')
        *ret = (struct muse_attr){.mode = S_IFDIR | 0555, .inode = 1, .nlink = 2};
    else if (strcmp(args->path, "status") == 0)
        *ret = attr_of(KEY_STATUS, STATUS_BYTES, 0444);
    else if (group && !group->is_removed)
        *ret = attr_of(key_of(group), group->size_bytes, 0600);
    else
        return -ENOENT;
    return 0;
}

static int pseudolock_readdir(void *user, const struct muse_open_args *args, uint64_t cursor,
                              struct muse_dir *dir)
{
    (void)user;
    if (args->path[0] != '\0')
        return -ENOENT;
    for (uint64_t i = cursor; i < driver.n_groups; i++) {
        const struct group *group = &driver.groups[i];

        if (!group->is_removed && !muse_dir_add(dir, group->name, S_IFREG, key_of(group), i + 1))
            return 0;
    }
    if (cursor <= driver.n_groups)
        (void)muse_dir_add(dir, "status", S_IFREG, KEY_STATUS, driver.n_groups + 1);
    return 0;
}

/* On the fault thread. */
static int pseudolock_fault(struct muse_fault *fault)
{
    const int owner = atomic_load(&driver.lock.owner);
    const unsigned n_waiting = atomic_load(&driver.lock.n_waiting);
    char text[STATUS_BYTES] = "";

    if (fault->object_key < KEY_STATUS) {
        muse_set_error("a region has no pages of its own: it is mapped directly");
        return -EIO;
    }
    if (owner)
        (void)snprintf(text, sizeof(text), "held by %d, %u waiting\n", owner, n_waiting);
    else
        (void)snprintf(text, sizeof(text), "free\n");
    return muse_fault_supply(fault, 0, text, 1);
}

/* ---- mappings ---- */

/* Where the client's main thread may run. The pidfd tells whether the pid was its own all the time.
 * Return: 0; -ESRCH. */
static int affinity_of(pid_t pid, cpu_set_t *ret_cpus)
{
    CLEAN(fd_close_p) int fd = pidfd_open(pid, 0);
    struct pollfd alive = {.fd = fd, .events = POLLIN};

    CPU_ZERO(ret_cpus);
    if (fd < 0 || sched_getaffinity(pid, sizeof(*ret_cpus), ret_cpus) < 0 ||
        poll(&alive, 1, 0) != 0) {
        muse_set_error("process %d has gone", (int)pid);
        return -ESRCH;
    }
    return 0;
}

/* Linux: pseudo_lock_dev_mremap() */
static int pseudolock_mremap(struct muse_vma *vma)
{
    (void)vma;
    muse_set_error("a pseudo-locked region is not moved");
    return -EINVAL;
}

static const struct muse_vm_ops region_vm_ops = {.name = "pseudo_lock",
                                                 .mremap = pseudolock_mremap};
static const struct muse_vm_ops *const vm_ops_tables[] = {&region_vm_ops, NULL};

/* With the lock. */
static int prepare_locked(struct muse_vma_desc *desc)
{
    const struct group *group = desc->file->private_data;
    cpu_set_t cpus;
    const char *why;
    int r = affinity_of(desc->pid, &cpus);

    if (r < 0)
        return r;
    r = group_check(group, &cpus, desc, &why);
    if (r < 0) {
        muse_set_error("pseudolock/%s: %s", group ? group->name : "?", why);
        return r;
    }
    /* remap_pfn_range_prepare() */
    desc->vm_flags |= MUSE_VM_IO | MUSE_VM_PFNMAP | MUSE_VM_DONTEXPAND | MUSE_VM_DONTDUMP;
    desc->vm_ops = &region_vm_ops;
    return 0;
}

static int pseudolock_mmap_prepare(struct muse_vma_desc *desc)
{
    if (!desc->file->private_data) { /* status: ordinary pages, no lock */
        if (desc->file->object_key >= KEY_STATUS)
            return 0;
        return -ENODEV;
    }
    return lock_prepare(&driver.lock, desc);
}

/* Linux zeroes what is mapped, so that nobody sees what the last one left. */
static int zero(const struct group *group, uint64_t offset, uint64_t n_bytes)
{
    static const char zeros[64 * 1024];
    struct stat stat;

    if (fstat(group->fd, &stat) < 0 || (uint64_t)stat.st_size < offset + n_bytes)
        return -EAGAIN;
    while (n_bytes > 0) {
        const size_t n = n_bytes < sizeof(zeros) ? n_bytes : sizeof(zeros);

        if (pwrite(group->fd, zeros, n, (off_t)offset) != (ssize_t)n)
            return -EAGAIN;
        offset += n;
        n_bytes -= n;
    }
    return 0;
}

static int pseudolock_mmap_complete(struct muse_driver_file *file, struct muse_vma *vma,
                                    const void *mmap_context)
{
    const struct group *group = file->private_data;
    const uint64_t n_bytes = vma->part_end - vma->part_start;
    const uint64_t offset = vma->pgoff * MUSE_PAGE_BYTES;
    int r;

    (void)mmap_context;
    if (!group)
        return 0;
    r = zero(group, offset, n_bytes);
    if (r == 0)
        r = muse_vma_remap(vma, vma->part_start, n_bytes, group->fd, offset);
    lock_release(&driver.lock);
    if (r < 0)
        muse_set_error("pseudolock/%s: its region is shorter than it was", group->name);
    return r < 0 ? -EAGAIN : 0;
}

static void pseudolock_mmap_abort(const struct muse_driver_file *file, const void *vm_private_data,
                                  const void *mmap_context)
{
    (void)vm_private_data;
    (void)mmap_context;
    if (file->private_data)
        lock_release(&driver.lock);
}

/* For muse-driver-check(1). */
static unsigned pseudolock_debug_held(void *user, char *text, size_t size)
{
    const int owner = atomic_load(&driver.lock.owner);

    (void)user;
    (void)snprintf(text, size, owner ? "the lock, for process %d" : "nothing", owner);
    return (owner != 0) + atomic_load(&driver.lock.n_waiting);
}

/* ---- start ---- */

static int make_region(struct group *group)
{
    struct stat stat;

    if (group->size_bytes == 0)
        return 0;
    if (group->path) {
        group->fd = open(group->path, O_RDWR | O_CLOEXEC);
        if (group->fd >= 0 && fstat(group->fd, &stat) == 0 && S_ISREG(stat.st_mode) &&
            (uint64_t)stat.st_size >= group->size_bytes)
            return 0;
        muse_set_error("%s: not a regular file of at least the region's size", group->path);
        return -EINVAL;
    }
    group->fd = memfd_create(group->name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (group->fd < 0 || ftruncate(group->fd, (off_t)group->size_bytes) < 0 ||
        fcntl(group->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        return -errno;
    return 0;
}

static int pseudolock_start(struct muse_driver *muse, void *user)
{
    int r = 0;

    (void)muse;
    (void)user;
    for (unsigned i = 0; i < driver.n_groups && r == 0; i++)
        r = make_region(&driver.groups[i]);
    return r;
}

static void pseudolock_stop(void *user)
{
    (void)user;
    lock_done(&driver.lock);
    for (unsigned i = 0; i < driver.n_groups; i++)
        fd_close_p(&driver.groups[i].fd);
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    const char *why;

    switch (key) {
    case OPTION_GROUP:
        if (driver.n_groups == GROUPS_MAX)
            argp_error(state, "at most %u groups", GROUPS_MAX);
        why = group_parse(arg, &driver.groups[driver.n_groups]);
        if (!why && (find_group(driver.groups[driver.n_groups].name) ||
                     strcmp(driver.groups[driver.n_groups].name, "status") == 0))
            why = "two objects of one name";
        if (why)
            argp_error(state, "--group: %s", why);
        driver.n_groups++;
        return 0;
    case ARGP_KEY_END:
        if (driver.n_groups == 0)
            argp_error(state, "which --group?");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int main(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"group", OPTION_GROUP, "NAME:SIZE:CPUS[:FILE]", 0,
         "A group with a region of SIZE bytes (0: none yet), for tasks that run on CPUS only; the "
         "region is FILE's first bytes, else memory",
         0},
        {0}};
    static const struct argp argp = {
        options, parse_option, NULL, "Serves pseudo-locked regions, pseudolock/GROUP.",
        NULL,    NULL,         NULL};
    static const struct muse_driver_ops ops = {
        MUSE_DRIVER_OPS,
        .name = "pseudolock",
        .version = "0.1.0",
        .vm_ops = vm_ops_tables,
        .argp = &argp,
        .start = pseudolock_start,
        .stop = pseudolock_stop,
        .open = pseudolock_open,
        .mmap_prepare = pseudolock_mmap_prepare,
        .mmap_complete = pseudolock_mmap_complete,
        .mmap_abort = pseudolock_mmap_abort,
        .fault = pseudolock_fault,
        .getattr_path = pseudolock_getattr_path,
        .readdir = pseudolock_readdir,
        .debug_held = pseudolock_debug_held,
    };

    lock_init(&driver.lock, prepare_locked);
    return muse_driver_main(argc, argv, &ops, NULL);
}
