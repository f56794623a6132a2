/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Walks a path of the image folder by folder, because the reader of images knows no permissions and
 * names no symbolic link on the way. Owns nothing. Follows no link: an image is served, not the
 * tree it was mounted in, so where a link leads is the client's business; it is told.
 */
#include "drivers/cramfs/access.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "drivers/common/permission.h"

#define TEXT_BYTES 160 /* of a link's target in a text; chosen */

static bool is_allowed(const struct muse_open_args *args, const struct cramfs_inode *inode,
                       unsigned int wanted)
{
    const struct muse_attr attr = {.mode = inode->mode, .uid = inode->uid, .gid = inode->gid};

    return permission_allows(args, &attr, wanted);
}

/* Targets come from the image: no bytes that would do things to a terminal or a log. */
static int refuse_link(struct cramfs *fs, const struct cramfs_inode *inode, const char *path,
                       size_t n_path)
{
    char target[CRAMFS_BLOCK_SIZE];
    struct cramfs_error err;

    if (cramfs_readlink(fs, inode, target, &err) < 0) {
        muse_set_error("%.*s is a symbolic link, and its target cannot be read: %s", (int)n_path,
                       path, err.text);
        return -ELOOP;
    }
    for (char *p = target; *p; p++) {
        if (*p < ' ' || *p == 0x7f)
            *p = '?';
    }
    muse_set_error("%.*s is a symbolic link to %.*s; links of the image are not followed",
                   (int)n_path, path, TEXT_BYTES, target);
    return -ELOOP;
}

static int lookup(struct cramfs *fs, const char *image, const char *path,
                  struct cramfs_inode *ret_inode)
{
    struct cramfs_error err;
    int r = cramfs_lookup(fs, path, ret_inode, &err);

    if (r < 0 && r != -ENOENT && r != -ENOTDIR && r != -ENAMETOOLONG) {
        muse_set_error("image %s, inode %llu, byte %llu: %s", image, (unsigned long long)err.inode,
                       (unsigned long long)err.offset, err.text);
    }
    return r;
}

/* Every folder on the way, the root first: is one, and may be searched. */
static int check_folders(struct cramfs *fs, const char *image, const struct muse_open_args *args)
{
    char path[CRAMFS_PATH_MAX];
    struct cramfs_inode inode;
    const size_t n_path = strlen(args->path);
    size_t end = 0;
    int r;

    if (n_path >= sizeof(path))
        return -ENAMETOOLONG;
    memcpy(path, args->path, n_path + 1);
    while (end < n_path) {
        const char cut = path[end];

        path[end] = '\0';
        r = lookup(fs, image, path, &inode);
        path[end] = cut;
        if (r < 0)
            return r;
        if (S_ISLNK(inode.mode))
            return refuse_link(fs, &inode, path, end);
        if (!S_ISDIR(inode.mode))
            return -ENOTDIR;
        if (!is_allowed(args, &inode, PERMISSION_EXEC))
            return -EACCES;
        end += strspn(path + end, "/");
        end += strcspn(path + end, "/");
    }
    return 0;
}

static int check_kind(struct cramfs *fs, const struct muse_open_args *args,
                      const struct cramfs_inode *inode)
{
    if (S_ISLNK(inode->mode))
        return refuse_link(fs, inode, args->path, strlen(args->path));
    if (S_ISDIR(inode->mode))
        return -EISDIR;
    if (S_ISREG(inode->mode))
        return 0;
    muse_set_error("%s is no regular file", args->path);
    return -ENODEV;
}

/* The order of open(2) on a file system that is mounted read-only. */
static int check_oflags(const struct muse_open_args *args, bool exists)
{
    const int writing = O_WRONLY | O_RDWR | O_TRUNC;

    if (exists && (args->oflags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL))
        return -EEXIST;
    if (exists ? !(args->oflags & writing) : !(args->oflags & O_CREAT))
        return exists ? 0 : -ENOENT;
    muse_set_error("a cramfs image is read-only");
    return -EROFS;
}

int access_open(struct cramfs *fs, const char *image, const struct muse_open_args *args,
                struct cramfs_inode *ret_inode)
{
    struct cramfs_inode inode;
    int r = check_folders(fs, image, args);

    if (r < 0)
        return r;
    r = lookup(fs, image, args->path, &inode);
    if (r == -ENOENT)
        return check_oflags(args, false);
    if (r == 0)
        r = check_kind(fs, args, &inode);
    if (r == 0)
        r = check_oflags(args, true);
    if (r == 0 && !is_allowed(args, &inode, PERMISSION_READ))
        r = -EACCES;
    if (r < 0)
        return r;
    *ret_inode = inode;
    return 0;
}

int access_find(struct cramfs *fs, const char *image, const struct muse_open_args *args,
                struct cramfs_inode *ret_inode)
{
    struct cramfs_inode inode = {0};
    int r = check_folders(fs, image, args);

    if (r == 0)
        r = lookup(fs, image, args->path, &inode);
    if (r < 0)
        return r;
    if (S_ISLNK(inode.mode) && !(args->oflags & O_NOFOLLOW))
        return refuse_link(fs, &inode, args->path, strlen(args->path));
    *ret_inode = inode;
    return 0;
}

bool access_may_list(const struct muse_open_args *args, const struct cramfs_inode *inode)
{
    return is_allowed(args, inode, PERMISSION_READ);
}

bool access_image_is_public(const char *path, mode_t mode)
{
    CLEAN(free_p) char *real = realpath(path, NULL);
    struct stat st;
    char *slash;

    if (!real || !(mode & S_IROTH))
        return false;
    while ((slash = strrchr(real, '/')) != NULL) {
        *slash = '\0';
        if (stat(slash == real ? "/" : real, &st) < 0 || !(st.st_mode & S_IXOTH))
            return false;
    }
    return true;
}
