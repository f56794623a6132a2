/* SPDX-License-Identifier: BSD-3-Clause */
/* The one format of error lines. */
#include "server/flow/flow_log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/log.h"
#include "proto/limits.h"

void flow_error(const char *event, const struct flow_where *where, int error, const char *text)
{
    char object[LOG_QUOTE_SIZE(256)];
    char quoted[LOG_QUOTE_SIZE(ERROR_TEXT_BYTES_MAX)];

    log_write(LOG_LEVEL_WARN, event,
              "client=%" PRIu64 " pid=%d driver=%s object=%s hook=%s errno=%s text=%s",
              where->space ? where->space->id : 0, where->space ? (int)where->space->pid : 0,
              where->driver ? where->driver->name : "-",
              log_quote(object, sizeof(object), where->object ? where->object : "-"),
              where->hook ? where->hook : "-",
              strerrorname_np(-error) ? strerrorname_np(-error) : "?",
              log_quote(quoted, sizeof(quoted), text ? text : ""));
}

const char *flow_sentence(const struct flow_where *where, const char *text, char *buf, size_t size)
{
    const bool has_hook = where->hook && strcmp(where->hook, "-") != 0;

    (void)snprintf(buf, size, "%.200s: %s%s%s", where->object ? where->object : "-",
                   has_hook ? where->hook : "", has_hook ? ": " : "", text ? text : "");
    return buf;
}
