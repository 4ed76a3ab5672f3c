/* llm/scan_note.c - what the members of a body mean: which value is wanted, what makes the affinity key, what is copied
 * out.
 *
 * Below depth 2 there is nearly nothing to do. Inside tool schemas, tool arguments and unknown members (s->opaque)
 * names are not even looked at: a schema may well have a property "image". */
#include <endian.h>

#include "llm/scan_note.h"

enum { PART_SYSTEM, PART_INSTRUCTIONS, PART_FIRST, PART_SECOND, PART_STRING };

enum key {
    KEY_NONE,
    KEY_ARGUMENTS,
    KEY_DATA,
    KEY_IMAGE,
    KEY_IMAGES,
    KEY_INCLUDE_USAGE,
    KEY_INPUT,
    KEY_INSTRUCTIONS,
    KEY_MAX_COMPLETION_TOKENS,
    KEY_MAX_OUTPUT_TOKENS,
    KEY_MAX_TOKENS,
    KEY_MESSAGES,
    KEY_MODEL,
    KEY_N,
    KEY_NUM_PREDICT,
    KEY_OPTIONS,
    KEY_PROMPT,
    KEY_ROLE,
    KEY_STREAM,
    KEY_STREAM_OPTIONS,
    KEY_SYSTEM,
    KEY_THINK,
    KEY_TOOLS,
    KEY_TYPE,
};

static enum key key_of(struct sv v) {
    static const struct {
        uint8_t n, key;
        const char *name;
    } keys[] = { /* by length, so that the search ends early */
#define KEY(name, key) { sizeof name - 1, key, name }
        KEY("n", KEY_N),
        KEY("url", KEY_DATA),
        KEY("role", KEY_ROLE),
        KEY("type", KEY_TYPE),
        KEY("data", KEY_DATA),
        KEY("model", KEY_MODEL),
        KEY("input", KEY_INPUT),
        KEY("tools", KEY_TOOLS),
        KEY("think", KEY_THINK),
        KEY("image", KEY_IMAGE),
        KEY("stream", KEY_STREAM),
        KEY("prompt", KEY_PROMPT),
        KEY("system", KEY_SYSTEM),
        KEY("images", KEY_IMAGES),
        KEY("options", KEY_OPTIONS),
        KEY("messages", KEY_MESSAGES),
        KEY("data_url", KEY_DATA),
        KEY("image_url", KEY_IMAGE),
        KEY("arguments", KEY_ARGUMENTS),
        KEY("file_data", KEY_DATA),
        KEY("max_tokens", KEY_MAX_TOKENS),
        KEY("num_predict", KEY_NUM_PREDICT),
        KEY("input_image", KEY_IMAGE),
        KEY("instructions", KEY_INSTRUCTIONS),
        KEY("include_usage", KEY_INCLUDE_USAGE),
        KEY("stream_options", KEY_STREAM_OPTIONS),
        KEY("max_output_tokens", KEY_MAX_OUTPUT_TOKENS),
        KEY("max_completion_tokens", KEY_MAX_COMPLETION_TOKENS),
#undef KEY
    };
    for (unsigned i = 0; i < sizeof keys / sizeof keys[0] && keys[i].n <= v.n; i++) {
        if (keys[i].n == v.n && memcmp(keys[i].name, v.p, v.n) == 0)
            return (enum key)keys[i].key;
    }
    return KEY_NONE;
}

bool scan_is_link_name(struct sv name) {
    static const char *const words[] = { "url", "uri", "image", "video", "audio", "data" };
    if (name.n && name.p[name.n - 1] == 's')
        name.n--;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        struct sv w = sv_of(words[i]);
        if (sv_ends(name, w) && (name.n == w.n || name.p[name.n - w.n - 1] == '_'))
            return true;
    }
    return false;
}

/* An object that is an element of an array, or the body itself: where content parts stand. */
static bool is_part(const struct scan *s) {
    return scan__in_object(s) && (s->depth == 1 || !(s->stack & 2));
}

/* -- the affinity key ------------------------------------------------------------------------------------------- */

static uint64_t fold(uint64_t h, uint64_t w) {
    h = (h ^ w) * 0x9e3779b97f4a7c15;
    return h ^ (h >> 32);
}

static void hash_add(struct scan *s, const char *from, const char *to) {
    size_t n = (size_t)(to - from);
    if (n > s->hash_left)
        n = s->hash_left;
    s->hash_left -= (uint32_t)n;
    size_t i = 0;
    for (; s->hash_n == 0 && n - i >= 8; i += 8) {
        uint64_t word;
        memcpy(&word, from + i, sizeof word);
        s->hash[s->hash_part] = fold(s->hash[s->hash_part], le64toh(word));
    }
    for (; i < n; i++) {
        s->hash_word |= (uint64_t)(unsigned char)from[i] << (8 * s->hash_n);
        if (++s->hash_n == 8) {
            s->hash[s->hash_part] = fold(s->hash[s->hash_part], s->hash_word);
            s->hash_word = s->hash_n = 0;
        }
    }
}

