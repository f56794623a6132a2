/* SPDX-License-Identifier: BSD-3-Clause */
/* What there is, for the control socket: the server, drivers, spaces, mappings, objects. Reads
 * only. */
#include <errno.h>
#include <stdlib.h>
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
                   json_t **ret_document, const char **ret_why)
{
    const struct quota_table *quotas = &engine->quotas;
    json_t *document = json_object();

    (void)request;
    (void)ret_why;
    json_put_text(document, "version", MUSE_VERSION);
    json_put_number(document, "pid", (uint64_t)getpid());
    json_put_number(document, "uptime_ns", loop_now_ns() - engine->started_ns);
    json_put_text(document, "rundir", engine->config->rundir);
    json_put_text(document, "contract", engine->config->contract);
    json_put_number(document, "drivers", count_living(engine));
    json_put_number(document, "spaces", idmap_count(&engine->spaces));
    json_put_number(document, "objects", idmap_count(&engine->objects));
    json_put_number(document, "files", quotas->total[QUOTA_FILES]);
    json_put_number(document, "vmas", quotas->total[QUOTA_VMAS]);
    json_put_number(document, "requests", quotas->total[QUOTA_REQUESTS]);
    json_put_number(document, "cache_bytes", quotas->total[QUOTA_CACHE]);
    json_put_limit(document, "memory_limit_bytes", quotas->limit_memory_bytes);
    json_put_number(document, "faults", engine->stats.faults);
    json_put_number(document, "maps", engine->stats.maps);
    json_put_number(document, "unmaps", engine->stats.unmaps);
    json_put_number(document, "refused", quotas->n_refused);
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

static json_t *counts_document(const struct driver_counts *counts)
{
    json_t *document = json_object();

#define X(field) json_put_number(document, #field, counts->field);
    DRIVER_COUNTS(X)
#undef X
    return document;
}

static json_t *vm_ops_document(const struct driver *driver)
{
    json_t *array = json_array();

    for (uint32_t i = 0; i < driver->n_vm_ops; i++) {
        json_t *document = json_object();

        json_put_number(document, "id", driver->vm_ops[i].id);
        json_put_text(document, "name", driver->vm_ops[i].name);
        json_put(document, "hooks",
                 json_name_bits(driver->vm_ops[i].hooks, vm_hook_names, N_ELEMENTS(vm_hook_names)));
        json_add(array, document);
    }
    return array;
}

static json_t *driver_document(const struct driver *driver)
{
    json_t *document = json_object();

    json_put_number(document, "id", driver->id);
    json_put_text(document, "name", driver->name);
    json_put_bool(document, "alive", driver->alive);
    json_put_number(document, "pid", (uint64_t)driver->pid);
    json_put_number(document, "uid", driver->uid);
    json_put_number(document, "age_ns", loop_now_ns() - driver->connected_ns);
    json_put(document, "hooks",
             json_name_bits(driver->file_hooks, file_hook_names, N_ELEMENTS(file_hook_names)));
    json_put(document, "vm_ops", vm_ops_document(driver));
    json_put_number(document, "hook_deadline_ns", driver->hook_deadline_ns);
    json_put_number(document, "objects", idmap_count(&driver->objects));
    json_put_number(document, "requests", list_count(&driver->requests));
    json_put_number(document, "calls_in_flight",
                    driver->link ? idmap_count(&driver->link->calls) : 0);
    json_put_number(document, "runs_in_flight", list_count(&driver->runs));
    json_put(document, "counts", counts_document(&driver->n));
    json_put_text(document, "last_error", driver->last_error[0] ? driver->last_error : NULL);
    return document;
}

int inspect_drivers(struct engine *engine, const struct admin_request *request,
                    json_t **ret_document, const char **ret_why)
{
    json_t *array = json_array();
    const struct driver *driver;
    size_t cursor = 0;

    (void)request;
    (void)ret_why;
    while ((driver = idmap_next(&engine->drivers, &cursor)))
        json_add(array, driver_document(driver));
    *ret_document = json_object();
    json_put(*ret_document, "drivers", array);
    return 0;
}

/* ---- spaces ---- */

static json_t *space_document(const struct space *space)
{
    const struct vma_tree *tree = &space->aspace.vmas;
    json_t *document = json_object();

    json_put_number(document, "id", space->id);
    json_put_number(document, "pid", (uint64_t)space->pid);
    json_put_number(document, "uid", space->uid);
    json_put_number(document, "gid", space->gid);
    json_put_text(document, "program", space->program);
    json_put_number(document, "age_ns", loop_now_ns() - space->connected_ns);
    json_put_bool(document, "dead", space->dead);
    json_put_number(document, "arena_start", space->aspace.arena.start);
    json_put_number(document, "arena_end", space->aspace.arena.end);
    json_put_number(document, "vmas", vma_tree_count_kind(tree, VMA_MAPPED));
    json_put_number(document, "vmas_pending", vma_tree_count_kind(tree, VMA_PENDING));
    json_put_number(document, "vmas_quarantine", vma_tree_count_kind(tree, VMA_QUARANTINE));
    json_put_number(document, "files", idmap_count(&space->files));
    json_put_text(document, "locked_by", space->writer ? space->writer->what : NULL);
    json_put_number(document, "lock_queue", list_count(&space->mm_queue));
    json_put_number(document, "waiters", list_count(&space->waiters));
    json_put_number(document, "parked", space->parked.n_waiters);
    json_put_number(document, "faults", space->stats.faults);
    json_put_number(document, "faults_joined", space->stats.faults_joined);
    json_put_number(document, "poisoned", space->stats.poisoned);
    json_put_number(document, "maps", space->stats.maps);
    json_put_number(document, "unmaps", space->stats.unmaps);
    return document;
}

int inspect_spaces(struct engine *engine, const struct admin_request *request,
                   json_t **ret_document, const char **ret_why)
{
    json_t *array = json_array();
    const struct space *space;
    size_t cursor = 0;

    (void)request;
    (void)ret_why;
    while ((space = idmap_next(&engine->spaces, &cursor)))
        json_add(array, space_document(space));
    *ret_document = json_object();
    json_put(*ret_document, "spaces", array);
    return 0;
}

/* ---- maps ---- */

static json_t *flags_document(uint32_t flags)
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
                                        [26] = "dontdump",
                                        [28] = "mixedmap",
                                        [29] = "hugepage"};

    return json_name_bits(flags, names, N_ELEMENTS(names));
}

