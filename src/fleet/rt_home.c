/* fleet/rt_home.c - the programs people run at home: LocalAI, KoboldCpp, TabbyAPI, Lemonade and Docker Model Runner. */
#include "fleet/runtime.h"

#include <stdlib.h>

/* "4.68 GiB"; 0 when it is none. */
static uint64_t bytes_of(struct sv text) {
    static const struct { const char *unit; double bytes; } units[] = {
        { "B", 1 },     { "KB", 1e3 },         { "MB", 1e6 },             { "GB", 1e9 },
        { "TB", 1e12 }, { "KiB", 1024 },       { "MiB", 1024.0 * 1024 },  { "GiB", 1024.0 * 1024 * 1024 },
    };
    char s[32], *unit;
    if (!sv_to_cstr(text, s, sizeof s))
        return 0;
    double n = strtod(s, &unit);
    struct sv name = sv_trim(sv_of(unit));
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (sv_eq_nocase(name, sv_of(units[i].unit)) && n > 0 && n * units[i].bytes < 1e15)
            return (uint64_t)(n * units[i].bytes);
    return 0;
}

static void take_nothing(struct look *l, const struct probe_reply *r) {
}

static void take_version(struct look *l, const struct probe_reply *r) {
    l->version = look_keep(l, json_str(r->json, "version"));
}

/* --- LocalAI ------------------------------------------------------------------------------------------------------ */

static void take_localai(struct look *l, const struct probe_reply *r) {
    look_list(l, r, NULL, NULL);
}

static void take_system(struct look *l, const struct probe_reply *r) {
    yyjson_val *list = json_get(r->json, "loaded_models"), *entry;
    size_t i, n;
    if (!yyjson_is_arr(list))
        return;
    yyjson_arr_foreach(list, i, n, entry) {
        struct fleet_model *m = look_find(l, json_str(entry, "id"));
        if (m)
            m->loaded = FLEET_LOADED_YES;
    }
    look_loaded(l, FLEET_LOADED_NO);
}

const struct step localai_steps[] = {
    { "/readyz", STEP_503_LOADS, take_nothing },
    { "/v1/models", STEP_NEED | STEP_LIST, take_localai },
    { "/system", 0, take_system },
    { "/.well-known/localai.json", 0, take_version },
    { NULL },
};

/* --- KoboldCpp: one model, one request at a time; without a model it lists a name that means none --------------------------- */

static void fill_koboldcpp(struct look *l, struct fleet_model *m, yyjson_val *entry) {
    m->created_s = 0; /* always 1 */
    m->slots = 1;
    m->loaded = FLEET_LOADED_YES;
    m->format = SV("gguf");
}

static void take_koboldcpp(struct look *l, const struct probe_reply *r) {
    look_list(l, r, "koboldcpp", fill_koboldcpp);
    if (l->n_models == 1 && sv_ends(l->models[0].id, SV("inactive")))
        l->n_models = 0;
}

static void take_true_context(struct look *l, const struct probe_reply *r) {
    for (size_t i = 0; i < l->n_models; i++)
        l->models[i].context = look_u64(r->json, "value");
}

const struct step koboldcpp_steps[] = {
    { "/v1/models", STEP_NEED | STEP_LIST, take_koboldcpp },
    { "/api/extra/true_max_context_length", 0, take_true_context },
    { "/api/extra/version", 0, take_version },
    { NULL },
};

/* --- TabbyAPI: /v1/model is the loaded one -------------------------------------------------------------------------- */

static void take_tabby_health(struct look *l, const struct probe_reply *r) {
    yyjson_val *issue = yyjson_arr_get_first(json_get(r->json, "issues"));
    struct sv text = json_sv(issue), why = text.n ? text : json_str(issue, "description");
    if (sv_eq(json_str(r->json, "status"), SV("unhealthy")))
        look_fail(l, LOOK_POOR, "it calls itself unhealthy: %.*s", SV_FMT(sv_first(why, 120)));
}

static void take_tabby(struct look *l, const struct probe_reply *r) {
    look_list(l, r, "tabbyAPI", NULL);
}

