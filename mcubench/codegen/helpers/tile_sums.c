/* needs: compiler */
/* Sums at four positions, two in a word of the tile, which ends with a number to be added to each. */
INLINE void tile_sums(const uint32_t *tile, const uint32_t *w, int32_t taps, int32_t bits, uint32_t *sums)
{
    const int32_t each = 32 / bits;
    int32_t tap, i;
    for (i = 0; i < 4; i++)
        sums[i] = tile[2 * taps + i];
    for (tap = 0; tap < taps; tap++) {
        const uint32_t weight = (w[tap / each] >> (bits * (tap % each))) & ((1u << bits) - 1u);
        for (i = 0; i < 4; i++)
            sums[i] += weight * (i % 2 ? tile[2 * tap + i / 2] >> 16 : tile[2 * tap + i / 2] & 0xFFFFu);
    }
}
