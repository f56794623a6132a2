/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of libmuse-driver: a driver process, forked here, talks to a server end that each test
 * plays by hand. The driver (sdk_probe.h) writes one line for each hook that ran; the server's end
 * is in sdk_server.h.
 */
#include <linux/memfd.h>
#include <muse/driver.h>
#include <signal.h>

#include <check.h>

#include "proto/hooks.h"
#include "tests/support/huge_pages.h"
#include "tests/support/unit.h"
#include "tests/unit/sdk_server.h"

#define N_HUGE 4 /* pages of the machine */

/* ---- registration ---- */

START_TEST(hello_lists_the_hooks_and_the_tables_that_are_there)
{
    const Muse__Wire__DriverHello *hello;

    start_driver(&probe_ops, false);
    hello = next_message(FRAME_DRIVER_HELLO, 0, &muse__wire__driver_hello__descriptor);
    ck_assert_str_eq(hello->name, "other"); /* --name */
    ck_assert_uint_eq(hello->file_hooks,
                      FILE_HOOKS_ALL &
                          ~(uint32_t)(FILE_HOOK_MMAP | FILE_HOOK_GETATTR | FILE_HOOK_WRITEBACK |
                                      FILE_HOOK_FSYNC | FILE_HOOK_TRUNCATE | FILE_HOOK_FALLOCATE |
                                      FILE_HOOK_UNLINK | FILE_HOOK_RENAME | FILE_HOOK_MKDIR |
                                      FILE_HOOK_DEBUG_HELD | FILE_HOOK_SETATTR_PATH));
    ck_assert_uint_eq(hello->optional_hooks, FILE_HOOK_SETATTR_PATH);
    ck_assert_uint_eq(hello->n_vm_ops, 2);
    ck_assert_uint_eq(hello->vm_ops[0]->id, 1);
    ck_assert_uint_eq(hello->vm_ops[0]->hooks, 0);
    ck_assert_uint_eq(hello->vm_ops[1]->id, 2);
    ck_assert_uint_eq(hello->vm_ops[1]->hooks, VM_HOOK_OPEN | VM_HOOK_CLOSE | VM_HOOK_MAY_SPLIT |
                                                   VM_HOOK_MPROTECT | VM_HOOK_MREMAP |
                                                   VM_HOOK_ACCESS | VM_HOOK_NAME);
    welcome();
    end_with(0);
}
END_TEST

START_TEST(a_refused_driver_exits_with_1)
{
    Muse__Wire__DriverFailed failed = MUSE__WIRE__DRIVER_FAILED__INIT;
    char text[] = "mmap_abort needs mmap_complete";

    start_driver(&probe_ops, true);
    (void)next_frame(FRAME_DRIVER_HELLO, 0);
    failed.error = EINVAL;
    failed.text = text;
    post(FRAME_DRIVER_FAILED, 0, &failed);
    expect_line("stop");
    end_with(1);
}
END_TEST

START_TEST(a_frame_that_is_not_for_drivers_ends_the_connection_with_1)
{
    start_driver(&probe_ops, true);
    (void)next_frame(FRAME_DRIVER_HELLO, 0);
    welcome();
    post(FRAME_DRIVER_HELLO, 0, NULL);
    expect_line("stop");
    end_with(1);
}
END_TEST

/* ---- names ---- */

START_TEST(hooks_about_names_answer_by_the_type_of_the_question)
{
    const Muse__Wire__DirEntries *entries;

    start(&probe_ops);
    post_path(FRAME_DRIVER_STATAT, 5, "plain", 0);
    expect_line("getattr_path plain");
    (void)next_frame(FRAME_DRIVER_ATTR, 5);
    post_path(FRAME_DRIVER_READLINK, 6, "plain", 0);
    expect_line("readlink plain");
    ck_assert_str_eq(((const Muse__Wire__LinkTarget *)next_message(
                          FRAME_DRIVER_LINK_TARGET, 6, &muse__wire__link_target__descriptor))
                         ->target,
                     "to/plain");
    post_path(FRAME_DRIVER_READDIR, 7, "plain", 3);
    expect_line("readdir plain 3");
    entries = next_message(FRAME_DRIVER_DIR_ENTRIES, 7, &muse__wire__dir_entries__descriptor);
    ck_assert(entries->at_end);
    ck_assert_uint_eq(entries->n_entries, 2);
    ck_assert_str_eq(entries->entries[1]->name, "second");
    ck_assert_uint_eq(entries->entries[1]->next, 5);
    post_path(FRAME_DRIVER_UNLINK, 8, "plain", 0); /* a hook that the driver has not */
    ck_assert_uint_eq(next_failed(8)->error, EOPNOTSUPP);
    end_with(0);
}
END_TEST

