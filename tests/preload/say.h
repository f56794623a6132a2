/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * For probe.c and entries.c: names in the folder that they were given, and results in words that are
 * the same on a plain folder and on a served one.
 */
#ifndef MUSE_TESTS_PRELOAD_SAY_H
#define MUSE_TESTS_PRELOAD_SAY_H

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *folder; /* the program's argument */

/** path() - FOLDER/NAME; valid until three more calls */
static inline const char *path(const char *name)
{
    static char text[4][512];
    static unsigned turn;
    char *to = text[turn++ % 4];

    (void)snprintf(to, sizeof(text[0]), "%s/%s", folder, name);
    return to;
}

/** say_result() - @r, and the name of errno when it is negative. Return: @r. */
static inline long say_result(const char *what, long r)
{
    printf("%-34s %ld%s%s\n", what, r < 0 ? -1 : r, r < 0 ? " " : "",
           r < 0 ? strerrorname_np(errno) : "");
    return r;
}

#endif
