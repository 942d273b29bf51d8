/* needs: compiler */
struct frame {
    int32_t height, width, channels;
    int32_t rows, columns, row_step, column_step, first_row, first_column, outside;
};

/* Codes of two windows that may reach beyond the input, tap by tap in the halves of every second word, lifted to be
   positive; and their sums. */
APART uint32_t pair_across(const struct frame *f, const int8_t *x, const int32_t *places, uint32_t *into)
{
    uint32_t sums = 0;
    int32_t row, column, channel, i;
    for (row = 0; row < f->rows; row++)
        ROLLED for (column = 0; column < f->columns; column++) {
            const int8_t *from[2];
            for (i = 0; i < 2; i++) {
                const int32_t down = places[2 * i] + f->first_row + row * f->row_step;
                const int32_t across = places[2 * i + 1] + f->first_column + column * f->column_step;
                const int32_t inside = down >= 0 && down < f->height && across >= 0 && across < f->width;
                from[i] = inside ? x + (down * f->width + across) * f->channels : NULL;
            }
            ROLLED for (channel = 0; channel < f->channels; channel++, into += 2) {
                const uint32_t a = from[0] ? (uint8_t)from[0][channel] : (uint8_t)f->outside;
                const uint32_t b = from[1] ? (uint8_t)from[1][channel] : (uint8_t)f->outside;
                *into = (a | b << 16) ^ 0x00800080u;
                sums += *into;
            }
        }
    return sums;
}
