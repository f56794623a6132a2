/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control socket's end in the engine: its connections, the table of commands, the limits and
 * the trace.
 */
#include "server/flow/inspect.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/number.h"
#include "common/base/own.h"
#include "server/admin/admin_commands.h"
#include "server/config/config.h"
#include "server/flow/evict_flow.h"
#include "server/flow/inspect_parts.h"
#include "server/flow/trace.h"

struct inspector {
    struct list link; /* in engine.admins, from its start to its end */
    struct admin admin;
    struct engine *engine;
    struct trace_follower follower; /* in the trace's list while it follows */
    struct inspect_cursor cursor;   /* of the document that comes in parts */
};

static const struct admin_command commands[] = {
#define X(name, word, min, max, follow, syntax, help) {word, min, max, follow, syntax, help},
    ADMIN_COMMANDS(X)
#undef X
};

static struct inspector *inspector_of(struct list *link)
{
    return CONTAINER_OF(link, struct inspector, link);
}

/* ---- trace ---- */

static struct doc *entry_document(const struct trace_entry *entry)
{
    struct doc *document = doc_object();

    doc_put_number(document, "seq", entry->seq);
    doc_put_number(document, "at_ns", entry->at_ns);
    doc_put_number(document, "took_ns", entry->took_ns);
    doc_put_number(document, "call_id", entry->call_id);
    doc_put_text(document, "driver", entry->driver);
    doc_put_text(document, "hook", entry->hook);
    doc_put_text(document, "args", entry->args);
    doc_put_int(document, "result", entry->result);
    return document;
}

/* @document: taken; empty, or an entry. */
static void send_to_follower(struct admin *admin, struct doc *document)
{
    char *text;

    doc_put_number(document, "lost", admin->n_lost);
    if (doc_take_text(document, &text) < 0)
        return; /* out of memory: lost, too */
    admin_follow_send(admin, text);
    free(text);
}

static void on_entry(struct trace_follower *follower, const struct trace_entry *entry)
{
    struct inspector *inspector = CONTAINER_OF(follower, struct inspector, follower);

    if (admin_has_room(&inspector->admin))
        send_to_follower(&inspector->admin, entry_document(entry));
}

static void on_caught_up(struct admin *admin)
{
    send_to_follower(admin, doc_object());
}

static struct doc *kept_entries(const struct trace *trace)
{
    const struct trace_entry *entry;
    struct doc *entries = doc_array();
    uint64_t seq = 0;

    while ((entry = trace_next(trace, seq))) {
        doc_add(entries, entry_document(entry));
        seq = entry->seq;
    }
    return entries;
}

static struct doc *start_trace(struct inspector *inspector, bool follow)
{
    struct doc *document;

    if (follow) {
        trace_follow(inspector->engine->trace, &inspector->follower);
        return NULL;
    }
    document = doc_object();
    doc_put(document, "trace", kept_entries(inspector->engine->trace));
    return document;
}

/* ---- limits ---- */

static struct doc *limit_document(const struct engine *engine, enum quota_kind kind)
{
    struct doc *document = doc_object();
    uint64_t limit;

    doc_put_text(document, "key", quota_key(kind));
    if (quota_limit_get(&engine->quotas, quota_key(kind), &limit) == 0)
        doc_put_limit(document, "limit", limit);
    doc_put_bool(document, "per_uid", kind != QUOTA_KIND_N);
    doc_put_number(document, "used",
                   engine->quotas.total[kind == QUOTA_KIND_N ? QUOTA_CACHE : kind]);
    doc_put_text(document, "help", quota_help(kind));
    return document;
}

static int set_limit(struct engine *engine, const char *key, const char *value)
{
    uint64_t limit = QUOTA_UNLIMITED;

    if (strcmp(value, "unlimited") != 0 && size_parse(value, &limit) < 0)
        return -EINVAL;
    if (quota_limit_set(&engine->quotas, key, limit) != 0)
        return -ENOENT;
    evict_flow_limits(engine);
    log_write(LOG_LEVEL_INFO, "admin.limit", "key=%s value=%" PRIu64, key, limit);
    return 0;
}

int inspect_limits(struct engine *engine, const struct admin_request *request,
                   struct doc **ret_document, const char **ret_why)
{
    const char *const key = request->n_args > 0 ? request->args[0] : NULL;
    struct doc *limits;
    uint64_t limit;
    int r = 0;

