/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libmuse: mappings whose pages come from drivers, through the pager server mused.
 *
 *     struct muse *muse;
 *     struct muse_file *file;
 *
 *     if (muse_connect(&muse, NULL) || muse_open(muse, "file/data.bin", O_RDONLY, &file))
 *         errx(1, "%s", muse_last_error_text());
 *     const char *p = muse_mmap(muse, NULL, 4096, PROT_READ, MAP_SHARED, file, 0);
 *
 * C11 and C++17. Calls return as their mmap(2) relatives do: -1 or MAP_FAILED and errno, the same
 * errno as Linux for the same mistake. Besides these, every call that talks to the server may fail
 * with:
 *
 *     ENOTCONN   there is no server, it has gone, or this is a copy of the handle, see fork
 *     ENODEV     there is no such driver, or it has gone
 *     ETIMEDOUT  a hook of the driver did not answer in time
 *     EREMOTEIO  the driver broke the contract of its hooks
 *     EPROTO     client and server do not understand each other
 *     ENOMEM     out of memory here or there
 *
 * Threads: every call on a handle may be made by any thread at any time, except that nobody may use
 * a handle while or after it is disconnected, nor a file while or after it is closed. Calls of
 * several threads run side by side. No thread is started, no signal handler installed.
 *
 * Signals: no call returns EINTR. A handler must not longjmp out of a call.
 *
 * fork: the child of fork(3) has its own connection and its own copy of the space under the same
 * handles, files and addresses: shared mappings shared, private ones with the private bytes of the
 * moment, what a driver marked DONTCOPY left out; locks (MAP_LOCKED) are not inherited. Both may go
 * on as they like. fork(3) waits for calls of other threads, and they wait for it. Where the child
 * cannot be given its copy (the server has gone, a limit, no memory) nothing of it is readable:
 * touching a mapping is SIGSEGV, every call on the handle fails with ENOTCONN, and
 * muse_last_error_text() says why, at once and after each such call; muse_disconnect() and
 * muse_close() there only release memory and descriptors, and the child may connect for itself. The
 * same holds for a child made without fork(3)'s handlers (clone(2), _Fork(3)), and for one made in a
 * signal handler that interrupted a call on the handle. vfork(2) and posix_spawn(3) are as without
 * the library. The library's handlers are registered when it is loaded.
 *
 * When the server goes, accesses to pages that are not resident wait until the handle is
 * disconnected or the process ends; nothing ever reads as zeros for that reason.
 */
#ifndef MUSE_MUSE_H
#define MUSE_MUSE_H

#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A connection to the server, with one address space there. Opaque. */
struct muse;

/* An open object of a driver. Opaque. */
struct muse_file;

/* muse_options.flags: the library's own descriptors have high numbers where the limit allows, for
 * programs that expect their next open(2) to give the lowest. */
#define MUSE_FDS_HIGH 0x1u

/* Zero means default in every member but struct_size. */
struct muse_options {
    size_t struct_size; /* sizeof(struct muse_options) */
    const char *rundir; /* folder of client.sock; NULL: see muse_connect() */
    size_t arena_bytes; /* address space to set aside for mappings; rounded up to 2 MiB */
    unsigned flags;     /* MUSE_FDS_HIGH */
};

/* Why an access failed; filled by muse_error_at(). Texts end in NUL and are cut when too long. */
struct muse_error {
    int error;         /* errno value; 0: nothing is known, and the rest is empty */
    char driver[64];   /* name of the driver */
    char object[1024]; /* DRIVER/OBJECT */
    char hook[32];     /* the hook or vm operation that failed, as "fault" */
    uint64_t offset;   /* of the failed access, bytes from the start of the object */
    char text[512];    /* one sentence */
};

