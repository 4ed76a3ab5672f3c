#include "telemetry/otlp.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/json.h"
#include "telemetry/otlp_words.h"

enum { KIND_SERVER = 2, KIND_CLIENT = 3, STATUS_ERROR = 2 };
/* Bits of a span's flags beside those of the W3C: whether the parent is remote is known, and it is. */
enum { HAS_IS_REMOTE = 1 << 8, IS_REMOTE = 1 << 9 };
enum { STATE_MAX = 1024 }; /* bytes of a tracestate that are told; a longer one travels all the same */

/* --- words -------------------------------------------------------------------------------------------------------- */

static bool begin(struct buf *out, const char *key) {
    if (out->n && out->p[out->n - 1] != '[')
        buf_add_char(out, ',');
    return buf_printf(out, "{\"key\":\"%s\",\"value\":{", key);
}

bool otlp__text(struct buf *out, const char *key, struct sv v) {
    if (!v.n)
        return true;
    begin(out, key);
    buf_add(out, SV("\"stringValue\":"));
    buf_add_json(out, v);
    return buf_add(out, SV("}}"));
}

bool otlp__int(struct buf *out, const char *key, int64_t v) {
    begin(out, key);
    return buf_printf(out, "\"intValue\":\"%" PRId64 "\"}}", v);
}

bool otlp__real(struct buf *out, const char *key, double v) {
    begin(out, key);
    return buf_printf(out, "\"doubleValue\":%.9g}}", v);
}

bool otlp__truth(struct buf *out, const char *key, bool v) {
    begin(out, key);
    return buf_printf(out, "\"boolValue\":%s}}", v ? "true" : "false");
}

bool otlp__head(struct buf *out, const char *resources, const char *scopes, const struct otlp_source *from) {
    buf_printf(out, "{\"%s\":[{\"resource\":{\"attributes\":[", resources);
    otlp__text(out, "service.name", SV("drover"));
    otlp__text(out, "service.version", from->version);
    otlp__text(out, "service.instance.id", from->node);
    buf_printf(out, "]},\"%s\":[{\"scope\":{\"name\":\"drover\",\"version\":", scopes);
    buf_add_json(out, from->version);
    return buf_add_char(out, '}');
}

/* Others are called as their kind is. */
struct sv otlp__provider(struct sv runtime) {
    static const struct {
        const char *kind, *provider;
    } names[] = { { "lmstudio", "lm_studio" }, { "llamacpp", "llama_cpp" }, { "mistralrs", "mistral_rs" },
                  { "dmr", "docker_model_runner" } };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (sv_eq(runtime, sv_of(names[i].kind)))
            return sv_of(names[i].provider);
    return runtime.n ? runtime : SV("drover");
}

static struct sv status_text(int status, char space[static 8]) {
    int n = snprintf(space, 8, "%d", status);
    return (struct sv){ space, (size_t)n };
}

struct sv otlp__error(const struct request_record *r, char space[static 8]) {
    if (r->result == RESULT_OK)
        return SV_NULL;
    return r->status >= 400 && r->result != RESULT_CANCELLED ? status_text(r->status, space) : sv_of(request_result_name(r->result));
}

struct sv otlp__attempt_error(const struct trace_attempt *a, char space[static 8]) {
    return a->status >= 400 ? status_text(a->status, space) : a->error;
}

struct sv otlp__address(struct sv host, uint64_t *ret_port) {
    ptrdiff_t colon = sv_rfind_char(host, ':');
    *ret_port = 0;
    if (colon < 0 || sv_ends(host, SV("]")) || !sv_to_u64(sv_from(host, (size_t)colon + 1), ret_port))
        return host;
    host = sv_first(host, (size_t)colon);
    return sv_starts(host, SV("[")) && sv_ends(host, SV("]")) ? sv_first(sv_from(host, 1), host.n - 2) : host;
}

/* --- spans -------------------------------------------------------------------------------------------------------- */

