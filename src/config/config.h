/* config/config.h - the settings: one YAML file, DROVER_ variables and flags become one immutable struct config.
 *
 * Life: config_load -> config_ref, config_unref on any thread; the last unref frees and wipes the secrets. Nothing in
 * a struct config changes after config_load returned it, so readers need no lock; a reload makes a new one. Every key
 * is one row of the table in schema.c: its place here, type, default, range, reload rule and sentence in the manual.
 * Precedence: override > environment > file > what was set from the console (layer.c) > default.
 *
 * Units: durations end in _ms; sizes are bytes; views end in a NUL that their length does not count, so .p can be
 * handed to the C library. An empty view means "not set". Paths are absolute. */
#ifndef DROVER_CONFIG_CONFIG_H
#define DROVER_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/sv.h"

enum {
    CONFIG_FILE_MAX = 1 << 20,  /* bytes of a document: far above any real one, small enough to read at once */
    CONFIG_DEPTH_MAX = 32,      /* nesting of a document */
    CONFIG_NODES_MAX = 50000,   /* keys and values of a document */
    CONFIG_COMPLAINTS_MAX = 20, /* kept in a report; the rest are counted */
    CONFIG_WARNINGS_MAX = 20,
    CONFIG_LISTEN_MAX = 16,
    CONFIG_ENDPOINTS_MAX = 1024,
    CONFIG_MODELS_MAX = 4096,
    CONFIG_RUN_DIR_MAX = 90, /* bytes: the admin socket's path must fit sockaddr_un */
};

/* clang-format off */
/* The words a setting may take: X(constant, word in the file, what it means). */
#define CONFIG_TAKEOVERS(X)                                     \
    X(TAKEOVER_OLLAMA, "ollama", "127.0.0.1:11434")             \
    X(TAKEOVER_LMSTUDIO, "lmstudio", "127.0.0.1:1234")

#define CONFIG_KINDS(X)                                         \
    X(KIND_AUTO, "auto", "asks the server what it is")          \
    X(KIND_OLLAMA, "ollama", "Ollama")                          \
    X(KIND_LMSTUDIO, "lmstudio", "LM Studio")                   \
    X(KIND_LLAMACPP, "llamacpp", "llama.cpp server")            \
    X(KIND_VLLM, "vllm", "vLLM")                                \
    X(KIND_SGLANG, "sglang", "SGLang")                          \
    X(KIND_MISTRALRS, "mistralrs", "mistral.rs")                \
    X(KIND_TGI, "tgi", "Text Generation Inference")             \
    X(KIND_LOCALAI, "localai", "LocalAI")                       \
    X(KIND_KOBOLDCPP, "koboldcpp", "KoboldCpp")                 \
    X(KIND_TABBYAPI, "tabbyapi", "TabbyAPI")                    \
    X(KIND_JAN, "jan", "Jan")                                   \
    X(KIND_LEMONADE, "lemonade", "Lemonade")                    \
    X(KIND_MLX, "mlx", "MLX-LM")                                \
    X(KIND_DMR, "dmr", "Docker Model Runner")                   \
    X(KIND_TRITON, "triton", "Triton Inference Server")         \
    X(KIND_TRTLLM, "trtllm", "TensorRT-LLM")                    \
    X(KIND_TEI, "tei", "Text Embeddings Inference")             \
    X(KIND_INFINITY, "infinity", "Infinity")                    \
    X(KIND_DROVER, "drover", "another Drover")                  \
    X(KIND_OPENAI, "openai", "any other OpenAI-compatible server")

#define CONFIG_DIALECTS(X)                                      \
    X(DIALECT_OPENAI_CHAT, "openai-chat", "")                   \
    X(DIALECT_OPENAI_COMPLETIONS, "openai-completions", "")     \
    X(DIALECT_OPENAI_RESPONSES, "openai-responses", "")         \
    X(DIALECT_OPENAI_EMBEDDINGS, "openai-embeddings", "")       \
    X(DIALECT_ANTHROPIC, "anthropic", "")                       \
    X(DIALECT_OLLAMA, "ollama", "")                             \
    X(DIALECT_LMSTUDIO, "lmstudio", "")

