/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * musectl why: everything the server knows of one address of one space, and what a touch there would
 * meet (server/fault/why.h decides). Reads only, asks nobody. What the client's kernel keeps to
 * itself is not known here: which pages of a private mapping it has copied, and which valid pages it
 * has mapped.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/own.h"
#include "proto/hooks.h"
#include "server/fault/why.h"
#include "server/flow/fill.h"
#include "server/flow/inspect_parts.h"
#include "server/flow/mm_lock.h"
#include "server/flow/waits.h"
#include "server/flow/writeback.h"

/* Chosen: who else waits for the page; more are counted. */
#define WAITERS_MAX 16u

/* What is found at the address. */
struct place {
    struct space *space;
    uint64_t address;
    const struct vma *vma;       /* NULL: nothing */
    const struct object *object; /* NULL: none */
    uint64_t page, offset;       /* in the object */
    bool beyond;
    enum page_state state;
    const struct poison_record *record;
    const struct run *run;    /* that brings it; NULL */
    struct wait_view mkwrite; /* what: NULL: none */
    enum why_mkwrite mkwrite_is;
    uint64_t n_waiters; /* faults and calls, parked ones too */
    enum why_outcome read, write;
};

/* ---- looking ---- */

static void look_at_mkwrites(struct place *place)
{
    const struct list *pos;

    list_for_each(pos, &place->space->mkwrites) {
        struct wait_view view;
        const bool is_asked = wait_of_mkwrite(pos, &view);

        if (view.object != place->object || view.pages.start != place->page ||
            (view.address ^ place->address) >= object_page_bytes(place->object))
            continue;
        place->mkwrite = view;
        place->mkwrite_is = is_asked ? WHY_MKWRITE_ASKED : WHY_MKWRITE_REFUSED;
    }
}

static void look_at_object(struct place *place)
{
    const struct object *object = vma_object(place->vma);

    place->object = object;
    place->offset = (vma_pgoff_at(place->vma, place->address) << VMA_PAGE_SHIFT) +
                    place->address % VMA_PAGE_BYTES;
    place->page = place->offset >> object->page_shift;
    place->beyond = place->page >= object_n_pages(object);
    place->record = poison_find(&object->poison, place->page);
    if (place->page < object->pages.n_pages)
        place->state = page_table_get(&object->pages, place->page);
    place->run = run_table_find(&object->runs, place->page);
    look_at_mkwrites(place);
}

/* Whoever waits for the page, in any space; and faults parked at the address. */
static uint64_t count_waiters(const struct run_table *table, uint64_t page)
{
    const struct page_waiter *waiter = run_table_first_waiter(table, page);
    uint64_t n = 0;

    for (; waiter && waiter->page == page; waiter = waiter_next(waiter))
        n++;
    return n;
}

static void judge(struct place *place)
{
    const struct vma *vma = place->vma;
    const struct object *object = place->object;
    struct why_query query = {.fault = {.state = place->state}};

    if (vma) {
        query.fault.has_vma = true;
        query.fault.kind = vma->kind;
        query.fault.write_locked = vma->write_locked;
        query.fault.direct = vma->direct || !vma->object;
        query.readable = vma_prot(vma) != 0; /* x86 cannot tell writing or running from reading */
        query.writable = (vma->flags & VMF_WRITE) != 0;
        query.is_private = !(vma->flags & VMF_SHARED);
        query.tracks_writes = vma->tracks_writes;
        query.has_mkwrite = vma->has_mkwrite;
    }
    if (object) {
        query.fault.beyond_end = place->beyond;
        query.fault.lost = !object_gets_pages(object);
        query.has_source =
            object->source == OBJECT_EXTENTS || (object->driver->file_hooks & FILE_HOOK_FAULT) != 0;
        query.mkwrite = place->mkwrite_is;
    }
    place->read = why_decide(&query, false);
    place->write = why_decide(&query, true);
}

static void look(struct place *place)
{
    place->vma = vma_tree_find(&place->space->aspace.vmas, place->address);
    if (place->vma && place->vma->kind == VMA_MAPPED && place->vma->object)
        look_at_object(place);
    if (place->object)
        place->n_waiters = count_waiters(&place->object->runs, place->page);
    place->n_waiters += count_waiters(&place->space->parked, place->address >> VMA_PAGE_SHIFT);
    judge(place);
}

/* ---- the sentence ---- */

