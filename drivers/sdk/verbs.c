/* SPDX-License-Identifier: BSD-3-Clause */
/* What mmap_complete and mmap may ask for on a mapping: recorded here, carried out by the server
 * once the hook has succeeded. */
#include <errno.h>
#include <stdlib.h>

#include "drivers/sdk/sdk.h"

/* The mapping hook that runs for this VMA, NULL: none. */
static struct muse_request *hook_of(struct muse_vma *vma)
{
    struct muse_request *request = CONTAINER_OF(vma, struct vma, pub)->request;

    if (!request || (request->kind != REQUEST_COMPLETE && request->kind != REQUEST_LEGACY_MMAP))
        return NULL;
    return request;
}

/* The wire has room for one action in the legacy hook's answer. */
static unsigned verbs_max(const struct muse_request *request)
{
    return request->kind == REQUEST_LEGACY_MMAP ? 1 : SDK_VERBS_MAX;
}

static bool is_in_part(const struct muse_vma *vma, uint64_t address, uint64_t length)
{
    return length > 0 && address >= vma->part_start && address < vma->part_end &&
           length <= vma->part_end - address && ((address | length) & (MUSE_PAGE_BYTES - 1)) == 0;
}

static int add_verb(struct muse_vma *vma, const struct muse_action *action, uint64_t length)
{
    struct muse_request *request = hook_of(vma);

    if (!request || !is_in_part(vma, action->address, length))
        return -EINVAL;
    if (request->n_verbs == verbs_max(request))
        return -ENOSPC;
    request->verbs[request->n_verbs++] = *action;
    return 0;
}

int muse_vma_remap(struct muse_vma *vma, uint64_t address, uint64_t length, int fd,
                   uint64_t fd_offset)
{
    const struct muse_action action = {.type = MUSE_ACTION_REMAP,
                                       .address = address,
                                       .length = length,
                                       .fd = fd,
                                       .fd_offset = fd_offset};

    if (fd < 0 || (fd_offset & (MUSE_PAGE_BYTES - 1)) != 0)
        return -EINVAL;
    return add_verb(vma, &action, length);
}

int muse_vma_prefault(struct muse_vma *vma, uint64_t address, uint64_t n_pages)
{
    const struct muse_action action = {
        .type = MUSE_ACTION_PREFAULT, .address = address, .fd = -1, .n_pages = n_pages};

    if (n_pages > UINT64_MAX / MUSE_PAGE_BYTES)
        return -EINVAL;
    return add_verb(vma, &action, n_pages * MUSE_PAGE_BYTES);
}

int muse_vma_forward(struct muse_vma *vma, const char *name)
{
    struct muse_request *request = hook_of(vma);
    char *copy;

    if (!request || request->kind != REQUEST_LEGACY_MMAP || strlen(name) > NAME_BYTES_MAX)
        return -EINVAL;
    copy = strdup(name);
    if (!copy)
        return -ENOMEM;
    free(request->forward);
    request->forward = copy;
    return 0;
}
