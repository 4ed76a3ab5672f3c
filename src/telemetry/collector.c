#include "telemetry/collector.h"

#include <sodium.h>
#include <stdio.h>

#include "base/log.h"
#include "base/rand.h"
#include "http/url.h"
#include "telemetry/otlp.h"

enum {
    REPLY_MAX = 64 << 10,
    ARENA_MAX = 256 << 10,    /* of one call: its head and that of the reply */
    BACK_OFF_MS = 1000,       /* after the first failure; doubled with each up to */
    BACK_OFF_MAX_MS = 60000,
    RETRY_AFTER_MAX_S = 600,  /* what a collector may ask for */
    CALL_MS = 10000,          /* to connect, and for each silence */
    POOL_IDLE_MS = 30000,
    HEADERS_MAX = 24,
    WHY = 200,
};

/* --- one body ----------------------------------------------------------------------------------------------------- */

bool sender_is_free(const struct sender *s, uint64_t now_ms) {
    return !s->call && now_ms >= s->next_ms;
}

void sender_forget(struct sender *s) {
    buf_deinit(&s->body);
    s->has_body = false;
    s->n = s->rows = 0;
    s->n_failed = 0;
    s->next_ms = 0;
}

static void end_call(struct sender *s) {
    s->call = NULL;
    buf_deinit(&s->reply);
    arena_deinit(&s->arena);
}

void sender_cancel(struct sender *s) {
    if (!s->call)
        return;
    http_call_cancel(s->call);
    end_call(s);
}

/* Told once when it begins, and once when it is over. */
static void tell(struct sender *s, const char *cause) {
    struct sv url = s->to->config->telemetry.otlp.url;
    if (cause && !s->failing)
        log_event(LOG_WARN, "the collector does not take what is exported to it", F_SV("url", url), F_STR("path", s->path),
                  F_STR("cause", cause));
    else if (!cause && s->failing)
        log_event(LOG_INFO, "the collector takes what is exported to it again", F_SV("url", url), F_STR("path", s->path));
    s->failing = cause != NULL;
}

/* Longer with each failure, a little at random so that many do not come back at once. */
static void later(struct sender *s, const char *cause) {
    uint64_t ms = BACK_OFF_MS;
    for (unsigned i = 0; i < s->n_failed && ms < BACK_OFF_MAX_MS; i++)
        ms *= 2;
    ms = ms < BACK_OFF_MAX_MS ? ms : BACK_OFF_MAX_MS;
    ms = ms / 2 + rand_below((uint32_t)ms / 2 + 1);
    s->n_failed++;
    s->next_ms = loop_now_ms(s->to->loop) + (s->retry_after_ms ? s->retry_after_ms : ms);
    tell(s, cause);
    s->on_over(s, SENDER_LATER, 0);
}

/* It will never take this body. */
static void refused(struct sender *s, const char *cause) {
    tell(s, cause);
    s->on_over(s, SENDER_REFUSED, 0);
    sender_forget(s);
}

static void taken(struct sender *s) {
    char why[WHY];
    uint64_t rejected = otlp_rejected(buf_sv(&s->reply), s->member, why, sizeof why);
    tell(s, NULL);
    if (rejected)
        log_event(LOG_WARN, "the collector did not take all of it", F_STR("path", s->path), F_U64("rejected", rejected),
                  F_STR("cause", why));
    s->on_over(s, SENDER_TAKEN, rejected);
    sender_forget(s);
}

/* The specification's list: all other faults are for good. */
static bool may_retry(int status) {
    return status == 429 || status == 502 || status == 503 || status == 504;
}

static void on_ready(void *arg) {
    struct sender *s = arg;
    struct sv body = buf_sv(&s->body);
    http_call_send(s->call, &body, 1);
    http_call_sent(s->call);
}

static void on_head(void *arg, const struct http_head *head) {
    struct sender *s = arg;
    uint64_t seconds = 0;
    s->status = head->status;
    if (sv_to_u64(sv_trim(http_get(head, SV("retry-after"))), &seconds)) /* a date is not worth its parsing */
        s->retry_after_ms = 1000 * (seconds < RETRY_AFTER_MAX_S ? seconds : RETRY_AFTER_MAX_S);
}

static void on_body(void *arg, struct sv bytes) {
    struct sender *s = arg;
    buf_add(&s->reply, bytes); /* too long: then it says nothing */
}

static void on_end(void *arg) {
    struct sender *s = arg;
    char cause[32];
    snprintf(cause, sizeof cause, "status %d", s->status);
    if (s->status / 100 == 2)
        taken(s);
    else if (may_retry(s->status))
        later(s, cause);
    else
        refused(s, cause);
    end_call(s);
    s->on_idle(s);
}

static void on_fail(void *arg, const struct err *e, bool stale) {
    struct sender *s = arg;
    s->retry_after_ms = 0;
    if (stale) /* a pooled connection had ended: at once on another */
        s->next_ms = 0;
    else
        later(s, e->text);
    end_call(s);
    if (stale)
        s->on_idle(s);
}

static const struct http_call_events call_events = { on_ready, on_head, on_body, on_end, on_fail, NULL };

