/* SPDX-License-Identifier: BSD-3-Clause */
/* libmuse doing what a scripted server asks of its memory; refusals, moves, locking, copying. */
#include <linux/capability.h>
#include <muse/muse.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "proto/limits.h"
#include "tests/unit/scripted_server.h"

#define PAGE       4096ull
#define KIND(name) MUSE__WIRE__MEM_OPS__KIND__##name

static void *to_pointer(uint64_t address)
{
    return (void *)(uintptr_t)
        address; /* NOLINT(performance-no-int-to-ptr): addresses travel as numbers */
}

/* --- what the server may ask --- */

static void script_map_unmap(struct server *server)
{
    Muse__Wire__MemOps__Op op;
    uint64_t id;

    server_greet(server);
    server_open(server);
    id = server_await(server, FRAME_MAP);
    op = op_map(server->arena_start + 8 * PAGE, 2 * PAGE, PROT_READ, MAP_PRIVATE | MAP_POPULATE);
    op.has_offset = true;
    op.offset = PAGE;
    REQUIRE(server_do(server, id, op, -1) == 0);
    server_mapped(server, id, op.addr);
    id = server_await(server, FRAME_UNMAP);
    op = op_make(KIND(MMAP_RESERVE), op.addr, 2 * PAGE);
    REQUIRE(server_do(server, id, op, -1) == 0);
    server_done(server, id);
    server_expect_end(server);
}

START_TEST(a_mapping_shows_the_object_and_unmapping_gives_the_range_back_to_the_arena)
{
    struct map_line line;
    struct server server;
    struct muse *muse;
    char *p;

    server_start(&server, script_map_unmap, NULL, 3);
    muse = server_connect(&server);
    p = muse_mmap(muse, NULL, 2 * PAGE, PROT_READ, MAP_SHARED, open_object(muse), 4096);
    ck_assert_ptr_ne(p, MAP_FAILED);
    ck_assert_uint_eq((uintptr_t)p, server.arena_start + 8 * PAGE);
    ck_assert_int_eq(p[0], 'b');
    ck_assert_int_eq(p[PAGE], 'c');
    ck_assert(find_map((uintptr_t)p, &line));
    ck_assert_str_eq(line.perms, "r--p");
    ck_assert_ptr_nonnull(strstr(line.rest, "memfd:object"));
    ck_assert_uint_eq(line.end - line.start, 2 * PAGE);

    ck_assert_int_eq(muse_munmap(muse, p, 2 * PAGE), 0);
    ck_assert(find_map((uintptr_t)p, &line));
    ck_assert_str_eq(line.perms, "---p");
    ck_assert_uint_eq(line.start, server.arena_start); /* merged: the arena is one piece again */
    ck_assert_uint_eq(line.end, server.arena_start + server.arena_bytes);
    muse_disconnect(muse);
    server_stop(&server);
}
END_TEST

/* An MMAP_FILE of an fd that comes with the frame. */
static Muse__Wire__MemOps__Op op_map_fd(uint64_t addr, uint64_t length, unsigned fd_index)
{
    Muse__Wire__MemOps__Op op = op_map(addr, length, PROT_READ | PROT_WRITE, MAP_SHARED);

    op.has_file_id = false;
    op.has_fd_index = true;
    op.fd_index = fd_index;
    return op;
}

static void script_fixed_outside(struct server *server)
{
    const uint64_t target = *(uint64_t *)server->ctx;
    uint64_t id;

    server_greet(server);
    server_open(server);
    id = server_await(server, FRAME_MAP);
    REQUIRE(server_do(server, id, op_map_fd(server->arena_start, 4 * PAGE, 0), server->memfd) == 0);
    REQUIRE(server_do(server, id, op_move(server->arena_start, 4 * PAGE, target), -1) == 0);
    server_mapped(server, id, target);

    id = server_await(server, FRAME_UNMAP);
    REQUIRE(server_do(server, id, op_make(KIND(MUNMAP), target + PAGE, PAGE), -1) == 0);
    server_done(server, id);
    server_expect_end(server);
}

