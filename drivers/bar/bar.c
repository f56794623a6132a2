/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * muse-bar: the base address registers of a PCI device, the user of io_remap_pfn_range. Its addresses
 * are the bus's: what lies side by side there may be apart in the device's memory, so each mapping
 * is translated, and put together from as many pieces (MUSE_ACTION_IO_REMAP, or verbs).
 *
 *     bar/0    the registers of a DMA engine (device.h), at bus address 0
 *     bar/1    its memory, from bus address 1 MiB on: two banks whose halves are interleaved
 */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <muse/driver.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/own.h"
#include "drivers/bar/device.h"
#include "drivers/common/permission.h"

#define N_BARS      2u
#define BANK_BYTES  ((uint64_t)256 << 10)
#define BAR1_BUS    ((uint64_t)1 << 20)
#define BAR1_BYTES  (4 * BANK_BYTES)
#define TOTAL_BYTES (MUSE_PAGE_BYTES + BAR1_BYTES)

struct bar {
    struct bus bus;         /* both BARs: what may be mapped */
    struct bus memory;      /* BAR 1's part of it: what the device's commands may touch */
    struct range n[N_BARS]; /* bus addresses of each BAR */
    int fd;                 /* owned: the device's memory, sealed */
    struct device device;
};

/* ---- names ---- */

/* Return: the BAR's number; N_BARS: there is none of that name. */
static unsigned find(const char *path)
{
    return strlen(path) == 1 && path[0] >= '0' && path[0] < (char)('0' + N_BARS)
               ? (unsigned)(path[0] - '0')
               : N_BARS;
}

static struct muse_attr attr_of(const struct bar *bar, unsigned n)
{
    return (struct muse_attr){.size = range_len(bar->n[n]),
                              .mode = S_IFREG | 0600,
                              .inode = n + 1,
                              .uid = geteuid(),
                              .nlink = 1};
}

static int bar_open(void *user, const struct muse_open_args *args, struct muse_open_result *ret)
{
    struct bar *bar = user;
    const unsigned n = find(args->path);

    if (n == N_BARS) {
        muse_set_error("bar/%s: the device has BARs 0 to %u", args->path, N_BARS - 1);
        return -ENOENT;
    }
    if (!permission_is_own(args))
        return -EACCES;
    ret->file_private = bar;
    ret->object_key = n + 1;
    ret->attr = attr_of(bar, n);
    return 0;
}

static int bar_getattr_path(void *user, const struct muse_open_args *args, struct muse_attr *ret)
{
    const unsigned n = find(args->path);

    if (args->path[0] == '\0')
        *ret = (struct muse_attr){.mode = S_IFDIR | 0555, .inode = N_BARS + 1, .nlink = 2};
    else if (n == N_BARS)
        return -ENOENT;
    else
        *ret = attr_of(user, n);
    return 0;
}

static int bar_readdir(void *user, const struct muse_open_args *args, uint64_t cursor,
                       struct muse_dir *dir)
{
    (void)user;
    if (args->path[0] != '\0')
        return -ENOTDIR;
    for (uint64_t n = cursor; n < N_BARS; n++) {
        if (!muse_dir_add(dir, (char[]){(char)('0' + n), '\0'}, S_IFREG, n + 1, n + 1))
            break;
    }
    return 0;
}

/* ---- mappings ---- */

/* Linux: pci_mmap_fits() of pci-sysfs.c, and that device memory is not copied. */
static int check(const struct bar *bar, const struct muse_vma_desc *desc)
{
    const struct range bus = bar->n[desc->file->object_key - 1];
    const uint64_t offset = desc->pgoff * MUSE_PAGE_BYTES;

    if (muse_desc_can_cow(desc)) {
        muse_set_error("a BAR is the device's memory, and not copied: MAP_SHARED, please");
        return -EINVAL;
    }
    if (offset >= range_len(bus) || muse_vma_desc_size(desc) > range_len(bus) - offset) {
        muse_set_error("bytes %#" PRIx64 " to %#" PRIx64
                       " are behind the end of the BAR, %#" PRIx64,
                       offset, offset + muse_vma_desc_size(desc), range_len(bus));
        return -EINVAL;
    }
    return 0;
}

