/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * musectl why and musectl blocked with real processes, while drivers and clients hang: what a touch
 * meets, and every kind of wait with who waits, for whom and at which stage.
 */
#include <errno.h>
#include <fcntl.h>
#include <muse/muse.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <check.h>

#include "common/base/own.h"
#include "tests/support/client.h"
#include "tests/support/raw.h"
#include "tests/support/unit.h"

#define N_PAGES 16u
#define RW      (PROT_READ | PROT_WRITE)

static const char *const faulty[] = {"muse-faulty --register=writes", NULL};

static struct rig rig;
static struct muse *muse;
static uint64_t space_id;

/* The number of this process's only space. */
static uint64_t find_space(void)
{
    json_t *document = rig_ctl(&rig, "spaces");
    json_t *spaces = json_entries(document);
    uint64_t id = 0;

    for (size_t i = 0; i < json_array_size(spaces); i++) {
        json_t *space = json_array_get(spaces, i);

        if (json_integer_value(json_object_get(space, "pid")) == getpid())
            id = (uint64_t)json_integer_value(json_object_get(space, "id"));
    }
    json_decref(document);
    ck_assert_uint_ne(id, 0);
    return id;
}

static void begin_with(const char *config, const char *const *drivers)
{
    rig_start(&rig, config, drivers);
    muse = client_connect();
    space_id = find_space();
}

/* Nothing ages in the time of a test; hooks have long, but not for ever. */
static void begin(void)
{
    begin_with("[deadlines]\nwriteback_ms = 600000\nhook_ms = 20000\n", faulty);
}

static void end(void)
{
    muse_disconnect(muse);
    rig_stop(&rig);
}

static char *map_of(const char *name, int prot, int flags)
{
    char *mapped = client_map(muse, name, O_RDWR, N_PAGES * PAGE, prot, flags);

    ck_assert_ptr_ne(mapped, MAP_FAILED);
    return mapped;
}

/* ---- why ---- */

static json_t *ask_why(const void *addr)
{
    char command[80];

    (void)snprintf(command, sizeof(command), "why %llu %#lx", (unsigned long long)space_id,
                   (unsigned long)(uintptr_t)addr);
    return rig_ctl(&rig, command);
}

static const char *text_of(const json_t *document, const char *key)
{
    const char *text = json_string_value(json_object_get(document, key));

    return text ? text : "";
}

static uint64_t number_of(const json_t *document, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(document, key));
}

static const char *reason_of(const json_t *document, const char *access)
{
    return text_of(json_object_get(document, access), "reason");
}

static void expect_part(const json_t *document, const char *key, const char *part)
{
    ck_assert_msg(strstr(text_of(document, key), part) != NULL, "no \"%s\" in \"%s\"", part,
                  text_of(document, key));
}

static void expect_why(const void *addr, const char *read, const char *write)
{
    json_t *document = ask_why(addr);

    ck_assert_str_eq(reason_of(document, "read"), read);
    ck_assert_str_eq(reason_of(document, "write"), write);
    ck_assert_str_ne(text_of(document, "sentence"), "");
    json_decref(document);
}

START_TEST(why_a_touch_works)
{
    begin();
    char *shared = map_of("faulty/x", RW, MAP_SHARED);
    char *private = map_of("faulty/x", RW, MAP_PRIVATE);
    char *readable = map_of("faulty/x", PROT_READ, MAP_SHARED);
    char *behind =
        client_map(muse, "faulty/short,size=6000", O_RDONLY, 4 * PAGE, PROT_READ, MAP_SHARED);
    json_t *document;

    ck_assert_ptr_ne(behind, MAP_FAILED);
    expect_why(shared + 2 * PAGE, "ask", "ask");
    ck_assert_uint_eq(faulty_word(shared, 2, 0), 2 * 512);
    expect_why(shared + 2 * PAGE + 77, "ready", "dirties");
    expect_why(private + 2 * PAGE, "ready", "copy");
    expect_why(readable + 2 * PAGE, "ready", "no-right");
    expect_why(behind + 2 * PAGE, "beyond", "no-right");
    expect_why(readable + 100 * PAGE, "nothing", "nothing");
    expect_why((void *)(uintptr_t)4096, "nothing", "nothing");
    shared[2 * PAGE] = 9;
    expect_why(shared + 2 * PAGE, "ready", "ready");
    document = ask_why(shared + 2 * PAGE + 77);
    ck_assert_uint_eq(number_of(json_object_get(document, "page"), "number"), 2);
    ck_assert_uint_eq(number_of(json_object_get(document, "page"), "offset"), 2 * PAGE + 77);
    ck_assert_str_eq(text_of(json_object_get(document, "page"), "state"), "dirty");
    ck_assert_str_eq(text_of(json_object_get(document, "mapping"), "perms"), "rw-s");
    ck_assert_str_eq(text_of(json_object_get(document, "object"), "name"), "faulty/x");
    ck_assert_uint_eq(number_of(json_object_get(document, "object"), "dirty_pages"), 1);
    json_decref(document);
    end();
}
END_TEST

