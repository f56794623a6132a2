/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * For model_map_txn.c: the state of one map request with its client and its driver, what must hold
 * of it, and the set of all states seen so far with the steps between them. Knows nothing of the
 * steps themselves.
 */
#ifndef MUSE_TESTS_MODEL_TXN_SEARCH_H
#define MUSE_TESTS_MODEL_TXN_SEARCH_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "server/map/map_txn.h"
#include "tests/support/unit.h"

#define QUEUE_MAX 4

/* Messages of all four queues; bytes, so that a world can be compared and hashed as memory. */
enum message {
    /* server -> driver, and what it answers */
    PREPARE = 1,
    COMPLETE,
    ABORT,
    CLOSE,
    PREPARE_OK,
    PREPARE_BAD,
    PREPARE_ERR,
    COMPLETE_OK,
    COMPLETE_VERBS,
    COMPLETE_ERR,
    /* server -> client, and what it answers */
    INSTALL,
    REMAP,
    MOVE,
    UNDO,
    REPLY,
    DONE,
    FAILED
};

enum place { NOWHERE, HELD, LIVE, QUARANTINE, FREE };

/* What the server does next, before anybody else can do anything. */
enum todo { NOTHING, DO_INSTALL, DO_REGISTER, DO_ACT, DO_MOVE, DO_HEAR_DRIVER_GONE };

struct queue {
    uint8_t n, list[QUEUE_MAX];
};

/* Bytes only: no padding. */
struct world {
    /* what kind of request it is; never changes */
    uint8_t legacy, has_prepare, has_complete, has_action, replaces, splits;
    /* server */
    uint8_t state, prepared, asked;
    uint8_t todo, locked, place, listed, old_stands, ended, n_replies, acting, splitting;
    uint8_t waits_for_driver;  /* a call is in flight; 2: its deadline has passed */
    uint8_t waits_for_install; /* its deadline runs */
    struct queue calls;        /* what the client was told to do; ... */
    uint8_t orphans;           /* ... of these, from the oldest on, nobody waits for */
    uint8_t knows_client_dead, knows_driver_dead;
    /* client */
    uint8_t client_dead, client_maps, n_heard;
    struct queue to_client, from_client;
    /* driver */
    uint8_t driver_dead, driver_lock, n_prepared, n_completed, n_aborted, n_closed, legacy_agreed;
    struct queue to_driver, from_driver;
};

/* A fault to seed: @drop and @add in the effects of one transition. */
struct fault {
    const char *what;
    enum map_state from;
    enum map_event event;
    uint32_t drop, add;
};

struct node {
    struct world world;
    size_t parent;
    const char *how;
};

struct search {
    struct node *nodes;
    size_t n_nodes, max_nodes;
    uint32_t *table; /* open addressing: index + 1 */
    size_t n_table;  /* power of two */
    struct edge {
        uint32_t from, to;
    } * edges; /* but those of dying */
    size_t n_edges, max_edges;
    size_t at; /* the node being expanded */
    const struct fault *fault;
    const char *violation;
    size_t violated_at;
    const char *violated_how;
    bool used[MAP_STATE_N][MAP_EVENT_N];
};

/* ---- queues ---- */

static inline void put(struct queue *queue, enum message message)
{
    UNIT_EXPECT(queue->n < QUEUE_MAX);
    queue->list[queue->n++] = (uint8_t)message;
}

static inline enum message take(struct queue *queue)
{
    const enum message message = (enum message)queue->list[0];

    UNIT_EXPECT(queue->n > 0);
    queue->n--;
    memmove(queue->list, queue->list + 1, queue->n);
    queue->list[queue->n] = 0;
    return message;
}

static inline void forget(struct queue *queue)
{
    memset(queue, 0, sizeof(*queue));
}

/* ---- the states seen so far ---- */

static inline uint64_t hash_of(const struct world *world)
{
    const uint8_t *bytes = (const uint8_t *)world;
    uint64_t hash = UINT64_C(14695981039346656037);

    for (size_t i = 0; i < sizeof(*world); i++)
        hash = (hash ^ bytes[i]) * UINT64_C(1099511628211);
    return hash ^ (hash >> 29);
}

static inline void *grow(void *array, size_t *max, size_t size)
{
    *max = *max ? *max * 2 : 4096;
    array = realloc(array, *max * size);
    UNIT_EXPECT(array);
    return array;
}

static inline void table_put(struct search *s, size_t index)
{
    size_t at = hash_of(&s->nodes[index].world) & (s->n_table - 1);

    while (s->table[at])
        at = (at + 1) & (s->n_table - 1);
    s->table[at] = (uint32_t)index + 1;
}

static inline void table_grow(struct search *s)
{
    s->n_table = s->n_table ? s->n_table * 2 : 16384;
    free(s->table);
    s->table = calloc(s->n_table, sizeof(*s->table));
    UNIT_EXPECT(s->table);
    for (size_t i = 0; i < s->n_nodes; i++)
        table_put(s, i);
}

