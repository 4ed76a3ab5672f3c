/* http/h1.c - what is refused beyond llhttp's own strictness, each because another parser might see another message:
 * a Transfer-Encoding that is not exactly one "chunked"; Transfer-Encoding in HTTP/1.0; more than one Host, or none in
 * HTTP/1.1; a Host with bytes no host name has; versions other than 1.0 and 1.1; a target with bytes outside visible
 * ASCII; control bytes in values (a tab may stay); replies with a status outside 100..599. Trailers of requests are read within the limits and dropped. */
#include "http/h1.h"

#include <stdio.h>

#include "base/mem.h"

enum { TEXT_FIRST = 1024, CUTS_FIRST = 24, LENGTH_DIGITS = 19 };

static int fail(struct h1 *h, enum err_code code, const char *text) {
    if (h->phase != H1_BROKEN) {
        h->phase = H1_BROKEN;
        h->bad_status = err_http(code);
        err_set(&h->err, h->is_response ? ERR_BAD_REPLY : code, "%s", text);
    }
    return HPE_USER;
}

/* A limit of requests; of a reply everything is under one, limits.upstream.head. */
static int fail_limit(struct h1 *h, enum err_limit limit, const char *text) {
    if (h->phase == H1_BROKEN)
        return HPE_USER;
    struct err e;
    err_limit(&e, limit, "%s", text);
    fail(h, e.code, h->is_response ? "the reply's head is larger than limits.upstream.head" : text);
    h->err.limit = h->is_response ? LIMIT_UPSTREAM_HEAD : limit;
    return HPE_USER;
}

static int text_add(struct h1 *h, const char *at, size_t n, bool lower) {
    if (h->text_n + n > h->text_cap) {
        size_t cap = h->text_cap ? h->text_cap : TEXT_FIRST;
        while (cap < h->text_n + n)
            cap *= 2;
        char *text = arena_alloc(h->arena, cap);
        if (!text)
            return fail(h, ERR_NO_MEMORY, "out of memory for the message head");
        if (h->text_n)
            memcpy(text, h->text, h->text_n);
        h->text = text;
        h->text_cap = (uint32_t)cap;
    }
    char *to = h->text + h->text_n;
    if (lower) {
        for (size_t i = 0; i < n; i++) {
            char c = at[i];
            to[i] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
        }
    } else {
        memcpy(to, at, n);
    }
    h->text_n += (uint32_t)n;
    return 0;
}

/* RFC 9112 section 3: single spaces part the words of a request line. llhttp reads over more of them. at: `within` bytes from
 * where a word begins. */
static bool is_next_word(const struct h1 *h, const char *at, unsigned within) {
    return h->fed + (uint64_t)(at - h->feed) == h->word_end + 1 + within;
}

static int on_method(llhttp_t *ll, const char *at, size_t n) {
    struct h1 *h = ll->data;
    h->word_end = h->fed + (uint64_t)(at - h->feed) + n;
    return 0;
}

static int on_version(llhttp_t *ll, const char *at, size_t n) {
    struct h1 *h = ll->data;
    if (!h->is_response && !h->has_version && !is_next_word(h, at, sizeof "HTTP/" - 1))
        return fail(h, ERR_BAD_REQUEST, "more than one space between the words of the request line");
    h->has_version = true;
    (void)n;
    return 0;
}

static int on_url(llhttp_t *ll, const char *at, size_t n) {
    struct h1 *h = ll->data;
    if (h->url_n == 0 && !is_next_word(h, at, 0))
        return fail(h, ERR_BAD_REQUEST, "more than one space between the words of the request line");
    h->word_end = h->fed + (uint64_t)(at - h->feed) + n;
    h->url_n += (uint32_t)n;
    if (h->url_n > h->limits->line)
        return fail_limit(h, LIMIT_HEAD_REQUEST_LINE, "request target longer than limits.head.request_line");
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)at[i] <= 0x20 || (unsigned char)at[i] >= 0x7f)
            return fail(h, ERR_BAD_REQUEST, "request target has a byte outside visible ASCII");
    return text_add(h, at, n, false);
}

static int count_field(struct h1 *h, size_t n) {
    h->total_n += (uint32_t)n;
    if (h->total_n > h->limits->total)
        return fail_limit(h, LIMIT_HEAD_TOTAL, "header fields larger than limits.head.total");
    return 0;
}

static int on_status(llhttp_t *ll, const char *at, size_t n) { /* nobody needs the words, but they count */
    (void)at;
    return count_field(ll->data, n);
}

