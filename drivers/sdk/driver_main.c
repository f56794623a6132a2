/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * muse_driver_main(): options, the start of everything, and the main thread's loop until the server
 * goes or a signal comes. Owns the struct muse_driver. Decides nothing about hooks: dispatch.c and
 * hooks.c do.
 */
#include <argp.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "drivers/sdk/sdk.h"

enum { OPTION_RUNDIR = 0x1001, OPTION_NAME };

void sdk_wake(struct muse_driver *driver)
{
    const uint64_t one = 1;

    (void)!write(driver->wake_fd, &one, sizeof(one)); /* EAGAIN: it is awake in any case */
}

void sdk_trace(const struct muse_driver *driver, const char *format, ...)
{
    char line[1024];
    va_list args;

    if (!driver->verbose)
        return;
    va_start(args, format);
    (void)vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    (void)fprintf(stderr, "%s: %s\n", program_invocation_short_name, line);
}

void sdk_complain(const char *format, ...)
{
    char line[1024];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    (void)fprintf(stderr, "%s: %s\n", program_invocation_short_name, line);
}

uint64_t sdk_now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void sdk_connection_lost(struct muse_driver *driver)
{
    atomic_store(&driver->lost, true);
    (void)shutdown(driver->chan.fd, SHUT_RDWR); /* a socket that is shut down already: as wanted */
    sdk_wake(driver);
}

int sdk_send(struct muse_driver *driver, uint16_t type, uint64_t id,
             const ProtobufCMessage *message, const int *fds, unsigned n_fds)
{
    int r;

    if (atomic_load(&driver->lost))
        return -ENODEV;
    r = chan_send(&driver->chan, type, id, message, fds, n_fds);
    if (r == -EMSGSIZE)
        return r;
    if (r < 0) {
        sdk_connection_lost(driver);
        return -ENODEV;
    }
    return 0;
}

static bool name_is_legal(const char *name)
{
    const size_t length = strlen(name);

    return length >= 1 && length <= DRIVER_NAME_BYTES_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") == length;
}

static void set_name(struct muse_driver *driver, const char *name, struct argp_state *state)
{
    if (!name_is_legal(name)) {
        argp_error(state, "%s: a driver's name is 1 to 32 of a-z 0-9 _ -", name);
    } else {
        (void)snprintf(driver->name, sizeof(driver->name), "%s", name);
    }
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct muse_driver *driver = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        if (driver->ops.argp)
            state->child_inputs[0] = driver->user;
        return 0;
    case OPTION_RUNDIR:
        driver->rundir = argument;
        return 0;
    case OPTION_NAME:
        set_name(driver, argument, state);
        return 0;
    case 'v':
        driver->verbose = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* Return: 0; errors of the command line end the process with 2, --help and --version with 0. */
static int parse_options(struct muse_driver *driver, int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"rundir", OPTION_RUNDIR, "DIR", 0, "Folder with the server's sockets", 10},
        {"name", OPTION_NAME, "NAME", 0, "Register under this name", 10},
        {"verbose", 'v', NULL, 0, "Say on stderr which hooks run", 10},
        {0},
    };
    const struct argp_child children[] = {{.argp = driver->ops.argp}, {0}};
    const struct argp argp = {
        .options = options,
        .parser = parse_option,
        .children = driver->ops.argp ? children : NULL,
    };
    const char *name = getenv("MUSE_DRIVER_NAME");

    if (!name)
        name = driver->ops.name ? driver->ops.name : "";
    if (!name_is_legal(name)) {
        sdk_complain("name \"%s\": a driver's name is 1 to 32 of a-z 0-9 _ -", name);
        return -EINVAL;
    }
    (void)snprintf(driver->name, sizeof(driver->name), "%s", name);
    argp_err_exit_status = 2;
    (void)snprintf(driver->version_text, sizeof(driver->version_text), "%s %s",
                   program_invocation_short_name,
                   driver->ops.version ? driver->ops.version : "(no version)");
    argp_program_version = driver->version_text;
    return -argp_parse(&argp, argc, argv, 0, NULL, driver);
}

/* What is older than this SDK leaves the hooks it does not know NULL. Return: 0; -EINVAL. */
static int copy_ops(struct muse_driver *driver, const struct muse_driver_ops *ops)
{
    const size_t n =
        ops->struct_size < sizeof(driver->ops) ? ops->struct_size : sizeof(driver->ops);

    if (ops->struct_size < offsetof(struct muse_driver_ops, start) ||
        ops->api_version != MUSE_DRIVER_API_VERSION) {
        sdk_complain("made for another libmuse-driver: API version %u, this one has %u",
                     ops->api_version, MUSE_DRIVER_API_VERSION);
        return -EINVAL;
    }
    memcpy(&driver->ops, ops, n);
    return 0;
}

/* Signals that end the process arrive as bytes; every thread made later inherits the mask. */
static int init_fds(struct muse_driver *driver)
{
    sigset_t signals;

    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigaddset(&signals, SIGINT);
    if (pthread_sigmask(SIG_BLOCK, &signals, NULL) != 0)
        return -EINVAL;
    driver->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (driver->signal_fd < 0)
        return -errno;
    driver->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return driver->wake_fd < 0 ? -errno : 0;
}

static int init(struct muse_driver *driver)
{
    int r;

    idmap_init(&driver->files);
    idmap_init(&driver->vmas);
    list_init(&driver->map_calls);
    list_init(&driver->deferred);
    list_init(&driver->parked);
    list_init(&driver->replied);
    list_init(&driver->invalidations);
    list_init(&driver->faults);
    driver->main_thread = pthread_self();
    r = init_fds(driver);
    if (r == 0)
        r = objects_init(&driver->objects);
    if (r < 0)
        sdk_complain("start: %s", strerror(-r));
    return r;
}

