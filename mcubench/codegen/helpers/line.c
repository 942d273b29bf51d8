/* needs: compiler */
/* A sigmoid less a half, with 25 bits behind the point: a line between steps of 1 / 24. */
INLINE int32_t on_line(const uint32_t *lines, int32_t place, int32_t between)
{
    const uint32_t line = lines[place];
    return ((int32_t)line >> 16) * 512 + between * (int32_t)(line & 0xFFFFu);
}

/* A sigmoid of 12 bits behind the point, with 15; what lies between two is rounded away from a half. */
INLINE int32_t sigmoid_16(const uint32_t *lines, int32_t x)
{
    const int32_t scaled = 3 * x;
    return (on_line(lines, scaled >> 9, scaled & 511) + (1 << 24) + (1 << 9) - (scaled < 0)) >> 10;
}

/* A hyperbolic tangent of x times 2^shift: twice a sigmoid of twice that, less 1. */
INLINE int32_t tanh_16(const uint32_t *lines, int32_t x, int32_t shift)
{
    const int32_t scaled = 2 * (shift < 0 ? (3 * x + (1 << (-shift - 1))) >> -shift : 3 * x * (1 << shift));
    const int32_t place = scaled >> 9;
    const int32_t found = on_line(lines, place > 255 ? 255 : place < -256 ? -256 : place, scaled & 511);
    return (found + (1 << 8) - (scaled < 0)) >> 9;
}
