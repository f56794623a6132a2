/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The first words with the server: find its socket, say which hooks this driver has, take the fill
 * ring. Called once by muse_driver_main(). Prints why it failed, because only here is it known what
 * was tried.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "drivers/sdk/sdk.h"
#include "proto/hooks.h"

#define WELCOME_DEADLINE_MS 10000 /* chosen: as long as a hook may take by default */
#define SEND_DEADLINE_S     10    /* chosen: a server that does not read for so long is gone */

enum { WELCOME_RING, WELCOME_WAKE_DRIVER, WELCOME_WAKE_SERVER, WELCOME_N_FDS };

/* Source: docs, "Run-time folder". Return: 0; -ENAMETOOLONG. */
static int socket_address(const struct muse_driver *driver, struct sockaddr_un *ret_address)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    const char *rundir = driver->rundir ? driver->rundir : getenv("MUSE_RUNDIR");
    int n;

    *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (rundir) {
        n = snprintf(ret_address->sun_path, sizeof(ret_address->sun_path), "%s/driver.sock",
                     rundir);
    } else if (geteuid() == 0 || !runtime) {
        n = snprintf(ret_address->sun_path, sizeof(ret_address->sun_path), "/run/muse/driver.sock");
    } else {
        n = snprintf(ret_address->sun_path, sizeof(ret_address->sun_path), "%s/muse/driver.sock",
                     runtime);
    }
    return n < 0 || (size_t)n >= sizeof(ret_address->sun_path) ? -ENAMETOOLONG : 0;
}

static int open_socket(struct muse_driver *driver)
{
    const struct timeval deadline = {.tv_sec = SEND_DEADLINE_S};
    struct sockaddr_un address;
    CLEAN(fd_close_p) int fd = -1;
    int r = socket_address(driver, &address);

    if (r < 0) {
        sdk_complain("run-time folder: %s", strerror(-r));
        return r;
    }
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &deadline, sizeof(deadline)) < 0 ||
        connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
        r = -errno;
        sdk_complain("%s: %s%s", address.sun_path, strerror(-r),
                     r == -ENOENT || r == -ECONNREFUSED ? " (is mused running?)" : "");
        return r;
    }
    /* No output queue: the socket is blocking, so a send waits, with SO_SNDTIMEO's deadline. */
    r = chan_init(&driver->chan, &fd, FRAME_FDS_MAX, 0);
    if (r < 0)
        sdk_complain("connect: %s", strerror(-r));
    return r;
}

/* With mmap_complete the SDK itself has to hear that a call came to nothing: its file is in use until
 * then. */
static bool wants_abort(const struct muse_driver_ops *ops)
{
    return ops->mmap_abort || (ops->mmap_prepare && ops->mmap_complete);
}

static uint32_t file_hooks(const struct muse_driver_ops *ops)
{
    return (ops->open ? FILE_HOOK_OPEN : 0u) | (ops->release ? FILE_HOOK_RELEASE : 0u) |
           (ops->getattr ? FILE_HOOK_GETATTR : 0u) |
           (ops->mmap_prepare ? FILE_HOOK_MMAP_PREPARE : 0u) |
           (ops->mmap_complete ? FILE_HOOK_MMAP_COMPLETE : 0u) |
           (wants_abort(ops) ? FILE_HOOK_MMAP_ABORT : 0u) | (ops->mmap ? FILE_HOOK_MMAP : 0u) |
           (ops->fault ? FILE_HOOK_FAULT : 0u) | (ops->writeback ? FILE_HOOK_WRITEBACK : 0u) |
           (ops->fsync ? FILE_HOOK_FSYNC : 0u) | (ops->truncate ? FILE_HOOK_TRUNCATE : 0u) |
           (ops->fallocate ? FILE_HOOK_FALLOCATE : 0u) |
           (ops->getattr_path ? FILE_HOOK_GETATTR_PATH : 0u) |
           (ops->readdir ? FILE_HOOK_READDIR : 0u) | (ops->readlink ? FILE_HOOK_READLINK : 0u) |
           (ops->unlink ? FILE_HOOK_UNLINK : 0u) | (ops->rename ? FILE_HOOK_RENAME : 0u) |
           (ops->mkdir ? FILE_HOOK_MKDIR : 0u) | (ops->debug_held ? FILE_HOOK_DEBUG_HELD : 0u);
}

/* What an older server may not know, and the driver can do without. */
static uint32_t optional_hooks(const struct muse_driver_ops *ops)
{
    return ops->setattr_path ? FILE_HOOK_SETATTR_PATH : 0u;
}

static uint32_t vm_hooks(const struct muse_vm_ops *ops)
{
    return (ops->open ? VM_HOOK_OPEN : 0u) | (ops->close ? VM_HOOK_CLOSE : 0u) |
           (ops->may_split ? VM_HOOK_MAY_SPLIT : 0u) | (ops->mprotect ? VM_HOOK_MPROTECT : 0u) |
           (ops->mremap ? VM_HOOK_MREMAP : 0u) | (ops->page_mkwrite ? VM_HOOK_PAGE_MKWRITE : 0u) |
           (ops->access ? VM_HOOK_ACCESS : 0u) | (ops->vma_name ? VM_HOOK_NAME : 0u);
}

