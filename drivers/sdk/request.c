/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The life of one hook call that has an answer: made, run, perhaps deferred, answered once, retired
 * on the main thread. Also muse_set_error(), whose text goes with the answer. Owns the per-thread
 * state, the only one in this library: which hook runs here, and the sentence.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "drivers/sdk/sdk.h"
#include "proto/status.h"

static _Thread_local struct {
    struct muse_request *request; /* borrowed; the hook that runs on this thread */
    char text[ERROR_TEXT_BYTES_MAX];
} thread;

void muse_set_error(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(thread.text, sizeof(thread.text), format, args);
    va_end(args);
}

const char *request_thread_text(void)
{
    return thread.text;
}

void request_clear_thread_text(void)
{
    thread.text[0] = '\0';
}

static void take_thread_text(struct muse_request *request)
{
    if (thread.text[0])
        (void)snprintf(request->text, sizeof(request->text), "%s", thread.text);
    request_clear_thread_text();
}

struct muse_request *request_new(struct muse_driver *driver, enum request_kind kind,
                                 struct event *event)
{
    struct muse_request *request = calloc(1, sizeof(*request));

    if (!request) {
        (void)event_free(event);
        return NULL;
    }
    request->driver = driver;
    request->kind = kind;
    request->id = event->id;
    request->event = event;
    list_init(&request->node);
    return request;
}

struct muse_request *request_free(struct muse_request *request)
{
    if (request) {
        (void)event_free(request->event);
        free(request->map_call);
        free(request->verbs);
        free(request->new_name);
        free(request->forward);
        free(request->buf);
        (void)path_result_free(request->path);
        free(request);
    }
    return NULL;
}

void request_begin(struct muse_request *request)
{
    thread.request = request;
    request_clear_thread_text();
}

/* Locked: driver->lock. */
static void answer(struct muse_request *request, int error)
{
    const bool hook_succeeded = error == 0;

    request->error = error;
    if (hook_succeeded)
        request_grown(request);
    if (answer_send(request) < 0) {
        request->orphaned = hook_succeeded;
        request->error = -EINVAL;
    }
}

void request_end(struct muse_request *request, int error)
{
    struct muse_driver *driver = request->driver;

    thread.request = NULL;
    if (request->deferred) {
        request_clear_thread_text(); /* the request has its copy, and may be answered already */
        return;
    }
    take_thread_text(request);
    (void)pthread_mutex_lock(&driver->lock);
    answer(request, error);
    (void)pthread_mutex_unlock(&driver->lock);
    request_retire(request);
}

bool request_is_running(const struct muse_request *request)
{
    return thread.request == request;
}

struct muse_request *muse_request_defer(void)
{
    struct muse_request *request = thread.request;
    struct muse_driver *driver;

    if (!request || request->deferred)
        return request;
    driver = request->driver;
    request->deferred = true;
    take_thread_text(request);
    driver->n_deferred++;
    if (request->kind == REQUEST_OPEN)
        driver->n_deferred_opens++;
    (void)pthread_mutex_lock(&driver->lock);
    list_add_tail(&driver->deferred, &request->node);
    (void)pthread_mutex_unlock(&driver->lock);
    return request;
}

void muse_reply(struct muse_request *request, int error)
{
    struct muse_driver *driver = request->driver;

    take_thread_text(request);
    (void)pthread_mutex_lock(&driver->lock);
    answer(request, error);
    list_del(&request->node);
    list_add_tail(&driver->replied, &request->node);
    sdk_wake(driver); /* locked: with its last request the main thread may free the driver */
    (void)pthread_mutex_unlock(&driver->lock);
}

static void retire_open(struct muse_request *request)
{
    struct muse_driver *driver = request->driver;
    struct file *file = request->file;
    void (*sent)(void *) = request->open_result.extents_sent;

    if (sent && (request->error == 0 || request->orphaned))
        sent(request->open_result.file_private);
    if (!file)
        return;
    if (request->error == 0) {
        file->open = true;
    } else if (request->orphaned) {
        hook_release_file(driver, file);
    } else {
        (void)file_free(driver, file);
    }
}

/* A number that is no errno says neither yes nor no: the server sends an abort for it. */
static bool is_refusal(int error)
{
    return status_is_legal(-(int64_t)error);
}

/* The file that was made for the mapping, and that the server does not know. */
static void drop_new_file(struct muse_request *request)
{
    struct file *file = TAKE(request->new_file);

    if (file && (request->error != 0 || request->orphaned || request->desc.vm_file != &file->pub))
        hook_release_file(request->driver, file);
}

static void retire_prepare(struct muse_request *request)
{
    struct muse_driver *driver = request->driver;
    struct map_call *call = TAKE(request->map_call);

    if (!call || (is_refusal(request->error) && !request->orphaned)) {
        free(call);
        drop_new_file(request);
        return;
    }
    call->private_data = request->desc.private_data;
    call->context = request->desc.mmap_context;
    call->file->n_users++;
    list_add(&driver->map_calls, &call->node);
    if (request->orphaned)
        hook_abort_call(driver, call);
    drop_new_file(request);
}

static void retire_vma(struct muse_request *request)
{
    struct muse_driver *driver = request->driver;
    struct vma *vma = request->vma;

    if (!vma)
        return;
    vma->request = NULL;
    if (request->kind == REQUEST_LEGACY_MMAP) {
        if (vma->pub.vm_ops == MUSE_VM_OPS_UNSET)
            vma->pub.vm_ops = NULL;
        /* one that was passed on is the other driver's: this one hears no more of it */
        vma_set_live(vma, (request->error == 0 && !request->forward) || request->orphaned);
        if (request->orphaned)
            hook_close_vma(driver, vma);
    }
    vma_settle(driver, vma);
}

void request_retire(struct muse_request *request)
{
    struct muse_driver *driver = request->driver;

    if (request->deferred) {
        driver->n_deferred--;
        if (request->kind == REQUEST_OPEN)
            driver->n_deferred_opens--;
    }
    if (request->file)
        request->file->n_users--;
    switch (request->kind) {
    case REQUEST_OPEN:
        retire_open(request);
        break;
    case REQUEST_PREPARE:
        retire_prepare(request);
        break;
    case REQUEST_COMPLETE:
    case REQUEST_LEGACY_MMAP:
    case REQUEST_MAY_SPLIT:
    case REQUEST_MPROTECT:
    case REQUEST_MREMAP:
    case REQUEST_ACCESS:
    case REQUEST_NAME:
    case REQUEST_PAGE_MKWRITE:
        retire_vma(request);
        break;
    case REQUEST_WRITEBACK:
    case REQUEST_FSYNC:
        request_unpin(request);
        break;
    case REQUEST_GETATTR:
    case REQUEST_TRUNCATE:
    case REQUEST_FALLOCATE:
    case REQUEST_PATH:
        break;
    }
    (void)request_free(request);
}