START_TEST(a_listing_that_does_not_fit_a_frame_comes_in_parts)
{
    const Muse__Wire__DirEntries *entries;
    uint64_t cursor = 0;

    start(&probe_ops);
    do {
        post_path(FRAME_DRIVER_READDIR, 5 + cursor, "many", cursor);
        entries = next_message(FRAME_DRIVER_DIR_ENTRIES, 5 + cursor,
                               &muse__wire__dir_entries__descriptor);
        for (size_t i = 0; i < entries->n_entries; i++)
            ck_assert_uint_eq(entries->entries[i]->next, ++cursor);
    } while (!entries->at_end);
    ck_assert_uint_eq(cursor, 2000);
    end_with(0);
}
END_TEST

/* ---- files ---- */

START_TEST(open_answers_with_handle_key_and_attributes)
{
    const Muse__Wire__DriverOpened *opened;

    start(&probe_ops);
    post_open(5, "plain");
    expect_line("open plain 1000");
    opened = next_opened(5);
    ck_assert_uint_eq(opened->object_key, KEY);
    ck_assert_uint_eq(opened->page_bytes, PAGE);
    ck_assert_uint_eq(opened->attr->size, N_PAGES * PAGE);
    ck_assert_uint_eq(opened->n_extents, 0);
    post_handle(FRAME_DRIVER_GETATTR, 6, opened->handle);
    (void)next_frame(FRAME_DRIVER_ATTR, 6);
    post_handle(FRAME_DRIVER_GETATTR, 7, 999);
    ck_assert_uint_eq(next_failed(7)->error, EBADF);
    post_open(8, "missing");
    expect_line("open missing 1000");
    ck_assert_str_eq(next_failed(8)->text, "there is no missing");
    end_with(0);
}
END_TEST

START_TEST(an_fd_that_several_extents_name_travels_once)
{
    const Muse__Wire__DriverOpened *opened;

    start(&probe_ops);
    post_open(5, "extents");
    expect_line("open extents 1000");
    opened = next_opened(5);
    ck_assert_uint_eq(server.chan.in.header.n_fds, 1);
    ck_assert_uint_eq(opened->n_extents, 3);
    ck_assert_int_eq(opened->extents[0]->fd_index, 0);
    ck_assert_int_eq(opened->extents[1]->fd_index, -1);
    ck_assert_int_eq(opened->extents[2]->fd_index, 0);
    ck_assert_uint_eq(opened->extents[2]->fd_offset, 5);
    expect_line("sent extents");
    end_with(0);
}
END_TEST

START_TEST(an_answer_that_cannot_travel_is_undone)
{
    uint64_t handle;

    start(&probe_ops);
    post_open(5, "bad-fd");
    expect_line("open bad-fd 1000");
    ck_assert_uint_eq(next_failed(5)->error, EINVAL);
    expect_line("release bad-fd");
    handle = open_file("bad-action");
    post_prepare(6, handle, 0x10000, 1);
    expect_line("prepare bad-action");
    ck_assert_int_eq(next_prepared(6)->error, EINVAL);
    expect_line("abort bad-action");
    end_with(0);
}
END_TEST

START_TEST(the_object_is_gone_when_neither_file_nor_page_cache_is_left)
{
    Muse__Wire__DriverObjectGone gone = MUSE__WIRE__DRIVER_OBJECT_GONE__INIT;
    uint64_t first, second;

    start(&probe_ops);
    first = open_file("first");
    second = open_file("second");
    give_object(0, PAGE);
    post_handle(FRAME_DRIVER_RELEASE, 0, first);
    expect_line("release first");
    gone.object_key = KEY;
    gone.object_id = CACHE_ID;
    post(FRAME_DRIVER_OBJECT_GONE, 0, &gone);
    post_handle(FRAME_DRIVER_RELEASE, 0, second);
    expect_line("release second");
    expect_line("gone 42");
    end_with(0);
}
END_TEST

/* ---- mappings ---- */

