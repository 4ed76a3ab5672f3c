/* fleet/rt_lmstudio.c - LM Studio: the richest list it has. v1 (since 0.4.0), else v0 (since 0.3.6), else the OpenAI one.
 * A path that it does not have is answered with 200 and an error text, so only the shape of the body counts. A list that is
 * missing also tells which dialects are missing: Anthropic came shortly after v1. */
#include "fleet/runtime.h"

static unsigned can_of(struct sv type, bool vision, bool tools) {
    if (sv_eq(type, SV("embedding")) || sv_eq(type, SV("embeddings")))
        return LLM_CAN_EMBED;
    return LLM_CAN_CHAT | LLM_CAN_COMPLETION | (vision ? LLM_CAN_VISION : 0) | (tools ? LLM_CAN_TOOLS : 0);
}

static void take_v1(struct look *l, const struct probe_reply *r) {
    yyjson_val *list = json_get(r->json, "models"), *entry;
    if (!yyjson_is_arr(list)) {
        l->lacks |= LLM_SPEAKS_LMSTUDIO1 | LLM_SPEAKS_ANTHROPIC;
        return;
    }
    l->has_list = true;
    size_t i, n;
    yyjson_arr_foreach(list, i, n, entry) {
        struct fleet_model *m = look_add(l, json_str(entry, "key"));
        if (!m)
            continue;
        yyjson_val *can = json_get(entry, "capabilities"), *running = yyjson_arr_get_first(json_get(entry, "loaded_instances"));
        m->family = look_keep(l, json_str(entry, "architecture"));
        m->params = look_keep(l, json_str(entry, "params_string"));
        m->quant = look_keep(l, json_str(json_get(entry, "quantization"), "name"));
        m->format = look_keep(l, json_str(entry, "format"));
        m->size_bytes = look_u64(entry, "size_bytes");
        m->context_max = look_u64(entry, "max_context_length");
        m->context = look_u64(json_get(running, "config"), "context_length");
        m->slots = look_slots(json_get(running, "config"), "parallel");
        m->loaded = running ? FLEET_LOADED_YES : FLEET_LOADED_NO;
        m->can = can_of(json_str(entry, "type"), json_bool(can, "vision", false), json_bool(can, "trained_for_tool_use", false));
        /* "Not trained for tools" does not mean that tools fail, so the list is not the last word on them. */
        m->can_known = m->can == LLM_CAN_EMBED;
    }
}

static bool is_listless(struct look *l) {
    return !l->has_list;
}

static void take_v0(struct look *l, const struct probe_reply *r) {
    yyjson_val *list = json_get(r->json, "data"), *entry;
    if (!yyjson_is_arr(list)) {
        l->lacks |= LLM_SPEAKS_LMSTUDIO0;
        return;
    }
    l->has_list = true;
    size_t i, n;
    yyjson_arr_foreach(list, i, n, entry) {
        struct fleet_model *m = look_add(l, json_str(entry, "id"));
        if (!m)
            continue;
        struct sv type = json_str(entry, "type");
        m->family = look_keep(l, json_str(entry, "arch"));
        m->quant = look_keep(l, json_str(entry, "quantization"));
        m->format = look_keep(l, json_str(entry, "compatibility_type"));
        m->context_max = look_u64(entry, "max_context_length");
        m->context = look_u64(entry, "loaded_context_length");
        m->loaded = sv_eq(json_str(entry, "state"), SV("loaded")) ? FLEET_LOADED_YES : FLEET_LOADED_NO;
        m->can = can_of(type, sv_eq(type, SV("vlm")), true);
        m->can_known = m->can == LLM_CAN_EMBED;
    }
}

static void take_openai(struct look *l, const struct probe_reply *r) {
    look_list(l, r, NULL, NULL);
}

const struct step lmstudio_steps[] = {
    { "/api/v1/models", STEP_LIST, take_v1 },
    { "/api/v0/models", STEP_LIST, take_v0, is_listless },
    { "/v1/models", STEP_NEED | STEP_LIST, take_openai, is_listless },
    { NULL },
};
