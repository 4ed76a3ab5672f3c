/* io/tls.c - a TLS stream stands between its owner and a lower stream, with OpenSSL in the middle reading and writing
 * memory. One function, pump, looks at the whole: finish the handshake, decrypt what came, hand it up, send what is due. */
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "io/tls_room.h"

enum { PLAIN_CHUNK = 16 << 10 }; /* one TLS record */

struct tls_handshake {
    struct stream s;
    struct stream *under;
    struct tls_context *ctx;
    SSL *ssl;
    BIO *in, *out;               /* owned by ssl */
    struct loop_flush flush;
    tls_done_cb *done;           /* NULL once told */
    void *arg;
    bool ready, reading, under_eof, peer_closed, ended, end_told, closed, pumping;
    unsigned refs;               /* callbacks on the stack hold it */
    struct err fault;
    struct tls_verdict verdict;
};

/* --- one connection ----------------------------------------------------------------------------------------------- */

static void unhold(struct tls_handshake *t) {
    if (--t->refs)
        return;
    SSL_free(t->ssl);
    tls_unref(t->ctx);
    mem_free(t);
}

static void close_all(struct tls_handshake *t) {
    if (t->closed)
        return;
    t->closed = true;
    t->done = NULL;
    list_drop(&t->flush.dirty);
    stream_close(t->under);
    t->under = NULL;
    unhold(t);
}

/* What OpenSSL wants on the wire goes to the lower stream. The last words of a broken one go at once: the alert tells the peer
 * why, and closing drops what is only queued. */
static void send_due(struct tls_handshake *t) {
    char *p;
    long n = BIO_get_mem_data(t->out, &p);
    if (n > 0 && t->under) {
        struct sv due = { p, (size_t)n };
        if (t->fault.code)
            stream_offer(t->under, &due, 1);
        else
            stream_write1(t->under, due);
        (void)BIO_reset(t->out);
    }
}

static void fails(struct tls_handshake *t, const char *what) {
    if (!t->fault.code)
        tls__explain(t->ctx, &t->verdict, what, &t->fault);
}

static void shake(struct tls_handshake *t) {
    int rc = SSL_do_handshake(t->ssl);
    if (rc == 1) {
        t->ready = true;
        memcpy(t->s.peer, t->under->peer, sizeof t->s.peer);
    } else if (SSL_get_error(t->ssl, rc) != SSL_ERROR_WANT_READ) {
        fails(t, "TLS handshake");
    } else if (t->under_eof && BIO_pending(t->in) == 0) {
        err_set(&t->fault, ERR_IO, "TLS handshake: the peer closed the connection");
    }
}

static void read_up(struct tls_handshake *t) {
    char plain[PLAIN_CHUNK];
    while (!t->closed && t->reading && !t->fault.code && !t->peer_closed) {
        int n = SSL_read(t->ssl, plain, sizeof plain);
        if (n > 0) {
            t->s.on->on_read(t->s.owner, (struct sv){ plain, (size_t)n });
            continue;
        }
        int why = SSL_get_error(t->ssl, n);
        if (why == SSL_ERROR_ZERO_RETURN) {
            t->peer_closed = true;
        } else if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) {
            fails(t, "TLS");
        } else {
            if (t->under_eof && BIO_pending(t->in) == 0)
                err_set(&t->fault, ERR_IO, "TLS: the connection ended without a close notice");
            return;
        }
    }
}

static void tell_end(struct tls_handshake *t) {
    if (t->closed || t->end_told || !t->s.on || !(t->fault.code || (t->peer_closed && t->reading)))
        return;
    t->end_told = true;
    t->s.on->on_end(t->s.owner, t->fault.code ? &t->fault : NULL);
}

/* The one place that looks at the whole and decides. */
static void pump(struct tls_handshake *t) {
    if (t->pumping || t->closed)
        return;
    t->pumping = true;
    t->refs++;
    ERR_clear_error(); /* what another left in this thread's queue would be taken for ours */
    if (!t->ready && !t->fault.code)
        shake(t);
    send_due(t);
    if (t->done && (t->ready || t->fault.code)) {
        tls_done_cb *done = t->done;
        void *arg = t->arg;
        t->done = NULL;
        if (t->fault.code) {
            struct err e = t->fault;
            close_all(t);
            done(arg, NULL, &e);
        } else {
            stream_read(t->under, false);
            done(arg, &t->s, NULL);
        }
    }
    if (!t->closed && t->ready)
        read_up(t);
    if (!t->closed)
        send_due(t);
    tell_end(t);
    t->pumping = false;
    if (!t->closed)
        stream_read(t->under, (t->reading || !t->ready) && !t->under_eof && !t->fault.code);
    unhold(t);
}

static void under_read(void *owner, struct sv bytes) {
    struct tls_handshake *t = owner;
    int n = BIO_write(t->in, bytes.p, (int)bytes.n);
    if (n != (int)bytes.n)
        err_set(&t->fault, ERR_NO_MEMORY, "TLS: out of memory");
    pump(t);
}

static void under_end(void *owner, const struct err *e) {
    struct tls_handshake *t = owner;
    t->under_eof = true;
    if (e)
        t->fault = *e;
    pump(t);
}

static void under_drain(void *owner) {
    struct tls_handshake *t = owner;
    if (t->s.wants_drain && t->s.on && t->s.on->on_drain) {
        t->s.wants_drain = false;
        t->s.on->on_drain(t->s.owner);
    }
}

