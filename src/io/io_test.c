/* Loops, timers, mailboxes; sockets and TLS over the loopback interface. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "base/buf.h"
#include "base/clock.h"
#include "io/dialer.h"
#include "io/pair.h"
#include "io/sock.h"

static struct loop loop;

/* Turns the loop until *done or two seconds have passed. */
static void until(const bool *done) {
    uint64_t end = clock_mono_us() + 2000000;
    while (!*done && clock_mono_us() < end)
        uv_run(&loop.uv, UV_RUN_NOWAIT);
}

/* --- timers and messages ------------------------------------------------------------------------------------------- */

struct ring {
    struct timer t;
    unsigned rung;
    uint64_t at_us;
    bool done;
};

static void on_ring(void *arg) {
    struct ring *r = arg;
    r->rung++;
    r->at_us = clock_mono_us();
    r->done = true;
}

static void timers_fire_once_never_early_and_can_be_moved(void **state) {
    (void)state;
    struct ring a = { 0 }, b = { 0 }, c = { 0 };
    assert_true(loop_init(&loop, NULL));
    uint64_t start = clock_mono_us();
    timer_set(&loop, &a.t, 30, on_ring, &a);
    timer_set(&loop, &b.t, 10000, on_ring, &b);
    timer_set(&loop, &c.t, 20, on_ring, &c);
    timer_stop(&loop, &c.t);
    timer_set(&loop, &b.t, 60, on_ring, &b);
    until(&b.done);
    assert_int_equal(a.rung, 1);
    assert_int_equal(b.rung, 1);
    assert_int_equal(c.rung, 0);
    assert_true(a.at_us - start >= 30000 && b.at_us - start >= 60000);
    assert_false(timer_is_set(&a.t));
    timer_stop(&loop, &a.t); /* harmless */
    timer_set(&loop, &a.t, 5, on_ring, &a);
    a.done = false;
    until(&a.done);
    assert_int_equal(a.rung, 2);
    loop_deinit(&loop);
}

static void on_chain(void *arg) {
    struct ring *r = arg;
    if (++r->rung < 5)
        timer_set(&loop, &r->t, 1, on_chain, r);
    else
        r->done = true;
}

static void a_timer_may_set_itself_again_and_stop_another_that_is_due(void **state) {
    (void)state;
    struct ring r = { 0 };
    assert_true(loop_init(&loop, NULL));
    timer_set(&loop, &r.t, 0, on_chain, &r);
    until(&r.done);
    assert_int_equal(r.rung, 5);
    loop_deinit(&loop);
}

static struct ring far_one;

static void on_near(void *arg) {
    timer_set(&loop, &far_one.t, 1500, on_ring, &far_one);
    on_ring(arg);
}

/* A far timer set inside a callback used to put off a near one that was waiting already. */
static void a_far_timer_set_by_a_callback_does_not_delay_a_near_one(void **state) {
    (void)state;
    struct ring a = { 0 }, b = { 0 };
    assert_true(loop_init(&loop, NULL));
    timer_set(&loop, &a.t, 20, on_near, &a);
    timer_set(&loop, &b.t, 120, on_ring, &b);
    until(&b.done);
    assert_int_equal(b.rung, 1);
    assert_int_equal(far_one.rung, 0);
    timer_stop(&loop, &far_one.t);
    loop_deinit(&loop);
}

enum { SENDERS = 4, EACH = 500 };
static unsigned delivered;
static bool all_delivered;

static void on_deliver(struct msg *m) {
    free(m);
    if (++delivered == SENDERS * EACH)
        all_delivered = true;
}

static void *sender(void *arg) {
    (void)arg;
    for (int i = 0; i < EACH; i++) {
        struct msg *m = calloc(1, sizeof *m);
        m->deliver = on_deliver;
        if (!loop_post(&loop, m))
            free(m);
    }
    return NULL;
}