/**
 * muse_connect() - connect to the server and get an address space
 * @ret:     the handle, to be given to muse_disconnect(); written on success only
 * @options: borrowed for the call; NULL for defaults
 *
 * The server's socket is client.sock in @options->rundir, else in $MUSE_RUNDIR, else in /run/muse
 * for root, else in $XDG_RUNTIME_DIR/muse. Sets addresses aside (PROT_NONE) in which the server
 * places mappings; an arena of @options->arena_bytes == 0 has the server's default size, or less
 * where RLIMIT_AS does not allow that much.
 *
 * Where the server may not hand out a full userfaultfd and this process cannot make one, the
 * connection works, but system calls that touch pages which are not resident fail with EFAULT: then
 * muse_last_error_text() is not empty after success and says so.
 *
 * Return: 0; -1 and errno: ENOTCONN no server there, EPROTO other protocol version, EINVAL unknown
 * flags or struct_size or an arena larger than the server allows, EACCES, ENAMETOOLONG, ENOMEM,
 * EMFILE, ENFILE, EPERM no userfaultfd to be had, EOPNOTSUPP the kernel's userfaultfd lacks what
 * the server needs, ETIMEDOUT no answer within ten seconds.
 */
int muse_connect(struct muse **ret, const struct muse_options *options);

/**
 * muse_disconnect() - unmap everything and end the connection
 * @muse: takes; NULL does nothing. Its files are closed, its mappings are gone: touching one is
 *        SIGSEGV.
 *
 * Keeps errno.
 */
void muse_disconnect(struct muse *muse);

/**
 * muse_arena() - the addresses that were set aside for mappings
 * @muse:      the handle
 * @ret_start: the first   @ret_bytes: how many. Nothing else of this process lies there, and mappings
 *             lie nowhere else, but for those made with MAP_FIXED.
 */
void muse_arena(const struct muse *muse, void **ret_start, size_t *ret_bytes);

/**
 * muse_open() - open an object of a driver
 * @muse:   the handle
 * @name:   "DRIVER/OBJECT", at most 4095 bytes; OBJECT may contain slashes
 * @oflags: O_RDONLY or O_RDWR, with O_CREAT, O_TRUNC, O_EXCL where the driver can
 * @ret:    the file, to be given to muse_close(); written on success only
 *
 * An object created by O_CREAT gets mode 0666; the driver may narrow it.
 *
 * Return: 0; -1 and errno: ENODEV no such driver, or none named, ENAMETOOLONG, EFAULT @name is NULL, EINVAL, or
 * what the driver says (ENOENT, EACCES, EISDIR, ...).
 */
int muse_open(struct muse *muse, const char *name, int oflags, struct muse_file **ret);

/**
 * muse_create() - the same, with O_CREAT and a mode
 * @mode: of an object that is created: permission bits. The driver may narrow it; the umask of this process
 *        does not count
 *
 * As with open(2) a file that is created is open as @oflags say, whatever the mode.
 *
 * Return: as muse_open().
 */
int muse_create(struct muse *muse, const char *name, int oflags, mode_t mode,
                struct muse_file **ret);

/**
 * muse_close() - close a file
 * @file: takes, whatever the result; NULL is EBADF. Mappings of it stay, and keep the object.
 *
 * Return: 0; -1 and errno.
 */
int muse_close(struct muse_file *file);

/**
 * muse_lock_file() - a descriptor on which an object can be locked
 * @file:   the file
 * @oflags: O_RDONLY, O_WRONLY or O_RDWR, and O_APPEND: how the caller wants to use the object; remembered
 *
 * Advisory locks, as fcntl(2) and flock(2) have them: all who ask for the same object, in whatever
 * process, get descriptors of the same small file, and the kernel locks that. It is no descriptor of
 * the object: reading it is EBADF, writing EPERM. Its open file description is the caller's alone,
 * open for writing; what is locked for reading has to be opened for reading first, in
 * /proc/self/fd. Closing any descriptor of it gives the process's fcntl(2) locks of the object up.
 *
 * Return: the fd, the caller's, close-on-exec, the lowest number that is free; -1 and errno.
 */
int muse_lock_file(struct muse_file *file, int oflags);

