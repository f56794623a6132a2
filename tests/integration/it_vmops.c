/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The vm operations access and vma_name with real processes. Names: what maps and why show, after
 * every way a mapping has copies, and that nobody waits for one. access: what muse_copy_from() gets
 * where there is no memory, and what becomes of it when a driver refuses, lies, hangs or dies.
 */
#include <errno.h>
#include <fcntl.h>
#include <muse/muse.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <check.h>

#include "common/base/own.h"
#include "tests/support/client.h"
#include "tests/support/raw.h"
#include "tests/support/unit.h"

#define RW (PROT_READ | PROT_WRITE)

static const char *const faulty[] = {"muse-faulty", NULL};
static const char quick[] = "[deadlines]\nhook_ms = 200\n";

static struct rig rig;
static struct muse *muse;

static void begin(const char *config)
{
    rig_start(&rig, config, faulty);
    muse = client_connect();
}

static void end(void)
{
    ck_assert_uint_eq(rig_counter("mismatch"), 0);
    muse_disconnect(muse);
    rig_stop(&rig);
}

static char *map_at(const char *name, struct client_span span, int prot, int flags)
{
    char *mapped = client_map_at(muse, name, O_RDONLY, span, prot, flags);

    ck_assert_msg(mapped != MAP_FAILED, "%s", muse_last_error_text());
    return mapped;
}

static char *map_pages(const char *name, size_t n_pages)
{
    return map_at(name, (struct client_span){NULL, n_pages * PAGE, 0}, RW, MAP_PRIVATE);
}

/* ---- names ---- */

/* The space of process @pid; 0: none. */
static uint64_t find_space(pid_t pid)
{
    json_t *document = rig_ctl(&rig, "spaces");
    uint64_t id = 0;
    json_t *space;
    size_t i;

    json_array_foreach(json_entries(document), i, space)
    {
        if (json_integer_value(json_object_get(space, "pid")) == pid)
            id = (uint64_t)json_integer_value(json_object_get(space, "id"));
    }
    json_decref(document);
    return id;
}

/* Mappings of process @pid, and how many of them are called @name; NULL: nothing. */
static unsigned count_called(pid_t pid, const char *name, unsigned *ret_n_mapped)
{
    char command[64];
    json_t *document, *map;
    unsigned n = 0;
    size_t i;

    *ret_n_mapped = 0;
    (void)snprintf(command, sizeof(command), "maps %llu", (unsigned long long)find_space(pid));
    document = rig_ctl(&rig, command);
    json_array_foreach(json_entries(document), i, map)
    {
        const char *called = json_string_value(json_object_get(map, "name"));

        if (strcmp(json_string_value(json_object_get(map, "state")), "mapped") != 0)
            continue;
        (*ret_n_mapped)++;
        n += name && called ? strcmp(called, name) == 0 : name == called;
    }
    json_decref(document);
    return n;
}

struct called {
    pid_t pid;
    const char *name;
    unsigned n;
};

static bool are_called(const struct rig *unused, void *arg)
{
    const struct called *called = arg;
    unsigned n_mapped;

    (void)unused;
    return count_called(called->pid, called->name, &n_mapped) == called->n && n_mapped == called->n;
}

/* All mappings of this process are called @name, and there are @n. The answer may have to come. */
static void expect_names(const char *name, unsigned n)
{
    struct called called = {getpid(), name, n};

    rig_wait(are_called, &rig, &called, name ? name : "no name");
}

static void expect_why(const char *mapped, const char *name)
{
    char command[80];
    json_t *document;

    (void)snprintf(command, sizeof(command), "why %llu %#lx",
                   (unsigned long long)find_space(getpid()), (unsigned long)(uintptr_t)mapped);
    document = rig_ctl(&rig, command);
    ck_assert_str_eq(
        json_string_value(json_object_get(json_object_get(document, "mapping"), "name")), name);
    json_decref(document);
}

