/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * uffd_bare: the least that serves a mapping of one process from another: what Muse is built on,
 * without Muse. The server (the parent) owns a memfd and the object's bytes; a client (a child)
 * maps the memfd, hands over its userfaultfd by SCM_RIGHTS and does the work of bench/work.h.
 * Served as well as such a loop can:
 *
 *   in order   windows of WINDOW_PAGES, each filled by one pwrite and shown by one UFFDIO_CONTINUE,
 *              one window ahead. The first page of a window that is shown ahead stays unmapped, a
 *              *marker*: touching it is a cheap minor fault which starts the next window while the
 *              client goes on.
 *   at random  one page for each fault; AROUND_PAGES when they are filled already, as the kernel
 *              does for its own files.
 *
 * With --second a first client visits everything and holds it, and a second client's work is
 * measured. It trusts its children: no limits, no page states in shared memory, one object, no
 * writes.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/content.h"
#include "bench/work.h"

/* Measured: 2 MiB windows reach the client's own speed, 64 pages half of it. */
#define WINDOW_PAGES    512u
#define AROUND_PAGES    16u   /* fault_around_bytes of Linux: 64 KiB */
#define EVENTS_PER_READ 16    /* chosen: one client thread has one event at a time */
#define STALL_MAX_MS    60000 /* chosen: no event and no end of work for so long is a failure */
#define MAX_CLIENTS     2

struct client {
    pid_t pid;     /* owned: killed and reaped */
    int sock;      /* owned; server's end */
    int uffd;      /* owned */
    uint64_t base; /* address of the mapping in the client */
    bool random;   /* how its work visits pages */
};

struct server {
    uint64_t n_pages;
    uint64_t *content; /* owned */
    uint8_t *valid;    /* owned; for each page: the memfd has its bytes */
    int memfd;         /* owned */
    struct client clients[MAX_CLIENTS];
    unsigned n_clients;
};

/* What a client says once it can be served. Its userfaultfd comes with it. */
struct hello {
    uint64_t base;
};

/* The reader's side: the mapping exists already. */
struct client_memory {
    void *base;
};

static int client_fail(const char *what)
{
    fprintf(stderr, "uffd_bare: client: %s: %s\n", what, strerror(errno));
    return WORK_EXIT_FAILED;
}

static void *client_map(void *ctx, size_t len)
{
    struct client_memory *memory = ctx;

    (void)len;
    return memory->base;
}

static int client_unmap(void *ctx, void *addr, size_t len)
{
    (void)ctx;
    return munmap(addr, len);
}

static int client_advise(void *ctx, void *addr, size_t len, int advice)
{
    (void)ctx;
    return madvise(addr, len, advice);
}

static int client_mincore(void *ctx, void *addr, size_t len, unsigned char *vec)
{
    (void)ctx;
    return mincore(addr, len, vec);
}

/* Sends @uffd with @hello; -1 and errno. */
static int send_hello(int sock, int uffd, struct hello *hello)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {{0}};
    struct iovec iov = {hello, sizeof(*hello)};
    struct msghdr msg = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof(control.bytes),
    };
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(cmsg), &uffd, sizeof(uffd));
    return sendmsg(sock, &msg, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

/* The whole life of a client process; returns its exit status. */
static int run_client(int sock, int memfd, const struct work_options *options, bool quiet)
{
    struct uffdio_api api = {.api = UFFD_API,
                             .features = UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_SHMEM};
    struct client_memory memory;
    struct work_target target = {&memory, client_map, client_unmap, client_advise, client_mincore};
    struct hello hello;
    int uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    int status;
    char byte;

    if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api) < 0)
        return client_fail("userfaultfd");
    memory.base = mmap(NULL, options->size_bytes, PROT_READ, MAP_SHARED, memfd, 0);
    if (memory.base == MAP_FAILED)
        return client_fail("mmap");
    hello.base = (uintptr_t)memory.base;
    if (send_hello(sock, uffd, &hello) < 0 || read(sock, &byte, 1) != 1)
        return client_fail("server");
    status = work_run(options, &target, quiet);
    if (status == 0 && write(sock, "d", 1) == 1) {
        /* Until the server closes its end: the first client stays while the second works. */
        (void)!read(sock, &byte, 1);
    }
    return status;
}

