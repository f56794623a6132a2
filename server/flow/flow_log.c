/* SPDX-License-Identifier: BSD-3-Clause */
/* The one format of error lines. */
#include "server/flow/flow_log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/log.h"
#include "proto/limits.h"

static void write_line(enum log_level level, const char *event, const struct flow_where *where,
                       int error, const char *text)
{
    char object[LOG_QUOTE_SIZE(256)];
    char quoted[LOG_QUOTE_SIZE(ERROR_TEXT_BYTES_MAX)];

    log_write(
        level, event, "client=%" PRIu64 " pid=%d driver=%s object=%s hook=%s errno=%s text=%s",
        where->space ? where->space->id : 0, where->space ? (int)where->space->pid : 0,
        where->driver ? where->driver->name : "-",
        log_quote(object, sizeof(object), where->object ? where->object : "-"),
        where->hook ? where->hook : "-", strerrorname_np(-error) ? strerrorname_np(-error) : "?",
        log_quote(quoted, sizeof(quoted), text ? text : ""));
}

void flow_error(const char *event, const struct flow_where *where, int error, const char *text)
{
    write_line(LOG_LEVEL_WARN, event, where, error, text);
}

void flow_refusal(const char *event, const struct flow_where *where, int error, const char *text)
{
    static const int daily[] = {ENOENT, ENOTDIR, EISDIR, EACCES, EPERM,
                                EEXIST, EROFS,   ELOOP,  EINVAL, ENODEV};
    enum log_level level = LOG_LEVEL_WARN;

    for (size_t i = 0; i < sizeof(daily) / sizeof(daily[0]); i++) {
        if (error == -daily[i])
            level = LOG_LEVEL_DEBUG;
    }
    write_line(level, event, where, error, text);
}

const char *flow_sentence(const struct flow_where *where, const char *text, char *buf, size_t size)
{
    const bool has_hook = where->hook && strcmp(where->hook, "-") != 0;

    (void)snprintf(buf, size, "%.200s: %s%s%s", where->object ? where->object : "-",
                   has_hook ? where->hook : "", has_hook ? ": " : "", text ? text : "");
    return buf;
}
