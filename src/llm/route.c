/* llm/route.c - the API surface, one row per route. A row with '*' comes after the rows it would hide. */
#include "llm/llm.h"

#include <stdio.h>

#define BODY LLM_R_BODY_MODEL
#define FORM LLM_R_FORM_MODEL
#define USAGE LLM_R_USAGE_OPTION
#define SSE LLM_R_STREAMS
#define LINES (LLM_R_STREAMS | LLM_R_STREAM_DEFAULT | LLM_R_NDJSON)
#define LOCAL LLM_R_LOCAL
#define MANAGE LLM_R_MANAGE
#define OPTIONAL LLM_R_MODEL_OPTIONAL
#define PATH_ LLM_R_PATH_MODEL

static const struct llm_route routes[] = {
    /* OpenAI, with the bare forms that arise when a client's base URL lacks /v1 */
    { "POST", "/v1/chat/completions", LLM_CHAT, BODY | SSE | USAGE, LLM_CAN_CHAT, NULL },
    { "POST", "/chat/completions", LLM_CHAT, BODY | SSE | USAGE, LLM_CAN_CHAT, "/v1/chat/completions" },
    { "POST", "/v1/completions", LLM_COMPLETIONS, BODY | SSE | USAGE, LLM_CAN_COMPLETION, NULL },
    { "POST", "/completions", LLM_COMPLETIONS, BODY | SSE | USAGE, LLM_CAN_COMPLETION, "/v1/completions" },
    { "POST", "/v1/responses", LLM_RESPONSES, BODY | SSE, LLM_CAN_CHAT, NULL },
    { "POST", "/responses", LLM_RESPONSES, BODY | SSE, LLM_CAN_CHAT, "/v1/responses" },
    { "POST", "/v1/responses/input_tokens", LLM_RESPONSES_TOKENS, BODY, LLM_CAN_CHAT, NULL },
    { "POST", "/v1/responses/compact", LLM_RESPONSES, BODY, LLM_CAN_CHAT, NULL },
    { "GET DELETE POST", "/v1/responses/*", LLM_RESPONSES_STORED, SSE | OPTIONAL, 0, NULL },
    { "POST", "/v1/embeddings", LLM_EMBEDDINGS, BODY, LLM_CAN_EMBED, NULL },
    { "POST", "/embeddings", LLM_EMBEDDINGS, BODY, LLM_CAN_EMBED, "/v1/embeddings" },
    { "GET HEAD", "/v1/models", LLM_MODELS, LOCAL, 0, NULL },
    { "GET HEAD", "/models", LLM_MODELS, LOCAL, 0, "/v1/models" },
    { "GET HEAD", "/v1/models/*", LLM_MODEL, LOCAL | PATH_, 0, NULL },
    { "GET HEAD", "/models/*", LLM_MODEL, LOCAL | PATH_, 0, "/v1/models/*" },

    /* Anthropic */
    { "POST", "/v1/messages", LLM_MESSAGES, BODY | SSE, LLM_CAN_CHAT, NULL },
    { "POST", "/v1/messages/count_tokens", LLM_COUNT_TOKENS, BODY, LLM_CAN_CHAT, NULL },

    /* The OpenAI-style rest: passed through by model */
    { "POST", "/v1/rerank", LLM_RERANK, BODY, LLM_CAN_RERANK, NULL },
    { "POST", "/v2/rerank", LLM_RERANK, BODY, LLM_CAN_RERANK, NULL },
    { "POST", "/rerank", LLM_RERANK, BODY, LLM_CAN_RERANK, "/v1/rerank" },
    { "POST", "/v1/reranking", LLM_RERANK, BODY, LLM_CAN_RERANK, "/v1/rerank" },
    { "POST", "/v1/score", LLM_SCORE, BODY, 0, NULL },
    { "POST", "/score", LLM_SCORE, BODY, 0, "/v1/score" },
    { "POST", "/v1/moderations", LLM_MODERATIONS, BODY | OPTIONAL, LLM_CAN_MODERATE, NULL },
    { "POST", "/v1/audio/speech", LLM_SPEECH, BODY | SSE, LLM_CAN_SPEECH, NULL },
    { "POST", "/v1/audio/transcriptions", LLM_TRANSCRIPTIONS, FORM | SSE, LLM_CAN_TRANSCRIBE, NULL },
    { "POST", "/v1/audio/translations", LLM_TRANSLATIONS, FORM, LLM_CAN_TRANSCRIBE, NULL },
    { "POST", "/v1/images/generations", LLM_IMAGES, BODY | SSE, LLM_CAN_IMAGE, NULL },
    { "POST", "/v1/images/edits", LLM_IMAGE_EDITS, FORM | BODY | SSE, LLM_CAN_IMAGE, NULL },
    { "POST", "/v1/images/variations", LLM_IMAGE_VARIATIONS, FORM, LLM_CAN_IMAGE, NULL },

    /* Ollama */
    { "GET HEAD", "/", LLM_OLLAMA_ROOT, LOCAL, 0, NULL },
    { "GET HEAD", "/api/version", LLM_OLLAMA_VERSION, LOCAL, 0, NULL },
    { "GET HEAD", "/api/tags", LLM_OLLAMA_TAGS, LOCAL, 0, NULL },
    { "GET", "/api/ps", LLM_OLLAMA_PS, LOCAL, 0, NULL },
    { "POST", "/api/show", LLM_OLLAMA_SHOW, LOCAL | BODY, 0, NULL },
    { "POST", "/api/chat", LLM_OLLAMA_CHAT, BODY | LINES, LLM_CAN_CHAT, NULL },
    { "POST", "/api/generate", LLM_OLLAMA_GENERATE, BODY | LINES, LLM_CAN_COMPLETION, NULL },
    { "POST", "/api/embed", LLM_OLLAMA_EMBED, BODY, LLM_CAN_EMBED, NULL },
    { "POST", "/api/embeddings", LLM_OLLAMA_EMBEDDINGS, BODY, LLM_CAN_EMBED, NULL },
    { "POST", "/api/pull", LLM_OLLAMA_PULL, BODY | LINES | MANAGE | OPTIONAL, 0, NULL },
    { "POST", "/api/push", LLM_OLLAMA_PUSH, BODY | LINES | MANAGE | OPTIONAL, 0, NULL },
    { "POST", "/api/create", LLM_OLLAMA_CREATE, BODY | LINES | MANAGE | OPTIONAL, 0, NULL },
    { "POST", "/api/copy", LLM_OLLAMA_COPY, MANAGE | OPTIONAL, 0, NULL },
    { "DELETE", "/api/delete", LLM_OLLAMA_DELETE, BODY | MANAGE | OPTIONAL, 0, NULL },
    { "HEAD POST", "/api/blobs/*", LLM_OLLAMA_BLOBS, MANAGE | LLM_R_RAW_BODY | OPTIONAL, 0, NULL },

    /* LM Studio */
    { "GET", "/lmstudio-greeting", LLM_LMSTUDIO_GREETING, LOCAL, 0, NULL },
    { "GET", "/api/v0/models", LLM_LMSTUDIO0_MODELS, LOCAL, 0, NULL },
    { "GET", "/api/v0/models/*", LLM_LMSTUDIO0_MODEL, LOCAL | PATH_, 0, NULL },
    { "POST", "/api/v0/chat/completions", LLM_LMSTUDIO0_CHAT, BODY | SSE | USAGE, LLM_CAN_CHAT, NULL },
    { "POST", "/api/v0/completions", LLM_LMSTUDIO0_COMPLETIONS, BODY | SSE | USAGE, LLM_CAN_COMPLETION, NULL },
    { "POST", "/api/v0/embeddings", LLM_LMSTUDIO0_EMBEDDINGS, BODY, LLM_CAN_EMBED, NULL },
    { "POST", "/api/v1/chat", LLM_LMSTUDIO1_CHAT, BODY | SSE, LLM_CAN_CHAT, NULL },
    { "GET", "/api/v1/models", LLM_LMSTUDIO1_MODELS, LOCAL, 0, NULL },
    { "POST", "/api/v1/models/load", LLM_LMSTUDIO1_LOAD, BODY | MANAGE, 0, NULL },
    { "POST", "/api/v1/models/unload", LLM_LMSTUDIO1_UNLOAD, MANAGE | OPTIONAL, 0, NULL },
    { "POST", "/api/v1/models/download", LLM_LMSTUDIO1_DOWNLOAD, BODY | MANAGE | OPTIONAL, 0, NULL },
    { "GET", "/api/v1/models/download/status/*", LLM_LMSTUDIO1_DOWNLOAD_STATUS, MANAGE | OPTIONAL, 0, NULL },
};

