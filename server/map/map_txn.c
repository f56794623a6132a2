/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The transaction's table. An empty cell is an event that cannot happen in that state. Owns
 * nothing, calls nothing. Source of the rows: docs/contract.md, section 2; the model of the same
 * machine in tests/model.
 */
#include "server/map/map_txn.h"

#define DO(effect) (1u << MAP_DO_##effect)

struct cell {
    enum map_state next;
    uint32_t effects;
    bool used;
};

#define GO(to, ...)                                                                                \
    {                                                                                              \
        .next = MAP_##to, .effects = (__VA_ARGS__), .used = true                                   \
    }

/* The client gets an error; what was held is given back. By what the client has mapped: */
#define FAIL_UNMAPPED (DO(RELEASE) | DO(UNLOCK) | DO(REPLY_ERR) | DO(END))
#define FAIL_MAPPED   (DO(UNINSTALL) | DO(UNLOCK) | DO(REPLY_ERR) | DO(END))
#define FAIL_LISTED   (DO(REMOVE) | FAIL_MAPPED)
/* The client is dead: its mappings are gone with it. */
#define DEAD_UNMAPPED (DO(RELEASE) | DO(UNLOCK) | DO(END))
#define DEAD_LISTED   (DO(REMOVE) | DO(UNLOCK) | DO(END))
#define SUCCEED       (DO(MERGE) | DO(UNLOCK) | DO(REPLY_OK) | DO(END))

static const struct cell table[MAP_STATE_N][MAP_EVENT_N] =
    {
        [MAP_QUEUED] =
            {
                [MAP_EV_LOCKED] = GO(PREPARING, DO(ASK_PREPARE)),
                [MAP_EV_LOCKED_SPLIT] = GO(SPLITTING, DO(ASK_SPLIT)),
                [MAP_EV_LOCKED_NO_HOOK] = GO(INSTALLING, DO(INSTALL)),
                [MAP_EV_REFUSED] = GO(GONE, FAIL_UNMAPPED),
                [MAP_EV_CLIENT_GONE] = GO(GONE, DEAD_UNMAPPED),
                [MAP_EV_DRIVER_GONE] = GO(GONE, FAIL_UNMAPPED),
            },
        [MAP_SPLITTING] =
            {
                [MAP_EV_SPLIT_OK] = GO(PREPARING, DO(ASK_PREPARE)),
                [MAP_EV_SPLIT_OK_NO_HOOK] = GO(INSTALLING, DO(INSTALL)),
                [MAP_EV_SPLIT_ERR] = GO(GONE, FAIL_UNMAPPED),
                [MAP_EV_DEADLINE] = GO(GONE, FAIL_UNMAPPED),
                [MAP_EV_CLIENT_GONE] = GO(GONE, DEAD_UNMAPPED),
                [MAP_EV_DRIVER_GONE] = GO(GONE, FAIL_UNMAPPED),
            },
        [MAP_PREPARING] =
            {
                [MAP_EV_PREPARE_OK] = GO(INSTALLING, DO(INSTALL)),
                [MAP_EV_PREPARE_ERR] = GO(GONE, FAIL_UNMAPPED),
                [MAP_EV_PREPARE_BAD] = GO(GONE, DO(ABORT) | FAIL_UNMAPPED),
                [MAP_EV_DEADLINE] = GO(OWED_PREPARE, DO(RELEASE) | DO(UNLOCK) | DO(REPLY_ERR)),
                [MAP_EV_CLIENT_GONE] = GO(OWED_PREPARE, DO(RELEASE) | DO(UNLOCK)),
                [MAP_EV_DRIVER_GONE] = GO(GONE, FAIL_UNMAPPED),
            },
        [MAP_INSTALLING] =
            {
                [MAP_EV_NO_RESOURCES] = GO(GONE, DO(ABORT) | FAIL_UNMAPPED),
                [MAP_EV_INSTALLED] = GO(ACTING, DO(ESTABLISH)),
                [MAP_EV_INSTALL_ERR] = GO(GONE, DO(ABORT) | FAIL_MAPPED),
                [MAP_EV_DEADLINE] = GO(GONE, DO(ABORT) | FAIL_MAPPED),
                [MAP_EV_CLIENT_GONE] = GO(GONE, DO(ABORT) | DEAD_UNMAPPED),
                [MAP_EV_DRIVER_GONE] = GO(GONE, FAIL_MAPPED),
            },
        [MAP_ACTING] =
            {
                [MAP_EV_REGISTER_ERR] = GO(GONE, DO(ABORT) | FAIL_LISTED),
                [MAP_EV_ACTED] = GO(COMPLETING, DO(ASK_COMPLETE)),
                [MAP_EV_ACTED_LAST] = GO(LIVE, SUCCEED),
                [MAP_EV_ACTED_COMMIT] = GO(COMMITTING, DO(COMMIT)),
                [MAP_EV_ACT_ERR] = GO(GONE, DO(ABORT) | FAIL_LISTED),
                [MAP_EV_DEADLINE] = GO(GONE, DO(ABORT) | FAIL_LISTED),
                [MAP_EV_CLIENT_GONE] = GO(GONE, DO(ABORT) | DEAD_LISTED),
                [MAP_EV_DRIVER_GONE] = GO(GONE, FAIL_LISTED),
            },
        [MAP_COMPLETING] =
            {
                [MAP_EV_COMPLETE_OK] = GO(LIVE, SUCCEED),
                [MAP_EV_COMPLETE_VERBS] = GO(FINISHING, DO(RUN_VERBS)),
                [MAP_EV_COMPLETE_COMMIT] = GO(COMMITTING, DO(COMMIT)),
                [MAP_EV_COMPLETE_ERR] = GO(GONE, DO(CLOSE) | FAIL_LISTED),
                [MAP_EV_DEADLINE] =
                    GO(OWED_COMPLETE, DO(REMOVE) | DO(UNINSTALL) | DO(UNLOCK) | DO(REPLY_ERR)),
                [MAP_EV_CLIENT_GONE] = GO(OWED_COMPLETE, DO(REMOVE) | DO(UNLOCK)),
                [MAP_EV_DRIVER_GONE] = GO(GONE, FAIL_LISTED),
            },
        [MAP_FINISHING] =
            {
                [MAP_EV_ACTED_LAST] = GO(LIVE, SUCCEED),
                [MAP_EV_ACTED_COMMIT] = GO(COMMITTING, DO(COMMIT)),
                [MAP_EV_ACT_ERR] = GO(GONE, DO(CLOSE) | FAIL_LISTED),
                [MAP_EV_DEADLINE] = GO(GONE, DO(CLOSE) | FAIL_LISTED),
                [MAP_EV_CLIENT_GONE] = GO(GONE, DO(CLOSE) | DEAD_LISTED),
                [MAP_EV_DRIVER_GONE] = GO(GONE, FAIL_LISTED),
            },
        /* No deadline: the driver holds nothing any more, and only the client itself waits. Either
         * complete was asked (then close), or the driver has none (then abort). */
        [MAP_COMMITTING] =
            {
                [MAP_EV_COMMITTED] = GO(LIVE, DO(REPLACE) | DO(UNLOCK) | DO(REPLY_OK) | DO(END)),
                [MAP_EV_COMMIT_ERR] = GO(GONE, DO(ABORT) | DO(CLOSE) | FAIL_LISTED),
                [MAP_EV_CLIENT_GONE] = GO(GONE, DO(ABORT) | DO(CLOSE) | DEAD_LISTED),
                [MAP_EV_DRIVER_GONE] = GO(COMMITTING, 0),
            },
        [MAP_OWED_PREPARE] =
            {
                [MAP_EV_PREPARE_OK] = GO(GONE, DO(ABORT) | DO(END)),
                [MAP_EV_PREPARE_BAD] = GO(GONE, DO(ABORT) | DO(END)),
                [MAP_EV_PREPARE_ERR] = GO(GONE, DO(END)),
                [MAP_EV_DEADLINE] = GO(OWED_PREPARE, 0),
                [MAP_EV_CLIENT_GONE] = GO(OWED_PREPARE, 0),
                [MAP_EV_DRIVER_GONE] = GO(GONE, DO(END)),
            },
        [MAP_OWED_COMPLETE] =
            {
                [MAP_EV_COMPLETE_OK] = GO(GONE, DO(CLOSE) | DO(END)),
                [MAP_EV_COMPLETE_VERBS] = GO(GONE, DO(CLOSE) | DO(END)),
                [MAP_EV_COMPLETE_COMMIT] = GO(GONE, DO(CLOSE) | DO(END)),
                [MAP_EV_COMPLETE_ERR] = GO(GONE, DO(CLOSE) | DO(END)),
                [MAP_EV_DEADLINE] = GO(OWED_COMPLETE, 0),
                [MAP_EV_CLIENT_GONE] = GO(OWED_COMPLETE, 0),
                [MAP_EV_DRIVER_GONE] = GO(GONE, DO(END)),
            },
};

