/* pki/pki.h - the fleet's certificates and tokens: who signs them, what they say, where they lie, when they are renewed.
 *
 * A fleet has one authority (struct pki_ca) with a self-signed root; hubs and nodes have short leaves of it, and the key of a leaf
 * never leaves the machine that made it. A hub: pki_ca_make or pki_ca_load -> pki_issue -> pki_pair_store -> a TLS context; at
 * pki_renew_due again. A node: pki_invite_read -> pki_key_make, pki_csr_make -> what the hub answers -> pki_chain_verify ->
 * pki_pair_store, pki_trust_write.
 *
 * Functions over bytes, files and time: no sockets and no clock. Times are seconds since 1970 UTC, `dir` is <data>/pki. All are
 * safe on any thread as long as each object has one at a time; scrypt (a passphrase) and RSA take up to a second, files are
 * synced to the disk. What is returned in a struct buf is appended to it; wipe buffers with keys or tokens (pki_wipe).
 * Faults: ERR_BAD_REQUEST for what others sent, ERR_CONFIG for files that are not as they should be, ERR_STORE for the disk,
 * ERR_NOT_FOUND for what is not there; others where they are named. */
#ifndef DROVER_PKI_PKI_H
#define DROVER_PKI_PKI_H

#include "base/buf.h"
#include "base/err.h"
#include "io/tls.h"

enum {
    PKI_FLEET_MAX = 40,        /* bytes: a CA's common name has 64 (RFC 5280, ub-common-name) */
    PKI_ID_MAX = 64,           /* bytes: link protocol, section 5 */
    PKI_URI_MAX = 9 + PKI_FLEET_MAX + 8 + PKI_ID_MAX, /* "drover://" fleet "/client/" id */
    PKI_DNS_MAX = 253,
    PKI_NAMES_MAX = 64,        /* of one leaf, besides its own */
    PKI_PEM_MAX = 64 << 10,    /* bytes of any certificate, chain, bundle or key */
    PKI_CSR_MAX = 16 << 10,
    PKI_CA_NAME_MAX = 15,      /* "ca-2026-1" */
    PKI_DAY_S = 86400,
    PKI_LEAF_LIFE_S = 7 * PKI_DAY_S,
    PKI_CA_LIFE_S = 3652 * PKI_DAY_S, /* ten years */
    PKI_BACKDATE_S = 300,      /* machines that have just started may be behind */
};

/* Erases and frees what may hold a secret. A zeroed or unused one is fine. */
void pki_wipe(struct buf *b);

/* --- identities (name.c) --------------------------------------------------------------------------------------------- */

enum pki_role { PKI_HUB, PKI_NODE, PKI_CLIENT };

struct pki_identity {
    enum pki_role role;
    char fleet[PKI_FLEET_MAX + 1]; /* a DNS label in lower case */
    char id[PKI_ID_MAX + 1];       /* [a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])? */
};

/* False: too long, or a character that may not be in one. */
bool pki_identity_set(struct pki_identity *ret, enum pki_role role, struct sv fleet, struct sv id);
/* "drover://fleet/node/id", in just this spelling: what pki_identity_print makes of the result is uri again. */
bool pki_identity_read(struct sv uri, struct pki_identity *ret);
void pki_identity_print(const struct pki_identity *id, char uri[static PKI_URI_MAX + 1]);
/* "id.fleet.drover.internal", the name in SNI and in a server's certificate. False: the id is no DNS label. */
bool pki_identity_dns(const struct pki_identity *id, char name[static PKI_DNS_MAX + 1]);

/* --- keys and requests (key.c) --------------------------------------------------------------------------------------- */

enum pki_key { PKI_P256, PKI_RSA4096, PKI_ED25519 };

bool pki_key_make(enum pki_key type, struct buf *ret_pem, struct err *e) MUST_CHECK;
/* A PKCS#10 request that says nothing but the key, signed by it. */
bool pki_csr_make(struct sv key_pem, struct buf *ret_pem, struct err *e) MUST_CHECK;
/* The pin of the key in a request, whose signature proves that its sender has it. */
bool pki_csr_pin(struct sv csr_pem, unsigned char pin[static TLS_PIN], struct err *e) MUST_CHECK;
/* Whether the key belongs to the first certificate of chain; ERR_CONFIG if not. */
bool pki_pair_check(struct sv chain_pem, struct sv key_pem, struct err *e) MUST_CHECK;

/* --- certificates and pins (cert.c) ---------------------------------------------------------------------------------- */

