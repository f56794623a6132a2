/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuse_mem MOUNTPOINT SIZE_BYTES: a low-level FUSE filesystem with one file, `obj`, whose bytes are
 * all in this process's memory. The contender to beat, so with the best options it has: 1 MiB
 * reads, asynchronous readahead, attributes and pages cached for ever. The kernel starts every FUSE
 * mount with 128 KiB of readahead and lets a filesystem only lower it, so bench/run raises it in
 * sysfs after the mount. Prints "ready" when mounted; ends at SIGTERM, unmounting. Written pages come
 * back through the kernel's writeback cache, 1 MiB a request.
 *
 * --splice answers from a memfd by splice instead of from memory by writev, and --threads serves
 * requests in parallel: both are there to show that they are not faster.
 */
#define FUSE_USE_VERSION 314

#include <errno.h>
#include <fuse_lowlevel.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/content.h"

#define MAX_READ_BYTES (1u << 20) /* kernel limit: fs.fuse.max_pages_limit, 256 pages */
#define FOREVER_S      1e9
#define OBJ_INO        2

struct fuse_mem {
    size_t size_bytes;
    uint64_t *content; /* owned */
    int memfd;         /* owned; -1 without --splice */
    bool threads;
    uint64_t n_reads; /* requests answered, printed at the end; approximate with --threads */
    uint64_t n_read_bytes;
};

static int fill_stat(const struct fuse_mem *fs, fuse_ino_t ino, struct stat *ret_stat)
{
    if (ino != FUSE_ROOT_ID && ino != OBJ_INO)
        return ENOENT;
    *ret_stat = (struct stat){.st_ino = ino, .st_mode = S_IFDIR | 0755, .st_nlink = 2};
    if (ino == OBJ_INO) {
        ret_stat->st_mode = S_IFREG | 0644;
        ret_stat->st_nlink = 1;
        ret_stat->st_size = (off_t)fs->size_bytes;
    }
    return 0;
}

static void mem_init(void *user, struct fuse_conn_info *conn)
{
    const struct fuse_mem *fs = user;
    unsigned splice = FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE | FUSE_CAP_SPLICE_READ;

    conn->max_read = MAX_READ_BYTES;
    conn->max_readahead = MAX_READ_BYTES;
    conn->max_write = MAX_READ_BYTES;
    conn->want |= conn->capable & (FUSE_CAP_ASYNC_READ | FUSE_CAP_WRITEBACK_CACHE);
    conn->want &= ~(splice | FUSE_CAP_AUTO_INVAL_DATA);
    if (fs->memfd >= 0)
        conn->want |= conn->capable & (FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
}

static void mem_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct fuse_entry_param entry = {
        .ino = OBJ_INO, .attr_timeout = FOREVER_S, .entry_timeout = FOREVER_S};

    if (parent != FUSE_ROOT_ID || strcmp(name, "obj") != 0) {
        fuse_reply_err(req, ENOENT);
        return;
    }
    (void)fill_stat(fuse_req_userdata(req), OBJ_INO, &entry.attr); /* OBJ_INO exists */
    fuse_reply_entry(req, &entry);
}

static void mem_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
    struct stat st;
    int error = fill_stat(fuse_req_userdata(req), ino, &st);

    (void)info;
    if (error) {
        fuse_reply_err(req, error);
        return;
    }
    fuse_reply_attr(req, &st, FOREVER_S);
}

static void mem_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
    if (ino != OBJ_INO) {
        fuse_reply_err(req, EISDIR);
        return;
    }
    info->keep_cache = 1; /* for a second client; cold readers drop the pages with fadvise */
    fuse_reply_open(req, info);
}

static void mem_read(fuse_req_t req, fuse_ino_t ino, size_t len, off_t offset,
                     struct fuse_file_info *info)
{
    struct fuse_mem *fs = fuse_req_userdata(req);
    size_t start = (size_t)offset < fs->size_bytes ? (size_t)offset : fs->size_bytes;

    (void)ino;
    (void)info;
    if (len > fs->size_bytes - start)
        len = fs->size_bytes - start;
    fs->n_reads++;
    fs->n_read_bytes += len;
    if (fs->memfd >= 0) {
        struct fuse_bufvec vec = FUSE_BUFVEC_INIT(len);

        vec.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
        vec.buf[0].fd = fs->memfd;
        vec.buf[0].pos = (off_t)start;
        fuse_reply_data(req, &vec, FUSE_BUF_SPLICE_MOVE);
        return;
    }
    fuse_reply_buf(req, (const char *)fs->content + start, len);
}

