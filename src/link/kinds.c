/* link/kinds.c - what each kind's payload must look like, as tables, and the one function that reads them.
 *
 * Unknown members are ignored, so that a newer peer is understood; unknown words of an enumeration are faults, because ignoring them would
 * change what is meant. Numbers must be in range, counts must be whole. */
#include <stdio.h>

#include "link/envelope.h"

enum type {
    STRING,  /* min..max bytes, no control characters but for those that people's texts hold: they are replaced when shown */
    IDENT,
    FEATURE, /* [a-z0-9_.-]{1,32} */
    TIME,
    INT,     /* min..max */
    NUMBER,
    BOOL,
    WORD,    /* one of words */
    OBJECT,  /* of shape; without one: any */
    LIST,    /* at most max of each, which is a field without a name */
    MAP,     /* at most max members, each value like each; max 0: any number */
    LABELS,  /* keys are identifiers */
};

enum { NEEDED = 1, NULLABLE = 2 };

struct field {
    const char *name;
    enum type type;
    unsigned flags;
    int64_t min, max;
    const char *const *words;
    const struct field *inner; /* OBJECT: its fields; LIST and MAP: one */
};

#define END { 0 }
#define COUNT_MAX ((int64_t)1 << 53)

/* Short for the rows: name, then what it is. */
#define STR(name, flags, most) { name, STRING, flags, 0, most, NULL, NULL }
#define STR1(name, flags, most) { name, STRING, flags, 1, most, NULL, NULL }
#define NUM(name, flags) { name, NUMBER, flags, 0, 0, NULL, NULL }
#define COUNT(name, flags) { name, INT, flags, 0, COUNT_MAX - 1, NULL, NULL }
#define RANGE(name, flags, least, most) { name, INT, flags, least, most, NULL, NULL }
#define TRUTH(name, flags) { name, BOOL, flags, 0, 0, NULL, NULL }
#define ID(name, flags) { name, IDENT, flags, 0, 0, NULL, NULL }
#define AT(name, flags) { name, TIME, flags, 0, 0, NULL, NULL }
#define ONE_OF(name, flags, list) { name, WORD, flags, 0, 0, list, NULL }
#define OBJ(name, flags, fields) { name, OBJECT, flags, 0, 0, NULL, fields }
#define ARR(name, flags, most, each) { name, LIST, flags, 0, most, NULL, each }
#define DICT(name, flags, most, each) { name, MAP, flags, 0, most, NULL, each }

/* --- parts ------------------------------------------------------------------------------------------------------------------------------ */

static const struct field a_word[] = { { NULL, STRING, 0, 1, 64, NULL, NULL } };
static const struct field a_feature[] = { { NULL, FEATURE, 0, 0, 0, NULL, NULL } };
static const struct field a_text[] = { { NULL, STRING, 0, 0, LINK_TEXT_MAX, NULL, NULL } };
static const struct field a_label[] = { { NULL, STRING, 0, 0, 128, NULL, NULL } };
static const struct field a_key[] = { { NULL, STRING, 0, 1, 200, NULL, NULL } };
static const struct field a_number[] = { { NULL, NUMBER, 0, 0, 0, NULL, NULL } };
static const struct field an_id[] = { { NULL, STRING, 0, 1, 128, NULL, NULL } };

static const struct field proto[] = { RANGE("min", NEEDED, 1, 1000), RANGE("max", NEEDED, 1, 1000), END };
static const struct field build[] = { STR("name", 0, 64), STR("version", 0, 64), STR("commit", 0, 64), END };
static const struct field limits[] = { COUNT("max_text", 0), COUNT("max_frame", 0), COUNT("max_streams", 0), COUNT("stream_window", 0),
                                       COUNT("link_window", 0), END };
static const struct field resume[] = { COUNT("outbox_next", 0), ARR("directive_ids", 0, 64, an_id), END };

static const char *const endpoint_health[] = { "unknown", "up", "degraded", "loading", "down", NULL };
static const struct field endpoint[] = { STR1("endpoint_id", NEEDED, 64), STR("kind", 0, 64), STR("base_url_redacted", 0, 512), ARR("dialects", 0, 16, a_word),
                                         COUNT("max_concurrent", 0), ONE_OF("health", 0, endpoint_health), COUNT("models", 0), END };
static const struct field endpoints[] = { { NULL, OBJECT, 0, 0, 0, NULL, endpoint } };

