/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Formats log lines. Owns the sink, one of the two mutable globals, set once by main. Called by the
 * server's flow and by programs; deliberately does no I/O and reads no clock.
 */
#include "common/base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/must.h"

#define TRUNCATED " truncated=1"

static struct {
    log_sink_fn *sink;
    void *ctx; /* borrowed from main, which outlives us */
    enum log_level level;
} output;

void log_set_sink(log_sink_fn *sink, void *ctx, enum log_level level)
{
    output.sink = sink;
    output.ctx = ctx;
    output.level = level;
}

bool log_is_enabled(enum log_level level)
{
    return output.sink && level <= output.level;
}

const char *log_level_name(enum log_level level)
{
    switch (level) {
    case LOG_LEVEL_ERROR:
        return "error";
    case LOG_LEVEL_WARN:
        return "warn";
    case LOG_LEVEL_INFO:
        return "info";
    case LOG_LEVEL_DEBUG:
        return "debug";
    }
    return "unknown";
}

static bool is_printable(char c)
{
    return c >= ' ' && c <= '~';
}

/* @len is what the formatting wanted; the line may have been cut at LOG_LINE_MAX - 1. */
static void emit(enum log_level level, char line[LOG_LINE_MAX], size_t len)
{
    size_t i;

    if (len >= LOG_LINE_MAX) {
        len = LOG_LINE_MAX - 1;
        memcpy(line + LOG_LINE_MAX - sizeof(TRUNCATED), TRUNCATED, sizeof(TRUNCATED));
    }
    for (i = 0; i < len; i++) {
        if (!is_printable(line[i]))
            line[i] = '?';
    }
    output.sink(output.ctx, level, line, len);
}

/* Return: the length, below LOG_LINE_MAX. */
static size_t begin(char line[LOG_LINE_MAX], enum log_level level, const char *event)
{
    int n = snprintf(line, LOG_LINE_MAX, "level=%s event=%s", log_level_name(level), event);

    MUST(n > 0 && (size_t)n < LOG_LINE_MAX / 2); /* event names are literals */
    return (size_t)n;
}

void log_write(enum log_level level, const char *event, const char *format, ...)
{
    char line[LOG_LINE_MAX];
    va_list args;
    size_t len;
    int n;

    if (!log_is_enabled(level))
        return;
    len = begin(line, level, event);
    line[len++] = ' ';
    va_start(args, format);
    n = vsnprintf(line + len, sizeof(line) - len, format, args);
    va_end(args);
    emit(level, line, n < 0 ? len - 1 : len + (size_t)n);
}

void log_event(enum log_level level, const char *event)
{
    char line[LOG_LINE_MAX];

    if (log_is_enabled(level))
        emit(level, line, begin(line, level, event));
}

/* Writes one escaped byte. Return: its length, 1, 2 or 4. */
static size_t escape(char out[4], char c)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char byte = (unsigned char)c;

    if (c == '"' || c == '\\') {
        out[0] = '\\';
        out[1] = c;
        return 2;
    }
    if (is_printable(c)) {
        out[0] = c;
        return 1;
    }
    out[0] = '\\';
    out[1] = 'x';
    out[2] = digits[byte >> 4];
    out[3] = digits[byte & 15];
    return 4;
}

const char *log_quote(char *buf, size_t size, const char *text)
{
    size_t at = 0;

    MUST(size >= 3);
    buf[at++] = '"';
    for (; text && *text; text++) {
        char out[4];
        size_t len = escape(out, *text);

        if (at + len + 2 > size) /* the quote and the NUL have to fit as well */
            break;
        memcpy(buf + at, out, len);
        at += len;
    }
    buf[at++] = '"';
    buf[at] = '\0';
    return buf;
}
