/* SPDX-License-Identifier: BSD-3-Clause */
/* may_split before a cut; after it, or an unmapping: vm_open for halves, close for what is gone. */
#include "server/flow/split_flow.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "proto/driver.pb-c.h"
#include "proto/status.h"
#include "server/flow/driver_hooks.h"
#include "server/flow/evict_flow.h"
#include "server/flow/fault_flow.h"
#include "server/flow/flow_log.h"
#include "server/flow/writeback.h"

static void add_edge(struct split_check *check, struct vma *vma, uint64_t addr)
{
    if (!vma || !vma->has_may_split || !vma_file(vma)->driver->alive)
        return;
    check->edges[check->n_edges].vma = vma;
    check->edges[check->n_edges].addr = addr;
    check->n_edges++;
}

unsigned split_check_edges(struct split_check *check, struct vma_tree *tree, struct range range)
{
    struct vma_unmap_plan plan;

    vma_unmap_plan(tree, range, &plan);
    check->n_edges = check->next = 0;
    add_edge(check, plan.cut_start, range.start);
    add_edge(check, plan.cut_end, range.end);
    return check->n_edges;
}

static void finish(struct split_check *check, int error)
{
    check->running = false;
    check->done(check, error);
}

/* @buf: the driver's sentence, or what is wrong with its answer */
static int read_answer(struct frame *frame, char *buf, size_t size)
{
    Muse__Wire__Completed *answer;
    int error;

    (void)snprintf(buf, size, "its answer to may_split does not decode");
    if (frame->header.type != FRAME_COMPLETED)
        return -EREMOTEIO;
    answer = muse__wire__completed__unpack(NULL, frame->n_payload, frame->payload);
    if (!answer)
        return -EREMOTEIO;
    error = status_to_result(answer->error, -EREMOTEIO);
    (void)snprintf(buf, size, "%s", answer->text ? answer->text : "");
    muse__wire__completed__free_unpacked(answer, NULL);
    return error;
}

/* Who was against it, for the log and for the client's sentence. @edge: as it was asked. */
static void note_refusal(const struct vma *vma, int error, const char *text)
{
    struct space *space = vma_space(vma);
    const struct flow_where where = {space, vma_file(vma)->driver, vma_object(vma)->name,
                                     "may_split"};
    const char *name = strerrorname_np(-error);

    if (!text[0])
        text = strerrordesc_np(-error) ? strerrordesc_np(-error) : "no reason was given";
    flow_error("split.refused", &where, error, text);
    (void)snprintf(space->refusal, sizeof(space->refusal),
                   "driver %s refused to split %.80s: %s (%.100s)", where.driver->name,
                   where.object, name ? name : "?", text);
}

static void on_split_end(struct driver_call *call, enum call_end end, struct frame *frame)
{
    struct split_check *check = CONTAINER_OF(call, struct split_check, call);
    struct driver *driver = check->asked;
    char text[160] = "it did not answer in time";
    int error = -EIO;

    if (end == CALL_ANSWERED)
        error = read_answer(frame, text, sizeof(text));
    else if (end == CALL_DEADLINE)
        error = -ETIMEDOUT;
    hook_ended(driver, call, error);
    if (end == CALL_LOST) {
        error = 0; /* a dead driver has nothing against it */
    } else if (error < 0) {
        driver_note_error(driver, "may_split", error, text);
        note_refusal(check->edges[check->next - 1].vma, error, text);
    }
    check->asked = NULL;
    driver_unref(driver);
    if (error == 0 && check->next < check->n_edges) {
        error = split_check_start(check);
        if (error == 0)
            return;
    }
    finish(check, error); /* may free the check */
}

int split_check_start(struct split_check *check)
{
    struct vma *vma = check->edges[check->next].vma;
    struct driver *driver = vma_file(vma)->driver;
    int r;

    check->call.end = on_split_end;
    check->running = true;
    r = hook_may_split(driver, &check->call, vma, check->edges[check->next].addr);
    if (r < 0) {
        check->running = false;
        note_refusal(vma, -EIO, "it is dying");
        return -EIO;
    }
    check->asked = driver_ref(driver);
    check->next++;
    return 0;
}

void split_check_cancel(struct split_check *check)
{
    if (!check->running)
        return;
    driver_link_forget(&check->call);
    check->running = false;
    driver_unref(check->asked);
    check->asked = NULL;
}

int vma_charge(struct space *space)
{
    return charge_take(&space->engine->quotas, space->uid, QUOTA_VMAS, 1) == 0 ? 0 : -ENOMEM;
}

void vma_uncharge(struct space *space)
{
    charge_drop(&space->engine->quotas, space->uid, QUOTA_VMAS, 1);
}

void vmas_split_opened(struct vma *vma, uint64_t parent_id)
{
    object_ref(vma_object(vma));
    file_ref(vma_file(vma));
    if (vma->has_open || vma->has_close) /* the SDK closes it itself when the server dies */
        hook_vm_open(vma_file(vma)->driver, vma, parent_id);
}

void vmas_gone(struct space *space, struct list *removed)
{
    struct list *node;

    while ((node = list_take_first(removed))) {
        struct vma *vma = vma_from_link(node);
        struct file *file = vma_file(vma);
        struct object *object = vma_object(vma);

        if (vma->tracks_writes)
            writeback_kick(object);
        fault_flow_range_gone(space, vma_range(vma));
        list_del(&vma->object_link);
        if (vma->has_close) {
            const struct hook_vma as_seen = hook_vma_of(vma);

            hook_vm_close(file->driver, &as_seen);
        }
        vma_uncharge(space);
        (void)vma_free(vma);
        file_unref(file);
        object_unref(object);
    }
    evict_flow_changed(space->engine);
}
