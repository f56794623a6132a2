/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Entry points that walk through folders inside the C library, where nobody sees them do it: glob(3), which can be
 * lent our functions, and ftw(3) and nftw(3), which cannot and are done here for names of ours.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client-lib/preload/where.h"

/* ---- glob ---- */

typedef int glob_error_fn(const char *path, int error);

static void *open_folder(const char *path)
{
    return opendir(path);
}

static struct dirent *read_folder(void *dir)
{
    return readdir(dir);
}

static void close_folder(void *dir)
{
    (void)closedir(dir);
}

EXPORT int glob(const char *pattern, int flags, glob_error_fn *on_error, glob_t *ret)
{
    struct where where;
    int r;

    if ((flags & GLOB_ALTDIRFUNC) || !where_is_served(AT_FDCWD, pattern, &where))
        return REAL(glob)(pattern, flags, on_error, ret);
    ret->gl_opendir = open_folder;
    ret->gl_readdir = read_folder;
    ret->gl_closedir = close_folder;
    ret->gl_stat = stat;
    ret->gl_lstat = lstat;
    r = REAL(glob)(pattern, flags | GLOB_ALTDIRFUNC, on_error, ret);
    ret->gl_flags &= ~GLOB_ALTDIRFUNC;
    return r;
}
EXPORT_AS(glob64, glob);

/* ---- ftw ---- */

typedef int ftw_fn(const char *path, const struct stat *stat, int type);
typedef int nftw_fn(const char *path, const struct stat *stat, int type, struct FTW *place);

struct folder {
    dev_t device;
    ino_t inode;
};

struct walk {
    nftw_fn *visit;
    ftw_fn *visit_old; /* of ftw(3), instead */
    int flags;
    dev_t device; /* where it began, for FTW_MOUNT */
    int cwd;      /* owned: FTW_CHDIR: the folder that paths are seen from; else -1 */
    void *
        visited; /* owned: a tree of struct folder; they are visited once when links are followed */
};

/* As ftw(3) calls what nftw(3) knows better. */
static int old_type(int type)
{
    switch (type) {
    case FTW_SL:
        return FTW_F;
    case FTW_DP:
        return FTW_D;
    case FTW_SLN:
        return FTW_NS;
    default:
        return type;
    }
}

/* FTW_CHDIR: in the folder that it lies in. Return: as visit(). */
static int visit_there(const struct walk *walk, const char *path, const struct stat *stat, int type,
                       struct FTW *place)
{
    char parent[PATH_MAX];
    int r;

    (void)snprintf(parent, sizeof(parent), "%.*s", place->base > 1 ? place->base - 1 : 1, path);
    if (place->base > 0 && chdir(parent) < 0)
        return -1;
    r = walk->visit(path, stat, type, place);
    return fchdir(walk->cwd) < 0 ? -1 : r;
}

static int visit(const struct walk *walk, const char *path, const struct stat *stat, int type,
                 int level)
{
    const char *slash = strrchr(path, '/');
    struct FTW place = {.base = slash && slash[1] ? (int)(slash + 1 - path) : 0, .level = level};

    if (walk->visit_old)
        return walk->visit_old(path, stat, old_type(type));
    return walk->flags & FTW_CHDIR ? visit_there(walk, path, stat, type, &place)
                                   : walk->visit(path, stat, type, &place);
}

/* Return: FTW_ of a name, and its attributes. */
static int type_of(const struct walk *walk, const char *path, struct stat *ret)
{
    memset(ret, 0, sizeof(*ret));
    if ((walk->flags & FTW_PHYS ? lstat : stat)(path, ret) < 0)
        return lstat(path, ret) == 0 && S_ISLNK(ret->st_mode) ? FTW_SLN : FTW_NS;
    if (S_ISDIR(ret->st_mode))
        return FTW_D;
    return S_ISLNK(ret->st_mode) ? FTW_SL : FTW_F;
}

static int compare_folders(const void *a, const void *b)
{
    const struct folder *one = a, *other = b;

    if (one->device != other->device)
        return one->device < other->device ? -1 : 1;
    return one->inode < other->inode ? -1 : one->inode > other->inode;
}