static const char *const model_types[] = { "chat", "completion", "embedding", "rerank", "vision", "audio", "image", NULL };
static const char *const model_states[] = { "available", "loading", "loaded", "unloading", "failed", NULL };
static const struct field model[] = { STR1("key", NEEDED, 200), STR("endpoint_id", 0, 64), STR("id", 0, 200), ONE_OF("type", 0, model_types),
                                      ONE_OF("state", 0, model_states), COUNT("context_max", 0), COUNT("context_loaded", 0), COUNT("size_bytes", 0),
                                      COUNT("vram_bytes", 0), STR("quant", 0, 64), STR("family", 0, 64), STR("params", 0, 64),
                                      ARR("features", 0, 32, a_feature), COUNT("max_concurrent", 0), STR("sha256", 0, 64), END };
static const struct field models[] = { { NULL, OBJECT, 0, 0, 0, NULL, model } };

static const struct field gpu[] = { RANGE("index", NEEDED, 0, 63), STR("vendor", 0, 64), STR("model", 0, 128), STR("uuid", 0, 64), COUNT("mem_bytes", 0),
                                    STR("driver", 0, 64), STR("compute", 0, 64), END };
static const struct field gpus[] = { { NULL, OBJECT, 0, 0, 0, NULL, gpu } };
static const struct field hardware[] = { RANGE("cpus", 0, 0, 65536), COUNT("mem_bytes", 0), ARR("gpus", 0, 32, gpus), END };
static const char *const reaches[] = { "off", "view", "full", NULL };
static const struct field allow[] = { TRUTH("inference", 0), TRUTH("models", 0), TRUTH("config", 0), TRUTH("certs", 0), TRUTH("jobs", 0), TRUTH("restart", 0),
                                      ONE_OF("console", 0, reaches), END };
static const char *const sandboxes[] = { "strict", "standard", "none", NULL };
static const struct field jobs[] = { RANGE("max_running", 0, 0, 1024), ONE_OF("sandbox", 0, sandboxes), ARR("agents", 0, 64, a_word), END };

/* --- kinds ------------------------------------------------------------------------------------------------------------------------------ */

static const struct field hello[] = { OBJ("proto", NEEDED, proto), ID("node_id", NEEDED), STR1("instance", NEEDED, 64), COUNT("boot_count", 0), OBJ("build", 0, build),
                                      ARR("features", 0, 32, a_feature), OBJ("limits", 0, limits), { "last_epoch", INT, NULLABLE, 0, COUNT_MAX - 1, NULL, NULL },
                                      OBJ("resume", 0, resume), AT("clock", 0), END };
static const char *const hub_states[] = { "ready", "draining", "away", NULL };
/* What makes a node ask for another certificate. */
#define CERTIFICATES COUNT("trust_sequence", 0), AT("leaf_not_before", 0), RANGE("renew_spread_ms", 0, 0, 60000)
static const struct field welcome[] = { RANGE("epoch", NEEDED, 1, COUNT_MAX - 1), STR1("link_id", NEEDED, 64), STR1("hub_id", NEEDED, 64), STR("fleet_id", 0, 64),
                                        OBJ("build", 0, build), ARR("features", 0, 32, a_feature), OBJ("limits", 0, limits),
                                        RANGE("heartbeat_ms", NEEDED, 1000, 60000), RANGE("metrics_ms", 0, 1000, 60000), RANGE("ping_ms", 0, 1000, 60000),
                                        RANGE("read_timeout_ms", 0, 1000, 600000), AT("clock", 0), COUNT("outbox_acked", 0), COUNT("config_generation", 0),
                                        STR("lane_token", 0, 128), RANGE("lanes", 0, 1, 8), ONE_OF("hub_state", 0, hub_states), CERTIFICATES, END };