START_TEST(prepare_sends_what_changed_and_nothing_else)
{
    const Muse__Wire__Prepared *prepared;
    uint64_t handle;

    start(&probe_ops);
    handle = open_file("untouched");
    post_prepare(20, handle, 0x10000, 4);
    expect_line("prepare untouched");
    prepared = next_prepared(20);
    ck_assert_int_eq(prepared->error, 0);
    ck_assert(!prepared->has_pgoff && !prepared->has_vm_flags && !prepared->has_page_prot);
    ck_assert(!prepared->has_vm_file && !prepared->has_vm_ops && !prepared->action);

    handle = open_file("change");
    post_prepare(21, handle, 0x20000, 4);
    expect_line("prepare change");
    prepared = next_prepared(21);
    ck_assert_uint_eq(prepared->pgoff, 3);
    ck_assert_uint_eq(prepared->vm_flags, FLAGS | MUSE_VM_DONTDUMP);
    ck_assert(prepared->has_page_prot && prepared->page_prot == PROT_NONE);
    ck_assert_uint_eq(prepared->vm_ops, 2);
    ck_assert_int_eq(prepared->action->type, MUSE__WIRE__ACTION__TYPE__REMAP);
    ck_assert_uint_eq(prepared->action->fd_offset, PAGE);
    ck_assert_uint_eq(server.chan.in.header.n_fds, 1);
    end_with(0);
}
END_TEST

START_TEST(what_a_hook_says_wrongly_reaches_the_server_as_it_is)
{
    static const struct {
        const char *path;
        int error;
    } cases[] = {{"refuse", EPERM}, {"positive", -13}, {"enormous", 5000}};

    start(&probe_ops);
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        post_prepare(20 + i, open_file(cases[i].path), 0x10000, 4);
        (void)next_line();
        ck_assert_int_eq(next_prepared(20 + i)->error, cases[i].error);
    }
    post_prepare(30, open_file("unlisted"), 0x10000, 4);
    (void)next_line();
    ck_assert_uint_eq(next_prepared(30)->vm_ops, UINT32_MAX);
    post_prepare(31, 999, 0x10000, 4);
    ck_assert_int_eq(next_prepared(31)->error, EBADF);
    end_with(0);
}
END_TEST

START_TEST(a_mapping_lives_from_prepare_to_close)
{
    uint64_t handle;

    start(&probe_ops);
    handle = open_file("plain");
    map_file(handle, 7, 0x10000, 4);
    ck_assert_int_eq(next_completed(11)->error, 0);
    post_vma_event(FRAME_MAY_SPLIT, 12, vma_message(7, handle, 0x10000, 4), 0x12000, 0);
    expect_line("may_split 7 0x12000");
    ck_assert_int_eq(next_completed(12)->error, EBUSY);
    post_vma_event(FRAME_VMA_OPEN, 0, vma_message(8, handle, 0x12000, 2), 0, 7);
    expect_line("vm_open 8");
    post_vma_event(FRAME_VMA_CLOSE, 0, vma_message(8, handle, 0x12000, 2), 0, 0);
    expect_line("vm_close 8 [0x12000, 0x14000)");
    chan_done(&server.chan); /* VMA 7 is what the split left of it */
    expect_line("vm_close 7 [0x10000, 0x12000)");
    end_with(0);
}
END_TEST

START_TEST(protecting_and_moving_is_asked_and_a_moved_copy_lives_on)
{
    Muse__Wire__VmaEvent event = MUSE__WIRE__VMA_EVENT__INIT;
    Muse__Wire__Vma vma;
    uint64_t handle;

    start(&probe_ops);
    handle = open_file("plain");
    map_file(handle, 7, 0x10000, 4);
    ck_assert_int_eq(next_completed(11)->error, 0);
    vma = vma_message(7, handle, 0x10000, 4);
    event.vma = &vma;
    event.has_addr = event.has_end = event.has_vm_flags = true;
    event.addr = 0x11000;
    event.end = 0x13000;
    event.vm_flags = 0x71;
    post(FRAME_MPROTECT, 12, &event);
    expect_line("mprotect 7 [0x11000, 0x13000) 0x71");
    ck_assert_int_eq(next_completed(12)->error, EPERM);
    post_vma_event(FRAME_VMA_OPEN, 0, vma_message(8, handle, 0x90000, 4), 0, 7);
    expect_line("vm_open 8");
    post_vma_event(FRAME_MREMAP, 13, vma_message(8, handle, 0x90000, 4), 0, 7);
    expect_line("mremap 8 [0x90000, 0x94000)");
    ck_assert_int_eq(next_completed(13)->error, 0);
    post_vma_event(FRAME_VMA_CLOSE, 0, vma_message(7, handle, 0x10000, 4), 0, 0);
    expect_line("vm_close 7 [0x10000, 0x14000)");
    chan_done(&server.chan);
    expect_line("vm_close 8 [0x90000, 0x94000)");
    end_with(0);
}
END_TEST