START_TEST(why_a_touch_fails_has_the_drivers_own_sentence)
{
    begin();
    char *mapped = map_of("faulty/x,fault-errno=5,page=3", RW, MAP_SHARED);
    json_t *document, *poison;

    ck_assert_int_eq(probe_read(mapped + 3 * PAGE).signal, SIGBUS);
    document = ask_why(mapped + 3 * PAGE);
    poison = json_object_get(document, "poison");
    ck_assert_str_eq(reason_of(document, "read"), "failed");
    ck_assert_str_eq(text_of(json_object_get(document, "read"), "verdict"), "fails");
    ck_assert_uint_eq(number_of(poison, "errno"), EIO);
    ck_assert_str_eq(text_of(poison, "hook"), "fault");
    ck_assert_str_ne(text_of(poison, "text"), "");
    expect_part(document, "sentence", text_of(poison, "text"));
    expect_part(document, "sentence", "EIO");
    json_decref(document);
    end();
}
END_TEST

START_TEST(why_an_object_is_lost)
{
    begin();
    char *mapped = map_of("faulty/x,fault-single", RW, MAP_SHARED);
    json_t *document;

    ck_assert_int_eq(muse_madvise(muse, mapped, N_PAGES * PAGE, MADV_RANDOM), 0);
    ck_assert_uint_eq(faulty_word(mapped, 0, 1), 1);
    kill_driver(&rig, "faulty"); /* whatever waits for it goes on */
    expect_why(mapped, "ready", "dirties");
    expect_why(mapped + 9 * PAGE, "lost", "lost");
    document = ask_why(mapped);
    ck_assert(json_is_true(json_object_get(json_object_get(document, "object"), "lost")));
    ck_assert(json_is_false(json_object_get(json_object_get(document, "object"), "driver_alive")));
    json_decref(document);
    end();
}
END_TEST

START_TEST(why_says_what_it_does_not_know)
{
    char command[80];

    begin();
    ck_assert_int_eq(rig_ctl_status(&rig, "why 999999 1000"), 1);
    ck_assert_int_eq(rig_ctl_status(&rig, "why x 1000"), 1);
    (void)snprintf(command, sizeof(command), "why %llu 12g4", (unsigned long long)space_id);
    ck_assert_int_eq(rig_ctl_status(&rig, command), 1);
    (void)snprintf(command, sizeof(command), "why %llu 0x", (unsigned long long)space_id);
    ck_assert_int_eq(rig_ctl_status(&rig, command), 1);
    (void)snprintf(command, sizeof(command), "why %llu ffffffffffffffff",
                   (unsigned long long)space_id);
    ck_assert_int_eq(rig_ctl_status(&rig, command), 0);
    (void)snprintf(command, sizeof(command), "why %llu", (unsigned long long)space_id);
    ck_assert_int_eq(rig_ctl_status(&rig, command), 2);
    end();
}
END_TEST

/* ---- blocked ---- */

struct wanted {
    const char *what, *stage;
    json_t *entry; /* found: owned */
};

