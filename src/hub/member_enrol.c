/* hub/member_enrol.c - two questions to the hub outside the link: to be let in, and for the next certificate.
 *
 * Asking: the request's key is made once and kept until there is an answer that ends it, so a hub whose answer got lost sees the same node
 * again. Renewing: a fresh key each time, proven with the old certificate while that is valid and with the bearer in any case. What comes
 * back is believed only when it verifies under the roots that came with it, and when it says just what was told beside it. */
#include "hub/member_room.h"

#include <sodium.h>
#include <stdio.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/rand.h"
#include "http/client.h"
#include "http/url.h"
#include "version.h"

enum { CONNECT_MS = 10000, ANSWER_MS = 30000, REPLY_MAX = 256 << 10, WAIT_MOST_S = 3600, WAIT_SIGNED_S = 900, UNTOLD_RETRY_S = 15 };

struct asking {
    struct member *m;
    struct http_call *call;
    struct dialer *dialer;
    struct arena arena;
    struct buf body, reply, key; /* key: of a renewal */
    int status;
    uint32_t retry_s;
    char called_at[MEMBER_CALLED_MAX + 1]; /* as it says there */
    void (*done)(struct asking *a, const struct err *e); /* e: no answer came */
};

/* --- how the hub is reached ----------------------------------------------------------------------------------------------------------- */

static int64_t now_s(void) {
    return (int64_t)(clock_wall_ms() / 1000);
}

bool member__cert_has_ended(const struct member *m) {
    return now_s() >= m->state.pair.cert.is.not_after_s;
}

static bool is_loopback(struct sv host) {
    return sv_eq_nocase(host, SV("localhost")) || sv_eq(host, SV("::1")) || sv_starts(host, SV("127."));
}

static enum tls_pq pq_of(const struct member *m) {
    static const enum tls_pq pqs[] = {
        [CONFIG_PQ_AUTO] = TLS_PQ_AUTO, [CONFIG_PQ_REQUIRED] = TLS_PQ_REQUIRED, [CONFIG_PQ_OFF] = TLS_PQ_OFF
    };
    return pqs[(*m->house.config)->pq];
}

/* The hub's leaf, under the fleet's roots. */
static bool expect_hub(const struct member *m, struct tls_spec *spec, char name[static PKI_DNS_MAX + 1], struct err *e) {
    struct pki_identity hub;
    if (!pki_identity_set(&hub, PKI_HUB, sv_of(m->state.fleet), sv_of(m->state.hub_id)) || !pki_identity_dns(&hub, name))
        return err_set(e, ERR_CONFIG, "the hub's id \"%s\" is no name that can be verified", m->state.hub_id);
    spec->trust_pem = buf_sv(&m->state.trust.pem);
    spec->name = sv_of(name);
    return true;
}

struct tls_context *member__called_context(struct member *m, struct err *e) {
    char name[PKI_DNS_MAX + 1];
    struct tls_spec spec = { .pq = pq_of(m),
                             .modern = true,
                             .hides_name = true,
                             .chain_pem = buf_sv(&m->state.pair.chain),
                             .key_pem = buf_sv(&m->state.pair.key) };
    return expect_hub(m, &spec, name, e) ? tls_context_new(&spec, e) : NULL;
}

static struct tls_context *context_of(struct member *m, bool with_cert, struct err *e) {
    struct tls_spec spec = { .pq = pq_of(m), .modern = true };
    char name[PKI_DNS_MAX + 1];
    if (!m->has_state && m->wish.has_pin) {
        spec.pins = (const unsigned char(*)[TLS_PIN]) & m->wish.pin;
        spec.n_pins = 1;
        spec.pins_alone = true;
    } else if (!m->has_state || m->state.by_system) {
        spec.modern = false; /* a public authority, and whatever proxy stands there */
    } else if (!expect_hub(m, &spec, name, e)) {
        return NULL;
    }
    if (with_cert && m->has_state) {
        spec.chain_pem = buf_sv(&m->state.pair.chain);
        spec.key_pem = buf_sv(&m->state.pair.key);
    }
    return tls_context_new(&spec, e);
}