    if (key && quota_limit_get(&engine->quotas, key, &limit) != 0)
        r = -ENOENT;
    if (r == 0 && request->n_args == 2)
        r = set_limit(engine, key, request->args[1]);
    if (r < 0) {
        *ret_why = r == -ENOENT ? "no limit is called that"
                                : "not a number, a size as 2G, or \"unlimited\"";
        return r;
    }
    limits = doc_array();
    for (unsigned kind = 0; kind <= QUOTA_KIND_N; kind++) {
        if (!key || strcmp(key, quota_key((enum quota_kind)kind)) == 0)
            doc_add(limits, limit_document(engine, (enum quota_kind)kind));
    }
    *ret_document = doc_object();
    doc_put(*ret_document, "limits", limits);
    return 0;
}

/* ---- connections ---- */

static int inspect(struct inspector *inspector, const struct admin_request *request,
                   struct doc **ret_document, const char **ret_why)
{
    struct engine *engine = inspector->engine;

    switch ((enum admin_command_id)request->command) {
    case ADMIN_STATUS:
        return inspect_status(engine, request, ret_document, ret_why);
    case ADMIN_DRIVERS:
        return inspect_drivers(engine, request, ret_document, ret_why);
    case ADMIN_SPACES:
        return inspect_spaces(engine, request, ret_document, ret_why);
    case ADMIN_TXNS:
        return inspect_txns(engine, request, ret_document, ret_why);
    case ADMIN_FAULTS:
        return inspect_faults(engine, request, ret_document, ret_why);
    case ADMIN_STATS:
        return inspect_stats(engine, request, ret_document, ret_why);
    case ADMIN_AUDIT:
        return inspect_audit(engine, request, ret_document, ret_why);
    case ADMIN_TRACE:
        *ret_document = start_trace(inspector, request->follow);
        return 0;
    case ADMIN_LIMITS:
        return inspect_limits(engine, request, ret_document, ret_why);
    case ADMIN_WHY:
        return inspect_why(engine, request, ret_document, ret_why);
    case ADMIN_BLOCKED:
        return inspect_blocked(engine, request, ret_document, ret_why);
    case ADMIN_MAPS: /* have a way of their own */
    case ADMIN_OBJECTS:
    case ADMIN_EVICT:
    case ADMIN_COMMAND_N:
        break;
    }
    *ret_why = "no such command";
    return -ENOSYS;
}

static int on_request(struct admin *admin, const struct admin_request *request, char **ret_text,
                      const char **ret_why)
{
    struct inspector *inspector = CONTAINER_OF(admin, struct inspector, admin);
    struct doc *document = NULL;
    int r;

    inspect_cursor_done(&inspector->cursor);
    if (request->command == ADMIN_MAPS)
        return inspect_maps(inspector->engine, request, &inspector->cursor, ret_text, ret_why);
    if (request->command == ADMIN_OBJECTS)
        return inspect_objects(inspector->engine, &inspector->cursor, ret_text, ret_why);
    if (request->command == ADMIN_EVICT)
        return inspect_evict(inspector->engine, request, &inspector->cursor, ret_text, ret_why);
    r = inspect(inspector, request, &document, ret_why);
    if (r < 0 || request->follow)
        return r;
    *ret_why = "the server is out of memory";
    return doc_take_text(document, ret_text);
}

static int on_more(struct admin *admin, char **ret_text)
{
    struct inspector *inspector = CONTAINER_OF(admin, struct inspector, admin);

    return inspect_more(inspector->engine, &inspector->cursor, ret_text);
}

static void on_ended(struct admin *admin)
{
    struct inspector *inspector = CONTAINER_OF(admin, struct inspector, admin);

    trace_unfollow(&inspector->follower);
    inspect_cursor_done(&inspector->cursor);
    list_del(&inspector->link);
    free(inspector);
}

void admin_accept(struct engine *engine, int *fd)
{
    static const struct admin_ops ops = {
        .answer = on_request, .more = on_more, .caught_up = on_caught_up, .ended = on_ended};
    struct inspector *inspector = calloc(1, sizeof(*inspector));
    int r = -ENOMEM;

    if (inspector) {
        inspector->engine = engine;
        inspector->follower.entry = on_entry;
        list_init(&inspector->follower.node);
        r = admin_open(&inspector->admin, &engine->loop, fd, commands, N_ELEMENTS(commands), &ops);
    }
    if (r < 0) {
        log_write(LOG_LEVEL_WARN, "admin.refused", "errno=%s", strerrorname_np(-r));
        free(inspector);
        return;
    }
    list_add_tail(&engine->admins, &inspector->link);
}

unsigned admin_count(const struct engine *engine)
{
    const struct list *pos;
    unsigned n = 0;

    list_for_each(pos, &engine->admins)
        n++;
    return n;
}

void admin_close_all(struct engine *engine)
{
    struct list *pos;

    list_for_each(pos, &engine->admins)
        admin_close(&inspector_of(pos)->admin);
}
