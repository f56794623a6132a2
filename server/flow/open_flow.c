/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files: open, close, fstat, pread, and why an address failed.
 *
 *   OPEN   find the driver -> open hook -> object (shared by key) -> file -> OPENED with the
 *          object's memfd
 *   PREAD  make the pages valid, and pin them -> READABLE; the client then reads its own fd, so no
 *          byte goes over a socket -> READ_DONE
 */
#include "server/flow/open_flow.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/client.pb-c.h"
#include "proto/driver.pb-c.h"
#include "proto/limits.h"
#include "proto/status.h"
#include "server/flow/access_flow.h"
#include "server/flow/driver_hooks.h"
#include "server/flow/evict_flow.h"
#include "server/flow/fill_flow.h"
#include "server/flow/flow_log.h"
#include "server/flow/loss_flow.h"
#include "server/flow/object_flow.h"
#include "server/flow/requests.h"
#include "server/flow/session_flow.h"
#include "server/flow/writeback.h"

/* ---- open ---- */

struct open_request {
    struct driver_call call;
    struct space *space;   /* ref */
    struct driver *driver; /* ref */
    uint64_t id;
    uint32_t oflags;
    char *path; /* owned */
};

static void open_free(struct open_request *request)
{
    charge_drop(&request->space->engine->quotas, request->space->uid, QUOTA_REQUESTS, 1);
    space_unref(request->space);
    driver_unref(request->driver);
    free(request->path);
    free(request);
}

static void open_fail(struct open_request *request, int error, const char *text)
{
    char object[256], sentence[ERROR_TEXT_BYTES_MAX];
    const struct flow_where where = {request->space, request->driver, object, "open"};

    (void)snprintf(object, sizeof(object), "%s/%.200s", request->driver->name, request->path);
    flow_refusal("open.failed", &where, error, text);
    space_fail(request->space, request->id, error,
               flow_sentence(&where, text, sentence, sizeof(sentence)));
}

/* Return: borrowed; -errno. */
static int fd_for(struct object *object, uid_t uid, bool writable)
{
    if (!writable)
        return backing_readonly_fd(&object->backing);
    return object_may_be_given(object, uid) ? object_writable_fd(object, uid) : -EAGAIN;
}

static void reply_opened(struct space *space, uint64_t id, struct file *file)
{
    Muse__Wire__Opened message = MUSE__WIRE__OPENED__INIT;
    Muse__Wire__Stat stat = MUSE__WIRE__STAT__INIT;
    struct object *object = file->object;
    const bool writable = (file->oflags & O_ACCMODE) == O_RDWR;
    const int fd = fd_for(object, space->uid, writable);

    stat.size = file->object->size_bytes;
    stat.mode = file->attr.mode;
    stat.inode = file->attr.inode;
    stat.uid = file->attr.uid;
    stat.gid = file->attr.gid;
    stat.mtime_ns = file->attr.mtime_ns;
    stat.nlink = file->attr.nlink;
    message.file_id = file->id;
    message.stat = &stat;
    message.page_bytes = object_page_bytes(object);
    if (fd < 0) {
        space_fail(space, id, fd,
                   fd == -EAGAIN ? "other programs hold the locks of too many page caches"
                                 : "no fd for the object");
        file_unhold(file, space);
        return;
    }
    space_reply_fds(space, id, FRAME_OPENED, &message.base, &fd, 1);
}

static void read_attr(const Muse__Wire__Attr *attr, struct file_attr *ret_attr)
{
    *ret_attr = (struct file_attr){.size = attr->size,
                                   .inode = attr->inode,
                                   .mode = attr->mode,
                                   .uid = attr->uid,
                                   .gid = attr->gid,
                                   .nlink = attr->has_nlink ? attr->nlink : 1,
                                   .mtime_ns = attr->mtime_ns};
}

void open_release_unwanted(struct driver *driver, uint64_t handle)
{
    driver->n.opened++;
    hook_release(driver, handle);
}

void open_drop_made(struct driver *driver, const Muse__Wire__Prepared *answer)
{
    if (answer->opened)
        open_release_unwanted(driver, answer->opened->handle);
}

int file_new(const struct open_ask *ask, const Muse__Wire__DriverOpened *opened,
             struct frame *frame, struct file **ret_file, const char **ret_why)
{
    struct space *space = ask->space;
    struct driver *driver = ask->driver;
    struct engine *engine = space->engine;
    struct object *object;
    struct file *file = NULL;
    int r;

