/* translate/embed.c - embeddings: OpenAI's, LM Studio's /api/v0 and Ollama's two APIs.
 *
 * Vectors are not held: each goes from the runtime's reply to the client's as it is read, its numbers as they were written.
 * OpenAI never cuts an input short in silence, Ollama does unless told not to. Rules: the reference on dialect translation,
 * section 10.1. */
#include <math.h>
#include <sodium.h>
#include <stddef.h>
#include <stdlib.h>

#include "llm/print.h"
#include "translate/openai.h"

#define AT(field) offsetof(struct canon_request, field)

/* --- reading ------------------------------------------------------------------------------------------------------ */

static bool is_text(yyjson_val *v) {
    size_t i, n;
    yyjson_val *one;
    if (yyjson_is_str(v))
        return true;
    yyjson_arr_foreach(v, i, n, one)
        if (!yyjson_is_str(one))
            return false;
    return yyjson_arr_size(v) > 0;
}

static bool read_input(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    rq->input = v;
    if (!yyjson_is_str(v) && !yyjson_is_arr(v))
        return canon_bad(rq, "\"%s\" must be a string or an array of strings", row->name);
    return yyjson_is_str(v) || yyjson_arr_size(v) > 0 || canon_bad(rq, "\"%s\" is empty", row->name);
}

static bool read_format(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    rq->wants_base64 = sv_eq(json_sv(v), SV("base64"));
    return rq->wants_base64 || sv_eq(json_sv(v), SV("float")) || canon_bad(rq, "\"%s\" must be \"float\" or \"base64\"", row->name);
}

static const struct canon_row openai_rows[] = {
    { "model", canon_row_skip, 0 },
    { "stream", canon_row_skip, 0 },
    { "input", read_input, 0 },
    { "dimensions", canon_row_limit, AT(dimensions) },
    { "encoding_format", read_format, 0 },
    { "user", canon_row_hint, 0 },
    { 0 },
};

static bool read_openai(struct canon_request *rq, yyjson_val *body) {
    rq->kind = CANON_EMBED;
    rq->truncate = CANON_NO;
    return canon_members(rq, body, openai_rows, true) && (rq->input || canon_bad(rq, "\"input\" is missing"));
}

static bool read_keep_alive(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    (void)row;
    rq->keep_alive = v;
    return true;
}

static bool read_options(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    rq->options = v;
    return yyjson_is_obj(v) || canon_bad(rq, "\"%s\" must be an object", row->name);
}

static const struct canon_row ollama_rows[] = {
    { "model", canon_row_skip, 0 },
    { "stream", canon_row_skip, 0 },
    { "input", read_input, 0 },
    { "prompt", read_input, 0 },
    { "truncate", canon_row_tri, AT(truncate) },
    { "dimensions", canon_row_limit, AT(dimensions) },
    { "options", read_options, 0 },
    { "keep_alive", read_keep_alive, 0 },
    { 0 },
};

static bool read_ollama(struct canon_request *rq, yyjson_val *body) {
    rq->kind = CANON_EMBED;
    return canon_members(rq, body, ollama_rows, true) && (rq->input || canon_bad(rq, "\"input\" is missing"));
}

static bool read_ollama_old(struct canon_request *rq, yyjson_val *body) {
    rq->kind = CANON_EMBED;
    if (!canon_members(rq, body, ollama_rows, true))
        return false;
    return yyjson_is_str(rq->input) || canon_bad(rq, "\"prompt\" must be a string");
}

/* --- printing ----------------------------------------------------------------------------------------------------- */

static bool print_openai(struct canon_request *rq, struct buf *out) {
    struct print p = print_begin(out);
    print_open(&p, NULL, '{');
    print_str(&p, "model", rq->spec->model);
    canon_print_value(&p, "input", rq->input);
    if (rq->dimensions >= 0)
        print_int(&p, "dimensions", rq->dimensions);
    print_str(&p, "encoding_format", SV("float"));
    if (rq->truncate == CANON_YES && !canon_lose(rq, CANON_HINT, "truncate"))
        return false;
    if (!openai_print_extra(rq, &p, FAMILY_OPENAI))
        return false;
    print_close(&p, '}');
    return true;
}

