/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The connection, and what a program's children need to find the server. The environment is read
 * once, at start: programs overwrite it.
 */
#define _GNU_SOURCE
#include "client-lib/preload/session.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client-lib/preload/fds.h"

#define ENV_MAX       2u
#define ENV_VALUE_MAX 4096u /* chosen: a path and the name of the variable */

_Atomic uintptr_t session_arena_start, session_arena_end;

static struct {
    pthread_mutex_t lock;
    struct muse *muse; /* owned; never disconnected: the process's end does that */
    unsigned generation;
    atomic_bool is_forked;
    char env[ENV_MAX][ENV_VALUE_MAX];
    unsigned n_env;
} session = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void remember(const char *name)
{
    const char *value = getenv(name);
    int n;

    if (!value || !value[0])
        return;
    n = snprintf(session.env[session.n_env], ENV_VALUE_MAX, "%s=%s", name, value);
    if (n > 0 && n < (int)ENV_VALUE_MAX)
        session.n_env++;
}

void session_begin(void)
{
    remember("LD_PRELOAD");
    remember("MUSE_RUNDIR");
}

const char *session_env(unsigned index)
{
    return index < session.n_env ? session.env[index] : NULL;
}

static const char *rundir(void)
{
    static const char prefix[] = "MUSE_RUNDIR=";

    for (unsigned i = 0; i < session.n_env; i++) {
        if (strncmp(session.env[i], prefix, sizeof(prefix) - 1) == 0)
            return session.env[i] + sizeof(prefix) - 1;
    }
    return NULL;
}

/* Does a forked child's copy of the handle work? That is libmuse's to say. */
static bool is_usable(void)
{
    struct muse_error error;

    return session.muse &&
           (INSIDE(muse_error_at(session.muse, NULL, &error)) == 0 || errno != ENOTCONN);
}

static int connect_locked(void)
{
    const struct muse_options options = {
        .struct_size = sizeof(options), .rundir = rundir(), .flags = MUSE_FDS_HIGH};
    struct muse *muse;
    void *start;
    size_t n_bytes;

    if (INSIDE(muse_connect(&muse, &options)) < 0)
        return -1;
    if (session.muse) { /* the parent's, copied: only memory and fds */
        fds_close_files();
        (void)INSIDE((muse_disconnect(session.muse), 0));
    }
    session.muse = muse;
    session.generation++;
    muse_arena(muse, &start, &n_bytes);
    atomic_store(&session_arena_start, (uintptr_t)start);
    atomic_store(&session_arena_end, (uintptr_t)start + n_bytes);
    return 0;
}

struct muse *session_get(unsigned *ret_generation)
{
    struct muse *muse = NULL;

    (void)pthread_mutex_lock(&session.lock);
    if (atomic_exchange(&session.is_forked, false) && session.muse && !is_usable()) {
        if (connect_locked() == 0)
            muse = session.muse;
        else
            atomic_store(&session.is_forked, true);
    } else if (session.muse || connect_locked() == 0) {
        muse = session.muse;
    }
    if (ret_generation)
        *ret_generation = session.generation;
    (void)pthread_mutex_unlock(&session.lock);
    return muse;
}

void session_forked(void)
{
    (void)pthread_mutex_init(&session.lock, NULL); /* its holder may not be in this process */
    atomic_store(&session.is_forked, true);
}
