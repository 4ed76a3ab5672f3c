/* translate/chat.c - OpenAI chat completions, the request: reading one of a client, printing one for a runtime.
 * Members: the reference on API dialects, section 2. LM Studio's /api/v0 has the same form. */
#include <math.h>
#include <stddef.h>

#include "llm/print.h"
#include "translate/canon.h"
#include "translate/openai.h"

#define AT(field) offsetof(struct canon_request, field)

/* --- reading: messages -------------------------------------------------------------------------------------------- */

/* Text that may be a string or an array of text parts. */
static bool read_texts(struct canon_request *rq, struct canon_parts *to, yyjson_val *content, const char *where) {
    size_t i, n;
    yyjson_val *one;
    struct canon_part *p;
    if (!content || yyjson_is_null(content))
        return true;
    if (yyjson_is_str(content)) {
        p = canon_part(rq, to, CANON_TEXT, 0);
        if (p)
            p->text = json_sv(content);
        return p;
    }
    if (!yyjson_is_arr(content))
        return canon_bad(rq, "%s.content must be a string or an array of parts", where);
    yyjson_arr_foreach(content, i, n, one) {
        struct sv type = json_str(one, "type"), text = json_str(one, type.n && sv_eq(type, SV("refusal")) ? "refusal" : "text");
        if (!yyjson_is_obj(one) || !(sv_eq(type, SV("text")) || sv_eq(type, SV("refusal"))))
            return canon_bad(rq, "%s.content[%zu].type is \"%.*s\"; only text can stand here", where, i, SV_FMT(sv_first(type, 40)));
        if (!text.p)
            return canon_bad(rq, "%s.content[%zu].text must be a string", where, i);
        p = canon_part(rq, to, sv_eq(type, SV("refusal")) ? CANON_REFUSAL : CANON_TEXT, (uint32_t)i);
        if (!p)
            return false;
        p->text = text;
        if (!canon_known(rq, one, "content", CANON_NAMES("type", "text", "refusal")))
            return false;
    }
    return true;
}

static bool read_image(struct canon_request *rq, struct canon_part *p, yyjson_val *part, const char *where) {
    yyjson_val *image = json_get(part, "image_url");
    struct sv url = yyjson_is_str(image) ? json_sv(image) : json_str(image, "url");
    if (!url.p)
        return canon_bad(rq, "%s.image_url.url must be a string", where);
    p->detail = json_str(image, "detail");
    return canon_link(rq, p, url, canon_text(rq, "%s.image_url.url", where));
}

static bool read_file(struct canon_request *rq, struct canon_part *p, yyjson_val *part, const char *where) {
    yyjson_val *file = json_get(part, "file");
    struct sv data = json_str(file, "file_data");
    p->title = json_str(file, "filename");
    p->file_id = json_str(file, "file_id");
    if (!data.p && !p->file_id.p)
        return canon_bad(rq, "%s.file needs file_data or file_id", where);
    return !data.p || canon_link(rq, p, data, canon_text(rq, "%s.file.file_data", where));
}

static bool read_audio(struct canon_request *rq, struct canon_part *p, yyjson_val *part, const char *where) {
    yyjson_val *audio = json_get(part, "input_audio");
    p->data = json_str(audio, "data");
    p->mime = json_str(audio, "format");
    return (p->data.n && p->mime.n) || canon_bad(rq, "%s.input_audio needs data and format", where);
}

