/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * muse-http: files of an HTTP server, read in ranges, as http/NAME. An open is deferred until the first
 * range has come, which says how large the object is and by what it is recognised; a fault until its ranges
 * have. fetch.c gets them, on a thread of its own.
 */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <muse/driver.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/number.h"
#include "common/base/own.h"
#include "drivers/http/fetch.h"
#include "drivers/http/objects.h"
#include "drivers/http/url.h"

/* Less than a hook's default deadline, so that what cannot be had is said with a sentence. */
#define PATIENCE_S     8
#define PATIENCE_S_MAX 86400
#define NAME_BYTES_MAX 4096u

enum { OPTION_TIMEOUT = 0x2001 };

struct http_driver {
    const char *url;
    bool is_base;
    char name[NAME_BYTES_MAX]; /* of the only object, when it is no base */
    unsigned patience_s;
    struct fetch *fetch; /* owned */
    struct http_objects objects;
};

/* An open, or a question about a name, that waits for a first look. */
struct look {
    struct fetch_first first;
    struct http_driver *http;
    struct muse_request *request;
    struct muse_open_result *ret_open; /* the hook's, until the reply; one of the two is NULL */
    struct muse_attr *ret_attr;
    char name[NAME_BYTES_MAX];
};

static int http_start(struct muse_driver *driver, void *user)
{
    struct http_driver *http = user;

    muse_driver_set_read_only(driver);
    objects_init(&http->objects);
    return fetch_start(&http->fetch, http->patience_s * UINT64_C(1000000000));
}

static void http_stop(void *user)
{
    struct http_driver *http = user;

    http->fetch = fetch_stop(http->fetch);
    objects_done(&http->objects);
}

static struct muse_attr attr_of(const struct version *version, int64_t mtime_s, uint64_t inode)
{
    return (struct muse_attr){
        .size = version->size_bytes,
        .mode = S_IFREG | 0444,
        .inode = inode,
        .mtime_ns = mtime_s > 0 && mtime_s < INT64_MAX / 1000000000 ? mtime_s * 1000000000 : 0,
        .nlink = 1,
    };
}

/* On the fetching thread. */
static void look_done(struct fetch_first *first, int error)
{
    struct look *look = CONTAINER_OF(first, struct look, first);
    struct http_object *object;

    if (error == 0 && look->ret_open) {
        error = objects_get(&look->http->objects, first, &object);
        if (error == 0) {
            look->ret_open->object_key = object->key;
            look->ret_open->object = object;
            look->ret_open->file_private = object;
            look->ret_open->attr = attr_of(&first->version, first->mtime_s, object->key);
        }
    } else if (error == 0) {
        *look->ret_attr = attr_of(&first->version, first->mtime_s, 0);
    }
    muse_reply(look->request, error);
    free(look);
}

/* Return: 0; -errno with a sentence. */
static int url_of(const struct http_driver *http, const char *path, char ret_url[URL_BYTES_MAX])
{
    const char *why = NULL;
    int r;

    if (strlen(path) >= NAME_BYTES_MAX)
        return -ENAMETOOLONG;
    if (!http->is_base && strcmp(path, http->name) != 0) {
        muse_set_error("there is no \"%.*s\" here: the only object is called %.*s",
                       FETCH_NAME_SHOWN, path, FETCH_NAME_SHOWN, http->name);
        return -ENOENT;
    }
    if (!http->is_base) {
        (void)stpcpy(ret_url, http->url); /* url_check() has seen its length */
        return 0;
    }
    r = url_join(http->url, path, ret_url, &why);
    if (r < 0)
        muse_set_error("%.*s: %s", FETCH_NAME_SHOWN, path, why);
    return r;
}

/* Return: 0, the hook is deferred; -errno. */
static int look_begin(struct http_driver *http, const char *path, struct muse_open_result *ret_open,
                      struct muse_attr *ret_attr)
{
    CLEAN(free_p) struct look *look = calloc(1, sizeof(*look));
    int r;