static const struct field leaf[] = { ID("agent_id", NEEDED), STR("name", 0, 128), STR("version", 0, 64), END };
static const struct field leaves[] = { { NULL, OBJECT, 0, 0, 0, NULL, leaf } };
static const struct field register_agent[] = {
    ID("agent_id", 0), STR("name", 0, 128), STR("version", 0, 64), STR("hostname", 0, 64), STR("os", 0, 64), STR("arch", 0, 64),
    { "labels", LABELS, 0, 0, 64, NULL, a_label }, STR("region", 0, 64), STR("description", 0, LINK_TEXT_MAX), ARR("endpoints", 0, 64, endpoints),
    ARR("models", 0, 4096, models), OBJ("hardware", 0, hardware), ARR("services", 0, 8, a_feature), OBJ("allow", 0, allow),
    { "delegation", OBJECT, NULLABLE, 0, 0, NULL, NULL }, OBJ("jobs", NULLABLE, jobs), { "tunnel", OBJECT, NULLABLE, 0, 0, NULL, NULL },
    COUNT("capabilities_rev", 0), ARR("leaves", 0, 64, leaves), END
};
static const struct field registered[] = { TRUTH("accepted", NEEDED), STR("name", 0, 128), OBJ("limits", 0, limits), DICT("slugs", 0, 4096, a_key),
                                           COUNT("config_generation", 0), ARR("warnings", 0, 64, a_text), STR("code", 0, 64), STR("message", 0, LINK_TEXT_MAX), END };
static const char *const states[] = { "starting", "running", "degraded", "draining", "maintenance", "error", "stopping", NULL };
static const struct field heartbeat[] = {
    ONE_OF("state", NEEDED, states), COUNT("uptime_ms", NEEDED), COUNT("healthy_endpoints", 0), COUNT("total_endpoints", 0), COUNT("active_requests", 0),
    COUNT("queued_requests", 0), COUNT("open_streams", 0), COUNT("running_jobs", 0), COUNT("total_requests", 0), COUNT("total_errors", 0),
    COUNT("config_generation", 0), COUNT("capabilities_rev", 0), NUM("load1", 0), NUM("cpu_pct", 0), COUNT("mem_used_bytes", 0), AT("cert_not_after", 0),
    STR("error_message", 0, LINK_TEXT_MAX), END
};
static const struct field capabilities[] = { RANGE("rev", NEEDED, 1, COUNT_MAX - 1), ARR("models_upsert", 0, 4096, models), ARR("models_remove", 0, 4096, a_key),
                                             ARR("endpoints_upsert", 0, 64, endpoints), ARR("endpoints_remove", 0, 64, a_word), OBJ("hardware", 0, hardware), END };
/* Names of metrics come from a closed list; an unknown one is dropped by who reads, it is no fault. */
static const struct field gpu_sample[] = { RANGE("index", NEEDED, 0, 63), NUM("util_pct", 0), COUNT("mem_used_bytes", 0), COUNT("mem_total_bytes", 0),
                                           NUM("temp_c", 0), NUM("power_w", 0), END };
static const struct field gpu_samples[] = { { NULL, OBJECT, 0, 0, 0, NULL, gpu_sample } };
static const struct field model_sample[] = { STR1("key", NEEDED, 200), COUNT("active", 0), COUNT("queued", 0), COUNT("tok_in_total", 0), COUNT("tok_out_total", 0),
                                             NUM("ttft_ms_p50", 0), NUM("ttft_ms_p95", 0), NUM("tok_per_s_p50", 0), NUM("kv_used_pct", 0), END };
static const struct field model_samples[] = { { NULL, OBJECT, 0, 0, 0, NULL, model_sample } };
static const struct field metrics[] = { AT("at", 0), COUNT("interval_ms", 0), DICT("gauges", 0, 4096, a_number), DICT("counters", 0, 4096, a_number),
                                        ARR("gpus", 0, 64, gpu_samples), ARR("models", 0, 4096, model_samples), END };
static const struct field offer[] = { STR1("key", NEEDED, 200), COUNT("free_slots", NEEDED), COUNT("max_slots", 0), NUM("est_tok_per_s", 0), NUM("est_ttft_ms", 0),
                                      COUNT("price_microusd_per_mtok", 0), END };
static const struct field offers[] = { { NULL, OBJECT, 0, 0, 0, NULL, offer } };
static const struct field offer_capacity[] = { ARR("targets", NEEDED, 4096, offers), END };
static const struct field profile[] = { STR1("id", NEEDED, 200), STR("quant", 0, 64), COUNT("context", 0), COUNT("vram_bytes", 0), COUNT("ram_bytes", 0), COUNT("load_ms", 0),
                                        AT("measured_at", 0), END };
