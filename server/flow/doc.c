/* SPDX-License-Identifier: BSD-3-Clause */
/* JSON text that grows. The closing bracket is written last, by whoever takes the text or puts it
 * into another one. */
#include "server/flow/doc.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Chosen: one mapping. */
#define DOC_FIRST_BYTES 512u

struct doc {
    char *text; /* owned, not terminated */
    size_t n, size;
    char close[3];
    bool empty, broken;
};

static struct doc *doc_new(char open, char close)
{
    struct doc *doc = malloc(sizeof(*doc));

    if (!doc)
        return NULL;
    *doc = (struct doc){.text = malloc(DOC_FIRST_BYTES),
                        .n = 1,
                        .size = DOC_FIRST_BYTES,
                        .close = {close},
                        .empty = true};
    if (!doc->text) {
        free(doc);
        return NULL;
    }
    doc->text[0] = open;
    return doc;
}

struct doc *doc_object(void)
{
    return doc_new('{', '}');
}

struct doc *doc_array(void)
{
    return doc_new('[', ']');
}

struct doc *doc_free(struct doc *doc)
{
    if (doc)
        free(doc->text);
    free(doc);
    return NULL;
}

/* Return: where @n_bytes may be written; NULL: broken. */
static char *room(struct doc *doc, size_t n_bytes)
{
    size_t size;
    char *text;

    if (doc->broken)
        return NULL;
    if (doc->size - doc->n >= n_bytes)
        return doc->text + doc->n;
    size = 2 * doc->size + n_bytes;
    text = realloc(doc->text, size);
    if (!text) {
        doc->broken = true;
        return NULL;
    }
    doc->text = text;
    doc->size = size;
    return text + doc->n;
}

static void append(struct doc *doc, const char *bytes, size_t n_bytes)
{
    char *to = doc ? room(doc, n_bytes) : NULL;

    if (!to)
        return;
    (void)memcpy(to, bytes, n_bytes);
    doc->n += n_bytes;
}

/* The comma, and for a member of an object its name. */
static void begin(struct doc *doc, const char *key)
{
    if (doc && !doc->empty)
        append(doc, ",", 1);
    if (doc)
        doc->empty = false;
    if (!key)
        return;
    append(doc, "\"", 1);
    append(doc, key, strlen(key));
    append(doc, "\":", 2);
}

static void append_number(struct doc *doc, const char *key, bool negative, uint64_t value)
{
    char digits[24];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    if (negative)
        digits[--at] = '-';
    begin(doc, key);
    append(doc, digits + at, sizeof(digits) - at);
}

void doc_put_number(struct doc *object, const char *key, uint64_t value)
{
    append_number(object, key, false, value > INT64_MAX ? INT64_MAX : value);
}

void doc_put_int(struct doc *object, const char *key, int64_t value)
{
    append_number(object, key, value < 0, value < 0 ? -(uint64_t)value : (uint64_t)value);
}

static void put_word(struct doc *object, const char *key, const char *word)
{
    begin(object, key);
    append(object, word, strlen(word));
}

void doc_put_limit(struct doc *object, const char *key, uint64_t value)
{
    if (value == UINT64_MAX)
        put_word(object, key, "null");
    else
        doc_put_number(object, key, value);
}

void doc_put_bool(struct doc *object, const char *key, bool value)
{
    put_word(object, key, value ? "true" : "false");
}

/* ---- text ---- */

static bool is_tail(unsigned char c)
{
    return (c & 0xc0u) == 0x80u;
}

/* How long the UTF-8 character at @c is (RFC 3629: no surrogates, no overlong forms); 0: it is
 * none. */
