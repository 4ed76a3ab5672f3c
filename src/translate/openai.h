/* translate/openai.h - private to translate: what chat, completions and LM Studio's /api/v0 have in common. */
#ifndef DROVER_TRANSLATE_OPENAI_H
#define DROVER_TRANSLATE_OPENAI_H

#include "translate/canon.h"

enum { FAMILY_NONE, FAMILY_OPENAI, FAMILY_OLLAMA, FAMILY_ANTHROPIC, FAMILY_RESPONSES, FAMILY_LMSTUDIO };

struct print;

/* -- requests (openai.c) */
void openai_print_sampling(struct canon_request *rq, struct print *p); /* numbers and stop, under the runtime's names */
void openai_print_stream(struct canon_request *rq, struct print *p);
void openai_print_member(struct print *p, struct sv name, yyjson_val *value);
/* Members no canonical field holds: printed when the client's dialect is of the same family, else lost by name. */
bool openai_print_extra(struct canon_request *rq, struct print *p, unsigned family);

/* -- replies (openai.c) */
/* {"prompt_tokens":...}, settled. */
void openai_print_usage(const struct canon_reply *r, struct print *p);
/* "stop", "length", ...; chat knows tool calls, completions do not. */
const char *openai_finish(const struct canon_reply *r);
/* Opens a chunk or reply: id, object, created, model. */
void openai_open(struct canon_reply *r, struct print *p, const char *object);

/* -- chat_reply.c, for the rows that have chat's form */
bool chat_start(struct canon_reply *r);
bool chat_decode(struct canon_reply *r, struct sv name, struct sv data);
bool chat_decode_end(struct canon_reply *r);
bool chat_decode_reply(struct canon_reply *r, yyjson_val *body);
bool chat_begin(struct canon_reply *r);
void chat_encode(struct canon_reply *r, const struct canon_event *ev);
void chat_print_reply(struct canon_reply *r);
/* The members of choices[] and usage, without the braces around the whole: LM Studio adds to them. */
void chat_print_choices(struct canon_reply *r, struct print *p);
bool chat_read(struct canon_request *rq, yyjson_val *body);
bool chat_print(struct canon_request *rq, struct buf *out);

#endif
