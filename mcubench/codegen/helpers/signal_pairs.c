/* needs: dsp */
/* Four channels of a signal as pairs of columns, a word of each channel. */
#if DSP_ASSEMBLY
/* r0: x, r1: into, r2: count of pairs, r3: channels, r4..r9: codes */
NAKED void inner_pairs(const int8_t *x, uint32_t *into, int32_t pairs, int32_t channels)
{
    __asm__ volatile(
        ".syntax unified\n"
        "push {r4-r9}\n"
        "1:\n"
        "ldr r4, [r0]\n"
        "ldr r5, [r0, r3]\n"
        "add r0, r0, r3, lsl #1\n"
        "pkhbt r6, r4, r5, lsl #16\n"
        "pkhtb r8, r5, r4, asr #16\n"
        "sxtb16 r7, r6, ror #8\n"
        "sxtb16 r6, r6\n"
        "sxtb16 r9, r8, ror #8\n"
        "sxtb16 r8, r8\n"
        "stmia r1!, {r6-r9}\n"
        "subs r2, r2, #1\n"
        "bne 1b\n"
        "pop {r4-r9}\n"
        "bx lr\n");
}
#else
APART void inner_pairs(const int8_t *x, uint32_t *into, int32_t pairs, int32_t channels)
{
    int32_t i;
    ROLLED
    for (; pairs > 0; pairs--, x += 2 * channels)
        ROLLED
        for (i = 0; i < 4; i++)
            *into++ = halves(x[i], x[channels + i]);
}
#endif

/* The same from a column on that may lie outside, where there are codes of 0, four of them a word. */
APART void signal_pairs(const int8_t *x, int32_t channels, int32_t width, uint32_t outside, int32_t column,
    int32_t pairs, uint32_t *into)
{
    ROLLED
    while (pairs > 0) {
        int32_t now = 1, i;
        if (column >= 0 && column + 1 < width) {
            now = (width - column) / 2 < pairs ? (width - column) / 2 : pairs;
            inner_pairs(x + column * channels, into, now, channels);
        } else {
            const uint32_t one = column >= 0 && column < width ? word_at(x + column * channels) : outside;
            const uint32_t other = column >= -1 && column + 1 < width ? word_at(x + (column + 1) * channels) : outside;
            ROLLED
            for (i = 0; i < 4; i++)
                into[i] = halves((int8_t)(one >> (8 * i) & 0xFFu), (int8_t)(other >> (8 * i) & 0xFFu));
        }
        pairs -= now, into += 4 * now, column += 2 * now;
    }
}
