/* llm/scan.c - a JSON tokenizer that can be stopped between any two bytes.
 *
 * scan_feed dispatches on s->at; each at_... function consumes what it can of its part of the grammar and returns where
 * it stopped, or NULL after a fault. Whatever must survive the end of a feed is in the struct; the pointers feed, run,
 * hash_from and copy_from are valid during one call only and are settled at its end. What the body says about itself is
 * noted by the hooks of scan_note.h. */
#include "llm/scan.h"

#include <inttypes.h>
#include <stdio.h>

#include "llm/scan_note.h"
#include "llm/scan_run.h"

const char *scan__fault(struct scan *s, const char *p, unsigned kind, const char *expected) {
    s->at = AT_BAD;
    s->fault = (uint8_t)kind;
    s->expected = expected;
    s->bad_at = scan__offset(s, p);
    s->found = (unsigned char)*p;
    return NULL;
}

static const char *fault(struct scan *s, const char *p, const char *expected) {
    return scan__fault(s, p, FAULT_SYNTAX, expected);
}

/* -- grammar ----------------------------------------------------------------------------------------------------- */

static inline const char *skip_blank(const char *p, const char *end) {
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) {
        p++;
        while (end - p >= 8 && memcmp(p, "        ", 8) == 0) /* an indented line */
            p += 8;
    }
    return p;
}

static void text_add(struct scan *s, const char *from, size_t n) {
    s->used_text = true;
    if (n > (size_t)SCAN_MODEL_MAX || s->text_n + n > SCAN_MODEL_MAX) {
        s->text_n = SCAN_MODEL_MAX + 1;
        return;
    }
    memcpy(s->text + s->text_n, from, n);
    s->text_n = (uint16_t)(s->text_n + n);
}

static void text_code(struct scan *s, uint32_t c) {
    char t[4];
    size_t n = 0;
    if (c < 0x80) {
        t[n++] = (char)c;
    } else {
        if (c < 0x800) {
            t[n++] = (char)(0xc0 | c >> 6);
        } else {
            if (c < 0x10000) {
                t[n++] = (char)(0xe0 | c >> 12);
            } else {
                t[n++] = (char)(0xf0 | c >> 18);
                t[n++] = (char)(0x80 | (c >> 12 & 0x3f));
            }
            t[n++] = (char)(0x80 | (c >> 6 & 0x3f));
        }
        t[n++] = (char)(0x80 | (c & 0x3f));
    }
    if (s->keep)
        text_add(s, t, n);
}

/* The kept text of the token that ends before p: in place when it stands in this feed without escapes. */
static struct sv text_end(struct scan *s, const char *p) {
    if (!s->used_text)
        return (struct sv){ s->run, (size_t)(p - s->run) };
    text_add(s, s->run, (size_t)(p - s->run));
    return (struct sv){ s->text, s->text_n };
}

static void text_begin(struct scan *s, const char *run, bool keep) {
    s->keep = keep;
    s->used_text = false;
    s->text_n = 0;
    s->run = run;
}

static const char *string_begin(struct scan *s, const char *p, bool is_key) {
    s->at = AT_STRING;
    s->is_key = is_key;
    s->escaped = false;
    s->string_at = scan__offset(s, p);
    text_begin(s, p + 1, is_key ? !s->opaque : s->want == WANT_MODEL || s->want == WANT_TYPE || s->want == WANT_ROLE);
    return p + 1;
}

static const char *string_end(struct scan *s, const char *p) {
    struct sv v = s->keep ? text_end(s, p) : SV_NULL;
    if (s->is_key)
        return scan__key_end(s, p + 1, v);
    if (s->want)
        scan__string(s, p + 1, v);
    return scan__value_end(s, p + 1);
}

static const char *expect_char(struct scan *s, const char *p) {
    return fault(s, p, "a byte that continues a UTF-8 character");
}

