/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `musectl evict`: the clean pages of an object go, a turn's worth in each part of the document, so
 * that faults have their turn in between. Several objects may have one name: a file that changed
 * gets a new object while the old one is still mapped.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/own.h"
#include "server/flow/evict_flow.h"
#include "server/flow/inspect_parts.h"

static bool is_called(const struct object *object, const char *text)
{
    char *end;

    if (strcmp(object->name, text) == 0)
        return true;
    return text[0] >= '0' && text[0] <= '9' && strtoull(text, &end, 10) == object->id &&
           *end == '\0';
}

bool inspect_evict_part(struct engine *engine, struct inspect_cursor *cursor, struct doc *array)
{
    struct object *object = idmap_get(&engine->objects, cursor->ids[cursor->at]);
    struct range pages = {cursor->from, UINT64_MAX};
    struct doc *document;

    if (object) {
        document = doc_object();
        doc_put_number(document, "id", object->id);
        doc_put_text(document, "name", object->name);
        doc_put_number(document, "evicted_pages", evict_flow_some(object, &pages));
        doc_put_number(document, "valid_pages", object->pages.n_valid);
        doc_add(array, document);
        cursor->from = pages.start;
        if (!range_is_empty(pages))
            return true;
    }
    cursor->from = 0;
    return ++cursor->at < cursor->n_ids;
}

int inspect_evict(struct engine *engine, const struct admin_request *request,
                  struct inspect_cursor *cursor, char **ret_text, const char **ret_why)
{
    const struct object *object;
    struct doc *document, *array;
    size_t i = 0;
    bool more;

    *ret_why = "the server is out of memory";
    cursor->ids = calloc(idmap_count(&engine->objects) + 1, sizeof(*cursor->ids));
    if (!cursor->ids)
        return -ENOMEM;
    cursor->is_evict = true;
    while ((object = idmap_next(&engine->objects, &i)))
        if (is_called(object, request->args[0]))
            cursor->ids[cursor->n_ids++] = object->id;
    if (cursor->n_ids == 0) {
        *ret_why = "no object is called that";
        return -ENOENT;
    }
    document = doc_object();
    array = doc_array();
    more = inspect_evict_part(engine, cursor, array);
    doc_put(document, "evicted", array);
    return doc_take_begin(document, more, ret_text) < 0 ? -ENOMEM : more;
}