/**
 * muse_fstat() - attributes of an open object, now
 * @file: the file
 * @ret:  filled on success: st_size, st_mode, st_ino, st_uid, st_gid, st_mtim, st_nlink,
 *        st_blksize (the object's page size), st_blocks (from the size); the rest is 0
 *
 * Return: 0; -1 and errno.
 */
int muse_fstat(struct muse_file *file, struct stat *ret);

/**
 * muse_mmap() - map an object, as mmap(2)
 * @muse:   the handle
 * @addr:   a hint, or the address with MAP_FIXED or MAP_FIXED_NOREPLACE; may then lie outside the
 *          arena, over memory of the caller's own, which it replaces
 * @len:    bytes; rounded up to the object's page size
 * @prot:   PROT_*
 * @flags:  MAP_SHARED, MAP_SHARED_VALIDATE or MAP_PRIVATE, and others of mmap(2). MAP_LOCKED locks
 *          pages as they come in (as mlock2(2) with MLOCK_ONFAULT).
 * @file:   opened on the same handle; may be closed afterwards. NULL with MAP_ANONYMOUS.
 * @offset: bytes from the start of the object; a multiple of its page size
 *
 * A failing call changes nothing, also with MAP_FIXED: what was mapped there before stays.
 *
 * MAP_ANONYMOUS, private or shared: memory that the server places, and the kernel serves alone. A
 * child that forks inherits it as always. Not with MAP_HUGETLB or MAP_GROWSDOWN (EOPNOTSUPP).
 *
 * Return: the address, unmapped by muse_munmap() or muse_disconnect(); MAP_FAILED and errno as
 * mmap(2): EINVAL, ENOMEM, EOVERFLOW, EACCES, EPERM, EAGAIN, EBADF (@file is NULL), EEXIST,
 * EOPNOTSUPP, ENODEV, or what the driver's hooks say.
 */
void *muse_mmap(struct muse *muse, void *addr, size_t len, int prot, int flags,
                struct muse_file *file, off_t offset);

/**
 * muse_munmap() - unmap, as munmap(2)
 * @muse: the handle
 * @addr: page-aligned; any part of one or several mappings, holes included
 * @len:  bytes, rounded up to pages
 *
 * Return: 0; -1 and errno: EINVAL, ENOMEM, or what a driver's may_split says.
 */
int muse_munmap(struct muse *muse, void *addr, size_t len);

/**
 * muse_mprotect() - change the protection of a range, as mprotect(2)
 * @muse: the handle
 * @addr: page-aligned; any part of one or several mappings
 * @len:  bytes, rounded up to pages
 * @prot: PROT_*; what a driver has narrowed stays narrowed
 *
 * Goes from mapping to mapping; an error stops it there, and what lies before is changed.
 *
 * Return: 0; -1 and errno: EINVAL; ENOMEM a part is not mapped, or too many mappings; EACCES a
 * shared mapping of a file opened for reading cannot become writable; or what the driver's mprotect
 * or may_split says.
 */
int muse_mprotect(struct muse *muse, void *addr, size_t len, int prot);

/**
 * muse_mremap() - grow, shrink, move or duplicate a mapping, as mremap(2)
 * @muse:    the handle
 * @old:     page-aligned
 * @old_len: bytes, rounded up to pages; 0 with a shared mapping: map the same once more
 * @new_len: bytes, rounded up to pages
 * @flags:   MREMAP_MAYMOVE, MREMAP_FIXED, MREMAP_DONTUNMAP; with one of the last two a fifth
 *           argument, void *new_addr
 *
 * Private changes move with the mapping. With MREMAP_FIXED and MREMAP_MAYMOVE, lengths being equal,
 * all mappings of the range move, with the gaps between them. What stands at new_addr is replaced;
 * unless the mapping grows or is duplicated it stays when the call fails, which the kernel does not
 * promise.
 *
 * With MREMAP_DONTUNMAP on a private mapping of an object, a thread that touches the old range while
 * the call runs may get SIGSEGV.
 *
 * Return: the new address; MAP_FAILED and errno: EINVAL; EFAULT not mapped, or a range of several
 * mappings where one is needed, or one that cannot grow; ENOMEM no room, or too many mappings;
 * EAGAIN the limit of locked memory, or the target is in quarantine; or what the driver's mremap or
 * may_split says.
 */
