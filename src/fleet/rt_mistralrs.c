/* fleet/rt_mistralrs.c - mistral.rs. Its first entry, "default", is another name for one of the others. */
#include "fleet/runtime.h"

static void take_models(struct look *l, const struct probe_reply *r) {
    yyjson_val *data = json_get(r->json, "data"), *entry;
    if (!yyjson_is_arr(data)) {
        look_list(l, r, NULL, NULL); /* says what is wrong with it */
        return;
    }
    l->has_list = true;
    l->mismatch = yyjson_arr_size(data) && !sv_eq(json_str(yyjson_arr_get_first(data), "owned_by"), SV("local"));
    size_t i, n;
    yyjson_arr_foreach(data, i, n, entry) {
        struct sv id = json_str(entry, "id"), status = json_str(entry, "status");
        struct fleet_model *m = n > 1 && sv_eq(id, SV("default")) ? NULL : look_add(l, id);
        if (!m)
            continue;
        m->created_s = look_u64(entry, "created");
        if (status.n)
            m->loaded = sv_eq(status, SV("loaded")) ? FLEET_LOADED_YES : FLEET_LOADED_NO;
    }
}

const struct step mistralrs_steps[] = { { "/v1/models", STEP_NEED | STEP_LIST, take_models }, { NULL } };
