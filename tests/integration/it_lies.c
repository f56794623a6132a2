/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Drivers that break the contract: registrations the server refuses with the reason, answers that
 * are none, frames that belong to nobody, nonsense in the fill ring. The liar is cut off (and
 * started again), its clients get an errno or SIGBUS with a reason, everybody else goes on.
 */
#include <errno.h>
#include <muse/muse.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <check.h>

#include "common/base/own.h"
#include "proto/driver.pb-c.h"
#include "proto/hooks.h"
#include "tests/support/client.h"
#include "tests/support/raw.h"
#include "tests/support/unit.h"

static const char *const two_drivers[] = {"muse-faulty", "muse-faulty --name other", NULL};

static struct rig rig;
static struct muse *muse;
static char *honest; /* a mapping of the other driver that must stay right */

static void begin(const char *config)
{
    rig_start(&rig, config, two_drivers);
    muse = client_connect();
    honest = client_map_ro(muse, "other/all,fault-partial", 64);
}

static void end(void)
{
    for (size_t page = 0; page < 64; page++)
        ck_assert_uint_eq(faulty_word(honest, page, 7), page * 512 + 7);
    muse_disconnect(muse);
    rig_stop(&rig);
}

/* The honest driver serves old and new mappings. */
static void others_go_on(void)
{
    static size_t page;
    void *mapped = client_map_ro(muse, "other/more", 8);

    page = (page + 3) % 64;
    ck_assert_uint_eq(faulty_word(honest, page, 7), page * 512 + 7);
    ck_assert_uint_eq(faulty_word(mapped, 5, 7), 5 * 512 + 7);
    ck_assert_int_eq(muse_munmap(muse, mapped, 8 * PAGE), 0);
    ck_assert_int_eq(rig_ctl_status(&rig, "drivers"), 0);
}

/* ---- in mmap_prepare ---- */

struct lie {
    const char *word;
    bool cut_off;
    int error;        /* of muse_mmap; 0: it maps */
    const char *text; /* part of what the client is told */
};

static void tell_lie(const struct lie *lie)
{
    const pid_t liar = rig_driver_pid(&rig, "faulty");
    struct muse_file *file;
    const void *mapped;
    char name[64];

    (void)snprintf(name, sizeof(name), "faulty/x,lie=%s", lie->word);
    file = client_open(muse, name, O_RDONLY);
    mapped = muse_mmap(muse, NULL, PAGE, PROT_READ, MAP_SHARED, file, 0);
    if (lie->error == 0) {
        ck_assert_msg(mapped != MAP_FAILED, "%s: %s", lie->word, strerrorname_np(errno));
    } else {
        ck_assert_msg(mapped == MAP_FAILED, "%s: mapped", lie->word);
        ck_assert_msg(errno == lie->error, "%s: %s", lie->word, strerrorname_np(errno));
        ck_assert_msg(strstr(muse_last_error_text(), lie->text) != NULL, "%s: %s", lie->word,
                      muse_last_error_text());
    }
    ck_assert_int_eq(muse_close(file), 0);
    others_go_on();
    if (lie->cut_off)
        (void)wait_for_driver(&rig, "faulty", liar);
    else
        ck_assert_int_eq(rig_driver_pid(&rig, "faulty"), liar);
}

START_TEST(answers_that_are_no_errno_are_the_drivers_fault)
{
    static const char why[] = "returned a number that is no errno";
    static const struct lie lies[] = {{"bad-errno", false, EINVAL, why},
                                      {"huge-errno", false, EINVAL, why},
                                      {"positive", false, EINVAL, why}};

    begin(NULL);
    for (size_t i = 0; i < N_ELEMENTS(lies); i++)
        tell_lie(&lies[i]);
    end();
}
END_TEST