bool member__url_parse(struct sv url, struct url *ret, struct err *e) {
    return url_parse(url, ret, e) &&
           (ret->scheme == URL_HTTPS || (ret->scheme == URL_HTTP && is_loopback(ret->host)) ||
            err_set(e, ERR_BAD_REQUEST, "%.*s: a hub is reached by https; http is for this machine alone",
                    SV_FMT(sv_first(url, 200))));
}

struct dialer *member__dialer(struct member *m, const char *url, bool with_cert, struct sv *ret_host,
                              struct sv *ret_prefix, struct err *e) {
    struct url u;
    struct tls_context *tls = NULL;
    struct dialer *d = NULL;
    if (!member__url_parse(sv_of(url), &u, e))
        return NULL;
    *ret_host = u.authority;
    *ret_prefix = u.prefix;
    if (u.scheme == URL_HTTP || (tls = context_of(m, with_cert, e)))
        d = dialer_tcp(u.host, u.port, tls, e);
    tls_unref(tls);
    return d;
}

/* --- one question --------------------------------------------------------------------------------------------------------------------- */

static void asking_free(struct asking *a) {
    http_call_cancel(a->call);
    dialer_unref(a->dialer);
    arena_deinit(&a->arena);
    pki_wipe(&a->body);
    pki_wipe(&a->reply);
    pki_wipe(&a->key);
    mem_free(a);
}

static void on_ready(void *x) {
    struct asking *a = x;
    struct sv body = buf_sv(&a->body);
    http_call_send(a->call, &body, 1);
    http_call_sent(a->call);
}

static void on_head(void *x, const struct http_head *head) {
    struct asking *a = x;
    uint64_t s;
    a->status = head->status;
    if (sv_to_u64(http_get(head, SV("retry-after")), &s))
        a->retry_s = s < WAIT_MOST_S ? (uint32_t)s : WAIT_MOST_S;
}

static void on_body(void *x, struct sv bytes) {
    buf_add(&((struct asking *)x)->reply, bytes);
}

static void on_end(void *x) {
    struct asking *a = x;
    struct err e;
    a->call = NULL;
    if (a->reply.failed)
        err_set(&e, ERR_BAD_REPLY, "the hub's answer has more than %d KiB", REPLY_MAX >> 10);
    a->done(a, a->reply.failed ? &e : NULL);
}

static void on_fail(void *x, const struct err *e, bool stale) {
    struct asking *a = x;
    (void)stale;
    a->call = NULL;
    a->done(a, e);
}

static const struct http_call_events call_events = { on_ready, on_head, on_body, on_end, on_fail, NULL, NULL };

static struct asking *asking_new(struct member *m, void (*done)(struct asking *a, const struct err *e)) {
    struct asking *a = mem_new(sizeof *a);
    if (!a)
        return NULL;
    a->m = m;
    a->done = done;
    arena_init(&a->arena, 256 << 10, NULL);
    buf_init(&a->body, 64 << 10);
    buf_init(&a->reply, REPLY_MAX);
    buf_init(&a->key, PKI_PEM_MAX + 1);
    return a;
}

