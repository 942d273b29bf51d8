/* needs: code_of */
/* Codes at two positions of a channel, whose codes are in the halves of words; behind the weights are two biases. */
INLINE void line_codes(const uint32_t *lines, const uint32_t *w, int32_t rows, int32_t columns, int32_t length,
    int32_t spread, int32_t bits, int8_t *y, int32_t distance, int32_t split, int32_t shift, int32_t zero_point,
    int32_t steps)
{
    const int32_t each = 32 / bits;
    const uint32_t *const biases = w + (rows * columns + each - 1) / each;
    uint32_t whole = 0, upper = 0, f[3];
    int32_t row, column;
    for (row = 0; row < rows; row++)
        for (column = 0; column < columns; column++) {
            const int32_t tap = row * columns + column;
            const uint32_t field = (w[tap / each] >> (bits * (tap % each))) & ((1u << bits) - 1u);
            const uint32_t weight = field - ((field >> (bits - 1)) << bits);
            const uint32_t product = weight * lines[row * length + column * spread];
            whole += product;
            upper += (product >> 16) - ((product >> 31) << 16);
        }
    f[1] = biases[2], f[2] = biases[3];
    f[0] = biases[0];
    y[0] = rectified_code((int32_t)(whole - (upper << 16)), f, split, shift, zero_point, steps);
    f[0] = biases[1];
    y[distance] = rectified_code((int32_t)upper, f, split, shift, zero_point, steps);
}
