/* translate/ollama.c - Ollama's chat and generate, the request: reading one of a client, printing one for a runtime.
 * Members: the reference on API dialects, 9.2 to 9.5. */
#include "translate/ollama.h"

#include <stddef.h>

#include "llm/print.h"
#include "translate/openai.h"

#define AT(field) offsetof(struct canon_request, field)

/* --- reading ------------------------------------------------------------------------------------------------------ */

static bool read_text(struct canon_request *rq, struct canon_parts *to, struct sv text) {
    struct canon_part *p = text.n ? canon_part(rq, to, CANON_TEXT, 0) : NULL;
    if (p)
        p->text = text;
    return p || !text.n;
}

static bool read_images(struct canon_request *rq, struct canon_message *m, yyjson_val *images, const char *where) {
    size_t i, n;
    yyjson_val *one;
    if (images && !yyjson_is_null(images) && !yyjson_is_arr(images))
        return canon_bad(rq, "%s must be an array of base64 strings", where);
    yyjson_arr_foreach(images, i, n, one) {
        struct canon_part *p = canon_part(rq, &m->parts, CANON_IMAGE, (uint32_t)i);
        if (!p)
            return false;
        if (!canon_sniff(json_sv(one)).n)
            return canon_bad(rq, "%s[%zu] is not a PNG, JPEG, GIF or WebP image in base64", where, i);
        if (!canon_data(rq, p, SV_NULL, json_sv(one), canon_text(rq, "%s[%zu]", where, i)))
            return false;
    }
    return true;
}

static bool read_calls(struct canon_request *rq, struct canon_message *m, yyjson_val *calls) {
    size_t i, n;
    yyjson_val *one;
    if (calls && !yyjson_is_null(calls) && !yyjson_is_arr(calls))
        return canon_bad(rq, "messages[%u].tool_calls must be an array", m->index);
    yyjson_arr_foreach(calls, i, n, one) {
        yyjson_val *what = json_get(one, "function"), *args = json_get(what, "arguments");
        struct canon_call *c = canon_call(rq, m);
        if (!c)
            return false;
        c->id = json_str(one, "id");
        c->name = json_str(what, "name");
        if (!c->name.n)
            return canon_bad(rq, "messages[%u].tool_calls[%zu].function.name must be a string", m->index, i);
        if (args && !yyjson_is_obj(args))
            return canon_bad(rq, "messages[%u].tool_calls[%zu].function.arguments must be an object", m->index, i);
        c->args = args ? canon_json(rq, args) : SV("{}");
    }
    return true;
}

static bool read_message(struct canon_request *rq, yyjson_val *v, uint32_t i, bool *leading) {
    static const struct {
        const char *name;
        enum canon_role role;
    } roles[] = { { "user", CANON_USER }, { "assistant", CANON_ASSISTANT }, { "tool", CANON_TOOL }, { "system", CANON_SYSTEM } };
    struct sv role = json_str(v, "role"), thought = json_str(v, "thinking");
    yyjson_val *content = json_get(v, "content");
    size_t k = 0, n_roles = sizeof roles / sizeof roles[0];
    while (k < n_roles && !sv_eq(role, sv_of(roles[k].name)))
        k++;
    if (!yyjson_is_obj(v))
        return canon_bad(rq, "messages[%u] must be an object", i);
    if (k == n_roles)
        return canon_bad(rq, "messages[%u].role is \"%.*s\"; it must be system, user, assistant or tool", i, SV_FMT(sv_first(role, 40)));
    if (content && !yyjson_is_null(content) && !yyjson_is_str(content))
        return canon_bad(rq, "messages[%u].content must be a string", i);
    if (!canon_known(rq, v, "messages", CANON_NAMES("role", "content", "thinking", "images", "tool_calls", "tool_call_id", "tool_name")))
        return false;
    if (roles[k].role == CANON_SYSTEM && *leading)
        return read_text(rq, &rq->system, json_sv(content));
    *leading = false;
    struct canon_message *m = canon_message(rq, roles[k].role, i);
    if (!m)
        return false;
    m->call_id = json_str(v, "tool_call_id");
    m->tool_name = json_str(v, "tool_name");
    if (thought.n) {
        struct canon_reasoning *r = canon_reasoning(rq, m);
        if (!r)
            return false;
        r->text = thought;
    }
    return read_text(rq, &m->parts, json_sv(content)) && read_images(rq, m, json_get(v, "images"), canon_text(rq, "messages[%u].images", i)) &&
           read_calls(rq, m, json_get(v, "tool_calls"));
}