void *muse_mremap(struct muse *muse, void *old, size_t old_len, size_t new_len, int flags, ...);

/**
 * muse_madvise() - advice about a range, as madvise(2)
 * @muse:   the handle
 * @addr:   page-aligned
 * @len:    bytes, rounded up to pages
 * @advice: MADV_NORMAL, MADV_RANDOM (no readahead), MADV_SEQUENTIAL (the largest at once),
 *          MADV_WILLNEED (start reading now), MADV_DONTNEED, MADV_DONTNEED_LOCKED, MADV_FREE,
 *          MADV_COLD, MADV_PAGEOUT, MADV_POPULATE_READ, MADV_POPULATE_WRITE, MADV_DONTFORK,
 *          MADV_DOFORK, MADV_WIPEONFORK, MADV_KEEPONFORK, MADV_DONTDUMP, MADV_DODUMP,
 *          MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_REMOVE
 *
 * MADV_DONTNEED on a private mapping drops what was written there: the object's bytes are read
 * again. MADV_REMOVE makes the object's bytes zeros for everybody, where its driver can punch holes
 * (EOPNOTSUPP otherwise).
 *
 * Return: 0; -1 and errno: EINVAL not known, not aligned, or not possible for a mapping in the range
 * (a locked one, one of an object); ENOMEM a part of the range is not mapped: the rest was advised,
 * behind it, too; EFAULT a page to be populated cannot be had; EAGAIN; or what the driver's
 * may_split says.
 */
int muse_madvise(struct muse *muse, void *addr, size_t len, int advice);

/**
 * muse_mincore() - which pages a touch would find without waiting for a driver, as mincore(2)
 * @muse: the handle
 * @addr: page-aligned
 * @len:  bytes, rounded up to pages
 * @vec:  one byte for each page of 4 KiB; bit 0 is set for resident ones
 *
 * A page of an object is resident when its bytes are valid in the server's page cache, or when this
 * process has it in its page tables, as it has private copies of pages that it wrote to (unless they
 * were swapped out). mincore(2) itself would report pages that the cache file has, valid or not.
 * Anonymous memory is as mincore(2) says.
 *
 * Return: 0; -1 and errno: EINVAL not aligned; EFAULT @vec is NULL; ENOMEM a part of the range is
 * not mapped, @vec tells about the pages before it.
 */
int muse_mincore(struct muse *muse, void *addr, size_t len, unsigned char *vec);

/**
 * muse_mlock() - lock a range into memory, as mlock(2)
 * @muse: the handle
 * @addr: rounded down to a page
 * @len:  bytes; the range is rounded up to pages
 *
 * The pages are there when it returns, and stay in this process's page tables.
 *
 * Return: 0; -1 and errno: EPERM, ENOMEM the limit of locked memory, a part that is not mapped (what
 * lies before it is locked), or pages that cannot be had (the mappings are locked all the same);
 * EINVAL the range wraps around.
 */
int muse_mlock(struct muse *muse, const void *addr, size_t len);

/** muse_munlock() - the reverse, as munlock(2). Return: 0; -1 and errno as muse_mlock(). */
int muse_munlock(struct muse *muse, const void *addr, size_t len);

/**
 * muse_prefetch() - have pages made resident, and be told when they are
 * @muse:    the handle
 * @addr:    page-aligned; any part of one or several mappings
 * @len:     bytes, rounded up to pages; may be 0
 * @eventfd: of eventfd(2); borrowed for the call, the server then holds a copy of its own
 *
 * Returns at once. Later, when a touch of the pages neither waits nor faults any more, 1 is added
 * to the eventfd: once, also when some of the pages cannot be had (muse_error_at() tells why), were
 * unmapped meanwhile, or when the driver died. After 256 pages of a mapping that failed, and when its
 * driver does not answer in time or the page cache is full, the rest of that mapping is left to be
 * got when it is touched. Nothing is added when the server goes.
 *
 * Return: 0; -1 and errno. ENOMEM: a part of the range is not mapped; the rest is prefetched, and 1 is
 * added all the same. With other errors nothing is added: EINVAL not aligned or no range, EBADF
 * @eventfd is none, EAGAIN too many prefetches, or no memory for one, and those of every call.
 */
