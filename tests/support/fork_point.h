/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The moments inside fork(3) that nobody else sees: after the last handler of prepare and before
 * the first ones of parent and child. For that, these handlers are registered before any library's:
 * from .preinit_array of the test's program. Header only; included by one file of a program.
 */
#ifndef MUSE_TESTS_SUPPORT_FORK_POINT_H
#define MUSE_TESTS_SUPPORT_FORK_POINT_H

#include <pthread.h>

/* What the test wants done there; NULL: nothing. */
static struct {
    void (*prepared)(void); /* everything is ready, the next thing is fork(2) */
    void (*parent)(void);   /* fork(2) has returned, no handler has run */
    void (*child)(void);    /* the same, in the child */
} fork_point;

static void fork_point_prepared(void)
{
    if (fork_point.prepared)
        fork_point.prepared();
}

static void fork_point_parent(void)
{
    if (fork_point.parent)
        fork_point.parent();
}

static void fork_point_child(void)
{
    if (fork_point.child)
        fork_point.child();
}

static void fork_point_install(void)
{
    (void)pthread_atfork(fork_point_prepared, fork_point_parent, fork_point_child);
}

__attribute__((section(".preinit_array"),
               used)) static void (*const fork_point_first)(void) = fork_point_install;

#endif
