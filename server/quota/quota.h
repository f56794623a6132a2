/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * quota.h - what each uid may make the server hold, and what it holds now
 *
 * Overload is refused, not absorbed: before anything is allocated on behalf of a peer,
 * charge_take() asks whether the uid may have it; whoever frees it calls charge_drop() with the
 * same figures. The limits are one set for all uids; the memory limit is over all uids together.
 *
 * Callers: server/flow. Owns one small record for each uid that holds something.
 */
#ifndef MUSE_SERVER_QUOTA_QUOTA_H
#define MUSE_SERVER_QUOTA_QUOTA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/idmap.h"
#include "common/base/must.h"

#define QUOTA_UNLIMITED UINT64_MAX

/*
 * name, key, default for each uid, help. The defaults are chosen: what a busy machine's largest
 * honest user needs, times ten; QUOTA_UNLIMITED where the limit on all uids together is the guard.
 */
#define QUOTA_KINDS(X)                                                                             \
    X(SPACES, "spaces", 1024, "connected clients")                                                 \
    X(VMAS, "vmas", 1048576, "mappings in all spaces")                                             \
    X(OBJECTS, "objects", 65536, "objects with a page cache")                                      \
    X(FILES, "files", 65536, "open files")                                                         \
    X(REQUESTS, "requests", 65536, "page faults and calls that wait for an answer")                \
    X(CACHE, "cache_bytes", QUOTA_UNLIMITED, "bytes of page cache")

enum quota_kind {
#define X(name, key, value, help) QUOTA_##name,
    QUOTA_KINDS(X)
#undef X
        QUOTA_KIND_N
};

/* The key of the limit on the page cache of all uids together: mused --memory. */
#define QUOTA_KEY_MEMORY "memory_bytes"

/* Conditions: callers handle these. */
enum {
    QUOTA_E_EXCEEDED = 1, /* over the uid's limit */
    QUOTA_E_MEMORY,       /* cache bytes: within the uid's limit, over the one on all together */
    QUOTA_E_NO_KEY,       /* no limit is called that */
};

/* What one uid holds. */
struct quota_user {
    uint32_t uid;
    uint64_t used[QUOTA_KIND_N];
    uint64_t peak[QUOTA_KIND_N];
    uint64_t n_refused; /* charges that were not given, since the record exists */
};

struct quota_table {
    struct idmap users; /* uid -> struct quota_user, owned; those who hold something */
    uint64_t limit[QUOTA_KIND_N];
    uint64_t limit_memory_bytes;
    uint64_t total[QUOTA_KIND_N]; /* all uids together */
    uint64_t n_refused;
};

/** quota_init() - the default limits, nobody holds anything; no limit on memory */
void quota_init(struct quota_table *table);

/** quota_done() - free the records; what is still charged is forgotten */
void quota_done(struct quota_table *table);

/**
 * charge_take() - may @uid have @amount more? Then it is charged.
 * @kind:   what
 * @amount: how many, or bytes; 0 is always granted and makes no record
 *
 * Return: 0; QUOTA_E_EXCEEDED; QUOTA_E_MEMORY; -ENOMEM. Nothing is charged unless 0.
 */
MUST_CHECK int charge_take(struct quota_table *table, uint32_t uid, enum quota_kind kind,
                           uint64_t amount);

/** charge_drop() - give back what charge_take() gave; more than @uid holds is our bug (MUST) */
void charge_drop(struct quota_table *table, uint32_t uid, enum quota_kind kind, uint64_t amount);

/** quota_used() - what @uid holds now */
uint64_t quota_used(const struct quota_table *table, uint32_t uid, enum quota_kind kind);

/** quota_room() - how much more @uid would be given now, both limits looked at */
uint64_t quota_room(const struct quota_table *table, uint32_t uid, enum quota_kind kind);

/**
 * quota_limit_set() - change a limit; what is held already stays, also above it
 * @key:   a key of QUOTA_KINDS, or QUOTA_KEY_MEMORY; untrusted text
 * @value: QUOTA_UNLIMITED for none
 *
 * Return: 0 or QUOTA_E_NO_KEY.
 */
MUST_CHECK int quota_limit_set(struct quota_table *table, const char *key, uint64_t value);

/** quota_limit_get() - as quota_limit_set(). Return: 0 or QUOTA_E_NO_KEY. */
MUST_CHECK int quota_limit_get(const struct quota_table *table, const char *key,
                               uint64_t *ret_value);

/** quota_key() - the key of @kind; QUOTA_KIND_N: QUOTA_KEY_MEMORY; static */
const char *quota_key(enum quota_kind kind);

/** quota_help() - what @kind counts, for people; QUOTA_KIND_N: the memory limit; static */
const char *quota_help(enum quota_kind kind);

/** quota_next_user() - walk the records: cursor as of idmap_next(); borrowed; NULL: no more */
const struct quota_user *quota_next_user(const struct quota_table *table, size_t *cursor);

#endif