static bool read_part(struct canon_request *rq, struct canon_message *m, yyjson_val *part, uint32_t i) {
    static const struct {
        const char *type;
        enum canon_part_kind kind;
        bool (*read)(struct canon_request *, struct canon_part *, yyjson_val *, const char *);
    } kinds[] = {
        { "image_url", CANON_IMAGE, read_image },
        { "input_audio", CANON_AUDIO, read_audio },
        { "file", CANON_DOCUMENT, read_file },
    };
    struct sv type = json_str(part, "type");
    struct canon_part *p;
    if (!yyjson_is_obj(part))
        return canon_bad(rq, "messages[%u].content[%u] must be an object", m->index, i);
    if (sv_eq(type, SV("text"))) {
        struct sv text = json_str(part, "text");
        if (!text.p)
            return canon_bad(rq, "messages[%u].content[%u].text must be a string", m->index, i);
        p = canon_part(rq, &m->parts, CANON_TEXT, i);
        if (p)
            p->text = text;
    } else {
        size_t k = 0, n_kinds = sizeof kinds / sizeof kinds[0];
        while (k < n_kinds && !sv_eq(type, sv_of(kinds[k].type)))
            k++;
        if (k == n_kinds)
            return canon_cannot(rq, "messages[%u].content[%u].type \"%.*s\" is not known", m->index, i, SV_FMT(sv_first(type, 40)));
        p = canon_part(rq, &m->parts, kinds[k].kind, i);
        if (p && !kinds[k].read(rq, p, part, canon_where(rq, m, p)))
            return false;
    }
    return p && canon_known(rq, part, "content", CANON_NAMES("type", "text", "refusal", "image_url", "input_audio", "file"));
}

static bool read_user(struct canon_request *rq, struct canon_message *m, yyjson_val *content) {
    size_t i, n;
    yyjson_val *part;
    if (!content || yyjson_is_null(content))
        return canon_bad(rq, "messages[%u].content is missing", m->index);
    if (!yyjson_is_arr(content))
        return read_texts(rq, &m->parts, content, canon_where(rq, m, NULL));
    yyjson_arr_foreach(content, i, n, part)
        if (!read_part(rq, m, part, (uint32_t)i))
            return false;
    return true;
}

static bool read_calls(struct canon_request *rq, struct canon_message *m, yyjson_val *calls) {
    size_t i, n;
    yyjson_val *one;
    if (calls && !yyjson_is_null(calls) && !yyjson_is_arr(calls))
        return canon_bad(rq, "messages[%u].tool_calls must be an array", m->index);
    yyjson_arr_foreach(calls, i, n, one) {
        bool custom = sv_eq(json_str(one, "type"), SV("custom"));
        yyjson_val *what = json_get(one, custom ? "custom" : "function");
        yyjson_val *args = json_get(what, custom ? "input" : "arguments");
        struct canon_call *c = canon_call(rq, m);
        if (!c)
            return false;
        *c = (struct canon_call){ .id = json_str(one, "id"), .name = json_str(what, "name"), .args = json_sv(args), .is_custom = custom };
        if (c->name.n == 0)
            return canon_bad(rq, "messages[%u].tool_calls[%zu].%s.name must be a string", m->index, i, custom ? "custom" : "function");
        if (yyjson_is_obj(args))
            c->args = canon_json(rq, args);
        else if (args && !yyjson_is_str(args) && !yyjson_is_null(args))
            return canon_bad(rq, "messages[%u].tool_calls[%zu].function.arguments must be a string", m->index, i);
    }
    return true;
}

static bool read_assistant(struct canon_request *rq, struct canon_message *m, yyjson_val *v) {
    struct sv thought = json_str(v, "reasoning_content"), refusal = json_str(v, "refusal");
    yyjson_val *function = json_get(v, "function_call");
    if (!thought.n)
        thought = json_str(v, "reasoning");
    if (thought.n) {
        struct canon_reasoning *r = canon_reasoning(rq, m);
        if (!r)
            return false;
        r->text = thought;
    }
    if (refusal.n) {
        struct canon_part *p = canon_part(rq, &m->parts, CANON_REFUSAL, 0);
        if (!p)
            return false;
        p->text = refusal;
    }
    if (yyjson_is_obj(function)) {
        struct canon_call *c = canon_call(rq, m);
        if (!c)
            return false;
        *c = (struct canon_call){ .name = json_str(function, "name"), .args = json_str(function, "arguments") };
        if (c->name.n == 0)
            return canon_bad(rq, "messages[%u].function_call.name must be a string", m->index);
    }
    if (json_get(v, "audio") && !canon_lose(rq, CANON_LOSS, "messages[%u].audio", m->index))
        return false;
    return read_texts(rq, &m->parts, json_get(v, "content"), canon_where(rq, m, NULL)) && read_calls(rq, m, json_get(v, "tool_calls"));
}

