/* hub/member_state.c - each file is replaced whole, and one of them says whether the others count: so a crash at any moment leaves
 * either the node as it was or the node as it is to be. What is half there from a try before is overwritten by the next. */
#include "hub/member_state.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <sodium.h>
#include <stdio.h>
#include <unistd.h>

#include "base/json.h"

static const char member_file[] = "member.json", wish_file[] = "wish.json", key_file[] = "key.pem",
                  token_file[] = "token";

static bool path_in(char to[static MEMBER_PATH], const char *dir, const char *name, struct err *e) {
    return (size_t)snprintf(to, MEMBER_PATH, "%s/%s", dir, name) < MEMBER_PATH ||
           err_set(e, ERR_CONFIG, "%s/%s: path too long", dir, name);
}

/* --- urls ----------------------------------------------------------------------------------------------------------------------------- */

void member_urls_add(struct member_urls *u, struct sv url) {
    for (unsigned i = 0; i < u->n; i++)
        if (sv_eq(url, sv_of(u->v[i])))
            return;
    if (url.n && u->n < MEMBER_URLS && sv_to_cstr(url, u->v[u->n], sizeof u->v[0]))
        u->n++;
}

static void print_urls(struct buf *out, const struct member_urls *u) {
    buf_add(out, SV(",\"urls\":["));
    for (unsigned i = 0; i < u->n; i++) {
        if (i)
            buf_add_char(out, ',');
        buf_add_json(out, sv_of(u->v[i]));
    }
    buf_add_char(out, ']');
}

static void read_urls(yyjson_val *root, struct member_urls *u) {
    size_t i, n;
    yyjson_val *it;
    yyjson_arr_foreach(json_get(root, "urls"), i, n, it) member_urls_add(u, json_sv(it));
}

static void print_text(struct buf *out, const char *name, const char *value) {
    buf_printf(out, ",\"%s\":", name);
    buf_add_json(out, sv_of(value));
}

static bool read_text(yyjson_val *root, const char *name, char *to, size_t size) {
    return sv_to_cstr(json_str(root, name), to, size);
}

/* The object in dir/name; NULL with *e set. */
static yyjson_doc *read_object(const char *dir, const char *name, struct err *e) {
    struct buf text = BUF_MAX(PKI_PEM_MAX + 1);
    yyjson_doc *doc = NULL;
    if (pki_file_read(dir, name, &text, e)) {
        doc = json_parse(buf_sv(&text));
        if (!doc || !yyjson_is_obj(yyjson_doc_get_root(doc)) || json_i64(yyjson_doc_get_root(doc), "v", 0) != 1) {
            yyjson_doc_free(doc);
            doc = NULL;
            err_set(e, ERR_CONFIG, "%s/%s is damaged; drover leave, then join again", dir, name);
        }
    }
    pki_wipe(&text);
    return doc;
}

/* --- who it is ------------------------------------------------------------------------------------------------------------------------ */

bool member_state_note(const char *dir, const struct member_state *s, struct err *e) {
    struct buf out = BUF_MAX(PKI_PEM_MAX);
    buf_add(&out, SV("{\"v\":1"));
    print_text(&out, "fleet", s->fleet);
    print_text(&out, "hub_id", s->hub_id);
    print_text(&out, "node_id", s->node_id);
    print_text(&out, "name", s->name);
    print_text(&out, "hub_by", s->by_system ? "system" : "fleet");
    print_text(&out, "mode", s->mode);
    print_text(&out, "called_at", s->called_at);
    print_urls(&out, &s->urls);
    buf_printf(&out, ",\"boot_count\":%llu,\"last_epoch\":%llu,\"renew_grace_s\":%lld}\n",
               (unsigned long long)s->boot_count, (unsigned long long)s->last_epoch, (long long)s->renew_grace_s);
    bool ok = out.failed ? err_no_memory(e) : pki_file_write(dir, member_file, buf_sv(&out), e);
    buf_deinit(&out);
    return ok;
}

