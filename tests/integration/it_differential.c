/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Muse against the kernel: the same random calls on an object and on a plain file of the same
 * bytes, each in a window of its own. After every step the results are compared (errno, place,
 * signal and si_code, byte), now and then everything: each page's rights and offset in
 * /proc/self/maps and in `musectl maps`, each byte of both windows, each byte of both files.
 *
 * Two windows are tried: one in the arena, where unmapped addresses are reserved, so that the
 * si_code of a SIGSEGV there is SEGV_ACCERR instead of SEGV_MAPERR; and one outside, where nothing
 * differs but that hints are not followed (and the driver fills the pages, for a change). Shared
 * read-only mappings are private ones for the kernel (docs/architecture.md), and shown as shared by
 * musectl.
 *
 * MUSE_SEED repeats a run, MUSE_STEPS makes it longer.
 */
#include <errno.h>
#include <inttypes.h>
#include <muse/muse.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <check.h>

#include "common/base/linux_abi.h"
#include "common/base/own.h"
#include "tests/support/client.h"
#include "tests/support/kernel.h"
#include "tests/support/unit.h"

#define WINDOW        64u /* pages */
#define FILE_PAGES    40u
#define FILE_BYTES    ((FILE_PAGES - 1) * PAGE + 1000)
#define STEPS         25000u /* in each window */
#define ALL_EVERY     100u
#define MAPS_EVERY    300u
#define WRITTEN_EVERY 500u
/* Where nobody else maps: above all programs and heaps, inside what ThreadSanitizer can follow. */
#define KERNEL_AT     UINT64_C(0x566000000000)
#define OUTSIDE_AT    UINT64_C(0x567000000000)
#define BELOW_ARENA   UINT64_C(0x40000000) /* so far below the first mapping nobody is placed */

static const char *const extents[] = {"muse-file --writable %s", NULL};
static const char *const filled[] = {"muse-file --writable --mode fill %s", NULL};

/* One of the two sides. */
struct side {
    char *window;
    int fd_ro, fd_rw;                    /* the kernel's */
    struct muse_file *file_ro, *file_rw; /* Muse's */
};

struct play {
    struct rig rig;
    struct muse *muse;
    struct side kernel, ours;
    bool in_arena;
    uint64_t seed;
    unsigned step;
    char what[160]; /* the step, for messages */
};

static size_t below(struct play *play, size_t n)
{
    return unit_random(&play->seed) % n;
}

/* ---- calls on both sides ---- */

struct map_call {
    uint64_t at; /* bytes from the window's start; UINT64_MAX: no hint */
    size_t len;
    int prot, flags;
    bool rw;
    off_t offset;
};

/* Return: -errno, or the place relative to the window. */
static int64_t map_kernel(const struct side *side, const struct map_call *call)
{
    char *got = kernel_mmap(side->window + call->at, call->len, call->prot, call->flags,
                            call->rw ? side->fd_rw : side->fd_ro, call->offset);

    return got == MAP_FAILED ? -errno : (int64_t)((uintptr_t)got - (uintptr_t)side->window);
}

static int64_t map_ours(struct muse *muse, const struct side *side, const struct map_call *call)
{
    struct muse_file *file = call->rw ? side->file_rw : side->file_ro;
    char *got = muse_mmap(muse, side->window + call->at, call->len, call->prot, call->flags,
                          (call->flags & MAP_ANONYMOUS) ? NULL : file, call->offset);

    return got == MAP_FAILED ? -errno : (int64_t)((uintptr_t)got - (uintptr_t)side->window);
}

static bool is_outside(int64_t place, size_t len)
{
    return place < 0 || place + (int64_t)len > (int64_t)(WINDOW * PAGE);
}

static void differ(const struct play *play, const char *kernel, const char *ours)
{
    ck_abort_msg("step %u, %s: the kernel: %s, Muse: %s (%s)", play->step, play->what, kernel, ours,
                 muse_last_error_text());
}

