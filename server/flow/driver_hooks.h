/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The waist between the server and drivers: one checked, counted, traced function per hook. Nobody
 * else builds a message to a driver. One-way hooks return nothing: a driver that cannot be told is
 * dying, and loss_flow deals with that.
 */
#ifndef MUSE_SERVER_FLOW_DRIVER_HOOKS_H
#define MUSE_SERVER_FLOW_DRIVER_HOOKS_H

#include "proto/path.pb-c.h"
#include "server/driver/driver_link.h"
#include "server/flow/engine.h"

/* A VMA as a hook shall see it: not as in the tree while it is being merged or moved. */
struct hook_vma {
    uint64_t id, space_id, handle;
    struct range range;
    uint64_t pgoff;
    uint64_t vm_flags;
    uint32_t page_prot, vm_ops;
    uint64_t private_data;
};

/* For whom something is opened. */
struct hook_client {
    uint64_t space_id; /* 0: for the server, which writes back what a client wrote */
    uid_t uid;
    gid_t gid;
    pid_t pid; /* 0: likewise */
};

/** hook_client_of() - the space's */
static inline struct hook_client hook_client_of(const struct space *space)
{
    return (struct hook_client){space->id, space->uid, space->gid, space->pid};
}

/** hook_vma_of() - the VMA as it stands */
struct hook_vma hook_vma_of(const struct vma *vma);

struct hook_prepare {
    const struct space *space;
    uint64_t handle;
    struct range range;
    uint64_t pgoff, vm_flags;
    uint32_t page_prot;
};

/*
 * Calls: @call's end is set by the caller; answer type and hook name are set here.
 *
 * Return: 0, the end will come. The end will not come: -ENODEV the driver is dead or dying; -EBUSY
 * (open, getattr, path, prepare, access, name) it has left too much unread already; -EROFS (open) for writing, and the
 * driver said that it never does.
 */
MUST_CHECK int hook_open(struct driver *driver, struct driver_call *call,
                         const struct hook_client *client, const char *path, uint32_t oflags,
                         uint32_t mode);
MUST_CHECK int hook_getattr(struct driver *driver, struct driver_call *call, uint64_t handle);
MUST_CHECK int hook_path(struct driver *driver, struct driver_call *call, const struct space *space,
                         const Muse__Wire__PathAsk *message, uint16_t type, uint16_t answer_type,
                         const char *hook);
MUST_CHECK int hook_mmap_prepare(struct driver *driver, struct driver_call *call,
                                 const struct hook_prepare *prepare);
MUST_CHECK int hook_mmap_complete(struct driver *driver, struct driver_call *call,
                                  const struct hook_vma *vma, struct range part, uint64_t context);
MUST_CHECK int hook_legacy_mmap(struct driver *driver, struct driver_call *call,
                                const struct hook_vma *vma);
MUST_CHECK int hook_may_split(struct driver *driver, struct driver_call *call,
                              const struct vma *vma, uint64_t addr);
MUST_CHECK int hook_mprotect(struct driver *driver, struct driver_call *call, const struct vma *vma,
                             struct range range, uint64_t new_flags);
MUST_CHECK int hook_mremap(struct driver *driver, struct driver_call *call,
                           const struct hook_vma *vma, uint64_t parent_id);
MUST_CHECK int hook_access(struct driver *driver, struct driver_call *call, const struct vma *vma,
                           uint64_t addr, uint32_t length);
/* no client waits for it */
MUST_CHECK int hook_name(struct driver *driver, struct driver_call *call, const struct vma *vma);

MUST_CHECK int hook_writeback(struct driver *driver, struct driver_call *call,
                              const struct object *object, struct range pages);
MUST_CHECK int hook_fsync(struct driver *driver, struct driver_call *call,
                          const struct object *object);
MUST_CHECK int hook_truncate(struct driver *driver, struct driver_call *call,
                             const struct file *file, uint64_t size);
MUST_CHECK int hook_fallocate(struct driver *driver, struct driver_call *call,
                              const struct file *file, uint32_t mode, struct range bytes);
MUST_CHECK int hook_page_mkwrite(struct driver *driver, struct driver_call *call,
                                 const struct vma *vma, uint64_t page);

/**
 * hook_completed() - the errno and, when there is one, the sentence of a COMPLETED
 * @space: for whom @call was, for the log; NULL: for nobody
 *
 * A driver whose answer does not decode is cut off.
 *
 * Return: 0, -errno; -EREMOTEIO it does not decode, or says no errno.
 */
int hook_completed(struct driver *driver, const struct driver_call *call, const struct space *space,
                   const struct frame *frame, char *text, size_t size);

/* One way. */
void hook_resized(struct driver *driver, const struct object *object);
void hook_mmap_abort(struct driver *driver, uint64_t handle, uint64_t private_data,
                     uint64_t context, uint64_t prepare_id);
void hook_vm_open(struct driver *driver, const struct hook_vma *vma, uint64_t parent_id);
void hook_vm_close(struct driver *driver, const struct hook_vma *vma);
void hook_release(struct driver *driver, uint64_t handle);
/* @cache_fd: object_writable_fd() for the driver */
void hook_object(struct driver *driver, const struct object *object, int cache_fd);
void hook_object_gone(struct driver *driver, const struct object *object);

/** driver_note_error() - what musectl shows as its last error. @text: a sentence, or NULL. */
void driver_note_error(struct driver *driver, const char *hook, int error, const char *text);

/**
 * hook_ended() - count and trace the end of a call: hook, arguments, result, microseconds
 * @result: 0 or -errno as the driver answered, or -ETIMEDOUT, -ENODEV. An error is the driver's last
 *          one: who has a sentence says it with driver_note_error() afterwards.
 */
void hook_ended(struct driver *driver, const struct driver_call *call, int result);

#endif
