/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two windows side by side. Owns the server, the plain file and both windows.
 *
 *   page  0 4      private, read and write        a copy of page 1 was written to
 *         4 8      shared, read and write
 *         8 12     shared, of the file opened for reading
 *        12 13     a hole
 *        13 16     private, read only
 *        16 20     anonymous, private             page 17 was written to
 *        20 24     anonymous, shared              page 21 was written to
 *        24 28     private, the end of the file: the last two lie behind it
 *        28 ..     a hole
 */
#include "tests/support/pair.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <check.h>

#include "common/base/own.h"
#include "tests/support/kernel.h"

#define RO (PROT_READ)
#define RW (PROT_READ | PROT_WRITE)

#define WINDOW_BYTES ((size_t)PAIR_PAGES * PAGE)
#define BELOW_FIRST  (UINT64_C(1) << 30) /* so far below the first mapping nobody is placed */

static const char *const drivers[] = {"muse-file --writable %s", NULL};

static void make_plain_file(struct pair *pair)
{
    unsigned char bytes[PAGE];
    char path[64];

    pair->fd_rw = memfd_create("plain", MFD_CLOEXEC);
    ck_assert_int_ge(pair->fd_rw, 0);
    for (size_t at = 0; at < PAIR_FILE_BYTES; at += PAGE) {
        const size_t n = PAIR_FILE_BYTES - at < PAGE ? PAIR_FILE_BYTES - at : PAGE;

        for (size_t i = 0; i < n; i++)
            bytes[i] = rig_byte(at + i);
        ck_assert_int_eq(pwrite(pair->fd_rw, bytes, n, (off_t)at), (ssize_t)n);
    }
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", pair->fd_rw);
    pair->fd_ro = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(pair->fd_ro, 0);
}

