/* fuzz/replay.c - runs a fuzz target over every file of its corpus, as an ordinary test in every build. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int run(const char *path) {
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, 0, SEEK_END) != 0)
        return fprintf(stderr, "cannot read %s\n", path), 1;
    long size = ftell(f);
    rewind(f);
    uint8_t *exact = malloc(size ? (size_t)size : 1); /* exactly its size: ASan sees one byte too many */
    if (!exact || fread(exact, 1, (size_t)size, f) != (size_t)size)
        return fprintf(stderr, "cannot read %s\n", path), 1;
    fclose(f);
    LLVMFuzzerTestOneInput(exact, (size_t)size);
    free(exact);
    return 0;
}

int main(int argc, char **argv) {
    DIR *dir = argc > 1 ? opendir(argv[1]) : NULL;
    int n = 0, bad = 0;
    if (!dir)
        return fprintf(stderr, "usage: %s CORPUS_DIR\n", argv[0]), 2;
    for (struct dirent *e; (e = readdir(dir));) {
        char path[4096];
        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", argv[1], e->d_name);
        bad += run(path);
        n++;
    }
    closedir(dir);
    printf("%d inputs\n", n);
    return bad || n == 0;
}
