/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The stage manager and its actors. One process has the turn; who has it does steps until one is
 * another's, and passes the turn on with a futex. So a run is the same each time, and whoever looks
 * at bytes sees nobody write to them.
 *
 *     stage manager   starts the server, and actors that connect; has the turn at the end; meanwhile
 *                     looks whether anybody died or hangs
 *     actor           has both worlds; a fork copies both
 */
#define _GNU_SOURCE
#include "tests/differential/play.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <check.h>

#define FINISH  UINT32_MAX /* a turn: clean up and end */
#define LOOK_NS 20000000   /* chosen: how often the stage manager looks around */

static const char tight[] = "[server]\nmemory = " TIGHT_MEMORY "\n";
static const char *const extents[] = {"muse-file --writable %s", NULL};
static const char *const filled[] = {"muse-file --writable --mode fill %s", NULL};

struct actor {
    const struct play *play;
    struct plain plain;
    struct worlds worlds;
    uint32_t me;
    bool is_child; /* came by a fork */
};

/* ---- turns ---- */

static void turn_give(struct board *board, uint32_t whose, uint32_t turn)
{
    atomic_store(&board->turn[whose], turn);
    (void)syscall(SYS_futex, &board->turn[whose], FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* Return: the turn; 0 when there is none within @limit, if there is a limit. */
static uint32_t turn_wait(struct board *board, uint32_t whose, const struct timespec *limit)
{
    uint32_t turn;

    do {
        (void)syscall(SYS_futex, &board->turn[whose], FUTEX_WAIT, 0, limit, NULL, 0);
        turn = atomic_exchange(&board->turn[whose], 0);
    } while (turn == 0 && !limit);
    return turn;
}

/* The first step from @step on that somebody can do; @ret_whose: who. */
static uint32_t next_step(const struct play *play, uint32_t step, uint32_t *ret_whose)
{
    const struct script *script = play->script;

    for (; step < script->n_steps; step++) {
        const struct step *one = &script->steps[step];
        const bool is_here = atomic_load(&play->board->pid[one->actor]) != 0;

        if (is_here == (one->op != OP_CONNECT)) {
            *ret_whose = is_here ? (uint32_t)one->actor : STAGE_MANAGER;
            return step;
        }
    }
    *ret_whose = STAGE_MANAGER;
    return step;
}

static void pass_on(const struct play *play, uint32_t step)
{
    uint32_t whose;

    step = next_step(play, step, &whose);
    turn_give(play->board, whose, step + 1);
}

/* What was found is on the board; nobody gets a turn any more. */
static _Noreturn void stop_here(const struct actor *actor, uint32_t step)
{
    actor->play->board->finding.step = step;
    turn_give(actor->play->board, STAGE_MANAGER, FINISH);
    for (;;)
        (void)pause(); /* whoever looks after the play ends it */
}

/* ---- steps ---- */

static void act(struct actor *actor);

static bool call_both(struct actor *actor, const struct step *step, struct finding *finding)
{
    struct worlds *worlds = &actor->worlds;
    const struct step bent = mistake_bend(actor->play->mistake, *step, actor->is_child);
    struct outcome kernel, ours;
    struct run run;

    if (difference_skips(&worlds->setting, step))
        return true;
    world_do(&worlds->kernel, step, &kernel);
    if (step->op == OP_MREMAP && kernel.result == -EFAULT &&
        layout_run(worlds->kernel.window, step->at, &run) && step->at + step->len <= run.end)
        return true; /* "one-mapping" */
    world_do(&worlds->ours, &bent, &ours);
    if (step->op != bent.op) /* a mistake that is to be found later */
        ours = kernel;
    if (worlds->setting.is_tight && (step->op == OP_STORE || step->op == OP_COPY_IN)) {
        world_clear_tails(&worlds->kernel); /* the page may be evicted at any time */
        world_clear_tails(&worlds->ours);
    }
    return compare_outcomes(worlds, step, &kernel, &ours, finding) &&
           compare_elsewhere(worlds, step, &kernel, &ours, finding) &&
           compare_unlocked(worlds, step, &kernel, finding);
}

/* The child tells that it is there by its place on the board. */
static void be_child(struct actor *actor, uint32_t place, uint32_t step)
{
    struct board *board = actor->play->board;

    actor->me = place;
    actor->is_child = true;
    if (muse_last_error_text()[0] != '\0') {
        difference_of(&board->finding, FOUND_FORK, "the child: %s", muse_last_error_text());
        stop_here(actor, step);
    }
    atomic_store(&board->pid[place], getpid());
    (void)syscall(SYS_futex, &board->pid[place], FUTEX_WAKE, 1, NULL, NULL, 0);
    act(actor);
}

static bool fork_to(struct actor *actor, const struct step *step, uint32_t index,
                    struct finding *finding)
{
    struct board *board = actor->play->board;
    const uint32_t place = (uint32_t)step->to;
    pid_t pid;

    if (atomic_load(&board->pid[place]) != 0)
        return true;
    pid = fork();
    if (pid < 0)
        return difference_of(finding, FOUND_FORK, "fork: %s", strerror(errno));
    if (pid == 0)
        be_child(actor, place, index);
    while (atomic_load(&board->pid[place]) ==
           0) /* a child that dies leaves this one waiting: hung */
        (void)syscall(SYS_futex, &board->pid[place], FUTEX_WAIT, 0, NULL, NULL, 0);
    return true;
}

static bool do_step(struct actor *actor, uint32_t index, struct finding *finding)
{
    const struct step *step = &actor->play->script->steps[index];
    const struct worlds *worlds = &actor->worlds;
    const struct rig *rig = &actor->play->board->rig;

    switch (step->op) {
    case OP_FORK:
        return fork_to(actor, step, index, finding);
    case OP_EXIT:
        world_clear_tails(&actor->worlds.kernel); /* objects that nobody has open are forgotten */
        world_clear_tails(&actor->worlds.ours);
        atomic_store(&actor->play->board->pid[actor->me], 0);
        pass_on(actor->play, index + 1);
        _exit(0);
    case OP_BYTES:
        return compare_bytes(worlds, step->at, step->len, finding);
    case OP_FILES:
        return compare_files(worlds, finding);
    case OP_WRITTEN:
        return compare_written(worlds, rig->data, finding);
    case OP_LAYOUT:
        return compare_layout(worlds, finding);
    case OP_MAPS:
        return compare_maps(worlds, rig, finding);
    default: /* calls and accesses */
        return call_both(actor, step, finding);
    }
}

/* Everything is compared once more, then nothing may be left. */
static _Noreturn void finish(struct actor *actor)
{
    struct board *board = actor->play->board;
    const uint32_t n_steps = (uint32_t)actor->play->script->n_steps;
    struct finding *finding = &board->finding;

    if (!compare_bytes(&actor->worlds, 0, WINDOW_BYTES, finding) ||
        !compare_layout(&actor->worlds, finding) || !compare_files(&actor->worlds, finding) ||
        !compare_written(&actor->worlds, board->rig.data, finding))
        stop_here(actor, n_steps);
    worlds_close(&actor->worlds);
    plain_close(&actor->plain);
    atomic_store(&board->pid[actor->me], 0);
    turn_give(board, STAGE_MANAGER, n_steps + 1);
    _exit(0);
}

static _Noreturn void act(struct actor *actor)
{
    struct board *board = actor->play->board;
    uint32_t whose = actor->me, step;

    for (;;) {
        const uint32_t turn = turn_wait(board, actor->me, NULL);

        if (turn == FINISH)
            finish(actor);
        step = turn - 1;
        do {
            atomic_store(&board->step, step);
            (void)atomic_fetch_add(&board->beat, 1);
            if (!do_step(actor, step, &board->finding))
                stop_here(actor, step);
            step = next_step(actor->play, step + 1, &whose);
        } while (whose == actor->me);
        turn_give(board, whose, step + 1);
    }
}

/* ---- the stage manager ---- */

struct manager {
    const struct play *play;
    struct plain plain;
    uint32_t beat;     /* the last one that was seen */
    uint64_t since_ms; /* when */
};

static uint64_t now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void start_actor(const struct manager *manager, uint32_t place)
{
    const struct play *play = manager->play;
    struct actor actor = {.play = play, .plain = manager->plain, .me = place};
    const pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        (void)signal(SIGCHLD, SIG_IGN); /* nobody waits for an actor's children */
        worlds_open(&actor.worlds, &actor.plain, &play->script->setting);
        (void)atomic_fetch_add(&play->board->beat, 1);
        act(&actor);
    }
    atomic_store(&play->board->pid[place], pid);
}

static bool found(const struct manager *manager, enum finding_kind kind, const char *text,
                  int number)
{
    struct board *board = manager->play->board;

    if (board->finding.kind == FOUND_NOTHING) {
        difference_of(&board->finding, kind, "%s %d", text, number);
        board->finding.step = atomic_load(&board->step);
    }
    return false;
}

/* Own children: the server, and actors that connected. */
static bool reap(const struct manager *manager)
{
    struct board *board = manager->play->board;
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == board->rig.server)
            return found(manager, FOUND_DEAD, "the server ended with status", status);
        for (unsigned i = 0; i < ACTORS_MAX; i++) {
            if (atomic_load(&board->pid[i]) == pid)
                return found(manager, FOUND_DEAD, "an actor ended with status", status);
        }
    }
    return true;
}

