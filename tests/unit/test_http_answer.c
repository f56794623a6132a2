/* SPDX-License-Identifier: BSD-3-Clause */
/* Headers of HTTP servers, parsed and judged: drivers/http/answer.c. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <check.h>

#include "common/base/own.h"
#include "drivers/http/answer.h"
#include "tests/support/unit.h"

/* Lines end in a newline. */
static struct answer parsed(const char *text)
{
    struct answer answer = {0};

    while (*text) {
        const size_t n = strcspn(text, "\n") + 1;

        answer_line(&answer, text, n);
        text += n;
    }
    return answer;
}

#define OK_LINES "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-0/1000\r\nETag: \"a\"\r\n"

START_TEST(a_header_is_parsed_whatever_its_letters_and_blanks)
{
    const struct answer answer = parsed("HTTP/2 206\r\ncontent-range:bytes 10-19/1000\r\n"
                                        "ETAG:  W/\"x y\" \r\nLast-Modified: Thu, 1 Jan\n"
                                        "no colon\r\nContent-Encoding: identity\r\n\r\n");

    ck_assert_uint_eq(answer.status, 206);
    ck_assert(answer.has_range && range_equal(answer.bytes, range_make(10, 20)));
    ck_assert_uint_eq(answer.size_bytes, 1000);
    ck_assert_str_eq(answer.etag, "W/\"x y\"");
    ck_assert_str_eq(answer.modified, "Thu, 1 Jan");
    ck_assert(!answer.is_encoded && !answer.is_too_long);
}
END_TEST

START_TEST(a_status_line_forgets_what_came_before)
{
    const struct answer answer = parsed("HTTP/1.1 302 Found\r\nETag: \"old\"\r\n\r\n"
                                        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n");

    ck_assert_uint_eq(answer.status, 200);
    ck_assert_str_eq(answer.etag, "");
    ck_assert(answer.is_empty);
}
END_TEST

START_TEST(a_content_range_that_makes_no_sense_is_none)
{
    static const char *const values[] = {
        "bytes",
        "bytes 1-0/10",
        "bytes 0-10/10",
        "bytes 0-9/*",
        "items 0-0/10",
        "bytes 0-9/10x",
        "bytes -5-9/10",
        "bytes 0 - 9/10",
        "bytes */",
        "bytes */x",
        "bytes 0-0/99999999999999999999",
        "bytes 18446744073709551615-0/1",
        "",
    };
    char text[128];

    for (size_t i = 0; i < N_ELEMENTS(values); i++) {
        (void)snprintf(text, sizeof(text), "HTTP/1.1 206 x\nContent-Range: %s\n", values[i]);
        ck_assert_msg(!parsed(text).has_range, "%s", values[i]);
    }
}
END_TEST

START_TEST(lines_of_any_length_are_taken)
{
    char line[5000];
    struct answer answer = parsed("HTTP/1.1 206 x\n");

    memset(line, 'x', sizeof(line));
    answer_line(&answer, line, sizeof(line));
    answer_line(&answer, line, 0);
    ck_assert(!answer.is_too_long);
    memcpy(line, "ETag:", 5);
    answer_line(&answer, line, VALIDATOR_BYTES_MAX + 5);
    ck_assert(answer.is_too_long);
    answer.is_too_long = false;
    answer_line(&answer, line, sizeof(line));
    ck_assert(answer.is_too_long);
    ck_assert_str_eq(answer.etag, "");
}
END_TEST

START_TEST(the_first_answer_says_what_the_object_is_or_why_not)
{
    static const struct {
        const char *lines;
        int error;
        const char *text;
    } cases[] = {
        {OK_LINES, 0, ""},
        {"HTTP/1.1 206 x\nContent-Range: bytes 0-0/9\nLast-Modified: now\n", 0, ""},
        {"HTTP/1.1 416 x\nContent-Range: bytes */0\n", 0, ""},
        {"HTTP/1.1 200 x\nContent-Length: 0\n", 0, ""},
        {"", -EAGAIN, "status 0"},
        {"HTTP/1.1 200 x\nETag: \"a\"\n", -EOPNOTSUPP, "ranges"},
        {"HTTP/1.1 206 x\nContent-Range: bytes 0-0/9\n", -EOPNOTSUPP, "neither"},
        {OK_LINES "Content-Encoding: gzip\n", -EOPNOTSUPP, "Content-Encoding"},
        {"HTTP/1.1 206 x\nContent-Range: bytes 1-1/9\nETag: \"a\"\n", -EIO, "no sense"},
        {"HTTP/1.1 206 x\nETag: \"a\"\n", -EIO, "no sense"},
        {"HTTP/1.1 416 x\nContent-Range: bytes */7\n", -EIO, "no sense"},
        {"HTTP/1.1 401 x\n", -EACCES, "401"},
        {"HTTP/1.1 403 x\n", -EACCES, "403"},
        {"HTTP/1.1 407 x\n", -EACCES, "407"},
        {"HTTP/1.1 404 x\n", -ENOENT, "404"},
        {"HTTP/1.1 410 x\n", -ENOENT, "410"},
        {"HTTP/1.1 408 x\n", -EAGAIN, "408"},
        {"HTTP/1.1 429 x\n", -EAGAIN, "429"},
        {"HTTP/1.1 500 x\n", -EAGAIN, "500"},
        {"HTTP/1.1 503 x\n", -EAGAIN, "503"},
        {"HTTP/1.1 301 x\n", -EIO, "301"},
        {"HTTP/1.1 xyz\n", -EAGAIN, "status 0"},
    };

    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        const struct answer answer = parsed(cases[i].lines);
        struct version version;
        struct verdict verdict;

        answer_judge_first(&answer, &version, &verdict);
        ck_assert_msg(verdict.error == cases[i].error && strstr(verdict.text, cases[i].text),
                      "%s: %d, %s", cases[i].lines, verdict.error, verdict.text);
    }
}
END_TEST

