/* SPDX-License-Identifier: BSD-3-Clause */
/* Scripts as text, by one table of what each op uses. Knows nothing of what they do. */
#define _GNU_SOURCE
#include "tests/differential/script.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/base/linux_abi.h"

#define LINE_BYTES 512

static const struct word prots[] = {
    {"read", PROT_READ}, {"write", PROT_WRITE}, {"exec", PROT_EXEC}, {NULL, 0}};
static const struct word map_flags[] = {{"shared", MAP_SHARED},
                                        {"private", MAP_PRIVATE},
                                        {"anonymous", MAP_ANONYMOUS},
                                        {"fixed", MAP_FIXED},
                                        {"noreplace", MAP_FIXED_NOREPLACE},
                                        {"populate", MAP_POPULATE},
                                        {"noreserve", MAP_NORESERVE},
                                        {"locked", MAP_LOCKED},
                                        {NULL, 0}};
static const struct word remap_flags[] = {{"maymove", MREMAP_MAYMOVE},
                                          {"fixed", MREMAP_FIXED},
                                          {"dontunmap", MREMAP_DONTUNMAP},
                                          {NULL, 0}};
static const struct word sync_flags[] = {
    {"async", MS_ASYNC}, {"invalidate", MS_INVALIDATE}, {"sync", MS_SYNC}, {NULL, 0}};
static const struct word modes[] = {{"keep-size", FALLOC_FL_KEEP_SIZE},
                                    {"punch", FALLOC_FL_PUNCH_HOLE},
                                    {"zero", FALLOC_FL_ZERO_RANGE},
                                    {NULL, 0}};
static const struct word handles[] = {
    {"ro", HANDLE_RO}, {"rw", HANDLE_RW}, {"ro2", HANDLE_RO2}, {"rw2", HANDLE_RW2}, {NULL, 0}};
static const struct word ways[] = {{"pipe", WAY_PIPE}, {"vm", WAY_VM}, {NULL, 0}};
static const struct word advices[] = {{"normal", MADV_NORMAL},
                                      {"random", MADV_RANDOM},
                                      {"sequential", MADV_SEQUENTIAL},
                                      {"willneed", MADV_WILLNEED},
                                      {"dontneed", MADV_DONTNEED},
                                      {"dontneed-locked", MADV_DONTNEED_LOCKED},
                                      {"free", MADV_FREE},
                                      {"remove", MADV_REMOVE},
                                      {"dontfork", MADV_DONTFORK},
                                      {"dofork", MADV_DOFORK},
                                      {"hugepage", MADV_HUGEPAGE},
                                      {"nohugepage", MADV_NOHUGEPAGE},
                                      {"dontdump", MADV_DONTDUMP},
                                      {"dodump", MADV_DODUMP},
                                      {"wipeonfork", MADV_WIPEONFORK},
                                      {"keeponfork", MADV_KEEPONFORK},
                                      {"cold", MADV_COLD},
                                      {"pageout", MADV_PAGEOUT},
                                      {"populate-read", MADV_POPULATE_READ},
                                      {"populate-write", MADV_POPULATE_WRITE},
                                      {NULL, 0}};

/* clang-format off: one field a line would be a page for each op */
#define F(member)                                                                                  \
    {                                                                                              \
#member, offsetof(struct step, member), NULL, false                                        \
    }
#define BITS(name, member, words)                                                                  \
    {                                                                                              \
        name, offsetof(struct step, member), words, true                                           \
    }
#define ONE_OF(name, member, words)                                                                \
    {                                                                                              \
        name, offsetof(struct step, member), words, false                                          \
    }
#define END                                                                                        \
    {                                                                                              \
        NULL, 0, NULL, false                                                                       \
    }

