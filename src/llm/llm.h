/* llm/llm.h - the dialects: which API a path belongs to, and how Drover itself speaks in each of them.
 *
 * Pure functions over bytes: no sockets, no clocks, no state. Beside this door: llm/scan.h (reading a body as it
 * streams by), llm/patch.h (changing it in place), llm/meter.h (counting tokens). The wire formats and where each rule
 * comes from: docs of the vendors as of 2026-11, kept in the reference on API dialects. */
#ifndef DROVER_LLM_LLM_H
#define DROVER_LLM_LLM_H

#include "base/buf.h"
#include "base/err.h"
#include "base/sv.h"

/* Who is spoken to: decides the envelope of errors. */
enum llm_dialect { LLM_PLAIN, LLM_OPENAI, LLM_ANTHROPIC, LLM_OLLAMA, LLM_LMSTUDIO };

/*      api                   dialect        what a runtime must speak for it (0: nothing, or any) */
#define LLM_API_TABLE(X)                                                        \
    X(LLM_NONE,               LLM_PLAIN,     0)                                 \
    X(LLM_CHAT,               LLM_OPENAI,    LLM_SPEAKS_CHAT)                   \
    X(LLM_COMPLETIONS,        LLM_OPENAI,    LLM_SPEAKS_COMPLETIONS)            \
    X(LLM_RESPONSES,          LLM_OPENAI,    LLM_SPEAKS_RESPONSES)              \
    X(LLM_RESPONSES_TOKENS,   LLM_OPENAI,    LLM_SPEAKS_RESPONSES)              \
    X(LLM_RESPONSES_STORED,   LLM_OPENAI,    LLM_SPEAKS_RESPONSES)              \
    X(LLM_EMBEDDINGS,         LLM_OPENAI,    LLM_SPEAKS_EMBEDDINGS)             \
    X(LLM_MODELS,             LLM_OPENAI,    0)                                 \
    X(LLM_MODEL,              LLM_OPENAI,    0)                                 \
    X(LLM_RERANK,             LLM_OPENAI,    LLM_SPEAKS_RERANK)                 \
    X(LLM_SCORE,              LLM_OPENAI,    LLM_SPEAKS_SCORE)                  \
    X(LLM_MODERATIONS,        LLM_OPENAI,    LLM_SPEAKS_MODERATIONS)            \
    X(LLM_SPEECH,             LLM_OPENAI,    LLM_SPEAKS_SPEECH)                 \
    X(LLM_TRANSCRIPTIONS,     LLM_OPENAI,    LLM_SPEAKS_TRANSCRIPTIONS)         \
    X(LLM_TRANSLATIONS,       LLM_OPENAI,    LLM_SPEAKS_TRANSCRIPTIONS)         \
    X(LLM_IMAGES,             LLM_OPENAI,    LLM_SPEAKS_IMAGES)                 \
    X(LLM_IMAGE_EDITS,        LLM_OPENAI,    LLM_SPEAKS_IMAGES)                 \
    X(LLM_IMAGE_VARIATIONS,   LLM_OPENAI,    LLM_SPEAKS_IMAGES)                 \
    X(LLM_OTHER,              LLM_OPENAI,    0)                                 \
    X(LLM_MESSAGES,           LLM_ANTHROPIC, LLM_SPEAKS_ANTHROPIC)              \
    X(LLM_COUNT_TOKENS,       LLM_ANTHROPIC, LLM_SPEAKS_ANTHROPIC_COUNT)        \
    X(LLM_OLLAMA_ROOT,        LLM_OLLAMA,    0)                                 \
    X(LLM_OLLAMA_VERSION,     LLM_OLLAMA,    0)                                 \
    X(LLM_OLLAMA_TAGS,        LLM_OLLAMA,    0)                                 \
    X(LLM_OLLAMA_PS,          LLM_OLLAMA,    0)                                 \
    X(LLM_OLLAMA_SHOW,        LLM_OLLAMA,    0)                                 \
    X(LLM_OLLAMA_CHAT,        LLM_OLLAMA,    LLM_SPEAKS_OLLAMA)                 \
    X(LLM_OLLAMA_GENERATE,    LLM_OLLAMA,    LLM_SPEAKS_OLLAMA)                 \
    X(LLM_OLLAMA_EMBED,       LLM_OLLAMA,    LLM_SPEAKS_OLLAMA)                 \
    X(LLM_OLLAMA_EMBEDDINGS,  LLM_OLLAMA,    LLM_SPEAKS_OLLAMA)                 \
    X(LLM_OLLAMA_PULL,        LLM_OLLAMA,    LLM_SPEAKS_OLLAMA)                 \
    X(LLM_OLLAMA_PUSH,        LLM_OLLAMA,    LLM_SPEAKS_OLLAMA)                 \
    X(LLM_OLLAMA_CREATE,      LLM_OLLAMA,    LLM_SPEAKS_OLLAMA)                 \
    X(LLM_OLLAMA_COPY,        LLM_OLLAMA,    LLM_SPEAKS_OLLAMA)                 \
    X(LLM_OLLAMA_DELETE,      LLM_OLLAMA,    LLM_SPEAKS_OLLAMA)                 \
    X(LLM_OLLAMA_BLOBS,       LLM_OLLAMA,    LLM_SPEAKS_OLLAMA)                 \
    X(LLM_LMSTUDIO_GREETING,  LLM_LMSTUDIO,  0)                                 \
    X(LLM_LMSTUDIO0_CHAT,     LLM_LMSTUDIO,  LLM_SPEAKS_LMSTUDIO0)              \
    X(LLM_LMSTUDIO0_COMPLETIONS, LLM_LMSTUDIO, LLM_SPEAKS_LMSTUDIO0)            \
    X(LLM_LMSTUDIO0_EMBEDDINGS, LLM_LMSTUDIO, LLM_SPEAKS_LMSTUDIO0)             \
    X(LLM_LMSTUDIO0_MODELS,   LLM_LMSTUDIO,  0)                                 \
    X(LLM_LMSTUDIO0_MODEL,    LLM_LMSTUDIO,  0)                                 \
    X(LLM_LMSTUDIO1_CHAT,     LLM_LMSTUDIO,  LLM_SPEAKS_LMSTUDIO1)              \
    X(LLM_LMSTUDIO1_MODELS,   LLM_LMSTUDIO,  0)                                 \
    X(LLM_LMSTUDIO1_LOAD,     LLM_LMSTUDIO,  LLM_SPEAKS_LMSTUDIO1)              \
    X(LLM_LMSTUDIO1_UNLOAD,   LLM_LMSTUDIO,  LLM_SPEAKS_LMSTUDIO1)              \
    X(LLM_LMSTUDIO1_DOWNLOAD, LLM_LMSTUDIO,  LLM_SPEAKS_LMSTUDIO1)              \
    X(LLM_LMSTUDIO1_DOWNLOAD_STATUS, LLM_LMSTUDIO, LLM_SPEAKS_LMSTUDIO1)