static const struct field profile_list[] = { { NULL, OBJECT, 0, 0, 0, NULL, profile } };
static const struct field resource_profiles[] = { ARR("profiles", NEEDED, 4096, profile_list), END };
static const struct field room[] = { STR1("id", NEEDED, 200), COUNT("instances", NEEDED), STR("reason_if_zero", 0, LINK_TEXT_MAX), END };
static const struct field rooms[] = { { NULL, OBJECT, 0, 0, 0, NULL, room } };
static const struct field model_capacity[] = { ARR("models", NEEDED, 4096, rooms), END };
static const struct field usage_row[] = { STR1("row_id", NEEDED, 64), AT("at", NEEDED), STR1("key", NEEDED, 200), STR("principal", 0, 128), STR("dialect", 0, 64),
                                          COUNT("in_tokens", 0), COUNT("out_tokens", 0), COUNT("cached_tokens", 0), COUNT("reasoning_tokens", 0), COUNT("ttft_ms", 0),
                                          COUNT("total_ms", 0), COUNT("status", 0), STR("exchange_id", 0, 64), END };
static const struct field usage_rows[] = { { NULL, OBJECT, 0, 0, 0, NULL, usage_row } };
static const struct field usage_report[] = { COUNT("outbox", NEEDED), ARR("rows", NEEDED, 500, usage_rows), END };
static const char *const ops[] = { "load_model", "unload_model", "drain", "undrain", "update_config", "rotate_certs", "cancel", "run_job", "cancel_job",
                                   "refresh_inventory", "update_registry", "set_log_level", "restart", NULL };
static const struct field directive[] = { STR1("directive_id", NEEDED, 128), ONE_OF("op", NEEDED, ops), OBJ("args", 0, NULL), AT("issued_at", 0),
                                          RANGE("expires_ms", NEEDED, 1000, 86400000), RANGE("timeout_ms", 0, 0, 86400000), STR("principal", 0, 128),
                                          STR("reason", 0, LINK_TEXT_MAX), COUNT("generation", 0), STR("supersedes", NULLABLE, 128), END };
static const struct field directive_progress[] = { STR1("directive_id", NEEDED, 128), { "pct", NUMBER, 0, 0, 0, NULL, NULL }, STR("stage", 0, 64),
                                                   STR("message", 0, LINK_TEXT_MAX), DICT("counters", 0, 64, a_number), END };
static const char *const results[] = { "succeeded", "failed", "cancelled", "timed_out", "expired", "superseded", NULL };
static const struct field directive_result[] = { STR1("directive_id", NEEDED, 128), ONE_OF("status", NEEDED, results), STR("code", 0, 64), OBJ("detail", NULLABLE, NULL),
                                                 AT("started_at", 0), AT("finished_at", 0), COUNT("outbox", 0), END };
static const struct field job_update[] = { STR1("job_id", NEEDED, 128), STR1("state", NEEDED, 64), COUNT("seq", 0), END };
static const char *const presences[] = { "connected", "disconnected", "stale", NULL };
static const struct field agent_status[] = { ID("agent_id", NEEDED), ONE_OF("state", NEEDED, presences), AT("since", 0), STR("peer", 0, 128), COUNT("outbox", 0), END };
static const struct field hub_status[] = { ONE_OF("state", NEEDED, hub_states), COUNT("backlog", 0), CERTIFICATES, END };
static const char *const log_levels[] = { "error", "warn", "warning", NULL };
static const struct field log_event[] = { ONE_OF("level", NEEDED, log_levels), STR("message", NEEDED, LINK_TEXT_MAX), DICT("fields", 0, 32, a_text), END };
static const char *const scopes[] = { "hub", "node", "relay", NULL };
static const struct field ack[] = { ONE_OF("scope", 0, scopes), COUNT("outbox_acked", 0), TRUTH("queued", 0), TRUTH("accepted", 0), STR("code", 0, 64),
                                    STR("message", 0, LINK_TEXT_MAX), STR("directive_id", 0, 128), END };
static const struct field error[] = { STR1("code", NEEDED, 64), STR("message", 0, LINK_TEXT_MAX), { "retry_ms", INT, NULLABLE, 0, COUNT_MAX - 1, NULL, NULL },
                                      TRUTH("fatal", 0), STR("path", 0, ENVELOPE_PATH), END };
static const struct field goodbye[] = { STR("reason", 0, LINK_TEXT_MAX), COUNT("retry_ms", 0), END };

