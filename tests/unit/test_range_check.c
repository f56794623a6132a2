/* SPDX-License-Identifier: BSD-3-Clause */
/* The arguments of mprotect, madvise, mlock and mremap: one row for each rule, with its errno. What
 * the kernel says to the same is in it_protect.c and its neighbours. */
#include <errno.h>
#include <sys/mman.h>

#include <check.h>

#include "common/base/linux_abi.h"
#include "common/base/own.h"
#include "server/map/range_check.h"
#include "server/vm/aspace.h"
#include "server/vm/vma.h"
#include "tests/support/unit.h"

#define PAGE UINT64_C(4096)
#define HUGE (UINT64_C(2) << 20)
#define RO   PROT_READ

static const struct {
    const char *name;
    int error;
    uint64_t addr, length;
    uint32_t prot;
    uint64_t end; /* when it is 0 */
    bool grows;
} protects[] = {
    {"a page", 0, PAGE, PAGE, RO, 2 * PAGE, false},
    {"rounded up", 0, PAGE, 1, RO, 2 * PAGE, false},
    {"no length", 0, PAGE, 0, RO, PAGE, false},
    {"no length, nonsense", 0, PAGE, 0, 0x1000, PAGE, false},
    {"not aligned", -EINVAL, PAGE + 1, PAGE, RO, 0, false},
    {"not aligned, no length", -EINVAL, PAGE + 1, 0, RO, 0, false},
    {"wraps", -ENOMEM, PAGE, UINT64_MAX - PAGE, RO, 0, false},
    {"wraps to nothing", -ENOMEM, 0, UINT64_MAX, RO, 0, false},
    {"unknown bits", -EINVAL, PAGE, PAGE, 0x10, 0, false},
    {"SEM is known", 0, PAGE, PAGE, RO | 8, 2 * PAGE, false},
    {"down", 0, PAGE, PAGE, RO | PROT_GROWSDOWN, 2 * PAGE, true},
    {"both ways", -EINVAL, PAGE, PAGE, RO | PROT_GROWSDOWN | PROT_GROWSUP, 0, false},
    {"the wrap comes before the bits", -ENOMEM, PAGE, UINT64_MAX - PAGE, 0x10, 0, false},
};

START_TEST(mprotect_is_refused_with_the_kernels_errno)
{
    for (size_t i = 0; i < N_ELEMENTS(protects); i++) {
        struct range range = {9, 9};
        bool grows = false;
        int r = range_check_protect(protects[i].addr, protects[i].length, protects[i].prot, &range,
                                    &grows);

        ck_assert_msg(r == protects[i].error, "%s: %d", protects[i].name, r);
        if (r < 0)
            continue;
        ck_assert_uint_eq(range.start, protects[i].addr);
        ck_assert_uint_eq(range.end, protects[i].end);
        ck_assert_int_eq(grows, protects[i].grows);
    }
}
END_TEST

START_TEST(madvise_is_refused_with_the_kernels_errno)
{
    static const struct {
        int error;
        uint64_t addr, length;
        uint32_t advice;
    } rows[] = {
        {0, PAGE, PAGE, MADV_DONTNEED},
        {0, PAGE, 0, MADV_NORMAL},
        {-EINVAL, PAGE, 0, 4711},
        {-EINVAL, PAGE, PAGE, MADV_HWPOISON},
        {-EINVAL, PAGE, PAGE, MADV_GUARD_INSTALL},
        {-EINVAL, PAGE + 1, PAGE, MADV_NORMAL},
        {-EINVAL, PAGE + 1, 0, MADV_NORMAL},
        {-EINVAL, PAGE, UINT64_MAX, MADV_NORMAL},
        {-EINVAL, 3 * PAGE, UINT64_MAX - 2 * PAGE, MADV_NORMAL},
        {0, PAGE, PAGE, MADV_POPULATE_WRITE},
    };
    struct range range;

    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        int r = range_check_advise(rows[i].addr, rows[i].length, rows[i].advice, &range);

        ck_assert_msg(r == rows[i].error, "row %zu: %d", i, r);
    }
}
END_TEST