    r = object_get(driver, opened, frame, ask->path, space->uid, &object, ret_why);
    if (r < 0)
        goto release;
    if ((ask->oflags & O_ACCMODE) != O_RDONLY) {
        object->had_writer = true;
        object->writer_uid = space->uid;
        object->writer_gid = space->gid;
    }
    r = -EMFILE;
    *ret_why = "too many open files of this user";
    if (charge_take(&engine->quotas, space->uid, QUOTA_FILES, 1) != 0)
        goto release_object;
    r = -ENOMEM;
    *ret_why = "out of memory";
    file = calloc(1, sizeof(*file));
    if (file)
        file->path = strdup(ask->path);
    if (!file || !file->path) {
        free(file);
        charge_drop(&engine->quotas, space->uid, QUOTA_FILES, 1);
        goto release_object;
    }
    file->id = engine_id(engine);
    file->n_refs = 1;
    file->driver = driver_ref(driver);
    file->object = object;
    file->handle = opened->handle;
    file->oflags = ask->oflags;
    file->noexec = opened->noexec;
    file->map_sync = opened->map_sync;
    file->map_align = object_page_bytes(object);
    if (opened->has_map_align && opened->map_align > file->map_align)
        file->map_align = opened->map_align;
    file->uid = space->uid;
    file->wb_seen_seq = object->wb.told_seq; /* what nobody was told of is its, too */
    read_attr(opened->attr, &file->attr);
    driver->n.opened++;
    *ret_file = file;
    return 0;

release_object:
    object_unref(object);
release:
    open_release_unwanted(driver, opened->handle);
    return r;
}

static void open_finish(struct open_request *request, const Muse__Wire__DriverOpened *opened,
                        struct frame *frame)
{
    struct space *space = request->space;
    const struct open_ask ask = {.space = space,
                                 .driver = request->driver,
                                 .path = request->path,
                                 .oflags = request->oflags};
    const char *why;
    struct file *file;
    int r = file_new(&ask, opened, frame, &file, &why);

    if (r == 0) {
        r = file_hold(file, space);
        if (r < 0)
            why = "out of memory";
        else
            reply_opened(space, request->id, file);
        file_unref(file); /* releases, where nobody holds it */
    }
    if (r < 0)
        open_fail(request, r, why);
}

int driver_failed_read(struct frame *frame, char *buf, size_t size)
{
    Muse__Wire__DriverFailed *failed =
        muse__wire__driver_failed__unpack(NULL, frame->n_payload, frame->payload);
    const int error =
        status_to_result(failed && failed->error ? (int64_t)failed->error : -1, -EREMOTEIO);
    const char *text =
        failed && failed->text && failed->text[0] ? failed->text : strerrordesc_np(-error);

    (void)snprintf(buf, size, "%s", text ? text : "the driver refused");
    if (failed)
        muse__wire__driver_failed__free_unpacked(failed, NULL);
    return error;
}

static void on_open_answer(struct open_request *request, struct frame *frame)
{
    Muse__Wire__DriverOpened *opened;

    opened = muse__wire__driver_opened__unpack(NULL, frame->n_payload, frame->payload);
    if (!opened) {
        open_fail(request, -EREMOTEIO, "the driver's answer to open does not decode");
        hook_ended(request->driver, &request->call, -EREMOTEIO);
        driver_misbehaved(request->driver, request->space, "open",
                          "its answer to open does not decode");
        return;
    }
    hook_ended(request->driver, &request->call, 0);
    if (request->space->dead)
        open_release_unwanted(request->driver, opened->handle);
    else
        open_finish(request, opened, frame);
    muse__wire__driver_opened__free_unpacked(opened, NULL);
}

static void on_open_refused(struct open_request *request, struct frame *frame)
{
    char text[ERROR_TEXT_BYTES_MAX];
    const int error = driver_failed_read(frame, text, sizeof(text));

    hook_ended(request->driver, &request->call, error);
    driver_note_error(request->driver, "open", error, text);
    open_fail(request, error, text);
}

static void open_lost(struct open_request *request)
{
    const char *why;
    const int error = driver_gone_error(request->driver, &why);

    hook_ended(request->driver, &request->call, error);
    open_fail(request, error, why);
}