static int on_field(llhttp_t *ll, const char *at, size_t n) {
    struct h1 *h = ll->data;
    if (count_field(h, n) != 0)
        return HPE_USER;
    if (h->in_value || h->n_cuts == 0) { /* a new field begins */
        if (h->n_cuts >= h->limits->fields)
            return h->is_response ? fail(h, ERR_BAD_REPLY, "the reply has too many header fields")
                                  : fail_limit(h, LIMIT_HEAD_FIELDS, "more header fields than limits.head.fields");
        if (h->n_cuts == h->cap_cuts) {
            uint32_t cap = h->cap_cuts ? h->cap_cuts * 2 : CUTS_FIRST;
            struct h1_cut *cuts = ARENA_ARRAY(h->arena, struct h1_cut, cap);
            if (!cuts)
                return fail(h, ERR_NO_MEMORY, "out of memory for the message head");
            if (h->n_cuts)
                memcpy(cuts, h->cuts, h->n_cuts * sizeof *cuts);
            h->cuts = cuts;
            h->cap_cuts = cap;
        }
        h->cuts[h->n_cuts++] = (struct h1_cut){ .name = h->text_n, .value = h->text_n };
        h->in_value = false;
    }
    struct h1_cut *c = &h->cuts[h->n_cuts - 1];
    c->name_n += (uint32_t)n;
    c->value = c->name + c->name_n;
    if (c->name_n > h->limits->field)
        return fail_limit(h, LIMIT_HEAD_FIELD, "a header field is longer than limits.head.field");
    return text_add(h, at, n, true);
}

static int on_value(llhttp_t *ll, const char *at, size_t n) {
    struct h1 *h = ll->data;
    h->in_value = true;
    if (count_field(h, n) != 0)
        return HPE_USER;
    struct h1_cut *c = &h->cuts[h->n_cuts - 1];
    c->value_n += (uint32_t)n;
    if (c->name_n + c->value_n > h->limits->field)
        return fail_limit(h, LIMIT_HEAD_FIELD, "a header field is longer than limits.head.field");
    for (size_t i = 0; i < n; i++)
        if (((unsigned char)at[i] < 0x20 && at[i] != '\t') || (unsigned char)at[i] == 0x7f)
            return fail(h, ERR_BAD_REQUEST, "a header value has a control byte");
    return text_add(h, at, n, false);
}

static int on_value_complete(llhttp_t *ll) {
    struct h1 *h = ll->data;
    h->in_value = true; /* an empty value has no span */
    return 0;
}

static int on_body(llhttp_t *ll, const char *at, size_t n) {
    struct h1 *h = ll->data;
    h->spans[h->n_spans++] = (struct sv){ at, n };
    return h->n_spans == H1_SPANS ? HPE_PAUSED : 0;
}

static int on_chunk_extension(llhttp_t *ll, const char *at, size_t n) {
    struct h1 *h = ll->data;
    (void)at;
    h->chunk_line_n += (uint32_t)n;
    if (h->chunk_line_n > h->limits->chunk_line)
        return h->is_response ? fail(h, ERR_BAD_REPLY, "chunk extensions of the reply are too long")
                              : fail_limit(h, LIMIT_BODY_CHUNK_LINE, "chunk extensions longer than limits.body.chunk_line");
    return 0;
}

static int on_chunk_header(llhttp_t *ll) {
    struct h1 *h = ll->data;
    h->chunk_line_n = 0;
    return 0;
}

static int on_message_complete(llhttp_t *ll) {
    struct h1 *h = ll->data;
    h->message_done = true;
    return HPE_PAUSED;
}

static bool host_is_clean(struct sv v) {
    for (size_t i = 0; i < v.n; i++) {
        unsigned char c = (unsigned char)v.p[i];
        bool ok = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' || c == '-' ||
                  c == ':' || c == '[' || c == ']' || c == '_' || c == '%';
        if (!ok)
            return false;
    }
    return true;
}

