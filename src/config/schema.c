/* config/schema.c - the one table of settings, and the judges of text it names.
 *
 * To add a setting: a field in config.h, a row here next to its group, then refresh the manual (docs/config.md says
 * how). Where product.md and the threat model both name a limit, product.md's name is the only one; the other is a
 * T_MOVED row, so whoever read the other page is told. A row whose .over is set is a limit and stands in
 * docs/limits.md. */
#include "config/schema.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "base/log.h"
#include "base/money.h"
#include "llm/amend.h"

/* clang-format off */
#define X(id, word, means) { word, means, CONFIG_##id },
static const struct choice takeovers[] = { CONFIG_TAKEOVERS(X) { NULL, NULL, 0 } };
static const struct choice kinds[] = { CONFIG_KINDS(X) { NULL, NULL, 0 } };
static const struct choice dialects[] = { CONFIG_DIALECTS(X) { NULL, NULL, 0 } };
static const struct choice media[] = { CONFIG_MEDIA(X) { NULL, NULL, 0 } };
static const struct choice reasonings[] = {
    { "as_is", "as the runtime sends it", CONFIG_REASONING_ASIS },
    { "split", "apart from the text, also where it came between `<think>` tags", CONFIG_REASONING_SPLIT },
    { "show", "in the text, between `<think>` tags", CONFIG_REASONING_SHOW },
    { "strip", "not at all", CONFIG_REASONING_STRIP },
    { 0 },
};

static const struct choice slug_styles[] = { CONFIG_SLUGS(X) { NULL, NULL, 0 } };
static const struct choice policies[] = { CONFIG_POLICIES(X) { NULL, NULL, 0 } };
static const struct choice roles[] = { CONFIG_ROLES(X) { NULL, NULL, 0 } };
static const struct choice levels[] = { CONFIG_LEVELS(X) { NULL, NULL, 0 } };
static const struct choice formats[] = { CONFIG_FORMATS(X) { NULL, NULL, 0 } };
#undef X
static const struct choice client_certs[] = {
    { "off", "not asked for", CONFIG_CLIENT_CERT_OFF },
    { "optional", "none is fine, a wrong one is not", CONFIG_CLIENT_CERT_OPTIONAL },
    { "required", "who has none gets no connection", CONFIG_CLIENT_CERT_REQUIRED },
    { 0 },
};
static const struct choice pqs[] = {
    { "auto", "where both sides can", CONFIG_PQ_AUTO },
    { "required", "nothing else: without it no connection, and no start where the library cannot", CONFIG_PQ_REQUIRED },
    { "off", "not at all", CONFIG_PQ_OFF },
    { 0 },
};
static const struct choice cas[] = {
    { "here", "this hub signs: the authority's key lies in data_dir", CONFIG_CA_HERE },
    { "apart", "another machine signs (`drover cert serve`); only the root lies here", CONFIG_CA_APART },
    { 0 },
};
static const struct choice compats[] = {
    { "off", "messages of the protocol alone", CONFIG_COMPAT_OFF },
    { "text_ok", "each message that is taken is also answered with the bare text `ok`", CONFIG_COMPAT_TEXT_OK },
    { 0 },
};
static const struct choice join_modes[] = {
    { "auto", "as `drover join --mode` said, else reverse", CONFIG_JOIN_AUTO },
    { "reverse", "this machine dials the hub: no open port is needed", CONFIG_JOIN_REVERSE },
    { "direct", "the hub dials this machine at `join.listen`", CONFIG_JOIN_DIRECT },
    { 0 },
};
static const struct choice reaches[] = {
    { "off", "not at all", CONFIG_REACH_OFF }, { "view", "to look", CONFIG_REACH_VIEW }, { "full", "to look and to change", CONFIG_REACH_FULL }, { 0 },
};
static const struct choice unpriced[] = {
    { "allow", "served, and nothing is taken from the budget", CONFIG_UNPRICED_ALLOW },
    { "refuse", "403", CONFIG_UNPRICED_REFUSE },
    { 0 },
};
static const struct choice schemes[] = {
    { "bearer", "`Bearer KEY`", CONFIG_SCHEME_BEARER },
    { "basic", "`Basic KEY`, where the key is the base64 of user and password", CONFIG_SCHEME_BASIC },
    { "plain", "the key as it is", CONFIG_SCHEME_PLAIN },
    { 0 },
};
static const struct choice auths[] = {
    { "none", "no credentials, so loopback only", CONFIG_AUTH_NONE }, { "key", "an API key with each request", CONFIG_AUTH_KEY }, { NULL, NULL, 0 }
};

/* clang-format on */

_Static_assert((int)CONFIG_LEVEL_DEBUG == (int)LOG_DEBUG && (int)CONFIG_FORMAT_JSON == (int)LOG_JSON,
               "base/log.h's order");

/* ---- judges ---- */

