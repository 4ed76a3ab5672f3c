/* translate/responses.c - OpenAI Responses, the request: reading one of a client, printing one for a runtime.
 *
 * A conversation is a list of items here: messages, calls, their outputs and reasoning stand side by side. Items of one turn
 * of the assistant become one message. Members: the reference on API dialects, 4.2 and 4.3. */
#include "translate/responses.h"

#include <sodium.h>
#include <stddef.h>

#include "llm/print.h"
#include "translate/openai.h"

#define AT(field) offsetof(struct canon_request, field)

/* --- reading: items ----------------------------------------------------------------------------------------------- */

struct items {
    struct canon_request *rq;
    struct canon_message *turn; /* the assistant's, while it is open */
    bool leading;               /* no message but the system's came yet */
};

static struct canon_message *assistant(struct items *s, uint32_t i) {
    if (!s->turn)
        s->turn = canon_message(s->rq, CANON_ASSISTANT, i);
    s->leading = false;
    return s->turn;
}

static bool read_text(struct canon_request *rq, struct canon_parts *to, enum canon_part_kind kind, struct sv text, uint32_t i) {
    struct canon_part *p = canon_part(rq, to, kind, i);
    if (p)
        p->text = text;
    return p;
}

static bool read_file(struct canon_request *rq, struct canon_part *p, yyjson_val *v, const char *where) {
    struct sv data = json_str(v, "file_data"), url = json_str(v, "file_url");
    p->title = json_str(v, "filename");
    p->file_id = json_str(v, "file_id");
    if (data.n)
        return canon_link(rq, p, data, canon_text(rq, "%s.file_data", where));
    if (url.n)
        return canon_link(rq, p, url, canon_text(rq, "%s.file_url", where));
    return p->file_id.n || canon_bad(rq, "%s needs file_data, file_url or file_id", where);
}

static bool read_image(struct canon_request *rq, struct canon_part *p, yyjson_val *v, const char *where) {
    yyjson_val *image = json_get(v, "image_url");
    struct sv url = yyjson_is_str(image) ? json_sv(image) : json_str(image, "url");
    p->detail = json_str(v, "detail");
    p->file_id = json_str(v, "file_id");
    if (p->file_id.n)
        return true;
    return url.n ? canon_link(rq, p, url, canon_text(rq, "%s.image_url", where)) : canon_bad(rq, "%s.image_url must be a string", where);
}

static bool read_part(struct canon_request *rq, struct canon_parts *to, yyjson_val *v, const char *where, uint32_t i) {
    struct sv type = json_str(v, "type");
    struct canon_part *p;
    if (!yyjson_is_obj(v))
        return canon_bad(rq, "%s must be an object", where);
    if (!canon_known(rq, v, "content", CANON_NAMES("type", "text", "refusal", "image_url", "detail", "file_id", "file_data", "file_url", "filename",
                                                   "input_audio", "annotations", "logprobs"))) /* the latter two: of an answer */
        return false;
    if (sv_eq(type, SV("input_text")) || sv_eq(type, SV("output_text")) || sv_eq(type, SV("text"))) {
        struct sv text = json_str(v, "text");
        return text.p ? read_text(rq, to, CANON_TEXT, text, i) : canon_bad(rq, "%s.text must be a string", where);
    }
    if (sv_eq(type, SV("refusal")))
        return read_text(rq, to, CANON_REFUSAL, json_str(v, "refusal"), i);
    if (sv_eq(type, SV("input_image"))) {
        p = canon_part(rq, to, CANON_IMAGE, i);
        return p && read_image(rq, p, v, where);
    }
    if (sv_eq(type, SV("input_file"))) {
        p = canon_part(rq, to, CANON_DOCUMENT, i);
        return p && read_file(rq, p, v, where);
    }
    if (sv_eq(type, SV("input_audio"))) {
        p = canon_part(rq, to, CANON_AUDIO, i);
        if (!p)
            return false;
        p->data = json_str(json_get(v, "input_audio"), "data");
        p->mime = json_str(json_get(v, "input_audio"), "format");
        return (p->data.n && p->mime.n) || canon_bad(rq, "%s.input_audio needs data and format", where);
    }
    return canon_cannot(rq, "%s.type \"%.*s\" is not available on this model's runtime", where, SV_FMT(sv_first(type, 40)));
}