START_TEST(an_abort_comes_once_with_what_prepare_set)
{
    const Muse__Wire__Prepared *prepared;
    uint64_t handle, private_data, context;

    start(&probe_ops);
    handle = open_file("plain");
    post_prepare(10, handle, 0x10000, 4);
    (void)next_line();
    prepared = next_prepared(10);
    private_data = prepared->private_data;
    context = prepared->context;
    post_abort(10, handle, private_data, context);
    expect_line("abort plain");
    post_abort(10, handle, private_data, context);
    post_handle(FRAME_DRIVER_RELEASE, 0, handle);
    expect_line("release plain");
    end_with(0);
}
END_TEST

START_TEST(a_prepare_that_said_no_errno_is_aborted_and_a_refusal_is_not)
{
    static const char *const paths[] = {"positive", "enormous", "refuse"};

    start(&probe_ops);
    for (size_t i = 0; i < N_ELEMENTS(paths); i++) {
        const uint64_t handle = open_file(paths[i]);
        char line[64];

        post_prepare(10 + i, handle, 0x10000, 4);
        (void)next_line();
        (void)next_prepared(10 + i);
        post_abort(10 + i, handle, 0, 0);
        if (i < 2) {
            /* the probe had set none */
            (void)snprintf(line, sizeof(line), "abort %s wrong pointers", paths[i]);
            expect_line(line);
        } else {
            post_handle(FRAME_DRIVER_RELEASE, 0, handle);
            expect_line("release refuse");
        }
    }
    end_with(0);
}
END_TEST

START_TEST(the_verbs_of_complete_travel_as_actions)
{
    const Muse__Wire__Completed *completed;

    start(&probe_ops);
    map_file(open_file("verbs"), 7, 0x10000, 4);
    expect_line("remap 0");
    expect_line("remap outside -22");
    expect_line("prefault 0");
    expect_line("forward -22");
    completed = next_completed(11);
    ck_assert_uint_eq(server.chan.in.header.n_fds, 1);
    ck_assert_uint_eq(completed->n_actions, 2);
    ck_assert_int_eq(completed->actions[0]->type, MUSE__WIRE__ACTION__TYPE__REMAP);
    ck_assert_uint_eq(completed->actions[0]->address, 0x10000);
    ck_assert_int_eq(completed->actions[1]->type, MUSE__WIRE__ACTION__TYPE__PREFAULT);
    ck_assert_uint_eq(completed->actions[1]->n_pages, 1);
    end_with(0);
}
END_TEST

START_TEST(verbs_are_as_many_as_an_answer_has_room_for_and_share_their_fds)
{
    const Muse__Wire__Completed *completed;

    start(&probe_ops);
    map_file(open_file("many-verbs"), 7, 0x10000, 4);
    expect_line("remapped 256, then -28");
    completed = next_completed(11);
    ck_assert_uint_eq(server.chan.in.header.n_fds, 2);
    ck_assert_uint_eq(completed->n_actions, MAP_VERBS_MAX);
    for (size_t i = 0; i < MAP_VERBS_MAX; i++)
        ck_assert_uint_eq(completed->actions[i]->fd_index, i % 2);
    end_with(0);
}
END_TEST

START_TEST(verbs_are_of_as_many_fds_as_an_answer_has_room_for)
{
    const Muse__Wire__Completed *completed;

    start(&probe_ops);
    map_file(open_file("many-fds"), 7, 0x10000, 4);
    expect_line("remapped 16, then 0");
    completed = next_completed(11);
    ck_assert_uint_eq(server.chan.in.header.n_fds, FRAME_FDS_MAX);
    ck_assert_uint_eq(completed->n_actions, FRAME_FDS_MAX + 1);
    end_with(0);
}
END_TEST

