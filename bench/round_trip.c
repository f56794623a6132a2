/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * round_trip N: a request of 64 bytes and its answer between two processes, over the kind of socket that Muse has, with
 * poll(2), recvmsg(2) and sendmsg(2) on both ends. What any call to a server costs here. Called by bench/run.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/touch.h"

#define MESSAGE_BYTES 64u

/* Return: false: the other end has gone. */
static bool receive(int fd, void *message)
{
    struct pollfd pollfd = {.fd = fd, .events = POLLIN};
    struct iovec iovec = {message, MESSAGE_BYTES};
    struct msghdr header = {.msg_iov = &iovec, .msg_iovlen = 1};

    while (poll(&pollfd, 1, -1) < 0 && errno == EINTR)
        ;
    return recvmsg(fd, &header, 0) == (ssize_t)MESSAGE_BYTES;
}

static bool answer(int fd, void *message)
{
    struct iovec iovec = {message, MESSAGE_BYTES};
    const struct msghdr header = {.msg_iov = &iovec, .msg_iovlen = 1};

    return sendmsg(fd, &header, MSG_NOSIGNAL) == (ssize_t)MESSAGE_BYTES;
}

static void serve(int fd)
{
    char message[MESSAGE_BYTES];

    while (receive(fd, message) && answer(fd, message))
        ;
}

static int measure(int fd, uint64_t n, struct touch_result *ret_result)
{
    uint64_t *times = calloc(n, sizeof(*times));
    char message[MESSAGE_BYTES] = "";
    const uint64_t start = touch_now_ns();
    uint64_t last = start;

    if (!times)
        return -ENOMEM;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t now;

        if (!answer(fd, message) || !receive(fd, message)) {
            free(times);
            return -EPIPE;
        }
        now = touch_now_ns();
        times[i] = now - last;
        last = now;
    }
    touch_summarize(times, n, last - start, ret_result);
    free(times);
    return 0;
}

int main(int argc, char **argv)
{
    const uint64_t n = argc == 2 ? strtoull(argv[1], NULL, 10) : 0;
    struct touch_result result;
    int fds[2];
    pid_t pid;

    if (n == 0) {
        fprintf(stderr, "usage: round_trip N\n");
        return 2;
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0 || (pid = fork()) < 0) {
        perror("round_trip");
        return 1;
    }
    if (pid == 0) {
        (void)close(fds[0]);
        serve(fds[1]);
        _exit(0);
    }
    (void)close(fds[1]);
    if (measure(fds[0], n, &result) < 0) {
        fprintf(stderr, "round_trip: failed\n");
        return 1;
    }
    (void)close(fds[0]);
    (void)waitpid(pid, NULL, 0);
    touch_print(stdout, "round_trip", &result, -1);
    return 0;
}
