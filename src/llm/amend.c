#include "llm/amend.h"

#include "base/json.h"
#include "llm/peek.h"

/* --- what is well-known ------------------------------------------------------------------------------------------- */

enum meaning {
    M_NONE, M_LIMIT, M_TEMPERATURE, M_TOP_P, M_TOP_K, M_MIN_P, M_TYPICAL_P, M_REPEAT, M_PRESENCE, M_FREQUENCY, M_SEED, M_STOP, M_N,
};

#define OF(api) (UINT64_C(1) << (api))
#define CHAT (OF(LLM_CHAT) | OF(LLM_LMSTUDIO0_CHAT))
#define TEXT (OF(LLM_COMPLETIONS) | OF(LLM_LMSTUDIO0_COMPLETIONS))
#define RESPONSES OF(LLM_RESPONSES)
#define MESSAGES OF(LLM_MESSAGES)
#define STUDIO OF(LLM_LMSTUDIO1_CHAT)
#define OLLAMA (OF(LLM_OLLAMA_CHAT) | OF(LLM_OLLAMA_GENERATE)) /* there within "options" */
#define OLLAMAS (OLLAMA | OF(LLM_OLLAMA_EMBED) | OF(LLM_OLLAMA_EMBEDDINGS))
_Static_assert(LLM_APIS <= 64, "a bit for each API");

/* Of one meaning, the name that an API is given comes before others it takes. */
static const struct spelling {
    enum meaning means;
    const char *name;
    uint64_t apis;
} spellings[] = {
    { M_LIMIT, "max_tokens", CHAT | TEXT | MESSAGES },
    { M_LIMIT, "max_completion_tokens", CHAT },
    { M_LIMIT, "max_output_tokens", RESPONSES | STUDIO },
    { M_LIMIT, "num_predict", OLLAMA },
    { M_TEMPERATURE, "temperature", CHAT | TEXT | RESPONSES | MESSAGES | STUDIO | OLLAMA },
    { M_TOP_P, "top_p", CHAT | TEXT | RESPONSES | MESSAGES | STUDIO | OLLAMA },
    { M_TOP_K, "top_k", CHAT | TEXT | MESSAGES | STUDIO | OLLAMA },
    { M_MIN_P, "min_p", CHAT | TEXT | STUDIO | OLLAMA },
    { M_TYPICAL_P, "typical_p", CHAT | TEXT | OLLAMA },
    { M_REPEAT, "repeat_penalty", CHAT | TEXT | STUDIO | OLLAMA },
    { M_REPEAT, "repetition_penalty", CHAT | TEXT },
    { M_PRESENCE, "presence_penalty", CHAT | TEXT | OLLAMA },
    { M_FREQUENCY, "frequency_penalty", CHAT | TEXT | OLLAMA },
    { M_SEED, "seed", CHAT | TEXT | OLLAMA },
    { M_STOP, "stop", CHAT | TEXT | OLLAMA },
    { M_STOP, "stop_sequences", MESSAGES },
    { M_N, "n", CHAT | TEXT },
};
enum { N_SPELLINGS = sizeof spellings / sizeof spellings[0] };

static enum meaning meaning_of(struct sv name) {
    for (size_t i = 0; i < N_SPELLINGS; i++)
        if (sv_eq(name, sv_of(spellings[i].name)))
            return spellings[i].means;
    return M_NONE;
}

/* The operator's own name where the API has it, else the API's first; NULL: it has none. */
static const char *spelling_in(uint64_t api, enum meaning means, struct sv name) {
    const char *first = NULL;
    for (size_t i = 0; i < N_SPELLINGS; i++) {
        if (spellings[i].means != means || !(spellings[i].apis & api))
            continue;
        if (sv_eq(name, sv_of(spellings[i].name)))
            return spellings[i].name;
        first = first ? first : spellings[i].name;
    }
    return first;
}

static bool is_spelling_in(uint64_t api, enum meaning means, struct sv name) {
    const char *own = spelling_in(api, means, name);
    return own && sv_eq(name, sv_of(own));
}

/* --- judging settings --------------------------------------------------------------------------------------------- */

static bool is_whole(struct sv v) {
    return peek_i64(v, 0) == peek_i64(v, 1);
}

static bool is_number(struct sv v) {
    return peek_f64(v, 0) == peek_f64(v, 1);
}

static bool is_texts(struct sv v) {
    struct peek c;
    struct sv one;
    bool ok = peek_open(&c, v, '[');
    while (ok && peek_element(&c, &one))
        ok = peek_is_string(one);
    return ok || peek_is_string(v);
}