struct pki_cert {
    struct tls_facts is;       /* as tls_facts says of a peer; group is empty */
    bool is_ca, is_server, is_client;
    char subject[PKI_ID_MAX + 1]; /* the common name, for people only */
};

/* The first certificate of a PEM text. */
bool pki_cert_read(struct sv pem, struct pki_cert *ret, struct err *e) MUST_CHECK;

enum { PKI_USE_SERVER = 1, PKI_USE_CLIENT = 2 };
/* Whether chain is good under the roots of trust for all of usage (bits) at now_s, as a strict peer would see it; name: for
 * servers, empty = any. ERR_CONFIG with the reason in words. */
bool pki_chain_verify(struct sv chain_pem, struct sv trust_pem, unsigned usage, struct sv name, int64_t now_s, struct err *e) MUST_CHECK;

enum { PKI_PIN_TEXT = 7 + 2 * TLS_PIN }; /* "sha256:" and hex, without a NUL */
bool pki_pin_of(struct sv cert_pem, unsigned char pin[static TLS_PIN], struct err *e) MUST_CHECK;
void pki_pin_print(const unsigned char pin[static TLS_PIN], char text[static PKI_PIN_TEXT + 1]);
bool pki_pin_read(struct sv text, unsigned char pin[static TLS_PIN]);

/* --- the authority (ca.c: the one file that reads its key) ------------------------------------------------------------- */

struct pki_ca;

/* The next name that no authority here ever had: "ca-2026-1". */
bool pki_ca_next(const char *dir, int64_t now_s, char name[static PKI_CA_NAME_MAX + 1], struct err *e) MUST_CHECK;
/* The newest that is complete; ERR_NOT_FOUND when there is none. While a rotation is under way its stage says which one issues. */
bool pki_ca_newest(const char *dir, char name[static PKI_CA_NAME_MAX + 1], struct err *e) MUST_CHECK;

struct pki_ca_wish {
    const char *name;          /* from pki_ca_next */
    struct sv fleet;
    enum pki_key type;
    struct sv passphrase;      /* empty: the key lies as it is, mode 0600 */
    int64_t now_s, life_s;     /* life 0: ten years */
};
/* Makes the key and the root and writes <dir>/fleet/<name>.key and .crt; the first one also writes trust.pem. A key that a crash
 * left without its certificate is replaced; a complete authority of that name is ERR_EXISTS. Returns owned (pki_ca_free). */
struct pki_ca *pki_ca_make(const char *dir, const struct pki_ca_wish *wish, struct err *e) MUST_CHECK;
/* ERR_LOCKED: a passphrase is needed; ERR_DENIED: it is another one. */
struct pki_ca *pki_ca_load(const char *dir, const char *name, struct sv passphrase, struct err *e) MUST_CHECK;
/* The newest root whose key lies on another machine: what it signed can be verified, nothing can be signed. ERR_NOT_FOUND without one, ERR_CONFIG
 * when its key is here. */
struct pki_ca *pki_ca_open(const char *dir, struct err *e) MUST_CHECK;
/* Wipes the key. NULL is fine; returns NULL. */
struct pki_ca *pki_ca_free(struct pki_ca *ca);
/* Removes the key for good; the root stays, so that its name is never used again. Twice is fine. */
bool pki_ca_retire(const char *dir, const char *name, struct err *e) MUST_CHECK;

/* Borrowed until pki_ca_free. */
const char *pki_ca_name(const struct pki_ca *ca);
const char *pki_ca_fleet(const struct pki_ca *ca);
struct sv pki_ca_pem(const struct pki_ca *ca);
const struct pki_cert *pki_ca_cert(const struct pki_ca *ca);

/* --- leaves (issue.c) --------------------------------------------------------------------------------------------------- */

struct pki_wish {
    struct pki_identity who;   /* of the CA's fleet */
    unsigned usage;            /* PKI_USE_ bits. SERVER adds the DNS name of pki_identity_dns */
    const struct sv *names;    /* more DNS names and IP addresses, for a listener; duplicates are fine */
    unsigned n_names;
    struct sv csr_pem;         /* either this (signature checked, nothing taken but the key), */
    struct sv key_pem;         /* or the key itself, private or public */
    int64_t now_s, life_s;     /* life 0: seven days; the end is a day before the CA's at the latest */
    int64_t newest_s;          /* not_before_s of the newest certificate ever issued; 0: unknown. Then the clock may not go back */
};
/* Appends the leaf and its root. The leaf was verified as a strict peer will do it. ERR_BAD_REQUEST: the CSR; ERR_UNAVAILABLE: the
 * clock went back by more than an hour, or the CA ends too soon. */
