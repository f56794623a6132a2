/* SPDX-License-Identifier: BSD-3-Clause */
/* Who waits for whom, and what an address meets: blocked, why. */
#include <inttypes.h>
#include <string.h>

#include "cli/render.h"
#include "common/base/own.h"

bool render_blocked(FILE *out, const json_t *document)
{
    static const struct column columns[] = {
        {"AGE", "age_ns", COLUMN_TIME},     {"STAGE", "stage", COLUMN_TEXT},
        {"SINCE", "stage_ns", COLUMN_TIME}, {"LEFT", "left_ns", COLUMN_TIME},
        {"SPACE", "space", COLUMN_NUMBER},  {"PID", "pid", COLUMN_NUMBER},
        {"FOR", "for", COLUMN_TEXT},        {"DRIVER", "driver", COLUMN_TEXT},
        {"HOOK", "hook", COLUMN_TEXT},      {"WHAT", "what", COLUMN_TEXT},
        {"OBJECT", "object", COLUMN_TEXT},
    };
    const json_t *blocked = json_object_get(document, "blocked");
    const uint64_t n_left_out = field_number(document, "n_left_out");

    print_table(out, blocked, columns, N_ELEMENTS(columns), NULL);
    if (json_array_size(blocked) > 0)
        (void)fputc('\n', out);
    for (size_t i = 0; i < json_array_size(blocked); i++) {
        print_text(out, field_text(json_array_get(blocked, i), "sentence"));
        (void)fputc('\n', out);
    }
    if (n_left_out > 0)
        (void)fprintf(out, "(%" PRIu64 " more, which are younger, are left out)\n", n_left_out);
    return true;
}

/* ---- why ---- */

static void print_label(FILE *out, const char *label)
{
    (void)fprintf(out, "%-9s", label);
}

static void print_mapping_line(FILE *out, const json_t *mapping)
{
    static const char *const marks[] = {"direct",        "graduated",     "write_locked",
                                        "outside_arena", "tracks_writes", "page_mkwrite",
                                        "access"};
    const char *name = field_text(mapping, "name");

    print_label(out, "mapping");
    if (!json_is_object(mapping)) {
        (void)fputs("none\n", out);
        return;
    }
    (void)fprintf(out, "%" PRIx64 "-%" PRIx64 " ", field_number(mapping, "start"),
                  field_number(mapping, "end"));
    print_text(out, field_text(mapping, "perms"));
    (void)fprintf(out, " offset %" PRIx64 ", ", field_number(mapping, "pgoff") << 12);
    print_text(out, field_text(mapping, "state"));
    (void)fprintf(out, ", id %" PRIu64 ", vm_ops %" PRIu64, field_number(mapping, "id"),
                  field_number(mapping, "vm_ops"));
    for (size_t i = 0; i < N_ELEMENTS(marks); i++) {
        if (field_is(mapping, marks[i]))
            (void)fprintf(out, ", %s", marks[i]);
    }
    if (name[0] != '\0') {
        (void)fputs(", called [", out);
        print_text(out, name);
        (void)fputc(']', out);
    }
    (void)fputc('\n', out);
}

static void print_object_line(FILE *out, const json_t *object)
{
    char size[24], dirty[24];

    print_label(out, "object");
    print_text(out, field_text(object, "name"));
    (void)fprintf(out, ", %s, by ", format_size(field_number(object, "size_bytes"), size));
    print_text(out, field_text(object, "source"));
    (void)fputs(" of driver ", out);
    print_text(out, field_text(object, "driver"));
    (void)fputs(field_is(object, "driver_alive") ? "" : " (dead)", out);
    (void)fputs(field_is(object, "lost") ? ", lost" : "", out);
    (void)fputs(field_is(object, "stuck") ? ", stuck" : "", out);
    (void)fprintf(out, ", dirty %s", format_size(field_number(object, "dirty_bytes"), dirty));
    if (field_number(object, "writeback_errors") > 0) {
        (void)fprintf(out, ", %" PRIu64 " errors of writing back, the last ",
                      field_number(object, "writeback_errors"));
        print_text(out, field_text(object, "writeback_error"));
    }
    (void)fputc('\n', out);
}

