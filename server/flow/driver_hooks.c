/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every message to a driver is built here. A call remembers its hook and its arguments, as text,
 * for the trace; the text is made when the call is sent, because what it speaks of may be gone when
 * it ends.
 */
#include "server/flow/driver_hooks.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "proto/driver.pb-c.h"
#include "proto/status.h"
#include "server/flow/loss_flow.h"
#include "server/flow/trace.h"

static const char *flags_text(uint64_t vm_flags, char buf[5])
{
    buf[0] = (vm_flags & VMF_READ) ? 'r' : '-';
    buf[1] = (vm_flags & VMF_WRITE) ? 'w' : '-';
    buf[2] = (vm_flags & VMF_EXEC) ? 'x' : '-';
    buf[3] = (vm_flags & VMF_MAYSHARE) ? 's' : 'p';
    buf[4] = '\0';
    return buf;
}

static void trace(struct driver *driver, const char *hook, uint64_t call_id, uint64_t took_ns,
                  int result, const char *args)
{
    struct trace_entry entry = {.at_ns = loop_now_ns(),
                                .took_ns = took_ns,
                                .call_id = call_id,
                                .hook = hook,
                                .result = result};

    memcpy(entry.driver, driver->name, sizeof(entry.driver));
    (void)snprintf(entry.args, sizeof(entry.args), "%s", args);
    trace_add(driver->engine->trace, &entry);
}

static int call(struct driver *driver, struct driver_call *call, uint16_t type,
                const ProtobufCMessage *message, uint16_t answer_type, const char *hook)
{
    int r;

    if (!driver->alive)
        return -ENODEV;
    call->hook = hook;
    call->answer_type = answer_type;
    r = driver_link_call(driver->link, call, type, message, driver->hook_deadline_ns);
    if (r < 0)
        return -ENODEV;
    driver->n.calls++;
    return 0;
}

/* As call(), for what a client can ask for without end. */
static int call_new(struct driver *driver, struct driver_call *driver_call, uint16_t type,
                    const ProtobufCMessage *message, uint16_t answer_type, const char *hook)
{
    if (driver->alive && driver_link_is_busy(driver->link))
        return -EBUSY;
    return call(driver, driver_call, type, message, answer_type, hook);
}

/* One way: when it cannot be sent the connection is ending, and the loss is dealt with there. */
static void tell(struct driver *driver, uint16_t type, const ProtobufCMessage *message,
                 const char *hook, const char *args)
{
    if (!driver->alive)
        return;
    if (driver_link_send(driver->link, type, 0, message, NULL, 0) == 0)
        trace(driver, hook, 0, 0, 0, args);
}

void driver_note_error(struct driver *driver, const char *hook, int error, const char *text)
{
    const char *what = text && text[0] ? text : strerrordesc_np(-error);

    (void)snprintf(driver->last_error, sizeof(driver->last_error), "%s: %s", hook,
                   what ? what : "an error of no name");
}

void hook_ended(struct driver *driver, const struct driver_call *call, int result)
{
    const uint64_t now_ns = loop_now_ns();
    const uint64_t took_ns = now_ns - call->sent_ns;

    engine_served(driver->engine, now_ns);
    driver->n.call_ns += took_ns;
    if (result < 0) {
        driver->n.errors++;
        driver_note_error(driver, call->hook, result, NULL);
    }
    trace(driver, call->hook, call->id, took_ns, result, call->args);
}

struct hook_vma hook_vma_of(const struct vma *vma)
{
    return (struct hook_vma){
        .id = vma->id,
        .space_id = vma_space(vma)->id,
        .handle = vma_file(vma)->handle,
        .range = vma_range(vma),
        .pgoff = vma->pgoff,
        .vm_flags = vma->flags,
        .page_prot = vma_prot(vma),
        .vm_ops = (uint32_t)vma->ops_id,
        .private_data = vma->private_data,
    };
}

static void fill_wire_vma(Muse__Wire__Vma *wire, const struct hook_vma *vma)
{
    muse__wire__vma__init(wire);
    wire->vma_id = vma->id;
    wire->space_id = vma->space_id;
    wire->handle = vma->handle;
    wire->start = vma->range.start;
    wire->end = vma->range.end;
    wire->pgoff = vma->pgoff;
    wire->vm_flags = vma->vm_flags;
    wire->page_prot = vma->page_prot;
    wire->vm_ops = vma->vm_ops;
    wire->private_data = vma->private_data;
}

