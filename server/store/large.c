/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Page caches in large folios: where the kernel allows it, 2 MiB of an object that are read in one
 * go are one folio, which costs a quarter of what 512 pages cost (docs/decisions/0006).
 *
 * A memfd gets large folios only where the administrator has set shmem_enabled, but a tmpfs has a
 * mount option of its own. So the store mounts one for itself: detached, without a place in any
 * namespace, gone with its last file. "advise" because only windows that are filled as a whole
 * shall be large: with "always" a single page would take, and zero, 2 MiB.
 *
 *     store_large_begin   map the window (MADV_HUGEPAGE), populate it: one fault, one folio
 *     ...                 read(2) into it, or let somebody else pwrite
 *     store_large_end     unmap it
 *
 * A file of a tmpfs cannot be sealed, so objects that were first opened for writing stay memfds: a
 * client with a writable fd could truncate the file under all others. For the same reason the
 * window is never touched by the server itself, only by system calls, which say EFAULT where a
 * touch would be SIGBUS: such a client may come later.
 *
 * Owns the mount and the addresses of the window. Called by the fill flow.
 */
#include "server/store/large.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <unistd.h>

#include "common/base/linux_abi.h"
#include "common/base/own.h"

static int mount_tmpfs(void)
{
    static const struct {
        const char *key, *value;
    } options[] = {{"huge", "advise"}, {"size", "0"}, {"nr_inodes", "0"}, {"mode", "0700"}};
    CLEAN(fd_close_p) int context = fsopen("tmpfs", FSOPEN_CLOEXEC);

    if (context < 0)
        return -errno;
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
        if (fsconfig(context, FSCONFIG_SET_STRING, options[i].key, options[i].value, 0) < 0)
            return -errno;
    if (fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        return -errno;
    return fsmount(context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
}

/* Whether the window is mapped as one folio, by the only witness there is: /proc/self/smaps. */
static bool is_one_folio(const struct store *store)
{
    char line[256], start[32];
    static const char field[] = "ShmemPmdMapped:"; /* in KiB */
    bool is_ours = false, is_large = false;
    FILE *file = fopen("/proc/self/smaps", "re");

    if (!file)
        return false;
    (void)snprintf(start, sizeof(start), "%" PRIxPTR "-", (uintptr_t)store->large_slot);
    while (fgets(line, sizeof(line), file)) {
        if (strchr(line, '-') && strncmp(line, start, strlen(start)) == 0)
            is_ours = true;
        else if (is_ours && strncmp(line, field, strlen(field)) == 0) {
            is_large = strtoul(line + strlen(field), NULL, 10) == PAGE_BYTES_HUGE / 1024;
            break;
        }
    }
    (void)fclose(file); /* only read */
    return is_large;
}

static bool probe(struct store *store, bool is_sealed)
{
    struct backing backing;
    bool is_large = false;

    if (backing_new(store, &backing, "probe", PAGE_BYTES_HUGE, PAGE_BYTES_SMALL, is_sealed) < 0)
        return false;
    if (store_large_begin(store, &backing, 0)) {
        is_large = is_one_folio(store);
        store_large_end(store);
    }
    backing_done(&backing);
    return is_large;
}

static uint8_t *reserve_slot(void)
{
    const size_t len = 2 * (size_t)PAGE_BYTES_HUGE;
    uint8_t *area = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    size_t before;

    if (area == MAP_FAILED)
        return NULL;
    before = (size_t)(-(uintptr_t)area & (PAGE_BYTES_HUGE - 1));
    if (before > 0)
        MUST(munmap(area, before) == 0);
    if (before < PAGE_BYTES_HUGE)
        MUST(munmap(area + before + PAGE_BYTES_HUGE, PAGE_BYTES_HUGE - before) == 0);
    return area + before;
}

void large_init(struct store *store)
{
    store->large_slot = reserve_slot();
    if (!store->large_slot)
        return;
    store->cache_mount = mount_tmpfs();
    if (store->cache_mount >= 0 && probe(store, false))
        return;
    fd_close_p(&store->cache_mount);
    if (!probe(store, true))
        large_done(store);
}

void large_done(struct store *store)
{
    fd_close_p(&store->cache_mount);
    if (store->large_slot)
        MUST(munmap(store->large_slot, PAGE_BYTES_HUGE) == 0);
    store->large_slot = NULL;
}

uint8_t *store_large_begin(struct store *store, const struct backing *backing, uint64_t offset)
{
    uint8_t *slot = store->large_slot;

    MUST(offset % PAGE_BYTES_HUGE == 0);
    if (!slot || backing->page_bytes != PAGE_BYTES_SMALL ||
        offset + PAGE_BYTES_HUGE > backing->size_bytes)
        return NULL;
    if (mmap(slot, PAGE_BYTES_HUGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, backing->fd,
             (off_t)offset) == MAP_FAILED)
        return NULL;
    if (madvise(slot, PAGE_BYTES_HUGE, MADV_HUGEPAGE) < 0 ||
        madvise(slot, PAGE_BYTES_HUGE, MADV_POPULATE_WRITE) < 0) {
        store_large_end(store);
        return NULL;
    }
    return slot;
}

void store_large_end(struct store *store)
{
    /* keeps the addresses; cannot fail: it replaces one mapping by one */
    MUST(mmap(store->large_slot, PAGE_BYTES_HUGE, PROT_NONE,
              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == store->large_slot);
}