static void on_open_end(struct driver_call *call, enum call_end end, struct frame *frame)
{
    struct open_request *request = CONTAINER_OF(call, struct open_request, call);

    switch (end) {
    case CALL_DEADLINE:
        hook_ended(request->driver, call, -ETIMEDOUT);
        open_fail(request, -ETIMEDOUT, "the driver did not answer open in time");
        return; /* a late yes must be released */
    case CALL_LATE:
        if (frame->header.type == FRAME_DRIVER_OPENED) {
            Muse__Wire__DriverOpened *opened =
                muse__wire__driver_opened__unpack(NULL, frame->n_payload, frame->payload);
            if (opened) {
                open_release_unwanted(request->driver, opened->handle);
                muse__wire__driver_opened__free_unpacked(opened, NULL);
            }
        }
        request->driver->n.late++;
        break;
    case CALL_LOST:
        if (!call->late)
            open_lost(request);
        break;
    case CALL_ANSWERED:
        if (frame->header.type == FRAME_DRIVER_FAILED)
            on_open_refused(request, frame);
        else
            on_open_answer(request, frame);
        break;
    }
    open_free(request);
}

struct driver *driver_find(const struct engine *engine, const char *name, size_t n_name)
{
    struct list *pos;

    list_for_each(pos, &engine->driver_names) {
        struct driver *driver = CONTAINER_OF(pos, struct driver, by_name);

        if (strlen(driver->name) == n_name && memcmp(driver->name, name, n_name) == 0)
            return driver->recovering ? NULL : driver;
    }
    return NULL;
}

/* @buf: for a sentence that is made here */
static int open_start(struct space *space, uint64_t id, const Muse__Wire__Open *message, char *buf,
                      size_t size, const char **ret_why)
{
    const char *slash = strchr(message->name, '/');
    const struct hook_client client = hook_client_of(space);
    struct open_request *request;
    struct driver *driver;
    int r;

    *ret_why = "the name is too long";
    if (strlen(message->name) >= NAME_BYTES_MAX)
        return -ENAMETOOLONG;
    driver =
        slash ? driver_find(space->engine, message->name, (size_t)(slash - message->name)) : NULL;
    if (!driver) {
        const int n = slash && slash - message->name < 200 ? (int)(slash - message->name) : 200;

        (void)snprintf(buf, size, slash ? "no such driver: %.*s" : "%.*s: not DRIVER/OBJECT", n,
                       message->name);
        *ret_why = buf;
        return -ENODEV;
    }
    *ret_why = "too many requests in flight";
    if (charge_take(&space->engine->quotas, space->uid, QUOTA_REQUESTS, 1) != 0)
        return -EAGAIN;
    *ret_why = "out of memory";
    request = calloc(1, sizeof(*request));
    if (!request) {
        charge_drop(&space->engine->quotas, space->uid, QUOTA_REQUESTS, 1);
        return -ENOMEM;
    }
    request->space = space_ref(space);
    request->driver = driver_ref(driver);
    request->id = id;
    request->oflags = message->oflags;
    request->path = strdup(slash + 1);
    request->call.end = on_open_end;
    request->call.wants_late = true;
    r = request->path ? hook_open(driver, &request->call, &client, request->path, message->oflags,
                                  message->mode)
                      : -ENOMEM;
    if (r < 0)
        open_free(request);
    if (r == -EROFS)
        *ret_why = "the driver serves all its files read-only";
    if (r == -EBUSY) {
        *ret_why = "the driver has too much unread already";
        r = -EAGAIN;
    }
    return r;
}

int request_open(struct space *space, struct frame *frame)
{
    Muse__Wire__Open *message = muse__wire__open__unpack(NULL, frame->n_payload, frame->payload);
    const char *why = NULL;
    char text[ERROR_TEXT_BYTES_MAX];
    int r;

    if (!message)
        return -EPROTO;
    r = open_start(space, frame->header.id, message, text, sizeof(text), &why);
    if (r < 0) {
        const struct flow_where where = {space, NULL, message->name, "open"};

        flow_refusal("open.refused", &where, r, why);
        space_fail(space, frame->header.id, r, why);
    }
    muse__wire__open__free_unpacked(message, NULL);
    return 0;
}

/* ---- close, fstat ---- */