int muse_prefetch(struct muse *muse, const void *addr, size_t len, int eventfd);

/**
 * muse_pread() - read from an object, as pread(2); coherent with its mappings
 * @file:   the file
 * @buf:    @len bytes, caller's
 * @len:    bytes
 * @offset: from the start of the object
 *
 * Return: bytes read, fewer than @len only at the end of the object or where an error follows; 0 at
 * the end; -1 and errno: EINVAL negative @offset, EFAULT @buf, EBADF not open for reading, or what the driver says (EIO, ...).
 */
ssize_t muse_pread(struct muse_file *file, void *buf, size_t len, off_t offset);

/* One entry of a folder. */
struct muse_dirent {
    uint64_t inode;
    uint64_t next; /* cursor of what comes behind it */
    unsigned type; /* DT_* of dirent.h; DT_UNKNOWN where the driver does not say */
    char name[256];
};

/**
 * muse_stat() - attributes of a name, as stat(2)
 * @muse: the handle
 * @name: "DRIVER/OBJECT"; "DRIVER" is the driver's own folder, "" the folder of all drivers
 * @ret:  filled on success, as by muse_fstat()
 *
 * Return: 0; -1 and errno: ENODEV no such driver, EOPNOTSUPP it knows open files only, ELOOP a
 * symbolic link that the driver does not follow itself, or what the driver says (ENOENT, ENOTDIR,
 * EACCES, ...).
 */
int muse_stat(struct muse *muse, const char *name, struct stat *ret);

/** muse_lstat() - as muse_stat(), but of a symbolic link itself */
int muse_lstat(struct muse *muse, const char *name, struct stat *ret);

/**
 * muse_readdir() - entries of a folder, without "." and ".."
 * @muse:   the handle
 * @name:   as for muse_stat()
 * @cursor: 0, or muse_dirent.next of the last entry of the call before
 * @ret:    @n entries, caller's
 * @n:      not 0
 *
 * Return: how many were filled in, 0 at the end; -1 and errno: as muse_stat(), EINVAL @n.
 */
ssize_t muse_readdir(struct muse *muse, const char *name, uint64_t cursor, struct muse_dirent *ret,
                     size_t n);

/**
 * muse_readlink() - where a symbolic link leads, as readlink(2)
 * @muse: the handle
 * @name: of the link
 * @buf:  @size bytes, caller's; not terminated, cut when too long
 *
 * Return: bytes written; -1 and errno: as muse_stat(), EINVAL no link.
 */
ssize_t muse_readlink(struct muse *muse, const char *name, char *buf, size_t size);

/**
 * muse_unlink() - remove a name, as unlinkat(2)
 * @muse:  the handle
 * @name:  "DRIVER/OBJECT"
 * @flags: 0 or AT_REMOVEDIR
 *
 * Return: 0; -1 and errno: as muse_stat(), EROFS, EBUSY the driver's own folder, EOPNOTSUPP.
 */
int muse_unlink(struct muse *muse, const char *name, int flags);

/**
 * muse_rename() - rename, as renameat2(2)
 * @muse:  the handle
 * @from:  "DRIVER/OBJECT"
 * @to:    "DRIVER/OBJECT" of the same driver, else EXDEV
 * @flags: 0 or RENAME_*
 *
 * Return: 0; -1 and errno: as muse_unlink().
 */
int muse_rename(struct muse *muse, const char *from, const char *to, unsigned flags);

