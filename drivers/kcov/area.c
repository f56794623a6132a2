/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The memory is a sealed memory file that nobody can open by /proc but its owner, the driver: who got
 * it for reading cannot write to it, and who got it for writing cannot shrink it.
 */
#include "drivers/kcov/area.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/own.h"

static int refuse(int error, const char *why, const char **ret_why)
{
    *ret_why = why;
    return error;
}

static void kcov_free(struct kcovs *kcovs, struct kcov *kcov)
{
    list_del(&kcov->node);
    kcovs->n_all--;
    kcovs->n_bytes -= kcov->n_bytes;
    fd_close_p(&kcov->fd);
    fd_close_p(&kcov->fd_ro);
    free(kcov);
}

void kcovs_init(struct kcovs *kcovs, uint64_t n_all_max, uint64_t n_bytes_max)
{
    *kcovs = (struct kcovs){.n_all_max = n_all_max, .n_bytes_max = n_bytes_max, .next_key = 2};
    list_init(&kcovs->all);
}

void kcovs_done(struct kcovs *kcovs)
{
    struct list *first;

    while ((first = list_first(&kcovs->all)) != NULL)
        kcov_free(kcovs, CONTAINER_OF(first, struct kcov, node));
}

bool kcov_name_is_legal(const char *name)
{
    const size_t length = strlen(name);

    if (length == 0 || length >= KCOV_NAME_MAX || name[0] == '.')
        return false;
    for (size_t i = 0; i < length; i++)
        if (!isalnum((unsigned char)name[i]) && !strchr("_-.", name[i]))
            return false;
    return true;
}

struct kcov *kcovs_find(const struct kcovs *kcovs, const char *name)
{
    struct list *pos;

    list_for_each(pos, &kcovs->all) {
        struct kcov *kcov = CONTAINER_OF(pos, struct kcov, node);

        if (strcmp(kcov->name, name) == 0)
            return kcov;
    }
    return NULL;
}

int kcovs_new(struct kcovs *kcovs, const char *name, uid_t uid, gid_t gid, struct kcov **ret_kcov)
{
    struct kcov *kcov;

    if (kcovs->n_all >= kcovs->n_all_max)
        return -ENFILE;
    kcov = calloc(1, sizeof(*kcov));
    if (!kcov)
        return -ENOMEM;
    (void)snprintf(kcov->name, sizeof(kcov->name), "%s", name);
    kcov->key = kcovs->next_key++;
    kcov->uid = uid;
    kcov->gid = gid;
    kcov->fd = kcov->fd_ro = -1;
    kcov->n_refs = 1;
    list_add_tail(&kcovs->all, &kcov->node);
    kcovs->n_all++;
    *ret_kcov = kcov;
    return 0;
}

void kcov_ref(struct kcov *kcov)
{
    kcov->n_refs++;
}

void kcov_unref(struct kcovs *kcovs, struct kcov *kcov)
{
    if (--kcov->n_refs == 0)
        kcov_free(kcovs, kcov);
}

/* Both fds, or none. */
static int make_memory(struct kcov *kcov, uint64_t n_bytes)
{
    CLEAN(fd_close_p) int fd = memfd_create(kcov->name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    CLEAN(fd_close_p) int fd_ro = -1;
    char path[64];

    if (fd < 0)
        return -errno;
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    fd_ro = open(path, O_RDONLY | O_CLOEXEC);
    if (fd_ro < 0 || fchmod(fd, 0600) < 0 || ftruncate(fd, (off_t)n_bytes) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        return -errno;
    kcov->fd = fd_take(&fd);
    kcov->fd_ro = fd_take(&fd_ro);
    return 0;
}

int kcov_init(struct kcovs *kcovs, struct kcov *kcov, uint64_t n_bytes, const char **ret_why)
{
    const uint64_t n_words = n_bytes / KCOV_WORD_BYTES;
    int r;

    if (n_bytes % KCOV_WORD_BYTES != 0)
        return refuse(-EINVAL, "the size is no multiple of 8", ret_why);
    if (n_words < KCOV_WORDS_MIN)
        return refuse(-EINVAL, "no room for the count and one PC", ret_why);
    if (n_words > KCOV_WORDS_MAX)
        return refuse(-EINVAL, "no buffer can be that large", ret_why);
    if (n_bytes > kcovs->n_bytes_max - kcovs->n_bytes)
        return refuse(-ENOMEM, "all buffers together would have more than --memory", ret_why);
    if (kcov->n_bytes != 0)
        return refuse(-EBUSY, "its size was set already", ret_why);
    r = make_memory(kcov, n_bytes);
    if (r < 0)
        return refuse(r, "no memory can be had", ret_why);
    kcov->n_bytes = n_bytes;
    kcovs->n_bytes += n_bytes;
    return 0;
}

int kcov_check_mmap(const struct kcov *kcov, uint64_t pgoff, uint64_t n_bytes, const char **ret_why)
{
    if (kcov->n_bytes == 0)
        return refuse(-EINVAL, "it has no size yet: muse_ftruncate() comes first", ret_why);
    if (pgoff != 0)
        return refuse(-EINVAL, "it is mapped from its beginning only", ret_why);
    if (n_bytes != kcov->n_bytes)
        return refuse(-EINVAL, "it is mapped with exactly its size only", ret_why);
    return 0;
}
