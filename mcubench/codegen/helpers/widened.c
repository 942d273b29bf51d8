/* needs: dsp */
/* Codes as pairs of 16 bits: of four, the even ones are a word, and the odd ones. */
#if DSP_ASSEMBLY
/* 32 at a time, at any address. r0: x, r1: into, r2: count, r3..r10: codes */
NAKED void widened_32(const int8_t *x, uint32_t *into, int32_t count)
{
    __asm__ volatile(
        ".syntax unified\n"
        "push {r4-r11, lr}\n"
        "tst r0, #3\n"
        "bne 2f\n"
        "1:\n"
        ".rept 2\n"
        "ldmia r0!, {r3, r5, r7, r9}\n"
        "sxtb16 r4, r3, ror #8\n"
        "sxtb16 r3, r3\n"
        "sxtb16 r6, r5, ror #8\n"
        "sxtb16 r5, r5\n"
        "sxtb16 r8, r7, ror #8\n"
        "sxtb16 r7, r7\n"
        "sxtb16 r10, r9, ror #8\n"
        "sxtb16 r9, r9\n"
        "stmia r1!, {r3-r10}\n"
        ".endr\n"
        "subs r2, r2, #1\n"
        "bne 1b\n"
        "pop {r4-r11, pc}\n"
        "2:\n"
        "lsl r2, r2, #2\n"
        "3:\n"
        "ldr r3, [r0], #4\n"
        "ldr r5, [r0], #4\n"
        "sxtb16 r4, r3, ror #8\n"
        "sxtb16 r3, r3\n"
        "sxtb16 r6, r5, ror #8\n"
        "sxtb16 r5, r5\n"
        "stmia r1!, {r3-r6}\n"
        "subs r2, r2, #1\n"
        "bne 3b\n"
        "pop {r4-r11, pc}\n");
}
#else
APART void widened_32(const int8_t *x, uint32_t *into, int32_t count)
{
    ROLLED
    for (count *= 8; count > 0; count--, x += 4, into += 2)
        into[0] = even_bytes(word_at(x)), into[1] = odd_bytes(word_at(x));
}
#endif

APART void widened(const int8_t *x, uint32_t *into, int32_t count)
{
    int32_t i;
    if (count >= 32) {
        widened_32(x, into, count / 32);
        x += count / 32 * 32, into += count / 32 * 16, count %= 32;
    }
    ROLLED
    for (; count >= 4; count -= 4, x += 4, into += 2)
        into[0] = even_bytes(word_at(x)), into[1] = odd_bytes(word_at(x));
    if (count > 0) {
        uint32_t word = 0;
        ROLLED
        for (i = 0; i < count; i++)
            word |= (uint32_t)(uint8_t)x[i] << (8 * i);
        into[0] = even_bytes(word), into[1] = odd_bytes(word);
    }
}
