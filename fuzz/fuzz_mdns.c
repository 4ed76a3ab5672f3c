/* Whatever an answer says: what is found stays within its bounds, has an address that may be looked at, does not change when
 * the same answer comes again, and can be asked about in a well-formed question. The answer is taken for one to its own id. */
#undef NDEBUG /* the assertions are the point */
#include <arpa/nameser.h>
#include <assert.h>
#include <stdint.h>

#include "fleet/mdns_read.h"

static const struct mdns_net nets[] = {
    { 2, { AF_INET, { 192, 168, 1, 2 } }, 24 },
    { 2, { AF_INET, { 169, 254, 9, 9 } }, 16 },
    { 2, { AF_INET6, { 0xfd, 0, 0, 1, [15] = 2 } }, 64 },
};
static const struct mdns_from from = { { AF_INET, { 192, 168, 1, 7 } }, 2, nets, 3 };

static void check_question(const struct mdns_found *f) {
    unsigned char q[MDNS_QUERY_MAX];
    ns_msg m;
    ns_rr rr;
    size_t n = mdns_ask_rest(f, q, 1);
    if (n == 0)
        return;
    assert(n <= sizeof q && ns_initparse(q, (int)n, &m) == 0);
    assert(ns_msg_count(m, ns_s_qd) > 0 && ns_msg_count(m, ns_s_qd) <= MDNS_QUESTIONS_MAX);
    for (int i = 0; i < ns_msg_count(m, ns_s_qd); i++)
        assert(ns_parserr(&m, ns_s_qd, i, &rr) == 0 && *ns_rr_name(rr));
}

static void check_found(const struct mdns_found *f) {
    assert(f->n <= MDNS_PLACES_MAX);
    for (size_t i = 0; i < f->n; i++) {
        const struct mdns_instance *it = &f->v[i];
        struct sv name = { it->name, strnlen(it->name, sizeof it->name) }, service = sv_of(mdns_service_name(it->service));
        assert(name.n < sizeof it->name && strnlen(it->host, sizeof it->host) < sizeof it->host);
        assert(name.n > service.n + 1 && sv_eq_nocase(sv_from(name, name.n - service.n), service));
        assert((*it->host != 0) == (it->port != 0));
        assert(it->at.family ? it->port && it->rank && mdns_may_look(&it->at, &from) : !it->rank && !it->is_here);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct mdns_found f, again;
    struct sv message = { (const char *)data, size };
    uint16_t id = size < 2 ? 0 : (uint16_t)(data[0] << 8 | data[1]);
    memset(&f, 0, sizeof f);
    bool ok = mdns_read(&f, message, id, &from);
    assert(ok || f.n == 0);
    check_found(&f);
    check_question(&f);
    again = f;
    assert(mdns_read(&again, message, id, &from) == ok && memcmp(&f, &again, sizeof f) == 0);
    return 0;
}
