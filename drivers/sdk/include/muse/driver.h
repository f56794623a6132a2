/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libmuse-driver: what a Muse driver links. A driver is one process and one struct of hooks with
 * the names and shapes of Linux's struct file_operations and struct vm_operations_struct;
 * muse_driver_main() does the rest. Start with drivers/zero/zero.c; the rules are in
 * docs/contract.md and muse-driver(3).
 *
 * Threads: file hooks and vm operations run one at a time on the main thread; `fault` runs on the
 * SDK's fault thread, so faults are served while a hook sleeps. Any hook may be answered later,
 * from any thread: see muse_request_defer().
 */
#ifndef MUSE_DRIVER_H
#define MUSE_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MUSE_DRIVER_API_VERSION 1u
#define MUSE_PAGE_BYTES         4096u
#define MUSE_HUGE_PAGE_BYTES    (2u << 20)

/* vm_flags bits, with Linux's names and values (include/linux/mm.h) */
#define MUSE_VM_READ       0x00000001ull
#define MUSE_VM_WRITE      0x00000002ull
#define MUSE_VM_EXEC       0x00000004ull
#define MUSE_VM_SHARED     0x00000008ull
#define MUSE_VM_MAYREAD    0x00000010ull
#define MUSE_VM_MAYWRITE   0x00000020ull
#define MUSE_VM_MAYEXEC    0x00000040ull
#define MUSE_VM_MAYSHARE   0x00000080ull
#define MUSE_VM_PFNMAP     0x00000400ull
#define MUSE_VM_LOCKED     0x00002000ull
#define MUSE_VM_IO         0x00004000ull
#define MUSE_VM_SEQ_READ   0x00008000ull
#define MUSE_VM_RAND_READ  0x00010000ull
#define MUSE_VM_DONTCOPY   0x00020000ull
#define MUSE_VM_DONTEXPAND 0x00040000ull
#define MUSE_VM_NORESERVE  0x00200000ull
#define MUSE_VM_DONTDUMP   0x04000000ull
#define MUSE_VM_MIXEDMAP   0x10000000ull
#define MUSE_VM_HUGEPAGE   0x20000000ull

struct muse_driver;       /* the running driver */
struct muse_request;      /* one hook call that is answered later */
struct muse_driver_file { /* an open file; the SDK's, alive from open to release */
    void *private_data;   /* the driver's; set in open */
    uint64_t object_key;  /* which object's pages it shows */
    int oflags;
    uint64_t id; /* the SDK's name for it */
};

/* Where object bytes are, for actions and open results. fd -1: zeros; borrowed until the answer. */
struct muse_extent {
    uint64_t object_offset;
    uint64_t length;
    int fd;
    uint64_t fd_offset;
};

struct muse_vma; /* below */

/* vm operations: every table that mmap_prepare may set must be listed in muse_driver_ops.vm_ops. */
struct muse_vm_ops {
    const char *name;
    /* a VMA that copies another one was made: split, move, fork */
    void (*open)(struct muse_vma *vma);
    /* the VMA ended, otherwise than by a merge */
    void (*close)(struct muse_vma *vma);
    /* 0, or -errno: the operation fails with it */
    int (*may_split)(struct muse_vma *vma, uint64_t addr);
    /* a client is about to write to a clean page of the object through a shared mapping: 0, or
     * -errno: SIGBUS at that write */
    int (*page_mkwrite)(struct muse_vma *vma, uint64_t page);
    /* Before [start, end) of the VMA gets @vm_flags, in which READ, WRITE and EXEC may differ: 0, or
     * -errno, and mprotect fails with it. */
    int (*mprotect)(struct muse_vma *vma, uint64_t start, uint64_t end, uint64_t vm_flags);
    /* The VMA is the moved copy of another one and about to take its place: 0, or -errno, and
     * mremap fails with it. */
    int (*mremap)(struct muse_vma *vma);
    /* A client copies with muse_copy_from(), and what is at @addr cannot be had as memory: fill
     * @buf with the @len bytes from there on, which lie in one page of 4 KiB. Return: how many
     * there are now, from the first one on; 0 or -errno when there are none. @write: 0. When it is
     * deferred, @buf stays until muse_reply(), which gets what would have been returned. */
    int (*access)(struct muse_vma *vma, uint64_t addr, void *buf, int len, int write);
    /* What people shall see beside the object's name, in brackets; NULL: nothing. Linux's `name`,
     * which is the table's own here. Asked once, after the mapping was made, and copied. */
    const char *(*vma_name)(struct muse_vma *vma);
};