#define CONFIG_MEDIA(X)                                         \
    X(MEDIA_PUBLIC, "public", "public hosts only")              \
    X(MEDIA_PASS, "pass", "any host")                           \
    X(MEDIA_REFUSE, "refuse", "none")

#define CONFIG_SLUGS(X)                                         \
    X(SLUGS_NAMES, "names", "the models' own names")            \
    X(SLUGS_OPAQUE, "opaque", "a stable random id per model")

#define CONFIG_POLICIES(X) X(POLICY_AUTO, "auto", "least outstanding work, weighted by measured speed")

#define CONFIG_LEVELS(X) /* values are those of enum log_level */ \
    X(LEVEL_ERROR, "error", "")                                 \
    X(LEVEL_WARN, "warn", "")                                   \
    X(LEVEL_INFO, "info", "")                                   \
    X(LEVEL_DEBUG, "debug", "")

#define CONFIG_ROLES(X)                                         \
    X(ROLE_GATEWAY, "gateway", "the models")                    \
    X(ROLE_CONSOLE, "console", "the console and the admin API") \
    X(ROLE_LINK, "link", "nodes of this hub")

#define CONFIG_FORMATS(X) /* values are those of enum log_format */ \
    X(FORMAT_AUTO, "auto", "text on a terminal and in the journal, JSON elsewhere") \
    X(FORMAT_TEXT, "text", "")                                  \
    X(FORMAT_JSON, "json", "")

#define X(id, word, means) CONFIG_##id,
enum config_takeover { CONFIG_TAKEOVERS(X) };
enum config_kind { CONFIG_KINDS(X) CONFIG_KIND_COUNT };
enum config_dialect { CONFIG_DIALECTS(X) CONFIG_DIALECT_COUNT };
enum config_media { CONFIG_MEDIA(X) };
enum config_slugs { CONFIG_SLUGS(X) };
enum config_policy { CONFIG_POLICIES(X) };
enum config_level { CONFIG_LEVELS(X) };
enum config_format { CONFIG_FORMATS(X) };
enum config_role { CONFIG_ROLES(X) };
#undef X

/* clang-format on */

enum config_scheme { CONFIG_SCHEME_BEARER, CONFIG_SCHEME_BASIC, CONFIG_SCHEME_PLAIN };
enum config_unpriced { CONFIG_UNPRICED_ALLOW, CONFIG_UNPRICED_REFUSE };
enum config_auth { CONFIG_AUTH_NONE, CONFIG_AUTH_KEY };
enum config_client_cert { CONFIG_CLIENT_CERT_OFF, CONFIG_CLIENT_CERT_OPTIONAL, CONFIG_CLIENT_CERT_REQUIRED };
enum config_pq { CONFIG_PQ_AUTO, CONFIG_PQ_REQUIRED, CONFIG_PQ_OFF };
enum config_ca { CONFIG_CA_HERE, CONFIG_CA_APART };
enum config_join_mode { CONFIG_JOIN_AUTO, CONFIG_JOIN_REVERSE, CONFIG_JOIN_DIRECT };
enum config_compat { CONFIG_COMPAT_OFF, CONFIG_COMPAT_TEXT_OK };
enum config_reach { CONFIG_REACH_OFF, CONFIG_REACH_VIEW, CONFIG_REACH_FULL };

struct config_list {
    const struct sv *v;
    size_t n;
};

/* Where a setting's value comes from. */
enum config_origin_kind { CONFIG_FROM_DEFAULT, CONFIG_FROM_CONSOLE, CONFIG_FROM_FILE, CONFIG_FROM_ENVIRONMENT, CONFIG_FROM_FLAG };

/* An amount in telemetry.currency. */
struct config_money {
    int64_t millionths;
    bool is_set;
};

/* A secret or its place; at most one of the two was given. Never log, print or copy value. */
struct config_secret {
    const char *value; /* in sodium_malloc memory, ends in a NUL; NULL when there is none or files were not read */
    size_t n;
    struct sv file;
};

