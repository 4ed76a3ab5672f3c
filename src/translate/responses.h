/* translate/responses.h - private to translate: the two halves of OpenAI's Responses dialect. */
#ifndef DROVER_TRANSLATE_RESPONSES_H
#define DROVER_TRANSLATE_RESPONSES_H

#include "translate/canon.h"

/* Reasoning text that a client carries for us between turns: this, then base64url. */
#define RESPONSES_OWN_SEAL "drover1."

bool responses_read(struct canon_request *rq, yyjson_val *body);
bool responses_print(struct canon_request *rq, struct buf *out);
bool responses_keep(const struct canon_request *rq, struct canon_reply *r);

#endif
