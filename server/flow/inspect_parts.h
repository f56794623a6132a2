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

/* Where a document that comes in parts goes on. All zero: there is none. */
struct inspect_cursor {
    uint64_t space_id; /* maps of this space; 0: objects */
    uint64_t from;     /* maps: address; evict: page */
    uint64_t *ids;     /* objects, evict: owned; those there were at the beginning */
    size_t n_ids, at;
    bool is_evict;
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

inspect_fn inspect_status, inspect_drivers, inspect_spaces, inspect_txns, inspect_faults,
    inspect_stats, inspect_audit, inspect_limits, inspect_why, inspect_blocked;

/**
 * inspect_maps(), inspect_objects() - as inspect_fn(), or the beginning of the document
 * @cursor:   all zero; to be freed with inspect_cursor_done() whatever the result is
 * @ret_text: the text itself, the caller's
 *
 * Return: 0; 1 the rest comes from inspect_more(); -ENOENT, -ENOMEM.
 */
MUST_CHECK int inspect_maps(const struct engine *engine, const struct admin_request *request,
                            struct inspect_cursor *cursor, char **ret_text, const char **ret_why);
MUST_CHECK int inspect_objects(const struct engine *engine, struct inspect_cursor *cursor,
                               char **ret_text, const char **ret_why);

/**
 * inspect_evict() - the same, but it drops clean pages, a turn's worth in each part
 *
 * Return: 0; 1 the rest comes from inspect_more(); -ENOENT no object is called that; -ENOMEM.
 */
MUST_CHECK int inspect_evict(struct engine *engine, const struct admin_request *request,
                             struct inspect_cursor *cursor, char **ret_text, const char **ret_why);

/** inspect_evict_part() - a turn's worth. @array: gets what went of one object; several elements
 * may be about the same. Return: whether there is more. */
bool inspect_evict_part(struct engine *engine, struct inspect_cursor *cursor, struct doc *array);

/**
 * inspect_more() - the next part, as things are now
 *
 * Return: 0 that was the last; 1 there is more; -ENOMEM. A space that has gone has no more
 * mappings, objects that have gone are left out, new ones too.
 */
MUST_CHECK int inspect_more(struct engine *engine, struct inspect_cursor *cursor, char **ret_text);

/* Pieces of documents that several commands show. inspect_show.c, inspect_work.c */

/** inspect_find_space() - by the number an admin wrote. Return: borrowed; NULL: there is none. */
struct space *inspect_find_space(const struct engine *engine, const char *text);

/** inspect_vma_document() - a mapping or placeholder */
struct doc *inspect_vma_document(const struct vma *vma);

/** inspect_put_writeback() - what of @object is dirty, was written back, and failed */
void inspect_put_writeback(struct doc *document, const struct object *object);

/** inspect_dirty_bytes() - of all objects together. @ret_n_objects: that have any */
uint64_t inspect_dirty_bytes(const struct engine *engine, uint64_t *ret_n_objects);

/** inspect_run_document() - pages being got */
struct doc *inspect_run_document(const struct run *run);

/** inspect_cursor_done() - free what it owns; all zero again */
void inspect_cursor_done(struct inspect_cursor *cursor);

#endif
