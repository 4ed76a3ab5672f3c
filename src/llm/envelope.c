/* llm/envelope.c - errors in each vendor's own words, so that their SDKs raise the exception their users expect.
 * Tables: the reference on API dialects, 2.8, 8.7, 10.3 and 12. */
#include "llm/llm.h"

#include <stdio.h>

#include "llm/print.h"

/* What the vendors call it. An OpenAI code of NULL is Drover's own name, err_name(). */
static const struct words {
    const char *openai_type, *openai_code, *anthropic, *lmstudio;
} words[ERR_CODES] = {
    [ERR_NONE] = { "api_error", NULL, "api_error", "unknown" },
    [ERR_BAD_REQUEST] = { "invalid_request_error", "invalid_value", "invalid_request_error", "invalid_request" },
    [ERR_PARAMETER] = { "invalid_request_error", "unsupported_parameter", "invalid_request_error", "invalid_request" },
    [ERR_CONTEXT] = { "invalid_request_error", "context_length_exceeded", "invalid_request_error", "invalid_request" },
    [ERR_AUTH] = { "authentication_error", "invalid_api_key", "authentication_error", "invalid_request" },
    [ERR_DENIED] = { "permission_error", "insufficient_permissions", "permission_error", "invalid_request" },
    [ERR_NOT_FOUND] = { "invalid_request_error", "unknown_url", "not_found_error", "invalid_request" },
    [ERR_NO_MODEL] = { "invalid_request_error", "model_not_found", "not_found_error", "model_not_found" },
    [ERR_METHOD] = { "invalid_request_error", "method_not_supported", "invalid_request_error", "invalid_request" },
    [ERR_SLOW_CLIENT] = { "invalid_request_error", NULL, "invalid_request_error", "invalid_request" },
    [ERR_EXISTS] = { "conflict_error", NULL, "conflict_error", "invalid_request" },
    [ERR_STALE] = { "conflict_error", NULL, "conflict_error", "invalid_request" },
    [ERR_TOO_LARGE] = { "invalid_request_error", "request_too_large", "request_too_large", "invalid_request" },
    [ERR_URI_LONG] = { "invalid_request_error", NULL, "invalid_request_error", "invalid_request" },
    [ERR_MEDIA] = { "invalid_request_error", NULL, "invalid_request_error", "invalid_request" },
    [ERR_MISDIRECTED] = { "invalid_request_error", NULL, "invalid_request_error", "invalid_request" },
    [ERR_LIMIT] = { "rate_limit_error", "rate_limit_exceeded", "rate_limit_error", "invalid_request" },
    [ERR_BUDGET] = { "insufficient_quota", "insufficient_quota", "rate_limit_error", "invalid_request" },
    [ERR_HEAD_LARGE] = { "invalid_request_error", NULL, "invalid_request_error", "invalid_request" },
    [ERR_CANCELED] = { "api_error", NULL, "api_error", "unknown" },
    [ERR_INTERNAL] = { "server_error", NULL, "api_error", "internal_error" },
    [ERR_CONFIG] = { "server_error", NULL, "api_error", "internal_error" },
    [ERR_UNSUPPORTED] = { "invalid_request_error", "unsupported_parameter", "invalid_request_error",
                          "not_implemented" },
    [ERR_IO] = { "api_error", NULL, "api_error", "internal_error" },
    [ERR_BAD_REPLY] = { "api_error", NULL, "api_error", "internal_error" },
    [ERR_UNAVAILABLE] = { "service_unavailable", NULL, "overloaded_error", "internal_error" },
    [ERR_STORE] = { "service_unavailable", NULL, "api_error", "internal_error" },
    [ERR_NO_MEMORY] = { "service_unavailable", NULL, "overloaded_error", "internal_error" },
    [ERR_TIMEOUT] = { "api_error", NULL, "timeout_error", "internal_error" },
    [ERR_LOOP] = { "api_error", NULL, "api_error", "internal_error" },
};

static struct sv openai_code(const struct err *e) {
    const char *code = words[e->code].openai_code;
    return sv_of(code ? code : err_name(e->code));
}

/* The text and, in the same string, the hint: vendors' envelopes have no place of its own for it. */
struct message {
    char text[2 * ERR_TEXT_MAX];
};

static struct sv message(struct message *m, const struct err *e, struct sv hint) {
    struct sv text = sv_of(e->text[0] ? e->text : err_name(e->code));
    if (hint.n == 0)
        return text;
    int n = snprintf(m->text, sizeof m->text, "%.*s. %.*s", SV_FMT(text), SV_FMT(sv_first(hint, ERR_TEXT_MAX - 4)));
    return (struct sv){ m->text, (size_t)n };
}

static bool is_path_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '[' || c == ']';
}

/* The member that is at fault. Faults of a request begin with its path: `"n" must be ...`, `messages[3].role is ...`; a bare word
 * is a path only when it looks like one. */
