/* translate/try.h - for the tests of this room: a request, a stream or a whole reply through a translation, as text.
 *
 * The clock stands still and the seed is fixed, so ids and times are the same in each run. Faults come out as text, too:
 * "! unsupported_parameter: ...". Results are malloc'ed; try_is and try_holds free them. */
#ifndef DROVER_TRANSLATE_TRY_H
#define DROVER_TRANSLATE_TRY_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "translate/canon.h"

#define TRY_IDS "id24" /* ids are shown as prefix and this */

static inline struct translate_spec try_spec(enum llm_api client, unsigned speaks, const char *body) {
    return (struct translate_spec){
        .client = client, .speaks = speaks, .body = sv_of(body), .model = SV("native-model"), .shown_model = SV("shown-model"),
        .input_estimate = 7, .body_max = 1 << 20, .reply_max = 1 << 20, .seed = 42, .now_us = 1000000, .now_s = 1790000000,
    };
}

static inline char *try_copy(struct sv v) {
    char *text = malloc(v.n + 1);
    memcpy(text, v.p ? v.p : "", v.n);
    text[v.n] = '\0';
    return text;
}

static inline char *try_fault(const struct err *e) {
    char text[ERR_TEXT_MAX + 64];
    snprintf(text, sizeof text, "! %s: %s", err_name(e->code), e->text);
    return try_copy(sv_of(text));
}

/* Ids of 24 letters are replaced by TRY_IDS, so that expected texts can be written by hand. */
static inline char *try_plain(char *text) {
    static const char *const prefixes[] = { "chatcmpl-", "cmpl-", "resp_", "msg_", "call_", "toolu_", "fc_", "rs_", "ctc_", "drover." };
    for (char *at = text; *at; at++) {
        for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
            size_t n = strlen(prefixes[i]), m = 0;
            if (at > text && at[-1] != '"')
                break;
            if (strncmp(at, prefixes[i], n) != 0)
                continue;
            while ((at[n + m] >= '0' && at[n + m] <= '9') || ((at[n + m] | 0x20) >= 'a' && (at[n + m] | 0x20) <= 'z'))
                m++;
            if (m != 24)
                continue;
            memcpy(at + n, TRY_IDS, 4);
            memmove(at + n + 4, at + n + 24, strlen(at + n + 24) + 1);
        }
    }
    return text;
}

/* The runtime's body, followed by a line "degraded: ..." when something was left out; or the fault. */
static inline char *try_request_spec(const struct translate_spec *spec) {
    struct buf out = BUF_MAX(1 << 20);
    struct err e = { 0 };
    struct translate *t = translate_new(spec, &out, &e);
    char *ret;
    if (t) {
        struct buf sent = BUF_MAX(1 << 20);
        unsigned n;
        const struct sv *pieces = translate_pieces(t, &n);
        for (unsigned i = 0; i < n; i++)
            buf_add(&sent, pieces[i]);
        buf_reset(&out);
        buf_add(&out, buf_sv(&sent));
        buf_deinit(&sent);
        if (translate_degraded(t).n) {
            buf_add(&out, SV("\ndegraded: "));
            buf_add(&out, translate_degraded(t));
        }
        ret = try_copy(buf_sv(&out));
    } else {
        assert_int_not_equal(e.code, ERR_NONE);
        ret = try_fault(&e);
    }
    translate_free(t);
    buf_deinit(&out);
    return try_plain(ret);
}

static inline char *try_request(enum llm_api client, unsigned speaks, const char *body) {
    struct translate_spec spec = try_spec(client, speaks, body);
    return try_request_spec(&spec);
}

/* One event of SSE ("event: x\ndata: y\n\n") or one line of NDJSON, cut off the front. */
static inline bool try_next(struct sv *stream, bool ndjson, struct sv *name, struct sv *data) {
    *name = *data = SV_NULL;
    while (stream->n) {
        struct sv line;
        sv_next(stream, '\n', &line);
        if (ndjson && line.n) {
            *data = line;
            return true;
        }
        if (sv_starts(line, SV("event: ")))
            *name = sv_from(line, 7);
        else if (sv_starts(line, SV("data: ")))
            *data = sv_from(line, 6);
        else if (line.n == 0 && (name->n || data->n))
            return true;
    }
    return data->n > 0;
}

/* The client's answer to a stream of the runtime. A fault is told in the stream when it has begun, else as "! ...". */
static inline char *try_stream_spec(const struct translate_spec *spec, const char *upstream) {
    struct buf body = BUF_MAX(1 << 20), out = BUF_MAX(4 << 20);
    struct err e = { 0 };
    struct translate *t = translate_new(spec, &body, &e);
    char *ret = NULL;
    if (t) {
        bool ndjson = llm_dialect(translate_api(t)) == LLM_OLLAMA, ok = true;
        struct sv rest = sv_of(upstream), name, data;
        uint64_t now = 1000000;
        while (ok && try_next(&rest, ndjson, &name, &data))
            ok = translate_event(t, name, data, now += 1000, &out, &e);
        ok = ok && translate_end(t, now, &out, &e);
        if (!ok && out.n)
            translate_fail(t, &e, &out);
        if (!ok && !out.n)
            ret = try_fault(&e);
    } else {
        ret = try_fault(&e);
    }
    if (!ret)
        ret = try_copy(buf_sv(&out));
    translate_free(t);
    buf_deinit(&body);
    buf_deinit(&out);
    return try_plain(ret);
}

static inline char *try_stream(enum llm_api client, unsigned speaks, const char *request, const char *upstream) {
    struct translate_spec spec = try_spec(client, speaks, request);
    spec.stream = true;
    return try_stream_spec(&spec, upstream);
}

/* The client's whole answer to a whole one of the runtime. */
static inline char *try_reply(enum llm_api client, unsigned speaks, const char *request, const char *upstream) {
    struct translate_spec spec = try_spec(client, speaks, request);
    struct buf body = BUF_MAX(1 << 20), out = BUF_MAX(4 << 20);
    struct err e = { 0 };
    struct translate *t = translate_new(&spec, &body, &e);
    bool ok = t && translate_reply(t, sv_of(upstream), 2000000, &out, &e);
    char *ret = ok ? try_copy(buf_sv(&out)) : try_fault(&e);
    translate_free(t);
    buf_deinit(&body);
    buf_deinit(&out);
    return try_plain(ret);
}

/* Compares and frees. */
static inline void try_is(char *got, const char *expected) {
    assert_string_equal(got, expected);
    free(got);
}

static inline void try_holds(char *got, const char *part) {
    if (!strstr(got, part)) {
        print_error("not in it: %s\n%s\n", part, got);
        fail();
    }
    free(got);
}

/* Runs make() once with each allocation failing; it must come back with an answer each time. */
#define TRY_WITHOUT_MEMORY(call)                  \
    do {                                          \
        int hit = 1;                              \
        for (long n = 1; hit && n < 5000; n++) {  \
            mem_fail_at(n, n % 2);                \
            char *text = (call);                  \
            hit = mem_fail_hit();                 \
            mem_fail_at(0, 0);                    \
            assert_non_null(text);                \
            free(text);                           \
        }                                         \
        assert_false(hit);                        \
    } while (0)

#endif
