/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The rows of docs/contract.md, section 2, and the vm operations, as their driver sees them. "Want of
 * resources", "the client cannot install", "the client died", "too late": to the driver all of them
 * are an abort after its prepare, at different moments.
 */
#include "kit/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/base/own.h"
#include "proto/hooks.h"

#define NOT_APPLICABLE 1
#define N_CYCLES       200u
#define RSS_GROWTH_MAX (4u << 20) /* chosen: of 200 cycles; a leak of 20 KiB each is seen */

static bool has_file_hook(const struct play *play, uint32_t hook)
{
    return play->peer.hello->file_hooks & hook;
}

static int not_applicable(const char *why, const char **ret_why)
{
    *ret_why = why;
    return NOT_APPLICABLE;
}

static int wants_prepare(const struct play *play, const char **ret_why)
{
    return has_file_hook(play, FILE_HOOK_MMAP_PREPARE)
               ? 0
               : not_applicable("it has no mmap_prepare", ret_why);
}

/* A mapping that the driver accepts. Return: 1; 0 it refuses all; -1. */
static int accepted(struct play *play, struct play_map *map)
{
    *map = play_map_make(play, play_n_pages(play));
    int r = play_prepare(play, map);

    if (r != 0)
        return r;
    *map = play_map_make(play, play_n_pages(play)); /* private, then */
    map->flags &= ~(uint64_t)(PLAY_MAYSHARE | PLAY_VM_SHARED | PLAY_VM_WRITE);
    map->prot = PROT_READ;
    return play_prepare(play, map);
}

/* The same, completed. Return: 1 live; 0 refused by prepare, or by complete and closed; -1. */
static int live(struct play *play, struct play_map *map)
{
    int r = accepted(play, map);

    if (r <= 0)
        return r;
    r = play_complete(play, map, NULL);
    if (r == 0 && play_close(play, map) < 0)
        return -1;
    return r;
}

#define NEEDS_LIVE(play, map, ret_why)                                                             \
    do {                                                                                           \
        const int needs_ = wants_prepare(play, ret_why);                                           \
        const int lives_ = needs_ == 0 ? live(play, map) : 0;                                      \
        if (needs_ != 0)                                                                           \
            return needs_;                                                                         \
        if (lives_ < 0)                                                                            \
            return -1;                                                                             \
        if (lives_ == 0)                                                                           \
            return not_applicable("it refuses to map this object", ret_why);                       \
    } while (0)

/* ---- prepare, abort ---- */

/* Odd requests: each is answered, and what is accepted is taken back. */
static int prepare_of_odd_requests(struct play *play, const char **ret_why)
{
    static const uint64_t pgoffs[] = {0, 1, 1ull << 34, 1ull << 51};
    const uint64_t n = play_n_pages(play);
    int r = wants_prepare(play, ret_why);

    for (unsigned i = 0; r == 0 && i < 4 * N_ELEMENTS(pgoffs); i++) {
        struct play_map map = play_map_make(play, i % 2 ? n : 64 * n);

        map.pgoff = pgoffs[i / 4];
        if (i % 4 >= 2) {
            map.flags = (map.flags | 0x20) & ~(uint64_t)(PLAY_MAYSHARE | PLAY_VM_SHARED);
            map.flags |= PLAY_VM_WRITE;
            map.prot = PROT_READ | PROT_WRITE;
        }
        r = play_prepare(play, &map);
        r = r > 0 ? play_abort(play, &map) : r;
        r = r < 0 ? r : 0;
    }
    return r != 0 ? r : play_is_quiet(play);
}

static int aborted_after_prepare(struct play *play, const char **ret_why)
{
    struct play_map map;
    int r = wants_prepare(play, ret_why);

    if (r != 0)
        return r;
    r = accepted(play, &map);
    if (r == 0)
        return not_applicable("it refuses to map this object", ret_why);
    return r < 0 || play_abort(play, &map) < 0 ? -1 : play_is_quiet(play);
}