/* "name: value" of the settings, which have been checked. */
static unsigned put_headers(const struct collector *to, struct http_header out[static HEADERS_MAX]) {
    const struct config *c = to->config;
    unsigned n = 0;
    out[n++] = (struct http_header){ SV("host"), to->authority };
    out[n++] = (struct http_header){ SV("content-type"), SV("application/json") };
    out[n++] = (struct http_header){ SV("user-agent"), sv_of(to->user_agent) };
    if (to->credential)
        out[n++] = (struct http_header){ c->telemetry.otlp.key_header, (struct sv){ to->credential, to->credential_n } };
    for (size_t i = 0; i < c->telemetry.otlp.headers.n && n < HEADERS_MAX; i++) {
        struct sv value = c->telemetry.otlp.headers.v[i], name;
        if (sv_cut(&value, ':', &name))
            out[n++] = (struct http_header){ name, sv_trim(value) };
    }
    return n;
}

void sender_send(struct sender *s) {
    struct collector *to = s->to;
    struct http_header headers[HEADERS_MAX];
    struct err e;
    arena_init(&s->arena, ARENA_MAX, NULL);
    buf_init(&s->reply, REPLY_MAX);
    s->status = 0;
    s->retry_after_ms = 0;
    char *target = arena_printf(&s->arena, "%.*s%s", SV_FMT(to->prefix), s->path);
    struct http_call_spec spec = { .dialer = to->dialer, .method = SV("POST"), .target = sv_of(target), .headers = headers,
                                   .n_headers = put_headers(to, headers), .length = (int64_t)s->body.n, .connect_ms = CALL_MS,
                                   .first_byte_ms = CALL_MS, .stall_ms = CALL_MS, .pool_idle_ms = POOL_IDLE_MS };
    if (target)
        s->call = http_call_start(to->client, &s->arena, &spec, &call_events, s, &e);
    else
        err_no_memory(&e);
    if (!s->call) {
        later(s, e.text);
        end_call(s);
    } else if (http_call_is_ready(s->call)) {
        on_ready(s);
    }
}

/* --- the address -------------------------------------------------------------------------------------------------- */

static void wipe_credential(struct collector *to) {
    if (to->credential)
        sodium_memzero(to->credential, to->credential_n);
    mem_free(to->credential);
    to->credential = NULL;
    to->credential_n = 0;
}

/* "Bearer KEY", "Basic KEY", or the key as it is. */
static bool make_credential(struct collector *to, const struct config *c) {
    static const char *const words[] = { [CONFIG_SCHEME_BEARER] = "Bearer ", [CONFIG_SCHEME_BASIC] = "Basic ", [CONFIG_SCHEME_PLAIN] = "" };
    const struct config_secret *key = &c->telemetry.otlp.key;
    const char *word = words[c->telemetry.otlp.key_scheme];
    wipe_credential(to);
    if (!key->n)
        return true;
    to->credential_n = strlen(word) + key->n;
    to->credential = mem_alloc(to->credential_n);
    if (!to->credential)
        return false;
    memcpy(to->credential, word, strlen(word));
    memcpy(to->credential + strlen(word), key->value, key->n);
    return true;
}

static struct dialer *make_dialer(const struct config *c, const struct url *u, struct err *e) {
    struct sv ca = c->telemetry.otlp.tls_ca;
    if (u->scheme == URL_UNIX)
        return dialer_unix(u->socket, e);
    struct tls_context *tls = u->scheme == URL_HTTPS ? tls_client_context(ca.n ? ca.p : NULL, false, e) : NULL;
    if (u->scheme == URL_HTTPS && !tls)
        return NULL;
    struct dialer *d = dialer_tcp(u->host, u->port, tls, e);
    tls_unref(tls);
    return d;
}

bool collector_set(struct collector *to, struct config *c, struct err *e) {
    struct url u = { 0 };
    struct config *was = to->config;
    bool wanted = c->telemetry.otlp.url.n != 0;
    struct dialer *d = wanted && url_parse(c->telemetry.otlp.url, &u, e) ? make_dialer(c, &u, e) : NULL;
    wipe_credential(to);
    if (d && !make_credential(to, c)) {
        d = dialer_unref(d);
        err_no_memory(e);
    }
    dialer_unref(to->dialer); /* a call under way has its own share of it */
    to->dialer = d;
    to->config = config_ref(c);
    to->prefix = u.prefix; /* views on c */
    to->authority = u.scheme == URL_UNIX ? SV("localhost") : u.authority;
    config_unref(was);
    return d || !wanted || err_ctx(e, "telemetry.otlp.url");
}

bool collector_init(struct collector *to, struct loop *l, struct sv version, struct err *e) {
    static const struct h1_limits head = { 0, 16 << 10, 64 << 10, 200, 4096 };
    *to = (struct collector){ .loop = l, .user_agent = mem_alloc(version.n + 8) };
    if (!to->user_agent)
        return err_no_memory(e);
    snprintf(to->user_agent, version.n + 8, "drover/%.*s", SV_FMT(version));
    to->client = http_client_new(l, &head, e);
    return to->client != NULL;
}

void collector_deinit(struct collector *to) {
    http_client_free(to->client);
    dialer_unref(to->dialer);
    wipe_credential(to);
    config_unref(to->config);
    mem_free(to->user_agent);
    *to = (struct collector){ 0 };
}