struct config_listen {
    struct sv address; /* as it was written */
    struct sockaddr_storage addr;
    socklen_t addr_len;       /* of AF_INET, AF_INET6 or AF_UNIX; port 0 lets the kernel choose */
    struct config_list names; /* accepted in Host besides the address itself */
    bool tls, tls_ca; /* tls_ca: with a leaf of the fleet's CA, no files */
    struct sv tls_cert, tls_key;
    int client_cert; /* enum config_client_cert */
    unsigned roles;  /* bits 1 << enum config_role; never 0 */
    int auth; /* enum config_auth */
};

struct config_endpoint {
    struct sv name, url;
    int kind; /* enum config_kind */
    struct config_secret key;
    int max_concurrent; /* 0: none set */
    int weight, priority;
    unsigned dialects; /* bits 1 << enum config_dialect; 0: whatever the runtime offers */
    struct {
        struct config_list include, exclude;
    } models; /* patterns of sv_glob */
    struct {
        struct sv ca;
        bool insecure;
    } tls;
    int media_urls; /* enum config_media */
    int watts;      /* 0: not set */
    bool added;     /* from the console, not by the configuration */
};

/* Of a million tokens; request: of one request. None of them set: nobody knows what the slug costs. */
struct config_price {
    struct config_money input, cached, output, request;
};

enum config_reasoning { CONFIG_REASONING_ASIS, CONFIG_REASONING_SPLIT, CONFIG_REASONING_SHOW, CONFIG_REASONING_STRIP };

struct config_model {
    struct sv slug; /* may hold one '*' */
    struct config_list targets, fallback, aliases;
    bool strict;
    int reasoning; /* enum config_reasoning */
    struct sv system;            /* put in front of all system text; empty: nothing */
    struct sv defaults, force;   /* JSON objects of request members; empty: none */
    bool context_guard;
    struct config_price price;
};

struct config_limits {
    struct {
        int max;
        int per_address, per_loopback;
        int new_per_address_per_s, new_per_address_burst, new_per_loopback_per_s, new_per_loopback_burst;
        uint64_t tls_handshake_ms, keepalive_idle_ms, lifetime_ms;
        int requests_per_connection;
    } conn;
    struct {
        int backlog;
    } listen;
    struct {
        uint64_t deadline_ms;
        size_t request_line, field, total;
        int fields;
    } head;
    struct {
        size_t admin;
        size_t min_rate; /* bytes per second, after the first 5 s */
        uint64_t idle_ms;
        size_t chunk_line;
        int buffered_percent;  /* of memory, as it was set ... */
        size_t buffered_total; /* ... and in bytes */
    } body;
    struct {
        size_t ahead;
    } pipeline;
    struct {
        uint64_t connect_ms, first_byte_ms, total_ms;
        size_t head, event, reply;
    } upstream;
    struct {
        uint64_t heartbeat_ms, client_stall_ms;
        size_t memory;
        int max;
    } stream;
    struct {
        int depth, members, values;
    } json;
    struct {
        int queue_rows;
    } ledger;
    struct {
        int queue_rows;
        size_t queue;
    } otlp;
    struct {
        int series_per_name;
    } metrics;
    struct {
        uint64_t drain_ms;
    } stop;
};

