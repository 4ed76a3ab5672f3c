/* llm/patch.h - the few changes a body passes with, as splices: everything else stays byte for byte what it was. */
#ifndef DROVER_LLM_PATCH_H
#define DROVER_LLM_PATCH_H

#include "base/sv.h"

struct scan;

enum {
    PATCH_SPLICES = 6,
    PATCH_PIECES = 2 * PATCH_SPLICES + 1,
    PATCH_MODEL_MAX = 512,                     /* bytes of a new model id */
    PATCH_SCRATCH_USAGE = 64,                  /* bytes, when no model is set */
    PATCH_SCRATCH = 6 * PATCH_MODEL_MAX + 128, /* bytes: every byte of it may need \u00xx */
};

struct splice {
    uint64_t at;     /* offset in the body as it came */
    uint64_t remove; /* bytes there that go */
    struct sv insert;
};

struct patch {
    struct sv model;    /* the runtime's own id; .p NULL = leave it */
    bool include_usage; /* ask for the usage chunk: stream_options.include_usage becomes true */
};

/* Finds the splices, ordered and apart from each other; 0 when nothing is to be done. A body without model gets one.
 * Borrows want->model and scratch (PATCH_SCRATCH bytes, or PATCH_SCRATCH_USAGE) until the patched body is sent. s must be complete (SCAN_OK). A
 * model id longer than PATCH_MODEL_MAX is left as it was. */
unsigned patch_body(const struct scan *s, const struct patch *want, struct splice out[static PATCH_SPLICES],
                    char *scratch);
/* Bytes of the patched body. */
uint64_t patch_length(uint64_t total, const struct splice *splices, unsigned n);
/* The patched body in order: views on body and on the inserts, none empty. Returns how many: 2 n + 1 at most. */
unsigned patch_iov(struct sv body, const struct splice *splices, unsigned n, struct sv *pieces);
/* The same for a part of a body that starts at offset `from` of the whole and is `body` (a buffer of a chain): splices
 * that begin inside it, or at its end when it is the last, are applied; a removal may run on into the next part. */
unsigned patch_part(struct sv body, uint64_t from, bool last, const struct splice *splices, unsigned n,
                    struct sv *pieces);

/* Puts another list of splices, none of which touches the n of out, in their places among them; out has room for all. Returns how
 * many there are then. */
unsigned patch_merge(struct splice *out, unsigned n, const struct splice *more, unsigned n_more);

/* Takes one member out of the top level of a small JSON object (an event's data), with its comma: one more splice, in its
 * place among the n that are there already and do not touch it. Returns how many there are then. */
unsigned patch_also_without(struct sv object, struct sv name, struct splice s[static PATCH_SPLICES], unsigned n);

#endif
