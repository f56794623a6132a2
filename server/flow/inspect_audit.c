/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * musectl audit: does what the server believes to hold equal what can be counted? Compares the
 * counts of audit_count.c with references, charges and the hooks' promise, and validates the
 * structures one by one. Changes nothing.
 *
 * Costs as much as there are mappings, files and pages; of page states at most AUDIT_PAGES_MAX are
 * counted again, so that faults do not wait for long.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "common/base/own.h"
#include "server/flow/audit.h"
#include "server/flow/evict_flow.h"
#include "server/flow/recover_flow.h"
#include "server/flow/writeback.h"

/* Chosen: some 10 ms of looking at bytes; 64 GiB in 4 KiB pages. */
#define AUDIT_PAGES_MAX      (UINT64_C(1) << 24)
/* More are only counted. */
#define AUDIT_VIOLATIONS_MAX 100u

__attribute__((format(printf, 2, 3))) static void violation(struct audit *audit, const char *format,
                                                            ...)
{
    char text[512];
    va_list args;

    audit->n_violations++;
    if (audit->n_violations > AUDIT_VIOLATIONS_MAX)
        return;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    doc_add_text(audit->violations, text);
}

/* @held may be more than @found while something is under way, see audit.h. */
static bool is_explained(const struct audit *audit, uint64_t held, uint64_t found)
{
    return held == found || (held > found && !audit->quiet);
}

/* ---- the hooks' promise ---- */

static struct doc *check_driver(struct audit *audit, const struct audit_driver *found)
{
    const struct driver *driver = found->driver;
    const struct driver_counts *n = &driver->n;
    struct doc *document = doc_object();

    doc_put_text(document, "name", driver->name);
    doc_put_number(document, "id", driver->id);
    doc_put_bool(document, "alive", driver->alive);
    doc_put_number(document, "prepared", n->prepared);
    doc_put_number(document, "completed", n->completed);
    doc_put_number(document, "aborted", n->aborted);
    doc_put_number(document, "in_flight", n->in_flight);
    doc_put_number(document, "in_flight_found", found->n_counted);
    doc_put_number(document, "files", n->opened - n->released);
    if (!is_explained(audit, n->opened - n->released, found->n_files)) {
        violation(audit, "driver %s: %" PRIu64 " files are open, %" PRIu64 " are known",
                  driver->name, n->opened - n->released, found->n_files);
    }
    if (!driver->alive)
        return document; /* nothing is promised to the dead */
    if (n->prepared != n->completed + n->aborted + n->in_flight) {
        violation(audit,
                  "driver %s: prepared %" PRIu64 " is not completed %" PRIu64 " + aborted %" PRIu64
                  " + in flight %" PRIu64,
                  driver->name, n->prepared, n->completed, n->aborted, n->in_flight);
    }
    if (n->in_flight != found->n_counted) {
        violation(audit, "driver %s: in flight %" PRIu64 ", but %" PRIu64 " requests are",
                  driver->name, n->in_flight, found->n_counted);
    }
    return document;
}

static struct doc *check_drivers(struct audit *audit)
{
    const struct audit_driver *found;
    struct doc *array = doc_array();
    size_t cursor = 0;

    while ((found = idmap_next(&audit->drivers, &cursor)))
        doc_add(array, check_driver(audit, found));
    return array;
}

/* ---- spaces ---- */

static void check_vma(struct audit *audit, const struct space *space, const struct vma *vma)
{
    const struct file *file = vma_file(vma);

    if (vma->kind != VMA_MAPPED) {
        if (vma->kind == VMA_QUARANTINE && (vma->file || vma->object))
            violation(audit, "space %" PRIu64 ": quarantined range %" PRIu64 " holds a file",
                      space->id, vma->id);
        return;
    }
    if (vma_space(vma) != space)
        violation(audit, "space %" PRIu64 ": mapping %" PRIu64 " belongs to another one", space->id,
                  vma->id);
    if (vma_is_anon(vma) ? file != NULL || !vma->direct : file->object != vma->object)
        violation(audit, "space %" PRIu64 ": mapping %" PRIu64 " shows not its file's object",
                  space->id, vma->id);
    if (vma->write_locked && !space->writer)
        violation(audit, "space %" PRIu64 ": mapping %" PRIu64 " is locked by nobody", space->id,
                  vma->id);
}