#define X(api, dialect, speaks) api,
enum llm_api { LLM_API_TABLE(X) LLM_APIS };
#undef X

/* What a runtime speaks; the names stand in the configuration (endpoints[].dialects). */
#define LLM_SPEAKS_TABLE(X)                                    \
    X(LLM_SPEAKS_CHAT,            "openai-chat")               \
    X(LLM_SPEAKS_COMPLETIONS,     "openai-completions")        \
    X(LLM_SPEAKS_RESPONSES,       "openai-responses")          \
    X(LLM_SPEAKS_EMBEDDINGS,      "openai-embeddings")         \
    X(LLM_SPEAKS_ANTHROPIC,       "anthropic")                 \
    X(LLM_SPEAKS_ANTHROPIC_COUNT, "anthropic-count")           \
    X(LLM_SPEAKS_OLLAMA,          "ollama")                    \
    X(LLM_SPEAKS_LMSTUDIO0,       "lmstudio-v0")               \
    X(LLM_SPEAKS_LMSTUDIO1,       "lmstudio-v1")               \
    X(LLM_SPEAKS_RERANK,          "rerank")                    \
    X(LLM_SPEAKS_SCORE,           "score")                     \
    X(LLM_SPEAKS_MODERATIONS,     "moderations")               \
    X(LLM_SPEAKS_SPEECH,          "speech")                    \
    X(LLM_SPEAKS_TRANSCRIPTIONS,  "transcriptions")            \
    X(LLM_SPEAKS_IMAGES,          "images")

