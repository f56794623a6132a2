/* SPDX-License-Identifier: BSD-3-Clause */
/* Small helpers over jansson for the documents of the control socket: numbers and text that JSON
 * does not have. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/flow/inspect_parts.h"

void json_put(json_t *object, const char *key, json_t *value)
{
    (void)json_object_set_new_nocheck(object, key, value); /* fails only without memory */
}

void json_put_number(json_t *object, const char *key, uint64_t value)
{
    json_put(object, key, json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value));
}

void json_put_limit(json_t *object, const char *key, uint64_t value)
{
    if (value == UINT64_MAX)
        json_put(object, key, json_null());
    else
        json_put_number(object, key, value);
}

void json_put_bool(json_t *object, const char *key, bool value)
{
    json_put(object, key, json_boolean(value));
}

/* All but printable ASCII as \xNN. */
static json_t *escaped(const char *text)
{
    const size_t len = strlen(text);
    char *buf = malloc(4 * len + 1);
    size_t n = 0;
    json_t *value;

    if (!buf)
        return NULL;
    for (size_t i = 0; i < len; i++) {
        const unsigned char c = (unsigned char)text[i];

        if (c >= ' ' && c < 0x7f)
            buf[n++] = text[i];
        else
            n += (size_t)snprintf(buf + n, 5, "\\x%02x", c);
    }
    buf[n] = '\0';
    value = json_string_nocheck(buf);
    free(buf);
    return value;
}

json_t *json_text(const char *text)
{
    json_t *value;

    if (!text)
        return json_null();
    value = json_string(text);
    return value ? value : escaped(text);
}

void json_put_text(json_t *object, const char *key, const char *text)
{
    json_put(object, key, json_text(text));
}

void json_add(json_t *array, json_t *value)
{
    (void)json_array_append_new(array, value); /* fails only without memory */
}

json_t *json_name_bits(uint64_t bits, const char *const *names, unsigned n_names)
{
    json_t *array = json_array();

    for (unsigned i = 0; i < n_names; i++) {
        if ((bits >> i & 1) && names[i])
            json_add(array, json_string(names[i]));
    }
    return array;
}