/**
 * muse_mkdir() - make a folder, as mkdir(2)
 * @muse: the handle
 * @name: "DRIVER/OBJECT"
 * @mode: of it; the driver may narrow it
 *
 * Return: 0; -1 and errno: as muse_stat(), EEXIST, EROFS, EOPNOTSUPP.
 */
int muse_mkdir(struct muse *muse, const char *name, mode_t mode);

/* What muse_setattr() is to change: bits of its mask. */
#define MUSE_SETATTR_MODE      0x01u
#define MUSE_SETATTR_UID       0x02u
#define MUSE_SETATTR_GID       0x04u
#define MUSE_SETATTR_ATIME     0x08u
#define MUSE_SETATTR_MTIME     0x10u
#define MUSE_SETATTR_ATIME_NOW 0x20u /* not with ATIME */
#define MUSE_SETATTR_MTIME_NOW 0x40u /* not with MTIME */

/* What the mask does not name stays as it is, and its member is not looked at. Times are since 1970,
 * tv_nsec 0..999999999; what 64 bits of nanoseconds do not hold (before 1678, after 2261) becomes the
 * nearest that they do. */
struct muse_setattr {
    unsigned mask; /* MUSE_SETATTR_* */
    int flags;     /* 0 or AT_SYMLINK_NOFOLLOW: of a symbolic link itself */
    mode_t mode;   /* permission bits; what is more than 07777 is ignored, as by chmod(2) */
    uid_t uid; /* -1: stays, as with chown(2), which takes set-uid and set-gid away all the same */
    gid_t gid; /* likewise */
    struct timespec atime;
    struct timespec mtime;
};

/**
 * muse_setattr() - change attributes of a name, as chmod(2), chown(2) and utimensat(2)
 * @muse:   the handle
 * @name:   "DRIVER/OBJECT"; "DRIVER" is the driver's own folder
 * @change: borrowed; mask 0 changes nothing, and says whether the name is there
 *
 * Who may is the driver's decision, by the user and group of this process when it connected; those that
 * have the hook follow Linux (setattr_prepare() of fs/attr.c): the mode by the owner or root; the user by
 * root; the group by the owner, when he is in it, or root; explicit times by the owner or root; both times
 * "now" also by who may write. Owner, mode and times are changed in this order; what was done before one
 * that fails stays. Before an explicit mtime what was stored through mappings is written back, so that the
 * time stays; what is stored later moves it on.
 *
 * Return: 0; -1 and errno: as muse_stat(), EPERM, EACCES, EROFS the driver changes none, or has no hook
 * for it, EOPNOTSUPP the mode of a symbolic link, EINVAL unknown bits of mask or flags, ATIME with
 * ATIME_NOW, MTIME with MTIME_NOW, a tv_nsec out of range.
 */
int muse_setattr(struct muse *muse, const char *name, const struct muse_setattr *change);

/**
 * muse_fsetattr() - as muse_setattr(), of an open object, whatever it is called now
 * @file:   the file, open for reading or writing
 * @change: borrowed; flags 0
 *
 * Return: as muse_setattr(); EBADF @file is NULL.
 */
int muse_fsetattr(struct muse_file *file, const struct muse_setattr *change);

/**
 * muse_pwrite() - write to an object, as pwrite(2); coherent with its mappings
 * @file:   opened for writing
 * @buf:    @len bytes, caller's
 * @len:    bytes
 * @offset: from the start of the object; behind its end the object grows, where its driver can
 *
 * Dirty afterwards: muse_fsync() makes it last; without, the server writes it back soon.
 *
 * Return: bytes written, fewer than @len only where an error follows; -1 and errno: EBADF @file is
 * not open for writing, EINVAL negative @offset, EFAULT @buf, EFBIG, ENOSPC the object cannot grow,
 * or what the driver says (EIO, ...).
 */
ssize_t muse_pwrite(struct muse_file *file, const void *buf, size_t len, off_t offset);

/**
 * muse_append() - write to the end of an object, wherever it is by then, as write(2) with O_APPEND
 * @file:       opened for writing
 * @buf:        @len bytes, caller's
 * @len:        bytes; up to 8 MiB stay together, whoever else appends
 * @ret_offset: where the first one went; may be NULL
 *
 * Return: as muse_pwrite().
 */