START_TEST(mlock_rounds_outwards_and_refuses_what_wraps)
{
    struct range range;

    ck_assert_int_eq(range_check_lock(PAGE + 100, PAGE, &range), 0);
    ck_assert_uint_eq(range.start, PAGE);
    ck_assert_uint_eq(range.end, 3 * PAGE);
    ck_assert_int_eq(range_check_lock(PAGE, 0, &range), 0);
    ck_assert(range_is_empty(range));
    ck_assert_int_eq(range_check_lock(3 * PAGE, UINT64_MAX - 2 * PAGE, &range), -EINVAL);
}
END_TEST

#define MAY  ((uint32_t)MREMAP_MAYMOVE)
#define TO   ((uint32_t)(MREMAP_MAYMOVE | MREMAP_FIXED))
#define KEEP ((uint32_t)(MREMAP_MAYMOVE | MREMAP_DONTUNMAP))

START_TEST(mremap_is_refused_with_the_kernels_errno)
{
    static const struct {
        const char *name;
        int error;
        struct remap_args args; /* address, lengths, target, flags */
    } rows[] = {
        {"larger", 0, {PAGE, PAGE, 2 * PAGE, 0, 0}},
        {"unknown flags", -EINVAL, {PAGE, PAGE, PAGE, 0, 8}},
        {"not aligned", -EINVAL, {PAGE + 1, PAGE, PAGE, 0, MAY}},
        {"new length 0", -EINVAL, {PAGE, PAGE, 0, 0, MAY}},
        {"new length wraps to 0", -EINVAL, {PAGE, PAGE, UINT64_MAX, 0, MAY}},
        {"too long", -EINVAL, {PAGE, PAGE, ASPACE_TASK_END + 1, 0, MAY}},
        {"FIXED alone", -EINVAL, {PAGE, PAGE, PAGE, 9 * PAGE, MREMAP_FIXED}},
        {"DONTUNMAP alone", -EINVAL, {PAGE, PAGE, PAGE, 0, MREMAP_DONTUNMAP}},
        {"DONTUNMAP, larger", -EINVAL, {PAGE, PAGE, 2 * PAGE, 9 * PAGE, KEEP}},
        {"the target not aligned", -EINVAL, {PAGE, PAGE, PAGE, 9 * PAGE + 1, TO}},
        {"the target too high", -EINVAL, {PAGE, PAGE, PAGE, ASPACE_TASK_END, TO}},
        {"overlapping", -EINVAL, {PAGE, 2 * PAGE, 2 * PAGE, 2 * PAGE, TO}},
        {"overlapping from below", -EINVAL, {2 * PAGE, PAGE, 2 * PAGE, PAGE, TO}},
        {"beside it", 0, {PAGE, PAGE, PAGE, 2 * PAGE, TO}},
        {"old length 0", 0, {PAGE, 0, PAGE, 9 * PAGE, TO}},
        {"no target: new_addr is not looked at", 0, {PAGE, PAGE, PAGE, 7, MAY}},
    };

    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        struct remap_args args = rows[i].args;
        int r = range_check_remap(&args);

        ck_assert_msg(r == rows[i].error, "%s: %d", rows[i].name, r);
    }
}
END_TEST

