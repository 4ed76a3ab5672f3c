/* telemetry/metrics.c - shards of plain atomics with one writer each, so a store needs no locked instruction.
 *
 * A series is made by its shard's thread and published by raising the shard's count; it never moves or goes. A scrape walks
 * the published series of all shards and adds up those with the same labels. Names, types and buckets: docs/metrics.md;
 * the buckets are those of vLLM, so that dashboards can be shared. */
#include "telemetry/metrics.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/map.h"
#include "base/money.h"

enum {
    KINDS_MAX = 4096,      /* series of one kind and shard, whatever the settings say */
    KEY_MAX = 1400,        /* bytes of a series' labels, joined */
    LABEL_MAX = 200,       /* bytes of one value, unescaped */
    SHARD_ARENA_MAX = 256 << 20,
    BUCKETS_MAX = 24,
};

typedef _Atomic uint64_t count_t;

static const double ttft_le[] = { .001, .005, .01, .02, .04, .06, .08, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160,
                                  640, 2560 };
static const double itl_le[] = { .01, .025, .05, .075, .1, .15, .2, .3, .4, .5, .75, 1, 2.5, 5, 7.5, 10, 20, 40, 80 };
static const double duration_le[] = { .3, .5, .8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680 };
static const double tokens_le[] = { 1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5 };
#define LE(a) (a), sizeof(a) / sizeof(a)[0]

#define HISTOGRAMS(X)                                                                                                       \
    X(H_TTFT, "drover_time_to_first_token_seconds", LE(ttft_le), 1e-6, "From the whole request to the first output")        \
    X(H_ITL, "drover_inter_token_latency_seconds", LE(itl_le), 1e-6, "Between two outputs of a stream")                    \
    X(H_TPOT, "drover_time_per_output_token_seconds", LE(itl_le), 1e-6, "Mean time per output token after the first")       \
    X(H_DURATION, "drover_request_duration_seconds", LE(duration_le), 1e-6, "From the head of the request to its end")      \
    X(H_QUEUE, "drover_queue_time_seconds", LE(duration_le), 1e-6, "Waiting for a target to have room")                     \
    X(H_INPUT, "drover_input_tokens_per_request", LE(tokens_le), 1, "Tokens of the prompt")                                 \
    X(H_OUTPUT, "drover_output_tokens_per_request", LE(tokens_le), 1, "Tokens of the answer")
#define X(id, ...) id,
enum histogram_id { HISTOGRAMS(X) HISTOGRAM_N };
#undef X
static const struct {
    const char *name;
    const double *le;
    size_t n;
    double scale; /* stored integers to units */
    const char *help;
} histogram_info[] = {
#define X(id, name, ...) [id] = { name, __VA_ARGS__ },
    HISTOGRAMS(X)
#undef X
};

struct histogram {
    count_t buckets[BUCKETS_MAX]; /* the last used one is +Inf */
    count_t sum;
};

#define TOKEN_KINDS(X)                                                     \
    X(T_INPUT, "drover_input_tokens_total", "Tokens of prompts")           \
    X(T_OUTPUT, "drover_output_tokens_total", "Tokens of answers")         \
    X(T_CACHED, "drover_cached_input_tokens_total", "Prompt tokens taken from a cache") \
    X(T_REASONING, "drover_reasoning_tokens_total", "Output tokens spent on reasoning")
#define X(id, name, help) id,
enum token_kind { TOKEN_KINDS(X) TOKEN_N };
#undef X
enum { SOURCES = 5, RESULTS = 5 };

/* All series of one kind in one shard, e.g. one per (model, runtime). */
struct series {
    struct sv labels; /* the text between the braces */
    count_t count;    /* for plain counters */
    struct metrics_itl *model; /* for models */
};

struct family {
    struct series *_Atomic items[KINDS_MAX + 1]; /* one more for all that found no place */
    _Atomic size_t n;
    struct map by_key;
};

struct metrics_itl { /* what is counted per model and runtime */
    struct histogram h[HISTOGRAM_N];
    count_t tokens[TOKEN_N][SOURCES];
    count_t costs[COST_SOURCE_N]; /* millionths */
    count_t n_unpriced;
};

enum family_id { F_REQUESTS, F_MODELS, F_ATTEMPTS, F_LIMITS, F_ANOMALIES, F_ESTIMATED, FAMILY_N };

