/* SPDX-License-Identifier: BSD-3-Clause */
/* From a file's name to what the driver does: one table of keys. Pure but for muse_set_error(). */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/own.h"
#include "drivers/faulty/faulty.h"

enum kind {
    KIND_NUMBER,   /* decimal, 0x..., or with K, M, G */
    KIND_OPTIONAL, /* a number, 0 among them: the field behind it says that it is there */
    KIND_FLAG,     /* a word alone */
    KIND_WORD
};

#define KEY(name, kind, field)                                                                     \
    {                                                                                              \
        name, kind, offsetof(struct behaviour, field)                                              \
    }

static const struct key {
    const char *name;
    enum kind kind;
    size_t offset;
} keys[] = {
    KEY("die-in", KIND_WORD, die_in),
    KEY("lie", KIND_WORD, lie),
    KEY("ops", KIND_WORD, ops),
    KEY("action", KIND_WORD, action),
    KEY("verb", KIND_WORD, verb),
    KEY("swap-file", KIND_WORD, swap_file),
    KEY("fresh", KIND_WORD, fresh),
    KEY("pages", KIND_WORD, pages),
    KEY("forward", KIND_WORD, forward),
    KEY("name", KIND_WORD, name),
    KEY("size", KIND_NUMBER, size),
    KEY("key", KIND_NUMBER, key),
    KEY("open-errno", KIND_NUMBER, open_errno),
    KEY("open-delay-ms", KIND_NUMBER, open_delay_ms),
    KEY("open-never", KIND_FLAG, open_never),
    KEY("getattr-errno", KIND_NUMBER, getattr_errno),
    KEY("setattr-errno", KIND_NUMBER, setattr_errno),
    KEY("prepare-errno", KIND_NUMBER, prepare_errno),
    KEY("prepare-delay-ms", KIND_NUMBER, prepare_delay_ms),
    KEY("prepare-sleep-ms", KIND_NUMBER, prepare_sleep_ms),
    KEY("prepare-never", KIND_FLAG, prepare_never),
    KEY("complete-errno", KIND_NUMBER, complete_errno),
    KEY("complete-delay-ms", KIND_NUMBER, complete_delay_ms),
    KEY("complete-sleep-ms", KIND_NUMBER, complete_sleep_ms),
    KEY("complete-never", KIND_FLAG, complete_never),
    KEY("abort-sleep-ms", KIND_NUMBER, abort_sleep_ms),
    KEY("close-sleep-ms", KIND_NUMBER, close_sleep_ms),
    KEY("mmap-errno", KIND_NUMBER, mmap_errno),
    KEY("split-errno", KIND_NUMBER, split_errno),
    KEY("split-delay-ms", KIND_NUMBER, split_delay_ms),
    KEY("split-never", KIND_FLAG, split_never),
    KEY("invalidate", KIND_OPTIONAL, invalidate),
    KEY("mprotect-errno", KIND_NUMBER, protect_errno),
    KEY("mprotect-delay-ms", KIND_NUMBER, protect_delay_ms),
    KEY("mremap-errno", KIND_NUMBER, remap_errno),
    KEY("mremap-delay-ms", KIND_NUMBER, remap_delay_ms),
    KEY("fault-errno", KIND_NUMBER, fault_errno),
    KEY("fault-delay-ms", KIND_NUMBER, fault_delay_ms),
    KEY("fault-sleep-ms", KIND_NUMBER, fault_sleep_ms),
    KEY("fault-never", KIND_FLAG, fault_never),
    KEY("fault-partial", KIND_FLAG, fault_partial),
    KEY("fault-nothing", KIND_FLAG, fault_nothing),
    KEY("fault-single", KIND_FLAG, fault_single),
    KEY("page", KIND_OPTIONAL, page),
    KEY("set-flags", KIND_NUMBER, set_flags),
    KEY("clear-flags", KIND_NUMBER, clear_flags),
    KEY("set-pgoff", KIND_OPTIONAL, set_pgoff),
    KEY("set-prot", KIND_OPTIONAL, set_prot),
    KEY("private", KIND_NUMBER, private_data),
    KEY("lock", KIND_FLAG, lock),
    KEY("extents", KIND_FLAG, extents),
    KEY("writeback-errno", KIND_NUMBER, writeback_errno),
    KEY("writeback-fails", KIND_NUMBER, writeback_fails),
    KEY("writeback-delay-ms", KIND_NUMBER, writeback_delay_ms),
    KEY("writeback-never", KIND_FLAG, writeback_never),
    KEY("fsync-errno", KIND_NUMBER, fsync_errno),
    KEY("mkwrite-errno", KIND_NUMBER, mkwrite_errno),
    KEY("mkwrite-delay-ms", KIND_NUMBER, mkwrite_delay_ms),
    KEY("access-errno", KIND_NUMBER, access_errno),
    KEY("access-delay-ms", KIND_NUMBER, access_delay_ms),
    KEY("access-short", KIND_FLAG, access_short),
    KEY("access-nothing", KIND_FLAG, access_nothing),
    KEY("name-errno", KIND_NUMBER, name_errno),
    KEY("name-delay-ms", KIND_NUMBER, name_delay_ms),
    KEY("name-sleep-ms", KIND_NUMBER, name_sleep_ms),
};

