/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fault.h - what to do about a touched page: one table, no I/O
 *
 * The access itself decides nothing: the kernel has checked it against the client's mapping before
 * it reported the fault, a write to a private mapping is copied by the kernel once the page is
 * shown, and the right to write to a shared one lies in the fd that the client was given.
 *
 * Callers: server/flow/fault_flow.c. Deliberately not here: how much to get with it
 * (readahead.h), who waits already (run.h).
 */
#ifndef MUSE_SERVER_FAULT_FAULT_H
#define MUSE_SERVER_FAULT_FAULT_H

#include <stdbool.h>
#include <stdint.h>

#include "server/cache/page_table.h"
#include "server/vm/vma.h"

#define FAULT_ACTIONS(X)                                                                           \
    X(SHOW, "show", "its bytes are valid: map it")                                                 \
    X(JOIN, "join", "somebody was asked already: wait with the others")                            \
    X(ASK, "ask", "nobody has its bytes: claim it and ask")                                        \
    X(RETRY, "retry", "it failed before, for somebody else: ask once more")                        \
    X(PARK, "park", "a transaction holds the mapping: wait for its end")                           \
    X(WAKE, "wake", "nothing to do with us (any more): let the kernel look again")                 \
    X(POISON, "poison", "it cannot be had: SIGBUS")                                                \
    X(OUTSIDE, "outside", "nothing is mapped there: SIGBUS or SIGSEGV, never bytes")

enum fault_action {
#define X(name, text, help) FAULT_##name,
    FAULT_ACTIONS(X)
#undef X
        FAULT_ACTION_N
};

/* What is known about one fault. What a false or another field makes void is not looked at. */
struct fault_query {
    bool has_vma;       /* something stands at the address */
    enum vma_kind kind; /* what */
    bool write_locked;  /* in a transaction */
    bool direct;        /* mapped from a driver's own fd */
    bool beyond_end;    /* the page lies behind the object's end */
    bool lost;          /* the object's driver is dead */
    enum page_state state;
};

/**
 * fault_decide() - what to do about a fault
 * @query: borrowed
 *
 * Return: one action; every combination has one.
 */
enum fault_action fault_decide(const struct fault_query *query);

/** fault_action_name() - lower-case word for logs; static */
const char *fault_action_name(enum fault_action action);

#endif
