/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The mapping transaction: the life of one map request as a table of states, events and effects.
 * Pure: an event goes in, a set of effects comes out; server/flow/map_flow.c carries them out, in
 * the order of enum map_effect.
 *
 * The promise it keeps (docs/contract.md, section 2): after every successful mmap_prepare exactly
 * one of mmap_complete and mmap_abort reaches the driver that ran it, unless that driver is dead; a
 * close follows exactly when complete ran and the mapping did not become or stay live.
 *
 *   QUEUED -----> SPLITTING ---> PREPARING ---> INSTALLING -----> ACTING -------.
 *     |             |             |    |            |               |           |
 *     |             |     (abort) |    |            | abort         | abort     |
 *     v             v             v    |            v               v           |
 *   GONE           GONE         GONE   |          GONE            GONE          |
 *                                      `-> OWED_PREPARE -- (abort) --> GONE     |
 *                                                                               |
 *     .-------------------------------------------------------------------------'
 *     |
 *     `-> COMPLETING ---> FINISHING ---> COMMITTING ---> LIVE
 *          |    |             |               |
 *          |    |             | close         | close, or abort
 *    close |    |             v               v
 *          v    |           GONE            GONE
 *        GONE   `-> OWED_COMPLETE -- close --> GONE
 *
 * Where there is nothing to do in a state it is left out. OWED_*: over for the client, by the
 * deadline or by its death, while the driver runs the hook. In brackets: only for a prepare that
 * succeeded. In COMMITTING: abort for a driver that has no mmap_complete. A dead driver is told
 * nothing.
 */
#ifndef MUSE_SERVER_MAP_MAP_TXN_H
#define MUSE_SERVER_MAP_MAP_TXN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/must.h"

#define MAP_STATES(X)                                                                              \
    X(QUEUED, "queued", "waits for the space's mmap write lock")                                   \
    X(SPLITTING, "splitting", "may_split was asked for the edges of what MAP_FIXED replaces")      \
    X(PREPARING, "preparing", "mmap_prepare was asked")                                            \
    X(INSTALLING, "installing", "everything is reserved; the client does its mmap")                \
    X(ACTING, "acting", "the VMA is established; the declared action is carried out")              \
    X(COMPLETING, "completing", "mmap_complete, or the legacy mmap hook, was asked")               \
    X(FINISHING, "finishing", "the verbs complete asked for are carried out")                      \
    X(COMMITTING, "committing",                                                                    \
      "the client moves the finished mapping over the old one, or opens it")                       \
    X(OWED_PREPARE, "owed-prepare", "over for the client; the driver still owes mmap_prepare")     \
    X(OWED_COMPLETE, "owed-complete", "over for the client; the driver still owes mmap_complete")  \
    X(LIVE, "live", "done: the mapping stands")                                                    \
    X(GONE, "gone", "done: nothing is held")

#define MAP_EVENTS(X)                                                                              \
    X(LOCKED, "locked", "the lock is ours; ask mmap_prepare")                                      \
    X(LOCKED_SPLIT, "locked-split", "the lock is ours; may_split comes first")                     \
    X(LOCKED_NO_HOOK, "locked-no-hook", "the lock is ours; the driver has no mmap_prepare")        \
    X(REFUSED, "refused", "no address, no memory or over a limit, before any hook")                \
    X(SPLIT_OK, "split-ok", "all edges may be split; ask mmap_prepare")                            \
    X(SPLIT_OK_NO_HOOK, "split-ok-no-hook", "the same, without mmap_prepare")                      \
    X(SPLIT_ERR, "split-err", "may_split refused")                                                 \
    X(PREPARE_OK, "prepare-ok", "mmap_prepare succeeded with an answer that is allowed")           \
    X(PREPARE_ERR, "prepare-err", "mmap_prepare returned an error")                                \
    X(PREPARE_BAD, "prepare-bad", "mmap_prepare succeeded with an answer that is not allowed")     \
    X(NO_RESOURCES, "no-resources", "what the new VMA needs cannot be had")                        \
    X(INSTALLED, "installed", "the client has mapped")                                             \
    X(INSTALL_ERR, "install-err", "the client could not map")                                      \
    X(REGISTER_ERR, "register-err", "userfaultfd refused the range")                               \
    X(ACTED, "acted", "actions or verbs are done; a hook comes next")                              \
    X(ACTED_LAST, "acted-last", "actions or verbs are done; nothing comes next")                   \
    X(ACTED_COMMIT, "acted-commit", "actions or verbs are done; the old mapping is replaced next") \
    X(ACT_ERR, "act-err", "an action or verb failed")                                              \
    X(COMPLETE_OK, "complete-ok", "mmap_complete succeeded")                                       \
    X(COMPLETE_VERBS, "complete-verbs", "mmap_complete succeeded and asked for verbs")             \
    X(COMPLETE_COMMIT, "complete-commit", "mmap_complete succeeded; replace the old mapping next") \
    X(COMPLETE_ERR, "complete-err", "mmap_complete returned an error")                             \
    X(COMMITTED, "committed", "the client has moved it")                                           \
    X(COMMIT_ERR, "commit-err", "the client could not move it; the old mapping stands")            \
    X(DEADLINE, "deadline", "the peer did not answer in time")                                     \
    X(CLIENT_GONE, "client-gone", "the client died")                                               \
    X(DRIVER_GONE, "driver-gone", "the driver died")

/* In the order in which they are carried out. */
#define MAP_EFFECTS(X)                                                                             \
    X(ASK_SPLIT, "ask may_split")                                                                  \
    X(ASK_PREPARE, "ask mmap_prepare")                                                             \
    X(INSTALL, "reserve the rest, tell the client to map")                                         \
    X(ESTABLISH, "register the range, enter the VMA, start the action")                            \
    X(ASK_COMPLETE, "ask mmap_complete, or the legacy mmap hook")                                  \
    X(RUN_VERBS, "carry out complete's verbs")                                                     \
    X(COMMIT, "tell the client to move the mapping over the old one")                              \
    X(REPLACE, "enter the VMA at its final place; close what was there")                           \
    X(MERGE, "merge with the neighbours decided on; unlock the VMA")                               \
    X(ABORT, "send mmap_abort")                                                                    \
    X(REMOVE, "take the VMA out of the tree and out of its object's list")                         \
    X(CLOSE, "send close for the part just mapped")                                                \
    X(UNINSTALL, "quarantine the range, tell the client to undo")                                  \
    X(RELEASE, "give the held range back: the client never mapped it, or is gone")                 \
    X(UNLOCK, "let the space's next request run")                                                  \
    X(REPLY_OK, "answer the client: mapped")                                                       \
    X(REPLY_ERR, "answer the client: failed")                                                      \
    X(END, "nobody owes anything any more: free the request")

enum map_state {
#define X(name, text, help) MAP_##name,
    MAP_STATES(X)
#undef X
        MAP_STATE_N
};

enum map_event {
#define X(name, text, help) MAP_EV_##name,
    MAP_EVENTS(X)
#undef X
        MAP_EVENT_N
};

enum map_effect {
#define X(name, help) MAP_DO_##name,
    MAP_EFFECTS(X)
#undef X
        MAP_EFFECT_N
};

struct map_txn {
    enum map_state state;
    bool prepared; /* mmap_prepare ran and succeeded, and has had neither complete nor abort yet */
    bool asked;    /* mmap_complete was asked: a failure from now on ends with close */
    bool legacy;   /* the hook after establishment is the legacy one: its refusal has no close */
};

/**
 * map_txn_init() - a request that has been decoded and checked; nothing is held
 * @legacy: the driver has the legacy mmap hook instead of mmap_prepare
 */
void map_txn_init(struct map_txn *txn, bool legacy);

/** map_txn_accepts() - can @event happen in the present state? (its cell of the table is filled) */
bool map_txn_accepts(const struct map_txn *txn, enum map_event event);

/**
 * map_txn_step() - one event in, the effects out
 * @event: MUST be acceptable
 *
 * Return: bits (1u << enum map_effect), to be carried out in ascending order. ABORT is left out
 * when nothing was prepared, CLOSE when complete was not asked or when it is the legacy hook that
 * refuses.
 */
uint32_t map_txn_step(struct map_txn *txn, enum map_event event);

/** map_txn_is_final() - LIVE or GONE */
bool map_txn_is_final(const struct map_txn *txn);

const char *map_state_name(enum map_state state);
const char *map_event_name(enum map_event event);

#endif
