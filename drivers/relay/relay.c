/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * muse-relay: channels of buffers that producers write records to, one for each CPU, as the relay
 * interface of Linux has them; the hooks are those of its relay_mmap_buf().
 *
 *     relay/CHANNEL/cpuN        the buffer; mapped as a whole or not at all
 *     relay/CHANNEL/cpuN.ctl    its control page (ring.h)
 *
 * Both are memory files that clients map directly: this driver is not asked while records are written
 * and read. It counts who could write to a buffer, and gives up records that a dead one has left.
 */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <muse/driver.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/number.h"
#include "common/base/own.h"
#include "drivers/common/permission.h"
#include "drivers/relay/channel.h"

#define CHANNELS_MAX      64u /* chosen */
#define SUBBUF_DEFAULT    (256u << 10)
#define N_SUBBUFS_DEFAULT 8u
#define MODE_DEFAULT      0600u
#define FOLDER_MODE       (S_IFDIR | 0555)
#define SHARED_MAY_WRITE  (MUSE_VM_SHARED | MUSE_VM_MAYWRITE)

enum {
    OPTION_CHANNEL = 0x2001,
    OPTION_CPUS,
    OPTION_SUBBUF,
    OPTION_N_SUBBUFS,
    OPTION_OVERWRITE,
    OPTION_MODE
};

struct relay_driver {
    struct relay_geometry geometry;
    mode_t mode; /* permission bits of buffers */
    uint64_t next_key;
    const char *names[CHANNELS_MAX]; /* borrowed from argv */
    size_t n_names;
    struct relay_channel *channels[CHANNELS_MAX]; /* owned; NULL: was closed */
};

/* What private_data of an open file is. */
struct open_file {
    struct relay_buffer *buffer; /* shared: ref */
    bool is_ctl;
};

/* ---- start and stop ---- */

static int relay_start(struct muse_driver *muse, void *user)
{
    struct relay_driver *driver = user;

    (void)muse;
    for (size_t i = 0; i < driver->n_names; i++) {
        int r = relay_channel_new(driver->names[i], &driver->geometry, &driver->next_key,
                                  &driver->channels[i]);

        if (r < 0) {
            muse_set_error("channel %s: its buffers cannot be made: %s", driver->names[i],
                           strerror(-r));
            return r;
        }
    }
    return 0;
}

/* ---- names ---- */

static struct relay_channel **find_channel(struct relay_driver *driver, const char *name)
{
    for (size_t i = 0; i < driver->n_names; i++)
        if (driver->channels[i] && strcmp(driver->channels[i]->name, name) == 0)
            return &driver->channels[i];
    return NULL;
}

/* What a name names; the root has no channel. Return: 0; -ENOENT, -ENOTDIR. */
static int find(struct relay_driver *driver, const char *path, struct relay_name *ret_name,
                struct relay_channel **ret_channel)
{
    struct relay_channel **channel;
    int r = relay_name_parse(path, ret_name);

    if (r < 0 || ret_name->kind == RELAY_NAME_ROOT)
        return r;
    channel = find_channel(driver, ret_name->channel);
    if (!channel)
        return -ENOENT;
    if (ret_name->kind != RELAY_NAME_CHANNEL && ret_name->cpu >= (*channel)->n_buffers)
        return -ENOENT;
    *ret_channel = *channel;
    return 0;
}

static struct muse_attr attr_of(const struct relay_driver *driver, const struct relay_file *file)
{
    return (struct muse_attr){.size = file->n_bytes,
                              .mode = S_IFREG | driver->mode,
                              .inode = file->key,
                              .uid = geteuid(),
                              .gid = getegid(),
                              .nlink = 1};
}

static const struct relay_file *file_named(const struct relay_channel *channel,
                                           const struct relay_name *name)
{
    const struct relay_buffer *buffer = channel->buffers[name->cpu];

    return name->kind == RELAY_NAME_CTL ? &buffer->ctl : &buffer->data;
}

