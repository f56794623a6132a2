/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of what is open; see objects.h. */
#include "drivers/http/objects.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/own.h"

static struct http_object *object_free(struct http_object *object)
{
    if (object) {
        free((void *)(uintptr_t)object->what.name); /* ours: strdup() */
        free((void *)(uintptr_t)object->what.url);
        free(object);
    }
    return NULL;
}
DEFINE_CLEANUP(struct http_object *, object_free)

void objects_init(struct http_objects *objects)
{
    (void)pthread_mutex_init(&objects->lock, NULL); /* cannot fail with default attributes */
    list_init(&objects->all);
    objects->next_key = 1;
}

void objects_done(struct http_objects *objects)
{
    struct list *node;

    while ((node = list_take_first(&objects->all)) != NULL)
        (void)object_free(LIST_ENTRY(node, struct http_object, node));
    (void)pthread_mutex_destroy(&objects->lock);
}

static struct http_object *object_new(const struct fetch_first *first)
{
    CLEAN(object_free_p) struct http_object *object = calloc(1, sizeof(*object));

    if (!object)
        return NULL;
    object->mtime_s = first->mtime_s;
    object->what.name = strdup(first->name);
    object->what.url = strdup(first->url);
    object->what.version = first->version;
    return object->what.name && object->what.url ? TAKE(object) : NULL;
}

/* Locked. */
static struct http_object *find(struct http_objects *objects, const struct fetch_first *first)
{
    struct list *pos;

    list_for_each(pos, &objects->all) {
        struct http_object *object = LIST_ENTRY(pos, struct http_object, node);

        if (strcmp(object->what.url, first->url) == 0 &&
            version_is(&object->what.version, &first->version))
            return object;
    }
    return NULL;
}

int objects_get(struct http_objects *objects, const struct fetch_first *first,
                struct http_object **ret_object)
{
    struct http_object *object;

    (void)pthread_mutex_lock(&objects->lock);
    object = find(objects, first);
    if (!object) {
        object = object_new(first);
        if (object) {
            object->key = objects->next_key++;
            list_add_tail(&objects->all, &object->node);
        }
    }
    (void)pthread_mutex_unlock(&objects->lock);
    *ret_object = object;
    return object ? 0 : -ENOMEM;
}

void objects_drop(struct http_objects *objects, uint64_t key)
{
    struct list *pos, *tmp;

    (void)pthread_mutex_lock(&objects->lock);
    list_for_each_safe(pos, tmp, &objects->all) {
        struct http_object *object = LIST_ENTRY(pos, struct http_object, node);

        if (object->key == key) {
            list_del(&object->node);
            (void)object_free(object);
        }
    }
    (void)pthread_mutex_unlock(&objects->lock);
}
