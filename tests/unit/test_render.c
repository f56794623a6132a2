/* SPDX-License-Identifier: BSD-3-Clause */
/* What musectl prints for people, from documents as the server makes them and from damaged ones. */
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "common/base/own.h"
#include "server/admin/admin_commands.h"
#include "tests/support/unit.h"

/* musectl is a program, not a library: its renderers are compiled in here. */
#include "cli/render.c"         /* NOLINT(bugprone-suspicious-include) */
#include "cli/render_blocked.c" /* NOLINT(bugprone-suspicious-include) */
#include "cli/render_show.c"    /* NOLINT(bugprone-suspicious-include) */
#include "cli/render_work.c"    /* NOLINT(bugprone-suspicious-include) */

/* What @render prints for @json. Return: from malloc. */
static char *rendered(render_fn *render, const char *json, bool *ret_ok)
{
    json_error_t error;
    json_t *document = json_loads(json, 0, &error);
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    bool ok;

    ck_assert_msg(document != NULL, "%s: %s", error.text, json);
    ck_assert_ptr_nonnull(out);
    ok = render(out, document);
    ck_assert_int_eq(fclose(out), 0);
    json_decref(document);
    if (ret_ok)
        *ret_ok = ok;
    return text;
}

static void expect_part(const char *text, const char *part)
{
    ck_assert_msg(strstr(text, part) != NULL, "no \"%s\" in:\n%s", part, text);
}

START_TEST(sizes_and_times_are_for_people)
{
    static const struct {
        uint64_t value;
        const char *size, *time;
    } values[] = {
        {0, "0", "0 ns"},
        {1023, "1023", "1.0 µs"},
        {4096, "4K", "4.1 µs"},
        {1500000, "1.4M", "1.5 ms"},
        {1048576, "1M", "1.0 ms"},
        {61000000000, "56.8G", "1 min 1 s"},
        {7380000000000, "6.7T", "2 h 3 min"},
        {UINT64_MAX, "16.0E", "213503 d 23 h"},
    };

    for (size_t i = 0; i < N_ELEMENTS(values); i++) {
        char buf[32];

        ck_assert_str_eq(format_size(values[i].value, buf), values[i].size);
        ck_assert_str_eq(format_time(values[i].value, buf), values[i].time);
    }
}
END_TEST

START_TEST(control_characters_never_reach_the_terminal)
{
    CLEAN(free_p)
    char *text = rendered(
        render_objects,
        "{\"objects\":[{\"id\":1,\"name\":\"a\\u001b[31m\\n\\u009bb\\u007f\\u00e4\"}]}", NULL);

    expect_part(text, "a\\x1b[31m\\x0a\\xc2\\x9bb\\x7f\xc3\xa4\n");
}
END_TEST

START_TEST(maps_look_like_those_of_proc)
{
    CLEAN(free_p)
    char *text = rendered(
        render_maps,
        "{\"space\":3,\"maps\":["
        "{\"start\":139994272780288,\"end\":139994272784384,\"id\":7,\"state\":\"mapped\",\"perms\":\"r--s\","
        "\"pgoff\":9,\"object\":\"file/a\",\"name\":\"a\\u001b\",\"object_id\":4},"
        "{\"start\":139994272784384,\"end\":139994272788480,\"id\":8,\"state\":\"quarantine\"}]}",
        NULL);

    ck_assert_str_eq(
        text,
        "7f52f4e65000-7f52f4e66000 r--s 00009000 00:00 4                          file/a [a\\x1b]\n"
        "7f52f4e66000-7f52f4e67000 ---p 00000000 00:00 0                          [quarantine]\n");
}
END_TEST

START_TEST(tables_are_sorted_and_aligned)
{
    CLEAN(free_p)
    char *text = rendered(render_objects,
                          "{\"objects\":["
                          "{\"id\":12,\"name\":\"file/long\",\"size_bytes\":5000000,\"lost\":true},"
                          "{\"id\":3,\"name\":\"zero/1\",\"size_bytes\":1}]}",
                          NULL);
    const char *first = strchr(text, '\n') + 1;
    const char *second = strchr(first, '\n') + 1;

    ck_assert_int_eq(strncmp(first, " 3     1 ", 9), 0);
    ck_assert_int_eq(strncmp(second, "12  4.8M ", 9), 0);
    ck_assert_ptr_eq(strstr(text, "lost"), strstr(second, "lost"));
    expect_part(second, "lost      file/long\n");
}
END_TEST

