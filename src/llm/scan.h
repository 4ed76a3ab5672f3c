/* llm/scan.h - one pass over a JSON body while it streams by.
 *
 * Life: scan_init (or scan_capture) -> scan_feed as bytes arrive -> scan_end. The caller places the struct; there is no
 * heap, no tree and no going back. All offsets count from the first byte ever fed, so the caller may keep the body in
 * whatever buffers it likes. The findings may be read once scan_feed has said SCAN_OK or SCAN_MORE; they are complete
 * when scan_end has said SCAN_OK.
 *
 * The grammar is RFC 8259 in full (literals, numbers, escapes with paired surrogates, valid UTF-8), with ceilings on
 * depth and members. The top level must be an object. A request in which a name that decides where it goes occurs twice
 * is refused, because two readers of it would not agree; names are compared after unescaping.
 *
 * The same machine serves whole replies: scan_capture copies chosen top-level members out of a body of any size. Then
 * nothing is refused that another JSON reader lets pass (repeated names: the last wins; lone surrogates). */
#ifndef DROVER_LLM_SCAN_H
#define DROVER_LLM_SCAN_H

#include "base/err.h"
#include "base/sv.h"

enum {
    SCAN_DEPTH_MAX = 64,      /* open brackets; one bit each */
    SCAN_MEMBERS_MAX = 10000, /* of the top-level object of a request */
    SCAN_MODEL_MAX = 255,     /* bytes of a model id */
    SCAN_HASH_MAX = 1024,     /* bytes of each of the at most four parts that make the affinity key */
    SCAN_BLOB_MIN = 256,      /* a shorter string under "data" or "url" counts as text */
};

enum scan_result { SCAN_MORE, SCAN_OK, SCAN_BAD };

/* A member that should be true or false. */
enum scan_flag { SCAN_ABSENT, SCAN_NULL, SCAN_FALSE, SCAN_TRUE, SCAN_OTHER };

enum scan_model { SCAN_MODEL_NONE, SCAN_MODEL_OK, SCAN_MODEL_TOO_LONG, SCAN_MODEL_NOT_STRING };

/* Raw bytes of a value, quotes and brackets included; n is 0 when there is none. */
struct scan_span {
    uint64_t at, n;
};

/* One member to copy out of a reply. The caller sets name, text and room before scan_capture. */
struct scan_slot {
    const char *name;
    char *text;    /* borrowed; may be NULL with room 0: then only the length is of interest */
    uint32_t room; /* bytes */
    bool seen;     /* the value is complete */
    uint64_t n;    /* raw bytes of the value, so far; more than room: text holds only its beginning */
};

struct scan {
    /* What was found. */
    enum scan_model model_state;
    uint32_t model_len;
    char model[SCAN_MODEL_MAX + 1]; /* decoded; model_len bytes and a NUL */
    struct scan_span model_raw;
    bool model_escaped; /* the raw string has a backslash in it */

    enum scan_flag stream;
    enum scan_flag include_usage;           /* stream_options.include_usage */
    enum scan_flag think;                   /* SCAN_OTHER: a level or an object */
    enum scan_flag stream_options_kind;     /* SCAN_OTHER: an object (stream_options_open is set) or a wrong type */
    struct scan_span stream_options, include_usage_raw;
    uint64_t stream_options_open;           /* offset just after its '{'; 0 when it is no object */
    bool stream_options_empty;

    /* -1: absent, negative or no integer. */
    int64_t max_tokens, max_completion_tokens, max_output_tokens, num_predict, n;
    bool has_tools, has_image;
    bool has_media;                         /* a content part that may be more than text, or a member that may hold a link */
    uint32_t n_images;
    uint32_t n_messages;                    /* elements of messages or of an input array */
    uint64_t input_bytes;                   /* raw bytes of messages, prompt, input, system, tools, instructions */
    uint64_t blob_bytes;                    /* of these, strings that are images or files */
    uint64_t n_utf8[3];                     /* characters of 2, 3 and 4 bytes, anywhere */

    uint64_t open;                          /* offset just after the top-level '{' */
    bool empty;                             /* the top-level object has no member */
    uint32_t n_members;                     /* at the top */
    uint32_t n_values;                      /* everywhere, containers too */

    /* The machine; nobody else's business. */
    uint8_t at, number, key, top, want, pend, way;
    uint8_t depth, opaque; /* opaque: depth of a container in which no name means anything, 0 = none */
    uint8_t fault;
    bool reply, is_key, keep, used_text, escaped, listing, first_is_system, hash_on, copy_on, flag_open;
    uint8_t hex_left, utf8_left, utf8_low, utf8_high;
    uint16_t hex, surrogate; /* surrogate: a high one that waits for its partner */
    uint16_t text_n;         /* SCAN_MODEL_MAX + 1: too long */
    uint64_t stack;          /* one bit per open bracket, the innermost lowest; 1 = object */
    const char *literal;     /* what is still to come of true, false or null */
    enum scan_flag literal_is;
    uint64_t base;           /* bytes of all earlier feeds */
    const char *feed, *run, *hash_from, *copy_from; /* into the present feed only */
    uint64_t value_at, string_at;
    uint32_t seen;           /* names that must occur once */
    uint32_t n_slots, slot;
    struct scan_slot *slots;
    uint64_t hash[5], hash_word;
    uint8_t hash_part, hash_n;
    uint32_t hash_left;
    uint8_t depth_max;
    uint32_t members_max;
    const char *expected;
    uint64_t bad_at;
    int found; /* the byte, -1 = none */
    char text[SCAN_MODEL_MAX + 1];
};

void scan_init(struct scan *s);
/* Whether a member of that name may hold media, inline or as a link: "url", "image_url", "video", "input_audio", "images", ... */
bool scan_is_link_name(struct sv name);
/* Lower ceilings than the built-in ones; directly after scan_init. */
void scan_limit(struct scan *s, unsigned depth, unsigned members);
/* As scan_init, for a reply: copies the raw values of these top-level members. Borrows slots until scan_end. */
void scan_capture(struct scan *s, struct scan_slot *slots, size_t n);

/* The next bytes. SCAN_OK: the object is complete and only white space may follow. After SCAN_BAD, bytes are
 * ignored. */
enum scan_result scan_feed(struct scan *s, struct sv bytes);
/* No more bytes. SCAN_BAD: *e says ERR_BAD_REQUEST, at which byte, and what was expected there. Never SCAN_MORE. */
enum scan_result scan_end(struct scan *s, struct err *e);

/* A key that stays the same for all turns of one conversation, 0 when the body has none. It is a 64-bit multiply-and-
 * fold hash over the raw bytes of system, instructions, the first message and, when that one is a system message, the
 * second (or the string prompt or input), each cut at SCAN_HASH_MAX. Good for spreading, not against an adversary. */
uint64_t scan_affinity(const struct scan *s);
/* The tightest output limit the request states, or -1. */
int64_t scan_output_limit(const struct scan *s);

#endif
