/* bench/reply.c - see reply.h: head -> body by length or in chunks -> lines or document -> verdict. */
#include "reply.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { S_HEAD, S_LENGTH, S_CHUNK_LINE, S_CHUNK, S_CHUNK_END, S_TRAILER, S_END };

void reply_start(struct reply *r, enum reply_api api, bool stream, unsigned want_deltas) {
    memset(r, 0, offsetof(struct reply, buf)); /* the two buffers are written before they are read */
    r->api = api;
    r->stream = stream;
    r->want_deltas = want_deltas;
}

static enum reply_result bad(struct reply *r, const char *fault) {
    r->fault = fault;
    return REPLY_BAD;
}

static bool has(const char *data, size_t n, const char *what) {
    return memmem(data, n, what, strlen(what));
}

/* " t00042" behind the token: each delta once and in order. */
static bool take_delta(struct reply *r, const char *at, const char *end) {
    unsigned number = 0;
    if (r->finished || end - at < 6)
        return false;
    for (int i = 0; i < 5; i++)
        number = number * 10 + (unsigned)(at[i] - '0');
    return number == r->deltas++;
}

static const struct {
    const char *token, *end, *usage; /* before a delta's number; in the last event; in a whole reply */
} marks[] = {
    [REPLY_MESSAGES] = { "\"text\":\" t", "\"type\":\"message_stop\"", "\"output_tokens\":22" },
    [REPLY_OLLAMA] = { "\"content\":\" t", "\"done\":true", "\"eval_count\":22" },
    [REPLY_RESPONSES] = { "\"delta\":\" t", "\"type\":\"response.completed\"", "\"total_tokens\":42" },
};

/* The same for the other APIs: events without a delta may come between. */
static bool take_other_line(struct reply *r, const char *line, size_t n) {
    const char *token = marks[r->api].token, *at;
    if (!n || line[0] == ':' || (n > 7 && memcmp(line, "event: ", 7) == 0))
        return true;
    if (r->done)
        return false;
    if (has(line, n, marks[r->api].end))
        return r->done = r->deltas == r->want_deltas;
    at = memmem(line, n, token, strlen(token));
    if (!at)
        return true;
    r->events++;
    return take_delta(r, at + strlen(token), line + n);
}

/* One line of an event stream, without its end. */
static bool take_line(struct reply *r, const char *line, size_t n) {
    if (r->api != REPLY_CHAT)
        return take_other_line(r, line, n);
    if (!n || line[0] == ':') /* the blank line between two events, or a comment of the proxy's */
        return true;
    static const char prefix[] = "data: ", token[] = "\"content\":\" t";
    if (n < sizeof prefix || memcmp(line, prefix, sizeof prefix - 1) != 0)
        return false;
    r->events++;
    if (r->done)
        return false;
    if (n == sizeof "data: [DONE]" - 1 && memcmp(line, "data: [DONE]", n) == 0)
        return r->done = r->finished;
    const char *at = memmem(line, n, token, sizeof token - 1);
    if (at)
        return line[n - 1] == '}' && take_delta(r, at + sizeof token - 1, line + n);
    if (r->lenient && has(line, n, "\"role\":\"assistant\",\"content\":\"\""))
        return true;
    if (has(line, n, "\"finish_reason\":\"stop\"") && r->deltas == r->want_deltas && !r->finished)
        return r->finished = true;
    return false; /* a usage chunk, which this client never asks for, is a fault too */
}

static bool take_events(struct reply *r, const char *data, size_t n) {
    while (n) {
        const char *end = memchr(data, '\n', n);
        size_t part = end ? (size_t)(end - data) : n;
        if (!end || r->n) { /* the line is spread over several reads: put it together */
            if (r->n + part > REPLY_LINE_MAX)
                return false;
            memcpy(r->buf + r->n, data, part);
            r->n += part;
        }
        if (!end)
            return true;
        if (!take_line(r, r->n ? r->buf : data, r->n ? r->n : part))
            return false;
        r->n = 0;
        data = end + 1;
        n -= part + 1;
    }
    return true;
}

static bool take_body(struct reply *r, const char *data, size_t n) {
    if (r->stream)
        return take_events(r, data, n);
    if (r->n + n > REPLY_BODY_MAX)
        return false;
    memcpy(r->buf + r->n, data, n);
    r->n += n;
    return true;
}