/* What `musectl maps` prints for people. */
static void expect_line(const char *part)
{
    char program[256], command[600], line[512];
    bool found = false;
    FILE *out;

    build_program("musectl", program, sizeof(program));
    (void)snprintf(command, sizeof(command), "%s --rundir %s maps %llu", program, rig.run,
                   (unsigned long long)find_space(getpid()));
    out = popen(command, "r"); /* NOLINT(cert-env33-c): our own program */
    ck_assert_ptr_nonnull(out);
    while (fgets(line, sizeof(line), out))
        found = found || strstr(line, part);
    ck_assert_int_eq(pclose(out), 0);
    ck_assert_msg(found, "no \"%s\"", part);
}

START_TEST(a_mapping_is_shown_with_its_name_in_brackets_until_it_is_gone)
{
    char *mapped;

    begin(NULL);
    mapped = map_pages("faulty/x,ops=named,name=rings", 4);
    expect_names("rings", 1);
    expect_why(mapped + PAGE, "rings");
    expect_line("faulty/x,ops=named,name=rings [rings]");
    ck_assert_int_eq(muse_munmap(muse, mapped, 4 * PAGE), 0);
    expect_names("rings", 0);
    ck_assert_uint_eq(rig_counter("name"), 1);
    end();
}
END_TEST

START_TEST(a_name_is_cut_and_what_is_not_printable_is_replaced)
{
    static const char sixty_four[] =
        "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijkl";

    begin(NULL);
    char *mapped = map_pages("faulty/x,ops=named,name=[a\x1b[31m\xc3\xa4]", 1);

    expect_names("a?[31m??", 1);
    ck_assert_int_eq(muse_munmap(muse, mapped, PAGE), 0);
    (void)map_pages("faulty/x,ops=named,name="
                    "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklm",
                    1);
    expect_names(sixty_four, 1);
    end();
}
END_TEST

START_TEST(without_an_answer_or_without_the_hook_there_is_no_name)
{
    begin(NULL);
    char *plain = map_pages("faulty/x,ops=plain,name=x", 1);
    char *silent = map_pages("faulty/y,ops=named", 1);

    ck_assert_uint_eq(rig_counter("name"), 1);
    expect_names(NULL, 2);
    ck_assert_int_eq(muse_munmap(muse, plain, PAGE), 0);
    ck_assert_int_eq(muse_munmap(muse, silent, PAGE), 0);
    end();
}
END_TEST

static bool has_erred(const struct rig *unused, void *arg)
{
    (void)unused;
    (void)arg;
    return rig_count(&rig, "faulty", "errors") > 0;
}

START_TEST(an_errno_instead_of_a_name_is_no_name_whatever_its_number)
{
    begin(NULL);
    pid_t old = rig_driver_pid(&rig, "faulty");

    (void)map_pages("faulty/x,ops=named,name=rings,name-errno=71", 1);
    rig_wait(has_erred, &rig, NULL, "the answer");
    expect_names(NULL, 1);
    ck_assert_int_eq(rig_driver_pid(&rig, "faulty"), old); /* EPROTO is an errno like any other */
    end();
}
END_TEST