START_TEST(an_audit_decides_the_exit_status)
{
    bool ok;
    CLEAN(free_p)
    char *good = rendered(
        render_audit,
        "{\"ok\":true,\"drivers\":[{\"name\":\"zero\",\"alive\":true,\"prepared\":5,\"completed\":3,\"aborted\":1,"
        "\"in_flight\":1}],\"violations\":[]}",
        &ok);
    CLEAN(free_p) char *bad = NULL;

    ck_assert(ok);
    expect_part(good, "driver zero: prepared 5 = completed 3 + aborted 1 + in flight 1");
    expect_part(good, "\nok\n");
    bad = rendered(render_audit,
                   "{\"ok\":false,\"n_violations\":1,\"violations\":[\"uid 0: wrong\"]}", &ok);
    ck_assert(!ok);
    expect_part(bad, "VIOLATION: uid 0: wrong\n");
    expect_part(bad, "NOT OK");
}
END_TEST

START_TEST(a_trace_entry_is_one_line)
{
    CLEAN(free_p)
    char *text = rendered(render_trace_entry,
                          "{\"seq\":1,\"at_ns\":5,\"took_ns\":1234567,\"driver\":\"zero\",\"hook\":"
                          "\"open\",\"args\":\"path=a\",\"result\":-2,\"lost\":0}",
                          NULL);

    expect_part(text, " zero open(path=a) = -ENOENT (1234.567 µs)\n");
    ck_assert_ptr_eq(strchr(text, '\n'), text + strlen(text) - 1);
}
END_TEST

START_TEST(lost_trace_entries_are_told)
{
    CLEAN(free_p) char *text = rendered(render_trace_entry, "{\"lost\":12}", NULL);

    ck_assert_str_eq(text, "(12 calls were not shown: the reader is too slow)\n");
}
END_TEST

START_TEST(no_limit_is_unlimited)
{
    CLEAN(free_p)
    char *text = rendered(render_limits,
                          "{\"limits\":[{\"key\":\"cache_bytes\",\"limit\":null,\"per_uid\":true,"
                          "\"used\":8192,\"help\":\"bytes of page cache\"}]}",
                          NULL);

    expect_part(text, "unlimited");
    expect_part(text, "8K  bytes of page cache, for each uid\n");
}
END_TEST

START_TEST(blocked_is_a_table_and_a_sentence_for_each)
{
    CLEAN(free_p)
    char *text = rendered(
        render_blocked,
        "{\"blocked\":[{\"what\":\"fault\",\"stage\":\"asked\",\"space\":3,\"pid\":12,\"for\":\"driver\","
        "\"driver\":\"slow\",\"hook\":\"fault\",\"age_ns\":1500000000,\"stage_ns\":1000,\"left_ns\":null,"
        "\"object\":\"slow/x\",\"sentence\":\"pid 12 waits\\u001b\"}],\"n_blocked\":8,\"n_left_out\":7}",
        NULL);

    expect_part(text, "1.5 s  asked");
    expect_part(text, "  -      3   12  driver  slow    fault  fault  slow/x\n");
    expect_part(text, "\npid 12 waits\\x1b\n");
    expect_part(text, "(7 more, which are younger, are left out)\n");
}
END_TEST

START_TEST(nothing_blocked_is_a_line_of_titles)
{
    CLEAN(free_p)
    char *text =
        rendered(render_blocked, "{\"blocked\":[],\"n_blocked\":0,\"n_left_out\":0}", NULL);

    ck_assert_ptr_eq(strchr(text, '\n'), text + strlen(text) - 1);
}
END_TEST