/* Makes a client process, which waits for its go. */
static int start_client(struct server *server, const struct work_options *options, bool quiet)
{
    struct client *client = &server->clients[server->n_clients];
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    client->pid = fork();
    if (client->pid < 0)
        return -errno;
    if (client->pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (unsigned i = 0; i < server->n_clients; i++)
            close(server->clients[i].sock); /* or the first client's socket would never end */
        close(pair[0]);
        _exit(run_client(pair[1], server->memfd, options, quiet));
    }
    close(pair[1]);
    client->sock = pair[0];
    client->uffd = -1;
    client->random = options->kind == WORK_RAND;
    server->n_clients++;
    return 0;
}

/* Waits for @fd, at most STALL_MAX_MS; 0 or -errno. */
static int wait_readable(int fd)
{
    struct pollfd pollfd = {.fd = fd, .events = POLLIN};
    int n = poll(&pollfd, 1, STALL_MAX_MS);

    if (n == 0)
        return -ETIMEDOUT;
    return n < 0 ? -errno : 0;
}

/* Receives a client's hello and registers its mapping. */
static int accept_client(struct server *server, struct client *client)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct hello hello;
    struct iovec iov = {&hello, sizeof(hello)};
    struct msghdr msg = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof(control.bytes),
    };
    struct uffdio_register reg = {.mode =
                                      UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR};
    struct cmsghdr *cmsg;
    int r = wait_readable(client->sock);

    if (r < 0)
        return r;
    if (recvmsg(client->sock, &msg, MSG_CMSG_CLOEXEC) != sizeof(hello))
        return -ECONNRESET;
    cmsg = CMSG_FIRSTHDR(&msg);
    if (!cmsg || cmsg->cmsg_type != SCM_RIGHTS)
        return -EPROTO;
    memcpy(&client->uffd, CMSG_DATA(cmsg), sizeof(client->uffd));
    client->base = hello.base;
    reg.range.start = hello.base;
    reg.range.len = server->n_pages * CONTENT_PAGE_BYTES;
    return ioctl(client->uffd, UFFDIO_REGISTER, &reg) < 0 ? -errno : 0;
}

/* Fills pages [first, end) of the memfd; never through a mapping: that costs a fault a page. */
static int fill(struct server *server, uint64_t first, uint64_t end)
{
    const char *bytes = (const char *)server->content;

    for (uint64_t at = first * CONTENT_PAGE_BYTES; at < end * CONTENT_PAGE_BYTES;) {
        ssize_t n = pwrite(server->memfd, bytes + at, end * CONTENT_PAGE_BYTES - at, (off_t)at);

        if (n < 0)
            return -errno;
        at += (uint64_t)n;
    }
    memset(server->valid + first, 1, end - first);
    return 0;
}

/* Maps the valid pages [first, end), stepping over those already mapped; wakes who waits there. */
static int show(const struct client *client, uint64_t first, uint64_t end)
{
    uint64_t at = client->base + first * CONTENT_PAGE_BYTES;
    uint64_t stop = client->base + end * CONTENT_PAGE_BYTES;

    while (at < stop) {
        struct uffdio_continue cont = {.range = {at, stop - at}};

        if (ioctl(client->uffd, UFFDIO_CONTINUE, &cont) == 0)
            return 0;
        if (cont.mapped <= 0 && errno != EEXIST && errno != EAGAIN)
            return -errno;
        if (cont.mapped > 0) {
            at += (uint64_t)cont.mapped;
        } else if (errno == EEXIST) {
            at += CONTENT_PAGE_BYTES;
        }
    }
    return 0;
}

static uint64_t window_end(const struct server *server, uint64_t first)
{
    return first + WINDOW_PAGES < server->n_pages ? first + WINDOW_PAGES : server->n_pages;
}

/* A fault of a reader in order: the page or its window, then the next one, all but its marker. */
static int serve_in_order(struct server *server, const struct client *client, uint64_t page)
{
    uint64_t first = page - page % WINDOW_PAGES;
    uint64_t end = window_end(server, first);
    bool marker = server->valid[page] && page == first && page > 0;
    int r = server->valid[page] ? 0 : fill(server, first, end);

    if (r == 0)
        r = show(client, first, marker ? first + 1 : end);
    if (r == 0 && end < server->n_pages) {
        uint64_t next_end = window_end(server, end);

        if (!server->valid[end])
            r = fill(server, end, next_end);
        if (r == 0 && next_end > end + 1)
            r = show(client, end + 1, next_end);
    }
    return r;
}

