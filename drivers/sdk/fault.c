/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The fault thread and the functions that supply pages. Takes asks from the fill ring, calls the
 * driver's fault hook, puts answers into the ring and wakes the server: at once when pages somebody
 * waits for became valid, otherwise at the end of the hook. Keeps account of which pages of a run
 * were dealt with, so that none is owed for ever.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "common/base/range.h"
#include "drivers/sdk/sdk.h"

/* Chosen: no ask overtakes its object's frame by more. */
#define OBJECT_DEADLINE_NS UINT64_C(5000000000)
#define RUN_PAGES_MAX      (1u << 20) /* chosen: 4 GiB of small pages; bounds the account */
#define YIELDS_MAX         64u        /* chosen: then the server is not just about to look */
#define FULL_SLEEP_NS      1000000L
#define BITS               64u

struct fault {
    struct muse_fault pub; /* the driver's copy; not trusted after it was handed out */
    struct muse_driver *driver;
    struct object *object;    /* pinned */
    struct page_cache *cache; /* pinned */
    uint64_t request_id;
    uint64_t first_page;
    uint64_t n_pages;
    uint64_t n_needed;
    struct list node;        /* in driver->faults */
    _Atomic uint64_t done[]; /* a bit a page of the run: supplied or failed */
};

static _Thread_local bool this_is_fault_thread;

bool fault_thread_is_this(void)
{
    return this_is_fault_thread;
}

static struct fault *fault_of(struct muse_fault *fault)
{
    return CONTAINER_OF(fault, struct fault, pub);
}

uint64_t fault_cache_id(const struct muse_fault *fault)
{
    const struct fault *whole = (const void *)((const char *)fault - offsetof(struct fault, pub));

    return whole->cache->id;
}

static void wake_server(struct muse_driver *driver)
{
    const uint64_t one = 1;

    (void)!write(driver->wake_server_fd, &one, sizeof(one)); /* EAGAIN: it is awake in any case */
}

/* Locked: answers_lock. The server takes answers whenever it runs; else the connection ends. */
static int put_answer(struct muse_driver *driver, const struct fill_answer *answer)
{
    const struct timespec pause = {.tv_nsec = FULL_SLEEP_NS};
    unsigned n_tries = 0;

    while (!fill_ring_put_answer(driver->ring, answer)) {
        if (atomic_load(&driver->lost))
            return -ENODEV;
        if (n_tries++ == 0)
            wake_server(driver);
        if (n_tries < YIELDS_MAX) {
            (void)sched_yield();
        } else {
            (void)nanosleep(&pause, NULL);
        }
    }
    return 0;
}

static void flush(struct muse_driver *driver)
{
    (void)pthread_mutex_lock(&driver->answers_lock);
    if (driver->unflushed)
        wake_server(driver);
    driver->unflushed = false;
    (void)pthread_mutex_unlock(&driver->answers_lock);
}

/* The bits of @word that pages [first, end) of the run have. */
static uint64_t mask_of(uint64_t word, uint64_t first, uint64_t end)
{
    const uint64_t low = first > word * BITS ? first - word * BITS : 0;
    const uint64_t high = end < (word + 1) * BITS ? end - word * BITS : BITS;
    const uint64_t below_high = high == BITS ? UINT64_MAX : (UINT64_C(1) << high) - 1;

    return below_high & ~((UINT64_C(1) << low) - 1);
}

/* Pages may lie outside the run. Return: whether somebody waits for one of them. */
static bool account(struct fault *fault, uint64_t first_page, uint64_t n_pages)
{
    const struct range run = {fault->first_page, fault->first_page + fault->n_pages};
    const struct range in = range_intersect(run, (struct range){first_page, first_page + n_pages});
    const uint64_t first = in.start - fault->first_page;
    const uint64_t end = in.end - fault->first_page;

    if (range_is_empty(in))
        return false;
    for (uint64_t word = first / BITS; word * BITS < end; word++)
        (void)atomic_fetch_or(&fault->done[word], mask_of(word, first, end));
    return first < fault->n_needed;
}

static bool is_accounted(const struct fault *fault, uint64_t page)
{
    return (atomic_load(&fault->done[page / BITS]) >> (page % BITS)) & 1;
}

static bool is_inside(const struct fault *fault, uint64_t first_page, uint64_t n_pages)
{
    const uint64_t n_all = fault->cache->n_pages;

    return n_pages > 0 && first_page < n_all && n_pages <= n_all - first_page;
}

static int tell_supplied(struct fault *fault, uint64_t first_page, uint64_t n_pages)
{
    struct muse_driver *driver = fault->driver;
    const struct fill_answer answer = {.request_id = fault->request_id,

                                       .object_key = fault->object->key,
                                       .object_id = fault->cache->id,
                                       .first_page = first_page,
                                       .n_pages = n_pages};
    bool at_once;
    int r;

    (void)pthread_mutex_lock(&driver->answers_lock);
    r = put_answer(driver, &answer);
    if (r == 0)
        driver->unflushed = true;
    (void)pthread_mutex_unlock(&driver->answers_lock);
    if (r < 0)
        return r;
    at_once = account(fault, first_page, n_pages) || !this_is_fault_thread;
    if (at_once)
        flush(driver);
    return 0;
}

