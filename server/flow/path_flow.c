/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Names rather than open files: STATAT, READDIR, READLINK, UNLINK, RENAME, MKDIR.
 *
 *   ask -> the name's driver has the hook? -> one call to it -> its answer, checked, to the client
 *
 * The empty name is the folder of all drivers, which the server itself shows; a driver's own name
 * is a folder, also when the driver shows nothing of what is in it. Nothing is kept between two
 * asks: where a listing goes on is said by the cursor, which is the driver's.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "proto/client.pb-c.h"
#include "proto/driver.pb-c.h"
#include "proto/limits.h"
#include "proto/path.pb-c.h"
#include "proto/status.h"
#include "server/flow/driver_hooks.h"
#include "server/flow/open_flow.h"
#include "server/flow/path_call.h"
#include "server/flow/requests.h"
#include "server/flow/session_flow.h"

/* Drivers in one answer; chosen, their names are short. */
#define ROOT_ENTRIES_MAX 64u

#define ROOT_INODE 1u

struct path_request;

/* What differs between the six. */
struct path_kind {
    uint16_t type; /* of the client's frame */
    uint16_t driver_type;
    uint16_t driver_answer;
    uint32_t hook_bit;
    const char *hook;
    /* Check and pass on the driver's answer. Return: 0; -EREMOTEIO. */
    int (*reply)(const struct path_request *request, const struct frame *frame);
};

struct path_request {
    struct path_call ask;
    const struct path_kind *kind;
};

/* ---- answers ---- */

static void send_stat(struct space *space, uint64_t id, const Muse__Wire__Attr *attr)
{
    Muse__Wire__Stat stat = MUSE__WIRE__STAT__INIT;

    stat.size = attr->size;
    stat.mode = attr->mode;
    stat.inode = attr->inode;
    stat.uid = attr->uid;
    stat.gid = attr->gid;
    stat.mtime_ns = attr->mtime_ns;
    stat.nlink = attr->has_nlink ? attr->nlink : 1;
    space_reply(space, id, FRAME_STAT, &stat.base);
}

static void send_folder(struct space *space, uint64_t id, uint64_t inode)
{
    Muse__Wire__Attr attr = MUSE__WIRE__ATTR__INIT;

    attr.mode = S_IFDIR | 0555;
    attr.inode = inode;
    attr.has_nlink = true;
    attr.nlink = 2;
    send_stat(space, id, &attr);
}

static int reply_stat(const struct path_request *request, const struct frame *frame)
{
    Muse__Wire__Attr *attr = muse__wire__attr__unpack(NULL, frame->n_payload, frame->payload);

    if (!attr || attr->size > INT64_MAX) {
        if (attr)
            muse__wire__attr__free_unpacked(attr, NULL);
        return -EREMOTEIO;
    }
    send_stat(request->ask.space, request->ask.id, attr);
    muse__wire__attr__free_unpacked(attr, NULL);
    return 0;
}

/* What a client may take for the name of something in a folder. */
static bool is_entry(const Muse__Wire__DirEntry *entry)
{
    return entry->name[0] != '\0' && !strchr(entry->name, '/') && strcmp(entry->name, ".") != 0 &&
           strcmp(entry->name, "..") != 0 && entry->next != 0;
}

static int reply_entries(const struct path_request *request, const struct frame *frame)
{
    Muse__Wire__DirEntries *entries =
        muse__wire__dir_entries__unpack(NULL, frame->n_payload, frame->payload);
    bool is_good = entries && (entries->at_end || entries->n_entries > 0);

    for (size_t i = 0; is_good && i < entries->n_entries; i++)
        is_good = is_entry(entries->entries[i]);
    if (is_good)
        space_reply(request->ask.space, request->ask.id, FRAME_DIR_ENTRIES, &entries->base);
    if (entries)
        muse__wire__dir_entries__free_unpacked(entries, NULL);
    return is_good ? 0 : -EREMOTEIO;
}