static bool read_who(const char *dir, struct member_state *s, struct err *e) {
    CLEANUP(json_doc_freep) yyjson_doc *doc = read_object(dir, member_file, e);
    yyjson_val *root = yyjson_doc_get_root(doc);
    struct pki_identity id;
    if (!doc)
        return false;
    bool ok =
        read_text(root, "fleet", s->fleet, sizeof s->fleet) && read_text(root, "hub_id", s->hub_id, sizeof s->hub_id) &&
        read_text(root, "node_id", s->node_id, sizeof s->node_id) && read_text(root, "name", s->name, sizeof s->name) &&
        read_text(root, "mode", s->mode, sizeof s->mode) && read_text(root, "called_at", s->called_at, sizeof s->called_at) &&
        pki_identity_set(&id, PKI_HUB, sv_of(s->fleet), sv_of(s->hub_id)) &&
        pki_identity_set(&id, PKI_NODE, sv_of(s->fleet), sv_of(s->node_id));
    read_urls(root, &s->urls);
    s->by_system = sv_eq(json_str(root, "hub_by"), SV("system"));
    s->boot_count = (uint64_t)json_i64(root, "boot_count", 0);
    s->last_epoch = (uint64_t)json_i64(root, "last_epoch", 0);
    s->renew_grace_s = json_i64(root, "renew_grace_s", 0);
    return (ok && s->urls.n) ||
           err_set(e, ERR_CONFIG, "%s/%s is damaged; drover leave, then join again", dir, member_file);
}

static bool read_token(const char *dir, char token[static PKI_TOKEN_TEXT + 1], struct err *e) {
    unsigned char hash[PKI_TOKEN];
    struct buf text = BUF_MAX(256);
    bool ok = pki_file_read(dir, token_file, &text, e) &&
              ((pki_token_hash(PKI_TOKEN_BEARER, buf_sv(&text), hash) &&
                sv_to_cstr(buf_sv(&text), token, PKI_TOKEN_TEXT + 1)) ||
               err_set(e, ERR_CONFIG, "%s/%s holds no bearer token", dir, token_file));
    pki_wipe(&text);
    return ok;
}

/* Whatever is missing beside a member.json is damage, not absence. */
static bool lost(struct err *e) {
    if (e->code == ERR_NOT_FOUND)
        e->code = ERR_CONFIG;
    return err_ctx(e, "membership (drover leave, then join again)");
}

static bool load_pair(const char *dir, struct member_state *s, struct err *e) {
    char where[MEMBER_PATH];
    pki_pair_deinit(&s->pair);
    return path_in(where, dir, "pair", e) && pki_pair_load(where, &s->pair, e);
}

bool member_state_load(const char *dir, struct member_state *ret, struct err *e) {
    *ret = (struct member_state){ 0 };
    if (!read_who(dir, ret, e))
        return false;
    return (load_pair(dir, ret, e) && pki_trust_read(dir, &ret->trust, e) && read_token(dir, ret->token, e)) || lost(e);
}

static bool store_pair(const char *dir, struct sv chain, struct sv key, struct err *e) {
    char where[MEMBER_PATH];
    unsigned generation;
    return path_in(where, dir, "pair", e) && pki_pair_store(where, chain, key, &generation, e);
}

bool member_state_adopt(const char *dir, struct member_state *s, struct err *e) {
    struct err gone = { 0 };
    (void)!pki_file_remove(dir, member_file,
                           &gone); /* of a membership before: from here on it is none until this one is whole */
    if (!store_pair(dir, buf_sv(&s->pair.chain), buf_sv(&s->pair.key), e) ||
        !pki_trust_write(dir, buf_sv(&s->trust.pem), s->trust.sequence, e) ||
        !pki_file_write(dir, token_file, sv_of(s->token), e) || !load_pair(dir, s, e))
        return err_ctx(e, "keep the membership");
    return member_state_note(dir, s, e) || err_ctx(e, "keep the membership");
}