static int supply(struct fault *fault, uint64_t first_page, const void *data, uint64_t n_pages)
{
    int r;

    if (!is_inside(fault, first_page, n_pages))
        return -EINVAL;
    if (atomic_load(&fault->driver->lost))
        return -ENODEV;
    r = cache_write(&fault->driver->objects, fault->cache, first_page, data, n_pages);
    if (r < 0)
        return r;
    return tell_supplied(fault, first_page, n_pages);
}

int muse_fault_supply(struct muse_fault *fault, uint64_t first_page, const void *data,
                      uint64_t n_pages)
{
    if (!data)
        return -EINVAL;
    return supply(fault_of(fault), first_page, data, n_pages);
}

int muse_fault_zero(struct muse_fault *fault, uint64_t first_page, uint64_t n_pages)
{
    return supply(fault_of(fault), first_page, NULL, n_pages);
}

int muse_fault_fd(const struct muse_fault *fault)
{
    return CONTAINER_OF_CONST(fault, struct fault, pub)->cache->memfd;
}

int muse_fault_supplied(struct muse_fault *fault, uint64_t first_page, uint64_t n_pages)
{
    struct fault *own = fault_of(fault);

    if (!is_inside(own, first_page, n_pages))
        return -EINVAL;
    if (atomic_load(&own->driver->lost))
        return -ENODEV;
    return tell_supplied(own, first_page, n_pages);
}

static int tell_failed(struct muse_driver *driver, uint64_t request_id, uint64_t first_page,
                       uint64_t n_pages, uint32_t error, const char *text)
{
    Muse__Wire__FaultFailed failed = MUSE__WIRE__FAULT_FAILED__INIT;

    failed.request_id = request_id;
    failed.first_page = first_page;
    failed.n_pages = (uint32_t)n_pages;
    failed.error = error;
    failed.text = *text ? (char *)(uintptr_t)text : NULL; /* packing only reads it */
    return sdk_send(driver, FRAME_FAULT_FAILED, 0, &failed.base, NULL, 0);
}

int muse_fault_fail(struct muse_fault *fault, uint64_t first_page, uint64_t n_pages, int error)
{
    struct fault *own = fault_of(fault);
    int r;

    if (!is_inside(own, first_page, n_pages) || n_pages > UINT32_MAX)
        return -EINVAL;
    r = tell_failed(own->driver, own->request_id, first_page, n_pages,
                    (uint32_t)(error ? sdk_wire_error(error) : EIO), request_thread_text());
    request_clear_thread_text();
    if (r == 0)
        (void)account(own, first_page, n_pages);
    return r;
}

/* Every page of [first, end) of the run that was not dealt with fails, run by run. */
static void fail_rest(struct fault *fault, uint64_t first, uint64_t end, uint32_t error,
                      const char *text)
{
    while (first < end) {
        uint64_t stop;

        while (first < end && is_accounted(fault, first))
            first++;
        stop = first;
        while (stop < end && !is_accounted(fault, stop))
            stop++;
        if (stop > first) { /* a server that is gone waits for nothing */
            (void)!tell_failed(fault->driver, fault->request_id, fault->first_page + first,
                               stop - first, error, text);
        }
        first = stop;
    }
}

static void fault_end(struct fault *fault, int result)
{
    struct muse_driver *driver = fault->driver;
    const char *text = request_thread_text();
    bool object_ended;

    if (result == 0) {
        fail_rest(fault, 0, fault->n_needed, EIO, *text ? text : "driver supplied nothing");
        fail_rest(fault, fault->n_needed, fault->n_pages, ECANCELED, "readahead left out");
    } else {
        fail_rest(fault, 0, fault->n_pages, (uint32_t)sdk_wire_error(result), text);
    }
    request_clear_thread_text();
    flush(driver);
    object_ended = objects_unpin(&driver->objects, fault->object, fault->cache);
    (void)pthread_mutex_lock(&driver->answers_lock);
    list_del(&fault->node);
    (void)pthread_mutex_unlock(&driver->answers_lock);
    free(fault);
    (void)atomic_fetch_sub(&driver->n_faults, 1);
    if (object_ended || atomic_load(&driver->lost))
        sdk_wake(driver);
}

void muse_fault_done(struct muse_fault *fault, int error)
{
    fault_end(fault_of(fault), error);
}

static bool ask_is_legal(const struct fill_ask *ask, const struct page_cache *cache)
{
    const uint64_t n_all = cache->n_pages;

    return ask->n_pages > 0 && ask->n_pages <= RUN_PAGES_MAX && ask->n_needed <= ask->n_pages &&
           ask->first_page < n_all && ask->n_pages <= n_all - ask->first_page;
}

