/* fleet/runtimes.c - the table of runtimes. Where a row says something surprising, its adapter says why.
 *
 * deficient names dialects that a runtime offers in part: Responses as a shim over chat, without numbers, states or usage;
 * Ollama's /v1 and /v1/messages, whose streams just end when the model fails. The gateway translates from a sound one instead.
 *
 * A dialect that came with a version nobody can ask for is offered: where it is missing the runtime says 404 itself. */
#include "fleet/runtime.h"

#include "llm/meter.h"
#include "translate/translate.h"

enum {
    IDLE_MS = 30000,
    IDLE_UVICORN_MS = 4000, /* its servers close after 5 s */
};

#define CHAT LLM_SPEAKS_CHAT
#define COMPLETIONS LLM_SPEAKS_COMPLETIONS
#define RESPONSES LLM_SPEAKS_RESPONSES
#define EMBED LLM_SPEAKS_EMBEDDINGS
#define MESSAGES LLM_SPEAKS_ANTHROPIC
#define COUNT LLM_SPEAKS_ANTHROPIC_COUNT
#define OLLAMA LLM_SPEAKS_OLLAMA
#define RERANK LLM_SPEAKS_RERANK
#define SCORE LLM_SPEAKS_SCORE
#define LISTEN LLM_SPEAKS_TRANSCRIPTIONS
#define SPEAK LLM_SPEAKS_SPEECH
#define DRAW LLM_SPEAKS_IMAGES

#define REASONING TRANSLATE_Q_REASONING
#define REPETITION TRANSLATE_Q_REPETITION
#define TEMPLATE_THINK TRANSLATE_Q_TEMPLATE_THINK
#define FETCHES TRANSLATE_Q_FETCHES

static const struct since ollama_since[] = {
    { RESPONSES, "0.13.3" }, { MESSAGES, "0.14.0" }, { LISTEN, "0.20.0" }, { 0, NULL },
};
static const struct since vllm_since[] = { { RESPONSES, "0.10.0" }, { MESSAGES | COUNT, "0.11.1" }, { 0, NULL } };
static const struct since llamacpp_since[] = { { MESSAGES | COUNT, "b7187" }, { RESPONSES, "b7793" }, { 0, NULL } };
static const struct since localai_since[] = { { RESPONSES | MESSAGES | COUNT, "3.10.0" }, { OLLAMA, "4.2.0" }, { 0, NULL } };
static const struct since lemonade_since[] = { { MESSAGES, "10.3.0" }, { 0, NULL } };

