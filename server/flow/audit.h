/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the two files of the audit share: audit_count.c counts everything that can be reached from
 * the engine again, inspect_audit.c compares. Nobody else includes it.
 *
 * Some holders cannot be reached: calls under way keep files and objects to themselves. So what is
 * held may be more than what is found as long as anything is under way, never less; while all is
 * quiet it is the same.
 */
#ifndef MUSE_SERVER_FLOW_AUDIT_H
#define MUSE_SERVER_FLOW_AUDIT_H

#include "server/flow/inspect_parts.h"

/* What was found of one thing. */
struct audit_file {
    const struct file *file;
    uint64_t n_vmas, n_requests;
};

struct audit_object {
    const struct object *object;
    uint64_t n_files, n_vmas;
};

struct audit_driver {
    const struct driver *driver;
    uint64_t n_files, n_counted; /* counted: map requests after prepare, before complete or abort */
};

struct audit_user {
    uint32_t uid;
    uint64_t found[QUOTA_KIND_N];
    uint64_t vmas_slack; /* VMAs that unmaps under way may hold in reserve */
};

struct audit {
    struct engine *engine;
    struct idmap files, objects, drivers, users; /* id or uid -> owned records of the above */
    uint64_t n_vmas, n_runs, n_waiters, n_requests, n_calls;
    bool no_memory;
    bool quiet; /* nothing is under way */
    /* inspect_audit.c */
    struct doc *violations;
    uint64_t n_violations;
    uint64_t pages_left; /* that may still be counted again */
    uint64_t n_pages_counted, n_pages_skipped;
    uint64_t n_dirty, dirty_bytes; /* objects that are held for dirty pages; in these */
};

/** audit_count() - fill in the records. Return: 0 or -ENOMEM. */
MUST_CHECK int audit_count(struct audit *audit);

/** audit_done() - free the records */
void audit_done(struct audit *audit);

#endif
