/* needs: dsp */
/* The sum of codes in so many words, a multiple of four. */
#if DSP_ASSEMBLY
/* r0: words, r1: count, r2: sum, r3..r6: words, r12: ones */
NAKED int32_t words_total(const uint32_t *words, int32_t count)
{
    __asm__ volatile(
        ".syntax unified\n"
        "push {r4-r6}\n"
        "mov r2, #0\n"
        "mov r12, #0x00010001\n"
        "1:\n"
        "ldmia r0!, {r3-r6}\n"
        "smlad r2, r3, r12, r2\n"
        "smlad r2, r4, r12, r2\n"
        "smlad r2, r5, r12, r2\n"
        "smlad r2, r6, r12, r2\n"
        "subs r1, r1, #4\n"
        "bne 1b\n"
        "mov r0, r2\n"
        "pop {r4-r6}\n"
        "bx lr\n");
}
#else
APART int32_t words_total(const uint32_t *words, int32_t count)
{
    uint32_t sum = 0;
    for (; count > 0; count--)
        sum = products(*words++, 0x00010001u, sum);
    return as_signed(sum);
}
#endif
