/* access/key.h - private to access: the text of an API key.
 *
 * sk-drv- <id, 12> <secret, 43> <check, 6>, all of 0-9A-Za-z. The id is public and finds the row; the secret has 256 bits; the
 * check tells a mistyped key from a wrong one before anything is looked up. Only the hash of the whole text is ever stored:
 * at this entropy a fast one is enough (threat model C-30). Pure functions; any thread. */
#ifndef DROVER_ACCESS_KEY_H
#define DROVER_ACCESS_KEY_H

#include <stdint.h>

#include "base/sv.h"

enum {
    KEY_ID = 12,
    KEY_SECRET = 43,
    KEY_CHECK = 6,
    KEY_TEXT = 7 + KEY_ID + KEY_SECRET + KEY_CHECK, /* bytes without a NUL */
    KEY_HASH = 32,
};

enum key_shape {
    KEY_OURS,    /* complete, the check is right */
    KEY_DAMAGED, /* begins as ours do, but was cut, mistyped or made up */
    KEY_FOREIGN, /* another vendor's, or no key at all */
};

/* A new key; wipe text after use. */
void key_make(char text[static KEY_TEXT + 1]);
/* The same with the id of a key that there is: another secret for it. */
void key_renew(struct sv id, char text[static KEY_TEXT + 1]);
/* *ret_id (a view into text) is set for KEY_OURS. */
enum key_shape key_read(struct sv text, struct sv *ret_id);
void key_hash(struct sv text, uint8_t hash[static KEY_HASH]);

#endif