static bool check_one(struct sv name, struct sv value, struct err *e) {
    enum meaning means = meaning_of(name);
    if (means == M_STOP)
        return is_texts(value) || err_set(e, ERR_CONFIG, "\"%.*s\" must be a string or a list of strings", SV_FMT(name));
    if (means == M_LIMIT || means == M_SEED || means == M_N)
        return is_whole(value) || err_set(e, ERR_CONFIG, "\"%.*s\" must be a whole number", SV_FMT(name));
    return means == M_NONE || is_number(value) || err_set(e, ERR_CONFIG, "\"%.*s\" must be a number", SV_FMT(name));
}

bool amend_check(struct sv settings, struct err *e) {
    static const char *const others[] = { "model", "stream", "stream_options", "messages", "input", "prompt" };
    struct peek outer, inner;
    struct sv name, value, option, what;
    unsigned n = 0;
    for (bool more = peek_open(&outer, settings, '{'); more && peek_member(&outer, &name, &value); n++) {
        for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
            if (sv_eq(name, sv_of(others[i])))
                return err_set(e, ERR_CONFIG, "\"%.*s\" is each request's own and cannot be set here", SV_FMT(name));
        if (!check_one(name, value, e))
            return false;
        if (!sv_eq(name, SV("options")))
            continue;
        if (!peek_open(&inner, value, '{'))
            return err_set(e, ERR_CONFIG, "\"options\" must be a group of members");
        for (; peek_member(&inner, &option, &what); n++)
            if (!check_one(option, what, e))
                return false;
    }
    return n <= AMEND_MAX || err_set(e, ERR_CONFIG, "more than %d members; that is all there may be", AMEND_MAX);
}

/* --- what is to hold in one body ---------------------------------------------------------------------------------- */

struct change {
    enum meaning means;
    struct sv name, value; /* raw */
    bool in_options, forced, seen;
};

struct amend {
    struct arena *arena;
    uint64_t api;
    struct sv body;
    struct change changes[2 * AMEND_MAX]; /* of defaults and force */
    unsigned n_changes;
    struct splice *splices;
    unsigned n, room;
    bool has_options, failed;
};

static struct sv glue(struct amend *m, struct sv a, struct sv b, struct sv c) {
    char *to = arena_alloc(m->arena, a.n + b.n + c.n);
    if (!to) {
        m->failed = true;
        return SV_NULL;
    }
    memcpy(to, a.p, a.n);
    memcpy(to + a.n, b.p, b.n);
    memcpy(to + a.n + b.n, c.p, c.n);
    return (struct sv){ to, a.n + b.n + c.n };
}

/* A later setting of the same takes the place of an earlier one. */
static void add_change(struct amend *m, struct change one) {
    unsigned i = 0;
    if (one.means) {
        const char *own = spelling_in(m->api, one.means, one.name);
        if (!own)
            return;
        one.name = sv_of(own);
        one.in_options = m->api & OLLAMA;
        if (one.means == M_STOP && peek_is_string(one.value)) /* a list is good everywhere */
            one.value = glue(m, SV("["), one.value, SV("]"));
    }
    while (i < m->n_changes && !(m->changes[i].in_options == one.in_options && m->changes[i].means == one.means &&
                                 (one.means || sv_eq(m->changes[i].name, one.name))))
        i++;
    if (i == 2 * AMEND_MAX)
        return; /* amend_check does not let it come to that */
    m->changes[i] = one;
    if (i == m->n_changes)
        m->n_changes++;
}

static void add_settings(struct amend *m, struct sv settings, bool forced) {
    struct peek outer, inner;
    struct sv name, value;
    for (bool more = peek_open(&outer, settings, '{'); more && peek_member(&outer, &name, &value);) {
        if (!sv_eq(name, SV("options"))) {
            add_change(m, (struct change){ .means = meaning_of(name), .name = name, .value = value, .forced = forced });
            continue;
        }
        for (bool option = peek_open(&inner, value, '{'); option && peek_member(&inner, &name, &value);)
            if (meaning_of(name) || (m->api & OLLAMAS))
                add_change(m, (struct change){ meaning_of(name), name, value, true, forced, false });
    }
}

/* The last of two settings of the same holds, as in add_change. */
static void take_limit(uint64_t api, struct sv name, struct sv value, int64_t *output, int64_t *n) {
    enum meaning means = meaning_of(name);
    if ((means == M_LIMIT || means == M_N) && spelling_in(api, means, name))
        *(means == M_LIMIT ? output : n) = peek_i64(value, -1);
}

void amend_limits(enum llm_api api, struct sv forced, int64_t *output, int64_t *n) {
    struct peek outer, inner;
    struct sv name, value;
    for (bool more = peek_open(&outer, forced, '{'); more && peek_member(&outer, &name, &value);) {
        if (!sv_eq(name, SV("options"))) {
            take_limit(OF(api), name, value, output, n);
            continue;
        }
        for (bool option = peek_open(&inner, value, '{'); option && peek_member(&inner, &name, &value);)
            take_limit(OF(api), name, value, output, n);
    }
}

/* --- the splices -------------------------------------------------------------------------------------------------- */

