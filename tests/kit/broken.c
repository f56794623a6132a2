/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A driver that is wrong in one way: its --mistake. Without one it is right. What the kit must find,
 * and what it must say: tests/integration/it_check.c.
 */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <muse/driver.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/own.h"

#define SIZE       (64u * MUSE_PAGE_BYTES)
#define LEAK_BYTES (64u * 1024u)

static struct {
    const char *mistake;
    unsigned n_held;              /* contexts */
    unsigned n_kept;              /* fds */
    struct muse_request *waiting; /* a prepare that waits for the lock, for ever */
    bool is_locked;
} broken = {.mistake = ""};

static bool is(const char *mistake)
{
    return strcmp(broken.mistake, mistake) == 0;
}

static int broken_open(void *user, const struct muse_open_args *args, struct muse_open_result *ret)
{
    (void)user;
    (void)args;
    ret->object_key = 1;
    ret->attr = (struct muse_attr){.size = SIZE, .mode = S_IFREG | 0644, .inode = 1, .nlink = 1};
    return 0;
}

static void broken_close(struct muse_vma *vma)
{
    (void)vma;
    if (is("dies-in-close"))
        abort();
}

static const struct muse_vm_ops vm_ops = {.name = "broken", .close = broken_close};
static const struct muse_vm_ops *const vm_ops_tables[] = {&vm_ops, NULL};

/* What the context is: an fd that belongs to the mapping call. */
struct context {
    int fd;
};

static int broken_prepare(struct muse_vma_desc *desc)
{
    struct context *context;

    if (is("holds-its-lock")) {
        if (broken.is_locked) {
            broken.waiting = muse_request_defer(); /* nobody will ever answer it */
            return 0;
        }
        broken.is_locked = true;
    }
    if (is("never-answers")) {
        (void)muse_request_defer();
        return 0;
    }
    if (is("is-no-errno"))
        return -5000;
    if (is("grants-rights"))
        desc->vm_flags |= MUSE_VM_EXEC;
    context = malloc(sizeof(*context));
    if (!context)
        return -ENOMEM;
    context->fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    desc->mmap_context = context;
    desc->vm_ops = &vm_ops;
    broken.n_held++;
    return 0;
}

static void end(const void *mmap_context)
{
    struct context *context = (void *)(uintptr_t)mmap_context;

    fd_close_p(&context->fd);
    free(context);
    broken.n_held--;
    broken.is_locked = false;
}

static int broken_complete(struct muse_driver_file *file, struct muse_vma *vma, const void *context)
{
    (void)file;
    (void)vma;
    end(context);
    return 0;
}

static void broken_abort(const struct muse_driver_file *file, const void *private_data,
                         const void *mmap_context)
{
    (void)file;
    (void)private_data;
    if (is("leaks-its-context-on-abort") || is("holds-its-lock"))
        return;
    if (is("leaks-an-fd-on-abort"))
        ((struct context *)(uintptr_t)mmap_context)->fd = -1;
    if (is("leaks-memory-on-abort")) {
        static void *volatile leak; /* seen, or the compiler leaves it out */

        leak = malloc(LEAK_BYTES);
        if (leak)
            memset(leak, 1, LEAK_BYTES);
    }
    if (is("aborts-twice"))
        broken.n_held--;
    end(mmap_context);
}

static int broken_fault(struct muse_fault *fault)
{
    char page[MUSE_PAGE_BYTES];
    int r = 0;

    if (is("keeps-the-page-cache"))
        (void)dup(muse_fault_fd(fault));
    if (is("keeps-five-fds") && broken.n_kept < 5) /* which is no mistake */
        broken.n_kept += open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0;
    for (uint64_t i = 0; i < fault->n_pages && r == 0; i++) {
        const uint64_t at = fault->first_page + i;

        memset(page, (int)(is("supplies-by-place-in-the-run") ? i : at), sizeof(page));
        r = muse_fault_supply(fault, is("supplies-the-next-page") ? (at + 1) % 64 : at, page, 1);
    }
    return is("supplies-the-next-page") ? MUSE_FAULT_PENDING : r;
}

static unsigned broken_held(void *user, char *text, size_t size)
{
    (void)user;
    (void)snprintf(text, size, "contexts of mappings");
    return broken.n_held;
}

/* NOLINTNEXTLINE(readability-non-const-parameter): argp's */
static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    (void)state;
    if (key != 'm')
        return ARGP_ERR_UNKNOWN;
    broken.mistake = arg;
    return 0;
}

int main(int argc, char **argv)
{
    static const struct argp_option options[] = {{"mistake", 'm', "NAME", 0, "Which one", 0}, {0}};
    static const struct argp argp = {options, parse_option, NULL, NULL, NULL, NULL, NULL};
    struct muse_driver_ops ops = {
        MUSE_DRIVER_OPS,
        .name = "broken",
        .version = "0.1.0",
        .vm_ops = vm_ops_tables,
        .argp = &argp,
        .open = broken_open,
        .mmap_prepare = broken_prepare,
        .mmap_complete = broken_complete,
        .mmap_abort = broken_abort,
        .fault = broken_fault,
        .debug_held = broken_held,
    };

    for (int i = 1; i < argc; i++) { /* without it, what is held shows from outside only */
        if (strstr(argv[i], "an-fd") || strstr(argv[i], "its-lock"))
            ops.debug_held = NULL;
    }
    return muse_driver_main(argc, argv, &ops, NULL);
}
