/* io/tls_room.h - private to io's TLS files: what a context holds, and how a peer is judged. */
#ifndef DROVER_IO_TLS_ROOM_H
#define DROVER_IO_TLS_ROOM_H

#include <openssl/ssl.h>
#include <stdatomic.h>

#include "io/tls.h"

enum { TLS_NAME_MAX = 255 };

struct tls_context {
    SSL_CTX *ctx;
    _Atomic unsigned refs;
    bool server, pins_alone, hides_name;
    unsigned n_pins;
    unsigned char (*pins)[TLS_PIN];  /* owned */
    unsigned char alpn[TLS_NAME_MAX + 1]; /* as on the wire: length, name; length 0: not used */
    char name[TLS_NAME_MAX + 1];     /* sent and verified in place of the dialled host; empty: the host */
};

/* Why a peer's certificate was refused; SSL_get_app_data of the connection points to it. Empty: it was not. */
struct tls_verdict {
    char text[280];
};

/* Sets *e from OpenSSL's queue, and empties that. what may be NULL. Returns false. */
bool tls__fault(struct err *e, const char *what);

/* For SSL_CTX_set_cert_verify_callback; arg is the context. */
int tls__judge(X509_STORE_CTX *sc, void *arg);

/* Words for a failed handshake, read or write: our verdict, the peer's alert, or OpenSSL's reason. */
void tls__explain(const struct tls_context *c, const struct tls_verdict *v, const char *what, struct err *e);

void tls__read_facts(SSL *ssl, struct tls_facts *ret);

#endif