enum muse_action_type {
    MUSE_ACTION_NONE = 0,
    MUSE_ACTION_REMAP,    /* map length bytes at address straight from fd: no faults reach anyone */
    MUSE_ACTION_IO_REMAP, /* the same, fd_offset already translated by the driver */
    MUSE_ACTION_EXTENTS,  /* the server reads the object's bytes on demand from these fds */
    MUSE_ACTION_PREFAULT  /* make n_pages from address present before the map call returns */
};

struct muse_action {
    enum muse_action_type type;
    uint64_t address; /* absolute; 0 = the mapping's start */
    uint64_t length;  /* bytes; 0 = all of the mapping */
    int fd;           /* borrowed until the hook was answered */
    uint64_t fd_offset;
    uint64_t n_pages;
    const struct muse_extent *extents; /* borrowed until the hook was answered */
    size_t n_extents;
};

/* What vm_ops holds before mmap_prepare; NULL sets "none". */
#define MUSE_VM_OPS_UNSET ((const struct muse_vm_ops *)-1)

/* What mmap_prepare sees and may change: Linux's struct vm_area_desc. No VMA exists yet. */
struct muse_vma_desc {
    /* immutable */
    uint64_t space_id;
    struct muse_driver_file *file;
    uint64_t start;
    uint64_t end;
    uid_t uid; /* of the client */
    pid_t pid;
    /* mutable, pre-filled with the request */
    uint64_t pgoff;                   /* 4 KiB pages */
    struct muse_driver_file *vm_file; /* another file of this driver may be put here */
    uint64_t vm_flags;  /* MUSE_VM_*; which changes are allowed: docs/contract.md, section 4 */
    uint32_t page_prot; /* PROT_*; may be narrowed */
    /* write-only */
    const struct muse_vm_ops *vm_ops;
    void *private_data; /* lives as long as the VMA */
    void *mmap_context; /* for this one call: handed to mmap_complete or mmap_abort */
    struct muse_action action;
};

/** muse_vma_desc_size() - length of the mapping in bytes, a multiple of the page size */
static inline uint64_t muse_vma_desc_size(const struct muse_vma_desc *desc)
{
    return desc->end - desc->start;
}

/** muse_vma_desc_pages() - length of the mapping in 4 KiB pages */
static inline uint64_t muse_vma_desc_pages(const struct muse_vma_desc *desc)
{
    return muse_vma_desc_size(desc) / MUSE_PAGE_BYTES;
}

/** muse_desc_can_cow() - Linux's is_cow_mapping(): private, and may become writable */
static inline bool muse_desc_can_cow(const struct muse_vma_desc *desc)
{
    return (desc->vm_flags & (MUSE_VM_SHARED | MUSE_VM_MAYWRITE)) == MUSE_VM_MAYWRITE;
}

/* A mapping, read-only: what changes is changed by the server. */
struct muse_vma {
    uint64_t id;
    uint64_t space_id;
    uint64_t start;
    uint64_t end;
    uint64_t pgoff;
    uint64_t vm_flags;
    uint32_t page_prot;
    const struct muse_vm_ops *vm_ops;
    void *private_data;
    struct muse_driver_file *file;
    uint64_t part_start; /* in mmap_complete: the new part; not start/end when it was merged */
    uint64_t part_end;
};

struct muse_attr {
    uint64_t size; /* bytes */
    mode_t mode;   /* type and permissions */
    uint64_t inode;
    uid_t uid;
    gid_t gid;
    int64_t mtime_ns;
    uint32_t nlink;
};

