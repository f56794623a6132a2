/* SPDX-License-Identifier: BSD-3-Clause */
/* One transfer, as far as it is libcurl's; see transfer.h. */
#include "drivers/http/transfer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/own.h"

#define REDIRECTS_MAX 5L /* chosen: more is a loop */

static size_t on_header(char *line, size_t size, size_t n, void *user)
{
    struct transfer *transfer = user;

    (void)size; /* 1: libcurl's manual */
    answer_line(&transfer->answer, line, n);
    return n;
}

/* Bytes of another answer than a range's are not wanted, however many they are. */
static size_t on_bytes(char *bytes, size_t size, size_t n, void *user)
{
    struct transfer *transfer = user;

    (void)size;
    if (transfer->answer.status != 206 || n > range_len(transfer->bytes) - transfer->n_got)
        return 0;
    memcpy(transfer->buffer + transfer->n_got, bytes, n);
    transfer->n_got += n;
    return n;
}

/* NOLINTNEXTLINE(readability-non-const-parameter): it is written to later */
int transfer_init(struct transfer *transfer, uint8_t *buffer, void *user, uint64_t patience_ns)
{
    CURL *easy = curl_easy_init();
    bool ok;

    *transfer = (struct transfer){.easy = easy, .buffer = buffer};
    if (!easy)
        return -ENOMEM;
    ok = curl_easy_setopt(easy, CURLOPT_PRIVATE, user) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->error) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_USERAGENT, "muse-http/" MUSE_VERSION) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https") == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 1L) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_MAXREDIRS, REDIRECTS_MAX) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)(patience_ns / 1000000u)) ==
             CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_bytes) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer) == CURLE_OK;
    if (ok)
        return 0;
    transfer_done(transfer);
    return -ENOMEM;
}

void transfer_done(struct transfer *transfer)
{
    curl_easy_cleanup(transfer->easy); /* NULL is a no-op, as in the next line */
    curl_slist_free_all(transfer->headers);
    transfer->easy = NULL;
    transfer->headers = NULL;
}

static int set_headers(struct transfer *transfer, const struct version *version)
{
    char line[VALIDATOR_BYTES_MAX + 16];
    struct curl_slist *list = NULL;

    curl_slist_free_all(transfer->headers);
    transfer->headers = NULL;
    if (version && version_is_strong(version)) {
        (void)snprintf(line, sizeof(line), "If-Range: %s", version->validator);
        list = curl_slist_append(NULL, line);
        if (!list || curl_easy_setopt(transfer->easy, CURLOPT_HTTPHEADER, list) != CURLE_OK) {
            curl_slist_free_all(list);
            return -ENOMEM;
        }
    } else if (curl_easy_setopt(transfer->easy, CURLOPT_HTTPHEADER, NULL) != CURLE_OK) {
        return -ENOMEM;
    }
    transfer->headers = list;
    return 0;
}

int transfer_prepare(struct transfer *transfer, const char *url, const struct version *version,
                     struct range bytes)
{
    char text[48];

    transfer->answer = (struct answer){0};
    transfer->bytes = bytes;
    transfer->n_got = 0;
    transfer->error[0] = '\0';
    (void)snprintf(text, sizeof(text), "%" PRIu64 "-%" PRIu64, bytes.start, bytes.end - 1);
    if (curl_easy_setopt(transfer->easy, CURLOPT_URL, url) != CURLE_OK ||
        curl_easy_setopt(transfer->easy, CURLOPT_RANGE, text) != CURLE_OK)
        return -ENOMEM;
    return set_headers(transfer, version);
}

/* What is so now will be so the next time. */
static bool is_lasting(CURLcode result)
{
    static const CURLcode lasting[] = {
        CURLE_UNSUPPORTED_PROTOCOL,     CURLE_URL_MALFORMAT,      CURLE_TOO_MANY_REDIRECTS,
        CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE,
    };

    for (size_t i = 0; i < N_ELEMENTS(lasting); i++) {
        if (result == lasting[i])
            return true;
    }
    return false;
}

static void judge_transport(const struct transfer *transfer, CURLcode result,
                            struct verdict *verdict)
{
    verdict->error = is_lasting(result) ? -EIO : -EAGAIN;
    (void)snprintf(verdict->text, sizeof(verdict->text), "%s",
                   transfer->error[0] ? transfer->error : curl_easy_strerror(result));
}

void transfer_judge(const struct transfer *transfer, CURLcode result, const struct version *version,
                    struct version *ret_version, struct verdict *ret_verdict)
{
    /* a write error is on_bytes(), which has not wanted what it saw: the header says why */
    if (result != CURLE_OK && (result != CURLE_WRITE_ERROR || transfer->answer.status == 0)) {
        judge_transport(transfer, result, ret_verdict);
        return;
    }
    if (version)
        answer_judge(&transfer->answer, version, transfer->bytes, ret_verdict);
    else
        answer_judge_first(&transfer->answer, ret_version, ret_verdict);
    if (ret_verdict->error == 0 && version && transfer->n_got != range_len(transfer->bytes)) {
        ret_verdict->error = result == CURLE_OK ? -EAGAIN : -EIO;
        (void)snprintf(ret_verdict->text, sizeof(ret_verdict->text),
                       "the server has sent %" PRIu64 " bytes instead of %" PRIu64, transfer->n_got,
                       range_len(transfer->bytes));
    }
}