START_TEST(a_fixed_mapping_outside_the_arena_replaces_memory_and_goes_with_the_connection)
{
    char *own = mmap(NULL, 6 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint64_t target = (uintptr_t)own + PAGE;
    struct map_line line;
    struct server server;
    struct muse *muse;
    char *p;

    memset(own, 'o', 6 * PAGE);
    server_start(&server, script_fixed_outside, &target, 4);
    muse = server_connect(&server);
    p = muse_mmap(muse, own + PAGE, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
                  open_object(muse), 0);
    ck_assert_ptr_eq(p, own + PAGE);
    ck_assert_int_eq(p[0], 'a');
    ck_assert_int_eq(p[3 * PAGE], 'd');
    ck_assert_int_eq(own[0], 'o');
    ck_assert_int_eq(own[5 * PAGE], 'o');
    ck_assert(find_map(server.arena_start, &line));
    ck_assert_str_eq(line.perms, "---p"); /* where it came from */
    ck_assert_uint_ge(line.end, server.arena_start + server.arena_bytes);

    ck_assert_int_eq(muse_munmap(muse, p + PAGE, PAGE), 0);
    ck_assert(!find_map((uintptr_t)p + PAGE, &line));
    muse_disconnect(muse);
    for (unsigned i = 0; i < 4; i++)
        ck_assert(!find_map((uintptr_t)p + i * PAGE, &line));
    ck_assert_int_eq(own[0], 'o');
    ck_assert_int_eq(own[5 * PAGE], 'o');
    server_stop(&server);
    (void)munmap(own, 6 * PAGE);
}
END_TEST

/* --- what it may not ask --- */

/* The client's answer to each of these must be @error, and memory as before. */
static void script_forbidden(struct server *server)
{
    const uint64_t outside = (uintptr_t)server->ctx;
    Muse__Wire__MemOps__Op ops[2];
    Muse__Wire__MemOps__Op op;
    uint32_t n_done = 9;
    uint64_t id, arena, end;

    server_greet(server);
    server_open(server);
    arena = server->arena_start;
    end = arena + server->arena_bytes;
    id = server_await(server, FRAME_MAP);
#define REFUSED(wanted, ...) REQUIRE(server_do(server, id, (__VA_ARGS__), -1) == (wanted))
    REFUSED(EINVAL, op_map(outside, PAGE, PROT_READ, MAP_PRIVATE));
    REFUSED(EINVAL, op_map(end - PAGE, 2 * PAGE, PROT_READ, MAP_PRIVATE));
    REFUSED(EINVAL, op_map(arena + 1, PAGE, PROT_READ, MAP_PRIVATE));
    REFUSED(EINVAL, op_map(arena, PAGE + 1, PROT_READ, MAP_PRIVATE));
    REFUSED(EINVAL, op_map(arena, 0, PROT_READ, MAP_PRIVATE));
    REFUSED(EINVAL, op_map(arena, UINT64_MAX - PAGE + 1, PROT_READ, MAP_PRIVATE));
    REFUSED(EINVAL, op_map(arena, PAGE, 0x100, MAP_PRIVATE));
    REFUSED(EINVAL, op_make(KIND(MMAP_FILE), arena, PAGE)); /* no prot, no flags */
    REFUSED(EINVAL, op_make(KIND(MMAP_RESERVE), outside, PAGE));
    REFUSED(EINVAL, op_make(KIND(MUNMAP), outside, PAGE));
    REFUSED(EINVAL, op_make(KIND(MUNMAP), arena, PAGE));
    REFUSED(EINVAL, op_make((Muse__Wire__MemOps__Kind)99, arena, PAGE));
    REFUSED(EINVAL, op_move(outside, PAGE, arena));
    REFUSED(EINVAL, op_move(arena, PAGE, outside));
    REFUSED(EINVAL, op_move(arena, 2 * PAGE, arena + PAGE));
    REFUSED(EINVAL, op_move(arena, PAGE, UINT64_MAX - PAGE + 1));
    REFUSED(EBADF, op_map_fd(arena, PAGE, 0)); /* no fd in the frame */
    REFUSED(EBADF, op_map_fd(arena, PAGE, UINT32_MAX));
    op = op_map(arena, PAGE, PROT_READ, MAP_PRIVATE);
    op.file_id = SERVER_FILE_ID + 1;
    REFUSED(EBADF, op);
    op = op_map(arena, PAGE, PROT_READ, MAP_PRIVATE);
    op.has_offset = true;
    op.offset = 1;
    REFUSED(EINVAL, op);
    op.offset = 1ull << 63;
    REFUSED(EINVAL, op);
#undef REFUSED
    ops[0] = op_map(arena + PAGE, PAGE, PROT_READ, MAP_PRIVATE);
    ops[1] = op_map_fd(arena + 2 * PAGE, PAGE, 3);
    server_send_ops(server, id, ops, 2, -1);
    REQUIRE(server_ops_result(server, id, &n_done) == EBADF && n_done == 1);
    server_fail(server, id, ENOMEM, "that did not work");
    server_expect_end(server);
}

START_TEST(the_server_cannot_touch_what_is_not_its_own)
{
    char *own = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct map_line line;
    struct server server;
    struct muse *muse;

    own[0] = 'o';
    server_start(&server, script_forbidden, own, 1);
    muse = server_connect(&server);
    ck_assert_ptr_eq(muse_mmap(muse, NULL, PAGE, PROT_READ, MAP_PRIVATE, open_object(muse), 0),
                     MAP_FAILED);
    ck_assert_int_eq(errno, ENOMEM);
    ck_assert_str_eq(muse_last_error_text(), "that did not work");
    ck_assert_int_eq(own[0], 'o');
    ck_assert(find_map(server.arena_start, &line));
    ck_assert_str_eq(line.perms, "---p");
    ck_assert_uint_eq(line.end, server.arena_start + PAGE);
    muse_disconnect(muse);
    server_stop(&server);
    ck_assert_int_eq(own[0], 'o');
    (void)munmap(own, PAGE);
}
END_TEST

static void script_too_many_ops(struct server *server)
{
    Muse__Wire__MemOps__Op ops[MEM_OPS_MAX + 1];

    server_greet(server);
    server_open(server);
    for (size_t i = 0; i < N_ELEMENTS(ops); i++)
        ops[i] = op_make(KIND(MMAP_RESERVE), server->arena_start, PAGE);
    server_send_ops(server, server_await(server, FRAME_MAP), ops, N_ELEMENTS(ops), -1);
    server_expect_end(server);
}

START_TEST(too_many_ops_end_the_connection)
{
    struct server server;
    struct muse *muse;

    server_start(&server, script_too_many_ops, NULL, 1);
    muse = server_connect(&server);
    ck_assert_ptr_eq(muse_mmap(muse, NULL, PAGE, PROT_READ, MAP_PRIVATE, open_object(muse), 0),
                     MAP_FAILED);
    ck_assert_int_eq(errno, EPROTO);
    muse_disconnect(muse);
    server_stop(&server);
}
END_TEST

/* --- arguments of mmap --- */

static void script_arguments(struct server *server)
{
    struct frame *frame;
    Muse__Wire__Map *map;

    server_greet(server);
    server_open(server);
    frame = server_read(server, FRAME_MAP);
    map = muse__wire__map__unpack(NULL, frame->n_payload, frame->payload);
    REQUIRE(map && map->addr == 12345 && map->length == 7 && map->prot == 0x1234 &&
            map->flags == (MAP_FIXED | MAP_GROWSDOWN) && map->file_id == SERVER_FILE_ID &&
            map->offset == (uint64_t)-4096);
    muse__wire__map__free_unpacked(map, NULL);
    server_fail(server, frame->header.id, EOVERFLOW, NULL);
    server_expect_end(server);
}

START_TEST(arguments_reach_the_server_as_they_are)
{
    struct muse_file *file;
    struct server server;
    struct muse *muse;

    server_start(&server, script_arguments, NULL, 1);
    muse = server_connect(&server);
    file = open_object(muse);
    ck_assert_ptr_eq(
        muse_mmap(muse, to_pointer(12345), 7, 0x1234, MAP_FIXED | MAP_GROWSDOWN, file, -4096),
        MAP_FAILED);
    ck_assert_int_eq(errno, EOVERFLOW);
    ck_assert_str_ne(muse_last_error_text(), "");

    ck_assert_ptr_eq(muse_mmap(muse, NULL, 1, PROT_READ, MAP_PRIVATE, NULL, 0), MAP_FAILED);
    ck_assert_int_eq(errno, EBADF);
    ck_assert_ptr_eq(muse_mmap(muse, NULL, 1, PROT_READ, MAP_PRIVATE, NULL, 1), MAP_FAILED);
    ck_assert_int_eq(errno, EINVAL);
    muse_disconnect(muse);
    server_stop(&server);
}
END_TEST

static bool drop_ipc_lock(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

    if (syscall(SYS_capget, &header, data) < 0)
        return false;
    data[CAP_TO_INDEX(CAP_IPC_LOCK)].effective &= ~(uint32_t)CAP_TO_MASK(CAP_IPC_LOCK);
    return syscall(SYS_capset, &header, data) == 0;
}

static void limit_locking(rlim_t bytes)
{
    const struct rlimit limit = {.rlim_cur = bytes, .rlim_max = RLIM_INFINITY};
    const struct rlimit lower = {.rlim_cur = bytes, .rlim_max = bytes};

    if (setrlimit(RLIMIT_MEMLOCK, &limit) < 0)
        ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &lower), 0);
}