static const struct stream_events under_events = { under_read, under_end, under_drain, NULL };

static void on_flush(struct loop_flush *f) {
    pump(CONTAINER(f, struct tls_handshake, flush));
}

static void tls_read(struct stream *s, bool on) {
    struct tls_handshake *t = CONTAINER(s, struct tls_handshake, s);
    t->reading = on;
    if (on)
        loop_flush_later(s->loop, &t->flush); /* something may be decrypted already */
    else if (t->under && t->ready)
        stream_read(t->under, false);
}

static void tls_write(struct stream *s, const struct sv *v, unsigned n) {
    struct tls_handshake *t = CONTAINER(s, struct tls_handshake, s);
    for (unsigned i = 0; i < n && !t->fault.code && !t->ended; i++) {
        for (struct sv rest = v[i]; rest.n;) {
            size_t chunk = rest.n < PLAIN_CHUNK ? rest.n : PLAIN_CHUNK, done = 0;
            if (SSL_write_ex(t->ssl, rest.p, chunk, &done) != 1) { /* memory takes all: anything else is a fault */
                fails(t, "TLS write");
                loop_flush_later(s->loop, &t->flush);
                return;
            }
            rest = sv_from(rest, done);
        }
    }
    send_due(t);
}

static size_t tls_offer(struct stream *s, const struct sv *v, unsigned n) {
    size_t total = 0;
    tls_write(s, v, n);
    for (unsigned i = 0; i < n; i++)
        total += v[i].n;
    return total;
}

static size_t tls_queued(const struct stream *s) {
    const struct tls_handshake *t = CONTAINER(s, struct tls_handshake, s);
    return t->under ? stream_queued(t->under) : 0;
}

static void tls_want_drain(struct stream *s) {
    struct tls_handshake *t = CONTAINER(s, struct tls_handshake, s);
    if (t->under)
        stream_want_drain(t->under);
}

static void tls_end(struct stream *s) {
    struct tls_handshake *t = CONTAINER(s, struct tls_handshake, s);
    if (t->ended || !t->under)
        return;
    t->ended = true;
    if (!t->fault.code) {
        SSL_shutdown(t->ssl);
        ERR_clear_error();
        send_due(t);
    }
    stream_end(t->under);
}

static void tls_close(struct stream *s) {
    struct tls_handshake *t = CONTAINER(s, struct tls_handshake, s);
    close_all(t);
}

static const struct stream_ops tls_ops = { tls_read, tls_write, tls_offer, tls_queued, tls_end, tls_close, tls_want_drain };

/* RFC 6066, section 3. */
static bool send_name(struct tls_handshake *t, const char *host) {
    return t->ctx->hides_name || SSL_set_tlsext_host_name(t->ssl, host) == 1;
}

static bool name_check(struct tls_handshake *t, struct sv name, struct err *e) {
    char host[TLS_NAME_MAX + 1];
    if (t->ctx->name[0])
        name = sv_of(t->ctx->name);
    if (name.n == 0)
        return true;
    if (!sv_to_cstr(name, host, sizeof host))
        return err_set(e, ERR_CONFIG, "TLS: server name too long");
    X509_VERIFY_PARAM *param = SSL_get0_param(t->ssl);
    bool is_ip = X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1;
    ERR_clear_error();
    if (t->ctx->pins_alone) { /* the pin says who it is */
        X509_VERIFY_PARAM_set1_ip(param, NULL, 0);
        return is_ip || send_name(t, host) || tls__fault(e, "TLS server name");
    }
    return is_ip || (send_name(t, host) && SSL_set1_host(t->ssl, host) == 1) ||
           tls__fault(e, "TLS server name");
}

struct tls_handshake *tls_start(struct tls_context *c, struct stream *under, struct sv name, tls_done_cb *done, void *arg,
                                struct err *e) {
    struct tls_handshake *t = mem_new(sizeof *t);
    if (!t) {
        err_no_memory(e);
        stream_close(under);
        return NULL;
    }
    t->s.ops = &tls_ops;
    t->s.loop = under->loop;
    t->s.is_tls = true;
    t->under = under;
    t->ctx = tls_ref(c);
    t->done = done;
    t->arg = arg;
    t->refs = 1;
    list_init(&t->flush.dirty);
    t->flush.run = on_flush;
    t->ssl = SSL_new(c->ctx);
    t->in = t->ssl ? BIO_new(BIO_s_mem()) : NULL;
    t->out = t->in ? BIO_new(BIO_s_mem()) : NULL;
    if (!t->out || (!c->server && !name_check(t, name, e))) {
        if (!t->out) {
            err_no_memory(e);
            BIO_free(t->in);
        } else {
            BIO_free(t->in);
            BIO_free(t->out);
        }
        close_all(t);
        return NULL;
    }
    SSL_set_app_data(t->ssl, &t->verdict);
    SSL_set_bio(t->ssl, t->in, t->out);
    if (c->server)
        SSL_set_accept_state(t->ssl);
    else
        SSL_set_connect_state(t->ssl);
    stream_own(under, &under_events, t);
    loop_flush_later(t->s.loop, &t->flush);
    return t;
}

void tls_cancel(struct tls_handshake *t) {
    if (t)
        close_all(t);
}

bool tls_facts(const struct stream *s, struct tls_facts *ret) {
    if (s->ops != &tls_ops)
        return false;
    tls__read_facts(CONTAINER(s, struct tls_handshake, s)->ssl, ret);
    return true;
}
