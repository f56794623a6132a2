/* SPDX-License-Identifier: BSD-3-Clause */
/* The open files by handle. Owned by the main thread, no locks. Calls no hook. */
#include <errno.h>
#include <stdlib.h>

#include "drivers/sdk/sdk.h"

int file_new(struct muse_driver *driver, struct file **ret_file)
{
    CLEAN(free_p) struct file *file = calloc(1, sizeof(*file));
    int r;

    if (!file)
        return -ENOMEM;
    file->pub.id = ++driver->last_handle;
    r = idmap_put(&driver->files, file->pub.id, file);
    if (r < 0)
        return r;
    *ret_file = TAKE(file);
    return 0;
}

struct file *file_find(struct muse_driver *driver, uint64_t handle)
{
    struct file *file = idmap_get(&driver->files, handle);

    return file && file->open ? file : NULL;
}

struct file *file_free(struct muse_driver *driver, struct file *file)
{
    if (file)
        (void)idmap_take(&driver->files, file->pub.id);
    free(file);
    return NULL;
}