static void messages_of_many_threads_all_arrive(void **state) {
    (void)state;
    pthread_t t[SENDERS];
    assert_true(loop_init(&loop, NULL));
    for (int i = 0; i < SENDERS; i++)
        pthread_create(&t[i], NULL, sender, NULL);
    until(&all_delivered);
    for (int i = 0; i < SENDERS; i++)
        pthread_join(t[i], NULL);
    assert_int_equal(delivered, SENDERS * EACH);
    loop_deinit(&loop);
}

/* --- sockets -------------------------------------------------------------------------------------------------------- */

struct side {
    struct stream *s;
    struct buf got;
    bool ended, connected, drained, paused;
    struct err fault;
    struct tls_context *tls;
};

static void side_read(void *owner, struct sv bytes) {
    struct side *x = owner;
    buf_add(&x->got, bytes);
}

static void side_end(void *owner, const struct err *e) {
    struct side *x = owner;
    x->ended = true;
    if (e)
        x->fault = *e;
}

static void side_drain(void *owner) {
    ((struct side *)owner)->drained = true;
}

static const struct stream_events side_events = { side_read, side_end, side_drain, NULL };

static void side_take(struct side *x, struct stream *s) {
    x->s = s;
    buf_init(&x->got, 64 << 20);
    stream_own(s, &side_events, x);
    stream_read(s, !x->paused);
    x->connected = true;
}

static void on_server_tls(void *arg, struct stream *s, const struct err *e) {
    struct side *x = arg;
    if (s)
        side_take(x, s);
    else
        x->fault = *e;
}

static void on_accept(void *owner, struct stream *s) {
    struct side *x = owner;
    if (!x->tls)
        side_take(x, s);
    else
        assert_non_null(tls_start(x->tls, s, SV_NULL, on_server_tls, x, NULL));
}

static const struct listener_events accept_events = { on_accept, NULL };

static void on_dialled(void *arg, struct stream *s, const struct err *e) {
    struct side *x = arg;
    x->connected = true;
    if (s)
        side_take(x, s);
    else
        x->fault = *e;
}

static struct listener *listen_here(struct side *server, uint16_t *ret_port) {
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof a;
    int fd = listen_socket((struct sockaddr *)&a, sizeof a, true, 16, NULL);
    assert_true(fd >= 0);
    getsockname(fd, (struct sockaddr *)&a, &len);
    *ret_port = ntohs(a.sin_port);
    return listener_new(&loop, fd, &accept_events, server, NULL);
}

static void bytes_cross_in_both_directions(struct tls_context *server_tls, struct tls_context *client_tls, const char *name) {
    struct side server = { .tls = server_tls }, client = { 0 };
    uint16_t port;
    assert_true(loop_init(&loop, NULL));
    struct listener *n = listen_here(&server, &port);
    struct dialer *d = dialer_tcp(sv_of(name), port, client_tls, NULL);
    assert_non_null(dialer_dial(d, &loop, 2000, on_dialled, &client, NULL));
    until(&client.connected);
    until(&server.connected);
    assert_non_null(client.s);
    if (!client_tls)
        assert_string_equal(server.s->peer, "127.0.0.1");

    char *big = malloc(3 << 20);
    for (size_t i = 0; i < 3 << 20; i++)
        big[i] = (char)(i * 31 >> 3);
    stream_write1(client.s, SV("head "));
    stream_write1(client.s, (struct sv){ big, 3 << 20 });
    stream_write1(client.s, SV(" tail"));
    stream_want_drain(client.s);
    until(&client.drained);
    assert_true(client.drained);
    stream_end(client.s);
    until(&server.ended);
    assert_int_equal(server.got.n, (3 << 20) + 10);
    assert_memory_equal(server.got.p + 5, big, 3 << 20);
    stream_write1(server.s, SV("answer")); /* the other direction still works */
    stream_end(server.s);
    until(&client.ended);
    assert_true(sv_eq(buf_sv(&client.got), SV("answer")));
    assert_int_equal(client.fault.code, ERR_NONE);

    free(big);
    stream_close(client.s);
    stream_close(server.s);
    listener_close(n);
    dialer_unref(d);
    loop_deinit(&loop);
    buf_deinit(&client.got);
    buf_deinit(&server.got);
}