static bool read_messages(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    size_t i, n;
    yyjson_val *one;
    bool leading = true;
    if (!yyjson_is_arr(v))
        return canon_bad(rq, "\"%s\" must be an array", row->name);
    if (yyjson_arr_size(v) == 0)
        return canon_cannot(rq, "\"%s\" is empty, which loads or unloads the model; this model's runtime has no such call", row->name);
    yyjson_arr_foreach(v, i, n, one)
        if (!read_message(rq, one, (uint32_t)i, &leading))
            return false;
    return true;
}

static bool read_tools(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    size_t i, n;
    yyjson_val *one;
    if (!yyjson_is_arr(v))
        return canon_bad(rq, "\"%s\" must be an array", row->name);
    yyjson_arr_foreach(v, i, n, one) {
        yyjson_val *what = json_get(one, "function"), *schema = json_get(what, "parameters");
        struct canon_tool *t = canon_tool(rq);
        if (!t)
            return false;
        t->name = json_str(what, "name");
        t->description = json_str(what, "description");
        t->schema = yyjson_is_obj(schema) ? schema : NULL;
        if (!t->name.n)
            return canon_bad(rq, "tools[%zu].function.name must be a string", i);
        if (schema && !yyjson_is_null(schema) && !t->schema)
            return canon_bad(rq, "tools[%zu].function.parameters must be an object", i);
    }
    return true;
}

static bool read_format(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    if (yyjson_is_str(v) && yyjson_get_len(v) == 0)
        return true;
    if (yyjson_is_obj(v)) {
        rq->format = CANON_FORMAT_SCHEMA;
        rq->schema = v;
        return true;
    }
    rq->format = CANON_FORMAT_JSON;
    return sv_eq(json_sv(v), SV("json")) || canon_bad(rq, "\"%s\" must be \"json\" or a JSON schema", row->name);
}

static bool read_think(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    if (yyjson_is_bool(v)) {
        rq->think = yyjson_get_bool(v) ? CANON_YES : CANON_NO;
        return true;
    }
    rq->think = CANON_YES;
    return canon_effort_parse(json_sv(v), &rq->effort) || canon_bad(rq, "\"%s\" must be true, false, \"low\", \"medium\", \"high\" or \"max\"", row->name);
}

static bool read_keep_alive(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    rq->keep_alive = v;
    return yyjson_is_num(v) || yyjson_is_str(v) || canon_bad(rq, "\"%s\" must be seconds or a duration such as \"10m\"", row->name);
}

static const struct canon_row option_rows[] = {
    CANON_SAMPLING_ROWS,
    { "num_predict", canon_row_limit, AT(max_output) },
    { "num_ctx", canon_row_limit, AT(num_ctx) },
    { "stop", canon_row_stop, 0 },
    { 0 },
};

bool ollama_lose_options(struct canon_request *rq) {
    /* How the runner is set up, not what it answers: another runtime has its own. */
    static const struct canon_row runner[] = { { "num_keep", NULL, 0 },  { "num_batch", NULL, 0 },  { "num_gpu", NULL, 0 },
                                               { "main_gpu", NULL, 0 },  { "use_mmap", NULL, 0 },   { "num_thread", NULL, 0 },
                                               { "draft_num_predict", NULL, 0 }, { 0 } };
    size_t i, n;
    yyjson_val *key, *value;
    yyjson_obj_foreach(rq->options, i, n, key, value) {
        struct sv name = json_sv(key);
        if (!canon_row_named(option_rows, name) &&
            !canon_lose(rq, canon_row_named(runner, name) ? CANON_HINT : CANON_LOSS, "options.%.*s", SV_FMT(sv_first(name, 64))))
            return false;
    }
    return true;
}

static bool read_options(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    if (!yyjson_is_obj(v))
        return canon_bad(rq, "\"%s\" must be an object", row->name);
    rq->options = v;
    rq->within = SV("options.");
    bool ok = canon_members(rq, v, option_rows, false);
    rq->within = SV_NULL;
    return ok;
}

static bool refuse(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    if ((yyjson_is_str(v) || yyjson_is_arr(v)) && yyjson_get_len(v) == 0)
        return true;
    return canon_cannot(rq, "\"%s\" is not available on this model's runtime", row->name);
}