static void say_page(const struct place *place, char *buf, size_t size)
{
    if (place->object)
        (void)snprintf(buf, size, " (page %" PRIu64 " of %s)", place->page, place->object->name);
    else
        buf[0] = '\0';
}

/* Return: whether the outcome is a wait for somebody who can be named. */
static bool find_wait(const struct place *place, enum why_outcome outcome,
                      struct wait_view *ret_view)
{
    const struct mm_request *writer = place->space->writer;

    if (outcome == WHY_LOCKED && writer) {
        *ret_view = (struct wait_view){.stage = "parked", .whom = WAITS_FOR_LOCK, .behind = writer};
        return true;
    }
    if (outcome == WHY_MKWRITE) {
        *ret_view = place->mkwrite;
        return true;
    }
    if (outcome == WHY_JOIN && place->run) {
        *ret_view = (struct wait_view){.since_ns = place->run->asked_ns};
        wait_see_run(place->object, place->page, ret_view);
        return true;
    }
    return false;
}

static const char *errno_name(int error)
{
    const char *name = strerrorname_np(error);

    return name ? name : "?";
}

/* What stands behind an outcome; may be nothing. */
static void say_detail(const struct place *place, enum why_outcome outcome, char *buf, size_t size)
{
    const struct poison_record *record = place->record;
    struct wait_view view;

    buf[0] = '\0';
    if (find_wait(place, outcome, &view)) {
        (void)wait_reason(&view, buf, size);
        return;
    }
    if (!place->object)
        return; /* nothing is known but that */
    if ((outcome == WHY_FAILED || outcome == WHY_REFUSED || outcome == WHY_LOST) && record) {
        (void)snprintf(buf, size, "%s of driver %s: %s (%s)", record->hook,
                       place->object->driver->name, record->text, errno_name(record->error));
    } else if (outcome == WHY_ASK) {
        (void)snprintf(buf, size, "driver %s %s", place->object->driver->name,
                       place->object->source == OBJECT_EXTENTS ? "has said where they are"
                                                               : "will be asked fault");
    }
}

static void say_one(const struct place *place, const char *who, enum why_outcome outcome, char *buf,
                    size_t size)
{
    char page[300], detail[512];

    say_page(place, page, sizeof(page));
    say_detail(place, outcome, detail, sizeof(detail));
    (void)snprintf(buf, size, "%s %s: %s%s%s%s", who, why_verdict_word(why_verdict_of(outcome)),
                   why_text(outcome), page, detail[0] ? ": " : "", detail);
}

static void put_sentence(struct doc *document, const struct place *place)
{
    char read[1024], write[1024], both[2060];

    if (place->read == place->write) {
        say_one(place, "a touch", place->read, both, sizeof(both));
    } else {
        say_one(place, "a read", place->read, read, sizeof(read));
        say_one(place, "a write", place->write, write, sizeof(write));
        (void)snprintf(both, sizeof(both), "%s; %s", read, write);
    }
    doc_put_text(document, "sentence", both);
}

/* ---- documents ---- */

static void put_access(struct doc *document, const char *key, enum why_outcome outcome)
{
    struct doc *value = doc_object();

    doc_put_text(value, "verdict", why_verdict_word(why_verdict_of(outcome)));
    doc_put_text(value, "reason", why_word(outcome));
    doc_put_text(value, "text", why_text(outcome));
    doc_put(document, key, value);
}

static void put_object(struct doc *document, const struct object *object)
{
    struct doc *value = doc_object();

    doc_put_number(value, "id", object->id);
    doc_put_text(value, "name", object->name);
    doc_put_text(value, "driver", object->driver->name);
    doc_put_bool(value, "driver_alive", object->driver->alive);
    doc_put_bool(value, "lost", object->lost);
    doc_put_bool(value, "stuck", object->backing.is_stuck);
    doc_put_number(value, "size_bytes", object->size_bytes);
    doc_put_number(value, "page_bytes", object_page_bytes(object));
    doc_put_text(value, "source", object->source == OBJECT_EXTENTS ? "extents" : "fill");
    inspect_put_writeback(value, object);
    doc_put(document, "object", value);
}

static void put_page(struct doc *document, const struct place *place)
{
    struct doc *value = doc_object();

    doc_put_number(value, "number", place->page);
    doc_put_number(value, "offset", place->offset);
    doc_put_text(value, "state", page_state_name(place->state));
    doc_put_bool(value, "beyond_end", place->beyond);
    doc_put(document, "page", value);
}

