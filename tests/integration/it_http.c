/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * muse-http with a real server, a real nginx on loopback and this process as the client: ranges, names,
 * what the web server refuses, objects that change while they are mapped, and its death.
 */
#include <errno.h>
#include <fcntl.h>
#include <muse/muse.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <check.h>

#include "common/base/own.h"
#include "tests/support/client.h"
#include "tests/support/daemon.h"
#include "tests/support/unit.h"

#define N_PAGES    1024u
#define DATA_BYTES (N_PAGES * PAGE)

/* Folders of the server are ways to behave; "broken" beside the document root makes 503 of everything. */
static const char config_format[] =
    "daemon off; master_process off; pid %s/pid; error_log %s/error.log; %s\n"
    "events {}\n"
    "http {\n"
    "  log_format muse '$connection $status $http_range if-range=$http_if_range';\n"
    "  access_log %s/access.log muse;\n"
    "  client_body_temp_path %s/t1; proxy_temp_path %s/t2; fastcgi_temp_path %s/t3;\n"
    "  uwsgi_temp_path %s/t4; scgi_temp_path %s/t5;\n"
    "  server {\n"
    "    listen 127.0.0.1:%u;\n"
    "    root %s/www;\n"
    "    if (-f %s/broken) { return 503; }\n"
    "    location /plain/ { alias %s/www/; max_ranges 0; }\n"
    "    location /dated/ { alias %s/www/; etag off; }\n"
    "    location /unmarked/ { alias %s/www/; etag off; add_header Last-Modified ''; }\n"
    "    location /encoded/ { alias %s/www/; add_header Content-Encoding gzip; }\n"
    "    location /slow/ { alias %s/www/; limit_rate 8m; }\n"
    "    location /moved/ { rewrite ^/moved/(.*) /$1 redirect; }\n"
    "    location /loop/ { rewrite ^ /loop/ redirect; }\n"
    "    location /401 { return 401; }\n"
    "    location /403 { return 403; }\n"
    "    location /410 { return 410; }\n"
    "    location /418 { return 418; }\n"
    "  }\n"
    "}\n";

static struct rig rig;
static struct daemon nginx;
static struct muse *muse;
static unsigned port;

static void nginx_start(void)
{
    daemon_start(&nginx, "/usr/sbin/nginx -c %s/nginx.conf -e %s/error.log", nginx.dir, nginx.dir);
}

static void set_up(void)
{
    const char *d;
    FILE *config;

    daemon_init(&nginx);
    d = nginx.dir;
    port = daemon_free_port();
    config = fopen(daemon_path(&nginx, "nginx.conf"), "we");
    ck_assert_ptr_nonnull(config);
    (void)fprintf(config, config_format, d, d, geteuid() == 0 ? "user root;" : "", d, d, d, d, d, d,
                  port, d, d, d, d, d, d, d);
    ck_assert_int_eq(fclose(config), 0);
    ck_assert_int_eq(mkdir(daemon_path(&nginx, "www"), 0755), 0);
    daemon_file(&nginx, "www/data", DATA_BYTES);
    nginx_start();
}

static void tear_down(void)
{
    daemon_done(&nginx);
}

/* @url: below the server's root. */
static void begin(const char *url, const char *options)
{
    static char driver[256];
    static const char *const drivers[] = {driver, NULL};

    (void)snprintf(driver, sizeof(driver), "muse-http %s http://127.0.0.1:%u/%s", options, port,
                   url);
    rig_start(&rig, NULL, drivers);
    rig.skip_driver_fds = true; /* connections are kept, to be used again */
    muse = client_connect();
}

static void end(void)
{
    muse_disconnect(muse);
    rig_stop(&rig);
}

static unsigned char *map_data(const char *name)
{
    void *mapped = client_map(muse, name, O_RDONLY, DATA_BYTES, PROT_READ, MAP_SHARED);

    ck_assert_msg(mapped != MAP_FAILED, "%s: %s", name, muse_last_error_text());
    return mapped;
}

static void expect_refused(const char *name, int oflags, int error, const char *text)
{
    struct muse_file *file;

    ck_assert_msg(muse_open(muse, name, oflags, &file) == -1, "%s was opened", name);
    ck_assert_msg(errno == error && strstr(muse_last_error_text(), text), "%s: %s: %s", name,
                  strerror(errno), muse_last_error_text());
}

static void expect_error(const void *at, int error, const char *text)
{
    struct muse_error why;

    ck_assert_int_eq(rig_signal_of(at), SIGBUS);
    ck_assert_int_eq(muse_error_at(muse, at, &why), 0);
    ck_assert_msg(why.error == error && strstr(why.text, text), "%s: %s", strerror(why.error),
                  why.text);
    ck_assert_str_eq(why.driver, "http");
}

