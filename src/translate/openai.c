#include "translate/openai.h"

#include "translate/ollama.h"

#include "llm/print.h"

void openai_print_sampling(struct canon_request *rq, struct print *p) {
    canon_print_sampling(rq, p, rq->spec->quirks & TRANSLATE_Q_REPETITION ? "repetition_penalty" : "repeat_penalty");
    canon_print_stop(rq, p);
}

void openai_print_stream(struct canon_request *rq, struct print *p) {
    print_bool(p, "stream", rq->stream);
    if (!rq->stream || (rq->spec->quirks & TRANSLATE_Q_NO_USAGE_OPTION))
        return;
    print_open(p, "stream_options", '{');
    print_bool(p, "include_usage", true);
    print_close(p, '}');
}

void openai_print_member(struct print *p, struct sv name, yyjson_val *value) {
    print_comma(p);
    buf_add_json(p->to, name);
    buf_add_char(p->to, ':');
    canon_print_value(&(struct print){ p->to, p->to->n }, NULL, value);
}

bool openai_print_extra(struct canon_request *rq, struct print *p, unsigned family) {
    bool same = dialect_of(rq->spec->client)->family == family;
    for (const struct canon_extra *x = rq->extra; x; x = x->next) {
        if (same) {
            openai_print_member(p, x->name, x->value);
        } else if (!canon_lose(rq, CANON_LOSS, "%.*s", SV_FMT(sv_first(x->name, 64)))) {
            return false;
        }
    }
    if (family == FAMILY_OLLAMA)
        return true;
    /* What only Ollama's own API can say. */
    return (!rq->keep_alive || canon_lose(rq, CANON_HINT, "keep_alive")) &&
           (rq->num_ctx < 0 || canon_lose(rq, CANON_LOSS, "%s", rq->options ? "options.num_ctx" : "context_length")) && ollama_lose_options(rq);
}

void openai_print_usage(const struct canon_reply *r, struct print *p) {
    struct canon_usage u = canon_usage_settled(r);
    print_open(p, "usage", '{');
    print_int(p, "prompt_tokens", u.input);
    print_int(p, "completion_tokens", u.output);
    print_int(p, "total_tokens", u.input + u.output);
    if (u.cache_read >= 0) {
        print_open(p, "prompt_tokens_details", '{');
        print_int(p, "cached_tokens", u.cache_read);
        print_close(p, '}');
    }
    if (u.reasoning >= 0) {
        print_open(p, "completion_tokens_details", '{');
        print_int(p, "reasoning_tokens", u.reasoning);
        print_close(p, '}');
    }
    print_close(p, '}');
}

const char *openai_finish(const struct canon_reply *r) {
    switch (r->finish) {
    case CANON_LENGTH:
    case CANON_CONTEXT_FULL: return "length";
    case CANON_TOOL_CALLS: return r->deprecated_functions ? "function_call" : "tool_calls";
    case CANON_FILTERED:
    case CANON_REFUSED: return "content_filter";
    default: return "stop";
    }
}

void openai_open(struct canon_reply *r, struct print *p, const char *object) {
    print_open(p, NULL, '{');
    print_str(p, "id", r->id);
    print_str(p, "object", sv_of(object));
    print_int(p, "created", (int64_t)r->now_s);
    print_str(p, "model", r->model);
}