static void put_poison(struct doc *document, const struct poison_record *record)
{
    struct doc *value = doc_object();

    doc_put_number(value, "errno", (uint64_t)record->error);
    doc_put_text(value, "hook", record->hook);
    doc_put_text(value, "text", record->text);
    doc_put_number(value, "first_page", record->pages.start);
    doc_put_number(value, "n_pages", range_len(record->pages));
    doc_put(document, "poison", value);
}

static void add_waiters(const struct run_table *table, uint64_t page, struct doc *array,
                        unsigned *n)
{
    const struct page_waiter *waiter = run_table_first_waiter(table, page);

    for (; waiter && waiter->page == page && *n < WAITERS_MAX; waiter = waiter_next(waiter)) {
        struct wait_view view;

        if (wait_of_waiter(waiter, &view)) {
            doc_add(array, wait_document(&view, loop_now_ns()));
            (*n)++;
        }
    }
}

static void put_waiters(struct doc *document, const struct place *place)
{
    struct doc *array = doc_array();
    unsigned n = 0;

    if (place->object)
        add_waiters(&place->object->runs, place->page, array, &n);
    add_waiters(&place->space->parked, place->address >> VMA_PAGE_SHIFT, array, &n);
    doc_put_number(document, "n_waiters", place->n_waiters);
    doc_put(document, "waiters", array);
}

/* What the driver is writing back now, if the page is part of it. */
static void put_writing(struct doc *document, const struct place *place)
{
    const struct list *pos;

    list_for_each(pos, &place->object->wb.runs) {
        struct wait_view view;

        if (wait_of_writeback(pos, &view) && range_contains(view.pages, place->page)) {
            doc_put(document, "writeback", wait_document(&view, loop_now_ns()));
            return;
        }
    }
    doc_put_text(document, "writeback", NULL);
}

static void put_object_parts(struct doc *document, const struct place *place)
{
    put_object(document, place->object);
    put_page(document, place);
    if (place->record)
        put_poison(document, place->record);
    else
        doc_put_text(document, "poison", NULL);
    if (place->run)
        doc_put(document, "run", inspect_run_document(place->run));
    else
        doc_put_text(document, "run", NULL);
    if (place->mkwrite.what)
        doc_put(document, "page_mkwrite", wait_document(&place->mkwrite, loop_now_ns()));
    else
        doc_put_text(document, "page_mkwrite", NULL);
    put_writing(document, place);
}

static struct doc *place_document(const struct place *place)
{
    struct doc *document = doc_object();
    struct wait_view view;

    doc_put_number(document, "space", place->space->id);
    doc_put_number(document, "pid", (uint64_t)place->space->pid);
    doc_put_text(document, "program", place->space->program);
    doc_put_bool(document, "dead", place->space->dead);
    doc_put_number(document, "address", place->address);
    doc_put_bool(document, "in_arena", range_contains(place->space->aspace.arena, place->address));
    if (place->vma)
        doc_put(document, "mapping", inspect_vma_document(place->vma));
    else
        doc_put_text(document, "mapping", NULL);
    if (place->object)
        put_object_parts(document, place);
    if (place->space->writer && wait_of_request(place->space->writer, &view))
        doc_put(document, "lock", wait_document(&view, loop_now_ns()));
    else
        doc_put_text(document, "lock", NULL);
    put_waiters(document, place);
    put_access(document, "read", place->read);
    put_access(document, "write", place->write);
    put_sentence(document, place);
    return document;
}

/* As in `musectl maps`, or with 0x before it. Return: whether it is an address. */
static bool parse_address(const char *text, uint64_t *ret_address)
{
    const char *digits = strncmp(text, "0x", 2) == 0 ? text + 2 : text;
    const size_t n = strspn(digits, "0123456789abcdefABCDEF");

    if (n == 0 || n > 16 || digits[n] != '\0')
        return false;
    *ret_address = strtoull(digits, NULL, 16);
    return true;
}

int inspect_why(struct engine *engine, const struct admin_request *request,
                struct doc **ret_document, const char **ret_why)
{
    struct place place = {.space = inspect_find_space(engine, request->args[0])};

    *ret_why = "no space has that number";
    if (!place.space)
        return -ENOENT;
    *ret_why = "the address is not hexadecimal, as in maps";
    if (!parse_address(request->args[1], &place.address))
        return -EINVAL;
    look(&place);
    *ret_document = place_document(&place);
    return 0;
}