/* Decodes a FileRef. Return: 0 with the file, or NULL when the client has no such file; -EPROTO. */
static int read_file_ref(struct space *space, struct frame *frame, struct file **ret_file)
{
    Muse__Wire__FileRef *message =
        muse__wire__file_ref__unpack(NULL, frame->n_payload, frame->payload);

    if (!message)
        return -EPROTO;
    *ret_file = idmap_get(&space->files, message->file_id);
    muse__wire__file_ref__free_unpacked(message, NULL);
    return 0;
}

int request_close(struct space *space, struct frame *frame)
{
    struct file *file;
    int r = read_file_ref(space, frame, &file);

    if (r < 0)
        return r;
    if (!file) {
        space_fail(space, frame->header.id, -EBADF, "no such open file");
        return 0;
    }
    writeback_kick(file->object);
    file_unhold(file, space);
    space_reply(space, frame->header.id, FRAME_DONE, NULL);
    return 0;
}

struct fstat_request {
    struct driver_call call;
    struct space *space; /* ref */
    struct file *file;   /* ref */
    uint64_t id;
};

static void reply_stat(struct space *space, uint64_t id, const struct file *file)
{
    Muse__Wire__Stat stat = MUSE__WIRE__STAT__INIT;

    stat.size = file->object->size_bytes;
    stat.mode = file->attr.mode;
    stat.inode = file->attr.inode;
    stat.uid = file->attr.uid;
    stat.gid = file->attr.gid;
    stat.mtime_ns = file->attr.mtime_ns;
    stat.nlink = file->attr.nlink;
    stat.resident_bytes = file->object->pages.n_valid << file->object->page_shift;
    space_reply(space, id, FRAME_STAT, &stat.base);
}

static int getattr_failed(const struct fstat_request *request, enum call_end end,
                          struct frame *frame, char *buf, size_t size, const char **ret_why)
{
    struct driver *driver = request->file->driver;

    *ret_why = buf;
    if (end == CALL_LOST)
        return driver_gone_error(driver, ret_why);
    if (frame->header.type == FRAME_DRIVER_FAILED)
        return driver_failed_read(frame, buf, size);
    *ret_why = "its answer to getattr does not decode";
    driver_misbehaved(driver, request->space, "getattr", *ret_why);
    return -EREMOTEIO;
}

static void on_getattr_end(struct driver_call *call, enum call_end end, struct frame *frame)
{
    struct fstat_request *request = CONTAINER_OF(call, struct fstat_request, call);
    Muse__Wire__Attr *attr = NULL;
    char text[ERROR_TEXT_BYTES_MAX];
    const char *why = "the driver did not answer getattr in time";
    int result = -ETIMEDOUT;

    if (end == CALL_ANSWERED && frame->header.type == FRAME_DRIVER_ATTR)
        attr = muse__wire__attr__unpack(NULL, frame->n_payload, frame->payload);
    if (!attr && end != CALL_DEADLINE)
        result = getattr_failed(request, end, frame, text, sizeof(text), &why);
    if (attr) {
        const uint64_t size = request->file->attr.size;

        read_attr(attr, &request->file->attr);
        request->file->attr.size = size; /* the object's, for as long as it is not resized */
        muse__wire__attr__free_unpacked(attr, NULL);
        hook_ended(request->file->driver, call, 0);
        reply_stat(request->space, request->id, request->file);
    } else {
        const struct flow_where where = {request->space, request->file->driver,
                                         request->file->object->name, "getattr"};
        char sentence[ERROR_TEXT_BYTES_MAX];

        hook_ended(request->file->driver, call, result);
        driver_note_error(request->file->driver, "getattr", result, why);
        flow_error("fstat.failed", &where, result, why);
        space_fail(request->space, request->id, result,
                   flow_sentence(&where, why, sentence, sizeof(sentence)));
    }
    file_unref(request->file);
    space_unref(request->space);
    free(request);
}

