/* SPDX-License-Identifier: BSD-3-Clause */
/* What there is, for the control socket: server, drivers, spaces, mappings, objects. Reads only. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/own.h"
#include "proto/hooks.h"
#include "server/config/config.h"
#include "server/driver/driver_link.h"
#include "server/flow/inspect_parts.h"
#include "server/flow/mm_lock.h"

#ifndef MUSE_VERSION
#define MUSE_VERSION "unknown"
#endif

/* Chosen: admin.c sends four parts a turn, so these are 128 entries, about a millisecond. */
#define ENTRIES_PER_PART 32u

static uint64_t list_count(const struct list *head)
{
    const struct list *pos;
    uint64_t n = 0;

    list_for_each(pos, head)
        n++;
    return n;
}

/* ---- status ---- */

static uint64_t count_living(const struct engine *engine)
{
    return list_count(&engine->driver_names);
}

int inspect_status(struct engine *engine, const struct admin_request *request,
                   struct doc **ret_document, const char **ret_why)
{
    const struct quota_table *quotas = &engine->quotas;
    struct doc *document = doc_object();
    uint64_t n_dirty;

    (void)request;
    (void)ret_why;
    doc_put_text(document, "version", MUSE_VERSION);
    doc_put_number(document, "pid", (uint64_t)getpid());
    doc_put_number(document, "uptime_ns", loop_now_ns() - engine->started_ns);
    doc_put_text(document, "rundir", engine->config->rundir);
    doc_put_text(document, "contract", engine->config->contract);
    doc_put_number(document, "drivers", count_living(engine));
    doc_put_number(document, "spaces", idmap_count(&engine->spaces));
    doc_put_number(document, "objects", idmap_count(&engine->objects));
    doc_put_number(document, "files", quotas->total[QUOTA_FILES]);
    doc_put_number(document, "vmas", quotas->total[QUOTA_VMAS]);
    doc_put_number(document, "requests", quotas->total[QUOTA_REQUESTS]);
    doc_put_number(document, "cache_bytes", quotas->total[QUOTA_CACHE]);
    doc_put_limit(document, "memory_limit_bytes", quotas->limit_memory_bytes);
    doc_put_number(document, "dirty_bytes", inspect_dirty_bytes(engine, &n_dirty));
    doc_put_number(document, "dirty_objects", n_dirty);
    doc_put_number(document, "faults", engine->stats.faults);
    doc_put_number(document, "maps", engine->stats.maps);
    doc_put_number(document, "unmaps", engine->stats.unmaps);
    doc_put_number(document, "refused", quotas->n_refused);
    *ret_document = document;
    return 0;
}

/* ---- drivers ---- */

static const char *const file_hook_names[] = {
#define X(name, text, bit) [bit] = (text),
    FILE_HOOKS(X)
#undef X
};

static const char *const vm_hook_names[] = {
#define X(name, text, bit) [bit] = (text),
    VM_HOOKS(X)
#undef X
};

#define DRIVER_COUNTS(X)                                                                           \
    X(prepared)                                                                                    \
    X(completed)                                                                                   \
    X(aborted)                                                                                     \
    X(in_flight)                                                                                   \
    X(opened)                                                                                      \
    X(released)                                                                                    \
    X(vm_open)                                                                                     \
    X(vm_close)                                                                                    \
    X(calls)                                                                                       \
    X(call_ns)                                                                                     \
    X(errors)                                                                                      \
    X(late)                                                                                        \
    X(faults_asked)                                                                                \
    X(pages_asked)                                                                                 \
    X(pages_supplied)                                                                              \
    X(faults_failed)

static struct doc *counts_document(const struct driver_counts *counts)
{
    struct doc *document = doc_object();

#define X(field) doc_put_number(document, #field, counts->field);
    DRIVER_COUNTS(X)
#undef X
    return document;
}

static struct doc *vm_ops_document(const struct driver *driver)
{
    struct doc *array = doc_array();

    for (uint32_t i = 0; i < driver->n_vm_ops; i++) {
        struct doc *document = doc_object();

        doc_put_number(document, "id", driver->vm_ops[i].id);
        doc_put_text(document, "name", driver->vm_ops[i].name);
        doc_put(document, "hooks",
                doc_name_bits(driver->vm_ops[i].hooks, vm_hook_names, N_ELEMENTS(vm_hook_names)));
        doc_add(array, document);
    }
    return array;
}

static struct doc *driver_document(const struct driver *driver)
{
    struct doc *document = doc_object();

