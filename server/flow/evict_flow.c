/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Making room in the page caches.
 *
 *   evict_flow_charge   room? -> else the uid's own pages for the uid's limit, the largest pool's
 *                       for the limit on all together
 *   evict_next          a run of pages, by the policy (server/cache/evict.h)
 *   may they go?        object_may_evict(), locked mappings, pages being read or asked for
 *   they go             mappings are watched again -> CLEAN -> EVICTING -> the hole is punched,
 *                       which takes the pages from every client -> ABSENT -> the charge is dropped
 *   on_again            in later turns, down to the low mark, so that the next fault finds room
 *
 * What may not go is held back and looked at again when something has changed. When all that is
 * left is dirty or settling (settle.h), it is written back, and whoever needs room waits for it: faults are parked, calls
 * ask again. They fail when nothing was evicted and nothing written back for as long as a driver has
 * for a hook. The next touch of a
 * page that went is a MISSING fault, like any other. Pages that are filling stay, so whoever waits
 * for one is shown it before it can go.
 *
 * Owns a pool for each uid that has objects, and its own deadline. Called by the fill path, by
 * madvise, and by the control socket.
 */
#include "server/flow/evict_flow.h"

#include <errno.h>
#include <stdlib.h>

#include "common/base/own.h"
#include "server/cache/evict.h"
#include "server/config/config.h"
#include "server/flow/fault_flow.h"
#include "server/flow/fill.h"
#include "server/flow/settle.h"
#include "server/flow/writeback.h"

/* Chosen: what one call may look at, and what one evicts by name; a punch is 5 to 100 µs. */
#define LOOKS_PER_CALL 512u
#define RUNS_PER_CALL  8u
/* Chosen: what one turn of the loop evicts in the background. More than a turn of faults brings, so that
 * it gets ahead; little enough to be over before the reader it has just answered faults again. */
#define RUNS_PER_TURN  2u
/* Chosen: of a limit. Less is not written back for room: to find it costs a look at every page. */
#define DIRTY_SHARE    8u
/* Chosen: a mapping that lost pages is watched that long at least, however complete it is again. */
#define RECENT_NS      1000000000ull
/* Chosen: readers that go on at the same time, two windows each. */
#define WINDOWS_MAX    4u
/* Chosen: who waits for room by asking now and then asks at least once while there is no hope. */
#define HOPELESS_NS    100000000ull
#define SMALL_MIN      (WINDOWS_MAX * (uint64_t)STORE_BUFFER_BYTES)

struct evict_user {
    struct evict_pool pool;
    uint32_t uid;
    uint64_t n_objects;
    uint64_t held_epoch; /* when the held ones were looked at last */
    uint64_t tried;      /* the last search that came by here */
};

struct evict_flow {
    struct engine *engine; /* borrowed */
    struct evict index;
    struct idmap users; /* uid -> struct evict_user, owned; those who have objects */
    struct evict_guard *guards;
    struct deadline again;
    struct deadline retry;    /* who waits for room tries again */
    struct deadline patience; /* set: somebody waits for room, until then at most */
    uint64_t progress;        /* when that was set: pages evicted and written back so far */
    uint64_t hopeless_until_ns;
    uint64_t epoch; /* counts what may let held pages go */
    uint64_t n_searches;
};

/* What is known about an object as long as nothing else happens. */
struct look {
    struct object *object;
    bool may_evict;
    bool is_plain; /* nobody keeps any of its pages, and no mapping of it is native */
};

/* ---- limits ---- */

