/* needs: compiler */
/* The state of a recurrent layer: 16 bits of each unit, and the codes of the hidden state behind them. */
INLINE void state_begun(int16_t *state, int32_t units, int32_t zero_point)
{
    int8_t *const hidden = (int8_t *)(state + units);
    int32_t unit;
    ROLLED
    for (unit = 0; unit < units; unit++)
        state[unit] = 0, hidden[unit] = (int8_t)zero_point;
}

/* Keeps codes for the next call. */
INLINE void codes_kept(const int8_t *from, int8_t *to, int32_t count)
{
    ROLLED
    for (; count > 0; count--)
        *to++ = *from++;
}