static int relay_getattr_path(void *user, const struct muse_open_args *args, struct muse_attr *ret)
{
    struct relay_driver *driver = user;
    struct relay_channel *channel = NULL;
    struct relay_name name;
    int r = find(driver, args->path, &name, &channel);

    if (r < 0)
        return r;
    if (name.kind == RELAY_NAME_ROOT)
        *ret = (struct muse_attr){.mode = FOLDER_MODE, .nlink = 2};
    else if (name.kind == RELAY_NAME_CHANNEL)
        *ret = (struct muse_attr){.mode = FOLDER_MODE, .inode = channel->inode, .nlink = 2};
    else
        *ret = attr_of(driver, file_named(channel, &name));
    return 0;
}

static void list_channels(const struct relay_driver *driver, uint64_t cursor, struct muse_dir *dir)
{
    for (uint64_t i = cursor; i < driver->n_names; i++) {
        const struct relay_channel *channel = driver->channels[i];

        if (channel && !muse_dir_add(dir, channel->name, S_IFDIR, channel->inode, i + 1))
            return;
    }
}

/* Two names for each buffer. */
static void list_buffers(const struct relay_channel *channel, uint64_t cursor, struct muse_dir *dir)
{
    for (uint64_t i = cursor; i < (uint64_t)channel->n_buffers * 2; i++) {
        const struct relay_buffer *buffer = channel->buffers[i / 2];
        const bool is_ctl = i % 2 == 1;
        char name[32];

        (void)snprintf(name, sizeof(name), "cpu%llu%s", (unsigned long long)i / 2,
                       is_ctl ? ".ctl" : "");
        if (!muse_dir_add(dir, name, S_IFREG, is_ctl ? buffer->ctl.key : buffer->data.key, i + 1))
            return;
    }
}

static int relay_readdir(void *user, const struct muse_open_args *args, uint64_t cursor,
                         struct muse_dir *dir)
{
    struct relay_driver *driver = user;
    struct relay_channel *channel = NULL;
    struct relay_name name;
    int r = find(driver, args->path, &name, &channel);

    if (r < 0)
        return r;
    if (name.kind == RELAY_NAME_ROOT)
        list_channels(driver, cursor, dir);
    else if (name.kind == RELAY_NAME_CHANNEL)
        list_buffers(channel, cursor, dir);
    else
        return -ENOTDIR;
    return 0;
}

/* As relay_close(): the buffers are gone for who has them open, and stay for who has them mapped. */
static int relay_unlink(void *user, const struct muse_open_args *args, int flags)
{
    struct relay_driver *driver = user;
    struct relay_channel *channel = NULL;
    struct relay_channel **entry;
    struct relay_name name;
    int r = find(driver, args->path, &name, &channel);

    if (r < 0)
        return r;
    if (name.kind != RELAY_NAME_CHANNEL || !(flags & AT_REMOVEDIR)) {
        muse_set_error("relay/%s: only a channel can be removed, as a folder: it is closed then",
                       args->path);
        return -EPERM;
    }
    if (!permission_is_own(args)) {
        muse_set_error("relay/%s: a channel is closed by the user of its driver", args->path);
        return -EACCES;
    }
    entry = find_channel(driver, name.channel);
    *entry = relay_channel_free(*entry);
    return 0;
}

/* ---- open and release ---- */

static int check_permission(const struct relay_driver *driver, const struct muse_open_args *args)
{
    const struct muse_attr attr = {.mode = driver->mode, .uid = geteuid(), .gid = getegid()};

    if (permission_allows(args, &attr, permission_of_open(args->oflags)))
        return 0;
    muse_set_error("relay/%s: mode %04o refuses user %u", args->path, (unsigned)driver->mode,
                   (unsigned)args->uid);
    return -EACCES;
}

static int check_open(const struct relay_driver *driver, const struct muse_open_args *args,
                      const struct relay_name *name, const struct relay_channel *channel)
{
    if (!channel || name->kind == RELAY_NAME_CHANNEL)
        return -EISDIR;
    if ((args->oflags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL))
        return -EEXIST;
    return check_permission(driver, args);
}

