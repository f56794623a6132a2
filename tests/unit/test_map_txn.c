/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of server/map/map_txn.h: every state times every event against a table written from
 * docs/contract.md, section 2, not from the implementation; then what the flags leave out. That the
 * machine keeps its promise whatever the peers do is tests/model/model_map_txn.c's.
 */
#include <stdbool.h>
#include <string.h>

#include <check.h>

#include "common/base/own.h"
#include "server/map/map_txn.h"
#include "tests/support/unit.h"

#define E(effect) (1u << MAP_DO_##effect)

#define ROW(from, event, to, ...)                                                                  \
    {                                                                                              \
        MAP_##from, MAP_EV_##event, MAP_##to, (__VA_ARGS__)                                        \
    }

/*
 * Everything that may happen. The effects are those of a request whose prepare succeeded (ABORT),
 * or whose complete was asked (CLOSE), whichever it is by then; the flags leave the other one out.
 */
static const struct row {
    enum map_state from;
    enum map_event event;
    enum map_state to;
    uint32_t effects;
} rows[] = {
    /* The lock is ours: nothing is held yet but, perhaps, an address. */
    ROW(QUEUED, LOCKED, PREPARING, E(ASK_PREPARE)),
    ROW(QUEUED, LOCKED_SPLIT, SPLITTING, E(ASK_SPLIT)),
    ROW(QUEUED, LOCKED_NO_HOOK, INSTALLING, E(INSTALL)),
    ROW(QUEUED, REFUSED, GONE, E(RELEASE) | E(UNLOCK) | E(REPLY_ERR) | E(END)),
    ROW(QUEUED, CLIENT_GONE, GONE, E(RELEASE) | E(UNLOCK) | E(END)),
    ROW(QUEUED, DRIVER_GONE, GONE, E(RELEASE) | E(UNLOCK) | E(REPLY_ERR) | E(END)),

    /* may_split comes before anything is cut: a refusal changes nothing. */
    ROW(SPLITTING, SPLIT_OK, PREPARING, E(ASK_PREPARE)),
    ROW(SPLITTING, SPLIT_OK_NO_HOOK, INSTALLING, E(INSTALL)),
    ROW(SPLITTING, SPLIT_ERR, GONE, E(RELEASE) | E(UNLOCK) | E(REPLY_ERR) | E(END)),
    ROW(SPLITTING, DEADLINE, GONE, E(RELEASE) | E(UNLOCK) | E(REPLY_ERR) | E(END)),
    ROW(SPLITTING, CLIENT_GONE, GONE, E(RELEASE) | E(UNLOCK) | E(END)),
    ROW(SPLITTING, DRIVER_GONE, GONE, E(RELEASE) | E(UNLOCK) | E(REPLY_ERR) | E(END)),

    /* "prepare returns an error": no abort. "What it changed is not allowed": abort. Too late, or
     * the client died: the answer is awaited, for the abort. */
    ROW(PREPARING, PREPARE_OK, INSTALLING, E(INSTALL)),
    ROW(PREPARING, PREPARE_ERR, GONE, E(RELEASE) | E(UNLOCK) | E(REPLY_ERR) | E(END)),
    ROW(PREPARING, PREPARE_BAD, GONE, E(ABORT) | E(RELEASE) | E(UNLOCK) | E(REPLY_ERR) | E(END)),
    ROW(PREPARING, DEADLINE, OWED_PREPARE, E(RELEASE) | E(UNLOCK) | E(REPLY_ERR)),
    ROW(PREPARING, CLIENT_GONE, OWED_PREPARE, E(RELEASE) | E(UNLOCK)),
    ROW(PREPARING, DRIVER_GONE, GONE, E(RELEASE) | E(UNLOCK) | E(REPLY_ERR) | E(END)),
    ROW(OWED_PREPARE, PREPARE_OK, GONE, E(ABORT) | E(END)),
    ROW(OWED_PREPARE, PREPARE_BAD, GONE, E(ABORT) | E(END)),
    ROW(OWED_PREPARE, PREPARE_ERR, GONE, E(END)),
    ROW(OWED_PREPARE, DEADLINE, OWED_PREPARE, 0),
    ROW(OWED_PREPARE, CLIENT_GONE, OWED_PREPARE, 0),
    ROW(OWED_PREPARE, DRIVER_GONE, GONE, E(END)),

    /* From here on the client may have mapped: its range is quarantined, not released. */
    ROW(INSTALLING, NO_RESOURCES, GONE, E(ABORT) | E(RELEASE) | E(UNLOCK) | E(REPLY_ERR) | E(END)),
    ROW(INSTALLING, INSTALLED, ACTING, E(ESTABLISH)),
    ROW(INSTALLING, INSTALL_ERR, GONE, E(ABORT) | E(UNINSTALL) | E(UNLOCK) | E(REPLY_ERR) | E(END)),
    ROW(INSTALLING, DEADLINE, GONE, E(ABORT) | E(UNINSTALL) | E(UNLOCK) | E(REPLY_ERR) | E(END)),
    ROW(INSTALLING, CLIENT_GONE, GONE, E(ABORT) | E(RELEASE) | E(UNLOCK) | E(END)),
    ROW(INSTALLING, DRIVER_GONE, GONE, E(UNINSTALL) | E(UNLOCK) | E(REPLY_ERR) | E(END)),

    /* Established: from here on it is in the tree, too. Complete has not been asked: abort. */
    ROW(ACTING, REGISTER_ERR, GONE,
        E(ABORT) | E(REMOVE) | E(UNINSTALL) | E(UNLOCK) | E(REPLY_ERR) | E(END)),
    ROW(ACTING, ACTED, COMPLETING, E(ASK_COMPLETE)),
    ROW(ACTING, ACTED_LAST, LIVE, E(MERGE) | E(UNLOCK) | E(REPLY_OK) | E(END)),
    ROW(ACTING, ACTED_COMMIT, COMMITTING, E(COMMIT)),
    ROW(ACTING, ACT_ERR, GONE,
        E(ABORT) | E(REMOVE) | E(UNINSTALL) | E(UNLOCK) | E(REPLY_ERR) | E(END)),
    ROW(ACTING, DEADLINE, GONE,
        E(ABORT) | E(REMOVE) | E(UNINSTALL) | E(UNLOCK) | E(REPLY_ERR) | E(END)),
    ROW(ACTING, CLIENT_GONE, GONE, E(ABORT) | E(REMOVE) | E(UNLOCK) | E(END)),
    ROW(ACTING, DRIVER_GONE, GONE, E(REMOVE) | E(UNINSTALL) | E(UNLOCK) | E(REPLY_ERR) | E(END)),

    /* Complete was asked: close, never abort; sent when complete has answered. */
    ROW(COMPLETING, COMPLETE_OK, LIVE, E(MERGE) | E(UNLOCK) | E(REPLY_OK) | E(END)),
    ROW(COMPLETING, COMPLETE_VERBS, FINISHING, E(RUN_VERBS)),
    ROW(COMPLETING, COMPLETE_COMMIT, COMMITTING, E(COMMIT)),
    ROW(COMPLETING, COMPLETE_ERR, GONE,
        E(CLOSE) | E(REMOVE) | E(UNINSTALL) | E(UNLOCK) | E(REPLY_ERR) | E(END)),
    ROW(COMPLETING, DEADLINE, OWED_COMPLETE, E(REMOVE) | E(UNINSTALL) | E(UNLOCK) | E(REPLY_ERR)),
    ROW(COMPLETING, CLIENT_GONE, OWED_COMPLETE, E(REMOVE) | E(UNLOCK)),
    ROW(COMPLETING, DRIVER_GONE, GONE,
        E(REMOVE) | E(UNINSTALL) | E(UNLOCK) | E(REPLY_ERR) | E(END)),
    ROW(OWED_COMPLETE, COMPLETE_OK, GONE, E(CLOSE) | E(END)),
    ROW(OWED_COMPLETE, COMPLETE_VERBS, GONE, E(CLOSE) | E(END)),
    ROW(OWED_COMPLETE, COMPLETE_COMMIT, GONE, E(CLOSE) | E(END)),
    ROW(OWED_COMPLETE, COMPLETE_ERR, GONE, E(CLOSE) | E(END)),
    ROW(OWED_COMPLETE, DEADLINE, OWED_COMPLETE, 0),
    ROW(OWED_COMPLETE, CLIENT_GONE, OWED_COMPLETE, 0),
    ROW(OWED_COMPLETE, DRIVER_GONE, GONE, E(END)),
    ROW(FINISHING, ACTED_LAST, LIVE, E(MERGE) | E(UNLOCK) | E(REPLY_OK) | E(END)),
    ROW(FINISHING, ACTED_COMMIT, COMMITTING, E(COMMIT)),
    ROW(FINISHING, ACT_ERR, GONE,
        E(CLOSE) | E(REMOVE) | E(UNINSTALL) | E(UNLOCK) | E(REPLY_ERR) | E(END)),
    ROW(FINISHING, DEADLINE, GONE,
        E(CLOSE) | E(REMOVE) | E(UNINSTALL) | E(UNLOCK) | E(REPLY_ERR) | E(END)),
    ROW(FINISHING, CLIENT_GONE, GONE, E(CLOSE) | E(REMOVE) | E(UNLOCK) | E(END)),
    ROW(FINISHING, DRIVER_GONE, GONE, E(REMOVE) | E(UNINSTALL) | E(UNLOCK) | E(REPLY_ERR) | E(END)),

    /* With or without complete: a driver that has none gets the abort, the others a close. The
     * driver has done all it has to, so its death does not stop the client. */
    ROW(COMMITTING, COMMITTED, LIVE, E(REPLACE) | E(UNLOCK) | E(REPLY_OK) | E(END)),
    ROW(COMMITTING, COMMIT_ERR, GONE,
        E(ABORT) | E(CLOSE) | E(REMOVE) | E(UNINSTALL) | E(UNLOCK) | E(REPLY_ERR) | E(END)),
    ROW(COMMITTING, CLIENT_GONE, GONE, E(ABORT) | E(CLOSE) | E(REMOVE) | E(UNLOCK) | E(END)),
    ROW(COMMITTING, DRIVER_GONE, COMMITTING, 0),
};

