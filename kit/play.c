/* SPDX-License-Identifier: BSD-3-Clause */
/* The steps, as frames. Owns the object's page cache. */
#include "kit/play.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/base/own.h"
#include "proto/hooks.h"
#include "proto/limits.h"

#define DEFAULT_DEADLINE_MS 2000u
#define WHOLE_BYTES_MAX     (16ull << 20)
#define OBJECT_BYTES_MOST   (1ull << 40)
#define SPACE_BYTES         (1ull << 42) /* addresses of one space: apart from all others */
/* IO, PFNMAP, MIXEDMAP, DONTEXPAND, DONTDUMP, DONTCOPY, HUGEPAGE, NORESERVE, LOCKED: contract, 4 */
#define MAY_BE_SET                                                                                 \
    (0x400ull | 0x2000 | 0x4000 | 0x20000 | 0x40000 | 0x200000 | 0x4000000 | 0x10000000 |          \
     0x20000000)

/* ---- open ---- */

static int give_page_cache(struct play *play)
{
    Muse__Wire__DriverObject message = MUSE__WIRE__DRIVER_OBJECT__INIT;

    play->memfd = memfd_create("object", MFD_CLOEXEC);
    if (play->memfd < 0 || ftruncate(play->memfd, (off_t)play->size_bytes) < 0)
        return peer_complain(&play->peer, "no memory for a page cache of %llu bytes",
                             (unsigned long long)play->size_bytes);
    message.object_key = play->object_key;
    message.object_id = play->object_id = ++play->next_id;
    message.size = play->size_bytes;
    message.page_bytes = play->page_bytes;
    play->has_object = true;
    return peer_tell(&play->peer, FRAME_DRIVER_OBJECT, &message.base, play->memfd);
}

/* As a program does that makes an object. */
static int set_size(struct play *play)
{
    Muse__Wire__DriverTruncate message = MUSE__WIRE__DRIVER_TRUNCATE__INIT;
    ProtobufCMessage *answer;
    uint64_t id;
    int r;

    message.handle = play->handle;
    message.object_key = play->object_key;
    message.size = play->options->size_bytes;
    id = peer_post(&play->peer, FRAME_DRIVER_TRUNCATE, &message.base, FRAME_COMPLETED, "truncate");
    answer = id ? peer_wait(&play->peer, id, play->peer.deadline_ms) : NULL;
    if (!answer)
        return -1;
    r = (int)((const Muse__Wire__Completed *)answer)->error;
    protobuf_c_message_free_unpacked(answer, NULL);
    if (r != 0)
        return peer_complain(&play->peer, "it does not give the object %llu bytes: %s",
                             (unsigned long long)message.size, strerror(r));
    play->size_bytes = message.size;
    return 0;
}

static int take_opened(struct play *play, const Muse__Wire__DriverOpened *opened)
{
    play->is_open = true;
    play->handle = opened->handle;
    play->object_key = opened->object_key;
    play->size_bytes = opened->attr->size;
    play->page_bytes = opened->page_bytes;
    play->map_align = opened->has_map_align ? opened->map_align : PLAY_PAGE;
    play->has_extents = opened->n_extents > 0;
    if (opened->attr->size > OBJECT_BYTES_MOST)
        return peer_complain(&play->peer, "the object's size is beyond 1 TiB: choose another");
    if (play->options->size_bytes > 0 && play->options->size_bytes != play->size_bytes &&
        set_size(play) < 0)
        return -1;
    return give_page_cache(play);
}

int play_open(struct play *play)
{
    Muse__Wire__DriverOpen message = MUSE__WIRE__DRIVER_OPEN__INIT;
    ProtobufCMessage *answer;
    uint64_t id;
    int r;

    message.path = (char *)(uintptr_t)play->options->object; /* only read */
    message.oflags = (uint32_t)play->options->oflags;
    message.uid = (uint32_t)getuid();
    message.gid = (uint32_t)getgid();
    message.pid = (uint32_t)getpid();
    id = peer_post(&play->peer, FRAME_DRIVER_OPEN, &message.base, FRAME_DRIVER_OPENED, "open");
    answer = id ? peer_wait(&play->peer, id, play->peer.deadline_ms) : NULL;
    if (!answer)
        return -1;
    if (answer->descriptor == &muse__wire__driver_failed__descriptor) {
        const Muse__Wire__DriverFailed *failed = (const Muse__Wire__DriverFailed *)answer;

        r = peer_complain(&play->peer, "it does not open %s: %s (%s)", play->options->object,
                          strerror((int)failed->error), failed->text ? failed->text : "");
    } else {
        r = take_opened(play, (const Muse__Wire__DriverOpened *)answer);
    }
    protobuf_c_message_free_unpacked(answer, NULL);
    return r;
}