    doc_put_number(document, "id", driver->id);
    doc_put_text(document, "name", driver->name);
    doc_put_bool(document, "alive", driver->alive);
    doc_put_bool(document, "recovering", driver->recovering);
    doc_put_bool(document, "read_only", driver->read_only);
    doc_put_number(document, "pid", (uint64_t)driver->pid);
    doc_put_number(document, "uid", driver->uid);
    doc_put_number(document, "age_ns", loop_now_ns() - driver->connected_ns);
    doc_put(document, "hooks",
            doc_name_bits(driver->file_hooks, file_hook_names, N_ELEMENTS(file_hook_names)));
    doc_put(document, "vm_ops", vm_ops_document(driver));
    doc_put_number(document, "hook_deadline_ns", driver->hook_deadline_ns);
    doc_put_number(document, "objects", idmap_count(&driver->objects));
    doc_put_number(document, "requests", list_count(&driver->requests));
    doc_put_number(document, "calls_in_flight",
                   driver->link ? idmap_count(&driver->link->calls) : 0);
    doc_put_number(document, "runs_in_flight", list_count(&driver->runs));
    doc_put(document, "counts", counts_document(&driver->n));
    doc_put_text(document, "last_error", driver->last_error[0] ? driver->last_error : NULL);
    return document;
}

int inspect_drivers(struct engine *engine, const struct admin_request *request,
                    struct doc **ret_document, const char **ret_why)
{
    struct doc *array = doc_array();
    const struct driver *driver;
    size_t cursor = 0;

    (void)request;
    (void)ret_why;
    while ((driver = idmap_next(&engine->drivers, &cursor)))
        doc_add(array, driver_document(driver));
    *ret_document = doc_object();
    doc_put(*ret_document, "drivers", array);
    return 0;
}

/* ---- spaces ---- */

static struct doc *space_document(const struct space *space)
{
    const struct vma_tree *tree = &space->aspace.vmas;
    struct doc *document = doc_object();

    doc_put_number(document, "id", space->id);
    doc_put_number(document, "pid", (uint64_t)space->pid);
    doc_put_number(document, "uid", space->uid);
    doc_put_number(document, "gid", space->gid);
    doc_put_text(document, "program", space->program);
    doc_put_number(document, "age_ns", loop_now_ns() - space->connected_ns);
    doc_put_bool(document, "dead", space->dead);
    doc_put_number(document, "arena_start", space->aspace.arena.start);
    doc_put_number(document, "arena_end", space->aspace.arena.end);
    doc_put_number(document, "vmas", vma_tree_count_kind(tree, VMA_MAPPED));
    doc_put_number(document, "vmas_pending", vma_tree_count_kind(tree, VMA_PENDING));
    doc_put_number(document, "vmas_quarantine", vma_tree_count_kind(tree, VMA_QUARANTINE));
    doc_put_number(document, "files", idmap_count(&space->files));
    doc_put_text(document, "locked_by", space->writer ? space->writer->what : NULL);
    doc_put_number(document, "lock_queue", list_count(&space->mm_queue));
    doc_put_number(document, "waiters", list_count(&space->waiters));
    doc_put_number(document, "parked", space->parked.n_waiters);
    doc_put_number(document, "faults", space->stats.faults);
    doc_put_number(document, "faults_joined", space->stats.faults_joined);
    doc_put_number(document, "poisoned", space->stats.poisoned);
    doc_put_number(document, "maps", space->stats.maps);
    doc_put_number(document, "unmaps", space->stats.unmaps);
    return document;
}

int inspect_spaces(struct engine *engine, const struct admin_request *request,
                   struct doc **ret_document, const char **ret_why)
{
    struct doc *array = doc_array();
    const struct space *space;
    size_t cursor = 0;

    (void)request;
    (void)ret_why;
    while ((space = idmap_next(&engine->spaces, &cursor)))
        doc_add(array, space_document(space));
    *ret_document = doc_object();
    doc_put(*ret_document, "spaces", array);
    return 0;
}

/* ---- maps ---- */

static struct doc *flags_document(uint32_t flags)
{
    /* by bit of enum vma_flag */
    static const char *const names[] = {"read",
                                        "write",
                                        "exec",
                                        "shared",
                                        "mayread",
                                        "maywrite",
                                        "mayexec",
                                        "mayshare",
                                        [10] = "pfnmap",
                                        [13] = "locked",
                                        [14] = "io",
                                        [15] = "seq_read",
                                        [16] = "rand_read",
                                        [17] = "dontcopy",
                                        [18] = "dontexpand",
                                        [21] = "noreserve",
                                        [25] = "wipeonfork",
                                        [26] = "dontdump",
                                        [28] = "mixedmap",
                                        [29] = "hugepage",
                                        [30] = "nohugepage"};

