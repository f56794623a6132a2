/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One transfer: a libcurl handle with a buffer, which gets one range of one URL at a time. It stops as soon
 * as the header shows that the bytes are not wanted.
 */
#ifndef MUSE_DRIVERS_HTTP_TRANSFER_H
#define MUSE_DRIVERS_HTTP_TRANSFER_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "drivers/http/answer.h"

#define PIECE_BYTES                                                                                \
    (512u << 10) /* chosen: a request's round trip counts little, and four make a window */

struct transfer {
    CURL *easy;                 /* owned */
    uint8_t *buffer;            /* borrowed: PIECE_BYTES */
    struct curl_slist *headers; /* owned: what is sent besides */
    struct answer answer;
    struct range bytes; /* asked for */
    uint64_t n_got;
    char error[CURL_ERROR_SIZE];
};

/** transfer_init() - @user: what CURLINFO_PRIVATE says. Return: 0; -ENOMEM. */
MUST_CHECK int transfer_init(struct transfer *transfer, uint8_t *buffer, void *user,
                             uint64_t patience_ns);

/** transfer_done() - it must be in no multi handle */
void transfer_done(struct transfer *transfer);

/**
 * transfer_prepare() - for the next time that it is added to a multi handle
 * @version: what the object has to be; NULL: not known yet
 *
 * Return: 0; -ENOMEM.
 */
MUST_CHECK int transfer_prepare(struct transfer *transfer, const char *url,
                                const struct version *version, struct range bytes);

/**
 * transfer_judge() - it has ended
 * @ret_version: for one without a version; written when the verdict is 0
 */
void transfer_judge(const struct transfer *transfer, CURLcode result, const struct version *version,
                    struct version *ret_version, struct verdict *ret_verdict);

#endif
