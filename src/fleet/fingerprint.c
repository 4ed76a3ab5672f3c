/* fleet/fingerprint.c - the decision table.
 *
 * A row is a verdict and the conditions that must all hold, each about the reply to one probe. Rows are tried in order and
 * a condition about a probe that was not made yet asks for it: so the order of rows is also the order of questions, and the
 * commonest runtimes are settled by the first. A reply is judged against every row at once and then forgotten.
 * Many runtimes emulate Ollama, and LM Studio answers 200 to everything: only bodies and the two telling Server headers are
 * evidence. */
#include "fleet/fingerprint.h"

#include <assert.h>

#include "config/config.h"

static const char *const paths[] = {
#define X(id, path) [id] = path,
    FP_PROBES(X)
#undef X
};

const char *fingerprint_path(enum fp_probe probe) {
    return paths[probe];
}

/* --- what a condition may ask of a reply -------------------------------------------------------------------------- */

typedef bool test_fn(const struct probe_reply *r, const char *arg);

static bool ok(const struct probe_reply *r, const char *arg) {
    return r->status == 200;
}

static bool not_ok(const struct probe_reply *r, const char *arg) {
    return r->status != 200;
}

static bool locked(const struct probe_reply *r, const char *arg) {
    return r->status == 401 || r->status == 403;
}

static bool missing(const struct probe_reply *r, const char *arg) {
    return r->status == 404 || r->status == 405 || r->status == 501;
}

static bool server_is(const struct probe_reply *r, const char *arg) {
    return r->status && sv_eq(r->server, sv_of(arg));
}

static bool server_starts(const struct probe_reply *r, const char *arg) {
    return r->status && sv_starts(r->server, sv_of(arg));
}

static bool body_is(const struct probe_reply *r, const char *arg) {
    return r->status == 200 && sv_eq(sv_trim(r->body), sv_of(arg));
}

static bool body_has(const struct probe_reply *r, const char *arg) {
    return r->status && sv_find(r->body, sv_of(arg)) >= 0;
}

static bool empty_ok(const struct probe_reply *r, const char *arg) {
    return r->status == 200 && r->body.n == 0;
}

static bool has(const struct probe_reply *r, const char *arg) {
    return r->status == 200 && json_get(r->json, arg);
}

static bool has_object(const struct probe_reply *r, const char *arg) {
    return r->status == 200 && yyjson_is_obj(json_get(r->json, arg));
}

/* "a.b=text" */
static bool says(const struct probe_reply *r, const char *arg) {
    struct sv want = sv_of(arg), path;
    char name[64];
    return r->status == 200 && sv_cut(&want, '=', &path) && sv_to_cstr(path, name, sizeof name) &&
           sv_eq_nocase(json_sv(json_at(r->json, name)), want);
}

static bool is_true(const struct probe_reply *r, const char *arg) {
    return r->status == 200 && json_bool(r->json, arg, false);
}

static bool locked_error(const struct probe_reply *r, const char *arg) {
    return locked(r, NULL) && sv_eq(json_str(r->json, "error"), sv_of(arg));
}

static bool locked_text(const struct probe_reply *r, const char *arg) {
    return locked(r, NULL) && sv_starts(r->body, sv_of(arg));
}

/* -- lists of models -- */

static yyjson_val *data_of(const struct probe_reply *r) {
    return r->status == 200 ? json_get(r->json, "data") : NULL;
}

static yyjson_val *first_of(const struct probe_reply *r) {
    return yyjson_arr_get_first(data_of(r));
}

static bool is_list(const struct probe_reply *r, const char *arg) {
    yyjson_val *data = data_of(r);
    return yyjson_is_arr(data) || yyjson_is_null(data);
}

static bool empty_list(const struct probe_reply *r, const char *arg) {
    return is_list(r, NULL) && yyjson_arr_size(data_of(r)) == 0;
}

