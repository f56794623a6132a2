/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of proto/frame.h and proto/status.h: the header's bytes, and what is no header or errno. */
#include <errno.h>
#include <string.h>

#include <check.h>

#include "common/base/own.h"
#include "proto/frame.h"
#include "proto/limits.h"
#include "proto/status.h"
#include "tests/support/unit.h"

/* As PROTOCOL.md draws it. */
static const uint8_t sample[FRAME_HEADER_BYTES] = {0x75, 0x6d, 1,    3,    0x0a, 0x01, 0,    0,
                                                   0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11};

START_TEST(a_header_is_written_as_the_protocol_draws_it)
{
    const struct frame_header header = {
        .type = FRAME_MAP, .n_fds = 3, .id = UINT64_C(0x1122334455667788)};
    uint8_t buf[FRAME_HEADER_BYTES];

    memset(buf, 0xff, sizeof(buf));
    frame_encode(&header, buf);
    ck_assert_mem_eq(buf, sample, sizeof(buf));
}
END_TEST

START_TEST(a_header_is_read_back_wherever_it_lies)
{
    uint8_t buf[FRAME_HEADER_BYTES + 8];

    for (unsigned shift = 0; shift < 8; shift++) {
        struct frame_header header;

        memcpy(buf + shift, sample, sizeof(sample));
        ck_assert_int_eq(frame_decode(buf + shift, sizeof(sample), &header), 0);
        ck_assert_uint_eq(header.type, FRAME_MAP);
        ck_assert_uint_eq(header.n_fds, 3);
        ck_assert_uint_eq(header.id, UINT64_C(0x1122334455667788));
    }
}
END_TEST

static int decode_changed(size_t at, uint8_t to, size_t n_bytes)
{
    struct frame_header header = {.id = 99};
    uint8_t buf[FRAME_HEADER_BYTES];
    int r;

    memcpy(buf, sample, sizeof(buf));
    buf[at] = to;
    r = frame_decode(buf, n_bytes, &header);
    ck_assert(r == 0 || r == -EPROTO);
    if (r < 0)
        ck_assert_uint_eq(header.id, 99); /* untouched */
    return r;
}

START_TEST(what_is_too_short_is_no_frame)
{
    for (size_t n = 0; n < FRAME_HEADER_BYTES; n++)
        ck_assert_int_eq(decode_changed(0, sample[0], n), -EPROTO);
    ck_assert_int_eq(decode_changed(0, sample[0], FRAME_HEADER_BYTES), 0);
}
END_TEST

START_TEST(magic_version_flags_and_the_number_of_fds_are_checked)
{
    for (unsigned to = 0; to < 256; to++) {
        const uint8_t byte = (uint8_t)to;
        const bool is_version = to >= PROTO_VERSION_MIN && to <= PROTO_VERSION_MAX;

        ck_assert_int_eq(decode_changed(0, byte, 16), to == 0x75 ? 0 : -EPROTO);
        ck_assert_int_eq(decode_changed(1, byte, 16), to == 0x6d ? 0 : -EPROTO);
        ck_assert_int_eq(decode_changed(2, byte, 16), is_version ? 0 : -EPROTO);
        ck_assert_int_eq(decode_changed(3, byte, 16), to <= FRAME_FDS_MAX ? 0 : -EPROTO);
        ck_assert_int_eq(decode_changed(4, byte, 16), 0); /* any type: its user knows */
        ck_assert_int_eq(decode_changed(6, byte, 16), to == 0 ? 0 : -EPROTO);
        ck_assert_int_eq(decode_changed(7, byte, 16), to == 0 ? 0 : -EPROTO);
        ck_assert_int_eq(decode_changed(15, byte, 16), 0);
    }
}
END_TEST

START_TEST(every_header_survives_the_way_there_and_back)
{
    uint64_t random = unit_seed();

    for (unsigned i = 0; i < 10000; i++) {
        const struct frame_header header = {
            .type = (uint16_t)unit_random(&random),
            .n_fds = (uint8_t)((unit_random(&random) >> 40) % (FRAME_FDS_MAX + 1)),
            .id = unit_random(&random)};
        struct frame_header back;
        uint8_t buf[FRAME_HEADER_BYTES];

        frame_encode(&header, buf);
        UNIT_EXPECT(frame_decode(buf, sizeof(buf), &back) == 0);
        UNIT_EXPECT(back.type == header.type && back.n_fds == header.n_fds && back.id == header.id);
    }
}
END_TEST

START_TEST(every_type_has_a_number_and_a_name_of_its_own)
{
    static const uint16_t types[] = {
#define X(name, value) FRAME_##name,
        FRAME_TYPES(X)
#undef X
    };

    for (size_t i = 0; i < N_ELEMENTS(types); i++) {
        ck_assert_str_ne(frame_type_name(types[i]), "?");
        for (size_t k = 0; k < i; k++) {
            ck_assert_uint_ne(types[i], types[k]);
            ck_assert_str_ne(frame_type_name(types[i]), frame_type_name(types[k]));
        }
    }
    ck_assert_str_eq(frame_type_name(FRAME_PREPARE), "PREPARE");
    ck_assert_str_eq(frame_type_name(0), "?");
    ck_assert_str_eq(frame_type_name(0xffff), "?");
}
END_TEST

START_TEST(only_1_to_4095_are_errnos)
{
    ck_assert(!status_is_legal(0));
    ck_assert(!status_is_legal(-EINVAL));
    ck_assert(status_is_legal(1));
    ck_assert(status_is_legal(4095));
    ck_assert(!status_is_legal(4096));
    ck_assert(!status_is_legal(INT64_MAX));
    ck_assert(!status_is_legal(INT64_MIN));
}
END_TEST

START_TEST(status_and_results_are_turned_into_each_other)
{
    ck_assert_uint_eq(status_from_result(0), 0);
    ck_assert_uint_eq(status_from_result(-ENOMEM), ENOMEM);
    ck_assert_uint_eq(status_from_result(3), 0); /* a condition is no error on the wire */
    ck_assert_int_eq(status_to_result(0, -EPROTO), 0);
    ck_assert_int_eq(status_to_result(ENOMEM, -EPROTO), -ENOMEM);
    ck_assert_int_eq(status_to_result(-ENOMEM, -EPROTO), -EPROTO);
    ck_assert_int_eq(status_to_result(4096, -EREMOTEIO), -EREMOTEIO);
    ck_assert_int_eq(status_to_result(INT64_MIN, -EPROTO), -EPROTO);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("frame");

    tcase_add_test(tcase, a_header_is_written_as_the_protocol_draws_it);
    tcase_add_test(tcase, a_header_is_read_back_wherever_it_lies);
    tcase_add_test(tcase, what_is_too_short_is_no_frame);
    tcase_add_test(tcase, magic_version_flags_and_the_number_of_fds_are_checked);
    tcase_add_test(tcase, every_header_survives_the_way_there_and_back);
    tcase_add_test(tcase, every_type_has_a_number_and_a_name_of_its_own);
    tcase_add_test(tcase, only_1_to_4095_are_errnos);
    tcase_add_test(tcase, status_and_results_are_turned_into_each_other);
    return unit_run("frame", tcase);
}
