/* SPDX-License-Identifier: BSD-3-Clause */
/* Documents on top of jansson, which does all the writing. Here is what it does not have: a failure
 * that lasts, text that may be no UTF-8, and a document's array in parts. */
#include "server/flow/doc.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct doc {
    json_t *value; /* owned; NULL: broken. jansson refuses to add to or to write what is NULL. */
};

/* @value: taken */
static struct doc *doc_new(json_t *value)
{
    struct doc *doc = value ? malloc(sizeof(*doc)) : NULL;

    if (doc)
        doc->value = value;
    else
        json_decref(value);
    return doc;
}

struct doc *doc_object(void)
{
    return doc_new(json_object());
}

struct doc *doc_array(void)
{
    return doc_new(json_array());
}

struct doc *doc_free(struct doc *doc)
{
    if (doc)
        json_decref(doc->value);
    free(doc);
    return NULL;
}

/* @key: NULL for an array   @value: taken; NULL: there was no memory */
static void put(struct doc *doc, const char *key, json_t *value)
{
    json_t *const into = doc ? doc->value : NULL;
    const int r = key ? json_object_set_new(into, key, value) : json_array_append_new(into, value);

    if (r < 0 && doc)
        json_decref(TAKE(doc->value));
}

/* @value: taken */
static void put_doc(struct doc *doc, const char *key, struct doc *value)
{
    put(doc, key, value ? TAKE(value->value) : NULL);
    doc_free(value);
}

void doc_put(struct doc *object, const char *key, struct doc *value)
{
    put_doc(object, key, value);
}

void doc_add(struct doc *array, struct doc *value)
{
    put_doc(array, NULL, value);
}

void doc_put_number(struct doc *object, const char *key, uint64_t value)
{
    put(object, key, json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value));
}

void doc_put_int(struct doc *object, const char *key, int64_t value)
{
    put(object, key, json_integer(value));
}

void doc_put_limit(struct doc *object, const char *key, uint64_t value)
{
    if (value == UINT64_MAX)
        put(object, key, json_null());
    else
        doc_put_number(object, key, value);
}

void doc_put_bool(struct doc *object, const char *key, bool value)
{
    put(object, key, json_boolean(value));
}

/* Return: @text in ASCII, to be freed; NULL without memory. */
static char *escaped(const char *text)
{
    CLEAN(free_p) char *ascii = NULL;
    size_t size;
    FILE *out = open_memstream(&ascii, &size);

    if (!out)
        return NULL;
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (*c < 0x80)
            (void)fputc(*c, out);
        else
            (void)fprintf(out, "\\x%02x", *c);
    }
    return fclose(out) == 0 ? TAKE(ascii) : NULL;
}

/* json_string() gives NULL for what is no UTF-8, and without memory: then it does so again. */
static json_t *text_value(const char *text)
{
    CLEAN(free_p) char *ascii = NULL;
    json_t *value = json_string(text);

    if (value)
        return value;
    ascii = escaped(text);
    return ascii ? json_string(ascii) : NULL;
}

void doc_put_text(struct doc *object, const char *key, const char *text)
{
    put(object, key, text ? text_value(text) : json_null());
}

void doc_add_text(struct doc *array, const char *text)
{
    put(array, NULL, text_value(text));
}

struct doc *doc_name_bits(uint64_t bits, const char *const *names, unsigned n_names)
{
    struct doc *array = doc_array();

    for (unsigned i = 0; i < n_names; i++) {
        if ((bits >> i & 1) && names[i])
            doc_add_text(array, names[i]);
    }
    return array;
}

/* ---- the finished text ---- */

/* @doc: taken   @flags: jansson's. Return: to be freed; NULL: broken. */
static char *dump(struct doc *doc, size_t flags)
{
    char *text = doc ? json_dumps(doc->value, JSON_COMPACT | flags) : NULL;

    doc_free(doc);
    return text;
}

int doc_take_text(struct doc *doc, char **ret_text)
{
    return doc_take_begin(doc, false, ret_text);
}

int doc_take_begin(struct doc *doc, bool more, char **ret_text)
{
    char *text = dump(doc, 0);

    if (!text)
        return -ENOMEM;
    if (more)
        text[strlen(text) - strlen("]}")] = '\0';
    *ret_text = text;
    return 0;
}

int doc_take_rest(struct doc *array, bool more, char **ret_text)
{
    CLEAN(free_p) char *elements = dump(array, JSON_EMBED);
    char *text;

    if (!elements ||
        asprintf(&text, "%s%s%s", elements[0] ? "," : "", elements, more ? "" : "]}") < 0)
        return -ENOMEM;
    *ret_text = text;
    return 0;
}