START_TEST(later_answers_have_to_be_of_the_same_version_and_range)
{
    static const struct {
        const char *lines;
        int error;
        const char *text;
    } cases[] = {
        {OK_LINES, 0, ""},
        {"HTTP/1.1 206 x\nContent-Range: bytes 0-0/1000\nETag: \"b\"\n", -ESTALE, "is \"b\""},
        {"HTTP/1.1 206 x\nContent-Range: bytes 0-0/1000\nETag: W/\"a\"\n", -ESTALE, "changed"},
        {"HTTP/1.1 206 x\nContent-Range: bytes 0-0/1001\nETag: \"a\"\n", -ESTALE, "1001"},
        {"HTTP/1.1 206 x\nContent-Range: bytes 0-0/1000\nLast-Modified: \"a\"\n", -ESTALE,
         "changed"},
        {"HTTP/1.1 206 x\nContent-Range: bytes 0-0/1000\n", -EOPNOTSUPP, "neither"},
        {"HTTP/1.1 206 x\nContent-Range: bytes 0-1/1000\nETag: \"a\"\n", -EIO, "another range"},
        {"HTTP/1.1 206 x\nETag: \"a\"\n", -EIO, "no Content-Range"},
        {OK_LINES "Content-Encoding: br\n", -EOPNOTSUPP, "Content-Encoding"},
        {"HTTP/1.1 200 x\nETag: \"b\"\n", -ESTALE, "changed"},
        {"HTTP/1.1 200 x\n", -ESTALE, "something else"},
        {"HTTP/1.1 200 x\nETag: \"a\"\n", -EOPNOTSUPP, "any more"},
        {"HTTP/1.1 412 x\n", -ESTALE, "412"},
        {"HTTP/1.1 416 x\n", -ESTALE, "416"},
        {"HTTP/1.1 404 x\n", -ESTALE, "gone"},
        {"HTTP/1.1 403 x\n", -EACCES, "403"},
        {"HTTP/1.1 502 x\n", -EAGAIN, "502"},
    };
    struct version version;
    struct verdict verdict;
    struct answer answer = parsed(OK_LINES);

    answer_judge_first(&answer, &version, &verdict);
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        answer = parsed(cases[i].lines);
        answer_judge(&answer, &version, range_make(0, 1), &verdict);
        ck_assert_msg(verdict.error == cases[i].error && strstr(verdict.text, cases[i].text),
                      "%s: %d, %s", cases[i].lines, verdict.error, verdict.text);
    }
}
END_TEST

START_TEST(a_weak_etag_is_not_named_in_if_range)
{
    const struct version strong = {1, true, "\"a\""}, weak = {1, true, "W/\"a\""};
    const struct version date = {1, false, "W/"}, none = {0};

    ck_assert(version_is_strong(&strong));
    ck_assert(!version_is_strong(&weak));
    ck_assert(version_is_strong(&date));
    ck_assert(!version_is_strong(&none));
    ck_assert(version_is(&strong, &strong) && !version_is(&strong, &weak));
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("answer");

    tcase_add_test(tcase, a_header_is_parsed_whatever_its_letters_and_blanks);
    tcase_add_test(tcase, a_status_line_forgets_what_came_before);
    tcase_add_test(tcase, a_content_range_that_makes_no_sense_is_none);
    tcase_add_test(tcase, lines_of_any_length_are_taken);
    tcase_add_test(tcase, the_first_answer_says_what_the_object_is_or_why_not);
    tcase_add_test(tcase, later_answers_have_to_be_of_the_same_version_and_range);
    tcase_add_test(tcase, a_weak_etag_is_not_named_in_if_range);
    return unit_run("http answer", tcase);
}