/* p stands on a byte above 0x7f; takes characters until plain text or the end of the feed. RFC 3629 section 4. */
static const char *string_utf8(struct scan *s, const char *p, const char *end) {
    while (p < end && (unsigned char)*p >= 0x80) {
        unsigned char c = (unsigned char)*p;
        unsigned more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
        if (c < 0xc2 || c > 0xf4)
            return fault(s, p, "valid UTF-8 in a string");
        unsigned char low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
        unsigned char high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
        s->n_utf8[more - 1]++;
        p++;
        if ((size_t)(end - p) < more) {
            s->utf8_left = (uint8_t)more;
            s->utf8_low = low;
            s->utf8_high = high;
            s->at = AT_UTF8;
            return p;
        }
        if ((unsigned char)*p < low || (unsigned char)*p > high)
            return expect_char(s, p);
        for (p++; --more; p++) {
            if (((unsigned char)*p & 0xc0) != 0x80)
                return expect_char(s, p);
        }
    }
    return p;
}

static const char *at_utf8(struct scan *s, const char *p) {
    unsigned char c = (unsigned char)*p;
    if (c < s->utf8_low || c > s->utf8_high)
        return expect_char(s, p);
    s->utf8_low = 0x80;
    s->utf8_high = 0xbf;
    if (--s->utf8_left == 0)
        s->at = AT_STRING;
    return p + 1;
}

static const char *at_string(struct scan *s, const char *p, const char *end) {
    for (;;) {
        p = run_plain(p, end);
        if (s->way && !s->keep && end - p >= RUN_BLOCK && *p != '"') {
            p = run_text(s->way, p, s->feed, end, s->n_utf8);
            p = run_plain(p, end);
        }
        if (p == end)
            return p;
        unsigned char c = (unsigned char)*p;
        if (c == '"')
            return string_end(s, p);
        if (c == '\\') {
            if (!s->keep && end - p >= 2 && run__short_escape[(unsigned char)p[1]]) { /* near the end */
                s->escaped = true;
                p += 2;
                continue;
            }
            if (s->keep)
                text_add(s, s->run, (size_t)(p - s->run));
            s->escaped = true;
            s->at = AT_ESCAPE;
            return p + 1;
        }
        if (c < 0x20)
            return fault(s, p, "no control byte inside a string (escape it)");
        p = string_utf8(s, p, end);
        if (!p || s->at != AT_STRING)
            return p;
    }
}

static const char *escape_end(struct scan *s, const char *p, uint32_t code) {
    text_code(s, code);
    s->run = p;
    s->at = AT_STRING;
    return p;
}

static const char *at_escape(struct scan *s, const char *p) {
    switch (*p) {
    case '"':
    case '\\':
    case '/': return escape_end(s, p + 1, (unsigned char)*p);
    case 'b': return escape_end(s, p + 1, '\b');
    case 'f': return escape_end(s, p + 1, '\f');
    case 'n': return escape_end(s, p + 1, '\n');
    case 'r': return escape_end(s, p + 1, '\r');
    case 't': return escape_end(s, p + 1, '\t');
    case 'u':
        s->at = AT_HEX;
        s->hex_left = 4;
        s->hex = 0;
        return p + 1;
    default: return fault(s, p, "an escape: one of \" \\ / b f n r t u");
    }
}

static const char *hex_end(struct scan *s, const char *p) {
    bool high = s->hex >= 0xd800 && s->hex <= 0xdbff, low = s->hex >= 0xdc00 && s->hex <= 0xdfff;
    if (s->reply)
        return escape_end(s, p, high || low ? 0xfffd : s->hex);
    if (s->surrogate) {
        uint32_t code = 0x10000 + ((uint32_t)(s->surrogate - 0xd800) << 10) + (uint32_t)(s->hex - 0xdc00);
        s->surrogate = 0;
        return low ? escape_end(s, p, code) : fault(s, p - 1, "a low surrogate (\\udc00 to \\udfff)");
    }
    if (low)
        return fault(s, p - 1, "no low surrogate without a high one before it");
    if (!high)
        return escape_end(s, p, s->hex);
    s->surrogate = s->hex;
    s->at = AT_LOW_SLASH;
    return p;
}

