/* SPDX-License-Identifier: BSD-3-Clause */
/* What muse-faulty does about written pages: counts them, keeps nothing, fails and delays on request. */
#include <errno.h>

#include "common/base/own.h"
#include "drivers/faulty/faulty.h"

/* Return: the hook's result; deferred when the behaviour says so. */
static int answer(struct faulty *faulty, uint64_t delay_ms, uint64_t error)
{
    if (delay_ms > 0)
        delay_reply(&faulty->delays, delay_ms, -(int)error);
    return -(int)error;
}

int faulty_writeback(struct muse_writeback *writeback)
{
    struct faulty *faulty = writeback->user;
    struct faulty_object *object = writeback->object;
    struct behaviour *behaviour = &object->behaviour;
    uint64_t error = behaviour->writeback_errno;

    (void)atomic_fetch_add(&faulty->n.writeback, 1);
    (void)atomic_fetch_add(&faulty->n.writeback_pages, writeback->n_pages);
    faulty_maybe_die(behaviour, "writeback");
    if (lie_in_hook(faulty, behaviour, "truncated-writeback"))
        return 0;
    if (behaviour->writeback_fails > 0) { /* only the first ones */
        behaviour->writeback_fails--;
        error = EIO;
    }
    return answer(faulty, behaviour->writeback_never ? UINT64_MAX : behaviour->writeback_delay_ms,
                  error);
}

int faulty_fsync(void *user, uint64_t object_key, void *object)
{
    struct faulty *faulty = user;
    const struct faulty_object *faulty_object = object;

    (void)object_key;
    (void)atomic_fetch_add(&faulty->n.fsync, 1);
    if (lie_in_hook(faulty, &faulty_object->behaviour, "truncated-fsync"))
        return 0;
    return -(int)faulty_object->behaviour.fsync_errno;
}

int faulty_page_mkwrite(struct muse_vma *vma, uint64_t page)
{
    const struct faulty_file *file = faulty_file_of(vma->file);

    (void)page;
    (void)atomic_fetch_add(&file->faulty->n.mkwrite, 1);
    faulty_maybe_die(&file->behaviour, "mkwrite");
    if (lie_in_hook(file->faulty, &file->behaviour, "truncated-mkwrite"))
        return 0;
    return answer(file->faulty, file->behaviour.mkwrite_delay_ms, file->behaviour.mkwrite_errno);
}
