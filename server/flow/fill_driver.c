/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pages that a driver's fault hook fills: asks and answers through the shared ring, failures over
 * its socket, and the deadline of whatever it owes.
 *
 * driver.runs holds all runs in the order they were asked for, so the first one's deadline is the
 * next; those the ring had no room for stand at the end, in order, and go out as answers come in.
 * Called by fill_flow.c, and by the driver's link.
 *
 * What the driver writes into the ring is not trusted: a range outside its object, or an object it
 * never had, cuts it off. Answers about what is valid already cost one look and change nothing. One
 * wake-up takes at most ANSWERS_PER_TURN answers or ANSWER_PAGES_MAX pages, then others have their
 * turn.
 *
 * A miss costs, on our side: the read of the uffd, UFFDIO_CONTINUE, one eventfd write and one read,
 * and two epoll_wait; a window of 512 pages costs the same once.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "common/base/log.h"
#include "common/base/own.h"
#include "server/driver/driver_link.h"
#include "server/flow/fill.h"
#include "server/flow/fill_flow.h"
#include "server/flow/loss_flow.h"

#define ANSWERS_PER_TURN (2u * FILL_RING_ENTRIES)
/* Chosen: 1 GiB of 4 KiB pages, a millisecond or two; longer answers are nonsense. */
#define ANSWER_PAGES_MAX (1ull << 18)

static struct run *run_of(struct list *node)
{
    return CONTAINER_OF(node, struct run, owner_link);
}

/* ---- asks ---- */

static bool send_ask(struct driver *driver, struct run *run)
{
    const struct object *object = run->owner;
    const uint64_t n_needed =
        run->needed_end > run->pages.start ? run->needed_end - run->pages.start : 0;
    const struct fill_ask ask = {.request_id = run->id,
                                 .object_key = object->key,
                                 .object_id = object->id,
                                 .first_page = run->pages.start,
                                 .n_pages = (uint32_t)range_len(run->pages),
                                 .n_needed = (uint32_t)n_needed};

    if (!driver->link || !driver_link_ask(driver->link, &ask))
        return false;
    run->sent = true;
    driver->n.faults_asked++;
    driver->n.pages_asked += ask.n_pages;
    return true;
}

void fill_driver_ask(struct object *object, struct run *run)
{
    struct driver *driver = object->driver;
    struct list *before = run->owner_link.prev;

    if (before != &driver->runs && !run_of(before)->sent)
        return;                  /* in order */
    (void)send_ask(driver, run); /* a full ring: when an answer comes */
}

/* The ring may have room again: the asks that wait, the last ones of the list, oldest first. */
static void send_waiting(struct driver *driver)
{
    struct list *node = &driver->runs;

    while (node->prev != &driver->runs && !run_of(node->prev)->sent)
        node = node->prev;
    for (; node != &driver->runs; node = node->next) {
        if (!send_ask(driver, run_of(node)))
            return;
    }
}

/* ---- deadlines ---- */

bool fill_is_any_owed(const struct engine *engine)
{
    const struct driver *driver;
    size_t cursor = 0;

    while ((driver = idmap_next(&engine->drivers, &cursor))) {
        if (!list_is_empty(&driver->runs))
            return true;
    }
    return false;
}

static void on_runs_deadline(struct deadline *deadline);

void fill_driver_watch(struct driver *driver)
{
    struct list *first = list_first(&driver->runs);

    if (!first || driver->runs_deadline.is_set)
        return;
    driver->runs_deadline.fn = on_runs_deadline;
    deadline_set(&driver->engine->loop, &driver->runs_deadline, run_of(first)->deadline_ns);
}

static void on_runs_deadline(struct deadline *deadline)
{
    struct driver *driver = CONTAINER_OF(deadline, struct driver, runs_deadline);
    const uint64_t now_ns = loop_now_ns();
    char text[128];
    const struct fill_error why = {ETIMEDOUT, "fault", text, true};
    struct list *node;

    (void)snprintf(text, sizeof(text), "driver %s did not answer within %" PRIu64 " ms",
                   driver->name, driver->hook_deadline_ns / 1000000);
    driver_ref(driver);
    while ((node = list_first(&driver->runs)) && run_of(node)->deadline_ns <= now_ns) {
        struct run *run = run_of(node);

        driver->n.late++;
        fill_run_failed(run->owner, run, run->pages, &why);
    }
    send_waiting(driver);
    fill_driver_watch(driver);
    driver_unref(driver);
}