/* What open fills in. */
struct muse_open_result {
    void *file_private;  /* becomes muse_driver_file.private_data */
    uint64_t object_key; /* files with the same key share one page cache */
    void *object;        /* what fault gets; the first open of a key counts */
    struct muse_attr attr;
    uint64_t page_bytes; /* MUSE_PAGE_BYTES (default) or MUSE_HUGE_PAGE_BYTES */
    /* NULL: pages come from fault; borrowed until open returned */
    const struct muse_extent *extents;
    size_t n_extents;
    /* called once the extents' fds were passed on; may be NULL */
    void (*extents_sent)(void *file_private);
    /* as on a file system mounted noexec: PROT_EXEC is EPERM, and no mapping has MAYEXEC */
    bool noexec;
    /* as FOP_MMAP_SYNC of Linux: what is stored lasts, so MAP_SYNC with MAP_SHARED_VALIDATE is legal */
    bool map_sync;
    /* bytes, a power of two up to 1 GiB; 0: none. A mapping whose address the server may choose
     * starts at a multiple of it (Linux: get_unmapped_area) */
    uint64_t map_align;
};

struct muse_open_args {
    const char *path; /* below the driver's name, no leading slash; may hold anything, "..", too */
    int oflags;
    mode_t mode;
    uid_t uid; /* the client's credentials, from the socket */
    gid_t gid;
    pid_t pid; /* 0: the server itself, to write back what a client stored */
};

/* What setattr_path is to change. Both libraries have the same bits. */
#define MUSE_SETATTR_MODE      0x01u
#define MUSE_SETATTR_UID       0x02u
#define MUSE_SETATTR_GID       0x04u
#define MUSE_SETATTR_ATIME     0x08u
#define MUSE_SETATTR_MTIME     0x10u
#define MUSE_SETATTR_ATIME_NOW 0x20u /* never with ATIME */
#define MUSE_SETATTR_MTIME_NOW 0x40u /* never with MTIME */

struct muse_attr_change {
    unsigned
        mask; /* MUSE_SETATTR_*, checked; 0: nothing is to change, and the name has to be there */
    mode_t mode; /* the permission bits, 07777 */
    uid_t uid; /* -1: stays, as with chown(2), which takes set-uid and set-gid away all the same */
    gid_t gid; /* likewise */
    int64_t atime_ns, mtime_ns; /* since 1970 */
    /* Set by the driver, when it likes: whose attributes they are, by the key that open gives. Where
     * clients have stored into that object what is not written back yet, and an explicit mtime shall
     * stay, the server writes it back and asks once more. Open files it knows by itself. */
    bool has_object;
    uint64_t object_key;
};

/* A run of pages somebody waits for. Pages are the object's own (page_bytes). */
struct muse_fault {
    uint64_t object_key;
    void *object;
    uint64_t first_page;
    uint32_t n_pages;
    uint32_t n_needed; /* from first_page on: waited for; the rest is readahead, may be left out */
    uint64_t page_bytes;
    uint64_t size_bytes; /* of the object; the last page may go beyond it: fill that with zeros */
    void *user;          /* as given to muse_driver_main() */
};

/* Pages that clients wrote. Pages are the object's own (page_bytes). */
struct muse_writeback {
    uint64_t object_key;
    void *object;
    uint64_t first_page;
    uint64_t n_pages;
    uint64_t page_bytes;
    uint64_t size_bytes; /* of the object: what the last page has behind it does not count */
    int fd;     /* the object's page cache, to read the pages from (pread, splice); borrowed
                            until the hook was answered */
    void *user; /* as given to muse_driver_main() */
};

struct muse_dir; /* the answer to readdir that is being filled */

#define MUSE_FAULT_PENDING 1 /* fault returns this when muse_fault_done() comes later */

struct muse_driver_ops {
    size_t struct_size;   /* sizeof(struct muse_driver_ops) */
    uint32_t api_version; /* MUSE_DRIVER_API_VERSION */
    const char *name;     /* [a-z0-9_-]{1,32}; objects are NAME/PATH */
    const char *version;
    /* NULL-terminated list of every table mmap_prepare may set, or NULL */
    const struct muse_vm_ops *const *vm_ops;
    /* struct argp (argp.h) for the driver's own options, or NULL; input is `user` */
    const void *argp;

