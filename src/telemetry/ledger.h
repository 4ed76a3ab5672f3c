/* telemetry/ledger.h - a row for every request that was taken on: who asked, what served it, what it used, how it ended. Never
 * what was said.
 *
 * Each worker adds to a batch of its own; the batch goes to the store when it is full or LEDGER_FLUSH_MS old. Batches that could not be
 * written wait in memory, up to a bound, and are tried again: requests of keys stop meanwhile (ledger_is_well), since what is not
 * recorded cannot be charged. Sums per day are kept beside the rows, so that years of them are looked at in milliseconds.
 * Life: ledger_new -> ledger_shard_new per worker -> ledger_add... -> ledger_shard_free -> ledger_flush -> store_close ->
 * ledger_free. */
#ifndef DROVER_TELEMETRY_LEDGER_H
#define DROVER_TELEMETRY_LEDGER_H

#include "base/err.h"
#include "io/loop.h"
#include "telemetry/record.h"

enum { LEDGER_ROWS = 128, LEDGER_FLUSH_MS = 50 };

struct store;
struct ledger;
struct ledger_shard;

/* Control loop. rows_max: that may wait for the store. retain_ms: rows older than that go; their sums stay. */
struct ledger *ledger_new(struct loop *l, struct store *s, uint64_t rows_max, uint64_t retain_ms, struct err *e) MUST_CHECK;
/* Rows of this machine's own clients get numbers, by which they are told a hub: column report_seq, rising, none twice. Before shards. */
void ledger_number(struct ledger *g, bool on);
void ledger_set(struct ledger *g, uint64_t rows_max, uint64_t retain_ms);
/* Hands over all that waits, once; no timer runs after it. */
void ledger_flush(struct ledger *g);
/* After store_close. Says in the log what was lost. */
void ledger_free(struct ledger *g);

/* The worker's part; l is its loop. */
struct ledger_shard *ledger_shard_new(struct ledger *g, struct loop *l) MUST_CHECK;
/* Worker's thread. Copies. */
void ledger_add(struct ledger_shard *s, const struct request_record *r);
/* After the worker has ended, any thread: what it still held goes to the store. */
void ledger_shard_free(struct ledger_shard *s);

/* Any thread, two relaxed loads: whether what is added now will be written. */
bool ledger_is_well(const struct ledger *g);

struct ledger_status {
    uint64_t waiting, written, lost; /* rows; since the start */
};
void ledger_status(const struct ledger *g, struct ledger_status *ret);

#endif