static int relay_open(void *user, const struct muse_open_args *args, struct muse_open_result *ret)
{
    struct relay_driver *driver = user;
    CLEAN(free_p) struct open_file *file = NULL;
    struct relay_channel *channel = NULL;
    struct relay_name name;
    int r = find(driver, args->path, &name, &channel);

    if (r < 0)
        return r;
    r = check_open(driver, args, &name, channel);
    if (r < 0)
        return r;
    file = calloc(1, sizeof(*file));
    if (!file)
        return -ENOMEM;
    file->buffer = relay_buffer_ref(channel->buffers[name.cpu]);
    file->is_ctl = name.kind == RELAY_NAME_CTL;
    ret->attr = attr_of(driver, file_named(channel, &name));
    ret->object_key = ret->attr.inode;
    ret->file_private = TAKE(file);
    return 0;
}

static void relay_release(void *user, struct muse_driver_file *file)
{
    struct open_file *open_file = file->private_data;

    (void)user;
    relay_buffer_unref(open_file->buffer);
    free(open_file);
}

/* ---- mapping ---- */

static bool may_write(uint64_t vm_flags)
{
    return (vm_flags & SHARED_MAY_WRITE) == SHARED_MAY_WRITE;
}

/* Of buffers only: whoever has the control page alone cannot begin a record. */
static void buffer_vm_open(struct muse_vma *vma)
{
    const struct open_file *file = vma->file->private_data;

    if (may_write(vma->vm_flags))
        file->buffer->n_writers++;
}

static void buffer_vm_close(struct muse_vma *vma)
{
    const struct open_file *file = vma->file->private_data;

    if (may_write(vma->vm_flags) && --file->buffer->n_writers == 0)
        (void)!relay_buffer_repair(file->buffer); /* what cannot be mapped here is left as it is */
}

static const struct muse_vm_ops buffer_vm_ops = {
    .name = "buffer",
    .open = buffer_vm_open,
    .close = buffer_vm_close,
};

static const struct muse_vm_ops *const all_vm_ops[] = {&buffer_vm_ops, NULL};

/* relay_mmap_buf() of Linux; the offset is not looked at there either. */
static int check_mapping(const struct open_file *file, const struct relay_file *what,
                         const struct muse_vma_desc *desc)
{
    if (file->buffer->is_gone) {
        muse_set_error("the channel was closed, its buffers are gone");
        return -EBADF;
    }
    if (muse_vma_desc_size(desc) != what->n_bytes) {
        muse_set_error("%llu bytes, but %s has %llu: it is mapped as a whole or not at all",
                       (unsigned long long)muse_vma_desc_size(desc),
                       file->is_ctl ? "a control page" : "the buffer",
                       (unsigned long long)what->n_bytes);
        return -EINVAL;
    }
    return 0;
}

/* Pages behind the end are those of a file that ends there: SIGBUS. */
static int relay_mmap_prepare(struct muse_vma_desc *desc)
{
    const struct open_file *file = desc->file->private_data;
    const struct relay_file *what = file->is_ctl ? &file->buffer->ctl : &file->buffer->data;
    int r = check_mapping(file, what, desc);

    if (r < 0)
        return r;
    desc->vm_flags |= MUSE_VM_DONTEXPAND;
    desc->private_data = file->buffer;
    desc->vm_ops = file->is_ctl ? NULL : &buffer_vm_ops;
    desc->action = (struct muse_action){.type = MUSE_ACTION_REMAP,
                                        .fd = may_write(desc->vm_flags) ? what->fd : what->fd_ro,
                                        .fd_offset = desc->pgoff * MUSE_PAGE_BYTES};
    return 0;
}

/* A close follows from here on, whatever happens: now it counts. */
static int relay_mmap_complete(struct muse_driver_file *file, struct muse_vma *vma,
                               const void *context)
{
    const struct open_file *open_file = file->private_data;

    (void)context;
    if (!open_file->is_ctl)
        buffer_vm_open(vma);
    return 0;
}

/* ---- options ---- */

static void parse_number(const char *text, struct argp_state *state, const char *what, int base,
                         uint64_t max, uint64_t *ret)
{
    if (number_parse(text, base, max, ret) < 0)
        argp_error(state, "--%s=%s: not a number up to %llu", what, text, (unsigned long long)max);
}

static void add_channel(struct relay_driver *driver, const char *name, struct argp_state *state)
{
    if (!relay_channel_name_is_legal(name))
        argp_error(state, "--channel=%s: " RELAY_CHANNEL_NAME_TEXT, name);
    for (size_t i = 0; i < driver->n_names; i++)
        if (strcmp(driver->names[i], name) == 0)
            argp_error(state, "--channel=%s: given twice", name);
    if (driver->n_names == CHANNELS_MAX)
        argp_error(state, "more than %u channels", CHANNELS_MAX);
    driver->names[driver->n_names++] = name;
}

