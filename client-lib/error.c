/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The sentence of a thread's last failure. Owns one text a thread: the only state of the library
 * outside handles, because muse_last_error_text() has to work where no handle came to be, as errno
 * does. Prints nothing.
 */
#include "client-lib/error.h"

#include <errno.h>
#include <muse/muse.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "proto/limits.h"

static _Thread_local char last_text[ERROR_TEXT_BYTES_MAX];

void error_clear(void)
{
    last_text[0] = '\0';
}

void error_say(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(last_text, sizeof(last_text), format, args); /* what is too long is cut */
    va_end(args);
    for (char *c = last_text; *c; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
    }
}

int error_return(const char *call, int r)
{
    char buf[128];

    if (r >= 0)
        return 0;
    if (last_text[0] == '\0')
        error_say("%s: %s", call, strerror_r(-r, buf, sizeof(buf)));
    errno = -r;
    return -1;
}

const char *muse_last_error_text(void)
{
    return last_text;
}