static void put_id(struct buf *out, const char *key, const uint8_t *id, size_t n) {
    static const char digits[] = "0123456789abcdef";
    char text[2 * TRACE_ID];
    for (size_t i = 0; i < n; i++) {
        text[2 * i] = digits[id[i] >> 4];
        text[2 * i + 1] = digits[id[i] & 15];
    }
    buf_printf(out, "\"%s\":\"%.*s\",", key, (int)(2 * n), text);
}

/* What both kinds begin with: up to the attributes' opening bracket. parent: NULL for none. */
static void put_span(struct buf *out, const struct trace *t, const uint8_t *id, const uint8_t *parent, unsigned flags, int kind,
                     struct sv verb, struct sv object, uint64_t start_us, uint64_t end_us) {
    uint64_t done_ns = t->r.ended_ms * 1000000u; /* the monotonic clock's moments on the wall clock */
    char name[512];
    int n = snprintf(name, sizeof name, "%.*s%s%.*s", SV_FMT(sv_first(verb, 40)), object.n ? " " : "", SV_FMT(sv_first(object, 400)));
    buf_add_char(out, '{');
    put_id(out, "traceId", t->own.trace, TRACE_ID);
    put_id(out, "spanId", id, TRACE_SPAN);
    if (parent)
        put_id(out, "parentSpanId", parent, TRACE_SPAN);
    if (t->state.n && t->state.n <= STATE_MAX) {
        buf_add(out, SV("\"traceState\":"));
        buf_add_json(out, t->state);
        buf_add_char(out, ',');
    }
    buf_printf(out, "\"flags\":%u,\"name\":", t->own.flags | flags);
    buf_add_json(out, (struct sv){ name, (size_t)n });
    buf_printf(out, ",\"kind\":%d,\"startTimeUnixNano\":\"%" PRIu64 "\",\"endTimeUnixNano\":\"%" PRIu64 "\",\"attributes\":[", kind,
               done_ns - (t->r.done_us - start_us) * 1000u, done_ns - (t->r.done_us - end_us) * 1000u);
}

static void put_end(struct buf *out, bool failed) {
    if (failed)
        buf_printf(out, "],\"status\":{\"code\":%d}}", STATUS_ERROR);
    else
        buf_add(out, SV("]}"));
}

static void put_usage(struct buf *out, const struct request_record *r) {
    const struct {
        const char *key;
        int64_t n;
        enum token_source source;
    } counts[] = {
        { "gen_ai.usage.input_tokens", r->input, r->input_source },
        { "gen_ai.usage.output_tokens", r->output, r->output_source },
        { "gen_ai.usage.cache_read.input_tokens", r->cached, r->input_source },
        { "gen_ai.usage.reasoning.output_tokens", r->reasoning, r->output_source },
    };
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        if (counts[i].n >= 0 && counts[i].source != TOKENS_NONE)
            otlp__int(out, counts[i].key, counts[i].n);
    if (r->input_source != TOKENS_NONE)
        otlp__text(out, "drover.usage.input_source", sv_of(token_source_name(r->input_source)));
    if (r->output_source != TOKENS_NONE)
        otlp__text(out, "drover.usage.output_source", sv_of(token_source_name(r->output_source)));
}

static void put_request(struct buf *out, const struct trace *t) {
    const struct request_record *r = &t->r;
    char space[8];
    const uint8_t *parent = t->has_parent ? t->parent : NULL;
    put_span(out, t, t->own.span, parent, HAS_IS_REMOTE | (parent ? IS_REMOTE : 0), KIND_SERVER, t->method, r->api, r->received_us,
             r->done_us);
    otlp__text(out, "http.request.method", t->method);
    otlp__text(out, "http.route", r->api);
    if (r->status)
        otlp__int(out, "http.response.status_code", r->status);
    otlp__text(out, "gen_ai.operation.name", t->operation);
    otlp__text(out, "gen_ai.provider.name", otlp__provider(r->runtime));
    otlp__text(out, "gen_ai.request.model", r->slug);
    otlp__text(out, "gen_ai.response.model", r->model);
    otlp__truth(out, "gen_ai.request.stream", r->stream);
    put_usage(out, r);
    if (r->first_us && r->body_us && r->stream)
        otlp__real(out, "gen_ai.response.time_to_first_chunk", (double)(r->first_us - r->body_us) * 1e-6);
    otlp__text(out, "error.type", otlp__error(r, space));
    otlp__text(out, "drover.request.id", r->id);
    otlp__text(out, "drover.key.id", r->key);
    otlp__text(out, "drover.endpoint", r->endpoint);
    otlp__text(out, "drover.dialect", r->dialect);
    otlp__text(out, "drover.result", sv_of(request_result_name(r->result)));
    otlp__int(out, "drover.attempts", r->attempts);
    if (r->queue_us)
        otlp__real(out, "drover.queue.duration", (double)r->queue_us * 1e-6);
    if (r->cost >= 0 && r->cost_source != COST_NONE) {
        otlp__real(out, "drover.cost", (double)r->cost * 1e-6);
        otlp__text(out, "drover.cost.source", sv_of(cost_source_name(r->cost_source)));
    }
    put_end(out, r->result == RESULT_UPSTREAM_ERROR || r->status >= 500); /* a server's 4xx are its client's errors */
}

