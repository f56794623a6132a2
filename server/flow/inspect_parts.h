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

#include "server/admin/admin.h"
#include "server/flow/doc.h"
#include "server/flow/engine.h"

/* Where a long list of mappings goes on. */
struct maps_cursor {
    uint64_t space_id;
    uint64_t from; /* address */
};

/**
 * inspect_fn() - make the document that answers a command
 * @request:      its arguments are as many as the command takes, their text is not trusted
 * @ret_document: the caller's
 *
 * Return: 0; -errno and a static sentence in @ret_why. Without memory parts of a document may be
 * missing.
 */
typedef int inspect_fn(struct engine *engine, const struct admin_request *request,
                       struct doc **ret_document, const char **ret_why);

inspect_fn inspect_status, inspect_drivers, inspect_spaces, inspect_objects, inspect_txns,
    inspect_faults, inspect_stats, inspect_audit, inspect_limits;

/**
 * inspect_maps() - as inspect_fn(), or the beginning of the document
 * @ret_text: the text itself, the caller's
 * @cursor:   written when the result is 1
 *
 * Return: 0; 1 the rest comes from inspect_maps_more(); -ENOENT, -ENOMEM.
 */
MUST_CHECK int inspect_maps(const struct engine *engine, const struct admin_request *request,
                            struct maps_cursor *cursor, char **ret_text, const char **ret_why);

/**
 * inspect_maps_more() - the next part; what was mapped or unmapped meanwhile is shown as it is now
 *
 * Return: as inspect_maps(); a space that has gone has no more mappings.
 */
MUST_CHECK int inspect_maps_more(const struct engine *engine, struct maps_cursor *cursor,
                                 char **ret_text);

#endif
