/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of drivers/pseudolock/group.h: options, and which check comes first. */
#include <errno.h>
#include <string.h>

#include <check.h>

#include "common/base/own.h"
#include "drivers/pseudolock/group.h"
#include "tests/support/unit.h"

#define PAGE ((uint64_t)MUSE_PAGE_BYTES)

START_TEST(an_option_names_a_group_its_size_cpus_and_file)
{
    char text[] = "p0:64K:0-2,5:/tmp/region:with:colons";
    struct group group;

    ck_assert_ptr_null(group_parse(text, &group));
    ck_assert_str_eq(group.name, "p0");
    ck_assert_uint_eq(group.size_bytes, 65536);
    ck_assert_int_eq(CPU_COUNT(&group.cpus), 4);
    ck_assert(CPU_ISSET(5, &group.cpus) && !CPU_ISSET(3, &group.cpus));
    ck_assert_str_eq(group.path, "/tmp/region:with:colons");
}
END_TEST

static const char *const bad[] = {
    "",
    "p0",
    "p0:4K",
    ":4K:0",
    "a/b:4K:0",
    ".x:4K:0",
    "p0:5:0",
    "p0:4X:0",
    "p0:-4K:0",
    "p0:2048M:0",
    "p0:4K:",
    "p0:4K:1-0",
    "p0:4K:0,",
    "p0:4K:x",
    "p0:4K:0-",
    "p0:4K:99999",
    "p0:4K:0 ",
    "p0::0",
    "p0:4K:0-1-",
    "p0:99999999999999999999:0",
    "a12345678901234567890123456789012:4K:0",
};

START_TEST(other_options_are_refused)
{
    char text[96];
    struct group group;

    (void)strcpy(text, bad[_i]); /* NOLINT: short */
    ck_assert_msg(group_parse(text, &group) != NULL, "%s", bad[_i]);
}
END_TEST

/* Each row has the mistakes of all rows below it, too. */
START_TEST(what_is_looked_at_first_decides)
{
    struct group group = {.size_bytes = 4 * PAGE, .is_removed = true};
    struct muse_vma_desc desc = {.end = 5 * PAGE, .pgoff = 5, .vm_flags = MUSE_VM_MAYSHARE};
    const char *why;
    cpu_set_t cpus;

    CPU_ZERO(&cpus);
    CPU_SET(1, &cpus);
    CPU_ZERO(&group.cpus);
    ck_assert_int_eq(group_check(NULL, &cpus, &desc, &why), -ENODEV);
    ck_assert_int_eq(group_check(&group, &cpus, &desc, &why), -ENODEV);
    group.is_removed = false;
    group.size_bytes = 0;
    ck_assert_int_eq(group_check(&group, &cpus, &desc, &why), -ENODEV);
    group.size_bytes = 4 * PAGE;
    ck_assert_int_eq(group_check(&group, &cpus, &desc, &why), -EINVAL);
    CPU_SET(1, &group.cpus);
    ck_assert_int_eq(group_check(&group, &cpus, &desc, &why), -ENOSPC);
    desc.pgoff = 4;
    ck_assert_int_eq(group_check(&group, &cpus, &desc, &why), -EINVAL);
    desc.vm_flags |= MUSE_VM_SHARED;
    ck_assert_int_eq(group_check(&group, &cpus, &desc, &why), -ENOSPC);
    desc.pgoff = 0;
    ck_assert_int_eq(group_check(&group, &cpus, &desc, &why), -ENOSPC);
    desc.end = 4 * PAGE;
    ck_assert_int_eq(group_check(&group, &cpus, &desc, &why), 0);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("pseudolock_group");

    tcase_add_test(tcase, an_option_names_a_group_its_size_cpus_and_file);
    tcase_add_loop_test(tcase, other_options_are_refused, 0, N_ELEMENTS(bad));
    tcase_add_test(tcase, what_is_looked_at_first_decides);
    return unit_run("pseudolock_group", tcase);
}
