/* console/visitor.h - visitors of nodes' consoles at a worker's listener: /node/ID/~TICKET/... is handed on to that node over
 * its link, as console/passage.h lets it through. One per worker, on its loop. */
#ifndef DROVER_CONSOLE_VISITOR_H
#define DROVER_CONSOLE_VISITOR_H

#include "console/visits.h"

struct visitor;
/* Shares visits. */
struct visitor *visitor_new(struct loop *l, struct visits *visits, struct err *e) MUST_CHECK;
/* After the server: what was under way has ended, joined connections are cut. NULL is fine. */
void visitor_free(struct visitor *v);
/* Takes in, a request that passage_wants; its Host was found to be ours and its path to be clean (gateway_admits_visit). */
void visitor_take(struct visitor *v, struct http_in *in);

#endif
