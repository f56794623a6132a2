/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * why.h - what a touch of an address would meet, and why: the answer of `musectl why`
 *
 * The same table as for faults (fault.h) decides, with what the client's kernel does before it asks
 * (protection) and what a first write to a page adds. Pure; nothing is done by it.
 *
 * Callers: server/flow/inspect_why.c.
 */
#ifndef MUSE_SERVER_FAULT_WHY_H
#define MUSE_SERVER_FAULT_WHY_H

#include "server/fault/fault.h"

/* name, word, verdict, what an access meets */
#define WHY_OUTCOMES(X)                                                                            \
    X(NOTHING, "nothing", FAILS, "nothing is mapped there: SIGSEGV")                               \
    X(QUARANTINE, "quarantine", FAILS,                                                             \
      "the mapping is gone, and the client has not confirmed it yet: SIGBUS")                      \
    X(LOCKED, "locked", WAITS, "a transaction holds the mapping")                                  \
    X(NO_RIGHT, "no-right", FAILS, "the mapping's protection does not allow it: SIGSEGV")          \
    X(DIRECT, "direct", WORKS,                                                                     \
      "it is mapped from a file of the driver's own, and no fault "                                \
      "reaches the server")                                                                        \
    X(BEYOND, "beyond", FAILS, "it lies behind the end of the object: SIGBUS")                     \
    X(REFUSED, "refused", FAILS, "page_mkwrite has just refused a write to the page: SIGBUS")      \
    X(LOST, "lost", FAILS, "the page is not here, and the object's driver is dead: SIGBUS")        \
    X(READY, "ready", WORKS, "the page is valid")                                                  \
    X(COPY, "copy", WORKS, "the page is valid, and the kernel makes a private copy")               \
    X(DIRTIES, "dirties", WORKS, "the page is valid, and becomes dirty first")                     \
    X(ASK_MKWRITE, "ask-mkwrite", WAITS,                                                           \
      "the page is valid and clean, and the driver will be "                                       \
      "asked page_mkwrite")                                                                        \
    X(MKWRITE, "mkwrite", WAITS, "the driver has been asked page_mkwrite")                         \
    X(ASK, "ask", WAITS, "nobody has the page's bytes, and a touch asks for them")                 \
    X(NO_SOURCE, "no-source", FAILS, "the driver supplies no pages of this object: SIGBUS")        \
    X(JOIN, "join", WAITS, "the page is being got")                                                \
    X(FAILED, "failed", FAILS,                                                                     \
      "the page could not be had: SIGBUS for who has met that, others "                            \
      "ask once more")                                                                             \
    X(EVICTING, "evicting", WAITS, "the page is just being taken out of the cache")

enum why_outcome {
#define X(name, word, verdict, text) WHY_##name,
    WHY_OUTCOMES(X)
#undef X
        WHY_OUTCOME_N
};

enum why_verdict { WHY_WORKS, WHY_WAITS, WHY_FAILS };

/* What is known of a page_mkwrite for this page in this space. */
enum why_mkwrite { WHY_MKWRITE_NONE, WHY_MKWRITE_ASKED, WHY_MKWRITE_REFUSED };

/* What an earlier field makes void is not looked at. */
struct why_query {
    struct fault_query fault;
    bool readable, writable; /* by the mapping's protection */
    bool is_private;
    bool tracks_writes;
    bool has_mkwrite; /* the driver wants to be asked */
    bool has_source;  /* extents, or a driver with a fault hook */
    enum why_mkwrite mkwrite;
};

/** why_decide() - what a read or write meets; every combination has an outcome */
enum why_outcome why_decide(const struct why_query *query, bool write);

/** why_verdict_of() - does it work, wait or fail? */
enum why_verdict why_verdict_of(enum why_outcome outcome);

/** why_word(), why_verdict_word(), why_text() - for people; static */
const char *why_word(enum why_outcome outcome);
const char *why_verdict_word(enum why_verdict verdict);
const char *why_text(enum why_outcome outcome);

#endif
