/* What a request says of who it is: the cookie and the key. What is found lies within what was given, and a session's secret is found where
 * it stands alone. */
#undef NDEBUG /* the assertions are the point */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "access/access.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_within(struct sv part, struct sv whole) {
    return part.n == 0 || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct sv value = { (const char *)data, size }, found;
    struct http_header fields[] = { { SV("cookie"), value }, { SV("authorization"), value }, { SV("x-api-key"), value } };
    struct http_head head = { .headers = fields, .n_headers = 1 };
    char scratch[ACCESS_CREDENTIAL_MAX];
    struct err e = { 0 };
    if (access_cookie(&head, &found, &e)) {
        assert(is_within(found, value));
        assert(sv_find_char(found, ';') < 0);
    } else {
        assert(e.code == ERR_BAD_REQUEST);
    }
    for (unsigned i = 1; i < 3; i++) {
        head.headers = &fields[i];
        if (!access_credential(&head, scratch, &found, &e))
            continue;
        assert(is_within(found, value) || is_within(found, (struct sv){ scratch, sizeof scratch }));
        assert(is_within(access_credential_id(found), found));
    }
    return 0;
}
