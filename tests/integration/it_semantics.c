/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table of docs/semantics.md, row by row: every call that makes or changes mappings, on a mapping of
 * each kind, against the kernel on a plain file. After each call results, rights, signals and bytes are
 * compared, then every page is written to, and they are compared again. What differs on purpose is in
 * tests of its own at the end.
 */
#include <errno.h>
#include <fcntl.h>
#include <muse/muse.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <check.h>

#include "common/base/linux_abi.h"
#include "common/base/own.h"
#include "tests/support/kernel.h"
#include "tests/support/pair.h"
#include "tests/support/unit.h"

#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x08
#endif

#define RO (PROT_READ)
#define RW (PROT_READ | PROT_WRITE)

#define FIRST   4u /* where the mapping lies, in pages of the window */
#define N_PAGES 6u
#define TARGET  24u /* where another one lies, to be replaced */

/* The columns of the table. */
static const struct kind {
    const char *name;
    int prot, flags;
    bool rw;
} kinds[] = {
    {"shared ro", RO, MAP_SHARED, false},
    {"shared rw", RW, MAP_SHARED, true},
    {"private", RW, MAP_PRIVATE, false},
    {"anonymous private", RW, MAP_PRIVATE | MAP_ANONYMOUS, false},
    {"anonymous shared", RW, MAP_SHARED | MAP_ANONYMOUS, false},
};

static struct pair pair;

/* Both windows with one mapping of the kind, some of it written to, and one that is in the way. */
static void lay_out(const struct kind *kind)
{
    ck_assert_int_eq(kernel_munmap(pair.kernel, PAIR_PAGES * PAGE), 0);
    ck_assert_int_eq(muse_munmap(pair.muse, pair.ours, PAIR_PAGES * PAGE), 0);
    pair_map(&pair, &(struct pair_map){FIRST, N_PAGES, kind->prot, kind->flags, kind->rw, 3});
    pair_map(&pair, &(struct pair_map){TARGET, N_PAGES, RO, MAP_PRIVATE, false, 1});
    pair_write(&pair, kind->name, (FIRST + 1) * PAGE + 5, 0xa1);
    pair_write(&pair, kind->name, (FIRST + 3) * PAGE + 5, 0xa3);
}

/* A call, on both sides alike. */
struct call {
    const char *name;
    size_t at, len; /* bytes; at: from the mapping's start */
    int arg;        /* prot, advice or flags */
    size_t new_len, to;
};

typedef int64_t call_fn(const struct call *call, bool is_ours);
static call_fn do_advise;

static char *window(bool is_ours)
{
    return (is_ours ? pair.ours : pair.kernel) + FIRST * PAGE;
}

static void check_call(const struct kind *kind, const struct call *call, call_fn *fn)
{
    char what[120];

    (void)snprintf(what, sizeof(what), "%s, %s", kind->name, call->name);
    lay_out(kind);
    const int64_t kernel = fn(call, false);

    pair_same(&pair, what, kernel, fn(call, true));
    if (fn == do_advise && call->arg == MADV_FREE)
        return; /* the kernel may drop these pages now, or later */
    pair_compare(&pair, what);
    for (size_t page = 0; page < PAIR_PAGES; page++)
        pair_write(&pair, what, page * PAGE + 9, (unsigned char)(page + 1));
    pair_compare(&pair, what);
}

static void check_calls(const struct call *calls, size_t n, call_fn *fn)
{
    pair_begin(&pair);
    for (size_t i = 0; i < N_ELEMENTS(kinds); i++)
        for (size_t j = 0; j < n; j++)
            check_call(&kinds[i], &calls[j], fn);
    pair_end(&pair);
}

/* ---- mmap ---- */

