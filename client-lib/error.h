/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The sentence of a thread's last failure, and the way from a result (0 or -errno) to what the
 * public calls return. Every public call begins with error_clear() and ends with error_return();
 * what goes wrong between says so with error_say().
 */
#ifndef MUSE_CLIENT_LIB_ERROR_H
#define MUSE_CLIENT_LIB_ERROR_H

/** error_clear() - forget this thread's sentence */
void error_clear(void);

/**
 * error_say() - set this thread's sentence; a later one replaces it
 * @format: printf format; text of a peer only as an argument, its control characters become '?'
 */
__attribute__((format(printf, 1, 2))) void error_say(const char *format, ...);

/**
 * error_return() - the end of a public call
 * @call: the call's name, for the sentence where nobody has set one
 * @r:    0, or a negative errno
 *
 * Return: 0; -1 with errno set.
 */
int error_return(const char *call, int r);

#endif
