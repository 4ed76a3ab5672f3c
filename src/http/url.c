#include "http/url.h"

#include <arpa/inet.h>

/* The classes of RFC 3986 section 2 and 3.3; anything else in a URL must be escaped. */
static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_alnum(char c) {
    return is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

static bool is_pchar(char c) {
    return is_alnum(c) || (c != '\0' && strchr("-._~!$&'()*+,;=:@", c));
}

/* The value of the escape v starts with, or -1. */
static int escape(struct sv v) {
    int value = 0;
    if (v.n < 3 || v.p[0] != '%')
        return -1;
    for (size_t i = 1; i < 3; i++) {
        char c = v.p[i];
        if (is_digit(c))
            value = value * 16 + (c - '0');
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            value = value * 16 + ((c | 0x20) - 'a' + 10);
        else
            return -1;
    }
    return value;
}

/* One segment of a path, its escapes already known to be valid. */
static bool is_dots(struct sv segment) {
    size_t dots = 0;
    while (segment.n && segment.p[0] != ';') {
        int value = escape(segment);
        if ((value < 0 ? segment.p[0] : value) != '.')
            return false;
        segment = sv_from(segment, value < 0 ? 1 : 3);
        dots++;
    }
    return dots == 1 || dots == 2;
}

bool path_is_clean(struct sv path) {
    if (!sv_starts(path, SV("/")))
        return false;
    for (size_t i = 0; i < path.n;) {
        int value = escape(sv_from(path, i));
        if (value < 0 ? !is_pchar(path.p[i]) && path.p[i] != '/'
                      : value < 0x20 || value == 0x7f || value == '/' || value == '\\')
            return false;
        i += value < 0 ? 1 : 3;
    }
    struct sv rest = sv_from(path, 1), segment;
    while (sv_next(&rest, '/', &segment))
        if (segment.n == 0 || is_dots(segment))
            return false;
    return true;
}

bool percent_decode(struct sv v, char *to, size_t size, size_t *ret_n) {
    size_t n = 0;
    while (v.n) {
        int value = escape(v);
        char c = value < 0 ? v.p[0] : (char)value;
        if ((value < 0 && c == '%') || c == '\0' || n + 1 >= size)
            return false;
        to[n++] = c;
        v = sv_from(v, value < 0 ? 1 : 3);
    }
    if (size == 0)
        return false;
    to[n] = '\0';
    *ret_n = n;
    return true;
}

/* RFC 1123 section 2.1, and '_', which names of containers have. */
static bool is_name(struct sv host) {
    struct sv label, rest = host;
    if (host.n == 0 || host.n > 253 || host.p[host.n - 1] == '.')
        return false;
    while (sv_next(&rest, '.', &label)) {
        if (label.n == 0 || label.n > 63 || label.p[0] == '-' || label.p[label.n - 1] == '-')
            return false;
        for (size_t i = 0; i < label.n; i++)
            if (!is_alnum(label.p[i]) && label.p[i] != '-' && label.p[i] != '_')
                return false;
    }
    return true;
}

/* Whether some resolver would take it for an IPv4 address in one of the old spellings: 127.1, 0177.0.0.1, 0x7f000001,
 * 2130706433. The rule of WHATWG's URL standard: the last label is a number. */
static bool ends_in_number(struct sv host) {
    struct sv last = sv_from(host, (size_t)(sv_rfind_char(host, '.') + 1));
    bool hex = sv_starts_nocase(last, SV("0x"));
    for (size_t i = hex ? 2 : 0; i < last.n; i++)
        if (!is_digit(last.p[i]) && !(hex && (last.p[i] | 0x20) >= 'a' && (last.p[i] | 0x20) <= 'f'))
            return false;
    return true;
}

static bool parse_host(struct sv host, struct url *u, struct err *e) {
    unsigned char bytes[16];
    char text[64];
    if (host.n && host.p[0] == '[') {
        u->host = (struct sv){ host.p + 1, host.n - 2 }; /* the caller saw the other bracket */
        u->host_kind = URL_IPV6;
        if (!sv_to_cstr(u->host, text, sizeof text) || inet_pton(AF_INET6, text, bytes) != 1)
            return err_set(e, ERR_BAD_REQUEST, "expected an IPv6 address within the brackets");
        return true;
    }
    u->host = host;
    u->host_kind = URL_NAME;
    if (!is_name(host))
        return err_set(e, ERR_BAD_REQUEST, "expected a host name or an IP address after the scheme");
    if (!ends_in_number(host))
        return true;
    u->host_kind = URL_IPV4;
    if (!sv_to_cstr(host, text, sizeof text) || inet_pton(AF_INET, text, bytes) != 1)
        return err_set(e, ERR_BAD_REQUEST,
                       "a host that ends in a number must be four decimal numbers, such as 127.0.0.1");
    return true;
}

static bool parse_authority(struct sv authority, struct url *u, struct err *e) {
    struct sv host = authority, port = SV_NULL;
    ptrdiff_t bracket = sv_rfind_char(authority, ']');
    uint64_t number;
    if (sv_find_char(authority, '@') >= 0)
        return err_set(e, ERR_BAD_REQUEST, "expected a URL without user and password");
    if (sv_starts(authority, SV("["))) {
        if (bracket < 0)
            return err_set(e, ERR_BAD_REQUEST, "expected a closing bracket after the IPv6 address");
        host = sv_first(authority, (size_t)bracket + 1);
        port = sv_from(authority, host.n);
    } else if (sv_find_char(authority, ':') >= 0) {
        host = sv_first(authority, (size_t)sv_find_char(authority, ':'));
        port = sv_from(authority, host.n);
    }
    u->authority = authority;
    u->port = u->scheme == URL_HTTPS ? 443 : 80;
    if (port.n) {
        struct sv digits = sv_from(port, 1);
        if (port.p[0] != ':' || digits.n > 5 || !sv_to_u64(digits, &number) || number == 0 || number > 65535)
            return err_set(e, ERR_BAD_REQUEST, "expected a port from 1 to 65535 after the host");
        u->port = (uint16_t)number;
    }
    return parse_host(host, u, e);
}

static bool parse_socket(struct sv rest, struct url *u, struct err *e) {
    if (sv_starts(rest, SV("///")))
        rest = sv_from(rest, 2);
    /* No escapes: a socket's path is what open() takes. 107 bytes fit sockaddr_un. */
    if (!path_is_clean(rest) || sv_find_char(rest, '%') >= 0 || rest.n > 107 || sv_ends(rest, SV("/")))
        return err_set(e, ERR_BAD_REQUEST, "expected the absolute path of a socket after unix:, 107 bytes at most");
    u->socket = rest;
    return true;
}

bool url_parse(struct sv text, struct url *ret_url, struct err *e) {
    struct url u = { 0 };
    struct sv rest;
    if (text.n > URL_MAX)
        return err_set(e, ERR_BAD_REQUEST, "expected a URL of at most %d bytes, got %zu", URL_MAX, text.n);
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] <= 0x20 || (unsigned char)text.p[i] >= 0x7f || text.p[i] == '\\')
            return err_set(e, ERR_BAD_REQUEST,
                           "byte %zu of the URL is a blank, a control or non-ASCII character or a backslash", i + 1);
    if (sv_starts_nocase(text, SV("unix:"))) {
        u.scheme = URL_UNIX;
        if (!parse_socket(sv_from(text, 5), &u, e))
            return false;
        *ret_url = u;
        return true;
    }
    if (sv_starts_nocase(text, SV("https://"))) {
        u.scheme = URL_HTTPS;
        rest = sv_from(text, 8);
    } else if (sv_starts_nocase(text, SV("http://"))) {
        u.scheme = URL_HTTP;
        rest = sv_from(text, 7);
    } else {
        return err_set(e, ERR_BAD_REQUEST, "expected a URL that starts with http://, https:// or unix:");
    }
    if (sv_find_char(text, '?') >= 0 || sv_find_char(text, '#') >= 0)
        return err_set(e, ERR_BAD_REQUEST, "expected a URL without query or fragment");
    ptrdiff_t slash = sv_find_char(rest, '/');
    u.prefix = slash < 0 ? SV_NULL : sv_from(rest, (size_t)slash);
    if (!parse_authority(slash < 0 ? rest : sv_first(rest, (size_t)slash), &u, e))
        return false;
    if (u.prefix.n && !path_is_clean(u.prefix))
        return err_set(e, ERR_BAD_REQUEST,
                       "expected a path prefix without empty or dot segments, encoded slashes or characters "
                       "that must be escaped");
    if (sv_ends(u.prefix, SV("/")))
        u.prefix.n--;
    *ret_url = u;
    return true;
}

bool url_check(struct sv text, struct err *e) {
    struct url u;
    return url_parse(text, &u, e);
}