static bool read_message(struct canon_request *rq, yyjson_val *v, uint32_t i, bool *leading) {
    struct sv role = json_str(v, "role");
    struct canon_message *m;
    if (!yyjson_is_obj(v))
        return canon_bad(rq, "messages[%u] must be an object", i);
    if (json_get(v, "name") && !sv_eq(role, SV("function")) && !sv_eq(role, SV("tool")) && !canon_lose(rq, CANON_HINT, "messages.name"))
        return false;
    if (!canon_known(rq, v, "messages", CANON_NAMES("role", "content", "name", "refusal", "reasoning_content", "reasoning", "audio", "tool_calls",
                                                    "function_call", "tool_call_id")))
        return false;
    if (sv_eq(role, SV("system")) || sv_eq(role, SV("developer"))) {
        if (*leading)
            return read_texts(rq, &rq->system, json_get(v, "content"), canon_text(rq, "messages[%u]", i));
        m = canon_message(rq, CANON_SYSTEM, i);
        return m && read_texts(rq, &m->parts, json_get(v, "content"), canon_where(rq, m, NULL));
    }
    *leading = false;
    if (sv_eq(role, SV("user"))) {
        m = canon_message(rq, CANON_USER, i);
        return m && read_user(rq, m, json_get(v, "content"));
    }
    if (sv_eq(role, SV("assistant"))) {
        m = canon_message(rq, CANON_ASSISTANT, i);
        return m && read_assistant(rq, m, v);
    }
    if (sv_eq(role, SV("tool")) || sv_eq(role, SV("function"))) {
        m = canon_message(rq, CANON_TOOL, i);
        if (!m)
            return false;
        m->call_id = json_str(v, "tool_call_id");
        m->tool_name = json_str(v, "name");
        if (sv_eq(role, SV("tool")) && !m->call_id.n)
            return canon_bad(rq, "messages[%u].tool_call_id must be a string", i);
        return read_texts(rq, &m->parts, json_get(v, "content"), canon_where(rq, m, NULL));
    }
    return canon_bad(rq, "messages[%u].role is \"%.*s\"; it must be system, developer, user, assistant or tool", i,
                     SV_FMT(sv_first(role, 40)));
}

static bool read_messages(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    size_t i, n;
    yyjson_val *one;
    bool leading = true;
    if (!yyjson_is_arr(v) || yyjson_arr_size(v) == 0)
        return canon_bad(rq, "\"%s\" must be an array of at least one message", row->name);
    yyjson_arr_foreach(v, i, n, one)
        if (!read_message(rq, one, (uint32_t)i, &leading))
            return false;
    return true;
}

/* --- reading: tools and the rest ---------------------------------------------------------------------------------- */

static bool read_tool(struct canon_request *rq, yyjson_val *what, const char *where, bool custom) {
    struct canon_tool *t = canon_tool(rq);
    yyjson_val *schema = json_get(what, "parameters"), *strict = json_get(what, "strict");
    if (!t)
        return false;
    t->name = json_str(what, "name");
    t->description = json_str(what, "description");
    t->is_custom = custom;
    if (t->name.n == 0)
        return canon_bad(rq, "%s.name must be a string", where);
    if (schema && !yyjson_is_null(schema) && !yyjson_is_obj(schema))
        return canon_bad(rq, "%s.parameters must be an object", where);
    t->schema = yyjson_is_obj(schema) ? schema : NULL;
    if (yyjson_is_bool(strict))
        t->strict = yyjson_get_bool(strict) ? CANON_YES : CANON_NO;
    return !json_get(what, "format") || !custom || canon_lose(rq, CANON_LOSS, "%s.format", where);
}

static bool read_tools(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    size_t i, n;
    yyjson_val *one;
    if (!yyjson_is_arr(v))
        return canon_bad(rq, "\"%s\" must be an array", row->name);
    yyjson_arr_foreach(v, i, n, one) {
        struct sv type = json_str(one, "type");
        bool custom = sv_eq(type, SV("custom"));
        if (!yyjson_is_obj(one))
            return canon_bad(rq, "tools[%zu] must be an object", i);
        if (!custom && !sv_eq(type, SV("function")))
            return canon_cannot(rq, "tools[%zu].type \"%.*s\" is not available on this model's runtime", i, SV_FMT(sv_first(type, 40)));
        const char *member = custom ? "custom" : "function";
        if (!yyjson_is_obj(json_get(one, member)))
            return canon_bad(rq, "tools[%zu].%s must be an object", i, member);
        if (!read_tool(rq, json_get(one, member), canon_text(rq, "tools[%zu].%s", i, member), custom))
            return false;
    }
    return true;
}