/* Posts a->body to url with path behind it. False with *e set: a stays the caller's. */
static bool post(struct asking *a, const char *url, const char *path, bool with_cert, struct err *e) {
    struct member *m = a->m;
    struct sv host, prefix;
    struct http_header h[6];
    unsigned n = 0;
    a->dialer = member__dialer(m, url, with_cert, &host, &prefix, e);
    if (!a->dialer)
        return false;
    char *target = arena_printf(&a->arena, "%.*s%s", SV_FMT(prefix), path),
         *auth = m->has_state ? arena_printf(&a->arena, "Bearer %s", m->state.token) : NULL;
    h[n++] = (struct http_header){ SV("host"), host };
    h[n++] = (struct http_header){ SV("content-type"), SV("application/json") };
    h[n++] = (struct http_header){ SV("user-agent"), SV("drover/" DROVER_VERSION) };
    if (auth) {
        h[n++] = (struct http_header){ SV("authorization"), sv_of(auth) };
        h[n++] = (struct http_header){ SV("drover-node"), sv_of(m->state.node_id) };
    }
    if (!target || (m->has_state && !auth) || a->body.failed)
        return err_no_memory(e);
    const struct http_call_spec spec = { .dialer = a->dialer,
                                         .method = SV("POST"),
                                         .target = sv_of(target),
                                         .headers = h,
                                         .n_headers = n,
                                         .length = (int64_t)a->body.n,
                                         .connect_ms = CONNECT_MS,
                                         .first_byte_ms = ANSWER_MS,
                                         .stall_ms = ANSWER_MS,
                                         .fresh = true };
    a->call = http_call_start(m->house.client, &a->arena, &spec, &call_events, a, e);
    if (a->call && http_call_is_ready(a->call))
        on_ready(a);
    return a->call != NULL;
}

/* What the hub said of a refusal, for people. */
static void words_of(const struct asking *a, struct err *e, const char *otherwise) {
    CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse(buf_sv(&a->reply));
    struct sv said = json_str(json_get(yyjson_doc_get_root(doc), "error"), "message");
    err_set(e, ERR_DENIED, "the hub answered %d: %.*s", a->status,
            SV_FMT(said.n ? sv_first(said, 200) : sv_of(otherwise)));
}

/* --- asking to be let in -------------------------------------------------------------------------------------------------------------- */

static void put_text(struct buf *out, const char *name, struct sv v) {
    buf_printf(out, ",\"%s\":", name);
    buf_add_json(out, v);
}

/* Who dials whom. */
static void put_mode(struct asking *a, struct buf *out) {
    direct__address(a->m, a->called_at);
    put_text(out, "mode", a->called_at[0] ? SV("direct") : SV("reverse"));
    if (a->called_at[0])
        put_text(out, "url", sv_of(a->called_at));
}

static bool print_request(struct asking *a, struct err *e) {
    struct member *m = a->m;
    struct buf *out = &a->body;
    const struct config *c = *m->house.config;
    struct buf csr = BUF_MAX(PKI_CSR_MAX);
    struct utsname u;
    if (!pki_csr_make(buf_sv(&m->wish.key), &csr, e)) {
        buf_deinit(&csr);
        return false;
    }
    buf_add(out, SV("{\"v\":1"));
    put_text(out, "csr", buf_sv(&csr));
    if (m->wish.token[0])
        put_text(out, "token", sv_of(m->wish.token));
    put_text(out, "name", m->wish.name[0] ? sv_of(m->wish.name) : c->join.name.n ? c->join.name : c->name);
    put_text(out, "version", SV(DROVER_VERSION));
    if (uname(&u) == 0) {
        put_text(out, "hostname", sv_first(sv_of(u.nodename), 64));
        put_text(out, "os", SV("linux"));
        put_text(out, "arch", sv_first(sv_of(u.machine), 64));
    }
    put_mode(a, out);
    buf_add_char(out, '}');
    buf_deinit(&csr);
    return true;
}