static void compare_results(const struct play *play, int64_t kernel, int64_t ours)
{
    char texts[2][32];
    const int64_t results[2] = {kernel, ours};

    if (kernel == ours)
        return;
    for (unsigned i = 0; i < 2; i++) {
        if (results[i] < 0 && results[i] > -4096)
            (void)snprintf(texts[i], sizeof(texts[i]), "%s", strerrorname_np((int)-results[i]));
        else
            (void)snprintf(texts[i], sizeof(texts[i]), "at %#" PRIx64, (uint64_t)results[i]);
    }
    differ(play, texts[0], texts[1]);
}

/* A hint that was taken already puts both somewhere else: that is all that can be compared. */
static void compare_places(struct play *play, const struct map_call *call, int64_t kernel,
                           int64_t ours)
{
    const bool is_error = (kernel < 0 && kernel > -4096) || (ours < 0 && ours > -4096);

    if (is_error || !is_outside(kernel, call->len) || !is_outside(ours, call->len)) {
        compare_results(play, kernel, ours);
        return;
    }
    ck_assert_int_eq(kernel_munmap(play->kernel.window + kernel, call->len), 0);
    ck_assert_int_eq(muse_munmap(play->muse, play->ours.window + ours, call->len), 0);
}

static void choose_kind(struct play *play, struct map_call *call)
{
    static const struct {
        int prot, type;
    } kinds[] = {
        {PROT_READ, MAP_SHARED},
        {PROT_READ, MAP_PRIVATE},
        {PROT_READ | PROT_WRITE, MAP_PRIVATE},
        {PROT_READ | PROT_WRITE, MAP_SHARED},
        {PROT_NONE, MAP_SHARED},
        {PROT_READ | PROT_EXEC, MAP_PRIVATE},
    };
    const size_t kind = below(play, N_ELEMENTS(kinds));

    call->prot = kinds[kind].prot;
    call->flags = kinds[kind].type;
    call->rw = below(play, 2);
    if (below(play, 4) == 0)
        call->flags |= MAP_ANONYMOUS;
    /* Of a private writable mapping the kernel makes all copies at once when it populates; whether
     * later writes to the file are seen there mmap(2) leaves open. */
    if (below(play, 6) == 0 && kind != 2)
        call->flags |= MAP_POPULATE;
    if (below(play, 8) == 0)
        call->flags |= MAP_NORESERVE;
}

static void step_map(struct play *play)
{
    const size_t page = below(play, WINDOW);
    const size_t n_pages = 1 + below(play, WINDOW - page < 24 ? WINDOW - page : 24);
    struct map_call call = {.at = page * PAGE, .len = n_pages * PAGE};
    const size_t how = below(play, 10);

    choose_kind(play, &call);
    call.offset = (off_t)(below(play, FILE_PAGES + 8) * PAGE);
    if (how < 5 || (!play->in_arena && how < 8))
        call.flags |= MAP_FIXED;
    else if (how < 8)
        call.flags |= 0; /* a hint */
    else
        call.flags |= MAP_FIXED_NOREPLACE;
    switch (below(play, 40)) { /* a mistake now and then */
    case 0:
        call.len = 0;
        break;
    case 1:
        call.offset += 512;
        break;
    case 2:
        call.flags |= MAP_FIXED;
        call.at += 100;
        break;
    case 3:
        call.len -= 77; /* no mistake: rounded up */
        break;
    case 4:
        call.flags &= ~MAP_TYPE;
        break;
    default:
        break;
    }
    if (!play->in_arena && !(call.flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)))
        call.flags |= MAP_FIXED;
    (void)snprintf(play->what, sizeof(play->what),
                   "mmap(%#" PRIx64 ", %#zx, %d, %#x, %s, %#" PRIx64 ")", call.at, call.len,
                   call.prot, (unsigned)call.flags, call.rw ? "rw" : "ro", (uint64_t)call.offset);
    compare_places(play, &call, map_kernel(&play->kernel, &call),
                   map_ours(play->muse, &play->ours, &call));
}

