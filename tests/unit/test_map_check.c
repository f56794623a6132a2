/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of server/map/map_check.h: what mmap(2) and munmap(2) refuse, in their order (each row is
 * also tried on the kernel this runs on), the hooks a driver may register, what prepare may answer,
 * and where an action may lie.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/mman.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <check.h>

#include "common/base/linux_abi.h"
#include "common/base/own.h"
#include "proto/hooks.h"
#include "server/map/map_check.h"
#include "server/vm/aspace.h"
#include "server/vm/vma.h"
#include "tests/support/unit.h"

#define PAGE UINT64_C(4096)
#define HUGE (UINT64_C(2) << 20)
#define TOP  ASPACE_TASK_END

#define VALIDATE    MAP_SHARED_VALIDATE
#define DROPPABLE   0x08     /* MAP_DROPPABLE, Linux 6.11 */
#define SYNC        0x080000 /* MAP_SYNC */
#define ABOVE4G     0x80     /* MAP_ABOVE4G, Linux 6.6 */
#define UNKNOWN     0x800000
#define OFFSET_LAST ((UINT64_C(1) << 63) - PAGE) /* the last page of a file begins one lower */

enum access { RW, RO, WO };

/* ---- mmap: what is refused ---- */

static const struct row {
    const char *what;
    int want;
    uint64_t addr, length;
    uint32_t prot, flags;
    uint64_t offset;
    enum access access;
    uint64_t page_bytes; /* 0: 4 KiB */
    bool ours_only;      /* this process could not ask the kernel, or had better not */
} rows[] = {
    {"a page", 0, 0, PAGE, PROT_READ, MAP_SHARED, 0, RW, 0, false},
    {"a byte", 0, 0, 1, PROT_READ, MAP_PRIVATE, 0, RW, 0, false},
    {"no access at all", 0, 0, PAGE, PROT_NONE, MAP_PRIVATE, 0, RW, 0, false},
    {"beyond the end of the file", 0, 0, PAGE, PROT_READ, MAP_SHARED, 1ull << 40, RW, 0, false},
    {"prot bits nobody knows", 0, 0, PAGE, PROT_READ | 0x100, MAP_SHARED, 0, RW, 0, false},

    /* the syscall layer */
    {"offset not aligned", -EINVAL, 0, PAGE, PROT_READ, MAP_SHARED, 1, RW, 0, false},
    {"offset not aligned, high", -EINVAL, 0, PAGE, PROT_READ, MAP_SHARED, ~0ull, RW, 0, false},
    {"huge pages of a file without", -EINVAL, 0, PAGE, PROT_READ, MAP_SHARED | MAP_HUGETLB, 0, RW,
     0, false},
    {"huge pages before the length", -EINVAL, 0, 1ull << 48, PROT_READ, MAP_PRIVATE | MAP_HUGETLB,
     0, RW, 0, false},

    /* do_mmap: lengths */
    {"length 0", -EINVAL, 0, 0, PROT_READ, MAP_SHARED, 0, RW, 0, false},
    {"length 0 before the type", -EINVAL, 0, 0, PROT_READ, 0, 0, WO, 0, false},
    {"length wraps to 0", -ENOMEM, 0, ~0ull, PROT_READ, MAP_SHARED, 0, RW, 0, false},
    {"length wraps to 0, whatever the offset", -ENOMEM, 0, ~0ull - 4094, PROT_READ, MAP_SHARED,
     1ull << 63, RW, 0, false},
    {"longer than the address space", -ENOMEM, 0, TOP + 1, PROT_READ, MAP_SHARED, 0, RW, 0, false},
    {"too long before the offset", -ENOMEM, 0, 1ull << 48, PROT_READ, MAP_SHARED,
     0xfffffffffffff000, RW, 0, false},
    {"too long before the permissions", -ENOMEM, 0, 1ull << 48, PROT_WRITE, MAP_SHARED, 0, RO, 0,
     false},
    {"as long as the address space", 0, 0, TOP, PROT_READ, MAP_SHARED, 0, RW, 0, true},

    /* fixed addresses */
    {"fixed, aligned", 0, 1ull << 40, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, 0, RW, 0, true},
    {"fixed, up to the end", 0, TOP - PAGE, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, 0, RW, 0,
     true},
    {"fixed, not aligned", -EINVAL, (1ull << 40) + 1, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, 0,
     RW, 0, false},
    {"noreplace, not aligned", -EINVAL, (1ull << 40) + 1, PAGE, PROT_READ,
     MAP_SHARED | MAP_FIXED_NOREPLACE, 0, RW, 0, false},
    {"a hint need not be aligned", 0, (1ull << 40) + 1, PAGE, PROT_READ, MAP_SHARED, 0, RW, 0,
     false},
    {"fixed beyond the end", -ENOMEM, TOP, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, 0, RW, 0,
     false},
    {"fixed across the end", -ENOMEM, TOP - PAGE, PAGE + 1, PROT_READ, MAP_SHARED | MAP_FIXED, 0,
     RW, 0, false},
    {"fixed beyond the end and not aligned", -ENOMEM, TOP + 1, PAGE, PROT_READ,
     MAP_SHARED | MAP_FIXED, 0, RW, 0, false},
    {"fixed far beyond the end", -ENOMEM, 1ull << 63, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, 0,
     RW, 0, false},
    {"a hint beyond the end", 0, 1ull << 63, PAGE, PROT_READ, MAP_SHARED, 0, RW, 0, false},
    {"not aligned before the permissions", -EINVAL, (1ull << 40) + 1, PAGE, PROT_READ,
     MAP_SHARED | MAP_FIXED, 0, WO, 0, false},
    {"not aligned before the offset's end", -EINVAL, (1ull << 40) + 1, PAGE, PROT_READ,
     MAP_SHARED | MAP_FIXED, 1ull << 63, RW, 0, false},

    /* where the offset ends */
    {"the last page of the largest file", 0, 0, PAGE, PROT_READ, MAP_SHARED, OFFSET_LAST - PAGE, RW,
     0, false},
    {"a page too far", -EOVERFLOW, 0, PAGE, PROT_READ, MAP_SHARED, OFFSET_LAST, RW, 0, false},
    {"two pages from the last one", -EOVERFLOW, 0, 2 * PAGE, PROT_READ, MAP_SHARED,
     OFFSET_LAST - PAGE, RW, 0, false},
    {"a negative offset", -EOVERFLOW, 0, PAGE, PROT_READ, MAP_SHARED, 1ull << 63, RW, 0, false},
    {"the end wraps around", -EOVERFLOW, 0, 2 * PAGE, PROT_READ, MAP_SHARED, 0xfffffffffffff000, RW,
     0, false},
    {"too far before the type", -EOVERFLOW, 0, PAGE, PROT_READ, 0x04, 1ull << 63, RW, 0, false},
    {"too far before the permissions", -EOVERFLOW, 0, PAGE, PROT_READ, MAP_SHARED, 1ull << 63, WO,
     0, false},

    /* unknown flags */
    {"shared ignores unknown flags", 0, 0, PAGE, PROT_READ, MAP_SHARED | UNKNOWN, 0, RW, 0, false},
    {"private ignores unknown flags", 0, 0, PAGE, PROT_READ, MAP_PRIVATE | UNKNOWN, 0, RW, 0,
     false},
    {"validate", 0, 0, PAGE, PROT_READ, VALIDATE, 0, RW, 0, false},
    {"validate with what is known", 0, 0, PAGE, PROT_READ,
     VALIDATE | MAP_NORESERVE | MAP_POPULATE | MAP_NONBLOCK | MAP_STACK | MAP_32BIT | ABOVE4G |
         MAP_DENYWRITE | MAP_EXECUTABLE | MAP_HUGE_2MB,
     0, RW, 0, false},
    {"validate with an unknown flag", -EOPNOTSUPP, 0, PAGE, PROT_READ, VALIDATE | UNKNOWN, 0, RW, 0,
     false},
    {"validate with SYNC", -EOPNOTSUPP, 0, PAGE, PROT_READ, VALIDATE | SYNC, 0, RW, 0, false},
    {"validate does not know NOREPLACE", -EOPNOTSUPP, 1ull << 33, PAGE, PROT_READ,
     VALIDATE | MAP_FIXED_NOREPLACE, 0, RW, 0, true},
    {"unknown flags before the permissions", -EOPNOTSUPP, 0, PAGE, PROT_WRITE, VALIDATE | UNKNOWN,
     0, RO, 0, false},

    /* type and permissions */
    {"no type", -EINVAL, 0, PAGE, PROT_READ, 0, 0, RW, 0, false},
    {"no type before the permissions", -EINVAL, 0, PAGE, PROT_READ, 0, 0, WO, 0, false},
    {"a type nobody knows", -EINVAL, 0, PAGE, PROT_READ, 0x04, 0, RW, 0, false},
    {"all type bits", -EINVAL, 0, PAGE, PROT_READ, MAP_TYPE, 0, RW, 0, false},
    {"droppable with a file", -EINVAL, 0, PAGE, PROT_READ, DROPPABLE, 0, RW, 0, false},
    {"shared and writable, read-only file", -EACCES, 0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0,
     RO, 0, false},
    {"validate and writable, read-only file", -EACCES, 0, PAGE, PROT_WRITE, VALIDATE, 0, RO, 0,
     false},
    {"shared and readable, read-only file", 0, 0, PAGE, PROT_READ, MAP_SHARED, 0, RO, 0, false},
    {"private and writable, read-only file", 0, 0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0, RO,
     0, false},
    {"write-only file, shared", -EACCES, 0, PAGE, PROT_WRITE, MAP_SHARED, 0, WO, 0, false},
    {"write-only file, private", -EACCES, 0, PAGE, PROT_WRITE, MAP_PRIVATE, 0, WO, 0, false},
    {"write-only file, no access", -EACCES, 0, PAGE, PROT_NONE, MAP_SHARED, 0, WO, 0, false},
    {"grows down, shared", -EINVAL, 0, PAGE, PROT_READ, MAP_SHARED | MAP_GROWSDOWN, 0, RW, 0,
     false},
    {"grows down, private", -EINVAL, 0, PAGE, PROT_READ, MAP_PRIVATE | MAP_GROWSDOWN, 0, RW, 0,
     false},
    {"permissions before grows down", -EACCES, 0, PAGE, PROT_READ, MAP_SHARED | MAP_GROWSDOWN, 0,
     WO, 0, false},

    /* objects with huge pages, as hugetlbfs */
    {"huge page", 0, 0, 1, PROT_READ, MAP_SHARED, HUGE, RW, HUGE, false},
    {"huge page, said so", 0, 0, HUGE, PROT_READ, MAP_SHARED | MAP_HUGETLB | MAP_HUGE_2MB, 0, RW,
     HUGE, true},
    {"huge page, offset within", -EINVAL, 0, HUGE, PROT_READ, MAP_SHARED, PAGE, RW, HUGE, true},
    {"huge page, length wraps", -ENOMEM, 0, ~0ull - PAGE, PROT_READ, MAP_SHARED, 0, RW, HUGE, true},
    {"huge page, too far", -EOVERFLOW, 0, HUGE, PROT_READ, MAP_SHARED, (1ull << 63) - HUGE, RW,
     HUGE, true},
};

