/* SPDX-License-Identifier: BSD-3-Clause */
/* The paths a driver is run through: one function for each, with a driver that was just started. */
#ifndef MUSE_KIT_PATHS_H
#define MUSE_KIT_PATHS_H

#include "kit/play.h"

struct path {
    const char *name, *row;
    /* Return: 0; -1 see the peer's complaint; 1 it does not apply: *ret_why says why (static) */
    int (*run)(struct play *play, const char **ret_why);
};

extern const struct path paths[];
extern const unsigned n_paths;

/** clients_run() - with a real server and clients that are killed; @play is not started. Return: as a
 * path's run; what is wrong is in @why. */
int clients_run(const struct muse_check_options *options, char *why, size_t size);

#endif