static const struct {
    const char *name;
    int flags;
} map_flags[] = {
    {"no flag", 0},
    {"SHARED_VALIDATE", MAP_SHARED_VALIDATE},
    {"SHARED_VALIDATE, unknown", MAP_SHARED_VALIDATE | 0x800000},
    {"SHARED_VALIDATE, SYNC", MAP_SHARED_VALIDATE | MAP_SYNC},
    {"unknown", 0x800000},
    {"FIXED", MAP_FIXED},
    {"FIXED_NOREPLACE", MAP_FIXED_NOREPLACE},
    {"POPULATE", MAP_POPULATE},
    {"POPULATE, NONBLOCK", MAP_POPULATE | MAP_NONBLOCK},
    {"LOCKED", MAP_LOCKED},
    {"NORESERVE", MAP_NORESERVE},
    {"STACK, DENYWRITE, EXECUTABLE", MAP_STACK | MAP_DENYWRITE | MAP_EXECUTABLE},
};

static int64_t map_at(const struct kind *kind, int flags, int prot, size_t page, bool is_ours)
{
    char *base = is_ours ? pair.ours : pair.kernel, *at = base + page * PAGE;
    const int all =
        (kind->flags & ~MAP_TYPE) | ((flags & MAP_TYPE) ? flags : flags | (kind->flags & MAP_TYPE));
    const bool is_anon = kind->flags & MAP_ANONYMOUS;

    if (!is_ours) {
        return pair_place(base, kernel_mmap(at, N_PAGES * PAGE, prot, all,
                                            is_anon    ? -1
                                            : kind->rw ? pair.fd_rw
                                                       : pair.fd_ro,
                                            0));
    }
    return pair_place(base, muse_mmap(pair.muse, at, N_PAGES * PAGE, prot, all,
                                      is_anon    ? NULL
                                      : kind->rw ? pair.file_rw
                                                 : pair.file_ro,
                                      0));
}

START_TEST(mmap_of_every_kind_takes_every_flag_as_the_kernel_does)
{
    pair_begin(&pair);
    for (size_t i = 0; i < N_ELEMENTS(kinds); i++) {
        for (size_t j = 0; j < N_ELEMENTS(map_flags); j++) {
            const int flags = map_flags[j].flags;
            /* a bare place, and one that is taken when that has a rule of its own */
            const bool is_fixed = flags & (MAP_FIXED | MAP_FIXED_NOREPLACE);
            char what[120];

            (void)snprintf(what, sizeof(what), "%s, %s", kinds[i].name, map_flags[j].name);
            for (size_t page = 14; page <= (is_fixed ? TARGET - 2 : 14u); page += TARGET - 16) {
                lay_out(&kinds[i]);
                const int64_t kernel = map_at(&kinds[i], flags, kinds[i].prot, page, false);

                pair_same(&pair, what, kernel, map_at(&kinds[i], flags, kinds[i].prot, page, true));
                pair_compare(&pair, what);
                pair_write(&pair, what, (page + 1) * PAGE, 'w');
                pair_compare(&pair, what);
            }
        }
    }
    pair_end(&pair);
}
END_TEST

START_TEST(every_protection_of_every_kind_is_what_the_kernel_gives)
{
    pair_begin(&pair);
    for (size_t i = 0; i < N_ELEMENTS(kinds); i++) {
        for (int prot = 0; prot < 8; prot++) {
            char what[120];

            (void)snprintf(what, sizeof(what), "%s, protection %d", kinds[i].name, prot);
            lay_out(&kinds[i]);
            const int64_t kernel = map_at(&kinds[i], 0, prot, 14, false);

            pair_same(&pair, what, kernel, map_at(&kinds[i], 0, prot, 14, true));
            pair_compare(&pair, what);
            for (size_t page = 14; page < 14 + N_PAGES; page += 2)
                pair_write(&pair, what, page * PAGE + 1, 'w');
            pair_compare(&pair, what);
        }
    }
    pair_end(&pair);
}
END_TEST

/* ---- munmap, mprotect ---- */

static int64_t do_unmap(const struct call *call, bool is_ours)
{
    char *at = window(is_ours) + call->at;

    return pair_result(is_ours ? muse_munmap(pair.muse, at, call->len)
                               : kernel_munmap(at, call->len));
}

