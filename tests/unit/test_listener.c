/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of server/session/listener.h on a real loop, with sockets in a fresh folder: who connects,
 * whose name may be taken over, who may connect at all.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <check.h>

#include "common/base/own.h"
#include "server/loop/loop.h"
#include "server/session/listener.h"
#include "tests/support/pump.h"
#include "tests/support/unit.h"

#define N_MANY (3 * LISTENER_ACCEPTS_PER_TURN)

static struct pump pump;
static char dir[] = "/tmp/test-listener-XXXXXX";
static struct sockaddr_un address;
static struct listener listener;

static struct {
    unsigned n_accepted, n_closed, n_this_turn, n_most_in_turn;
    bool keep;
    int kept[N_MANY];
} seen;

static void on_accepted(struct listener *which, int *fd)
{
    ck_assert_ptr_eq(which, &listener);
    ck_assert(fd_is_cloexec(*fd));
    ck_assert(fcntl(*fd, F_GETFL) & O_NONBLOCK);
    if (seen.keep)
        seen.kept[seen.n_accepted] = fd_take(fd);
    seen.n_accepted++;
    seen.n_this_turn++;
    if (seen.n_this_turn > seen.n_most_in_turn)
        seen.n_most_in_turn = seen.n_this_turn;
}

static void on_closed(struct listener *which)
{
    ck_assert_ptr_eq(which, &listener);
    seen.n_closed++;
}

static void on_turn(struct turn_hook *hook)
{
    (void)hook;
    seen.n_this_turn = 0;
}

static struct turn_hook turn = {.fn = on_turn};

