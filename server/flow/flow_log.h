/* SPDX-License-Identifier: BSD-3-Clause */
/* One line per handled error: client, driver, object, hook; and the sentence for the client. */
#ifndef MUSE_SERVER_FLOW_FLOW_LOG_H
#define MUSE_SERVER_FLOW_FLOW_LOG_H

#include "server/flow/engine.h"

/* Whoever is known; NULL where it is not. */
struct flow_where {
    const struct space *space;
    const struct driver *driver;
    const char *object; /* DRIVER/PATH */
    const char *hook;
};

/**
 * flow_error() - log one handled error
 * @event: a dotted name that stands for this one place
 * @error: -errno
 * @text:  one sentence; from a peer or ours
 */
void flow_error(const char *event, const struct flow_where *where, int error, const char *text);

/** flow_refusal() - as flow_error(), but what any open(2) may say to any program (ENOENT, EACCES,
 * ...) is only for who debugs */
void flow_refusal(const char *event, const struct flow_where *where, int error, const char *text);

/**
 * flow_sentence() - the sentence for the client: "DRIVER/PATH: HOOK: TEXT"
 * @buf: caller's, ERROR_TEXT_BYTES_MAX is enough for all but absurd paths; cut at @size
 *
 * Return: @buf.
 */
const char *flow_sentence(const struct flow_where *where, const char *text, char *buf, size_t size);

#endif