#define COMMON_ROWS                                          \
    { "model", canon_row_skip, 0 },                          \
    { "stream", canon_row_flag, AT(stream) },                \
    { "format", read_format, 0 },                            \
    { "options", read_options, 0 },                          \
    { "keep_alive", read_keep_alive, 0 },                    \
    { "think", read_think, 0 },                              \
    { "logprobs", canon_row_flag, AT(logprobs) },            \
    { "top_logprobs", canon_row_int, AT(top_logprobs) },     \
    { "truncate", canon_row_hint, 0 },                       \
    { "shift", canon_row_hint, 0 }

static const struct canon_row chat_rows[] = { COMMON_ROWS, { "messages", read_messages, 0 }, { "tools", read_tools, 0 }, { 0 } };

bool ollama_read_chat(struct canon_request *rq, yyjson_val *body) {
    rq->list = "messages";
    rq->wants_usage = true;
    if (!canon_has(body, "messages"))
        return canon_bad(rq, "\"messages\" is missing");
    return canon_members(rq, body, chat_rows, true);
}

/* Read where they are needed; here for their types. */
static bool read_string(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    return yyjson_is_str(v) || canon_bad(rq, "\"%s\" must be a string", row->name);
}

static bool read_raw(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    return yyjson_is_bool(v) || canon_bad(rq, "\"%s\" must be true or false", row->name);
}

static const struct canon_row generate_rows[] = {
    COMMON_ROWS,
    { "prompt", canon_row_skip, 0 },
    { "suffix", canon_row_skip, 0 },
    { "system", read_string, 0 },
    { "images", canon_row_skip, 0 },
    { "raw", read_raw, 0 },
    { "template", refuse, 0 },
    { "context", refuse, 0 },
    { "messages", canon_row_skip, 0 }, /* no members of this API: they must not meet those of a chat it becomes */
    { "tools", canon_row_skip, 0 },
    { 0 },
};

bool ollama_read_generate(struct canon_request *rq, yyjson_val *body) {
    yyjson_val *prompt = json_get(body, "prompt"), *suffix = json_get(body, "suffix");
    bool has_suffix = yyjson_is_str(suffix) && yyjson_get_len(suffix);
    rq->list = "prompt";
    rq->wants_usage = true;
    if (!yyjson_is_str(prompt))
        return canon_bad(rq, prompt ? "\"prompt\" must be a string" : "\"prompt\" is missing");
    if (!canon_members(rq, body, generate_rows, true))
        return false;
    if (json_bool(body, "raw", false) || has_suffix) {
        rq->kind = CANON_PROMPT;
        rq->prompt = prompt;
        rq->has_suffix = has_suffix;
        rq->suffix = json_sv(suffix);
        return true;
    }
    if (yyjson_get_len(prompt) == 0)
        return canon_cannot(rq, "\"prompt\" is empty, which loads or unloads the model; this model's runtime has no such call");
    struct canon_message *m = canon_message(rq, CANON_USER, 0);
    return m && read_text(rq, &rq->system, json_str(body, "system")) && read_text(rq, &m->parts, json_sv(prompt)) &&
           read_images(rq, m, json_get(body, "images"), "images");
}

/* --- printing ----------------------------------------------------------------------------------------------------- */

/* What the client of another Ollama set that no canonical field holds. */
static void print_other_options(struct canon_request *rq, struct print *p) {
    size_t i, n;
    yyjson_val *key, *value;
    yyjson_obj_foreach(rq->options, i, n, key, value)
        if (!canon_row_named(option_rows, json_sv(key)))
            openai_print_member(p, json_sv(key), value);
}

static void print_options(struct canon_request *rq, struct print *p) {
    size_t was = p->to->n;
    print_open(p, "options", '{');
    size_t empty = p->to->n;
    canon_print_sampling(rq, p, "repeat_penalty");
    if (rq->max_output >= 0)
        print_int(p, "num_predict", rq->max_output);
    if (rq->num_ctx >= 0)
        print_int(p, "num_ctx", rq->num_ctx);
    canon_print_stop(rq, p);
    print_other_options(rq, p);
    if (p->to->n == empty)
        p->to->n = was;
    else
        print_close(p, '}');
}