void map_txn_init(struct map_txn *txn, bool legacy)
{
    *txn = (struct map_txn){.state = MAP_QUEUED, .legacy = legacy};
}

bool map_txn_accepts(const struct map_txn *txn, enum map_event event)
{
    return table[txn->state][event].used;
}

uint32_t map_txn_step(struct map_txn *txn, enum map_event event)
{
    const struct cell *cell = &table[txn->state][event];
    uint32_t effects = cell->effects;

    MUST(cell->used);
    if (event == MAP_EV_PREPARE_OK || event == MAP_EV_PREPARE_BAD)
        txn->prepared = true;
    if (effects & DO(ABORT)) {
        if (!txn->prepared)
            effects &= ~DO(ABORT);
        txn->prepared = false;
    }
    if ((effects & DO(CLOSE)) && (!txn->asked || (txn->legacy && event == MAP_EV_COMPLETE_ERR)))
        effects &= ~DO(CLOSE);
    if (effects & DO(ASK_COMPLETE)) {
        txn->asked = true;
        txn->prepared = false;
    }
    if (cell->next == MAP_LIVE)
        txn->prepared = false; /* an action took complete's place */

    txn->state = cell->next;
    return effects;
}

bool map_txn_is_final(const struct map_txn *txn)
{
    return txn->state == MAP_LIVE || txn->state == MAP_GONE;
}

const char *map_state_name(enum map_state state)
{
    static const char *const names[MAP_STATE_N] = {
#define X(name, text, help) [MAP_##name] = (text),
        MAP_STATES(X)
#undef X
    };

    return names[state];
}

const char *map_event_name(enum map_event event)
{
    static const char *const names[MAP_EVENT_N] = {
#define X(name, text, help) [MAP_EV_##name] = (text),
        MAP_EVENTS(X)
#undef X
    };

    return names[event];
}
