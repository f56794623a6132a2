/* SPDX-License-Identifier: BSD-3-Clause */
/* What the control socket can be asked: one list makes the server's table, its checks, its help. */
#ifndef MUSE_SERVER_ADMIN_ADMIN_COMMANDS_H
#define MUSE_SERVER_ADMIN_ADMIN_COMMANDS_H

/* name, word, fewest and most arguments, whether it can be followed, syntax, help */
#define ADMIN_COMMANDS(X)                                                                          \
    X(STATUS, "status", 0, 0, false, "status", "the server in a few lines")                        \
    X(DRIVERS, "drivers", 0, 0, false, "drivers", "driver processes, their hooks and counters")    \
    X(SPACES, "spaces", 0, 0, false, "spaces", "clients' address spaces")                          \
    X(MAPS, "maps", 1, 1, false, "maps SPACE", "the mappings of one space")                        \
    X(OBJECTS, "objects", 0, 0, false, "objects", "objects and their page caches")                 \
    X(TXNS, "txns", 0, 0, false, "txns", "map and unmap requests in flight")                       \
    X(FAULTS, "faults", 0, 0, false, "faults", "pages being got, and who waits for them")          \
    X(BLOCKED, "blocked", 0, 0, false, "blocked", "who waits for whom, since when")                \
    X(WHY, "why", 2, 2, false, "why SPACE ADDRESS", "what a touch of an address meets, and why")   \
    X(STATS, "stats", 0, 0, false, "stats", "counters, with units")                                \
    X(AUDIT, "audit", 0, 0, false, "audit", "count everything again and compare")                  \
    X(TRACE, "trace", 0, 0, true, "trace [-f]", "the last hook calls; -f: each one as it ends")    \
    X(LIMITS, "limits", 0, 2, false, "limits [KEY [VALUE]]",                                       \
      "show or change what each uid may hold")                                                     \
    X(EVICT, "evict", 1, 1, false, "evict OBJECT", "drop the clean pages of an object")

enum admin_command_id {
#define X(name, word, min, max, follow, syntax, help) ADMIN_##name,
    ADMIN_COMMANDS(X)
#undef X
        ADMIN_COMMAND_N
};

#endif