START_TEST(unmapping_any_part_of_every_kind_is_as_in_the_kernel)
{
    static const struct call calls[] = {
        {.name = "all", .at = 0, .len = N_PAGES * PAGE},
        {.name = "head", .at = 0, .len = 2 * PAGE},
        {.name = "middle", .at = 2 * PAGE, .len = 2 * PAGE},
        {.name = "tail", .at = 4 * PAGE, .len = 2 * PAGE},
        {.name = "rounded up", .at = PAGE, .len = 1},
        {.name = "beyond its end, to the next", .at = 4 * PAGE, .len = 18 * PAGE},
        {.name = "a hole", .at = 10 * PAGE, .len = PAGE},
        {.name = "no length", .at = 0, .len = 0},
        {.name = "not aligned", .at = 8, .len = PAGE},
    };

    check_calls(calls, N_ELEMENTS(calls), do_unmap);
}
END_TEST

static int64_t do_protect(const struct call *call, bool is_ours)
{
    char *at = window(is_ours) + call->at;

    return pair_result(is_ours ? muse_mprotect(pair.muse, at, call->len, call->arg)
                               : kernel_mprotect(at, call->len, call->arg));
}

START_TEST(protecting_any_part_of_every_kind_is_as_in_the_kernel)
{
    static const struct call calls[] = {
        {.name = "all, none", .len = N_PAGES * PAGE, .arg = PROT_NONE},
        {.name = "all, read", .len = N_PAGES * PAGE, .arg = RO},
        {.name = "all, read and write", .len = N_PAGES * PAGE, .arg = RW},
        {.name = "all, write", .len = N_PAGES * PAGE, .arg = PROT_WRITE},
        {.name = "all, execute", .len = N_PAGES * PAGE, .arg = RO | PROT_EXEC},
        {.name = "middle, none", .at = 2 * PAGE, .len = 2 * PAGE, .arg = PROT_NONE},
        {.name = "middle, read", .at = 2 * PAGE, .len = 2 * PAGE, .arg = RO},
        {.name = "over a hole", .at = 4 * PAGE, .len = 18 * PAGE, .arg = PROT_NONE},
        {.name = "a hole", .at = 10 * PAGE, .len = PAGE, .arg = RO},
        {.name = "no length", .len = 0, .arg = PROT_NONE},
        {.name = "not aligned", .at = 8, .len = PAGE, .arg = RO},
        {.name = "unknown bits", .len = PAGE, .arg = 0x40},
        {.name = "growing down", .len = PAGE, .arg = RO | PROT_GROWSDOWN},
    };

    check_calls(calls, N_ELEMENTS(calls), do_protect);
}
END_TEST

/* ---- mremap ---- */

static int64_t do_remap(const struct call *call, bool is_ours)
{
    char *from = window(is_ours) + call->at, *to = window(is_ours) + call->to;
    void *got = is_ours ? muse_mremap(pair.muse, from, call->len, call->new_len, call->arg, to)
                        : kernel_mremap(from, call->len, call->new_len, call->arg, to);

    return pair_place(is_ours ? pair.ours : pair.kernel, got);
}

#define MAY  MREMAP_MAYMOVE
#define TO   (MREMAP_MAYMOVE | MREMAP_FIXED)
#define KEEP (MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP)
#define HOLE ((12 - FIRST) * PAGE)
#define NEXT ((TARGET - FIRST) * PAGE)

