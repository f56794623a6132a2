/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Log lines as key=value text: "level=info event=map.refused client=3 errno=ENOMEM". Does no I/O:
 * the finished line goes to a sink that main has set, and nowhere before that. Libraries and pure
 * folders do not call it.
 */
#ifndef MUSE_COMMON_BASE_LOG_H
#define MUSE_COMMON_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>

/* Chosen: a page of terminal; what is longer ends in " truncated=1". */
#define LOG_LINE_MAX 1024U

/* What log_quote() needs in the worst case for a text of @len bytes. */
#define LOG_QUOTE_SIZE(len) (4U * (len) + 3U)

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/**
 * log_sink_fn() - where lines go; adds the time and does the I/O
 * @ctx:   as given to log_set_sink()
 * @level: the line's level
 * @line:  printable text without newline, NUL-terminated; valid during the call
 * @len:   its length in bytes, at most LOG_LINE_MAX - 1
 */
typedef void log_sink_fn(void *ctx, enum log_level level, const char *line, size_t len);

/**
 * log_set_sink() - choose where lines go, before threads start
 * @sink:  receives every line of @level or more important; NULL for none
 * @ctx:   handed to @sink; borrowed
 * @level: the least important level that is still wanted
 */
void log_set_sink(log_sink_fn *sink, void *ctx, enum log_level level);

/** log_is_enabled() - would a line of this level reach a sink? Ask before costly arguments. */
bool log_is_enabled(enum log_level level);

/** log_level_name() - "error", "warn", "info", "debug"; static */
const char *log_level_name(enum log_level level);

/**
 * log_write() - write one line
 * @level:  how important
 * @event:  a dotted name that stands for this one place, as "driver.silent"; static
 * @format: printf format of the fields, as "client=%u size_bytes=%zu"; text from a peer only
 *          through log_quote(). Control characters that get here all the same become '?'.
 */
__attribute__((format(printf, 3, 4))) void log_write(enum log_level level, const char *event,
                                                     const char *format, ...);

/**
 * log_event() - write one line that has no fields
 * @level: how important
 * @event: as in log_write()
 */
void log_event(enum log_level level, const char *event);

/**
 * log_quote() - make text of unknown origin safe as the value of one field
 * @buf:  where the value goes: quoted, '"' and '\' escaped, all but printable ASCII as \xNN
 * @size: of @buf, at least 3; LOG_QUOTE_SIZE(strlen(text)) holds everything, else the end is cut
 * @text: NUL-terminated; NULL counts as ""
 *
 * Return: @buf, so that it can be called in the argument list.
 */
const char *log_quote(char *buf, size_t size, const char *text);

#endif
