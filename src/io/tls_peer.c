/* The peer of a connection: whether its certificate is good, the words when it is not, and who it is when it is. */
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "io/tls_room.h"

static bool key_hash(X509 *x, unsigned char hash[static TLS_PIN]) {
    unsigned char *der = NULL;
    int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der);
    bool ok = n > 0 && EVP_Digest(der, (size_t)n, hash, NULL, EVP_sha256(), NULL) == 1;
    OPENSSL_free(der);
    return ok;
}

static int64_t seconds(const ASN1_TIME *t) {
    struct tm tm;
    return ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

/* --- judging --------------------------------------------------------------------------------------------------------- */

static const char *peer_word(const struct tls_context *c) {
    return c->server ? "client" : "server";
}

static const char *date(const ASN1_TIME *t, char text[static 25]) {
    int64_t s = seconds(t);
    return clock_iso8601(s > 0 ? (uint64_t)s * 1000 : 0, text);
}

static void words(const struct tls_context *c, X509_STORE_CTX *sc, struct tls_verdict *v) {
    int code = X509_STORE_CTX_get_error(sc), depth = X509_STORE_CTX_get_error_depth(sc);
    X509 *x = X509_STORE_CTX_get_current_cert(sc);
    if (!x)
        x = X509_STORE_CTX_get0_cert(sc);
    char who[80] = "", limit[25], now[25], pin[2 * TLS_PIN + 1] = "";
    unsigned char hash[TLS_PIN];
    X509_NAME_oneline(X509_get_subject_name(x), who, sizeof who);
    clock_iso8601(clock_wall_ms(), now);
    int n = snprintf(v->text, sizeof v->text, "the %s's certificate%s (%s): ", peer_word(c),
                     depth > 0 ? " cannot be trusted, because of one that vouches for it" : "", who);
    char *to = v->text + n;
    size_t room = sizeof v->text - (size_t)n;
    switch (code) {
    case X509_V_ERR_CERT_NOT_YET_VALID:
        snprintf(to, room, "not yet valid: it begins %s and here it is %s; is a clock wrong?", date(X509_get0_notBefore(x), limit), now);
        break;
    case X509_V_ERR_CERT_HAS_EXPIRED:
        snprintf(to, room, "expired %s, and here it is %s", date(X509_get0_notAfter(x), limit), now);
        break;
    case X509_V_ERR_APPLICATION_VERIFICATION:
        x = X509_STORE_CTX_get0_cert(sc);
        for (unsigned i = 0; key_hash(x, hash) && i < TLS_PIN; i++)
            snprintf(pin + 2 * i, 3, "%02x", hash[i]);
        snprintf(to, room, "its key is not the one that was expected, but sha256:%s", pin);
        break;
    default:
        snprintf(to, room, "%s", X509_verify_cert_error_string(code));
    }
}

static bool is_pinned(const struct tls_context *c, X509 *x) {
    unsigned char hash[TLS_PIN];
    bool found = false;
    if (!key_hash(x, hash))
        return false;
    for (unsigned i = 0; i < c->n_pins; i++)
        found |= memcmp(hash, c->pins[i], TLS_PIN) == 0;
    return found;
}

static X509 *find_pinned(const struct tls_context *c, const STACK_OF(X509) * chain) {
    for (int i = 0; i < sk_X509_num(chain); i++)
        if (is_pinned(c, sk_X509_value(chain, i)))
            return sk_X509_value(chain, i);
    return NULL;
}

static bool verify(const struct tls_context *c, X509_STORE_CTX *sc) {
    STACK_OF(X509) *anchors = NULL;
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(sc);
    X509_VERIFY_PARAM_set_time(param, (time_t)(clock_wall_ms() / 1000));
    bool ok = true;
    if (c->pins_alone) {
        X509 *pinned = find_pinned(c, X509_STORE_CTX_get0_untrusted(sc));
        anchors = pinned ? sk_X509_new_null() : NULL;
        ok = anchors && sk_X509_push(anchors, pinned) > 0;
        if (ok) {
            X509_STORE_CTX_set0_trusted_stack(sc, anchors);
            X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN);
        } else {
            X509_STORE_CTX_set_error(sc, X509_V_ERR_APPLICATION_VERIFICATION);
        }
    }
    ok = ok && X509_verify_cert(sc) == 1;
    /* Of what was verified, not of all that was sent: anybody can send a pinned certificate along. */
    if (ok && c->n_pins && !find_pinned(c, X509_STORE_CTX_get0_chain(sc))) {
        X509_STORE_CTX_set_error(sc, X509_V_ERR_APPLICATION_VERIFICATION);
        X509_STORE_CTX_set_error_depth(sc, 0);
        ok = false;
    }
    sk_X509_free(anchors);
    return ok;
}

int tls__judge(X509_STORE_CTX *sc, void *arg) {
    const struct tls_context *c = arg;
    SSL *ssl = X509_STORE_CTX_get_ex_data(sc, SSL_get_ex_data_X509_STORE_CTX_idx());
    if (verify(c, sc))
        return 1;
    if (X509_STORE_CTX_get_error(sc) == X509_V_OK)
        X509_STORE_CTX_set_error(sc, X509_V_ERR_UNSPECIFIED);
    words(c, sc, SSL_get_app_data(ssl));
    return 0;
}