struct config {
    struct sv file; /* the file that was read; empty when there was none */
    struct sv name;
    struct sv data_dir, run_dir;
    int workers;
    unsigned takeover; /* bits 1 << enum config_takeover */
    const struct config_listen *listen;
    size_t n_listen;
    struct {
        bool local, mdns, containers;
        struct config_list lan; /* addresses and CIDR ranges */
        uint64_t interval_ms;
    } discovery;
    const struct config_endpoint *endpoints;
    size_t n_endpoints;
    struct config_list resting; /* names of added endpoints that the configuration has too: its own are used */
    const struct config_model *models;
    size_t n_models;
    int slugs; /* enum config_slugs */
    struct {
        size_t body_max;
        int park_max;
        uint64_t park_timeout_ms, stall_timeout_ms, deadline_ms;
        int retry_max;
        int policy; /* enum config_policy */
    } gateway;
    struct {
        uint64_t session_ttl_ms, session_idle_ms;
        struct {
            int requests, burst, concurrent;
            int tokens; /* per minute */
        } default_rate;
        int unpriced; /* enum config_unpriced */
    } access;
    struct {
        uint64_t retain_ms;
        struct sv currency;
        struct config_money energy_price; /* of a kilowatt-hour */
        bool content;
        struct {
            struct sv url;              /* empty: nothing is exported */
            struct config_secret key;
            struct sv key_header;
            int key_scheme;             /* enum config_scheme */
            struct config_list headers; /* "name: value" */
            struct sv tls_ca;
            uint64_t interval_ms;
        } otlp;
    } telemetry;
    struct {
        struct sv webhook;           /* empty: none */
        struct config_secret webhook_key;
        struct sv webhook_ca;
        struct config_list command;  /* a program and its arguments */
    } alerts;
    struct {
        struct sv name;                 /* empty: this daemon accepts no nodes */
        uint64_t invite_ttl_ms, heartbeat_ms, leaf_life_ms;
        int ca;                         /* enum config_ca */
        struct config_list urls;        /* under which nodes reach it; none: worked out from the listeners */
    } hub;
    struct {
        struct sv url;                  /* empty: it joins no hub, or the one that `drover join` noted in data_dir */
        int mode;                       /* enum config_join_mode */
        struct sv listen, reached_at;   /* in the mode direct: for its hub; the latter may be empty */
        struct sv name;
        struct config_secret token;
        struct {
            bool inference, models, config, certs, jobs, restart;
            int console;                /* enum config_reach */
        } allow;
        bool report_usage;              /* the hub is told what this machine's own clients use */
    } join;
    struct {
        struct sv listen;               /* empty: no leaves */
        struct sockaddr_storage addr;
        socklen_t addr_len;
        struct config_secret token;
        struct sv tls_cert, tls_key;
        int compat;                     /* enum config_compat */
    } relay;
    int pq;                             /* enum config_pq */
    struct config_limits limits;
    struct {
        int level, format;
    } log; /* enum log_level, enum log_format */
    struct {
        bool enabled;
    } demo;

    /* Not for readers. */
    struct config_origin {
        enum config_origin_kind kind;
        unsigned line;      /* of the file; 0: none */
    } *origins__;           /* of the settings of the document itself, by their row */
    struct config *layer__; /* all that was set from the console, also what the file and its like win over; only values and origins__ */
    struct arena arena__;
    _Atomic unsigned refs__;
};

struct err;

/* One change of what is set from the console. Views are borrowed during the call. */
struct config_edit {
    struct sv name;  /* "gateway.stall_timeout" */
    struct sv value; /* as a variable would hold it: "2m"; lists "a, b" or "[a, b]" */
    bool unset;      /* back to the default; no value */
};

/* One change of the endpoints that were added from the console. Views are borrowed during the call. */
struct config_endpoint_edit {
    enum { CONFIG_ENDPOINT_ADD, CONFIG_ENDPOINT_CHANGE, CONFIG_ENDPOINT_REMOVE } act;
    struct sv name;  /* of the one to change or remove */
    struct sv value; /* its settings as a mapping, JSON or YAML; to change: those that change, null: back to the default */
};

/* Where settings come from. All members are borrowed during config_load; a zeroed struct is the usual daemon. */
struct config_source {
    const char *path; /* NULL: the first of $XDG_CONFIG_HOME/drover/drover.yaml, ~/.config/drover/drover.yaml,
                                     * /etc/drover/drover.yaml that exists; none is fine */
    const char *const *overrides;   /* "path=value", NULL-terminated; may be NULL */
    const char *const *environment; /* "NAME=value", NULL-terminated; NULL: this process's */
    struct sv text;                 /* with .p set: the document itself, path is then only its name in complaints */
    bool no_files; /* leave the files that settings name alone: no key is read, none need exist. For verbs
                                     * that only look for the admin socket, and for fuzzing */
    bool may_miss_layer; /* what was set from the console may be another user's to read: a warning then. For verbs */
    /* Changes to what was set from the console, to see what would come of them (config_layer_save keeps it). */
    const struct config_edit *edits;
    size_t n_edits;
    const struct config_endpoint_edit *endpoint; /* the same for one endpoint; NULL: none */
    /* A stricter judge of endpoint URLs than this room's own (app/ puts url_parse here). May be NULL. */
    bool (*check_url)(struct sv url, struct err *e);
    size_t memory_bytes; /* 0: ask the system (cgroup, then RAM) */
    int cores;           /* 0: ask the system */
};