/* A string or an array of parts. */
static bool read_content(struct canon_request *rq, struct canon_parts *to, yyjson_val *content, const char *where) {
    size_t i, n;
    yyjson_val *one;
    if (yyjson_is_str(content))
        return read_text(rq, to, CANON_TEXT, json_sv(content), 0);
    if (!yyjson_is_arr(content))
        return canon_bad(rq, "%s must be a string or an array of parts", where);
    yyjson_arr_foreach(content, i, n, one)
        if (!read_part(rq, to, one, canon_text(rq, "%s[%zu]", where, i), (uint32_t)i))
            return false;
    return true;
}

static bool read_message(struct items *s, yyjson_val *v, uint32_t i) {
    struct canon_request *rq = s->rq;
    struct sv role = json_str(v, "role");
    yyjson_val *content = json_get(v, "content");
    const char *where = canon_text(rq, "input[%u].content", i);
    struct canon_message *m;
    if (sv_eq(role, SV("assistant"))) {
        m = assistant(s, i);
        return m && read_content(rq, &m->parts, content, where);
    }
    s->turn = NULL;
    if (sv_eq(role, SV("system")) || sv_eq(role, SV("developer"))) {
        if (s->leading)
            return read_content(rq, &rq->system, content, where);
        m = canon_message(rq, CANON_SYSTEM, i);
        return m && read_content(rq, &m->parts, content, where);
    }
    if (!sv_eq(role, SV("user")))
        return canon_bad(rq, "input[%u].role is \"%.*s\"; it must be user, assistant, system or developer", i, SV_FMT(sv_first(role, 40)));
    s->leading = false;
    m = canon_message(rq, CANON_USER, i);
    return m && read_content(rq, &m->parts, content, where);
}

