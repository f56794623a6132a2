/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Delta debugging (Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input",
 * 2002): leave out chunks of steps, then single steps, then make what is left simpler. A candidate
 * counts when it is found in the same way as the whole script.
 */
#include "tests/differential/shrink.h"

#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "common/base/own.h"

#define ATTEMPTS_MAX 1500u /* chosen: some minutes */

struct shrinking {
    struct script *script; /* the smallest one so far */
    struct finding *finding;
    const struct attempt_options *options;
    struct step *steps; /* the candidate's, room for all */
    unsigned n_attempts;
};

/* The candidate is as the script up to now, with @n_steps. */
static bool try_candidate(struct shrinking *shrinking, size_t n_steps)
{
    struct script *script = shrinking->script;
    struct script candidate = *script;
    struct finding finding;

    if (shrinking->n_attempts >= ATTEMPTS_MAX)
        return false;
    shrinking->n_attempts++;
    candidate.n_steps = n_steps;
    candidate.steps = shrinking->steps;
    attempt(&candidate, shrinking->options, &finding);
    if (finding.kind != shrinking->finding->kind)
        return false;
    script->n_steps = finding.step < n_steps ? finding.step + 1 : n_steps;
    memcpy(script->steps, shrinking->steps, script->n_steps * sizeof(struct step));
    *shrinking->finding = finding;
    return true;
}

static bool try_without(struct shrinking *shrinking, size_t first, size_t n)
{
    const struct script *script = shrinking->script;

    memcpy(shrinking->steps, script->steps, first * sizeof(struct step));
    memcpy(shrinking->steps + first, script->steps + first + n,
           (script->n_steps - first - n) * sizeof(struct step));
    return try_candidate(shrinking, script->n_steps - n);
}

/* Chunks from the end, because what fails is there. Return: whether any could be left out. */
static bool leave_out(struct shrinking *shrinking, size_t chunk)
{
    bool any = false;
    size_t end = shrinking->script->n_steps;

    while (end > 0 && shrinking->script->n_steps > 1) {
        const size_t first = end > chunk ? end - chunk : 0;

        any |= try_without(shrinking, first, end - first);
        end = first < shrinking->script->n_steps ? first : shrinking->script->n_steps;
    }
    return any;
}

/* ---- simpler steps ---- */

static bool try_value(struct shrinking *shrinking, size_t index, const struct field *field,
                      uint64_t value)
{
    const struct script *script = shrinking->script;

    memcpy(shrinking->steps, script->steps, script->n_steps * sizeof(struct step));
    if (*script_field(&shrinking->steps[index], field) == value)
        return false;
    *script_field(&shrinking->steps[index], field) = value;
    return try_candidate(shrinking, script->n_steps);
}

/* Bits one by one; numbers and words: the simplest first. */
static bool simplify_field(struct shrinking *shrinking, size_t index, const struct field *field)
{
    const uint64_t value = *script_field(&shrinking->script->steps[index], field);
    const uint64_t simpler[] = {0, PAGE, value / 2 & ~(PAGE - 1), value & ~(PAGE - 1)};
    bool any = false;

    if (field->words && !field->is_set)
        return value != 0 && try_value(shrinking, index, field, field->words[0].value);
    if (!field->is_set) {
        for (size_t i = 0; i < N_ELEMENTS(simpler); i++) {
            if (simpler[i] < value && try_value(shrinking, index, field, simpler[i]))
                return true;
        }
        return false;
    }
    for (const struct word *word = field->words; word->name; word++) {
        const uint64_t now = *script_field(&shrinking->script->steps[index], field);

        if ((now & word->value) == word->value && index < shrinking->script->n_steps)
            any |= try_value(shrinking, index, field, now & ~word->value);
    }
    return any;
}

static bool simplify(struct shrinking *shrinking)
{
    static const struct field actor = {"actor", offsetof(struct step, actor), NULL, false};
    bool any = false;

    for (size_t i = 0; i < shrinking->script->n_steps; i++) {
        const struct field *field = script_fields(shrinking->script->steps[i].op);

        any |= try_value(shrinking, i, &actor, 0);
        for (; field->name && i < shrinking->script->n_steps; field++)
            any |= simplify_field(shrinking, i, field);
    }
    return any;
}

unsigned shrink(struct script *script, const struct attempt_options *options,
                struct finding *finding)
{
    struct shrinking shrinking = {script, finding, options, NULL, 0};
    bool again;

    if (finding->step < script->n_steps)
        script->n_steps = finding->step + 1;
    shrinking.steps = calloc(script->n_steps, sizeof(struct step));
    ck_assert_ptr_nonnull(shrinking.steps);
    do {
        for (size_t chunk = script->n_steps / 2; chunk > 1; chunk /= 2)
            (void)leave_out(&shrinking, chunk);
        while (leave_out(&shrinking, 1)) {}
        again = simplify(&shrinking);
    } while (again && shrinking.n_attempts < ATTEMPTS_MAX);
    free(shrinking.steps);
    return shrinking.n_attempts;
}