START_TEST(every_form_of_mremap_of_every_kind_is_as_the_kernels)
{
    static const struct call calls[] = {
        {"as it is", 0, N_PAGES * PAGE, 0, N_PAGES * PAGE, 0},
        {"larger in place", 0, N_PAGES * PAGE, 0, (N_PAGES + 3) * PAGE, 0},
        {"its last page, larger", 5 * PAGE, PAGE, 0, 4 * PAGE, 0},
        {"larger in place, no room", 0, N_PAGES * PAGE, 0, (N_PAGES + 20) * PAGE, 0},
        {"larger in place, not at its end", 0, 2 * PAGE, 0, 3 * PAGE, 0},
        {"larger, may move, and has room", 0, N_PAGES * PAGE, MAY, (N_PAGES + 3) * PAGE, 0},
        {"smaller", 0, N_PAGES * PAGE, 0, 2 * PAGE, 0},
        {"to a hole", 0, N_PAGES * PAGE, TO, N_PAGES * PAGE, HOLE},
        {"a part to a hole", PAGE, 2 * PAGE, TO, 2 * PAGE, HOLE},
        {"over another", 0, N_PAGES * PAGE, TO, N_PAGES * PAGE, NEXT},
        {"a part over a part of another", PAGE, 2 * PAGE, TO, 2 * PAGE, NEXT + 2 * PAGE},
        {"to a hole, larger", 0, N_PAGES * PAGE, TO, (N_PAGES + 3) * PAGE, HOLE},
        {"over another, larger", 0, N_PAGES * PAGE, TO, (N_PAGES + 3) * PAGE, NEXT},
        {"to a hole, smaller", 0, N_PAGES * PAGE, TO, 2 * PAGE, HOLE},
        {"with the hole and a part of the other behind it", 0, 22 * PAGE, TO, 22 * PAGE, 22 * PAGE},
        {"once more", 0, 0, TO, N_PAGES * PAGE, HOLE},
        {"once more, over another", 2 * PAGE, 0, TO, 3 * PAGE, NEXT},
        {"the source stays", 0, N_PAGES * PAGE, KEEP, N_PAGES * PAGE, HOLE},
        {"the source stays, over another", PAGE, 3 * PAGE, KEEP, 3 * PAGE, NEXT},
        {"the source stays, larger", 0, N_PAGES * PAGE, KEEP, (N_PAGES + 1) * PAGE, HOLE},
        {"not aligned", 8, PAGE, MAY, 2 * PAGE, 0},
        {"to where is not aligned", 0, PAGE, TO, PAGE, HOLE + 8},
        {"over itself", 0, 3 * PAGE, TO, 3 * PAGE, PAGE},
        {"new length 0", 0, PAGE, MAY, 0, 0},
        {"unknown flag", 0, PAGE, 8, PAGE, 0},
        {"FIXED alone", 0, PAGE, MREMAP_FIXED, PAGE, HOLE},
        {"DONTUNMAP alone", 0, PAGE, MREMAP_DONTUNMAP, PAGE, HOLE},
        {"more than there is", 4 * PAGE, 4 * PAGE, MAY, 5 * PAGE, 0},
        {"nothing there", 10 * PAGE, PAGE, MAY, 2 * PAGE, 0},
    };

    check_calls(calls, N_ELEMENTS(calls), do_remap);
}
END_TEST

/* ---- madvise ---- */

static int64_t do_advise(const struct call *call, bool is_ours)
{
    char *at = window(is_ours) + call->at;

    return pair_result(is_ours ? muse_madvise(pair.muse, at, call->len, call->arg)
                               : kernel_madvise(at, call->len, call->arg));
}

static const int advices[] = {
    MADV_NORMAL,     MADV_RANDOM,   MADV_SEQUENTIAL,    MADV_WILLNEED,       MADV_DONTNEED,
    MADV_FREE,       MADV_REMOVE,   MADV_DONTFORK,      MADV_DOFORK,         MADV_HUGEPAGE,
    MADV_NOHUGEPAGE, MADV_DONTDUMP, MADV_DODUMP,        MADV_WIPEONFORK,     MADV_KEEPONFORK,
    MADV_COLD,       MADV_PAGEOUT,  MADV_POPULATE_READ, MADV_POPULATE_WRITE, MADV_DONTNEED_LOCKED,
};

START_TEST(every_advice_about_every_kind_is_taken_as_by_the_kernel)
{
    static const struct call ranges[] = {
        {.name = "all of it", .at = 0, .len = N_PAGES * PAGE},
        {.name = "its middle", .at = PAGE, .len = 3 * PAGE},
        {.name = "with the hole behind it", .at = 4 * PAGE, .len = 6 * PAGE},
        {.name = "not aligned", .at = 8, .len = PAGE},
    };
    char name[80];

    pair_begin(&pair);
    for (size_t i = 0; i < N_ELEMENTS(advices); i++) {
        for (size_t range = 0; range < N_ELEMENTS(ranges); range++) {
            struct call call = ranges[range];

            call.arg = advices[i];
            (void)snprintf(name, sizeof(name), "advice %d, %s", advices[i], ranges[range].name);
            call.name = name;
            for (size_t kind = 0; kind < N_ELEMENTS(kinds); kind++)
                check_call(&kinds[kind], &call, do_advise);
        }
    }
    pair_end(&pair);
}
END_TEST