struct config_complaint {
    char source[256];      /* a file, "environment variable X" or "--set" */
    unsigned line, column; /* from 1; 0 when there is no line */
    char key[160];         /* "endpoints[2].url"; may be empty */
    char text[480];        /* what is wrong, what was expected, what to do; never holds a secret */
};

struct config_report {
    struct config_complaint complaints[CONFIG_COMPLAINTS_MAX]; /* by line */
    size_t n;
    size_t n_more;                                         /* complaints that found no place */
    struct config_complaint warnings[CONFIG_WARNINGS_MAX]; /* the settings are good, but look at this */
    size_t n_warnings;
    size_t n_more_warnings;
    bool no_memory; /* the only complaint is that memory was out */
};

/* Returns owned (config_unref), or NULL on any complaint. Overwrites *ret_report either way. Reads files; any
 * thread. */
struct config *config_load(const struct config_source *src, struct config_report *ret_report) MUST_CHECK;
/* One "source:line:column: key: text" per line; warnings say so. */
bool config_report_print(const struct config_report *r, struct buf *out);

struct config *config_ref(struct config *c);
struct config *config_unref(struct config *c); /* NULL is fine; returns NULL */

/* The effective settings, every key, without secrets; YAML that config_load accepts again (less the secrets), or
 * JSON. */
enum config_style { CONFIG_YAML, CONFIG_JSON };
bool config_show(const struct config *c, struct buf *out, enum config_style style);
/* The settings of one endpoint as a JSON object, without its key and without paths of this machine. */
bool config_endpoint_show(const struct config_endpoint *e, struct buf *out);
/* The same, and where each value that is no default comes from: in YAML as comments, in JSON as the member "origins". */
bool config_tell(const struct config *c, struct buf *out, enum config_style style);
/* Every setting as a JSON array: name, value as it would be written (empty: not set), default, origin (default, console, file,
 * environment, flag) with its line, whether it takes a restart, what it must look like, what it does; for those that the console may set
 * also its kind, bounds and words. No secrets. */
bool config_list(const struct config *c, struct buf *out);
/* True when a setting differs that only a restart applies; their paths go to names ("listen, workers"). */
bool config_needs_restart(const struct config *old, const struct config *new_, struct buf *names);

/* What differs as a JSON array: key, from, to, origin from now on, whether it takes a restart. */
bool config_differences(const struct config *old, const struct config *new_, struct buf *out);
/* The complaints as a JSON array: key, what is wrong, what was expected, its bounds, and where it stands. */
bool config_report_list(const struct config_report *r, struct buf *out);

/* What is set from the console lies in data_dir/settings.yaml: a person may read it, Drover alone writes it. */
/* A number, below 2^53, for all that config_list tells and for what is set from the console: who changes something says what he saw. Another
 * one after each start. Control thread only. */
uint64_t config_version(const struct config *c);
/* Writes what c says was set from the console: whole or not at all, and on the disk. Borrows c. */
bool config_layer_save(const struct config *c, struct err *e) MUST_CHECK;
/* The same to a file of another name, for a backup. It may hold keys of endpoints. */
bool config_layer_copy(const struct config *c, const char *path, struct err *e) MUST_CHECK;

/* True when no setting differs, the secrets included, nor where they come from. False also when memory is out. */
bool config_is_same(const struct config *a, const struct config *b);

/* "90s", "1h30m", "0". *ret_ms is written on success only. */
bool config_duration(struct sv text, uint64_t *ret_ms);
/* "127.0.0.1:11430", "[::1]:11430", "unix:/path". Written on success only. */
bool config_address(struct sv text, struct sockaddr_storage *ret_addr, socklen_t *ret_len, struct err *e);

/* The generated parts of docs/config.md and docs/limits.md. */
bool config_manual(struct buf *out);
bool config_limits_manual(struct buf *out);
bool config_man(struct buf *out);

#endif
