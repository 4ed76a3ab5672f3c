/* fleet/fingerprint.h - private to fleet: which runtime is it? A decision table over replies; no I/O.
 *
 * Life: fingerprint_init -> { fingerprint_next tells which path to ask -> fingerprint_take with the reply } until it gives
 * a verdict. Ports are never evidence. */
#ifndef DROVER_FLEET_FINGERPRINT_H
#define DROVER_FLEET_FINGERPRINT_H

#include "fleet/probe.h"

#define FP_PROBES(X)                                        \
    X(FP_MODELS, "/v1/models")                              \
    X(FP_ROOT, "/")                                         \
    X(FP_VERSION, "/version")                               \
    X(FP_GREETING, "/lmstudio-greeting")                    \
    X(FP_OLLAMA_STATUS, "/api/status")                      \
    X(FP_OLLAMA_VERSION, "/api/version")                    \
    X(FP_OLLAMA_TAGS, "/api/tags")                          \
    X(FP_KOBOLD, "/api/extra/version")                      \
    X(FP_SGLANG, "/model_info")                             \
    X(FP_LOCALAI, "/.well-known/localai.json")              \
    X(FP_SERVICE, "/.well-known/serviceinfo")               \
    X(FP_HEALTH, "/health")                                 \
    X(FP_LIVE, "/live")                                     \
    X(FP_LEMONADE, "/api/v1/health")                        \
    X(FP_METRICS, "/metrics")                               \
    X(FP_INFO, "/info")                                     \
    X(FP_ROOT_MODELS, "/models")                            \
    X(FP_TRITON, "/v2/health/ready")

#define X(id, path) id,
enum fp_probe { FP_PROBES(X) FP_PROBE_COUNT, FP_NONE = -1 };
#undef X

enum { FP_UNKNOWN = -1, FP_DROVER = -2 }; /* verdicts beside enum config_kind */

enum { FP_ROWS_MAX = 64, FP_CONDITIONS_MAX = 6 };

struct fingerprint {
    unsigned asked;                       /* bits of enum fp_probe */
    unsigned char holds[FP_ROWS_MAX];     /* bit per condition of the row */
    bool any_reply;
};

void fingerprint_init(struct fingerprint *f);
/* The probe to make next, or FP_NONE with *ret_verdict: enum config_kind, FP_DROVER or FP_UNKNOWN. */
int fingerprint_next(const struct fingerprint *f, int *ret_verdict);
void fingerprint_take(struct fingerprint *f, enum fp_probe probe, const struct probe_reply *r);
const char *fingerprint_path(enum fp_probe probe);

#endif