START_TEST(frames_that_break_the_protocol_cut_the_driver_off)
{
    static const char frame[] = "driver faulty was cut off: it sent a frame that is none";
    static const char message[] = "driver faulty was cut off: it sent a message that does not";
    static const struct lie lies[] = {
        {"unknown-request", true, EREMOTEIO, message},
        {"garbage-frame", true, EREMOTEIO, frame},
        {"wrong-type", true, EREMOTEIO, frame},
        {"client-type", true, EREMOTEIO, frame},
        {"extra-fds", false, 0, NULL}, /* closed, and nothing else */
        {"uncounted-fds", true, EREMOTEIO, frame},
        {"truncated", true, EREMOTEIO, "mmap_prepare: the driver's answer does not decode"},
    };

    for (size_t i = 0; i < N_ELEMENTS(lies); i++) { /* a new server each time: no back-off yet */
        begin(NULL);
        tell_lie(&lies[i]);
        end();
    }
}
END_TEST

START_TEST(fields_that_may_not_be_changed_are_einval_and_the_driver_stays)
{
    static const char *const names[] = {
        "faulty/a,set-flags=0x1",   "faulty/b,set-flags=0x4",
        "faulty/c,set-flags=0x8",   "faulty/d,set-flags=0x80",
        "faulty/e,clear-flags=0x1", "faulty/f,set-flags=0x80000000",
        "faulty/g,set-prot=7",      "faulty/h,set-pgoff=0xffffffffffffffff",
        "faulty/i,ops=unlisted",
    };
    pid_t driver;

    begin(NULL);
    driver = rig_driver_pid(&rig, "faulty");
    for (size_t i = 1; i < N_ELEMENTS(names); i++) { /* the first asks for what is there anyway */
        ck_assert_msg(client_map(muse, names[i], O_RDONLY, PAGE, PROT_READ, MAP_PRIVATE) ==
                          MAP_FAILED,
                      "%s", names[i]);
        ck_assert_msg(errno == EINVAL, "%s: %s", names[i], strerrorname_np(errno));
    }
    ck_assert_ptr_ne(client_map(muse, names[0], O_RDONLY, PAGE, PROT_READ, MAP_PRIVATE),
                     MAP_FAILED);
    ck_assert_uint_eq(rig_counter("prepare"), rig_counter("complete") + rig_counter("abort"));
    ck_assert_int_eq(rig_driver_pid(&rig, "faulty"), driver);
    others_go_on();
    end();
}
END_TEST

START_TEST(what_a_driver_may_narrow_it_narrows)
{
    begin(NULL);
    char *mapped = client_map(muse, "faulty/a,clear-flags=0x20", O_RDONLY, PAGE,
                              PROT_READ | PROT_WRITE, MAP_PRIVATE); /* VM_MAYWRITE */

    ck_assert_msg(mapped != MAP_FAILED, "%s", strerrorname_np(errno));
    mapped = client_map(muse, "faulty/b,set-prot=1", O_RDONLY, PAGE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE);
    ck_assert_msg(mapped != MAP_FAILED, "%s", strerrorname_np(errno));
    ck_assert_int_eq(probe_read(mapped).signal, 0);
    ck_assert_int_eq(probe_write(mapped, 1).signal, SIGSEGV);
    mapped = client_map(muse, "faulty/c,set-pgoff=7", O_RDONLY, PAGE, PROT_READ, MAP_SHARED);
    ck_assert_msg(mapped != MAP_FAILED, "%s", strerrorname_np(errno));
    ck_assert_uint_eq(faulty_word(mapped, 0, 1), 7 * 512 + 1);
    end();
}
END_TEST