static void script_locked(struct server *server)
{
    server_greet(server);
    server_open(server);
    server_map(server, 2);
    server_fail(server, server_await(server, FRAME_MAP), EINVAL, NULL);
    server_expect_end(server);
}

START_TEST(MAP_LOCKED_obeys_this_process_limit_and_locks)
{
    const int flags = MAP_PRIVATE | MAP_LOCKED;
    struct muse_file *file;
    struct server server;
    struct muse *muse;
    unsigned char vec[2];
    char *p;

    server_start(&server, script_locked, NULL, 2);
    muse = server_connect(&server);
    file = open_object(muse);
    ck_assert(drop_ipc_lock());
    limit_locking(2 * PAGE);
    ck_assert_ptr_eq(muse_mmap(muse, NULL, 2 * PAGE + 1, PROT_READ, flags, file, 0), MAP_FAILED);
    ck_assert_int_eq(errno, EAGAIN);
    p = muse_mmap(muse, NULL, 2 * PAGE, PROT_READ, flags, file, 0);
    ck_assert_ptr_ne(p, MAP_FAILED);
    ck_assert_int_eq(mincore(p, 2 * PAGE, vec), 0);
    ck_assert_int_eq(msync(p, PAGE, MS_INVALIDATE), -1); /* EBUSY: locked */
    ck_assert_int_eq(errno, EBUSY);
    ck_assert_ptr_eq(muse_mmap(muse, NULL, PAGE, PROT_READ, flags, file, 0), MAP_FAILED);
    ck_assert_int_eq(errno, EAGAIN); /* the limit is used up */
    ck_assert_ptr_eq(muse_mmap(muse, NULL, 0, PROT_READ, flags, file, 0), MAP_FAILED);
    ck_assert_int_eq(errno, EINVAL); /* length 0 comes first, and is the server's to refuse */
    limit_locking(0);
    ck_assert_ptr_eq(muse_mmap(muse, NULL, PAGE, PROT_READ, flags, file, 0), MAP_FAILED);
    ck_assert_int_eq(errno, EPERM);
    muse_disconnect(muse);
    server_stop(&server);
}
END_TEST

