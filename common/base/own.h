/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ownership helpers: half-made objects that free themselves, moving out, and the way from an
 * embedded member to its struct.
 *
 *     CLEAN(foo_free_p) struct foo *foo = calloc(1, sizeof(*foo));   freed on every early return
 *     ...
 *     *ret_foo = TAKE(foo);                                           handed out, not freed
 */
#ifndef MUSE_COMMON_BASE_OWN_H
#define MUSE_COMMON_BASE_OWN_H

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

/**
 * CLEAN() - call a function on a local when it goes out of scope
 * @fn_p: takes a pointer to the local; made by DEFINE_CLEANUP(), or free_p, fd_close_p
 */
#define CLEAN(fn_p) __attribute__((cleanup(fn_p)))

/**
 * TAKE() - move a pointer out of its variable
 * @ptr: an lvalue of pointer type; evaluated twice, NULL afterwards
 *
 * Return: what it held.
 */
#define TAKE(ptr)                                                                                  \
    (__extension__({                                                                               \
        __typeof__(ptr) take_moved_ = (ptr);                                                       \
        (ptr) = NULL;                                                                              \
        take_moved_;                                                                               \
    }))

/**
 * DEFINE_CLEANUP() - define free_fn_p(), for CLEAN(), from free_fn()
 * @type:    the pointer type the local has, as in "struct foo *"
 * @free_fn: takes one such pointer; is not called for NULL
 */
#define DEFINE_CLEANUP(type, free_fn)                                                              \
    __attribute__((unused)) static inline void free_fn##_p(__typeof__(type) *p)                    \
    {                                                                                              \
        if (*p)                                                                                    \
            (void)free_fn(*p);                                                                     \
    }

/**
 * CONTAINER_OF() - the struct that a member is embedded in
 * @ptr:    pointer to the member; not NULL
 * @type:   the struct
 * @member: the member's name
 */
#define CONTAINER_OF(ptr, type, member)                                                            \
    (__extension__({                                                                               \
        _Static_assert(                                                                            \
            __builtin_types_compatible_p(__typeof__(*(ptr)), __typeof__(((type *)0)->member)),     \
            "not a pointer to that member");                                                       \
        (type *)(void *)((char *)(ptr)-offsetof(type, member));                                    \
    }))

/** CONTAINER_OF_CONST() - as CONTAINER_OF(), for a pointer to const; the result is const too */
#define CONTAINER_OF_CONST(ptr, type, member)                                                      \
    (__extension__({                                                                               \
        _Static_assert(                                                                            \
            __builtin_types_compatible_p(__typeof__(*(ptr)), __typeof__(((type *)0)->member)),     \
            "not a pointer to that member");                                                       \
        (const type *)(const void *)((const char *)(ptr)-offsetof(type, member));                  \
    }))

/** N_ELEMENTS() - how many elements an array has (a real array, not a pointer) */
#define N_ELEMENTS(array) (sizeof(array) / sizeof((array)[0]))

/**
 * free_p() - for CLEAN(): free() what a pointer variable of any type holds
 * @p: address of the variable; not NULL
 */
static inline void free_p(void *p)
{
    free(*(void **)p);
}

/**
 * fd_take() - move an fd out of its variable
 * @fd: not NULL; holds -1 afterwards
 *
 * Return: what it held, now the caller's.
 */
static inline int fd_take(int *fd)
{
    int taken = *fd;

    *fd = -1;
    return taken;
}

/**
 * fd_close_p() - close an owned fd and forget it, leaving errno alone. Not for pure folders.
 * @fd: not NULL; -1 (none) is a no-op; holds -1 afterwards. Serves CLEAN() and by itself:
 *      fd_close_p(&link->fd);
 */
static inline void fd_close_p(int *fd)
{
    int saved = errno;

    if (*fd >= 0)
        (void)close(*fd); /* the fd is gone on Linux whatever it says: close(2), "Notes" */
    *fd = -1;
    errno = saved;
}

#endif