START_TEST(another_file_of_the_driver_may_be_put_in_and_its_bytes_are_seen)
{
    struct muse_file *file;

    begin(NULL);
    /* a hook has to have seen the file that is put in */
    ck_assert_ptr_ne(client_map_ro(muse, "faulty/target,size=32K,ops=plain", 1), MAP_FAILED);
    file = client_open(muse, "faulty/target,size=32K,ops=plain", O_RDONLY);
    ck_assert_ptr_ne(muse_mmap(muse, NULL, PAGE, PROT_READ, MAP_SHARED, file, (off_t)(4 * PAGE)),
                     MAP_FAILED);
    char *mapped = client_map(muse, "faulty/outer,swap-file=target", O_RDONLY, 10 * PAGE, PROT_READ,
                              MAP_SHARED);

    ck_assert_msg(mapped != MAP_FAILED, "%s", strerrorname_np(errno));
    ck_assert_uint_eq(faulty_word(mapped, 7, 1), 7 * 512 + 1);
    ck_assert_int_eq(probe_read(mapped + 8 * PAGE).signal, SIGBUS); /* 32 KiB, not 1 MiB */
    ck_assert_int_eq(muse_close(file), 0);
    ck_assert_uint_eq(faulty_word(mapped, 6, 1), 6 * 512 + 1); /* the mapping keeps the file */
    end();
}
END_TEST

/* ---- in the hooks of a mapping that lives ---- */

static void expect_cut_off(const void *addr, const char *text)
{
    struct muse_error why;

    ck_assert_int_eq(probe_read(addr).signal, SIGBUS);
    ck_assert_int_eq(muse_error_at(muse, addr, &why), 0);
    ck_assert_msg(why.error == EREMOTEIO, "%s: %s", strerrorname_np(why.error), why.text);
    ck_assert_msg(strstr(why.text, "driver faulty was cut off: ") == why.text, "%s", why.text);
    ck_assert_msg(strstr(why.text, text) != NULL, "%s", why.text);
    ck_assert_str_eq(why.driver, "faulty");
}

static int cut_it(char *mapped)
{
    return muse_munmap(muse, mapped + PAGE, PAGE);
}

static int protect_it(char *mapped)
{
    return muse_mprotect(muse, mapped, 4 * PAGE, PROT_NONE);
}

static int move_it(char *mapped)
{
    return muse_mremap(muse, mapped, 4 * PAGE, 64 * PAGE, MREMAP_MAYMOVE) == MAP_FAILED ? -1 : 0;
}

static int sync_it(char *mapped)
{
    *mapped = 'w';
    return muse_msync(muse, mapped, PAGE, MS_SYNC);
}

START_TEST(an_answer_of_any_hook_that_does_not_decode_cuts_the_driver_off)
{
    static const char *const drivers[] = {"muse-faulty --register=writes",
                                          "muse-faulty --name other", NULL};
    static const struct {
        const char *hook, *word;
        int oflags, flags;
        int (*call)(char *mapped);
        int error; /* EIO: a sync says only that nothing can be kept any more */
    } cases[] = {
        {"may_split", "split", O_RDONLY, MAP_PRIVATE, cut_it, EREMOTEIO},
        {"mprotect", "mprotect", O_RDONLY, MAP_PRIVATE, protect_it, EREMOTEIO},
        {"mremap", "mremap", O_RDONLY, MAP_PRIVATE, move_it, EREMOTEIO},
        {"writeback", "writeback", O_RDWR, MAP_SHARED, sync_it, EIO},
        {"fsync", "fsync", O_RDWR, MAP_SHARED, sync_it, EREMOTEIO},
    };

    for (size_t i = 0; i < N_ELEMENTS(cases); i++) { /* a new server each time: no back-off yet */
        const int prot = PROT_READ | PROT_WRITE;
        char name[64], wanted[64];
        pid_t liar;
        char *mapped;

        (void)snprintf(name, sizeof(name), "faulty/x,lie=truncated-%s", cases[i].word);
        (void)snprintf(wanted, sizeof(wanted), "its answer to %s does not decode", cases[i].hook);
        rig_start(&rig, NULL, drivers);
        muse = client_connect();
        honest = client_map_ro(muse, "other/all,fault-partial", 64);
        liar = rig_driver_pid(&rig, "faulty");
        mapped = client_map(muse, name, cases[i].oflags, 4 * PAGE, prot, cases[i].flags);
        ck_assert_msg(mapped != MAP_FAILED, "%s: %s", cases[i].hook, muse_last_error_text());
        ck_assert_int_eq(muse_madvise(muse, mapped, 4 * PAGE, MADV_RANDOM), 0);
        ck_assert_int_eq(cases[i].call(mapped), -1);
        ck_assert_msg(errno == cases[i].error, "%s: %s", cases[i].hook, strerrorname_np(errno));
        ck_assert_msg(errno == EIO || strstr(muse_last_error_text(), wanted) != NULL, "%s",
                      muse_last_error_text());
        (void)wait_for_driver(&rig, "faulty", liar);
        expect_cut_off(mapped + 3 * PAGE, wanted); /* nobody had touched it */
        others_go_on();
        end();
    }
}
END_TEST

