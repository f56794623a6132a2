/* SPDX-License-Identifier: BSD-3-Clause */
/* What is under way and what was counted: txns, faults, stats, audit, trace, limits, evict. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "cli/render.h"
#include "common/base/own.h"

bool render_txns(FILE *out, const json_t *document)
{
    static const struct column columns[] = {
        {"WHAT", "what", COLUMN_TEXT},        {"STATE", "state", COLUMN_TEXT},
        {"AGE", "age_ns", COLUMN_TIME},       {"SPACE", "space", COLUMN_NUMBER},
        {"PID", "pid", COLUMN_NUMBER},        {"ID", "id", COLUMN_NUMBER},
        {"QUEUE", "position", COLUMN_NUMBER}, {"START", "start", COLUMN_HEX},
        {"END", "end", COLUMN_HEX},           {"", "has_lock", COLUMN_MARK},
        {"", "client_gone", COLUMN_MARK},     {"DRIVER", "driver", COLUMN_TEXT},
        {"OBJECT", "object", COLUMN_TEXT},
    };

    char dirty[24];

    print_table(out, json_object_get(document, "txns"), columns, N_ELEMENTS(columns), NULL);
    (void)fprintf(out, "\n%s dirty in %" PRIu64 " objects\n",
                  format_size(field_number(document, "dirty_bytes"), dirty),
                  field_number(document, "dirty_objects"));
    return true;
}

bool render_faults(FILE *out, const json_t *document)
{
    static const struct column runs[] = {
        {"RUN", "id", COLUMN_NUMBER},        {"FIRST", "first_page", COLUMN_NUMBER},
        {"PAGES", "n_pages", COLUMN_NUMBER}, {"NEEDED", "n_needed", COLUMN_NUMBER},
        {"LEFT", "left_ns", COLUMN_TIME},    {"SOURCE", "source", COLUMN_TEXT},
        {"SENT", "sent", COLUMN_MARK},       {"", "stale", COLUMN_MARK},
        {"OBJECT", "object", COLUMN_TEXT},
    };
    static const struct column waiters[] = {
        {"SPACE", "space", COLUMN_NUMBER},  {"PID", "pid", COLUMN_NUMBER},
        {"ADDRESS", "address", COLUMN_HEX}, {"VMA", "vma", COLUMN_NUMBER},
        {"WRITE", "write", COLUMN_MARK},    {"", "parked", COLUMN_MARK},
    };

    print_table(out, json_object_get(document, "runs"), runs, N_ELEMENTS(runs), NULL);
    (void)fputc('\n', out);
    print_table(out, json_object_get(document, "waiters"), waiters, N_ELEMENTS(waiters), NULL);
    return true;
}

static void print_usage(FILE *out, const json_t *user)
{
    const json_t *used = json_object_get(user, "used");
    const json_t *peak = json_object_get(user, "peak");
    const char *key;
    json_t *value;

    (void)fprintf(out, "\nuid %" PRIu64 " (refused %" PRIu64 ")\n", field_number(user, "uid"),
                  field_number(user, "refused"));
    json_object_foreach((json_t *)(uintptr_t)used, key,
                        value) /* reads only, but wants it writable */
    {
        (void)fputs("  ", out);
        print_text(out, key);
        (void)fprintf(out, " %" JSON_INTEGER_FORMAT ", at most %" PRIu64 "\n",
                      json_integer_value(value), field_number(peak, key));
    }
}

bool render_stats(FILE *out, const json_t *document)
{
    static const struct column columns[] = {
        {"COUNTER", "name", COLUMN_TEXT},
        {"VALUE", "value", COLUMN_NUMBER},
        {"UNIT", "unit", COLUMN_TEXT},
        {"WHAT IT COUNTS", "help", COLUMN_TEXT},
    };
    const json_t *users = json_object_get(document, "users");

    print_table(out, json_object_get(document, "counters"), columns, N_ELEMENTS(columns), NULL);
    for (size_t i = 0; i < json_array_size(users); i++)
        print_usage(out, json_array_get(users, i));
    return true;
}

