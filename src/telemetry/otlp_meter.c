/* telemetry/otlp_meter.c - the histograms of the GenAI conventions, one table of instruments.
 *
 * gen_ai.server.* is what clients of Drover saw, gen_ai.client.* what Drover saw of the runtimes. A series is known by its
 * attributes as they are printed. */
#include <inttypes.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/map.h"
#include "telemetry/otlp_words.h"

static const double duration_bounds[] = { .01, .02, .04, .08, .16, .32, .64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92 };
static const double tpot_bounds[] = { .01, .025, .05, .075, .1, .15, .2, .3, .4, .5, .75, 1, 2.5 };
static const double ttft_bounds[] = { .001, .005, .01, .02, .04, .06, .08, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10 };
static const double token_bounds[] = { 1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864 };
#define BOUNDS(a) (a), sizeof(a) / sizeof(a)[0]

#define INSTRUMENTS(X)                                                                                                                \
    X(I_REQUEST, "gen_ai.server.request.duration", "s", "From the head of a request to the end of its answer", duration_bounds)       \
    X(I_TTFT, "gen_ai.server.time_to_first_token", "s", "From the whole request to the first output of a stream", ttft_bounds)        \
    X(I_TPOT, "gen_ai.server.time_per_output_token", "s", "Mean time per output token after the first", tpot_bounds)                  \
    X(I_OPERATION, "gen_ai.client.operation.duration", "s", "Of an attempt at a runtime", duration_bounds)                            \
    X(I_FIRST_CHUNK, "gen_ai.client.operation.time_to_first_chunk", "s", "From sending to a runtime to its first output", duration_bounds) \
    X(I_TOKENS, "gen_ai.client.token.usage", "{token}", "Tokens that a runtime reported for a request", token_bounds)
#define X(id, ...) id,
enum instrument { INSTRUMENTS(X) INSTRUMENT_N };
#undef X
static const struct {
    const char *name, *unit, *help;
    const double *bounds;
    size_t n;
} instruments[] = {
#define X(id, name, unit, help, bounds) [id] = { name, unit, help, BOUNDS(bounds) },
    INSTRUMENTS(X)
#undef X
};

enum { BUCKETS_MAX = 17, ATTRIBUTES_MAX = 4096, METER_BYTES_MAX = 64 << 20 };

struct series {
    struct series *next;
    struct sv attributes; /* as printed, without the brackets */
    uint64_t buckets[BUCKETS_MAX], count;
    double sum, least, most;
};

struct otlp_meter {
    struct arena arena;
    uint64_t start_ns;
    unsigned series_max;
    struct {
        struct map by_attributes;
        struct series *first, **end;
        unsigned n;
    } of[INSTRUMENT_N];
};

struct otlp_meter *otlp_meter_new(unsigned series_max, uint64_t now_ns) {
    struct otlp_meter *m = mem_new(sizeof *m);
    if (!m)
        return NULL;
    arena_init(&m->arena, METER_BYTES_MAX, NULL);
    m->start_ns = now_ns;
    m->series_max = series_max;
    for (int i = 0; i < INSTRUMENT_N; i++) {
        map_init(&m->of[i].by_attributes);
        m->of[i].end = &m->of[i].first;
    }
    return m;
}

void otlp_meter_free(struct otlp_meter *m) {
    if (!m)
        return;
    for (int i = 0; i < INSTRUMENT_N; i++)
        map_deinit(&m->of[i].by_attributes);
    arena_deinit(&m->arena);
    mem_free(m);
}

/* --- counting ----------------------------------------------------------------------------------------------------- */

/* Of the series for all that find no place (the specification of the metrics SDK names it so). */
static const char overflow[] = "{\"key\":\"otel.metric.overflow\",\"value\":{\"boolValue\":true}}";

static struct series *series(struct otlp_meter *m, enum instrument id, struct sv attributes) {
    struct series *found = map_get(&m->of[id].by_attributes, attributes);
    if (!found && m->of[id].n >= m->series_max) {
        attributes = sv_of(overflow);
        found = map_get(&m->of[id].by_attributes, attributes);
    }
    if (found)
        return found;
    struct series *made = ARENA_NEW(&m->arena, struct series);
    struct sv copy = arena_sv(&m->arena, attributes);
    if (!made || !copy.p || !map_put(&m->of[id].by_attributes, copy, made))
        return NULL;
    made->attributes = copy;
    *m->of[id].end = made;
    m->of[id].end = &made->next;
    m->of[id].n++;
    return made;
}

/* A value on a bound belongs below it (the protocol: buckets are (low, high]). */
static void observe(struct otlp_meter *m, enum instrument id, const struct buf *attributes, double v) {
    struct series *s = attributes->failed ? NULL : series(m, id, buf_sv(attributes));
    size_t i = 0;
    if (!s)
        return; /* memory is out: the next one may find some */
    while (i < instruments[id].n && v > instruments[id].bounds[i])
        i++;
    s->buckets[i]++;
    s->least = s->count == 0 || v < s->least ? v : s->least;
    s->most = s->count == 0 || v > s->most ? v : s->most;
    s->sum += v;
    s->count++;
}

static double seconds(uint64_t from_us, uint64_t to_us) {
    return (double)(to_us - from_us) * 1e-6;
}