int request_fstat(struct space *space, struct frame *frame)
{
    struct fstat_request *request;
    struct file *file;
    int r = read_file_ref(space, frame, &file);

    if (r < 0)
        return r;
    if (!file) {
        space_fail(space, frame->header.id, -EBADF, "no such open file");
        return 0;
    }
    if (!(file->driver->file_hooks & FILE_HOOK_GETATTR) || !file->driver->alive) {
        reply_stat(space, frame->header.id, file);
        return 0;
    }
    request = calloc(1, sizeof(*request));
    if (!request) {
        space_fail(space, frame->header.id, -ENOMEM, "out of memory");
        return 0;
    }
    request->space = space_ref(space);
    request->file = file_ref(file);
    request->id = frame->header.id;
    request->call.end = on_getattr_end;
    request->call.space_id = space->id;
    if (hook_getattr(file->driver, &request->call, file->handle) < 0) {
        reply_stat(space, frame->header.id, file);
        space_unref(request->space);
        file_unref(request->file);
        free(request);
    }
    return 0;
}

/* ---- pread ---- */

/* Chosen: threads of one client that read at the same time. */
#define PREADS_MAX 256u

/* From PREAD to READ_DONE: the client reads its own fd in between, where a page that was evicted
 * would be zeros. */
struct pread_request {
    struct fill_wait wait;
    struct evict_pin pin;
    struct list of_space; /* in space.preads */
    struct space *space;  /* ref */
    struct file *file;    /* ref */
    uint64_t id;
    uint64_t length;
    uint64_t offset;
    uint64_t pin_id; /* 0: not answered yet */
};

static void reply_readable(struct space *space, uint64_t id, uint64_t length, uint64_t pin_id)
{
    Muse__Wire__Readable message = MUSE__WIRE__READABLE__INIT;

    message.length = length;
    message.has_pin = pin_id != 0;
    message.pin = pin_id;
    space_reply(space, id, FRAME_READABLE, &message.base);
}

static void pread_free(struct pread_request *request)
{
    list_del(&request->of_space);
    request->space->n_preads--;
    evict_pin_end(&request->pin);
    charge_drop(&request->space->engine->quotas, request->space->uid, QUOTA_REQUESTS, 1);
    file_unref(request->file);
    space_unref(request->space);
    free(request);
}

static void pread_answer(struct pread_request *request, uint64_t length)
{
    request->pin_id = engine_id(request->space->engine);
    reply_readable(request->space, request->id, length, request->pin_id);
}

static void on_pread_valid(struct fill_wait *wait, int error, uint64_t failed_page)
{
    struct pread_request *request = CONTAINER_OF(wait, struct pread_request, wait);
    const struct object *object = request->file->object;
    const uint64_t failed_at = failed_page << object->page_shift;

    if (error == 0) {
        pread_answer(request, request->length);
    } else if (failed_at > request->offset) {
        pread_answer(request, failed_at - request->offset); /* short, as read(2) */
    } else {
        const struct poison_record *record = poison_find(&object->poison, failed_page);
        const char *text = record ? record->text : "the page cannot be had";
        const struct flow_where where = {request->space, object->driver, object->name, "pread"};

        flow_error("pread.failed", &where, error, text);
        space_fail(request->space, request->id, error, text);
        pread_free(request);
    }
}

void pread_space_gone(struct space *space)
{
    struct list *node;

    while ((node = list_first(&space->preads))) {
        struct pread_request *request = CONTAINER_OF(node, struct pread_request, of_space);

        fill_wait_cancel(&request->wait);
        pread_free(request);
    }
}

int request_read_done(struct space *space, struct frame *frame)
{
    Muse__Wire__ReadDone *message =
        muse__wire__read_done__unpack(NULL, frame->n_payload, frame->payload);
    struct list *pos, *tmp;

    if (!message)
        return -EPROTO;
    list_for_each_safe(pos, tmp, &space->preads) {
        struct pread_request *request = CONTAINER_OF(pos, struct pread_request, of_space);

        if (request->pin_id != 0 && request->pin_id == message->pin)
            pread_free(request);
    }
    muse__wire__read_done__free_unpacked(message, NULL);
    return 0;
}