static void step_unmap(struct play *play)
{
    size_t at = below(play, WINDOW) * PAGE;
    size_t len = (1 + below(play, 12)) * PAGE;
    int64_t kernel, ours;

    if (at + len > WINDOW * PAGE)
        len = WINDOW * PAGE - at;
    if (below(play, 20) == 0)
        at += 8;
    if (below(play, 20) == 0)
        len = below(play, 2) ? 0 : len - 5;
    (void)snprintf(play->what, sizeof(play->what), "munmap(%#zx, %#zx)", at, len);
    kernel = kernel_munmap(play->kernel.window + at, len) < 0 ? -errno : 0;
    ours = muse_munmap(play->muse, play->ours.window + at, len) < 0 ? -errno : 0;
    compare_results(play, kernel, ours);
}

static void compare_probes(const struct play *play, struct probe kernel, struct probe ours)
{
    char texts[2][64];

    if (play->in_arena && kernel.signal == SIGSEGV && kernel.code == SEGV_MAPERR)
        kernel.code = SEGV_ACCERR;
    if (kernel.signal == ours.signal && kernel.code == ours.code && kernel.byte == ours.byte)
        return;
    (void)snprintf(texts[0], sizeof(texts[0]), "signal %d code %d byte %#x", kernel.signal,
                   kernel.code, kernel.byte);
    (void)snprintf(texts[1], sizeof(texts[1]), "signal %d code %d byte %#x", ours.signal, ours.code,
                   ours.byte);
    differ(play, texts[0], texts[1]);
}

/* Pages of both sides, byte by byte as far as they can be read. */
static void compare_bytes(struct play *play, const char *kernel, const char *ours, size_t n_pages)
{
    for (size_t page = 0; page < n_pages; page++, kernel += PAGE, ours += PAGE) {
        const struct probe probe = probe_read(kernel);

        (void)snprintf(play->what + sizeof(play->what) / 2, sizeof(play->what) / 2,
                       ", page %zu afterwards", page);
        compare_probes(play, probe, probe_read(ours));
        for (size_t i = 0; probe.signal == 0 && i < PAGE; i++) {
            if (kernel[i] != ours[i])
                ck_abort_msg("step %u, %s, byte %#zx: the kernel has %#x, Muse %#x", play->step,
                             play->what, i, (unsigned char)kernel[i], (unsigned char)ours[i]);
        }
    }
}

static int64_t result_of(int r)
{
    return r < 0 ? -errno : 0;
}

/* Some pages of the window; now and then not aligned, or empty, or beyond the window's mappings. */
static void choose_range(struct play *play, size_t n_max, size_t *ret_at, size_t *ret_len)
{
    const size_t page = below(play, WINDOW);
    const size_t room = WINDOW - page < n_max ? WINDOW - page : n_max;

    *ret_at = page * PAGE;
    *ret_len = (1 + below(play, room)) * PAGE;
    if (below(play, 40) == 0)
        *ret_at += 8;
    if (below(play, 20) == 0)
        *ret_len = below(play, 2) ? 0 : *ret_len - 5;
}

static void step_protect(struct play *play)
{
    static const int prots[] = {PROT_NONE,
                                PROT_READ,
                                PROT_READ,
                                PROT_READ | PROT_WRITE,
                                PROT_READ | PROT_WRITE,
                                PROT_READ | PROT_EXEC,
                                PROT_WRITE,
                                0x40};
    const int prot = prots[below(play, N_ELEMENTS(prots))];
    size_t at, len;
    int64_t kernel;

    choose_range(play, 12, &at, &len);
    (void)snprintf(play->what, sizeof(play->what), "mprotect(%#zx, %#zx, %d)", at, len, prot);
    kernel = result_of(kernel_mprotect(play->kernel.window + at, len, prot));
    compare_results(play, kernel,
                    result_of(muse_mprotect(play->muse, play->ours.window + at, len, prot)));
}