/* The client died, or the deadline passed, before the answer: the abort follows it at once. */
static int aborted_when_its_answer_was_late(struct play *play, const char **ret_why)
{
    struct play_map maps[3];
    int r = wants_prepare(play, ret_why);

    for (unsigned i = 0; r == 0 && i < N_ELEMENTS(maps); i++) {
        maps[i] = play_map_make(play, play_n_pages(play));
        r = play_prepare_post(play, &maps[i]) < 0 ? -1 : 0;
    }
    /* whoever takes a lock answers the next one when this one is over: so one after the other */
    for (unsigned i = 0; r == 0 && i < N_ELEMENTS(maps); i++) {
        r = play_prepare_take(play, &maps[i], play->peer.deadline_ms);
        r = r > 0 ? play_abort(play, &maps[i]) : r;
        r = r < 0 ? r : 0;
    }
    return r != 0 ? r : play_is_quiet(play);
}

/* ---- complete ---- */

static int completed_and_closed(struct play *play, const char **ret_why)
{
    struct play_map map;

    NEEDS_LIVE(play, &map, ret_why);
    return play_close(play, &map) < 0 ? -1 : play_is_quiet(play);
}

/* Closed as soon as it is complete: the client died, or complete's deadline passed. */
static int closed_when_complete_was_late(struct play *play, const char **ret_why)
{
    struct play_map maps[3];
    int r = wants_prepare(play, ret_why);

    for (unsigned i = 0; r == 0 && i < N_ELEMENTS(maps); i++) {
        r = accepted(play, &maps[i]);
        if (r == 0)
            return not_applicable("it refuses to map this object", ret_why);
        r = r < 0 || play_complete_post(play, &maps[i], NULL) < 0 ||
                    play_complete_take(play, &maps[i], play->peer.deadline_ms) < 0 ||
                    play_close(play, &maps[i]) < 0
                ? -1
                : 0;
    }
    return r != 0 ? r : play_is_quiet(play);
}

/* The second half of the object behind the first: complete names the part, close comes once. */
static int merged(struct play *play, const char **ret_why)
{
    struct play_map first, second;
    uint64_t n_half;
    int r;

    NEEDS_LIVE(play, &first, ret_why);
    n_half = (first.end - first.start) / 2 / PLAY_PAGE;
    second = first;
    if ((first.got_flags & PLAY_VM_SPECIAL) || n_half * 2 * PLAY_PAGE != first.end - first.start ||
        first.made) {
        return play_close(play, &first) < 0
                   ? -1
                   : not_applicable("what it sets keeps its mappings from merging", ret_why);
    }
    first.end = second.start = first.start + n_half * PLAY_PAGE; /* as if munmap had cut it */
    second.pgoff = first.got_pgoff + n_half;
    second.is_live = false;
    r = play_prepare(play, &second);
    if (r > 0 && second.vm_ops == first.vm_ops && second.private_data == first.private_data) {
        r = play_complete(play, &second, &first);
        if (r == 0) /* then the part is closed under an id of its own */
            second.vma_id = ++play->next_id;
        if (r == 0 && play_close(play, &second) < 0)
            return -1;
    } else if (r > 0 && play_abort(play, &second) < 0) {
        return -1;
    }
    return r < 0 || play_close(play, &first) < 0 ? -1 : play_is_quiet(play);
}

/* ---- vm operations ---- */

static int cut(struct play *play, const char **ret_why)
{
    struct play_map map, upper;
    uint64_t middle;
    int r;

    NEEDS_LIVE(play, &map, ret_why);
    middle = map.start + (map.end - map.start) / 2 / PLAY_PAGE * PLAY_PAGE;
    if (middle == map.start) {
        return play_close(play, &map) < 0
                   ? -1
                   : not_applicable("the object is one page: nothing to cut", ret_why);
    }
    r = play_vma_event(play, &map, FRAME_MAY_SPLIT, middle, 0);
    if (r < 0)
        return -1;
    if (r > 0) {
        upper = map;
        upper.vma_id = ++play->next_id;
        upper.start = map.end = middle;
        upper.got_pgoff += (middle - map.start) / PLAY_PAGE;
        upper.made = 0;
        if (play_vma_event(play, &upper, FRAME_VMA_OPEN, 0, map.vma_id) < 0 ||
            play_close(play, &upper) < 0)
            return -1;
    }
    return play_close(play, &map) < 0 ? -1 : play_is_quiet(play);
}