bool pki_issue(struct pki_ca *ca, const struct pki_wish *wish, struct buf *ret_chain, struct pki_cert *ret, struct err *e) MUST_CHECK;

/* --- what is good no more (crl.c) ---------------------------------------------------------------------------------------- */

/* A list in PEM that ca signs: serials in hex, each once; the next one is there after life_s at the latest. */
bool pki_crl_make(const struct pki_ca *ca, const char (*serials)[TLS_SERIAL_MAX + 1], size_t n, int64_t now_s, int64_t life_s, struct buf *ret_pem,
                  struct err *e) MUST_CHECK;

/* --- time (renew.c) ------------------------------------------------------------------------------------------------------ */

/* Two thirds of the life, and up to 5 % more that depends on the serial: many leaves of one hour are not renewed in one second, and
 * asking twice gives the same answer. */
int64_t pki_renew_at(int64_t not_before_s, int64_t not_after_s, const char *serial);
bool pki_renew_due(int64_t not_before_s, int64_t not_after_s, const char *serial, int64_t now_s);
/* How long to wait after a failed try: random, one minute to 2.5 % of the life. */
int64_t pki_renew_retry_s(int64_t not_before_s, int64_t not_after_s);
/* A planned rotation should begin: less is left than two of the longest leaves and 30 days. */
bool pki_ca_ends_soon(int64_t ca_not_after_s, int64_t longest_leaf_s, int64_t now_s);

/* --- tokens (token.c) ---------------------------------------------------------------------------------------------------- */

enum {
    PKI_TOKEN = 32,            /* bytes of a token, and of its hash */
    PKI_TOKEN_TEXT = 5 + 2 * PKI_TOKEN, /* without a NUL */
    PKI_TOKEN_HASHES = 8,      /* that one is compared with */
};
enum pki_token { PKI_TOKEN_BEARER, PKI_TOKEN_JOIN }; /* "drst_", "drjt_" and hex */

/* Wipe text after use. */
void pki_token_make(enum pki_token kind, char text[static PKI_TOKEN_TEXT + 1]);
/* SHA-256 of the whole text. False: not of that form. */
bool pki_token_hash(enum pki_token kind, struct sv text, unsigned char hash[static PKI_TOKEN]);
/* Which of the hashes (bit i: hashes[i]; n <= PKI_TOKEN_HASHES) the token has; all are compared, in constant time. A hash of zeros
 * is no hash, and never matches. */
unsigned pki_token_matches(enum pki_token kind, struct sv text, const unsigned char (*hashes)[PKI_TOKEN], unsigned n);

/* --- the invite line (invite.c) -------------------------------------------------------------------------------------------- */

enum { PKI_INVITE_URLS = 4, PKI_INVITE_URL_MAX = 255, PKI_INVITE_MAX = 2048 }; /* the last: characters of the line */

struct pki_invite {
    char urls[PKI_INVITE_URLS][PKI_INVITE_URL_MAX + 1]; /* https or http, printable ASCII; in the order to try */
    unsigned n_urls;
    unsigned char pin[TLS_PIN];  /* of the hub's certificate, or of the root that it sends along */
    char token[PKI_TOKEN_TEXT + 1]; /* PKI_TOKEN_JOIN; wipe */
    int64_t expires_s;
    char fleet[PKI_FLEET_MAX + 1];
};
/* "drover://join/1/" and base64url with a checksum; false: a field is not as it must be. */
bool pki_invite_print(const struct pki_invite *in, struct buf *to);
/* Blanks around the line are fine. ERR_BAD_REQUEST says what is wrong and what to do: cut off, broken in two, mistyped, of another
 * version, expired (now_s 0: whenever). */
bool pki_invite_read(struct sv line, int64_t now_s, struct pki_invite *ret, struct err *e) MUST_CHECK;

/* --- the own pair on the disk (pair.c) --------------------------------------------------------------------------------------- */

struct pki_pair {
    unsigned generation;
    bool is_fallback;          /* the current one is damaged (why says how): this is the one before */
    struct buf chain, key;
    struct pki_cert cert;
    struct err why;
};

/* Under where (such as <dir>/hub): gen-7/ with chain.pem and key.pem, and the file `current` that says 7. The new generation is
 * complete on the disk before current names it, so a crash or a full disk leaves the old one; older than the one before are
 * removed. The pair is checked first. */