/* ---- msync, mincore ---- */

static int64_t do_sync(const struct call *call, bool is_ours)
{
    char *at = window(is_ours) + call->at;

    return pair_result(is_ours ? muse_msync(pair.muse, at, call->len, call->arg)
                               : msync(at, call->len, call->arg));
}

static int64_t do_sync_locked(const struct call *call, bool is_ours)
{
    char *at = window(is_ours);

    ck_assert_int_eq(is_ours ? muse_mlock(pair.muse, at, PAGE) : kernel_mlock(at, PAGE), 0);
    return do_sync(call, is_ours);
}

START_TEST(msync_of_every_kind_answers_as_the_kernels)
{
    static const struct call calls[] = {
        {.name = "SYNC", .len = N_PAGES * PAGE, .arg = MS_SYNC},
        {.name = "ASYNC", .len = N_PAGES * PAGE, .arg = MS_ASYNC},
        {.name = "INVALIDATE", .len = N_PAGES * PAGE, .arg = MS_INVALIDATE},
        {.name = "SYNC, INVALIDATE", .len = N_PAGES * PAGE, .arg = MS_SYNC | MS_INVALIDATE},
        {.name = "no flag", .len = N_PAGES * PAGE},
        {.name = "no length", .len = 0, .arg = MS_SYNC},
        {.name = "SYNC, ASYNC", .len = PAGE, .arg = MS_SYNC | MS_ASYNC},
        {.name = "unknown flag", .len = PAGE, .arg = 8},
        {.name = "not aligned", .at = 8, .len = PAGE, .arg = MS_SYNC},
        {.name = "a hole behind it", .at = 4 * PAGE, .len = 6 * PAGE, .arg = MS_SYNC},
        {.name = "a hole", .at = 10 * PAGE, .len = PAGE, .arg = MS_ASYNC},
        {.name = "it wraps", .at = 0, .len = SIZE_MAX - 8 * PAGE, .arg = MS_SYNC},
    };
    static const struct call locked[] = {
        {.name = "locked, INVALIDATE", .len = N_PAGES * PAGE, .arg = MS_INVALIDATE},
        {.name = "locked, SYNC, INVALIDATE", .len = PAGE, .arg = MS_SYNC | MS_INVALIDATE},
        {.name = "the rest locked, INVALIDATE", .at = PAGE, .len = PAGE, .arg = MS_INVALIDATE},
        {.name = "locked, SYNC", .len = N_PAGES * PAGE, .arg = MS_SYNC},
    };

    check_calls(calls, N_ELEMENTS(calls), do_sync);
    check_calls(locked, N_ELEMENTS(locked), do_sync_locked);
}
END_TEST

static int64_t do_mincore(const struct call *call, bool is_ours)
{
    unsigned char vec[PAIR_PAGES] = {0};
    char *at = window(is_ours) + call->at;
    int64_t r = pair_result(is_ours ? muse_mincore(pair.muse, at, call->len, vec)
                                    : kernel_mincore(at, call->len, vec));

    for (size_t i = 0; r >= 0 && i < N_PAGES; i++)
        r |= (int64_t)(vec[i] & 1) << i;
    return r;
}

/* As do_mincore(), when every page has been touched; before that Muse knows better than the page cache
 * of a memfd, which has all of them. */
static int64_t do_mincore_all(const struct call *call, bool is_ours)
{
    for (size_t page = 0; page < N_PAGES; page++)
        ck_assert_int_eq(probe_read(window(is_ours) + page * PAGE).signal, 0);
    return do_mincore(call, is_ours);
}

