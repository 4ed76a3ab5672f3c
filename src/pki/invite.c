/* The invite line: all that a new node must know, in one word that survives a chat window.
 *
 *   drover://join/1/<base64url, no padding>
 * Behind the version: the number of bytes that follow (2, big-endian: a line that was cut off is told from a mistyped one), pin,
 * token, end (8), fleet (1 + n), number of URLs (1), each URL (1 + n), and the first eight bytes of SHA-256 of all before them. */
#include <openssl/evp.h>
#include <sodium.h>

#include "pki/pki.h"

enum {
    CHECK = 8,
    BODY_MAX = 2 + TLS_PIN + PKI_TOKEN + 8 + 1 + PKI_FLEET_MAX + 1 + PKI_INVITE_URLS * (1 + PKI_INVITE_URL_MAX) + CHECK,
};
static const struct sv head = SV("drover://join/"), version = SV("1/");

static bool is_url(struct sv v) {
    if (v.n > PKI_INVITE_URL_MAX || !(sv_starts(v, SV("https://")) || sv_starts(v, SV("http://"))) || v.p[v.n - 1] == '/')
        return false;
    for (size_t i = 0; i < v.n; i++)
        if (v.p[i] <= ' ' || v.p[i] >= 0x7f)
            return false;
    return true;
}

static void check_of(struct sv body, unsigned char check[static CHECK]) {
    unsigned char hash[32] = { 0 };
    EVP_Digest(body.p, body.n, hash, NULL, EVP_sha256(), NULL);
    memcpy(check, hash, CHECK);
}

/* --- printing ---------------------------------------------------------------------------------------------------------------- */

static bool add_text(struct buf *b, const char *text) {
    struct sv v = sv_of(text);
    return v.n <= 255 && buf_add_char(b, (char)v.n) && buf_add(b, v);
}

static bool add_body(struct buf *b, const struct pki_invite *in) {
    unsigned char token[PKI_TOKEN], check[CHECK];
    char end[8];
    size_t n;
    struct pki_identity any;
    if (strlen(in->token) != PKI_TOKEN_TEXT || !sv_starts(sv_of(in->token), SV("drjt_")) || in->expires_s < 0 || in->n_urls == 0 ||
        in->n_urls > PKI_INVITE_URLS || !pki_identity_set(&any, PKI_HUB, sv_of(in->fleet), SV("x")))
        return false;
    if (sodium_hex2bin(token, sizeof token, in->token + 5, 2 * PKI_TOKEN, NULL, &n, NULL) != 0 || n != PKI_TOKEN)
        return false;
    for (unsigned i = 0; i < 8; i++)
        end[i] = (char)((uint64_t)in->expires_s >> (56 - 8 * i));
    bool ok = buf_add(b, SV("\0\0")) && buf_add(b, (struct sv){ (const char *)in->pin, TLS_PIN }) &&
              buf_add(b, (struct sv){ (const char *)token, PKI_TOKEN }) && buf_add(b, (struct sv){ end, 8 }) && add_text(b, in->fleet) &&
              buf_add_char(b, (char)in->n_urls);
    sodium_memzero(token, sizeof token);
    for (unsigned i = 0; ok && i < in->n_urls; i++)
        ok = is_url(sv_of(in->urls[i])) && add_text(b, in->urls[i]);
    if (!ok)
        return false;
    size_t rest = b->n - 2 + CHECK;
    b->p[0] = (char)(rest >> 8);
    b->p[1] = (char)rest;
    check_of(buf_sv(b), check);
    return buf_add(b, (struct sv){ (const char *)check, CHECK });
}

