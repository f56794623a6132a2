/* SPDX-License-Identifier: BSD-3-Clause */
/* Process, connection, calls. Owns all of them. */
#include "kit/peer.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/base/own.h"
#include "common/ipc/fd.h"

#define INVALIDATE_BIT (1ull << 63) /* ids of the driver's own requests */

struct peer_call {
    struct list node;
    uint64_t id;
    uint16_t answer_type;
    const char *hook;
    ProtobufCMessage *answer; /* owned; NULL: not yet */
};

struct peer_failed {
    struct list node;
    uint64_t request_id, first_page;
    uint32_t n_pages;
};

static const struct {
    uint16_t type;
    const ProtobufCMessageDescriptor *message;
} answers[] = {
    {FRAME_DRIVER_HELLO, &muse__wire__driver_hello__descriptor},
    {FRAME_DRIVER_FAILED, &muse__wire__driver_failed__descriptor},
    {FRAME_DRIVER_OPENED, &muse__wire__driver_opened__descriptor},
    {FRAME_DRIVER_ATTR, &muse__wire__attr__descriptor},
    {FRAME_PREPARED, &muse__wire__prepared__descriptor},
    {FRAME_COMPLETED, &muse__wire__completed__descriptor},
    {FRAME_DRIVER_ACCESSED, &muse__wire__driver_accessed__descriptor},
    {FRAME_VMA_NAMED, &muse__wire__vma_named__descriptor},
    {FRAME_DEBUG_HELD_IS, &muse__wire__debug_held_is__descriptor},
    {FRAME_FAULT_FAILED, &muse__wire__fault_failed__descriptor},
    {FRAME_INVALIDATE, &muse__wire__invalidate__descriptor},
};

int peer_complain(struct peer *peer, const char *format, ...)
{
    va_list args;

    if (peer->complaint[0])
        return -1;
    va_start(args, format);
    (void)vsnprintf(peer->complaint, sizeof(peer->complaint), format, args);
    va_end(args);
    return -1;
}

static uint64_t now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Return: whether it became readable in time. */
static bool await(int fd, unsigned in_ms)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    const uint64_t end_ms = now_ms() + in_ms;

    for (;;) {
        const uint64_t now = now_ms();
        const int r = poll(&wait, 1, now < end_ms ? (int)(end_ms - now) : 0);

        if (r >= 0 || errno != EINTR)
            return r > 0;
    }
}

/* ---- the process ---- */

static int listen_there(struct peer *peer)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    CLEAN(fd_close_p) int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    (void)snprintf(peer->dir, sizeof(peer->dir), "/tmp/muse-check.XXXXXX");
    if (!mkdtemp(peer->dir)) {
        peer->dir[0] = '\0';
        return -1;
    }
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/driver.sock", peer->dir);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 1) < 0)
        return -1;
    return fd_take(&fd);
}

static _Noreturn void exec_driver(const struct peer *peer, const char *command)
{
    char shell[4096];

    (void)snprintf(shell, sizeof(shell), "exec %s", command);
    if (setenv("MUSE_RUNDIR", peer->dir, 1) == 0)
        (void)execl("/bin/sh", "sh", "-c", shell, NULL);
    _exit(127);
}

/* How it ended, when it did. Return: whether it has. */
static bool has_ended(struct peer *peer, char *buf, size_t size)
{
    int status;

    if (peer->pid == 0 || waitpid(peer->pid, &status, WNOHANG) != peer->pid)
        return false;
    peer->pid = 0;
    if (WIFSIGNALED(status))
        (void)snprintf(buf, size, "it was killed by signal %d", WTERMSIG(status));
    else
        (void)snprintf(buf, size, "it exited with status %d", WEXITSTATUS(status));
    return true;
}

static int complain_lost(struct peer *peer, const char *when)
{
    char how[64] = "it closed its connection";

    for (unsigned i = 0; i < 50 && !has_ended(peer, how, sizeof(how)) && peer->pid; i++)
        (void)usleep(10000); /* the connection ends a moment before the process */
    peer->is_connected = false;
    return peer_complain(peer, "%s: %s", when, how);
}

/* ---- frames ---- */

static ProtobufCMessage *unpack(const struct frame *frame)
{
    for (size_t i = 0; i < N_ELEMENTS(answers); i++) {
        if (answers[i].type == frame->header.type)
            return protobuf_c_message_unpack(answers[i].message, NULL, frame->n_payload,
                                             frame->payload);
    }
    return NULL;
}

