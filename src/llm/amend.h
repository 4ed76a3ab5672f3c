/* llm/amend.h - what an operator sets for a slug's requests (models[].defaults, models[].force), put into a body.
 *
 * A setting is a member of a JSON object. The well-known ones (output limit, temperature, stop, ...) hold under every name that
 * the client's API has for them, whatever name the operator wrote; one that this API has no name for is passed over. Any other
 * holds under its own name. Inside "options", for Ollama's API, members are set one by one. All else of the body stays byte for
 * byte what it was. Pure functions over bytes. */
#ifndef DROVER_LLM_AMEND_H
#define DROVER_LLM_AMEND_H

#include "base/arena.h"
#include "llm/llm.h"
#include "llm/patch.h"

enum { AMEND_MAX = 64 }; /* settings in one object; more are a fault of the configuration */

/* Whether an object may be given as defaults or force. False: *e says which member cannot work. */
bool amend_check(struct sv settings, struct err *e);

/* The splices, in order and apart from each other and from those of patch_body; *ret_n is 0 when nothing is to be done. Defaults
 * count where the body has none of its own (or null), forced ones in any case. body must be valid JSON with an object that has
 * members; it, the settings and the arena are borrowed as long as the splices are in use. NULL: memory is out. */
struct splice *amend_body(struct arena *a, enum llm_api api, struct sv body, struct sv defaults, struct sv forced, unsigned *ret_n);

/* What forced settings make of the limits that a request of this API states (-1: none): its tokens of output, and how many
 * answers. What they do not speak of stays. */
void amend_limits(enum llm_api api, struct sv forced, int64_t *output, int64_t *n);

#endif