static unsigned add_splice(struct amend *m, const char *at, size_t remove, struct sv insert) {
    if (m->n == m->room) {
        struct splice *more = ARENA_ARRAY(m->arena, struct splice, 2 * m->room);
        if (!more) {
            m->failed = true;
            return 0;
        }
        memcpy(more, m->splices, m->n * sizeof *more);
        m->splices = more;
        m->room *= 2;
    }
    m->splices[m->n] = (struct splice){ (uint64_t)(at - m->body.p), remove, insert };
    return m->n++;
}

/* Without escapes; nearly always there are none. */
static struct sv plain_name(struct amend *m, struct sv raw) {
    if (sv_find_char(raw, '\\') < 0)
        return raw;
    yyjson_doc *doc = json_parse((struct sv){ raw.p - 1, raw.n + 2 });
    struct sv name = arena_sv(m->arena, json_sv(yyjson_doc_get_root(doc)));
    yyjson_doc_free(doc);
    m->failed = m->failed || !name.p;
    return name;
}

static size_t put(char *to, size_t n, struct sv v) {
    if (to)
        memcpy(to + n, v.p, v.n);
    return n + v.n;
}

/* Prints the members that were not there, or counts their bytes as long as `to` is NULL. */
static size_t put_missing(const struct amend *m, char *to, bool in_options, bool bare) {
    size_t n = 0;
    for (unsigned i = 0; i < m->n_changes; i++) {
        const struct change *c = &m->changes[i];
        if (c->in_options != in_options || c->seen)
            continue;
        n = put(to, n, n || !bare ? SV(",\"") : SV("\""));
        n = put(to, put(to, put(to, n, c->name), SV("\":")), c->value);
    }
    return n;
}

/* The members that were not there, each with a comma in front, or, with `bare`, all but the first. */
static struct sv missing(struct amend *m, bool in_options, bool bare) {
    size_t n = put_missing(m, NULL, in_options, bare);
    char *to = arena_alloc(m->arena, n);
    m->failed = m->failed || !to;
    return to ? (struct sv){ to, put_missing(m, to, in_options, bare) } : SV("");
}

static void amend_member(struct amend *m, struct sv name, struct sv value, bool in_options) {
    for (unsigned i = 0; i < m->n_changes; i++) {
        struct change *c = &m->changes[i];
        if (c->in_options != in_options || !(c->means ? is_spelling_in(m->api, c->means, name) : sv_eq(name, c->name)))
            continue;
        c->seen = true;
        if (c->forced || peek_is_null(value))
            add_splice(m, value.p, value.n, c->value);
        return;
    }
}

/* Another object begins: nothing of it was seen. */
static void begin_object(struct amend *m, bool in_options) {
    for (unsigned i = 0; i < m->n_changes; i++)
        if (m->changes[i].in_options == in_options)
            m->changes[i].seen = false;
}

static void amend_object(struct amend *m, struct sv object, bool in_options);

/* Each of them if there are several: no reader shall find one that was left out. */
static void amend_options(struct amend *m, struct sv value) {
    m->has_options = true;
    if (peek_is_object(value)) {
        amend_object(m, value, true);
    } else if (peek_is_null(value)) {
        begin_object(m, true);
        struct sv text = missing(m, true, true);
        if (text.n)
            add_splice(m, value.p, value.n, glue(m, SV("{"), text, SV("}")));
    }
}

/* What is missing goes to the end: where two readers differ about members that stand twice, most take the last. */
static void amend_object(struct amend *m, struct sv object, bool in_options) {
    struct peek c;
    struct sv name, value;
    bool empty = true;
    if (!peek_open(&c, object, '{'))
        return;
    begin_object(m, in_options);
    for (; peek_member(&c, &name, &value); empty = false) {
        name = plain_name(m, name);
        if (!in_options && (m->api & OLLAMAS) && sv_eq(name, SV("options")))
            amend_options(m, value);
        else
            amend_member(m, name, value, in_options);
    }
    struct sv text = missing(m, in_options, empty);
    if (!in_options && !m->has_options) {
        struct sv options = missing(m, true, true);
        if (options.n)
            text = glue(m, text, SV(",\"options\":{"), glue(m, options, SV("}"), SV("")));
    }
    if (text.n && !c.bad)
        add_splice(m, c.p, 0, text); /* the walk stands on the closing brace */
}

struct splice *amend_body(struct arena *a, enum llm_api api, struct sv body, struct sv defaults, struct sv forced, unsigned *ret_n) {
    enum { ROOM = 16 };
    struct amend m = { .arena = a, .api = OF(api), .body = body, .room = ROOM, .splices = ARENA_ARRAY(a, struct splice, ROOM) };
    m.failed = !m.splices;
    add_settings(&m, defaults, false);
    add_settings(&m, forced, true);
    if (m.n_changes && !m.failed)
        amend_object(&m, body, false);
    *ret_n = m.n;
    return m.failed ? NULL : m.splices;
}
