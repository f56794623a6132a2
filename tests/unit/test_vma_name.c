/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of server/vm/vma_name.h: what a driver calls its mapping, made safe, and shared by copies. */
#include <string.h>

#include <check.h>

#include "common/base/own.h"
#include "server/vm/vma.h"
#include "server/vm/vma_tree.h"
#include "tests/support/unit.h"

START_TEST(a_name_is_made_printable_and_cut)
{
    static const struct {
        const char *said, *kept;
    } names[] = {
        {"rings", "rings"},
        {"", ""},
        {"[vvar]", "vvar"},
        {"[", "["},
        {"[]", ""},
        {"[a", "[a"},
        {"a b~", "a b~"},
        {"a\nb\x1b[31m\x7f", "a?b?[31m?"},
        {"\xc3\xa4\xff", "???"},
        {"0123456789012345678901234567890123456789012345678901234567890123x",
         "0123456789012345678901234567890123456789012345678901234567890123"},
        {"[0123456789012345678901234567890123456789012345678901234567890123]",
         "0123456789012345678901234567890123456789012345678901234567890123"},
    };
    struct vma_name *name;

    ck_assert_int_eq(vma_name_new(&name), 0);
    ck_assert_str_eq(name->text, "");
    for (size_t i = 0; i < N_ELEMENTS(names); i++) {
        vma_name_set(name, names[i].said);
        ck_assert_str_eq(name->text, names[i].kept);
    }
    ck_assert_ptr_null(vma_name_unref(name));
    ck_assert_ptr_null(vma_name_unref(NULL));
}
END_TEST

static struct vma *new_vma(uint64_t start, uint64_t end)
{
    struct vma *vma;

    ck_assert_int_eq(vma_new(1, &vma), 0);
    vma->start = start;
    vma->end = end;
    return vma;
}

START_TEST(copies_share_a_name_that_comes_later_and_the_last_one_frees_it)
{
    struct vma *vma = new_vma(0x1000, 0x5000), *spare, *copy = new_vma(0, 0x1000);
    struct vma_name *name;
    struct vma_tree tree;

    vma_tree_init(&tree);
    ck_assert_int_eq(vma_new(2, &spare), 0);
    ck_assert_int_eq(vma_name_new(&name), 0);
    vma->name = vma_name_ref(name);
    ck_assert_int_eq(vma_tree_insert(&tree, vma), 0);
    vma_split(&tree, vma, 0x3000, spare);
    ck_assert_int_eq(vma_name_new(&copy->name), 0); /* is given up for the one it copies */
    vma_copy_identity(copy, spare);
    ck_assert_uint_eq(name->n_refs, 4);
    vma_name_set(name, "rings");
    ck_assert_str_eq(spare->name->text, "rings");
    ck_assert_str_eq(copy->name->text, "rings");
    (void)vma_free(copy);
    vma_tree_done(&tree);
    ck_assert_uint_eq(name->n_refs, 1);
    (void)vma_name_unref(name);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("vma_name");

    tcase_add_test(tcase, a_name_is_made_printable_and_cut);
    tcase_add_test(tcase, copies_share_a_name_that_comes_later_and_the_last_one_frees_it);
    return unit_run("vma_name", tcase);
}
