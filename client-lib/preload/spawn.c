/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * File actions about names of ours, see spawn.h. Sets that have any are known by their address, from the
 * first such action to posix_spawn_file_actions_destroy(3).
 */
#define _GNU_SOURCE
#include "client-lib/preload/spawn.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client-lib/preload/names.h"

#define SPARE_MIN 64 /* chosen: above what file actions usually name */

struct open_action {
    struct open_action *next;
    int spare; /* owned */
    int oflags;
    mode_t mode;
    char name[]; /* ours */
};

struct spawn_actions {
    struct spawn_actions *next;
    const posix_spawn_file_actions_t *of;
    struct open_action *opens, **last;
    bool has_cwd; /* the child goes to another folder than the program's */
    char *cwd;    /* owned; NULL: to one that is not ours */
};

/* Held while a child is started whose actions open something: its spares are in use. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct spawn_actions *known;

/* The lock is held for these. */
static struct spawn_actions *find(const posix_spawn_file_actions_t *actions)
{
    struct spawn_actions *mine = known;

    while (mine && mine->of != actions)
        mine = mine->next;
    return mine;
}

static struct spawn_actions *find_or_make(const posix_spawn_file_actions_t *actions)
{
    struct spawn_actions *mine = find(actions);

    if (mine)
        return mine;
    mine = calloc(1, sizeof(*mine));
    if (!mine)
        return NULL;
    mine->of = actions;
    mine->last = &mine->opens;
    mine->next = known;
    known = mine;
    return mine;
}

static void forget(const posix_spawn_file_actions_t *actions)
{
    struct spawn_actions **at = &known, *mine;

    while (*at && (*at)->of != actions)
        at = &(*at)->next;
    mine = *at;
    if (!mine)
        return;
    *at = mine->next;
    while (mine->opens) {
        struct open_action *action = mine->opens;

        mine->opens = action->next;
        (void)REAL(close)(action->spare);
        free(action);
    }
    free(mine->cwd);
    free(mine);
}

/* ---- spares ---- */

/* A number that is nobody's, and not @other. Return: the fd, close-on-exec; -1 and errno. */
static int spare_new(int other)
{
    const int nothing = REAL(open)("/dev/null", O_PATH | O_CLOEXEC);
    int spare = -1;

    if (nothing < 0)
        return -1;
    spare = REAL(fcntl)(nothing, F_DUPFD_CLOEXEC, other >= SPARE_MIN ? other + 1 : SPARE_MIN);
    if (spare < 0 && errno == EINVAL) /* above the limit */
        spare = REAL(fcntl)(nothing, F_DUPFD_CLOEXEC, 0);
    (void)REAL(close)(nothing);
    return spare;
}

static void spare_empty(int spare)
{
    const int nothing = REAL(open)("/dev/null", O_PATH | O_CLOEXEC);

    if (nothing < 0)
        return; /* it keeps the object until it is used again */
    (void)REAL(dup3)(nothing, spare, O_CLOEXEC);
    (void)REAL(close)(nothing);
}

/* Return: 0 or errno. */
static int spare_fill(const struct open_action *action)
{
    struct where where;
    bool is_outside;
    int fd;

    if (!where_join(action->name, "", &where))
        return ENAMETOOLONG;
    where.wants_folder = action->name[0] && action->name[strlen(action->name) - 1] == '/';
    fd = names_open(&where, action->oflags | O_CLOEXEC, action->mode, &is_outside);
    if (is_outside)
        fd = REAL(open)(where.path, action->oflags | O_CLOEXEC, action->mode);
    if (fd < 0)
        return errno;
    (void)REAL(dup3)(fd, action->spare, O_CLOEXEC);
    (void)close(fd);
    return 0;
}

/* ---- starting ---- */

/* Return: 0 or errno. */
static int check_cwd(const struct spawn_actions *mine)
{
    struct where where;
    struct stat stat;
    bool is_outside;

    if (!mine->cwd)
        return 0;
    if (!where_join(mine->cwd, "", &where))
        return ENAMETOOLONG;
    if (names_stat(&where, true, &stat, &is_outside) < 0)
        return errno;
    return is_outside || S_ISDIR(stat.st_mode) ? 0 : ENOTDIR;
}

int spawn_begin(const posix_spawn_file_actions_t *actions, struct spawn_actions **ret)
{
    const int saved = errno;
    int r;

    *ret = NULL;
    if (!actions)
        return 0;
    (void)pthread_mutex_lock(&lock);
    *ret = find(actions);
    if (!*ret) {
        (void)pthread_mutex_unlock(&lock);
        return 0;
    }
    r = check_cwd(*ret);
    for (const struct open_action *action = (*ret)->opens; action && r == 0; action = action->next)
        r = spare_fill(action);
    if (r != 0) {
        spawn_end(*ret);
        *ret = NULL;
    }
    errno = saved;
    return r;
}

void spawn_end(struct spawn_actions *mine)
{
    const int saved = errno;

    if (!mine)
        return;
    for (const struct open_action *action = mine->opens; action; action = action->next)
        spare_empty(action->spare);
    (void)pthread_mutex_unlock(&lock);
    errno = saved;
}