static const struct field *const schemas[] = {
    [KIND_HELLO] = hello, [KIND_WELCOME] = welcome, [KIND_REGISTER] = register_agent, [KIND_REGISTERED] = registered, [KIND_HEARTBEAT] = heartbeat,
    [KIND_CAPABILITIES] = capabilities, [KIND_METRICS] = metrics, [KIND_OFFER_CAPACITY] = offer_capacity, [KIND_RESOURCE_PROFILES] = resource_profiles,
    [KIND_MODEL_CAPACITY] = model_capacity, [KIND_USAGE_REPORT] = usage_report, [KIND_DIRECTIVE] = directive, [KIND_DIRECTIVE_PROGRESS] = directive_progress,
    [KIND_DIRECTIVE_RESULT] = directive_result, [KIND_JOB_UPDATE] = job_update, [KIND_AGENT_STATUS] = agent_status, [KIND_HUB_STATUS] = hub_status,
    [KIND_LOG_EVENT] = log_event, [KIND_ACK] = ack, [KIND_ERROR] = error, [KIND_GOODBYE] = goodbye,
};
_Static_assert(sizeof schemas / sizeof schemas[0] == LINK_KIND_COUNT, "a schema for each kind");

/* --- reading them ----------------------------------------------------------------------------------------------------------------------- */

struct place { /* the way to a value, as JSON Pointer */
    char path[ENVELOPE_PATH];
    size_t n;
    struct envelope_fault *fault;
};

static bool no(struct place *p, const char *text) {
    p->fault->code = FAULT_INVALID_PAYLOAD;
    memcpy(p->fault->path, p->path, p->n);
    p->fault->path[p->n] = '\0';
    snprintf(p->fault->text, sizeof p->fault->text, "%s", text);
    return false;
}

static size_t enter(struct place *p, struct sv name) {
    size_t was = p->n;
    int n = snprintf(p->path + p->n, sizeof p->path - p->n, "/%.*s", SV_FMT(sv_first(name, 40)));
    p->n += n > 0 && (size_t)n < sizeof p->path - p->n ? (size_t)n : 0;
    return was;
}

static bool is_feature(struct sv v) {
    bool ok = v.n >= 1 && v.n <= 32;
    for (size_t i = 0; ok && i < v.n; i++)
        ok = (v.p[i] >= 'a' && v.p[i] <= 'z') || (v.p[i] >= '0' && v.p[i] <= '9') || v.p[i] == '_' || v.p[i] == '.' || v.p[i] == '-';
    return ok;
}

static bool check_int(const struct field *f, yyjson_val *v, struct place *p) {
    int64_t i = yyjson_is_uint(v) && yyjson_get_uint(v) < (uint64_t)COUNT_MAX ? (int64_t)yyjson_get_uint(v) : yyjson_is_sint(v) ? yyjson_get_sint(v) : -COUNT_MAX;
    return (i >= f->min && i <= f->max) || no(p, "not a whole number in the allowed range");
}

static bool check_word(const struct field *f, yyjson_val *v, struct place *p) {
    for (const char *const *w = f->words; *w; w++)
        if (sv_eq(json_sv(v), sv_of(*w)))
            return true;
    return no(p, "not one of the words allowed here");
}

static bool check_fields(const struct field *fields, yyjson_val *obj, struct place *p);

static bool check_value(const struct field *f, yyjson_val *v, struct place *p);

static bool check_list(const struct field *f, yyjson_val *v, struct place *p) {
    yyjson_arr_iter it;
    char number[24];
    unsigned i = 0;
    if (!yyjson_is_arr(v))
        return no(p, "not a list");
    if (yyjson_arr_size(v) > (size_t)f->max) {
        no(p, "more entries than allowed");
        p->fault->code = FAULT_TOO_LARGE;
        return false;
    }
    yyjson_arr_iter_init(v, &it);
    for (yyjson_val *one; (one = yyjson_arr_iter_next(&it)); i++) {
        snprintf(number, sizeof number, "%u", i);
        size_t was = enter(p, sv_of(number));
        if (!check_value(f->inner, one, p))
            return false;
        p->n = was;
    }
    return true;
}

