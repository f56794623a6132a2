/* SPDX-License-Identifier: BSD-3-Clause */
/* The server's end of test_sdk.c and test_sdk_vmops.c: starts the probe driver, speaks by hand, reads
 * its lines. */
#ifndef MUSE_TESTS_UNIT_SDK_SERVER_H
#define MUSE_TESTS_UNIT_SDK_SERVER_H

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <check.h>

#include "common/ipc/chan.h"
#include "proto/driver.pb-c.h"
#include "proto/fill_ring.h"
#include "proto/hooks.h"
#include "proto/path.pb-c.h"
#include "tests/unit/sdk_probe.h"

#define DEADLINE_MS 20000
#define FLAGS       (MUSE_VM_READ | MUSE_VM_MAYREAD | MUSE_VM_MAYWRITE)

static struct {
    char dir[64];
    struct sockaddr_un address;
    int listener;
    struct chan chan;
    pid_t pid;
    int log_fd; /* read here */
    int gate_fd;
    struct fill_ring *ring;
    int wake_driver_fd, wake_server_fd;
    int memfd;
} server;

static inline void await(int fd)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};

    ck_assert_int_eq(poll(&wait, 1, DEADLINE_MS), 1);
}

static inline const char *next_line(void)
{
    static char line[256];
    size_t n = 0;

    do {
        await(server.log_fd);
        ck_assert_int_eq(read(server.log_fd, &line[n], 1), 1);
    } while (line[n++] != '\n');
    line[n - 1] = '\0';
    return line;
}

#define expect_line(text) ck_assert_str_eq(next_line(), text)

static inline struct frame *next_frame(uint16_t type, uint64_t id)
{
    struct frame *frame;

    await(server.chan.fd);
    ck_assert_int_eq(chan_recv(&server.chan, &frame), 0);
    ck_assert_str_eq(frame_type_name(frame->header.type), frame_type_name(type));
    ck_assert_uint_eq(frame->header.id, id);
    return frame;
}

/* The message of a frame; freed by the next call. */
static inline void *next_message(uint16_t type, uint64_t id,
                                 const ProtobufCMessageDescriptor *descriptor)
{
    static ProtobufCMessage *message;
    struct frame *frame = next_frame(type, id);

    if (message)
        protobuf_c_message_free_unpacked(message, NULL);
    message = protobuf_c_message_unpack(descriptor, NULL, frame->n_payload, frame->payload);
    ck_assert_ptr_nonnull(message);
    return message;
}

#define next_prepared(id)                                                                          \
    ((Muse__Wire__Prepared *)next_message(FRAME_PREPARED, id, &muse__wire__prepared__descriptor))
#define next_completed(id)                                                                         \
    ((Muse__Wire__Completed *)next_message(FRAME_COMPLETED, id, &muse__wire__completed__descriptor))
#define next_failed(id)                                                                            \
    ((Muse__Wire__DriverFailed *)next_message(FRAME_DRIVER_FAILED, id,                             \
                                              &muse__wire__driver_failed__descriptor))
#define next_opened(id)                                                                            \
    ((Muse__Wire__DriverOpened *)next_message(FRAME_DRIVER_OPENED, id,                             \
                                              &muse__wire__driver_opened__descriptor))
#define next_fault_failed()                                                                        \
    ((Muse__Wire__FaultFailed *)next_message(FRAME_FAULT_FAILED, 0,                                \
                                             &muse__wire__fault_failed__descriptor))

static inline void post(uint16_t type, uint64_t id, void *message)
{
    ck_assert_int_eq(chan_send(&server.chan, type, id, message, NULL, 0), 0);
}

static inline int run_driver(const struct muse_driver_ops *ops, bool quiet)
{
    char rundir[] = "--rundir", name[] = "--name", other[] = "other", program[] = "driver";
    char *argv[] = {program, rundir, server.dir, name, other, NULL};

    if (quiet)
        (void)!freopen("/dev/null", "w", stderr);
    return muse_driver_main(5, argv, ops, &probe);
}