static void tcp_carries_large_and_small_writes_in_order(void **state) {
    (void)state;
    bytes_cross_in_both_directions(NULL, NULL, "127.0.0.1");
    bytes_cross_in_both_directions(NULL, NULL, "localhost");
}

static void a_reader_that_pauses_holds_the_writer_back(void **state) {
    (void)state;
    struct side server = { .paused = true }, client = { 0 };
    uint16_t port;
    assert_true(loop_init(&loop, NULL));
    struct listener *n = listen_here(&server, &port);
    struct dialer *d = dialer_tcp(SV("127.0.0.1"), port, NULL, NULL);
    assert_non_null(dialer_dial(d, &loop, 2000, on_dialled, &client, NULL));
    until(&server.connected);
    until(&client.connected);
    static char block[64 << 10];
    struct sv v = { block, sizeof block };
    size_t sent = 0, went;
    for (int i = 0; i < 10000 && (went = stream_offer(client.s, &v, 1)) == sizeof block; i++)
        sent += went;
    assert_true(sent < 600 << 20); /* the kernel is full, nothing was copied */
    assert_int_equal(stream_queued(client.s), 0);
    stream_want_drain(client.s);
    for (int i = 0; i < 20; i++)
        uv_run(&loop.uv, UV_RUN_NOWAIT);
    assert_false(client.drained);
    stream_read(server.s, true);
    until(&client.drained);
    assert_true(client.drained);
    stream_close(client.s);
    stream_close(server.s);
    listener_close(n);
    dialer_unref(d);
    loop_deinit(&loop);
    buf_deinit(&client.got);
    buf_deinit(&server.got);
}

static void a_refused_connection_says_so_once(void **state) {
    (void)state;
    struct side client = { 0 }, server = { 0 };
    uint16_t port;
    assert_true(loop_init(&loop, NULL));
    struct listener *n = listen_here(&server, &port);
    listener_close(n);
    struct dialer *d = dialer_tcp(SV("127.0.0.1"), port, NULL, NULL);
    assert_non_null(dialer_dial(d, &loop, 2000, on_dialled, &client, NULL));
    until(&client.connected);
    assert_null(client.s);
    assert_int_equal(client.fault.code, ERR_IO);
    assert_non_null(strstr(client.fault.text, "127.0.0.1"));
    struct dial *a = dialer_dial(d, &loop, 2000, on_dialled, &client, NULL);
    dialer_cancel(d, a); /* no callback, no leak */
    struct dialer *nowhere = dialer_tcp(SV("no-such-host.invalid"), 1, NULL, NULL);
    a = dialer_dial(nowhere, &loop, 2000, on_dialled, &client, NULL);
    dialer_cancel(nowhere, a);
    dialer_unref(nowhere);
    dialer_unref(d);
    loop_deinit(&loop);
}

static void accepting_pauses_when_descriptors_run_out_and_goes_on_later(void **state) {
    (void)state;
    struct side server = { 0 };
    struct rlimit was, few;
    uint16_t port;
    assert_true(loop_init(&loop, NULL));
    struct listener *n = listen_here(&server, &port);
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port) };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    getrlimit(RLIMIT_NOFILE, &was);
    few = was;
    int top = dup(0);
    close(top);
    few.rlim_cur = (rlim_t)top; /* the next descriptor is one too many */
    setrlimit(RLIMIT_NOFILE, &few);
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    uint64_t end = clock_mono_us() + 60000;
    int turns = 0;
    while (clock_mono_us() < end) {
        uv_run(&loop.uv, UV_RUN_ONCE); /* waits: a busy loop would make thousands of turns */
        turns++;
    }
    getrusage(RUSAGE_SELF, &after);
    assert_false(server.connected);
    assert_true(turns < 50);
    setrlimit(RLIMIT_NOFILE, &was);
    until(&server.connected);
    assert_true(server.connected);
    close(fd);
    stream_close(server.s);
    listener_close(n);
    loop_deinit(&loop);
    buf_deinit(&server.got);
}

