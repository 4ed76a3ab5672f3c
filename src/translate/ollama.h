/* translate/ollama.h - private to translate: the two halves of Ollama's native dialect. */
#ifndef DROVER_TRANSLATE_OLLAMA_H
#define DROVER_TRANSLATE_OLLAMA_H

#include "translate/canon.h"

bool ollama_read_chat(struct canon_request *rq, yyjson_val *body);
bool ollama_print_chat(struct canon_request *rq, struct buf *out);
/* A prompt with a template becomes a chat of one message; raw or with a suffix it is a bare prompt. */
bool ollama_read_generate(struct canon_request *rq, yyjson_val *body);
/* Names what of rq->options only Ollama can use. */
bool ollama_lose_options(struct canon_request *rq);
bool ollama_print_generate(struct canon_request *rq, struct buf *out);

#endif
