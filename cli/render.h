/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Documents of the control socket as text for people: one function a command. What a document lacks
 * is shown as empty or 0; text in it comes from anywhere and is printed without control characters.
 */
#ifndef MUSE_CLI_RENDER_H
#define MUSE_CLI_RENDER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "cli/commands.h"

/**
 * render_fn() - print one document
 * @document: borrowed
 *
 * Return: whether all is well; false makes musectl's exit status 1 (audit).
 */
typedef bool render_fn(FILE *out, const json_t *document);

#define X(word, min, max, follow, syntax, help) render_##word,
render_fn CLI_COMMANDS(X) render_trace_entry;
#undef X

/* ---- render.c: pieces ---- */

/** field_number() - a member, 0 when there is none */
uint64_t field_number(const json_t *document, const char *key);

/** field_text() - a member, borrowed; "" when there is none */
const char *field_text(const json_t *document, const char *key);

/** field_is() - a member that is true */
bool field_is(const json_t *document, const char *key);

/** print_text() - text of any origin: control characters as \xNN */
void print_text(FILE *out, const char *text);

/* What a column holds. Numbers stand to the right. */
enum column_kind {
    COLUMN_TEXT,
    COLUMN_NUMBER,
    COLUMN_HEX,
    COLUMN_SIZE,  /* bytes; null is "-" */
    COLUMN_TIME,  /* ns; null is "-" */
    COLUMN_COUNT, /* how long the array is */
    COLUMN_MARK   /* the key itself when the member is true */
};

struct column {
    const char *title, *key;
    enum column_kind kind;
};

/**
 * print_table() - the objects of an array, one a line, under a line of titles
 * @rows:    NULL or not an array: none; sorted by the number in @sort_key, unless that is NULL
 * @columns: @n_columns of them
 */
void print_table(FILE *out, const json_t *rows, const struct column *columns, size_t n_columns,
                 const char *sort_key);

/** format_size() - bytes for people: "4096", "12.5M". Return: @buf. */
const char *format_size(uint64_t bytes, char buf[static 24]);

/** format_time() - a duration for people: "850 ns", "1.5 ms", "2 h 3 min". Return: @buf. */
const char *format_time(uint64_t ns, char buf[static 32]);

#endif
