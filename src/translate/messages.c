/* translate/messages.c - Anthropic messages, the request: reading one of a client, printing one for a runtime.
 * Members: the reference on API dialects, section 8. */
#include <stddef.h>

#include "llm/print.h"
#include "translate/canon.h"
#include "translate/messages.h"
#include "translate/openai.h"

#define AT(field) offsetof(struct canon_request, field)

/* --- reading: blocks ---------------------------------------------------------------------------------------------- */

static bool cache_marks(struct canon_request *rq, yyjson_val *block) {
    return !json_get(block, "cache_control") || canon_lose(rq, CANON_HINT, "cache_control");
}

static bool read_text(struct canon_request *rq, struct canon_parts *to, struct sv text, uint32_t index) {
    struct canon_part *p = canon_part(rq, to, CANON_TEXT, index);
    if (p)
        p->text = text;
    return p;
}

/* {"type":"base64"|"url"|"file"|"text", ...} of an image or a document. */
static bool read_source(struct canon_request *rq, struct canon_part *p, yyjson_val *block, const char *where) {
    yyjson_val *source = json_get(block, "source");
    struct sv type = json_str(source, "type");
    p->title = json_str(block, "title");
    if (sv_eq(type, SV("base64"))) {
        if (p->kind == CANON_IMAGE && !canon_sniff(json_str(source, "data")).n)
            return canon_bad(rq, "%s.source.data is not a PNG, JPEG, GIF or WebP image in base64", where);
        return canon_data(rq, p, json_str(source, "media_type"), json_str(source, "data"), canon_text(rq, "%s.source.data", where));
    }
    if (sv_eq(type, SV("url"))) {
        struct sv url = json_str(source, "url");
        return url.p ? canon_link(rq, p, url, canon_text(rq, "%s.source.url", where)) : canon_bad(rq, "%s.source.url must be a string", where);
    }
    if (sv_eq(type, SV("file"))) {
        p->file_id = json_str(source, "file_id");
        return p->file_id.n || canon_bad(rq, "%s.source.file_id must be a string", where);
    }
    if (p->kind == CANON_DOCUMENT && sv_eq(type, SV("text"))) {
        p->text = json_str(source, "data");
        return p->text.p || canon_bad(rq, "%s.source.data must be a string", where);
    }
    if (p->kind == CANON_DOCUMENT && sv_eq(type, SV("content")) && json_str(source, "content").p) {
        p->text = json_str(source, "content");
        return true;
    }
    return canon_cannot(rq, "%s.source.type \"%.*s\" is not known", where, SV_FMT(sv_first(type, 40)));
}

/* Title, source and text of a search result, as text. */
static bool read_search_result(struct canon_request *rq, struct canon_parts *to, yyjson_val *block, uint32_t index) {
    size_t i, n;
    yyjson_val *one;
    struct sv head = canon_glue(rq, json_str(block, "title"), SV("\n"), json_str(block, "source"));
    if (!canon_lose(rq, CANON_LOSS, "search_result") || !read_text(rq, to, head, index))
        return false;
    yyjson_arr_foreach(json_get(block, "content"), i, n, one)
        if (json_str(one, "text").n && !read_text(rq, to, json_str(one, "text"), index))
            return false;
    return true;
}

/* A block that holds content, wherever it stands. */
static bool read_content_block(struct canon_request *rq, struct canon_parts *to, yyjson_val *block, const char *where, uint32_t index) {
    struct sv type = json_str(block, "type");
    if (!yyjson_is_obj(block))
        return canon_bad(rq, "%s must be an object", where);
    if (!canon_known(rq, block, "content", CANON_NAMES("type", "text", "source", "title", "content")))
        return false;
    if (sv_eq(type, SV("text"))) {
        struct sv text = json_str(block, "text");
        return text.p ? read_text(rq, to, text, index) : canon_bad(rq, "%s.text must be a string", where);
    }
    if (sv_eq(type, SV("image")) || sv_eq(type, SV("document"))) {
        struct canon_part *p = canon_part(rq, to, sv_eq(type, SV("image")) ? CANON_IMAGE : CANON_DOCUMENT, index);
        return p && read_source(rq, p, block, where);
    }
    if (sv_eq(type, SV("search_result")))
        return read_search_result(rq, to, block, index);
    return canon_cannot(rq, "%s.type \"%.*s\" is not available on this model's runtime", where, SV_FMT(sv_first(type, 40)));
}