static const struct runtime table[] = {
    { .kind = CONFIG_KIND_OLLAMA, .title = "Ollama", .port = 11434,
      .speaks = CHAT | COMPLETIONS | RESPONSES | EMBED | MESSAGES | OLLAMA | LISTEN, .since = ollama_since,
      .quirks = METER_Q_NO_DETAILS, .deficient = CHAT | COMPLETIONS | RESPONSES | MESSAGES, .ways = REASONING | TRANSLATE_Q_TELLS_THINKING, .steps = ollama_steps },
    { .kind = CONFIG_KIND_LMSTUDIO, .title = "LM Studio", .port = 1234,
      .speaks = CHAT | COMPLETIONS | RESPONSES | EMBED | MESSAGES | LLM_SPEAKS_LMSTUDIO0 | LLM_SPEAKS_LMSTUDIO1,
      .ways = TRANSLATE_Q_CHOICE_WORDS | TRANSLATE_Q_NO_JSON_OBJECT, .steps = lmstudio_steps },
    { .kind = CONFIG_KIND_LLAMACPP, .title = "llama.cpp", .port = 8080,
      .speaks = CHAT | COMPLETIONS | RESPONSES | EMBED | MESSAGES | COUNT | RERANK | LISTEN, .since = llamacpp_since,
      .quirks = METER_Q_EXCLUSIVE, .deficient = RESPONSES, .ways = TEMPLATE_THINK | TRANSLATE_Q_THINK_BUDGET | FETCHES, .steps = llamacpp_steps },
    { .kind = CONFIG_KIND_VLLM, .title = "vLLM", .port = 8000,
      .speaks = CHAT | COMPLETIONS | RESPONSES | EMBED | MESSAGES | COUNT | RERANK | SCORE | LISTEN, .since = vllm_since,
      .quirks = METER_Q_EXCLUSIVE, .pool_idle_ms = IDLE_UVICORN_MS, .ways = REASONING | REPETITION | TEMPLATE_THINK | FETCHES, .steps = vllm_steps },
    { .kind = CONFIG_KIND_SGLANG, .title = "SGLang", .port = 30000,
      .speaks = CHAT | COMPLETIONS | RESPONSES | EMBED | MESSAGES | COUNT | OLLAMA | RERANK | SCORE | LISTEN,
      .quirks = METER_Q_EXCLUSIVE, .pool_idle_ms = IDLE_UVICORN_MS, .ways = REPETITION | TEMPLATE_THINK | FETCHES, .steps = sglang_steps },
    { .kind = CONFIG_KIND_MISTRALRS, .title = "mistral.rs", .port = 1234,
      .speaks = CHAT | COMPLETIONS | RESPONSES | EMBED | MESSAGES | COUNT | DRAW | SPEAK, .deficient = RESPONSES, .ways = REPETITION | FETCHES, .steps = mistralrs_steps },
    { .kind = CONFIG_KIND_TGI, .title = "Text Generation Inference", .port = 3000, .speaks = CHAT | COMPLETIONS,
      .ways = REPETITION | FETCHES, .steps = tgi_steps },
    { .kind = CONFIG_KIND_LOCALAI, .title = "LocalAI", .port = 8080,
      .speaks = CHAT | COMPLETIONS | RESPONSES | EMBED | MESSAGES | COUNT | OLLAMA | RERANK | LISTEN | SPEAK | DRAW,
      .since = localai_since, .deficient = RESPONSES, .ways = REASONING, .steps = localai_steps },
    { .kind = CONFIG_KIND_KOBOLDCPP, .title = "KoboldCpp", .port = 5001,
      .speaks = CHAT | COMPLETIONS | RESPONSES | EMBED | MESSAGES | OLLAMA | LISTEN | SPEAK | DRAW,
      .quirks = METER_Q_DOUBT, .no_chunked = true, .deficient = RESPONSES, .steps = koboldcpp_steps },
    { .kind = CONFIG_KIND_TABBYAPI, .title = "TabbyAPI", .port = 5000, .speaks = CHAT | COMPLETIONS | EMBED,
      .pool_idle_ms = IDLE_UVICORN_MS, .ways = REPETITION | FETCHES, .steps = tabbyapi_steps },
    { .kind = CONFIG_KIND_JAN, .title = "Jan", .port = 1337,
      .speaks = CHAT | COMPLETIONS | RESPONSES | EMBED | MESSAGES | COUNT, .deficient = RESPONSES, .ways = TEMPLATE_THINK | FETCHES, .steps = jan_steps },
    { .kind = CONFIG_KIND_LEMONADE, .title = "Lemonade", .port = 13305,
      .speaks = CHAT | COMPLETIONS | RESPONSES | EMBED | MESSAGES | OLLAMA | RERANK | LISTEN | SPEAK | DRAW,
      .since = lemonade_since, .deficient = RESPONSES, .steps = lemonade_steps },
    { .kind = CONFIG_KIND_MLX, .title = "MLX-LM", .port = 8080, .speaks = CHAT | COMPLETIONS, .no_chunked = true,
      .ways = REASONING | REPETITION, .steps = mlx_steps },
    { .kind = CONFIG_KIND_DMR, .title = "Docker Model Runner", .port = 12434,
      .speaks = CHAT | COMPLETIONS | RESPONSES | EMBED | MESSAGES | COUNT | OLLAMA | RERANK | SCORE | DRAW, .deficient = RESPONSES, .steps = dmr_steps },
    { .kind = CONFIG_KIND_TRITON, .title = "Triton Inference Server", .port = 9000, .speaks = CHAT | COMPLETIONS | EMBED,
      .pool_idle_ms = IDLE_UVICORN_MS, .steps = triton_steps },
    { .kind = CONFIG_KIND_TRTLLM, .title = "TensorRT-LLM", .port = 8000, .speaks = CHAT | COMPLETIONS | RESPONSES | MESSAGES,
      .pool_idle_ms = IDLE_UVICORN_MS, .steps = trtllm_steps },
    { .kind = CONFIG_KIND_TEI, .title = "Text Embeddings Inference", .port = 3000, .speaks = EMBED | RERANK,
      .steps = tei_steps },
    { .kind = CONFIG_KIND_INFINITY, .title = "Infinity", .port = 7997, .speaks = EMBED | RERANK,
      .pool_idle_ms = IDLE_UVICORN_MS, .steps = infinity_steps },
    /* A node, or a Drover by its URL: it translates whatever its own runtimes do not speak. */
    { .kind = CONFIG_KIND_DROVER, .title = "Drover", .port = 11430,
      .speaks = CHAT | COMPLETIONS | RESPONSES | EMBED | MESSAGES | COUNT | OLLAMA | RERANK | SCORE | LISTEN | SPEAK | DRAW | LLM_SPEAKS_MODERATIONS,
      .ways = REASONING, .steps = drover_steps },
    /* Nobody knows what it has beyond chat. Responses, Anthropic and Ollama are offered when the operator lists them in
     * endpoints[].dialects; what has no word there is passed on, for only the server can tell. */
    { .kind = CONFIG_KIND_OPENAI, .title = "OpenAI-compatible server",
      .speaks = CHAT | COMPLETIONS | EMBED | RERANK | SCORE | LISTEN | SPEAK | DRAW | LLM_SPEAKS_MODERATIONS,
      .ways = FETCHES, .steps = openai_steps },
};

