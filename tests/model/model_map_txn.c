/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The mapping transaction among peers that die, are late, refuse, or answer when nobody waits any
 * more: every state of the whole that can be reached is visited, breadth first, and the promise of
 * docs/contract.md, section 2, is checked in each.
 *
 * What is modelled: one map request; a client and a driver with a queue of messages each way, kept
 * in order as the sockets keep them; the server's side of them as server/flow carries it out (calls
 * in flight, deadlines at any moment, an effect that fails at once). Each peer may die at any
 * moment, and the server may hear of it at any later one. Not modelled: what a mapping does once it
 * lives, the lock's queue, contract = "kernel-v1" (it breaks the promise on purpose).
 *
 * That the search finds anything is checked, too: with each of a list of faults in the effects it
 * must fail.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "common/base/own.h"
#include "server/map/map_txn.h"
#include "tests/model/txn_search.h"
#include "tests/support/unit.h"

#define E(effect) (1u << MAP_DO_##effect)

/* ---- what the effects do, as server/flow does it ---- */

static void tell_driver(struct world *w, enum message message)
{
    if (!w->driver_dead)
        put(&w->to_driver, message);
}

static void ask_driver(struct world *w, enum message message)
{
    if (w->knows_driver_dead) {
        w->todo = DO_HEAR_DRIVER_GONE;
        return;
    }
    w->waits_for_driver = 1;
    tell_driver(w, message);
}

/* @message is a call: its answer is awaited. */
static void call_client(struct world *w, enum message message)
{
    put(&w->calls, message);
    if (!w->client_dead)
        put(&w->to_client, message);
}

static void reply(struct world *w)
{
    w->n_replies++;
    if (!w->client_dead)
        put(&w->to_client, REPLY);
}

static void succeed(struct world *w)
{
    w->place = LIVE;
    /* a driver that has no complete is done with prepare now */
    if (w->has_prepare && !w->has_complete && !w->driver_dead) {
        w->n_completed++;
        w->driver_lock = 0;
    }
}

static void carry_out(struct world *w, enum map_effect effect)
{
    switch (effect) {
    case MAP_DO_ASK_SPLIT:
        w->splitting = 1;
        return;
    case MAP_DO_ASK_PREPARE:
        ask_driver(w, PREPARE);
        return;
    case MAP_DO_INSTALL:
        w->todo = DO_INSTALL;
        return;
    case MAP_DO_ESTABLISH:
        w->todo = DO_REGISTER;
        return;
    case MAP_DO_ASK_COMPLETE:
        ask_driver(w, COMPLETE);
        return;
    case MAP_DO_RUN_VERBS:
        w->todo = DO_ACT;
        return;
    case MAP_DO_COMMIT:
        w->todo = DO_MOVE;
        return;
    case MAP_DO_REPLACE:
        w->old_stands = 0;
        succeed(w);
        return;
    case MAP_DO_MERGE:
        succeed(w);
        return;
    case MAP_DO_ABORT:
        tell_driver(w, ABORT);
        return;
    case MAP_DO_REMOVE:
        w->listed = 0;
        return;
    case MAP_DO_CLOSE:
        tell_driver(w, CLOSE);
        return;
    case MAP_DO_UNINSTALL:
        w->place = QUARANTINE;
        w->orphans = w->calls.n;
        call_client(w, UNDO);
        return;
    case MAP_DO_RELEASE:
        w->place = FREE;
        return;
    case MAP_DO_UNLOCK:
        w->locked = 0;
        return;
    case MAP_DO_REPLY_OK:
    case MAP_DO_REPLY_ERR:
        reply(w);
        return;
    case MAP_DO_END:
        w->ended++;
        w->orphans = w->calls.n; /* all but the undo, which nobody else waits for either */
        if (w->calls.n > 0 && w->calls.list[w->calls.n - 1] == UNDO)
            w->orphans--;
        return;
    case MAP_EFFECT_N:
        return;
    }
}