/* Return: the index of @world among the nodes; a new one when it was not seen yet. */
static inline size_t node_of(struct search *s, const struct world *world, const char *how)
{
    size_t at;

    if ((s->n_nodes + 1) * 2 > s->n_table)
        table_grow(s);
    at = hash_of(world) & (s->n_table - 1);
    for (; s->table[at]; at = (at + 1) & (s->n_table - 1))
        if (memcmp(&s->nodes[s->table[at] - 1].world, world, sizeof(*world)) == 0)
            return s->table[at] - 1;
    if (s->n_nodes == s->max_nodes)
        s->nodes = grow(s->nodes, &s->max_nodes, sizeof(*s->nodes));
    s->nodes[s->n_nodes] = (struct node){.world = *world, .parent = s->at, .how = how};
    s->table[at] = (uint32_t)s->n_nodes + 1;
    return s->n_nodes++;
}

/* ---- the promise ---- */

/* What must hold at every moment. Return: NULL, or what does not. */
static inline const char *check_always(const struct world *w)
{
    const bool is_over = w->state == MAP_GONE || w->state == MAP_LIVE;

    if (w->n_completed + w->n_aborted > w->n_prepared && !w->legacy)
        return "a driver was told an end of a prepare that did not succeed, or two";
    if (w->n_closed > (w->legacy ? w->legacy_agreed : w->n_completed))
        return "a close without complete, or two";
    if (w->n_replies > 1 || w->ended > 1)
        return "two replies, or two ends";
    if (w->ended && !is_over)
        return "ended in the middle";
    if (is_over && !w->ended)
        return "over, and never freed";
    if (w->ended && w->locked)
        return "the space's lock was not given back";
    if (w->place == FREE && !w->client_dead &&
        (w->client_maps || memchr(w->to_client.list, INSTALL, w->to_client.n)))
        return "a range is free in which the client may still map";
    if (w->place == LIVE && (!w->listed || w->state != MAP_LIVE))
        return "live, and not in the tree";
    if (w->listed && is_over && w->place != LIVE)
        return "in the tree, and not live";
    if (w->replaces && w->old_stands == (w->state == MAP_LIVE))
        return "the old mapping went, or stayed, against the outcome";
    if (w->state == MAP_LIVE && w->place != LIVE)
        return "mapped, and the range is not live";
    return NULL;
}

/* A client that does not answer must not keep a driver's lock. */
static inline const char *check_deadlines(const struct world *w)
{
    const struct map_txn txn = {.state = (enum map_state)w->state};
    const bool may_hold_a_lock = w->driver_lock && w->has_complete;

    if (!w->ended && may_hold_a_lock && w->calls.n > w->orphans &&
        !map_txn_accepts(&txn, MAP_EV_DEADLINE))
        return "a driver's lock depends on the client alone";
    return NULL;
}

/* What must hold when it is over and every message has arrived. */
static inline const char *check_end(const struct world *w)
{
    const bool live = w->state == MAP_LIVE;

    if (!w->client_dead && (w->n_replies != 1 || w->n_heard != 1))
        return "a living client was not answered";
    if (!w->driver_dead && w->n_prepared != w->n_completed + w->n_aborted && !w->legacy)
        return "a prepare that has neither complete nor abort";
    if (!w->driver_dead && w->driver_lock)
        return "a driver keeps its lock for ever";
    if (!w->driver_dead && w->legacy && w->n_closed != (w->legacy_agreed && !live))
        return "the legacy hook agreed, nothing is mapped, and no close came";
    if (!w->driver_dead && w->has_complete && w->n_closed != (w->n_completed && !live))
        return "complete ran, nothing is mapped, and no close came";
    if (!w->driver_dead && live && (w->n_aborted || w->n_closed))
        return "a live mapping was aborted or closed";
    if (!live && !w->client_dead && w->place != FREE && w->place != QUARANTINE)
        return "the range is neither free nor in quarantine";
    if (!live && !w->client_dead && w->client_maps && w->place != QUARANTINE)
        return "the client maps what the server has forgotten";
    if (live && !w->client_dead && !w->client_maps)
        return "the client was told of a mapping that it does not have";
    return NULL;
}

static inline bool is_quiet(const struct world *w)
{
    return w->ended && w->todo == NOTHING && w->calls.n == 0 &&
           (w->client_dead ? w->knows_client_dead : w->to_client.n + w->from_client.n == 0) &&
           (w->driver_dead ? w->knows_driver_dead : w->to_driver.n + w->from_driver.n == 0);
}

static inline void violate(struct search *s, const char *what, const char *how)
{
    if (s->violation)
        return;
    s->violation = what;
    s->violated_at = s->at;
    s->violated_how = how;
}

/* A step to @w. @dies: it is the death of a peer, which nobody can count on. */
static inline void reach(struct search *s, const struct world *w, const char *how, bool dies)
{
    const char *problem = w->todo == NOTHING ? check_always(w) : NULL;
    size_t to;

    if (!problem)
        problem = check_deadlines(w);
    if (!problem && is_quiet(w))
        problem = check_end(w);
    if (problem) {
        violate(s, problem, how);
        return;
    }
    to = node_of(s, w, how);
    if (dies)
        return;
    if (s->n_edges == s->max_edges)
        s->edges = grow(s->edges, &s->max_edges, sizeof(*s->edges));
    s->edges[s->n_edges++] = (struct edge){(uint32_t)s->at, (uint32_t)to};
}

#endif