static void step_advise(struct play *play)
{
    static const int advices[] = {
        MADV_DONTNEED,       MADV_DONTNEED, MADV_DONTNEED,   MADV_RANDOM,     MADV_SEQUENTIAL,
        MADV_NORMAL,         MADV_WILLNEED, MADV_COLD,       MADV_DONTDUMP,   MADV_POPULATE_READ,
        MADV_POPULATE_WRITE, MADV_DODUMP,   MADV_WIPEONFORK, MADV_KEEPONFORK, 4711};
    const int advice = advices[below(play, N_ELEMENTS(advices))];
    size_t at, len;
    int64_t kernel;

    choose_range(play, 16, &at, &len);
    (void)snprintf(play->what, sizeof(play->what), "madvise(%#zx, %#zx, %d)", at, len, advice);
    kernel = result_of(kernel_madvise(play->kernel.window + at, len, advice));
    compare_results(play, kernel,
                    result_of(muse_madvise(play->muse, play->ours.window + at, len, advice)));
}

struct remap_call {
    size_t at, old_len, new_len, to;
    int flags;
};

static int64_t remap_kernel(const struct side *side, const struct remap_call *call)
{
    char *got = kernel_mremap(side->window + call->at, call->old_len, call->new_len, call->flags,
                              side->window + call->to);

    return got == MAP_FAILED ? -errno : (int64_t)((uintptr_t)got - (uintptr_t)side->window);
}

static int64_t remap_ours(struct muse *muse, const struct side *side, const struct remap_call *call)
{
    char *got = muse_mremap(muse, side->window + call->at, call->old_len, call->new_len,
                            call->flags, side->window + call->to);

    return got == MAP_FAILED ? -errno : (int64_t)((uintptr_t)got - (uintptr_t)side->window);
}

/*
 * Where one mapping ends and the next begins is not the same on both sides: neighbours with private
 * copies of their own are two for the kernel, one for Muse. It matters where a range that changes
 * its size must lie in one mapping; so those start from one page.
 */
static void choose_remap(struct play *play, struct remap_call *call)
{
    const size_t n_pages = 1 + below(play, 8);

    *call = (struct remap_call){.at = below(play, WINDOW) * PAGE,
                                .old_len = PAGE,
                                .new_len = n_pages * PAGE,
                                .to = below(play, WINDOW - n_pages) * PAGE};
    switch (below(play, 8)) {
    case 0: /* larger, in place or not at all */
        break;
    case 1:
        call->flags = MREMAP_MAYMOVE;
        break;
    case 2: /* smaller */
        call->old_len = n_pages * PAGE;
        call->new_len = PAGE;
        break;
    case 3: /* larger, elsewhere */
        call->flags = MREMAP_MAYMOVE | MREMAP_FIXED;
        break;
    case 4: /* twice */
        call->flags = MREMAP_MAYMOVE | MREMAP_FIXED;
        call->old_len = 0;
        break;
    case 5:
        call->flags = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;
        call->old_len = call->new_len;
        break;
    default: /* as it is, all mappings of the range */
        call->flags = MREMAP_MAYMOVE | MREMAP_FIXED;
        call->old_len = call->new_len;
        break;
    }
    if (call->at + call->new_len > WINDOW * PAGE)
        call->at = WINDOW * PAGE - call->new_len;
    if (below(play, 30) == 0)
        call->flags ^= below(play, 2) ? MREMAP_MAYMOVE : 8;
    if (below(play, 40) == 0)
        call->to += 16;
    if (below(play, 40) == 0)
        call->new_len = below(play, 2) ? 0 : call->new_len - 9;
}

