/* SPDX-License-Identifier: BSD-3-Clause */
/* The pieces text for people is made of: safe text, sizes, durations, tables. */
#include "cli/render.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/own.h"

uint64_t field_number(const json_t *document, const char *key)
{
    const json_int_t value = json_integer_value(json_object_get(document, key));

    return value > 0 ? (uint64_t)value : 0;
}

const char *field_text(const json_t *document, const char *key)
{
    const char *text = json_string_value(json_object_get(document, key));

    return text ? text : "";
}

bool field_is(const json_t *document, const char *key)
{
    return json_is_true(json_object_get(document, key));
}

/* Whether the UTF-8 character at @text is a control character: C0, DEL, or C1. */
static bool is_control(const unsigned char *text)
{
    return text[0] < 0x20 || text[0] == 0x7f ||
           (text[0] == 0xc2 && text[1] >= 0x80 && text[1] < 0xa0);
}

/* What print_text() prints. @ret_width: columns of a terminal, if each character takes one.
 * Return: from malloc; NULL. */
static char *safe_text(const char *text, size_t *ret_width)
{
    const unsigned char *c = (const unsigned char *)text;
    char *buf = malloc(4 * strlen(text) + 1);
    size_t n = 0;
    size_t width = 0;

    if (!buf)
        return NULL;
    while (*c) {
        size_t n_bytes = 1;

        if (is_control(c)) {
            n_bytes = c[0] == 0xc2 ? 2 : 1;
            for (size_t i = 0; i < n_bytes; i++)
                n += (size_t)sprintf(buf + n, "\\x%02x", c[i]);
            width += 4 * n_bytes;
        } else {
            buf[n++] = (char)*c;
            width += (*c & 0xc0u) != 0x80u;
        }
        c += n_bytes;
    }
    buf[n] = '\0';
    *ret_width = width;
    return buf;
}

void print_text(FILE *out, const char *text)
{
    size_t width;
    CLEAN(free_p) char *safe = safe_text(text, &width);

    (void)fputs(safe ? safe : "?", out);
}

const char *format_size(uint64_t bytes, char buf[static 24])
{
    static const char units[] = "KMGTPE";
    uint64_t unit = 1;
    size_t n = 0;

    while (n < sizeof(units) - 1 && bytes / 1024 >= unit) {
        unit *= 1024;
        n++;
    }
    if (n == 0)
        (void)snprintf(buf, 24, "%" PRIu64, bytes);
    else if (bytes % unit == 0)
        (void)snprintf(buf, 24, "%" PRIu64 "%c", bytes / unit, units[n - 1]);
    else
        (void)snprintf(buf, 24, "%.1f%c", (double)bytes / (double)unit, units[n - 1]);
    return buf;
}

const char *format_time(uint64_t ns, char buf[static 32])
{
    const uint64_t s = ns / 1000000000;

    if (ns < 1000)
        (void)snprintf(buf, 32, "%" PRIu64 " ns", ns);
    else if (ns < 1000000)
        (void)snprintf(buf, 32, "%.1f µs", (double)ns / 1e3);
    else if (ns < 1000000000)
        (void)snprintf(buf, 32, "%.1f ms", (double)ns / 1e6);
    else if (s < 60)
        (void)snprintf(buf, 32, "%.1f s", (double)ns / 1e9);
    else if (s < 3600)
        (void)snprintf(buf, 32, "%" PRIu64 " min %" PRIu64 " s", s / 60, s % 60);
    else if (s < 86400)
        (void)snprintf(buf, 32, "%" PRIu64 " h %" PRIu64 " min", s / 3600, s / 60 % 60);
    else
        (void)snprintf(buf, 32, "%" PRIu64 " d %" PRIu64 " h", s / 86400, s / 3600 % 24);
    return buf;
}

/* ---- tables ---- */

/* One cell as text. */
struct cell {
    char *text; /* owned, printable; NULL without memory */
    size_t width;
};

static struct cell make_cell(const json_t *row, const struct column *column)
{
    const json_t *value = json_object_get(row, column->key);
    struct cell cell = {.text = NULL};
    const char *text = "";
    char buf[40];

