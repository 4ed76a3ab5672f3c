/* gateway/hide.c - opaque names, kept up in what a runtime answers (slugs: opaque).
 *
 * Nothing of a runtime's answer goes on as it came: of its header only fields that name nothing, of its JSON all but the
 * members that name models and hosts, printed anew, of an event stream only such JSON. What cannot be read cannot be cleaned
 * and is not passed. What the model itself said, and what the client sent to be repeated, stays as it is. */
#include "gateway/exchange.h"

#include "base/json.h"

enum { DEPTH_MAX = 200 }; /* open brackets of an answer */

bool hide__is_on(const struct exchange *x) {
    return x->config->slugs == CONFIG_SLUGS_OPAQUE && x->sched.taken && !(x->route->flags & LLM_R_MANAGE);
}

static bool is_one_of(struct sv name, const char *const *list, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (sv_eq(name, sv_of(list[i])))
            return true;
    return false;
}

#define IS_ONE_OF(name, list) is_one_of(name, list, sizeof list / sizeof list[0])

bool hide__header_goes_on(struct sv name) {
    static const char *const plain[] = { "cache-control", "content-encoding", "content-type", "date", "retry-after", "retry-after-ms",
                                         "x-should-retry" };
    return IS_ONE_OF(name, plain);
}

bool hide__may_pass(const struct exchange *x) {
    struct sv type = http_get(x->reply, SV("content-type"));
    bool transcript = x->route->api == LLM_TRANSCRIPTIONS || x->route->api == LLM_TRANSLATIONS;
    return x->reply->status < 400 &&
           (sv_starts_nocase(type, SV("audio/")) || sv_starts_nocase(type, SV("image/")) || sv_starts_nocase(type, SV("video/")) ||
            sv_starts_nocase(type, SV("application/octet-stream")) || (transcript && sv_starts_nocase(type, SV("text/"))));
}

/* --- JSON --------------------------------------------------------------------------------------------------------- */

/* Members that name the model that answers: they get the name the client knows. */
static const char *const named[] = { "model", "model_id", "model_instance_id", "model_key", "model_name" };

/* Members that name other models, files or hosts. */
static const char *const dropped[] = { "__verbose", "_hidden_params", "api_base", "draft_model", "draft_model_instance_id",
                                       "general.basename", "general.name", "kv_transfer_params", "model_file", "model_path",
                                       "modelfile", "parent_model", "provider", "remote_host", "remote_model" };

/* Members below which names mean something else: what a tool is called with, what the client sent. */
static const char *const repeated[] = { "arguments", "document", "format", "input", "input_schema", "metadata", "parameters",
                                        "response_format", "schema", "tools" };

struct cleaning {
    struct buf *out;
    struct sv shown;
    unsigned depth;
    bool without_usage; /* at the top */
};

static bool print(struct cleaning *c, yyjson_val *v, bool clean);

static bool print_members(struct cleaning *c, yyjson_val *object, bool clean) {
    size_t i, n;
    yyjson_val *key, *v;
    bool ok = buf_add_char(c->out, '{'), any = false;
    yyjson_obj_foreach(object, i, n, key, v) {
        struct sv name = json_sv(key);
        if (clean && (IS_ONE_OF(name, dropped) || (c->without_usage && c->depth == 1 && sv_eq(name, SV("usage")))))
            continue;
        ok = ok && (!any || buf_add_char(c->out, ',')) && buf_add_json(c->out, name) && buf_add_char(c->out, ':');
        any = true;
        if (clean && yyjson_is_str(v) && IS_ONE_OF(name, named))
            ok = ok && buf_add_json(c->out, c->shown);
        else
            ok = ok && print(c, v, clean && !IS_ONE_OF(name, repeated));
    }
    return ok && buf_add_char(c->out, '}');
}

static bool print_elements(struct cleaning *c, yyjson_val *array, bool clean) {
    size_t i, n;
    yyjson_val *v;
    bool ok = buf_add_char(c->out, '[');
    yyjson_arr_foreach(array, i, n, v)
        ok = ok && (!i || buf_add_char(c->out, ',')) && print(c, v, clean);
    return ok && buf_add_char(c->out, ']');
}

static bool print(struct cleaning *c, yyjson_val *v, bool clean) {
    switch (yyjson_get_type(v)) {
    case YYJSON_TYPE_STR: return buf_add_json(c->out, json_sv(v));
    case YYJSON_TYPE_RAW: return buf_add(c->out, (struct sv){ yyjson_get_raw(v), yyjson_get_len(v) });
    case YYJSON_TYPE_BOOL: return buf_add(c->out, yyjson_is_true(v) ? SV("true") : SV("false"));
    case YYJSON_TYPE_NUM:
        return yyjson_is_real(v)   ? buf_printf(c->out, "%.17g", yyjson_get_real(v))
               : yyjson_is_sint(v) ? buf_printf(c->out, "%lld", (long long)yyjson_get_sint(v))
                                   : buf_add_u64(c->out, yyjson_get_uint(v));
    case YYJSON_TYPE_OBJ:
    case YYJSON_TYPE_ARR: {
        bool ok = ++c->depth <= DEPTH_MAX && (yyjson_is_obj(v) ? print_members(c, v, clean) : print_elements(c, v, clean));
        c->depth--;
        return ok;
    }
    default: return buf_add(c->out, SV("null"));
    }
}

