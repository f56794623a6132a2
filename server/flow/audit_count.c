/* SPDX-License-Identifier: BSD-3-Clause */
/* Counts again, from spaces and requests, who holds which file, object and charge. Reads only. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/own.h"
#include "server/driver/driver_link.h"
#include "server/flow/audit.h"
#include "server/flow/map_flow.h"
#include "server/flow/mm_lock.h"

/* An unmap cuts at most two VMAs, and holds a spare for each; mremap cuts two of the source, two of
 * the target, and has the new VMA and a place for the quarantine beside. */
#define SPARES_MAX 6u

/* The record of @id, made when there is none. @ret_is_new: may be NULL. */
static void *record(struct audit *audit, struct idmap *map, uint64_t id, size_t size,
                    bool *ret_is_new)
{
    void *found = idmap_get(map, id);

    if (ret_is_new)
        *ret_is_new = !found;
    if (found)
        return found;
    found = calloc(1, size);
    if (found && idmap_put(map, id, found) < 0) {
        free(found);
        found = NULL;
    }
    if (!found)
        audit->no_memory = true;
    return found;
}

static void charge(struct audit *audit, uint32_t uid, enum quota_kind kind, uint64_t amount)
{
    struct audit_user *user = record(audit, &audit->users, uid, sizeof(*user), NULL);

    if (!user)
        return;
    user->uid = uid;
    user->found[kind] += amount;
}

static void slack(struct audit *audit, uint32_t uid, uint64_t amount)
{
    struct audit_user *user = record(audit, &audit->users, uid, sizeof(*user), NULL);

    if (user)
        user->vmas_slack += amount;
}

static struct audit_driver *find_driver(struct audit *audit, const struct driver *driver)
{
    struct audit_driver *found = record(audit, &audit->drivers, driver->id, sizeof(*found), NULL);

    if (found)
        found->driver = driver;
    return found;
}

static struct audit_object *find_object(struct audit *audit, const struct object *object)
{
    struct audit_object *found = record(audit, &audit->objects, object->id, sizeof(*found), NULL);

    if (found)
        found->object = object;
    return found;
}

static struct audit_file *find_file(struct audit *audit, const struct file *file)
{
    bool is_new;
    struct audit_file *found = record(audit, &audit->files, file->id, sizeof(*found), &is_new);
    struct audit_object *object;
    struct audit_driver *driver;

    if (!found || !is_new)
        return found;
    found->file = file;
    object = find_object(audit, file->object);
    if (object)
        object->n_files++;
    driver = find_driver(audit, file->driver);
    if (driver)
        driver->n_files++;
    charge(audit, file->uid, QUOTA_FILES, file->n_holders > 0 ? file->n_holders : 1);
    return found;
}

/* ---- spaces ---- */

static void count_vma(struct audit *audit, const struct space *space, const struct vma *vma)
{
    struct audit_file *file;
    struct audit_object *object;

    audit->n_vmas++;
    charge(audit, space->uid, QUOTA_VMAS, 1);
    if (vma->kind != VMA_MAPPED || vma_is_anon(vma))
        return;
    file = find_file(audit, vma_file(vma));
    if (file)
        file->n_vmas++;
    object = find_object(audit, vma_object(vma));
    if (object)
        object->n_vmas++;
}

static bool is_map(const struct mm_request *mm)
{
    return strcmp(mm->what, "map") == 0;
}

/* Requests but maps, which count_requests() finds at their drivers. */
static void count_queue(struct audit *audit, const struct space *space)
{
    const struct list *pos;
    uint64_t n = 0;

    if (space->writer && !is_map(space->writer)) {
        slack(audit, space->uid, SPARES_MAX);
        n++;
    }
    list_for_each(pos, &space->mm_queue) {
        if (!is_map(CONTAINER_OF_CONST(pos, struct mm_request, queued)))
            n++;
    }
    list_for_each(pos, &space->unmap_ops)
        slack(audit, space->uid, SPARES_MAX);
    audit->n_requests += n;
    charge(audit, space->uid, QUOTA_REQUESTS, n);
}

static void count_space(struct audit *audit, const struct space *space)
{
    const struct vma *vma;
    const struct file *file;
    const struct list *pos;
    size_t cursor = 0;

    charge(audit, space->uid, QUOTA_SPACES, 1);
    vma_for_each(vma, &space->aspace.vmas)
        count_vma(audit, space, vma);
    while ((file = idmap_next(&space->files, &cursor)))
        (void)find_file(audit, file); /* NULL: no_memory is set */
    list_for_each(pos, &space->waiters) {
        audit->n_waiters++;
        charge(audit, space->uid, QUOTA_REQUESTS, 1);
    }
    count_queue(audit, space);
}

/* ---- drivers and objects ---- */

static void count_request(struct audit *audit, struct audit_driver *driver,
                          const struct map_request *request)
{
    const struct file *const files[] = {request->file, request->vm_file};

    audit->n_requests++;
    charge(audit, request->mm.space->uid, QUOTA_REQUESTS, 1);
    driver->n_counted += request->counted;
    for (unsigned i = 0; i < 2; i++) {
        struct audit_file *file = find_file(audit, files[i]);

        if (file)
            file->n_requests++;
        if (request->spares[i])
            charge(audit, request->mm.space->uid, QUOTA_VMAS, 1);
    }
}

static void count_driver(struct audit *audit, const struct driver *driver)
{
    struct audit_driver *found = find_driver(audit, driver);
    const struct list *pos;

    if (!found)
        return;
    list_for_each(pos, &driver->requests)
        count_request(audit, found, CONTAINER_OF_CONST(pos, struct map_request, of_driver));
    audit->n_calls += driver->link ? idmap_count(&driver->link->calls) : 0;
}

static void count_object(struct audit *audit, const struct object *object)
{
    (void)find_object(audit, object); /* NULL: no_memory is set */
    charge(audit, object->uid, QUOTA_OBJECTS, 1);
    charge(audit, object->uid, QUOTA_CACHE,
           (object->pages.n_valid + object->pages.n_filling) << object->page_shift);
    audit->n_runs += object->runs.n_runs;
    audit->n_waiters += object->runs.n_waiters;
}

int audit_count(struct audit *audit)
{
    const struct engine *engine = audit->engine;
    const struct quota_user *user;
    const void *thing;
    size_t cursor = 0;

    while ((thing = idmap_next(&engine->spaces, &cursor)))
        count_space(audit, thing);
    cursor = 0;
    while ((thing = idmap_next(&engine->drivers, &cursor)))
        count_driver(audit, thing);
    cursor = 0;
    while ((thing = idmap_next(&engine->objects, &cursor)))
        count_object(audit, thing);
    cursor = 0;
    while ((user = quota_next_user(&engine->quotas, &cursor)))
        charge(audit, user->uid, QUOTA_SPACES, 0); /* makes the record */
    audit->quiet = engine->quotas.total[QUOTA_REQUESTS] == 0 && audit->n_requests == 0 &&
                   audit->n_calls == 0 && audit->n_runs == 0 && audit->n_waiters == 0;
    return audit->no_memory ? -ENOMEM : 0;
}

static void free_records(struct idmap *map)
{
    size_t cursor = 0;
    void *found;

    while ((found = idmap_next(map, &cursor)))
        free(found);
    idmap_done(map);
}

void audit_done(struct audit *audit)
{
    free_records(&audit->files);
    free_records(&audit->objects);
    free_records(&audit->drivers);
    free_records(&audit->users);
}
