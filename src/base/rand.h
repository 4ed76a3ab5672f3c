/* base/rand.h - the only door to random values: the system's generator through libsodium. Any thread. */
#ifndef DROVER_BASE_RAND_H
#define DROVER_BASE_RAND_H

#include <stddef.h>
#include <stdint.h>

void rand_bytes(void *to, size_t n);
/* Uniform in [0, below); 0 when below is 0. */
uint32_t rand_below(uint32_t below);
/* n characters of 0-9A-Za-z and a NUL: text must hold n + 1 bytes. */
void rand_text(char *text, size_t n);

#endif