/* Feeds @event to the machine and goes on to the world that follows. */
static void event(struct search *s, struct world *w, enum map_event ev, const char *how)
{
    struct map_txn txn = {.state = (enum map_state)w->state,
                          .prepared = w->prepared,
                          .asked = w->asked,
                          .legacy = w->legacy};
    uint32_t effects;

    w->todo = NOTHING;
    if (!map_txn_accepts(&txn, ev)) {
        violate(s, "an event that the machine does not know in this state", how);
        return;
    }
    s->used[w->state][ev] = true;
    effects = map_txn_step(&txn, ev);
    if (s->fault && s->fault->from == (enum map_state)w->state && s->fault->event == ev)
        effects = (effects & ~s->fault->drop) | s->fault->add;
    w->state = (uint8_t)txn.state;
    w->prepared = txn.prepared;
    w->asked = txn.asked;
    if (w->state != MAP_INSTALLING)
        w->waits_for_install = 0;
    w->acting = 0;
    for (unsigned i = 0; i < MAP_EFFECT_N; i++)
        if (effects & (1u << i))
            carry_out(w, (enum map_effect)i);
    reach(s, w, how, false);
}

/* ---- steps of the server ---- */

static enum map_event after_acting(const struct world *w)
{
    if (w->state == MAP_ACTING && (w->has_complete || w->legacy))
        return MAP_EV_ACTED;
    return w->replaces ? MAP_EV_ACTED_COMMIT : MAP_EV_ACTED_LAST;
}

/* A branch: the rest of the block happens to a copy. */
#define BRANCH(copy) for (struct world copy = *now, *once_ = &(copy); once_; once_ = NULL)

static void act(struct search *s, const struct world *now)
{
    BRANCH(w)
    event(s, &w, after_acting(&w), "the server acts at once");
    BRANCH(w)
    event(s, &w, MAP_EV_ACT_ERR, "an action fails at once");
    BRANCH(w)
    { /* pages are being waited for */
        w.todo = NOTHING;
        w.acting = 1;
        reach(s, &w, "an action is under way", false);
    }
    BRANCH(w)
    {
        w.todo = NOTHING;
        call_client(&w, REMAP);
        reach(s, &w, "the client is told to map the driver's fd", false);
    }
}

/* What an effect begins, and may find impossible at once. */
static void do_todo(struct search *s, const struct world *now)
{
    switch ((enum todo)now->todo) {
    case DO_INSTALL:
        BRANCH(w)
        event(s, &w, MAP_EV_NO_RESOURCES, "the client cannot be told to map");
        BRANCH(w)
        {
            w.todo = NOTHING;
            w.waits_for_install = 1;
            call_client(&w, INSTALL);
            reach(s, &w, "the client is told to map", false);
        }
        return;
    case DO_REGISTER:
        BRANCH(w)
        event(s, &w, MAP_EV_REGISTER_ERR, "userfaultfd refuses");
        BRANCH(w)
        {
            w.listed = 1;
            w.todo = DO_ACT;
            if (w.has_action)
                reach(s, &w, "established", false);
            else
                event(s, &w, after_acting(&w), "established, no action");
        }
        return;
    case DO_ACT:
        act(s, now);
        return;
    case DO_MOVE:
        BRANCH(w)
        event(s, &w, MAP_EV_COMMIT_ERR, "the client cannot be told to move");
        BRANCH(w)
        {
            w.todo = NOTHING;
            call_client(&w, MOVE);
            reach(s, &w, "the client is told to move", false);
        }
        return;
    case DO_HEAR_DRIVER_GONE:
        BRANCH(w)
        event(s, &w, MAP_EV_DRIVER_GONE, "the driver cannot be asked");
        return;
    case NOTHING:
        return;
    }
}

static void grant_lock(struct search *s, const struct world *now)
{
    enum map_event ev = now->has_prepare ? MAP_EV_LOCKED : MAP_EV_LOCKED_NO_HOOK;

    BRANCH(w)
    {
        w.locked = 1;
        event(s, &w, MAP_EV_REFUSED, "refused");
    }
    if (now->knows_driver_dead)
        return;
    if (now->splits)
        ev = MAP_EV_LOCKED_SPLIT;
    BRANCH(w)
    {
        w.locked = 1;
        w.place = HELD;
        event(s, &w, ev, "locked");
    }
}