START_TEST(a_page_mkwrite_that_does_not_decode_cuts_the_driver_off)
{
    static const char *const drivers[] = {"muse-faulty --register=writes",
                                          "muse-faulty --name other", NULL};
    const int prot = PROT_READ | PROT_WRITE;
    pid_t liar;
    char *mapped;

    rig_start(&rig, NULL, drivers);
    muse = client_connect();
    honest = client_map_ro(muse, "other/all,fault-partial", 64);
    liar = rig_driver_pid(&rig, "faulty");
    mapped = client_map(muse, "faulty/x,ops=mkwrite,lie=truncated-mkwrite", O_RDWR, 4 * PAGE, prot,
                        MAP_SHARED);
    ck_assert_msg(mapped != MAP_FAILED, "%s", muse_last_error_text());
    ck_assert_int_eq(muse_madvise(muse, mapped, 4 * PAGE, MADV_RANDOM), 0);
    (void)probe_write(mapped, 1); /* SIGBUS, or a dead driver has nothing against it */
    (void)wait_for_driver(&rig, "faulty", liar);
    expect_cut_off(mapped + 3 * PAGE, "its answer to page_mkwrite does not decode");
    others_go_on();
    end();
}
END_TEST

START_TEST(verbs_that_cannot_be_fail_the_map_and_nothing_stays_mapped)
{
    static const struct {
        const char *name, *why;
    } rows[] = {{"faulty/x,lie=many-verbs", "action: too many in one answer"},
                {"faulty/x,lie=no-such-fd", "action: REMAP without an fd"}};
    struct muse_file *file;

    begin(NULL);
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        file = client_open(muse, rows[i].name, O_RDONLY);
        ck_assert_ptr_eq(muse_mmap(muse, NULL, 4 * PAGE, PROT_READ, MAP_SHARED, file, 0),
                         MAP_FAILED);
        ck_assert_int_eq(errno, EINVAL);
        ck_assert_msg(strstr(muse_last_error_text(), rows[i].why) != NULL, "%s",
                      muse_last_error_text());
        ck_assert_int_eq(muse_close(file), 0);
    }
    others_go_on();
    end();
}
END_TEST

/* ---- in the fill ring ---- */

static void lie_in_the_ring(const char *word, const char *text)
{
    const pid_t liar = rig_driver_pid(&rig, "faulty");
    char name[64];
    char *mapped;

    (void)snprintf(name, sizeof(name), "faulty/x,lie=%s", word);
    mapped = client_map_ro(muse, name, 4);
    expect_cut_off(mapped + PAGE, text);     /* it was waited for when the lie came out */
    expect_cut_off(mapped + 3 * PAGE, text); /* and this one nobody had asked for */
    others_go_on();
    (void)wait_for_driver(&rig, "faulty", liar);
    ck_assert_int_eq(muse_munmap(muse, mapped, 4 * PAGE), 0);
    mapped = client_map_ro(muse, "faulty/x", 4);
    ck_assert_uint_eq(faulty_word(mapped, 3, 1), 3 * 512 + 1);
    ck_assert_int_eq(muse_munmap(muse, mapped, 4 * PAGE), 0);
}

START_TEST(nonsense_in_the_fill_ring_cuts_the_driver_off)
{
    begin("[deadlines]\nhook_ms = 3000\n");
    lie_in_the_ring("out-of-range-supply", "an answer is about pages outside its object");
    lie_in_the_ring("overflow-supply", "more pages at once than are taken");
    lie_in_the_ring("ring-tail", "the ring says it has more answers than fit");
    end();
}
END_TEST

