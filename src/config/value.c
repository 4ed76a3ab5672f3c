#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/un.h>

#include "base/money.h"
#include "config/schema.h"

_Static_assert((int)VALUE_TEXT >= (int)MONEY_TEXT, "number_text prints amounts");

struct unit {
    const char *word;
    uint64_t times;
};

static const struct unit sizes[] = {
    { "TiB", 1ull << 40 }, { "GiB", 1ull << 30 }, { "MiB", 1ull << 20 }, { "KiB", 1ull << 10 }, { "B", 1 },
};
static const struct unit durations[] = {
    { "d", 86400000 }, { "h", 3600000 }, { "m", 60000 }, { "s", 1000 }, { "ms", 1 },
};
enum { N_SIZES = sizeof sizes / sizeof *sizes, N_DURATIONS = sizeof durations / sizeof *durations };

/* One number and its unit off the front of v. The unit must come after *from in the table: 1h30m, never 30m1h. */
static bool take(struct sv *v, const struct unit *units, size_t n, size_t *from, uint64_t *sum) {
    size_t digits = 0, letters = 0;
    uint64_t value;
    while (digits < v->n && v->p[digits] >= '0' && v->p[digits] <= '9')
        digits++;
    if (!sv_to_u64(sv_first(*v, digits), &value))
        return false;
    *v = sv_trim(sv_from(*v, digits));
    while (letters < v->n && (v->p[letters] | 0x20) >= 'a' && (v->p[letters] | 0x20) <= 'z')
        letters++;
    for (size_t i = *from; i < n; i++)
        if (sv_eq(sv_first(*v, letters), sv_of(units[i].word))) {
            *v = sv_from(*v, letters);
            *from = i + 1;
            return !__builtin_mul_overflow(value, units[i].times, &value) && !__builtin_add_overflow(*sum, value, sum);
        }
    return false;
}

bool size_parse(struct sv text, uint64_t *ret_bytes) {
    size_t from = 0;
    uint64_t sum = 0;
    if (!take(&text, sizes, N_SIZES, &from, &sum) || text.n || sum > INT64_MAX)
        return false;
    *ret_bytes = sum;
    return true;
}

bool duration_parse(struct sv text, uint64_t *ret_ms) {
    size_t from = 0;
    uint64_t sum = 0;
    do
        if (!take(&text, durations, N_DURATIONS, &from, &sum))
            return false;
    while (text.n);
    if (sum > INT64_MAX)
        return false;
    *ret_ms = sum;
    return true;
}

bool config_duration(struct sv text, uint64_t *ret_ms) {
    if (sv_eq(text, SV("0"))) {
        *ret_ms = 0;
        return true;
    }
    return duration_parse(text, ret_ms);
}

bool pace_parse(struct sv text, uint64_t *ret_per_min) {
    static const struct {
        struct sv word;
        uint64_t times;
    } per[] = { { SV("/min"), 1 }, { SV("/s"), 60 } };
    for (size_t i = 0; i < sizeof per / sizeof per[0]; i++)
        if (sv_ends(text, per[i].word) && sv_to_u64(sv_trim(sv_first(text, text.n - per[i].word.n)), ret_per_min))
            return !__builtin_mul_overflow(*ret_per_min, per[i].times, ret_per_min) && *ret_per_min <= INT32_MAX;
    return false;
}

bool int_parse(struct sv text, int64_t *ret_value) {
    bool minus = sv_starts(text, SV("-"));
    uint64_t value;
    if (!sv_to_u64(minus ? sv_from(text, 1) : text, &value) || value > INT64_MAX)
        return false;
    *ret_value = minus ? -(int64_t)value : (int64_t)value;
    return true;
}

/* In the largest unit that divides it, so that it reads back as the same number. */
static char *unit_text(uint64_t value, const struct unit *units, size_t n, char text[static VALUE_TEXT]) {
    size_t i = 0;
    while (i < n - 1 && (value == 0 || value % units[i].times))
        i++;
    snprintf(text, VALUE_TEXT, "%" PRIu64 "%s", value / units[i].times, units[i].word);
    return text;
}

