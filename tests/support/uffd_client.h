/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client process for tests of the userfaultfd port: forked by the test, it makes a userfaultfd,
 * passes it over a socket with SCM_RIGHTS, and then does what it is told, one command at a time. It
 * keeps its own copy of the userfaultfd, as real clients do. Header only, for one test file.
 */
#ifndef MUSE_TESTS_SUPPORT_UFFD_CLIENT_H
#define MUSE_TESTS_SUPPORT_UFFD_CLIENT_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/linux_abi.h"
#include "common/base/own.h"

#define CLIENT_THREADS 4U

enum client_op {
    CLIENT_MAP,         /* fd (inherited), prot, flags, len -> address */
    CLIENT_READ,        /* addr -> byte, or -SIGBUS */
    CLIENT_WRITE,       /* addr, value -> 0, or -SIGBUS */
    CLIENT_SYSCALL,     /* addr -> byte, as write(2) to a pipe read it; or -errno */
    CLIENT_READ_LATER,  /* addr: a thread reads; answered at once */
    CLIENT_JOIN,        /* -> what the thread of CLIENT_READ_LATER read */
    CLIENT_THREADS_SUM, /* addr, len: CLIENT_THREADS threads read all pages -> sum of first bytes */
    CLIENT_MREMAP,      /* addr, len, to (0: anywhere else) -> new address or -errno */
    CLIENT_MADVISE,     /* addr, len, value -> 0 or -errno */
    CLIENT_MUNMAP,      /* addr, len -> 0 or -errno */
    CLIENT_BLOCKING,    /* clears O_NONBLOCK of the userfaultfd -> 0 or -errno */
};

struct client_command {
    enum client_op op;
    int fd;
    int prot;
    int flags;
    int value;
    uint64_t addr;
    uint64_t len;
    uint64_t to;
};

struct client {
    pid_t pid;
    int fd;          /* the socket to it */
    int uffd;        /* received; -1 when taken */
    pthread_t later; /* in the client only: the thread of CLIENT_READ_LATER */
};

/* In the client only. thread-local, because a jump buffer is one thread's. */
static __thread sigjmp_buf client_jump;

static void client_on_sigbus(int signal)
{
    siglongjmp(client_jump, signal);
}

static volatile uint8_t *client_memory(uint64_t addr)
{
    union {
        uint64_t addr;
        volatile uint8_t *bytes;
    } at = {.addr = addr};

    return at.bytes;
}

static int64_t client_read(uint64_t addr)
{
    if (sigsetjmp(client_jump, 1))
        return -SIGBUS;
    return *client_memory(addr);
}

static int64_t client_write(uint64_t addr, int value)
{
    if (sigsetjmp(client_jump, 1))
        return -SIGBUS;
    *client_memory(addr) = (uint8_t)value;
    return 0;
}

static int64_t client_syscall(uint64_t addr)
{
    int fds[2];
    uint8_t byte = 0;
    int64_t r;

    if (pipe2(fds, O_CLOEXEC) < 0)
        return -errno;
    r = write(fds[1], (const void *)(uintptr_t)addr, 1) == 1 && read(fds[0], &byte, 1) == 1
            ? byte
            : -errno;
    fd_close_p(&fds[0]);
    fd_close_p(&fds[1]);
    return r;
}

static void *client_read_thread(void *arg)
{
    return (void *)(intptr_t)client_read((uint64_t)(uintptr_t)arg);
}

struct client_sum {
    const struct client_command *command;
    unsigned i;
};

static void *client_sum_thread(void *arg)
{
    const struct client_sum *sum = arg;
    const uint64_t n_pages = sum->command->len / 4096;
    int64_t total = 0;
    uint64_t page;

    for (page = 0; page < n_pages; page++) { /* each starts elsewhere, so that they meet */
        total += client_read(sum->command->addr +
                             (page + sum->i * n_pages / CLIENT_THREADS) % n_pages * 4096);
    }
    return (void *)(intptr_t)total;
}

static int64_t client_threads_sum(const struct client_command *command)
{
    struct client_sum sums[CLIENT_THREADS];
    pthread_t threads[CLIENT_THREADS];
    int64_t total = 0;
    void *part;
    unsigned i;

    for (i = 0; i < CLIENT_THREADS; i++) {
        sums[i] = (struct client_sum){.command = command, .i = i};
        if (pthread_create(&threads[i], NULL, client_sum_thread, &sums[i]) != 0)
            _exit(1);
    }
    for (i = 0; i < CLIENT_THREADS; i++) {
        (void)pthread_join(threads[i], &part);
        total += (intptr_t)part;
    }
    return total;
}

