/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Wide characters of the streams of stdio.c: one of fopencookie(3) has no place for them, and the C
 * library's own functions would crash. Here they are made of bytes, each by itself: encodings with a
 * state are not for these streams.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "client-lib/preload/shim.h"
#include "client-lib/preload/stdio.h"

#define PRINT_CHARS_MIN 256u
#define PRINT_CHARS_MAX (1u << 24) /* chosen: what does not fit then is no text */

EXPORT wchar_t *__fgetws_chk(wchar_t *text, size_t size, int n, FILE *file);
EXPORT int __vfwprintf_chk(FILE *file, int flag, const wchar_t *format, va_list args);
EXPORT int __fwprintf_chk(FILE *file, int flag, const wchar_t *format, ...);
EXPORT int __wprintf_chk(int flag, const wchar_t *format, ...);
void __chk_fail(void) __attribute__((noreturn)); /* the C library's */

/* ---- reading ---- */

static wint_t get(FILE *file)
{
    mbstate_t state = {0};
    wchar_t wide;
    int byte;

    while ((byte = getc(file)) != EOF) {
        const char narrow = (char)byte;
        const size_t n = mbrtowc(&wide, &narrow, 1, &state);

        if (n == (size_t)-1)
            return WEOF; /* EILSEQ */
        if (n != (size_t)-2)
            return (wint_t)wide;
    }
    return WEOF;
}

EXPORT wint_t fgetwc(FILE *file)
{
    return stdio_is_served(file) ? get(file) : REAL(fgetwc)(file);
}
EXPORT_AS(getwc, fgetwc);
EXPORT_AS(fgetwc_unlocked, fgetwc);
EXPORT_AS(getwc_unlocked, fgetwc);

EXPORT wint_t getwchar(void)
{
    return fgetwc(stdin);
}
EXPORT_AS(getwchar_unlocked, getwchar);

EXPORT wint_t ungetwc(wint_t wide, FILE *file)
{
    char bytes[MB_LEN_MAX];
    mbstate_t state = {0};
    size_t n;

    if (!stdio_is_served(file))
        return REAL(ungetwc)(wide, file);
    if (wide == WEOF)
        return WEOF;
    n = wcrtomb(bytes, (wchar_t)wide, &state);
    if (n == (size_t)-1)
        return WEOF;
    while (n > 0) {
        if (ungetc((unsigned char)bytes[--n], file) == EOF)
            return WEOF;
    }
    return wide;
}

EXPORT wchar_t *fgetws(wchar_t *text, int n, FILE *file)
{
    int at = 0;

    if (!stdio_is_served(file))
        return REAL(fgetws)(text, n, file);
    while (at < n - 1) {
        const wint_t wide = get(file);

        if (wide == WEOF)
            break;
        text[at++] = (wchar_t)wide;
        if (wide == L'\n')
            break;
    }
    if (at == 0 || ferror(file))
        return NULL;
    text[at] = L'\0';
    return text;
}
EXPORT_AS(fgetws_unlocked, fgetws);

EXPORT wchar_t *__fgetws_chk(wchar_t *text, size_t size, int n, FILE *file)
{
    if (n > 0 && (size_t)n > size)
        __chk_fail();
    return fgetws(text, n, file);
}
EXPORT_AS(__fgetws_unlocked_chk, __fgetws_chk);

/* ---- writing ---- */

static wint_t put(wchar_t wide, FILE *file)
{
    char bytes[MB_LEN_MAX];
    mbstate_t state = {0};
    const size_t n = wcrtomb(bytes, wide, &state);

    return n != (size_t)-1 && fwrite(bytes, 1, n, file) == n ? (wint_t)wide : WEOF;
}

EXPORT wint_t fputwc(wchar_t wide, FILE *file)
{
    return stdio_is_served(file) ? put(wide, file) : REAL(fputwc)(wide, file);
}
EXPORT_AS(putwc, fputwc);
EXPORT_AS(fputwc_unlocked, fputwc);
EXPORT_AS(putwc_unlocked, fputwc);

EXPORT wint_t putwchar(wchar_t wide)
{
    return fputwc(wide, stdout);
}
EXPORT_AS(putwchar_unlocked, putwchar);

static int put_text(const wchar_t *text, FILE *file)
{
    for (; *text; text++) {
        if (put(*text, file) == WEOF)
            return -1;
    }
    return 0;
}

EXPORT int fputws(const wchar_t *text, FILE *file)
{
    return stdio_is_served(file) ? put_text(text, file) : REAL(fputws)(text, file);
}
EXPORT_AS(fputws_unlocked, fputws);

/* There is no function that says how long the text will be. */
static int print(FILE *file, const wchar_t *format, va_list args)
{
    for (size_t size = PRINT_CHARS_MIN; size <= PRINT_CHARS_MAX; size *= 2) {
        wchar_t *text = malloc(size * sizeof(*text));
        va_list again;
        int n;

        if (!text)
            return -1;
        va_copy(again, args);
        n = vswprintf(text, size, format, again);
        va_end(again);
        if (n >= 0 && put_text(text, file) < 0)
            n = -2;
        free(text);
        if (n != -1)
            return n < 0 ? -1 : n;
    }
    return fail(EOVERFLOW);
}

EXPORT int vfwprintf(FILE *file, const wchar_t *format, va_list args)
{
    return stdio_is_served(file) ? print(file, format, args) : REAL(vfwprintf)(file, format, args);
}

EXPORT int __vfwprintf_chk(FILE *file, int flag, const wchar_t *format, va_list args)
{
    return stdio_is_served(file) ? print(file, format, args)
                                 : REAL(__vfwprintf_chk)(file, flag, format, args);
}

EXPORT int vwprintf(const wchar_t *format, va_list args)
{
    return vfwprintf(stdout, format, args);
}

EXPORT int fwprintf(FILE *file, const wchar_t *format, ...)
{
    va_list args;
    int n;

    va_start(args, format);
    n = vfwprintf(file, format, args);
    va_end(args);
    return n;
}

EXPORT int wprintf(const wchar_t *format, ...)
{
    va_list args;
    int n;

    va_start(args, format);
    n = vfwprintf(stdout, format, args);
    va_end(args);
    return n;
}

EXPORT int __fwprintf_chk(FILE *file, int flag, const wchar_t *format, ...)
{
    va_list args;
    int n;

    va_start(args, format);
    n = __vfwprintf_chk(file, flag, format, args);
    va_end(args);
    return n;
}

EXPORT int __wprintf_chk(int flag, const wchar_t *format, ...)
{
    va_list args;
    int n;

    va_start(args, format);
    n = __vfwprintf_chk(stdout, flag, format, args);
    va_end(args);
    return n;
}

/* Bytes and wide characters can be mixed here, so it is what was asked for. */
EXPORT int fwide(FILE *file, int mode)
{
    return stdio_is_served(file) ? mode : REAL(fwide)(file, mode);
}
