/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * quota.c - per-uid charges against one set of limits
 *
 * Owns the record of each uid that holds something; a record goes when the last charge is dropped.
 * Called by server/flow. Deliberately no memory of who was refused what: that is for the log.
 */
#include "server/quota/quota.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct quota_text {
    const char *key;
    const char *help;
    uint64_t value;
};

static const struct quota_text quota_texts[QUOTA_KIND_N + 1] = {
#define X(name, key, value, help) [QUOTA_##name] = {key, help, value},
    QUOTA_KINDS(X)
#undef X
        [QUOTA_KIND_N] = {QUOTA_KEY_MEMORY, "bytes of page cache of all uids together",
                          QUOTA_UNLIMITED},
};

void quota_init(struct quota_table *table)
{
    *table = (struct quota_table){.limit_memory_bytes = quota_texts[QUOTA_KIND_N].value};
    idmap_init(&table->users);
    for (unsigned int kind = 0; kind < QUOTA_KIND_N; kind++)
        table->limit[kind] = quota_texts[kind].value;
}

void quota_done(struct quota_table *table)
{
    size_t cursor = 0;
    struct quota_user *user;

    while ((user = idmap_next(&table->users, &cursor)))
        free(user);
    idmap_done(&table->users);
}

static uint64_t minus(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

uint64_t quota_used(const struct quota_table *table, uint32_t uid, enum quota_kind kind)
{
    const struct quota_user *user = idmap_get(&table->users, uid);

    return user ? user->used[kind] : 0;
}

static uint64_t memory_room(const struct quota_table *table)
{
    return minus(table->limit_memory_bytes, table->total[QUOTA_CACHE]);
}

uint64_t quota_room(const struct quota_table *table, uint32_t uid, enum quota_kind kind)
{
    uint64_t room = minus(table->limit[kind], quota_used(table, uid, kind));

    if (kind == QUOTA_CACHE && memory_room(table) < room)
        return memory_room(table);
    return room;
}

static int refuse(struct quota_table *table, struct quota_user *user, int condition)
{
    table->n_refused++;
    if (user)
        user->n_refused++;
    return condition;
}

static int user_get(struct quota_table *table, uint32_t uid, struct quota_user **ret_user)
{
    struct quota_user *user = idmap_get(&table->users, uid);
    int r;

    if (!user) {
        user = calloc(1, sizeof(*user));
        if (!user)
            return -ENOMEM;
        user->uid = uid;
        r = idmap_put(&table->users, uid, user);
        if (r < 0) {
            free(user);
            return r;
        }
    }
    *ret_user = user;
    return 0;
}

int charge_take(struct quota_table *table, uint32_t uid, enum quota_kind kind, uint64_t amount)
{
    struct quota_user *user = idmap_get(&table->users, uid);
    int r;

    if (amount == 0)
        return 0;
    if (amount > minus(table->limit[kind], user ? user->used[kind] : 0))
        return refuse(table, user, QUOTA_E_EXCEEDED);
    if (kind == QUOTA_CACHE && amount > memory_room(table))
        return refuse(table, user, QUOTA_E_MEMORY);
    if (amount > UINT64_MAX - table->total[kind])
        return refuse(table, user, QUOTA_E_EXCEEDED);
    r = user_get(table, uid, &user);
    if (r < 0)
        return r;
    user->used[kind] += amount;
    if (user->used[kind] > user->peak[kind])
        user->peak[kind] = user->used[kind];
    table->total[kind] += amount;
    return 0;
}

void charge_drop(struct quota_table *table, uint32_t uid, enum quota_kind kind, uint64_t amount)
{
    struct quota_user *user = idmap_get(&table->users, uid);

    if (amount == 0)
        return;
    MUST(user && user->used[kind] >= amount && table->total[kind] >= amount);
    user->used[kind] -= amount;
    table->total[kind] -= amount;
    for (unsigned int i = 0; i < QUOTA_KIND_N; i++) {
        if (user->used[i] != 0)
            return;
    }
    free(idmap_take(&table->users, uid));
}

/* The limit that @key names; NULL when none does. */
static const uint64_t *find_limit(const struct quota_table *table, const char *key)
{
    for (unsigned int kind = 0; kind < QUOTA_KIND_N; kind++) {
        if (strcmp(key, quota_texts[kind].key) == 0)
            return &table->limit[kind];
    }
    return strcmp(key, QUOTA_KEY_MEMORY) == 0 ? &table->limit_memory_bytes : NULL;
}

int quota_limit_set(struct quota_table *table, const char *key, uint64_t value)
{
    for (unsigned int kind = 0; kind < QUOTA_KIND_N; kind++) {
        if (strcmp(key, quota_texts[kind].key) == 0) {
            table->limit[kind] = value;
            return 0;
        }
    }
    if (strcmp(key, QUOTA_KEY_MEMORY) != 0)
        return QUOTA_E_NO_KEY;
    table->limit_memory_bytes = value;
    return 0;
}

int quota_limit_get(const struct quota_table *table, const char *key, uint64_t *ret_value)
{
    const uint64_t *limit = find_limit(table, key);

    if (!limit)
        return QUOTA_E_NO_KEY;
    *ret_value = *limit;
    return 0;
}

const char *quota_key(enum quota_kind kind)
{
    return quota_texts[kind].key;
}

const char *quota_help(enum quota_kind kind)
{
    return quota_texts[kind].help;
}

const struct quota_user *quota_next_user(const struct quota_table *table, size_t *cursor)
{
    return idmap_next(&table->users, cursor);
}