static bool read_result(struct canon_request *rq, yyjson_val *block, const char *where, uint32_t message) {
    yyjson_val *content = json_get(block, "content"), *one;
    struct canon_message *m = canon_message(rq, CANON_TOOL, message);
    size_t i, n;
    if (!m)
        return false;
    m->call_id = json_str(block, "tool_use_id");
    m->is_error = json_bool(block, "is_error", false);
    if (!m->call_id.n)
        return canon_bad(rq, "%s.tool_use_id must be a string", where);
    if (yyjson_is_str(content) && !read_text(rq, &m->parts, json_sv(content), 0))
        return false;
    if (content && !yyjson_is_null(content) && !yyjson_is_str(content) && !yyjson_is_arr(content))
        return canon_bad(rq, "%s.content must be a string or an array of blocks", where);
    yyjson_arr_foreach(content, i, n, one)
        if (!read_content_block(rq, &m->parts, one, canon_text(rq, "%s.content[%zu]", where, i), (uint32_t)i))
            return false;
    return canon_known(rq, block, "tool_result", CANON_NAMES("type", "tool_use_id", "is_error", "content"));
}

static bool read_call(struct canon_request *rq, struct canon_message *m, yyjson_val *block, const char *where) {
    yyjson_val *input = json_get(block, "input");
    struct canon_call *c = canon_call(rq, m);
    if (!c)
        return false;
    c->id = json_str(block, "id");
    c->name = json_str(block, "name");
    if (!c->id.n || !c->name.n)
        return canon_bad(rq, "%s needs id and name", where);
    if (input && !yyjson_is_obj(input))
        return canon_bad(rq, "%s.input must be an object", where);
    c->args = input ? canon_json(rq, input) : SV("{}");
    return canon_known(rq, block, "tool_use", CANON_NAMES("type", "id", "name", "input"));
}

static bool read_thinking(struct canon_request *rq, struct canon_message *m, yyjson_val *block) {
    struct canon_reasoning *r = canon_reasoning(rq, m);
    if (!r)
        return false;
    r->text = json_str(block, "thinking");
    r->signature = json_str(block, "signature");
    r->opaque = json_str(block, "data");
    return canon_known(rq, block, "thinking", CANON_NAMES("type", "thinking", "signature", "data"));
}

/* Results come first and become messages of their own; what else the user says follows them. */
static bool read_user(struct canon_request *rq, yyjson_val *blocks, uint32_t index) {
    struct canon_message *m = NULL;
    size_t i, n;
    yyjson_val *one;
    yyjson_arr_foreach(blocks, i, n, one)
        if (sv_eq(json_str(one, "type"), SV("tool_result")) &&
            !read_result(rq, one, canon_text(rq, "messages[%u].content[%zu]", index, i), index))
            return false;
    yyjson_arr_foreach(blocks, i, n, one) {
        if (sv_eq(json_str(one, "type"), SV("tool_result")))
            continue;
        if (!m && !(m = canon_message(rq, CANON_USER, index)))
            return false;
        if (!read_content_block(rq, &m->parts, one, canon_text(rq, "messages[%u].content[%zu]", index, i), (uint32_t)i))
            return false;
    }
    return true;
}

static bool read_assistant(struct canon_request *rq, yyjson_val *blocks, uint32_t index) {
    struct canon_message *m = canon_message(rq, CANON_ASSISTANT, index);
    size_t i, n;
    yyjson_val *one;
    if (!m)
        return false;
    yyjson_arr_foreach(blocks, i, n, one) {
        struct sv type = json_str(one, "type");
        const char *where = canon_text(rq, "messages[%u].content[%zu]", index, i);
        bool ok = sv_eq(type, SV("tool_use"))                                              ? read_call(rq, m, one, where)
                  : sv_eq(type, SV("thinking")) || sv_eq(type, SV("redacted_thinking"))    ? read_thinking(rq, m, one)
                                                                                           : read_content_block(rq, &m->parts, one, where, (uint32_t)i);
        if (!ok)
            return false;
    }
    return true;
}