static bool look_around(struct manager *manager)
{
    struct board *board = manager->play->board;
    const uint32_t beat = atomic_load(&board->beat);
    const uint64_t now = now_ms();

    if (beat != manager->beat) {
        manager->beat = beat;
        manager->since_ms = now;
    }
    if (!reap(manager))
        return false;
    for (unsigned i = 0; i < ACTORS_MAX; i++) { /* children of actors are nobody's */
        const int pid = atomic_load(&board->pid[i]);

        if (pid != 0 && kill(pid, 0) < 0 && atomic_load(&board->pid[i]) == pid)
            return found(manager, FOUND_DEAD, "an actor died, number", (int)i);
    }
    if (now - manager->since_ms > manager->play->deadline_ms)
        return found(manager, FOUND_HUNG,
                     "nothing happens any more, ms:", (int)manager->play->deadline_ms);
    return true;
}

/* Return: the turn; 0 when there is a difference on the board. */
static uint32_t manager_wait(struct manager *manager)
{
    const struct timespec limit = {.tv_nsec = LOOK_NS};
    struct board *board = manager->play->board;

    for (;;) {
        const uint32_t turn = turn_wait(board, STAGE_MANAGER, &limit);

        if (board->finding.kind != FOUND_NOTHING || !look_around(manager))
            return 0;
        if (turn != 0)
            return turn;
    }
}

