/* Runs features on the host: what to run in, and samples; rows out. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct features {
    int (*reset)(void *state);
    int (*push)(void *state, void *scratch, const int16_t *sample, float *features);
    int (*push_f32)(void *state, void *scratch, const float *sample, float *features);
    int32_t state, scratch, count;
};

extern const struct features all_features[];

int main(void)
{
    int32_t request[4]; /* which, whether samples are int16, how many, zeros before them */
    while (fread(request, sizeof request, 1, stdin) == 1) {
        const struct features *f = &all_features[request[0]];
        /* Blocks of just their sizes, beyond which the sanitizers see. */
        void *state = malloc((size_t)f->state), *scratch = malloc((size_t)(f->scratch + (f->scratch == 0)));
        float *row = (float *)malloc(4 * (size_t)f->count), sample[6] = { 0 };
        int16_t raw[6];
        int32_t i;
        memset(state, 0x5A, (size_t)f->state);
        if (f->reset(state) != 0)
            return 3;
        for (i = -request[3]; i < request[2]; i++) {
            int found;
            memset(scratch, 0x5A, (size_t)f->scratch);
            if (i >= 0 && (request[1] ? fread(raw, sizeof raw, 1, stdin) : fread(sample, sizeof sample, 1, stdin)) != 1)
                return 4;
            found = i >= 0 && request[1] ? f->push(state, scratch, raw, row) : f->push_f32(state, scratch, sample, row);
            if (found < 0)
                return 5;
            if (found)
                fwrite(row, 4, (size_t)f->count, stdout);
        }
        free(state), free(scratch), free(row);
    }
    return 0;
}