START_TEST(why_shows_what_there_is_and_ends_with_the_sentence)
{
    CLEAN(free_p)
    char *text = rendered(
        render_why,
        "{\"space\":3,\"pid\":12,\"program\":\"cat\",\"address\":4096,\"in_arena\":true,"
        "\"mapping\":{\"start\":4096,\"end\":8192,\"id\":9,\"state\":\"mapped\",\"perms\":\"rw-s\",\"pgoff\":2,"
        "\"vm_ops\":1,\"write_locked\":true,\"tracks_writes\":true,\"name\":\"rings\"},"
        "\"object\":{\"name\":\"file/a\",\"size_bytes\":8192,\"source\":\"fill\",\"driver\":\"file\","
        "\"driver_alive\":false,\"lost\":true,\"dirty_bytes\":4096,\"writeback_errors\":2,"
        "\"writeback_error\":\"ENOSPC\"},"
        "\"page\":{\"number\":2,\"offset\":8192,\"state\":\"poisoned\",\"beyond_end\":false},"
        "\"poison\":{\"errno\":5,\"hook\":\"fault\",\"text\":\"the disk\\n\"},"
        "\"run\":{\"id\":7,\"first_page\":2,\"n_pages\":3,\"source\":\"fill\",\"age_ns\":2000000000,"
        "\"left_ns\":8000000000,\"sent\":false,\"stale\":true},"
        "\"lock\":{\"sentence\":\"map waits\"},\"waiters\":[{\"sentence\":\"pid 5 waits\"}],\"n_waiters\":4,"
        "\"sentence\":\"a touch fails: because\"}",
        NULL);

    ck_assert_str_eq(
        text, "address  1000 in space 3, pid 12 (cat)\n"
              "mapping  1000-2000 rw-s offset 2000, mapped, id 9, vm_ops 1, write_locked, "
              "tracks_writes, called [rings]\n"
              "object   file/a, 8K, by fill of driver file (dead), lost, dirty 4K, 2 errors of "
              "writing back, the last ENOSPC\n"
              "page     2, byte 8192 of the object, poisoned\n"
              "poison   EIO in fault: the disk\\x0a\n"
              "run      7: pages 2-5 by fill, for 2.0 s, 8.0 s left, in line, stale\n"
              "lock     map waits\n"
              "waiter   pid 5 waits\n"
              "waiter   3 more\n"
              "so       a touch fails: because\n");
}
END_TEST

START_TEST(why_of_an_address_where_nothing_is)
{
    CLEAN(free_p)
    char *text =
        rendered(render_why,
                 "{\"space\":3,\"pid\":12,\"program\":\"cat\",\"address\":255,\"in_arena\":"
                 "false,\"mapping\":null,\"lock\":null,\"waiters\":[],\"n_waiters\":0,"
                 "\"sentence\":\"a touch fails: nothing\"}",
                 NULL);

    ck_assert_str_eq(text, "address  ff in space 3, pid 12 (cat), outside of its arena\n"
                           "mapping  none\n"
                           "so       a touch fails: nothing\n");
}
END_TEST

START_TEST(objects_show_what_is_dirty_and_what_failed)
{
    CLEAN(free_p)
    char *text = rendered(render_objects,
                          "{\"objects\":[{\"id\":1,\"name\":\"file/a\",\"dirty_pages\":12,"
                          "\"written_pages\":345,\"writeback_errors\":2,\"writeback_error\":"
                          "\"ENOSPC\"}]}",
                          NULL);

    expect_part(text, "DIRTY  WRITTEN  WBERRORS  LAST  ");
    expect_part(text, "   12      345         2  ENOSPC");
}
END_TEST

START_TEST(status_and_txns_say_how_much_is_dirty)
{
    CLEAN(free_p)
    char *status = rendered(
        render_status, "{\"cache_bytes\":8192,\"dirty_bytes\":4096,\"dirty_objects\":3}", NULL);
    CLEAN(free_p)
    char *txns =
        rendered(render_txns, "{\"txns\":[],\"dirty_bytes\":4096,\"dirty_objects\":3}", NULL);

    expect_part(status, "page cache 8K, 4K of it dirty in 3 objects, ");
    expect_part(txns, "\n4K dirty in 3 objects\n");
}
END_TEST