bool pki_invite_print(const struct pki_invite *in, struct buf *to) {
    char text[sodium_base64_ENCODED_LEN(BODY_MAX, sodium_base64_VARIANT_URLSAFE_NO_PADDING)];
    struct buf body = BUF_MAX(BODY_MAX);
    bool ok = buf_reserve(&body, BODY_MAX) && add_body(&body, in);
    if (ok) {
        sodium_bin2base64(text, sizeof text, (const unsigned char *)body.p, body.n, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
        ok = buf_add(to, head) && buf_add(to, version) && buf_add(to, sv_of(text));
        sodium_memzero(text, sizeof text);
    }
    pki_wipe(&body);
    return ok;
}

/* --- reading ----------------------------------------------------------------------------------------------------------------- */

static bool take(struct sv *from, size_t n, struct sv *ret) {
    *ret = sv_first(*from, n);
    *from = sv_from(*from, n);
    return ret->n == n;
}

static bool take_text(struct sv *from, struct sv *ret) {
    struct sv n;
    return take(from, 1, &n) && take(from, (unsigned char)n.p[0], ret);
}

static bool parse_body(struct sv body, struct pki_invite *in) {
    struct sv pin, token, end, fleet, n, url;
    struct pki_identity any;
    if (!take(&body, TLS_PIN, &pin) || !take(&body, PKI_TOKEN, &token) || !take(&body, 8, &end) || !take_text(&body, &fleet) ||
        !take(&body, 1, &n) || !pki_identity_set(&any, PKI_HUB, fleet, SV("x")))
        return false;
    memcpy(in->pin, pin.p, TLS_PIN);
    memcpy(in->token, "drjt_", 5);
    sodium_bin2hex(in->token + 5, 2 * PKI_TOKEN + 1, (const unsigned char *)token.p, PKI_TOKEN);
    uint64_t expires_s = 0;
    for (unsigned i = 0; i < 8; i++)
        expires_s = expires_s << 8 | (unsigned char)end.p[i];
    memcpy(in->fleet, any.fleet, sizeof any.fleet);
    in->expires_s = (int64_t)expires_s;
    in->n_urls = (unsigned char)n.p[0];
    if (in->expires_s < 0 || in->n_urls == 0 || in->n_urls > PKI_INVITE_URLS)
        return false;
    for (unsigned i = 0; i < in->n_urls; i++)
        if (!take_text(&body, &url) || url.n == 0 || !is_url(url) || !sv_to_cstr(url, in->urls[i], sizeof in->urls[i]))
            return false;
    return body.n == 0;
}

/* libsodium takes some bytes above 0x7f for others, where char is signed. */
static size_t odd_at(struct sv text) {
    size_t i = 0;
    while (i < text.n && ((text.p[i] >= 'A' && text.p[i] <= 'Z') || (text.p[i] >= 'a' && text.p[i] <= 'z') ||
                          (text.p[i] >= '0' && text.p[i] <= '9') || text.p[i] == '-' || text.p[i] == '_'))
        i++;
    return i;
}

static bool read_bytes(struct sv text, int64_t now_s, struct pki_invite *in, struct err *e) {
    unsigned char bytes[BODY_MAX], check[CHECK];
    size_t n = 0;
    int rc = sodium_base642bin(bytes, sizeof bytes, text.p, text.n, NULL, &n, NULL, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    size_t want = n >= 2 ? (size_t)bytes[0] << 8 | bytes[1] : BODY_MAX;
    bool ok = false;
    if (odd_at(text) < text.n)
        err_set(e, ERR_BAD_REQUEST, "the invite holds a character that does not belong there; copy the whole line again");
    else if (text.n <= BODY_MAX / 3 * 4 && (n < 2 || (want <= BODY_MAX && n - 2 < want)))
        err_set(e, ERR_BAD_REQUEST, "the invite is cut off after %zu characters; copy the whole line", head.n + version.n + text.n);
    else if (rc != 0 || n < 2 || n - 2 != want || want < CHECK)
        err_set(e, ERR_BAD_REQUEST, "the invite is damaged; copy the whole line again");
    else
        ok = true;
    if (ok) {
        check_of((struct sv){ (const char *)bytes, n - CHECK }, check);
        ok = sodium_memcmp(check, bytes + n - CHECK, CHECK) == 0 ||
             err_set(e, ERR_BAD_REQUEST, "the invite is mistyped; copy the whole line again");
    }
    ok = ok && (parse_body((struct sv){ (const char *)bytes + 2, n - 2 - CHECK }, in) ||
                err_set(e, ERR_BAD_REQUEST, "the invite is not one of ours"));
    if (ok && now_s && now_s >= in->expires_s)
        ok = err_set(e, ERR_BAD_REQUEST,
                     "the invite expired %lld min ago; ask for a new one (drover hub invite), or look at this machine's clock",
                     (long long)(now_s - in->expires_s) / 60);
    sodium_memzero(bytes, sizeof bytes);
    return ok;
}

static struct sv trimmed(struct sv v) {
    while (v.n && (v.p[0] == ' ' || v.p[0] == '\t' || v.p[0] == '\r' || v.p[0] == '\n'))
        v = sv_from(v, 1);
    while (v.n && (v.p[v.n - 1] == ' ' || v.p[v.n - 1] == '\t' || v.p[v.n - 1] == '\r' || v.p[v.n - 1] == '\n'))
        v.n--;
    return v;
}

bool pki_invite_read(struct sv line, int64_t now_s, struct pki_invite *ret, struct err *e) {
    struct pki_invite in = { 0 };
    line = trimmed(line);
    if (line.n > PKI_INVITE_MAX)
        return err_set(e, ERR_BAD_REQUEST, "an invite has at most %d characters, this is %zu", PKI_INVITE_MAX, line.n);
    if (!sv_starts(line, head))
        return err_set(e, ERR_BAD_REQUEST, "not an invite: it begins with %s", head.p);
    for (size_t i = 0; i < line.n; i++)
        if (line.p[i] == ' ' || line.p[i] == '\t' || line.p[i] == '\r' || line.p[i] == '\n')
            return err_set(e, ERR_BAD_REQUEST, "the invite was broken into two lines after %zu characters; join them without a blank", i);
    line = sv_from(line, head.n);
    if (!sv_starts(line, version))
        return err_set(e, ERR_BAD_REQUEST, line.n < version.n ? "the invite is cut off; copy the whole line"
                                                              : "the invite is of another version; this Drover knows version 1");
    bool ok = read_bytes(sv_from(line, version.n), now_s, &in, e);
    if (ok)
        *ret = in;
    sodium_memzero(&in, sizeof in);
    return ok;
}
