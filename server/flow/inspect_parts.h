/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of the control socket share: inspect.c (connections, limits, trace),
 * inspect_show.c (things), inspect_work.c (what is under way), inspect_audit.c. Nobody else
 * includes it.
 *
 * Documents are JSON: keys in snake_case, sizes in bytes, times in ns. A time called _ns alone is a
 * duration; at_ns is CLOCK_MONOTONIC. null stands for "none" and "unlimited".
 */
#ifndef MUSE_SERVER_FLOW_INSPECT_PARTS_H
#define MUSE_SERVER_FLOW_INSPECT_PARTS_H

#include <jansson.h>

#include "server/admin/admin.h"
#include "server/flow/engine.h"

/**
 * inspect_fn() - make the document that answers a command
 * @request:      its arguments are as many as the command takes, their text is not trusted
 * @ret_document: the caller's
 *
 * Return: 0; -errno and a static sentence in @ret_why. Without memory parts of a document may be
 * missing.
 */
typedef int inspect_fn(struct engine *engine, const struct admin_request *request,
                       json_t **ret_document, const char **ret_why);

inspect_fn inspect_status, inspect_drivers, inspect_spaces, inspect_maps, inspect_objects,
    inspect_txns, inspect_faults, inspect_stats, inspect_audit, inspect_limits;

/* ---- inspect_json.c ---- */

/** json_put() - add a member; takes @value, NULL (no memory) leaves it out */
void json_put(json_t *object, const char *key, json_t *value);

/** json_put_number() - what is larger than JSON's integers here (INT64_MAX) becomes that */
void json_put_number(json_t *object, const char *key, uint64_t value);

/** json_put_limit() - as json_put_number(), UINT64_MAX is null */
void json_put_limit(json_t *object, const char *key, uint64_t value);

void json_put_bool(json_t *object, const char *key, bool value);

/** json_text() - text of any origin: what is not UTF-8 becomes \xNN; NULL is null. Return: NULL
 * without memory. */
json_t *json_text(const char *text);

/** json_put_text() - a member that is json_text() */
void json_put_text(json_t *object, const char *key, const char *text);

/** json_add() - append to an array; takes @value, NULL leaves it out */
void json_add(json_t *array, json_t *value);

/** json_name_bits() - an array with the names of the set bits. @names: by bit; NULL: not named */
json_t *json_name_bits(uint64_t bits, const char *const *names, unsigned n_names);

#endif