START_TEST(mremap_looks_at_what_is_mapped)
{
    const struct remap_vma private = {VMF_MAYWRITE, PAGE, 5 * PAGE, 0, false, PAGE};
    const struct remap_vma shared = {VMF_SHARED | VMF_MAYSHARE, PAGE, 5 * PAGE, 0, false, PAGE};
    const struct remap_vma rigid = {VMF_DONTEXPAND, PAGE, 5 * PAGE, 0, false, PAGE};
    const struct remap_vma far = {0, PAGE, 5 * PAGE, (uint64_t)INT64_MAX / PAGE - 4, false, PAGE};
    const struct remap_vma huge = {VMF_MAYSHARE, HUGE, 3 * HUGE, 0, false, HUGE};
    const struct {
        const char *name;
        int error;
        struct remap_args args;
        const struct remap_vma *vma;
    } rows[] = {
        {"old length 0, private", -EINVAL, {PAGE, 0, PAGE, 0, MAY}, &private},
        {"old length 0, shared", 0, {PAGE, 0, PAGE, 0, MAY}, &shared},
        {"past its end, the same size", 0, {PAGE, 9 * PAGE, 9 * PAGE, 0, 0}, &private},
        {"past its end, elsewhere", -EFAULT, {PAGE, 9 * PAGE, 9 * PAGE, 64 * PAGE, TO}, &private},
        {"past its end, larger", -EFAULT, {PAGE, 9 * PAGE, 10 * PAGE, 0, MAY}, &private},
        {"past its end, smaller than it", 0, {PAGE, 9 * PAGE, 2 * PAGE, 0, 0}, &private},
        {"past its end, smaller, but too long",
         -EFAULT,
         {PAGE, 9 * PAGE, 8 * PAGE, 0, 0},
         &private},
        {"may not expand", -EFAULT, {PAGE, 4 * PAGE, 5 * PAGE, 0, MAY}, &rigid},
        {"may not expand, moves", 0, {PAGE, 4 * PAGE, 4 * PAGE, 64 * PAGE, TO}, &rigid},
        {"may not expand, the source stays", -EINVAL, {PAGE, PAGE, PAGE, 0, KEEP}, &rigid},
        {"the offset wraps", -EINVAL, {PAGE, 4 * PAGE, 9 * PAGE, 0, MAY}, &far},
        {"huge, whole pages", 0, {HUGE, HUGE, HUGE, 8 * HUGE, TO}, &huge},
        {"huge, a part", -EINVAL, {HUGE, PAGE, PAGE, 8 * HUGE, TO}, &huge},
        {"huge, larger", -EINVAL, {HUGE, 2 * HUGE, 3 * HUGE, 0, MAY}, &huge},
        {"huge, the target not aligned", -EINVAL, {HUGE, HUGE, HUGE, 8 * HUGE + PAGE, TO}, &huge},
        {"huge, the source stays", -EINVAL, {HUGE, HUGE, HUGE, 8 * HUGE, KEEP}, &huge},
    };

    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        int r = range_check_remap_vma(&rows[i].args, rows[i].vma);

        ck_assert_msg(r == rows[i].error, "%s: %d", rows[i].name, r);
    }
}
END_TEST

START_TEST(mremap_keeps_the_limit_of_data)
{
    static const struct {
        int error;
        uint32_t vma_flags;
        struct remap_args args;
    } rows[] = {
        {0, VMF_WRITE, {PAGE, PAGE, 5 * PAGE, 0, MAY}},
        {-ENOMEM, VMF_WRITE, {PAGE, PAGE, 6 * PAGE, 0, MAY}},
        {0, VMF_WRITE | VMF_SHARED, {PAGE, PAGE, 6 * PAGE, 0, MAY}},
        {0, VMF_READ, {PAGE, PAGE, 6 * PAGE, 0, MAY}},
        {0, VMF_WRITE, {PAGE, 9 * PAGE, 8 * PAGE, 0, MAY}},
        {0, VMF_WRITE, {PAGE, 9 * PAGE, 9 * PAGE, 64 * PAGE, TO}},
        {0, VMF_WRITE, {PAGE, 4 * PAGE, 4 * PAGE, 64 * PAGE, KEEP}},
        {-ENOMEM, VMF_WRITE, {PAGE, 5 * PAGE, 5 * PAGE, 64 * PAGE, KEEP}},
    };

    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        int r = range_check_remap_data(&rows[i].args, rows[i].vma_flags, 4 * PAGE);

        ck_assert_msg(r == rows[i].error, "row %zu: %d", i, r);
    }
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("range_check");

    tcase_add_test(tcase, mprotect_is_refused_with_the_kernels_errno);
    tcase_add_test(tcase, madvise_is_refused_with_the_kernels_errno);
    tcase_add_test(tcase, mlock_rounds_outwards_and_refuses_what_wraps);
    tcase_add_test(tcase, mremap_is_refused_with_the_kernels_errno);
    tcase_add_test(tcase, mremap_looks_at_what_is_mapped);
    tcase_add_test(tcase, mremap_keeps_the_limit_of_data);
    return unit_run("range_check", tcase);
}
