#include "gateway/watch.h"

#include "gateway/exchange.h"

#define X(id, text) [id] = text,
static const char *const state_names[] = { LIVE_STATES(X) };
#undef X

const char *live_state_name(enum live_state s) {
    return state_names[s];
}

/* --- those that have ended ---------------------------------------------------------------------------------------- */

/* Since the last report. Handed over whole. */
struct watch_ended {
    struct arena arena;
    struct request_record records[REPORT_ENDED];
    struct live_seen seen[REPORT_SEEN];
    unsigned n, n_seen, n_lost;
};

static struct watch_ended *ended_of(struct gateway *g) {
    if (!g->ended && (g->ended = mem_new(sizeof *g->ended)))
        arena_init(&g->ended->arena, REPORT_ARENA, NULL);
    return g->ended;
}

void watch__free(struct gateway *g) {
    if (g->ended)
        arena_deinit(&g->ended->arena);
    mem_free(g->ended);
    g->ended = NULL;
}

static uint64_t since(uint64_t moment_us, uint64_t start_us) {
    return moment_us > start_us ? moment_us - start_us : 0;
}

void watch__ended(struct gateway *g, const struct request_record *r) {
    struct watch_ended *w = ended_of(g);
    if (!w || w->n == REPORT_ENDED) {
        if (w)
            w->n_lost++;
        return;
    }
    struct request_record *to = &w->records[w->n];
    struct sv *views[] = { &to->id, &to->key, &to->key_name, &to->slug, &to->model, &to->endpoint, &to->runtime, &to->dialect, &to->api };
    *to = *r;
    for (size_t i = 0; i < sizeof views / sizeof views[0]; i++)
        *views[i] = arena_sv(&w->arena, *views[i]);
    to->first_us = r->first_us ? since(r->first_us, r->received_us) : 0;
    to->last_us = since(r->last_us, r->received_us);
    to->done_us = since(r->done_us, r->received_us);
    to->received_us = 0;
    w->n++;
}

/* --- what is sent ------------------------------------------------------------------------------------------------- */

static struct sv dialect_of(const struct exchange *x) {
    static const char *const names[] = { "plain", "openai", "anthropic", "ollama", "lmstudio" };
    return sv_of(names[llm_dialect(x->route->api)]);
}

void watch__sent(struct exchange *x, struct sv bytes) {
    if (!buf_add(&x->seen, bytes)) { /* a gap shows in `from` */
        buf_reset(&x->seen);
        x->seen_from = x->bytes_out;
    }
}

static struct live_seen take_seen(struct exchange *x, struct arena *a, bool end) {
    char id[33];
    answer__request_id(x->in, id);
    struct live_seen s = { arena_sv(a, sv_of(id)), dialect_of(x), arena_sv(a, buf_sv(&x->seen)), x->seen_from, x->is_stream, end };
    x->seen_from += x->seen.n;
    buf_reset(&x->seen);
    return s;
}

/* What was not reported yet of one that ends. */
void watch__end(struct exchange *x) {
    struct watch_ended *w = x->is_seen ? ended_of(x->g) : NULL;
    if (w && w->n_seen < REPORT_SEEN)
        w->seen[w->n_seen++] = take_seen(x, &w->arena, true);
    if (x->is_seen)
        x->g->n_seen--;
    x->is_seen = false;
}

static struct exchange *find(struct gateway *g, struct sv id) {
    char text[33];
    LIST_FOR(it, &g->all) {
        struct exchange *x = CONTAINER(it, struct exchange, all);
        answer__request_id(x->in, text);
        if (sv_eq(id, sv_of(text)))
            return x;
    }
    return NULL;
}

bool gateway_see(struct gateway *g, struct sv id, bool on) {
    struct exchange *x = find(g, id);
    if (!x || (on && !x->is_seen && g->n_seen >= REPORT_SEEN))
        return false;
    if (on && !x->is_seen) {
        buf_init(&x->seen, REPORT_SEEN_BYTES);
        x->seen_from = x->bytes_out;
    }
    g->n_seen = g->n_seen + on - x->is_seen;
    x->is_seen = on;
    return true;
}

/* --- reports ------------------------------------------------------------------------------------------------------ */

static enum live_state state_of(const struct exchange *x) {
    return x->state == EX_READ ? LIVE_READING : x->state == EX_PARKED ? LIVE_QUEUED : x->state == EX_RELAY && x->meter.has_first ? LIVE_ANSWERING : LIVE_WAITING;
}