static bool read_functions(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    size_t i, n;
    yyjson_val *one;
    rq->deprecated_functions = true;
    if (!yyjson_is_arr(v))
        return canon_bad(rq, "\"%s\" must be an array", row->name);
    yyjson_arr_foreach(v, i, n, one)
        if (!read_tool(rq, one, canon_text(rq, "functions[%zu]", i), false))
            return false;
    return true;
}

/* After all other members: it refers to the tools. */
static bool read_choice(struct canon_request *rq, yyjson_val *v) {
    struct sv word = json_sv(v), type = json_str(v, "type");
    yyjson_val *allowed = json_get(v, "allowed_tools");
    if (!v || yyjson_is_null(v))
        return true;
    if (allowed) {
        word = json_str(allowed, "mode");
        if (!canon_keep_tools(rq, json_get(allowed, "tools")))
            return false;
    }
    if (sv_eq(word, SV("auto")))
        rq->choice = CANON_CHOICE_AUTO;
    else if (sv_eq(word, SV("none")))
        rq->choice = CANON_CHOICE_NONE;
    else if (sv_eq(word, SV("required")))
        rq->choice = CANON_CHOICE_REQUIRED;
    else if (sv_eq(type, SV("function")) || sv_eq(type, SV("custom")))
        rq->choice = CANON_CHOICE_NAMED;
    else
        return canon_bad(rq, "\"tool_choice\" must be \"none\", \"auto\", \"required\" or an object that names a function");
    if (rq->choice == CANON_CHOICE_NAMED) {
        rq->choice_name = json_str(json_get(v, sv_eq(type, SV("custom")) ? "custom" : "function"), "name");
        if (!rq->choice_name.n)
            return canon_bad(rq, "tool_choice.function.name must be a string");
    }
    return true;
}

static bool read_function_choice(struct canon_request *rq, yyjson_val *v) {
    if (!v || yyjson_is_null(v))
        return true;
    if (yyjson_is_str(v))
        return read_choice(rq, v);
    rq->choice = CANON_CHOICE_NAMED;
    rq->choice_name = json_str(v, "name");
    return rq->choice_name.n || canon_bad(rq, "function_call.name must be a string");
}

static bool read_format(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    struct sv type = json_str(v, "type");
    yyjson_val *inner = json_get(v, "json_schema"), *strict = json_get(inner, "strict");
    if (sv_eq(type, SV("text")))
        return true;
    if (sv_eq(type, SV("json_object"))) {
        rq->format = CANON_FORMAT_JSON;
        rq->schema = json_get(v, "schema"); /* llama.cpp's habit */
        if (yyjson_is_obj(rq->schema))
            rq->format = CANON_FORMAT_SCHEMA;
        return true;
    }
    if (!sv_eq(type, SV("json_schema")))
        return canon_bad(rq, "%s.type is \"%.*s\"; it must be text, json_object or json_schema", row->name, SV_FMT(sv_first(type, 40)));
    rq->format = CANON_FORMAT_SCHEMA;
    rq->format_name = json_str(inner, "name");
    rq->schema = json_get(inner, "schema");
    if (yyjson_is_bool(strict))
        rq->format_strict = yyjson_get_bool(strict) ? CANON_YES : CANON_NO;
    if (canon_has(inner, "description") && !canon_lose(rq, CANON_HINT, "%s.json_schema.description", row->name))
        return false;
    return yyjson_is_obj(rq->schema) || canon_bad(rq, "%s.json_schema.schema must be an object", row->name);
}

