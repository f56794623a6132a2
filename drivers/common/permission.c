/* SPDX-License-Identifier: BSD-3-Clause */
/* Decides; asks the system's database for groups only where they matter. */
#include "drivers/common/permission.h"

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

unsigned permission_of_open(int oflags)
{
    return (oflags & O_ACCMODE) == O_RDONLY ? PERMISSION_READ : PERMISSION_READ | PERMISSION_WRITE;
}