/* Ours, sealed so that clients without storage carry it; another's stays closed and goes no further. */
static struct sv unseal(struct canon_request *rq, struct sv sealed) {
    struct sv text = sv_from(sealed, sizeof RESPONSES_OWN_SEAL - 1);
    size_t n = 0;
    char *to;
    if (!sv_starts(sealed, SV(RESPONSES_OWN_SEAL)))
        return SV_NULL;
    to = arena_alloc(rq->arena, text.n + 1);
    if (!to || sodium_base642bin((unsigned char *)to, text.n + 1, text.p, text.n, NULL, &n, NULL, sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0)
        return SV_NULL;
    return (struct sv){ to, n };
}

static bool read_reasoning(struct items *s, yyjson_val *v, uint32_t i) {
    size_t k, n;
    yyjson_val *one, *texts = json_get(v, "content");
    struct canon_parts all = { 0 };
    if (s->turn && (s->turn->parts.first || s->turn->calls))
        s->turn = NULL; /* it belongs to what follows */
    struct canon_message *m = assistant(s, i);
    struct canon_reasoning *r = m ? canon_reasoning(s->rq, m) : NULL;
    if (!r)
        return false;
    if (yyjson_arr_size(texts) == 0)
        texts = json_get(v, "summary");
    yyjson_arr_foreach(texts, k, n, one)
        if (!read_text(s->rq, &all, CANON_TEXT, json_str(one, "text"), 0))
            return false;
    r->text = canon_join(s->rq, &all, "\n");
    r->opaque = json_str(v, "encrypted_content");
    if (!r->text.n)
        r->text = unseal(s->rq, r->opaque);
    return true;
}

/* A name within a namespace travels with it. */
static struct sv full_name(struct canon_request *rq, struct sv space, struct sv name) {
    return space.n ? canon_glue(rq, space, SV("__"), name) : name;
}

static bool read_call(struct items *s, yyjson_val *v, uint32_t i, bool custom) {
    struct canon_message *m = assistant(s, i);
    struct canon_call *c = m ? canon_call(s->rq, m) : NULL;
    if (!c)
        return false;
    c->id = json_str(v, "call_id");
    c->name = full_name(s->rq, json_str(v, "namespace"), json_str(v, "name"));
    c->args = json_str(v, custom ? "input" : "arguments");
    c->is_custom = custom;
    return (c->id.n && c->name.n) || canon_bad(s->rq, "input[%u] needs call_id and name", i);
}

static bool read_output(struct items *s, yyjson_val *v, uint32_t i) {
    struct canon_message *m = canon_message(s->rq, CANON_TOOL, i);
    s->turn = NULL;
    s->leading = false;
    if (!m)
        return false;
    m->call_id = json_str(v, "call_id");
    if (!m->call_id.n)
        return canon_bad(s->rq, "input[%u].call_id must be a string", i);
    return read_content(s->rq, &m->parts, json_get(v, "output"), canon_text(s->rq, "input[%u].output", i));
}

static bool read_item(struct items *s, yyjson_val *v, uint32_t i) {
    struct sv type = json_str(v, "type");
    if (!yyjson_is_obj(v))
        return canon_bad(s->rq, "input[%u] must be an object", i);
    if (!canon_known(s->rq, v, "input", CANON_NAMES("type", "id", "status", "role", "content", "summary", "encrypted_content", "call_id", "name",
                                                    "namespace", "arguments", "input", "output")))
        return false;
    if (!type.n || sv_eq(type, SV("message")))
        return read_message(s, v, i);
    if (sv_eq(type, SV("reasoning")))
        return read_reasoning(s, v, i);
    if (sv_eq(type, SV("function_call")) || sv_eq(type, SV("custom_tool_call")))
        return read_call(s, v, i, sv_eq(type, SV("custom_tool_call")));
    if (sv_eq(type, SV("function_call_output")) || sv_eq(type, SV("custom_tool_call_output")))
        return read_output(s, v, i);
    if (sv_eq(type, SV("item_reference")))
        return canon_cannot(s->rq, "input[%u] refers to an item stored elsewhere; send the item itself", i);
    return canon_cannot(s->rq, "input[%u].type \"%.*s\" is not available on this model's runtime", i, SV_FMT(sv_first(type, 40)));
}

static bool read_input(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    struct items s = { .rq = rq, .leading = true };
    size_t i, n;
    yyjson_val *one;
    if (yyjson_is_str(v)) {
        struct canon_message *m = canon_message(rq, CANON_USER, 0);
        return m && read_text(rq, &m->parts, CANON_TEXT, json_sv(v), 0);
    }
    if (!yyjson_is_arr(v))
        return canon_bad(rq, "\"%s\" must be a string or an array of items", row->name);
    yyjson_arr_foreach(v, i, n, one)
        if (!read_item(&s, one, (uint32_t)i))
            return false;
    return true;
}

/* --- reading: tools and the rest ---------------------------------------------------------------------------------- */

static bool read_tool(struct canon_request *rq, yyjson_val *v, const char *where, struct sv space);

static bool read_tool_list(struct canon_request *rq, yyjson_val *v, const char *where, struct sv space) {
    size_t i, n;
    yyjson_val *one;
    if (!yyjson_is_arr(v))
        return canon_bad(rq, "\"%s\" must be an array", where);
    yyjson_arr_foreach(v, i, n, one)
        if (!read_tool(rq, one, canon_text(rq, "%s[%zu]", where, i), space))
            return false;
    return true;
}

static bool read_tool(struct canon_request *rq, yyjson_val *v, const char *where, struct sv space) {
    struct sv type = json_str(v, "type"), name = json_str(v, "name");
    yyjson_val *schema = json_get(v, "parameters"), *strict = json_get(v, "strict");
    bool custom = sv_eq(type, SV("custom"));
    if (!yyjson_is_obj(v))
        return canon_bad(rq, "%s must be an object", where);
    if (sv_eq(type, SV("namespace")) && !space.n)
        return name.n ? read_tool_list(rq, json_get(v, "tools"), canon_text(rq, "%s.tools", where), name)
                      : canon_bad(rq, "%s.name must be a string", where);
    if (sv_eq(type, SV("tool_search"))) /* all tools are shown at once instead */
        return canon_lose(rq, CANON_LOSS, "%s", where);
    if (!custom && !sv_eq(type, SV("function")))
        return canon_cannot(rq, "%s.type \"%.*s\" is not available on this model's runtime", where, SV_FMT(sv_first(type, 40)));
    struct canon_tool *t = canon_tool(rq);
    if (!t)
        return false;
    t->name = full_name(rq, space, name);
    t->space = space;
    t->description = json_str(v, "description");
    if (schema && !yyjson_is_null(schema) && !yyjson_is_obj(schema))
        return canon_bad(rq, "%s.parameters must be an object", where);
    t->schema = yyjson_is_obj(schema) ? schema : NULL;
    t->is_custom = custom;
    if (yyjson_is_bool(strict))
        t->strict = yyjson_get_bool(strict) ? CANON_YES : CANON_NO;
    if (!name.n)
        return canon_bad(rq, "%s.name must be a string", where);
    if (json_bool(v, "defer_loading", false) && !canon_lose(rq, CANON_LOSS, "%s.defer_loading", where))
        return false;
    return !custom || !json_get(v, "format") || sv_eq(json_str(json_get(v, "format"), "type"), SV("text")) ||
           canon_lose(rq, CANON_LOSS, "%s.format", where);
}

static bool read_tools(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    return read_tool_list(rq, v, row->name, SV_NULL);
}

static bool read_choice(struct canon_request *rq, yyjson_val *v) {
    struct sv word = json_sv(v), type = json_str(v, "type");
    if (!v || yyjson_is_null(v))
        return true;
    if (sv_eq(type, SV("allowed_tools"))) {
        word = json_str(v, "mode");
        if (!canon_keep_tools(rq, json_get(v, "tools")))
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
    else if (type.n)
        return canon_cannot(rq, "tool_choice.type \"%.*s\" is not available on this model's runtime", SV_FMT(sv_first(type, 40)));
    else
        return canon_bad(rq, "\"tool_choice\" must be \"none\", \"auto\", \"required\" or an object that names a tool");
    rq->choice_name = full_name(rq, json_str(v, "namespace"), json_str(v, "name"));
    return rq->choice != CANON_CHOICE_NAMED || rq->choice_name.n || canon_bad(rq, "tool_choice.name must be a string");
}

static bool read_text_member(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    yyjson_val *format = json_get(v, "format"), *strict = json_get(format, "strict");
    struct sv type = json_str(format, "type");
    if (!yyjson_is_obj(v))
        return canon_bad(rq, "\"%s\" must be an object", row->name);
    if (json_get(v, "verbosity") && !yyjson_is_null(json_get(v, "verbosity")) && !canon_lose(rq, CANON_LOSS, "text.verbosity"))
        return false;
    if (!type.n || sv_eq(type, SV("text")))
        return true;
    if (sv_eq(type, SV("json_object"))) {
        rq->format = CANON_FORMAT_JSON;
        return true;
    }
    if (!sv_eq(type, SV("json_schema")))
        return canon_bad(rq, "%s.format.type is \"%.*s\"; it must be text, json_object or json_schema", row->name, SV_FMT(sv_first(type, 40)));
    rq->format = CANON_FORMAT_SCHEMA;
    rq->format_name = json_str(format, "name");
    rq->schema = json_get(format, "schema");
    if (yyjson_is_bool(strict))
        rq->format_strict = yyjson_get_bool(strict) ? CANON_YES : CANON_NO;
    return yyjson_is_obj(rq->schema) || canon_bad(rq, "%s.format.schema must be an object", row->name);
}

static bool read_reasoning_member(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    struct sv effort = json_str(v, "effort"), summary = json_str(v, "summary");
    if (!yyjson_is_obj(v))
        return canon_bad(rq, "\"%s\" must be an object", row->name);
    if (!summary.n)
        summary = json_str(v, "generate_summary");
    rq->wants_summary = summary.n && !sv_eq(summary, SV("none"));
    if (rq->wants_summary && !sv_eq(summary, SV("auto")) && !canon_lose(rq, CANON_HINT, "reasoning.summary")) /* all is shown */
        return false;
    if (sv_eq(effort, SV("none"))) {
        rq->think = CANON_NO;
        return true;
    }
    if (!effort.n && (!json_get(v, "effort") || yyjson_is_null(json_get(v, "effort"))))
        return true;
    rq->think = CANON_YES;
    return canon_effort_parse(effort, &rq->effort) ||
           canon_bad(rq, "%s.effort must be none, minimal, low, medium, high, xhigh or max", row->name);
}

static bool read_include(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    size_t i, n;
    yyjson_val *one;
    if (!yyjson_is_arr(v))
        return canon_bad(rq, "\"%s\" must be an array", row->name);
    yyjson_arr_foreach(v, i, n, one) {
        if (sv_eq(json_sv(one), SV("reasoning.encrypted_content")))
            rq->wants_encrypted = true;
        else if (sv_eq(json_sv(one), SV("message.output_text.logprobs")))
            rq->logprobs = true;
        else if (!canon_lose(rq, CANON_HINT, "%s[%zu]", row->name, i))
            return false;
    }
    return true;
}

static bool refuse_state(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    (void)v;
    return canon_cannot(rq, "\"%s\" needs responses that are stored, which this model's runtime does not do; send the whole conversation in "
                        "\"input\"", row->name);
}

static bool refuse_background(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    if (!yyjson_is_bool(v))
        return canon_bad(rq, "\"%s\" must be true or false", row->name);
    return !yyjson_is_true(v) || canon_cannot(rq, "\"%s\" is not available on this model's runtime", row->name);
}

static bool refuse(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    (void)v;
    return canon_cannot(rq, "\"%s\" is not available on this model's runtime", row->name);
}

static bool read_user_key(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    if (!rq->user_key.n)
        rq->user_key = json_sv(v);
    return canon_lose(rq, CANON_HINT, "%s", row->name);
}

static bool read_instructions(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    (void)row;
    return yyjson_is_str(v) || canon_bad(rq, "\"instructions\" must be a string");
}

static const struct canon_row rows[] = {
    { "model", canon_row_skip, 0 },
    { "input", read_input, 0 },
    { "instructions", read_instructions, 0 },
    { "stream", canon_row_flag, AT(stream) },
    { "stream_options", canon_row_skip, 0 },
    { "max_output_tokens", canon_row_limit, AT(max_output) },
    { "temperature", canon_row_number, AT(temperature) },
    { "top_p", canon_row_number, AT(top_p) },
    { "top_logprobs", canon_row_int, AT(top_logprobs) },
    { "text", read_text_member, 0 },
    { "tools", read_tools, 0 },
    { "tool_choice", canon_row_skip, 0 },
    { "parallel_tool_calls", canon_row_tri, AT(parallel) },
    { "reasoning", read_reasoning_member, 0 },
    { "include", read_include, 0 },
    { "store", canon_row_skip, 0 }, /* the answer says false */
    { "previous_response_id", refuse_state, 0 },
    { "conversation", refuse_state, 0 },
    { "background", refuse_background, 0 },
    { "prompt", refuse, 0 },
    { "prompt_cache_key", read_user_key, 0 },
    { "safety_identifier", read_user_key, 0 },
    { "user", read_user_key, 0 },
    { "metadata", canon_row_skip, 0 }, /* repeated in the answer */
    { "truncation", canon_row_hint, 0 },
    { "service_tier", canon_row_hint, 0 },
    { "prompt_cache_retention", canon_row_hint, 0 },
    { "prompt_cache_options", canon_row_hint, 0 },
    { "moderation", canon_row_hint, 0 },
    { "context_management", canon_row_hint, 0 },
    { "max_tool_calls", canon_row_hint, 0 }, /* of hosted tools only */
    { 0 },
};

bool responses_read(struct canon_request *rq, yyjson_val *body) {
    struct sv instructions = json_str(body, "instructions");
    rq->list = "input";
    rq->wants_usage = true;
    if (!canon_has(body, "input"))
        return canon_bad(rq, "\"input\" is missing");
    if (instructions.n && !read_text(rq, &rq->system, CANON_TEXT, instructions, 0))
        return false;
    return canon_members(rq, body, rows, true) && read_choice(rq, json_get(body, "tool_choice"));
}

/* What typed clients expect to find again in the response. */
bool responses_keep(const struct canon_request *rq, struct canon_reply *r) {
    static const struct {
        const char *name, *otherwise;
    } echoed[] = {
        { "instructions", "null" }, { "max_output_tokens", "null" }, { "max_tool_calls", "null" }, { "metadata", "{}" },
        { "parallel_tool_calls", "true" }, { "previous_response_id", "null" }, { "prompt_cache_key", "null" },
        { "reasoning", "{\"effort\":null,\"summary\":null}" }, { "safety_identifier", "null" }, { "service_tier", "\"default\"" },
        { "temperature", "1" }, { "text", "{\"format\":{\"type\":\"text\"}}" }, { "tool_choice", "\"auto\"" }, { "tools", "[]" },
        { "top_logprobs", "0" }, { "top_p", "1" }, { "truncation", "\"disabled\"" }, { "user", "null" },
    };
    yyjson_val *body = yyjson_doc_get_root(rq->doc);
    struct buf text = BUF_MAX(rq->spec->reply_max);
    struct print p = print_begin(&text);
    for (size_t i = 0; i < sizeof echoed / sizeof echoed[0]; i++) {
        yyjson_val *v = json_get(body, echoed[i].name);
        if (v && !yyjson_is_null(v))
            canon_print_value(&p, echoed[i].name, v);
        else
            canon_print_raw(&p, echoed[i].name, sv_of(echoed[i].otherwise));
    }
    canon_print_raw(&p, "store", SV("false"));
    canon_print_raw(&p, "background", SV("false"));
    r->echo = text.failed ? SV_NULL : arena_sv(r->arena, buf_sv(&text));
    buf_deinit(&text);
    return r->echo.p != NULL;
}

/* --- printing ----------------------------------------------------------------------------------------------------- */

static bool print_part(struct canon_request *rq, struct print *p, const struct canon_message *m, const struct canon_part *part) {
    bool assistant_says = m->role == CANON_ASSISTANT;
    print_open(p, NULL, '{');
    switch (part->kind) {
    case CANON_TEXT:
    case CANON_REFUSAL:
        print_str(p, "type", part->kind == CANON_REFUSAL ? SV("refusal") : assistant_says ? SV("output_text") : SV("input_text"));
        print_str(p, part->kind == CANON_REFUSAL ? "refusal" : "text", part->text);
        break;
    case CANON_IMAGE:
        if (part->file_id.n)
            return canon_cannot(rq, "%s refers to a file stored elsewhere (file_id); send the image itself", canon_where(rq, m, part));
        print_str(p, "type", SV("input_image"));
        canon_print_link(p, "image_url", part);
        if (part->detail.n)
            print_str(p, "detail", part->detail);
        break;
    case CANON_AUDIO:
        return canon_cannot(rq, "%s is audio, which this model's runtime does not take", canon_where(rq, m, part));
    case CANON_DOCUMENT:
        if (part->text.n) {
            print_str(p, "type", SV("input_text"));
            print_str(p, "text", part->text);
        } else {
            if (part->file_id.n)
                return canon_cannot(rq, "%s refers to a file stored elsewhere (file_id); send the file itself", canon_where(rq, m, part));
            print_str(p, "type", SV("input_file"));
            if (part->title.n)
                print_str(p, "filename", part->title);
            canon_print_link(p, part->data.p ? "file_data" : "file_url", part);
        }
    }
    print_close(p, '}');
    return true;
}

static bool print_parts(struct canon_request *rq, struct print *p, const struct canon_message *m, const char *name) {
    print_open(p, name, '[');
    for (const struct canon_part *part = m->parts.first; part; part = part->next)
        if (!print_part(rq, p, m, part))
            return false;
    print_close(p, ']');
    return true;
}

static void print_call(struct canon_request *rq, struct print *p, const struct canon_call *c) {
    print_open(p, NULL, '{');
    print_str(p, "type", SV("function_call"));
    print_str(p, "call_id", c->id);
    print_str(p, "name", c->name);
    canon_print_args_text(rq, p, "arguments", c);
    print_close(p, '}');
}

static bool has_only_text(const struct canon_parts *parts) {
    for (const struct canon_part *p = parts->first; p; p = p->next)
        if (!p->text.n)
            return false;
    return true;
}

static bool print_message(struct canon_request *rq, struct print *p, const struct canon_message *m) {
    static const char *const roles[] = { [CANON_SYSTEM] = "developer", [CANON_USER] = "user", [CANON_ASSISTANT] = "assistant" };
    if (m->role == CANON_TOOL) {
        print_open(p, NULL, '{');
        print_str(p, "type", SV("function_call_output"));
        print_str(p, "call_id", m->call_id);
        if (m->is_error && has_only_text(&m->parts)) {
            struct sv text = canon_join(rq, &m->parts, "\n");
            if (!canon_mark_error(rq, &text))
                return false;
            print_str(p, "output", text);
        } else if (!print_parts(rq, p, m, "output") || (m->is_error && !canon_lose(rq, CANON_HINT, "is_error"))) {
            return false;
        }
        print_close(p, '}');
        return true;
    }
    for (const struct canon_reasoning *r = m->reasoning; r; r = r->next) {
        if (!r->text.n)
            continue;
        print_comma(p);
        buf_add(p->to, SV("{\"type\":\"reasoning\",\"summary\":[],\"content\":[{\"type\":\"reasoning_text\",\"text\":"));
        buf_add_json(p->to, r->text);
        buf_add(p->to, SV("}]}"));
    }
    if (m->parts.first) {
        print_open(p, NULL, '{');
        print_str(p, "type", SV("message"));
        print_str(p, "role", sv_of(roles[m->role]));
        if (!print_parts(rq, p, m, "content"))
            return false;
        print_close(p, '}');
    }
    for (const struct canon_call *c = m->calls; c; c = c->next)
        print_call(rq, p, c);
    return true;
}

static void print_tools(struct canon_request *rq, struct print *p) {
    static const char *const words[] = { [CANON_CHOICE_AUTO] = "auto", [CANON_CHOICE_NONE] = "none", [CANON_CHOICE_REQUIRED] = "required" };
    print_open(p, "tools", '[');
    for (const struct canon_tool *t = rq->tools; t; t = t->next) {
        print_open(p, NULL, '{');
        print_str(p, "type", SV("function"));
        print_str(p, "name", t->name);
        if (t->description.n)
            print_str(p, "description", t->description);
        canon_print_schema(p, "parameters", t);
        print_bool(p, "strict", t->strict == CANON_YES);
        print_close(p, '}');
    }
    print_close(p, ']');
    if (rq->choice == CANON_CHOICE_NAMED) {
        print_open(p, "tool_choice", '{');
        print_str(p, "type", SV("function"));
        print_str(p, "name", rq->choice_name);
        print_close(p, '}');
    } else if (rq->choice != CANON_CHOICE_UNSET) {
        print_str(p, "tool_choice", sv_of(words[rq->choice]));
    }
    if (rq->parallel != CANON_UNSET)
        print_bool(p, "parallel_tool_calls", rq->parallel == CANON_YES);
}

static void print_format(struct canon_request *rq, struct print *p) {
    if (rq->format == CANON_FORMAT_TEXT)
        return;
    print_open(p, "text", '{');
    print_open(p, "format", '{');
    print_str(p, "type", rq->format == CANON_FORMAT_JSON ? SV("json_object") : SV("json_schema"));
    if (rq->format == CANON_FORMAT_SCHEMA) {
        print_str(p, "name", rq->format_name.n ? rq->format_name : SV("output"));
        canon_print_value(p, "schema", rq->schema);
        if (rq->format_strict != CANON_UNSET)
            print_bool(p, "strict", rq->format_strict == CANON_YES);
    }
    buf_add(p->to, SV("}}"));
}

static bool lose_members(struct canon_request *rq) {
    const struct {
        const char *name;
        yyjson_val *value;
    } lost[] = {
        { "top_k", rq->top_k }, { "min_p", rq->min_p }, { "typical_p", rq->typical_p }, { "repeat_penalty", rq->repeat_penalty },
        { "presence_penalty", rq->presence_penalty }, { "frequency_penalty", rq->frequency_penalty }, { "seed", rq->seed },
    };
    if (rq->stop)
        return canon_cannot(rq, "stop sequences cannot be translated for this model's runtime");
    if (rq->logit_bias)
        return canon_cannot(rq, "\"logit_bias\" cannot be translated for this model's runtime");
    for (size_t i = 0; i < sizeof lost / sizeof lost[0]; i++)
        if (lost[i].value && !canon_lose(rq, CANON_LOSS, "%s", lost[i].name))
            return false;
    return true;
}

bool responses_print(struct canon_request *rq, struct buf *out) {
    struct print p = print_begin(out);
    struct sv system = canon_join(rq, &rq->system, "\n\n");
    enum canon_effort effort = canon_effort_of(rq);
    print_open(&p, NULL, '{');
    print_str(&p, "model", rq->spec->model);
    if (system.n)
        print_str(&p, "instructions", system);
    print_open(&p, "input", '[');
    for (const struct canon_message *m = rq->messages; m; m = m->next)
        if (!print_message(rq, &p, m))
            return false;
    print_close(&p, ']');
    if (rq->max_output >= 0)
        print_int(&p, "max_output_tokens", rq->max_output);
    canon_print_value(&p, "temperature", rq->temperature);
    canon_print_value(&p, "top_p", rq->top_p);
    if (rq->logprobs) {
        if (rq->top_logprobs >= 0)
            print_int(&p, "top_logprobs", rq->top_logprobs);
        canon_print_raw(&p, "include", SV("[\"message.output_text.logprobs\"]"));
    }
    if (rq->tools)
        print_tools(rq, &p);
    print_format(rq, &p);
    if ((rq->think == CANON_NO || effort != CANON_EFFORT_UNSET) && !(rq->spec->quirks & TRANSLATE_Q_NO_THINK)) {
        print_open(&p, "reasoning", '{');
        print_str(&p, "effort", rq->think == CANON_NO ? SV("none") : sv_of(canon_effort_name(effort)));
        print_close(&p, '}');
    }
    canon_print_raw(&p, "store", SV("false"));
    print_bool(&p, "stream", rq->stream);
    if (!lose_members(rq) || !openai_print_extra(rq, &p, FAMILY_RESPONSES))
        return false;
    print_close(&p, '}');
    return true;
}