static int release(struct play *play, uint64_t handle)
{
    Muse__Wire__HandleRef message = MUSE__WIRE__HANDLE_REF__INIT;

    message.handle = handle;
    return peer_tell(&play->peer, FRAME_DRIVER_RELEASE, &message.base, -1);
}

int play_close_file(struct play *play)
{
    Muse__Wire__DriverObjectGone gone = MUSE__WIRE__DRIVER_OBJECT_GONE__INIT;

    if (play->has_object) {
        gone.object_key = play->object_key;
        gone.object_id = play->object_id;
        if (peer_tell(&play->peer, FRAME_DRIVER_OBJECT_GONE, &gone.base, -1) < 0)
            return -1;
    }
    play->has_object = false;
    fd_close_p(&play->memfd);
    if (!play->is_open)
        return 0;
    play->is_open = false;
    return release(play, play->handle);
}

/* What was told before has been done when this is answered. */
static int settle(struct play *play)
{
    Muse__Wire__HandleRef message = MUSE__WIRE__HANDLE_REF__INIT;
    ProtobufCMessage *answer;
    uint64_t id;

    message.handle = play->handle;
    id = peer_post(&play->peer, FRAME_DRIVER_GETATTR, &message.base, FRAME_DRIVER_ATTR, "getattr");
    answer = id ? peer_wait(&play->peer, id, play->peer.deadline_ms) : NULL;
    if (!answer)
        return -1;
    protobuf_c_message_free_unpacked(answer, NULL);
    return 0;
}

int play_start(struct play *play, const struct muse_check_options *options)
{
    *play = (struct play){.options = options, .memfd = -1};
    if (peer_start(&play->peer, options->command,
                   options->deadline_ms ? options->deadline_ms : DEFAULT_DEADLINE_MS) < 0 ||
        play_open(play) < 0 || settle(play) < 0)
        return -1;
    play->n_fds_before = peer_n_fds(&play->peer);
    return 0;
}

void play_stop(struct play *play)
{
    fd_close_p(&play->memfd);
    peer_stop(&play->peer);
    play->is_open = play->has_object = false;
}

/* ---- mappings ---- */

uint64_t play_n_pages(const struct play *play)
{
    const uint64_t unit = play->map_align > play->page_bytes ? play->map_align : play->page_bytes;
    const uint64_t n_units = play->size_bytes / unit;

    if (play->size_bytes <= WHOLE_BYTES_MAX) /* some are mapped as a whole, or not at all */
        return (n_units == 0 ? 1 : n_units) * unit / PLAY_PAGE;
    return (n_units > 8 ? 8 : n_units) * unit / PLAY_PAGE;
}

struct play_map play_map_make(struct play *play, uint64_t n_pages)
{
    const bool writable = (play->options->oflags & O_ACCMODE) == O_RDWR;
    struct play_map map = {.is_shared = true, .prot = PROT_READ | (writable ? PROT_WRITE : 0)};

    map.space_id = ++play->next_id;
    map.start = map.space_id % 1024 * SPACE_BYTES / 32;
    map.start = (map.start + (1ull << 30)) & ~((1ull << 30) - 1);
    map.end = map.start + n_pages * PLAY_PAGE;
    map.flags = PLAY_VM_READ | PLAY_MAY | PLAY_MAYSHARE;
    if (writable)
        map.flags |= PLAY_VM_WRITE | PLAY_VM_SHARED;
    else
        map.flags &= ~0x20ull; /* MAYWRITE: as of a file that was opened for reading */
    return map;
}