/* --- with userfaultfd --- */

static struct uffd_msg next_event(const struct server *server)
{
    struct pollfd pollfd = {.fd = server->uffd, .events = POLLIN};
    struct uffd_msg msg;

    REQUIRE(poll(&pollfd, 1, SERVER_PATIENCE_S * 1000) == 1);
    REQUIRE(read(server->uffd, &msg, sizeof(msg)) == (ssize_t)sizeof(msg));
    return msg;
}

static void arm(const struct server *server, uint64_t addr, uint64_t length)
{
    struct uffdio_register reg = {.range = {.start = addr, .len = length},
                                  .mode =
                                      UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR};

    REQUIRE(ioctl(server->uffd, UFFDIO_REGISTER, &reg) == 0);
}

/* Wait for the fault of a page, and show the object's page there. */
static void serve_fault(const struct server *server, uint64_t addr)
{
    struct uffd_msg msg = next_event(server);
    struct uffdio_continue cont = {.range = {.start = addr, .len = PAGE}};

    REQUIRE(msg.event == UFFD_EVENT_PAGEFAULT);
    REQUIRE((msg.arg.pagefault.address & ~(PAGE - 1)) == addr);
    REQUIRE(ioctl(server->uffd, UFFDIO_CONTINUE, &cont) == 0);
}