/* ---- answers ---- */

/* Return: NULL, or what is wrong with it. */
static const char *take_answer(struct driver *driver, const struct fill_answer *answer)
{
    struct object *object = idmap_get(&driver->objects, answer->object_key);
    struct range pages;

    if (!object || object->id != answer->object_id)
        return NULL; /* it may have gone while the answer was under way */
    if (answer->n_pages > ANSWER_PAGES_MAX)
        return "an answer is about more pages at once than are taken";
    if (range_from_len(answer->first_page, answer->n_pages, &pages) < 0 ||
        pages.end > object->pages.n_pages)
        return "an answer is about pages outside its object";
    if (answer->request_id > driver->engine->next_id)
        return "an answer is to a request that was never made";
    fill_supplied(object, pages, answer->request_id, true);
    return NULL;
}

static void on_answers_again(struct deadline *deadline)
{
    struct driver *driver = CONTAINER_OF(deadline, struct driver, answers_again);

    if (driver->link)
        fill_answers(driver, driver->link->ring);
}

void fill_answers(struct driver *driver, struct fill_ring *ring)
{
    const uint64_t came_ns = loop_now_ns();
    uint64_t n_pages = 0;
    const char *wrong = NULL;
    struct fill_answer answer;
    unsigned n_answers = 0;

    if (!fill_ring_answers_fit(ring))
        wrong = "the ring says it has more answers than fit";
    while (!wrong && n_answers < ANSWERS_PER_TURN && n_pages < ANSWER_PAGES_MAX) {
        if (!fill_ring_take_answer(ring, &answer))
            break;
        n_answers++;
        wrong = take_answer(driver, &answer);
        n_pages += wrong ? 0 : answer.n_pages;
    }
    send_waiting(driver);
    if (wrong) {
        driver_misbehaved(driver, NULL, "fault", wrong); /* the driver dies in here */
        return;
    }
    if (n_answers > 0)
        engine_served(driver->engine, came_ns);
    if (n_answers == ANSWERS_PER_TURN || n_pages >= ANSWER_PAGES_MAX) {
        driver->answers_again.fn = on_answers_again;
        deadline_set(&driver->engine->loop, &driver->answers_again, loop_now_ns());
    }
}

/* ---- failures ---- */

static struct run *find_owed(struct driver *driver, uint64_t id, struct range pages)
{
    struct list *pos;

    list_for_each(pos, &driver->runs) {
        struct run *run = run_of(pos);

        if (run->id == id && range_overlaps(run->pages, pages))
            return run;
    }
    return NULL;
}

void fill_failed(struct driver *driver, uint64_t request_id, uint64_t first_page, uint64_t n_pages,
                 int error, const char *text)
{
    const struct fill_error why = {.error = -error, .hook = "fault", .text = text};
    struct range pages;
    struct run *run;

    if (range_from_len(first_page, n_pages, &pages) < 0)
        pages = (struct range){first_page, UINT64_MAX};
    driver_ref(driver);
    /* parts of a cut run share the id; what is asked for again gets a new one */
    while ((run = find_owed(driver, request_id, pages)))
        fill_run_failed(run->owner, run, range_intersect(run->pages, pages), &why);
    send_waiting(driver);
    driver_unref(driver);
}

void fill_driver_gone(struct driver *driver)
{
    struct fill_error why = {.hook = "driver", .is_final = true};
    struct object *object;
    struct list *node;
    size_t cursor = 0;

    why.error = -driver_gone_error(driver, &why.text);
    driver_ref(driver);
    deadline_clear(&driver->engine->loop, &driver->answers_again);
    while ((object = idmap_next(&driver->objects, &cursor))) {
        object->lost = true;
        poison_add_rest(&object->poison, why.error, why.hook, why.text);
    }
    while ((node = list_first(&driver->runs))) {
        struct run *run = run_of(node);

        fill_run_failed(run->owner, run, run->pages, &why);
    }
    deadline_clear(&driver->engine->loop, &driver->runs_deadline);
    driver_unref(driver);
}