static const char *const names[] = {
#define X(id, word, means) [CONFIG_##id] = word,
    CONFIG_KINDS(X)
#undef X
};

const char *runtime_name(int kind) {
    return kind > 0 && kind < CONFIG_KIND_COUNT ? names[kind] : "unknown";
}

const struct runtime *runtime_of(int kind) {
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (table[i].kind == kind)
            return &table[i];
    return NULL;
}

const struct runtime *runtime_at(size_t i) {
    return i < sizeof table / sizeof table[0] ? &table[i] : NULL;
}

uint32_t runtime_pool_idle_ms(const struct runtime *rt) {
    return rt->no_chunked ? 0 : rt->pool_idle_ms ? rt->pool_idle_ms : IDLE_MS; /* no_chunked: these speak HTTP/1.0 */
}

/* The next run of digits, cut off the front. */
static bool next_number(struct sv *v, uint64_t *ret_n) {
    while (v->n && (v->p[0] < '0' || v->p[0] > '9'))
        *v = sv_from(*v, 1);
    size_t n = 0;
    while (n < v->n && v->p[n] >= '0' && v->p[n] <= '9')
        n++;
    bool ok = sv_to_u64(sv_first(*v, n), ret_n);
    *v = sv_from(*v, n);
    return ok;
}

bool version_is_before(struct sv version, const char *than) {
    struct sv want = sv_of(than);
    uint64_t a, b;
    if (!next_number(&version, &a))
        return false;
    next_number(&want, &b);
    for (int part = 0; part < 3; part++) {
        if (a != b)
            return a < b;
        bool more = version.n && version.p[0] == '.' && next_number(&version, &a);
        bool wanted = want.n && want.p[0] == '.' && next_number(&want, &b);
        if (!wanted)
            return false;
        if (!more)
            a = 0;
    }
    return false;
}

unsigned runtime_speaks(const struct runtime *rt, struct sv version) {
    unsigned speaks = rt->speaks;
    for (const struct since *s = rt->since; s && s->version; s++)
        if (version_is_before(version, s->version))
            speaks &= ~s->speaks;
    return speaks;
}
