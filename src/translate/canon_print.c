/* translate/canon_print.c - what all printers of requests share, beside llm/print.h. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "llm/print.h"
#include "translate/canon.h"

void canon_print_raw(struct print *p, const char *name, struct sv json) {
    print_name(p, name);
    buf_add(p->to, json);
}

enum { DEPTH_MAX = 128 }; /* a runtime's reply may be nested as deeply as it likes; the stack may not */

/* The shortest text that reads back as the same. Inside of what a model wrote or will read 1.0 stays 1.0, but a member of an API
 * that must be a whole number may come as 100.0. */
static void print_real(struct buf *to, double d, bool is_inside) {
    char number[40];
    snprintf(number, sizeof number, "%.15g", d);
    if (strtod(number, NULL) != d)
        snprintf(number, sizeof number, "%.17g", d);
    buf_add(to, sv_of(number));
    if (is_inside && !strpbrk(number, ".e"))
        buf_add(to, SV(".0"));
}

static void print_value(struct buf *to, yyjson_val *v, unsigned depth) {
    size_t i, n;
    yyjson_val *key, *one;
    if (depth > DEPTH_MAX)
        to->failed = true;
    if (to->failed)
        return;
    switch (yyjson_get_tag(v)) {
    case YYJSON_TYPE_NULL | YYJSON_SUBTYPE_NONE: buf_add(to, SV("null")); break;
    case YYJSON_TYPE_BOOL | YYJSON_SUBTYPE_TRUE: buf_add(to, SV("true")); break;
    case YYJSON_TYPE_BOOL | YYJSON_SUBTYPE_FALSE: buf_add(to, SV("false")); break;
    case YYJSON_TYPE_NUM | YYJSON_SUBTYPE_UINT: buf_add_u64(to, yyjson_get_uint(v)); break;
    case YYJSON_TYPE_NUM | YYJSON_SUBTYPE_SINT: buf_printf(to, "%" PRId64, yyjson_get_sint(v)); break;
    case YYJSON_TYPE_NUM | YYJSON_SUBTYPE_REAL: print_real(to, yyjson_get_real(v), depth > 0); break;
    case YYJSON_TYPE_STR | YYJSON_SUBTYPE_NONE:
    case YYJSON_TYPE_STR | YYJSON_SUBTYPE_NOESC: buf_add_json(to, json_sv(v)); break;
    case YYJSON_TYPE_ARR | YYJSON_SUBTYPE_NONE:
        buf_add_char(to, '[');
        yyjson_arr_foreach(v, i, n, one) {
            if (i)
                buf_add_char(to, ',');
            print_value(to, one, depth + 1);
        }
        buf_add_char(to, ']');
        break;
    case YYJSON_TYPE_OBJ | YYJSON_SUBTYPE_NONE:
        buf_add_char(to, '{');
        yyjson_obj_foreach(v, i, n, key, one) {
            if (i)
                buf_add_char(to, ',');
            buf_add_json(to, json_sv(key));
            buf_add_char(to, ':');
            print_value(to, one, depth + 1);
        }
        buf_add_char(to, '}');
        break;
    default: /* a number too large for the machine: as it was written */
        buf_add(to, (struct sv){ yyjson_get_raw(v), yyjson_get_len(v) });
    }
}

void canon_print_value(struct print *p, const char *name, yyjson_val *v) {
    if (!v)
        return;
    print_name(p, name);
    print_value(p->to, v, 0);
}

void canon_print_link(struct print *p, const char *name, const struct canon_part *part) {
    if (!part->data.p) {
        print_str(p, name, part->url);
        return;
    }
    print_name(p, name);
    buf_add(p->to, SV("\"data:"));
    buf_add(p->to, part->mime);
    buf_add(p->to, SV(";base64,"));
    buf_add(p->to, part->data);
    buf_add_char(p->to, '"');
}

void canon_print_args_object(struct print *p, const char *name, struct sv args) {
    yyjson_doc *doc = json_parse_exact(args), *inner = NULL;
    yyjson_val *v = yyjson_doc_get_root(doc);
    if (yyjson_is_str(v) && (inner = json_parse_exact(json_sv(v))) && yyjson_is_obj(yyjson_doc_get_root(inner)))
        v = yyjson_doc_get_root(inner); /* encoded twice */
    if (yyjson_is_obj(v)) {
        canon_print_value(p, name, v);
    } else if (args.n == 0 || yyjson_is_null(v)) {
        canon_print_raw(p, name, SV("{}"));
    } else {
        print_open(p, name, '{');
        if (v)
            canon_print_value(p, "__value", v);
        else
            print_str(p, "__invalid_json", args);
        print_close(p, '}');
    }
    yyjson_doc_free(inner);
    yyjson_doc_free(doc);
}