void pair_begin(struct pair *pair)
{
    char *first;

    *pair = (struct pair){.fd_ro = -1};
    rig_start(&pair->rig, NULL, drivers);
    rig_file(&pair->rig, "data", PAIR_FILE_BYTES);
    make_plain_file(pair);
    pair->muse = client_connect();
    pair->file_ro = client_open(pair->muse, "file/data", O_RDONLY);
    pair->file_rw = client_open(pair->muse, "file/data", O_RDWR);
    first = client_map_ro(pair->muse, "file/data", 1);
    pair->ours = first - BELOW_FIRST;
    ck_assert_int_eq(muse_munmap(pair->muse, first, PAGE), 0);
    /* holes of the kernel's window are nobody else's */
    pair->kernel = kernel_mmap(NULL, 4 * WINDOW_BYTES, PROT_NONE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ck_assert_ptr_ne(pair->kernel, MAP_FAILED);
    pair->kernel += WINDOW_BYTES;
    ck_assert_int_eq(kernel_munmap(pair->kernel, 2 * WINDOW_BYTES), 0);
}

void pair_end(struct pair *pair)
{
    ck_assert_int_eq(kernel_munmap(pair->kernel - WINDOW_BYTES, 4 * WINDOW_BYTES), 0);
    ck_assert_int_eq(muse_close(pair->file_ro), 0);
    ck_assert_int_eq(muse_close(pair->file_rw), 0);
    (void)close(pair->fd_ro);
    (void)close(pair->fd_rw);
    muse_disconnect(pair->muse);
    rig_stop(&pair->rig);
}

void pair_map(struct pair *pair, const struct pair_map *map)
{
    const bool anonymous = map->flags & MAP_ANONYMOUS;
    struct muse_file *file = map->rw ? pair->file_rw : pair->file_ro;
    const int fd = map->rw ? pair->fd_rw : pair->fd_ro;
    const off_t offset = (off_t)(map->pgoff * PAGE);
    char *kernel = pair->kernel + map->page * PAGE;
    char *ours = pair->ours + map->page * PAGE;

    ck_assert_ptr_eq(kernel_mmap(kernel, map->n_pages * PAGE, map->prot, map->flags | MAP_FIXED,
                                 anonymous ? -1 : fd, offset),
                     kernel);
    ck_assert_ptr_eq(muse_mmap(pair->muse, ours, map->n_pages * PAGE, map->prot,
                               map->flags | MAP_FIXED, anonymous ? NULL : file, offset),
                     ours);
}

void pair_layout(struct pair *pair)
{
    static const struct pair_map maps[] = {
        {0, 4, RW, MAP_PRIVATE, false, 0},
        {4, 4, RW, MAP_SHARED, true, 4},
        {8, 4, RO, MAP_SHARED, false, 8},
        {13, 3, RO, MAP_PRIVATE, false, 1},
        {16, 4, RW, MAP_PRIVATE | MAP_ANONYMOUS, false, 0},
        {20, 4, RW, MAP_SHARED | MAP_ANONYMOUS, false, 0},
        {24, 4, RW, MAP_PRIVATE, false, PAIR_FILE_PAGES - 2},
    };
    static const size_t written[] = {1, 17, 21};

    ck_assert_int_eq(kernel_munmap(pair->kernel, WINDOW_BYTES), 0);
    ck_assert_int_eq(muse_munmap(pair->muse, pair->ours, WINDOW_BYTES), 0);
    for (size_t i = 0; i < N_ELEMENTS(maps); i++)
        pair_map(pair, &maps[i]);
    for (size_t i = 0; i < N_ELEMENTS(written); i++)
        pair_write(pair, "the layout", written[i] * PAGE + 3, (unsigned char)(0xa0 + i));
}

int64_t pair_result(int r)
{
    return r < 0 ? -errno : 0;
}

int64_t pair_place(const char *window, const void *got)
{
    return got == MAP_FAILED ? -errno : (int64_t)((uintptr_t)got - (uintptr_t)window);
}

static const char *result_text(int64_t result, char *buf, size_t size)
{
    if (result < 0 && result > -4096)
        return strerrorname_np((int)-result);
    (void)snprintf(buf, size, "%#" PRIx64, (uint64_t)result);
    return buf;
}

void pair_same(const struct pair *pair, const char *what, int64_t kernel, int64_t ours)
{
    char texts[2][32];

    (void)pair;
    ck_assert_msg(kernel == ours, "%s: the kernel: %s, Muse: %s (%s)", what,
                  result_text(kernel, texts[0], sizeof(texts[0])),
                  result_text(ours, texts[1], sizeof(texts[1])), muse_last_error_text());
}

static void same_probe(const char *what, size_t page, struct probe kernel, struct probe ours)
{
    if (kernel.signal == SIGSEGV && kernel.code == SEGV_MAPERR)
        kernel.code = SEGV_ACCERR;
    ck_assert_msg(kernel.signal == ours.signal && kernel.code == ours.code &&
                      kernel.byte == ours.byte,
                  "%s, page %zu: the kernel: signal %d code %d byte %#x, Muse: %d %d %#x", what,
                  page, kernel.signal, kernel.code, kernel.byte, ours.signal, ours.code, ours.byte);
}

void pair_write(struct pair *pair, const char *what, size_t offset, unsigned char byte)
{
    same_probe(what, offset / PAGE, probe_write(pair->kernel + offset, byte),
               probe_write(pair->ours + offset, byte));
}

/* ---- rights ---- */

typedef char perms_of_pages[PAIR_PAGES][4];

static void note_perms(perms_of_pages pages, const char *window, uint64_t start, uint64_t end,
                       const char *perms)
{
    for (size_t page = 0; page < PAIR_PAGES; page++) {
        const uint64_t addr = (uintptr_t)window + page * PAGE;

        /* what has no access is not told from what is reserved */
        if (addr >= start && addr < end && strncmp(perms, "---", 3) != 0)
            (void)snprintf(pages[page], sizeof(pages[page]), "%.3s", perms);
    }
}

static void compare_perms(const struct pair *pair, const char *what)
{
    perms_of_pages kernel = {{0}}, ours = {{0}};
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[512];

    ck_assert_ptr_nonnull(maps);
    while (fgets(line, sizeof(line), maps)) {
        unsigned long long start, end;
        char perms[8];

        /* NOLINTNEXTLINE(cert-err34-c): the kernel's own numbers */
        if (sscanf(line, "%llx-%llx %7s", &start, &end, perms) != 3)
            continue;
        note_perms(kernel, pair->kernel, start, end, perms);
        note_perms(ours, pair->ours, start, end, perms);
    }
    (void)fclose(maps);
    for (size_t page = 0; page < PAIR_PAGES; page++) {
        ck_assert_msg(strcmp(kernel[page], ours[page]) == 0,
                      "%s, page %zu: the kernel has \"%s\", Muse \"%s\"", what, page, kernel[page],
                      ours[page]);
    }
}

void pair_compare(const struct pair *pair, const char *what)
{
    compare_perms(pair, what);
    for (size_t page = 0; page < PAIR_PAGES; page++) {
        const char *kernel = pair->kernel + page * PAGE;
        const char *ours = pair->ours + page * PAGE;
        const struct probe probe = probe_read(kernel);

        same_probe(what, page, probe, probe_read(ours));
        for (size_t i = 0; probe.signal == 0 && i < PAGE; i++) {
            if (kernel[i] != ours[i])
                ck_abort_msg("%s, page %zu, byte %#zx: the kernel has %#x, Muse %#x", what, page, i,
                             (unsigned char)kernel[i], (unsigned char)ours[i]);
        }
    }
}