/* Takes the pins. NULL: out of memory, the pins stay the caller's. */
static struct fault *fault_new(struct muse_driver *driver, const struct fill_ask *ask,
                               struct object *object, struct page_cache *cache)
{
    const size_t n_words = (ask->n_pages + BITS - 1) / BITS;
    struct fault *fault = calloc(1, sizeof(*fault) + n_words * sizeof(fault->done[0]));

    if (!fault)
        return NULL;
    fault->pub = (struct muse_fault){.object_key = object->key,
                                     .object = object->user_object,
                                     .first_page = ask->first_page,
                                     .n_pages = ask->n_pages,
                                     .n_needed = ask->n_needed,
                                     .page_bytes = cache->page_bytes,
                                     .size_bytes = cache->size_bytes,
                                     .user = driver->user};
    fault->driver = driver;
    fault->object = object;
    fault->cache = cache;
    fault->request_id = ask->request_id;
    fault->first_page = ask->first_page;
    fault->n_pages = ask->n_pages;
    fault->n_needed = ask->n_needed;
    (void)atomic_fetch_add(&driver->n_faults, 1);
    (void)pthread_mutex_lock(&driver->answers_lock);
    list_init(&fault->node);
    list_add_tail(&driver->faults, &fault->node);
    (void)pthread_mutex_unlock(&driver->answers_lock);
    return fault;
}

static void refuse(struct muse_driver *driver, const struct fill_ask *ask, uint32_t error,
                   const char *text)
{
    (void)!tell_failed(driver, ask->request_id, ask->first_page, ask->n_pages, error,
                       text); /* a server that is gone waits for nothing */
}

static void serve_ask(struct muse_driver *driver, const struct fill_ask *ask)
{
    struct object *object;
    struct page_cache *cache;
    struct fault *fault = NULL;
    int r = objects_pin(&driver->objects, ask->object_key, ask->object_id,
                        sdk_now_ns() + OBJECT_DEADLINE_NS, &object, &cache);

    if (r < 0) {
        refuse(driver, ask, ENODEV, "the driver was not given this object");
        return;
    }
    if (!ask_is_legal(ask, cache)) {
        refuse(driver, ask, EINVAL, "asked for pages outside the object");
    } else if (!(fault = fault_new(driver, ask, object, cache))) {
        refuse(driver, ask, ENOMEM, "the driver is out of memory");
    }
    if (!fault) {
        if (objects_unpin(&driver->objects, object, cache))
            sdk_wake(driver);
        return;
    }
    request_clear_thread_text();
    r = driver->ops.fault(&fault->pub);
    if (r == MUSE_FAULT_PENDING) {
        flush(driver); /* the fault may have been ended and freed by now */
    } else {
        fault_end(fault, r);
    }
}

/* Return: false when there is nothing to wait with. */
static bool wait_for_asks(struct muse_driver *driver)
{
    struct pollfd wake = {.fd = driver->wake_driver_fd, .events = POLLIN};
    uint64_t count;

    if (read(driver->wake_driver_fd, &count, sizeof(count)) > 0 || errno == EINTR)
        return true;
    return errno == EAGAIN && (poll(&wake, 1, -1) >= 0 || errno == EINTR);
}

static void *fault_main(void *argument)
{
    struct muse_driver *driver = argument;
    struct fill_ask ask;

    this_is_fault_thread = true;
    while (!atomic_load(&driver->stop_faults)) {
        if (fill_ring_take_ask(driver->ring, &ask)) {
            serve_ask(driver, &ask);
        } else if (!wait_for_asks(driver)) {
            break;
        }
    }
    if (!atomic_load(&driver->stop_faults))
        sdk_connection_lost(driver);
    atomic_store(&driver->fault_thread_ended, true);
    sdk_wake(driver);
    return NULL;
}

int faults_start(struct muse_driver *driver)
{
    int r;

    if (!driver->ops.fault)
        return 0;
    r = pthread_create(&driver->fault_thread, NULL, fault_main, driver);
    driver->has_fault_thread = r == 0;
    return -r;
}

void faults_stop(struct muse_driver *driver)
{
    const uint64_t one = 1;

    atomic_store(&driver->stop_faults, true);
    if (driver->has_fault_thread)
        (void)!write(driver->wake_driver_fd, &one, sizeof(one)); /* EAGAIN: it is awake */
}

void faults_free(struct muse_driver *driver)
{
    struct list *node;

    if (!driver->faults.next)
        return; /* never initialized */
    while ((node = list_take_first(&driver->faults)) != NULL) {
        struct fault *fault = LIST_ENTRY(node, struct fault, node);

        (void)objects_unpin(&driver->objects, fault->object, fault->cache);
        free(fault);
    }
}