void canon_print_args_text(struct canon_request *rq, struct print *p, const char *name, const struct canon_call *c) {
    if (!c->is_custom) {
        print_str(p, name, c->args.n ? c->args : SV("{}"));
        return;
    }
    struct buf text = BUF_MAX(rq->spec->body_max);
    struct print inner = print_begin(&text);
    print_open(&inner, NULL, '{');
    print_str(&inner, "input", c->args);
    print_close(&inner, '}');
    print_str(p, name, buf_sv(&text));
    p->to->failed = p->to->failed || text.failed;
    buf_deinit(&text);
}

void canon_print_schema(struct print *p, const char *name, const struct canon_tool *t) {
    if (t->is_custom)
        canon_print_raw(p, name, SV("{\"type\":\"object\",\"properties\":{\"input\":{\"type\":\"string\"}},\"required\":[\"input\"]}"));
    else if (t->schema_text.n)
        canon_print_raw(p, name, t->schema_text);
    else if (t->schema)
        canon_print_value(p, name, t->schema);
    else
        canon_print_raw(p, name, SV("{\"type\":\"object\",\"properties\":{}}"));
}

/* --- reasoning effort --------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    int64_t budget; /* tokens up to which a budget counts as this level, and what the level is as a budget */
} efforts[] = {
    [CANON_MINIMAL] = { "minimal", 1024 }, [CANON_LOW] = { "low", 2048 },     [CANON_MEDIUM] = { "medium", 8192 },
    [CANON_HIGH] = { "high", 24576 },      [CANON_XHIGH] = { "xhigh", 32768 }, [CANON_MAX] = { "max", 32768 },
};

const char *canon_effort_name(enum canon_effort e) {
    return efforts[e].name;
}

bool canon_effort_parse(struct sv name, enum canon_effort *ret) {
    for (int e = CANON_MINIMAL; e <= CANON_MAX; e++) {
        if (sv_eq(name, sv_of(efforts[e].name))) {
            *ret = (enum canon_effort)e;
            return true;
        }
    }
    return false;
}

enum canon_effort canon_effort_of(const struct canon_request *rq) {
    if (rq->effort != CANON_EFFORT_UNSET || rq->think_budget < 0)
        return rq->effort;
    return rq->think_budget < 2048 ? CANON_LOW : rq->think_budget < 8192 ? CANON_MEDIUM : rq->think_budget < 24576 ? CANON_HIGH : CANON_XHIGH;
}

int64_t canon_budget_of(const struct canon_request *rq) {
    if (rq->think_budget >= 0 || rq->effort == CANON_EFFORT_UNSET)
        return rq->think_budget;
    return efforts[rq->effort].budget;
}

/* --- time --------------------------------------------------------------------------------------------------------- */

void canon_print_time(struct print *p, const char *name, uint64_t unix_s, uint64_t us) {
    static _Thread_local struct { /* of the last second: each line of a stream has its time */
        uint64_t unix_s;
        size_t n;
        char text[48];
    } last;
    time_t t = (time_t)unix_s;
    struct tm tm;
    if (!last.n || last.unix_s != unix_s) {
        if (!gmtime_r(&t, &tm))
            memset(&tm, 0, sizeof tm);
        last.n = strftime(last.text, sizeof last.text - 10, "\"%Y-%m-%dT%H:%M:%S.", &tm);
        last.unix_s = unix_s;
    }
    us %= 1000000;
    for (size_t i = 6; i--; us /= 10)
        last.text[last.n + i] = (char)('0' + us % 10);
    memcpy(last.text + last.n + 6, "Z\"", 2);
    print_name(p, name);
    buf_add(p->to, (struct sv){ last.text, last.n + 8 });
}

void canon_print_sampling(const struct canon_request *rq, struct print *p, const char *repeat) {
    canon_print_value(p, "temperature", rq->temperature);
    canon_print_value(p, "top_p", rq->top_p);
    canon_print_value(p, "top_k", rq->top_k);
    canon_print_value(p, "min_p", rq->min_p);
    canon_print_value(p, "typical_p", rq->typical_p);
    canon_print_value(p, repeat, rq->repeat_penalty);
    canon_print_value(p, "presence_penalty", rq->presence_penalty);
    canon_print_value(p, "frequency_penalty", rq->frequency_penalty);
    canon_print_value(p, "seed", rq->seed);
}

void canon_print_stop(const struct canon_request *rq, struct print *p) {
    if (!rq->stop)
        return;
    print_open(p, "stop", '[');
    for (const struct canon_string *s = rq->stop; s; s = s->next)
        print_str(p, NULL, s->text);
    print_close(p, ']');
}