static bool print_common(struct canon_request *rq, struct print *p) {
    unsigned quirks = rq->spec->quirks;
    enum canon_effort effort = canon_effort_of(rq);
    if (rq->logit_bias)
        return canon_cannot(rq, "\"logit_bias\" cannot be translated for this model's runtime");
    if (rq->format == CANON_FORMAT_JSON)
        print_str(p, "format", SV("json"));
    else if (rq->format == CANON_FORMAT_SCHEMA)
        canon_print_value(p, "format", rq->schema);
    if ((rq->think != CANON_UNSET || effort != CANON_EFFORT_UNSET) && !(quirks & TRANSLATE_Q_NO_THINK)) {
        static const char *const words[] = { [CANON_MINIMAL] = "low", [CANON_LOW] = "low", [CANON_MEDIUM] = "medium",
                                             [CANON_HIGH] = "high",   [CANON_XHIGH] = "max", [CANON_MAX] = "max" };
        if (rq->think != CANON_NO && effort != CANON_EFFORT_UNSET && rq->think_budget < 0)
            print_str(p, "think", sv_of(words[effort]));
        else
            print_bool(p, "think", rq->think == CANON_YES);
    }
    canon_print_value(p, "keep_alive", rq->keep_alive);
    if (rq->spec->guard)
        print_bool(p, "truncate", false);
    if (rq->logprobs) {
        print_bool(p, "logprobs", true);
        if (rq->top_logprobs >= 0)
            print_int(p, "top_logprobs", rq->top_logprobs);
    }
    print_options(rq, p);
    print_bool(p, "stream", rq->stream);
    return openai_print_extra(rq, p, FAMILY_OLLAMA);
}

/* Text and pictures of one message. */
static bool print_content(struct canon_request *rq, struct print *p, const struct canon_message *m) {
    bool open = false;
    for (const struct canon_part *part = m->parts.first; part; part = part->next)
        if (part->kind == CANON_AUDIO || (part->kind == CANON_DOCUMENT && !part->text.n))
            return canon_cannot(rq, "%s is %s, which this model's runtime does not take", canon_where(rq, m, part),
                                part->kind == CANON_AUDIO ? "audio" : "a document that is not text");
    struct sv text = canon_join(rq, &m->parts, "\n\n");
    if (m->is_error && !canon_mark_error(rq, &text))
        return false;
    print_str(p, "content", text);
    for (const struct canon_part *part = m->parts.first; part; part = part->next) {
        if (part->kind != CANON_IMAGE)
            continue;
        if (!part->data.p)
            return canon_cannot(rq, "%s is a link, and this model's runtime does not fetch links; send the image as base64",
                                canon_where(rq, m, part));
        if (!open)
            print_open(p, "images", '[');
        open = true;
        print_name(p, NULL);
        buf_add_char(p->to, '"');
        buf_add(p->to, part->data);
        buf_add_char(p->to, '"');
    }
    if (open)
        print_close(p, ']');
    return true;
}

/* Takes parts off the front, up to where text and pictures would have to mix: this API keeps them apart in a message. */
static struct canon_parts cut(struct canon_parts *rest) {
    struct canon_parts head = { .first = rest->first };
    bool has[2] = { false, false };
    struct canon_part *p = rest->first;
    for (bool was = false; p; p = p->next) {
        bool image = p->kind == CANON_IMAGE;
        if (has[image] && was != image)
            break;
        has[image] = true;
        was = image;
        head.last = p;
        head.n++;
    }
    *rest = (struct canon_parts){ p, p ? rest->last : NULL, rest->n - head.n };
    if (head.last)
        head.last->next = NULL;
    return head;
}

static bool print_message(struct canon_request *rq, struct print *p, const struct canon_message *m) {
    static const char *const roles[] = { [CANON_SYSTEM] = "system", [CANON_USER] = "user", [CANON_ASSISTANT] = "assistant", [CANON_TOOL] = "tool" };
    print_open(p, NULL, '{');
    print_str(p, "role", sv_of(roles[m->role]));
    if (!print_content(rq, p, m))
        return false;
    struct sv thoughts = canon_thoughts(rq, m);
    if (thoughts.n)
        print_str(p, "thinking", thoughts);
    if (m->calls) {
        print_open(p, "tool_calls", '[');
        for (const struct canon_call *c = m->calls; c; c = c->next) {
            print_open(p, NULL, '{');
            print_str(p, "id", c->id);
            print_open(p, "function", '{');
            print_str(p, "name", c->name);
            if (c->is_custom) {
                print_open(p, "arguments", '{');
                print_str(p, "input", c->args);
                print_close(p, '}');
            } else {
                canon_print_args_object(p, "arguments", c->args);
            }
            buf_add(p->to, SV("}}"));
        }
        print_close(p, ']');
    }
    if (m->role == CANON_TOOL) {
        print_str(p, "tool_call_id", m->call_id);
        print_str(p, "tool_name", m->tool_name);
    }
    print_close(p, '}');
    return true;
}