static bool check_map(const struct field *f, yyjson_val *v, struct place *p) {
    yyjson_obj_iter it;
    if (!yyjson_is_obj(v))
        return no(p, "not an object");
    if (yyjson_obj_size(v) > (size_t)f->max) {
        no(p, "more members than allowed");
        p->fault->code = FAULT_TOO_LARGE;
        return false;
    }
    yyjson_obj_iter_init(v, &it);
    for (yyjson_val *k; (k = yyjson_obj_iter_next(&it));) {
        if (f->type == LABELS && !link_is_ident(json_sv(k)))
            return no(p, "a name that is no identifier");
        size_t was = enter(p, json_sv(k));
        if (!check_value(f->inner, yyjson_obj_iter_get_val(k), p))
            return false;
        p->n = was;
    }
    return true;
}

static bool check_value(const struct field *f, yyjson_val *v, struct place *p) {
    struct sv s = json_sv(v);
    switch (f->type) {
    case STRING:
        return (yyjson_is_str(v) && s.n >= (size_t)f->min && s.n <= (size_t)f->max) || no(p, "not a string of an allowed length");
    case IDENT:
        return (yyjson_is_str(v) && link_is_ident(s)) || no(p, "not an identifier");
    case FEATURE:
        return (yyjson_is_str(v) && is_feature(s)) || no(p, "not a name of 1 to 32 of a-z 0-9 _ . -");
    case TIME:
        return (yyjson_is_str(v) && s.n >= 20 && s.n <= 35) || no(p, "not a time");
    case INT:
        return check_int(f, v, p);
    case NUMBER:
        return yyjson_is_num(v) || no(p, "not a number");
    case BOOL:
        return yyjson_is_bool(v) || no(p, "not true or false");
    case WORD:
        return check_word(f, v, p);
    case OBJECT:
        return (yyjson_is_obj(v) || no(p, "not an object")) && (!f->inner || check_fields(f->inner, v, p));
    case LIST:
        return check_list(f, v, p);
    case MAP:
    case LABELS:
        return check_map(f, v, p);
    }
    return no(p, "a field of no type");
}

static bool check_fields(const struct field *fields, yyjson_val *obj, struct place *p) {
    for (const struct field *f = fields; f->name; f++) {
        yyjson_val *v = yyjson_obj_get(obj, f->name);
        size_t was = enter(p, sv_of(f->name));
        if (!v ? f->flags & NEEDED : !(yyjson_is_null(v) && f->flags & NULLABLE))
            if (!v ? !no(p, "missing") : !check_value(f, v, p))
                return false;
        p->n = was;
    }
    return true;
}

bool kind_check(enum link_kind k, yyjson_val *payload, struct envelope_fault *f) {
    struct place p = { .n = 0, .fault = f };
    enter(&p, SV("payload"));
    return check_fields(schemas[k], payload, &p);
}

/* --- printing them anew ------------------------------------------------------------------------------------------------------------------ */

static bool print_value(const struct field *f, yyjson_val *v, struct buf *out);

static bool print_fields(const struct field *fields, yyjson_val *obj, struct buf *out) {
    bool ok = buf_add_char(out, '{'), any = false;
    for (const struct field *f = fields; ok && f->name; f++) {
        yyjson_val *v = yyjson_obj_get(obj, f->name);
        if (!v)
            continue;
        ok = buf_printf(out, "%s\"%s\":", any ? "," : "", f->name) && print_value(f, v, out);
        any = true;
    }
    return ok && buf_add_char(out, '}');
}

static bool print_list(const struct field *each, yyjson_val *list, struct buf *out) {
    bool ok = buf_add_char(out, '[');
    yyjson_val *v;
    size_t i, n;
    yyjson_arr_foreach(list, i, n, v) ok = ok && (i == 0 || buf_add_char(out, ',')) && print_value(each, v, out);
    return ok && buf_add_char(out, ']');
}

/* What has no shape of its own goes on as it is: it was walked with the whole, so nothing in it stands twice. */
static bool print_whole(yyjson_val *v, struct buf *out) {
    size_t n;
    char *text = yyjson_val_write_opts(v, 0, &json_heap, &n, NULL);
    bool ok = text && buf_add(out, (struct sv){ text, n });
    mem_free(text);
    return ok;
}

static bool print_value(const struct field *f, yyjson_val *v, struct buf *out) {
    if (f->type == OBJECT && f->inner && yyjson_is_obj(v))
        return print_fields(f->inner, v, out);
    if (f->type == LIST && yyjson_is_arr(v))
        return print_list(f->inner, v, out);
    return print_whole(v, out);
}

bool kind_print(enum link_kind k, yyjson_val *payload, struct buf *out) {
    return print_fields(schemas[k], payload, out);
}