static int reply_link(const struct path_request *request, const struct frame *frame)
{
    Muse__Wire__LinkTarget *link =
        muse__wire__link_target__unpack(NULL, frame->n_payload, frame->payload);
    const bool is_good = link && link->target[0] && strlen(link->target) < NAME_BYTES_MAX;

    if (is_good)
        space_reply(request->ask.space, request->ask.id, FRAME_LINK_TARGET, &link->base);
    if (link)
        muse__wire__link_target__free_unpacked(link, NULL);
    return is_good ? 0 : -EREMOTEIO;
}

static int reply_done(const struct path_request *request, const struct frame *frame)
{
    (void)frame;
    space_reply(request->ask.space, request->ask.id, FRAME_DONE, NULL);
    return 0;
}

static const struct path_kind kinds[] = {
    {FRAME_STATAT, FRAME_DRIVER_STATAT, FRAME_DRIVER_ATTR, FILE_HOOK_GETATTR_PATH, "getattr_path",
     reply_stat},
    {FRAME_READDIR, FRAME_DRIVER_READDIR, FRAME_DRIVER_DIR_ENTRIES, FILE_HOOK_READDIR, "readdir",
     reply_entries},
    {FRAME_READLINK, FRAME_DRIVER_READLINK, FRAME_DRIVER_LINK_TARGET, FILE_HOOK_READLINK,
     "readlink", reply_link},
    {FRAME_UNLINK, FRAME_DRIVER_UNLINK, FRAME_DRIVER_DONE, FILE_HOOK_UNLINK, "unlink", reply_done},
    {FRAME_RENAME, FRAME_DRIVER_RENAME, FRAME_DRIVER_DONE, FILE_HOOK_RENAME, "rename", reply_done},
    {FRAME_MKDIR, FRAME_DRIVER_MKDIR, FRAME_DRIVER_DONE, FILE_HOOK_MKDIR, "mkdir", reply_done},
};

static const struct path_kind *find_kind(uint16_t type)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (kinds[i].type == type)
            return &kinds[i];
    }
    return NULL;
}

/* ---- what the server shows itself ---- */

static void send_drivers(struct space *space, uint64_t id, uint64_t cursor)
{
    Muse__Wire__DirEntries message = MUSE__WIRE__DIR_ENTRIES__INIT;
    Muse__Wire__DirEntry entries[ROOT_ENTRIES_MAX], *pointers[ROOT_ENTRIES_MAX];
    uint64_t place = 0;
    struct list *pos;

    message.entries = pointers;
    message.at_end = true;
    list_for_each(pos, &space->engine->driver_names) {
        struct driver *driver = CONTAINER_OF(pos, struct driver, by_name);
        Muse__Wire__DirEntry *entry = &entries[message.n_entries];

        if (place++ < cursor || driver->recovering)
            continue;
        if (message.n_entries == ROOT_ENTRIES_MAX) {
            message.at_end = false;
            break;
        }
        muse__wire__dir_entry__init(entry);
        entry->name = driver->name;
        entry->mode = S_IFDIR;
        entry->inode = driver->id;
        entry->next = place;
        pointers[message.n_entries++] = entry;
    }
    space_reply(space, id, FRAME_DIR_ENTRIES, &message.base);
}

static int ask_root(struct space *space, uint64_t id, const struct path_kind *kind, uint64_t cursor)
{
    switch (kind->type) {
    case FRAME_STATAT:
        send_folder(space, id, ROOT_INODE);
        return 0;
    case FRAME_READDIR:
        send_drivers(space, id, cursor);
        return 0;
    case FRAME_READLINK:
        return -EINVAL;
    case FRAME_MKDIR:
        return -EEXIST;
    default: /* a number from the wire, not an enum of ours */
        return -EBUSY;
    }
}

/* A driver without the hook. Its own folder is there all the same, and shows nothing. */
static int ask_without_hook(struct space *space, uint64_t id, const struct path_kind *kind,
                            const struct driver *driver, const char *path)
{
    Muse__Wire__DirEntries nothing = MUSE__WIRE__DIR_ENTRIES__INIT;

    if (path[0] != '\0')
        return kind->type == FRAME_READLINK ? -EINVAL : -EOPNOTSUPP;
    nothing.at_end = true;
    switch (kind->type) {
    case FRAME_STATAT:
        send_folder(space, id, driver->id);
        return 0;
    case FRAME_READDIR:
        space_reply(space, id, FRAME_DIR_ENTRIES, &nothing.base);
        return 0;
    default:
        return ask_root(space, id, kind, 0);
    }
}

