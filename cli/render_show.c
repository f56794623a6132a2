/* SPDX-License-Identifier: BSD-3-Clause */
/* What there is: status, drivers, spaces, maps, objects. */
#include <inttypes.h>
#include <string.h>

#include "cli/render.h"
#include "common/base/own.h"

bool render_status(FILE *out, const json_t *document)
{
    const json_t *limit = json_object_get(document, "memory_limit_bytes");
    char uptime[32], used[24], of[24], dirty[24];

    (void)fputs("mused ", out);
    print_text(out, field_text(document, "version"));
    (void)fprintf(out, ", pid %" PRIu64 ", up %s, in ", field_number(document, "pid"),
                  format_time(field_number(document, "uptime_ns"), uptime));
    print_text(out, field_text(document, "rundir"));
    if (strcmp(field_text(document, "contract"), "muse") != 0) {
        (void)fputs(", contract ", out);
        print_text(out, field_text(document, "contract"));
    }
    (void)fprintf(out,
                  "\n%" PRIu64 " drivers, %" PRIu64 " spaces, %" PRIu64 " objects, %" PRIu64
                  " open files, %" PRIu64 " mappings\n",
                  field_number(document, "drivers"), field_number(document, "spaces"),
                  field_number(document, "objects"), field_number(document, "files"),
                  field_number(document, "vmas"));
    (void)fprintf(out, "page cache %s", format_size(field_number(document, "cache_bytes"), used));
    if (json_is_integer(limit))
        (void)fprintf(out, " of %s", format_size(field_number(document, "memory_limit_bytes"), of));
    (void)fprintf(out, ", %s of it dirty in %" PRIu64 " objects",
                  format_size(field_number(document, "dirty_bytes"), dirty),
                  field_number(document, "dirty_objects"));
    (void)fprintf(out,
                  ", %" PRIu64 " requests in flight\n%" PRIu64 " faults, %" PRIu64 " maps, %" PRIu64
                  " unmaps, %" PRIu64 " refused\n",
                  field_number(document, "requests"), field_number(document, "faults"),
                  field_number(document, "maps"), field_number(document, "unmaps"),
                  field_number(document, "refused"));
    return true;
}

static void print_names(FILE *out, const char *title, const json_t *names)
{
    (void)fprintf(out, "  %s", title);
    for (size_t i = 0; i < json_array_size(names); i++) {
        const char *name = json_string_value(json_array_get(names, i));

        (void)fputs(i ? ", " : ": ", out);
        print_text(out, name ? name : "");
    }
    (void)fputc('\n', out);
}

static void print_driver(FILE *out, const json_t *driver)
{
    const json_t *ops = json_object_get(driver, "vm_ops");

    print_text(out, field_text(driver, "name"));
    if (json_is_true(json_object_get(driver, "read_only")))
        (void)fputs(" (read-only)", out);
    (void)fputc('\n', out);
    print_names(out, "hooks", json_object_get(driver, "hooks"));
    for (size_t i = 0; i < json_array_size(ops); i++) {
        (void)fputs("  vm_ops ", out);
        print_text(out, field_text(json_array_get(ops, i), "name"));
        print_names(out, "hooks", json_object_get(json_array_get(ops, i), "hooks"));
    }
    if (field_text(driver, "last_error")[0] != '\0') {
        (void)fputs("  last error: ", out);
        print_text(out, field_text(driver, "last_error"));
        (void)fputc('\n', out);
    }
}

/* The counts are an object of their own: put beside the rest, for the table. */
static void flatten(json_t *rows)
{
    for (size_t i = 0; i < json_array_size(rows); i++) {
        json_t *row = json_array_get(rows, i);

        (void)json_object_update_missing(row, json_object_get(row, "counts"));
    }
}

bool render_drivers(FILE *out, const json_t *document)
{
    static const struct column columns[] = {
        {"DRIVER", "name", COLUMN_TEXT},
        {"PID", "pid", COLUMN_NUMBER},
        {"AGE", "age_ns", COLUMN_TIME},
        {"ALIVE", "alive", COLUMN_MARK},
        {"OBJECTS", "objects", COLUMN_NUMBER},
        {"CALLS", "calls", COLUMN_NUMBER},
        {"WAITING", "calls_in_flight", COLUMN_NUMBER},
        {"PREPARED", "prepared", COLUMN_NUMBER},
        {"COMPLETED", "completed", COLUMN_NUMBER},
        {"ABORTED", "aborted", COLUMN_NUMBER},
        {"FAULTS", "faults_asked", COLUMN_NUMBER},
        {"PAGES", "pages_supplied", COLUMN_NUMBER},
        {"FAILED", "faults_failed", COLUMN_NUMBER},
        {"LATE", "late", COLUMN_NUMBER},
        {"ERRORS", "errors", COLUMN_NUMBER},
        {"", "recovering", COLUMN_MARK},
    };
    json_t *drivers = json_deep_copy(json_object_get(document, "drivers"));

    flatten(drivers);
    print_table(out, drivers, columns, N_ELEMENTS(columns), "id");
    for (size_t i = 0; i < json_array_size(drivers); i++) {
        (void)fputc('\n', out);
        print_driver(out, json_array_get(drivers, i));
    }
    json_decref(drivers);
    return true;
}