static bool is_blocked(const struct rig *of, void *arg)
{
    struct wanted *wanted = arg;
    json_t *document = rig_ctl(of, "blocked");
    json_t *entries = json_object_get(document, "blocked");
    uint64_t age_ns = UINT64_MAX;

    for (size_t i = 0; i < json_array_size(entries); i++) {
        json_t *entry = json_array_get(entries, i);

        ck_assert_uint_le(number_of(entry, "age_ns"), age_ns); /* the oldest first */
        age_ns = number_of(entry, "age_ns");
        if (!wanted->entry && strcmp(text_of(entry, "what"), wanted->what) == 0 &&
            strcmp(text_of(entry, "stage"), wanted->stage) == 0)
            wanted->entry = json_incref(entry);
    }
    json_decref(document);
    return wanted->entry;
}

/* Waits for such an entry. Return: the caller's. */
static json_t *find_blocked(const char *what, const char *stage)
{
    struct wanted wanted = {.what = what, .stage = stage};
    char text[128];

    (void)snprintf(text, sizeof(text), "an entry \"%s\" at stage \"%s\"", what, stage);
    rig_wait(is_blocked, &rig, &wanted, text);
    ck_assert_str_ne(text_of(wanted.entry, "sentence"), "");
    return wanted.entry;
}

/* Of this process, for the faulty driver's hook. */
static void expect_for_driver(json_t *entry, const char *hook)
{
    ck_assert_str_eq(text_of(entry, "for"), "driver");
    ck_assert_str_eq(text_of(entry, "driver"), "faulty");
    ck_assert_str_eq(text_of(entry, "hook"), hook);
    ck_assert_uint_eq(number_of(entry, "driver_pid"), (uint64_t)rig_driver_pid(&rig, "faulty"));
    expect_part(entry, "sentence", hook);
    expect_part(entry, "sentence", "faulty");
}

static void expect_mine(json_t *entry)
{
    ck_assert_uint_eq(number_of(entry, "space"), space_id);
    ck_assert_uint_eq(number_of(entry, "pid"), (uint64_t)getpid());
}

/* A thread that does one thing, which waits. */
struct job {
    pthread_t thread;
    void (*fn)(struct job *job);
    const char *name;
    char *addr;
    struct probe probe;
    int error;
};

static void *run_job(void *arg)
{
    struct job *job = arg;

    job->fn(job);
    return NULL;
}

static void job_start(struct job *job, void (*fn)(struct job *job))
{
    job->fn = fn;
    ck_assert_int_eq(pthread_create(&job->thread, NULL, run_job, job), 0);
}

static void job_join(struct job *job)
{
    ck_assert_int_eq(pthread_join(job->thread, NULL), 0);
}

static void do_read(struct job *job)
{
    job->probe = probe_read(job->addr);
}

static void do_write(struct job *job)
{
    job->probe = probe_write(job->addr, 7);
}

static void do_map(struct job *job)
{
    job->addr = client_map(muse, job->name, O_RDWR, N_PAGES * PAGE, RW, MAP_SHARED);
    job->error = job->addr == MAP_FAILED ? errno : 0;
}

static void do_unmap(struct job *job)
{
    job->error = muse_munmap(muse, job->addr, N_PAGES * PAGE) < 0 ? errno : 0;
}

static void do_msync(struct job *job)
{
    job->error = muse_msync(muse, job->addr, N_PAGES * PAGE, MS_SYNC) < 0 ? errno : 0;
}

static void do_pread(struct job *job)
{
    struct muse_file *file = client_open(muse, job->name, O_RDONLY);
    char byte;

    job->error = muse_pread(file, &byte, 1, PAGE) < 0 ? errno : 0;
    (void)muse_close(file);
}

static void do_open(struct job *job)
{
    struct muse_file *file;

    job->error = muse_open(muse, job->name, O_RDONLY, &file) < 0 ? errno : 0;
}

