/* needs: compiler, word */
/* The square root, rounded to nearest. */
#if defined(__GNUC__) && defined(__ARM_FP) && (__ARM_FP & 4)
#define ROOT_INSTRUCTION 1
#else
#define ROOT_INSTRUCTION 0
#endif

APART float root_of(float x)
{
#if ROOT_INSTRUCTION
    float y;
    __asm__("vsqrt.f32 %0, %1" : "=t"(y) : "t"(x)); /* the builtin calls a library for what is negative */
    return y;
#else
    /* Digit by digit: `rest` is what is left of the number, over the weight of the digit. */
    union word word;
    uint32_t rest, digit, root = 0;
    int32_t exponent;
    word.f = x;
    if (word.i <= 0 || word.u >= 0x7F800000u)
        return x;
    exponent = word.i >> 23;
    rest = word.u & 0x7FFFFFu;
    if (exponent > 0)
        rest |= 0x800000u;
    else
        for (exponent = 1; rest < 0x800000u; exponent--)
            rest <<= 1;
    exponent -= 127;
    if (exponent & 1)
        rest <<= 1, exponent--;
    for (digit = 0x800000u; digit; digit >>= 1) {
        if (2 * root + digit <= rest)
            rest -= 2 * root + digit, root += digit;
        rest <<= 1;
    }
    root += rest > 2 * root;
    word.u = ((uint32_t)(exponent / 2 + 126) << 23) + root;
    return word.f;
#endif
}