/* The answer's certificate, roots and names, each held against the others. */
static bool read_issued(yyjson_val *v, const struct member_state *who, struct sv key, struct buf *chain,
                        struct pki_trust *trust, char token[static PKI_TOKEN_TEXT + 1], struct err *e) {
    unsigned char hash[PKI_TOKEN];
    struct pki_cert cert;
    struct pki_identity id;
    char uri[PKI_URI_MAX + 1];
    struct sv bearer = json_str(v, "token"), roots = json_str(v, "trust");
    *trust = (struct pki_trust){ .sequence = (uint64_t)json_i64(v, "trust_sequence", 0), .pem = BUF_MAX(PKI_PEM_MAX) };
    if (!pki_identity_set(&id, PKI_NODE, sv_of(who->fleet), sv_of(who->node_id)))
        return err_set(e, ERR_BAD_REPLY, "the hub names a fleet or a node id that can be none");
    if (!pki_token_hash(PKI_TOKEN_BEARER, bearer, hash) || !sv_to_cstr(bearer, token, PKI_TOKEN_TEXT + 1))
        return err_set(e, ERR_BAD_REPLY, "the hub's answer has no bearer token");
    if (!buf_add(chain, json_str(v, "chain")) || !buf_add(&trust->pem, roots) || !chain->n || !trust->pem.n)
        return err_set(e, ERR_BAD_REPLY, "the hub's answer has no certificate, or no roots");
    pki_identity_print(&id, uri);
    if (!pki_pair_check(buf_sv(chain), key, e) ||
        !pki_chain_verify(buf_sv(chain), roots, PKI_USE_CLIENT, SV_NULL, now_s(), e) ||
        !pki_cert_read(buf_sv(chain), &cert, e))
        return err_ctx(e, "the certificate from the hub");
    return strcmp(cert.is.uri, uri) == 0 ||
           err_set(e, ERR_BAD_REPLY, "the certificate from the hub is for %s, not for %s", cert.is.uri, uri);
}

static bool read_membership(struct member *m, const struct asking *a, yyjson_val *v, struct member_state *s, struct err *e) {
    size_t i, n;
    yyjson_val *it;
    *s = (struct member_state){ .renew_grace_s = json_i64(v, "renew_grace_s", 0),
                                .by_system = !m->wish.has_pin,
                                .pair = { .chain = BUF_MAX(PKI_PEM_MAX), .key = BUF_MAX(PKI_PEM_MAX + 1) },
                                .boot_count = 1 };
    memcpy(s->mode, m->wish.mode, sizeof s->mode);
    memcpy(s->called_at, a->called_at, sizeof s->called_at);
    if (!sv_to_cstr(json_str(v, "fleet"), s->fleet, sizeof s->fleet) ||
        !sv_to_cstr(json_str(v, "hub_id"), s->hub_id, sizeof s->hub_id) ||
        !sv_to_cstr(json_str(v, "node_id"), s->node_id, sizeof s->node_id) ||
        !sv_to_cstr(sv_first(json_str(v, "name"), MEMBER_NAME_MAX), s->name, sizeof s->name) || !s->hub_id[0])
        return err_set(e, ERR_BAD_REPLY, "the hub's answer does not say who is who");
    member_urls_add(&s->urls, sv_of(member__url(m))); /* where it answered */
    yyjson_arr_foreach(json_get(v, "urls"), i, n, it) {
        struct url u;
        if (url_parse(json_sv(it), &u, e) && u.scheme == URL_HTTPS)
            member_urls_add(&s->urls, json_sv(it));
    }
    return (buf_add(&s->pair.key, buf_sv(&m->wish.key)) || err_no_memory(e)) &&
           read_issued(v, s, buf_sv(&m->wish.key), &s->pair.chain, &s->trust, s->token, e);
}

static bool adopt(struct member *m, const struct asking *a, struct err *e) {
    CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse(buf_sv(&a->reply));
    struct member_state s = { 0 };
    if (!doc)
        return err_set(e, ERR_BAD_REPLY, "the hub's answer is no JSON");
    if (!read_membership(m, a, yyjson_doc_get_root(doc), &s, e) || !member_state_adopt(m->dir, &s, e)) {
        member_state_deinit(&s);
        return false;
    }
    m->state = s;
    m->has_state = true;
    struct err left;
    if (!member_wish_remove(m->dir, &left)) /* it is looked at only where there is no membership */
        log_event(LOG_WARN, "the request to join could not be removed", F_STR("cause", left.text));
    member_wish_deinit(&m->wish);
    m->has_wish = false;
    return true;
}