static bool print_ollama(struct canon_request *rq, struct buf *out) {
    struct print p = print_begin(out);
    if (!is_text(rq->input))
        return canon_cannot(rq, "\"input\" must be text: token ids mean nothing to this model's runtime");
    print_open(&p, NULL, '{');
    print_str(&p, "model", rq->spec->model);
    canon_print_value(&p, "input", rq->input);
    if (rq->dimensions >= 0)
        print_int(&p, "dimensions", rq->dimensions);
    if (rq->truncate != CANON_UNSET)
        print_bool(&p, "truncate", rq->truncate == CANON_YES);
    canon_print_value(&p, "options", rq->options);
    canon_print_value(&p, "keep_alive", rq->keep_alive);
    if (!openai_print_extra(rq, &p, FAMILY_OLLAMA))
        return false;
    print_close(&p, '}');
    return true;
}

/* --- decoding ----------------------------------------------------------------------------------------------------- */

static bool no_stream(struct canon_reply *r, struct sv name, struct sv data) {
    (void)name;
    (void)data;
    return canon_reply_fault(r, ERR_BAD_REPLY, "the runtime answered with a stream where none is known");
}

static bool no_stream_end(struct canon_reply *r) {
    return canon_reply_fault(r, ERR_BAD_REPLY, "the runtime broke its answer off");
}

static bool finish(struct canon_reply *r) {
    r->finish = CANON_STOP;
    canon_emit_end(r);
    return r->fault.code == ERR_NONE;
}

static bool decode_openai(struct canon_reply *r, yyjson_val *body) {
    yyjson_val *data = json_get(body, "data"), *one;
    size_t i, n;
    canon_usage_openai(r, json_get(body, "usage"));
    if (!yyjson_is_arr(data))
        return canon_reply_fault(r, ERR_BAD_REPLY, "the runtime's reply has no \"data\"");
    yyjson_arr_foreach(data, i, n, one)
        r->emit(r, &(struct canon_event){ .kind = CANON_E_VECTOR, .value = json_get(one, "embedding") });
    return finish(r);
}

static bool decode_ollama(struct canon_reply *r, yyjson_val *body) {
    yyjson_val *vectors = json_get(body, "embeddings"), *one;
    size_t i, n;
    canon_count(&r->usage.input, body, "prompt_eval_count");
    if (!yyjson_is_arr(vectors))
        return canon_reply_fault(r, ERR_BAD_REPLY, "the runtime's reply has no \"embeddings\"");
    yyjson_arr_foreach(vectors, i, n, one)
        r->emit(r, &(struct canon_event){ .kind = CANON_E_VECTOR, .value = one });
    return finish(r);
}

/* --- encoding ----------------------------------------------------------------------------------------------------- */

/* Raw text of a number as it stood in the reply, or a number. */
static float number(yyjson_val *v) {
    char text[48] = "";
    if (!yyjson_is_raw(v))
        return (float)yyjson_get_num(v);
    sv_to_cstr((struct sv){ yyjson_get_raw(v), yyjson_get_len(v) }, text, sizeof text);
    return strtof(text, NULL);
}

/* 32-bit IEEE 754 numbers, lowest byte first, as base64. */
static void print_base64(struct canon_reply *r, struct print *p, const char *name, yyjson_val *vector) {
    size_t n = yyjson_arr_size(vector), i, max, room = sodium_base64_encoded_len(n * 4, sodium_base64_VARIANT_ORIGINAL);
    unsigned char *bytes = mem_alloc(n * 4 + 1);
    yyjson_val *one;
    print_name(p, name);
    buf_add_char(p->to, '"');
    char *to = buf_reserve(p->to, room);
    if (!bytes || !to) {
        canon_reply_fault(r, ERR_NO_MEMORY, "out of memory");
        mem_free(bytes);
        return;
    }
    yyjson_arr_foreach(vector, i, max, one) {
        float f = number(one);
        uint32_t bits;
        memcpy(&bits, &f, sizeof bits);
        for (int k = 0; k < 4; k++)
            bytes[i * 4 + (size_t)k] = (unsigned char)(bits >> (8 * k));
    }
    sodium_bin2base64(to, room, bytes, n * 4, sodium_base64_VARIANT_ORIGINAL);
    buf_added(p->to, room - 1);
    buf_add_char(p->to, '"');
    mem_free(bytes);
}

