/* fleet/mdns_read.c - one message: pointers name instances, SRV records give them host and port, A and AAAA an address.
 *
 * The records of one message come in any order, so it is gone through three times. Those of one instance may come in several
 * messages; what cannot be attached to anything yet is not kept but asked for again, so a round holds no strangers' records.
 * The resolver's own parser (libresolv) takes names and records apart: compression is where home-made parsers break. */
#include "fleet/mdns_read.h"

#include <arpa/nameser.h>
#include <string.h>

/* No runtime of docs/runtimes.md announces a service of its own. Ollama has been asked to (its issues 3802 and 10283);
 * Lemonade's beacon is a UDP broadcast and no DNS (its pull request 988); LocalAI's peers find each other by libp2p, whose
 * _p2p._udp names no HTTP port. What is announced comes from programs around them and from people with Avahi. _http._tcp is
 * not asked for: it is every printer. */
static const char *const services[MDNS_SERVICES] = {
    [MDNS_DROVER] = "_drover._tcp.local",
    [MDNS_OLLAMA] = "_ollama._tcp.local",     /* proposed in Ollama's issue 10283; apps that serve its API announce it */
    [MDNS_OPENAI] = "_openai._tcp.local",     /* small OpenAI-compatible servers, some on phones */
    [MDNS_LLM] = "_llm._tcp.local",           /* appliances: AIMA, NeuralDrive */
    [MDNS_SATURN] = "_saturn._tcp.local",     /* Saturn: OpenAI-compatible servers of a LAN, its own or in front of others */
    [MDNS_LMSTUDIO] = "_lmstudio._tcp.local", /* clients ask for it; LM Studio itself is silent, people announce it by hand */
};

enum {
    HEAD = 12,          /* bytes before the questions */
    SRV_TARGET = 6,     /* priority, weight and port stand before it */
    FLUSH_BIT = 0x8000, /* of a record's class: RFC 6762 section 10.2 */
};

struct reading {
    struct mdns_found *found;
    const struct mdns_from *from;
    ns_msg message;
};

const char *mdns_service_name(enum mdns_service s) {
    return services[s];
}

static bool same_name(const char *a, const char *b) {
    return sv_eq_nocase(sv_of(a), sv_of(b));
}

static bool is_within(const char *name, const char *domain) {
    size_t n = strlen(name), d = strlen(domain);
    return n > d + 1 && name[n - d - 1] == '.' && same_name(name + n - d, domain);
}

/* --- addresses ---------------------------------------------------------------------------------------------------- */

static bool same_address(const struct mdns_address *a, const struct mdns_address *b) {
    return a->family == b->family && memcmp(a->bytes, b->bytes, a->family == AF_INET ? 4 : 16) == 0;
}

static bool has_prefix(const struct mdns_address *a, const unsigned char *prefix, unsigned bits) {
    unsigned whole = bits / 8, rest = bits % 8;
    return memcmp(a->bytes, prefix, whole) == 0 && (rest == 0 || (a->bytes[whole] ^ prefix[whole]) >> (8 - rest) == 0);
}

static bool is_here(const struct mdns_address *a, const struct mdns_from *from) {
    for (size_t i = 0; i < from->n_nets; i++)
        if (same_address(a, &from->nets[i].at))
            return true;
    return false;
}

static bool is_on_link(const struct mdns_address *a, const struct mdns_from *from) {
    for (size_t i = 0; i < from->n_nets; i++) {
        const struct mdns_net *n = &from->nets[i];
        if (n->link == from->link && n->at.family == a->family && has_prefix(a, n->at.bytes, n->bits))
            return true;
    }
    return false;
}

static bool is_link_local(const struct mdns_address *a) {
    return a->family == AF_INET ? has_prefix(a, (const unsigned char[]){ 169, 254 }, 16)
                                : has_prefix(a, (const unsigned char[]){ 0xfe, 0x80 }, 10);
}