bool spawn_is_served(const struct spawn_actions *mine, const char *path, struct where *ret)
{
    if (!mine || !mine->has_cwd || path[0] == '/')
        return where_is_served(AT_FDCWD, path, ret);
    if (mine->cwd)
        return where_join(mine->cwd, path, ret);
    ret->dirfd = AT_FDCWD;
    ret->path = path;
    return false;
}

const char *spawn_env(const struct spawn_actions *mine, char *buf, size_t size)
{
    if (!mine || !mine->has_cwd)
        return where_env(buf, size);
    return mine->cwd ? where_env_of(mine->cwd, buf, size) : NULL;
}

void spawn_forked(void)
{
    (void)pthread_mutex_init(&lock, NULL);
}

/* ---- sets of actions ---- */

EXPORT int posix_spawn_file_actions_init(posix_spawn_file_actions_t *actions)
{
    (void)pthread_mutex_lock(&lock);
    forget(actions); /* one that was at this address, and was not destroyed */
    (void)pthread_mutex_unlock(&lock);
    return REAL(posix_spawn_file_actions_init)(actions);
}

EXPORT int posix_spawn_file_actions_destroy(posix_spawn_file_actions_t *actions)
{
    (void)pthread_mutex_lock(&lock);
    forget(actions);
    (void)pthread_mutex_unlock(&lock);
    return REAL(posix_spawn_file_actions_destroy)(actions);
}

/* Return: 0 or errno. */
static int add_open(posix_spawn_file_actions_t *actions, int fd, const struct where *where,
                    int oflags, mode_t mode)
{
    const size_t n_name = strlen(where->name) + 2;
    struct spawn_actions *mine = find_or_make(actions);
    struct open_action *action = mine ? malloc(sizeof(*action) + n_name) : NULL;
    int r;

    if (!action)
        return ENOMEM;
    *action = (struct open_action){.oflags = oflags, .mode = mode, .spare = spare_new(fd)};
    (void)snprintf(action->name, n_name, "%s%s", where->name, where->wants_folder ? "/" : "");
    r = action->spare < 0 ? errno
                          : REAL(posix_spawn_file_actions_adddup2)(actions, action->spare, fd);
    if (r != 0) {
        if (action->spare >= 0)
            (void)REAL(close)(action->spare);
        free(action);
        return r;
    }
    *mine->last = action;
    mine->last = &action->next;
    return 0;
}

EXPORT int posix_spawn_file_actions_addopen(posix_spawn_file_actions_t *actions, int fd,
                                            const char *path, int oflags, mode_t mode)
{
    const int saved = errno;
    struct where where;
    int r;

    (void)pthread_mutex_lock(&lock);
    if (spawn_is_served(find(actions), path, &where))
        r = fd < 0 ? EBADF : add_open(actions, fd, &where, oflags, mode);
    else
        r = REAL(posix_spawn_file_actions_addopen)(actions, fd, where.path, oflags, mode);
    (void)pthread_mutex_unlock(&lock);
    errno = saved;
    return r;
}

/* @name: NULL: not ours. Return: 0 or errno. */
static int set_cwd(const posix_spawn_file_actions_t *actions, const char *name)
{
    struct spawn_actions *mine = find_or_make(actions);
    char *copy = name ? strdup(name) : NULL;

    if (!mine || (name && !copy)) {
        free(copy);
        return ENOMEM;
    }
    free(mine->cwd);
    mine->cwd = copy;
    mine->has_cwd = true;
    return 0;
}

/* Only who is in a folder of ours can leave it. */
static int leave(const posix_spawn_file_actions_t *actions, int r)
{
    const bool matters = find(actions) || atomic_load(&where_is_relative);

    return r == 0 && matters ? set_cwd(actions, NULL) : r;
}

EXPORT int posix_spawn_file_actions_addchdir_np(posix_spawn_file_actions_t *actions,
                                                const char *path)
{
    const int saved = errno;
    struct where where;
    bool is_outside = true;
    int r;

    (void)pthread_mutex_lock(&lock);
    if (spawn_is_served(find(actions), path, &where)) {
        struct stat stat;

        is_outside = false;
        (void)names_stat(&where, true, &stat, &is_outside);
    }
    if (is_outside)
        r = leave(actions, REAL(posix_spawn_file_actions_addchdir_np)(actions, where.path));
    else
        r = set_cwd(actions, where.name);
    (void)pthread_mutex_unlock(&lock);
    errno = saved;
    return r;
}

EXPORT int posix_spawn_file_actions_addfchdir_np(posix_spawn_file_actions_t *actions, int fd)
{
    char name[PATH_MAX];
    int r;

    (void)pthread_mutex_lock(&lock);
    if (fds_folder_name(fd, name))
        r = set_cwd(actions, name);
    else
        r = leave(actions, REAL(posix_spawn_file_actions_addfchdir_np)(actions, fd));
    (void)pthread_mutex_unlock(&lock);
    return r;
}