    return doc_name_bits(flags, names, N_ELEMENTS(names));
}

static void put_mapping(struct doc *document, const struct vma *vma)
{
    const struct object *object = vma_object(vma);
    const char perms[] = {(vma->flags & VMF_READ) ? 'r' : '-', (vma->flags & VMF_WRITE) ? 'w' : '-',
                          (vma->flags & VMF_EXEC) ? 'x' : '-',
                          (vma->flags & VMF_MAYSHARE) ? 's' : 'p', '\0'};

    doc_put_text(document, "perms", perms);
    doc_put_number(document, "pgoff", vma->pgoff);
    doc_put(document, "flags", flags_document(vma->flags));
    doc_put_text(document, "object", object ? object->name : NULL);
    doc_put_text(document, "name", vma->name && vma->name->text[0] ? vma->name->text : NULL);
    doc_put_number(document, "object_id", object ? object->id : 0);
    doc_put_number(document, "file_id", vma->file ? vma_file(vma)->id : 0);
    doc_put_number(document, "vm_ops", vma->ops_id);
    doc_put_bool(document, "direct", vma->direct);
    doc_put_bool(document, "graduated", vma->graduated);
    doc_put_bool(document, "write_locked", vma->write_locked);
    doc_put_bool(document, "outside_arena", vma->outside_arena);
    doc_put_bool(document, "tracks_writes", vma->tracks_writes);
    doc_put_bool(document, "page_mkwrite", vma->has_mkwrite);
    doc_put_bool(document, "access", vma->has_access);
    doc_put_number(document, "n_faults", vma->n_faults);
}

struct doc *inspect_vma_document(const struct vma *vma)
{
    struct doc *document = doc_object();

    doc_put_number(document, "start", vma->start);
    doc_put_number(document, "end", vma->end);
    doc_put_number(document, "id", vma->id);
    doc_put_text(document, "state", vma_kind_name(vma->kind));
    if (vma->kind == VMA_MAPPED)
        put_mapping(document, vma);
    return document;
}

struct space *inspect_find_space(const struct engine *engine, const char *text)
{
    char *end;
    unsigned long long id;

    if (text[0] < '0' || text[0] > '9')
        return NULL;
    id = strtoull(text, &end, 10);
    return *end == '\0' ? idmap_get(&engine->spaces, id) : NULL;
}

/* The mappings from cursor->from on. Return: are there others? Then the cursor has moved. */
static bool maps_part(const struct space *space, struct inspect_cursor *cursor, struct doc *array)
{
    const struct vma *vma;
    unsigned n = 0;

    vma_for_each_in(vma, &space->aspace.vmas, cursor->from, UINT64_MAX) {
        if (n++ == ENTRIES_PER_PART)
            break;
        doc_add(array, inspect_vma_document(vma));
    }
    if (vma)
        cursor->from = vma->start;
    return vma != NULL;
}

/* @array: taken. Return: as inspect_maps(). */
static int begin_long(struct doc *document, const char *key, struct doc *array, bool more,
                      char **ret_text, const char **ret_why)
{
    int r;

    doc_put(document, key, array);
    r = doc_take_begin(document, more, ret_text);
    if (r < 0)
        *ret_why = "the server is out of memory";
    return r < 0 ? r : more;
}

int inspect_maps(const struct engine *engine, const struct admin_request *request,
                 struct inspect_cursor *cursor, char **ret_text, const char **ret_why)
{
    const struct space *space = inspect_find_space(engine, request->args[0]);
    struct doc *document, *array;

    if (!space) {
        *ret_why = "no space has that number";
        return -ENOENT;
    }
    cursor->space_id = space->id;
    document = doc_object();
    doc_put_number(document, "space", space->id);
    doc_put_number(document, "pid", (uint64_t)space->pid);
    doc_put_text(document, "program", space->program);
    array = doc_array();
    return begin_long(document, "maps", array, maps_part(space, cursor, array), ret_text, ret_why);
}

/* ---- objects ---- */

void inspect_put_writeback(struct doc *document, const struct object *object)
{
    const struct object_wb *wb = &object->wb;
    const bool is_held = list_is_linked(&wb->dirty);
    const uint64_t now_ns = loop_now_ns();

    doc_put_number(document, "dirty_pages", object->pages.n_dirty);
    doc_put_number(document, "dirty_bytes", object->pages.n_dirty << object->page_shift);
    doc_put_limit(document, "dirty_age_ns", is_held ? now_ns - wb->dirty_since_ns : UINT64_MAX);
    doc_put_number(document, "written_pages", wb->n_written);
    doc_put_number(document, "settling_runs", wb->n_settling);
    doc_put_number(document, "writeback_runs", wb->n_runs);
    doc_put_number(document, "writeback_errors", wb->error_seq);
    doc_put_number(document, "writeback_errno", (uint64_t)wb->error);
    doc_put_text(document, "writeback_error", wb->error ? strerrorname_np(wb->error) : NULL);
}