static bool read_texts(struct canon_request *rq, struct canon_parts *to, yyjson_val *v, const char *where) {
    size_t i, n;
    yyjson_val *one;
    if (yyjson_is_str(v))
        return read_text(rq, to, json_sv(v), 0);
    if (!yyjson_is_arr(v))
        return canon_bad(rq, "\"%s\" must be a string or an array of text blocks", where);
    yyjson_arr_foreach(v, i, n, one) {
        if (!sv_eq(json_str(one, "type"), SV("text")) || !json_str(one, "text").p)
            return canon_bad(rq, "%s[%zu] must be a text block", where, i);
        if (!read_text(rq, to, json_str(one, "text"), (uint32_t)i) || !canon_known(rq, one, "content", CANON_NAMES("type", "text")))
            return false;
    }
    return true;
}

static bool read_message(struct canon_request *rq, yyjson_val *v, uint32_t i) {
    struct sv role = json_str(v, "role");
    yyjson_val *content = json_get(v, "content");
    struct canon_message *m;
    bool user = sv_eq(role, SV("user"));
    if (!yyjson_is_obj(v))
        return canon_bad(rq, "messages[%u] must be an object", i);
    if (!user && !sv_eq(role, SV("assistant")) && !sv_eq(role, SV("system")))
        return canon_bad(rq, "messages[%u].role is \"%.*s\"; it must be user or assistant", i, SV_FMT(sv_first(role, 40)));
    if (!yyjson_is_str(content) && !yyjson_is_arr(content))
        return canon_bad(rq, "messages[%u].content must be a string or an array of blocks", i);
    if (!canon_known(rq, v, "messages", CANON_NAMES("role", "content")))
        return false;
    if (sv_eq(role, SV("system"))) {
        m = canon_message(rq, CANON_SYSTEM, i);
        return m && read_texts(rq, &m->parts, content, canon_text(rq, "messages[%u].content", i));
    }
    if (yyjson_is_arr(content))
        return user ? read_user(rq, content, i) : read_assistant(rq, content, i);
    m = canon_message(rq, user ? CANON_USER : CANON_ASSISTANT, i);
    return m && read_text(rq, &m->parts, json_sv(content), 0);
}

static bool read_messages(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    size_t i, n;
    yyjson_val *one;
    if (!yyjson_is_arr(v) || yyjson_arr_size(v) == 0)
        return canon_bad(rq, "\"%s\" must be an array of at least one message", row->name);
    yyjson_arr_foreach(v, i, n, one)
        if (!read_message(rq, one, (uint32_t)i))
            return false;
    return true;
}

static bool read_system(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    return read_texts(rq, &rq->system, v, row->name);
}

/* --- reading: tools and the rest ---------------------------------------------------------------------------------- */

/* Tools whose schema the vendor's model knows by heart; any model can use them once it is written out. */
static const struct {
    const char *prefix, *schema;
} typed[] = {
    { "bash_", "{\"type\":\"object\",\"properties\":{\"command\":{\"type\":\"string\"},\"restart\":{\"type\":\"boolean\"}}}" },
    { "text_editor_",
      "{\"type\":\"object\",\"properties\":{\"command\":{\"type\":\"string\",\"enum\":[\"view\",\"create\",\"str_replace\",\"insert\"]},"
      "\"path\":{\"type\":\"string\"},\"file_text\":{\"type\":\"string\"},\"old_str\":{\"type\":\"string\"},\"new_str\":{\"type\":\"string\"},"
      "\"insert_line\":{\"type\":\"integer\"},\"insert_text\":{\"type\":\"string\"},\"view_range\":{\"type\":\"array\",\"items\":"
      "{\"type\":\"integer\"}}},\"required\":[\"command\",\"path\"]}" },
};

static bool read_typed_tool(struct canon_request *rq, struct canon_tool *t, struct sv type, size_t i) {
    for (size_t k = 0; k < sizeof typed / sizeof typed[0]; k++) {
        if (!sv_starts(type, sv_of(typed[k].prefix)))
            continue;
        t->schema_text = sv_of(typed[k].schema);
        return canon_lose(rq, CANON_LOSS, "tools[%zu].type", i);
    }
    return canon_cannot(rq, "tools[%zu].type \"%.*s\" is not available on this model's runtime", i, SV_FMT(sv_first(type, 40)));
}