START_TEST(answers_about_what_is_gone_are_ignored_or_end_the_driver)
{
    static const char *const words[] = {"unknown-object", "unknown-fault"};

    /* both also happen honestly: an object goes, a request times out, with the answer on its way */
    begin("[deadlines]\nhook_ms = 3000\n");
    for (size_t i = 0; i < N_ELEMENTS(words); i++) {
        const pid_t liar = rig_driver_pid(&rig, "faulty");
        char name[64];
        char *mapped;

        (void)snprintf(name, sizeof(name), "faulty/x,lie=%s", words[i]);
        mapped = client_map_ro(muse, name, 4);
        if (i == 0) {
            ck_assert_int_eq(probe_read(mapped + PAGE).signal, 0);
            ck_assert_uint_eq(faulty_word(mapped, 1, 1), 513);
        } else {
            expect_cut_off(mapped + PAGE, "an answer is to a request that was never made");
            (void)wait_for_driver(&rig, "faulty", liar);
        }
        others_go_on();
        ck_assert_int_eq(muse_munmap(muse, mapped, 4 * PAGE), 0);
    }
    end();
}
END_TEST

/* ---- what musectl says of it ---- */

/* @ret_errors: how many errors it is said to have made. Return: the last one; borrowed. */
static const char *last_error(json_t *document, uint64_t *ret_errors)
{
    const json_t *driver = json_entry(document, "name", "faulty");
    const json_t *counts = json_object_get(driver, "counts");
    const char *text = json_string_value(json_object_get(driver, "last_error"));

    *ret_errors = (uint64_t)json_integer_value(json_object_get(counts, "errors"));
    return text ? text : "";
}

START_TEST(each_error_of_a_driver_is_counted_once_and_the_last_one_is_shown)
{
    static const struct {
        const char *name, *text;
    } cases[] = {
        {"faulty/a,open-errno=13", "open: open refused as asked for"},
        {"faulty/b,prepare-errno=13", "mmap_prepare: mmap_prepare refused as asked for"},
        {"faulty/c,lie=bad-errno", "mmap_prepare: the driver returned a number that is no errno"},
        {"faulty/d,set-flags=0x2", "mmap_prepare: vm_flags: set a flag that a driver may not set"},
        {"faulty/e,complete-errno=12", "mmap_complete: mmap_complete failed as asked for"},
        {"faulty/f,complete-errno=5000",
         "mmap_complete: the driver returned a number that is no errno"},
    };
    json_t *document;
    uint64_t n_errors;
    char *mapped;

    begin(NULL);
    document = rig_ctl(&rig, "drivers");
    ck_assert_str_eq(last_error(document, &n_errors), "");
    ck_assert_uint_eq(n_errors, 0);
    json_decref(document);
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        ck_assert_ptr_eq(client_map(muse, cases[i].name, O_RDONLY, PAGE, PROT_READ, MAP_PRIVATE),
                         MAP_FAILED);
        document = rig_ctl(&rig, "drivers");
        ck_assert_str_eq(last_error(document, &n_errors), cases[i].text);
        ck_assert_uint_eq(n_errors, i + 1);
        json_decref(document);
    }
    mapped = client_map_ro(muse, "faulty/g,fault-errno=5", 1);
    ck_assert_int_eq(probe_read(mapped).signal, SIGBUS);
    document = rig_ctl(&rig, "drivers");
    ck_assert_str_eq(last_error(document, &n_errors), "fault: fault fails as asked for");
    json_decref(document);
    end();
}
END_TEST

/* ---- registration ---- */