static int64_t client_map(const struct client_command *c)
{
    void *map = mmap(NULL, c->len, c->prot, c->flags, c->fd, 0);

    return map == MAP_FAILED ? -errno : (int64_t)(intptr_t)map;
}

/* With no place given: to one of its own choice, never the same. */
static int64_t client_mremap(const struct client_command *c)
{
    void *to = (void *)(uintptr_t)c->to;
    void *map;

    if (!to)
        to = mmap(NULL, c->len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (to == MAP_FAILED)
        return -errno;
    map = mremap((void *)(uintptr_t)c->addr, c->len, c->len, MREMAP_MAYMOVE | MREMAP_FIXED, to);
    return map == MAP_FAILED ? -errno : (int64_t)(intptr_t)map;
}

static int64_t client_do(struct client *client, const struct client_command *c)
{
    void *result;

    switch (c->op) {
    case CLIENT_MAP:
        return client_map(c);
    case CLIENT_READ:
        return client_read(c->addr);
    case CLIENT_WRITE:
        return client_write(c->addr, c->value);
    case CLIENT_SYSCALL:
        return client_syscall(c->addr);
    case CLIENT_READ_LATER:
        return -pthread_create(&client->later, NULL, client_read_thread,
                               (void *)(uintptr_t)c->addr);
    case CLIENT_JOIN:
        return pthread_join(client->later, &result) == 0 ? (intptr_t)result : -ESRCH;
    case CLIENT_THREADS_SUM:
        return client_threads_sum(c);
    case CLIENT_MREMAP:
        return client_mremap(c);
    case CLIENT_MADVISE:
        return madvise((void *)(uintptr_t)c->addr, c->len, c->value) < 0 ? -errno : 0;
    case CLIENT_MUNMAP:
        return munmap((void *)(uintptr_t)c->addr, c->len) < 0 ? -errno : 0;
    case CLIENT_BLOCKING:
        return fcntl(client->uffd, F_SETFL, 0) < 0 ? -errno : 0;
    }
    return -EINVAL;
}

/** client_uffd() - a userfaultfd of ours. @flags: O_NONBLOCK or 0. Return: the fd, or -errno. */
static int client_uffd(int flags, uint64_t features)
{
    struct uffdio_api api = {.api = UFFD_API, .features = features};
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | flags);

    if (fd < 0)
        return -errno;
    if (features && ioctl(fd, UFFDIO_API, &api) < 0) {
        int r = -errno;

        fd_close_p(&fd);
        return r;
    }
    return fd;
}

static int client_send_uffd(const struct client *client)
{
    char byte = 0;
    struct iovec iov = {.iov_base = &byte, .iov_len = 1};
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {0};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control,
                         .msg_controllen = sizeof(control)};
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(cmsg), &client->uffd, sizeof(int));
    return sendmsg(client->fd, &msg, 0) == 1 ? 0 : -errno;
}

static _Noreturn void client_main(struct client *client, uint64_t features)
{
    struct sigaction on_sigbus = {.sa_handler = client_on_sigbus};
    struct client_command command;
    int64_t result;

    client->uffd = client_uffd(O_NONBLOCK, features);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)sigaction(SIGBUS, &on_sigbus, NULL);
    if (client->uffd < 0 || client_send_uffd(client) < 0)
        _exit(1);
    while (recv(client->fd, &command, sizeof(command), 0) == sizeof(command)) {
        result = client_do(client, &command);
        if (send(client->fd, &result, sizeof(result), MSG_NOSIGNAL) < 0)
            _exit(1);
    }
    _exit(0);
}

/**
 * client_start() - fork a client; it inherits all fds, so that commands may name memfds by number
 * @client:   its ->uffd is the server's copy
 * @features: for UFFDIO_API
 *
 * Return: 0; -errno when the client could make no userfaultfd.
 */
static int client_start(struct client *client, uint64_t features)
{
    char byte;
    struct iovec iov = {.iov_base = &byte, .iov_len = 1};
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control,
                         .msg_controllen = sizeof(control)};
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
        return -errno;
    client->uffd = -1;
    client->pid = fork();
    if (client->pid == 0) {
        fd_close_p(&fds[0]);
        client->fd = fds[1];
        client_main(client, features);
    }
    fd_close_p(&fds[1]);
    client->fd = fds[0];
    if (recvmsg(client->fd, &msg, MSG_CMSG_CLOEXEC) != 1 || !CMSG_FIRSTHDR(&msg))
        return -EPERM;
    memcpy(&client->uffd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(int));
    return 0;
}

#endif