START_TEST(parts_and_moved_mappings_are_called_like_the_whole)
{
    char *mapped, *moved;

    begin(NULL);
    mapped = map_pages("faulty/x,ops=named,name=rings", 9);
    ck_assert_int_eq(muse_mprotect(muse, mapped + 3 * PAGE, 3 * PAGE, PROT_READ), 0);
    expect_names("rings", 3);
    moved = muse_mremap(muse, mapped + 3 * PAGE, 3 * PAGE, 3 * PAGE,
                        MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
    if (moved == MAP_FAILED) /* only for private anonymous memory on older kernels */
        expect_names("rings", 3);
    else
        expect_names("rings", 4);
    ck_assert_int_eq(muse_munmap(muse, mapped + PAGE, PAGE), 0);
    expect_names("rings", moved == MAP_FAILED ? 4 : 5);
    ck_assert_uint_eq(rig_counter("name"), 1);
    end();
}
END_TEST

START_TEST(halves_that_are_cut_before_the_answer_get_it_as_well)
{
    char *mapped;

    begin(NULL);
    mapped = map_pages("faulty/x,ops=named,name=rings,name-sleep-ms=150", 8);
    ck_assert_int_eq(muse_mprotect(muse, mapped, 4 * PAGE, PROT_READ), 0);
    expect_names("rings", 2);
    end();
}
END_TEST

START_TEST(a_part_that_merges_is_called_like_its_neighbour_and_not_asked_about)
{
    static const char name[] = "faulty/x,ops=named,name=rings";
    struct muse_file *file;
    char *mapped;

    begin(NULL);
    file = client_open(muse, name, O_RDONLY);
    mapped = muse_mmap(muse, NULL, 4 * PAGE, PROT_READ, MAP_SHARED, file, 0);
    ck_assert_ptr_ne(mapped, MAP_FAILED);
    ck_assert_int_eq(muse_munmap(muse, mapped + 2 * PAGE, 2 * PAGE), 0);
    ck_assert_ptr_eq(muse_mmap(muse, mapped + 2 * PAGE, 2 * PAGE, PROT_READ,
                               MAP_SHARED | MAP_FIXED_NOREPLACE, file, 2 * PAGE),
                     mapped + 2 * PAGE);
    expect_names("rings", 1);
    ck_assert_uint_eq(rig_counter("name"), 1);
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

static void child_has_names(void *ctx)
{
    (void)ctx;
    expect_names("rings", 2);
}

START_TEST(a_forked_child_has_the_names_of_its_parent)
{
    char *mapped;

    begin(NULL);
    mapped = map_pages("faulty/x,ops=named,name=rings", 4);
    ck_assert_int_eq(muse_mprotect(muse, mapped, PAGE, PROT_READ), 0);
    expect_names("rings", 2);
    client_join(client_fork(child_has_names, NULL));
    expect_names("rings", 2);
    ck_assert_uint_eq(rig_counter("name"), 1);
    end();
}
END_TEST

static bool has_wait(const struct rig *unused, void *arg)
{
    (void)unused;
    return rig_blocked(&rig, arg, NULL, NULL);
}

START_TEST(a_driver_that_does_not_say_a_name_holds_up_nobody)
{
    static char wait[] = "name";
    pid_t old;
    char *mapped;

    begin(NULL);
    old = rig_driver_pid(&rig, "faulty");
    mapped = map_pages("faulty/x,ops=named,name=rings,name-delay-ms=600000", 4);
    rig_wait(has_wait, &rig, wait, "the question is shown");
    expect_names(NULL, 1);
    ck_assert_uint_eq(faulty_word(mapped, 3, 7), 3 * 512 + 7);
    client_work_goes_on(&rig, muse, "faulty");
    ck_assert_int_eq(muse_mprotect(muse, mapped, PAGE, PROT_READ), 0);
    expect_names(NULL, 2);
    ck_assert_int_eq(muse_munmap(muse, mapped, 4 * PAGE), 0);
    ck_assert(has_wait(&rig, wait)); /* all of that was while it was asked */
    ck_assert_int_eq(kill(old, SIGKILL), 0);
    (void)wait_for_driver(&rig, "faulty", old);
    end();
}
END_TEST

/* The driver sleeps in its hook until then, and is asked nothing that could be late, too. */
static bool is_awake(const struct rig *unused, void *arg)
{
    struct muse_file *file;

    (void)unused;
    (void)arg;
    return muse_open(muse, "faulty/awake", O_RDONLY, &file) == 0 && muse_close(file) == 0;
}

START_TEST(a_name_that_comes_too_late_is_none_and_does_no_harm)
{
    begin(quick);
    pid_t old = rig_driver_pid(&rig, "faulty");

    (void)map_pages("faulty/x,ops=named,name=rings,name-sleep-ms=300", 1);
    rig_wait(has_erred, &rig, NULL, "the deadline");
    rig_wait(is_awake, &rig, NULL, "the late answer");
    expect_names(NULL, 1);
    ck_assert_int_eq(rig_driver_pid(&rig, "faulty"), old);
    end();
}
END_TEST

START_TEST(a_driver_that_dies_in_vma_name_leaves_a_mapping_without_one)
{
    begin(NULL);
    pid_t old = rig_driver_pid(&rig, "faulty");

    (void)map_pages("faulty/x,ops=named,die-in=name", 1);
    (void)wait_for_driver(&rig, "faulty", old);
    expect_names(NULL, 1);
    end();
}
END_TEST

/* ---- access ---- */

/* What access gives: the complement of the pattern. */
static unsigned char inverted(size_t offset)
{
    const uint64_t word = offset / 8;

    return (unsigned char)~(word >> offset % 8 * 8);
}

static unsigned char patterned(size_t offset)
{
    return (unsigned char)~inverted(offset);
}

static void expect_bytes(const unsigned char *bytes, size_t from, size_t len,
                         unsigned char (*expected)(size_t offset))
{
    for (size_t i = 0; i < len; i++) {
        ck_assert_msg(bytes[i] == expected(from + i), "byte %zu: %#x, not %#x", from + i, bytes[i],
                      expected(from + i));
    }
}

static void expect_failure(const char *mapped, int error, const char *part)
{
    char byte = 'u';

    ck_assert_int_eq(muse_copy_from(muse, &byte, mapped, 1), -1);
    ck_assert_str_eq(strerrorname_np(errno), strerrorname_np(error));
    ck_assert_msg(strstr(muse_last_error_text(), part) != NULL, "no \"%s\" in \"%s\"", part,
                  muse_last_error_text());
    ck_assert_int_eq(byte, 'u');
}

START_TEST(a_mapping_without_pages_is_copied_through_access)
{
    unsigned char bytes[4 * PAGE];
    char *mapped;

    begin(NULL);
    mapped = map_pages("faulty/x,ops=access,fault-errno=5", 4);
    ck_assert_int_eq(muse_copy_from(muse, bytes, mapped + 100, 3 * PAGE), (ssize_t)(3 * PAGE));
    expect_bytes(bytes, 100, 3 * PAGE, inverted);
    ck_assert_str_eq(muse_last_error_text(), "");
    ck_assert_uint_eq(rig_counter("access"), 4);         /* a page at a time */
    ck_assert_int_eq(probe_read(mapped).signal, SIGBUS); /* nothing has become memory */
    end();
}
END_TEST

START_TEST(only_the_page_that_is_no_memory_is_asked_of_the_driver)
{
    unsigned char bytes[3 * PAGE];
    char *mapped;

    begin(NULL);
    mapped = map_pages("faulty/x,ops=access,fault-errno=5,page=1", 3);
    mapped[2 * PAGE] = 'w'; /* this process's own */
    ck_assert_int_eq(muse_copy_from(muse, bytes, mapped, 3 * PAGE), (ssize_t)(3 * PAGE));
    expect_bytes(bytes, 0, PAGE, patterned);
    expect_bytes(bytes + PAGE, PAGE, PAGE, inverted);
    ck_assert_int_eq(bytes[2 * PAGE], 'w');
    expect_bytes(bytes + 2 * PAGE + 1, 2 * PAGE + 1, PAGE - 1, patterned);
    ck_assert_uint_eq(rig_counter("access"), 1);
    end();
}
END_TEST

START_TEST(behind_the_end_access_is_asked_of_direct_mappings_too)
{
    static const char *const names[] = {"faulty/x,ops=access,size=4K",
                                        "faulty/y,ops=access,size=4K,action=remap"};

    begin(NULL);
    for (size_t i = 0; i < N_ELEMENTS(names); i++) {
        const struct client_span span = {NULL, 2 * PAGE, 0};
        const char *mapped = map_at(names[i], span, PROT_READ, MAP_SHARED);
        unsigned char bytes[2 * PAGE];

        ck_assert_int_eq(muse_copy_from(muse, bytes, mapped, 2 * PAGE), (ssize_t)(2 * PAGE));
        expect_bytes(bytes, 0, PAGE, patterned);
        expect_bytes(bytes + PAGE, PAGE, PAGE, inverted);
    }
    end();
}
END_TEST

static void child_copies(void *ctx)
{
    unsigned char bytes[16];

    ck_assert_int_eq(muse_copy_from(muse, bytes, ctx, sizeof(bytes)), (ssize_t)sizeof(bytes));
    expect_bytes(bytes, 0, sizeof(bytes), inverted);
}

START_TEST(a_forked_child_has_access_too)
{
    char *mapped;

    begin(NULL);
    mapped = map_pages("faulty/x,ops=access,fault-errno=5", 1);
    client_join(client_fork(child_copies, mapped));
    child_copies(mapped);
    end();
}
END_TEST

START_TEST(a_short_answer_is_a_short_copy_and_none_leaves_the_errno_of_the_page)
{
    unsigned char bytes[2 * PAGE];
    char *mapped;

    begin(NULL);
    mapped = map_pages("faulty/x,ops=access,fault-errno=5,access-short", 2);
    ck_assert_int_eq(muse_copy_from(muse, bytes, mapped, 2 * PAGE), (ssize_t)(PAGE / 2));
    expect_bytes(bytes, 0, PAGE / 2, inverted);
    ck_assert_uint_eq(rig_counter("access"), 1);
    mapped = map_pages("faulty/y,ops=access,fault-errno=74,access-nothing", 1);
    expect_failure(mapped, EBADMSG, "");
    end();
}
END_TEST

START_TEST(an_errno_of_access_is_that_of_the_copy)
{
    unsigned char bytes[2 * PAGE];
    char *mapped;

    begin(NULL);
    mapped = map_pages("faulty/x,ops=access,fault-errno=5,page=1,access-errno=13", 2);
    expect_failure(mapped + PAGE, EACCES, "access refused as asked for");
    ck_assert_int_eq(muse_copy_from(muse, bytes, mapped, 2 * PAGE), (ssize_t)PAGE);
    expect_bytes(bytes, 0, PAGE, patterned);
    mapped = map_pages("faulty/y,ops=access,fault-errno=5,access-errno=5000", 1);
    expect_failure(mapped, EREMOTEIO, "access");
    end();
}
END_TEST

START_TEST(access_is_not_asked_where_memory_or_the_right_to_it_is_the_matter)
{
    char byte, *mapped;

    begin(NULL);
    mapped = map_pages("faulty/x,ops=access", 1);
    ck_assert_int_eq(muse_copy_from(muse, &byte, mapped, 1), 1);
    ck_assert_int_eq(muse_mprotect(muse, mapped, PAGE, PROT_NONE), 0);
    expect_failure(mapped, EFAULT, "");
    ck_assert_int_eq(muse_munmap(muse, mapped, PAGE), 0);
    expect_failure(mapped, EFAULT, "");
    mapped = map_pages("faulty/y,ops=plain,fault-errno=5", 1);
    expect_failure(mapped, EIO, "");
    mapped = map_pages("faulty/z,ops=access,fault-errno=5", 1);
    ck_assert_int_eq(muse_mprotect(muse, mapped, PAGE, PROT_NONE), 0);
    expect_failure(mapped, EFAULT, "");
    ck_assert_uint_eq(rig_counter("access"), 0);
    end();
}
END_TEST

START_TEST(access_past_its_deadline_is_etimedout_and_others_go_on)
{
    char *mapped;
    pid_t old;

    begin(quick);
    old = rig_driver_pid(&rig, "faulty");
    mapped = map_pages("faulty/x,ops=access,fault-errno=5,access-delay-ms=400", 1);
    expect_failure(mapped, ETIMEDOUT, "the driver did not answer in time");
    client_work_goes_on(&rig, muse, "faulty");
    ck_assert_int_eq(muse_munmap(muse, mapped, PAGE), 0);
    wait_for_counter("close", 1); /* comes behind the late answer, which did no harm */
    ck_assert_int_eq(rig_driver_pid(&rig, "faulty"), old);
    end();
}
END_TEST

START_TEST(a_driver_that_dies_in_access_is_eio)
{
    begin(NULL);
    pid_t old = rig_driver_pid(&rig, "faulty");
    char *mapped = map_pages("faulty/x,ops=access,fault-errno=5,die-in=access", 1);

    expect_failure(mapped, EIO, "");
    (void)wait_for_driver(&rig, "faulty", old);
    expect_failure(mapped, EIO, ""); /* nobody is there to be asked */
    end();
}
END_TEST

static void copy_late(void *ctx)
{
    struct muse *own = client_connect();
    char byte, *mapped = client_map(own, "faulty/x,ops=access,fault-errno=5,access-delay-ms=60000",
                                    O_RDONLY, PAGE, PROT_READ, MAP_SHARED);

    (void)ctx;
    (void)!muse_copy_from(own, &byte, mapped, 1);
    ck_abort_msg("it should be dead by now");
}

static bool has_no_spaces_but_ours(const struct rig *of, void *arg)
{
    json_t *document = rig_ctl(of, "spaces");
    const size_t n = json_array_size(json_object_get(document, "spaces"));

    (void)arg;
    json_decref(document);
    return n == 1;
}

START_TEST(a_client_killed_while_it_waits_for_access_leaves_nothing)
{
    static char wait[] = "access";
    pid_t child;

    begin("[deadlines]\nhook_ms = 600000\n");
    child = client_fork(copy_late, NULL);
    rig_wait(has_wait, &rig, wait, "the wait is shown");
    client_kill(child);
    rig_wait(has_no_spaces_but_ours, &rig, NULL, "its space to go, and not with the answer");
    kill_driver(&rig, "faulty");
    end();
}
END_TEST

/* As process_vm_readv(2) of another process waits for its mmap lock. */
START_TEST(access_to_a_mapping_that_is_being_made_waits_for_it)
{
    static const char name[] = "faulty/x,ops=access,complete-delay-ms=700";
    static char wait[] = "access";
    Muse__Wire__Access message = MUSE__WIRE__ACCESS__INIT;
    Muse__Wire__Accessed *accessed;
    struct frame *frame;
    struct raw raw;
    uint64_t map, access;

    begin(NULL);
    raw_hello(&raw, &rig);
    raw_attach(&raw);
    message.addr = (uintptr_t)raw.arena + 16 * PAGE;
    message.length = 8;
    map = raw_map(&raw, raw_open(&raw, name), message.addr, PAGE, MAP_FIXED);
    raw_carry_out(&raw, raw_answer(&raw, FRAME_MEM_OPS, map));
    wait_for_counter("complete", 1);
    access = raw_ask(&raw, FRAME_ACCESS, &message.base);
    if (_i == 1) { /* it goes while it waits */
        rig_wait(has_wait, &rig, wait, "the wait is shown");
        raw_done(&raw);
        end();
        return;
    }
    raw_carry_out(&raw, raw_answer(&raw, FRAME_MEM_OPS, map)); /* open */
    (void)raw_answer(&raw, FRAME_MAPPED, map);                 /* first this, and then that */
    frame = raw_answer(&raw, FRAME_ACCESSED, access);
    accessed = muse__wire__accessed__unpack(NULL, frame->n_payload, frame->payload);
    ck_assert_ptr_nonnull(accessed);
    ck_assert_uint_eq(accessed->data.len, 8);
    muse__wire__accessed__free_unpacked(accessed, NULL);
    raw_done(&raw);
    end();
}
END_TEST

/* ---- lies ---- */

START_TEST(a_driver_whose_answer_makes_no_sense_is_cut_off)
{
    static const char *const lies[] = {"access-long", "access-truncated"};

    begin(NULL);
    for (size_t i = 0; i < N_ELEMENTS(lies); i++) {
        const pid_t old = rig_driver_pid(&rig, "faulty");
        char name[80];

        (void)snprintf(name, sizeof(name), "faulty/%zu,ops=access,fault-errno=5,lie=%s", i,
                       lies[i]);
        expect_failure(map_pages(name, 1), EREMOTEIO, "answer");
        (void)wait_for_driver(&rig, "faulty", old);
    }
    pid_t old = rig_driver_pid(&rig, "faulty");

    (void)map_pages("faulty/x,ops=named,lie=name-truncated", 1);
    (void)wait_for_driver(&rig, "faulty", old);
    end();
}
END_TEST

static void expect_refused(struct raw *raw, uint64_t addr, uint32_t length, int error)
{
    Muse__Wire__Access message = MUSE__WIRE__ACCESS__INIT;

    message.addr = addr;
    message.length = length;
    ck_assert_int_eq(raw_failure(raw, raw_ask(raw, FRAME_ACCESS, &message.base)), error);
}

START_TEST(a_question_that_makes_no_sense_is_refused)
{
    struct raw raw;
    uint64_t addr;

    begin(NULL);
    raw_hello(&raw, &rig);
    raw_attach(&raw);
    addr = (uintptr_t)raw.arena;
    expect_refused(&raw, addr, 0, EINVAL);
    expect_refused(&raw, addr, 4097, EINVAL);
    expect_refused(&raw, addr + 4095, 2, EINVAL);
    expect_refused(&raw, UINT64_MAX, 2, EINVAL);
    expect_refused(&raw, UINT64_MAX, 1, EFAULT);
    expect_refused(&raw, addr, 4096, EFAULT);
    ck_assert_int_eq(raw_frame(raw.chan.fd, FRAME_ACCESS, "\x08\x80", 2, -1, 0, 0), 0);
    ck_assert(raw_is_cut_off(raw.chan.fd));
    raw_done(&raw);
    end();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("vmops");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, a_mapping_is_shown_with_its_name_in_brackets_until_it_is_gone);
    tcase_add_test(tcase, a_name_is_cut_and_what_is_not_printable_is_replaced);
    tcase_add_test(tcase, without_an_answer_or_without_the_hook_there_is_no_name);
    tcase_add_test(tcase, an_errno_instead_of_a_name_is_no_name_whatever_its_number);
    tcase_add_test(tcase, parts_and_moved_mappings_are_called_like_the_whole);
    tcase_add_test(tcase, halves_that_are_cut_before_the_answer_get_it_as_well);
    tcase_add_test(tcase, a_part_that_merges_is_called_like_its_neighbour_and_not_asked_about);
    tcase_add_test(tcase, a_forked_child_has_the_names_of_its_parent);
    tcase_add_test(tcase, a_driver_that_does_not_say_a_name_holds_up_nobody);
    tcase_add_test(tcase, a_name_that_comes_too_late_is_none_and_does_no_harm);
    tcase_add_test(tcase, a_driver_that_dies_in_vma_name_leaves_a_mapping_without_one);
    tcase_add_test(tcase, a_mapping_without_pages_is_copied_through_access);
    tcase_add_test(tcase, only_the_page_that_is_no_memory_is_asked_of_the_driver);
    tcase_add_test(tcase, behind_the_end_access_is_asked_of_direct_mappings_too);
    tcase_add_test(tcase, a_forked_child_has_access_too);
    tcase_add_test(tcase, a_short_answer_is_a_short_copy_and_none_leaves_the_errno_of_the_page);
    tcase_add_test(tcase, an_errno_of_access_is_that_of_the_copy);
    tcase_add_test(tcase, access_is_not_asked_where_memory_or_the_right_to_it_is_the_matter);
    tcase_add_test(tcase, access_past_its_deadline_is_etimedout_and_others_go_on);
    tcase_add_test(tcase, a_driver_that_dies_in_access_is_eio);
    tcase_add_test(tcase, a_client_killed_while_it_waits_for_access_leaves_nothing);
    tcase_add_loop_test(tcase, access_to_a_mapping_that_is_being_made_waits_for_it, 0, 2);
    tcase_add_test(tcase, a_driver_whose_answer_makes_no_sense_is_cut_off);
    tcase_add_test(tcase, a_question_that_makes_no_sense_is_refused);
    return unit_run("vmops", tcase);
}
