/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of server/uffd/uffd_port.h against real client processes: the kernel facts the server is
 * built on, and what the port does when the client's mm changes, dies, or was made awkward on
 * purpose. Skipped where no userfaultfd can be had.
 */
#include <poll.h>
#include <sys/wait.h>

#include <check.h>

#include "server/store/store.h"
#include "server/uffd/uffd_port.h"
#include "tests/support/huge_pages.h"
#include "tests/support/uffd_client.h"
#include "tests/support/unit.h"

#define N_HUGE 4 /* pages of the machine */

#define N_PAGES    64U
#define PAGE       UINT64_C(4096)
#define TIMEOUT_NS UINT64_C(10000000000)
#define FAULTS_MAX 4096U

enum policy { SERVE, HOLD, SHOW_ONLY, SERVE_AND_WAIT };

static struct loop loop;
static struct uffd_port port;
static struct backing backing;
static struct client client;
static struct watcher socket_watcher;
static int64_t answer;
static bool has_answer, port_is_closed, socket_is_closed;

static enum policy policy;
static uint64_t base; /* where the client has mapped the backing */
static uint64_t page_bytes;
static struct uffd_fault faults[FAULTS_MAX];
static unsigned n_faults, n_missing;
static uint64_t missing_addr;
static uint64_t moved_from, moved_to, moved_len;
static unsigned stop_at_faults; /* loop stops when so many were seen; 0: never */

static int value_of(uint64_t page)
{
    return (int)(page * 7 % 200) + 1;
}

static void fill(uint64_t page)
{
    uint8_t byte = (uint8_t)value_of(page);

    ck_assert_int_eq(backing_write(&backing, page * page_bytes, &byte, 1), 0);
}

static struct range pages_at(uint64_t page, uint64_t n)
{
    return range_make(base + page * page_bytes, base + (page + n) * page_bytes);
}

static void on_faults(struct uffd_port *p, const struct uffd_fault *seen, unsigned n)
{
    unsigned i;

    ck_assert_ptr_eq(p->owner, &client);
    for (i = 0; i < n; i++) {
        uint64_t page = (seen[i].addr - base) / page_bytes;

        ck_assert_uint_lt(n_faults, FAULTS_MAX);
        faults[n_faults++] = seen[i];
        if ((policy == SERVE || policy == SERVE_AND_WAIT) && !seen[i].minor)
            fill(page);
        if (policy != HOLD)
            uffd_port_show(p, pages_at(page, 1), page_bytes);
    }
    if (policy == SERVE_AND_WAIT && n_faults == 1) /* the next one is there when we return */
        ck_assert_int_eq(poll(&(struct pollfd){.fd = p->fd, .events = POLLIN}, 1, 10000), 1);
    if (stop_at_faults && n_faults >= stop_at_faults)
        loop_stop(&loop);
}

static void on_remapped(struct uffd_port *p, uint64_t from, uint64_t to, uint64_t len)
{
    (void)p;
    moved_from = from;
    moved_to = to;
    moved_len = len;
    if (base == from)
        base = to;
}

static void on_page_missing(struct uffd_port *p, uint64_t addr)
{
    (void)p;
    n_missing++;
    missing_addr = addr;
}

static void on_port_closed(struct uffd_port *p)
{
    ck_assert_int_eq(p->fd, -1);
    port_is_closed = true;
}

static const struct uffd_port_ops ops = {.faults = on_faults,
                                         .remapped = on_remapped,
                                         .page_missing = on_page_missing,
                                         .closed = on_port_closed};

static void on_answer(struct watcher *watcher, bool readable, bool writable)
{
    (void)writable;
    if (readable && recv(client.fd, &answer, sizeof(answer), MSG_DONTWAIT) == sizeof(answer)) {
        has_answer = true;
    } else {
        watcher_want(watcher, false, false); /* the client has gone */
    }
    loop_stop(&loop);
}

static void on_socket_closed(struct watcher *watcher)
{
    (void)watcher;
    socket_is_closed = true;
}

static void on_timeout(struct deadline *deadline)
{
    (void)deadline;
    ck_abort_msg("nothing happened for 10 s");
}