static bool read_tools(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    size_t i, n;
    yyjson_val *one;
    if (!yyjson_is_arr(v))
        return canon_bad(rq, "\"%s\" must be an array", row->name);
    yyjson_arr_foreach(v, i, n, one) {
        struct sv type = json_str(one, "type");
        yyjson_val *schema = json_get(one, "input_schema"), *strict = json_get(one, "strict");
        struct canon_tool *t = canon_tool(rq);
        if (!t)
            return false;
        if (!yyjson_is_obj(one))
            return canon_bad(rq, "tools[%zu] must be an object", i);
        t->name = json_str(one, "name");
        t->description = json_str(one, "description");
        if (yyjson_is_bool(strict))
            t->strict = yyjson_get_bool(strict) ? CANON_YES : CANON_NO;
        if (!t->name.n)
            return canon_bad(rq, "tools[%zu].name must be a string", i);
        if (type.n && !sv_eq(type, SV("custom"))) {
            if (!read_typed_tool(rq, t, type, i))
                return false;
            continue;
        }
        if (!yyjson_is_obj(schema))
            return canon_bad(rq, "tools[%zu].input_schema must be an object", i);
        t->schema = schema;
        if (!cache_marks(rq, one))
            return false;
    }
    return true;
}

static bool read_choice(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    struct sv type = json_str(v, "type");
    if (json_bool(v, "disable_parallel_tool_use", false))
        rq->parallel = CANON_NO;
    if (sv_eq(type, SV("auto")))
        rq->choice = CANON_CHOICE_AUTO;
    else if (sv_eq(type, SV("any")))
        rq->choice = CANON_CHOICE_REQUIRED;
    else if (sv_eq(type, SV("none")))
        rq->choice = CANON_CHOICE_NONE;
    else if (sv_eq(type, SV("tool")))
        rq->choice = CANON_CHOICE_NAMED;
    else
        return canon_bad(rq, "%s.type is \"%.*s\"; it must be auto, any, tool or none", row->name, SV_FMT(sv_first(type, 40)));
    rq->choice_name = json_str(v, "name");
    return rq->choice != CANON_CHOICE_NAMED || rq->choice_name.n || canon_bad(rq, "%s.name must be a string", row->name);
}

static bool read_reasoning(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    struct sv type = json_str(v, "type");
    rq->omits_reasoning = sv_eq(json_str(v, "display"), SV("omitted"));
    rq->think = sv_eq(type, SV("disabled")) ? CANON_NO : CANON_YES;
    if (sv_eq(type, SV("enabled"))) {
        rq->think_budget = json_i64(v, "budget_tokens", -1);
        return rq->think_budget >= 0 || canon_bad(rq, "%s.budget_tokens must be a number of tokens", row->name);
    }
    return sv_eq(type, SV("adaptive")) || sv_eq(type, SV("disabled")) || sv_eq(type, SV("between_tools")) ||
           canon_bad(rq, "%s.type is \"%.*s\"; it must be enabled, adaptive or disabled", row->name, SV_FMT(sv_first(type, 40)));
}

static bool read_format(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    if (!sv_eq(json_str(v, "type"), SV("json_schema")) || !yyjson_is_obj(json_get(v, "schema")))
        return canon_bad(rq, "%s must be {\"type\":\"json_schema\",\"schema\":{...}}", row->name);
    rq->format = CANON_FORMAT_SCHEMA;
    rq->schema = json_get(v, "schema");
    rq->format_strict = CANON_YES;
    return true;
}

static bool read_output_config(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    struct sv effort = json_str(v, "effort");
    yyjson_val *format = json_get(v, "format");
    if (!yyjson_is_obj(v))
        return canon_bad(rq, "\"%s\" must be an object", row->name);
    if (effort.n && !canon_effort_parse(effort, &rq->effort))
        return canon_bad(rq, "%s.effort must be low, medium, high, xhigh or max", row->name);
    return !format || yyjson_is_null(format) || read_format(rq, &(struct canon_row){ "output_config.format", NULL, 0 }, format);
}