/* What no row has but is still a request by model: any other JSON call under /v1. */
static const struct llm_route other = { "POST", "/v1/*", LLM_OTHER, BODY | SSE | OPTIONAL, 0, NULL };

/* Known, and not a gateway's business. */
static const char *const refused[] = { "/v1/files", "/v1/batches", "/v1/messages/batches", "/v1/realtime",
                                       "/v1/uploads", "/v1/fine_tuning", "/v1/assistants", "/v1/threads",
                                       "/v1/vector_stores" };

/* What management calls of runtimes under /v1 are called: a word anywhere in such a path, in any case, keeps an unknown path
 * from being passed on. */
static const char *const managing[] = { "abort", "admin", "auth", "cache", "cancel", "cleanup", "config", "debug", "delete", "deploy", "doctor",
                                        "download", "downloads", "eject", "flush", "halt", "install", "internal", "kill", "level", "load", "log",
                                        "logs", "lora", "loras", "model", "models", "override", "params", "pause", "profile", "profiler",
                                        "pull", "push", "quit", "register", "reload", "reset", "restart", "resume", "rpc", "sampling",
                                        "save", "set", "settings", "shutdown", "sleep", "slots", "start", "stop", "switch", "system",
                                        "template", "templates", "terminate", "tune", "undeploy", "uninstall", "unload", "unregister", "update", "upgrade",
                                        "wake", "weights" };