START_TEST(a_legacy_mmap_may_forward_and_remap_once)
{
    struct muse_driver_ops ops = probe_ops;
    const Muse__Wire__Prepared *prepared;
    uint64_t handle;

    ops.mmap_prepare = NULL;
    ops.mmap_complete = NULL;
    ops.mmap_abort = NULL;
    ops.mmap = probe_mmap;
    start(&ops);
    handle = open_file("plain");
    post_complete(FRAME_LEGACY_MMAP, 10, vma_message(7, handle, 0x10000, 4), 0);
    expect_line("mmap plain");
    expect_line("remap 0");
    expect_line("remap again -28");
    prepared = next_prepared(10);
    ck_assert_int_eq(prepared->error, 0);
    ck_assert_str_eq(prepared->forward, "zero/4K");
    ck_assert_uint_eq(prepared->vm_flags, FLAGS | MUSE_VM_DONTCOPY);
    ck_assert_uint_eq(prepared->vm_ops, 2);
    ck_assert_int_eq(prepared->action->type, MUSE__WIRE__ACTION__TYPE__REMAP);
    post_handle(FRAME_DRIVER_RELEASE, 0, handle); /* the mapping is the other driver's now */
    expect_line("release plain");
    end_with(0);
}
END_TEST

/* ---- deferral ---- */

START_TEST(events_of_a_vma_wait_for_its_deferred_hook_and_others_go_on)
{
    uint64_t handle, other;

    start(&probe_ops);
    handle = open_file("defer-complete");
    other = open_file("other");
    map_file(handle, 7, 0x10000, 4); /* its complete stays open */
    post_vma_event(FRAME_MAY_SPLIT, 12, vma_message(7, handle, 0x10000, 4), 0x11000, 0);
    post_vma_event(FRAME_VMA_CLOSE, 0, vma_message(7, handle, 0x10000, 4), 0, 0);
    post_handle(FRAME_DRIVER_RELEASE, 0, handle);
    post_prepare(13, other, 0x20000, 1);
    expect_line("prepare other");
    (void)next_prepared(13);
    open_gate();
    ck_assert_str_eq(next_completed(11)->text, "said by the worker");
    expect_line("may_split 7 0x11000");
    (void)next_completed(12);
    expect_line("vm_close 7 [0x10000, 0x14000)");
    expect_line("release defer-complete");
    end_with(0);
}
END_TEST

START_TEST(a_deferred_prepare_and_open_are_answered_from_another_thread)
{
    uint64_t handle;

    start(&probe_ops);
    post_open(5, "defer-open");
    expect_line("open defer-open 1000");
    open_gate();
    (void)next_opened(5);
    handle = open_file("defer-prepare");
    post_prepare(10, handle, 0x10000, 4);
    expect_line("prepare defer-prepare");
    open_gate();
    ck_assert_int_eq(next_prepared(10)->error, 0);
    post_abort(10, handle, 0, 0);
    expect_line("abort defer-prepare");
    end_with(0);
}
END_TEST

START_TEST(a_prepare_that_is_answered_after_the_server_died_is_aborted)
{
    start(&probe_ops);
    post_prepare(10, open_file("defer-prepare"), 0x10000, 4);
    expect_line("prepare defer-prepare");
    chan_done(&server.chan);
    open_gate();
    expect_line("abort defer-prepare");
    expect_line("release defer-prepare");
    expect_line("gone 42");
    expect_line("stop");
    end_with(0);
}
END_TEST

/* ---- faults ---- */

static void start_with_object(void)
{
    start(&probe_ops);
    (void)open_file("plain");
    give_object(0, PAGE);
}

START_TEST(fault_fills_the_pages_that_were_asked_for)
{
    start_with_object();
    ask(1, 0, 1, 1);
    expect_answer(1, 0, 1);
    ask(2, 700, 300, 1);
    expect_answer(2, 700, 300);
    end_with(0);
}
END_TEST

START_TEST(an_ask_waits_for_its_object)
{
    start(&probe_ops);
    ask(1, 0, 1, 1);
    (void)open_file("plain");
    give_object(0, PAGE);
    expect_answer(1, 0, 1);
    end_with(0);
}
END_TEST