static const char *at_hex(struct scan *s, const char *p) {
    unsigned char c = (unsigned char)*p;
    unsigned letter = c | 0x20u, digit = 16;
    if (c >= '0' && c <= '9')
        digit = c - '0' + 0u;
    else if (letter >= 'a' && letter <= 'f')
        digit = letter - 'a' + 10;
    if (digit == 16)
        return fault(s, p, "four hexadecimal digits after \\u");
    s->hex = (uint16_t)(s->hex << 4 | digit);
    return --s->hex_left ? p + 1 : hex_end(s, p + 1);
}

static const char *at_low(struct scan *s, const char *p) {
    if (*p != (s->at == AT_LOW_SLASH ? '\\' : 'u'))
        return fault(s, p, "a low surrogate (\\udc00 to \\udfff)");
    s->hex_left = 4;
    s->hex = 0;
    s->at = s->at == AT_LOW_SLASH ? AT_LOW_U : AT_HEX;
    return p + 1;
}

static unsigned number_next(unsigned state, char c) {
    bool digit = c >= '0' && c <= '9', e = c == 'e' || c == 'E';
    switch (state) {
    case NUM_MINUS: return c == '0' ? NUM_ZERO : digit ? NUM_INT : NUM_BAD;
    case NUM_ZERO: return c == '.' ? NUM_DOT : e ? NUM_E : NUM_DONE;
    case NUM_INT: return digit ? NUM_INT : c == '.' ? NUM_DOT : e ? NUM_E : NUM_DONE;
    case NUM_DOT: return digit ? NUM_FRAC : NUM_BAD;
    case NUM_FRAC: return digit ? NUM_FRAC : e ? NUM_E : NUM_DONE;
    case NUM_E: return digit ? NUM_EXP : c == '+' || c == '-' ? NUM_SIGN : NUM_BAD;
    case NUM_SIGN: return digit ? NUM_EXP : NUM_BAD;
    default: return digit ? NUM_EXP : NUM_DONE;
    }
}

static const char *number_begin(struct scan *s, const char *p) {
    s->at = AT_NUMBER;
    s->number = *p == '-' ? NUM_MINUS : *p == '0' ? NUM_ZERO : NUM_INT;
    text_begin(s, p, s->want == WANT_INT);
    return p + 1;
}

static const char *at_number(struct scan *s, const char *p, const char *end) {
    for (; p < end; p++) {
        unsigned next = number_next(s->number, *p);
        if (next == NUM_BAD)
            return fault(s, p, "a digit");
        if (next == NUM_DONE) {
            if (s->want)
                scan__number(s, s->keep ? text_end(s, p) : SV_NULL);
            return scan__value_end(s, p);
        }
        s->number = (uint8_t)next;
    }
    return p;
}

static const char *literal_begin(struct scan *s, const char *p, const char *text, enum scan_flag is) {
    s->at = AT_LITERAL;
    s->literal = text + 1;
    s->literal_is = is;
    return p + 1;
}

static const char *at_literal(struct scan *s, const char *p, const char *end) {
    for (; p < end && *s->literal; p++, s->literal++) {
        if (*p != *s->literal)
            return fault(s, p, "true, false or null");
    }
    if (*s->literal)
        return p;
    if (s->want)
        scan__literal(s);
    return scan__value_end(s, p);
}

static const char *open_bracket(struct scan *s, const char *p) {
    bool is_object = *p == '{';
    if (s->depth == s->depth_max)
        return scan__fault(s, p, FAULT_DEEP, NULL);
    s->depth++;
    s->stack = s->stack << 1 | is_object;
    scan__opened(s, p, is_object);
    s->at = is_object ? AT_FIRST_KEY : AT_FIRST_VALUE;
    return p + 1;
}

