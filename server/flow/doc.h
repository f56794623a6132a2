/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * doc.h - JSON documents that may fail at any step and say so once, at their end
 *
 * A document is made while faults wait, so a long one is made in parts: its beginning, then some
 * elements of its array at a time.
 *
 * Errors: without memory a document is broken for good; doc_take_text() then says so. NULL is a
 * broken document, too. Pure. Callers: inspect*.c.
 */
#ifndef MUSE_SERVER_FLOW_DOC_H
#define MUSE_SERVER_FLOW_DOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "common/base/own.h"

struct doc;

/** doc_object(), doc_array() - an empty one; NULL without memory */
struct doc *doc_object(void);
struct doc *doc_array(void);

/** doc_free() - Return: NULL */
struct doc *doc_free(struct doc *doc);

DEFINE_CLEANUP(struct doc *, doc_free)

/** doc_put() - add a member to an object. @key: plain ASCII   @value: taken */
void doc_put(struct doc *object, const char *key, struct doc *value);

/** doc_put_number() - what is larger than INT64_MAX becomes that: JSON readers have no more */
void doc_put_number(struct doc *object, const char *key, uint64_t value);

/** doc_put_int() - a number with a sign */
void doc_put_int(struct doc *object, const char *key, int64_t value);

/** doc_put_limit() - as doc_put_number(), UINT64_MAX is null */
void doc_put_limit(struct doc *object, const char *key, uint64_t value);

void doc_put_bool(struct doc *object, const char *key, bool value);

/** doc_put_text() - text of any origin; NULL is null. In what is no UTF-8 as a whole each byte that
 * is not ASCII becomes \xNN. */
void doc_put_text(struct doc *object, const char *key, const char *text);

/** doc_add(), doc_add_text() - append to an array. @value: taken */
void doc_add(struct doc *array, struct doc *value);
void doc_add_text(struct doc *array, const char *text);

/** doc_name_bits() - an array with the names of the set bits. @names: by bit; NULL: not named */
struct doc *doc_name_bits(uint64_t bits, const char *const *names, unsigned n_names);

/**
 * doc_take_text() - the finished text; the document is freed
 * @ret_text: from malloc, the caller's
 *
 * Return: 0 or -ENOMEM.
 */
MUST_CHECK int doc_take_text(struct doc *doc, char **ret_text);

/**
 * doc_take_begin() - as doc_take_text(), for an object whose last member is a long array
 * @more: the array goes on in doc_take_rest(): what closes it and the object is left out
 */
MUST_CHECK int doc_take_begin(struct doc *object, bool more, char **ret_text);

/**
 * doc_take_rest() - what continues such an array: the elements of another one
 * @array: taken; what came before had an element, or this has none
 * @more:  as in doc_take_begin()
 */
MUST_CHECK int doc_take_rest(struct doc *array, bool more, char **ret_text);

#endif