struct metrics_shard {
    _Alignas(64) struct arena arena;
    struct family families[FAMILY_N];
    unsigned series_max;
    _Atomic int64_t in_flight, queued, connections;
};

struct metrics {
    unsigned n;
    struct metrics_shard *shards;
};

const char *request_result_name(enum request_result r) {
    static const char *const names[] = {
#define X(id, text) [id] = text,
        REQUEST_RESULTS(X)
#undef X
    };
    return names[r];
}

const char *token_source_name(enum token_source s) {
    static const char *const names[] = {
#define X(id, text) [id] = text,
        TOKEN_SOURCES(X)
#undef X
    };
    return names[s];
}

struct metrics *metrics_new(unsigned n_shards, unsigned series_max) {
    struct metrics *m = mem_new(sizeof *m);
    if (!m)
        return NULL;
    void *shards = NULL;
    size_t bytes = n_shards * sizeof *m->shards;
    if (posix_memalign(&shards, 64, bytes) != 0) {
        mem_free(m);
        return NULL;
    }
    memset(shards, 0, bytes);
    m->shards = shards;
    m->n = n_shards;
    for (unsigned i = 0; i < n_shards; i++) {
        struct metrics_shard *s = &m->shards[i];
        arena_init(&s->arena, SHARD_ARENA_MAX, NULL);
        s->series_max = series_max < KINDS_MAX ? series_max : KINDS_MAX;
        for (int f = 0; f < FAMILY_N; f++)
            map_init(&s->families[f].by_key);
    }
    return m;
}

void metrics_free(struct metrics *m) {
    if (!m)
        return;
    for (unsigned i = 0; i < m->n; i++) {
        for (int f = 0; f < FAMILY_N; f++)
            map_deinit(&m->shards[i].families[f].by_key);
        arena_deinit(&m->shards[i].arena);
    }
    free(m->shards);
    mem_free(m);
}

struct metrics_shard *metrics_shard(struct metrics *m, unsigned i) {
    return &m->shards[i];
}

static void add(count_t *c, uint64_t by) {
    atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + by, memory_order_relaxed);
}

/* --- series ------------------------------------------------------------------------------------------------------- */

struct labels {
    struct buf text;
    char space[KEY_MAX];
};

static void labels_begin(struct labels *l) {
    l->text = (struct buf){ .p = l->space, .base = l->space, .cap = sizeof l->space, .max = sizeof l->space };
}

static void label_raw(struct labels *l, struct sv name, struct sv value) {
    if (l->text.n)
        buf_add_char(&l->text, ',');
    buf_add(&l->text, name);
    buf_add(&l->text, SV("=\""));
    buf_add(&l->text, value);
    buf_add_char(&l->text, '"');
}

/* Prometheus text format: backslash, quote and LF are escaped. */
static void label(struct labels *l, const char *name, struct sv value) {
    if (l->text.n)
        buf_add_char(&l->text, ',');
    buf_add(&l->text, sv_of(name));
    buf_add(&l->text, SV("=\""));
    for (size_t i = 0; i < value.n && i < LABEL_MAX; i++) {
        size_t plain = i;
        while (plain < value.n && plain < LABEL_MAX && value.p[plain] != '\\' && value.p[plain] != '"' && value.p[plain] != '\n')
            plain++;
        buf_add(&l->text, (struct sv){ value.p + i, plain - i });
        if ((i = plain) == value.n || i == LABEL_MAX)
            break;
        char c = value.p[i];
        if (c == '\\' || c == '"')
            buf_add(&l->text, (struct sv){ (char[]){ '\\', c }, 2 });
        else
            buf_add(&l->text, SV("\\n"));
    }
    buf_add_char(&l->text, '"');
}

/* Past the ceiling every label becomes "other": one more series takes all that found no place. */
static void fold(struct labels *l) {
    struct labels was = *l;
    struct sv rest = { was.space, was.text.n }, name;
    labels_begin(l);
    while (sv_cut(&rest, '=', &name)) {
        label_raw(l, name, SV("other"));
        size_t i = 1;
        while (i < rest.n && rest.p[i] != '"')
            i += rest.p[i] == '\\' ? 2 : 1;
        rest = sv_from(rest, i + 2); /* the quote and the comma */
    }
}

