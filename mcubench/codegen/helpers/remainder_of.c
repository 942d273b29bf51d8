/* needs: compiler */
/* What a number below 2 lacks, in 2^-31. */
INLINE int8_t remainder_of(float rest)
{
    const float steps = rest * 0x1p31f;
    return (int8_t)(steps > 127.0f ? 127 : steps < -127.0f ? -127 : (int32_t)(steps + 128.5f) - 128);
}