static void take_tabby_model(struct look *l, const struct probe_reply *r) {
    struct fleet_model *m = look_find(l, json_str(r->json, "id"));
    look_loaded(l, FLEET_LOADED_NO);
    if (!m)
        return;
    yyjson_val *parameters = json_get(r->json, "parameters");
    m->loaded = FLEET_LOADED_YES;
    m->context = look_u64(parameters, "max_seq_len");
    m->format = SV("exl");
}

const struct step tabbyapi_steps[] = {
    { "/health", STEP_ANY, take_tabby_health },
    { "/v1/models", STEP_NEED | STEP_LIST, take_tabby },
    { "/v1/model", 0, take_tabby_model },
    { NULL },
};

/* --- Lemonade ----------------------------------------------------------------------------------------------------- */

static unsigned lemonade_can(yyjson_val *labels) {
    unsigned can = 0;
    size_t i, n;
    yyjson_val *label;
    yyjson_arr_foreach(labels, i, n, label) {
        struct sv w = json_sv(label);
        can |= sv_eq(w, SV("embeddings")) ? LLM_CAN_EMBED : sv_eq(w, SV("reranking")) ? LLM_CAN_RERANK
               : sv_eq(w, SV("audio")) ? LLM_CAN_TRANSCRIBE : sv_eq(w, SV("image")) ? LLM_CAN_IMAGE : 0;
    }
    return can; /* labels of chat models name only extras */
}

static void fill_lemonade(struct look *l, struct fleet_model *m, yyjson_val *entry) {
    double gb = json_f64(entry, "size", 0);
    m->size_bytes = gb > 0 && gb < 1e6 ? (uint64_t)(gb * 1024 * 1024 * 1024) : 0;
    m->context = look_u64(entry, "context_length");
    m->context_max = look_u64(entry, "max_context_window");
    m->can = lemonade_can(json_get(entry, "labels"));
    m->can_known = m->can != 0;
}

static void take_lemonade(struct look *l, const struct probe_reply *r) {
    look_list(l, r, "lemonade", fill_lemonade);
}

static void take_lemonade_health(struct look *l, const struct probe_reply *r) {
    yyjson_val *list = json_get(r->json, "all_models_loaded"), *entry;
    l->version = look_keep(l, json_str(r->json, "version"));
    size_t i, n;
    if (!yyjson_is_arr(list))
        return;
    yyjson_arr_foreach(list, i, n, entry) {
        struct fleet_model *m = look_find(l, json_str(entry, "model_name"));
        uint64_t context = look_u64(json_get(entry, "recipe_options"), "ctx_size");
        if (!m)
            continue;
        m->loaded = FLEET_LOADED_YES;
        m->context = context ? context : m->context;
    }
    look_loaded(l, FLEET_LOADED_NO);
}

const struct step lemonade_steps[] = {
    { "/v1/models", STEP_NEED | STEP_LIST, take_lemonade },
    { "/api/v1/health", 0, take_lemonade_health },
    { NULL },
};

/* --- Docker Model Runner ------------------------------------------------------------------------------------------ */

static void fill_dmr(struct look *l, struct fleet_model *m, yyjson_val *entry) {
    yyjson_val *d = json_get(entry, "dmr");
    m->context = m->context_max = look_u64(d, "context_window");
    m->family = look_keep(l, json_str(d, "architecture"));
    m->params = look_keep(l, json_str(d, "parameters"));
    m->quant = look_keep(l, json_str(d, "quantization"));
    m->size_bytes = bytes_of(json_str(d, "size"));
}

static void take_dmr(struct look *l, const struct probe_reply *r) {
    look_list(l, r, "docker", fill_dmr);
}

static void take_dmr_ps(struct look *l, const struct probe_reply *r) {
    size_t i, n;
    yyjson_val *entry;
    if (!yyjson_is_arr(r->json))
        return;
    yyjson_arr_foreach(r->json, i, n, entry) {
        struct fleet_model *m = look_find(l, json_str(entry, "model_name"));
        if (m && !json_bool(entry, "loading", false))
            m->loaded = FLEET_LOADED_YES;
    }
    look_loaded(l, FLEET_LOADED_NO);
}

const struct step dmr_steps[] = {
    { "/v1/models", STEP_NEED | STEP_LIST, take_dmr },
    { "/engines/ps", 0, take_dmr_ps },
    { NULL },
};