static void set_fingerprint(struct member *m, struct sv text) {
    unsigned char pin[TLS_PIN];
    if (pki_pin_read(text, pin))
        pki_pin_print(pin, m->fingerprint);
}

static void rest_asking(struct member *m, const struct asking *a, const struct err *e) {
    const struct plan_end end = { .status = a ? a->status : 0, .told_ms = a ? a->retry_s * 1000 : 0 };
    member__failed(m, e);
    m->at++;                                 /* the next address */
    if (!end.status && m->at < m->n_order) { /* of this round */
        member__rest(m, MEMBER_ASKING, MEMBER_ASK_LEAST_MS / 4, &end, member__ask);
        return;
    }
    member__rest(m, MEMBER_ASKING, plan_wait_ms(&m->plan, &end, &member__chance), &end, member__ask);
}

static void on_joined(struct member *m) {
    char pin[PKI_PIN_TEXT + 1];
    pki_pin_print(m->state.pair.cert.is.spki, pin);
    memcpy(m->fingerprint, pin, sizeof pin);
    log_event(LOG_INFO, "joined a fleet", F_STR("fleet", m->state.fleet), F_STR("hub", m->state.hub_id),
              F_STR("node", m->state.node_id), F_STR("name", m->state.name));
    member__failed(m, NULL);
    m->plan = (struct plan){ 0 };
    m->n_order = m->at = 0;
    member__proceed(m);
}

static void wait_for_approval(struct member *m, const struct asking *a) {
    CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse(buf_sv(&a->reply));
    yyjson_val *root = yyjson_doc_get_root(doc);
    int64_t s = json_i64(root, "retry_s", a->retry_s ? a->retry_s : 5);
    s = s < 1 ? 1 : s > WAIT_MOST_S ? WAIT_MOST_S : s;
    set_fingerprint(m, json_str(root, "fingerprint"));
    member__failed(m, NULL);
    m->plan = (struct plan){ 0 };
    member__rest(m, MEMBER_WAITING, (uint64_t)s * 1000, &(struct plan_end){ .status = 202 }, member__ask);
}

static void on_answer(struct asking *a, const struct err *fault) {
    struct member *m = a->m;
    struct err e = fault ? *fault : (struct err){ 0 };
    m->asking = NULL;
    if (!fault && a->status == 200 && adopt(m, a, &e)) {
        on_joined(m);
    } else if (!fault && a->status == 202) {
        wait_for_approval(m, a);
    } else if (!fault && a->status == 403) {
        words_of(a, &e, "the operator refused this node");
        member__failed(m, &e);
        log_event(LOG_ERROR,
                  "the hub's operator does not want this node; it asks again after a restart, or with another line",
                  F_STR("cause", e.text));
        member__goto(m, MEMBER_DENIED);
    } else {
        if (!fault && a->status == 401)
            words_of(a, &e, "the line is used up, or too old; drover hub invite makes another");
        else if (!fault && a->status != 200)
            words_of(a, &e, "unexpected");
        if (a->status == 200) { /* an answer that cannot be used will not become better at once */
            a->status = 0;
            a->retry_s = a->retry_s ? a->retry_s : 30;
        }
        rest_asking(m, a, &e);
    }
    asking_free(a);
}

void member__ask(void *arg) {
    struct member *m = arg;
    struct err e;
    if (m->is_stopping || !m->has_wish)
        return;
    struct asking *a = asking_new(m, on_answer);
    const char *url = member__url(m);
    if (a && print_request(a, &e) && post(a, url, "/drover/v1/enrol", false, &e)) {
        m->asking = a;
        return;
    }
    if (!a)
        err_no_memory(&e);
    else
        asking_free(a);
    rest_asking(m, NULL, &e);
}