static void end_split(struct search *s, const struct world *now)
{
    static const struct {
        bool prepare;
        enum map_event event;
        const char *how;
    } ends[] = {{true, MAP_EV_SPLIT_OK, "may split"},
                {false, MAP_EV_SPLIT_OK_NO_HOOK, "may split"},
                {true, MAP_EV_SPLIT_ERR, "may not split"},
                {false, MAP_EV_SPLIT_ERR, "may not split"},
                {true, MAP_EV_DEADLINE, "may_split is late"},
                {false, MAP_EV_DEADLINE, "may_split is late"}};

    for (size_t i = 0; i < N_ELEMENTS(ends); i++) {
        if (ends[i].prepare != !!now->has_prepare)
            continue;
        BRANCH(w)
        {
            w.splitting = 0;
            event(s, &w, ends[i].event, ends[i].how);
        }
    }
}

static void pass_deadlines(struct search *s, const struct world *now)
{
    if (now->waits_for_driver == 1) {
        BRANCH(w)
        {
            w.waits_for_driver = 2;
            event(s, &w, MAP_EV_DEADLINE, "the driver is late");
        }
    }
    if (now->waits_for_install)
        BRANCH(w)
    event(s, &w, MAP_EV_DEADLINE, "the client is late");
    if (now->acting || (now->calls.n > now->orphans && now->calls.list[now->orphans] == REMAP))
        BRANCH(w)
    event(s, &w, MAP_EV_DEADLINE, "the action is late");
}

static enum map_event event_of_answer(const struct world *w, enum message answer)
{
    switch (answer) {
    case PREPARE_OK:
        return MAP_EV_PREPARE_OK;
    case PREPARE_BAD:
        return MAP_EV_PREPARE_BAD;
    case PREPARE_ERR:
        return MAP_EV_PREPARE_ERR;
    case COMPLETE_OK:
        return w->replaces ? MAP_EV_COMPLETE_COMMIT : MAP_EV_COMPLETE_OK;
    case COMPLETE_VERBS:
        return MAP_EV_COMPLETE_VERBS;
    case COMPLETE_ERR:
        return MAP_EV_COMPLETE_ERR;
    case PREPARE:
    case COMPLETE:
    case ABORT:
    case CLOSE:
    case INSTALL:
    case REMAP:
    case MOVE:
    case UNDO:
    case REPLY:
    case DONE:
    case FAILED:
        break;
    }
    ck_abort_msg("no answer of a driver");
    return MAP_EVENT_N;
}

static void hear_client(struct search *s, const struct world *now)
{
    struct world w = *now;
    const bool ok = take(&w.from_client) == DONE;
    const bool is_orphan = w.orphans > 0;
    const enum message call = take(&w.calls);

    w.orphans = (uint8_t)(w.orphans - is_orphan);
    if (call == UNDO) {
        if (ok && w.place == QUARANTINE)
            w.place = FREE;
        reach(s, &w, "the client has undone, or cannot", false);
        return;
    }
    if (is_orphan)
        reach(s, &w, "an answer nobody waits for", false);
    else if (call == INSTALL)
        event(s, &w, ok ? MAP_EV_INSTALLED : MAP_EV_INSTALL_ERR, "the client has mapped, or not");
    else if (call == REMAP)
        event(s, &w, ok ? after_acting(&w) : MAP_EV_ACT_ERR, "the client has remapped, or not");
    else
        event(s, &w, ok ? MAP_EV_COMMITTED : MAP_EV_COMMIT_ERR, "the client has moved, or not");
}

static void hear_of_deaths(struct search *s, const struct world *now)
{
    if (now->client_dead && !now->knows_client_dead) {
        BRANCH(w)
        {
            const bool is_told = !w.ended && (w.locked || w.state == MAP_QUEUED);

            w.knows_client_dead = 1;
            forget(&w.from_client);
            forget(&w.calls);
            w.orphans = 0;
            w.splitting = 0;
            if (is_told)
                event(s, &w, MAP_EV_CLIENT_GONE, "the server hears that the client died");
            else
                reach(s, &w, "the server hears that the client died", false);
        }
    }
    if (now->driver_dead && !now->knows_driver_dead) {
        BRANCH(w)
        {
            const bool is_told = !w.ended && w.state != MAP_QUEUED && w.state != MAP_SPLITTING;

            w.knows_driver_dead = 1;
            w.waits_for_driver = 0;
            forget(&w.from_driver);
            if (is_told)
                event(s, &w, MAP_EV_DRIVER_GONE, "the server hears that the driver died");
            else
                reach(s, &w, "the server hears that the driver died", false);
        }
    }
}

