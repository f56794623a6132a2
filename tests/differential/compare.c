/* SPDX-License-Identifier: BSD-3-Clause */
/* Compares outcomes and bytes. Changes nothing, but that reading a page makes it be there. */
#define _GNU_SOURCE
#include "tests/differential/compare.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <check.h>

#include "tests/support/kernel.h"

bool difference_of(struct finding *ret, enum finding_kind kind, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(ret->text, sizeof(ret->text), format, args);
    va_end(args);
    ret->kind = kind;
    return false;
}

/* ---- outcomes ---- */

static bool is_errno(int64_t result)
{
    return result < 0 && result > -4096;
}

static bool is_placed(const struct step *step)
{
    return step->op == OP_MMAP || step->op == OP_MREMAP;
}

static uint64_t placed_bytes(const struct step *step)
{
    return ((step->op == OP_MMAP ? step->len : step->new_len) + PAGE - 1) & ~(PAGE - 1);
}

static bool is_elsewhere(const struct step *step, int64_t place)
{
    return is_placed(step) && !is_errno(place) &&
           (place < 0 || (uint64_t)place + placed_bytes(step) > WINDOW_BYTES);
}

static bool are_equal(const struct outcome *kernel, const struct outcome *ours)
{
    return kernel->result == ours->result && kernel->signal == ours->signal &&
           kernel->code == ours->code && kernel->fault_at == ours->fault_at &&
           kernel->bytes == ours->bytes;
}

static bool is_excused(const struct worlds *worlds, const struct step *step,
                       const struct outcome *kernel, const struct outcome *ours)
{
    for (const struct difference *one = differences(); one->name; one++) {
        if (one->excuses && one->excuses(&worlds->setting, step, kernel, ours))
            return true;
    }
    return is_elsewhere(step, kernel->result) && is_elsewhere(step, ours->result);
}

static void outcome_text(const struct outcome *outcome, char *buf, size_t size)
{
    if (outcome->signal != 0) {
        (void)snprintf(buf, size, "signal %d code %d at %#" PRIx64, outcome->signal, outcome->code,
                       (uint64_t)outcome->fault_at);
    } else if (is_errno(outcome->result)) {
        (void)snprintf(buf, size, "%s", strerrorname_np((int)-outcome->result));
    } else {
        (void)snprintf(buf, size, "%#" PRIx64 " bytes %#" PRIx64, (uint64_t)outcome->result,
                       outcome->bytes);
    }
}

bool compare_outcomes(const struct worlds *worlds, const struct step *step,
                      const struct outcome *kernel, const struct outcome *ours, struct finding *ret)
{
    char texts[2][64];

    if (are_equal(kernel, ours) || is_excused(worlds, step, kernel, ours))
        return true;
    outcome_text(kernel, texts[0], sizeof(texts[0]));
    outcome_text(ours, texts[1], sizeof(texts[1]));
    return difference_of(ret, FOUND_OUTCOME, "the kernel: %s, Muse: %s (%.300s)", texts[0],
                         texts[1], muse_last_error_text());
}

/* ---- bytes ---- */

static struct outcome probe_page(const struct world *world, const char *at)
{
    const struct probe probe = probe_read(at);
    struct outcome outcome = {.signal = probe.signal, .code = probe.code, .bytes = probe.byte};

    if (probe.signal)
        outcome.fault_at = (int64_t)((uintptr_t)probe.addr - (uintptr_t)world->window);
    return outcome;
}

static bool differ_at(const char *kernel, const char *ours, size_t page, struct finding *ret)
{
    size_t i = 0;

    while (kernel[i] == ours[i])
        i++;
    return difference_of(ret, FOUND_BYTES, "page %zu, byte %#zx: the kernel has %#x, Muse %#x",
                         page, i, (unsigned char)kernel[i], (unsigned char)ours[i]);
}

static bool compare_page(const struct worlds *worlds, const char *kernel, const char *ours,
                         size_t page, struct finding *ret)
{
    const struct step step = {.op = OP_LOAD};
    struct outcome outcomes[2] = {probe_page(&worlds->kernel, kernel),
                                  probe_page(&worlds->ours, ours)};
    char texts[2][64];

    outcomes[0].fault_at = outcomes[1].fault_at = 0; /* places differ outside the windows */
    if (!are_equal(&outcomes[0], &outcomes[1]) &&
        !is_excused(worlds, &step, &outcomes[0], &outcomes[1])) {
        outcome_text(&outcomes[0], texts[0], sizeof(texts[0]));
        outcome_text(&outcomes[1], texts[1], sizeof(texts[1]));
        return difference_of(ret, FOUND_BYTES, "page %zu: the kernel: %s, Muse: %s", page, texts[0],
                             texts[1]);
    }
    if (outcomes[0].signal == 0 && memcmp(kernel, ours, PAGE) != 0)
        return differ_at(kernel, ours, page, ret);
    return true;
}

static bool compare_pages(const struct worlds *worlds, const int64_t places[2], uint64_t len,
                          struct finding *ret)
{
    for (uint64_t at = 0; at < len; at += PAGE) {
        const char *kernel = worlds->kernel.window + places[0] + at;
        const char *ours = worlds->ours.window + places[1] + at;

        if (!compare_page(worlds, kernel, ours, (size_t)(places[0] + (int64_t)at) / PAGE, ret))
            return false;
    }
    return true;
}