static void put_attempt(struct buf *out, const struct trace *t, const struct trace_attempt *a, unsigned number) {
    char space[8];
    uint64_t port;
    struct sv error = otlp__attempt_error(a, space), address = otlp__address(a->host, &port);
    buf_add_char(out, ',');
    put_span(out, t, a->span, t->own.span, HAS_IS_REMOTE, KIND_CLIENT, t->operation, a->model, a->start_us, a->end_us);
    otlp__text(out, "gen_ai.operation.name", t->operation);
    otlp__text(out, "gen_ai.provider.name", otlp__provider(a->runtime));
    otlp__text(out, "gen_ai.request.model", a->model);
    otlp__text(out, "server.address", address);
    if (port)
        otlp__int(out, "server.port", (int64_t)port);
    if (a->status)
        otlp__int(out, "http.response.status_code", a->status);
    if (!a->next && a->first_us) { /* the one that was answered */
        put_usage(out, &t->r);
        otlp__real(out, "gen_ai.response.time_to_first_chunk", (double)(a->first_us - a->start_us) * 1e-6);
    }
    otlp__text(out, "error.type", error);
    otlp__text(out, "drover.endpoint", a->endpoint);
    otlp__int(out, "drover.attempt", number);
    put_end(out, error.n != 0);
}

bool otlp_traces_begin(struct buf *out, const struct otlp_source *from) {
    otlp__head(out, "resourceSpans", "scopeSpans", from);
    buf_add(out, SV(",\"spans\":["));
    return !out->failed;
}

bool otlp_traces_add(struct buf *out, const struct trace *t, bool is_first) {
    size_t before = out->n;
    unsigned number = 0;
    if (!is_first)
        buf_add_char(out, ',');
    put_request(out, t);
    for (const struct trace_attempt *a = t->attempts; a; a = a->next)
        put_attempt(out, t, a, ++number);
    if (!out->failed)
        return true;
    out->n = before;
    out->failed = false;
    return false;
}

bool otlp_traces_end(struct buf *out) {
    return buf_add(out, SV("]}]}]}"));
}

unsigned otlp_spans(const struct trace *t) {
    unsigned n = 1;
    for (const struct trace_attempt *a = t->attempts; a; a = a->next)
        n++;
    return n;
}

/* --- answers ------------------------------------------------------------------------------------------------------ */

uint64_t otlp_rejected(struct sv reply, const char *member, char *ret_why, size_t size) {
    CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse(reply);
    yyjson_val *partial = json_get(yyjson_doc_get_root(doc), "partialSuccess");
    struct sv text = json_str(partial, member); /* 64-bit integers are texts in protobuf's JSON, yet some print numbers */
    uint64_t n = 0;
    int64_t number = json_i64(partial, member, 0);
    if (!text.p || !sv_to_u64(text, &n))
        n = number > 0 ? (uint64_t)number : 0;
    struct sv why = sv_first(json_str(partial, "errorMessage"), size - 1);
    if (!sv_to_cstr(why, ret_why, size))
        ret_why[0] = '\0';
    return n;
}