static bool read_metadata(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    rq->user_key = json_str(v, "user_id");
    return canon_lose(rq, CANON_HINT, "%s", row->name);
}

static bool refuse(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    if (yyjson_is_arr(v) && yyjson_arr_size(v) == 0)
        return true;
    return canon_cannot(rq, "\"%s\" is not available on this model's runtime", row->name);
}

static const struct canon_row rows[] = {
    { "model", canon_row_skip, 0 },
    { "messages", read_messages, 0 },
    { "system", read_system, 0 },
    { "max_tokens", canon_row_int, AT(max_output) },
    { "stream", canon_row_flag, AT(stream) },
    { "stop_sequences", canon_row_stop, 0 },
    { "temperature", canon_row_number, AT(temperature) },
    { "top_p", canon_row_number, AT(top_p) },
    { "top_k", canon_row_number, AT(top_k) },
    { "tools", read_tools, 0 },
    { "tool_choice", read_choice, 0 },
    { "thinking", read_reasoning, 0 },
    { "output_config", read_output_config, 0 },
    { "output_format", read_format, 0 },
    { "metadata", read_metadata, 0 },
    { "mcp_servers", refuse, 0 },
    { "container", refuse, 0 },
    { "cache_control", canon_row_hint, 0 },
    { "service_tier", canon_row_hint, 0 },
    { "speed", canon_row_hint, 0 },
    { "inference_geo", canon_row_hint, 0 },
    { "diagnostics", canon_row_hint, 0 },
    { "user_profile_id", canon_row_hint, 0 },
    { "workspace_id", canon_row_hint, 0 },
    { "context_management", canon_row_loss, 0 },
    { 0 },
};

bool messages_read(struct canon_request *rq, yyjson_val *body) {
    rq->list = "messages";
    if (!canon_has(body, "messages"))
        return canon_bad(rq, "\"messages\" is missing");
    if (!canon_has(body, "max_tokens"))
        return canon_bad(rq, "\"max_tokens\" is missing");
    if (!canon_members(rq, body, rows, true))
        return false;
    if (rq->max_output != 0)
        return true;
    rq->max_output = 1; /* warm the cache: the least a runtime can generate is one token */
    return canon_lose(rq, CANON_LOSS, "max_tokens");
}

/* --- printing ----------------------------------------------------------------------------------------------------- */

/* Only these letters may stand in an id; whoever made it used others. */
static void print_id(struct print *p, const char *name, struct sv id) {
    print_name(p, name);
    buf_add_char(p->to, '"');
    for (size_t i = 0; i < id.n; i++) {
        char c = id.p[i];
        bool fine = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '_' || c == '-';
        buf_add_char(p->to, fine ? c : '_');
    }
    buf_add_char(p->to, '"');
}

static bool print_source(struct canon_request *rq, struct print *p, const struct canon_message *m, const struct canon_part *part) {
    if (part->file_id.n)
        return canon_cannot(rq, "%s refers to a file stored elsewhere (file_id); send the file itself", canon_where(rq, m, part));
    print_open(p, "source", '{');
    if (part->url.p) {
        print_str(p, "type", SV("url"));
        print_str(p, "url", part->url);
    } else if (part->text.p) {
        print_str(p, "type", SV("text"));
        print_str(p, "media_type", SV("text/plain"));
        print_str(p, "data", part->text);
    } else {
        print_str(p, "type", SV("base64"));
        print_str(p, "media_type", part->mime);
        print_name(p, "data");
        buf_add_char(p->to, '"');
        buf_add(p->to, part->data);
        buf_add_char(p->to, '"');
    }
    print_close(p, '}');
    return true;
}

/* Empty texts are an error to this API: they are left out. */
static bool print_parts(struct canon_request *rq, struct print *p, const struct canon_message *m) {
    for (const struct canon_part *part = m->parts.first; part; part = part->next) {
        bool text = part->kind == CANON_TEXT || part->kind == CANON_REFUSAL, ok = true;
        if (text && !part->text.n)
            continue;
        if (part->kind == CANON_AUDIO)
            return canon_cannot(rq, "%s is audio, which this model's runtime does not take", canon_where(rq, m, part));
        print_open(p, NULL, '{');
        print_str(p, "type", text ? SV("text") : part->kind == CANON_IMAGE ? SV("image") : SV("document"));
        if (text) {
            print_str(p, "text", part->text);
        } else {
            if (part->kind == CANON_DOCUMENT && part->title.n)
                print_str(p, "title", part->title);
            ok = print_source(rq, p, m, part);
        }
        print_close(p, '}');
        if (!ok)
            return false;
    }
    return true;
}