/* --- the next certificate ------------------------------------------------------------------------------------------------------------- */

/* Whether what the hub wants is still wanting. */
static bool is_wanted(const struct member *m) {
    return m->wanted_sequence > m->state.trust.sequence || m->wanted_leaf_s > m->state.pair.cert.is.not_before_s;
}

static bool wants_now(const struct member *m) {
    return m->wanted_at_ms && is_wanted(m) && clock_wall_ms() >= m->wanted_at_ms;
}

static void look_again(struct member *m) {
    const struct tls_facts *c = &m->state.pair.cert.is;
    uint64_t now = clock_wall_ms();
    int64_t left = (pki_renew_at(c->not_before_s, c->not_after_s, c->serial) - now_s()) * 1000;
    left = left < 1000 || direct__is_untold(m) ? 1000 : left > MEMBER_LOOK_S * 1000 ? MEMBER_LOOK_S * 1000 : left;
    if (m->wanted_at_ms && is_wanted(m) && (int64_t)(m->wanted_at_ms - now) < left)
        left = m->wanted_at_ms > now                         ? (int64_t)(m->wanted_at_ms - now)
               : m->renewing || m->renew_not_before_ms > now ? 1000
                                                             : 1;
    timer_set(m->house.loop, &m->look, (uint64_t)left, member__look, m);
}

/* "2026-11-21T05:06:07.089Z", as the table of kinds has checked it; 0: none. */
static int64_t moment_of(struct sv v) {
    struct tm t = { 0 };
    char text[40];
    if (!sv_to_cstr(v, text, sizeof text) || sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d", &t.tm_year, &t.tm_mon, &t.tm_mday,
                                                    &t.tm_hour, &t.tm_min, &t.tm_sec) != 6)
        return 0;
    t.tm_year -= 1900;
    t.tm_mon--;
    return (int64_t)timegm(&t);
}

void member__want(struct member *m, yyjson_val *told) {
    int64_t spread = json_i64(told, "renew_spread_ms", MEMBER_SPREAD_MS),
            leaf_s = moment_of(json_str(told, "leaf_not_before"));
    uint64_t was_sequence = m->wanted_sequence;
    int64_t was_leaf_s = m->wanted_leaf_s;
    m->wanted_sequence = (uint64_t)json_i64(told, "trust_sequence", 0);
    m->wanted_leaf_s = leaf_s > now_s() ? now_s() : leaf_s; /* with a clock that is behind it would ask for ever */
    if (!is_wanted(m) || !(*m->house.config)->join.allow.certs) {
        m->wanted_at_ms = 0;
        return;
    }
    if (m->wanted_at_ms && was_sequence == m->wanted_sequence && was_leaf_s == m->wanted_leaf_s)
        return;
    log_event(LOG_INFO, "the hub wants another certificate here", F_U64("trust_sequence", m->wanted_sequence),
              F_I64("within_ms", spread));
    m->wanted_at_ms = clock_wall_ms() + rand_below((uint32_t)spread + 1);
    look_again(m);
}

void member__look(void *arg) {
    struct member *m = arg;
    const struct tls_facts *c = &m->state.pair.cert.is;
    if (!m->has_state || m->is_stopping)
        return;
    if (!m->renewing && clock_wall_ms() >= m->renew_not_before_ms &&
        (wants_now(m) || direct__is_untold(m) || pki_renew_due(c->not_before_s, c->not_after_s, c->serial, now_s())))
        member__renew(m);
    look_again(m);
}

/* The roots of a renewal. Others than ours only as a bundle that one of ours has signed, with a higher number: neither a proxy on the way nor an
 * answer of yesterday can change whom this node trusts. *ret_newer: t is to be kept. */