/* A fault of a client that jumps about: that page, and its neighbours if they cost nothing. */
static int serve_at_random(struct server *server, const struct client *client, uint64_t page)
{
    uint64_t block = page - page % AROUND_PAGES;
    uint64_t first = page;
    uint64_t end = page + 1;

    if (!server->valid[page]) {
        int r = fill(server, page, page + 1);

        return r < 0 ? r : show(client, page, page + 1);
    }
    while (first > block && server->valid[first - 1])
        first--;
    while (end < block + AROUND_PAGES && end < server->n_pages && server->valid[end])
        end++;
    return show(client, first, end);
}

/* Serves the faults that are waiting now. */
static int serve_events(struct server *server, const struct client *client)
{
    struct uffd_msg msgs[EVENTS_PER_READ];
    ssize_t n = read(client->uffd, msgs, sizeof(msgs));

    if (n < 0)
        return errno == EAGAIN ? 0 : -errno;
    for (size_t i = 0; i < (size_t)n / sizeof(msgs[0]); i++) {
        uint64_t page = (msgs[i].arg.pagefault.address - client->base) / CONTENT_PAGE_BYTES;
        int r = client->random ? serve_at_random(server, client, page)
                               : serve_in_order(server, client, page);

        if (r < 0)
            return r;
    }
    return 0;
}

/* Lets one client work, and serves it until it is done. */
static int serve_client(struct server *server, struct client *client)
{
    struct pollfd fds[2] = {{.fd = client->uffd, .events = POLLIN},
                            {.fd = client->sock, .events = POLLIN}};
    char byte;

    if (write(client->sock, "g", 1) != 1)
        return -errno;
    for (;;) {
        int n = poll(fds, 2, STALL_MAX_MS);
        int r = 0;

        if (n <= 0)
            return n == 0 ? -ETIMEDOUT : -errno;
        if (fds[0].revents)
            r = serve_events(server, client);
        if (r < 0)
            return r;
        if (fds[1].revents)
            return read(client->sock, &byte, 1) == 1 ? 0 : -ECONNRESET;
    }
}

static int serve_all(struct server *server)
{
    for (unsigned i = 0; i < server->n_clients; i++) {
        int r = accept_client(server, &server->clients[i]);

        if (r < 0)
            return r;
    }
    for (unsigned i = 0; i < server->n_clients; i++) {
        int r = serve_client(server, &server->clients[i]);

        if (r < 0)
            return r;
    }
    return 0;
}

/* Makes what is served, and the clients first of all, so that they do not inherit it. */
static int set_up(struct server *server, const struct work_options *options)
{
    struct work_options first = *options;
    int r;

    server->n_pages = options->size_bytes / CONTENT_PAGE_BYTES;
    server->memfd = memfd_create("uffd_bare", MFD_CLOEXEC);
    if (server->memfd < 0 || ftruncate(server->memfd, (off_t)options->size_bytes) < 0)
        return -errno;
    first.kind = WORK_SEQ;
    first.n_ops = 0;
    if (options->second) {
        r = start_client(server, &first, true);
        if (r < 0)
            return r;
    }
    r = start_client(server, options, false);
    if (r < 0)
        return r;
    server->valid = calloc(server->n_pages, 1);
    if (!server->valid)
        return -ENOMEM;
    return content_new(options->size_bytes, &server->content);
}

/* Ends the clients: those that are done by closing their socket, others by force.
 * Return: the worst exit status. */
static int end_clients(struct server *server, bool force)
{
    int worst = 0;

    for (unsigned i = 0; i < server->n_clients; i++) {
        int status = 0;

        close(server->clients[i].sock);
        if (force)
            (void)kill(server->clients[i].pid, SIGKILL); /* may have ended already */
        (void)waitpid(server->clients[i].pid, &status, 0);
        if (WIFEXITED(status) && WEXITSTATUS(status) > worst)
            worst = WEXITSTATUS(status);
    }
    return worst;
}

int main(int argc, char **argv)
{
    struct server server = {.memfd = -1};
    struct work_options options;
    int worst;
    int status = work_parse(argc, argv, NULL, &options);
    int r;

    if (status != 0)
        return status < 0 ? 0 : status;
    if (options.kind != WORK_SEQ && options.kind != WORK_RAND) {
        fprintf(stderr, "uffd_bare: only --work seq and --work rand\n");
        return WORK_EXIT_USAGE;
    }
    r = set_up(&server, &options);
    if (r == 0)
        r = serve_all(&server);
    worst = end_clients(&server, r < 0 && r != -ECONNRESET);
    free(server.valid);
    if (r < 0 && worst == 0) {
        fprintf(stderr, "uffd_bare: server: %s\n", strerror(-r));
        worst = WORK_EXIT_FAILED;
    }
    return worst;
}