char *size_text(uint64_t bytes, char text[static VALUE_TEXT]) {
    return unit_text(bytes, sizes, N_SIZES, text);
}

char *duration_text(uint64_t ms, char text[static VALUE_TEXT]) {
    return unit_text(ms, durations, N_DURATIONS, text);
}

char *number_text(enum setting_type type, int64_t value, char text[static VALUE_TEXT]) {
    switch (type) {
    case T_SIZE:
        return size_text((uint64_t)value, text);
    case T_RATE:
        strcat(size_text((uint64_t)value, text), "/s"); /* VALUE_TEXT holds 20 digits, a unit and this */
        return text;
    case T_PACE:
        snprintf(text, VALUE_TEXT, "%" PRId64 "/min", value);
        return text;
    case T_DURATION:
        return duration_text((uint64_t)value, text);
    case T_MONEY:
        return money_text(value, text);
    default:
        snprintf(text, VALUE_TEXT, "%" PRId64 "%s", value, type == T_PERCENT ? "%" : "");
        return text;
    }
}

static bool words(const struct choice *c, struct buf *out) {
    bool ok = true, first = true;
    for (; c->word; c++)
        if (c->value >= 0) {
            ok = ok && buf_printf(out, "%s%s", first ? "" : c[1].word && c[1].value >= 0 ? ", " : " or ", c->word);
            first = false;
        }
    return ok;
}

bool expected_text(const struct setting *s, struct buf *out) {
    char min[VALUE_TEXT], max[VALUE_TEXT];
    number_text(s->type, s->min, min);
    number_text(s->type, s->max, max);
    switch (s->type) {
    case T_BOOL:
        return buf_add(out, SV("true or false"));
    case T_INT:
        return buf_printf(out, "a whole number from %s to %s", min, max);
    case T_SIZE:
        return buf_printf(out, "a size with its unit (B, KiB, MiB, GiB) from %s to %s", min, max);
    case T_RATE:
        return buf_printf(out, "a rate such as 2KiB/s from %s to %s", min, max);
    case T_PACE:
        return buf_printf(out, "so many per minute or second (600/min, 10/s) from %s to %s", min, max);
    case T_DURATION:
        return buf_printf(out, "a duration with its unit (ms, s, m, h, d) from %s to %s", min, max);
    case T_MONEY:
        return buf_printf(out, "an amount such as 0.15, with at most 6 decimals, from %s to %s", min, max);
    case T_PERCENT:
        return buf_printf(out, "a share from %s to %s", min, max);
    case T_ENUM:
        return words(s->choices, out);
    case T_ENUMS:
        return buf_add(out, SV("a list of ")) && words(s->choices, out);
    case T_LIST:
        return buf_printf(out, "a list of words, at most %s of them", max);
    case T_ITEMS:
        return buf_add(out, SV("a list of entries"));
    case T_JSON:
        return buf_add(out, SV("a group of members"));
    case T_PATH:
    case T_FILE:
    case T_KEY_FILE:
        return buf_add(out, SV("a path"));
    case T_STRING:
    case T_SECRET:
    case T_MOVED:
    case T_FIXED:
    case T_LATER:
        break;
    }
    return buf_add(out, SV("a word"));
}

