/* translate/canon.h - private to translate: the one form between all dialects.
 *
 * A request: a dialect's reader makes a struct canon_request of the client's body, canon_settle puts it in order, and
 * another dialect's printer makes the runtime's body of it. A reply: a dialect's decoder makes struct canon_event of the
 * runtime's bytes, and another dialect's encoder makes the client's bytes of them. No dialect knows another.
 *
 * Everything hangs in one arena and borrows strings from the parsed body (rq->doc); both live until the request is printed.
 * What the reply still needs of the request is copied into struct canon_reply. Rules: the reference on dialect translation. */
#ifndef DROVER_TRANSLATE_CANON_H
#define DROVER_TRANSLATE_CANON_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "llm/llm.h"
#include "translate/translate.h"

/* --- requests ----------------------------------------------------------------------------------------------------- */

enum canon_tri { CANON_UNSET, CANON_NO, CANON_YES };
enum canon_role { CANON_SYSTEM, CANON_USER, CANON_ASSISTANT, CANON_TOOL };

enum canon_part_kind {
    CANON_TEXT,      /* text */
    CANON_IMAGE,     /* data (base64) with mime, or url, or file_id; detail */
    CANON_AUDIO,     /* data (base64) with mime as the format's bare name: "wav" */
    CANON_DOCUMENT,  /* text, or data with mime, or url, or file_id; title */
    CANON_REFUSAL,   /* text */
};

struct canon_part {
    struct canon_part *next;
    enum canon_part_kind kind;
    uint32_t index;               /* place in the client's array, for complaints */
    struct sv text, mime, data, url, file_id, detail, title;
};

struct canon_parts {
    struct canon_part *first, *last;
    uint32_t n;
};

struct canon_reasoning {          /* of an assistant's earlier turn */
    struct canon_reasoning *next;
    struct sv text, signature, opaque;
};

struct canon_call {
    struct canon_call *next;
    struct sv id, name;
    struct sv args;               /* exact JSON text; may be empty or broken, as a model may have written it */
    bool is_custom;               /* free text instead of JSON: args is that text */
    bool is_answered;             /* a result was found for it */
    bool is_told;                 /* for printers: its result was printed, */
    const struct canon_message *teller; /* which is this one; NULL: made up */
    const struct canon_message *turn;
    struct canon_call *same, *last_same; /* the next and the last of that name in its turn */
};

struct canon_message {
    struct canon_message *next;
    enum canon_role role;         /* CANON_SYSTEM: one that came after the conversation had begun */
    uint32_t index;               /* place in the client's array */
    struct canon_parts parts;
    struct canon_reasoning *reasoning, *last_reasoning;
    struct canon_call *calls, *last_call;
    struct sv call_id, tool_name; /* CANON_TOOL */
    struct canon_call *call;      /* CANON_TOOL: what it answers */
    bool is_error;                /* CANON_TOOL */
};

struct canon_tool {
    struct canon_tool *next;
    struct sv name, description;
    yyjson_val *schema;           /* NULL: none */
    struct sv schema_text;        /* the same as JSON text, when it is not the client's; empty */
    enum canon_tri strict;
    bool is_custom;               /* free text input */
    bool is_allowed;              /* for canon_keep_tools */
    struct sv space;              /* Responses namespace, in front of the name with "__" between; often empty */
};

enum canon_choice { CANON_CHOICE_UNSET, CANON_CHOICE_AUTO, CANON_CHOICE_NONE, CANON_CHOICE_REQUIRED, CANON_CHOICE_NAMED };
enum canon_format { CANON_FORMAT_TEXT, CANON_FORMAT_JSON, CANON_FORMAT_SCHEMA };
enum canon_effort { CANON_EFFORT_UNSET, CANON_MINIMAL, CANON_LOW, CANON_MEDIUM, CANON_HIGH, CANON_XHIGH, CANON_MAX };

enum { CANON_TOOLS_MAX = 4096 }; /* of a request: names are looked up one by one */

struct canon_string {
    struct canon_string *next;
    struct sv text;
};

/* A member that no canonical field holds; printed again only when the runtime's dialect has the client's members. */
struct canon_extra {
    struct canon_extra *next;
    struct sv name;
    yyjson_val *value;
};

/* What a request is, whatever its API: chat becomes messages, text a bare prompt that no template touches. */
enum canon_kind { CANON_CHAT, CANON_PROMPT, CANON_EMBED };