static void mem_write(fuse_req_t req, fuse_ino_t ino, const char *bytes, size_t len, off_t offset,
                      struct fuse_file_info *info)
{
    struct fuse_mem *fs = fuse_req_userdata(req);

    (void)ino;
    (void)info;
    if (fs->memfd >= 0 || (size_t)offset > fs->size_bytes ||
        len > fs->size_bytes - (size_t)offset) {
        fuse_reply_err(req, EROFS);
        return;
    }
    memcpy((char *)fs->content + offset, bytes, len);
    fuse_reply_write(req, len);
}

/* Times and the like: nothing is kept. */
static void mem_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
                        struct fuse_file_info *info)
{
    (void)attr;
    (void)to_set;
    mem_getattr(req, ino, info);
}

static void mem_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *info)
{
    (void)ino;
    (void)datasync;
    (void)info;
    fuse_reply_err(req, 0);
}

static const struct fuse_lowlevel_ops mem_ops = {
    .init = mem_init,
    .lookup = mem_lookup,
    .getattr = mem_getattr,
    .open = mem_open,
    .read = mem_read,
    .write = mem_write,
    .setattr = mem_setattr,
    .fsync = mem_fsync,
};

/* Moves the content into a memfd, from which it can be spliced. */
static int use_memfd(struct fuse_mem *fs)
{
    fs->memfd = memfd_create("fuse_mem", MFD_CLOEXEC);
    if (fs->memfd < 0)
        return -errno;
    for (size_t done = 0; done < fs->size_bytes;) {
        ssize_t n = write(fs->memfd, (const char *)fs->content + done, fs->size_bytes - done);

        if (n < 0)
            return -errno;
        done += (size_t)n;
    }
    return 0;
}

static int serve(struct fuse_mem *fs, const char *program, const char *mountpoint)
{
    struct fuse_loop_config *config = NULL;
    struct fuse_session *session;
    struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
    int r = -1;

    if (fuse_opt_add_arg(&args, program) ||
        fuse_opt_add_arg(&args, "-omax_read=1048576,fsname=muse-bench"))
        return 1;
    session = fuse_session_new(&args, &mem_ops, sizeof(mem_ops), fs);
    fuse_opt_free_args(&args);
    if (!session)
        return 1;
    if (fuse_set_signal_handlers(session) == 0 && fuse_session_mount(session, mountpoint) == 0) {
        puts("ready");
        fflush(stdout);
        config = fuse_loop_cfg_create();
        fuse_loop_cfg_set_clone_fd(config, 1);
        r = fs->threads ? fuse_session_loop_mt(session, config) : fuse_session_loop(session);
        fuse_loop_cfg_destroy(config);
        fuse_session_unmount(session);
        fuse_remove_signal_handlers(session);
        fprintf(stderr, "fuse_mem: %llu reads of %llu bytes on average\n",
                (unsigned long long)fs->n_reads,
                (unsigned long long)(fs->n_reads ? fs->n_read_bytes / fs->n_reads : 0));
    }
    fuse_session_destroy(session);
    return r < 0 ? 1 : 0; /* positive: ended by that signal, which is how it should end */
}

int main(int argc, char **argv)
{
    struct fuse_mem fs = {.memfd = -1};
    bool splice = false;
    int first = 1;
    int r;

    for (; first < argc && argv[first][0] == '-'; first++) {
        if (strcmp(argv[first], "--version") == 0) {
            puts(fuse_pkgversion());
            return 0;
        }
        splice |= strcmp(argv[first], "--splice") == 0;
        fs.threads |= strcmp(argv[first], "--threads") == 0;
    }
    fs.size_bytes = argc - first == 2 ? strtoul(argv[first + 1], NULL, 10) : 0;
    if (fs.size_bytes == 0 || fs.size_bytes % CONTENT_PAGE_BYTES != 0) {
        fprintf(stderr,
                "usage: fuse_mem [--splice] [--threads] MOUNTPOINT SIZE_BYTES | --version\n");
        return 2;
    }
    r = content_new(fs.size_bytes, &fs.content);
    if (r == 0 && splice)
        r = use_memfd(&fs);
    if (r < 0) {
        fprintf(stderr, "fuse_mem: content: %s\n", strerror(-r));
        return 1;
    }
    return serve(&fs, argv[0], argv[first]);
}
