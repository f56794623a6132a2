/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The entries of a registry: which DRIVER/OBJECT is behind a name. Pure; made from words of the command
 * line and from the text of a table file.
 */
#ifndef MUSE_DRIVERS_REGISTRY_TABLE_H
#define MUSE_DRIVERS_REGISTRY_TABLE_H

#include <stddef.h>

#include "common/base/must.h"

/* Chosen: a folder of /proc. */
#define TABLE_ENTRIES_MAX 4096u
/* A name is one part of a path; the target is what muse_vma_forward() takes. */
#define TABLE_NAME_MAX    255u
#define TABLE_TARGET_MAX  4096u

struct table_entry {
    char *name;   /* owned */
    char *target; /* owned; "": there is nothing behind the name */
};

struct table {
    struct table_entry *entries; /* owned, in the order they came */
    size_t n_entries;
};

struct table_error {
    char text[160];
};

/**
 * table_add() - one NAME=DRIVER/OBJECT, or NAME= for an entry that cannot be mapped
 * @word: NAME has neither "/" nor "="; DRIVER and OBJECT are not empty
 *
 * Return: 0; -EINVAL with a sentence, -EEXIST the name is there already, -E2BIG too many, -ENOMEM.
 */
MUST_CHECK int table_add(struct table *table, const char *word, struct table_error *ret_err);

/**
 * table_read() - entries from a text, one a line; empty lines and those that begin with # do not count
 * @text: @n_bytes, may have any bytes
 *
 * Return: as table_add(); the sentence names the line.
 */
MUST_CHECK int table_read(struct table *table, const char *text, size_t n_bytes,
                          struct table_error *ret_err);

/** table_find() - the entry of that name, NULL: none. Its number is its place in entries. */
const struct table_entry *table_find(const struct table *table, const char *name);

/** table_done() - free all entries */
void table_done(struct table *table);

#endif