START_TEST(a_fault_that_waits_for_a_page)
{
    struct job job = {.addr = NULL};
    json_t *entry, *document;

    begin();
    job.addr = map_of("faulty/x,fault-never", RW, MAP_SHARED) + 5 * PAGE;
    job_start(&job, do_write);
    entry = find_blocked("fault", "asked");
    expect_mine(entry);
    expect_for_driver(entry, "fault");
    ck_assert_uint_eq(number_of(entry, "address"), (uintptr_t)job.addr);
    ck_assert_uint_eq(number_of(entry, "first_page"), 5);
    ck_assert(json_is_true(json_object_get(entry, "write")));
    ck_assert_str_eq(text_of(entry, "object"), "faulty/x,fault-never");
    ck_assert_uint_gt(number_of(entry, "left_ns"), 0);
    document = ask_why(job.addr + 9);
    ck_assert_str_eq(reason_of(document, "read"), "join");
    ck_assert_uint_eq(number_of(document, "n_waiters"), 1);
    ck_assert_uint_eq(json_array_size(json_object_get(document, "waiters")), 1);
    ck_assert(json_is_object(json_object_get(document, "run")));
    expect_part(document, "sentence", "a touch waits");
    expect_part(document, "sentence", "driver faulty");
    expect_part(document, "sentence", "was asked fault");
    ck_assert_int_eq(rig_ctl_status(&rig, "blocked"), 0); /* and as text */
    json_decref(document);
    json_decref(entry);
    kill_driver(&rig, "faulty");
    job_join(&job);
    ck_assert_int_eq(job.probe.signal, SIGBUS);
    end();
}
END_TEST

START_TEST(a_fault_parked_behind_a_transaction)
{
    struct job map = {.name = "faulty/x,complete-delay-ms=3000"}, touch = {.addr = NULL};
    json_t *entry, *parked, *document, *behind;

    begin();
    job_start(&map, do_map);
    entry = find_blocked("map", "completing");
    expect_mine(entry);
    expect_for_driver(entry, "mmap_complete");
    touch.addr =
        (char *)(uintptr_t)number_of(entry, "address"); /* NOLINT(performance-no-int-to-ptr) */
    job_start(&touch, do_read);
    parked = find_blocked("fault", "parked");
    behind = json_object_get(parked, "behind");
    ck_assert_str_eq(text_of(parked, "for"), "lock");
    ck_assert_str_eq(text_of(behind, "what"), "map");
    ck_assert_str_eq(text_of(behind, "stage"), "completing");
    ck_assert_str_eq(text_of(behind, "driver"), "faulty");
    ck_assert_str_eq(text_of(behind, "hook"), "mmap_complete");
    expect_part(parked, "sentence", "mmap_complete");
    document = ask_why(touch.addr);
    ck_assert_str_eq(reason_of(document, "read"), "locked");
    ck_assert_uint_eq(number_of(document, "n_waiters"), 1);
    expect_part(document, "sentence", "mmap_complete");
    json_decref(document);
    json_decref(parked);
    json_decref(entry);
    job_join(&map);
    job_join(&touch);
    ck_assert_int_eq(map.error, 0);
    ck_assert_int_eq(touch.probe.signal, 0);
    end();
}
END_TEST

START_TEST(requests_that_queue_for_the_lock)
{
    struct job first = {.name = "faulty/x,prepare-never"}, second = {.name = "faulty/y"}, third;
    json_t *entry, *queued;

    begin();
    third.addr = map_of("faulty/z", RW, MAP_SHARED);
    job_start(&first, do_map);
    entry = find_blocked("map", "preparing");
    expect_mine(entry);
    expect_for_driver(entry, "mmap_prepare");
    job_start(&second, do_map);
    queued = find_blocked("map", "queued");
    ck_assert_str_eq(text_of(queued, "for"), "lock");
    ck_assert_str_eq(text_of(queued, "object"), "faulty/y");
    ck_assert_uint_eq(number_of(json_object_get(queued, "behind"), "request"),
                      number_of(entry, "request"));
    json_decref(queued);
    job_start(&third, do_unmap);
    queued = find_blocked("unmap", "queued");
    ck_assert_str_eq(text_of(json_object_get(queued, "behind"), "hook"), "mmap_prepare");
    expect_part(queued, "sentence", "mmap_prepare");
    json_decref(queued);
    json_decref(entry);
    kill_driver(&rig, "faulty");
    job_join(&first);
    job_join(&second);
    job_join(&third);
    ck_assert_int_eq(first.error, EIO);
    ck_assert_int_eq(third.error, 0);
    end();
}
END_TEST