static const char *close_bracket(struct scan *s, const char *p) {
    s->depth--;
    s->stack >>= 1;
    s->want = WANT_NONE;
    if (s->opaque > s->depth)
        s->opaque = 0;
    if (s->depth == 0) {
        s->at = AT_END;
        return p + 1;
    }
    return scan__value_end(s, p + 1);
}

static const char *at_start(struct scan *s, const char *p) {
    if (*p != '{')
        return fault(s, p, (unsigned char)*p == 0xef ? "'{' first of all (and no byte order mark)"
                                                     : "'{' (the body must be one JSON object)");
    p = open_bracket(s, p);
    s->open = scan__offset(s, p);
    return p;
}

static const char *at_value(struct scan *s, const char *p) {
    s->n_values++;
    scan__value_begin(s, p);
    switch (*p) {
    case '"': return string_begin(s, p, false);
    case '{':
    case '[': return open_bracket(s, p);
    case 't': return literal_begin(s, p, "true", SCAN_TRUE);
    case 'f': return literal_begin(s, p, "false", SCAN_FALSE);
    case 'n': return literal_begin(s, p, "null", SCAN_NULL);
    default:
        if (*p == '-' || (*p >= '0' && *p <= '9'))
            return number_begin(s, p);
        return fault(s, p, "a value");
    }
}

static const char *at_comma(struct scan *s, const char *p) {
    bool object = scan__in_object(s);
    if (*p == ',') {
        s->at = object ? AT_KEY : AT_VALUE;
        return p + 1;
    }
    if (*p == (object ? '}' : ']'))
        return close_bracket(s, p);
    return fault(s, p, object ? "',' or '}' after a member" : "',' or ']' after an element");
}

static const char *at_mark(struct scan *s, const char *p, const char *end) {
    p = skip_blank(p, end);
    if (p == end)
        return p;
    switch (s->at) {
    case AT_START: return at_start(s, p);
    case AT_FIRST_KEY:
        if (*p == '}')
            return close_bracket(s, p);
        scan__not_empty(s);
        /* fall through */
    case AT_KEY: return *p == '"' ? string_begin(s, p, true) : fault(s, p, "a member name in quotes");
    case AT_COLON:
        s->at = AT_VALUE;
        return *p == ':' ? p + 1 : fault(s, p, "':' after a member name");
    case AT_FIRST_VALUE:
        if (*p == ']')
            return close_bracket(s, p);
        scan__not_empty(s);
        /* fall through */
    case AT_VALUE: return at_value(s, p);
    case AT_COMMA: return at_comma(s, p);
    default: return fault(s, p, "nothing but white space after the object");
    }
}

/* -- the door ---------------------------------------------------------------------------------------------------- */

enum scan_result scan_feed(struct scan *s, struct sv bytes) {
    if (s->at == AT_BAD)
        return SCAN_BAD;
    if (bytes.n == 0)
        return s->at == AT_END ? SCAN_OK : SCAN_MORE;
    const char *p = bytes.p, *end = p + bytes.n;
    s->feed = s->run = s->hash_from = s->copy_from = p;
    while (p && p < end) {
        switch (s->at) {
        case AT_STRING: p = at_string(s, p, end); break;
        case AT_UTF8: p = at_utf8(s, p); break;
        case AT_ESCAPE: p = at_escape(s, p); break;
        case AT_HEX: p = at_hex(s, p); break;
        case AT_LOW_SLASH:
        case AT_LOW_U: p = at_low(s, p); break;
        case AT_NUMBER: p = at_number(s, p, end); break;
        case AT_LITERAL: p = at_literal(s, p, end); break;
        default: p = at_mark(s, p, end); break;
        }
    }
    if (!p) {
        scan__suspend(s, s->feed + (s->bad_at - s->base));
        return SCAN_BAD;
    }
    if (s->keep && (s->at == AT_STRING || s->at == AT_UTF8 || s->at == AT_NUMBER))
        text_add(s, s->run, (size_t)(end - s->run));
    scan__suspend(s, end);
    s->base += bytes.n;
    return s->at == AT_END ? SCAN_OK : SCAN_MORE;
}