static const struct op_info {
    const char *name;
    struct field fields[7];
} ops[N_OPS] = {
    [OP_MMAP] = {"mmap",
                 {F(at), F(len), BITS("prot", prot, prots), BITS("flags", flags, map_flags),
                  ONE_OF("file", handle, handles), F(offset), END}},
    [OP_MUNMAP] = {"munmap", {F(at), F(len), END}},
    [OP_MPROTECT] = {"mprotect", {F(at), F(len), BITS("prot", prot, prots), END}},
    [OP_MREMAP] = {"mremap",
                   {F(at), F(len), F(new_len), BITS("flags", flags, remap_flags), F(to), END}},
    [OP_MADVISE] = {"madvise", {F(at), F(len), ONE_OF("advice", flags, advices), END}},
    [OP_MSYNC] = {"msync", {F(at), F(len), BITS("flags", flags, sync_flags), END}},
    [OP_MINCORE] = {"mincore", {F(at), F(len), END}},
    [OP_MLOCK] = {"mlock", {F(at), F(len), END}},
    [OP_MUNLOCK] = {"munlock", {F(at), F(len), END}},
    [OP_PREAD] = {"pread", {ONE_OF("file", handle, handles), F(offset), F(len), END}},
    [OP_PWRITE] = {"pwrite", {ONE_OF("file", handle, handles), F(offset), F(len), F(byte), END}},
    [OP_FTRUNCATE] = {"ftruncate", {ONE_OF("file", handle, handles), F(len), END}},
    [OP_FALLOCATE] = {"fallocate",
                      {ONE_OF("file", handle, handles), BITS("mode", flags, modes), F(offset),
                       F(len), END}},
    [OP_FSYNC] = {"fsync", {ONE_OF("file", handle, handles), END}},
    [OP_REOPEN] = {"reopen", {ONE_OF("file", handle, handles), END}},
    [OP_LOAD] = {"load", {F(at), END}},
    [OP_STORE] = {"store", {F(at), F(byte), END}},
    [OP_COPY_OUT] = {"copy-out", {F(at), F(len), ONE_OF("way", flags, ways), END}},
    [OP_COPY_IN] = {"copy-in", {F(at), F(len), ONE_OF("way", flags, ways), F(byte), END}},
    [OP_FORK] = {"fork", {F(to), END}},
    [OP_CONNECT] = {"connect", {END}},
    [OP_EXIT] = {"exit", {END}},
    [OP_BYTES] = {"bytes", {F(at), F(len), END}},
    [OP_FILES] = {"files", {END}},
    [OP_WRITTEN] = {"written", {END}},
    [OP_LAYOUT] = {"layout", {END}},
    [OP_MAPS] = {"maps", {END}},
};
/* clang-format on */

const struct field *script_fields(uint64_t op)
{
    return ops[op].fields;
}

/* ---- printing ---- */

struct text {
    char *buf;
    size_t size, n;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *text, const char *format, ...)
{
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(text->buf + text->n, text->size - text->n, format, args);
    va_end(args);
    if (n > 0)
        text->n = text->n + (size_t)n < text->size ? text->n + (size_t)n : text->size - 1;
}

/* Bits by name, what has none as a number: "read|write|0x40". */
static void add_set(struct text *text, const struct word *words, uint64_t value)
{
    const char *bar = "";

    for (; words->name; words++) {
        if ((value & words->value) == words->value) {
            add(text, "%s%s", bar, words->name);
            value &= ~words->value;
            bar = "|";
        }
    }
    if (value != 0 || bar[0] == '\0')
        add(text, "%s%#llx", bar, (unsigned long long)value);
}

static void add_value(struct text *text, const struct field *field, uint64_t value)
{
    if (field->words && field->is_set) {
        add_set(text, field->words, value);
        return;
    }
    for (const struct word *word = field->words; word && word->name; word++) {
        if (word->value == value) {
            add(text, "%s", word->name);
            return;
        }
    }
    add(text, "%#llx", (unsigned long long)value);
}

/* NOLINTNEXTLINE(readability-non-const-parameter): written to by add() */
void script_step_text(const struct step *step, char *buf, size_t size)
{
    struct text text = {buf, size, 0};
    struct step copy = *step;

    add(&text, "%u %s", (unsigned)step->actor, ops[step->op].name);
    for (const struct field *field = ops[step->op].fields; field->name; field++) {
        add(&text, " %s=", field->name);
        add_value(&text, field, *script_field(&copy, field));
    }
}

