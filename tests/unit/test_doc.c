/* SPDX-License-Identifier: BSD-3-Clause */
/* JSON documents of the control socket: what was put in must come back when the text is read. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "server/flow/doc.h"
#include "tests/support/unit.h"

/* Takes @doc. Return: to be released. */
static json_t *read_back(struct doc *doc)
{
    CLEAN(free_p) char *text = NULL;
    json_error_t error;
    json_t *value;

    ck_assert_int_eq(doc_take_text(doc, &text), 0);
    value = json_loads(text, 0, &error);
    ck_assert_msg(value != NULL, "%s: %s", error.text, text);
    return value;
}

START_TEST(empty_documents_are_brackets)
{
    CLEAN(free_p) char *object = NULL;
    CLEAN(free_p) char *array = NULL;

    ck_assert_int_eq(doc_take_text(doc_object(), &object), 0);
    ck_assert_int_eq(doc_take_text(doc_array(), &array), 0);
    ck_assert_str_eq(object, "{}");
    ck_assert_str_eq(array, "[]");
}
END_TEST

START_TEST(members_of_every_kind_come_back)
{
    static const char *const names[] = {"one", NULL, "four"};
    struct doc *doc = doc_object();
    struct doc *array = doc_array();
    json_t *value;

    doc_put_number(doc, "zero", 0);
    doc_put_number(doc, "large", 1234567890123456789u);
    doc_put_number(doc, "too_large", UINT64_MAX);
    doc_put_int(doc, "least", INT64_MIN);
    doc_put_limit(doc, "limit", 7);
    doc_put_limit(doc, "unlimited", UINT64_MAX);
    doc_put_bool(doc, "yes", true);
    doc_put_bool(doc, "no", false);
    doc_put_text(doc, "text", "a \"b\" \\ c\n\x7f");
    doc_put_text(doc, "none", NULL);
    doc_put(doc, "names", doc_name_bits(7, names, 3));
    doc_add_text(array, "x");
    doc_add(array, doc_object());
    doc_put(doc, "array", array);
    value = read_back(doc);
    ck_assert_int_eq(json_integer_value(json_object_get(value, "zero")), 0);
    ck_assert_int_eq(json_integer_value(json_object_get(value, "large")), 1234567890123456789);
    ck_assert_int_eq(json_integer_value(json_object_get(value, "too_large")), INT64_MAX);
    ck_assert_int_eq(json_integer_value(json_object_get(value, "least")), INT64_MIN);
    ck_assert_int_eq(json_integer_value(json_object_get(value, "limit")), 7);
    ck_assert(json_is_null(json_object_get(value, "unlimited")));
    ck_assert(json_is_true(json_object_get(value, "yes")));
    ck_assert(json_is_false(json_object_get(value, "no")));
    ck_assert_str_eq(json_string_value(json_object_get(value, "text")), "a \"b\" \\ c\n\x7f");
    ck_assert(json_is_null(json_object_get(value, "none")));
    ck_assert_uint_eq(json_array_size(json_object_get(value, "names")), 2);
    ck_assert_str_eq(json_string_value(json_array_get(json_object_get(value, "names"), 1)), "four");
    ck_assert_uint_eq(json_array_size(json_object_get(value, "array")), 2);
    json_decref(value);
}
END_TEST

START_TEST(text_that_is_not_utf8_is_escaped_byte_by_byte)
{
    static const struct {
        const char *text, *read;
    } texts[] = {
        {"\xc3\xa4\xe2\x82\xac\xf0\x9f\x99\x82", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x99\x82"},
        {"a\xff z", "a\\xff z"},
        {"\xc3", "\\xc3"},
        {"\xe2\x82", "\\xe2\\x82"},
        {"\xc0\xaf", "\\xc0\\xaf"},                   /* overlong */
        {"\xed\xa0\x80", "\\xed\\xa0\\x80"},          /* a surrogate */
        {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"}, /* above U+10FFFF */
        {"\xc3\xa4\xa4", "\\xc3\\xa4\\xa4"},          /* one bad byte spoils all */
    };

    for (size_t i = 0; i < N_ELEMENTS(texts); i++) {
        struct doc *doc = doc_object();
        json_t *value;

        doc_put_text(doc, "t", texts[i].text);
        value = read_back(doc);
        ck_assert_str_eq(json_string_value(json_object_get(value, "t")), texts[i].read);
        json_decref(value);
    }
}
END_TEST

START_TEST(random_bytes_make_a_document_that_can_be_read)
{
    uint64_t state = unit_seed();

    for (unsigned round = 0; round < 2000; round++) {
        struct doc *doc = doc_object();
        char text[64];
        const size_t len = unit_random(&state) % sizeof(text);

        for (size_t i = 0; i < len; i++)
            text[i] = (char)(1 + unit_random(&state) % 255);
        text[len] = '\0';
        doc_put_text(doc, "t", text);
        json_decref(read_back(doc));
    }
}
END_TEST

#define ALL_BYTES 4096

/* A document of @n_parts parts, each of @n elements. */
static json_t *in_parts(unsigned n_parts, unsigned n)
{
    struct doc *doc = doc_object();
    CLEAN(free_p) char *all = calloc(1, ALL_BYTES);
    json_error_t error;
    json_t *value;

    doc_put_number(doc, "space", 1);
    for (unsigned part = 0; part < n_parts; part++) {
        CLEAN(free_p) char *text = NULL;
        struct doc *array = doc_array();

        for (unsigned i = 0; i < n; i++)
            doc_add_text(array, "element");
        if (part == 0) {
            doc_put(doc, "list", array);
            ck_assert_int_eq(doc_take_begin(doc, part + 1 < n_parts, &text), 0);
        } else {
            ck_assert_int_eq(doc_take_rest(array, part + 1 < n_parts, &text), 0);
        }
        (void)snprintf(all + strlen(all), ALL_BYTES - strlen(all), "%s", text);
    }
    value = json_loads(all, 0, &error);
    ck_assert_msg(value != NULL, "%s: %s", error.text, all);
    return value;
}

START_TEST(an_array_can_come_in_parts)
{
    for (unsigned n_parts = 1; n_parts < 4; n_parts++) {
        for (unsigned n = 0; n < 4; n++) {
            json_t *value = in_parts(n_parts, n);

            ck_assert_uint_eq(json_array_size(json_object_get(value, "list")), n_parts * n);
            ck_assert_int_eq(json_integer_value(json_object_get(value, "space")), 1);
            json_decref(value);
        }
    }
}
END_TEST

START_TEST(a_broken_document_says_so)
{
    char *text = NULL;
    struct doc *doc = doc_object();

    doc_put(doc, "lost", NULL);
    doc_put_number(doc, "more", 1);
    ck_assert_int_eq(doc_take_text(doc, &text), -ENOMEM);
    doc_put_text(NULL, "key", "value");
    ck_assert_int_eq(doc_take_text(NULL, &text), -ENOMEM);
    ck_assert_int_eq(doc_take_begin(NULL, true, &text), -ENOMEM);
    ck_assert_int_eq(doc_take_rest(NULL, true, &text), -ENOMEM);
    ck_assert_ptr_null(text);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("doc");

    tcase_add_test(tcase, empty_documents_are_brackets);
    tcase_add_test(tcase, members_of_every_kind_come_back);
    tcase_add_test(tcase, text_that_is_not_utf8_is_escaped_byte_by_byte);
    tcase_add_test(tcase, random_bytes_make_a_document_that_can_be_read);
    tcase_add_test(tcase, an_array_can_come_in_parts);
    tcase_add_test(tcase, a_broken_document_says_so);
    return unit_run("doc", tcase);
}
