/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Directories of a cramfs image: finding a path, and walking over all entries. Owns nothing but the
 * state of one call. Called by the cramfs driver.
 *
 * A directory is a run of entries, each an inode and its name (cramfs_format.h). Nothing in the
 * format keeps a damaged image from putting a directory into itself, or two directories over the
 * same bytes. In a sound one no two tables overlap, so no path and no walk can meet more bytes of
 * tables than the image has: that is the budget every call here ends with.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "drivers/cramfs/cramfs_format.h"
#include "drivers/cramfs/cramfs_image.h"

/* next_entry() found one. */
#define DIR_ENTRY 1

/* Bytes read at once. Chosen: a page; an entry has at most 264. */
#define WINDOW_BYTES 4096u

/* A piece of the image, kept to read entries without a call for each. */
struct window {
    uint64_t start; /* byte in the image */
    uint32_t n_bytes;
    uint8_t bytes[WINDOW_BYTES];
};

/* Where a scan of one directory is. */
struct scan {
    uint64_t ino; /* of the directory */
    uint64_t at;  /* byte in the image of the next entry */
    uint64_t end; /* of the directory's table */
};

struct entry {
    uint64_t place;     /* byte in the image of its inode */
    const uint8_t *raw; /* its inode; borrowed from the window, like the name */
    const char *name;   /* not terminated */
    size_t name_len;    /* 1..CRAMFS_NAME_MAX */
};

/* One directory that a walk is inside of. */
struct frame {
    struct scan scan;
    uint64_t table;  /* byte in the image of its first entry */
    size_t path_len; /* of its own path */
};

struct walk {
    const struct cramfs *fs; /* borrowed from cramfs_walk()'s caller */
    cramfs_walk_fn *fn;
    void *arg;
    struct cramfs_error *err;
    uint64_t budget_bytes; /* of directory tables that may still be entered */
    uint32_t depth;
    struct window window;
    struct frame frames[CRAMFS_MAX_DEPTH]; /* [0] is the root; [depth - 1] is being read */
    char path[CRAMFS_PATH_MAX];
};

static struct scan scan_begin(const struct cramfs_inode *dir)
{
    return (struct scan){
        .ino = dir->ino, .at = dir->data_offset, .end = dir->data_offset + dir->size_bytes};
}

/* Makes n_bytes at an offset of the image available; @ret_bytes borrows from the window. */
static int window_show(struct window *window, const struct cramfs *fs, const struct scan *scan,
                       uint32_t n_bytes, const uint8_t **ret_bytes, struct cramfs_error *err)
{
    uint64_t left = scan->end - scan->at;
    int r;

    if (n_bytes > left) {
        return CRAMFS_FAIL(err, -EIO, scan->ino, scan->at,
                           "a directory entry of %u bytes reaches past its directory's end",
                           n_bytes);
    }
    if (scan->at < window->start || scan->at + n_bytes > window->start + window->n_bytes) {
        uint32_t n = left < WINDOW_BYTES ? (uint32_t)left : WINDOW_BYTES;

        window->n_bytes = 0;
        r = cramfs_read_at(fs, scan->at, window->bytes, n, scan->ino, err);
        if (r < 0)
            return r;
        window->start = scan->at;
        window->n_bytes = n;
    }
    *ret_bytes = window->bytes + (scan->at - window->start);
    return 0;
}

/* The length of a name without its padding; 0 if it is none that a directory could have. */
static size_t name_length(const char *name, size_t padded_len)
{
    size_t len = padded_len;

    while (len > 0 && padded_len - len < 3 && name[len - 1] == '\0')
        len--;
    if (memchr(name, '\0', len) != NULL || memchr(name, '/', len) != NULL)
        return 0;
    if ((len == 1 || len == 2) && memcmp(name, "..", len) == 0)
        return 0;
    return len;
}

/* Returns DIR_ENTRY, 0 at the end of the directory, or a negative errno. */
static int next_entry(const struct cramfs *fs, struct window *window, struct scan *scan,
                      struct entry *ret_entry, struct cramfs_error *err)
{
    const uint8_t *bytes;
    uint32_t padded_len;
    struct entry entry;
    int r;