static bool owner_is(const struct probe_reply *r, const char *arg) {
    return sv_eq(json_str(first_of(r), "owned_by"), sv_of(arg));
}

static bool mistralrs_list(const struct probe_reply *r, const char *arg) {
    return owner_is(r, "local") && sv_eq(json_str(first_of(r), "id"), SV("default"));
}

static bool jan_list(const struct probe_reply *r, const char *arg) {
    return owner_is(r, "user") && json_i64(first_of(r), "created", 0) == 1;
}

static bool tgi_list(const struct probe_reply *r, const char *arg) {
    struct sv id = json_str(first_of(r), "id");
    return id.n && sv_eq(json_str(first_of(r), "owned_by"), id) && json_i64(first_of(r), "created", -1) == 0;
}

static bool bare_list(const struct probe_reply *r, const char *arg) {
    yyjson_val *first = first_of(r);
    return yyjson_obj_size(first) == 2 && json_get(first, "id") && json_get(first, "object");
}

static bool mlx_list(const struct probe_reply *r, const char *arg) {
    return is_list(r, NULL) && r->minor == 0 && !json_get(first_of(r), "owned_by") &&
           (json_get(first_of(r), "created") || sv_starts(r->server, SV("BaseHTTP/")));
}

/* A line that starts with the prefix: the name of a series. */
static bool series(const struct probe_reply *r, const char *arg) {
    struct sv rest = r->body, line;
    if (r->status != 200)
        return false;
    while (sv_next(&rest, '\n', &line))
        if (sv_starts(line, sv_of(arg)))
            return true;
    return false;
}

/* --- the table ---------------------------------------------------------------------------------------------------- */

struct condition {
    int probe; /* enum fp_probe */
    test_fn *test;
    const char *arg;
};

struct row {
    int verdict;
    struct condition all[FP_CONDITIONS_MAX]; /* up to the first without a test */
};

#define OLLAMA_ROOT { FP_ROOT, body_is, "Ollama is running" }
#define DMR_ROOT { FP_ROOT, body_is, "Docker Model Runner is running" }
#define GREETING { FP_GREETING, is_true, "lmstudio" }

