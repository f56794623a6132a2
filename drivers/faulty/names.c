/* SPDX-License-Identifier: BSD-3-Clause */
/* The hooks about names of muse-faulty: as open's keys say, they fail, wait for ever, or lie. Main
 * thread only. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "drivers/faulty/faulty.h"

/* Return: 0 go on; 1 the answer was put off; -errno. */
static int obey(struct faulty *faulty, const char *path, const char *hook,
                struct behaviour *ret_behaviour)
{
    int r = behaviour_parse(path, ret_behaviour);

    if (r < 0)
        return r;
    faulty_maybe_die(ret_behaviour, hook);
    if (ret_behaviour->open_never) {
        delay_reply(&faulty->delays, UINT64_MAX, -EINTR);
        return 1;
    }
    return -(int)ret_behaviour->open_errno;
}

int faulty_getattr_path(void *user, const struct muse_open_args *args, struct muse_attr *ret_attr)
{
    struct behaviour behaviour;
    int r;

    if (args->path[0] == '\0') {
        *ret_attr = (struct muse_attr){.mode = S_IFDIR | 0755, .nlink = 2};
        return 0;
    }
    r = obey(user, args->path, "getattr_path", &behaviour);
    if (r != 0)
        return r < 0 ? r : 0;
    *ret_attr =
        (struct muse_attr){.size = behaviour.size, .mode = S_IFREG | 0666, .inode = 1, .nlink = 1};
    return -(int)behaviour.getattr_errno;
}

int faulty_readdir(void *user, const struct muse_open_args *args, uint64_t cursor,
                   struct muse_dir *dir)
{
    struct behaviour behaviour;
    int r;

    if (args->path[0] == '\0') {
        if (cursor == 0)
            (void)muse_dir_add(dir, "counters", S_IFREG, 1, 1); /* one always fits */
        return 0;
    }
    r = obey(user, args->path, "readdir", &behaviour);
    if (r != 0)
        return r < 0 ? r : 0;
    if (!is_word(behaviour.lie, "entry-name"))
        return -ENOTDIR;
    (void)muse_dir_add(dir, "a/b", S_IFREG, 1, 1);
    return 0;
}

int faulty_readlink(void *user, const struct muse_open_args *args, char *ret_target, size_t size)
{
    struct behaviour behaviour;
    int r = args->path[0] == '\0' ? -EINVAL : obey(user, args->path, "readlink", &behaviour);

    if (r != 0)
        return r < 0 ? r : 0;
    if (!is_word(behaviour.lie, "empty-link"))
        return -EINVAL;
    (void)snprintf(ret_target, size, "%s", "");
    return 0;
}

/* Nothing is changed: what counts is who was asked, and how often. */
int faulty_setattr_path(void *user, const struct muse_open_args *args,
                        struct muse_driver_file *file, struct muse_attr_change *change)
{
    struct faulty *faulty = user;
    struct behaviour behaviour;
    int r;

    (void)file;
    atomic_fetch_add(&faulty->n.setattr, 1);
    if (args->path[0] == '\0')
        return -EPERM;
    r = obey(faulty, args->path, "setattr", &behaviour);
    if (r != 0)
        return r < 0 ? r : 0;
    if (lie_in_setattr(faulty, &behaviour, &r))
        return r;
    change->has_object = behaviour.key != 0;
    change->object_key = behaviour.key;
    return -(int)behaviour.setattr_errno;
}