static void describe(const struct exchange *x, struct arena *a, struct live_request *to) {
    const struct fleet_target *t = x->sched.taken;
    const struct meter *m = &x->meter;
    uint64_t now = loop_now_us(x->g->loop);
    char id[33];
    bool metered = x->reply != NULL;
    answer__request_id(x->in, id);
    *to = (struct live_request){
        .id = arena_sv(a, sv_of(id)),
        .key = arena_sv(a, x->key ? x->key->id : x->principal),
        .key_name = arena_sv(a, x->key ? x->key->name : x->principal),
        .api = sv_of(x->route->path),
        .asked = arena_sv(a, x->asked),
        .slug = x->sched.slug ? arena_sv(a, x->sched.slug->name) : SV_NULL,
        .endpoint = t ? arena_sv(a, t->endpoint->name) : SV_NULL,
        .model = t ? arena_sv(a, t->model->id) : SV_NULL,
        .state = state_of(x),
        .stream = x->is_stream,
        .attempts = x->attempts,
        .place = x->queue_place,
        .expect_ms = x->queue_expect_ms,
        .age_us = since(now, x->in->received_us),
        .queue_us = x->queue_us + (x->state == EX_PARKED ? since(now, x->parked_us) : 0),
        .first_us = metered && m->has_first ? since(m->t_first_us, x->in->received_us) : 0,
        .input = x->state == EX_READ ? -1 : count__input(x),
        .output = metered ? meter_output_so_far(m, 0) : -1,
        .reasoning = metered ? m->reasoning : -1,
        .bytes_out = x->bytes_out,
    };
}

static void report_live(struct gateway *g, struct gateway_report *r) {
    unsigned room = 0;
    LIST_FOR(it, &g->all)
        r->total++;
    r->queued = g->n_parked;
    room = r->total < REPORT_LIVE ? r->total : REPORT_LIVE;
    r->live = ARENA_ARRAY(&r->arena, struct live_request, room + 1);
    r->seen = ARENA_ARRAY(&r->arena, struct live_seen, 2 * REPORT_SEEN);
    LIST_FOR(it, &g->all) {
        struct exchange *x = CONTAINER(it, struct exchange, all);
        if (r->live && r->n_live < room)
            describe(x, &r->arena, &r->live[r->n_live++]);
        if (r->seen && x->is_seen && x->seen.n && r->n_seen < REPORT_SEEN)
            r->seen[r->n_seen++] = take_seen(x, &r->arena, false);
    }
}

static void drop_ended(void *arg) {
    struct watch_ended *w = arg;
    arena_deinit(&w->arena);
    mem_free(w);
}

static void report_ended(struct gateway *g, struct gateway_report *r) {
    struct watch_ended *w = g->ended;
    if (!w || !arena_defer(&r->arena, drop_ended, w))
        return; /* the next report has it */
    g->ended = NULL;
    r->ended = w->records;
    r->n_ended = w->n;
    r->n_lost = w->n_lost;
    for (unsigned i = 0; r->seen && i < w->n_seen; i++)
        r->seen[r->n_seen++] = w->seen[i];
}

void gateway_report(struct gateway *g, struct gateway_report *r) {
    report_live(g, r);
    report_ended(g, r);
}

void gateway_stop_key(struct gateway *g, struct sv key) {
    struct err e;
    err_set(&e, ERR_CANCELED, "an operator stopped the requests of this key");
    LIST_FOR_SAFE(it, &g->all) {
        struct exchange *x = CONTAINER(it, struct exchange, all);
        if (x->key && sv_eq(x->key->id, key))
            answer__fail(x, &e, RESULT_CANCELLED);
    }
}

void gateway_stop_hub(struct gateway *g) {
    struct err e;
    err_set(&e, ERR_CANCELED, "this node is being drained, and its time is over");
    LIST_FOR_SAFE(it, &g->all) {
        struct exchange *x = CONTAINER(it, struct exchange, all);
        if (x->is_from_hub)
            answer__fail(x, &e, RESULT_CANCELLED);
    }
}

bool gateway_stop(struct gateway *g, struct sv id) {
    struct exchange *x = find(g, id);
    struct err e;
    err_set(&e, ERR_CANCELED, "an operator stopped this request");
    if (x)
        answer__fail(x, &e, RESULT_CANCELLED);
    return x != NULL;
}