/* What this machine sends to itself may come in through another interface; no router passes IPv6 link-local on. */
static bool is_near(const struct mdns_from *from) {
    const struct mdns_address *s = &from->source;
    return is_on_link(s, from) || is_here(s, from) || (s->family == AF_INET6 && is_link_local(s));
}

bool mdns_may_look(const struct mdns_address *at, const struct mdns_from *from) {
    if (at->family == AF_INET6)
        return has_prefix(at, (const unsigned char[]){ 0xfc }, 7);
    if (at->family != AF_INET)
        return false;
    return has_prefix(at, (const unsigned char[]){ 10 }, 8) || has_prefix(at, (const unsigned char[]){ 172, 16 }, 12) ||
           has_prefix(at, (const unsigned char[]){ 192, 168 }, 16) || (is_link_local(at) && is_on_link(at, from));
}

/* One machine announces all its addresses: one of them is looked at. IPv4 first, as runtimes often listen there only; then
 * the one that answered, then one of this network, then others (a container's bridge, a network behind a reflector). */
static unsigned rank_of(const struct mdns_address *at, const struct mdns_from *from) {
    unsigned near = same_address(at, &from->source) ? 3 : is_on_link(at, from) ? 2 : 1;
    return mdns_may_look(at, from) ? near + (at->family == AF_INET ? 3 : 0) : 0;
}

/* --- records ------------------------------------------------------------------------------------------------------ */

/* The name that fills a record from byte at to its end; false when it is the root, too long or broken. */
static bool name_in(const struct reading *r, const ns_rr *rr, size_t at, char *name) {
    size_t n = ns_rr_rdlen(*rr);
    if (n <= at)
        return false;
    int used = ns_name_uncompress(ns_msg_base(r->message), ns_msg_end(r->message), ns_rr_rdata(*rr) + at, name, MDNS_NAME_MAX);
    return used >= 0 && (size_t)used == n - at && *name && strcmp(name, ".") != 0;
}

static bool is_known(const struct mdns_found *f, const char *name) {
    for (size_t i = 0; i < f->n; i++)
        if (same_name(f->v[i].name, name))
            return true;
    return false;
}

static void take_pointer(struct reading *r, const ns_rr *rr) {
    struct mdns_found *f = r->found;
    char name[MDNS_NAME_MAX];
    int s = 0;
    while (s < MDNS_SERVICES && !same_name(ns_rr_name(*rr), services[s]))
        s++;
    if (ns_rr_type(*rr) != ns_t_ptr || s == MDNS_SERVICES || f->n == MDNS_PLACES_MAX || !name_in(r, rr, 0, name) ||
        !is_within(name, services[s]) || is_known(f, name))
        return;
    struct mdns_instance *it = &f->v[f->n++];
    *it = (struct mdns_instance){ .service = (enum mdns_service)s };
    memcpy(it->name, name, sizeof name);
}

/* The first word counts: a later message cannot move an instance elsewhere. */
static void take_server(struct reading *r, const ns_rr *rr) {
    char host[MDNS_NAME_MAX];
    if (ns_rr_type(*rr) != ns_t_srv || !name_in(r, rr, SRV_TARGET, host))
        return;
    uint16_t port = (uint16_t)ns_get16(ns_rr_rdata(*rr) + 4);
    for (size_t i = 0; i < r->found->n && port; i++) {
        struct mdns_instance *it = &r->found->v[i];
        if (*it->host || !same_name(it->name, ns_rr_name(*rr)))
            continue;
        memcpy(it->host, host, sizeof host);
        it->port = port;
    }
}

