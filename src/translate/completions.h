/* translate/completions.h - private to translate: bare prompts, for the rows that have this form. */
#ifndef DROVER_TRANSLATE_COMPLETIONS_H
#define DROVER_TRANSLATE_COMPLETIONS_H

#include "translate/openai.h"

bool completions_read(struct canon_request *rq, yyjson_val *body);
bool completions_print(struct canon_request *rq, struct buf *out);
bool completions_decode(struct canon_reply *r, struct sv name, struct sv data);
bool completions_decode_end(struct canon_reply *r);
bool completions_decode_reply(struct canon_reply *r, yyjson_val *body);
bool completions_begin(struct canon_reply *r);
void completions_encode(struct canon_reply *r, const struct canon_event *ev);
void completions_print_reply(struct canon_reply *r);
/* choices[] and usage, without the braces around the whole. */
void completions_print_choices(struct canon_reply *r, struct print *p);

#endif