static void vma_text(const struct hook_vma *vma, char *buf, size_t size)
{
    char flags[5];

    (void)snprintf(buf, size,
                   "space=%" PRIu64 " vma=%" PRIu64 " %#" PRIx64 "-%#" PRIx64 " pgoff=%" PRIu64
                   " %s",
                   vma->space_id, vma->id, vma->range.start, vma->range.end, vma->pgoff,
                   flags_text(vma->vm_flags, flags));
}

int hook_open(struct driver *driver, struct driver_call *driver_call,
              const struct hook_client *client, const char *path, uint32_t oflags, uint32_t mode)
{
    Muse__Wire__DriverOpen message = MUSE__WIRE__DRIVER_OPEN__INIT;
    char *path_field =
        (char *)(uintptr_t)path; /* protobuf-c has no const; packing does not write */

    if (driver->read_only && (oflags & O_ACCMODE) != O_RDONLY)
        return -EROFS;
    message.path = path_field;
    message.oflags = oflags;
    message.mode = mode;
    message.uid = client->uid;
    message.gid = client->gid;
    message.pid = (uint32_t)client->pid;
    driver_call->space_id = client->space_id;
    (void)snprintf(driver_call->args, sizeof(driver_call->args),
                   "space=%" PRIu64 " oflags=%#x path=%s", client->space_id, oflags, path);
    return call_new(driver, driver_call, FRAME_DRIVER_OPEN, &message.base, FRAME_DRIVER_OPENED,
                    "open");
}

int hook_getattr(struct driver *driver, struct driver_call *driver_call, uint64_t handle)
{
    Muse__Wire__HandleRef message = MUSE__WIRE__HANDLE_REF__INIT;

    message.handle = handle;
    (void)snprintf(driver_call->args, sizeof(driver_call->args), "file=%" PRIu64, handle);
    return call_new(driver, driver_call, FRAME_DRIVER_GETATTR, &message.base, FRAME_DRIVER_ATTR,
                    "getattr");
}

int hook_path(struct driver *driver, struct driver_call *driver_call, const struct space *space,
              const Muse__Wire__PathAsk *message, uint16_t type, uint16_t answer_type,
              const char *hook)
{
    (void)snprintf(driver_call->args, sizeof(driver_call->args), "space=%" PRIu64 " path=%s",
                   space->id, message->name);
    return call_new(driver, driver_call, type, &message->base, answer_type, hook);
}

int hook_mmap_prepare(struct driver *driver, struct driver_call *driver_call,
                      const struct hook_prepare *prepare)
{
    Muse__Wire__Prepare message = MUSE__WIRE__PREPARE__INIT;
    char flags[5];

    message.space_id = prepare->space->id;
    message.handle = prepare->handle;
    message.start = prepare->range.start;
    message.end = prepare->range.end;
    message.pgoff = prepare->pgoff;
    message.vm_flags = prepare->vm_flags;
    message.page_prot = prepare->page_prot;
    message.uid = prepare->space->uid;
    message.pid = (uint32_t)prepare->space->pid;
    driver_call->space_id = prepare->space->id;
    (void)snprintf(driver_call->args, sizeof(driver_call->args),
                   "space=%" PRIu64 " file=%" PRIu64 " %#" PRIx64 "-%#" PRIx64 " pgoff=%" PRIu64
                   " %s",
                   prepare->space->id, prepare->handle, prepare->range.start, prepare->range.end,
                   prepare->pgoff, flags_text(prepare->vm_flags, flags));
    driver->engine->stats.prepares++;
    return call_new(driver, driver_call, FRAME_PREPARE, &message.base, FRAME_PREPARED,
                    "mmap_prepare");
}