static size_t utf8_len(const unsigned char *c)
{
    if (c[0] < 0x80)
        return 1;
    if (c[0] >= 0xc2 && c[0] <= 0xdf)
        return is_tail(c[1]) ? 2 : 0;
    if (c[0] >= 0xe0 && c[0] <= 0xef) {
        if ((c[0] == 0xe0 && c[1] < 0xa0) || (c[0] == 0xed && c[1] > 0x9f))
            return 0;
        return is_tail(c[1]) && is_tail(c[2]) ? 3 : 0;
    }
    if (c[0] >= 0xf0 && c[0] <= 0xf4) {
        if ((c[0] == 0xf0 && c[1] < 0x90) || (c[0] == 0xf4 && c[1] > 0x8f))
            return 0;
        return is_tail(c[1]) && is_tail(c[2]) && is_tail(c[3]) ? 4 : 0;
    }
    return 0;
}

/* One character of @text into @to, which has room for 6 bytes. Return: how many bytes it took.
 * @ret_len: written. */
static size_t escape(const unsigned char *text, char *to, size_t *ret_len)
{
    static const char hex[] = "0123456789abcdef";
    const size_t len = utf8_len(text);
    const char high = hex[text[0] >> 4];
    const char low = hex[text[0] & 15];

    if (len == 0) {
        (void)memcpy(to, (const char[]){'\\', '\\', 'x', high, low}, 5);
        *ret_len = 5;
        return 1;
    }
    if (text[0] < 0x20 || text[0] == 0x7f) {
        (void)memcpy(to, (const char[]){'\\', 'u', '0', '0', high, low}, 6);
        *ret_len = 6;
        return 1;
    }
    if (text[0] == '"' || text[0] == '\\') {
        to[0] = '\\';
        to[1] = (char)text[0];
        *ret_len = 2;
        return 1;
    }
    (void)memcpy(to, text, len);
    *ret_len = len;
    return len;
}

static void append_text(struct doc *doc, const char *key, const char *text)
{
    const unsigned char *c = (const unsigned char *)text;
    const size_t len_max = 6 * strlen(text) + 2;
    char *to;
    size_t n = 0;

    begin(doc, key);
    to = doc ? room(doc, len_max) : NULL;
    if (!to)
        return;
    to[n++] = '"';
    while (*c) {
        size_t len;

        c += escape(c, to + n, &len);
        n += len;
    }
    to[n++] = '"';
    doc->n += n;
}

void doc_put_text(struct doc *object, const char *key, const char *text)
{
    if (text)
        append_text(object, key, text);
    else
        put_word(object, key, "null");
}

void doc_add_text(struct doc *array, const char *text)
{
    append_text(array, NULL, text);
}

/* ---- one in another ---- */

static void append_doc(struct doc *doc, const char *key, struct doc *value)
{
    begin(doc, key);
    if (value && !value->broken) {
        append(doc, value->text, value->n);
        append(doc, value->close, strlen(value->close));
    } else if (doc) {
        doc->broken = true;
    }
    doc_free(value);
}

void doc_put(struct doc *object, const char *key, struct doc *value)
{
    append_doc(object, key, value);
}

void doc_add(struct doc *array, struct doc *value)
{
    append_doc(array, NULL, value);
}

void doc_put_open(struct doc *object, const char *key, struct doc *array)
{
    append_doc(object, key, array);
    if (!object || object->broken)
        return;
    object->n--;
    (void)memcpy(object->close, DOC_OPEN_TAIL, sizeof(DOC_OPEN_TAIL));
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

/* Takes @doc. */
static int take(struct doc *doc, char **ret_text)
{
    append(doc, "", 1);
    if (!doc || doc->broken) {
        doc_free(doc);
        return -ENOMEM;
    }
    *ret_text = TAKE(doc->text);
    doc_free(doc);
    return 0;
}

int doc_take_text(struct doc *doc, char **ret_text)
{
    if (doc)
        append(doc, doc->close, strlen(doc->close));
    return take(doc, ret_text);
}

int doc_take_open(struct doc *doc, char **ret_text)
{
    return take(doc, ret_text);
}

int doc_take_rest(struct doc *doc, const char *tail, char **ret_text)
{
    if (doc)
        doc->text[0] = doc->empty ? ' ' : ',';
    append(doc, tail, strlen(tail));
    return take(doc, ret_text);
}
