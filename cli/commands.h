/* SPDX-License-Identifier: BSD-3-Clause */
/* musectl's commands: the words the server knows (tests compare), and how each is shown. */
#ifndef MUSE_CLI_COMMANDS_H
#define MUSE_CLI_COMMANDS_H

/* word, fewest and most arguments, whether it can be followed, syntax, help */
#define CLI_COMMANDS(X)                                                                            \
    X(status, 0, 0, false, "status", "the server in a few lines")                                  \
    X(drivers, 0, 0, false, "drivers", "driver processes, their hooks and counters")               \
    X(spaces, 0, 0, false, "spaces", "clients' address spaces")                                    \
    X(maps, 1, 1, false, "maps SPACE", "the mappings of one space")                                \
    X(objects, 0, 0, false, "objects", "objects and their page caches")                            \
    X(txns, 0, 0, false, "txns", "map and unmap requests in flight")                               \
    X(faults, 0, 0, false, "faults", "pages being got, and who waits for them")                    \
    X(blocked, 0, 0, false, "blocked", "who waits for whom, since when")                           \
    X(why, 2, 2, false, "why SPACE ADDRESS", "what a touch of an address meets, and why")          \
    X(stats, 0, 0, false, "stats", "counters, with units")                                         \
    X(audit, 0, 0, false, "audit", "count everything again and compare")                           \
    X(trace, 0, 0, true, "trace [-f]", "the last hook calls; -f: each one as it ends")             \
    X(limits, 0, 2, false, "limits [KEY [VALUE]]", "show or change what each uid may hold")        \
    X(evict, 1, 1, false, "evict OBJECT", "drop the clean pages of an object")

#endif
