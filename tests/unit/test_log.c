/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of common/base/log.h and of the panic path in must.h, through a sink that keeps the last
 * line.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "common/base/log.h"
#include "common/base/must.h"
#include "tests/support/unit.h"

struct last {
    char line[LOG_LINE_MAX];
    enum log_level level;
    int n_lines;
};

static struct last last;

static void keep(void *ctx, enum log_level level, const char *line, size_t len)
{
    struct last *into = ctx;

    ck_assert_uint_eq(strlen(line), len);
    ck_assert_uint_lt(len, sizeof(into->line));
    memcpy(into->line, line, len + 1);
    into->level = level;
    into->n_lines++;
}

static void set_up(void)
{
    last = (struct last){.n_lines = 0};
    log_set_sink(keep, &last, LOG_LEVEL_INFO);
}

static void tear_down(void)
{
    log_set_sink(NULL, NULL, LOG_LEVEL_ERROR);
}

START_TEST(a_line_is_level_event_and_fields)
{
    log_write(LOG_LEVEL_WARN, "map.refused", "client=%d errno=%s", 3, "ENOMEM");
    ck_assert_str_eq(last.line, "level=warn event=map.refused client=3 errno=ENOMEM");
    ck_assert_int_eq((int)last.level, (int)LOG_LEVEL_WARN);
    log_event(LOG_LEVEL_INFO, "server.ready");
    ck_assert_str_eq(last.line, "level=info event=server.ready");
}
END_TEST

START_TEST(less_important_lines_stay_out)
{
    ck_assert(log_is_enabled(LOG_LEVEL_INFO));
    ck_assert(!log_is_enabled(LOG_LEVEL_DEBUG));
    log_write(LOG_LEVEL_DEBUG, "fault.step", "page=%d", 1);
    log_event(LOG_LEVEL_DEBUG, "fault.step");
    ck_assert_int_eq(last.n_lines, 0);
}
END_TEST

START_TEST(without_a_sink_nothing_happens)
{
    log_set_sink(NULL, NULL, LOG_LEVEL_DEBUG);
    ck_assert(!log_is_enabled(LOG_LEVEL_ERROR));
    log_write(LOG_LEVEL_ERROR, "map.refused", "client=%d", 3);
    ck_assert_int_eq(last.n_lines, 0);
}
END_TEST

START_TEST(a_long_line_is_cut_and_says_so)
{
    static const char end[] = " truncated=1";
    char text[2 * LOG_LINE_MAX];

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    log_write(LOG_LEVEL_ERROR, "client.name", "name=%s", text);
    ck_assert_uint_eq(strlen(last.line), LOG_LINE_MAX - 1);
    ck_assert_str_eq(last.line + LOG_LINE_MAX - sizeof(end), end);
}
END_TEST

START_TEST(a_line_that_just_fits_is_not_cut)
{
    static const char start[] = "level=info event=e ";
    char text[LOG_LINE_MAX - sizeof(start) + 1];

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    log_write(LOG_LEVEL_INFO, "e", "%s", text);
    ck_assert_uint_eq(strlen(last.line), LOG_LINE_MAX - 1);
    ck_assert_str_eq(last.line + sizeof(start) - 1, text);
}
END_TEST

START_TEST(control_characters_never_reach_the_sink)
{
    log_write(LOG_LEVEL_INFO, "client.name", "name=%s", "a\nlevel=error\x1b[2J\xff");
    ck_assert_str_eq(last.line, "level=info event=client.name name=a?level=error?[2J?");
}
END_TEST

START_TEST(quoting_escapes_everything_unusual)
{
    static const char text[] = "a \"b\" \\ \n\x7f\xc3\xa4";
    char buf[LOG_QUOTE_SIZE(sizeof(text) - 1)];

    ck_assert_str_eq(log_quote(buf, sizeof(buf), text),
                     "\"a \\\"b\\\" \\\\ \\x0a\\x7f\\xc3\\xa4\"");
    ck_assert_str_eq(log_quote(buf, sizeof(buf), ""), "\"\"");
    ck_assert_str_eq(log_quote(buf, sizeof(buf), NULL), "\"\"");
}
END_TEST

START_TEST(quoting_cuts_between_characters_and_always_closes)
{
    char buf[16];
    size_t size;

    for (size = 3; size < sizeof(buf); size++) {
        size_t len;

        memset(buf, '#', sizeof(buf));
        (void)log_quote(buf, size, "ab\n\"c\x01");
        len = strlen(buf);
        ck_assert_uint_lt(len, size);
        ck_assert_int_eq(buf[0], '"');
        ck_assert_int_eq(buf[len - 1], '"');
        ck_assert_int_eq(buf[size], '#');
    }
    ck_assert_str_eq(log_quote(buf, 8, "ab\nc"), "\"ab\"");
    ck_assert_str_eq(log_quote(buf, 9, "ab\nc"), "\"ab\\x0a\"");
}
END_TEST

START_TEST(every_level_has_a_name)
{
    ck_assert_str_eq(log_level_name(LOG_LEVEL_ERROR), "error");
    ck_assert_str_eq(log_level_name(LOG_LEVEL_WARN), "warn");
    ck_assert_str_eq(log_level_name(LOG_LEVEL_INFO), "info");
    ck_assert_str_eq(log_level_name(LOG_LEVEL_DEBUG), "debug");
}
END_TEST

START_TEST(a_broken_must_aborts)
{
    MUST(last.n_lines == 1);
}
END_TEST

static void leave_by_hook(const char *file, int line, const char *func, const char *cond)
{
    (void)file;
    (void)func;
    exit(line > 0 && strcmp(cond, "last.n_lines == 2") == 0 ? 42 : 1);
}

START_TEST(the_panic_hook_runs_before_the_abort)
{
    muse_panic_set_hook(leave_by_hook);
    MUST(last.n_lines == 2);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("log");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, a_line_is_level_event_and_fields);
    tcase_add_test(tcase, less_important_lines_stay_out);
    tcase_add_test(tcase, without_a_sink_nothing_happens);
    tcase_add_test(tcase, a_long_line_is_cut_and_says_so);
    tcase_add_test(tcase, a_line_that_just_fits_is_not_cut);
    tcase_add_test(tcase, control_characters_never_reach_the_sink);
    tcase_add_test(tcase, quoting_escapes_everything_unusual);
    tcase_add_test(tcase, quoting_cuts_between_characters_and_always_closes);
    tcase_add_test(tcase, every_level_has_a_name);
    tcase_add_test_raise_signal(tcase, a_broken_must_aborts, SIGABRT);
    tcase_add_exit_test(tcase, the_panic_hook_runs_before_the_abort, 42);
    return unit_run("log", tcase);
}