/* Every renderer, whatever it is given: no crash, and text that ends. */
START_TEST(documents_of_the_wrong_shape_do_no_harm)
{
    static render_fn *const renderers[] = {
#define X(word, min, max, follow, syntax, help) render_##word,
        CLI_COMMANDS(X) render_trace_entry
#undef X
    };
    static const char *const documents[] = {
        "{}",
        "[]",
        "{\"drivers\":7,\"spaces\":{},\"maps\":\"x\",\"objects\":null,\"txns\":1,\"runs\":2,\"waiters\":3,"
        "\"counters\":4,\"users\":5,\"trace\":6,\"limits\":7,\"violations\":8,\"blocked\":9,\"mapping\":1,"
        "\"object\":[],\"page\":2,\"poison\":[3],\"run\":\"4\",\"lock\":true}",
        "{\"drivers\":[7,null,{\"name\":3,\"hooks\":[1],\"vm_ops\":[2],\"counts\":5}],\"spaces\":[{\"id\":\"x\"}],"
        "\"maps\":[1,{\"perms\":\"rw\",\"state\":\"mapped\"}],\"objects\":[[]],\"txns\":[null],\"runs\":[false],"
        "\"waiters\":[0],\"counters\":[\"\"],\"users\":[{\"used\":{\"a\":\"b\"}},1],\"trace\":[{}],"
        "\"limits\":[{\"key\":\"_bytes\",\"limit\":-1}],\"violations\":[{}],\"blocked\":[3,{\"sentence\":1}],"
        "\"mapping\":{\"perms\":3},\"object\":{\"name\":[]},\"page\":{},\"poison\":{\"errno\":-5},"
        "\"run\":{\"source\":0},\"lock\":{},\"waiters\":[[]],\"n_waiters\":99}",
    };

    for (size_t i = 0; i < N_ELEMENTS(renderers); i++) {
        for (size_t k = 0; k < N_ELEMENTS(documents); k++)
            free(rendered(renderers[i], documents[k], NULL));
    }
}
END_TEST

START_TEST(musectl_knows_the_commands_of_the_server)
{
    static const struct {
        const char *word;
        unsigned min, max;
        bool follow;
        const char *syntax;
    } server[] =
        {
#define X(name, word, min, max, follow, syntax, help) {word, min, max, follow, syntax},
            ADMIN_COMMANDS(X)
#undef X
        },
      cli[] = {
#define X(word, min, max, follow, syntax, help) {#word, min, max, follow, syntax},
          CLI_COMMANDS(X)
#undef X
      };

    ck_assert_uint_eq(N_ELEMENTS(server), N_ELEMENTS(cli));
    for (size_t i = 0; i < N_ELEMENTS(cli); i++) {
        ck_assert_str_eq(server[i].word, cli[i].word);
        ck_assert_str_eq(server[i].syntax, cli[i].syntax);
        ck_assert_uint_eq(server[i].min, cli[i].min);
        ck_assert_uint_eq(server[i].max, cli[i].max);
        ck_assert_int_eq(server[i].follow, cli[i].follow);
    }
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("render");

    tcase_add_test(tcase, sizes_and_times_are_for_people);
    tcase_add_test(tcase, control_characters_never_reach_the_terminal);
    tcase_add_test(tcase, maps_look_like_those_of_proc);
    tcase_add_test(tcase, tables_are_sorted_and_aligned);
    tcase_add_test(tcase, an_audit_decides_the_exit_status);
    tcase_add_test(tcase, a_trace_entry_is_one_line);
    tcase_add_test(tcase, lost_trace_entries_are_told);
    tcase_add_test(tcase, no_limit_is_unlimited);
    tcase_add_test(tcase, blocked_is_a_table_and_a_sentence_for_each);
    tcase_add_test(tcase, nothing_blocked_is_a_line_of_titles);
    tcase_add_test(tcase, why_shows_what_there_is_and_ends_with_the_sentence);
    tcase_add_test(tcase, why_of_an_address_where_nothing_is);
    tcase_add_test(tcase, objects_show_what_is_dirty_and_what_failed);
    tcase_add_test(tcase, status_and_txns_say_how_much_is_dirty);
    tcase_add_test(tcase, documents_of_the_wrong_shape_do_no_harm);
    tcase_add_test(tcase, musectl_knows_the_commands_of_the_server);
    return unit_run("render", tcase);
}