static int pread_start(struct space *space, uint64_t id, struct file *file, uint64_t offset,
                       uint64_t length)
{
    const unsigned shift = file->object->page_shift;
    const struct range pages = {offset >> shift, ((offset + length - 1) >> shift) + 1};
    struct pread_request *request;
    int r;

    if (space->n_preads >= PREADS_MAX ||
        charge_take(&space->engine->quotas, space->uid, QUOTA_REQUESTS, 1) != 0)
        return -EAGAIN;
    request = calloc(1, sizeof(*request));
    if (!request) {
        charge_drop(&space->engine->quotas, space->uid, QUOTA_REQUESTS, 1);
        return -ENOMEM;
    }
    request->space = space_ref(space);
    request->file = file_ref(file);
    request->id = id;
    request->offset = offset;
    request->length = length;
    request->wait.done = on_pread_valid;
    request->wait.what = "pread";
    request->wait.space = space;
    list_add_tail(&space->preads, &request->of_space);
    space->n_preads++;
    evict_flow_touch(file->object, NULL, pages.start);
    evict_pin_begin(&request->pin, file->object, pages, space);
    r = fill_wait_start(file->object, pages, &request->wait);
    if (r != 0) /* done already: it came at once, or failed at once, perhaps in the middle */
        on_pread_valid(&request->wait, r > 0 ? 0 : r, request->wait.next_page);
    return 0;
}

int request_pread(struct space *space, struct frame *frame)
{
    Muse__Wire__Pread *message = muse__wire__pread__unpack(NULL, frame->n_payload, frame->payload);
    struct file *file;
    uint64_t offset, length;
    int r;

    if (!message)
        return -EPROTO;
    file = idmap_get(&space->files, message->file_id);
    offset = message->offset;
    length = message->length;
    muse__wire__pread__free_unpacked(message, NULL);
    if (!file || offset > INT64_MAX) {
        space_fail(space, frame->header.id, file ? -EINVAL : -EBADF,
                   file ? "the offset is negative" : "no such open file");
        return 0;
    }
    if ((file->oflags & O_ACCMODE) == O_WRONLY) {
        space_fail(space, frame->header.id, -EBADF, "the file is not open for reading");
        return 0;
    }
    if (offset >= file->object->size_bytes || length == 0) {
        reply_readable(space, frame->header.id, 0, 0);
        return 0;
    }
    if (length > PREAD_BYTES_MAX)
        length = PREAD_BYTES_MAX;
    if (length > file->object->size_bytes - offset)
        length = file->object->size_bytes - offset;
    length = evict_flow_clip(file->object, offset, length);
    r = pread_start(space, frame->header.id, file, offset, length);
    if (r < 0)
        space_fail(space, frame->header.id, r, "too many requests, or out of memory");
    return 0;
}

/* ---- why an address failed ---- */

static void reply_error_is(struct space *space, uint64_t id, const struct vma *vma, uint64_t addr)
{
    Muse__Wire__ErrorIs message = MUSE__WIRE__ERROR_IS__INIT;
    const struct object *object = vma_object(vma);
    const uint64_t offset = (vma_pgoff_at(vma, addr) << VMA_PAGE_SHIFT) + addr % VMA_PAGE_BYTES;
    const struct poison_record *record = poison_find(&object->poison, offset >> object->page_shift);
    static char past_end_text[] = "beyond the end of the object";
    static char fault_hook[] = "fault";

    message.driver = object->driver->name;
    message.object = object->name;
    message.has_offset = true;
    message.offset = offset;
    message.has_access = message.access = access_is_offered(vma, addr);
    if (record) {
        char hook[sizeof(record->hook)];
        char text[sizeof(record->text)];

        memcpy(hook, record->hook, sizeof(hook));
        memcpy(text, record->text, sizeof(text));
        message.error = (uint32_t)record->error;
        message.hook = hook;
        message.text = text;
        space_reply(space, id, FRAME_ERROR_IS, &message.base);
        return;
    }
    if (offset >= object->backing.size_bytes) {
        message.error = ENXIO;
        message.hook = fault_hook;
        message.text = past_end_text;
    }
    space_reply(space, id, FRAME_ERROR_IS, &message.base);
}

int request_error_at(struct space *space, struct frame *frame)
{
    Muse__Wire__ErrorAt *message =
        muse__wire__error_at__unpack(NULL, frame->n_payload, frame->payload);
    Muse__Wire__ErrorIs nothing = MUSE__WIRE__ERROR_IS__INIT;
    struct vma *vma;
    uint64_t addr;

    if (!message)
        return -EPROTO;
    addr = message->addr;
    muse__wire__error_at__free_unpacked(message, NULL);
    vma = vma_tree_find(&space->aspace.vmas, addr);
    if (vma && vma->kind == VMA_MAPPED && !vma_is_anon(vma))
        reply_error_is(space, frame->header.id, vma, addr);
    else
        space_reply(space, frame->header.id, FRAME_ERROR_IS, &nothing.base);
    return 0;
}