struct canon_request {
    struct arena *arena;
    yyjson_doc *doc, *defaults, *forced; /* the latter two: what the slug sets; NULL: nothing */
    const struct translate_spec *spec;
    enum canon_kind kind;
    const char *list;             /* how the client calls its messages: "messages", "input" */
    struct sv within;             /* stands in front of members' names in complaints: "options."; often empty */

    struct canon_parts system;    /* leading system text, in order */
    struct canon_message *messages, *last_message;
    struct canon_tool *tools, *last_tool;
    unsigned n_tools;
    enum canon_choice choice;
    struct sv choice_name;
    enum canon_tri parallel;

    /* Numbers stay as the client wrote them; NULL: not given. Readers checked their type. */
    yyjson_val *temperature, *top_p, *top_k, *min_p, *typical_p, *repeat_penalty, *presence_penalty, *frequency_penalty, *seed;
    yyjson_val *logit_bias;       /* object */
    int64_t max_output;           /* tokens, reasoning included; -1: not given */
    struct canon_string *stop, *last_stop;
    unsigned n_stop;

    enum canon_format format;
    struct sv format_name;
    yyjson_val *schema;           /* CANON_FORMAT_SCHEMA */
    enum canon_tri format_strict;

    enum canon_tri think;         /* reasoning switched on or off */
    enum canon_effort effort;
    int64_t think_budget;         /* tokens, -1 */
    bool wants_summary;           /* Responses: shown as summary parts */
    bool wants_encrypted;         /* Responses: reasoning.encrypted_content */
    bool omits_reasoning;         /* the client does not want to see it */

    bool logprobs;
    int64_t top_logprobs;         /* -1 */
    bool stream, wants_usage;
    yyjson_val *keep_alive;       /* Ollama's form */
    yyjson_val *options;          /* Ollama's, whole: what no field above holds goes to another Ollama only */
    int64_t num_ctx;              /* -1 */
    struct sv user_key;
    yyjson_val *metadata;
    bool deprecated_functions;    /* Chat: functions/function_call instead of tools: the answer has that form, too */

    /* kind CANON_PROMPT */
    yyjson_val *prompt;           /* string; other forms are refused by the reader */
    struct sv suffix;
    bool has_suffix, echo;

    /* kind CANON_EMBED */
    yyjson_val *input;            /* string or array of strings (or of token ids) */
    int64_t dimensions;           /* -1 */
    bool wants_base64;
    enum canon_tri truncate;

    struct canon_extra *extra, *last_extra;
    unsigned n_extra;

    struct buf *degraded;         /* names of what was lost, comma-separated */
    struct err *fault;            /* the first; its code is ERR_NONE while all is well */
};

/* -- reading (canon_read.c). Every reader returns false once rq->fault is set. */

/* Refuses: a wrong type or value (ERR_BAD_REQUEST), or something the runtime's API cannot express (ERR_PARAMETER).
 * The text names the member's path: messages[3].content[1].image_url. Returns false. */
