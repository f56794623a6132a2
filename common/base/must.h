/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Assertions that are never compiled out, and the mark for results that may not be ignored.
 *
 * MUST() is for this program's own mistakes. It never judges bytes that came from a peer: those are
 * decoded and refused first.
 */
#ifndef MUSE_COMMON_BASE_MUST_H
#define MUSE_COMMON_BASE_MUST_H

/** MUST_CHECK - the caller has to look at the result; to ignore it: "(void)!f(x)", with a reason */
#define MUST_CHECK __attribute__((warn_unused_result))

/**
 * MUST() - stop the program when a condition that only a bug of ours can break is broken
 * @cond: an expression; evaluated exactly once, in every build
 */
#define MUST(cond)                                                                                 \
    (__builtin_expect(!!(cond), 1) ? (void)0 : muse_panic(__FILE__, __LINE__, __func__, #cond))

/**
 * muse_panic_hook_fn() - called once, before the program aborts
 * @file: source file of the broken MUST(); static
 * @line: its line
 * @func: its function; static
 * @cond: the text of the condition; static
 *
 * May dump state; must not allocate and may return (then the program aborts).
 */
typedef void muse_panic_hook_fn(const char *file, int line, const char *func, const char *cond);

/**
 * muse_panic_set_hook() - choose who dumps state before an abort
 * @hook: called by the first muse_panic(); NULL for none. Set by main before threads start.
 */
void muse_panic_set_hook(muse_panic_hook_fn *hook);

/**
 * muse_panic() - call the hook, say on stderr what broke, and abort
 * @file: source file; static
 * @line: source line
 * @func: function name; static
 * @cond: what should have been true, as text; static
 */
_Noreturn void muse_panic(const char *file, int line, const char *func, const char *cond);

#endif