static void take_address(struct reading *r, const ns_rr *rr) {
    bool v4 = ns_rr_type(*rr) == ns_t_a, v6 = ns_rr_type(*rr) == ns_t_aaaa;
    if ((!v4 && !v6) || ns_rr_rdlen(*rr) != (v4 ? 4 : 16))
        return;
    struct mdns_address at = { .family = v4 ? AF_INET : AF_INET6 };
    memcpy(at.bytes, ns_rr_rdata(*rr), v4 ? 4 : 16);
    unsigned rank = rank_of(&at, r->from);
    for (size_t i = 0; i < r->found->n && rank; i++) {
        struct mdns_instance *it = &r->found->v[i];
        if (rank <= it->rank || !same_name(it->host, ns_rr_name(*rr)))
            continue;
        it->at = at;
        it->rank = rank;
        it->is_here = is_here(&at, r->from);
    }
}

/* Ends at the first record that cannot be read: what follows is not to be trusted. */
static void each_record(struct reading *r, void (*take)(struct reading *r, const ns_rr *rr)) {
    static const ns_sect sections[] = { ns_s_an, ns_s_ar };
    unsigned left = MDNS_RECORDS_MAX;
    for (size_t s = 0; s < 2; s++) {
        for (int i = 0; i < ns_msg_count(r->message, sections[s]) && left; i++, left--) {
            ns_rr rr;
            if (ns_parserr(&r->message, sections[s], i, &rr) != 0)
                return;
            /* Without time to live it says good-bye: RFC 6762 section 10.1. */
            if ((ns_rr_class(rr) & ~FLUSH_BIT) == ns_c_in && ns_rr_ttl(rr) && *ns_rr_name(rr))
                take(r, &rr);
        }
    }
}

bool mdns_read(struct mdns_found *f, struct sv message, uint16_t id, const struct mdns_from *from) {
    struct reading r = { .found = f, .from = from };
    if (message.n > MDNS_MESSAGE_MAX || !is_near(from) ||
        ns_initparse((const unsigned char *)message.p, (int)message.n, &r.message) != 0)
        return false;
    if (ns_msg_id(r.message) != id || !ns_msg_getflag(r.message, ns_f_qr) ||
        ns_msg_getflag(r.message, ns_f_opcode) != ns_o_query || ns_msg_getflag(r.message, ns_f_rcode) != ns_r_noerror)
        return false;
    each_record(&r, take_pointer);
    each_record(&r, take_server);
    each_record(&r, take_address);
    return true;
}

/* --- questions ---------------------------------------------------------------------------------------------------- */

/* Adds one question at *at; false when the message is full. Questions are multicast questions (QM). */
static bool add_question(unsigned char *to, size_t *at, const char *name, ns_type type) {
    unsigned n = ns_get16(to + 4);
    int used = n < MDNS_QUESTIONS_MAX ? ns_name_compress(name, to + *at, MDNS_QUERY_MAX - *at, NULL, NULL) : -1;
    if (used < 0 || *at + (size_t)used + 4 > MDNS_QUERY_MAX)
        return false;
    ns_put16(type, to + *at + used);
    ns_put16(ns_c_in, to + *at + used + 2);
    *at += (size_t)used + 4;
    ns_put16(n + 1, to + 4);
    return true;
}

size_t mdns_ask(unsigned char to[static MDNS_QUERY_MAX], uint16_t id) {
    size_t at = HEAD;
    memset(to, 0, HEAD);
    ns_put16(id, to);
    for (int s = 0; s < MDNS_SERVICES; s++)
        add_question(to, &at, services[s], ns_t_ptr);
    return at;
}

size_t mdns_ask_rest(const struct mdns_found *f, unsigned char to[static MDNS_QUERY_MAX], uint16_t id) {
    size_t at = HEAD;
    memset(to, 0, HEAD);
    ns_put16(id, to);
    for (size_t i = 0; i < f->n; i++) {
        const struct mdns_instance *it = &f->v[i];
        if (!*it->host)
            add_question(to, &at, it->name, ns_t_srv);
        else if (!it->at.family && is_within(it->host, "local")) /* others are not multicast DNS's to answer */
            (void)(add_question(to, &at, it->host, ns_t_a) && add_question(to, &at, it->host, ns_t_aaaa));
    }
    return at > HEAD ? at : 0;
}