static bool is_alnum(char c) {
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

static bool only(struct sv v, const char *also) {
    for (size_t i = 0; i < v.n; i++)
        if (!is_alnum(v.p[i]) && (v.p[i] == '\0' || !strchr(also, v.p[i])))
            return false;
    return true;
}

static bool check_name(struct sv v, struct err *e) {
    return (v.n >= 1 && v.n <= 64 && only(v, "._-")) ||
           err_set(e, ERR_CONFIG, "expected 1 to 64 letters, digits, '.', '_' or '-'");
}

static bool check_host(struct sv v, struct err *e) {
    return (v.n >= 1 && v.n <= 253 && only(v, ".-") && v.p[0] != '.' && v.p[0] != '-') ||
           err_set(e, ERR_CONFIG, "expected a host name without a port");
}

/* C-15 of the threat model, less '@', which picks a node. */
static bool check_slug(struct sv v, struct err *e) {
    bool ok = v.n >= 1 && v.n <= 255 && only(v, "._:/-*") && v.p[0] != '/' && v.p[v.n - 1] != '/' &&
              sv_find(v, SV("..")) < 0 && sv_find(v, SV("//")) < 0;
    ptrdiff_t star = sv_find_char(v, '*');
    ok = ok && (star < 0 || sv_find_char(sv_from(v, (size_t)star + 1), '*') < 0);
    return ok || err_set(e, ERR_CONFIG,
                         "expected 1 to 255 letters, digits, '.', '_', ':', '/' or '-' without an empty part or "
                         "\"..\", with at most one '*'");
}

static bool check_plain_slug(struct sv v, struct err *e) {
    if (sv_find_char(v, '*') >= 0)
        return err_set(e, ERR_CONFIG, "expected one name, without '*'");
    return check_slug(v, e);
}

static bool no_control(struct sv v) {
    for (size_t i = 0; i < v.n; i++)
        if ((unsigned char)v.p[i] < 0x20 || v.p[i] == 0x7f)
            return false;
    return true;
}

static bool check_currency(struct sv v, struct err *e) {
    bool ok = v.n == 3;
    for (size_t i = 0; ok && i < v.n; i++)
        ok = v.p[i] >= 'A' && v.p[i] <= 'Z';
    return ok || err_set(e, ERR_CONFIG, "expected the three capitals of a currency, such as EUR (ISO 4217)");
}

/* A field name: tchar of RFC 9110, section 5.6.2. */
static bool is_field_name(struct sv v) {
    return v.n >= 1 && v.n <= 64 && only(v, "!#$%&'*+-.^_`|~");
}

static bool check_field_name(struct sv v, struct err *e) {
    return is_field_name(v) || err_set(e, ERR_CONFIG, "expected the name of a header field");
}

/* Those that frame the message are not for anybody to choose. */
static bool check_field(struct sv v, struct err *e) {
    static const char *const ours[] = { "host", "content-type", "content-length", "content-encoding", "transfer-encoding", "connection", "user-agent" };
    struct sv value = v, name;
    bool ok = sv_cut(&value, ':', &name) && is_field_name(name) && sv_trim(value).n;
    for (size_t i = 0; ok && i < value.n; i++)
        ok = (unsigned char)value.p[i] >= 0x20 && (unsigned char)value.p[i] < 0x7f;
    if (!ok)
        return err_set(e, ERR_CONFIG, "expected a header field such as \"X-Scope-OrgID: team\"");
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
        if (sv_eq_nocase(name, sv_of(ours[i])))
            return err_set(e, ERR_CONFIG, "the field \"%s\" is made by Drover", ours[i]);
    return !sv_eq_nocase(name, SV("authorization")) ||
           err_set(e, ERR_CONFIG, "a credential belongs into telemetry.otlp.key_file: what stands here is shown");
}

/* A runtime's own id is opaque (C-15): it may be a file path with blanks. */
static bool check_target(struct sv v, struct err *e) {
    return (v.n >= 1 && v.n <= 512 && no_control(v)) ||
           err_set(e, ERR_CONFIG,
                   "expected \"endpoint/model\" or \"model\", 1 to 512 bytes without control characters");
}

static bool check_glob(struct sv v, struct err *e) {
    return (v.n >= 1 && v.n <= 255 && no_control(v)) ||
           err_set(e, ERR_CONFIG, "expected a pattern of 1 to 255 bytes, such as \"*-draft\"");
}

static bool check_word(struct sv v, struct err *e) {
    return (v.n >= 1 && v.n <= 4096) || err_set(e, ERR_CONFIG, "expected a word of 1 to 4096 bytes");
}

/* Few addresses, and none outside what was listed: discovery is polite. */
static bool check_lan(struct sv v, struct err *e) {
    struct sv address = v, bits = v;
    unsigned char bytes[16];
    char text[64];
    uint64_t n = 32;
    bool range = sv_cut(&bits, '/', &address);
    if (!sv_to_cstr(address, text, sizeof text))
        text[0] = '\0';
    if (!range && inet_pton(AF_INET6, text, bytes) == 1)
        return true;
    if (inet_pton(AF_INET, text, bytes) != 1 || (range && (!sv_to_u64(bits, &n) || n > 32)))
        return err_set(e, ERR_CONFIG, "expected an IP address or an IPv4 range such as 192.168.1.0/24");
    if (n < 22)
        return err_set(e, ERR_CONFIG, "/%u is more than 1024 addresses: list the part that is yours, /22 at most",
                       (unsigned)n);
    return true;
}

static bool check_port(struct sv v) {
    uint64_t port;
    return v.n <= 5 && sv_to_u64(v, &port) && port >= 1 && port <= 65535;
}

/* What every endpoint URL must be, whatever speaks to it later: config_source.check_url may judge more strictly. Never
 * puts the text into the complaint, for it may hold a password. */
bool check_url(struct sv v, struct err *e) {
    struct sv rest = sv_starts_nocase(v, SV("http://"))    ? sv_from(v, 7)
                     : sv_starts_nocase(v, SV("https://")) ? sv_from(v, 8)
                                                           : SV_NULL;
    if (!rest.p || rest.n == 0)
        return err_set(e, ERR_CONFIG, "expected a URL such as http://127.0.0.1:8000 or https://host/prefix");
    for (size_t i = 0; i < v.n; i++)
        if ((unsigned char)v.p[i] <= 0x20 || (unsigned char)v.p[i] >= 0x7f || v.p[i] == '\\' || v.p[i] == '"')
            return err_set(e, ERR_CONFIG,
                           "expected a URL without blanks, control characters or characters beyond ASCII");
    if (v.n > 2048)
        return err_set(e, ERR_CONFIG, "expected a URL of at most 2048 bytes");
    if (sv_find_char(v, '?') >= 0 || sv_find_char(v, '#') >= 0)
        return err_set(e, ERR_CONFIG, "expected a URL without query or fragment");
    ptrdiff_t slash = sv_find_char(rest, '/');
    struct sv host = slash < 0 ? rest : sv_first(rest, (size_t)slash);
    if (sv_find_char(host, '@') >= 0)
        return err_set(e, ERR_CONFIG, "expected a URL without user and password: credentials belong into key_file");
    ptrdiff_t end = sv_find_char(host, ']');
    struct sv port = sv_from(host, end < 0 ? 0 : (size_t)end + 1);
    struct sv name = host;
    if (sv_rfind_char(port, ':') >= 0) {
        name = sv_first(host, (size_t)sv_rfind_char(host, ':'));
        if (!check_port(sv_from(host, name.n + 1)))
            return err_set(e, ERR_CONFIG, "expected a port from 1 to 65535");
    }
    char text[64];
    unsigned char bytes[16];
    if (name.n && name.p[0] == '[') {
        if (name.p[name.n - 1] != ']' || !sv_to_cstr((struct sv){ name.p + 1, name.n - 2 }, text, sizeof text) ||
            inet_pton(AF_INET6, text, bytes) != 1)
            return err_set(e, ERR_CONFIG, "expected an IPv6 address within the brackets");
        return true;
    }
    if (!name.n || name.n > 253 || !only(name, ".-_"))
        return err_set(e, ERR_CONFIG, "expected a host name or an IP address after the scheme");
    return true;
}

/* The hub is told a port: none may be left to the kernel. */
static bool check_join_listen(struct sv v, struct err *e) {
    struct sockaddr_storage addr;
    socklen_t len;
    if (!address_parse(v, &addr, &len, e))
        return false;
    return (addr.ss_family != AF_UNIX && check_port(sv_from(v, (size_t)sv_rfind_char(v, ':') + 1))) ||
           err_set(e, ERR_CONFIG, "expected an address with its port from 1 to 65535, such as 0.0.0.0:7444 or [::]:7444");
}

static bool check_reached_at(struct sv v, struct err *e) {
    char url[300];
    struct err bad;
    int n = snprintf(url, sizeof url, "https://%.*s", SV_FMT(v));
    ptrdiff_t colon = sv_rfind_char(v, ':');
    return ((size_t)n < sizeof url && colon > 0 && sv_find_char(v, '/') < 0 && check_port(sv_from(v, (size_t)colon + 1)) && check_url(sv_of(url), &bad)) ||
           err_set(e, ERR_CONFIG, "expected HOST:PORT, such as node.example:7444 or [2001:db8::1]:7444");
}

/* ---- the table ---- */

static const struct items listens = { "listen[].", sizeof(struct config_listen), CONFIG_LISTEN_MAX,
                                      offsetof(struct config, n_listen), listen_finish };
static const struct items endpoints = { "endpoints[].", sizeof(struct config_endpoint), CONFIG_ENDPOINTS_MAX,
                                        offsetof(struct config, n_endpoints), endpoint_finish };
static const struct items models = { "models[].", sizeof(struct config_model), CONFIG_MODELS_MAX,
                                     offsetof(struct config, n_models), model_finish };

#define K (1ll << 10)
#define M (1ll << 20)
#define G (1ll << 30)
#define SEC 1000ll
#define MIN (60 * SEC)
#define HOUR (60 * MIN)
#define PRICE_MAX (1000000 * MONEY_ONE)

#define TOP(field) offsetof(struct config, field)
#define LSN(field) offsetof(struct config_listen, field)
#define END(field) offsetof(struct config_endpoint, field)
#define MOD(field) offsetof(struct config_model, field)
#define LIM(field) offsetof(struct config, limits.field)

/* path, type, reload rule, place, default, least, most, and what else the row needs by name */
#define ROW(path_, type_, reload_, at_, dflt_, min_, max_, ...)                                                        \
    { .path = path_, .type = type_, .reload = reload_, .at = at_, .dflt = dflt_, .min = min_, .max = max_, __VA_ARGS__ }
/* The same, and the console may set it: nothing that names a file or a program, says where a secret goes, or lets anybody in. */
#define OPEN(...) ROW(__VA_ARGS__, .console = true)
/* Endpoints may also be added there, one at a time, keys included; no file of the hub's is named from there: what one that blocks, or goes, does
 * would be the whole daemon's trouble. */
#define ENTRY(...) ROW(__VA_ARGS__, .added = true)
#define LIMIT(path_, type_, field_, dflt_, min_, max_, over_, text_)                                                   \
    OPEN("limits." path_, type_, LIVE, LIM(field_), dflt_, min_, max_, .over = over_, .text = text_)
#define FIXED(path_, dflt_, over_, text_)                                                                              \
    { .path = path_, .type = T_FIXED, .reload = RESTART, .dflt = dflt_, .over = over_, .text = text_ }
#define MOVED(path_, to_)                                                                                              \
    { .path = path_, .type = T_MOVED, .text = to_ }
#define LATER(path_)                                                                                                   \
    { .path = path_, .type = T_LATER }

/* clang-format off */
const struct setting settings[] = {
    ROW("name", T_STRING, RESTART, TOP(name), "(the host's name)", 1, 64, .check = check_name,
        .text = "this node's name, as it appears in `slug@node`, headers and logs"),
    ROW("data_dir", T_PATH, RESTART, TOP(data_dir), "(see Places)", 1, 4000,
        .text = "where state is kept; created with mode 0700"),
    ROW("run_dir", T_PATH, RESTART, TOP(run_dir), "(see Places)", 1, CONFIG_RUN_DIR_MAX,
        .text = "where the admin socket and the status file are"),
    OPEN("workers", T_INT, RESTART, TOP(workers), "(one for each core)", 1, 64, .text = "threads that carry requests"),

    ROW("listen", T_ITEMS, RESTART, TOP(listen), "[{address: \"127.0.0.1:11430\"}]", 1, CONFIG_LISTEN_MAX,
        .items = &listens, .text = "addresses to accept requests on"),
    ROW("listen[].address", T_STRING, RESTART, LSN(address), NULL, 1, 255, .required = true,

        .text = "`127.0.0.1:11430`, `[::1]:11430` or `unix:/path`; what other machines can reach needs `auth: key` and TLS; port 0: any free one"),
    ROW("listen[].auth", T_ENUM, RESTART, LSN(auth), "none", 0, 0, .choices = auths, .text = "who is let in"),
    ROW("listen[].tls.ca", T_BOOL, RESTART, LSN(tls_ca), "false", 0, 1,
        .text = "with a leaf of the fleet's own CA, renewed by itself; `tls: ca` is short for it"),
    ROW("listen[].tls.cert", T_FILE, RESTART, LSN(tls_cert), NULL, 1, 4000,
        .text = "PEM file with the certificate chain; `tls: off` for none"),
    ROW("listen[].tls.key", T_KEY_FILE, RESTART, LSN(tls_key), NULL, 1, 4000,
        .text = "PEM file with its key, mode 0600"),
    ROW("listen[].names", T_LIST, RESTART, LSN(names), NULL, 0, 64, .check = check_host,
        .text = "host names accepted in `Host` besides the address itself and `localhost`"),
    ROW("listen[].client_cert", T_ENUM, RESTART, LSN(client_cert), "off", 0, 0, .choices = client_certs,
        .text = "a certificate of the fleet's CA from clients; with `tls: ca`; a listener with the role `link` asks for one in any case"),
    ROW("listen[].roles", T_ENUMS, RESTART, LSN(roles), NULL, 0, 0, .choices = roles,
        .text = "what this address is for; not set: the models and the console"),

    ROW("takeover", T_ENUMS, RESTART, TOP(takeover), NULL, 0, 0, .choices = takeovers,
        .text = "also answer on the usual port of these programs while it is free"),

    OPEN("discovery.local", T_BOOL, LIVE, TOP(discovery.local), "true", 0, 1,
        .text = "look for runtimes on this machine's known ports"),
    OPEN("discovery.containers", T_BOOL, LIVE, TOP(discovery.containers), "true", 0, 1,
        .text = "look for labelled containers through the Docker or Podman socket"),
    OPEN("discovery.lan", T_LIST, LIVE, TOP(discovery.lan), NULL, 0, 64, .check = check_lan,
        .text = "addresses and IPv4 ranges (`192.168.1.0/24`, /22 at most) to look at; without `discovery.mdns` nothing else is ever probed"),
    OPEN("discovery.mdns", T_BOOL, LIVE, TOP(discovery.mdns), "false", 0, 1,
        .text = "ask the local network by multicast DNS who announces a runtime"),
    OPEN("discovery.interval", T_DURATION, LIVE, TOP(discovery.interval_ms), "30s", 5 * SEC, HOUR,
        .text = "time between two looks"),

    ENTRY("endpoints", T_ITEMS, LIVE, TOP(endpoints), NULL, 0, CONFIG_ENDPOINTS_MAX, .items = &endpoints,
        .text = "runtimes that are known without looking"),
    ENTRY("endpoints[].name", T_STRING, LIVE, END(name), NULL, 1, 64, .check = check_name, .required = true,
        .text = "how the endpoint is called; no two the same"),
    ENTRY("endpoints[].url", T_STRING, LIVE, END(url), NULL, 1, 2048, .required = true,
        .text = "base URL, `http://` or `https://`, with a path prefix if there is one; no user, query or fragment"),
    ENTRY("endpoints[].kind", T_ENUM, LIVE, END(kind), "auto", 0, 0, .choices = kinds, .text = "which runtime it is"),
    ENTRY("endpoints[].key", T_SECRET, LIVE, END(key), NULL, 1, 4096, .text = "API key sent to the endpoint"),
    ENTRY("endpoints[].max_concurrent", T_INT, LIVE, END(max_concurrent), NULL, 1, 4096,
        .text = "requests sent to it at one time, the rest waits here; without it there is no bound, and what the runtime tells of itself is a preference"),
    ENTRY("endpoints[].weight", T_INT, LIVE, END(weight), "100", 1, 10000,
        .text = "its share of the work against others of the same model; 100 is usual"),
    ENTRY("endpoints[].priority", T_INT, LIVE, END(priority), "0", -100, 100,
        .text = "higher is tried first; among equals a free slot before none, then local before remote"),
    ENTRY("endpoints[].dialects", T_ENUMS, LIVE, END(dialects), NULL, 0, 0, .choices = dialects,
        .text = "use only these of the dialects it offers; none listed means all"),
    ENTRY("endpoints[].models.include", T_LIST, LIVE, END(models.include), NULL, 0, 256, .check = check_glob,
        .text = "patterns of the model ids to offer; none listed means all"),
    ENTRY("endpoints[].models.exclude", T_LIST, LIVE, END(models.exclude), NULL, 0, 256, .check = check_glob,
        .text = "patterns of the model ids to leave out; wins over include"),
    ROW("endpoints[].tls.ca", T_FILE, LIVE, END(tls.ca), NULL, 1, 4000,
        .text = "PEM file with the CA to trust instead of the system's"),
    ENTRY("endpoints[].tls.insecure", T_BOOL, LIVE, END(tls.insecure), "false", 0, 1,
        .text = "do not check its certificate; a warning stays in the log for as long as this is true"),
    ENTRY("endpoints[].media_urls", T_ENUM, LIVE, END(media_urls), "public", 0, 0, .choices = media,
        .text = "which hosts a remote image or file URL in a request may name, since the runtime will fetch it"),
    ENTRY("endpoints[].watts", T_INT, LIVE, END(watts), NULL, 1, 1000000,
        .text = "what the machine draws under load; with `telemetry.energy_price` it tells what a request costs there"),

    ROW("models", T_ITEMS, LIVE, TOP(models), NULL, 0, CONFIG_MODELS_MAX, .items = &models,
        .text = "names to offer models under"),
    ROW("models[].slug", T_STRING, LIVE, MOD(slug), NULL, 1, 255, .check = check_slug, .required = true,
        .text = "the name clients ask for; one `*` makes it a pattern"),
    ROW("models[].targets", T_LIST, LIVE, MOD(targets), NULL, 1, 64, .check = check_target, .required = true,
        .text = "`endpoint/model` or `model`; a `*` takes what the slug's `*` stood for"),
    ROW("models[].fallback", T_LIST, LIVE, MOD(fallback), NULL, 0, 16, .check = check_plain_slug,
        .text = "slugs to try, in this order, when no target can serve"),
    ROW("models[].strict", T_BOOL, LIVE, MOD(strict), "false", 0, 1,
        .text = "refuse a request rather than leave out a field that its target cannot take"),
    ROW("models[].reasoning", T_ENUM, LIVE, MOD(reasoning), "as_is", 0, 0, .choices = reasonings,
        .text = "where reasoning stands in answers"),
    ROW("models[].system", T_STRING, LIVE, MOD(system), NULL, 0, 65536, .text = "text put in front of each request's system prompt"),
    ROW("models[].defaults", T_JSON, LIVE, MOD(defaults), NULL, 0, 65536, .check = amend_check,
        .text = "request members for requests that have none of their own: output limit, temperature, `stop` and the like hold in "
                "every API, under whichever name; others only where the client's API has that name"),
    ROW("models[].force", T_JSON, LIVE, MOD(force), NULL, 0, 65536, .check = amend_check,
        .text = "request members that replace the request's own, by the same rule; docs/dialects.md lists what holds in every API"),
    ROW("models[].context_guard", T_BOOL, LIVE, MOD(context_guard), "false", 0, 1,
        .text = "refuse a prompt that does not fit, rather than let the runtime cut it: its tokens against the model's context, counted "
                "by the runtime where it can be close, else estimated; Ollama is told not to cut"),
    ROW("models[].price.input", T_MONEY, LIVE, MOD(price.input), NULL, 0, PRICE_MAX,
        .text = "price of a million input tokens, in `telemetry.currency`; without any price the cost is unknown, not zero "
                "(docs/costs.md)"),
    ROW("models[].price.cached", T_MONEY, LIVE, MOD(price.cached), NULL, 0, PRICE_MAX,
        .text = "of a million of these that came from a cache; not set: as `input`"),
    ROW("models[].price.output", T_MONEY, LIVE, MOD(price.output), NULL, 0, PRICE_MAX,
        .text = "of a million output tokens, reasoning included"),
    ROW("models[].price.request", T_MONEY, LIVE, MOD(price.request), NULL, 0, PRICE_MAX, .text = "of each request that was answered"),
    ROW("models[].aliases", T_LIST, LIVE, MOD(aliases), NULL, 0, 64, .check = check_plain_slug,
        .text = "other names of the same"),

    OPEN("slugs", T_ENUM, LIVE, TOP(slugs), "names", 0, 0, .choices = slug_styles,
        .text = "what models without an entry above are called"),

    OPEN("gateway.body_max", T_SIZE, LIVE, TOP(gateway.body_max), "64MiB", K, G, .over = "413",
        .text = "request body of an inference call"),
    OPEN("gateway.park_max", T_INT, LIVE, TOP(gateway.park_max), "64", 1, 4096, .over = "503 with the reason",
        .text = "requests that wait for one busy or loading target, over all workers"),
    OPEN("gateway.park_timeout", T_DURATION, LIVE, TOP(gateway.park_timeout_ms), "10m", SEC, HOUR,
        .over = "503 with the reason", .text = "longest wait for a busy or loading target"),
    OPEN("gateway.stall_timeout", T_DURATION, LIVE, TOP(gateway.stall_timeout_ms), "5m", SEC, HOUR,
        .over = "in-stream error, upstream cancelled",
        .text = "longest silence of a runtime between two bytes of an answer"),
    OPEN("gateway.deadline", T_DURATION, LIVE, TOP(gateway.deadline_ms), "15m", SEC, 24 * HOUR, .over = "504",
        .text = "from the request to the first byte of its answer: waiting, retries and fallbacks together"),
    OPEN("gateway.retry_max", T_INT, LIVE, TOP(gateway.retry_max), "2", 0, 10, .over = "the last fault is the answer",
        .text = "further targets tried before the first byte of an answer; 0 tries one target only"),
    OPEN("gateway.policy", T_ENUM, LIVE, TOP(gateway.policy), "auto", 0, 0, .choices = policies,
        .text = "how a target is picked among equals"),
    OPEN("access.session_ttl", T_DURATION, LIVE, TOP(access.session_ttl_ms), "8h", MIN, 30 * 24 * HOUR,
        .text = "how long somebody stays signed in to the console"),
    OPEN("access.session_idle", T_DURATION, LIVE, TOP(access.session_idle_ms), "60m", MIN, 24 * HOUR,
        .text = "the same without a sign of life"),
    OPEN("access.default_rate.requests", T_PACE, LIVE, TOP(access.default_rate.requests), "600/min", 1, 1000000, .over = "429",
        .text = "requests of a key that has no rate of its own"),
    OPEN("access.default_rate.burst", T_INT, LIVE, TOP(access.default_rate.burst), "20", 1, 100000, .over = "429",
        .text = "of these, at once"),
    OPEN("access.default_rate.tokens", T_PACE, LIVE, TOP(access.default_rate.tokens), "200000/min", 1, INT32_MAX, .over = "429",
        .text = "tokens of a key that has no rate of its own, in and out together"),
    OPEN("access.default_rate.concurrent", T_INT, LIVE, TOP(access.default_rate.concurrent), "8", 1, 10000, .over = "429",
        .text = "requests of a key at one time"),
    OPEN("access.unpriced", T_ENUM, LIVE, TOP(access.unpriced), "allow", 0, 0, .choices = unpriced,
        .text = "what becomes of a request whose cost cannot be known, from a key with a budget of money"),

    OPEN("telemetry.retain", T_DURATION, LIVE, TOP(telemetry.retain_ms), "90d", HOUR, 3650 * 24 * HOUR,
        .text = "how long the row of each request is kept; sums per day stay"),
    OPEN("telemetry.content", T_BOOL, LIVE, TOP(telemetry.content), "false", 0, 1,
        .text = "operators at the console may watch what a client is being sent; who did is in the audit log, and nothing of it is kept"),
    OPEN("telemetry.currency", T_STRING, LIVE, TOP(telemetry.currency), "XXX", 3, 3, .check = check_currency,
        .text = "what all prices are in, for show; `XXX` is ISO 4217's word for none in particular. Nothing is converted"),
    OPEN("telemetry.energy_price", T_MONEY, LIVE, TOP(telemetry.energy_price), NULL, 0, PRICE_MAX,
        .text = "price of a kilowatt-hour, for endpoints with `watts`"),
    ROW("telemetry.otlp.url", T_STRING, LIVE, TOP(telemetry.otlp.url), NULL, 1, 2048, .check = check_url,
        .text = "collector to which traces and metrics go by OTLP/HTTP, to `/v1/traces` and `/v1/metrics` below it, such as "
                "http://127.0.0.1:4318 (docs/otlp.md); not set: nothing is exported"),
    ROW("telemetry.otlp.key", T_SECRET, LIVE, TOP(telemetry.otlp.key), NULL, 1, 4096, .text = "credential for the collector"),
    ROW("telemetry.otlp.key_header", T_STRING, LIVE, TOP(telemetry.otlp.key_header), "authorization", 1, 64, .check = check_field_name,
        .text = "header field that it is sent in"),
    ROW("telemetry.otlp.key_scheme", T_ENUM, LIVE, TOP(telemetry.otlp.key_scheme), "bearer", 0, 0, .choices = schemes,
        .text = "how it stands there"),
    ROW("telemetry.otlp.headers", T_LIST, LIVE, TOP(telemetry.otlp.headers), NULL, 0, 16, .check = check_field,
        .text = "more fields to send, each `name: value`; not for secrets"),
    ROW("telemetry.otlp.tls.ca", T_FILE, LIVE, TOP(telemetry.otlp.tls_ca), NULL, 1, 4000,
        .text = "PEM file with the CA to trust instead of the system's"),
    OPEN("telemetry.otlp.interval", T_DURATION, LIVE, TOP(telemetry.otlp.interval_ms), "10s", 100, 10 * MIN,
        .text = "time between two exports; many requests send their traces sooner"),

    ROW("alerts.webhook", T_STRING, LIVE, TOP(alerts.webhook), NULL, 1, 2048, .check = check_url,
        .text = "address to which each alert is sent as JSON, when it is raised and when it is over (docs/alerts.md); not set: none"),
    ROW("alerts.webhook_key", T_SECRET, LIVE, TOP(alerts.webhook_key), NULL, 1, 4096,
        .text = "credential for it, sent as `Authorization: Bearer KEY`"),
    ROW("alerts.webhook_ca", T_FILE, LIVE, TOP(alerts.webhook_ca), NULL, 1, 4000,
        .text = "PEM file with the CA to trust for it instead of the system's"),
    ROW("alerts.command", T_LIST, LIVE, TOP(alerts.command), NULL, 0, 64, .check = check_word, .file_only = true,
        .text = "program, by its absolute path or a name in the system's usual places, and its arguments: it gets the same JSON on its "
                "standard input. Never a shell; only this file can set it"),

    MOVED("gateway.connect_timeout", "limits.upstream.connect"),
    MOVED("gateway.first_byte_timeout", "limits.upstream.first_byte"),
    MOVED("gateway.total_timeout", "limits.upstream.total"),

    LIMIT("conn.max", T_INT, conn.max, "4096", 16, 65536, "not accepted, counted", "client connections"),
    LIMIT("conn.per_address", T_INT, conn.per_address, "128", 1, 8192, "closed",
          "connections from one address (IPv6: one /64)"),
    LIMIT("conn.per_loopback", T_INT, conn.per_loopback, "1024", 1, 65536, "closed", "connections from this machine"),
    LIMIT("conn.new_per_address_per_s", T_INT, conn.new_per_address_per_s, "50", 1, 5000, "closed",
          "new connections per second from one address"),
    LIMIT("conn.new_per_address_burst", T_INT, conn.new_per_address_burst, "100", 1, 10000, "closed",
          "new connections at once from one address"),
    LIMIT("conn.new_per_loopback_per_s", T_INT, conn.new_per_loopback_per_s, "1000", 1, 100000, "closed",
          "new connections per second from this machine"),
    LIMIT("conn.new_per_loopback_burst", T_INT, conn.new_per_loopback_burst, "2000", 1, 100000, "closed",
          "new connections at once from this machine"),
    LIMIT("conn.tls_handshake", T_DURATION, conn.tls_handshake_ms, "10s", SEC, MIN, "closed",
          "time for a TLS handshake"),
    LIMIT("conn.keepalive_idle", T_DURATION, conn.keepalive_idle_ms, "75s", SEC, 10 * MIN, "closed",
          "silence between two requests"),
    LIMIT("conn.requests_per_connection", T_INT, conn.requests_per_connection, "10000", 1, 1000000,
          "`Connection: close`", "requests on one connection"),
    LIMIT("conn.lifetime", T_DURATION, conn.lifetime_ms, "1d", MIN, 7 * 24 * HOUR, "closed after the answer",
          "age of a connection"),

    OPEN("limits.listen.backlog", T_INT, RESTART, LIM(listen.backlog), "1024", 1, 65535, .over = "the kernel drops",
        .text = "connections the kernel holds before they are accepted"),

    LIMIT("head.deadline", T_DURATION, head.deadline_ms, "10s", SEC, MIN, "408, closed",
          "from the first byte of a request to its blank line"),
    LIMIT("head.request_line", T_SIZE, head.request_line, "8KiB", 256, 64 * K, "414", "request line"),
    LIMIT("head.field", T_SIZE, head.field, "8KiB", 256, 64 * K, "431", "one header field"),
    LIMIT("head.total", T_SIZE, head.total, "32KiB", K, 128 * K, "431", "whole request head"),
    LIMIT("head.fields", T_INT, head.fields, "100", 8, 500, "431", "header fields"),

    LIMIT("body.admin", T_SIZE, body.admin, "1MiB", K, 16 * M, "413", "body of a call to the admin API"),
    LIMIT("body.min_rate", T_RATE, body.min_rate, "2KiB/s", 1, M, "408",
          "least speed of a request body after its first 5 s"),
    LIMIT("body.idle", T_DURATION, body.idle_ms, "15s", SEC, 2 * MIN, "408", "silence within a request body"),
    LIMIT("body.chunk_line", T_SIZE, body.chunk_line, "256B", 16, 4 * K, "400",
          "one line of chunked framing, with its extension"),
    LIMIT("body.buffered_total", T_PERCENT, body.buffered_percent, "25%", 1, 50, "503 with `Retry-After`",
          "memory for all request bodies together, as a share of the machine's or container's"),
    MOVED("limits.body.inference", "gateway.body_max"),

    LIMIT("pipeline.ahead", T_SIZE, pipeline.ahead, "64KiB", K, M, "reading stops",
          "bytes read beyond the request being answered"),

    LIMIT("upstream.connect", T_DURATION, upstream.connect_ms, "5s", 100, MIN, "next candidate, then 504",
          "time to connect to a runtime"),
    LIMIT("upstream.first_byte", T_DURATION, upstream.first_byte_ms, "5m", SEC, HOUR, "next candidate, then 504",
          "from the request to the first byte of a runtime's answer"),
    LIMIT("upstream.total", T_DURATION, upstream.total_ms, "1h", SEC, 24 * HOUR, "in-stream error",
          "one answer of a runtime, to its last byte"),
    LIMIT("upstream.head", T_SIZE, upstream.head, "64KiB", K, 256 * K, "502", "head of a runtime's answer"),
    LIMIT("upstream.event", T_SIZE, upstream.event, "8MiB", K, 16 * M, "502 where it is translated, else passed on, not metered",
          "one event of a runtime's stream"),
    LIMIT("upstream.reply", T_SIZE, upstream.reply, "64MiB", K, G, "502",
          "a runtime's whole answer, where it must be held to be translated or renamed"),
    MOVED("limits.upstream.idle", "gateway.stall_timeout"),

    LIMIT("stream.heartbeat", T_DURATION, stream.heartbeat_ms, "15s", SEC, MIN, "a keep-alive comment is sent",
          "silence towards a streaming client"),
    LIMIT("stream.memory", T_SIZE, stream.memory, "256KiB", 32 * K, 16 * M, "the faster side is not read",
          "memory of one exchange, both directions"),
    LIMIT("stream.client_stall", T_DURATION, stream.client_stall_ms, "60s", SEC, 10 * MIN, "closed, upstream cancelled",
          "time a client leaves data untaken"),
    LIMIT("stream.max", T_INT, stream.max, "4096", 1, 32768, "503", "requests being answered"),
    MOVED("limits.park.per_target", "gateway.park_max"),
    MOVED("limits.park.wait", "gateway.park_timeout"),

    LIMIT("json.depth", T_INT, json.depth, "64", 4, 64, "400", "nesting of a JSON request"),
    LIMIT("json.members", T_INT, json.members, "10000", 64, 10000, "400", "members at the top of a JSON request"),
    LIMIT("json.values", T_INT, json.values, "500000", 1000, 50000000, "413",
          "values of a JSON request that must be translated, or looked through for links: each takes some 120 bytes for a moment"),

    LIMIT("ledger.queue_rows", T_INT, ledger.queue_rows, "10000", 256, 1000000, "503 for requests of keys",
          "records of requests that wait to be written"),

    LIMIT("otlp.queue_rows", T_INT, otlp.queue_rows, "8192", 64, 1000000, "their traces are dropped and counted",
          "requests whose traces wait for the collector"),
    LIMIT("otlp.queue", T_SIZE, otlp.queue, "16MiB", M, G, "their traces are dropped and counted", "memory for them"),

    LIMIT("metrics.series_per_name", T_INT, metrics.series_per_name, "1000", 10, 10000, "folded into `other`",
          "label sets of one metric"),

    FIXED("limits.alerts.queue", "64", "the oldest is dropped, and the log says which", "alerts that wait for the webhook, and for the command"),
    FIXED("limits.alerts.webhook", "10s", "tried again, five times in all", "one attempt to tell the webhook"),
    FIXED("limits.alerts.command", "30s", "killed, with all it started", "time of a command; two run at once"),

    FIXED("limits.log.line", "8KiB", "cut, with a mark", "one line of the log"),
    FIXED("limits.log.ring_lines", "4096", "the oldest gives way, and how many did is told",
        "lines kept for `drover logs`"),

    LIMIT("stop.drain", T_DURATION, stop.drain_ms, "30s", SEC, 10 * MIN, "cancelled, with the reason",
          "time for running requests after SIGTERM"),

    OPEN("log.level", T_ENUM, LIVE, TOP(log.level), "info", 0, 0, .choices = levels,
        .text = "least important line to write"),
    OPEN("log.format", T_ENUM, RESTART, TOP(log.format), "auto", 0, 0, .choices = formats,
        .text = "form of the lines; in the journal text has the priorities of systemd instead of time and level"),

    OPEN("demo.enabled", T_BOOL, LIVE, TOP(demo.enabled), "false", 0, 1,
        .text = "offer the built-in demonstration endpoint, whose answers are plainly labelled sample text"),

    ROW("hub.name", T_STRING, RESTART, TOP(hub.name), NULL, 1, 64, .check = check_name,
        .text = "the fleet's name. Set: this daemon accepts nodes, on listeners with the role `link`; where none has it, on 0.0.0.0:7443 too"),
    ROW("hub.invite_ttl", T_DURATION, LIVE, TOP(hub.invite_ttl_ms), "1h", MIN, 30 * 24 * HOUR, .console = true, .text = "how long an invitation is good"),
    ROW("hub.heartbeat", T_DURATION, LIVE, TOP(hub.heartbeat_ms), "15s", 5 * SEC, MIN, .text = "how often a node says that it is well"),
    ROW("hub.ca", T_ENUM, RESTART, TOP(hub.ca), "here", 0, 0, .choices = cas, .text = "where the key of the fleet's authority lies"),
    ROW("hub.leaf_life", T_DURATION, LIVE, TOP(hub.leaf_life_ms), "7d", 3 * MIN, 90 * 24 * HOUR,
        .text = "how long a certificate of the fleet is good; each is renewed after two thirds of that"),
    ROW("hub.urls", T_LIST, LIVE, TOP(hub.urls), NULL, 0, 8, .check = check_url,
        .text = "under which nodes reach this hub, such as https://hub.example:7443; not set: its listeners' addresses"),
    ROW("join.url", T_STRING, RESTART, TOP(join.url), NULL, 1, 2048, .check = check_url,
        .text = "hub to join; `drover join` sets up the same without it"),
    ROW("join.mode", T_ENUM, RESTART, TOP(join.mode), "auto", 0, 0, .choices = join_modes, .text = "who dials whom"),
    ROW("join.listen", T_STRING, RESTART, TOP(join.listen), "0.0.0.0:7444", 1, 64, .check = check_join_listen,
        .text = "in the mode direct: where the hub's connections are accepted. No HTTP: whoever is not the hub gets a TLS hello and nothing else"),
    ROW("join.reached_at", T_STRING, RESTART, TOP(join.reached_at), NULL, 1, 262, .check = check_reached_at,
        .text = "in the mode direct: HOST:PORT as the hub shall dial it; not set: the port of `join.listen` at its address, or where that is "
                "0.0.0.0 at the one that the hub sees this machine come from"),
    ROW("join.name", T_STRING, RESTART, TOP(join.name), NULL, 1, 64, .check = check_name, .text = "what this node wants to be called there; not set: `name`"),
    ROW("join.token", T_SECRET, RESTART, TOP(join.token), NULL, 1, 4096, .text = "the line that `drover hub invite` printed; without it the hub's operator has to approve"),
    ROW("join.allow.inference", T_BOOL, RESTART, TOP(join.allow.inference), "true", 0, 1, .text = "the hub may use the models here and read what there is"),
    ROW("join.allow.models", T_BOOL, RESTART, TOP(join.allow.models), "false", 0, 1, .text = "the hub may load, unload and fetch models"),
    ROW("join.allow.config", T_BOOL, RESTART, TOP(join.allow.config), "false", 0, 1, .text = "the hub may change settings that the console may change"),
    ROW("join.allow.certs", T_BOOL, RESTART, TOP(join.allow.certs), "true", 0, 1, .text = "the hub may have this node's certificate renewed"),
    ROW("join.allow.jobs", T_BOOL, RESTART, TOP(join.allow.jobs), "false", 0, 1, .text = "the hub may have agents work here"),
    ROW("join.allow.restart", T_BOOL, RESTART, TOP(join.allow.restart), "false", 0, 1, .text = "the hub may have this daemon start anew"),
    ROW("join.allow.console", T_ENUM, RESTART, TOP(join.allow.console), "view", 0, 0, .choices = reaches,
        .text = "how far people at the hub reach into this node's console"),
    ROW("join.report_usage", T_BOOL, RESTART, TOP(join.report_usage), "false", 0, 1,
        .text = "the hub is told how much this machine's own clients use of which model, but not who they are"),
    ROW("relay.listen", T_STRING, RESTART, TOP(relay.listen), NULL, 1, 255,
        .text = "where agents on the local network (leaves) speak to this node, which passes it on to its hub, such as 127.0.0.1:9100; not set: nowhere. "
                "Another address than the machine's own needs relay.token and relay.tls"),
    ROW("relay.token", T_SECRET, RESTART, TOP(relay.token), NULL, 1, 512, .text = "what a leaf sends as Authorization: Bearer; at least 16 bytes"),
    ROW("relay.tls.cert", T_FILE, RESTART, TOP(relay.tls_cert), NULL, 1, 4000, .text = "PEM file with the certificate chain that leaves see"),
    ROW("relay.tls.key", T_KEY_FILE, RESTART, TOP(relay.tls_key), NULL, 1, 4000, .text = "PEM file with its private key, mode 0600"),
    ROW("relay.compat", T_ENUM, RESTART, TOP(relay.compat), "off", 0, 0, .choices = compats, .text = "for agents of another make"),
    ROW("pq", T_ENUM, RESTART, TOP(pq), "auto", 0, 0, .choices = pqs, .text = "post-quantum key exchange (X25519MLKEM768) between hub and nodes"),
    LATER("store"),
    LATER("tunnel"),
    LATER("power"),
    LATER("mcp"),
    LATER("jobs"),
    LATER("delegation"),
};
/* clang-format on */
const size_t n_settings = sizeof settings / sizeof *settings;

bool setting_in(const struct setting *s, const char *prefix) {
    struct sv path = sv_of(s->path);
    if (*prefix)
        return sv_starts(path, sv_of(prefix));
    return sv_find(path, SV("[]")) < 0;
}

const struct setting *setting_find(struct sv path) {
    for (size_t i = 0; i < n_settings; i++)
        if (sv_eq(path, sv_of(settings[i].path)))
            return setting_in(&settings[i], "") ? &settings[i] : NULL;
    return NULL;
}

char *setting_variable(const struct setting *s, char *text, size_t size) {
    size_t n = (size_t)snprintf(text, size, "DROVER_%s", s->path);
    for (size_t i = 7; i < n && i + 1 < size; i++)
        text[i] = text[i] == '.' ? '_' : text[i] >= 'a' && text[i] <= 'z' ? (char)(text[i] - 'a' + 'A') : text[i];
    return text;
}