static bool read_effort(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    struct sv word = json_sv(v);
    if (sv_eq(word, SV("none"))) {
        rq->think = CANON_NO;
        return true;
    }
    rq->think = CANON_YES;
    return canon_effort_parse(word, &rq->effort) ||
           canon_bad(rq, "\"%s\" must be none, minimal, low, medium, high, xhigh or max", row->name);
}

static bool read_stream_options(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    (void)row;
    rq->wants_usage = json_bool(v, "include_usage", false);
    return true;
}

static bool read_n(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    double n = yyjson_is_num(v) ? yyjson_get_num(v) : 0;
    if (n < 1 || n != floor(n))
        return canon_bad(rq, "\"%s\" must be an integer of at least 1", row->name);
    return n == 1 ||
           canon_cannot(rq, "\"%s\" greater than 1 is not supported when the request is translated for this model's runtime", row->name);
}

static bool read_modalities(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    size_t i, n;
    yyjson_val *one;
    yyjson_arr_foreach(v, i, n, one)
        if (!sv_eq(json_sv(one), SV("text")))
            return canon_cannot(rq, "\"%s\" other than text cannot be translated for this model's runtime", row->name);
    return true;
}

static bool refuse(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    (void)v;
    return canon_cannot(rq, "\"%s\" is not available on this model's runtime", row->name);
}

/* The first of the keys for one user or conversation. */
static bool read_user_key(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    if (!rq->user_key.n)
        rq->user_key = json_sv(v);
    return canon_lose(rq, CANON_HINT, "%s", row->name);
}

static const struct canon_row rows[] = {
    { "model", canon_row_skip, 0 },
    { "messages", read_messages, 0 },
    { "stream", canon_row_flag, AT(stream) },
    { "stream_options", read_stream_options, 0 },
    CANON_SAMPLING_ROWS,
    { "max_tokens", canon_row_skip, 0 },
    { "max_completion_tokens", canon_row_skip, 0 },
    { "stop", canon_row_stop, 0 },
    { "tools", read_tools, 0 },
    { "tool_choice", canon_row_skip, 0 },
    { "parallel_tool_calls", canon_row_tri, AT(parallel) },
    { "response_format", read_format, 0 },
    { "reasoning_effort", read_effort, 0 },
    { "repetition_penalty", canon_row_number, AT(repeat_penalty) },
    { "logit_bias", canon_row_object, AT(logit_bias) },
    { "logprobs", canon_row_flag, AT(logprobs) },
    { "top_logprobs", canon_row_int, AT(top_logprobs) },
    { "n", read_n, 0 },
    { "functions", read_functions, 0 },
    { "function_call", canon_row_skip, 0 },
    { "modalities", read_modalities, 0 },
    { "audio", refuse, 0 },
    { "web_search_options", refuse, 0 },
    { "prompt_cache_key", read_user_key, 0 },
    { "safety_identifier", read_user_key, 0 },
    { "user", read_user_key, 0 },
    { "metadata", canon_row_hint, 0 },
    { "store", canon_row_hint, 0 },
    { "service_tier", canon_row_hint, 0 },
    { "prompt_cache_retention", canon_row_hint, 0 },
    { "prompt_cache_options", canon_row_hint, 0 },
    { "moderation", canon_row_hint, 0 },
    { "prediction", canon_row_hint, 0 },
    { "verbosity", canon_row_loss, 0 },
    { 0 },
};

bool chat_read(struct canon_request *rq, yyjson_val *body) {
    static const struct canon_row limits[] = { { "max_tokens", NULL, AT(max_output) }, { "max_completion_tokens", NULL, AT(max_output) } };
    yyjson_val *old = json_get(body, "max_tokens"), *now = json_get(body, "max_completion_tokens");
    rq->list = "messages";
    if (!canon_has(body, "messages"))
        return canon_bad(rq, "\"messages\" is missing");
    if (old && !yyjson_is_null(old) && !canon_row_limit(rq, &limits[0], old))
        return false;
    if (now && !yyjson_is_null(now) && !canon_row_limit(rq, &limits[1], now))
        return false;
    return canon_members(rq, body, rows, true) && read_choice(rq, json_get(body, "tool_choice")) &&
           read_function_choice(rq, json_get(body, "function_call"));
}

/* --- printing ----------------------------------------------------------------------------------------------------- */