START_TEST(what_a_driver_owes_after_the_client_has_gone_on)
{
    struct job map = {.name = "faulty/x,prepare-delay-ms=4000"};
    json_t *entry;

    begin_with("[deadlines]\nhook_ms = 300\n", faulty);
    job_start(&map, do_map);
    job_join(&map);
    ck_assert_int_eq(map.error, ETIMEDOUT);
    entry = find_blocked("map", "owed-prepare");
    expect_for_driver(entry, "mmap_prepare");
    ck_assert(json_is_null(json_object_get(entry, "left_ns")));
    json_decref(entry);
    end(); /* waits until it has answered */
}
END_TEST

START_TEST(a_client_that_does_not_map)
{
    struct raw raw;
    json_t *entry;

    begin();
    raw_hello(&raw, &rig);
    raw_attach(&raw);
    (void)raw_map(&raw, raw_open(&raw, "faulty/x"), 0, PAGE, MAP_SHARED);
    entry = find_blocked("map", "installing");
    ck_assert_str_eq(text_of(entry, "for"), "client");
    ck_assert_str_eq(text_of(entry, "hook"), "mmap");
    expect_part(entry, "sentence", "the client was told to mmap");
    json_decref(entry);
    raw_done(&raw);
    end();
}
END_TEST

START_TEST(a_client_that_does_not_write)
{
    Muse__Wire__Pwrite message = MUSE__WIRE__PWRITE__INIT;
    struct raw raw;
    Muse__Wire__Open open = MUSE__WIRE__OPEN__INIT;
    Muse__Wire__Opened *opened;
    struct frame *frame;
    char name[] = "faulty/x";
    json_t *entry;

    begin();
    raw_hello(&raw, &rig);
    raw_attach(&raw);
    open.name = name;
    open.oflags = O_RDWR;
    frame = raw_answer(&raw, FRAME_OPENED, raw_ask(&raw, FRAME_OPEN, &open.base));
    opened = muse__wire__opened__unpack(NULL, frame->n_payload, frame->payload);
    ck_assert_ptr_nonnull(opened);
    message.file_id = opened->file_id;
    message.length = 100;
    muse__wire__opened__free_unpacked(opened, NULL);
    (void)raw_ask(&raw, FRAME_PWRITE, &message.base);
    entry = find_blocked("pwrite", "told");
    ck_assert_str_eq(text_of(entry, "for"), "client");
    json_decref(entry);
    raw_done(&raw);
    end();
}
END_TEST

START_TEST(a_client_that_begins_to_fork_and_does_not)
{
    struct raw raw;
    json_t *entry;

    begin();
    raw_hello(&raw, &rig);
    raw_attach(&raw);
    (void)raw_answer(&raw, FRAME_FORK_BEGUN, raw_ask(&raw, FRAME_FORK_BEGIN, NULL));
    entry = find_blocked("fork", "forking");
    ck_assert_str_eq(text_of(entry, "for"), "client");
    ck_assert_uint_gt(number_of(entry, "left_ns"), 0);
    json_decref(entry);
    raw_done(&raw);
    end();
}
END_TEST

START_TEST(calls_that_wait_for_pages_and_hooks)
{
    struct job pread = {.name = "faulty/x,fault-never"}, open = {.name = "faulty/y,open-never"};
    struct job populate = {.name = "faulty/z,fault-never,action=prefault=2"};
    json_t *entry;

    begin();
    job_start(&pread, do_pread);
    entry = find_blocked("pread", "asked");
    expect_mine(entry);
    expect_for_driver(entry, "fault");
    ck_assert_uint_eq(number_of(entry, "first_page"), 1);
    json_decref(entry);
    job_start(&open, do_open);
    entry = find_blocked("open", "asked");
    expect_mine(entry);
    expect_for_driver(entry, "open");
    expect_part(entry, "args", "open-never");
    json_decref(entry);
    job_start(&populate, do_map);
    entry = find_blocked("map", "acting");
    ck_assert_str_eq(text_of(entry, "for"), "pages");
    json_decref(entry);
    entry = find_blocked("prefault", "asked");
    expect_for_driver(entry, "fault");
    json_decref(entry);
    kill_driver(&rig, "faulty");
    job_join(&pread);
    job_join(&open);
    job_join(&populate);
    ck_assert_int_eq(pread.error, EIO);
    ck_assert_int_eq(open.error, EIO);
    ck_assert_int_eq(populate.error, EIO);
    end();
}
END_TEST

