/* needs: dsp */
/* A code of a lifted sum and its multiplier and constant; where negative ones are corrected, `lift` is how far. */
INLINE int8_t lifted_code(int32_t sum, const uint32_t *words, int32_t lift, int32_t shift)
{
    const int64_t product = (int64_t)sum * as_signed(words[0]);
    int32_t code = (int32_t)(product >> 32) + as_signed(words[1]);
    if (lift >= 0 && sum < 0)
        code -= (int32_t)(1u << lift);
    code >>= shift;
    return (int8_t)(code < -128 ? -128 : code > 127 ? 127 : code);
}
