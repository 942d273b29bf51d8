/* needs: rescaled, clamped */
/* Codes by two roundings, of layers that have no factors which do without. */
struct exact {
    const uint32_t *biases;
    const int32_t *multipliers;
    const int8_t *exponents;
    int32_t count, pooled, zero_point, low, high;
};

/* Codes of sums at four positions, of which the largest of `pooled` counts. */
APART void exact_codes(const struct exact *o, const int32_t *sums, int8_t *y)
{
    int32_t index, i, k;
    for (index = 0; index < o->count; index++, sums += 4)
        for (i = 0; i < 4; i += o->pooled) {
            int32_t sum = sums[i];
            for (k = 1; k < o->pooled; k++)
                if (sums[i + k] > sum)
                    sum = sums[i + k];
            sum = (int32_t)((uint32_t)sum + o->biases[index]);
            sum = rescaled(sum, o->multipliers[index], o->exponents[index]) + o->zero_point;
            y[i / o->pooled * o->count + index] = clamped(sum, o->low, o->high);
        }
}