    /* after options, before the first hook; 0 or -errno */
    int (*start)(struct muse_driver *driver, void *user);
    void (*stop)(void *user);

    /* file operations; all return 0 or -errno */
    int (*open)(void *user, const struct muse_open_args *args, struct muse_open_result *ret_result);
    void (*release)(void *user, struct muse_driver_file *file);
    int (*getattr)(void *user, struct muse_driver_file *file, struct muse_attr *ret_attr);
    int (*mmap_prepare)(struct muse_vma_desc *desc);
    int (*mmap_complete)(struct muse_driver_file *file, struct muse_vma *vma, const void *context);
    void (*mmap_abort)(const struct muse_driver_file *file, const void *vm_private_data,
                       const void *context);
    int (*mmap)(struct muse_driver_file *file, struct muse_vma *vma); /* legacy single hook */
    int (*fault)(struct muse_fault *fault); /* 0: supplied, MUSE_FAULT_PENDING, or -errno */
    void (*object_gone)(void *user, uint64_t object_key, void *object);

    /* what clients write; a driver without writeback keeps nothing of it */
    int (*writeback)(struct muse_writeback *writeback); /* takes pages back. May be deferred; then
                                                           several are under way, of other pages */
    int (*fsync)(void *user, uint64_t object_key, void *object); /* what was written back becomes
                                                                    durable */
    int (*truncate)(void *user, struct muse_driver_file *file,
                    uint64_t size); /* the object gets this size. An extent that reached to its end
                                       reaches to the new one. */
    int (*fallocate)(void *user, struct muse_driver_file *file, int mode, uint64_t offset,
                     uint64_t length); /* as fallocate(2): allocate, punch, zero */

    /* names rather than open files; all optional, all return 0 or -errno. args->path "" is the
     * driver's own folder. Absent: the folder is there and shows nothing, the rest is EOPNOTSUPP.
     */
    int (*getattr_path)(void *user, const struct muse_open_args *args,
                        struct muse_attr *ret_attr); /* O_NOFOLLOW in args->oflags: lstat(2) */
    int (*readdir)(void *user, const struct muse_open_args *args, uint64_t cursor,
                   struct muse_dir *dir); /* muse_dir_add() for each entry behind @cursor */
    int (*readlink)(void *user, const struct muse_open_args *args, char *ret_target, size_t size);
    int (*unlink)(void *user, const struct muse_open_args *args, int flags); /* AT_REMOVEDIR */
    int (*rename)(void *user, const struct muse_open_args *args, const char *to,
                  unsigned flags); /* RENAME_* of renameat2(2) */
    int (*mkdir)(void *user, const struct muse_open_args *args, unsigned mode);

    /* For muse-driver-check(1): how many things (locks, reservations, contexts) are held for
     * mappings between their prepare and their complete or abort; what they are goes into @text.
     * Not deferred. */
    unsigned (*debug_held)(void *user, char *text, size_t size);

    /* The object has this size now: after each change of it, and after one that the driver has agreed to
     * (truncate, fallocate, muse_vma_grow()) and that came to nothing. Before the close of a mapping that
     * failed. Not deferred. */
    void (*resized)(void *user, uint64_t object_key, void *object, uint64_t size_bytes);

    /* One more about names, optional, 0 or -errno: change attributes, as chmod(2), chown(2) and
     * utimensat(2), and by the same rules for who may. @file: not NULL: of this open file, whatever
     * it is called now; args->path is how it was opened. O_NOFOLLOW in args->oflags: of a symbolic
     * link itself. Absent: EROFS. */
    int (*setattr_path)(void *user, const struct muse_open_args *args,
                        struct muse_driver_file *file, struct muse_attr_change *change);
};

/* The first two members, as in struct muse_driver_ops ops = { MUSE_DRIVER_OPS, .name = ... }; */
#define MUSE_DRIVER_OPS                                                                            \
    .struct_size = sizeof(struct muse_driver_ops), .api_version = MUSE_DRIVER_API_VERSION

/**
 * muse_driver_main() - parse options, connect, run hooks until the server goes or a signal comes
 * @argc: main's
 * @argv: main's
 * @ops:  borrowed until it returns
 * @user: the driver's own state, handed to hooks and to ops->argp
 *
 * Options of every driver: --rundir DIR, --name NAME, --verbose, --help, --version.
 * Return: 0 the server went away or SIGTERM came; 1 failed (reason on stderr); 2 usage.
 */