int hook_mmap_complete(struct driver *driver, struct driver_call *driver_call,
                       const struct hook_vma *vma, struct range part, uint64_t context)
{
    Muse__Wire__Vma wire;
    Muse__Wire__Complete message = MUSE__WIRE__COMPLETE__INIT;

    fill_wire_vma(&wire, vma);
    message.vma = &wire;
    message.context = context;
    message.part_start = part.start;
    message.part_end = part.end;
    driver_call->space_id = vma->space_id;
    vma_text(vma, driver_call->args, sizeof(driver_call->args));
    driver->engine->stats.completes++;
    return call(driver, driver_call, FRAME_COMPLETE, &message.base, FRAME_COMPLETED,
                "mmap_complete");
}

int hook_legacy_mmap(struct driver *driver, struct driver_call *driver_call,
                     const struct hook_vma *vma)
{
    Muse__Wire__Vma wire;
    Muse__Wire__Complete message = MUSE__WIRE__COMPLETE__INIT;

    fill_wire_vma(&wire, vma);
    message.vma = &wire;
    message.part_start = vma->range.start;
    message.part_end = vma->range.end;
    driver_call->space_id = vma->space_id;
    vma_text(vma, driver_call->args, sizeof(driver_call->args));
    return call(driver, driver_call, FRAME_LEGACY_MMAP, &message.base, FRAME_PREPARED, "mmap");
}

/* A question about a VMA: its address and the rest of @message are set. */
static int call_about(struct driver *driver, struct driver_call *driver_call, uint16_t type,
                      Muse__Wire__VmaEvent *message, const struct hook_vma *vma, const char *hook)
{
    Muse__Wire__Vma wire;
    int r;

    fill_wire_vma(&wire, vma);
    message->vma = &wire;
    driver_call->space_id = vma->space_id;
    vma_text(vma, driver_call->args, sizeof(driver_call->args));
    r = call(driver, driver_call, type, &message->base, FRAME_COMPLETED, hook);
    message->vma = NULL;
    return r;
}

int hook_may_split(struct driver *driver, struct driver_call *driver_call, const struct vma *vma,
                   uint64_t addr)
{
    const struct hook_vma as_seen = hook_vma_of(vma);
    Muse__Wire__VmaEvent message = MUSE__WIRE__VMA_EVENT__INIT;

    message.has_addr = true;
    message.addr = addr;
    return call_about(driver, driver_call, FRAME_MAY_SPLIT, &message, &as_seen, "may_split");
}

int hook_mprotect(struct driver *driver, struct driver_call *driver_call, const struct vma *vma,
                  struct range range, uint64_t new_flags)
{
    const struct hook_vma as_seen = hook_vma_of(vma);
    Muse__Wire__VmaEvent message = MUSE__WIRE__VMA_EVENT__INIT;

    message.has_addr = message.has_end = message.has_vm_flags = true;
    message.addr = range.start;
    message.end = range.end;
    message.vm_flags = new_flags;
    return call_about(driver, driver_call, FRAME_MPROTECT, &message, &as_seen, "mprotect");
}

int hook_mremap(struct driver *driver, struct driver_call *driver_call, const struct hook_vma *vma,
                uint64_t parent_id)
{
    Muse__Wire__VmaEvent message = MUSE__WIRE__VMA_EVENT__INIT;

    message.has_parent = true;
    message.parent = parent_id;
    return call_about(driver, driver_call, FRAME_MREMAP, &message, vma, "mremap");
}

int hook_page_mkwrite(struct driver *driver, struct driver_call *driver_call, const struct vma *vma,
                      uint64_t page)
{
    const struct hook_vma as_seen = hook_vma_of(vma);
    Muse__Wire__Vma wire;
    Muse__Wire__PageMkwrite message = MUSE__WIRE__PAGE_MKWRITE__INIT;

    fill_wire_vma(&wire, &as_seen);
    message.vma = &wire;
    message.page = page;
    driver_call->space_id = as_seen.space_id;
    (void)snprintf(driver_call->args, sizeof(driver_call->args),
                   "space=%" PRIu64 " vma=%" PRIu64 " page=%" PRIu64, as_seen.space_id, as_seen.id,
                   page);
    return call(driver, driver_call, FRAME_PAGE_MKWRITE, &message.base, FRAME_COMPLETED,
                "page_mkwrite");
}