static bool check_roots(const struct member *m, yyjson_val *answer, struct pki_trust *t, bool *ret_newer,
                        struct err *e) {
    const struct pki_trust *ours = &m->state.trust;
    struct pki_trust signed_one;
    *ret_newer = t->sequence > ours->sequence;
    if (!*ret_newer)
        return true; /* ours stay */
    bool ok = pki_bundle_read(json_str(answer, "bundle"), ours, &signed_one, e);
    if (ok) {
        struct pki_trust was = *t;
        *t = signed_one;
        signed_one = was;
    }
    pki_trust_deinit(&signed_one);
    return ok || err_ctx(e, "the roots from the hub");
}

static bool take_renewal(struct member *m, const struct asking *a, struct err *e) {
    CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse(buf_sv(&a->reply));
    yyjson_val *answer = yyjson_doc_get_root(doc);
    struct buf chain = BUF_MAX(PKI_PEM_MAX);
    struct pki_trust trust = { 0 };
    char token[PKI_TOKEN_TEXT + 1] = "";
    bool newer = false;
    bool ok = doc ? read_issued(answer, &m->state, buf_sv(&a->key), &chain, &trust, token, e)
                  : err_set(e, ERR_BAD_REPLY, "the hub's answer is no JSON");
    ok = ok && check_roots(m, answer, &trust, &newer, e) &&
         pki_chain_verify(buf_sv(&chain), buf_sv(newer ? &trust.pem : &m->state.trust.pem), PKI_USE_CLIENT, SV_NULL,
                          now_s(), e);
    if (ok && newer) { /* before the certificate: who comes with that has these, too */
        ok = pki_trust_write(m->dir, buf_sv(&trust.pem), trust.sequence, e);
        if (ok) {
            struct pki_trust was = m->state.trust;
            m->state.trust = trust;
            trust = was;
        }
    }
    ok = ok && member_state_renew(m->dir, &m->state, buf_sv(&chain), buf_sv(&a->key), token, e);
    if (ok && strcmp(m->state.called_at, a->called_at) != 0) {
        memcpy(m->state.called_at, a->called_at, sizeof m->state.called_at);
        ok = member_state_note(m->dir, &m->state, e);
    }
    sodium_memzero(token, sizeof token);
    buf_deinit(&chain);
    pki_trust_deinit(&trust);
    return ok;
}

static void renewal_failed(struct member *m, const struct asking *a, const struct err *e) {
    const struct tls_facts *c = &m->state.pair.cert.is;
    int64_t s = pki_renew_retry_s(c->not_before_s, c->not_after_s);
    s = direct__is_untold(m) && s > UNTOLD_RETRY_S ? UNTOLD_RETRY_S : s;
    m->renew_not_before_ms = clock_wall_ms() + (uint64_t)s * 1000;
    m->at++;
    snprintf(m->renew_why, sizeof m->renew_why, "%s", e->text);
    log_event(LOG_ERROR, "the certificate could not be renewed; it is tried again", F_STR("cause", e->text),
              F_U64("wait_s", (uint64_t)s), F_I64("valid_for_s", c->not_after_s - now_s()));
    if (m->phase == MEMBER_RENEWING || m->phase == MEMBER_RESTING) {
        member__failed(m, e);
        if (member__cert_has_ended(m))
            member__rest(m, MEMBER_RESTING, (uint64_t)s * 1000, &(struct plan_end){ .status = a ? a->status : 0 },
                         member__proceed);
    }
}