    if (scan->at >= scan->end)
        return 0;
    r = window_show(window, fs, scan, CRAMFS_INODE_SIZE, &bytes, err);
    if (r < 0)
        return r;
    padded_len = (cramfs_le32(bytes + 8) & 0x3f) * 4;
    r = window_show(window, fs, scan, CRAMFS_INODE_SIZE + padded_len, &bytes, err);
    if (r < 0)
        return r;
    entry.place = scan->at;
    entry.raw = bytes;
    entry.name = (const char *)(bytes + CRAMFS_INODE_SIZE);
    entry.name_len = name_length(entry.name, padded_len);
    if (entry.name_len == 0) {
        return CRAMFS_FAIL(err, -EIO, scan->ino, scan->at + CRAMFS_INODE_SIZE,
                           "a directory entry has an empty or forbidden name");
    }
    scan->at += CRAMFS_INODE_SIZE + padded_len;
    *ret_entry = entry;
    return DIR_ENTRY;
}

/* As strcmp() of the two names: the order mkfs.cramfs sorts a directory in. */
static int name_compare(const char *a, size_t a_len, const char *b, size_t b_len)
{
    int order = memcmp(a, b, a_len < b_len ? a_len : b_len);

    if (order != 0)
        return order;
    return (a_len > b_len) - (a_len < b_len);
}

/* Finds one name in one directory. */
static int lookup_name(const struct cramfs *fs, const struct cramfs_inode *dir, const char *name,
                       size_t name_len, struct cramfs_inode *ret_inode, struct cramfs_error *err)
{
    bool is_sorted = fs->info.flags & CRAMFS_FLAG_SORTED_DIRS;
    struct scan scan = scan_begin(dir);
    struct window window = {0};
    struct entry entry;
    int r;

    while ((r = next_entry(fs, &window, &scan, &entry, err)) == DIR_ENTRY) {
        int order = name_compare(name, name_len, entry.name, entry.name_len);

        if (order == 0)
            return cramfs_inode_decode(fs, entry.raw, entry.place, ret_inode, err);
        if (is_sorted && order < 0)
            break;
    }
    if (r < 0)
        return r;
    return CRAMFS_FAIL(err, -ENOENT, dir->ino, dir->data_offset, "the directory has no such entry");
}

/* One step of a lookup: from a directory to an entry of it, with the budget of the whole path. */
static int lookup_step(const struct cramfs *fs, const char *name, size_t name_len,
                       uint64_t *budget_bytes, struct cramfs_inode *inode, struct cramfs_error *err)
{
    struct cramfs_inode found;
    int r;

    if (S_ISLNK(inode->mode)) {
        return CRAMFS_FAIL(err, -ENOTDIR, inode->ino, inode->data_offset,
                           "the path goes through a symbolic link, which is not followed");
    }
    if (!S_ISDIR(inode->mode)) {
        return CRAMFS_FAIL(err, -ENOTDIR, inode->ino, inode->data_offset,
                           "the path goes through an entry that is no directory");
    }
    if (inode->size_bytes > *budget_bytes) {
        return CRAMFS_FAIL(err, -EIO, inode->ino, inode->data_offset,
                           "directories on the path overlap or contain themselves");
    }
    *budget_bytes -= inode->size_bytes;
    r = lookup_name(fs, inode, name, name_len, &found, err);
    if (r < 0)
        return r;
    *inode = found;
    return 0;
}

int cramfs_lookup(const struct cramfs *fs, const char *path, struct cramfs_inode *ret_inode,
                  struct cramfs_error *err)
{
    uint64_t budget_bytes = fs->info.limit_bytes;
    struct cramfs_inode inode = fs->root;
    const char *at = path;

    if (strnlen(path, CRAMFS_PATH_MAX) == CRAMFS_PATH_MAX) {
        return CRAMFS_FAIL(err, -ENAMETOOLONG, 0, 0, "the path is longer than %u bytes",
                           CRAMFS_PATH_MAX - 1);
    }
    for (at += strspn(at, "/"); *at != '\0'; at += strspn(at, "/")) {
        size_t name_len = strcspn(at, "/");
        int r = lookup_step(fs, at, name_len, &budget_bytes, &inode, err);

        if (r < 0)
            return r;
        at += name_len;
    }
    if (at > path && at[-1] == '/' && !S_ISDIR(inode.mode)) {
        return CRAMFS_FAIL(err, -ENOTDIR, inode.ino, inode.data_offset,
                           "the path ends in a slash and names no directory");
    }
    *ret_inode = inode;
    return 0;
}

