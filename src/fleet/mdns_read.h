/* fleet/mdns_read.h - private to fleet: multicast DNS as bytes: what is asked for, and what an answer says. No I/O.
 *
 * The findings of a round are one struct mdns_found, empty at first: every message of the round goes through mdns_read,
 * which adds what it says and keeps the rest. What is still missing is asked for with mdns_ask_rest. Anyone on the LAN may
 * answer, so an answer is only a hint where to look: what is there is told by a look (fleet/look.h). RFC 6762 and 6763. */
#ifndef DROVER_FLEET_MDNS_READ_H
#define DROVER_FLEET_MDNS_READ_H

#include <netinet/in.h>

#include "base/sv.h"

enum {
    MDNS_PORT = 5353,
    MDNS_PLACES_MAX = 64,     /* instances that are kept in a round */
    MDNS_MESSAGE_MAX = 9000,  /* bytes; RFC 6762 section 17 */
    MDNS_RECORDS_MAX = 512,   /* looked at in one message: more than fit into three Ethernet frames */
    MDNS_QUESTIONS_MAX = 32,  /* in one message; what does not fit waits for the next */
    MDNS_QUERY_MAX = 1400,    /* bytes, so that it fits into one frame */
    MDNS_NAME_MAX = 320,      /* bytes with NUL; a label of 63 bytes, each written as \DDD, and a service type fit */
    MDNS_NETS_MAX = 128,      /* addresses of this machine that are known */
};

/* Who announces them: mdns_read.c. */
enum mdns_service { MDNS_DROVER, MDNS_OLLAMA, MDNS_OPENAI, MDNS_LLM, MDNS_SATURN, MDNS_LMSTUDIO, MDNS_SERVICES };
/* "_ollama._tcp.local", ... */
const char *mdns_service_name(enum mdns_service s);

struct mdns_address {
    int family; /* AF_INET, AF_INET6; 0: none */
    unsigned char bytes[16];
};

/* An address of this machine, and the network it is in. */
struct mdns_net {
    unsigned link; /* index of the interface */
    struct mdns_address at;
    unsigned bits;
};

/* How a message came in. nets: of all interfaces. */
struct mdns_from {
    struct mdns_address source;
    unsigned link;
    const struct mdns_net *nets;
    size_t n_nets;
};

struct mdns_instance {
    enum mdns_service service;
    char name[MDNS_NAME_MAX]; /* as DNS text; whoever announces chose it */
    char host[MDNS_NAME_MAX]; /* empty: not known yet, and port neither */
    uint16_t port;
    struct mdns_address at;   /* family 0: not known yet. Else private, and the nearest of those that were announced */
    unsigned rank;            /* how near at is */
    bool is_here;             /* at is an address of this machine */
};

struct mdns_found {
    struct mdns_instance v[MDNS_PLACES_MAX];
    size_t n;
};

/* Writes the question for all services; returns its length. */
size_t mdns_ask(unsigned char to[static MDNS_QUERY_MAX], uint16_t id);
/* Writes the questions for what f lacks; 0: nothing is missing. */
size_t mdns_ask_rest(const struct mdns_found *f, unsigned char to[static MDNS_QUERY_MAX], uint16_t id);

/* Adds what an answer to question id says. False, and nothing is changed: it is no such answer, or it is not from this
 * link (RFC 6762 section 11). */
bool mdns_read(struct mdns_found *f, struct sv message, uint16_t id, const struct mdns_from *from);

/* Whether a place with this address may be looked at: private (RFC 1918), unique local (RFC 4193), or IPv4 link-local where
 * the interface itself has such an address. IPv6 link-local would need a zone and is left out. */
bool mdns_may_look(const struct mdns_address *at, const struct mdns_from *from);

#endif