int muse_driver_main(int argc, char **argv, const struct muse_driver_ops *ops, void *user);

/**
 * muse_driver_set_read_only() - in start: this driver never opens for writing
 *
 * The server then answers such an open with EROFS without asking, and can keep the page caches
 * where the kernel has large folios for them. Later than in start it has no effect.
 */
void muse_driver_set_read_only(struct muse_driver *driver);

/**
 * muse_set_error() - one sentence that goes with the errno this hook is about to return
 * @format: printf; the text reaches the server's log and the client's muse_error_at()
 *
 * Per thread; cleared when the hook's answer was sent.
 */
void muse_set_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/**
 * muse_dir_add() - one entry of the folder that readdir was asked for; not "." nor ".."
 * @name: copied   @type: S_IFMT bits, 0 unknown
 * @next_cursor: not 0: what readdir gets to go on behind this entry
 *
 * Return: true; false: this answer is full, the entry was not taken: return 0, readdir comes again.
 */
bool muse_dir_add(struct muse_dir *dir, const char *name, mode_t type, uint64_t inode,
                  uint64_t next_cursor);

/**
 * muse_request_defer() - answer the file hook or vm operation that is running now later
 *
 * The hook's return value is then ignored; what the hook was given (desc, vma) stays valid until
 * muse_reply().
 *
 * Return: the request, to be answered exactly once; NULL outside a hook that has an answer.
 */
struct muse_request *muse_request_defer(void);

/**
 * muse_reply() - answer a deferred hook, from any thread
 * @request: from muse_request_defer(); consumed
 * @error:   0 or -errno; for `access` how many bytes, too. A deferred `vma_name` gives no name.
 */
void muse_reply(struct muse_request *request, int error);

/**
 * muse_desc_open_file() - in mmap_prepare: map a new file, made for this mapping, instead
 * @name:   what people see, below the driver's name; copied
 * @result: as open fills it in, without extents, of the page size of desc->file; copied
 *
 * Linux: shmem_zero_setup_desc(). Sets desc->vm_file. The file is as open as any: release comes when
 * nothing maps it any more, or, when prepare or the map call fails, after that.
 *
 * Return: 0; -EINVAL not in mmap_prepare's own call, or a name or result that cannot be; -EBUSY
 * there is one already; -ENOMEM.
 */
int muse_desc_open_file(struct muse_vma_desc *desc, const char *name,
                        const struct muse_open_result *result);

/**
 * muse_vma_remap() - in mmap_complete or mmap: map bytes of @fd into @vma
 * @address:   absolute, inside the new part, page aligned
 * @length:    bytes, page aligned
 * @fd:        borrowed until the hook was answered
 * @fd_offset: page aligned
 *
 * As remap_pfn_range_complete() of Linux. Carried out by the server when the hook has returned 0;
 * its failure fails the map call like a failing complete.
 *
 * Return: 0; -EINVAL outside the mapping or not aligned; -ENOSPC more than 256 verbs in mmap_complete,
 * of more than 16 fds, or more than one verb in mmap; -ENOMEM.
 */
int muse_vma_remap(struct muse_vma *vma, uint64_t address, uint64_t length, int fd,
                   uint64_t fd_offset);

/** muse_vma_prefault() - in mmap_complete or mmap: make @n_pages from @address present before the
 * call returns. Return: as muse_vma_remap(). */
int muse_vma_prefault(struct muse_vma *vma, uint64_t address, uint64_t n_pages);

/**
 * muse_vma_supply() - in mmap_complete or mmap: these pages' bytes, before anybody can ask for them
 * @address: absolute, inside the new part, aligned to the object's page
 * @data:    n_pages * 4096 bytes, copied into the object's page cache before this returns
 * @n_pages: 4 KiB pages; whole pages of the object, all inside it
 *
 * As muse_fault_supply(). They are valid for every mapping of the object once the hook returned 0.
 *
 * Return: as muse_vma_remap(); -ENODEV the object or the server is gone.
 */
