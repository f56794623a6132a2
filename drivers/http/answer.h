/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What an HTTP server has answered to a request for a range: parsed from the header lines, and judged
 * against what is known of the object. No I/O.
 */
#ifndef MUSE_DRIVERS_HTTP_ANSWER_H
#define MUSE_DRIVERS_HTTP_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "common/base/range.h"

#define VALIDATOR_BYTES_MAX 256u /* with the NUL; a longer one is refused, not cut */
#define VERDICT_TEXT_MAX    384u

/* The state of an object: what changes when its bytes do. */
struct version {
    uint64_t size_bytes;
    bool is_etag; /* else it is Last-Modified */
    char validator
        [VALIDATOR_BYTES_MAX]; /* as the server wrote it; "" only when there are no bytes */
};

/* All that counts of a header. */
struct answer {
    unsigned status; /* 0: none came */
    bool has_range;
    struct range bytes; /* Content-Range; empty: unsatisfied */
    uint64_t size_bytes;
    bool is_empty;    /* Content-Length: 0 */
    bool is_encoded;  /* Content-Encoding: anything but identity */
    bool is_too_long; /* a validator is */
    char etag[VALIDATOR_BYTES_MAX];
    char modified[VALIDATOR_BYTES_MAX];
};

/* What is to be done about it. */
struct verdict {
    int error; /* 0: it is what was asked for; -EAGAIN: ask again later; else -errno */
    char text[VERDICT_TEXT_MAX]; /* why */
};

/** answer_line() - take in one header line, with or without its end. A status line begins anew. */
void answer_line(struct answer *answer, const char *line, size_t n_bytes);

/**
 * answer_judge_first() - of the range 0-0, by which an object is opened
 * @ret_version: written when the verdict is 0
 *
 * -ENOENT, -EACCES by status; -EOPNOTSUPP the server has no ranges, or nothing that would tell when
 * the object changes; -EAGAIN; -EIO any other status.
 */
void answer_judge_first(const struct answer *answer, struct version *ret_version,
                        struct verdict *ret_verdict);

/**
 * answer_judge() - of a range of an object that is open
 * @bytes: what was asked for
 *
 * -ESTALE the object is another one now; else as answer_judge_first().
 */
void answer_judge(const struct answer *answer, const struct version *version, struct range bytes,
                  struct verdict *ret_verdict);

/** version_is() - whether two of them are the same bytes */
bool version_is(const struct version *a, const struct version *b);

/** version_is_strong() - whether If-Range may name it: RFC 9110, 13.1.5 */
bool version_is_strong(const struct version *version);

#endif
