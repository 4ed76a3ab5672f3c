/* fleet/rt_llamacpp.c - llama-server, with one model or as a router.
 *
 * While it loads it answers 503 to everything. As a router it says so in /props, and /v1/models lists each model with a
 * status; a running one carries its child's meta. /slots is never read: it shows prompts. */
#include "fleet/runtime.h"

/* 8190735360 -> "8.2B". */
static struct sv count_text(struct look *l, uint64_t n) {
    double v = (double)n;
    return n >= 1000000000 ? sv_of(arena_printf(&l->arena, "%.1fB", v / 1e9))
         : n >= 1000000    ? sv_of(arena_printf(&l->arena, "%.0fM", v / 1e6))
         : n               ? sv_of(arena_printf(&l->arena, "%.0fK", v / 1e3))
                           : SV_NULL;
}

static void fill(struct look *l, struct fleet_model *m, yyjson_val *entry) {
    yyjson_val *meta = json_get(entry, "meta"), *status = json_get(entry, "status");
    m->context = look_u64(meta, "n_ctx");
    m->context_max = look_u64(meta, "n_ctx_train");
    m->size_bytes = look_u64(meta, "size");
    m->quant = look_keep(l, json_str(meta, "ftype"));
    m->format = SV("gguf");
    m->params = count_text(l, look_u64(meta, "n_params"));
    m->loaded = FLEET_LOADED_YES;
    if (status) { /* sleeping: the weights come back by themselves */
        struct sv value = json_str(status, "value");
        m->loaded = sv_eq(value, SV("loaded")) ? FLEET_LOADED_YES : FLEET_LOADED_NO;
    }
}

static void take_models(struct look *l, const struct probe_reply *r) {
    look_list(l, r, "llamacpp", fill);
}

static void take_props(struct look *l, const struct probe_reply *r) {
    struct sv build = json_str(r->json, "build_info");
    if (build.n)
        l->version = look_keep(l, build);
    if (sv_eq(json_str(r->json, "role"), SV("router")) || l->n_models != 1)
        return;
    struct fleet_model *m = &l->models[0];
    uint64_t slot = look_u64(json_get(r->json, "default_generation_settings"), "n_ctx");
    if (slot)
        m->context = slot; /* of one slot: what a request gets */
    m->slots = look_slots(r->json, "total_slots");
    if (!m->quant.n)
        m->quant = look_keep(l, json_str(r->json, "model_ftype"));
    if (json_bool(r->json, "is_sleeping", false))
        m->loaded = FLEET_LOADED_NO;
}

const struct step llamacpp_steps[] = {
    { "/v1/models", STEP_NEED | STEP_LIST | STEP_503_LOADS, take_models },
    { "/props", 0, take_props },
    { NULL },
};
