/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of libmuse-preload share: how they get at the C library's own functions, and how
 * they keep what libmuse itself calls from coming back to them.
 *
 *   program -- open("/muse/...") --> here --> libmuse --> mmap, read, ... --> here: depth > 0 -->
 *              open("/etc/...")  --> here --> the C library                     the C library
 *
 * Every entry point first looks whether it is meant at all, with one compare of a path or one load
 * from a table; what is not goes on at once.
 */
#ifndef MUSE_CLIENT_LIB_PRELOAD_SHIM_H
#define MUSE_CLIENT_LIB_PRELOAD_SHIM_H

#include <errno.h>
#include <muse/muse.h>
#include <stdbool.h>
#include <stddef.h>

#define EXPORT __attribute__((visibility("default")))

/* A second name of a function that is defined in the same file; the types of the two need not be
 * the same for C, only for the machine (x86-64: off_t is off64_t, struct stat is struct stat64). */
#define EXPORT_AS(alias, name)                                                                     \
    __asm__(".globl " #alias "\n.type " #alias ", @function\n.set " #alias ", " #name "\n")

/**
 * real_find() - the C library's own function, behind this library
 * @slot: where it is remembered   @name: static
 *
 * Ends the program when there is none: it is one we replace, so it exists.
 */
void *real_find(void *_Atomic *slot, const char *name);

/* The C library's own function, of the type that is declared. */
#define REAL(function)                                                                             \
    ({                                                                                             \
        static void *_Atomic slot_;                                                                \
        (__typeof__(function) *)real_find(&slot_, #function);                                      \
    })

/* More than 0 while this thread is inside libmuse. */
extern _Thread_local int shim_depth __attribute__((tls_model("initial-exec")));

/* Call libmuse: what it calls itself is not looked at. */
#define INSIDE(call)                                                                               \
    ({                                                                                             \
        __typeof__(call) result_;                                                                  \
        shim_depth++;                                                                              \
        result_ = (call);                                                                          \
        shim_depth--;                                                                              \
        result_;                                                                                   \
    })

/** fail() - set errno. Return: -1. */
static inline int fail(int error)
{
    errno = error;
    return -1;
}

#endif