/* Return: 1 it was not there yet; 0 it was; -1 and errno. */
static int remember(struct walk *walk, const struct stat *stat)
{
    struct folder *folder, **known;

    if (walk->flags & FTW_PHYS)
        return 1;
    folder = malloc(sizeof(*folder));
    if (!folder)
        return -1;
    *folder = (struct folder){stat->st_dev, stat->st_ino};
    known = (struct folder **)tsearch(folder, &walk->visited, compare_folders);
    if (known && *known == folder)
        return 1;
    free(folder);
    return known ? 0 : fail(ENOMEM);
}

static int walk_name(struct walk *walk, const char *path, int level);

static void free_entries(struct dirent **entries, int n)
{
    for (int i = 0; i < n; i++)
        free(entries[i]);
    free(entries);
}

/* Return: 0; what the program's function returned; -1 and errno. */
static int walk_entries(struct walk *walk, const char *path, struct dirent **entries, int n,
                        int level)
{
    const bool has_slash = path[0] && path[strlen(path) - 1] == '/';
    char child[PATH_MAX];
    int r = 0;

    for (int i = 0; i < n && r == 0; i++) {
        const char *name = entries[i]->d_name;

        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        if ((size_t)snprintf(child, sizeof(child), "%s%s%s", path, has_slash ? "" : "/", name) >=
            sizeof(child))
            return fail(ENAMETOOLONG);
        r = walk_name(walk, child, level + 1);
        if ((walk->flags & FTW_ACTIONRETVAL) && r == FTW_SKIP_SIBLINGS)
            return 0;
    }
    return r;
}

static int walk_folder(struct walk *walk, const char *path, const struct stat *stat, int level)
{
    const bool is_late = walk->flags & FTW_DEPTH;
    struct dirent **entries = NULL;
    const int n = scandir(path, &entries, NULL, NULL);
    int r = 0;

    if (n < 0)
        return errno == EACCES ? visit(walk, path, stat, FTW_DNR, level) : -1;
    if (!is_late)
        r = visit(walk, path, stat, FTW_D, level);
    if ((walk->flags & FTW_ACTIONRETVAL) && r == FTW_SKIP_SUBTREE)
        r = 0;
    else if (r == 0)
        r = walk_entries(walk, path, entries, n, level);
    free_entries(entries, n);
    return r == 0 && is_late ? visit(walk, path, stat, FTW_DP, level) : r;
}

static int walk_name(struct walk *walk, const char *path, int level)
{
    struct stat stat;
    const int type = type_of(walk, path, &stat);
    int r = 1;

    if ((walk->flags & FTW_MOUNT) && type != FTW_NS && stat.st_dev != walk->device)
        return 0;
    if (type == FTW_D) {
        r = remember(walk, &stat);
        return r > 0 ? walk_folder(walk, path, &stat, level) : r;
    }
    r = visit(walk, path, &stat, type, level);
    return (walk->flags & FTW_ACTIONRETVAL) && r == FTW_SKIP_SUBTREE ? 0 : r;
}

/* Source: nftw(3): a start that is not there is an error, and not a name without attributes. */
static int walk_from(struct walk *walk, const char *path)
{
    struct stat stat;
    int r = -1, error;

    walk->cwd = walk->flags & FTW_CHDIR ? open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if ((walk->flags & FTW_CHDIR) && walk->cwd < 0)
        return -1;
    if (type_of(walk, path, &stat) != FTW_NS) {
        walk->device = stat.st_dev;
        r = walk_name(walk, path, 0);
    }
    error = errno;
    if (walk->cwd >= 0)
        (void)close(walk->cwd);
    tdestroy(walk->visited, free);
    errno = error;
    if ((walk->flags & FTW_ACTIONRETVAL) && (r == FTW_SKIP_SUBTREE || r == FTW_SKIP_SIBLINGS))
        r = 0;
    return r;
}

EXPORT int nftw(const char *path, nftw_fn *fn, int n_fds, int flags)
{
    struct walk walk = {.visit = fn, .flags = flags};
    struct where where;

    return where_is_served(AT_FDCWD, path, &where) ? walk_from(&walk, path)
                                                   : REAL(nftw)(path, fn, n_fds, flags);
}
EXPORT_AS(nftw64, nftw);

EXPORT int ftw(const char *path, ftw_fn *fn, int n_fds)
{
    struct walk walk = {.visit_old = fn};
    struct where where;

    return where_is_served(AT_FDCWD, path, &where) ? walk_from(&walk, path)
                                                   : REAL(ftw)(path, fn, n_fds);
}
EXPORT_AS(ftw64, ftw);