START_TEST(a_write_that_waits_for_page_mkwrite)
{
    struct job job = {.addr = NULL};
    json_t *entry, *document;

    begin();
    job.addr = map_of("faulty/x,ops=mkwrite,mkwrite-delay-ms=2500", RW, MAP_SHARED) + 2 * PAGE;
    ck_assert_uint_eq(faulty_word(job.addr, 0, 0), 2 * 512);
    expect_why(job.addr, "ready", "ask-mkwrite");
    job_start(&job, do_write);
    entry = find_blocked("fault", "page_mkwrite");
    expect_mine(entry);
    expect_for_driver(entry, "page_mkwrite");
    ck_assert_uint_eq(number_of(entry, "address"), (uintptr_t)job.addr);
    document = ask_why(job.addr);
    ck_assert_str_eq(reason_of(document, "read"), "ready");
    ck_assert_str_eq(reason_of(document, "write"), "mkwrite");
    ck_assert(json_is_object(json_object_get(document, "page_mkwrite")));
    expect_part(document, "sentence", "a read works");
    expect_part(document, "sentence", "a write waits");
    json_decref(document);
    json_decref(entry);
    job_join(&job);
    ck_assert_int_eq(job.probe.signal, 0);
    end();
}
END_TEST

/* The page is poison for a moment only: so often that one answer comes within it. */
START_TEST(a_write_that_page_mkwrite_has_refused)
{
    begin();
    char *mapped = map_of("faulty/x,ops=mkwrite,mkwrite-errno=28", RW, MAP_SHARED);
    bool was_seen = false;

    for (unsigned i = 0; i < 50 && !was_seen; i++) {
        json_t *document;

        ck_assert_int_eq(probe_write(mapped + 2 * PAGE, 1).signal, SIGBUS);
        document = ask_why(mapped + 2 * PAGE);
        was_seen = strcmp(reason_of(document, "write"), "refused") == 0;
        if (was_seen) {
            ck_assert_uint_eq(number_of(json_object_get(document, "poison"), "errno"), ENOSPC);
            ck_assert_str_eq(text_of(json_object_get(document, "page_mkwrite"), "stage"),
                             "refused");
            expect_part(document, "sentence", "page_mkwrite");
        }
        json_decref(document);
    }
    ck_assert(was_seen);
    end();
}
END_TEST

START_TEST(a_sync_that_waits_for_writeback)
{
    struct job job = {.addr = NULL};
    json_t *entry, *document;

    begin();
    job.addr = map_of("faulty/x,writeback-never", RW, MAP_SHARED);
    job.addr[3 * PAGE] = 1;
    job_start(&job, do_msync);
    entry = find_blocked("writeback", "asked");
    expect_for_driver(entry, "writeback");
    ck_assert_uint_eq(number_of(entry, "space"), 0);
    ck_assert_uint_eq(number_of(entry, "first_page"), 3);
    ck_assert_uint_eq(number_of(entry, "n_pages"), 1);
    json_decref(entry);
    entry = find_blocked("msync", "asked");
    expect_mine(entry);
    ck_assert_str_eq(text_of(entry, "for"), "writeback");
    ck_assert_str_eq(text_of(entry, "driver"), "faulty");
    expect_part(entry, "sentence", "1 runs");
    json_decref(entry);
    document = ask_why(job.addr + 3 * PAGE);
    ck_assert_str_eq(reason_of(document, "write"), "dirties");
    ck_assert_str_eq(text_of(json_object_get(document, "page"), "state"), "writeback");
    ck_assert(json_is_object(json_object_get(document, "writeback")));
    json_decref(document);
    kill_driver(&rig, "faulty");
    job_join(&job);
    ck_assert_int_eq(job.error, EIO);
    end();
}
END_TEST

