/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Limits of a client, from its /proc folder: prlimit(2) on a process of another user would need
 * CAP_SYS_RESOURCE. Owns nothing. Called by server/flow.
 */
#include "server/session/peer.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KIB 1024ull

/* What is behind @name, at the start of a line of /proc/PID/@file. Return: 0; -errno; -ENODATA. */
static int read_line(pid_t pid, const char *file, const char *name, char *ret_rest, size_t size)
{
    const size_t n = strlen(name);
    char path[48], line[256];
    FILE *stream;
    int r = -ENODATA;

    (void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
    stream = fopen(path, "re");
    if (!stream)
        return -errno;
    while (r < 0 && fgets(line, sizeof(line), stream)) {
        if (strncmp(line, name, n) == 0) {
            (void)snprintf(ret_rest, size, "%s", line + n + strspn(line + n, " \t"));
            r = 0;
        }
    }
    (void)fclose(stream); /* was only read from */
    return r;
}

int peer_lock_room(pid_t pid, uint64_t *ret_room)
{
    char text[256];
    uint64_t limit, used;
    int r = pid > 0 ? read_line(pid, "status", "CapEff:", text, sizeof(text)) : -ESRCH;

    if (r < 0)
        return r;
    if (strtoull(text, NULL, 16) & (1ull << CAP_IPC_LOCK)) {
        *ret_room = UINT64_MAX;
        return 0;
    }
    r = read_line(pid, "limits", "Max locked memory", text, sizeof(text));
    if (r < 0)
        return r;
    limit = strncmp(text, "unlimited", strlen("unlimited")) == 0 ? UINT64_MAX
                                                                 : strtoull(text, NULL, 10);
    r = read_line(pid, "status", "VmLck:", text, sizeof(text));
    if (r < 0)
        return r;
    used = strtoull(text, NULL, 10) * KIB;
    if (limit != UINT64_MAX)
        limit = limit > used ? limit - used : 0;
    *ret_room = limit;
    return 0;
}