static struct map_args args_of(const struct row *row)
{
    return (struct map_args){.addr = row->addr,
                             .length = row->length,
                             .prot = row->prot,
                             .flags = row->flags,
                             .offset = row->offset,
                             .readable = row->access != WO,
                             .writable = row->access != RO,
                             .page_bytes = row->page_bytes ? row->page_bytes : PAGE};
}

START_TEST(mmap_arguments_are_refused_with_the_errno_of_the_kernel)
{
    const struct row *row = &rows[_i];
    const struct map_args args = args_of(row);
    const struct map_plan untouched = {.length = 77};
    struct map_plan plan = untouched;
    const char *why = NULL;
    int r = map_check_args(&args, &plan, &why);

    ck_assert_msg(r == row->want, "%s: %s instead of %s (%s)", row->what,
                  r ? strerrorname_np(-r) : "0", row->want ? strerrorname_np(-row->want) : "0",
                  why ? why : "-");
    if (r < 0) {
        ck_assert_msg(why && why[0], "%s: no reason", row->what);
        ck_assert_mem_eq(&plan, &untouched, sizeof(plan));
    }
}
END_TEST

/* Return: a file of the test's own, opened as @access says. */
static int open_file(enum access access)
{
    static const int oflags[] = {[RW] = O_RDWR, [RO] = O_RDONLY, [WO] = O_WRONLY};
    CLEAN(fd_close_p) int memfd = memfd_create("test-map-check", MFD_CLOEXEC);
    char path[64];
    int fd;

    ck_assert_int_ge(memfd, 0);
    ck_assert_int_eq(ftruncate(memfd, 1 << 20), 0);
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", memfd);
    fd = open(path, oflags[access] | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    return fd;
}

START_TEST(the_kernel_this_runs_on_says_the_same)
{
    const struct row *row = &rows[_i];
    CLEAN(fd_close_p) int fd = -1;
    void *map;
    int r = 0;

    if (row->ours_only || row->page_bytes)
        return;
    fd = open_file(row->access);
    map = mmap((void *)(uintptr_t)row->addr, row->length, (int)row->prot, (int)row->flags, fd,
               (off_t)row->offset);
    if (map == MAP_FAILED)
        r = -errno;
    else
        (void)munmap(map, row->length);
    ck_assert_msg(r == row->want, "%s: the kernel says %s", row->what,
                  r ? strerrorname_np(-r) : "0");
}
END_TEST

START_TEST(a_file_that_may_not_be_executed_is_eperm_and_never_may_be)
{
    struct map_args args = {.length = PAGE,
                            .prot = PROT_READ | PROT_EXEC,
                            .flags = MAP_SHARED,
                            .readable = true,
                            .noexec = true,
                            .page_bytes = PAGE};
    struct map_plan plan;
    const char *why;

    ck_assert_int_eq(map_check_args(&args, &plan, &why), -EPERM);
    args.readable = false; /* looked at before */
    ck_assert_int_eq(map_check_args(&args, &plan, &why), -EACCES);
    args.readable = true;
    args.prot = PROT_READ;
    ck_assert_int_eq(map_check_args(&args, &plan, &why), 0);
    ck_assert_uint_eq(plan.vm_flags & (VMF_EXEC | VMF_MAYEXEC), 0);
    args.noexec = false;
    ck_assert_int_eq(map_check_args(&args, &plan, &why), 0);
    ck_assert_uint_eq(plan.vm_flags & VMF_MAYEXEC, VMF_MAYEXEC);
}
END_TEST

START_TEST(map_sync_is_legal_where_the_driver_says_so)
{
    struct map_args args = {.length = PAGE,
                            .prot = PROT_READ | PROT_WRITE,
                            .flags = MAP_SHARED_VALIDATE | MAP_SYNC,
                            .readable = true,
                            .writable = true,
                            .page_bytes = PAGE};
    struct map_plan plan;
    const char *why;

    ck_assert_int_eq(map_check_args(&args, &plan, &why), -EOPNOTSUPP);
    args.map_sync = true;
    ck_assert_int_eq(map_check_args(&args, &plan, &why), 0);
    args.flags |= 1u << 25; /* and nothing else that is unknown */
    ck_assert_int_eq(map_check_args(&args, &plan, &why), -EOPNOTSUPP);
}
END_TEST

START_TEST(only_private_writable_memory_counts_as_data)
{
    const struct map_args args = {.data_room = 2 * PAGE};
    struct map_plan plan = {.length = 3 * PAGE, .vm_flags = VMF_READ | VMF_WRITE};

    ck_assert_int_eq(map_check_data(&args, &plan, 0), -ENOMEM);
    ck_assert_int_eq(map_check_data(&args, &plan, PAGE), 0);
    ck_assert_int_eq(map_check_data(&args, &plan, 8 * PAGE), 0);
    plan.length = 2 * PAGE;
    ck_assert_int_eq(map_check_data(&args, &plan, 0), 0);
    plan.length = 3 * PAGE;
    plan.vm_flags = VMF_READ | VMF_MAYWRITE;
    ck_assert_int_eq(map_check_data(&args, &plan, 0), 0);
    plan.vm_flags = VMF_WRITE | VMF_SHARED | VMF_MAYSHARE;
    ck_assert_int_eq(map_check_data(&args, &plan, 0), 0);
}
END_TEST

/* ---- mmap: what it comes to ---- */

static struct map_plan plan_of(uint32_t prot, uint32_t flags, enum access access)
{
    const struct map_args args = {.length = PAGE,
                                  .prot = prot,
                                  .flags = flags,
                                  .readable = access != WO,
                                  .writable = access != RO,
                                  .page_bytes = PAGE};
    struct map_plan plan;
    const char *why;

    ck_assert_int_eq(map_check_args(&args, &plan, &why), 0);
    return plan;
}

#define MAY_ALL (VMF_MAYREAD | VMF_MAYWRITE | VMF_MAYEXEC)

START_TEST(access_and_type_become_the_flags_of_the_kernel)
{
    ck_assert_uint_eq(plan_of(PROT_READ | PROT_WRITE, MAP_SHARED, RW).vm_flags,
                      VMF_READ | VMF_WRITE | MAY_ALL | VMF_SHARED | VMF_MAYSHARE);
    ck_assert_uint_eq(plan_of(PROT_READ, VALIDATE, RW).vm_flags,
                      VMF_READ | MAY_ALL | VMF_SHARED | VMF_MAYSHARE);
    /* shared, but not for writing: not SHARED, and never to become writable */
    ck_assert_uint_eq(plan_of(PROT_READ, MAP_SHARED, RO).vm_flags,
                      VMF_READ | VMF_MAYREAD | VMF_MAYEXEC | VMF_MAYSHARE);
    ck_assert_uint_eq(plan_of(PROT_READ | PROT_WRITE, MAP_PRIVATE, RO).vm_flags,
                      VMF_READ | VMF_WRITE | MAY_ALL);
    ck_assert_uint_eq(plan_of(PROT_EXEC, MAP_PRIVATE, RW).vm_flags, VMF_EXEC | MAY_ALL);
    ck_assert_uint_eq(plan_of(PROT_NONE, MAP_PRIVATE, RW).vm_flags, MAY_ALL);
    ck_assert_uint_eq(plan_of(PROT_NONE, MAP_PRIVATE | MAP_NORESERVE, RW).vm_flags,
                      MAY_ALL | VMF_NORESERVE);
    ck_assert_uint_eq(plan_of(PROT_READ | 0xff00, MAP_PRIVATE, RW).prot, PROT_READ);
}
END_TEST

START_TEST(locked_and_populate_fill_at_once_but_not_with_nonblock)
{
    struct map_plan plan = plan_of(PROT_READ, MAP_SHARED, RW);

    ck_assert(!plan.populate && !plan.locked);
    plan = plan_of(PROT_READ, MAP_SHARED | MAP_POPULATE, RW);
    ck_assert(plan.populate && !plan.locked);
    plan = plan_of(PROT_READ, MAP_SHARED | MAP_POPULATE | MAP_NONBLOCK, RW);
    ck_assert(!plan.populate);
    plan = plan_of(PROT_READ, MAP_SHARED | MAP_NONBLOCK, RW);
    ck_assert(!plan.populate);
    plan = plan_of(PROT_READ, MAP_SHARED | MAP_LOCKED | MAP_NONBLOCK, RW);
    ck_assert(plan.populate && plan.locked);
    ck_assert(plan.vm_flags & VMF_LOCKED);
}
END_TEST

START_TEST(noreplace_means_fixed_too)
{
    struct map_plan plan = plan_of(PROT_READ, MAP_SHARED, RW);

    ck_assert(!plan.fixed && !plan.noreplace);
    plan = plan_of(PROT_READ, MAP_SHARED | MAP_FIXED, RW);
    ck_assert(plan.fixed && !plan.noreplace);
    plan = plan_of(PROT_READ, MAP_SHARED | MAP_FIXED_NOREPLACE, RW);
    ck_assert(plan.fixed && plan.noreplace);
}
END_TEST

START_TEST(lengths_are_rounded_up_to_the_pages_of_the_object)
{
    struct map_args args = {.flags = MAP_SHARED, .readable = true, .writable = true};
    struct map_plan plan;
    const char *why;

    args.length = PAGE + 1;
    args.offset = 3 * PAGE;
    args.page_bytes = PAGE;
    ck_assert_int_eq(map_check_args(&args, &plan, &why), 0);
    ck_assert_uint_eq(plan.length, 2 * PAGE);
    ck_assert_uint_eq(plan.pgoff, 3);
    args.length = 1;
    args.offset = HUGE;
    args.page_bytes = HUGE;
    ck_assert_int_eq(map_check_args(&args, &plan, &why), 0);
    ck_assert_uint_eq(plan.length, HUGE);
    ck_assert_uint_eq(plan.pgoff, HUGE / PAGE);
}
END_TEST

/* ---- munmap ---- */

static const struct {
    uint64_t addr, length;
    int want;
} unmap_rows[] = {
    {PAGE, PAGE, 0},
    {PAGE, 1, 0},
    {0, PAGE, 0},
    {TOP - PAGE, PAGE, 0},
    {TOP - PAGE, 1, 0},
    {1, PAGE, -EINVAL},
    {PAGE, 0, -EINVAL},
    {PAGE, ~0ull, -EINVAL},
    {PAGE, ~0ull - PAGE, -EINVAL},
    {TOP, PAGE, -EINVAL},
    {TOP, 0, -EINVAL},
    {TOP + PAGE, PAGE, -EINVAL},
    {TOP - PAGE, PAGE + 1, -EINVAL},
    {0, TOP + 1, -EINVAL},
};

START_TEST(munmap_refuses_what_the_kernel_refuses)
{
    for (size_t i = 0; i < N_ELEMENTS(unmap_rows); i++) {
        const uint64_t addr = unmap_rows[i].addr, length = unmap_rows[i].length;
        struct range range = {7, 7};
        int r = map_check_unmap(addr, length, &range);

        ck_assert_msg(r == unmap_rows[i].want, "row %zu: %d", i, r);
        if (r < 0) {
            ck_assert_uint_eq(range.start, 7);
            ck_assert_int_eq(munmap((void *)(uintptr_t)addr, length), -1);
            ck_assert_int_eq(errno, EINVAL);
        } else {
            ck_assert_uint_eq(range.start, addr);
            ck_assert_uint_eq(range.end, addr + (length + PAGE - 1) / PAGE * PAGE);
        }
    }
    {
        struct range range;

        ck_assert_int_eq(map_check_unmap(0, TOP, &range), 0); /* all there is */
        ck_assert_uint_eq(range.end, TOP);
    }
}
END_TEST

/* ---- hooks ---- */

START_TEST(every_combination_of_hooks_is_judged_as_the_contract_says)
{
    for (uint32_t hooks = 0; hooks <= 0xff; hooks++) {
        const bool open = hooks & 0x01, prepare = hooks & 0x08, complete = hooks & 0x10,
                   abort_hook = hooks & 0x20, legacy = hooks & 0x40;
        bool is_legal = open;
        const char *why = NULL;

        if (complete && !prepare)
            is_legal = false;
        if (abort_hook && !(prepare && complete))
            is_legal = false;
        if (legacy && prepare)
            is_legal = false;
        ck_assert_msg(map_check_hooks(hooks, &why) == (is_legal ? 0 : -EINVAL), "hooks %#x", hooks);
        ck_assert_msg(is_legal || (why && why[0]), "hooks %#x: no reason", hooks);
    }
}
END_TEST

START_TEST(the_hooks_bits_are_those_of_the_wire)
{
    ck_assert_int_eq(FILE_HOOK_OPEN, 0x01);
    ck_assert_int_eq(FILE_HOOK_MMAP_PREPARE, 0x08);
    ck_assert_int_eq(FILE_HOOK_MMAP_COMPLETE, 0x10);
    ck_assert_int_eq(FILE_HOOK_MMAP_ABORT, 0x20);
    ck_assert_int_eq(FILE_HOOK_MMAP, 0x40);
    ck_assert_int_eq(FILE_HOOK_WRITEBACK, 0x100);
    ck_assert_int_eq(FILE_HOOK_GETATTR_PATH, 0x01000000);
    ck_assert_int_eq(FILE_HOOK_RENAME, 0x10000000);
    ck_assert_uint_eq(FILE_HOOK_SETATTR_PATH, 0x40000000);
    ck_assert_uint_eq(FILE_HOOKS_ALL, 0x7f001fff);
}
END_TEST

START_TEST(hooks_that_nobody_knows_are_refused)
{
    for (unsigned bit = 12; bit < 32; bit++) {
        const char *why = NULL;

        if (FILE_HOOKS_ALL & (1u << bit))
            continue;
        ck_assert_int_eq(map_check_hooks(FILE_HOOK_OPEN | (1u << bit), &why), -EINVAL);
        ck_assert_ptr_nonnull(why);
    }
}
END_TEST

/* ---- what prepare may answer ---- */

#define SETTABLE                                                                                   \
    ((uint64_t)(VMF_IO | VMF_PFNMAP | VMF_MIXEDMAP | VMF_DONTEXPAND | VMF_DONTDUMP |               \
                VMF_DONTCOPY | VMF_HUGEPAGE | VMF_NORESERVE | VMF_LOCKED))
#define CLEARABLE ((uint64_t)(VMF_MAYWRITE | VMF_MAYEXEC | VMF_MAYREAD))

static struct map_answer unchanged(void)
{
    return (struct map_answer){.old_prot = 7, .new_prot = 7, .length = PAGE, .may_lock = true};
}

static int judge(const struct map_answer *answer)
{
    const char *why = NULL;
    int r = map_check_answer(answer, &why);

    ck_assert(r == 0 || r == -EINVAL);
    if (r < 0)
        ck_assert(why && (strncmp(why, "vm_flags: ", 10) == 0 ||
                          strncmp(why, "page_prot: ", 11) == 0 || strncmp(why, "pgoff: ", 7) == 0));
    return r;
}

START_TEST(each_flag_may_be_set_or_cleared_only_if_it_is_on_the_list)
{
    for (unsigned bit = 0; bit < 64; bit++) {
        const uint64_t flag = UINT64_C(1) << bit;
        struct map_answer answer = unchanged();

        answer.new_flags = flag;
        ck_assert_msg((judge(&answer) == 0) == ((flag & SETTABLE) != 0), "set %#" PRIx64, flag);
        answer.old_flags = ~UINT64_C(0);
        answer.new_flags = ~flag;
        ck_assert_msg((judge(&answer) == 0) == ((flag & CLEARABLE) != 0), "clear %#" PRIx64, flag);
        answer.old_flags = answer.new_flags = flag;
        ck_assert_int_eq(judge(&answer), 0);
    }
}
END_TEST

START_TEST(one_forbidden_flag_among_allowed_ones_is_found)
{
    uint64_t random = unit_seed();

    for (unsigned i = 0; i < 20000; i++) {
        struct map_answer answer = unchanged();
        uint64_t set, cleared;

        answer.old_flags = unit_random(&random);
        answer.new_flags = answer.old_flags;
        answer.new_flags |= unit_random(&random) & SETTABLE;
        answer.new_flags &= ~(unit_random(&random) & CLEARABLE);
        if (i % 2)
            answer.new_flags ^= UINT64_C(1) << (unit_random(&random) >> 58);
        set = answer.new_flags & ~answer.old_flags;
        cleared = answer.old_flags & ~answer.new_flags;
        UNIT_EXPECT((judge(&answer) == 0) == (!(set & ~SETTABLE) && !(cleared & ~CLEARABLE)));
    }
}
END_TEST

START_TEST(locked_is_for_those_who_may_lock)
{
    struct map_answer answer = unchanged();

    answer.may_lock = false;
    answer.new_flags = VMF_LOCKED;
    ck_assert_int_eq(judge(&answer), -EINVAL);
    answer.old_flags = VMF_LOCKED; /* the client asked for it */
    ck_assert_int_eq(judge(&answer), 0);
    answer.old_flags = 0;
    answer.may_lock = true;
    ck_assert_int_eq(judge(&answer), 0);
}
END_TEST

START_TEST(page_prot_may_only_become_narrower)
{
    for (uint32_t old = 0; old < 8; old++) {
        for (uint32_t new = 0; new < 16; new ++) {
            struct map_answer answer = unchanged();

            answer.old_prot = old;
            answer.new_prot = new;
            ck_assert_int_eq(judge(&answer), (new & ~old) ? -EINVAL : 0);
        }
    }
}
END_TEST

START_TEST(pgoff_may_move_as_long_as_the_end_is_an_offset)
{
    const uint64_t last = (uint64_t)INT64_MAX / PAGE;
    struct map_answer answer = unchanged();

    answer.length = 4 * PAGE;
    answer.new_pgoff = last - 4;
    ck_assert_int_eq(judge(&answer), 0);
    answer.new_pgoff = last - 3;
    ck_assert_int_eq(judge(&answer), -EINVAL);
    answer.new_pgoff = UINT64_MAX;
    ck_assert_int_eq(judge(&answer), -EINVAL);
    answer.new_pgoff = UINT64_MAX / PAGE + 1; /* times the page size it is 0 */
    ck_assert_int_eq(judge(&answer), -EINVAL);
}
END_TEST

/* ---- actions ---- */

#define START (1ull << 40)
#define END   (START + 8 * PAGE)

static const struct action_row {
    const char *what;
    int want;
    bool is_remap, can_cow;
    uint64_t address, length, fd_offset;
} action_rows[] = {
    {"all of it", 0, true, false, START, 8 * PAGE, 0},
    {"a page in the middle", 0, true, false, START + 3 * PAGE, PAGE, 0},
    {"the last page", 0, true, false, END - PAGE, PAGE, 0},
    {"prefault a page", 0, false, true, START, PAGE, 0},
    {"prefault does not look at the fd", 0, false, false, START, PAGE, 1},
    {"nothing", -EINVAL, true, false, START, 0, 0},
    {"prefault nothing", -EINVAL, false, false, START, 0, 0},
    {"address not aligned", -EINVAL, true, false, START + 1, PAGE, 0},
    {"length not aligned", -EINVAL, true, false, START, PAGE + 1, 0},
    {"before it", -EINVAL, true, false, START - PAGE, PAGE, 0},
    {"across its start", -EINVAL, true, false, START - PAGE, 2 * PAGE, 0},
    {"across its end", -EINVAL, true, false, END - PAGE, 2 * PAGE, 0},
    {"behind it", -EINVAL, true, false, END, PAGE, 0},
    {"prefault behind it", -EINVAL, false, false, END, PAGE, 0},
    {"longer than it", -EINVAL, true, false, START, 9 * PAGE, 0},
    {"so long that it wraps", -EINVAL, true, false, START + PAGE, -PAGE, 0},
    {"offset in the fd not aligned", -EINVAL, true, false, START, PAGE, 1},
    {"offset in the fd at its last page", 0, true, false, START, PAGE, (1ull << 63) - 2 * PAGE},
    {"offset in the fd too far", -EINVAL, true, false, START, PAGE, (1ull << 63) - PAGE},
    {"offset in the fd negative", -EINVAL, true, false, START, PAGE, 1ull << 63},
    {"copy-on-write, all of it", 0, true, true, START, 8 * PAGE, 0},
    {"copy-on-write, not to the end", -EINVAL, true, true, START, 7 * PAGE, 0},
    {"copy-on-write, not from the start", -EINVAL, true, true, START + PAGE, 7 * PAGE, 0},
};

START_TEST(actions_lie_inside_the_mapping_and_cover_what_can_be_copied)
{
    for (size_t i = 0; i < N_ELEMENTS(action_rows); i++) {
        const struct action_row *row = &action_rows[i];
        const struct map_action action = {.is_remap = row->is_remap,
                                          .start = START,
                                          .end = END,
                                          .address = row->address,
                                          .length = row->length,
                                          .fd_offset = row->fd_offset,
                                          .can_cow = row->can_cow};
        const char *why = NULL;
        int r = map_check_action(&action, &why);

        ck_assert_msg(r == row->want, "%s: %d", row->what, r);
        ck_assert_msg(r == 0 || (why && strncmp(why, "action: ", 8) == 0), "%s: no reason",
                      row->what);
    }
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("map_check");

    tcase_add_test(tcase, a_file_that_may_not_be_executed_is_eperm_and_never_may_be);
    tcase_add_test(tcase, map_sync_is_legal_where_the_driver_says_so);
    tcase_add_test(tcase, only_private_writable_memory_counts_as_data);
    tcase_add_loop_test(tcase, mmap_arguments_are_refused_with_the_errno_of_the_kernel, 0,
                        N_ELEMENTS(rows));
    tcase_add_loop_test(tcase, the_kernel_this_runs_on_says_the_same, 0, N_ELEMENTS(rows));
    tcase_add_test(tcase, access_and_type_become_the_flags_of_the_kernel);
    tcase_add_test(tcase, locked_and_populate_fill_at_once_but_not_with_nonblock);
    tcase_add_test(tcase, noreplace_means_fixed_too);
    tcase_add_test(tcase, lengths_are_rounded_up_to_the_pages_of_the_object);
    tcase_add_test(tcase, munmap_refuses_what_the_kernel_refuses);
    tcase_add_test(tcase, every_combination_of_hooks_is_judged_as_the_contract_says);
    tcase_add_test(tcase, the_hooks_bits_are_those_of_the_wire);
    tcase_add_test(tcase, hooks_that_nobody_knows_are_refused);
    tcase_add_test(tcase, each_flag_may_be_set_or_cleared_only_if_it_is_on_the_list);
    tcase_add_test(tcase, one_forbidden_flag_among_allowed_ones_is_found);
    tcase_add_test(tcase, locked_is_for_those_who_may_lock);
    tcase_add_test(tcase, page_prot_may_only_become_narrower);
    tcase_add_test(tcase, pgoff_may_move_as_long_as_the_end_is_an_offset);
    tcase_add_test(tcase, actions_lie_inside_the_mapping_and_cover_what_can_be_copied);
    return unit_run("map_check", tcase);
}