static char *text_or_null(const char *text)
{
    return (char *)(uintptr_t)text; /* protobuf-c wants char *; packing only reads it */
}

/* Return: 0; -E2BIG too many tables of vm operations; as sdk_send(). */
static int say_hello(struct muse_driver *driver)
{
    Muse__Wire__DriverHello hello = MUSE__WIRE__DRIVER_HELLO__INIT;
    Muse__Wire__VmOps tables[DRIVER_VM_OPS_MAX];
    Muse__Wire__VmOps *pointers[DRIVER_VM_OPS_MAX];
    const struct muse_vm_ops *const *vm_ops = driver->ops.vm_ops;
    size_t n = 0;

    for (; vm_ops && vm_ops[n]; n++) {
        if (n == DRIVER_VM_OPS_MAX)
            return -E2BIG;
        muse__wire__vm_ops__init(&tables[n]);
        tables[n].id = (uint32_t)n + 1;
        tables[n].hooks = vm_hooks(vm_ops[n]);
        tables[n].name = text_or_null(vm_ops[n]->name);
        pointers[n] = &tables[n];
    }
    hello.version_min = PROTO_VERSION_MIN;
    hello.version_max = PROTO_VERSION_MAX;
    hello.name = driver->name;
    hello.file_hooks = file_hooks(&driver->ops);
    hello.has_optional_hooks = true;
    hello.optional_hooks = optional_hooks(&driver->ops);
    hello.n_vm_ops = n;
    hello.vm_ops = pointers;
    hello.version_text = text_or_null(driver->ops.version);
    hello.has_read_only = driver->read_only;
    hello.read_only = driver->read_only;
    return sdk_send(driver, FRAME_DRIVER_HELLO, 0, &hello.base, NULL, 0);
}

/* The ring is the server's memory: a file that is too small would be SIGBUS later.
 * Return: 0; -errno. */
static int take_ring(struct muse_driver *driver, struct frame *frame)
{
    CLEAN(fd_close_p) int ring_fd = frame_fd_take(frame, WELCOME_RING);
    struct stat stat;
    void *ring;

    if (fstat(ring_fd, &stat) < 0)
        return -errno;
    if (stat.st_size < (off_t)sizeof(struct fill_ring))
        return -EPROTO;
    ring = mmap(NULL, sizeof(struct fill_ring), PROT_READ | PROT_WRITE, MAP_SHARED, ring_fd, 0);
    if (ring == MAP_FAILED)
        return -errno;
    driver->ring = ring;
    driver->wake_driver_fd = frame_fd_take(frame, WELCOME_WAKE_DRIVER);
    driver->wake_server_fd = frame_fd_take(frame, WELCOME_WAKE_SERVER);
    return 0;
}

static int take_welcome(struct muse_driver *driver, struct frame *frame)
{
    Muse__Wire__DriverWelcome *welcome =
        muse__wire__driver_welcome__unpack(NULL, frame->n_payload, frame->payload);
    int r = -EPROTO;

    if (welcome && frame->header.n_fds == WELCOME_N_FDS && welcome->version >= PROTO_VERSION_MIN &&
        welcome->version <= PROTO_VERSION_MAX)
        r = take_ring(driver, frame);
    if (r == 0) {
        driver->hook_deadline_ns = welcome->hook_deadline_ns;
    } else {
        sdk_complain("the server's welcome: %s", strerror(-r));
    }
    if (welcome)
        muse__wire__driver_welcome__free_unpacked(welcome, NULL);
    return r;
}

static int take_refusal(struct frame *frame)
{
    Muse__Wire__DriverFailed *failed =
        muse__wire__driver_failed__unpack(NULL, frame->n_payload, frame->payload);

    if (!failed) {
        sdk_complain("the server refused this driver and did not say why");
        return -EPROTO;
    }
    sdk_complain("the server refused this driver: %s%s%s", strerror((int)failed->error),
                 failed->text ? ": " : "", failed->text ? failed->text : "");
    muse__wire__driver_failed__free_unpacked(failed, NULL);
    return -ECONNREFUSED;
}

static int take_first_answer(struct muse_driver *driver)
{
    struct pollfd socket = {.fd = driver->chan.fd, .events = POLLIN};
    struct frame *frame;
    int r;

    r = poll(&socket, 1, WELCOME_DEADLINE_MS);
    if (r <= 0) {
        r = r < 0 ? -errno : -ETIMEDOUT;
        sdk_complain("waiting for the server's welcome: %s", strerror(-r));
        return r;
    }
    r = chan_recv(&driver->chan, &frame);
    if (r < 0) {
        sdk_complain("waiting for the server's welcome: %s", strerror(-r));
        return r;
    }
    switch (frame->header.type) {
    case FRAME_DRIVER_WELCOME:
        return take_welcome(driver, frame);
    case FRAME_DRIVER_FAILED:
        return take_refusal(frame);
    default:
        sdk_complain("the server answered hello with %s", frame_type_name(frame->header.type));
        return -EPROTO;
    }
}

int connect_server(struct muse_driver *driver)
{
    int r = open_socket(driver);

    if (r < 0)
        return r;
    r = say_hello(driver);
    if (r < 0) {
        sdk_complain("registering: %s", strerror(-r));
        return r;
    }
    return take_first_answer(driver);
}
