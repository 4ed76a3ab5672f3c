/* fleet/rt_huggingface.c - the servers that hold one model and describe it in /info: Text Generation Inference and Text
 * Embeddings Inference; and Infinity, which lists several small ones. */
#include "fleet/runtime.h"

/* --- TGI ---------------------------------------------------------------------------------------------------------- */

static struct fleet_model *take_info(struct look *l, const struct probe_reply *r) {
    struct fleet_model *m = look_add(l, json_str(r->json, "model_id"));
    if (!m) {
        l->mismatch = true;
        look_fail(l, LOOK_FAILED, "its answer to /info names no model");
        return NULL;
    }
    l->has_list = true;
    l->version = look_keep(l, json_str(r->json, "version"));
    m->loaded = FLEET_LOADED_YES;
    m->format = SV("safetensors");
    m->slots = look_slots(r->json, "max_concurrent_requests"); /* beyond it they say 429 */
    return m;
}

static void take_tgi(struct look *l, const struct probe_reply *r) {
    struct fleet_model *m = take_info(l, r);
    if (m)
        m->context = m->context_max = look_u64(r->json, "max_total_tokens");
}

const struct step tgi_steps[] = { { "/info", STEP_NEED, take_tgi }, { NULL } };

/* --- TEI: model_type is an object with one key ------------------------------------------------------------------------ */

static void take_tei(struct look *l, const struct probe_reply *r) {
    struct fleet_model *m = take_info(l, r);
    yyjson_val *type = json_get(r->json, "model_type");
    if (!m)
        return;
    m->context = m->context_max = look_u64(r->json, "max_input_length");
    m->can = json_get(type, "reranker") ? LLM_CAN_RERANK : json_get(type, "embedding") ? LLM_CAN_EMBED : 0;
    m->can_known = m->can != 0;
    l->lacks = m->can == LLM_CAN_RERANK ? LLM_SPEAKS_EMBEDDINGS : m->can == LLM_CAN_EMBED ? LLM_SPEAKS_RERANK : 0;
}

const struct step tei_steps[] = { { "/info", STEP_NEED, take_tei }, { NULL } };

/* --- Infinity: under a prefix, /v1 if the operator was wise, or at the root --------------------------------------------- */

static void fill_infinity(struct look *l, struct fleet_model *m, yyjson_val *entry) {
    yyjson_val *list = json_get(entry, "capabilities"), *word;
    size_t i, n;
    yyjson_arr_foreach(list, i, n, word)
        m->can |= sv_starts(json_sv(word), SV("embed")) ? LLM_CAN_EMBED : sv_starts(json_sv(word), SV("rerank")) ? LLM_CAN_RERANK : 0;
    m->can_known = m->can != 0;
    m->loaded = FLEET_LOADED_YES;
}

static void take_infinity(struct look *l, const struct probe_reply *r) {
    look_list(l, r, "infinity", fill_infinity);
}

static void take_infinity_root(struct look *l, const struct probe_reply *r) {
    take_infinity(l, r);
    l->no_v1 = l->has_list;
}

static bool is_listless(struct look *l) {
    return !l->has_list;
}

const struct step infinity_steps[] = {
    { "/v1/models", STEP_LIST, take_infinity },
    { "/models", STEP_NEED | STEP_LIST, take_infinity_root, is_listless },
    { NULL },
};