int play_prepare_post(struct play *play, struct play_map *map)
{
    Muse__Wire__Prepare message = MUSE__WIRE__PREPARE__INIT;

    message.space_id = map->space_id;
    message.handle = play->handle;
    message.start = map->start;
    message.end = map->end;
    message.pgoff = map->pgoff;
    message.vm_flags = map->flags;
    message.page_prot = map->prot;
    message.uid = (uint32_t)getuid();
    message.pid = (uint32_t)getpid();
    map->prepare_id =
        peer_post(&play->peer, FRAME_PREPARE, &message.base, FRAME_PREPARED, "mmap_prepare");
    return map->prepare_id ? 1 : -1;
}

static int check_error(struct play *play, const char *hook, int32_t error)
{
    if (error >= 0 && error <= 4095)
        return 0;
    return peer_complain(&play->peer, "%s returned %d, which is no errno", hook, error);
}

/* Contract, section 4. */
static int check_changes(struct play *play, const struct play_map *map)
{
    const uint64_t set = map->got_flags & ~map->flags;
    const uint64_t cleared = map->flags & ~map->got_flags;

    if (set & ~MAY_BE_SET)
        return peer_complain(&play->peer, "mmap_prepare set vm_flags %#llx, which it may not",
                             (unsigned long long)(set & ~MAY_BE_SET));
    if (cleared & ~0x70ull)
        return peer_complain(&play->peer, "mmap_prepare cleared vm_flags %#llx, which it may not",
                             (unsigned long long)(cleared & ~0x70ull));
    if (map->got_prot & ~map->prot)
        return peer_complain(&play->peer, "mmap_prepare widened page_prot");
    return 1;
}

static int take_prepared(struct play *play, struct play_map *map,
                         const Muse__Wire__Prepared *prepared)
{
    if (check_error(play, "mmap_prepare", prepared->error) < 0)
        return -1;
    if (prepared->error != 0)
        return 0;
    play->n_prepared++;
    map->is_prepared = true;
    map->got_flags = prepared->has_vm_flags ? prepared->vm_flags : map->flags;
    map->got_pgoff = prepared->has_pgoff ? prepared->pgoff : map->pgoff;
    map->got_prot = prepared->has_page_prot ? prepared->page_prot : map->prot;
    map->private_data = prepared->private_data;
    map->context = prepared->context;
    map->vm_ops = prepared->has_vm_ops ? prepared->vm_ops : 0;
    map->made = prepared->opened ? prepared->opened->handle : 0;
    map->vm_file = map->made ? map->made : prepared->has_vm_file ? prepared->vm_file : play->handle;
    return check_changes(play, map);
}

int play_prepare_take(struct play *play, struct play_map *map, unsigned deadline_ms)
{
    ProtobufCMessage *answer = peer_wait(&play->peer, map->prepare_id, deadline_ms);
    int r;

    if (!answer)
        return -1;
    r = take_prepared(play, map, (const Muse__Wire__Prepared *)answer);
    protobuf_c_message_free_unpacked(answer, NULL);
    return r;
}

int play_prepare(struct play *play, struct play_map *map)
{
    int r = play_prepare_post(play, map);

    return r < 0 ? r : play_prepare_take(play, map, play->peer.deadline_ms);
}

static bool has_file_hook(const struct play *play, uint32_t hook)
{
    return play->peer.hello->file_hooks & hook;
}

int play_abort(struct play *play, struct play_map *map)
{
    Muse__Wire__Abort message = MUSE__WIRE__ABORT__INIT;
    int r = 0;

    message.handle = play->handle;
    message.private_data = map->private_data;
    message.context = map->context;
    message.prepare_id = map->prepare_id;
    map->is_prepared = false;
    play->n_aborted++;
    if (has_file_hook(play, FILE_HOOK_MMAP_ABORT))
        r = peer_tell(&play->peer, FRAME_ABORT, &message.base, -1);
    if (r == 0 && map->made)
        r = release(play, map->made);
    return r < 0 ? -1 : 1;
}