static bool print_result(struct canon_request *rq, struct print *p, const struct canon_message *m) {
    print_open(p, NULL, '{');
    print_str(p, "type", SV("tool_result"));
    print_id(p, "tool_use_id", m->call_id);
    print_open(p, "content", '[');
    bool ok = print_parts(rq, p, m);
    print_close(p, ']');
    if (m->is_error)
        print_bool(p, "is_error", true);
    print_close(p, '}');
    return ok;
}

/* Thoughts go back to who signed them only; a local mark means they are ours. */
static void print_thoughts(struct print *p, const struct canon_message *m) {
    for (const struct canon_reasoning *r = m->reasoning; r; r = r->next) {
        if (!r->signature.n || sv_starts(r->signature, SV(MESSAGES_OWN_SIGNATURE)))
            continue;
        print_open(p, NULL, '{');
        print_str(p, "type", SV("thinking"));
        print_str(p, "thinking", r->text);
        print_str(p, "signature", r->signature);
        print_close(p, '}');
    }
}

static void print_calls(struct canon_request *rq, struct print *p, const struct canon_message *m) {
    for (const struct canon_call *c = m->calls; c; c = c->next) {
        print_open(p, NULL, '{');
        print_str(p, "type", SV("tool_use"));
        print_id(p, "id", c->id);
        print_str(p, "name", c->name);
        if (c->is_custom) {
            print_open(p, "input", '{');
            print_str(p, "input", c->args);
            print_close(p, '}');
        } else {
            canon_print_args_object(p, "input", c->args);
        }
        print_close(p, '}');
    }
    (void)rq;
}

static bool print_system_entry(struct canon_request *rq, struct print *p, const struct canon_message *m) {
    print_open(p, NULL, '{');
    print_str(p, "type", SV("text"));
    print_str(p, "text", canon_system_marked(rq, m));
    print_close(p, '}');
    return rq->fault->code == ERR_NONE;
}

static bool print_said(struct canon_request *rq, struct print *p, const struct canon_message *m) {
    print_thoughts(p, m);
    if (!print_parts(rq, p, m))
        return false;
    print_calls(rq, p, m);
    return true;
}

/* The user's turn from `m` to `end`, which answers the assistant's from `asked` to `m`: exactly one result for each of its calls,
 * then everything else. A second result of a call is said in words. */
static bool print_answers(struct canon_request *rq, struct print *p, const struct canon_message *asked, const struct canon_message *m,
                          const struct canon_message *end) {
    bool ok = true;
    for (const struct canon_message *one = m; one != end && ok; one = one->next) {
        if (one->role == CANON_TOOL && !one->call->is_told) {
            one->call->is_told = true;
            one->call->teller = one;
            ok = print_result(rq, p, one);
        }
    }
    for (const struct canon_message *one = asked; one && one != m; one = one->next) {
        for (struct canon_call *c = one->calls; c; c = c->next) {
            if (c->is_told)
                continue;
            c->is_told = true;
            print_open(p, NULL, '{');
            print_str(p, "type", SV("tool_result"));
            print_id(p, "tool_use_id", c->id);
            print_str(p, "content", SV("no result recorded"));
            print_close(p, '}');
        }
    }
    for (const struct canon_message *one = m; one != end && ok; one = one->next)
        if (one->role != CANON_TOOL || one->call->teller != one)
            ok = one->role == CANON_SYSTEM ? print_system_entry(rq, p, one) : print_parts(rq, p, one);
    return ok;
}

