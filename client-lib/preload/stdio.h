/* SPDX-License-Identifier: BSD-3-Clause */
/* The standard input that a program was started with may be a served object. */
#ifndef MUSE_CLIENT_LIB_PRELOAD_STDIO_H
#define MUSE_CLIENT_LIB_PRELOAD_STDIO_H

/** stdio_begin() - at start, before main */
void stdio_begin(void);

#endif
