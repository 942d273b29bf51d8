/* needs: outputs */
/* The largest sums at several positions, which are rescaled together: rescaling keeps their order. */
INLINE void maxima_of(const struct outputs *o, const int8_t *x, int32_t *largest, int32_t is_first, int32_t bits)
{
    const uint32_t *w = o->weights;
    const int32_t lift = lift_of(o, x, bits);
    int32_t index, i, sums[4];
    for (index = 0; index + 2 < o->count; index += 4) {
        w = sums_of(o, w, index, x, lift, sums, bits, 2);
        for (i = 0; i < 4; i++)
            if (is_first || sums[i] > largest[index + i])
                largest[index + i] = sums[i];
    }
    if (index < o->count) {
        sums_of(o, w, index, x, lift, sums, bits, 1);
        for (i = 0; i < 2; i++)
            if (is_first || sums[i] > largest[index + i])
                largest[index + i] = sums[i];
    }
}
