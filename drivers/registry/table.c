/* SPDX-License-Identifier: BSD-3-Clause */
#include "drivers/registry/table.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/own.h"

__attribute__((format(printf, 3, 4))) static int refuse(struct table_error *err, int error,
                                                        const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(err->text, sizeof(err->text), format, args);
    va_end(args);
    return error;
}

/* Without "." and "..", which a path never ends at. */
static int check_name(const char *name, size_t length, struct table_error *err)
{
    if (length == 0 || length > TABLE_NAME_MAX || memchr(name, '/', length) ||
        (name[0] == '.' && (length == 1 || (length == 2 && name[1] == '.'))))
        return refuse(err, -EINVAL, "%.64s: what is before \"=\" is no name", name);
    return 0;
}

static int check_target(const char *word, const char *target, struct table_error *err)
{
    const char *slash = strchr(target, '/');

    if (target[0] == '\0')
        return 0;
    if (!slash || slash == target || slash[1] == '\0' || strlen(target) > TABLE_TARGET_MAX)
        return refuse(err, -EINVAL, "%.64s: what is behind \"=\" is not DRIVER/OBJECT", word);
    return 0;
}

static int grow(struct table *table, struct table_error *err)
{
    struct table_entry *entries;

    if (table->n_entries == TABLE_ENTRIES_MAX)
        return refuse(err, -E2BIG, "more than %u entries", TABLE_ENTRIES_MAX);
    if (table->n_entries % 64 != 0)
        return 0;
    entries = realloc(table->entries, (table->n_entries + 64) * sizeof(*entries));
    if (!entries)
        return refuse(err, -ENOMEM, "no memory for %zu entries", table->n_entries + 64);
    table->entries = entries;
    return 0;
}

int table_add(struct table *table, const char *word, struct table_error *ret_err)
{
    const char *equals = strchr(word, '=');
    CLEAN(free_p) char *name = NULL;
    CLEAN(free_p) char *target = NULL;
    int r;

    if (!equals)
        return refuse(ret_err, -EINVAL, "%.64s: not NAME=DRIVER/OBJECT", word);
    r = check_name(word, (size_t)(equals - word), ret_err);
    if (r == 0)
        r = check_target(word, equals + 1, ret_err);
    if (r == 0)
        r = grow(table, ret_err);
    if (r < 0)
        return r;
    name = strndup(word, (size_t)(equals - word));
    target = strdup(equals + 1);
    if (!name || !target)
        return refuse(ret_err, -ENOMEM, "no memory for an entry");
    if (table_find(table, name))
        return refuse(ret_err, -EEXIST, "%.64s: the name is there already", word);
    table->entries[table->n_entries].name = TAKE(name);
    table->entries[table->n_entries++].target = TAKE(target);
    return 0;
}

/* @line: without its end. */
static int read_line(struct table *table, const char *line, size_t length, unsigned number,
                     struct table_error *err)
{
    CLEAN(free_p) char *word = NULL;
    struct table_error why;
    int r;

    if (length == 0 || line[0] == '#')
        return 0;
    if (memchr(line, '\0', length))
        return refuse(err, -EINVAL, "line %u: it has a zero byte", number);
    word = strndup(line, length);
    if (!word)
        return refuse(err, -ENOMEM, "line %u: no memory", number);
    r = table_add(table, word, &why);
    return r < 0 ? refuse(err, r, "line %u: %.128s", number, why.text) : 0;
}

int table_read(struct table *table, const char *text, size_t n_bytes, struct table_error *ret_err)
{
    unsigned number = 0;
    size_t at = 0;
    int r = 0;

    while (at < n_bytes && r == 0) {
        const char *end = memchr(text + at, '\n', n_bytes - at);
        const size_t length = end ? (size_t)(end - (text + at)) : n_bytes - at;

        r = read_line(table, text + at, length, ++number, ret_err);
        at += length + 1;
    }
    return r;
}

const struct table_entry *table_find(const struct table *table, const char *name)
{
    for (size_t i = 0; i < table->n_entries; i++) {
        if (strcmp(table->entries[i].name, name) == 0)
            return &table->entries[i];
    }
    return NULL;
}

void table_done(struct table *table)
{
    while (table->n_entries > 0) {
        free(table->entries[--table->n_entries].name);
        free(table->entries[table->n_entries].target);
    }
    free(table->entries);
    table->entries = NULL;
}
