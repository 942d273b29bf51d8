/* needs: dsp */
/* Weights of four channels, each packed into bytes, lifted by a power of 2, as pairs of taps, and some words behind. */
APART void channel_weights(const uint8_t *packed, const uint8_t *lifts, const uint32_t *words, const uint8_t *order,
    int32_t pairs, int32_t behind, int32_t taps, int32_t bits, uint32_t *into)
{
    int32_t channel, i;
    ROLLED
    for (channel = 0; channel < 4; channel++) {
        int16_t weights[10];
        uint32_t byte = 0;
        weights[taps] = 0;
        ROLLED
        for (i = 0; i < taps; i++, byte >>= bits) {
            if (i % (8 / bits) == 0)
                byte = *packed++;
            /* Its sign is the uppermost of so many bits. */
            weights[i] = (int16_t)((int32_t)((byte ^ (1u << (bits - 1))) & ((1u << bits) - 1u)) - (1 << (bits - 1)));
            weights[i] = (int16_t)(weights[i] * (1 << *lifts));
        }
        ROLLED
        for (i = 0; i < pairs; i++)
            *into++ = halves(weights[order[2 * i]], weights[order[2 * i + 1]]);
        ROLLED
        for (i = 0; i < behind; i++)
            *into++ = *words++;
        lifts++;
    }
}