static int moved(struct play *play, const char **ret_why)
{
    struct play_map map, copy;
    int r;

    NEEDS_LIVE(play, &map, ret_why);
    copy = map;
    copy.vma_id = ++play->next_id;
    copy.start += 1ull << 35;
    copy.end += 1ull << 35;
    if (play_vma_event(play, &copy, FRAME_VMA_OPEN, 0, map.vma_id) < 0)
        return -1;
    r = play_vma_event(play, &copy, FRAME_MREMAP, 0, map.vma_id);
    if (r < 0)
        return -1;
    if (r > 0) /* the old one goes, the copy is the mapping */
        map.made = 0;
    else
        copy.made = 0;
    return play_close(play, r > 0 ? &map : &copy) < 0 || play_close(play, r > 0 ? &copy : &map) < 0
               ? -1
               : play_is_quiet(play);
}

static int forked(struct play *play, const char **ret_why)
{
    struct play_map map, child, grandchild;

    NEEDS_LIVE(play, &map, ret_why);
    child = map;
    child.space_id = ++play->next_id;
    child.vma_id = ++play->next_id;
    child.made = 0;
    grandchild = child;
    grandchild.space_id = ++play->next_id;
    grandchild.vma_id = ++play->next_id;
    if (play_vma_event(play, &child, FRAME_VMA_OPEN, 0, map.vma_id) < 0 ||
        play_vma_event(play, &grandchild, FRAME_VMA_OPEN, 0, child.vma_id) < 0 ||
        play_close(play, &child) < 0)
        return -1;
    grandchild.made = map.made; /* the last of them has the file */
    map.made = 0;
    return play_close(play, &map) < 0 || play_close(play, &grandchild) < 0 ? -1
                                                                           : play_is_quiet(play);
}

static int protected(struct play *play, const char **ret_why)
{
    struct play_map map;

    NEEDS_LIVE(play, &map, ret_why);
    if (!play_has(play, &map, VM_HOOK_MPROTECT)) {
        return play_close(play, &map) < 0 ? -1
                                          : not_applicable("its vm_ops have no mprotect", ret_why);
    }
    if (play_vma_event(play, &map, FRAME_MPROTECT, map.start, 0) < 0)
        return -1;
    return play_close(play, &map) < 0 ? -1 : play_is_quiet(play);
}

/* ---- pages ---- */

static int read_page(const struct play *play, uint64_t page, uint8_t *buffer)
{
    return pread(play->memfd, buffer, play->page_bytes, (off_t)(page * play->page_bytes)) ==
                   (ssize_t)play->page_bytes
               ? 0
               : -1;
}

static void drop_page_cache(const struct play *play)
{
    (void)fallocate(play->memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                    (off_t)play->size_bytes); /* nothing to do about it: the bytes differ then */
}

/* One page is asked for alone, and in a run that begins before it: both give the same bytes. */
static int compare_page(struct play *play, uint64_t page, uint8_t *alone, uint8_t *in_run)
{
    const uint64_t first = page > 0 ? page - 1 : page;
    struct fill_ask ask;
    int r;

    drop_page_cache(play);
    r = play_page(play, page, 1, &ask);
    if (r <= 0)
        return r;
    if (read_page(play, page, alone) < 0)
        return peer_complain(&play->peer, "page %llu was supplied, and cannot be read",
                             (unsigned long long)page);
    drop_page_cache(play);
    ask = (struct fill_ask){.request_id = ++play->next_id,
                            .object_key = play->object_key,
                            .object_id = play->object_id,
                            .first_page = first,
                            .n_pages = (uint32_t)(page - first) + 1,
                            .n_needed = (uint32_t)(page - first) + 1};
    if (peer_ask_pages(&play->peer, &ask) < 0 || peer_wait_page(&play->peer, &ask, page) < 0 ||
        read_page(play, page, in_run) < 0)
        return -1;
    if (memcmp(alone, in_run, play->page_bytes) == 0)
        return 0;
    return peer_complain(&play->peer, "page %llu has other bytes when it is asked for in a run",
                         (unsigned long long)page);
}

