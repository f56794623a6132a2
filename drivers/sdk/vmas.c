/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The VMAs by id, as far as this process needs them: while a hook of one runs, is deferred or
 * parked, and for as long as a close is still owed, so that it can be delivered when the server
 * dies. Owned by the main thread, no locks.
 */
#include <errno.h>
#include <stdlib.h>

#include "drivers/sdk/sdk.h"

/* Ids that were never given out count as "none"; the server checked them when prepare answered. */
static const struct muse_vm_ops *vm_ops_find(const struct muse_driver *driver, uint32_t id)
{
    const struct muse_vm_ops *const *tables = driver->ops.vm_ops;

    for (uint32_t i = 0; tables && tables[i] && i < id; i++) {
        if (i + 1 == id)
            return tables[i];
    }
    return NULL;
}

uint32_t vm_ops_id(const struct muse_driver *driver, const struct muse_vm_ops *vm_ops)
{
    const struct muse_vm_ops *const *tables = driver->ops.vm_ops;

    if (!vm_ops)
        return 0;
    for (uint32_t i = 0; tables && tables[i]; i++) {
        if (tables[i] == vm_ops)
            return i + 1;
    }
    return UINT32_MAX;
}

struct vma *vma_find(struct muse_driver *driver, uint64_t id)
{
    return idmap_get(&driver->vmas, id);
}

bool vma_has_close(const struct vma *vma)
{
    return vma->pub.vm_ops && vma->pub.vm_ops != MUSE_VM_OPS_UNSET && vma->pub.vm_ops->close;
}

static struct file *file_of(const struct vma *vma)
{
    return vma->pub.file ? CONTAINER_OF(vma->pub.file, struct file, pub) : NULL;
}

void vma_set_live(struct vma *vma, bool live)
{
    const bool keeps_file = live && vma_has_close(vma) && vma->pub.file;

    vma->live = live;
    if (keeps_file && !vma->keeps_file)
        file_of(vma)->n_users++;
    if (!keeps_file && vma->keeps_file)
        file_of(vma)->n_users--;
    vma->keeps_file = keeps_file;
}

void vma_update(struct muse_driver *driver, struct vma *vma, const Muse__Wire__Vma *wire)
{
    struct file *file = file_find(driver, wire->handle);
    const bool live = vma->live;

    vma_set_live(vma, false); /* its file may become another one */
    vma->pub = (struct muse_vma){
        .id = wire->vma_id,
        .space_id = wire->space_id,
        .start = wire->start,
        .end = wire->end,
        .pgoff = wire->pgoff,
        .vm_flags = wire->vm_flags,
        .page_prot = wire->page_prot,
        .vm_ops = vm_ops_find(driver, wire->vm_ops),
        .private_data = sdk_pointer(wire->private_data),
        .file = file ? &file->pub : NULL,
        .part_start = wire->start,
        .part_end = wire->end,
    };
    vma_set_live(vma, live);
}

int vma_get(struct muse_driver *driver, const Muse__Wire__Vma *wire, struct vma **ret_vma)
{
    struct vma *vma = vma_find(driver, wire->vma_id);

    if (!vma) {
        CLEAN(free_p) struct vma *made = calloc(1, sizeof(*made));
        int r = made ? idmap_put(&driver->vmas, wire->vma_id, made) : -ENOMEM;

        if (r < 0)
            return r;
        vma = TAKE(made);
    }
    vma_update(driver, vma, wire);
    *ret_vma = vma;
    return 0;
}

void vma_settle(struct muse_driver *driver, struct vma *vma)
{
    if (vma->request || vma->n_parked > 0 || (vma->live && vma_has_close(vma)))
        return;
    vma_set_live(vma, false);
    (void)idmap_take(&driver->vmas, vma->pub.id);
    free(vma);
}