static const struct row *find_row(enum map_state from, enum map_event event)
{
    for (size_t i = 0; i < N_ELEMENTS(rows); i++)
        if (rows[i].from == from && rows[i].event == event)
            return &rows[i];
    return NULL;
}

/* All states the flags can be in, likely or not. */
static struct map_txn txn_with(enum map_state state, unsigned flags)
{
    return (struct map_txn){
        .state = state, .prepared = flags & 1, .asked = flags & 2, .legacy = flags & 4};
}

START_TEST(the_table_accepts_what_the_contract_names_and_nothing_else)
{
    for (unsigned state = 0; state < MAP_STATE_N; state++) {
        for (unsigned event = 0; event < MAP_EVENT_N; event++) {
            for (unsigned flags = 0; flags < 8; flags++) {
                const struct row *row = find_row((enum map_state)state, (enum map_event)event);
                struct map_txn txn = txn_with((enum map_state)state, flags);

                ck_assert_msg(map_txn_accepts(&txn, (enum map_event)event) == (row != NULL),
                              "%s + %s", map_state_name((enum map_state)state),
                              map_event_name((enum map_event)event));
            }
        }
    }
}
END_TEST

START_TEST(every_transition_goes_where_the_contract_says_with_its_effects)
{
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        const struct row *row = &rows[i];
        const bool prepare_now =
            row->event == MAP_EV_PREPARE_OK || row->event == MAP_EV_PREPARE_BAD;

        for (unsigned flags = 0; flags < 8; flags++) {
            struct map_txn txn = txn_with(row->from, flags);
            const bool is_refusal = txn.legacy && row->event == MAP_EV_COMPLETE_ERR;
            uint32_t want = row->effects, got;

            if (!txn.prepared && !prepare_now)
                want &= ~E(ABORT);
            if (!txn.asked || is_refusal)
                want &= ~E(CLOSE);
            got = map_txn_step(&txn, row->event);
            ck_assert_msg(txn.state == row->to && got == want,
                          "%s + %s, flags %u: -> %s, effects %#x instead of %s, %#x",
                          map_state_name(row->from), map_event_name(row->event), flags,
                          map_state_name(txn.state), got, map_state_name(row->to), want);
            ck_assert(txn.legacy == !!(flags & 4)); /* never changes */
        }
    }
}
END_TEST