static int pages_are_the_same_each_time(struct play *play, const char **ret_why)
{
    const uint64_t n_pages = play->size_bytes / play->page_bytes; /* whole ones */
    CLEAN(free_p) uint8_t *alone = malloc(play->page_bytes);
    CLEAN(free_p) uint8_t *in_run = malloc(play->page_bytes);
    uint64_t page = 0;
    int r = 0;

    if (!has_file_hook(play, FILE_HOOK_FAULT))
        return not_applicable("it has no fault hook", ret_why);
    if (play->has_extents || n_pages == 0)
        return not_applicable("this object's pages do not come from fault", ret_why);
    if (!alone || !in_run)
        return peer_complain(&play->peer, "out of memory");
    for (unsigned i = 0; i < 8 && r == 0; i++) {
        r = compare_page(play, page, alone, in_run);
        page = i == 6 ? n_pages - 1 : (page * 7 + 1) % n_pages;
    }
    return r < 0 ? -1 : play_is_quiet(play);
}

/* Asked, and the object is gone before the answer; then again, with a new page cache. */
static int faults_of_an_object_that_goes(struct play *play, const char **ret_why)
{
    struct fill_ask ask;

    if (!has_file_hook(play, FILE_HOOK_FAULT))
        return not_applicable("it has no fault hook", ret_why);
    if (play->has_extents || play->size_bytes < play->page_bytes)
        return not_applicable("this object's pages do not come from fault", ret_why);
    for (unsigned i = 0; i < 20; i++) {
        ask = (struct fill_ask){.request_id = ++play->next_id,
                                .object_key = play->object_key,
                                .object_id = play->object_id,
                                .n_pages = 1,
                                .n_needed = 1};
        if (peer_ask_pages(&play->peer, &ask) < 0 || play_close_file(play) < 0 ||
            play_open(play) < 0)
            return -1;
    }
    return play_page(play, 0, 1, &ask) < 0 ? -1 : play_is_quiet(play);
}

static int write_back(struct play *play, uint8_t byte)
{
    Muse__Wire__Writeback message = MUSE__WIRE__WRITEBACK__INIT;
    Muse__Wire__ObjectRef fsync_message = MUSE__WIRE__OBJECT_REF__INIT;
    CLEAN(free_p) uint8_t *bytes = malloc(play->page_bytes);
    ProtobufCMessage *answer;
    uint64_t id;

    if (!bytes)
        return -1;
    memset(bytes, byte, play->page_bytes);
    if (pwrite(play->memfd, bytes, play->page_bytes, 0) != (ssize_t)play->page_bytes)
        return peer_complain(&play->peer, "the page cache cannot be written");
    message.object_key = fsync_message.object_key = play->object_key;
    message.object_id = fsync_message.object_id = play->object_id;
    message.n_pages = 1;
    message.size = play->size_bytes;
    id = peer_post(&play->peer, FRAME_WRITEBACK, &message.base, FRAME_COMPLETED, "writeback");
    answer = id ? peer_wait(&play->peer, id, play->peer.deadline_ms) : NULL;
    if (!answer)
        return -1;
    protobuf_c_message_free_unpacked(answer, NULL);
    if (!has_file_hook(play, FILE_HOOK_FSYNC))
        return 0;
    id = peer_post(&play->peer, FRAME_DRIVER_FSYNC, &fsync_message.base, FRAME_COMPLETED, "fsync");
    answer = id ? peer_wait(&play->peer, id, play->peer.deadline_ms) : NULL;
    if (!answer)
        return -1;
    protobuf_c_message_free_unpacked(answer, NULL);
    return 0;
}

/* What is written back is what fault supplies later. */
static int written_pages_come_back(struct play *play, const char **ret_why)
{
    CLEAN(free_p) uint8_t *bytes = malloc(play->page_bytes);
    struct fill_ask ask;

    if (!has_file_hook(play, FILE_HOOK_WRITEBACK) || (play->options->oflags & O_ACCMODE) != O_RDWR)
        return not_applicable("it has no writeback, or the object is not opened for writing",
                              ret_why);
    if (play->size_bytes < play->page_bytes || !bytes)
        return not_applicable("the object has no whole page", ret_why);
    for (uint8_t byte = 1; byte <= 3; byte++) {
        if (write_back(play, byte) < 0)
            return -1;
        if (play->has_extents || !has_file_hook(play, FILE_HOOK_FAULT))
            continue;
        drop_page_cache(play);
        if (play_page(play, 0, 1, &ask) < 0 || read_page(play, 0, bytes) < 0)
            return -1;
        if (bytes[0] != byte || bytes[play->page_bytes - 1] != byte)
            return peer_complain(&play->peer, "page 0 was written back, and fault supplies others");
    }
    return play_is_quiet(play);
}

