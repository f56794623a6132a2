/* SPDX-License-Identifier: BSD-3-Clause */
/* Parsing and judging; see answer.h. Section numbers are those of RFC 9110. */
#include "drivers/http/answer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/own.h"

#define LINE_BYTES_MAX 1024u /* of the headers that count; others may be of any length */

/* ---- parsing ---- */

/* Digits only, below 2^63. Return: behind them; NULL. */
static const char *parse_number(const char *text, uint64_t *ret)
{
    uint64_t n = 0;

    if (*text < '0' || *text > '9')
        return NULL;
    for (; *text >= '0' && *text <= '9'; text++) {
        if (n > (INT64_MAX - 9) / 10)
            return NULL;
        n = n * 10 + (uint64_t)(*text - '0');
    }
    *ret = n;
    return text;
}

/* "bytes 0-99/1000", "bytes * /0" without the blank: 14.4. What is else is no range. */
static void parse_range(struct answer *answer, const char *text)
{
    uint64_t first, last, size;

    answer->has_range = false;
    if (strncasecmp(text, "bytes ", 6) != 0)
        return;
    text += 6;
    if (strncmp(text, "*/", 2) == 0) {
        answer->bytes = (struct range){0};
        text = parse_number(text + 2, &answer->size_bytes);
        answer->has_range = text && *text == '\0';
        return;
    }
    if (!(text = parse_number(text, &first)) || *text++ != '-' ||
        !(text = parse_number(text, &last)) || *text++ != '/' ||
        !(text = parse_number(text, &size)) || *text != '\0' || last < first || last >= size)
        return;
    answer->bytes = range_make(first, last + 1);
    answer->size_bytes = size;
    answer->has_range = true;
}

static void parse_validator(struct answer *answer, char ret[VALIDATOR_BYTES_MAX], const char *text)
{
    if (strlen(text) >= VALIDATOR_BYTES_MAX)
        answer->is_too_long = true;
    else
        (void)snprintf(ret, VALIDATOR_BYTES_MAX, "%s", text);
}