static bool play_steps(struct manager *manager)
{
    const struct script *script = manager->play->script;
    uint32_t turn;

    manager->since_ms = now_ms(); /* that a server takes long to start is not a step's fault */
    start_actor(manager, 0);
    pass_on(manager->play, 0);
    while ((turn = manager_wait(manager)) != 0 && turn <= script->n_steps) {
        start_actor(manager, (uint32_t)script->steps[turn - 1].actor);
        pass_on(manager->play, turn);
    }
    return turn != 0;
}

static bool finish_actors(struct manager *manager)
{
    struct board *board = manager->play->board;

    for (uint32_t i = 0; i < ACTORS_MAX; i++) {
        if (atomic_load(&board->pid[i]) == 0)
            continue;
        (void)atomic_fetch_add(&board->beat, 1);
        turn_give(board, i, FINISH);
        if (manager_wait(manager) == 0)
            return false;
    }
    return true;
}

void play(const struct play *play)
{
    const struct setting *setting = &play->script->setting;
    struct manager manager = {.play = play};
    struct rig rig; /* not the board's: a fork writes its result there, in both processes */

    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    rig_start(&rig, setting->is_tight ? tight : NULL, setting->fills ? filled : extents);
    for (unsigned i = 0; i < FILES; i++)
        rig_file(&rig, world_file_name(i), world_file_bytes(i));
    play->board->rig = rig;
    plain_make(&manager.plain);
    if (!play_steps(&manager) || !finish_actors(&manager))
        return;
    plain_close(&manager.plain);
    (void)atomic_fetch_add(&play->board->beat, 1);
    rig_stop(&rig);
    play->board->rig.dir[0] = '\0';
}