static struct series *series(struct metrics_shard *s, enum family_id id, struct labels *l) {
    struct family *f = &s->families[id];
    struct series *found = map_get(&f->by_key, buf_sv(&l->text));
    size_t n = atomic_load_explicit(&f->n, memory_order_relaxed);
    if (found)
        return found;
    if (n >= s->series_max) {
        fold(l);
        found = map_get(&f->by_key, buf_sv(&l->text));
        if (found || n > s->series_max)
            return found;
    }
    struct series *made = ARENA_NEW(&s->arena, struct series);
    if (!made)
        return NULL;
    made->labels = arena_sv(&s->arena, buf_sv(&l->text));
    made->model = id == F_MODELS ? ARENA_NEW(&s->arena, struct metrics_itl) : NULL;
    if (!made->labels.p || (id == F_MODELS && !made->model) || !map_put(&f->by_key, made->labels, made))
        return NULL;
    atomic_store_explicit(&f->items[n], made, memory_order_relaxed);
    atomic_store_explicit(&f->n, n + 1, memory_order_release);
    return made;
}

struct metrics_itl *metrics_itl(struct metrics_shard *s, struct sv slug, struct sv runtime) {
    struct labels l;
    labels_begin(&l);
    label(&l, "model", slug);
    label(&l, "runtime", runtime);
    struct series *found = series(s, F_MODELS, &l);
    return found ? found->model : NULL;
}

static void observe(struct histogram *h, enum histogram_id id, uint64_t value) {
    double units = (double)value * histogram_info[id].scale;
    size_t i = 0;
    while (i < histogram_info[id].n && units > histogram_info[id].le[i])
        i++;
    add(&h->buckets[i], 1);
    add(&h->sum, value);
}

void metrics_gap(struct metrics_itl *h, uint64_t us) {
    observe(&h->h[H_ITL], H_ITL, us);
}

static void count(struct metrics_shard *s, enum family_id id, struct labels *l) {
    struct series *c = series(s, id, l);
    if (c)
        add(&c->count, 1);
}

static void count_tokens(struct metrics_itl *m, enum token_kind kind, int64_t n, enum token_source source) {
    if (n > 0)
        add(&m->tokens[kind][source], (uint64_t)n);
}

static void count_cost(struct metrics_itl *m, const struct request_record *r) {
    if (r->cost < 0)
        add(&m->n_unpriced, 1);
    else
        add(&m->costs[r->cost_source], (uint64_t)r->cost);
}

static void count_request(struct metrics_shard *s, const struct request_record *r) {
    struct labels l;
    char code[3] = { (char)('0' + r->status / 100 % 10), (char)('0' + r->status / 10 % 10), (char)('0' + r->status % 10) };
    labels_begin(&l);
    label(&l, "model", r->slug);
    label(&l, "dialect", r->dialect);
    label(&l, "node", r->endpoint);
    label(&l, "runtime", r->runtime);
    label(&l, "outcome", sv_of(request_result_name(r->result)));
    label(&l, "code", (struct sv){ code, sizeof code });
    count(s, F_REQUESTS, &l);
}

static void count_anomalies(struct metrics_shard *s, const struct request_record *r) {
    static const char *const kinds[] = { "bad_json", "bad_count", "cached", "reasoning", "inclusive", "doubted", "no_memory" };
    for (unsigned i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (!(r->anomalies & 1u << i))
            continue;
        struct labels l;
        labels_begin(&l);
        label(&l, "runtime", r->runtime);
        label(&l, "kind", sv_of(kinds[i]));
        count(s, F_ANOMALIES, &l);
    }
}

static void count_estimates(struct metrics_shard *s, const struct request_record *r) {
    const enum token_source sources[] = { r->input_source, r->output_source };
    static const char *const sides[] = { "input", "output" };
    for (int i = 0; i < 2; i++) {
        if (sources[i] != TOKENS_ESTIMATED && sources[i] != TOKENS_PARTIAL)
            continue;
        struct labels l;
        labels_begin(&l);
        label(&l, "model", r->slug);
        label(&l, "side", sv_of(sides[i]));
        count(s, F_ESTIMATED, &l);
    }
}