#define X(bit, name) bit##_,
enum { LLM_SPEAKS_TABLE(X) LLM_SPEAKS_N };
#undef X
#define X(bit, name) bit = 1 << bit##_,
enum llm_speaks { LLM_SPEAKS_TABLE(X) };
#undef X

/* What a model can do; a route may need one, a card tells them. */
#define LLM_CAN_TABLE(X)                        \
    X(LLM_CAN_CHAT,       "chat")               \
    X(LLM_CAN_COMPLETION, "completion")         \
    X(LLM_CAN_INSERT,     "insert")             \
    X(LLM_CAN_TOOLS,      "tools")              \
    X(LLM_CAN_VISION,     "vision")             \
    X(LLM_CAN_THINKING,   "thinking")           \
    X(LLM_CAN_EMBED,      "embedding")          \
    X(LLM_CAN_RERANK,     "rerank")             \
    X(LLM_CAN_SPEECH,     "speech")             \
    X(LLM_CAN_TRANSCRIBE, "transcription")      \
    X(LLM_CAN_IMAGE,      "image")              \
    X(LLM_CAN_MODERATE,   "moderation")

#define X(bit, name) bit##_,
enum { LLM_CAN_TABLE(X) LLM_CAN_N };
#undef X
#define X(bit, name) bit = 1 << bit##_,
enum llm_can { LLM_CAN_TABLE(X) };
#undef X

enum llm_dialect llm_dialect(enum llm_api api);
/* One LLM_SPEAKS bit, or 0. */
unsigned llm_speaks(enum llm_api api);
/* Name of one bit; NULL for none. The parsers answer 0 for an unknown name; "lmstudio" means both of its versions. */
const char *llm_speaks_name(unsigned bit);
unsigned llm_speaks_parse(struct sv name);
const char *llm_can_name(unsigned bit);
unsigned llm_can_parse(struct sv name);

/* -- routes (route.c) --------------------------------------------------------------------------------------------- */

enum llm_route_flag {
    LLM_R_BODY_MODEL = 1 << 0,      /* a JSON body names the model */
    LLM_R_FORM_MODEL = 1 << 1,      /* a multipart field does */
    LLM_R_PATH_MODEL = 1 << 2,      /* the rest of the path does */
    LLM_R_STREAMS = 1 << 3,         /* the answer may be a stream */
    LLM_R_STREAM_DEFAULT = 1 << 4,  /* and is one unless the body says "stream": false */
    LLM_R_LOCAL = 1 << 5,           /* Drover answers it from what it knows */
    LLM_R_MANAGE = 1 << 6,          /* changes what a runtime has: operators only, never repeated */
    LLM_R_NDJSON = 1 << 7,          /* its stream is NDJSON, not SSE */
    LLM_R_USAGE_OPTION = 1 << 8,    /* stream_options.include_usage works on it */
    LLM_R_RAW_BODY = 1 << 9,        /* bytes that are neither JSON nor a form */
    LLM_R_MODEL_OPTIONAL = 1 << 10, /* a body without model goes to the endpoint chosen otherwise */
};