static Muse__Wire__Vma vma_of(const struct play_map *map)
{
    Muse__Wire__Vma vma = MUSE__WIRE__VMA__INIT;

    vma.vma_id = map->vma_id;
    vma.space_id = map->space_id;
    vma.handle = map->vm_file;
    vma.start = map->start;
    vma.end = map->end;
    vma.pgoff = map->got_pgoff;
    vma.vm_flags = map->got_flags;
    vma.page_prot = map->got_prot;
    vma.vm_ops = map->vm_ops;
    vma.private_data = map->private_data;
    return vma;
}

int play_complete_post(struct play *play, struct play_map *map, struct play_map *survivor)
{
    Muse__Wire__Complete message = MUSE__WIRE__COMPLETE__INIT;
    Muse__Wire__Vma vma;

    map->vma_id = survivor ? survivor->vma_id : ++play->next_id;
    if (survivor)
        survivor->end = map->end;
    vma = vma_of(survivor ? survivor : map);
    message.vma = &vma;
    message.context = map->context;
    message.part_start = map->start;
    message.part_end = map->end;
    map->complete_id = 0;
    if (!has_file_hook(play, FILE_HOOK_MMAP_COMPLETE))
        return 1;
    map->complete_id =
        peer_post(&play->peer, FRAME_COMPLETE, &message.base, FRAME_COMPLETED, "mmap_complete");
    return map->complete_id ? 1 : -1;
}

int play_complete_take(struct play *play, struct play_map *map, unsigned deadline_ms)
{
    ProtobufCMessage *answer;
    int32_t error = 0;

    if (map->complete_id) {
        answer = peer_wait(&play->peer, map->complete_id, deadline_ms);
        if (!answer)
            return -1;
        error = ((const Muse__Wire__Completed *)answer)->error;
        protobuf_c_message_free_unpacked(answer, NULL);
    }
    if (check_error(play, "mmap_complete", error) < 0)
        return -1;
    play->n_completed++;
    map->is_prepared = false;
    map->is_live = true; /* also when it failed: close follows */
    return error == 0;
}

int play_complete(struct play *play, struct play_map *map, struct play_map *survivor)
{
    int r = play_complete_post(play, map, survivor);

    return r < 0 ? r : play_complete_take(play, map, play->peer.deadline_ms);
}

/* ---- vm operations ---- */

bool play_has(const struct play *play, const struct play_map *map, uint32_t hooks)
{
    const Muse__Wire__DriverHello *hello = play->peer.hello;

    for (size_t i = 0; i < hello->n_vm_ops; i++) {
        if (hello->vm_ops[i]->id == map->vm_ops)
            return hello->vm_ops[i]->hooks & hooks;
    }
    return false;
}

int play_close(struct play *play, struct play_map *map)
{
    Muse__Wire__VmaEvent event = MUSE__WIRE__VMA_EVENT__INIT;
    Muse__Wire__Vma vma = vma_of(map);
    int r = 0;

    event.vma = &vma;
    map->is_live = false;
    if (play_has(play, map, VM_HOOK_CLOSE))
        r = peer_tell(&play->peer, FRAME_VMA_CLOSE, &event.base, -1);
    if (r == 0 && map->made)
        r = release(play, map->made);
    map->made = 0;
    return r < 0 ? -1 : 1;
}

static int wait_completed(struct play *play, uint64_t id, const char *hook)
{
    ProtobufCMessage *answer = id ? peer_wait(&play->peer, id, play->peer.deadline_ms) : NULL;
    int32_t error;

    if (!answer)
        return -1;
    error = ((const Muse__Wire__Completed *)answer)->error;
    protobuf_c_message_free_unpacked(answer, NULL);
    return check_error(play, hook, error) < 0 ? -1 : error == 0;
}

