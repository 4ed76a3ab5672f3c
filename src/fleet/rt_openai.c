/* fleet/rt_openai.c - servers of which a plain OpenAI list of models is all there is to see: the generic one, vLLM, Jan,
 * MLX-LM, Triton's front end and TensorRT-LLM. */
#include "fleet/runtime.h"

/* --- any server --------------------------------------------------------------------------------------------------- */

/* Gateways and smaller servers add the context under one of these names. */
static void fill_generic(struct look *l, struct fleet_model *m, yyjson_val *entry) {
    static const char *const names[] = { "max_model_len", "context_length", "context_window", "max_context_length" };
    for (size_t i = 0; i < sizeof names / sizeof names[0] && !m->context; i++)
        m->context = look_u64(entry, names[i]);
}

static void take_generic(struct look *l, const struct probe_reply *r) {
    look_list(l, r, NULL, fill_generic);
    l->mismatch = false; /* whatever it is */
}

const struct step openai_steps[] = { { "/v1/models", STEP_NEED | STEP_LIST, take_generic }, { NULL } };

/* --- another Drover ----------------------------------------------------------------------------------------------- */

static void take_version(struct look *l, const struct probe_reply *r);

static void take_drover(struct look *l, const struct probe_reply *r) {
    look_list(l, r, NULL, fill_generic);
}

const struct step drover_steps[] = {
    { "/v1/models", STEP_NEED | STEP_LIST, take_drover },
    { "/version", 0, take_version },
    { NULL },
};

/* --- vLLM: the port opens when the model is loaded; a LoRA adapter is an entry with a parent -------------------------- */

static void fill_vllm(struct look *l, struct fleet_model *m, yyjson_val *entry) {
    m->context = m->context_max = look_u64(entry, "max_model_len");
    m->loaded = FLEET_LOADED_YES;
}

static void take_vllm(struct look *l, const struct probe_reply *r) {
    look_list(l, r, "vllm", fill_vllm);
}

static void take_version(struct look *l, const struct probe_reply *r) {
    l->version = look_keep(l, json_str(r->json, "version"));
}

const struct step vllm_steps[] = {
    { "/v1/models", STEP_NEED | STEP_LIST, take_vllm },
    { "/version", 0, take_version },
    { NULL },
};

/* --- TensorRT-LLM: /health and /version like vLLM's; never /health_generate, which runs a request ---------------------- */

static void fill_loaded(struct look *l, struct fleet_model *m, yyjson_val *entry) {
    m->context = look_u64(entry, "max_model_len");
    m->loaded = FLEET_LOADED_YES;
}

static void take_trtllm(struct look *l, const struct probe_reply *r) {
    look_list(l, r, "tensorrt_llm", fill_loaded);
}

static void take_nothing(struct look *l, const struct probe_reply *r) {
}

const struct step trtllm_steps[] = {
    { "/health", STEP_503_LOADS, take_nothing },
    { "/v1/models", STEP_NEED | STEP_LIST, take_trtllm },
    { "/version", 0, take_version },
    { NULL },
};

/* --- Triton's OpenAI front end ------------------------------------------------------------------------------------ */

static void take_triton(struct look *l, const struct probe_reply *r) {
    look_list(l, r, "Triton Inference Server", fill_loaded);
}

const struct step triton_steps[] = {
    { "/health/ready", STEP_503_LOADS, take_nothing },
    { "/v1/models", STEP_NEED | STEP_LIST, take_triton },
    { NULL },
};

/* --- Jan: lists the sessions that run ----------------------------------------------------------------------------- */

static void take_jan(struct look *l, const struct probe_reply *r) {
    look_list(l, r, "user", fill_loaded);
}

const struct step jan_steps[] = { { "/v1/models", STEP_NEED | STEP_LIST, take_jan }, { NULL } };

/* --- MLX-LM: lists what lies in the cache. It would download any other name it is asked for, so the list is also the fence. */

static void fill_mlx(struct look *l, struct fleet_model *m, yyjson_val *entry) {
    m->format = SV("mlx");
    m->can = LLM_CAN_CHAT | LLM_CAN_COMPLETION | LLM_CAN_TOOLS | LLM_CAN_THINKING;
    m->can_known = true;
}

static void take_mlx(struct look *l, const struct probe_reply *r) {
    look_list(l, r, NULL, fill_mlx);
}

const struct step mlx_steps[] = { { "/v1/models", STEP_NEED | STEP_LIST, take_mlx }, { NULL } };
