/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Entry points that make processes, and the beginning of this one. A child after fork finds the
 * table as it was, and the connection is libmuse's to copy; a program after exec adopts descriptors
 * as it meets them. What both need is this library in their environment: a program that has cleaned
 * it gets it back here.
 */
#define _GNU_SOURCE
#include <alloca.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client-lib/preload/fds.h"
#include "client-lib/preload/names.h"
#include "client-lib/preload/session.h"
#include "client-lib/preload/spawn.h"
#include "client-lib/preload/stdio.h"
#include "client-lib/preload/umask.h"
#include "client-lib/preload/where.h"

#define ENV_MORE 4u /* variables that may be added, and the end */

#define CWD_BYTES ((size_t)PATH_MAX + 32) /* a variable that says it */

extern char **environ;

/* ---- the environment ---- */

static bool has_variable(char *const *env, const char *setting)
{
    const size_t n = strcspn(setting, "=") + 1;

    while (*env && strncmp(*env, setting, n) != 0)
        env++;
    return *env != NULL;
}

static size_t count(char *const *list)
{
    size_t n = 0;

    while (list && list[n])
        n++;
    return n;
}

/* @ret_env: count(env) + ENV_MORE entries; borrows from @env and @cwd. */
static void complete(char *const *env, const char *cwd, const char **ret_env)
{
    static char *const nothing[] = {NULL};
    const char *setting;
    size_t n = 0;

    if (!env)
        env = nothing;
    for (; env[n]; n++)
        ret_env[n] = env[n];
    for (unsigned i = 0; (setting = session_env(i)); i++) {
        if (!has_variable(env, setting))
            ret_env[n++] = setting;
    }
    if (cwd)
        ret_env[n++] = cwd;
    ret_env[n] = NULL;
}

/* An array on the stack: between vfork and exec nothing else may be allocated. */
#define COMPLETED_WITH(env, cwd)                                                                   \
    ({                                                                                             \
        const char **made_ = alloca((count(env) + ENV_MORE) * sizeof(char *));                     \
        complete(env, cwd, made_);                                                                 \
        (char *const *)(uintptr_t)made_;                                                           \
    })
#define COMPLETED(env, cwd) COMPLETED_WITH(env, where_env(cwd, sizeof(cwd)))

/* ---- exec ---- */

/* What is served cannot be executed, as on a file system that is mounted noexec; but what its links lead to outside can. Return:
 * whether @where is the C library's; else errno says why not. */
static bool may_execute(const struct spawn_actions *actions, const char *path, struct where *where)
{
    struct stat stat;
    bool is_outside;

    if (!spawn_is_served(actions, path, where))
        return true;
    if (names_stat(where, true, &stat, &is_outside) < 0)
        return false;
    errno = EACCES;
    return is_outside;
}

EXPORT int execve(const char *path, char *const argv[], char *const env[])
{
    char cwd[CWD_BYTES];
    struct where where;

    if (!may_execute(NULL, path, &where))
        return -1;
    return REAL(execve)(where.path, argv, COMPLETED(env, cwd));
}

EXPORT int execv(const char *path, char *const argv[])
{
    return execve(path, argv, environ);
}

EXPORT int execvpe(const char *file, char *const argv[], char *const env[])
{
    char cwd[CWD_BYTES];

    if (strchr(file, '/'))
        return execve(file, argv, env);
    return REAL(execvpe)(file, argv, COMPLETED(env, cwd));
}

EXPORT int execvp(const char *file, char *const argv[])
{
    return execvpe(file, argv, environ);
}

EXPORT int fexecve(int fd, char *const argv[], char *const env[])
{
    char cwd[CWD_BYTES];

    return REAL(fexecve)(fd, argv, COMPLETED(env, cwd));
}

static size_t count_args(va_list args)
{
    va_list copy;
    size_t n = 1;

    va_copy(copy, args);
    while (va_arg(copy, const char *))
        n++;
    va_end(copy);
    return n;
}

#define COLLECT(first, args, argv)                                                                 \
    do {                                                                                           \
        (argv)[0] = (char *)(uintptr_t)(first);                                                    \
        for (size_t i_ = 1; ((argv)[i_] = va_arg(args, char *)); i_++)                             \
            ;                                                                                      \
    } while (0)

EXPORT int execl(const char *path, const char *arg, ...)
{
    va_list args;
    char **argv;

    va_start(args, arg);
    argv = alloca((count_args(args) + 1) * sizeof(char *));
    COLLECT(arg, args, argv);
    va_end(args);
    return execve(path, argv, environ);
}

EXPORT int execlp(const char *file, const char *arg, ...)
{
    va_list args;
    char **argv;

    va_start(args, arg);
    argv = alloca((count_args(args) + 1) * sizeof(char *));
    COLLECT(arg, args, argv);
    va_end(args);
    return execvpe(file, argv, environ);
}

