/* needs: line, share_of, saturated_16, rescaled, clamped */
/* How the state is shown as the hidden state's code. */
struct gru {
    const uint32_t *lines;
    int32_t multiplier, exponent, zero_point;
};

/* The next code of one unit, of what the input and the hidden state give its gates: what is reset, what is kept, the
   new one. */
APART int8_t gru_code(const struct gru *g, const int16_t *given, const int16_t *recalled, int16_t *state)
{
    const int32_t reset = sigmoid_16(g->lines, saturated_16(given[0] + recalled[0]));
    const int32_t kept = sigmoid_16(g->lines, saturated_16(given[1] + recalled[1]));
    const int32_t found = tanh_16(g->lines, saturated_16(given[2] + share_of(reset * recalled[2], 15)), 0);
    *state = saturated_16(share_of(kept * *state, 15) + found - share_of(kept * found, 15));
    return clamped(rescaled(*state, g->multiplier, g->exponent) + g->zero_point, -128, 127);
}