bool member_state_renew(const char *dir, struct member_state *s, struct sv chain, struct sv key, const char *token,
                        struct err *e) {
    if (!store_pair(dir, chain, key, e) || !pki_file_write(dir, token_file, sv_of(token), e))
        return err_ctx(e, "keep the renewed certificate");
    memcpy(s->token, token, sizeof s->token);
    return load_pair(dir, s, e);
}

void member_state_deinit(struct member_state *s) {
    pki_pair_deinit(&s->pair);
    pki_trust_deinit(&s->trust);
    sodium_memzero(s->token, sizeof s->token);
}

/* --- what it asks for ----------------------------------------------------------------------------------------------------------------- */

bool member_wish_store(const char *dir, struct member_wish *w, struct err *e) {
    struct buf out = BUF_MAX(PKI_PEM_MAX);
    char pin[PKI_PIN_TEXT + 1] = "";
    if (w->has_pin)
        pki_pin_print(w->pin, pin);
    if (!w->key.n) {
        buf_init(&w->key, PKI_PEM_MAX + 1);
        if (!pki_key_make(PKI_P256, &w->key, e))
            return false;
    }
    buf_add(&out, SV("{\"v\":1"));
    print_text(&out, "pin", pin);
    print_text(&out, "token", w->token);
    print_text(&out, "name", w->name);
    print_text(&out, "mode", w->mode);
    print_urls(&out, &w->urls);
    buf_printf(&out, ",\"expires_s\":%lld}\n", (long long)w->expires_s);
    bool ok = out.failed ? err_no_memory(e)
                         : pki_file_write(dir, key_file, buf_sv(&w->key), e) &&
                               pki_file_write(dir, wish_file, buf_sv(&out), e);
    pki_wipe(&out);
    return ok || err_ctx(e, "keep the request to join");
}

bool member_wish_load(const char *dir, struct member_wish *ret, struct err *e) {
    *ret = (struct member_wish){ .key = BUF_MAX(PKI_PEM_MAX + 1) };
    CLEANUP(json_doc_freep) yyjson_doc *doc = read_object(dir, wish_file, e);
    yyjson_val *root = yyjson_doc_get_root(doc);
    if (!doc)
        return false;
    read_urls(root, &ret->urls);
    ret->has_pin = pki_pin_read(json_str(root, "pin"), ret->pin);
    bool ok = (ret->has_pin || !json_str(root, "pin").n) && read_text(root, "token", ret->token, sizeof ret->token) &&
              read_text(root, "name", ret->name, sizeof ret->name) && read_text(root, "mode", ret->mode, sizeof ret->mode) && ret->urls.n;
    ret->expires_s = json_i64(root, "expires_s", 0);
    if (!ok)
        return err_set(e, ERR_CONFIG, "%s/%s is damaged; drover leave, then join again", dir, wish_file);
    return pki_file_read(dir, key_file, &ret->key, e) || lost(e);
}

bool member_wish_remove(const char *dir, struct err *e) {
    return pki_file_remove(dir, wish_file, e) && pki_file_remove(dir, key_file, e);
}

void member_wish_deinit(struct member_wish *w) {
    sodium_memzero(w->token, sizeof w->token);
    pki_wipe(&w->key);
}

/* --- the end -------------------------------------------------------------------------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at) {
    (void)st;
    (void)kind;
    (void)at;
    return remove(path) == 0 || errno == ENOENT ? 0 : -1;
}

bool member_forget(const char *dir, struct err *e) {
    if (!pki_file_remove(dir, member_file, e) || !member_wish_remove(dir, e))
        return false;
    errno = 0;
    return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS) == 0 || errno == ENOENT ||
           err_set(e, ERR_STORE, "remove %s: %s", dir, strerror(errno));
}