static struct buf on(char space[static ATTRIBUTES_MAX]) {
    return (struct buf){ .p = space, .base = space, .cap = ATTRIBUTES_MAX, .max = ATTRIBUTES_MAX };
}

static void add_request(struct otlp_meter *m, const struct trace *t) {
    const struct request_record *r = &t->r;
    char space[ATTRIBUTES_MAX], error[8];
    struct buf a = on(space);
    otlp__text(&a, "gen_ai.operation.name", t->operation);
    otlp__text(&a, "gen_ai.provider.name", otlp__provider(r->runtime));
    otlp__text(&a, "gen_ai.request.model", r->slug);
    otlp__text(&a, "gen_ai.response.model", r->model);
    if (r->stream && r->first_us && r->body_us)
        observe(m, I_TTFT, &a, seconds(r->body_us, r->first_us));
    if (!r->burst && r->output > 1 && r->last_us > r->first_us)
        observe(m, I_TPOT, &a, seconds(r->first_us, r->last_us) / (double)(r->output - 1));
    otlp__text(&a, "error.type", otlp__error(r, error));
    observe(m, I_REQUEST, &a, seconds(r->received_us, r->done_us));
}

/* What is known, not what was estimated. */
static bool is_counted(enum token_source s) {
    return s == TOKENS_REPORTED || s == TOKENS_COUNTED || s == TOKENS_PARTIAL;
}

static void add_tokens(struct otlp_meter *m, const struct buf *attributes, const char *type, int64_t n, enum token_source source) {
    char space[ATTRIBUTES_MAX];
    struct buf a = on(space);
    if (n < 0 || !is_counted(source))
        return;
    buf_add(&a, buf_sv(attributes));
    otlp__text(&a, "gen_ai.token.type", sv_of(type));
    observe(m, I_TOKENS, &a, (double)n);
}

static void add_attempt(struct otlp_meter *m, const struct trace *t, const struct trace_attempt *at) {
    char space[ATTRIBUTES_MAX], error[8];
    struct buf a = on(space);
    uint64_t port;
    struct sv address = otlp__address(at->host, &port);
    otlp__text(&a, "gen_ai.operation.name", t->operation);
    otlp__text(&a, "gen_ai.provider.name", otlp__provider(at->runtime));
    otlp__text(&a, "gen_ai.request.model", at->model);
    otlp__text(&a, "server.address", address);
    if (port)
        otlp__int(&a, "server.port", (int64_t)port);
    if (!at->next && at->first_us)
        observe(m, I_FIRST_CHUNK, &a, seconds(at->start_us, at->first_us));
    if (!at->next) {
        add_tokens(m, &a, "input", t->r.input, t->r.input_source);
        add_tokens(m, &a, "output", t->r.output, t->r.output_source);
    }
    otlp__text(&a, "error.type", otlp__attempt_error(at, error));
    observe(m, I_OPERATION, &a, seconds(at->start_us, at->end_us));
}

void otlp_meter_add(struct otlp_meter *m, const struct trace *t) {
    add_request(m, t);
    for (const struct trace_attempt *a = t->attempts; a; a = a->next)
        add_attempt(m, t, a);
}

/* --- printing ----------------------------------------------------------------------------------------------------- */

static void put_point(struct buf *out, enum instrument id, const struct series *s, uint64_t start_ns, uint64_t now_ns) {
    buf_printf(out, "{\"attributes\":[%.*s],\"startTimeUnixNano\":\"%" PRIu64 "\",\"timeUnixNano\":\"%" PRIu64 "\",",
               SV_FMT(s->attributes), start_ns, now_ns);
    buf_printf(out, "\"count\":\"%" PRIu64 "\",\"sum\":%.17g,", s->count, s->sum);
    buf_printf(out, "\"min\":%.17g,\"max\":%.17g,\"bucketCounts\":[", s->least, s->most);
    for (size_t i = 0; i <= instruments[id].n; i++)
        buf_printf(out, "%s\"%" PRIu64 "\"", i ? "," : "", s->buckets[i]);
    buf_add(out, SV("],\"explicitBounds\":["));
    for (size_t i = 0; i < instruments[id].n; i++)
        buf_printf(out, "%s%.9g", i ? "," : "", instruments[id].bounds[i]);
    buf_add(out, SV("]}"));
}

bool otlp_metrics(struct buf *out, const struct otlp_meter *m, const struct otlp_source *from, uint64_t now_ns, bool *ret_any) {
    enum { CUMULATIVE = 2 };
    *ret_any = false;
    otlp__head(out, "resourceMetrics", "scopeMetrics", from);
    buf_add(out, SV(",\"metrics\":["));
    for (int i = 0; i < INSTRUMENT_N; i++) {
        if (!m->of[i].first)
            continue;
        buf_printf(out, "%s{\"name\":\"%s\",\"unit\":\"%s\",\"description\":\"%s\",", *ret_any ? "," : "", instruments[i].name,
                   instruments[i].unit, instruments[i].help);
        buf_printf(out, "\"histogram\":{\"aggregationTemporality\":%d,\"dataPoints\":[", CUMULATIVE);
        *ret_any = true;
        for (const struct series *s = m->of[i].first; s; s = s->next) {
            put_point(out, (enum instrument)i, s, m->start_ns, now_ns);
            if (s->next)
                buf_add_char(out, ',');
        }
        buf_add(out, SV("]}}"));
    }
    buf_add(out, SV("]}]}]}"));
    return !out->failed;
}