/* ---- audit ---- */

static void print_promise(FILE *out, const json_t *driver)
{
    (void)fputs("driver ", out);
    print_text(out, field_text(driver, "name"));
    (void)fprintf(out,
                  "%s: prepared %" PRIu64 " = completed %" PRIu64 " + aborted %" PRIu64
                  " + in flight %" PRIu64 "; %" PRIu64 " files\n",
                  field_is(driver, "alive") ? "" : " (dead)", field_number(driver, "prepared"),
                  field_number(driver, "completed"), field_number(driver, "aborted"),
                  field_number(driver, "in_flight"), field_number(driver, "files"));
}

bool render_audit(FILE *out, const json_t *document)
{
    const json_t *drivers = json_object_get(document, "drivers");
    const json_t *violations = json_object_get(document, "violations");
    const bool ok = field_is(document, "ok");
    char dirty[24];

    for (size_t i = 0; i < json_array_size(drivers); i++)
        print_promise(out, json_array_get(drivers, i));
    (void)fprintf(out,
                  "%" PRIu64 " spaces, %" PRIu64 " mappings, %" PRIu64 " objects, %" PRIu64
                  " files, %" PRIu64 " runs, %" PRIu64 " waiters, %" PRIu64 " requests\n",
                  field_number(document, "spaces"), field_number(document, "vmas"),
                  field_number(document, "objects"), field_number(document, "files"),
                  field_number(document, "runs"), field_number(document, "waiters"),
                  field_number(document, "requests"));
    (void)fprintf(out,
                  "%" PRIu64 " page states counted again, %" PRIu64 " skipped, %s dirty in %" PRIu64
                  " objects\n",
                  field_number(document, "pages_counted"), field_number(document, "pages_skipped"),
                  format_size(field_number(document, "dirty_bytes"), dirty),
                  field_number(document, "dirty_objects"));
    for (size_t i = 0; i < json_array_size(violations); i++) {
        const char *text = json_string_value(json_array_get(violations, i));

        (void)fputs("VIOLATION: ", out);
        print_text(out, text ? text : "");
        (void)fputc('\n', out);
    }
    if (ok)
        (void)fputs("ok\n", out);
    else
        (void)fprintf(out, "NOT OK: %" PRIu64 " violations\n",
                      field_number(document, "n_violations"));
    return ok;
}

/* ---- trace ---- */

/* The time of day at which CLOCK_MONOTONIC said @at_ns, as HH:MM:SS.UUUUUU. */
static void print_time_of_day(FILE *out, uint64_t at_ns)
{
    struct timespec real, monotonic;
    struct tm tm;
    time_t seconds;
    char buf[32];
    int64_t ns;

    (void)clock_gettime(CLOCK_REALTIME, &real);
    (void)clock_gettime(CLOCK_MONOTONIC, &monotonic);
    ns = ((int64_t)real.tv_sec - monotonic.tv_sec) * 1000000000 +
         (real.tv_nsec - monotonic.tv_nsec) + (int64_t)at_ns;
    seconds = (time_t)(ns / 1000000000);
    if (!localtime_r(&seconds, &tm) || strftime(buf, sizeof(buf), "%H:%M:%S", &tm) == 0)
        buf[0] = '\0';
    (void)fprintf(out, "%s.%06" PRId64, buf, ns % 1000000000 / 1000);
}

static void print_result(FILE *out, json_int_t result)
{
    const char *name = result < 0 && result > -4096 ? strerrorname_np((int)-result) : NULL;

    if (name)
        (void)fprintf(out, "-%s", name);
    else
        (void)fprintf(out, "%" JSON_INTEGER_FORMAT, result);
}