bool compare_bytes(const struct worlds *worlds, uint64_t at, uint64_t len, struct finding *ret)
{
    return compare_pages(worlds, (int64_t[]){(int64_t)at, (int64_t)at}, len, ret);
}

bool compare_elsewhere(const struct worlds *worlds, const struct step *step,
                       const struct outcome *kernel, const struct outcome *ours,
                       struct finding *ret)
{
    const uint64_t len = placed_bytes(step);

    if (!is_elsewhere(step, kernel->result) || !is_elsewhere(step, ours->result))
        return true;
    if (!compare_pages(worlds, (int64_t[]){kernel->result, ours->result}, len, ret))
        return false;
    ck_assert_int_eq(kernel_munmap(worlds->kernel.window + kernel->result, len), 0);
    ck_assert_int_eq(muse_munmap(worlds->ours.muse, worlds->ours.window + ours->result, len), 0);
    return true;
}

static bool unlock_run(const struct worlds *worlds, const struct run *run, struct finding *ret)
{
    const size_t len = run->end - run->start;
    const int kernel = kernel_munlock(worlds->kernel.window + run->start, len);
    const int ours = muse_munlock(worlds->ours.muse, worlds->ours.window + run->start, len);

    return (kernel == 0 && ours == 0) ||
           difference_of(ret, FOUND_OUTCOME, "munlock: the kernel: %d, Muse: %d (%.300s)", kernel,
                         ours, muse_last_error_text());
}

/* What has joined neighbours where it came to, if only until the next mapping was moved: the kernel unlocks
 * the source, which may be one of them. */
static bool unlock_target(const struct worlds *worlds, const struct step *step, uint64_t to,
                          uint64_t len, struct finding *ret)
{
    struct run run;

    return !layout_run(worlds->kernel.window, to, &run) ||
           (len == step->len && run.start == to && run.end == to + len) ||
           unlock_run(worlds, &run, ret);
}

bool compare_unlocked(const struct worlds *worlds, const struct step *step,
                      const struct outcome *kernel, struct finding *ret)
{
    const uint64_t end = step->at + step->len;
    const uint64_t to = is_errno(kernel->result) ? step->to : (uint64_t)kernel->result;
    uint64_t at = step->at;
    struct run run;

    if (step->op != OP_MREMAP || !(step->flags & MREMAP_DONTUNMAP))
        return true;
    /* several mappings are moved one by one, over holes; those before an error have been */
    while (at < end) {
        uint64_t next = at + PAGE;

        if (layout_run(worlds->kernel.window, at, &run)) {
            next = run.end < end ? run.end : end;
            if ((run.is_anon || !run.is_one) && !unlock_run(worlds, &run, ret))
                return false;
            if (!unlock_target(worlds, step, to + (at - step->at), next - at, ret))
                return false;
        }
        at = next;
    }
    return true;
}

/* ---- files ---- */

static unsigned char bytes[2][BYTES_MAX];

static bool compare_file(unsigned file, const int64_t sizes[2], const char *what,
                         struct finding *ret)
{
    size_t i = 0;

    if (sizes[0] != sizes[1])
        return difference_of(ret, FOUND_FILE, "%s %u: the kernel's has %" PRIi64 " bytes, %" PRIi64,
                             what, file, sizes[0], sizes[1]);
    if (sizes[0] <= 0 || memcmp(bytes[0], bytes[1], (size_t)sizes[0]) == 0)
        return true;
    while (bytes[0][i] == bytes[1][i])
        i++;
    return difference_of(ret, FOUND_FILE, "%s %u, byte %#zx: the kernel's has %#x, Muse's %#x",
                         what, file, i, bytes[0][i], bytes[1][i]);
}

bool compare_files(const struct worlds *worlds, struct finding *ret)
{
    for (unsigned file = 0; file < FILES; file++) {
        const int64_t sizes[2] = {world_pread_all(&worlds->kernel, 2 * file, bytes[0]),
                                  world_pread_all(&worlds->ours, 2 * file, bytes[1])};

        if (!compare_file(file, sizes, "file", ret))
            return false;
    }
    return true;
}

static int64_t read_data(const char *data, unsigned file, unsigned char *buf)
{
    char path[128];
    ssize_t n;
    int fd;

    (void)snprintf(path, sizeof(path), "%s/%s", data, world_file_name(file));
    fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    n = pread(fd, buf, BYTES_MAX, 0);
    (void)close(fd);
    return n;
}

bool compare_written(const struct worlds *worlds, const char *data, struct finding *ret)
{
    for (unsigned file = 0; file < FILES; file++) {
        const int r = muse_fsync(worlds->ours.file[2 * file + 1]);
        const int64_t sizes[2] = {world_pread_all(&worlds->kernel, 2 * file, bytes[0]),
                                  read_data(data, file, bytes[1])};

        if (r < 0)
            return difference_of(ret, FOUND_FILE, "fsync: %s", muse_last_error_text());
        if (!compare_file(file, sizes, "the driver's file", ret))
            return false;
    }
    return true;
}
