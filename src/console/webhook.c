/* console/webhook.c - an alert as an HTTP request: step -> send -> on_head, on_end or on_fail or on_deadline -> taken, lost, or later.
 *
 * One call at a time and no connection kept: alerts are rare. Redirects are not followed: what would go elsewhere, perhaps with the key,
 * is for whoever wrote the settings to decide. */
#include "console/outlet.h"

#include <sodium.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/rand.h"
#include "http/client.h"
#include "http/url.h"
#include "version.h"

enum {
    TRIES = 5,
    BACK_OFF_MS = 1000,     /* after the first failure; doubled with each */
    RETRY_AFTER_MAX_S = 60, /* what a receiver may ask for */
    CALL_MS = 10000,        /* from the dial to the last byte of the answer */
    ARENA_MAX = 256 << 10,
};

struct webhook {
    struct loop *loop;
    struct http_client *client;
    struct config *config;       /* shared; NULL before the first */
    struct dialer *dialer;       /* NULL: none is set */
    struct sv prefix, authority; /* views on the settings */
    char *credential;            /* "Bearer KEY"; wiped */
    size_t credential_n;
    struct outbox outbox;
    struct message *now; /* on its way, or waiting to be tried again */
    struct http_call *call;
    struct arena arena; /* of the call */
    struct timer timer; /* the call's deadline, or the next try */
    int status;
    unsigned n_tried;
    uint64_t retry_after_ms;
};

static void end_call(struct webhook *w) {
    timer_stop(w->loop, &w->timer);
    w->call = NULL;
    arena_deinit(&w->arena);
}

/* --- what became of it -------------------------------------------------------------------------------------------- */

static void over(struct webhook *w, const char *fault) {
    struct message *m = w->now;
    w->now = NULL;
    w->n_tried = 0;
    if (fault)
        outbox_lost(&w->outbox, m, fault);
    else
        outbox_taken(&w->outbox, m);
    webhook_step(w);
}

static void send_now(struct webhook *w);

static void on_next_try(void *arg) {
    send_now(arg);
}

static void later(struct webhook *w, const char *cause) {
    uint64_t ms = BACK_OFF_MS << w->n_tried;
    if (++w->n_tried == TRIES) {
        over(w, cause);
        return;
    }
    ms = w->retry_after_ms ? w->retry_after_ms : ms / 2 + rand_below((uint32_t)ms / 2 + 1);
    if (w->n_tried == 1)
        log_event(LOG_WARN, "the webhook does not take an alert now; it is tried again", F_STR("alert", w->now->id), F_STR("cause", cause));
    snprintf(w->outbox.fault, sizeof w->outbox.fault, "%s", cause);
    timer_set(w->loop, &w->timer, ms, on_next_try, w);
}

static bool may_retry(int status) {
    return status == 408 || status == 425 || status == 429 || status >= 500;
}

static void on_ready(void *arg) {
    struct webhook *w = arg;
    http_call_send(w->call, &(struct sv){ w->now->json, w->now->n }, 1);
    http_call_sent(w->call);
}

static void on_head(void *arg, const struct http_head *head) {
    struct webhook *w = arg;
    uint64_t seconds = 0;
    w->status = head->status;
    if (sv_to_u64(sv_trim(http_get(head, SV("retry-after"))), &seconds))
        w->retry_after_ms = 1000 * (seconds < RETRY_AFTER_MAX_S ? seconds : RETRY_AFTER_MAX_S);
}

/* What it says is for nobody; how long it may be is bounded by the deadline. */
static void on_body(void *arg, struct sv bytes) {
    (void)arg;
    (void)bytes;
}

static void on_end(void *arg) {
    struct webhook *w = arg;
    char cause[64];
    end_call(w);
    snprintf(cause, sizeof cause, "it answered %d%s", w->status, w->status / 100 == 3 ? "; redirects are not followed" : "");
    if (w->status / 100 == 2)
        over(w, NULL);
    else if (may_retry(w->status))
        later(w, cause);
    else
        over(w, cause);
}

static void on_fail(void *arg, const struct err *e, bool stale) {
    struct webhook *w = arg;
    (void)stale; /* no connection is used twice */
    end_call(w);
    later(w, e->text);
}

static void on_deadline(void *arg) {
    struct webhook *w = arg;
    http_call_cancel(w->call);
    end_call(w);
    later(w, "no whole answer within 10 s");
}

static const struct http_call_events call_events = { on_ready, on_head, on_body, on_end, on_fail, NULL, NULL };