START_TEST(pages_a_driver_leaves_out_are_reported)
{
    start_with_object();
    ask(1, 100, 8, 2);
    expect_fault_failed(1, 100, 2, EIO, "driver supplied nothing");
    expect_fault_failed(1, 102, 6, ECANCELED, "readahead left out");
    ask(2, 200, 8, 3);
    expect_line("beyond the end -22");
    expect_answer(2, 199, 1);
    expect_answer(2, 200, 3);
    expect_fault_failed(2, 203, 5, ECANCELED, "readahead left out");
    end_with(0);
}
END_TEST

START_TEST(an_error_fails_what_was_not_supplied)
{
    start_with_object();
    ask(1, 300, 4, 1);
    expect_answer(1, 301, 1);
    expect_fault_failed(1, 300, 1, EIO, "the disk is on fire");
    expect_fault_failed(1, 302, 2, EIO, "the disk is on fire");
    ask(2, 500, 4, 4);
    expect_fault_failed(2, 501, 1, ENODATA, "one bad sector");
    expect_answer(2, 500, 1);
    expect_answer(2, 502, 2);
    ask(3, N_PAGES - 1, 2, 1);
    expect_fault_failed(3, N_PAGES - 1, 2, EINVAL, "asked for pages outside the object");
    end_with(0);
}
END_TEST

START_TEST(a_pending_fault_holds_nobody_up)
{
    start_with_object();
    ask(1, 400, 4, 1);
    ask(2, 0, 1, 1);
    expect_answer(2, 0, 1);
    open_gate();
    expect_answer(1, 400, 4);
    expect_line("late supply 0");
    end_with(0);
}
END_TEST

START_TEST(more_answers_than_the_ring_holds_arrive_in_order)
{
    const uint64_t n = 4 * FILL_RING_ENTRIES;
    uint64_t asked = 0;

    start_with_object();
    for (; asked < FILL_RING_ENTRIES; asked++)
        ask(asked, asked % 90, 1, 1);
    while (atomic_load(&server.ring->ask_head) != FILL_RING_ENTRIES)
        await(server.wake_server_fd); /* readable throughout: nobody takes the answers */
    for (; asked < FILL_RING_ENTRIES + 20; asked++)
        ask(asked, asked % 90, 1, 1);
    for (uint64_t i = 0; i < n; i++) {
        expect_answer(i, i % 90, 1);
        for (; asked < n && asked - i < FILL_RING_ENTRIES / 2; asked++)
            ask(asked, asked % 90, 1, 1);
    }
    end_with(0);
}
END_TEST

START_TEST(huge_pages_are_written_through_a_mapping)
{
    struct muse_driver_ops ops = probe_ops;
    const uint8_t *page;

    ops.fault = huge_fault;
    start(&ops);
    (void)open_file("huge");
    give_object(MFD_HUGETLB | MFD_HUGE_2MB, MUSE_HUGE_PAGE_BYTES);
    ask(1, 1, 1, 1);
    ck_assert_uint_eq(next_answer().first_page, 1);
    page =
        mmap(NULL, MUSE_HUGE_PAGE_BYTES, PROT_READ, MAP_SHARED, server.memfd, MUSE_HUGE_PAGE_BYTES);
    ck_assert_ptr_ne(page, MAP_FAILED);
    ck_assert_uint_eq(page[0], 0x5a);
    ck_assert_uint_eq(page[MUSE_HUGE_PAGE_BYTES - 1], 0x5a);
    end_with(0);
}
END_TEST

/* ---- revoke ---- */

static int start_invalidating(struct muse_driver *driver, void *user)
{
    (void)user;
    probe.driver = driver;
    say("invalidate early %d", muse_invalidate(driver, KEY, 0, 0));
    start_worker(invalidate, NULL);
    return 0;
}

START_TEST(invalidate_waits_for_the_server_and_never_in_a_hook)
{
    struct muse_driver_ops ops = probe_ops;
    Muse__Wire__Completed completed = MUSE__WIRE__COMPLETED__INIT;
    Muse__Wire__Invalidate *message;
    struct frame *frame;

    ops.start = start_invalidating;
    start(&ops);
    expect_line("invalidate early -35");
    (void)open_file("plain");
    give_object(0, PAGE);
    ask(1, 600, 1, 1);
    expect_line("invalidate from fault -35");
    open_gate();
    expect_line("invalidate unknown -2");
    await(server.chan.fd);
    ck_assert_int_eq(chan_recv(&server.chan, &frame), 0);
    ck_assert_uint_eq(frame->header.type, FRAME_INVALIDATE);
    ck_assert_uint_eq(frame->header.id >> 63, 1);
    message = muse__wire__invalidate__unpack(NULL, frame->n_payload, frame->payload);
    ck_assert_uint_eq(message->first_page, 10);
    ck_assert_uint_eq(message->n_pages, N_PAGES - 10);
    muse__wire__invalidate__free_unpacked(message, NULL);
    post(FRAME_COMPLETED, frame->header.id, &completed);
    expect_line("invalidated 0");
    end_with(0);
}
END_TEST