static void touch_file(const char *name)
{
    const int fd = open(daemon_path(&nginx, name), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

    ck_assert_int_ge(fd, 0);
    (void)close(fd);
}

/* ---- reading ---- */

START_TEST(what_the_server_has_is_read_in_ranges)
{
    struct muse_file *file;
    unsigned char *data;
    struct stat st;
    uint64_t seed;

    begin("", "");
    file = client_open(muse, "http/data", O_RDONLY);
    ck_assert_int_eq(muse_fstat(file, &st), 0);
    ck_assert_int_eq(st.st_size, DATA_BYTES);
    ck_assert_int_eq(st.st_mode, S_IFREG | 0444);
    ck_assert_int_gt(st.st_mtim.tv_sec, 0);
    ck_assert_int_eq(muse_close(file), 0);
    data = map_data("http/data");
    seed = unit_seed();
    for (unsigned i = 0; i < 32; i++) {
        const uint64_t page = unit_random(&seed) % N_PAGES;

        ck_assert(file_is(data + page * PAGE, page * PAGE, PAGE));
    }
    ck_assert(file_is(data, 0, DATA_BYTES));
    end();
}
END_TEST

/* Of the access log. */
struct requests {
    unsigned n, n_connections;
    unsigned long connections[64];
};

static void count_request(struct requests *requests, unsigned long connection)
{
    unsigned i = 0;

    while (i < requests->n_connections && requests->connections[i] != connection)
        i++;
    if (i == requests->n_connections) {
        ck_assert_uint_lt(i, N_ELEMENTS(requests->connections));
        requests->connections[requests->n_connections++] = connection;
    }
    requests->n++;
}

START_TEST(connections_are_used_again_and_every_range_names_the_version)
{
    struct requests requests = {0};
    unsigned n_named = 0;
    unsigned char *data;
    char line[256];
    FILE *log;

    begin("slow/", "");
    data = map_data("http/data");
    ck_assert_int_eq(muse_madvise(muse, data, DATA_BYTES, MADV_SEQUENTIAL), 0);
    ck_assert(file_is(data, 0, DATA_BYTES));
    end();
    daemon_kill(&nginx, SIGTERM); /* the log is written now */
    log = fopen(daemon_path(&nginx, "access.log"), "re");
    ck_assert_ptr_nonnull(log);
    while (fgets(line, sizeof(line), log)) {
        if (strstr(line, " 404 ")) /* the rig asks every driver for counters */
            continue;
        count_request(&requests, strtoul(line, NULL, 10));
        ck_assert_msg(strstr(line, " 206 bytes="), "%s", line);
        n_named += strstr(line, "if-range=\\x22") != NULL;
    }
    (void)fclose(log);
    ck_assert_uint_ge(requests.n, 8);
    ck_assert_uint_eq(n_named, requests.n - 1); /* all but the first look */
    ck_assert_uint_ge(requests.n_connections, 2);
    ck_assert_uint_le(requests.n_connections, 8);
}
END_TEST

START_TEST(any_size_is_read_to_its_end_and_zeros_follow)
{
    static const size_t sizes[] = {1, PAGE - 1, PAGE, PAGE + 1, 5 * PAGE + 123};
    const size_t n_bytes = sizes[_i];
    const size_t n_pages = (n_bytes + PAGE - 1) / PAGE;
    unsigned char *data;

    daemon_file(&nginx, "www/small", n_bytes);
    begin("", "");
    data = client_map_ro(muse, "http/small", n_pages);
    ck_assert(file_is(data, 0, n_bytes));
    for (size_t i = n_bytes; i < n_pages * PAGE; i++)
        ck_assert_uint_eq(data[i], 0);
    end();
}
END_TEST

START_TEST(an_object_without_bytes_can_be_opened)
{
    struct muse_file *file;
    struct stat st;

    touch_file("www/empty");
    begin("", "");
    file = client_open(muse, "http/empty", O_RDONLY);
    ck_assert_int_eq(muse_fstat(file, &st), 0);
    ck_assert_int_eq(st.st_size, 0);
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

START_TEST(a_private_write_stays_private_and_a_shared_one_is_refused)
{
    unsigned char *mine, *others;

    begin("", "");
    mine = client_map(muse, "http/data", O_RDONLY, DATA_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    others = map_data("http/data");
    mine[5] ^= 0xff;
    ck_assert_uint_eq(others[5], rig_byte(5));
    ck_assert_uint_eq(mine[6], rig_byte(6));
    ck_assert_ptr_eq(
        client_map(muse, "http/data", O_RDONLY, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED),
        MAP_FAILED);
    ck_assert_int_eq(errno, EACCES);
    end();
}
END_TEST

START_TEST(opens_of_an_unchanged_object_share_its_pages)
{
    json_t *objects;

    begin("", "");
    ck_assert(file_is(map_data("http/data"), 0, PAGE));
    ck_assert(file_is(map_data("http/data"), 0, PAGE));
    objects = rig_ctl(&rig, "objects");
    ck_assert_uint_eq(json_array_size(json_entries(objects)), 1);
    json_decref(objects);
    end();
}
END_TEST

/* ---- names ---- */

START_TEST(names_may_hold_what_means_something_in_a_url)
{
    static const char *const names[] = {"a b",   "50%",      "what?",  "a#b", "%2e%2e",
                                        "a+b&c", "\xc3\xa4", "dir/in", "...", "tab\there"};
    char path[64], object[64];

    ck_assert_int_eq(mkdir(daemon_path(&nginx, "www/dir"), 0755), 0);
    begin("", "");
    for (size_t i = 0; i < N_ELEMENTS(names); i++) {
        (void)snprintf(path, sizeof(path), "www/%s", names[i]);
        daemon_file(&nginx, path, PAGE);
        (void)snprintf(object, sizeof(object), "http/%s", names[i]);
        ck_assert_msg(file_is(client_map_ro(muse, object, 1), 0, PAGE), "%s", names[i]);
    }
    end();
}
END_TEST

START_TEST(opening_says_what_is_wrong)
{
    static const struct {
        const char *name;
        int oflags;
        int error;
        const char *text;
    } cases[] = {
        {"http/", O_RDONLY, EISDIR, ""},
        {"http/nothing", O_RDONLY, ENOENT, "nothing: the server answers with status 404"},
        {"http/410", O_RDONLY, ENOENT, "410"},
        {"http/401", O_RDONLY, EACCES, "401"},
        {"http/403", O_RDONLY, EACCES, "403"},
        {"http/418", O_RDONLY, EIO, "418"},
        {"http/../data", O_RDONLY, ENOENT, "\"..\""},
        {"http/./data", O_RDONLY, ENOENT, "\".\""},
        {"http//data", O_RDONLY, ENOENT, "empty"},
        {"http/data/..", O_RDONLY, ENOENT, "\"..\""},
        {"http/data", O_RDWR, EROFS, "read-only"},
        {"http/new", O_RDONLY | O_CREAT, EROFS, "read-only"},
        {"http/plain/data", O_RDONLY, EOPNOTSUPP, "does not serve ranges"},
        {"http/unmarked/data", O_RDONLY, EOPNOTSUPP, "neither ETag nor Last-Modified"},
        {"http/encoded/data", O_RDONLY, EOPNOTSUPP, "Content-Encoding"},
        {"http/loop/x", O_RDONLY, EIO, "redirects"},
    };

    begin("", "--timeout 2");
    for (size_t i = 0; i < N_ELEMENTS(cases); i++)
        expect_refused(cases[i].name, cases[i].oflags, cases[i].error, cases[i].text);
    end();
}
END_TEST

START_TEST(a_name_that_is_too_long_is_refused)
{
    char name[4000] = "http/";

    memset(name + 5, '%', sizeof(name) - 6);
    name[sizeof(name) - 1] = '\0';
    begin("", "");
    expect_refused(name, O_RDONLY, ENAMETOOLONG, "too long");
    end();
}
END_TEST

START_TEST(a_redirect_is_followed)
{
    begin("moved/", "");
    ck_assert(file_is(map_data("http/data"), 0, DATA_BYTES));
    end();
}
END_TEST

START_TEST(a_url_without_a_slash_at_its_end_is_one_object)
{
    begin("data?version=1", "");
    ck_assert(file_is(map_data("http/data"), 0, DATA_BYTES));
    expect_refused("http/other", O_RDONLY, ENOENT, "the only object is called data");
    end();
}
END_TEST

START_TEST(a_driver_that_cannot_start_says_why)
{
    static const struct {
        const char *arguments;
        const char *text;
    } cases[] = {
        {"", "no URL"},
        {"http://a/ http://b/", "one URL only"},
        {"file:///etc/passwd", "not http://"},
        {"http://", "not http://"},
        {"http://host", "no path"},
        {"'http://host/?a/'", "query"},
        {"--timeout 0 http://a/", "--timeout=0"},
        {"--timeout x http://a/", "--timeout=x"},
    };
    char command[512], program[256], text[1024];

    build_program("muse-http", program, sizeof(program));
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        FILE *pipe;
        size_t n;

        (void)snprintf(command, sizeof(command), "%s %s 2>&1", program, cases[i].arguments);
        pipe = popen(command, "re"); /* NOLINT(cert-env33-c): a test's own words */
        ck_assert_ptr_nonnull(pipe);
        n = fread(text, 1, sizeof(text) - 1, pipe);
        text[n] = '\0';
        ck_assert_int_eq(WEXITSTATUS(pclose(pipe)), 2);
        ck_assert_msg(strstr(text, cases[i].text) != NULL, "%s: %s", cases[i].arguments, text);
    }
}
END_TEST

/* ---- objects that change ---- */

/* Another file takes the place of "data", at once. Its bytes are all 'n'. */
static void replace_data(size_t n_bytes)
{
    const struct timespec times[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    char from[128], to[128];
    FILE *file;

    (void)snprintf(from, sizeof(from), "%s/www/new", nginx.dir);
    (void)snprintf(to, sizeof(to), "%s/www/data", nginx.dir);
    file = fopen(from, "we");
    ck_assert_ptr_nonnull(file);
    for (size_t i = 0; i < n_bytes; i++)
        (void)putc_unlocked('n', file);
    ck_assert_int_eq(fclose(file), 0);
    ck_assert_int_eq(utimensat(AT_FDCWD, from, times, 0), 0); /* ETags of nginx are that coarse */
    ck_assert_int_eq(rename(from, to), 0);
}

START_TEST(an_object_that_changes_is_an_error_and_never_a_mix)
{
    static const struct {
        const char *url;
        size_t n_bytes;
    } cases[] = {{"", DATA_BYTES}, {"", DATA_BYTES - PAGE}, {"", 10}, {"dated/", DATA_BYTES}};
    unsigned char *data;

    begin(cases[_i].url, "");
    data = map_data("http/data");
    ck_assert(file_is(data, 0, PAGE));
    replace_data(cases[_i].n_bytes);
    expect_error(data + 700 * PAGE, ESTALE, "data: it has changed on the server");
    for (size_t page = 0; page < N_PAGES; page++) {
        if (rig_signal_of(data + page * PAGE) == 0)
            ck_assert(file_is(data + page * PAGE, page * PAGE, PAGE));
    }
    end();
}
END_TEST

START_TEST(who_opens_a_changed_object_sees_the_new_one)
{
    unsigned char *old, *new;

    begin("", "");
    old = map_data("http/data");
    ck_assert(file_is(old, 0, PAGE));
    replace_data(DATA_BYTES);
    new = map_data("http/data");
    ck_assert_uint_eq(new[0], 'n');
    ck_assert_uint_eq(new[DATA_BYTES - 1], 'n');
    ck_assert(file_is(old, 0, PAGE));
    expect_error(old + 700 * PAGE, ESTALE, "changed");
    end();
}
END_TEST

START_TEST(an_object_that_is_gone_or_not_served_any_more_is_an_error)
{
    unsigned char *data;

    begin("", "");
    data = map_data("http/data");
    ck_assert_int_eq(unlink(daemon_path(&nginx, "www/data")), 0);
    expect_error(data + 700 * PAGE, ESTALE, "it is gone from the server: status 404");
    end();
}
END_TEST

/* ---- the server fails ---- */

struct reader {
    pthread_t thread;
    const void *addr;
    struct probe probe;
};

static void *read_one(void *arg)
{
    struct reader *reader = arg;

    reader->probe = probe_read(reader->addr);
    return NULL;
}

static bool is_waiting(const struct rig *of, void *what)
{
    return rig_blocked(of, what, NULL, NULL);
}

static void begin_reading(struct reader *reader, const void *addr)
{
    reader->addr = addr;
    ck_assert_int_eq(pthread_create(&reader->thread, NULL, read_one, reader), 0);
    rig_wait(is_waiting, &rig, (char[]){"fault"}, "the fault to wait");
}

static void expect_read(struct reader *reader, unsigned char byte)
{
    ck_assert_int_eq(pthread_join(reader->thread, NULL), 0);
    ck_assert_int_eq(reader->probe.signal, 0);
    ck_assert_uint_eq(reader->probe.byte, byte);
}

START_TEST(a_fault_waits_for_the_server_to_come_back)
{
    struct reader reader;
    unsigned char *data;

    begin("", "");
    data = map_data("http/data");
    daemon_kill(&nginx, SIGKILL);
    begin_reading(&reader, data + 700 * PAGE);
    nginx_start();
    expect_read(&reader, rig_byte(700 * PAGE));
    ck_assert(file_is(data, 0, DATA_BYTES));
    end();
}
END_TEST

START_TEST(a_fault_waits_while_the_server_answers_with_503)
{
    struct reader reader;
    unsigned char *data;

    begin("", "");
    data = map_data("http/data");
    touch_file("broken");
    begin_reading(&reader, data + 700 * PAGE);
    ck_assert_int_eq(unlink(daemon_path(&nginx, "broken")), 0);
    expect_read(&reader, rig_byte(700 * PAGE));
    ck_assert(file_is(data, 0, DATA_BYTES));
    end();
}
END_TEST

START_TEST(a_server_that_stays_broken_fails_faults_and_opens)
{
    unsigned char *data;

    begin("", "--timeout 1");
    data = map_data("http/data");
    touch_file("broken");
    expect_error(data, EIO,
                 "data: no answer of the server for 1 s: the server answers with status 503");
    expect_refused("http/data", O_RDONLY, EIO, "status 503");
    end();
}
END_TEST

START_TEST(a_server_that_stays_away_fails_faults_and_opens)
{
    unsigned char *data;

    begin("", "--timeout 1");
    data = map_data("http/data");
    daemon_kill(&nginx, SIGKILL);
    expect_error(data, EIO, "no answer of the server for 1 s: Failed to connect");
    expect_refused("http/data", O_RDONLY, EIO, "Failed to connect");
    end();
}
END_TEST

START_TEST(a_server_that_hangs_fails_the_fault)
{
    unsigned char *data;

    begin("", "--timeout 1");
    data = map_data("http/data");
    rig_stop_process(&rig, nginx.pid);
    expect_error(data, EIO, "data: no answer of the server for 1 s");
    ck_assert_int_eq(kill(nginx.pid, SIGCONT), 0);
    ck_assert(file_is(map_data("http/data"), 0, DATA_BYTES)); /* another mapping asks again */
    end();
}
END_TEST

/* A client that is killed while its open and its fault wait leaves nothing behind: the rig counts. */
static void open_for_ever(void *ctx)
{
    struct muse_file *file;

    (void)ctx;
    muse = client_connect();
    (void)muse_open(muse, "http/data", O_RDONLY, &file);
}

START_TEST(a_client_that_is_killed_while_it_waits_leaves_nothing)
{
    pid_t pid;

    begin("", "--timeout 1");
    touch_file("broken");
    pid = client_fork(open_for_ever, NULL);
    rig_wait(is_waiting, &rig, (char[]){"open"}, "the open to wait");
    client_kill(pid);
    ck_assert_int_eq(unlink(daemon_path(&nginx, "broken")), 0);
    end();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("http");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, what_the_server_has_is_read_in_ranges);
    tcase_add_test(tcase, connections_are_used_again_and_every_range_names_the_version);
    tcase_add_loop_test(tcase, any_size_is_read_to_its_end_and_zeros_follow, 0, 5);
    tcase_add_test(tcase, an_object_without_bytes_can_be_opened);
    tcase_add_test(tcase, a_private_write_stays_private_and_a_shared_one_is_refused);
    tcase_add_test(tcase, opens_of_an_unchanged_object_share_its_pages);
    tcase_add_test(tcase, names_may_hold_what_means_something_in_a_url);
    tcase_add_test(tcase, opening_says_what_is_wrong);
    tcase_add_test(tcase, a_name_that_is_too_long_is_refused);
    tcase_add_test(tcase, a_redirect_is_followed);
    tcase_add_test(tcase, a_url_without_a_slash_at_its_end_is_one_object);
    tcase_add_test(tcase, a_driver_that_cannot_start_says_why);
    tcase_add_loop_test(tcase, an_object_that_changes_is_an_error_and_never_a_mix, 0, 4);
    tcase_add_test(tcase, who_opens_a_changed_object_sees_the_new_one);
    tcase_add_test(tcase, an_object_that_is_gone_or_not_served_any_more_is_an_error);
    tcase_add_test(tcase, a_fault_waits_for_the_server_to_come_back);
    tcase_add_test(tcase, a_fault_waits_while_the_server_answers_with_503);
    tcase_add_test(tcase, a_server_that_stays_broken_fails_faults_and_opens);
    tcase_add_test(tcase, a_server_that_stays_away_fails_faults_and_opens);
    tcase_add_test(tcase, a_server_that_hangs_fails_the_fault);
    tcase_add_test(tcase, a_client_that_is_killed_while_it_waits_leaves_nothing);
    return unit_run("http", tcase);
}