static void script_not_armed(struct server *server)
{
    Muse__Wire__MemOps__Op ops[2];
    uint64_t id;

    server_greet(server);
    server_open(server);
    id = server_await(server, FRAME_MAP);
    ops[0] = op_map(server->arena_start, 2 * PAGE, PROT_READ, MAP_PRIVATE);
    ops[1] = op_map(server->arena_start + 2 * PAGE, 2 * PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE);
    server_send_ops(server, id, ops, 2, -1);
    REQUIRE(server_ops_result(server, id, NULL) == 0);
    server_mapped(server, id, server->arena_start);
    serve_fault(server, server->arena_start + PAGE);
    serve_fault(server, server->arena_start + 3 * PAGE);
    server_expect_end(server);
}

START_TEST(what_is_mapped_waits_for_the_server_before_that_knows_of_it)
{
    struct server server;
    struct muse *muse;
    char *p;

    server_start(&server, script_not_armed, NULL, 4);
    muse = server_connect(&server);
    ck_assert_int_eq(mlockall(MCL_FUTURE), 0); /* with a sanitizer it is no more than a word */
    p = muse_mmap(muse, NULL, 2 * PAGE, PROT_READ, MAP_PRIVATE, open_object(muse), 0);
    ck_assert_int_eq(munlockall(), 0);
    ck_assert_ptr_ne(p, MAP_FAILED);
    ck_assert_int_eq(((volatile char *)p)[PAGE], 'b');
    ck_assert_int_eq(((volatile char *)p)[3 * PAGE], 'b'); /* of the second mapping */
    muse_disconnect(muse);
    server_stop(&server);
}
END_TEST

static void script_move_armed(struct server *server)
{
    Muse__Wire__MemOps__Op op;
    uint64_t id, from, to;

    server_greet(server);
    server_open(server);
    from = server->arena_start;
    to = from + 16 * PAGE;
    id = server_await(server, FRAME_MAP);
    REQUIRE(server_do(server, id, op_map(from, 2 * PAGE, PROT_READ, MAP_PRIVATE), -1) == 0);
    arm(server, from, 2 * PAGE);
    op = op_move(from, 2 * PAGE, to);
    server_send_ops(server, id, &op, 1, -1);
    REQUIRE(next_event(server).event == UFFD_EVENT_REMAP); /* the client waits for that */
    REQUIRE(server_ops_result(server, id, NULL) == 0);
    server_mapped(server, id, to);
    serve_fault(server, to + PAGE);
    server_expect_end(server);
}

START_TEST(a_moved_mapping_keeps_waiting_for_the_server)
{
    struct map_line line;
    struct server server;
    struct muse *muse;
    char *p;

    server_start(&server, script_move_armed, NULL, 2);
    muse = server_connect(&server);
    p = muse_mmap(muse, NULL, 2 * PAGE, PROT_READ, MAP_PRIVATE, open_object(muse), 0);
    ck_assert_ptr_ne(p, MAP_FAILED);
    ck_assert_int_eq(((volatile char *)p)[PAGE], 'b');
    ck_assert(find_map(server.arena_start, &line));
    ck_assert_str_eq(line.perms, "---p");
    ck_assert_uint_eq(line.end, (uintptr_t)p);
    muse_disconnect(muse);
    server_stop(&server);
}
END_TEST

static void answer_error(struct server *server, uint64_t addr, uint32_t error, bool access)
{
    struct frame *frame = server_read(server, FRAME_ERROR_AT);
    Muse__Wire__ErrorAt *error_at =
        muse__wire__error_at__unpack(NULL, frame->n_payload, frame->payload);
    Muse__Wire__ErrorIs error_is = MUSE__WIRE__ERROR_IS__INIT;
    char text[] = "test/object: fault: bad sector";

    REQUIRE(error_at && error_at->addr == addr);
    muse__wire__error_at__free_unpacked(error_at, NULL);
    error_is.error = error;
    if (error != 0)
        error_is.text = text;
    error_is.has_access = error_is.access = access;
    server_send(server, FRAME_ERROR_IS, frame->header.id, &error_is, -1);
}

static void answer_error_at(struct server *server, uint64_t addr, uint32_t error)
{
    answer_error(server, addr, error, false);
}

