/* needs: compiler */
/* Codes of a channel and those `apart` bytes behind them, lifted to be positive, in the halves of words.
   r0 from, r1 into, r2 fours that are left, r3 apart, r4 and r5 codes, r6 zero, r7 what lifts them, r12 channels */
#if defined(__ARM_ARCH_6M__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter" /* they are in registers */
__attribute__((naked, noinline)) static void line_copied(
    const int8_t *from, uint32_t *into, int32_t count, int32_t apart, int32_t channels)
{
    __asm__ volatile(
        ".syntax unified\n"
        "    push {r4-r7, lr}; ldr r6, [sp, #20]; mov r12, r6; movs r6, #0\n"
        "    movs r7, #129; lsls r5, r7, #16; adds r7, r7, r5\n"
        "    negs r4, r2; movs r5, #3; ands r4, r5; movs r5, #14; muls r5, r4, r5\n" /* what to skip: 14 bytes a word */
        "    adds r2, #3; lsrs r2, r2, #2; add pc, r5; nop\n"
        "1:\n"
        "    .rept 4\n"
        "    ldrsb r4, [r0, r6]; ldrsb r5, [r0, r3]; lsls r5, r5, #16; adds r4, r4, r5; adds r4, r4, r7\n"
        "    stmia r1!, {r4}; add r0, r12\n"
        "    .endr\n"
        "    subs r2, #1; bne 1b; pop {r4-r7, pc}\n"
    );
}
#pragma GCC diagnostic pop
#else
APART void line_copied(const int8_t *from, uint32_t *into, int32_t count, int32_t apart, int32_t channels)
{
    int32_t i;
    for (i = 0; i < count; i++, from += channels)
        into[i] = (uint32_t)(from[0] + 129) | (uint32_t)(from[apart] + 129) << 16;
}
#endif