_Static_assert(
    offsetof(struct behaviour, has_page) == offsetof(struct behaviour, page) + 8 &&
        offsetof(struct behaviour, has_set_pgoff) == offsetof(struct behaviour, set_pgoff) + 8 &&
        offsetof(struct behaviour, has_invalidate) == offsetof(struct behaviour, invalidate) + 8 &&
        offsetof(struct behaviour, has_set_prot) == offsetof(struct behaviour, set_prot) + 8,
    "KIND_OPTIONAL: the field behind the number says that it is there");

bool is_word(const char *word, const char *wanted)
{
    return strcmp(word, wanted) == 0;
}

static const struct key *find_key(const char *name)
{
    for (size_t i = 0; i < N_ELEMENTS(keys); i++) {
        if (strcmp(keys[i].name, name) == 0)
            return &keys[i];
    }
    return NULL;
}

static int parse_number(const char *text, uint64_t *ret_number)
{
    static const char units[] = "KMG";
    const char *unit;
    uint64_t number;
    char *end;

    if (*text < '0' || *text > '9')
        return -EINVAL;
    errno = 0;
    number = strtoull(text, &end, 0);
    if (errno != 0)
        return -EINVAL;
    if (*end != '\0') {
        unit = strchr(units, *end);
        if (!unit || end[1] != '\0' || number >> 34 != 0)
            return -EINVAL;
        number <<= 10 * (unit - units + 1);
    }
    *ret_number = number;
    return 0;
}

static int set_word(char *field, const char *value)
{
    if (strlen(value) >= WORD_BYTES_MAX)
        return -EINVAL;
    memcpy(field, value, strlen(value) + 1);
    return 0;
}

static int set_key(struct behaviour *behaviour, const struct key *key, const char *value)
{
    char *field = (char *)behaviour + key->offset;
    uint64_t numbers[2] = {0, 1};

    switch (key->kind) {
    case KIND_WORD:
        return value ? set_word(field, value) : -EINVAL;
    case KIND_FLAG:
        if (value)
            return -EINVAL;
        memcpy(field, &numbers[1], sizeof(numbers[1]));
        return 0;
    case KIND_NUMBER:
    case KIND_OPTIONAL:
        if (!value || parse_number(value, &numbers[0]) < 0)
            return -EINVAL;
        memcpy(field, numbers, key->kind == KIND_OPTIONAL ? sizeof(numbers) : sizeof(numbers[0]));
        return 0;
    }
    return -EINVAL;
}

/* Words that stand for a key with a value. */
static const char *expand(const char *part)
{
    return strcmp(part, "noclose") == 0 ? "ops=plain" : part;
}

/* KEY or KEY=VALUE. */
static int parse_part(struct behaviour *behaviour, const char *part, bool is_first)
{
    char name[WORD_BYTES_MAX * 2];
    const struct key *key;
    char *value;

    part = expand(part);
    if (strlen(part) >= sizeof(name))
        return -EINVAL;
    memcpy(name, part, strlen(part) + 1);
    value = strchr(name, '=');
    if (value)
        *value++ = '\0';
    key = find_key(name);
    if (is_first && set_word(behaviour->label, part) < 0)
        return -EINVAL;
    if (!key)
        return is_first && !value ? 0 : -EINVAL;
    return set_key(behaviour, key, value);
}

int behaviour_parse(const char *path, struct behaviour *ret_behaviour)
{
    struct behaviour behaviour = {.size = 1u << 20};
    CLEAN(free_p) char *copy = strdup(path);
    char *rest = copy;
    char *part;

    if (!copy)
        return -ENOMEM;
    for (bool is_first = true; (part = strsep(&rest, ",")) != NULL; is_first = false) {
        if (parse_part(&behaviour, part, is_first) < 0) {
            muse_set_error("muse-faulty does not understand \"%s\"", part);
            return -EINVAL;
        }
    }
    for (char *mark = behaviour.forward; (mark = strchr(mark, ';')) != NULL;)
        *mark = ','; /* the inner object's own keys, see muse-faulty(1) */
    *ret_behaviour = behaviour;
    return 0;
}
