/* translate/messages.h - private to translate: the two halves of the Anthropic dialect. */
#ifndef DROVER_TRANSLATE_MESSAGES_H
#define DROVER_TRANSLATE_MESSAGES_H

#include "translate/canon.h"

/* Signatures of thinking that no vendor signed begin so, and never go to a vendor. */
#define MESSAGES_OWN_SIGNATURE "drover."

bool messages_read(struct canon_request *rq, yyjson_val *body);
bool messages_print(struct canon_request *rq, struct buf *out);

#endif