/* RFC 9112 section 3.2: origin-form, absolute-form, or "*". */
static int read_target(struct h1 *h) {
    struct http_head *head = &h->head;
    struct sv rest = head->target;
    if (sv_starts_nocase(rest, SV("http://")) || sv_starts_nocase(rest, SV("https://"))) {
        rest = sv_from(rest, rest.p[4] == ':' ? 7 : 8);
        ptrdiff_t slash = sv_find_char(rest, '/');
        struct sv authority = slash < 0 ? rest : sv_first(rest, (size_t)slash);
        if (sv_find_char(authority, '@') >= 0 || authority.n == 0 || !host_is_clean(authority))
            return fail(h, ERR_BAD_REQUEST, "absolute-form target with a bad authority");
        if (!sv_eq_nocase(authority, head->host))
            return fail(h, ERR_BAD_REQUEST, "the authority of the target and the Host field differ");
        rest = slash < 0 ? SV("/") : sv_from(rest, (size_t)slash);
    } else if (rest.n == 0 || (rest.p[0] != '/' && !sv_eq(rest, SV("*")))) {
        return fail(h, ERR_BAD_REQUEST, "request target must start with /");
    }
    ptrdiff_t hash = sv_find_char(rest, '#');
    if (hash >= 0)
        return fail(h, ERR_BAD_REQUEST, "request target has a fragment");
    head->path = rest;
    head->query = SV_NULL;
    ptrdiff_t mark = sv_find_char(rest, '?');
    if (mark >= 0) {
        head->path = sv_first(rest, (size_t)mark);
        head->query = sv_from(rest, (size_t)mark + 1);
    }
    return 0;
}

static int read_request(struct h1 *h, unsigned n_host) {
    struct http_head *head = &h->head;
    const char *method = llhttp_method_name((llhttp_method_t)h->ll.method);
    head->method = sv_of(method);
    head->target = (struct sv){ h->text, h->url_n };
    if (h->ll.method == HTTP_CONNECT)
        return fail(h, ERR_METHOD, "CONNECT is not served here");
    if (n_host > 1)
        return fail(h, ERR_BAD_REQUEST, "more than one Host field");
    if (head->host.n == 0 && head->minor == 1)
        return fail(h, ERR_BAD_REQUEST, n_host ? "empty Host field" : "no Host field");
    if (!host_is_clean(head->host))
        return fail(h, ERR_BAD_REQUEST, "bad Host field");
    return read_target(h);
}

/* The head is complete: cut the text into views and decide the framing. Returns llhttp's answer: 1 = read no body. */
static int on_headers_complete(llhttp_t *ll) {
    struct h1 *h = ll->data;
    struct http_head *head = &h->head;
    unsigned n_host = 0, n_length = 0, n_coding = 0;
    bool coding_ok = true, upgrade_field = false, connection_upgrade = false;
    *head = (struct http_head){ .length = -1, .minor = ll->http_minor, .status = ll->status_code };
    if (ll->http_major != 1 || ll->http_minor > 1) {
        fail(h, ERR_BAD_REQUEST, "HTTP version must be 1.0 or 1.1");
        h->bad_status = 505;
        return HPE_USER;
    }
    if (h->is_response && (head->status < 100 || head->status > 599)) { /* RFC 9110 section 15: such a reply is invalid */
        char text[64];
        snprintf(text, sizeof text, "the reply has status %d, which HTTP does not know", head->status);
        return fail(h, ERR_BAD_REPLY, text);
    }
    head->headers = ARENA_ARRAY(h->arena, struct http_header, h->n_cuts ? h->n_cuts : 1);
    if (!head->headers)
        return fail(h, ERR_NO_MEMORY, "out of memory for the message head");
    for (uint32_t i = 0; i < h->n_cuts; i++) {
        struct h1_cut *c = &h->cuts[i];
        struct http_header f = { { h->text + c->name, c->name_n }, sv_trim((struct sv){ h->text + c->value, c->value_n }) };
        head->headers[head->n_headers++] = f;
        if (f.name.n == 4 && sv_eq(f.name, SV("host"))) {
            n_host++;
            head->host = f.value;
        } else if (f.name.n == 14 && sv_eq(f.name, SV("content-length"))) {
            n_length++;
            if (f.value.n > LENGTH_DIGITS)
                return fail(h, ERR_BAD_REQUEST, "Content-Length has too many digits");
        } else if (f.name.n == 17 && sv_eq(f.name, SV("transfer-encoding"))) {
            n_coding++;
            coding_ok = coding_ok && sv_eq_nocase(f.value, SV("chunked"));
        } else if (f.name.n == 6 && sv_eq(f.name, SV("expect"))) {
            if (!sv_eq_nocase(f.value, SV("100-continue"))) {
                fail(h, ERR_BAD_REQUEST, "the only known expectation is 100-continue");
                h->bad_status = 417;
                return HPE_USER;
            }
            head->expects_continue = head->minor == 1;
        } else if (f.name.n == 7 && sv_eq(f.name, SV("upgrade"))) {
            upgrade_field = true;
        } else if (f.name.n == 10 && sv_eq(f.name, SV("connection"))) {
            connection_upgrade = connection_upgrade || http_has_token(f.value, SV("upgrade"));
        }
    }
    if (n_coding && (n_coding > 1 || !coding_ok || head->minor == 0))
        return fail(h, ERR_BAD_REQUEST, "the only transfer coding is one \"chunked\" in HTTP/1.1");
    if (n_length > 1 || (n_length && n_coding))
        return fail(h, ERR_BAD_REQUEST, "more than one statement of the body's length");
    head->chunked = n_coding == 1;
    if (n_length && ll->content_length > INT64_MAX)
        return fail(h, ERR_BAD_REQUEST, "Content-Length out of range");
    if (n_length)
        head->length = (int64_t)ll->content_length;
    head->upgrade = upgrade_field && connection_upgrade;
    head->keep_alive = llhttp_should_keep_alive(ll) != 0;
    if (!h->is_response) {
        if (read_request(h, n_host) != 0)
            return HPE_USER;
    } else {
        bool none = h->no_body || head->status < 200 || head->status == 204 || head->status == 304;
        head->until_eof = !none && !head->chunked && head->length < 0;
        if (none) {
            head->chunked = false;
            head->length = 0;
        }
        if (head->until_eof)
            head->keep_alive = false;
        else /* llhttp takes a missing length for the end of the connection; we know better here */
            head->keep_alive = head->keep_alive || (none && head->minor == 1 &&
                                                    !http_has_token(http_get(head, SV("connection")), SV("close")));
    }
    h->head_done = true; /* only now: a head that is refused must not be seen */
    h->phase = head->chunked ? H1_IN_CHUNKS : head->until_eof ? H1_IN_EOF : H1_IN_LENGTH;
    h->left = head->length > 0 ? (uint64_t)head->length : 0;
    /* Lengths and ends of connections are counted here; chunks are llhttp's, after the owner has seen the head. */
    return head->chunked ? HPE_PAUSED : 1;
}