int play_vma_event(struct play *play, const struct play_map *map, uint16_t type, uint64_t addr,
                   uint64_t parent)
{
    Muse__Wire__VmaEvent event = MUSE__WIRE__VMA_EVENT__INIT;
    Muse__Wire__Vma vma = vma_of(map);

    event.vma = &vma;
    event.has_addr = event.has_parent = event.has_end = event.has_vm_flags = true;
    event.addr = addr;
    event.parent = parent;
    event.end = map->end;
    event.vm_flags = map->got_flags & ~(uint64_t)PLAY_VM_WRITE;
    switch (type) {
    case FRAME_VMA_OPEN:
        if (!play_has(play, map, VM_HOOK_OPEN | VM_HOOK_CLOSE))
            return 1;
        return peer_tell(&play->peer, type, &event.base, -1) < 0 ? -1 : 1;
    case FRAME_MAY_SPLIT:
        if (!play_has(play, map, VM_HOOK_MAY_SPLIT))
            return 1;
        break;
    case FRAME_MPROTECT:
        if (!play_has(play, map, VM_HOOK_MPROTECT))
            return 1;
        break;
    default:
        if (!play_has(play, map, VM_HOOK_MREMAP))
            return 1;
        break;
    }
    return wait_completed(
        play, peer_post(&play->peer, type, &event.base, FRAME_COMPLETED, frame_type_name(type)),
        frame_type_name(type));
}

int play_page(struct play *play, uint64_t page, uint32_t n_pages, struct fill_ask *ask)
{
    *ask = (struct fill_ask){.request_id = ++play->next_id,
                             .object_key = play->object_key,
                             .object_id = play->object_id,
                             .first_page = page,
                             .n_pages = n_pages,
                             .n_needed = 1};
    if (peer_ask_pages(&play->peer, ask) < 0)
        return -1;
    return peer_wait_page(&play->peer, ask, page);
}

/* ---- nothing is held ---- */

static int ask_held(struct play *play, uint32_t *ret_n_held, char *text, size_t size)
{
    Muse__Wire__DebugHeld message = MUSE__WIRE__DEBUG_HELD__INIT;
    const uint64_t id =
        peer_post(&play->peer, FRAME_DEBUG_HELD, &message.base, FRAME_DEBUG_HELD_IS, "debug_held");
    ProtobufCMessage *answer = id ? peer_wait(&play->peer, id, play->peer.deadline_ms) : NULL;
    const Muse__Wire__DebugHeldIs *held = (const Muse__Wire__DebugHeldIs *)answer;

    if (!answer)
        return -1;
    *ret_n_held = held->n_held;
    (void)snprintf(text, size, "%s", held->text ? held->text : "");
    protobuf_c_message_free_unpacked(answer, NULL);
    return 0;
}

/* Frames arrive in order, so what was told before has been done. */
static int holds_nothing(struct play *play)
{
    char text[128] = "";
    uint32_t n_held = 0;

    if (!has_file_hook(play, FILE_HOOK_DEBUG_HELD))
        return 0;
    if (ask_held(play, &n_held, text, sizeof(text)) < 0)
        return -1;
    if (n_held == 0)
        return 0;
    return peer_complain(&play->peer, "debug_held says that %u are held: %s", n_held, text);
}

static int has_no_more_fds(struct play *play)
{
    int n = peer_n_fds(&play->peer);

    for (unsigned i = 0; i < 100 && n > play->n_fds_before; i++) {
        (void)usleep(10000); /* the SDK closes some a moment later, on its own threads */
        n = peer_n_fds(&play->peer);
    }
    if (n <= play->n_fds_before)
        return 0;
    play->has_more_fds = play->peer.complaint[0] == '\0';
    return peer_complain(&play->peer, "it has %d fds open, and had %d before", n,
                         play->n_fds_before);
}

int play_is_quiet(struct play *play)
{
    struct play_map probe = play_map_make(play, play_n_pages(play));
    int r;

    if (holds_nothing(play) < 0)
        return -1;
    r = play_prepare(play, &probe);
    if (r < 0) {
        char why[sizeof(play->peer.complaint)];

        (void)snprintf(why, sizeof(why), "%s", play->peer.complaint);
        play->peer.complaint[0] = '\0';
        return peer_complain(&play->peer, "is something still held? The next %s", why);
    }
    if (r > 0 && play_abort(play, &probe) < 0)
        return -1;
    if (settle(play) < 0)
        return -1;
    return holds_nothing(play) < 0 ? -1 : has_no_more_fds(play);
}

bool play_try_again(struct play *play)
{
    if (!play->has_more_fds)
        return false;
    play->has_more_fds = false;
    play->peer.complaint[0] = '\0';
    play->n_fds_before = peer_n_fds(&play->peer);
    return true;
}
