/* translate/completions.c - OpenAI completions: a bare prompt and its continuation, as client and as runtime.
 * Members: the reference on API dialects, section 3. LM Studio's /api/v0 has the same form. */
#include "translate/completions.h"

#include <stddef.h>

#include "llm/print.h"

#define AT(field) offsetof(struct canon_request, field)

/* --- the request -------------------------------------------------------------------------------------------------- */

static bool read_prompt(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    yyjson_val *only = yyjson_is_arr(v) && yyjson_arr_size(v) == 1 ? yyjson_arr_get_first(v) : v;
    rq->prompt = only;
    return yyjson_is_str(only) ||
           canon_cannot(rq, "\"%s\" must be one string when the request is translated for this model's runtime", row->name);
}

static bool read_suffix(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    rq->has_suffix = true;
    return canon_row_string(rq, row, v);
}

static bool read_one(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    return (yyjson_is_num(v) && yyjson_get_num(v) == 1) ||
           canon_cannot(rq, "\"%s\" other than 1 is not supported when the request is translated for this model's runtime", row->name);
}

static bool read_logprobs(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    if (yyjson_is_num(v) && yyjson_get_num(v) == 0)
        return true;
    return canon_cannot(rq, "\"%s\" is not supported when the request is translated for this model's runtime", row->name);
}

static bool read_stream_options(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    (void)row;
    rq->wants_usage = json_bool(v, "include_usage", false);
    return true;
}

static const struct canon_row rows[] = {
    { "model", canon_row_skip, 0 },
    { "prompt", read_prompt, 0 },
    { "suffix", read_suffix, AT(suffix) },
    { "stream", canon_row_flag, AT(stream) },
    { "stream_options", read_stream_options, 0 },
    { "max_tokens", canon_row_limit, AT(max_output) },
    CANON_SAMPLING_ROWS,
    { "repetition_penalty", canon_row_number, AT(repeat_penalty) },
    { "logit_bias", canon_row_object, AT(logit_bias) },
    { "stop", canon_row_stop, 0 },
    { "echo", canon_row_flag, AT(echo) },
    { "n", read_one, 0 },
    { "best_of", read_one, 0 },
    { "logprobs", read_logprobs, 0 },
    { "user", canon_row_hint, 0 },
    { 0 },
};

bool completions_read(struct canon_request *rq, yyjson_val *body) {
    rq->kind = CANON_PROMPT;
    return canon_members(rq, body, rows, true) && (rq->prompt || canon_bad(rq, "\"prompt\" is missing"));
}

bool completions_print(struct canon_request *rq, struct buf *out) {
    struct print p = print_begin(out);
    print_open(&p, NULL, '{');
    print_str(&p, "model", rq->spec->model);
    canon_print_value(&p, "prompt", rq->prompt);
    if (rq->has_suffix)
        print_str(&p, "suffix", rq->suffix);
    if (rq->echo)
        print_bool(&p, "echo", true);
    if (rq->max_output >= 0)
        print_int(&p, "max_tokens", rq->max_output);
    openai_print_sampling(rq, &p);
    canon_print_value(&p, "logit_bias", rq->logit_bias);
    openai_print_stream(rq, &p);
    if (!openai_print_extra(rq, &p, FAMILY_OPENAI))
        return false;
    print_close(&p, '}');
    return true;
}

/* --- decoding ----------------------------------------------------------------------------------------------------- */

static void read_choice(struct canon_reply *r, yyjson_val *root) {
    yyjson_val *choice = yyjson_arr_get_first(json_get(root, "choices"));
    canon_usage_openai(r, json_get(root, "usage"));
    canon_emit_said(r, CANON_E_TEXT, json_get(choice, "text"));
    canon_finish_word(r, json_str(choice, "finish_reason"));
}

bool completions_decode(struct canon_reply *r, struct sv name, struct sv data) {
    if (sv_eq(data, SV("[DONE]"))) {
        canon_emit_end(r);
        return r->fault.code == ERR_NONE;
    }
    yyjson_doc *doc = canon_parse(r, data);
    yyjson_val *root = yyjson_doc_get_root(doc), *error = canon_error_in(root, name);
    if (error)
        canon_reply_error(r, error);
    else if (doc)
        read_choice(r, root);
    yyjson_doc_free(doc);
    return r->fault.code == ERR_NONE;
}

bool completions_decode_end(struct canon_reply *r) {
    canon_emit_end(r);
    return r->fault.code == ERR_NONE;
}

bool completions_decode_reply(struct canon_reply *r, yyjson_val *body) {
    read_choice(r, body);
    canon_emit_end(r);
    return r->fault.code == ERR_NONE;
}

/* --- encoding ----------------------------------------------------------------------------------------------------- */

bool completions_begin(struct canon_reply *r) {
    r->id = canon_new_id(r, "cmpl-");
    return r->id.p;
}

static void chunk(struct canon_reply *r, struct sv text, const char *finish) {
    struct print p = print_begin(r->out);
    buf_add(r->out, SV("data: "));
    openai_open(r, &p, "text_completion");
    print_open(&p, "choices", '[');
    print_open(&p, NULL, '{');
    print_int(&p, "index", 0);
    print_str(&p, "text", text);
    canon_print_raw(&p, "logprobs", SV("null"));
    print_str_or_null(&p, "finish_reason", sv_of(finish));
    buf_add(r->out, SV("}]}\n\n"));
}

/* Calls cannot be told in this form, and reasoning has no place: both stay out. */
void completions_encode(struct canon_reply *r, const struct canon_event *ev) {
    if (ev->kind == CANON_E_TEXT || ev->kind == CANON_E_REFUSAL)
        chunk(r, ev->text, NULL);
    if (ev->kind != CANON_E_END)
        return;
    chunk(r, SV(""), openai_finish(r));
    if (r->wants_usage) {
        struct print p = print_begin(r->out);
        buf_add(r->out, SV("data: "));
        openai_open(r, &p, "text_completion");
        canon_print_raw(&p, "choices", SV("[]"));
        openai_print_usage(r, &p);
        buf_add(r->out, SV("}\n\n"));
    }
    buf_add(r->out, SV("data: [DONE]\n\n"));
}

void completions_print_choices(struct canon_reply *r, struct print *p) {
    struct buf text = BUF_MAX(r->spec->reply_max);
    for (const struct canon_block *b = r->blocks; b; b = b->next)
        if (b->kind == CANON_E_TEXT || b->kind == CANON_E_REFUSAL)
            buf_add(&text, buf_sv(&b->text));
    print_open(p, "choices", '[');
    print_open(p, NULL, '{');
    print_int(p, "index", 0);
    print_str(p, "text", buf_sv(&text));
    canon_print_raw(p, "logprobs", SV("null"));
    print_str(p, "finish_reason", sv_of(openai_finish(r)));
    buf_add(p->to, SV("}]"));
    openai_print_usage(r, p);
    p->to->failed = p->to->failed || text.failed;
    buf_deinit(&text);
}

void completions_print_reply(struct canon_reply *r) {
    struct print p = print_begin(r->out);
    openai_open(r, &p, "text_completion");
    completions_print_choices(r, &p);
    print_close(&p, '}');
}

const struct dialect dialect_completions = {
    .api = LLM_COMPLETIONS,
    .path = "/v1/completions",
    .stream_type = "text/event-stream; charset=utf-8",
    .family = FAMILY_OPENAI,
    .read = completions_read,
    .begin = completions_begin,
    .encode = completions_encode,
    .print_reply = completions_print_reply,
    .print = completions_print,
    .decode = completions_decode,
    .decode_end = completions_decode_end,
    .decode_reply = completions_decode_reply,
};