START_TEST(a_request_starts_queued_with_nothing_owed)
{
    for (int legacy = 0; legacy < 2; legacy++) {
        struct map_txn txn;

        memset(&txn, 0xff, sizeof(txn));
        map_txn_init(&txn, legacy);
        ck_assert_int_eq(txn.state, MAP_QUEUED);
        ck_assert(!txn.prepared && !txn.asked);
        ck_assert_int_eq(txn.legacy, legacy);
        ck_assert(!map_txn_is_final(&txn));
    }
}
END_TEST

START_TEST(only_live_and_gone_are_final_and_accept_nothing)
{
    for (unsigned state = 0; state < MAP_STATE_N; state++) {
        const struct map_txn txn = txn_with((enum map_state)state, 0);
        bool accepts_any = false;

        for (unsigned event = 0; event < MAP_EVENT_N; event++)
            accepts_any |= map_txn_accepts(&txn, (enum map_event)event);
        ck_assert_int_eq(map_txn_is_final(&txn), state == MAP_LIVE || state == MAP_GONE);
        ck_assert_int_eq(map_txn_is_final(&txn), !accepts_any);
    }
}
END_TEST

static uint32_t walk(struct map_txn *txn, bool legacy, const enum map_event *events, size_t n)
{
    uint32_t effects = 0;

    map_txn_init(txn, legacy);
    for (size_t i = 0; i < n; i++) {
        ck_assert(map_txn_accepts(txn, events[i]));
        effects = map_txn_step(txn, events[i]);
    }
    return effects;
}

