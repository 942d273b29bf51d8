/* needs: dot, rescaled, reduced, clamped */
/* The outputs of a layer at one position: fours, and at the end perhaps a pair, of which `count` are wanted. */
struct outputs {
    const uint32_t *weights;
    const int32_t *biases, *multipliers;
    const int8_t *exponents;
    int32_t count, taps, zero_point, low, high;
};

/* Most layers are plain: every factor is below 1 / 2, and all codes are possible. */
INLINE int8_t output_code(const struct outputs *o, int32_t index, int32_t sum, int32_t plain)
{
    if (plain)
        return clamped(reduced(sum, o->multipliers[index], o->exponents[index]) + o->zero_point, -128, 127);
    return clamped(rescaled(sum, o->multipliers[index], o->exponents[index]) + o->zero_point, o->low, o->high);
}

/* What the lifted weights add to a sum. */
INLINE int32_t lift_of(const struct outputs *o, const int8_t *x, int32_t bits)
{
    int32_t sum = 0, tap;
    for (tap = 0; tap < o->taps; tap++)
        sum += x[tap];
    return sum * (1 << (bits - 1));
}

/* The sums of two outputs a pair, and the weights of the next ones. */
INLINE const uint32_t *sums_of(const struct outputs *o, const uint32_t *w, int32_t index, const int8_t *x, int32_t lift,
    int32_t *sums, int32_t bits, int32_t pairs)
{
    const int32_t each = 16 / bits / pairs;
    int32_t i;
    for (i = 0; i < 2 * pairs; i++)
        sums[i] = o->biases[index + i] - (i % 2 ? 0 : lift);
    dot(w, x, o->taps, sums, bits, pairs);
    return w + (o->taps + each - 1) / each;
}

INLINE void outputs_of(const struct outputs *o, const int8_t *x, int8_t *y, int32_t bits, int32_t plain)
{
    const uint32_t *w = o->weights;
    const int32_t lift = lift_of(o, x, bits);
    int32_t index, i, sums[4];
    for (index = 0; index + 2 < o->count; index += 4) {
        w = sums_of(o, w, index, x, lift, sums, bits, 2);
        for (i = 0; i < 4 && index + i < o->count; i++)
            y[index + i] = output_code(o, index + i, sums[i], plain);
    }
    if (index < o->count) {
        sums_of(o, w, index, x, lift, sums, bits, 1);
        for (i = 0; i < 2 && index + i < o->count; i++)
            y[index + i] = output_code(o, index + i, sums[i], plain);
    }
}
