/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * muse-registry: names for objects of other drivers, as procfs has names for what others map. It has
 * the legacy mmap hook only, and passes each mapping on: the server then runs the other driver's
 * mmap_prepare and mmap_complete (docs/contract.md, section 6). From there on the mapping is that
 * driver's, and nothing of it is heard here.
 */
#include <argp.h>
#include <errno.h>
#include <muse/driver.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/own.h"
#include "drivers/registry/table.h"

/* A table file. Chosen: more than its entries can be. */
#define TABLE_BYTES_MAX (1u << 20)

enum { OPTION_TABLE = 0x2001 };

struct registry {
    struct table table;
};

/* Nobody is kept out here: who may open the object is decided by the other driver, which is asked to
 * open it for the client, in the way the entry was opened. */
static struct muse_attr attr_of(const struct registry *registry, const struct table_entry *entry)
{
    return (struct muse_attr){.mode = S_IFREG | 0666,
                              .inode = (uint64_t)(entry - registry->table.entries) + 2,
                              .nlink = 1};
}

static int registry_getattr_path(void *user, const struct muse_open_args *args,
                                 struct muse_attr *ret_attr)
{
    const struct registry *registry = user;
    const struct table_entry *entry = table_find(&registry->table, args->path);

    *ret_attr = (struct muse_attr){.mode = S_IFDIR | 0555, .inode = 1, .nlink = 2};
    if (args->path[0] == '\0')
        return 0;
    if (!entry) {
        muse_set_error("%s: there is no such entry", args->path);
        return -ENOENT;
    }
    *ret_attr = attr_of(registry, entry);
    return 0;
}

static int registry_readdir(void *user, const struct muse_open_args *args, uint64_t cursor,
                            struct muse_dir *dir)
{
    const struct table *table = &((const struct registry *)user)->table;

    if (args->path[0] != '\0')
        return table_find(table, args->path) ? -ENOTDIR : -ENOENT;
    for (size_t i = cursor; i < table->n_entries; i++) {
        if (!muse_dir_add(dir, table->entries[i].name, S_IFREG, i + 2, i + 1))
            break;
    }
    return 0;
}

/* As of most of /proc, the size is 0: how much there is to map, the other driver knows. */
static int registry_open(void *user, const struct muse_open_args *args,
                         struct muse_open_result *ret)
{
    const struct registry *registry = user;
    const struct table_entry *entry = table_find(&registry->table, args->path);

    if (!entry) {
        muse_set_error("%s: there is no such entry", args->path);
        return -ENOENT;
    }
    ret->file_private = (void *)(uintptr_t)entry; /* never written through */
    ret->attr = attr_of(registry, entry);
    ret->object_key = ret->attr.inode;
    return 0;
}

/* pde_mmap() of Linux */
static int registry_mmap(struct muse_driver_file *file, struct muse_vma *vma)
{
    const struct table_entry *entry = file->private_data;

    if (entry->target[0] == '\0') {
        muse_set_error("%s: there is nothing behind this entry that can be mapped", entry->name);
        return -EIO;
    }
    return muse_vma_forward(vma, entry->target);
}

static void registry_stop(void *user)
{
    table_done(&((struct registry *)user)->table);
}

/* ---- options ---- */

static void read_table(struct registry *registry, const char *path, struct argp_state *state)
{
    CLEAN(free_p) char *text = malloc(TABLE_BYTES_MAX);
    FILE *file = fopen(path, "re");
    struct table_error err;
    size_t n_bytes;

    if (!file)
        argp_failure(state, 1, errno, "%s", path);
    if (!text)
        argp_failure(state, 1, ENOMEM, "%s", path);
    if (!file || !text)
        return; /* argp_failure() does not come back; the analyzer cannot know */
    n_bytes = fread(text, 1, TABLE_BYTES_MAX, file);
    if (ferror(file))
        argp_failure(state, 1, EIO, "%s", path);
    (void)fclose(file);
    if (n_bytes == TABLE_BYTES_MAX)
        argp_failure(state, 1, EFBIG, "%s", path);
    if (table_read(&registry->table, text, n_bytes, &err) < 0)
        argp_failure(state, 1, 0, "%s: %s", path, err.text);
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct registry *registry = state->input;
    struct table_error err;

    switch (key) {
    case OPTION_TABLE:
        read_table(registry, argument, state);
        return 0;
    case ARGP_KEY_ARG:
        if (table_add(&registry->table, argument, &err) < 0)
            argp_error(state, "%s", err.text);
        return 0;
    case ARGP_KEY_END:
        if (registry->table.n_entries == 0)
            argp_error(state, "no entry");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int main(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"table", OPTION_TABLE, "FILE", 0, "Entries from FILE, one a line", 1},
        {0},
    };
    static const struct argp argp = {
        .options = options,
        .parser = parse_option,
        .args_doc = "[NAME=DRIVER/OBJECT...]",
        .doc = "Map DRIVER/OBJECT for who maps registry/NAME.",
    };
    static const struct muse_driver_ops ops = {
        MUSE_DRIVER_OPS,
        .name = "registry",
        .version = "0.1.0",
        .argp = &argp,
        .stop = registry_stop,
        .open = registry_open,
        .mmap = registry_mmap,
        .getattr_path = registry_getattr_path,
        .readdir = registry_readdir,
    };
    struct registry registry = {.table = {.n_entries = 0}};

    return muse_driver_main(argc, argv, &ops, &registry);
}