static void take_field(struct answer *answer, const char *name, const char *value)
{
    if (strcasecmp(name, "content-range") == 0)
        parse_range(answer, value);
    else if (strcasecmp(name, "etag") == 0)
        parse_validator(answer, answer->etag, value);
    else if (strcasecmp(name, "last-modified") == 0)
        parse_validator(answer, answer->modified, value);
    else if (strcasecmp(name, "content-length") == 0)
        answer->is_empty = strcmp(value, "0") == 0;
    else if (strcasecmp(name, "content-encoding") == 0)
        answer->is_encoded = strcasecmp(value, "identity") != 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

void answer_line(struct answer *answer, const char *line, size_t n_bytes)
{
    char text[LINE_BYTES_MAX];
    char *value;

    while (n_bytes > 0 && is_blank(line[n_bytes - 1]))
        n_bytes--;
    if (n_bytes >= 5 && strncmp(line, "HTTP/", 5) == 0) {
        const char *status = memchr(line, ' ', n_bytes);

        *answer = (struct answer){0};
        if (status && line + n_bytes - status >= 4)
            answer->status =
                (unsigned)strtoul((char[]){status[1], status[2], status[3], 0}, NULL, 10);
        return;
    }
    if (n_bytes >= sizeof(text)) {
        answer->is_too_long |= strncasecmp(line, "etag:", 5) == 0;
        return;
    }
    memcpy(text, line, n_bytes);
    text[n_bytes] = '\0';
    value = strchr(text, ':');
    if (!value)
        return;
    *value++ = '\0';
    while (is_blank(*value))
        value++;
    take_field(answer, text, value);
}

/* ---- judging ---- */

static void judge(struct verdict *verdict, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void judge(struct verdict *verdict, int error, const char *format, ...)
{
    va_list args;

    verdict->error = error;
    va_start(args, format);
    (void)vsnprintf(verdict->text, sizeof(verdict->text), format, args);
    va_end(args);
}

/* What the status alone says. Return: whether it says enough. */
static bool judge_status(const struct answer *answer, struct verdict *ret)
{
    static const struct {
        unsigned status;
        int error;
    } errors[] = {
        {0, -EAGAIN},   {401, -EACCES}, {403, -EACCES}, {404, -ENOENT},
        {407, -EACCES}, {408, -EAGAIN}, {410, -ENOENT}, {429, -EAGAIN},
    };
    int error = -EIO;

    if (answer->status == 200 || answer->status == 206 || answer->status == 412 ||
        answer->status == 416)
        return false;
    for (size_t i = 0; i < N_ELEMENTS(errors); i++) {
        if (errors[i].status == answer->status)
            error = errors[i].error;
    }
    if (answer->status >= 500)
        error = -EAGAIN;
    judge(ret, error, "the server answers with status %u", answer->status);
    return true;
}

static void version_of(const struct answer *answer, struct version *ret)
{
    *ret = (struct version){.size_bytes = answer->size_bytes, .is_etag = answer->etag[0] != '\0'};
    (void)snprintf(ret->validator, sizeof(ret->validator), "%s",
                   ret->is_etag ? answer->etag : answer->modified);
}

/* Return: whether bytes of such an answer can be used. */
static bool judge_form(const struct answer *answer, struct verdict *ret)
{
    if (answer->is_encoded) {
        judge(ret, -EOPNOTSUPP, "the server encodes the bytes (Content-Encoding)");
        return false;
    }
    if (answer->is_too_long) {
        judge(ret, -EOPNOTSUPP, "the ETag is longer than %u bytes", VALIDATOR_BYTES_MAX - 1);
        return false;
    }
    if (answer->etag[0] || answer->modified[0])
        return true;
    judge(ret, -EOPNOTSUPP,
          "the server sends neither ETag nor Last-Modified, so that a change "
          "would not be noticed");
    return false;
}

void answer_judge_first(const struct answer *answer, struct version *ret_version,
                        struct verdict *ret_verdict)
{
    const bool no_bytes = (answer->status == 416 && answer->has_range &&
                           range_is_empty(answer->bytes) && answer->size_bytes == 0) ||
                          (answer->status == 200 && answer->is_empty);

    *ret_verdict = (struct verdict){0};
    if (judge_status(answer, ret_verdict))
        return;
    if (no_bytes) {
        *ret_version = (struct version){0};
    } else if (answer->status == 200) {
        judge(ret_verdict, -EOPNOTSUPP,
              "the server does not serve ranges of it: status 200 for a "
              "range, and not 206");
    } else if (answer->status != 206 || !answer->has_range || answer->bytes.start != 0 ||
               answer->bytes.end != 1) {
        judge(ret_verdict, -EIO, "the answer to a range (status %u) makes no sense",
              answer->status);
    } else if (judge_form(answer, ret_verdict)) {
        version_of(answer, ret_version);
    }
}

bool version_is(const struct version *a, const struct version *b)
{
    return a->size_bytes == b->size_bytes && a->is_etag == b->is_etag &&
           strcmp(a->validator, b->validator) == 0;
}

bool version_is_strong(const struct version *version)
{
    return version->validator[0] != '\0' &&
           !(version->is_etag && strncmp(version->validator, "W/", 2) == 0);
}

/* Of a whole answer: the range was refused because the object has changed, or as the server likes. */
static void judge_whole(const struct answer *answer, const struct version *version,
                        struct verdict *ret)
{
    const char *now = version->is_etag ? answer->etag : answer->modified;

    if (strcmp(now, version->validator) == 0)
        judge(ret, -EOPNOTSUPP, "the server does not serve ranges of it any more");
    else
        judge(ret, -ESTALE, "it has changed on the server: it was %s, and is %s",
              version->validator, *now ? now : "something else");
}

void answer_judge(const struct answer *answer, const struct version *version, struct range bytes,
                  struct verdict *ret_verdict)
{
    struct version now;

    *ret_verdict = (struct verdict){0};
    if (judge_status(answer, ret_verdict)) {
        if (ret_verdict->error == -ENOENT)
            judge(ret_verdict, -ESTALE, "it is gone from the server: status %u", answer->status);
        return;
    }
    if (answer->status == 200) {
        judge_whole(answer, version, ret_verdict);
        return;
    }
    if (answer->status == 412 || answer->status == 416) {
        judge(ret_verdict, -ESTALE, "it has changed on the server: status %u", answer->status);
        return;
    }
    if (!judge_form(answer, ret_verdict))
        return;
    version_of(answer, &now);
    if (!answer->has_range) {
        judge(ret_verdict, -EIO, "the answer to a range has no Content-Range that makes sense");
    } else if (now.size_bytes != version->size_bytes) {
        judge(ret_verdict, -ESTALE,
              "it has changed on the server: it had %" PRIu64 " bytes, and has %" PRIu64,
              version->size_bytes, now.size_bytes);
    } else if (!version_is(&now, version)) {
        judge(ret_verdict, -ESTALE, "it has changed on the server: it was %s, and is %s",
              version->validator, now.validator);
    } else if (!range_equal(answer->bytes, bytes)) {
        judge(ret_verdict, -EIO, "the server has sent another range than was asked for");
    }
}