START_TEST(mincore_of_every_kind_answers_as_the_kernels)
{
    static const struct call calls[] = {
        {.name = "all", .len = N_PAGES * PAGE},
        {.name = "a part", .at = 2 * PAGE, .len = 3 * PAGE},
        {.name = "no length", .len = 0},
        {.name = "not aligned", .at = 8, .len = PAGE},
        {.name = "a hole behind it", .at = 4 * PAGE, .len = 6 * PAGE},
        {.name = "a hole", .at = 10 * PAGE, .len = PAGE},
    };

    check_calls(calls, N_ELEMENTS(calls), do_mincore_all);
}
END_TEST

/* ---- mlock ---- */

/* The answer, and which pages are locked then: DONTNEED is not for them. */
static int64_t do_lock(const struct call *call, bool is_ours)
{
    char *at = window(is_ours) + call->at;
    int64_t r =
        pair_result(is_ours ? muse_mlock(pair.muse, at, call->len) : kernel_mlock(at, call->len));
    int64_t locked = 0;

    if (call->arg) {
        r = pair_result(is_ours ? muse_munlock(pair.muse, at + PAGE, PAGE)
                                : kernel_munlock(at + PAGE, PAGE));
    }
    for (size_t page = 0; page < N_PAGES; page++) {
        char *one = window(is_ours) + page * PAGE;

        locked |= (int64_t)((is_ours ? muse_madvise(pair.muse, one, PAGE, MADV_DONTNEED)
                                     : kernel_madvise(one, PAGE, MADV_DONTNEED)) < 0)
                  << page;
    }
    return r < 0 ? r * 1000 - locked : locked;
}

START_TEST(every_kind_is_locked_and_unlocked_as_by_the_kernel)
{
    static const struct call calls[] = {
        {.name = "all", .len = N_PAGES * PAGE},
        {.name = "a part", .at = 2 * PAGE, .len = 2 * PAGE},
        {.name = "not aligned", .at = PAGE + 77, .len = 10},
        {.name = "no length", .len = 0},
        {.name = "a hole behind it", .at = 4 * PAGE, .len = 6 * PAGE},
        {.name = "a hole", .at = 10 * PAGE, .len = PAGE},
        {.name = "it wraps", .len = SIZE_MAX - 4 * PAGE},
        {.name = "and one page of it unlocked", .len = N_PAGES * PAGE, .arg = 1},
        {.name = "and a page unlocked that was not", .at = 4 * PAGE, .len = PAGE, .arg = 1},
    };

    check_calls(calls, N_ELEMENTS(calls), do_lock);
}
END_TEST

/* ---- on purpose ---- */

#define SOFT_OFFLINE  101
#define GUARD_INSTALL 102
#define GUARD_REMOVE  103

START_TEST(advice_that_is_about_the_kernels_own_pages_is_einval)
{
    static const int others[] = {MADV_MERGEABLE, MADV_UNMERGEABLE, MADV_COLLAPSE, MADV_HWPOISON,
                                 SOFT_OFFLINE,   GUARD_INSTALL,    GUARD_REMOVE};

    pair_begin(&pair);
    for (size_t i = 0; i < N_ELEMENTS(kinds); i++) {
        lay_out(&kinds[i]);
        for (size_t j = 0; j < N_ELEMENTS(others); j++) {
            ck_assert_int_eq(muse_madvise(pair.muse, window(true), PAGE, others[j]), -1);
            ck_assert_int_eq(errno, EINVAL);
        }
        pair_compare(&pair, kinds[i].name); /* and nothing has changed */
    }
    pair_end(&pair);
}
END_TEST

START_TEST(flags_of_mmap_for_memory_of_other_kinds_are_refused)
{
    static const struct {
        int flags, error;
    } cases[] = {
        {MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, EOPNOTSUPP},
        {MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB, EOPNOTSUPP},
        {MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN, EOPNOTSUPP},
        {MAP_DROPPABLE | MAP_ANONYMOUS, EINVAL},
    };

    pair_begin(&pair);
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        ck_assert_ptr_eq(muse_mmap(pair.muse, NULL, PAGE, RW, cases[i].flags, NULL, 0), MAP_FAILED);
        ck_assert_int_eq(errno, cases[i].error);
    }
    pair_end(&pair);
}
END_TEST