/* io_remap_pfn_range_prepare(); what is one piece the server maps by itself. */
static int bar_mmap_prepare(struct muse_vma_desc *desc)
{
    const struct bar *bar = desc->file->private_data;
    const uint64_t n_bytes = muse_vma_desc_size(desc);
    uint64_t offset = 0;
    int r = check(bar, desc);

    if (r < 0)
        return r;
    desc->vm_flags |= MUSE_VM_IO | MUSE_VM_PFNMAP | MUSE_VM_DONTEXPAND | MUSE_VM_DONTDUMP;
    if (bus_translate(&bar->bus,
                      bar->n[desc->file->object_key - 1].start + desc->pgoff * MUSE_PAGE_BYTES,
                      n_bytes, &offset) == n_bytes) {
        desc->action =
            (struct muse_action){.type = MUSE_ACTION_IO_REMAP, .fd = bar->fd, .fd_offset = offset};
    } else {
        desc->mmap_context = desc->file; /* several pieces: complete does it */
    }
    return 0;
}

static int bar_mmap_complete(struct muse_driver_file *file, struct muse_vma *vma,
                             const void *mmap_context)
{
    const struct bar *bar = file->private_data;
    uint64_t bus = bar->n[file->object_key - 1].start + vma->pgoff * MUSE_PAGE_BYTES;
    uint64_t address = vma->part_start;
    int r = 0;

    while (mmap_context && r == 0 && address < vma->part_end) {
        uint64_t offset = 0;
        const uint64_t n = bus_translate(&bar->bus, bus, vma->part_end - address, &offset);

        if (n == 0)
            return -EAGAIN;
        r = muse_vma_remap(vma, address, n, bar->fd, offset);
        address += n;
        bus += n;
    }
    return r;
}

/* ---- start ---- */

static int add(struct bar *bar, struct bus *bus, uint64_t address, uint64_t n_bytes,
               uint64_t offset)
{
    const struct bus_window window = {.bus = range_make(address, address + n_bytes),
                                      .offset = offset};
    int r = bus_add(&bar->bus, window);

    return r == 0 && bus ? bus_add(bus, window) : r;
}

/* Registers first; then four banks, on the bus in the order 0 2 1 3. */
static int lay_out(struct bar *bar)
{
    static const unsigned order[] = {0, 2, 1, 3};
    int r = add(bar, NULL, 0, MUSE_PAGE_BYTES, 0);

    for (unsigned i = 0; i < N_ELEMENTS(order) && r == 0; i++)
        r = add(bar, &bar->memory, BAR1_BUS + i * BANK_BYTES, BANK_BYTES,
                MUSE_PAGE_BYTES + order[i] * BANK_BYTES);
    bar->n[0] = range_make(0, MUSE_PAGE_BYTES);
    bar->n[1] = range_make(BAR1_BUS, BAR1_BUS + BAR1_BYTES);
    return r;
}

static int make_memory(struct bar *bar)
{
    void *memory;

    bar->fd = memfd_create("bar", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (bar->fd < 0 || ftruncate(bar->fd, (off_t)TOTAL_BYTES) < 0 ||
        fcntl(bar->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        return -errno;
    memory = mmap(NULL, TOTAL_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, bar->fd, 0);
    if (memory == MAP_FAILED)
        return -errno;
    bar->device.memory = memory;
    bar->device.registers = memory;
    bar->device.bus = &bar->memory;
    return 0;
}

static void bar_stop(void *user)
{
    struct bar *bar = user;

    device_stop(&bar->device);
    if (bar->device.memory)
        (void)munmap(bar->device.memory, TOTAL_BYTES); /* our own mapping: cannot fail */
    bar->device.memory = NULL;
    fd_close_p(&bar->fd);
}

static int bar_start(struct muse_driver *driver, void *user)
{
    struct bar *bar = user;
    int r = lay_out(bar);

    (void)driver;
    if (r == 0)
        r = make_memory(bar);
    if (r == 0)
        r = device_start(&bar->device);
    if (r < 0)
        bar_stop(bar);
    return r;
}

int main(int argc, char **argv)
{
    static const struct argp argp = {
        NULL, NULL, NULL, "Serves the BARs of a DMA engine, bar/0 and bar/1.", NULL, NULL, NULL};
    static const struct muse_driver_ops ops = {
        MUSE_DRIVER_OPS,
        .name = "bar",
        .version = "0.1.0",
        .argp = &argp,
        .start = bar_start,
        .stop = bar_stop,
        .open = bar_open,
        .mmap_prepare = bar_mmap_prepare,
        .mmap_complete = bar_mmap_complete,
        .getattr_path = bar_getattr_path,
        .readdir = bar_readdir,
    };
    struct bar bar = {.fd = -1};

    return muse_driver_main(argc, argv, &ops, &bar);
}