/* ---- ends ---- */

/* A mapping's life, one step at a time. Return: 1 there is such a step; 0 it is over; -1. */
static int step(struct play *play, struct play_map *map, unsigned n)
{
    struct fill_ask ask = {.request_id = ++play->next_id,
                           .object_key = play->object_key,
                           .object_id = play->object_id,
                           .n_pages = 1,
                           .n_needed = 1};

    switch (n) {
    case 0:
        *map = play_map_make(play, play_n_pages(play));
        return play_prepare_post(play, map);
    case 1:
        return play_prepare_take(play, map, play->peer.deadline_ms);
    case 2:
        return play_complete_post(play, map, NULL);
    case 3:
        return play_complete_take(play, map, play->peer.deadline_ms);
    case 4:
        if (play->has_extents || !has_file_hook(play, FILE_HOOK_FAULT) ||
            play->size_bytes < play->page_bytes)
            return 1;
        return peer_ask_pages(&play->peer, &ask) < 0 ? -1 : 1;
    case 5:
        return play_close(play, map);
    default:
        return 0;
    }
}

/* The client dies after step @n_done - 1: what the server does then. */
static int clean_up(struct play *play, struct play_map *map, unsigned n_done)
{
    int r = 1;

    if (n_done == 1)
        r = play_prepare_take(play, map, play->peer.deadline_ms);
    if (r > 0 && (n_done == 1 || n_done == 2))
        return play_abort(play, map);
    if (r > 0 && n_done == 3)
        r = play_complete_take(play, map, play->peer.deadline_ms);
    if (r >= 0 && map->is_live)
        r = play_close(play, map);
    return r;
}

static int client_dies_at_each_step(struct play *play, const char **ret_why)
{
    int r = wants_prepare(play, ret_why);

    for (unsigned last = 1; r == 0 && last <= 6; last++) {
        struct play_map map = {.is_live = false};
        unsigned n_done = 0;

        r = 1;
        while (r > 0 && n_done < last)
            r = step(play, &map, n_done++);
        if (r == 0) /* refused: prepare holds nothing then, complete is closed */
            r = map.is_live ? play_close(play, &map) : 1;
        else if (r > 0)
            r = clean_up(play, &map, n_done);
        if (r < 0 || play_close_file(play) < 0 || play_open(play) < 0)
            return -1;
        r = play_is_quiet(play);
    }
    return r;
}

/* The connection ends: the SDK aborts what is open, and closes what is mapped, and the driver ends. */
static int server_dies_at_each_step(struct play *play, const char **ret_why)
{
    const struct muse_check_options *options = play->options;
    int r = wants_prepare(play, ret_why);

    for (unsigned last = 0; r == 0 && last <= 6; last++) {
        struct play_map map = {.is_live = false};

        r = 1;
        for (unsigned n = 0; r > 0 && n < last; n++)
            r = step(play, &map, n);
        if (r < 0 || peer_hang_up(&play->peer) < 0)
            return -1;
        play_stop(play);
        r = play_start(play, options);
    }
    return r;
}

/* ---- often, and at random ---- */

static int nothing_grows(struct play *play, const char **ret_why)
{
    uint64_t before = 0, after;
    struct play_map map;
    int r = wants_prepare(play, ret_why);

    for (unsigned i = 0; r == 0 && i < 2 * N_CYCLES; i++) {
        r = accepted(play, &map);
        if (r == 0)
            return not_applicable("it refuses to map this object", ret_why);
        if (r > 0 && i % 2)
            r = play_abort(play, &map);
        else if (r > 0)
            r = play_complete(play, &map, NULL) < 0 ? -1 : play_close(play, &map);
        if (i == N_CYCLES / 2)
            before = peer_rss_bytes(&play->peer);
        r = r < 0 ? -1 : 0;
    }
    if (r != 0 || play_is_quiet(play) < 0)
        return r != 0 ? r : -1;
    after = peer_rss_bytes(&play->peer);
    if (after > before + RSS_GROWTH_MAX)
        return peer_complain(&play->peer, "its memory grew by %llu KiB in %u mappings",
                             (unsigned long long)(after - before) / 1024, N_CYCLES);
    return 0;
}