/* Runs the loop until somebody stops it. */
static void run(void)
{
    struct deadline timeout = {.fn = on_timeout};

    deadline_set(&loop, &timeout, loop_now_ns() + TIMEOUT_NS);
    loop_run(&loop);
    deadline_clear(&loop, &timeout);
}

static void tell(struct client_command command)
{
    has_answer = false;
    ck_assert_int_eq(send(client.fd, &command, sizeof(command), MSG_NOSIGNAL), sizeof(command));
}

static int64_t await(void)
{
    while (!has_answer)
        run();
    return answer;
}

static int64_t ask(struct client_command command)
{
    tell(command);
    return await();
}

static int64_t ask_at(enum client_op op, uint64_t page)
{
    return ask((struct client_command){.op = op, .addr = base + page * page_bytes, .value = 0x77});
}

static void run_until_faults(unsigned n)
{
    stop_at_faults = n;
    while (n_faults < n)
        run();
    stop_at_faults = 0;
}

static unsigned n_open_fds(void)
{
    unsigned n = 0;
    int fd;

    for (fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static unsigned n_fds_before;
static struct store store = {.states_fd = -1, .cache_mount = -1}; /* memfds */

static void start(uint64_t bytes_per_page, uint64_t n_pages)
{
    page_bytes = bytes_per_page;
    ck_assert_int_eq(
        backing_new(&store, &backing, "test-uffd", n_pages * page_bytes, page_bytes, true), 0);
    ck_assert_int_ge(backing_readonly_fd(&backing), 0);
    ck_assert_int_eq(client_start(&client, uffd_port_features()), 0);
    ck_assert_int_eq(loop_init(&loop), 0);
    ck_assert_int_eq(uffd_port_open(&port, &loop, &client.uffd, &ops, &client), 0);
    ck_assert_int_eq(client.uffd, -1);
    socket_watcher = (struct watcher){.ready = on_answer, .closed = on_socket_closed};
    ck_assert_int_eq(watcher_open(&loop, &socket_watcher, client.fd), 0);
}

static void setup(void)
{
    ck_assert_int_eq(loop_init(&loop), 0); /* the first one leaves libuv's signal pipe */
    loop_done(&loop);
    n_fds_before = n_open_fds();
    start(PAGE, N_PAGES);
}

static void client_kill(void)
{
    ck_assert_int_eq(kill(client.pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(client.pid, NULL, 0), client.pid);
    client.pid = 0;
}

static void stop(void)
{
    if (!port.closing)
        uffd_port_close(&port);
    if (client.pid)
        client_kill();
    watcher_close(&socket_watcher);
    loop_done(&loop);
    ck_assert(port_is_closed && socket_is_closed);
    fd_close_p(&client.fd);
    backing_done(&backing);
    ck_assert_uint_eq(n_open_fds(), n_fds_before);
}

/* The client maps the whole backing and the server registers it. */
static void map(int flags, int prot, int fd, enum uffd_mode mode)
{
    int64_t addr = ask((struct client_command){
        .op = CLIENT_MAP, .fd = fd, .prot = prot, .flags = flags, .len = backing.size_bytes});

    ck_assert_int_gt(addr, 0);
    base = (uint64_t)addr;
    ck_assert_int_eq(uffd_port_register(&port, pages_at(0, backing.size_bytes / page_bytes), mode),
                     0);
}

static void map_shared(void)
{
    map(MAP_SHARED, PROT_READ | PROT_WRITE, backing.fd, UFFD_TRACKED);
}

START_TEST(pages_filled_on_demand_are_seen_through_shared_and_private_mappings)
{
    unsigned private;
    uint64_t page;

    for (private = 0; private < 2; private ++) {
        map(private ? MAP_PRIVATE : MAP_SHARED, PROT_READ | PROT_WRITE, backing.fd, UFFD_TRACKED);
        n_faults = 0;
        for (page = 0; page < N_PAGES; page++)
            ck_assert_int_eq(ask_at(CLIENT_READ, page), value_of(page));
        ck_assert_uint_eq(n_faults, N_PAGES);
        ck_assert_int_eq(faults[0].minor, private); /* the memfd has them by now */
        ck_assert(!faults[0].write && !faults[0].wp);
        ck_assert_uint_eq(faults[3].addr, base + 3 * PAGE);
    }
    ck_assert_uint_eq(port.n_pages_shown, 2 * N_PAGES);
}
END_TEST

START_TEST(a_page_only_the_memfd_has_is_a_minor_fault)
{
    map_shared();
    fill(5);
    ck_assert_int_eq(ask_at(CLIENT_READ, 5), value_of(5));
    ck_assert_uint_eq(n_faults, 1);
    ck_assert(faults[0].minor);
    ck_assert_int_eq(
        ask((struct client_command){
            .op = CLIENT_MADVISE, .addr = base, .len = 64 * PAGE, .value = MADV_DONTNEED}),
        0);
    ck_assert_int_eq(ask_at(CLIENT_READ, 5), value_of(5));
    ck_assert_uint_eq(n_faults, 2);
    ck_assert(faults[1].minor);
}
END_TEST

START_TEST(a_write_to_a_missing_page_is_one_fault_and_reaches_the_memfd)
{
    uint8_t byte;

    map_shared();
    ck_assert_int_eq(ask_at(CLIENT_WRITE, 9), 0);
    ck_assert_uint_eq(n_faults, 1);
    ck_assert(faults[0].write && !faults[0].minor);
    ck_assert_int_eq(pread(backing.fd, &byte, 1, 9 * PAGE), 1);
    ck_assert_uint_eq(byte, 0x77);
}
END_TEST

START_TEST(a_system_call_on_a_missing_page_is_served_too)
{
    map_shared();
    ck_assert_int_eq(ask_at(CLIENT_SYSCALL, 2), value_of(2));
    ck_assert_uint_eq(n_faults, 1);
}
END_TEST

START_TEST(a_shown_run_needs_one_call_and_no_faults)
{
    uint64_t page;

    map_shared();
    for (page = 0; page < N_PAGES; page++)
        fill(page);
    uffd_port_show(&port, pages_at(0, N_PAGES), PAGE);
    ck_assert_uint_eq(port.n_continues, 1);
    for (page = 0; page < N_PAGES; page++)
        ck_assert_int_eq(ask_at(CLIENT_READ, page), value_of(page));
    ck_assert_uint_eq(n_faults, 0);
}
END_TEST

START_TEST(a_poisoned_page_is_sigbus_without_a_fault_until_it_is_shown)
{
    map_shared();
    fill(4);
    uffd_port_poison(&port, pages_at(3, 3), PAGE);
    ck_assert_int_eq(ask_at(CLIENT_READ, 4), -SIGBUS);
    ck_assert_int_eq(ask_at(CLIENT_READ, 5), -SIGBUS);
    ck_assert_uint_eq(n_faults, 0);
    uffd_port_show(&port, pages_at(4, 1), PAGE);
    ck_assert_int_eq(ask_at(CLIENT_READ, 4), value_of(4));
    ck_assert_int_eq(ask_at(CLIENT_READ, 5), -SIGBUS);
}
END_TEST

START_TEST(poison_reaches_a_thread_that_waits_and_skips_mapped_pages)
{
    policy = HOLD;
    map_shared();
    fill(1);
    uffd_port_show(&port, pages_at(1, 1), PAGE);
    tell((struct client_command){.op = CLIENT_READ, .addr = base + 2 * PAGE});
    run_until_faults(1);
    uffd_port_poison(&port, pages_at(0, 4), PAGE);
    ck_assert_int_eq(await(), -SIGBUS);
    ck_assert_int_eq(ask_at(CLIENT_READ, 1), value_of(1));
    ck_assert_int_eq(ask_at(CLIENT_READ, 3), -SIGBUS);
}
END_TEST

START_TEST(a_punched_page_is_missing_again)
{
    map_shared();
    ck_assert_int_eq(ask_at(CLIENT_READ, 6), value_of(6));
    backing_punch(&backing, range_make(6 * PAGE, 7 * PAGE));
    ck_assert_int_eq(ask_at(CLIENT_READ, 6), value_of(6));
    ck_assert_uint_eq(n_faults, 2);
    ck_assert(!faults[1].minor);
}
END_TEST

START_TEST(mapped_pages_inside_a_shown_run_are_skipped)
{
    uint64_t page;

    map_shared();
    for (page = 0; page < N_PAGES; page++)
        fill(page);
    uffd_port_show(&port, pages_at(5, 2), PAGE);
    uffd_port_show(&port, pages_at(20, 1), PAGE);
    uffd_port_show(&port, pages_at(0, N_PAGES), PAGE);
    ck_assert_uint_eq(port.n_pages_shown, N_PAGES);
    for (page = 0; page < N_PAGES; page++)
        ck_assert_int_eq(ask_at(CLIENT_READ, page), value_of(page));
    ck_assert_uint_eq(n_faults, 0);
}
END_TEST

START_TEST(a_page_the_memfd_lacks_is_told_and_the_rest_is_shown)
{
    map_shared();
    fill(0);
    fill(2);
    uffd_port_show(&port, pages_at(0, 3), PAGE);
    ck_assert_uint_eq(n_missing, 1);
    ck_assert_uint_eq(missing_addr, base + PAGE);
    ck_assert_int_eq(ask_at(CLIENT_READ, 0), value_of(0));
    ck_assert_int_eq(ask_at(CLIENT_READ, 2), value_of(2));
    ck_assert_uint_eq(n_faults, 0);
}
END_TEST

START_TEST(a_read_only_fd_registers_privately_and_follows_the_cache)
{
    int64_t addr = ask((struct client_command){.op = CLIENT_MAP,
                                               .fd = backing.fd_readonly,
                                               .prot = PROT_READ,
                                               .flags = MAP_SHARED,
                                               .len = N_PAGES * PAGE});

    ck_assert_int_gt(addr, 0);
    base = (uint64_t)addr;
    ck_assert_int_eq(uffd_port_register(&port, pages_at(0, N_PAGES), UFFD_TRACKED), -EPERM);
    map(MAP_PRIVATE, PROT_READ, backing.fd_readonly, UFFD_TRACKED);
    ck_assert_int_eq(ask_at(CLIENT_READ, 1), value_of(1));
    ck_assert_int_eq(backing_write(&backing, PAGE, "Z", 1), 0);
    ck_assert_int_eq(ask_at(CLIENT_READ, 1), 'Z');
    backing_punch(&backing, range_make(PAGE, 2 * PAGE));
    ck_assert_int_eq(ask_at(CLIENT_READ, 1), value_of(1));
    ck_assert_uint_eq(n_faults, 2);
}
END_TEST

START_TEST(native_pages_need_no_fault_and_can_be_taken_back)
{
    map_shared();
    fill(8);
    ck_assert_int_eq(uffd_port_register(&port, pages_at(0, N_PAGES), UFFD_NATIVE), 0);
    ck_assert_int_eq(ask_at(CLIENT_READ, 8), value_of(8));
    ck_assert_uint_eq(n_faults, 0);
    ck_assert_int_eq(ask_at(CLIENT_READ, 9), value_of(9)); /* missing ones are still reported */
    ck_assert_uint_eq(n_faults, 1);
    fill(10);
    ck_assert_int_eq(uffd_port_register(&port, pages_at(0, N_PAGES), UFFD_TRACKED), 0);
    ck_assert_int_eq(ask_at(CLIENT_READ, 10), value_of(10));
    ck_assert_uint_eq(n_faults, 2);
}
END_TEST

START_TEST(a_moved_mapping_keeps_its_registration)
{
    unsigned private;

    for (private = 0; private < 2; private ++) {
        uint64_t old;
        int64_t addr;

        map(private ? MAP_PRIVATE : MAP_SHARED, PROT_READ | PROT_WRITE, backing.fd, UFFD_TRACKED);
        ck_assert_int_eq(ask_at(CLIENT_READ, 1), value_of(1));
        old = base;
        addr =
            ask((struct client_command){.op = CLIENT_MREMAP, .addr = old, .len = N_PAGES * PAGE});
        ck_assert_int_gt(addr, 0);
        ck_assert_int_ne(addr, (int64_t)old);
        ck_assert_uint_eq(moved_from, old);
        ck_assert_uint_eq(moved_to, (uint64_t)addr);
        ck_assert_uint_eq(moved_len, N_PAGES * PAGE);
        n_faults = 0;
        ck_assert_int_eq(ask_at(CLIENT_READ, 1), value_of(1)); /* moved along */
        ck_assert_uint_eq(n_faults, 0);
        ck_assert_int_eq(ask_at(CLIENT_READ, 2 + private), value_of(2 + private));
        ck_assert_uint_eq(n_faults, 1);
    }
}
END_TEST

START_TEST(pages_shown_while_the_client_moves_another_mapping_arrive_all_the_same)
{
    struct pollfd readable = {.events = POLLIN};
    uint64_t other;
    uint64_t mine;

    policy = HOLD;
    map_shared();
    other = base;
    map_shared();
    mine = base;
    ck_assert_int_eq(ask_at(CLIENT_READ_LATER, 3), 0);
    run_until_faults(1);
    fill(3);
    tell((struct client_command){.op = CLIENT_MREMAP, .addr = other, .len = N_PAGES * PAGE});
    readable.fd = port.fd;
    ck_assert_int_eq(poll(&readable, 1, 10000), 1); /* the mover waits for us to read */
    uffd_port_show(&port, pages_at(2, 4), PAGE);
    ck_assert_uint_eq(port.n_eagain, 1);
    ck_assert_uint_eq(port.n_deferred, 1);
    uffd_port_show(&port, pages_at(6, 1), PAGE); /* touches the other one: kept as one */
    uffd_port_poison(&port, pages_at(20, 1), PAGE);
    ck_assert_uint_eq(port.n_deferred, 2);
    policy = SERVE;
    ck_assert_int_ge(await(), 0);
    ck_assert_uint_eq(moved_from, other);
    ck_assert_int_eq(ask((struct client_command){.op = CLIENT_JOIN}), value_of(3));
    ck_assert_int_eq(ask_at(CLIENT_READ, 20), value_of(20)); /* reported: not poisoned */
    ck_assert_uint_eq(base, mine);
}
END_TEST

START_TEST(a_client_that_moves_all_the_time_is_still_served)
{
    int64_t other;
    uint64_t page;

    map_shared();
    other = (int64_t)base;
    map_shared();
    for (page = 0; page < N_PAGES; page++) {
        uint64_t mine = base;

        ck_assert_int_eq(ask_at(CLIENT_READ_LATER, page), 0);
        other = ask((struct client_command){
            .op = CLIENT_MREMAP, .addr = (uint64_t)other, .len = N_PAGES * PAGE});
        ck_assert_int_gt(other, 0);
        base = mine;
        ck_assert_int_eq(ask((struct client_command){.op = CLIENT_JOIN}), value_of(page));
    }
}
END_TEST

START_TEST(a_fault_the_port_cannot_serve_comes_back_without_any_event)
{
    int64_t addr = ask((struct client_command){.op = CLIENT_MAP,
                                               .fd = -1,
                                               .prot = PROT_READ,
                                               .flags = MAP_PRIVATE | MAP_ANONYMOUS,
                                               .len = N_PAGES * PAGE});

    /* Anonymous memory cannot be shown: EINVAL, for ever. The deadline has the thread ask again. */
    policy = SHOW_ONLY;
    base = (uint64_t)addr;
    ck_assert_int_eq(uffd_port_register(&port, pages_at(0, N_PAGES), UFFD_TRACKED), -EINVAL);
    ck_assert_int_eq(uffd_port_register(&port, pages_at(0, N_PAGES), UFFD_NATIVE), 0);
    tell((struct client_command){.op = CLIENT_READ, .addr = base});
    run_until_faults(5);
    uffd_port_unregister(&port, pages_at(0, N_PAGES));
    ck_assert_int_eq(await(), 0);
}
END_TEST

START_TEST(unregistering_lets_waiters_go)
{
    policy = HOLD;
    map_shared();
    tell((struct client_command){.op = CLIENT_READ, .addr = base + PAGE});
    run_until_faults(1);
    uffd_port_unregister(&port, pages_at(0, N_PAGES));
    ck_assert_int_eq(await(), 0); /* the zero page of a hole */
}
END_TEST

START_TEST(a_woken_waiter_asks_again)
{
    policy = HOLD;
    map_shared();
    tell((struct client_command){.op = CLIENT_READ, .addr = base + PAGE});
    run_until_faults(1);
    policy = SERVE;
    uffd_port_wake(&port, pages_at(1, 1));
    ck_assert_int_eq(await(), value_of(1));
    ck_assert_uint_eq(n_faults, 2);
}
END_TEST

START_TEST(a_waiter_on_a_page_mapped_meanwhile_is_woken)
{
    policy = HOLD;
    map_shared();
    fill(1);
    tell((struct client_command){.op = CLIENT_READ, .addr = base + PAGE});
    run_until_faults(1);
    /* Mapped without waking, as by another copy of the userfaultfd: */
    ck_assert_int_eq(ioctl(port.fd, UFFDIO_CONTINUE,
                           &(struct uffdio_continue){.range = {.start = base + PAGE, .len = PAGE},
                                                     .mode = UFFDIO_CONTINUE_MODE_DONTWAKE}),
                     0);
    uffd_port_show(&port, pages_at(1, 1), PAGE);
    ck_assert_int_eq(await(), value_of(1));
    ck_assert_uint_eq(n_faults, 1);
}
END_TEST

START_TEST(pages_behind_a_hole_in_the_mapping_are_shown)
{
    uint64_t page;

    map_shared();
    for (page = 0; page < N_PAGES; page++)
        fill(page);
    ck_assert_int_eq(ask((struct client_command){
                         .op = CLIENT_MUNMAP, .addr = base + 10 * PAGE, .len = 7 * PAGE}),
                     0);
    uffd_port_show(&port, pages_at(0, N_PAGES), PAGE);
    ck_assert_uint_eq(port.n_pages_shown, N_PAGES - 7);
    ck_assert_int_eq(ask_at(CLIENT_READ, 9), value_of(9));
    ck_assert_int_eq(ask_at(CLIENT_READ, 17), value_of(17));
    ck_assert_int_eq(ask_at(CLIENT_READ, 63), value_of(63));
    ck_assert_uint_eq(n_faults, 0);
    ck_assert_int_eq(
        ask((struct client_command){.op = CLIENT_MUNMAP, .addr = base, .len = N_PAGES * PAGE}), 0);
    uffd_port_show(&port, pages_at(0, N_PAGES), PAGE); /* all gone: silent */
    uffd_port_poison(&port, pages_at(0, N_PAGES), PAGE);
    ck_assert_uint_eq(port.n_deferred, 0);
    ck_assert(!port.gone);
}
END_TEST

START_TEST(a_huge_unmapped_range_does_not_hold_the_server)
{
    const uint64_t n = 1 << 18; /* 1 GiB */
    int64_t addr = ask((struct client_command){.op = CLIENT_MAP,
                                               .fd = -1,
                                               .prot = PROT_NONE,
                                               .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                                               .len = n * PAGE});

    ck_assert_int_gt(addr, 0);
    base = (uint64_t)addr;
    uffd_port_show(&port, pages_at(0, n), PAGE);
    ck_assert_uint_lt(port.n_continues, 1000);
}
END_TEST

START_TEST(a_fault_that_came_meanwhile_needs_no_turn_of_its_own)
{
    map_shared();
    policy = SERVE_AND_WAIT;
    tell((struct client_command){.op = CLIENT_READ, .addr = base + PAGE});
    tell((struct client_command){.op = CLIENT_READ, .addr = base + 2 * PAGE});
    run_until_faults(1); /* stops the loop at the end of the turn */
    ck_assert_uint_eq(n_faults, 2);
    ck_assert_int_eq(await(), value_of(1));
    has_answer = false;
    ck_assert_int_eq(await(), value_of(2));
}
END_TEST

START_TEST(several_threads_see_every_page)
{
    int64_t want = 0;
    uint64_t page;

    map_shared();
    for (page = 0; page < N_PAGES; page++)
        want += value_of(page);
    ck_assert_int_eq(
        ask((struct client_command){.op = CLIENT_THREADS_SUM, .addr = base, .len = N_PAGES * PAGE}),
        want * CLIENT_THREADS);
    ck_assert_uint_ge(n_faults, N_PAGES);
    ck_assert_uint_eq(port.n_messages, n_faults);
}
END_TEST

START_TEST(a_client_that_makes_the_fd_blocking_cannot_hold_the_server)
{
    map_shared();
    ck_assert_int_eq(ask((struct client_command){.op = CLIENT_BLOCKING}), 0);
    ck_assert_int_eq(ask_at(CLIENT_READ, 1), value_of(1));
    ck_assert_int_eq(ask_at(CLIENT_READ, 2), value_of(2));
    ck_assert_int_ne(fcntl(port.fd, F_GETFL) & O_NONBLOCK, 0);
}
END_TEST

START_TEST(a_dead_client_is_noticed_and_everything_is_a_no_op)
{
    map_shared();
    fill(0);
    client_kill();
    ck_assert_int_eq(uffd_port_register(&port, pages_at(0, N_PAGES), UFFD_TRACKED), -ESRCH);
    ck_assert(port.gone);
    port.gone = false; /* again, by a page call */
    uffd_port_show(&port, pages_at(0, 1), PAGE);
    ck_assert(port.gone);
    uffd_port_show(&port, pages_at(0, 1), PAGE);
    uffd_port_poison(&port, pages_at(0, 1), PAGE);
    uffd_port_wake(&port, pages_at(0, 1));
    uffd_port_unregister(&port, pages_at(0, 1));
    ck_assert_int_eq(uffd_port_register(&port, pages_at(0, 1), UFFD_TRACKED), -ESRCH);
}
END_TEST

START_TEST(a_client_killed_while_it_waits_leaves_nothing)
{
    policy = HOLD;
    map_shared();
    tell((struct client_command){.op = CLIENT_READ, .addr = base});
    run_until_faults(1);
    client_kill();
    fill(0);
    uffd_port_show(&port, pages_at(0, 1), PAGE);
    ck_assert(port.gone);
}
END_TEST

START_TEST(a_port_closed_with_a_waiting_client_ends_cleanly)
{
    policy = HOLD;
    map_shared();
    tell((struct client_command){.op = CLIENT_READ, .addr = base});
    run_until_faults(1);
    uffd_port_close(&port);
    ck_assert(!port_is_closed); /* never inside the call */
}
END_TEST

static int open_uffd_with(int flags, uint64_t features)
{
    CLEAN(fd_close_p) int fd = client_uffd(flags, features);
    struct uffd_port other;
    int before = fd;
    int r;

    ck_assert_int_ge(fd, 0);
    r = uffd_port_open(&other, &loop, &fd, &ops, NULL);
    ck_assert_int_eq(fd, before); /* taken on success only */
    return r;
}

START_TEST(only_userfaultfds_with_the_right_features_are_adopted)
{
    CLEAN(fd_close_p) int memfd = memfd_create("anon_inode:[userfaultfd]", MFD_CLOEXEC);
    struct uffd_port other;
    int closed = -1;

    ck_assert_int_eq(uffd_port_open(&other, &loop, &memfd, &ops, NULL), -EINVAL);
    ck_assert_int_ge(memfd, 0);
    ck_assert_int_eq(uffd_port_open(&other, &loop, &closed, &ops, NULL), -EBADF);
    ck_assert_int_eq(open_uffd_with(O_NONBLOCK, 0), -EINVAL); /* UFFDIO_API not done */
    ck_assert_int_eq(open_uffd_with(0, uffd_port_features()), -EINVAL);
    ck_assert_int_eq(
        open_uffd_with(O_NONBLOCK, uffd_port_features() & ~(uint64_t)UFFD_FEATURE_POISON), -EINVAL);
    ck_assert_int_eq(
        open_uffd_with(O_NONBLOCK, uffd_port_features() & ~(uint64_t)UFFD_FEATURE_EVENT_REMAP),
        -EINVAL);
    ck_assert_int_eq(open_uffd_with(O_NONBLOCK, uffd_port_features() | UFFD_FEATURE_SIGBUS),
                     -EINVAL);
    ck_assert_int_eq(open_uffd_with(O_NONBLOCK, uffd_port_features() | UFFD_FEATURE_EVENT_FORK),
                     -EINVAL);
}
END_TEST

START_TEST(huge_pages_are_filled_shown_and_poisoned)
{
    stop(); /* the one of setup() */
    port_is_closed = socket_is_closed = false;
    start(PAGE_BYTES_HUGE, 4);
    map_shared();
    fill(0);
    fill(1);
    uffd_port_show(&port, pages_at(0, 2), PAGE_BYTES_HUGE);
    ck_assert_uint_eq(port.n_pages_shown, 2);
    ck_assert_int_eq(ask_at(CLIENT_READ, 1), value_of(1));
    ck_assert_uint_eq(n_faults, 0);
    ck_assert_int_eq(ask_at(CLIENT_READ, 2), value_of(2));
    ck_assert_uint_eq(n_faults, 1);
    uffd_port_poison(&port, pages_at(2, 2), PAGE_BYTES_HUGE);
    ck_assert_int_eq(ask_at(CLIENT_READ, 2), value_of(2)); /* mapped: skipped */
    ck_assert_int_eq(ask_at(CLIENT_READ, 3), -SIGBUS);
    backing_punch(&backing, range_make(PAGE_BYTES_HUGE, 2ull * PAGE_BYTES_HUGE));
    ck_assert_int_eq(ask_at(CLIENT_READ, 1), value_of(1));
    ck_assert_uint_eq(n_faults, 2);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("uffd_port");
    int uffd = client_uffd(O_NONBLOCK, uffd_port_features());
    int status;

    if (uffd < 0) {
        printf("skipped: no userfaultfd with all features here (%s)\n", strerror(-uffd));
        return 77;
    }
    fd_close_p(&uffd);
    tcase_add_checked_fixture(tcase, setup, stop);
    tcase_set_timeout(tcase, 30);
    tcase_add_test(tcase, pages_filled_on_demand_are_seen_through_shared_and_private_mappings);
    tcase_add_test(tcase, a_page_only_the_memfd_has_is_a_minor_fault);
    tcase_add_test(tcase, a_write_to_a_missing_page_is_one_fault_and_reaches_the_memfd);
    tcase_add_test(tcase, a_system_call_on_a_missing_page_is_served_too);
    tcase_add_test(tcase, a_shown_run_needs_one_call_and_no_faults);
    tcase_add_test(tcase, a_poisoned_page_is_sigbus_without_a_fault_until_it_is_shown);
    tcase_add_test(tcase, poison_reaches_a_thread_that_waits_and_skips_mapped_pages);
    tcase_add_test(tcase, a_punched_page_is_missing_again);
    tcase_add_test(tcase, mapped_pages_inside_a_shown_run_are_skipped);
    tcase_add_test(tcase, a_page_the_memfd_lacks_is_told_and_the_rest_is_shown);
    tcase_add_test(tcase, a_read_only_fd_registers_privately_and_follows_the_cache);
    tcase_add_test(tcase, native_pages_need_no_fault_and_can_be_taken_back);
    tcase_add_test(tcase, a_moved_mapping_keeps_its_registration);
    tcase_add_test(tcase, pages_shown_while_the_client_moves_another_mapping_arrive_all_the_same);
    tcase_add_test(tcase, a_client_that_moves_all_the_time_is_still_served);
    tcase_add_test(tcase, a_fault_the_port_cannot_serve_comes_back_without_any_event);
    tcase_add_test(tcase, unregistering_lets_waiters_go);
    tcase_add_test(tcase, a_woken_waiter_asks_again);
    tcase_add_test(tcase, a_waiter_on_a_page_mapped_meanwhile_is_woken);
    tcase_add_test(tcase, pages_behind_a_hole_in_the_mapping_are_shown);
    tcase_add_test(tcase, a_huge_unmapped_range_does_not_hold_the_server);
    tcase_add_test(tcase, a_fault_that_came_meanwhile_needs_no_turn_of_its_own);
    tcase_add_test(tcase, several_threads_see_every_page);
    tcase_add_test(tcase, a_client_that_makes_the_fd_blocking_cannot_hold_the_server);
    tcase_add_test(tcase, a_dead_client_is_noticed_and_everything_is_a_no_op);
    tcase_add_test(tcase, a_client_killed_while_it_waits_leaves_nothing);
    tcase_add_test(tcase, a_port_closed_with_a_waiting_client_ends_cleanly);
    tcase_add_test(tcase, only_userfaultfds_with_the_right_features_are_adopted);
    if (!huge_pages_take(N_HUGE))
        return unit_run("uffd_port", tcase) ? EXIT_FAILURE : HUGE_PAGES_SKIPPED;
    tcase_add_test(tcase, huge_pages_are_filled_shown_and_poisoned);
    status = unit_run("uffd_port", tcase);
    huge_pages_give_back(N_HUGE);
    return status;
}