/* Numbers stay as they were written, but in a text that had to be mended. */
static yyjson_doc *parse(struct sv text) {
    bool mended;
    yyjson_doc *doc = json_parse_raw(text);
    return doc ? doc : json_parse_foreign(text, &mended);
}

bool hide__json(const struct exchange *x, struct sv json, bool without_usage, struct buf *out, struct err *e) {
    CLEANUP(json_doc_freep) yyjson_doc *doc = parse(json);
    struct cleaning c = { out, x->sched.slug->name, 0, without_usage };
    if (!doc)
        return err_set(e, ERR_BAD_REPLY, "the runtime's answer is no JSON and cannot be shown under an opaque name");
    if (print(&c, yyjson_doc_get_root(doc), true))
        return true;
    return out->failed ? err_no_memory(e) : err_set(e, ERR_BAD_REPLY, "the runtime's answer is nested too deeply");
}

bool hide__event(const struct exchange *x, const struct event *ev, bool without_usage, struct buf *out, struct err *e) {
    CLEANUP(json_doc_freep) yyjson_doc *doc = ev->name.n ? parse(ev->data) : NULL;
    bool sse = x->events.kind == EVENTS_SSE, known = doc && sv_eq(json_str(yyjson_doc_get_root(doc), "type"), ev->name);
    size_t was = out->n;
    if (known) {
        buf_add(out, SV("event: "));
        buf_add(out, ev->name);
        buf_add_char(out, '\n');
    }
    if (sse)
        buf_add(out, SV("data: "));
    bool ok = sv_eq(ev->data, SV("[DONE]")) ? buf_add(out, ev->data) : hide__json(x, ev->data, without_usage, out, e);
    buf_add(out, sse ? SV("\n\n") : SV("\n"));
    if (ok && out->failed)
        ok = err_no_memory(e);
    if (!ok)
        out->n = was; /* no half event */
    return ok;
}

/* --- words -------------------------------------------------------------------------------------------------------- */

static bool is_word(char c) {
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '_' || c == '-';
}

/* Whether text, which begins at `at` of all, begins with the word. */
static bool stands_at(struct sv all, size_t at, struct sv word) {
    struct sv rest = sv_from(all, at), behind = sv_from(rest, word.n);
    if (!word.n || !sv_starts_nocase(rest, word) || (at && is_word(all.p[at - 1])))
        return false;
    bool dotted = behind.n > 1 && behind.p[0] == '.' && is_word(behind.p[1]);
    return !behind.n || !(is_word(behind.p[0]) || dotted);
}

/* An id and the shorter forms in which runtimes speak of it: a file without its folders and ending, a model without its tag. */
enum { FORMS = 4 };
static void forms_of(struct sv id, struct sv out[static FORMS]) {
    ptrdiff_t slash = sv_rfind_char(id, '/'), back = sv_rfind_char(id, '\\');
    struct sv name = sv_from(id, (size_t)((slash > back ? slash : back) + 1)), bare = name;
    ptrdiff_t tag = sv_rfind_char(name, ':');
    if (tag > 0)
        bare = sv_first(name, (size_t)tag);
    else if (sv_ends(name, SV(".gguf")))
        bare.n -= 5;
    out[0] = id;
    out[1] = slash >= 0 && tag > 0 ? sv_first(id, id.n - name.n + (size_t)tag) : SV_NULL;
    out[2] = name;
    out[3] = bare;
}

void hide__words(const struct exchange *x, struct err *e) {
    if (!hide__is_on(x))
        return;
    struct sv forms[FORMS], text = sv_of(e->text), name = sv_first(x->sched.slug->name, 64);
    struct err out = { .code = e->code, .limit = e->limit, .retry_after_s = e->retry_after_s };
    struct buf to = { .p = out.text, .base = out.text, .cap = sizeof out.text - 1, .max = sizeof out.text - 1 };
    forms_of(x->sched.taken->model->id, forms);
    for (size_t at = 0; at < text.n;) {
        size_t i = 0;
        while (i < FORMS && !((i == 0 || forms[i].n > 1) && stands_at(text, at, forms[i])))
            i++;
        if (!buf_add(&to, i < FORMS ? name : sv_first(sv_from(text, at), 1)))
            break;
        at += i < FORMS ? forms[i].n : 1;
    }
    out.text[to.n] = '\0';
    *e = out;
}