#define WALK(txn, legacy, ...)                                                                     \
    walk((txn), (legacy), (const enum map_event[]){__VA_ARGS__},                                   \
         N_ELEMENTS(((const enum map_event[]){__VA_ARGS__})))

START_TEST(a_driver_without_prepare_is_never_sent_an_abort)
{
    struct map_txn txn;
    uint32_t effects = WALK(&txn, false, MAP_EV_LOCKED_NO_HOOK, MAP_EV_INSTALL_ERR);

    ck_assert_uint_eq(effects, E(UNINSTALL) | E(UNLOCK) | E(REPLY_ERR) | E(END));
    effects = WALK(&txn, false, MAP_EV_LOCKED_NO_HOOK, MAP_EV_INSTALLED, MAP_EV_REGISTER_ERR);
    ck_assert(!(effects & E(ABORT)));
    effects = WALK(&txn, true, MAP_EV_LOCKED_NO_HOOK, MAP_EV_INSTALLED, MAP_EV_ACT_ERR);
    ck_assert(!(effects & (E(ABORT) | E(CLOSE))));
}
END_TEST

START_TEST(complete_takes_the_place_of_abort_for_good)
{
    struct map_txn txn;
    uint32_t effects = WALK(&txn, false, MAP_EV_LOCKED, MAP_EV_PREPARE_OK);

    ck_assert(txn.prepared && !txn.asked);
    effects = WALK(&txn, false, MAP_EV_LOCKED, MAP_EV_PREPARE_OK, MAP_EV_INSTALLED, MAP_EV_ACTED);
    ck_assert_uint_eq(effects, E(ASK_COMPLETE));
    ck_assert(!txn.prepared && txn.asked);
    effects = WALK(&txn, false, MAP_EV_LOCKED, MAP_EV_PREPARE_OK, MAP_EV_INSTALLED, MAP_EV_ACTED,
                   MAP_EV_COMPLETE_COMMIT, MAP_EV_COMMIT_ERR);
    ck_assert((effects & E(CLOSE)) && !(effects & E(ABORT)));
    effects = WALK(&txn, false, MAP_EV_LOCKED, MAP_EV_PREPARE_OK, MAP_EV_INSTALLED, MAP_EV_ACTED,
                   MAP_EV_COMPLETE_VERBS, MAP_EV_ACT_ERR);
    ck_assert((effects & E(CLOSE)) && !(effects & E(ABORT)));
}
END_TEST

START_TEST(a_driver_without_complete_is_aborted_when_the_move_fails)
{
    struct map_txn txn;
    uint32_t effects = WALK(&txn, false, MAP_EV_LOCKED, MAP_EV_PREPARE_OK, MAP_EV_INSTALLED,
                            MAP_EV_ACTED_COMMIT, MAP_EV_COMMIT_ERR);

    ck_assert((effects & E(ABORT)) && !(effects & E(CLOSE)));
    ck_assert(!txn.prepared);
    effects = WALK(&txn, false, MAP_EV_LOCKED, MAP_EV_PREPARE_OK, MAP_EV_INSTALLED,
                   MAP_EV_ACTED_COMMIT, MAP_EV_CLIENT_GONE);
    ck_assert((effects & E(ABORT)) && !(effects & E(CLOSE)));
}
END_TEST