static void hash_begin(struct scan *s, unsigned part, const char *p) {
    s->hash_on = true;
    s->hash_part = (uint8_t)part;
    s->hash[part] = part + 1;
    s->hash_word = s->hash_n = 0;
    s->hash_left = SCAN_HASH_MAX;
    s->hash_from = p;
}

static void hash_end(struct scan *s, const char *p) {
    hash_add(s, s->hash_from, p);
    s->hash[s->hash_part] = fold(s->hash[s->hash_part], s->hash_word + ((uint64_t)s->hash_n << 56)) | 1;
    s->hash_on = false;
}

uint64_t scan_affinity(const struct scan *s) {
    uint64_t h = 0;
    for (unsigned part = 0; part < 5; part++) {
        if (s->hash[part] && (part != PART_SECOND || s->first_is_system))
            h = fold(h, s->hash[part]);
    }
    return h;
}

/* -- copying out of a reply -------------------------------------------------------------------------------------- */

static void copy_add(struct scan *s, const char *from, const char *to) {
    struct scan_slot *slot = &s->slots[s->slot - 1];
    size_t n = (size_t)(to - from);
    if (slot->n < slot->room) {
        size_t room = slot->room - (size_t)slot->n;
        memcpy(slot->text + slot->n, from, n < room ? n : room);
    }
    slot->n += n;
}

static void copy_begin(struct scan *s, const char *p) {
    struct scan_slot *slot = &s->slots[s->slot - 1];
    slot->seen = false;
    slot->n = 0;
    s->copy_on = true;
    s->copy_from = p;
}

/* -- hooks ------------------------------------------------------------------------------------------------------- */

void scan__top_begin(struct scan *s, const char *p) {
    s->value_at = scan__offset(s, p);
    if (s->slot)
        copy_begin(s, p);
    switch (s->top) {
    case KEY_SYSTEM: hash_begin(s, PART_SYSTEM, p); break;
    case KEY_INSTRUCTIONS: hash_begin(s, PART_INSTRUCTIONS, p); break;
    case KEY_PROMPT:
    case KEY_INPUT:
    case KEY_MESSAGES:
        if (*p == '"')
            hash_begin(s, PART_STRING, p);
        s->listing = *p == '[' && s->top != KEY_PROMPT;
        if (s->listing)
            s->n_messages = 0;
        break;
    default: break;
    }
}

void scan__top_end(struct scan *s, const char *p) {
    struct scan_span span = { s->value_at, scan__offset(s, p) - s->value_at };
    if (s->hash_on)
        hash_end(s, p);
    if (s->copy_on) {
        copy_add(s, s->copy_from, p);
        s->slots[s->slot - 1].seen = true;
        s->copy_on = false;
    }
    s->listing = false;
    switch (s->top) {
    case KEY_MODEL: s->model_raw = span; break;
    case KEY_STREAM_OPTIONS: s->stream_options = span; break;
    case KEY_MESSAGES:
    case KEY_PROMPT:
    case KEY_INPUT:
    case KEY_SYSTEM:
    case KEY_TOOLS:
    case KEY_INSTRUCTIONS: s->input_bytes += span.n; break;
    default: break;
    }
}

static void set_flag(struct scan *s, enum scan_flag is) {
    switch (s->key) {
    case KEY_STREAM: s->stream = is; break;
    case KEY_THINK: s->think = is; break;
    case KEY_STREAM_OPTIONS: s->stream_options_kind = is; break;
    case KEY_INCLUDE_USAGE: s->include_usage = is; break;
    default: break;
    }
}

/* Digits, an optional fraction of zeros and an optional exponent; -1 when that is no integer below 2^63. */
static int64_t integer(struct sv v) {
    int64_t value = 0, exponent = 0;
    size_t i = 0;
    for (; i < v.n && v.p[i] >= '0' && v.p[i] <= '9'; i++) {
        if (value > (INT64_MAX - 9) / 10)
            return INT64_MAX; /* far past any bound: not the same as absent */
        value = value * 10 + (v.p[i] - '0');
    }
    if (i < v.n && v.p[i] == '.') {
        for (i++; i < v.n && v.p[i] == '0'; i++)
            continue;
    }
    if (i < v.n && (v.p[i] == 'e' || v.p[i] == 'E')) {
        for (i += 1 + (i + 1 < v.n && v.p[i + 1] == '+'); i < v.n && v.p[i] >= '0' && v.p[i] <= '9'; i++)
            exponent = exponent > 100 ? exponent : exponent * 10 + (v.p[i] - '0');
    }
    if (i < v.n || v.n == 0 || v.n > SCAN_MODEL_MAX)
        return -1;
    for (; exponent > 0 && value > 0; exponent--) {
        if (value > INT64_MAX / 10)
            return INT64_MAX;
        value *= 10;
    }
    return value;
}