static const llhttp_settings_t settings = {
    .on_method = on_method,
    .on_url = on_url,
    .on_version = on_version,
    .on_status = on_status,
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_header_value_complete = on_value_complete,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_chunk_header = on_chunk_header,
    .on_chunk_extension_name = on_chunk_extension,
    .on_chunk_extension_value = on_chunk_extension,
    .on_message_complete = on_message_complete,
};

void h1_init(struct h1 *h, bool is_response, const struct h1_limits *limits) {
    memset(h, 0, sizeof *h);
    h->is_response = is_response;
    h->limits = limits;
    h->phase = H1_ENDED;
    llhttp_init(&h->ll, is_response ? HTTP_RESPONSE : HTTP_REQUEST, &settings);
    h->ll.data = h;
}

void h1_begin(struct h1 *h, struct arena *arena, bool no_body) {
    llhttp_reset(&h->ll);
    h->arena = arena;
    h->no_body = no_body;
    h->phase = H1_IN_HEAD;
    h->text = NULL;
    h->cuts = NULL;
    h->text_n = h->text_cap = h->url_n = h->total_n = h->chunk_line_n = h->n_cuts = h->cap_cuts = 0;
    h->in_value = h->head_done = h->message_done = h->started = h->has_version = false;
    h->n_spans = h->at_span = 0;
    h->left = 0;
}

static void from_llhttp(struct h1 *h, struct sv *in) {
    h->n_spans = h->at_span = 0;
    h->started = true;
    h->feed = in->p;
    llhttp_errno_t rc = llhttp_execute(&h->ll, in->p, in->n);
    h->fed += in->n; /* a head that pauses llhttp is complete: no word of its first line is still to come */
    if (rc == HPE_OK) {
        *in = sv_from(*in, in->n);
    } else if (rc == HPE_PAUSED || rc == HPE_PAUSED_UPGRADE || rc == HPE_PAUSED_H2_UPGRADE) {
        const char *at = llhttp_get_error_pos(&h->ll);
        *in = sv_from(*in, (size_t)(at - in->p));
        if (rc == HPE_PAUSED_H2_UPGRADE)
            fail(h, ERR_BAD_REQUEST, "HTTP/2 without TLS is not spoken here");
        else if (!h->message_done)
            llhttp_resume(&h->ll);
    } else if (h->phase != H1_BROKEN) {
        const char *why = llhttp_get_error_reason(&h->ll);
        fail(h, ERR_BAD_REQUEST, why && *why ? why : llhttp_errno_name(rc));
    }
}

