/* SPDX-License-Identifier: BSD-3-Clause */
/* What can be told of a program before it runs: whether a preloaded library will be seen by it. */
#ifndef MUSE_CLI_RUN_PROGRAM_H
#define MUSE_CLI_RUN_PROGRAM_H

#include <stddef.h>

#include "common/base/must.h"

enum program_kind {
    PROGRAM_GOOD,
    PROGRAM_STATIC, /* no dynamic loader: nothing is preloaded */
    PROGRAM_SETUID, /* the loader drops LD_PRELOAD: other rights than the caller's */
    PROGRAM_GO,     /* makes system calls itself */
    PROGRAM_FOREIGN /* not a program for this machine's loader: another architecture, or no ELF */
};

/**
 * program_find() - as execvp(3) looks for it
 * @ret_path: PATH_MAX bytes
 *
 * Return: 0; -ENOENT, -EACCES, -ENAMETOOLONG.
 */
MUST_CHECK int program_find(const char *name, char *ret_path);

/**
 * program_look() - what kind of program a file is; of a script, its interpreter
 * @ret_path: PATH_MAX bytes: the file that was looked at in the end
 *
 * Return: 0; -errno it cannot be read.
 */
MUST_CHECK int program_look(const char *path, enum program_kind *ret_kind, char *ret_path);

#endif
