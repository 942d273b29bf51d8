/* needs: compiler */
/* Bits of entropy of 256 levels between 0 and 1 of 2^bits numbers; terms are c log2 c. */
APART float entropy_of(const float *x, int32_t bits, const float *terms, uint8_t *counts)
{
    const int32_t n = (int32_t)1 << bits;
    float total = 0.0f;
    int32_t i;
    for (i = 0; i < 256; i++)
        counts[i] = 0;
    for (i = 0; i < n; i++) {
        const float clipped = x[i] > 0.0f ? x[i] < 1.0f ? x[i] : 1.0f : 0.0f;
        counts[(int32_t)(255.0f * clipped + 0.5f)]++;
    }
    for (i = 0; i < 256; i++)
        if (counts[i] > 1)
            total += terms[counts[i]];
    return (float)bits - total / (float)n;
}