/* A choice this API cannot state is put into words, and into which tools are shown. */
static const char *choice_in_words(struct canon_request *rq) {
    if (rq->choice == CANON_CHOICE_REQUIRED)
        return "Answer with a call of one of the tools.";
    if (rq->choice == CANON_CHOICE_NAMED)
        return canon_text(rq, "Answer with a call of the tool %.*s.", SV_FMT(sv_first(rq->choice_name, 128)));
    return "";
}

static bool print_messages(struct canon_request *rq, struct print *p) {
    const char *words = rq->tools ? choice_in_words(rq) : "";
    print_open(p, "messages", '[');
    if (words[0]) {
        struct canon_part *part = canon_part(rq, &rq->system, CANON_TEXT, 0);
        if (!part || !canon_lose(rq, CANON_LOSS, "tool_choice"))
            return false;
        part->text = sv_of(words);
    }
    struct sv system = canon_join(rq, &rq->system, "\n\n");
    if (system.n) {
        print_open(p, NULL, '{');
        print_str(p, "role", SV("system"));
        print_str(p, "content", system);
        print_close(p, '}');
    }
    for (const struct canon_message *m = rq->messages; m; m = m->next) {
        struct canon_message piece = *m;
        struct canon_parts rest = m->parts;
        if (m->role == CANON_SYSTEM && dialect_of(rq->spec->client)->family != FAMILY_OLLAMA) {
            print_open(p, NULL, '{'); /* templates may drop all but the first */
            print_str(p, "role", SV("user"));
            print_str(p, "content", canon_system_marked(rq, m));
            print_close(p, '}');
            if (rq->fault->code != ERR_NONE)
                return false;
            continue;
        }
        do {
            if (m->role == CANON_USER)
                piece.parts = cut(&rest);
            if (!print_message(rq, p, &piece))
                return false;
        } while (m->role == CANON_USER && rest.first);
    }
    print_close(p, ']');
    return true;
}

static bool print_tools(struct canon_request *rq, struct print *p) {
    if (!rq->tools || rq->choice == CANON_CHOICE_NONE)
        return true;
    print_open(p, "tools", '[');
    for (const struct canon_tool *t = rq->tools; t; t = t->next) {
        if (rq->choice == CANON_CHOICE_NAMED && !sv_eq(t->name, rq->choice_name))
            continue;
        print_open(p, NULL, '{');
        print_str(p, "type", SV("function"));
        print_open(p, "function", '{');
        print_str(p, "name", t->name);
        if (t->description.n)
            print_str(p, "description", t->description);
        canon_print_schema(p, "parameters", t);
        buf_add(p->to, SV("}}"));
    }
    print_close(p, ']');
    return rq->parallel != CANON_NO || canon_lose(rq, CANON_HINT, "parallel_tool_calls"); /* the first call is kept alone */
}

bool ollama_print_chat(struct canon_request *rq, struct buf *out) {
    struct print p = print_begin(out);
    print_open(&p, NULL, '{');
    print_str(&p, "model", rq->spec->model);
    if (!print_messages(rq, &p) || !print_tools(rq, &p) || !print_common(rq, &p))
        return false;
    print_close(&p, '}');
    return true;
}

bool ollama_print_generate(struct canon_request *rq, struct buf *out) {
    struct print p = print_begin(out);
    print_open(&p, NULL, '{');
    print_str(&p, "model", rq->spec->model);
    canon_print_value(&p, "prompt", rq->prompt);
    if (rq->has_suffix)
        print_str(&p, "suffix", rq->suffix);
    else
        print_bool(&p, "raw", true); /* else a chat template would be applied */
    if (rq->echo)
        return canon_cannot(rq, "\"echo\" cannot be translated for this model's runtime");
    if (!print_common(rq, &p))
        return false;
    print_close(&p, '}');
    return true;
}