bool render_spaces(FILE *out, const json_t *document)
{
    static const struct column columns[] = {
        {"SPACE", "id", COLUMN_NUMBER},
        {"PID", "pid", COLUMN_NUMBER},
        {"UID", "uid", COLUMN_NUMBER},
        {"AGE", "age_ns", COLUMN_TIME},
        {"MAPS", "vmas", COLUMN_NUMBER},
        {"PENDING", "vmas_pending", COLUMN_NUMBER},
        {"QUARANTINE", "vmas_quarantine", COLUMN_NUMBER},
        {"FILES", "files", COLUMN_NUMBER},
        {"FAULTS", "faults", COLUMN_NUMBER},
        {"WAITING", "waiters", COLUMN_NUMBER},
        {"POISONED", "poisoned", COLUMN_NUMBER},
        {"LOCK", "locked_by", COLUMN_TEXT},
        {"QUEUE", "lock_queue", COLUMN_NUMBER},
        {"", "dead", COLUMN_MARK},
        {"PROGRAM", "program", COLUMN_TEXT},
    };

    print_table(out, json_object_get(document, "spaces"), columns, N_ELEMENTS(columns), "id");
    return true;
}

static void print_in_brackets(FILE *out, const char *text)
{
    (void)fputc('[', out);
    print_text(out, text);
    (void)fputc(']', out);
}

/* As in proc(5): the device is 00:00, the inode the object's number; what the driver calls the
 * mapping is shown like the name of one of the kernel's own. */
static void print_mapping(FILE *out, const json_t *map)
{
    const char *state = field_text(map, "state");
    const bool is_mapped = strcmp(state, "mapped") == 0;
    const char *perms = field_text(map, "perms");
    int n;

    n = fprintf(out, "%08" PRIx64 "-%08" PRIx64 " %.4s %08" PRIx64 " 00:00 %" PRIu64,
                field_number(map, "start"), field_number(map, "end"),
                is_mapped && strlen(perms) == 4 ? perms : "---p", field_number(map, "pgoff") << 12,
                field_number(map, "object_id"));
    (void)fprintf(out, "%*s ", n > 0 && n < 72 ? 72 - n : 0, "");
    if (is_mapped) {
        print_text(out, field_text(map, "object"));
        if (field_text(map, "name")[0] != '\0') {
            (void)fputc(' ', out);
            print_in_brackets(out, field_text(map, "name"));
        }
    } else {
        print_in_brackets(out, state);
    }
    (void)fputc('\n', out);
}

bool render_maps(FILE *out, const json_t *document)
{
    const json_t *maps = json_object_get(document, "maps");

    for (size_t i = 0; i < json_array_size(maps); i++)
        print_mapping(out, json_array_get(maps, i));
    return true;
}

bool render_objects(FILE *out, const json_t *document)
{
    static const struct column columns[] = {
        {"ID", "id", COLUMN_NUMBER},
        {"SIZE", "size_bytes", COLUMN_SIZE},
        {"PAGE", "page_bytes", COLUMN_SIZE},
        {"RESIDENT", "resident_bytes", COLUMN_SIZE},
        {"PAGES", "pages", COLUMN_NUMBER},
        {"VALID", "valid_pages", COLUMN_NUMBER},
        {"FILLING", "filling_pages", COLUMN_NUMBER},
        {"POISONED", "poisoned_pages", COLUMN_NUMBER},
        {"DIRTY", "dirty_pages", COLUMN_NUMBER},
        {"WRITTEN", "written_pages", COLUMN_NUMBER},
        {"WBERRORS", "writeback_errors", COLUMN_NUMBER},
        {"LAST", "writeback_error", COLUMN_TEXT},
        {"EVICTED", "n_evicted_pages", COLUMN_NUMBER},
        {"WAITING", "waiters", COLUMN_NUMBER},
        {"REFS", "refs", COLUMN_NUMBER},
        {"MAPS", "mappings", COLUMN_NUMBER},
        {"FAULTS", "n_faults", COLUMN_NUMBER},
        {"SOURCE", "source", COLUMN_TEXT},
        {"", "lost", COLUMN_MARK},
        {"", "kept", COLUMN_MARK},
        {"", "stuck", COLUMN_MARK},
        {"OBJECT", "name", COLUMN_TEXT},
    };

    print_table(out, json_object_get(document, "objects"), columns, N_ELEMENTS(columns), "id");
    return true;
}
