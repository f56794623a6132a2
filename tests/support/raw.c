/* SPDX-License-Identifier: BSD-3-Clause */
/* Frames by hand: from the library come only common/ipc/chan and the generated messages. */
#include "tests/support/raw.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <check.h>

#include "common/base/linux_abi.h"
#include "common/base/own.h"
#include "common/ipc/fd.h"
#include "tests/support/client.h"

#define WAIT_S  20
#define WAIT_MS (WAIT_S * 1000)

int raw_socket(const struct rig *rig, const char *name)
{
    const struct timeval timeout = {.tv_sec = WAIT_S};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(sock, 0);
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%.80s/%.16s", rig->run, name);
    ck_assert_int_eq(setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)), 0);
    ck_assert_int_eq(setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)), 0);
    ck_assert_int_eq(connect(sock, (const struct sockaddr *)&address, sizeof(address)), 0);
    return sock;
}

int raw_send(int sock, const void *bytes, size_t n_bytes, int fd, unsigned n_fds)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * 64)];
    } control;
    struct iovec iov = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = n_bytes};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

    ck_assert_uint_le(n_fds, 64);
    if (n_fds > 0) {
        struct cmsghdr *cmsg;

        memset(&control, 0, sizeof(control));
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
        cmsg = CMSG_FIRSTHDR(&message);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
        for (unsigned i = 0; i < n_fds; i++)
            memcpy(CMSG_DATA(cmsg) + i * sizeof(int), &fd, sizeof(int));
    }
    return sendmsg(sock, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int raw_frame(int sock, uint16_t type, const void *payload, size_t n_payload, int fd,
              unsigned n_fds, unsigned n_fds_said)
{
    static _Thread_local uint8_t bytes[FRAME_BYTES_MAX];
    const struct frame_header header = {.type = type, .n_fds = (uint8_t)n_fds_said, .id = 1};

    ck_assert_uint_le(n_payload, sizeof(bytes) - FRAME_HEADER_BYTES);
    frame_encode(&header, bytes);
    if (n_payload > 0)
        memcpy(bytes + FRAME_HEADER_BYTES, payload, n_payload);
    return raw_send(sock, bytes, FRAME_HEADER_BYTES + n_payload, fd, n_fds);
}

bool raw_is_cut_off(int sock)
{
    struct pollfd fds = {.fd = sock, .events = POLLIN};
    char bytes[256];

    while (poll(&fds, 1, WAIT_MS) == 1) {
        if (recv(sock, bytes, sizeof(bytes), MSG_DONTWAIT) <= 0 && errno != EAGAIN)
            return true;
    }
    return false;
}

/* ---- a client ---- */

uint64_t raw_ask(struct raw *raw, uint16_t type, const ProtobufCMessage *message)
{
    const uint64_t id = ++raw->next_id;

    ck_assert_int_eq(chan_send(&raw->chan, type, id, message, NULL, 0), 0);
    return id;
}

struct frame *raw_answer(struct raw *raw, uint16_t type, uint64_t id)
{
    struct frame *frame;
    int r = chan_recv(&raw->chan, &frame);

    ck_assert_msg(r == 0, "waiting for %s: %s", frame_type_name(type), strerror(-r));
    ck_assert_msg(frame->header.type == type, "%s instead of %s",
                  frame_type_name(frame->header.type), frame_type_name(type));
    ck_assert_uint_eq(frame->header.id, id);
    return frame;
}

int raw_failure(struct raw *raw, uint64_t id)
{
    struct frame *frame = raw_answer(raw, FRAME_FAILED, id);
    Muse__Wire__Failed *failed = muse__wire__failed__unpack(NULL, frame->n_payload, frame->payload);
    int error;

    ck_assert_ptr_nonnull(failed);
    error = (int)failed->error;
    muse__wire__failed__free_unpacked(failed, NULL);
    return error;
}

void raw_hello(struct raw *raw, const struct rig *rig)
{
    Muse__Wire__ClientHello hello = MUSE__WIRE__CLIENT_HELLO__INIT;
    Muse__Wire__ClientWelcome *welcome;
    int sock = raw_socket(rig, "client.sock");
    struct frame *frame;

    *raw = (struct raw){.uffd = -1, .device = -1};
    ck_assert_int_eq(chan_init(&raw->chan, &sock, FRAME_FDS_MAX, 0), 0);
    hello.version_min = PROTO_VERSION_MIN;
    hello.version_max = PROTO_VERSION_MAX;
    frame = raw_answer(raw, FRAME_CLIENT_WELCOME, raw_ask(raw, FRAME_CLIENT_HELLO, &hello.base));
    welcome = muse__wire__client_welcome__unpack(NULL, frame->n_payload, frame->payload);
    ck_assert_ptr_nonnull(welcome);
    raw->uffd_features = welcome->uffd_features;
    raw->device = frame_fd_take(frame, 0);
    muse__wire__client_welcome__free_unpacked(welcome, NULL);
}

void raw_uffd(struct raw *raw)
{
    struct uffdio_api api = {.api = UFFD_API, .features = raw->uffd_features};

    if (raw->device >= 0)
        raw->uffd = ioctl(raw->device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
    else
        raw->uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    ck_assert_int_ge(raw->uffd, 0);
    ck_assert_int_eq(ioctl(raw->uffd, UFFDIO_API, &api), 0);
}

void raw_attach(struct raw *raw)
{
    Muse__Wire__Attach attach = MUSE__WIRE__ATTACH__INIT;
    const uint64_t id = ++raw->next_id;
    uint64_t start;

    raw_uffd(raw);
    raw->arena =
        mmap(NULL, RAW_ARENA_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ck_assert_ptr_ne(raw->arena, MAP_FAILED);
    start = ((uintptr_t)raw->arena + (2u << 20) - 1) & ~(uint64_t)((2u << 20) - 1);
    attach.arena_start = start;
    attach.arena_bytes = RAW_ARENA_BYTES / 2;
    ck_assert_int_eq(chan_send(&raw->chan, FRAME_ATTACH, id, &attach.base, &raw->uffd, 1), 0);
    (void)raw_answer(raw, FRAME_ATTACHED, id);
}

uint64_t raw_place(const struct raw *raw)
{
    const uint64_t align = 2u << 20;

    return ((uintptr_t)raw->arena + align) / align * align;
}

void raw_done(struct raw *raw)
{
    chan_done(&raw->chan);
    fd_close(&raw->uffd);
    fd_close(&raw->device);
    if (raw->arena)
        (void)munmap(raw->arena, RAW_ARENA_BYTES);
    raw->arena = NULL;
}

static uint64_t open_as(struct raw *raw, const char *name, uint32_t oflags)
{
    Muse__Wire__Open message = MUSE__WIRE__OPEN__INIT;
    Muse__Wire__Opened *opened;
    struct frame *frame;
    uint64_t file_id;

    message.name = (char *)(uintptr_t)name; /* only read */
    message.oflags = oflags;
    frame = raw_answer(raw, FRAME_OPENED, raw_ask(raw, FRAME_OPEN, &message.base));
    opened = muse__wire__opened__unpack(NULL, frame->n_payload, frame->payload);
    ck_assert_ptr_nonnull(opened);
    file_id = opened->file_id;
    muse__wire__opened__free_unpacked(opened, NULL);
    return file_id;
}

uint64_t raw_open(struct raw *raw, const char *name)
{
    return open_as(raw, name, O_RDONLY);
}

uint64_t raw_open_rw(struct raw *raw, const char *name)
{
    return open_as(raw, name, O_RDWR);
}

uint64_t raw_map(struct raw *raw, uint64_t file_id, uint64_t addr, size_t len, uint32_t flags)
{
    Muse__Wire__Map message = MUSE__WIRE__MAP__INIT;

    message.addr = addr;
    message.length = len;
    message.prot = PROT_READ;
    message.flags = MAP_SHARED | flags;
    message.file_id = file_id;
    return raw_ask(raw, FRAME_MAP, &message.base);
}

void raw_ops_done(struct raw *raw, uint64_t id, uint32_t error)
{
    Muse__Wire__MemOpsDone message = MUSE__WIRE__MEM_OPS_DONE__INIT;

    message.n_done = error == 0;
    message.error = error;
    ck_assert_int_eq(chan_send(&raw->chan, FRAME_MEM_OPS_DONE, id, &message.base, NULL, 0), 0);
}

/* A private mapping of shared memory: it can be registered as the object's own could. */
static void map_stand_in(void *addr, size_t len, int prot)
{
    CLEAN(fd_close_p) int memfd = memfd_create("stand-in", MFD_CLOEXEC);

    ck_assert_int_eq(ftruncate(memfd, (off_t)len), 0);
    ck_assert_ptr_ne(mmap(addr, len, prot, MAP_PRIVATE | MAP_FIXED, memfd, 0), MAP_FAILED);
}

static void map_reserve(void *addr, size_t len)
{
    ck_assert_ptr_ne(
        mmap(addr, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0),
        MAP_FAILED);
}

static void carry_out(const Muse__Wire__MemOps__Op *op)
{
    void *addr = (void *)(uintptr_t)op->addr;
    void *to = (void *)(uintptr_t)op->to;

    if (op->kind == MUSE__WIRE__MEM_OPS__KIND__MMAP_FILE) {
        map_stand_in(addr, op->length, (int)op->prot);
    } else if (op->kind == MUSE__WIRE__MEM_OPS__KIND__MMAP_RESERVE) {
        map_reserve(addr, op->length);
    } else if (op->kind == MUSE__WIRE__MEM_OPS__KIND__MOVE) {
        ck_assert_ptr_eq(mremap(addr, op->length, op->length, MREMAP_MAYMOVE | MREMAP_FIXED, to),
                         to);
        map_reserve(addr, op->length);
    } else if (op->kind == MUSE__WIRE__MEM_OPS__KIND__MPROTECT) {
        ck_assert_int_eq(mprotect(addr, op->length, (int)op->prot), 0);
    } else {
        ck_abort_msg("this client cannot do op %d", (int)op->kind);
    }
}

void raw_carry_out(struct raw *raw, const struct frame *frame)
{
    Muse__Wire__MemOps *ops = muse__wire__mem_ops__unpack(NULL, frame->n_payload, frame->payload);

    ck_assert_ptr_nonnull(ops);
    ck_assert_uint_eq(ops->n_ops, 1);
    carry_out(ops->ops[0]);
    muse__wire__mem_ops__free_unpacked(ops, NULL);
    raw_ops_done(raw, frame->header.id, 0);
}

uint64_t raw_map_page(struct raw *raw, uint64_t file_id)
{
    const uint64_t id = raw_map(raw, file_id, raw_place(raw), PAGE, MAP_FIXED);

    raw_carry_out(raw, raw_answer(raw, FRAME_MEM_OPS, id));
    raw_carry_out(raw, raw_answer(raw, FRAME_MEM_OPS, id)); /* to open it */
    (void)raw_answer(raw, FRAME_MAPPED, id);
    return raw_place(raw);
}