enum { N_ROUTES = sizeof routes / sizeof routes[0] };

#define X(api, dialect, speaks) [api] = { dialect, speaks },
static const struct {
    enum llm_dialect dialect;
    unsigned speaks;
} apis[] = { LLM_API_TABLE(X) };
#undef X

enum llm_dialect llm_dialect(enum llm_api api) {
    return apis[api].dialect;
}

unsigned llm_speaks(enum llm_api api) {
    return apis[api].speaks;
}

#define X(bit, name) name,
static const char *const speaks_names[] = { LLM_SPEAKS_TABLE(X) };
static const char *const can_names[] = { LLM_CAN_TABLE(X) };
#undef X

static const char *bit_name(const char *const *names, unsigned n, unsigned bit) {
    for (unsigned i = 0; i < n; i++) {
        if (bit == 1u << i)
            return names[i];
    }
    return NULL;
}

static unsigned bit_parse(const char *const *names, unsigned n, struct sv name) {
    for (unsigned i = 0; i < n; i++) {
        if (sv_eq(sv_of(names[i]), name))
            return 1u << i;
    }
    return 0;
}

const char *llm_speaks_name(unsigned bit) {
    return bit_name(speaks_names, LLM_SPEAKS_N, bit);
}

unsigned llm_speaks_parse(struct sv name) {
    if (sv_eq(name, SV("lmstudio")))
        return LLM_SPEAKS_LMSTUDIO0 | LLM_SPEAKS_LMSTUDIO1;
    return bit_parse(speaks_names, LLM_SPEAKS_N, name);
}

const char *llm_can_name(unsigned bit) {
    return bit_name(can_names, LLM_CAN_N, bit);
}

unsigned llm_can_parse(struct sv name) {
    return bit_parse(can_names, LLM_CAN_N, name);
}

/* One trailing slash is nothing; "/" itself stays. */
static struct sv tidy(struct sv path) {
    return path.n > 1 && path.p[path.n - 1] == '/' ? sv_first(path, path.n - 1) : path;
}

static bool path_matches(const char *pattern, struct sv path) {
    struct sv p = sv_of(pattern);
    if (!sv_ends(p, SV("*")))
        return sv_eq(p, path);
    p.n--;
    return path.n > p.n && sv_starts(path, p);
}

static bool method_listed(const char *methods, struct sv method) {
    struct sv rest = sv_of(methods), one;
    while (sv_next(&rest, ' ', &one)) {
        if (sv_eq(one, method))
            return true;
    }
    return false;
}

static bool is_below(struct sv path, const char *const *heads, size_t n) {
    for (size_t i = 0; i < n; i++) {
        struct sv head = sv_of(heads[i]);
        if (sv_ends(head, SV("/")) && sv_starts(path, head))
            return true;
        if (sv_starts(path, head) && (path.n == head.n || path.p[head.n] == '/'))
            return true;
    }
    return false;
}

static bool is_refused(struct sv path) {
    return is_below(path, refused, sizeof refused / sizeof refused[0]);
}

static bool is_letter(char c) {
    return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
}

static bool is_capital(char c) {
    return c >= 'A' && c <= 'Z';
}

