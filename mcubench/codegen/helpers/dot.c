/* needs: compiler */
/* Adds to the sums of four outputs, or of two, products of bytes with their weights. A word rotated by a multiple of
   2 bits, all but its ends masked, is a pair of weights: one that is lifted by 2^(bits - 1) at the low end, and a signed
   one at the high end, so that one product with x is two, far enough apart for the sums of 256 taps. The pairs of a word
   are those of one tap, and then of the next. */
INLINE uint32_t rotated(uint32_t word, int32_t by) { return (word >> by) | (word << ((32 - by) & 31)); }

#if LONG_SUMS
INLINE void pair_products(uint32_t word, const int8_t *x, int32_t taps, int64_t *both, int32_t bits, int32_t pairs)
{
    const uint32_t ends = ((1u << bits) - 1u) | ~(0xFFFFFFFFu >> bits);
    int32_t i;
    for (i = 0; i < taps * pairs; i++)
        both[i % pairs] += (int64_t)x[i / pairs] * (int32_t)(rotated(word, 2 * bits * i) & ends);
}

INLINE void dot(const uint32_t *w, const int8_t *x, int32_t taps, int32_t *sums, int32_t bits, int32_t pairs)
{
    const int32_t each = 16 / bits / pairs;
    int32_t i;
    while (taps > 0) {
        int32_t now = taps < 256 ? taps : 256;
        int64_t both[2] = { 0, 0 };
        taps -= now;
        for (; now >= 4 * each; now -= 4 * each, x += 4 * each, w += 4)
            for (i = 0; i < 4; i++)
                pair_products(w[i], x + each * i, each, both, bits, pairs);
        for (; now >= each; now -= each, x += each)
            pair_products(*w++, x, each, both, bits, pairs);
        if (now > 0)
            pair_products(*w, x, now, both, bits, pairs);
        for (i = 0; i < pairs; i++) {
            const int32_t low = (int32_t)((uint32_t)both[i] << bits) >> bits;
            sums[2 * i] += low;
            sums[2 * i + 1] += (int32_t)((both[i] - low) >> (32 - bits));
        }
    }
}
#else
/* Fields are cut out where they lie, bytes are loaded: small cores have no rotation by a constant, and few registers. */
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define LOADED(bits) ((bits) == 8)
#else
#define LOADED(bits) 0
#endif

INLINE int32_t lifted_field(const uint32_t *word, int32_t first, int32_t bits)
{
    return LOADED(bits) ? ((const uint8_t *)word)[first / 8] : (int32_t)((*word >> first) & ((1u << bits) - 1u));
}

INLINE int32_t signed_field(const uint32_t *word, int32_t first, int32_t bits)
{
    return LOADED(bits) ? ((const int8_t *)word)[first / 8] : (int32_t)(*word << (32 - bits - first)) >> (32 - bits);
}

INLINE void pair_products(const uint32_t *word, const int8_t *x, int32_t taps, int32_t *sums, int32_t bits, int32_t pairs)
{
    int32_t i;
    for (i = 0; i < taps * pairs; i++) {
        const int32_t value = x[i / pairs], turn = 2 * bits * i;
        sums[i % pairs * 2] += value * lifted_field(word, turn, bits);
        sums[i % pairs * 2 + 1] += value * signed_field(word, (turn - bits) & 31, bits);
    }
}

INLINE void dot(const uint32_t *w, const int8_t *x, int32_t taps, int32_t *sums, int32_t bits, int32_t pairs)
{
    const int32_t each = 16 / bits / pairs, left = taps % each;
    const int8_t *const end = x + (taps - left);
    int32_t own[4] = { sums[0], sums[1], pairs > 1 ? sums[2] : 0, pairs > 1 ? sums[3] : 0 }, i;
    for (; x != end; x += each)
        pair_products(w++, x, each, own, bits, pairs);
    if (left > 0)
        pair_products(w, x, left, own, bits, pairs);
    for (i = 0; i < 2 * pairs; i++)
        sums[i] = own[i];
}
#endif