ssize_t muse_append(struct muse_file *file, const void *buf, size_t len, off_t *ret_offset);

/**
 * muse_ftruncate() - give an object another size, as ftruncate(2)
 * @file: opened for writing
 * @size: bytes. What is cut off is gone for every mapping: SIGBUS. What is added reads as zeros.
 *
 * Return: 0; -1 and errno: EINVAL negative, or not open for writing; EFBIG; EOPNOTSUPP objects of
 * this driver cannot change their size; or what the driver says.
 */
int muse_ftruncate(struct muse_file *file, off_t size);

/**
 * muse_fallocate() - allocate, punch or zero a part of an object, as fallocate(2)
 * @file:   opened for writing
 * @mode:   0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE with it, FALLOC_FL_ZERO_RANGE with or without
 * @offset: bytes from the start of the object
 * @len:    bytes, more than 0
 *
 * Return: 0; -1 and errno: EINVAL, EOPNOTSUPP another mode, or not with this driver; EBADF not open
 * for writing; EFBIG; or what the driver says.
 */
int muse_fallocate(struct muse_file *file, int mode, off_t offset, off_t len);

/**
 * muse_fsync() - make what was written to an object last, as fsync(2)
 * @file: the file; what others wrote to the object is written back as well
 *
 * Return: 0; -1 and errno: EIO or what the driver says, once for each open file after a failure of
 * writing back (musectl objects keeps it).
 */
int muse_fsync(struct muse_file *file);

/**
 * muse_msync() - make what was written to mappings last, as msync(2)
 * @muse:  the handle
 * @addr:  page-aligned
 * @len:   bytes, rounded up to pages
 * @flags: MS_SYNC waits until it lasts; MS_ASYNC, or neither: the server writes it back soon anyway;
 *         MS_INVALIDATE
 *
 * Return: 0; -1 and errno: EINVAL not aligned, unknown flags, or both of MS_SYNC and MS_ASYNC; ENOMEM
 * a part of the range is not mapped, the rest was synced; EBUSY MS_INVALIDATE of a locked mapping; EIO
 * or what the driver says.
 */
int muse_msync(struct muse *muse, void *addr, size_t len, int flags);

/**
 * muse_error_at() - why an access to a mapping failed (SIGBUS)
 * @muse: the handle
 * @addr: any address, usually si_addr of the signal
 * @ret:  filled on success; @ret->error is 0 when the server knows of no error there
 *
 * May be called in a SIGBUS handler when the access was the program's own, not one inside malloc
 * or another function that is no longer usable then.
 *
 * Return: 0; -1 and errno.
 */
int muse_error_at(struct muse *muse, const void *addr, struct muse_error *ret);

/**
 * muse_copy_from() - copy out of a mapping, with an errno instead of SIGBUS
 * @muse: the handle
 * @dst:  @len bytes, caller's; not in a mapping that may fail itself
 * @src:  in a mapping of @muse (any other memory works, too)
 * @len:  bytes
 *
 * Waits for pages that are not resident, as an access does. Where there is no memory, the mapping's
 * driver is asked, when it has the vm operation `access`.
 *
 * Return: bytes copied from the start, fewer than @len where an error follows; -1 and errno when
 * the first byte cannot be had: the driver's errno (EIO, ...), EFAULT not mapped or not readable,
 * ENOTCONN, EINVAL @len too large.
 */
ssize_t muse_copy_from(struct muse *muse, void *dst, const void *src, size_t len);

/**
 * muse_last_error_text() - one sentence about this thread's last failure
 *
 * Names the object, the driver and the hook where there are any. Also not empty after a
 * muse_connect() that succeeded with a restriction, see there. Never fails, keeps errno.
 *
 * Return: never NULL; "" when the last call succeeded. Valid until the thread's next call.
 */
const char *muse_last_error_text(void);

#ifdef __cplusplus
}
#endif

#endif