static void step_remap(struct play *play)
{
    struct remap_call call;
    int64_t kernel, ours;

    choose_remap(play, &call);
    (void)snprintf(play->what, sizeof(play->what), "mremap(%#zx, %#zx, %#zx, %d, %#zx)", call.at,
                   call.old_len, call.new_len, call.flags, call.to);
    kernel = remap_kernel(&play->kernel, &call);
    ours = remap_ours(play->muse, &play->ours, &call);
    if (kernel < 0 || ours < 0 || !is_outside(kernel, call.new_len) ||
        !is_outside(ours, call.new_len)) {
        compare_results(play, kernel, ours);
        return;
    }
    compare_bytes(play, play->kernel.window + kernel, play->ours.window + ours,
                  (call.new_len + PAGE - 1) / PAGE);
    ck_assert_int_eq(kernel_munmap(play->kernel.window + kernel, call.new_len), 0);
    ck_assert_int_eq(muse_munmap(play->muse, play->ours.window + ours, call.new_len), 0);
}

static void step_touch(struct play *play)
{
    const size_t at = below(play, WINDOW * PAGE);
    const unsigned char byte = (unsigned char)unit_random(&play->seed);

    if (below(play, 2)) {
        (void)snprintf(play->what, sizeof(play->what), "read(%#zx)", at);
        compare_probes(play, probe_read(play->kernel.window + at),
                       probe_read(play->ours.window + at));
    } else {
        (void)snprintf(play->what, sizeof(play->what), "write(%#zx, %#x)", at, byte);
        compare_probes(play, probe_write(play->kernel.window + at, byte),
                       probe_write(play->ours.window + at, byte));
    }
}

/* ---- everything ---- */

static void compare_windows(struct play *play)
{
    (void)snprintf(play->what, sizeof(play->what), "window");
    compare_bytes(play, play->kernel.window, play->ours.window, WINDOW);
}

static void compare_files(struct play *play)
{
    static unsigned char bytes[2][FILE_PAGES * PAGE];

    (void)snprintf(play->what, sizeof(play->what), "the file afterwards");
    ck_assert_int_eq(pread(play->kernel.fd_ro, bytes[0], sizeof(bytes[0]), 0), FILE_BYTES);
    ck_assert_int_eq(muse_pread(play->ours.file_ro, bytes[1], sizeof(bytes[1]), 0), FILE_BYTES);
    for (size_t i = 0; i < FILE_BYTES; i++) {
        if (bytes[0][i] != bytes[1][i])
            ck_abort_msg("step %u: byte %#zx of the files differs", play->step, i);
    }
}

struct shown {
    char perms[5]; /* "": not mapped */
    uint64_t pgoff;
};

/* @is_anon: private anonymous memory, which has no offset. */
static void show(struct shown *pages, const char *window, const uint64_t range[2],
                 const char *perms, uint64_t pgoff, bool is_anon)
{
    for (size_t page = 0; page < WINDOW; page++) {
        const uint64_t addr = (uintptr_t)window + page * PAGE;

        if (addr < range[0] || addr >= range[1])
            continue;
        (void)snprintf(pages[page].perms, sizeof(pages[page].perms), "%.4s", perms);
        pages[page].pgoff = is_anon ? 0 : pgoff + (addr - range[0]) / PAGE;
    }
}

/* What the kernel says of both windows. Reserved addresses look as anonymous memory without access. */
static void read_kernel_maps(const struct play *play, struct shown *kernel, struct shown *ours)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[512];

    ck_assert_ptr_nonnull(maps);
    while (fgets(line, sizeof(line), maps)) {
        unsigned long long start, end, offset, inode;
        char perms[8];

        /* NOLINTNEXTLINE(cert-err34-c): the kernel's own numbers */
        if (sscanf(line, "%llx-%llx %7s %llx %*s %llu", &start, &end, perms, &offset, &inode) != 5)
            continue;
        show(kernel, play->kernel.window, (uint64_t[]){start, end}, perms, offset / PAGE,
             inode == 0);
        show(ours, play->ours.window, (uint64_t[]){start, end}, perms, offset / PAGE, inode == 0);
    }
    (void)fclose(maps);
}