static enum reply_result verdict(struct reply *r) {
    if (!r->stream)
        return r->n && r->buf[0] == '{' && r->buf[r->n - 1] == '}' &&
                       has(r->buf, r->n, r->api == REPLY_CHAT ? "\"total_tokens\":42}}" : marks[r->api].usage)
                   ? REPLY_DONE
                   : bad(r, "the document is not the one that was sent");
    return r->done && !r->n && r->deltas == r->want_deltas ? REPLY_DONE : bad(r, "the stream ended early");
}

static bool take_field(struct reply *r, const char *line) {
    const char *colon = strchr(line, ':');
    if (!colon)
        return false;
    const char *value = colon + 1 + strspn(colon + 1, " \t");
    size_t name = (size_t)(colon - line);
    if (name == 14 && strncasecmp(line, "content-length", name) == 0) {
        r->state = S_LENGTH;
        r->left = strtoull(value, NULL, 10);
    } else if (name == 17 && strncasecmp(line, "transfer-encoding", name) == 0) {
        r->chunked = strcasecmp(value, "chunked") == 0;
    } else if (name == 10 && strncasecmp(line, "connection", name) == 0) {
        r->close = strcasecmp(value, "close") == 0;
    }
    return true;
}

/* The head is in buf. Says how the body is framed by moving to the state that reads it. */
static enum reply_result take_head(struct reply *r) {
    r->buf[r->n - 2] = 0; /* the blank line is not a field */
    r->state = S_END;
    char *rest = NULL, *line = strtok_r(r->buf, "\r\n", &rest);
    if (!line || strncmp(line, "HTTP/1.1 ", 9) != 0)
        return bad(r, "not an HTTP/1.1 reply");
    r->status = atoi(line + 9);
    if (r->status != 200)
        return bad(r, "status is not 200");
    while ((line = strtok_r(NULL, "\r\n", &rest)))
        if (!take_field(r, line))
            return bad(r, "a header line without a colon");
    r->n = 0;
    if (r->chunked)
        r->state = S_CHUNK_LINE;
    else if (r->state != S_LENGTH)
        return bad(r, "neither Content-Length nor chunked");
    return REPLY_MORE;
}

/* Collects a short line of the framing; true when it is complete (in r->line, NUL-ended, without CR LF). */
static bool frame_line(struct reply *r, char c) {
    if (c == '\n') {
        r->line[r->n_line && r->line[r->n_line - 1] == '\r' ? r->n_line - 1 : r->n_line] = 0;
        r->n_line = 0;
        return true;
    }
    if (r->n_line < sizeof r->line - 1)
        r->line[r->n_line++] = c;
    return false;
}

enum reply_result reply_feed(struct reply *r, const char *data, size_t n) {
    const char *end = data + n;
    while (data < end) {
        size_t have = (size_t)(end - data), part = have < r->left ? have : (size_t)r->left;
        switch (r->state) {
        case S_HEAD: { /* to the first blank line, which may be cut anywhere */
            size_t before = r->n, room = sizeof r->buf - r->n, take = have < room ? have : room;
            memcpy(r->buf + r->n, data, take);
            r->n += take;
            size_t from = before > 3 ? before - 3 : 0;
            char *blank = memmem(r->buf + from, r->n - from, "\r\n\r\n", 4);
            if (!blank && r->n == sizeof r->buf)
                return bad(r, "the head is too long");
            if (!blank)
                return REPLY_MORE;
            r->n = (size_t)(blank - r->buf) + 4;
            data += r->n - before;
            if (take_head(r) == REPLY_BAD)
                return REPLY_BAD;
            break;
        }
        case S_LENGTH:
        case S_CHUNK:
            if (!take_body(r, data, part))
                return bad(r, "a piece is missing, changed or out of order");
            data += part;
            r->left -= part;
            if (!r->left)
                r->state = r->state == S_LENGTH ? S_END : S_CHUNK_END;
            break;
        case S_CHUNK_END: /* CR LF after a chunk's data */
            if (frame_line(r, *data++)) {
                if (r->line[0])
                    return bad(r, "a chunk is longer than it says");
                r->state = S_CHUNK_LINE;
            }
            break;
        case S_CHUNK_LINE:
            if (frame_line(r, *data++)) {
                char *rest;
                r->left = strtoull(r->line, &rest, 16);
                if (rest == r->line)
                    return bad(r, "a chunk without a size");
                r->state = r->left ? S_CHUNK : S_TRAILER;
            }
            break;
        case S_TRAILER:
            if (frame_line(r, *data++) && !r->line[0])
                r->state = S_END;
            break;
        default:
            return bad(r, "bytes after the end of the reply");
        }
    }
    return r->state == S_END ? verdict(r) : REPLY_MORE;
}
