/* SPDX-License-Identifier: BSD-3-Clause */
/* Decides; asks for the time and the umask. */
#include "drivers/common/made.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

int made_check_name(const char *driver, const char *name)
{
    if (strlen(name) > MADE_NAME_MAX)
        return -ENAMETOOLONG;
    if (name[0] == '\0' || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        muse_set_error("%s/%s: names are one word, without '/'", driver, name);
        return -EINVAL;
    }
    return 0;
}

/* The library asks for 0666; as of files that this process makes, its umask is taken off. */
struct muse_attr made_attr(uint64_t key, const struct muse_open_args *args)
{
    const mode_t mask = umask(077);

    (void)umask(mask);
    return (struct muse_attr){.mode = S_IFREG | (args->mode & 0777 & ~mask),
                              .inode = key,
                              .uid = args->uid,
                              .gid = args->gid,
                              .mtime_ns = made_now_ns(),
                              .nlink = 1};
}

int64_t made_now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}
