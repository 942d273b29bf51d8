/* needs: gate, rescaled, clamped */
/* A sigmoid and a hyperbolic tangent of 16 bits: a line between two entries of a table with steps of 1 / 24. */
INLINE int32_t sigmoid_16(const uint16_t *table, int32_t x)
{
    const int32_t scaled = 3 * x;
    const uint32_t size = (uint32_t)(scaled < 0 ? -scaled : scaled), place = size >> 9;
    uint32_t result = 0x7FFFu << 10;
    if (place < 255)
        result = ((uint32_t)table[place] << 9) + (size & 511u) * (uint32_t)(table[place + 1] - table[place]);
    return (int32_t)((scaled < 0 ? (1u << 25) - result + (1u << 9) - 1 : result + (1u << 9)) >> 10);
}

/* Of x times 2^shift. */
INLINE int32_t tanh_16(const uint16_t *table, int32_t x, int32_t shift)
{
    const int32_t scaled = shift < 0 ? (3 * x + (1 << (-shift - 1))) >> -shift : 3 * x * (1 << shift);
    const uint32_t size = (uint32_t)(scaled < 0 ? -scaled : scaled), place = size >> 8;
    int32_t result = 0xFFFF << 8;
    if (place < 255)
        result = (int32_t)(((uint32_t)table[place] << 8) + (size & 255u) * (uint32_t)(table[place + 1] - table[place]));
    return (scaled < 0 ? -result + (1 << 23) + (1 << 7) - 1 : result - (1 << 23) + (1 << 7)) >> 8;
}

/* How the cell and the hidden state are made of gates; a clip of 0 is none. */
struct lstm {
    const uint16_t *table;
    int32_t in_multiplier, in_exponent, out_multiplier, out_exponent, shift, clip, zero_point;
};

/* The next code of one unit, whose gates lie `units` apart: of the input, forgotten, the candidate, of the output. */
INLINE int8_t lstm_code(const struct lstm *l, const int16_t *gates, int32_t units, int16_t *cell)
{
    const int32_t let_in = sigmoid_16(l->table, gates[0]), kept = sigmoid_16(l->table, gates[units]);
    const int32_t candidate = tanh_16(l->table, gates[2 * units], 0);
    const int32_t let_out = sigmoid_16(l->table, gates[3 * units]);
    int32_t sum = saturated_16(rescaled(kept * *cell, 1 << 30, -14));
    sum = saturated_16(sum + saturated_16(rescaled(let_in * candidate, l->in_multiplier, l->in_exponent)));
    if (l->clip)
        sum = sum > l->clip ? l->clip : sum < -l->clip ? -l->clip : sum;
    *cell = (int16_t)sum;
    sum = tanh_16(l->table, sum, l->shift) * let_out;
    return clamped(rescaled(sum, l->out_multiplier, l->out_exponent) + l->zero_point, -128, 127);
}