static struct sv param_of(const struct err *e) {
    enum { PARAM_MAX = 128 };
    struct sv text = sv_of(e->text), at = text;
    size_t n = 0;
    bool quoted = text.n && text.p[0] == '"', nested = false;
    if (e->code == ERR_NO_MODEL)
        return SV("model");
    if (e->code != ERR_BAD_REQUEST && e->code != ERR_PARAMETER)
        return SV_NULL;
    if (quoted)
        at = sv_from(text, 1);
    for (; n < at.n && n < PARAM_MAX && is_path_char(at.p[n]); n++)
        nested = nested || (n && (at.p[n] == '[' || at.p[n] == '.'));
    bool ends = n && n < at.n && at.p[n] == (quoted ? '"' : ' ') && at.p[n - 1] != '.';
    return ends && (quoted || nested) ? sv_first(at, n) : SV_NULL;
}

static void openai_error(struct print *p, const struct err *e, struct sv text) {
    print_open(p, "error", '{');
    print_str(p, "message", text);
    print_str(p, "type", sv_of(words[e->code].openai_type));
    print_str_or_null(p, "param", param_of(e));
    print_str(p, "code", openai_code(e));
    print_close(p, '}');
}

static void anthropic_error(struct print *p, const struct err *e, struct sv text) {
    print_str(p, "type", SV("error"));
    print_open(p, "error", '{');
    print_str(p, "type", sv_of(words[e->code].anthropic));
    print_str(p, "message", text);
    print_close(p, '}');
}

static void lmstudio_error(struct print *p, const struct err *e, struct sv text) {
    print_open(p, "error", '{');
    print_str(p, "type", sv_of(words[e->code].lmstudio));
    print_str(p, "message", text);
    print_str(p, "code", openai_code(e));
    print_close(p, '}');
}

static void plain_error(struct print *p, const struct err *e, struct sv hint) {
    print_open(p, "error", '{');
    print_str(p, "code", sv_of(err_name(e->code)));
    print_str(p, "message", sv_of(e->text));
    print_str(p, "hint", hint);
    print_close(p, '}');
}

bool llm_error_body(struct buf *out, enum llm_dialect d, const struct err *e, struct sv hint, struct sv request_id) {
    struct print p = print_begin(out);
    struct message m;
    struct sv text = message(&m, e, hint);
    print_open(&p, NULL, '{');
    switch (d) {
    case LLM_OPENAI: openai_error(&p, e, text); break;
    case LLM_ANTHROPIC:
        anthropic_error(&p, e, text);
        print_str_or_null(&p, "request_id", request_id);
        break;
    case LLM_OLLAMA: print_str(&p, "error", text); break;
    case LLM_LMSTUDIO: lmstudio_error(&p, e, text); break;
    case LLM_PLAIN: plain_error(&p, e, hint); break;
    }
    print_close(&p, '}');
    return print_end(&p);
}

/* A frame's beginning; the blank behind "data:" keeps print_comma quiet. */
static void frame(struct print *p, const char *event) {
    if (event)
        buf_printf(p->to, "event: %s\n", event);
    buf_add(p->to, SV("data: "));
    print_open(p, NULL, '{');
}

bool llm_error_event(struct buf *out, enum llm_api api, const struct err *e, uint64_t n_before) {
    struct print p = print_begin(out);
    struct message m;
    struct sv text = message(&m, e, SV_NULL);
    const char *end = "}\n\n";
    if (llm_dialect(api) == LLM_OLLAMA) {
        print_open(&p, NULL, '{');
        print_str(&p, "error", text);
        end = "}\n";
    } else if (api == LLM_MESSAGES) {
        frame(&p, "error");
        anthropic_error(&p, e, text);
    } else if (api == LLM_RESPONSES || api == LLM_RESPONSES_STORED) {
        /* Flat, and legal at any place; response.failed would have to repeat a response object we do not hold. */
        frame(&p, "error");
        print_str(&p, "type", SV("error"));
        print_str(&p, "code", openai_code(e));
        print_str(&p, "message", text);
        print_str_or_null(&p, "param", param_of(e));
        print_int(&p, "sequence_number", (int64_t)n_before);
    } else if (api == LLM_LMSTUDIO1_CHAT) {
        frame(&p, "error");
        print_str(&p, "type", SV("error"));
        lmstudio_error(&p, e, text);
    } else {
        frame(&p, NULL);
        openai_error(&p, e, text);
        if (api == LLM_CHAT || api == LLM_COMPLETIONS || api == LLM_LMSTUDIO0_CHAT || api == LLM_LMSTUDIO0_COMPLETIONS)
            end = "}\n\ndata: [DONE]\n\n";
    }
    buf_add(out, sv_of(end));
    return print_end(&p);
}

struct sv llm_keepalive(enum llm_api api) {
    switch (api) {
    case LLM_OLLAMA_CHAT: return SV("{\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":false}\n");
    case LLM_OLLAMA_GENERATE: return SV("{\"response\":\"\",\"done\":false}\n");
    case LLM_MESSAGES: return SV("event: ping\ndata: {\"type\": \"ping\"}\n\n");
    default: /* one LF: a blank line behind a comment is an empty event to some clients */
        return llm_dialect(api) == LLM_OLLAMA ? SV_NULL : SV(": keep-alive\n");
    }
}
