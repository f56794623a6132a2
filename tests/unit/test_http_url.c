/* SPDX-License-Identifier: BSD-3-Clause */
/* Which URL a name stands for: drivers/http/url.c. */
#include <errno.h>
#include <string.h>

#include <check.h>

#include "common/base/own.h"
#include "drivers/http/url.h"
#include "tests/support/unit.h"

START_TEST(only_a_url_of_http_with_a_path_is_served)
{
    static const struct {
        const char *url;
        int error;
    } cases[] = {
        {"http://h/", 0},          {"HTTPS://h/a/b", 0},       {"http://h/a?b", 0},
        {"http://u:p@h:80/a/", 0}, {"http://h/a?b/", -EINVAL}, {"http://h/#/", -EINVAL},
        {"http://h", -EINVAL},     {"http:///a", -EINVAL},     {"http://?a", -EINVAL},
        {"ftp://h/", -EINVAL},     {"file:///etc/x", -EINVAL}, {"", -EINVAL},
        {"h/", -EINVAL},           {"http://h?x", -EINVAL},
    };
    static char longest[URL_BYTES_MAX] = "http://h/";
    const char *why;

    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        why = NULL;
        ck_assert_msg(url_check(cases[i].url, &why) == cases[i].error, "%s", cases[i].url);
        ck_assert((why != NULL) == (cases[i].error != 0));
    }
    memset(longest + 9, 'a', sizeof(longest) - 10);
    ck_assert_int_eq(url_check(longest, &why), -ENAMETOOLONG);
}
END_TEST

START_TEST(the_name_of_an_only_object_is_what_stands_behind_the_last_slash)
{
    static const struct {
        const char *url, *name;
    } cases[] = {
        {"http://h/a", "a"},   {"http://h/a/b.img", "b.img"}, {"http://h/a?x=/y", "a"},
        {"http://h/a#b", "a"}, {"http://h/a%20b", "a%20b"},   {"http://h/?q", "object"},
    };
    char name[64];

    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        url_name(cases[i].url, name, sizeof(name));
        ck_assert_str_eq(name, cases[i].name);
    }
    url_name("http://h/abcdef", name, 4);
    ck_assert_str_eq(name, "abc");
}
END_TEST

START_TEST(a_name_is_escaped_and_stays_below_its_base)
{
    static const struct {
        const char *path, *url;
    } cases[] = {
        {"a", "http://h/a"},
        {"a/b", "http://h/a/b"},
        {"a b", "http://h/a%20b"},
        {"%2e%2e", "http://h/%252e%252e"},
        {"a?b#c", "http://h/a%3Fb%23c"},
        {"\xc3\xa4", "http://h/%C3%A4"},
        {"...", "http://h/..."},
        {"a\r\nb", "http://h/a%0D%0Ab"},
        {"a\\..\\b", "http://h/a%5C..%5Cb"},
        {"..a/b..", "http://h/..a/b.."},
    };
    static const char *const odd[] = {"",     ".",      "..",  "/",   "/a",  "a/",
                                      "a//b", "a/../b", "./a", "a/.", "a/.."};
    char url[URL_BYTES_MAX];
    const char *why;

    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        ck_assert_int_eq(url_join("http://h/", cases[i].path, url, &why), 0);
        ck_assert_str_eq(url, cases[i].url);
    }
    for (size_t i = 0; i < N_ELEMENTS(odd); i++)
        ck_assert_msg(url_join("http://h/", odd[i], url, &why) == -ENOENT, "%s", odd[i]);
}
END_TEST

START_TEST(a_name_that_would_not_fit_is_refused)
{
    static char path[URL_BYTES_MAX];
    char url[URL_BYTES_MAX];
    const char *why;
    const size_t n_fits = (URL_BYTES_MAX - 1 - 9) / 3;

    memset(path, '%', n_fits);
    ck_assert_int_eq(url_join("http://h/", path, url, &why), 0);
    ck_assert_uint_eq(strlen(url), 9 + 3 * n_fits);
    path[n_fits] = '%';
    ck_assert_int_eq(url_join("http://h/", path, url, &why), -ENAMETOOLONG);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("url");

    tcase_add_test(tcase, only_a_url_of_http_with_a_path_is_served);
    tcase_add_test(tcase, the_name_of_an_only_object_is_what_stands_behind_the_last_slash);
    tcase_add_test(tcase, a_name_is_escaped_and_stays_below_its_base);
    tcase_add_test(tcase, a_name_that_would_not_fit_is_refused);
    return unit_run("http url", tcase);
}