    if (!look)
        return -ENOMEM;
    r = url_of(http, path, look->first.url);
    if (r < 0)
        return r;
    (void)stpcpy(look->name, path); /* url_of() has seen its length */
    look->first.name = look->name;
    look->first.done = look_done;
    look->http = http;
    look->ret_open = ret_open;
    look->ret_attr = ret_attr;
    look->request = muse_request_defer();
    r = fetch_look(http->fetch, &look->first);
    if (r < 0)
        muse_reply(look->request, r);
    else
        (void)TAKE(look); /* look_done() frees it */
    return 0;
}

static int http_open(void *user, const struct muse_open_args *args, struct muse_open_result *ret)
{
    if (args->path[0] == '\0')
        return -EISDIR;
    if ((args->oflags & O_ACCMODE) != O_RDONLY || (args->oflags & (O_CREAT | O_TRUNC))) {
        muse_set_error("muse-http serves read-only");
        return -EROFS;
    }
    return look_begin(user, args->path, ret, NULL);
}

static int http_getattr(void *user, struct muse_driver_file *file, struct muse_attr *ret)
{
    const struct http_object *object = file->private_data;

    (void)user;
    *ret = attr_of(&object->what.version, object->mtime_s, object->key);
    return 0;
}

/* A folder of a server cannot be told from a page about it: only the driver's own is one. */
static int http_getattr_path(void *user, const struct muse_open_args *args, struct muse_attr *ret)
{
    if (args->path[0] != '\0')
        return look_begin(user, args->path, NULL, ret);
    *ret = (struct muse_attr){.mode = S_IFDIR | 0555, .nlink = 2};
    return 0;
}

/* What a server has cannot be listed. */
static int http_readdir(void *user, const struct muse_open_args *args, uint64_t cursor,
                        struct muse_dir *dir)
{
    const struct http_driver *http = user;

    if (args->path[0] != '\0')
        return -ENOTDIR;
    if (!http->is_base && cursor == 0)
        (void)muse_dir_add(dir, http->name, S_IFREG, 1, 1); /* the first one always fits */
    return 0;
}

static int http_fault(struct muse_fault *fault)
{
    const struct http_driver *http = fault->user;
    const struct http_object *object = fault->object;
    int r = fetch_read(http->fetch, fault, &object->what);

    return r < 0 ? r : MUSE_FAULT_PENDING;
}

static void http_object_gone(void *user, uint64_t object_key, void *object)
{
    struct http_driver *http = user;

    (void)object;
    objects_drop(&http->objects, object_key);
}

static unsigned parse_seconds(const char *text, struct argp_state *state)
{
    uint64_t n = 0;

    if (number_parse(text, 10, PATIENCE_S_MAX, &n) < 0 || n < 1)
        argp_error(state, "--timeout=%s: 1 to %d", text, PATIENCE_S_MAX);
    return (unsigned)n;
}

static void set_url(struct http_driver *http, const char *url, struct argp_state *state)
{
    const char *why = NULL;

    if (http->url)
        argp_error(state, "one URL only");
    if (url_check(url, &why) < 0)
        argp_error(state, "%s: %s", url, why);
    http->url = url;
    http->is_base = url_is_base(url);
    url_name(url, http->name, sizeof(http->name));
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct http_driver *http = state->input;

    switch (key) {
    case OPTION_TIMEOUT:
        http->patience_s = parse_seconds(argument, state);
        return 0;
    case ARGP_KEY_ARG:
        set_url(http, argument, state);
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "no URL");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int main(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"timeout", OPTION_TIMEOUT, "SECONDS", 0, "How long the server is waited for; 8", 1},
        {0},
    };
    static const struct argp argp = {
        .options = options,
        .parser = parse_option,
        .args_doc = "URL",
        .doc =
            "Serve what is below URL, which ends in a slash, as http/NAME; or the one object URL.",
    };
    static const struct muse_driver_ops ops = {
        MUSE_DRIVER_OPS,
        .name = "http",
        .version = "0.1.0",
        .argp = &argp,
        .start = http_start,
        .stop = http_stop,
        .open = http_open,
        .getattr = http_getattr,
        .fault = http_fault,
        .object_gone = http_object_gone,
        .getattr_path = http_getattr_path,
        .readdir = http_readdir,
    };
    struct http_driver http = {.patience_s = PATIENCE_S};

    return muse_driver_main(argc, argv, &ops, &http);
}
