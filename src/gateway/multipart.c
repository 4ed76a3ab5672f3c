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

/* Whether a part's head says form-data with this name. */
static bool is_field(struct sv head, struct sv name) {
    struct sv line;
    while (sv_next(&head, '\n', &line)) {
        if (!sv_starts_nocase(line, SV("content-disposition:")))
            continue;
        struct sv part;
        while (sv_next(&line, ';', &part)) {
            part = sv_trim(part);
            while (part.n && part.p[part.n - 1] == '\r')
                part.n--;
            if (!sv_starts_nocase(part, SV("name=")))
                continue;
            struct sv v = sv_from(part, 5);
            if (v.n >= 2 && v.p[0] == '"' && v.p[v.n - 1] == '"')
                v = sv_from(sv_first(v, v.n - 1), 1);
            return sv_eq(v, name);
        }
    }
    return false;
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
        if (!sv_starts(body, SV("\r\n")))
            break; /* the closing delimiter */
        ptrdiff_t end_of_head = sv_find(body, SV("\r\n\r\n"));
        at = sv_find(body, delimiter);
        if (end_of_head < 0 || at < 0)
            break;
        if (end_of_head < at && is_field(sv_first(body, (size_t)end_of_head), name)) {
            if (found.p)
                return SV_NULL; /* two of them: nobody can say which one counts */
            found = sv_from(sv_first(body, (size_t)at), (size_t)end_of_head + 4);
        }
    }
    return found;
}
