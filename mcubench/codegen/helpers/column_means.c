/* needs: dsp */
/* Sums of each of four channels over so many positions, at most 256: of the even ones in a word, and of the odd ones. */
#if DSP_ASSEMBLY
/* r0: x, r1: channels, r2: count, r3: sums, r4, r5: those, r6: codes */
NAKED void channel_sums(const int8_t *x, int32_t channels, int32_t count, uint32_t *sums)
{
    __asm__ volatile(
        ".syntax unified\n"
        "push {r4-r6}\n"
        "mov r4, #0\n"
        "mov r5, #0\n"
        "tst r2, #1\n"
        "beq 1f\n"
        "ldr r6, [r0]\n"
        "add r0, r0, r1\n"
        "sxtab16 r4, r4, r6\n"
        "sxtab16 r5, r5, r6, ror #8\n"
        "1:\n"
        "lsrs r2, r2, #1\n"
        "beq 3f\n"
        "2:\n"
        "ldr r6, [r0]\n"
        "sxtab16 r4, r4, r6\n"
        "sxtab16 r5, r5, r6, ror #8\n"
        "ldr r6, [r0, r1]\n"
        "add r0, r0, r1, lsl #1\n"
        "sxtab16 r4, r4, r6\n"
        "sxtab16 r5, r5, r6, ror #8\n"
        "subs r2, r2, #1\n"
        "bne 2b\n"
        "3:\n"
        "strd r4, r5, [r3]\n"
        "pop {r4-r6}\n"
        "bx lr\n");
}
#else
APART void channel_sums(const int8_t *x, int32_t channels, int32_t count, uint32_t *sums)
{
    int32_t s[4] = { 0, 0, 0, 0 }, i;
    ROLLED
    for (; count > 0; count--, x += channels)
        ROLLED
        for (i = 0; i < 4; i++)
            s[i] += x[i];
    sums[0] = halves(s[0], s[2]), sums[1] = halves(s[1], s[3]);
}
#endif

/* Their quotients by the count, rounded to nearest, halves away from 0. */
APART void column_means(const int8_t *x, int8_t *y, int32_t channels, int32_t count)
{
    int32_t channel, i;
    ROLLED
    for (channel = 0; channel < channels; channel += 4) {
        uint32_t sums[2];
        channel_sums(x + channel, channels, count, sums);
        ROLLED
        for (i = 0; i < 4; i++) {
            const int32_t sum = i & 2 ? high_half(sums[i & 1]) : low_half(sums[i & 1]);
            y[channel + i] = (int8_t)((sum > 0 ? sum + count / 2 : sum - count / 2) / count);
        }
    }
}
