/* The schema, step by step. Each room that keeps records adds its steps at the end. What was released is never changed: other people's
 * files have taken that step. Tables of the store itself (store_migration, store_mark) are made by migrate.c. */
#include "store/store.h"

const struct store_migration store_schema[] = {
    { 1, "keys, leases of their budgets, and the audit log",
      /* Lists are lines. A limit of 0 is the default's. A revoked key keeps its row, for the records that name it, and loses its hash. */
      "CREATE TABLE api_key ("
      " id TEXT NOT NULL PRIMARY KEY, name TEXT NOT NULL, owner TEXT NOT NULL, hash BLOB NOT NULL, enabled BIGINT NOT NULL,"
      " expires_ms BIGINT NOT NULL, models TEXT NOT NULL, endpoints TEXT NOT NULL, networks TEXT NOT NULL, rights BIGINT NOT NULL,"
      " priority BIGINT NOT NULL, requests_per_min BIGINT NOT NULL, requests_burst BIGINT NOT NULL, concurrent BIGINT NOT NULL,"
      " tokens_per_min BIGINT NOT NULL, day_tokens BIGINT NOT NULL, month_tokens BIGINT NOT NULL, day_money BIGINT NOT NULL,"
      " month_money BIGINT NOT NULL, created_ms BIGINT NOT NULL, version BIGINT NOT NULL, revoked_ms BIGINT NOT NULL);"
      "CREATE UNIQUE INDEX api_key_name ON api_key (name) WHERE revoked_ms = 0;"
      /* What was taken out of a budget in its present day or month (span_no): spent, or held in memory to be spent. */
      "CREATE TABLE lease ("
      " key_id TEXT NOT NULL, unit BIGINT NOT NULL, span BIGINT NOT NULL, span_no BIGINT NOT NULL, leased BIGINT NOT NULL,"
      " PRIMARY KEY (key_id, unit, span));"
      "CREATE TABLE audit ("
      " seq BIGINT NOT NULL PRIMARY KEY, at_ms BIGINT NOT NULL, actor TEXT NOT NULL, peer TEXT NOT NULL, action TEXT NOT NULL,"
      " object TEXT NOT NULL, detail TEXT NOT NULL, hash BLOB NOT NULL);" },
    { 2, "the ledger: requests and their sums per day",
      /* Times in microseconds are durations; tokens -1: unknown; sources and results as numbered in telemetry/record.h. */
      "CREATE TABLE request ("
      " ended_ms BIGINT NOT NULL, id TEXT NOT NULL, key_id TEXT NOT NULL, slug TEXT NOT NULL, model TEXT NOT NULL, endpoint TEXT NOT NULL,"
      " runtime TEXT NOT NULL, dialect TEXT NOT NULL, api TEXT NOT NULL, stream BIGINT NOT NULL, status BIGINT NOT NULL, result BIGINT NOT NULL,"
      " attempts BIGINT NOT NULL, tokens_in BIGINT NOT NULL, tokens_cached BIGINT NOT NULL, tokens_out BIGINT NOT NULL,"
      " tokens_reasoning BIGINT NOT NULL, in_source BIGINT NOT NULL, out_source BIGINT NOT NULL, queue_us BIGINT NOT NULL, first_us BIGINT NOT NULL,"
      " total_us BIGINT NOT NULL, bytes_in BIGINT NOT NULL, bytes_out BIGINT NOT NULL);"
      "CREATE INDEX request_ended ON request (ended_ms);"
      "CREATE TABLE usage_day ("
      " day BIGINT NOT NULL, key_id TEXT NOT NULL, slug TEXT NOT NULL, model TEXT NOT NULL, endpoint TEXT NOT NULL, requests BIGINT NOT NULL,"
      " failed BIGINT NOT NULL, tokens_in BIGINT NOT NULL, tokens_cached BIGINT NOT NULL, tokens_out BIGINT NOT NULL,"
      " tokens_reasoning BIGINT NOT NULL, total_us BIGINT NOT NULL, PRIMARY KEY (day, key_id, slug, model, endpoint));" },
    { 3, "people, their sessions, and what the console sets",
      /* hash: of the passphrase, with its parameters; of a session's secret. A person who left keeps no row: the audit log has the name. */
      "CREATE TABLE person ("
      " name TEXT NOT NULL PRIMARY KEY, role BIGINT NOT NULL, enabled BIGINT NOT NULL, hash TEXT NOT NULL, created_ms BIGINT NOT NULL,"
      " seen_ms BIGINT NOT NULL, version BIGINT NOT NULL);"
      "CREATE TABLE session ("
      " id TEXT NOT NULL PRIMARY KEY, hash BLOB NOT NULL, person TEXT NOT NULL, created_ms BIGINT NOT NULL, used_ms BIGINT NOT NULL,"
      " peer TEXT NOT NULL, agent TEXT NOT NULL);"
      "CREATE TABLE setting (name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL);" },
    { 4, "what requests cost",
      /* Millionths of telemetry.currency, NULL: unknown; sources as numbered in telemetry/record.h. Nobody knows of the rows before. */
      "ALTER TABLE request ADD COLUMN cost BIGINT;"
      "ALTER TABLE request ADD COLUMN cost_source BIGINT NOT NULL DEFAULT 0;"
      "ALTER TABLE usage_day ADD COLUMN cost BIGINT NOT NULL DEFAULT 0;"
      "ALTER TABLE usage_day ADD COLUMN cost_unknown BIGINT NOT NULL DEFAULT 0;"
      "UPDATE usage_day SET cost_unknown = requests;" },
    { 5, "the secret that a key had before, for a while",
      "ALTER TABLE api_key ADD COLUMN old_hash BLOB;"
      "ALTER TABLE api_key ADD COLUMN old_until_ms BIGINT NOT NULL DEFAULT 0;" },
    { 6, "nodes, invitations to join, and the history of links",
      /* State as numbered in hub/hub.h. spki: SHA-256 of a key, in hex. bearer: hashes. labels and info are JSON. */
      "CREATE TABLE node ("
      " id TEXT NOT NULL PRIMARY KEY, name TEXT NOT NULL, state BIGINT NOT NULL, drained BIGINT NOT NULL, created_ms BIGINT NOT NULL,"
      " decided_ms BIGINT NOT NULL, decided_by TEXT NOT NULL, seen_ms BIGINT NOT NULL, labels TEXT NOT NULL, info TEXT NOT NULL, csr TEXT NOT NULL,"
      " url TEXT NOT NULL, spki TEXT NOT NULL, old_spki TEXT NOT NULL, serial TEXT NOT NULL, not_after_s BIGINT NOT NULL, bearer BLOB NOT NULL,"
      " old_bearer BLOB NOT NULL, epoch BIGINT NOT NULL);"
      "CREATE TABLE invite ("
      " id TEXT NOT NULL PRIMARY KEY, hash BLOB NOT NULL, name TEXT NOT NULL, created_ms BIGINT NOT NULL, created_by TEXT NOT NULL,"
      " expires_ms BIGINT NOT NULL, used_ms BIGINT NOT NULL, spki TEXT NOT NULL);"
      "CREATE TABLE node_event (seq BIGINT NOT NULL PRIMARY KEY, node_id TEXT NOT NULL, at_ms BIGINT NOT NULL, what TEXT NOT NULL, detail TEXT NOT NULL);"
      "CREATE INDEX node_event_node ON node_event (node_id, seq);" },
    { 7, "the head of the audit log, kept beside it",
      /* One row: number and hash of the last act. Without it nobody could tell that acts are missing at the end. */
      "CREATE TABLE audit_head (id BIGINT NOT NULL PRIMARY KEY, seq BIGINT NOT NULL, hash BLOB NOT NULL);"
      "INSERT INTO audit_head (id, seq, hash) SELECT 1, seq, hash FROM audit ORDER BY seq DESC LIMIT 1;" },
    { 8, "directives: at a hub those it gives, at a node the journal of those it got",
      /* States as numbered in hub/directive.h; times are the wall clock's; args and detail are JSON, detail may be empty. ended_ms 0: not over. */
      "CREATE TABLE directive ("
      " id TEXT NOT NULL PRIMARY KEY, node_id TEXT NOT NULL, op TEXT NOT NULL, args TEXT NOT NULL, reason TEXT NOT NULL, asked_by TEXT NOT NULL,"
      " state BIGINT NOT NULL, code TEXT NOT NULL, message TEXT NOT NULL, detail TEXT NOT NULL, issued_ms BIGINT NOT NULL, expires_ms BIGINT NOT NULL,"
      " timeout_ms BIGINT NOT NULL, ended_ms BIGINT NOT NULL);"
      "CREATE INDEX directive_node ON directive (node_id, issued_ms);"
      "CREATE INDEX directive_open ON directive (issued_ms) WHERE ended_ms = 0;"
      /* node_id: who this machine was when it got it. is_told: the hub has the result. */
      "CREATE TABLE errand ("
      " node_id TEXT NOT NULL, id TEXT NOT NULL, op TEXT NOT NULL, args TEXT NOT NULL, state BIGINT NOT NULL, code TEXT NOT NULL, message TEXT NOT NULL,"
      " detail TEXT NOT NULL, received_ms BIGINT NOT NULL, expires_ms BIGINT NOT NULL, timeout_ms BIGINT NOT NULL, started_ms BIGINT NOT NULL,"
      " ended_ms BIGINT NOT NULL, is_told BIGINT NOT NULL, PRIMARY KEY (node_id, id));" },
    { 9, "usage of nodes: at a node the cursor of what its hub has, at a hub what nodes tell",
      /* report_seq: the number of a row that the hub is to be told, 0: it is not. usage_outbox: all up to acked are at the hub. */
      "ALTER TABLE request ADD COLUMN report_seq BIGINT NOT NULL DEFAULT 0;"
      "CREATE INDEX request_report ON request (report_seq) WHERE report_seq > 0;"
      "CREATE TABLE usage_seq (id BIGINT NOT NULL PRIMARY KEY, seq BIGINT NOT NULL);"
      "INSERT INTO usage_seq (id, seq) VALUES (1, 0);"
      "CREATE TABLE usage_outbox (node_id TEXT NOT NULL PRIMARY KEY, acked BIGINT NOT NULL);"
      "CREATE TABLE node_usage ("
      " node_id TEXT NOT NULL, row_id TEXT NOT NULL, arrived_ms BIGINT NOT NULL, at_ms BIGINT NOT NULL, model TEXT NOT NULL, dialect TEXT NOT NULL,"
      " tokens_in BIGINT NOT NULL, tokens_cached BIGINT NOT NULL, tokens_out BIGINT NOT NULL, tokens_reasoning BIGINT NOT NULL, ttft_ms BIGINT NOT NULL,"
      " total_ms BIGINT NOT NULL, status BIGINT NOT NULL, PRIMARY KEY (node_id, row_id));"
      "CREATE INDEX node_usage_arrived ON node_usage (node_id, arrived_ms);"
      "CREATE TABLE node_usage_day ("
      " day BIGINT NOT NULL, node_id TEXT NOT NULL, requests BIGINT NOT NULL, failed BIGINT NOT NULL, tokens_in BIGINT NOT NULL, tokens_cached BIGINT NOT NULL,"
      " tokens_out BIGINT NOT NULL, tokens_reasoning BIGINT NOT NULL, total_us BIGINT NOT NULL, PRIMARY KEY (day, node_id));" },
    { 10, "whose certificate is of which root, and what it was seen with",
      /* ca: the authority that signed the last one; shown: the serial it came with last; skipped: the new authority of a rotation that does not
       * wait for it; void_ms: when its certificate was made void. Of an invitation: the key its line names (hex), and the node it is for. */
      "ALTER TABLE node ADD COLUMN ca TEXT NOT NULL DEFAULT '';"
      "ALTER TABLE node ADD COLUMN not_before_s BIGINT NOT NULL DEFAULT 0;"
      "ALTER TABLE node ADD COLUMN trust_sequence BIGINT NOT NULL DEFAULT 0;"
      "ALTER TABLE node ADD COLUMN shown TEXT NOT NULL DEFAULT '';"
      "ALTER TABLE node ADD COLUMN renew_before_s BIGINT NOT NULL DEFAULT 0;"
      "ALTER TABLE node ADD COLUMN skipped TEXT NOT NULL DEFAULT '';"
      "ALTER TABLE node ADD COLUMN void_ms BIGINT NOT NULL DEFAULT 0;"
      "UPDATE node SET shown = serial WHERE epoch > 0;"
      "ALTER TABLE invite ADD COLUMN pin TEXT NOT NULL DEFAULT '';"
      "ALTER TABLE invite ADD COLUMN node_id TEXT NOT NULL DEFAULT '';" },
    { 11, "requests for certificates that wait for who signs them",
      /* One per node, and one of the hub's own (node_id empty). chain: PEM, when it is signed. */
      "CREATE TABLE cert_request ("
      " node_id TEXT NOT NULL PRIMARY KEY, id TEXT NOT NULL, spki TEXT NOT NULL, csr TEXT NOT NULL, peer TEXT NOT NULL, created_ms BIGINT NOT NULL,"
      " chain TEXT NOT NULL);" },
    { 12, "leaves: at a node what waits for its hub, at a hub whose directives and usage are a leaf's",
      /* no: the order in which they came. payload and via are JSON, as they go on the link; at_ms is the wall clock's. */
      "CREATE TABLE leaf_letter ("
      " node_id TEXT NOT NULL, no BIGINT NOT NULL, agent_id TEXT NOT NULL, at_ms BIGINT NOT NULL, kind TEXT NOT NULL, msg_id TEXT NOT NULL,"
      " re TEXT NOT NULL, ts TEXT NOT NULL, via TEXT NOT NULL, payload TEXT NOT NULL, PRIMARY KEY (node_id, no));"
      /* Empty: the node's own. */
      "ALTER TABLE directive ADD COLUMN agent_id TEXT NOT NULL DEFAULT '';"
      "ALTER TABLE node_usage ADD COLUMN agent_id TEXT NOT NULL DEFAULT '';" },
    { 0 },
};
