/* needs: code_of */
struct rule {
    const uint32_t *factors;
    int32_t count, pooled, split, shift, zero_point, low, high;
};

/* Codes of sums at four positions, of which the largest of `pooled` counts. */
APART void codes_of(const struct rule *o, const int32_t *sums, int8_t *y)
{
    const uint32_t *f = o->factors;
    int32_t index, i, k;
    for (index = 0; index < o->count; index++, sums += 4, f += 3)
        for (i = 0; i < 4; i += o->pooled) {
            int32_t sum = sums[i], code;
            for (k = 1; k < o->pooled; k++)
                if (sums[i + k] > sum)
                    sum = sums[i + k];
            sum += (int32_t)f[0];
            code = sum < 0 ? o->zero_point - (int32_t)steps_of((uint32_t)-sum, f, o->split, o->shift)
                           : o->zero_point + (int32_t)steps_of((uint32_t)sum, f, o->split, o->shift);
            y[i / o->pooled * o->count + index] = (int8_t)(code < o->low ? o->low : code > o->high ? o->high : code);
        }
}
