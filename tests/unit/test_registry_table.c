/* SPDX-License-Identifier: BSD-3-Clause */
/* Entries of a registry: what is one, and what is refused. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <check.h>

#include "common/base/own.h"
#include "drivers/registry/table.h"
#include "tests/support/unit.h"

START_TEST(an_entry_is_a_name_and_what_is_behind_the_first_equals_sign)
{
    struct table table = {.n_entries = 0};
    struct table_error err;

    ck_assert_int_eq(table_add(&table, "a=zero/1=2", &err), 0);
    ck_assert_int_eq(table_add(&table, "b=", &err), 0);
    ck_assert_int_eq(table_add(&table, "...=x/y/z", &err), 0);
    ck_assert_str_eq(table_find(&table, "a")->target, "zero/1=2");
    ck_assert_str_eq(table_find(&table, "b")->target, "");
    ck_assert_str_eq(table_find(&table, "...")->target, "x/y/z");
    ck_assert_ptr_null(table_find(&table, ""));
    ck_assert_ptr_null(table_find(&table, "c"));
    table_done(&table);
}
END_TEST

START_TEST(what_is_no_entry_is_einval_with_a_sentence)
{
    static const char *const words[] = {"",        "a",      "=zero/1", ".=zero/1", "..=zero/1",
                                        "a/b=c/d", "a=zero", "a=/1",    "a=zero/"};
    struct table table = {.n_entries = 0};
    struct table_error err;
    char name[TABLE_NAME_MAX + 8];

    for (size_t i = 0; i < N_ELEMENTS(words); i++) {
        err.text[0] = '\0';
        ck_assert_msg(table_add(&table, words[i], &err) == -EINVAL, "%s", words[i]);
        ck_assert_uint_gt(strlen(err.text), 0);
    }
    memset(name, 'n', sizeof(name));
    memcpy(name + TABLE_NAME_MAX + 1, "=a/b", 5);
    ck_assert_int_eq(table_add(&table, name, &err), -EINVAL);
    ck_assert_int_eq(table_add(&table, name + 1, &err), 0);
    ck_assert_int_eq(table_add(&table, name + 1, &err), -EEXIST);
    ck_assert_uint_eq(table.n_entries, 1);
    table_done(&table);
}
END_TEST

START_TEST(a_text_is_read_line_by_line_and_an_error_names_its_line)
{
    static const char good[] = "# comment\n\na=b/c\nx=\ne=f/g";
    static const char zero[] = "a=b/c\nx=e\0f\n";
    struct table table = {.n_entries = 0};
    struct table_error err;

    ck_assert_int_eq(table_read(&table, good, sizeof(good) - 1, &err), 0);
    ck_assert_uint_eq(table.n_entries, 3);
    ck_assert_str_eq(table_find(&table, "e")->target, "f/g");
    ck_assert_int_eq(table_read(&table, "y=y/z\na=b/c\n", 12, &err), -EEXIST);
    ck_assert_ptr_nonnull(strstr(err.text, "line 2: "));
    table_done(&table);
    ck_assert_int_eq(table_read(&table, zero, sizeof(zero) - 1, &err), -EINVAL);
    ck_assert_str_eq(err.text, "line 2: it has a zero byte");
    table_done(&table);
    ck_assert_int_eq(table_read(&table, "", 0, &err), 0);
    table_done(&table);
}
END_TEST

START_TEST(there_is_an_end_to_entries)
{
    struct table table = {.n_entries = 0};
    struct table_error err;
    char word[32];

    for (unsigned i = 0; i < TABLE_ENTRIES_MAX; i++) {
        (void)snprintf(word, sizeof(word), "n%u=a/b", i);
        UNIT_EXPECT(table_add(&table, word, &err) == 0);
    }
    ck_assert_int_eq(table_add(&table, "one=more/x", &err), -E2BIG);
    ck_assert_str_eq(table_find(&table, "n4095")->target, "a/b");
    table_done(&table);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("registry_table");

    tcase_add_test(tcase, an_entry_is_a_name_and_what_is_behind_the_first_equals_sign);
    tcase_add_test(tcase, what_is_no_entry_is_einval_with_a_sentence);
    tcase_add_test(tcase, a_text_is_read_line_by_line_and_an_error_names_its_line);
    tcase_add_test(tcase, there_is_an_end_to_entries);
    return unit_run("registry_table", tcase);
}