static void server_steps(struct search *s, const struct world *now)
{
    if (now->todo != NOTHING) {
        do_todo(s, now);
        return;
    }
    hear_of_deaths(s, now);
    if (now->from_client.n > 0)
        hear_client(s, now);
    if (now->from_driver.n > 0) {
        BRANCH(w)
        {
            const enum map_event ev = event_of_answer(&w, take(&w.from_driver));

            w.waits_for_driver = 0;
            event(s, &w, ev, "the driver has answered");
        }
    }
    if (now->ended)
        return;
    if (now->state == MAP_QUEUED)
        grant_lock(s, now);
    if (now->splitting)
        end_split(s, now);
    if (now->acting) {
        BRANCH(w)
        event(s, &w, after_acting(&w), "the action is done");
        BRANCH(w)
        event(s, &w, MAP_EV_ACT_ERR, "the action has failed");
    }
    pass_deadlines(s, now);
}

/* ---- steps of the peers ---- */

static void client_steps(struct search *s, const struct world *now)
{
    struct world next = *now;
    enum message message;

    if (now->client_dead)
        return;
    BRANCH(w)
    {
        w.client_dead = 1;
        w.client_maps = 0;
        forget(&w.to_client);
        reach(s, &w, "the client dies", true);
    }
    if (now->to_client.n == 0)
        return;
    message = take(&next.to_client);
    if (message == REPLY) {
        next.n_heard++;
        reach(s, &next, "the client hears the reply", false);
        return;
    }
    now = &next;
    BRANCH(w)
    {
        if (message == INSTALL)
            w.client_maps = 1;
        if (message == UNDO)
            w.client_maps = 0;
        put(&w.from_client, DONE);
        reach(s, &w, "the client does it", false);
    }
    BRANCH(w)
    {
        put(&w.from_client, FAILED);
        reach(s, &w, "the client cannot", false);
    }
}

static void driver_answers(struct search *s, const struct world *now, enum message answer)
{
    struct world w = *now;

    put(&w.from_driver, answer);
    if (answer == PREPARE_OK || answer == PREPARE_BAD) {
        w.n_prepared++;
        w.driver_lock = 1;
    }
    if (w.legacy && (answer == COMPLETE_OK || answer == COMPLETE_VERBS))
        w.legacy_agreed = 1;
    reach(s, &w, "the driver runs a hook", false);
}

static void driver_steps(struct search *s, const struct world *now)
{
    struct world next = *now;
    enum message message;

    if (now->driver_dead)
        return;
    BRANCH(w)
    {
        w.driver_dead = 1;
        forget(&w.to_driver);
        reach(s, &w, "the driver dies", true);
    }
    if (now->to_driver.n == 0)
        return;
    message = take(&next.to_driver);
    if (message == PREPARE) {
        for (int answer = PREPARE_OK; answer <= PREPARE_ERR; answer++)
            driver_answers(s, &next, (enum message)answer);
    } else if (message == COMPLETE) {
        next.n_completed = (uint8_t)(next.n_completed + !next.legacy);
        next.driver_lock = 0;
        for (int answer = COMPLETE_OK; answer <= COMPLETE_ERR; answer++)
            driver_answers(s, &next, (enum message)answer);
    } else if (message == ABORT) {
        next.n_aborted++;
        next.driver_lock = 0;
        reach(s, &next, "the driver aborts", false);
    } else {
        next.n_closed++;
        reach(s, &next, "the driver closes", false);
    }
}

/* ---- the search ---- */

/* Nobody is stuck: from everywhere the end can be reached without anybody's death. */
static void check_progress(struct search *s)
{
    uint8_t *good = calloc(s->n_nodes, 1);
    bool changed = true;

    UNIT_EXPECT(good);
    for (size_t i = 0; i < s->n_nodes; i++)
        good[i] = is_quiet(&s->nodes[i].world);
    while (changed) {
        changed = false;
        for (size_t i = s->n_edges; i-- > 0;) {
            if (good[s->edges[i].to] && !good[s->edges[i].from]) {
                good[s->edges[i].from] = 1;
                changed = true;
            }
        }
    }
    for (size_t i = 0; i < s->n_nodes && !s->violation; i++) {
        if (!good[i]) {
            s->at = i;
            violate(s, "stuck: from here it never ends", "-");
        }
    }
    free(good);
}

