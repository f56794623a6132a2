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
    dev_t device;           /* where it began, for FTW_MOUNT */
    struct folder *visited; /* owned; folders are visited once when links are followed */
    size_t n_visited;
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

/* FTW_CHDIR: in the folder that it lies in. Return: 0; -1 and errno. */
static int enter_parent(const char *path, int base)
{
    char parent[PATH_MAX];

    if (base == 0)
        return 0;
    (void)snprintf(parent, sizeof(parent), "%.*s", base > 1 ? base - 1 : 1, path);
    return chdir(parent);
}

static int visit(const struct walk *walk, const char *path, const struct stat *stat, int type,
                 int level)
{
    const char *slash = strrchr(path, '/');
    struct FTW place = {.base = slash && slash[1] ? (int)(slash + 1 - path) : 0, .level = level};

    if (walk->visit_old)
        return walk->visit_old(path, stat, old_type(type));
    if ((walk->flags & FTW_CHDIR) && enter_parent(path, place.base) < 0)
        return -1;
    return walk->visit(path, stat, type, &place);
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

/* Return: 1 it was not there yet; 0 it was; -1 and errno. */
static int remember(struct walk *walk, const struct stat *stat)
{
    struct folder *longer;

    if (walk->flags & FTW_PHYS)
        return 1;
    for (size_t i = 0; i < walk->n_visited; i++) {
        if (walk->visited[i].inode == stat->st_ino && walk->visited[i].device == stat->st_dev)
            return 0;
    }
    longer = realloc(walk->visited, (walk->n_visited + 1) * sizeof(*longer));
    if (!longer)
        return -1;
    walk->visited = longer;
    longer[walk->n_visited++] = (struct folder){stat->st_dev, stat->st_ino};
    return 1;
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
    const int before = walk->flags & FTW_CHDIR ? open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    struct stat stat;
    int r = -1;

    if (type_of(walk, path, &stat) != FTW_NS) {
        walk->device = stat.st_dev;
        r = walk_name(walk, path, 0);
    }
    if (before >= 0) {
        const int saved = errno;

        (void)fchdir(before);
        (void)close(before);
        errno = saved;
    }
    free(walk->visited);
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
