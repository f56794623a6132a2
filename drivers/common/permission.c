/* SPDX-License-Identifier: BSD-3-Clause */
/* Decides; asks the system's database for groups only where they matter. */
#include "drivers/common/permission.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#define CLIENT_GROUPS_MAX 256  /* chosen; more are ignored, which refuses and never allows */
#define PASSWD_BYTES      4096 /* chosen; a longer entry counts as none */

bool permission_is_own(const struct muse_open_args *args)
{
    return args->uid == 0 || args->uid == geteuid();
}

static bool is_in_group(const struct muse_open_args *args, gid_t gid)
{
    gid_t groups[CLIENT_GROUPS_MAX];
    int n_groups = CLIENT_GROUPS_MAX;
    struct passwd *found = NULL;
    char buf[PASSWD_BYTES];
    struct passwd passwd;

    if (args->gid == gid)
        return true;
    if (getpwuid_r(args->uid, &passwd, buf, sizeof(buf), &found) != 0 || !found)
        return false;
    if (getgrouplist(found->pw_name, args->gid, groups, &n_groups) < 0)
        n_groups = CLIENT_GROUPS_MAX;
    for (int i = 0; i < n_groups; i++) {
        if (groups[i] == gid)
            return true;
    }
    return false;
}

bool permission_allows(const struct muse_open_args *args, const struct muse_attr *attr,
                       unsigned wanted)
{
    const bool class_matters = ((attr->mode >> 3) & 7) != (attr->mode & 7);
    unsigned shift = 0;

    if (args->uid == 0)
        return true;
    if (args->uid == attr->uid)
        shift = 6;
    else if (class_matters && is_in_group(args, attr->gid))
        shift = 3;
    return (attr->mode >> shift & wanted) == wanted;
}

static bool is_owner(const struct muse_open_args *args, const struct muse_attr *attr)
{
    return args->uid == 0 || args->uid == attr->uid;
}

static bool may_set_gid(const struct muse_open_args *args, gid_t gid)
{
    return args->uid == 0 || is_in_group(args, gid);
}

/* Does set-gid go with a new owner? Without execution it is but a mark, which the group may keep. */
static bool drops_gid(const struct muse_open_args *args, const struct muse_attr *attr)
{
    return (attr->mode & S_ISGID) && ((attr->mode & S_IXGRP) || !may_set_gid(args, attr->gid));
}

/* Of -1 chown(2) changes nothing but these bits. Source: chown_ok() and chgrp_ok() */
static bool may_own(const struct muse_open_args *args, const struct muse_attr *attr,
                    const struct muse_attr_change *change)
{
    const bool has_uid = (change->mask & MUSE_SETATTR_UID) && change->uid != (uid_t)-1;
    const bool has_gid = (change->mask & MUSE_SETATTR_GID) && change->gid != (gid_t)-1;

    if (is_owner(args, attr) && !has_uid && !has_gid)
        return true;
    if (args->uid == 0 || !(change->mask & (MUSE_SETATTR_UID | MUSE_SETATTR_GID)))
        return true;
    if (!has_uid && !has_gid)
        return !(attr->mode & S_ISUID) && !drops_gid(args, attr);
    if (args->uid != attr->uid || (has_uid && change->uid != attr->uid))
        return false;
    return !has_gid || change->gid == attr->gid || is_in_group(args, change->gid);
}

int permission_check_change(const struct muse_open_args *args, const struct muse_attr *attr,
                            const struct muse_attr_change *change)
{
    const unsigned now = MUSE_SETATTR_ATIME_NOW | MUSE_SETATTR_MTIME_NOW;
    const unsigned times = now | MUSE_SETATTR_ATIME | MUSE_SETATTR_MTIME;

    if (!may_own(args, attr, change))
        return -EPERM;
    if (is_owner(args, attr))
        return 0;
    if (change->mask & MUSE_SETATTR_MODE)
        return -EPERM;
    if ((change->mask & times) == now)
        return permission_allows(args, attr, PERMISSION_WRITE) ? 0 : -EACCES;
    return change->mask & times ? -EPERM : 0;
}

void permission_change(const struct muse_open_args *args, const struct muse_attr_change *change,
                       int64_t now_ns, struct muse_attr *attr)
{
    const unsigned own = MUSE_SETATTR_UID | MUSE_SETATTR_GID;

    if (change->mask & own) {
        if (drops_gid(args, attr))
            attr->mode &= ~(mode_t)S_ISGID;
        attr->mode &= ~(mode_t)S_ISUID;
    }
    if ((change->mask & MUSE_SETATTR_UID) && change->uid != (uid_t)-1)
        attr->uid = change->uid;
    if ((change->mask & MUSE_SETATTR_GID) && change->gid != (gid_t)-1)
        attr->gid = change->gid;
    if (change->mask & MUSE_SETATTR_MODE) {
        attr->mode = (attr->mode & S_IFMT) | (change->mode & 07777u);
        if (!may_set_gid(args, attr->gid))
            attr->mode &= ~(mode_t)S_ISGID;
    }
    if (change->mask & MUSE_SETATTR_MTIME)
        attr->mtime_ns = change->mtime_ns;
    if (change->mask & MUSE_SETATTR_MTIME_NOW)
        attr->mtime_ns = now_ns;
}

unsigned permission_of_open(int oflags)
{
    return (oflags & O_ACCMODE) == O_RDONLY ? PERMISSION_READ : PERMISSION_READ | PERMISSION_WRITE;
}