bool render_trace_entry(FILE *out, const json_t *document)
{
    const uint64_t n_lost = field_number(document, "lost");
    const uint64_t took_ns = field_number(document, "took_ns");

    if (n_lost > 0)
        (void)fprintf(out, "(%" PRIu64 " calls were not shown: the reader is too slow)\n", n_lost);
    if (!json_object_get(document, "hook"))
        return true; /* that was all there is to say */
    print_time_of_day(out, field_number(document, "at_ns"));
    (void)fputc(' ', out);
    print_text(out, field_text(document, "driver"));
    (void)fputc(' ', out);
    print_text(out, field_text(document, "hook"));
    (void)fputc('(', out);
    print_text(out, field_text(document, "args"));
    (void)fputs(") = ", out);
    print_result(out, json_integer_value(json_object_get(document, "result")));
    (void)fprintf(out, " (%" PRIu64 ".%03" PRIu64 " µs)\n", took_ns / 1000, took_ns % 1000);
    return true;
}

bool render_trace(FILE *out, const json_t *document)
{
    const json_t *entries = json_object_get(document, "trace");

    for (size_t i = 0; i < json_array_size(entries); i++)
        (void)render_trace_entry(out, json_array_get(entries, i));
    return true;
}

/* ---- limits ---- */

static void print_amount(FILE *out, const json_t *limit, const char *key)
{
    const char *name = field_text(limit, "key");
    const size_t len = strlen(name);
    const bool is_bytes = len > 6 && strcmp(name + len - 6, "_bytes") == 0;
    char buf[24];

    if (!json_is_integer(json_object_get(limit, key)))
        (void)fprintf(out, "%12s", "unlimited");
    else if (is_bytes)
        (void)fprintf(out, "%12s", format_size(field_number(limit, key), buf));
    else
        (void)fprintf(out, "%12" PRIu64, field_number(limit, key));
}

bool render_limits(FILE *out, const json_t *document)
{
    const json_t *limits = json_object_get(document, "limits");

    (void)fprintf(out, "%-14s%12s%12s  %s\n", "KEY", "LIMIT", "USED BY ALL", "WHAT IS LIMITED");
    for (size_t i = 0; i < json_array_size(limits); i++) {
        const json_t *limit = json_array_get(limits, i);

        (void)fprintf(out, "%-14s", field_text(limit, "key"));
        print_amount(out, limit, "limit");
        print_amount(out, limit, "used");
        (void)fputs("  ", out);
        print_text(out, field_text(limit, "help"));
        (void)fputs(field_is(limit, "per_uid") ? ", for each uid\n" : "\n", out);
    }
    return true;
}

/* ---- evict ---- */

/* What came in parts, one row an object. Return: a new array, or NULL. */
static json_t *sum_parts(const json_t *parts)
{
    json_t *rows = json_array();
    json_t *row = NULL;

    for (size_t i = 0; i < json_array_size(parts); i++) {
        const json_t *part = json_array_get(parts, i);
        json_int_t n_pages = (json_int_t)field_number(part, "evicted_pages");

        if (row && field_number(row, "id") == field_number(part, "id")) {
            n_pages += (json_int_t)field_number(row, "evicted_pages");
        } else {
            row = json_object();
            (void)json_array_append_new(rows, row); /* without memory: a shorter table */
        }
        (void)json_object_update(row, (json_t *)(uintptr_t)part); /* reads it only */
        (void)json_object_set_new(row, "evicted_pages", json_integer(n_pages));
    }
    return rows;
}

bool render_evict(FILE *out, const json_t *document)
{
    static const struct column columns[] = {
        {"ID", "id", COLUMN_NUMBER},
        {"EVICTED", "evicted_pages", COLUMN_NUMBER},
        {"LEFT", "valid_pages", COLUMN_NUMBER},
        {"OBJECT", "name", COLUMN_TEXT},
    };

    json_t *rows = sum_parts(json_object_get(document, "evicted"));

    print_table(out, rows, columns, N_ELEMENTS(columns), "id");
    json_decref(rows);
    return true;
}