static void check_space(struct audit *audit, const struct space *space)
{
    const char *why = aspace_validate(&space->aspace);
    const struct vma *vma;

    if (why)
        violation(audit, "space %" PRIu64 ": %s", space->id, why);
    why = run_table_validate(&space->parked);
    if (why)
        violation(audit, "space %" PRIu64 ": parked faults: %s", space->id, why);
    if (space->uffd_open && space->uffd.fd < 0)
        violation(audit, "space %" PRIu64 ": its userfaultfd is open and closed", space->id);
    if (space->session && space->dead)
        violation(audit, "space %" PRIu64 ": dead, and connected", space->id);
    if (!space->writer && !list_is_empty(&space->mm_queue))
        violation(audit, "space %" PRIu64 ": requests wait for a lock that is free", space->id);
    vma_for_each(vma, &space->aspace.vmas)
        check_vma(audit, space, vma);
}

/* ---- objects and files ---- */

static void check_runs(struct audit *audit, const struct object *object)
{
    const struct run *run;
    uint64_t n_pages = 0;

    for (run = run_table_find_next(&object->runs, 0); run; run = run_next(run)) {
        const uint64_t n_filling =
            page_table_count(&object->pages, run->pages, PAGE_BIT(PAGE_FILLING));

        n_pages += range_len(run->pages);
        if (n_filling != range_len(run->pages)) {
            violation(audit,
                      "object %s: run %" PRIu64 " of %" PRIu64 " pages has %" PRIu64
                      " that are filling",
                      object->name, run->id, range_len(run->pages), n_filling);
        }
        if (run->owner != object || !list_is_linked(&run->owner_link))
            violation(audit, "object %s: run %" PRIu64 " is not on its driver's list", object->name,
                      run->id);
    }
    if (n_pages != object->pages.n_filling) {
        violation(audit, "object %s: %" PRIu64 " pages are filling, %" PRIu64 " are in runs",
                  object->name, object->pages.n_filling, n_pages);
    }
}

static void check_pages(struct audit *audit, const struct object *object)
{
    const uint64_t n_pages = object->pages.n_pages;
    const char *why;

    if (n_pages > audit->pages_left) {
        audit->n_pages_skipped += n_pages;
        return;
    }
    audit->pages_left -= n_pages;
    audit->n_pages_counted += n_pages;
    why = page_table_validate(&object->pages);
    if (why)
        violation(audit, "object %s: pages: %s", object->name, why);
    if (!evict_flow_covers(object))
        violation(audit, "object %s: some of its pages could never be evicted", object->name);
}

static void check_object(struct audit *audit, const struct audit_object *found)
{
    const struct object *object = found->object;
    const uint64_t n_held = writeback_n_refs(object) + recover_n_refs(object);
    const uint64_t n_refs = found->n_files + found->n_vmas + object->runs.n_runs + n_held;
    const char *why = run_table_validate(&object->runs);
    const struct list *pos;
    uint64_t n_mappings = 0;

    if (why)
        violation(audit, "object %s: runs: %s", object->name, why);
    why = writeback_validate(object);
    if (why)
        violation(audit, "object %s: %s", object->name, why);
    audit->n_dirty += list_is_linked(&object->wb.dirty);
    check_pages(audit, object);
    check_runs(audit, object);
    list_for_each(pos, &object->mappings)
        n_mappings++;
    if (n_mappings != found->n_vmas) {
        violation(audit, "object %s: lists %" PRIu64 " mappings, there are %" PRIu64, object->name,
                  n_mappings, found->n_vmas);
    }
    if (!is_explained(audit, object->n_refs, n_refs)) {
        violation(audit,
                  "object %s: %" PRIu64 " references, but %" PRIu64 " files + %" PRIu64
                  " mappings + %" PRIu64 " runs + %" PRIu64 " for what is dirty",
                  object->name, object->n_refs, found->n_files, found->n_vmas, object->runs.n_runs,
                  n_held);
    }
    if (idmap_get(&audit->engine->objects, object->id) != object)
        violation(audit, "object %s: is used, but not listed", object->name);
}

/* After all objects: those in the list of dirty ones are just those that say so. */
static void check_dirty(struct audit *audit)
{
    const struct list *pos;
    uint64_t n = 0;

    list_for_each(pos, &audit->engine->dirty) {
        const struct object *object = CONTAINER_OF_CONST(pos, struct object, wb.dirty);

        n++;
        audit->dirty_bytes += object->pages.n_dirty << object->page_shift;
    }
    if (n != audit->n_dirty) {
        violation(audit, "%" PRIu64 " objects are listed as dirty, %" PRIu64 " are held as such", n,
                  audit->n_dirty);
    }
}

static void check_file(struct audit *audit, const struct audit_file *found)
{
    const struct file *file = found->file;
    const uint64_t n_refs = file->n_holders + found->n_vmas + found->n_requests;

    if (!is_explained(audit, file->n_refs, n_refs)) {
        violation(audit,
                  "file %" PRIu64 ": %" PRIu64 " references, but %" PRIu64 " holders were found",
                  file->id, file->n_refs, n_refs);
    }
}