static struct peer_call *find_call(const struct peer *peer, uint64_t id)
{
    struct list *pos;

    list_for_each(pos, &peer->calls) {
        struct peer_call *call = CONTAINER_OF(pos, struct peer_call, node);

        if (call->id == id)
            return call;
    }
    return NULL;
}

static bool may_answer(const struct peer_call *call, uint16_t type)
{
    return type == call->answer_type ||
           (type == FRAME_DRIVER_FAILED && call->answer_type != FRAME_PREPARED &&
            call->answer_type != FRAME_COMPLETED);
}

static int take_answer(struct peer *peer, const struct frame *frame, ProtobufCMessage *message)
{
    struct peer_call *call = find_call(peer, frame->header.id);

    if (call && !call->answer && may_answer(call, frame->header.type)) {
        call->answer = message;
        return 0;
    }
    protobuf_c_message_free_unpacked(message, NULL);
    if (call && !call->answer) {
        return peer_complain(peer, "%s was answered by %s", call->hook,
                             frame_type_name(frame->header.type));
    }
    return peer_complain(peer, "%s with id %llu answers %s", frame_type_name(frame->header.type),
                         (unsigned long long)frame->header.id,
                         call ? "a call a second time" : "no call that is open");
}

static int note_failed(struct peer *peer, const Muse__Wire__FaultFailed *message)
{
    struct peer_failed *failed = calloc(1, sizeof(*failed));

    if (!failed)
        return -1;
    failed->request_id = message->request_id;
    failed->first_page = message->first_page;
    failed->n_pages = message->n_pages;
    list_add_tail(&peer->failed_pages, &failed->node);
    return 0;
}

/* What the driver asks for is done at once: nobody sees the pages. */
static int answer_invalidate(struct peer *peer, uint64_t id)
{
    Muse__Wire__Completed done = MUSE__WIRE__COMPLETED__INIT;

    if (!(id & INVALIDATE_BIT))
        return peer_complain(peer, "an INVALIDATE has an id of the server's");
    return chan_send(&peer->chan, FRAME_COMPLETED, id, &done.base, NULL, 0) < 0 ? -1 : 0;
}

static int take_frame(struct peer *peer, struct frame *frame)
{
    ProtobufCMessage *message = unpack(frame);
    int r;

    if (!message)
        return peer_complain(peer, "a frame %s that does not decode, or is not a driver's",
                             frame_type_name(frame->header.type));
    if (frame->header.type != FRAME_FAULT_FAILED && frame->header.type != FRAME_INVALIDATE)
        return take_answer(peer, frame, message);
    if (frame->header.type == FRAME_INVALIDATE)
        r = answer_invalidate(peer, frame->header.id);
    else
        r = note_failed(peer, (const Muse__Wire__FaultFailed *)message);
    protobuf_c_message_free_unpacked(message, NULL);
    return r;
}

/* One frame, when there is one in time. Return: 1 taken; 0 none; -1 see complaint. */
static int pump(struct peer *peer, unsigned in_ms, const char *what)
{
    struct frame *frame;
    int r;

    if (!await(peer->chan.fd, in_ms))
        return 0;
    r = chan_recv(&peer->chan, &frame);
    if (r == -EAGAIN)
        return 0;
    if (r < 0)
        return complain_lost(peer, what);
    return take_frame(peer, frame) < 0 ? -1 : 1;
}

int peer_tell(struct peer *peer, uint16_t type, const ProtobufCMessage *message, int fd)
{
    const int r = chan_send(&peer->chan, type, 0, message, &fd, fd >= 0);

    return r < 0 ? complain_lost(peer, frame_type_name(type)) : 0;
}

uint64_t peer_post(struct peer *peer, uint16_t type, const ProtobufCMessage *message,
                   uint16_t answer, const char *hook)
{
    struct peer_call *call = calloc(1, sizeof(*call));

    if (!call)
        return 0;
    call->id = ++peer->last_id;
    call->answer_type = answer;
    call->hook = hook;
    list_add_tail(&peer->calls, &call->node);
    if (chan_send(&peer->chan, type, call->id, message, NULL, 0) < 0) {
        (void)complain_lost(peer, hook);
        return 0;
    }
    return call->id;
}

