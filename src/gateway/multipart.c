/* gateway/multipart.c - just enough of RFC 7578 to find the field that names the model. */
#include "gateway/exchange.h"

struct sv multipart__boundary(struct sv content_type) {
    struct sv rest = content_type, part;
    while (sv_next(&rest, ';', &part)) {
        part = sv_trim(part);
        if (!sv_starts_nocase(part, SV("boundary=")))
            continue;
        struct sv b = sv_from(part, 9);
        if (b.n >= 2 && b.p[0] == '"' && b.p[b.n - 1] == '"')
            b = sv_from(sv_first(b, b.n - 1), 1);
        return b.n && b.n <= 70 ? b : SV_NULL; /* RFC 2046 section 5.1.1 */
    }
    return SV_NULL;
}

/* Takes the next parameter off *rest, at semicolons outside of quotes. */
static bool next_parameter(struct sv *rest, struct sv *ret) {
    bool quoted = false;
    size_t i = 0;
    if (rest->n == 0)
        return false;
    for (; i < rest->n && (quoted || rest->p[i] != ';'); i++) {
        if (quoted && rest->p[i] == '\\' && i + 1 < rest->n)
            i++;
        else if (rest->p[i] == '"')
            quoted = !quoted;
    }
    *ret = sv_trim(sv_first(*rest, i));
    *rest = sv_from(*rest, i < rest->n ? i + 1 : i);
    return true;
}

/* Whether a part's head says form-data with this name. Not FIELD_YES when readers could differ about it. */
static enum field { FIELD_NO, FIELD_YES, FIELD_UNCLEAR } is_field(struct sv head, struct sv name) {
    struct sv line, part, value = SV_NULL;
    unsigned n_names = 0, n_lines = 0;
    while (sv_next(&head, '\n', &line)) {
        if (line.n && line.p[line.n - 1] == '\r')
            line.n--;
        if (!sv_starts_nocase(line, SV("content-disposition")))
            continue;
        n_lines++;
        while (next_parameter(&line, &part)) {
            if (!sv_starts_nocase(part, SV("name")))
                continue;
            part = sv_trim(sv_from(part, 4));
            if (part.n == 0 || part.p[0] != '=') { /* name*= may mean the same to some */
                n_names += part.n && part.p[0] == '*' ? 2 : 0;
                continue;
            }
            n_names++;
            value = sv_trim(sv_from(part, 1));
            if (value.n >= 2 && value.p[0] == '"' && value.p[value.n - 1] == '"')
                value = sv_from(sv_first(value, value.n - 1), 1);
        }
    }
    if (n_names > 1 || n_lines > 1)
        return FIELD_UNCLEAR;
    return n_names && sv_eq(value, name) ? FIELD_YES : FIELD_NO;
}

struct sv multipart__field(struct sv body, struct sv boundary, struct sv name) {
    char mark[80] = "\r\n--";
    if (boundary.n == 0)
        return SV_NULL;
    memcpy(mark + 4, boundary.p, boundary.n);
    struct sv delimiter = { mark, boundary.n + 4 }, found = SV_NULL;
    ptrdiff_t at = sv_starts(body, sv_from(delimiter, 2)) ? 0 : sv_find(body, delimiter);
    bool first = at == 0;
    while (at >= 0) {
        body = sv_from(body, (size_t)at + delimiter.n - (first ? 2 : 0));
        first = false;
        if (sv_starts(body, SV("--")))
            return found; /* the closing delimiter */
        ptrdiff_t end_of_head = sv_find(body, SV("\r\n\r\n"));
        at = sv_find(body, delimiter);
        if (!sv_starts(body, SV("\r\n")) || end_of_head < 0 || at < end_of_head)
            return SV_NULL; /* what stands behind it may be another field to others */
        switch (is_field(sv_first(body, (size_t)end_of_head), name)) {
        case FIELD_NO:
            break;
        case FIELD_YES:
            if (found.p)
                return SV_NULL; /* two of them: nobody can say which one counts */
            found = sv_from(sv_first(body, (size_t)at), (size_t)end_of_head + 4);
            break;
        case FIELD_UNCLEAR:
            return SV_NULL;
        }
    }
    return SV_NULL;
}