static void free_requests(struct list *requests)
{
    struct list *node;

    while ((node = list_take_first(requests)) != NULL)
        (void)request_free(LIST_ENTRY(node, struct muse_request, node));
}

static void free_tables(struct muse_driver *driver)
{
    struct list *node;
    size_t cursor = 0;
    void *entry;

    free_requests(&driver->deferred);
    free_requests(&driver->replied);
    while ((node = list_take_first(&driver->parked)) != NULL)
        (void)event_free(LIST_ENTRY(node, struct event, node));
    while ((node = list_take_first(&driver->map_calls)) != NULL)
        free(LIST_ENTRY(node, struct map_call, node));
    while ((entry = idmap_next(&driver->files, &cursor)) != NULL)
        free(entry);
    cursor = 0;
    while ((entry = idmap_next(&driver->vmas, &cursor)) != NULL)
        free(entry);
    idmap_done(&driver->files);
    idmap_done(&driver->vmas);
}

static struct muse_driver *driver_free(struct muse_driver *driver)
{
    faults_free(driver);
    free_tables(driver);
    objects_done(&driver->objects);
    chan_done(&driver->chan);
    if (driver->ring)
        (void)munmap(driver->ring, sizeof(*driver->ring)); /* our own mapping: cannot fail */
    fd_close_p(&driver->signal_fd);
    fd_close_p(&driver->wake_fd);
    fd_close_p(&driver->wake_driver_fd);
    fd_close_p(&driver->wake_server_fd);
    (void)pthread_mutex_destroy(&driver->lock);
    (void)pthread_mutex_destroy(&driver->answers_lock);
    (void)pthread_cond_destroy(&driver->invalidated);
    free(driver);
    return NULL;
}

static struct muse_driver *driver_new(void)
{
    struct muse_driver *driver = calloc(1, sizeof(*driver));
    pthread_condattr_t attr;

    if (!driver)
        return NULL;
    driver->chan.fd = -1;
    driver->signal_fd = driver->wake_fd = driver->wake_driver_fd = driver->wake_server_fd = -1;
    (void)pthread_mutex_init(&driver->lock, NULL); /* default attributes: cannot fail on Linux */
    (void)pthread_mutex_init(&driver->answers_lock, NULL);
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&driver->invalidated, &attr);
    (void)pthread_condattr_destroy(&attr);
    return driver;
}

/* One frame, if there is one. Return: 0; -errno ends the loop. */
static int receive(struct muse_driver *driver)
{
    struct frame *frame;
    int r = chan_recv(&driver->chan, &frame);

    if (r == -EAGAIN)
        return 0;
    if (r < 0)
        return r;
    dispatch_retire(driver); /* what was answered comes before what the answer caused */
    r = dispatch_frame(driver, frame);
    if (r < 0) {
        sdk_complain("frame %s from the server: %s", frame_type_name(frame->header.type),
                     strerror(-r));
    }
    return r;
}

static void drain(int fd)
{
    uint64_t count;

    (void)!read(fd, &count, sizeof(count)); /* only there to be emptied */
}

/* Return: 0 the server went or a signal came; -errno the server does not speak our language. */
static int run(struct muse_driver *driver)
{
    struct pollfd fds[] = {{.fd = driver->chan.fd, .events = POLLIN},
                           {.fd = driver->wake_fd, .events = POLLIN},
                           {.fd = driver->signal_fd, .events = POLLIN}};
    int r;

    for (;;) {
        if (poll(fds, N_ELEMENTS(fds), -1) < 0 && errno != EINTR)
            return -errno;
        if (fds[1].revents)
            drain(driver->wake_fd);
        dispatch_retire(driver);
        if (fds[2].revents || atomic_load(&driver->lost))
            return 0;
        if (!fds[0].revents)
            continue;
        r = receive(driver);
        if (r == -ECONNRESET)
            return 0;
        if (r < 0)
            return r;
    }
}

/* From a started driver to a stopped one. Return: the exit status. */
static int serve(struct muse_driver **driver_p)
{
    struct muse_driver *driver = *driver_p;
    int r = connect_server(driver);

    if (r < 0) {
        if (driver->ops.stop)
            driver->ops.stop(driver->user);
        return 1;
    }
    r = faults_start(driver);
    if (r == 0) {
        sdk_trace(driver, "registered as %s", driver->name);
        r = run(driver);
    } else {
        sdk_complain("fault thread: %s", strerror(-r));
    }
    sdk_connection_lost(driver);
    if (!shutdown_run(driver))
        *driver_p = NULL; /* a hook still runs in it; the process is about to end */
    return r < 0 ? 1 : 0;
}

void muse_driver_set_read_only(struct muse_driver *driver)
{
    driver->read_only = true;
}

int muse_driver_main(int argc, char **argv, const struct muse_driver_ops *ops, void *user)
{
    struct muse_driver *driver = driver_new();
    int status = 1;
    int r;

    if (!driver) {
        sdk_complain("start: %s", strerror(ENOMEM));
        return 1;
    }
    driver->user = user;
    if (copy_ops(driver, ops) < 0 || parse_options(driver, argc, argv) < 0) {
        status = 2;
    } else if (init(driver) == 0) {
        r = driver->ops.start ? driver->ops.start(driver, user) : 0;
        if (r < 0) {
            sdk_complain("start: %s",
                         *request_thread_text() ? request_thread_text() : strerror(-r));
        } else {
            status = serve(&driver);
        }
    }
    if (driver)
        driver = driver_free(driver);
    return status;
}