/* ---- charges ---- */

/* Return: how much may be charged that was not found. */
static uint64_t slack_of(const struct audit *audit, const struct audit_user *user,
                         enum quota_kind kind)
{
    switch (kind) {
    case QUOTA_VMAS:
        return user->vmas_slack;
    case QUOTA_FILES:
    case QUOTA_REQUESTS:
        return audit->quiet ? 0 : UINT64_MAX; /* calls under way */
    case QUOTA_SPACES:
    case QUOTA_OBJECTS:
    case QUOTA_CACHE:
    case QUOTA_KIND_N:
        break;
    }
    return 0;
}

static struct doc *check_user(struct audit *audit, const struct audit_user *user)
{
    struct doc *document = doc_object();

    doc_put_number(document, "uid", user->uid);
    for (unsigned i = 0; i < QUOTA_KIND_N; i++) {
        const enum quota_kind kind = (enum quota_kind)i;
        const uint64_t used = quota_used(&audit->engine->quotas, user->uid, kind);

        doc_put_number(document, quota_key(kind), used);
        if (used < user->found[i] || used - user->found[i] > slack_of(audit, user, kind)) {
            violation(audit, "uid %u: %" PRIu64 " %s are charged, %" PRIu64 " were found",
                      user->uid, used, quota_key(kind), user->found[i]);
        }
    }
    return document;
}

static struct doc *check_users(struct audit *audit)
{
    const struct quota_table *quotas = &audit->engine->quotas;
    uint64_t total[QUOTA_KIND_N] = {0};
    const struct audit_user *user;
    struct doc *array = doc_array();
    size_t cursor = 0;

    while ((user = idmap_next(&audit->users, &cursor))) {
        doc_add(array, check_user(audit, user));
        for (unsigned kind = 0; kind < QUOTA_KIND_N; kind++)
            total[kind] += quota_used(quotas, user->uid, (enum quota_kind)kind);
    }
    for (unsigned kind = 0; kind < QUOTA_KIND_N; kind++) {
        if (total[kind] != quotas->total[kind]) {
            violation(audit, "all uids: %s: %" PRIu64 " in total, but the sum is %" PRIu64,
                      quota_key((enum quota_kind)kind), quotas->total[kind], total[kind]);
        }
    }
    return array;
}

/* ---- all of it ---- */

static struct doc *compare(struct audit *audit)
{
    struct doc *document = doc_object();
    const char *why = evict_flow_validate(audit->engine);
    const void *thing;
    size_t cursor = 0;

    audit->violations = doc_array();
    if (why)
        violation(audit, "eviction: %s", why);
    audit->pages_left = AUDIT_PAGES_MAX;
    doc_put(document, "drivers", check_drivers(audit));
    doc_put(document, "users", check_users(audit));
    while ((thing = idmap_next(&audit->engine->spaces, &cursor)))
        check_space(audit, thing);
    cursor = 0;
    while ((thing = idmap_next(&audit->objects, &cursor)))
        check_object(audit, thing);
    check_dirty(audit);
    cursor = 0;
    while ((thing = idmap_next(&audit->files, &cursor)))
        check_file(audit, thing);
    doc_put_bool(document, "ok", audit->n_violations == 0);
    doc_put_bool(document, "quiet", audit->quiet);
    doc_put_number(document, "spaces", idmap_count(&audit->engine->spaces));
    doc_put_number(document, "objects", idmap_count(&audit->objects));
    doc_put_number(document, "files", idmap_count(&audit->files));
    doc_put_number(document, "vmas", audit->n_vmas);
    doc_put_number(document, "runs", audit->n_runs);
    doc_put_number(document, "waiters", audit->n_waiters);
    doc_put_number(document, "requests", audit->n_requests);
    doc_put_number(document, "dirty_objects", audit->n_dirty);
    doc_put_number(document, "dirty_bytes", audit->dirty_bytes);
    doc_put_number(document, "calls", audit->n_calls);
    doc_put_number(document, "pages_counted", audit->n_pages_counted);
    doc_put_number(document, "pages_skipped", audit->n_pages_skipped);
    doc_put_number(document, "n_violations", audit->n_violations);
    doc_put(document, "violations", audit->violations);
    return document;
}

int inspect_audit(struct engine *engine, const struct admin_request *request,
                  struct doc **ret_document, const char **ret_why)
{
    CLEAN(audit_done) struct audit audit = {.engine = engine};
    int r = audit_count(&audit);

    (void)request;
    if (r < 0) {
        *ret_why = "the server is out of memory";
        return r;
    }
    *ret_document = compare(&audit);
    return 0;
}