static void print_page_line(FILE *out, const json_t *page)
{
    print_label(out, "page");
    (void)fprintf(out, "%" PRIu64 ", byte %" PRIu64 " of the object, ",
                  field_number(page, "number"), field_number(page, "offset"));
    print_text(out, field_is(page, "beyond_end") ? "behind its end" : field_text(page, "state"));
    (void)fputc('\n', out);
}

static void print_poison_line(FILE *out, const json_t *poison)
{
    const char *name = strerrorname_np((int)(field_number(poison, "errno") & 0xfff));

    print_label(out, "poison");
    (void)fprintf(out, "%s in ", name ? name : "?");
    print_text(out, field_text(poison, "hook"));
    (void)fputs(": ", out);
    print_text(out, field_text(poison, "text"));
    (void)fputc('\n', out);
}

static void print_run_line(FILE *out, const json_t *run)
{
    char age[32], left[32];

    print_label(out, "run");
    (void)fprintf(out, "%" PRIu64 ": pages %" PRIu64 "-%" PRIu64 " by ", field_number(run, "id"),
                  field_number(run, "first_page"),
                  field_number(run, "first_page") + field_number(run, "n_pages"));
    print_text(out, field_text(run, "source"));
    (void)fprintf(out, ", for %s, %s left%s%s\n", format_time(field_number(run, "age_ns"), age),
                  format_time(field_number(run, "left_ns"), left),
                  field_is(run, "sent") ? "" : ", in line",
                  field_is(run, "stale") ? ", stale" : "");
}

static void print_sentence_line(FILE *out, const char *label, const json_t *wait)
{
    if (!json_is_object(wait))
        return;
    print_label(out, label);
    print_text(out, field_text(wait, "sentence"));
    (void)fputc('\n', out);
}

static void print_waiters(FILE *out, const json_t *document)
{
    const json_t *waiters = json_object_get(document, "waiters");
    const uint64_t n = field_number(document, "n_waiters");

    for (size_t i = 0; i < json_array_size(waiters); i++)
        print_sentence_line(out, "waiter", json_array_get(waiters, i));
    if (n > json_array_size(waiters)) {
        print_label(out, "waiter");
        (void)fprintf(out, "%" PRIu64 " more\n", n - json_array_size(waiters));
    }
}

bool render_why(FILE *out, const json_t *document)
{
    const json_t *object = json_object_get(document, "object");
    const json_t *poison = json_object_get(document, "poison");
    const json_t *run = json_object_get(document, "run");

    print_label(out, "address");
    (void)fprintf(out, "%" PRIx64 " in space %" PRIu64 ", pid %" PRIu64 " (",
                  field_number(document, "address"), field_number(document, "space"),
                  field_number(document, "pid"));
    print_text(out, field_text(document, "program"));
    (void)fputs(field_is(document, "in_arena") ? ")\n" : "), outside of its arena\n", out);
    print_mapping_line(out, json_object_get(document, "mapping"));
    if (json_is_object(object)) {
        print_object_line(out, object);
        print_page_line(out, json_object_get(document, "page"));
    }
    if (json_is_object(poison))
        print_poison_line(out, poison);
    if (json_is_object(run))
        print_run_line(out, run);
    print_sentence_line(out, "mkwrite", json_object_get(document, "page_mkwrite"));
    print_sentence_line(out, "writing", json_object_get(document, "writeback"));
    print_sentence_line(out, "lock", json_object_get(document, "lock"));
    print_waiters(out, document);
    (void)fputs("so       ", out);
    print_text(out, field_text(document, "sentence"));
    (void)fputc('\n', out);
    return true;
}