static bool is_private_anon(json_t *map)
{
    return !json_is_string(json_object_get(map, "object")) &&
           json_string_value(json_object_get(map, "perms"))[3] == 'p';
}

static void read_our_maps(const struct play *play, struct shown *pages)
{
    json_t *spaces = rig_ctl(&play->rig, "spaces");
    json_t *document, *map;
    char command[64];
    size_t i;

    ck_assert_uint_eq(json_array_size(json_entries(spaces)), 1);
    (void)snprintf(command, sizeof(command), "maps %lld",
                   (long long)json_integer_value(
                       json_object_get(json_array_get(json_entries(spaces), 0), "id")));
    document = rig_ctl(&play->rig, command);
    json_array_foreach(json_entries(document), i, map)
    {
        const uint64_t range[] = {(uint64_t)json_integer_value(json_object_get(map, "start")),
                                  (uint64_t)json_integer_value(json_object_get(map, "end"))};

        if (strcmp(json_string_value(json_object_get(map, "state")), "mapped") == 0)
            show(pages, play->ours.window, range, json_string_value(json_object_get(map, "perms")),
                 (uint64_t)json_integer_value(json_object_get(map, "pgoff")), is_private_anon(map));
    }
    json_decref(document);
    json_decref(spaces);
}

static void compare_shown(struct play *play, const struct shown *kernel, const struct shown *ours,
                          const char *where, size_t n_perms)
{
    for (size_t page = 0; page < WINDOW; page++) {
        if (strncmp(kernel[page].perms, ours[page].perms, n_perms) == 0 &&
            kernel[page].pgoff == ours[page].pgoff)
            continue;
        ck_abort_msg("step %u, page %zu in %s: the kernel has %s %" PRIu64 ", Muse %s %" PRIu64,
                     play->step, page, where, kernel[page].perms, kernel[page].pgoff,
                     ours[page].perms, ours[page].pgoff);
    }
}

/* Of pages without access only musectl tells what is mapped and what is reserved. */
static void forget_reserved(struct shown *page)
{
    if (strncmp(page->perms, "---", 3) == 0)
        *page = (struct shown){.pgoff = 0};
}

static void compare_maps(struct play *play, bool ask_musectl)
{
    struct shown kernel[WINDOW] = {0}, ours[WINDOW] = {0}, told[WINDOW] = {0};

    read_kernel_maps(play, kernel, ours);
    for (size_t page = 0; page < WINDOW; page++) /* private for the kernel, see above */
        if (strcmp(kernel[page].perms, "rw-s") == 0)
            ck_assert_str_eq(ours[page].perms, "rw-s");
    if (ask_musectl) {
        read_our_maps(play, told);
        compare_shown(play, kernel, told, "musectl maps", 4);
    }
    for (size_t page = 0; page < WINDOW; page++) {
        forget_reserved(&kernel[page]);
        forget_reserved(&ours[page]);
    }
    compare_shown(play, kernel, ours, "/proc/self/maps", 3);
}

static void compare_all(struct play *play)
{
    compare_windows(play);
    compare_files(play);
    compare_maps(play, play->step % MAPS_EVERY == 0);
}

/* What the driver has written back after fsync. */
static void compare_written(struct play *play)
{
    static unsigned char bytes[2][FILE_PAGES * PAGE];
    char path[128];
    int fd;

    (void)snprintf(play->what, sizeof(play->what), "the driver's file");
    ck_assert_int_eq(muse_fsync(play->ours.file_rw), 0);
    (void)snprintf(path, sizeof(path), "%s/data", play->rig.data);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pread(play->kernel.fd_ro, bytes[0], sizeof(bytes[0]), 0), FILE_BYTES);
    ck_assert_int_eq(pread(fd, bytes[1], sizeof(bytes[1]), 0), FILE_BYTES);
    (void)close(fd);
    for (size_t i = 0; i < FILE_BYTES; i++) {
        if (bytes[0][i] != bytes[1][i])
            ck_abort_msg("step %u: byte %#zx of the driver's file differs", play->step, i);
    }
}