static inline void start_driver(const struct muse_driver_ops *ops, bool quiet)
{
    int log[2], gate[2];
    int fd;

    (void)snprintf(server.dir, sizeof(server.dir), "/tmp/muse-sdk-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(server.dir));
    server.address.sun_family = AF_UNIX;
    (void)snprintf(server.address.sun_path, sizeof(server.address.sun_path), "%s/driver.sock",
                   server.dir);
    server.listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(
        bind(server.listener, (struct sockaddr *)&server.address, sizeof(server.address)), 0);
    ck_assert_int_eq(listen(server.listener, 1), 0);
    ck_assert_int_eq(pipe2(log, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(gate, O_CLOEXEC), 0);
    (void)fflush(NULL);
    server.pid = fork();
    if (server.pid == 0) {
        (void)close(server.listener);
        (void)close(log[0]);
        (void)close(gate[1]);
        probe.log_fd = log[1];
        probe.gate_fd = gate[0];
        exit(run_driver(ops, quiet));
    }
    (void)close(log[1]);
    (void)close(gate[0]);
    server.log_fd = log[0];
    server.gate_fd = gate[1];
    await(server.listener);
    fd = accept4(server.listener, NULL, NULL, SOCK_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(chan_init(&server.chan, &fd, FRAME_FDS_MAX, 1u << 20), 0);
}

static inline void welcome(void)
{
    Muse__Wire__DriverWelcome message = MUSE__WIRE__DRIVER_WELCOME__INIT;
    int fds[3];

    fds[0] = memfd_create("ring", MFD_CLOEXEC);
    ck_assert_int_eq(ftruncate(fds[0], sizeof(*server.ring)), 0);
    server.ring = mmap(NULL, sizeof(*server.ring), PROT_READ | PROT_WRITE, MAP_SHARED, fds[0], 0);
    ck_assert_ptr_ne(server.ring, MAP_FAILED);
    server.wake_driver_fd = fds[1] = eventfd(0, EFD_CLOEXEC);
    server.wake_server_fd = fds[2] = eventfd(0, EFD_CLOEXEC);
    message.version = 1;
    message.driver_id = 1;
    message.hook_deadline_ns = 1000000000;
    ck_assert_int_eq(chan_send(&server.chan, FRAME_DRIVER_WELCOME, 0, &message.base, fds, 3), 0);
    (void)close(fds[0]);
}

static inline void start(const struct muse_driver_ops *ops)
{
    start_driver(ops, false);
    (void)next_frame(FRAME_DRIVER_HELLO, 0);
    welcome();
}

static inline void end_with(int status)
{
    int wait_status;

    chan_done(&server.chan);
    (void)close(server.gate_fd); /* whoever waits at the gate goes on */
    ck_assert_int_eq(waitpid(server.pid, &wait_status, 0), server.pid);
    ck_assert(WIFEXITED(wait_status));
    ck_assert_int_eq(WEXITSTATUS(wait_status), status);
    (void)unlink(server.address.sun_path);
    (void)rmdir(server.dir);
}

static inline void post_open(uint64_t id, const char *path)
{
    Muse__Wire__DriverOpen open = MUSE__WIRE__DRIVER_OPEN__INIT;

    open.path = (char *)(uintptr_t)path;
    open.uid = 1000;
    post(FRAME_DRIVER_OPEN, id, &open);
}

static inline uint64_t open_file(const char *path)
{
    post_open(1, path);
    (void)next_line();
    return next_opened(1)->handle;
}

static inline void post_handle(uint16_t type, uint64_t id, uint64_t handle)
{
    Muse__Wire__HandleRef ref = MUSE__WIRE__HANDLE_REF__INIT;

    ref.handle = handle;
    post(type, id, &ref);
}

static inline void post_path(uint16_t type, uint64_t id, const char *name, uint64_t cursor)
{
    Muse__Wire__PathAsk ask = MUSE__WIRE__PATH_ASK__INIT;

    ask.name = (char *)(uintptr_t)name; /* protobuf-c has no const; packing does not write */
    ask.has_cursor = true;
    ask.cursor = cursor;
    post(type, id, &ask);
}

/* Of what shall be changed all but the mask is the same each time. @handle: 0: of the name */
static inline void post_setattr(uint64_t id, const char *name, uint64_t handle, uint32_t flags)
{
    Muse__Wire__PathAsk ask = MUSE__WIRE__PATH_ASK__INIT;
    Muse__Wire__AttrChange change = MUSE__WIRE__ATTR_CHANGE__INIT;

    ask.name = (char *)(uintptr_t)name; /* as above */
    ask.has_flags = true;
    ask.flags = flags;
    ask.has_file = handle != 0;
    ask.file = handle;
    ask.change = &change;
    change.mask = SETATTR_MODE | SETATTR_UID | SETATTR_ATIME_NOW | SETATTR_MTIME;
    change.has_mode = change.has_uid = change.has_mtime_ns = true;
    change.mode = 0640;
    change.uid = 7;
    change.mtime_ns = -8;
    post(FRAME_DRIVER_SETATTR, id, &ask);
}

static inline void post_prepare(uint64_t id, uint64_t handle, uint64_t start, uint64_t n_pages)
{
    Muse__Wire__Prepare prepare = MUSE__WIRE__PREPARE__INIT;

    prepare.space_id = 1;
    prepare.handle = handle;
    prepare.start = start;
    prepare.end = start + n_pages * PAGE;
    prepare.vm_flags = FLAGS;
    prepare.page_prot = PROT_READ;
    post(FRAME_PREPARE, id, &prepare);
}

static inline Muse__Wire__Vma vma_message(uint64_t vma_id, uint64_t handle, uint64_t start,
                                          uint64_t n_pages)
{
    Muse__Wire__Vma vma = MUSE__WIRE__VMA__INIT;

    vma.vma_id = vma_id;
    vma.space_id = 1;
    vma.handle = handle;
    vma.start = start;
    vma.end = start + n_pages * PAGE;
    vma.vm_flags = FLAGS;
    vma.page_prot = PROT_READ;
    vma.vm_ops = 2;
    return vma;
}

static inline void post_complete(uint16_t type, uint64_t id, Muse__Wire__Vma vma, uint64_t context)
{
    Muse__Wire__Complete complete = MUSE__WIRE__COMPLETE__INIT;

    complete.vma = &vma;
    complete.context = context;
    complete.part_start = vma.start;
    complete.part_end = vma.end;
    post(type, id, &complete);
}

static inline void post_abort(uint64_t prepare_id, uint64_t handle, uint64_t private_data,
                              uint64_t context)
{
    Muse__Wire__Abort message = MUSE__WIRE__ABORT__INIT;

    message.prepare_id = prepare_id;
    message.handle = handle;
    message.private_data = private_data;
    message.context = context;
    post(FRAME_ABORT, 0, &message);
}

static inline void post_vma_event(uint16_t type, uint64_t id, Muse__Wire__Vma vma, uint64_t addr,
                                  uint64_t parent)
{
    Muse__Wire__VmaEvent event = MUSE__WIRE__VMA_EVENT__INIT;

    event.vma = &vma;
    event.has_addr = event.has_parent = true;
    event.addr = addr;
    event.parent = parent;
    post(type, id, &event);
}

/* prepare and complete of [start, +n_pages) as VMA @vma_id; their two lines are read. */
static inline void map_file(uint64_t handle, uint64_t vma_id, uint64_t start, uint64_t n_pages)
{
    Muse__Wire__Prepared *prepared;

    post_prepare(10, handle, start, n_pages);
    (void)next_line();
    prepared = next_prepared(10);
    ck_assert_int_eq(prepared->error, 0);
    post_complete(FRAME_COMPLETE, 11, vma_message(vma_id, handle, start, n_pages),
                  prepared->context);
    (void)next_line();
}

static inline void give_object(unsigned flags, uint64_t page_bytes)
{
    Muse__Wire__DriverObject object = MUSE__WIRE__DRIVER_OBJECT__INIT;

    server.memfd = memfd_create("object", MFD_CLOEXEC | flags);
    ck_assert_int_eq(ftruncate(server.memfd, (off_t)N_PAGES * PAGE), 0);
    object.object_key = KEY;
    object.object_id = CACHE_ID;
    object.size = (uint64_t)N_PAGES * PAGE;
    object.page_bytes = page_bytes;
    ck_assert_int_eq(
        chan_send(&server.chan, FRAME_DRIVER_OBJECT, 0, &object.base, &server.memfd, 1), 0);
}

static inline void ask(uint64_t request_id, uint64_t first_page, uint32_t n_pages,
                       uint32_t n_needed)
{
    const struct fill_ask entry = {request_id, KEY, CACHE_ID, first_page, n_pages, n_needed};
    const uint64_t one = 1;

    ck_assert(fill_ring_put_ask(server.ring, &entry));
    ck_assert_int_eq(write(server.wake_driver_fd, &one, sizeof(one)), sizeof(one));
}

static inline struct fill_answer next_answer(void)
{
    struct fill_answer answer;
    uint64_t count;

    while (!fill_ring_take_answer(server.ring, &answer)) {
        await(server.wake_server_fd);
        ck_assert_int_eq(read(server.wake_server_fd, &count, sizeof(count)), sizeof(count));
    }
    return answer;
}

static inline void expect_answer(uint64_t request_id, uint64_t first_page, uint64_t n_pages)
{
    const struct fill_answer answer = next_answer();
    uint8_t wanted[PAGE], found[PAGE];

    ck_assert_uint_eq(answer.request_id, request_id);
    ck_assert_uint_eq(answer.object_key, KEY);
    ck_assert_uint_eq(answer.first_page, first_page);
    ck_assert_uint_eq(answer.n_pages, n_pages);
    for (uint64_t page = first_page; page < first_page + n_pages; page++) {
        fill_pattern(wanted, page, 1);
        ck_assert_int_eq(pread(server.memfd, found, PAGE, (off_t)(page * PAGE)), PAGE);
        ck_assert_mem_eq(found, wanted, PAGE);
    }
}

static inline void expect_fault_failed(uint64_t request_id, uint64_t first_page, uint32_t n_pages,
                                       uint32_t error, const char *text)
{
    const Muse__Wire__FaultFailed *failed = next_fault_failed();

    ck_assert_uint_eq(failed->request_id, request_id);
    ck_assert_uint_eq(failed->first_page, first_page);
    ck_assert_uint_eq(failed->n_pages, n_pages);
    ck_assert_uint_eq(failed->error, error);
    ck_assert_str_eq(failed->text, text);
}

static inline void open_gate(void)
{
    ck_assert_int_eq(write(server.gate_fd, "x", 1), 1);
}

#endif