bool pki_pair_store(const char *where, struct sv chain_pem, struct sv key_pem, unsigned *ret_generation, struct err *e) MUST_CHECK;
/* ERR_NOT_FOUND: there was none yet; any other fault means that one was lost. End with pki_pair_deinit, also after a failure. */
bool pki_pair_load(const char *where, struct pki_pair *ret, struct err *e) MUST_CHECK;
void pki_pair_deinit(struct pki_pair *p);

/* --- other small files beside them (files.c) ---------------------------------------------------------------------------------- */

/* For what else has to be ours alone, whole and there after a power cut: tokens, and what a machine is. dir is made with mode 0700 if
 * need be, the file replaced by rename with mode 0600, synced. At most PKI_PEM_MAX bytes. ERR_NOT_FOUND without one. */
bool pki_file_write(const char *dir, const char *name, struct sv bytes, struct err *e) MUST_CHECK;
bool pki_file_read(const char *dir, const char *name, struct buf *to, struct err *e) MUST_CHECK;
/* That there was none is fine. */
bool pki_file_remove(const char *dir, const char *name, struct err *e) MUST_CHECK;

/* --- what is trusted (trust.c) ------------------------------------------------------------------------------------------------ */

struct pki_trust {
    uint64_t sequence;         /* grows with each bundle */
    unsigned n_roots;          /* one, or two during a rotation */
    struct buf pem;
};

/* <dir>/fleet/trust.pem. ERR_NOT_FOUND: not there yet. End with pki_trust_deinit, also after a failure. */
bool pki_trust_read(const char *dir, struct pki_trust *ret, struct err *e) MUST_CHECK;
bool pki_trust_write(const char *dir, struct sv roots_pem, uint64_t sequence, struct err *e) MUST_CHECK;
void pki_trust_deinit(struct pki_trust *t);
/* A bundle for those who trust ca: the roots with their number, signed by ca (the old root while it rotates). */
bool pki_bundle_sign(const struct pki_ca *ca, struct sv roots_pem, uint64_t sequence, struct buf *ret, struct err *e) MUST_CHECK;
/* What is in bundle, if one of the roots of now has signed it and its number is higher; ERR_STALE: an older or the same one,
 * ERR_DENIED: signed by nobody we trust or for another fleet. Nothing is written. */
bool pki_bundle_read(struct sv bundle, const struct pki_trust *now, struct pki_trust *ret, struct err *e) MUST_CHECK;

/* --- changing the root (rotation.c) -------------------------------------------------------------------------------------------- */

/* Planned: make, trust both, issue, prove, trust new, retire, none; until trust new there is a way back. In an emergency: make, trust
 * new, retire, none. Each says what is to be done while it lasts, by whoever drives it; all of that may be repeated. */
enum pki_stage {
    PKI_STAGE_NONE,
    PKI_STAGE_MAKE,       /* the new root; nothing uses it yet */
    PKI_STAGE_TRUST_BOTH, /* publish the bundle of old and new, until every party has confirmed it */
    PKI_STAGE_ISSUE,      /* all leaves anew, from the new root */
    PKI_STAGE_PROVE,      /* until every party was seen with such a leaf */
    PKI_STAGE_TRUST_NEW,  /* publish the new root alone; who was away since TRUST_BOTH needs an invite */
    PKI_STAGE_RETIRE,     /* the old key goes */
    PKI_STAGE_BACK,       /* given up: all leaves from the old root again, then the old root alone */
    PKI_STAGE_COUNT,
};

struct pki_rotation {
    enum pki_stage stage;      /* NONE: the rest means nothing */
    bool is_emergency;
    int64_t started_s, since_s; /* the whole; this stage */
    char old_ca[PKI_CA_NAME_MAX + 1], new_ca[PKI_CA_NAME_MAX + 1];
};

const char *pki_stage_name(enum pki_stage s);
/* <dir>/rotation.json; no file is stage NONE. */
bool pki_rotation_load(const char *dir, struct pki_rotation *ret, struct err *e) MUST_CHECK;
/* Begins one at MAKE, when none is under way (ERR_EXISTS); an emergency takes the place of a planned one. Call it before
 * pki_ca_make(new_ca): the name is chosen then, whatever crashes. */
bool pki_rotation_begin(const char *dir, struct pki_rotation *r, const char *old_ca, const char *new_ca, bool is_emergency, int64_t now_s,
                        struct err *e) MUST_CHECK;
/* Records that the next stage has begun, on the disk before it returns; *r follows. To the stage it is in: nothing happens. A step
 * that the table does not have is ERR_EXISTS. */
bool pki_rotation_step(const char *dir, struct pki_rotation *r, enum pki_stage to, int64_t now_s, struct err *e) MUST_CHECK;

#endif
