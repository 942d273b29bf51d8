/* needs: outputs, saturated_16 */
/* Sums in 16 bits with 12 behind the point. */
INLINE void brought(const struct outputs *o, int32_t first, const int32_t *sums, int32_t count, int16_t *gates)
{
    int32_t i;
    for (i = first; i < first + count && i < o->count; i++)
        gates[i] = saturated_16(rescaled(sums[i - first], o->multipliers[i], o->exponents[i]));
}

/* What gates make of codes: of `count` rows from one on, whose factors come again and again. Gives the weights of the
   next ones. */
INLINE const uint32_t *gates_of(
    const struct outputs *o, const uint32_t *w, int32_t row, const int8_t *x, int32_t lift, int16_t *gates, int32_t bits)
{
    int32_t first, sums[4];
    for (first = 0; first + 2 < o->count; first += 4) {
        w = sums_of(o, w, row + first, x, lift, sums, bits, 2);
        brought(o, first, sums, 4, gates);
    }
    if (first < o->count) {
        w = sums_of(o, w, row + first, x, lift, sums, bits, 1);
        brought(o, first, sums, 2, gates);
    }
    return w;
}