#define N_SPACES 4u
#define N_MOVES  300u

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Who holds a driver's lock goes on first, so that nobody waits for himself. */
static int finish(struct play *play, struct play_map *map, bool completes)
{
    int r = play_prepare_take(play, map, play->peer.deadline_ms);

    map->prepare_id = r <= 0 ? 0 : map->prepare_id;
    if (r <= 0)
        return r;
    if (!completes) {
        r = play_abort(play, map);
        map->prepare_id = 0;
        return r;
    }
    r = play_complete(play, map, NULL);
    map->prepare_id = 0;
    return r == 0 ? play_close(play, map) : r;
}

static int random_schedule(struct play *play, const char **ret_why)
{
    uint64_t state = play->options->seed * 2 + 1;
    struct play_map maps[N_SPACES] = {0};
    unsigned n_open = 0, first = 0; /* prepares that are posted, in a ring from @first on */
    unsigned order[N_SPACES];
    int r = wants_prepare(play, ret_why);

    for (unsigned i = 0; r >= 0 && r != NOT_APPLICABLE && i < N_MOVES; i++) {
        const unsigned space = (unsigned)(next_random(&state) % N_SPACES);
        struct play_map *map = &maps[space];

        r = 0;
        if (map->is_live) {
            r = play_close(play, map);
        } else if (map->prepare_id == 0 && n_open < N_SPACES) {
            *map = play_map_make(play, play_n_pages(play));
            r = play_prepare_post(play, map);
            order[(first + n_open++) % N_SPACES] = space;
        } else if (n_open > 0) { /* the oldest: those behind it may wait for its lock */
            r = finish(play, &maps[order[first % N_SPACES]], next_random(&state) % 2);
            first++;
            n_open--;
        }
        r = r < 0 ? r : 0;
    }
    for (; r == 0 && n_open > 0; n_open--, first++)
        r = finish(play, &maps[order[first % N_SPACES]], false) < 0 ? -1 : 0;
    for (unsigned i = 0; r == 0 && i < N_SPACES; i++)
        r = maps[i].is_live && play_close(play, &maps[i]) < 0 ? -1 : 0;
    return r != 0 ? r : play_is_quiet(play);
}

const struct path paths[] = {
    {"prepare_of_odd_requests", "prepare returns an error", prepare_of_odd_requests},
    {"aborted_after_prepare", "resources, install or registration fail: abort",
     aborted_after_prepare},
    {"aborted_when_its_answer_was_late", "prepare's answer comes after its deadline: abort",
     aborted_when_its_answer_was_late},
    {"completed_and_closed", "new VMA, complete succeeds; or fails: close at once",
     completed_and_closed},
    {"closed_when_complete_was_late", "complete's deadline passes, or the client dies: close",
     closed_when_complete_was_late},
    {"merged", "merged into a neighbour: complete on the survivor, close once", merged},
    {"cut", "may_split, open for the upper half, close for each", cut},
    {"moved", "open for the copy, mremap, close for one of them", moved},
    {"forked", "open for each copy, close in any order", forked},
    {"protected", "mprotect", protected},
    {"pages_are_the_same_each_time", "fault supplies what was asked for",
     pages_are_the_same_each_time},
    {"faults_of_an_object_that_goes", "object gone while it is asked for",
     faults_of_an_object_that_goes},
    {"written_pages_come_back", "writeback, fsync", written_pages_come_back},
    {"client_dies_at_each_step", "the client dies before, while or after complete runs",
     client_dies_at_each_step},
    {"server_dies_at_each_step", "the server dies: the SDK aborts and closes",
     server_dies_at_each_step},
    {"nothing_grows", "200 mappings aborted, 200 closed: fds and memory as before", nothing_grows},
    {"random_schedule", "four spaces at once, in an order drawn from the seed", random_schedule},
};

const unsigned n_paths = N_ELEMENTS(paths);