/* --- words for what went wrong --------------------------------------------------------------------------------------- */

/* Behind "the server" or "the client". Alerts say what the peer thinks; the last two rows are our own findings. */
static const struct {
    int reason;
    const char *text;
} reasons[] = {
    { SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED, "wants a certificate, and we sent none" },
    { SSL_R_TLSV1_ALERT_UNKNOWN_CA, "does not trust whoever signed our certificate" },
    { SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED, "says that our certificate has expired; renew it, or look at the clocks" },
    { SSL_R_SSLV3_ALERT_BAD_CERTIFICATE, "takes our certificate for not yet valid or damaged; is a clock wrong?" },
    { SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE, "says that our certificate is for another use" },
    { SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED, "says that our certificate was revoked" },
    { SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN, "did not accept our certificate" },
    { SSL_R_TLSV1_ALERT_ACCESS_DENIED, "did not accept our certificate" },
    { SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE, "refused: no cipher or group in common, or our key is not the one that it expects" },
    { SSL_R_TLSV1_ALERT_PROTOCOL_VERSION, "and we have no version of TLS in common" },
    { SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL, "and we have no application protocol in common" },
    { SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, "sent no certificate" },
    { SSL_R_UNSUPPORTED_PROTOCOL, "and we have no version of TLS in common" },
};

void tls__explain(const struct tls_context *c, const struct tls_verdict *v, const char *what, struct err *e) {
    unsigned long code = ERR_peek_error();
    if (v->text[0]) {
        ERR_clear_error();
        err_set(e, ERR_IO, "%s: %s", what, v->text);
        return;
    }
    for (unsigned i = 0; ERR_GET_LIB(code) == ERR_LIB_SSL && i < sizeof reasons / sizeof *reasons; i++) {
        if (reasons[i].reason != ERR_GET_REASON(code))
            continue;
        ERR_clear_error();
        err_set(e, ERR_IO, "%s: the %s %s", what, peer_word(c), reasons[i].text);
        return;
    }
    tls__fault(e, what);
}

/* --- who it is --------------------------------------------------------------------------------------------------------- */

/* Plain printable ASCII only; what is longer than our form of identity can be is none of ours. */
static bool copy_uri(const ASN1_STRING *from, char uri[static TLS_URI_MAX + 1]) {
    const unsigned char *p = ASN1_STRING_get0_data(from);
    int n = ASN1_STRING_length(from);
    if (n <= 0 || n > TLS_URI_MAX)
        return false;
    for (int i = 0; i < n; i++)
        if (p[i] <= ' ' || p[i] >= 0x7f)
            return false;
    memcpy(uri, p, (size_t)n);
    uri[n] = '\0';
    return true;
}

static void read_uri(X509 *x, char uri[static TLS_URI_MAX + 1]) {
    GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    unsigned n = 0;
    bool ok = true;
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *g = sk_GENERAL_NAME_value(names, i);
        if (g->type != GEN_URI)
            continue;
        const ASN1_STRING *s = g->d.uniformResourceIdentifier;
        struct sv text = { (const char *)ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s) };
        if (!sv_starts_nocase(text, SV("drover:")))
            continue;
        n++;
        ok = ok && copy_uri(s, uri);
    }
    if (n != 1 || !ok)
        uri[0] = '\0';
    GENERAL_NAMES_free(names);
}

static void read_serial(X509 *x, char text[static TLS_SERIAL_MAX + 1]) {
    const ASN1_INTEGER *s = X509_get0_serialNumber(x);
    const unsigned char *p = ASN1_STRING_get0_data(s);
    int n = ASN1_STRING_length(s);
    for (int i = 0; n <= TLS_SERIAL_MAX / 2 && i < n; i++)
        snprintf(text + 2 * (size_t)i, 3, "%02x", p[i]);
}

bool tls_facts_of(X509 *x, struct tls_facts *ret) {
    struct tls_facts f = { .group = "", .has_cert = true };
    if (!key_hash(x, f.spki) || X509_digest(x, EVP_sha256(), f.leaf_sha256, NULL) != 1)
        return false;
    read_uri(x, f.uri);
    read_serial(x, f.serial);
    f.not_before_s = seconds(X509_get0_notBefore(x));
    f.not_after_s = seconds(X509_get0_notAfter(x));
    *ret = f;
    return true;
}

void tls__read_facts(SSL *ssl, struct tls_facts *ret) {
    X509 *x = SSL_get1_peer_certificate(ssl);
    if (!x || !tls_facts_of(x, ret))
        *ret = (struct tls_facts){ .group = "" };
    X509_free(x);
    int group = SSL_get_negotiated_group(ssl);
    const char *name = group ? SSL_group_to_name(ssl, group) : NULL;
    if (name)
        ret->group = name;
    for (const char *p = ret->group; *p && !ret->is_pq; p++)
        ret->is_pq = sv_starts_nocase(sv_of(p), SV("MLKEM"));
    ERR_clear_error();
}