static uint32_t machine_cpus(void)
{
    const long n_cpus = sysconf(_SC_NPROCESSORS_CONF);

    if (n_cpus < 1)
        return 1;
    return n_cpus > RELAY_CPUS_MAX ? RELAY_CPUS_MAX : (uint32_t)n_cpus;
}

/* After all options. */
static void check_options(struct relay_driver *driver, struct argp_state *state)
{
    const char *why;

    if (driver->n_names == 0)
        add_channel(driver, "trace", state);
    if (driver->geometry.n_cpus == 0)
        driver->geometry.n_cpus = machine_cpus();
    if (!relay_geometry_is_legal(driver->geometry.subbuf_bytes, driver->geometry.n_subbufs, &why))
        argp_error(state, "%s", why);
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct relay_driver *driver = state->input;
    uint64_t number;

    switch (key) {
    case OPTION_CHANNEL:
        add_channel(driver, argument, state);
        return 0;
    case OPTION_CPUS:
        parse_number(argument, state, "cpus", 10, RELAY_CPUS_MAX, &number);
        if (number == 0)
            argp_error(state, "--cpus=0: at least one");
        driver->geometry.n_cpus = (uint32_t)number;
        return 0;
    case OPTION_SUBBUF:
        if (size_parse(argument, &driver->geometry.subbuf_bytes) < 0)
            argp_error(state, "--subbuf=%s: bytes, as 65536 or 64K", argument);
        return 0;
    case OPTION_N_SUBBUFS:
        parse_number(argument, state, "n-subbufs", 10, RELAY_SUBBUFS_MAX,
                     &driver->geometry.n_subbufs);
        return 0;
    case OPTION_OVERWRITE:
        driver->geometry.overwrite = true;
        return 0;
    case OPTION_MODE:
        parse_number(argument, state, "mode", 8, 0777, &number);
        driver->mode = (mode_t)number;
        return 0;
    case ARGP_KEY_END:
        check_options(driver, state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int main(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"channel", OPTION_CHANNEL, "NAME", 0, "A channel; may be repeated. Default: trace", 1},
        {"cpus", OPTION_CPUS, "N", 0, "Buffers of each channel. Default: the machine's CPUs", 1},
        {"subbuf", OPTION_SUBBUF, "SIZE", 0,
         "Bytes of a sub-buffer, as 4096, 64K, 1M. Default: 256K", 1},
        {"n-subbufs", OPTION_N_SUBBUFS, "N", 0, "Sub-buffers of a buffer. Default: 8", 1},
        {"overwrite", OPTION_OVERWRITE, NULL, 0,
         "New records replace the oldest instead of being refused", 1},
        {"mode", OPTION_MODE, "OCTAL", 0, "Permission bits of buffers. Default: 0600", 1},
        {0},
    };
    static const struct argp argp = {
        .options = options,
        .parser = parse_option,
        .doc = "Serve relay channels: per-CPU buffers of records, as relay/CHANNEL/cpuN.",
    };
    static const struct muse_driver_ops ops = {
        MUSE_DRIVER_OPS,
        .name = "relay",
        .version = "0.1.0",
        .vm_ops = all_vm_ops,
        .argp = &argp,
        .start = relay_start,
        .open = relay_open,
        .release = relay_release,
        .mmap_prepare = relay_mmap_prepare,
        .mmap_complete = relay_mmap_complete,
        .getattr_path = relay_getattr_path,
        .readdir = relay_readdir,
        .unlink = relay_unlink,
    };
    struct relay_driver driver = {
        .geometry = {.subbuf_bytes = SUBBUF_DEFAULT, .n_subbufs = N_SUBBUFS_DEFAULT},
        .mode = MODE_DEFAULT,
        .next_key = 1,
    };
    int status = muse_driver_main(argc, argv, &ops, &driver);

    for (size_t i = 0; i < driver.n_names; i++)
        relay_channel_free(driver.channels[i]);
    return status;
}
