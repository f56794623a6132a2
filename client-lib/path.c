/* SPDX-License-Identifier: BSD-3-Clause */
/* Names rather than open files: muse_stat, muse_lstat, muse_readdir, muse_readlink, muse_unlink,
 * muse_rename. Each is one question. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "client-lib/call.h"
#include "client-lib/error.h"
#include "client-lib/file.h"
#include "proto/limits.h"
#include "proto/path.pb-c.h"

struct path_args {
    const char *name;
    const char *name2; /* NULL: none */
    unsigned flags;
    uint64_t cursor;
};

static int check_name(const char *name)
{
    if (!name)
        return -EFAULT;
    return strnlen(name, NAME_BYTES_MAX + 1) > NAME_BYTES_MAX ? -ENAMETOOLONG : 0;
}

/* @answer_type: of the good answer   @ret_answer: as call_ask() */
static int ask_path(struct muse *muse, enum frame_type type, const struct path_args *args,
                    enum frame_type answer_type, struct mail **ret_answer)
{
    Muse__Wire__PathAsk message = MUSE__WIRE__PATH_ASK__INIT;
    const struct question question = {
        .type = type, .message = &message.base, .fd = -1, .answer = answer_type};
    int r = handle_check(muse);

    if (r == 0)
        r = check_name(args->name);
    if (r == 0 && args->name2)
        r = check_name(args->name2);
    if (r < 0)
        return r;
    /* only read, but the generated struct says otherwise */
    message.name = address_pointer((uintptr_t)args->name);
    message.name2 = address_pointer((uintptr_t)args->name2);
    message.has_flags = message.has_cursor = true;
    message.flags = args->flags;
    message.cursor = args->cursor;
    return call_ask(muse, &question, ret_answer);
}

static int stat_name(struct muse *muse, const char *name, unsigned flags, struct stat *ret)
{
    const struct path_args args = {.name = name, .flags = flags};
    CLEAN(mail_free_p) struct mail *answer = NULL;
    int r;

    if (!ret)
        return -EFAULT;
    r = ask_path(muse, FRAME_STATAT, &args, FRAME_STAT, &answer);
    return r < 0 ? r : file_take_stat(muse, answer, PAGE_BYTES, ret);
}

int muse_stat(struct muse *muse, const char *name, struct stat *ret)
{
    error_clear();
    return error_return("muse_stat", stat_name(muse, name, 0, ret));
}

int muse_lstat(struct muse *muse, const char *name, struct stat *ret)
{
    error_clear();
    return error_return("muse_lstat", stat_name(muse, name, AT_SYMLINK_NOFOLLOW, ret));
}

static void take_entry(const Muse__Wire__DirEntry *entry, struct muse_dirent *ret)
{
    *ret = (struct muse_dirent){
        .inode = entry->inode, .type = IFTODT(entry->mode), .next = entry->next};
    strncat(ret->name, entry->name, sizeof(ret->name) - 1);
}

static int read_folder(struct muse *muse, const char *name, uint64_t cursor,
                       struct muse_dirent *ret, size_t n, size_t *ret_n)
{
    const struct path_args args = {.name = name, .cursor = cursor};
    CLEAN(mail_free_p) struct mail *answer = NULL;
    Muse__Wire__DirEntries *entries;
    int r;

    if (!ret && n > 0)
        return -EFAULT;
    if (n == 0)
        return -EINVAL;
    r = ask_path(muse, FRAME_READDIR, &args, FRAME_DIR_ENTRIES, &answer);
    if (r < 0)
        return r;
    entries = muse__wire__dir_entries__unpack(NULL, answer->n_payload, answer->payload);
    if (!entries) {
        call_garbled(muse);
        return -EPROTO;
    }
    *ret_n = entries->n_entries < n ? entries->n_entries : n;
    for (size_t i = 0; i < *ret_n; i++)
        take_entry(entries->entries[i], &ret[i]);
    muse__wire__dir_entries__free_unpacked(entries, NULL);
    return 0;
}

ssize_t muse_readdir(struct muse *muse, const char *name, uint64_t cursor, struct muse_dirent *ret,
                     size_t n)
{
    size_t n_got = 0;
    int r;

    error_clear();
    r = error_return("muse_readdir", read_folder(muse, name, cursor, ret, n, &n_got));
    return r < 0 ? r : (ssize_t)n_got;
}

static int read_link(struct muse *muse, const char *name, char *buf, size_t size, size_t *ret_n)
{
    const struct path_args args = {.name = name};
    CLEAN(mail_free_p) struct mail *answer = NULL;
    Muse__Wire__LinkTarget *link;
    int r;

    if (!buf)
        return -EFAULT;
    if (size == 0)
        return -EINVAL;
    r = ask_path(muse, FRAME_READLINK, &args, FRAME_LINK_TARGET, &answer);
    if (r < 0)
        return r;
    link = muse__wire__link_target__unpack(NULL, answer->n_payload, answer->payload);
    if (!link) {
        call_garbled(muse);
        return -EPROTO;
    }
    *ret_n = strnlen(link->target, size);
    memcpy(buf, link->target, *ret_n);
    muse__wire__link_target__free_unpacked(link, NULL);
    return 0;
}

ssize_t muse_readlink(struct muse *muse, const char *name, char *buf, size_t size)
{
    size_t n_got = 0;
    int r;

    error_clear();
    r = error_return("muse_readlink", read_link(muse, name, buf, size, &n_got));
    return r < 0 ? r : (ssize_t)n_got;
}

int muse_unlink(struct muse *muse, const char *name, int flags)
{
    const struct path_args args = {.name = name, .flags = (unsigned)flags};

    error_clear();
    return error_return("muse_unlink", ask_path(muse, FRAME_UNLINK, &args, FRAME_DONE, NULL));
}

int muse_rename(struct muse *muse, const char *from, const char *to, unsigned flags)
{
    const struct path_args args = {.name = from, .name2 = to ? to : "", .flags = flags};

    error_clear();
    return error_return("muse_rename",
                        to ? ask_path(muse, FRAME_RENAME, &args, FRAME_DONE, NULL) : -EFAULT);
}

int muse_mkdir(struct muse *muse, const char *name, mode_t mode)
{
    const struct path_args args = {.name = name, .flags = (unsigned)mode};

    error_clear();
    return error_return("muse_mkdir", ask_path(muse, FRAME_MKDIR, &args, FRAME_DONE, NULL));
}