int hook_access(struct driver *driver, struct driver_call *driver_call, const struct vma *vma,
                uint64_t addr, uint32_t length)
{
    const struct hook_vma as_seen = hook_vma_of(vma);
    Muse__Wire__Vma wire;
    Muse__Wire__DriverAccess message = MUSE__WIRE__DRIVER_ACCESS__INIT;

    fill_wire_vma(&wire, &as_seen);
    message.vma = &wire;
    message.addr = addr;
    message.length = length;
    driver_call->space_id = as_seen.space_id;
    (void)snprintf(driver_call->args, sizeof(driver_call->args),
                   "space=%" PRIu64 " vma=%" PRIu64 " addr=%#" PRIx64 " length=%u",
                   as_seen.space_id, as_seen.id, addr, length);
    return call_new(driver, driver_call, FRAME_DRIVER_ACCESS, &message.base, FRAME_DRIVER_ACCESSED,
                    "access");
}

int hook_name(struct driver *driver, struct driver_call *driver_call, const struct vma *vma)
{
    const struct hook_vma as_seen = hook_vma_of(vma);
    Muse__Wire__Vma wire;
    Muse__Wire__VmaEvent message = MUSE__WIRE__VMA_EVENT__INIT;

    fill_wire_vma(&wire, &as_seen);
    message.vma = &wire;
    vma_text(&as_seen, driver_call->args, sizeof(driver_call->args));
    return call_new(driver, driver_call, FRAME_VMA_NAME, &message.base, FRAME_VMA_NAMED, "name");
}

int hook_writeback(struct driver *driver, struct driver_call *driver_call,
                   const struct object *object, struct range pages)
{
    Muse__Wire__Writeback message = MUSE__WIRE__WRITEBACK__INIT;

    message.object_key = object->key;
    message.object_id = object->id;
    message.first_page = pages.start;
    message.n_pages = range_len(pages);
    message.size = object->size_bytes;
    (void)snprintf(driver_call->args, sizeof(driver_call->args),
                   "object=%" PRIu64 " pages=%" PRIu64 "-%" PRIu64, object->id, pages.start,
                   pages.end);
    return call(driver, driver_call, FRAME_WRITEBACK, &message.base, FRAME_COMPLETED, "writeback");
}

int hook_fsync(struct driver *driver, struct driver_call *driver_call, const struct object *object)
{
    Muse__Wire__ObjectRef message = MUSE__WIRE__OBJECT_REF__INIT;

    message.object_key = object->key;
    message.object_id = object->id;
    (void)snprintf(driver_call->args, sizeof(driver_call->args), "object=%" PRIu64, object->id);
    return call_new(driver, driver_call, FRAME_DRIVER_FSYNC, &message.base, FRAME_COMPLETED,
                    "fsync");
}

int hook_truncate(struct driver *driver, struct driver_call *driver_call, const struct file *file,
                  uint64_t size)
{
    Muse__Wire__DriverTruncate message = MUSE__WIRE__DRIVER_TRUNCATE__INIT;

    message.handle = file->handle;
    message.object_key = file->object->key;
    message.size = size;
    (void)snprintf(driver_call->args, sizeof(driver_call->args), "file=%" PRIu64 " size=%" PRIu64,
                   file->handle, size);
    return call_new(driver, driver_call, FRAME_DRIVER_TRUNCATE, &message.base, FRAME_COMPLETED,
                    "truncate");
}

int hook_fallocate(struct driver *driver, struct driver_call *driver_call, const struct file *file,
                   uint32_t mode, struct range bytes)
{
    Muse__Wire__DriverFallocate message = MUSE__WIRE__DRIVER_FALLOCATE__INIT;

    message.handle = file->handle;
    message.object_key = file->object->key;
    message.mode = mode;
    message.offset = bytes.start;
    message.length = range_len(bytes);
    (void)snprintf(driver_call->args, sizeof(driver_call->args),
                   "file=%" PRIu64 " mode=%#x bytes=%" PRIu64 "-%" PRIu64, file->handle, mode,
                   bytes.start, bytes.end);
    return call_new(driver, driver_call, FRAME_DRIVER_FALLOCATE, &message.base, FRAME_COMPLETED,
                    "fallocate");
}

