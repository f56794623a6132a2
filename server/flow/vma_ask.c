/* SPDX-License-Identifier: BSD-3-Clause */
/* Questions to drivers about their VMAs. Owns the call while it is out. Called by the flows of
 * munmap, mmap, mprotect, madvise, mlock and mremap; knows none of them. */
#include "server/flow/vma_ask.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "server/flow/driver_hooks.h"
#include "server/flow/flow_log.h"

#define TEXT_BYTES 160u

/* What was refused. Return: a verb; @ret_event: for the log. */
static const char *verb_of(const char *hook, const char **ret_event)
{
    static const struct {
        const char *hook, *verb, *event;
    } words[] = {
        {"may_split", "split", "split.refused"},
        {"mprotect", "protect", "protect.refused"},
    };

    for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(hook, words[i].hook) == 0) {
            *ret_event = words[i].event;
            return words[i].verb;
        }
    }
    *ret_event = "move.refused";
    return "move";
}

/* Who was against it, for the log and for the client's sentence. */
static void note_refusal(const struct vma_ask *ask, int error, const char *text)
{
    struct space *space = vma_space(ask->vma);
    const struct flow_where where = {space, ask->asked, vma_object(ask->vma)->name, ask->call.hook};
    const char *name = strerrorname_np(-error);
    const char *event;
    const char *verb = verb_of(ask->call.hook, &event);

    if (!text[0])
        text = strerrordesc_np(-error) ? strerrordesc_np(-error) : "no reason was given";
    driver_note_error(ask->asked, ask->call.hook, error, text);
    flow_error(event, &where, error, text);
    (void)snprintf(space->refusal, sizeof(space->refusal),
                   "driver %s refused to %s %.80s: %s (%.100s)", where.driver->name, verb,
                   where.object, name ? name : "?", text);
}

/* Return: 0 or -errno as the driver says, -EREMOTEIO when it says nonsense. @buf: its sentence */
static int answered(const struct vma_ask *ask, const struct frame *frame, char *buf, size_t size)
{
    buf[0] = '\0';
    return hook_completed(ask->asked, &ask->call, vma_space(ask->vma), frame, buf, size);
}

static void on_end(struct driver_call *call, enum call_end end, struct frame *frame)
{
    struct vma_ask *ask = CONTAINER_OF(call, struct vma_ask, call);
    struct driver *driver = ask->asked;
    char text[TEXT_BYTES] = "it did not answer in time";
    int error = -EIO;

    if (end == CALL_ANSWERED)
        error = answered(ask, frame, text, sizeof(text));
    else if (end == CALL_DEADLINE)
        error = -ETIMEDOUT;
    hook_ended(driver, call, error);
    if (end == CALL_LOST)
        error = 0; /* a dead driver has nothing against it */
    else if (error < 0)
        note_refusal(ask, error, text);
    ask->asked = NULL;
    ask->running = false;
    driver_unref(driver);
    ask->done(ask, error);
}

/* Return: the driver to be asked about @vma when its table @has the operation, or NULL. */
static struct driver *driver_of(const struct vma *vma, bool has)
{
    struct driver *driver = has && !vma_is_anon(vma) ? vma_file(vma)->driver : NULL;

    return driver && driver->alive ? driver : NULL;
}

/* @r: of the hook function: a driver that cannot be asked is dying. */
static int asked(struct vma_ask *ask, struct driver *driver, const struct vma *vma, int r)
{
    if (r < 0)
        return 1;
    ask->vma = vma;
    ask->asked = driver_ref(driver);
    ask->running = true;
    return 0;
}

int vma_ask_split(struct vma_ask *ask, const struct vma *vma, uint64_t addr)
{
    struct driver *driver = driver_of(vma, vma->has_may_split);

    ask->call.end = on_end;
    return driver ? asked(ask, driver, vma, hook_may_split(driver, &ask->call, vma, addr)) : 1;
}

int vma_ask_protect(struct vma_ask *ask, const struct vma *vma, struct range range,
                    uint64_t new_flags)
{
    struct driver *driver = driver_of(vma, vma->has_mprotect);

    ask->call.end = on_end;
    return driver
               ? asked(ask, driver, vma, hook_mprotect(driver, &ask->call, vma, range, new_flags))
               : 1;
}

int vma_ask_remap(struct vma_ask *ask, const struct vma *parent, const struct hook_vma *view)
{
    struct driver *driver = driver_of(parent, parent->has_mremap);

    ask->call.end = on_end;
    return driver ? asked(ask, driver, parent, hook_mremap(driver, &ask->call, view, parent->id))
                  : 1;
}

void vma_ask_cancel(struct vma_ask *ask)
{
    if (!ask->running)
        return;
    driver_link_forget(&ask->call);
    ask->running = false;
    driver_unref(ask->asked);
    ask->asked = NULL;
}