ProtobufCMessage *peer_wait(struct peer *peer, uint64_t id, unsigned deadline_ms)
{
    const uint64_t end_ms = now_ms() + deadline_ms;
    struct peer_call *call = find_call(peer, id);
    ProtobufCMessage *answer;

    if (!call)
        return NULL;
    while (!call->answer) {
        const uint64_t now = now_ms();
        const int r = pump(peer, now < end_ms ? (unsigned)(end_ms - now) : 0, call->hook);

        if (r < 0)
            return NULL;
        if (r == 0 && now_ms() >= end_ms) {
            if (deadline_ms > 0)
                (void)peer_complain(peer, "%s was not answered within %u ms", call->hook,
                                    deadline_ms);
            return NULL;
        }
    }
    answer = TAKE(call->answer);
    list_del(&call->node);
    free(call);
    return answer;
}

/* ---- pages ---- */

int peer_ask_pages(struct peer *peer, const struct fill_ask *ask)
{
    const uint64_t one = 1;

    if (!fill_ring_put_ask(peer->ring, ask) ||
        write(peer->wake_driver_fd, &one, sizeof(one)) != sizeof(one))
        return peer_complain(peer, "the ring of asks is full: the driver takes none");
    return 0;
}

/* Return: 1 it is among those that failed; 0 not. */
static bool has_failed(const struct peer *peer, const struct fill_ask *ask, uint64_t page)
{
    struct list *pos;

    list_for_each(pos, &peer->failed_pages) {
        const struct peer_failed *failed = CONTAINER_OF(pos, struct peer_failed, node);

        if (failed->request_id == ask->request_id && page >= failed->first_page &&
            page < failed->first_page + failed->n_pages)
            return true;
    }
    return false;
}

int peer_wait_page(struct peer *peer, const struct fill_ask *ask, uint64_t page)
{
    const uint64_t end_ms = now_ms() + peer->deadline_ms;
    struct fill_answer answer;
    uint64_t count;

    while (now_ms() < end_ms) {
        while (fill_ring_take_answer(peer->ring, &answer)) {
            if (answer.object_key == ask->object_key && answer.object_id == ask->object_id &&
                page >= answer.first_page && page < answer.first_page + answer.n_pages)
                return 1;
        }
        if (has_failed(peer, ask, page))
            return 0;
        if (pump(peer, 1, "fault") < 0)
            return -1;
        (void)!read(peer->wake_server_fd, &count, sizeof(count)); /* only to clear it */
    }
    return peer_complain(
        peer,
        "fault was asked for page %llu, and within %u ms neither supplied it nor said that it failed",
        (unsigned long long)page, peer->deadline_ms);
}

/* ---- start and end ---- */

static int welcome(struct peer *peer)
{
    Muse__Wire__DriverWelcome message = MUSE__WIRE__DRIVER_WELCOME__INIT;
    CLEAN(fd_close_p) int ring_fd = memfd_create("ring", MFD_CLOEXEC);
    int fds[3];

    if (ring_fd < 0 || ftruncate(ring_fd, sizeof(*peer->ring)) < 0)
        return peer_complain(peer, "no memory for the ring");
    peer->ring = mmap(NULL, sizeof(*peer->ring), PROT_READ | PROT_WRITE, MAP_SHARED, ring_fd, 0);
    peer->wake_driver_fd = eventfd(0, EFD_CLOEXEC);
    peer->wake_server_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (peer->ring == MAP_FAILED || peer->wake_driver_fd < 0 || peer->wake_server_fd < 0)
        return peer_complain(peer, "no memory for the ring");
    message.version = 1;
    message.driver_id = 1;
    message.hook_deadline_ns = peer->deadline_ms * 1000000ull;
    fds[0] = ring_fd;
    fds[1] = peer->wake_driver_fd;
    fds[2] = peer->wake_server_fd;
    if (chan_send(&peer->chan, FRAME_DRIVER_WELCOME, 0, &message.base, fds, 3) < 0)
        return complain_lost(peer, "welcome");
    return 0;
}

static int take_hello(struct peer *peer)
{
    struct frame *frame;

    if (!await(peer->chan.fd, peer->deadline_ms))
        return peer_complain(peer, "no hello came within %u ms", peer->deadline_ms);
    if (chan_recv(&peer->chan, &frame) < 0)
        return complain_lost(peer, "hello");
    if (frame->header.type == FRAME_DRIVER_HELLO)
        peer->hello = (Muse__Wire__DriverHello *)unpack(frame);
    if (!peer->hello)
        return peer_complain(peer, "its first frame is no hello");
    return welcome(peer);
}