EXPORT int execle(const char *path, const char *arg, ...)
{
    char *const *env;
    va_list args;
    char **argv;

    va_start(args, arg);
    argv = alloca((count_args(args) + 1) * sizeof(char *));
    COLLECT(arg, args, argv);
    env = va_arg(args, char *const *);
    va_end(args);
    return execve(path, argv, env);
}

EXPORT int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                       const posix_spawnattr_t *attributes, char *const argv[], char *const env[])
{
    char cwd[CWD_BYTES];
    const int saved = errno;
    struct spawn_actions *mine;
    struct where where;
    int r = spawn_begin(actions, &mine);

    if (r != 0)
        return r;
    if (may_execute(mine, path, &where)) {
        r = REAL(posix_spawn)(pid, where.path, actions, attributes, argv,
                              COMPLETED_WITH(env, spawn_env(mine, cwd, sizeof(cwd))));
    } else {
        r = errno;
    }
    spawn_end(mine);
    errno = saved;
    return r;
}

EXPORT int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
                        const posix_spawnattr_t *attributes, char *const argv[], char *const env[])
{
    char cwd[CWD_BYTES];
    struct spawn_actions *mine;
    int r;

    if (strchr(file, '/'))
        return posix_spawn(pid, file, actions, attributes, argv, env);
    r = spawn_begin(actions, &mine);
    if (r != 0)
        return r;
    r = REAL(posix_spawnp)(pid, file, actions, attributes, argv,
                           COMPLETED_WITH(env, spawn_env(mine, cwd, sizeof(cwd))));
    spawn_end(mine);
    return r;
}

/* What the C library starts by itself gets the environment that there is. */
static bool is_complete(void)
{
    char name[PATH_MAX];
    const char *setting;

    for (unsigned i = 0; (setting = session_env(i)); i++) {
        if (!environ || !has_variable(environ, setting))
            return false;
    }
    return !where_cwd(name);
}

/* For as long as calls are under way that start something: several threads have one, and the first one's is
 * everybody's. A program that sets a variable meanwhile makes its own of it, and then that stays. */
static struct {
    pthread_mutex_t lock;
    unsigned n_users;
    char **before; /* borrowed: what the program had */
    char **made;   /* owned; NULL: what it had was complete */
} borrowed = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Return: an environment with the library and the working folder; NULL: out of memory. */
static char **make_environ(void)
{
    const size_t n_bytes = (count(environ) + ENV_MORE) * sizeof(char *);
    char *made = malloc(n_bytes + CWD_BYTES);

    if (made)
        complete(environ, where_env(made + n_bytes, CWD_BYTES), (const char **)(void *)made);
    return (char **)(void *)made;
}

static void environ_begin(void)
{
    (void)pthread_mutex_lock(&borrowed.lock);
    if (borrowed.n_users++ == 0 && !is_complete()) {
        borrowed.before = environ;
        borrowed.made = make_environ();
        if (borrowed.made)
            environ = borrowed.made;
    }
    (void)pthread_mutex_unlock(&borrowed.lock);
}

static void environ_end(void)
{
    const int saved = errno;

    (void)pthread_mutex_lock(&borrowed.lock);
    if (--borrowed.n_users == 0 && borrowed.made) {
        if (environ == borrowed.made) {
            environ = borrowed.before;
            free(borrowed.made);
        } /* else the program's own shares strings with it, which stay */
        borrowed.made = NULL;
    }
    (void)pthread_mutex_unlock(&borrowed.lock);
    errno = saved;
}

/* A child has one thread, which is in none of these calls. */
static void environ_forked(void)
{
    (void)pthread_mutex_init(&borrowed.lock, NULL);
    borrowed.n_users = 0;
    if (borrowed.made && environ == borrowed.made)
        environ = borrowed.before;
    borrowed.made = NULL;
}

EXPORT int system(const char *command)
{
    int status;

    environ_begin();
    status = REAL(system)(command);
    environ_end();
    return status;
}

EXPORT FILE *popen(const char *command, const char *mode)
{
    FILE *file;

    environ_begin();
    file = REAL(popen)(command, mode);
    environ_end();
    return file;
}

/* ---- fork ---- */

/* A child of vfork shares our memory, but not the descriptors it closes and duplicates before exec:
 * the table would then be wrong in the parent. So it is a child of fork. */
EXPORT pid_t vfork(void)
{
    return fork();
}

/* libmuse has handlers of its own, registered before these because it is loaded before: in prepare they
 * run after ours, in parent and child before. What they call is not for us to look at. */
static void before_fork(void)
{
    fds_forking();
    shim_depth++;
}

static void after_fork_parent(void)
{
    shim_depth--;
    fds_forked(false);
}

static void after_fork_child(void)
{
    shim_depth--;
    fds_forked(true);
    session_forked();
    environ_forked();
    spawn_forked();
}

/* ---- the beginning ---- */

__attribute__((constructor)) static void begin(void)
{
    umask_begin();
    session_begin();
    where_begin();
    stdio_begin();
    (void)pthread_atfork(before_fork, after_fork_parent, after_fork_child);
}