static bool has_only_text(const struct canon_parts *parts) {
    for (const struct canon_part *p = parts->first; p; p = p->next)
        if (p->kind != CANON_TEXT && p->kind != CANON_REFUSAL && !(p->kind == CANON_DOCUMENT && p->text.n))
            return false;
    return true;
}

static bool print_part(struct canon_request *rq, struct print *p, const struct canon_message *m, const struct canon_part *part) {
    switch (part->kind) {
    case CANON_TEXT:
    case CANON_REFUSAL:
        if (!part->text.n)
            return true;
        print_open(p, NULL, '{');
        print_str(p, "type", SV("text"));
        print_str(p, "text", part->text);
        break;
    case CANON_IMAGE:
        if (part->file_id.n)
            return canon_cannot(rq, "%s refers to a file stored elsewhere (file_id); send the image itself", canon_where(rq, m, part));
        if (!part->data.p && !(rq->spec->quirks & TRANSLATE_Q_FETCHES))
            return canon_cannot(rq, "%s is a link, and this model's runtime does not fetch links; send the image as base64",
                                canon_where(rq, m, part));
        print_open(p, NULL, '{');
        print_str(p, "type", SV("image_url"));
        print_open(p, "image_url", '{');
        canon_print_link(p, "url", part);
        if (part->detail.n)
            print_str(p, "detail", part->detail);
        print_close(p, '}');
        break;
    case CANON_AUDIO:
        print_open(p, NULL, '{');
        print_str(p, "type", SV("input_audio"));
        print_open(p, "input_audio", '{');
        print_str(p, "data", part->data);
        print_str(p, "format", part->mime);
        print_close(p, '}');
        break;
    case CANON_DOCUMENT:
        if (!part->text.n)
            return canon_cannot(rq, "%s is a document that is not text; this model's runtime takes text and images only",
                                canon_where(rq, m, part));
        print_open(p, NULL, '{');
        print_str(p, "type", SV("text"));
        print_str(p, "text", part->title.n ? sv_of(canon_text(rq, "%.*s:", SV_FMT(sv_first(part->title, 200)))) : part->text);
        if (part->title.n) {
            print_close(p, '}');
            print_open(p, NULL, '{');
            print_str(p, "type", SV("text"));
            print_str(p, "text", part->text);
        }
        break;
    }
    print_close(p, '}');
    return true;
}

static bool print_content(struct canon_request *rq, struct print *p, const struct canon_message *m) {
    if (has_only_text(&m->parts)) {
        print_str(p, "content", canon_join(rq, &m->parts, m->role == CANON_ASSISTANT ? "" : "\n\n"));
        return true;
    }
    print_open(p, "content", '[');
    for (const struct canon_part *part = m->parts.first; part; part = part->next)
        if (!print_part(rq, p, m, part))
            return false;
    print_close(p, ']');
    return true;
}

static bool print_assistant(struct canon_request *rq, struct print *p, const struct canon_message *m) {
    if (m->parts.first || !m->calls) {
        if (!print_content(rq, p, m))
            return false;
    } else {
        canon_print_raw(p, "content", SV("null"));
    }
    struct sv thoughts = canon_thoughts(rq, m);
    if (thoughts.n)
        print_str(p, rq->spec->quirks & TRANSLATE_Q_REASONING ? "reasoning" : "reasoning_content", thoughts);
    if (!m->calls)
        return true;
    print_open(p, "tool_calls", '[');
    for (const struct canon_call *c = m->calls; c; c = c->next) {
        print_open(p, NULL, '{');
        print_str(p, "id", c->id);
        print_str(p, "type", SV("function"));
        print_open(p, "function", '{');
        print_str(p, "name", c->name);
        canon_print_args_text(rq, p, "arguments", c);
        print_close(p, '}');
        print_close(p, '}');
    }
    print_close(p, ']');
    return true;
}

/* Tool messages hold text alone: pictures follow as a message of the user. */
static bool print_result(struct canon_request *rq, struct print *p, const struct canon_message *m) {
    struct sv text = canon_join(rq, &m->parts, "\n");
    if (m->is_error && !canon_mark_error(rq, &text))
        return false;
    if (!has_only_text(&m->parts) && text.n == 0)
        text = SV("[attached below]");
    print_str(p, "tool_call_id", m->call_id);
    print_str(p, "content", text);
    return true;
}

