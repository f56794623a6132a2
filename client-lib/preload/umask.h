/* SPDX-License-Identifier: BSD-3-Clause */
/* The program's umask(2), which counts for what the driver makes: only setting it tells it, so it is kept. */
#ifndef MUSE_CLIENT_LIB_PRELOAD_UMASK_H
#define MUSE_CLIENT_LIB_PRELOAD_UMASK_H

#include <sys/types.h>

/** umask_apply() - a mode without the bits that the program does not want. Any thread. */
mode_t umask_apply(mode_t mode);

/** umask_begin() - at start, before there are threads */
void umask_begin(void);

#endif
