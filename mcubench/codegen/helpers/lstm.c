/* needs: line, share_of, saturated_16, rescaled, clamped */
/* How the cell and the hidden state are made of gates; a clip of 0 is none. */
struct lstm {
    const uint32_t *lines;
    int32_t down, out_multiplier, out_exponent, shift, clip, zero_point;
};

/* The next code of one unit, of what the input and the hidden state give its gates: of the input, forgotten, the
   candidate, of the output. */
APART int8_t lstm_code(const struct lstm *l, const int16_t *given, const int16_t *recalled, int16_t *cell)
{
    int32_t gates[4], gate, sum;
    for (gate = 0; gate < 4; gate++) {
        sum = saturated_16(given[gate] + recalled[gate]);
        gates[gate] = gate == 2 ? tanh_16(l->lines, sum, 0) : sigmoid_16(l->lines, sum);
    }
    sum = saturated_16(share_of(gates[1] * *cell, 15) + saturated_16(share_of(gates[0] * gates[2], l->down)));
    if (l->clip)
        sum = sum > l->clip ? l->clip : sum < -l->clip ? -l->clip : sum;
    *cell = (int16_t)sum;
    sum = tanh_16(l->lines, sum, l->shift) * gates[3];
    return clamped(rescaled(sum, l->out_multiplier, l->out_exponent) + l->zero_point, -128, 127);
}