/* ---- the end ---- */

static void start_with_everything_open(void)
{
    uint64_t handle;

    start_with_object();
    handle = open_file("second");
    map_file(handle, 7, 0x10000, 4);
    (void)next_completed(11);
    post_prepare(12, handle, 0x20000, 4);
    expect_line("prepare second");
    (void)next_prepared(12);
}

static void expect_the_end(void)
{
    const char *line;

    expect_line("abort second");
    expect_line("vm_close 7 [0x10000, 0x14000)");
    line = next_line();
    ck_assert(strcmp(line, "release plain") == 0 || strcmp(line, "release second") == 0);
    line = next_line();
    ck_assert(strcmp(line, "release plain") == 0 || strcmp(line, "release second") == 0);
    expect_line("gone 42");
    expect_line("stop");
    end_with(0);
}

START_TEST(when_the_server_dies_everything_is_ended)
{
    start_with_everything_open();
    chan_done(&server.chan);
    expect_the_end();
}
END_TEST

START_TEST(when_a_signal_comes_everything_is_ended)
{
    start_with_everything_open();
    ck_assert_int_eq(kill(server.pid, SIGTERM), 0);
    expect_the_end();
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        hello_lists_the_hooks_and_the_tables_that_are_there,
        a_refused_driver_exits_with_1,
        a_frame_that_is_not_for_drivers_ends_the_connection_with_1,
        hooks_about_names_answer_by_the_type_of_the_question,
        a_listing_that_does_not_fit_a_frame_comes_in_parts,
        open_answers_with_handle_key_and_attributes,
        an_fd_that_several_extents_name_travels_once,
        an_answer_that_cannot_travel_is_undone,
        the_object_is_gone_when_neither_file_nor_page_cache_is_left,
        prepare_sends_what_changed_and_nothing_else,
        what_a_hook_says_wrongly_reaches_the_server_as_it_is,
        a_mapping_lives_from_prepare_to_close,
        protecting_and_moving_is_asked_and_a_moved_copy_lives_on,
        an_abort_comes_once_with_what_prepare_set,
        a_prepare_that_said_no_errno_is_aborted_and_a_refusal_is_not,
        the_verbs_of_complete_travel_as_actions,
        verbs_are_as_many_as_an_answer_has_room_for_and_share_their_fds,
        verbs_are_of_as_many_fds_as_an_answer_has_room_for,
        a_legacy_mmap_may_forward_and_remap_once,
        events_of_a_vma_wait_for_its_deferred_hook_and_others_go_on,
        a_deferred_prepare_and_open_are_answered_from_another_thread,
        a_prepare_that_is_answered_after_the_server_died_is_aborted,
        fault_fills_the_pages_that_were_asked_for,
        an_ask_waits_for_its_object,
        pages_a_driver_leaves_out_are_reported,
        an_error_fails_what_was_not_supplied,
        a_pending_fault_holds_nobody_up,
        more_answers_than_the_ring_holds_arrive_in_order,
        invalidate_waits_for_the_server_and_never_in_a_hook,
        when_the_server_dies_everything_is_ended,
        when_a_signal_comes_everything_is_ended,
    };
    TCase *tcase = tcase_create("sdk");
    const bool has_huge = huge_pages_take(N_HUGE);
    int status;

    tcase_set_timeout(tcase, 60);
    for (size_t i = 0; i < N_ELEMENTS(tests); i++)
        tcase_add_test(tcase, tests[i]);
    if (!has_huge)
        return unit_run("sdk", tcase) ? EXIT_FAILURE : HUGE_PAGES_SKIPPED;
    tcase_add_test(tcase, huge_pages_are_written_through_a_mapping);
    status = unit_run("sdk", tcase);
    huge_pages_give_back(N_HUGE);
    return status;
}
