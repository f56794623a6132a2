/* SPDX-License-Identifier: BSD-3-Clause */
/* Names below relay/: the channel, its buffers, their control pages. Pure. */
#ifndef MUSE_DRIVERS_RELAY_NAMES_H
#define MUSE_DRIVERS_RELAY_NAMES_H

#include <stdint.h>

#include "common/base/must.h"

#define RELAY_CPUS_MAX         1024u
#define RELAY_CHANNEL_NAME_MAX 64u /* bytes, with the NUL */
#define RELAY_CHANNEL_NAME_TEXT                                                                    \
    "letters, digits, '_', '-' and '.', not at the beginning, at most 63"

enum relay_name_kind { RELAY_NAME_ROOT, RELAY_NAME_CHANNEL, RELAY_NAME_BUFFER, RELAY_NAME_CTL };

struct relay_name {
    enum relay_name_kind kind;
    char channel[RELAY_CHANNEL_NAME_MAX];
    uint32_t cpu; /* of BUFFER and CTL; below RELAY_CPUS_MAX */
};

/**
 * relay_name_parse() - take a path apart: "", "CHANNEL", "CHANNEL/cpuN", "CHANNEL/cpuN.ctl"
 *
 * Return: 0; -ENOENT no such name can be; -ENOTDIR something behind the name of a buffer.
 */
MUST_CHECK int relay_name_parse(const char *path, struct relay_name *ret_name);

/** relay_channel_name_is_legal() - RELAY_CHANNEL_NAME_TEXT */
MUST_CHECK _Bool relay_channel_name_is_legal(const char *name);

#endif