int peer_start(struct peer *peer, const char *command, unsigned deadline_ms)
{
    CLEAN(fd_close_p) int listener = -1;
    char how[64];
    int fd;

    *peer = (struct peer){.deadline_ms = deadline_ms, .wake_driver_fd = -1, .wake_server_fd = -1};
    list_init(&peer->calls);
    list_init(&peer->failed_pages);
    listener = listen_there(peer);
    if (listener < 0)
        return peer_complain(peer, "no socket to listen on: %s", strerror(errno));
    peer->pid = fork();
    if (peer->pid < 0)
        return peer_complain(peer, "fork: %s", strerror(errno));
    if (peer->pid == 0)
        exec_driver(peer, command);
    for (unsigned waited = 0; !await(listener, 50); waited += 50) {
        if (has_ended(peer, how, sizeof(how)))
            return peer_complain(peer, "it did not connect: %s", how);
        if (waited > 10 * deadline_ms)
            return peer_complain(peer, "it did not connect");
    }
    fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0 || chan_init(&peer->chan, &fd, FRAME_FDS_MAX, 1u << 20) < 0)
        return peer_complain(peer, "accept: %s", strerror(errno));
    peer->is_connected = true;
    return take_hello(peer);
}

static void drop_calls(struct peer *peer)
{
    struct list *node;

    while ((node = list_take_first(&peer->calls))) {
        struct peer_call *call = CONTAINER_OF(node, struct peer_call, node);

        if (call->answer)
            protobuf_c_message_free_unpacked(call->answer, NULL);
        free(call);
    }
    while ((node = list_take_first(&peer->failed_pages)))
        free(CONTAINER_OF(node, struct peer_failed, node));
}

int peer_hang_up(struct peer *peer)
{
    const uint64_t end_ms = now_ms() + peer->deadline_ms + 1000;
    int status = 0;

    chan_done(&peer->chan);
    peer->is_connected = false;
    while (now_ms() < end_ms) {
        if (waitpid(peer->pid, &status, WNOHANG) == peer->pid) {
            peer->pid = 0;
            if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
                return 0;
            return peer_complain(peer, "the server died, and it %s %d",
                                 WIFSIGNALED(status) ? "was killed by signal" : "exited with",
                                 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        }
        (void)usleep(2000);
    }
    return peer_complain(peer, "the server died, and it has not ended after %u ms",
                         peer->deadline_ms + 1000);
}

void peer_stop(struct peer *peer)
{
    char path[96];

    chan_done(&peer->chan);
    if (peer->pid > 0) {
        (void)kill(peer->pid, SIGKILL);
        (void)waitpid(peer->pid, NULL, 0);
    }
    if (peer->ring && peer->ring != MAP_FAILED)
        (void)munmap(peer->ring, sizeof(*peer->ring));
    fd_close_p(&peer->wake_driver_fd);
    fd_close_p(&peer->wake_server_fd);
    drop_calls(peer);
    if (peer->hello)
        muse__wire__driver_hello__free_unpacked(peer->hello, NULL);
    if (peer->dir[0]) {
        (void)snprintf(path, sizeof(path), "%s/driver.sock", peer->dir);
        (void)unlink(path);
        (void)rmdir(peer->dir);
    }
    *peer = (struct peer){.wake_driver_fd = -1, .wake_server_fd = -1};
    list_init(&peer->calls);
    list_init(&peer->failed_pages);
}

/* ---- from outside ---- */

int peer_n_fds(const struct peer *peer)
{
    char path[48];
    DIR *fds;
    int n = 0;

    (void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)peer->pid);
    fds = opendir(path);
    if (!fds)
        return -1;
    for (const struct dirent *entry; (entry = readdir(fds));)
        n += entry->d_name[0] != '.';
    (void)closedir(fds);
    return n;
}

uint64_t peer_rss_bytes(const struct peer *peer)
{
    unsigned long long total, resident = 0;
    char path[48];
    FILE *file;

    (void)snprintf(path, sizeof(path), "/proc/%d/statm", (int)peer->pid);
    file = fopen(path, "re");
    if (!file)
        return 0;
    if (fscanf(file, "%llu %llu", &total, &resident) != 2) /* NOLINT: the kernel's own numbers */
        resident = 0;
    (void)fclose(file);
    return (uint64_t)resident * 4096;
}
