/* needs: outputs */
INLINE int16_t saturated_16(int32_t x) { return (int16_t)(x > 32767 ? 32767 : x < -32768 ? -32768 : x); }

/* What a gate makes of codes, in 16 bits with 12 behind the point: put into `sums`, or added to them. */
INLINE void gate_of(const struct outputs *o, const int8_t *x, int16_t *sums, int32_t bits, int32_t added)
{
    const uint32_t *w = o->weights;
    const int32_t lift = lift_of(o, x, bits);
    int32_t index, i, found[4];
    for (index = 0; index < o->count; index += 4) {
        w = sums_of(o, w, index, x, lift, found, bits, index + 2 < o->count ? 2 : 1);
        for (i = 0; i < 4 && index + i < o->count; i++) {
            const int16_t sum = saturated_16(rescaled(found[i], o->multipliers[index + i], o->exponents[index + i]));
            sums[index + i] = added ? saturated_16(sums[index + i] + sum) : sum;
        }
    }
}
