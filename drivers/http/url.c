/* SPDX-License-Identifier: BSD-3-Clause */
/* Names and URLs; see url.h. */
#include "drivers/http/url.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Where the path begins, or the URL's end; NULL: no scheme and host. */
static const char *path_of(const char *url)
{
    const char *host = NULL;

    if (strncasecmp(url, "http://", 7) == 0)
        host = url + 7;
    else if (strncasecmp(url, "https://", 8) == 0)
        host = url + 8;
    if (!host || strcspn(host, "/?#") == 0)
        return NULL;
    return host + strcspn(host, "/?#");
}

bool url_is_base(const char *url)
{
    const size_t n = strlen(url);

    return n > 0 && url[n - 1] == '/';
}

int url_check(const char *url, const char **ret_why)
{
    const char *path = path_of(url);

    if (!path) {
        *ret_why = "not http://HOST/ or https://HOST/";
        return -EINVAL;
    }
    if (strlen(url) >= URL_BYTES_MAX / 2) {
        *ret_why = "the URL is too long";
        return -ENAMETOOLONG;
    }
    if (*path != '/') {
        *ret_why = "the URL has no path; what is a base ends in a slash";
        return -EINVAL;
    }
    if (url_is_base(url) && path[strcspn(path, "?#")] != '\0') {
        *ret_why = "a base URL can have no query or fragment";
        return -EINVAL;
    }
    return 0;
}

void url_name(const char *url, char *ret_name, size_t size)
{
    const char *path = path_of(url);
    const char *end = path + strcspn(path, "?#");
    const char *name = end;

    while (name > path && name[-1] != '/')
        name--;
    if (name == end)
        (void)snprintf(ret_name, size, "object");
    else
        (void)snprintf(ret_name, size, "%.*s", (int)(end - name), name);
}

static bool is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("-._~/", c) != NULL);
}

/* "a//b", "./a", "a/..", "a/": a server, or somebody on the way to it, might make another path of it. */
static bool has_odd_component(const char *path)
{
    for (;;) {
        const size_t n = strcspn(path, "/");

        if (n == 0 || (n == 1 && path[0] == '.') || (n == 2 && path[0] == '.' && path[1] == '.'))
            return true;
        if (path[n] == '\0')
            return false;
        path += n + 1;
    }
}

int url_join(const char *base, const char *path, char ret_url[URL_BYTES_MAX], const char **ret_why)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t n = strlen(base);

    if (has_odd_component(path)) {
        *ret_why = "a part of the name is empty, \".\" or \"..\"";
        return -ENOENT;
    }
    if (n + 3 * strlen(path) >= URL_BYTES_MAX) {
        *ret_why = "the name is too long for a URL";
        return -ENAMETOOLONG;
    }
    memcpy(ret_url, base, n);
    for (const char *c = path; *c; c++) {
        if (is_plain(*c)) {
            ret_url[n++] = *c;
        } else {
            ret_url[n++] = '%';
            ret_url[n++] = digits[(unsigned char)*c >> 4];
            ret_url[n++] = digits[(unsigned char)*c & 15];
        }
    }
    ret_url[n] = '\0';
    return 0;
}