void metrics_request(struct metrics_shard *s, const struct request_record *r) {
    count_request(s, r);
    if (r->anomalies)
        count_anomalies(s, r);
    struct metrics_itl *m = metrics_itl(s, r->slug, r->runtime);
    if (!m)
        return;
    observe(&m->h[H_DURATION], H_DURATION, r->done_us - r->received_us);
    if (r->result == RESULT_REJECTED)
        return;
    if (r->queue_us)
        observe(&m->h[H_QUEUE], H_QUEUE, r->queue_us);
    count_cost(m, r);
    count_tokens(m, T_INPUT, r->input, r->input_source);
    count_tokens(m, T_OUTPUT, r->output, r->output_source);
    count_tokens(m, T_CACHED, r->cached, r->input_source);
    count_tokens(m, T_REASONING, r->reasoning, r->output_source);
    if (r->input >= 0 && r->input_source != TOKENS_NONE)
        observe(&m->h[H_INPUT], H_INPUT, (uint64_t)r->input);
    if (r->output >= 0 && r->output_source != TOKENS_NONE)
        observe(&m->h[H_OUTPUT], H_OUTPUT, (uint64_t)r->output);
    if (r->first_us && r->body_us)
        observe(&m->h[H_TTFT], H_TTFT, r->first_us - r->body_us);
    if (!r->burst && r->output > 1 && r->last_us > r->first_us)
        observe(&m->h[H_TPOT], H_TPOT, (r->last_us - r->first_us) / (uint64_t)(r->output - 1));
    count_estimates(s, r);
}

void metrics_attempt(struct metrics_shard *s, struct sv endpoint, const char *reason) {
    struct labels l;
    labels_begin(&l);
    label(&l, "node", endpoint);
    label(&l, "reason", sv_of(reason));
    count(s, F_ATTEMPTS, &l);
}

void metrics_limit(struct metrics_shard *s, enum err_limit limit) {
    struct labels l;
    if (limit == LIMIT_NONE)
        return;
    labels_begin(&l);
    label(&l, "limit", sv_of(err_limit_key(limit)));
    count(s, F_LIMITS, &l);
}

static void gauge_add(_Atomic int64_t *g, int by) {
    atomic_store_explicit(g, atomic_load_explicit(g, memory_order_relaxed) + by, memory_order_relaxed);
}

void metrics_in_flight(struct metrics_shard *s, int by) {
    gauge_add(&s->in_flight, by);
}

void metrics_queued(struct metrics_shard *s, int by) {
    gauge_add(&s->queued, by);
}

void metrics_connections(struct metrics_shard *s, int by) {
    gauge_add(&s->connections, by);
}

/* --- printing ----------------------------------------------------------------------------------------------------- */

struct merged { /* one label set over all shards */
    struct sv labels;
    uint64_t count;
    uint64_t buckets[HISTOGRAM_N][BUCKETS_MAX], sums[HISTOGRAM_N], tokens[TOKEN_N][SOURCES], costs[COST_SOURCE_N], n_unpriced;
};

static uint64_t get(const count_t *c) {
    return atomic_load_explicit((count_t *)(uintptr_t)c, memory_order_relaxed);
}

static void merge_model(struct merged *to, const struct metrics_itl *from) {
    for (int h = 0; h < HISTOGRAM_N; h++) {
        for (size_t i = 0; i <= histogram_info[h].n; i++)
            to->buckets[h][i] += get(&from->h[h].buckets[i]);
        to->sums[h] += get(&from->h[h].sum);
    }
    for (int k = 0; k < TOKEN_N; k++)
        for (int s = 0; s < SOURCES; s++)
            to->tokens[k][s] += get(&from->tokens[k][s]);
    for (int s = 0; s < COST_SOURCE_N; s++)
        to->costs[s] += get(&from->costs[s]);
    to->n_unpriced += get(&from->n_unpriced);
}

/* Returns the merged series of a family, in order of their making; in a. */
static struct merged **merge(struct metrics *m, enum family_id id, struct arena *a, size_t *ret_n) {
    struct map by_labels;
    map_init(&by_labels);
    size_t room = 0, n = 0;
    for (unsigned i = 0; i < m->n; i++)
        room += atomic_load_explicit(&m->shards[i].families[id].n, memory_order_acquire);
    struct merged **all = ARENA_ARRAY(a, struct merged *, room ? room : 1);
    for (unsigned i = 0; all && i < m->n; i++) {
        struct family *f = &m->shards[i].families[id];
        size_t have = atomic_load_explicit(&f->n, memory_order_acquire);
        for (size_t j = 0; j < have; j++) {
            struct series *s = atomic_load_explicit(&f->items[j], memory_order_relaxed);
            struct merged *to = map_get(&by_labels, s->labels);
            if (!to && n < room) {
                to = ARENA_NEW(a, struct merged);
                if (!to || !map_put(&by_labels, s->labels, to))
                    break;
                to->labels = s->labels;
                all[n++] = to;
            }
            if (!to)
                continue; /* made while we looked: the next scrape has it */
            to->count += get(&s->count);
            if (s->model)
                merge_model(to, s->model);
        }
    }
    map_deinit(&by_labels);
    *ret_n = n;
    return all;
}

