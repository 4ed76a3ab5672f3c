/* fleet/rt_sglang.c - SGLang. Its /health generates a token by default, so the list of models is the sign of life. */
#include "fleet/runtime.h"

static void fill(struct look *l, struct fleet_model *m, yyjson_val *entry) {
    m->context = m->context_max = look_u64(entry, "max_model_len");
    m->loaded = FLEET_LOADED_YES;
}

static void take_models(struct look *l, const struct probe_reply *r) {
    look_list(l, r, "sglang", fill);
}

static void take_info(struct look *l, const struct probe_reply *r) {
    l->version = look_keep(l, json_str(r->json, "version"));
    struct sv quant = json_str(r->json, "quantization");
    for (size_t i = 0; i < l->n_models; i++) {
        l->models[i].quant = look_keep(l, quant);
        l->models[i].slots = look_slots(r->json, "max_running_requests");
        if (!l->models[i].context)
            l->models[i].context = look_u64(r->json, "context_length");
    }
}

const struct step sglang_steps[] = {
    { "/v1/models", STEP_NEED | STEP_LIST | STEP_503_LOADS, take_models },
    { "/server_info", 0, take_info },
    { NULL },
};
