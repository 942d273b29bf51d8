/* needs: dsp */
/* The sums of pairs of outputs over words of codes, from what they start with. Second outputs' weights of fewer than 8
   bits are lifted, which is taken off. Gives the weights of the next ones. */
INLINE const uint32_t *pair_run(
    const uint32_t *w, const uint32_t *x, int32_t words, int32_t pairs, int32_t bits, int32_t lifted, int32_t *sums)
{
    const uint32_t fields = ((1u << bits) - 1u) * 0x01010101u << (8 - bits);
    const int32_t each = 8 / bits, stored = 4 / each;
    uint32_t both[2] = { w[0], pairs > 1 ? w[2] : 0 }, second[2] = { w[1], pairs > 1 ? w[3] : 0 };
    int32_t i, p;
    w += 2 * pairs;
    for (i = 0; i < words; i++)
        for (p = 0; p < pairs; p++) {
            const uint32_t *const group = w + i / 4 * stored * pairs;
            const uint32_t word = bits == 8 ? w[i * pairs + p] : group[p * stored + i % 4 / each] << (i % each * bits) & fields;
            both[p] = products(word, x[i], both[p]);
            second[p] = products(bits == 8 ? even_bytes(word) : word & 0x00ff00ffu, x[i], second[p]);
        }
    for (p = 0; p < pairs; p++) {
        sums[2 * p] = as_signed(both[p] - second[p]) >> (16 - bits);
        sums[2 * p + 1] = as_signed(second[p] - (uint32_t)lifted) >> (8 - bits);
    }
    return w + words * pairs / each;
}