enum h1_event h1_next(struct h1 *h, struct sv *in, struct sv *ret_body) {
    for (;;) {
        if (h->head_done) {
            h->head_done = false;
            return H1_HEAD;
        }
        if (h->at_span < h->n_spans) {
            *ret_body = h->spans[h->at_span++];
            return H1_BODY;
        }
        switch (h->phase) {
        case H1_IN_HEAD:
        case H1_IN_CHUNKS:
            if (h->message_done) {
                h->phase = H1_ENDED;
                return H1_END;
            }
            if (in->n == 0)
                return H1_MORE;
            if (h->phase == H1_IN_HEAD && !h->started && (in->p[0] == '\r' || in->p[0] == '\n')) {
                *in = sv_from(*in, 1); /* RFC 9112 section 2.2: an empty line before a request */
                continue;
            }
            from_llhttp(h, in);
            continue; /* body pieces in front of a fault are delivered before it */
        case H1_IN_LENGTH:
            if (h->left == 0) {
                h->phase = H1_ENDED;
                return H1_END;
            }
            if (in->n == 0)
                return H1_MORE;
            *ret_body = sv_first(*in, h->left < in->n ? (size_t)h->left : in->n);
            h->left -= ret_body->n;
            *in = sv_from(*in, ret_body->n);
            return H1_BODY;
        case H1_IN_EOF:
            if (in->n == 0)
                return H1_MORE;
            *ret_body = *in;
            *in = sv_from(*in, in->n);
            return H1_BODY;
        case H1_ENDED:
            return H1_END;
        case H1_BROKEN:
            return H1_BAD;
        }
    }
}

enum h1_event h1_eof(struct h1 *h) {
    if (h->phase == H1_IN_EOF) {
        h->phase = H1_ENDED;
        return H1_END;
    }
    if (h->phase == H1_ENDED || (h->phase == H1_IN_HEAD && !h->started))
        return H1_MORE;
    fail(h, ERR_BAD_REQUEST, h->phase == H1_IN_HEAD ? "the connection ended inside a message head"
                                                   : "the connection ended inside a message body");
    return H1_BAD;
}

struct sv h1_path_so_far(const struct h1 *h) {
    struct sv path = { h->text, h->text ? h->url_n : 0 };
    if (path.n > h->text_n) /* the target was too long to be kept whole */
        path.n = h->text_n;
    ptrdiff_t mark = sv_find_char(path, '?');
    return mark < 0 ? path : sv_first(path, (size_t)mark);
}

struct sv http_get(const struct http_head *head, struct sv name) {
    for (unsigned i = 0; i < head->n_headers; i++)
        if (head->headers[i].name.n == name.n && memcmp(head->headers[i].name.p, name.p, name.n) == 0)
            return head->headers[i].value;
    return SV_NULL;
}

bool http_has_token(struct sv value, struct sv token) {
    struct sv piece;
    while (sv_next(&value, ',', &piece))
        if (sv_eq_nocase(sv_trim(piece), token))
            return true;
    return false;
}

const char *http_reason(int status) {
    static const struct {
        int status;
        const char *text;
    } reasons[] = {
        { 100, "Continue" },
        { 101, "Switching Protocols" },
        { 200, "OK" },
        { 201, "Created" },
        { 202, "Accepted" },
        { 204, "No Content" },
        { 206, "Partial Content" },
        { 301, "Moved Permanently" },
        { 302, "Found" },
        { 304, "Not Modified" },
        { 307, "Temporary Redirect" },
        { 308, "Permanent Redirect" },
        { 400, "Bad Request" },
        { 401, "Unauthorized" },
        { 403, "Forbidden" },
        { 404, "Not Found" },
        { 405, "Method Not Allowed" },
        { 408, "Request Timeout" },
        { 409, "Conflict" },
        { 411, "Length Required" },
        { 413, "Content Too Large" },
        { 414, "URI Too Long" },
        { 415, "Unsupported Media Type" },
        { 417, "Expectation Failed" },
        { 421, "Misdirected Request" },
        { 422, "Unprocessable Content" },
        { 424, "Failed Dependency" },
        { 426, "Upgrade Required" },
        { 429, "Too Many Requests" },
        { 431, "Request Header Fields Too Large" },
        { 499, "Client Closed Request" },
        { 500, "Internal Server Error" },
        { 501, "Not Implemented" },
        { 502, "Bad Gateway" },
        { 503, "Service Unavailable" },
        { 504, "Gateway Timeout" },
        { 505, "HTTP Version Not Supported" },
        { 507, "Insufficient Storage" },
        { 508, "Loop Detected" },
        { 529, "Overloaded" },
    };
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
        if (reasons[i].status == status)
            return reasons[i].text;
    return "Status";
}