void script_print(const struct script *script, FILE *stream)
{
    char line[LINE_BYTES];

    (void)fprintf(stream, "window %s\n", script->setting.in_arena ? "arena" : "outside");
    (void)fprintf(stream, "driver %s\n", script->setting.fills ? "fill" : "extents");
    if (script->setting.is_tight)
        (void)fprintf(stream, "memory tight\n");
    for (size_t i = 0; i < script->n_steps; i++) {
        script_step_text(&script->steps[i], line, sizeof(line));
        (void)fprintf(stream, "%s\n", line);
    }
}

/* ---- reading ---- */

static bool read_number(const char *text, uint64_t *ret)
{
    char *end;

    errno = 0;
    *ret = strtoull(text, &end, 0);
    return errno == 0 && end != text && *end == '\0';
}

static bool read_word(const struct word *words, const char *text, uint64_t *ret)
{
    for (; words && words->name; words++) {
        if (strcmp(words->name, text) == 0) {
            *ret = words->value;
            return true;
        }
    }
    return read_number(text, ret);
}

static bool read_value(const struct field *field, char *text, uint64_t *ret)
{
    char *rest = NULL;
    uint64_t part;

    if (!field->is_set)
        return read_word(field->words, text, ret);
    *ret = 0;
    for (text = strtok_r(text, "|", &rest); text; text = strtok_r(NULL, "|", &rest)) {
        if (!read_word(field->words, text, &part))
            return false;
        *ret |= part;
    }
    return true;
}

static bool read_field(struct step *step, char *text)
{
    char *value = strchr(text, '=');

    if (!value)
        return false;
    *value++ = '\0';
    for (const struct field *field = ops[step->op].fields; field->name; field++) {
        if (strcmp(field->name, text) == 0)
            return read_value(field, value, script_field(step, field));
    }
    return false;
}

static bool find_op(const char *name, uint64_t *ret)
{
    for (*ret = 0; *ret < N_OPS; ++*ret) {
        if (strcmp(ops[*ret].name, name) == 0)
            return true;
    }
    return false;
}

static bool read_step(char *line, struct step *ret)
{
    char *rest = NULL;
    const char *actor = strtok_r(line, " ", &rest);
    const char *name = strtok_r(NULL, " ", &rest);
    char *text;

    *ret = (struct step){0};
    if (!actor || !name || !read_number(actor, &ret->actor) || ret->actor >= ACTORS_MAX ||
        !find_op(name, &ret->op))
        return false;
    while ((text = strtok_r(NULL, " ", &rest))) {
        if (!read_field(ret, text))
            return false;
    }
    return ret->to < ACTORS_MAX || ret->op != OP_FORK;
}

static bool read_line(struct script *script, char *line)
{
    struct step step, *more;

    line[strcspn(line, "\n")] = '\0';
    if (line[0] == '\0' || line[0] == '#')
        return true;
    if (strncmp(line, "window ", 7) == 0) {
        script->setting.in_arena = strcmp(line + 7, "arena") == 0;
        return true;
    }
    if (strncmp(line, "driver ", 7) == 0) {
        script->setting.fills = strcmp(line + 7, "fill") == 0;
        return true;
    }
    if (strncmp(line, "memory ", 7) == 0) {
        script->setting.is_tight = strcmp(line + 7, "tight") == 0;
        return true;
    }
    if (!read_step(line, &step))
        return false;
    more = realloc(script->steps, (script->n_steps + 1) * sizeof(step));
    if (!more)
        return false;
    script->steps = more;
    script->steps[script->n_steps++] = step;
    return true;
}

int script_read(const char *path, struct script *ret)
{
    struct script script = {.setting.in_arena = true};
    FILE *stream = fopen(path, "re");
    char line[LINE_BYTES], copy[LINE_BYTES];

    if (!stream) {
        (void)fprintf(stderr, "differential: %s: %s\n", path, strerror(errno));
        return -1;
    }
    while (fgets(line, sizeof(line), stream)) {
        (void)snprintf(copy, sizeof(copy), "%s", line);
        if (!read_line(&script, line)) {
            (void)fprintf(stderr, "differential: %s: no step: %s", path, copy);
            (void)fclose(stream);
            script_done(&script);
            return -1;
        }
    }
    (void)fclose(stream);
    *ret = script;
    return 0;
}

void script_done(struct script *script)
{
    free(script->steps);
    *script = (struct script){0};
}