/* --- TLS ------------------------------------------------------------------------------------------------------------ */

static char cert_file[64], key_file[64];

/* A key and a self-signed certificate for localhost and 127.0.0.1, made here and now. */
static void make_certificate(void) {
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -60);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_set_pubkey(x, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)"localhost", -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    X509_EXTENSION *san = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1");
    X509_add_ext(x, san, -1);
    X509_EXTENSION_free(san);
    X509_sign(x, key, EVP_sha256());
    snprintf(cert_file, sizeof cert_file, "/tmp/drover-test-%d.crt", (int)getpid());
    snprintf(key_file, sizeof key_file, "/tmp/drover-test-%d.key", (int)getpid());
    FILE *f = fopen(cert_file, "w");
    PEM_write_X509(f, x);
    fclose(f);
    f = fopen(key_file, "w");
    PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
    fclose(f);
    X509_free(x);
    EVP_PKEY_free(key);
}

static void tls_carries_the_same_bytes(void **state) {
    (void)state;
    make_certificate();
    struct tls_context *server = tls_server_context(cert_file, key_file, NULL);
    struct tls_context *client = tls_client_context(cert_file, false, NULL);
    assert_non_null(server);
    assert_non_null(client);
    bytes_cross_in_both_directions(server, client, "127.0.0.1");
    bytes_cross_in_both_directions(server, client, "localhost");
    tls_unref(server);
    tls_unref(client);
}

static void a_certificate_that_nobody_vouches_for_is_refused(void **state) {
    (void)state;
    struct side server = { 0 }, client = { 0 };
    uint16_t port;
    assert_true(loop_init(&loop, NULL));
    server.tls = tls_server_context(cert_file, key_file, NULL);
    struct listener *n = listen_here(&server, &port);
    struct tls_context *system = tls_client_context(NULL, false, NULL);
    struct dialer *d = dialer_tcp(SV("127.0.0.1"), port, system, NULL);
    assert_non_null(dialer_dial(d, &loop, 2000, on_dialled, &client, NULL));
    until(&client.connected);
    assert_null(client.s);
    assert_non_null(strstr(client.fault.text, "certificate"));
    bool never = false;
    uint64_t end = clock_mono_us() + 50000;
    while (!never && clock_mono_us() < end && !server.fault.code)
        uv_run(&loop.uv, UV_RUN_NOWAIT);
    assert_null(server.s);
    listener_close(n);
    dialer_unref(d);
    tls_unref(system);
    tls_unref(server.tls);
    loop_deinit(&loop);
    unlink(cert_file);
    unlink(key_file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_fire_once_never_early_and_can_be_moved),
        cmocka_unit_test(a_timer_may_set_itself_again_and_stop_another_that_is_due),
        cmocka_unit_test(a_far_timer_set_by_a_callback_does_not_delay_a_near_one),
        cmocka_unit_test(messages_of_many_threads_all_arrive),
        cmocka_unit_test(tcp_carries_large_and_small_writes_in_order),
        cmocka_unit_test(a_reader_that_pauses_holds_the_writer_back),
        cmocka_unit_test(a_refused_connection_says_so_once),
        cmocka_unit_test(accepting_pauses_when_descriptors_run_out_and_goes_on_later),
        cmocka_unit_test(tls_carries_the_same_bytes),
        cmocka_unit_test(a_certificate_that_nobody_vouches_for_is_refused),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
