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
 *     backing_block_begin   the block's addresses in a window of the file (MADV_HUGEPAGE)
 *     store_populate        one fault, one folio; or ring_populate(), while we do something else
 *     ...                   read(2) into it, or let somebody else pwrite
 *     backing_block_end     the mapping forgets it, the file does not
 *
 * The window is mapped once and only moves when nothing is being filled in it: mmap(2) would wait
 * for a worker that is populating.
 *
 * A file of a tmpfs cannot be sealed, so objects that were first opened for writing stay memfds: a
 * client with a writable fd could truncate the file under all others. For the same reason a
 * window is never touched by the server itself, only by system calls, which say EFAULT where a
 * touch would be SIGBUS: such a client may come later.
 *
 * Owns the mount, and each backing's window. Called by the fill flow.
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

/* Whether the window holds one folio, by the only witness there is: /proc/self/smaps. */
static bool is_one_folio(const uint8_t *window)
{
    char line[256], start[32];
    static const char field[] = "ShmemPmdMapped:"; /* in KiB */
    bool is_ours = false, is_large = false;
    FILE *file = fopen("/proc/self/smaps", "re");

    if (!file)
        return false;
    (void)snprintf(start, sizeof(start), "%" PRIxPTR "-", (uintptr_t)window);
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

static bool probe(const struct store *store, bool is_sealed)
{
    struct backing backing;
    bool is_large = false;
    uint8_t *block;

    if (backing_new(store, &backing, "probe", PAGE_BYTES_HUGE, PAGE_BYTES_SMALL, is_sealed) < 0)
        return false;
    block = backing_block_begin(store, &backing, 0);
    if (block) {
        is_large = store_populate(block) == 0 && is_one_folio(block);
        backing_block_end(&backing, block);
    }
    backing_done(&backing);
    return is_large;
}

void large_init(struct store *store)
{
    store->has_large = true; /* for the probe */
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
    store->has_large = false;
}

/* ---- windows ---- */

/* Addresses aligned as folios are. Return: NULL: no room. */
static uint8_t *reserve(void)
{
    const size_t len = STORE_WINDOW_BYTES + PAGE_BYTES_HUGE;
    uint8_t *area = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    size_t before;

    if (area == MAP_FAILED)
        return NULL;
    before = (size_t)(-(uintptr_t)area & (PAGE_BYTES_HUGE - 1));
    if (before > 0)
        MUST(munmap(area, before) == 0);
    if (before < PAGE_BYTES_HUGE)
        MUST(munmap(area + before + STORE_WINDOW_BYTES, PAGE_BYTES_HUGE - before) == 0);
    return area + before;
}

/* Return: whether the window is there. */
static bool window_move(struct backing *backing, uint64_t offset)
{
    uint8_t *window = backing->window ? backing->window : reserve();

    if (!window)
        return false;
    backing->window = window;
    backing->window_offset = UINT64_MAX; /* until it is mapped */
    if (mmap(window, STORE_WINDOW_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
             backing->fd, (off_t)offset) == MAP_FAILED ||
        madvise(window, STORE_WINDOW_BYTES, MADV_HUGEPAGE) < 0)
        return false;
    backing->window_offset = offset;
    return true;
}

uint8_t *backing_block_begin(const struct store *store, struct backing *backing, uint64_t offset)
{
    const uint64_t start = offset / STORE_WINDOW_BYTES * STORE_WINDOW_BYTES;

    MUST(offset % PAGE_BYTES_HUGE == 0);
    if (!store->has_large || backing->page_bytes != PAGE_BYTES_SMALL ||
        offset + PAGE_BYTES_HUGE > backing->size_bytes)
        return NULL;
    if (!backing->window || backing->window_offset != start) {
        if (backing->n_window_users > 0 || !window_move(backing, start))
            return NULL;
    }
    backing->n_window_users++;
    return backing->window + (offset - start);
}

void backing_block_end(struct backing *backing, uint8_t *block)
{
    MUST(backing->n_window_users > 0);
    (void)madvise(block, PAGE_BYTES_HUGE, MADV_DONTNEED); /* else it would count as ours, too */
    backing->n_window_users--;
}

int store_populate(uint8_t *block)
{
    return madvise(block, PAGE_BYTES_HUGE, MADV_POPULATE_WRITE) < 0 ? -errno : 0;
}

void large_unmap(struct backing *backing)
{
    MUST(backing->n_window_users == 0);
    if (backing->window)
        MUST(munmap(backing->window, STORE_WINDOW_BYTES) == 0);
    backing->window = NULL;
}
