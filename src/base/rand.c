#include "base/rand.h"

#include <sodium.h>

void rand_bytes(void *to, size_t n) {
    randombytes_buf(to, n);
}

uint32_t rand_below(uint32_t below) {
    return below ? randombytes_uniform(below) : 0;
}

void rand_text(char *text, size_t n) {
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    for (size_t i = 0; i < n; i++)
        text[i] = digits[randombytes_uniform(62)];
    text[n] = '\0';
}