static bool print_attached(struct canon_request *rq, struct print *p, const struct canon_message *first, const struct canon_message *end) {
    bool open = false;
    for (const struct canon_message *m = first; m != end; m = m->next) {
        for (const struct canon_part *part = m->parts.first; part; part = part->next) {
            if (part->text.n || part->kind == CANON_TEXT || part->kind == CANON_REFUSAL)
                continue; /* stands in the result itself */
            if (!open) {
                if (!canon_lose(rq, CANON_LOSS, "tool_result.image"))
                    return false;
                print_open(p, NULL, '{');
                print_str(p, "role", SV("user"));
                print_open(p, "content", '[');
                open = true;
            }
            if (!print_part(rq, p, m, part))
                return false;
        }
    }
    if (open) {
        print_close(p, ']');
        print_close(p, '}');
    }
    return true;
}

static bool print_message(struct canon_request *rq, struct print *p, const struct canon_message *m) {
    static const char *const roles[] = { [CANON_SYSTEM] = "system", [CANON_USER] = "user", [CANON_ASSISTANT] = "assistant", [CANON_TOOL] = "tool" };
    bool ok = true;
    print_open(p, NULL, '{');
    if (m->role == CANON_SYSTEM) { /* many templates take none but the first */
        print_str(p, "role", SV("user"));
        print_str(p, "content", canon_system_marked(rq, m));
        ok = rq->fault->code == ERR_NONE;
    } else {
        print_str(p, "role", sv_of(roles[m->role]));
        ok = m->role == CANON_TOOL        ? print_result(rq, p, m)
             : m->role == CANON_ASSISTANT ? print_assistant(rq, p, m)
                                          : print_content(rq, p, m);
    }
    print_close(p, '}');
    return ok;
}

static bool print_messages(struct canon_request *rq, struct print *p) {
    const struct canon_message *results = NULL;
    print_open(p, "messages", '[');
    if (rq->system.first) {
        print_open(p, NULL, '{');
        print_str(p, "role", SV("system"));
        print_str(p, "content", canon_join(rq, &rq->system, "\n\n"));
        print_close(p, '}');
    }
    for (const struct canon_message *m = rq->messages; m; m = m->next) {
        if (m->role == CANON_TOOL && !results)
            results = m;
        if (m->role != CANON_TOOL && results) {
            if (!print_attached(rq, p, results, m))
                return false;
            results = NULL;
        }
        if (!print_message(rq, p, m))
            return false;
    }
    if (results && !print_attached(rq, p, results, NULL))
        return false;
    print_close(p, ']');
    return true;
}

static void print_tools(struct canon_request *rq, struct print *p) {
    print_open(p, "tools", '[');
    for (const struct canon_tool *t = rq->tools; t; t = t->next) {
        bool other = rq->choice == CANON_CHOICE_NAMED && (rq->spec->quirks & TRANSLATE_Q_CHOICE_WORDS) && !sv_eq(t->name, rq->choice_name);
        if (other)
            continue; /* the choice is told by leaving the others out */
        print_open(p, NULL, '{');
        print_str(p, "type", SV("function"));
        print_open(p, "function", '{');
        print_str(p, "name", t->name);
        if (t->description.n)
            print_str(p, "description", t->description);
        canon_print_schema(p, "parameters", t);
        if (t->strict != CANON_UNSET && !t->is_custom)
            print_bool(p, "strict", t->strict == CANON_YES);
        print_close(p, '}');
        print_close(p, '}');
    }
    print_close(p, ']');
}

static void print_choice(struct canon_request *rq, struct print *p) {
    static const char *const words[] = { [CANON_CHOICE_AUTO] = "auto", [CANON_CHOICE_NONE] = "none", [CANON_CHOICE_REQUIRED] = "required" };
    if (rq->choice == CANON_CHOICE_UNSET)
        return;
    if (rq->choice != CANON_CHOICE_NAMED) {
        print_str(p, "tool_choice", sv_of(words[rq->choice]));
    } else if (rq->spec->quirks & TRANSLATE_Q_CHOICE_WORDS) {
        print_str(p, "tool_choice", SV("required"));
    } else {
        print_open(p, "tool_choice", '{');
        print_str(p, "type", SV("function"));
        print_open(p, "function", '{');
        print_str(p, "name", rq->choice_name);
        print_close(p, '}');
        print_close(p, '}');
    }
}