int hook_completed(struct driver *driver, const struct driver_call *call, const struct space *space,
                   const struct frame *frame, char *text, size_t size)
{
    Muse__Wire__Completed *answer = NULL;
    int error;

    if (frame->header.type == FRAME_COMPLETED)
        answer = muse__wire__completed__unpack(NULL, frame->n_payload, frame->payload);
    if (!answer) {
        (void)snprintf(text, size, "its answer to %s does not decode", call->hook);
        driver_misbehaved(driver, space, call->hook, text);
        return -EREMOTEIO;
    }
    error = status_to_result(answer->error, -EREMOTEIO);
    if (answer->text && answer->text[0])
        (void)snprintf(text, size, "%s", answer->text);
    muse__wire__completed__free_unpacked(answer, NULL);
    return error;
}

void hook_resized(struct driver *driver, const struct object *object)
{
    Muse__Wire__DriverResized message = MUSE__WIRE__DRIVER_RESIZED__INIT;
    char args[64];

    message.object_key = object->key;
    message.object_id = object->id;
    message.size = object->size_bytes;
    (void)snprintf(args, sizeof(args), "object=%" PRIu64 " size=%" PRIu64, object->id,
                   object->size_bytes);
    tell(driver, FRAME_DRIVER_RESIZED, &message.base, "resized", args);
}

void hook_mmap_abort(struct driver *driver, uint64_t handle, uint64_t private_data,
                     uint64_t context, uint64_t prepare_id)
{
    Muse__Wire__Abort message = MUSE__WIRE__ABORT__INIT;
    char args[64];

    message.handle = handle;
    message.private_data = private_data;
    message.context = context;
    message.prepare_id = prepare_id;
    (void)snprintf(args, sizeof(args), "file=%" PRIu64 " prepare=%" PRIu64, handle, prepare_id);
    driver->engine->stats.aborts++;
    tell(driver, FRAME_ABORT, &message.base, "mmap_abort", args);
}

static void tell_vma(struct driver *driver, uint16_t type, const struct hook_vma *vma,
                     const uint64_t *parent_id, const char *hook)
{
    Muse__Wire__Vma wire;
    Muse__Wire__VmaEvent message = MUSE__WIRE__VMA_EVENT__INIT;
    char args[160];

    fill_wire_vma(&wire, vma);
    message.vma = &wire;
    if (parent_id) {
        message.has_parent = true;
        message.parent = *parent_id;
    }
    vma_text(vma, args, sizeof(args));
    tell(driver, type, &message.base, hook, args);
}

void hook_vm_open(struct driver *driver, const struct hook_vma *vma, uint64_t parent_id)
{
    driver->n.vm_open++;
    driver->engine->stats.opens++;
    tell_vma(driver, FRAME_VMA_OPEN, vma, &parent_id, "vm_open");
}

void hook_vm_close(struct driver *driver, const struct hook_vma *vma)
{
    driver->n.vm_close++;
    driver->engine->stats.closes++;
    tell_vma(driver, FRAME_VMA_CLOSE, vma, NULL, "vm_close");
}

void hook_release(struct driver *driver, uint64_t handle)
{
    Muse__Wire__HandleRef message = MUSE__WIRE__HANDLE_REF__INIT;
    char args[32];

    message.handle = handle;
    (void)snprintf(args, sizeof(args), "file=%" PRIu64, handle);
    driver->n.released++;
    tell(driver, FRAME_DRIVER_RELEASE, &message.base, "release", args);
}

void hook_object(struct driver *driver, const struct object *object, int cache_fd)
{
    Muse__Wire__DriverObject message = MUSE__WIRE__DRIVER_OBJECT__INIT;

    message.object_key = object->key;
    message.object_id = object->id;
    message.size = object->size_bytes;
    message.page_bytes = object_page_bytes(object);
    if (driver->alive) { /* a failure ends the connection by itself */
        (void)driver_link_send(driver->link, FRAME_DRIVER_OBJECT, 0, &message.base, &cache_fd, 1);
    }
}

void hook_object_gone(struct driver *driver, const struct object *object)
{
    Muse__Wire__DriverObjectGone message = MUSE__WIRE__DRIVER_OBJECT_GONE__INIT;

    message.object_key = object->key;
    message.object_id = object->id;
    if (driver->alive)
        (void)driver_link_send(driver->link, FRAME_DRIVER_OBJECT_GONE, 0, &message.base, NULL, 0);
}