static const char *what_is_missing(const struct scan *s) {
    static const char *const missing[] = {
        [AT_START] = "one JSON object (the body is empty)",
        [AT_FIRST_KEY] = "a member name or '}'",
        [AT_KEY] = "a member name",
        [AT_COLON] = "':' after a member name",
        [AT_FIRST_VALUE] = "a value or ']'",
        [AT_VALUE] = "a value",
        [AT_STRING] = "the end of a string",
        [AT_UTF8] = "the rest of a character",
        [AT_ESCAPE] = "the rest of an escape",
        [AT_HEX] = "the rest of an escape",
        [AT_LOW_SLASH] = "a low surrogate",
        [AT_LOW_U] = "a low surrogate",
        [AT_NUMBER] = "the rest of a number or the end of the object",
        [AT_LITERAL] = "true, false or null",
    };
    if (s->at == AT_COMMA)
        return scan__in_object(s) ? "',' or '}' after a member" : "',' or ']' after an element";
    return missing[s->at];
}

static enum scan_result bad(const struct scan *s, struct err *e) {
    char found[16] = "";
    switch (s->fault) {
    case FAULT_TWICE:
        err_set(e, ERR_BAD_REQUEST, "body, byte %" PRIu64 ": the member \"%s\" appears twice", s->bad_at, s->expected);
        break;
    case FAULT_DEEP:
        err_limit(e, LIMIT_JSON_DEPTH, "body, byte %" PRIu64 ": JSON is nested deeper than %d", s->bad_at, s->depth_max);
        break;
    case FAULT_MEMBERS:
        err_limit(e, LIMIT_JSON_MEMBERS, "body, byte %" PRIu64 ": more than %u members at the top", s->bad_at,
                  s->members_max);
        break;
    default:
        if (s->found > 0x20 && s->found < 0x7f)
            snprintf(found, sizeof found, "'%c'", s->found);
        else
            snprintf(found, sizeof found, "byte 0x%02x", (unsigned)s->found);
        err_set(e, ERR_BAD_REQUEST, "body, byte %" PRIu64 ": expected %s, found %s", s->bad_at, s->expected, found);
    }
    return SCAN_BAD;
}

enum scan_result scan_end(struct scan *s, struct err *e) {
    if (s->at == AT_END)
        return SCAN_OK;
    if (s->at == AT_BAD)
        return bad(s, e);
    err_set(e, ERR_BAD_REQUEST, "body ends at byte %" PRIu64 ": expected %s", s->base, what_is_missing(s));
    return SCAN_BAD;
}

void scan_init(struct scan *s) {
    memset(s, 0, sizeof *s);
    s->at = AT_START;
    s->way = (uint8_t)run_best();
    s->empty = true;
    s->depth_max = SCAN_DEPTH_MAX;
    s->members_max = SCAN_MEMBERS_MAX;
    s->max_tokens = s->max_completion_tokens = s->max_output_tokens = s->num_predict = s->n = -1;
}

void scan_limit(struct scan *s, unsigned depth, unsigned members) {
    s->depth_max = depth < SCAN_DEPTH_MAX ? (uint8_t)depth : SCAN_DEPTH_MAX;
    s->members_max = members < SCAN_MEMBERS_MAX ? members : SCAN_MEMBERS_MAX;
}

void scan_capture(struct scan *s, struct scan_slot *slots, size_t n) {
    scan_init(s);
    s->reply = true;
    s->slots = slots;
    s->n_slots = (uint32_t)n;
    for (size_t i = 0; i < n; i++) {
        slots[i].seen = false;
        slots[i].n = 0;
    }
}

int64_t scan_output_limit(const struct scan *s) {
    const int64_t limits[] = { s->max_tokens, s->max_completion_tokens, s->max_output_tokens, s->num_predict };
    int64_t least = -1;
    for (unsigned i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        if (limits[i] >= 0 && (least < 0 || limits[i] < least))
            least = limits[i];
    }
    return least;
}