static void set_int(struct scan *s, int64_t value) {
    switch (s->key) {
    case KEY_MAX_TOKENS: s->max_tokens = value; break;
    case KEY_MAX_COMPLETION_TOKENS: s->max_completion_tokens = value; break;
    case KEY_MAX_OUTPUT_TOKENS: s->max_output_tokens = value; break;
    case KEY_NUM_PREDICT: s->num_predict = value; break;
    case KEY_N: s->n = value; break;
    default: break;
    }
}

static void set_model(struct scan *s, struct sv v) {
    s->model_escaped = s->escaped;
    s->model_state = v.n > SCAN_MODEL_MAX ? SCAN_MODEL_TOO_LONG : SCAN_MODEL_OK;
    s->model_len = s->model_state == SCAN_MODEL_OK ? (uint32_t)v.n : 0;
    memcpy(s->model, v.p, s->model_len);
    s->model[s->model_len] = '\0';
}

void scan__wrong_kind(struct scan *s) {
    if (s->want == WANT_MODEL)
        s->model_state = SCAN_MODEL_NOT_STRING;
    else if (s->want == WANT_FLAG)
        set_flag(s, SCAN_OTHER);
    else if (s->want == WANT_INT)
        set_int(s, -1);
}

void scan__number(struct scan *s, struct sv v) {
    if (s->want == WANT_INT)
        set_int(s, integer(v));
    else
        scan__wrong_kind(s);
}

void scan__literal(struct scan *s) {
    if (s->want == WANT_FLAG)
        set_flag(s, s->literal_is);
    else if (s->want == WANT_MODEL && s->literal_is == SCAN_NULL)
        s->model_state = SCAN_MODEL_NONE;
    else
        scan__wrong_kind(s);
}

void scan__opened(struct scan *s, const char *p, bool is_object) {
    scan__wrong_kind(s);
    s->pend = s->want;
    if (!s->opaque && (s->want == WANT_OPAQUE || s->want == WANT_TOOLS))
        s->opaque = s->depth;
    if (is_object && s->depth == 2 && s->top == KEY_STREAM_OPTIONS) {
        s->stream_options_open = scan__offset(s, p) + 1;
        s->stream_options_empty = true;
    }
    if (s->want != WANT_IMAGES || is_object) /* which holds for the strings of the array, too */
        s->want = WANT_NONE;
}

void scan__not_empty(struct scan *s) {
    s->has_tools |= s->pend == WANT_TOOLS;
    s->has_image |= s->pend == WANT_IMAGE || s->pend == WANT_IMAGES;
    s->pend = WANT_NONE;
}

/* Names that must not occur twice, because two readers would disagree on them. */
static bool is_second(struct scan *s, enum key k, const char **ret_name) {
    static const struct {
        enum key key;
        bool top;
        const char *name;
    } once[] = { { KEY_MODEL, true, "model" },
                 { KEY_STREAM, true, "stream" },
                 { KEY_STREAM_OPTIONS, true, "stream_options" },
                 { KEY_INCLUDE_USAGE, false, "stream_options.include_usage" } };
    for (unsigned i = 0; i < sizeof once / sizeof once[0]; i++) {
        if (once[i].key != k || once[i].top != (s->depth == 1))
            continue;
        *ret_name = once[i].name;
        bool seen = s->seen >> i & 1;
        s->seen |= 1u << i;
        return seen;
    }
    return false;
}

static uint8_t want_at_top(enum key k) {
    switch (k) {
    case KEY_MODEL: return WANT_MODEL;
    case KEY_STREAM:
    case KEY_THINK:
    case KEY_STREAM_OPTIONS: return WANT_FLAG;
    case KEY_MAX_TOKENS:
    case KEY_MAX_COMPLETION_TOKENS:
    case KEY_MAX_OUTPUT_TOKENS:
    case KEY_N: return WANT_INT;
    case KEY_TOOLS: return WANT_TOOLS;
    case KEY_IMAGE: return WANT_IMAGE;
    case KEY_IMAGES: return WANT_IMAGES;
    case KEY_OPTIONS:
    case KEY_MESSAGES:
    case KEY_PROMPT:
    case KEY_INPUT:
    case KEY_SYSTEM: return WANT_NONE;
    default: return WANT_OPAQUE;
    }
}