/* ---- asking the driver ---- */

static void on_over(struct path_call *ask)
{
    struct path_request *request = CONTAINER_OF(ask, struct path_request, ask);

    path_call_done(ask);
    free(request);
}

static void on_answered(struct path_call *ask, struct frame *frame)
{
    const struct path_request *request = CONTAINER_OF(ask, struct path_request, ask);
    const int r = request->kind->reply(request, frame);

    hook_ended(ask->driver, &ask->call, r);
    if (r < 0)
        path_call_fail(ask, r, "the driver's answer makes no sense");
    else
        on_over(ask);
}

static int ask_driver(struct space *space, uint64_t id, const struct path_kind *kind,
                      struct driver *driver, Muse__Wire__PathAsk *message)
{
    struct path_request *request = calloc(1, sizeof(*request));
    int r;

    if (!request)
        return -ENOMEM;
    request->kind = kind;
    request->ask = (struct path_call){
        .hook = kind->hook, .event = "path.failed", .answered = on_answered, .over = on_over};
    r = path_call_init(&request->ask, space, driver, id, message->name);
    if (r < 0) {
        free(request);
        return r;
    }
    r = path_call_ask(&request->ask, message, kind->driver_type, kind->driver_answer);
    if (r < 0)
        on_over(&request->ask);
    return r;
}

/* The part of DRIVER/OBJECT behind the driver's name: "" for the driver itself. */
static char *object_part(char *name)
{
    char *slash = strchr(name, '/');

    return slash ? slash + 1 : name + strlen(name);
}

/* Both names of a RENAME have to be the same driver's. Return: 0, or why not. */
static int take_second_name(Muse__Wire__PathAsk *message)
{
    char *object;

    if (!message->name2)
        return -EPROTO;
    object = object_part(message->name2);
    if (strlen(message->name2) >= NAME_BYTES_MAX)
        return -ENAMETOOLONG;
    if (object - message->name2 != object_part(message->name) - message->name ||
        strncmp(message->name, message->name2, (size_t)(object - message->name2)) != 0)
        return -EXDEV;
    memmove(message->name2, object, strlen(object) + 1);
    return 0;
}

static int path_start(struct space *space, uint64_t id, const struct path_kind *kind,
                      Muse__Wire__PathAsk *message)
{
    char *path = object_part(message->name);
    struct driver *driver;
    size_t n_driver;
    int r = 0;

    if (strlen(message->name) >= NAME_BYTES_MAX)
        return -ENAMETOOLONG;
    if (message->name[0] == '\0')
        return ask_root(space, id, kind, message->cursor);
    if (kind->type == FRAME_RENAME)
        r = take_second_name(message);
    if (r < 0)
        return r;
    n_driver = strcspn(message->name, "/");
    driver = driver_find(space->engine, message->name, n_driver);
    if (!driver)
        return -ENODEV;
    if (!(driver->file_hooks & kind->hook_bit))
        return ask_without_hook(space, id, kind, driver, path);
    memmove(message->name, path, strlen(path) + 1);
    return ask_driver(space, id, kind, driver, message);
}

int request_path(struct space *space, struct frame *frame)
{
    const struct path_kind *kind = find_kind(frame->header.type);
    Muse__Wire__PathAsk *message;
    int r;

    message = muse__wire__path_ask__unpack(NULL, frame->n_payload, frame->payload);
    if (!message || !kind)
        return -EPROTO;
    r = path_start(space, frame->header.id, kind, message);
    muse__wire__path_ask__free_unpacked(message, NULL);
    if (r < 0 && r != -EPROTO) {
        space_fail(space, frame->header.id, r, strerrordesc_np(-r));
        return 0;
    }
    return r;
}
