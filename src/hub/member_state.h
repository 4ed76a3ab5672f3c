/* hub/member_state.h - private to hub: what a node remembers of its membership, in <data_dir>/join (0700; its files 0600).
 *
 *   wish.json, key.pem   while it asks to join: where, with which token, and the key that must not change between tries
 *   pair/, fleet/        its certificate and key, in generations; the roots it trusts (pki/)
 *   token                the bearer
 *   member.json          who it is. Written last: without it the node is no member
 *
 * Functions over files; no clock, no sockets. */
#ifndef DROVER_HUB_MEMBER_STATE_H
#define DROVER_HUB_MEMBER_STATE_H

#include "pki/pki.h"

enum { MEMBER_PATH = 4096, MEMBER_URLS = 8, MEMBER_NAME_MAX = 64, MEMBER_CALLED_MAX = 300 };

struct member_urls {
    char v[MEMBER_URLS][PKI_INVITE_URL_MAX + 1];
    unsigned n;
};
/* Nothing changes when it is there already, is too long, or there are MEMBER_URLS. */
void member_urls_add(struct member_urls *u, struct sv url);

/* Where it wants to become a member. */
struct member_wish {
    struct member_urls urls;
    bool has_pin; /* else the system's roots say who the hub is */
    unsigned char pin[TLS_PIN];
    char token[PKI_TOKEN_TEXT + 1]; /* empty: the operator has to approve */
    int64_t expires_s;              /* of the token; 0: unknown */
    char name[MEMBER_NAME_MAX + 1]; /* empty: the settings say */
    char mode[8];                   /* likewise: "reverse" or "direct" */
    struct buf key;                 /* PEM */
};

#define MEMBER_CALLED_UNKNOWN "?"

struct member_state {
    char fleet[PKI_FLEET_MAX + 1], hub_id[PKI_ID_MAX + 1], node_id[PKI_ID_MAX + 1], name[2 * MEMBER_NAME_MAX + 1];
    struct member_urls urls;
    bool by_system; /* the system's roots say who the hub is, not the fleet's: behind a proxy that ends TLS */
    char mode[8];                       /* as it joined: "reverse", "direct", or empty; the settings go before it */
    char called_at[MEMBER_CALLED_MAX + 1]; /* where the hub knows to call this machine; empty: it knows that this machine dials;
                                            * MEMBER_CALLED_UNKNOWN: it was told, and its answer is not there yet */
    uint64_t boot_count, last_epoch; /* last_epoch 0: there was no link yet */
    int64_t renew_grace_s;
    char token[PKI_TOKEN_TEXT + 1];
    struct pki_pair pair;
    struct pki_trust trust;
};

/* ERR_NOT_FOUND: it is no member. End with the deinit, also after a failure. */
bool member_state_load(const char *dir, struct member_state *ret, struct err *e) MUST_CHECK;
/* member.json alone: the rest is as it was. */
bool member_state_note(const char *dir, const struct member_state *s, struct err *e) MUST_CHECK;
/* All of it: roots, pair, token, and then who it is. s->pair needs its chain and key only; they are read again into it. */
bool member_state_adopt(const char *dir, struct member_state *s, struct err *e) MUST_CHECK;
/* After a renewal: a new pair, and the bearer that came with it. Until this returns the old ones stay; a crash in between leaves the new
 * pair with the old bearer, which is still good. */
bool member_state_renew(const char *dir, struct member_state *s, struct sv chain, struct sv key, const char *token,
                        struct err *e) MUST_CHECK;
void member_state_deinit(struct member_state *s);

bool member_wish_load(const char *dir, struct member_wish *ret, struct err *e) MUST_CHECK;
/* Makes the key when there is none. */
bool member_wish_store(const char *dir, struct member_wish *w, struct err *e) MUST_CHECK;
bool member_wish_remove(const char *dir, struct err *e) MUST_CHECK;
/* Wipes. */
void member_wish_deinit(struct member_wish *w);

/* It is no member any more, and never asked to be. */
bool member_forget(const char *dir, struct err *e) MUST_CHECK;

#endif