START_TEST(a_legacy_hook_that_refuses_has_no_close_and_one_that_agreed_has)
{
    struct map_txn txn;
    uint32_t effects = WALK(&txn, true, MAP_EV_LOCKED_NO_HOOK, MAP_EV_INSTALLED, MAP_EV_ACTED,
                            MAP_EV_COMPLETE_ERR);

    ck_assert(!(effects & (E(ABORT) | E(CLOSE))));
    effects = WALK(&txn, true, MAP_EV_LOCKED_NO_HOOK, MAP_EV_INSTALLED, MAP_EV_ACTED,
                   MAP_EV_DEADLINE, MAP_EV_COMPLETE_ERR);
    ck_assert_uint_eq(effects, E(END));
    effects = WALK(&txn, true, MAP_EV_LOCKED_NO_HOOK, MAP_EV_INSTALLED, MAP_EV_ACTED,
                   MAP_EV_CLIENT_GONE, MAP_EV_COMPLETE_OK);
    ck_assert_uint_eq(effects, E(CLOSE) | E(END));
    effects = WALK(&txn, true, MAP_EV_LOCKED_NO_HOOK, MAP_EV_INSTALLED, MAP_EV_ACTED,
                   MAP_EV_COMPLETE_COMMIT, MAP_EV_COMMIT_ERR);
    ck_assert((effects & E(CLOSE)) && !(effects & E(ABORT)));
}
END_TEST

START_TEST(nothing_is_owed_once_the_mapping_lives)
{
    struct map_txn txn;
    uint32_t effects =
        WALK(&txn, false, MAP_EV_LOCKED, MAP_EV_PREPARE_OK, MAP_EV_INSTALLED, MAP_EV_ACTED_LAST);

    ck_assert_uint_eq(effects, E(MERGE) | E(UNLOCK) | E(REPLY_OK) | E(END));
    ck_assert(!txn.prepared);
    ck_assert(map_txn_is_final(&txn));
}
END_TEST

START_TEST(effects_are_in_the_order_they_must_be_carried_out_in)
{
    /* what a step's effects rely on: the driver is told before the lock goes to the next one, the
     * client is told to undo before it hears that the call failed, and the end is last */
    ck_assert_int_lt(MAP_DO_ABORT, MAP_DO_UNLOCK);
    ck_assert_int_lt(MAP_DO_REMOVE, MAP_DO_CLOSE);
    ck_assert_int_lt(MAP_DO_REMOVE, MAP_DO_UNINSTALL);
    ck_assert_int_lt(MAP_DO_CLOSE, MAP_DO_UNLOCK);
    ck_assert_int_lt(MAP_DO_MERGE, MAP_DO_UNLOCK);
    ck_assert_int_lt(MAP_DO_REPLACE, MAP_DO_UNLOCK);
    ck_assert_int_lt(MAP_DO_UNINSTALL, MAP_DO_UNLOCK);
    ck_assert_int_lt(MAP_DO_UNINSTALL, MAP_DO_REPLY_ERR);
    ck_assert_int_lt(MAP_DO_RELEASE, MAP_DO_UNLOCK);
    ck_assert_int_eq(MAP_DO_END, MAP_EFFECT_N - 1);
}
END_TEST

static bool is_word(const char *name)
{
    return name && strlen(name) > 0 && strspn(name, "abcdefghijklmnopqrstuvwxyz-") == strlen(name);
}

START_TEST(every_state_and_event_has_a_name_of_its_own)
{
    for (unsigned i = 0; i < MAP_STATE_N; i++) {
        ck_assert(is_word(map_state_name((enum map_state)i)));
        for (unsigned k = 0; k < i; k++)
            ck_assert_str_ne(map_state_name((enum map_state)i), map_state_name((enum map_state)k));
    }
    for (unsigned i = 0; i < MAP_EVENT_N; i++) {
        ck_assert(is_word(map_event_name((enum map_event)i)));
        for (unsigned k = 0; k < i; k++)
            ck_assert_str_ne(map_event_name((enum map_event)i), map_event_name((enum map_event)k));
    }
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("map_txn");

    tcase_add_test(tcase, the_table_accepts_what_the_contract_names_and_nothing_else);
    tcase_add_test(tcase, every_transition_goes_where_the_contract_says_with_its_effects);
    tcase_add_test(tcase, a_request_starts_queued_with_nothing_owed);
    tcase_add_test(tcase, only_live_and_gone_are_final_and_accept_nothing);
    tcase_add_test(tcase, a_driver_without_prepare_is_never_sent_an_abort);
    tcase_add_test(tcase, complete_takes_the_place_of_abort_for_good);
    tcase_add_test(tcase, a_driver_without_complete_is_aborted_when_the_move_fails);
    tcase_add_test(tcase, a_legacy_hook_that_refuses_has_no_close_and_one_that_agreed_has);
    tcase_add_test(tcase, nothing_is_owed_once_the_mapping_lives);
    tcase_add_test(tcase, effects_are_in_the_order_they_must_be_carried_out_in);
    tcase_add_test(tcase, every_state_and_event_has_a_name_of_its_own);
    return unit_run("map_txn", tcase);
}
