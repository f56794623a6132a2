/* SPDX-License-Identifier: BSD-3-Clause */
/* Numbers and sizes as options and configuration have them: what is one, and what is not. */
#include <errno.h>

#include "common/base/number.h"
#include "common/base/own.h"
#include "tests/support/unit.h"

START_TEST(sizes_are_digits_and_perhaps_a_unit)
{
    static const struct {
        const char *text;
        int r;
        uint64_t bytes;
    } sizes[] = {{"0", 0, 0},
                 {"4096", 0, 4096},
                 {"3K", 0, 3072},
                 {"2M", 0, 2097152},
                 {"1G", 0, 1073741824},
                 {"1T", 0, UINT64_C(1) << 40},
                 {"18446744073709551615", 0, UINT64_MAX},
                 {"18446744073709551616", -EINVAL, 0},
                 {"16777215T", 0, UINT64_C(16777215) << 40},
                 {"16777216T", -EINVAL, 0},
                 {"", -EINVAL, 0},
                 {"K", -EINVAL, 0},
                 {"-1", -EINVAL, 0},
                 {" 1", -EINVAL, 0},
                 {"1 K", -EINVAL, 0},
                 {"1KB", -EINVAL, 0},
                 {"1P", -EINVAL, 0},
                 {"0x10", -EINVAL, 0}};

    for (size_t i = 0; i < N_ELEMENTS(sizes); i++) {
        uint64_t bytes = 7;

        ck_assert_msg(size_parse(sizes[i].text, &bytes) == sizes[i].r, "%s", sizes[i].text);
        ck_assert_uint_eq(bytes, sizes[i].r == 0 ? sizes[i].bytes : 7);
    }
}
END_TEST

START_TEST(a_number_has_a_base_and_an_end)
{
    const char *text = "017,5", *end;
    uint64_t number;

    ck_assert_int_eq(number_take(text, 10, &number, &end), 0);
    ck_assert_uint_eq(number, 17);
    ck_assert_ptr_eq(end, text + 3);
    ck_assert_int_eq(number_take(text, 8, &number, &end), 0);
    ck_assert_uint_eq(number, 017);
    ck_assert_int_eq(number_take("0x1f@", 0, &number, &end), 0);
    ck_assert_uint_eq(number, 0x1f);
    ck_assert_int_eq(*end, '@');
    ck_assert_int_eq(number_take(",5", 10, &number, &end), -EINVAL);
    ck_assert_int_eq(number_take("+5", 10, &number, &end), -EINVAL);
    ck_assert_int_eq(number_take("99999999999999999999", 10, &number, &end), -EINVAL);
}
END_TEST

START_TEST(a_number_is_all_of_the_text_and_not_more_than_the_greatest)
{
    uint64_t number = 7;

    ck_assert_int_eq(number_parse("4097", 10, 4096, &number), -EINVAL);
    ck_assert_int_eq(number_parse("4096 ", 10, 4096, &number), -EINVAL);
    ck_assert_int_eq(number_parse("8", 8, 0777, &number), -EINVAL);
    ck_assert_int_eq(number_parse("", 10, 4096, &number), -EINVAL);
    ck_assert_uint_eq(number, 7);
    ck_assert_int_eq(number_parse("4096", 10, 4096, &number), 0);
    ck_assert_uint_eq(number, 4096);
    ck_assert_int_eq(number_parse("777", 8, 0777, &number), 0);
    ck_assert_uint_eq(number, 0777);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("number");

    tcase_add_test(tcase, sizes_are_digits_and_perhaps_a_unit);
    tcase_add_test(tcase, a_number_has_a_base_and_an_end);
    tcase_add_test(tcase, a_number_is_all_of_the_text_and_not_more_than_the_greatest);
    return unit_run("number", tcase);
}