static void add_kinds(struct search *s)
{
    s->at = SIZE_MAX; /* nobody's children */
    for (unsigned bits = 0; bits < 64; bits++) {
        struct world w;

        memset(&w, 0, sizeof(w));
        w.legacy = bits & 1;
        w.has_prepare = !!(bits & 2);
        w.has_complete = !!(bits & 4);
        w.has_action = !!(bits & 8);
        w.replaces = !!(bits & 16);
        w.old_stands = w.replaces;
        w.splits = !!(bits & 32);
        if ((w.legacy && w.has_prepare) || (w.has_complete && !w.has_prepare) ||
            (w.has_action && !w.has_prepare) || (w.splits && !w.replaces))
            continue;
        (void)node_of(s, &w, "a request");
    }
}

static void explore(struct search *s, const struct fault *fault)
{
    *s = (struct search){.fault = fault};
    add_kinds(s);
    for (s->at = 0; s->at < s->n_nodes && !s->violation; s->at++) {
        const struct world now = s->nodes[s->at].world; /* the array may move */

        server_steps(s, &now);
        if (now.todo != NOTHING)
            continue;
        client_steps(s, &now);
        driver_steps(s, &now);
    }
    if (!s->violation)
        check_progress(s);
}

static void search_done(struct search *s)
{
    free(s->nodes);
    free(s->edges);
    free(s->table);
}

static void print_path(const struct search *s, size_t at)
{
    if (s->nodes[at].parent != SIZE_MAX)
        print_path(s, s->nodes[at].parent);
    printf("  %-45s %s\n", s->nodes[at].how,
           map_state_name((enum map_state)s->nodes[at].world.state));
}

START_TEST(the_promise_holds_on_every_path)
{
    struct search s;

    explore(&s, NULL);
    printf("%zu states, %zu steps\n", s.n_nodes, s.n_edges);
    if (s.violation) {
        print_path(&s, s.violated_at);
        ck_abort_msg("%s, after: %s", s.violation, s.violated_how);
    }
    ck_assert_uint_gt(s.n_nodes, 1000);
    search_done(&s);
}
END_TEST

/* What never happens, because server/flow does not tell: a request that is over for the client does
 * not hear of the client any more; may_split, asked of another driver, is not ended by the death of
 * this one, nor is a request that has not got the lock. */
static bool is_unused(enum map_state state, enum map_event ev)
{
    if (state == MAP_OWED_PREPARE || state == MAP_OWED_COMPLETE)
        return ev == MAP_EV_CLIENT_GONE;
    if (state == MAP_QUEUED || state == MAP_SPLITTING)
        return ev == MAP_EV_DRIVER_GONE;
    return false;
}

START_TEST(every_row_of_the_table_is_walked_through)
{
    struct search s;

    explore(&s, NULL);
    for (unsigned state = 0; state < MAP_STATE_N; state++) {
        for (unsigned ev = 0; ev < MAP_EVENT_N; ev++) {
            const struct map_txn txn = {.state = (enum map_state)state};

            if (map_txn_accepts(&txn, (enum map_event)ev)) {
                ck_assert_msg(s.used[state][ev] !=
                                  is_unused((enum map_state)state, (enum map_event)ev),
                              "%s + %s", map_state_name((enum map_state)state),
                              map_event_name((enum map_event)ev));
            }
        }
    }
    search_done(&s);
}
END_TEST

