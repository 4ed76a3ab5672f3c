/* base/log.h - one event a line, written where someone can act on it.
 *
 * log_event formats at once into a bounded ring (the oldest line gives way, and how many did is told); a thread of its own
 * writes the ring out, so a slow disk or terminal never holds the caller. Human text on a terminal and in the journal, one
 * JSON object per line elsewhere. Control bytes in values are made visible. Any thread.
 *
 *     log_event(LOG_INFO, "endpoint up", F_SV("endpoint", name), F_U64("models", n), F_STR("kind", kind)); */
#ifndef DROVER_BASE_LOG_H
#define DROVER_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/sv.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_LEVELS };
/* LOG_JOURNAL: text behind a syslog priority, "<4>", without time and level (sd-daemon(3)); what LOG_AUTO and LOG_TEXT are
 * when systemd connected the output to the journal. */
enum log_format { LOG_AUTO, LOG_TEXT, LOG_JSON, LOG_JOURNAL };

enum {
    LOG_LINE_MAX = 8192,   /* bytes of one line; longer ones are cut with a mark */
    LOG_RING_LINES = 4096, /* lines kept for readers */
    LOG_RING_BYTES = 2 << 20,
};

struct log_field {
    const char *key;
    enum { LOG_F_SV, LOG_F_I64, LOG_F_U64, LOG_F_F64 } kind;
    union {
        struct sv sv;
        int64_t i;
        uint64_t u;
        double f;
    };
};

#define F_SV(k, v) ((struct log_field){ .key = (k), .kind = LOG_F_SV, .sv = (v) })
#define F_STR(k, v) ((struct log_field){ .key = (k), .kind = LOG_F_SV, .sv = sv_of(v) })
#define F_I64(k, v) ((struct log_field){ .key = (k), .kind = LOG_F_I64, .i = (v) })
#define F_U64(k, v) ((struct log_field){ .key = (k), .kind = LOG_F_U64, .u = (v) })
#define F_F64(k, v) ((struct log_field){ .key = (k), .kind = LOG_F_F64, .f = (v) })

#define log_event(level, ...) \
    do { \
        if ((int)(level) <= log_level_now()) \
            LOG_EVENT_(level, __VA_ARGS__, ((struct log_field){ .key = NULL })); \
    } while (0)
#define LOG_EVENT_(level, text, ...) log_write(level, text, (const struct log_field[]){ __VA_ARGS__ })

int log_level_now(void);
void log_set_level(enum log_level level);
/* fields end with a NULL key. */
void log_write(enum log_level level, const char *text, const struct log_field *fields);

/* Starts the writer on fd (borrowed until log_stop). Before it, and after log_stop, lines go to stderr directly. */
bool log_start(int fd, enum log_format format);
/* Writes out what the ring holds, then ends the thread. */
void log_stop(void);

bool log_level_parse(struct sv text, enum log_level *ret_level);
const char *log_level_name(enum log_level level);

/* Reading back: copies the first line with a number >= *seq (JSON form, no LF) into line; sets *seq to the number after
 * it, *ret_missed to how many were lost before it. 0 when there is none yet. */
size_t log_read(uint64_t *seq, char line[static LOG_LINE_MAX], uint64_t *ret_missed);
/* The number the next line will get, less `back` lines that are still there. */
uint64_t log_seq(uint64_t back);

#endif