    switch (column->kind) {
    case COLUMN_TEXT:
        text = field_text(row, column->key);
        break;
    case COLUMN_NUMBER:
        (void)snprintf(buf, sizeof(buf), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        text = buf;
        break;
    case COLUMN_HEX:
        (void)snprintf(buf, sizeof(buf), "%" PRIx64, field_number(row, column->key));
        text = buf;
        break;
    case COLUMN_SIZE:
        text = json_is_integer(value) ? format_size(field_number(row, column->key), buf) : "-";
        break;
    case COLUMN_TIME:
        text = json_is_null(value) ? "-" : format_time(field_number(row, column->key), buf);
        break;
    case COLUMN_COUNT:
        (void)snprintf(buf, sizeof(buf), "%zu", json_array_size(value));
        text = buf;
        break;
    case COLUMN_MARK:
        text = json_is_true(value) ? column->key : "";
        break;
    }
    cell.text = safe_text(text, &cell.width);
    return cell;
}

struct row {
    const json_t *document;
    json_int_t key;
};

static int compare_rows(const void *a, const void *b)
{
    const struct row *const left = a;
    const struct row *const right = b;

    return (left->key > right->key) - (left->key < right->key);
}

/* Return: from malloc, json_array_size(@rows) of them; NULL without memory or rows. */
static struct row *sort_rows(const json_t *rows, const char *sort_key)
{
    const size_t n_rows = json_array_size(rows);
    struct row *sorted = n_rows ? calloc(n_rows, sizeof(*sorted)) : NULL;

    for (size_t i = 0; sorted && i < n_rows; i++) {
        sorted[i].document = json_array_get(rows, i);
        sorted[i].key = sort_key ? json_integer_value(json_object_get(sorted[i].document, sort_key))
                                 : (json_int_t)i;
    }
    if (sorted && sort_key)
        qsort(sorted, n_rows, sizeof(*sorted), compare_rows);
    return sorted;
}

static void print_cell(FILE *out, const struct column *column, const char *text, size_t width,
                       size_t column_width, bool is_last)
{
    const bool right = column->kind != COLUMN_TEXT && column->kind != COLUMN_MARK;
    const int pad = (int)(column_width - width);

    if (right)
        (void)fprintf(out, "%*s%s", pad, "", text);
    else
        (void)fprintf(out, "%s%*s", text, is_last ? 0 : pad, "");
    (void)fputs(is_last ? "\n" : "  ", out);
}

void print_table(FILE *out, const json_t *rows, const struct column *columns, size_t n_columns,
                 const char *sort_key)
{
    const size_t n_rows = json_array_size(rows);
    CLEAN(free_p) struct row *sorted = sort_rows(rows, sort_key);
    CLEAN(free_p) struct cell *cells = calloc(n_rows * n_columns + 1, sizeof(*cells));
    CLEAN(free_p) size_t *widths = calloc(n_columns, sizeof(*widths));

    if (!cells || !widths || (n_rows > 0 && !sorted)) {
        (void)fputs("(out of memory)\n", out);
        return;
    }
    for (size_t k = 0; k < n_columns; k++) {
        widths[k] = strlen(columns[k].title);
        for (size_t i = 0; i < n_rows; i++) {
            struct cell *cell = &cells[i * n_columns + k];

            *cell = make_cell(sorted[i].document, &columns[k]);
            if (cell->width > widths[k])
                widths[k] = cell->width;
        }
    }
    for (size_t k = 0; k < n_columns; k++)
        print_cell(out, &columns[k], columns[k].title, strlen(columns[k].title), widths[k],
                   k + 1 == n_columns);
    for (size_t i = 0; i < n_rows * n_columns; i++) {
        const size_t k = i % n_columns;

        print_cell(out, &columns[k], cells[i].text ? cells[i].text : "?",
                   cells[i].text ? cells[i].width : 1, widths[k], k + 1 == n_columns);
        free(cells[i].text);
    }
}
