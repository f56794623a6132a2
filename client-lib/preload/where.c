/* SPDX-License-Identifier: BSD-3-Clause */
/* Paths as text, and the working folder when it is one of ours. */
#define _GNU_SOURCE
#include "client-lib/preload/where.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client-lib/preload/fds.h"

#define CWD_VARIABLE "MUSE_PRELOAD_CWD"

atomic_bool where_is_relative;

static struct {
    pthread_mutex_t lock;
    bool is_ours;
    char name[PATH_MAX];
} cwd = {.lock = PTHREAD_MUTEX_INITIALIZER};

void where_copy(char *ret_text, const char *text)
{
    (void)snprintf(ret_text, PATH_MAX, "%s", text);
}

/* Append the parts of a path to an absolute one without "." and "..". Return: whether it fitted. */
static bool append(char *absolute, const char *path)
{
    size_t n = strlen(absolute);

    for (path += strspn(path, "/"); *path; path += strspn(path, "/")) {
        const size_t n_part = strcspn(path, "/");

        if (n_part == 2 && path[0] == '.' && path[1] == '.') {
            while (n > 0 && absolute[n - 1] != '/')
                n--;
            if (n > 0)
                n--;
        } else if (n_part != 1 || path[0] != '.') {
            if (n + 1 + n_part >= PATH_MAX)
                return false;
            absolute[n++] = '/';
            memcpy(absolute + n, path, n_part);
            n += n_part;
        }
        absolute[n] = '\0';
        path += n_part;
    }
    return true;
}

static bool ends_as_folder(const char *path)
{
    const char *last = strrchr(path, '/');

    last = last ? last + 1 : path;
    return *last == '\0' || strcmp(last, ".") == 0 || strcmp(last, "..") == 0;
}

/* @ret->text is absolute and plain. Return: whether it is ours. */
static bool sort_out(struct where *ret)
{
    const size_t n_root = sizeof(WHERE_ROOT) - 1;
    const char *rest = ret->text + n_root;

    if (strncmp(ret->text, WHERE_ROOT, n_root) != 0 || (*rest != '/' && *rest != '\0')) {
        if (ret->text[0] == '\0')
            where_copy(ret->text, "/");
        ret->path = ret->text;
        return false;
    }
    where_copy(ret->name, *rest == '/' ? rest + 1 : rest);
    return true;
}

/* The descriptor of this process that a path is a link to. Return: -1: none. */
static int linked_fd(const char *path)
{
    static const char *const streams[] = {"/dev/stdin", "/dev/stdout", "/dev/stderr"};
    char of_pid[32] = "/proc/self/fd/";
    const char *const folders[] = {"/dev/fd/", "/proc/self/fd/", "/proc/thread-self/fd/", of_pid};

    for (int fd = 0; fd < 3; fd++) {
        if (strcmp(path, streams[fd]) == 0)
            return fd;
    }
    if (strncmp(path, "/proc/", 6) == 0 && path[6] >= '1' && path[6] <= '9')
        (void)snprintf(of_pid, sizeof(of_pid), "/proc/%d/fd/", (int)getpid());
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        const size_t n = strlen(folders[i]);
        unsigned long fd;
        char *end;

        if (strncmp(path, folders[i], n) != 0 || path[n] < '0' || path[n] > '9')
            continue;
        fd = strtoul(path + n, &end, 10);
        return *end == '\0' && fd < FDS_MAX ? (int)fd : -1;
    }
    return -1;
}

bool where_look_fd(const char *path, struct where *ret)
{
    const int fd = shim_depth == 0 ? linked_fd(path) : -1;
    struct served *served;

    if (fd < 0 || (!fds_is_served(fd) && !fds_adopt(fd)))
        return false;
    served = fds_get(fd);
    if (!served)
        return false;
    where_copy(ret->name, served->name);
    ret->wants_folder = false;
    fds_put(served);
    return true;
}

bool where_join(const char *base, const char *path, struct where *ret)
{
    ret->dirfd = AT_FDCWD;
    ret->path = NULL;
    ret->text[0] = '\0';
    ret->wants_folder = ends_as_folder(path);
    if (path[0] != '/' && (!append(ret->text, WHERE_ROOT) || !append(ret->text, base)))
        return false;
    return append(ret->text, path) && sort_out(ret);
}

bool where_cwd(char *ret_name)
{
    bool is_ours;

    (void)pthread_mutex_lock(&cwd.lock);
    is_ours = cwd.is_ours;
    if (is_ours)
        where_copy(ret_name, cwd.name);
    (void)pthread_mutex_unlock(&cwd.lock);
    return is_ours;
}

void where_set_cwd(const char *name)
{
    (void)pthread_mutex_lock(&cwd.lock);
    cwd.is_ours = name != NULL;
    where_copy(cwd.name, name ? name : "");
    (void)pthread_mutex_unlock(&cwd.lock);
    if (name)
        atomic_store(&where_is_relative, true);
}

const char *where_env(char *buf, size_t size)
{
    char name[PATH_MAX];

    return where_cwd(name) ? where_env_of(name, buf, size) : NULL;
}

const char *where_env_of(const char *name, char *buf, size_t size)
{
    (void)snprintf(buf, size, CWD_VARIABLE "=%s", name);
    return buf;
}

void where_begin(void)
{
    const char *name = getenv(CWD_VARIABLE);

    if (!name)
        return;
    where_set_cwd(name);
    (void)unsetenv(CWD_VARIABLE); /* a child of a program that went elsewhere must not have it */
}

static bool look_relative(int dirfd, const char *path, struct where *ret)
{
    char base[PATH_MAX];

    if (dirfd == AT_FDCWD ? !where_cwd(base) : !fds_folder_name(dirfd, base))
        return false;
    if (where_join(base, path, ret))
        return true;
    if (!ret->path)
        ret->path = path; /* too long: let the C library say so */
    return false;
}

bool where_look(int dirfd, const char *path, struct where *ret)
{
    if (shim_depth > 0)
        return false;
    if (path[0] != '/')
        return path[0] != '\0' && look_relative(dirfd, path, ret);
    if (path[1] == 'm' && strncmp(path, WHERE_ROOT, sizeof(WHERE_ROOT) - 1) != 0)
        return false;
    if (where_join("", path, ret))
        return true;
    if (path[1] != 'm' || !ret->path) /* "/muse/../etc" is for the C library without "/muse" */
        ret->path = path;
    ret->dirfd = dirfd;
    return false;
}