size_t edit_distance(struct sv a, struct sv b, size_t limit) {
    enum { LONGEST = 48 };
    size_t rows[3][LONGEST + 1], *before = rows[0], *above = rows[1], *row = rows[2];
    if (a.n > LONGEST || b.n > LONGEST)
        return limit + 1;
    for (size_t j = 0; j <= b.n; j++)
        above[j] = before[j] = j;
    for (size_t i = 1; i <= a.n; i++) {
        row[0] = i;
        for (size_t j = 1; j <= b.n; j++) {
            size_t best = above[j - 1] + (a.p[i - 1] != b.p[j - 1]);
            if (above[j] + 1 < best)
                best = above[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            if (i > 1 && j > 1 && a.p[i - 1] == b.p[j - 2] && a.p[i - 2] == b.p[j - 1] && before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            row[j] = best;
        }
        size_t *spare = before;
        before = above;
        above = row;
        row = spare;
    }
    return above[b.n] <= limit ? above[b.n] : limit + 1;
}

static bool unix_parse(struct sv path, struct sockaddr_storage *ret_addr, socklen_t *ret_len, struct err *e) {
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    if (!sv_starts(path, SV("/")))
        return err_set(e, ERR_CONFIG, "expected an absolute path after unix:");
    if (!sv_to_cstr(path, un.sun_path, sizeof un.sun_path))
        return err_set(e, ERR_CONFIG, "expected a socket path of at most %zu bytes, got %zu", sizeof un.sun_path - 1,
                       path.n);
    *ret_addr = (struct sockaddr_storage){ 0 };
    memcpy(ret_addr, &un, sizeof un);
    *ret_len = sizeof un;
    return true;
}

bool address_parse(struct sv text, struct sockaddr_storage *ret_addr, socklen_t *ret_len, struct err *e) {
    struct sockaddr_in in = { .sin_family = AF_INET };
    struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };
    char host[64];
    if (sv_starts(text, SV("unix:")))
        return unix_parse(sv_from(text, 5), ret_addr, ret_len, e);

    ptrdiff_t colon = sv_rfind_char(text, ':');
    struct sv digits = colon < 0 ? SV_NULL : sv_from(text, (size_t)colon + 1);
    struct sv name = sv_first(text, colon < 0 ? text.n : (size_t)colon);
    bool brackets = name.n >= 2 && name.p[0] == '[' && name.p[name.n - 1] == ']';
    uint64_t port;
    if (colon < 0 || (!brackets && sv_find_char(name, ':') >= 0))
        return err_set(e, ERR_CONFIG,
                       "expected an address with its port, such as 127.0.0.1:11430, [::1]:11430 or unix:/path");
    if (!sv_to_u64(digits, &port) || port > 65535 || digits.n > 5)
        return err_set(e, ERR_CONFIG, "expected a port from 0 to 65535 after the last colon");
    if (brackets)
        name = (struct sv){ name.p + 1, name.n - 2 };
    else if (sv_eq(name, SV("localhost")))
        name = SV("127.0.0.1");
    *ret_addr = (struct sockaddr_storage){ 0 };
    in.sin_port = in6.sin6_port = htons((uint16_t)port);
    if (!brackets && sv_to_cstr(name, host, sizeof host) && inet_pton(AF_INET, host, &in.sin_addr) == 1) {
        memcpy(ret_addr, &in, sizeof in);
        *ret_len = sizeof in;
        return true;
    }
    if (brackets && sv_to_cstr(name, host, sizeof host) && inet_pton(AF_INET6, host, &in6.sin6_addr) == 1) {
        memcpy(ret_addr, &in6, sizeof in6);
        *ret_len = sizeof in6;
        return true;
    }
    return err_set(e, ERR_CONFIG, "expected an IP address (IPv6 in brackets) before the port");
}

bool config_address(struct sv text, struct sockaddr_storage *ret_addr, socklen_t *ret_len, struct err *e) {
    return address_parse(text, ret_addr, ret_len, e);
}

bool address_is_local(const struct sockaddr_storage *addr) {
    if (addr->ss_family == AF_UNIX)
        return true;
    if (addr->ss_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)addr)->sin_addr.s_addr) >> 24 == 127;
    const struct in6_addr *a = &((const struct sockaddr_in6 *)addr)->sin6_addr;
    return IN6_IS_ADDR_LOOPBACK(a) || (IN6_IS_ADDR_V4MAPPED(a) && a->s6_addr[12] == 127);
}

size_t setting_size(enum setting_type t) {
    switch (t) {
    case T_BOOL:
        return sizeof(bool);
    case T_INT:
    case T_PACE:
    case T_PERCENT:
    case T_ENUM:
        return sizeof(int);
    case T_SIZE:
    case T_RATE:
        return sizeof(size_t);
    case T_DURATION:
        return sizeof(uint64_t);
    case T_MONEY:
        return sizeof(struct config_money);
    case T_ENUMS:
        return sizeof(unsigned);
    case T_LIST:
        return sizeof(struct config_list);
    case T_SECRET:
        return sizeof(struct config_secret);
    default:
        return sizeof(struct sv);
    }
}
