/* translate/fault.c - a runtime's error reply, as Drover's fault.
 *
 * Every runtime words its troubles differently; clients act on few of them. The kinds that matter (the prompt is too long,
 * the model is unknown or loading, a feature is missing) are told by status and by what the text contains: the reference on
 * dialect translation, section 9.2. Words that developers know stay; paths and addresses of the runtime's machine do not. */
#include "base/json.h"
#include "translate/translate.h"

enum { TEXT_SHOWN = 300 };

/* The human text of any known envelope. */
static struct sv text_of(yyjson_val *root, struct sv body) {
    yyjson_val *error = json_get(root, "error"), *detail = json_get(root, "detail");
    struct sv found[] = { json_str(error, "message"), json_sv(error),          json_str(root, "message"),
                          json_sv(detail),            json_str(detail, "msg"), json_str(yyjson_arr_get_first(detail), "msg") };
    for (size_t i = 0; i < sizeof found / sizeof found[0]; i++)
        if (found[i].n)
            return found[i];
    return root ? SV_NULL : sv_first(sv_trim(body), 500);
}

static struct sv code_of(yyjson_val *root) {
    yyjson_val *error = json_get(root, "error");
    struct sv found[] = { json_str(error, "code"), json_str(error, "type"), json_str(root, "type"), json_str(root, "error_type") };
    for (size_t i = 0; i < sizeof found / sizeof found[0]; i++)
        if (found[i].n)
            return found[i];
    return SV_NULL;
}

static const struct sign {
    const char *text; /* part of the message or the code, whatever its case */
    enum err_code means;
    const char *also; /* a second part, if one alone would say too little */
} signs[] = {
    { "context_length_exceeded", ERR_CONTEXT },
    { "exceed_context_size", ERR_CONTEXT },
    { "maximum context length", ERR_CONTEXT },
    { "longer than the model's context length", ERR_CONTEXT },
    { "longer than the maximum model length", ERR_CONTEXT },
    { "exceeds the available context size", ERR_CONTEXT },
    { "exceeds the model's maximum context length", ERR_CONTEXT },
    { "input length exceeds the context length", ERR_CONTEXT },
    { "prompt is longer than the context length", ERR_CONTEXT },
    { "prompt is too long", ERR_CONTEXT },
    { "context size has been exceeded", ERR_CONTEXT },
    { "max_new_tokens` must be <=", ERR_CONTEXT },
    { "context the overflows", ERR_CONTEXT },
    { "greater than the context length", ERR_CONTEXT },
    { "must have less than", ERR_CONTEXT, "tokens" },
    { "does not support tools", ERR_PARAMETER },
    { "enable-auto-tool-choice", ERR_PARAMETER },
    { "tool-call-parser", ERR_PARAMETER },
    { "--jinja", ERR_PARAMETER },
    { "does not support thinking", ERR_PARAMETER },
    { "does not support images", ERR_PARAMETER },
    { "image input is not supported", ERR_PARAMETER },
    { "mmproj", ERR_PARAMETER },
    { "model_not_found", ERR_NO_MODEL },
    { "no running session found", ERR_NO_MODEL },
    { "model is not found", ERR_NO_MODEL },
    { "model '", ERR_NO_MODEL, "not found" },
    { "loading model", ERR_UNAVAILABLE },
    { "model is loading", ERR_UNAVAILABLE },
    { "server busy", ERR_UNAVAILABLE },
    { "server is busy", ERR_UNAVAILABLE },
    { "maximum pending requests", ERR_UNAVAILABLE },
    { "out of memory", ERR_UNAVAILABLE },
    { "cudamalloc failed", ERR_UNAVAILABLE },
    { "requires more system memory", ERR_UNAVAILABLE },
    { "not enough memory", ERR_UNAVAILABLE },
    { "insufficient memory", ERR_UNAVAILABLE },
    { "failed to allocate", ERR_UNAVAILABLE },
};

static bool holds(struct sv text, struct sv part) {
    for (size_t i = 0; i + part.n <= text.n; i++)
        if (sv_starts_nocase(sv_from(text, i), part))
            return true;
    return false;
}

static enum err_code by_status(int status) {
    switch (status) {
    case 404: return ERR_NO_MODEL;
    case 409: return ERR_EXISTS;
    case 413: return ERR_TOO_LARGE;
    case 429: return ERR_LIMIT;
    case 424: /* the text generation server, when its model fails */
    case 503:
    case 529: return ERR_UNAVAILABLE;
    case 504: return ERR_TIMEOUT;
    default:
        /* 401 and 403 are between Drover and the runtime: the client's key is fine */
        return status >= 400 && status < 500 && status != 401 && status != 403 ? ERR_BAD_REQUEST : ERR_BAD_REPLY;
    }
}

/* "/a/b", also behind a quote, a bracket or an equals sign; "C:\\a". A name such as "org/model" is none. */
static bool has_path(struct sv word) {
    for (size_t i = 0; i < word.n; i++) {
        char before = i ? word.p[i - 1] : '\'';
        bool inside = (before >= '0' && before <= '9') || ((before | 0x20) >= 'a' && (before | 0x20) <= 'z') || before == '_' || before == '-' || before == '.';
        if (word.p[i] == '/' && !inside && sv_find_char(sv_from(word, i + 1), '/') >= 0)
            return true;
        if (word.p[i] == '\\' && before == ':')
            return true;
    }
    return sv_find(word, SV("://")) >= 0;
}

/* The text without words that look like paths or addresses of the runtime's machine. */
static void clean(struct sv text, char *out, size_t size) {
    size_t n = 0;
    while (text.n) {
        size_t end = 0;
        while (end < text.n && (unsigned char)text.p[end] > ' ')
            end++;
        struct sv word = sv_first(text, end), shown = has_path(word) ? SV("...") : word;
        text = sv_from(text, end + 1);
        if (n + shown.n + 2 > size)
            break;
        if (n)
            out[n++] = ' ';
        for (size_t i = 0; i < shown.n; i++)
            out[n++] = (unsigned char)shown.p[i] < 0x20 || shown.p[i] == 0x7f ? ' ' : shown.p[i];
    }
    out[n] = '\0';
}

void translate_fault(int status, struct sv body, struct err *e) {
    yyjson_doc *doc = json_parse(body);
    yyjson_val *root = yyjson_doc_get_root(doc);
    struct sv text = text_of(root, body), code = code_of(root);
    enum err_code means = by_status(status);
    char shown[TEXT_SHOWN];
    for (size_t i = 0; i < sizeof signs / sizeof signs[0]; i++) {
        struct sv part = sv_of(signs[i].text);
        struct sv also = sv_of(signs[i].also);
        if ((holds(sv_first(text, 4096), part) && (!also.n || holds(sv_first(text, 4096), also))) || (!also.n && holds(sv_first(code, 200), part))) {
            means = signs[i].means;
            break;
        }
    }
    clean(sv_first(text, 4096), shown, sizeof shown);
    if (means == ERR_CONTEXT && !holds(text, SV("prompt is too long")))
        err_set(e, means, "prompt is too long: %s", shown); /* agents act on these words */
    else if (status == 401 || status == 403)
        err_set(e, means, "the runtime refused Drover's own key (%d)", status);
    else if (shown[0])
        err_set(e, means, "%s", shown);
    else
        err_set(e, means, "the runtime answered %d", status);
    yyjson_doc_free(doc);
}