static const struct row rows[] = {
    /* The list of models tells. */
    { CONFIG_KIND_LLAMACPP, { { FP_MODELS, server_is, "llama.cpp" } } },
    { CONFIG_KIND_KOBOLDCPP, { { FP_MODELS, server_starts, "KoboldCppServer" } } },
    { CONFIG_KIND_VLLM, { { FP_MODELS, owner_is, "vllm" }, { FP_VERSION, has, "version" } } },
    { CONFIG_KIND_SGLANG, { { FP_MODELS, owner_is, "sglang" } } },
    { CONFIG_KIND_LMSTUDIO, { { FP_MODELS, owner_is, "organization_owner" }, GREETING } },
    { CONFIG_KIND_MISTRALRS, { { FP_MODELS, mistralrs_list } } },
    { CONFIG_KIND_KOBOLDCPP, { { FP_MODELS, owner_is, "koboldcpp" } } },
    { CONFIG_KIND_TABBYAPI, { { FP_MODELS, owner_is, "tabbyAPI" } } },
    { CONFIG_KIND_LEMONADE, { { FP_MODELS, owner_is, "lemonade" } } },
    { CONFIG_KIND_DMR, { { FP_MODELS, owner_is, "docker" } } },
    { CONFIG_KIND_INFINITY, { { FP_MODELS, owner_is, "infinity" } } },
    { CONFIG_KIND_TRTLLM, { { FP_MODELS, owner_is, "tensorrt_llm" } } },
    { CONFIG_KIND_TRITON, { { FP_MODELS, owner_is, "Triton Inference Server" } } },
    { CONFIG_KIND_JAN, { { FP_MODELS, jan_list } } },
    { CONFIG_KIND_TGI, { { FP_MODELS, tgi_list }, { FP_INFO, has, "max_total_tokens" } } },
    { CONFIG_KIND_LOCALAI, { { FP_MODELS, bare_list }, { FP_LOCALAI, has, "version" } } },
    { CONFIG_KIND_MLX, { { FP_MODELS, mlx_list } } },
    { CONFIG_KIND_LLAMACPP, { { FP_MODELS, owner_is, "llamacpp" } } }, /* a proxy hid the header */
    { CONFIG_KIND_LLAMACPP, { { FP_MODELS, body_has, "\"Loading model\"" }, { FP_HEALTH, body_has, "\"Loading model\"" } } },
    { CONFIG_KIND_LMSTUDIO, { { FP_MODELS, body_has, "Unexpected endpoint or method" }, GREETING } },

    /* It has a list that tells nothing. Drover before Ollama, which it imitates. */
    { FP_DROVER, { { FP_MODELS, is_list }, { FP_VERSION, says, "name=drover" } } },
    { CONFIG_KIND_OLLAMA, { { FP_MODELS, is_list }, OLLAMA_ROOT, { FP_OLLAMA_STATUS, has, "cloud" } } },
    { CONFIG_KIND_OLLAMA, { { FP_MODELS, is_list }, OLLAMA_ROOT, { FP_OLLAMA_VERSION, has, "version" },
                            { FP_KOBOLD, not_ok }, { FP_SGLANG, not_ok }, { FP_LOCALAI, not_ok } } },
    { CONFIG_KIND_DMR, { { FP_MODELS, is_list }, DMR_ROOT } },
    { CONFIG_KIND_LMSTUDIO, { { FP_MODELS, empty_list }, GREETING } },
    { CONFIG_KIND_LOCALAI, { { FP_MODELS, empty_list }, { FP_LOCALAI, has, "version" } } },
    { CONFIG_KIND_LEMONADE, { { FP_MODELS, empty_list }, { FP_LEMONADE, has, "max_models" } } },
    { CONFIG_KIND_TABBYAPI, { { FP_MODELS, empty_list }, { FP_SERVICE, says, "software.name=TabbyAPI" } } },
    { CONFIG_KIND_SGLANG, { { FP_MODELS, empty_list }, { FP_SGLANG, has, "model_path" } } },
    { CONFIG_KIND_OPENAI, { { FP_MODELS, is_list } } },

    /* It wants a key that we lack: what stays public tells. */
    { CONFIG_KIND_VLLM, { { FP_MODELS, locked_error, "Unauthorized" }, { FP_VERSION, has, "version" } } },
    { CONFIG_KIND_JAN, { { FP_MODELS, locked_text, "Missing authorization header" } } },
    { CONFIG_KIND_JAN, { { FP_MODELS, locked_text, "Invalid or missing authorization token" } } },
    { CONFIG_KIND_JAN, { { FP_MODELS, locked_text, "Invalid host header" } } },
    { CONFIG_KIND_LMSTUDIO, { { FP_MODELS, locked }, GREETING } },
    { CONFIG_KIND_TABBYAPI, { { FP_MODELS, locked }, { FP_SERVICE, says, "software.name=TabbyAPI" } } },
    { CONFIG_KIND_KOBOLDCPP, { { FP_MODELS, locked }, { FP_SERVICE, says, "software.name=KoboldCpp" } } },
    { CONFIG_KIND_KOBOLDCPP, { { FP_MODELS, locked }, { FP_KOBOLD, says, "result=KoboldCpp" } } },
    { CONFIG_KIND_TABBYAPI, { { FP_MODELS, locked }, { FP_HEALTH, has, "issues" } } },
    { CONFIG_KIND_LOCALAI, { { FP_MODELS, locked }, { FP_LOCALAI, has, "version" } } },
    { CONFIG_KIND_LEMONADE, { { FP_MODELS, locked }, { FP_LEMONADE, locked }, { FP_LIVE, ok } } },
    { CONFIG_KIND_VLLM, { { FP_MODELS, locked }, { FP_METRICS, series, "vllm:" } } },
    { CONFIG_KIND_SGLANG, { { FP_MODELS, locked }, { FP_METRICS, series, "sglang:" } } },
    { CONFIG_KIND_LLAMACPP, { { FP_MODELS, locked }, { FP_METRICS, series, "llamacpp:" } } },
    { CONFIG_KIND_TGI, { { FP_MODELS, locked }, { FP_METRICS, series, "tgi_" } } },
    { CONFIG_KIND_TEI, { { FP_MODELS, locked }, { FP_METRICS, series, "te_" } } },
    { CONFIG_KIND_MISTRALRS, { { FP_MODELS, locked }, { FP_METRICS, series, "mistralrs_" } } },
    { CONFIG_KIND_LEMONADE, { { FP_MODELS, locked }, { FP_METRICS, series, "lemonade_" } } },
    { CONFIG_KIND_TRITON, { { FP_MODELS, locked }, { FP_METRICS, series, "nv_inference_" } } },
    { CONFIG_KIND_OPENAI, { { FP_MODELS, locked } } },

    /* It has no /v1/models. */
    { CONFIG_KIND_TEI, { { FP_MODELS, missing }, { FP_INFO, has_object, "model_type" }, { FP_INFO, has, "max_batch_tokens" } } },
    { CONFIG_KIND_TGI, { { FP_MODELS, missing }, { FP_INFO, has, "max_total_tokens" } } },
    { CONFIG_KIND_INFINITY, { { FP_MODELS, missing }, { FP_ROOT_MODELS, owner_is, "infinity" } } },
    { CONFIG_KIND_OLLAMA, { { FP_MODELS, missing }, OLLAMA_ROOT, { FP_OLLAMA_TAGS, has, "models" }, { FP_KOBOLD, not_ok } } },
    { CONFIG_KIND_DMR, { { FP_MODELS, missing }, DMR_ROOT } },
    { CONFIG_KIND_TRITON, { { FP_MODELS, missing }, { FP_TRITON, empty_ok } } },
    { CONFIG_KIND_SGLANG, { { FP_MODELS, missing }, { FP_SGLANG, has, "model_path" } } },
};