/* One turn; nothing when nothing is left of it. */
static bool print_turn(struct canon_request *rq, struct print *p, bool assistant, const struct canon_message *asked,
                       const struct canon_message *m, const struct canon_message *end) {
    size_t was = p->to->n, empty;
    bool ok = true;
    print_open(p, NULL, '{');
    print_str(p, "role", assistant ? SV("assistant") : SV("user"));
    print_open(p, "content", '[');
    empty = p->to->n;
    if (!assistant)
        ok = print_answers(rq, p, asked, m, end);
    for (; assistant && ok && m != end; m = m->next)
        ok = print_said(rq, p, m);
    if (p->to->n == empty)
        p->to->n = was;
    else
        buf_add(p->to, SV("]}"));
    return ok;
}

/* Turns must alternate: what stands side by side on one side of the conversation is one turn. */
static bool print_messages(struct canon_request *rq, struct print *p) {
    const struct canon_message *m = rq->messages, *end = m, *asked = NULL;
    print_open(p, "messages", '[');
    for (; m; m = end) {
        bool assistant = m->role == CANON_ASSISTANT;
        while (end && (end->role == CANON_ASSISTANT) == assistant)
            end = end->next;
        if (!print_turn(rq, p, assistant, asked, m, end))
            return false;
        asked = assistant ? m : NULL;
    }
    if (asked && !print_turn(rq, p, false, asked, NULL, NULL)) /* the conversation ends with calls nobody answered */
        return false;
    print_close(p, ']');
    return true;
}

static bool print_tools(struct canon_request *rq, struct print *p) {
    static const char *const words[] = { [CANON_CHOICE_UNSET] = "auto", [CANON_CHOICE_AUTO] = "auto", [CANON_CHOICE_NONE] = "none",
                                         [CANON_CHOICE_REQUIRED] = "any", [CANON_CHOICE_NAMED] = "tool" };
    print_open(p, "tools", '[');
    for (const struct canon_tool *t = rq->tools; t; t = t->next) {
        print_open(p, NULL, '{');
        print_str(p, "name", t->name);
        if (t->description.n)
            print_str(p, "description", t->description);
        canon_print_schema(p, "input_schema", t);
        if (t->strict == CANON_YES && !t->is_custom)
            print_bool(p, "strict", true);
        print_close(p, '}');
    }
    print_close(p, ']');
    if (rq->choice == CANON_CHOICE_UNSET && rq->parallel != CANON_NO)
        return true;
    print_open(p, "tool_choice", '{');
    print_str(p, "type", sv_of(words[rq->choice]));
    if (rq->choice == CANON_CHOICE_NAMED)
        print_str(p, "name", rq->choice_name);
    if (rq->parallel == CANON_NO && rq->choice != CANON_CHOICE_NONE)
        print_bool(p, "disable_parallel_tool_use", true);
    print_close(p, '}');
    return true;
}

static bool print_thinking(struct canon_request *rq, struct print *p) {
    enum { THINK_LEAST = 1024 };
    bool forced = rq->choice == CANON_CHOICE_REQUIRED || rq->choice == CANON_CHOICE_NAMED;
    int64_t budget = canon_budget_of(rq);
    if (rq->think == CANON_UNSET || (rq->spec->quirks & TRANSLATE_Q_NO_THINK))
        return true;
    if (rq->think == CANON_YES && forced)
        return canon_lose(rq, CANON_LOSS, "thinking");
    if (budget > rq->max_output - THINK_LEAST)
        budget = rq->max_output - THINK_LEAST;
    print_open(p, "thinking", '{');
    if (rq->think == CANON_NO || (budget >= 0 && budget < THINK_LEAST)) {
        print_str(p, "type", SV("disabled"));
    } else if (budget < 0) {
        print_str(p, "type", SV("adaptive"));
    } else {
        print_str(p, "type", SV("enabled"));
        print_int(p, "budget_tokens", budget);
    }
    print_close(p, '}');
    return true;
}

/* Sampling members this API has not. */
static bool lose_sampling(struct canon_request *rq) {
    const struct {
        const char *name;
        yyjson_val *value;
        enum canon_weight weight;
    } lost[] = {
        { "min_p", rq->min_p, CANON_LOSS },
        { "typical_p", rq->typical_p, CANON_LOSS },
        { "repeat_penalty", rq->repeat_penalty, CANON_LOSS },
        { "presence_penalty", rq->presence_penalty, CANON_LOSS },
        { "frequency_penalty", rq->frequency_penalty, CANON_LOSS },
        { "seed", rq->seed, CANON_LOSS },
    };
    if (rq->logit_bias)
        return canon_cannot(rq, "\"logit_bias\" cannot be translated for this model's runtime");
    if (rq->logprobs)
        return canon_cannot(rq, "\"logprobs\" cannot be translated for this model's runtime");
    for (size_t i = 0; i < sizeof lost / sizeof lost[0]; i++)
        if (lost[i].value && !canon_lose(rq, lost[i].weight, "%s", lost[i].name))
            return false;
    return true;
}