static void head(struct buf *out, const char *name, const char *type, const char *help) {
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void print_counter(struct metrics *m, enum family_id id, const char *name, const char *help, struct arena *a,
                          struct buf *out) {
    size_t n;
    struct merged **all = merge(m, id, a, &n);
    head(out, name, "counter", help);
    for (size_t i = 0; i < n; i++)
        buf_printf(out, "%s{%.*s} %llu\n", name, SV_FMT(all[i]->labels), (unsigned long long)all[i]->count);
}

static void print_histogram(struct merged **all, size_t n, int h, struct buf *out) {
    const char *name = histogram_info[h].name;
    head(out, name, "histogram", histogram_info[h].help);
    for (size_t i = 0; i < n; i++) {
        uint64_t seen = 0, total = 0;
        for (size_t b = 0; b <= histogram_info[h].n; b++)
            total += all[i]->buckets[h][b];
        if (total == 0)
            continue;
        for (size_t b = 0; b < histogram_info[h].n; b++) {
            seen += all[i]->buckets[h][b];
            buf_printf(out, "%s_bucket{%.*s,le=\"%g\"} %llu\n", name, SV_FMT(all[i]->labels), histogram_info[h].le[b],
                       (unsigned long long)seen);
        }
        buf_printf(out, "%s_bucket{%.*s,le=\"+Inf\"} %llu\n", name, SV_FMT(all[i]->labels), (unsigned long long)total);
        buf_printf(out, "%s_sum{%.*s} %.9g\n", name, SV_FMT(all[i]->labels), (double)all[i]->sums[h] * histogram_info[h].scale);
        buf_printf(out, "%s_count{%.*s} %llu\n", name, SV_FMT(all[i]->labels), (unsigned long long)total);
    }
}

static void print_costs(struct merged **all, size_t n, struct buf *out) {
    char text[MONEY_TEXT];
    head(out, "drover_cost_total", "counter", "What requests cost, in telemetry.currency");
    for (size_t i = 0; i < n; i++)
        for (int s = 0; s < COST_SOURCE_N; s++)
            if (all[i]->costs[s])
                buf_printf(out, "drover_cost_total{%.*s,source=\"%s\"} %s\n", SV_FMT(all[i]->labels), cost_source_name((enum cost_source)s),
                           money_text((int64_t)all[i]->costs[s], text));
    head(out, "drover_requests_unpriced_total", "counter", "Requests whose cost is unknown");
    for (size_t i = 0; i < n; i++)
        if (all[i]->n_unpriced)
            buf_printf(out, "drover_requests_unpriced_total{%.*s} %llu\n", SV_FMT(all[i]->labels), (unsigned long long)all[i]->n_unpriced);
}

static void print_models(struct metrics *m, struct arena *a, struct buf *out) {
    static const struct {
        const char *name, *help;
    } kinds[] = {
#define X(id, name, help) [id] = { name, help },
        TOKEN_KINDS(X)
#undef X
    };
    size_t n;
    struct merged **all = merge(m, F_MODELS, a, &n);
    for (int k = 0; k < TOKEN_N; k++) {
        head(out, kinds[k].name, "counter", kinds[k].help);
        for (size_t i = 0; i < n; i++)
            for (int s = 0; s < SOURCES; s++)
                if (all[i]->tokens[k][s])
                    buf_printf(out, "%s{%.*s,source=\"%s\"} %llu\n", kinds[k].name, SV_FMT(all[i]->labels),
                               token_source_name((enum token_source)s), (unsigned long long)all[i]->tokens[k][s]);
    }
    print_costs(all, n, out);
    for (int h = 0; h < HISTOGRAM_N; h++)
        print_histogram(all, n, h, out);
}

static void print_gauges(struct metrics *m, const struct metrics_place *places, size_t n, struct buf *out) {
    struct metrics_totals t;
    metrics_totals(m, &t);
    head(out, "drover_requests_in_flight", "gauge", "Requests under way");
    buf_printf(out, "drover_requests_in_flight %llu\n", (unsigned long long)t.in_flight);
    head(out, "drover_requests_queued", "gauge", "Requests that wait for a target to have room");
    buf_printf(out, "drover_requests_queued %llu\n", (unsigned long long)t.queued);
    head(out, "drover_connections", "gauge", "Client connections");
    buf_printf(out, "drover_connections %llu\n", (unsigned long long)t.connections);
    static const struct {
        const char *name, *help;
    } gauges[] = { { "drover_node_up", "1 when the endpoint can serve" },
                   { "drover_node_running", "Requests under way at the endpoint, sent by this gateway" },
                   { "drover_queue_waiting", "Requests in line for the endpoint; one that may go to several is in line at each" },
                   { "drover_node_breaker", "Circuit breaker: 0 closed, 1 open, 2 trying" } };
    for (int g = 0; g < 4; g++) {
        head(out, gauges[g].name, "gauge", gauges[g].help);
        for (size_t i = 0; i < n; i++) {
            struct labels l;
            labels_begin(&l);
            label(&l, "node", places[i].endpoint);
            label(&l, "runtime", places[i].runtime);
            const unsigned v[] = { places[i].up, places[i].running, places[i].waiting, (unsigned)places[i].breaker };
            buf_printf(out, "%s{%.*s} %u\n", gauges[g].name, SV_FMT(buf_sv(&l.text)), v[g]);
        }
    }
}

bool metrics_print(struct metrics *m, const struct metrics_place *places, size_t n_places, struct buf *out) {
    struct arena a;
    arena_init(&a, SHARD_ARENA_MAX, NULL);
    print_counter(m, F_REQUESTS, "drover_requests_total", "Requests that have ended", &a, out);
    print_counter(m, F_ATTEMPTS, "drover_upstream_attempts_total", "Requests sent to runtimes, by what came of it", &a, out);
    print_counter(m, F_LIMITS, "drover_limit_hits_total", "Requests and connections that a limit turned away or ended", &a, out);
    print_counter(m, F_ANOMALIES, "drover_stream_anomalies_total", "Replies that broke their dialect's rules", &a, out);
    print_counter(m, F_ESTIMATED, "drover_usage_estimated_total", "Requests whose tokens had to be estimated", &a, out);
    print_models(m, &a, out);
    print_gauges(m, places, n_places, out);
    bool ok = !out->failed && !a.overflow;
    arena_deinit(&a);
    return ok;
}

static uint64_t gauge_sum(struct metrics *m, size_t offset) {
    int64_t sum = 0;
    for (unsigned i = 0; i < m->n; i++)
        sum += atomic_load_explicit((_Atomic int64_t *)(void *)((char *)&m->shards[i] + offset), memory_order_relaxed);
    return sum > 0 ? (uint64_t)sum : 0;
}

void metrics_totals(struct metrics *m, struct metrics_totals *ret) {
    *ret = (struct metrics_totals){
        .in_flight = gauge_sum(m, offsetof(struct metrics_shard, in_flight)),
        .queued = gauge_sum(m, offsetof(struct metrics_shard, queued)),
        .connections = gauge_sum(m, offsetof(struct metrics_shard, connections)),
    };
    struct arena a;
    size_t n;
    arena_init(&a, SHARD_ARENA_MAX, NULL);
    struct merged **requests = merge(m, F_REQUESTS, &a, &n);
    for (size_t i = 0; i < n; i++) {
        ret->requests += requests[i]->count;
        if (sv_find(requests[i]->labels, SV("outcome=\"upstream_error\"")) >= 0)
            ret->failed += requests[i]->count;
        if (sv_find(requests[i]->labels, SV("outcome=\"cancelled\"")) >= 0)
            ret->cancelled += requests[i]->count;
    }
    struct merged **models = merge(m, F_MODELS, &a, &n);
    for (size_t i = 0; i < n; i++) {
        for (int s = 0; s < SOURCES; s++) {
            ret->input_tokens += models[i]->tokens[T_INPUT][s];
            ret->output_tokens += models[i]->tokens[T_OUTPUT][s];
        }
        for (size_t b = 0; b < BUCKETS_MAX; b++)
            ret->first_token[b] += models[i]->buckets[H_TTFT][b];
    }
    arena_deinit(&a);
}

_Static_assert((int)METRICS_FIRST_TOKEN == (int)BUCKETS_MAX, "the door shows the classes as they are kept");

double metrics_first_token_s(unsigned i) {
    return i < histogram_info[H_TTFT].n ? histogram_info[H_TTFT].le[i] : 0;
}