/* ---- the play ---- */

static void make_plain_file(struct side *side)
{
    unsigned char bytes[PAGE];
    char path[64];

    side->fd_rw = memfd_create("plain", MFD_CLOEXEC);
    ck_assert_int_ge(side->fd_rw, 0);
    for (size_t at = 0; at < FILE_BYTES; at += PAGE) {
        const size_t n = FILE_BYTES - at < PAGE ? FILE_BYTES - at : PAGE;

        for (size_t i = 0; i < n; i++)
            bytes[i] = rig_byte(at + i);
        ck_assert_int_eq(pwrite(side->fd_rw, bytes, n, (off_t)at), (ssize_t)n);
    }
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", side->fd_rw);
    side->fd_ro = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(side->fd_ro, 0);
    side->window = (char *)(uintptr_t)KERNEL_AT;
}

static void choose_window(struct play *play)
{
    char *first = client_map_ro(play->muse, "file/data", 1);

    ck_assert_int_eq(muse_munmap(play->muse, first, PAGE), 0);
    play->ours.window = play->in_arena ? first - BELOW_ARENA : (char *)(uintptr_t)OUTSIDE_AT;
}

static unsigned wanted_steps(void)
{
    const char *steps = getenv("MUSE_STEPS");

    return steps ? (unsigned)strtoul(steps, NULL, 10) : STEPS;
}

static void play_in(bool in_arena)
{
    static struct play play;
    const unsigned n_steps = wanted_steps();

    play = (struct play){.in_arena = in_arena, .seed = unit_seed()};
    rig_start(&play.rig, NULL, in_arena ? extents : filled);
    rig_file(&play.rig, "data", FILE_BYTES);
    play.muse = client_connect();
    make_plain_file(&play.kernel);
    choose_window(&play);
    play.ours.file_ro = client_open(play.muse, "file/data", O_RDONLY);
    play.ours.file_rw = client_open(play.muse, "file/data", O_RDWR);
    for (play.step = 1; play.step <= n_steps; play.step++) {
        const size_t kind = below(&play, 16);

        if (kind < 3)
            step_map(&play);
        else if (kind < 4)
            step_unmap(&play);
        else if (kind < 6)
            step_protect(&play);
        else if (kind < 8)
            step_remap(&play);
        else if (kind < 10)
            step_advise(&play);
        else
            step_touch(&play);
        if (play.step % ALL_EVERY == 0)
            compare_all(&play);
        if (play.step % WRITTEN_EVERY == 0)
            compare_written(&play);
    }
    ck_assert_int_eq(kernel_munmap(play.kernel.window, WINDOW * PAGE), 0);
    ck_assert_int_eq(muse_munmap(play.muse, play.ours.window, WINDOW * PAGE), 0);
    compare_all(&play);
    compare_written(&play);
    ck_assert_int_eq(muse_close(play.ours.file_ro), 0);
    ck_assert_int_eq(muse_close(play.ours.file_rw), 0);
    (void)close(play.kernel.fd_ro);
    (void)close(play.kernel.fd_rw);
    muse_disconnect(play.muse);
    rig_stop(&play.rig);
}

START_TEST(random_calls_in_the_arena_do_what_the_kernel_does)
{
    play_in(true);
}
END_TEST

START_TEST(random_calls_outside_the_arena_do_what_the_kernel_does)
{
    play_in(false);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("differential");

    tcase_set_timeout(tcase, 600);
    tcase_add_test(tcase, random_calls_in_the_arena_do_what_the_kernel_does);
    tcase_add_test(tcase, random_calls_outside_the_arena_do_what_the_kernel_does);
    return unit_run("differential", tcase);
}