/* Escapes could spell a word that is not seen here: no unknown path has any. */
static bool is_managed(struct sv path) {
    if (sv_find_char(path, '%') >= 0)
        return true;
    for (size_t i = 0, n; i < path.n; i += n ? n : 1) {
        for (n = 0; i + n < path.n && is_letter(path.p[i + n]) && !(n && is_capital(path.p[i + n]) && !is_capital(path.p[i + n - 1])); n++)
            continue;
        for (size_t k = 0; k < sizeof managing / sizeof managing[0]; k++)
            if (sv_eq_nocase(sv_first(sv_from(path, i), n), sv_of(managing[k])))
                return true;
    }
    return false;
}

static const struct llm_route *not_found(struct sv path, struct err *e) {
    if (sv_starts(path, SV("/v1/v1/")))
        err_set(e, ERR_NOT_FOUND, "no such path: %.*s; the base URL holds /v1 twice, use %.*s",
                SV_FMT(sv_first(path, 120)), SV_FMT(sv_first(sv_from(path, 3), 120)));
    else if (sv_starts(path, SV("/v1/api/")))
        err_set(e, ERR_NOT_FOUND, "no such path: %.*s; Ollama and LM Studio paths have no /v1 in front, use %.*s",
                SV_FMT(sv_first(path, 120)), SV_FMT(sv_first(sv_from(path, 3), 120)));
    else if (is_refused(path))
        err_set(e, ERR_NOT_FOUND, "%.*s: this part of the API is not served here", SV_FMT(sv_first(path, 120)));
    else
        err_set(e, ERR_NOT_FOUND, "no such path: %.*s", SV_FMT(sv_first(path, 120)));
    return NULL;
}

const struct llm_route *llm_route(struct sv method, struct sv path, bool has_anthropic_version, struct err *e) {
    (void)has_anthropic_version; /* it changes the answer's form only: llm_path_dialect */
    const struct llm_route *same_path = NULL;
    path = tidy(path);
    if (is_refused(path) || sv_starts(path, SV("/v1/v1/")) || sv_starts(path, SV("/v1/api/")))
        return not_found(path, e);
    for (unsigned i = 0; i < N_ROUTES; i++) {
        if (!path_matches(routes[i].path, path))
            continue;
        if (method_listed(routes[i].methods, method))
            return &routes[i];
        if (!same_path)
            same_path = &routes[i];
    }
    if (same_path) {
        err_set(e, ERR_METHOD, "%.*s is not allowed on %.*s; allowed: %s", SV_FMT(sv_first(method, 32)),
                SV_FMT(sv_first(path, 120)), same_path->methods);
        return NULL;
    }
    if (path_matches(other.path, path) && method_listed(other.methods, method)) {
        if (!is_managed(path))
            return &other;
        err_set(e, ERR_DENIED, "%.*s may manage a runtime and is not passed on", SV_FMT(sv_first(path, 120)));
        return NULL;
    }
    return not_found(path, e);
}

struct sv llm_route_rest(const struct llm_route *r, struct sv path) {
    size_t n = strlen(r->path);
    path = tidy(path);
    return r->path[n - 1] == '*' ? sv_from(path, n - 1) : SV_NULL;
}

bool llm_route_upstream(struct buf *out, const struct llm_route *r, struct sv path) {
    struct sv to = sv_of(r->upstream ? r->upstream : r->path);
    if (!sv_ends(to, SV("*")))
        return buf_add(out, to);
    return buf_add(out, sv_first(to, to.n - 1)) && buf_add(out, llm_route_rest(r, path));
}

enum llm_dialect llm_path_dialect(struct sv path, bool has_anthropic_version) {
    path = tidy(path);
    if (sv_starts(path, SV("/v1/messages")) || (sv_starts(path, SV("/v1/models")) && has_anthropic_version))
        return LLM_ANTHROPIC;
    if (sv_starts(path, SV("/api/v0")) || sv_starts(path, SV("/api/v1")))
        return LLM_LMSTUDIO;
    if (sv_starts(path, SV("/api/")))
        return LLM_OLLAMA;
    if (sv_starts(path, SV("/v1/")) || sv_starts(path, SV("/v2/")) || sv_eq(path, SV("/v1")))
        return LLM_OPENAI;
    for (unsigned i = 0; i < N_ROUTES; i++) {
        if (path.n > 1 && path_matches(routes[i].path, path))
            return llm_dialect(routes[i].api);
    }
    return LLM_PLAIN;
}

const struct llm_route *llm_route_at(unsigned i) {
    return i < N_ROUTES ? &routes[i] : i == N_ROUTES ? &other : NULL;
}
