/* needs: rescaled, reduced, clamped */
/* The weight of a tap, of those of one channel. */
INLINE int32_t weight_of(const uint8_t *weights, int32_t tap, int32_t bits)
{
    const int32_t each = 8 / bits;
    return (int8_t)(weights[tap / each] << (8 - bits - bits * (tap % each))) >> (8 - bits);
}

/* Products of one channel's taps; x is its first element, and `inside` says that no tap lies outside. */
INLINE int32_t depthwise_sum(const int8_t *x, const uint8_t *weights, int32_t bits, int32_t height, int32_t width,
    int32_t channels, int32_t rows, int32_t columns, int32_t row_step, int32_t column_step, int32_t outside,
    int32_t top, int32_t left, int32_t inside)
{
    int32_t sum = 0, row, column;
    for (row = 0; row < rows; row++)
        for (column = 0; column < columns; column++) {
            const int32_t down = top + row * row_step, across = left + column * column_step;
            const int32_t value = inside || (down >= 0 && down < height && across >= 0 && across < width)
                ? x[(down * width + across) * channels] : outside;
            sum += value * weight_of(weights, row * columns + column, bits);
        }
    return sum;
}