struct llm_route {
    const char *methods;  /* separated by blanks */
    const char *path;     /* exact, or with '*' at its end: anything not empty may follow */
    enum llm_api api;
    unsigned flags;       /* LLM_R_* */
    unsigned need;        /* LLM_CAN_*, 0 = any model */
    const char *upstream; /* the canonical path; NULL = path; '*' stands for what '*' matched */
};

/* Finds the row for a request. path is without its query. NULL: no dialect has this path (*e: ERR_NOT_FOUND, with the
 * likely fix where one is known) or not with this method (ERR_METHOD, naming those allowed). */
const struct llm_route *llm_route(struct sv method, struct sv path, bool has_anthropic_version, struct err *e);
/* What '*' matched, still percent-encoded; empty without one. Borrowed from path. */
struct sv llm_route_rest(const struct llm_route *r, struct sv path);
/* The path to use upstream. */
bool llm_route_upstream(struct buf *out, const struct llm_route *r, struct sv path);
/* The dialect in which to answer a path, also one that has no row. */
enum llm_dialect llm_path_dialect(struct sv path, bool has_anthropic_version);
/* All rows, for documentation and tests: NULL past the last. */
const struct llm_route *llm_route_at(unsigned i);

/* -- errors in the dialect's own words (envelope.c) ---------------------------------------------------------------- */

/* The body of an error reply. hint and request_id may be empty. False when out is full. */
bool llm_error_body(struct buf *out, enum llm_dialect d, const struct err *e, struct sv hint, struct sv request_id);
/* The same after the first byte of a stream: whole events, terminators included. n_before: events of the stream so far, which the
 * Responses API numbers. */
bool llm_error_event(struct buf *out, enum llm_api api, const struct err *e, uint64_t n_before);
/* What to send while a stream has nothing to say; empty where the dialect has no such thing (NDJSON). */
struct sv llm_keepalive(enum llm_api api);

/* -- lists of models (cards.c) ------------------------------------------------------------------------------------- */

/* What is known of one slug; an empty view or a number below zero means unknown. Borrowed during the call. */
struct llm_model_card {
    struct sv slug;
    struct sv owner;     /* organisation or node; empty: "drover" */
    struct sv digest;    /* hexadecimal SHA-256, without prefix */
    struct sv family, quant, params, format, publisher;
    int64_t created;     /* seconds since 1970 */
    int64_t size_bytes, size_vram, context;
    int64_t loaded_context;
    int64_t expires;     /* seconds since 1970 when an idle model unloads; 0: never */
    bool loaded;
    unsigned can;        /* LLM_CAN_* */
};

#define LLM_MODEL_CARD_UNKNOWN \
    { .created = -1, .size_bytes = -1, .size_vram = -1, .context = -1, .loaded_context = -1, .expires = -1 }

/* The whole reply of a listing API. */
bool llm_list_openai(struct buf *out, const struct llm_model_card *cards, size_t n);
bool llm_list_anthropic(struct buf *out, const struct llm_model_card *cards, size_t n);
bool llm_list_ollama_tags(struct buf *out, const struct llm_model_card *cards, size_t n);
bool llm_list_ollama_ps(struct buf *out, const struct llm_model_card *cards, size_t n); /* prints the loaded ones */
bool llm_list_lmstudio0(struct buf *out, const struct llm_model_card *cards, size_t n);
bool llm_list_lmstudio1(struct buf *out, const struct llm_model_card *cards, size_t n);
/* One model. */
bool llm_card_openai(struct buf *out, const struct llm_model_card *card);
bool llm_card_anthropic(struct buf *out, const struct llm_model_card *card);
bool llm_card_ollama_show(struct buf *out, const struct llm_model_card *card);
bool llm_card_lmstudio0(struct buf *out, const struct llm_model_card *card);
/* {"version":...} as Ollama's clients expect it: the version of the Ollama API that is spoken, not Drover's. */
bool llm_ollama_version(struct buf *out);

#endif