static void script_copy(struct server *server)
{
    struct uffdio_poison poison = {0};
    uint64_t id, addr;

    server_greet(server);
    server_open(server);
    addr = server->arena_start;
    id = server_await(server, FRAME_MAP);
    REQUIRE(server_do(server, id, op_map(addr, 3 * PAGE, PROT_READ, MAP_PRIVATE), -1) == 0);
    arm(server, addr, 3 * PAGE);
    server_mapped(server, id, addr);

    if (server->is_user_mode_only) {
        answer_error_at(server, addr, 0);
        server_expect_end(server);
        return;
    }
    serve_fault(server, addr);
    serve_fault(server, addr + PAGE);
    REQUIRE(next_event(server).event == UFFD_EVENT_PAGEFAULT);
    poison.range = (struct uffdio_range){.start = addr + 2 * PAGE, .len = PAGE};
    REQUIRE(ioctl(server->uffd, UFFDIO_POISON, &poison) == 0);
    answer_error_at(server, addr + 2 * PAGE, EIO); /* for the copy that is short: no access */
    answer_error_at(server, addr + 2 * PAGE, EIO);
    answer_error_at(server, addr + 8 * PAGE, 0);
    server_expect_end(server);
}

static void check_copies(struct muse *muse, char *p)
{
    char buf[3 * 4096];

    ck_assert_int_eq(muse_copy_from(muse, buf, p, sizeof(buf)), 2 * 4096);
    ck_assert_int_eq(buf[0], 'a');
    ck_assert_int_eq(buf[4096], 'b');
    ck_assert_int_eq(muse_copy_from(muse, buf, p + 2 * PAGE, 1), -1);
    ck_assert_int_eq(errno, EIO);
    ck_assert_str_eq(muse_last_error_text(), "test/object: fault: bad sector");
    ck_assert_int_eq(muse_copy_from(muse, buf, p + 8 * PAGE, 1), -1);
    ck_assert_int_eq(errno, EFAULT);
    ck_assert_int_eq(muse_copy_from(muse, buf, p, 0), 0);
}

/* ---- bytes that are no memory ---- */

/* ACCESS of [addr, +length): @n bytes. */
static void answer_access(struct server *server, uint64_t addr, uint32_t length, size_t n)
{
    struct frame *frame = server_read(server, FRAME_ACCESS);
    Muse__Wire__Access *access = muse__wire__access__unpack(NULL, frame->n_payload, frame->payload);
    Muse__Wire__Accessed accessed = MUSE__WIRE__ACCESSED__INIT;
    uint8_t bytes[2 * PAGE];

    REQUIRE(access && access->addr == addr && access->length == length);
    muse__wire__access__free_unpacked(access, NULL);
    memset(bytes, 'z', n);
    accessed.data.data = bytes;
    accessed.data.len = n;
    server_send(server, FRAME_ACCESSED, frame->header.id, &accessed, -1);
}

/* The addresses are those of the arena, where nothing readable is mapped. */
static void script_access(struct server *server)
{
    server_greet(server);
    const uint64_t addr = server->arena_start;

    answer_error(server, addr + 10, EIO, true); /* up to the page's end, then the next page */
    answer_access(server, addr + 10, PAGE - 10, PAGE - 10);
    answer_error(server, addr + PAGE, 0, true);
    answer_access(server, addr + PAGE, 20, 20);

    answer_error(server, addr, EIO, true); /* short: the rest is not asked for */
    answer_access(server, addr, PAGE, 7);

    answer_error(server, addr, EIO, true); /* nothing: what the page failed with */
    answer_access(server, addr, 1, 0);

    answer_error(server, addr, EIO, true); /* an errno of access is nearer */
    server_fail(server, server_await(server, FRAME_ACCESS), ENODATA, "test/object: access: no");

    answer_error(server, addr, EIO, true); /* after the first page the count is short */
    answer_access(server, addr, PAGE, PAGE);
    answer_error(server, addr + PAGE, EIO, true);
    server_fail(server, server_await(server, FRAME_ACCESS), ENODATA, NULL);

    answer_error(server, addr, EIO, true); /* where there is no room for the bytes */
    answer_access(server, addr, 1, 1);

    answer_error(server, addr, EIO, true); /* more than was asked for */
    answer_access(server, addr, 1, 2);
    server_expect_end(server);
}

