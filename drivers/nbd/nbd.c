/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * muse-nbd: an export of an NBD server as one object, nbd/NAME. Hooks only look at what is asked and hand
 * it on; the connection has a thread of its own (link.c), which answers faults and writebacks.
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
#include "drivers/common/permission.h"
#include "drivers/nbd/link.h"

#define OBJECT_KEY     1u /* there is only one */
/* Less than a hook's default deadline, so that what cannot be had is said with a sentence. */
#define PATIENCE_S     8
#define PATIENCE_S_MAX 86400

enum { OPTION_MODE = 0x2001, OPTION_TIMEOUT, OPTION_READ_ONLY };

struct nbd_driver {
    const char *uri;
    mode_t mode;
    unsigned patience_s;
    bool read_only;
    struct link *link; /* owned */
};

static bool is_read_only(const struct nbd_driver *nbd)
{
    return nbd->read_only || link_info(nbd->link)->read_only;
}

static int nbd_start(struct muse_driver *driver, void *user)
{
    struct nbd_driver *nbd = user;
    int r = link_start(&nbd->link, nbd->uri, nbd->patience_s * UINT64_C(1000000000));

    if (r == 0 && is_read_only(nbd))
        muse_driver_set_read_only(driver);
    return r;
}

static void nbd_stop(void *user)
{
    struct nbd_driver *nbd = user;

    nbd->link = link_stop(nbd->link);
}

static struct muse_attr attr_of(const struct nbd_driver *nbd)
{
    const mode_t writing = is_read_only(nbd) ? 0222 : 0;

    return (struct muse_attr){
        .size = link_info(nbd->link)->blocks.size_bytes,
        .mode = S_IFREG | (nbd->mode & ~writing),
        .inode = OBJECT_KEY,
        .uid = geteuid(),
        .gid = getegid(),
        .nlink = 1,
    };
}

/* As open(2) on a file with these attributes. */
static int check_access(const struct muse_attr *attr, const struct muse_open_args *args)
{
    if (permission_allows(args, attr, permission_of_open(args->oflags)))
        return 0;
    muse_set_error("mode %04o of the disk refuses user %u", (unsigned)attr->mode & 07777u,
                   (unsigned)args->uid);
    return -EACCES;
}

static int nbd_open(void *user, const struct muse_open_args *args, struct muse_open_result *ret)
{
    const struct nbd_driver *nbd = user;
    const char *name = link_info(nbd->link)->name;
    int r;

    if (strcmp(args->path, name) != 0) {
        muse_set_error("there is no \"%s\" here: the only disk is called %s", args->path, name);
        return args->path[0] ? -ENOENT : -EISDIR;
    }
    if ((args->oflags & O_CREAT) && (args->oflags & O_EXCL))
        return -EEXIST;
    if ((args->oflags & O_ACCMODE) == O_WRONLY) {
        muse_set_error("%s: a mapping needs to read: O_RDWR", name);
        return -EACCES;
    }
    ret->attr = attr_of(nbd);
    r = check_access(&ret->attr, args);
    if (r < 0)
        return r;
    if ((args->oflags & O_ACCMODE) != O_RDONLY && is_read_only(nbd)) {
        muse_set_error("%s is read-only", name);
        return -EROFS;
    }
    ret->object_key = OBJECT_KEY; /* O_TRUNC has no effect, as on a disk */
    return 0;
}

static int nbd_getattr(void *user, struct muse_driver_file *file, struct muse_attr *ret)
{
    (void)file;
    *ret = attr_of(user);
    return 0;
}

static int nbd_getattr_path(void *user, const struct muse_open_args *args, struct muse_attr *ret)
{
    const struct nbd_driver *nbd = user;

    if (args->path[0] == '\0')
        *ret = (struct muse_attr){.mode = S_IFDIR | 0555, .nlink = 2};
    else if (strcmp(args->path, link_info(nbd->link)->name) == 0)
        *ret = attr_of(nbd);
    else
        return -ENOENT;
    return 0;
}

static int nbd_readdir(void *user, const struct muse_open_args *args, uint64_t cursor,
                       struct muse_dir *dir)
{
    const struct nbd_driver *nbd = user;
    const char *name = link_info(nbd->link)->name;

    if (args->path[0] != '\0')
        return strcmp(args->path, name) == 0 ? -ENOTDIR : -ENOENT;
    if (cursor == 0)
        (void)muse_dir_add(dir, name, S_IFREG, OBJECT_KEY, 1); /* the first one always fits */
    return 0;
}

static int nbd_fault(struct muse_fault *fault)
{
    const struct nbd_driver *nbd = fault->user;
    int r = link_read(nbd->link, fault);

    return r < 0 ? r : MUSE_FAULT_PENDING;
}

static int nbd_writeback(struct muse_writeback *writeback)
{
    const struct nbd_driver *nbd = writeback->user;

    link_write(nbd->link, writeback, muse_request_defer());
    return 0;
}

static int nbd_fsync(void *user, uint64_t object_key, void *object)
{
    const struct nbd_driver *nbd = user;

    (void)object_key;
    (void)object;
    link_flush(nbd->link, muse_request_defer());
    return 0;
}

/* Return: a number in [low, high]; else the usage is printed, and the process ends. */
static unsigned long parse_number(struct argp_state *state, const char *option, const char *text,
                                  int base, unsigned long low, unsigned long high)
{
    uint64_t n = 0;

    if (number_parse(text, base, high, &n) < 0 || n < low)
        argp_error(state, base == 8 ? "%s=%s: octal, %lo to %lo" : "%s=%s: %lu to %lu", option,
                   text, low, high);
    return n;
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct nbd_driver *nbd = state->input;

    switch (key) {
    case OPTION_MODE:
        nbd->mode = (mode_t)parse_number(state, "--mode", argument, 8, 0, 0666);
        return 0;
    case OPTION_TIMEOUT:
        nbd->patience_s =
            (unsigned)parse_number(state, "--timeout", argument, 10, 1, PATIENCE_S_MAX);
        return 0;
    case OPTION_READ_ONLY:
        nbd->read_only = true;
        return 0;
    case ARGP_KEY_ARG:
        if (nbd->uri)
            argp_error(state, "one URI only");
        nbd->uri = argument;
        return 0;
    case ARGP_KEY_END:
        if (!nbd->uri)
            argp_error(state, "no URI");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int main(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"mode", OPTION_MODE, "MODE", 0, "Who may open the disk, in octal; 0600", 1},
        {"timeout", OPTION_TIMEOUT, "SECONDS", 0,
         "How long a page is waited for when the server is away; 8", 1},
        {"read-only", OPTION_READ_ONLY, NULL, 0, "Serve the disk read-only", 1},
        {0},
    };
    static const struct argp argp = {
        .options = options,
        .parser = parse_option,
        .args_doc = "URI",
        .doc = "Serve an export of an NBD server as nbd/NAME.",
    };
    static const struct muse_driver_ops ops = {
        MUSE_DRIVER_OPS,        .name = "nbd",
        .version = "0.1.0",     .argp = &argp,
        .start = nbd_start,     .stop = nbd_stop,
        .open = nbd_open,       .getattr = nbd_getattr,
        .fault = nbd_fault,     .writeback = nbd_writeback,
        .fsync = nbd_fsync,     .getattr_path = nbd_getattr_path,
        .readdir = nbd_readdir,
    };
    struct nbd_driver nbd = {.mode = 0600, .patience_s = PATIENCE_S};

    return muse_driver_main(argc, argv, &ops, &nbd);
}
