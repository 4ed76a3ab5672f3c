/* hub/session_models.c - what a node has, as it told: models by their keys, in an arena that a fresh registration empties. */
#include "base/json.h"
#include "hub/session_room.h"

enum { MODELS_MAX = 10000 /* of one node */ };

static unsigned can_of(yyjson_val *entry) {
    static const struct { const char *word; unsigned can; } features[] = { { "tools", LLM_CAN_TOOLS }, { "vision", LLM_CAN_VISION }, { "reasoning", LLM_CAN_THINKING } };
    static const struct { const char *word; unsigned can; } types[] = { { "chat", LLM_CAN_CHAT }, { "completion", LLM_CAN_CHAT }, { "embedding", LLM_CAN_EMBED } };
    unsigned can = 0;
    yyjson_arr_iter it;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        can |= sv_eq(json_str(entry, "type"), sv_of(types[i].word)) ? types[i].can : 0;
    if (!yyjson_arr_iter_init(yyjson_obj_get(entry, "features"), &it))
        return can;
    for (yyjson_val *v; (v = yyjson_arr_iter_next(&it));)
        for (size_t i = 0; i < sizeof features / sizeof features[0]; i++)
            can |= sv_eq(json_sv(v), sv_of(features[i].word)) ? features[i].can : 0;
    return can;
}

static bool take_model(struct session *s, yyjson_val *entry) {
    struct sv key = json_str(entry, "key"), state = json_str(entry, "state");
    struct fleet_model *m = map_get(&s->models, key);
    bool is_new = !m;
    if (is_new && s->models.n >= MODELS_MAX)
        return false;
    m = is_new ? ARENA_NEW(&s->arena, struct fleet_model) : m;
    if (!m)
        return false;
    *m = (struct fleet_model){ .id = is_new ? arena_sv(&s->arena, key) : m->id, .family = arena_sv(&s->arena, json_str(entry, "family")),
                               .params = arena_sv(&s->arena, json_str(entry, "params")), .quant = arena_sv(&s->arena, json_str(entry, "quant")),
                               .context = (uint64_t)json_i64(entry, "context_loaded", 0), .context_max = (uint64_t)json_i64(entry, "context_max", 0),
                               .size_bytes = (uint64_t)json_i64(entry, "size_bytes", 0), .vram_bytes = (uint64_t)json_i64(entry, "vram_bytes", 0),
                               .can = can_of(entry) };
    m->can_known = yyjson_obj_get(entry, "type") != NULL && m->can != 0;
    m->context = m->context ? m->context : m->context_max;
    m->loaded = sv_eq(state, SV("loaded")) ? FLEET_LOADED_YES : state.n ? FLEET_LOADED_NO : FLEET_LOADED_UNKNOWN;
    int64_t slots = json_i64(entry, "max_concurrent", 0);
    m->slots = slots > 0 && slots < 1 << 20 ? (uint32_t)slots : 0;
    return m->id.p && (!is_new || map_put(&s->models, m->id, m));
}

bool session__take_models(struct session *s, yyjson_val *list) {
    yyjson_arr_iter it;
    bool ok = true;
    if (!yyjson_arr_iter_init(list, &it))
        return true;
    for (yyjson_val *v; ok && (v = yyjson_arr_iter_next(&it));)
        ok = take_model(s, v);
    return ok;
}

void session__forget_models(struct session *s) {
    map_deinit(&s->models);
    map_init(&s->models);
    arena_deinit(&s->arena);
    arena_init(&s->arena, MODELS_BYTES, NULL);
}