enum { ROWS = sizeof rows / sizeof rows[0] };
_Static_assert(sizeof rows / sizeof rows[0] <= FP_ROWS_MAX, "more rows than struct fingerprint has room for");

void fingerprint_init(struct fingerprint *f) {
    *f = (struct fingerprint){ 0 };
}

int fingerprint_next(const struct fingerprint *f, int *ret_verdict) {
    for (size_t i = 0; i < ROWS; i++) {
        unsigned c = 0;
        for (; c < FP_CONDITIONS_MAX && rows[i].all[c].test; c++) {
            if (!(f->asked & 1u << rows[i].all[c].probe))
                return rows[i].all[c].probe;
            if (!(f->holds[i] & 1u << c))
                break;
        }
        if (c == FP_CONDITIONS_MAX || !rows[i].all[c].test) {
            *ret_verdict = rows[i].verdict;
            return FP_NONE;
        }
    }
    *ret_verdict = FP_UNKNOWN;
    return FP_NONE;
}

void fingerprint_take(struct fingerprint *f, enum fp_probe probe, const struct probe_reply *r) {
    assert(!(f->asked & 1u << probe));
    f->asked |= 1u << probe;
    f->any_reply = f->any_reply || r->status;
    for (size_t i = 0; i < ROWS; i++)
        for (unsigned c = 0; c < FP_CONDITIONS_MAX && rows[i].all[c].test; c++)
            if (rows[i].all[c].probe == (int)probe && rows[i].all[c].test(r, rows[i].all[c].arg))
                f->holds[i] |= (unsigned char)(1u << c);
}
