/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The end: the server is gone, or a signal came. Delivers what docs/contract.md, section 2,
 * promises to a driver whose server dies: abort for every mapping call still open, close for every
 * VMA, release for every file, object_gone, stop. Hooks the driver has deferred get a while to end
 * first; what still runs after that is left alone.
 */
#include <poll.h>
#include <unistd.h>

#include "drivers/sdk/sdk.h"

/* Chosen: longer than a disk read, shorter than a supervisor's patience. */
#define PATIENCE_NS UINT64_C(2000000000)

static bool faults_ended(struct muse_driver *driver)
{
    return (!driver->has_fault_thread || atomic_load(&driver->fault_thread_ended)) &&
           atomic_load(&driver->n_faults) == 0;
}

static void wait_for_hooks(struct muse_driver *driver)
{
    const uint64_t deadline_ns = sdk_now_ns() + PATIENCE_NS;
    struct pollfd wake = {.fd = driver->wake_fd, .events = POLLIN};
    uint64_t count;

    dispatch_retire(driver);
    while (driver->n_deferred > 0 || !faults_ended(driver)) {
        const uint64_t now_ns = sdk_now_ns();

        if (now_ns >= deadline_ns)
            return;
        (void)poll(&wake, 1, (int)((deadline_ns - now_ns) / 1000000u) + 1); /* EINTR: once more */
        (void)!read(driver->wake_fd, &count, sizeof(count)); /* only there to be emptied */
        dispatch_retire(driver);
    }
}

static void close_vmas(struct muse_driver *driver)
{
    size_t cursor = 0;
    struct vma *vma;

    while ((vma = idmap_next(&driver->vmas, &cursor)) != NULL) {
        if (vma->request || !vma->live)
            continue;
        hook_close_vma(driver, vma);
        vma_settle(driver, vma);
    }
}

static void release_files(struct muse_driver *driver)
{
    size_t cursor = 0;
    struct file *file;

    while ((file = idmap_next(&driver->files, &cursor)) != NULL) {
        if (file->open && file->n_users == 0)
            hook_release_file(driver, file);
    }
}

/* Events that still wait for a hook which never ended are forgotten; they keep nothing alive. */
static void forget_parked(struct muse_driver *driver)
{
    struct list *node;

    while ((node = list_take_first(&driver->parked)) != NULL) {
        struct event *event = LIST_ENTRY(node, struct event, node);

        if (event->parked_file)
            event->parked_file->n_users--;
        (void)event_free(event);
    }
}

bool shutdown_run(struct muse_driver *driver)
{
    struct list *node;

    faults_stop(driver);
    invalidations_lose(driver);
    objects_lose(&driver->objects);
    wait_for_hooks(driver);
    forget_parked(driver);
    while ((node = list_first(&driver->map_calls)) != NULL)
        hook_abort_call(driver, LIST_ENTRY(node, struct map_call, node));
    close_vmas(driver);
    release_files(driver);
    hook_objects_gone(driver);
    if (driver->has_fault_thread && !atomic_load(&driver->fault_thread_ended)) {
        sdk_complain("the fault hook does not return; ending without stop");
        return false;
    }
    if (driver->has_fault_thread)
        (void)pthread_join(driver->fault_thread, NULL); /* it is at its last line */
    if (driver->ops.stop)
        driver->ops.stop(driver->user);
    return true;
}