/* The other way: a runtime that sends base64 whatever it was asked for. */
static void print_floats(struct canon_reply *r, struct print *p, const char *name, struct sv base64) {
    size_t room = base64.n / 4 * 3 + 4, n = 0;
    unsigned char *bytes = mem_alloc(room);
    print_open(p, name, '[');
    if (!bytes || sodium_base642bin(bytes, room, base64.p, base64.n, NULL, &n, NULL, sodium_base64_VARIANT_ORIGINAL) != 0)
        canon_reply_fault(r, bytes ? ERR_BAD_REPLY : ERR_NO_MEMORY, bytes ? "the runtime's vector is not base64" : "out of memory");
    for (size_t i = 0; i + 4 <= n; i += 4) {
        uint32_t bits = (uint32_t)bytes[i] | (uint32_t)bytes[i + 1] << 8 | (uint32_t)bytes[i + 2] << 16 | (uint32_t)bytes[i + 3] << 24;
        float f;
        memcpy(&f, &bits, sizeof f);
        if (!isfinite(f)) {
            canon_reply_fault(r, ERR_BAD_REPLY, "the runtime's vector holds what is no number");
            break;
        }
        print_comma(p);
        buf_printf(p->to, "%.9g", (double)f);
    }
    print_close(p, ']');
    mem_free(bytes);
}

static void print_vector(struct canon_reply *r, struct print *p, const char *name, yyjson_val *v) {
    if (!yyjson_is_arr(v) && !yyjson_is_str(v))
        canon_reply_fault(r, ERR_BAD_REPLY, "the runtime's reply lacks a vector");
    else if (r->wants_base64 == yyjson_is_str(v))
        canon_print_value(p, name, v);
    else if (r->wants_base64)
        print_base64(r, p, name, v);
    else
        print_floats(r, p, name, json_sv(v));
}

static void encode_openai(struct canon_reply *r, const struct canon_event *ev) {
    struct print p = { r->out, 0 };
    switch (ev->kind) {
    case CANON_E_START: buf_add(r->out, SV("{\"object\":\"list\",\"data\":[")); break;
    case CANON_E_VECTOR:
        print_open(&p, NULL, '{');
        print_str(&p, "object", SV("embedding"));
        print_int(&p, "index", r->n_slots++);
        print_vector(r, &p, "embedding", ev->value);
        print_close(&p, '}');
        break;
    case CANON_E_END: {
        struct canon_usage u = canon_usage_settled(r);
        print_close(&p, ']');
        print_str(&p, "model", r->model);
        print_open(&p, "usage", '{');
        print_int(&p, "prompt_tokens", u.input);
        print_int(&p, "total_tokens", u.input);
        buf_add(r->out, SV("}}"));
        break;
    }
    default: break;
    }
}

static void encode_ollama(struct canon_reply *r, const struct canon_event *ev) {
    struct print p = { r->out, 0 };
    switch (ev->kind) {
    case CANON_E_START:
        print_open(&p, NULL, '{');
        print_str(&p, "model", r->model);
        print_open(&p, "embeddings", '[');
        break;
    case CANON_E_VECTOR: print_vector(r, &p, NULL, ev->value); break;
    case CANON_E_END:
        print_close(&p, ']');
        print_int(&p, "total_duration", (int64_t)(r->now_us - r->begun_us) * 1000);
        print_int(&p, "prompt_eval_count", canon_usage_settled(r).input);
        print_close(&p, '}');
        break;
    default: break;
    }
}

static void encode_ollama_old(struct canon_reply *r, const struct canon_event *ev) {
    struct print p = { r->out, 0 };
    if (ev->kind == CANON_E_START)
        print_open(&p, NULL, '{');
    else if (ev->kind == CANON_E_VECTOR && r->n_slots++ == 0)
        print_vector(r, &p, "embedding", ev->value);
    else if (ev->kind == CANON_E_END)
        print_close(&p, '}');
}

const struct dialect dialect_embeddings = {
    .api = LLM_EMBEDDINGS, .path = "/v1/embeddings", .family = FAMILY_OPENAI, .read = read_openai, .encode = encode_openai,
    .print = print_openai, .decode = no_stream, .decode_end = no_stream_end, .decode_reply = decode_openai,
};

const struct dialect dialect_lmstudio0_embeddings = {
    .api = LLM_LMSTUDIO0_EMBEDDINGS, .path = "/api/v0/embeddings", .family = FAMILY_OPENAI, .read = read_openai,
    .encode = encode_openai, .print = print_openai, .decode = no_stream, .decode_end = no_stream_end, .decode_reply = decode_openai,
};

const struct dialect dialect_ollama_embed = {
    .api = LLM_OLLAMA_EMBED, .path = "/api/embed", .family = FAMILY_OLLAMA, .read = read_ollama, .encode = encode_ollama,
    .print = print_ollama, .decode = no_stream, .decode_end = no_stream_end, .decode_reply = decode_ollama,
};

const struct dialect dialect_ollama_embeddings = {
    .api = LLM_OLLAMA_EMBEDDINGS, .path = "/api/embeddings", .family = FAMILY_OLLAMA, .read = read_ollama_old,
    .encode = encode_ollama_old,
};