bool canon_bad(struct canon_request *rq, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool canon_cannot(struct canon_request *rq, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Leaves a member out and names it in the drover-degraded header. CANON_HINT never changes an answer (cache marks, user
 * ids); CANON_LOSS may a little, so a strict slug refuses it: then false. A name is recorded once. */
enum canon_weight { CANON_HINT, CANON_LOSS };
bool canon_lose(struct canon_request *rq, enum canon_weight w, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* One member of an object that a reader knows. */
struct canon_row {
    const char *name;
    bool (*read)(struct canon_request *rq, const struct canon_row *row, yyjson_val *value);
    size_t at;                    /* offsetof in struct canon_request, for the general readers below */
};
/* A member is there and is not null. */
bool canon_has(yyjson_val *body, const char *name);
/* Takes a member out of rq->extra, to print it in another way; NULL: there is none. */
yyjson_val *canon_take_extra(struct canon_request *rq, const char *name);
/* Reads an object member by member. null counts as absent; unknown members go to rq->extra when keep is set, else they are
 * passed over. Rows end with a NULL name. */
bool canon_members(struct canon_request *rq, yyjson_val *object, const struct canon_row *rows, bool keep);
const struct canon_row *canon_row_named(const struct canon_row *rows, struct sv name); /* NULL: none */
bool canon_row_number(struct canon_request *rq, const struct canon_row *row, yyjson_val *v);  /* yyjson_val * */
bool canon_row_int(struct canon_request *rq, const struct canon_row *row, yyjson_val *v);     /* int64_t >= 0, at most 2^31-1 */
bool canon_row_limit(struct canon_request *rq, const struct canon_row *row, yyjson_val *v);   /* as int; 0 and less: not given */
bool canon_row_flag(struct canon_request *rq, const struct canon_row *row, yyjson_val *v);    /* bool */
bool canon_row_tri(struct canon_request *rq, const struct canon_row *row, yyjson_val *v);     /* enum canon_tri */
bool canon_row_string(struct canon_request *rq, const struct canon_row *row, yyjson_val *v);  /* struct sv */
bool canon_row_object(struct canon_request *rq, const struct canon_row *row, yyjson_val *v);  /* yyjson_val * */
bool canon_row_hint(struct canon_request *rq, const struct canon_row *row, yyjson_val *v);    /* left out, CANON_HINT */
bool canon_row_loss(struct canon_request *rq, const struct canon_row *row, yyjson_val *v);    /* left out, CANON_LOSS */
bool canon_row_skip(struct canon_request *rq, const struct canon_row *row, yyjson_val *v);    /* read elsewhere, or no news */
bool canon_row_stop(struct canon_request *rq, const struct canon_row *row, yyjson_val *v);    /* string or array -> rq->stop */

/* What a message or a part of one holds beside the names a reader knows (NULL ends them) is lost, as "what.name". */
bool canon_known(struct canon_request *rq, yyjson_val *object, const char *what, const char *const names[]);
#define CANON_NAMES(...) ((const char *const[]){ __VA_ARGS__, NULL })

/* Sampling, as chat, completions and Ollama's options call it; #define AT(field) offsetof(struct canon_request, field). */
#define CANON_SAMPLING_ROWS                                          \
    { "temperature", canon_row_number, AT(temperature) },            \
    { "top_p", canon_row_number, AT(top_p) },                        \
    { "top_k", canon_row_number, AT(top_k) },                        \
    { "min_p", canon_row_number, AT(min_p) },                        \
    { "typical_p", canon_row_number, AT(typical_p) },                \
    { "repeat_penalty", canon_row_number, AT(repeat_penalty) },      \
    { "presence_penalty", canon_row_number, AT(presence_penalty) },  \
    { "frequency_penalty", canon_row_number, AT(frequency_penalty) }, \
    { "seed", canon_row_number, AT(seed) }

/* Appends; NULL and rq->fault when memory is out. */
struct canon_message *canon_message(struct canon_request *rq, enum canon_role role, uint32_t index);
struct canon_part *canon_part(struct canon_request *rq, struct canon_parts *to, enum canon_part_kind kind, uint32_t index);
struct canon_call *canon_call(struct canon_request *rq, struct canon_message *m);
struct canon_reasoning *canon_reasoning(struct canon_request *rq, struct canon_message *m);
struct canon_tool *canon_tool(struct canon_request *rq);
/* Leaves only the tools that an array of {"name"}, {"function":{"name"}} or {"custom":{"name"}} lists. */
bool canon_keep_tools(struct canon_request *rq, yyjson_val *allowed);
/* The tool of that name, within a namespace also of the last part of its name; NULL: none. */
struct canon_tool *canon_tool_of(const struct canon_request *rq, struct sv name);
bool canon_stop(struct canon_request *rq, struct sv text); /* nothing when it is empty */
/* data:<mime>;base64,<data> -> mime and data; any other URL -> url. A missing type is found by its first bytes. `where` is for
 * complaints. */
bool canon_link(struct canon_request *rq, struct canon_part *p, struct sv url, const char *where);
/* Takes base64 data and its media type as they are printed later: nothing but base64 gets through. An image without a type gets
 * the one its first bytes tell. */
bool canon_data(struct canon_request *rq, struct canon_part *p, struct sv mime, struct sv data, const char *where);
/* The type of a base64 image by its first bytes; empty when it is none of PNG, JPEG, GIF, WebP. */
struct sv canon_sniff(struct sv base64);
/* One behind the other, in the arena; "" when memory is out (fault is set). */
struct sv canon_glue(struct canon_request *rq, struct sv a, struct sv b, struct sv c);
/* A short text in the request's arena, formatted, cut at 511 bytes; "" when memory is out (fault is set). */
const char *canon_text(struct canon_request *rq, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* "messages[3].content[1]": the client's name of a part, for complaints of printers. Arena. */
const char *canon_where(struct canon_request *rq, const struct canon_message *m, const struct canon_part *p);
/* The compact JSON text of a value, in the arena; empty view when memory is out. Key order and numbers stay. */
struct sv canon_json(struct canon_request *rq, yyjson_val *v);

/* -- putting in order (canon_settle.c), between reader and printer. Call ids that are missing are made up the same way each
 * time; results without a call become text of the user; names of results are filled in; reasoning of earlier turns goes,
 * except behind the last real user message; system texts of the slug go in front. */
bool canon_settle(struct canon_request *rq);
/* Texts of a list of parts joined with `glue`, titles of documents in front; in the arena. Other kinds are passed over. */
struct sv canon_join(struct canon_request *rq, const struct canon_parts *parts, const char *glue);
/* All reasoning of a message; lines apart, in the arena. */
struct sv canon_thoughts(struct canon_request *rq, const struct canon_message *m);

/* For printers of APIs that have no place for it: what a system message says in the middle of a conversation, marked as such and
 * named as lost; a failed tool's result with a word in front (false: fault). */
struct sv canon_system_marked(struct canon_request *rq, const struct canon_message *m);
bool canon_mark_error(struct canon_request *rq, struct sv *text);

/* -- printing helpers (canon_print.c), beside llm/print.h */
struct print;
/* What CANON_SAMPLING_ROWS reads; repeat: what the runtime calls repeat_penalty. */
void canon_print_sampling(const struct canon_request *rq, struct print *p, const char *repeat);
void canon_print_stop(const struct canon_request *rq, struct print *p);        /* "stop"; nothing when there is none */
void canon_print_value(struct print *p, const char *name, yyjson_val *v);      /* nothing when v is NULL */
void canon_print_raw(struct print *p, const char *name, struct sv json);      /* JSON text as it is */
void canon_print_link(struct print *p, const char *name, const struct canon_part *part); /* a data URL, or the URL */
/* A call's arguments as an object, whatever the model wrote: the table in 8.2 of the reference. */
void canon_print_args_object(struct print *p, const char *name, struct sv args);
/* The same as a string of JSON: exactly what the model wrote; free text as the one member of an object. */
void canon_print_args_text(struct canon_request *rq, struct print *p, const char *name, const struct canon_call *c);
/* The schema, or {"type":"object","properties":{}}; for a custom tool the object with one string "input". */
void canon_print_schema(struct print *p, const char *name, const struct canon_tool *t);
/* "minimal", "low", ... NULL for CANON_EFFORT_UNSET. */
const char *canon_effort_name(enum canon_effort e);
bool canon_effort_parse(struct sv name, enum canon_effort *ret);
/* What the client stated, in the other's terms: level for a budget and budget for a level. */
enum canon_effort canon_effort_of(const struct canon_request *rq);
int64_t canon_budget_of(const struct canon_request *rq);

/* --- replies ------------------------------------------------------------------------------------------------------ */

enum canon_finish {
    CANON_FINISH_NONE, CANON_STOP, CANON_STOP_SEQUENCE, CANON_LENGTH, CANON_TOOL_CALLS, CANON_FILTERED, CANON_REFUSED,
    CANON_PAUSED, CANON_CONTEXT_FULL, CANON_UNLOADED, CANON_LOADED,
};

enum { CANON_CALLS_MAX = 1024 }; /* of one answer: an agent that makes more is broken, and each is looked up among the others */

/* Tokens; -1: unknown. input counts all of the prompt, cached parts included; output counts reasoning, too. */
struct canon_usage {
    int64_t input, cache_read, cache_write, output, reasoning;
};

enum canon_event_kind {
    CANON_E_START,       /* id and model may be looked up in the reply; first, once (added when a decoder has none) */
    CANON_E_REASONING,   /* text */
    CANON_E_SIGNATURE,   /* text: the runtime's own signature of the reasoning before */
    CANON_E_TEXT,        /* text */
    CANON_E_REFUSAL,     /* text */
    CANON_E_CALL,        /* slot, id, name: a call begins (slots count from 0 in order of appearance) */
    CANON_E_ARGS,        /* slot, text: a piece of its arguments' JSON text */
    CANON_E_CALL_END,    /* slot; optional */
    CANON_E_LOGPROBS,    /* value: array of {token, logprob, bytes, top_logprobs} for the text before */
    CANON_E_PROGRESS,    /* text: "load" or "prompt"; fraction */
    CANON_E_VECTOR,      /* value: an array of numbers (kept as raw text) or a base64 string; embeddings only */
    CANON_E_END,         /* last, once: finish and usage stand in the reply */
};

/* Views are good until emit returns. Text is decoded UTF-8, never empty in pieces. */
struct canon_event {
    enum canon_event_kind kind;
    unsigned slot;
    struct sv text, id, name;
    yyjson_val *value;
    double fraction;
};

struct canon_block {     /* what a whole reply consists of, in the order it came */
    struct canon_block *next;
    enum canon_event_kind kind; /* CANON_E_REASONING, _TEXT, _REFUSAL, _CALL */
    struct buf text;            /* of a call: its arguments */
    struct sv id, name, signature;
    unsigned slot;
    struct canon_block *next_call; /* of calls, the next one */
    size_t logprobs, logprobs_end; /* of a text, where its entries stand in the reply's logprobs_json; none: end is 0 */
    struct sv item;             /* the encoder's own id for it; empty: not begun yet */
    const struct canon_tool *tool; /* and of a call the tool that is meant; NULL: none that the request has */
    unsigned index;             /* and its place */
    bool closed;
};

/* The reply of one exchange: what decoder and encoder share, and what was kept of the request. */
struct canon_reply {
    struct arena *arena;
    const struct translate_spec *spec;
    bool is_stream;      /* the client gets a stream */
    uint64_t now_us, begun_us, first_us; /* clock of the caller: now, when the request was made, first output (0: none yet) */
    uint64_t now_s;      /* UNIX time of the beginning */

    /* found by the decoder */
    enum canon_finish finish;
    struct sv stop_text; /* the stop sequence that matched; often empty */
    struct canon_usage usage;
    int64_t load_us, prompt_us, output_us; /* as the runtime measured; -1 */
    bool started, ended, has_calls, has_output, has_refusal;
    unsigned n_slots;
    struct canon_id *ids; /* of the calls so far */
    struct {             /* half of a character at the end of a piece of text */
        enum canon_event_kind kind;
        unsigned slot;
        bool waits;
        char bytes[3];
    } half;
    uint64_t text_bytes; /* of all output, for an estimate */

    /* kept of the request by translate.c */
    bool wants_usage, wants_summary, wants_encrypted, deprecated_functions, omits_reasoning, logprobs, wants_base64;
    enum canon_tri parallel;
    struct sv model;     /* as the client asked for it */
    struct sv id;        /* 24 random letters and digits, for the dialect's own prefix */
    unsigned n_ids;      /* more were made of it */
    struct sv echo;      /* Responses: members of the request that the response repeats, as JSON text without braces */
    struct canon_tool *tools; /* names, is_custom and space only */

    /* whole replies, and streams of dialects that repeat everything at the end: bounded by spec->reply_max */
    struct canon_block *blocks, *last_block, *calls, *last_call;
    uint64_t held;       /* bytes of their text, and of what encoders keep waiting */
    bool keeps_blocks;   /* an encoder may ask for it in its begin */
    struct buf logprobs_json; /* their entries as JSON text, separated by commas, collected for a whole reply */

    struct err fault;    /* the first; ends the reply */

    void *decoder, *encoder; /* their own state, in the arena */
    void (*emit)(struct canon_reply *r, const struct canon_event *ev); /* set by translate.c */
    struct buf *out;     /* the client's bytes */
};

/* -- for decoders (canon_reply.c) */
void canon_emit_text(struct canon_reply *r, enum canon_event_kind kind, struct sv text); /* nothing when it is empty */
/* The same of a member that must be a string; NULL and null: nothing; another kind: r->fault. */
void canon_emit_said(struct canon_reply *r, enum canon_event_kind kind, yyjson_val *text);
/* Returns its slot. An id that is empty or was there already is made anew; without a name: r->fault. */
unsigned canon_emit_call(struct canon_reply *r, struct sv id, struct sv name);
void canon_emit_args(struct canon_reply *r, unsigned slot, struct sv text);
void canon_emit_end(struct canon_reply *r); /* the runtime finished; without a finish reason this is a fault */
void canon_finish_word(struct canon_reply *r, struct sv word); /* any runtime's word for how it ended; the first counts */
bool canon_reply_fault(struct canon_reply *r, enum err_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* An error in the middle of a stream or in a 2xx body: any dialect's "error" member. */
bool canon_reply_error(struct canon_reply *r, yyjson_val *error);
/* The JSON of an event or a reply. Half of a surrogate pair becomes U+FFFD, unless it may find the other half in the next piece
 * of the same text: canon_emit_text and canon_emit_args join them. NULL: r->fault. Free with yyjson_doc_free before
 * the next one is parsed. */
yyjson_doc *canon_parse(struct canon_reply *r, struct sv data);
/* The same for vectors: numbers stay as they were written. */
yyjson_doc *canon_parse_raw(struct canon_reply *r, struct sv data);
/* The error that an event or a reply of OpenAI's family is, or holds; NULL: none. */
yyjson_val *canon_error_in(yyjson_val *root, struct sv event_name);
/* A counter of tokens: *to stays as it was when it is missing or no such number. */
void canon_count(int64_t *to, yyjson_val *of, const char *name);
/* Counters of an OpenAI chat, completions or Responses usage object. Later ones win. */
void canon_usage_openai(struct canon_reply *r, yyjson_val *usage);

/* -- for encoders */
struct canon_block *canon_call_block(const struct canon_reply *r, unsigned slot); /* NULL: none of that slot */
/* Counts n bytes that an encoder must hold back. False, and a fault, past spec->reply_max. */
bool canon_hold(struct canon_reply *r, size_t n);
/* "prefix" and 24 letters and digits, another at each call; arena. */
struct sv canon_new_id(struct canon_reply *r, const char *prefix);
/* Settled counts: the runtime's, else estimates; never below 0 except reasoning, cache_read and cache_write (-1: unknown). */
struct canon_usage canon_usage_settled(const struct canon_reply *r);
/* The tool that was meant: exact, else the only one that differs in case and separators. NULL: none. */
const struct canon_tool *canon_tool_named(const struct canon_reply *r, struct sv name);
/* Appends the text of a custom tool's argument object, which stands under "input". False: it is no such object. */
bool canon_custom_input(struct sv args, struct buf *out);
/* RFC 3339 in UTC with microseconds, as Ollama writes it; seconds only when us is 0 and whole is set. */
void canon_print_time(struct print *p, const char *name, uint64_t unix_s, uint64_t us);

/* --- a dialect ---------------------------------------------------------------------------------------------------- */

/* One API's row; NULL where it has no such side. All functions work on memory alone. */
struct dialect {
    enum llm_api api;
    const char *path;                 /* of the runtime, for requests that this dialect printed */
    const char *stream_type;          /* media type of a stream to a client */
    unsigned family;                  /* rows of one family share their members, so rq->extra may go over; 0: none */

    /* Client side. */
    bool (*read)(struct canon_request *rq, yyjson_val *body);
    bool (*keep)(const struct canon_request *rq, struct canon_reply *r); /* what the reply repeats of the request, into r->echo */
    bool (*begin)(struct canon_reply *r);                                /* the encoder's state; false: no memory */
    void (*encode)(struct canon_reply *r, const struct canon_event *ev); /* one event of a stream, into r->out */
    void (*print_reply)(struct canon_reply *r);                          /* a whole reply, from r->blocks */
    void (*encode_fault)(struct canon_reply *r, const struct err *e);    /* ends a begun stream; NULL: llm_error_event */

    /* Runtime side. */
    bool (*print)(struct canon_request *rq, struct buf *out);            /* false: rq->fault */
    bool (*start)(struct canon_reply *r);                                /* the decoder's state */
    bool (*decode)(struct canon_reply *r, struct sv name, struct sv data); /* one event; false: r->fault */
    bool (*decode_end)(struct canon_reply *r);                           /* the bytes ended; false: r->fault */
    bool (*decode_reply)(struct canon_reply *r, yyjson_val *body);       /* a whole one */
};

extern const struct dialect dialect_chat, dialect_completions, dialect_responses, dialect_messages, dialect_ollama_chat,
    dialect_ollama_generate, dialect_lmstudio0_chat, dialect_lmstudio0_completions, dialect_lmstudio1_chat, dialect_embeddings,
    dialect_lmstudio0_embeddings, dialect_ollama_embed, dialect_ollama_embeddings;
/* NULL: this API is never translated. */
const struct dialect *dialect_of(enum llm_api api);

#endif