uint64_t inspect_dirty_bytes(const struct engine *engine, uint64_t *ret_n_objects)
{
    const struct list *pos;
    uint64_t n_bytes = 0;

    *ret_n_objects = 0;
    list_for_each(pos, &engine->dirty) {
        const struct object *object = CONTAINER_OF_CONST(pos, struct object, wb.dirty);

        n_bytes += object->pages.n_dirty << object->page_shift;
        (*ret_n_objects)++;
    }
    return n_bytes;
}

static struct doc *object_document(const struct object *object)
{
    struct doc *document = doc_object();

    doc_put_number(document, "id", object->id);
    doc_put_text(document, "name", object->name);
    doc_put_text(document, "driver", object->driver->name);
    doc_put_number(document, "key", object->key);
    doc_put_number(document, "uid", object->uid);
    doc_put_number(document, "size_bytes", object->size_bytes);
    doc_put_number(document, "page_bytes", object_page_bytes(object));
    doc_put_number(document, "resident_bytes", backing_resident_bytes(&object->backing));
    doc_put_number(document, "pages", object->pages.n_pages);
    doc_put_number(document, "valid_pages", object->pages.n_valid);
    inspect_put_writeback(document, object);
    doc_put_number(document, "filling_pages", object->pages.n_filling);
    doc_put_number(document, "poisoned_pages", object->pages.n_poisoned);
    doc_put_number(document, "runs", object->runs.n_runs);
    doc_put_number(document, "waiters", object->runs.n_waiters);
    doc_put_number(document, "refs", object->n_refs);
    doc_put_number(document, "mappings", list_count(&object->mappings));
    doc_put_text(document, "source", object->source == OBJECT_EXTENTS ? "extents" : "fill");
    doc_put_number(document, "extents", object->n_extents);
    doc_put_bool(document, "lost", object->lost);
    doc_put_bool(document, "stuck", object->backing.is_stuck);
    doc_put_bool(document, "kept", object->kept != NULL);
    doc_put_number(document, "n_faults", object->n_faults);
    doc_put_number(document, "n_filled_pages", object->n_filled_pages);
    doc_put_number(document, "n_failures", object->n_failures);
    doc_put_number(document, "n_evicted_pages", object->n_evicted_pages);
    return document;
}

/* The next ones of cursor->ids. Return: whether there are others. */
static bool objects_part(const struct engine *engine, struct inspect_cursor *cursor,
                         struct doc *array)
{
    for (unsigned n = 0; n < ENTRIES_PER_PART && cursor->at < cursor->n_ids; n++) {
        const struct object *object = idmap_get(&engine->objects, cursor->ids[cursor->at++]);

        if (object)
            doc_add(array, object_document(object));
    }
    return cursor->at < cursor->n_ids;
}

int inspect_objects(const struct engine *engine, struct inspect_cursor *cursor, char **ret_text,
                    const char **ret_why)
{
    struct doc *array;
    const struct object *object;
    size_t i = 0;

    cursor->ids = calloc(idmap_count(&engine->objects) + 1, sizeof(*cursor->ids));
    if (!cursor->ids) {
        *ret_why = "the server is out of memory";
        return -ENOMEM;
    }
    while ((object = idmap_next(&engine->objects, &i)))
        cursor->ids[cursor->n_ids++] = object->id;
    array = doc_array();
    return begin_long(doc_object(), "objects", array, objects_part(engine, cursor, array), ret_text,
                      ret_why);
}

/* ---- documents in parts ---- */

int inspect_more(struct engine *engine, struct inspect_cursor *cursor, char **ret_text)
{
    const struct space *space = idmap_get(&engine->spaces, cursor->space_id);
    struct doc *array = doc_array();
    bool more = false;
    int r;

    if (cursor->is_evict)
        more = inspect_evict_part(engine, cursor, array);
    else if (space)
        more = maps_part(space, cursor, array);
    else if (cursor->ids)
        more = objects_part(engine, cursor, array);
    r = doc_take_rest(array, more, ret_text);
    return r < 0 ? r : more;
}

void inspect_cursor_done(struct inspect_cursor *cursor)
{
    free(cursor->ids);
    *cursor = (struct inspect_cursor){.ids = NULL};
}