static void print_format(struct canon_request *rq, struct print *p) {
    if (rq->format == CANON_FORMAT_TEXT)
        return;
    print_open(p, "response_format", '{');
    if (rq->format == CANON_FORMAT_JSON && !(rq->spec->quirks & TRANSLATE_Q_NO_JSON_OBJECT)) {
        print_str(p, "type", SV("json_object"));
    } else {
        print_str(p, "type", SV("json_schema"));
        print_open(p, "json_schema", '{');
        print_str(p, "name", rq->format_name.n ? rq->format_name : SV("output"));
        if (rq->format == CANON_FORMAT_SCHEMA)
            canon_print_value(p, "schema", rq->schema);
        else
            canon_print_raw(p, "schema", SV("{\"type\":\"object\"}"));
        if (rq->format_strict != CANON_UNSET)
            print_bool(p, "strict", rq->format_strict == CANON_YES);
        print_close(p, '}');
    }
    print_close(p, '}');
}

/* Beside what the client tells the template itself. */
static void print_no_thinking(struct canon_request *rq, struct print *p) {
    yyjson_val *own = dialect_of(rq->spec->client)->family == FAMILY_OPENAI ? canon_take_extra(rq, "chat_template_kwargs") : NULL;
    yyjson_val *key, *value;
    size_t i, n;
    print_open(p, "chat_template_kwargs", '{');
    print_bool(p, "enable_thinking", false);
    yyjson_obj_foreach(own, i, n, key, value)
        if (!sv_eq(json_sv(key), SV("enable_thinking")))
            openai_print_member(p, json_sv(key), value);
    print_close(p, '}');
}

static void print_reasoning(struct canon_request *rq, struct print *p) {
    unsigned quirks = rq->spec->quirks;
    enum canon_effort effort = canon_effort_of(rq);
    if (quirks & TRANSLATE_Q_NO_THINK)
        return;
    if (rq->think == CANON_NO) {
        if (quirks & TRANSLATE_Q_TEMPLATE_THINK)
            print_no_thinking(rq, p);
        else
            print_str(p, "reasoning_effort", SV("none"));
        return;
    }
    if (rq->think_budget >= 0 && (quirks & TRANSLATE_Q_THINK_BUDGET))
        print_int(p, "thinking_budget_tokens", rq->think_budget);
    else if (effort != CANON_EFFORT_UNSET)
        print_str(p, "reasoning_effort", sv_of(canon_effort_name(effort)));
}

bool chat_print(struct canon_request *rq, struct buf *out) {
    struct print p = print_begin(out);
    unsigned quirks = rq->spec->quirks;
    print_open(&p, NULL, '{');
    print_str(&p, "model", rq->spec->model);
    if (!print_messages(rq, &p))
        return false;
    openai_print_sampling(rq, &p);
    canon_print_value(&p, "logit_bias", rq->logit_bias);
    if (rq->max_output >= 0)
        print_int(&p, quirks & TRANSLATE_Q_LONG_LIMIT ? "max_completion_tokens" : "max_tokens", rq->max_output);
    if (rq->logprobs) {
        print_bool(&p, "logprobs", true);
        if (rq->top_logprobs >= 0)
            print_int(&p, "top_logprobs", rq->top_logprobs);
    }
    if (rq->tools) {
        print_tools(rq, &p);
        print_choice(rq, &p);
        if (rq->parallel != CANON_UNSET)
            print_bool(&p, "parallel_tool_calls", rq->parallel == CANON_YES);
    }
    print_format(rq, &p);
    print_reasoning(rq, &p);
    openai_print_stream(rq, &p);
    if (!openai_print_extra(rq, &p, FAMILY_OPENAI))
        return false;
    print_close(&p, '}');
    return true;
}
