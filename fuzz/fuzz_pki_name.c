/* The identity in a peer's certificate: what is taken has one spelling, and both its names are of bounded, plain characters. */
#undef NDEBUG /* the assertions are the point */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "pki/pki.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct sv uri = { (const char *)data, size };
    struct pki_identity id, again;
    char text[PKI_URI_MAX + 1], dns[PKI_DNS_MAX + 1];
    if (!pki_identity_read(uri, &id))
        return 0;
    pki_identity_print(&id, text);
    assert(sv_eq(sv_of(text), uri));
    assert(pki_identity_set(&again, id.role, sv_of(id.fleet), sv_of(id.id)));
    assert(memcmp(&id, &again, sizeof id) == 0);
    if (pki_identity_dns(&id, dns)) {
        assert(sv_ends(sv_of(dns), SV(".drover.internal")));
        assert(!strchr(id.id, '.') && !strchr(id.fleet, '.'));
    }
    return 0;
}