START_TEST(what_is_not_fixed_is_placed_in_the_arena_whatever_was_asked)
{
    char *mapped, *hint;

    pair_begin(&pair);
    for (size_t i = 0; i < N_ELEMENTS(kinds); i++) {
        void *start;
        size_t len;

        muse_arena(pair.muse, &start, &len);
        for (unsigned with_hint = 0; with_hint < 2; with_hint++) {
            hint = with_hint ? pair.kernel : NULL;
            mapped = muse_mmap(pair.muse, hint, PAGE, kinds[i].prot, kinds[i].flags | MAP_32BIT,
                               kinds[i].rw ? pair.file_rw : pair.file_ro, 0);
            ck_assert_ptr_ne(mapped, MAP_FAILED);
            ck_assert(mapped >= (char *)start && mapped < (char *)start + len);
        }
    }
    pair_end(&pair);
}
END_TEST

static void perms_at(const char *addr, char perms[5])
{
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[512];

    ck_assert_ptr_nonnull(maps);
    while (fgets(line, sizeof(line), maps)) {
        unsigned long long start, end;
        char found[8];

        /* NOLINTNEXTLINE(cert-err34-c): the kernel's own numbers */
        if (sscanf(line, "%llx-%llx %7s", &start, &end, found) == 3 && (uintptr_t)addr >= start &&
            (uintptr_t)addr < end)
            memcpy(perms, found, 5);
    }
    (void)fclose(maps);
}

START_TEST(a_shared_mapping_of_a_file_opened_for_reading_is_private_for_the_kernel)
{
    char perms[2][5] = {"", ""};

    pair_begin(&pair);
    lay_out(&kinds[0]);
    perms_at(window(false), perms[0]);
    perms_at(window(true), perms[1]);
    ck_assert_str_eq(perms[0], "r--s");
    ck_assert_str_eq(perms[1], "r--p");
    /* and is shared all the same */
    ck_assert_int_eq(pwrite(pair.fd_rw, "w", 1, 3 * PAGE), 1);
    ck_assert_int_eq(muse_pwrite(pair.file_rw, "w", 1, 3 * PAGE), 1);
    pair_compare(&pair, "after a write to the file");
    pair_end(&pair);
}
END_TEST

START_TEST(where_nothing_is_mapped_in_the_arena_the_signal_says_no_access)
{
    pair_begin(&pair);
    lay_out(&kinds[0]);
    ck_assert_int_eq(probe_read(pair.kernel + 14 * PAGE).code, SEGV_MAPERR);
    ck_assert_int_eq(probe_read(pair.ours + 14 * PAGE).signal, SIGSEGV);
    ck_assert_int_eq(probe_read(pair.ours + 14 * PAGE).code, SEGV_ACCERR);
    pair_end(&pair);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("semantics");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, mmap_of_every_kind_takes_every_flag_as_the_kernel_does);
    tcase_add_test(tcase, every_protection_of_every_kind_is_what_the_kernel_gives);
    tcase_add_test(tcase, unmapping_any_part_of_every_kind_is_as_in_the_kernel);
    tcase_add_test(tcase, protecting_any_part_of_every_kind_is_as_in_the_kernel);
    tcase_add_test(tcase, every_form_of_mremap_of_every_kind_is_as_the_kernels);
    tcase_add_test(tcase, every_advice_about_every_kind_is_taken_as_by_the_kernel);
    tcase_add_test(tcase, msync_of_every_kind_answers_as_the_kernels);
    tcase_add_test(tcase, mincore_of_every_kind_answers_as_the_kernels);
    tcase_add_test(tcase, every_kind_is_locked_and_unlocked_as_by_the_kernel);
    tcase_add_test(tcase, advice_that_is_about_the_kernels_own_pages_is_einval);
    tcase_add_test(tcase, flags_of_mmap_for_memory_of_other_kinds_are_refused);
    tcase_add_test(tcase, what_is_not_fixed_is_placed_in_the_arena_whatever_was_asked);
    tcase_add_test(tcase, a_shared_mapping_of_a_file_opened_for_reading_is_private_for_the_kernel);
    tcase_add_test(tcase, where_nothing_is_mapped_in_the_arena_the_signal_says_no_access);
    return unit_run("semantics", tcase);
}