/* It waits for who signs: asked again with the same key, for the chain will be for that one. */
static void renewal_waits(struct member *m, struct asking *a) {
    uint32_t s = m->renew_key.n ? 2 * m->renew_wait_s : a->retry_s;
    m->renew_wait_s = s = s < 5               ? 5
                          : s > WAIT_SIGNED_S ? WAIT_SIGNED_S
                                              : s; /* who signs may be away for days, and many nodes wait */
    if (!m->renew_key.n) {
        m->renew_key = a->key;
        buf_init(&a->key, PKI_PEM_MAX + 1);
        log_event(LOG_INFO, "the hub's operator has to sign the next certificate; it is asked for again",
                  F_U64("wait_s", s));
    }
    m->renew_not_before_ms = clock_wall_ms() + (uint64_t)s * 1000;
    snprintf(m->renew_why, sizeof m->renew_why, "the new certificate waits to be signed");
    if (member__cert_has_ended(m))
        member__rest(m, MEMBER_RESTING, (uint64_t)s * 1000, &(struct plan_end){ .status = 202 }, member__proceed);
}

static void on_renewed(struct asking *a, const struct err *fault) {
    struct member *m = a->m;
    struct err e = fault ? *fault : (struct err){ 0 };
    m->renewing = NULL;
    if (!fault && a->status == 202) {
        renewal_waits(m, a);
        asking_free(a);
        return;
    }
    if (!fault && a->status / 100 != 5)
        pki_wipe(&m->renew_key); /* it has served, or is not wanted */
    if (!fault && a->status == 200 && take_renewal(m, a, &e)) {
        const struct pki_cert *c = &m->state.pair.cert;
        pki_pin_print(c->is.spki, m->fingerprint);
        log_event(LOG_INFO, "the certificate was renewed", F_STR("serial", c->is.serial),
                  F_I64("valid_for_s", c->is.not_after_s - now_s()));
        m->renew_not_before_ms = 0;
        if (!m->fresh) { /* the link moves to it; one that is being made is young enough */
            timer_stop(m->house.loop, &m->next);
            member__proceed(m);
        }
    } else {
        if (!fault && a->status != 200)
            words_of(a, &e, "no reason was given");
        renewal_failed(m, a, &e);
    }
    asking_free(a);
}

/* The hub may take what it is told and its answer be lost: until that has come nobody here knows what the hub knows, which is on the disk first. */
static bool note_telling(struct asking *a, struct err *e) {
    struct member_state *s = &a->m->state;
    if (strcmp(s->called_at, a->called_at) == 0 || strcmp(s->called_at, MEMBER_CALLED_UNKNOWN) == 0)
        return true;
    snprintf(s->called_at, sizeof s->called_at, "%s", MEMBER_CALLED_UNKNOWN);
    return member_state_note(a->m->dir, s, e);
}

void member__renew(struct member *m) {
    struct buf csr = BUF_MAX(PKI_CSR_MAX);
    struct err e;
    if (m->renewing)
        return;
    if (!m->now && member__cert_has_ended(m))
        member__goto(m, MEMBER_RENEWING);
    struct asking *a = asking_new(m, on_renewed);
    const char *url = member__url(m);
    bool ok = a != NULL || err_no_memory(&e);
    if (ok && m->renew_key.n)
        ok = (buf_reserve(&a->key, m->renew_key.n + 1) && buf_add(&a->key, buf_sv(&m->renew_key))) || err_no_memory(&e);
    else if (ok)
        ok = pki_key_make(PKI_P256, &a->key, &e);
    ok = ok && pki_csr_make(buf_sv(&a->key), &csr, &e);
    if (ok) {
        buf_add(&a->body, SV("{\"csr\":"));
        buf_add_json(&a->body, buf_sv(&csr));
        put_mode(a, &a->body);
        buf_add_char(&a->body, '}');
    }
    buf_deinit(&csr);
    ok = ok && note_telling(a, &e);
    if (ok && post(a, url, "/drover/v1/enrol/renew", !member__cert_has_ended(m), &e)) {
        m->renewing = a;
        return;
    }
    if (a)
        asking_free(a);
    renewal_failed(m, NULL, &e);
}

void member__cancel(struct member *m) {
    if (m->asking)
        asking_free(m->asking);
    if (m->renewing)
        asking_free(m->renewing);
    m->asking = m->renewing = NULL;
    timer_stop(m->house.loop, &m->next);
}
