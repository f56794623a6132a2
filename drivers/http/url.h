/* SPDX-License-Identifier: BSD-3-Clause */
/* Which URL an object's name stands for. Text only. */
#ifndef MUSE_DRIVERS_HTTP_URL_H
#define MUSE_DRIVERS_HTTP_URL_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/must.h"

#define URL_BYTES_MAX 8192u /* with the NUL; what common servers take at most */

/** url_is_base() - whether names are appended to it: it ends in a slash */
bool url_is_base(const char *url);

/**
 * url_check() - whether something can be served from a URL
 * @ret_why: static; written when not
 *
 * Return: 0; -EINVAL not http nor https, a base with a query or fragment, ...; -ENAMETOOLONG.
 */
MUST_CHECK int url_check(const char *url, const char **ret_why);

/**
 * url_name() - the name of the one object that a URL without a slash at its end stands for
 *
 * What is behind the last slash of its path, as it is written there; "object" when that is nothing.
 */
void url_name(const char *url, char *ret_name, size_t size);

/**
 * url_join() - the URL of a name below a base
 * @path: any bytes of a client; bytes that mean something in a URL are escaped
 * @ret_why: static; written when it fails
 *
 * Return: 0; -ENOENT a component is empty, "." or ".."; -ENAMETOOLONG.
 */
MUST_CHECK int url_join(const char *base, const char *path, char ret_url[URL_BYTES_MAX],
                        const char **ret_why);

#endif
