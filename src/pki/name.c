/* Identities: who a leaf is for, as the one URI of its SAN, and the DNS name that goes with it. */
#include <stdio.h>

#include "pki/pki.h"

static const struct sv roles[] = { [PKI_HUB] = SV("hub"), [PKI_NODE] = SV("node"), [PKI_CLIENT] = SV("client") };

static bool is_alnum(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_id(struct sv v, size_t max, const char *between) {
    if (v.n == 0 || v.n > max || !is_alnum(v.p[0]) || !is_alnum(v.p[v.n - 1]))
        return false;
    for (size_t i = 0; i < v.n; i++)
        if (!is_alnum(v.p[i]) && (!v.p[i] || !strchr(between, v.p[i])))
            return false;
    return true;
}

bool pki_identity_set(struct pki_identity *ret, enum pki_role role, struct sv fleet, struct sv id) {
    struct pki_identity made = { .role = role };
    if (!is_id(fleet, PKI_FLEET_MAX, "-") || !is_id(id, PKI_ID_MAX, "-._"))
        return false;
    memcpy(made.fleet, fleet.p, fleet.n);
    memcpy(made.id, id.p, id.n);
    *ret = made;
    return true;
}

bool pki_identity_read(struct sv uri, struct pki_identity *ret) {
    const struct sv scheme = SV("drover://");
    struct sv fleet, role, rest;
    if (uri.n > PKI_URI_MAX || !sv_starts(uri, scheme))
        return false;
    rest = sv_from(uri, scheme.n);
    if (!sv_cut(&rest, '/', &fleet) || !sv_cut(&rest, '/', &role))
        return false;
    for (unsigned i = 0; i < sizeof roles / sizeof *roles; i++)
        if (sv_eq(role, roles[i]))
            return pki_identity_set(ret, (enum pki_role)i, fleet, rest);
    return false;
}

void pki_identity_print(const struct pki_identity *id, char uri[static PKI_URI_MAX + 1]) {
    snprintf(uri, PKI_URI_MAX + 1, "drover://%s/%s/%s", id->fleet, roles[id->role].p, id->id);
}

bool pki_identity_dns(const struct pki_identity *id, char name[static PKI_DNS_MAX + 1]) {
    if (!is_id(sv_of(id->id), 63, "-"))
        return false;
    snprintf(name, PKI_DNS_MAX + 1, "%s.%s.drover.internal", id->id, id->fleet);
    return true;
}