int muse_vma_supply(struct muse_vma *vma, uint64_t address, const void *data, uint64_t n_pages);

/**
 * muse_vma_poison() - in mmap_complete or mmap: these pages of the mapping cannot be had
 * @address: absolute, inside the new part, aligned to the object's page
 * @n_pages: 4 KiB pages; whole pages of the object
 * @error:   -errno: what muse_error_at() says; the sentence of muse_set_error() goes with it
 *
 * A touch is SIGBUS, and fault is not asked, until the page is supplied for another mapping.
 *
 * Return: as muse_vma_remap().
 */
int muse_vma_poison(struct muse_vma *vma, uint64_t address, uint64_t n_pages, int error);

/**
 * muse_vma_grow() - in mmap_complete or mmap: the mapping's object is at least this long from now on
 * @vma:        its object has 4 KiB pages, and its driver the truncate hook
 * @size_bytes: the object's size; a smaller one than it has does nothing
 *
 * As i_size_write() in hugetlbfs_file_mmap_complete() of Linux: whoever has the object open sees the new
 * size once the map call has returned. Carried out when the hook has returned 0; its failure (EFBIG,
 * ENOMEM; EOPNOTSUPP of an object that keeps its size) fails the map call, and `resized` says what size
 * it has. What getattr tells is the driver's own business.
 *
 * Return: 0; -EINVAL not in such a hook; -ENOSPC, -ENOMEM as muse_vma_remap().
 */
int muse_vma_grow(struct muse_vma *vma, uint64_t size_bytes);

/**
 * muse_vma_forward() - in the legacy mmap hook: pass this mapping on to a file of another driver
 * @name: DRIVER/OBJECT
 *
 * The server runs that driver's mmap_prepare and mmap_complete at once (Linux:
 * compat_vma_mmap_prepare()).
 *
 * Return: 0; -EINVAL not in the mmap hook.
 */
int muse_vma_forward(struct muse_vma *vma, const char *name);

/**
 * muse_fault_supply() - these pages' bytes; copies them into the object's page cache
 * @first_page: may lie outside what was asked, also before or after it
 * @data:       n_pages * page_bytes bytes, borrowed
 *
 * Return: 0; -EINVAL beyond the object's end; -ENODEV the object or the server is gone.
 */
int muse_fault_supply(struct muse_fault *fault, uint64_t first_page, const void *data,
                      uint64_t n_pages);

/** muse_fault_zero() - these pages are all zeros */
int muse_fault_zero(struct muse_fault *fault, uint64_t first_page, uint64_t n_pages);

/** muse_fault_fd() - the object's page cache, to write pages into it oneself (pwrite, io_uring,
 * splice); borrowed. Then muse_fault_supplied(). */
int muse_fault_fd(const struct muse_fault *fault);

/** muse_fault_supplied() - the pages were written through muse_fault_fd() and are valid now */
int muse_fault_supplied(struct muse_fault *fault, uint64_t first_page, uint64_t n_pages);

/** muse_fault_fail() - these pages cannot be had: whoever needs one gets SIGBUS; others of the run
 * are not affected. Text: muse_set_error(). */
int muse_fault_fail(struct muse_fault *fault, uint64_t first_page, uint64_t n_pages, int error);

/** muse_fault_done() - ends a fault that returned MUSE_FAULT_PENDING; consumes @fault.
 * @error: as fault's return value */
void muse_fault_done(struct muse_fault *fault, int error);

/**
 * muse_invalidate() - revoke: forget these pages; the next touch asks fault again
 * @object_key: which object
 * @first_page: object page
 * @n_pages:    object pages; 0 = to the end
 *
 * Linux: unmap_mapping_range(). Waits until no client sees them. Not from a hook or fault (the
 * server waits for mmap_complete to end first): -EDEADLK.
 *
 * Return: 0; -ENOENT unknown object; -ENODEV no server; -ETIMEDOUT; -EDEADLK.
 */
int muse_invalidate(struct muse_driver *driver, uint64_t object_key, uint64_t first_page,
                    uint64_t n_pages);

#ifdef __cplusplus
}
#endif

#endif