/* Goes into a directory whose path is in walk->path. */
static int walk_enter(struct walk *walk, const struct cramfs_inode *dir, size_t path_len)
{
    if (dir->size_bytes == 0)
        return 0;
    for (uint32_t i = 0; i < walk->depth; i++) {
        if (walk->frames[i].table == dir->data_offset) {
            return CRAMFS_FAIL(walk->err, -EIO, dir->ino, dir->data_offset,
                               "a directory contains itself");
        }
    }
    if (dir->size_bytes > walk->budget_bytes) {
        return CRAMFS_FAIL(walk->err, -EIO, dir->ino, dir->data_offset,
                           "directories overlap: their tables are larger than the image");
    }
    if (walk->depth == CRAMFS_MAX_DEPTH) {
        return CRAMFS_FAIL(walk->err, -EIO, dir->ino, dir->data_offset,
                           "directories are nested more than %u deep", CRAMFS_MAX_DEPTH);
    }
    walk->budget_bytes -= dir->size_bytes;
    walk->frames[walk->depth++] =
        (struct frame){.scan = scan_begin(dir), .table = dir->data_offset, .path_len = path_len};
    return 0;
}

/* Puts an entry's name behind its directory's path. */
static int walk_name(struct walk *walk, const struct frame *frame, const struct entry *entry,
                     size_t *ret_path_len)
{
    size_t len = frame->path_len;

    if (len + 1 + entry->name_len >= CRAMFS_PATH_MAX) {
        return CRAMFS_FAIL(walk->err, -EIO, frame->scan.ino, entry->place,
                           "a path in the image is longer than %u bytes", CRAMFS_PATH_MAX - 1);
    }
    if (len > 0)
        walk->path[len++] = '/';
    memcpy(walk->path + len, entry->name, entry->name_len);
    len += entry->name_len;
    walk->path[len] = '\0';
    *ret_path_len = len;
    return 0;
}

/* Visits the next entry of the innermost directory, or leaves that. */
static int walk_step(struct walk *walk)
{
    struct frame *frame = &walk->frames[walk->depth - 1];
    struct cramfs_inode inode;
    struct entry entry;
    size_t path_len;
    int r = next_entry(walk->fs, &walk->window, &frame->scan, &entry, walk->err);

    if (r == 0)
        walk->depth--;
    if (r != DIR_ENTRY)
        return r;
    r = walk_name(walk, frame, &entry, &path_len);
    if (r < 0)
        return r;
    r = cramfs_inode_decode(walk->fs, entry.raw, entry.place, &inode, walk->err);
    if (r < 0)
        return r;
    r = walk->fn(walk->arg, walk->path, &inode);
    if (r != 0 || !S_ISDIR(inode.mode))
        return r;
    return walk_enter(walk, &inode, path_len);
}

int cramfs_walk(const struct cramfs *fs, cramfs_walk_fn *fn, void *arg, struct cramfs_error *err)
{
    CLEAN(free_p) struct walk *walk = calloc(1, sizeof(*walk));
    int r;

    if (walk == NULL)
        return CRAMFS_FAIL(err, -ENOMEM, 0, 0, "no memory to walk over the image");
    walk->fs = fs;
    walk->fn = fn;
    walk->arg = arg;
    walk->err = err;
    walk->budget_bytes = fs->info.limit_bytes;
    r = walk_enter(walk, &fs->root, 0);
    while (r == 0 && walk->depth > 0)
        r = walk_step(walk);
    return r;
}

int cramfs_list(const struct cramfs *fs, const struct cramfs_inode *dir, cramfs_list_fn *fn,
                void *arg, struct cramfs_error *err)
{
    struct scan scan = scan_begin(dir);
    struct window window = {0};
    char name[CRAMFS_NAME_MAX + 1];
    struct cramfs_inode inode;
    struct entry entry;
    int r;

    if (!S_ISDIR(dir->mode))
        return CRAMFS_FAIL(err, -ENOTDIR, dir->ino, dir->data_offset, "it is no directory");
    while ((r = next_entry(fs, &window, &scan, &entry, err)) == DIR_ENTRY) {
        memcpy(name, entry.name, entry.name_len);
        name[entry.name_len] = '\0';
        r = cramfs_inode_decode(fs, entry.raw, entry.place, &inode, err);
        if (r == 0)
            r = fn(arg, name, &inode);
        if (r != 0)
            break;
    }
    return r;
}