static uint64_t minus(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* What has to go so that @more can come; a limit may have been set below what is used. */
static uint64_t excess(uint64_t used, uint64_t more, uint64_t limit)
{
    return more > limit ? used : minus(used, limit - more);
}

static uint64_t user_limit(const struct engine *engine)
{
    return engine->quotas.limit[QUOTA_CACHE];
}

static uint64_t memory_limit(const struct engine *engine)
{
    return engine->quotas.limit_memory_bytes;
}

static uint64_t user_room(const struct engine *engine, uint32_t uid)
{
    return minus(user_limit(engine), quota_used(&engine->quotas, uid, QUOTA_CACHE));
}

static uint64_t memory_room(const struct engine *engine)
{
    return minus(memory_limit(engine), engine->quotas.total[QUOTA_CACHE]);
}

/* Free room that is kept ready: 2 % of a limit, 2 MiB of one that is not tiny. */
static uint64_t low_mark(uint64_t limit)
{
    const uint64_t least = smaller(STORE_BUFFER_BYTES, limit / 8);

    if (limit == QUOTA_UNLIMITED)
        return 0;
    return limit / 50 > least ? limit / 50 : least;
}

/* What may be on probation: a tenth, but for small limits enough for some windows. */
static uint64_t small_max(const struct engine *engine)
{
    const uint64_t limit = smaller(user_limit(engine), memory_limit(engine));
    const uint64_t least = smaller(SMALL_MIN, limit / 2);

    return limit / 10 > least ? limit / 10 : least;
}

uint64_t evict_flow_window(const struct object *object, uint64_t max_bytes)
{
    const uint64_t window = max_bytes >> object->page_shift;
    const uint64_t most = small_max(object->engine) / WINDOWS_MAX >> object->page_shift;
    uint64_t n_pages = 1;

    while (2 * n_pages <= smaller(window, most)) /* powers of two: readahead cuts at blocks */
        n_pages *= 2;
    return n_pages;
}

uint64_t evict_flow_clip(const struct object *object, uint64_t offset, uint64_t length)
{
    const uint64_t first = offset >> object->page_shift;
    const uint64_t end = (first + evict_flow_window(object, STORE_BUFFER_BYTES))
                         << object->page_shift;

    if (small_max(object->engine) >= QUOTA_UNLIMITED / 10)
        return length;
    return smaller(length, end - offset);
}

/* ---- may they go? ---- */

/*
 * Whether clean pages of the object are as the driver has them, and can be had again. Writes are
 * seen only where they are written back: where they are not, an object that anybody ever opened for
 * writing keeps its pages.
 */
static bool object_may_evict(const struct object *object)
{
    return object_gets_pages(object) && (!object->had_writer || object_takes_pages_back(object));
}

static struct object *object_of(const struct evict *index, uint32_t handle)
{
    return CONTAINER_OF(evict_owner(index, handle), struct object, evict);
}

static struct look look_at(const struct evict_flow *flow, struct object *object)
{
    struct look look = {
        .object = object,
        .may_evict = object_may_evict(object),
        .is_plain = list_is_empty(&object->pins),
    };
    const struct list *pos;

    for (const struct evict_guard *guard = flow->guards; guard; guard = guard->outer)
        look.is_plain &= guard->object != object;
    list_for_each(pos, &object->mappings) {
        const struct vma *vma = CONTAINER_OF_CONST(pos, struct vma, object_link);

        look.is_plain &= !vma->graduated && !(vma->flags & VMF_LOCKED);
    }
    return look;
}

static void cut_at(struct range *range, struct range keeper)
{
    if (!range_overlaps(*range, keeper))
        return;
    if (keeper.start <= range->start)
        range->start = smaller(keeper.end, range->end);
    else
        range->end = keeper.start;
}

static struct range locked_pages(const struct vma *vma, const struct object *object)
{
    const unsigned shift = object->page_shift - VMA_PAGE_SHIFT;
    const struct range small = vma_pages(vma);

    if (!(vma->flags & VMF_LOCKED))
        return (struct range){0, 0};
    return (struct range){small.start >> shift, (small.end + (1ull << shift) - 1) >> shift};
}

/* The first pages of @range that nobody keeps; each keeper is looked at until none cuts any more.
 * @ret_busy: somebody in this very call does. */
static struct range first_free(const struct evict_flow *flow, const struct object *object,
                               struct range range, bool *ret_busy)
{
    uint64_t start;

    do {
        const struct list *pos;

        start = range.start;
        list_for_each(pos, &object->mappings)
            cut_at(&range, locked_pages(CONTAINER_OF_CONST(pos, struct vma, object_link), object));
        list_for_each(pos, &object->pins)
            cut_at(&range, CONTAINER_OF_CONST(pos, struct evict_pin, node)->pages);
        for (const struct evict_guard *guard = flow->guards; guard; guard = guard->outer) {
            const struct range before = range;

            if (guard->object == object)
                cut_at(&range, guard->pages);
            *ret_busy |= !range_equal(before, range);
        }
    } while (range.start != start && !range_is_empty(range));
    return range;
}

/* ---- they go ---- */

/* Who waits for room, if anybody does. */
static void retry_later(struct evict_flow *flow)
{
    if (flow->patience.is_set && !flow->retry.is_set)
        deadline_set(&flow->engine->loop, &flow->retry, loop_now_ns());
}

static uint64_t evict_run(struct object *object, struct range pages)
{
    struct engine *engine = object->engine;
    const struct range bytes = {pages.start << object->page_shift, pages.end << object->page_shift};
    const uint64_t n =
        page_table_move_range(&object->pages, pages, PAGE_BIT(PAGE_CLEAN), PAGE_EVICTING);

    backing_punch(&object->backing, bytes);
    (void)page_table_move_range(&object->pages, pages, PAGE_BIT(PAGE_EVICTING), PAGE_ABSENT);
    charge_drop(&engine->quotas, object->uid, QUOTA_CACHE, n << object->page_shift);
    poison_drop(&object->vanished, pages);
    /* what the driver says of older requests is about bytes that are not there any more */
    object->answers_from = engine->next_id + 1;
    object->evicted_at_ns = loop_now_ns();
    object->n_evicted_pages += n;
    engine->stats.pages_evicted += n;
    retry_later(engine->evict);
    return n;
}

/* Pages that nobody keeps. */
static uint64_t evict_clean(struct object *object, struct range pages, bool is_watched)
{
    uint64_t n_gone = 0;

    while (!range_is_empty(pages)) {
        const struct range run = page_table_find_run(&object->pages, pages, PAGE_BIT(PAGE_CLEAN));

        pages.start = run.end;
        if (range_is_empty(run))
            continue;
        if (!is_watched && !fault_show_track(object, run))
            return n_gone; /* a native mapping would read zeros from the hole */
        n_gone += evict_run(object, run);
    }
    return n_gone;
}

static struct range hull_of(const struct object *object, struct range pages)
{
    const unsigned bits = PAGE_BITS_VALID | PAGE_BIT(PAGE_FILLING);

    pages.start = page_table_find(&object->pages, pages, bits);
    while (pages.end > pages.start &&
           !(PAGE_BIT(page_table_get(&object->pages, pages.end - 1)) & bits))
        pages.end--;
    return pages;
}

/* An entry that evict_next() gave, or that was asked for by name. Return: pages that went. */
static uint64_t evict_entry(struct evict_flow *flow, struct look *look, uint32_t handle,
                            bool is_for_room)
{
    struct object *object = object_of(&flow->index, handle);
    const struct range pages = evict_pages(&flow->index, handle);
    struct range left = pages;
    uint64_t n_gone = 0;
    bool is_busy;

    if (look->object != object)
        *look = look_at(flow, object);
    is_busy = page_table_find(&object->pages, pages, PAGE_BIT(PAGE_FILLING)) < pages.end;
    while (look->may_evict && !range_is_empty(left)) {
        const struct range free = look->is_plain ? left : first_free(flow, object, left, &is_busy);

        n_gone += evict_clean(object, free, look->is_plain);
        left.start = free.end;
    }
    left = hull_of(object, pages);
    if (range_is_empty(left))
        evict_drop(&flow->index, handle, is_for_room);
    else
        evict_keep(&flow->index, handle, left, !is_busy);
    return n_gone;
}

/* ---- making room ---- */

/* At most @max_runs entries, until @n_bytes have gone. Return: bytes that went. */
static uint64_t evict_from(struct evict_flow *flow, struct evict_user *user, uint64_t n_bytes,
                           uint64_t max_runs)
{
    const uint64_t most = smaller(max_runs, user->pool.n_entries);
    struct look look = {NULL, false, false};
    uint64_t n_gone = 0;

    flow->engine->stats.evict_passes++;
    for (uint64_t i = 0; i < most && n_gone < n_bytes; i++) {
        uint32_t handle = evict_next(&flow->index, &user->pool, small_max(flow->engine));
        uint64_t n_pages;

        if (handle == 0 && user->held_epoch != flow->epoch) {
            user->held_epoch = flow->epoch;
            if (evict_unhold(&flow->index, &user->pool))
                handle = evict_next(&flow->index, &user->pool, small_max(flow->engine));
        }
        if (handle == 0)
            break;
        n_pages = evict_entry(flow, &look, handle, true);
        n_gone += n_pages << look.object->page_shift;
    }
    return n_gone;
}

/* Whoever has most and was not tried in this search. */
static struct evict_user *largest(const struct evict_flow *flow)
{
    struct evict_user *user, *best = NULL;
    size_t cursor = 0;

    while ((user = idmap_next(&flow->users, &cursor))) {
        if (user->tried != flow->n_searches &&
            (!best || evict_pool_bytes(&user->pool) > evict_pool_bytes(&best->pool)))
            best = user;
    }
    return best;
}

static void make_user_room(struct evict_flow *flow, uint32_t uid, uint64_t n_bytes,
                           uint64_t max_runs)
{
    struct evict_user *user = idmap_get(&flow->users, uid);
    const uint64_t used = quota_used(&flow->engine->quotas, uid, QUOTA_CACHE);
    const uint64_t need = excess(used, n_bytes, user_limit(flow->engine));

    if (user && need > 0)
        (void)evict_from(flow, user, need, max_runs);
}

/* Of whoever has most; of the others only when that one has nothing that may go. @is_all: until there is
 * room; else one step towards it. */
static void make_memory_room(struct evict_flow *flow, uint64_t n_bytes, uint64_t max_runs,
                             bool is_all)
{
    const struct engine *engine = flow->engine;
    struct evict_user *user;
    uint64_t need;

    flow->n_searches++;
    while ((need = excess(engine->quotas.total[QUOTA_CACHE], n_bytes, memory_limit(engine))) > 0 &&
           (user = largest(flow))) {
        if (evict_from(flow, user, need, max_runs) == 0)
            user->tried = flow->n_searches;
        else if (!is_all)
            break;
    }
}

/* ---- everything is dirty ---- */

/* Objects with dirty pages: these become clean, and may go then. */
static void write_back(struct engine *engine)
{
    struct list *pos, *tmp;
    uint64_t n_left = 0;

    settle_hurry(engine);
    list_for_each(pos, &engine->dirty)
        n_left++; /* a kick moves an object to the end */
    list_for_each_safe(pos, tmp, &engine->dirty) {
        if (n_left-- == 0)
            break;
        writeback_kick(CONTAINER_OF(pos, struct object, wb.dirty));
    }
}

/* Too much to wait for its age: soon there would be nothing clean that can go. */
static bool is_much_dirty(const struct engine *engine)
{
    return writeback_dirty_bytes(engine) >=
           smaller(user_limit(engine), memory_limit(engine)) / DIRTY_SHARE;
}

static uint64_t progress_of(const struct engine *engine)
{
    return engine->stats.pages_evicted + engine->stats.pages_written;
}

static void retry_all(struct evict_flow *flow)
{
    static const struct range everywhere = {0, ASPACE_TASK_END};
    struct space *space;
    size_t cursor = 0;

    while ((space = idmap_next(&flow->engine->spaces, &cursor)))
        fault_flow_range_ready(space, everywhere);
}

static void on_retry(struct deadline *deadline)
{
    struct evict_flow *flow = CONTAINER_OF(deadline, struct evict_flow, retry);

    if (flow->progress != progress_of(flow->engine))
        deadline_clear(&flow->engine->loop, &flow->patience);
    retry_all(flow);
}

/* When nothing was evicted or written back for as long as a driver has for a hook, there is no
 * hope. Otherwise, whoever still waits begins anew. */
static void on_patience(struct deadline *deadline)
{
    struct evict_flow *flow = CONTAINER_OF(deadline, struct evict_flow, patience);

    if (flow->progress == progress_of(flow->engine))
        flow->hopeless_until_ns = loop_now_ns() + HOPELESS_NS;
    retry_all(flow);
}

bool evict_flow_wait(struct engine *engine)
{
    struct evict_flow *flow = engine->evict;
    const uint64_t now_ns = loop_now_ns();

    if (now_ns < flow->hopeless_until_ns ||
        (list_is_empty(&engine->dirty) && list_is_empty(&engine->settling) &&
         !fill_is_any_owed(engine)))
        return false;
    write_back(engine);
    if (!flow->patience.is_set) {
        flow->progress = progress_of(engine);
        deadline_set(&engine->loop, &flow->patience,
                     now_ns + engine->config->hook_deadline_ms * 1000000ull);
    }
    return true;
}

/* ---- in the background ---- */

static void on_again(struct deadline *deadline)
{
    struct evict_flow *flow = CONTAINER_OF(deadline, struct evict_flow, again);
    struct engine *engine = flow->engine;
    const uint64_t user_mark = low_mark(user_limit(engine));
    const uint64_t memory_mark = low_mark(memory_limit(engine));
    const uint64_t before = engine->stats.pages_evicted;
    bool is_enough = true;
    struct evict_user *user;
    size_t cursor = 0;

    while ((user = idmap_next(&flow->users, &cursor))) {
        make_user_room(flow, user->uid, user_mark, RUNS_PER_TURN);
        is_enough &= user_room(engine, user->uid) >= user_mark;
    }
    make_memory_room(flow, memory_mark, RUNS_PER_TURN, false);
    is_enough &= memory_room(engine) >= memory_mark;
    if (!is_enough && (engine->stats.pages_evicted == before || is_much_dirty(engine)))
        write_back(engine);
    if (!is_enough && engine->stats.pages_evicted != before)
        deadline_set(&engine->loop, &flow->again, loop_now_ns());
}

static void go_on_later(struct evict_flow *flow)
{
    if (!flow->again.is_set)
        deadline_set(&flow->engine->loop, &flow->again, loop_now_ns());
}

int evict_flow_charge(struct object *object, uint64_t n_pages)
{
    struct engine *engine = object->engine;
    struct evict_flow *flow = engine->evict;
    const uint64_t n_bytes = n_pages << object->page_shift;
    int r;

    if (user_room(engine, object->uid) < n_bytes && n_bytes <= user_limit(engine))
        make_user_room(flow, object->uid, n_bytes, LOOKS_PER_CALL);
    if (memory_room(engine) < n_bytes && n_bytes <= memory_limit(engine))
        make_memory_room(flow, n_bytes, LOOKS_PER_CALL, true);
    r = charge_take(&engine->quotas, object->uid, QUOTA_CACHE, n_bytes);
    if (user_room(engine, object->uid) < low_mark(user_limit(engine)) / 2 ||
        memory_room(engine) < low_mark(memory_limit(engine)) / 2)
        go_on_later(flow);
    return r > 0 ? -EDQUOT : r;
}

void evict_flow_limits(struct engine *engine)
{
    go_on_later(engine->evict);
    retry_later(engine->evict);
}

void evict_flow_room(struct engine *engine)
{
    retry_later(engine->evict);
}

void evict_flow_changed(struct engine *engine)
{
    struct evict_flow *flow = engine->evict;

    flow->epoch++;
    retry_later(flow);
}

/* ---- by name ---- */

uint64_t evict_flow_some(struct object *object, struct range *pages)
{
    struct evict_flow *flow = object->engine->evict;
    struct look look = {NULL, false, false};
    uint64_t n_gone = 0;

    *pages = range_intersect(*pages, page_table_range(&object->pages));
    for (unsigned i = 0; i < RUNS_PER_CALL; i++) {
        const uint32_t handle = evict_find(&flow->index, &object->evict, pages->start);
        struct range run;

        if (handle == 0 || evict_pages(&flow->index, handle).start >= pages->end) {
            pages->start = pages->end;
            break;
        }
        run = evict_pages(&flow->index, handle);
        n_gone += evict_entry(flow, &look, handle, false);
        pages->start = smaller(run.end, pages->end);
    }
    return n_gone;
}

void evict_hint(struct object *object, struct range pages, bool now)
{
    struct evict_flow *flow = object->engine->evict;

    pages = range_intersect(pages, page_table_range(&object->pages));
    if (range_is_empty(pages))
        return;
    evict_cool(&flow->index, &object->evict, pages);
    if (now)
        (void)evict_flow_some(object, &pages);
}

/* ---- what the fill path tells ---- */

int evict_flow_filling(struct object *object, struct range pages)
{
    struct engine *engine = object->engine;
    struct evict_seen seen;
    int r = evict_add(&engine->evict->index, &object->evict, pages, &seen);

    engine->stats.refaults += seen.n_refaults;
    engine->stats.ghost_hits += seen.n_ghosts;
    return r;
}

void evict_flow_gone(struct object *object, struct range pages)
{
    evict_trim(&object->engine->evict->index, &object->evict, pages, &object->pages);
}

/* As in the kernel (vma_has_recency()): whoever said how he reads, at random or once, says with it
 * that a second touch means nothing. */
void evict_flow_touch(struct object *object, const struct vma *vma, uint64_t page)
{
    if (!vma || !(vma->flags & (VMF_RAND_READ | VMF_SEQ_READ)))
        evict_touch(&object->engine->evict->index, &object->evict, page);
}

bool evict_was_recent(const struct object *object)
{
    return object->evicted_at_ns != 0 && loop_now_ns() - object->evicted_at_ns < RECENT_NS;
}

void evict_guard_begin(struct evict_guard *guard, const struct object *object, struct range pages)
{
    struct evict_flow *flow = object->engine->evict;

    *guard = (struct evict_guard){flow->guards, object, pages};
    flow->guards = guard;
}

void evict_guard_end(struct evict_guard *guard)
{
    struct evict_flow *flow = guard->object->engine->evict;

    MUST(flow->guards == guard);
    flow->guards = guard->outer;
}

void evict_pin_begin(struct evict_pin *pin, struct object *object, struct range pages,
                     struct space *reader)
{
    pin->object = object_ref(object);
    pin->reader = reader;
    pin->pages = pages;
    list_add_tail(&object->pins, &pin->node);
}

void evict_pin_end(struct evict_pin *pin)
{
    struct object *object = pin->object;

    if (!object)
        return;
    pin->object = NULL;
    list_del(&pin->node);
    evict_flow_changed(object->engine);
    object_unref(object);
}

void evict_pins_taken(const struct object *object, struct range pages)
{
    const struct list *pos;

    list_for_each(pos, &object->pins) {
        const struct evict_pin *pin = CONTAINER_OF_CONST(pos, struct evict_pin, node);

        if (pin->reader && pin->reader->taken && range_overlaps(pin->pages, pages))
            (void)atomic_fetch_add(pin->reader->taken, 1);
    }
}

/* ---- making and ending ---- */

int evict_flow_new(struct engine *engine)
{
    struct evict_flow *flow = calloc(1, sizeof(*flow));

    if (!flow)
        return -ENOMEM;
    flow->engine = engine;
    flow->again.fn = on_again;
    flow->retry.fn = on_retry;
    flow->patience.fn = on_patience;
    evict_init(&flow->index);
    idmap_init(&flow->users);
    engine->evict = flow;
    return 0;
}

void evict_flow_free(struct engine *engine)
{
    struct evict_flow *flow = engine->evict;

    if (!flow)
        return;
    MUST(idmap_count(&flow->users) == 0);
    deadline_clear(&engine->loop, &flow->again);
    deadline_clear(&engine->loop, &flow->retry);
    deadline_clear(&engine->loop, &flow->patience);
    evict_done(&flow->index);
    idmap_done(&flow->users);
    free(flow);
    engine->evict = NULL;
}

static void user_drop(struct evict_flow *flow, struct evict_user *user)
{
    if (user->n_objects > 0)
        return;
    (void)idmap_take(&flow->users, user->uid);
    evict_pool_done(&flow->index, &user->pool);
    free(user);
}

static int user_get(struct evict_flow *flow, uint32_t uid, struct evict_user **ret_user)
{
    struct evict_user *user = idmap_get(&flow->users, uid);
    int r;

    if (!user) {
        user = calloc(1, sizeof(*user));
        if (!user)
            return -ENOMEM;
        user->uid = uid;
        r = evict_pool_init(&flow->index, &user->pool);
        if (r == 0) {
            r = idmap_put(&flow->users, uid, user);
            if (r < 0)
                evict_pool_done(&flow->index, &user->pool);
        }
        if (r < 0) {
            free(user);
            return r;
        }
    }
    *ret_user = user;
    return 0;
}

int evict_flow_object_init(struct object *object)
{
    struct evict_flow *flow = object->engine->evict;
    struct evict_user *user;
    int r = user_get(flow, object->uid, &user);

    if (r < 0)
        return r;
    r = evict_object_init(&flow->index, &object->evict, &user->pool, object->id,
                          object->page_shift);
    if (r == 0)
        user->n_objects++;
    else
        user_drop(flow, user);
    return r;
}

void evict_flow_object_done(struct object *object)
{
    struct evict_flow *flow = object->engine->evict;
    struct evict_user *user;

    if (!object->evict.pool)
        return;
    user = CONTAINER_OF(object->evict.pool, struct evict_user, pool);
    evict_object_done(&flow->index, &object->evict);
    user->n_objects--;
    user_drop(flow, user);
}

/* ---- looking ---- */

const char *evict_flow_validate(const struct engine *engine)
{
    const struct evict_user *user;
    const char *why = NULL;
    size_t cursor = 0;

    while (!why && (user = idmap_next(&engine->evict->users, &cursor)))
        why = evict_validate(&engine->evict->index, &user->pool);
    return why;
}

bool evict_flow_covers(const struct object *object)
{
    const struct evict *index = &object->engine->evict->index;
    const unsigned bits = PAGE_BITS_VALID | PAGE_BIT(PAGE_FILLING);
    uint64_t n_pages = 0;

    for (uint32_t handle = evict_find(index, &object->evict, 0); handle != 0;
         handle = evict_find(index, &object->evict, evict_pages(index, handle).end)) {
        const uint64_t n = page_table_count(&object->pages, evict_pages(index, handle), bits);

        if (n == 0)
            return false;
        n_pages += n;
    }
    return n_pages == object->pages.n_valid + object->pages.n_filling;
}

uint64_t evict_flow_bytes(const struct engine *engine)
{
    uint64_t bytes = evict_bytes(&engine->evict->index);
    const struct evict_user *user;
    size_t cursor = 0;

    while ((user = idmap_next(&engine->evict->users, &cursor)))
        bytes += sizeof(*user) +
                 (user->pool.ghosts ? user->pool.n_ghosts : 0) * sizeof(struct evict_ghost);
    return bytes;
}
