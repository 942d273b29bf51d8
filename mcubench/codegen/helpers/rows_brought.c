/* needs: rescaled, saturated_16 */
/* Sums of rows, less what lifted weights add to all, in 16 bits; each has a multiplier and an exponent. */
APART void rows_brought(
    const int32_t *sums, const int32_t *starts, int32_t lift, const int32_t *factors, int16_t *gates, int32_t count)
{
    ROLLED
    for (; count > 0; count--, factors += 2)
        *gates++ = saturated_16(rescaled(*sums++ - lift + *starts++, factors[0], factors[1]));
}
