/* io/tls.h - TLS (OpenSSL) over any stream. A context is immutable and counted: any thread; a stream is its loop's. */
#ifndef DROVER_IO_TLS_H
#define DROVER_IO_TLS_H

#include "io/stream.h"

struct tls_context;

/* Certificate chain and key in PEM files. TLS 1.2 and 1.3. Returns owned (tls_unref). */
struct tls_context *tls_server_context(const char *cert_file, const char *key_file, struct err *e) MUST_CHECK;
/* Verifies the peer against ca_file, or the system's store when it is NULL; insecure switches verification off. */
struct tls_context *tls_client_context(const char *ca_file, bool insecure, struct err *e) MUST_CHECK;
struct tls_context *tls_ref(struct tls_context *c);
struct tls_context *tls_unref(struct tls_context *c);

/* Starts a handshake over under (taken, also on failure). name: the server name to send and check, empty on a server.
 * done runs once, never before this returns: with a paused stream, or NULL and the fault; under is closed then. */
struct tls_handshake;
typedef void tls_done_cb(void *arg, struct stream *s, const struct err *e);
struct tls_handshake *tls_start(struct tls_context *c, struct stream *under, struct sv name, tls_done_cb *done, void *arg,
                                struct err *e) MUST_CHECK;
/* done will not run; under is closed. Not from done. NULL is fine. */
void tls_cancel(struct tls_handshake *h);

#endif
