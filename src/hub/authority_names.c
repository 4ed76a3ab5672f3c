/* hub/authority_names.c - under which names and addresses nodes may reach this machine: what the hub's certificate says. */
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <unistd.h>

#include "http/url.h"
#include "hub/authority_names.h"

static void add_name(struct authority_names *s, struct sv name) {
    if (name.n && s->n < PKI_NAMES_MAX)
        s->v[s->n++] = name;
}

static void add_address(struct authority_names *s, const struct sockaddr *a) {
    char *text = s->n < PKI_NAMES_MAX ? s->space[s->n] : NULL;
    if (!text || !a)
        return;
    if (a->sa_family == AF_INET &&
        inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)a)->sin_addr, text, 64))
        add_name(s, sv_of(text));
    else if (a->sa_family == AF_INET6 &&
             !IN6_IS_ADDR_LINKLOCAL(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr) &&
             inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr, text, 64))
        add_name(s, sv_of(text));
}

/* A host that a certificate can name: others are left out, for somebody may have set what no name can be. */
static bool is_dns(struct sv name) {
    bool ok = name.n >= 1 && name.n <= 253 && name.p[0] != '-' && name.p[0] != '.';
    for (size_t i = 0; ok && i < name.n; i++)
        ok = (name.p[i] >= 'a' && name.p[i] <= 'z') || (name.p[i] >= 'A' && name.p[i] <= 'Z') ||
             (name.p[i] >= '0' && name.p[i] <= '9') || name.p[i] == '-' || name.p[i] == '.';
    return ok;
}

void authority__names(const struct config *c, struct authority_names *s) {
    struct ifaddrs *all = NULL;
    add_name(s, SV("localhost"));
    if (gethostname(s->host, sizeof s->host - 1) == 0 && is_dns(sv_of(s->host)))
        add_name(s, sv_of(s->host));
    for (size_t i = 0; i < c->n_listen; i++)
        for (size_t j = 0; j < c->listen[i].names.n; j++)
            if (is_dns(c->listen[i].names.v[j]))
                add_name(s, c->listen[i].names.v[j]);
    for (size_t i = 0; i < c->hub.urls.n; i++) {
        struct url u;
        if (url_parse(c->hub.urls.v[i], &u, NULL))
            add_name(s, u.host);
    }
    if (getifaddrs(&all) == 0)
        for (struct ifaddrs *a = all; a; a = a->ifa_next)
            add_address(s, a->ifa_addr);
    freeifaddrs(all);
}
