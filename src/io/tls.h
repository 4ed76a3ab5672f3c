/* io/tls.h - TLS (OpenSSL) over any stream. A context is immutable and counted: any thread; a stream is its loop's.
 *
 * Life: a spec -> tls_context_new -> tls_start for each connection -> tls_unref. To change a certificate or what is trusted, make
 * another context and hand that out: connections keep the one they began with until they end. */
#ifndef DROVER_IO_TLS_H
#define DROVER_IO_TLS_H

#include "io/stream.h"

enum {
    TLS_PIN = 32,        /* bytes: SHA-256 of a SubjectPublicKeyInfo in DER */
    TLS_URI_MAX = 255,
    TLS_SERIAL_MAX = 40, /* hex digits: 20 octets, RFC 5280 section 4.1.2.2 */
};

/* The hybrid group X25519MLKEM768: where both sides can; nothing else; not at all. Only AUTO depends on `modern`: without it the
 * library's own list stands. */
enum tls_pq { TLS_PQ_AUTO, TLS_PQ_REQUIRED, TLS_PQ_OFF };
/* A server's wish for the client's certificate. OPTIONAL: none is fine, a wrong one ends the handshake. */
enum tls_ask { TLS_ASK_OFF, TLS_ASK_OPTIONAL, TLS_ASK_REQUIRED };

/* All borrowed by tls_context_new only. Zeroed is a client that trusts the system's store and has no certificate. */
struct tls_spec {
    bool server;
    struct sv chain_pem, key_pem;          /* own certificate, leaf first, and its key; a client may have none */
    struct sv trust_pem;                   /* roots of the peer; empty: the system's (client), none (a server that asks nobody) */
    const unsigned char (*pins)[TLS_PIN];  /* n_pins > 0: the peer's leaf, or one that vouches for it, must have one of these keys */
    unsigned n_pins;
    bool pins_alone;                       /* the pinned certificate is the anchor: no roots, and the name is not checked (dates and
                                            * purpose are). For the first contact with a hub whose roots are not known yet */
    enum tls_ask ask;
    bool modern;                           /* between Drover's parts: TLS 1.3 only, strict RFC 5280, no resumption; a client needs
                                            * roots or pins. A server that asks for certificates never resumes either */
    enum tls_pq pq;
    struct sv alpn;                        /* the one protocol, "http/1.1"; empty: the extension is not used */
    struct sv name;                        /* a client's: the name to send and verify in place of the dialled host */
    bool hides_name;                       /* the name is verified, not sent: the hello says nothing to whoever is no server of ours */
    bool insecure;                         /* a client that checks nothing */
};

struct tls_context;

/* Returns owned (tls_unref), or NULL: *e says which part of the spec is wrong. */
struct tls_context *tls_context_new(const struct tls_spec *spec, struct err *e) MUST_CHECK;
/* The two that public listeners and runtimes need, TLS 1.2 and 1.3. Certificate chain and key in PEM files; */
struct tls_context *tls_server_context(const char *cert_file, const char *key_file, struct err *e) MUST_CHECK;
/* the peer is verified against ca_file, or the system's store when it is NULL; insecure switches verification off. */
struct tls_context *tls_client_context(const char *ca_file, bool insecure, struct err *e) MUST_CHECK;
struct tls_context *tls_ref(struct tls_context *c);
struct tls_context *tls_unref(struct tls_context *c);

/* Starts a handshake over under (taken, also on failure). name: the server name to send and check, empty on a server.
 * done runs once, never before this returns: with a paused stream, or NULL and the fault; under is closed then.
 *
 * A client of TLS 1.3 is ready before the server has looked at its certificate: that it was refused shows as the fault of the
 * first read, in words ("the server ... our certificate"). Nothing of what was written has been processed then. */
struct tls_handshake;
typedef void tls_done_cb(void *arg, struct stream *s, const struct err *e);
struct tls_handshake *tls_start(struct tls_context *c, struct stream *under, struct sv name, tls_done_cb *done, void *arg,
                                struct err *e) MUST_CHECK;
/* done will not run; under is closed. Not from done. NULL is fine. */
void tls_cancel(struct tls_handshake *h);

/* What was agreed on, and whose certificate the peer has proven the key of. */
struct tls_facts {
    const char *group;                   /* "X25519MLKEM768", "x25519"; empty: none (TLS 1.2). Borrowed from the stream */
    bool is_pq;
    bool has_cert;                       /* the rest is zero without one */
    unsigned char spki[TLS_PIN];
    unsigned char leaf_sha256[32];
    char uri[TLS_URI_MAX + 1];           /* the one "drover:" URI of the SAN; empty: none, two, or an odd one */
    char serial[TLS_SERIAL_MAX + 1];     /* lower-case hex, no leading zero octets */
    int64_t not_before_s, not_after_s;   /* since 1970 */
};

/* Of a TLS stream after its handshake, before its stream_close; false: s is another kind of stream. */
bool tls_facts(const struct stream *s, struct tls_facts *ret);
/* The same of a certificate at hand, OpenSSL's X509; false: out of memory. */
struct x509_st;
bool tls_facts_of(struct x509_st *cert, struct tls_facts *ret);

#endif
