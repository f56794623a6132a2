/* SPDX-License-Identifier: BSD-3-Clause */
/* may_split before a cut, and what follows a cut, a merge or an unmapping: vm_open for the new half,
 * close for what is gone, references and charges for both. Anonymous memory has neither file nor
 * object. */
#include "server/flow/split_flow.h"

#include <errno.h>

#include "server/flow/driver_hooks.h"
#include "server/flow/evict_flow.h"
#include "server/flow/fault_flow.h"
#include "server/flow/writeback.h"

static void add_edge(struct split_check *check, struct vma *vma, uint64_t addr)
{
    if (!vma || !vma->has_may_split || !vma_file(vma)->driver->alive)
        return;
    MUST(check->n_edges < SPLIT_EDGES_MAX);
    check->edges[check->n_edges].vma = vma;
    check->edges[check->n_edges].addr = addr;
    check->n_edges++;
}

unsigned split_check_more(struct split_check *check, struct vma_tree *tree, struct range range)
{
    struct vma_unmap_plan plan;

    vma_unmap_plan(tree, range, &plan);
    add_edge(check, plan.cut_start, range.start);
    add_edge(check, plan.cut_end, range.end);
    return check->n_edges;
}

unsigned split_check_edges(struct split_check *check, struct vma_tree *tree, struct range range)
{
    check->n_edges = check->next = 0;
    return split_check_more(check, tree, range);
}

static void on_answer(struct vma_ask *ask, int error)
{
    struct split_check *check = CONTAINER_OF(ask, struct split_check, ask);

    if (error == 0 && split_check_start(check) == 0)
        return;
    check->done(check, error); /* may free the check */
}

int split_check_start(struct split_check *check)
{
    check->ask.done = on_answer;
    while (check->next < check->n_edges) {
        const unsigned i = check->next++;

        if (vma_ask_split(&check->ask, check->edges[i].vma, check->edges[i].addr) == 0)
            return 0;
    }
    return 1;
}

void split_check_cancel(struct split_check *check)
{
    vma_ask_cancel(&check->ask);
}

int vma_charge(struct space *space)
{
    return charge_take(&space->engine->quotas, space->uid, QUOTA_VMAS, 1) == 0 ? 0 : -ENOMEM;
}

void vma_uncharge(struct space *space)
{
    charge_drop(&space->engine->quotas, space->uid, QUOTA_VMAS, 1);
}

int vma_reserve(struct space *space, struct vma **ret_vma)
{
    int r = vma_charge(space);

    if (r < 0)
        return r;
    r = vma_new(engine_id(space->engine), ret_vma);
    if (r < 0)
        vma_uncharge(space);
    return r;
}

void vma_unreserve(struct space *space, struct vma **vma)
{
    if (*vma)
        vma_uncharge(space);
    *vma = vma_free(*vma);
}

void vma_take_refs(struct vma *vma)
{
    if (vma_is_anon(vma))
        return;
    object_ref(vma_object(vma));
    file_ref(vma_file(vma));
}

bool vma_wants_open(const struct vma *vma)
{
    return vma->has_open || vma->has_close; /* the SDK closes it itself when the server dies */
}

void vmas_split_opened(struct vma *vma, uint64_t parent_id)
{
    vma_take_refs(vma);
    if (vma_wants_open(vma)) {
        const struct hook_vma as_seen = hook_vma_of(vma);

        hook_vm_open(vma_file(vma)->driver, &as_seen, parent_id);
    }
}

void vma_forget(struct space *space, struct vma *vma)
{
    struct file *file = vma_file(vma);
    struct object *object = vma_object(vma);

    list_del(&vma->object_link);
    vma_uncharge(space);
    (void)vma_free(vma);
    if (!object)
        return;
    file_unref(file);
    object_unref(object);
}

void vmas_gone(struct space *space, struct list *removed)
{
    struct list *node;

    while ((node = list_take_first(removed))) {
        struct vma *vma = vma_from_link(node);

        if (vma->tracks_writes)
            writeback_kick(vma_object(vma));
        if (!vma->direct) /* else it was never registered, and nobody waits there */
            fault_flow_range_gone(space, vma_range(vma));
        if (vma->has_close) {
            const struct hook_vma as_seen = hook_vma_of(vma);

            hook_vm_close(vma_file(vma)->driver, &as_seen);
        }
        vma_forget(space, vma);
    }
    evict_flow_changed(space->engine);
}

void vmas_merged(struct space *space, struct list *removed)
{
    struct list *node;

    while ((node = list_take_first(removed)))
        vma_forget(space, vma_from_link(node));
}