static void send_now(struct webhook *w) {
    const struct http_header headers[] = {
        { SV("host"), w->authority },
        { SV("content-type"), SV("application/json") },
        { SV("user-agent"), SV("drover/" DROVER_VERSION) },
        { SV("authorization"), { w->credential, w->credential_n } },
    };
    struct http_call_spec spec = { .dialer = w->dialer,
                                   .method = SV("POST"),
                                   .target = w->prefix.n ? w->prefix : SV("/"),
                                   .headers = headers,
                                   .n_headers = w->credential ? 4 : 3,
                                   .length = (int64_t)w->now->n,
                                   .connect_ms = CALL_MS,
                                   .first_byte_ms = CALL_MS,
                                   .stall_ms = CALL_MS,
                                   .fresh = true };
    struct err e;
    arena_init(&w->arena, ARENA_MAX, NULL);
    w->status = 0;
    w->retry_after_ms = 0;
    w->call = http_call_start(w->client, &w->arena, &spec, &call_events, w, &e);
    if (!w->call) {
        end_call(w);
        later(w, e.text);
        return;
    }
    timer_set(w->loop, &w->timer, CALL_MS, on_deadline, w);
    if (http_call_is_ready(w->call))
        on_ready(w);
}

void webhook_step(struct webhook *w) {
    if (!w->now && w->dialer && (w->now = outbox_take(&w->outbox)))
        send_now(w);
}

/* --- the address -------------------------------------------------------------------------------------------------- */

static void wipe_credential(struct webhook *w) {
    if (w->credential)
        sodium_memzero(w->credential, w->credential_n);
    mem_free(w->credential);
    w->credential = NULL;
    w->credential_n = 0;
}

static bool make_credential(struct webhook *w, const struct config_secret *key) {
    static const char word[] = "Bearer ";
    wipe_credential(w);
    if (!key->n)
        return true;
    w->credential_n = sizeof word - 1 + key->n;
    w->credential = mem_alloc(w->credential_n);
    if (!w->credential)
        return false;
    memcpy(w->credential, word, sizeof word - 1);
    memcpy(w->credential + sizeof word - 1, key->value, key->n);
    return true;
}

static struct dialer *make_dialer(const struct config *c, const struct url *u, struct err *e) {
    struct sv ca = c->alerts.webhook_ca;
    struct tls_context *tls = u->scheme == URL_HTTPS ? tls_client_context(ca.n ? ca.p : NULL, false, e) : NULL;
    if (u->scheme == URL_HTTPS && !tls)
        return NULL;
    struct dialer *d = dialer_tcp(u->host, u->port, tls, e);
    tls_unref(tls);
    return d;
}

bool webhook_set(struct webhook *w, struct config *c, struct err *e) {
    struct url u = { 0 };
    struct config *was = w->config;
    bool wanted = c->alerts.webhook.n != 0;
    struct dialer *d = wanted && url_parse(c->alerts.webhook, &u, e) ? make_dialer(c, &u, e) : NULL;
    if (d && !make_credential(w, &c->alerts.webhook_key)) {
        d = dialer_unref(d);
        err_no_memory(e);
    }
    dialer_unref(w->dialer); /* a call under way has its own share of it */
    w->dialer = d;
    w->config = config_ref(c);
    w->prefix = u.prefix; /* views on c */
    w->authority = u.authority;
    config_unref(was);
    if (!d) {
        if (w->call)
            http_call_cancel(w->call);
        end_call(w);
        wipe_credential(w);
        if (w->now)
            outbox_lost(&w->outbox, w->now, "there is no webhook any more");
        w->now = NULL;
        w->n_tried = 0;
        outbox_clear(&w->outbox, "there is no webhook any more");
    }
    return d || !wanted || err_ctx(e, "alerts.webhook");
}

bool webhook_is_set(const struct webhook *w) {
    return w->dialer != NULL;
}

struct outbox *webhook_outbox(struct webhook *w) {
    return &w->outbox;
}

/* --- life --------------------------------------------------------------------------------------------------------- */

struct webhook *webhook_new(struct loop *l, struct err *e) {
    static const struct h1_limits head = { 0, 16 << 10, 64 << 10, 200, 4096 };
    struct webhook *w = mem_new(sizeof *w);
    if (!w) {
        err_no_memory(e);
        return NULL;
    }
    w->loop = l;
    outbox_init(&w->outbox, "webhook");
    w->client = http_client_new(l, &head, e);
    if (w->client)
        return w;
    mem_free(w);
    return NULL;
}

void webhook_free(struct webhook *w) {
    if (!w)
        return;
    if (w->call)
        http_call_cancel(w->call);
    end_call(w);
    if (w->now)
        outbox_lost(&w->outbox, w->now, "Drover ends");
    outbox_clear(&w->outbox, "Drover ends");
    http_client_free(w->client);
    dialer_unref(w->dialer);
    wipe_credential(w);
    config_unref(w->config);
    mem_free(w);
}