static void setup(void)
{
    memcpy(dir + strlen(dir) - 6, "XXXXXX", 6);
    ck_assert_ptr_nonnull(mkdtemp(dir));
    address = (struct sockaddr_un){.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/sock", dir);
    pump_init(&pump);
    memset(&seen, 0, sizeof(seen));
    listener = (struct listener){.fd = -1, .accepted = on_accepted, .closed = on_closed};
    list_init(&turn.node);
    turn_hook_add(&pump.loop, &turn);
}

static void teardown(void)
{
    turn_hook_remove(&turn);
    pump_done(&pump);
    (void)unlink(address.sun_path);
    ck_assert_int_eq(rmdir(dir), 0); /* nothing else was left there */
}

static int open_it(mode_t mode)
{
    return listener_open(&listener, &pump.loop, address.sun_path, mode);
}

static void close_it(void)
{
    listener_close(&listener);
    ck_assert_uint_eq(seen.n_closed, 0); /* later */
    PUMP_UNTIL(&pump, seen.n_closed > 0);
    ck_assert_uint_eq(seen.n_closed, 1);
    ck_assert_int_eq(listener.fd, -1);
}

static bool is_there(void)
{
    struct stat st;

    return lstat(address.sun_path, &st) == 0;
}

/* A client that has connected, or is waiting to be accepted. Return: its fd, or -1 with errno. */
static int connect_to_it(void)
{
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    ck_assert_int_ge(fd, 0);
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
        fd_close_p(&fd);
    return fd;
}

/* Somebody else's socket of that name. */
static int bind_other(int type, int backlog)
{
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    if (backlog >= 0)
        ck_assert_int_eq(listen(fd, backlog), 0);
    return fd;
}

START_TEST(who_connects_is_handed_over)
{
    int client;

    seen.keep = true;
    ck_assert_int_eq(open_it(0600), 0);
    client = connect_to_it();
    ck_assert_int_ge(client, 0);
    PUMP_UNTIL(&pump, seen.n_accepted == 1);
    ck_assert_int_eq(write(client, "x", 1), 1);
    ck_assert_int_eq(write(seen.kept[0], "y", 1), 1);
    fd_close_p(&client);
    fd_close_p(&seen.kept[0]);
    close_it();
}
END_TEST

START_TEST(a_connection_nobody_keeps_is_closed)
{
    char byte;
    int client;

    ck_assert_int_eq(open_it(0600), 0);
    client = connect_to_it();
    ck_assert_int_ge(client, 0);
    PUMP_UNTIL(&pump, seen.n_accepted == 1);
    ck_assert_int_eq(read(client, &byte, 1), 0);
    fd_close_p(&client);
    close_it();
}
END_TEST

START_TEST(a_storm_is_accepted_in_portions)
{
    int clients[N_MANY];

    seen.keep = true;
    ck_assert_int_eq(open_it(0600), 0);
    for (unsigned i = 0; i < N_MANY; i++) {
        clients[i] = connect_to_it();
        ck_assert_int_ge(clients[i], 0);
    }
    PUMP_UNTIL(&pump, seen.n_accepted == N_MANY);
    ck_assert_uint_le(seen.n_most_in_turn, LISTENER_ACCEPTS_PER_TURN);
    for (unsigned i = 0; i < N_MANY; i++) {
        fd_close_p(&clients[i]);
        fd_close_p(&seen.kept[i]);
    }
    close_it();
}
END_TEST

START_TEST(the_mode_is_what_was_asked_whatever_the_umask)
{
    static const mode_t modes[] = {0600, 0660, 0666, 0777, 0};
    static const mode_t umasks[] = {0, 022, 077, 0777};

    for (size_t i = 0; i < N_ELEMENTS(modes); i++) {
        for (size_t k = 0; k < N_ELEMENTS(umasks); k++) {
            const mode_t before = umask(umasks[k]);
            struct stat st;

            ck_assert_int_eq(open_it(modes[i]), 0);
            (void)umask(before);
            ck_assert_int_eq(lstat(address.sun_path, &st), 0);
            ck_assert(S_ISSOCK(st.st_mode));
            ck_assert_uint_eq(st.st_mode & 07777, modes[i]);
            close_it();
            seen.n_closed = 0;
        }
    }
}
END_TEST

START_TEST(closing_takes_the_name_away)
{
    ck_assert_int_eq(open_it(0600), 0);
    ck_assert(is_there());
    listener_close(&listener);
    ck_assert(!is_there());
    PUMP_UNTIL(&pump, seen.n_closed > 0);
    ck_assert_int_eq(connect_to_it(), -1);
}
END_TEST

START_TEST(the_name_of_a_dead_server_is_taken_over)
{
    int other = bind_other(SOCK_SEQPACKET, 5);
    int client;

    fd_close_p(&other); /* it died without unlinking */
    ck_assert(is_there());
    ck_assert_int_eq(open_it(0600), 0);
    client = connect_to_it();
    ck_assert_int_ge(client, 0);
    PUMP_UNTIL(&pump, seen.n_accepted == 1);
    fd_close_p(&client);
    close_it();
}
END_TEST

START_TEST(a_living_server_keeps_its_name)
{
    int other = bind_other(SOCK_SEQPACKET, 5);
    int client;

    ck_assert_int_eq(open_it(0600), -EADDRINUSE);
    client = connect_to_it();
    ck_assert_int_ge(client, 0); /* still the other one's */
    fd_close_p(&client);
    fd_close_p(&other);
}
END_TEST

START_TEST(a_living_server_with_a_full_backlog_keeps_its_name_and_nobody_waits)
{
    int other = bind_other(SOCK_SEQPACKET, 0);
    int clients[16];
    unsigned n = 0;

    while (n < N_ELEMENTS(clients) && (clients[n] = connect_to_it()) >= 0)
        n++;
    ck_assert_uint_lt(n, N_ELEMENTS(clients)); /* full */
    ck_assert_int_eq(open_it(0600), -EADDRINUSE);
    ck_assert(is_there());
    while (n > 0)
        fd_close_p(&clients[--n]);
    fd_close_p(&other);
}
END_TEST

START_TEST(a_living_socket_of_another_type_keeps_its_name)
{
    int other = bind_other(SOCK_STREAM, 5);

    ck_assert_int_eq(open_it(0600), -EADDRINUSE);
    ck_assert(is_there());
    fd_close_p(&other);
    ck_assert_int_eq(open_it(0600), 0); /* dead now */
    close_it();
}
END_TEST

START_TEST(what_is_no_socket_is_left_alone)
{
    int fd = open(address.sun_path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

    ck_assert_int_eq(write(fd, "precious", 8), 8);
    fd_close_p(&fd);
    ck_assert_int_eq(open_it(0600), -EADDRINUSE);
    ck_assert(is_there());
    ck_assert_int_eq(unlink(address.sun_path), 0);
    ck_assert_int_eq(symlink("/nonexistent/elsewhere", address.sun_path), 0);
    ck_assert_int_eq(open_it(0600), -EADDRINUSE);
    ck_assert(is_there());
}
END_TEST

START_TEST(a_name_that_cannot_be_made_is_an_error_and_leaves_nothing)
{
    char path[200];

    memset(path, 'x', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    memcpy(path, "/tmp/", 5);
    ck_assert_int_eq(listener_open(&listener, &pump.loop, path, 0600), -ENAMETOOLONG);
    ck_assert_ptr_null(listener.path);
    ck_assert_int_eq(listener_open(&listener, &pump.loop, "/tmp/no-such-folder/s", 0600), -ENOENT);
    ck_assert_ptr_null(listener.path);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("listener");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, who_connects_is_handed_over);
    tcase_add_test(tcase, a_connection_nobody_keeps_is_closed);
    tcase_add_test(tcase, a_storm_is_accepted_in_portions);
    tcase_add_test(tcase, the_mode_is_what_was_asked_whatever_the_umask);
    tcase_add_test(tcase, closing_takes_the_name_away);
    tcase_add_test(tcase, the_name_of_a_dead_server_is_taken_over);
    tcase_add_test(tcase, a_living_server_keeps_its_name);
    tcase_add_test(tcase, a_living_server_with_a_full_backlog_keeps_its_name_and_nobody_waits);
    tcase_add_test(tcase, a_living_socket_of_another_type_keeps_its_name);
    tcase_add_test(tcase, what_is_no_socket_is_left_alone);
    tcase_add_test(tcase, a_name_that_cannot_be_made_is_an_error_and_leaves_nothing);
    return unit_run("listener", tcase);
}