static bool print_output(struct canon_request *rq, struct print *p) {
    bool effort = rq->think == CANON_UNSET && rq->effort != CANON_EFFORT_UNSET; /* else it is told as a budget */
    if (rq->format == CANON_FORMAT_JSON && !canon_lose(rq, CANON_LOSS, "response_format"))
        return false;
    if (rq->format != CANON_FORMAT_SCHEMA && !effort)
        return true;
    print_open(p, "output_config", '{');
    if (effort)
        print_str(p, "effort", sv_of(canon_effort_name(rq->effort)));
    if (rq->format == CANON_FORMAT_SCHEMA) {
        print_open(p, "format", '{');
        print_str(p, "type", SV("json_schema"));
        canon_print_value(p, "schema", rq->schema);
        print_close(p, '}');
    }
    print_close(p, '}');
    return true;
}

/* Blanks alone are an error to this API. */
static bool print_stop(struct canon_request *rq, struct print *p) {
    bool open = false;
    for (const struct canon_string *s = rq->stop; s; s = s->next) {
        size_t blanks = 0;
        while (blanks < s->text.n && memchr(" \t\r\n", s->text.p[blanks], 4))
            blanks++;
        if (blanks == s->text.n) {
            if (!canon_lose(rq, CANON_LOSS, "stop"))
                return false;
            continue;
        }
        if (!open)
            print_open(p, "stop_sequences", '[');
        open = true;
        print_str(p, NULL, s->text);
    }
    if (open)
        print_close(p, ']');
    return true;
}

/* How the answer is to be made, rather than of what. */
static bool print_run(struct canon_request *rq, struct print *p) {
    double t = rq->temperature ? yyjson_get_num(rq->temperature) : 0;
    if (!lose_sampling(rq))
        return false;
    if (rq->temperature && t > 1) { /* its scale ends at 1 */
        if (!canon_lose(rq, CANON_LOSS, "temperature"))
            return false;
        print_int(p, "temperature", 1);
    } else {
        canon_print_value(p, "temperature", rq->temperature);
    }
    canon_print_value(p, "top_p", rq->top_p);
    canon_print_value(p, "top_k", rq->top_k);
    if (!print_stop(rq, p))
        return false;
    print_bool(p, "stream", rq->stream);
    return true;
}

bool messages_print(struct canon_request *rq, struct buf *out) {
    enum { MAX_OUTPUT = 8192 };
    struct print p = print_begin(out);
    struct sv system = canon_join(rq, &rq->system, "\n\n");
    if (rq->max_output < 0) /* this API wants a limit */
        rq->max_output = rq->spec->context > 0 && rq->spec->context / 4 < MAX_OUTPUT ? rq->spec->context / 4 : MAX_OUTPUT;
    print_open(&p, NULL, '{');
    print_str(&p, "model", rq->spec->model);
    if (!rq->spec->for_count)
        print_int(&p, "max_tokens", rq->max_output);
    if (rq->format == CANON_FORMAT_JSON) { /* said in words, for there is no member for it */
        struct canon_part *part = canon_part(rq, &rq->system, CANON_TEXT, 0);
        if (!part)
            return false;
        part->text = SV("Answer with one JSON object and nothing else.");
        system = canon_join(rq, &rq->system, "\n\n");
    }
    if (system.n)
        print_str(&p, "system", system);
    if (!print_messages(rq, &p) || (rq->tools && !print_tools(rq, &p)) || !print_thinking(rq, &p) || !print_output(rq, &p))
        return false;
    if (!rq->spec->for_count && !print_run(rq, &p)) /* count_tokens knows none of these */
        return false;
    if (!openai_print_extra(rq, &p, FAMILY_ANTHROPIC))
        return false;
    print_close(&p, '}');
    return true;
}