static const struct fault faults[] = {
    {"no abort when the client cannot map", MAP_INSTALLING, MAP_EV_INSTALL_ERR, E(ABORT), 0},
    {"no abort when the client is late", MAP_INSTALLING, MAP_EV_DEADLINE, E(ABORT), 0},
    {"no abort when the client dies", MAP_INSTALLING, MAP_EV_CLIENT_GONE, E(ABORT), 0},
    {"no abort when registering fails", MAP_ACTING, MAP_EV_REGISTER_ERR, E(ABORT), 0},
    {"no abort when an action fails", MAP_ACTING, MAP_EV_ACT_ERR, E(ABORT), 0},
    {"no abort for a late prepare", MAP_OWED_PREPARE, MAP_EV_PREPARE_OK, E(ABORT), 0},
    {"no abort for an answer not allowed", MAP_PREPARING, MAP_EV_PREPARE_BAD, E(ABORT), 0},
    {"no abort when the move fails", MAP_COMMITTING, MAP_EV_COMMIT_ERR, E(ABORT), 0},
    {"abort after an error of prepare", MAP_PREPARING, MAP_EV_PREPARE_ERR, 0, E(ABORT)},
    {"abort after complete", MAP_COMPLETING, MAP_EV_COMPLETE_ERR, 0, E(ABORT)},
    {"abort of what lives", MAP_COMPLETING, MAP_EV_COMPLETE_OK, 0, E(ABORT)},
    {"no close when complete fails", MAP_COMPLETING, MAP_EV_COMPLETE_ERR, E(CLOSE), 0},
    {"no close when the move fails", MAP_COMMITTING, MAP_EV_COMMIT_ERR, E(CLOSE), 0},
    {"no close after a late complete", MAP_OWED_COMPLETE, MAP_EV_COMPLETE_OK, E(CLOSE), 0},
    {"no close when a verb fails", MAP_FINISHING, MAP_EV_ACT_ERR, E(CLOSE), 0},
    {"close of what lives", MAP_COMPLETING, MAP_EV_COMPLETE_OK, 0, E(CLOSE)},
    {"close without complete", MAP_INSTALLING, MAP_EV_DEADLINE, 0, E(CLOSE)},
    {"the lock kept after a late prepare", MAP_PREPARING, MAP_EV_DEADLINE, E(UNLOCK), 0},
    {"the lock kept by a dead client", MAP_COMPLETING, MAP_EV_CLIENT_GONE, E(UNLOCK), 0},
    {"the lock kept by a live mapping", MAP_ACTING, MAP_EV_ACTED_LAST, E(UNLOCK), 0},
    {"released while the client may map", MAP_INSTALLING, MAP_EV_DEADLINE, E(UNINSTALL),
     E(RELEASE)},
    {"not undone when complete fails", MAP_COMPLETING, MAP_EV_COMPLETE_ERR, E(UNINSTALL), 0},
    {"neither released nor undone", MAP_PREPARING, MAP_EV_PREPARE_ERR, E(RELEASE), 0},
    {"left in the tree", MAP_COMPLETING, MAP_EV_COMPLETE_ERR, E(REMOVE), 0},
    {"the old mapping is not replaced", MAP_COMMITTING, MAP_EV_COMMITTED, E(REPLACE), 0},
    {"the old mapping is replaced early", MAP_COMPLETING, MAP_EV_COMPLETE_COMMIT, 0, E(REPLACE)},
    {"no reply", MAP_SPLITTING, MAP_EV_SPLIT_ERR, E(REPLY_ERR), 0},
    {"no reply of success", MAP_COMMITTING, MAP_EV_COMMITTED, E(REPLY_OK), 0},
    {"two replies", MAP_OWED_PREPARE, MAP_EV_PREPARE_OK, 0, E(REPLY_ERR)},
    {"no end", MAP_COMMITTING, MAP_EV_COMMIT_ERR, E(END), 0},
    {"an end in the middle", MAP_COMPLETING, MAP_EV_DEADLINE, 0, E(END)},
    {"prepare is never asked", MAP_QUEUED, MAP_EV_LOCKED, E(ASK_PREPARE), 0},
    {"complete is never asked", MAP_ACTING, MAP_EV_ACTED, E(ASK_COMPLETE), 0},
    {"the client is never told to map", MAP_PREPARING, MAP_EV_PREPARE_OK, E(INSTALL), 0},
};

START_TEST(every_fault_that_is_seeded_is_found)
{
    const struct fault *fault = &faults[_i];
    struct search s;

    explore(&s, fault);
    ck_assert_msg(s.violation, "not found: %s", fault->what);
    printf("%-40s %s (%zu states)\n", fault->what, s.violation, s.n_nodes);
    search_done(&s);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("map_txn");

    tcase_set_timeout(tcase, 100);
    tcase_add_test(tcase, the_promise_holds_on_every_path);
    tcase_add_test(tcase, every_row_of_the_table_is_walked_through);
    tcase_add_loop_test(tcase, every_fault_that_is_seeded_is_found, 0, N_ELEMENTS(faults));
    return unit_run("map_txn model", tcase);
}