static void put_mapping(json_t *document, const struct vma *vma)
{
    const struct object *object = vma_object(vma);
    const char perms[] = {(vma->flags & VMF_READ) ? 'r' : '-', (vma->flags & VMF_WRITE) ? 'w' : '-',
                          (vma->flags & VMF_EXEC) ? 'x' : '-',
                          (vma->flags & VMF_MAYSHARE) ? 's' : 'p', '\0'};

    json_put_text(document, "perms", perms);
    json_put_number(document, "pgoff", vma->pgoff);
    json_put(document, "flags", flags_document(vma->flags));
    json_put_text(document, "object", object ? object->name : NULL);
    json_put_number(document, "object_id", object ? object->id : 0);
    json_put_number(document, "file_id", vma->file ? vma_file(vma)->id : 0);
    json_put_number(document, "vm_ops", vma->ops_id);
    json_put_bool(document, "direct", vma->direct);
    json_put_bool(document, "graduated", vma->graduated);
    json_put_bool(document, "write_locked", vma->write_locked);
    json_put_bool(document, "outside_arena", vma->outside_arena);
    json_put_number(document, "n_faults", vma->n_faults);
}

static json_t *vma_document(const struct vma *vma)
{
    json_t *document = json_object();

    json_put_number(document, "start", vma->start);
    json_put_number(document, "end", vma->end);
    json_put_number(document, "id", vma->id);
    json_put_text(document, "state", vma_kind_name(vma->kind));
    if (vma->kind == VMA_MAPPED)
        put_mapping(document, vma);
    return document;
}

static const struct space *find_space(const struct engine *engine, const char *text)
{
    char *end;
    unsigned long long id;

    if (text[0] < '0' || text[0] > '9')
        return NULL;
    id = strtoull(text, &end, 10);
    return *end == '\0' ? idmap_get(&engine->spaces, id) : NULL;
}

int inspect_maps(struct engine *engine, const struct admin_request *request, json_t **ret_document,
                 const char **ret_why)
{
    const struct space *space = find_space(engine, request->args[0]);
    const struct vma *vma;
    json_t *array;

    if (!space) {
        *ret_why = "no space has that number";
        return -ENOENT;
    }
    array = json_array();
    vma_for_each(vma, &space->aspace.vmas)
        json_add(array, vma_document(vma));
    *ret_document = json_object();
    json_put_number(*ret_document, "space", space->id);
    json_put_number(*ret_document, "pid", (uint64_t)space->pid);
    json_put_text(*ret_document, "program", space->program);
    json_put(*ret_document, "maps", array);
    return 0;
}

/* ---- objects ---- */

static json_t *object_document(const struct object *object)
{
    json_t *document = json_object();

    json_put_number(document, "id", object->id);
    json_put_text(document, "name", object->name);
    json_put_text(document, "driver", object->driver->name);
    json_put_number(document, "key", object->key);
    json_put_number(document, "uid", object->uid);
    json_put_number(document, "size_bytes", object->size_bytes);
    json_put_number(document, "page_bytes", object_page_bytes(object));
    json_put_number(document, "resident_bytes", backing_resident_bytes(&object->backing));
    json_put_number(document, "pages", object->pages.n_pages);
    json_put_number(document, "valid_pages", object->pages.n_valid);
    json_put_number(document, "dirty_pages", object->pages.n_dirty);
    json_put_number(document, "filling_pages", object->pages.n_filling);
    json_put_number(document, "poisoned_pages", object->pages.n_poisoned);
    json_put_number(document, "runs", object->runs.n_runs);
    json_put_number(document, "waiters", object->runs.n_waiters);
    json_put_number(document, "refs", object->n_refs);
    json_put_number(document, "mappings", list_count(&object->mappings));
    json_put_text(document, "source", object->source == OBJECT_EXTENTS ? "extents" : "fill");
    json_put_number(document, "extents", object->n_extents);
    json_put_bool(document, "lost", object->lost);
    json_put_number(document, "n_faults", object->n_faults);
    json_put_number(document, "n_filled_pages", object->n_filled_pages);
    json_put_number(document, "n_failures", object->n_failures);
    return document;
}

int inspect_objects(struct engine *engine, const struct admin_request *request,
                    json_t **ret_document, const char **ret_why)
{
    json_t *array = json_array();
    const struct object *object;
    size_t cursor = 0;

    (void)request;
    (void)ret_why;
    while ((object = idmap_next(&engine->objects, &cursor)))
        json_add(array, object_document(object));
    *ret_document = json_object();
    json_put(*ret_document, "objects", array);
    return 0;
}