START_TEST(a_revoke_that_waits_for_complete)
{
    struct job map = {.name = "faulty/x,key=77,complete-delay-ms=3000"};
    struct job revoke = {.name = "faulty/y,invalidate=77"};
    json_t *entry;

    begin();
    job_start(&map, do_map);
    json_decref(find_blocked("map", "completing"));
    job_start(&revoke, do_open); /* answered when it is done */
    entry = find_blocked("revoke", "waiting");
    ck_assert_str_eq(text_of(entry, "for"), "complete");
    ck_assert_str_eq(text_of(entry, "driver"), "faulty");
    ck_assert_str_eq(text_of(entry, "object"), "faulty/x,key=77,complete-delay-ms=3000");
    json_decref(entry);
    job_join(&map);
    job_join(&revoke);
    ck_assert_int_eq(map.error, 0);
    end();
}
END_TEST

/* ---- how much ---- */

#define N_JOBS 300u

static bool all_wait(const struct rig *of, void *arg)
{
    json_t *document = rig_ctl(of, "blocked");
    const uint64_t n = number_of(document, "n_blocked");

    (void)arg;
    json_decref(document);
    return n >= N_JOBS;
}

START_TEST(what_is_too_much_is_counted)
{
    static struct job jobs[N_JOBS];
    json_t *document;
    char *mapped;

    begin();
    mapped = client_map_ro(muse, "faulty/x,fault-never,size=4M", 1024);
    for (size_t i = 0; i < N_JOBS; i++) {
        jobs[i].addr = mapped + i * PAGE;
        job_start(&jobs[i], do_read);
    }
    rig_wait(all_wait, &rig, NULL, "all faults to wait");
    document = rig_ctl(&rig, "blocked");
    ck_assert_uint_eq(json_array_size(json_object_get(document, "blocked")), 256);
    ck_assert_uint_eq(number_of(document, "n_left_out"), number_of(document, "n_blocked") - 256);
    json_decref(document);
    kill_driver(&rig, "faulty");
    for (size_t i = 0; i < N_JOBS; i++) {
        job_join(&jobs[i]);
        ck_assert_int_eq(jobs[i].probe.signal, SIGBUS);
    }
    end();
}
END_TEST

START_TEST(nothing_is_blocked_when_nothing_waits)
{
    json_t *document;

    begin();
    (void)map_of("faulty/x", RW, MAP_SHARED);
    document = rig_ctl(&rig, "blocked");
    ck_assert_uint_eq(number_of(document, "n_blocked"), 0);
    ck_assert_uint_eq(json_array_size(json_object_get(document, "blocked")), 0);
    json_decref(document);
    end();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("why");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, why_a_touch_works);
    tcase_add_test(tcase, why_a_touch_fails_has_the_drivers_own_sentence);
    tcase_add_test(tcase, why_an_object_is_lost);
    tcase_add_test(tcase, why_says_what_it_does_not_know);
    tcase_add_test(tcase, a_fault_that_waits_for_a_page);
    tcase_add_test(tcase, a_fault_parked_behind_a_transaction);
    tcase_add_test(tcase, requests_that_queue_for_the_lock);
    tcase_add_test(tcase, what_a_driver_owes_after_the_client_has_gone_on);
    tcase_add_test(tcase, a_client_that_does_not_map);
    tcase_add_test(tcase, a_client_that_does_not_write);
    tcase_add_test(tcase, a_client_that_begins_to_fork_and_does_not);
    tcase_add_test(tcase, calls_that_wait_for_pages_and_hooks);
    tcase_add_test(tcase, a_write_that_waits_for_page_mkwrite);
    tcase_add_test(tcase, a_write_that_page_mkwrite_has_refused);
    tcase_add_test(tcase, a_sync_that_waits_for_writeback);
    tcase_add_test(tcase, a_revoke_that_waits_for_complete);
    tcase_add_test(tcase, what_is_too_much_is_counted);
    tcase_add_test(tcase, nothing_is_blocked_when_nothing_waits);
    return unit_run("why", tcase);
}