/* Runs a driver by hand. @ret_text: what it said. Return: its exit status. */
static int run_driver(const char *args, char *ret_text, size_t size)
{
    char program[256], command[512];
    FILE *pipe;
    size_t n;
    int status;

    build_program("muse-faulty", program, sizeof(program));
    (void)snprintf(command, sizeof(command), "exec %s --rundir %s %s 2>&1", program, rig.run, args);
    pipe = popen(command, "re"); /* NOLINT(cert-env33-c): a test's own words */
    ck_assert_ptr_nonnull(pipe);
    n = fread(ret_text, 1, size - 1, pipe);
    ret_text[n] = '\0';
    status = pclose(pipe);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void expect_refusal(const char *args, const char *reason)
{
    char text[1024];

    ck_assert_int_eq(run_driver(args, text, sizeof(text)), 1);
    ck_assert_msg(strstr(text, reason) != NULL, "%s: \"%s\" does not say \"%s\"", args, text,
                  reason);
    ck_assert_msg(strstr(text, "muse-faulty: ") == text, "%s: \"%s\"", args, text);
}

START_TEST(a_registration_that_is_not_allowed_is_refused_with_the_reason)
{
    begin(NULL);
    expect_refusal("--name bad --register=complete-without-prepare",
                   "mmap_complete needs mmap_prepare");
    expect_refusal("--name bad --register=abort-without-prepare",
                   "mmap_abort needs mmap_prepare and mmap_complete");
    expect_refusal("--name bad --register=abort-without-complete",
                   "mmap_abort needs mmap_prepare and mmap_complete");
    expect_refusal("--name bad --register=mmap-and-prepare",
                   "mmap and mmap_prepare exclude each other");
    expect_refusal("--name bad --register=none", "a driver needs open");
    expect_refusal("--name other", "a driver of this name is here already");
    ck_assert_int_eq(rig_driver_pid(&rig, "bad"), 0);
    others_go_on();
    end();
}
END_TEST

START_TEST(a_driver_without_a_server_says_so)
{
    char text[1024];

    begin(NULL);
    ck_assert_int_eq(run_driver("--rundir /nonexistent", text, sizeof(text)), 1);
    ck_assert_ptr_nonnull(strstr(text, "/nonexistent/driver.sock"));
    ck_assert_int_eq(run_driver("--no-such-option", text, sizeof(text)), 2);
    end();
}
END_TEST

static void say_hello_of(struct raw *raw, const char *name, uint32_t file_hooks,
                         uint32_t optional_hooks)
{
    Muse__Wire__DriverHello hello = MUSE__WIRE__DRIVER_HELLO__INIT;
    int sock = raw_socket(&rig, "driver.sock");

    *raw = (struct raw){.uffd = -1, .device = -1};
    ck_assert_int_eq(chan_init(&raw->chan, &sock, FRAME_FDS_MAX, 0), 0);
    hello.version_min = PROTO_VERSION_MIN;
    hello.version_max = PROTO_VERSION_MAX;
    hello.name = (char *)(uintptr_t)name; /* only read */
    hello.file_hooks = file_hooks;
    hello.has_optional_hooks = optional_hooks != 0;
    hello.optional_hooks = optional_hooks;
    (void)raw_ask(raw, FRAME_DRIVER_HELLO, &hello.base);
}

static void say_driver_hello(struct raw *raw, const char *name, uint32_t file_hooks)
{
    say_hello_of(raw, name, file_hooks, 0);
}

START_TEST(names_and_hooks_that_make_no_sense_are_refused)
{
    static const struct {
        const char *name;
        uint32_t hooks;
    } wrongs[] = {
        {"", FILE_HOOK_OPEN},
        {"a/b", FILE_HOOK_OPEN},
        {"UPPER", FILE_HOOK_OPEN},
        {"with space", FILE_HOOK_OPEN},
        {"new\nline", FILE_HOOK_OPEN},
        {"a_name_that_is_longer_than_thirty-two_bytes", FILE_HOOK_OPEN},
        {"fine", 0},
        {"fine", 0x80000000u | FILE_HOOK_OPEN},
    };
    struct raw raw;

    begin(NULL);
    for (size_t i = 0; i < N_ELEMENTS(wrongs); i++) {
        say_driver_hello(&raw, wrongs[i].name, wrongs[i].hooks);
        ck_assert_msg(raw_is_cut_off(raw.chan.fd), "%zu: %s", i, wrongs[i].name);
        raw_done(&raw);
    }
    others_go_on();
    end();
}
END_TEST

static bool is_gone(const struct rig *at, void *name)
{
    return rig_driver_pid(at, name) == 0;
}

START_TEST(an_optional_hook_that_nobody_knows_is_left_alone)
{
    const struct muse_setattr change = {.mask = 0};
    char name[] = "newer";
    struct raw raw;

    begin(NULL);
    say_hello_of(&raw, name, FILE_HOOK_OPEN, 0x80000000u);
    (void)raw_answer(&raw, FRAME_DRIVER_WELCOME, 0);
    ck_assert_int_eq(muse_setattr(muse, "newer/x", &change), -1);
    ck_assert_int_eq(errno, EROFS); /* it has not the one that is known */
    raw_done(&raw);
    rig_wait(is_gone, &rig, name, "the driver that hung up is gone");
    others_go_on();
    end();
}
END_TEST

/* A driver that registers and then says what it should not. */
START_TEST(a_registered_driver_that_sends_what_does_not_belong_is_cut_off)
{
    static const uint16_t types[] = {FRAME_DRIVER_HELLO, FRAME_MAP,    FRAME_DRIVER_WELCOME,
                                     FRAME_PREPARE,      FRAME_ATTACH, 0xfff0};
    static const uint8_t nonsense[32] = {0xff, 0xff, 0xff, 0xff, 0xff};
    struct raw raw;

    begin(NULL);
    for (size_t i = 0; i < N_ELEMENTS(types) + 2; i++) {
        say_driver_hello(&raw, "raw", FILE_HOOK_OPEN);
        (void)raw_answer(&raw, FRAME_DRIVER_WELCOME, 0);
        if (i < N_ELEMENTS(types)) {
            (void)raw_frame(raw.chan.fd, types[i], NULL, 0, -1, 0, 0);
        } else {
            (void)raw_frame(raw.chan.fd, i % 2 ? FRAME_FAULT_FAILED : FRAME_INVALIDATE, nonsense,
                            sizeof(nonsense), -1, 0, 0);
        }
        ck_assert_msg(raw_is_cut_off(raw.chan.fd), "frame %zu", i);
        raw_done(&raw);
        while (rig_driver_pid(&rig, "raw") != 0)
            client_sleep_ms(2);
    }
    others_go_on();
    end();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("lies");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, answers_that_are_no_errno_are_the_drivers_fault);
    tcase_add_test(tcase, frames_that_break_the_protocol_cut_the_driver_off);
    tcase_add_test(tcase, fields_that_may_not_be_changed_are_einval_and_the_driver_stays);
    tcase_add_test(tcase, what_a_driver_may_narrow_it_narrows);
    tcase_add_test(tcase, another_file_of_the_driver_may_be_put_in_and_its_bytes_are_seen);
    tcase_add_test(tcase, an_answer_of_any_hook_that_does_not_decode_cuts_the_driver_off);
    tcase_add_test(tcase, a_page_mkwrite_that_does_not_decode_cuts_the_driver_off);
    tcase_add_test(tcase, verbs_that_cannot_be_fail_the_map_and_nothing_stays_mapped);
    tcase_add_test(tcase, nonsense_in_the_fill_ring_cuts_the_driver_off);
    tcase_add_test(tcase, answers_about_what_is_gone_are_ignored_or_end_the_driver);
    tcase_add_test(tcase, each_error_of_a_driver_is_counted_once_and_the_last_one_is_shown);
    tcase_add_test(tcase, a_registration_that_is_not_allowed_is_refused_with_the_reason);
    tcase_add_test(tcase, a_driver_without_a_server_says_so);
    tcase_add_test(tcase, names_and_hooks_that_make_no_sense_are_refused);
    tcase_add_test(tcase, an_optional_hook_that_nobody_knows_is_left_alone);
    tcase_add_test(tcase, a_registered_driver_that_sends_what_does_not_belong_is_cut_off);
    return unit_run("lies", tcase);
}