static void check_access(struct muse *muse, const char *p)
{
    char buf[2 * PAGE] = "";

    ck_assert_int_eq(muse_copy_from(muse, buf, p + 10, PAGE + 10), PAGE + 10);
    ck_assert_int_eq(buf[0], 'z');
    ck_assert_int_eq(buf[PAGE + 9], 'z');
    ck_assert_int_eq(buf[PAGE + 10], '\0');
    ck_assert_int_eq(muse_copy_from(muse, buf, p, 2 * PAGE), 7);
    ck_assert_int_eq(muse_copy_from(muse, buf, p, 1), -1);
    ck_assert_int_eq(errno, EIO);
    ck_assert_str_eq(muse_last_error_text(), "test/object: fault: bad sector");
    ck_assert_int_eq(muse_copy_from(muse, buf, p, 1), -1);
    ck_assert_int_eq(errno, ENODATA);
    ck_assert_str_eq(muse_last_error_text(), "test/object: access: no");
    ck_assert_int_eq(muse_copy_from(muse, buf, p, 2 * PAGE), PAGE);
    ck_assert_str_eq(muse_last_error_text(), "");
    ck_assert_int_eq(muse_copy_from(muse, (char *)(uintptr_t)p + 9 * PAGE, p, 1), -1);
    ck_assert_int_eq(errno, EFAULT);
    ck_assert_int_eq(muse_copy_from(muse, buf, p, 1), -1);
    ck_assert_int_eq(errno, EPROTO);
}

START_TEST(bytes_that_are_no_memory_are_asked_of_the_server_a_page_at_a_time)
{
    struct server server;
    struct muse *muse;

    server_start(&server, script_access, NULL, 0);
    muse = server_connect(&server);
    check_access(muse,
                 (char *)(uintptr_t)server.arena_start); /* NOLINT(performance-no-int-to-ptr) */
    muse_disconnect(muse);
    server_stop(&server);
}
END_TEST

START_TEST(copying_waits_for_pages_and_tells_the_errno_of_a_bad_one)
{
    struct server server;
    struct muse *muse;
    char byte;
    char *p;

    server_start(&server, script_copy, NULL, 3);
    muse = server_connect(&server);
    if (server.is_user_mode_only)
        ck_assert_ptr_nonnull(strstr(muse_last_error_text(), "user mode only"));
    p = muse_mmap(muse, NULL, 3 * PAGE, PROT_READ, MAP_PRIVATE, open_object(muse), 0);
    ck_assert_ptr_ne(p, MAP_FAILED);
    if (server.is_user_mode_only) { /* a copy is the kernel's, and not served */
        ck_assert_int_eq(muse_copy_from(muse, &byte, p, 1), -1);
        ck_assert_int_eq(errno, EFAULT);
    } else {
        check_copies(muse, p);
    }
    muse_disconnect(muse);
    server_stop(&server);
}
END_TEST

static Suite *memory_suite(void)
{
    Suite *suite = suite_create("client_memory");
    TCase *tcase = tcase_create("memory");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase,
                   a_mapping_shows_the_object_and_unmapping_gives_the_range_back_to_the_arena);
    tcase_add_test(tcase,
                   a_fixed_mapping_outside_the_arena_replaces_memory_and_goes_with_the_connection);
    tcase_add_test(tcase, the_server_cannot_touch_what_is_not_its_own);
    tcase_add_test(tcase, too_many_ops_end_the_connection);
    tcase_add_test(tcase, arguments_reach_the_server_as_they_are);
    tcase_add_test(tcase, MAP_LOCKED_obeys_this_process_limit_and_locks);
    tcase_add_test(tcase, what_is_mapped_waits_for_the_server_before_that_knows_of_it);
    tcase_add_test(tcase, a_moved_mapping_keeps_waiting_for_the_server);
    tcase_add_test(tcase, bytes_that_are_no_memory_are_asked_of_the_server_a_page_at_a_time);
    tcase_add_test(tcase, copying_waits_for_pages_and_tells_the_errno_of_a_bad_one);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(memory_suite());
    int n_failed;

    srunner_run_all(runner, CK_NORMAL);
    n_failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return n_failed == 0 ? 0 : 1;
}