static uint8_t want_inside(const struct scan *s, enum key k) {
    if (s->depth == 2 && s->top == KEY_STREAM_OPTIONS)
        return k == KEY_INCLUDE_USAGE ? WANT_FLAG : WANT_OPAQUE;
    if (s->depth == 2 && s->top == KEY_OPTIONS)
        return k == KEY_NUM_PREDICT ? WANT_INT : WANT_OPAQUE;
    switch (k) {
    case KEY_TYPE: return is_part(s) ? WANT_TYPE : WANT_NONE;
    case KEY_ROLE: return s->depth == 3 && s->listing && s->n_messages == 0 ? WANT_ROLE : WANT_NONE;
    case KEY_IMAGE: return is_part(s) ? WANT_IMAGE : WANT_NONE;
    case KEY_IMAGES: return is_part(s) ? WANT_IMAGES : WANT_NONE;
    case KEY_DATA: return WANT_BLOB;
    case KEY_INPUT:
    case KEY_ARGUMENTS: return WANT_OPAQUE; /* of a tool call */
    default: return WANT_NONE;
    }
}

static uint32_t slot_of(const struct scan *s, struct sv name) {
    for (uint32_t i = 0; i < s->n_slots; i++) {
        const char *want = s->slots[i].name;
        if (name.n && want[0] == name.p[0] && strncmp(want, name.p, name.n) == 0 && want[name.n] == '\0')
            return i + 1;
    }
    return 0;
}

const char *scan__key_end(struct scan *s, const char *p, struct sv name) {
    s->at = AT_COLON;
    if (s->depth == 1 && s->reply) {
        s->slot = slot_of(s, name);
        s->want = WANT_OPAQUE;
        return p;
    }
    if (s->opaque)
        return p;
    const char *twice = NULL;
    s->key = (uint8_t)key_of(name);
    s->has_media |= scan_is_link_name(name);
    if (s->depth == 1) {
        s->top = s->key;
        s->empty = false;
        if (++s->n_members > s->members_max)
            return scan__fault(s, p - 1, FAULT_MEMBERS, NULL);
    } else if (s->depth == 2 && s->top == KEY_STREAM_OPTIONS) {
        s->stream_options_empty = false;
    } else if (s->key == KEY_INCLUDE_USAGE) {
        s->key = KEY_NONE;
    }
    if (is_second(s, s->key, &twice))
        return scan__fault(s, p - 1, FAULT_TWICE, twice);
    s->want = s->depth == 1 ? want_at_top(s->key) : want_inside(s, s->key);
    return p;
}

/* Types of content parts and of what stands beside them that hold no link to fetch. */
static bool is_plain_part(struct sv v) {
    static const char *const plain[] = { "text", "input_text", "output_text", "summary_text", "reasoning_text", "message", "function",
                                         "function_call", "function_call_output", "tool_use", "tool_result", "tool_call", "thinking",
                                         "redacted_thinking", "reasoning", "refusal", "json_object", "json_schema", "custom",
                                         "ephemeral", "auto", "any", "tool", "none", "enabled", "disabled", "adaptive" };
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++)
        if (v.n && plain[i][0] == v.p[0] && sv_eq(v, sv_of(plain[i])))
            return true;
    return false;
}

void scan__string(struct scan *s, const char *p, struct sv v) {
    uint64_t inside = scan__offset(s, p) - s->string_at - 2;
    switch (s->want) {
    case WANT_MODEL: set_model(s, v); break;
    case WANT_TYPE:
        s->has_media |= !is_plain_part(v);
        if (sv_eq(v, SV("image_url")) || sv_eq(v, SV("image")) || sv_eq(v, SV("input_image"))) {
            s->has_image = true;
            s->n_images++;
        }
        break;
    case WANT_ROLE: s->first_is_system = sv_eq(v, SV("system")) || sv_eq(v, SV("developer")); break;
    case WANT_IMAGE:
    case WANT_IMAGES:
        s->has_image |= inside > 0;
        s->n_images += inside > 0 && s->want == WANT_IMAGES;
        /* fall through */
    case WANT_BLOB: s->blob_bytes += inside >= SCAN_BLOB_MIN ? inside : 0; break;
    default: scan__wrong_kind(s); break;
    }
}

void scan__element_begin(struct scan *s, const char *p) {
    if (s->n_messages < 2)
        hash_begin(s, PART_FIRST + s->n_messages, p);
}

void scan__element_end(struct scan *s, const char *p) {
    if (s->hash_on)
        hash_end(s, p);
    s->n_messages++;
}

void scan__suspend(struct scan *s, const char *p) {
    if (s->hash_on)
        hash_add(s, s->hash_from, p);
    if (s->copy_on)
        copy_add(s, s->copy_from, p);
}
